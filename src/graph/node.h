/* Nodes: recorded operations and the values that exist, as a graph. What handles refer to (src/runtime) and
 * what is linearised into a tape.
 *
 * A node is PENDING (recorded, not run), READY (its memory is assigned; the run that fills it may still be
 * queued), or POISONED. A pending view looks at the value of the nearest operand that is no view, always
 * within that value's memory. */
#ifndef MIA_GRAPH_NODE_H
#define MIA_GRAPH_NODE_H

#include "graph/tape.h"

#include <mia/memory.h>

/* Why a value is poisoned: the first cause. Shared by what it spreads to. */
typedef struct mia__cause {
    uint32_t refs;
    mia_status status;
    char message[sizeof(((mia_error *)NULL)->message)];
} mia__cause;

/* Memory of one or more values; the runtime's struct begins with it. */
typedef struct mia__memory {
    uint32_t nodes; /* nodes that refer to it */
    bool constant;
    bool borrowed; /* somebody else's: never overwritten */
    size_t bytes;
    mia__cause *cause; /* the run that was to fill it failed */
    uint64_t mark;     /* of the linearisation that saw it last */
    uint32_t leaf;     /* its first leaf there */
    uint32_t dying;    /* how many of its nodes go with that tape */
} mia__memory;

typedef enum mia__node_state { MIA__PENDING, MIA__READY, MIA__POISONED } mia__node_state;

typedef struct mia__node {
    uint32_t refs; /* handles and pending nodes that use it */
    mia__node_state state;
    mia_op op;
    const struct mia__custom *custom; /* of an operation that a program registered */
    mia_dtype dtype;
    uint32_t operand_count;
    struct mia__node *operands[MIA__MAX_OPERANDS]; /* owned references, while pending */
    mia__attributes attributes; /* those that the operation's row has; the others may be anything */
    mia__view view;             /* see mia__entry */
    mia__memory *memory;        /* READY */
    mia__cause *cause;          /* POISONED */
    const char *file;           /* the call that recorded it */
    int line;
    uint64_t mark;               /* of the linearisation that saw it last */
    uint32_t index;              /* its entry there */
    uint32_t uses;               /* operands there that refer to it */
    struct mia__node *next_dead; /* while it and what it held alone are freed */
} mia__node;

/* An operation's attributes, the others zero. */
mia__attributes mia__node_attributes(const mia__node *node);

/* The first cause of a poisoned node, NULL for a good one. */
static inline mia__cause *mia__node_cause(const mia__node *node) {
    if (node->state == MIA__POISONED) return node->cause;
    return node->state == MIA__READY ? node->memory->cause : NULL;
}

/* Working memory of linearisations, kept between them. */
typedef struct mia__linear {
    mia_allocator allocator;
    mia__node **nodes; /* leaves first, then operations in order */
    uint32_t count, leaf_count;
    uint64_t *key; /* the tape's structure as words: what plans are cached by */
    size_t key_words;
    uint64_t mark;
    uint32_t node_capacity, stack_capacity;
    mia__node **stack;
    size_t key_capacity;
} mia__linear;

void mia__linear_init(mia__linear *linear, const mia_allocator *allocator);
void mia__linear_free(mia__linear *linear);
/* Makes room for `count` nodes; false without memory. */
bool mia__linear_reserve(mia__linear *linear, uint32_t count);

/* Puts all that the roots need and has not run into linear order: fills nodes, marks, indices, uses and the
 * key. Iterative; time is linear in what is pending. Fails with a poisoned node's cause, or NO_MEMORY. */
mia_status mia__linearise(mia__linear *linear, mia__node *const *roots, size_t root_count, mia_error *error);

/* The tape of the last linearisation; entries from the allocator, freed with mia__tape_free. */
mia_status mia__linear_tape(const mia__linear *linear, mia__tape *out, mia_error *error);
void mia__tape_free(mia__tape *tape, const mia_allocator *allocator);

/* Somebody outside the last linearisation refers to this node. */
static inline bool mia__node_outlives(const mia__node *node) {
    return node->refs > node->uses;
}

#endif
