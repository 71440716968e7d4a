/* Resizing, axis by axis: each place of the result is a weighted sum of a few places of the input. */
#include "onnx/graph.h"

#include <math.h>

#define MOST_TAPS 4

/* What one axis is resized from and to. */
typedef struct axis {
    int64_t from, to;
    double scale, length; /* of the result, before it is rounded down */
    double begin, end;    /* of the region, where there is one: shares of the axis */
} axis;

/* Where a place of the result lies on the input's axis, f64 [to]. */
static mia_tensor coordinates(onnx_node *n, const axis *a) {
    const char *name = "coordinate_transformation_mode";
    mia_tensor i = mia_tensor_arange(n->graph->device, MIA_f64, 0, 1, a->to, __FILE__, __LINE__);
    if (onnx_is(n, name, "asymmetric") || n->graph->opset < 11) return div_number(i, a->scale);
    if (onnx_is(n, name, "align_corners"))
        return mul_number(i, a->to == 1 ? 0 : (double)(a->from - 1) / (a->length - 1));
    if (onnx_is(n, name, "tf_half_pixel_for_nn")) return div_number(add_number(i, 0.5), a->scale);
    if (onnx_is(n, name, "pytorch_half_pixel") && a->to == 1) return mul_number(i, 0);
    if (onnx_is(n, name, "tf_crop_and_resize")) {
        double whole = (double)(a->from - 1), part = (a->end - a->begin) * whole;
        if (a->to == 1) return add_number(mul_number(i, 0), (a->begin + a->end) * whole / 2);
        return add_number(mul_number(i, part / (a->length - 1)), a->begin * whole);
    }
    return sub_number(div_number(add_number(i, 0.5), a->scale), 0.5);
}

static mia_tensor rounded(const onnx_node *n, mia_tensor x) {
    if (onnx_is(n, "nearest_mode", "floor") || n->graph->opset < 11) return OP(floor, x);
    if (onnx_is(n, "nearest_mode", "ceil")) return OP(ceil, x);
    if (onnx_is(n, "nearest_mode", "round_prefer_ceil")) return OP(floor, add_number(x, 0.5));
    return OP(ceil, sub_number(x, 0.5));
}

/* Keys' cubic convolution, of distances |d| <= 1: (a + 2) d^3 - (a + 3) d^2 + 1, and up to 2:
 * a d^3 - 5 a d^2 + 8 a d - 4 a, both by Horner's rule; consumes d. */
static mia_tensor polynomial(mia_tensor d, const double c[4]) {
    mia_tensor result = add_number(mul_number(OP(ref, d), c[0]), c[1]);
    result = add_number(OP(mul, result, OP(ref, d)), c[2]);
    return add_number(OP(mul, result, d), c[3]);
}

static mia_tensor cubic_weight(double a, bool near, mia_tensor distance) {
    const double inner[4] = {a + 2, -(a + 3), 0, 1}, outer[4] = {a, -5 * a, 8 * a, -4 * a};
    return polynomial(distance, near ? inner : outer);
}

/* Weights [to] of the taps, given how far past the first whole place a coordinate lies (kept). */
static void weigh(onnx_node *n, bool cubic, mia_tensor past, mia_tensor *weight) {
    if (!cubic) {
        weight[0] = add_number(OP(neg, OP(ref, past)), 1);
        weight[1] = OP(ref, past);
        return;
    }
    double a = onnx_float(n, "cubic_coeff_a", -0.75);
    for (int t = 0; t < 4; t++) { /* tap t lies t - 1 places on */
        mia_tensor distance = OP(abs, sub_number(OP(ref, past), t - 1));
        weight[t] = cubic_weight(a, t == 1 || t == 2, distance);
    }
}

static mia_tensor take_at(mia_tensor x, mia_tensor place, int64_t extent, uint32_t mode) {
    mia_tensor within = OP(convert, OP(clamp, place, 0.0, (double)(extent - 1)), MIA_i32);
    return OP(take, x, within, mode);
}

/* Places that lie outside the input get a number of their own; consumes x. */
static mia_tensor outside(onnx_node *n, mia_tensor x, uint32_t mode, const axis *a) {
    if (!onnx_is(n, "coordinate_transformation_mode", "tf_crop_and_resize")) return x;
    mia_tensor at = onnx_keep(n, coordinates(n, a));
    mia_tensor missing =
        OP(logical_or, less_number(OP(ref, at), 0), greater_number(OP(ref, at), (double)(a->from - 1)));
    missing = OP(reshape, missing, onnx_line(mia_tensor_shape(x).ndim, mode, a->to));
    mia_tensor number = OP(number, x, onnx_float(n, "extrapolation_value", 0));
    return OP(where, missing, number, x);
}

/* One axis; consumes x. */
static mia_tensor along(onnx_node *n, mia_tensor x, uint32_t mode, const axis *a) {
    mia_tensor at = coordinates(n, a);
    bool cubic = onnx_is(n, "mode", "cubic"), linear = onnx_is(n, "mode", "linear");
    if (!cubic && !linear) return take_at(x, rounded(n, at), a->from, mode);
    mia_shape s = mia_tensor_shape(x);
    mia_shape line = onnx_line(s.ndim, mode, a->to);
    mia_dtype dtype = mia_tensor_dtype(x);
    mia_tensor kept = onnx_keep(n, at), whole = onnx_keep(n, OP(floor, OP(ref, kept)));
    mia_tensor past = onnx_keep(n, OP(sub, OP(ref, kept), OP(ref, whole)));
    int taps = cubic ? 4 : 2;
    mia_tensor weight[MOST_TAPS], result = {0}, total = {0};
    x = onnx_keep(n, x);
    weigh(n, cubic, past, weight);
    for (int t = 0; t < taps; t++) {
        mia_tensor place = onnx_keep(n, add_number(OP(ref, whole), cubic ? t - 1 : t));
        if (onnx_int(n, "exclude_outside", 0) != 0) {
            mia_tensor inside = OP(logical_and, greater_number(OP(ref, place), -0.5),
                                   less_number(OP(ref, place), (double)a->from - 0.5));
            weight[t] = OP(mul, weight[t], OP(convert, inside, MIA_f64));
        }
        mia_tensor w = onnx_keep(n, weight[t]);
        mia_tensor scaled = OP(reshape, OP(convert, OP(ref, w), dtype), line);
        scaled = OP(mul, take_at(OP(ref, x), OP(ref, place), a->from, mode), scaled);
        result = t == 0 ? scaled : OP(add, result, scaled);
        total = t == 0 ? OP(ref, w) : OP(add, total, OP(ref, w));
    }
    return OP(div, result, OP(reshape, OP(convert, total, dtype), line));
}

static bool moves(onnx_node *n, const axis *a) {
    return a->to != a->from || a->scale != 1 ||
           onnx_is(n, "coordinate_transformation_mode", "tf_crop_and_resize");
}

/* Scales (input `scales`) or extents (input `sizes`), one an axis. */
static void resize_by(onnx_node *n, size_t scales, size_t sizes) {
    mia_shape x = onnx_shape(n, 0);
    onnx_list wanted = {0};
    if (onnx_has(n, sizes)) wanted = onnx_integers(n, sizes);
    mia_tensor t = onnx_in(n, 0);
    for (uint32_t m = 0; m < x.ndim; m++) {
        size_t place = x.ndim - 1 - m;
        axis a = {.from = x.extent[m], .to = x.extent[m], .scale = 1};
        if (wanted.count == x.ndim) {
            a.to = wanted.at[place];
            a.length = (double)a.to;
            a.scale = (double)a.to / (double)a.from;
        } else {
            a.scale = onnx_real_at(n, scales, place);
            a.length = (double)a.from * a.scale;
            a.to = (int64_t)floor(a.length);
        }
        if (onnx_is(n, "coordinate_transformation_mode", "tf_crop_and_resize")) {
            a.begin = onnx_real_at(n, 1, place);
            a.end = onnx_real_at(n, 1, place + x.ndim);
        }
        if (moves(n, &a)) t = outside(n, along(n, t, m, &a), m, &a);
    }
    onnx_out(n, 0, t);
}

static void resize(onnx_node *n) {
    resize_by(n, n->graph->opset < 11 ? 1 : 2, n->graph->opset < 11 ? ONNX_MAX_OPERANDS : 3);
}

static void upsample(onnx_node *n) {
    resize_by(n, 1, ONNX_MAX_OPERANDS);
}

const onnx_operation onnx_resize[] = {
    {"Resize", resize},
    {"Upsample", upsample},
    {0},
};
