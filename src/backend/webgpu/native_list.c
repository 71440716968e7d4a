/* mia_webgpu_adapters: each adapter as a device of it has it, since some features show only there. */
#include "backend/webgpu/native.h"

#include <string.h>

static void on_done(void *user, mia_status status, const char *message) {
    (void)message;
    *(mia_status *)user = status;
}

/* What a device of the adapter can do; what the adapter says of itself where none opens. */
static mia__gpu_info as_device(const mia_webgpu_options *options, const mia__gpu_info *offered) {
    mia__gpu *gpu = NULL;
    mia_status status = MIA_ERROR_PENDING;
    mia_webgpu_options this = *options;
    this.adapter = offered->name;
    mia__gpu_native.open(&(mia__gpu_request){.options = &this}, &gpu, on_done, &status);
    if (status != MIA_OK) return *offered;
    mia__gpu_info info = gpu->info;
    gpu->type->close(gpu);
    return info;
}

static void fill(const mia__gpu_info *info, mia_webgpu_adapter *into) {
    *into = (mia_webgpu_adapter){.processor = info->processor, .features = info->features};
    memcpy(into->name, info->name, sizeof into->name);
    memcpy(into->driver, info->driver, sizeof into->driver);
    memcpy(into->library, info->library, sizeof into->library);
    mia__gpu_describe_features(info, into->features_text, sizeof into->features_text);
    mia__gpu_describe_limits(info, into->limits_text, sizeof into->limits_text);
}

mia_status mia_webgpu_adapters(const mia_webgpu_options *options, mia_webgpu_adapter *adapters,
                               size_t capacity, size_t *count, mia_error *error) {
    static const mia_webgpu_options defaults = {0};
    mia__webgpu_library library;
    mia__native_adapter found[MIA__NATIVE_MOST_ADAPTERS];
    if (options == NULL) options = &defaults;
    *count = 0;
    mia_status status = mia__webgpu_library_open(&library, options, error);
    if (status != MIA_OK) return status;
    WGPUInstance instance = mia__native_instance(&library, error);
    if (instance != NULL) {
        *count = mia__native_adapters(&library, instance, found);
        for (size_t i = 0; i < *count; i++) library.AdapterRelease(found[i].adapter);
        if (*count > 0)
            mia__native_keep_instance(&library, instance);
        else
            library.InstanceRelease(instance);
    }
    if (instance == NULL)
        status = MIA_ERROR_UNSUPPORTED;
    else if (*count == 0)
        status = mia__native_no_adapter(&library, error);
    for (size_t i = 0; i < *count && i < capacity; i++) {
        mia__gpu_info info = as_device(options, &found[i].info);
        fill(&info, &adapters[i]);
    }
    mia__webgpu_library_close(&library);
    return status;
}
