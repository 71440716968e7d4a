/* Reference kernels of places by index, by arithmetic, and of numbers out of a few, held against small results
 * worked out by hand. NumPy's names for them: take, take_along_axis, put_along_axis, ufunc.at, roll, tril, triu, pad,
 * arange; NumPy's last axis is mode 0. */
#include "base/half.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/steps.h"

static const mia__attributes none;

static void run(mia_op op, mia__attributes attributes, step_value output, int count,
                const step_value *inputs) {
    assert_true(step_run(op, attributes, output, count, inputs));
}

#define ASSERT_FLOATS(got, ...)                                                                              \
    do {                                                                                                     \
        const float expected_[] = {__VA_ARGS__};                                                             \
        assert_memory_equal(got, expected_, sizeof expected_);                                               \
    } while (0)
#define ASSERT_INTEGERS(got, ...)                                                                            \
    do {                                                                                                     \
        const int32_t expected_[] = {__VA_ARGS__};                                                           \
        assert_memory_equal(got, expected_, sizeof expected_);                                               \
    } while (0)

/* x [3, 2]: rows (1 2 3), (4 5 6). */
static const float six[6] = {1, 2, 3, 4, 5, 6};

/* --- take ------------------------------------------------------------------------------------- */

static void test_take(void **state) {
    (void)state;
    const int32_t indices[6] = {2, 0, -1, 1, 2, 3};
    float out[12];
    run(MIA_OP_take, step_modes(0, 0, 0), step_compact(MIA_f32, out, 2, 4, 2),
        STEP_INPUTS(step_compact(MIA_f32, six, 2, 3, 2), step_compact(MIA_i32, indices, 1, 4)));
    ASSERT_FLOATS(out, 3, 1, 0, 2, 6, 4, 0, 5);
    run(MIA_OP_take, step_modes(1, 0, 0), step_compact(MIA_f32, out, 2, 3, 3),
        STEP_INPUTS(step_compact(MIA_f32, six, 2, 3, 2), step_compact(MIA_i32, indices + 1, 1, 3)));
    ASSERT_FLOATS(out, 1, 2, 3, 0, 0, 0, 4, 5, 6);
    /* The modes of the indices stand where the mode was: [3, 2] with [2, 2] at mode 0 gives [2, 2, 2]. */
    run(MIA_OP_take, step_modes(0, 0, 0), step_compact(MIA_f32, out, 3, 2, 2, 2),
        STEP_INPUTS(step_compact(MIA_f32, six, 2, 3, 2), step_strided(MIA_i32, indices, 0, 2, 2, 2, 1, 3)));
    ASSERT_FLOATS(out, 3, 1, 2, 3, 6, 4, 5, 6);
    /* A single index takes the mode away. */
    run(MIA_OP_take, step_modes(0, 0, 0), step_compact(MIA_f32, out, 1, 2),
        STEP_INPUTS(step_compact(MIA_f32, six, 2, 3, 2), step_compact(MIA_i32, indices, 0)));
    ASSERT_FLOATS(out, 3, 6);
    /* A turned view: x [2, 3] of strides (3, 1), mode 1 backwards. */
    run(MIA_OP_take, step_modes(1, 0, 0), step_compact(MIA_f32, out, 2, 2, 2),
        STEP_INPUTS(step_strided(MIA_f32, six, 2, 2, 2, 3, 3, -1), step_compact(MIA_i32, indices, 1, 2)));
    ASSERT_FLOATS(out, 1, 4, 3, 6);
}

static void test_take_along(void **state) {
    (void)state;
    const int32_t indices[4] = {2, 0, 1, 3};
    float out[4];
    run(MIA_OP_take_along, step_modes(0, 0, 0), step_compact(MIA_f32, out, 2, 2, 2),
        STEP_INPUTS(step_compact(MIA_f32, six, 2, 3, 2), step_compact(MIA_i32, indices, 2, 2, 2)));
    ASSERT_FLOATS(out, 3, 1, 5, 0);
    const int32_t rows[3] = {1, 0, 1};
    run(MIA_OP_take_along, step_modes(1, 0, 0), step_compact(MIA_f32, out, 2, 3, 1),
        STEP_INPUTS(step_compact(MIA_f32, six, 2, 3, 2), step_compact(MIA_i32, rows, 2, 3, 1)));
    ASSERT_FLOATS(out, 4, 2, 6);
}

/* --- scatter ---------------------------------------------------------------------------------- */

static void scatter(mia_op op, mia_dtype dtype, int64_t mode, mia_scatter_style style, void *out,
                    const void *x, const void *indices, const void *part) {
    bool along = op == MIA_OP_scatter_along;
    step_value index = along ? step_compact(MIA_i32, indices, 2, mode == 0 ? 4 : 3, mode == 0 ? 2 : 4)
                             : step_compact(MIA_i32, indices, 1, 4);
    step_value parts = mode == 0 ? step_compact(dtype, part, 2, 4, 2) : step_compact(dtype, part, 2, 3, 4);
    run(op, step_modes(mode, style, 0), step_compact(dtype, out, 2, 3, 2),
        STEP_INPUTS(step_compact(dtype, x, 2, 3, 2), index, parts));
}

static void test_scatter(void **state) {
    (void)state;
    const int32_t indices[4] = {2, 0, 2, 5};
    const float part[8] = {10, 20, 30, 40, 50, 60, 70, 80};
    float out[6];
    scatter(MIA_OP_scatter, MIA_f32, 0, MIA_SCATTER_SET, out, six, indices, part);
    ASSERT_FLOATS(out, 20, 2, 30, 60, 5, 70); /* the last of two for one place */
    scatter(MIA_OP_scatter, MIA_f32, 0, MIA_SCATTER_ADD, out, six, indices, part);
    ASSERT_FLOATS(out, 21, 2, 43, 64, 5, 126);
    scatter(MIA_OP_scatter, MIA_f32, 0, MIA_SCATTER_MUL, out, six, indices, part);
    ASSERT_FLOATS(out, 20, 2, 900, 240, 5, 21000);
    scatter(MIA_OP_scatter, MIA_f32, 0, MIA_SCATTER_MIN, out, six, indices, part);
    ASSERT_FLOATS(out, 1, 2, 3, 4, 5, 6);
    scatter(MIA_OP_scatter, MIA_f32, 0, MIA_SCATTER_MAX, out, six, indices, part);
    ASSERT_FLOATS(out, 20, 2, 30, 60, 5, 70);
    const int32_t rows[4] = {1, -1, 1, 0};
    const float wide[12] = {10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120};
    scatter(MIA_OP_scatter, MIA_f32, 1, MIA_SCATTER_ADD, out, six, rows, wide);
    ASSERT_FLOATS(out, 101, 112, 123, 84, 105, 126);
    memcpy(out, six, sizeof out); /* over the operand itself */
    run(MIA_OP_scatter, step_modes(1, MIA_SCATTER_SET, 0), step_compact(MIA_f32, out, 2, 3, 2),
        STEP_INPUTS(step_compact(MIA_f32, out, 2, 3, 2), step_compact(MIA_i32, rows, 1, 1),
                    step_compact(MIA_f32, wide, 2, 3, 1)));
    ASSERT_FLOATS(out, 1, 2, 3, 10, 20, 30);
}

static void test_scatter_along(void **state) {
    (void)state;
    const int32_t indices[8] = {0, 1, 0, 3, 2, 2, -1, 2};
    const float part[8] = {10, 20, 30, 40, 50, 60, 70, 80};
    float out[6];
    scatter(MIA_OP_scatter_along, MIA_f32, 0, MIA_SCATTER_SET, out, six, indices, part);
    ASSERT_FLOATS(out, 30, 20, 3, 4, 5, 80);
    scatter(MIA_OP_scatter_along, MIA_f32, 0, MIA_SCATTER_ADD, out, six, indices, part);
    ASSERT_FLOATS(out, 41, 22, 3, 4, 5, 196);
    const int32_t rows[3] = {1, 0, 1};
    run(MIA_OP_scatter_along, step_modes(1, MIA_SCATTER_MUL, 0), step_compact(MIA_f32, out, 2, 3, 2),
        STEP_INPUTS(step_compact(MIA_f32, six, 2, 3, 2), step_compact(MIA_i32, rows, 2, 3, 1),
                    step_compact(MIA_f32, part, 2, 3, 1)));
    ASSERT_FLOATS(out, 1, 40, 3, 40, 5, 180);
}

/* Integers wrap, booleans are or and and, NaN is the least and the greatest, and halves are rounded once. */
static void test_scatter_types(void **state) {
    (void)state;
    const int32_t zero[4] = {0, 0, 0, 0};
    const int8_t bytes[2] = {100, 100}, byte = 100;
    int8_t byte_out = 0;
    run(MIA_OP_scatter, step_modes(0, MIA_SCATTER_ADD, 0), step_compact(MIA_i8, &byte_out, 1, 1),
        STEP_INPUTS(step_compact(MIA_i8, &byte, 1, 1), step_compact(MIA_i32, zero, 1, 2),
                    step_compact(MIA_i8, bytes, 1, 2)));
    assert_int_equal(byte_out, 44);
    const uint8_t truths[3] = {0, 7, 0};
    uint8_t truth = 0, truth_out = 0;
    for (int style = MIA_SCATTER_ADD; style <= MIA_SCATTER_MAX; style++) {
        run(MIA_OP_scatter, step_modes(0, style, 0), step_compact(MIA_bool8, &truth_out, 1, 1),
            STEP_INPUTS(step_compact(MIA_bool8, &truth, 1, 1), step_compact(MIA_i32, zero, 1, 3),
                        step_compact(MIA_bool8, truths, 1, 3)));
        assert_int_equal(truth_out, style == MIA_SCATTER_ADD || style == MIA_SCATTER_MAX);
    }
    const float numbers[3] = {1, NAN, 2};
    float number = 0, number_out = 0;
    for (int style = MIA_SCATTER_MIN; style <= MIA_SCATTER_MAX; style++) {
        run(MIA_OP_scatter, step_modes(0, style, 0), step_compact(MIA_f32, &number_out, 1, 1),
            STEP_INPUTS(step_compact(MIA_f32, &number, 1, 1), step_compact(MIA_i32, zero, 1, 3),
                        step_compact(MIA_f32, numbers, 1, 3)));
        assert_true(isnan(number_out));
    }
    uint16_t half = mia__f64_to_f16(2048), halves[4], half_out = 0; /* 2048 + 1 is 2048 in f16 */
    for (int i = 0; i < 4; i++) halves[i] = mia__f64_to_f16(1);
    run(MIA_OP_scatter, step_modes(0, MIA_SCATTER_ADD, 0), step_compact(MIA_f16, &half_out, 1, 1),
        STEP_INPUTS(step_compact(MIA_f16, &half, 1, 1), step_compact(MIA_i32, zero, 1, 4),
                    step_compact(MIA_f16, halves, 1, 4)));
    assert_true(mia__f16_to_f64(half_out) == 2052);
}

/* --- roll, triangles, pad --------------------------------------------------------------------- */

static void test_roll(void **state) {
    (void)state;
    float out[6];
    step_value x = step_compact(MIA_f32, six, 2, 3, 2), y = step_compact(MIA_f32, out, 2, 3, 2);
    run(MIA_OP_roll, step_modes(0, 1, 0), y, STEP_INPUTS(x));
    ASSERT_FLOATS(out, 3, 1, 2, 6, 4, 5);
    run(MIA_OP_roll, step_modes(0, -1, 0), y, STEP_INPUTS(x));
    ASSERT_FLOATS(out, 2, 3, 1, 5, 6, 4);
    run(MIA_OP_roll, step_modes(1, 7, 0), y, STEP_INPUTS(x));
    ASSERT_FLOATS(out, 4, 5, 6, 1, 2, 3);
    run(MIA_OP_roll, step_modes(0, INT64_MIN, 0), y, STEP_INPUTS(x)); /* -2^63 is 1 modulo 3 */
    ASSERT_FLOATS(out, 3, 1, 2, 6, 4, 5);
    run(MIA_OP_roll, step_modes(0, INT64_MAX, 0), y, STEP_INPUTS(x)); /* 2^63 - 1 also */
    ASSERT_FLOATS(out, 3, 1, 2, 6, 4, 5);
}

static void test_triangles(void **state) {
    (void)state;
    float out[6];
    step_value x = step_compact(MIA_f32, six, 2, 3, 2), y = step_compact(MIA_f32, out, 2, 3, 2);
    run(MIA_OP_tril, step_modes(0, 0, 0), y, STEP_INPUTS(x));
    ASSERT_FLOATS(out, 1, 0, 0, 4, 5, 0);
    run(MIA_OP_tril, step_modes(1, 0, 0), y, STEP_INPUTS(x));
    ASSERT_FLOATS(out, 1, 2, 0, 4, 5, 6);
    run(MIA_OP_tril, step_modes(-2, 0, 0), y, STEP_INPUTS(x));
    ASSERT_FLOATS(out, 0, 0, 0, 0, 0, 0);
    run(MIA_OP_triu, step_modes(0, 0, 0), y, STEP_INPUTS(x));
    ASSERT_FLOATS(out, 1, 2, 3, 0, 5, 6);
    run(MIA_OP_triu, step_modes(2, 0, 0), y, STEP_INPUTS(x));
    ASSERT_FLOATS(out, 0, 0, 3, 0, 0, 0);
    run(MIA_OP_triu, step_modes(INT64_MIN, 0, 0), y, STEP_INPUTS(x));
    ASSERT_FLOATS(out, 1, 2, 3, 4, 5, 6);
    run(MIA_OP_triu, step_modes(INT64_MAX, 0, 0), y, STEP_INPUTS(x));
    ASSERT_FLOATS(out, 0, 0, 0, 0, 0, 0);
}

static void pad(mia_pad_style style, int64_t mode, int64_t before, int64_t after, double value,
                mia_dtype dtype, const void *x, void *out) {
    mia__attributes attributes = {.i = {mode, before, after, (int64_t)style}, .f = {value}};
    int width = 3 + (int)(mode == 0 ? before + after : 0), height = 2 + (int)(mode == 1 ? before + after : 0);
    run(MIA_OP_pad, attributes, step_compact(dtype, out, 2, width, height),
        STEP_INPUTS(step_compact(dtype, x, 2, 3, 2)));
}

static void test_pad(void **state) {
    (void)state;
    float out[18];
    pad(MIA_PAD_CONSTANT, 0, 1, 2, 7, MIA_f32, six, out);
    ASSERT_FLOATS(out, 7, 1, 2, 3, 7, 7, 7, 4, 5, 6, 7, 7);
    pad(MIA_PAD_EDGE, 0, 1, 2, 7, MIA_f32, six, out);
    ASSERT_FLOATS(out, 1, 1, 2, 3, 3, 3, 4, 4, 5, 6, 6, 6);
    pad(MIA_PAD_MIRROR, 0, 2, 1, 7, MIA_f32, six, out);
    ASSERT_FLOATS(out, 3, 2, 1, 2, 3, 2, 6, 5, 4, 5, 6, 5);
    pad(MIA_PAD_CYCLE, 0, 2, 1, 7, MIA_f32, six, out);
    ASSERT_FLOATS(out, 2, 3, 1, 2, 3, 1, 5, 6, 4, 5, 6, 4);
    pad(MIA_PAD_MIRROR, 1, 1, 1, 7, MIA_f32, six, out);
    ASSERT_FLOATS(out, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2, 3);
    const uint8_t bytes[6] = {1, 2, 3, 4, 5, 6};
    uint8_t byte_out[8];
    static const double values[] = {2.5, 3.5, 300, -1, NAN};
    static const uint8_t expected[] = {2, 4, 255, 0, 0}; /* rounded to even, saturated */
    for (int i = 0; i < 5; i++) {
        pad(MIA_PAD_CONSTANT, 0, 1, 0, values[i], MIA_u8, bytes, byte_out);
        assert_true(byte_out[0] == expected[i] && byte_out[1] == 1 && byte_out[4] == expected[i]);
    }
}

/* --- creation --------------------------------------------------------------------------------- */

static void test_arange(void **state) {
    (void)state;
    const float start = 1, step = 0.1f;
    float out[5];
    run(MIA_OP_arange, step_modes(5, 0, 0), step_compact(MIA_f32, out, 1, 5),
        STEP_INPUTS(step_compact(MIA_f32, &start, 0), step_compact(MIA_f32, &step, 0)));
    for (int i = 0; i < 5; i++) assert_true(out[i] == (float)(1 + i * (double)0.1f));
    const int32_t first = INT32_MAX - 1, by = 3;
    int32_t whole[3];
    run(MIA_OP_arange, step_modes(3, 0, 0), step_compact(MIA_i32, whole, 1, 3),
        STEP_INPUTS(step_compact(MIA_i32, &first, 0), step_compact(MIA_i32, &by, 1, 1)));
    ASSERT_INTEGERS(whole, INT32_MAX - 1, INT32_MIN + 1, INT32_MIN + 4);
    const uint8_t from = 250, down = 254; /* -2 modulo 256 */
    uint8_t bytes[4];
    run(MIA_OP_arange, step_modes(4, 0, 0), step_compact(MIA_u8, bytes, 1, 4),
        STEP_INPUTS(step_compact(MIA_u8, &from, 0), step_compact(MIA_u8, &down, 0)));
    const uint8_t expected[4] = {250, 248, 246, 244};
    assert_memory_equal(bytes, expected, 4);
}

/* The words of counter 0 and key 0 are the published ones. */
static void test_random(void **state) {
    (void)state;
    const uint32_t seed[2] = {0, 0}, words[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    step_value key = step_compact(MIA_u32, seed, 1, 2);
    float out[6];
    double wide[2];
    uint16_t half[4];
    run(MIA_OP_random_uniform, none, step_compact(MIA_f32, out, 1, 6), STEP_INPUTS(key));
    for (int i = 0; i < 4; i++) assert_true((double)out[i] == (words[i] >> 8) / 16777216.0);
    run(MIA_OP_random_uniform, none, step_compact(MIA_bf16, half, 1, 4), STEP_INPUTS(key));
    for (int i = 0; i < 4; i++) assert_true(mia__bf16_to_f64(half[i]) == (words[i] >> 24) / 256.0);
    run(MIA_OP_random_uniform, none, step_compact(MIA_f64, wide, 1, 2), STEP_INPUTS(key));
    for (int i = 0; i < 2; i++) {
        uint64_t bits = ((uint64_t)words[2 * i + 1] << 32 | words[2 * i]) >> 11;
        assert_true(wide[i] == (double)bits / 9007199254740992.0);
    }
    run(MIA_OP_random_normal, none, step_compact(MIA_f32, out, 1, 4), STEP_INPUTS(key));
    for (int i = 0; i < 4; i += 2) {
        double radius = sqrt(-2 * log(1 - (words[i] >> 8) / 16777216.0));
        double angle = 2 * acos(-1) * words[i + 1] / 4294967296.0;
        assert_true(fabs((double)out[i] - radius * cos(angle)) < 1e-6);
        assert_true(fabs((double)out[i + 1] - radius * sin(angle)) < 1e-6);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),          cmocka_unit_test(test_take_along),
        cmocka_unit_test(test_scatter),       cmocka_unit_test(test_scatter_along),
        cmocka_unit_test(test_scatter_types), cmocka_unit_test(test_roll),
        cmocka_unit_test(test_triangles),     cmocka_unit_test(test_pad),
        cmocka_unit_test(test_arange),        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
