/* Tapes: recorded once, run with other inputs; what they may overwrite; what they refuse. On cpu, reference and
 * null. */
#include "support.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static mia_device *open_device(const mia_device_options *options) {
    mia_device *device = NULL;
    mia_error error = {0};
    if (mia_device_open(options, &device, &error) != MIA_OK) fail_msg("%s", error.message);
    return device;
}

static void close_device(mia_device *device) {
    mia_error error = {0};
    if (mia_device_close(device, &error) != MIA_OK) fail_msg("%s", error.message);
}

static mia_tape *record(const mia_named *inputs, size_t input_count, const mia_named *outputs,
                        size_t output_count) {
    mia_tape *tape = NULL;
    mia_error error = {0};
    if (mia_tape_record(inputs, input_count, outputs, output_count, &tape, &error) != MIA_OK)
        fail_msg("%s", error.message);
    return tape;
}

/* y = x * w + b and its sum, of [3]. */
static mia_tape *record_line(mia_device *device) {
    const float w[3] = {1, 2, 3};
    mia_tensor_f32 x = mia_input(f32, device, MIA_SHAPE(3)), b = mia_input(f32, device, MIA_SHAPE(1));
    mia_tensor_f32 y = mia_add(mia_mul(mia_ref(x), mia_constant(f32, device, MIA_SHAPE(3), w)), mia_ref(b));
    mia_tensor_f32 s = mia_sum(mia_ref(y), MIA_ALL_MODES);
    const mia_named inputs[2] = {{"x", x.untyped}, {"b", b.untyped}};
    const mia_named outputs[2] = {{"y", y.untyped}, {"s", s.untyped}};
    mia_tape *tape = record(inputs, 2, outputs, 2);
    mia_unref(x);
    mia_unref(b);
    mia_unref(y);
    mia_unref(s);
    return tape;
}

static void run_line(mia_device *device, mia_tape *tape, float first, float bias) {
    const float numbers[3] = {first, 1, 1};
    mia_tensor inputs[2] = {MIA_UNTYPED(mia_upload(f32, device, MIA_SHAPE(3), numbers)),
                            MIA_UNTYPED(mia_reshape(mia_scalar(f32, device, bias), MIA_SHAPE(1)))};
    mia_tensor outputs[2];
    mia_error error = {0};
    if (mia_tape_run(tape, inputs, outputs, &error) != MIA_OK) fail_msg("%s", error.message);
    float y[3], s[1];
    assert_int_equal(mia_read(mia_as(f32, outputs[0]), y, 3, &error), MIA_OK);
    assert_int_equal(mia_read(mia_as(f32, outputs[1]), s, 1, &error), MIA_OK);
    assert_true(y[0] == first + bias && y[1] == 2 + bias && y[2] == 3 + bias);
    assert_true(s[0] == first + 5 + 3 * bias);
}

static void test_runs(void **state) {
    (void)state;
    static const char *const backends[] = {"cpu", "reference"};
    for (size_t i = 0; i < 2; i++) {
        mia_device *device = open_device(&(mia_device_options){.backend = backends[i]});
        mia_tape *tape = record_line(device);
        assert_int_equal(mia_tape_input_count(tape), 2);
        assert_string_equal(mia_tape_input(tape, 1).name, "b");
        assert_string_equal(mia_tape_output(tape, 1).name, "s");
        assert_int_equal(mia_tape_output(tape, 0).shape.extent[0], 3);
        assert_null(mia_tape_output(tape, 2).name);
        for (int r = 0; r < 5; r++) run_line(device, tape, (float)r, (float)(10 * r));
        uint64_t plans = mia_device_count(device).plans;
        for (int r = 0; r < 20; r++) run_line(device, tape, (float)r, 1);
        assert_int_equal(mia_device_count(device).plans, plans); /* planned once */
        mia_tape_close(tape);
        close_device(device);
    }
}

/* A cache that a run consumes and returns: in place when unique, copied when not. */
static void test_state(void **state) {
    (void)state;
    mia_device *device = open_device(NULL);
    mia_tensor_f32 cache = mia_input(f32, device, MIA_SHAPE(2, 8)),
                   row = mia_input(f32, device, MIA_SHAPE(2, 1));
    mia_tensor_i32 at = mia_input(i32, device, MIA_SHAPE(1));
    mia_tensor_f32 next = mia_update(mia_ref(cache), mia_ref(row), mia_ref(at), 1);
    const mia_named inputs[3] = {{"cache", cache.untyped}, {"row", row.untyped}, {"at", at.untyped}};
    mia_tape *tape = record(inputs, 3, &(mia_named){"cache", next.untyped}, 1);
    mia_unref(cache), mia_unref(row), mia_unref(at), mia_unref(next);

    float zeros[16] = {0};
    mia_tensor now = MIA_UNTYPED(mia_upload(f32, device, MIA_SHAPE(2, 8), zeros));
    mia_tensor kept = mia_ref(now);
    for (int32_t i = 0; i < 8; i++) {
        const float numbers[2] = {(float)i, (float)-i};
        const mia_tensor in[3] = {now, MIA_UNTYPED(mia_upload(f32, device, MIA_SHAPE(2, 1), numbers)),
                                  MIA_UNTYPED(mia_upload(i32, device, MIA_SHAPE(1), &i))};
        uint64_t before = mia_device_count(device).bytes;
        mia_error error = {0};
        if (mia_tape_run(tape, in, &now, &error) != MIA_OK) fail_msg("%s", error.message);
        uint64_t after = mia_device_count(device).bytes;
        if (i > 0) assert_true(after < before); /* the row and the position went, nothing came */
    }
    float out[16];
    assert_int_equal(mia_read(mia_as(f32, now), out, 16, NULL), MIA_OK);
    for (int i = 0; i < 8; i++) assert_true(out[2 * i] == (float)i && out[2 * i + 1] == (float)-i);
    assert_int_equal(mia_read(mia_as(f32, kept), out, 16, NULL), MIA_OK);
    for (int i = 0; i < 16; i++) assert_true(out[i] == 0);
    mia_tape_close(tape);
    close_device(device);
}

/* Borrowed memory is somebody else's: a run copies what it would overwrite. */
static void test_borrowed(void **state) {
    (void)state;
    mia_device *device = open_device(NULL);
    mia_tensor_f32 x = mia_input(f32, device, MIA_SHAPE(4)), y = mia_exp(mia_ref(x));
    mia_tape *tape = record(&(mia_named){"x", x.untyped}, 1, &(mia_named){"y", y.untyped}, 1);
    mia_unref(x), mia_unref(y);
    _Alignas(64) static float numbers[4] = {0, 0, 0, 0};
    const mia_tensor in = MIA_UNTYPED(mia_borrow(f32, device, MIA_SHAPE(4), numbers, NULL, NULL));
    mia_tensor out;
    float got[4];
    assert_int_equal(mia_tape_run(tape, &in, &out, NULL), MIA_OK);
    assert_int_equal(mia_read(mia_as(f32, out), got, 4, NULL), MIA_OK);
    for (int i = 0; i < 4; i++) assert_true(got[i] == 1 && numbers[i] == 0);
    mia_tape_close(tape);
    close_device(device);
}

/* Inputs that have not run, are views, are one value twice, or come out again. */
static void test_inputs(void **state) {
    (void)state;
    mia_device *device = open_device(NULL);
    mia_tensor_f32 a = mia_input(f32, device, MIA_SHAPE(2, 2)), b = mia_input(f32, device, MIA_SHAPE(2, 2));
    mia_tensor_f32 sum = mia_add(mia_ref(a), mia_ref(b));
    mia_tensor_f32 turned = mia_transpose(mia_ref(a), 0, 1), column = mia_slice(mia_ref(b), 1, 1, 1, 1);
    const mia_named inputs[2] = {{"a", a.untyped}, {"b", b.untyped}};
    const mia_named outputs[4] = {
        {"sum", sum.untyped}, {"turned", turned.untyped}, {"column", column.untyped}, {"a", a.untyped}};
    mia_tape *tape = record(inputs, 2, outputs, 4);
    mia_unref(a), mia_unref(b), mia_unref(sum), mia_unref(turned), mia_unref(column);

    const float numbers[4] = {1, 2, 3, 4};
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(2, 2), numbers);
    for (int round = 0; round < 3; round++) {
        mia_tensor in[2] = {mia_ref(x).untyped, mia_ref(x).untyped};
        if (round == 1) { /* pending, and a view of what is pending */
            mia_unref(in[0]), mia_unref(in[1]);
            mia_tensor_f32 twice = mia_mul(mia_ref(x), 2);
            in[0] = MIA_UNTYPED(mia_transpose(mia_ref(twice), 0, 1));
            in[1] = MIA_UNTYPED(twice);
        }
        if (round == 2) { /* a constant, and one number repeated */
            mia_unref(in[0]), mia_unref(in[1]);
            in[0] = MIA_UNTYPED(mia_constant(f32, device, MIA_SHAPE(2, 2), numbers));
            in[1] = MIA_UNTYPED(mia_full(f32, device, MIA_SHAPE(2, 2), 7));
        }
        mia_tensor out[4];
        mia_error error = {0};
        if (mia_tape_run(tape, in, out, &error) != MIA_OK) fail_msg("%s", error.message);
        static const float want_sum[3][4] = {{2, 4, 6, 8}, {4, 10, 10, 16}, {8, 9, 10, 11}};
        static const float want_turned[3][4] = {{1, 3, 2, 4}, {2, 4, 6, 8}, {1, 3, 2, 4}};
        static const float want_column[3][2] = {{3, 4}, {6, 8}, {7, 7}};
        static const float want_a[3][4] = {{1, 2, 3, 4}, {2, 6, 4, 8}, {1, 2, 3, 4}};
        float got[4];
        assert_int_equal(mia_read(mia_as(f32, out[0]), got, 4, NULL), MIA_OK);
        assert_memory_equal(got, want_sum[round], sizeof got);
        assert_int_equal(mia_read(mia_as(f32, out[1]), got, 4, NULL), MIA_OK);
        assert_memory_equal(got, want_turned[round], sizeof got);
        assert_int_equal(mia_read(mia_as(f32, out[2]), got, 2, NULL), MIA_OK);
        assert_memory_equal(got, want_column[round], 2 * sizeof *got);
        assert_int_equal(mia_read(mia_as(f32, out[3]), got, 4, NULL), MIA_OK);
        assert_memory_equal(got, want_a[round], sizeof got);
    }
    mia_unref(x);
    mia_tape_close(tape);
    close_device(device);
}

static void expect(mia_status status, mia_status want, const mia_error *error, const char *message) {
    assert_int_equal(status, want);
    assert_string_equal(error->message, message);
}

static void test_refusals(void **state) {
    (void)state;
    mia_device *device = open_device(NULL);
    mia_tensor_f32 x = mia_input(f32, device, MIA_SHAPE(3)), y = mia_exp(mia_ref(x));
    mia_tensor_f32 part = mia_slice(mia_ref(x), 0, 0, 2, 1), later = mia_exp(mia_ref(x));
    mia_named in = {"x", x.untyped}, out = {"y", y.untyped};
    mia_tape *tape = NULL;
    mia_error error = {0};
    expect(mia_tape_record(&in, 1, &out, 0, &tape, &error), MIA_ERROR_INVALID_ARGUMENT, &error,
           "record: a tape of 1 inputs and 0 outputs");
    in.name = "";
    expect(mia_tape_record(&in, 1, &out, 1, &tape, &error), MIA_ERROR_INVALID_ARGUMENT, &error,
           "record: \"\" is no name that is not taken, for a value of a tape");
    const mia_named twice[2] = {{"a", x.untyped}, {"b", x.untyped}};
    expect(mia_tape_record(twice, 2, &out, 1, &tape, &error), MIA_ERROR_INVALID_ARGUMENT, &error,
           "record: inputs a and b are the same value");
    in = (mia_named){"p", part.untyped};
    expect(mia_tape_record(&in, 1, &out, 1, &tape, &error), MIA_ERROR_INVALID_ARGUMENT, &error,
           "record: input p is a view; an input is a whole value that exists");
    in.tensor = later.untyped;
    expect(mia_tape_record(&in, 1, &out, 1, &tape, &error), MIA_ERROR_INVALID_ARGUMENT, &error,
           "record: input p is not evaluated; an input is a whole value that exists");
    assert_null(tape);

    float numbers[3];
    expect(mia_read(mia_ref(y), numbers, 3, &error), MIA_ERROR_INVALID_ARGUMENT, &error,
           "a run of 1 step: an input that a tape is recorded with has no numbers to compute with");
    expect(mia_read(mia_ref(x), numbers, 3, &error), MIA_ERROR_INVALID_ARGUMENT, &error,
           "read: an input that a tape is recorded with has no numbers");

    in = (mia_named){"x", x.untyped};
    tape = record(&in, 1, &out, 1);
    mia_tensor bad = MIA_UNTYPED(mia_full(f32, device, MIA_SHAPE(4), 1)), made;
    expect(mia_tape_run(tape, &bad, &made, &error), MIA_ERROR_SHAPE_MISMATCH, &error,
           "tape: input x is f32 [4], it takes f32 [3]");
    expect(mia_tensor_status(made, &error), MIA_ERROR_SHAPE_MISMATCH, &error,
           "tape: input x is f32 [4], it takes f32 [3]");
    mia_unref(made);
    bad = MIA_UNTYPED(mia_full(i32, device, MIA_SHAPE(3), 1));
    expect(mia_tape_run(tape, &bad, &made, &error), MIA_ERROR_TYPE_MISMATCH, &error,
           "tape: input x is i32 [3], it takes f32 [3]");
    mia_unref(made);
    mia_unref(x), mia_unref(y), mia_unref(part), mia_unref(later);
    close_device(device); /* before the tape */
    bad = made = (mia_tensor){0};
    expect(mia_tape_run(tape, &bad, &made, &error), MIA_ERROR_DEVICE_CLOSED, &error,
           "tape: its device was closed");
    mia_tape_close(tape);
    mia_tape_close(NULL);
}

/* A limit that a run would pass is an error with both numbers, and everything goes on. */
static void test_limit(void **state) {
    (void)state;
    mia_device *device = open_device(&(mia_device_options){.max_bytes = 100000});
    mia_tensor_f32 x = mia_input(f32, device, MIA_SHAPE(1));
    mia_tensor_f32 y = mia_copy(mia_broadcast(mia_ref(x), MIA_SHAPE(100000)));
    mia_tape *tape = record(&(mia_named){"x", x.untyped}, 1, &(mia_named){"y", y.untyped}, 1);
    mia_unref(x), mia_unref(y);
    mia_plan_info info;
    assert_int_equal(mia_tape_plan(tape, &info, NULL), MIA_OK);
    assert_int_equal(info.output_bytes, 400000);
    assert_int_equal(info.input_bytes, 4);
    mia_tensor in = MIA_UNTYPED(mia_scalar(f32, device, 1)), out;
    in = mia_op_reshape(in, MIA_SHAPE(1), NULL, 0);
    mia_error error = {0};
    assert_int_equal(mia_tape_run(tape, &in, &out, &error), MIA_ERROR_OVER_LIMIT);
    assert_non_null(strstr(error.message, "400000"));
    assert_non_null(strstr(error.message, "100000"));
    mia_unref(out);
    mia_tape_close(tape);
    close_device(device);
}

/* --- every allocation fails once --------------------------------------------------------------- */

static mia_status whole_life(const mia_allocator *allocator) {
    mia_device *device = NULL;
    mia_error error = {0};
    mia_status status =
        mia_device_open(&(mia_device_options){.allocator = allocator, .threads = 1}, &device, &error);
    if (status != MIA_OK) return status;
    mia_tensor_f32 x = mia_input(f32, device, MIA_SHAPE(3)), b = mia_full(f32, device, MIA_SHAPE(3), 2);
    mia_tensor_f32 y = mia_mul(mia_ref(x), b);
    const mia_named in = {"x", x.untyped}, out = {"y", y.untyped};
    mia_tape *tape = NULL;
    status = mia_tape_record(&in, 1, &out, 1, &tape, &error);
    mia_unref(x), mia_unref(y);
    for (int i = 0; status == MIA_OK && i < 2; i++) {
        const mia_tensor value = MIA_UNTYPED(mia_copy(mia_full(f32, device, MIA_SHAPE(3), 3)));
        mia_tensor made;
        float numbers[3] = {0};
        status = mia_tape_run(tape, &value, &made, &error);
        if (status == MIA_OK)
            status = mia_read(mia_as(f32, made), numbers, 3, &error);
        else
            mia_unref(made);
        if (status == MIA_OK) assert_true(numbers[2] == 6);
    }
    mia_tape_close(tape);
    assert_int_equal(mia_device_close(device, NULL), MIA_OK);
    return status;
}

static void test_allocation_failure(void **state) {
    (void)state;
    size_t n = 0;
    for (;; n++) {
        test_allocator allocator;
        test_allocator_init(&allocator);
        allocator.fail_at = (long)n;
        mia_status status = whole_life(&allocator.hook);
        assert_int_equal(allocator.live_bytes, 0);
        if (status == MIA_OK) break;
        assert_int_equal(status, MIA_ERROR_NO_MEMORY);
    }
    printf("%zu allocations failed, each once\n", n);
    assert_true(n > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_inputs),
        cmocka_unit_test(test_borrowed),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_allocation_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
