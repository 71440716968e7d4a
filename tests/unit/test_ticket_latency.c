/* How soon a run ends that another thread cancels, in the midst of one long step of every family of kernels: long
 * lines, rows of few units, sums over very many products. The time is printed; asserted is that little work is done
 * after the token, as the processors count it, since machines may be busy. Under a sanitizer neither says anything:
 * there it is asserted that runs end as they should. */
#include "runtime/device.h"

#include <math.h>
#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "support/tickets.h"

#define OK(call) assert_int_equal(call, MIA_OK)

static mia_device *device;
static int64_t n; /* elements of an operand, about */
static uint64_t seed;
static bool slow; /* under a sanitizer */

/* --- steps: one operation of operands that are there ------------------------------------------ */

static mia_tensor ready(mia_tensor t) {
    mia_error error = {0};
    if (mia_tensor_eval(&t, 1, &error) != MIA_OK) fail_msg("%s", error.message);
    return t;
}

#define READY(type, x)  mia_as(type, ready(MIA_UNTYPED(x)))
#define SOME(type, ...) READY(type, mia_random_uniform(type, device, MIA_SHAPE(__VA_ARGS__), ++seed))
#define ONES(type, ...) READY(type, mia_full(type, device, MIA_SHAPE(__VA_ARGS__), 1))
#define INDICES(...)    READY(i32, mia_convert(i32, mia_mul(SOME(f32, __VA_ARGS__), (double)n)))
#define INDEX(value)    READY(i32, mia_full(i32, device, MIA_SCALAR, value))

#define STEP(name, ...)                                                                                      \
    static mia_tensor name(void) {                                                                           \
        return MIA_UNTYPED(__VA_ARGS__);                                                                     \
    }

STEP(sort_line, mia_sort(SOME(f32, n), 0, false))
STEP(sort_lines, mia_sort(SOME(f32, n / 4, 4), 0, true))
STEP(sort_many, mia_sort(SOME(f32, 100, n / 100), 0, true))
STEP(sort_f64, mia_sort(SOME(f64, n), 0, false))
STEP(argsort_line, mia_argsort(SOME(f32, n), 0, false))
STEP(top_few, mia_top_k(SOME(f32, 4 * n), 0, 10, true))
STEP(top_many, mia_top_k_indices(SOME(f32, n), 0, n / 8, true))
STEP(cumsum_line, mia_cumsum(SOME(f32, 8 * n), 0, false, false))
STEP(cumsum_lines, mia_cumsum(SOME(f32, n, 8), 0, true, true))
STEP(cumsum_beside, mia_cumsum(SOME(f32, 256, n / 64), 1, false, false))
STEP(softmax_row, mia_softmax(SOME(f32, 8 * n)))
STEP(softmax_f64, mia_softmax(SOME(f64, n)))
STEP(log_softmax_f16, mia_log_softmax(SOME(f16, 8 * n)))
STEP(layer_norm_row, mia_layer_norm(SOME(f32, 4 * n), ONES(f32, 4 * n), ONES(f32, 4 * n), 1e-5))
STEP(rms_norm_f64, mia_rms_norm(SOME(f64, 4 * n), ONES(f64, 4 * n), 1e-5))
STEP(group_norm_whole, mia_group_norm(SOME(f32, 8 * n, 2), ONES(f32, 2), ONES(f32, 2), 1, 1, 1e-5))
STEP(sum_all, mia_sum(SOME(f32, 32 * n), MIA_MODE(0)))
STEP(sum_apart, mia_sum(mia_slice(SOME(f32, 8 * n), 0, 0, 4 * n, 2), MIA_MODE(0)))
STEP(sum_beside, mia_sum(SOME(f32, 16, 2 * n), MIA_MODE(1)))
STEP(prod_f64, mia_prod(SOME(f64, 4 * n), MIA_MODE(0)))
STEP(argmax_beside, mia_argmax(SOME(f32, 16, 2 * n), MIA_MODE(1)))
STEP(attention_one, mia_attention(SOME(f32, 64, 1, 8), SOME(f32, 64, n / 16, 1), SOME(f32, 64, n / 16, 1),
                                  INDEX((double)(n / 16)), 0.1))
STEP(attention_f64, mia_attention(SOME(f64, 64, 1, 1), SOME(f64, 64, n / 16, 1), SOME(f64, 64, n / 16, 1),
                                  INDEX((double)(n / 16)), 0.1))
STEP(convolution_deep,
     mia_conv2d(SOME(f32, 8, 8, n / 128, 1), SOME(f32, 3, 3, n / 128, 16), (mia_window){.before = {0}}))
STEP(convolution_line, mia_conv1d(SOME(f32, n + 256, 1, 1), SOME(f32, n, 1, 1), (mia_window){.before = {0}}))
STEP(convolution_f16, mia_conv1d(SOME(f16, 8 * n, 1, 1), SOME(f16, 3, 1, 1), (mia_window){.before = {0}}))
STEP(max_pool_all, mia_max_pool(SOME(f32, 16 * n, 1, 1), ((mia_window){.size = {16 * n, 1}})))
STEP(pool_wide, mia_average_pool(SOME(f32, n + 256, 1, 1), ((mia_window){.size = {n, 1}})))
STEP(product, mia_matmul(SOME(f32, 1024, 1024), SOME(f32, 1024, n / 512)))
STEP(product_deep, mia_matmul(SOME(f32, n, 16), SOME(f32, n, 16)))
STEP(product_dots, mia_matmul(SOME(f32, 2 * n, 16), SOME(f32, 2 * n)))
STEP(product_f64, mia_matmul(SOME(f64, n / 2, 8), SOME(f64, n / 2, 4)))
STEP(product_f16, mia_matmul(SOME(f16, n, 16), SOME(f16, n, 8)))
STEP(scatter_one, mia_scatter(SOME(f32, 2), READY(i32, mia_zeros(i32, device, MIA_SHAPE(n))), SOME(f32, n), 0,
                              MIA_SCATTER_ADD))
STEP(scatter_some, mia_scatter(SOME(f32, n), INDICES(n), SOME(f32, n), 0, MIA_SCATTER_ADD))
STEP(scatter_along_add, mia_scatter_along(SOME(f32, n), INDICES(n), SOME(f32, n), 0, MIA_SCATTER_ADD))
STEP(scatter_along_set, mia_scatter_along(SOME(f32, n), INDICES(4 * n), SOME(f32, 4 * n), 0, MIA_SCATTER_SET))
STEP(take_along, mia_take_along(SOME(f32, n), INDICES(4 * n), 0))
STEP(triangle, mia_tril(SOME(f32, 16 * n, 2), n))
STEP(embedding_row, mia_embedding(mia_slice(SOME(f16, 16 * n, 3), 1, 0, 2, 2),
                                  READY(i32, mia_zeros(i32, device, MIA_SHAPE(1)))))
STEP(rope_wide, mia_rope(SOME(f32, n, 8, 1), READY(i32, mia_full(i32, device, MIA_SHAPE(1), 5)),
                         SOME(f32, n / 2), MIA_ROPE_HALVES, 1))
STEP(turned, mia_copy(mia_transpose(SOME(f32, n / 64, 512), 0, 1)))
STEP(joined, mia_concat(SOME(f32, 16 * n), SOME(f32, 16 * n), 0))
STEP(elements, mia_tanh(mia_exp(mia_pow(SOME(f32, 16 * n), 0.3))))
STEP(normal_numbers, mia_random_normal(f32, device, MIA_SHAPE(16 * n), ++seed))
STEP(narrowed, mia_convert(f16, SOME(f32, 16 * n)))

/* Constants: in a kernel's form already, and to be brought into it. */
static mia_tensor fresh_constant(mia_dtype dtype, int64_t k, size_t bytes) {
    void *zeros = calloc(bytes, 1);
    assert_non_null(zeros);
    mia_tensor w = mia_tensor_constant(device, dtype, MIA_SHAPE(k, 16), zeros, __FILE__, __LINE__);
    free(zeros);
    return w;
}

static mia_tensor prepared_constant(mia_dtype dtype, int64_t k, size_t bytes) {
    mia_tensor w = fresh_constant(dtype, k, bytes);
    mia_op_unref(ready(MIA_UNTYPED(mia_matmul(w, ONES(f32, k)))), __FILE__, __LINE__);
    return w;
}

STEP(column_f32, mia_matmul(prepared_constant(MIA_f32, n, 64 * (size_t)n), SOME(f32, n)))
STEP(column_q8_0, mia_matmul(prepared_constant(MIA_q8_0, 2 * n, 34 * (size_t)n), SOME(f32, 2 * n)))
STEP(prepare_f32, mia_matmul(fresh_constant(MIA_f32, n, 64 * (size_t)n), ONES(f32, n)))
STEP(prepare_q8_0, mia_matmul(fresh_constant(MIA_q8_0, 2 * n, 34 * (size_t)n), ONES(f32, 2 * n)))

/* --- cancelling them -------------------------------------------------------------------------- */

static double read_clock(clockid_t clock) {
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Milliseconds: by the clock, and those that this process had of the processors. */
typedef struct moment {
    double time, work;
} moment;

static moment now(void) {
    return (moment){read_clock(CLOCK_MONOTONIC), read_clock(CLOCK_PROCESS_CPUTIME_ID)};
}

static moment since(moment before) {
    moment t = now();
    return (moment){t.time - before.time, t.work - before.work};
}

/* Another thread, which sets the token at `when`. */
typedef struct token {
    mia_ticket *ticket;
    double when;
    moment set;
} token;

static void *set_token(void *user) {
    token *t = user;
    double wait = t->when - now().time;
    struct timespec nap = {0, wait > 0 ? (long)(wait * 1e6) % 1000000000 : 0};
    nap.tv_sec = wait > 0 ? (time_t)(wait / 1e3) : 0;
    (void)nanosleep(&nap, NULL);
    t->set = now();
    mia_ticket_cancel(t->ticket);
    return NULL;
}

/* From the token to the end of the run; false when the run was done before. */
static bool cancel_after(mia_tensor step, double milliseconds, moment *late) {
    token t = {.ticket = mia_tensor_eval_begin(&step, 1), .when = now().time + milliseconds};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, set_token, &t), 0);
    mia_ticket_wait(t.ticket);
    moment ended = now();
    assert_int_equal(pthread_join(thread, NULL), 0);
    *late = (moment){ended.time - t.set.time, ended.work - t.set.work};
    mia_status status = mia_ticket_finish(t.ticket, NULL);
    assert_true(status == MIA_OK || status == MIA_ERROR_CANCELLED);
    assert_int_equal(mia_tensor_status(step, NULL), status);
    mia_op_unref(step, __FILE__, __LINE__);
    return status == MIA_ERROR_CANCELLED;
}

static moment run_out(mia_tensor step) {
    moment began = now();
    OK(end(mia_tensor_eval_begin(&step, 1), NULL));
    mia_op_unref(step, __FILE__, __LINE__);
    return since(began);
}

/* The most work that a run may do after its token: of a step of so much. Once in TRIES is enough. */
#define TRIES 5
static double allowed(double whole) {
    return whole / 4 + 4;
}

static void cancel_step(const char *name, mia_tensor (*step)(void)) {
    device = open_on("cpu");
    moment first = run_out(step()), whole = run_out(step());
    if (first.time < whole.time) whole = first; /* memory that is new takes its time */
    moment least = {INFINITY, INFINITY}, late;
    for (int i = 0; i < TRIES; i++) {
        if (!cancel_after(step(), whole.time * (0.1 + 0.15 * i), &late)) continue;
        least = (moment){fmin(least.time, late.time), fmin(least.work, late.work)};
    }
    if (!isfinite(least.time)) {
        printf("%-20s %7.1f ms, done before each token\n", name, whole.time);
    } else {
        printf("%-20s %7.1f ms, after the token %6.2f ms, at work for %6.2f of %7.1f ms\n", name, whole.time,
               least.time, least.work, whole.work);
        if (!slow && least.work > allowed(whole.work)) fail_msg("%s works on after its token", name);
    }
    assert_int_equal(mia_device_count(device).fallbacks, 0);
    float out = 0;
    OK(mia_read(mia_square(number(device, 3)), &out, 1, NULL));
    assert_true(out == 9);
    close_clean(device);
}

typedef struct named_step {
    const char *name;
    mia_tensor (*record)(void);
} named_step;

#define NAMED(step)                                                                                          \
    { #step, step }
static const named_step steps[] = {
    NAMED(sort_line),         NAMED(sort_lines),      NAMED(sort_many),     NAMED(sort_f64),
    NAMED(argsort_line),      NAMED(top_few),         NAMED(top_many),      NAMED(cumsum_line),
    NAMED(cumsum_lines),      NAMED(cumsum_beside),   NAMED(softmax_row),   NAMED(softmax_f64),
    NAMED(log_softmax_f16),   NAMED(layer_norm_row),  NAMED(rms_norm_f64),  NAMED(group_norm_whole),
    NAMED(sum_all),           NAMED(sum_apart),       NAMED(sum_beside),    NAMED(prod_f64),
    NAMED(argmax_beside),     NAMED(attention_one),   NAMED(attention_f64), NAMED(convolution_deep),
    NAMED(convolution_line),  NAMED(convolution_f16), NAMED(max_pool_all),  NAMED(pool_wide),
    NAMED(product),           NAMED(product_deep),    NAMED(product_dots),  NAMED(product_f64),
    NAMED(product_f16),       NAMED(scatter_one),     NAMED(scatter_some),  NAMED(scatter_along_add),
    NAMED(scatter_along_set), NAMED(take_along),      NAMED(triangle),      NAMED(embedding_row),
    NAMED(rope_wide),         NAMED(turned),          NAMED(joined),        NAMED(elements),
    NAMED(normal_numbers),    NAMED(narrowed),        NAMED(column_f32),    NAMED(column_q8_0),
    NAMED(prepare_f32),       NAMED(prepare_q8_0),
};

static void test_steps(void **state) {
    (void)state;
    seed = test_seed();
    slow = getenv("MIA_TEST_SLOW") != NULL;
    n = slow ? 1 << 16 : getenv("MIA_TEST_LONG") != NULL ? 2 << 20 : 1 << 20;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) cancel_step(steps[i].name, steps[i].record);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
