/* Opening and closing a model for a sub-command (open.h). */
#include "open.h"

#include "figures.h"
#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WEBGPU_ADAPTER "webgpu:"

/* Without the null backend, which computes nothing: it is for tests of the library, not for people. */
const mia_backend_info *mia__cli_backend(size_t index) {
    size_t count = 0;
    const mia_backend_info *backends = mia_backends(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(backends[i].name, "null") != 0 && index-- == 0) return &backends[i];
    return NULL;
}

/* What stands behind "webgpu:"; NULL for other names. */
static const char *adapter_of(const char *name) {
    return name != NULL && strncmp(name, WEBGPU_ADAPTER, strlen(WEBGPU_ADAPTER)) == 0
               ? name + strlen(WEBGPU_ADAPTER)
               : NULL;
}

void mia__cli_choose_device(const char *name, mia_device_options *options, mia_webgpu_options *webgpu) {
    const char *adapter = adapter_of(name);
    *webgpu = (mia_webgpu_options){.adapter = adapter};
    options->backend = adapter != NULL ? "webgpu" : name;
    if (adapter != NULL) options->webgpu = webgpu;
}

int mia__cli_check_device(const char *command, const char *name) {
    if (name == NULL || adapter_of(name) != NULL) return -1;
    char list[200] = "";
    size_t used = 0;
    const mia_backend_info *backend;
    for (size_t i = 0; (backend = mia__cli_backend(i)) != NULL && used < sizeof list; i++) {
        if (strcmp(backend->name, name) == 0) return -1;
        int written = snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "", backend->name);
        if (written > 0) used += (size_t)written;
    }
    return mia__cli_misuse(command, "--device: \"%s\" is none of %s", name, list);
}

static void print_log(void *user, const char *line) {
    (void)user;
    fprintf(stderr, "%s\n", line);
}

int mia__cli_open_weights(const char *command, const char *path, mia__cli_model *model) {
    mia_error error = {0};
    double began = mia__cli_seconds();
    *model = (mia__cli_model){0};
    if (mia_weights_open_file(path, NULL, &model->weights, &error) != MIA_OK)
        return mia__cli_fail(command, "%s", error.message);
    model->load_seconds = mia__cli_seconds() - began;
    return -1;
}

int64_t mia__cli_trained_context(const mia_weights *weights) {
    mia_text architecture;
    char key[128];
    uint32_t context = 0;
    if (mia_weights_get_text(weights, "general.architecture", &architecture, NULL) != MIA_OK ||
        architecture.length > 64)
        return 0;
    (void)snprintf(key, sizeof key, "%.*s.context_length", (int)architecture.length, architecture.bytes);
    return mia_weights_get_u32(weights, key, &context, NULL) == MIA_OK ? (int64_t)context : 0;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

/* A signal that came between two runs ends the next. */
static bool go_on(void *user, double share) {
    const mia__cli_model *model = user;
    if (model->share != NULL) model->share(model->share_user, share);
    return !mia__cli_interrupted();
}

static mia_status open_device_and_lm(const mia__cli_model_options *options, mia__cli_model *model,
                                     mia_error *error) {
    mia_device_options device = {
        .threads = (uint32_t)options->threads,
        .max_bytes = options->max_bytes,
        .progress = go_on,
        .progress_user = model,
        .trace = options->trace,
        .trace_user = options->trace_user,
        .log = getenv("MIA_DEBUG") != NULL ? print_log : NULL,
    };
    mia_webgpu_options webgpu;
    mia__cli_choose_device(options->device, &device, &webgpu);
    mia_status status = mia_device_open(&device, &model->device, error);
    if (status != MIA_OK) return status;
    mia__cli_interrupt_cancels(model->device);

    char what[160], name[128];
    const char *file = base_name(mia_weights_name(model->weights));
    (void)mia_text_escape((mia_text){file, strlen(file)}, name, sizeof name);
    (void)snprintf(what, sizeof what, "loading %s", name);
    mia__cli_progress progress = mia__cli_progress_begin(what);
    mia_lm_options lm = {
        .context = options->context,
        .unloaded = options->unloaded,
        .progress = mia__cli_progress_callback,
        .progress_user = &progress,
    };
    status = mia_lm_open(model->device, model->weights, &lm, &model->lm, error);
    mia__cli_progress_end(&progress);
    return status;
}

int mia__cli_open_model(const char *command, const mia__cli_model_options *options, mia__cli_model *model) {
    mia_error error = {0};
    double began = mia__cli_seconds();
    mia_status status = open_device_and_lm(options, model, &error);
    model->load_seconds += mia__cli_seconds() - began;
    if (status == MIA_OK) return -1;
    mia__cli_close_model(command, model);
    if (status == MIA_ERROR_CANCELLED) return MIA__CLI_INTERRUPTED;
    return mia__cli_fail(command, "%s", error.message);
}

void mia__cli_close_model(const char *command, mia__cli_model *model) {
    mia_error error = {0};
    mia__cli_interrupt_cancels(NULL);
    mia_lm_close(model->lm);
    mia_weights_close(model->weights);
    if (mia_device_close(model->device, &error) != MIA_OK) (void)mia__cli_fail(command, "%s", error.message);
    *model = (mia__cli_model){0};
}
