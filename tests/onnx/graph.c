/* Nodes in order, values by name, and the handlers' view of both. */
#include "onnx/graph.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- values ----------------------------------------------------------------------------------- */

void onnx_graph_stop(onnx_graph *graph, onnx_outcome outcome, const char *format, ...) {
    if (graph->outcome != ONNX_PASSED) return;
    mia_error error = {0};
    va_list args;
    va_start(args, format);
    (void)mia_error_setv(&error, MIA_ERROR_UNSUPPORTED, format, args);
    va_end(args);
    graph->outcome = outcome;
    memcpy(graph->message, error.message, sizeof error.message);
}

bool onnx_graph_set(onnx_graph *graph, const char *name, onnx_value value) {
    value.name = strdup(name);
    if (graph->count == graph->capacity && value.name != NULL) {
        size_t capacity = graph->capacity == 0 ? 32 : 2 * graph->capacity;
        onnx_value *values = realloc(graph->values, capacity * sizeof *values);
        if (values != NULL) graph->values = values, graph->capacity = capacity;
    }
    if (value.name == NULL || graph->count == graph->capacity) {
        onnx_value_end(&value);
        onnx_graph_stop(graph, ONNX_FAILED, "no memory");
        return false;
    }
    graph->values[graph->count++] = value;
    return true;
}

static size_t place_of(const onnx_graph *graph, const char *name) {
    for (size_t i = graph->count; i-- > 0;)
        if (strcmp(graph->values[i].name, name) == 0) return i;
    return SIZE_MAX;
}

onnx_value *onnx_graph_find(const onnx_graph *graph, const char *name) {
    size_t place = place_of(graph, name);
    return place == SIZE_MAX ? NULL : &graph->values[place];
}

void onnx_graph_end(onnx_graph *graph) {
    for (size_t i = 0; i < graph->count; i++) onnx_value_end(&graph->values[i]);
    free(graph->values);
    graph->values = NULL;
    graph->count = graph->capacity = 0;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static const onnx_operation *operation_of(const char *name) {
    static const onnx_operation *const families[] = {
        onnx_elementwise, onnx_activation, onnx_reduction, onnx_view,        onnx_movement,
        onnx_indexed,     onnx_norm,       onnx_loss,      onnx_contraction, onnx_window,
        onnx_quantise,    onnx_recurrent,  onnx_signal,    onnx_resize,      onnx_control,
        onnx_grid,        onnx_unique,     onnx_random,    onnx_training,
    };
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (const onnx_operation *o = families[f]; o->name != NULL; o++)
            if (strcmp(o->name, name) == 0) return o;
    return NULL;
}

static bool is_onnx_domain(const char *domain) {
    return domain == NULL || domain[0] == '\0' || strcmp(domain, "ai.onnx.preview.training") == 0;
}

static bool find_inputs(onnx_node *n) {
    n->inputs = n->proto->n_input;
    if (n->inputs > ONNX_MAX_OPERANDS || n->proto->n_output > ONNX_MAX_OPERANDS) {
        onnx_fail(n, "%s has too many operands", n->proto->op_type);
        return false;
    }
    for (size_t i = 0; i < n->inputs; i++) {
        n->input[i] = SIZE_MAX;
        if (n->proto->input[i][0] == '\0') continue;
        n->input[i] = place_of(n->graph, n->proto->input[i]);
        if (n->input[i] == SIZE_MAX) {
            onnx_fail(n, "%s: no value is called %s", n->proto->op_type, n->proto->input[i]);
            return false;
        }
    }
    return true;
}

/* The handler's outputs, and whether they are poisoned. */
static void check_outputs(onnx_node *n) {
    for (size_t i = 0; i < n->proto->n_output && n->graph->outcome == ONNX_PASSED; i++) {
        const char *name = n->proto->output[i];
        if (name[0] == '\0') continue;
        onnx_value *value = onnx_graph_find(n->graph, name);
        mia_error error = {0};
        if (value == NULL)
            onnx_refuse(n, "%s: without output %zu", n->proto->op_type, i);
        else if (value->made && mia_tensor_status(value->tensor, &error) != MIA_OK)
            onnx_fail(n, "%s: %s", n->proto->op_type, error.message);
    }
}

static void run_node(onnx_graph *graph, const Onnx__NodeProto *proto) {
    const onnx_operation *operation = is_onnx_domain(proto->domain) ? operation_of(proto->op_type) : NULL;
    onnx_node node = {.graph = graph, .proto = proto};
    if (operation == NULL) {
        onnx_refuse(&node, "%s", proto->op_type);
        return;
    }
    if (!find_inputs(&node)) return;
    operation->run(&node);
    for (size_t i = 0; i < node.kept_count; i++) OP(unref, node.kept[i]);
    free(node.kept);
    check_outputs(&node);
}

/* Whether a value is asked for after node `from`: by nodes, by the graphs in them (which may take any), or as an
 * output. */
static bool is_needed(const Onnx__GraphProto *proto, size_t from, const char *name) {
    for (size_t i = from + 1; i < proto->n_node; i++) {
        const Onnx__NodeProto *node = proto->node[i];
        for (size_t k = 0; k < node->n_input; k++)
            if (strcmp(node->input[k], name) == 0) return true;
        for (size_t k = 0; k < node->n_attribute; k++)
            if (node->attribute[k]->g != NULL) return true;
    }
    for (size_t i = 0; i < proto->n_output; i++)
        if (strcmp(proto->output[i]->name, name) == 0) return true;
    return false;
}

/* Lets go of what node i was the last to use, of the values from `first` on, so that Mia need not keep them: chains
 * of nodes become one step. */
static void release_inputs(onnx_graph *graph, const Onnx__GraphProto *proto, size_t i, size_t first) {
    for (size_t k = 0; k < proto->node[i]->n_input; k++) {
        const char *name = proto->node[i]->input[k];
        size_t place = place_of(graph, name);
        if (place == SIZE_MAX || place < first || is_needed(proto, i, name)) continue;
        onnx_value *value = &graph->values[place];
        if (value->made) OP(unref, value->tensor);
        value->made = false;
    }
}

void onnx_graph_run(onnx_graph *graph, const Onnx__GraphProto *proto) {
    size_t first = graph->count;
    for (size_t i = 0; i < proto->n_initializer && graph->outcome == ONNX_PASSED; i++) {
        onnx_value value;
        const char *why = "";
        if (onnx_value_of(proto->initializer[i], &value, &why))
            (void)onnx_graph_set(graph, proto->initializer[i]->name, value);
        else
            onnx_graph_stop(graph, ONNX_TYPE, "%s", why);
    }
    /* an operation that is missing is told before what comes of running the others */
    for (size_t i = 0; i < proto->n_node; i++)
        if (operation_of(proto->node[i]->op_type) == NULL)
            onnx_graph_stop(graph, ONNX_OPERATION, "%s", proto->node[i]->op_type);
    for (size_t i = 0; i < proto->n_node && graph->outcome == ONNX_PASSED; i++) {
        run_node(graph, proto->node[i]);
        release_inputs(graph, proto, i, first);
    }
}

/* --- inputs and outputs ----------------------------------------------------------------------- */

bool onnx_has(const onnx_node *n, size_t i) {
    return i < n->inputs && n->input[i] != SIZE_MAX;
}

static onnx_value *value_of(onnx_node *n, size_t i) {
    if (onnx_has(n, i)) return &n->graph->values[n->input[i]];
    onnx_fail(n, "%s: input %zu is missing", n->proto->op_type, i);
    return NULL;
}

mia_tensor onnx_in(onnx_node *n, size_t i) {
    onnx_value *value = value_of(n, i);
    if (value == NULL) return (mia_tensor){0};
    return OP(ref, onnx_value_tensor(n->graph->device, value));
}

mia_shape onnx_shape(onnx_node *n, size_t i) {
    onnx_value *value = value_of(n, i);
    return value == NULL ? MIA_SCALAR : onnx_value_shape(value);
}

mia_dtype onnx_type(onnx_node *n, size_t i) {
    onnx_value *value = value_of(n, i);
    return value == NULL ? MIA_NONE : onnx_value_dtype(value);
}

static onnx_value *fetched(onnx_node *n, size_t i) {
    onnx_value *value = value_of(n, i);
    mia_error error = {0};
    if (value == NULL || onnx_value_fetch(value, &error)) return value;
    onnx_fail(n, "%s: input %zu: %s", n->proto->op_type, i, error.message);
    return NULL;
}

onnx_list onnx_integers(onnx_node *n, size_t i) {
    onnx_list list = {0};
    const onnx_value *value = fetched(n, i);
    if (value == NULL) return list;
    if (value->integers == NULL || value->count > ONNX_MAX_OPERANDS) {
        onnx_fail(n, "%s: input %zu is no short list of integers", n->proto->op_type, i);
        return list;
    }
    list.count = value->count;
    for (size_t k = 0; k < list.count; k++) list.at[k] = value->integers[k];
    return list;
}

double onnx_real(onnx_node *n, size_t i) {
    const onnx_value *value = fetched(n, i);
    if (value != NULL && value->count == 1) return onnx_value_at(value, 0);
    onnx_fail(n, "%s: input %zu is no single number", n->proto->op_type, i);
    return 0;
}

double onnx_real_at(onnx_node *n, size_t i, size_t element) {
    const onnx_value *value = fetched(n, i);
    if (value != NULL && element < value->count) return onnx_value_at(value, element);
    onnx_fail(n, "%s: input %zu has too few numbers", n->proto->op_type, i);
    return 0;
}

int64_t onnx_integer(onnx_node *n, size_t i) {
    onnx_list list = onnx_integers(n, i);
    if (list.count != 1) onnx_fail(n, "%s: input %zu is no single integer", n->proto->op_type, i);
    return list.at[0];
}

bool onnx_wants(const onnx_node *n, size_t i) {
    return i < n->proto->n_output && n->proto->output[i][0] != '\0';
}

void onnx_out(onnx_node *n, size_t i, mia_tensor t) {
    if (onnx_wants(n, i))
        (void)onnx_graph_set(n->graph, n->proto->output[i], (onnx_value){.tensor = t, .made = true});
    else
        OP(unref, t);
}

void onnx_out_integers(onnx_node *n, size_t i, const int64_t *integers, int64_t count) {
    onnx_value value;
    if (!onnx_value_of_integers(integers, count, &value))
        onnx_fail(n, "no memory");
    else if (onnx_wants(n, i))
        (void)onnx_graph_set(n->graph, n->proto->output[i], value);
    else
        onnx_value_end(&value);
}

mia_tensor onnx_keep(onnx_node *n, mia_tensor t) {
    if (n->kept_count == n->kept_capacity) {
        size_t capacity = n->kept_capacity == 0 ? 16 : 2 * n->kept_capacity;
        mia_tensor *kept = realloc(n->kept, capacity * sizeof *kept);
        if (kept == NULL) {
            onnx_fail(n, "no memory");
            OP(unref, t);
            return (mia_tensor){0};
        }
        n->kept = kept, n->kept_capacity = capacity;
    }
    n->kept[n->kept_count++] = t;
    return t;
}

int64_t onnx_read_integer(onnx_node *n, mia_tensor t) {
    int32_t number = 0;
    mia_error error = {0};
    if (mia_tensor_read(t, &number, sizeof number, &error, __FILE__, __LINE__) != MIA_OK)
        onnx_fail(n, "%s: %s", n->proto->op_type, error.message);
    return number;
}

/* --- attributes and axes ---------------------------------------------------------------------- */

bool onnx_has_attribute(const onnx_node *n, const char *name) {
    return onnx_find_attribute(n->proto, name) != NULL;
}

int64_t onnx_int(const onnx_node *n, const char *name, int64_t otherwise) {
    const Onnx__AttributeProto *a = onnx_find_attribute(n->proto, name);
    return a == NULL ? otherwise : a->i;
}

double onnx_float(const onnx_node *n, const char *name, double otherwise) {
    const Onnx__AttributeProto *a = onnx_find_attribute(n->proto, name);
    return a == NULL ? otherwise : (double)a->f;
}

bool onnx_is(const onnx_node *n, const char *name, const char *text) {
    const Onnx__AttributeProto *a = onnx_find_attribute(n->proto, name);
    return a != NULL && a->s.len == strlen(text) && memcmp(a->s.data, text, a->s.len) == 0;
}

onnx_list onnx_ints(onnx_node *n, const char *name) {
    const Onnx__AttributeProto *a = onnx_find_attribute(n->proto, name);
    onnx_list list = {0};
    if (a == NULL) return list;
    if (a->n_ints > ONNX_MAX_OPERANDS) {
        onnx_fail(n, "%s: %s has too many integers", n->proto->op_type, name);
        return list;
    }
    list.count = a->n_ints;
    for (size_t i = 0; i < list.count; i++) list.at[i] = a->ints[i];
    return list;
}

uint32_t onnx_mode(onnx_node *n, int64_t axis, uint32_t rank) {
    int64_t place = axis < 0 ? axis + (int64_t)rank : axis;
    if (place < 0 || place >= (int64_t)rank) {
        onnx_fail(n, "%s: axis %" PRId64 " of %" PRIu32, n->proto->op_type, axis, rank);
        return 0;
    }
    return rank - 1 - (uint32_t)place;
}

uint32_t onnx_modes(onnx_node *n, const char *name, size_t i, uint32_t rank, bool *given) {
    onnx_list axes = {0};
    if (onnx_has_attribute(n, name))
        axes = onnx_ints(n, name);
    else if (onnx_has(n, i))
        axes = onnx_integers(n, i);
    *given = axes.count > 0;
    uint32_t modes = 0;
    for (size_t k = 0; k < axes.count; k++) modes |= MIA_MODE(onnx_mode(n, axes.at[k], rank));
    return modes;
}
