/* Tapes from several threads at once: all run the same tape, with inputs of their own that may be overwritten, or that
 * they keep; record, plan, draw and close tapes of their own on the same device; and some cancel. Run under the thread
 * sanitizer. */
#include "support.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#define OK(call) assert_int_equal(call, MIA_OK)
#define THREADS  4
#define COUNT    32

static test_allocator allocator;

/* Failures are counted, for cmocka asserts in the main thread alone. */
typedef struct shared {
    mia_device *device;
    mia_tape *tape; /* y = w x + b, z = x + 1 */
    mia_tensor_f32 weights;
    int rounds;
    bool cancels;
    atomic_int next, failures, cancelled;
} shared;

static void expect(shared *s, bool good, const char *what) {
    if (good) return;
    if (atomic_fetch_add(&s->failures, 1) < 5) printf("failed: %s\n", what);
}

static mia_tape *record(mia_device *device, mia_tensor_f32 weights, float bias, mia_error *error) {
    mia_tensor_f32 x = mia_input(f32, device, MIA_SHAPE(COUNT));
    mia_tensor_f32 y = mia_add(mia_matmul(weights, mia_reshape(mia_ref(x), MIA_SHAPE(COUNT, 1))),
                               mia_full(f32, device, MIA_SCALAR, bias));
    mia_tensor_f32 z = mia_add(mia_ref(x), mia_full(f32, device, MIA_SCALAR, 1));
    const mia_named inputs[1] = {{"x", MIA_UNTYPED(x)}};
    const mia_named outputs[2] = {{"y", MIA_UNTYPED(y)}, {"z", MIA_UNTYPED(z)}};
    mia_tape *tape = NULL;
    if (mia_tape_record(inputs, 1, outputs, 2, &tape, error) != MIA_OK) tape = NULL;
    mia_unref(x);
    mia_unref(y);
    mia_unref(z);
    return tape;
}

static bool check_value(mia_tensor t, const float *x, float more, mia_status *status) {
    float out[COUNT];
    *status = mia_tensor_read(t, out, sizeof out, NULL, NULL, 0);
    for (int i = 0; *status == MIA_OK && i < COUNT; i++)
        if (out[i] != x[i] + more) return false;
    return true;
}

/* One run: with numbers of its own, which a second handle keeps now and then. */
static void run_once(shared *s, mia_tape *tape, uint64_t *random, float bias) {
    float numbers[COUNT];
    for (int i = 0; i < COUNT; i++) numbers[i] = (float)test_below(random, 1000);
    mia_tensor_f32 x = mia_upload(f32, s->device, MIA_SHAPE(COUNT), numbers), kept = x;
    bool keeps = test_below(random, 2) == 0, negated = test_below(random, 4) == 0;
    if (keeps) kept = mia_ref(x);
    if (negated) x = mia_neg(mia_neg(x)); /* has yet to run */
    mia_tensor in[1] = {MIA_UNTYPED(x)}, out[2];
    mia_ticket *ticket = mia_tape_run_begin(tape, in, out, __FILE__, __LINE__);
    if (s->cancels && test_below(random, 3) == 0) mia_ticket_cancel(ticket);
    if (s->cancels && test_below(random, 20) == 0) mia_device_cancel(s->device);
    mia_ticket_wait(ticket);
    mia_status run = mia_ticket_finish(ticket, NULL), y, z, k = MIA_OK;
    expect(s, check_value(out[0], numbers, bias, &y), "y");
    expect(s, check_value(out[1], numbers, 1, &z), "z");
    if (keeps) expect(s, check_value(MIA_UNTYPED(kept), numbers, 0, &k), "what was kept");
    const mia_status all[4] = {run, y, z, k};
    for (int i = 0; i < 4; i++) {
        expect(s, all[i] == MIA_OK || (s->cancels && all[i] == MIA_ERROR_CANCELLED), "a status");
        if (all[i] == MIA_ERROR_CANCELLED) (void)atomic_fetch_add(&s->cancelled, 1);
    }
}

static void count_text(void *user, const char *text, size_t length) {
    (void)text;
    *(size_t *)user += length;
}

static void record_one(shared *s, uint64_t *random) {
    float bias = (float)test_below(random, 100);
    mia_tape *own = record(s->device, s->weights, bias, NULL);
    expect(s, own != NULL, "recording");
    if (own == NULL) return;
    run_once(s, own, random, bias);
    mia_plan_info info;
    expect(s, mia_tape_plan(own, &info, NULL) == MIA_OK && info.steps > 0, "planning");
    size_t drawn = 0;
    expect(s,
           mia_tape_draw(s->tape, MIA_DRAWING_DOT, test_below(random, 2) == 0, count_text, &drawn, NULL) ==
                   MIA_OK &&
               drawn > 0,
           "drawing");
    mia_tape_close(own);
}

static void *use_tapes(void *user) {
    shared *s = user;
    uint64_t random = (uint64_t)atomic_fetch_add(&s->next, 1) + 1;
    for (int round = 0; round < s->rounds; round++) {
        run_once(s, s->tape, &random, 3);
        if (round % 8 == 0) record_one(s, &random);
    }
    return NULL;
}

static void with_threads(const char *backend, bool cancels) {
    test_allocator_init(&allocator);
    shared s = {.rounds = getenv("MIA_TEST_LONG") != NULL ? 4000 : 150, .cancels = cancels};
    const mia_device_options options = {.backend = backend, .threads = 2, .allocator = &allocator.hook};
    mia_error error = {0};
    OK(mia_device_open(&options, &s.device, &error));
    float identity[COUNT * COUNT] = {0};
    for (int i = 0; i < COUNT; i++) identity[i * COUNT + i] = 1;
    s.weights = mia_constant(f32, s.device, MIA_SHAPE(COUNT, COUNT), identity);
    s.tape = record(s.device, s.weights, 3, &error);
    if (s.tape == NULL) fail_msg("%s", error.message);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, use_tapes, &s), 0);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    printf("%s: %d cancelled\n", backend, (int)s.cancelled);
    assert_int_equal(s.failures, 0);
    assert_true(cancels || s.cancelled == 0);
    mia_tape_close(s.tape);
    assert_int_equal(mia_device_count(s.device).handles, 0);
    if (mia_device_close(s.device, &error) != MIA_OK) fail_msg("%s", error.message);
    assert_int_equal(allocator.live_bytes, 0);
}

static void test_one_tape(void **state) {
    (void)state;
    with_threads("reference", false);
    with_threads("cpu", false);
}

static void test_cancelling(void **state) {
    (void)state;
    with_threads("reference", true);
    with_threads("cpu", true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_tape),
        cmocka_unit_test(test_cancelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
