/* A graph run node by node on a Mia device, and what the handlers of operations build on.
 *
 * A handler (ops_*.c) reads its node's inputs and attributes, records operations of Mia, and gives outputs.
 * It need not look for errors: a wrong operation poisons what it gives, which the graph sees when the handler
 * has returned; what the interpreter itself cannot do goes to onnx_fail and onnx_refuse. */
#ifndef MIA_TEST_ONNX_GRAPH_H
#define MIA_TEST_ONNX_GRAPH_H

#include "onnx/tensors.h"

typedef enum onnx_outcome {
    ONNX_PASSED,
    ONNX_FAILED,    /* other numbers, shapes or types than expected, or an error on the way */
    ONNX_OPERATION, /* an operation, or a form of one, that Mia's rows do not compose to */
    ONNX_TYPE       /* an element type that Mia lacks, or what is no tensor */
} onnx_outcome;

typedef struct onnx_graph {
    mia_device *device;
    int64_t opset;
    uint64_t seed; /* of the next random numbers */
    bool random;   /* it made some */
    onnx_value *values;
    size_t count, capacity;
    onnx_outcome outcome;
    char message[600];
} onnx_graph;

#define ONNX_MAX_OPERANDS 16

typedef struct onnx_node {
    onnx_graph *graph;
    const Onnx__NodeProto *proto;
    size_t input[ONNX_MAX_OPERANDS]; /* places in the graph's values; SIZE_MAX: left out */
    size_t inputs;
    mia_tensor *kept;
    size_t kept_count, kept_capacity;
} onnx_node;

/* A row of a family's table; the last has no name. */
typedef struct onnx_operation {
    const char *name;
    void (*run)(onnx_node *node);
} onnx_operation;

extern const onnx_operation onnx_elementwise[];
extern const onnx_operation onnx_activation[];
extern const onnx_operation onnx_reduction[];
extern const onnx_operation onnx_view[];
extern const onnx_operation onnx_movement[];
extern const onnx_operation onnx_indexed[];
extern const onnx_operation onnx_norm[];
extern const onnx_operation onnx_loss[];
extern const onnx_operation onnx_contraction[];
extern const onnx_operation onnx_window[];
extern const onnx_operation onnx_quantise[];
extern const onnx_operation onnx_recurrent[];
extern const onnx_operation onnx_signal[];
extern const onnx_operation onnx_resize[];
extern const onnx_operation onnx_grid[];
extern const onnx_operation onnx_unique[];
extern const onnx_operation onnx_control[];
extern const onnx_operation onnx_random[];
extern const onnx_operation onnx_training[];

/* --- running ---------------------------------------------------------------------------------- */

/* Takes the value over under a name of the graph. */
bool onnx_graph_set(onnx_graph *graph, const char *name, onnx_value value);
onnx_value *onnx_graph_find(const onnx_graph *graph, const char *name);

/* Runs all nodes; graph->outcome tells how it went. The graph inside a node runs among the values around it. */
void onnx_graph_run(onnx_graph *graph, const Onnx__GraphProto *proto);
void onnx_graph_end(onnx_graph *graph);

/* Notes the first thing that went wrong. */
void onnx_graph_stop(onnx_graph *graph, onnx_outcome outcome, const char *format, ...) MIA_PRINTF(3, 4);
#define onnx_fail(node, ...)   onnx_graph_stop((node)->graph, ONNX_FAILED, __VA_ARGS__)
#define onnx_refuse(node, ...) onnx_graph_stop((node)->graph, ONNX_OPERATION, __VA_ARGS__)

/* --- for handlers: inputs and outputs --------------------------------------------------------- */

typedef struct onnx_list {
    size_t count;
    int64_t at[ONNX_MAX_OPERANDS];
} onnx_list;

bool onnx_has(const onnx_node *node, size_t i);

/* A handle of input i, to be given to an operation. */
mia_tensor onnx_in(onnx_node *node, size_t i);
mia_shape onnx_shape(onnx_node *node, size_t i);
mia_dtype onnx_type(onnx_node *node, size_t i);

/* Numbers of an input, on the host. */
onnx_list onnx_integers(onnx_node *node, size_t i);
int64_t onnx_integer(onnx_node *node, size_t i); /* the only one */
double onnx_real(onnx_node *node, size_t i);     /* the only one */
double onnx_real_at(onnx_node *node, size_t i, size_t element);

/* Gives output i; a tensor that nobody wants is dropped. */
void onnx_out(onnx_node *node, size_t i, mia_tensor t);
void onnx_out_integers(onnx_node *node, size_t i, const int64_t *integers, int64_t count);
bool onnx_wants(const onnx_node *node, size_t i);

/* t, kept until the node is done: every use of it takes OP(ref, t). */
mia_tensor onnx_keep(onnx_node *node, mia_tensor t);

/* A tensor's integers on the host (for shapes that depend on data); consumes it. */
int64_t onnx_read_integer(onnx_node *node, mia_tensor t);

/* --- for handlers: attributes ----------------------------------------------------------------- */

bool onnx_has_attribute(const onnx_node *node, const char *name);
int64_t onnx_int(const onnx_node *node, const char *name, int64_t otherwise);
double onnx_float(const onnx_node *node, const char *name, double otherwise);
bool onnx_is(const onnx_node *node, const char *name, const char *text); /* a string attribute */
onnx_list onnx_ints(onnx_node *node, const char *name);

/* --- for handlers: axes ----------------------------------------------------------------------- */

/* The mode of an axis, counted from the end where negative. */
uint32_t onnx_mode(onnx_node *node, int64_t axis, uint32_t rank);

/* As a set: of the attribute `name` or, where there is none, of input i. *given: whether one was there. */
uint32_t onnx_modes(onnx_node *node, const char *name, size_t i, uint32_t rank, bool *given);

/* --- pieces that several families need -------------------------------------------------------- */

mia_tensor onnx_number(mia_tensor like, double value); /* borrows like */

/* x op number, consuming x. */
#define WITH_NUMBER(name)                                                                                    \
    static inline mia_tensor name##_number(mia_tensor x, double value) {                                     \
        mia_tensor number = OP(number, x, value);                                                            \
        return OP(name, x, number);                                                                          \
    }
WITH_NUMBER(add)
WITH_NUMBER(sub)
WITH_NUMBER(mul)
WITH_NUMBER(div)
WITH_NUMBER(min)
WITH_NUMBER(max)
WITH_NUMBER(pow)
WITH_NUMBER(mod)
WITH_NUMBER(equal)
WITH_NUMBER(not_equal)
WITH_NUMBER(less)
WITH_NUMBER(greater)
#undef WITH_NUMBER

static inline mia_shape onnx_shape_of(mia_tensor t) {
    return mia_tensor_shape(t);
}

int64_t onnx_count(const mia_shape *shape);

/* A shape of `rank` modes with one extent, the others 1. */
mia_shape onnx_line(uint32_t rank, uint32_t mode, int64_t extent);

/* 0, 1, ... extent - 1 along one mode of `rank`. */
mia_tensor onnx_places(onnx_node *node, uint32_t rank, uint32_t mode, int64_t extent);

/* Indices of an input as i32, the negative ones counted from the end. */
mia_tensor onnx_indices(onnx_node *node, size_t i, int64_t extent);

/* As ONNX's Cast: towards zero from reals to integers, "not zero" to bool. */
mia_tensor onnx_cast(mia_tensor x, mia_dtype dtype);

/* x by w over x's last axis, as MatMul has it: a [K, M, ...], b [N, K, ...]. */
mia_tensor onnx_product(mia_tensor a, mia_tensor b);

/* Exchanges two modes, or leaves x as it is. */
mia_tensor onnx_exchange(mia_tensor x, uint32_t mode, uint32_t other);

/* Convolution of x [spatial.., C, N] with w [spatial.., C / groups, O], as of the node's attributes. */
mia_tensor onnx_convolution(onnx_node *node, mia_tensor x, mia_tensor w);

/* Where `condition` holds, in order: i32 [n]; consumes it (flat). */
mia_tensor onnx_where_true(onnx_node *node, mia_tensor condition);

#endif
