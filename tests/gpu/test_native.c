/* The native GPU on a real library and driver: whatever this machine has, or what scripts/with_gpu.sh puts in place.
 * Skipped where nothing opens. */
#include "../unit/support.h"
#include "backend/webgpu/native.h"
#include "support/gpu_calls.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COUNT = 100003 };

typedef struct opened {
    test_allocator allocator;
    mia__gpu *gpu;
    gpu_end failed;
} opened;

static const mia__gpu_type *const type = &mia__gpu_native;

static void open_with(opened *test, const mia_webgpu_options *options) {
    gpu_end end;
    test_allocator_init(&test->allocator);
    test->gpu = gpu_open(type, options, &test->allocator.hook, &test->failed, &end);
    if (test->gpu == NULL) fail_msg("%s", end.message);
    assert_int_equal(end.times, 1);
}

static void close_opened(opened *test) {
    if (test->failed.times > 0) fail_msg("failed: %s", test->failed.message);
    type->close(test->gpu);
    assert_int_equal(test->allocator.live_bytes, 0);
}

static mia__gpu_buffer *buffer_of(mia__gpu *gpu, size_t bytes, mia__gpu_usage usage) {
    mia_error error = {0};
    mia__gpu_buffer *buffer = type->buffer(gpu, bytes, usage, &error);
    if (buffer == NULL) fail_msg("%s", error.message);
    return buffer;
}

static mia__gpu_pipeline *pipeline_of(mia__gpu *gpu, const char *wgsl, const char *access) {
    gpu_end made = gpu_make(gpu, wgsl, access);
    if (made.status != MIA_OK) fail_msg("%s", made.message);
    return made.pipeline;
}

static mia__gpu_bindings *bind(mia__gpu *gpu, mia__gpu_pipeline *pipeline, uint32_t count,
                               const mia__gpu_binding *list) {
    mia__gpu_bindings *bindings = type->bind(gpu, pipeline, list, count);
    assert_non_null(bindings);
    return bindings;
}

/* --- what opening tells ------------------------------------------------------------------------------- */

static void test_info(void **state) {
    (void)state;
    opened test;
    open_with(&test, NULL);
    const mia__gpu_info *info = &test.gpu->info;
    print_message("%s; %s; %s; features %x, subgroups %u to %u\n", info->name, info->driver, info->library,
                  info->features, info->subgroup_least, info->subgroup_most);
    assert_true(info->name[0] != '\0');
    assert_true(info->library[0] != '\0');
    /* the specification's defaults are the least there is */
    assert_true(info->limits.buffer_bytes >= 256 << 20);
    assert_true(info->limits.binding_bytes >= 128 << 20);
    assert_true(info->limits.storage_buffers >= 8);
    assert_true(info->limits.storage_alignment <= 256 && info->limits.uniform_alignment <= 256);
    assert_true(info->limits.uniform_bytes >= 65536);
    assert_true(info->limits.workgroup_bytes >= 16384);
    assert_true(info->limits.workgroup_invocations >= 256);
    assert_true(info->limits.workgroup_size[0] >= 256 && info->limits.workgroup_size[2] >= 64);
    assert_true(info->limits.workgroups >= 65535);
    bool subgroups = (info->features & MIA__GPU_SUBGROUPS) != 0;
    assert_int_equal(subgroups, info->subgroup_least > 0);
    assert_true(info->subgroup_least <= info->subgroup_most);
    assert_int_equal((info->features & MIA__GPU_SUBGROUP_MATRIX) != 0, info->matrix_count > 0);
    close_opened(&test);
}

static void test_doing_without(void **state) {
    (void)state;
    opened test;
    open_with(&test, &(mia_webgpu_options){.default_limits = true, .without = ~UINT32_C(0)});
    const mia__gpu_info *info = &test.gpu->info;
    assert_int_equal(info->features, 0);
    assert_int_equal(info->subgroup_most, 0);
    assert_int_equal(info->limits.binding_bytes, 128 << 20);
    assert_int_equal(info->limits.workgroup_bytes, 16384);
    assert_int_equal(info->limits.workgroup_invocations, 256);
    /* and it is really without */
    gpu_end made = gpu_make(test.gpu, "enable subgroups;\n@compute @workgroup_size(1) fn main() {}", "");
    assert_int_equal(made.status, MIA_ERROR_UNSUPPORTED);
    close_opened(&test);
}

static void test_adapter_by_name(void **state) {
    (void)state;
    opened test;
    char name[128];
    open_with(&test, NULL);
    (void)snprintf(name, sizeof name, "%s", test.gpu->info.name);
    close_opened(&test);
    open_with(&test, &(mia_webgpu_options){.adapter = name + strlen(name) / 2});
    assert_string_equal(test.gpu->info.name, name);
    close_opened(&test);
    gpu_end failed, end;
    assert_null(gpu_open(type, &(mia_webgpu_options){.adapter = "no such card"}, NULL, &failed, &end));
    assert_int_equal(end.status, MIA_ERROR_NOT_FOUND);
    assert_non_null(strstr(end.message, "no such card"));
}

/* --- work --------------------------------------------------------------------------------------------- */

static const char add_wgsl[] =
    "struct Parameters { scale: f32, count: u32 }\n"
    "@group(0) @binding(0) var<storage, read> a: array<f32>;\n"
    "@group(0) @binding(1) var<storage, read_write> b: array<f32>;\n"
    "@group(0) @binding(2) var<uniform> parameters: Parameters;\n"
    "@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3u) {\n"
    "    if (id.x < parameters.count) { b[id.x] = a[id.x] * parameters.scale + b[id.x]; }\n"
    "}\n";

/* b += a * scale, again and again in one submission: each dispatch sees what the one before wrote. */
static void test_dispatches(void **state) {
    (void)state;
    opened test;
    open_with(&test, NULL);
    mia__gpu *gpu = test.gpu;
    uint64_t seed = test_seed();
    float *a = malloc(COUNT * sizeof *a), *b = malloc(COUNT * sizeof *b);
    for (int i = 0; i < COUNT; i++) a[i] = test_uniform(&seed), b[i] = test_uniform(&seed);
    const struct {
        float scale;
        uint32_t count;
    } parameters = {0.5f, COUNT - 1};
    mia__gpu_buffer *in = buffer_of(gpu, COUNT * 4, MIA__GPU_STORAGE),
                    *out = buffer_of(gpu, COUNT * 4, MIA__GPU_STORAGE),
                    *uniform = buffer_of(gpu, sizeof parameters, MIA__GPU_UNIFORM);
    type->write(gpu, in, 0, a, COUNT * 4);
    type->write(gpu, out, 0, b, 1000 * 4);
    type->write(gpu, out, 1000 * 4, b + 1000, (COUNT - 1000) * 4);
    type->write(gpu, uniform, 0, &parameters, sizeof parameters);
    mia__gpu_pipeline *add = pipeline_of(gpu, add_wgsl, "rwp");
    mia__gpu_bindings *bindings =
        bind(gpu, add, 3,
             (mia__gpu_binding[]){{in, 0, COUNT * 4}, {out, 0, COUNT * 4}, {uniform, 0, sizeof parameters}});
    const uint32_t groups[3] = {(COUNT + 255) / 256, 1, 1};
    gpu_end done = {0};
    for (int i = 0; i < 3; i++) type->dispatch(gpu, add, bindings, groups, -1);
    type->submit(gpu, gpu_on_done, &done);
    gpu_await(gpu, &done);
    assert_int_equal(done.status, MIA_OK);
    float *got = malloc(COUNT * sizeof *got);
    assert_int_equal(gpu_read(gpu, out, 0, got, COUNT * 4), MIA_OK);
    for (int i = 0; i < COUNT; i++) {
        float expected = i < COUNT - 1 ? b[i] + 1.5f * a[i] : b[i];
        if (!(got[i] - expected <= 1e-6f && expected - got[i] <= 1e-6f))
            fail_msg("%d: %.9g, not %.9g", i, (double)got[i], (double)expected);
    }
    type->free_bindings(gpu, bindings);
    type->free_pipeline(gpu, add);
    type->free_buffer(gpu, in);
    type->free_buffer(gpu, out);
    type->free_buffer(gpu, uniform);
    free(a);
    free(b);
    free(got);
    close_opened(&test);
}

/* Buffers begin as zeros; copies take parts of them; writes go before what is submitted after them. */
static void test_copies(void **state) {
    (void)state;
    opened test;
    open_with(&test, NULL);
    mia__gpu *gpu = test.gpu;
    uint32_t words[64], got[64];
    for (uint32_t i = 0; i < 64; i++) words[i] = i + 1;
    mia__gpu_buffer *from = buffer_of(gpu, sizeof words, MIA__GPU_STORAGE),
                    *into = buffer_of(gpu, sizeof words, MIA__GPU_STORAGE);
    type->copy(gpu, from, 16, into, 32, 64);
    type->write(gpu, from, 0, words, sizeof words);
    type->submit(gpu, NULL, NULL);
    type->write(gpu, from, 0, (uint32_t[64]){0}, sizeof words);
    assert_int_equal(gpu_read(gpu, into, 0, got, sizeof got), MIA_OK);
    for (uint32_t i = 0; i < 64; i++) assert_int_equal(got[i], i >= 8 && i < 24 ? i - 8 + 4 + 1 : 0);
    type->free_buffer(gpu, from);
    type->free_buffer(gpu, into);
    close_opened(&test);
}

static void test_stamps(void **state) {
    (void)state;
    opened test;
    open_with(&test, *state);
    mia__gpu *gpu = test.gpu;
    mia__gpu_buffer *in = buffer_of(gpu, COUNT * 4, MIA__GPU_STORAGE),
                    *out = buffer_of(gpu, COUNT * 4, MIA__GPU_STORAGE),
                    *uniform = buffer_of(gpu, 8, MIA__GPU_UNIFORM),
                    *readback = buffer_of(gpu, 3 * 16, MIA__GPU_READBACK);
    type->write(gpu, uniform, 0, (uint32_t[]){0, COUNT}, 8);
    mia__gpu_pipeline *add = pipeline_of(gpu, add_wgsl, "rwp");
    mia__gpu_bindings *bindings =
        bind(gpu, add, 3, (mia__gpu_binding[]){{in, 0, COUNT * 4}, {out, 0, COUNT * 4}, {uniform, 0, 8}});
    for (int round = 0; round < 2; round++) {
        gpu_end end = {0};
        for (int32_t i = 0; i < 3; i++) {
            type->dispatch(gpu, add, bindings, (uint32_t[]){(COUNT + 255) / 256, 1, 1}, i);
            type->dispatch(gpu, add, bindings, (uint32_t[]){1, 1, 1}, -1);
        }
        type->stamps(gpu, 3, readback);
        type->submit(gpu, NULL, NULL);
        type->map(gpu, readback, 3 * 16, gpu_on_mapped, &end);
        gpu_await(gpu, &end);
        assert_int_equal(end.status, MIA_OK);
        uint64_t times[6];
        memcpy(times, end.memory, sizeof times);
        type->unmap(gpu, readback);
        if ((gpu->info.features & MIA__GPU_TIMESTAMPS) != 0) {
            for (int i = 0; i + 1 < 6; i++) assert_true(times[i] <= times[i + 1]);
            assert_true(times[5] > times[0] && times[5] - times[0] < UINT64_C(10000000000));
        } else {
            for (int i = 0; i < 6; i++) assert_int_equal(times[i], 0);
        }
    }
    type->free_bindings(gpu, bindings);
    type->free_pipeline(gpu, add);
    type->free_buffer(gpu, in);
    type->free_buffer(gpu, out);
    type->free_buffer(gpu, uniform);
    type->free_buffer(gpu, readback);
    close_opened(&test);
}

/* Many pipelines at once, and several submissions under way, end each once and in order. */
static void test_much_at_once(void **state) {
    (void)state;
    enum { MANY = 12 };
    opened test;
    open_with(&test, NULL);
    mia__gpu *gpu = test.gpu;
    gpu_end made[MANY] = {0}, done[MANY] = {0};
    mia__gpu_buffer *out = buffer_of(gpu, MANY * 4, MIA__GPU_STORAGE);
    for (int i = 0; i < MANY; i++) {
        char wgsl[300];
        (void)snprintf(wgsl, sizeof wgsl,
                       "@group(0) @binding(0) var<storage, read_write> x: array<i32>;\n"
                       "@compute @workgroup_size(1) fn main() { x[%d] += %d * (x[0] + 1); }\n",
                       i, i + 1);
        mia__gpu_shader shader = {
            .label = "many", .wgsl = wgsl, .access = {MIA__GPU_READ_WRITE}, .binding_count = 1};
        type->pipeline(gpu, &shader, gpu_on_made, &made[i]);
    }
    for (int i = 0; i < MANY; i++) {
        gpu_await(gpu, &made[i]);
        assert_int_equal(made[i].status, MIA_OK);
    }
    for (int i = 0; i < MANY; i++) {
        mia__gpu_bindings *bindings = bind(gpu, made[i].pipeline, 1, &(mia__gpu_binding){out, 0, MANY * 4});
        type->dispatch(gpu, made[i].pipeline, bindings, (uint32_t[]){1, 1, 1}, -1);
        type->submit(gpu, gpu_on_done, &done[i]);
        type->free_bindings(gpu, bindings); /* as soon as it is submitted */
        type->free_pipeline(gpu, made[i].pipeline);
    }
    gpu_await(gpu, &done[MANY - 1]);
    for (int i = 0; i < MANY; i++) assert_int_equal(done[i].times, 1);
    int32_t got[MANY];
    assert_int_equal(gpu_read(gpu, out, 0, got, sizeof got), MIA_OK);
    assert_int_equal(got[0], 1);
    for (int i = 1; i < MANY; i++) assert_int_equal(got[i], 2 * (i + 1));
    type->free_buffer(gpu, out);
    type->poll(gpu, true); /* nothing is under way: returns at once */
    close_opened(&test);
}

/* --- refusals ----------------------------------------------------------------------------------------- */

static void test_bad_shaders(void **state) {
    (void)state;
    opened test;
    open_with(&test, NULL);
    gpu_end made = gpu_make(test.gpu, "@compute @workgroup_size(64) fn main() { let x: u32 = nowhere; }", "");
    assert_int_equal(made.status, MIA_ERROR_UNSUPPORTED);
    assert_null(made.pipeline);
    assert_non_null(strstr(made.message, "nowhere"));
    /* compiles, but is more than the device takes */
    made = gpu_make(test.gpu, "@compute @workgroup_size(4096, 4) fn main() {}", "");
    assert_int_equal(made.status, MIA_ERROR_UNSUPPORTED);
    assert_true(made.message[0] != '\0');
    /* bindings that are not what the shader says */
    made = gpu_make(test.gpu, add_wgsl, "rrp");
    assert_int_equal(made.status, MIA_ERROR_UNSUPPORTED);
    /* and goes on as if nothing had been */
    test.gpu->type->free_pipeline(test.gpu, pipeline_of(test.gpu, add_wgsl, "rwp"));
    close_opened(&test);
}

static void test_too_large(void **state) {
    (void)state;
    opened test;
    open_with(&test, NULL);
    mia_error error = {0};
    uint64_t most = test.gpu->info.limits.buffer_bytes;
    assert_null(type->buffer(test.gpu, most + 1, MIA__GPU_STORAGE, &error));
    assert_int_equal(error.status, MIA_ERROR_NO_MEMORY);
    /* what the library itself refuses */
    test.gpu->info.limits.buffer_bytes = UINT64_MAX;
    assert_null(type->buffer(test.gpu, UINT64_C(1) << 50, MIA__GPU_STORAGE, &error));
    assert_int_equal(error.status, MIA_ERROR_NO_MEMORY);
    close_opened(&test);
}

/* What nothing else reports is told to `failed`, once. */
static void test_wrong_call(void **state) {
    (void)state;
    opened test;
    open_with(&test, NULL);
    mia__gpu_buffer *buffer = buffer_of(test.gpu, 16, MIA__GPU_STORAGE);
    type->write(test.gpu, buffer, 8, (uint32_t[4]){0}, 16); /* past its end */
    type->poll(test.gpu, false);
    assert_int_equal(test.failed.times, 1);
    assert_int_equal(test.failed.status, MIA_ERROR_INTERNAL);
    assert_true(test.failed.message[0] != '\0');
    type->poll(test.gpu, false);
    assert_int_equal(test.failed.times, 1);
    test.failed.times = 0;
    type->free_buffer(test.gpu, buffer);
    close_opened(&test);
}

static void test_no_memory(void **state) {
    (void)state;
    for (long n = 0; n < 3; n++) {
        gpu_end failed, end;
        test_allocator allocator;
        test_allocator_init(&allocator);
        allocator.fail_at = n;
        mia__gpu *gpu = gpu_open(type, NULL, &allocator.hook, &failed, &end);
        assert_int_equal(gpu == NULL, n < 2);
        if (gpu == NULL) {
            assert_int_equal(end.status, MIA_ERROR_NO_MEMORY);
            continue;
        }
        end = (gpu_end){0};
        type->submit(gpu, gpu_on_done, &end); /* what was gathered does not get lost for want of memory */
        gpu_await(gpu, &end);
        assert_int_equal(end.status, MIA_OK);
        type->close(gpu);
        assert_int_equal(allocator.live_bytes, 0);
    }
}

/* --- a program's own device ----------------------------------------------------------------------------- */

static mia__native *programs; /* the GPU whose instance and device stand for a program's */

static void *procedure(const char *name) {
    return dlsym(programs->library.handle, name);
}

/* Its loss is told to the program alone; who works with it finds out. */
static void test_own_device_lost(void **state) {
    (void)state;
    opened owner, test;
    open_with(&owner, NULL);
    programs = (mia__native *)owner.gpu;
    const mia_webgpu_options options = {
        .instance = programs->instance, .device = programs->device, .procedure = procedure};
    open_with(&test, &options);
    gpu_end before = {0}, after = {0}, again;
    type->submit(test.gpu, gpu_on_done, &before);
    gpu_await(test.gpu, &before);
    assert_int_equal(before.status, MIA_OK);
    programs->library.DeviceDestroy(programs->device);
    type->poll(test.gpu, false);
    type->submit(test.gpu, gpu_on_done, &after);
    gpu_await(test.gpu, &after);
    assert_int_equal(after.status, MIA_ERROR_DEVICE_LOST);
    assert_int_equal(test.failed.status, MIA_ERROR_DEVICE_LOST);
    assert_null(gpu_open(type, &options, NULL, &test.failed, &again));
    assert_int_equal(again.status, MIA_ERROR_DEVICE_LOST);
    test.failed.times = 0;
    close_opened(&test);
    owner.failed.times = 0;
    close_opened(&owner);
}

/* A device closed with work under way: nobody is left without an answer. */
static void test_close_with_work(void **state) {
    (void)state;
    opened test;
    open_with(&test, NULL);
    gpu_end end = {0};
    type->submit(test.gpu, gpu_on_done, &end);
    close_opened(&test);
    assert_int_equal(end.times, 1);
}

int main(void) {
    gpu_end failed, end;
    mia__gpu *gpu = gpu_open(type, NULL, NULL, &failed, &end);
    if (gpu == NULL) {
        printf("skipped: %s\n", end.message);
        return 77;
    }
    type->close(gpu);
    static mia_webgpu_options untimed = {.without = MIA_WEBGPU_TIMESTAMPS};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_doing_without),
        cmocka_unit_test(test_adapter_by_name),
        cmocka_unit_test(test_dispatches),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_own_device_lost),
        cmocka_unit_test(test_stamps),
        cmocka_unit_test_prestate(test_stamps, &untimed),
        cmocka_unit_test(test_much_at_once),
        cmocka_unit_test(test_bad_shaders),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_wrong_call),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_close_with_work),
    };
    return cmocka_run_group_tests_name("native", tests, NULL, NULL);
}
