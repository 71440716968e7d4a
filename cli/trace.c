/* `mia trace`: runs a model and writes down when each step ran on which thread, for Chrome's and Perfetto's
 * viewers. Beside each step stands how near it came to what the machine can do, which is measured first. */
#include "commands.h"
#include "common.h"
#include "figures.h"
#include "limits.h"
#include "model_path.h"
#include "open.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct trace_options {
    mia__cli_model_options model;
    const char *path, *prompt, *to;
    int64_t count;
} trace_options;

static int parse_options(trace_options *o, int argc, char **argv) {
    const mia__cli_argument arguments[] = {
        {"MODEL.gguf", false, &o->path, "the model; without one, the bundled story model"},
    };
    const mia__cli_option options[] = {
        {"-p", MIA__CLI_STRING, &o->prompt, "PROMPT", "text to continue", 0, 0},
        {"-n", MIA__CLI_INTEGER, &o->count, "N", "tokens to generate (default: 8)", 1, 1 << 20},
        {"-o", MIA__CLI_STRING, &o->to, "FILE.json", "where the trace goes (default: trace.json)", 0, 0},
        MIA__CLI_THREADS_OPTION(&o->model),
        MIA__CLI_DEVICE_OPTION(&o->model),
        MIA__CLI_CONTEXT_OPTION(&o->model, "tokens of context (default: what the model was made for)"),
        MIA__CLI_MEMORY_OPTION(&o->model),
    };
    const mia__cli_command command = {
        .name = "trace",
        .summary =
            "Runs a model and writes when each step ran, on which thread, and how near to the machine's\n"
            "limits: a file for Perfetto (https://ui.perfetto.dev) or chrome://tracing.",
        .arguments = arguments,
        .argument_count = sizeof arguments / sizeof arguments[0],
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .notes =
            "Before the model is loaded, copying memory and multiplying f32 matrices are timed for a\n"
            "fraction of a second each, on as many threads. bandwidth_share and peak_share of a step are\n"
            "its bytes and operations over these; what lies in caches, or is computed in 8 bits, may reach\n"
            "more than 1.\n",
    };
    int code = mia__cli_parse(&command, argc, argv);
    return code >= 0 ? code : mia__cli_check_device("trace", o->model.device);
}

/* --- what happened ---------------------------------------------------------------------------- */

typedef enum phase { PHASE_LOAD, PHASE_PROMPT, PHASE_GENERATION, PHASES } phase;
static const char *const phase_names[PHASES] = {"load", "prompt", "generation"};

typedef struct recorded {
    char *name, *shapes; /* one piece of memory, from name on */
    uint64_t run, begin, end, bytes, operations;
    uint32_t step, thread;
} recorded;

typedef struct recording {
    recorded *events;
    size_t count, capacity;
    bool no_memory;
    uint64_t began[PHASES], ended[PHASES]; /* nanoseconds; 0: not reached */
} recording;

static uint64_t now(void) {
    return (uint64_t)(mia__cli_seconds() * 1e9);
}

static void record(void *user, const mia_step_event *event) {
    recording *r = user;
    if (r->count == r->capacity) {
        size_t capacity = r->capacity > 0 ? 2 * r->capacity : 1024;
        recorded *grown = realloc(r->events, capacity * sizeof *grown);
        if (grown == NULL) {
            r->no_memory = true;
            return;
        }
        r->events = grown;
        r->capacity = capacity;
    }
    size_t name = strlen(event->name) + 1, shapes = strlen(event->shapes) + 1;
    char *text = malloc(name + shapes);
    if (text == NULL) {
        r->no_memory = true;
        return;
    }
    memcpy(text, event->name, name);
    memcpy(text + name, event->shapes, shapes);
    r->events[r->count++] = (recorded){.name = text,
                                       .shapes = text + name,
                                       .run = event->run,
                                       .begin = event->begin,
                                       .end = event->end,
                                       .bytes = event->bytes,
                                       .operations = event->operations,
                                       .step = event->step,
                                       .thread = event->thread};
}

static void forget(recording *r) {
    for (size_t i = 0; i < r->count; i++) free(r->events[i].name);
    free(r->events);
}

/* --- the file --------------------------------------------------------------------------------- */

/* Names and shapes have no character that JSON would want escaped: operations are C identifiers. */
static void write_event(FILE *file, const recorded *e, uint64_t zero, const mia__cli_limits *limits) {
    double took = e->end > e->begin ? (double)(e->end - e->begin) * 1e-9 : 1e-9;
    fprintf(file,
            ",\n{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%" PRIu32
            ",\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"run\":%" PRIu64 ",\"step\":%" PRIu32 ",\"shapes\":\"%s\"",
            e->name, e->thread == 0 ? "step" : "part", e->thread + 1, (double)(e->begin - zero) * 1e-3,
            took * 1e6, e->run, e->step, e->shapes);
    if (e->thread == 0)
        fprintf(file,
                ",\"bytes\":%" PRIu64 ",\"operations\":%" PRIu64
                ",\"bandwidth_share\":%.4f,\"peak_share\":%.4f",
                e->bytes, e->operations, (double)e->bytes / took / limits->bytes_per_second,
                (double)e->operations / took / limits->operations_per_second);
    fputs("}}", file);
}

static void write_name(FILE *file, const char *what, uint32_t thread, const char *name) {
    fprintf(file, "%s{\"name\":\"%s\",\"ph\":\"M\",\"pid\":1,\"tid\":%" PRIu32 ",\"args\":{\"name\":\"%s\"}}",
            thread == 0 && strcmp(what, "process_name") == 0 ? "" : ",\n", what, thread, name);
}

static void write_trace(FILE *file, const recording *r, const mia__cli_limits *limits,
                        const mia_device_info *device) {
    uint64_t zero = r->began[PHASE_LOAD];
    fprintf(
        file,
        "{\"displayTimeUnit\":\"ms\",\n\"otherData\":{\"version\":\"%s\",\"device\":\"%s\",\"description\":"
        "\"%s\",\"threads\":%" PRIu32
        ",\"copy_bytes_per_second\":%.0f,\"peak_operations_per_second\":%.0f},\n\"traceEvents\":[\n",
        mia_version(), device->backend, device->description, device->threads, limits->bytes_per_second,
        limits->operations_per_second);
    write_name(file, "process_name", 0, "mia");
    write_name(file, "thread_name", 0, "phases");
    for (uint32_t thread = 0; thread < device->threads; thread++) {
        char name[32];
        (void)snprintf(name, sizeof name, thread == 0 ? "driver" : "worker %" PRIu32, thread);
        write_name(file, "thread_name", thread + 1, name);
    }
    for (int p = 0; p < PHASES; p++)
        if (r->ended[p] > r->began[p])
            fprintf(file,
                    ",\n{\"name\":\"%s\",\"cat\":\"phase\",\"ph\":\"X\",\"pid\":1,\"tid\":0,\"ts\":%.3f,"
                    "\"dur\":%.3f}",
                    phase_names[p], (double)(r->began[p] - zero) * 1e-3,
                    (double)(r->ended[p] - r->began[p]) * 1e-3);
    for (size_t i = 0; i < r->count; i++) write_event(file, &r->events[i], zero, limits);
    fputs("\n]}\n", file);
}

/* --- the run ---------------------------------------------------------------------------------- */

static int generate(const trace_options *o, const mia__cli_model *model, recording *r) {
    mia_generation_options options = {.max_tokens = (size_t)o->count};
    mia_generation *generation = NULL;
    mia_error error = {0};
    mia_finish finish = MIA_FINISH_NONE;
    mia_status status =
        mia_generation_open(model->lm, o->prompt, strlen(o->prompt), &options, &generation, &error);
    for (phase p = PHASE_PROMPT; status == MIA_OK && finish == MIA_FINISH_NONE; p = PHASE_GENERATION) {
        mia_text text;
        if (r->began[p] == 0) r->began[p] = now();
        status = mia_generation_next(generation, &text, &finish, &error);
        r->ended[p] = now();
        if (status == MIA_OK) (void)fwrite(text.bytes, 1, text.length, stdout);
    }
    mia_generation_close(generation);
    putchar('\n');
    return status == MIA_OK ? -1 : mia__cli_fail("trace", "%s", error.message);
}

static int save(const trace_options *o, const mia__cli_model *model, const recording *r,
                const mia__cli_limits *limits) {
    mia_device_info device = mia_device_describe(model->device);
    if (r->no_memory) return mia__cli_fail("trace", "no memory for the events");
    FILE *file = fopen(o->to, "wb");
    if (file == NULL) return mia__cli_fail("trace", "%s: cannot open: %s", o->to, strerror(errno));
    write_trace(file, r, limits, &device);
    bool good = ferror(file) == 0;
    good = fclose(file) == 0 && good;
    if (!good) return mia__cli_fail("trace", "%s: cannot write: %s", o->to, strerror(errno));
    fprintf(stderr, "%zu events in %s; copying moves %.1f GB/s, f32 products reach %.1f Gop/s\n", r->count,
            o->to, limits->bytes_per_second * 1e-9, limits->operations_per_second * 1e-9);
    return MIA__CLI_OK;
}

int mia__cli_trace(int argc, char **argv) {
    trace_options o = {.to = "trace.json", .prompt = "Once upon a time", .count = 8};
    recording r = {.count = 0};
    mia__cli_limits limits;
    mia__cli_model model;
    char path[4096];
    int code = parse_options(&o, argc, argv);
    if (code >= 0) return code;
    if (o.path == NULL && !mia__cli_bundled_model(path, sizeof path))
        return mia__cli_fail("trace", "the bundled model was not found; name one: mia trace MODEL.gguf");
    code = mia__cli_measure_limits("trace", &o.model, &limits);
    if (code >= 0) return code;
    r.began[PHASE_LOAD] = now();
    o.model.trace = record;
    o.model.trace_user = &r;
    code = mia__cli_open_weights("trace", o.path != NULL ? o.path : path, &model);
    if (code < 0) code = mia__cli_open_model("trace", &o.model, &model);
    if (code >= 0) return code;
    r.ended[PHASE_LOAD] = now();
    code = generate(&o, &model, &r);
    if (code < 0) code = save(&o, &model, &r, &limits);
    mia__cli_close_model("trace", &model);
    forget(&r);
    return code;
}
