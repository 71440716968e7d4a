/* Shapes: other extents, order and parts of the same elements. */
#include "onnx/graph.h"

#include <inttypes.h>

/* Extents of a Mia shape as ONNX lists them, from `begin` to before `end`. */
static void shape(onnx_node *n) {
    mia_shape s = onnx_shape(n, 0);
    int64_t rank = s.ndim, begin = onnx_int(n, "start", 0), end = onnx_int(n, "end", rank),
            list[MIA_MAX_MODES];
    if (begin < 0) begin += rank;
    if (end < 0) end += rank;
    begin = begin < 0 ? 0 : begin > rank ? rank : begin;
    end = end < begin ? begin : end > rank ? rank : end;
    for (int64_t i = begin; i < end; i++) list[i - begin] = s.extent[rank - 1 - i];
    onnx_out_integers(n, 0, list, end - begin);
}

static void size(onnx_node *n) {
    mia_shape s = onnx_shape(n, 0);
    int64_t count = onnx_count(&s);
    onnx_out_integers(n, 0, &count, -1);
}

static mia_shape reversed(onnx_node *n, const onnx_list *list) {
    mia_shape result = {.ndim = (uint32_t)list->count};
    if (list->count > MIA_MAX_MODES) {
        onnx_fail(n, "%s: more than 8 axes", n->proto->op_type);
        return MIA_SCALAR;
    }
    for (size_t i = 0; i < list->count; i++) result.extent[list->count - 1 - i] = list->at[i];
    return result;
}

/* -1 is what is left, 0 the extent that was there. */
static void reshape(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    onnx_list list = onnx_has_attribute(n, "shape") ? onnx_ints(n, "shape") : onnx_integers(n, 1);
    int64_t known = 1, open = -1;
    for (size_t i = 0; i < list.count; i++) {
        if (list.at[i] == 0 && onnx_int(n, "allowzero", 0) == 0)
            list.at[i] = i < x.ndim ? x.extent[x.ndim - 1 - i] : 0;
        if (list.at[i] < 0)
            open = (int64_t)i;
        else
            known *= list.at[i];
    }
    if (open >= 0) list.at[open] = known == 0 ? 0 : onnx_count(&x) / known;
    onnx_out(n, 0, OP(reshape, onnx_in(n, 0), reversed(n, &list)));
}

/* [axes before `axis`, the others], each as one. */
static void flatten(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    int64_t axis = onnx_int(n, "axis", 1), rows = 1, columns = 1;
    if (axis < 0) axis += x.ndim;
    for (uint32_t m = 0; m < x.ndim; m++) {
        if ((int64_t)(x.ndim - 1 - m) < axis)
            rows *= x.extent[m];
        else
            columns *= x.extent[m];
    }
    onnx_out(n, 0, OP(reshape, onnx_in(n, 0), MIA_SHAPE(columns, rows)));
}

static void transpose(onnx_node *n) {
    uint32_t rank = onnx_shape(n, 0).ndim;
    onnx_list axes = onnx_ints(n, "perm");
    mia_shape order = {.ndim = rank};
    for (uint32_t m = 0; m < rank; m++)
        order.extent[m] = axes.count == rank ? onnx_mode(n, axes.at[rank - 1 - m], rank) : rank - 1 - m;
    onnx_out(n, 0, OP(permute, onnx_in(n, 0), order));
}

/* One axis from `begin` to before `end`, both counted from the end where negative. */
static mia_tensor part(mia_tensor x, uint32_t mode, int64_t begin, int64_t end, int64_t step) {
    int64_t extent = mia_tensor_shape(x).extent[mode], least = step > 0 ? 0 : -1, count = 0;
    int64_t most = step > 0 ? extent : extent - 1;
    if (begin < 0) begin += extent;
    if (end < 0) end = end < -extent ? -1 : end + extent;
    begin = begin < 0 ? 0 : begin > most ? most : begin;
    end = end < least ? least : end > extent ? extent : end;
    if (step > 0 && end > begin) count = (end - begin + step - 1) / step;
    if (step < 0 && begin > end) count = (begin - end - step - 1) / -step;
    return OP(slice, x, mode, count == 0 ? 0 : begin, count, step);
}

static void slice(onnx_node *n) {
    uint32_t rank = onnx_shape(n, 0).ndim;
    bool attributes = onnx_has_attribute(n, "starts");
    onnx_list begin = attributes ? onnx_ints(n, "starts") : onnx_integers(n, 1);
    onnx_list end = attributes ? onnx_ints(n, "ends") : onnx_integers(n, 2);
    onnx_list axes = onnx_ints(n, "axes"), steps = {0};
    if (onnx_has(n, 3)) axes = onnx_integers(n, 3);
    if (onnx_has(n, 4)) steps = onnx_integers(n, 4);
    mia_tensor x = onnx_in(n, 0);
    for (size_t i = 0; i < begin.count && i < end.count; i++) {
        uint32_t mode = onnx_mode(n, axes.count > i ? axes.at[i] : (int64_t)i, rank);
        int64_t step = steps.count > i && steps.at[i] != 0 ? steps.at[i] : 1;
        x = part(x, mode, begin.at[i], end.at[i], step);
    }
    onnx_out(n, 0, x);
}

static void split(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    uint32_t mode = onnx_mode(n, onnx_int(n, "axis", 0), x.ndim);
    onnx_list sizes = onnx_ints(n, "split");
    if (onnx_has(n, 1)) sizes = onnx_integers(n, 1);
    int64_t begin = 0, parts = (int64_t)n->proto->n_output, even = (x.extent[mode] + parts - 1) / parts;
    for (int64_t i = 0; i < parts; i++) {
        int64_t left = x.extent[mode] - begin;
        int64_t count = (size_t)i < sizes.count ? sizes.at[i] : even < left ? even : left;
        onnx_out(n, (size_t)i, OP(slice, onnx_in(n, 0), mode, count == 0 ? 0 : begin, count, 1));
        begin += count;
    }
}

static void squeeze(onnx_node *n) {
    bool given = false;
    uint32_t modes = onnx_modes(n, "axes", 1, onnx_shape(n, 0).ndim, &given);
    onnx_out(n, 0, OP(squeeze, onnx_in(n, 0), given ? modes : MIA_ALL_MODES));
}

/* The axes are those of the result. */
static void unsqueeze(onnx_node *n) {
    onnx_list axes = onnx_has_attribute(n, "axes") ? onnx_ints(n, "axes") : onnx_integers(n, 1);
    uint32_t rank = onnx_shape(n, 0).ndim + (uint32_t)axes.count, modes = 0;
    for (size_t i = 0; i < axes.count; i++) modes |= MIA_MODE(onnx_mode(n, axes.at[i], rank));
    mia_tensor x = onnx_in(n, 0);
    for (uint32_t m = 0; m < rank; m++)
        if ((modes >> m & 1) != 0) x = OP(unsqueeze, x, m);
    onnx_out(n, 0, x);
}

/* Broadcasting goes both ways: x's extents stay where the shape has 1. */
static void expand(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    onnx_list list = onnx_integers(n, 1);
    mia_shape wanted = reversed(n, &list);
    for (uint32_t m = 0; m < x.ndim; m++)
        if (m >= wanted.ndim || wanted.extent[m] == 1) wanted.extent[m] = x.extent[m];
    if (wanted.ndim < x.ndim) wanted.ndim = x.ndim;
    onnx_out(n, 0, OP(broadcast, onnx_in(n, 0), wanted));
}

/* A mode of n elements becomes n by 1, n by as many as wanted, and one mode again. */
static void tile(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    onnx_list repeats = onnx_integers(n, 1);
    mia_tensor t = onnx_in(n, 0);
    for (uint32_t m = 0; m < x.ndim && repeats.count == x.ndim; m++) {
        int64_t times = repeats.at[x.ndim - 1 - m];
        t = OP(unsqueeze, t, m + 1);
        mia_shape more = mia_tensor_shape(t);
        more.extent[m + 1] = times;
        t = OP(broadcast, t, more);
        x.extent[m] *= times;
        t = OP(reshape, t, x);
    }
    onnx_out(n, 0, t);
}

/* Extents [W, H, C, N] as [W, H, b, b, C / b^2, N] and the like, which modes then go between each other. */
static void depth_to_space(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    int64_t b = onnx_int(n, "blocksize", 1), c = x.extent[2] / (b * b);
    bool columns_first = onnx_is(n, "mode", "CRD");
    mia_shape apart = columns_first ? MIA_SHAPE(x.extent[0], x.extent[1], b, b, c, x.extent[3])
                                    : MIA_SHAPE(x.extent[0], x.extent[1], c, b, b, x.extent[3]);
    mia_shape order = columns_first ? MIA_SHAPE(2, 0, 3, 1, 4, 5) : MIA_SHAPE(3, 0, 4, 1, 2, 5);
    mia_tensor t = OP(permute, OP(reshape, onnx_in(n, 0), apart), order);
    onnx_out(n, 0, OP(reshape, t, MIA_SHAPE(x.extent[0] * b, x.extent[1] * b, c, x.extent[3])));
}

static void space_to_depth(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    int64_t b = onnx_int(n, "blocksize", 1), w = x.extent[0] / b, h = x.extent[1] / b;
    mia_tensor t = OP(reshape, onnx_in(n, 0), MIA_SHAPE(b, w, b, h, x.extent[2], x.extent[3]));
    t = OP(permute, t, MIA_SHAPE(1, 3, 4, 0, 2, 5));
    onnx_out(n, 0, OP(reshape, t, MIA_SHAPE(w, h, x.extent[2] * b * b, x.extent[3])));
}

const onnx_operation onnx_view[] = {
    {"DepthToSpace", depth_to_space},
    {"Expand", expand},
    {"Flatten", flatten},
    {"Reshape", reshape},
    {"Shape", shape},
    {"Size", size},
    {"Slice", slice},
    {"SpaceToDepth", space_to_depth},
    {"Split", split},
    {"Squeeze", squeeze},
    {"Tile", tile},
    {"Transpose", transpose},
    {"Unsqueeze", unsqueeze},
    {0},
};
