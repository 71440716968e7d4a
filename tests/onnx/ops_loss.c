/* Losses of classification. */
#include "onnx/graph.h"

/* Minus the number that each target picks along the classes (axis 1), weighted and reduced. `scores` are of
 * the shape of input 0; consumed. Targets equal to ignore_index count nothing. */
static void pick(onnx_node *n, mia_tensor scores) {
    mia_shape x = onnx_shape(n, 0), target_shape = onnx_shape(n, 1);
    uint32_t mode = onnx_mode(n, 1, x.ndim);
    bool ignores = onnx_has_attribute(n, "ignore_index");
    mia_tensor target = onnx_keep(n, OP(convert, onnx_in(n, 1), MIA_i32));
    mia_tensor picked = OP(take_along, scores, OP(unsqueeze, OP(ref, target), mode), mode);
    mia_tensor loss = OP(neg, OP(squeeze, picked, MIA_MODE(mode)));

    mia_tensor weight = onnx_has(n, 2) ? OP(take, onnx_in(n, 2), OP(ref, target), 0)
                                       : mia_tensor_full(n->graph->device, onnx_type(n, 0), target_shape, 1,
                                                         __FILE__, __LINE__);
    if (ignores) {
        mia_tensor counts = not_equal_number(OP(ref, target), (double)onnx_int(n, "ignore_index", 0));
        weight = OP(where, counts, weight, OP(number, weight, 0.0));
    }
    weight = onnx_keep(n, weight);
    loss = OP(mul, loss, OP(ref, weight));
    if (!onnx_is(n, "reduction", "none")) loss = OP(squeeze, OP(sum, loss, MIA_ALL_MODES), MIA_ALL_MODES);
    if (!onnx_is(n, "reduction", "none") && !onnx_is(n, "reduction", "sum"))
        loss = OP(div, loss, OP(squeeze, OP(sum, OP(ref, weight), MIA_ALL_MODES), MIA_ALL_MODES));
    onnx_out(n, 0, loss);
}

static void negative_log_likelihood(onnx_node *n) {
    pick(n, onnx_in(n, 0));
}

static void softmax_cross_entropy(onnx_node *n) {
    uint32_t mode = onnx_mode(n, 1, onnx_shape(n, 0).ndim);
    mia_tensor x = OP(log_softmax, onnx_exchange(onnx_in(n, 0), mode, 0));
    mia_tensor logarithms = onnx_keep(n, onnx_exchange(x, mode, 0));
    pick(n, OP(ref, logarithms));
    onnx_out(n, 1, OP(ref, logarithms));
}

const onnx_operation onnx_loss[] = {
    {"NegativeLogLikelihoodLoss", negative_log_likelihood},
    {"SoftmaxCrossEntropyLoss", softmax_cross_entropy},
    {0},
};
