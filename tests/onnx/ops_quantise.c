/* Numbers as small integers with a scale and a zero point. */
#include "onnx/graph.h"

/* A scale or a zero point as a line along the node's axis (one number stays one), in f32. */
static mia_tensor along(onnx_node *n, size_t i, const mia_shape *x) {
    mia_shape s = onnx_shape(n, i);
    mia_tensor t = OP(convert, onnx_in(n, i), MIA_f32);
    if (onnx_count(&s) == 1) return OP(reshape, t, MIA_SCALAR);
    uint32_t mode = onnx_mode(n, onnx_int(n, "axis", 1), x->ndim);
    return OP(reshape, t, onnx_line(x->ndim, mode, s.extent[0]));
}

/* round(x / scale) + zero point, held by the type; consumes all. */
static mia_tensor quantised(mia_tensor x, mia_tensor scale, mia_tensor zero, mia_dtype dtype) {
    return OP(convert, OP(add, OP(round, OP(div, x, scale)), zero), dtype);
}

static void quantise(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    mia_dtype dtype = onnx_has(n, 2) ? onnx_type(n, 2) : MIA_u8;
    mia_tensor scale = along(n, 1, &x), zero = onnx_has(n, 2) ? along(n, 2, &x) : OP(number, scale, 0.0);
    onnx_out(n, 0, quantised(OP(convert, onnx_in(n, 0), MIA_f32), scale, zero, dtype));
}

static mia_tensor without_zero(onnx_node *n, size_t i, size_t zero, const mia_shape *x) {
    mia_tensor t = OP(convert, onnx_in(n, i), MIA_f32);
    return onnx_has(n, zero) ? OP(sub, t, along(n, zero, x)) : t;
}

static void dequantise(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    onnx_out(n, 0, OP(mul, without_zero(n, 0, 2, &x), along(n, 1, &x)));
}

/* From the least and the greatest of x and 0, to u8. */
static void dynamic_quantise(onnx_node *n) {
    mia_tensor low = min_number(OP(reduce_min, onnx_in(n, 0), MIA_ALL_MODES), 0);
    mia_tensor high = max_number(OP(reduce_max, onnx_in(n, 0), MIA_ALL_MODES), 0);
    low = onnx_keep(n, OP(squeeze, low, MIA_ALL_MODES)), high = OP(squeeze, high, MIA_ALL_MODES);
    mia_tensor scale = onnx_keep(n, div_number(OP(sub, high, OP(ref, low)), 255));
    mia_tensor zero = OP(neg, OP(div, OP(ref, low), OP(ref, scale)));
    zero = onnx_keep(n, OP(clamp, OP(round, zero), 0.0, 255.0));
    onnx_out(n, 0, quantised(onnx_in(n, 0), OP(ref, scale), OP(ref, zero), MIA_u8));
    onnx_out(n, 1, OP(ref, scale));
    onnx_out(n, 2, OP(convert, OP(ref, zero), MIA_u8));
}

/* Sums of products of small integers are exact in f32 up to 2^24, in f64 up to 2^53. */
static mia_tensor integer_product(onnx_node *n, size_t b, size_t zero_a, size_t zero_b) {
    mia_shape sa = onnx_shape(n, 0), sb = onnx_shape(n, b);
    mia_tensor left = OP(convert, without_zero(n, 0, zero_a, &sa), MIA_f64);
    mia_tensor right = OP(convert, without_zero(n, b, zero_b, &sb), MIA_f64);
    return onnx_product(left, right);
}

static void matmul_integer(onnx_node *n) {
    onnx_out(n, 0, OP(convert, integer_product(n, 1, 2, 3), MIA_i32));
}

/* Operands: a, its scale and zero point, b and its two, the result's two. */
static void quantised_matmul(onnx_node *n) {
    mia_shape a = onnx_shape(n, 0), b = onnx_shape(n, 3);
    mia_tensor result = OP(convert, integer_product(n, 3, 2, 5), MIA_f32);
    result = OP(mul, OP(mul, result, along(n, 1, &a)), along(n, 4, &b));
    onnx_out(n, 0, quantised(result, along(n, 6, &a), along(n, 7, &a), onnx_type(n, 7)));
}

static void convolution_integer(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0), w = onnx_shape(n, 1);
    mia_tensor result = onnx_convolution(n, without_zero(n, 0, 2, &x), without_zero(n, 1, 3, &w));
    onnx_out(n, 0, OP(convert, result, MIA_i32));
}

/* The weights may have a scale each output: a line along the result's channels. */
static void quantised_convolution(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0), w = onnx_shape(n, 3);
    mia_tensor result = onnx_convolution(n, without_zero(n, 0, 2, &x), without_zero(n, 3, 5, &w));
    if (onnx_has(n, 8)) {
        mia_tensor bias = OP(convert, onnx_in(n, 8), MIA_f32);
        result = OP(add, result, OP(reshape, bias, onnx_line(x.ndim, x.ndim - 2, w.extent[w.ndim - 1])));
    }
    result = OP(mul, OP(mul, result, along(n, 1, &x)), along(n, 4, &x));
    onnx_out(n, 0, quantised(result, along(n, 6, &x), along(n, 7, &x), onnx_type(n, 7)));
}

const onnx_operation onnx_quantise[] = {
    {"ConvInteger", convolution_integer},
    {"DequantizeLinear", dequantise},
    {"DynamicQuantizeLinear", dynamic_quantise},
    {"MatMulInteger", matmul_integer},
    {"QLinearConv", quantised_convolution},
    {"QLinearMatMul", quantised_matmul},
    {"QuantizeLinear", quantise},
    {0},
};
