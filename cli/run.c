/* `mia run`: continues a prompt. Standard output gets the prompt, the text as it comes and one newline (or,
 * with --json, one object); standard error the progress of loading and the closing figures. */
#include "commands.h"
#include "common.h"
#include "figures.h"
#include "json.h"
#include "model_path.h"
#include "open.h"
#include "progress.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- options ---------------------------------------------------------------------------------- */

/* Settings that are not given stay NAN or -1 until it is known whether the bundled model is meant. */
typedef struct run_options {
    mia__cli_model_options model;
    const char *path, *prompt;
    int64_t count, top_k, repeat_last_n;
    double temperature, top_p, min_p, repeat_penalty;
    mia__cli_list stops;
    mia__cli_seed seed;
    bool json;
} run_options;

#define BUNDLED_PROMPT "Once upon a time"
#define STORY_TOKENS   400

static const char notes[] =
    "Without MODEL.gguf the bundled story model runs, with the settings that suit it: --temp 0.6 --top-k 40\n"
    "--top-p 0.95 --min-p 0.05 --repeat-penalty 1.15 --repeat-last-n 128, and -p \"" BUNDLED_PROMPT "\". It\n"
    "seldom ends by itself: unless -n is given, the first sentence that ends after 400 tokens is the last.\n"
    "With a model named: an empty prompt, no end but the model's own and that of the context, --temp 0.8\n"
    "--top-k 40 --top-p 0.95 --min-p 0.05, no repeat penalty (one that is given looks back over 64 tokens).\n"
    "\n"
    "Standard output gets the prompt, the text and one newline. Ctrl-C ends the text, or reading the prompt, "
    "at\n"
    "once, with exit code 130.\n"
    "The figures' rates are of the model's steps: tokens of the prompt read a second, and steps a second\n"
    "after it. The first token generated needs no step of its own.\n";

static int parse_options(run_options *o, int argc, char **argv) {
    const double many = 1 << 30;
    const mia__cli_argument arguments[] = {
        {"MODEL.gguf", false, &o->path, "the model; without one, the bundled story model"},
    };
    const mia__cli_option options[] = {
        {"-p", MIA__CLI_STRING, &o->prompt, "PROMPT", "text to continue", 0, 0},
        {"-n", MIA__CLI_INTEGER, &o->count, "N", "tokens to generate, at the most", 0, many},
        {"--temp", MIA__CLI_FLOAT, &o->temperature, "T", "temperature; 0: always the most likely token", 0,
         100},
        {"--top-k", MIA__CLI_INTEGER, &o->top_k, "K", "choose among the K most likely; 0: all", 0, many},
        {"--top-p", MIA__CLI_FLOAT, &o->top_p, "P", "choose among the likeliest that reach P; 1: all", 0, 1},
        {"--min-p", MIA__CLI_FLOAT, &o->min_p, "P", "drop what has less than P times the best; 0: none", 0,
         1},
        {"--repeat-penalty", MIA__CLI_FLOAT, &o->repeat_penalty, "R", "over 1: repeat less; 1: off", 0, 100},
        {"--repeat-last-n", MIA__CLI_INTEGER, &o->repeat_last_n, "N", "tokens the penalty looks back over", 0,
         many},
        {"--stop", MIA__CLI_LIST, &o->stops, "S", "end before this text; may be given several times", 0, 0},
        {"--seed", MIA__CLI_SEED, &o->seed, "S", "of the draws (default: drawn, shown at the end)", 0, 0},
        MIA__CLI_THREADS_OPTION(&o->model),
        MIA__CLI_DEVICE_OPTION(&o->model),
        MIA__CLI_CONTEXT_OPTION(&o->model, "tokens of context (default: what the model was made for)"),
        MIA__CLI_MEMORY_OPTION(&o->model),
        {"--json", MIA__CLI_FLAG, &o->json, NULL, "one JSON object at the end in place of the text", 0, 0},
    };
    const mia__cli_command command = {
        .name = "run",
        .summary = "Continues a prompt with a language model.",
        .arguments = arguments,
        .argument_count = sizeof arguments / sizeof arguments[0],
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .notes = notes,
    };
    int code = mia__cli_parse(&command, argc, argv);
    if (code >= 0) return code;
    for (size_t i = 0; i < o->stops.count; i++)
        if (o->stops.items[i][0] == '\0') return mia__cli_misuse("run", "--stop: the text is empty");
    return mia__cli_check_device("run", o->model.device);
}

static double or_number(double given, double otherwise) {
    return isnan(given) ? otherwise : given;
}

static int64_t or_count(int64_t given, int64_t otherwise) {
    return given < 0 ? otherwise : given;
}

static mia_generation_options generation_options(const run_options *o, bool bundled) {
    return (mia_generation_options){
        .sampler =
            {
                .temperature = (float)or_number(o->temperature, bundled ? 0.6 : 0.8),
                .top_k = (int32_t)or_count(o->top_k, 40),
                .top_p = (float)or_number(o->top_p, 0.95),
                .min_p = (float)or_number(o->min_p, 0.05),
                .repeat_penalty = (float)or_number(o->repeat_penalty, bundled ? 1.15 : 1.0),
                .repeat_last_n = (int32_t)or_count(o->repeat_last_n, bundled ? 128 : 64),
                .seeded = o->seed.given,
                .seed = o->seed.value,
            },
        .max_tokens = (size_t)or_count(o->count, 0),
        .stops = o->stops.items,
        .stop_count = o->stops.count,
    };
}

/* --- output ----------------------------------------------------------------------------------- */

/* Where the text goes: to standard output at once, or (for --json) into memory. */
typedef struct text_sink {
    bool keep;
    char last[2]; /* the last two bytes that went through */
    char *bytes;
    size_t length, capacity;
} text_sink;

static int sink_write(text_sink *sink, mia_text text) {
    if (text.length == 0) return -1;
    sink->last[0] = text.length > 1 ? text.bytes[text.length - 2] : sink->last[1];
    sink->last[1] = text.bytes[text.length - 1];
    if (!sink->keep) {
        (void)fwrite(text.bytes, 1, text.length, stdout);
        return mia__cli_finish_output("run") == MIA__CLI_OK ? -1 : MIA__CLI_FAILED;
    }
    if (text.length > sink->capacity - sink->length) {
        size_t capacity = (sink->length + text.length) * 2;
        char *grown = realloc(sink->bytes, capacity);
        if (grown == NULL) return mia__cli_fail("run", "no memory for the text");
        sink->bytes = grown;
        sink->capacity = capacity;
    }
    memcpy(sink->bytes + sink->length, text.bytes, text.length);
    sink->length += text.length;
    return -1;
}

/* How a run went, for the figures. */
typedef struct run_result {
    const char *finish; /* as in the JSON object */
    mia_generation_stats stats;
    double load_ms;
    uint64_t device_peak, weight_bytes;
} run_result;

#ifdef MIA_HAVE_JSON_C
/* A rate of nothing is null, which json-c writes for NULL. */
static json_object *json_rate(size_t count, double seconds) {
    double rate = mia__cli_rate(count, seconds);
    return rate > 0 ? json_object_new_double(rate) : NULL;
}

static json_object *json_figures(const run_result *result) {
    const mia_generation_stats *stats = &result->stats;
    json_object *figures = json_object_new_object();
    json_object_object_add(figures, "load_ms", json_object_new_double(result->load_ms));
    json_object_object_add(figures, "prompt_tokens", json_object_new_uint64(stats->prompt_tokens));
    json_object_object_add(figures, "prompt_tokens_per_second",
                           json_rate(stats->prompt_read, stats->prompt_seconds));
    json_object_object_add(figures, "generated_tokens", json_object_new_uint64(stats->generated_tokens));
    json_object_object_add(figures, "generated_tokens_per_second",
                           json_rate(stats->generation_steps, stats->generation_seconds));
    json_object_object_add(figures, "weight_bytes", json_object_new_uint64(result->weight_bytes));
    json_object_object_add(figures, "device_peak_bytes", json_object_new_uint64(result->device_peak));
    json_object_object_add(figures, "peak_bytes", json_object_new_uint64(mia__cli_resident_peak()));
    return figures;
}

static int print_json(const char *prompt, const text_sink *sink, const run_result *result) {
    json_object *object = json_object_new_object();
    json_object_object_add(object, "prompt", mia__cli_json_text(prompt, strlen(prompt)));
    json_object_object_add(object, "text", mia__cli_json_text(sink->bytes, sink->length));
    json_object_object_add(object, "tokens", json_object_new_uint64(result->stats.generated_tokens));
    json_object_object_add(object, "finish", json_object_new_string(result->finish));
    json_object_object_add(object, "seed", json_object_new_uint64(result->stats.seed));
    json_object_object_add(object, "figures", json_figures(result));
    return mia__cli_json_print("run", object);
}
#else
static int print_json(const char *prompt, const text_sink *sink, const run_result *result) {
    (void)prompt, (void)sink, (void)result;
    return MIA__CLI_FAILED; /* refused before the work */
}
#endif

/* --- the run ---------------------------------------------------------------------------------- */

static const char *finish_name(mia_finish finish) {
    switch (finish) {
    case MIA_FINISH_END: return "end";
    case MIA_FINISH_STOP: return "stop";
    case MIA_FINISH_CONTEXT: return "context";
    case MIA_FINISH_LENGTH: return "length";
    case MIA_FINISH_NONE: break;
    }
    return "interrupted";
}

/* Does `text` begin a new sentence after what the sink has? */
static bool begins_sentence(const text_sink *sink, mia_text text) {
    char end = sink->last[1] == '"' ? sink->last[0] : sink->last[1];
    if (text.length == 0 || (end != '.' && end != '!' && end != '?')) return false;
    if (text.bytes[0] == '\n') return true;
    return text.length > 1 && text.bytes[0] == ' ' &&
           (text.bytes[1] == '"' || isupper((unsigned char)text.bytes[1]));
}

/* Progress of reading the prompt, with making a GPU's pipelines for it. The prompt is written before it, but on a terminal, where
 * they would share a line. */
typedef struct prompt_reading {
    mia__cli_model *model;
    mia_text prompt;
    const mia_generation *generation;
    mia__cli_progress progress;
    bool written;
} prompt_reading;

static bool show_read(void *user, double fraction) {
    prompt_reading *reading = user;
    return mia__cli_progress_callback(&reading->progress, fraction);
}

/* share: of the run under way. */
static void show_reading(void *user, double share) {
    prompt_reading *reading = user;
    mia_generation_stats stats = mia_generation_describe(reading->generation);
    double read = (double)stats.prompt_read, chunk = (double)(stats.prompt_begun - stats.prompt_read);
    mia__cli_progress_show(&reading->progress, (read + chunk * share) / (double)stats.prompt_tokens, "");
}

static int write_prompt(prompt_reading *reading, text_sink *sink) {
    if (reading->written || sink->keep) return -1;
    reading->written = true;
    return sink_write(sink, reading->prompt);
}

static int begin_reading(prompt_reading *reading, const mia_generation *generation, text_sink *sink) {
    reading->generation = generation;
    reading->progress = mia__cli_progress_begin("reading the prompt");
    reading->model->share = show_reading;
    reading->model->share_user = reading;
    bool one_line = reading->progress.terminal && isatty(STDOUT_FILENO) == 1;
    return one_line ? -1 : write_prompt(reading, sink);
}

/* Called again, it does nothing. */
static int end_reading(prompt_reading *reading, text_sink *sink) {
    reading->model->share = NULL;
    mia__cli_progress_end(&reading->progress);
    return write_prompt(reading, sink);
}

/* Generates into the sink; a story ends with a sentence. Returns -1 when the text came to its end or was
 * interrupted, else the exit code. */
static int generate(mia_generation *generation, bool story, prompt_reading *reading, text_sink *sink,
                    mia_finish *finish) {
    while (*finish == MIA_FINISH_NONE && !mia__cli_interrupted()) {
        mia_text text = {0};
        mia_error error = {0};
        mia_status status = mia_generation_next(generation, &text, finish, &error);
        int code = end_reading(reading, sink);
        if (code >= 0) return code;
        if (status == MIA_ERROR_CANCELLED) return -1; /* by the signal */
        if (status != MIA_OK) {
            if (!sink->keep) putchar('\n');
            return mia__cli_fail("run", "%s", error.message);
        }
        if (story && mia_generation_describe(generation).generated_tokens > STORY_TOKENS &&
            begins_sentence(sink, text)) {
            *finish = MIA_FINISH_LENGTH;
            return -1;
        }
        code = sink_write(sink, text);
        if (code >= 0) return code;
    }
    return -1;
}

static void print_figures(const run_options *o, const mia_generation_options *options, int64_t context,
                          const run_result *result) {
    char ending[100];
    (void)snprintf(ending, sizeof ending, "the context of %lld token%s is full", (long long)context,
                   context == 1 ? "" : "s");
    bool drawn = !o->seed.given && options->sampler.temperature > 0;
    mia__cli_print_run_figures(&(mia__cli_run_figures){
        .load_ms = result->load_ms,
        .stats = result->stats,
        .device_peak = result->device_peak,
        .seed = drawn ? &result->stats.seed : NULL,
        .ending = strcmp(result->finish, "context") == 0 ? ending : NULL,
    });
}

/* Closes the text (or prints the object) and the figures. Returns the exit code. */
static int conclude(const run_options *o, const mia_generation_options *options, const mia__cli_model *model,
                    const mia_generation *generation, const text_sink *sink, mia_finish finish) {
    mia_lm_info info = mia_lm_describe(model->lm);
    run_result result = {
        .finish = finish_name(finish),
        .stats = mia_generation_describe(generation),
        .load_ms = model->load_seconds * 1e3,
        .device_peak = mia_device_count(model->device).peak_bytes,
        .weight_bytes = info.weight_bytes,
    };
    int code = MIA__CLI_OK;
    if (o->json) {
        code = print_json(o->prompt, sink, &result);
    } else {
        putchar('\n');
        code = mia__cli_finish_output("run");
    }
    if (code != MIA__CLI_OK) return code;
    print_figures(o, options, info.context, &result);
    return finish == MIA_FINISH_NONE ? MIA__CLI_INTERRUPTED : MIA__CLI_OK;
}

/* A context longer than the model was trained for is allowed, and told. */
static void warn_of_context(const run_options *o, const mia__cli_model *model) {
    long long trained = mia__cli_trained_context(model->weights);
    if (trained == 0 || o->model.context <= trained) return;
    fprintf(stderr,
            "mia run: the model was trained for %lld token%s of context; beyond that its text degrades\n",
            trained, trained == 1 ? "" : "s");
}

static int run_on(const run_options *o, mia_generation_options *options, mia__cli_model *model) {
    mia_generation *generation = NULL;
    mia_error error = {0};
    prompt_reading reading = {.model = model, .prompt = {o->prompt, strlen(o->prompt)}};
    options->progress = show_read;
    options->progress_user = &reading;
    if (mia_generation_open(model->lm, o->prompt, reading.prompt.length, options, &generation, &error) !=
        MIA_OK)
        return mia__cli_fail("run", "%s", error.message);
    warn_of_context(o, model);
    text_sink sink = {.keep = o->json};
    mia_finish finish =
        o->count == 0 ? MIA_FINISH_LENGTH : MIA_FINISH_NONE; /* to the library, 0 is no limit */
    int code = begin_reading(&reading, generation, &sink);
    if (code < 0) code = generate(generation, o->path == NULL && o->count < 0, &reading, &sink, &finish);
    if (code < 0) code = end_reading(&reading, &sink); /* where nothing was to be generated */
    if (code < 0) code = conclude(o, options, model, generation, &sink, finish);
    model->share = NULL;
    free(sink.bytes);
    mia_generation_close(generation);
    return code;
}

int mia__cli_run(int argc, char **argv) {
    run_options o = {.count = -1, .top_k = -1, .repeat_last_n = -1};
    o.temperature = o.top_p = o.min_p = o.repeat_penalty = NAN;
    int code = parse_options(&o, argc, argv);
    if (code >= 0) return code;
#ifndef MIA_HAVE_JSON_C
    if (o.json) return mia__cli_fail("run", "--json: this program was built without json-c");
#endif
    bool bundled = o.path == NULL;
    char path[4096];
    if (bundled && !mia__cli_bundled_model(path, sizeof path))
        return mia__cli_fail("run", "the bundled model was not found; name one: mia run MODEL.gguf");
    if (o.prompt == NULL) o.prompt = bundled ? BUNDLED_PROMPT : "";

    mia_generation_options options = generation_options(&o, bundled);
    mia__cli_model model;
    mia__cli_catch_interrupts();
    code = mia__cli_open_weights("run", bundled ? path : o.path, &model);
    if (code < 0) code = mia__cli_open_model("run", &o.model, &model);
    if (code >= 0) return code;
    code = run_on(&o, &options, &model);
    mia__cli_close_model("run", &model);
    return code;
}
