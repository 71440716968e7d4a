/* Steps that complete later, on the backend that computes nothing and completes late: nothing blocks in
 * between, and whatever fails in the middle (a run, an allocation, the caller's patience) leaves a state that
 * works again after a reset, and nothing behind. */
#include "runtime/device.h"

#include "backend/null/null.h"
#include "support/ok.h"
#include "support/tiny_llama.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- an allocator that counts and can fail ---------------------------------------------------- */

typedef struct counts {
    atomic_size_t live;  /* bytes */
    atomic_size_t calls; /* of allocate */
    atomic_size_t fail;  /* the number of the call that fails; 0: none */
} counts;

static void *allocate(void *user, size_t bytes, size_t alignment) {
    counts *c = user;
    void *pointer = NULL;
    if (alignment < sizeof(void *)) alignment = sizeof(void *);
    size_t call = atomic_fetch_add(&c->calls, 1) + 1;
    if (call == atomic_load(&c->fail) || posix_memalign(&pointer, alignment, bytes) != 0) return NULL;
    atomic_fetch_add(&c->live, bytes);
    return pointer;
}

static void release(void *user, void *pointer, size_t bytes) {
    counts *c = user;
    atomic_fetch_sub(&c->live, bytes);
    free(pointer);
}

typedef struct session {
    counts counts;
    mia_allocator allocator;
    mia_device *device;
    mia_weights *weights;
    mia_lm *lm;
    mia_lm_state *state;
} session;

static void open_session(session *s, const char *backend) {
    mia_error error;
    *s = (session){.allocator = {allocate, release, &s->counts}};
    s->weights = tiny_open(&(tiny_options){.seed = 1, .layers = 1});
    assert_non_null(s->weights);
    OK(mia_device_open(&(mia_device_options){.backend = backend, .threads = 1, .allocator = &s->allocator},
                       &s->device, &error));
    OK(mia_lm_open(s->device, s->weights, &(mia_lm_options){.allocator = &s->allocator}, &s->lm, &error));
    OK(mia_lm_state_open(s->lm, &s->state, &error));
}

static void close_session(session *s) {
    mia_error error;
    atomic_store(&s->counts.fail, 0);
    mia_lm_state_close(s->state);
    mia_lm_close(s->lm);
    mia_weights_close(s->weights);
    OK(mia_device_close(s->device, &error));
    assert_int_equal(atomic_load(&s->counts.live), 0);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static const int32_t ids[300];

/* Polls until the step is over; counts the polls that said PENDING. */
static mia_status finish(mia_lm_state *state, size_t *pending, mia_error *error) {
    mia_status status;
    for (*pending = 0; (status = mia_lm_step_poll(state, error)) == MIA_ERROR_PENDING; ++*pending)
        if (*pending > 100000) fail_msg("the step does not end");
    return status;
}

/* Work takes 20 polls: had anything waited for it (which completes it at once), fewer would do. */
static void nothing_blocks(void **unused) {
    (void)unused;
    enum { POLLS = 20 };
    session s;
    mia_error error;
    size_t pending;
    float logits[TINY_VOCABULARY];
    open_session(&s, "null");
    mia__null_set_polls(s.device->backend, POLLS);
    uint64_t runs = mia_device_count(s.device).runs;

    OK(mia_lm_step_begin(s.state, ids, 1, 0, logits, &error));
    assert_int_equal(mia_device_count(s.device).runs, runs);
    assert_int_equal(mia_lm_state_length(s.state), 0);
    assert_int_equal(mia_lm_step_begin(s.state, ids, 1, 0, logits, &error), MIA_ERROR_INVALID_ARGUMENT);
    OK(finish(s.state, &pending, &error));
    assert_true(pending >= 2 * (POLLS - 1)); /* a run, then the logits */
    assert_int_equal(mia_device_count(s.device).runs, runs + 1);
    assert_int_equal(mia_lm_state_length(s.state), 1);

    /* chunks of 128, 128 and 8 */
    OK(mia_lm_step_begin(s.state, ids, 264, 0, NULL, &error));
    OK(finish(s.state, &pending, &error));
    assert_int_equal(mia_device_count(s.device).runs, runs + 4);
    assert_true(pending >= 3 * (POLLS - 1));
    assert_int_equal(mia_lm_state_length(s.state), 265);

    OK(mia_lm_step_poll(s.state, &error)); /* nothing is under way */
    OK(mia_lm_step(s.state, ids, 5, 0, logits, &error));
    assert_int_equal(mia_lm_state_length(s.state), 270);
    close_session(&s);
}

/* A state that is closed, or reset, while a step is under way. */
static void changed_minds(void **unused) {
    (void)unused;
    mia_error error;
    float logits[TINY_VOCABULARY];
    for (int polls = 0; polls < 12; polls++) {
        session s;
        open_session(&s, "null");
        OK(mia_lm_step_begin(s.state, ids, 40, 0, logits, &error));
        for (int i = 0; i < polls; i++)
            if (mia_lm_step_poll(s.state, &error) != MIA_ERROR_PENDING) break;
        mia_lm_state_reset(s.state);
        assert_int_equal(mia_lm_state_length(s.state), 0);
        OK(mia_lm_step(s.state, ids, 40, 0, logits, &error));
        OK(mia_lm_step_begin(s.state, ids, 40, 0, logits, &error));
        for (int i = 0; i < polls; i++)
            if (mia_lm_step_poll(s.state, &error) != MIA_ERROR_PENDING) break;
        close_session(&s);
    }
}

/* --- failure ---------------------------------------------------------------------------------- */

static void assert_reset_helps(session *s, mia_status expected, mia_status status, const mia_error *failure) {
    mia_error error;
    float logits[TINY_VOCABULARY];
    if (status != expected) fail_msg("%s: %s", mia_status_name(status), failure->message);
    assert_true(failure->message[0] != '\0');
    assert_int_equal(mia_lm_step_begin(s->state, ids, 1, 0, logits, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "a step failed; the state has to be reset first");
    assert_int_equal(mia_lm_step_poll(s->state, &error), MIA_ERROR_INVALID_ARGUMENT);
    mia_lm_state_reset(s->state);
    assert_int_equal(mia_lm_state_length(s->state), 0);
    OK(mia_lm_step(s->state, ids, 41, 0, logits, &error));
    assert_int_equal(mia_lm_state_length(s->state), 41);
}

/* Every piece of work of a long step fails in turn. */
static void lost_runs(void **unused) {
    (void)unused;
    session s;
    mia_error error = {0};
    static float logits[300 * TINY_VOCABULARY];
    open_session(&s, "null");
    uint32_t n = 1;
    for (;; n++) {
        size_t pending;
        mia__null_fail(s.device->backend, n);
        mia_lm_state_reset(s.state);
        OK(mia_lm_step_begin(s.state, ids, 300, n % 2 == 0 ? MIA_LM_ALL_LOGITS : 0, logits, &error));
        mia_status status = finish(s.state, &pending, &error);
        mia__null_fail(s.device->backend, 0);
        if (status == MIA_OK) break;
        assert_reset_helps(&s, MIA_ERROR_DEVICE_LOST, status, &error);
    }
    assert_true(n > 4);
    close_session(&s);
}

static mia_status step(mia_lm_state *state, size_t count, bool later, float *logits, mia_error *error) {
    size_t pending;
    if (!later) return mia_lm_step(state, ids, count, 0, logits, error);
    mia_status status = mia_lm_step_begin(state, ids, count, 0, logits, error);
    return status == MIA_OK ? finish(state, &pending, error) : status;
}

/* Every allocation of opening a state and of two steps fails in turn: one that makes caches, one that grows
 * them. */
static void no_memory(const char *backend, bool later) {
    mia_error error = {0};
    static float logits[300 * TINY_VOCABULARY];
    session s;
    open_session(&s, backend);
    for (size_t n = 1;; n++) {
        mia_lm_state_close(s.state);
        atomic_store(&s.counts.calls, 0);
        atomic_store(&s.counts.fail, n);
        mia_status status = mia_lm_state_open(s.lm, &s.state, &error);
        bool opened = status == MIA_OK;
        if (status == MIA_OK) status = step(s.state, 250, later, logits, &error);
        if (status == MIA_OK) status = step(s.state, 20, later, logits, &error);
        bool all_made = atomic_load(&s.counts.calls) < n;
        atomic_store(&s.counts.fail, 0);
        if (status == MIA_OK && all_made) break;
        if (status == MIA_OK) continue; /* what failed was not needed */
        if (opened)
            assert_reset_helps(&s, MIA_ERROR_NO_MEMORY, status, &error);
        else
            OK(mia_lm_state_open(s.lm, &s.state, &error));
    }
    close_session(&s);
}

static void no_memory_on_null(void **unused) {
    (void)unused;
    no_memory("null", true);
    no_memory("null", false);
}

static void no_memory_on_cpu(void **unused) {
    (void)unused;
    no_memory("cpu", false);
}

/* Every allocation of opening a model fails in turn. */
static void no_memory_to_open(void **unused) {
    (void)unused;
    mia_error error = {0};
    session s;
    open_session(&s, "null");
    for (size_t n = 1;; n++) {
        mia_lm *lm;
        mia_device *device;
        OK(mia_device_open(&(mia_device_options){.backend = "null", .allocator = &s.allocator}, &device,
                           &error));
        atomic_store(&s.counts.calls, 0);
        atomic_store(&s.counts.fail, n);
        mia_status status =
            mia_lm_open(device, s.weights, &(mia_lm_options){.allocator = &s.allocator}, &lm, &error);
        bool all_made = atomic_load(&s.counts.calls) < n;
        atomic_store(&s.counts.fail, 0);
        if (status != MIA_OK) {
            if (status != MIA_ERROR_NO_MEMORY) fail_msg("%s: %s", mia_status_name(status), error.message);
            assert_null(lm);
        } else {
            mia_lm_close(lm);
        }
        OK(mia_device_close(device, &error));
        if (status == MIA_OK && all_made) break;
    }
    close_session(&s);
}

/* The caller may stop loading at any point. */
static bool stop_after(void *user, double fraction) {
    int *left = user;
    assert_true(fraction >= 0 && fraction <= 1);
    return (*left)-- > 0;
}

static void cancelled_loading(void **unused) {
    (void)unused;
    mia_error error;
    session s;
    open_session(&s, "null");
    for (int n = 0;; n++) {
        int left = n;
        mia_lm *lm;
        mia_device *device;
        OK(mia_device_open(&(mia_device_options){.backend = "null"}, &device, &error));
        mia_lm_options options = {.progress = stop_after, .progress_user = &left};
        mia_status status = mia_lm_open(device, s.weights, &options, &lm, &error);
        if (status != MIA_OK) assert_int_equal(status, MIA_ERROR_CANCELLED);
        mia_lm_close(lm);
        OK(mia_device_close(device, &error));
        if (status != MIA_OK) continue;
        assert_true(n > 3);
        break;
    }
    close_session(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_blocks),    cmocka_unit_test(changed_minds),
        cmocka_unit_test(lost_runs),         cmocka_unit_test(no_memory_on_null),
        cmocka_unit_test(no_memory_on_cpu),  cmocka_unit_test(no_memory_to_open),
        cmocka_unit_test(cancelled_loading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
