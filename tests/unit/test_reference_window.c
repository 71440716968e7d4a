/* Reference kernels of windows (convolutions and pools), held against sums made by hand and against closed
 * forms. */
#include "base/half.h"
#include "graph/ops.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/steps.h"

static void run(mia_op op, mia_window window, step_value output, int count, const step_value *inputs) {
    assert_true(step_run(op, mia__window_attributes(&window), output, count, inputs));
}

static void assert_numbers(const float *got, const float *want, int count) {
    for (int i = 0; i < count; i++)
        if (got[i] != want[i] && !(isnan(got[i]) && isnan(want[i])))
            fail_msg("number %d is %g, not %g", i, (double)got[i], (double)want[i]);
}

/* --- convolutions ----------------------------------------------------------------------------- */

/* The window is not mirrored: 1, 10, 100 in the order of x. */
static void test_conv1d_by_hand(void **state) {
    (void)state;
    const float x[] = {1, 2, 3, 4, 5}, w[] = {1, 10, 100};
    float out[7];
    step_value xs = step_compact(MIA_f32, x, 3, 5, 1, 1), ws = step_compact(MIA_f32, w, 3, 3, 1, 1);
    run(MIA_OP_conv1d, (mia_window){0}, step_compact(MIA_f32, out, 3, 3, 1, 1), STEP_INPUTS(xs, ws));
    assert_numbers(out, (const float[]){321, 432, 543}, 3);
    run(MIA_OP_conv1d, (mia_window){.before = {2}, .after = {1}}, step_compact(MIA_f32, out, 3, 6, 1, 1),
        STEP_INPUTS(xs, ws));
    assert_numbers(out, (const float[]){100, 210, 321, 432, 543, 54}, 6);
    run(MIA_OP_conv1d, (mia_window){.stride = {2}, .before = {1}, .after = {1}},
        step_compact(MIA_f32, out, 3, 3, 1, 1), STEP_INPUTS(xs, ws));
    assert_numbers(out, (const float[]){210, 432, 54}, 3);
    run(MIA_OP_conv1d, (mia_window){.dilation = {2}}, step_compact(MIA_f32, out, 3, 1, 1, 1),
        STEP_INPUTS(xs, ws));
    assert_numbers(out, (const float[]){531}, 1);
}

/* What is said of modes that a convolution does not have means nothing. */
static void test_conv1d_ignores_the_second_mode(void **state) {
    (void)state;
    const double x[] = {1, 2, 3}, w[] = {1, 10};
    double out[2] = {0};
    run(MIA_OP_conv1d, (mia_window){.stride = {1, 5}, .dilation = {1, 3}, .before = {0, 2}},
        step_compact(MIA_f64, out, 3, 2, 1, 1),
        STEP_INPUTS(step_compact(MIA_f64, x, 3, 3, 1, 1), step_compact(MIA_f64, w, 3, 2, 1, 1)));
    assert_true(out[0] == 21 && out[1] == 32);
}

/* Two groups of two channels; each gives two outputs. x runs backwards, w is transposed. */
static void test_groups_and_strides(void **state) {
    (void)state;
    const float x[] = {8, 7, 6, 5, 4, 3, 2, 1};     /* backwards [2, 4, 1]: channel c has 2c + 1, 2c + 2 */
    const float w[] = {1, 2, 3, 4, 10, 20, 30, 40}; /* of output o in channel c: w[4 c + o] */
    float out[8];
    run(MIA_OP_conv1d, (mia_window){.groups = 2}, step_compact(MIA_f32, out, 3, 2, 4, 1),
        STEP_INPUTS(step_strided(MIA_f32, x, 7, 3, 2, 4, 1, -1, -2, 0),
                    step_strided(MIA_f32, w, 0, 3, 1, 2, 4, 0, 4, 1)));
    const float want[] = {1 + 30,   2 + 40,   2 + 60,   4 + 80, /* 1, 2 and 3, 4 by w of outputs 0 and 1 */
                          15 + 210, 18 + 240, 20 + 280, 24 + 320};
    assert_numbers(out, want, 8);
}

/* A window with a single one moves the picture; padding comes in as zeros. */
static void test_conv2d_shifts(void **state) {
    (void)state;
    float x[5 * 4], w[3 * 3], out[5 * 4];
    for (int i = 0; i < 20; i++) x[i] = (float)(i + 1);
    for (int one = 0; one < 9; one++) {
        for (int i = 0; i < 9; i++) w[i] = i == one ? 1 : 0;
        run(MIA_OP_conv2d, (mia_window){.before = {1, 1}, .after = {1, 1}},
            step_compact(MIA_f32, out, 4, 5, 4, 1, 1),
            STEP_INPUTS(step_compact(MIA_f32, x, 4, 5, 4, 1, 1), step_compact(MIA_f32, w, 4, 3, 3, 1, 1)));
        for (int q = 0; q < 4; q++)
            for (int p = 0; p < 5; p++) {
                int across = p + one % 3 - 1, down = q + one / 3 - 1;
                bool inside = across >= 0 && across < 5 && down >= 0 && down < 4;
                assert_true(out[q * 5 + p] == (inside ? x[down * 5 + across] : 0));
            }
    }
}

/* Sums of a plane x = a p + b q + c over windows: known from the plane alone. Two pictures, two outputs. */
static void test_conv2d_of_a_plane(void **state) {
    (void)state;
    float x[2][6][7], w[2][2][3], out[2][2][2][3];
    for (int n = 0; n < 2; n++)
        for (int q = 0; q < 6; q++)
            for (int p = 0; p < 7; p++) x[n][q][p] = (float)(3 * p + 50 * q + 1000 * n);
    for (int o = 0; o < 2; o++)
        for (int i = 0; i < 6; i++) w[o][i / 3][i % 3] = (float)(o + 1);
    run(MIA_OP_conv2d, (mia_window){.stride = {2, 3}, .dilation = {1, 2}},
        step_compact(MIA_f32, out, 4, 3, 2, 2, 2),
        STEP_INPUTS(step_compact(MIA_f32, x, 4, 7, 6, 1, 2), step_compact(MIA_f32, w, 4, 3, 2, 1, 2)));
    for (int n = 0; n < 2; n++)
        for (int o = 0; o < 2; o++)
            for (int q = 0; q < 2; q++)
                for (int p = 0; p < 3; p++) { /* 6 times the number in the window's middle */
                    int middle = 3 * (2 * p + 1) + 50 * (3 * q + 1) + 1000 * n;
                    assert_true(out[n][o][q][p] == (float)(6 * middle * (o + 1)));
                }
}

/* Nothing to sum gives zeros; an infinite weight by padding gives NaN, as zeros do. */
static void test_edges_of_convolutions(void **state) {
    (void)state;
    const uint16_t x[] = {mia__f32_to_f16(1)}, w[] = {mia__f32_to_f16(INFINITY)};
    uint16_t out[] = {7, 7};
    run(MIA_OP_conv1d, (mia_window){.after = {1}}, step_compact(MIA_f16, out, 3, 2, 1, 1),
        STEP_INPUTS(step_compact(MIA_f16, x, 3, 1, 1, 1), step_compact(MIA_f16, w, 3, 1, 1, 1)));
    assert_true(isinf(mia__f16_to_f32(out[0])) && isnan(mia__f16_to_f32(out[1])));
    out[0] = 7;
    run(MIA_OP_conv1d, (mia_window){0}, step_compact(MIA_f16, out, 3, 1, 1, 1),
        STEP_INPUTS(step_compact(MIA_f16, x, 3, 1, 0, 1), step_compact(MIA_f16, w, 3, 1, 0, 1)));
    assert_int_equal(out[0], 0);
}

/* --- pools ------------------------------------------------------------------------------------ */

static void test_pools_by_hand(void **state) {
    (void)state;
    const float x[] = {1, 2, 3, 4, /* [4, 3] */ 5, 6, 7, 8, 9, 10, 11, 12};
    float out[6];
    step_value xs = step_compact(MIA_f32, x, 2, 4, 3);
    mia_window two = {.size = {2, 2}, .stride = {2, 1}};
    run(MIA_OP_max_pool, two, step_compact(MIA_f32, out, 2, 2, 2), STEP_INPUTS(xs));
    assert_numbers(out, (const float[]){6, 8, 10, 12}, 4);
    run(MIA_OP_average_pool, two, step_compact(MIA_f32, out, 2, 2, 2), STEP_INPUTS(xs));
    assert_numbers(out, (const float[]){3.5f, 5.5f, 7.5f, 9.5f}, 4);
    mia_window all = {.size = {4, 3}};
    run(MIA_OP_average_pool, all, step_compact(MIA_f32, out, 2, 1, 1), STEP_INPUTS(xs));
    assert_numbers(out, (const float[]){6.5f}, 1);
}

/* Padding is no element; a mean may count it as zeros. */
static void test_pools_with_padding(void **state) {
    (void)state;
    const float x[] = {-3, -1, NAN};
    float out[7];
    step_value xs = step_compact(MIA_f32, x, 1, 2), os = step_compact(MIA_f32, out, 1, 5);
    mia_window window = {.size = {2}, .before = {2}, .after = {2}};
    run(MIA_OP_max_pool, window, os, STEP_INPUTS(xs));
    assert_numbers(out, (const float[]){-INFINITY, -3, -1, -1, -INFINITY}, 5);
    run(MIA_OP_average_pool, window, os, STEP_INPUTS(xs));
    assert_numbers(out, (const float[]){NAN, -3, -2, -1, NAN}, 5);
    window.count_padding = true;
    run(MIA_OP_average_pool, window, os, STEP_INPUTS(xs));
    assert_numbers(out, (const float[]){0, -1.5f, -2, -0.5f, 0}, 5);
    window = (mia_window){.size = {2}};
    run(MIA_OP_max_pool, window, step_compact(MIA_f32, out, 1, 2),
        STEP_INPUTS(step_compact(MIA_f32, x, 1, 3)));
    assert_numbers(out, (const float[]){-1, NAN}, 2);
}

/* Further modes are pictures of their own, here in reverse order. */
static void test_pool_of_many(void **state) {
    (void)state;
    double x[3][2][2], out[3];
    for (int i = 0; i < 12; i++) x[i / 4][i / 2 % 2][i % 2] = i;
    run(MIA_OP_max_pool, (mia_window){.size = {2, 2}}, step_compact(MIA_f64, out, 3, 1, 1, 3),
        STEP_INPUTS(step_strided(MIA_f64, x, 8, 3, 2, 2, 3, 1, 2, -4)));
    assert_true(out[0] == 11 && out[1] == 7 && out[2] == 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv1d_by_hand),     cmocka_unit_test(test_conv1d_ignores_the_second_mode),
        cmocka_unit_test(test_groups_and_strides), cmocka_unit_test(test_conv2d_shifts),
        cmocka_unit_test(test_conv2d_of_a_plane),  cmocka_unit_test(test_edges_of_convolutions),
        cmocka_unit_test(test_pools_by_hand),      cmocka_unit_test(test_pools_with_padding),
        cmocka_unit_test(test_pool_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
