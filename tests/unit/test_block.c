/* Block formats: bytes written by hand and read, numbers whose blocks are known, error bounds on random rows,
 * and rows that are not finite. */
#include "base/block.h"

#include "base/half.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static uint64_t random_state;

static double random_number(void) { /* in [-1, 1) */
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)(random_state >> 11 << 11) * 0x1p-63;
}

static void test_table(void **state) {
    (void)state;
    const mia_dtype known[] = {MIA_q8_0, MIA_q4_0};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const mia__block_format *format = mia__block_find(known[i]);
        assert_non_null(format);
        assert_int_equal(format->elements, mia_dtype_describe(known[i])->elements);
        assert_int_equal(format->bytes, mia_dtype_describe(known[i])->bytes);
        assert_true(format->elements <= MIA__BLOCK_MOST && MIA__BLOCK_MOST % format->elements == 0);
    }
    assert_null(mia__block_find(MIA_f32));
    assert_null(mia__block_find(MIA_NONE));
}

static void test_decode_q8_0(void **state) {
    (void)state;
    uint8_t row[2 * 34] = {0x00, 0x38}; /* 0.5 */
    row[34] = 0x00, row[35] = 0xc0;     /* -2 */
    for (int i = 0; i < 32; i++) row[2 + i] = (uint8_t)(i - 16), row[36 + i] = (uint8_t)(i * 8 - 128);
    double wide[64];
    float narrow[64];
    mia__block_decode_f64(mia__block_find(MIA_q8_0), row, wide, 64);
    mia__block_decode_f32(mia__block_find(MIA_q8_0), row, narrow, 64);
    for (int i = 0; i < 32; i++) {
        assert_true(wide[i] == (i - 16) * 0.5 && wide[32 + i] == (i * 8 - 128) * -2.0);
        assert_true((double)narrow[i] == wide[i] && (double)narrow[32 + i] == wide[32 + i]);
    }
}

static void test_decode_q4_0(void **state) {
    (void)state;
    uint8_t row[18] = {0x00, 0x34}; /* 0.25 */
    for (int i = 0; i < 16; i++) row[2 + i] = (uint8_t)(i | (15 - i) << 4);
    double out[32];
    mia__block_decode_f64(mia__block_find(MIA_q4_0), row, out, 32);
    for (int i = 0; i < 16; i++) assert_true(out[i] == (i - 8) * 0.25 && out[16 + i] == (7 - i) * 0.25);
}

static void test_encode_q8_0(void **state) {
    (void)state;
    float in[64];
    uint8_t row[68];
    for (int i = 0; i < 64; i++) in[i] = i < 32 ? (float)(i * 4 - 127) : 0;
    in[5] = 20.5f, in[6] = -20.5f, in[7] = 20.49f; /* halves go away from zero */
    mia__block_encode(mia__block_find(MIA_q8_0), in, row, 64);
    assert_int_equal(row[0] | row[1] << 8, 0x3c00); /* 127 / 127 */
    for (int i = 0; i < 32; i++) {
        int expected = i == 5 ? 21 : i == 6 ? -21 : i == 7 ? 20 : i * 4 - 127;
        assert_int_equal((int8_t)row[2 + i], expected);
    }
    for (int i = 34; i < 68; i++) assert_int_equal(row[i], 0);
}

static void test_encode_q4_0(void **state) {
    (void)state;
    float in[32];
    uint8_t row[18];
    for (int i = 0; i < 32; i++) in[i] = (float)(i - 16); /* -16 is met before 15: d = -16 / -8 */
    mia__block_encode(mia__block_find(MIA_q4_0), in, row, 32);
    assert_int_equal(row[0] | row[1] << 8, 0x4000);
    for (int i = 0; i < 16; i++) {
        assert_int_equal(row[2 + i] & 15, (i + 1) / 2);
        assert_int_equal(row[2 + i] >> 4, i == 15 ? 15 : (i + 17) / 2);
    }
    for (int i = 0; i < 32; i++)
        in[i] = -in[i]; /* 16: the scale turns negative, the numbers stay as they were */
    mia__block_encode(mia__block_find(MIA_q4_0), in, row, 32);
    assert_int_equal(row[0] | row[1] << 8, 0xc000);
    assert_int_equal(row[2] & 15, 0);
    assert_int_equal(row[17] >> 4, 15);
}

/* |x - x'| is at most half a step and what rounding the scale to f16 does to the quant (2^-11 of it); in q4_0
 * the side without -8 is cut by up to a whole step. */
static void check_error(mia_dtype dtype, double levels, double steps) {
    const mia__block_format *format = mia__block_find(dtype);
    uint8_t row[4 * 34];
    for (int trial = 0; trial < 200; trial++) {
        float in[128];
        double out[128], size = ldexp(1, trial % 24 - 12);
        for (int i = 0; i < 128; i++) in[i] = (float)(random_number() * size);
        mia__block_encode(format, in, row, 128);
        mia__block_decode_f64(format, row, out, 128);
        for (int block = 0; block < 4; block++) {
            double greatest = 0;
            for (int i = 0; i < 32; i++) greatest = fmax(greatest, fabs((double)in[32 * block + i]));
            /* scales below f16's normal numbers lose digits: at most half of 2^-24 for each level */
            double bound = greatest / levels * (steps + levels * 0x1p-11 + 1e-5) + levels * 0x1p-25;
            for (int i = 32 * block; i < 32 * block + 32; i++)
                assert_true(fabs(out[i] - (double)in[i]) <= bound);
        }
    }
}

static void test_error_q8_0(void **state) {
    (void)state, check_error(MIA_q8_0, 127, 0.5);
}
static void test_error_q4_0(void **state) {
    (void)state, check_error(MIA_q4_0, 8, 1);
}

/* What has been decoded encodes to the same numbers again. */
static void test_encode_again(void **state) {
    (void)state;
    const mia_dtype types[] = {MIA_q8_0, MIA_q4_0};
    for (int t = 0; t < 2; t++) {
        const mia__block_format *format = mia__block_find(types[t]);
        float in[32], once[32], twice[32];
        uint8_t block[34];
        for (int i = 0; i < 32; i++) in[i] = (float)(random_number() * 4);
        mia__block_encode(format, in, block, 32);
        mia__block_decode_f32(format, block, once, 32);
        mia__block_encode(format, once, block, 32);
        mia__block_decode_f32(format, block, twice, 32);
        for (int i = 0; i < 32; i++) assert_true(once[i] == twice[i]);
    }
}

/* Nothing to compare with, but no undefined conversion either (the sanitizers look). */
static void test_not_finite(void **state) {
    (void)state;
    const float odd[] = {NAN, INFINITY, -INFINITY, 1e-45f, -1e-42f, 3e38f, 0, -0.0f};
    const mia_dtype types[] = {MIA_q8_0, MIA_q4_0};
    for (int t = 0; t < 2; t++) {
        for (int a = 0; a < 8; a++) {
            for (int b = 0; b < 8; b++) {
                float in[32], out[32];
                uint8_t block[34];
                for (int i = 0; i < 32; i++) in[i] = i % 2 ? odd[a] : odd[b];
                mia__block_encode(mia__block_find(types[t]), in, block, 32);
                mia__block_decode_f32(mia__block_find(types[t]), block, out, 32);
                if (a >= 6 && b >= 6) assert_true(out[0] == 0 && out[31] == 0);
            }
        }
    }
}

int main(void) {
    const char *given = getenv("MIA_TEST_SEED");
    random_state = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("seed: %llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),       cmocka_unit_test(test_decode_q8_0),
        cmocka_unit_test(test_decode_q4_0), cmocka_unit_test(test_encode_q8_0),
        cmocka_unit_test(test_encode_q4_0), cmocka_unit_test(test_error_q8_0),
        cmocka_unit_test(test_error_q4_0),  cmocka_unit_test(test_encode_again),
        cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
