/* Any number of tensors joined, stacked and cut apart. */
#include "unit/support.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SITE NULL, 0
#define MOST 40

static mia_device *open_device(const char *backend, const mia_allocator *hook) {
    mia_device_options options = {.backend = backend, .threads = 2, .allocator = hook};
    mia_device *device = NULL;
    assert_int_equal(mia_device_open(&options, &device, NULL), MIA_OK);
    return device;
}

static void close_device(mia_device *device) {
    mia_error error = {0};
    if (mia_device_close(device, &error) != MIA_OK) fail_msg("%s", error.message);
}

/* [a, extent, b] of numbers that count from `first` on. */
static mia_tensor numbers(mia_device *device, int64_t a, int64_t extent, int64_t b, float first) {
    mia_shape shape = {3, {a, extent, b}};
    return mia_op_reshape(mia_tensor_arange(device, MIA_f32, (double)first, 1, a * extent * b, SITE), shape,
                          SITE);
}

/* Lists of every length, pieces of 0 to 3 places, against the definition; what goes in comes out again by split. */
static void test_concat_and_split(void **state) {
    (void)state;
    static const char *const backends[] = {"reference", "cpu"};
    for (int b = 0; b < 2; b++) {
        mia_device *device = open_device(backends[b], NULL);
        for (size_t count = 1; count <= MOST; count++) {
            mia_tensor list[MOST], parts[MOST];
            int64_t sizes[MOST], total = 0;
            for (size_t i = 0; i < count; i++) {
                sizes[i] = (int64_t)((i * 7 + count) % 4);
                list[i] = numbers(device, 2, sizes[i], 3, (float)(100 * i));
                total += sizes[i];
            }
            mia_tensor whole = mia_tensor_concat(list, count, 1, SITE);
            mia_shape shape = mia_tensor_shape(whole);
            assert_true(shape.ndim == 3 && shape.extent[0] == 2 && shape.extent[1] == total &&
                        shape.extent[2] == 3);
            float seen[2 * 3 * 4 * MOST];
            size_t bytes = (size_t)total * 6 * sizeof(float);
            assert_int_equal(mia_tensor_read(mia_op_ref(whole, SITE), seen, bytes, NULL, SITE), MIA_OK);
            int64_t place = 0;
            for (size_t i = 0; i < count; i++)
                for (int64_t k = 0; k < sizes[i]; k++, place++)
                    for (int64_t x = 0; x < 2; x++)
                        for (int64_t y = 0; y < 3; y++)
                            assert_true(seen[x + 2 * (place + total * y)] ==
                                        (float)(100 * (int64_t)i + x + 2 * (k + sizes[i] * y)));
            mia_tensor_split(whole, 1, sizes, count, parts, SITE);
            for (size_t i = 0; i < count; i++) {
                float part[18];
                assert_int_equal(
                    mia_tensor_read(parts[i], part, (size_t)sizes[i] * 6 * sizeof(float), NULL, SITE),
                    MIA_OK);
                for (int64_t k = 0; k < 6 * sizes[i]; k++)
                    assert_true(part[k] == (float)(100 * (int64_t)i + k));
            }
        }
        assert_int_equal(mia_device_count(device).handles, 0);
        close_device(device);
    }
}

static void test_stack(void **state) {
    (void)state;
    mia_device *device = open_device("cpu", NULL);
    for (uint32_t mode = 0; mode <= 3; mode++)
        for (size_t count = 1; count <= 9; count++) {
            mia_tensor list[9];
            for (size_t i = 0; i < count; i++) list[i] = numbers(device, 2, 3, 2, (float)(100 * i));
            mia_tensor whole = mia_tensor_stack(list, count, mode, SITE);
            mia_shape shape = mia_tensor_shape(whole);
            assert_true(shape.ndim == 4 && shape.extent[mode] == (int64_t)count);
            mia_tensor parts[9];
            const int64_t ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
            mia_tensor_split(whole, mode, ones, count, parts, SITE);
            for (size_t i = 0; i < count; i++) {
                float seen[12];
                assert_int_equal(mia_tensor_read(parts[i], seen, sizeof seen, NULL, SITE), MIA_OK);
                for (int k = 0; k < 12; k++) assert_true(seen[k] == (float)(100 * (int)i + k));
            }
        }
    close_device(device);
}

/* Each element is written a fixed number of times, however long the list is. */
static void test_cost_is_linear(void **state) {
    (void)state;
    mia_device *device = open_device("cpu", NULL);
    mia_tensor list[MOST];
    for (size_t i = 0; i < MOST; i++) list[i] = mia_op_copy(numbers(device, 64, 16, 1, 0), SITE);
    assert_int_equal(mia_tensor_eval(list, MOST, NULL), MIA_OK);
    size_t before = mia_device_count(device).bytes, bytes = MOST * 64 * 16 * sizeof(float);
    mia_tensor whole = mia_tensor_concat(list, MOST, 1, SITE);
    mia_plan_info info;
    assert_int_equal(mia_tensor_plan(&whole, 1, &info, NULL), MIA_OK);
    assert_int_equal(info.steps, MOST);
    assert_true(info.arena_bytes + info.output_bytes <= bytes + 4096);
    assert_true(before >= bytes);
    mia_op_unref(whole, SITE);
    close_device(device);
}

static void test_packed(void **state) {
    (void)state;
    mia_device *device = open_device("cpu", NULL);
    float data[3][8], seen[24];
    mia_tensor list[3];
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 8; k++) data[i][k] = (float)(10 * i + k);
        list[i] = mia_tensor_upload(device, MIA_f32x4, (mia_shape){1, {2}}, data[i], SITE);
    }
    assert_int_equal(mia_tensor_read(mia_tensor_concat(list, 3, 0, SITE), seen, sizeof seen, NULL, SITE),
                     MIA_OK);
    assert_memory_equal(seen, data, sizeof seen);
    for (int i = 0; i < 3; i++)
        list[i] = mia_tensor_upload(device, MIA_f32x4, (mia_shape){1, {2}}, data[i], SITE);
    assert_int_equal(mia_tensor_read(mia_tensor_stack(list, 3, 0, SITE), seen, sizeof seen, NULL, SITE),
                     MIA_OK);
    for (int i = 0; i < 3; i++) assert_memory_equal(&seen[4 * i], data[i], 4 * sizeof(float));
    close_device(device);
}

static void test_typed(void **state) {
    (void)state;
    mia_device *device = open_device("cpu", NULL);
    const float a[2] = {1, 2}, b[2] = {3, 4};
    mia_tensor_f32 both =
        mia_stack(mia_upload(f32, device, MIA_SHAPE(2), a), mia_upload(f32, device, MIA_SHAPE(2), b), 0);
    mia_tensor_f32 parts[2];
    const int64_t sizes[2] = {1, 1};
    mia_split(both, 1, sizes, 2, parts);
    float seen[2];
    assert_int_equal(mia_read(parts[1], seen, 2, NULL), MIA_OK);
    assert_true(seen[0] == 2 && seen[1] == 4);
    assert_int_equal(mia_read(parts[0], seen, 2, NULL), MIA_OK);
    assert_true(seen[0] == 1 && seen[1] == 3);
    close_device(device);
}

/* --- what goes wrong -------------------------------------------------------------------------- */

static void expect(mia_tensor t, mia_status status, const char *words) {
    mia_error error = {0};
    assert_int_equal(mia_tensor_status(t, &error), status);
    if (strstr(error.message, words) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.message, words);
    mia_op_unref(t, SITE);
}

static void test_refused(void **state) {
    (void)state;
    mia_device *device = open_device("cpu", NULL);
    expect(mia_tensor_concat(NULL, 0, 0, SITE), MIA_ERROR_INVALID_ARGUMENT, "");
    expect(mia_tensor_stack(NULL, 0, 0, SITE), MIA_ERROR_INVALID_ARGUMENT, "");
    for (size_t count = 1; count <= 4; count++) {
        mia_tensor list[4];
        for (size_t i = 0; i < count; i++) list[i] = numbers(device, 2, 3, 2, 0);
        expect(mia_tensor_concat(list, count, 3, SITE), MIA_ERROR_SHAPE_MISMATCH, "mode");
        for (size_t i = 0; i < count; i++) list[i] = numbers(device, 2, 3, 2, 0);
        expect(mia_tensor_stack(list, count, 4, SITE), MIA_ERROR_SHAPE_MISMATCH, "mode");
        if (count == 1) continue;
        for (size_t i = 0; i < count; i++) list[i] = numbers(device, i == 1 ? 3 : 2, 3, 2, 0);
        expect(mia_tensor_concat(list, count, 1, SITE), MIA_ERROR_SHAPE_MISMATCH, "concat");
        for (size_t i = 0; i < count; i++) list[i] = numbers(device, 2, i == 1 ? 4 : 3, 2, 0);
        expect(mia_tensor_stack(list, count, 1, SITE), MIA_ERROR_SHAPE_MISMATCH, "concat");
        for (size_t i = 0; i < count; i++)
            list[i] = mia_tensor_full(device, i == 1 ? MIA_i32 : MIA_f32, (mia_shape){1, {2}}, 1, SITE);
        expect(mia_tensor_concat(list, count, 0, SITE), MIA_ERROR_TYPE_MISMATCH, "concat");
        for (size_t i = 0; i < count; i++) list[i] = numbers(device, 2, 3, 2, 0);
        list[1] = mia_op_reshape(list[1], (mia_shape){1, {5}}, SITE); /* the first cause is what is read */
        expect(mia_tensor_concat(list, count, 1, SITE), MIA_ERROR_SHAPE_MISMATCH, "reshape");
        list[0] = numbers(device, 2, 3, 2, 0);
        for (size_t i = 1; i < count; i++) list[i] = list[0]; /* the same handle is given away again */
        expect(mia_tensor_concat(list, count, 1, SITE), MIA_ERROR_CONSUMED,
               count == 2 ? "same handle" : "consumed");
    }
    assert_int_equal(mia_device_count(device).handles, 0);
    close_device(device);
}

static void test_split_refused(void **state) {
    (void)state;
    mia_device *device = open_device("cpu", NULL);
    static const int64_t wrong[][2] = {{1, 1}, {4, -1}, {INT64_MAX, INT64_MAX}, {2, 2}};
    mia_tensor parts[2];
    for (int i = 0; i < 4; i++) {
        mia_tensor_split(numbers(device, 2, 3, 2, 0), 1, wrong[i], 2, parts, SITE);
        for (int k = 0; k < 2; k++) expect(parts[k], MIA_ERROR_SHAPE_MISMATCH, "split");
    }
    const int64_t right[2] = {1, 2};
    mia_tensor_split(numbers(device, 2, 3, 2, 0), 3, right, 2, parts, SITE);
    for (int k = 0; k < 2; k++) expect(parts[k], MIA_ERROR_SHAPE_MISMATCH, "split");
    mia_tensor_split(mia_op_reshape(numbers(device, 2, 3, 2, 0), (mia_shape){1, {5}}, SITE), 1, right, 2,
                     parts, SITE);
    for (int k = 0; k < 2; k++) expect(parts[k], MIA_ERROR_SHAPE_MISMATCH, "reshape");
    mia_tensor_split(numbers(device, 2, 3, 2, 0), 1, right, 0, NULL, SITE);
    assert_int_equal(mia_device_count(device).handles, 0);
    close_device(device);
}

/* Constants stay what they are. */
static void test_constants(void **state) {
    (void)state;
    mia_device *device = open_device("cpu", NULL);
    const float data[2] = {1, 2};
    float seen[8];
    mia_tensor c = mia_tensor_constant(device, MIA_f32, (mia_shape){1, {2}}, data, SITE);
    for (size_t count = 1; count <= 4; count++) {
        const mia_tensor list[4] = {c, c, c, c};
        assert_int_equal(
            mia_tensor_read(mia_tensor_concat(list, count, 0, SITE), seen, count * sizeof data, NULL, SITE),
            MIA_OK);
        for (size_t i = 0; i < 2 * count; i++) assert_true(seen[i] == data[i % 2]);
    }
    mia_tensor parts[2];
    const int64_t sizes[2] = {1, 1};
    mia_tensor_split(c, 0, sizes, 2, parts, SITE);
    assert_int_equal(mia_tensor_read(parts[1], seen, sizeof(float), NULL, SITE), MIA_OK);
    assert_true(seen[0] == 2);
    mia_op_unref(parts[0], SITE);
    assert_int_equal(mia_device_count(device).handles, 0);
    close_device(device);
}

static void test_no_memory(void **state) {
    (void)state;
    static test_allocator allocator;
    bool reached = true;
    for (long n = 0; reached; n++) {
        test_allocator_init(&allocator);
        mia_device *device = open_device("cpu", &allocator.hook);
        allocator.fail_at = allocator.allocations + n;
        allocator.forever = n % 2 == 1;
        mia_tensor list[5], parts[2];
        for (size_t i = 0; i < 5; i++)
            list[i] = mia_tensor_full(device, MIA_f32, (mia_shape){1, {2}}, (double)i, SITE);
        const int64_t sizes[2] = {9, 1};
        mia_tensor_split(mia_tensor_concat(list, 5, 0, SITE), 0, sizes, 2, parts, SITE);
        float seen[9] = {0}, last = 0;
        mia_status status = mia_tensor_read(parts[0], seen, sizeof seen, NULL, SITE);
        mia_status second = mia_tensor_read(parts[1], &last, sizeof last, NULL, SITE);
        reached = allocator.allocations > allocator.fail_at;
        allocator.fail_at = -1;
        if (status == MIA_OK) assert_true(seen[8] == 4 && seen[0] == 0);
        if (second == MIA_OK) assert_true(last == 4);
        if (!reached) assert_true(status == MIA_OK && second == MIA_OK);
        assert_true(status == MIA_OK || status == MIA_ERROR_NO_MEMORY);
        assert_true(second == MIA_OK || second == MIA_ERROR_NO_MEMORY);
        assert_int_equal(mia_device_count(device).handles, 0);
        close_device(device);
        assert_int_equal(allocator.live_bytes, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_concat_and_split),
        cmocka_unit_test(test_stack),
        cmocka_unit_test(test_cost_is_linear),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_typed),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_split_refused),
        cmocka_unit_test(test_constants),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
