/* Tokens chosen on the device: the same text as the sampler's where both take the most likely, draws that follow the
 * softmax, and steps that begin before the token that they read is known. On cpu and reference, which do not do so by
 * themselves. MIA_TEST_BACKEND=webgpu tests that backend instead, on the GPU that it finds, with the tiny model alone. */
#include "support.h"
#include "support/tiny_llama.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call)                                                                                             \
    do {                                                                                                     \
        error = (mia_error){0};                                                                              \
        if ((call) != MIA_OK) fail_msg("%s:%d: %s", __FILE__, __LINE__, error.message);                      \
    } while (0)

typedef struct session {
    mia_device *device;
    mia_weights *weights;
    mia_lm *lm;
} session;

static const char *tested = "cpu";
static bool on_gpu;

/* bundled, or tiny and random, as it always is on a GPU, which a CPU may stand for */
static session open_session(const char *backend, bool bundled, int64_t context) {
    const tiny_options tiny = {.seed = 11, .context = 600};
    session s = {0};
    mia_error error;
    OK(mia_device_open(&(mia_device_options){.backend = backend, .threads = 2}, &s.device, &error));
    if (bundled && !on_gpu)
        OK(mia_weights_open_file(MIA_MODELS_DIR "/mia-tales-9m-q8_0.gguf", NULL, &s.weights, &error));
    else
        s.weights = tiny_open(&tiny);
    OK(mia_lm_open(s.device, s.weights, &(mia_lm_options){.context = context}, &s.lm, &error));
    return s;
}

static void close_session(session *s) {
    mia_error error;
    mia_lm_close(s->lm);
    mia_weights_close(s->weights);
    OK(mia_device_close(s->device, &error));
}

/* --- texts ------------------------------------------------------------------------------------ */

typedef struct story {
    char text[30000];
    size_t length;
    mia_finish finish;
    mia_generation_stats stats;
} story;

static void tell(const session *s, mia_chooser chooser, mia_generation_options options, story *out) {
    static const char prompt[] = "Once upon a time";
    mia_error error;
    mia_generation *generation;
    mia_text text;
    *out = (story){.finish = MIA_FINISH_NONE};
    options.chooser = chooser;
    OK(mia_generation_open(s->lm, prompt, strlen(prompt), &options, &generation, &error));
    while (out->finish == MIA_FINISH_NONE) {
        OK(mia_generation_next(generation, &text, &out->finish, &error));
        assert_true(out->length + text.length < sizeof out->text);
        memcpy(out->text + out->length, text.bytes, text.length);
        out->length += text.length;
    }
    out->text[out->length] = '\0';
    out->stats = mia_generation_describe(generation);
    mia_generation_close(generation);
}

static void check_same(const session *s, const mia_generation_options *options) {
    static story by_sampler, by_device;
    tell(s, MIA_CHOOSER_SAMPLER, *options, &by_sampler);
    tell(s, MIA_CHOOSER_DEVICE, *options, &by_device);
    assert_string_equal(by_device.text, by_sampler.text);
    assert_int_equal(by_device.finish, by_sampler.finish);
    assert_int_equal(by_device.stats.generated_tokens, by_sampler.stats.generated_tokens);
    assert_int_equal(by_device.stats.generation_steps, by_sampler.stats.generation_steps);
    assert_int_equal(by_device.stats.prompt_read, by_sampler.stats.prompt_read);
}

/* To the end that the model sets, to a length, to a stop string, and to a full context. */
static void test_same_text(void **state) {
    (void)state;
    static const char *const stops[] = {"the"};
    session s = open_session(tested, true, 0);
    check_same(&s, &(mia_generation_options){.max_tokens = 0});
    check_same(&s, &(mia_generation_options){.max_tokens = 1});
    check_same(&s, &(mia_generation_options){.max_tokens = 40, .sampler = {.top_k = 5, .min_p = 0.1F}});
    check_same(&s, &(mia_generation_options){.max_tokens = 40, .stops = stops, .stop_count = 1});
    check_same(&s, &(mia_generation_options){.max_tokens = 20,
                                             .sampler = {.repeat_penalty = 2, .repeat_last_n = 9}});
    close_session(&s);
    s = open_session(tested, true, on_gpu ? 32 : 16);
    check_same(&s, &(mia_generation_options){.max_tokens = 0});
    close_session(&s);
    s = open_session("reference", false, 40);
    check_same(&s, &(mia_generation_options){.max_tokens = 0});
    close_session(&s);
}

/* A seed repeats a text, another gives another. */
static void test_seeds(void **state) {
    (void)state;
    static story a, b, c;
    session s = open_session(tested, true, 0);
    mia_generation_options options = {.max_tokens = 60,
                                      .sampler = {.temperature = 1, .seeded = true, .seed = 5}};
    tell(&s, MIA_CHOOSER_DEVICE, options, &a);
    tell(&s, MIA_CHOOSER_DEVICE, options, &b);
    options.sampler.seed = 6;
    tell(&s, MIA_CHOOSER_DEVICE, options, &c);
    assert_string_equal(a.text, b.text);
    assert_string_not_equal(a.text, c.text);
    close_session(&s);
}

/* --- steps ------------------------------------------------------------------------------------ */

static int32_t chosen(mia_lm_state *state) {
    mia_error error;
    int32_t id = -1;
    OK(mia_read(mia_lm_chosen(state), &id, 1, &error));
    return id;
}

/* Draws from one distribution, against the softmax of its logits: Pearson's statistic. */
static void test_draws(void **state) {
    (void)state;
    enum { MOST = 4096 };
    const int draws = on_gpu ? 800 : 4000;
    static float logits[MOST];
    static int64_t counts[MOST];
    static double expected[MOST];
    uint64_t seed = test_seed();
    session s = open_session(tested, false, 0);
    int64_t vocabulary = mia_lm_describe(s.lm).vocabulary;
    mia_lm_state *reader;
    mia_error error;
    const int32_t ids[] = {3, 1, 2};
    const double temperature = 0.7;
    assert_true(vocabulary <= MOST);
    OK(mia_lm_state_open(s.lm, &reader, &error));
    OK(mia_lm_step(reader, ids, 3, 0, logits, &error));
    double total = 0, statistic = 0, rest = 0, rest_expected = 0;
    for (int64_t i = 0; i < vocabulary; i++)
        total += expected[i] = exp(((double)logits[i] - (double)logits[0]) / temperature);
    memset(counts, 0, sizeof counts);
    for (int n = 0; n < draws; n++) {
        const mia_lm_choice choice = {(float)temperature, test_random(&seed)};
        mia_lm_state_reset(reader);
        OK(mia_lm_step_choose_begin(reader, ids, 3, &choice, &error));
        OK(mia_lm_step_wait(reader, &error));
        counts[chosen(reader)]++;
    }
    int64_t cells = 0;
    for (int64_t i = 0; i < vocabulary; i++) {
        double e = expected[i] / total * draws, o = (double)counts[i];
        if (e < 5) {
            rest += o;
            rest_expected += e;
            continue;
        }
        statistic += (o - e) * (o - e) / e;
        cells++;
    }
    if (rest_expected >= 5) {
        statistic += (rest - rest_expected) * (rest - rest_expected) / rest_expected;
        cells++;
    }
    double freedom = (double)cells - 1, allowed = freedom + 6 * sqrt(2 * freedom) + 12; /* beyond 6 sigma */
    printf("%lld cells, statistic %.1f, allowed %.1f\n", (long long)cells, statistic, allowed);
    assert_true(cells > 3 && statistic < allowed);
    mia_lm_state_close(reader);
    close_session(&s);
}

/* A chain of steps of which nothing is read until the end, against one that reads each. */
static void test_ahead(void **state) {
    (void)state;
    enum { TOKENS = 12 };
    session s = open_session(tested, false, 0);
    const mia_lm_choice choice = {0};
    const int32_t first[] = {5, 4, 3, 2, 1, 6, 7, 8, 9, 10, 11};
    int32_t one_by_one[TOKENS];
    mia_tensor_i32 kept[TOKENS];
    mia_lm_state *reader;
    mia_error error;
    OK(mia_lm_state_open(s.lm, &reader, &error));
    for (int i = 0; i < TOKENS; i++) {
        const int32_t *ids = i == 0 ? first : &one_by_one[i - 1];
        OK(mia_lm_step_choose_begin(reader, ids, i == 0 ? 11 : 1, &choice, &error));
        OK(mia_lm_step_wait(reader, &error));
        one_by_one[i] = chosen(reader);
    }
    assert_int_equal(mia_lm_state_length(reader), 11 + TOKENS - 1);
    mia_lm_state_reset(reader);
    for (int i = 0; i < TOKENS; i++) {
        OK(mia_lm_step_choose_begin(reader, i == 0 ? first : NULL, 11, &choice, &error));
        if (i > 0) kept[i] = mia_lm_chosen(reader);
        OK(mia_lm_step_wait(reader, &error));
        if (i == 0) kept[0] = mia_lm_chosen(reader);
    }
    for (int i = 0; i < TOKENS; i++) {
        int32_t id = -1;
        OK(mia_read(kept[i], &id, 1, &error));
        assert_int_equal(id, one_by_one[i]);
    }
    mia_lm_state_close(reader);
    close_session(&s);
}

static void test_misuse(void **state) {
    (void)state;
    session s = open_session(tested, false, 0);
    mia_lm_choice choice = {0};
    mia_lm_state *reader;
    mia_error error = {0};
    const int32_t ids[] = {1};
    OK(mia_lm_state_open(s.lm, &reader, &error));
    assert_int_equal(mia_lm_step_choose_begin(reader, NULL, 1, &choice, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "no token was chosen"));
    choice.temperature = -1;
    assert_int_equal(mia_lm_step_choose_begin(reader, ids, 1, &choice, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "temperature -1"));
    choice.temperature = 0;
    assert_null(mia_lm_chosen(reader).untyped.device);
    OK(mia_lm_step_choose_begin(reader, ids, 1, &choice, &error));
    assert_int_equal(mia_lm_step_choose_begin(reader, NULL, 1, &choice, &error), MIA_ERROR_INVALID_ARGUMENT);
    OK(mia_lm_step_wait(reader, &error));
    OK(mia_lm_step_wait(reader, &error)); /* nothing is under way */
    mia_lm_state_reset(reader);
    assert_int_equal(mia_lm_step_choose_begin(reader, NULL, 1, &choice, &error), MIA_ERROR_INVALID_ARGUMENT);
    mia_lm_state_close(reader);
    close_session(&s);
}

/* Whether there is a GPU, which the message of a failure says. */
static bool opens(mia_error *error) {
    mia_device *device = NULL;
    const mia_device_options options = {.backend = tested};
    return mia_device_open(&options, &device, error) == MIA_OK && mia_device_close(device, error) == MIA_OK;
}

int main(void) {
    const char *backend = getenv("MIA_TEST_BACKEND");
    mia_error error = {0};
    on_gpu = backend != NULL && strcmp(backend, "webgpu") == 0;
    if (on_gpu) tested = "webgpu";
    if (!opens(&error)) {
        printf("%s: %s\n", error.status == MIA_ERROR_NOT_FOUND ? "skipped" : "error", error.message);
        return error.status == MIA_ERROR_NOT_FOUND ? 77 : 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_text), cmocka_unit_test(test_seeds),
                                       cmocka_unit_test(test_draws), cmocka_unit_test(test_ahead),
                                       cmocka_unit_test(test_misuse)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
