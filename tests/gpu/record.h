/* Programs of large steps for tests on a GPU: operands are random numbers, the same on all devices. */
#ifndef MIA_TESTS_GPU_RECORD_H
#define MIA_TESTS_GPU_RECORD_H

#include "../unit/support.h"
#include "gpu/devices.h"

#include <mia/mia.h>

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MOST = 1 << 20 };

static float floats[4][MOST];

/* Fills them, from a printed seed. Returns the seed of what else is drawn. */
static inline uint64_t draw_numbers(void) {
    uint64_t from = test_seed();
    for (size_t o = 0; o < 4; o++)
        for (size_t i = 0; i < MOST; i++) floats[o][i] = test_uniform(&from);
    return from;
}

static inline mia_tensor upload(mia_device *device, mia_shape shape, uint32_t operand) {
    return mia_tensor_upload(device, MIA_f32, shape, floats[operand], NULL, 0);
}

/* Weights: operand 0 in a type. */
static inline mia_tensor constant(mia_device *device, mia_dtype dtype, mia_shape shape) {
    const mia_dtype_info *info = mia_dtype_describe(dtype);
    size_t bytes = info->bytes;
    for (uint32_t m = 0; m < shape.ndim; m++) bytes *= (size_t)shape.extent[m];
    bytes /= info->elements;
    void *data = malloc(bytes);
    mia_error error = {0};
    assert_non_null(data);
    mia_tensor made = mia_op_convert(upload(devices[CPU], shape, 0), dtype, NULL, 0);
    if (mia_tensor_read(made, data, bytes, &error, NULL, 0) != MIA_OK) fail_msg("%s", error.message);
    mia_tensor w = mia_tensor_constant(device, dtype, shape, data, NULL, 0);
    free(data);
    return w;
}

/* --- products ------------------------------------------------------------------------------------------ */

/* What is around a product: a norm before it, an addition behind it, the silu of another that multiplies it, numbers of x
 * far from 1. */
typedef enum around { ALONE, NORM, SUM, GATED, FAR, AROUND } around;

typedef struct product_case {
    mia_dtype dtype;
    int64_t depth, rows, columns, batches;
    around around;
} product_case;

static inline mia_tensor record_product(mia_device *device, const void *what) {
    const product_case *c = what;
    const mia_shape w_shape = {3, {c->depth, c->rows, c->batches}}, none = {0};
    const float far[2] = {0x1p-40f, 0x1p40f};
    mia_tensor x = upload(device, (mia_shape){3, {c->depth, c->columns, c->batches}}, 1);
    if (c->around == NORM)
        x = mia_op_rms_norm(x, upload(device, (mia_shape){1, {c->depth}}, 2), 1e-5, NULL, 0);
    if (c->around == FAR)
        x = mia_op_mul(x, mia_tensor_upload(device, MIA_f32, none, &far[0], NULL, 0), NULL, 0);
    mia_tensor y = mia_op_matmul(constant(device, c->dtype, w_shape), mia_op_ref(x, NULL, 0), NULL, 0);
    switch (c->around) {
    case SUM: y = mia_op_add(y, upload(device, (mia_shape){1, {c->rows}}, 3), NULL, 0); break;
    case GATED:
        y = mia_op_mul(mia_op_silu(y, NULL, 0),
                       mia_op_matmul(constant(device, c->dtype, w_shape), mia_op_ref(x, NULL, 0), NULL, 0),
                       NULL, 0);
        break;
    case FAR: y = mia_op_mul(y, mia_tensor_upload(device, MIA_f32, none, &far[1], NULL, 0), NULL, 0); break;
    default: break;
    }
    mia_op_unref(x, NULL, 0);
    return y;
}

/* --- attention ----------------------------------------------------------------------------------------- */

typedef struct attention_case {
    int64_t dim, held, groups, heads, tokens;
    int32_t length;
    bool half, masked,
        lowest; /* with a mask of the least finite numbers here and there, and for whole queries */
} attention_case;

static inline mia_tensor record_attention(mia_device *device, const void *what) {
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
    const int64_t count = c->held * c->tokens;
    float *masks = malloc((size_t)count * sizeof *masks);
    assert_non_null(masks);
    for (int64_t i = 0; i < count; i++)
        masks[i] = c->lowest && (i % 3 == 0 || i / c->held % 2 == 1) ? -FLT_MAX : floats[3][i];
    mia_tensor mask =
        mia_tensor_upload(device, MIA_f32, (mia_shape){3, {c->held, c->tokens, 1}}, masks, NULL, 0);
    free(masks);
    return mia_op_attention_masked(q, k, v, mask, length, scale, NULL, 0);
}

/* --- convolutions -------------------------------------------------------------------------------------- */

typedef struct convolution_case {
    mia_shape x, w;
    mia_window window;
    bool half;
} convolution_case;

static inline mia_tensor record_convolution(mia_device *device, const void *what) {
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

#endif
