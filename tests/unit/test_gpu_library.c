/* How the native GPU gets on with the libraries there are, and with their failures: on a library that pretends to be
 * each of them (tests/fake_webgpu). */
#include "backend/webgpu/native.h"
#include "fake_webgpu/fake_webgpu.h"
#include "support.h"
#include "support/gpu_calls.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const mia__gpu_type *const type = &mia__gpu_native;

static const char shader[] = "@compute @workgroup_size(1) fn main() {}";

/* --- a build of the library, its state, and a GPU of it ----------------------------------------------- */

typedef struct library {
    const char *path;
    void *handle; /* stays open, so that the state outlives the GPU */
    fake_state *fake;
    test_allocator allocator;
    gpu_end failed, end;
} library;

static library load(const char *path) {
    library it = {.path = path, .handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)};
    if (it.handle == NULL) fail_msg("%s", dlerror());
    it.fake = dlsym(it.handle, "fake");
    assert_non_null(it.fake);
    *it.fake = (fake_state){.adapters = {{"fake card", 1, {0}}}, .adapter_count = 1, .memory = 1 << 30};
    return it;
}

static mia__gpu *open_it(library *it, mia_webgpu_options options) {
    test_allocator_init(&it->allocator);
    options.library = it->path;
    return gpu_open(type, &options, &it->allocator.hook, &it->failed, &it->end);
}

static mia__gpu *opened(library *it, mia_webgpu_options options) {
    mia__gpu *gpu = open_it(it, options);
    if (gpu == NULL) fail_msg("%s", it->end.message);
    return gpu;
}

/* Nothing is left of it, here and there, but an instance that the next GPU would have. */
static void unload(library *it, mia__gpu *gpu) {
    if (gpu != NULL) type->close(gpu);
    mia__native_drop_instances();
    assert_int_equal(it->allocator.live_bytes, 0);
    assert_int_equal(it->fake->live, 0);
    assert_int_equal(it->fake->faults, 0);
    (void)dlclose(it->handle);
}

/* A program's own way to the functions. */
static void *handle_of_fake;

static void *procedure(const char *name) {
    return dlsym(handle_of_fake, name);
}

static bool asked(const library *it, uint32_t feature) {
    for (int i = 0; i < 8; i++)
        if (it->fake->asked_features[i] == feature) return true;
    return false;
}

/* --- work, on each of them ---------------------------------------------------------------------------- */

static void use(mia__gpu *gpu) {
    uint32_t words[16], got[16];
    for (uint32_t i = 0; i < 16; i++) words[i] = 3 * i + 1;
    mia__gpu_buffer *a = type->buffer(gpu, 64, MIA__GPU_STORAGE, NULL),
                    *b = type->buffer(gpu, 64, MIA__GPU_STORAGE, NULL);
    assert_true(a != NULL && b != NULL);
    gpu_end made = gpu_make(gpu, shader, "rw"), done = {0};
    assert_int_equal(made.status, MIA_OK);
    mia__gpu_bindings *bindings =
        type->bind(gpu, made.pipeline, (mia__gpu_binding[]){{a, 0, 64}, {b, 0, 64}}, 2);
    type->write(gpu, a, 0, words, 64);
    type->dispatch(gpu, made.pipeline, bindings, (uint32_t[]){1, 2, 3}, 0);
    type->dispatch(gpu, made.pipeline, bindings, (uint32_t[]){1, 2, 3}, -1);
    type->copy(gpu, a, 0, b, 32, 32);
    type->submit(gpu, gpu_on_done, &done);
    gpu_await(gpu, &done);
    assert_int_equal(done.status, MIA_OK);
    assert_int_equal(gpu_read(gpu, b, 0, got, 64), MIA_OK);
    for (uint32_t i = 0; i < 16; i++) assert_int_equal(got[i], i < 8 ? 0 : words[i - 8]);
    assert_int_equal(gpu_make(gpu, "nonsense", "").status, MIA_ERROR_UNSUPPORTED);
    type->free_bindings(gpu, bindings);
    type->free_pipeline(gpu, made.pipeline);
    type->free_buffer(gpu, a);
    type->free_buffer(gpu, b);
}

static void test_dawn(void **state) {
    (void)state;
    library it = load(FAKE_DAWN);
    const uint32_t features[8] = {0x09, 0x0B, 0x12, 0x50034};
    memcpy(it.fake->adapters[0].features, features, sizeof features);
    const uint32_t matrices[3][5] = {{2, 1, 16, 16, 16}, {2, 2, 16, 8, 8}, {6, 4, 16, 8, 32}};
    memcpy(it.fake->matrix_list, matrices, sizeof matrices);
    it.fake->matrix_count = 3;
    mia__gpu *gpu = opened(&it, (mia_webgpu_options){0});
    assert_string_equal(gpu->info.name, "fake card");
    assert_int_equal(gpu->info.features, MIA__GPU_F16 | MIA__GPU_SUBGROUPS | MIA__GPU_TIMESTAMPS |
                                             MIA__GPU_SUBGROUP_MATRIX | MIA__GPU_PACKED_DOT);
    assert_int_equal(gpu->info.matrix_count, 2); /* those of integers are left out */
    assert_int_equal(gpu->info.matrices[0].component, MIA_f16);
    assert_int_equal(gpu->info.matrices[0].result, MIA_f32);
    assert_int_equal(gpu->info.matrices[1].n, 8);
    assert_int_equal(gpu->info.subgroup_most, 32);
    assert_true(it.fake->toggles >= 3); /* instance, adapter, device */
    assert_true(it.fake->asked_limits);
    assert_int_equal(gpu->info.limits.workgroup_bytes, 49152);
    assert_int_equal(gpu->info.limits.workgroup_size[1], 512);
    use(gpu);
    assert_int_equal(it.fake->async_pipelines, 2);
    assert_int_equal(it.fake->pipelines, 0);
    unload(&it, gpu);
}

static void test_dawn_2025(void **state) {
    (void)state;
    library it = load(FAKE_DAWN_2025);
    const uint32_t features[8] = {0x03, 0x0A, 0x11};
    memcpy(it.fake->adapters[0].features, features, sizeof features);
    mia__gpu *gpu = opened(&it, (mia_webgpu_options){0});
    assert_int_equal(gpu->info.features,
                     MIA__GPU_F16 | MIA__GPU_SUBGROUPS | MIA__GPU_TIMESTAMPS | MIA__GPU_PACKED_DOT);
    assert_true(asked(&it, 0x03) && asked(&it, 0x0A) && asked(&it, 0x11));
    use(gpu);
    unload(&it, gpu);
}

static void test_wgpu_native(void **state) {
    (void)state;
    library it = load(FAKE_NATIVE);
    const uint32_t features[8] = {0x09, 0x12};
    memcpy(it.fake->adapters[0].features, features, sizeof features);
    it.fake->no_packed = true;
    mia__gpu *gpu = opened(&it, (mia_webgpu_options){0});
    assert_int_equal(gpu->info.features, MIA__GPU_SUBGROUPS | MIA__GPU_TIMESTAMPS);
    assert_int_equal(it.fake->toggles, 0);
    use(gpu);
    assert_int_equal(it.fake->pipelines, 2);
    /* what is written goes out with a submit, though there is nothing else to send */
    uint32_t submits = it.fake->submits;
    mia__gpu_buffer *buffer = type->buffer(gpu, 64, MIA__GPU_STORAGE, NULL);
    for (int i = 0; i < 2; i++) {
        if (i == 0) type->write(gpu, buffer, 0, features, 16);
        gpu_end done = {0};
        type->submit(gpu, gpu_on_done, &done);
        gpu_await(gpu, &done);
        assert_int_equal(it.fake->submits, submits + 1);
    }
    type->free_buffer(gpu, buffer);
    unload(&it, gpu);
}

/* Its callbacks had other arguments. */
static void test_old_wgpu_native(void **state) {
    (void)state;
    library it = load(FAKE_NATIVE);
    it.fake->version = 27;
    assert_null(open_it(&it, (mia_webgpu_options){0}));
    assert_int_equal(it.end.status, MIA_ERROR_NOT_FOUND);
    assert_non_null(strstr(it.end.message, "older"));
    unload(&it, NULL);
}

static void test_without(void **state) {
    (void)state;
    library it = load(FAKE_DAWN);
    const uint32_t features[8] = {0x09, 0x0B, 0x12};
    memcpy(it.fake->adapters[0].features, features, sizeof features);
    mia__gpu *gpu = opened(
        &it, (mia_webgpu_options){.default_limits = true, .without = MIA_WEBGPU_F16 | MIA_WEBGPU_PACKED_DOT});
    assert_int_equal(gpu->info.features, MIA__GPU_SUBGROUPS | MIA__GPU_TIMESTAMPS);
    assert_false(asked(&it, 0x0B));
    assert_false(it.fake->asked_limits);
    unload(&it, gpu);
}

/* --- finding -------------------------------------------------------------------------------------------- */

static void test_no_library(void **state) {
    (void)state;
    gpu_end failed, end;
    assert_null(
        gpu_open(type, &(mia_webgpu_options){.library = "/nowhere/libwebgpu.so"}, NULL, &failed, &end));
    assert_int_equal(end.status, MIA_ERROR_NOT_FOUND);
    assert_non_null(strstr(end.message, "/nowhere/libwebgpu.so"));
    assert_null(gpu_open(type, &(mia_webgpu_options){.library = FAKE_LACKING}, NULL, &failed, &end));
    assert_int_equal(end.status, MIA_ERROR_NOT_FOUND);
    assert_non_null(strstr(end.message, "wgpuQueueRelease"));
    assert_null(gpu_open(type, &(mia_webgpu_options){.library = "libm.so.6"}, NULL, &failed, &end));
    assert_int_equal(end.status, MIA_ERROR_NOT_FOUND);
}

/* One in the place where `make webgpu` puts it that does not load: not as if there were none. */
static void test_installed(void **state) {
    (void)state;
    char folder[200], path[300];
    const char *root = getenv("TMPDIR"), *data = getenv("XDG_DATA_HOME");
    (void)snprintf(folder, sizeof folder, "%s/mia-test-library-XXXXXX", root != NULL ? root : "/tmp");
    char *before = data != NULL ? strdup(data) : NULL;
    gpu_end failed, end;
    assert_non_null(mkdtemp(folder));
    static const char *const below[] = {"", "/mia", "/mia/webgpu"};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s%s", folder, below[i]);
        assert_true(i == 0 || mkdir(path, 0700) == 0);
    }
    (void)snprintf(path, sizeof path, "%s/mia/webgpu/libwebgpu_dawn.so", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs("no library", file) >= 0 && fclose(file) == 0);
    assert_int_equal(setenv("XDG_DATA_HOME", folder, 1), 0);
    mia__gpu *gpu = gpu_open(type, NULL, NULL, &failed, &end);
    assert_int_equal(before != NULL ? setenv("XDG_DATA_HOME", before, 1) : unsetenv("XDG_DATA_HOME"), 0);
    free(before);
    for (size_t i = 4; i-- > 0;) {
        assert_int_equal(remove(path), 0);
        *strrchr(path, '/') = '\0';
    }
    if (gpu != NULL) { /* the machine has one that comes first */
        type->close(gpu);
        skip();
    }
    assert_int_equal(end.status, MIA_ERROR_NOT_FOUND);
    assert_non_null(strstr(end.message, "does not load"));
    assert_non_null(strstr(end.message, folder));
}

static void test_named_by_environment(void **state) {
    (void)state;
    library it = load(FAKE_DAWN);
    assert_int_equal(setenv("MIA_WEBGPU_LIBRARY", FAKE_DAWN, 1), 0);
    mia__gpu *gpu = gpu_open(type, NULL, NULL, &it.failed, &it.end);
    assert_int_equal(unsetenv("MIA_WEBGPU_LIBRARY"), 0);
    assert_non_null(gpu);
    assert_string_equal(gpu->info.library, FAKE_DAWN);
    unload(&it, gpu);
}

static void test_no_adapter(void **state) {
    (void)state;
    library it = load(FAKE_DAWN);
    it.fake->adapter_count = 0;
    assert_null(open_it(&it, (mia_webgpu_options){0}));
    assert_int_equal(it.end.status, MIA_ERROR_NOT_FOUND);
    assert_non_null(strstr(it.end.message, "make webgpu"));
    it.fake->adapter_count = 1;
    it.fake->no_device = true;
    assert_null(open_it(&it, (mia_webgpu_options){0}));
    assert_int_equal(it.end.status, MIA_ERROR_UNSUPPORTED);
    assert_non_null(strstr(it.end.message, "told to give no device"));
    unload(&it, NULL);
}

/* CPUs come last, and a part of a name chooses. */
static void test_choice(void **state) {
    (void)state;
    library it = load(FAKE_DAWN);
    it.fake->adapter_count = 3;
    it.fake->adapters[0].name = "a processor";
    it.fake->adapters[0].type = 3;
    it.fake->adapters[1].name = "a small card";
    it.fake->adapters[2].name = "a large card";
    mia__gpu *gpu = opened(&it, (mia_webgpu_options){0});
    assert_string_equal(gpu->info.name, "a small card");
    type->close(gpu);
    gpu = opened(&it, (mia_webgpu_options){.adapter = "large"});
    assert_string_equal(gpu->info.name, "a large card");
    type->close(gpu);
    gpu = opened(&it, (mia_webgpu_options){.adapter = "processor"});
    assert_true(gpu->info.processor);
    unload(&it, gpu);
}

/* --- instances ------------------------------------------------------------------------------------------ */

/* The library does not let the driver go between one GPU and the next. */
static void test_one_after_the_other(void **state) {
    (void)state;
    library it = load(FAKE_DAWN);
    for (int i = 0; i < 40; i++) {
        mia__gpu *gpu = opened(&it, (mia_webgpu_options){0});
        use(gpu);
        type->close(gpu);
        assert_int_equal(it.allocator.live_bytes, 0);
        assert_int_equal(it.fake->live, 1);
    }
    mia_webgpu_adapter adapter;
    size_t count;
    assert_int_equal(
        mia_webgpu_adapters(&(mia_webgpu_options){.library = FAKE_DAWN}, &adapter, 1, &count, NULL), MIA_OK);
    assert_int_equal(count, 1);
    it.fake->no_device = true;
    assert_null(open_it(&it, (mia_webgpu_options){0}));
    it.fake->no_device = false;
    assert_null(open_it(&it, (mia_webgpu_options){.adapter = "no such card"}));
    unload(&it, opened(&it, (mia_webgpu_options){0}));
    assert_int_equal(it.fake->instances, 2); /* no device, and not a word of its loss */
}

/* GPUs that are open together have an instance each, and of each library its own. */
static void test_side_by_side(void **state) {
    (void)state;
    library it = load(FAKE_DAWN), twin = it, other = load(FAKE_DAWN_2025);
    for (int i = 0; i < 3; i++) {
        mia__gpu *one = opened(&it, (mia_webgpu_options){0}), *two = opened(&twin, (mia_webgpu_options){0}),
                 *three = opened(&other, (mia_webgpu_options){0});
        assert_int_equal(it.fake->instances, 2);
        assert_int_equal(other.fake->instances, 1);
        type->close(i == 1 ? two : one);
        use(i == 1 ? one : two);
        use(three);
        type->close(i == 1 ? one : two);
        type->close(three);
        assert_int_equal(it.fake->live, 2);
        assert_int_equal(twin.allocator.live_bytes, 0);
        assert_int_equal(other.fake->live, 1);
    }
    unload(&it, NULL);
    unload(&other, NULL);
}

/* Where it is not certain that the library has called back for the last time, or where the drivers had better be looked
 * for anew, the instance goes with its GPU; and with a library that the program may unload. */
static void test_instances_that_go(void **state) {
    (void)state;
    library silent = load(FAKE_NATIVE), it = load(FAKE_DAWN);
    for (uint32_t i = 1; i <= 2; i++) {
        type->close(opened(&silent, (mia_webgpu_options){0}));
        assert_int_equal(silent.fake->live, 0);
        assert_int_equal(silent.fake->instances, i);
    }
    unload(&silent, NULL);

    mia__gpu *gpu = opened(&it, (mia_webgpu_options){0});
    gpu_end done = {0};
    mia__gpu_buffer *a = type->buffer(gpu, 64, MIA__GPU_STORAGE, NULL),
                    *b = type->buffer(gpu, 64, MIA__GPU_STORAGE, NULL);
    it.fake->lose_at = 1;
    type->copy(gpu, a, 0, b, 0, 64);
    type->submit(gpu, gpu_on_done, &done);
    gpu_await(gpu, &done);
    assert_int_equal(done.status, MIA_ERROR_DEVICE_LOST);
    type->free_buffer(gpu, a);
    type->free_buffer(gpu, b);
    type->close(gpu);
    assert_int_equal(it.fake->live, 0);

    it.fake->lose_at = 0;
    it.fake->adapter_count = 0;
    assert_null(open_it(&it, (mia_webgpu_options){0}));
    assert_int_equal(it.fake->live, 0);

    it.fake->adapter_count = 1;
    handle_of_fake = it.handle;
    gpu = gpu_open(type, &(mia_webgpu_options){.procedure = procedure}, NULL, &it.failed, &it.end);
    assert_non_null(gpu);
    type->close(gpu);
    assert_int_equal(it.fake->live, 0);
    unload(&it, NULL);
}

/* --- a program's own device ----------------------------------------------------------------------------- */

static void *call_for_object(const char *name, void *argument) {
    void *(*make)(void *);
    void *address = procedure(name);
    memcpy(&make, &address, sizeof make);
    return make(argument);
}

static void test_own_device(void **state) {
    (void)state;
    library it = load(FAKE_DAWN);
    handle_of_fake = it.handle;
    struct {
        void *chain;
        uint64_t rest[8];
    } nothing = {0};
    void *instance = call_for_object("wgpuCreateInstance", &nothing);
    void *device = call_for_object("wgpuDeviceGetQueue", instance); /* objects of the fake are all alike */
    mia_webgpu_options options = {.instance = instance, .procedure = procedure};
    assert_null(open_it(&it, options));
    assert_int_equal(it.end.status, MIA_ERROR_INVALID_ARGUMENT);
    options.device = device;
    options.procedure = NULL; /* the functions of another library than the device's would be no good */
    assert_null(open_it(&it, options));
    assert_int_equal(it.end.status, MIA_ERROR_INVALID_ARGUMENT);
    options.procedure = procedure;
    mia__gpu *gpu = opened(&it, options);
    assert_string_equal(gpu->info.name, "fake device");
    use(gpu);
    /* errors of the device are the program's to hear of, so those of a submit come with it */
    gpu_end done = {0};
    mia__gpu_buffer *a = type->buffer(gpu, 64, MIA__GPU_STORAGE, NULL),
                    *b = type->buffer(gpu, 64, MIA__GPU_STORAGE, NULL);
    for (int i = 0; i < 2; i++) {
        it.fake->break_submit = true;
        type->copy(gpu, a, 0, b, 0, 64);
        type->submit(gpu, i == 0 ? gpu_on_done : NULL, &done);
        for (int n = 0; n < 5; n++) type->poll(gpu, false);
    }
    assert_int_equal(done.times, 1);
    assert_int_equal(done.status, MIA_ERROR_INTERNAL);
    assert_non_null(strstr(done.message, "told to break"));
    assert_int_equal(it.failed.times, 1); /* of the one without a callback */
    type->free_buffer(gpu, a);
    type->free_buffer(gpu, b);
    type->close(gpu);
    assert_int_equal(it.fake->live, 2);
    (void)call_for_object("wgpuDeviceRelease", device);
    (void)call_for_object("wgpuInstanceRelease", instance);
    unload(&it, NULL);
}

/* --- failures ------------------------------------------------------------------------------------------- */

static void test_out_of_memory(void **state) {
    (void)state;
    const char *const paths[] = {FAKE_DAWN, FAKE_NATIVE};
    for (int i = 0; i < 2; i++) {
        library it = load(paths[i]);
        it.fake->memory = 1000;
        mia__gpu *gpu = opened(&it, (mia_webgpu_options){0});
        mia_error error = {0};
        assert_null(type->buffer(gpu, 1004, MIA__GPU_STORAGE, &error));
        assert_int_equal(error.status, MIA_ERROR_NO_MEMORY);
        assert_non_null(strstr(error.message, "fake: out of memory"));
        assert_null(type->buffer(gpu, UINT64_C(1) << 40, MIA__GPU_STORAGE, NULL));
        mia__gpu_buffer *buffer = type->buffer(gpu, 1000, MIA__GPU_STORAGE, &error);
        assert_non_null(buffer);
        type->free_buffer(gpu, buffer);
        assert_int_equal(it.failed.times, 0);
        unload(&it, gpu);
    }
}

/* Whatever is under way ends with DEVICE_LOST, whether the library says so or is silent; afterwards nothing works and
 * nothing hangs. */
static void lose(const char *path, bool silent) {
    library it = load(path);
    mia__gpu *gpu = opened(&it, (mia_webgpu_options){0});
    gpu_end done = {0}, mapped = {0}, made = {0};
    mia__gpu_buffer *a = type->buffer(gpu, 64, MIA__GPU_STORAGE, NULL),
                    *b = type->buffer(gpu, 64, MIA__GPU_READBACK, NULL);
    mia__gpu_pipeline *pipeline = gpu_make(gpu, shader, "").pipeline;
    mia__gpu_bindings *bindings = type->bind(gpu, pipeline, NULL, 0);
    it.fake->lose_at = 1;
    it.fake->silent_loss = silent;
    type->copy(gpu, a, 0, b, 0, 64);
    type->submit(gpu, gpu_on_done, &done);
    type->map(gpu, b, 64, gpu_on_mapped, &mapped);
    type->pipeline(gpu, &(mia__gpu_shader){.label = "late", .wgsl = shader}, gpu_on_made, &made);
    gpu_await(gpu, &done);
    gpu_await(gpu, &mapped);
    assert_int_equal(done.status, MIA_ERROR_DEVICE_LOST);
    assert_int_equal(mapped.status, MIA_ERROR_DEVICE_LOST);
    assert_null(mapped.memory);
    gpu_await(gpu, &made);
    if (made.pipeline != NULL) type->free_pipeline(gpu, made.pipeline);
    assert_int_equal(it.failed.times, 1);
    assert_int_equal(it.failed.status, MIA_ERROR_DEVICE_LOST);
    assert_string_equal(it.failed.message, "fake: the GPU fell off the bus");

    mia_error error = {0};
    assert_null(type->buffer(gpu, 64, MIA__GPU_STORAGE, &error));
    assert_int_equal(error.status, MIA_ERROR_DEVICE_LOST);
    assert_null(type->bind(gpu, pipeline, NULL, 0));
    type->write(gpu, a, 0, &error, 4);
    type->dispatch(gpu, pipeline, bindings, (uint32_t[]){1, 1, 1}, -1);
    gpu_end again[3] = {0};
    type->submit(gpu, gpu_on_done, &again[0]);
    type->map(gpu, b, 64, gpu_on_mapped, &again[1]);
    type->pipeline(gpu, &(mia__gpu_shader){.label = "later", .wgsl = shader}, gpu_on_made, &again[2]);
    for (int i = 0; i < 3; i++) {
        gpu_await(gpu, &again[i]);
        assert_int_equal(again[i].status, MIA_ERROR_DEVICE_LOST);
        assert_true(again[i].message[0] != '\0');
    }
    type->poll(gpu, true);
    assert_int_equal(it.failed.times, 1);
    type->free_bindings(gpu, bindings);
    type->free_pipeline(gpu, pipeline);
    type->free_buffer(gpu, a);
    type->free_buffer(gpu, b);
    unload(&it, gpu);
}

static void test_lost(void **state) {
    (void)state;
    lose(FAKE_DAWN, false);
    lose(FAKE_DAWN, true);
    lose(FAKE_NATIVE, false);
    lose(FAKE_NATIVE, true);
}

static void test_close_under_way(void **state) {
    (void)state;
    library it = load(FAKE_DAWN);
    mia__gpu *gpu = opened(&it, (mia_webgpu_options){0});
    gpu_end done = {0}, made = {0};
    type->submit(gpu, gpu_on_done, &done);
    type->pipeline(gpu, &(mia__gpu_shader){.label = "late", .wgsl = shader}, gpu_on_made, &made);
    type->close(gpu);
    assert_int_equal(done.times, 1);
    assert_int_equal(made.times, 1);
    unload(&it, NULL);
}

/* Any allocation fails in turn, and nothing is lost. */
static void test_no_memory(void **state) {
    (void)state;
    library it = load(FAKE_DAWN);
    bool failed_once = true;
    for (long n = 0; failed_once; n++) {
        test_allocator_init(&it.allocator);
        it.allocator.fail_at = n;
        gpu_end done = {0}, mapped = {0}, made = {0};
        mia__gpu *gpu = gpu_open(type, &(mia_webgpu_options){.library = FAKE_DAWN}, &it.allocator.hook,
                                 &it.failed, &it.end);
        failed_once = gpu == NULL;
        if (gpu == NULL) {
            assert_int_equal(it.end.status, MIA_ERROR_NO_MEMORY);
            continue;
        }
        mia__gpu_buffer *b = type->buffer(gpu, 64, MIA__GPU_READBACK, NULL);
        type->pipeline(gpu, &(mia__gpu_shader){.label = "x", .wgsl = shader}, gpu_on_made, &made);
        type->submit(gpu, gpu_on_done, &done);
        type->map(gpu, b, 64, gpu_on_mapped, &mapped);
        gpu_await(gpu, &made);
        gpu_await(gpu, &done);
        gpu_await(gpu, &mapped);
        int failures = (made.status == MIA_ERROR_NO_MEMORY) + (done.status == MIA_ERROR_NO_MEMORY) +
                       (mapped.status == MIA_ERROR_NO_MEMORY);
        failed_once = it.allocator.allocations > n; /* the spare task may have helped */
        assert_true(failures <= 1);
        type->free_pipeline(gpu, made.pipeline);
        type->free_buffer(gpu, b);
        type->close(gpu);
        assert_int_equal(it.allocator.live_bytes, 0);
        assert_int_equal(it.fake->live, 1); /* the instance */
        if (!failed_once) assert_true(n >= 4);
    }
    unload(&it, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dawn),
        cmocka_unit_test(test_dawn_2025),
        cmocka_unit_test(test_wgpu_native),
        cmocka_unit_test(test_without),
        cmocka_unit_test(test_old_wgpu_native),
        cmocka_unit_test(test_installed),
        cmocka_unit_test(test_no_library),
        cmocka_unit_test(test_named_by_environment),
        cmocka_unit_test(test_no_adapter),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_own_device),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_close_under_way),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_side_by_side),
        cmocka_unit_test(test_instances_that_go),
    };
    return cmocka_run_group_tests_name("gpu library", tests, NULL, NULL);
}
