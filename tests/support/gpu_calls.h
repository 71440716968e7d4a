/* The seam's calls (backend/webgpu/gpu.h) as tests like them: each waits for its end, and says how that was. */
#ifndef MIA_TEST_SUPPORT_GPU_CALLS_H
#define MIA_TEST_SUPPORT_GPU_CALLS_H

#include "backend/webgpu/gpu.h"

#include <stdio.h>
#include <string.h>

/* How something ended, and how often it did; and what `failed` was told. */
typedef struct gpu_end {
    int times;
    mia_status status;
    char message[500];
    mia__gpu_pipeline *pipeline;
    const void *memory;
} gpu_end;

static inline void gpu_end_note(gpu_end *end, mia_status status, const char *message) {
    end->times++;
    end->status = status;
    (void)snprintf(end->message, sizeof end->message, "%s", message != NULL ? message : "");
}

static inline void gpu_on_done(void *user, mia_status status, const char *message) {
    gpu_end_note(user, status, message);
}

static inline void gpu_on_made(void *user, mia__gpu_pipeline *pipeline, mia_status status,
                               const char *message) {
    gpu_end *end = user;
    end->pipeline = pipeline;
    gpu_end_note(end, status, message);
}

static inline void gpu_on_mapped(void *user, const void *memory, mia_status status, const char *message) {
    gpu_end *end = user;
    end->memory = memory;
    gpu_end_note(end, status, message);
}

static inline void gpu_await(mia__gpu *gpu, const gpu_end *end) {
    while (end->times == 0) gpu->type->poll(gpu, true);
}

/* NULL, and *end filled, when it does not open. `failed` gets what goes wrong later. */
static inline mia__gpu *gpu_open(const mia__gpu_type *type, const mia_webgpu_options *options,
                                 const mia_allocator *allocator, gpu_end *failed, gpu_end *end) {
    mia__gpu *gpu = NULL;
    *failed = *end = (gpu_end){0};
    type->open(
        &(mia__gpu_request){
            .options = options, .allocator = allocator, .failed = gpu_on_done, .user = failed},
        &gpu, gpu_on_done, end);
    return gpu;
}

/* A shader whose bindings are those of `access`: 'r', 'w' (read_write) and 'p' (parameters). */
static inline gpu_end gpu_make(mia__gpu *gpu, const char *wgsl, const char *access) {
    gpu_end end = {0};
    mia__gpu_shader shader = {.label = "test", .wgsl = wgsl, .binding_count = (uint32_t)strlen(access)};
    for (uint32_t i = 0; i < shader.binding_count; i++)
        shader.access[i] = access[i] == 'r'   ? MIA__GPU_READ
                           : access[i] == 'w' ? MIA__GPU_READ_WRITE
                                              : MIA__GPU_PARAMETERS;
    gpu->type->pipeline(gpu, &shader, gpu_on_made, &end);
    gpu_await(gpu, &end);
    return end;
}

/* Copies `bytes` of a STORAGE buffer into `into`; OK, or how it failed. */
static inline mia_status gpu_read(mia__gpu *gpu, mia__gpu_buffer *buffer, uint64_t offset, void *into,
                                  size_t bytes) {
    gpu_end end = {0};
    mia__gpu_buffer *readback = gpu->type->buffer(gpu, bytes, MIA__GPU_READBACK, NULL);
    if (readback == NULL) return MIA_ERROR_NO_MEMORY;
    gpu->type->copy(gpu, buffer, offset, readback, 0, bytes);
    gpu->type->submit(gpu, NULL, NULL);
    gpu->type->map(gpu, readback, bytes, gpu_on_mapped, &end);
    gpu_await(gpu, &end);
    if (end.status == MIA_OK) memcpy(into, end.memory, bytes);
    gpu->type->unmap(gpu, readback);
    gpu->type->free_buffer(gpu, readback);
    return end.status;
}

#endif
