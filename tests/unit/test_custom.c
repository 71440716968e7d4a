/* Operations that programs register: both kinds on every backend that computes, refusals, names in messages,
 * and allocation failure. */
#include "support.h"

#include <mia/mia.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SITE __FILE__, __LINE__

/* --- operations ------------------------------------------------------------------------------- */

/* x + f0 * y */
static double blend_number(void *user, const mia_attributes *attributes, const double *x) {
    (void)user;
    return x[0] + attributes->f[0] * x[1];
}

static void blend_floats(void *user, const mia_attributes *attributes, float *out, const float *const *x,
                         size_t count) {
    ++*(int *)user;
    for (size_t i = 0; i < count; i++) out[i] = x[0][i] + (float)attributes->f[0] * x[1][i];
}

/* Columns of [C, N] in the other order. */
static mia_status flip_shape(void *user, const mia_custom_type *operands, const mia_attributes *attributes,
                             mia_custom_type *out, mia_error *error) {
    (void)user, (void)attributes;
    if (operands[0].shape.ndim != 2)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH, "a matrix is wanted, not %u modes",
                             (unsigned)operands[0].shape.ndim);
    *out = operands[0];
    return MIA_OK;
}

static void flip_columns(const mia_custom_call *call, int64_t begin, int64_t end) {
    const mia_custom_view *x = &call->operands[0], *y = &call->output;
    for (int64_t j = begin; j < end; j++)
        for (int64_t i = 0; i < y->extent[0]; i++)
            ((float *)y->data)[i * y->stride[0] + j * y->stride[1]] =
                ((const float *)x->data)[i * x->stride[0] + (y->extent[1] - 1 - j) * x->stride[1]];
}

static void flip_reference(const mia_custom_call *call) {
    flip_columns(call, 0, call->output.extent[1]);
}

static mia_device *open_device(const char *backend) {
    mia_device *device = NULL;
    mia_error error = {0};
    mia_device_options options = {.backend = backend, .threads = 2};
    if (mia_device_open(&options, &device, &error) != MIA_OK) fail_msg("%s", error.message);
    return device;
}

static void close_device(mia_device *device) {
    mia_error error = {0};
    if (mia_device_close(device, &error) != MIA_OK) fail_msg("%s", error.message);
}

static mia_op must_register(mia_device *device, const mia_op_description *description) {
    mia_op op = MIA_OP_NONE;
    mia_error error = {0};
    if (mia_op_register(device, description, &op, &error) != MIA_OK) fail_msg("%s", error.message);
    assert_true(op >= MIA_OP_CUSTOM);
    return op;
}

static const char *const computing[] = {"cpu", "reference"};

/* --- tests ------------------------------------------------------------------------------------ */

static void test_elementwise(void **state) {
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        int calls = 0;
        mia_device *device = open_device(computing[b]);
        mia_op_description description = {
            .name = "blend", .operands = 2, .number = blend_number, .floats = blend_floats, .user = &calls};
        mia_op blend = must_register(device, &description);
        float numbers[5000], out[15000];
        for (int i = 0; i < 5000; i++) numbers[i] = (float)i;
        const float row[3] = {10, 20, 30};
        mia_tensor operands[2] = {
            mia_op_reshape(MIA_UNTYPED(mia_upload(f32, device, MIA_SHAPE(5000), numbers)), MIA_SHAPE(1, 5000),
                           SITE),
            MIA_UNTYPED(mia_upload(f32, device, MIA_SHAPE(3), row))};
        const mia_attributes half = {.f = {0.5}};
        mia_tensor_f32 y = mia_call(f32, blend, operands, 2, &half);
        mia_error error = {0};
        if (mia_read(y, out, 15000, &error) != MIA_OK) fail_msg("%s", error.message);
        for (int i = 0; i < 15000; i++)
            if (out[i] != numbers[i / 3] + 0.5f * row[i % 3]) fail_msg("%d: %g", i, (double)out[i]);
        close_device(device);
    }
}

/* Types other than f32 go by way of numbers, rounded once. */
static void test_other_types(void **state) {
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        int calls = 0;
        mia_device *device = open_device(computing[b]);
        mia_op_description description = {.name = "blend",
                                          .operands = 2,
                                          .types = UINT64_C(1) << MIA_f64 | UINT64_C(1) << MIA_i8,
                                          .number = blend_number,
                                          .floats = blend_floats,
                                          .user = &calls};
        mia_op blend = must_register(device, &description);
        const mia_attributes third = {.f = {1.0 / 3}};
        mia_tensor operands[2] = {MIA_UNTYPED(mia_scalar(f64, device, 1)),
                                  MIA_UNTYPED(mia_scalar(f64, device, 2))};
        double wide = 0;
        assert_int_equal(mia_read(mia_call(f64, blend, operands, 2, &third), &wide, 1, NULL), MIA_OK);
        assert_true(wide == 1 + 1.0 / 3 * 2);
        operands[0] = MIA_UNTYPED(mia_scalar(i8, device, 100));
        operands[1] = MIA_UNTYPED(mia_scalar(i8, device, 100));
        int8_t narrow = 0;
        assert_int_equal(mia_read(mia_call(i8, blend, operands, 2, &third), &narrow, 1, NULL), MIA_OK);
        assert_int_equal(narrow, 127);
        operands[0] = MIA_UNTYPED(mia_scalar(f32, device, 1));
        operands[1] = MIA_UNTYPED(mia_scalar(f32, device, 1));
        mia_error error = {0};
        float single;
        assert_int_equal(mia_read(mia_call(f32, blend, operands, 2, NULL), &single, 1, &error),
                         MIA_ERROR_TYPE_MISMATCH);
        assert_non_null(strstr(error.message, "blend: operand 0 is f32; it takes f64 or i8"));
        close_device(device);
    }
}

static void test_shaped(void **state) {
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        mia_device *device = open_device(computing[b]);
        mia_op_description description = {.name = "flip",
                                          .operands = 1,
                                          .shape = flip_shape,
                                          .reference = flip_reference,
                                          .cpu = flip_columns};
        mia_op flip = must_register(device, &description);
        float numbers[17 * 257], out[17 * 257];
        for (int i = 0; i < 17 * 257; i++) numbers[i] = (float)i;
        mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(257, 17), numbers);
        mia_tensor turned = MIA_UNTYPED(mia_transpose(mia_ref(x), 0, 1)); /* [17, 257] by strides */
        mia_error error = {0};
        if (mia_read(mia_call(f32, flip, &turned, 1, NULL), out, 17 * 257, &error) != MIA_OK)
            fail_msg("%s", error.message);
        for (int i = 0; i < 17; i++)
            for (int j = 0; j < 257; j++) assert_true(out[j * 17 + i] == numbers[i * 257 + 256 - j]);
        mia_tensor vector = MIA_UNTYPED(mia_reshape(x, MIA_SHAPE(17 * 257)));
        assert_int_equal(mia_read(mia_call(f32, flip, &vector, 1, NULL), out, 17 * 257, &error),
                         MIA_ERROR_SHAPE_MISMATCH);
        assert_non_null(strstr(error.message, "flip: a matrix is wanted, not 1 modes"));
        close_device(device);
    }
}

static void refused(mia_device *device, const mia_op_description *description, const char *why) {
    mia_op op = MIA_OP_NONE;
    mia_error error = {0};
    assert_int_equal(mia_op_register(device, description, &op, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, why);
}

static void test_refusals(void **state) {
    (void)state;
    mia_device *device = open_device("cpu");
    mia_op_description good = {.name = "blend", .operands = 2, .number = blend_number}, bad = good;
    mia_op blend = must_register(device, &good);
    refused(device, &good, "register: there is an operation blend already");
    bad.name = "softmax";
    refused(device, &bad, "register: there is an operation softmax already");
    bad.name = "7up";
    refused(device, &bad, "register: \"7up\" is no name of an operation");
    bad.name = "other", bad.operands = 7;
    refused(device, &bad, "register: other has 7 operands; 1 to 6 can be");
    bad.operands = 1, bad.number = NULL;
    refused(device, &bad, "register: other needs either number, or shape and reference");
    bad.number = blend_number, bad.shape = flip_shape;
    refused(device, &bad, "register: other needs either number, or shape and reference");

    assert_string_equal(mia_op_describe_on(device, blend)->name, "blend");
    assert_string_equal(mia_op_describe_on(device, MIA_OP_add)->name, "add");
    assert_null(mia_op_describe_on(device, (mia_op)(blend + 1)));

    mia_error error = {0};
    mia_tensor x[2] = {MIA_UNTYPED(mia_scalar(f32, device, 1)), MIA_UNTYPED(mia_scalar(f32, device, 1))};
    mia_tensor y = mia_op_call((mia_op)(blend + 1), x, 2, NULL, "model.c", 7);
    assert_int_equal(mia_tensor_status(y, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "operation 257 is not registered on this device at model.c:7");
    mia_op_unref(y, SITE);
    x[0] = MIA_UNTYPED(mia_scalar(f32, device, 1));
    y = mia_op_call(blend, x, 1, NULL, "model.c", 8);
    assert_int_equal(mia_tensor_status(y, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "blend takes 2 operands, not 1 at model.c:8");
    mia_op_unref(y, SITE);
    close_device(device);
}

/* Its neighbours run in the same step, on either side of it, with the numbers of steps of their own. */
static void test_fuses(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++) {
        float out[2][257];
        uint64_t kernels[2];
        for (int plain = 0; plain < 2; plain++) {
            int calls = 0;
            mia_error error = {0};
            mia_device *device = NULL;
            mia_device_options options = {.no_fusion = plain == 1};
            if (mia_device_open(&options, &device, &error) != MIA_OK) fail_msg("%s", error.message);
            mia_op_description description = {.name = "blend",
                                              .operands = 2,
                                              .number = blend_number,
                                              .floats = type == 0 ? blend_floats : NULL,
                                              .user = &calls};
            mia_op blend = must_register(device, &description);
            float numbers[257];
            for (int i = 0; i < 257; i++) numbers[i] = (float)i / 17 - 8;
            mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(257), numbers);
            const mia_tensor operands[2] = {MIA_UNTYPED(mia_tanh(mia_ref(x))),
                                            MIA_UNTYPED(mia_mul(mia_ref(x), 3))};
            const mia_attributes third = {.f = {1.0 / 3}};
            mia_tensor_f32 y = mia_call(f32, blend, operands, 2, &third);
            y = mia_exp(mia_sub(y, x));
            uint64_t before = mia_device_count(device).kernels;
            if (mia_read(y, out[plain], 257, &error) != MIA_OK) fail_msg("%s", error.message);
            kernels[plain] = mia_device_count(device).kernels - before;
            assert_int_equal(mia_device_count(device).fallbacks, 0);
            close_device(device);
        }
        assert_int_equal(kernels[0], 1);
        assert_int_equal(kernels[1], 5);
        assert_memory_equal(out[0], out[1], sizeof out[0]);
    }
}

/* What it consumed is named after it. */
static void test_named_in_messages(void **state) {
    (void)state;
    mia_device *device = open_device("cpu");
    mia_op_description good = {.name = "blend", .operands = 2, .number = blend_number};
    mia_op blend = must_register(device, &good);
    mia_tensor_f32 a = mia_scalar(f32, device, 1), b = mia_scalar(f32, device, 2);
    const mia_tensor operands[2] = {MIA_UNTYPED(a), MIA_UNTYPED(b)};
    mia_op_unref(mia_op_call(blend, operands, 2, NULL, "model.c", 41), SITE);
    mia_error error = {0};
    mia_tensor poisoned = mia_op_ref(a.untyped, SITE);
    assert_int_equal(mia_tensor_status(poisoned, &error), MIA_ERROR_CONSUMED);
    assert_non_null(strstr(error.message, "already consumed by blend at model.c:41"));
    mia_op_unref(poisoned, SITE);
    close_device(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elementwise), cmocka_unit_test(test_other_types),
        cmocka_unit_test(test_shaped),      cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_fuses),       cmocka_unit_test(test_named_in_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
