/* Steps of optimisers: a rate, a number of updates, then tensors, their gradients, and states of them. */
#include "onnx/graph.h"

/* G + c X, kept. */
static mia_tensor regular(onnx_node *n, size_t x, size_t g) {
    mia_tensor decay = mul_number(onnx_in(n, x), onnx_float(n, "norm_coefficient", 0));
    return onnx_keep(n, OP(add, decay, onnx_in(n, g)));
}

/* a x + b y, consuming x and y; kept. */
static mia_tensor mix(onnx_node *n, double a, mia_tensor x, double b, mia_tensor y) {
    return onnx_keep(n, OP(add, mul_number(x, a), mul_number(y, b)));
}

static void adagrad(onnx_node *n) {
    size_t count = (n->inputs - 2) / 3;
    double rate = onnx_real(n, 0) / (1 + onnx_real(n, 1) * onnx_float(n, "decay_factor", 0));
    for (size_t i = 0; i < count; i++) {
        mia_tensor g = regular(n, 2 + i, 2 + count + i);
        mia_tensor h = mix(n, 1, onnx_in(n, 2 + 2 * count + i), 1, OP(square, OP(ref, g)));
        mia_tensor below = add_number(OP(sqrt, OP(ref, h)), onnx_float(n, "epsilon", 1e-6));
        mia_tensor step = mul_number(OP(div, OP(ref, g), below), rate);
        onnx_out(n, i, OP(sub, onnx_in(n, 2 + i), step));
        onnx_out(n, count + i, OP(ref, h));
    }
}

static void momentum(onnx_node *n) {
    size_t count = (n->inputs - 2) / 3;
    double alpha = onnx_float(n, "alpha", 0.9), rate = onnx_real(n, 0);
    double beta = onnx_real(n, 1) > 0 ? onnx_float(n, "beta", 1) : 1;
    bool nesterov = onnx_is(n, "mode", "nesterov");
    for (size_t i = 0; i < count; i++) {
        mia_tensor g = regular(n, 2 + i, 2 + count + i);
        mia_tensor v = mix(n, alpha, onnx_in(n, 2 + 2 * count + i), beta, OP(ref, g));
        mia_tensor step = nesterov ? OP(add, OP(ref, g), mul_number(OP(ref, v), alpha)) : OP(ref, v);
        onnx_out(n, i, OP(sub, onnx_in(n, 2 + i), mul_number(step, rate)));
        onnx_out(n, count + i, OP(ref, v));
    }
}

const onnx_operation onnx_training[] = {
    {"Adagrad", adagrad},
    {"Momentum", momentum},
    {0},
};
