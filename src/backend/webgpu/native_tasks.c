/* Work that the library ends later (native.h): the list of it, its callers' callbacks, and waiting for the GPU. */
#include "backend/webgpu/native.h"

#include "backend/watch.h"

#include <string.h>
#include <time.h>

/* --- texts -------------------------------------------------------------------------------------------- */

void mia__native_text(WGPUStringView view, char *into, size_t bytes) {
    const char *from = view.data != NULL ? view.data : "";
    size_t length = view.data == NULL || view.length == SIZE_MAX ? strlen(from) : view.length;
    if (length >= bytes) length = bytes - 1;
    size_t end = 0;
    for (size_t i = 0; i < length; i++) { /* a run of blanks and line breaks is one blank */
        bool blank = from[i] == '\n' || from[i] == '\r' || from[i] == '\t' || from[i] == ' ';
        if (!blank)
            into[end++] = from[i];
        else if (end > 0 && into[end - 1] != ' ')
            into[end++] = ' ';
    }
    while (end > 0 && into[end - 1] == ' ') end--;
    into[end] = '\0';
}

WGPUStringView mia__native_view(const char *text) {
    return (WGPUStringView){text, text != NULL ? strlen(text) : 0};
}

/* --- the list ----------------------------------------------------------------------------------------- */

mia__native_task *mia__native_begin(mia__native *gpu, mia__native_kind kind, void *user) {
    mia__native_task *task = mia_allocate_zeroed(&gpu->allocator, 1, sizeof *task);
    if (task == NULL) task = gpu->spare;
    if (task == NULL) return NULL;
    if (task == gpu->spare) gpu->spare = NULL;
    mia__native_look_for_loss(gpu);
    task->gpu = gpu;
    task->kind = kind;
    task->user = user;
    task->status = gpu->lost ? MIA_ERROR_DEVICE_LOST : MIA_OK;
    task->previous = gpu->newest;
    if (gpu->newest != NULL)
        gpu->newest->next = task;
    else
        gpu->oldest = task;
    gpu->newest = task;
    return task;
}

static void free_task(mia__native_task *task) {
    mia__native *gpu = task->gpu;
    mia__native_free_pipeline(&gpu->base, task->pipeline); /* that nobody got */
    if (task->previous != NULL)
        task->previous->next = task->next;
    else
        gpu->oldest = task->next;
    if (task->next != NULL)
        task->next->previous = task->previous;
    else
        gpu->newest = task->previous;
    if (gpu->spare == NULL && !gpu->closing) {
        *task = (mia__native_task){0};
        gpu->spare = task;
    } else {
        mia_release(&gpu->allocator, task, sizeof *task);
    }
}

void mia__native_came(mia__native_task *task, mia_status status, WGPUStringView message) {
    task->awaited--;
    if (status != MIA_OK && task->status == MIA_OK) {
        task->status = status;
        mia__native_text(message, task->message, sizeof task->message);
    }
    /* a lost device's, which ended long ago */
    if (task->told && !task->telling && task->awaited == 0) free_task(task);
}

/* --- telling ------------------------------------------------------------------------------------------ */

/* Calls the caller's callback, which may do anything but close the GPU. */
static void tell(mia__native_task *task) {
    mia__native *gpu = task->gpu;
    if (task->status != MIA_OK) mia__native_look_for_loss(gpu);
    if (task->status != MIA_OK && gpu->lost) task->status = MIA_ERROR_DEVICE_LOST;
    mia_status status = task->status;
    const char *message = status == MIA_OK ? NULL : task->message;
    if (message != NULL && message[0] == '\0')
        message = status == MIA_ERROR_DEVICE_LOST ? gpu->failure_message : mia_status_sentence(status);
    mia__gpu_pipeline *pipeline = NULL;
    const void *memory = NULL;
    switch (task->kind) {
    case MIA__NATIVE_SUBMIT:
        if (task->tell.done != NULL)
            task->tell.done(task->user, status, message);
        else if (status != MIA_OK)
            mia__native_failure(gpu, status, mia__native_view(message));
        break;
    case MIA__NATIVE_MAP:
        if (status == MIA_OK) {
            memory = gpu->library.BufferGetConstMappedRange(task->buffer, 0, task->bytes);
            if (memory == NULL) {
                status = MIA_ERROR_INTERNAL;
                message = "webgpu: the library gave no memory for a buffer that it had mapped";
            }
        }
        task->tell.mapped(task->user, memory, status, message);
        break;
    case MIA__NATIVE_PIPELINE:
        if (status == MIA_OK && task->pipeline->pipeline == NULL) {
            status = MIA_ERROR_INTERNAL;
            message = "webgpu: the library made no pipeline";
        }
        if (status == MIA_OK) {
            pipeline = task->pipeline;
            task->pipeline = NULL;
        }
        task->tell.made(task->user, pipeline, status, message);
        break;
    }
}

/* The oldest task whose caller has something to hear. On a lost device all have. */
static mia__native_task *next_to_tell(const mia__native *gpu) {
    for (mia__native_task *task = gpu->oldest; task != NULL; task = task->next)
        if (!task->told && (task->awaited == 0 || gpu->lost)) return task;
    return NULL;
}

/* Whether anybody was told. */
static bool tell_all(mia__native *gpu) {
    bool told = false;
    if (gpu->failure != MIA_OK) {
        mia_status status = gpu->failure;
        gpu->failure = MIA_OK;
        if (gpu->failed != NULL) gpu->failed(gpu->user, status, gpu->failure_message);
        told = true;
    }
    for (mia__native_task *task; (task = next_to_tell(gpu)) != NULL; told = true) {
        if (task->awaited > 0 && task->status == MIA_OK) task->status = MIA_ERROR_DEVICE_LOST;
        task->told = task->telling = true;
        tell(task);
        task->telling = false;
        if (task->awaited == 0) free_task(task);
    }
    return told;
}

void mia__native_failure(mia__native *gpu, mia_status status, WGPUStringView message) {
    if (gpu->lost || gpu->closing) return;
    gpu->lost = status == MIA_ERROR_DEVICE_LOST;
    if (gpu->failure != MIA_OK && !gpu->lost) return; /* the first says most */
    gpu->failure = status;
    mia__native_text(message, gpu->failure_message, sizeof gpu->failure_message);
}

void mia__native_look_for_loss(mia__native *gpu) {
    const mia__webgpu_library *library = &gpu->library;
    if (gpu->own || gpu->lost || library->DeviceGetLostFuture == NULL || library->InstanceWaitAny == NULL)
        return;
    WGPUFutureWaitInfo loss = {.future = library->DeviceGetLostFuture(gpu->device)};
    if (loss.future.id != 0 &&
        library->InstanceWaitAny(gpu->instance, 1, &loss, 0) == WGPUWaitStatus_Success && loss.completed != 0)
        mia__native_failure(gpu, MIA_ERROR_DEVICE_LOST, mia__native_view("the program's device is lost"));
}

void mia__native_end_tasks(mia__native *gpu) {
    for (mia__native_task *task = gpu->oldest; task != NULL; task = task->next) {
        task->awaited = 0;
        if (task->status == MIA_OK && !task->told) task->status = MIA_ERROR_CANCELLED;
    }
    (void)tell_all(gpu);
    while (gpu->oldest != NULL) free_task(gpu->oldest); /* told before the end came */
    mia_release(&gpu->allocator, gpu->spare, sizeof *gpu->spare);
    gpu->spare = NULL;
}

/* --- waiting ------------------------------------------------------------------------------------------ */

uint64_t mia__native_now(mia__gpu *gpu) {
    (void)gpu;
    return mia__nanoseconds();
}

/* First none at all, since the GPU is often done in microseconds; then as long as would add a thirty-second to the
 * wait, at most a millisecond. */
static void wait_a_little(uint64_t since) {
    uint64_t waited = mia__nanoseconds() - since;
    if (waited < 50000) return;
    uint64_t pause = waited / 32;
    if (pause > 1000000) pause = 1000000;
    (void)nanosleep(&(struct timespec){.tv_nsec = (long)pause}, NULL);
}

void mia__native_await(const mia__webgpu_library *library, WGPUInstance instance, const bool *flag) {
    const volatile bool *set = flag; /* by a callback */
    for (uint64_t since = mia__nanoseconds(); !*set; wait_a_little(since))
        library->InstanceProcessEvents(instance);
}

static bool under_way(const mia__native *gpu) {
    for (const mia__native_task *task = gpu->oldest; task != NULL; task = task->next)
        if (!task->told) return true;
    return false;
}

void mia__native_poll(mia__gpu *base, bool block) {
    mia__native *gpu = (mia__native *)base;
    bool told = tell_all(gpu);
    for (uint64_t since = mia__nanoseconds();; wait_a_little(since)) {
        gpu->library.InstanceProcessEvents(gpu->instance);
        if (tell_all(gpu) || told || !block || !under_way(gpu)) return;
    }
}

typedef struct scope {
    bool ended;
    WGPUErrorType type;
    char *message;
    size_t bytes;
} scope;

static void on_scope(WGPUPopErrorScopeStatus status, WGPUErrorType type, WGPUStringView message, void *user,
                     void *unused) {
    (void)unused;
    scope *popped = user;
    popped->type = status == WGPUPopErrorScopeStatus_Success ? type : WGPUErrorType_NoError;
    mia__native_text(message, popped->message, popped->bytes);
    popped->ended = true;
}

mia_status mia__native_pop_scope(mia__native *gpu, char *message, size_t bytes) {
    scope popped = {.message = message, .bytes = bytes};
    (void)gpu->library.DevicePopErrorScope(
        gpu->device, (WGPUPopErrorScopeCallbackInfo){.mode = WGPUCallbackMode_AllowProcessEvents,
                                                     .callback = on_scope,
                                                     .userdata1 = &popped});
    mia__native_await(&gpu->library, gpu->instance, &popped.ended);
    switch (popped.type) {
    case WGPUErrorType_NoError: return MIA_OK;
    case WGPUErrorType_OutOfMemory: return MIA_ERROR_NO_MEMORY;
    default: return MIA_ERROR_INTERNAL;
    }
}
