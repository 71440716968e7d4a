/* Buffers of the native GPU: making, writing, mapping. A mia__gpu_buffer is the library's own buffer. */
#include "backend/webgpu/native.h"

#include <inttypes.h>

static WGPUBuffer of(mia__gpu_buffer *buffer) {
    return (WGPUBuffer)(void *)buffer;
}

/* An error while making a buffer goes to the innermost scope that takes its kind. */
mia__gpu_buffer *mia__native_buffer(mia__gpu *base, uint64_t bytes, mia__gpu_usage usage, mia_error *error) {
    static const WGPUFlags usages[] = {
        [MIA__GPU_STORAGE] = MIA__WGPU_BUFFER_STORAGE | MIA__WGPU_BUFFER_COPY_SRC | MIA__WGPU_BUFFER_COPY_DST,
        [MIA__GPU_UNIFORM] = MIA__WGPU_BUFFER_UNIFORM | MIA__WGPU_BUFFER_COPY_DST,
        [MIA__GPU_READBACK] = MIA__WGPU_BUFFER_MAP_READ | MIA__WGPU_BUFFER_COPY_DST,
    };
    mia__native *gpu = (mia__native *)base;
    const mia__webgpu_library *library = &gpu->library;
    if (gpu->lost) {
        (void)mia_error_set(error, MIA_ERROR_DEVICE_LOST, "webgpu: %s", gpu->failure_message);
        return NULL;
    }
    if (bytes > base->info.limits.buffer_bytes) {
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY,
                            "webgpu: a buffer of %" PRIu64 " bytes; %s takes at most %" PRIu64, bytes,
                            base->info.name, base->info.limits.buffer_bytes);
        return NULL;
    }
    WGPUBufferDescriptor descriptor = {.usage = usages[usage], .size = (bytes + 3) & ~(uint64_t)3};
    char invalid[300] = "", short_of[300] = "";
    library->DevicePushErrorScope(gpu->device, WGPUErrorFilter_Validation);
    library->DevicePushErrorScope(gpu->device, WGPUErrorFilter_OutOfMemory);
    WGPUBuffer buffer = library->DeviceCreateBuffer(gpu->device, &descriptor);
    mia_status status = mia__native_pop_scope(gpu, short_of, sizeof short_of);
    mia_status other = mia__native_pop_scope(gpu, invalid, sizeof invalid);
    if (buffer != NULL && status == MIA_OK && other == MIA_OK && !gpu->lost)
        return (mia__gpu_buffer *)(void *)buffer;
    if (buffer != NULL) library->BufferRelease(buffer);
    if (gpu->lost)
        (void)mia_error_set(error, MIA_ERROR_DEVICE_LOST, "webgpu: %s", gpu->failure_message);
    else
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "webgpu: a buffer of %" PRIu64 " bytes: %s", bytes,
                            status != MIA_OK  ? short_of
                            : other != MIA_OK ? invalid
                                              : "the library made none");
    return NULL;
}

void mia__native_free_buffer(mia__gpu *base, mia__gpu_buffer *buffer) {
    mia__native *gpu = (mia__native *)base;
    if (buffer == NULL) return;
    gpu->library.BufferDestroy(of(buffer)); /* its memory goes now, and not when the last bindings do */
    gpu->library.BufferRelease(of(buffer));
}

void mia__native_write(mia__gpu *base, mia__gpu_buffer *buffer, uint64_t offset, const void *from,
                       size_t bytes) {
    mia__native *gpu = (mia__native *)base;
    if (gpu->lost || bytes == 0) return;
    gpu->unsent = true;
    gpu->library.QueueWriteBuffer(gpu->queue, of(buffer), offset, from, bytes);
}

static void on_mapped(WGPUMapAsyncStatus status, WGPUStringView message, void *task, void *unused) {
    (void)unused;
    mia__native_came(task, status == WGPUMapAsyncStatus_Success ? MIA_OK : MIA_ERROR_INTERNAL, message);
}

void mia__native_map(mia__gpu *base, mia__gpu_buffer *buffer, size_t bytes, mia__gpu_mapped mapped,
                     void *user) {
    mia__native *gpu = (mia__native *)base;
    mia__native_task *task = mia__native_begin(gpu, MIA__NATIVE_MAP, user);
    if (task == NULL) {
        mapped(user, NULL, MIA_ERROR_NO_MEMORY, "webgpu: no memory to map a buffer");
        return;
    }
    task->tell.mapped = mapped;
    task->buffer = of(buffer);
    task->bytes = (bytes + 3) & ~(size_t)3;
    if (task->status != MIA_OK) return;
    task->awaited = 1;
    (void)gpu->library.BufferMapAsync(of(buffer), MIA__WGPU_MAP_READ, 0, task->bytes,
                                      (WGPUBufferMapCallbackInfo){.mode = WGPUCallbackMode_AllowProcessEvents,
                                                                  .callback = on_mapped,
                                                                  .userdata1 = task});
}

void mia__native_unmap(mia__gpu *base, mia__gpu_buffer *buffer) {
    mia__native *gpu = (mia__native *)base;
    if (!gpu->lost) gpu->library.BufferUnmap(of(buffer));
}
