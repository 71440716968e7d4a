/* Unique: what is different among numbers, or among the slices along an axis. */
#include "onnx/graph.h"

/* The order of table [keys, n] by its columns, the first key most weighty: sorted by each key in turn from
 * the last, equals staying as they are. */
static mia_tensor order_of(onnx_node *n, mia_tensor table, int64_t keys, int64_t count) {
    mia_tensor order = onnx_keep(n, onnx_places(n, 1, 0, count));
    for (int64_t k = keys; k-- > 0;) {
        mia_tensor key = OP(squeeze, OP(slice, OP(ref, table), 0, k, 1, 1), MIA_MODE(0));
        mia_tensor now = OP(take, key, OP(ref, order), 0);
        order = onnx_keep(n, OP(take, OP(ref, order), OP(argsort, now, 0, false), 0));
    }
    return order;
}

/* 1 for each column that differs from the one before, i32 [n]; the first does. */
static mia_tensor first_ones(onnx_node *n, mia_tensor sorted, int64_t count) {
    mia_tensor after = OP(slice, OP(ref, sorted), 1, 1, count - 1, 1);
    mia_tensor before = OP(slice, OP(ref, sorted), 1, 0, count - 1, 1);
    mia_tensor differs = OP(squeeze, OP(any, OP(not_equal, after, before), MIA_MODE(0)), MIA_MODE(0));
    mia_tensor one = mia_tensor_full(n->graph->device, MIA_i32, MIA_SHAPE(1), 1, __FILE__, __LINE__);
    return OP(concat, one, OP(convert, differs, MIA_i32), 0);
}

static void unique(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    bool flat = !onnx_has_attribute(n, "axis");
    if (flat) x = MIA_SHAPE(onnx_count(&x));
    uint32_t mode = flat ? 0 : onnx_mode(n, onnx_int(n, "axis", 0), x.ndim);
    int64_t count = x.extent[mode], keys = count == 0 ? 0 : onnx_count(&x) / count;
    mia_tensor given = onnx_keep(n, OP(reshape, onnx_in(n, 0), x));
    mia_shape modes = {.ndim = x.ndim}; /* the axis last */
    for (uint32_t m = 0, next = 0; m < x.ndim; m++) {
        if (m != mode) modes.extent[next++] = m;
        modes.extent[x.ndim - 1] = mode;
    }
    mia_tensor table = OP(reshape, OP(permute, OP(ref, given), modes), MIA_SHAPE(keys, count));
    table = onnx_keep(n, table);
    mia_tensor order = order_of(n, table, keys, count);
    mia_tensor sorted = onnx_keep(n, OP(take, OP(ref, table), OP(ref, order), 1));
    mia_tensor first = onnx_keep(n, first_ones(n, sorted, count));

    mia_tensor begin = onnx_keep(n, onnx_where_true(n, OP(ref, first)));
    mia_tensor indices = onnx_keep(n, OP(take, OP(ref, order), OP(ref, begin), 0)); /* the first of equals */
    int64_t groups = mia_tensor_shape(begin).extent[0];
    mia_tensor end =
        mia_tensor_full(n->graph->device, MIA_i32, MIA_SHAPE(1), (double)count, __FILE__, __LINE__);
    end = OP(concat, OP(slice, OP(ref, begin), 0, 1, groups - 1, 1), end, 0);
    mia_tensor counts = onnx_keep(n, OP(sub, end, OP(ref, begin)));
    mia_tensor group = sub_number(OP(cumsum, OP(ref, first), 0, false, false), 1);
    mia_tensor zeros = mia_tensor_full(n->graph->device, MIA_i32, MIA_SHAPE(count), 0, __FILE__, __LINE__);
    mia_tensor inverse = onnx_keep(n, OP(scatter, zeros, OP(ref, order), group, 0, MIA_SCATTER_SET));
    if (onnx_int(n, "sorted", 1) == 0) { /* as they were met instead */
        mia_tensor met = onnx_keep(n, OP(argsort, OP(ref, indices), 0, false));
        indices = onnx_keep(n, OP(take, OP(ref, indices), OP(ref, met), 0));
        counts = onnx_keep(n, OP(take, OP(ref, counts), OP(ref, met), 0));
        inverse = onnx_keep(n, OP(take, OP(argsort, OP(ref, met), 0, false), OP(ref, inverse), 0));
    }
    onnx_out(n, 0, OP(take, OP(ref, given), OP(ref, indices), mode));
    onnx_out(n, 1, OP(ref, indices));
    onnx_out(n, 2, OP(ref, inverse));
    onnx_out(n, 3, OP(ref, counts));
}

const onnx_operation onnx_unique[] = {
    {"Unique", unique},
    {0},
};
