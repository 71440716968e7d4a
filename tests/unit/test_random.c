/* Random numbers: the generator against the published known answers (Random123's kat_vectors, philox4x32 with 10
 * rounds), its vector forms against it, and the numbers' distribution. A bound of n standard deviations is stated
 * where it is used; seeds are fixed, so that a failure is a fault and not bad luck. */
#include "unit/support.h"

#include "backend/cpu/kernels.h"
#include "base/philox.h"

#include <math.h>
#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SITE  NULL, 0
#define COUNT (1 << 20)

static void test_known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], words[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t words[4];
        mia__philox(known[i].counter, known[i].key, words);
        assert_memory_equal(words, known[i].words, sizeof words);
    }
}

/* Where a counter's low word overflows, too. */
static void test_vector_forms(void **state) {
    (void)state;
    static const uint64_t firsts[] = {0, 3, UINT64_C(0xfffffff8), UINT64_C(0x123456789abcdef)};
    const uint32_t key[2] = {0x243f6a88, 0x85a308d3};
    for (int isa = MIA__CPU_GENERIC; isa <= (int)mia__cpu_detect(); isa++) {
        mia__cpu_kernels kernels;
        mia__cpu_kernels_fill(&kernels, (mia__cpu_isa)isa);
        for (size_t i = 0; i < 4; i++)
            for (size_t blocks = 0; blocks < 70; blocks += 3) {
                uint32_t words[4 * 70], expected[4];
                kernels.random_words(firsts[i], key, blocks, words);
                for (size_t b = 0; b < blocks; b++) {
                    mia__philox_block(firsts[i] + b, key, expected);
                    assert_memory_equal(&words[4 * b], expected, sizeof expected);
                }
            }
    }
}

/* The largest words stay below 1 in every type. */
static void test_never_one(void **state) {
    (void)state;
    assert_true((float)mia__uniform_of_word(UINT32_MAX, 24) < 1);
    assert_true(mia__uniform_of_word(UINT32_MAX, 24) == 1 - 0x1p-24);
    assert_true(mia__uniform_of_word(UINT32_MAX, 11) == 1 - 0x1p-11);
    assert_true(mia__uniform_of_word(UINT32_MAX, 8) == 1 - 0x1p-8);
    assert_true(mia__uniform_of_words(UINT32_MAX, UINT32_MAX) == 1 - 0x1p-53);
    assert_true(mia__uniform_of_word(0, 24) == 0 && mia__uniform_of_words(0, 0) == 0);
}

/* --- distributions ---------------------------------------------------------------------------- */

static mia_device *open_device(const char *backend, uint32_t threads) {
    mia_device_options options = {.backend = backend, .threads = threads};
    mia_device *device = NULL;
    assert_int_equal(mia_device_open(&options, &device, NULL), MIA_OK);
    return device;
}

/* COUNT numbers of a type, as doubles. */
static double *draw(const char *backend, uint32_t threads, mia_dtype dtype, bool normal, uint64_t seed) {
    mia_device *device = open_device(backend, threads);
    mia_shape shape = {2, {COUNT / 4, 4}};
    mia_tensor x = normal ? mia_tensor_random_normal(device, dtype, shape, seed, SITE)
                          : mia_tensor_random_uniform(device, dtype, shape, seed, SITE);
    double *numbers = malloc(COUNT * sizeof *numbers);
    assert_non_null(numbers);
    mia_error error = {0};
    x = mia_op_convert(x, MIA_f64, SITE);
    if (mia_tensor_read(x, numbers, COUNT * sizeof *numbers, &error, SITE) != MIA_OK)
        fail_msg("%s", error.message);
    assert_int_equal(mia_device_close(device, NULL), MIA_OK);
    return numbers;
}

/* Within 5 standard deviations of what is expected: one in 1.7 million. */
static void assert_expected(double value, double expected, double deviation) {
    if (fabs(value - expected) <= 5 * deviation) return;
    fail_msg("%g is %g standard deviations from %g", value, (value - expected) / deviation, expected);
}

static void moments(const double *x, double *mean, double *variance) {
    *mean = *variance = 0;
    for (int i = 0; i < COUNT; i++) *mean += x[i] / COUNT;
    for (int i = 0; i < COUNT; i++) *variance += (x[i] - *mean) * (x[i] - *mean) / COUNT;
}

/* Neighbours, and numbers 4 apart (of other blocks), are not related. */
static void assert_unrelated(const double *x, double mean, double variance) {
    static const int distances[] = {1, 2, 4, 1024};
    for (size_t d = 0; d < 4; d++) {
        double sum = 0;
        for (int i = 0; i + distances[d] < COUNT; i++)
            sum += (x[i] - mean) * (x[i + distances[d]] - mean) / COUNT;
        assert_expected(sum / variance, 0, 1 / sqrt(COUNT));
    }
}

static void test_uniform_numbers(void **state) {
    (void)state;
    for (int dtype = MIA_f32; dtype <= MIA_f64; dtype++) {
        double *x = draw("cpu", 2, (mia_dtype)dtype, false, 42), mean, variance;
        double step = dtype == MIA_f16 ? 0x1p-11 : dtype == MIA_bf16 ? 0x1p-8 : 0;
        int buckets[64] = {0};
        for (int i = 0; i < COUNT; i++) {
            assert_true(x[i] >= 0 && x[i] < 1);
            buckets[(int)(x[i] * 64)]++;
        }
        moments(x, &mean, &variance);
        assert_expected(mean, 0.5 - step / 2, sqrt(1.0 / 12 / COUNT));
        assert_expected(variance, (1 - step * step) / 12, sqrt(1.0 / 180 / COUNT));
        for (int b = 0; b < 64; b++)
            assert_expected(buckets[b], COUNT / 64.0, sqrt(COUNT / 64.0 * (1 - 1 / 64.0)));
        assert_unrelated(x, mean, variance);
        free(x);
    }
}

static void test_normal_numbers(void **state) {
    (void)state;
    for (int dtype = MIA_f32; dtype <= MIA_f64; dtype++) {
        double *x = draw("cpu", 2, (mia_dtype)dtype, true, 42), mean, variance, fourth = 0;
        int buckets[8] = {0}; /* below -3, -2, -1, 0, 1, 2, 3, above */
        for (int i = 0; i < COUNT; i++) {
            assert_true(isfinite(x[i]) && fabs(x[i]) < 9);
            double at = floor(x[i]) + 4;
            buckets[at < 0 ? 0 : at > 7 ? 7 : (int)at]++;
            fourth += x[i] * x[i] * x[i] * x[i] / COUNT;
        }
        moments(x, &mean, &variance);
        assert_expected(mean, 0, sqrt(1.0 / COUNT));
        assert_expected(fourth, 3, sqrt(96.0 / COUNT) + (dtype == MIA_bf16 ? 0.01 : 0.001));
        assert_expected(variance, 1, sqrt(2.0 / COUNT) + (dtype == MIA_bf16 ? 0.001 : 0));
        for (int b = 0; b < 8 && dtype != MIA_bf16; b++) { /* bf16 rounds what is just below onto an edge */
            double p = b == 0   ? erfc(3 / sqrt(2)) / 2
                       : b == 7 ? erfc(3 / sqrt(2)) / 2
                                : (erf((b - 3) / sqrt(2)) - erf((b - 4) / sqrt(2))) / 2;
            double rounded = dtype == MIA_f16 ? 0x1p-10 * COUNT : 0;
            assert_expected(buckets[b], COUNT * p, sqrt(COUNT * p * (1 - p)) + rounded / 5);
        }
        assert_unrelated(x, mean, variance);
        free(x);
    }
}

/* The seed decides: the same everywhere, and another for each. */
static void test_seeds(void **state) {
    (void)state;
    double *a = draw("cpu", 1, MIA_f32, false, 7), *b = draw("cpu", 3, MIA_f32, false, 7);
    double *c = draw("reference", 1, MIA_f32, false, 7),
           *d = draw("cpu", 3, MIA_f32, false, UINT64_C(7) << 32);
    assert_memory_equal(a, b, COUNT * sizeof *a);
    assert_memory_equal(a, c, COUNT * sizeof *a);
    int same = 0;
    for (int i = 0; i < COUNT; i++) same += a[i] == d[i];
    assert_true(same < 10);
    const uint32_t key[2] = {7, 0};
    for (int i = 0; i < COUNT; i += 4097) { /* words by place, as base/philox.h draws them */
        uint32_t words[4];
        mia__philox_block((uint64_t)i / 4, key, words);
        assert_true(a[i] == (words[i % 4] >> 8) * 0x1p-24);
    }
    free(a), free(b), free(c), free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),  cmocka_unit_test(test_vector_forms),
        cmocka_unit_test(test_never_one),      cmocka_unit_test(test_uniform_numbers),
        cmocka_unit_test(test_normal_numbers), cmocka_unit_test(test_seeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
