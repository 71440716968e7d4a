/* `mia bench`: how fast a model reads a prompt and generates, as medians over several repeats after one that
 * does not count. Random tokens serve as prompt and as continuation: what they are makes no difference to the
 * time. Prompt and generation start from an empty state each, so that the figures can be compared with those
 * of llama-bench. */
#include "commands.h"
#include "common.h"
#include "figures.h"
#include "json.h"
#include "model_path.h"
#include "open.h"
#include "progress.h"
#include "random_model.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- options ---------------------------------------------------------------------------------- */

typedef struct bench_options {
    mia__cli_model_options model;
    const char *path, *random, *write;
    int64_t prompt, generated, repeat;
    bool json;
} bench_options;

static int parse_options(bench_options *o, int argc, char **argv) {
    const double many = 1 << 24;
    const mia__cli_argument arguments[] = {
        {"MODEL.gguf", false, &o->path, "the model; without one, the bundled story model"},
    };
    const mia__cli_option options[] = {
        {"-p", MIA__CLI_INTEGER, &o->prompt, "N",
         "tokens of the prompt (default 512); 0: no such measurement", 0, many},
        {"-n", MIA__CLI_INTEGER, &o->generated, "N",
         "tokens to generate (default 64); 0: no such measurement", 0, many},
        {"--repeat", MIA__CLI_INTEGER, &o->repeat, "R", "measurements of each (default 5)", 1, 10000},
        {"--random", MIA__CLI_STRING, &o->random, "SPEC", "measure a Llama of this shape with random weights",
         0, 0},
        {"--write", MIA__CLI_STRING, &o->write, "FILE.gguf", "keep the random model in this file", 0, 0},
        MIA__CLI_THREADS_OPTION(&o->model),
        MIA__CLI_DEVICE_OPTION(&o->model),
        MIA__CLI_MEMORY_OPTION(&o->model),
        {"--json", MIA__CLI_FLAG, &o->json, NULL, "print one JSON object", 0, 0},
    };
    const mia__cli_command command = {
        .name = "bench",
        .summary = "Measures tokens a second: of prompts read, and of text generated.",
        .arguments = arguments,
        .argument_count = sizeof arguments / sizeof arguments[0],
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .notes =
            "SPEC is a list such as layers=22,dim=2048,heads=32,kv-heads=4,ffn=5632,vocab=32000,type=q8_0.\n"
            "Prompt and generation begin with an empty state each, so the context (and the memory for it) "
            "is\n"
            "of the longer of the two: -p and -n set it.\n"
            "Without --write the random model lies in TMPDIR (or /tmp) while it is measured.\n",
    };
    int code = mia__cli_parse(&command, argc, argv);
    if (code >= 0) return code;
    if (o->random != NULL && o->path != NULL)
        return mia__cli_misuse("bench", "MODEL.gguf and --random exclude each other");
    if (o->write != NULL && o->random == NULL) return mia__cli_misuse("bench", "--write needs --random");
    if (o->prompt == 0 && o->generated == 0)
        return mia__cli_misuse("bench", "-p 0 -n 0 leaves nothing to measure");
    return mia__cli_check_device("bench", o->model.device);
}

/* --- measuring -------------------------------------------------------------------------------- */

typedef struct bench {
    mia_lm_state *state;
    int32_t *ids; /* random; as many as the longer of the two measurements takes */
    float *logits;
    bool
        on_device; /* chooses tokens there, as generation does on a GPU, and reads their numbers one step behind */
    size_t prompt, generated, repeat;
    double *prompt_rates, *generation_rates; /* tokens/s of each repeat */
    mia__cli_progress progress;
    size_t tokens_done;
} bench;

/* Of all tokens of all repeats, and of the one that does not count. */
static void show_progress(bench *b, size_t tokens) {
    b->tokens_done += tokens;
    double all = (double)(b->prompt + b->generated) * (double)(b->repeat + 1);
    mia__cli_progress_show(&b->progress, (double)b->tokens_done / all, "");
}

static uint64_t next_random(uint64_t *state) { /* xorshift64* */
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static void draw_ids(int32_t *ids, size_t count, size_t vocabulary) {
    uint64_t state = 88172645463325252;
    for (size_t i = 0; i < count; i++) ids[i] = (int32_t)((next_random(&state) >> 16) % vocabulary);
}

static int measure_prompt(bench *b, double *rate) {
    mia_error error = {0};
    mia_lm_state_reset(b->state);
    double began = mia__cli_seconds();
    if (mia_lm_step(b->state, b->ids, b->prompt, 0, b->logits, &error) != MIA_OK)
        return mia__cli_fail("bench", "%s", error.message);
    *rate = mia__cli_rate(b->prompt, mia__cli_seconds() - began);
    show_progress(b, b->prompt);
    return -1;
}

static mia_status generate(bench *b, mia_error *error) {
    mia_status status = MIA_OK;
    for (size_t i = 0; status == MIA_OK && i < b->generated; i++) {
        status = mia_lm_step(b->state, &b->ids[i], 1, 0, b->logits, error);
        show_progress(b, 1); /* writes twenty times a second at the most: not worth taking out of the time */
    }
    return status;
}

static mia_status generate_on_device(bench *b, mia_error *error) {
    const mia_lm_choice likeliest = {.temperature = 0};
    mia_ticket *coming = NULL;
    int32_t id;
    mia_status status = MIA_OK;
    for (size_t i = 0; status == MIA_OK && i <= b->generated; i++) {
        bool goes_on = i < b->generated;
        if (goes_on)
            status = mia_lm_step_choose_begin(b->state, i == 0 ? b->ids : NULL, 1, &likeliest, error);
        if (i > 0) {
            mia_ticket_wait(coming);
            mia_status read = mia_ticket_finish(coming, status == MIA_OK ? error : NULL);
            if (status == MIA_OK) status = read;
            show_progress(b, 1);
        }
        if (!goes_on || status != MIA_OK) break;
        status = mia_lm_step_wait(b->state, error);
        if (status == MIA_OK)
            coming =
                mia_tensor_read_begin(mia_lm_chosen(b->state).untyped, &id, sizeof id, __FILE__, __LINE__);
    }
    return status;
}

static int measure_generation(bench *b, double *rate) {
    mia_error error = {0};
    mia_lm_state_reset(b->state);
    double began = mia__cli_seconds();
    if ((b->on_device ? generate_on_device : generate)(b, &error) != MIA_OK)
        return mia__cli_fail("bench", "%s", error.message);
    *rate = mia__cli_rate(b->generated, mia__cli_seconds() - began);
    return -1;
}

/* Repeat 0 warms up (plans, caches) and is overwritten by repeat 1. */
static int measure(bench *b) {
    b->progress = mia__cli_progress_begin("measuring");
    int code = -1;
    for (size_t i = 0; i <= b->repeat && code < 0; i++) {
        size_t slot = i > 0 ? i - 1 : 0;
        if (b->prompt > 0) code = measure_prompt(b, &b->prompt_rates[slot]);
        if (code < 0 && b->generated > 0) code = measure_generation(b, &b->generation_rates[slot]);
    }
    mia__cli_progress_end(&b->progress);
    return code;
}

/* --- reporting -------------------------------------------------------------------------------- */

typedef struct bench_report {
    const char *model;
    mia_device_info device;
    uint64_t weight_bytes, peak_bytes;
    mia__cli_spread prompt, generation;
} bench_report;

static void print_rates(const char *name, size_t tokens, const mia__cli_spread *rates) {
    if (tokens > 0)
        printf("%s: %zu tokens, %.2f tokens/s (%.2f to %.2f)\n", name, tokens, rates->median, rates->least,
               rates->most);
}

static void print_report(const bench *b, const bench_report *report) {
    char weights[32], peak[32];
    printf("model: %s\n", report->model);
    printf("device: %s, %s\n", report->device.backend, report->device.description);
    if (strcmp(report->device.backend, "webgpu") != 0)
        printf("threads: %" PRIu32 "\n", report->device.threads);
    print_rates("prompt", b->prompt, &report->prompt);
    print_rates("generation", b->generated, &report->generation);
    printf("repeats: %zu\n", b->repeat);
    printf("weights: %" PRIu64 " bytes (%s)\n", report->weight_bytes,
           mia__cli_format_bytes(report->weight_bytes, weights, sizeof weights));
    printf("peak: %" PRIu64 " bytes (%s)\n", report->peak_bytes,
           mia__cli_format_bytes(report->peak_bytes, peak, sizeof peak));
}

#ifdef MIA_HAVE_JSON_C
static json_object *json_rates(size_t tokens, const mia__cli_spread *rates) {
    json_object *object = json_object_new_object();
    json_object_object_add(object, "tokens", json_object_new_uint64(tokens));
    json_object_object_add(object, "median", json_object_new_double(rates->median));
    json_object_object_add(object, "least", json_object_new_double(rates->least));
    json_object_object_add(object, "most", json_object_new_double(rates->most));
    return object;
}

static int print_json(const bench *b, const bench_report *report) {
    json_object *object = json_object_new_object();
    json_object_object_add(object, "model", mia__cli_json_text(report->model, strlen(report->model)));
    json_object_object_add(object, "device", json_object_new_string(report->device.backend));
    json_object_object_add(object, "description", json_object_new_string(report->device.description));
    json_object_object_add(object, "threads", json_object_new_uint64(report->device.threads));
    json_object_object_add(object, "repeats", json_object_new_uint64(b->repeat));
    if (b->prompt > 0)
        json_object_object_add(object, "prompt_tokens_per_second", json_rates(b->prompt, &report->prompt));
    if (b->generated > 0)
        json_object_object_add(object, "generated_tokens_per_second",
                               json_rates(b->generated, &report->generation));
    json_object_object_add(object, "weight_bytes", json_object_new_uint64(report->weight_bytes));
    json_object_object_add(object, "peak_bytes", json_object_new_uint64(report->peak_bytes));
    return mia__cli_json_print("bench", object);
}
#else
static int print_json(const bench *b, const bench_report *report) {
    (void)b, (void)report;
    return MIA__CLI_FAILED; /* refused before the work */
}
#endif

static int report_on(const bench_options *o, const mia__cli_model *model, const bench *b) {
    bench_report report = {
        .model = o->random != NULL ? o->random : mia_weights_name(model->weights),
        .device = mia_device_describe(model->device),
        .weight_bytes = mia_lm_describe(model->lm).weight_bytes,
        .peak_bytes = mia_device_count(model->device).peak_bytes,
        .prompt = mia__cli_spread_of(b->prompt_rates, b->prompt > 0 ? b->repeat : 0),
        .generation = mia__cli_spread_of(b->generation_rates, b->generated > 0 ? b->repeat : 0),
    };
    if (o->json) return print_json(b, &report);
    print_report(b, &report);
    return MIA__CLI_OK;
}

static int bench_on(const bench_options *o, const mia__cli_model *model) {
    mia_error error = {0};
    size_t vocabulary = (size_t)mia_lm_describe(model->lm).vocabulary;
    bench b = {.prompt = (size_t)o->prompt, .generated = (size_t)o->generated, .repeat = (size_t)o->repeat};
    b.on_device = strcmp(mia_device_describe(model->device).backend, "webgpu") == 0;
    size_t longest = b.prompt > b.generated ? b.prompt : b.generated;
    b.ids = calloc(longest + 1, sizeof *b.ids);
    b.logits = calloc(vocabulary, sizeof *b.logits);
    b.prompt_rates = calloc(b.repeat, sizeof *b.prompt_rates);
    b.generation_rates = calloc(b.repeat, sizeof *b.generation_rates);
    int code = -1;
    if (b.ids == NULL || b.logits == NULL || b.prompt_rates == NULL || b.generation_rates == NULL)
        code = mia__cli_fail("bench", "no memory for %zu tokens", longest);
    if (code < 0 && mia_lm_state_open(model->lm, &b.state, &error) != MIA_OK)
        code = mia__cli_fail("bench", "%s", error.message);
    if (code < 0) {
        draw_ids(b.ids, longest, vocabulary);
        code = measure(&b);
    }
    if (code < 0) code = report_on(o, model, &b);
    mia_lm_state_close(b.state);
    free(b.generation_rates);
    free(b.prompt_rates);
    free(b.logits);
    free(b.ids);
    return code;
}

/* --- the model -------------------------------------------------------------------------------- */

static char temporary_path[4096]; /* a file to remove when a signal comes; "" for none */

static void remove_and_exit(int number) {
    (void)number;
    unlink(temporary_path);
    _exit(MIA__CLI_INTERRUPTED);
}

static int create_temporary(void) {
    static const char ending[] = ".gguf";
    const char *folder = getenv("TMPDIR");
    if (folder == NULL || folder[0] == '\0') folder = "/tmp";
    char path[sizeof temporary_path];
    int length = snprintf(path, sizeof path, "%s/mia-bench-XXXXXX%s", folder, ending);
    if (length < 0 || (size_t)length >= sizeof path) return mia__cli_fail("bench", "TMPDIR is too long");
    int descriptor = mkstemps(path, (int)sizeof ending - 1);
    if (descriptor < 0) return mia__cli_fail("bench", "%s: %s", path, strerror(errno));
    close(descriptor);
    memcpy(temporary_path, path, sizeof temporary_path);
    signal(SIGINT, remove_and_exit);
    signal(SIGTERM, remove_and_exit);
    return -1;
}

/* The random model is opened, and so mapped, before its temporary file loses its name. */
static int open_random(const bench_options *o, mia__cli_model *model) {
    int code = o->write == NULL ? create_temporary() : -1;
    if (code >= 0) return code;
    mia_error error = {0};
    const char *path = o->write != NULL ? o->write : temporary_path;
    if (mia__cli_write_random_model(o->random, path, &error) != MIA_OK)
        code = error.status == MIA_ERROR_INVALID_ARGUMENT
                   ? mia__cli_misuse("bench", "--random: %s", error.message)
                   : mia__cli_fail("bench", "%s", error.message);
    if (code < 0) code = mia__cli_open_weights("bench", path, model);
    if (o->write == NULL) unlink(temporary_path);
    return code;
}

static int open_named(const bench_options *o, mia__cli_model *model) {
    char path[4096];
    if (o->path != NULL) return mia__cli_open_weights("bench", o->path, model);
    if (!mia__cli_bundled_model(path, sizeof path))
        return mia__cli_fail("bench", "the bundled model was not found; name one: mia bench MODEL.gguf");
    return mia__cli_open_weights("bench", path, model);
}

int mia__cli_bench(int argc, char **argv) {
    bench_options o = {.prompt = 512, .generated = 64, .repeat = 5};
    mia__cli_model model;
    int code = parse_options(&o, argc, argv);
    if (code >= 0) return code;
#ifndef MIA_HAVE_JSON_C
    if (o.json) return mia__cli_fail("bench", "--json: this program was built without json-c");
#endif
    code = o.random != NULL ? open_random(&o, &model) : open_named(&o, &model);
    o.model.context = o.prompt > o.generated ? o.prompt : o.generated;
    if (code < 0) code = mia__cli_open_model("bench", &o.model, &model);
    if (code >= 0) return code;
    code = bench_on(&o, &model);
    mia__cli_close_model("bench", &model);
    return code;
}
