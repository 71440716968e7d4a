/* ONNX's tests on a backend of Mia: onnx_tests BACKEND DATA TABLE [NAME]
 *
 *   DATA    the folder of the sets below, with a folder for each test: model.onnx, and test_data_set_0 with
 *           input_N.pb and output_N.pb
 *   TABLE   left_out.tsv: tests that are not run, each with the kind of reason and what it is
 *   NAME    only tests whose names contain it; the table is not held against them
 *
 * Every test that the interpreter (graph.h) can run has to pass. The others have to be in the table, each with
 * the reason that the interpreter gives, and nothing else may be in it. On cpu nothing may run on a kernel of
 * the reference. */
#include "onnx/check.h"
#include "onnx/graph.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TESTS  4096
#define MOST_LINE   512
#define MOST_RANDOM 1024 /* numbers of one output */

typedef struct left_out {
    char name[128], kind[16], reason[256];
    bool met;
} left_out;

typedef struct run {
    mia_device *device;
    const char *backend, *data, *set, *only;
    left_out *table;
    size_t rows;
    size_t passed, failed, operations, types;
} run;

/* The node tests are of one operation each, or of what it is composed of; the others are of small models. */
static const char *const sets[] = {"node", "simple", "pytorch-operator", "pytorch-converted"};

static const char *const kinds[] = {"passed", "failed", "operation", "type"};

/* --- one test --------------------------------------------------------------------------------- */

static void data_path(char *path, size_t size, const run *r, const char *test, const char *kind, size_t i) {
    (void)snprintf(path, size, "%s/%s/%s/test_data_set_0/%s_%zu.pb", r->data, r->set, test, kind, i);
}

/* Files hold numbers of bfloat16 as uint16: the graph knows better. */
static bool read_value(const run *r, onnx_graph *graph, const char *test, const char *kind, size_t i,
                       const Onnx__ValueInfoProto *info, onnx_value *out) {
    int32_t type = 0;
    char path[1024];
    const char *why = "a file that cannot be read";
    data_path(path, sizeof path, r, test, kind, i);
    Onnx__TensorProto *tensor = onnx_tensor_read(path);
    if (tensor != NULL && tensor->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__UINT16 &&
        onnx_type_of(info, &type) && type == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16)
        tensor->data_type = type;
    bool good = tensor != NULL && onnx_value_of(tensor, out, &why);
    if (!good) onnx_graph_stop(graph, ONNX_FAILED, "%s %zu: %s", kind, i, why);
    if (tensor != NULL) onnx_tensor_free(tensor);
    return good;
}

/* Types of everything that goes in and comes out. */
static bool check_types(onnx_graph *graph, Onnx__ValueInfoProto *const *infos, size_t count) {
    for (size_t i = 0; i < count && graph->outcome == ONNX_PASSED; i++) {
        int32_t type = 0;
        mia_dtype dtype;
        if (!onnx_type_of(infos[i], &type))
            onnx_graph_stop(graph, ONNX_TYPE, "sequence or optional");
        else if (!onnx_dtype(type, &dtype))
            onnx_graph_stop(graph, ONNX_TYPE, "%s", onnx_type_name(type));
    }
    return graph->outcome == ONNX_PASSED;
}

static bool is_initialised(const Onnx__GraphProto *proto, const char *name) {
    for (size_t i = 0; i < proto->n_initializer; i++)
        if (strcmp(proto->initializer[i]->name, name) == 0) return true;
    return false;
}

/* Files hold the inputs that the graph itself has no numbers for. */
static void set_inputs(const run *r, onnx_graph *graph, const char *test, const Onnx__GraphProto *proto) {
    for (size_t i = 0, file = 0; i < proto->n_input && graph->outcome == ONNX_PASSED; i++) {
        onnx_value value;
        if (is_initialised(proto, proto->input[i]->name)) continue;
        if (read_value(r, graph, test, "input", file++, proto->input[i], &value))
            (void)onnx_graph_set(graph, proto->input[i]->name, value);
    }
}

static void check_output(const run *r, onnx_graph *graph, const char *test, size_t i,
                         const Onnx__ValueInfoProto *info) {
    onnx_value expected, *got = onnx_graph_find(graph, info->name);
    mia_error error = {0};
    char difference[400];
    if (got == NULL) {
        onnx_graph_stop(graph, ONNX_FAILED, "output %zu was not computed", i);
        return;
    }
    if (!read_value(r, graph, test, "output", i, info, &expected)) return;
    if (!onnx_value_read_back(r->device, got, &error))
        onnx_graph_stop(graph, ONNX_FAILED, "output %zu: %s", i, error.message);
    else if (!onnx_check(&expected, got, onnx_bound_of(test), difference, sizeof difference))
        onnx_graph_stop(graph, ONNX_FAILED, "output %zu, %s", i, difference);
    onnx_value_end(&expected);
}

/* One run of the model: its outputs are in the graph then. */
static void compute(const run *r, onnx_graph *graph, const char *test, const Onnx__ModelProto *model) {
    const Onnx__GraphProto *proto = model->graph;
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const char *domain = model->opset_import[i]->domain;
        if (domain == NULL || domain[0] == '\0') graph->opset = model->opset_import[i]->version;
    }
    if (check_types(graph, proto->input, proto->n_input) &&
        check_types(graph, proto->output, proto->n_output))
        set_inputs(r, graph, test, proto);
    if (graph->outcome == ONNX_PASSED) onnx_graph_run(graph, proto);
}

/* Sums over many runs, for each number of the first output. */
typedef struct sums {
    double of_numbers[MOST_RANDOM], of_squares[MOST_RANDOM];
} sums;

static void add_run(const run *r, onnx_graph *graph, const char *test, const Onnx__ValueInfoProto *info,
                    sums *s) {
    onnx_value expected, *got = onnx_graph_find(graph, info->name);
    mia_error error = {0};
    char difference[400];
    if (got == NULL || !read_value(r, graph, test, "output", 0, info, &expected)) return;
    if (!onnx_value_fetch(got, &error))
        onnx_graph_stop(graph, ONNX_FAILED, "output 0: %s", error.message);
    else if (!onnx_check_form(&expected, got, difference, sizeof difference) || got->count > MOST_RANDOM)
        onnx_graph_stop(graph, ONNX_FAILED, "output 0, %s", difference);
    for (size_t i = 0; i < got->count && graph->outcome == ONNX_PASSED; i++) {
        double number = onnx_value_at(got, i);
        s->of_numbers[i] += number;
        s->of_squares[i] += number * number;
    }
    onnx_value_end(&expected);
}

/* ONNX's Bernoulli as a graph of other nodes asks whether the random number is the greater: of probability
 * p it gives 1 with 1 - p. */
static bool gives_complement(const Onnx__GraphProto *proto) {
    for (size_t i = 0; i < proto->n_node; i++)
        if (strcmp(proto->node[i]->op_type, "Greater") == 0) return true;
    return false;
}

/* Random numbers are not those of the file. Over many runs each is on average the number of the first input
 * (a probability that it is 1, or a number that is dropped at times), within 6 standard errors. */
static void check_average(const run *r, onnx_graph *graph, const char *test, const Onnx__ModelProto *model) {
    const Onnx__GraphProto *proto = model->graph;
    const onnx_value *x = onnx_graph_find(graph, proto->input[0]->name);
    static const double runs = 400;
    sums *s = calloc(1, sizeof *s);
    for (int k = 0; k < (int)runs && s != NULL && graph->outcome == ONNX_PASSED; k++) {
        onnx_graph again = {.device = r->device, .seed = 1000 + 16 * (uint64_t)k};
        compute(r, &again, test, model);
        if (again.outcome == ONNX_PASSED) add_run(r, &again, test, proto->output[0], s);
        if (again.outcome != ONNX_PASSED) onnx_graph_stop(graph, again.outcome, "%s", again.message);
        onnx_graph_end(&again);
    }
    for (size_t i = 0; s != NULL && i < x->count && graph->outcome == ONNX_PASSED; i++) {
        double mean = s->of_numbers[i] / runs, variance = s->of_squares[i] / runs - mean * mean;
        double error = sqrt((variance > 0.01 ? variance : 0.01) / runs), number = onnx_value_at(x, i);
        double expected = gives_complement(proto) ? 1 - number : number;
        if (fabs(mean - expected) > 6 * error)
            onnx_graph_stop(graph, ONNX_FAILED, "output 0, element %zu: on average %g, expected %g", i, mean,
                            expected);
    }
    free(s);
}

static onnx_outcome run_test(const run *r, const char *test, char *message, size_t size) {
    char path[1024];
    onnx_graph graph = {.device = r->device};
    (void)snprintf(path, sizeof path, "%s/%s/%s/model.onnx", r->data, r->set, test);
    Onnx__ModelProto *model = onnx_model_read(path);
    if (model == NULL) {
        (void)snprintf(message, size, "model.onnx cannot be read");
        return ONNX_FAILED;
    }
    compute(r, &graph, test, model);
    if (graph.outcome == ONNX_PASSED && graph.random)
        check_average(r, &graph, test, model);
    else
        for (size_t i = 0; i < model->graph->n_output && graph.outcome == ONNX_PASSED; i++)
            check_output(r, &graph, test, i, model->graph->output[i]);
    onnx_graph_end(&graph);
    uint64_t handles = mia_device_count(r->device).handles;
    if (handles != 0 && graph.outcome == ONNX_PASSED)
        onnx_graph_stop(&graph, ONNX_FAILED, "%" PRIu64 " handles are left", handles);
    (void)snprintf(message, size, "%s", graph.message);
    onnx_model_free(model);
    return graph.outcome;
}

/* --- the table of what is left out ------------------------------------------------------------ */

static bool read_table(run *r, const char *path) {
    FILE *file = fopen(path, "r");
    char line[MOST_LINE];
    if (file == NULL || (r->table = calloc(MOST_TESTS, sizeof *r->table)) == NULL) {
        (void)fprintf(stderr, "%s cannot be read\n", path);
        if (file != NULL) (void)fclose(file);
        return false;
    }
    while (r->rows < MOST_TESTS && fgets(line, sizeof line, file) != NULL) {
        left_out *row = &r->table[r->rows];
        if (line[0] == '#') continue;
        if (sscanf(line, "%127[^\t]\t%15[^\t]\t%255[^\n]", row->name, row->kind, row->reason) == 3) r->rows++;
    }
    (void)fclose(file);
    return true;
}

static left_out *find_row(const run *r, const char *test) {
    for (size_t i = 0; i < r->rows; i++)
        if (strcmp(r->table[i].name, test) == 0) return &r->table[i];
    return NULL;
}

static void complain(run *r, const char *test, const char *what, const char *detail) {
    r->failed++;
    (void)printf("%s: %s%s%s\n", test, what, detail[0] == '\0' ? "" : ": ", detail);
}

/* Counts the outcome, and holds the table against it. */
static void account(run *r, const char *test, onnx_outcome outcome, const char *message) {
    left_out *row = find_row(r, test);
    if (row != NULL) row->met = true;
    if (outcome == ONNX_FAILED) {
        complain(r, test, "failed", message);
    } else if (outcome == ONNX_PASSED) {
        if (row != NULL)
            complain(r, test, "is in the table of what is left out, and passes", "");
        else
            r->passed++;
    } else if (row == NULL) {
        /* a line as the table has them */
        r->failed++;
        (void)printf("not in the table: %s\t%s\t%s\n", test, kinds[outcome], message);
    } else if (strcmp(row->kind, kinds[outcome]) != 0 || strcmp(row->reason, message) != 0) {
        complain(r, test, "is left out for another reason than the table's", message);
    } else if (outcome == ONNX_OPERATION) {
        r->operations++;
    } else {
        r->types++;
    }
}

/* --- all of them ------------------------------------------------------------------------------ */

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_test(const struct dirent *entry) {
    return strncmp(entry->d_name, "test_", 5) == 0;
}

/* Tests of one set; false where it has none. */
static bool run_set(run *r) {
    char path[1024];
    struct dirent **entries = NULL;
    r->passed = r->failed = r->operations = r->types = 0;
    (void)snprintf(path, sizeof path, "%s/%s", r->data, r->set);
    int count = scandir(path, &entries, is_test, by_name);
    for (int i = 0; i < count; i++) {
        const char *test = entries[i]->d_name;
        char message[700];
        if (r->only == NULL || strstr(test, r->only) != NULL)
            account(r, test, run_test(r, test, message, sizeof message), message);
        free(entries[i]);
    }
    free(entries);
    size_t left = r->operations + r->types;
    (void)printf("%zu of %zu %s tests pass on %s, %zu are left out (operation %zu, type %zu)\n", r->passed,
                 r->passed + r->failed + left, r->set, r->backend, left, r->operations, r->types);
    return count > 0;
}

static int run_all(run *r) {
    bool good = true;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        r->set = sets[i];
        good = run_set(r) && r->failed == 0 && good;
    }
    for (size_t i = 0; r->only == NULL && i < r->rows; i++)
        if (!r->table[i].met) {
            good = false;
            complain(r, r->table[i].name, "is in the table, and there is no such test", "");
        }
    mia_device_counters counters = mia_device_count(r->device);
    (void)printf("%" PRIu64 " steps, %" PRIu64 " of them on reference kernels\n", counters.kernels,
                 counters.fallbacks);
    return good && counters.fallbacks == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int count, char **arguments) {
    if (count < 4) {
        (void)fprintf(stderr, "usage: onnx_tests BACKEND DATA TABLE [NAME]\n");
        return 2;
    }
    run r = {.backend = arguments[1], .data = arguments[2], .only = count > 4 ? arguments[4] : NULL};
    mia_device_options options = {.backend = r.backend};
    mia_error error = {0};
    if (!read_table(&r, arguments[3])) return EXIT_FAILURE;
    int result = EXIT_FAILURE;
    if (mia_device_open(&options, &r.device, &error) == MIA_OK) {
        result = run_all(&r);
        if (mia_device_close(r.device, &error) != MIA_OK) result = EXIT_FAILURE;
    }
    if (error.status != MIA_OK) (void)fprintf(stderr, "%s\n", error.message);
    free(r.table);
    return result;
}
