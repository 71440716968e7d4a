/* `mia plan`: the memory that a model needs, to the byte, without loading it; the largest context that fits. */
#include "commands.h"
#include "figures.h"
#include "json.h"
#include "open.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct plan_options {
    mia__cli_model_options model;
    const char *path;
    int64_t rows, generated;
    uint64_t memory;
    double temperature; /* NAN: logits are read back */
    bool json;
} plan_options;

static int parse_options(plan_options *o, int argc, char **argv) {
    const mia__cli_argument arguments[] = {
        {"MODEL.gguf", true, &o->path, "the model; its tensors are not read"}};
    const mia__cli_option options[] = {
        MIA__CLI_CONTEXT_OPTION(&o->model, "tokens of the context (default: the model's)"),
        {"--rows", MIA__CLI_INTEGER, &o->rows, "N", "plan for a prompt of N tokens", 1, 1 << 30},
        {"-n", MIA__CLI_INTEGER, &o->generated, "N",
         "plan for N generated tokens, after the prompt if there is one", 1, 1 << 30},
        {"--choose", MIA__CLI_FLOAT, &o->temperature, "T",
         "with --rows or -n: the device chooses, at temperature T (default: logits are read back)", 0, 100},
        {"--memory", MIA__CLI_BYTES, &o->memory, "BYTES",
         "find the largest context, up to --ctx, that needs no more; K, M, G count 1024s", 0, 0},
        MIA__CLI_DEVICE_OPTION(&o->model),
        {"--json", MIA__CLI_FLAG, &o->json, NULL, "one JSON object", 0, 0},
    };
    const mia__cli_command command = {
        .name = "plan",
        .summary = "Tells the device memory that a model needs, to the byte, without loading it.",
        .arguments = arguments,
        .argument_count = 1,
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .notes = "Without --rows and -n it is the most that any use of the context needs: what --max-memory "
                 "of the\n"
                 "other commands has to allow.\n"};
    return mia__cli_parse(&command, argc, argv);
}

/* --- planning --------------------------------------------------------------------------------- */

/* Opens the model anew with another context and plans any use of it. */
static mia_status plan_context(mia__cli_model *model, int64_t context, mia_lm_memory *memory,
                               mia_error *error) {
    const mia_lm_options options = {.context = context, .unloaded = true};
    mia_lm_close(model->lm);
    model->lm = NULL;
    mia_status status = mia_lm_open(model->device, model->weights, &options, &model->lm, error);
    return status == MIA_OK ? mia_lm_plan(model->lm, 0, 0, NULL, memory, error) : status;
}

/* The largest context that fits, which the model is then open with. */
static int fit_context(const plan_options *o, int64_t wanted, mia__cli_model *model, mia_lm_memory *memory) {
    mia_error error = {0};
    int64_t fits = 0, most = wanted + 1; /* fits < what is looked for < most */
    while (fits + 1 < most) {
        int64_t context = fits == 0 && most > 2 ? 1 : fits + (most - fits) / 2;
        mia_status status = plan_context(model, context, memory, &error);
        bool too_long = status == MIA_ERROR_OVER_LIMIT || (status == MIA_ERROR_UNSUPPORTED && context > 1);
        if (status != MIA_OK && !too_long) return mia__cli_fail("plan", "%s", error.message);
        bool good = status == MIA_OK && memory->peak_bytes <= o->memory;
        if (!good && context == 1)
            return mia__cli_fail("plan", "a context of 1 token needs %" PRIu64 " bytes, more than %" PRIu64,
                                 memory->peak_bytes, o->memory);
        *(good ? &fits : &most) = context;
    }
    if (plan_context(model, fits, memory, &error) == MIA_OK) return -1;
    return mia__cli_fail("plan", "%s", error.message);
}

/* --- telling ---------------------------------------------------------------------------------- */

#ifdef MIA_HAVE_JSON_C
static int print_json(const mia__cli_model *model, const mia_lm_memory *memory) {
    const mia_lm_info info = mia_lm_describe(model->lm);
    const char *name = mia_weights_name(model->weights);
    json_object *object = json_object_new_object();
    if (object == NULL) return mia__cli_fail("plan", "no memory for the JSON object");
    json_object_object_add(object, "model", mia__cli_json_text(name, strlen(name)));
    json_object_object_add(object, "context", json_object_new_int64(info.context));
    const struct {
        const char *key;
        uint64_t bytes;
    } parts[] = {{"weight_bytes", info.weight_bytes},        {"constant_bytes", memory->constant_bytes},
                 {"prepared_bytes", memory->prepared_bytes}, {"cache_bytes", memory->cache_bytes},
                 {"arena_bytes", memory->arena_bytes},       {"value_bytes", memory->value_bytes},
                 {"total_bytes", memory->peak_bytes}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        json_object_object_add(object, parts[i].key, json_object_new_uint64(parts[i].bytes));
    return mia__cli_json_print("plan", object);
}
#else
static int print_json(const mia__cli_model *model, const mia_lm_memory *memory) {
    (void)model, (void)memory;
    return mia__cli_fail("plan", "--json: this program was built without json-c");
}
#endif

static void print_bytes(const char *name, uint64_t bytes) {
    char text[32];
    printf("%s: %" PRIu64 " bytes (%s)\n", name, bytes, mia__cli_format_bytes(bytes, text, sizeof text));
}

static void print_table(const mia__cli_model *model, const mia_lm_memory *memory) {
    const mia_lm_info info = mia_lm_describe(model->lm);
    printf("context: %" PRId64 " token%s\n", info.context, info.context == 1 ? "" : "s");
    print_bytes("weights in the file", info.weight_bytes);
    print_bytes("weights used as in the file", memory->constant_bytes);
    print_bytes("weights in prepared forms", memory->prepared_bytes);
    print_bytes("caches", memory->cache_bytes);
    print_bytes("arena", memory->arena_bytes);
    print_bytes("other inputs and outputs", memory->value_bytes);
    print_bytes("total", memory->peak_bytes);
}

int mia__cli_plan(int argc, char **argv) {
    plan_options o = {.model = {.threads = 1, .unloaded = true}, .temperature = NAN};
    int code = parse_options(&o, argc, argv);
    if (code < 0) code = mia__cli_check_device("plan", o.model.device);
    if (code >= 0) return code;
    if (o.memory > 0 && (o.rows > 0 || o.generated > 0))
        return mia__cli_misuse("plan", "--memory and %s exclude each other", o.rows > 0 ? "--rows" : "-n");
    bool chooses = !isnan(o.temperature);
    if (chooses && o.rows == 0 && o.generated == 0)
        return mia__cli_misuse("plan", "--choose goes with --rows or -n");
    mia__cli_model model = {.device = NULL};
    code = mia__cli_open_weights("plan", o.path, &model);
    int64_t wanted = o.model.context;
    if (code < 0 && wanted == 0) wanted = mia__cli_trained_context(model.weights);
    if (o.memory > 0 && wanted > 0) o.model.context = 1; /* a longer one may not even open */
    if (code < 0) code = mia__cli_open_model("plan", &o.model, &model);
    if (code >= 0) return code;
    mia_lm_memory memory = {0};
    mia_error error = {0};
    const mia_lm_choice choice = {.temperature = chooses ? (float)o.temperature : 0};
    if (o.memory > 0)
        code = fit_context(&o, wanted > 0 ? wanted : mia_lm_describe(model.lm).context, &model, &memory);
    else if (mia_lm_plan(model.lm, o.rows, o.generated, chooses ? &choice : NULL, &memory, &error) != MIA_OK)
        code = mia__cli_fail("plan", "%s", error.message);
    if (code < 0 && o.json) code = print_json(&model, &memory);
    if (code < 0) {
        print_table(&model, &memory);
        code = MIA__CLI_OK;
    }
    mia__cli_close_model("plan", &model);
    return code;
}
