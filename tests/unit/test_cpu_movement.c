/* Movement of the cpu backend where sizes matter: tiles that are turned over and streamed, many indices and few,
 * places that meet; on every instruction set and with 1 to 3 threads, against the reference. And what may be done in
 * place, and what may not because something else looks at the same memory. tests/ops has every type and layout. */
#include "unit/support.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SITE NULL, 0

static uint64_t seed;

static mia_device *open_device(const char *backend, uint32_t threads) {
    mia_device_options options = {.backend = backend, .threads = threads};
    mia_device *device = NULL;
    assert_int_equal(mia_device_open(&options, &device, NULL), MIA_OK);
    return device;
}

static size_t elements(mia_shape shape) {
    size_t count = 1;
    for (uint32_t m = 0; m < shape.ndim; m++) count *= (size_t)shape.extent[m];
    return count;
}

/* What a case is computed from, the same on every device. */
typedef struct given {
    mia_dtype dtype;
    mia_shape shape, index_shape, part_shape;
    uint32_t mode;
    mia_scatter_style style;
    void *x, *part;
    int32_t *indices;
} given;

static void *random_bytes(size_t bytes, bool floats) {
    uint8_t *data = malloc(bytes + 8);
    assert_non_null(data);
    for (size_t i = 0; i < bytes; i += 4) {
        uint32_t word = (uint32_t)test_random(&seed);
        float number = (float)(int32_t)word * 0x1p-30f;
        memcpy(data + i, floats ? (const void *)&number : (const void *)&word, 4);
    }
    return data;
}

static void fill(given *g) {
    size_t bytes = mia_dtype_describe(g->dtype)->bytes;
    bool floats = g->dtype == MIA_f32;
    g->x = random_bytes(elements(g->shape) * bytes, floats);
    g->part = random_bytes(elements(g->part_shape) * bytes, floats);
    size_t count = elements(g->index_shape);
    g->indices = malloc(count * sizeof *g->indices + 1);
    assert_non_null(g->indices);
    for (size_t i = 0; i < count; i++)
        g->indices[i] = (int32_t)test_below(&seed, g->shape.extent[g->mode] + 4) - 2;
}

static void drop(given *g) {
    free(g->x), free(g->part), free(g->indices);
}

typedef mia_tensor (*recorder)(const given *g, mia_device *device);

static mia_tensor upload(const given *g, mia_device *device) {
    return mia_tensor_upload(device, g->dtype, g->shape, g->x, SITE);
}
static mia_tensor upload_indices(const given *g, mia_device *device) {
    return mia_tensor_upload(device, MIA_i32, g->index_shape, g->indices, SITE);
}
static mia_tensor turned(const given *g, mia_device *device) {
    mia_shape order = {.ndim = g->shape.ndim};
    for (uint32_t m = 0; m < order.ndim; m++) order.extent[m] = (m + g->mode) % order.ndim;
    return mia_op_copy(mia_op_permute(upload(g, device), order, SITE), SITE);
}
static mia_tensor taken(const given *g, mia_device *device) {
    return mia_op_take(upload(g, device), upload_indices(g, device), g->mode, SITE);
}
static mia_tensor taken_along(const given *g, mia_device *device) {
    return mia_op_take_along(upload(g, device), upload_indices(g, device), g->mode, SITE);
}
static mia_tensor scattered(const given *g, mia_device *device) {
    mia_tensor part = mia_tensor_upload(device, g->dtype, g->part_shape, g->part, SITE);
    return mia_op_scatter(upload(g, device), upload_indices(g, device), part, g->mode, g->style, SITE);
}
static mia_tensor scattered_along(const given *g, mia_device *device) {
    mia_tensor part = mia_tensor_upload(device, g->dtype, g->part_shape, g->part, SITE);
    return mia_op_scatter_along(upload(g, device), upload_indices(g, device), part, g->mode, g->style, SITE);
}
static mia_tensor rolled(const given *g, mia_device *device) {
    return mia_op_roll(upload(g, device), g->mode, INT64_MAX - 12345, SITE);
}
static mia_tensor lower(const given *g, mia_device *device) {
    return mia_op_tril(upload(g, device), -3, SITE);
}

static uint8_t *compute(const given *g, recorder record, mia_device *device, size_t *bytes) {
    mia_tensor y = record(g, device);
    mia_error error = {0};
    mia_status status = mia_tensor_status(y, &error);
    if (status == MIA_OK) {
        *bytes = elements(mia_tensor_shape(y)) * mia_dtype_describe(mia_tensor_dtype(y))->bytes;
        uint8_t *out = malloc(*bytes + 1);
        assert_non_null(out);
        status = mia_tensor_read(y, out, *bytes, &error, SITE);
        if (status == MIA_OK) return out;
    }
    fail_msg("%s", error.message);
    return NULL;
}

static void everywhere(given *g, recorder record) {
    static const char *const sets[] = {"generic", "avx2", "avx512"};
    size_t bytes = 0, got_bytes = 0;
    fill(g);
    mia_device *reference = open_device("reference", 1);
    uint8_t *want = compute(g, record, reference, &bytes);
    assert_int_equal(mia_device_close(reference, NULL), MIA_OK);
    for (int set = 0; set < 3; set++) {
        (void)setenv("MIA_CPU_ISA", sets[set], 1);
        for (uint32_t threads = 1; threads <= 3; threads++) {
            mia_device *device = open_device("cpu", threads);
            uint8_t *got = compute(g, record, device, &got_bytes);
            if (memcmp(got, want, bytes) != 0) fail_msg("%s, %u threads: other bytes", sets[set], threads);
            assert_int_equal(mia_device_count(device).fallbacks, 0);
            free(got);
            assert_int_equal(mia_device_close(device, NULL), MIA_OK);
        }
    }
    (void)unsetenv("MIA_CPU_ISA");
    free(want);
    drop(g);
}

static void test_turned(void **state) {
    (void)state;
    static const mia_dtype types[] = {MIA_u8, MIA_f16, MIA_i32, MIA_f64, MIA_f32x4};
    static const mia_shape shapes[] = {
        {2, {1024, 1024}}, {2, {1027, 515}}, {3, {67, 129, 33}}, {3, {3, 700, 90}}, {4, {16, 5, 64, 9}}};
    for (int t = 0; t < 5; t++)
        for (int s = 0; s < 5; s++)
            for (uint32_t mode = 1; mode < shapes[s].ndim; mode++) {
                given g = {.dtype = types[t], .shape = shapes[s], .mode = mode};
                if (t == 4 && s == 0) g.shape.extent[1] = 257;
                everywhere(&g, turned);
            }
}

static void test_taken(void **state) {
    (void)state;
    for (uint32_t mode = 0; mode < 2; mode++) {
        given g = {.dtype = MIA_f16, .shape = {2, {301, 203}}, .mode = mode};
        g.index_shape = (mia_shape){2, {500, 3}};
        everywhere(&g, taken);
        g.dtype = MIA_f32x4;
        everywhere(&g, taken);
        g.dtype = MIA_f64;
        g.index_shape = (mia_shape){2, {301, 203}};
        everywhere(&g, taken_along);
    }
}

/* Few and many indices, all of one place among them. */
static void test_scattered(void **state) {
    (void)state;
    static const mia_dtype types[] = {MIA_f32, MIA_i32, MIA_u8, MIA_f32};
    for (int t = 0; t < 4; t++)
        for (int style = MIA_SCATTER_SET; style <= MIA_SCATTER_MAX; style++)
            for (uint32_t mode = 0; mode < 2; mode++) {
                static const int64_t counts[] = {1, 40, 1500};
                for (int c = 0; c < 3; c++) {
                    given g = {.dtype = types[t], .mode = mode, .style = (mia_scatter_style)style};
                    g.shape = g.part_shape = (mia_shape){2, {600, 30}};
                    if (mode == 1) g.shape = g.part_shape = (mia_shape){2, {30, 600}};
                    if (t == 3) g.shape.extent[mode] = 1;
                    g.part_shape.extent[mode] = counts[c];
                    g.index_shape = (mia_shape){1, {counts[c]}};
                    everywhere(&g, scattered);
                    g.index_shape = g.part_shape;
                    everywhere(&g, scattered_along);
                }
            }
}

static void test_shifted(void **state) {
    (void)state;
    for (uint32_t mode = 0; mode < 3; mode++) {
        given g = {.dtype = MIA_f16, .shape = {3, {1001, 77, 3}}, .mode = mode};
        everywhere(&g, rolled);
        everywhere(&g, lower);
    }
}

/* --- in place --------------------------------------------------------------------------------- */

static mia_tensor integers(mia_device *device, int64_t count, const int32_t *data) {
    return mia_tensor_upload(device, MIA_i32, (mia_shape){1, {count}}, data, SITE);
}

static void expect(mia_tensor t, size_t count, const int32_t *expected) {
    int32_t seen[16];
    mia_error error = {0};
    if (mia_tensor_read(t, seen, count * sizeof *seen, &error, SITE) != MIA_OK) fail_msg("%s", error.message);
    assert_memory_equal(seen, expected, count * sizeof *seen);
}

/* Nobody else sees x: no memory is asked for. */
static void test_in_place(void **state) {
    (void)state;
    mia_device *device = open_device("cpu", 2);
    const int32_t x[4] = {1, 2, 3, 4}, at[2] = {3, 0}, part[2] = {10, 20}, expected[4] = {21, 2, 3, 14};
    for (int along = 0; along < 2; along++) {
        mia_tensor y = (along ? mia_op_scatter_along
                              : mia_op_scatter)(integers(device, 4, x), integers(device, 2, at),
                                                integers(device, 2, part), 0, MIA_SCATTER_ADD, SITE);
        mia_plan_info info;
        assert_int_equal(mia_tensor_plan(&y, 1, &info, NULL), MIA_OK);
        assert_int_equal(info.output_bytes, 0);
        expect(y, 4, expected);
    }
    assert_int_equal(mia_device_close(device, NULL), MIA_OK);
}

/* Whoever still refers to x, or is read from x's own memory, sees what was there. */
static void test_not_in_place(void **state) {
    (void)state;
    for (int backend = 0; backend < 2; backend++)
        for (int along = 0; along < 2; along++) {
            mia_device *device = open_device(backend == 0 ? "reference" : "cpu", 2);
            mia_tensor (*scatter)(mia_tensor, mia_tensor, mia_tensor, uint32_t, mia_scatter_style,
                                  const char *, int) = along ? mia_op_scatter_along : mia_op_scatter;
            const int32_t x[4] = {3, 2, 1, 0}, at[2] = {3, 0}, part[2] = {10, 20};
            mia_tensor t = integers(device, 4, x);
            mia_tensor y = scatter(mia_op_ref(t, SITE), integers(device, 2, at), integers(device, 2, part), 0,
                                   MIA_SCATTER_SET, SITE);
            const int32_t put[4] = {20, 2, 1, 10};
            expect(y, 4, put);
            expect(mia_op_ref(t, SITE), 4, x); /* kept */
            /* The part is x backwards, and the indices are x itself: 3 2 1 0 <- 0 1 2 3 */
            mia_tensor back = mia_op_slice(mia_op_ref(t, SITE), 0, 3, 4, -1, SITE);
            y = scatter(mia_op_ref(t, SITE), mia_op_ref(t, SITE), back, 0, MIA_SCATTER_SET, SITE);
            mia_op_unref(t, SITE);
            expect(y, 4, x);
            /* The same of values that are not leaves, and of a part alone. */
            t = mia_op_copy(integers(device, 4, x), SITE);
            back = mia_op_slice(mia_op_ref(t, SITE), 0, 3, 4, -1, SITE);
            y = scatter(mia_op_ref(t, SITE), t, back, 0, MIA_SCATTER_ADD, SITE);
            const int32_t doubled[4] = {6, 4, 2, 0};
            expect(y, 4, doubled);
            t = mia_op_copy(integers(device, 4, x), SITE);
            back = mia_op_slice(mia_op_ref(t, SITE), 0, 1, 2, 1, SITE);
            y = scatter(t, integers(device, 2, at), back, 0, MIA_SCATTER_SET, SITE);
            const int32_t moved[4] = {1, 2, 1, 2};
            expect(y, 4, moved);
            assert_int_equal(mia_device_close(device, NULL), MIA_OK);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turned),  cmocka_unit_test(test_taken),    cmocka_unit_test(test_scattered),
        cmocka_unit_test(test_shifted), cmocka_unit_test(test_in_place), cmocka_unit_test(test_not_in_place),
    };
    seed = test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
