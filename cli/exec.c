/* `mia exec`: runs a saved tape on NumPy files. */
#include "commands.h"
#include "npy.h"
#include "open.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct exec_options {
    mia__cli_model_options model;
    const char *path, *weights;
    mia__cli_list inputs, outputs;
    bool zeros;
} exec_options;

static int parse_options(exec_options *o, int argc, char **argv) {
    const mia__cli_argument arguments[] = {
        {"FILE.mia", true, &o->path, "the tape; without more, it is described"}};
    const mia__cli_option options[] = {
        {"--input", MIA__CLI_LIST, &o->inputs, "NAME=FILE.npy", "the numbers of an input", 0, 0},
        {"--output", MIA__CLI_LIST, &o->outputs, "NAME=FILE.npy", "where an output goes", 0, 0},
        {"--zeros", MIA__CLI_FLAG, &o->zeros, NULL, "inputs that are not given are zeros", 0, 0},
        {"--weights", MIA__CLI_STRING, &o->weights, "FILE.gguf",
         "where constants are that the tape leaves out", 0, 0},
        MIA__CLI_DEVICE_OPTION(&o->model),
        MIA__CLI_THREADS_OPTION(&o->model),
        MIA__CLI_MEMORY_OPTION(&o->model),
    };
    const mia__cli_command command = {.name = "exec",
                                      .summary = "Runs a saved tape on NumPy files.",
                                      .arguments = arguments,
                                      .argument_count = sizeof arguments / sizeof arguments[0],
                                      .options = options,
                                      .option_count = sizeof options / sizeof options[0],
                                      .notes = "NumPy's last axis is Mia's first mode: an array of shape (2, "
                                               "3) is a tensor [3, 2], and its bytes\n"
                                               "stay as they are. mia export makes tapes of models.\n"};
    return mia__cli_parse(&command, argc, argv);
}

/* --- names and files -------------------------------------------------------------------------- */

/* The file of "NAME=FILE" for that name, NULL when none is given. */
static const char *file_of(const mia__cli_list *list, const char *name) {
    size_t length = strlen(name);
    const char *file = NULL;
    for (size_t i = 0; i < list->count; i++)
        if (strncmp(list->items[i], name, length) == 0 && list->items[i][length] == '=')
            file = list->items[i] + length + 1;
    return file;
}

/* Whether every item names one of the tape's values; the exit code of a line about one that does not, or -1. */
static int check_names(const mia__cli_list *list, const mia_tape *tape, size_t count,
                       mia_tape_value (*value)(const mia_tape *, size_t), const char *what) {
    for (size_t i = 0; i < list->count; i++) {
        const char *equals = strchr(list->items[i], '=');
        if (equals == NULL || equals[1] == '\0')
            return mia__cli_misuse("exec", "--%s: \"%s\" is not NAME=FILE.npy", what, list->items[i]);
        size_t length = (size_t)(equals - list->items[i]), k = 0;
        while (k < count && (strlen(value(tape, k).name) != length ||
                             strncmp(value(tape, k).name, list->items[i], length) != 0))
            k++;
        if (k == count)
            return mia__cli_fail("exec", "the tape has no %s \"%.*s\"", what, (int)length, list->items[i]);
    }
    return -1;
}

static void print_value(const char *what, const mia_tape_value *value) {
    printf("%-7s %-16s %s [", what, value->name, mia_dtype_describe(value->dtype)->name);
    for (uint32_t m = 0; m < value->shape.ndim; m++)
        printf(m > 0 ? ", %" PRId64 : "%" PRId64, value->shape.extent[m]);
    printf("]\n");
}

static int describe(const mia_tape *tape) {
    for (size_t i = 0; i < mia_tape_input_count(tape); i++) {
        mia_tape_value value = mia_tape_input(tape, i);
        print_value("input", &value);
    }
    for (size_t i = 0; i < mia_tape_output_count(tape); i++) {
        mia_tape_value value = mia_tape_output(tape, i);
        print_value("output", &value);
    }
    return mia__cli_finish_output("exec");
}

/* --- the run ---------------------------------------------------------------------------------- */

/* Reads every input; -1, or the exit code with the handles given back. */
static int read_inputs(const exec_options *o, mia_device *device, const mia_tape *tape, mia_tensor *inputs) {
    mia_error error = {0};
    size_t count = mia_tape_input_count(tape), made = 0;
    int code = -1;
    for (; code < 0 && made < count; made++) {
        mia_tape_value value = mia_tape_input(tape, made);
        const char *file = file_of(&o->inputs, value.name);
        if (file == NULL && o->zeros)
            inputs[made] = mia_tensor_full(device, value.dtype, value.shape, 0, NULL, 0);
        else if (file == NULL)
            code = mia__cli_fail("exec", "input %s is missing (--input %s=FILE.npy, or --zeros)", value.name,
                                 value.name);
        else if (mia__cli_npy_read(device, file, &inputs[made], &error) != MIA_OK)
            code = mia__cli_fail("exec", "%s", error.message);
        if (code >= 0) break;
    }
    for (size_t i = 0; code >= 0 && i < made; i++) mia_unref(inputs[i]);
    return code;
}

static int run_tape(const exec_options *o, mia_device *device, mia_tape *tape, mia_tensor *inputs,
                    mia_tensor *outputs) {
    mia_error error = {0};
    int code = read_inputs(o, device, tape, inputs);
    if (code >= 0) return code;
    mia_status status = mia_tape_run(tape, inputs, outputs, &error);
    if (status != MIA_OK) code = mia__cli_fail("exec", "%s: %s", o->path, error.message);
    for (size_t i = 0; i < mia_tape_output_count(tape); i++) {
        const char *file = file_of(&o->outputs, mia_tape_output(tape, i).name);
        if (code >= 0 || file == NULL)
            mia_unref(outputs[i]);
        else if (mia__cli_npy_write(outputs[i], file, &error) != MIA_OK)
            code = mia__cli_fail("exec", "%s", error.message);
    }
    return code < 0 ? MIA__CLI_OK : code;
}

static int with_tape(const exec_options *o, mia_device *device, mia_tape *tape) {
    int code = check_names(&o->inputs, tape, mia_tape_input_count(tape), mia_tape_input, "input");
    if (code < 0)
        code = check_names(&o->outputs, tape, mia_tape_output_count(tape), mia_tape_output, "output");
    if (code >= 0) return code;
    if (o->inputs.count == 0 && o->outputs.count == 0 && !o->zeros) return describe(tape);
    mia_tensor *inputs = calloc(mia_tape_input_count(tape) + 1, sizeof *inputs);
    mia_tensor *outputs = calloc(mia_tape_output_count(tape) + 1, sizeof *outputs);
    if (inputs != NULL && outputs != NULL)
        code = run_tape(o, device, tape, inputs, outputs);
    else
        code = mia__cli_fail("exec", "no memory");
    free(inputs);
    free(outputs);
    return code;
}

int mia__cli_exec(int argc, char **argv) {
    exec_options o = {.path = NULL};
    int code = parse_options(&o, argc, argv);
    if (code >= 0) return code;
    code = mia__cli_check_device("exec", o.model.device);
    if (code >= 0) return code;
    mia_error error = {0};
    mia_device *device = NULL;
    mia_weights *file = NULL, *more = NULL;
    mia_tape *tape = NULL;
    mia_webgpu_options webgpu;
    mia_device_options options = {.threads = (uint32_t)o.model.threads, .max_bytes = o.model.max_bytes};
    mia__cli_choose_device(o.model.device, &options, &webgpu);
    mia_status status = mia_weights_open_file(o.path, NULL, &file, &error);
    if (status == MIA_OK && o.weights != NULL) status = mia_weights_open_file(o.weights, NULL, &more, &error);
    if (status == MIA_OK) status = mia_device_open(&options, &device, &error);
    if (status == MIA_OK) status = mia_tape_load(device, file, more, &tape, &error);
    code = status == MIA_OK ? with_tape(&o, device, tape) : mia__cli_fail("exec", "%s", error.message);
    mia_tape_close(tape);
    if (mia_device_close(device, &error) != MIA_OK && code == MIA__CLI_OK)
        code = mia__cli_fail("exec", "%s", error.message);
    mia_weights_close(more);
    mia_weights_close(file);
    return code;
}
