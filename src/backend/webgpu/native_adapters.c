/* Which adapters a webgpu.h library offers, in what order they are taken, and what they and their devices can do. */
#include "backend/webgpu/native.h"

#include <string.h>

#if defined(__APPLE__)
#define NATIVE_BACKEND WGPUBackendType_Metal
#elif defined(_WIN32)
#define NATIVE_BACKEND WGPUBackendType_D3D12
#else
#define NATIVE_BACKEND WGPUBackendType_Vulkan
#endif

/* --- what there is ------------------------------------------------------------------------------------ */

void mia__native_read_limits(const WGPULimits *from, mia__gpu_limits *into) {
    uint64_t uniform = from->maxUniformBufferBindingSize;
    *into = (mia__gpu_limits){
        .buffer_bytes = from->maxBufferSize,
        .binding_bytes = from->maxStorageBufferBindingSize,
        .storage_buffers = from->maxStorageBuffersPerShaderStage,
        .storage_alignment = from->minStorageBufferOffsetAlignment,
        .uniform_alignment = from->minUniformBufferOffsetAlignment,
        .uniform_bytes = uniform > UINT32_MAX ? UINT32_MAX : (uint32_t)uniform,
        .workgroup_bytes = from->maxComputeWorkgroupStorageSize,
        .workgroup_invocations = from->maxComputeInvocationsPerWorkgroup,
        .workgroup_size = {from->maxComputeWorkgroupSizeX, from->maxComputeWorkgroupSizeY,
                           from->maxComputeWorkgroupSizeZ},
        .workgroups = from->maxComputeWorkgroupsPerDimension,
    };
}

static uint32_t features_of(const mia__webgpu_library *library, WGPUAdapter adapter, WGPUDevice device) {
    const struct {
        mia__gpu_feature ours;
        WGPUFeatureName theirs;
    } features[] = {
        {MIA__GPU_F16, mia__webgpu_feature(library, WGPUFeatureName_ShaderF16)},
        {MIA__GPU_SUBGROUPS, mia__webgpu_feature(library, WGPUFeatureName_Subgroups)},
        {MIA__GPU_TIMESTAMPS, mia__webgpu_feature(library, WGPUFeatureName_TimestampQuery)},
        {MIA__GPU_SUBGROUP_MATRIX, mia__webgpu_subgroup_matrix(library)},
    };
    uint32_t found = 0;
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
        WGPUFeatureName name = features[i].theirs;
        if (name == (WGPUFeatureName)0) continue;
        if (device != NULL ? library->DeviceHasFeature(device, name) != 0
                           : library->AdapterHasFeature(adapter, name) != 0)
            found |= features[i].ours;
    }
    return found;
}

static bool as_dtype(uint32_t component, mia_dtype *dtype) {
    if (component != 1 && component != 2) return false;
    *dtype = component == 1 ? MIA_f32 : MIA_f16;
    return true;
}

/* Those of f16 and f32. Without one the feature is of no use. */
static void read_matrices(const mia__dawn_matrices *from, mia__gpu_info *info) {
    for (size_t i = 0; i < from->count && info->matrix_count < MIA__GPU_MOST_MATRICES; i++) {
        const mia__dawn_matrix *shape = &from->list[i];
        mia__gpu_matrix matrix = {.m = shape->m, .n = shape->n, .k = shape->k};
        if (as_dtype(shape->component, &matrix.component) && as_dtype(shape->result, &matrix.result))
            info->matrices[info->matrix_count++] = matrix;
    }
    if (info->matrix_count == 0) info->features &= ~(uint32_t)MIA__GPU_SUBGROUP_MATRIX;
}

/* Of devices that do not say how large their subgroups are: the bounds of WGSL. */
static void read_subgroups(const WGPUAdapterInfo *from, mia__gpu_info *info) {
    if ((info->features & MIA__GPU_SUBGROUPS) == 0) return;
    info->subgroup_least = from->subgroupMinSize > 0 ? from->subgroupMinSize : 4;
    info->subgroup_most = from->subgroupMaxSize > 0 ? from->subgroupMaxSize : 128;
}

void mia__native_read_info(const mia__webgpu_library *library, WGPUAdapter adapter, WGPUDevice device,
                           mia__gpu_info *info) {
    WGPULimits limits = {0};
    *info = (mia__gpu_info){.features = features_of(library, adapter, device)};
    memcpy(info->library, library->name, sizeof info->library);
    (void)(device != NULL ? library->DeviceGetLimits(device, &limits)
                          : library->AdapterGetLimits(adapter, &limits));
    mia__native_read_limits(&limits, &info->limits);

    mia__dawn_matrices matrices = {.chain = {.sType = (WGPUSType)MIA__DAWN_MATRICES}};
    WGPUAdapterInfo from = {0};
    if ((info->features & MIA__GPU_SUBGROUP_MATRIX) != 0) from.nextInChain = &matrices.chain;
    WGPUStatus status = WGPUStatus_Error;
    if (adapter != NULL)
        status = library->AdapterGetInfo(adapter, &from);
    else if (library->DeviceGetAdapterInfo != NULL)
        status = library->DeviceGetAdapterInfo(device, &from);
    if (status != WGPUStatus_Success) {
        info->features &= ~(uint32_t)MIA__GPU_SUBGROUP_MATRIX;
        mia__native_text(mia__native_view("unnamed"), info->name, sizeof info->name);
        return;
    }
    mia__native_text(from.device.length > 0 ? from.device : from.description, info->name, sizeof info->name);
    mia__native_text(from.description, info->driver, sizeof info->driver);
    info->processor = from.adapterType == WGPUAdapterType_CPU;
    read_subgroups(&from, info);
    read_matrices(&matrices, info);
    from.nextInChain = NULL;
    library->AdapterInfoFreeMembers(from);
}

/* --- finding them ------------------------------------------------------------------------------------- */

typedef struct answer {
    bool came;
    WGPUAdapter adapter;
} answer;

static void on_adapter(WGPURequestAdapterStatus status, WGPUAdapter adapter, WGPUStringView message,
                       void *user, void *unused) {
    (void)message;
    (void)unused;
    answer *got = user;
    got->adapter = status == WGPURequestAdapterStatus_Success ? adapter : NULL;
    got->came = true;
}

static WGPUAdapter request(const mia__webgpu_library *library, WGPUInstance instance,
                           WGPURequestAdapterOptions options) {
    mia__dawn_toggles toggles;
    answer got = {0};
    options.featureLevel = WGPUFeatureLevel_Core;
    options.nextInChain = mia__webgpu_toggles(library, false, &toggles);
    (void)library->InstanceRequestAdapter(
        instance, &options,
        (WGPURequestAdapterCallbackInfo){
            .mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_adapter, .userdata1 = &got});
    mia__native_await(library, instance, &got.came);
    return got.adapter;
}

/* Dawn has an adapter that computes nothing. */
static bool computes(const mia__webgpu_library *library, WGPUAdapter adapter) {
    WGPUAdapterInfo info = {0};
    if (library->AdapterGetInfo(adapter, &info) != WGPUStatus_Success) return false;
    bool does = info.backendType != WGPUBackendType_Null;
    library->AdapterInfoFreeMembers(info);
    return does;
}

static bool is_known(const mia__native_adapter *found, uint32_t count, const mia__gpu_info *info) {
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(found[i].info.name, info->name) == 0 && strcmp(found[i].info.driver, info->driver) == 0)
            return true;
    return false;
}

/* The standard gives one adapter a request: ask for each kind, and keep what is new. */
static uint32_t request_all(const mia__webgpu_library *library, WGPUInstance instance,
                            WGPUBackendType backend, mia__native_adapter *found) {
    const WGPURequestAdapterOptions kinds[] = {
        {.powerPreference = WGPUPowerPreference_HighPerformance, .backendType = backend},
        {.powerPreference = WGPUPowerPreference_LowPower, .backendType = backend},
        {.forceFallbackAdapter = 1, .backendType = backend},
    };
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        WGPUAdapter adapter = request(library, instance, kinds[i]);
        if (adapter == NULL) continue;
        mia__gpu_info info;
        mia__native_read_info(library, adapter, NULL, &info);
        if (!computes(library, adapter) || is_known(found, count, &info))
            library->AdapterRelease(adapter);
        else
            found[count++] = (mia__native_adapter){adapter, info};
    }
    return count;
}

uint32_t mia__native_adapters(const mia__webgpu_library *library, WGPUInstance instance,
                              mia__native_adapter found[MIA__NATIVE_MOST_ADAPTERS]) {
    mia__native_adapter all[MIA__NATIVE_MOST_ADAPTERS];
    uint32_t count = request_all(library, instance, NATIVE_BACKEND, all), kept = 0;
    if (count == 0) count = request_all(library, instance, WGPUBackendType_Undefined, all);
    for (uint32_t i = 0; i < count; i++)
        if (!all[i].info.processor) found[kept++] = all[i];
    for (uint32_t i = 0; i < count; i++)
        if (all[i].info.processor) found[kept++] = all[i];
    return count;
}

mia_status mia__native_no_adapter(const mia__webgpu_library *library, mia_error *error) {
    return mia_error_set(
        error, MIA_ERROR_NOT_FOUND,
        "webgpu: %s finds no adapter: a GPU needs its Vulkan driver and the loader (Debian: "
        "libvulkan1); drivers that compute on the CPU, which `make webgpu` installs for tests, are "
        "used where VK_ICD_FILENAMES names them (docs/webgpu.md)",
        library->name);
}
