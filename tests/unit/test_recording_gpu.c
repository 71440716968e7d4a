/* The recording GPU that other tests stand on: what it writes down, keeps, completes, and holds against its caller. */
#include "support/gpu_calls.h"
#include "support/recording_gpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const mia__gpu_type *const type = &recording_gpu_type;
static gpu_end failed, end;

static mia__gpu *opened(const recording_settings *settings) {
    recording_set(settings);
    mia__gpu *gpu = gpu_open(type, NULL, NULL, &failed, &end);
    recording_set(NULL);
    assert_non_null(gpu);
    assert_ptr_equal(recording_last(), gpu);
    return gpu;
}

static void test_text_and_contents(void **state) {
    (void)state;
    mia__gpu *gpu = opened(NULL);
    mia__gpu_buffer *a = type->buffer(gpu, 512, MIA__GPU_STORAGE, NULL),
                    *b = type->buffer(gpu, 16, MIA__GPU_READBACK, NULL);
    mia__gpu_pipeline *pipeline = gpu_make(gpu, "fn main() {}", "rw").pipeline;
    mia__gpu_binding list[] = {{a, 0, 256}, {a, 256, 256}};
    assert_string_equal(recording_faults(gpu), "");
    type->free_bindings(gpu, type->bind(gpu, pipeline, list, 2));
    assert_non_null(strstr(recording_faults(gpu), "buffer 0 is both read and written by pipeline 0"));
    recording_clear(gpu);
    const uint32_t words[2] = {7, 8};
    type->write(gpu, a, 8, words, 8);
    type->copy(gpu, a, 4, b, 0, 12);
    type->submit(gpu, NULL, NULL);
    gpu_end mapped = {0};
    type->map(gpu, b, 16, gpu_on_mapped, &mapped);
    assert_int_equal(mapped.times, 0);
    type->poll(gpu, false);
    assert_int_equal(mapped.times, 1);
    assert_memory_equal(mapped.memory, ((const uint32_t[]){0, 7, 8, 0}), 16);
    type->unmap(gpu, b);
    assert_string_equal(recording_text(gpu), "write 0 at 8, 8 bytes\n"
                                             "copy 0+4 into 1+0, 12 bytes\n"
                                             "submit\n"
                                             "map 1, 16 bytes\n"
                                             "unmap 1\n");
    assert_string_equal(recording_wgsl(gpu, 0), "fn main() {}");
    type->free_buffer(gpu, a);
    recording_live live = recording_count(gpu);
    assert_int_equal(live.buffers, 1);
    assert_int_equal(live.bytes, 16);
    assert_int_equal(live.pipelines, 1);
    assert_int_equal(live.bindings, 0);
    type->close(gpu);
    assert_null(recording_last());
}

static void test_late(void **state) {
    (void)state;
    mia__gpu *gpu = opened(&(recording_settings){.late = 2});
    gpu_end done[2] = {0};
    type->submit(gpu, gpu_on_done, &done[0]);
    type->submit(gpu, gpu_on_done, &done[1]);
    type->poll(gpu, false);
    assert_int_equal(done[0].times, 0);
    type->poll(gpu, true);
    assert_int_equal(done[0].times, 1);
    assert_int_equal(done[1].times, 0);
    type->poll(gpu, false);
    type->poll(gpu, false);
    assert_int_equal(done[1].times, 1);
    type->poll(gpu, true);
    type->close(gpu);
}

static void test_failures(void **state) {
    (void)state;
    mia__gpu *gpu = opened(&(recording_settings){.fail_buffer = 2, .lose_submit = 2, .refuse = "atan"});
    mia_error error = {0};
    assert_non_null(type->buffer(gpu, 4, MIA__GPU_STORAGE, &error));
    assert_null(type->buffer(gpu, 4, MIA__GPU_STORAGE, &error));
    assert_int_equal(error.status, MIA_ERROR_NO_MEMORY);
    assert_non_null(type->buffer(gpu, 4, MIA__GPU_STORAGE, &error));
    assert_int_equal(gpu_make(gpu, "x = atan(y)", "").status, MIA_ERROR_UNSUPPORTED);
    gpu_end done[2] = {0};
    type->submit(gpu, gpu_on_done, &done[0]);
    type->poll(gpu, false);
    assert_int_equal(done[0].status, MIA_OK);
    type->submit(gpu, gpu_on_done, &done[1]);
    type->poll(gpu, false);
    assert_int_equal(done[1].status, MIA_ERROR_DEVICE_LOST);
    assert_int_equal(failed.times, 1);
    assert_null(type->buffer(gpu, 4, MIA__GPU_STORAGE, &error));
    assert_int_equal(error.status, MIA_ERROR_DEVICE_LOST);
    assert_string_equal(recording_faults(gpu), "");
    type->close(gpu);

    recording_set(&(recording_settings){.no_adapter = true});
    assert_null(gpu_open(type, NULL, NULL, &failed, &end));
    assert_int_equal(end.status, MIA_ERROR_NOT_FOUND);
    recording_set(NULL);
}

static void test_faults(void **state) {
    (void)state;
    mia__gpu *gpu = opened(NULL);
    mia__gpu_buffer *a = type->buffer(gpu, 512, MIA__GPU_STORAGE, NULL);
    mia__gpu_pipeline *pipeline = gpu_make(gpu, "", "w").pipeline;
    mia__gpu_bindings *bindings = type->bind(gpu, pipeline, &(mia__gpu_binding){a, 128, 512}, 1);
    assert_non_null(strstr(recording_faults(gpu), "offset 128 is not aligned"));
    assert_non_null(strstr(recording_faults(gpu), "128 + 512 of 512"));
    type->free_buffer(gpu, a);
    type->dispatch(gpu, pipeline, bindings, (uint32_t[]){70000, 1, 1}, -1);
    assert_non_null(strstr(recording_faults(gpu), "dispatch: buffer 0 is freed"));
    assert_non_null(strstr(recording_faults(gpu), "70000 workgroups"));
    type->close(gpu);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_and_contents),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests_name("recording gpu", tests, NULL, NULL);
}
