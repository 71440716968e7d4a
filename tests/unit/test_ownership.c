/* Ownership: reuse in place is sound in every order of reading, misuse is caught and named, leaks are
 * reported. */
#include "support.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const char *const backends[] = {"reference", "cpu"};

static mia_device *open_on(const char *backend, test_allocator *allocator) {
    mia_device_options options = {.backend = backend, .threads = 2, .allocator = &allocator->hook};
    mia_device *device = NULL;
    mia_error error = {0};
    test_allocator_init(allocator);
    if (mia_device_open(&options, &device, &error) != MIA_OK) fail_msg("%s: %s", backend, error.message);
    return device;
}

static void close_clean(mia_device *device, const test_allocator *allocator) {
    mia_error error = {0};
    if (mia_device_close(device, &error) != MIA_OK) fail_msg("%s", error.message);
    assert_int_equal(allocator->live_bytes, 0);
}

/* Messages name call sites; #line gives those below names that do not move. */
static float read_one(mia_tensor_f32 t) {
    float value = -1;
    mia_error error = {0};
    mia_status status =
#line 1 "test.c"
        mia_read(t, &value, 1, &error);
    if (status != MIA_OK) fail_msg("%s", error.message);
    return value;
}

static mia_tensor_f32 number(mia_device *device, float value) {
#line 2 "test.c"
    return mia_upload(f32, device, MIA_SHAPE(1), &value);
}

/* x = 10, u = 1, v = 100: y = x + u; z = x + v, asked for in each order. */
static void check_order(mia_device *device, int order) {
    mia_tensor_f32 x = number(device, 10);
    mia_tensor_f32 y = mia_add(mia_ref(x), number(device, 1));
    mia_tensor_f32 z = mia_add(x, number(device, 100));
    switch (order) {
    case 0:
        assert_true(read_one(y) == 11);
        assert_true(read_one(z) == 110);
        break;
    case 1:
        assert_true(read_one(z) == 110);
        assert_true(read_one(y) == 11);
        break;
    case 2: assert_true(read_one(mia_add(z, y)) == 121); break;
    case 3: assert_true(read_one(mia_add(y, z)) == 121); break;
    default: {
        mia_tensor both[2] = {MIA_UNTYPED(y), MIA_UNTYPED(z)};
        assert_int_equal(mia_tensor_eval(both, 2, NULL), MIA_OK);
        assert_true(read_one(z) == 110);
        assert_true(read_one(y) == 11);
    }
    }
}

static void test_orders_of_reading(void **state) {
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        test_allocator allocator;
        mia_device *device = open_on(backends[b], &allocator);
        for (int round = 0; round < 3; round++) /* from the second on with cached plans */
            for (int order = 0; order < 5; order++) check_order(device, order);
        assert_true(mia_device_count(device).plan_hits > 0);
        close_clean(device, &allocator);
    }
}

/* The same expression while x is, and is not, still referred to elsewhere: the plan cached for one must not
 * serve the other. */
static void test_cached_plan_and_references(void **state) {
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        test_allocator allocator;
        mia_device *device = open_on(backends[b], &allocator);
        for (int kept = 0; kept < 4; kept++) {
            mia_tensor_f32 x = number(device, 10);
            mia_tensor_f32 other = kept % 2 == 0 ? mia_ref(x) : number(device, 10);
            assert_true(read_one(mia_add(x, number(device, 1))) == 11);
            assert_true(read_one(other) == 10);
        }
        /* Referred to by a node that has not run yet. */
        for (int round = 0; round < 2; round++) {
            mia_tensor_f32 x = number(device, 10);
            mia_tensor_f32 later = mia_mul(mia_ref(x), number(device, 3));
            assert_true(read_one(mia_add(x, number(device, 1))) == 11);
            assert_true(read_one(later) == 30);
        }
        close_clean(device, &allocator);
    }
}

/* A view keeps its value's memory from being overwritten. */
static void test_views_and_reuse(void **state) {
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        test_allocator allocator;
        mia_device *device = open_on(backends[b], &allocator);
        const float data[4] = {1, 2, 3, 4};
        float out[4];
        for (int evaluated = 0; evaluated < 2; evaluated++) {
            mia_tensor_f32 x = mia_neg(mia_upload(f32, device, MIA_SHAPE(4), data));
            mia_tensor_f32 view = mia_slice(mia_ref(x), 0, 3, 4, -1);
            mia_tensor list[1] = {MIA_UNTYPED(x)};
            if (evaluated) assert_int_equal(mia_tensor_eval(list, 1, NULL), MIA_OK);
            mia_tensor_f32 sum = mia_add(x, mia_full(f32, device, MIA_SCALAR, 100));
            assert_int_equal(mia_read(sum, out, 4, NULL), MIA_OK);
            assert_true(out[0] == 99 && out[3] == 96);
            assert_int_equal(mia_read(view, out, 4, NULL), MIA_OK);
            assert_true(out[0] == -4 && out[1] == -3 && out[2] == -2 && out[3] == -1);
        }
        close_clean(device, &allocator);
    }
}

/* A state that a step consumes and returns is updated in place: no memory beyond the first. */
static void test_update_in_place(void **state) {
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        test_allocator allocator;
        mia_device *device = open_on(backends[b], &allocator);
        float part[2], out[64];
        mia_tensor_f32 cache = mia_full(f32, device, MIA_SHAPE(2, 32), 0);
        for (int32_t i = 0; i < 32; i++) {
            part[0] = (float)i;
            part[1] = (float)-i;
            cache = mia_update(cache, mia_upload(f32, device, MIA_SHAPE(2, 1), part),
                               mia_upload(i32, device, MIA_SCALAR, &i), 1);
            mia_tensor list[1] = {MIA_UNTYPED(cache)};
            assert_int_equal(mia_tensor_eval(list, 1, NULL), MIA_OK);
        }
        mia_device_counters counters = mia_device_count(device);
        assert_int_equal(counters.plans, 2); /* the first from zeros, then one that overwrites */
        assert_true(counters.peak_bytes <= sizeof out + 4 * sizeof part);
        /* While somebody else holds it, it is copied. */
        int32_t zero = 0;
        mia_tensor_f32 old = mia_ref(cache);
        part[0] = part[1] = 77;
        cache = mia_update(cache, mia_upload(f32, device, MIA_SHAPE(2, 1), part),
                           mia_upload(i32, device, MIA_SCALAR, &zero), 1);
        assert_int_equal(mia_read(cache, out, 64, NULL), MIA_OK);
        assert_true(out[0] == 77 && out[1] == 77 && out[2] == 1 && out[63] == -31);
        assert_int_equal(mia_read(old, out, 64, NULL), MIA_OK);
        assert_true(out[0] == 0 && out[62] == 31 && out[63] == -31);
        close_clean(device, &allocator);
    }
}

static void expect_message(mia_tensor_f32 t, mia_status status, const char *message) {
    float out[64];
    mia_error error = {0};
    mia_status got =
#line 3 "test.c"
        mia_read(t, out, 1, &error);
    assert_string_equal(error.message, message);
    assert_int_equal(got, status);
}

static void test_consumed_handles(void **state) {
    (void)state;
    test_allocator allocator;
    mia_device *device = open_on("reference", &allocator);
    mia_tensor_f32 x = number(device, 1), stale = x;
#line 100 "model.c"
    mia_tensor_f32 y = mia_neg(x);
#line 200 "model.c"
    expect_message(mia_add(number(device, 2), stale), MIA_ERROR_CONSUMED,
                   "add: operand 1 was already consumed by neg at model.c:100 (add at model.c:200)");
#line 210 "model.c"
    mia_tensor_f32 nested = mia_add(mia_ref(y), mia_mul(mia_ref(y), stale));
    expect_message(nested, MIA_ERROR_CONSUMED,
                   "mul: operand 1 was already consumed by neg at model.c:100 (mul at model.c:210)");
#line 300 "model.c"
    mia_tensor_f32 both = mia_add(y, y);
    expect_message(both, MIA_ERROR_CONSUMED,
                   "add: operands 0 and 1 are the same handle, which can be given away only once: mia_ref "
                   "makes another, at model.c:300");
#line 400 "model.c"
    mia_tensor_f32 z = number(device, 1);
    assert_true(read_one(z) == 1);
    assert_int_equal(mia_tensor_status(MIA_UNTYPED(z), NULL), MIA_ERROR_CONSUMED);
    expect_message(mia_neg(z), MIA_ERROR_CONSUMED,
                   "neg: the tensor was already consumed by read at test.c:1 (neg at model.c:403)");
    close_clean(device, &allocator);
}

static void test_wrong_operations(void **state) {
    (void)state;
    test_allocator allocator;
    mia_device *device = open_on("reference", &allocator);
    float data[6] = {1, 2, 3, 4, 5, 6};
#line 500 "model.c"
    mia_tensor_f32 a = mia_upload(f32, device, MIA_SHAPE(3, 2), data);
    mia_tensor_f32 b = mia_upload(f32, device, MIA_SHAPE(2, 3), data);
    mia_tensor_f32 c = mia_add(a, b);
    mia_tensor_f32 d = mia_exp(mia_reshape(c, MIA_SHAPE(6)));
    expect_message(d, MIA_ERROR_SHAPE_MISMATCH,
                   "add: shapes [3, 2] and [2, 3] do not broadcast at model.c:502");
#line 510 "model.c"
    mia_tensor_f32 e = mia_as(f32, MIA_UNTYPED(mia_upload(i32, device, MIA_SCALAR, &(int32_t){1})));
    expect_message(e, MIA_ERROR_TYPE_MISMATCH, "as: the tensor is i32, not f32 at model.c:510");
    mia_tensor_f32 f = mia_upload(f32, device, MIA_SHAPE(INT64_MAX, 4), data);
    expect_message(f, MIA_ERROR_SHAPE_MISMATCH,
                   "upload: shape [9223372036854775807, 4] of f32 is larger than any memory at model.c:512");
    mia_tensor_f32 g = mia_upload(f32, device, MIA_SHAPE(3), data);
    mia_error error = {0};
#line 520 "model.c"
    mia_status status = mia_read(g, data, 2, &error);
    assert_int_equal(status, MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message,
                        "read: the tensor, f32 [3], has 12 bytes, but the buffer has 8, at model.c:520");
    mia_tensor_f32 none = {{0}};
    expect_message(none, MIA_ERROR_INVALID_ARGUMENT, "the tensor is none (all zero)");
    close_clean(device, &allocator);
}

static void test_leaks_are_reported(void **state) {
    (void)state;
    test_allocator allocator;
    mia_device *device = open_on("cpu", &allocator);
#line 600 "model.c"
    mia_tensor_f32 a = number(device, 1);
    mia_tensor_f32 b = mia_neg(mia_ref(a));
    mia_error error = {0};
    assert_int_equal(mia_device_close(device, &error), MIA_ERROR_LEAKED);
    assert_string_equal(error.message, "2 tensors were still owned when the device was closed, made at "
                                       "test.c:2 (upload), model.c:601 (neg)");
    /* Using them is caught, also in an operation; giving them back frees what is left. */
    assert_int_equal(mia_tensor_status(MIA_UNTYPED(a), &error), MIA_ERROR_DEVICE_CLOSED);
    mia_tensor_f32 c = mia_exp(mia_ref(b));
    assert_int_equal(mia_read(c, &(float){0}, 1, &error), MIA_ERROR_DEVICE_CLOSED);
    mia_unref(a);
    mia_unref(b);
    assert_int_equal(allocator.live_bytes, 0);
}

static void test_two_devices(void **state) {
    (void)state;
    test_allocator first, second;
    mia_device *one = open_on("reference", &first), *two = open_on("reference", &second);
#line 700 "model.c"
    mia_tensor_f32 sum = mia_add(number(one, 1), number(two, 1));
    expect_message(sum, MIA_ERROR_INVALID_ARGUMENT,
                   "add: operand 1 lives on another device than the operands before it (add at model.c:700)");
    close_clean(one, &first);
    close_clean(two, &second);
}

static void test_constants_are_never_consumed(void **state) {
    (void)state;
    test_allocator allocator;
    mia_device *device = open_on("cpu", &allocator);
    const float data[2] = {3, 4};
    mia_tensor_f32 w = mia_constant(f32, device, MIA_SHAPE(2), data);
    float out[2];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mia_read(mia_mul(w, w), out, 2, NULL), MIA_OK);
        assert_true(out[0] == 9 && out[1] == 16);
    }
    assert_int_equal(mia_read(w, out, 2, NULL), MIA_OK);
    assert_true(out[0] == 3 && out[1] == 4);
    mia_unref(w);
    assert_int_equal(mia_tensor_status(MIA_UNTYPED(w), NULL), MIA_OK);
    close_clean(device, &allocator);
}

static void test_memory_limit(void **state) {
    (void)state;
    test_allocator allocator;
    test_allocator_init(&allocator);
    mia_device_options options = {.backend = "reference", .max_bytes = 100, .allocator = &allocator.hook};
    mia_device *device;
    assert_int_equal(mia_device_open(&options, &device, NULL), MIA_OK);
    float data[20] = {0};
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(20), data);
    mia_tensor_f32 y = mia_exp(mia_ref(x));
    expect_message(mia_ref(y), MIA_ERROR_INVALID_ARGUMENT,
                   "read: the tensor, f32 [20], has 80 bytes, but the buffer has 4, at test.c:3");
    mia_error error = {0};
    assert_int_equal(mia_read(mia_ref(y), data, 20, &error), MIA_ERROR_OVER_LIMIT);
    assert_string_equal(
        error.message,
        "a run of 1 step needs 80 bytes, more than the 20 that the device's limit of 100 leaves");
    mia_unref(x); /* now it can run in place: nothing was lost */
    assert_int_equal(mia_read(y, data, 20, &error), MIA_OK);
    assert_true(data[7] == 1);
    close_clean(device, &allocator);
}

static void test_long_chains_and_loops(void **state) {
    (void)state;
    test_allocator allocator;
    mia_device *device = open_on("cpu", &allocator);
    mia_tensor_f32 x = number(device, 0);
    for (int i = 0; i < 10000; i++) x = mia_add(x, number(device, 1));
    assert_true(read_one(x) == 10000);
    x = number(device, 0);
    for (int i = 0; i < 10000; i++) x = mia_add(x, number(device, 1));
    mia_unref(x); /* freed without recursion */
    size_t live = 0;
    x = number(device, 0);
    for (int i = 0; i < 20000; i++) {
        x = mia_add(x, number(device, 1));
        mia_tensor list[1] = {MIA_UNTYPED(x)};
        assert_int_equal(mia_tensor_eval(list, 1, NULL), MIA_OK);
        if (i == 1000) live = allocator.live_bytes;
    }
    assert_int_equal(allocator.live_bytes, live);
    assert_true(read_one(x) == 20000);
    close_clean(device, &allocator);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders_of_reading),
        cmocka_unit_test(test_cached_plan_and_references),
        cmocka_unit_test(test_views_and_reuse),
        cmocka_unit_test(test_update_in_place),
        cmocka_unit_test(test_consumed_handles),
        cmocka_unit_test(test_wrong_operations),
        cmocka_unit_test(test_leaks_are_reported),
        cmocka_unit_test(test_two_devices),
        cmocka_unit_test(test_constants_are_never_consumed),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_long_chains_and_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
