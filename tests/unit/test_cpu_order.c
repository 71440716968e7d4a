/* Reductions, running sums and sorting on the cpu backend where they are long enough to be cut into pieces:
 * against plain loops and qsort, with 1 to 3 threads, which must give the same bits, and never on a reference
 * kernel. What is short is in tests/ops. */
#include "base/half.h"
#include "support.h"

#include <math.h>
#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 3
#define SITE    NULL, 0

static mia_device *devices[THREADS];
static uint64_t seed;

static int open_devices(void **state) {
    (void)state;
    seed = test_seed();
    for (uint32_t i = 0; i < THREADS; i++) {
        mia_device_options options = {.backend = "cpu", .threads = i + 1};
        if (mia_device_open(&options, &devices[i], NULL) != MIA_OK) return -1;
    }
    return 0;
}

static int close_devices(void **state) {
    (void)state;
    int failed = 0;
    for (uint32_t i = 0; i < THREADS; i++) {
        failed |= mia_device_count(devices[i]).fallbacks != 0;
        failed |= mia_device_close(devices[i], NULL) != MIA_OK;
    }
    return failed ? -1 : 0;
}

/* An operation of one operand, as all of these are. */
typedef mia_tensor (*operation)(mia_tensor x, const int64_t *a);

static mia_tensor record_sort(mia_tensor x, const int64_t *a) {
    return mia_op_sort(x, (uint32_t)a[0], a[1] != 0, SITE);
}
static mia_tensor record_argsort(mia_tensor x, const int64_t *a) {
    return mia_op_argsort(x, (uint32_t)a[0], a[1] != 0, SITE);
}
static mia_tensor record_top_k(mia_tensor x, const int64_t *a) {
    return mia_op_top_k(x, (uint32_t)a[0], a[2], a[1] != 0, SITE);
}
static mia_tensor record_top_k_indices(mia_tensor x, const int64_t *a) {
    return mia_op_top_k_indices(x, (uint32_t)a[0], a[2], a[1] != 0, SITE);
}
static mia_tensor record_cumsum(mia_tensor x, const int64_t *a) {
    return mia_op_cumsum(x, (uint32_t)a[0], a[1] != 0, a[2] != 0, SITE);
}
static mia_tensor record_sum(mia_tensor x, const int64_t *a) {
    return mia_op_sum(x, (uint32_t)a[0], SITE);
}
static mia_tensor record_prod(mia_tensor x, const int64_t *a) {
    return mia_op_prod(x, (uint32_t)a[0], SITE);
}
static mia_tensor record_argmax(mia_tensor x, const int64_t *a) {
    return mia_op_argmax(x, (uint32_t)a[0], SITE);
}
static mia_tensor record_argmin(mia_tensor x, const int64_t *a) {
    return mia_op_argmin(x, (uint32_t)a[0], SITE);
}
static mia_tensor record_any(mia_tensor x, const int64_t *a) {
    return mia_op_any(x, (uint32_t)a[0], SITE);
}

/* Runs on every device; the caller frees. */
static void *run(operation record, const int64_t *attributes, mia_dtype dtype, mia_shape shape, const void *x,
                 size_t bytes) {
    void *first = malloc(bytes), *again = malloc(bytes);
    assert_true(first != NULL && again != NULL);
    for (uint32_t i = 0; i < THREADS; i++) {
        mia_tensor t = record(mia_tensor_upload(devices[i], dtype, shape, x, SITE), attributes);
        mia_error error = {0};
        if (mia_tensor_read(t, i == 0 ? first : again, bytes, &error, SITE) != MIA_OK)
            fail_msg("%s", error.message);
        if (i > 0) assert_memory_equal(first, again, bytes);
    }
    free(again);
    return first;
}

/* --- order ------------------------------------------------------------------------------------- */

/* An element as a number and where it was. */
typedef struct element {
    double value;
    int32_t place;
} element;

static int ascending(const void *left, const void *right) {
    const element *a = left, *b = right;
    if (isnan(a->value) != isnan(b->value)) return isnan(a->value) ? 1 : -1;
    if (a->value != b->value && !isnan(a->value)) return a->value < b->value ? -1 : 1;
    return a->place < b->place ? -1 : 1;
}

static int descending(const void *left, const void *right) {
    const element *a = left, *b = right;
    if (isnan(a->value) != isnan(b->value)) return isnan(a->value) ? -1 : 1;
    if (a->value != b->value && !isnan(a->value)) return a->value < b->value ? 1 : -1;
    return a->place < b->place ? -1 : 1;
}

static size_t bytes_of(mia_dtype dtype) {
    return mia_dtype_describe(dtype)->bytes;
}

static double load(mia_dtype dtype, const void *x, int64_t i) {
    switch (dtype) {
    case MIA_f32: return (double)((const float *)x)[i];
    case MIA_f16: return mia__f16_to_f64(((const uint16_t *)x)[i]);
    case MIA_bf16: return mia__bf16_to_f64(((const uint16_t *)x)[i]);
    case MIA_f64: return ((const double *)x)[i];
    case MIA_i32: return ((const int32_t *)x)[i];
    case MIA_u32: return ((const uint32_t *)x)[i];
    case MIA_i8: return ((const int8_t *)x)[i];
    default: return ((const uint8_t *)x)[i];
    }
}

typedef enum pattern { ANY_BITS, FEW_VALUES, IN_ORDER, BACKWARDS, PATTERNS } pattern;

static void fill(mia_dtype dtype, void *x, int64_t count, pattern how) {
    size_t bytes = bytes_of(dtype);
    for (int64_t i = 0; i < count; i++) {
        uint64_t bits = test_random(&seed);
        if (how == FEW_VALUES) bits = bits % 5 << (bytes == 8 ? 52 : bytes * 4);
        if (how >= IN_ORDER) {
            double value = (double)(how == IN_ORDER ? i : count - i);
            float single = (float)value;
            bits = (uint64_t)value;
            if (dtype == MIA_f32) memcpy(&bits, &single, sizeof single);
            if (dtype == MIA_f64) memcpy(&bits, &value, sizeof value);
        }
        memcpy((char *)x + (size_t)i * bytes, &bits, bytes);
    }
}

/* Lines along mode `mode` of [length] or [2, length, 1]. */
static void check_order(mia_dtype dtype, int64_t length, int64_t k, pattern how, bool down, uint32_t mode) {
    int64_t lines = mode == 0 ? 1 : 2, attributes[3] = {mode, down, k};
    mia_shape shape = mode == 0 ? (mia_shape){1, {length}} : (mia_shape){2, {lines, length}};
    size_t bytes = bytes_of(dtype);
    void *x = malloc((size_t)(lines * length) * bytes);
    element *expected = malloc((size_t)length * sizeof *expected);
    assert_true(x != NULL && expected != NULL);
    fill(dtype, x, lines * length, how);
    bool all = k == length;
    char *values =
        run(all ? record_sort : record_top_k, attributes, dtype, shape, x, (size_t)(lines * k) * bytes);
    int32_t *places = run(all ? record_argsort : record_top_k_indices, attributes, dtype, shape, x,
                          (size_t)(lines * k) * 4);
    for (int64_t line = 0; line < lines; line++) {
        for (int64_t i = 0; i < length; i++)
            expected[i] = (element){load(dtype, x, line + i * lines), (int32_t)i};
        qsort(expected, (size_t)length, sizeof *expected, down ? descending : ascending);
        for (int64_t i = 0; i < k; i++) {
            double value = load(dtype, values, line + i * lines);
            if (places[line + i * lines] != expected[i].place ||
                (value != expected[i].value && !(isnan(value) && isnan(expected[i].value))))
                fail_msg("%s, %lld of %lld, pattern %d: number %lld is %g of %d, not %g of %d",
                         mia_dtype_describe(dtype)->name, (long long)k, (long long)length, (int)how,
                         (long long)i, value, places[line + i * lines], expected[i].value, expected[i].place);
        }
    }
    free(x);
    free(expected);
    free(values);
    free(places);
}

static const mia_dtype types[] = {MIA_f32, MIA_f16, MIA_bf16, MIA_f64, MIA_i32, MIA_u32, MIA_i8, MIA_u8};

static void test_sort_long(void **state) {
    (void)state;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int how = 0; how < PATTERNS; how++) {
            int64_t length = 32768 + test_below(&seed, 9000);
            check_order(types[t], length, length, (pattern)how, test_below(&seed, 2) == 0, (uint32_t)how % 2);
        }
}

static void test_top_long(void **state) {
    (void)state;
    static const int64_t some[] = {1, 40, 1000, 4095, 5000};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int how = 0; how < PATTERNS; how++)
            check_order(types[t], 32768 + test_below(&seed, 50000), some[test_below(&seed, 5)], (pattern)how,
                        test_below(&seed, 2) == 0, (uint32_t)how % 2);
}

/* --- running sums ------------------------------------------------------------------------------ */

static void test_cumsum_long(void **state) {
    (void)state;
    int64_t length = 50021;
    float *x = malloc((size_t)length * sizeof *x);
    int32_t *whole = malloc((size_t)length * sizeof *whole);
    assert_true(x != NULL && whole != NULL);
    for (int64_t i = 0; i < length; i++) {
        x[i] = test_uniform(&seed) * 1e6f;
        whole[i] = (int32_t)(uint32_t)test_random(&seed);
    }
    for (int way = 0; way < 4; way++) {
        int64_t attributes[3] = {0, way & 1, way >> 1};
        mia_shape shape = {1, {length}};
        float *sums = run(record_cumsum, attributes, MIA_f32, shape, x, (size_t)length * sizeof *x);
        int32_t *wholes =
            run(record_cumsum, attributes, MIA_i32, shape, whole, (size_t)length * sizeof *whole);
        double sum = 0;
        uint32_t whole_sum = 0;
        for (int64_t n = 0; n < length; n++) {
            int64_t i = attributes[2] ? length - 1 - n : n;
            double before = sum;
            uint32_t whole_before = whole_sum;
            sum += (double)x[i];
            whole_sum += (uint32_t)whole[i];
            double expected = attributes[1] ? before : sum;
            assert_true(fabs((double)sums[i] - expected) <= 1e-7 * fabs(expected) + 1e-5);
            assert_int_equal((uint32_t)wholes[i], attributes[1] ? whole_before : whole_sum);
        }
        free(sums);
        free(wholes);
    }
    free(x);
    free(whole);
}

/* --- reductions -------------------------------------------------------------------------------- */

/* [3, 200000] of f16, most of it ones: few results along and across. */
static void test_reduce_long(void **state) {
    (void)state;
    int64_t columns = 200000, rows = 3, modes[2] = {1, 2};
    uint16_t *x = malloc((size_t)(rows * columns) * sizeof *x);
    assert_true(x != NULL);
    for (int64_t i = 0; i < rows * columns; i++) x[i] = 0x3c00;
    for (int64_t r = 0; r < rows; r++)
        x[r + rows * (150000 + r)] = x[r + rows * (170000 + r)] = 0xc000; /* -2 */
    x[1 + rows * 123456] = 0x4200;                                        /* 3 */
    x[1 + rows * 123457] = 0x4200;
    mia_shape shape = {2, {rows, columns}};
    uint16_t *sum = run(record_sum, &modes[1], MIA_f16, shape, x, 6);
    int32_t *most = run(record_argmax, &modes[1], MIA_f16, shape, x, 12);
    int32_t *least = run(record_argmin, &modes[1], MIA_f16, shape, x, 12);
    uint16_t *product = run(record_prod, &modes[1], MIA_f16, shape, x, 6);
    for (int64_t r = 0; r < rows; r++) {
        assert_int_equal(sum[r], 0x7c00); /* 199994 is beyond f16 */
        assert_int_equal(most[r], r == 1 ? 123456 : 0);
        assert_int_equal(least[r], 150000 + r);
        assert_int_equal(product[r], mia__f32_to_f16(r == 1 ? 36 : 4));
    }
    free(sum);
    free(most);
    free(least);
    free(product);
    int64_t all = 3;
    most = run(record_argmax, &all, MIA_f16, shape, x, 4);
    assert_int_equal(*most, 1 + 3 * 123456);
    free(most);
    free(x);
}

static void test_reduce_long_integers(void **state) {
    (void)state;
    int64_t count = 300001, all = 1;
    uint32_t *x = malloc((size_t)count * sizeof *x), expected = 0, product = 1;
    uint8_t *truth = calloc((size_t)count, 1);
    assert_true(x != NULL && truth != NULL);
    for (int64_t i = 0; i < count; i++) {
        x[i] = (uint32_t)test_random(&seed) | 1;
        expected += x[i];
        product *= x[i];
    }
    mia_shape shape = {1, {count}};
    uint32_t *sum = run(record_sum, &all, MIA_u32, shape, x, 4),
             *got = run(record_prod, &all, MIA_i32, shape, x, 4);
    assert_int_equal(*sum, expected);
    assert_int_equal(*got, product);
    for (int some = 0; some < 2; some++) {
        if (some) truth[count - 2] = 4;
        uint8_t *any = run(record_any, &all, MIA_bool8, shape, truth, 1);
        assert_int_equal(*any, some);
        free(any);
    }
    free(sum);
    free(got);
    free(x);
    free(truth);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sort_long),
        cmocka_unit_test(test_top_long),
        cmocka_unit_test(test_cumsum_long),
        cmocka_unit_test(test_reduce_long),
        cmocka_unit_test(test_reduce_long_integers),
    };
    return cmocka_run_group_tests(tests, open_devices, close_devices);
}
