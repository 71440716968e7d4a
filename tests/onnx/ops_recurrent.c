/* Recurrent layers, one direction: products of all steps at once, and then step by step.
 *
 * X [T, B, I], W [1, gates H, I], R [1, gates H, H], B [1, 2 gates H]; Y [T, 1, B, H], Y_h [1, B, H]; with
 * layout 1 the batch is the first axis of each. */
#include "onnx/graph.h"

typedef struct layer {
    int64_t hidden, batch, steps;
    mia_tensor input;     /* kept: [gates H, B, T], biases of the input (and of the state, if so) added */
    mia_tensor recurrent; /* kept: [H, gates H] */
    mia_tensor all;       /* Y as [H, B, T] so far */
} layer;

/* One direction of an input, as a matrix or a line. */
static mia_tensor direction(onnx_node *n, size_t i) {
    uint32_t last = onnx_shape(n, i).ndim - 1;
    return OP(squeeze, OP(slice, onnx_in(n, i), last, 0, 1, 1), MIA_MODE(last));
}

static layer open_layer(onnx_node *n, int64_t gates) {
    layer l = {.hidden = onnx_int(n, "hidden_size", 1)};
    bool batch_first = onnx_int(n, "layout", 0) != 0;
    if (onnx_has_attribute(n, "direction") && !onnx_is(n, "direction", "forward"))
        onnx_refuse(n, "%s in another direction", n->proto->op_type);
    mia_tensor x = onnx_in(n, 0);
    if (batch_first) x = OP(transpose, x, 1, 2);
    mia_shape s = mia_tensor_shape(x);
    l.batch = s.extent[1], l.steps = s.extent[2];
    if (onnx_has(n, 4)) {
        onnx_list lengths = onnx_integers(n, 4);
        for (size_t i = 0; i < lengths.count; i++)
            if (lengths.at[i] != l.steps) onnx_refuse(n, "%s of sequences that differ", n->proto->op_type);
    }
    mia_tensor input = OP(matmul, direction(n, 1), x);
    if (onnx_has(n, 3)) input = OP(add, input, OP(slice, direction(n, 3), 0, 0, gates * l.hidden, 1));
    l.input = onnx_keep(n, input);
    l.recurrent = onnx_keep(n, direction(n, 2));
    return l;
}

/* [H, B]: input i's, or zeros; kept. */
static mia_tensor first_state(onnx_node *n, const layer *l, size_t i) {
    if (!onnx_has(n, i)) {
        mia_shape shape = MIA_SHAPE(l->hidden, l->batch);
        return onnx_keep(n, mia_tensor_full(n->graph->device, MIA_f32, shape, 0, __FILE__, __LINE__));
    }
    return onnx_keep(n, OP(reshape, onnx_in(n, i), MIA_SHAPE(l->hidden, l->batch)));
}

/* Biases of the state's product, gates `first` to before `end`. */
static mia_tensor with_state_bias(onnx_node *n, const layer *l, mia_tensor x, int64_t gates, int64_t first,
                                  int64_t end) {
    if (!onnx_has(n, 3)) return x;
    int64_t begin = (gates + first) * l->hidden;
    return OP(add, x, OP(slice, direction(n, 3), 0, begin, (end - first) * l->hidden, 1));
}

static mia_tensor step_of(const layer *l, int64_t t) {
    return OP(squeeze, OP(slice, OP(ref, l->input), 2, t, 1, 1), MIA_MODE(2));
}

static mia_tensor gate(const layer *l, mia_tensor gates, int64_t i) {
    return OP(slice, gates, 0, i * l->hidden, l->hidden, 1);
}

static void append(layer *l, int64_t t, mia_tensor h) {
    mia_tensor row = OP(unsqueeze, OP(ref, h), 2);
    l->all = t == 0 ? row : OP(concat, l->all, row, 2);
}

static mia_tensor state_out(onnx_node *n, mia_tensor h) {
    bool batch_first = onnx_int(n, "layout", 0) != 0;
    return OP(unsqueeze, OP(ref, h), batch_first ? 1 : 2);
}

static void close_layer(onnx_node *n, layer *l, mia_tensor h) {
    bool batch_first = onnx_int(n, "layout", 0) != 0;
    mia_tensor y =
        batch_first ? OP(unsqueeze, OP(permute, l->all, MIA_SHAPE(0, 2, 1)), 1) : OP(unsqueeze, l->all, 2);
    onnx_out(n, 0, y);
    onnx_out(n, 1, state_out(n, h));
}

/* h = tanh(W x + R h + b) */
static void rnn(onnx_node *n) {
    layer l = open_layer(n, 1);
    mia_tensor h = first_state(n, &l, 5);
    for (int64_t t = 0; t < l.steps; t++) {
        mia_tensor sum = OP(add, step_of(&l, t), OP(matmul, OP(ref, l.recurrent), OP(ref, h)));
        h = onnx_keep(n, OP(tanh, with_state_bias(n, &l, sum, 1, 0, 1)));
        append(&l, t, h);
    }
    close_layer(n, &l, h);
}

/* z, r = sigmoid(W x + R h + b); c = tanh(W x + R (r h) + b); h = (1 - z) c + z h */
static void gru(onnx_node *n) {
    layer l = open_layer(n, 3);
    if (onnx_int(n, "linear_before_reset", 0) != 0) onnx_refuse(n, "GRU with a linear reset");
    mia_tensor h = first_state(n, &l, 5);
    for (int64_t t = 0; t < l.steps; t++) {
        mia_tensor input = onnx_keep(n, step_of(&l, t));
        mia_tensor rows = OP(slice, OP(ref, l.recurrent), 1, 0, 2 * l.hidden, 1);
        mia_tensor both =
            OP(add, OP(slice, OP(ref, input), 0, 0, 2 * l.hidden, 1), OP(matmul, rows, OP(ref, h)));
        both = onnx_keep(n, OP(sigmoid, with_state_bias(n, &l, both, 3, 0, 2)));
        mia_tensor z = onnx_keep(n, gate(&l, OP(ref, both), 0)), r = gate(&l, OP(ref, both), 1);
        rows = OP(slice, OP(ref, l.recurrent), 1, 2 * l.hidden, l.hidden, 1);
        mia_tensor c = OP(add, gate(&l, OP(ref, input), 2), OP(matmul, rows, OP(mul, r, OP(ref, h))));
        c = OP(tanh, with_state_bias(n, &l, c, 3, 2, 3));
        mia_tensor fresh = OP(mul, add_number(OP(neg, OP(ref, z)), 1), c);
        h = onnx_keep(n, OP(add, fresh, OP(mul, OP(ref, z), OP(ref, h))));
        append(&l, t, h);
    }
    close_layer(n, &l, h);
}

static mia_tensor peep(onnx_node *n, const layer *l, mia_tensor x, int64_t i, mia_tensor c) {
    if (!onnx_has(n, 7)) return x;
    return OP(add, x, OP(mul, gate(l, direction(n, 7), i), OP(ref, c)));
}

/* i, o, f = sigmoid(W x + R h + P c + b); c = f c + i tanh(...); h = o tanh(c), o seeing the new c */
static void lstm(onnx_node *n) {
    layer l = open_layer(n, 4);
    mia_tensor h = first_state(n, &l, 5), c = first_state(n, &l, 6);
    for (int64_t t = 0; t < l.steps; t++) {
        mia_tensor sum = OP(add, step_of(&l, t), OP(matmul, OP(ref, l.recurrent), OP(ref, h)));
        sum = onnx_keep(n, with_state_bias(n, &l, sum, 4, 0, 4));
        mia_tensor i = OP(sigmoid, peep(n, &l, gate(&l, OP(ref, sum), 0), 0, c));
        mia_tensor f = OP(sigmoid, peep(n, &l, gate(&l, OP(ref, sum), 2), 2, c));
        mia_tensor fresh = OP(mul, i, OP(tanh, gate(&l, OP(ref, sum), 3)));
        c = onnx_keep(n, OP(add, OP(mul, f, OP(ref, c)), fresh));
        mia_tensor o = OP(sigmoid, peep(n, &l, gate(&l, OP(ref, sum), 1), 1, c));
        h = onnx_keep(n, OP(mul, o, OP(tanh, OP(ref, c))));
        append(&l, t, h);
    }
    close_layer(n, &l, h);
    onnx_out(n, 2, state_out(n, c));
}

const onnx_operation onnx_recurrent[] = {
    {"GRU", gru},
    {"LSTM", lstm},
    {"RNN", rnn},
    {0},
};
