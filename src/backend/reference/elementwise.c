/* Element-wise operations: one kernel that finds its operation in a table of functions of numbers.
 * Floating-point types are computed in double and rounded once; integers in 64 bits, and wrap when stored;
 * bool8 is 0 or 1. */
#include "backend/reference/element.h"

#include <math.h>

/* --- floating-point: x has the operands, f the real attributes -------------------------------- */

#define REAL(name, value)                                                                                    \
    static double name(const double *x, const double *f) {                                                   \
        (void)f;                                                                                             \
        return value;                                                                                        \
    }

REAL(add, x[0] + x[1])
REAL(sub, x[0] - x[1])
REAL(mul, x[0] * x[1])
REAL(divide, x[0] / x[1])
REAL(least, isnan(x[0]) || isnan(x[1]) ? (double)NAN : x[0] < x[1] ? x[0] : x[1])
REAL(greatest, isnan(x[0]) || isnan(x[1]) ? (double)NAN : x[0] > x[1] ? x[0] : x[1])
REAL(power, pow(x[0], x[1]))
REAL(truncated_rest, fmod(x[0], x[1]))
REAL(equal, x[0] == x[1])
REAL(not_equal, x[0] != x[1])
REAL(less, x[0] < x[1])
REAL(less_equal, x[0] <= x[1])
REAL(greater, x[0] > x[1])
REAL(greater_equal, x[0] >= x[1])
REAL(negate, -x[0])
REAL(absolute, fabs(x[0]))
REAL(square, x[0] * x[0])
REAL(relu, x[0] < 0 ? 0 : x[0])
REAL(root, sqrt(x[0]))
REAL(inverse_root, 1 / sqrt(x[0]))
REAL(reciprocal, 1 / x[0])
REAL(exponential, exp(x[0]))
REAL(logarithm, log(x[0]))
REAL(tangent, tanh(x[0]))
REAL(sigmoid, 1 / (1 + exp(-x[0])))
REAL(silu, x[0] / (1 + exp(-x[0])))
REAL(sign, x[0] > 0 ? 1 : x[0] < 0 ? -1 : x[0])
REAL(sine, sin(x[0]))
REAL(cosine, cos(x[0]))
REAL(error_function, erf(x[0]))
REAL(next_below, floor(x[0]))
REAL(next_above, ceil(x[0]))
REAL(nearest, rint(x[0]))
REAL(softplus, (x[0] > 0 ? x[0] : 0) + log1p(exp(-fabs(x[0]))))
REAL(hardswish, x[0] * fmin(fmax(x[0] / 6 + 0.5, 0), 1))
REAL(leaky_relu, x[0] < 0 ? f[0] * x[0] : x[0])
REAL(elu, x[0] < 0 ? f[0] * expm1(x[0]) : x[0])

/* Of b's sign, zeros too: as in Python, so what lies below an infinite b is infinite. */
static double floored_rest(const double *x, const double *f) {
    (void)f;
    double rest = fmod(x[0], x[1]);
    if (rest == 0) return copysign(rest, x[1]);
    return (rest < 0) != (x[1] < 0) ? rest + x[1] : rest;
}

/* erfc keeps the digits that 1 + erf loses where x is far below 0. */
static double gelu(const double *x, const double *f) {
    return (void)f, x[0] * erfc(-x[0] * sqrt(0.5)) / 2;
}

static double gelu_tanh(const double *x, const double *f) {
    (void)f;
    const double root_of_two_over_pi = 0.79788456080286535588;
    double inner = root_of_two_over_pi * (x[0] + 0.044715 * x[0] * x[0] * x[0]);
    /* (1 + tanh(y)) / 2 is sigmoid(2 y), which keeps its digits far below 0 */
    return x[0] / (1 + exp(-2 * inner));
}

static double squared_relu(const double *x, const double *f) {
    double positive = relu(x, f);
    return positive * positive;
}

static double clamp(const double *x, const double *f) {
    double least_of[2] = {x[0], f[0]}, most_of[2] = {greatest(least_of, f), f[1]};
    return least(most_of, f);
}

/* --- integers: by way of unsigned numbers, where overflow is defined -------------------------- */

#define WHOLE(name, value)                                                                                   \
    static int64_t whole_##name(const int64_t *x, const double *f) {                                         \
        (void)f;                                                                                             \
        return value;                                                                                        \
    }

WHOLE(add, x[0] + x[1])
WHOLE(sub, x[0] - x[1])
WHOLE(mul, (int64_t)((uint64_t)x[0] * (uint64_t)x[1]))
WHOLE(div, x[1] == 0 ? 0 : x[0] / x[1])
WHOLE(least, x[0] < x[1] ? x[0] : x[1])
WHOLE(greatest, x[0] > x[1] ? x[0] : x[1])
WHOLE(fmod, x[1] == 0 ? 0 : x[0] % x[1])
WHOLE(equal, x[0] == x[1])
WHOLE(not_equal, x[0] != x[1])
WHOLE(less, x[0] < x[1])
WHOLE(less_equal, x[0] <= x[1])
WHOLE(greater, x[0] > x[1])
WHOLE(greater_equal, x[0] >= x[1])
WHOLE(and, x[0] & x[1])
WHOLE(or, x[0] | x[1])
WHOLE(xor, x[0] ^ x[1])
WHOLE(not, x[0] ^ 1)
WHOLE(negate, -x[0])
WHOLE(absolute, x[0] < 0 ? -x[0] : x[0])
WHOLE(square, (int64_t)((uint64_t)x[0] * (uint64_t)x[0]))
WHOLE(relu, x[0] < 0 ? 0 : x[0])
WHOLE(squared_relu, x[0] < 0 ? 0 : (int64_t)((uint64_t)x[0] * (uint64_t)x[0]))
WHOLE(sign, (x[0] > 0) - (x[0] < 0))

static int64_t whole_mod(const int64_t *x, const double *f) {
    int64_t rest = whole_fmod(x, f);
    return rest != 0 && (rest < 0) != (x[1] < 0) ? rest + x[1] : rest;
}

/* A negative power is 1 divided by the positive one, towards zero; of 0 it is 0, as all division by zero. */
static int64_t whole_pow(const int64_t *x, const double *f) {
    (void)f;
    if (x[1] < 0) return x[0] == 1 ? 1 : x[0] == -1 ? (x[1] % 2 == 0 ? 1 : -1) : 0;
    uint64_t result = 1, factor = (uint64_t)x[0];
    for (uint64_t left = (uint64_t)x[1]; left > 0; left /= 2, factor *= factor)
        if (left % 2 == 1) result *= factor;
    return (int64_t)result;
}

static int64_t whole_clamp(const int64_t *x, const double *f) {
    int64_t low = (int64_t)f[0], high = (int64_t)f[1], raised = x[0] < low ? low : x[0];
    return raised > high ? high : raised;
}

/* --- the table -------------------------------------------------------------------------------- */

typedef struct elementwise_rule {
    mia_op op;
    mia__real_function real;                             /* NULL: not of floating-point numbers */
    int64_t (*whole)(const int64_t *x, const double *f); /* NULL: not of integers */
} elementwise_rule;

static const elementwise_rule rules[] = {
    {MIA_OP_add, add, whole_add},
    {MIA_OP_sub, sub, whole_sub},
    {MIA_OP_mul, mul, whole_mul},
    {MIA_OP_div, divide, whole_div},
    {MIA_OP_min, least, whole_least},
    {MIA_OP_max, greatest, whole_greatest},
    {MIA_OP_pow, power, whole_pow},
    {MIA_OP_mod, floored_rest, whole_mod},
    {MIA_OP_fmod, truncated_rest, whole_fmod},
    {MIA_OP_equal, equal, whole_equal},
    {MIA_OP_not_equal, not_equal, whole_not_equal},
    {MIA_OP_less, less, whole_less},
    {MIA_OP_less_equal, less_equal, whole_less_equal},
    {MIA_OP_greater, greater, whole_greater},
    {MIA_OP_greater_equal, greater_equal, whole_greater_equal},
    {MIA_OP_logical_and, NULL, whole_and},
    {MIA_OP_logical_or, NULL, whole_or},
    {MIA_OP_logical_xor, NULL, whole_xor},
    {MIA_OP_logical_not, NULL, whole_not},
    {MIA_OP_neg, negate, whole_negate},
    {MIA_OP_abs, absolute, whole_absolute},
    {MIA_OP_square, square, whole_square},
    {MIA_OP_relu, relu, whole_relu},
    {MIA_OP_squared_relu, squared_relu, whole_squared_relu},
    {MIA_OP_sign, sign, whole_sign},
    {MIA_OP_clamp, clamp, whole_clamp},
    {MIA_OP_sqrt, root, NULL},
    {MIA_OP_rsqrt, inverse_root, NULL},
    {MIA_OP_reciprocal, reciprocal, NULL},
    {MIA_OP_exp, exponential, NULL},
    {MIA_OP_log, logarithm, NULL},
    {MIA_OP_tanh, tangent, NULL},
    {MIA_OP_sigmoid, sigmoid, NULL},
    {MIA_OP_silu, silu, NULL},
    {MIA_OP_gelu, gelu, NULL},
    {MIA_OP_gelu_tanh, gelu_tanh, NULL},
    {MIA_OP_sin, sine, NULL},
    {MIA_OP_cos, cosine, NULL},
    {MIA_OP_erf, error_function, NULL},
    {MIA_OP_floor, next_below, NULL},
    {MIA_OP_ceil, next_above, NULL},
    {MIA_OP_round, nearest, NULL},
    {MIA_OP_softplus, softplus, NULL},
    {MIA_OP_hardswish, hardswish, NULL},
    {MIA_OP_leaky_relu, leaky_relu, NULL},
    {MIA_OP_elu, elu, NULL},
};

static const elementwise_rule *find(mia_op op) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].op == op) return &rules[i];
    return NULL;
}

mia__real_function mia__reference_real(mia_op op) {
    const elementwise_rule *rule = find(op);
    return rule != NULL ? rule->real : NULL;
}

/* An end of a clamp: floating-point numbers are rounded, integers rounded and saturated; NaN is 0 as an
 * integer, and else makes everything NaN. */
static double end_in(mia_dtype dtype, double value) {
    static const double ends[][2] = {
        {INT32_MIN, INT32_MAX}, {0, UINT32_MAX}, {INT8_MIN, INT8_MAX}, {0, UINT8_MAX}};
    uint64_t room = 0;
    if (mia__is_float(dtype)) {
        mia__store(dtype, &room, 0, value);
        return mia__load(dtype, &room, 0);
    }
    if (isnan(value) || dtype < MIA_i32 || dtype > MIA_u8) return 0;
    const double *end = ends[dtype - MIA_i32];
    return fmin(fmax(rint(value), end[0]), end[1]);
}

mia__attributes mia__elementwise_attributes(mia_op op, mia_dtype dtype, const mia__attributes *attributes) {
    mia__attributes out = *attributes;
    for (size_t i = 0; i < MIA_MAX_REALS && op == MIA_OP_clamp; i++) out.f[i] = end_in(dtype, out.f[i]);
    return out;
}

/* --- the kernel ------------------------------------------------------------------------------- */

static void store_result(const mia__operand *output, void *base, int64_t at, int64_t whole) {
    if (output->dtype == MIA_bool8)
        ((uint8_t *)base)[at] = whole != 0;
    else
        mia__store_whole(output->dtype, base, at, whole);
}

/* One element; `type` is that of the operands. */
static void compute(const elementwise_rule *rule, mia_dtype type, const mia__kernel_args *args,
                    const int64_t *at, int64_t out_at, const double *f) {
    const mia__operand *output = &args->step->output;
    double x[MIA__MAX_OPERANDS] = {0};
    int64_t whole[MIA__MAX_OPERANDS] = {0};
    for (uint32_t i = 0; i < args->step->input_count; i++) {
        x[i] = mia__load(type, args->inputs[i], at[i]);
        if (!mia__is_float(type)) whole[i] = (int64_t)x[i];
    }
    if (!mia__is_float(type) && rule->whole != NULL) {
        store_result(output, args->output, out_at, rule->whole(whole, f));
    } else if (mia__is_float(type) && rule->real != NULL) {
        double result = rule->real(x, f);
        if (mia__is_float(output->dtype))
            mia__store(output->dtype, args->output, out_at, result);
        else
            store_result(output, args->output, out_at, result != 0);
    }
}

/* Elements as they are, of operand 1 or 2. */
static void choose(const mia__kernel_args *args, const int64_t *at, int64_t out_at) {
    const mia__operand *output = &args->step->output;
    uint32_t chosen = mia__load(MIA_bool8, args->inputs[0], at[0]) != 0 ? 1 : 2;
    size_t bytes = mia_dtype_describe(output->dtype)->bytes;
    uint8_t *to = (uint8_t *)args->output + out_at * (int64_t)bytes;
    memmove(to, (const uint8_t *)args->inputs[chosen] + at[chosen] * (int64_t)bytes, bytes);
    if (output->dtype == MIA_bool8) *to = *to != 0;
}

void mia__reference_elementwise(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    const elementwise_rule *rule = find(step->op);
    mia_dtype type = step->inputs[0].dtype;
    mia__attributes attributes = mia__elementwise_attributes(step->op, type, &step->attributes);
    mia__walk walk;
    if ((rule == NULL && step->op != MIA_OP_where) || !mia__walk_start(&walk, &step->output.view, 0)) return;
    uint32_t o = mia__walk_add(&walk, &step->output.view);
    for (uint32_t i = 0; i < step->input_count; i++) (void)mia__walk_add(&walk, &step->inputs[i].view);
    do {
        if (rule == NULL)
            choose(args, &walk.at[o + 1], walk.at[o]);
        else
            compute(rule, type, args, &walk.at[o + 1], walk.at[o], attributes.f);
    } while (mia__walk_next(&walk));
}
