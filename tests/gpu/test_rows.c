/* Kernels that bring many elements together, on shapes that the conformance test has no time for: results in parts that
 * are joined, lines longer than a tile, keys cut into ranges. The webgpu backend against the cpu's; with all that the GPU
 * has, and with the least. Skipped where no GPU opens. */
#include "gpu/compare.h"

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

static const attention_case attentions[] = {
    {64, 1000, 2, 8, 1, 777, true, false, false},  /* one query, ranges of keys, shared by 4 heads */
    {128, 700, 1, 8, 1, 700, false, false, false}, /* all rows of a cache */
    {80, 300, 2, 4, 3, 299, true, false, false},   /* some queries */
    {64, 200, 2, 4, 150, 200, true, false, false}, /* a prompt */
    {64, 200, 2, 4, 50, 150, true, true, false},   /* with a mask */
    {64, 200, 2, 4, 50, 150, true, true, true},    /* with one of the least finite numbers */
    {32, 50, 1, 2, 2, 40, false, true, true},      /* the same of few queries */
    {96, 2000, 1, 4, 1, 3, true, false, false},    /* few rows of a large cache */
};

static const convolution_case convolutions[] = {
    {{4, {13, 11, 12, 2}}, {4, {3, 3, 12, 70}}, {.before = {1, 1}, .after = {1, 1}}, false},
    {{4, {20, 18, 16, 1}}, {4, {3, 2, 8, 50}}, {.stride = {2, 1}, .dilation = {1, 2}, .groups = 2}, false},
    {{3, {301, 20, 1}}, {3, {3, 20, 40}}, {.stride = {2}, .before = {1}, .after = {1}}, false},
    {{3, {200, 8, 3}}, {3, {5, 8, 20}}, {.before = {2}, .after = {2}}, true},
};

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
    mia_tensor w = mia_tensor_constant(device, MIA_f32, square, floats[0], NULL, 0);
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

/* Every index looks at all of them: long work, in several dispatches. */
static mia_tensor record_scattered(mia_device *device, const void *what) {
    enum { PLACES = 300, PARTS = 700, LINES = 200 };
    int32_t indices[PARTS];
    (void)what;
    for (int i = 0; i < PARTS; i++) indices[i] = (int32_t)((floats[2][i] + 1) * (PLACES / 2));
    mia_tensor ids = mia_tensor_upload(device, MIA_i32, (mia_shape){1, {PARTS}}, indices, NULL, 0);
    mia_tensor x = upload(device, (mia_shape){2, {LINES, PLACES}}, 0),
               part = upload(device, (mia_shape){2, {LINES, PARTS}}, 1);
    return mia_op_scatter(x, ids, part, 1, MIA_SCATTER_ADD, NULL, 0);
}

static void test_scattered(void **state) {
    (void)state;
    compare("scatter", 0, record_scattered, NULL, 1e-5);
}

/* A product whose operands lie in one buffer, or are followed by what is no number. */
typedef enum shared_kind { SQUARE, BLOB, NORMED_BLOB, BEFORE_INFINITY } shared_kind;

typedef struct shared_case {
    shared_kind kind;
    int64_t size, columns;
} shared_case;

static const shared_case shared[] = {
    {SQUARE, 8, 0},           {SQUARE, 100, 0},         {BLOB, 64, 1},
    {BLOB, 64, 33},           {NORMED_BLOB, 64, 1},     {NORMED_BLOB, 64, 33},
    {BEFORE_INFINITY, 32, 1}, {BEFORE_INFINITY, 32, 2}, {BEFORE_INFINITY, 96, 20}};

/* Numbers of a vector from a place on, in another shape. */
static mia_tensor slice(mia_tensor all, int64_t from, mia_shape shape) {
    int64_t count = 1;
    for (uint32_t m = 0; m < shape.ndim; m++) count *= shape.extent[m];
    return mia_op_reshape(mia_op_slice(all, 0, from, count, 1, NULL, 0), shape, NULL, 0);
}

static mia_tensor record_shared(mia_device *device, const void *what) {
    const shared_case *c = what;
    const int64_t n = c->size, at = 3 + n * n;
    mia_tensor all = upload(device, (mia_shape){1, {20000}}, 0);
    const mia_shape square = {2, {n, n}}, some = {2, {n, c->columns}}, row = {1, {n}};
    switch (c->kind) {
    case SQUARE: {
        mia_tensor x = upload(device, square, 1);
        mia_tensor product =
            mia_op_matmul(mia_op_transpose(mia_op_ref(x, NULL, 0), 0, 1, NULL, 0), x, NULL, 0);
        return mia_op_add(product, slice(all, 5, row), NULL, 0);
    }
    case BLOB: {
        mia_tensor w = slice(mia_op_ref(all, NULL, 0), 3, square);
        return mia_op_relu(mia_op_matmul(w, slice(all, at + 1, some), NULL, 0), NULL, 0);
    }
    case NORMED_BLOB: {
        mia_tensor w = slice(mia_op_ref(all, NULL, 0), 3, square);
        mia_tensor x = mia_op_rms_norm(upload(device, some, 1), slice(all, at + 1, row), 1e-5, NULL, 0);
        return mia_op_matmul(w, x, NULL, 0);
    }
    default: {
        float weights[1000];
        for (int64_t i = 0; i < 1000; i++) weights[i] = i < n ? floats[2][i] : INFINITY;
        mia_op_unref(all, NULL, 0);
        all = mia_tensor_upload(device, MIA_f32, (mia_shape){1, {1000}}, weights, NULL, 0);
        mia_tensor x = mia_op_rms_norm(upload(device, some, 1), slice(all, 0, row), 1e-5, NULL, 0);
        return mia_op_matmul(constant(device, MIA_q8_0, (mia_shape){2, {n, 8}}), x, NULL, 0);
    }
    }
}

static void test_shared(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        compare("shared", i, record_shared, &shared[i], shared[i].kind == BEFORE_INFINITY ? 0.3 : 0.05);
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows),         cmocka_unit_test(test_attention),
                                       cmocka_unit_test(test_convolutions), cmocka_unit_test(test_residuals),
                                       cmocka_unit_test(test_shared),       cmocka_unit_test(test_scattered)};
    return cmocka_run_group_tests_name("rows", tests, set_up, close_devices);
}
