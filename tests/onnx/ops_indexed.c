/* Elements by index: gathering and scattering. */
#include "onnx/graph.h"

static void gather(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    uint32_t mode = onnx_mode(n, onnx_int(n, "axis", 0), x.ndim);
    onnx_out(n, 0, OP(take, onnx_in(n, 0), onnx_indices(n, 1, x.extent[mode]), mode));
}

static void gather_elements(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    uint32_t mode = onnx_mode(n, onnx_int(n, "axis", 0), x.ndim);
    onnx_out(n, 0, OP(take_along, onnx_in(n, 0), onnx_indices(n, 1, x.extent[mode]), mode));
}

static mia_scatter_style style_of(const onnx_node *n) {
    return onnx_is(n, "reduction", "add")   ? MIA_SCATTER_ADD
           : onnx_is(n, "reduction", "mul") ? MIA_SCATTER_MUL
           : onnx_is(n, "reduction", "min") ? MIA_SCATTER_MIN
           : onnx_is(n, "reduction", "max") ? MIA_SCATTER_MAX
                                            : MIA_SCATTER_SET;
}

static void scatter_elements(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    uint32_t mode = onnx_mode(n, onnx_int(n, "axis", 0), x.ndim);
    mia_tensor indices = onnx_indices(n, 1, x.extent[mode]);
    onnx_out(n, 0, OP(scatter_along, onnx_in(n, 0), indices, onnx_in(n, 2), mode, style_of(n)));
}

/* What the last axis of indices [.., k] names: data is [batch.., d1 .. dk, inner..], seen as [inner, places]. */
typedef struct named {
    uint32_t k;
    int64_t inner, places;
    mia_tensor at; /* i32, the indices' shape without the last axis: places in one row */
} named;

static named name_places(onnx_node *n, uint32_t batch_axes) {
    mia_shape x = onnx_shape(n, 0), list = onnx_shape(n, 1);
    named result = {.k = (uint32_t)list.extent[0], .inner = 1, .places = 1};
    uint32_t outer = batch_axes + result.k;
    if (list.ndim == 0 || outer > x.ndim) {
        onnx_fail(n, "%s: indices name too many axes", n->proto->op_type);
        return result;
    }
    for (uint32_t m = 0; m < x.ndim - outer; m++) result.inner *= x.extent[m];
    mia_tensor indices = onnx_keep(n, OP(convert, onnx_in(n, 1), MIA_i32));
    for (uint32_t axis = outer; axis-- > 0;) { /* from the fastest */
        int64_t extent = x.extent[x.ndim - 1 - axis];
        mia_tensor index;
        if (axis < batch_axes) {
            index = onnx_places(n, list.ndim - 1, list.ndim - 2 - axis, extent);
        } else {
            index = OP(slice, OP(ref, indices), 0, (int64_t)(axis - batch_axes), 1, 1);
            index = onnx_keep(n, OP(squeeze, index, MIA_MODE(0)));
            mia_tensor wrapped = add_number(OP(ref, index), (double)extent);
            index = OP(where, less_number(OP(ref, index), 0), wrapped, OP(ref, index));
        }
        index = mul_number(index, (double)result.places);
        result.at = axis == outer - 1 ? index : OP(add, result.at, index);
        result.places *= extent;
    }
    return result;
}

static void gather_nd(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    uint32_t batch_axes = (uint32_t)onnx_int(n, "batch_dims", 0);
    named to = name_places(n, batch_axes);
    if (n->graph->outcome != ONNX_PASSED) return;
    mia_shape result = x, chosen = mia_tensor_shape(to.at);
    result.ndim = x.ndim - batch_axes - to.k;
    for (uint32_t m = 0; m < chosen.ndim && result.ndim < MIA_MAX_MODES; m++)
        result.extent[result.ndim++] = chosen.extent[m];
    mia_tensor table = OP(reshape, onnx_in(n, 0), MIA_SHAPE(to.inner, to.places));
    onnx_out(n, 0, OP(reshape, OP(take, table, to.at, 1), result));
}

static void scatter_nd(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    named to = name_places(n, 0);
    if (n->graph->outcome != ONNX_PASSED) return;
    mia_shape chosen = mia_tensor_shape(to.at);
    int64_t count = onnx_count(&chosen);
    mia_tensor table = OP(reshape, onnx_in(n, 0), MIA_SHAPE(to.inner, to.places));
    mia_tensor rows = OP(reshape, onnx_in(n, 2), MIA_SHAPE(to.inner, count));
    mia_tensor at = OP(reshape, to.at, MIA_SHAPE(count));
    onnx_out(n, 0, OP(reshape, OP(scatter, table, at, rows, 1, style_of(n)), x));
}

/* values are [off, on]; the new axis has `depth` places. */
static void one_hot(onnx_node *n) {
    mia_shape list = onnx_shape(n, 0);
    int64_t depth = (int64_t)onnx_real(n, 1);
    uint32_t rank = list.ndim + 1, mode = onnx_mode(n, onnx_int(n, "axis", -1), rank);
    mia_tensor hot = OP(unsqueeze, onnx_indices(n, 0, depth), mode);
    mia_tensor chosen = OP(equal, hot, onnx_places(n, rank, mode, depth));
    mia_tensor off = OP(slice, onnx_in(n, 2), 0, 0, 1, 1), on = OP(slice, onnx_in(n, 2), 0, 1, 1, 1);
    onnx_out(n, 0, OP(where, chosen, on, off));
}

/* Numbers go where their indices, counted over what the pool was of, say; zeros elsewhere, and after that
 * where the result is to be larger. */
static void max_unpool(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0), whole = x;
    onnx_list kernel = onnx_ints(n, "kernel_shape"), strides = onnx_ints(n, "strides"), wanted = {0};
    for (uint32_t m = 0; m + 2 < x.ndim && kernel.count + 2 == x.ndim; m++) {
        size_t axis = kernel.count - 1 - m;
        int64_t stride = strides.count > axis ? strides.at[axis] : 1;
        whole.extent[m] = (x.extent[m] - 1) * stride + kernel.at[axis];
    }
    int64_t count = onnx_count(&x);
    mia_shape room = MIA_SHAPE(onnx_count(&whole));
    mia_tensor zeros = mia_tensor_full(n->graph->device, onnx_type(n, 0), room, 0, __FILE__, __LINE__);
    mia_tensor at = OP(reshape, OP(convert, onnx_in(n, 1), MIA_i32), MIA_SHAPE(count));
    mia_tensor numbers = OP(reshape, onnx_in(n, 0), MIA_SHAPE(count));
    mia_tensor result = OP(reshape, OP(scatter, zeros, at, numbers, 0, MIA_SCATTER_SET), whole);
    if (onnx_has(n, 2)) wanted = onnx_integers(n, 2);
    for (uint32_t m = 0; m < x.ndim && wanted.count == x.ndim; m++) {
        int64_t more = wanted.at[x.ndim - 1 - m] - whole.extent[m];
        if (more > 0) result = OP(pad, result, m, 0, more, MIA_PAD_CONSTANT, 0.0);
    }
    onnx_out(n, 0, result);
}

const onnx_operation onnx_indexed[] = {
    {"Gather", gather},
    {"GatherElements", gather_elements},
    {"GatherND", gather_nd},
    {"MaxUnpool", max_unpool},
    {"OneHot", one_hot},
    {"Scatter", scatter_elements},
    {"ScatterElements", scatter_elements},
    {"ScatterND", scatter_nd},
    {0},
};
