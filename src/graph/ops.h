/* The table of operations for those inside: rows with their rules, and the rules themselves. */
#ifndef MIA_GRAPH_OPS_H
#define MIA_GRAPH_OPS_H

#include "graph/tape.h"

/* An operand, or a result, as far as rules care. */
typedef struct mia__type {
    mia_dtype dtype;
    mia_shape shape;
} mia__type;

typedef enum mia__type_rule {
    MIA__TYPE_SAME,
    MIA__TYPE_FIRST,
    MIA__TYPE_SECOND,
    MIA__TYPE_ATTRIBUTE,
    MIA__TYPE_FLOAT32
} mia__type_rule;

typedef mia_status (*mia__shape_rule)(const char *name, const mia__type *operands,
                                      const mia__attributes *attributes, mia_shape *out, mia_error *error);

typedef struct mia__op_row {
    mia_op_info info;
    mia__type_rule type_rule;
    mia__shape_rule shape_rule; /* NULL for views, whose shape comes with their view */
} mia__op_row;

/* The row of an operation, NULL for a number that is none. */
const mia__op_row *mia__op_find(mia_op op);

/* The result's type and shape; a message that begins with the operation's name otherwise. Not for views. */
mia_status mia__op_result(mia_op op, const mia__type *operands, uint32_t count,
                          const mia__attributes *attributes, mia__type *out, mia_error *error);

/* The element type that a row's type rule gives, with its checks on the operands. */
mia_status mia__op_result_dtype(const mia__op_row *row, const mia__type *operands, uint32_t count,
                                const mia__attributes *attributes, mia_dtype *out, mia_error *error);

/* Shape rules, by the table's column. */
mia_status mia__shape_rule_SAME(const char *, const mia__type *, const mia__attributes *, mia_shape *,
                                mia_error *);
mia_status mia__shape_rule_BROADCAST(const char *, const mia__type *, const mia__attributes *, mia_shape *,
                                     mia_error *);
mia_status mia__shape_rule_CONCAT(const char *, const mia__type *, const mia__attributes *, mia_shape *,
                                  mia_error *);
mia_status mia__shape_rule_PAD(const char *, const mia__type *, const mia__attributes *, mia_shape *,
                               mia_error *);
mia_status mia__shape_rule_GATHER(const char *, const mia__type *, const mia__attributes *, mia_shape *,
                                  mia_error *);
mia_status mia__shape_rule_UPDATE(const char *, const mia__type *, const mia__attributes *, mia_shape *,
                                  mia_error *);
mia_status mia__shape_rule_REDUCE(const char *, const mia__type *, const mia__attributes *, mia_shape *,
                                  mia_error *);
mia_status mia__shape_rule_NORM(const char *, const mia__type *, const mia__attributes *, mia_shape *,
                                mia_error *);
mia_status mia__shape_rule_NORM_BIAS(const char *, const mia__type *, const mia__attributes *, mia_shape *,
                                     mia_error *);
mia_status mia__shape_rule_ROPE(const char *, const mia__type *, const mia__attributes *, mia_shape *,
                                mia_error *);
mia_status mia__shape_rule_ATTENTION(const char *, const mia__type *, const mia__attributes *, mia_shape *,
                                     mia_error *);
mia_status mia__shape_rule_MATMUL(const char *, const mia__type *, const mia__attributes *, mia_shape *,
                                  mia_error *);
#define mia__shape_rule_VIEW NULL

#endif
