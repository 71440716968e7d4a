/* Reference kernels that work element by element (element-wise, movement, conversion, tables,
 * reductions), held against results known from closed forms. The composite operations are in
 * test_reference_composite.c. */
#include "base/block.h"
#include "base/half.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/steps.h"

static const mia__attributes none;

/* Runs and insists on a kernel. */
static void run(mia_op op, mia__attributes attributes, step_value output, int count,
                const step_value *inputs) {
    assert_true(step_run(op, attributes, output, count, inputs));
}

static void assert_near(double value, double expected, double bound) {
    if (isnan(expected) && isnan(value)) return;
    if (value == expected || fabs(value - expected) <= bound) return;
    print_error("%.17g is not %.17g within %g\n", value, expected, bound);
    fail();
}

/* --- the table -------------------------------------------------------------------------------- */

static void test_every_row_has_a_kernel(void **state) {
    (void)state;
#define MIA_OP(name, tag, signature, class, types, type_rule, shape_rule, bound, doc)                        \
    if (MIA_CLASS_##class == MIA_CLASS_VIEW)                                                                 \
        assert_null(mia__reference_find(MIA_OP_##name));                                                     \
    else                                                                                                     \
        assert_non_null(mia__reference_find(MIA_OP_##name));
#include <mia/ops.def>
#undef MIA_OP
    assert_null(mia__reference_find(MIA_OP_NONE));
}

/* --- element-wise ----------------------------------------------------------------------------- */

static void test_add_repeats(void **state) {
    (void)state;
    float a[5] = {0, 1, 2, 3, 4}, b[3] = {0, 10, 20}, out[15];
    run(MIA_OP_add, none, step_compact(MIA_f32, out, 2, 5, 3),
        STEP_INPUTS(step_strided(MIA_f32, a, 0, 2, 5, 3, 1, 0), step_strided(MIA_f32, b, 0, 2, 5, 3, 0, 1)));
    for (int j = 0; j < 3; j++)
        for (int i = 0; i < 5; i++) assert_true(out[i + 5 * j] == (float)(i + 10 * j));
}

static void test_negative_strides(void **state) {
    (void)state;
    double a[7], out[7];
    for (int i = 0; i < 7; i++) a[i] = i;
    run(MIA_OP_neg, none, step_compact(MIA_f64, out, 1, 7),
        STEP_INPUTS(step_strided(MIA_f64, a, 6, 1, 7, -1)));
    for (int i = 0; i < 7; i++) assert_true(out[i] == i - 6);
}

static void test_rank_zero_and_nothing(void **state) {
    (void)state;
    int32_t a = 40, b = 2, out = 7;
    step_value x = step_compact(MIA_i32, &a, 0), y = step_compact(MIA_i32, &b, 0);
    run(MIA_OP_add, none, step_compact(MIA_i32, &out, 0), STEP_INPUTS(x, y));
    assert_int_equal(out, 42);
    step_value empty = step_compact(MIA_i32, &a, 2, 0, 3);
    run(MIA_OP_add, none, step_compact(MIA_i32, &out, 2, 0, 3), STEP_INPUTS(empty, empty));
    assert_int_equal(out, 42);
}

/* In place: the output is the first operand. */
static void test_in_place(void **state) {
    (void)state;
    uint16_t a[9];
    for (int i = 0; i < 9; i++) a[i] = mia__f32_to_f16((float)i);
    step_value x = step_compact(MIA_f16, a, 1, 9);
    run(MIA_OP_mul, none, x, STEP_INPUTS(x, x));
    for (int i = 0; i < 9; i++) assert_int_equal(a[i], mia__f32_to_f16((float)(i * i)));
}

static int64_t whole(mia_op op, mia_dtype dtype, int64_t a, int64_t b) {
    union {
        int32_t i;
        uint32_t u;
        int8_t c;
        uint8_t d;
    } x, y, out;
    x.i = (int32_t)(uint32_t)(uint64_t)a, y.i = (int32_t)(uint32_t)(uint64_t)b, out.i = 0;
    step_value operands[] = {step_compact(dtype, &x, 0), step_compact(dtype, &y, 0)};
    run(op, none, step_compact(dtype, &out, 0), mia_op_describe(op)->operands == 2 ? 2 : 1, operands);
    return dtype == MIA_i32 ? out.i : dtype == MIA_u32 ? (int64_t)out.u : dtype == MIA_i8 ? out.c : out.d;
}

static void test_integers(void **state) {
    (void)state;
    assert_int_equal(whole(MIA_OP_add, MIA_i8, 100, 100), -56);
    assert_int_equal(whole(MIA_OP_add, MIA_u8, 200, 100), 44);
    assert_int_equal(whole(MIA_OP_add, MIA_i32, INT32_MAX, 1), INT32_MIN);
    assert_int_equal(whole(MIA_OP_sub, MIA_u32, 0, 1), UINT32_MAX);
    assert_int_equal(whole(MIA_OP_mul, MIA_u32, UINT32_MAX, UINT32_MAX), 1);
    assert_int_equal(whole(MIA_OP_mul, MIA_i32, 65537, 65537), 131073);
    assert_int_equal(whole(MIA_OP_square, MIA_i8, 16, 0), 0);
    assert_int_equal(whole(MIA_OP_div, MIA_i32, -7, 2), -3);
    assert_int_equal(whole(MIA_OP_div, MIA_i32, 7, 0), 0);
    assert_int_equal(whole(MIA_OP_div, MIA_i32, INT32_MIN, -1), INT32_MIN);
    assert_int_equal(whole(MIA_OP_div, MIA_u32, UINT32_MAX, 2), INT32_MAX);
    assert_int_equal(whole(MIA_OP_min, MIA_i8, -3, 2), -3);
    assert_int_equal(whole(MIA_OP_max, MIA_u8, 253, 2), 253);
    assert_int_equal(whole(MIA_OP_neg, MIA_i8, -128, 0), -128);
    assert_int_equal(whole(MIA_OP_neg, MIA_u8, 1, 0), 255);
    assert_int_equal(whole(MIA_OP_abs, MIA_i32, INT32_MIN, 0), INT32_MIN);
    assert_int_equal(whole(MIA_OP_abs, MIA_i8, -5, 0), 5);
    assert_int_equal(whole(MIA_OP_abs, MIA_u8, 250, 0), 250);
    assert_int_equal(whole(MIA_OP_relu, MIA_i32, -5, 0), 0);
    assert_int_equal(whole(MIA_OP_relu, MIA_u8, 250, 0), 250);
}

static void store(mia_dtype dtype, void *place, double value) {
    switch (dtype) {
    case MIA_f32: *(float *)place = (float)value; break;
    case MIA_f16: *(uint16_t *)place = mia__f64_to_f16(value); break;
    case MIA_bf16: *(uint16_t *)place = mia__f64_to_bf16(value); break;
    default: *(double *)place = value; break;
    }
}

static double load(mia_dtype dtype, const void *place) {
    switch (dtype) {
    case MIA_f32: return (double)*(const float *)place;
    case MIA_f16: return mia__f16_to_f64(*(const uint16_t *)place);
    case MIA_bf16: return mia__bf16_to_f64(*(const uint16_t *)place);
    default: return *(const double *)place;
    }
}

static double real(mia_op op, mia_dtype dtype, double a, double b) {
    double x = 0, y = 0, out = 0;
    store(dtype, &x, a);
    store(dtype, &y, b);
    step_value operands[] = {step_compact(dtype, &x, 0), step_compact(dtype, &y, 0)};
    run(op, none, step_compact(dtype, &out, 0), (int)mia_op_describe(op)->operands, operands);
    return load(dtype, &out);
}

/* Known values at arguments that every type holds exactly; each type's result is within half a last place of
 * them. */
static void test_real_values(void **state) {
    (void)state;
    static const struct {
        mia_op op;
        double a, b, result;
    } known[] = {
        {MIA_OP_add, 1.5, 0.25, 1.75},
        {MIA_OP_sub, 1.5, 2, -0.5},
        {MIA_OP_mul, -1.5, 3, -4.5},
        {MIA_OP_div, 1, 3, 0.33333333333333333},
        {MIA_OP_min, 1, -2, -2},
        {MIA_OP_max, 1, -2, 1},
        {MIA_OP_neg, 3, 0, -3},
        {MIA_OP_abs, -3, 0, 3},
        {MIA_OP_square, -1.5, 0, 2.25},
        {MIA_OP_relu, -2, 0, 0},
        {MIA_OP_relu, 2, 0, 2},
        {MIA_OP_sqrt, 2, 0, 1.4142135623730951},
        {MIA_OP_rsqrt, 2, 0, 0.70710678118654752},
        {MIA_OP_reciprocal, 3, 0, 0.33333333333333333},
        {MIA_OP_exp, 1, 0, 2.718281828459045},
        {MIA_OP_log, 10, 0, 2.302585092994046},
        {MIA_OP_tanh, 0.5, 0, 0.46211715726000976},
        {MIA_OP_sigmoid, 1, 0, 0.73105857863000488},
        {MIA_OP_silu, -2, 0, -0.23840584404423511},
        {MIA_OP_gelu, 1, 0, 0.84134474606854293},
        {MIA_OP_gelu, -1, 0, -0.15865525393145705},
        {MIA_OP_gelu_tanh, 1, 0, 0.84119199060827670},
    };
    static const struct {
        mia_dtype dtype;
        double half; /* of the last place, relative */
    } types[] = {{MIA_f32, 0x1p-24}, {MIA_f16, 0x1p-11}, {MIA_bf16, 0x1p-8}, {MIA_f64, 0x1p-50}};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            assert_near(real(known[i].op, types[t].dtype, known[i].a, known[i].b), known[i].result,
                        types[t].half * 1.000001 * fabs(known[i].result));
}

static void test_not_finite(void **state) {
    (void)state;
    const double infinity = (double)INFINITY, nan = (double)NAN;
    const mia_dtype types[] = {MIA_f32, MIA_f16, MIA_bf16, MIA_f64};
    for (int t = 0; t < 4; t++) {
        assert_true(isnan(real(MIA_OP_min, types[t], nan, 1)) && isnan(real(MIA_OP_min, types[t], 1, nan)));
        assert_true(isnan(real(MIA_OP_max, types[t], nan, 1)) && isnan(real(MIA_OP_max, types[t], 1, nan)));
        assert_true(real(MIA_OP_max, types[t], -infinity, 1) == 1);
        assert_true(isnan(real(MIA_OP_relu, types[t], nan, 0)) && isnan(real(MIA_OP_log, types[t], -1, 0)));
        assert_true(real(MIA_OP_div, types[t], -1, 0) == -infinity &&
                    isnan(real(MIA_OP_div, types[t], 0, 0)));
        assert_true(real(MIA_OP_exp, types[t], -infinity, 0) == 0 &&
                    real(MIA_OP_exp, types[t], 1e4, 0) == infinity);
        assert_true(real(MIA_OP_log, types[t], 0, 0) == -infinity);
        assert_true(real(MIA_OP_gelu, types[t], infinity, 0) == infinity);
        assert_true(real(MIA_OP_sigmoid, types[t], -infinity, 0) == 0);
        assert_true(real(MIA_OP_silu, types[t], -20000, 0) == 0);
    }
    assert_true(real(MIA_OP_mul, MIA_f16, 65504, 2) == infinity);
}

/* --- movement --------------------------------------------------------------------------------- */

/* Nine modes of 2, read with the strides in reverse order: the element's place with its bits reversed. */
static void test_copy_nine_modes(void **state) {
    (void)state;
    uint8_t in[512], out[512];
    for (int i = 0; i < 512; i++) in[i] = (uint8_t)(i * 7 + i / 256);
    run(MIA_OP_copy, none, step_compact(MIA_u8, out, 9, 2, 2, 2, 2, 2, 2, 2, 2, 2),
        STEP_INPUTS(
            step_strided(MIA_u8, in, 0, 9, 2, 2, 2, 2, 2, 2, 2, 2, 2, 256, 128, 64, 32, 16, 8, 4, 2, 1)));
    for (int i = 0; i < 512; i++) {
        int reversed = 0;
        for (int bit = 0; bit < 9; bit++) reversed |= (i >> bit & 1) << (8 - bit);
        assert_int_equal(out[i], in[reversed]);
    }
}

/* Blocks move whole: [512, 3] of q4_K, columns last to first. */
static void test_copy_blocks(void **state) {
    (void)state;
    static uint8_t in[6 * 144], out[6 * 144];
    for (int i = 0; i < 6 * 144; i++) in[i] = (uint8_t)(i % 251);
    run(MIA_OP_copy, none, step_compact(MIA_q4_K, out, 2, 512, 3),
        STEP_INPUTS(step_strided(MIA_q4_K, in, 4, 2, 512, 3, 1, -2)));
    for (int column = 0; column < 3; column++)
        assert_memory_equal(out + column * 288, in + (2 - column) * 288, 288);
}

static void test_concat(void **state) {
    (void)state;
    int32_t a[6] = {0, 1, 2, 3, 4, 5}, b[4] = {10, 11, 12, 13}, out[10];
    run(MIA_OP_concat, step_modes(0, 0, 0), step_compact(MIA_i32, out, 2, 5, 2),
        STEP_INPUTS(step_compact(MIA_i32, a, 2, 3, 2), step_strided(MIA_i32, b, 3, 2, 2, 2, -1, -2)));
    const int32_t expected[] = {0, 1, 2, 13, 12, 3, 4, 5, 11, 10};
    assert_memory_equal(out, expected, sizeof expected);
    run(MIA_OP_concat, step_modes(1, 0, 0), step_compact(MIA_i32, out, 2, 2, 5),
        STEP_INPUTS(step_strided(MIA_i32, a, 0, 2, 2, 3, 3, 1), step_compact(MIA_i32, b, 2, 2, 2)));
    const int32_t turned[] = {0, 3, 1, 4, 2, 5, 10, 11, 12, 13};
    assert_memory_equal(out, turned, sizeof turned);
}

/* [256, 2] and [512, 2] of q4_K along mode 0; the second with its columns last to first. */
static void test_concat_blocks(void **state) {
    (void)state;
    static uint8_t a[2 * 144], b[4 * 144], out[6 * 144];
    for (int i = 0; i < 2 * 144; i++) a[i] = (uint8_t)(i % 251);
    for (int i = 0; i < 4 * 144; i++) b[i] = (uint8_t)(i % 241);
    run(MIA_OP_concat, step_modes(0, 0, 0), step_compact(MIA_q4_K, out, 2, 768, 2),
        STEP_INPUTS(step_compact(MIA_q4_K, a, 2, 256, 2), step_strided(MIA_q4_K, b, 2, 2, 512, 2, 1, -2)));
    for (int column = 0; column < 2; column++) {
        assert_memory_equal(out + column * 3 * 144, a + column * 144, 144);
        assert_memory_equal(out + (column * 3 + 1) * 144, b + (1 - column) * 2 * 144, 2 * 144);
    }
}

static void test_pad(void **state) {
    (void)state;
    uint8_t a[6] = {1, 2, 3, 4, 5, 6}, out[12];
    memset(out, 99, sizeof out);
    run(MIA_OP_pad, step_modes(0, 1, 3), step_compact(MIA_bool8, out, 2, 6, 2),
        STEP_INPUTS(step_strided(MIA_bool8, a, 0, 2, 2, 2, 1, 3)));
    const uint8_t expected[] = {0, 1, 2, 0, 0, 0, 0, 4, 5, 0, 0, 0};
    assert_memory_equal(out, expected, sizeof expected);
}

static void update_at(int32_t start, float *out, float *x, bool in_place) {
    float part[4] = {100, 101, 102, 103};
    step_value whole_x = step_compact(MIA_f32, x, 2, 2, 5);
    step_value to = in_place ? whole_x : step_compact(MIA_f32, out, 2, 2, 5);
    run(MIA_OP_update, step_modes(1, 0, 0), to,
        STEP_INPUTS(whole_x, step_compact(MIA_f32, part, 2, 2, 2), step_compact(MIA_i32, &start, 1, 1)));
}

static void test_update(void **state) {
    (void)state;
    const int32_t starts[] = {0, 2, 3, 4, 1000, -1, INT32_MIN}, places[] = {0, 2, 3, 3, 3, 0, 0};
    for (int s = 0; s < 7; s++) {
        for (int in_place = 0; in_place < 2; in_place++) {
            float x[10], out[10];
            for (int i = 0; i < 10; i++) x[i] = (float)i;
            update_at(starts[s], out, x, in_place == 1);
            for (int i = 0; i < 10; i++) {
                bool inside = i >= 2 * places[s] && i < 2 * places[s] + 4;
                float expected = inside ? (float)(100 + i - 2 * places[s]) : (float)i;
                assert_true((in_place == 1 ? x : out)[i] == expected);
            }
        }
    }
}

/* A block of [96] of q4_0 overwritten: at the block that the position lies in, clamped. */
static void test_update_blocks(void **state) {
    (void)state;
    const int32_t starts[] = {0, 31, 32, 64, 65, 1000, -1}, blocks[] = {0, 0, 1, 2, 2, 2, 0};
    for (int s = 0; s < 7; s++) {
        uint8_t x[3 * 18], part[18], out[3 * 18];
        memset(x, 1, sizeof x);
        memset(part, 2, sizeof part);
        run(MIA_OP_update, step_modes(0, 0, 0), step_compact(MIA_q4_0, out, 1, 96),
            STEP_INPUTS(step_compact(MIA_q4_0, x, 1, 96), step_compact(MIA_q4_0, part, 1, 32),
                        step_compact(MIA_i32, &starts[s], 0)));
        for (int i = 0; i < 3 * 18; i++) assert_int_equal(out[i], i / 18 == blocks[s] ? 2 : 1);
    }
}

/* --- tables ----------------------------------------------------------------------------------- */

/* Table [3, 5] with columns stored last to first; indices [2, 3] as every other number of an array. */
static void test_gather(void **state) {
    (void)state;
    uint16_t table[15], out[18];
    int32_t indices[12] = {4, 0, 0, 0, -1, 0, 2, 0, 5, 0, 1, 0};
    const int expected[] = {4, 0, -1, 2, -1, 1};
    for (int i = 0; i < 15; i++) table[i] = (uint16_t)(100 + i);
    run(MIA_OP_gather, none, step_compact(MIA_f16, out, 3, 3, 2, 3),
        STEP_INPUTS(step_strided(MIA_f16, table, 12, 2, 3, 5, 1, -3),
                    step_strided(MIA_i32, indices, 0, 2, 2, 3, 2, 4)));
    for (int i = 0; i < 6; i++)
        for (int c = 0; c < 3; c++)
            assert_int_equal(out[3 * i + c], expected[i] < 0 ? 0 : 100 + 12 - 3 * expected[i] + c);
}

/* A packed table [2, 3] of vectors of 4, spelt out, and an index of rank 0. */
static void test_gather_packed(void **state) {
    (void)state;
    float table[24], out[8];
    int32_t index = 2;
    for (int i = 0; i < 24; i++) table[i] = (float)i;
    run(MIA_OP_gather, none, step_compact(MIA_f32, out, 2, 4, 2),
        STEP_INPUTS(step_compact(MIA_f32, table, 3, 4, 2, 3), step_compact(MIA_i32, &index, 0)));
    for (int i = 0; i < 8; i++) assert_true(out[i] == (float)(16 + i));
}

/* Blocks of a table [256, 3] of q6_K, and zeros. */
static void test_gather_blocks(void **state) {
    (void)state;
    static uint8_t table[3 * 210], out[3 * 210];
    const int32_t indices[] = {2, 3, 1};
    for (int i = 0; i < 3 * 210; i++) table[i] = (uint8_t)(i % 251 + 1);
    memset(out, 99, sizeof out);
    run(MIA_OP_gather, none, step_compact(MIA_q6_K, out, 2, 256, 3),
        STEP_INPUTS(step_compact(MIA_q6_K, table, 2, 256, 3), step_compact(MIA_i32, indices, 1, 3)));
    assert_memory_equal(out, table + 2 * 210, 210);
    for (int i = 210; i < 420; i++) assert_int_equal(out[i], 0);
    assert_memory_equal(out + 420, table + 210, 210);
}

static void test_embedding(void **state) {
    (void)state;
    static float numbers[3 * 320], out[4 * 320];
    static uint8_t table[3 * 10 * 34];
    const int32_t indices[] = {2, 3, 0, -7};
    for (int i = 0; i < 960; i++) numbers[i] = (float)(i % 32 == 0 ? 127 : i % 97 - 40); /* scale 1: exact */
    mia__block_encode(mia__block_find(MIA_q8_0), numbers, table, 960);
    run(MIA_OP_embedding, none, step_compact(MIA_f32, out, 2, 320, 4),
        STEP_INPUTS(step_compact(MIA_q8_0, table, 2, 320, 3), step_compact(MIA_i32, indices, 1, 4)));
    for (int c = 0; c < 320; c++) {
        assert_true(out[c] == numbers[640 + c] && out[640 + c] == numbers[c]);
        assert_true(out[320 + c] == 0 && out[960 + c] == 0);
    }
    uint16_t halves[6] = {0x3c00, 0x4000, 0x4200, 0xbc00, 0xc000, 0xc200}; /* 1 2 3 -1 -2 -3 */
    run(MIA_OP_embedding, none, step_compact(MIA_f32, out, 1, 3),
        STEP_INPUTS(step_strided(MIA_f16, halves, 2, 2, 3, 2, -1, 3),
                    step_compact(MIA_i32, &(int32_t){1}, 0)));
    assert_true(out[0] == -3 && out[1] == -2 && out[2] == -1);
}

/* --- conversion ------------------------------------------------------------------------------- */

static void test_convert_to_integers(void **state) {
    (void)state;
    const float in[] = {2.5f, 3.5f, -2.5f, 1e30f, -1e30f, NAN, INFINITY, -INFINITY, 127.5f, 0.25f};
    const int32_t i32[] = {2, 4, -2, INT32_MAX, INT32_MIN, 0, INT32_MAX, INT32_MIN, 128, 0};
    const uint32_t u32[] = {2, 4, 0, UINT32_MAX, 0, 0, UINT32_MAX, 0, 128, 0};
    const int8_t i8[] = {2, 4, -2, 127, -128, 0, 127, -128, 127, 0};
    const uint8_t u8[] = {2, 4, 0, 255, 0, 0, 255, 0, 128, 0}, truth[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const void *expected[] = {i32, u32, i8, u8, truth};
    const mia_dtype types[] = {MIA_i32, MIA_u32, MIA_i8, MIA_u8, MIA_bool8};
    for (int t = 0; t < 5; t++) {
        uint32_t out[10];
        run(MIA_OP_convert, none, step_compact(types[t], out, 1, 10),
            STEP_INPUTS(step_compact(MIA_f32, in, 1, 10)));
        assert_memory_equal(out, expected[t], 10 * mia_dtype_describe(types[t])->bytes);
    }
}

static void test_convert_between(void **state) {
    (void)state;
    const int32_t whole_numbers[] = {-1, 300, INT32_MIN, 16777217};
    uint8_t bytes[4];
    float reals[4];
    step_value in = step_compact(MIA_i32, whole_numbers, 1, 4);
    run(MIA_OP_convert, none, step_compact(MIA_u8, bytes, 1, 4), STEP_INPUTS(in));
    assert_memory_equal(bytes, ((uint8_t[]){0, 255, 0, 255}), 4);
    run(MIA_OP_convert, none, step_compact(MIA_f32, reals, 1, 4), STEP_INPUTS(in));
    assert_true(reals[1] == 300 && reals[2] == -0x1p31f && reals[3] == 16777216);
    const uint8_t truth[] = {0, 1, 7, 0};
    run(MIA_OP_convert, none, step_compact(MIA_f32, reals, 1, 4),
        STEP_INPUTS(step_compact(MIA_bool8, truth, 1, 4)));
    assert_true(reals[0] == 0 && reals[1] == 1 && reals[2] == 1 && reals[3] == 0);
    const double wide[] = {1 + 0x1p-11 + 0x1p-40, 1e9, (double)NAN, -0.0};
    uint16_t halves[4];
    run(MIA_OP_convert, none, step_compact(MIA_f16, halves, 1, 4),
        STEP_INPUTS(step_compact(MIA_f64, wide, 1, 4)));
    assert_int_equal(halves[0], 0x3c01);
    assert_int_equal(halves[1], 0x7c00);
    assert_true((halves[2] & 0x7fff) > 0x7c00);
    assert_int_equal(halves[3], 0x8000);
}

/* Every second column of [320, 4], converted to blocks and back; and blocks to blocks of another type. */
static void test_convert_blocks(void **state) {
    (void)state;
    static float in[4 * 320], out[2 * 320];
    static uint8_t blocks[2 * 10 * 34], expected[2 * 10 * 34], small[2 * 10 * 18];
    for (int i = 0; i < 4 * 320; i++) in[i] = sinf((float)i) * (float)(1 + i / 32);
    run(MIA_OP_convert, none, step_compact(MIA_q8_0, blocks, 2, 320, 2),
        STEP_INPUTS(step_strided(MIA_f32, in, 320, 2, 320, 2, 1, 640)));
    mia__block_encode(mia__block_find(MIA_q8_0), in + 320, expected, 320);
    mia__block_encode(mia__block_find(MIA_q8_0), in + 960, expected + 340, 320);
    assert_memory_equal(blocks, expected, sizeof expected);
    run(MIA_OP_convert, none, step_compact(MIA_f32, out, 2, 320, 2),
        STEP_INPUTS(step_strided(MIA_q8_0, blocks, 10, 2, 320, 2, 1, -10)));
    for (int i = 0; i < 320; i++) {
        double step = (1 + (320 + i) / 32) / 127.0;
        assert_near((double)out[320 + i], (double)in[320 + i], 0.6 * step);
    }
    run(MIA_OP_convert, none, step_compact(MIA_q4_0, small, 2, 320, 2),
        STEP_INPUTS(step_compact(MIA_q8_0, blocks, 2, 320, 2)));
    mia__block_encode(mia__block_find(MIA_q4_0), out + 320, expected, 320);
    assert_memory_equal(small, expected, 180);
}

/* --- reductions ------------------------------------------------------------------------------- */

/* x(i, j, k) = i + 10 j + 100 k over [3, 5, 7], the modes stored in another order. */
static void test_sums(void **state) {
    (void)state;
    double in[105] = {0}, out[105];
    step_value x = step_strided(MIA_f64, in, 104, 3, 3, 5, 7, -35, -7, -1);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 5; j++)
            for (int k = 0; k < 7; k++) in[104 - 35 * i - 7 * j - k] = i + 10 * j + 100 * k;
    run(MIA_OP_sum, step_modes(5, 0, 0), step_compact(MIA_f64, out, 3, 1, 5, 1), STEP_INPUTS(x));
    for (int j = 0; j < 5; j++) assert_true(out[j] == 21 * (1 + 10 * j + 300));
    run(MIA_OP_mean, step_modes(2, 0, 0), step_compact(MIA_f64, out, 3, 3, 1, 7), STEP_INPUTS(x));
    for (int k = 0; k < 7; k++)
        for (int i = 0; i < 3; i++) assert_true(out[i + 3 * k] == i + 20 + 100 * k);
    run(MIA_OP_reduce_max, step_modes(7, 0, 0), step_compact(MIA_f64, out, 3, 1, 1, 1), STEP_INPUTS(x));
    assert_true(out[0] == 642);
    run(MIA_OP_sum, step_modes(0, 0, 0), step_compact(MIA_f64, out, 3, 3, 5, 7), STEP_INPUTS(x));
    assert_true(out[0] == 0 && out[104] == 642 && out[3] == 10);
}

static void test_sums_of_types(void **state) {
    (void)state;
    uint8_t bytes[300];
    for (int i = 0; i < 300; i++) bytes[i] = (uint8_t)(i % 256);
    uint8_t sum = 0;
    run(MIA_OP_sum, step_modes(1, 0, 0), step_compact(MIA_u8, &sum, 1, 1),
        STEP_INPUTS(step_compact(MIA_u8, bytes, 1, 300)));
    assert_int_equal(sum, (255 * 128 + 43 * 22) % 256);
    int8_t greatest = 0;
    run(MIA_OP_reduce_max, step_modes(1, 0, 0), step_compact(MIA_i8, &greatest, 1, 1),
        STEP_INPUTS(step_strided(MIA_i8, bytes, 255, 1, 128, -1)));
    assert_int_equal(greatest, -1);
    uint16_t one = 0x3c00, many = 0; /* a sum kept in f16 would stay at 2048 */
    run(MIA_OP_sum, step_modes(1, 0, 0), step_compact(MIA_f16, &many, 1, 1),
        STEP_INPUTS(step_strided(MIA_f16, &one, 0, 1, 5000, 0)));
    assert_int_equal(many, mia__f32_to_f16(5000));
}

static void test_reductions_of_nothing(void **state) {
    (void)state;
    float out[2] = {5, 5};
    step_value nothing = step_compact(MIA_f32, out, 2, 0, 2), result = step_compact(MIA_f32, out, 2, 1, 2);
    run(MIA_OP_sum, step_modes(1, 0, 0), result, STEP_INPUTS(nothing));
    assert_true(out[0] == 0 && out[1] == 0);
    run(MIA_OP_mean, step_modes(1, 0, 0), result, STEP_INPUTS(nothing));
    assert_true(isnan(out[0]) && isnan(out[1]));
    run(MIA_OP_reduce_max, step_modes(1, 0, 0), result, STEP_INPUTS(nothing));
    assert_true(out[0] == -INFINITY);
    const mia_dtype types[] = {MIA_i32, MIA_u32, MIA_i8, MIA_u8};
    const uint32_t least[] = {0x80000000u, 0, 0x80, 0};
    for (int t = 0; t < 4; t++) {
        uint32_t value = 0;
        run(MIA_OP_reduce_max, step_modes(1, 0, 0), step_compact(types[t], &value, 1, 1),
            STEP_INPUTS(step_compact(types[t], &value, 1, 0)));
        assert_int_equal(value, least[t]);
    }
}

static void test_reduce_max_nan(void **state) {
    (void)state;
    const float in[] = {1, NAN, 3, 4, -INFINITY, 2};
    float out[2];
    run(MIA_OP_reduce_max, step_modes(1, 0, 0), step_compact(MIA_f32, out, 2, 1, 2),
        STEP_INPUTS(step_compact(MIA_f32, in, 2, 3, 2)));
    assert_true(isnan(out[0]) && out[1] == 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_has_a_kernel),
        cmocka_unit_test(test_add_repeats),
        cmocka_unit_test(test_negative_strides),
        cmocka_unit_test(test_rank_zero_and_nothing),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_real_values),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_copy_nine_modes),
        cmocka_unit_test(test_copy_blocks),
        cmocka_unit_test(test_concat),
        cmocka_unit_test(test_concat_blocks),
        cmocka_unit_test(test_pad),
        cmocka_unit_test(test_update),
        cmocka_unit_test(test_update_blocks),
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_gather_packed),
        cmocka_unit_test(test_gather_blocks),
        cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_convert_to_integers),
        cmocka_unit_test(test_convert_between),
        cmocka_unit_test(test_convert_blocks),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_sums_of_types),
        cmocka_unit_test(test_reductions_of_nothing),
        cmocka_unit_test(test_reduce_max_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
