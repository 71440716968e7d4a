/* Operations that programs register, on the webgpu backend: their own WGSL alone and in fused steps, of several types, and
 * what is said of those that have none. Skipped where no GPU is found. */
#include "unit/support.h"

#include <mia/mia.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SITE  __FILE__, __LINE__
#define COUNT 1003

static mia_device *device;

/* x + f0 * y + i1 */
static double blend_number(void *user, const mia_attributes *attributes, const double *x) {
    (void)user;
    return x[0] + attributes->f[0] * x[1] + (double)attributes->i[1];
}

static mia_op must_register(const mia_op_description *description) {
    mia_op op = MIA_OP_NONE;
    mia_error error = {0};
    if (mia_op_register(device, description, &op, &error) != MIA_OK) fail_msg("%s", error.message);
    return op;
}

static const mia_attributes attributes = {.f = {0.5}, .i = {0, 3}};

static void test_alone_and_fused(void **state) {
    (void)state;
    mia_op blend =
        must_register(&(mia_op_description){.name = "blend",
                                            .operands = 2,
                                            .number = blend_number,
                                            .wgsl = "let sum = x0 + f0 * x1;\nreturn sum + f32(i1);"});
    float x[COUNT], y[COUNT], out[COUNT];
    for (int i = 0; i < COUNT; i++) x[i] = (float)(i % 64), y[i] = (float)(i % 7);
    mia_error error = {0};
    mia_tensor operands[2] = {MIA_UNTYPED(mia_upload(f32, device, MIA_SHAPE(COUNT), x)),
                              MIA_UNTYPED(mia_upload(f32, device, MIA_SHAPE(COUNT), y))};
    mia_tensor again[2] = {mia_op_ref(operands[0], SITE), mia_op_ref(operands[1], SITE)};
    mia_tensor_f32 alone = mia_call(f32, blend, operands, 2, &attributes);
    if (mia_read(alone, out, COUNT, &error) != MIA_OK) fail_msg("%s", error.message);
    for (int i = 0; i < COUNT; i++) assert_true(out[i] == x[i] + 0.5f * y[i] + 3);
    /* blend(blend(-x, y), y) squared: twice in one step, with attributes of its own */
    const mia_attributes other = {.f = {2}};
    mia_tensor inner[2] = {mia_op_neg(again[0], SITE), mia_op_ref(again[1], SITE)};
    mia_tensor outer[2] = {mia_op_call(blend, inner, 2, &attributes, SITE), again[1]};
    mia_tensor squared = mia_op_square(mia_op_call(blend, outer, 2, &other, SITE), SITE);
    uint64_t before = mia_device_count(device).kernels;
    if (mia_tensor_read(squared, out, sizeof out, &error, SITE) != MIA_OK) fail_msg("%s", error.message);
    assert_true(mia_device_count(device).kernels <= before + 1);
    for (int i = 0; i < COUNT; i++) {
        float want = -x[i] + 0.5f * y[i] + 3 + 2 * y[i];
        assert_true(out[i] == want * want);
    }
}

/* Other types come as f32, and are saturated and rounded. */
static void test_other_types(void **state) {
    (void)state;
    mia_op blend =
        must_register(&(mia_op_description){.name = "blend_integers",
                                            .operands = 2,
                                            .types = UINT64_C(1) << MIA_i8 | UINT64_C(1) << MIA_bf16,
                                            .number = blend_number,
                                            .wgsl = "return x0 + f0 * x1 + f32(i1);"});
    int8_t x[COUNT], y[COUNT], out[COUNT];
    for (int i = 0; i < COUNT; i++) x[i] = (int8_t)(i % 256 - 128), y[i] = (int8_t)(i * 7 % 256 - 128);
    mia_tensor operands[2] = {MIA_UNTYPED(mia_upload(i8, device, MIA_SHAPE(COUNT), x)),
                              MIA_UNTYPED(mia_upload(i8, device, MIA_SHAPE(COUNT), y))};
    mia_error error = {0};
    if (mia_read(mia_call(i8, blend, operands, 2, &attributes), out, COUNT, &error) != MIA_OK)
        fail_msg("%s", error.message);
    for (int i = 0; i < COUNT; i++) {
        double want = rint(x[i] + 0.5 * y[i] + 3);
        assert_int_equal(out[i], (int)(want < -128 ? -128 : want > 127 ? 127 : want));
    }
}

static void expect_refusal(const mia_op_description *description, const char *part) {
    float x[2] = {1, 2}, out[2];
    mia_op op = must_register(description);
    mia_tensor operand = MIA_UNTYPED(mia_upload(f32, device, MIA_SHAPE(2), x));
    mia_error error = {0};
    assert_int_equal(mia_tensor_read(mia_op_call(op, &operand, 1, NULL, SITE), out, sizeof out, &error, SITE),
                     MIA_ERROR_UNSUPPORTED);
    if (strstr(error.message, part) == NULL || strstr(error.message, description->name) == NULL)
        fail_msg("%s", error.message);
}

static void test_refusals(void **state) {
    (void)state;
    expect_refusal(&(mia_op_description){.name = "silent", .operands = 1, .number = blend_number}, "WGSL");
    expect_refusal(
        &(mia_op_description){.name = "broken", .operands = 1, .number = blend_number, .wgsl = "return x7;"},
        "x7");
}

static int open_device(void **state) {
    (void)state;
    mia_error error = {0};
    mia_status status = mia_device_open(&(mia_device_options){.backend = "webgpu"}, &device, &error);
    if (status == MIA_ERROR_NOT_FOUND) {
        printf("skipped: %s\n", error.message);
        exit(77);
    }
    return status == MIA_OK ? 0 : -1;
}

static int close_device(void **state) {
    (void)state;
    return mia_device_close(device, NULL) == MIA_OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_alone_and_fused),
                                       cmocka_unit_test(test_other_types), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, open_device, close_device);
}
