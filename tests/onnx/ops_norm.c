/* Normalisation. */
#include "onnx/graph.h"

/* A row over mode 0, over any axis; before operator set 13 over all axes from that one on, as one. */
static void over_axis(onnx_node *n, mia_tensor (*row)(mia_tensor, const char *, int)) {
    mia_shape shape = onnx_shape(n, 0);
    bool many = n->graph->opset < 13;
    uint32_t mode = onnx_mode(n, onnx_int(n, "axis", many ? 1 : -1), shape.ndim);
    if (many) {
        int64_t inner = 1, count = onnx_count(&shape);
        for (uint32_t m = 0; m <= mode; m++) inner *= shape.extent[m];
        mia_tensor rows = OP(reshape, onnx_in(n, 0), MIA_SHAPE(inner, inner == 0 ? 0 : count / inner));
        onnx_out(n, 0, OP(reshape, row(rows, __FILE__, __LINE__), shape));
        return;
    }
    mia_tensor x = row(onnx_exchange(onnx_in(n, 0), mode, 0), __FILE__, __LINE__);
    onnx_out(n, 0, onnx_exchange(x, mode, 0));
}

static void softmax(onnx_node *n) {
    over_axis(n, mia_op_softmax);
}

static void log_softmax(onnx_node *n) {
    over_axis(n, mia_op_log_softmax);
}

/* The axes from one on, as one; mean and inverse deviation keep those as 1. */
static void layer_norm(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0), kept = x;
    uint32_t last = onnx_mode(n, onnx_int(n, "axis", -1), x.ndim);
    double epsilon = onnx_float(n, "epsilon", 1e-5);
    int64_t inner = 1;
    for (uint32_t m = 0; m <= last && m < x.ndim; m++) inner *= x.extent[m], kept.extent[m] = 1;
    mia_shape rows = MIA_SHAPE(inner, onnx_count(&kept)), line = MIA_SHAPE(inner);
    mia_tensor flat = onnx_keep(n, OP(reshape, onnx_in(n, 0), rows));
    mia_tensor weight = OP(reshape, onnx_in(n, 1), line);
    mia_tensor bias = onnx_has(n, 2)
                          ? OP(reshape, onnx_in(n, 2), line)
                          : mia_tensor_full(n->graph->device, onnx_type(n, 0), line, 0, __FILE__, __LINE__);
    onnx_out(n, 0, OP(reshape, OP(layer_norm, OP(ref, flat), weight, bias, epsilon), x));
    mia_tensor mean = onnx_keep(n, OP(mean, OP(ref, flat), MIA_MODE(0)));
    mia_tensor variance = OP(mean, OP(square, OP(sub, OP(ref, flat), OP(ref, mean))), MIA_MODE(0));
    onnx_out(n, 1, OP(reshape, OP(ref, mean), kept));
    onnx_out(n, 2, OP(reshape, OP(rsqrt, add_number(variance, epsilon)), kept));
}

/* Channels are axis 1. */
static void instance_norm(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    uint32_t mode = onnx_mode(n, 1, x.ndim);
    double epsilon = onnx_float(n, "epsilon", 1e-5);
    mia_tensor weight = onnx_in(n, 1), bias = onnx_in(n, 2);
    onnx_out(n, 0, OP(group_norm, onnx_in(n, 0), weight, bias, mode, x.extent[mode], epsilon));
}

static mia_tensor mix(mia_tensor old, mia_tensor now, double momentum) {
    return OP(add, mul_number(old, momentum), mul_number(now, 1 - momentum));
}

/* With the statistics that are given; in training with those of the batch, which move the given ones. */
static void batch_norm(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    uint32_t mode = onnx_mode(n, 1, x.ndim);
    int64_t channels = x.extent[mode];
    double epsilon = onnx_float(n, "epsilon", 1e-5), momentum = onnx_float(n, "momentum", 0.9);
    mia_shape line = onnx_line(x.ndim, mode, channels), flat = MIA_SHAPE(channels);
    mia_tensor mean, variance;
    if (onnx_int(n, "training_mode", 0) != 0) {
        uint32_t others = MIA_ALL_MODES & ~MIA_MODE(mode);
        mean = onnx_keep(n, OP(mean, onnx_in(n, 0), others));
        mia_tensor squares = OP(square, OP(sub, onnx_in(n, 0), OP(ref, mean)));
        variance = onnx_keep(n, OP(mean, squares, others));
        onnx_out(n, 1, mix(onnx_in(n, 3), OP(reshape, OP(ref, mean), flat), momentum));
        onnx_out(n, 2, mix(onnx_in(n, 4), OP(reshape, OP(ref, variance), flat), momentum));
    } else {
        mean = onnx_keep(n, OP(reshape, onnx_in(n, 3), line));
        variance = onnx_keep(n, OP(reshape, onnx_in(n, 4), line));
    }
    mia_tensor scaled =
        OP(mul, OP(sub, onnx_in(n, 0), OP(ref, mean)), OP(rsqrt, add_number(OP(ref, variance), epsilon)));
    mia_tensor weight = OP(reshape, onnx_in(n, 1), line), bias = OP(reshape, onnx_in(n, 2), line);
    onnx_out(n, 0, OP(add, OP(mul, scaled, weight), bias));
}

static void mean_variance_norm(onnx_node *n) {
    uint32_t rank = onnx_shape(n, 0).ndim;
    bool given = false;
    uint32_t modes = onnx_modes(n, "axes", ONNX_MAX_OPERANDS, rank, &given);
    if (!given) modes = MIA_ALL_MODES & ~MIA_MODE(onnx_mode(n, 1, rank));
    mia_tensor mean = OP(mean, onnx_in(n, 0), modes);
    mia_tensor centred = onnx_keep(n, OP(sub, onnx_in(n, 0), mean));
    mia_tensor deviation = OP(sqrt, OP(mean, OP(square, OP(ref, centred)), modes));
    onnx_out(n, 0, OP(div, OP(ref, centred), add_number(deviation, 1e-9)));
}

/* Squares of `size` neighbouring channels, from (size - 1) / 2 before on. */
static void local_response_norm(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    uint32_t mode = onnx_mode(n, 1, x.ndim);
    int64_t size = onnx_int(n, "size", 1), before = (size - 1) / 2;
    double alpha = onnx_float(n, "alpha", 1e-4), beta = onnx_float(n, "beta", 0.75);
    mia_tensor squares =
        OP(pad, OP(square, onnx_in(n, 0)), mode, before, size - 1 - before, MIA_PAD_CONSTANT, 0.0);
    squares = onnx_keep(n, squares);
    mia_tensor sum = OP(slice, OP(ref, squares), mode, 0, x.extent[mode], 1);
    for (int64_t i = 1; i < size; i++)
        sum = OP(add, sum, OP(slice, OP(ref, squares), mode, i, x.extent[mode], 1));
    mia_tensor base = add_number(mul_number(sum, alpha / (double)size), onnx_float(n, "bias", 1));
    onnx_out(n, 0, OP(div, onnx_in(n, 0), pow_number(base, beta)));
}

static void lp_norm(onnx_node *n) {
    uint32_t mode = onnx_mode(n, onnx_int(n, "axis", -1), onnx_shape(n, 0).ndim);
    if (onnx_int(n, "p", 2) == 2) {
        mia_tensor x = OP(l2_norm, onnx_exchange(onnx_in(n, 0), mode, 0), 0.0);
        onnx_out(n, 0, onnx_exchange(x, mode, 0));
    } else {
        onnx_out(n, 0, OP(div, onnx_in(n, 0), OP(sum, OP(abs, onnx_in(n, 0)), MIA_MODE(mode))));
    }
}

const onnx_operation onnx_norm[] = {
    {"BatchNormalization", batch_norm},
    {"InstanceNormalization", instance_norm},
    {"LRN", local_response_norm},
    {"LayerNormalization", layer_norm},
    {"LogSoftmax", log_softmax},
    {"LpNormalization", lp_norm},
    {"MeanVarianceNormalization", mean_variance_norm},
    {"Softmax", softmax},
    {0},
};
