/* Tensors out of others' elements, and out of nothing. */
#include "onnx/graph.h"

#include <math.h>

static void concat(onnx_node *n) {
    uint32_t mode = onnx_mode(n, onnx_int(n, "axis", 0), onnx_shape(n, 0).ndim);
    mia_tensor result = onnx_in(n, 0);
    for (size_t i = 1; i < n->inputs; i++) result = OP(concat, result, onnx_in(n, i), mode);
    onnx_out(n, 0, result);
}

static void pad(onnx_node *n) {
    uint32_t rank = onnx_shape(n, 0).ndim;
    onnx_list pads = onnx_has_attribute(n, "pads") ? onnx_ints(n, "pads") : onnx_integers(n, 1);
    double value = onnx_has(n, 2) ? onnx_real(n, 2) : onnx_float(n, "value", 0);
    mia_pad_style style = onnx_is(n, "mode", "reflect") ? MIA_PAD_MIRROR
                          : onnx_is(n, "mode", "edge")  ? MIA_PAD_EDGE
                                                        : MIA_PAD_CONSTANT;
    mia_tensor x = onnx_in(n, 0);
    for (uint32_t m = 0; m < rank && pads.count == 2 * rank; m++) {
        int64_t before = pads.at[rank - 1 - m], after = pads.at[2 * rank - 1 - m];
        if (before != 0 || after != 0) x = OP(pad, x, m, before, after, style, value);
    }
    onnx_out(n, 0, x);
}

static void triangle(onnx_node *n) {
    int64_t diagonal = onnx_has(n, 1) ? onnx_integer(n, 1) : 0;
    bool upper = onnx_int(n, "upper", 1) != 0;
    mia_tensor x = onnx_in(n, 0);
    onnx_out(n, 0, upper ? OP(triu, x, diagonal) : OP(tril, x, diagonal));
}

/* Row by row, the part up to its length backwards. */
static void reverse_sequence(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    uint32_t time = onnx_mode(n, onnx_int(n, "time_axis", 0), x.ndim);
    uint32_t batch = onnx_mode(n, onnx_int(n, "batch_axis", 1), x.ndim);
    mia_tensor places = onnx_keep(n, onnx_places(n, x.ndim, time, x.extent[time]));
    mia_shape line = onnx_line(x.ndim, batch, x.extent[batch]);
    mia_tensor lengths = onnx_keep(n, OP(reshape, onnx_in(n, 1), line));
    mia_tensor backwards = OP(sub, sub_number(OP(ref, lengths), 1), OP(ref, places));
    mia_tensor inside = OP(less, OP(ref, places), OP(ref, lengths));
    mia_tensor order = OP(broadcast, OP(where, inside, backwards, OP(ref, places)), x);
    onnx_out(n, 0, OP(take_along, onnx_in(n, 0), order, time));
}

/* The places of an axis, or of all elements in a row, where a condition holds. */
static void compress(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    bool flat = !onnx_has_attribute(n, "axis");
    mia_tensor t = flat ? OP(reshape, onnx_in(n, 0), MIA_SHAPE(onnx_count(&x))) : onnx_in(n, 0);
    uint32_t mode = flat ? 0 : onnx_mode(n, onnx_int(n, "axis", 0), x.ndim);
    onnx_out(n, 0, OP(take, t, onnx_where_true(n, onnx_in(n, 1)), mode));
}

/* [rank, count]: for each element that is not zero its coordinates. */
static void non_zero(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    mia_tensor flat = OP(reshape, onnx_in(n, 0), MIA_SHAPE(onnx_count(&x)));
    mia_tensor places = onnx_keep(n, onnx_where_true(n, onnx_cast(flat, MIA_bool8)));
    mia_tensor rows = {0};
    for (uint32_t m = 0; m < x.ndim; m++) { /* the last axis is the last row */
        mia_tensor row = OP(unsqueeze, mod_number(OP(ref, places), (double)x.extent[m]), 1);
        places = onnx_keep(n, div_number(OP(ref, places), (double)x.extent[m]));
        rows = m == 0 ? row : OP(concat, row, rows, 1);
    }
    onnx_out(n, 0, rows);
}

/* --- out of nothing --------------------------------------------------------------------------- */

static void give_file_tensor(onnx_node *n, const Onnx__TensorProto *proto) {
    onnx_value value;
    const char *why = "";
    if (!onnx_value_of(proto, &value, &why))
        onnx_graph_stop(n->graph, ONNX_TYPE, "%s", why);
    else
        (void)onnx_graph_set(n->graph, n->proto->output[0], value);
}

static void constant(onnx_node *n) {
    const Onnx__AttributeProto *value = onnx_find_attribute(n->proto, "value");
    const Onnx__AttributeProto *real = onnx_find_attribute(n->proto, "value_float");
    const Onnx__AttributeProto *reals = onnx_find_attribute(n->proto, "value_floats");
    mia_device *device = n->graph->device;
    if (value != NULL && value->t != NULL) {
        give_file_tensor(n, value->t);
    } else if (real != NULL) {
        onnx_out(n, 0, mia_tensor_full(device, MIA_f32, MIA_SCALAR, (double)real->f, __FILE__, __LINE__));
    } else if (reals != NULL) {
        mia_shape shape = MIA_SHAPE((int64_t)reals->n_floats);
        onnx_out(n, 0, mia_tensor_upload(device, MIA_f32, shape, reals->floats, __FILE__, __LINE__));
    } else if (onnx_has_attribute(n, "value_int")) {
        int64_t integer = onnx_int(n, "value_int", 0);
        onnx_out_integers(n, 0, &integer, -1);
    } else if (onnx_has_attribute(n, "value_ints")) {
        onnx_list list = onnx_ints(n, "value_ints");
        onnx_out_integers(n, 0, list.at, (int64_t)list.count);
    } else {
        onnx_refuse(n, "Constant of another kind");
    }
}

static void constant_of_shape(onnx_node *n) {
    onnx_list extents = onnx_integers(n, 0);
    mia_shape shape = {.ndim = (uint32_t)extents.count};
    for (size_t i = 0; i < extents.count && i < MIA_MAX_MODES; i++)
        shape.extent[extents.count - 1 - i] = extents.at[i];
    const Onnx__AttributeProto *a = onnx_find_attribute(n->proto, "value");
    onnx_value value = {.dtype = MIA_f32};
    const char *why = "";
    if (a != NULL && a->t != NULL && !onnx_value_of(a->t, &value, &why)) {
        onnx_graph_stop(n->graph, ONNX_TYPE, "%s", why);
        return;
    }
    double number = value.host == NULL ? 0 : onnx_value_at(&value, 0);
    onnx_out(n, 0, mia_tensor_full(n->graph->device, value.dtype, shape, number, __FILE__, __LINE__));
    onnx_value_end(&value);
}

static void range(onnx_node *n) {
    double start = onnx_real(n, 0), limit = onnx_real(n, 1), step = onnx_real(n, 2);
    int64_t count = step == 0 ? 0 : (int64_t)ceil((limit - start) / step);
    mia_tensor first = OP(reshape, onnx_in(n, 0), MIA_SCALAR), delta = OP(reshape, onnx_in(n, 2), MIA_SCALAR);
    onnx_out(n, 0, OP(arange, first, delta, count < 0 ? 0 : count));
}

/* 1 where column - row is k. */
static void eye_like(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    mia_dtype dtype = onnx_type(n, 0);
    if (onnx_has_attribute(n, "dtype") && !onnx_dtype((int32_t)onnx_int(n, "dtype", 0), &dtype)) {
        onnx_graph_stop(n->graph, ONNX_TYPE, "%s", onnx_type_name((int32_t)onnx_int(n, "dtype", 0)));
        return;
    }
    mia_tensor rows = add_number(onnx_places(n, 2, 1, x.extent[1]), (double)onnx_int(n, "k", 0));
    onnx_out(n, 0, OP(convert, OP(equal, onnx_places(n, 2, 0, x.extent[0]), rows), dtype));
}

const onnx_operation onnx_movement[] = {
    {"Compress", compress},
    {"Concat", concat},
    {"Constant", constant},
    {"ConstantOfShape", constant_of_shape},
    {"EyeLike", eye_like},
    {"NonZero", non_zero},
    {"Pad", pad},
    {"Range", range},
    {"ReverseSequence", reverse_sequence},
    {"Trilu", triangle},
    {0},
};
