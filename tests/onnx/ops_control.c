/* Nodes that hold graphs: these run as often as the node says, and see the values around them. */
#include "onnx/graph.h"

#include <string.h>

static const Onnx__GraphProto *body_of(onnx_node *n, const char *name, size_t inputs, size_t outputs) {
    const Onnx__AttributeProto *a = onnx_find_attribute(n->proto, name);
    if (a != NULL && a->g != NULL && a->g->n_input == inputs && a->g->n_output >= outputs) return a->g;
    onnx_fail(n, "%s has no %s of that many inputs and outputs", n->proto->op_type, name);
    return NULL;
}

static void bind(onnx_node *n, const Onnx__GraphProto *body, size_t i, mia_tensor t) {
    (void)onnx_graph_set(n->graph, body->input[i]->name, (onnx_value){.tensor = t, .made = true});
}

/* A handle of what a body gave. */
static mia_tensor given(onnx_node *n, const Onnx__GraphProto *body, size_t i) {
    onnx_value *value = onnx_graph_find(n->graph, body->output[i]->name);
    if (value != NULL) return OP(ref, onnx_value_tensor(n->graph->device, value));
    onnx_fail(n, "%s: its graph gives no %s", n->proto->op_type, body->output[i]->name);
    return (mia_tensor){0};
}

static void branch(onnx_node *n) {
    const char *name = onnx_integer(n, 0) != 0 ? "then_branch" : "else_branch";
    const Onnx__GraphProto *body = body_of(n, name, 0, n->proto->n_output);
    if (body == NULL) return;
    onnx_graph_run(n->graph, body);
    for (size_t i = 0; i < n->proto->n_output && n->graph->outcome == ONNX_PASSED; i++)
        onnx_out(n, i, given(n, body, i));
}

/* One more row of a stack, along a new first axis. */
static mia_tensor stacked(mia_tensor rows, bool first, mia_tensor row) {
    uint32_t mode = mia_tensor_shape(row).ndim;
    row = OP(unsqueeze, row, mode);
    return first ? row : OP(concat, rows, row, mode);
}

/* Inputs: the most turns, whether to go on, then values carried from turn to turn; of each turn's other
 * outputs a stack is made. */
static void loop(onnx_node *n) {
    size_t carried = n->inputs - 2, outputs = n->proto->n_output;
    const Onnx__GraphProto *body = body_of(n, "body", n->inputs, outputs + 1);
    int64_t most = onnx_has(n, 0) ? onnx_integer(n, 0) : INT64_MAX;
    bool on = !onnx_has(n, 1) || onnx_integer(n, 1) != 0;
    mia_tensor value[ONNX_MAX_OPERANDS] = {0};
    if (body == NULL || carried > outputs) return;
    for (size_t i = 0; i < carried; i++) value[i] = onnx_in(n, i + 2);
    int64_t turn = 0;
    for (; on && turn < most && n->graph->outcome == ONNX_PASSED; turn++) {
        onnx_value number;
        if (!onnx_value_of_integers(&turn, -1, &number)) break;
        (void)onnx_graph_set(n->graph, body->input[0]->name, number);
        bind(n, body, 1, mia_tensor_full(n->graph->device, MIA_bool8, MIA_SCALAR, 1, __FILE__, __LINE__));
        for (size_t i = 0; i < carried; i++) bind(n, body, i + 2, value[i]);
        onnx_graph_run(n->graph, body);
        on = onnx_read_integer(n, OP(convert, given(n, body, 0), MIA_i32)) != 0;
        for (size_t i = 0; i < outputs; i++) {
            mia_tensor t = given(n, body, i + 1);
            value[i] = i < carried ? t : stacked(value[i], turn == 0, t);
        }
    }
    for (size_t i = 0; i < outputs; i++)
        if (i < carried || turn > 0) onnx_out(n, i, value[i]);
}

/* State that is carried, then inputs of which each turn sees a row (along axis 0). */
static void scan(onnx_node *n) {
    size_t rows = (size_t)onnx_int(n, "num_scan_inputs", 1), outputs = n->proto->n_output;
    if (n->graph->opset < 9) onnx_refuse(n, "Scan before operator set 9"); /* of batches */
    const Onnx__GraphProto *body = body_of(n, "body", n->inputs, outputs);
    if (body == NULL || n->graph->outcome != ONNX_PASSED || rows > n->inputs) return;
    size_t carried = n->inputs - rows;
    mia_shape first = onnx_shape(n, carried);
    int64_t turns = first.extent[first.ndim - 1];
    mia_tensor value[ONNX_MAX_OPERANDS] = {0};
    for (size_t i = 0; i < carried; i++) value[i] = onnx_in(n, i);
    for (int64_t turn = 0; turn < turns && n->graph->outcome == ONNX_PASSED; turn++) {
        for (size_t i = 0; i < n->inputs; i++) {
            if (i < carried) {
                bind(n, body, i, value[i]);
                continue;
            }
            uint32_t mode = onnx_shape(n, i).ndim - 1;
            bind(n, body, i, OP(squeeze, OP(slice, onnx_in(n, i), mode, turn, 1, 1), MIA_MODE(mode)));
        }
        onnx_graph_run(n->graph, body);
        for (size_t i = 0; i < outputs; i++) {
            mia_tensor t = given(n, body, i);
            value[i] = i < carried ? t : stacked(value[i], turn == 0, t);
        }
    }
    for (size_t i = 0; i < outputs && turns > 0; i++) onnx_out(n, i, value[i]);
}

const onnx_operation onnx_control[] = {
    {"If", branch},
    {"Loop", loop},
    {"Scan", scan},
    {0},
};
