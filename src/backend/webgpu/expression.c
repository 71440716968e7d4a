/* Element-wise operations as functions of a shader (expression.h), from a table: an operation has a body for
 * floating-point numbers and one for integers, of operands a, b, c and attributes p.<f0>, p.<f1>. */
#include "backend/webgpu/expression.h"

#include "backend/reference/reference.h"
#include "graph/ops.h"

#include <stdio.h>
#include <string.h>

typedef struct expression {
    mia_op op;
    const char *real;  /* of f32; NULL: not of such */
    const char *whole; /* of i32 or u32, where T is that type */
} expression;

static const expression expressions[] = {
    {MIA_OP_add, "a + b", "a + b"},
    {MIA_OP_sub, "a - b", "a - b"},
    {MIA_OP_mul, "a * b", "a * b"},
    {MIA_OP_div, "a / b", NULL},
    {MIA_OP_min, "min(a, b)", "min(a, b)"},
    {MIA_OP_max, "max(a, b)", "max(a, b)"},
    {MIA_OP_neg, "-a", NULL},
    {MIA_OP_square, "a * a", "a * a"},
    {MIA_OP_silu, "a / (1.0 + exp(-a))", NULL},
};

static const expression *find(mia_op op) {
    for (size_t i = 0; i < sizeof expressions / sizeof expressions[0]; i++)
        if (expressions[i].op == op) return &expressions[i];
    return NULL;
}

bool mia__expression(mia__kernel *k, mia_op op, mia_dtype dtype, const mia__attributes *attributes,
                     uint32_t instruction, char *name, size_t capacity) {
    const expression *found = find(op);
    const char *type = mia__kernel_type(dtype);
    const char *body = found == NULL ? NULL : strcmp(type, "f32") == 0 ? found->real : found->whole;
    (void)attributes, (void)instruction;
    if (body == NULL) return false;
    (void)snprintf(name, capacity, "op_%s_%s", mia_op_describe(op)->name, type);
    mia__kernel_add(k, "fn %s(a: %s, b: %s) -> %s { return %s; }\n", name, type, type, type, body);
    return true;
}

bool mia__expression_convert(mia__kernel *k, mia_dtype from, mia_dtype to, char *name, size_t capacity) {
    (void)snprintf(name, capacity, "convert_%s_%s", mia_dtype_describe(from)->name,
                   mia_dtype_describe(to)->name);
    mia__kernel_add(k, "fn %s(a: %s) -> %s { return %s(a); }\n", name, mia__kernel_type(from),
                    mia__kernel_type(to), mia__kernel_type(to));
    return true;
}
