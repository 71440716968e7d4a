/* What the files of the native GPU share (native_*.c): its struct, and work that the library ends later.
 *
 * The library's callbacks only write down what came; the caller's are called from here, by poll. So nothing of the
 * caller's runs inside the library, and the calls that must look whether they went well may process events. */
#ifndef MIA_BACKEND_WEBGPU_NATIVE_H
#define MIA_BACKEND_WEBGPU_NATIVE_H

#include "backend/webgpu/gpu.h"
#include "backend/webgpu/library.h"

typedef struct mia__native_task mia__native_task;

typedef struct mia__native {
    mia__gpu base;
    mia__webgpu_library library;
    mia_allocator allocator;
    void (*failed)(void *user, mia_status status, const char *message);
    void *user;

    WGPUInstance instance;
    WGPUAdapter adapter; /* NULL with the program's own device */
    WGPUDevice device;
    WGPUQueue queue;
    bool own; /* instance and device are ours */

    /* commands since the last submit */
    WGPUCommandEncoder encoder;
    WGPUComputePassEncoder pass;
    const mia__gpu_pipeline *pipeline; /* that `pass` has set */
    WGPUQuerySet queries;              /* both NULL until a dispatch is timed */
    WGPUBuffer resolved;

    mia__native_task *oldest, *newest;
    mia__native_task *spare; /* for when there is no memory: what was gathered must not get lost */
    bool found;              /* an adapter, with the instance of our own */
    bool loss_awaited; /* our device's callback for its loss, which also comes at its end, has yet to come */
    bool lost;
    bool unsent; /* something was written since the last submit */
    bool closing;
    mia_status failure; /* what `failed` has yet to be told; OK: nothing */
    char failure_message[500];
} mia__native;

struct mia__gpu_pipeline {
    WGPUComputePipeline pipeline;
    WGPUBindGroupLayout layout;
};

/* --- tasks: native_tasks.c -------------------------------------------------------------------------- */

typedef enum mia__native_kind { MIA__NATIVE_SUBMIT, MIA__NATIVE_MAP, MIA__NATIVE_PIPELINE } mia__native_kind;

struct mia__native_task {
    mia__native_task *next, *previous; /* in the order in which they were begun */
    mia__native *gpu;
    mia__native_kind kind;
    uint32_t awaited; /* callbacks of the library that have yet to come */
    bool told;        /* the caller knows how it ended; it stays until `awaited` is 0 */
    bool telling;     /* the caller is being told */
    mia_status status;
    char message[500]; /* empty: none */
    union {
        mia__gpu_done done;
        mia__gpu_mapped mapped;
        mia__gpu_made made;
    } tell;
    void *user;
    WGPUBuffer buffer; /* MAP */
    size_t bytes;
    mia__gpu_pipeline *pipeline; /* PIPELINE */
};

/* NULL without memory. On a lost device it has failed already. */
mia__native_task *mia__native_begin(mia__native *gpu, mia__native_kind kind, void *user);
/* One of the library's callbacks came. Of several failures the first is kept. */
void mia__native_came(mia__native_task *task, mia_status status, WGPUStringView message);
void mia__native_poll(mia__gpu *gpu, bool block);
uint64_t mia__native_now(mia__gpu *gpu);
/* Tells those who still wait, and frees every task: the library will call nobody any more. */
void mia__native_end_tasks(mia__native *gpu);

/* Notices that a program's own device is lost, of which only the program is told. */
void mia__native_look_for_loss(mia__native *gpu);

/* Something failed that no task stands for: `failed` is told at the next poll. */
void mia__native_failure(mia__native *gpu, mia_status status, WGPUStringView message);

/* --- waiting for what the library does at once ------------------------------------------------------ */

/* Processes events until *flag is set. For answers that come without the GPU's doing. */
void mia__native_await(const mia__webgpu_library *library, WGPUInstance instance, const bool *flag);

/* Ends an error scope. OK, or the error, with its message. */
mia_status mia__native_pop_scope(mia__native *gpu, char *message, size_t bytes);

/* A view as text of one line, cut where the room ends. */
void mia__native_text(WGPUStringView view, char *into, size_t bytes);
WGPUStringView mia__native_view(const char *text);

/* --- instances: native_instances.c ------------------------------------------------------------------ */

/* One that nobody else has: kept, or new. NULL with the error set: UNSUPPORTED when the library makes none, and in a child
 * process of one that had an instance, since the threads of drivers stay with the parent. */
WGPUInstance mia__native_instance(const mia__webgpu_library *library, mia_error *error);
/* Keeps it for the next who wants one. The library must have called back for all that was begun with it. */
void mia__native_keep_instance(const mia__webgpu_library *library, WGPUInstance instance);
/* Releases those that are kept, for tests. */
void mia__native_drop_instances(void);

/* --- adapters: native_adapters.c -------------------------------------------------------------------- */

#define MIA__NATIVE_MOST_ADAPTERS 8

typedef struct mia__native_adapter {
    WGPUAdapter adapter;
    mia__gpu_info info; /* limits and features as the adapter offers them */
} mia__native_adapter;

/* Finds the adapters that the library gives: fast ones first, CPUs last. The caller releases them. */
uint32_t mia__native_adapters(const mia__webgpu_library *library, WGPUInstance instance,
                              mia__native_adapter found[MIA__NATIVE_MOST_ADAPTERS]);
/* NOT_FOUND: what to install. */
mia_status mia__native_no_adapter(const mia__webgpu_library *library, mia_error *error);

/* What an adapter offers (device is NULL), or what a device has; of a program's own device the adapter is NULL. */
void mia__native_read_limits(const WGPULimits *from, mia__gpu_limits *into);
void mia__native_read_info(const mia__webgpu_library *library, WGPUAdapter adapter, WGPUDevice device,
                           mia__gpu_info *info);

/* --- objects and commands: native_objects.c, native_pipeline.c, native_commands.c --------------------- */

mia__gpu_buffer *mia__native_buffer(mia__gpu *gpu, uint64_t bytes, mia__gpu_usage usage, mia_error *error);
void mia__native_free_buffer(mia__gpu *gpu, mia__gpu_buffer *buffer);
void mia__native_write(mia__gpu *gpu, mia__gpu_buffer *buffer, uint64_t offset, const void *from,
                       size_t bytes);
void mia__native_map(mia__gpu *gpu, mia__gpu_buffer *buffer, size_t bytes, mia__gpu_mapped mapped,
                     void *user);
void mia__native_unmap(mia__gpu *gpu, mia__gpu_buffer *buffer);

/* Whether the library takes a shader, or with `whole` makes a pipeline of it; for what it offers without saying so. */
bool mia__native_takes(mia__native *gpu, const char *wgsl, bool whole);
void mia__native_pipeline(mia__gpu *gpu, const mia__gpu_shader *shader, mia__gpu_made made, void *user);
void mia__native_free_pipeline(mia__gpu *gpu, mia__gpu_pipeline *pipeline);
mia__gpu_bindings *mia__native_bind(mia__gpu *gpu, mia__gpu_pipeline *pipeline,
                                    const mia__gpu_binding *bindings, uint32_t count);
void mia__native_free_bindings(mia__gpu *gpu, mia__gpu_bindings *bindings);

void mia__native_dispatch(mia__gpu *gpu, mia__gpu_pipeline *pipeline, mia__gpu_bindings *bindings,
                          const uint32_t groups[3], int32_t stamp);
void mia__native_copy(mia__gpu *gpu, mia__gpu_buffer *from, uint64_t from_offset, mia__gpu_buffer *into,
                      uint64_t into_offset, uint64_t bytes);
void mia__native_stamps(mia__gpu *gpu, uint32_t count, mia__gpu_buffer *into);
void mia__native_submit(mia__gpu *gpu, mia__gpu_done done, void *user);
/* Drops what was gathered. */
void mia__native_drop_commands(mia__native *gpu);

#endif
