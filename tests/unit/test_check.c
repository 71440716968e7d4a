/* MIA_DEBUG=check: a kernel that is wrong is found and named, alone, within a fused step and in an operation of its
 * own; what is right is not. And the trace callback: every step, once, in order. */
#include "support.h"
#include "support/tiny_llama.h"

#include <math.h>
#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define OK(call) assert_int_equal(call, MIA_OK)

typedef struct lines {
    int count;
    char first[600];
} lines;

static void keep_line(void *user, const char *line) {
    lines *l = user;
    if (l->count++ == 0) (void)snprintf(l->first, sizeof l->first, "%s", line);
}

static test_allocator allocator;

static mia_device *open_checked(lines *l, bool no_fusion) {
    (void)setenv("MIA_DEBUG", "check", 1);
    test_allocator_init(&allocator);
    mia_device_options options = {
        .threads = 2, .log = keep_line, .log_user = l, .no_fusion = no_fusion, .allocator = &allocator.hook};
    mia_device *device = NULL;
    OK(mia_device_open(&options, &device, NULL));
    (void)unsetenv("MIA_DEBUG");
    return device;
}

static void close_clean(mia_device *device) {
    OK(mia_device_close(device, NULL));
    assert_int_equal(allocator.live_bytes, 0);
}

/* --- kernels that are wrong ------------------------------------------------------------------- */

static double halve(void *user, const mia_attributes *attributes, const double *x) {
    (void)user, (void)attributes;
    return x[0] / 2;
}

/* Wrong at 3 alone. */
static void halve_floats(void *user, const mia_attributes *attributes, float *out, const float *const *x,
                         size_t count) {
    (void)user, (void)attributes;
    for (size_t i = 0; i < count; i++) out[i] = x[0][i] == 3 ? 1.25f : x[0][i] / 2;
}

static mia_op wrong_op(mia_device *device) {
    const mia_op_description description = {
        .name = "halve", .operands = 1, .bound = 1, .number = halve, .floats = halve_floats};
    mia_op op;
    OK(mia_op_register(device, &description, &op, NULL));
    return op;
}

static void count_up(mia_device *device, int from, mia_tensor_f32 *out) {
    float numbers[20];
    for (int i = 0; i < 20; i++) numbers[i] = (float)(from + i);
    *out = mia_upload(f32, device, MIA_SHAPE(20), numbers);
}

static void expect_found(const lines *l, const char *step) {
    printf("%s\n", l->first);
    assert_int_equal(l->count, 1);
    assert_non_null(strstr(l->first, "check: run "));
    assert_non_null(strstr(l->first, step));
    assert_non_null(strstr(l->first, "element 3 is 1.25, the reference kernel gives 1.5"));
}

static void test_a_wrong_kernel(void **state) {
    (void)state;
    for (int fused = 0; fused < 2; fused++) {
        lines l = {0};
        mia_device *device = open_checked(&l, !fused);
        mia_op op = wrong_op(device);
        mia_tensor_f32 x;
        float out[20];
        count_up(device, 4, &x);
        OK(mia_read(mia_call(f32, op, (const mia_tensor[1]){MIA_UNTYPED(x)}, 1, NULL), out, 20, NULL));
        assert_int_equal(l.count, 0); /* without a 3 it is right */
        /* between neighbours: 0 1 2 3 .., and what comes behind is right for what it gets */
        count_up(device, 1, &x);
        x = mia_sub(x, mia_full(f32, device, MIA_SCALAR, 1));
        x = mia_call(f32, op, (const mia_tensor[1]){MIA_UNTYPED(x)}, 1, NULL);
        x = mia_mul(x, mia_full(f32, device, MIA_SCALAR, 4));
        OK(mia_read(x, out, 20, NULL));
        expect_found(&l, fused ? "step 0, halve (entry" : "step 1, halve (entry");
        assert_true(out[3] == 5); /* checking changes nothing */
        /* before a sum */
        l = (lines){0};
        count_up(device, 1, &x);
        x = mia_sub(x, mia_full(f32, device, MIA_SCALAR, 1));
        x = mia_call(f32, op, (const mia_tensor[1]){MIA_UNTYPED(x)}, 1, NULL);
        OK(mia_read(mia_sum(x, MIA_ALL_MODES), out, 1, NULL));
        expect_found(&l, fused ? "step 0, halve (entry" : "step 1, halve (entry");
        close_clean(device);
    }
}

static mia_status same_shape(void *user, const mia_custom_type *operands, const mia_attributes *attributes,
                             mia_custom_type *out, mia_error *error) {
    (void)user, (void)attributes, (void)error;
    *out = operands[0];
    return MIA_OK;
}

static void negate(const mia_custom_call *call) {
    const mia_custom_view *in = &call->operands[0];
    for (int64_t i = 0; i < in->extent[0]; i++)
        ((float *)call->output.data)[i] = -((const float *)in->data)[i * in->stride[0]];
}

static void negate_part(const mia_custom_call *call, int64_t begin, int64_t end) {
    const mia_custom_view *in = &call->operands[0];
    for (int64_t i = begin; i < end; i++)
        ((float *)call->output.data)[i] = i == 7 ? (float)NAN : -((const float *)in->data)[i * in->stride[0]];
}

static void test_a_wrong_operation(void **state) {
    (void)state;
    lines l = {0};
    mia_device *device = open_checked(&l, false);
    const mia_op_description description = {.name = "negate",
                                            .operands = 1,
                                            .bound = 4,
                                            .shape = same_shape,
                                            .reference = negate,
                                            .cpu = negate_part};
    mia_op op;
    OK(mia_op_register(device, &description, &op, NULL));
    mia_tensor_f32 x;
    float out[20];
    count_up(device, 0, &x);
    OK(mia_read(mia_call(f32, op, (const mia_tensor[1]){MIA_UNTYPED(x)}, 1, NULL), out, 20, NULL));
    printf("%s\n", l.first);
    assert_int_equal(l.count, 1);
    assert_non_null(strstr(l.first, "step 0, negate (entry"));
    assert_non_null(strstr(l.first, "element 7 is nan, the reference kernel gives -7"));
    close_clean(device);
}

/* --- what is right ---------------------------------------------------------------------------- */

static void step_through(mia_weights *weights, mia_device *device) {
    mia_lm *lm = NULL;
    mia_lm_state *state = NULL;
    int32_t ids[30];
    float logits[TINY_VOCABULARY];
    mia_error error = {0};
    if (mia_lm_open(device, weights, &(mia_lm_options){.context = 64, .allocator = &allocator.hook}, &lm,
                    &error) != MIA_OK)
        fail_msg("%s", error.message);
    OK(mia_lm_state_open(lm, &state, NULL));
    tiny_ids(5, ids, 30);
    OK(mia_lm_step(state, ids, 25, 0, logits, NULL));
    for (int i = 25; i < 30; i++) OK(mia_lm_step(state, &ids[i], 1, 0, logits, NULL));
    mia_lm_state_close(state);
    mia_lm_close(lm);
}

static void test_a_model_is_right(void **state) {
    (void)state;
    for (int fused = 0; fused < 2; fused++) {
        lines l = {0};
        const tiny_options tiny = {.seed = 9, .biased = true, .context = 64};
        mia_weights *weights = tiny_open(&tiny);
        assert_non_null(weights);
        mia_device *device = open_checked(&l, !fused);
        step_through(weights, device);
        if (l.count > 0) fail_msg("%s", l.first);
        close_clean(device);
        mia_weights_close(weights);
    }
}

/* Operations of every kind, on random numbers. */
static void test_operations_are_right(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    lines l = {0};
    mia_device *device = open_checked(&l, false);
    float numbers[15 * 33];
    for (size_t i = 0; i < 15 * 33; i++) numbers[i] = 3 * test_uniform(&seed);
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(15, 33), numbers);
    mia_tensor_f32 w = mia_upload(f32, device, MIA_SHAPE(15), numbers), out[12];
    int n = 0;
    out[n++] = mia_exp(mia_exp(mia_tanh(mia_mul(mia_ref(x), mia_full(f32, device, MIA_SCALAR, 40)))));
    out[n++] = mia_sum(mia_ref(x), 1);
    out[n++] = mia_softmax(mia_ref(x));
    out[n++] = mia_rms_norm(mia_ref(x), mia_ref(w), 1e-5);
    out[n++] = mia_layer_norm(mia_ref(x), mia_ref(w), mia_ref(w), 1e-5);
    out[n++] = mia_matmul(mia_ref(x), mia_ref(x));
    out[n++] = mia_cumsum(mia_ref(x), 0, false, false);
    out[n++] = mia_sort(mia_ref(x), 1, true);
    out[n++] = mia_transpose(mia_ref(x), 0, 1);
    out[n++] = mia_add(mia_transpose(mia_ref(x), 0, 1), mia_transpose(mia_ref(x), 0, 1));
    mia_unref(w);
    mia_tensor_i32 ids = mia_argmax(mia_ref(x), 1);
    float read[33 * 33];
    int32_t places[33];
    OK(mia_read(ids, places, 33, NULL));
    for (int i = 0; i < n; i++) {
        mia_shape shape = mia_tensor_shape(MIA_UNTYPED(out[i]));
        size_t count = 1;
        for (uint32_t m = 0; m < shape.ndim; m++) count *= (size_t)shape.extent[m];
        OK(mia_read(out[i], read, count, NULL));
    }
    /* in place */
    const int32_t at = 3;
    x = mia_update(x, mia_full(f32, device, MIA_SHAPE(15, 2), 5), mia_upload(i32, device, MIA_SCALAR, &at),
                   1);
    OK(mia_read(x, read, 15 * 33, NULL));
    if (l.count > 0) fail_msg("%s", l.first);
    close_clean(device);
}

/* Allocations that fail leave the check out, not the run. */
static void test_without_memory(void **state) {
    (void)state;
    lines l = {0};
    mia_device *device = open_checked(&l, false);
    int left_out = 0;
    for (long n = -1; n < 30; n++) { /* the first makes the plan */
        mia_tensor_f32 x;
        float out[20];
        count_up(device, 0, &x);
        x = mia_square(mia_add(mia_exp(x), mia_full(f32, device, MIA_SCALAR, 1)));
        if (n >= 0) allocator.fail_at = allocator.allocations + n;
        mia_status status = mia_read(x, out, 20, NULL);
        allocator.fail_at = -1;
        assert_true(status == MIA_OK || status == MIA_ERROR_NO_MEMORY);
        if (l.count > left_out) assert_int_equal(status, MIA_OK);
        left_out = l.count;
    }
    assert_true(left_out > 0);
    assert_non_null(strstr(l.first, "a step was left out"));
    close_clean(device);
}

/* What is before and behind reductions, norms and matmuls, and several matmuls of one input. */
static void test_cores_are_right(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    lines l = {0};
    mia_device *device = open_checked(&l, false);
    float numbers[64 * 33], read[64 * 33];
    for (size_t i = 0; i < 64 * 33; i++) numbers[i] = 3 * test_uniform(&seed);
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(64, 33), numbers);
    mia_tensor_f32 w = mia_upload(f32, device, MIA_SHAPE(64), numbers);
    mia_tensor_f32 a = mia_constant(f32, device, MIA_SHAPE(64, 30), numbers);
    mia_tensor_f32 b = mia_constant(f32, device, MIA_SHAPE(64, 30), numbers + 64);
    mia_tensor_f32 out[6];
    int n = 0;
    out[n++] = mia_sqrt(mia_sum(mia_square(mia_ref(x)), 1));
    out[n++] = mia_neg(mia_softmax(mia_exp(mia_ref(x))));
    mia_tensor_f32 normed = mia_rms_norm(mia_abs(mia_ref(x)), mia_ref(w), 1e-5);
    out[n++] = mia_mul(mia_silu(mia_matmul(a, mia_ref(normed))), mia_matmul(b, normed));
    out[n++] = mia_matmul(a, mia_ref(x));
    out[n++] = mia_matmul(b, mia_ref(x));
    out[n++] = mia_relu(mia_reduce_max(mia_neg(mia_ref(x)), 2));
    mia_unref(x);
    mia_unref(w);
    mia_tensor list[6];
    for (int i = 0; i < n; i++) list[i] = MIA_UNTYPED(out[i]);
    OK(mia_tensor_eval(list, (size_t)n, NULL));
    for (int i = 0; i < n; i++) {
        mia_shape shape = mia_tensor_shape(list[i]);
        OK(mia_read(out[i], read, (size_t)(shape.extent[0] * shape.extent[1]), NULL));
    }
    assert_int_equal(mia_device_count(device).kernels, 6); /* checked, each of a group runs by itself */
    if (l.count > 0) fail_msg("%s", l.first);
    close_clean(device);
}

/* --- the trace callback ----------------------------------------------------------------------- */

typedef struct events {
    mia_step_event of[20];
    char text[20][300];
    int count;
} events;

static void keep_event(void *user, const mia_step_event *event) {
    events *e = user;
    if (event->thread != 0 || e->count == 20) return;
    (void)snprintf(e->text[e->count], sizeof e->text[0], "%s %s", event->name, event->shapes);
    e->of[e->count++] = *event;
}

static void test_trace(void **state) {
    (void)state;
    static const char *const backends[] = {"reference", "cpu"};
    for (int b = 0; b < 2; b++) {
        events e = {.count = 0};
        mia_device *device = NULL;
        const mia_device_options options = {
            .backend = backends[b], .threads = 2, .trace = keep_event, .trace_user = &e};
        OK(mia_device_open(&options, &device, NULL));
        float numbers[8] = {1, 2, 3, 4, 5, 6, 7, 8}, out[4];
        mia_tensor_f32 w = mia_upload(f32, device, MIA_SHAPE(4, 2), numbers);
        mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(4, 1), numbers);
        for (int run = 0; run < 2; run++) {
            mia_tensor_f32 y = mia_matmul(mia_ref(w), mia_ref(x));
            OK(mia_read(mia_sum(mia_gelu(mia_neg(y)), MIA_ALL_MODES), out, 1, NULL));
        }
        mia_unref(w);
        mia_unref(x);
        int steps = b == 0 ? 4 : 2; /* one after the other, or neg and gelu with matmul */
        assert_int_equal(e.count, 2 * steps);
        assert_string_equal(e.text[0], b == 0 ? "matmul f32 [2, 1] <- f32 [4, 2], f32 [4, 1]"
                                              : "matmul neg gelu f32 [2, 1] <- f32 [4, 2], f32 [4, 1]");
        assert_string_equal(e.text[1], b == 0 ? "neg f32 [2] <- f32 [2]" : "sum f32 [1, 1] <- f32 [2, 1]");
        assert_int_equal(e.of[0].bytes, 4 * (8 + 4 + 2));
        assert_int_equal(e.of[0].operations, b == 0 ? 16 : 20);
        for (int i = 0; i < e.count; i++) {
            assert_int_equal(e.of[i].step, i % steps);
            assert_int_equal(e.of[i].steps, steps);
            assert_int_equal(e.of[i].run, i / steps);
            assert_true(e.of[i].begin <= e.of[i].end && (i == 0 || e.of[i - 1].end <= e.of[i].begin));
        }
        OK(mia_device_close(device, NULL));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wrong_kernel),
        cmocka_unit_test(test_a_wrong_operation),
        cmocka_unit_test(test_a_model_is_right),
        cmocka_unit_test(test_operations_are_right),
        cmocka_unit_test(test_cores_are_right),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
