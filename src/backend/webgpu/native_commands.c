/* Commands of the native GPU: one encoder a submission, dispatches gathered in passes as long as nothing comes between
 * them. Inside a pass, too, the GPU sees to it that a dispatch reads what the one before has written. */
#include "backend/webgpu/native.h"

/* --- gathering ---------------------------------------------------------------------------------------- */

/* NULL, and the failure noted, when the library makes none. */
static WGPUCommandEncoder encoder_of(mia__native *gpu) {
    if (gpu->lost) return NULL;
    if (gpu->encoder == NULL) {
        gpu->encoder = gpu->library.DeviceCreateCommandEncoder(gpu->device, NULL);
        if (gpu->encoder == NULL)
            mia__native_failure(gpu, MIA_ERROR_INTERNAL,
                                mia__native_view("the library made no command encoder"));
    }
    return gpu->encoder;
}

static void end_pass(mia__native *gpu) {
    if (gpu->pass == NULL) return;
    gpu->library.ComputePassEncoderEnd(gpu->pass);
    gpu->library.ComputePassEncoderRelease(gpu->pass);
    gpu->pass = NULL;
    gpu->pipeline = NULL;
}

static void begin_pass(mia__native *gpu, const WGPUPassTimestampWrites *times) {
    WGPUComputePassDescriptor descriptor = {.timestampWrites = times};
    gpu->pass = gpu->library.CommandEncoderBeginComputePass(gpu->encoder, &descriptor);
}

static bool has_timestamps(const mia__native *gpu) {
    return (gpu->base.info.features & MIA__GPU_TIMESTAMPS) != 0;
}

/* The queries of a submission, and the buffer that they are read from. */
static bool make_queries(mia__native *gpu) {
    if (gpu->queries == NULL) {
        WGPUQuerySetDescriptor set = {.type = WGPUQueryType_Timestamp, .count = 2 * MIA__GPU_MOST_STAMPS};
        gpu->queries = gpu->library.DeviceCreateQuerySet(gpu->device, &set);
    }
    if (gpu->resolved == NULL) {
        WGPUBufferDescriptor buffer = {.usage = MIA__WGPU_BUFFER_QUERY_RESOLVE | MIA__WGPU_BUFFER_COPY_SRC,
                                       .size = 2 * MIA__GPU_MOST_STAMPS * sizeof(uint64_t)};
        gpu->resolved = gpu->library.DeviceCreateBuffer(gpu->device, &buffer);
    }
    return gpu->queries != NULL && gpu->resolved != NULL;
}

void mia__native_dispatch(mia__gpu *base, mia__gpu_pipeline *pipeline, mia__gpu_bindings *bindings,
                          const uint32_t groups[3], int32_t stamp) {
    mia__native *gpu = (mia__native *)base;
    const mia__webgpu_library *library = &gpu->library;
    if (encoder_of(gpu) == NULL) return;
    bool timed = stamp >= 0 && stamp < MIA__GPU_MOST_STAMPS && has_timestamps(gpu) && make_queries(gpu);
    if (timed) {
        end_pass(gpu);
        begin_pass(gpu, &(WGPUPassTimestampWrites){.querySet = gpu->queries,
                                                   .beginningOfPassWriteIndex = 2 * (uint32_t)stamp,
                                                   .endOfPassWriteIndex = 2 * (uint32_t)stamp + 1});
    } else if (gpu->pass == NULL) {
        begin_pass(gpu, NULL);
    }
    if (gpu->pass == NULL) return;
    if (gpu->pipeline != pipeline) library->ComputePassEncoderSetPipeline(gpu->pass, pipeline->pipeline);
    gpu->pipeline = pipeline;
    library->ComputePassEncoderSetBindGroup(gpu->pass, 0, (WGPUBindGroup)(void *)bindings, 0, NULL);
    library->ComputePassEncoderDispatchWorkgroups(gpu->pass, groups[0], groups[1], groups[2]);
    if (timed) end_pass(gpu);
}

void mia__native_copy(mia__gpu *base, mia__gpu_buffer *from, uint64_t from_offset, mia__gpu_buffer *into,
                      uint64_t into_offset, uint64_t bytes) {
    mia__native *gpu = (mia__native *)base;
    if (encoder_of(gpu) == NULL || bytes == 0) return;
    end_pass(gpu);
    gpu->library.CommandEncoderCopyBufferToBuffer(gpu->encoder, (WGPUBuffer)(void *)from, from_offset,
                                                  (WGPUBuffer)(void *)into, into_offset, bytes);
}

void mia__native_stamps(mia__gpu *base, uint32_t count, mia__gpu_buffer *into) {
    mia__native *gpu = (mia__native *)base;
    if (encoder_of(gpu) == NULL || count == 0) return;
    end_pass(gpu);
    uint64_t bytes = 2 * (uint64_t)count * sizeof(uint64_t);
    WGPUBuffer readback = (WGPUBuffer)(void *)into;
    if (!has_timestamps(gpu) || !make_queries(gpu)) {
        gpu->library.CommandEncoderClearBuffer(gpu->encoder, readback, 0, bytes);
        return;
    }
    gpu->library.CommandEncoderResolveQuerySet(gpu->encoder, gpu->queries, 0, 2 * count, gpu->resolved, 0);
    gpu->library.CommandEncoderCopyBufferToBuffer(gpu->encoder, gpu->resolved, 0, readback, 0, bytes);
}

void mia__native_drop_commands(mia__native *gpu) {
    end_pass(gpu);
    if (gpu->encoder != NULL) gpu->library.CommandEncoderRelease(gpu->encoder);
    gpu->encoder = NULL;
}

/* --- submitting --------------------------------------------------------------------------------------- */

static void on_done(WGPUQueueWorkDoneStatus status, WGPUStringView message, void *task, void *unused) {
    (void)unused;
    mia__native_came(task, status == WGPUQueueWorkDoneStatus_Success ? MIA_OK : MIA_ERROR_INTERNAL, message);
}

/* Errors of a program's own device go to the program, not to us. */
static void on_scope(WGPUPopErrorScopeStatus status, WGPUErrorType type, WGPUStringView message, void *user,
                     void *unused) {
    (void)unused;
    mia__native_task *task = user;
    bool well = status != WGPUPopErrorScopeStatus_Success || type == WGPUErrorType_NoError;
    mia__native_came(task, well ? MIA_OK : MIA_ERROR_INTERNAL, message);
}

static void send(mia__native *gpu) {
    end_pass(gpu);
    WGPUCommandBuffer commands = gpu->library.CommandEncoderFinish(gpu->encoder, NULL);
    mia__native_drop_commands(gpu);
    if (commands == NULL) {
        mia__native_failure(gpu, MIA_ERROR_INTERNAL, mia__native_view("the library made no command buffer"));
        return;
    }
    gpu->library.QueueSubmit(gpu->queue, 1, &commands);
    gpu->library.CommandBufferRelease(commands);
}

static void send_watched(mia__native *gpu, mia__native_task *task) {
    gpu->library.DevicePushErrorScope(gpu->device, WGPUErrorFilter_Validation);
    send(gpu);
    task->awaited++;
    (void)gpu->library.DevicePopErrorScope(
        gpu->device, (WGPUPopErrorScopeCallbackInfo){.mode = WGPUCallbackMode_AllowProcessEvents,
                                                     .callback = on_scope,
                                                     .userdata1 = task});
}

void mia__native_submit(mia__gpu *base, mia__gpu_done done, void *user) {
    mia__native *gpu = (mia__native *)base;
    mia__native_task *task = NULL;
    if (done != NULL || !gpu->own) {
        task = mia__native_begin(gpu, MIA__NATIVE_SUBMIT, user);
        if (task == NULL) {
            mia__native_drop_commands(gpu);
            if (done != NULL) done(user, MIA_ERROR_NO_MEMORY, "webgpu: no memory to submit work");
            return;
        }
        task->tell.done = done;
    }
    if (gpu->lost) {
        mia__native_drop_commands(gpu);
        return;
    }
    if (gpu->encoder != NULL) {
        if (gpu->own)
            send(gpu);
        else
            send_watched(gpu, task);
    } else if (
        gpu->unsent) { /* wgpu-native begins what is written, and lets go of its memory, with a submit */
        gpu->library.QueueSubmit(gpu->queue, 0, NULL);
    }
    gpu->unsent = false;
    if (task == NULL) return;
    task->awaited++;
    (void)gpu->library.QueueOnSubmittedWorkDone(
        gpu->queue, (WGPUQueueWorkDoneCallbackInfo){
                        .mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_done, .userdata1 = task});
}
