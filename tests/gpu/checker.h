/* A WebGPU library as one that checks shaders: on its adapter that computes nothing, which offers all features. Dawn has
 * one. */
#ifndef MIA_TESTS_GPU_CHECKER_H
#define MIA_TESTS_GPU_CHECKER_H

#include "backend/webgpu/native.h"

#include "support/gpu_calls.h"

#include <dlfcn.h>
#include <stdlib.h>

static mia__webgpu_library library;
static WGPUInstance instance;
static WGPUDevice nothing;
static mia__native *checker;

typedef struct answer {
    bool came;
    void *object; /* NULL: there is none */
} answer;

static void on_adapter(WGPURequestAdapterStatus status, WGPUAdapter adapter, WGPUStringView message,
                       void *user, void *unused) {
    (void)message;
    (void)unused;
    *(answer *)user = (answer){true, status == WGPURequestAdapterStatus_Success ? adapter : NULL};
}

static void on_device(WGPURequestDeviceStatus status, WGPUDevice device, WGPUStringView message, void *user,
                      void *unused) {
    (void)message;
    (void)unused;
    *(answer *)user = (answer){true, status == WGPURequestDeviceStatus_Success ? device : NULL};
}

static WGPUAdapter request_adapter(void) {
    mia__dawn_toggles toggles;
    answer got = {0};
    const WGPURequestAdapterOptions options = {.nextInChain = mia__webgpu_toggles(&library, false, &toggles),
                                               .featureLevel = WGPUFeatureLevel_Core,
                                               .backendType = WGPUBackendType_Null};
    (void)library.InstanceRequestAdapter(
        instance, &options,
        (WGPURequestAdapterCallbackInfo){
            .mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_adapter, .userdata1 = &got});
    mia__native_await(&library, instance, &got.came);
    return got.object;
}

static WGPUDevice request_device(WGPUAdapter adapter) {
    const WGPUFeatureName features[] = {mia__webgpu_feature(&library, WGPUFeatureName_ShaderF16),
                                        mia__webgpu_feature(&library, WGPUFeatureName_Subgroups),
                                        mia__webgpu_subgroup_matrix(&library)};
    mia__dawn_toggles toggles;
    answer got = {0};
    const WGPUDeviceDescriptor descriptor = {.nextInChain = mia__webgpu_toggles(&library, true, &toggles),
                                             .requiredFeatureCount = sizeof features / sizeof *features,
                                             .requiredFeatures = features};
    (void)library.AdapterRequestDevice(
        adapter, &descriptor,
        (WGPURequestDeviceCallbackInfo){
            .mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_device, .userdata1 = &got});
    mia__native_await(&library, instance, &got.came);
    return got.object;
}

static void *procedure(const char *name) {
    return dlsym(library.handle, name);
}

static void skip_all(const char *why) {
    printf("skipped: %s\n", why);
    exit(77);
}

static void open_checker(void) {
    mia_error error = {0};
    gpu_end failed, end;
    if (mia__webgpu_library_open(&library, NULL, &error) != MIA_OK) skip_all(error.message);
    instance = mia__native_instance(&library, &error);
    if (instance == NULL) skip_all(error.message);
    WGPUAdapter adapter = request_adapter();
    if (adapter == NULL) skip_all("the library has no adapter that computes nothing");
    nothing = request_device(adapter);
    library.AdapterRelease(adapter);
    if (nothing == NULL) skip_all("the adapter that computes nothing lacks features");
    const mia_webgpu_options options = {.instance = instance, .device = nothing, .procedure = procedure};
    checker = (mia__native *)gpu_open(&mia__gpu_native, &options, NULL, &failed, &end);
    if (checker != NULL) return;
    printf("error: %s\n", end.message);
    exit(1);
}

static void close_checker(void) {
    mia__gpu_native.close(&checker->base);
    library.DeviceRelease(nothing);
    mia__native_keep_instance(&library, instance);
    mia__webgpu_library_close(&library);
}

/* Whether the library takes a shader; its words otherwise. */
static bool takes(const char *wgsl, char *message, size_t bytes) {
    WGPUShaderSourceWGSL source = {.chain = {.sType = WGPUSType_ShaderSourceWGSL},
                                   .code = mia__native_view(wgsl)};
    const WGPUShaderModuleDescriptor descriptor = {.nextInChain = &source.chain};
    library.DevicePushErrorScope(nothing, WGPUErrorFilter_Validation);
    WGPUShaderModule module = library.DeviceCreateShaderModule(nothing, &descriptor);
    bool taken = mia__native_pop_scope(checker, message, bytes) == MIA_OK;
    if (module != NULL) library.ShaderModuleRelease(module);
    return taken;
}

#endif
