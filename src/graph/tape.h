/* The tape: recorded operations in linear order, as plain data. What the planner reads, what the cache
 * compares, and what files and drawings will show. Entries 0 .. leaf_count-1 are leaves (values that exist);
 * the rest are operations, each after what it uses. */
#ifndef MIA_GRAPH_TAPE_H
#define MIA_GRAPH_TAPE_H

#include "graph/view.h"

#include <mia/ops.h>

#define MIA__MAX_OPERANDS 6

/* Attributes by signature (ops.h); unused ones are zero:
 *   DTYPE i0 = dtype · SLICE i0 = mode, i1 = begin, i2 = count, i3 = step · CONCAT, UPDATE, MODE, TAKE i0 = mode
 *   TWO_MODES i0, i1 = modes · PAD i0 = mode, i1 = before, i2 = after, i3 = style, f0 = value
 *   SCATTER i0 = mode, i1 = style · ROLL i0 = mode, i1 = shift · TRIANGLE i0 = diagonal
 *   REAL f0 = value · RANGE f0 = low, f1 = high · MODES, ARG_MODES i0 = set
 *   SCAN i0 = mode, i1 = exclusive, i2 = reverse · SORT, ARG_SORT i0 = mode, i1 = descending
 *   TOP_K, ARG_TOP_K i0 = mode, i1 = k, i2 = greatest · NORM, NORM_BIAS f0 = epsilon
 *   GROUP_NORM i0 = mode, i1 = groups, f0 = epsilon · ROPE i0 = style, f0 = magnitude
 *   ATTENTION, ATTENTION_MASKED f0 = scale · CONV, POOL mia__window_attributes
 *   ARANGE i0 = count · RANDOM i0 = dtype, i1 = count */
typedef mia_attributes mia__attributes;

enum {
    MIA__LEAF_CONSTANT = 1,     /* never overwritten; may be asked for in prepared forms */
    MIA__LEAF_OVERWRITABLE = 2, /* nobody outside the tape refers to its memory */
    MIA__ENTRY_OUTLIVES = 4     /* somebody outside the tape refers to the value */
};

typedef struct mia__entry {
    mia_op op; /* MIA_OP_NONE: a leaf */
    mia_dtype dtype;
    uint32_t flags;
    uint32_t operand_count;
    uint32_t operands[MIA__MAX_OPERANDS]; /* entries */
    uint32_t alias; /* of a leaf: the first leaf that shares its memory (often itself) */
    size_t bytes;   /* of a leaf: of its whole memory */
    mia__view view; /* leaf: within its memory. View operation: within the memory of the value it looks at.
                       Others: compact */
    mia__attributes attributes;
    const struct mia__custom *custom; /* of an operation that a program registered */
} mia__entry;

typedef struct mia__tape {
    mia__entry *entries;
    uint32_t count;
    uint32_t leaf_count;
} mia__tape;

#endif
