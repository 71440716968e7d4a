/* MIA_DEBUG=check on the webgpu backend: what is right passes, alone, fused, together, in place and cut up; a wrong kernel and
 * wrongly prepared weights are found and named, the first of a run alone. Skipped where no GPU opens. */
#include "../unit/support.h"

#include "backend/webgpu/webgpu.h"
#include "runtime/device.h"
#include "support/ok.h"
#include "support/seam.h"
#include "support/tiny_llama.h"

#include <mia/mia.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mia_error error;

/* --- devices ------------------------------------------------------------------------------------ */

static struct {
    int count;
    char first[600];
} told;

static void keep_line(void *user, const char *line) {
    (void)user;
    printf("%s\n", line);
    if (told.count++ == 0) (void)snprintf(told.first, sizeof told.first, "%s", line);
}

static test_allocator allocator;

static mia_device *open_checked(bool no_fusion) {
    told.count = 0;
    (void)setenv("MIA_DEBUG", "check", 1);
    test_allocator_init(&allocator);
    const mia_device_options options = {
        .backend = "webgpu", .log = keep_line, .no_fusion = no_fusion, .allocator = &allocator.hook};
    mia_device *device = NULL;
    mia_status status = mia_device_open(&options, &device, &error);
    (void)unsetenv("MIA_DEBUG");
    if (status == MIA_ERROR_NOT_FOUND) {
        printf("skipped: %s\n", error.message);
        exit(77);
    }
    if (status != MIA_OK) fail_msg("%s", error.message);
    return device;
}

static void close_clean(mia_device *device) {
    OK(mia_device_close(device, &error));
    assert_int_equal(allocator.live_bytes, 0);
}

static void expect_right(void) {
    if (told.count > 0) fail_msg("%s", told.first);
}

static void expect_found(const char *step, const char *numbers) {
    printf("%s\n", told.first);
    assert_int_equal(told.count, 1);
    assert_non_null(strstr(told.first, "check: run "));
    assert_non_null(strstr(told.first, step));
    assert_non_null(strstr(told.first, numbers));
    told.count = 0;
}

/* --- numbers ------------------------------------------------------------------------------------ */

enum { MOST = 64 * 600 };

static uint64_t seed;
static float numbers[MOST], read_back[MOST];

static void draw(void) {
    for (int i = 0; i < MOST; i++) numbers[i] = 3 * test_uniform(&seed);
    numbers[6] = 3;
}

/* [64, rows] in q8_0. */
static uint8_t blocks[600 * 2 * 34];
static void make_blocks(mia_device *device, int64_t rows) {
    mia_tensor w = mia_op_convert(MIA_UNTYPED(mia_upload(f32, device, MIA_SHAPE(64, rows), numbers)),
                                  MIA_q8_0, __FILE__, __LINE__);
    size_t bytes = (size_t)rows * 2 * 34;
    OK(mia_tensor_read(w, blocks, bytes, &error, __FILE__, __LINE__));
}

/* Reads all of them, as one run. */
static void read_all(mia_tensor *list, size_t count) {
    OK(mia_tensor_eval(list, count, &error));
    for (size_t i = 0; i < count; i++) mia_op_unref(list[i], __FILE__, __LINE__);
}

static mia_tensor_f32 count_up(mia_device *device, int from) {
    float up[20];
    for (int i = 0; i < 20; i++) up[i] = (float)(from + i);
    return mia_upload(f32, device, MIA_SHAPE(20), up);
}

/* --- kernels that are wrong --------------------------------------------------------------------- */

static double halve(void *user, const mia_attributes *attributes, const double *x) {
    (void)user, (void)attributes;
    return x[0] / 2;
}

static mia_op wrong_op(mia_device *device) {
    const mia_op_description description = {.name = "halve",
                                            .operands = 1,
                                            .bound = 1,
                                            .number = halve,
                                            .wgsl = "return select(x0 / 2.0, 1.25, x0 == 3.0);"};
    mia_op op;
    OK(mia_op_register(device, &description, &op, &error));
    return op;
}

/* (x - 1) halved, times 4: step 1 alone, or one of a step's operations. */
static mia_tensor_f32 halved_between(mia_device *device, mia_op op, int from) {
    mia_tensor_f32 x = mia_sub(count_up(device, from), mia_full(f32, device, MIA_SCALAR, 1));
    x = mia_call(f32, op, (const mia_tensor[1]){MIA_UNTYPED(x)}, 1, NULL);
    return mia_mul(x, mia_full(f32, device, MIA_SCALAR, 4));
}

static void test_a_wrong_kernel(void **state) {
    (void)state;
    for (int fused = 0; fused < 2; fused++) {
        mia_device *device = open_checked(fused == 0);
        mia_op op = wrong_op(device);
        OK(mia_read(halved_between(device, op, 5), read_back, 20, &error));
        expect_right(); /* without a 3 it is */
        OK(mia_read(halved_between(device, op, 1), read_back, 20, &error));
        if (fused != 0)
            expect_found("step 0, sub halve mul (entry", "element 3 is 5, the reference kernel gives 6");
        else
            expect_found("step 1, halve (entry", "element 3 is 1.25, the reference kernel gives 1.5");
        assert_true(read_back[3] == 5 && read_back[4] == 8); /* checking changes nothing */
        /* two that are wrong: the first is named */
        mia_tensor_f32 x = mia_sum(halved_between(device, op, 1), MIA_ALL_MODES);
        x = mia_sum(mia_add(halved_between(device, op, 0), x), MIA_ALL_MODES);
        OK(mia_read(x, read_back, 1, &error));
        expect_found(fused != 0 ? "halve mul" : "halve", "element");
        close_clean(device);
    }
}

/* --- weights that are prepared wrongly ---------------------------------------------------------- */

/* What is written has a word changed while this is set. */
static bool corrupts;

static void corrupt_write(mia__gpu *gpu, mia__gpu_buffer *buffer, uint64_t offset, const void *from,
                          size_t bytes) {
    uint32_t words[4096];
    if (corrupts && bytes > 4000 && bytes <= sizeof words) { /* the quants: number 6 of row 0 */
        memcpy(words, from, bytes);
        words[1] ^= 0x00400000;
        from = words;
    }
    mia__gpu_native.write(gpu, buffer, offset, from, bytes);
}

static void test_wrong_weights(void **state) {
    (void)state;
    draw();
    seam_before(&mia__gpu_native);
    test_seam.type.write = corrupt_write;
    for (int wrongly = 0; wrongly < 2; wrongly++) {
        mia_device *device = open_checked(false);
        make_blocks(device, 64);
        corrupts = wrongly != 0;
        mia_tensor_q8_0 w = mia_constant(q8_0, device, MIA_SHAPE(64, 64), blocks);
        mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(64, 1), numbers);
        OK(mia_read(mia_neg(mia_matmul(w, x)), read_back, 64, &error));
        if (wrongly != 0)
            expect_found("step 0, matmul neg (entry", "element 0 is");
        else
            expect_right();
        corrupts = false;
        close_clean(device);
    }
    seam_away();
}

/* --- what is right ------------------------------------------------------------------------------ */

static void record_operations(mia_device *device, mia_tensor *out, size_t *n) {
    const int32_t places[5] = {3, 0, 14, 3, 9}, at = 4;
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(15, 33), numbers);
    mia_tensor_f32 w = mia_upload(f32, device, MIA_SHAPE(15), numbers + 7);
    mia_tensor_i32 ids = mia_upload(i32, device, MIA_SHAPE(5), places);
    mia_tensor_f32 some[] = {
        mia_exp(mia_exp(mia_tanh(mia_mul(mia_ref(x), mia_full(f32, device, MIA_SCALAR, 40))))),
        mia_cos(mia_sub(mia_square(mia_ref(x)), mia_abs(mia_ref(x)))),
        mia_where(mia_less(mia_exp(mia_ref(x)), mia_exp(mia_neg(mia_ref(x)))), mia_ref(x),
                  mia_sqrt(mia_abs(mia_ref(x)))),
        mia_sum(mia_ref(x), 1),
        mia_softmax(mia_ref(x)),
        mia_rms_norm(mia_ref(x), mia_ref(w), 1e-5),
        mia_layer_norm(mia_ref(x), mia_ref(w), mia_ref(w), 1e-5),
        mia_l2_norm(mia_ref(x), 1e-6),
        mia_matmul(mia_ref(x), mia_ref(x)),
        mia_cumsum(mia_ref(x), 0, false, false),
        mia_sort(mia_ref(x), 1, true),
        mia_transpose(mia_ref(x), 0, 1),
        mia_add(mia_transpose(mia_ref(x), 0, 1), mia_transpose(mia_ref(x), 0, 1)),
        mia_take(mia_ref(x), mia_ref(ids), 0),
        mia_scatter(mia_ref(x), mia_ref(ids), mia_exp(mia_take(mia_ref(x), mia_ref(ids), 0)), 0,
                    MIA_SCATTER_ADD),
        mia_random_normal(f32, device, MIA_SHAPE(77), 12345),
        mia_convert(f32, mia_add(mia_convert(f16, mia_ref(x)), mia_convert(f16, mia_exp(mia_ref(x))))),
        mia_gather(mia_ref(x), mia_ref(ids)),
        mia_update(mia_exp(mia_ref(x)), mia_full(f32, device, MIA_SHAPE(15, 2), 5),
                   mia_upload(i32, device, MIA_SCALAR, &at), 1),
    };
    *n = sizeof some / sizeof *some;
    for (size_t i = 0; i < *n; i++) out[i] = MIA_UNTYPED(some[i]);
    out[(*n)++] = MIA_UNTYPED(mia_argmax(mia_ref(x), 1));
    out[(*n)++] = MIA_UNTYPED(mia_convert(i32, mia_mul(x, mia_full(f32, device, MIA_SCALAR, 1000))));
    mia_unref(w);
    mia_unref(ids);
}

/* Norms before products, products of one x, what is behind them, of floats and of blocks; keys turned into a cache. */
static void record_cores(mia_device *device, mia_tensor *out, size_t *n) {
    const int32_t positions[3] = {5, 6, 7}, at = 2;
    float frequencies[8];
    for (int i = 0; i < 8; i++) frequencies[i] = powf(100, -(float)i / 8);
    for (int64_t columns = 1; columns <= 35; columns += 34) {
        mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(64, columns), numbers);
        mia_tensor_f32 w = mia_upload(f32, device, MIA_SHAPE(64), numbers + 99);
        mia_tensor_f32 a = mia_constant(f32, device, MIA_SHAPE(64, 30), numbers);
        mia_tensor_f32 b = mia_constant(f32, device, MIA_SHAPE(64, 30), numbers + 64);
        mia_tensor_q8_0 q = mia_constant(q8_0, device, MIA_SHAPE(64, 64), blocks);
        mia_tensor_f32 normed = mia_rms_norm(mia_ref(x), w, 1e-5), others = mia_exp(mia_ref(x));
        out[(*n)++] =
            MIA_UNTYPED(mia_mul(mia_silu(mia_matmul(a, mia_ref(normed))), mia_matmul(b, mia_ref(normed))));
        out[(*n)++] = MIA_UNTYPED(mia_add(mia_matmul(q, normed), mia_ref(x)));
        out[(*n)++] = MIA_UNTYPED(mia_matmul(a, mia_ref(others)));
        out[(*n)++] = MIA_UNTYPED(mia_matmul(b, others));
        out[(*n)++] = MIA_UNTYPED(mia_matmul(q, mia_ref(x)));
        mia_tensor_f32 three = mia_full(f32, device, MIA_SCALAR, 1);
        for (int i = 0; i < 3; i++)
            three = mia_mul(three, mia_matmul(mia_constant(q8_0, device, MIA_SHAPE(64, 19),
                                                           blocks + (size_t)(68 * (i + 1))),
                                              mia_ref(x)));
        out[(*n)++] = MIA_UNTYPED(three);
        mia_unref(x);
    }
    mia_tensor_f32 keys = mia_exp(mia_upload(f32, device, MIA_SHAPE(16, 2, 3), numbers));
    keys = mia_rope(keys, mia_upload(i32, device, MIA_SHAPE(3), positions),
                    mia_upload(f32, device, MIA_SHAPE(8), frequencies), MIA_ROPE_HALVES, 1);
    mia_tensor_f32 cache = mia_upload(f32, device, MIA_SHAPE(16, 9, 2), numbers + 5);
    out[(*n)++] = MIA_UNTYPED(
        mia_update(cache, mia_transpose(keys, 1, 2), mia_upload(i32, device, MIA_SCALAR, &at), 1));
}

static void test_operations_are_right(void **state) {
    (void)state;
    for (int fused = 0; fused < 2; fused++) {
        mia_device *device = open_checked(fused == 0);
        mia_tensor list[40];
        size_t n = 0;
        draw();
        record_operations(device, list, &n);
        read_all(list, n);
        expect_right();
        make_blocks(device, 64);
        n = 0;
        record_cores(device, list, &n);
        read_all(list, n);
        expect_right();
        close_clean(device);
    }
}

/* Steps that are cut up since they bind too much, a table's columns among them. */
static void test_cut_steps_are_right(void **state) {
    (void)state;
    mia_device *device = open_checked(false);
    const int32_t places[5] = {599, 0, 64, 600, 40};
    mia_tensor list[4];
    draw();
    make_blocks(device, 600);
    device->backend->rules.binding_bytes = 20480;
    device->backend->rules.joins = NULL; /* each part is a kernel */
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(64, 600), numbers);
    mia_tensor_q8_0 q = mia_constant(q8_0, device, MIA_SHAPE(64, 600), blocks);
    mia_tensor_i32 ids = mia_upload(i32, device, MIA_SHAPE(5), places);
    uint64_t before = mia_device_count(device).kernels;
    list[0] = MIA_UNTYPED(mia_gather(mia_ref(x), mia_ref(ids)));
    list[1] = MIA_UNTYPED(mia_embedding(q, ids));
    list[2] = MIA_UNTYPED(mia_exp(x));
    list[3] = MIA_UNTYPED(mia_matmul(q, mia_upload(f32, device, MIA_SHAPE(64, 1), numbers + 64)));
    read_all(list, 4);
    expect_right();
    assert_true(mia_device_count(device).kernels >= before + 30);
    close_clean(device);
}

static void test_a_model_is_right(void **state) {
    (void)state;
    for (int fused = 0; fused < 2; fused++) {
        const tiny_options tiny = {.seed = 9, .biased = true, .context = 64};
        mia_weights *weights = tiny_open(&tiny);
        assert_non_null(weights);
        mia_device *device = open_checked(fused == 0);
        mia_lm *lm = NULL;
        mia_lm_state *lm_state = NULL;
        int32_t ids[30];
        float logits[TINY_VOCABULARY];
        OK(mia_lm_open(device, weights, &(mia_lm_options){.context = 64, .allocator = &allocator.hook}, &lm,
                       &error));
        OK(mia_lm_state_open(lm, &lm_state, &error));
        tiny_ids(5, ids, 30);
        OK(mia_lm_step(lm_state, ids, 25, 0, logits, &error));
        for (int i = 25; i < 30; i++) OK(mia_lm_step(lm_state, &ids[i], 1, 0, logits, &error));
        expect_right();
        mia_lm_state_close(lm_state);
        mia_lm_close(lm);
        close_clean(device);
        mia_weights_close(weights);
    }
}

/* Numbers that are none, and those below the normal ones, of which WGSL promises nothing, are not called wrong. */
static void test_special_numbers(void **state) {
    (void)state;
    mia_device *device = open_checked(false);
    for (int i = 0; i < 20; i++) numbers[i] = (float)i * 0x1p-140f;
    numbers[3] = INFINITY;
    numbers[4] = -INFINITY;
    numbers[5] = NAN;
    numbers[6] = 3e38f;
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(20), numbers);
    mia_tensor list[] = {
        MIA_UNTYPED(mia_neg(mia_ref(x))),
        MIA_UNTYPED(mia_max(mia_ref(x), mia_full(f32, device, MIA_SCALAR, 0))),
        MIA_UNTYPED(mia_log(mia_mul(mia_ref(x), mia_ref(x)))),
        MIA_UNTYPED(mia_add(mia_ref(x), mia_ref(x))),
        MIA_UNTYPED(mia_sqrt(mia_ref(x))),
        MIA_UNTYPED(mia_convert(
            f32, mia_convert(f16, mia_mul(mia_ref(x), mia_full(f32, device, MIA_SCALAR, 0x1p118))))),
        MIA_UNTYPED(mia_reciprocal(x)),
    };
    read_all(list, sizeof list / sizeof *list);
    expect_right();
    close_clean(device);
}

/* --- as work -------------------------------------------------------------------------------------- */

/* A checked run is moved on by polls alone, and can be cancelled between them. */
static void test_polled(void **state) {
    (void)state;
    mia_device *device = open_checked(true);
    mia_op op = wrong_op(device);
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        mia_tensor x = MIA_UNTYPED(halved_between(device, op, 1));
        mia_ticket *ticket = mia_tensor_eval_begin(&x, 1);
        int polls = 0;
        for (; !mia_ticket_poll(ticket); polls++)
            if (cancelled != 0 && polls == 0) mia_ticket_cancel(ticket);
        mia_status status = mia_ticket_finish(ticket, NULL);
        if (cancelled != 0) {
            assert_int_equal(status, MIA_ERROR_CANCELLED);
        } else {
            assert_int_equal(status, MIA_OK);
            assert_true(polls > 0);
            expect_found("step 1, halve", "1.25");
        }
        mia_op_unref(x, __FILE__, __LINE__);
    }
    close_clean(device);
}

/* Allocations that fail leave the check out, not the run. */
static void test_without_memory(void **state) {
    (void)state;
    mia_device *device = open_checked(false);
    int left_out = 0;
    for (long n = -1; n < 40; n++) { /* the first makes the plan */
        mia_tensor_f32 x = count_up(device, 0);
        x = mia_square(mia_add(mia_exp(x), mia_full(f32, device, MIA_SCALAR, 1)));
        if (n >= 0) allocator.fail_at = allocator.allocations + n;
        mia_status status = mia_read(x, read_back, 20, NULL);
        allocator.fail_at = -1;
        assert_true(status == MIA_OK || status == MIA_ERROR_NO_MEMORY);
        if (told.count > left_out) assert_int_equal(status, MIA_OK);
        left_out = told.count;
    }
    printf("%d left out: %s\n", left_out, told.first);
    assert_true(left_out > 1);
    assert_non_null(strstr(told.first, "no memory"));
    close_clean(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wrong_kernel),
        cmocka_unit_test(test_wrong_weights),
        cmocka_unit_test(test_operations_are_right),
        cmocka_unit_test(test_cut_steps_are_right),
        cmocka_unit_test(test_a_model_is_right),
        cmocka_unit_test(test_special_numbers),
        cmocka_unit_test(test_polled),
        cmocka_unit_test(test_without_memory),
    };
    seed = test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
