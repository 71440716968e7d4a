/* Arithmetic, comparisons, logic and functions of one number. */
#include "onnx/graph.h"

#include <math.h>

#define UNARY(name)                                                                                          \
    static void name##_(onnx_node *n) {                                                                      \
        onnx_out(n, 0, OP(name, onnx_in(n, 0)));                                                             \
    }
#define BINARY(name)                                                                                         \
    static void name##_(onnx_node *n) {                                                                      \
        onnx_out(n, 0, OP(name, onnx_in(n, 0), onnx_in(n, 1)));                                              \
    }
/* Of any number of tensors. */
#define MANY(name)                                                                                           \
    static mia_tensor name##_of_all(onnx_node *n) {                                                          \
        mia_tensor result = onnx_in(n, 0);                                                                   \
        for (size_t i = 1; i < n->inputs; i++) result = OP(name, result, onnx_in(n, i));                     \
        return result;                                                                                       \
    }

BINARY(add)
BINARY(sub)
BINARY(mul)
BINARY(div)
BINARY(equal)
BINARY(less)
BINARY(less_equal)
BINARY(greater)
BINARY(greater_equal)
BINARY(logical_and)
BINARY(logical_or)
BINARY(logical_xor)
MANY(min)
MANY(max)
MANY(add)

static void least(onnx_node *n) {
    onnx_out(n, 0, min_of_all(n));
}

static void greatest(onnx_node *n) {
    onnx_out(n, 0, max_of_all(n));
}

static void sum_of_inputs(onnx_node *n) {
    onnx_out(n, 0, add_of_all(n));
}

static void mean_of_inputs(onnx_node *n) {
    onnx_out(n, 0, div_number(add_of_all(n), (double)n->inputs));
}

/* Base and exponent may differ in type: the result has the base's, and reals are used where there are any. */
static void power(onnx_node *n) {
    mia_dtype base = onnx_type(n, 0), exponent = onnx_type(n, 1), common = base;
    if (mia_dtype_describe(exponent)->kind == MIA_KIND_FLOAT &&
        mia_dtype_describe(base)->kind != MIA_KIND_FLOAT)
        common = exponent;
    mia_tensor a = OP(convert, onnx_in(n, 0), common), b = OP(convert, onnx_in(n, 1), common);
    onnx_out(n, 0, OP(convert, OP(pow, a, b), base));
}

static void modulo(onnx_node *n) {
    mia_tensor a = onnx_in(n, 0), b = onnx_in(n, 1);
    onnx_out(n, 0, onnx_int(n, "fmod", 0) != 0 ? OP(fmod, a, b) : OP(mod, a, b));
}

/* By y places: multiplied with, or divided by, 2 to the y; 0 where that is more than the type holds. */
static void bit_shift(onnx_node *n) {
    mia_tensor x = onnx_in(n, 0), y = onnx_in(n, 1);
    mia_tensor factor = OP(pow, OP(number, y, 2.0), y);
    onnx_out(n, 0, onnx_is(n, "direction", "LEFT") ? OP(mul, x, factor) : OP(div, x, factor));
}

UNARY(neg)
UNARY(abs)
UNARY(sqrt)
UNARY(reciprocal)
UNARY(exp)
UNARY(log)
UNARY(tanh)
UNARY(sign)
UNARY(sin)
UNARY(cos)
UNARY(erf)
UNARY(floor)
UNARY(ceil)
UNARY(round)
UNARY(logical_not)
UNARY(copy)

static void tangent(onnx_node *n) {
    onnx_out(n, 0, OP(div, OP(sin, onnx_in(n, 0)), OP(cos, onnx_in(n, 0))));
}

static void hyperbolic_sine(onnx_node *n) {
    mia_tensor difference = OP(sub, OP(exp, onnx_in(n, 0)), OP(exp, OP(neg, onnx_in(n, 0))));
    onnx_out(n, 0, mul_number(difference, 0.5));
}

static void hyperbolic_cosine(onnx_node *n) {
    mia_tensor sum = OP(add, OP(exp, onnx_in(n, 0)), OP(exp, OP(neg, onnx_in(n, 0))));
    onnx_out(n, 0, mul_number(sum, 0.5));
}

/* sign(x) log(|x| + sqrt(x^2 + 1)) */
static void inverse_hyperbolic_sine(onnx_node *n) {
    mia_tensor root = OP(sqrt, add_number(OP(square, onnx_in(n, 0)), 1));
    mia_tensor magnitude = OP(log, OP(add, OP(abs, onnx_in(n, 0)), root));
    onnx_out(n, 0, OP(mul, OP(sign, onnx_in(n, 0)), magnitude));
}

/* log(x + sqrt(x^2 - 1)) */
static void inverse_hyperbolic_cosine(onnx_node *n) {
    mia_tensor root = OP(sqrt, sub_number(OP(square, onnx_in(n, 0)), 1));
    onnx_out(n, 0, OP(log, OP(add, onnx_in(n, 0), root)));
}

/* log((1 + x) / (1 - x)) / 2 */
static void inverse_hyperbolic_tangent(onnx_node *n) {
    mia_tensor above = add_number(onnx_in(n, 0), 1), below = add_number(OP(neg, onnx_in(n, 0)), 1);
    onnx_out(n, 0, mul_number(OP(log, OP(div, above, below)), 0.5));
}

/* The angle in [-pi/2, pi/2] of a point (c, s) of the unit circle: s cos a - c sin a is the sine of what is
 * missing from a, so that adding it leaves a third power of that. Consumes both. */
static mia_tensor angle(onnx_node *n, mia_tensor s, mia_tensor c) {
    mia_tensor sine = onnx_keep(n, s), cosine = onnx_keep(n, c);
    mia_tensor a = OP(ref, sine);
    for (int i = 0; i < 4; i++) {
        mia_tensor now = onnx_keep(n, a);
        mia_tensor left = OP(mul, OP(ref, sine), OP(cos, OP(ref, now)));
        mia_tensor right = OP(mul, OP(ref, cosine), OP(sin, OP(ref, now)));
        a = OP(add, OP(ref, now), OP(sub, left, right));
    }
    return a;
}

static mia_tensor inverse_sine_of(onnx_node *n) {
    mia_tensor squared = OP(neg, OP(square, onnx_in(n, 0)));
    return angle(n, onnx_in(n, 0), OP(sqrt, add_number(squared, 1)));
}

static void inverse_sine(onnx_node *n) {
    onnx_out(n, 0, inverse_sine_of(n));
}

static void inverse_cosine(onnx_node *n) {
    onnx_out(n, 0, add_number(OP(neg, inverse_sine_of(n)), 1.57079632679489661923));
}

static void inverse_tangent(onnx_node *n) {
    mia_tensor c = onnx_keep(n, OP(rsqrt, add_number(OP(square, onnx_in(n, 0)), 1)));
    onnx_out(n, 0, angle(n, OP(mul, onnx_in(n, 0), OP(ref, c)), OP(ref, c)));
}

static void is_nan(onnx_node *n) {
    onnx_out(n, 0, OP(not_equal, onnx_in(n, 0), onnx_in(n, 0)));
}

static void is_infinite(onnx_node *n) {
    mia_tensor found = equal_number(OP(abs, onnx_in(n, 0)), (double)INFINITY);
    if (onnx_int(n, "detect_negative", 1) == 0)
        found = OP(logical_and, found, greater_number(onnx_in(n, 0), 0));
    if (onnx_int(n, "detect_positive", 1) == 0) found = OP(logical_and, found, less_number(onnx_in(n, 0), 0));
    onnx_out(n, 0, found);
}

static void choose(onnx_node *n) {
    onnx_out(n, 0, OP(where, onnx_in(n, 0), onnx_in(n, 1), onnx_in(n, 2)));
}

static void cast(onnx_node *n) {
    mia_dtype dtype = MIA_NONE;
    int32_t to = (int32_t)onnx_int(n, "to", 0);
    if (!onnx_dtype(to, &dtype))
        onnx_graph_stop(n->graph, ONNX_TYPE, "%s", onnx_type_name(to));
    else
        onnx_out(n, 0, onnx_cast(onnx_in(n, 0), dtype));
}

static void cast_like(onnx_node *n) {
    onnx_out(n, 0, onnx_cast(onnx_in(n, 0), onnx_type(n, 1)));
}

/* The clamp row where both ends are single numbers, as ONNX has them. */
static void clip(onnx_node *n) {
    double low = -(double)INFINITY, high = (double)INFINITY;
    if (onnx_has(n, 1)) low = onnx_real(n, 1);
    if (onnx_has(n, 2)) high = onnx_real(n, 2);
    low = onnx_float(n, "min", low), high = onnx_float(n, "max", high);
    onnx_out(n, 0, OP(clamp, onnx_in(n, 0), low, high));
}

const onnx_operation onnx_elementwise[] = {
    {"Abs", abs_},
    {"Acos", inverse_cosine},
    {"Acosh", inverse_hyperbolic_cosine},
    {"Add", add_},
    {"And", logical_and_},
    {"Asin", inverse_sine},
    {"Asinh", inverse_hyperbolic_sine},
    {"Atan", inverse_tangent},
    {"Atanh", inverse_hyperbolic_tangent},
    {"BitShift", bit_shift},
    {"Cast", cast},
    {"CastLike", cast_like},
    {"Ceil", ceil_},
    {"Clip", clip},
    {"Cos", cos_},
    {"Cosh", hyperbolic_cosine},
    {"Div", div_},
    {"Equal", equal_},
    {"Erf", erf_},
    {"Exp", exp_},
    {"Floor", floor_},
    {"Greater", greater_},
    {"GreaterOrEqual", greater_equal_},
    {"Identity", copy_},
    {"IsInf", is_infinite},
    {"IsNaN", is_nan},
    {"Less", less_},
    {"LessOrEqual", less_equal_},
    {"Log", log_},
    {"Max", greatest},
    {"Mean", mean_of_inputs},
    {"Min", least},
    {"Mod", modulo},
    {"Mul", mul_},
    {"Neg", neg_},
    {"Not", logical_not_},
    {"Or", logical_or_},
    {"Pow", power},
    {"Reciprocal", reciprocal_},
    {"Round", round_},
    {"Sign", sign_},
    {"Sin", sin_},
    {"Sinh", hyperbolic_sine},
    {"Sqrt", sqrt_},
    {"Sub", sub_},
    {"Sum", sum_of_inputs},
    {"Tan", tangent},
    {"Tanh", tanh_},
    {"Where", choose},
    {"Xor", logical_xor_},
    {0},
};
