/* The mistakes that everybody makes in the first hour, each as a program would make it, and the exact line that
 * it is told. A line names the operation, the operand, what is wrong with it in the program's own terms (shapes,
 * types, bytes), and where the call stands; what went wrong in an earlier call names that one, too. */
#include "support.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Messages name call sites; #line gives those below names and numbers that do not move. */

static const float six[6] = {1, 2, 3, 4, 5, 6};

static mia_device *open_backend(const char *backend) {
    mia_device_options options = {.backend = backend};
    mia_device *device = NULL;
    mia_error error = {0};
    if (mia_device_open(&options, &device, &error) != MIA_OK) fail_msg("%s: %s", backend, error.message);
    return device;
}

static void close_clean(mia_device *device) {
    mia_error error = {0};
    if (mia_device_close(device, &error) != MIA_OK) fail_msg("%s", error.message);
}

/* The read at a program's end reports the mistake. */
static void read_tells(mia_tensor_f32 t, mia_status expected, const char *message) {
    float out[6] = {0};
    mia_error error = {0};
    mia_status status =
#line 99 "program.c"
        mia_read(t, out, 6, &error);
    assert_string_equal(error.message, message);
    assert_int_equal(status, expected);
    assert_int_equal(error.status, expected);
}

static void shapes_that_do_not_fit(void **state) {
    (void)state;
    mia_device *device = open_backend("cpu");
#line 10 "program.c"
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
    mia_tensor_f32 y = mia_upload(f32, device, MIA_SHAPE(2, 3), six);
    mia_tensor_f32 sum = mia_relu(mia_add(x, y)); /* the first cause, not the last operation that saw it */
    read_tells(sum, MIA_ERROR_SHAPE_MISMATCH,
               "add: shapes [3, 2] and [2, 3] do not broadcast at program.c:12");
#line 20 "program.c"
    mia_tensor_f32 w = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
    mia_tensor_f32 v = mia_matmul(w, mia_upload(f32, device, MIA_SHAPE(2, 3), six));
    read_tells(v, MIA_ERROR_SHAPE_MISMATCH,
               "matmul: shapes [3, 2] and [2, 3] do not fit: w is [K, N, ...], x [K, M, ...] at "
               "program.c:21");
#line 30 "program.c"
    mia_tensor_f32 r = mia_reshape(mia_upload(f32, device, MIA_SHAPE(3, 2), six), MIA_SHAPE(4));
    read_tells(r, MIA_ERROR_SHAPE_MISMATCH,
               "reshape: shape [3, 2] has 6 elements, shape [4] has 4 at program.c:30");
#line 40 "program.c"
    mia_tensor_f32 s = mia_slice(mia_upload(f32, device, MIA_SHAPE(3, 2), six), 0, 2, 2, 1);
    read_tells(s, MIA_ERROR_SHAPE_MISMATCH,
               "slice: 2 elements from 2 by 1 do not lie within mode 0 of shape [3, 2] at program.c:40");
#line 50 "program.c"
    mia_tensor_f32 n = mia_upload(f32, device, MIA_SHAPE(3, -2), six);
    read_tells(n, MIA_ERROR_SHAPE_MISMATCH, "upload: mode 1 of shape [3, -2] is negative at program.c:50");
    close_clean(device);
}

/* At compile time the compiler tells (tests/compile); here are types that only the run knows. */
static void types_that_do_not_fit(void **state) {
    (void)state;
    mia_device *device = open_backend("cpu");
    const int32_t three[3] = {1, 2, 3};
#line 10 "program.c"
    mia_tensor t = MIA_UNTYPED(mia_upload(i32, device, MIA_SHAPE(3), three));
    mia_tensor_f32 x = mia_as(f32, t); /* what a loader handed out is not what was hoped for */
    read_tells(x, MIA_ERROR_TYPE_MISMATCH, "as: the tensor is i32, not f32 at program.c:11");
#line 20 "program.c"
    mia_tensor a = MIA_UNTYPED(mia_upload(f32, device, MIA_SHAPE(3), six));
    mia_tensor b = MIA_UNTYPED(mia_upload(i32, device, MIA_SHAPE(3), three));
    mia_tensor_f32 sum = {mia_op_add(a, b, __FILE__, __LINE__)}; /* as another language calls it */
    read_tells(sum, MIA_ERROR_TYPE_MISMATCH, "add: operand 0 is f32, operand 1 is i32 at program.c:22");
#line 30 "program.c"
    b = MIA_UNTYPED(mia_upload(i32, device, MIA_SHAPE(3), three));
    mia_tensor_f32 g = {mia_op_gelu(b, __FILE__, __LINE__)};
    read_tells(g, MIA_ERROR_TYPE_MISMATCH,
               "gelu: operand 0 is i32; it takes f32, f16, bf16, f64, f32x4 or f16x4 at program.c:31");
    close_clean(device);
}

static void consumed_twice(void **state) {
    (void)state;
    mia_device *device = open_backend("cpu");
    float out[6];
    mia_error error = {0};
#line 10 "program.c"
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
    mia_tensor_f32 y = mia_exp(x);
    mia_tensor_f32 z = mia_sub(y, x); /* exp has it */
    read_tells(z, MIA_ERROR_CONSUMED,
               "sub: operand 1 was already consumed by exp at program.c:11 (sub at program.c:12)");
#line 20 "program.c"
    mia_tensor_f32 w = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
    assert_int_equal(mia_read(w, out, 6, &error), MIA_OK);
    read_tells(w, MIA_ERROR_CONSUMED,
               "read: the tensor was already consumed by read at program.c:21 (read at program.c:99)");
    assert_int_equal(mia_tensor_status(MIA_UNTYPED(w), &error), MIA_ERROR_CONSUMED);
    assert_string_equal(error.message, "status: the tensor was already consumed by read at program.c:21");
    mia_tensor list[1] = {MIA_UNTYPED(w)};
    assert_int_equal(mia_tensor_eval(list, 1, &error), MIA_ERROR_CONSUMED);
    assert_string_equal(error.message, "eval: the tensor was already consumed by read at program.c:21");
    close_clean(device);
}

static void a_forgotten_ref(void **state) {
    (void)state;
    mia_device *device = open_backend("cpu");
#line 10 "program.c"
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
    mia_tensor_f32 square = mia_mul(x, x);
    read_tells(square, MIA_ERROR_CONSUMED,
               "mul: operands 0 and 1 are the same handle, which can be given away only once: mia_ref makes "
               "another, at program.c:11");
    /* In a loop: the second round finds what the first gave away. */
    float out[6];
    mia_error error = {0};
    mia_status status = MIA_OK;
    mia_tensor_f32 b = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
    for (int i = 0; i < 2; i++) {
        mia_tensor_f32 a = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
#line 20 "program.c"
        mia_tensor_f32 sum = mia_add(a, b);
        status = mia_read(sum, out, 6, &error);
    }
    assert_int_equal(status, MIA_ERROR_CONSUMED);
    assert_string_equal(error.message,
                        "add: operand 1 was already consumed by add at program.c:20 (add at program.c:20)");
    /* One that was no good before the call is not blamed on the call. */
#line 30 "program.c"
    read_tells(mia_add(b, b), MIA_ERROR_CONSUMED,
               "add: operand 0 was already consumed by add at program.c:20 (add at program.c:30)");
    close_clean(device);
}

static void a_forgotten_unref(void **state) {
    (void)state;
    mia_device *device = open_backend("cpu");
    mia_error error = {0};
#line 10 "program.c"
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
    mia_tensor_f32 y = mia_exp(mia_ref(x)); /* nobody asks for y, and x is kept */
    assert_int_equal(mia_device_close(device, &error), MIA_ERROR_LEAKED);
    assert_string_equal(
        error.message,
        "2 tensors were still owned when the device was closed, made at program.c:10 (upload), "
        "program.c:11 (exp)");
    mia_unref(x);
    mia_unref(y);

    device = open_backend("cpu");
    mia_tensor_f32 kept[6];
    for (int i = 0; i < 6; i++) {
#line 20 "program.c"
        kept[i] = mia_full(f32, device, MIA_SHAPE(2), i);
    }
    assert_int_equal(mia_device_close(device, &error), MIA_ERROR_LEAKED);
    assert_string_equal(error.message,
                        "6 tensors were still owned when the device was closed, made at program.c:20 (full), "
                        "program.c:20 (full), program.c:20 (full), program.c:20 (full) and elsewhere");
    for (int i = 0; i < 6; i++) mia_unref(kept[i]);
}

static void a_device_closed_early(void **state) {
    (void)state;
    mia_device *device = open_backend("cpu");
#line 10 "program.c"
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
    mia_tensor_f32 y = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
    assert_int_equal(mia_device_close(device, NULL), MIA_ERROR_LEAKED);
#line 20 "program.c"
    mia_tensor_f32 sum = mia_relu(mia_add(mia_ref(x), x));
    /* There is no device left to keep a longer message: the line of the first call that found that. */
    read_tells(sum, MIA_ERROR_DEVICE_CLOSED,
               "the tensor could not be made in line 20: the device of a handle was closed");
    read_tells(y, MIA_ERROR_DEVICE_CLOSED,
               "read: the device of the tensor was closed (read at program.c:99)");
}

static void two_devices(void **state) {
    (void)state;
    mia_device *one = open_backend("cpu"), *two = open_backend("reference");
#line 10 "program.c"
    mia_tensor_f32 x = mia_upload(f32, one, MIA_SHAPE(3, 2), six);
    mia_tensor_f32 y = mia_upload(f32, two, MIA_SHAPE(3, 2), six);
    read_tells(mia_add(x, y), MIA_ERROR_INVALID_ARGUMENT,
               "add: operand 1 lives on another device than the operands before it (add at program.c:12)");
    close_clean(one);
    close_clean(two);
}

static void a_short_buffer(void **state) {
    (void)state;
    mia_device *device = open_backend("cpu");
    float out[6];
    mia_error error = {0};
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
#line 10 "program.c"
    mia_status status = mia_read(mia_exp(x), out, 3, &error);
    assert_int_equal(status, MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message,
                        "read: the tensor, f32 [3, 2], has 24 bytes, but the buffer has 12, at program.c:10");
    close_clean(device);
}

/* --- memory ----------------------------------------------------------------------------------- */

#define LARGE (1 << 20)

/* Refuses what is large, as a machine without the memory does. */
static void *allocate_small(void *user, size_t bytes, size_t alignment) {
    (void)user;
    void *pointer = NULL;
    if (bytes >= LARGE) return NULL;
    if (posix_memalign(&pointer, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes) != 0)
        return NULL;
    return pointer;
}

static void release_small(void *user, void *pointer, size_t bytes) {
    (void)user, (void)bytes;
    free(pointer);
}

static void no_memory(void **state) {
    (void)state;
    static float many[LARGE / sizeof(float)];
    const mia_allocator small = {allocate_small, release_small, NULL};
    mia_device_options options = {.backend = "cpu", .allocator = &small};
    mia_device *device;
    mia_error error = {0};
    assert_int_equal(mia_device_open(&options, &device, NULL), MIA_OK);
#line 10 "program.c"
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(1024, 256), many);
    read_tells(x, MIA_ERROR_NO_MEMORY,
               "upload of f32 [1024, 256]: cpu: no memory for a buffer of 1048576 bytes at program.c:10");
#line 20 "program.c"
    mia_tensor_f32 y = mia_exp(mia_full(f32, device, MIA_SHAPE(1024, 256), 1)); /* takes its memory to run */
    mia_status status = mia_read(y, many, sizeof many / sizeof many[0], &error);
    assert_int_equal(status, MIA_ERROR_NO_MEMORY);
    assert_string_equal(error.message, "a run of 1 step: cpu: no memory for a buffer of 1048576 bytes");
    close_clean(device);
}

static void over_the_limit(void **state) {
    (void)state;
    mia_device_options options = {.backend = "cpu", .max_bytes = 40};
    mia_device *device;
    mia_error error = {0};
    float out[6];
    assert_int_equal(mia_device_open(&options, &device, NULL), MIA_OK);
#line 10 "program.c"
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
    mia_tensor_f32 y = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
    read_tells(
        y, MIA_ERROR_OVER_LIMIT,
        "upload needs 24 bytes, more than the 16 that the device's limit of 40 leaves at program.c:11");
    assert_int_equal(mia_read(mia_exp(mia_ref(x)), out, 6, &error), MIA_ERROR_OVER_LIMIT);
    assert_string_equal(
        error.message,
        "a run of 1 step needs 24 bytes, more than the 16 that the device's limit of 40 leaves");
    mia_unref(x);
    close_clean(device);
}

static void an_unknown_backend(void **state) {
    (void)state;
    mia_device_options options = {.backend = "gpu"};
    mia_device *device = (mia_device *)&options;
    mia_error error = {0};
    assert_int_equal(mia_device_open(&options, &device, &error), MIA_ERROR_NOT_FOUND);
    assert_null(device);
    assert_string_equal(error.message, "no backend \"gpu\"; this build has cpu, reference, webgpu, null");
}

/* What has no device to tell it: a tensor that was never made. */
static void no_tensor(void **state) {
    (void)state;
    mia_device *device = open_backend("cpu");
    mia_tensor_f32 none = {{0}};
    read_tells(none, MIA_ERROR_INVALID_ARGUMENT, "the tensor is none (all zero)");
#line 10 "program.c"
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(3, 2), six);
    read_tells(mia_add(x, none), MIA_ERROR_INVALID_ARGUMENT,
               "add: operand 1 is no tensor (all zero) (add at program.c:11)");
#line 20 "program.c"
    x = mia_upload(f32, NULL, MIA_SHAPE(3, 2), six);
    read_tells(x, MIA_ERROR_INVALID_ARGUMENT,
               "the tensor could not be made in line 20: an argument is outside what the function takes");
    x = mia_upload(f32, device, MIA_SHAPE(3, 2), NULL);
    read_tells(x, MIA_ERROR_INVALID_ARGUMENT, "upload: the data pointer is NULL at program.c:23");
    close_clean(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_that_do_not_fit),
        cmocka_unit_test(types_that_do_not_fit),
        cmocka_unit_test(consumed_twice),
        cmocka_unit_test(a_forgotten_ref),
        cmocka_unit_test(a_forgotten_unref),
        cmocka_unit_test(a_device_closed_early),
        cmocka_unit_test(two_devices),
        cmocka_unit_test(a_short_buffer),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(over_the_limit),
        cmocka_unit_test(an_unknown_backend),
        cmocka_unit_test(no_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
