/* Opens what run, eval and bench work with: a device, a weights file and the model in it, with progress of
 * loading. */
#ifndef MIA_CLI_OPEN_H
#define MIA_CLI_OPEN_H

#include "common.h"

typedef struct mia__cli_model_options {
    const char *device;                                     /* as --device takes it; NULL: the default */
    int64_t threads;                                        /* 0: one a processor */
    int64_t context;                                        /* 0: what the file gives */
    uint64_t max_bytes;                                     /* 0: no limit */
    bool unloaded;                                          /* its tensors are not read */
    void (*trace)(void *user, const mia_step_event *event); /* may be NULL */
    void *trace_user;
} mia__cli_model_options;

typedef struct mia__cli_model {
    mia_device *device;
    mia_weights *weights;
    mia_lm *lm;
    double load_seconds;
    /* Told the share done of a run that takes long, as mia_device_options.progress is; NULL: nobody */
    void (*share)(void *user, double share);
    void *share_user;
} mia__cli_model;

/* The options --device, --threads, --ctx and --max-memory, for option tables. */
#define MIA__CLI_DEVICE_OPTION(options)                                                                      \
    {                                                                                                        \
        "--device", MIA__CLI_STRING, &(options)->device, "NAME",                                             \
            "what computes: cpu (the default) or another that mia devices lists; "                           \
            "webgpu:TEXT is the GPU with TEXT in its name",                                                  \
            0, 0                                                                                             \
    }
#define MIA__CLI_THREADS_OPTION(options)                                                                     \
    {                                                                                                        \
        "--threads", MIA__CLI_INTEGER, &(options)->threads, "N",                                             \
            "threads, 1024 at the most (default: one a processor)", 1, 1024                                  \
    }
#define MIA__CLI_CONTEXT_OPTION(options, help)                                                               \
    { "--ctx", MIA__CLI_INTEGER, &(options)->context, "N", help, 1, 1 << 30 }
#define MIA__CLI_MEMORY_OPTION(options)                                                                      \
    {                                                                                                        \
        "--max-memory", MIA__CLI_BYTES, &(options)->max_bytes, "BYTES",                                      \
            "refuse what needs more device memory; K, M, G count 1024s", 0, 0                                \
    }

/* The backends that --device takes: those of the library that compute. NULL past the last. */
const mia_backend_info *mia__cli_backend(size_t index);

/* Puts backend and adapter of a device's name ("cpu", "webgpu", "webgpu:NVIDIA") into options, which refer to the other
 * two as long as they are used. */
void mia__cli_choose_device(const char *name, mia_device_options *options, mia_webgpu_options *webgpu);

/* Checks the device's name; -1 when it is fine, else the exit code, the line printed. */
int mia__cli_check_device(const char *command, const char *name);

/* Opens the file for the header alone: for what has to be known before the model is opened. */
int mia__cli_open_weights(const char *command, const char *path, mia__cli_model *model);

/* The context that the file was made for; 0 when it does not say. */
int64_t mia__cli_trained_context(const mia_weights *weights);

/* Opens device and model on the weights; `model` must stay where it is until it is closed. Returns -1 when all is
 * well, else the exit code, with everything closed: the line is printed, or a signal came while it loaded. */
int mia__cli_open_model(const char *command, const mia__cli_model_options *options, mia__cli_model *model);

void mia__cli_close_model(const char *command, mia__cli_model *model);

#endif
