/* Kernels that bring many elements together, on shapes that the conformance test has no time for: results in parts that
 * are joined, lines longer than a tile, keys cut into ranges. The webgpu backend against the cpu's; with all that the GPU
 * has, and with the least. Skipped where no GPU opens. */
#include "../unit/support.h"
#include "gpu/devices.h"

#include <mia/mia.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 1 << 20 };

static uint64_t seed;
static float numbers[4][MOST];
static mia_device *cpu, *gpus[2];

static mia_tensor upload(mia_device *device, mia_shape shape, uint32_t operand) {
    return mia_tensor_upload(device, MIA_f32, shape, numbers[operand], NULL, 0);
}

/* --- cases ------------------------------------------------------------------------------------------- */

typedef struct rows_case {
    mia_op op;
    mia_shape shape;
    int64_t mode, k; /* or a set of modes; of top_k */
    double bound;    /* on the difference of two numbers; 0 for places */
} rows_case;

#define ONE(a)                                                                                               \
    {                                                                                                        \
        1, {                                                                                                 \
            a                                                                                                \
        }                                                                                                    \
    }
#define TWO(a, b)                                                                                            \
    {                                                                                                        \
        2, {                                                                                                 \
            a, b                                                                                             \
        }                                                                                                    \
    }

static const rows_case cases[] = {
    {MIA_OP_sum, ONE(1000003), 1, 0, 1e-2},
    {MIA_OP_sum, TWO(3001, 301), 1, 0, 1e-3},
    {MIA_OP_sum, TWO(3001, 301), 2, 0, 1e-3},
    {MIA_OP_sum, TWO(7, 100003), 2, 0, 1e-2},
    {MIA_OP_mean, TWO(8, 100001), 1, 0, 1e-6},
    {MIA_OP_reduce_max, TWO(3301, 255), 3, 0, 1e-30},
    {MIA_OP_argmax, ONE(151936), 1, 0, 0},
    {MIA_OP_argmin, TWO(33, 5001), 2, 0, 0},
    {MIA_OP_cumsum, ONE(300001), 0, 0, 5e-2},
    {MIA_OP_cumsum, TWO(3, 40001), 1, 0, 2e-2},
    {MIA_OP_softmax, ONE(50001), 0, 0, 1e-7},
    {MIA_OP_softmax, TWO(9, 50001), 0, 0, 1e-6},
    {MIA_OP_argsort, ONE(20011), 0, 0, 0},
    {MIA_OP_argsort, TWO(3, 5003), 1, 0, 0},
    {MIA_OP_argsort, TWO(5003, 3), 0, 0, 0},
    {MIA_OP_top_k_indices, ONE(128256), 0, 40, 0},
    {MIA_OP_top_k_indices, TWO(100003, 2), 0, 500, 0},
    {MIA_OP_top_k_indices, TWO(3001, 2), 0, 600, 0},
};

static mia_tensor record_rows(mia_device *device, const void *what) {
    const rows_case *c = what;
    mia_tensor x = upload(device, c->shape, 0);
    uint32_t mode = (uint32_t)c->mode;
    switch ((int)c->op) {
    case MIA_OP_sum: return mia_op_sum(x, mode, NULL, 0);
    case MIA_OP_mean: return mia_op_mean(x, mode, NULL, 0);
    case MIA_OP_reduce_max: return mia_op_reduce_max(x, mode, NULL, 0);
    case MIA_OP_argmax: return mia_op_argmax(x, mode, NULL, 0);
    case MIA_OP_argmin: return mia_op_argmin(x, mode, NULL, 0);
    case MIA_OP_cumsum: return mia_op_cumsum(x, mode, false, false, NULL, 0);
    case MIA_OP_softmax: return mia_op_softmax(x, NULL, 0);
    case MIA_OP_argsort: return mia_op_argsort(x, mode, true, NULL, 0);
    default: return mia_op_top_k_indices(x, mode, c->k, true, NULL, 0);
    }
}

typedef struct attention_case {
    int64_t dim, held, groups, heads, tokens;
    int32_t length;
    bool half, masked;
} attention_case;

static const attention_case attentions[] = {
    {64, 1000, 2, 8, 1, 777, true, false},  /* one query, ranges of keys, shared by 4 heads */
    {128, 700, 1, 8, 1, 700, false, false}, /* all rows of a cache */
    {80, 300, 2, 4, 3, 299, true, false},   /* some queries */
    {64, 200, 2, 4, 150, 200, true, false}, /* a prompt */
    {64, 200, 2, 4, 50, 150, true, true},   /* with a mask */
    {96, 2000, 1, 4, 1, 3, true, false},    /* few rows of a large cache */
};

static mia_tensor record_attention(mia_device *device, const void *what) {
    const attention_case *c = what;
    const mia_shape keys = {3, {c->dim, c->held, c->groups}}, none = {0};
    mia_tensor q = upload(device, (mia_shape){3, {c->dim, c->heads, c->tokens}}, 0);
    mia_tensor k = upload(device, keys, 1), v = upload(device, keys, 2);
    if (c->half) {
        k = mia_op_convert(k, MIA_f16, NULL, 0);
        v = mia_op_convert(v, MIA_f16, NULL, 0);
    }
    mia_tensor length = mia_tensor_upload(device, MIA_i32, none, &c->length, NULL, 0);
    double scale = 1 / sqrt((double)c->dim);
    if (!c->masked) return mia_op_attention(q, k, v, length, scale, NULL, 0);
    mia_tensor mask = upload(device, (mia_shape){3, {c->held, c->tokens, 1}}, 3);
    return mia_op_attention_masked(q, k, v, mask, length, scale, NULL, 0);
}

typedef struct convolution_case {
    mia_shape x, w;
    mia_window window;
    bool half;
} convolution_case;

static const convolution_case convolutions[] = {
    {{4, {13, 11, 12, 2}}, {4, {3, 3, 12, 70}}, {.before = {1, 1}, .after = {1, 1}}, false},
    {{4, {20, 18, 16, 1}}, {4, {3, 2, 8, 50}}, {.stride = {2, 1}, .dilation = {1, 2}, .groups = 2}, false},
    {{3, {301, 20, 1}}, {3, {3, 20, 40}}, {.stride = {2}, .before = {1}, .after = {1}}, false},
    {{3, {200, 8, 3}}, {3, {5, 8, 20}}, {.before = {2}, .after = {2}}, true},
};

static mia_tensor record_convolution(mia_device *device, const void *what) {
    const convolution_case *c = what;
    mia_tensor x = upload(device, c->x, 0), w = upload(device, c->w, 1);
    if (c->half) {
        x = mia_op_convert(x, MIA_f16, NULL, 0);
        w = mia_op_convert(w, MIA_f16, NULL, 0);
    }
    mia_tensor y =
        c->x.ndim == 3 ? mia_op_conv1d(x, w, c->window, NULL, 0) : mia_op_conv2d(x, w, c->window, NULL, 0);
    return c->half ? mia_op_convert(y, MIA_f32, NULL, 0) : y;
}

/* Behind a product is what it has read itself: x, or the weights of the norm before it. */
typedef struct residual_case {
    int64_t columns;
    bool normed, weighted;
} residual_case;

static const residual_case residuals[] = {{1, false, false},  {1, true, false},  {1, true, true},
                                          {35, false, false}, {35, true, false}, {35, true, true}};

static mia_tensor record_residual(mia_device *device, const void *what) {
    const residual_case *c = what;
    const mia_shape square = {2, {64, 64}}, column = {2, {64, 1}};
    mia_tensor w = mia_tensor_constant(device, MIA_f32, square, numbers[0], NULL, 0);
    mia_tensor x = upload(device, (mia_shape){2, {64, c->columns}}, 1),
               g = upload(device, (mia_shape){1, {64}}, 2);
    mia_tensor again =
        c->weighted ? mia_op_reshape(mia_op_ref(g, NULL, 0), column, NULL, 0) : mia_op_ref(x, NULL, 0);
    if (c->normed)
        x = mia_op_rms_norm(x, g, 1e-5, NULL, 0);
    else
        mia_op_unref(g, NULL, 0);
    return mia_op_add(mia_op_matmul(w, x, NULL, 0), again, NULL, 0);
}

/* --- comparing --------------------------------------------------------------------------------------- */

typedef mia_tensor (*recorder)(mia_device *device, const void *what);

/* Reads a value of 4 bytes an element; the caller frees. */
static void *read_value(mia_tensor t, size_t *count, mia_dtype *dtype) {
    const mia_shape shape = mia_tensor_shape(t);
    *dtype = mia_tensor_dtype(t);
    *count = 1;
    for (uint32_t m = 0; m < shape.ndim; m++) *count *= (size_t)shape.extent[m];
    void *values = malloc(*count * 4);
    mia_error error = {0};
    assert_non_null(values);
    if (mia_tensor_read(t, values, *count * 4, &error, NULL, 0) != MIA_OK) fail_msg("%s", error.message);
    return values;
}

static void compare(const char *name, size_t number, recorder record, const void *what, double bound) {
    size_t count, got_count;
    mia_dtype dtype, got_dtype;
    void *want = read_value(record(cpu, what), &count, &dtype);
    for (size_t g = 0; g < 2; g++) {
        void *got = read_value(record(gpus[g], what), &got_count, &got_dtype);
        assert_int_equal(got_count, count);
        assert_int_equal(got_dtype, dtype);
        for (size_t i = 0; i < count; i++) {
            double a = dtype == MIA_f32 ? (double)((float *)want)[i] : ((int32_t *)want)[i];
            double b = dtype == MIA_f32 ? (double)((float *)got)[i] : ((int32_t *)got)[i];
            if (!(fabs(a - b) <= bound))
                fail_msg("%s %zu%s: number %zu of %zu is %.9g, the cpu gives %.9g", name, number,
                         g == 1 ? " with the least" : "", i, count, b, a);
        }
        free(got);
    }
    free(want);
}

static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        compare(mia_op_describe(cases[i].op)->name, i, record_rows, &cases[i], cases[i].bound);
}

static void test_attention(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof attentions / sizeof *attentions; i++)
        compare("attention", i, record_attention, &attentions[i], 4e-6);
}

static void test_convolutions(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof convolutions / sizeof *convolutions; i++)
        compare("convolution", i, record_convolution, &convolutions[i], convolutions[i].half ? 0.05 : 1e-3);
}

static void test_residuals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof residuals / sizeof *residuals; i++)
        compare("residual", i, record_residual, &residuals[i], 1e-4);
}

/* --- devices ----------------------------------------------------------------------------------------- */

static int open_devices(void **state) {
    (void)state;
    seed = test_seed();
    for (size_t o = 0; o < 4; o++)
        for (size_t i = 0; i < MOST; i++) numbers[o][i] = test_uniform(&seed);
    cpu = open_cpu();
    for (size_t g = 0; g < 2; g++) gpus[g] = open_gpu(g == 1);
    return 0;
}

static int close_devices(void **state) {
    (void)state;
    mia_device *const all[] = {cpu, gpus[0], gpus[1]};
    close_all(all, 3);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_attention),
                                       cmocka_unit_test(test_convolutions), cmocka_unit_test(test_residuals)};
    return cmocka_run_group_tests_name("rows", tests, open_devices, close_devices);
}
