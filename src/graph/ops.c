/* The table of operations, and the type rules. The shape rules are in rules.c. */
#include "graph/ops.h"

#include <stdio.h>

#define TYPE_BIT(type, unused) | (UINT64_C(1) << MIA_##type)

/* Operands of each signature. */
enum {
    OPERANDS_UNARY = 1,
    OPERANDS_SHAPE = 1,
    OPERANDS_DTYPE = 1,
    OPERANDS_SLICE = 1,
    OPERANDS_PAD = 1,
    OPERANDS_MODES = 1,
    OPERANDS_BINARY = 2,
    OPERANDS_CONCAT = 2,
    OPERANDS_GATHER = 2,
    OPERANDS_EMBEDDING = 2,
    OPERANDS_NORM = 2,
    OPERANDS_MATMUL = 2,
    OPERANDS_UPDATE = 3,
    OPERANDS_NORM_BIAS = 3,
    OPERANDS_ROPE = 3,
    OPERANDS_ATTENTION = 4
};

enum {
    RULE_SAME = MIA__TYPE_SAME,
    RULE_FIRST = MIA__TYPE_FIRST,
    RULE_SECOND = MIA__TYPE_SECOND,
    RULE_ATTRIBUTE = MIA__TYPE_ATTRIBUTE,
    RULE_FLOAT32 = MIA__TYPE_FLOAT32
};

static const mia__op_row rows[MIA_OP_LIMIT] = {
#define MIA_OP(name, tag, signature, class, types, type_rule, shape_rule, bound, doc)                        \
    [tag] = {{#name, MIA_CLASS_##class, OPERANDS_##signature, 0 MIA_TYPES_##types(TYPE_BIT, 0), bound, doc}, \
             (mia__type_rule)RULE_##type_rule,                                                               \
             mia__shape_rule_##shape_rule},
#include <mia/ops.def>
#undef MIA_OP
};

const mia__op_row *mia__op_find(mia_op op) {
    if ((int)op <= 0 || op >= MIA_OP_LIMIT || rows[op].info.name == NULL) return NULL;
    return &rows[op];
}

const mia_op_info *mia_op_describe(mia_op op) {
    const mia__op_row *row = mia__op_find(op);
    return row != NULL ? &row->info : NULL;
}

static mia_status wrong_type(const char *name, uint32_t operand, mia_dtype dtype, const char *wanted,
                             mia_error *error) {
    return mia_error_set(error, MIA_ERROR_TYPE_MISMATCH, "%s: operand %u is %s; it takes %s", name,
                         (unsigned)operand, mia_dtype_describe(dtype)->name, wanted);
}

/* "f32, f16 or i32": the types of a mask. */
static void list_types(uint64_t types, char *text, size_t capacity) {
    size_t used = 0;
    for (int dtype = 1; dtype < MIA_DTYPE_LIMIT; dtype++) {
        if ((types >> dtype & 1) == 0) continue;
        const char *before = used == 0 ? "" : types >> dtype == 1 ? " or " : ", ";
        int written = snprintf(text + used, capacity - used, "%s%s", before,
                               mia_dtype_describe((mia_dtype)dtype)->name);
        if (written < 0 || (size_t)written >= capacity - used) return; /* cut */
        used += (size_t)written;
    }
}

static bool is_real(mia_dtype dtype) {
    return mia_dtype_describe(dtype)->kind == MIA_KIND_FLOAT;
}

/* Operands whose type is fixed whatever the first is: indices, positions, lengths, activations. */
static mia_status check_others(const mia__op_row *row, mia_op op, const mia__type *operands,
                               mia_error *error) {
    const char *name = row->info.name;
    switch (op) {
    case MIA_OP_gather:
    case MIA_OP_embedding:
        if (operands[1].dtype != MIA_i32) return wrong_type(name, 1, operands[1].dtype, "i32", error);
        return MIA_OK;
    case MIA_OP_rope:
        if (operands[1].dtype != MIA_i32) return wrong_type(name, 1, operands[1].dtype, "i32", error);
        if (operands[2].dtype != MIA_f32) return wrong_type(name, 2, operands[2].dtype, "f32", error);
        return MIA_OK;
    case MIA_OP_attention:
        for (uint32_t i = 1; i < 3; i++)
            if (!is_real(operands[i].dtype))
                return wrong_type(name, i, operands[i].dtype, "f32, f16, bf16 or f64", error);
        if (operands[3].dtype != MIA_i32) return wrong_type(name, 3, operands[3].dtype, "i32", error);
        return MIA_OK;
    case MIA_OP_matmul:
        if (!is_real(operands[1].dtype))
            return wrong_type(name, 1, operands[1].dtype, "f32, f16, bf16 or f64", error);
        return MIA_OK;
    case MIA_OP_update:
        if (operands[2].dtype != MIA_i32) return wrong_type(name, 2, operands[2].dtype, "i32", error);
        return MIA_OK;
    default: return MIA_OK;
    }
}

/* How many operands, from the first, have to be of one type under the rule SAME. */
static uint32_t alike(mia_op op, uint32_t count) {
    return op == MIA_OP_update ? 2 : count;
}

mia_status mia__op_result_dtype(const mia__op_row *row, const mia__type *operands, uint32_t count,
                                const mia__attributes *attributes, mia_dtype *out, mia_error *error) {
    mia_op op = (mia_op)(row - rows);
    const char *name = row->info.name;
    if ((row->info.types >> operands[0].dtype & 1) == 0) {
        char wanted[200] = "";
        list_types(row->info.types, wanted, sizeof wanted);
        return wrong_type(name, 0, operands[0].dtype, wanted, error);
    }
    mia_status status = check_others(row, op, operands, error);
    if (status != MIA_OK) return status;
    switch (row->type_rule) {
    case MIA__TYPE_SAME:
        for (uint32_t i = 1; i < alike(op, count); i++)
            if (operands[i].dtype != operands[0].dtype)
                return mia_error_set(error, MIA_ERROR_TYPE_MISMATCH, "%s: operand 0 is %s, operand %u is %s",
                                     name, mia_dtype_describe(operands[0].dtype)->name, (unsigned)i,
                                     mia_dtype_describe(operands[i].dtype)->name);
        *out = operands[0].dtype;
        return MIA_OK;
    case MIA__TYPE_FIRST: *out = operands[0].dtype; return MIA_OK;
    case MIA__TYPE_SECOND: *out = operands[1].dtype; return MIA_OK;
    case MIA__TYPE_FLOAT32: *out = MIA_f32; return MIA_OK;
    case MIA__TYPE_ATTRIBUTE: break;
    }
    *out = (mia_dtype)attributes->i[0];
    const mia_dtype_info *from = mia_dtype_describe(operands[0].dtype), *to = mia_dtype_describe(*out);
    if (to->bytes == 0)
        return mia_error_set(error, MIA_ERROR_TYPE_MISMATCH, "%s: %d is no element type", name, (int)*out);
    bool packed = from->kind == MIA_KIND_PACKED || to->kind == MIA_KIND_PACKED;
    bool alike_inside = from->kind == to->kind && from->elements == to->elements && from->elements == 4;
    if (packed && !alike_inside)
        return mia_error_set(error, MIA_ERROR_TYPE_MISMATCH,
                             "%s: the numbers inside %s and %s do not correspond", name, from->name,
                             to->name);
    return MIA_OK;
}

mia_status mia__op_result(mia_op op, const mia__type *operands, uint32_t count,
                          const mia__attributes *attributes, mia__type *out, mia_error *error) {
    const mia__op_row *row = mia__op_find(op);
    mia_status status = mia__op_result_dtype(row, operands, count, attributes, &out->dtype, error);
    if (status != MIA_OK) return status;
    status = row->shape_rule(row->info.name, operands, attributes, &out->shape, error);
    if (status != MIA_OK) return status;
    size_t bytes;
    return mia__shape_check(out->dtype, &out->shape, &bytes, row->info.name, error);
}
