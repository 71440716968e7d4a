/* Opens a webgpu.h library (library.h): dlopen, a table of functions, and a look at which dialect it speaks. */
#include "backend/webgpu/library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef MIA_NO_DLOPEN
#include <dlfcn.h>
#endif

#define LEAST_WGPU_NATIVE 29
#define HOW_TO_GET_ONE    "`make webgpu` installs one, docs/webgpu.md names others"

/* --- the system's loader -------------------------------------------------------------------------- */

#ifdef MIA_NO_DLOPEN
enum { STAY = 0 };
static void *open_file(const char *path) {
    (void)path;
    return NULL;
}
static void *find(void *handle, const char *name) {
    (void)handle;
    (void)name;
    return NULL;
}
static const char *why(void) {
    return "this build cannot open libraries";
}
void mia__webgpu_library_close(mia__webgpu_library *library) {
    (void)library;
}
#else
#ifdef RTLD_NODELETE
enum { STAY = RTLD_NODELETE };
#else
enum { STAY = 0 };
#endif
/* Local, so that its C++ runtime and ours never meet; it stays in memory once loaded, since such libraries leave
 * threads and exit handlers behind. */
static void *open_file(const char *path) {
    return dlopen(path, RTLD_NOW | RTLD_LOCAL | STAY);
}
static void *find(void *handle, const char *name) {
    return dlsym(handle, name);
}
static const char *why(void) {
    const char *reason = dlerror();
    return reason != NULL ? reason : "unknown reason";
}
void mia__webgpu_library_close(mia__webgpu_library *library) {
    if (library->handle != NULL) (void)dlclose(library->handle);
    library->handle = NULL;
}
#endif

/* --- the table of functions ------------------------------------------------------------------------- */

typedef struct source {
    void *handle;
    void *(*procedure)(const char *name);
} source;

static void *look_up(const source *from, const char *name) {
    return from->procedure != NULL ? from->procedure(name) : find(from->handle, name);
}

/* Returns the first required function that is missing, or NULL. Object and function pointers have one size wherever
 * dlsym exists. */
static const char *fill(mia__webgpu_library *library, const source *from) {
    const char *missing = NULL;
    void *address;
#define MIA__WGPU_FIND(function, result, parameters)                                                         \
    address = look_up(from, "wgpu" #function);                                                               \
    memcpy(&library->function, &address, sizeof address);
#define MIA__WGPU_NEED(function, result, parameters)                                                         \
    MIA__WGPU_FIND(function, result, parameters)                                                             \
    if (address == NULL && missing == NULL) missing = "wgpu" #function;
    MIA__WGPU_REQUIRED(MIA__WGPU_NEED)
    MIA__WGPU_OPTIONAL(MIA__WGPU_FIND)
#undef MIA__WGPU_NEED
#undef MIA__WGPU_FIND
    return missing;
}

static void tell_dialect(mia__webgpu_library *library, const source *from) {
    library->dawn = look_up(from, "wgpuDeviceTick") != NULL;
    library->dawn_2025 = library->dawn && look_up(from, "wgpuGetInstanceCapabilities") != NULL &&
                         look_up(from, "wgpuGetInstanceFeatures") == NULL;
    library->wgpu_native = !library->dawn && look_up(from, "wgpuDevicePoll") != NULL;
    if (!library->wgpu_native) return;
    library->DeviceCreateComputePipelineAsync = NULL; /* these abort */
    library->DeviceGetLostFuture = NULL;
    library->InstanceWaitAny = NULL;
}

/* wgpu-native says its version in bytes, 0x1D000000 for 29: before that its callbacks have other arguments. */
static bool is_old(const mia__webgpu_library *library, const source *from) {
    uint32_t (*version)(void);
    void *address = library->wgpu_native ? look_up(from, "wgpuGetVersion") : NULL;
    if (address == NULL) return false;
    memcpy(&version, &address, sizeof version);
    return version() >> 24 < LEAST_WGPU_NATIVE;
}

static mia_status use(mia__webgpu_library *library, const source *from, const char *name, mia_error *error) {
    *library = (mia__webgpu_library){.handle = from->handle, .stays = from->handle != NULL && STAY != 0};
    (void)snprintf(library->name, sizeof library->name, "%s", name);
    const char *missing = fill(library, from);
    if (missing != NULL) {
        mia__webgpu_library_close(library);
        return mia_error_set(error, MIA_ERROR_NOT_FOUND, "webgpu: %s is no webgpu.h library: it lacks %s",
                             name, missing);
    }
    tell_dialect(library, from);
    if (!is_old(library, from)) return MIA_OK;
    mia__webgpu_library_close(library);
    return mia_error_set(error, MIA_ERROR_NOT_FOUND,
                         "webgpu: %s is an older wgpu-native than %d, which has another webgpu.h", name,
                         LEAST_WGPU_NATIVE);
}

static mia_status use_file(mia__webgpu_library *library, const char *path, mia_error *error) {
    source from = {.handle = open_file(path)};
    if (from.handle != NULL) return use(library, &from, path, error);
    const char *reason = why();
    size_t length = strlen(path);
    if (strncmp(reason, path, length) == 0 && strncmp(reason + length, ": ", 2) == 0) reason += length + 2;
    return mia_error_set(error, MIA_ERROR_NOT_FOUND, "webgpu: %s does not load: %s", path, reason);
}

/* --- where it is looked for ------------------------------------------------------------------------- */

/* `make webgpu` installs into the user's data folder; an administrator may put the same into one of the system's (the
 * XDG base directory specification names both). Tries folder/mia/webgpu/libwebgpu_dawn.so; the error is set when it is
 * there and will not do. */
static bool use_data_folder(mia__webgpu_library *library, const char *folder, size_t length,
                            const char *below, mia_error *error) {
    char path[1024];
    int written =
        snprintf(path, sizeof path, "%.*s%s/mia/webgpu/libwebgpu_dawn.so", (int)length, folder, below);
    if (length == 0 || written < 0 || (size_t)written >= sizeof path) return false;
    return use_file(library, path, access(path, F_OK) == 0 ? error : NULL) == MIA_OK;
}

static bool use_installed(mia__webgpu_library *library, mia_error *error) {
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (data != NULL && data[0] != '\0') {
        if (use_data_folder(library, data, strlen(data), "", error)) return true;
    } else if (home != NULL && use_data_folder(library, home, strlen(home), "/.local/share", error)) {
        return true;
    }
    const char *folders = getenv("XDG_DATA_DIRS");
    if (folders == NULL || folders[0] == '\0') folders = "/usr/local/share:/usr/share";
    while (*folders != '\0') {
        size_t length = strcspn(folders, ":");
        if (length < 1000 && use_data_folder(library, folders, length, "", error)) return true;
        folders += length + (folders[length] == ':');
    }
    return false;
}

mia_status mia__webgpu_library_open(mia__webgpu_library *library, const mia_webgpu_options *options,
                                    mia_error *error) {
    if (options != NULL && options->procedure != NULL) {
        source from = {.procedure = options->procedure};
        return use(library, &from, "the program's own", error);
    }
    if (options != NULL && options->library != NULL) return use_file(library, options->library, error);
    const char *named = getenv("MIA_WEBGPU_LIBRARY");
    if (named != NULL && named[0] != '\0') return use_file(library, named, error);
    mia_error reason = {0};
    if (use_file(library, "libwebgpu_dawn.so", NULL) == MIA_OK) return MIA_OK;
    if (use_file(library, "libwgpu_native.so", NULL) == MIA_OK) return MIA_OK;
    if (use_installed(library, &reason)) return MIA_OK;
    if (reason.status != MIA_OK) return mia_error_set(error, reason.status, "%s", reason.message);
    return mia_error_set(error, MIA_ERROR_NOT_FOUND,
                         "webgpu: no library with WebGPU's C functions was found: " HOW_TO_GET_ONE);
}

/* --- dialects ------------------------------------------------------------------------------------------ */

WGPUFeatureName mia__webgpu_feature(const mia__webgpu_library *library, WGPUFeatureName feature) {
    if (!library->dawn_2025) return feature;
    switch (feature) {
    case WGPUFeatureName_TimestampQuery: return (WGPUFeatureName)0x03;
    case WGPUFeatureName_ShaderF16: return (WGPUFeatureName)0x0A;
    case WGPUFeatureName_Subgroups: return (WGPUFeatureName)0x11;
    default: return feature;
    }
}

WGPUFeatureName mia__webgpu_subgroup_matrix(const mia__webgpu_library *library) {
    if (!library->dawn) return (WGPUFeatureName)0;
    return (WGPUFeatureName)(library->dawn_2025 ? 0x50037 : 0x50034);
}

/* f16 needs a switch on NVIDIA's cards, where the conformance suite had failures that compute shaders never meet.
 * Subgroup matrices are experimental. Timestamps come rounded to 0.1 ms, a defence for pages that programs can do
 * without. MIA_WEBGPU_SKIP_VALIDATION=1 leaves out what Dawn checks of each call, for measuring what that costs: of
 * devices, since instances are kept from one to the next. */
WGPUChainedStruct *mia__webgpu_toggles(const mia__webgpu_library *library, bool device,
                                       mia__dawn_toggles *toggles) {
    static const char *const enabled[] = {"vulkan_enable_f16_on_nvidia", "allow_unsafe_apis",
                                          "skip_validation"};
    static const char *const disabled[] = {"timestamp_quantization"};
    if (!library->dawn) return NULL;
    const char *skip = device ? getenv("MIA_WEBGPU_SKIP_VALIDATION") : NULL;
    bool skips = skip != NULL && strcmp(skip, "1") == 0;
    *toggles = (mia__dawn_toggles){.chain = {.sType = (WGPUSType)MIA__DAWN_TOGGLES},
                                   .enabled_count = skips ? 3 : 2,
                                   .enabled = enabled,
                                   .disabled_count = 1,
                                   .disabled = disabled};
    return &toggles->chain;
}
