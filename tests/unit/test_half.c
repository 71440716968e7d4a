/* Conversions of 16-bit floating-point numbers: every value, every midpoint between neighbours, and the
 * ends. */
#include "base/half.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

/* A format: how many bits of mantissa, the exponent's bias, and its conversions. */
typedef struct format {
    int mantissa, bias;
    uint16_t infinity;
    uint16_t (*of_f32)(float);
    uint16_t (*of_f64)(double);
    float (*to_f32)(uint16_t);
    double (*to_f64)(uint16_t);
} format;

static const format f16 = {
    10, 15, 0x7c00, mia__f32_to_f16, mia__f64_to_f16, mia__f16_to_f32, mia__f16_to_f64};
static const format bf16 = {
    7, 127, 0x7f80, mia__f32_to_bf16, mia__f64_to_bf16, mia__bf16_to_f32, mia__bf16_to_f64};

/* What the bits mean, worked out with ldexp. */
static double meaning(const format *f, uint16_t half) {
    int exponent = (half & 0x7fff) >> f->mantissa, fraction = half & ((1 << f->mantissa) - 1);
    double magnitude = exponent == 0 ? ldexp(fraction, 1 - f->bias - f->mantissa)
                                     : ldexp(fraction + (1 << f->mantissa), exponent - f->bias - f->mantissa);
    return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

static void check_all_values(const format *f) {
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t half = (uint16_t)i;
        uint16_t magnitude = half & 0x7fff;
        float x = f->to_f32(half);
        double y = f->to_f64(half);
        if (magnitude > f->infinity) {
            uint16_t quiet = (uint16_t)(half | 1u << (f->mantissa - 1));
            assert_true(isnan(x) && isnan(y));
            assert_int_equal(f->of_f32(x), quiet);
            assert_int_equal(f->of_f64(y), quiet);
            continue;
        }
        if (magnitude == f->infinity)
            assert_true(isinf(x) && isinf(y));
        else
            assert_true((double)x == meaning(f, half) && y == meaning(f, half));
        assert_int_equal(signbit(x) != 0, half >> 15);
        assert_int_equal(f->of_f32(x), half);
        assert_int_equal(f->of_f64(y), half);
    }
}

/* Between every two neighbours: the middle goes to the even one, whatever is nearer to one goes there. */
static void check_rounding(const format *f) {
    for (uint16_t half = 0; half + 1 < f->infinity; half++) {
        double middle = (meaning(f, half) + meaning(f, (uint16_t)(half + 1))) / 2;
        uint16_t even = (uint16_t)(half + (half & 1)), next = (uint16_t)(half + 1);
        for (int sign = 0; sign < 2; sign++) {
            double m = sign ? -middle : middle, outward = sign ? -(double)INFINITY : (double)INFINITY;
            uint16_t s = (uint16_t)(sign << 15);
            assert_int_equal(f->of_f64(m), even | s);
            assert_int_equal(f->of_f64(nextafter(m, 0)), half | s);
            assert_int_equal(f->of_f64(nextafter(m, outward)), next | s);
            if ((double)(float)m != m) continue; /* below the least bf16 there is no f32 between */
            assert_int_equal(f->of_f32((float)m), even | s);
            assert_int_equal(f->of_f32(nextafterf((float)m, 0)), half | s);
            assert_int_equal(f->of_f32(nextafterf((float)m, (float)outward)), next | s);
        }
    }
}

static void check_overflow(const format *f) {
    double largest = meaning(f, (uint16_t)(f->infinity - 1));
    double limit = largest + (largest - meaning(f, (uint16_t)(f->infinity - 2))) / 2;
    assert_int_equal(f->of_f64(nextafter(limit, 0)), f->infinity - 1);
    assert_int_equal(f->of_f64(limit), f->infinity);
    assert_int_equal(f->of_f64(-limit), f->infinity | 0x8000);
    assert_int_equal(f->of_f64(1e300), f->infinity);
    assert_int_equal(f->of_f64(-(double)INFINITY), f->infinity | 0x8000);
    assert_int_equal(f->of_f32((float)limit), f->infinity);
    assert_int_equal(f->of_f32(nextafterf((float)limit, 0)), f->infinity - 1);
    assert_int_equal(f->of_f32(-INFINITY), f->infinity | 0x8000);
    assert_int_equal(f->of_f64(5e-324), 0);
    assert_int_equal(f->of_f64(-5e-324), 0x8000);
}

static void test_f16_values(void **state) {
    (void)state, check_all_values(&f16);
}
static void test_f16_rounding(void **state) {
    (void)state, check_rounding(&f16);
}
static void test_f16_overflow(void **state) {
    (void)state, check_overflow(&f16);
}
static void test_bf16_values(void **state) {
    (void)state, check_all_values(&bf16);
}
static void test_bf16_rounding(void **state) {
    (void)state, check_rounding(&bf16);
}
static void test_bf16_overflow(void **state) {
    (void)state, check_overflow(&bf16);
}

/* A double just above a middle: by way of f32 it would fall on the middle and then to the even neighbour. */
static void test_rounded_once(void **state) {
    (void)state;
    double above = 1 + 0x1p-11 + 0x1p-40;
    assert_int_equal(mia__f64_to_f16(above), 0x3c01);
    assert_int_equal(mia__f32_to_f16((float)above), 0x3c00);
    above = 1 + 0x1p-8 + 0x1p-40;
    assert_int_equal(mia__f64_to_bf16(above), 0x3f81);
    assert_int_equal(mia__f32_to_bf16((float)above), 0x3f80);
}

static void test_known(void **state) {
    (void)state;
    assert_int_equal(mia__f32_to_f16(1), 0x3c00);
    assert_int_equal(mia__f32_to_f16(-2), 0xc000);
    assert_int_equal(mia__f32_to_f16(65504), 0x7bff);
    assert_int_equal(mia__f32_to_f16(0x1p-24f), 1);
    assert_int_equal(mia__f32_to_f16(0x1p-25f), 0);
    assert_int_equal(mia__f32_to_bf16(1), 0x3f80);
    assert_int_equal(mia__f32_to_bf16(3.140625f), 0x4049);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16_values),    cmocka_unit_test(test_f16_rounding),
        cmocka_unit_test(test_f16_overflow),  cmocka_unit_test(test_bf16_values),
        cmocka_unit_test(test_bf16_rounding), cmocka_unit_test(test_bf16_overflow),
        cmocka_unit_test(test_rounded_once),  cmocka_unit_test(test_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
