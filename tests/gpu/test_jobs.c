/* Small steps that run as jobs of one dispatch, and updates that turn their part: what a layer does between q, k, v and
 * attention, of random shapes, with neighbours of other kinds. The webgpu backend against the cpu's, on a GPU as it is and with
 * the least that a GPU binds. Skipped where no GPU opens. */
#include "../unit/support.h"
#include "gpu/devices.h"

#include <mia/mia.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 4096, RESULTS = 6 };

static uint64_t seed;
static float numbers[4][MOST];

/* --- programs ---------------------------------------------------------------------------------------- */

typedef struct drawn {
    int64_t dim, heads, groups, rows, capacity, pairs;
    mia_rope_style style;
    double magnitude;
    mia_dtype dtype;
    bool permuted; /* caches are [dim, capacity, groups], else [dim, groups, capacity] */
    bool held;     /* the cache of keys as it was is read, too, so that it is copied */
    int32_t start, positions[4];
} drawn;

static int64_t below(int64_t limit) {
    return test_below(&seed, limit);
}

static drawn draw(void) {
    drawn d = {.dim = 2 + below(9), .heads = 1 + below(5), .groups = 1 + below(4), .rows = 1 + below(4)};
    d.capacity = d.rows + below(7);
    d.pairs = 1 + below(d.dim / 2);
    d.style = below(2) == 0 ? MIA_ROPE_HALVES : MIA_ROPE_INTERLEAVED;
    d.magnitude = below(2) == 0 ? 1 : 1.25;
    d.dtype = below(3) == 0 ? MIA_f16 : MIA_f32;
    d.permuted = below(3) > 0;
    d.held = below(4) == 0;
    d.start = (int32_t)below(d.capacity + 3) - 1; /* one outside is moved in */
    for (int i = 0; i < 4; i++) d.positions[i] = (int32_t)below(100000) - 50;
    for (int o = 0; o < 4; o++)
        for (int i = 0; i < MOST; i++) numbers[o][i] = test_uniform(&seed);
    return d;
}

static mia_tensor upload(mia_device *device, const drawn *d, mia_shape shape, uint32_t operand) {
    mia_tensor x = mia_tensor_upload(device, MIA_f32, shape, numbers[operand], NULL, 0);
    return d->dtype == MIA_f32 ? x : mia_op_convert(x, d->dtype, NULL, 0);
}

static mia_tensor cached(mia_device *device, const drawn *d, mia_tensor x, uint32_t operand,
                         mia_tensor *before) {
    mia_shape shape =
        d->permuted ? MIA_SHAPE(d->dim, d->capacity, d->groups) : MIA_SHAPE(d->dim, d->groups, d->capacity);
    mia_tensor cache = upload(device, d, shape, operand);
    mia_tensor start = mia_tensor_upload(device, MIA_i32, (mia_shape){0}, &d->start, NULL, 0);
    if (before != NULL) *before = mia_op_neg(mia_ref(cache), NULL, 0);
    if (d->permuted) x = mia_op_permute(x, MIA_SHAPE(0, 2, 1), NULL, 0);
    return mia_op_update(cache, x, start, d->permuted ? 1 : 2, NULL, 0);
}

/* Records a program of a drawn kind; returns how many results it has. */
static size_t record(mia_device *device, const drawn *d, mia_tensor *results) {
    mia_tensor q = upload(device, d, MIA_SHAPE(d->dim, d->heads, d->rows), 0);
    mia_tensor k = upload(device, d, MIA_SHAPE(d->dim, d->groups, d->rows), 1);
    mia_tensor v = upload(device, d, MIA_SHAPE(d->dim, d->groups, d->rows), 2);
    mia_tensor positions = mia_tensor_upload(device, MIA_i32, MIA_SHAPE(d->rows), d->positions, NULL, 0);
    mia_tensor frequencies = mia_tensor_upload(device, MIA_f32, MIA_SHAPE(d->pairs), numbers[3], NULL, 0);
    size_t count = 0;
    results[count++] =
        mia_op_rope(q, mia_ref(positions), mia_ref(frequencies), d->style, d->magnitude, NULL, 0);
    k = mia_op_rope(k, mia_ref(positions), frequencies, d->style, d->magnitude, NULL, 0);
    mia_tensor before = {0};
    results[count++] = cached(device, d, k, 2, d->held ? &before : NULL);
    results[count++] = cached(device, d, v, 3, NULL);
    results[count++] =
        mia_op_pad(mia_op_convert(positions, MIA_f32, NULL, 0), 0, 1, 2, MIA_PAD_CONSTANT, 0.5, NULL, 0);
    if (d->held) results[count++] = before;
    return count;
}

/* --- comparing --------------------------------------------------------------------------------------- */

/* Reads a value as f32. */
static size_t read_value(mia_tensor t, float *values) {
    const mia_shape shape = mia_tensor_shape(t);
    size_t count = 1;
    mia_error error = {0};
    for (uint32_t m = 0; m < shape.ndim; m++) count *= (size_t)shape.extent[m];
    assert_true(count <= MOST);
    if (mia_tensor_dtype(t) != MIA_f32) t = mia_op_convert(t, MIA_f32, NULL, 0);
    if (mia_tensor_read(t, values, count * 4, &error, NULL, 0) != MIA_OK) fail_msg("%s", error.message);
    return count;
}

static void test_programs(void **state) {
    (void)state;
    static float want[RESULTS][MOST], got[MOST];
    long rounds = getenv("MIA_TEST_LONG") != NULL ? 150 : 12;
    for (long round = 0; round < rounds; round++) {
        const drawn d = draw();
        size_t counts[RESULTS];
        for (size_t g = 0; g < DEVICES; g++) {
            mia_tensor results[RESULTS];
            mia_error error = {0};
            size_t count = record(devices[g], &d, results);
            if (mia_tensor_eval(results, count, &error) != MIA_OK) fail_msg("%s", error.message);
            for (size_t r = 0; r < count; r++) {
                float *into = g == CPU ? want[r] : got;
                size_t read = read_value(results[r], into);
                if (g == CPU) counts[r] = read;
                assert_int_equal(read, counts[r]);
                for (size_t i = 0; i < read; i++) {
                    /* numbers are within 2.5; f16 may be rounded to the other neighbour */
                    double bound = d.dtype == MIA_f16 ? 2e-3 : 2e-6 + 1e-6 * fabs((double)want[r][i]);
                    if (!(fabs((double)into[i] - (double)want[r][i]) <= bound))
                        fail_msg("round %ld, result %zu%s: number %zu of %zu is %.9g, the cpu gives %.9g",
                                 round, r, g == 2 ? " with the least" : "", i, read, (double)into[i],
                                 (double)want[r][i]);
                }
            }
        }
    }
}

/* One dispatch does all but the pad, which needs converted numbers, where enough is bound. */
static void test_one_dispatch(void **state) {
    (void)state;
    for (size_t g = 1; g < DEVICES; g++) {
        const drawn d = {.dim = 6,
                         .heads = 4,
                         .groups = 2,
                         .rows = 1,
                         .capacity = 5,
                         .pairs = 3,
                         .style = MIA_ROPE_HALVES,
                         .magnitude = 1,
                         .dtype = MIA_f32,
                         .permuted = true};
        mia_tensor results[RESULTS];
        mia_error error = {0};
        size_t count = record(devices[g], &d, results);
        uint64_t before = mia_device_count(devices[g]).kernels;
        if (mia_tensor_eval(results, count, &error) != MIA_OK) fail_msg("%s", error.message);
        uint64_t kernels = mia_device_count(devices[g]).kernels - before;
        assert_in_range(kernels, 2, 3);
        for (size_t r = 0; r < count; r++) mia_unref(results[r]);
    }
}

/* --- devices ----------------------------------------------------------------------------------------- */

static int set_up(void **state) {
    (void)state;
    seed = test_seed();
    open_devices();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_programs), cmocka_unit_test(test_one_dispatch)};
    return cmocka_run_group_tests_name("jobs", tests, set_up, close_devices);
}
