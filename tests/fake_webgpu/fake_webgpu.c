/* A library with webgpu.h's functions that computes nothing, for tests of how Mia gets on with the libraries there are.
 * Built once for each dialect:
 *   FAKE_DAWN        Dawn as it is now
 *   FAKE_DAWN_2025   Dawn of June 2025: older feature numbers
 *   FAKE_NATIVE      wgpu-native: futures are all zero, some callbacks come inside the call, and what it exports without
 *                    implementing ends the program
 *   FAKE_LACKING     none: a function is missing
 * Objects are counted, buffers have memory, and what takes time ends in wgpuInstanceProcessEvents. */
#include "fake_webgpu/fake_webgpu.h"

#include "backend/webgpu/abi.h"
#include "backend/webgpu/library.h"

#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT fake_state fake;

/* So the compiler compares every function with abi.h's type of it. */
#define DECLARE(function, result, parameters) EXPORT result wgpu##function parameters;
MIA__WGPU_REQUIRED(DECLARE)
MIA__WGPU_OPTIONAL(DECLARE)

typedef struct event {
    struct event *next;
    void (*happen)(struct event *event);
    void *callback, *user1, *user2, *object;
    int status, type;
    const char *message;
} event;

typedef struct object {
    uint32_t references, magic;
    uint8_t *memory; /* of buffers */
    uint64_t bytes;
    bool mapped, invalid;
    uint32_t number;                 /* of adapters */
    WGPUDeviceLostCallbackInfo loss; /* of devices: no callback once it is on its way */
} object;

enum { MAGIC = 0x6661 };

static event *events;
static struct {
    WGPUErrorFilter filter;
    WGPUErrorType type;
    const char *message;
} scopes[8];
static uint32_t scope_count, submits;
static bool lost;
static WGPUDeviceDescriptor device_descriptor; /* of the newest device */
static object *newest;

/* --- objects and events ------------------------------------------------------------------------------- */

static void *new_object(void) {
    object *made = calloc(1, sizeof *made);
    if (made == NULL) abort();
    *made = (object){.references = 1, .magic = MAGIC};
    fake.live++;
    return made;
}

static object *of(void *handle) {
    object *o = handle;
    if (o == NULL || o->magic != MAGIC) {
        fake.faults++;
        abort();
    }
    return o;
}

static void release(void *handle) {
    object *o = of(handle);
    if (--o->references > 0) return;
    o->magic = 0;
    free(o->memory);
    free(o);
    fake.live--;
}

static WGPUStringView view(const char *text) {
    return (WGPUStringView){text, text != NULL ? strlen(text) : 0};
}

static WGPUFuture later(event what) {
    event *item = malloc(sizeof *item), **end = &events;
    if (item == NULL) abort();
    *item = what;
    item->next = NULL;
    while (*end != NULL) end = &(*end)->next;
    *end = item;
#ifdef FAKE_NATIVE
    return (WGPUFuture){0};
#else
    return (WGPUFuture){1};
#endif
}

/* What wgpu-native does inside the call. */
static WGPUFuture soon(event what) {
#ifdef FAKE_NATIVE
    what.happen(&what);
    return (WGPUFuture){0};
#else
    return later(what);
#endif
}

static void fail(WGPUErrorType type, const char *message) {
    for (uint32_t i = scope_count; i-- > 0;) {
        if ((int)scopes[i].filter + 1 != (int)type) continue; /* filters count as types do, from one less */
        if (scopes[i].type == WGPUErrorType_NoError) {
            scopes[i].type = type;
            scopes[i].message = message;
        }
        return;
    }
    const WGPUUncapturedErrorCallbackInfo *info = &device_descriptor.uncapturedErrorCallbackInfo;
    if (info->callback != NULL) info->callback(NULL, type, view(message), info->userdata1, info->userdata2);
}

static void tell_lost(event *item) {
    WGPUDeviceLostCallback callback;
    memcpy(&callback, &item->callback, sizeof callback);
    callback(NULL, (WGPUDeviceLostReason)item->status, view(item->message), item->user1, item->user2);
}

static void lose(object *device, int reason, const char *message) {
    const WGPUDeviceLostCallbackInfo *info = &device->loss;
    if (info->callback == NULL) return;
    event item = {.happen = tell_lost,
                  .user1 = info->userdata1,
                  .user2 = info->userdata2,
                  .status = reason,
                  .message = message};
    memcpy(&item.callback, &info->callback, sizeof item.callback);
    device->loss.callback = NULL;
    (void)later(item);
}

static void look_for_toggles(const WGPUChainedStruct *chain) {
    for (; chain != NULL; chain = chain->next)
        if (chain->sType == (WGPUSType)MIA__DAWN_TOGGLES) fake.toggles++;
}

EXPORT void wgpuInstanceProcessEvents(WGPUInstance instance) {
    (void)of(instance);
    event *due = events; /* what these begin is for the next call */
    events = NULL;
    while (due != NULL) {
        event *item = due;
        due = item->next;
        item->happen(item);
        free(item);
    }
}

/* --- instance and adapters ---------------------------------------------------------------------------- */

EXPORT WGPUInstance wgpuCreateInstance(const WGPUInstanceDescriptor *descriptor) {
    look_for_toggles(descriptor->nextInChain);
    fake.instances++;
    return new_object();
}

EXPORT void wgpuInstanceRelease(WGPUInstance instance) {
    release(instance);
    for (event *item; (item = events) != NULL; free(item))
        events = item->next; /* nobody is called any more */
}

static void give_adapter(event *item) {
    WGPURequestAdapterCallback callback;
    memcpy(&callback, &item->callback, sizeof callback);
    callback((WGPURequestAdapterStatus)item->status, item->object, view(item->message), item->user1,
             item->user2);
}

EXPORT WGPUFuture wgpuInstanceRequestAdapter(WGPUInstance instance, const WGPURequestAdapterOptions *options,
                                             WGPURequestAdapterCallbackInfo info) {
    (void)of(instance);
    look_for_toggles(options->nextInChain);
    event item = {.happen = give_adapter,
                  .user1 = info.userdata1,
                  .user2 = info.userdata2,
                  .status = 3,
                  .message = "fake: no such adapter"};
    memcpy(&item.callback, &info.callback, sizeof item.callback);
    uint32_t wanted = options->forceFallbackAdapter != 0                         ? 2
                      : options->powerPreference == WGPUPowerPreference_LowPower ? 1
                                                                                 : 0;
    if (wanted < fake.adapter_count) {
        object *adapter = new_object();
        adapter->number = wanted;
        item.object = adapter;
        item.status = WGPURequestAdapterStatus_Success;
        item.message = NULL;
    }
    return soon(item);
}

EXPORT WGPUStatus wgpuAdapterGetInfo(WGPUAdapter adapter, WGPUAdapterInfo *info) {
    uint32_t number = of(adapter)->number;
    if (info->nextInChain != NULL && info->nextInChain->sType == (WGPUSType)MIA__DAWN_MATRICES) {
        mia__dawn_matrices *matrices = (mia__dawn_matrices *)info->nextInChain;
        matrices->count = fake.matrix_count;
        matrices->list = (const mia__dawn_matrix *)fake.matrix_list;
    }
    info->device = view(fake.adapters[number].name);
    info->description = view("fake driver");
    info->adapterType = (WGPUAdapterType)fake.adapters[number].type;
    info->backendType = WGPUBackendType_Vulkan;
    info->subgroupMinSize = info->subgroupMaxSize = 32;
    return WGPUStatus_Success;
}

EXPORT void wgpuAdapterInfoFreeMembers(WGPUAdapterInfo info) {
    (void)info;
}

static WGPULimits limits(void) {
    return (WGPULimits){.maxBufferSize = 1 << 30,
                        .maxStorageBufferBindingSize = 1 << 29,
                        .maxUniformBufferBindingSize = 65536,
                        .maxStorageBuffersPerShaderStage = 10,
                        .minStorageBufferOffsetAlignment = 32,
                        .minUniformBufferOffsetAlignment = 64,
                        .maxComputeWorkgroupStorageSize = 49152,
                        .maxComputeInvocationsPerWorkgroup = 1024,
                        .maxComputeWorkgroupSizeX = 1024,
                        .maxComputeWorkgroupSizeY = 512,
                        .maxComputeWorkgroupSizeZ = 64,
                        .maxComputeWorkgroupsPerDimension = 65535};
}

EXPORT WGPUStatus wgpuAdapterGetLimits(WGPUAdapter adapter, WGPULimits *into) {
    (void)of(adapter);
    *into = limits();
    return WGPUStatus_Success;
}

EXPORT WGPUBool wgpuAdapterHasFeature(WGPUAdapter adapter, WGPUFeatureName feature) {
    const uint32_t *list = fake.adapters[of(adapter)->number].features;
    for (; *list != 0; list++)
        if (*list == (uint32_t)feature) return 1;
    return 0;
}

EXPORT void wgpuAdapterRelease(WGPUAdapter adapter) {
    release(adapter);
}

/* --- the device --------------------------------------------------------------------------------------- */

static void give_device(event *item) {
    WGPURequestDeviceCallback callback;
    memcpy(&callback, &item->callback, sizeof callback);
    callback((WGPURequestDeviceStatus)item->status, item->object, view(item->message), item->user1,
             item->user2);
}

EXPORT WGPUFuture wgpuAdapterRequestDevice(WGPUAdapter adapter, const WGPUDeviceDescriptor *descriptor,
                                           WGPURequestDeviceCallbackInfo info) {
    (void)of(adapter);
    look_for_toggles(descriptor->nextInChain);
    device_descriptor = *descriptor;
    lost = false;
    submits = 0;
    memset(fake.asked_features, 0, sizeof fake.asked_features);
    for (size_t i = 0; i < descriptor->requiredFeatureCount; i++) {
        fake.asked_features[i] = (uint32_t)descriptor->requiredFeatures[i];
        if (wgpuAdapterHasFeature(adapter, descriptor->requiredFeatures[i]) == 0) fake.faults++;
    }
    fake.asked_limits = descriptor->requiredLimits != NULL;
    event item = {.happen = give_device,
                  .user1 = info.userdata1,
                  .user2 = info.userdata2,
                  .status = WGPURequestDeviceStatus_Success};
    memcpy(&item.callback, &info.callback, sizeof item.callback);
    if (fake.no_device) {
        item.status = 3;
        item.message = "fake: told to give no device";
    } else {
        newest = new_object();
        newest->loss = descriptor->deviceLostCallbackInfo;
        item.object = newest;
    }
    return soon(item);
}

EXPORT WGPUStatus wgpuDeviceGetLimits(WGPUDevice device, WGPULimits *into) {
    (void)of(device);
    *into = limits();
    return WGPUStatus_Success;
}

EXPORT WGPUBool wgpuDeviceHasFeature(WGPUDevice device, WGPUFeatureName feature) {
    (void)of(device);
    for (int i = 0; i < 8; i++)
        if (fake.asked_features[i] == (uint32_t)feature) return 1;
    return 0;
}

EXPORT WGPUQueue wgpuDeviceGetQueue(WGPUDevice device) {
    (void)of(device);
    return new_object();
}

EXPORT void wgpuDeviceDestroy(WGPUDevice device) {
    object *ended = of(device);
#ifdef FAKE_NATIVE
    ended->loss.callback = NULL; /* not every library says so */
#else
    lose(ended, 2, "fake: destroyed");
#endif
}

EXPORT void wgpuDeviceRelease(WGPUDevice device) {
    release(device);
}

EXPORT void wgpuDevicePushErrorScope(WGPUDevice device, WGPUErrorFilter filter) {
    (void)of(device);
    scopes[scope_count].filter = filter;
    scopes[scope_count].type = WGPUErrorType_NoError;
    scopes[scope_count++].message = NULL;
}

static void give_scope(event *item) {
    WGPUPopErrorScopeCallback callback;
    memcpy(&callback, &item->callback, sizeof callback);
    callback(WGPUPopErrorScopeStatus_Success, (WGPUErrorType)item->type, view(item->message), item->user1,
             item->user2);
}

EXPORT WGPUFuture wgpuDevicePopErrorScope(WGPUDevice device, WGPUPopErrorScopeCallbackInfo info) {
    (void)of(device);
    scope_count--;
    event item = {.happen = give_scope,
                  .user1 = info.userdata1,
                  .user2 = info.userdata2,
                  .type = (int)scopes[scope_count].type,
                  .message = scopes[scope_count].message};
    memcpy(&item.callback, &info.callback, sizeof item.callback);
    return soon(item);
}

/* --- buffers ------------------------------------------------------------------------------------------ */

EXPORT WGPUBuffer wgpuDeviceCreateBuffer(WGPUDevice device, const WGPUBufferDescriptor *descriptor) {
    (void)of(device);
    object *buffer = new_object();
    if (descriptor->size > fake.memory) {
        fail(WGPUErrorType_OutOfMemory, "fake: out of memory");
        return (WGPUBuffer)buffer;
    }
    buffer->bytes = descriptor->size;
    buffer->memory = calloc(1, descriptor->size + 1);
    return (WGPUBuffer)buffer;
}

static void give_mapped(event *item) {
    WGPUBufferMapCallback callback;
    memcpy(&callback, &item->callback, sizeof callback);
    object *buffer = of(item->object);
    buffer->mapped = !lost;
    callback((WGPUMapAsyncStatus)(lost ? 3 : 1), view(lost ? "fake: lost" : NULL), item->user1, item->user2);
    release(buffer);
}

EXPORT WGPUFuture wgpuBufferMapAsync(WGPUBuffer buffer, WGPUFlags mode, size_t offset, size_t size,
                                     WGPUBufferMapCallbackInfo info) {
    object *mapped = of(buffer);
    if (mode != MIA__WGPU_MAP_READ || offset + size > mapped->bytes || size % 4 != 0) fake.faults++;
    mapped->references++;
    event item = {.happen = give_mapped, .user1 = info.userdata1, .user2 = info.userdata2, .object = mapped};
    memcpy(&item.callback, &info.callback, sizeof item.callback);
    return later(item);
}

EXPORT const void *wgpuBufferGetConstMappedRange(WGPUBuffer buffer, size_t offset, size_t size) {
    object *mapped = of(buffer);
    if (!mapped->mapped || offset + size > mapped->bytes) return NULL;
    return mapped->memory + offset;
}

EXPORT void wgpuBufferUnmap(WGPUBuffer buffer) {
    of(buffer)->mapped = false;
}

EXPORT void wgpuBufferDestroy(WGPUBuffer buffer) {
    (void)of(buffer);
}

EXPORT void wgpuBufferRelease(WGPUBuffer buffer) {
    release(buffer);
}

EXPORT void wgpuQueueWriteBuffer(WGPUQueue queue, WGPUBuffer buffer, uint64_t offset, const void *data,
                                 size_t size) {
    (void)of(queue);
    object *into = of(buffer);
    if (offset + size > into->bytes)
        fail(WGPUErrorType_Validation, "fake: a write past the end");
    else
        memcpy(into->memory + offset, data, size);
}

/* --- shaders and pipelines ---------------------------------------------------------------------------- */

EXPORT WGPUShaderModule wgpuDeviceCreateShaderModule(WGPUDevice device,
                                                     const WGPUShaderModuleDescriptor *descriptor) {
    (void)of(device);
    const WGPUShaderSourceWGSL *source = (const WGPUShaderSourceWGSL *)descriptor->nextInChain;
    object *module = new_object();
    if (source == NULL || source->chain.sType != WGPUSType_ShaderSourceWGSL || source->code.length == 0) {
        fake.faults++;
        return (WGPUShaderModule)module;
    }
    module->invalid = strstr(source->code.data, "nonsense") != NULL ||
                      (fake.no_packed && strstr(source->code.data, "packed_4x8") != NULL);
    if (module->invalid) fail(WGPUErrorType_Validation, "fake: nonsense at 1:1");
    return (WGPUShaderModule)module;
}

static WGPUComputePipeline make_pipeline(const WGPUComputePipelineDescriptor *descriptor, bool *invalid) {
    (void)of(descriptor->layout);
    *invalid = of(descriptor->compute.module)->invalid;
    return new_object();
}

EXPORT WGPUComputePipeline wgpuDeviceCreateComputePipeline(WGPUDevice device,
                                                           const WGPUComputePipelineDescriptor *descriptor) {
    (void)of(device);
    bool invalid;
    fake.pipelines++;
    WGPUComputePipeline made = make_pipeline(descriptor, &invalid);
    if (invalid) fail(WGPUErrorType_Validation, "fake: an invalid module");
    return made;
}

static void give_pipeline(event *item) {
    WGPUCreateComputePipelineAsyncCallback callback;
    memcpy(&callback, &item->callback, sizeof callback);
    callback((WGPUCreatePipelineAsyncStatus)item->status, item->object, view(item->message), item->user1,
             item->user2);
}

EXPORT WGPUFuture wgpuDeviceCreateComputePipelineAsync(WGPUDevice device,
                                                       const WGPUComputePipelineDescriptor *descriptor,
                                                       WGPUCreateComputePipelineAsyncCallbackInfo info) {
    (void)of(device);
#ifdef FAKE_NATIVE
    abort(); /* as wgpu-native does, which exports this function and panics in it: it must not be called */
#endif
    bool invalid;
    fake.async_pipelines++;
    WGPUComputePipeline made = make_pipeline(descriptor, &invalid);
    event item = {.happen = give_pipeline,
                  .user1 = info.userdata1,
                  .user2 = info.userdata2,
                  .status = WGPUCreatePipelineAsyncStatus_Success,
                  .object = made};
    memcpy(&item.callback, &info.callback, sizeof item.callback);
    if (invalid) {
        release(made);
        item.object = NULL;
        item.status = 3;
        item.message = "fake: an invalid module";
    }
    return later(item);
}

/* --- what is only made and released ------------------------------------------------------------------- */

#define MADE(name, result, descriptor)                                                                       \
    EXPORT result name(WGPUDevice device, const descriptor *unused) {                                        \
        (void)of(device);                                                                                    \
        (void)unused;                                                                                        \
        return new_object();                                                                                 \
    }
MADE(wgpuDeviceCreateBindGroupLayout, WGPUBindGroupLayout, WGPUBindGroupLayoutDescriptor)
MADE(wgpuDeviceCreatePipelineLayout, WGPUPipelineLayout, WGPUPipelineLayoutDescriptor)
MADE(wgpuDeviceCreateBindGroup, WGPUBindGroup, WGPUBindGroupDescriptor)
MADE(wgpuDeviceCreateCommandEncoder, WGPUCommandEncoder, void)
MADE(wgpuDeviceCreateQuerySet, WGPUQuerySet, WGPUQuerySetDescriptor)

#define RELEASED(name, type)                                                                                 \
    EXPORT void name(type handle) {                                                                          \
        release(handle);                                                                                     \
    }
RELEASED(wgpuBindGroupLayoutRelease, WGPUBindGroupLayout)
RELEASED(wgpuPipelineLayoutRelease, WGPUPipelineLayout)
RELEASED(wgpuBindGroupRelease, WGPUBindGroup)
RELEASED(wgpuQuerySetRelease, WGPUQuerySet)
RELEASED(wgpuShaderModuleRelease, WGPUShaderModule)
RELEASED(wgpuComputePipelineRelease, WGPUComputePipeline)
RELEASED(wgpuCommandEncoderRelease, WGPUCommandEncoder)
RELEASED(wgpuCommandBufferRelease, WGPUCommandBuffer)
RELEASED(wgpuComputePassEncoderRelease, WGPUComputePassEncoder)
#ifndef FAKE_LACKING
RELEASED(wgpuQueueRelease, WGPUQueue)
#endif

/* --- commands: copies take place at once, the rest not at all ----------------------------------------- */

EXPORT WGPUComputePassEncoder
wgpuCommandEncoderBeginComputePass(WGPUCommandEncoder encoder, const WGPUComputePassDescriptor *descriptor) {
    (void)of(encoder);
    if (descriptor->timestampWrites != NULL) (void)of(descriptor->timestampWrites->querySet);
    return new_object();
}

EXPORT void wgpuComputePassEncoderSetPipeline(WGPUComputePassEncoder pass, WGPUComputePipeline pipeline) {
    (void)of(pass);
    (void)of(pipeline);
}

EXPORT void wgpuComputePassEncoderSetBindGroup(WGPUComputePassEncoder pass, uint32_t index,
                                               WGPUBindGroup group, size_t count, const uint32_t *offsets) {
    (void)of(pass);
    (void)of(group);
    (void)offsets;
    if (index != 0 || count != 0) fake.faults++;
}

EXPORT void wgpuComputePassEncoderDispatchWorkgroups(WGPUComputePassEncoder pass, uint32_t x, uint32_t y,
                                                     uint32_t z) {
    (void)of(pass);
    if (x > 65535 || y > 65535 || z > 65535) fake.faults++;
}

EXPORT void wgpuComputePassEncoderEnd(WGPUComputePassEncoder pass) {
    (void)of(pass);
}

EXPORT void wgpuCommandEncoderCopyBufferToBuffer(WGPUCommandEncoder encoder, WGPUBuffer source,
                                                 uint64_t source_offset, WGPUBuffer destination,
                                                 uint64_t destination_offset, uint64_t size) {
    (void)of(encoder);
    const object *from = of(source), *into = of(destination);
    if (source_offset + size > from->bytes || destination_offset + size > into->bytes)
        fake.faults++;
    else
        memcpy(into->memory + destination_offset, from->memory + source_offset, size);
}

EXPORT void wgpuCommandEncoderClearBuffer(WGPUCommandEncoder encoder, WGPUBuffer buffer, uint64_t offset,
                                          uint64_t size) {
    (void)of(encoder);
    const object *into = of(buffer);
    if (offset + size <= into->bytes) memset(into->memory + offset, 0, size);
}

EXPORT void wgpuCommandEncoderResolveQuerySet(WGPUCommandEncoder encoder, WGPUQuerySet set, uint32_t first,
                                              uint32_t count, WGPUBuffer destination, uint64_t offset) {
    (void)of(encoder);
    (void)of(set);
    const object *into = of(destination);
    if (first != 0 || offset + 8 * (uint64_t)count > into->bytes) fake.faults++;
}

EXPORT WGPUCommandBuffer wgpuCommandEncoderFinish(WGPUCommandEncoder encoder, const void *descriptor) {
    (void)of(encoder);
    (void)descriptor;
    return new_object();
}

EXPORT void wgpuQueueSubmit(WGPUQueue queue, size_t count, const WGPUCommandBuffer *commands) {
    (void)of(queue);
    for (size_t i = 0; i < count; i++) (void)of(commands[i]);
    fake.submits++;
    if (fake.break_submit) fail(WGPUErrorType_Validation, "fake: told to break this submit");
    fake.break_submit = false;
    if (++submits == fake.lose_at) {
        lost = true;
        lose(newest, 1, "fake: the GPU fell off the bus");
    }
}

static void give_done(event *item) {
    WGPUQueueWorkDoneCallback callback;
    memcpy(&callback, &item->callback, sizeof callback);
    callback((WGPUQueueWorkDoneStatus)(lost ? 3 : 1), view(lost ? "fake: lost" : NULL), item->user1,
             item->user2);
}

EXPORT WGPUFuture wgpuQueueOnSubmittedWorkDone(WGPUQueue queue, WGPUQueueWorkDoneCallbackInfo info) {
    (void)of(queue);
    event item = {.happen = give_done, .user1 = info.userdata1, .user2 = info.userdata2};
    memcpy(&item.callback, &info.callback, sizeof item.callback);
    if (lost && fake.silent_loss) return (WGPUFuture){0};
    return later(item);
}

EXPORT WGPUStatus wgpuDeviceGetAdapterInfo(WGPUDevice device, WGPUAdapterInfo *info) {
    (void)of(device);
    info->device = view("fake device");
    info->adapterType = WGPUAdapterType_DiscreteGPU;
    return WGPUStatus_Success;
}

/* Of a program's own device, which no other code is told of. */
EXPORT WGPUFuture wgpuDeviceGetLostFuture(WGPUDevice device) {
    (void)of(device);
#ifdef FAKE_NATIVE
    abort();
#endif
    return (WGPUFuture){2};
}

EXPORT WGPUWaitStatus wgpuInstanceWaitAny(WGPUInstance instance, size_t count, WGPUFutureWaitInfo *futures,
                                          uint64_t nanoseconds) {
    (void)of(instance);
#ifdef FAKE_NATIVE
    abort();
#endif
    if (count != 1 || futures->future.id != 2 || nanoseconds != 0) fake.faults++;
    futures->completed = lost;
    return lost ? WGPUWaitStatus_Success : (WGPUWaitStatus)2;
}

/* --- by which the dialects are told apart ------------------------------------------------------------- */

#define UNCALLED(name)                                                                                       \
    EXPORT void name(void);                                                                                  \
    EXPORT void name(void) {                                                                                 \
        abort();                                                                                             \
    }
#if defined(FAKE_DAWN) || defined(FAKE_DAWN_2025)
UNCALLED(wgpuDeviceTick)
#endif
#ifdef FAKE_DAWN
UNCALLED(wgpuGetInstanceFeatures)
#endif
#ifdef FAKE_DAWN_2025
UNCALLED(wgpuGetInstanceCapabilities)
#endif
#ifdef FAKE_NATIVE
UNCALLED(wgpuDevicePoll)
UNCALLED(wgpuGetInstanceFeatures)
UNCALLED(wgpuInstanceHasWGSLLanguageFeature)

EXPORT uint32_t wgpuGetVersion(void);
EXPORT uint32_t wgpuGetVersion(void) {
    return (fake.version == 0 ? 29 : fake.version) << 24;
}
#endif
