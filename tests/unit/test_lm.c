/* Language models: tiny random ones against a forward pass in double (support/tiny_llama.c); states: chunks,
 * growing caches, a full context, reset; memory that was promised; two threads. Bundled and shared models are
 * in test_lm_golden.c, waiting and failure in test_lm_waiting.c, files that do not fit together in
 * test_lm_open.c. */
#include "support.h"
#include "support/ok.h"
#include "support/tiny_llama.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VOCABULARY  TINY_VOCABULARY
#define MOST_TOKENS 700

/* Largest difference of logits, in units of the largest logit. Weights are drawn so that every layer is well
 * conditioned; float passes then stay within 3e-6 of the one in double (seen over 25 seeds), and what goes
 * wrong goes wrong by far more. */
#define BOUND 2e-5

static uint64_t seed;

static int start_seed(void **state) {
    (void)state;
    seed = test_seed();
    return 0;
}

typedef struct session {
    mia_device *device;
    mia_weights *weights;
    mia_lm *lm;
    mia_lm_state *state;
} session;

static session open_session(const char *backend, const tiny_options *options, int64_t context) {
    session s = {0};
    mia_error error;
    mia_device_options device = {.backend = backend, .threads = 2};
    mia_lm_options lm = {.context = context};
    s.weights = tiny_open(options);
    assert_non_null(s.weights);
    OK(mia_device_open(&device, &s.device, &error));
    OK(mia_lm_open(s.device, s.weights, &lm, &s.lm, &error));
    OK(mia_lm_state_open(s.lm, &s.state, &error));
    return s;
}

/* Also shows that nothing leaked. */
static void close_session(session *s) {
    mia_error error;
    mia_lm_state_close(s->state);
    mia_lm_close(s->lm);
    mia_weights_close(s->weights);
    OK(mia_device_close(s->device, &error));
}

static double largest(const float *x, size_t count) {
    double most = 0;
    for (size_t i = 0; i < count; i++) most = fmax(most, fabs((double)x[i]));
    return most;
}

static void assert_close(const float *x, const float *y, size_t count, double bound) {
    double scale = largest(y, count);
    assert_true(scale > 0.1);
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)x[i] - (double)y[i]) <= bound * scale))
            fail_msg("logit %zu of token %zu: %g, not %g", i % VOCABULARY, i / VOCABULARY, (double)x[i],
                     (double)y[i]);
}

/* --- against the forward pass ----------------------------------------------------------------- */

static void check_forward(const char *backend, tiny_options options, size_t count) {
    static int32_t ids[MOST_TOKENS];
    static double expected[MOST_TOKENS * VOCABULARY];
    static float wanted[MOST_TOKENS * VOCABULARY], logits[MOST_TOKENS * VOCABULARY];
    mia_error error;
    options.seed = seed;
    tiny_ids(seed + 1, ids, count);
    session s = open_session(backend, &options, 0);
    tiny_forward(s.weights, &options, ids, count, expected);
    for (size_t i = 0; i < count * VOCABULARY; i++) wanted[i] = (float)expected[i];
    OK(mia_lm_step(s.state, ids, count, MIA_LM_ALL_LOGITS, logits, &error));
    assert_close(logits, wanted, count * VOCABULARY, BOUND);
    mia_lm_state_reset(s.state);
    OK(mia_lm_step(s.state, ids, count, 0, logits, &error));
    assert_close(logits, wanted + (count - 1) * VOCABULARY, VOCABULARY, BOUND);
    close_session(&s);
}

static void check_variants(const char *backend, size_t count) {
    check_forward(backend, (tiny_options){0}, count);
    check_forward(backend, (tiny_options){.tied = true}, count);
    check_forward(backend, (tiny_options){.kv_heads = 4}, count);
    check_forward(backend, (tiny_options){.kv_heads = 1, .layers = 3}, count);
    check_forward(backend, (tiny_options){.linear = 4}, count);
    check_forward(backend, (tiny_options){.yarn = 4, .original = 256, .key_dim = 16}, count);
    check_forward(backend, (tiny_options){.factors = true}, count);
    check_forward(backend, (tiny_options){.biased = true}, count);
    check_forward(backend, (tiny_options){.key_dim = 12, .value_dim = 6, .rope_dim = 8}, count);
    check_forward(backend, (tiny_options){.dim = 20, .ffn = 37, .heads = 2, .kv_heads = 1}, count);
}

static void forward_on_cpu(void **state) {
    (void)state;
    check_variants("cpu", 75);
}

static void forward_on_reference(void **state) {
    (void)state;
    check_variants("reference", 11);
}

static void long_forward(void **state) {
    (void)state;
    check_forward("cpu", (tiny_options){.layers = 1}, 600);
}

/* --- state ------------------------------------------------------------------------------------ */

/* However the tokens are cut into steps, the last logits are the same within the bound, and the caches grow
 * on the way. */
static void chunks_do_not_matter(void **state) {
    (void)state;
    static int32_t ids[MOST_TOKENS];
    static float single[MOST_TOKENS * VOCABULARY], logits[VOCABULARY];
    mia_error error;
    uint64_t random = seed;
    tiny_options options = {.seed = seed};
    tiny_ids(seed + 2, ids, MOST_TOKENS);
    session s = open_session("cpu", &options, 0);
    for (size_t i = 0; i < MOST_TOKENS; i++)
        OK(mia_lm_step(s.state, &ids[i], 1, 0, &single[i * VOCABULARY], &error));
    assert_int_equal(mia_lm_state_length(s.state), MOST_TOKENS);
    for (int round = 0; round < 12; round++) {
        mia_lm_state_reset(s.state);
        assert_int_equal(mia_lm_state_length(s.state), 0);
        if (round % 3 == 0) { /* caches from the start again, too */
            mia_lm_state_close(s.state);
            OK(mia_lm_state_open(s.lm, &s.state, &error));
        }
        for (size_t done = 0; done < MOST_TOKENS;) {
            size_t most = round % 2 == 0 ? 40 : 400, count = 1 + (size_t)(tiny_random(&random) % most);
            if (count > MOST_TOKENS - done) count = MOST_TOKENS - done;
            bool silent = tiny_random(&random) % 4 == 0;
            OK(mia_lm_step(s.state, &ids[done], count, 0, silent ? NULL : logits, &error));
            done += count;
            assert_int_equal(mia_lm_state_length(s.state), done);
            if (!silent) assert_close(logits, &single[(done - 1) * VOCABULARY], VOCABULARY, BOUND);
        }
    }
    close_session(&s);
}

static void full_context(void **state) {
    (void)state;
    int32_t ids[40];
    float before[VOCABULARY], after[VOCABULARY];
    mia_error error;
    tiny_options options = {.seed = seed};
    tiny_ids(seed + 3, ids, 40);
    session s = open_session("cpu", &options, 37);
    assert_int_equal(mia_lm_describe(s.lm).context, 37);
    OK(mia_lm_step(s.state, ids, 30, 0, NULL, &error));
    assert_int_equal(mia_lm_step(s.state, ids, 8, 0, NULL, &error), MIA_ERROR_CONTEXT_FULL);
    assert_string_equal(error.message, "8 tokens do not fit: the context holds 37, of which 30 are taken");
    assert_int_equal(mia_lm_state_length(s.state), 30);
    OK(mia_lm_step(s.state, ids, 7, 0, before, &error));
    assert_int_equal(mia_lm_step(s.state, ids, 1, 0, NULL, &error), MIA_ERROR_CONTEXT_FULL);
    mia_lm_state_reset(s.state);
    assert_int_equal(mia_lm_step(s.state, ids, 38, 0, NULL, &error), MIA_ERROR_CONTEXT_FULL);
    OK(mia_lm_step(s.state, ids, 30, 0, NULL, &error));
    OK(mia_lm_step(s.state, ids, 7, 0, after, &error));
    assert_memory_equal(before, after, sizeof before);
    close_session(&s);
}

static void wrong_steps(void **state) {
    (void)state;
    int32_t ids[3] = {5, VOCABULARY, -1};
    mia_error error;
    session s = open_session("cpu", &(tiny_options){.seed = seed}, 0);
    assert_int_equal(mia_lm_step(s.state, ids, 2, 0, NULL, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "token 1 of the step is 300; the vocabulary has 300 tokens");
    assert_int_equal(mia_lm_step(s.state, ids + 2, 1, 0, NULL, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(mia_lm_step(s.state, ids, 0, 0, NULL, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(mia_lm_state_length(s.state), 0);
    OK(mia_lm_step(s.state, ids, 1, 0, NULL, &error)); /* none of them did harm */
    close_session(&s);
}

/* Decoding plans once a size of the caches, not once a token. */
static void decoding_plans_once(void **state) {
    (void)state;
    float logits[VOCABULARY];
    int32_t id = 7;
    mia_error error;
    session s = open_session("cpu", &(tiny_options){.seed = seed}, 0);
    for (int i = 0; i < 3; i++) OK(mia_lm_step(s.state, &id, 1, 0, logits, &error));
    mia_device_counters before = mia_device_count(s.device);
    for (int i = 0; i < 200; i++) OK(mia_lm_step(s.state, &id, 1, 0, logits, &error));
    mia_device_counters after = mia_device_count(s.device);
    assert_int_equal(after.plans, before.plans);
    assert_int_equal(after.handles, before.handles);
    assert_int_equal(after.bytes, before.bytes);
    close_session(&s);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* A device that has just the promised bytes carries a whole context, in small steps and in the largest; one
 * byte less is refused before anything is read. */
static void promised_memory(void **state) {
    (void)state;
    static int32_t ids[600];
    static float logits[600 * VOCABULARY];
    mia_error error;
    tiny_options options = {.seed = seed, .context = 600};
    tiny_ids(seed + 4, ids, 600);
    session s = open_session("cpu", &options, 0);
    uint64_t needed = mia_lm_describe(s.lm).needed_bytes;
    close_session(&s);
    s = (session){.weights = tiny_open(&options)};
    assert_non_null(s.weights);
    OK(mia_device_open(&(mia_device_options){.threads = 2, .max_bytes = needed}, &s.device, &error));
    OK(mia_lm_open(s.device, s.weights, NULL, &s.lm, &error));
    OK(mia_lm_state_open(s.lm, &s.state, &error));
    for (size_t i = 0; i < 600; i += 5) OK(mia_lm_step(s.state, &ids[i], 5, 0, logits, &error));
    mia_lm_state_reset(s.state);
    OK(mia_lm_step(s.state, ids, 600, MIA_LM_ALL_LOGITS, logits, &error));
    mia_lm_state_reset(s.state);
    OK(mia_lm_step(s.state, ids, 600, 0, logits, &error));
    uint64_t peak = mia_device_count(s.device).peak_bytes;
    printf("promised %llu bytes, used %llu at most\n", (unsigned long long)needed, (unsigned long long)peak);
    assert_true(peak <= needed);
    assert_true(peak > needed / 2); /* that all of it may be needed: test_lm_plan.c */
    close_session(&s);

    mia_weights *weights = tiny_open(&options);
    mia_device *device;
    mia_lm *lm;
    assert_non_null(weights);
    OK(mia_device_open(&(mia_device_options){.threads = 2, .max_bytes = needed - 1}, &device, &error));
    assert_int_equal(mia_lm_open(device, weights, NULL, &lm, &error), MIA_ERROR_OVER_LIMIT);
    assert_null(lm);
    char expected[100];
    snprintf(expected, sizeof expected, " needs %llu bytes, the limit is %llu", (unsigned long long)needed,
             (unsigned long long)needed - 1);
    assert_non_null(strstr(error.message, expected));
    assert_true(mia_device_count(device).peak_bytes < needed / 10); /* nothing was loaded */
    mia_weights_close(weights);
    OK(mia_device_close(device, &error));
}

/* --- threads ---------------------------------------------------------------------------------- */

typedef struct worker {
    mia_lm *lm;
    const int32_t *ids;
    size_t count;
    float logits[VOCABULARY];
    mia_status status;
    mia_error error;
} worker;

static void *work(void *user) {
    worker *w = user;
    mia_lm_state *state;
    w->status = mia_lm_state_open(w->lm, &state, &w->error);
    if (w->status != MIA_OK) return NULL;
    for (size_t done = 0; w->status == MIA_OK && done < w->count;) {
        size_t count = done % 7 + 1 < w->count - done ? done % 7 + 1 : w->count - done;
        w->status = mia_lm_step(state, w->ids + done, count, 0, w->logits, &w->error);
        done += count;
    }
    mia_lm_state_close(state);
    return NULL;
}

static void two_threads(void **state) {
    (void)state;
    int32_t ids[2][90];
    worker workers[2], alone[2];
    pthread_t threads[2];
    session s = open_session("cpu", &(tiny_options){.seed = seed}, 0);
    for (int i = 0; i < 2; i++) {
        tiny_ids(seed + 5 + (uint64_t)i, ids[i], 90);
        alone[i] = workers[i] = (worker){.lm = s.lm, .ids = ids[i], .count = 90};
        work(&alone[i]);
        if (alone[i].status != MIA_OK) fail_msg("%s", alone[i].error.message);
    }
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 2; i++) {
        if (workers[i].status != MIA_OK) fail_msg("%s", workers[i].error.message);
        assert_memory_equal(workers[i].logits, alone[i].logits, sizeof alone[i].logits);
    }
    close_session(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_on_cpu),      cmocka_unit_test(forward_on_reference),
        cmocka_unit_test(long_forward),        cmocka_unit_test(chunks_do_not_matter),
        cmocka_unit_test(full_context),        cmocka_unit_test(wrong_steps),
        cmocka_unit_test(decoding_plans_once), cmocka_unit_test(promised_memory),
        cmocka_unit_test(two_threads),
    };
    return cmocka_run_group_tests(tests, start_seed, NULL);
}
