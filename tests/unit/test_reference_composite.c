/* Reference kernels that look at whole rows (normalisation, rope, attention, matmul), against closed forms;
 * and the reference backend: what it refuses, and a plan of two steps run on it. */
#include "base/block.h"
#include "base/half.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/steps.h"

static const mia__attributes none;

static void run(mia_op op, mia__attributes attributes, step_value output, int count,
                const step_value *inputs) {
    assert_true(step_run(op, attributes, output, count, inputs));
}

static void assert_near(double value, double expected, double bound) {
    if (fabs(value - expected) <= bound) return;
    print_error("%.17g is not %.17g within %g\n", value, expected, bound);
    fail();
}

/* --- normalisation ---------------------------------------------------------------------------- */

/* x = log(i + 1), shifted: the weights are 1 : 2 : ... : n. Two rows, the second stored backwards. */
static void test_softmax(void **state) {
    (void)state;
    double in[2][101] = {{0}}, out[2][101];
    for (int i = 0; i < 101; i++) in[0][i] = log(i + 1), in[1][i] = log(i + 1) + 1000;
    run(MIA_OP_softmax, none, step_compact(MIA_f64, out, 2, 101, 2),
        STEP_INPUTS(step_strided(MIA_f64, in, 201, 2, 101, 2, -1, -101)));
    for (int i = 0; i < 101; i++) {
        assert_near(out[0][i], (101 - i) / (101 * 51.0), 1e-12); /* 1000 + log(i) has lost three digits */
        assert_near(out[1][i], (101 - i) / (101 * 51.0), 1e-16);
    }
}

static void test_softmax_not_finite(void **state) {
    (void)state;
    const float low = -INFINITY;
    const float in[] = {low, low, low, low, 0, 0, NAN, 0, 0, INFINITY, 0, 0};
    float out[12];
    run(MIA_OP_softmax, none, step_compact(MIA_f32, out, 2, 3, 4),
        STEP_INPUTS(step_compact(MIA_f32, in, 2, 3, 4)));
    for (int i = 0; i < 3; i++) assert_true(isnan(out[i]) && isnan(out[6 + i]));
    assert_true(out[3] == 0 && out[4] == 0.5f && out[5] == 0.5f);
    assert_true(isnan(out[9]));
}

static void test_rms_norm(void **state) {
    (void)state;
    float in[10] = {3, -3, 3, -3, 3, 1, 2, 3, 4, 5}, weight[10] = {1, 0, 2, 0, 3, 0, 4, 0, 5, 0}, out[10];
    run(MIA_OP_rms_norm, step_number(7), step_compact(MIA_f32, out, 2, 5, 2),
        STEP_INPUTS(step_compact(MIA_f32, in, 2, 5, 2), step_strided(MIA_f32, weight, 0, 1, 5, 2)));
    for (int i = 0; i < 5; i++) {
        double sign = i % 2 == 0 ? 1 : -1;
        assert_near((double)out[i], sign * 0.75 * (i + 1), 1e-6);              /* 3 / sqrt(9 + 7) */
        assert_near((double)out[5 + i], (i + 1) * (i + 1) / sqrt(18.0), 1e-6); /* mean of squares 11 */
    }
}

/* An arithmetic progression of n has mean at its middle and variance (n^2 - 1) / 12. In place. */
static void test_layer_norm(void **state) {
    (void)state;
    double x[2][7], weight[7], bias[7];
    for (int i = 0; i < 7; i++) x[0][i] = i, x[1][i] = 1e6 - 2 * i, weight[i] = i + 1, bias[i] = 10 * i;
    step_value in = step_compact(MIA_f64, x, 2, 7, 2);
    run(MIA_OP_layer_norm, step_number(0.5), in,
        STEP_INPUTS(in, step_compact(MIA_f64, weight, 1, 7), step_compact(MIA_f64, bias, 1, 7)));
    for (int i = 0; i < 7; i++) {
        assert_near(x[0][i], (i - 3) / sqrt(4.5) * (i + 1) + 10 * i, 1e-13);
        assert_near(x[1][i], -2 * (i - 3) / sqrt(16.5) * (i + 1) + 10 * i, 1e-8);
    }
}

/* The weights of test_softmax, as logarithms; in place. A row of one element is 0. */
static void test_log_softmax(void **state) {
    (void)state;
    double x[2][101], one = 1e300;
    for (int i = 0; i < 101; i++) x[0][i] = log(i + 1), x[1][i] = -1000 - log(i + 1);
    x[1][0] = -(double)INFINITY;
    step_value in = step_compact(MIA_f64, x, 2, 101, 2);
    run(MIA_OP_log_softmax, none, in, STEP_INPUTS(in));
    double sum = 0;
    for (int i = 1; i < 101; i++) sum += 1.0 / (i + 1);
    for (int i = 0; i < 101; i++) {
        assert_near(x[0][i], log((i + 1) / (101 * 51.0)), 1e-13);
        if (i > 0) assert_near(x[1][i], -log((i + 1) * sum), 1e-12);
    }
    assert_true(x[1][0] == -(double)INFINITY);
    run(MIA_OP_log_softmax, none, step_compact(MIA_f64, &one, 0),
        STEP_INPUTS(step_compact(MIA_f64, &one, 0)));
    assert_true(one == 0);
}

/* A norm of 5; one below epsilon; nothing but zeros. */
static void test_l2_norm(void **state) {
    (void)state;
    const float in[] = {3, -4, 0.06f, 0.08f, 0, 0}, want[] = {0.6f, -0.8f, 0.12f, 0.16f, 0, 0};
    float out[6];
    run(MIA_OP_l2_norm, step_number(0.5), step_compact(MIA_f32, out, 2, 2, 3),
        STEP_INPUTS(step_compact(MIA_f32, in, 2, 2, 3)));
    for (int i = 0; i < 6; i++) assert_near((double)out[i], (double)want[i], 1e-7);
    run(MIA_OP_l2_norm, none, step_compact(MIA_f32, out, 2, 2, 3),
        STEP_INPUTS(step_compact(MIA_f32, in, 2, 2, 3)));
    assert_near((double)out[2], 0.6, 1e-6);
    assert_true(isnan(out[4]) && isnan(out[5]));
}

/* x [3, 4, 2] with channels in mode 1: each group of two channels is a progression of six numbers, backwards in
 * memory, of another step in each; variance 35 / 12 of the step's square. */
static void test_group_norm(void **state) {
    (void)state;
    double x[2][4][3], out[2][4][3], weight[8], bias[4];
    for (int c = 0; c < 4; c++) weight[2 * c] = c + 1, weight[2 * c + 1] = (double)NAN, bias[c] = 10 * c;
    for (int b = 0; b < 2; b++)
        for (int c = 0; c < 4; c++)
            for (int i = 0; i < 3; i++) {
                int place = c % 2 * 3 + i, step = 1 + c / 2 + 2 * b;
                x[1 - b][3 - c][2 - i] = 1000 * b + place * step;
            }
    mia__attributes attributes = {.i = {1, 2}, .f = {0.25}};
    run(MIA_OP_group_norm, attributes, step_compact(MIA_f64, out, 3, 3, 4, 2),
        STEP_INPUTS(step_strided(MIA_f64, x, 23, 3, 3, 4, 2, -1, -3, -12),
                    step_strided(MIA_f64, weight, 0, 1, 4, 2), step_compact(MIA_f64, bias, 1, 4)));
    for (int b = 0; b < 2; b++)
        for (int c = 0; c < 4; c++)
            for (int i = 0; i < 3; i++) {
                double place = c % 2 * 3 + i, step = 1 + c / 2 + 2 * b;
                double normal = (place - 2.5) * step / sqrt(step * step * 35 / 12 + 0.25);
                assert_near(out[b][c][i], normal * (c + 1) + 10 * c, 1e-11);
            }
}

/* --- rope ------------------------------------------------------------------------------------- */

/* [6, 2, 3] with 4 rotated elements: frequencies of a quarter and of no turn, positions 0, 1, -2. */
static void rotate(int style, double magnitude, float out[3][2][6]) {
    float x[3][2][6];
    const int32_t positions[] = {0, 1, -2};
    const float frequencies[] = {1.57079632679f, 0};
    for (int t = 0; t < 3; t++)
        for (int h = 0; h < 2; h++)
            for (int i = 0; i < 6; i++) x[2 - t][h][i] = (float)(1 + i + 10 * h);
    mia__attributes attributes = {.i = {style}, .f = {magnitude}};
    run(MIA_OP_rope, attributes, step_compact(MIA_f32, out, 3, 6, 2, 3),
        STEP_INPUTS(step_strided(MIA_f32, x, 24, 3, 6, 2, 3, 1, 6, -12),
                    step_compact(MIA_i32, positions, 1, 3), step_compact(MIA_f32, frequencies, 1, 2)));
}

static void check_rotated(int style, double magnitude) {
    float out[3][2][6];
    const int second = style == MIA_ROPE_HALVES ? 2 : 1; /* partner of element 0 */
    const double cosine[] = {1, 0, -1}, sine[] = {0, 1, 0};
    rotate(style, magnitude, out);
    for (int t = 0; t < 3; t++) {
        for (int h = 0; h < 2; h++) {
            for (int i = 0; i < 6; i++) {
                double a = 1 + 10 * h, b = 1 + second + 10 * h, expected = 1 + i + 10 * h;
                if (i < 4) expected *= magnitude;
                if (i == 0) expected = magnitude * (a * cosine[t] - b * sine[t]);
                if (i == second) expected = magnitude * (a * sine[t] + b * cosine[t]);
                assert_near((double)out[t][h][i], expected, 1e-5);
            }
        }
    }
}

static void test_rope_interleaved(void **state) {
    (void)state;
    check_rotated(MIA_ROPE_INTERLEAVED, 1);
    check_rotated(MIA_ROPE_INTERLEAVED, 2.5);
}

static void test_rope_halves(void **state) {
    (void)state;
    check_rotated(MIA_ROPE_HALVES, 1);
    check_rotated(MIA_ROPE_HALVES, 0.5);
}

/* --- attention -------------------------------------------------------------------------------- */

/* q [1, 4, T], k [1, 9, 2] = log(s + 1), v [E, 9, 2] = (s + 1) (g + 1) + e: with q = 1 and n rows in sight
 * the weights are 1 : 2 : ... : n, so the result is (2 n + 1) / 3 (g + 1) + e. */
static void check_attention(int queries, int32_t length, int wide) {
    static double q[4 * 16], k[2][9], v[2][9][300], out[16][4][300];
    for (int i = 0; i < 64; i++) q[i] = 2;
    for (int g = 0; g < 2; g++) {
        for (int s = 0; s < 9; s++) {
            k[g][s] = log(s + 1);
            for (int e = 0; e < wide; e++) v[g][s][e] = s >= length ? (double)NAN : (s + 1) * (g + 1) + e;
        }
    }
    run(MIA_OP_attention, step_number(0.5), step_strided(MIA_f64, out, 0, 3, wide, 4, queries, 1, 300, 1200),
        STEP_INPUTS(step_compact(MIA_f64, q, 3, 1, 4, queries), step_compact(MIA_f64, k, 3, 1, 9, 2),
                    step_strided(MIA_f64, v, 0, 3, wide, 9, 2, 1, 300, 2700),
                    step_compact(MIA_i32, &length, 1, 1)));
    for (int t = 0; t < queries; t++) {
        int n = length - queries + t + 1 > 9 ? 9 : length - queries + t + 1;
        for (int h = 0; h < 4; h++) {
            for (int e = 0; e < wide; e++) {
                double expected = n <= 0 ? 0 : (2 * n + 1) / 3.0 * (h / 2 + 1) + e;
                assert_near(out[t][h][e], expected, 1e-12);
            }
        }
    }
}

static void test_attention(void **state) {
    (void)state;
    check_attention(1, 1, 3);
    check_attention(1, 9, 1);
    check_attention(4, 4, 3);
    check_attention(3, 8, 300);
    check_attention(2, 0, 3);  /* no row in sight */
    check_attention(5, 3, 3);  /* the first two queries see none */
    check_attention(4, 11, 3); /* more than there are */
    check_attention(2, -5, 3);
}

/* Strided f16 caches; one score far above the rest takes everything; a row of -infinity is not seen. */
static void test_attention_peak(void **state) {
    (void)state;
    float q[2] = {100, 0}, out[2];
    uint16_t k[8], v[8];
    const float key[4] = {0, -INFINITY, 2, 1};
    const int32_t length = 4;
    for (int s = 0; s < 4; s++) {
        k[6 - 2 * s] = mia__f32_to_f16(key[s]), k[7 - 2 * s] = mia__f32_to_f16(1);
        v[s] = mia__f32_to_f16((float)s), v[s + 4] = mia__f32_to_f16((float)(10 * s));
    }
    run(MIA_OP_attention, step_number(1), step_compact(MIA_f32, out, 3, 2, 1, 1),
        STEP_INPUTS(step_compact(MIA_f32, q, 3, 2, 1, 1), step_strided(MIA_f16, k, 6, 3, 2, 4, 1, 1, -2, 8),
                    step_strided(MIA_f16, v, 0, 3, 2, 4, 1, 4, 1, 8), step_compact(MIA_i32, &length, 0)));
    assert_near((double)out[0], 2, 1e-6);
    assert_near((double)out[1], 20, 1e-5);
}

/* Scores of 0 with a mask of log(s + 1): the weights are 1 : 2 : ... : n for every query, whatever its place, and v
 * as in check_attention. Query 1 has a mask of -infinity alone. */
static void check_masked(int32_t length, int lacking) {
    enum { QUERIES = 3 };
    double q[4 * QUERIES] = {0}, k[2][9], v[2][9], out[QUERIES][4];
    float mask[QUERIES][9];
    for (int g = 0; g < 2; g++)
        for (int s = 0; s < 9; s++) k[g][s] = s, v[g][s] = s >= length ? (double)NAN : (s + 1) * (g + 1);
    for (int t = 0; t < QUERIES; t++)
        for (int s = 0; s < 9; s++) mask[t][s] = t == 1 ? -INFINITY : logf((float)s + 1);
    if (length > 0) k[0][0] = k[1][0] = (double)NAN, mask[0][0] = mask[2][0] = -INFINITY; /* hidden */
    step_value masks[] = {step_compact(MIA_f32, mask, 2, 9, QUERIES), step_compact(MIA_f32, mask[2], 1, 9),
                          step_compact(MIA_f32, mask, 3, 9, QUERIES, 1)};
    run(MIA_OP_attention_masked, step_number(0.5), step_compact(MIA_f64, out, 3, 1, 4, QUERIES),
        STEP_INPUTS(step_compact(MIA_f64, q, 3, 1, 4, QUERIES), step_compact(MIA_f64, k, 3, 1, 9, 2),
                    step_compact(MIA_f64, v, 3, 1, 9, 2), masks[lacking], step_compact(MIA_i32, &length, 0)));
    double n = length > 9 ? 9 : length, weights = n * (n + 1) / 2 - 1;
    for (int t = 0; t < QUERIES; t++)
        for (int h = 0; h < 4; h++) {
            double mean = (n * (n + 1) * (2 * n + 1) / 6 - 1) / weights;
            bool zeros = (t == 1 && lacking != 1) || n <= 1;
            assert_near(out[t][h], zeros ? 0 : mean * (h / 2 + 1), 1e-6);
        }
}

static void test_attention_masked(void **state) {
    (void)state;
    for (int lacking = 0; lacking < 3; lacking++) {
        check_masked(9, lacking);
        check_masked(4, lacking);
        check_masked(12, lacking);
        check_masked(1, lacking); /* a row that the mask hides */
        check_masked(0, lacking);
        check_masked(-3, lacking);
    }
}

/* --- matmul ----------------------------------------------------------------------------------- */

/* w(k, n) = (k + 1) (n + 1), x(k, m) = m - 2: y = (n + 1) (m - 2) K (K + 1) / 2, exact in f64. w stored [N,
 * K] backwards. */
static void check_matmul(int depth, int rows, int columns) {
    static double w[40 * 600], x[40 * 600], y[40 * 40];
    for (int k = 0; k < depth; k++) {
        for (int n = 0; n < rows; n++) w[(depth - 1 - k) * rows + rows - 1 - n] = (k + 1) * (n + 1);
        for (int m = 0; m < columns; m++) x[m * depth + k] = m - 2;
    }
    run(MIA_OP_matmul, none, step_compact(MIA_f64, y, 2, rows, columns),
        STEP_INPUTS(step_strided(MIA_f64, w, depth * rows - 1, 2, depth, rows, -rows, -1),
                    step_compact(MIA_f64, x, 2, depth, columns)));
    for (int m = 0; m < columns; m++)
        for (int n = 0; n < rows; n++)
            assert_true(y[m * rows + n] == (double)(n + 1) * (m - 2) * depth * (depth + 1) / 2);
}

static void test_matmul(void **state) {
    (void)state;
    check_matmul(1, 1, 1);
    check_matmul(37, 19, 11);
    check_matmul(256, 8, 8);
    check_matmul(513, 9, 7);
    check_matmul(300, 40, 33);
    double y = 5, nothing = 0;
    run(MIA_OP_matmul, none, step_compact(MIA_f64, &y, 2, 1, 1),
        STEP_INPUTS(step_compact(MIA_f64, &nothing, 2, 0, 1), step_compact(MIA_f64, &nothing, 2, 0, 1)));
    assert_true(y == 0);
}

/* w [2, 2, 1, 3], x [2, 1, 2]: w is repeated over mode 2, x over mode 3, which it lacks. Then an x of rank
 * 1. */
static void test_matmul_repeats(void **state) {
    (void)state;
    float w[12], x[4] = {1, 10, 100, 1000}, y[12];
    for (int i = 0; i < 12; i++) w[i] = (float)i;
    run(MIA_OP_matmul, none, step_compact(MIA_f32, y, 4, 2, 1, 2, 3),
        STEP_INPUTS(step_compact(MIA_f32, w, 4, 2, 2, 1, 3), step_compact(MIA_f32, x, 3, 2, 1, 2)));
    for (int c = 0; c < 3; c++)
        for (int b = 0; b < 2; b++)
            for (int n = 0; n < 2; n++) {
                float first = (float)(4 * c + 2 * n), scale = b == 0 ? 1 : 100;
                assert_true(y[n + 2 * b + 4 * c] == scale * (first + 10 * (first + 1)));
            }
    run(MIA_OP_matmul, none, step_compact(MIA_f32, y, 1, 6),
        STEP_INPUTS(step_compact(MIA_f32, w, 2, 2, 6), step_compact(MIA_f32, x, 1, 2)));
    for (int n = 0; n < 6; n++) assert_true(y[n] == (float)(2 * n + 10 * (2 * n + 1)));
}

/* Whole numbers that every type holds exactly (a block of 32 with these ends has scale 1), against f16
 * activations. */
static void check_weights(mia_dtype dtype, int least, int largest) {
    enum { DEPTH = 288, ROWS = 9 };
    static float numbers[ROWS][DEPTH];
    static uint8_t w[ROWS * DEPTH * 8];
    uint16_t x[2][DEPTH], y[2][ROWS];
    const mia__block_format *format = mia__block_find(dtype);
    int sums[2][ROWS] = {{0}};
    for (int n = 0; n < ROWS; n++) {
        for (int k = 0; k < DEPTH; k++) {
            int value = k % 32 == 0 ? largest : k % 32 == 1 ? least : (k + n) % 7 - 3;
            numbers[n][k] = (float)value;
            sums[0][n] += k % 3 == 0 ? value : 0;
            sums[1][n] += k == 1 ? value : 0;
            x[0][k] = k % 3 == 0 ? 0x3c00 : 0;
            x[1][k] = k == 1 ? 0x3c00 : 0;
        }
    }
    if (format != NULL)
        mia__block_encode(format, numbers[0], w, ROWS * DEPTH);
    else
        run(MIA_OP_convert, none, step_compact(dtype, w, 1, ROWS * DEPTH),
            STEP_INPUTS(step_compact(MIA_f32, numbers, 1, ROWS * DEPTH)));
    run(MIA_OP_matmul, none, step_compact(MIA_f16, y, 2, ROWS, 2),
        STEP_INPUTS(step_compact(dtype, w, 2, DEPTH, ROWS), step_compact(MIA_f16, x, 2, DEPTH, 2)));
    for (int n = 0; n < ROWS; n++)
        for (int m = 0; m < 2; m++) assert_int_equal(y[m][n], mia__f32_to_f16((float)sums[m][n]));
}

static void test_matmul_weights(void **state) {
    (void)state;
    check_weights(MIA_f32, -5, 127);
    check_weights(MIA_f16, -5, 127);
    check_weights(MIA_bf16, -5, 127);
    check_weights(MIA_f64, -5, 127);
    check_weights(MIA_q8_0, -5, 127);
    check_weights(MIA_q4_0, -8, 7);
    check_weights(MIA_q4_1, -4, 11);
    check_weights(MIA_q5_0, -16, 15);
    check_weights(MIA_q5_1, -5, 26);
}

static void test_matmul_not_finite(void **state) {
    (void)state;
    const float w[] = {0, 1, INFINITY, 1}, x[] = {INFINITY, 1, 2, 3};
    float y[4];
    run(MIA_OP_matmul, none, step_compact(MIA_f32, y, 2, 2, 2),
        STEP_INPUTS(step_compact(MIA_f32, w, 2, 2, 2), step_compact(MIA_f32, x, 2, 2, 2)));
    assert_true(isnan(y[0]) && y[1] == INFINITY && y[2] == 3 && y[3] == INFINITY);
}

/* --- the backend ------------------------------------------------------------------------------ */

static void remember(void *user, mia_status status, const char *message) {
    assert_true((status == MIA_OK) == (message == NULL));
    *(int *)user = (int)status;
}

/* b = a + a, c = -b, run through the whole contract. */
static void test_backend(void **state) {
    (void)state;
    const mia__backend_type *type = &mia__backend_reference;
    mia__backend *backend = NULL;
    int status = -1;
    type->open(NULL, &backend, (mia__completion){remember, &status});
    assert_int_equal(status, MIA_OK);
    mia__buffer memory = {0};
    assert_int_equal(type->allocate(backend, 192, &memory, NULL), MIA_OK);
    assert_int_equal((uintptr_t)memory.host % 64, 0);
    const float a[4] = {1, 2, 3, 4};
    float c[4] = {0};
    assert_int_equal(type->upload(backend, &memory, 64, a, sizeof a, NULL), MIA_OK);
    mia__operand operands[3];
    for (uint32_t i = 0; i < 3; i++)
        operands[i] = (mia__operand){i, MIA_f32, {.ndim = 1, .extent = {4}, .stride = {1}}};
    mia__step steps[2] = {
        {.op = MIA_OP_add,
         .input_count = 2,
         .output = operands[1],
         .inputs = {operands[0], operands[0]},
         .scratch = MIA__NO_BUFFER},
        {.op = MIA_OP_neg,
         .input_count = 1,
         .output = operands[2],
         .inputs = {operands[1]},
         .scratch = MIA__NO_BUFFER},
    };
    mia__plan plan = {.steps = steps, .step_count = 2};
    const mia__place places[3] = {{&memory, 64}, {&memory, 0}, {&memory, 128}};
    mia__run run = {.plan = &plan, .places = places, .completion = {remember, &status}};
    assert_int_equal(type->compile(backend, &plan, &run.program, NULL), MIA_OK);
    status = -1;
    type->run(backend, &run);
    assert_int_equal(status, MIA_OK);
    type->download(backend, &memory, 128, c, sizeof c, (mia__completion){remember, &status});
    for (int i = 0; i < 4; i++) assert_true(c[i] == -2 * a[i]);
    type->discard(backend, run.program);
    type->release(backend, &memory);
    type->close(backend);
}

static void test_backend_refuses(void **state) {
    (void)state;
    mia__operand numbers = {0, MIA_f32, {.ndim = 1, .extent = {256}, .stride = {1}}};
    mia__step step = {.op = MIA_OP_convert,
                      .input_count = 1,
                      .output = numbers,
                      .inputs = {numbers},
                      .scratch = MIA__NO_BUFFER};
    mia_error error = {0};
    assert_int_equal(mia__reference_check(&step, "reference", &error), MIA_OK);
    step.op = MIA_OP_permute;
    assert_int_equal(mia__reference_check(&step, "cpu", &error), MIA_ERROR_UNSUPPORTED);
    assert_string_equal(error.message, "cpu: no kernel for permute");
}

/* Memory of somebody else is used where it is, and outlives its buffer; a constant's own form is its
 * bytes. */
static void test_backend_adopts(void **state) {
    (void)state;
    const mia__backend_type *type = &mia__backend_reference;
    mia__backend *backend = NULL;
    int status = -1;
    type->open(NULL, &backend, (mia__completion){remember, &status});
    _Alignas(64) const char bytes[40] = "bytes that stay where they are";
    mia__buffer adopted = {0}, copied = {0};
    mia_error error = {0};
    assert_int_equal(type->adopt(backend, bytes, 32, &adopted, &error), MIA_OK);
    assert_ptr_equal(adopted.host, bytes);
    assert_int_equal(type->adopt(backend, bytes + 2, 32, &copied, &error), MIA_ERROR_UNSUPPORTED);
    assert_int_equal(type->allocate(backend, 32, &copied, NULL), MIA_OK);
    const mia_shape shape = MIA_SHAPE(32);
    mia__form form = {.key = 0, .bytes = 32};
    assert_int_equal(type->prepare(backend, MIA_u8, &shape, &form, bytes, &copied, &error), MIA_OK);
    assert_memory_equal(copied.host, bytes, 32);
    form.key = 3;
    assert_int_equal(type->prepare(backend, MIA_u8, &shape, &form, bytes, &copied, &error),
                     MIA_ERROR_UNSUPPORTED);
    assert_string_equal(error.message, "reference: no prepared form 3 of u8");
    type->release(backend, &copied);
    type->release(backend, &adopted);
    assert_string_equal(bytes, "bytes that stay where they are");
    type->close(backend);
}

static void *no_memory(void *user, size_t bytes, size_t alignment) {
    return (void)user, (void)bytes, (void)alignment, NULL;
}

static void no_release(void *user, void *pointer, size_t bytes) {
    (void)user, (void)pointer, (void)bytes;
}

static void test_backend_without_memory(void **state) {
    (void)state;
    const mia_allocator empty = {no_memory, no_release, NULL};
    const mia_device_options options = {.allocator = &empty};
    mia__backend *backend = NULL;
    int status = -1;
    mia__backend_reference.open(&options, &backend, (mia__completion){remember, &status});
    assert_int_equal(status, MIA_ERROR_NO_MEMORY);
    assert_null(backend);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_softmax),          cmocka_unit_test(test_softmax_not_finite),
        cmocka_unit_test(test_rms_norm),         cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_log_softmax),      cmocka_unit_test(test_l2_norm),
        cmocka_unit_test(test_group_norm),       cmocka_unit_test(test_attention_masked),
        cmocka_unit_test(test_rope_interleaved), cmocka_unit_test(test_rope_halves),
        cmocka_unit_test(test_attention),        cmocka_unit_test(test_attention_peak),
        cmocka_unit_test(test_matmul),           cmocka_unit_test(test_matmul_repeats),
        cmocka_unit_test(test_matmul_weights),   cmocka_unit_test(test_matmul_not_finite),
        cmocka_unit_test(test_backend),          cmocka_unit_test(test_backend_refuses),
        cmocka_unit_test(test_backend_adopts),   cmocka_unit_test(test_backend_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
