/* One device used from several threads at once: recording, evaluating and reading, with constants in common,
 * tickets waited for in each other's order, and handles passed on. Run under the thread sanitizer. */
#include "support.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 4

static const char *const backends[] = {"null", "reference", "cpu"};
static test_allocator allocator;

static mia_device *open_on(const char *backend) {
    test_allocator_init(&allocator);
    mia_device_options options = {.backend = backend, .threads = 2, .allocator = &allocator.hook};
    mia_device *device = NULL;
    mia_error error = {0};
    mia_status status = mia_device_open(&options, &device, &error);
    if (status == MIA_ERROR_NOT_FOUND) skip();
    if (status != MIA_OK) fail_msg("%s", error.message);
    return device;
}

static void close_clean(mia_device *device) {
    mia_error error = {0};
    assert_int_equal(mia_device_count(device).handles, 0);
    if (mia_device_close(device, &error) != MIA_OK) fail_msg("%s", error.message);
    assert_int_equal(allocator.live_bytes, 0);
}

/* What threads have in common. Failures are counted, for cmocka asserts in the main thread alone. */
typedef struct shared {
    mia_device *device;
    mia_tensor_f32 weights; /* a constant [4, 4]: 1 on the diagonal, else 0 */
    bool computes;
    int rounds;
    atomic_int failures;
    atomic_int next; /* numbers threads */
} shared;

static void expect(shared *s, bool good, const char *what) {
    if (good) return;
    if (atomic_fetch_add(&s->failures, 1) < 5) printf("failed: %s\n", what);
}

static shared share(const char *backend, int rounds) {
    shared s = {.device = open_on(backend), .rounds = rounds, .computes = strcmp(backend, "null") != 0};
    const float identity[16] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    s.weights = mia_constant(f32, s.device, MIA_SHAPE(4, 4), identity);
    return s;
}

static void run_threads(shared *s, void *(*body)(void *)) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, body, s), 0);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(s->failures, 0);
}

/* --- recording, evaluating, reading ----------------------------------------------------------- */

static void *compute(void *user) {
    shared *s = user;
    uint64_t random = (uint64_t)atomic_fetch_add(&s->next, 1) + 1;
    for (int round = 0; round < s->rounds; round++) {
        float data[4], out[4];
        for (int i = 0; i < 4; i++) data[i] = (float)test_below(&random, 100);
        mia_tensor_f32 x = mia_upload(f32, s->device, MIA_SHAPE(4, 1), data), kept = mia_ref(x);
        int64_t depth = 1 + test_below(&random, 6);
        for (int64_t i = 0; i < depth; i++) {
            x = mia_add(mia_matmul(s->weights, x), mia_full(f32, s->device, MIA_SCALAR, 1));
            if (test_below(&random, 3) > 0) continue;
            const mia_tensor list[2] = {MIA_UNTYPED(x), MIA_UNTYPED(s->weights)};
            expect(s, mia_tensor_eval(list, 1 + (size_t)(i % 2), NULL) == MIA_OK, "eval");
        }
        expect(s, mia_tensor_dtype(MIA_UNTYPED(x)) == MIA_f32, "dtype");
        expect(s, mia_read(x, out, 4, NULL) == MIA_OK, "read");
        for (int i = 0; i < 4 && s->computes; i++) expect(s, out[i] == data[i] + (float)depth, "result");
        if (test_below(&random, 2) == 0)
            mia_unref(kept);
        else
            expect(s, mia_read(kept, out, 4, NULL) == MIA_OK && memcmp(out, data, sizeof out) == 0, "kept");
        (void)mia_device_count(s->device);
    }
    return NULL;
}

static void test_computing_at_once(void **state) {
    (void)state;
    for (int b = 0; b < 3; b++) {
        shared s = share(backends[b], getenv("MIA_TEST_LONG") != NULL ? 5000 : 300);
        run_threads(&s, compute);
        close_clean(s.device);
    }
}

/* --- tickets ---------------------------------------------------------------------------------- */

typedef struct pair {
    shared *common;
    mia_ticket *tickets[2];
    pthread_barrier_t begun, waited;
} pair;

static void *wait_crosswise(void *user) {
    pair *p = user;
    shared *s = p->common;
    int me = atomic_fetch_add(&s->next, 1) % 2;
    for (int round = 0; round < s->rounds; round++) {
        float value = (float)round, out = -1;
        mia_tensor_f32 x = mia_neg(mia_upload(f32, s->device, MIA_SCALAR, &value));
        p->tickets[me] = mia_tensor_read_begin(MIA_UNTYPED(x), &out, sizeof out, NULL, 0);
        (void)pthread_barrier_wait(&p->begun);
        mia_ticket_wait(p->tickets[1 - me]);
        while (!mia_ticket_poll(p->tickets[me])) mia_ticket_wait(p->tickets[me]);
        (void)pthread_barrier_wait(&p->waited); /* nobody looks at it any more */
        expect(s, mia_ticket_finish(p->tickets[me], NULL) == MIA_OK, "finish");
        expect(s, !s->computes || out == -value, "result");
    }
    return NULL;
}

static void test_waiting_crosswise(void **state) {
    (void)state;
    for (int b = 0; b < 3; b++) {
        shared s = share(backends[b], 200);
        pair p = {.common = &s};
        pthread_t other;
        assert_int_equal(pthread_barrier_init(&p.begun, NULL, 2), 0);
        assert_int_equal(pthread_barrier_init(&p.waited, NULL, 2), 0);
        assert_int_equal(pthread_create(&other, NULL, wait_crosswise, &p), 0);
        (void)wait_crosswise(&p);
        assert_int_equal(pthread_join(other, NULL), 0);
        (void)pthread_barrier_destroy(&p.begun);
        (void)pthread_barrier_destroy(&p.waited);
        assert_int_equal(s.failures, 0);
        close_clean(s.device);
    }
}

static void count_call(void *user, mia_status status) {
    if (status == MIA_OK) (void)atomic_fetch_add((atomic_int *)user, 1);
}

/* Many tickets under way from each thread, some polled and some waited for; each calls back once. */
static void *begin_many(void *user) {
    shared *s = user;
    for (int round = 0; round < s->rounds; round++) {
        enum { MANY = 8 };
        mia_ticket *tickets[MANY];
        float out[MANY];
        atomic_int called = 0;
        for (int i = 0; i < MANY; i++) {
            float value = (float)(round + i);
            mia_tensor_f32 x = mia_square(mia_upload(f32, s->device, MIA_SCALAR, &value));
            tickets[i] = mia_tensor_read_begin(MIA_UNTYPED(x), &out[i], sizeof out[i], NULL, 0);
            mia_ticket_then(tickets[i], count_call, &called);
        }
        for (int i = MANY - 1; i >= 0; i -= 2) mia_ticket_wait(tickets[i]);
        for (int i = 0; i < MANY; i++) {
            while (!mia_ticket_poll(tickets[i])) {
            }
            expect(s, mia_ticket_finish(tickets[i], NULL) == MIA_OK, "finish");
            expect(s, !s->computes || out[i] == (float)(round + i) * (float)(round + i), "square");
        }
        while (atomic_load(&called) < MANY) {
        } /* the last may still be in its callback */
        expect(s, called == MANY, "called back once each");
    }
    return NULL;
}

static void test_many_tickets(void **state) {
    (void)state;
    for (int b = 0; b < 3; b++) {
        shared s = share(backends[b], 40);
        run_threads(&s, begin_many);
        close_clean(s.device);
    }
}

/* --- handles passed on ------------------------------------------------------------------------ */

/* Threads add to one running sum in turn, each taking the handle from, and giving it to, the next. */
typedef struct relay {
    shared *common;
    pthread_mutex_t lock;
    mia_tensor_f32 sum;
} relay;

static void *add_to_sum(void *user) {
    relay *r = user;
    shared *s = r->common;
    for (int round = 0; round < s->rounds; round++) {
        (void)pthread_mutex_lock(&r->lock);
        r->sum = mia_add(r->sum, mia_full(f32, s->device, MIA_SCALAR, 1));
        mia_tensor_f32 now = mia_ref(r->sum);
        (void)pthread_mutex_unlock(&r->lock);
        float out = -1;
        if (round % 3 == 0)
            expect(s, mia_read(now, &out, 1, NULL) == MIA_OK && out >= 1, "sum so far");
        else
            mia_unref(now);
    }
    return NULL;
}

static void test_passing_a_handle_on(void **state) {
    (void)state;
    for (int b = 1; b < 3; b++) {
        shared s = share(backends[b], 200);
        relay r = {.common = &s, .sum = mia_full(f32, s.device, MIA_SCALAR, 0)};
        (void)pthread_mutex_init(&r.lock, NULL);
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, add_to_sum, &r), 0);
        for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
        (void)pthread_mutex_destroy(&r.lock);
        assert_int_equal(s.failures, 0);
        float out = 0;
        assert_int_equal(mia_read(r.sum, &out, 1, NULL), MIA_OK);
        assert_true(out == (float)(THREADS * s.rounds));
        close_clean(s.device);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_computing_at_once),
        cmocka_unit_test(test_waiting_crosswise),
        cmocka_unit_test(test_many_tickets),
        cmocka_unit_test(test_passing_a_handle_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
