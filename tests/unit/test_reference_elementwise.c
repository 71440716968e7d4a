/* Reference kernels of element-wise operations, held against closed forms and hand-made tables: NaN,
 * infinities, zeros of either sign, denormals; integers that overflow, divisions by zero and of the least
 * number by -1. */
#include "base/half.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/steps.h"

#define INF          ((double)INFINITY)
#define NO           ((double)NAN)
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* --- one number ------------------------------------------------------------------------------- */

static double real_of(mia_op op, double a, double b, double f0, double f1) {
    double x[2] = {a, b}, out = -77;
    mia__attributes attributes = {.f = {f0, f1}};
    bool two = mia_op_describe(op)->operands == 2;
    step_value p = step_compact(MIA_f64, &x[0], 0), q = step_compact(MIA_f64, &x[1], 0);
    const step_value inputs[2] = {p, q};
    assert_true(step_run(op, attributes, step_compact(MIA_f64, &out, 0), two ? 2 : 1, inputs));
    return out;
}

static double unary(mia_op op, double x) {
    return real_of(op, x, 0, 0, 0);
}

static double binary(mia_op op, double a, double b) {
    return real_of(op, a, b, 0, 0);
}

/* Of an integer type, or bool8. */
static int64_t whole_of(mia_op op, mia_dtype dtype, int64_t a, int64_t b, double f0, double f1) {
    int32_t x[2], out = 0;
    int8_t narrow[2], narrow_out = 0;
    bool wide = dtype == MIA_i32 || dtype == MIA_u32, two = mia_op_describe(op)->operands == 2;
    for (int i = 0; i < 2; i++) {
        uint32_t bits = (uint32_t)(uint64_t)(i == 0 ? a : b);
        memcpy(&x[i], &bits, sizeof bits);
        memcpy(&narrow[i], &x[i], 1); /* the low byte comes first here */
    }
    const step_value inputs[2] = {
        wide ? step_compact(dtype, &x[0], 0) : step_compact(dtype, &narrow[0], 0),
        wide ? step_compact(dtype, &x[1], 0) : step_compact(dtype, &narrow[1], 0),
    };
    mia__attributes attributes = {.f = {f0, f1}};
    step_value to = wide ? step_compact(dtype, &out, 0) : step_compact(dtype, &narrow_out, 0);
    assert_true(step_run(op, attributes, to, two ? 2 : 1, inputs));
    uint32_t bits;
    memcpy(&bits, &out, sizeof bits);
    switch (dtype) {
    case MIA_i32: return out;
    case MIA_u32: return bits;
    case MIA_i8: return narrow_out;
    default: return (uint8_t)narrow_out;
    }
}

static int64_t whole(mia_op op, mia_dtype dtype, int64_t a, int64_t b) {
    return whole_of(op, dtype, a, b, 0, 0);
}

static bool compared(mia_op op, double a, double b) {
    double x[2] = {a, b};
    uint8_t out = 77;
    assert_true(step_run(op, (mia__attributes){.f = {0}}, step_compact(MIA_bool8, &out, 0),
                         STEP_INPUTS(step_compact(MIA_f64, &x[0], 0), step_compact(MIA_f64, &x[1], 0))));
    assert_true(out <= 1);
    return out == 1;
}

/* The very number: zeros have their sign, NaN is NaN. */
static void assert_number(double got, double want) {
    if (isnan(got) && isnan(want)) return;
    if (got != want || signbit(got) != signbit(want)) fail_msg("%.17g is not %.17g", got, want);
}

static void assert_close(double got, double want, double bound) {
    if (!(fabs(got - want) <= bound * fabs(want))) fail_msg("%.17g is not %.17g", got, want);
}

/* --- floating-point --------------------------------------------------------------------------- */

static void test_rounding(void **state) {
    (void)state;
    static const struct {
        double x, floor, ceil, round, sign;
    } rows[] = {{0, 0, 0, 0, 0},
                {-0.0, -0.0, -0.0, -0.0, -0.0},
                {0.5, 0, 1, 0, 1},
                {1.5, 1, 2, 2, 1},
                {2.5, 2, 3, 2, 1},
                {-0.5, -1, -0.0, -0.0, -1},
                {-1.5, -2, -1, -2, -1},
                {-0.3, -1, -0.0, -0.0, -1},
                {0x1p60, 0x1p60, 0x1p60, 0x1p60, 1},
                {5e-324, 0, 1, 0, 1},
                {-5e-324, -1, -0.0, -0.0, -1},
                {0.7, 0, 1, 1, 1},
                {2251799813685249.5, 2251799813685249, 2251799813685250, 2251799813685250, 1}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_number(unary(MIA_OP_floor, rows[i].x), rows[i].floor);
        assert_number(unary(MIA_OP_ceil, rows[i].x), rows[i].ceil);
        assert_number(unary(MIA_OP_round, rows[i].x), rows[i].round);
        assert_number(unary(MIA_OP_sign, rows[i].x), rows[i].sign);
    }
    static const mia_op ops[] = {MIA_OP_floor, MIA_OP_ceil, MIA_OP_round};
    for (size_t i = 0; i < COUNT(ops); i++)
        for (int sign = -1; sign <= 1; sign += 2) assert_number(unary(ops[i], sign * INF), sign * INF);
    for (int sign = -1; sign <= 1; sign += 2) assert_number(unary(MIA_OP_sign, sign * INF), sign);
}

static void test_angles(void **state) {
    (void)state;
    const double pi = 3.14159265358979323846;
    assert_number(unary(MIA_OP_sin, -0.0), -0.0);
    assert_number(unary(MIA_OP_cos, 0), 1);
    assert_close(unary(MIA_OP_sin, pi / 6), 0.5, 1e-15);
    assert_close(unary(MIA_OP_cos, pi / 3), 0.5, 1e-15);
    assert_close(unary(MIA_OP_sin, 1e22), -0.8522008497671888, 1e-15);
    assert_close(unary(MIA_OP_cos, 1e22), 0.5232147853951389, 1e-15);
    for (double x = -9; x < 9; x += 0.37) {
        double s = unary(MIA_OP_sin, x), c = unary(MIA_OP_cos, x);
        assert_close(s * s + c * c, 1, 1e-15);
        assert_true(fabs(unary(MIA_OP_sin, 2 * x) - 2 * s * c) < 1e-15);
    }
    assert_true(isnan(unary(MIA_OP_sin, INF)) && isnan(unary(MIA_OP_cos, -INF)));
}

static void test_activations(void **state) {
    (void)state;
    assert_close(unary(MIA_OP_erf, 0.5), 0.5204998778130465, 1e-15);
    assert_close(unary(MIA_OP_erf, -2), -0.9953222650189527, 1e-15);
    assert_close(unary(MIA_OP_erf, 1e-300), 1.1283791670955126e-300, 1e-15);
    assert_number(unary(MIA_OP_erf, -INF), -1);
    assert_close(unary(MIA_OP_softplus, 0), 0.6931471805599453, 1e-15);
    assert_close(unary(MIA_OP_softplus, -50), exp(-50), 1e-15);
    assert_close(unary(MIA_OP_softplus, 1), log(1 + exp(1)), 1e-15);
    assert_number(unary(MIA_OP_softplus, 1e4), 1e4);
    assert_number(unary(MIA_OP_softplus, INF), INF);
    assert_number(unary(MIA_OP_softplus, -INF), 0);
    static const double hard[][2] = {{-3, -0.0}, {-4, -0.0}, {0, 0},    {3, 3},
                                     {10, 10},   {INF, INF}, {-INF, NO}};
    for (size_t i = 0; i < COUNT(hard); i++) assert_number(unary(MIA_OP_hardswish, hard[i][0]), hard[i][1]);
    assert_close(unary(MIA_OP_hardswish, 1), 2.0 / 3, 1e-15);
    assert_number(unary(MIA_OP_squared_relu, -3), 0);
    assert_number(unary(MIA_OP_squared_relu, 3), 9);
    assert_number(real_of(MIA_OP_leaky_relu, -8, 0, 0.25, 0), -2);
    assert_number(real_of(MIA_OP_leaky_relu, 8, 0, 0.25, 0), 8);
    assert_number(real_of(MIA_OP_leaky_relu, -INF, 0, 0, 0), NO);
    assert_close(real_of(MIA_OP_elu, -1e-10, 0, 2, 0), -2e-10, 1e-9);
    assert_close(real_of(MIA_OP_elu, -1, 0, 2, 0), 2 * (exp(-1) - 1), 1e-15);
    assert_number(real_of(MIA_OP_elu, -INF, 0, 2, 0), -2);
    assert_number(real_of(MIA_OP_elu, 7, 0, 2, 0), 7);
    static const mia_op ops[] = {MIA_OP_sign,      MIA_OP_sin,  MIA_OP_cos,          MIA_OP_erf,
                                 MIA_OP_floor,     MIA_OP_ceil, MIA_OP_round,        MIA_OP_softplus,
                                 MIA_OP_hardswish, MIA_OP_elu,  MIA_OP_squared_relu, MIA_OP_leaky_relu};
    for (size_t i = 0; i < COUNT(ops); i++) assert_true(isnan(unary(ops[i], NO)));
}

static void test_powers_and_rests(void **state) {
    (void)state;
    static const double powers[][3] = {{2, 10, 1024}, {-2, 3, -8},       {-2, 2, 4},   {-8, 1.0 / 3, NO},
                                       {0, 0, 1},     {0, -1, INF},      {NO, 0, 1},   {1, NO, 1},
                                       {4, 0.5, 2},   {-0.0, -1, -INF},  {INF, -1, 0}, {0.5, INF, 0},
                                       {-1, INF, 1},  {2, -1074, 5e-324}};
    for (size_t i = 0; i < COUNT(powers); i++)
        assert_number(binary(MIA_OP_pow, powers[i][0], powers[i][1]), powers[i][2]);
    /* a, b, mod, fmod */
    static const double rests[][4] = {{7, 3, 1, 1},     {-7, 3, 2, -1},     {7, -3, -2, 1},
                                      {-7, -3, -1, -1}, {6, 3, 0, 0},       {-6, 3, 0, -0.0},
                                      {6, -3, -0.0, 0}, {5.5, 2, 1.5, 1.5}, {1, 0, NO, NO},
                                      {INF, 2, NO, NO}, {3, INF, 3, 3},     {-3, INF, INF, -3},
                                      {NO, 1, NO, NO},  {1, NO, NO, NO},    {5e-324, 1, 5e-324, 5e-324}};
    for (size_t i = 0; i < COUNT(rests); i++) {
        assert_number(binary(MIA_OP_mod, rests[i][0], rests[i][1]), rests[i][2]);
        assert_number(binary(MIA_OP_fmod, rests[i][0], rests[i][1]), rests[i][3]);
    }
}

static void test_comparisons(void **state) {
    (void)state;
    static const double pairs[][2] = {{1, 2},    {2, 1},  {2, 2},  {0, -0.0}, {INF, INF},
                                      {-INF, 1}, {NO, 1}, {1, NO}, {NO, NO}};
    for (size_t i = 0; i < COUNT(pairs); i++) {
        double a = pairs[i][0], b = pairs[i][1];
        assert_int_equal(compared(MIA_OP_equal, a, b), a == b);
        assert_int_equal(compared(MIA_OP_not_equal, a, b), a != b);
        assert_int_equal(compared(MIA_OP_less, a, b), a < b);
        assert_int_equal(compared(MIA_OP_less_equal, a, b), a <= b);
        assert_int_equal(compared(MIA_OP_greater, a, b), a > b);
        assert_int_equal(compared(MIA_OP_greater_equal, a, b), a >= b);
    }
}

/* The ends are brought into the type: rounded, and saturated where it is one of integers. */
static void test_clamp(void **state) {
    (void)state;
    assert_number(real_of(MIA_OP_clamp, 5, 0, -1, 2), 2);
    assert_number(real_of(MIA_OP_clamp, -5, 0, -1, 2), -1);
    assert_number(real_of(MIA_OP_clamp, 5, 0, 3, 2), 2); /* ends that crossed: the upper */
    assert_number(real_of(MIA_OP_clamp, NO, 0, -1, 2), NO);
    assert_number(real_of(MIA_OP_clamp, 1, 0, NO, 2), NO);
    assert_number(real_of(MIA_OP_clamp, -1e9, 0, -INF, INF), -1e9);
    uint16_t x = mia__f32_to_f16(1), out = 0;
    assert_true(step_run(MIA_OP_clamp, (mia__attributes){.f = {-1, 0.1}}, step_compact(MIA_f16, &out, 0),
                         STEP_INPUTS(step_compact(MIA_f16, &x, 0))));
    assert_int_equal(out, mia__f32_to_f16(0.1f));
    assert_int_equal(whole_of(MIA_OP_clamp, MIA_i8, 100, 0, -1000, 1000), 100);
    assert_int_equal(whole_of(MIA_OP_clamp, MIA_i32, 7, 0, -1.5, 2.5), 2); /* to nearest even */
    assert_int_equal(whole_of(MIA_OP_clamp, MIA_u8, 3, 0, -9, 1e9), 3);
    assert_int_equal(whole_of(MIA_OP_clamp, MIA_u32, 4000000000, 0, 5, INF), 4000000000);
    assert_int_equal(whole_of(MIA_OP_clamp, MIA_i32, -3, 0, NO, 9), 0);
}

/* --- integers --------------------------------------------------------------------------------- */

static void test_whole_rests(void **state) {
    (void)state;
    static const int64_t rows[][5] = {
        /* a, b, div, mod, fmod */
        {7, 3, 2, 1, 1}, {-7, 3, -2, 2, -1}, {7, -3, -2, -2, 1}, {-7, -3, 2, -1, -1},
        {7, 0, 0, 0, 0}, {0, -5, 0, 0, 0},   {-6, 3, -2, 0, 0},  {INT32_MIN, -1, INT32_MIN, 0, 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(whole(MIA_OP_div, MIA_i32, rows[i][0], rows[i][1]), rows[i][2]);
        assert_int_equal(whole(MIA_OP_mod, MIA_i32, rows[i][0], rows[i][1]), rows[i][3]);
        assert_int_equal(whole(MIA_OP_fmod, MIA_i32, rows[i][0], rows[i][1]), rows[i][4]);
    }
    assert_int_equal(whole(MIA_OP_div, MIA_i8, -128, -1), -128);
    assert_int_equal(whole(MIA_OP_mod, MIA_u32, 4000000001, 4000000000), 1);
    assert_int_equal(whole(MIA_OP_fmod, MIA_u8, 200, 7), 4);
}

static void test_whole_powers(void **state) {
    (void)state;
    assert_int_equal(whole(MIA_OP_pow, MIA_i32, 3, 5), 243);
    assert_int_equal(whole(MIA_OP_pow, MIA_i32, -3, 3), -27);
    assert_int_equal(whole(MIA_OP_pow, MIA_i32, 0, 0), 1);
    assert_int_equal(whole(MIA_OP_pow, MIA_i32, 2, 31), INT32_MIN);
    assert_int_equal(whole(MIA_OP_pow, MIA_i32, 2, 32), 0);
    assert_int_equal(whole(MIA_OP_pow, MIA_i32, 3, INT32_MAX), -1431655765); /* 3^(2^31 - 1) modulo 2^32 */
    assert_int_equal(whole(MIA_OP_pow, MIA_i8, 3, 5), -13);
    assert_int_equal(whole(MIA_OP_pow, MIA_u8, 16, 2), 0);
    assert_int_equal(whole(MIA_OP_pow, MIA_u32, 4294967295, 4294967295), 4294967295);
    static const int64_t negative[][3] = {{1, -5, 1}, {-1, -5, -1}, {-1, -4, 1},
                                          {2, -1, 0}, {-7, -2, 0},  {0, -1, 0}};
    for (size_t i = 0; i < COUNT(negative); i++)
        assert_int_equal(whole(MIA_OP_pow, MIA_i32, negative[i][0], negative[i][1]), negative[i][2]);
}

static void test_whole_others(void **state) {
    (void)state;
    assert_int_equal(whole(MIA_OP_neg, MIA_i32, INT32_MIN, 0), INT32_MIN);
    assert_int_equal(whole(MIA_OP_abs, MIA_i8, -128, 0), -128);
    assert_int_equal(whole(MIA_OP_neg, MIA_u8, 1, 0), 255);
    assert_int_equal(whole(MIA_OP_sign, MIA_i32, INT32_MIN, 0), -1);
    assert_int_equal(whole(MIA_OP_sign, MIA_u32, 4294967295, 0), 1);
    assert_int_equal(whole(MIA_OP_sign, MIA_i8, 0, 0), 0);
    assert_int_equal(whole(MIA_OP_squared_relu, MIA_i32, -5, 0), 0);
    assert_int_equal(whole(MIA_OP_squared_relu, MIA_i32, 65537, 0), 131073);
    assert_int_equal(whole(MIA_OP_squared_relu, MIA_u8, 20, 0), 144);
    for (int64_t a = 0; a < 2; a++) {
        for (int64_t b = 0; b < 2; b++) {
            assert_int_equal(whole(MIA_OP_logical_and, MIA_bool8, a, b), a & b);
            assert_int_equal(whole(MIA_OP_logical_or, MIA_bool8, a, b), a | b);
            assert_int_equal(whole(MIA_OP_logical_xor, MIA_bool8, a, b), a ^ b);
            assert_int_equal(whole(MIA_OP_equal, MIA_bool8, a, b), a == b);
        }
        assert_int_equal(whole(MIA_OP_logical_not, MIA_bool8, a, 0), 1 - a);
    }
    assert_int_equal(whole(MIA_OP_logical_and, MIA_bool8, 2, 4), 1); /* all that is not 0 holds */
    assert_int_equal(whole(MIA_OP_logical_not, MIA_bool8, 200, 0), 0);
    uint32_t big[2] = {4294967295u, 1};
    uint8_t out = 7;
    assert_true(step_run(MIA_OP_greater, (mia__attributes){.f = {0}}, step_compact(MIA_bool8, &out, 0),
                         STEP_INPUTS(step_compact(MIA_u32, &big[0], 0), step_compact(MIA_u32, &big[1], 0))));
    assert_int_equal(out, 1);
}

/* Elements are taken as they are, over any strides; bool8 comes out as 0 or 1. */
static void test_where(void **state) {
    (void)state;
    uint8_t condition[3] = {0, 1, 200};
    double a = 7, b[6] = {-0.0, 1, 2, 3, 4, 5}, out[6];
    assert_true(step_run(MIA_OP_where, (mia__attributes){.f = {0}}, step_compact(MIA_f64, out, 2, 3, 2),
                         STEP_INPUTS(step_strided(MIA_bool8, condition, 0, 2, 3, 2, 1, 0),
                                     step_strided(MIA_f64, &a, 0, 2, 3, 2, 0, 0),
                                     step_strided(MIA_f64, b, 5, 2, 3, 2, -1, -3))));
    static const double want[6] = {5, 7, 7, 2, 7, 7};
    for (int i = 0; i < 6; i++) assert_number(out[i], want[i]);
    uint8_t truths[3] = {9, 0, 3}, chosen[3];
    step_value t = step_compact(MIA_bool8, truths, 1, 3);
    assert_true(step_run(MIA_OP_where, (mia__attributes){.f = {0}}, step_compact(MIA_bool8, chosen, 1, 3),
                         STEP_INPUTS(step_compact(MIA_bool8, condition, 1, 3), t, t)));
    static const uint8_t truth[3] = {1, 0, 1};
    assert_memory_equal(chosen, truth, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding),     cmocka_unit_test(test_angles),
        cmocka_unit_test(test_activations),  cmocka_unit_test(test_powers_and_rests),
        cmocka_unit_test(test_comparisons),  cmocka_unit_test(test_clamp),
        cmocka_unit_test(test_whole_rests),  cmocka_unit_test(test_whole_powers),
        cmocka_unit_test(test_whole_others), cmocka_unit_test(test_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
