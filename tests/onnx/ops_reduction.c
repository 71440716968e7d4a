/* Reductions over axes, places of extremes, order, and running sums. */
#include "onnx/graph.h"

/* The node's axes as modes: the attribute or input 1; all where none are named. *keep: 1 stays as extent. */
static uint32_t axes_of(onnx_node *n, bool *nothing) {
    uint32_t rank = onnx_shape(n, 0).ndim;
    bool given = false;
    uint32_t modes = onnx_modes(n, "axes", 1, rank, &given);
    *nothing = !given && onnx_int(n, "noop_with_empty_axes", 0) != 0;
    return given ? modes : MIA_ALL_MODES;
}

/* Gives what was reduced over `modes`, without them if so wanted. */
static void give(onnx_node *n, mia_tensor reduced, uint32_t modes) {
    if (onnx_int(n, "keepdims", 1) == 0) reduced = OP(squeeze, reduced, modes);
    onnx_out(n, 0, reduced);
}

/* An expression of x, to be consumed, and of the modes to reduce. */
#define REDUCTION(name, expression)                                                                          \
    static void name##_over(onnx_node *n) {                                                                  \
        bool nothing = false;                                                                                \
        uint32_t modes = axes_of(n, &nothing);                                                               \
        mia_tensor x = onnx_in(n, 0);                                                                        \
        if (nothing)                                                                                         \
            onnx_out(n, 0, x);                                                                               \
        else                                                                                                 \
            give(n, expression, modes);                                                                      \
    }

/* log(sum(exp(x))), without overflow. */
static mia_tensor log_sum_exp(onnx_node *n, mia_tensor given, uint32_t modes) {
    mia_tensor x = onnx_keep(n, given), greatest = onnx_keep(n, OP(reduce_max, OP(ref, x), modes));
    mia_tensor scaled = OP(exp, OP(sub, OP(ref, x), OP(ref, greatest)));
    return OP(add, OP(log, OP(sum, scaled, modes)), OP(ref, greatest));
}

REDUCTION(sum, OP(sum, x, modes))
REDUCTION(mean, OP(mean, x, modes))
REDUCTION(max, OP(reduce_max, x, modes))
REDUCTION(min, OP(reduce_min, x, modes))
REDUCTION(prod, OP(prod, x, modes))
REDUCTION(l1, OP(sum, OP(abs, x), modes))
REDUCTION(l2, OP(sqrt, OP(sum, OP(square, x), modes)))
REDUCTION(square, OP(sum, OP(square, x), modes))
REDUCTION(log_sum, OP(log, OP(sum, x, modes)))
REDUCTION(log_sum_exp, log_sum_exp(n, x, modes))

/* The last of equals is the first from the other end. */
static void arg(onnx_node *n, mia_tensor (*find)(mia_tensor, uint32_t, const char *, int)) {
    mia_shape shape = onnx_shape(n, 0);
    uint32_t mode = onnx_mode(n, onnx_int(n, "axis", 0), shape.ndim);
    int64_t last = shape.extent[mode] - 1;
    mia_tensor x = onnx_in(n, 0), place;
    if (onnx_int(n, "select_last_index", 0) == 0) {
        place = find(x, MIA_MODE(mode), __FILE__, __LINE__);
    } else {
        x = OP(slice, x, mode, last, last + 1, -1);
        place = add_number(OP(neg, find(x, MIA_MODE(mode), __FILE__, __LINE__)), (double)last);
    }
    give(n, place, MIA_MODE(mode));
}

static void arg_max(onnx_node *n) {
    arg(n, mia_op_argmax);
}

static void arg_min(onnx_node *n) {
    arg(n, mia_op_argmin);
}

/* 1 where the greatest of the axis is first, else 0. */
static void hardmax(onnx_node *n) {
    mia_shape shape = onnx_shape(n, 0);
    uint32_t mode = onnx_mode(n, onnx_int(n, "axis", -1), shape.ndim);
    mia_tensor places = onnx_places(n, shape.ndim, mode, shape.extent[mode]);
    mia_tensor chosen = OP(equal, OP(argmax, onnx_in(n, 0), MIA_MODE(mode)), places);
    onnx_out(n, 0, OP(convert, chosen, onnx_type(n, 0)));
}

static void top_k(onnx_node *n) {
    uint32_t mode = onnx_mode(n, onnx_int(n, "axis", -1), onnx_shape(n, 0).ndim);
    bool greatest = onnx_int(n, "largest", 1) != 0;
    int64_t k = onnx_integer(n, 1);
    onnx_out(n, 0, OP(top_k, onnx_in(n, 0), mode, k, greatest));
    onnx_out(n, 1, OP(top_k_indices, onnx_in(n, 0), mode, k, greatest));
}

static void cumulative_sum(onnx_node *n) {
    uint32_t mode = onnx_mode(n, onnx_integer(n, 1), onnx_shape(n, 0).ndim);
    bool exclusive = onnx_int(n, "exclusive", 0) != 0, reverse = onnx_int(n, "reverse", 0) != 0;
    onnx_out(n, 0, OP(cumsum, onnx_in(n, 0), mode, exclusive, reverse));
}

const onnx_operation onnx_reduction[] = {
    {"ArgMax", arg_max},
    {"ArgMin", arg_min},
    {"CumSum", cumulative_sum},
    {"Hardmax", hardmax},
    {"ReduceL1", l1_over},
    {"ReduceL2", l2_over},
    {"ReduceLogSum", log_sum_over},
    {"ReduceLogSumExp", log_sum_exp_over},
    {"ReduceMax", max_over},
    {"ReduceMean", mean_over},
    {"ReduceMin", min_over},
    {"ReduceProd", prod_over},
    {"ReduceSum", sum_over},
    {"ReduceSumSquare", square_over},
    {"TopK", top_k},
    {0},
};
