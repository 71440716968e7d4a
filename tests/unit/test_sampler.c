/* The sampler: frequencies of draws against a distribution that is computed by sorting everything in double
 * precision; each filter on cases small enough to work out by hand; seeds, refusals, memory.
 *
 * Counts are held against Bernstein's inequality: N draws of probability p miss Np by more than
 * t/3 + sqrt(t^2/9 + 2tNp(1-p)) with a chance of at most 2 exp(-t); t = 24 makes that 8e-11 a count. */
#include "gguf_builder.h" /* the counting allocator */
#include "support.h"

#include <float.h>
#include <math.h>
#include <mia/lm.h>
#include <stdio.h>

#define DRAWS 20000
#define MOST  64 /* tokens of a vocabulary whose distribution is checked */

static uint64_t random_state;

static int start_seed(void **state) {
    (void)state;
    random_state = test_seed();
    return 0;
}

static size_t random_below(size_t limit) {
    return (size_t)test_below(&random_state, (int64_t)limit);
}

static float random_float(double low, double high) {
    return (float)(low + (high - low) * (double)random_below(1u << 30) / (double)(1u << 30));
}

static mia_sampler *open_or_fail(const mia_sampler_options *options, size_t vocabulary) {
    mia_error error = {0};
    mia_sampler *sampler;
    if (mia_sampler_open(options, vocabulary, NULL, &sampler, &error) != MIA_OK)
        fail_msg("%s", error.message);
    return sampler;
}

static int32_t choose(mia_sampler *sampler, const float *logits) {
    mia_error error = {0};
    int32_t id = -1;
    if (mia_sampler_choose(sampler, logits, &id, &error) != MIA_OK) fail_msg("%s", error.message);
    return id;
}

/* --- the reference ---------------------------------------------------------------------------- */

static void normalize(double *p, size_t count) {
    double total = 0;
    for (size_t i = 0; i < count; i++) total += p[i];
    for (size_t i = 0; i < count; i++) p[i] /= total;
}

/* The probability of each token, straight from the definitions. `history` is what was accepted. */
static void reference(const mia_sampler_options *o, const float *logits, size_t count, const int32_t *history,
                      size_t length, double *out) {
    double x[MOST], p[MOST];
    size_t order[MOST], kept = 0;
    for (size_t i = 0; i < count; i++) {
        x[i] = isnan(logits[i]) ? -INFINITY : (double)logits[i];
        bool repeated = false;
        for (size_t k = 0; k < length; k++)
            if (length - k <= (size_t)o->repeat_last_n && (size_t)history[k] == i) repeated = true;
        if (repeated && o->repeat_penalty > 0)
            x[i] = x[i] > 0 ? x[i] / (double)o->repeat_penalty : x[i] * (double)o->repeat_penalty;
        out[i] = 0;
        size_t place = kept++;
        for (; place > 0 && x[order[place - 1]] < x[i]; place--) order[place] = order[place - 1];
        order[place] = i;
    }
    while (kept > 0 && x[order[kept - 1]] == -INFINITY) kept--;
    if (o->top_k > 0 && kept > (size_t)o->top_k) kept = (size_t)o->top_k;
    for (size_t i = 0; i < kept; i++) p[i] = exp(x[order[i]] - x[order[0]]);
    normalize(p, kept);
    double reached = 0;
    for (size_t i = 0; o->top_p > 0 && o->top_p < 1 && i < kept; i++) {
        reached += p[i];
        if (reached >= (double)o->top_p) kept = i + 1;
    }
    while (p[kept - 1] < (double)o->min_p * p[0]) kept--;
    for (size_t i = 0; i < kept; i++) p[i] = exp((x[order[i]] - x[order[0]]) / (double)o->temperature);
    normalize(p, kept);
    for (size_t i = 0; i < kept; i++) out[order[i]] = p[i];
}

static void check_frequencies(const mia_sampler_options *options, const float *logits, size_t count,
                              const int32_t *history, size_t length, const double *expected) {
    size_t seen[MOST] = {0};
    mia_sampler *sampler = open_or_fail(options, count);
    for (size_t i = 0; i < length; i++) mia_sampler_accept(sampler, history[i]);
    for (int i = 0; i < DRAWS; i++) seen[choose(sampler, logits)]++;
    for (size_t i = 0; i < count; i++) {
        double p = expected[i], t = 24, missed = fabs((double)seen[i] - p * DRAWS);
        double bound = t / 3 + sqrt(t * t / 9 + 2 * t * DRAWS * p * (1 - p));
        if (p == 0) assert_int_equal(seen[i], 0);
        if (missed > bound) fail_msg("token %zu: %zu of %d, probability %.5f", i, seen[i], DRAWS, p);
    }
    mia_sampler_close(sampler);
}

static void test_random_options(void **state) {
    (void)state;
    for (int round = 0; round < 100; round++) {
        float logits[MOST];
        int32_t history[40];
        double expected[MOST];
        size_t count = 1 + random_below(MOST), length = random_below(40);
        for (size_t i = 0; i < count; i++) logits[i] = random_float(-4, 4);
        for (size_t i = random_below(4); i > 0 && count > 4; i--)
            logits[1 + random_below(count - 1)] = i % 2 == 0 ? NAN : -INFINITY;
        for (size_t i = 0; i < length; i++) history[i] = (int32_t)random_below(count);
        mia_sampler_options options = {.temperature = random_float(0.2, 2), .seeded = true};
        options.seed = random_below(1u << 30);
        if (random_below(2)) options.top_k = (int32_t)(1 + random_below(count + 4));
        if (random_below(2)) options.top_p = random_float(0.05, 1.05);
        if (random_below(2)) options.min_p = random_float(0, 0.5);
        if (random_below(2)) options.repeat_penalty = random_float(0.5, 2);
        options.repeat_last_n = (int32_t)random_below(50);
        reference(&options, logits, count, history, length, expected);
        check_frequencies(&options, logits, count, history, length, expected);
    }
}

/* --- by hand ---------------------------------------------------------------------------------- */

/* Logits of the probabilities 0.5, 0.25, 0.15, 0.1, out of order. */
static const float hand[4] = {-1.3862944f, -0.6931472f, -2.3025851f, -1.8971200f};

#define CHECK(options, a, b, c, d) check_frequencies(options, hand, 4, NULL, 0, (const double[]){a, b, c, d})

static void test_filters(void **state) {
    (void)state;
    mia_sampler_options o = {.temperature = 1, .seeded = true, .seed = random_below(1u << 30)};
    CHECK(&o, 0.25, 0.5, 0.1, 0.15);
    o.top_k = 1;
    CHECK(&o, 0, 1, 0, 0);
    o.top_k = 2;
    CHECK(&o, 1.0 / 3, 2.0 / 3, 0, 0);
    o.top_k = 4;
    CHECK(&o, 0.25, 0.5, 0.1, 0.15);
    o.top_k = 0;
    o.top_p = 0.49f;
    CHECK(&o, 0, 1, 0, 0);
    o.top_p = 0.74f;
    CHECK(&o, 1.0 / 3, 2.0 / 3, 0, 0);
    o.top_p = 0.76f;
    CHECK(&o, 0.25 / 0.9, 0.5 / 0.9, 0, 0.15 / 0.9);
    o.top_k = 3; /* of these, the first two have 0.83 */
    o.top_p = 0.82f;
    CHECK(&o, 1.0 / 3, 2.0 / 3, 0, 0);
    o.top_k = 0;
    o.top_p = 0;
    o.min_p = 0.29f;
    CHECK(&o, 0.25 / 0.9, 0.5 / 0.9, 0, 0.15 / 0.9);
    o.min_p = 0.31f;
    CHECK(&o, 1.0 / 3, 2.0 / 3, 0, 0);
    o.min_p = 1;
    CHECK(&o, 0, 1, 0, 0);
    o.min_p = 0;
    o.temperature = 0.5f; /* squares of the probabilities: 25, 100, 4, 9 parts */
    CHECK(&o, 25 / 138.0, 100 / 138.0, 4 / 138.0, 9 / 138.0);
    o.min_p = 0.31f; /* min-p looks at them before the temperature does */
    CHECK(&o, 0.2, 0.8, 0, 0);
}

static void test_penalty(void **state) {
    (void)state;
    static const float logits[3] = {2, -1, 1.5f};
    mia_sampler_options o = {.repeat_penalty = 2, .repeat_last_n = 2, .seeded = true};
    mia_sampler *sampler = open_or_fail(&o, 3);
    assert_int_equal(choose(sampler, logits), 0);
    mia_sampler_accept(sampler, 0); /* 1, -1, 1.5 */
    assert_int_equal(choose(sampler, logits), 2);
    mia_sampler_accept(sampler, 2); /* 1, -1, 0.75 */
    assert_int_equal(choose(sampler, logits), 0);
    mia_sampler_accept(sampler, 1); /* 2, -2, 0.75: the first is forgotten */
    assert_int_equal(choose(sampler, logits), 0);
    mia_sampler_accept(sampler, -1); /* no tokens of this vocabulary, but they count */
    mia_sampler_accept(sampler, 3);
    assert_int_equal(choose(sampler, (const float[]){1, 1.5f, 2}), 2);
    mia_sampler_close(sampler);

    /* Negative logits go down, by a factor; once, however often the token was there. */
    o.temperature = 1;
    double total = exp(1) + exp(-2) + exp(1.5);
    check_frequencies(&o, logits, 3, (const int32_t[]){1, 0, 0}, 3,
                      (const double[]){exp(1) / (exp(1) + exp(-1) + exp(1.5)),
                                       exp(-1) / (exp(1) + exp(-1) + exp(1.5)),
                                       exp(1.5) / (exp(1) + exp(-1) + exp(1.5))});
    check_frequencies(&o, logits, 3, (const int32_t[]){0, 1}, 2,
                      (const double[]){exp(1) / total, exp(-2) / total, exp(1.5) / total});
}

static void test_greedy(void **state) {
    (void)state;
    mia_sampler_options greedy = {0}; /* zero values: greedy with nothing else */
    mia_sampler *sampler = open_or_fail(&greedy, 4);
    assert_int_equal(choose(sampler, (const float[]){1, 3, 3, 2}), 1);
    assert_int_equal(choose(sampler, (const float[]){NAN, -5, NAN, -5}), 1);
    assert_int_equal(choose(sampler, (const float[]){1, INFINITY, 3, INFINITY}), 1);
    assert_int_equal(choose(sampler, (const float[]){-INFINITY, -INFINITY, -FLT_MAX, NAN}), 2);
    mia_sampler_close(sampler);
}

static void test_no_candidates(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        mia_sampler_options o = {.temperature = (float)i, .top_p = 0.5f, .min_p = 0.1f};
        mia_sampler *sampler = open_or_fail(&o, 3);
        mia_error error = {0};
        int32_t id;
        assert_int_equal(mia_sampler_choose(sampler, (const float[]){NAN, -INFINITY, NAN}, &id, &error),
                         MIA_ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "3 logits"));
        assert_int_equal(choose(sampler, (const float[]){NAN, -INFINITY, -FLT_MAX}), 2);
        mia_sampler_close(sampler);
    }
}

/* Logits that overflow whatever is computed with them. */
static void test_extremes(void **state) {
    (void)state;
    mia_sampler_options o = {.temperature = 1, .seeded = true};
    check_frequencies(&o, (const float[]){INFINITY, 0, INFINITY}, 3, NULL, 0, (const double[]){0.5, 0, 0.5});
    check_frequencies(&o, (const float[]){-FLT_MAX, FLT_MAX, 0}, 3, NULL, 0, (const double[]){0, 1, 0});
    o.top_p = 0.4f;
    check_frequencies(&o, (const float[]){0, INFINITY, INFINITY}, 3, NULL, 0, (const double[]){0, 1, 0});
    o.top_p = 0;
    o.temperature = FLT_MIN / 1024;
    check_frequencies(&o, (const float[]){0, 1, 1, 0.9999f}, 4, NULL, 0, (const double[]){0, 0.5, 0.5, 0});
    o.temperature = FLT_MAX;
    check_frequencies(&o, (const float[]){0, 100}, 2, NULL, 0, (const double[]){0.5, 0.5});
    o.temperature = 1;
    o.repeat_penalty = 1e30f;
    o.repeat_last_n = 9;
    check_frequencies(&o, (const float[]){-1e30f, -INFINITY}, 2, (const int32_t[]){0}, 1,
                      (const double[]){1, 0});
}

/* A real vocabulary's size: nothing but the k best comes up, ties going to the lower ids. */
static void test_top_k_of_many(void **state) {
    (void)state;
    enum { COUNT = 32000, K = 40 };
    float *logits = malloc(COUNT * sizeof *logits);
    for (size_t i = 0; i < COUNT; i++) logits[i] = (float)random_below(1000) * 0.01f;
    mia_sampler_options o = {.temperature = 50, .top_k = K, .seeded = true};
    mia_sampler *sampler = open_or_fail(&o, COUNT);
    bool seen[COUNT] = {false};
    for (int i = 0; i < 4000; i++) seen[choose(sampler, logits)] = true;
    size_t found = 0;
    for (size_t i = 0; i < COUNT; i++) {
        size_t better = 0;
        for (size_t k = 0; seen[i] && k < COUNT; k++)
            better += logits[k] > logits[i] || (logits[k] == logits[i] && k < i);
        assert_true(better < K);
        found += seen[i];
    }
    assert_int_equal(found, K); /* each has about 1 in 40 of 4000 draws */
    mia_sampler_close(sampler);
    free(logits);
}

/* --- seeds ------------------------------------------------------------------------------------ */

/* Over 1,024 equal logits a draw is the upper ten bits of xoshiro256**, its state SplitMix64's first four
 * numbers; worked out apart from Mia. */
static void test_generator(void **state) {
    (void)state;
    static const float logits[1024] = {0};
    static const int32_t of_0[8] = {615, 765, 105, 426, 750, 1023, 432, 548};
    static const int32_t of_42[8] = {85, 388, 696, 946, 1015, 788, 736, 870};
    for (int i = 0; i < 2; i++) {
        mia_sampler_options o = {.temperature = 1, .seeded = true, .seed = i == 0 ? 0 : 42};
        mia_sampler *sampler = open_or_fail(&o, 1024);
        assert_int_equal(mia_sampler_seed(sampler), o.seed);
        for (int k = 0; k < 8; k++) assert_int_equal(choose(sampler, logits), (i == 0 ? of_0 : of_42)[k]);
        mia_sampler_close(sampler);
    }
}

static void test_drawn_seed(void **state) {
    (void)state;
    static const float logits[1024] = {0};
    mia_sampler_options o = {.temperature = 1, .seed = 7}; /* a seed that is not said to be one */
    mia_sampler *first = open_or_fail(&o, 1024), *second = open_or_fail(&o, 1024);
    assert_int_not_equal(mia_sampler_seed(first), mia_sampler_seed(second));
    o.seeded = true;
    o.seed = mia_sampler_seed(first);
    mia_sampler *again = open_or_fail(&o, 1024);
    for (int i = 0; i < 100; i++) assert_int_equal(choose(first, logits), choose(again, logits));
    mia_sampler_close(first);
    mia_sampler_close(second);
    mia_sampler_close(again);
    mia_sampler_close(NULL);
}

/* --- refusals and memory ---------------------------------------------------------------------- */

static void refused(const mia_sampler_options *options, size_t vocabulary, const char *field) {
    mia_error error = {0};
    mia_sampler *sampler = (mia_sampler *)&error;
    assert_int_equal(mia_sampler_open(options, vocabulary, NULL, &sampler, &error),
                     MIA_ERROR_INVALID_ARGUMENT);
    assert_null(sampler);
    if (strstr(error.message, field) == NULL) fail_msg("\"%s\" does not name %s", error.message, field);
}

static void test_refused(void **state) {
    (void)state;
    static const float bad[] = {-1, NAN, INFINITY};
    for (size_t i = 0; i < 3; i++) {
        refused(&(mia_sampler_options){.temperature = bad[i]}, 9, "temperature");
        refused(&(mia_sampler_options){.top_p = bad[i]}, 9, "top_p");
        refused(&(mia_sampler_options){.min_p = bad[i]}, 9, "min_p");
        refused(&(mia_sampler_options){.repeat_penalty = bad[i]}, 9, "repeat_penalty");
    }
    refused(&(mia_sampler_options){.min_p = 1.5f}, 9, "min_p");
    refused(&(mia_sampler_options){.top_k = -1}, 9, "top_k");
    refused(&(mia_sampler_options){.repeat_last_n = -1}, 9, "repeat_last_n");
    refused(&(mia_sampler_options){0}, 0, "vocabulary");
    refused(&(mia_sampler_options){0}, SIZE_MAX, "vocabulary");
}

static void test_no_memory(void **state) {
    (void)state;
    static const float logits[100] = {0};
    mia_sampler_options o = {.temperature = 1, .repeat_penalty = 1.1f, .repeat_last_n = 64, .top_p = 0.9f};
    counting_allocator counts;
    mia_allocator allocator = counting_allocator_of(&counts);
    mia_sampler *sampler;
    assert_int_equal(mia_sampler_open(&o, 100, &allocator, &sampler, NULL), MIA_OK);
    size_t calls = counts.calls;
    assert_int_equal(calls, 3);
    for (int i = 0; i < 100; i++) mia_sampler_accept(sampler, choose(sampler, logits));
    assert_int_equal(counts.calls, calls); /* choosing allocates nothing */
    mia_sampler_close(sampler);
    assert_int_equal(counts.live, 0);
    for (size_t n = 0; n < calls; n++) {
        mia_error error = {0};
        allocator = counting_allocator_of(&counts);
        counts.calls_left = n;
        assert_int_equal(mia_sampler_open(&o, 100, &allocator, &sampler, &error), MIA_ERROR_NO_MEMORY);
        assert_int_equal(error.status, MIA_ERROR_NO_MEMORY);
        assert_int_equal(counts.live, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_penalty),       cmocka_unit_test(test_no_candidates),
        cmocka_unit_test(test_extremes),      cmocka_unit_test(test_random_options),
        cmocka_unit_test(test_top_k_of_many), cmocka_unit_test(test_generator),
        cmocka_unit_test(test_drawn_seed),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, start_seed, NULL);
}
