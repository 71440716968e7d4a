/* The table of operations for those inside: rows with their rules, and the rules themselves. */
#ifndef MIA_GRAPH_OPS_H
#define MIA_GRAPH_OPS_H

#include "graph/tape.h"

#include <mia/custom.h>

typedef mia_custom_type mia__type;

typedef enum mia__type_rule {
    MIA__TYPE_SAME,
    MIA__TYPE_FIRST,
    MIA__TYPE_SECOND,
    MIA__TYPE_ATTRIBUTE,
    MIA__TYPE_FLOAT32,
    MIA__TYPE_BOOL,
    MIA__TYPE_INDEX
} mia__type_rule;

typedef mia_status (*mia__shape_rule)(const char *name, const mia__type *operands,
                                      const mia__attributes *attributes, mia_shape *out, mia_error *error);

typedef struct mia__op_row {
    mia_op_info info;
    mia__shape_rule shape_rule; /* NULL for views, whose shape comes with their view */
    const struct mia__custom *custom;
    mia_op op;
    mia__type_rule type_rule;
    uint32_t integers, reals; /* attributes that its signature has */
    uint32_t typed;           /* the operand that info.types is about */
} mia__op_row;

/* An operation that a program registered on a device, and its row. */
typedef struct mia__custom {
    mia__op_row row;
    mia_op_description description; /* texts are copies */
    struct mia__custom *next;
} mia__custom;

/* The row of an operation of the table, NULL for a number that is none. */
const mia__op_row *mia__op_find(mia_op op);

/* The same, or of the registered one where there is one. */
static inline const mia__op_row *mia__op_row_of(mia_op op, const mia__custom *custom) {
    return custom != NULL ? &custom->row : mia__op_find(op);
}

/* The result's type and shape; a message that begins with the operation's name otherwise. Not for views. */
mia_status mia__op_result(const mia__op_row *row, const mia__type *operands, uint32_t count,
                          const mia__attributes *attributes, mia__type *out, mia_error *error);

/* The element type that a row's type rule gives, with its checks on the operands. */
mia_status mia__op_result_dtype(const mia__op_row *row, const mia__type *operands, uint32_t count,
                                const mia__attributes *attributes, mia_dtype *out, mia_error *error);

/* Shape rules, by the table's column: rules.c, rules_indexed.c (places and order), rules_window.c. */
#define MIA__SHAPE_RULE(name)                                                                                \
    mia_status mia__shape_rule_##name(const char *, const mia__type *, const mia__attributes *, mia_shape *, \
                                      mia_error *);
MIA__SHAPE_RULE(SAME)
MIA__SHAPE_RULE(BROADCAST)
MIA__SHAPE_RULE(BROADCAST3)
MIA__SHAPE_RULE(CONCAT)
MIA__SHAPE_RULE(PAD)
MIA__SHAPE_RULE(MODE)
MIA__SHAPE_RULE(GATHER)
MIA__SHAPE_RULE(TAKE)
MIA__SHAPE_RULE(TAKE_ALONG)
MIA__SHAPE_RULE(UPDATE)
MIA__SHAPE_RULE(SCATTER)
MIA__SHAPE_RULE(SCATTER_ALONG)
MIA__SHAPE_RULE(TRIANGLE)
MIA__SHAPE_RULE(REDUCE)
MIA__SHAPE_RULE(TOP_K)
MIA__SHAPE_RULE(NORM)
MIA__SHAPE_RULE(NORM_BIAS)
MIA__SHAPE_RULE(GROUP_NORM)
MIA__SHAPE_RULE(ROPE)
MIA__SHAPE_RULE(ATTENTION)
MIA__SHAPE_RULE(ATTENTION_MASKED)
MIA__SHAPE_RULE(MATMUL)
MIA__SHAPE_RULE(CONV1D)
MIA__SHAPE_RULE(CONV2D)
MIA__SHAPE_RULE(POOL)
MIA__SHAPE_RULE(ARANGE)
MIA__SHAPE_RULE(RANDOM)
#undef MIA__SHAPE_RULE
#define mia__shape_rule_VIEW NULL

/* What rules share (rules.c): messages that name the operation and show the shapes. */
mia_status mia__rule_misfit(const char *name, const mia_shape *a, const mia_shape *b, const char *why,
                            mia_error *error);
mia_status mia__rule_no_mode(const char *name, const mia_shape *shape, int64_t mode, mia_error *error);
mia_status mia__rule_single(const char *name, const char *operand, const mia_shape *shape, mia_error *error);

/* A window as attributes, neutral values filled in, and back. */
enum {
    MIA__WINDOW_SIZE = 0, /* two integers each, of modes 0 and 1 */
    MIA__WINDOW_STRIDE = 2,
    MIA__WINDOW_DILATION = 4,
    MIA__WINDOW_BEFORE = 6,
    MIA__WINDOW_AFTER = 8,
    MIA__WINDOW_GROUPS = 10,
    MIA__WINDOW_COUNT_PADDING = 11
};
mia__attributes mia__window_attributes(const mia_window *window);

#endif
