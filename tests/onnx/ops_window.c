/* Convolutions and pools. Of three spatial axes they are composed of those of two. */
#include "onnx/graph.h"

#include <string.h>

#define MOST_SPATIAL 3

/* What the attributes say of a window, by mode: [0] is the last axis. */
typedef struct window {
    uint32_t spatial;
    int64_t size[MOST_SPATIAL], stride[MOST_SPATIAL], dilation[MOST_SPATIAL];
    int64_t before[MOST_SPATIAL], after[MOST_SPATIAL];
} window;

static int64_t entry(const onnx_list *list, uint32_t spatial, uint32_t mode, int64_t otherwise) {
    return list->count >= spatial ? list->at[spatial - 1 - mode] : otherwise;
}

/* Padding as auto_pad or ceil_mode has it, for a mode of `extent`. */
static void fit(onnx_node *n, window *w, uint32_t m, int64_t extent) {
    int64_t span = (w->size[m] - 1) * w->dilation[m] + 1;
    if (onnx_is(n, "auto_pad", "SAME_UPPER") || onnx_is(n, "auto_pad", "SAME_LOWER")) {
        int64_t places = (extent + w->stride[m] - 1) / w->stride[m];
        int64_t padding = (places - 1) * w->stride[m] + span - extent;
        if (padding < 0) padding = 0;
        w->before[m] = onnx_is(n, "auto_pad", "SAME_UPPER") ? padding / 2 : padding - padding / 2;
        w->after[m] = padding - w->before[m];
    }
    if (onnx_int(n, "ceil_mode", 0) != 0) {
        int64_t over = (extent + w->before[m] + w->after[m] - span) % w->stride[m];
        if (over > 0) w->after[m] += w->stride[m] - over;
    }
}

/* sizes: the kernel's extents by mode. */
static window window_of(onnx_node *n, const mia_shape *x, const int64_t *sizes) {
    window w = {.spatial = x->ndim < 2 ? 0 : x->ndim - 2};
    if (w.spatial < 1 || w.spatial > MOST_SPATIAL) {
        onnx_refuse(n, "%s of %u axes", n->proto->op_type, (unsigned)w.spatial);
        w.spatial = 1;
    }
    onnx_list strides = onnx_ints(n, "strides"), dilations = onnx_ints(n, "dilations");
    onnx_list pads = onnx_ints(n, "pads"), kernel = onnx_ints(n, "kernel_shape");
    for (uint32_t m = 0; m < w.spatial; m++) {
        uint32_t axis = w.spatial - 1 - m;
        w.size[m] = sizes != NULL ? sizes[m] : entry(&kernel, w.spatial, m, 1);
        w.stride[m] = entry(&strides, w.spatial, m, 1);
        w.dilation[m] = entry(&dilations, w.spatial, m, 1);
        if (pads.count == 2 * (size_t)w.spatial) {
            w.before[m] = pads.at[axis];
            w.after[m] = pads.at[axis + w.spatial];
        }
        fit(n, &w, m, x->extent[m]);
    }
    return w;
}

/* Modes `first` and the one after it, as Mia has windows. */
static mia_window planar(const window *w, uint32_t first, uint32_t count) {
    mia_window result = {.groups = 1};
    for (uint32_t m = 0; m < count; m++) {
        result.size[m] = w->size[first + m];
        result.stride[m] = w->stride[first + m];
        result.dilation[m] = w->dilation[first + m];
        result.before[m] = w->before[first + m];
        result.after[m] = w->after[first + m];
    }
    return result;
}

/* --- convolutions ----------------------------------------------------------------------------- */

/* x [W, H, D, C, N] with w [KW, KH, KD, C / groups, O]: for each plane of the kernel, the planes of x that it
 * meets are a batch of their own. */
static mia_tensor in_space(onnx_node *n, mia_tensor given, mia_tensor kernel, const window *w,
                           int64_t groups) {
    mia_window plane = planar(w, 0, 2);
    plane.groups = groups;
    mia_tensor padded = OP(pad, given, 2, w->before[2], w->after[2], MIA_PAD_CONSTANT, 0.0);
    mia_tensor x = onnx_keep(n, padded), k = onnx_keep(n, kernel), sum = {0};
    mia_shape s = mia_tensor_shape(x), ks = mia_tensor_shape(k);
    int64_t places = (s.extent[2] - (w->size[2] - 1) * w->dilation[2] - 1) / w->stride[2] + 1;
    for (int64_t i = 0; i < w->size[2]; i++) {
        mia_tensor planes = OP(slice, OP(ref, x), 2, i * w->dilation[2], places, w->stride[2]);
        planes = OP(permute, planes, MIA_SHAPE(0, 1, 3, 2, 4)); /* [W, H, C, D', N] */
        planes = OP(reshape, planes, MIA_SHAPE(s.extent[0], s.extent[1], s.extent[3], places * s.extent[4]));
        mia_tensor weights = OP(squeeze, OP(slice, OP(ref, k), 2, i, 1, 1), MIA_MODE(2));
        mia_tensor part = OP(conv2d, planes, weights, plane);
        sum = i == 0 ? part : OP(add, sum, part);
    }
    mia_shape r = mia_tensor_shape(sum);
    sum = OP(reshape, sum, MIA_SHAPE(r.extent[0], r.extent[1], ks.extent[4], places, s.extent[4]));
    return OP(permute, sum, MIA_SHAPE(0, 1, 3, 2, 4));
}

static mia_tensor convolve(onnx_node *n, mia_tensor x, mia_tensor w, const window *at, int64_t groups) {
    if (at->spatial == 3) return in_space(n, x, w, at, groups);
    mia_window plane = planar(at, 0, at->spatial);
    plane.groups = groups;
    return at->spatial == 1 ? OP(conv1d, x, w, plane) : OP(conv2d, x, w, plane);
}

mia_tensor onnx_convolution(onnx_node *n, mia_tensor x, mia_tensor w) {
    mia_shape xs = mia_tensor_shape(x), ws = mia_tensor_shape(w);
    window at = window_of(n, &xs, ws.extent);
    return convolve(n, x, w, &at, onnx_int(n, "group", 1));
}

static mia_tensor with_bias(onnx_node *n, mia_tensor y, size_t i) {
    if (!onnx_has(n, i)) return y;
    uint32_t rank = mia_tensor_shape(y).ndim;
    return OP(add, y, OP(reshape, onnx_in(n, i), onnx_line(rank, rank - 2, onnx_shape(n, i).extent[0])));
}

static void convolution(onnx_node *n) {
    onnx_out(n, 0, with_bias(n, onnx_convolution(n, onnx_in(n, 0), onnx_in(n, 1)), 2));
}

/* Zeros between the elements of a mode, `stride` from one to the next: a mode of 1, padded, and joined. */
static mia_tensor spread(mia_tensor x, uint32_t mode, int64_t stride) {
    if (stride == 1) return x;
    mia_shape s = mia_tensor_shape(x);
    int64_t extent = s.extent[mode];
    x = OP(pad, OP(unsqueeze, x, mode), mode, 0, stride - 1, MIA_PAD_CONSTANT, 0.0);
    s.extent[mode] = extent * stride;
    return OP(slice, OP(reshape, x, s), mode, 0, (extent - 1) * stride + 1, 1);
}

/* Padding of the transposed convolution, from its output's shape where that is asked for. */
static void fit_output(onnx_node *n, window *w, const mia_shape *x, int64_t *more) {
    onnx_list output = onnx_ints(n, "output_shape"), extra = onnx_ints(n, "output_padding");
    bool upper = onnx_is(n, "auto_pad", "SAME_UPPER"), lower = onnx_is(n, "auto_pad", "SAME_LOWER");
    for (uint32_t m = 0; m < w->spatial; m++) {
        more[m] = entry(&extra, w->spatial, m, 0);
        if (output.count == 0 && !upper && !lower) continue;
        int64_t wanted = entry(&output, w->spatial, m, x->extent[m] * w->stride[m]);
        int64_t span = (w->size[m] - 1) * w->dilation[m] + 1;
        int64_t total = w->stride[m] * (x->extent[m] - 1) + more[m] + span - wanted;
        w->before[m] = total < 0 ? 0 : upper ? total / 2 : total - total / 2; /* less than none: at the end */
        w->after[m] = total - w->before[m];
    }
}

/* The convolution of x, spread by the strides, with the kernel backwards; w is [K.., O, C]. */
static void transposed_convolution(onnx_node *n) {
    mia_shape xs = onnx_shape(n, 0), ws = onnx_shape(n, 1);
    window w = window_of(n, &xs, ws.extent), flat = {.spatial = w.spatial};
    int64_t more[MOST_SPATIAL] = {0};
    if (onnx_int(n, "group", 1) != 1) onnx_refuse(n, "ConvTranspose in groups");
    if (n->graph->outcome != ONNX_PASSED) return;
    fit_output(n, &w, &xs, more);
    mia_tensor x = onnx_in(n, 0), kernel = OP(transpose, onnx_in(n, 1), w.spatial, w.spatial + 1);
    for (uint32_t m = 0; m < w.spatial; m++) {
        int64_t reach = (w.size[m] - 1) * w.dilation[m];
        x = spread(x, m, w.stride[m]);
        kernel = OP(slice, kernel, m, w.size[m] - 1, w.size[m], -1);
        int64_t before = reach - w.before[m], after = reach - w.after[m] + more[m];
        if (before < 0 || after < 0) { /* less than the convolution gives */
            mia_shape now = mia_tensor_shape(x);
            int64_t cut = (before < 0 ? -before : 0), left = now.extent[m] - cut - (after < 0 ? -after : 0);
            x = OP(slice, x, m, cut, left, 1);
        }
        flat.size[m] = w.size[m], flat.stride[m] = 1, flat.dilation[m] = w.dilation[m];
        flat.before[m] = before < 0 ? 0 : before;
        flat.after[m] = after < 0 ? 0 : after;
    }
    onnx_out(n, 0, with_bias(n, convolve(n, x, kernel, &flat, 1), 2));
}

/* --- pools ------------------------------------------------------------------------------------ */

typedef mia_tensor pool(mia_tensor, mia_window, const char *, int);

/* Of a third axis after the other two; of an axis alone the mode is between those that a row pools. */
static mia_tensor pooled(mia_tensor x, const window *w, bool count_padding, pool *row) {
    mia_window plane = planar(w, 0, w->spatial < 2 ? w->spatial : 2);
    plane.count_padding = count_padding;
    x = row(x, plane, __FILE__, __LINE__);
    if (w->spatial < 3) return x;
    plane = planar(w, 2, 1);
    plane.count_padding = count_padding;
    return OP(transpose, row(OP(transpose, x, 0, 2), plane, __FILE__, __LINE__), 0, 2);
}

/* Where the greatest came from: a second plane of numbers follows the first through every place of the
 * window. Indices count the whole input; with storage_order columns come before rows. */
static mia_tensor places_of_greatest(onnx_node *n, const window *w) {
    mia_shape x = onnx_shape(n, 0);
    int64_t width = x.extent[0], height = x.extent[1], plane = width * height;
    mia_device *device = n->graph->device;
    bool columns = onnx_int(n, "storage_order", 0) != 0;
    mia_tensor within = OP(add, mul_number(onnx_places(n, 2, 0, width), columns ? (double)height : 1.0),
                           mul_number(onnx_places(n, 2, 1, height), columns ? 1.0 : (double)width));
    mia_tensor planes =
        mia_tensor_arange(device, MIA_i32, 0, (double)plane, x.extent[2] * x.extent[3], __FILE__, __LINE__);
    planes = OP(reshape, planes, MIA_SHAPE(1, 1, x.extent[2], x.extent[3]));
    mia_tensor index = OP(add, within, planes), value = onnx_in(n, 0);
    int64_t places[2];
    for (uint32_t m = 0; m < 2; m++) {
        value = OP(pad, value, m, w->before[m], w->after[m], MIA_PAD_CONSTANT, -3e38);
        index = OP(pad, index, m, w->before[m], w->after[m], MIA_PAD_CONSTANT, 0.0);
        int64_t room = x.extent[m] + w->before[m] + w->after[m] - (w->size[m] - 1) * w->dilation[m] - 1;
        places[m] = room / w->stride[m] + 1;
    }
    value = onnx_keep(n, value), index = onnx_keep(n, index);
    mia_tensor best = {0}, where = {0};
    for (int64_t k = 0; k < w->size[0] * w->size[1]; k++) {
        int64_t column = k % w->size[0] * w->dilation[0], row = k / w->size[0] * w->dilation[1];
        mia_tensor v = OP(slice, OP(ref, value), 0, column, places[0], w->stride[0]);
        mia_tensor i = OP(slice, OP(ref, index), 0, column, places[0], w->stride[0]);
        v = onnx_keep(n, OP(slice, v, 1, row, places[1], w->stride[1]));
        i = OP(slice, i, 1, row, places[1], w->stride[1]);
        if (k > 0) {
            mia_tensor greater = onnx_keep(n, OP(greater, OP(ref, v), OP(ref, best)));
            where = OP(where, OP(ref, greater), i, where);
            best = onnx_keep(n, OP(where, OP(ref, greater), OP(ref, v), OP(ref, best)));
        } else {
            where = i, best = v;
        }
    }
    return where;
}

static void max_pool(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    window w = window_of(n, &x, NULL);
    mia_dtype dtype = onnx_type(n, 0);
    bool real = mia_dtype_describe(dtype)->kind == MIA_KIND_FLOAT;
    mia_tensor given = real ? onnx_in(n, 0) : OP(convert, onnx_in(n, 0), MIA_f32);
    mia_tensor result = pooled(given, &w, false, mia_op_max_pool);
    onnx_out(n, 0, real ? result : OP(convert, result, dtype));
    if (!onnx_wants(n, 1)) return;
    if (w.spatial == 2)
        onnx_out(n, 1, places_of_greatest(n, &w));
    else
        onnx_refuse(n, "MaxPool with indices of other than two axes");
}

static void average_pool(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    window w = window_of(n, &x, NULL);
    onnx_out(n, 0, pooled(onnx_in(n, 0), &w, onnx_int(n, "count_include_pad", 0) != 0, mia_op_average_pool));
}

static uint32_t spatial_modes(onnx_node *n) {
    uint32_t rank = onnx_shape(n, 0).ndim;
    return rank < 2 ? 0 : (1u << (rank - 2)) - 1;
}

static void global_average(onnx_node *n) {
    onnx_out(n, 0, OP(mean, onnx_in(n, 0), spatial_modes(n)));
}

static void global_max(onnx_node *n) {
    onnx_out(n, 0, OP(reduce_max, onnx_in(n, 0), spatial_modes(n)));
}

const onnx_operation onnx_window[] = {
    {"AveragePool", average_pool},
    {"Conv", convolution},
    {"ConvTranspose", transposed_convolution},
    {"GlobalAveragePool", global_average},
    {"GlobalMaxPool", global_max},
    {"MaxPool", max_pool},
    {0},
};
