/* What a program computes on a GPU against what it computes on the cpu backend: with all that the GPU has, and with
 * WebGPU's least. Operands are random numbers, the same on all devices. */
#ifndef MIA_TESTS_GPU_COMPARE_H
#define MIA_TESTS_GPU_COMPARE_H

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

static uint64_t seed;
static float numbers[4][MOST];

static mia_tensor upload(mia_device *device, mia_shape shape, uint32_t operand) {
    return mia_tensor_upload(device, MIA_f32, shape, numbers[operand], NULL, 0);
}

/* Weights: operand 0 in a type. */
static mia_tensor constant(mia_device *device, mia_dtype dtype, mia_shape shape) {
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

/* --- programs ---------------------------------------------------------------------------------------- */

typedef struct attention_case {
    int64_t dim, held, groups, heads, tokens;
    int32_t length;
    bool half, masked,
        lowest; /* with a mask of the least finite numbers here and there, and for whole queries */
} attention_case;

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
    const int64_t count = c->held * c->tokens;
    float *masks = malloc((size_t)count * sizeof *masks);
    assert_non_null(masks);
    for (int64_t i = 0; i < count; i++)
        masks[i] = c->lowest && (i % 3 == 0 || i / c->held % 2 == 1) ? -FLT_MAX : numbers[3][i];
    mia_tensor mask =
        mia_tensor_upload(device, MIA_f32, (mia_shape){3, {c->held, c->tokens, 1}}, masks, NULL, 0);
    free(masks);
    return mia_op_attention_masked(q, k, v, mask, length, scale, NULL, 0);
}

typedef struct convolution_case {
    mia_shape x, w;
    mia_window window;
    bool half;
} convolution_case;

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
    void *want = read_value(record(devices[CPU], what), &count, &dtype);
    for (size_t g = GPU; g < DEVICES; g++) {
        void *got = read_value(record(devices[g], what), &got_count, &got_dtype);
        assert_int_equal(got_count, count);
        assert_int_equal(got_dtype, dtype);
        for (size_t i = 0; i < count; i++) {
            double a = dtype == MIA_f32 ? (double)((float *)want)[i] : ((int32_t *)want)[i];
            double b = dtype == MIA_f32 ? (double)((float *)got)[i] : ((int32_t *)got)[i];
            if (!(fabs(a - b) <= bound))
                fail_msg("%s %zu%s: number %zu of %zu is %.9g, the cpu gives %.9g", name, number,
                         g == LEAST ? " with the least" : "", i, count, b, a);
        }
        free(got);
    }
    free(want);
}

static int set_up(void **state) {
    (void)state;
    seed = test_seed();
    for (size_t o = 0; o < 4; o++)
        for (size_t i = 0; i < MOST; i++) numbers[o][i] = test_uniform(&seed);
    open_devices();
    return 0;
}

#endif
