/* Devices: where tensors live and work runs. Tickets: work that completes later. */
#ifndef MIA_DEVICE_H
#define MIA_DEVICE_H

#include <mia/layout.h>
#include <mia/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- tickets: docs/waiting.md ----------------------------------------------------------------- */

/* Stands for work that was begun and completes later. Every *_begin function returns one that the caller ends
 * with mia_ticket_finish; NULL only when there is no memory even for the ticket, and every function here
 * takes NULL for "failed with NO_MEMORY". */
typedef struct mia_ticket mia_ticket;

/* Says whether the work has completed (well or not), and sees to it that it goes on, without blocking. Work
 * may begin only with the first poll or wait, on any backend. Where the backend computes in the calling
 * thread (cpu, reference), a thread of the device's own does the work for those who poll; when none can be
 * made, poll does the work itself, and then takes as long as it. */
MIA_API bool mia_ticket_poll(mia_ticket *ticket);

/* Blocks until it has completed; on cpu and reference the waiting thread does the work, unless another is at
 * it. Native programs only. */
MIA_API void mia_ticket_wait(mia_ticket *ticket);

/* Calls `then` once when the work completes, from the thread that completes it (at once if it has). One
 * callback a ticket. Except on cpu and reference somebody has to poll or wait all the same. `then` must not
 * finish the ticket, wait for work of the same device, or close the device. */
MIA_API void mia_ticket_then(mia_ticket *ticket, void (*then)(void *user, mia_status status), void *user);

/* Asks the work to stop, if it has not completed. Any thread that may use the ticket; does not wait. On `cpu` a run
 * stops within milliseconds, on `reference` after the step in progress, on `webgpu` after what was submitted, some
 * milliseconds' work. The ticket then completes with CANCELLED, and
 * what the run was to compute is poisoned with that, values that it was overwriting in place among it; the device and
 * everything else stay as they are. Work that is over, or nearly, completes as it would have. */
MIA_API void mia_ticket_cancel(mia_ticket *ticket);

/* Takes the result and frees the ticket. PENDING, and nothing freed, while the work has not completed. */
MIA_API MIA_MUST_CHECK mia_status mia_ticket_finish(mia_ticket *ticket, mia_error *error);

/* --- devices ---------------------------------------------------------------------------------- */

/* A device may be used from any thread. Runs are queued and complete in order. */
typedef struct mia_device mia_device;

/* By default activations may be rounded: to 8 bits a block where they meet block-quantised weights, to f16 on GPUs with
 * units for that. */
typedef enum mia_precision {
    MIA_PRECISION_DEFAULT = 0,
    MIA_PRECISION_EXACT = 1 /* f32 activations always */
} mia_precision;

/* A step of a run as it went, or the part that another thread had in it. */
typedef struct mia_step_event {
    const char *name; /* its operation; of a fused step all of them, "mul add gelu"; of steps that ran as one
                         with " | " between. Valid during the call */
    const char *shapes;   /* "f32 [256, 1] <- q8_0 [64, 256], f32 [64, 1]". Valid during the call */
    uint64_t run;         /* number of the run on its device */
    uint32_t step, steps; /* number within the run, and how many that has */
    uint32_t thread;      /* 0: the one that drives, whose event is of the whole step */
    uint64_t begin,
        end; /* nanoseconds of the system's monotonic clock; of a GPU its own, told as if each piece of a run
                             had begun when it was submitted */
    uint64_t bytes;      /* of operands and result that the step touches, each once */
    uint64_t operations; /* of arithmetic; a multiplication and an addition are two */
} mia_step_event;

/* Features of a GPU that a device can be told to do without, for tests and comparisons. */
enum {
    MIA_WEBGPU_F16 = 1,
    MIA_WEBGPU_SUBGROUPS = 2,
    MIA_WEBGPU_TIMESTAMPS = 4,
    MIA_WEBGPU_SUBGROUP_MATRIX = 8,
    MIA_WEBGPU_PACKED_DOT = 16
};

/* How the webgpu backend comes to a GPU. Zero means the default of every field. Texts and objects stay valid for the
 * device's life. */
typedef struct mia_webgpu_options {
    const char
        *library; /* a library that exports webgpu.h's functions; NULL: what MIA_WEBGPU_LIBRARY names, then
                            libwebgpu_dawn.so, libwgpu_native.so, then what `make webgpu` installed */
    const char *adapter; /* part of an adapter's name; NULL: the first, fast ones before others */
    bool default_limits; /* ask for no more than the specification's default limits */
    uint32_t without;    /* set of MIA_WEBGPU_ features to do without */
    /* A program's own instance and device (WGPUInstance, WGPUDevice; both or neither), which it keeps and closes after
     * the Mia device, and `procedure`, which finds the functions of the library that they come from. Its own callbacks
     * may come inside Mia's calls, and must not use the Mia device. */
    void *instance, *device;
    void *(*procedure)(const char *name);
} mia_webgpu_options;

/* A GPU, or a driver that computes on the CPU, that the webgpu backend can use. */
typedef struct mia_webgpu_adapter {
    char name[128];
    char driver[128];
    char library[256];       /* that it was found with */
    bool processor;          /* it computes on the CPU */
    uint32_t features;       /* set of MIA_WEBGPU_ features */
    char features_text[128]; /* "f16, subgroups of 32, timestamps" */
    char limits_text[192];   /* "buffers to 4 GiB, ..." */
} mia_webgpu_adapter;

/* Lists the adapters, the one that is used by default first: fills up to `capacity`, and *count gets how many there are.
 * options may be NULL. Blocks, some tenths of a second. NOT_FOUND without a library or an adapter; the message says what to
 * install. Native programs only. */
MIA_API MIA_MUST_CHECK mia_status mia_webgpu_adapters(const mia_webgpu_options *options,
                                                      mia_webgpu_adapter *adapters, size_t capacity,
                                                      size_t *count, mia_error *error);

/* Zero means the default of every field. */
typedef struct mia_device_options {
    const char *backend; /* "cpu" (default), "reference", "webgpu", "null" */
    uint32_t threads;    /* of the cpu backend; 0: one a processor */
    uint64_t max_bytes;  /* most device memory; 0: no limit. Kept before work starts */
    mia_precision precision;
    bool no_fusion; /* element-wise operations run one by one, not as one step where that is possible: the
                       numbers are the same */
    const mia_webgpu_options *webgpu;          /* of the webgpu backend; NULL: the defaults */
    const mia_allocator *allocator;            /* copied; NULL: the C library's */
    void (*log)(void *user, const char *line); /* MIA_DEBUG output (docs/debugging.md); NULL: none */
    void *log_user;
    /* Told the share done of runs that take long, every 50 ms at most, by the thread that drives; before that, of
     * constants that a run is the first to load, likewise from 0 to 1; on webgpu the share that was submitted, with the
     * pipelines made. false cancels the run. Must not wait for work of the same device. NULL: none */
    bool (*progress)(void *user, double share);
    void *progress_user;
    /* Told of every step that has run, by the thread that drives (cpu, reference, webgpu, whose
     * steps last 0 where the GPU has no timestamps). Must not use the device. NULL: none, and no step is timed */
    void (*trace)(void *user, const mia_step_event *event);
    void *trace_user;
} mia_device_options;

/* Opens a device. options may be NULL. Blocks. Fails with NOT_FOUND (the message lists the backends),
 * UNSUPPORTED, NO_MEMORY. */
MIA_API MIA_MUST_CHECK mia_status mia_device_open(const mia_device_options *options, mia_device **out,
                                                  mia_error *error);

/* The same, completing later; *out is set when the ticket completes well. Of options, what its texts and objects point to
 * has to stay. On webgpu, natively, the poll that opens the library takes as long as that, some milliseconds or more. */
MIA_API mia_ticket *mia_device_open_begin(const mia_device_options *options, mia_device **out);

/* Cancels all work that is queued or under way, as mia_ticket_cancel does; later work runs as usual. Any thread, and
 * signal handlers: it is one atomic addition. */
MIA_API void mia_device_cancel(mia_device *device);

/* Waits for runs, then frees everything. Handles that are still owned are dropped and reported: status
 * LEAKED, and the message counts them and names where the first were made. Using such a handle afterwards is
 * caught (DEVICE_CLOSED) until the last of them has been given back with mia_unref. NULL is fine. */
MIA_API mia_status mia_device_close(mia_device *device, mia_error *error);

typedef struct mia_device_info {
    const char *backend;
    char description[128]; /* "AVX-512, VNNI; 2 threads" */
    uint32_t threads;
    uint64_t max_bytes;
    mia_precision precision;
    bool no_fusion;
    bool compiles; /* programs for plans, in the background, from when they are first asked for (webgpu) */
    const mia_webgpu_options *webgpu; /* as it was opened, valid as long as the device; NULL: the defaults */
} mia_device_info;

/* What was opened; the name is static text. Any thread; does not block. */
MIA_API mia_device_info mia_device_describe(const mia_device *device);

/* The backends of this build, in order of preference; *count gets their number. Static memory. */
typedef struct mia_backend_info {
    const char *name;
    const char *description;
} mia_backend_info;
MIA_API const mia_backend_info *mia_backends(size_t *count);

/* Counts since the device was opened, and bytes of device memory. */
typedef struct mia_device_counters {
    uint64_t runs;       /* plans run */
    uint64_t kernels;    /* steps run; several that ran as one count once */
    uint64_t plans;      /* plans made */
    uint64_t plan_hits;  /* plans taken from the cache */
    uint64_t handles;    /* owned handles now */
    uint64_t bytes;      /* in use now */
    uint64_t peak_bytes; /* at most, ever */
    uint64_t fallbacks;  /* steps of the cpu backend that ran on reference kernels */
} mia_device_counters;

/* All of them as of one moment. Any thread; waits for nothing but the device's lock. */
MIA_API mia_device_counters mia_device_count(const mia_device *device);

#ifdef __cplusplus
}
#endif
#endif
