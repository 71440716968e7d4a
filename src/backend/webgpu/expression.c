/* Element-wise operations as functions of a shader (expression.h), from a table: an operation has an expression of
 * floating-point numbers and one of integers, of operands a, b, c and attributes f0, f1. Integers of 8 bits are computed
 * in 32, and wrap when they are stored. */
#include "backend/webgpu/expression.h"

#include "backend/reference/reference.h"
#include "backend/webgpu/math.h"
#include "graph/ops.h"

#include <stdio.h>
#include <string.h>

typedef struct rule {
    mia_op op;
    uint32_t attributes;
    const char *real;  /* of f32; NULL: not of such */
    const char *needs; /* of math.h, for that */
    const char *i32, *u32;
} rule;

#define BOTH(text) text, text

static const rule rules[] = {
    {MIA_OP_add, 0, "a + b", NULL, BOTH("a + b")},
    {MIA_OP_sub, 0, "a - b", NULL, BOTH("a - b")},
    {MIA_OP_mul, 0, "a * b", NULL, BOTH("a * b")},
    /* WGSL gives a for the division of the least number by -1, which is what wraps; divisors of 0 are ours */
    {MIA_OP_div, 0, "m_divide(a, b)", "m_divide", "select(a / select(b, 1i, b == 0i), 0i, b == 0i)",
     "select(a / select(b, 1u, b == 0u), 0u, b == 0u)"},
    {MIA_OP_min, 0, "m_min(a, b)", "m_min", BOTH("min(a, b)")},
    {MIA_OP_max, 0, "m_max(a, b)", "m_max", BOTH("max(a, b)")},
    {MIA_OP_pow, 0, "m_pow(a, b)", "m_pow", "m_ipow(a, b)", "m_upow(a, b)"},
    {MIA_OP_mod, 0, "m_mod(a, b)", "m_mod", "i_mod(a, b)", "select(a % select(b, 1u, b == 0u), 0u, b == 0u)"},
    {MIA_OP_fmod, 0, "m_fmod(a, b)", "m_fmod", "select(a % select(b, 1i, b == 0i), 0i, b == 0i)",
     "select(a % select(b, 1u, b == 0u), 0u, b == 0u)"},
    {MIA_OP_equal, 0, "select(0u, 1u, !m_is_nan(a) && !m_is_nan(b) && a == b)", "m_is_nan",
     BOTH("select(0u, 1u, a == b)")},
    {MIA_OP_not_equal, 0, "select(0u, 1u, m_is_nan(a) || m_is_nan(b) || a != b)", "m_is_nan",
     BOTH("select(0u, 1u, a != b)")},
    {MIA_OP_less, 0, "select(0u, 1u, !m_is_nan(a) && !m_is_nan(b) && a < b)", "m_is_nan",
     BOTH("select(0u, 1u, a < b)")},
    {MIA_OP_less_equal, 0, "select(0u, 1u, !m_is_nan(a) && !m_is_nan(b) && a <= b)", "m_is_nan",
     BOTH("select(0u, 1u, a <= b)")},
    {MIA_OP_greater, 0, "select(0u, 1u, !m_is_nan(a) && !m_is_nan(b) && a > b)", "m_is_nan",
     BOTH("select(0u, 1u, a > b)")},
    {MIA_OP_greater_equal, 0, "select(0u, 1u, !m_is_nan(a) && !m_is_nan(b) && a >= b)", "m_is_nan",
     BOTH("select(0u, 1u, a >= b)")},
    {MIA_OP_logical_and, 0, NULL, NULL, NULL, "a & b"},
    {MIA_OP_logical_or, 0, NULL, NULL, NULL, "a | b"},
    {MIA_OP_logical_xor, 0, NULL, NULL, NULL, "a ^ b"},
    {MIA_OP_where, 0, "select(c, b, a != 0u)", NULL, BOTH("select(c, b, a != 0u)")},
    {MIA_OP_neg, 0, "-a", NULL, "0i - a", "0u - a"},
    {MIA_OP_abs, 0, "abs(a)", NULL, BOTH("abs(a)")},
    {MIA_OP_square, 0, "a * a", NULL, BOTH("a * a")},
    {MIA_OP_relu, 0, "select(a, 0.0f, !m_is_nan(a) && a < 0.0f)", "m_is_nan", "max(a, 0i)", "a"},
    {MIA_OP_sqrt, 0, "m_sqrt(a)", "m_sqrt", BOTH(NULL)},
    {MIA_OP_rsqrt, 0, "inverseSqrt(a)", NULL, BOTH(NULL)},
    {MIA_OP_reciprocal, 0, "m_divide(1.0f, a)", "m_divide", BOTH(NULL)},
    {MIA_OP_exp, 0, "m_exp(a)", "m_exp", BOTH(NULL)},
    {MIA_OP_log, 0, "m_log(a)", "m_log", BOTH(NULL)},
    {MIA_OP_tanh, 0, "m_tanh(a)", "m_tanh", BOTH(NULL)},
    {MIA_OP_sigmoid, 0, "m_sigmoid(a)", "m_sigmoid", BOTH(NULL)},
    {MIA_OP_silu, 0, "a * m_sigmoid(a)", "m_sigmoid", BOTH(NULL)},
    {MIA_OP_gelu, 0, "m_gelu(a)", "m_gelu", BOTH(NULL)},
    {MIA_OP_gelu_tanh, 0, "m_gelu_tanh(a)", "m_gelu_tanh", BOTH(NULL)},
    {MIA_OP_sign, 0, "select(select(a, -1.0f, a < 0.0f), 1.0f, a > 0.0f)", NULL, "sign(a)", "min(a, 1u)"},
    {MIA_OP_sin, 0, "m_sin(a)", "m_sin", BOTH(NULL)},
    {MIA_OP_cos, 0, "m_cos(a)", "m_cos", BOTH(NULL)},
    {MIA_OP_erf, 0, "m_erf(a)", "m_erf", BOTH(NULL)},
    {MIA_OP_floor, 0, "floor(a)", NULL, BOTH(NULL)},
    {MIA_OP_ceil, 0, "ceil(a)", NULL, BOTH(NULL)},
    {MIA_OP_round, 0, "round(a)", NULL, BOTH(NULL)},
    {MIA_OP_softplus, 0, "m_softplus(a)", "m_softplus", BOTH(NULL)},
    {MIA_OP_hardswish, 0, "a * (m_min(m_max(a + 3.0f, 0.0f), 6.0f) * 0x1.555556p-3f)", "m_min m_max",
     BOTH(NULL)},
    {MIA_OP_squared_relu, 0, "select(a * a, 0.0f, !m_is_nan(a) && a < 0.0f)", "m_is_nan",
     "max(a, 0i) * max(a, 0i)", "a * a"},
    {MIA_OP_logical_not, 0, NULL, NULL, NULL, "a ^ 1u"},
    {MIA_OP_leaky_relu, 1, "select(a, f0 * a, a < 0.0f)", NULL, BOTH(NULL)},
    {MIA_OP_elu, 1, "select(a, f0 * m_expm1(min(a, 0.0f)), !m_is_nan(a) && a < 0.0f)", "m_expm1 m_is_nan",
     BOTH(NULL)},
    {MIA_OP_clamp, 2, "m_min(m_max(a, f0), f1)", "m_min m_max", BOTH("min(max(a, f0), f1)")},
};

static const rule *find(mia_op op) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].op == op) return &rules[i];
    return NULL;
}

static bool compares(mia_op op) {
    return op >= MIA_OP_equal && op <= MIA_OP_greater_equal;
}

/* Of integers, which need only the functions that their texts name. */
static void put_whole_needs(mia__kernel *k, const char *body) {
    if (strstr(body, "m_ipow(") != NULL) mia__kernel_math(k, "m_ipow");
    if (strstr(body, "m_upow(") != NULL) mia__kernel_math(k, "m_upow");
    if (strstr(body, "i_mod(") != NULL && mia__kernel_lacks(k, "i_mod"))
        mia__kernel_put(k, "fn i_mod(a: i32, b: i32) -> i32 {\n"
                           "    if (b == 0i) { return 0i; }\n    let r = a % b;\n"
                           "    return select(r, r + b, r != 0i && (r < 0i) != (b < 0i));\n}\n");
}

/* Parameters <name>_f<i> of the dispatch. */
static void put_real_attributes(mia__kernel *k, const mia__expression *e, uint32_t count, mia_dtype dtype) {
    mia__attributes in_type = mia__elementwise_attributes(e->op, dtype, e->attributes);
    const char *type = mia__kernel_type(dtype);
    for (uint32_t i = 0; i < count; i++) {
        char field[32];
        (void)snprintf(field, sizeof field, "%s_f%u", e->name, i);
        if (strcmp(type, "f32") == 0)
            mia__kernel_f32(k, field, in_type.f[i]);
        else
            mia__kernel_u32(k, field, (uint64_t)(int64_t)in_type.f[i]);
    }
}

static bool put_rule(mia__kernel *k, const mia__expression *e, char *call, size_t capacity) {
    const rule *found = find(e->op);
    const char *type = mia__kernel_type(e->dtype), *result = compares(e->op) ? "u32" : type;
    bool real = strcmp(type, "f32") == 0;
    const char *body = found == NULL ? NULL : real ? found->real : type[0] == 'i' ? found->i32 : found->u32;
    if (body == NULL) return false;
    char name[64];
    (void)snprintf(name, sizeof name, "op_%s_%s", mia_op_describe(e->op)->name, type);
    put_real_attributes(k, e, found->attributes, e->dtype);
    if (mia__kernel_lacks(k, name)) {
        if (real && found->needs != NULL) mia__kernel_math(k, found->needs);
        if (!real) put_whole_needs(k, body);
        mia__kernel_add(k, "fn %s(", name);
        for (uint32_t i = 0; i < e->count; i++)
            mia__kernel_add(k, "%c: %s, ", 'a' + (int)i, e->op == MIA_OP_where && i == 0 ? "u32" : type);
        for (uint32_t i = 0; i < found->attributes; i++) mia__kernel_add(k, "f%u: %s, ", i, type);
        mia__kernel_add(k, ") -> %s { return %s; }\n", result, body);
    }
    int length = snprintf(call, capacity, "%s(%s", name, e->operands);
    for (uint32_t i = 0; i < found->attributes && (size_t)length < capacity; i++)
        length +=
            snprintf(call + length, capacity - (size_t)length, ", bitcast<%s>(p.%s_f%u)", type, e->name, i);
    if ((size_t)length + 1 < capacity) (void)snprintf(call + length, capacity - (size_t)length, ")");
    return (size_t)length + 1 < capacity;
}

/* --- operations that programs register ----------------------------------------------------------- */

/* Attributes that a text names, as parameters of a function or as what is handed to it. */
static int put_custom_attributes(mia__kernel *k, const mia__expression *e, bool define, char *call,
                                 size_t capacity, int length) {
    const char *wgsl = e->custom->description.wgsl;
    char field[MIA__EXPRESSION_CALL];
    for (uint32_t a = 0; a < MIA_MAX_REALS + MIA_MAX_INTEGERS && (size_t)length < capacity; a++) {
        bool real = a < MIA_MAX_REALS;
        uint32_t i = real ? a : a - MIA_MAX_REALS;
        (void)snprintf(field, sizeof field, "%c%u", real ? 'f' : 'i', i);
        if (strstr(wgsl, field) == NULL) continue;
        if (define) mia__kernel_add(k, "%s: %s, ", field, real ? "f32" : "i32");
        (void)snprintf(field, sizeof field, "%s_%c%u", e->name, real ? 'f' : 'i', i);
        if (real)
            mia__kernel_f32(k, field, e->attributes->f[i]);
        else
            mia__kernel_u32(k, field, (uint64_t)e->attributes->i[i]);
        length += snprintf(call + length, capacity - (size_t)length, ", bitcast<%s>(p.%s)",
                           real ? "f32" : "i32", field);
    }
    return length;
}

/* The body that the program gives, as a function of numbers x0, x1, ... and those attributes that it names. What it
 * returns becomes the result's type as a conversion does. */
static bool put_custom(mia__kernel *k, const mia__expression *e, char *call, size_t capacity) {
    const char *wgsl = e->custom->description.wgsl;
    char name[128], convert[64];
    if (wgsl == NULL) return false;
    (void)snprintf(name, sizeof name, "custom_%.100s", e->custom->row.info.name);
    mia__expression_convert(k, MIA_f32, e->result, convert, sizeof convert);
    bool define = mia__kernel_lacks(k, name);
    if (define) mia__kernel_add(k, "fn %s(", name);
    for (uint32_t i = 0; define && i < e->count; i++) mia__kernel_add(k, "x%u: f32, ", i);
    int length = snprintf(call, capacity, "%s(%s(", convert, name);
    const char *operand = e->operands;
    for (uint32_t i = 0; i < e->count && (size_t)length < capacity; i++) {
        int letters = (int)strcspn(operand, ",");
        length += snprintf(call + length, capacity - (size_t)length, "%sf32(%.*s)", i > 0 ? ", " : "",
                           letters, operand);
        operand += letters + (operand[letters] != 0 ? 2 : 0);
    }
    length = put_custom_attributes(k, e, define, call, capacity, length);
    if (define) {
        mia__kernel_put(k, ") -> f32 {\n");
        mia__kernel_put(k, wgsl);
        mia__kernel_put(k, "\n}\n");
    }
    if ((size_t)length + 2 >= capacity) return false;
    (void)snprintf(call + length, capacity - (size_t)length, "))");
    return true;
}

bool mia__expression_put(mia__kernel *k, const mia__expression *expression, char *call, size_t capacity) {
    if (expression->custom != NULL) return put_custom(k, expression, call, capacity);
    if (expression->op == MIA_OP_convert) {
        char name[64];
        mia__expression_convert(k, expression->dtype, expression->result, name, sizeof name);
        return snprintf(call, capacity, "%s(%s)", name, expression->operands) < (int)capacity;
    }
    return put_rule(k, expression, call, capacity);
}

/* --- conversions -------------------------------------------------------------------------------- */

/* Of f32: to nearest even, saturated, NaN as 0. 2147483520 is the greatest f32 below 2^31. */
static const char *from_real(mia_dtype to) {
    switch ((int)to) {
    case MIA_i32:
        return "select(select(i32(clamp(round(v), -2147483648.0f, 2147483520.0f)), 2147483647i, v >= "
               "2147483648.0f), "
               "0i, m_is_nan(v))";
    case MIA_u32:
        return "select(select(u32(clamp(round(v), 0.0f, 4294967040.0f)), 0xffffffffu, v >= 4294967296.0f), "
               "0u, "
               "m_is_nan(v))";
    case MIA_i8: return "select(i32(clamp(round(v), -128.0f, 127.0f)), 0i, m_is_nan(v))";
    case MIA_u8: return "select(u32(clamp(round(v), 0.0f, 255.0f)), 0u, m_is_nan(v))";
    case MIA_bool8: return "select(0u, 1u, (bitcast<u32>(v) & 0x7fffffffu) != 0u)";
    default: return "v";
    }
}

static const char *from_whole(bool is_signed, mia_dtype to) {
    switch ((int)to) {
    case MIA_i32: return is_signed ? "v" : "i32(min(v, 0x7fffffffu))";
    case MIA_u32: return is_signed ? "u32(max(v, 0i))" : "v";
    case MIA_i8: return is_signed ? "clamp(v, -128i, 127i)" : "i32(min(v, 127u))";
    case MIA_u8: return is_signed ? "u32(clamp(v, 0i, 255i))" : "min(v, 255u)";
    case MIA_bool8: return is_signed ? "select(0u, 1u, v != 0i)" : "min(v, 1u)";
    default: return "f32(v)";
    }
}

void mia__expression_convert(mia__kernel *k, mia_dtype from, mia_dtype to, char *name, size_t capacity) {
    const char *type = mia__kernel_type(from);
    bool real = strcmp(type, "f32") == 0;
    (void)snprintf(name, capacity, "convert_%s_%s", type, mia_dtype_describe(to)->name);
    if (!mia__kernel_lacks(k, name)) return;
    if (real) mia__kernel_math(k, "m_is_nan");
    mia__kernel_add(k, "fn %s(v: %s) -> %s { return %s; }\n", name, type, mia__kernel_type(to),
                    real ? from_real(to) : from_whole(type[0] == 'i', to));
}
