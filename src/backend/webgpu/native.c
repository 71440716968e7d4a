/* The native GPU: webgpu.h through a library found at run time (gpu.h). This file opens and closes it; native.h names
 * the others. Opening waits for the library, which answers within milliseconds. */
#include "backend/webgpu/native.h"

#include <string.h>

/* --- the device --------------------------------------------------------------------------------------- */

typedef struct answer {
    bool came;
    WGPUDevice device;
    char message[300];
} answer;

static void on_device(WGPURequestDeviceStatus status, WGPUDevice device, WGPUStringView message, void *user,
                      void *unused) {
    (void)unused;
    answer *got = user;
    got->device = status == WGPURequestDeviceStatus_Success ? device : NULL;
    mia__native_text(message, got->message, sizeof got->message);
    got->came = true;
}

static void on_lost(const WGPUDevice *device, WGPUDeviceLostReason reason, WGPUStringView message, void *user,
                    void *unused) {
    (void)device;
    (void)reason;
    (void)unused;
    mia__native *gpu = user;
    gpu->loss_awaited = false;
    mia__native_failure(gpu, MIA_ERROR_DEVICE_LOST,
                        message.length > 0 ? message : mia__native_view("the device was lost"));
}

static void on_error(const WGPUDevice *device, WGPUErrorType type, WGPUStringView message, void *user,
                     void *unused) {
    (void)device;
    (void)unused;
    mia__native_failure(user, type == WGPUErrorType_OutOfMemory ? MIA_ERROR_NO_MEMORY : MIA_ERROR_INTERNAL,
                        message);
}

/* All that the adapter has and Mia knows of. */
static uint32_t wanted_features(const mia__webgpu_library *library, uint32_t features,
                                WGPUFeatureName names[4]) {
    uint32_t count = 0;
    if ((features & MIA__GPU_F16) != 0)
        names[count++] = mia__webgpu_feature(library, WGPUFeatureName_ShaderF16);
    if ((features & MIA__GPU_SUBGROUPS) != 0)
        names[count++] = mia__webgpu_feature(library, WGPUFeatureName_Subgroups);
    if ((features & MIA__GPU_TIMESTAMPS) != 0)
        names[count++] = mia__webgpu_feature(library, WGPUFeatureName_TimestampQuery);
    if ((features & MIA__GPU_SUBGROUP_MATRIX) != 0) names[count++] = mia__webgpu_subgroup_matrix(library);
    return count;
}

static mia_status open_device(mia__native *gpu, const mia__gpu_info *offered,
                              const mia_webgpu_options *options, mia_error *error) {
    const mia__webgpu_library *library = &gpu->library;
    WGPUFeatureName features[4];
    WGPULimits limits = {0};
    mia__dawn_toggles toggles;
    (void)library->AdapterGetLimits(gpu->adapter, &limits);
    limits.nextInChain = NULL;
    WGPUDeviceDescriptor descriptor = {
        .nextInChain = mia__webgpu_toggles(library, true, &toggles),
        .label = mia__native_view("mia"),
        .requiredFeatureCount = wanted_features(library, offered->features & ~options->without, features),
        .requiredFeatures = features,
        .requiredLimits = options->default_limits ? NULL : &limits,
        .deviceLostCallbackInfo = {.mode = WGPUCallbackMode_AllowProcessEvents,
                                   .callback = on_lost,
                                   .userdata1 = gpu},
        .uncapturedErrorCallbackInfo = {.callback = on_error, .userdata1 = gpu},
    };
    answer got = {0};
    gpu->loss_awaited = true;
    (void)library->AdapterRequestDevice(
        gpu->adapter, &descriptor,
        (WGPURequestDeviceCallbackInfo){
            .mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_device, .userdata1 = &got});
    mia__native_await(library, gpu->instance, &got.came);
    gpu->device = got.device;
    if (got.device != NULL) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_UNSUPPORTED, "webgpu: %s gives no device: %s", offered->name,
                         got.message);
}

/* --- the adapter -------------------------------------------------------------------------------------- */

static mia_status open_adapter(mia__native *gpu, const mia_webgpu_options *options, mia__gpu_info *offered,
                               mia_error *error) {
    mia__native_adapter found[MIA__NATIVE_MOST_ADAPTERS];
    uint32_t count = mia__native_adapters(&gpu->library, gpu->instance, found), chosen = 0;
    gpu->found = count > 0;
    while (chosen < count && options->adapter != NULL &&
           strstr(found[chosen].info.name, options->adapter) == NULL)
        chosen++;
    mia_status status = MIA_OK;
    if (chosen < count) {
        gpu->adapter = found[chosen].adapter;
        *offered = found[chosen].info;
    } else {
        status = count == 0 ? mia__native_no_adapter(&gpu->library, error)
                            : mia_error_set(error, MIA_ERROR_NOT_FOUND,
                                            "webgpu: no adapter has '%s' in its name; the first is %s",
                                            options->adapter, found[0].info.name);
    }
    for (uint32_t i = 0; i < count; i++)
        if (i != chosen) gpu->library.AdapterRelease(found[i].adapter);
    return status;
}

/* --- opening and closing ------------------------------------------------------------------------------ */

static mia_status open_own(mia__native *gpu, const mia_webgpu_options *options, mia_error *error) {
    mia__gpu_info offered = {0};
    gpu->own = true;
    gpu->instance = mia__native_instance(&gpu->library, error);
    if (gpu->instance == NULL) return MIA_ERROR_UNSUPPORTED;
    mia_status status = open_adapter(gpu, options, &offered, error);
    if (status == MIA_OK) status = open_device(gpu, &offered, options, error);
    return status;
}

static bool has_matrix(const mia__gpu_info *info, const mia__gpu_matrix *wanted) {
    for (uint32_t i = 0; i < info->matrix_count; i++) {
        const mia__gpu_matrix *m = &info->matrices[i];
        if (m->component == wanted->component && m->result == wanted->result && m->m == wanted->m &&
            m->n == wanted->n && m->k == wanted->k)
            return true;
    }
    return false;
}

/* Packed products are part of WGSL's language, and libraries differ in what they say of it; subgroup matrices go by a
 * number that may mean something else in a library newer than this code, and the list of their shapes leaves out some that
 * work. A pipeline tells. */
static void try_features(mia__native *gpu) {
    static const char packed[] = "requires packed_4x8_integer_dot_product;\n"
                                 "@group(0) @binding(0) var<storage, read_write> x: array<i32>;\n"
                                 "@compute @workgroup_size(1) fn main() {"
                                 " x[0] = dot4I8Packed(u32(x[1]), u32(x[2])); }";
    static const char matrix[] = "enable chromium_experimental_subgroup_matrix;\n"
                                 "@compute @workgroup_size(1) fn main() {}";
    static const char square[] =
        "enable f16;\nenable subgroups;\nenable chromium_experimental_subgroup_matrix;\n"
        "@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n"
        "var<workgroup> x: array<f16, 256>;\n"
        "@compute @workgroup_size(32) fn main() {\n"
        "    var c = subgroup_matrix_result<f32, 16, 16>();\n"
        "    let a = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&x, 0u, 16u);\n"
        "    let b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&x, 0u, 16u);\n"
        "    c = subgroupMatrixMultiplyAccumulate(a, b, c);\n"
        "    subgroupMatrixStore<row_major>(&y, 0u, c, 16u);\n}\n";
    static const mia__gpu_matrix sixteen = {MIA_f16, MIA_f32, 16, 16, 16};
    mia__gpu_info *info = &gpu->base.info;
    if (mia__native_takes(gpu, packed, false)) info->features |= MIA__GPU_PACKED_DOT;
    if ((info->features & MIA__GPU_SUBGROUP_MATRIX) != 0 && !mia__native_takes(gpu, matrix, false))
        info->features &= ~(uint32_t)MIA__GPU_SUBGROUP_MATRIX;
    const uint32_t needed = MIA__GPU_SUBGROUP_MATRIX | MIA__GPU_F16 | MIA__GPU_SUBGROUPS;
    if ((info->features & needed) == needed && info->subgroup_least == 32 &&
        info->matrix_count < MIA__GPU_MOST_MATRICES && !has_matrix(info, &sixteen) &&
        mia__native_takes(gpu, square, true))
        info->matrices[info->matrix_count++] = sixteen;
}

static void forget(mia__gpu_info *info, uint32_t without) {
    info->features &= ~without;
    if ((info->features & MIA__GPU_SUBGROUPS) == 0) info->subgroup_least = info->subgroup_most = 0;
    if ((info->features & MIA__GPU_SUBGROUP_MATRIX) == 0) info->matrix_count = 0;
}

static mia_status open_gpu(mia__native *gpu, const mia_webgpu_options *options, mia_error *error) {
    if ((options->instance == NULL) != (options->device == NULL))
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "webgpu: a program's own device comes with its instance, both or neither");
    if (options->device != NULL && options->procedure == NULL)
        return mia_error_set(
            error, MIA_ERROR_INVALID_ARGUMENT,
            "webgpu: a program's own device comes with `procedure`, the functions of its library");
    mia_status status = mia__webgpu_library_open(&gpu->library, options, error);
    if (status != MIA_OK) return status;
    if (options->device != NULL) {
        gpu->instance = options->instance;
        gpu->device = options->device;
        mia__native_look_for_loss(gpu);
        if (gpu->lost) return mia_error_set(error, MIA_ERROR_DEVICE_LOST, "webgpu: %s", gpu->failure_message);
    } else {
        status = open_own(gpu, options, error);
        if (status != MIA_OK) return status;
    }
    gpu->queue = gpu->library.DeviceGetQueue(gpu->device);
    mia__native_read_info(&gpu->library, gpu->adapter, gpu->device, &gpu->base.info);
    try_features(gpu);
    forget(&gpu->base.info, options->without);
    return MIA_OK;
}

/* Whether the library has yet to call back. */
static bool owes(const mia__native *gpu) {
    if (gpu->loss_awaited) return true;
    for (const mia__native_task *task = gpu->oldest; task != NULL; task = task->next)
        if (task->awaited > 0) return true;
    return false;
}

/* The library's callbacks must have come before their tasks go: of our own device they come while it is released, of a
 * program's when the GPU is done. */
static void await_tasks(mia__native *gpu) {
    for (int looks = 0; owes(gpu) && !(gpu->lost && looks > 100); looks++) mia__native_poll(&gpu->base, true);
}

/* Whether the instance may be kept: not with callbacks to come, nor where the next device had better look anew for what
 * drivers there are. Releases it otherwise; no callback comes after that. */
static bool end_own(mia__native *gpu) {
    const mia__webgpu_library *library = &gpu->library;
    const int most_looks = 100; /* the end of a device has ended all that was under way */
    if (gpu->device != NULL) {
        library->DeviceDestroy(gpu->device);
        library->InstanceProcessEvents(gpu->instance);
        library->DeviceRelease(gpu->device);
    }
    if (gpu->adapter != NULL) library->AdapterRelease(gpu->adapter);
    if (gpu->instance == NULL) return false;
    for (int i = 0; i < most_looks && owes(gpu); i++) library->InstanceProcessEvents(gpu->instance);
    if (gpu->found && !gpu->lost && !owes(gpu)) return true;
    library->InstanceRelease(gpu->instance);
    return false;
}

static void close_native(mia__gpu *base) {
    mia__native *gpu = (mia__native *)base;
    const mia__webgpu_library *library = &gpu->library;
    mia__native_drop_commands(gpu);
    if (!gpu->own && gpu->device != NULL) await_tasks(gpu);
    gpu->closing = true;
    if (gpu->queries != NULL) library->QuerySetRelease(gpu->queries);
    if (gpu->resolved != NULL) library->BufferRelease(gpu->resolved);
    if (gpu->queue != NULL) library->QueueRelease(gpu->queue);
    bool keeps = gpu->own && end_own(gpu);
    mia__native_end_tasks(gpu);
    if (keeps) mia__native_keep_instance(library, gpu->instance);
    mia__webgpu_library_close(&gpu->library);
    mia_allocator allocator = gpu->allocator;
    mia_release(&allocator, gpu, sizeof *gpu);
}

static void open_native(const mia__gpu_request *request, mia__gpu **out, mia__gpu_done done, void *user) {
    static const mia_webgpu_options defaults = {0};
    *out = NULL;
    mia__native *gpu = mia_allocate_zeroed(request->allocator, 1, sizeof *gpu);
    mia__native_task *spare = mia_allocate_zeroed(request->allocator, 1, sizeof *spare);
    if (gpu == NULL || spare == NULL) {
        mia_release(request->allocator, gpu, sizeof *gpu);
        mia_release(request->allocator, spare, sizeof *spare);
        done(user, MIA_ERROR_NO_MEMORY, "webgpu: no memory to open a device");
        return;
    }
    gpu->base.type = &mia__gpu_native;
    if (request->allocator != NULL) gpu->allocator = *request->allocator;
    gpu->failed = request->failed;
    gpu->user = request->user;
    gpu->spare = spare;
    mia_error error = {0};
    mia_status status = open_gpu(gpu, request->options != NULL ? request->options : &defaults, &error);
    if (status != MIA_OK) {
        close_native(&gpu->base);
        done(user, status, error.message);
        return;
    }
    *out = &gpu->base;
    done(user, MIA_OK, NULL);
}

const mia__gpu_type mia__gpu_native = {
    .name = "native",
    .open = open_native,
    .close = close_native,
    .buffer = mia__native_buffer,
    .free_buffer = mia__native_free_buffer,
    .write = mia__native_write,
    .pipeline = mia__native_pipeline,
    .free_pipeline = mia__native_free_pipeline,
    .bind = mia__native_bind,
    .free_bindings = mia__native_free_bindings,
    .dispatch = mia__native_dispatch,
    .copy = mia__native_copy,
    .stamps = mia__native_stamps,
    .submit = mia__native_submit,
    .map = mia__native_map,
    .unmap = mia__native_unmap,
    .poll = mia__native_poll,
    .now = mia__native_now,
};
