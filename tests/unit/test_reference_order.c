/* Reference kernels that find extremes, products, places, running sums and order, held against results known
 * from closed forms. Sums, means and maxima are in test_reference.c. */
#include "base/half.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/steps.h"

static void run(mia_op op, mia__attributes attributes, step_value output, step_value input) {
    assert_true(step_run(op, attributes, output, 1, &input));
}

/* --- reductions -------------------------------------------------------------------------------- */

static void test_least_and_product(void **state) {
    (void)state;
    const float in[6] = {3, -2, 5, 4, NAN, 0.5f};
    float out[3];
    run(MIA_OP_reduce_min, step_modes(1, 0, 0), step_compact(MIA_f32, out, 2, 1, 2),
        step_compact(MIA_f32, in, 2, 3, 2));
    assert_true(out[0] == -2 && isnan(out[1]));
    run(MIA_OP_prod, step_modes(2, 0, 0), step_compact(MIA_f32, out, 2, 3, 1),
        step_compact(MIA_f32, in, 2, 3, 2));
    assert_true(out[0] == 12 && isnan(out[1]) && out[2] == 2.5f);
}

/* n! modulo 2^32 and 2^8; in f64 exact as long as it fits 53 bits. */
static void test_factorials(void **state) {
    (void)state;
    int32_t numbers[20], whole = 0;
    uint8_t bytes[20], byte = 0;
    double reals[18], real = 0;
    uint64_t factorial = 1;
    for (int i = 0; i < 20; i++) {
        numbers[i] = bytes[i] = (uint8_t)(i + 1);
        factorial *= (uint64_t)(i + 1);
    }
    for (int i = 0; i < 18; i++) reals[i] = i + 1;
    run(MIA_OP_prod, step_modes(1, 0, 0), step_compact(MIA_i32, &whole, 1, 1),
        step_compact(MIA_i32, numbers, 1, 20));
    assert_true((uint32_t)whole == (uint32_t)factorial);
    run(MIA_OP_prod, step_modes(1, 0, 0), step_compact(MIA_u8, &byte, 1, 1),
        step_compact(MIA_u8, bytes, 1, 5));
    assert_int_equal(byte, 120);
    run(MIA_OP_prod, step_modes(1, 0, 0), step_compact(MIA_f64, &real, 1, 1),
        step_compact(MIA_f64, reals, 1, 18));
    assert_true(real == 6402373705728000.0);
}

/* Factors that would leave the range of double on the way to 6, in either order. */
static void test_product_in_any_order(void **state) {
    (void)state;
    double in[402], out = 0;
    for (int i = 0; i < 200; i++) {
        in[i] = 0x1p1000;
        in[i + 200] = 0x1p-1000;
    }
    in[400] = 2, in[401] = 3;
    for (int way = 0; way < 2; way++) {
        step_value x = step_strided(MIA_f64, in, way ? 401 : 0, 1, 402, way ? -1 : 1);
        run(MIA_OP_prod, step_modes(1, 0, 0), step_compact(MIA_f64, &out, 1, 1), x);
        assert_true(out == 6);
    }
    in[400] = 0; /* infinity comes from an infinite factor alone */
    run(MIA_OP_prod, step_modes(1, 0, 0), step_compact(MIA_f64, &out, 1, 1),
        step_compact(MIA_f64, in, 1, 402));
    assert_true(out == 0);
    in[3] = (double)INFINITY;
    run(MIA_OP_prod, step_modes(1, 0, 0), step_compact(MIA_f64, &out, 1, 1),
        step_compact(MIA_f64, in, 1, 402));
    assert_true(isnan(out));
}

static void test_truth(void **state) {
    (void)state;
    const uint8_t in[6] = {0, 0, 0, 7, 1, 255};
    uint8_t out[3];
    run(MIA_OP_any, step_modes(1, 0, 0), step_compact(MIA_bool8, out, 2, 1, 2),
        step_compact(MIA_bool8, in, 2, 3, 2));
    assert_true(out[0] == 0 && out[1] == 1);
    run(MIA_OP_all, step_modes(1, 0, 0), step_compact(MIA_bool8, out, 2, 1, 2),
        step_compact(MIA_bool8, in, 2, 3, 2));
    assert_true(out[0] == 0 && out[1] == 1);
    run(MIA_OP_all, step_modes(2, 0, 0), step_compact(MIA_bool8, out, 2, 3, 1),
        step_compact(MIA_bool8, in, 2, 3, 2));
    assert_true(out[0] == 0 && out[1] == 0 && out[2] == 0);
}

static void test_nothing(void **state) {
    (void)state;
    float real = 5;
    uint8_t truth = 5;
    int32_t place = 5;
    step_value none = step_compact(MIA_f32, &real, 1, 0), no_truth = step_compact(MIA_bool8, &truth, 1, 0);
    run(MIA_OP_prod, step_modes(1, 0, 0), step_compact(MIA_f32, &real, 1, 1), none);
    assert_true(real == 1);
    run(MIA_OP_reduce_min, step_modes(1, 0, 0), step_compact(MIA_f32, &real, 1, 1), none);
    assert_true(real == INFINITY);
    run(MIA_OP_any, step_modes(1, 0, 0), step_compact(MIA_bool8, &truth, 1, 1), no_truth);
    assert_int_equal(truth, 0);
    run(MIA_OP_all, step_modes(1, 0, 0), step_compact(MIA_bool8, &truth, 1, 1), no_truth);
    assert_int_equal(truth, 1);
    run(MIA_OP_argmin, step_modes(1, 0, 0), step_compact(MIA_i32, &place, 1, 1), none);
    assert_int_equal(place, 0);
    const mia_dtype types[] = {MIA_i32, MIA_u32, MIA_i8, MIA_u8};
    const uint32_t greatest[] = {0x7fffffffu, 0xffffffffu, 0x7f, 0xff};
    for (int t = 0; t < 4; t++) {
        uint32_t value = 0;
        run(MIA_OP_reduce_min, step_modes(1, 0, 0), step_compact(types[t], &value, 1, 1),
            step_compact(types[t], &value, 1, 0));
        assert_int_equal(value, greatest[t]);
    }
}

static int32_t place_of(mia_op op, int count, const float *in) {
    int32_t out = -1;
    run(op, step_modes(1, 0, 0), step_compact(MIA_i32, &out, 1, 1), step_compact(MIA_f32, in, 1, count));
    return out;
}

static void test_places(void **state) {
    (void)state;
    const float ties[6] = {1, 3, -1, 3, -1, 0}, zeros[3] = {-0.0f, 0.0f, -0.0f};
    const float odd[5] = {1, INFINITY, NAN, NAN, -INFINITY};
    assert_int_equal(place_of(MIA_OP_argmax, 6, ties), 1);
    assert_int_equal(place_of(MIA_OP_argmin, 6, ties), 2);
    assert_int_equal(place_of(MIA_OP_argmax, 3, zeros), 0);
    assert_int_equal(place_of(MIA_OP_argmin, 3, zeros), 0);
    assert_int_equal(place_of(MIA_OP_argmax, 5, odd), 2);
    assert_int_equal(place_of(MIA_OP_argmin, 5, odd), 2);
    assert_int_equal(place_of(MIA_OP_argmin, 2, odd), 0);
    /* counted first mode fastest over modes 0 and 2 of [2, 3, 2] alone */
    const uint8_t in[12] = {1, 0, 5, 5, 2, 9, 1, 4, 5, 6, 9, 0};
    int32_t out[3];
    run(MIA_OP_argmax, step_modes(5, 0, 0), step_compact(MIA_i32, out, 3, 1, 3, 1),
        step_compact(MIA_u8, in, 3, 2, 3, 2));
    assert_true(out[0] == 3 && out[1] == 3 && out[2] == 1);
}

/* --- running sums ------------------------------------------------------------------------------ */

static void test_running_sums(void **state) {
    (void)state;
    int32_t numbers[100], out[100];
    for (int i = 0; i < 100; i++) numbers[i] = i;
    step_value x = step_compact(MIA_i32, numbers, 2, 2, 50), y = step_compact(MIA_i32, out, 2, 2, 50);
    run(MIA_OP_cumsum, step_modes(1, 0, 0), y, x); /* column j holds 2j and 2j + 1 */
    for (int j = 0; j < 50; j++)
        assert_true(out[2 * j] == j * (j + 1) && out[2 * j + 1] == (j + 1) * (j + 1));
    run(MIA_OP_cumsum, step_modes(1, 1, 0), y, x);
    for (int j = 0; j < 50; j++) assert_true(out[2 * j] == j * (j - 1) && out[2 * j + 1] == j * j);
    run(MIA_OP_cumsum, step_modes(1, 0, 1), y, x);
    for (int j = 0; j < 50; j++) assert_int_equal(out[2 * j], 2450 - j * (j - 1));
    run(MIA_OP_cumsum, step_modes(1, 1, 1), y, x);
    for (int j = 0; j < 50; j++) assert_int_equal(out[2 * j + 1], 2500 - (j + 1) * (j + 1));
    run(MIA_OP_cumsum, step_modes(0, 0, 0), y, x);
    for (int j = 0; j < 50; j++) assert_true(out[2 * j] == 2 * j && out[2 * j + 1] == 4 * j + 1);
}

/* Wraps; a running sum is not kept in f16; what was lost beside a large number comes back. */
static void test_running_sums_of_types(void **state) {
    (void)state;
    int8_t bytes[3] = {100, 100, -100}, sums[3];
    run(MIA_OP_cumsum, step_modes(0, 0, 0), step_compact(MIA_i8, sums, 1, 3),
        step_compact(MIA_i8, bytes, 1, 3));
    assert_true(sums[0] == 100 && sums[1] == -56 && sums[2] == 100);
    static uint16_t one = 0x3c00, halves[4000];
    run(MIA_OP_cumsum, step_modes(0, 0, 0), step_compact(MIA_f16, halves, 1, 4000),
        step_strided(MIA_f16, &one, 0, 1, 4000, 0));
    assert_int_equal(halves[3999], mia__f32_to_f16(4000));
    const double in[3] = {1, 1e100, -1e100};
    double out[3];
    run(MIA_OP_cumsum, step_modes(0, 0, 0), step_compact(MIA_f64, out, 1, 3),
        step_compact(MIA_f64, in, 1, 3));
    assert_true(out[0] == 1 && out[1] == 1e100 && out[2] == 1);
    const float ends[4] = {1, INFINITY, 2, -INFINITY};
    float results[4];
    run(MIA_OP_cumsum, step_modes(0, 0, 0), step_compact(MIA_f32, results, 1, 4),
        step_compact(MIA_f32, ends, 1, 4));
    assert_true(results[0] == 1 && results[1] == INFINITY && results[2] == INFINITY && isnan(results[3]));
}

/* --- order ------------------------------------------------------------------------------------- */

static void test_order(void **state) {
    (void)state;
    const float in[7] = {2, NAN, -1, 2, INFINITY, -INFINITY, 2};
    static const int32_t up[7] = {5, 2, 0, 3, 6, 4, 1}, down[7] = {1, 4, 0, 3, 6, 2, 5};
    int32_t places[7];
    float values[7];
    step_value x = step_compact(MIA_f32, in, 1, 7), y = step_compact(MIA_i32, places, 1, 7);
    run(MIA_OP_argsort, step_modes(0, 0, 0), y, x);
    assert_memory_equal(places, up, sizeof up);
    run(MIA_OP_argsort, step_modes(0, 1, 0), y, x);
    assert_memory_equal(places, down, sizeof down);
    for (int way = 0; way < 2; way++) {
        run(MIA_OP_sort, step_modes(0, way, 0), step_compact(MIA_f32, values, 1, 7), x);
        for (int i = 0; i < 7; i++)
            assert_memory_equal(&values[i], &in[way ? down[i] : up[i]], sizeof(float));
    }
    for (int k = 0; k <= 7; k++) {
        memset(places, 0xff, sizeof places);
        run(MIA_OP_top_k_indices, step_modes(0, k, 1), step_compact(MIA_i32, places, 1, k), x);
        assert_memory_equal(places, down, (size_t)k * sizeof(int32_t));
        assert_true(k == 7 || places[k] == -1);
        run(MIA_OP_top_k_indices, step_modes(0, k, 0), step_compact(MIA_i32, places, 1, k), x);
        assert_memory_equal(places, up, (size_t)k * sizeof(int32_t));
        run(MIA_OP_top_k, step_modes(0, k, 1), step_compact(MIA_f32, values, 1, k), x);
        for (int i = 0; i < k; i++) assert_memory_equal(&values[i], &in[down[i]], sizeof(float));
    }
}

/* Numbers 7 i mod 101 of a mode in the middle, backwards: each value once, at i = value / 7 modulo 101. */
static void test_order_along_a_mode(void **state) {
    (void)state;
    static int8_t in[2 * 101 * 3], out[2 * 101 * 3];
    static int32_t places[2 * 101 * 3];
    for (int i = 0; i < 101; i++)
        for (int a = 0; a < 2; a++)
            for (int b = 0; b < 3; b++) in[a + 2 * (100 - i) + 202 * b] = (int8_t)(7 * i % 101 - 50);
    step_value x = step_strided(MIA_i8, in, 200, 3, 2, 101, 3, 1, -2, 202);
    run(MIA_OP_sort, step_modes(1, 0, 0), step_compact(MIA_i8, out, 3, 2, 101, 3), x);
    run(MIA_OP_argsort, step_modes(1, 0, 0), step_compact(MIA_i32, places, 3, 2, 101, 3), x);
    for (int i = 0; i < 101; i++)
        for (int line = 0; line < 6; line++) {
            int at = line % 2 + 2 * i + 202 * (line / 2);
            assert_int_equal(out[at], i - 50);
            assert_int_equal(7 * places[at] % 101, i);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_and_product),
        cmocka_unit_test(test_factorials),
        cmocka_unit_test(test_product_in_any_order),
        cmocka_unit_test(test_truth),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_running_sums),
        cmocka_unit_test(test_running_sums_of_types),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_order_along_a_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
