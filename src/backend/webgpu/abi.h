/* The part of the standard webgpu.h that Mia calls: its enums, structs and functions, under their own names, written
 * down here so that nothing has to be installed to build Mia. It is the stable C API (which only grows), compute only;
 * tests/unit/test_gpu_abi.c compares it with a real webgpu.h where there is one. What differs in older libraries is
 * library.h's business. Documentation: webgpu.h itself. */
#ifndef MIA_BACKEND_WEBGPU_ABI_H
#define MIA_BACKEND_WEBGPU_ABI_H

#include <stddef.h>
#include <stdint.h>

typedef struct WGPUAdapterImpl *WGPUAdapter;
typedef struct WGPUBindGroupImpl *WGPUBindGroup;
typedef struct WGPUBindGroupLayoutImpl *WGPUBindGroupLayout;
typedef struct WGPUBufferImpl *WGPUBuffer;
typedef struct WGPUCommandBufferImpl *WGPUCommandBuffer;
typedef struct WGPUCommandEncoderImpl *WGPUCommandEncoder;
typedef struct WGPUComputePassEncoderImpl *WGPUComputePassEncoder;
typedef struct WGPUComputePipelineImpl *WGPUComputePipeline;
typedef struct WGPUDeviceImpl *WGPUDevice;
typedef struct WGPUInstanceImpl *WGPUInstance;
typedef struct WGPUPipelineLayoutImpl *WGPUPipelineLayout;
typedef struct WGPUQuerySetImpl *WGPUQuerySet;
typedef struct WGPUQueueImpl *WGPUQueue;
typedef struct WGPUShaderModuleImpl *WGPUShaderModule;

typedef uint32_t WGPUBool;
typedef uint64_t WGPUFlags; /* sets of bits: usages, stages, modes */

/* --- enums; all are 32 bits wide ------------------------------------------------------------------ */

typedef enum WGPUStatus { WGPUStatus_Success = 1, WGPUStatus_Error = 2 } WGPUStatus;

typedef enum WGPUAdapterType {
    WGPUAdapterType_DiscreteGPU = 1,
    WGPUAdapterType_IntegratedGPU = 2,
    WGPUAdapterType_CPU = 3,
    WGPUAdapterType_Unknown = 4
} WGPUAdapterType;

typedef enum WGPUBackendType {
    WGPUBackendType_Undefined = 0,
    WGPUBackendType_Null = 1,
    WGPUBackendType_D3D12 = 4,
    WGPUBackendType_Metal = 5,
    WGPUBackendType_Vulkan = 6
} WGPUBackendType;

typedef enum WGPUBufferBindingType {
    WGPUBufferBindingType_BindingNotUsed = 0,
    WGPUBufferBindingType_Uniform = 2,
    WGPUBufferBindingType_Storage = 3,
    WGPUBufferBindingType_ReadOnlyStorage = 4
} WGPUBufferBindingType;

typedef enum WGPUCallbackMode {
    WGPUCallbackMode_AllowProcessEvents = 2,
    WGPUCallbackMode_AllowSpontaneous = 3
} WGPUCallbackMode;

typedef enum WGPUCreatePipelineAsyncStatus {
    WGPUCreatePipelineAsyncStatus_Success = 1
} WGPUCreatePipelineAsyncStatus;

typedef enum WGPUDeviceLostReason { WGPUDeviceLostReason_Destroyed = 2 } WGPUDeviceLostReason;

typedef enum WGPUErrorFilter {
    WGPUErrorFilter_Validation = 1,
    WGPUErrorFilter_OutOfMemory = 2,
    WGPUErrorFilter_Internal = 3
} WGPUErrorFilter;

typedef enum WGPUErrorType {
    WGPUErrorType_NoError = 1,
    WGPUErrorType_Validation = 2,
    WGPUErrorType_OutOfMemory = 3,
    WGPUErrorType_Internal = 4,
    WGPUErrorType_Unknown = 5
} WGPUErrorType;

typedef enum WGPUFeatureLevel { WGPUFeatureLevel_Core = 2 } WGPUFeatureLevel;

typedef enum WGPUFeatureName {
    WGPUFeatureName_CoreFeaturesAndLimits = 0x01,
    WGPUFeatureName_TimestampQuery = 0x09,
    WGPUFeatureName_ShaderF16 = 0x0B,
    WGPUFeatureName_Subgroups = 0x12
} WGPUFeatureName;

typedef enum WGPUMapAsyncStatus { WGPUMapAsyncStatus_Success = 1 } WGPUMapAsyncStatus;

typedef enum WGPUPopErrorScopeStatus { WGPUPopErrorScopeStatus_Success = 1 } WGPUPopErrorScopeStatus;

typedef enum WGPUPowerPreference {
    WGPUPowerPreference_Undefined = 0,
    WGPUPowerPreference_LowPower = 1,
    WGPUPowerPreference_HighPerformance = 2
} WGPUPowerPreference;

typedef enum WGPUQueryType { WGPUQueryType_Timestamp = 2 } WGPUQueryType;

typedef enum WGPUQueueWorkDoneStatus { WGPUQueueWorkDoneStatus_Success = 1 } WGPUQueueWorkDoneStatus;

typedef enum WGPURequestAdapterStatus { WGPURequestAdapterStatus_Success = 1 } WGPURequestAdapterStatus;

typedef enum WGPURequestDeviceStatus { WGPURequestDeviceStatus_Success = 1 } WGPURequestDeviceStatus;

typedef enum WGPUSType { WGPUSType_ShaderSourceWGSL = 2 } WGPUSType;

enum {
    MIA__WGPU_BUFFER_MAP_READ = 0x001,
    MIA__WGPU_BUFFER_COPY_SRC = 0x004,
    MIA__WGPU_BUFFER_COPY_DST = 0x008,
    MIA__WGPU_BUFFER_UNIFORM = 0x040,
    MIA__WGPU_BUFFER_STORAGE = 0x080,
    MIA__WGPU_BUFFER_QUERY_RESOLVE = 0x200,
    MIA__WGPU_MAP_READ = 1,
    MIA__WGPU_STAGE_COMPUTE = 4
};

/* --- structs ---------------------------------------------------------------------------------------- */

typedef struct WGPUStringView {
    const char *data; /* not terminated, unless length is SIZE_MAX */
    size_t length;
} WGPUStringView;

typedef struct WGPUChainedStruct {
    struct WGPUChainedStruct *next;
    WGPUSType sType;
} WGPUChainedStruct;

/* Zero stands for "nothing asked for" in every dialect; see library.h. */
typedef struct WGPUInstanceDescriptor {
    WGPUChainedStruct *nextInChain;
    size_t requiredFeatureCount;
    const void *requiredFeatures;
    const void *requiredLimits;
} WGPUInstanceDescriptor;

typedef struct WGPURequestAdapterOptions {
    WGPUChainedStruct *nextInChain;
    WGPUFeatureLevel featureLevel;
    WGPUPowerPreference powerPreference;
    WGPUBool forceFallbackAdapter;
    WGPUBackendType backendType;
    void *compatibleSurface;
} WGPURequestAdapterOptions;

typedef struct WGPUAdapterInfo {
    WGPUChainedStruct *nextInChain;
    WGPUStringView vendor;
    WGPUStringView architecture;
    WGPUStringView device;
    WGPUStringView description;
    WGPUBackendType backendType;
    WGPUAdapterType adapterType;
    uint32_t vendorID;
    uint32_t deviceID;
    uint32_t subgroupMinSize;
    uint32_t subgroupMaxSize;
} WGPUAdapterInfo;

typedef struct WGPULimits {
    WGPUChainedStruct *nextInChain;
    uint32_t maxTextureDimension1D;
    uint32_t maxTextureDimension2D;
    uint32_t maxTextureDimension3D;
    uint32_t maxTextureArrayLayers;
    uint32_t maxBindGroups;
    uint32_t maxBindGroupsPlusVertexBuffers;
    uint32_t maxBindingsPerBindGroup;
    uint32_t maxDynamicUniformBuffersPerPipelineLayout;
    uint32_t maxDynamicStorageBuffersPerPipelineLayout;
    uint32_t maxSampledTexturesPerShaderStage;
    uint32_t maxSamplersPerShaderStage;
    uint32_t maxStorageBuffersPerShaderStage;
    uint32_t maxStorageTexturesPerShaderStage;
    uint32_t maxUniformBuffersPerShaderStage;
    uint64_t maxUniformBufferBindingSize;
    uint64_t maxStorageBufferBindingSize;
    uint32_t minUniformBufferOffsetAlignment;
    uint32_t minStorageBufferOffsetAlignment;
    uint32_t maxVertexBuffers;
    uint64_t maxBufferSize;
    uint32_t maxVertexAttributes;
    uint32_t maxVertexBufferArrayStride;
    uint32_t maxInterStageShaderVariables;
    uint32_t maxColorAttachments;
    uint32_t maxColorAttachmentBytesPerSample;
    uint32_t maxComputeWorkgroupStorageSize;
    uint32_t maxComputeInvocationsPerWorkgroup;
    uint32_t maxComputeWorkgroupSizeX;
    uint32_t maxComputeWorkgroupSizeY;
    uint32_t maxComputeWorkgroupSizeZ;
    uint32_t maxComputeWorkgroupsPerDimension;
    uint32_t maxImmediateSize;
} WGPULimits;

typedef struct WGPUBufferDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    WGPUFlags usage;
    uint64_t size;
    WGPUBool mappedAtCreation;
} WGPUBufferDescriptor;

typedef struct WGPUShaderModuleDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
} WGPUShaderModuleDescriptor;

typedef struct WGPUShaderSourceWGSL {
    WGPUChainedStruct chain;
    WGPUStringView code;
} WGPUShaderSourceWGSL;

typedef struct WGPUComputeState {
    WGPUChainedStruct *nextInChain;
    WGPUShaderModule module;
    WGPUStringView entryPoint;
    size_t constantCount;
    const void *constants;
} WGPUComputeState;

typedef struct WGPUComputePipelineDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    WGPUPipelineLayout layout;
    WGPUComputeState compute;
} WGPUComputePipelineDescriptor;

typedef struct WGPUBufferBindingLayout {
    WGPUChainedStruct *nextInChain;
    WGPUBufferBindingType type;
    WGPUBool hasDynamicOffset;
    uint64_t minBindingSize;
} WGPUBufferBindingLayout;

/* Of samplers and textures Mia has none: all zero says so. */
typedef struct WGPUSamplerBindingLayout {
    WGPUChainedStruct *nextInChain;
    uint32_t type;
} WGPUSamplerBindingLayout;

typedef struct WGPUTextureBindingLayout {
    WGPUChainedStruct *nextInChain;
    uint32_t sampleType;
    uint32_t viewDimension;
    WGPUBool multisampled;
} WGPUTextureBindingLayout;

typedef struct WGPUStorageTextureBindingLayout {
    WGPUChainedStruct *nextInChain;
    uint32_t access;
    uint32_t format;
    uint32_t viewDimension;
} WGPUStorageTextureBindingLayout;

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): the order is the standard's */
typedef struct WGPUBindGroupLayoutEntry {
    WGPUChainedStruct *nextInChain;
    uint32_t binding;
    WGPUFlags visibility;
    uint32_t bindingArraySize;
    WGPUBufferBindingLayout buffer;
    WGPUSamplerBindingLayout sampler;
    WGPUTextureBindingLayout texture;
    WGPUStorageTextureBindingLayout storageTexture;
} WGPUBindGroupLayoutEntry;

typedef struct WGPUBindGroupLayoutDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    size_t entryCount;
    const WGPUBindGroupLayoutEntry *entries;
} WGPUBindGroupLayoutDescriptor;

typedef struct WGPUPipelineLayoutDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    size_t bindGroupLayoutCount;
    const WGPUBindGroupLayout *bindGroupLayouts;
    uint32_t immediateSize;
} WGPUPipelineLayoutDescriptor;

typedef struct WGPUBindGroupEntry {
    WGPUChainedStruct *nextInChain;
    uint32_t binding;
    WGPUBuffer buffer;
    uint64_t offset;
    uint64_t size;
    void *sampler;
    void *textureView;
} WGPUBindGroupEntry;

typedef struct WGPUBindGroupDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    WGPUBindGroupLayout layout;
    size_t entryCount;
    const WGPUBindGroupEntry *entries;
} WGPUBindGroupDescriptor;

typedef struct WGPUPassTimestampWrites {
    WGPUChainedStruct *nextInChain;
    WGPUQuerySet querySet;
    uint32_t beginningOfPassWriteIndex;
    uint32_t endOfPassWriteIndex;
} WGPUPassTimestampWrites;

typedef struct WGPUComputePassDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    const WGPUPassTimestampWrites *timestampWrites;
} WGPUComputePassDescriptor;

typedef struct WGPUQuerySetDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    WGPUQueryType type;
    uint32_t count;
} WGPUQuerySetDescriptor;

/* What asynchronous calls return. wgpu-native's are all zero, so nothing looks at them. */
typedef struct WGPUFuture {
    uint64_t id;
} WGPUFuture;

typedef struct WGPUFutureWaitInfo {
    WGPUFuture future;
    WGPUBool completed;
} WGPUFutureWaitInfo;

typedef enum WGPUWaitStatus { WGPUWaitStatus_Success = 1 } WGPUWaitStatus;

/* --- callbacks -------------------------------------------------------------------------------------- */

typedef void (*WGPURequestAdapterCallback)(WGPURequestAdapterStatus status, WGPUAdapter adapter,
                                           WGPUStringView message, void *userdata1, void *userdata2);
typedef void (*WGPURequestDeviceCallback)(WGPURequestDeviceStatus status, WGPUDevice device,
                                          WGPUStringView message, void *userdata1, void *userdata2);
typedef void (*WGPUBufferMapCallback)(WGPUMapAsyncStatus status, WGPUStringView message, void *userdata1,
                                      void *userdata2);
typedef void (*WGPUCreateComputePipelineAsyncCallback)(WGPUCreatePipelineAsyncStatus status,
                                                       WGPUComputePipeline pipeline, WGPUStringView message,
                                                       void *userdata1, void *userdata2);
typedef void (*WGPUPopErrorScopeCallback)(WGPUPopErrorScopeStatus status, WGPUErrorType type,
                                          WGPUStringView message, void *userdata1, void *userdata2);
typedef void (*WGPUQueueWorkDoneCallback)(WGPUQueueWorkDoneStatus status, WGPUStringView message,
                                          void *userdata1, void *userdata2);
typedef void (*WGPUDeviceLostCallback)(const WGPUDevice *device, WGPUDeviceLostReason reason,
                                       WGPUStringView message, void *userdata1, void *userdata2);
typedef void (*WGPUUncapturedErrorCallback)(const WGPUDevice *device, WGPUErrorType type,
                                            WGPUStringView message, void *userdata1, void *userdata2);

#define MIA__WGPU_CALLBACK_INFO(name)                                                                        \
    typedef struct WGPU##name##CallbackInfo {                                                                \
        WGPUChainedStruct *nextInChain;                                                                      \
        WGPUCallbackMode mode;                                                                               \
        WGPU##name##Callback callback;                                                                       \
        void *userdata1, *userdata2;                                                                         \
    } WGPU##name##CallbackInfo
MIA__WGPU_CALLBACK_INFO(RequestAdapter);
MIA__WGPU_CALLBACK_INFO(RequestDevice);
MIA__WGPU_CALLBACK_INFO(BufferMap);
MIA__WGPU_CALLBACK_INFO(CreateComputePipelineAsync);
MIA__WGPU_CALLBACK_INFO(PopErrorScope);
MIA__WGPU_CALLBACK_INFO(QueueWorkDone);
MIA__WGPU_CALLBACK_INFO(DeviceLost);

typedef struct WGPUUncapturedErrorCallbackInfo {
    WGPUChainedStruct *nextInChain;
    WGPUUncapturedErrorCallback callback;
    void *userdata1, *userdata2;
} WGPUUncapturedErrorCallbackInfo;

typedef struct WGPUQueueDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
} WGPUQueueDescriptor;

typedef struct WGPUDeviceDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    size_t requiredFeatureCount;
    const WGPUFeatureName *requiredFeatures;
    const WGPULimits *requiredLimits;
    WGPUQueueDescriptor defaultQueue;
    WGPUDeviceLostCallbackInfo deviceLostCallbackInfo;
    WGPUUncapturedErrorCallbackInfo uncapturedErrorCallbackInfo;
} WGPUDeviceDescriptor;

/* --- functions: X(name without "wgpu", result, parameters) ------------------------------------------ */

#define MIA__WGPU_REQUIRED(X)                                                                                \
    X(CreateInstance, WGPUInstance, (const WGPUInstanceDescriptor *))                                        \
    X(InstanceRequestAdapter, WGPUFuture,                                                                    \
      (WGPUInstance, const WGPURequestAdapterOptions *, WGPURequestAdapterCallbackInfo))                     \
    X(InstanceProcessEvents, void, (WGPUInstance))                                                           \
    X(InstanceRelease, void, (WGPUInstance))                                                                 \
    X(AdapterGetInfo, WGPUStatus, (WGPUAdapter, WGPUAdapterInfo *))                                          \
    X(AdapterInfoFreeMembers, void, (WGPUAdapterInfo))                                                       \
    X(AdapterGetLimits, WGPUStatus, (WGPUAdapter, WGPULimits *))                                             \
    X(AdapterHasFeature, WGPUBool, (WGPUAdapter, WGPUFeatureName))                                           \
    X(AdapterRequestDevice, WGPUFuture,                                                                      \
      (WGPUAdapter, const WGPUDeviceDescriptor *, WGPURequestDeviceCallbackInfo))                            \
    X(AdapterRelease, void, (WGPUAdapter))                                                                   \
    X(DeviceGetLimits, WGPUStatus, (WGPUDevice, WGPULimits *))                                               \
    X(DeviceHasFeature, WGPUBool, (WGPUDevice, WGPUFeatureName))                                             \
    X(DeviceGetQueue, WGPUQueue, (WGPUDevice))                                                               \
    X(DevicePushErrorScope, void, (WGPUDevice, WGPUErrorFilter))                                             \
    X(DevicePopErrorScope, WGPUFuture, (WGPUDevice, WGPUPopErrorScopeCallbackInfo))                          \
    X(DeviceDestroy, void, (WGPUDevice))                                                                     \
    X(DeviceRelease, void, (WGPUDevice))                                                                     \
    X(DeviceCreateBuffer, WGPUBuffer, (WGPUDevice, const WGPUBufferDescriptor *))                            \
    X(BufferMapAsync, WGPUFuture, (WGPUBuffer, WGPUFlags, size_t, size_t, WGPUBufferMapCallbackInfo))        \
    X(BufferGetConstMappedRange, const void *, (WGPUBuffer, size_t, size_t))                                 \
    X(BufferUnmap, void, (WGPUBuffer))                                                                       \
    X(BufferDestroy, void, (WGPUBuffer))                                                                     \
    X(BufferRelease, void, (WGPUBuffer))                                                                     \
    X(DeviceCreateShaderModule, WGPUShaderModule, (WGPUDevice, const WGPUShaderModuleDescriptor *))          \
    X(ShaderModuleRelease, void, (WGPUShaderModule))                                                         \
    X(DeviceCreateBindGroupLayout, WGPUBindGroupLayout, (WGPUDevice, const WGPUBindGroupLayoutDescriptor *)) \
    X(BindGroupLayoutRelease, void, (WGPUBindGroupLayout))                                                   \
    X(DeviceCreatePipelineLayout, WGPUPipelineLayout, (WGPUDevice, const WGPUPipelineLayoutDescriptor *))    \
    X(PipelineLayoutRelease, void, (WGPUPipelineLayout))                                                     \
    X(DeviceCreateComputePipeline, WGPUComputePipeline, (WGPUDevice, const WGPUComputePipelineDescriptor *)) \
    X(ComputePipelineRelease, void, (WGPUComputePipeline))                                                   \
    X(DeviceCreateBindGroup, WGPUBindGroup, (WGPUDevice, const WGPUBindGroupDescriptor *))                   \
    X(BindGroupRelease, void, (WGPUBindGroup))                                                               \
    X(DeviceCreateCommandEncoder, WGPUCommandEncoder, (WGPUDevice, const void *))                            \
    X(CommandEncoderBeginComputePass, WGPUComputePassEncoder,                                                \
      (WGPUCommandEncoder, const WGPUComputePassDescriptor *))                                               \
    X(CommandEncoderCopyBufferToBuffer, void,                                                                \
      (WGPUCommandEncoder, WGPUBuffer, uint64_t, WGPUBuffer, uint64_t, uint64_t))                            \
    X(CommandEncoderClearBuffer, void, (WGPUCommandEncoder, WGPUBuffer, uint64_t, uint64_t))                 \
    X(CommandEncoderResolveQuerySet, void,                                                                   \
      (WGPUCommandEncoder, WGPUQuerySet, uint32_t, uint32_t, WGPUBuffer, uint64_t))                          \
    X(CommandEncoderFinish, WGPUCommandBuffer, (WGPUCommandEncoder, const void *))                           \
    X(CommandEncoderRelease, void, (WGPUCommandEncoder))                                                     \
    X(CommandBufferRelease, void, (WGPUCommandBuffer))                                                       \
    X(ComputePassEncoderSetPipeline, void, (WGPUComputePassEncoder, WGPUComputePipeline))                    \
    X(ComputePassEncoderSetBindGroup, void,                                                                  \
      (WGPUComputePassEncoder, uint32_t, WGPUBindGroup, size_t, const uint32_t *))                           \
    X(ComputePassEncoderDispatchWorkgroups, void, (WGPUComputePassEncoder, uint32_t, uint32_t, uint32_t))    \
    X(ComputePassEncoderEnd, void, (WGPUComputePassEncoder))                                                 \
    X(ComputePassEncoderRelease, void, (WGPUComputePassEncoder))                                             \
    X(DeviceCreateQuerySet, WGPUQuerySet, (WGPUDevice, const WGPUQuerySetDescriptor *))                      \
    X(QuerySetRelease, void, (WGPUQuerySet))                                                                 \
    X(QueueWriteBuffer, void, (WGPUQueue, WGPUBuffer, uint64_t, const void *, size_t))                       \
    X(QueueSubmit, void, (WGPUQueue, size_t, const WGPUCommandBuffer *))                                     \
    X(QueueOnSubmittedWorkDone, WGPUFuture, (WGPUQueue, WGPUQueueWorkDoneCallbackInfo))                      \
    X(QueueRelease, void, (WGPUQueue))

/* NULL in libraries that lack them. */
#define MIA__WGPU_OPTIONAL(X)                                                                                \
    X(DeviceCreateComputePipelineAsync, WGPUFuture,                                                          \
      (WGPUDevice, const WGPUComputePipelineDescriptor *, WGPUCreateComputePipelineAsyncCallbackInfo))       \
    X(DeviceGetAdapterInfo, WGPUStatus, (WGPUDevice, WGPUAdapterInfo *))                                     \
    X(DeviceGetLostFuture, WGPUFuture, (WGPUDevice))                                                         \
    X(InstanceWaitAny, WGPUWaitStatus, (WGPUInstance, size_t, WGPUFutureWaitInfo *, uint64_t))

#define MIA__WGPU_TYPE(name, result, parameters) typedef result(*WGPUProc##name) parameters;
MIA__WGPU_REQUIRED(MIA__WGPU_TYPE)
MIA__WGPU_OPTIONAL(MIA__WGPU_TYPE)
#undef MIA__WGPU_TYPE

#endif
