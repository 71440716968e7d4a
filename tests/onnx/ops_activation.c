/* Activations. */
#include "onnx/graph.h"

#define ROW(name)                                                                                            \
    static void name(onnx_node *n) {                                                                         \
        onnx_out(n, 0, OP(name, onnx_in(n, 0)));                                                             \
    }

ROW(relu)
ROW(sigmoid)
ROW(softplus)
ROW(hardswish)

static void leaky_relu(onnx_node *n) {
    onnx_out(n, 0, OP(leaky_relu, onnx_in(n, 0), onnx_float(n, "alpha", 0.01)));
}

static void elu(onnx_node *n) {
    onnx_out(n, 0, OP(elu, onnx_in(n, 0), onnx_float(n, "alpha", 1)));
}

/* alpha elu(x / alpha) */
static void celu(onnx_node *n) {
    double alpha = onnx_float(n, "alpha", 1);
    onnx_out(n, 0, mul_number(OP(elu, div_number(onnx_in(n, 0), alpha), 1.0), alpha));
}

static void selu(onnx_node *n) {
    double alpha = onnx_float(n, "alpha", 1.67326319217681884765625);
    double gamma = onnx_float(n, "gamma", 1.05070102214813232421875);
    onnx_out(n, 0, mul_number(OP(elu, onnx_in(n, 0), alpha), gamma));
}

static void hard_sigmoid(onnx_node *n) {
    double alpha = onnx_float(n, "alpha", 0.2), beta = onnx_float(n, "beta", 0.5);
    onnx_out(n, 0, OP(clamp, add_number(mul_number(onnx_in(n, 0), alpha), beta), 0.0, 1.0));
}

static void softsign(onnx_node *n) {
    onnx_out(n, 0, OP(div, onnx_in(n, 0), add_number(OP(abs, onnx_in(n, 0)), 1)));
}

static void thresholded_relu(onnx_node *n) {
    mia_tensor above = greater_number(onnx_in(n, 0), onnx_float(n, "alpha", 1));
    mia_tensor x = onnx_in(n, 0);
    onnx_out(n, 0, OP(where, above, x, OP(number, x, 0.0)));
}

/* Before operator set 7 a line of slopes is one a channel. */
static void parametric_relu(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0), s = onnx_shape(n, 1);
    mia_tensor slope = onnx_in(n, 1);
    if (n->graph->opset < 7 && s.ndim == 1 && x.ndim > 1)
        slope = OP(reshape, slope, onnx_line(x.ndim, x.ndim - 2, s.extent[0]));
    mia_tensor scaled = OP(mul, onnx_in(n, 0), slope);
    onnx_out(n, 0, OP(where, less_number(onnx_in(n, 0), 0), scaled, onnx_in(n, 0)));
}

/* x + bias below -lambda, x - bias above lambda, 0 between. */
static void shrink(onnx_node *n) {
    double lambda = onnx_float(n, "lambd", 0.5), bias = onnx_float(n, "bias", 0);
    mia_tensor below = less_number(onnx_in(n, 0), -lambda), above = greater_number(onnx_in(n, 0), lambda);
    mia_tensor x = onnx_in(n, 0);
    mia_tensor rest = OP(where, above, sub_number(OP(ref, x), bias), OP(number, x, 0.0));
    onnx_out(n, 0, OP(where, below, add_number(x, bias), rest));
}

const onnx_operation onnx_activation[] = {
    {"Celu", celu},
    {"Elu", elu},
    {"HardSigmoid", hard_sigmoid},
    {"HardSwish", hardswish},
    {"LeakyRelu", leaky_relu},
    {"PRelu", parametric_relu},
    {"Relu", relu},
    {"Selu", selu},
    {"Shrink", shrink},
    {"Sigmoid", sigmoid},
    {"Softplus", softplus},
    {"Softsign", softsign},
    {"ThresholdedRelu", thresholded_relu},
    {0},
};
