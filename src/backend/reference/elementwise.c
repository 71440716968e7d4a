/* Element-wise operations: one kernel that finds its operation in a table of functions of numbers.
 * Floating-point types are computed in double and rounded once; integers in 64 bits, and wrap when stored. */
#include "backend/reference/element.h"

#include <math.h>

typedef struct elementwise_rule {
    mia_op op;
    double (*real)(double a, double b);     /* unary operations ignore b */
    int64_t (*whole)(int64_t a, int64_t b); /* NULL: not of integers */
} elementwise_rule;

/* --- floating-point --------------------------------------------------------------------------- */

static double add(double a, double b) {
    return a + b;
}
static double sub(double a, double b) {
    return a - b;
}
static double mul(double a, double b) {
    return a * b;
}
static double divide(double a, double b) {
    return a / b;
}
static double least(double a, double b) {
    return isnan(a) || isnan(b) ? (double)NAN : a < b ? a : b;
}
static double greatest(double a, double b) {
    return isnan(a) || isnan(b) ? (double)NAN : a > b ? a : b;
}
static double negate(double a, double b) {
    return (void)b, -a;
}
static double absolute(double a, double b) {
    return (void)b, fabs(a);
}
static double square(double a, double b) {
    return (void)b, a * a;
}
static double relu(double a, double b) {
    return (void)b, a < 0 ? 0 : a;
}
static double root(double a, double b) {
    return (void)b, sqrt(a);
}
static double inverse_root(double a, double b) {
    return (void)b, 1 / sqrt(a);
}
static double reciprocal(double a, double b) {
    return (void)b, 1 / a;
}
static double exponential(double a, double b) {
    return (void)b, exp(a);
}
static double logarithm(double a, double b) {
    return (void)b, log(a);
}
static double tangent(double a, double b) {
    return (void)b, tanh(a);
}
static double sigmoid(double a, double b) {
    return (void)b, 1 / (1 + exp(-a));
}
static double silu(double a, double b) {
    return (void)b, a / (1 + exp(-a));
}

/* erfc keeps the digits that 1 + erf loses where x is far below 0. */
static double gelu(double a, double b) {
    return (void)b, a * erfc(-a * sqrt(0.5)) / 2;
}

static double gelu_tanh(double a, double b) {
    (void)b;
    const double root_of_two_over_pi = 0.79788456080286535588;
    double inner = root_of_two_over_pi * (a + 0.044715 * a * a * a);
    /* (1 + tanh(y)) / 2 is sigmoid(2 y), which keeps its digits far below 0 */
    return a / (1 + exp(-2 * inner));
}

/* --- integers: by way of unsigned numbers, where overflow is defined -------------------------- */

static int64_t whole_add(int64_t a, int64_t b) {
    return a + b;
}
static int64_t whole_sub(int64_t a, int64_t b) {
    return a - b;
}
static int64_t whole_mul(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a * (uint64_t)b);
}
static int64_t whole_div(int64_t a, int64_t b) {
    return b == 0 ? 0 : a / b;
}
static int64_t whole_least(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t whole_greatest(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static int64_t whole_negate(int64_t a, int64_t b) {
    return (void)b, -a;
}
static int64_t whole_absolute(int64_t a, int64_t b) {
    return (void)b, a < 0 ? -a : a;
}
static int64_t whole_square(int64_t a, int64_t b) {
    return (void)b, whole_mul(a, a);
}
static int64_t whole_relu(int64_t a, int64_t b) {
    return (void)b, a < 0 ? 0 : a;
}

static const elementwise_rule rules[] = {
    {MIA_OP_add, add, whole_add},
    {MIA_OP_sub, sub, whole_sub},
    {MIA_OP_mul, mul, whole_mul},
    {MIA_OP_div, divide, whole_div},
    {MIA_OP_min, least, whole_least},
    {MIA_OP_max, greatest, whole_greatest},
    {MIA_OP_neg, negate, whole_negate},
    {MIA_OP_abs, absolute, whole_absolute},
    {MIA_OP_square, square, whole_square},
    {MIA_OP_relu, relu, whole_relu},
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
};

static const elementwise_rule *find(mia_op op) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].op == op) return &rules[i];
    return NULL;
}

void mia__reference_elementwise(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    const elementwise_rule *rule = find(step->op);
    mia_dtype dtype = step->output.dtype;
    mia__walk walk;
    if (rule == NULL || !mia__walk_start(&walk, &step->output.view, 0)) return;
    uint32_t last = step->input_count > 1 ? 1 : 0; /* a unary operation gets its operand twice */
    uint32_t o = mia__walk_add(&walk, &step->output.view);
    uint32_t a = mia__walk_add(&walk, &step->inputs[0].view);
    uint32_t b = mia__walk_add(&walk, &step->inputs[last].view);
    do {
        if (mia__is_float(dtype)) {
            double x = mia__load(dtype, args->inputs[0], walk.at[a]);
            double y = mia__load(dtype, args->inputs[last], walk.at[b]);
            mia__store(dtype, args->output, walk.at[o], rule->real(x, y));
        } else if (rule->whole != NULL) {
            int64_t x = mia__load_whole(dtype, args->inputs[0], walk.at[a]);
            int64_t y = mia__load_whole(dtype, args->inputs[last], walk.at[b]);
            mia__store_whole(dtype, args->output, walk.at[o], rule->whole(x, y));
        }
    } while (mia__walk_next(&walk));
}
