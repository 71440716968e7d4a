/* The table of operations, and the type rules. The shape rules are in rules.c. */
#include "graph/ops.h"

#include <stdio.h>

#define TYPE_BIT(type, unused) | (UINT64_C(1) << MIA_##type)

/* Each signature's operands, and its attributes: integers and reals. */
#define COUNTS_UNARY            1, 0, 0
#define COUNTS_BINARY           2, 0, 0
#define COUNTS_COMPARE          2, 0, 0
#define COUNTS_WHERE            3, 0, 0
#define COUNTS_REAL             1, 0, 1
#define COUNTS_RANGE            1, 0, 2
#define COUNTS_SHAPE            1, 0, 0
#define COUNTS_DTYPE            1, 1, 0
#define COUNTS_SLICE            1, 4, 0
#define COUNTS_MODE             1, 1, 0
#define COUNTS_TWO_MODES        1, 2, 0
#define COUNTS_CONCAT           2, 1, 0
#define COUNTS_PAD              1, 4, 1
#define COUNTS_GATHER           2, 0, 0
#define COUNTS_EMBEDDING        2, 0, 0
#define COUNTS_UPDATE           3, 1, 0
#define COUNTS_TAKE             2, 1, 0
#define COUNTS_SCATTER          3, 2, 0
#define COUNTS_ROLL             1, 2, 0
#define COUNTS_TRIANGLE         1, 1, 0
#define COUNTS_MODES            1, 1, 0
#define COUNTS_ARG_MODES        1, 1, 0
#define COUNTS_SCAN             1, 3, 0
#define COUNTS_SORT             1, 2, 0
#define COUNTS_ARG_SORT         1, 2, 0
#define COUNTS_TOP_K            1, 3, 0
#define COUNTS_ARG_TOP_K        1, 3, 0
#define COUNTS_NORM             2, 0, 1
#define COUNTS_NORM_BIAS        3, 0, 1
#define COUNTS_GROUP_NORM       3, 2, 1
#define COUNTS_ROPE             3, 1, 1
#define COUNTS_ATTENTION        4, 0, 1
#define COUNTS_ATTENTION_MASKED 5, 0, 1
#define COUNTS_MATMUL           2, 0, 0
#define COUNTS_CONV             2, 12, 0
#define COUNTS_POOL             1, 12, 0
#define COUNTS_ARANGE           2, 1, 0
#define COUNTS_RANDOM           1, 2, 0

enum {
    RULE_SAME = MIA__TYPE_SAME,
    RULE_FIRST = MIA__TYPE_FIRST,
    RULE_SECOND = MIA__TYPE_SECOND,
    RULE_ATTRIBUTE = MIA__TYPE_ATTRIBUTE,
    RULE_FLOAT32 = MIA__TYPE_FLOAT32,
    RULE_BOOL = MIA__TYPE_BOOL,
    RULE_INDEX = MIA__TYPE_INDEX
};

#define ROW(name, tag, operands, integers, reals, class, set, type_rule, shape_rule, bound, doc)             \
    [tag] = {{#name, MIA_CLASS_##class, operands, 0 MIA_TYPES_##set(TYPE_BIT, 0), bound, doc},               \
             mia__shape_rule_##shape_rule,                                                                   \
             NULL,                                                                                           \
             MIA_OP_##name,                                                                                  \
             (mia__type_rule)RULE_##type_rule,                                                               \
             integers,                                                                                       \
             reals,                                                                                          \
             (tag) == MIA_OP_where ? 1 : 0},
#define ROW_(...) ROW(__VA_ARGS__) /* the counts of a signature are three arguments */

static const mia__op_row rows[MIA_OP_LIMIT] = {
#define MIA_OP(name, tag, signature, class, types, type_rule, shape_rule, bound, doc)                        \
    ROW_(name, tag, COUNTS_##signature, class, types, type_rule, shape_rule, bound, doc)
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

static mia_status want_type(const char *name, const mia__type *operands, uint32_t operand, mia_dtype dtype,
                            mia_error *error) {
    if (operands[operand].dtype == dtype) return MIA_OK;
    return wrong_type(name, operand, operands[operand].dtype, mia_dtype_describe(dtype)->name, error);
}

/* Operands from `first` to `last` are of any floating-point type. */
static mia_status want_real(const char *name, const mia__type *operands, uint32_t first, uint32_t last,
                            mia_error *error) {
    for (uint32_t i = first; i <= last; i++)
        if (!is_real(operands[i].dtype))
            return wrong_type(name, i, operands[i].dtype, "f32, f16, bf16 or f64", error);
    return MIA_OK;
}

/* Operands whose type is fixed whatever the first is: indices, positions, lengths, activations. */
static mia_status check_others(const char *name, mia_op op, const mia__type *operands, mia_error *error) {
    mia_status status = MIA_OK;
    switch ((int)op) {
    case MIA_OP_gather:
    case MIA_OP_embedding:
    case MIA_OP_take:
    case MIA_OP_take_along:
    case MIA_OP_scatter:
    case MIA_OP_scatter_along: return want_type(name, operands, 1, MIA_i32, error);
    case MIA_OP_update: return want_type(name, operands, 2, MIA_i32, error);
    case MIA_OP_where: return want_type(name, operands, 0, MIA_bool8, error);
    case MIA_OP_rope:
        status = want_type(name, operands, 1, MIA_i32, error);
        return status != MIA_OK ? status : want_type(name, operands, 2, MIA_f32, error);
    case MIA_OP_attention:
        status = want_real(name, operands, 1, 2, error);
        return status != MIA_OK ? status : want_type(name, operands, 3, MIA_i32, error);
    case MIA_OP_attention_masked:
        status = want_real(name, operands, 1, 2, error);
        if (status == MIA_OK) status = want_type(name, operands, 3, MIA_f32, error);
        return status != MIA_OK ? status : want_type(name, operands, 4, MIA_i32, error);
    case MIA_OP_matmul: return want_real(name, operands, 1, 1, error);
    default: return MIA_OK;
    }
}

/* Operands that have to be of one type under the rules SAME, BOOL and SECOND (bits). */
static uint32_t alike(mia_op op, uint32_t count) {
    switch ((int)op) {
    case MIA_OP_update: return 1u << 0 | 1u << 1;
    case MIA_OP_scatter:
    case MIA_OP_scatter_along: return 1u << 0 | 1u << 2;
    case MIA_OP_where: return 1u << 1 | 1u << 2;
    case MIA_OP_matmul: return 0;
    default: return (1u << count) - 1;
    }
}

static mia_status check_alike(const char *name, const mia__type *operands, uint32_t count, uint32_t set,
                              mia_error *error) {
    uint32_t first = count;
    for (uint32_t i = 0; i < count; i++) {
        if ((set >> i & 1) == 0) continue;
        if (first == count) first = i;
        if (operands[i].dtype != operands[first].dtype)
            return mia_error_set(error, MIA_ERROR_TYPE_MISMATCH, "%s: operand %u is %s, operand %u is %s",
                                 name, (unsigned)first, mia_dtype_describe(operands[first].dtype)->name,
                                 (unsigned)i, mia_dtype_describe(operands[i].dtype)->name);
    }
    return MIA_OK;
}

/* The type that attribute 0 names: one whose numbers correspond to those of `from`. */
static mia_status named_type(const char *name, mia_dtype from_dtype, int64_t attribute, mia_dtype *out,
                             mia_error *error) {
    *out = (mia_dtype)attribute;
    const mia_dtype_info *from = mia_dtype_describe(from_dtype), *to = mia_dtype_describe(*out);
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

mia_status mia__op_result_dtype(const mia__op_row *row, const mia__type *operands, uint32_t count,
                                const mia__attributes *attributes, mia_dtype *out, mia_error *error) {
    mia_op op = row->op;
    const char *name = row->info.name;
    mia_dtype typed = operands[row->typed].dtype;
    mia_status status = check_others(name, op, operands, error);
    if (status != MIA_OK) return status;
    switch (row->type_rule) {
    case MIA__TYPE_SAME: *out = operands[0].dtype; break;
    case MIA__TYPE_BOOL: *out = MIA_bool8; break;
    case MIA__TYPE_SECOND: *out = operands[1].dtype; break;
    case MIA__TYPE_INDEX: *out = MIA_i32; return MIA_OK;
    case MIA__TYPE_FIRST: *out = operands[0].dtype; return MIA_OK;
    case MIA__TYPE_FLOAT32: *out = MIA_f32; return MIA_OK;
    case MIA__TYPE_ATTRIBUTE:
        status = named_type(name, typed, attributes->i[0], out, error);
        if (status == MIA_OK && row->info.op_class == MIA_CLASS_CREATION && !is_real(*out))
            return mia_error_set(error, MIA_ERROR_TYPE_MISMATCH, "%s does not make %s", name,
                                 mia_dtype_describe(*out)->name);
        return status;
    }
    return check_alike(name, operands, count, alike(op, count), error);
}

/* Of a registered operation: element-wise ones by the rules of add, of any number of operands. */
static mia_status custom_result(const mia__custom *custom, const mia__type *operands, uint32_t count,
                                const mia__attributes *attributes, mia__type *out, mia_error *error) {
    const mia_op_description *d = &custom->description;
    const char *name = custom->row.info.name;
    if (custom->row.info.op_class != MIA_CLASS_ELEMENTWISE) {
        mia_error reason = {0};
        mia_status status = d->shape(d->user, operands, attributes, out, &reason);
        if (status == MIA_OK) return MIA_OK;
        return mia_error_set(error, status, "%s: %.480s", name,
                             reason.message[0] != '\0' ? reason.message : mia_status_sentence(status));
    }
    mia__type result = operands[0];
    for (uint32_t i = 1; i < count; i++) {
        const mia__type pair[2] = {result, operands[i]};
        mia_status status = mia__shape_rule_BROADCAST(name, pair, attributes, &result.shape, error);
        if (status != MIA_OK) return status;
    }
    *out = result;
    return check_alike(name, operands, count, (1u << count) - 1, error);
}

static mia_status check_type(const mia__op_row *row, mia_dtype typed, mia_error *error) {
    if ((row->info.types >> typed & 1) != 0) return MIA_OK;
    char wanted[200] = "";
    list_types(row->info.types, wanted, sizeof wanted);
    return wrong_type(row->info.name, row->typed, typed, wanted, error);
}

mia_status mia__op_result(const mia__op_row *row, const mia__type *operands, uint32_t count,
                          const mia__attributes *attributes, mia__type *out, mia_error *error) {
    mia_status status = check_type(row, operands[row->typed].dtype, error);
    if (status != MIA_OK) return status;
    if (row->custom != NULL) {
        status = custom_result(row->custom, operands, count, attributes, out, error);
    } else {
        status = mia__op_result_dtype(row, operands, count, attributes, &out->dtype, error);
        if (status == MIA_OK)
            status = row->shape_rule(row->info.name, operands, attributes, &out->shape, error);
    }
    if (status != MIA_OK) return status;
    size_t bytes;
    return mia__shape_check(out->dtype, &out->shape, &bytes, row->info.name, error);
}
