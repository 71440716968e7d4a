/* Fourier transforms, as products with cosines and sines, and the windows that go with them. */
#include "onnx/graph.h"

#define TWO_PI 6.28318530717958647693

/* a0 - a1 cos(2 pi i / N) + a2 cos(4 pi i / N) for i of `size` */
static void cosines(onnx_node *n, double a0, double a1, double a2) {
    int64_t size = onnx_integer(n, 0), period = onnx_int(n, "periodic", 1) != 0 ? size : size - 1;
    double step = period == 0 ? 0 : TWO_PI / (double)period;
    mia_tensor angle = mia_tensor_arange(n->graph->device, MIA_f64, 0, step, size, __FILE__, __LINE__);
    mia_tensor twice = mul_number(OP(ref, angle), 2);
    mia_tensor result = add_number(mul_number(OP(cos, angle), -a1), a0);
    result = OP(add, result, mul_number(OP(cos, twice), a2));
    mia_dtype dtype = MIA_f32;
    (void)onnx_dtype((int32_t)onnx_int(n, "output_datatype", 1), &dtype);
    onnx_out(n, 0, OP(convert, result, dtype));
}

static void hann(onnx_node *n) {
    cosines(n, 0.5, 0.5, 0);
}

static void hamming(onnx_node *n) {
    cosines(n, 25.0 / 46, 21.0 / 46, 0);
}

static void blackman(onnx_node *n) {
    cosines(n, 0.42, 0.5, 0.08);
}

/* 2 pi k i / N for i of N (mode 0) and k of `bins`, reduced to one turn in integers. */
static mia_tensor angles(onnx_node *n, int64_t size, int64_t bins) {
    mia_tensor turns = OP(mul, onnx_places(n, 2, 0, size), onnx_places(n, 2, 1, bins));
    turns = OP(convert, mod_number(turns, (double)size), MIA_f64);
    return mul_number(turns, TWO_PI / (double)size);
}

/* The transform over mode 0 of real and imaginary parts (`imaginary` may be none, all zero); consumes them.
 * Gives [2, bins, ...]. */
static mia_tensor transform(onnx_node *n, mia_tensor real, mia_tensor imaginary, int64_t bins, bool inverse) {
    int64_t size = mia_tensor_shape(real).extent[0];
    mia_dtype dtype = mia_tensor_dtype(real);
    mia_tensor turn = onnx_keep(n, angles(n, size, bins));
    mia_tensor cosine = onnx_keep(n, OP(convert, OP(cos, OP(ref, turn)), dtype));
    mia_tensor sine = OP(convert, OP(sin, OP(ref, turn)), dtype);
    if (inverse) sine = OP(neg, sine);
    sine = onnx_keep(n, sine);
    mia_tensor re = OP(matmul, OP(ref, cosine), OP(ref, real)), im = OP(neg, OP(matmul, OP(ref, sine), real));
    if (imaginary.device != NULL) {
        re = OP(add, re, OP(matmul, OP(ref, sine), OP(ref, imaginary)));
        im = OP(add, im, OP(matmul, OP(ref, cosine), imaginary));
    }
    mia_tensor result = OP(concat, OP(unsqueeze, re, 0), OP(unsqueeze, im, 0), 0);
    return inverse ? div_number(result, (double)size) : result;
}

static int64_t bins_of(const onnx_node *n, int64_t size, bool otherwise) {
    return onnx_int(n, "onesided", otherwise) != 0 ? size / 2 + 1 : size;
}

/* The last axis has real and imaginary part, or the real one alone. */
static void fourier(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    uint32_t mode = onnx_mode(n, onnx_int(n, "axis", 1), x.ndim);
    if (onnx_has(n, 1) || mode == 0) {
        onnx_refuse(n, "DFT of another length");
        return;
    }
    bool inverse = onnx_int(n, "inverse", 0) != 0;
    mia_tensor part[2] = {0};
    for (int i = 0; i < (int)x.extent[0] && i < 2; i++) {
        part[i] = OP(squeeze, OP(slice, onnx_in(n, 0), 0, i, 1, 1), MIA_MODE(0));
        part[i] = onnx_exchange(part[i], mode - 1, 0);
    }
    mia_tensor result = transform(n, part[0], part[1], bins_of(n, x.extent[mode], false), inverse);
    onnx_out(n, 0, onnx_exchange(result, mode, 1));
}

/* Frames of a signal [B, L, 1], each through a window, transformed: [B, frames, bins, 2]. */
static void short_time_fourier(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    int64_t step = onnx_integer(n, 1);
    int64_t size = onnx_has(n, 3) ? onnx_integer(n, 3) : onnx_shape(n, 2).extent[0];
    if (x.ndim != 3 || x.extent[0] != 1 || step < 1 || size > x.extent[1]) {
        onnx_refuse(n, "STFT of another signal");
        return;
    }
    int64_t frames = (x.extent[1] - size) / step + 1;
    mia_tensor begin = mul_number(onnx_places(n, 2, 1, frames), (double)step);
    mia_tensor places = OP(add, onnx_places(n, 2, 0, size), begin);
    mia_tensor cut = OP(take, OP(squeeze, onnx_in(n, 0), MIA_MODE(0)), places, 0);
    if (onnx_has(n, 2)) cut = OP(mul, cut, onnx_in(n, 2));
    onnx_out(n, 0, transform(n, cut, (mia_tensor){0}, bins_of(n, size, true), false));
}

const onnx_operation onnx_signal[] = {
    {"BlackmanWindow", blackman}, {"DFT", fourier},
    {"HammingWindow", hamming},   {"HannWindow", hann},
    {"STFT", short_time_fourier}, {0},
};
