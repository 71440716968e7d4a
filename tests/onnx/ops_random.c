/* Random numbers. What they come to is checked by statistics (main.c): of every operation here that has an
 * input, that input is what the output is on average. */
#include "onnx/graph.h"

/* Another seed for every node and every run. */
static uint64_t next_seed(onnx_node *n) {
    n->graph->random = true;
    return n->graph->seed++;
}

static mia_tensor uniform(onnx_node *n, mia_shape shape, mia_dtype dtype) {
    return mia_tensor_random_uniform(n->graph->device, dtype, shape, next_seed(n), __FILE__, __LINE__);
}

static mia_dtype wanted_type(onnx_node *n, mia_dtype otherwise) {
    mia_dtype dtype = otherwise;
    if (onnx_has_attribute(n, "dtype")) (void)onnx_dtype((int32_t)onnx_int(n, "dtype", 0), &dtype);
    return dtype;
}

static void uniform_like(onnx_node *n) {
    double low = onnx_float(n, "low", 0), high = onnx_float(n, "high", 1);
    mia_tensor x = uniform(n, onnx_shape(n, 0), wanted_type(n, onnx_type(n, 0)));
    onnx_out(n, 0, add_number(mul_number(x, high - low), low));
}

/* 1 with the probability that the input says, else 0. */
static void bernoulli(onnx_node *n) {
    mia_tensor x = uniform(n, onnx_shape(n, 0), onnx_type(n, 0));
    onnx_out(n, 0, OP(convert, OP(less, x, onnx_in(n, 0)), wanted_type(n, onnx_type(n, 0))));
}

/* In training a share of the numbers is dropped, and the others grow by as much; otherwise none. */
static void dropout(onnx_node *n) {
    bool training = onnx_has(n, 2) && onnx_integer(n, 2) != 0;
    double ratio = onnx_has(n, 1) ? onnx_real(n, 1) : onnx_float(n, "ratio", 0.5);
    mia_shape shape = onnx_shape(n, 0);
    mia_dtype dtype = onnx_type(n, 0);
    if (!training || ratio == 0) {
        onnx_out(n, 0, OP(copy, onnx_in(n, 0)));
        onnx_out(n, 1, mia_tensor_full(n->graph->device, MIA_bool8, shape, 1, __FILE__, __LINE__));
        return;
    }
    mia_tensor stays = onnx_keep(n, greater_number(uniform(n, shape, dtype), ratio));
    mia_tensor x = div_number(OP(mul, onnx_in(n, 0), OP(convert, OP(ref, stays), dtype)), 1 - ratio);
    onnx_out(n, 0, x);
    onnx_out(n, 1, OP(ref, stays));
}

const onnx_operation onnx_random[] = {
    {"Bernoulli", bernoulli},
    {"Dropout", dropout},
    {"RandomUniformLike", uniform_like},
    {0},
};
