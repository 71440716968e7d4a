/* Block formats: bytes written by hand and read, numbers whose blocks are known, error bounds on random rows
 * and awkward ones, what the K formats' search finds, and agreement with ggml (golden/blocks.txt): to the byte
 * when reading; when writing to the byte for formats of 32 elements, and with no more squared error for the K
 * formats. */
#include "base/block.h"

#include "base/half.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

#define ROW   256 /* elements: whole blocks of every format */
#define BYTES 272 /* at most, of a row */

static uint64_t random_state;

static double random_number(void) { /* in [-1, 1) */
    return (double)(int64_t)(test_random(&random_state) >> 11 << 11) * 0x1p-63;
}

#define TYPE(name, unused) MIA_##name,
static const mia_dtype types[] = {MIA_TYPES_BLOCK(TYPE, 0)};
#define TYPES (sizeof types / sizeof *types)

static void test_table(void **state) {
    (void)state;
    for (size_t i = 0; i < TYPES; i++) {
        const mia__block_format *format = mia__block_find(types[i]);
        assert_non_null(format);
        assert_int_equal(format->elements, mia_dtype_describe(types[i])->elements);
        assert_int_equal(format->bytes, mia_dtype_describe(types[i])->bytes);
        assert_true(ROW % format->elements == 0 && ROW / format->elements * format->bytes <= BYTES);
        assert_true(format->elements <= MIA__BLOCK_MOST && MIA__BLOCK_MOST % format->elements == 0);
        assert_true(format->elements % format->run == 0 && format->elements / format->run <= MIA__BLOCK_RUNS);
    }
    assert_null(mia__block_find(MIA_f32));
    assert_null(mia__block_find(MIA_NONE));
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Both ways of reading one block of numbers that f32 holds. */
static void decode(mia_dtype dtype, const uint8_t *block, double *out) {
    const mia__block_format *format = mia__block_find(dtype);
    float narrow[MIA__BLOCK_MOST];
    mia__block_decode_f64(format, block, out, format->elements);
    mia__block_decode_f32(format, block, narrow, format->elements);
    for (uint32_t i = 0; i < format->elements; i++) assert_true((double)narrow[i] == out[i]);
}

static void test_decode_q8_0(void **state) {
    (void)state;
    uint8_t row[2 * 34] = {0x00, 0x38}; /* 0.5 */
    row[34] = 0x00, row[35] = 0xc0;     /* -2 */
    for (int i = 0; i < 32; i++) row[2 + i] = (uint8_t)(i - 16), row[36 + i] = (uint8_t)(i * 8 - 128);
    double out[64];
    mia__block_decode_f64(mia__block_find(MIA_q8_0), row, out, 64);
    for (int i = 0; i < 32; i++) assert_true(out[i] == (i - 16) * 0.5 && out[32 + i] == (i * 8 - 128) * -2.0);
    decode(MIA_q8_0, row, out);
}

static void test_decode_q4(void **state) {
    (void)state;
    uint8_t block[18] = {0x00, 0x34}, range[20] = {0x00, 0x38, 0x00, 0xc2}; /* 0.25; 0.5 and -3 */
    for (int i = 0; i < 16; i++) block[2 + i] = range[4 + i] = (uint8_t)(i | (15 - i) << 4);
    double out[32];
    decode(MIA_q4_0, block, out);
    for (int i = 0; i < 16; i++) assert_true(out[i] == (i - 8) * 0.25 && out[16 + i] == (7 - i) * 0.25);
    decode(MIA_q4_1, range, out);
    for (int i = 0; i < 16; i++) assert_true(out[i] == i * 0.5 - 3 && out[16 + i] == (15 - i) * 0.5 - 3);
}

static void test_decode_q5(void **state) {
    (void)state;
    uint8_t block[22] = {0x00, 0x34, 0xaa, 0xaa, 0x0f, 0x80};             /* 0.25; odd ones, 16 to 19, 31 */
    uint8_t range[24] = {0x00, 0x40, 0x00, 0x3c, 0xaa, 0xaa, 0x0f, 0x80}; /* 2 and 1 */
    for (int i = 0; i < 16; i++) block[6 + i] = range[8 + i] = (uint8_t)(i | (15 - i) << 4);
    double out[32], wider[32];
    decode(MIA_q5_0, block, out);
    decode(MIA_q5_1, range, wider);
    for (int i = 0; i < 32; i++) {
        int quant = (i < 16 ? i : 31 - i) + (i < 16 ? i % 2 : i < 20 || i == 31) * 16;
        assert_true(out[i] == (quant - 16) * 0.25 && wider[i] == quant * 2 + 1);
    }
}

/* 0.5 and 0.25, then the scales and least numbers below. */
static const uint8_t k_head[16] = {0x00, 0x38, 0x00, 0x34, 0xc1, 0x82, 0x43, 0x04,
                                   0x87, 0x40, 0x3f, 0xc1, 0x0f, 0x01, 0x81, 0xc5};
static const int k_scales[8] = {1, 2, 3, 4, 63, 33, 17, 5}, k_leasts[8] = {7, 0, 63, 1, 32, 16, 8, 60};

static void test_decode_q4_K(void **state) {
    (void)state;
    uint8_t block[144];
    memcpy(block, k_head, sizeof k_head);
    for (int i = 0; i < 128; i++) block[16 + i] = (uint8_t)(i % 16 | (15 - (i + i / 32) % 16) << 4);
    double out[256];
    decode(MIA_q4_K, block, out);
    for (int i = 0; i < 256; i++) {
        int run = i / 32, quant = run % 2 == 0 ? i % 16 : 15 - (i % 32 + run / 2) % 16;
        assert_true(out[i] == 0.5 * k_scales[run] * quant - 0.25 * k_leasts[run]);
    }
}

static void test_decode_q5_K(void **state) {
    (void)state;
    uint8_t block[176];
    memcpy(block, k_head, sizeof k_head);
    for (int i = 0; i < 32; i++) block[16 + i] = (uint8_t)(i % 2 == 0 ? 0x5a : 1 << i % 8);
    for (int i = 0; i < 128; i++) block[48 + i] = (uint8_t)(i % 16 | (15 - i % 16) << 4);
    double out[256];
    decode(MIA_q5_K, block, out);
    for (int i = 0; i < 256; i++) {
        int run = i / 32, place = i % 32, quant = run % 2 == 0 ? i % 16 : 15 - i % 16;
        bool fifth = place % 2 == 0 ? run == 1 || run == 3 || run == 4 || run == 6 : run == place % 8;
        quant += fifth ? 16 : 0;
        assert_true(out[i] == 0.5 * k_scales[run] * quant - 0.25 * k_leasts[run]);
    }
}

static void test_decode_q6_K(void **state) {
    (void)state;
    uint8_t block[210];
    for (int i = 0; i < 128; i++) block[i] = (uint8_t)(i % 16 | (i / 32 + 3) << 4);
    for (int i = 0; i < 64; i++) block[128 + i] = i % 2 == 0 ? 0xe4 : 0x1b; /* 0 1 2 3 or 3 2 1 0 */
    for (int i = 0; i < 16; i++) block[192 + i] = (uint8_t)(i == 15 ? -128 : i - 8);
    block[208] = 0x00, block[209] = 0xb8; /* -0.5 */
    double out[256];
    decode(MIA_q6_K, block, out);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, quarter = i / 32 % 4, scale = i / 16 == 15 ? -128 : i / 16 - 8;
        int low = quarter < 2 ? i % 16 : 2 * half + quarter % 2 + 3,
            high = i % 2 == 0 ? quarter : 3 - quarter;
        assert_true(out[i] == -0.5 * scale * (low + 16 * high - 32));
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

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

/* --- how far numbers may be off --------------------------------------------------------------- */

/* Of a block, in steps: the numbers' range, or twice the largest magnitude, cut into a format's levels.
 *
 *     formats of 32     half a step; where quants are around 0, a whole one at the end that they do not reach
 *     K formats         1.5 steps of the run with the widest range: scales are searched for by their squared
 *                       error, and rounded to 6 bits
 *
 * and what rounding scales to f16 does to the largest quant: 2^-11 of it, or 2^-25 where f16 has no more
 * digits. */
static double bound_of(const mia__block_format *format, const float *x) {
    double range = 0, most = 0, levels = (1 << format->bits) - 1, scales = format->elements == ROW ? 128 : 1;
    for (uint32_t first = 0; first < format->elements; first += format->run) {
        double low = format->elements == ROW ? 0 : (double)FLT_MAX, high = -(double)FLT_MAX;
        for (uint32_t i = first; i < first + format->run; i++) {
            low = fmin(low, (double)x[i]);
            high = fmax(high, (double)x[i]);
            most = fmax(most, fabs((double)x[i]));
        }
        range = fmax(range, high - low);
    }
    if (!format->has_least) range = 2 * most;
    double step = range / (format->dtype == MIA_q8_0 ? 254 : format->has_least ? levels : levels + 1);
    double steps = scales > 1 ? 1.5 : format->has_least || format->dtype == MIA_q8_0 ? 0.5 : 1;
    return step * (steps + 1e-5) + 0x1p-11 * (range + most) + (levels + 1) * scales * 0x1p-25;
}

static void check_row(const mia__block_format *format, const float *in) {
    double out[ROW];
    uint8_t row[BYTES];
    mia__block_encode(format, in, row, ROW);
    mia__block_decode_f64(format, row, out, ROW);
    for (uint32_t first = 0; first < ROW; first += format->elements) {
        double bound = bound_of(format, in + first);
        for (uint32_t i = first; i < first + format->elements; i++)
            if (!(fabs(out[i] - (double)in[i]) <= bound))
                fail_msg("%s: %.9g became %.9g, allowed %.3g", mia_dtype_describe(format->dtype)->name,
                         (double)in[i], out[i], bound);
    }
}

static void test_error(void **state) {
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        for (int trial = 0; trial < 400; trial++) {
            float in[ROW];
            double size = ldexp(1, trial % 24 - 12), middle = trial % 5 == 0 ? size : 0;
            for (int i = 0; i < ROW; i++) {
                double x = random_number();
                in[i] = (float)((trial % 3 == 0 ? x : x * x * x) * size + middle);
            }
            check_row(mia__block_find(types[t]), in);
        }
    }
}

/* Zeros, denormals, all alike, and one number beside which the others are nothing. */
static void test_extremes(void **state) {
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        const mia__block_format *format = mia__block_find(types[t]);
        float in[ROW] = {0}, out[ROW];
        uint8_t row[BYTES];
        mia__block_encode(format, in, row, ROW);
        mia__block_decode_f32(format, row, out, ROW);
        for (int i = 0; i < ROW; i++) assert_true(out[i] == 0);
        for (int k = 0; k < 6; k++) {
            static const double sizes[] = {1e-45, 1e-40, 1e-38, 1e-9, 1e-7, 6e4};
            for (int i = 0; i < ROW; i++) in[i] = (float)(random_number() * sizes[k]);
            check_row(format, in);
            for (int i = 0; i < ROW; i++) in[i] = (float)(k % 2 == 0 ? sizes[k] : -sizes[k]);
            check_row(format, in);
            for (int i = 0; i < ROW; i++) in[i] = (float)(random_number() * 0.01);
            in[3 + 50 * k] = k % 2 == 0 ? 1e4f : -1e4f;
            check_row(format, in);
        }
    }
}

/* What has been decoded encodes to the same numbers again. Not so in K formats, whose scales are searched
 * for; but it does not get worse. */
static void test_encode_again(void **state) {
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        const mia__block_format *format = mia__block_find(types[t]);
        float in[ROW], once[ROW], twice[ROW];
        double first = 0, second = 0;
        uint8_t row[BYTES];
        for (int i = 0; i < ROW; i++) in[i] = (float)(random_number() * 4);
        mia__block_encode(format, in, row, ROW);
        mia__block_decode_f32(format, row, once, ROW);
        mia__block_encode(format, once, row, ROW);
        mia__block_decode_f32(format, row, twice, ROW);
        for (int i = 0; i < ROW; i++) {
            first += pow((double)once[i] - (double)in[i], 2);
            second += pow((double)twice[i] - (double)once[i], 2);
            if (!format->has_least && format->elements < ROW) assert_true(once[i] == twice[i]);
        }
        assert_true(second <= first / 2);
    }
}

/* Nothing to compare with, but no undefined conversion either (the sanitizers look). */
static void test_not_finite(void **state) {
    (void)state;
    const float odd[] = {NAN, INFINITY, -INFINITY, 1e-45f, -1e-42f, 3e38f, -3e38f, 0, -0.0f};
    for (size_t t = 0; t < TYPES; t++) {
        for (int a = 0; a < 9; a++) {
            for (int b = 0; b < 9; b++) {
                float in[ROW], out[ROW];
                uint8_t row[BYTES];
                for (int i = 0; i < ROW; i++) in[i] = i % 2 ? odd[a] : odd[b];
                mia__block_encode(mia__block_find(types[t]), in, row, ROW);
                mia__block_decode_f32(mia__block_find(types[t]), row, out, ROW);
                if (a >= 7 && b >= 7) assert_true(out[0] == 0 && out[31] == 0);
            }
        }
    }
}

/* --- the K formats' search -------------------------------------------------------------------- */

static bool is_k(const mia__block_format *format) {
    return format->elements == ROW;
}

/* What a row becomes. */
static void round_row(const mia__block_format *format, const float *in, float *out) {
    uint8_t row[BYTES];
    mia__block_encode(format, in, row, ROW);
    mia__block_decode_f32(format, row, out, ROW);
}

/* Numbers 2^k times as large become numbers 2^k times as large, where f16 has all digits of the scales. */
static void test_powers_of_two(void **state) {
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        for (int trial = 0; trial < 40 && is_k(mia__block_find(types[t])); trial++) {
            float in[ROW], scaled[ROW], out[ROW], scaled_out[ROW], power = ldexpf(1, trial % 16 - 2);
            for (int i = 0; i < ROW; i++) {
                in[i] = (float)(random_number() * (i % 32 == 0 ? 8 : 4));
                scaled[i] = in[i] * power;
            }
            round_row(mia__block_find(types[t]), in, out);
            round_row(mia__block_find(types[t]), scaled, scaled_out);
            for (int i = 0; i < ROW; i++) assert_true(scaled_out[i] == out[i] * power);
        }
    }
}

/* A row of one number, or, where there is a least number, of two: both are there, to f16's digits. */
static void test_few_numbers(void **state) {
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        for (int trial = 0; trial < 40 && is_k(mia__block_find(types[t])); trial++) {
            float in[ROW], out[ROW], number = (float)(random_number() * 4);
            bool two = trial % 2 == 1 && mia__block_find(types[t])->has_least;
            for (int i = 0; i < ROW; i++) in[i] = two && i % 3 == 0 ? -0.5f * number : number;
            round_row(mia__block_find(types[t]), in, out);
            for (int i = 0; i < ROW; i++)
                assert_true(fabs((double)out[i] - (double)in[i]) <= 0x1p-9 * fabs((double)number) + 0x1p-12);
        }
    }
}

/* The squared error of the best that was found for a run, with scales and least numbers of any digits: many
 * scales, each made to fit what the numbers were rounded to until it stays. */
static double best_error(const mia__block_format *format, const float *x) {
    double n = format->run, low = 0, high = 0, best = INFINITY;
    int levels = (1 << format->bits) - 1;
    for (uint32_t i = 0; i < format->run; i++) {
        low = fmin(low, (double)x[i]);
        high = fmax(high, (double)x[i]);
    }
    double range = format->has_least ? high - low : 2 * fmax(-low, high);
    for (int trial = 0; trial < 800; trial++) {
        double scale = range / levels * (0.7 + 0.0015 * (trial / 2)), shift = format->has_least ? low : 0;
        if (!format->has_least && trial % 2 == 1) scale = -scale;
        for (int pass = 0; pass < 6; pass++) {
            double q1 = 0, q2 = 0, x1 = 0, x2 = 0, qx = 0;
            for (uint32_t i = 0; i < format->run; i++) {
                double y = (double)x[i], q = floor((y - shift) / scale + 0.5) + format->offset;
                q = fmin(fmax(q, 0), levels) - format->offset;
                q1 += q, q2 += q * q, x1 += y, x2 += y * y, qx += q * y;
            }
            bool shifts = format->has_least && n * q2 > q1 * q1;
            if (shifts) shift = fmin((q2 * x1 - q1 * qx) / (n * q2 - q1 * q1), 0);
            if (!(q2 > 0)) break;
            scale = (qx - shift * q1) / q2;
            best = fmin(best, x2 - scale * (qx - shift * q1) - shift * (2 * x1 - n * shift));
        }
    }
    return best;
}

/* Rows that repeat one run, whose scale is therefore the block's: little more error than the best, on the
 * whole. */
static void test_search(void **state) {
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        const mia__block_format *format = mia__block_find(types[t]);
        double ours = 0, best = 0;
        for (int trial = 0; trial < 40 && is_k(format); trial++) {
            float in[ROW], out[ROW];
            for (uint32_t i = 0; i < ROW; i++) {
                double x = random_number();
                in[i] = i >= format->run ? in[i - format->run] : (float)(trial % 2 == 0 ? x : x * x * x);
            }
            round_row(format, in, out);
            for (uint32_t i = 0; i < format->run; i++) ours += pow((double)out[i] - (double)in[i], 2);
            best += best_error(format, in);
        }
        if (ours > 1.15 * best)
            fail_msg("%s: squared error %g, the best is %g", mia_dtype_describe(types[t])->name, ours, best);
    }
}

/* --- ggml ------------------------------------------------------------------------------------- */

#define GOLDEN_ROWS 3
#define MOST_LINE   8192

/* `count` words of 8 hexadecimal digits. */
static void parse_floats(const char *text, float *out, int count) {
    for (int i = 0; i < count; i++) {
        char *end;
        out[i] = mia__f32_of_bits((uint32_t)strtoul(text, &end, 16));
        assert_int_equal(end - text, i == 0 ? 8 : 9);
        text = end;
    }
}

static size_t parse_bytes(const char *text, uint8_t *out) {
    size_t count = strcspn(text, " ") / 2;
    assert_true(count <= BYTES);
    for (size_t i = 0; i < count; i++) {
        const char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return count;
}

static const mia__block_format *find_format(const char *name, size_t length) {
    for (size_t i = 0; i < TYPES; i++) {
        const char *known = mia_dtype_describe(types[i])->name;
        if (strlen(known) == length && memcmp(known, name, length) == 0) return mia__block_find(types[i]);
    }
    fail_msg("no format \"%.*s\"", (int)length, name);
    return NULL;
}

static double squared_error(const float *x, const float *y) {
    double error = 0;
    for (int i = 0; i < ROW; i++) error += pow((double)x[i] - (double)y[i], 2);
    return error;
}

/* A line of a format: its blocks read, and those of the row's numbers made. Adds to errors, ours and ggml's. */
static void check_line(const char *line, float inputs[GOLDEN_ROWS][ROW], double errors[2]) {
    size_t name = strcspn(line, " ");
    const mia__block_format *format = find_format(line, name);
    const char *blocks = line + name + 3, *numbers = blocks + strcspn(blocks, " ") + 1;
    uint8_t bytes[BYTES], made[BYTES];
    float theirs[ROW], ours[ROW];
    size_t size = parse_bytes(blocks, bytes);
    assert_int_equal(size, ROW / format->elements * format->bytes);
    parse_floats(numbers, theirs, ROW);
    mia__block_decode_f32(format, bytes, ours, ROW);
    for (int i = 0; i < ROW; i++) assert_true(ours[i] == theirs[i]);
    if (line[name + 1] == '-') return;
    const float *in = inputs[line[name + 1] - '0'];
    mia__block_encode(format, in, made, ROW);
    if (format->elements < ROW) {
        assert_memory_equal(made, bytes, size);
        return;
    }
    mia__block_decode_f32(format, made, ours, ROW);
    errors[0] += squared_error(ours, in);
    errors[1] += squared_error(theirs, in);
}

static void test_golden(void **state) {
    (void)state;
    static char line[MOST_LINE];
    static float inputs[GOLDEN_ROWS][ROW];
    double errors[2] = {0};
    int lines = 0;
    FILE *file = fopen(MIA_GOLDEN_DIR "/blocks.txt", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        if (line[0] == '#') continue;
        if (strncmp(line, "input ", 6) == 0) {
            assert_in_range(line[6], '0', '0' + GOLDEN_ROWS - 1);
            parse_floats(line + 8, inputs[line[6] - '0'], ROW);
            continue;
        }
        check_line(line, inputs, errors);
        lines++;
        if (line[strcspn(line, " ") + 1] != '-') continue; /* not the last of a format */
        if (errors[0] > errors[1]) fail_msg("%.4s: squared error %g, ggml's %g", line, errors[0], errors[1]);
        errors[0] = errors[1] = 0;
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(lines, TYPES * (GOLDEN_ROWS + 1));
}

int main(void) {
    random_state = test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),       cmocka_unit_test(test_decode_q8_0),
        cmocka_unit_test(test_decode_q4),   cmocka_unit_test(test_decode_q5),
        cmocka_unit_test(test_decode_q4_K), cmocka_unit_test(test_decode_q5_K),
        cmocka_unit_test(test_decode_q6_K), cmocka_unit_test(test_encode_q8_0),
        cmocka_unit_test(test_encode_q4_0), cmocka_unit_test(test_error),
        cmocka_unit_test(test_extremes),    cmocka_unit_test(test_encode_again),
        cmocka_unit_test(test_not_finite),  cmocka_unit_test(test_powers_of_two),
        cmocka_unit_test(test_few_numbers), cmocka_unit_test(test_search),
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
