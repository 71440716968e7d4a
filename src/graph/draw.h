/* Drawings of graphs as text: Mermaid, Graphviz's DOT, and JSON. Knows boxes and arrows alone; what they stand
 * for is said by who draws (runtime/draw.c). */
#ifndef MIA_GRAPH_DRAW_H
#define MIA_GRAPH_DRAW_H

#include <mia/tape.h>

typedef enum mia__box_kind {
    MIA__BOX_INPUT,
    MIA__BOX_OUTPUT,
    MIA__BOX_CONSTANT,
    MIA__BOX_MOVEMENT,
    MIA__BOX_ELEMENTWISE,
    MIA__BOX_REDUCTION,
    MIA__BOX_COMPOSITE,
    MIA__BOX_CONTRACTION,
    MIA__BOX_KINDS
} mia__box_kind;

/* Text goes out through `write`, piece by piece. */
typedef struct mia__drawing {
    mia_drawing_format format;
    void (*write)(void *user, const char *text, size_t length);
    void *user;
    uint32_t boxes, arrows; /* so far */
} mia__drawing;

void mia__draw_begin(mia__drawing *drawing, const char *title);
/* title: "matmul"; note: "f32 [64, 8]", may be empty. All boxes come before all arrows. */
void mia__draw_box(mia__drawing *drawing, uint32_t id, mia__box_kind kind, const char *title,
                   const char *note);
/* label may be empty. */
void mia__draw_arrow(mia__drawing *drawing, uint32_t from, uint32_t to, const char *label);
void mia__draw_end(mia__drawing *drawing);

#endif
