/* Generation: how a text ends, what is shown of it, that seeds repeat it, and that showing it piece by piece
 * loses nothing. On the bundled model and a tiny random one. */
#include "support/ok.h"
#include "support/tiny_llama.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PROMPT "Once upon a time"

static mia_device *device;
static mia_weights *weights;
static mia_lm *lm;

static int open_bundled(void **state) {
    (void)state;
    mia_error error = {0};
    if (mia_device_open(&(mia_device_options){.threads = 2}, &device, &error) != MIA_OK ||
        mia_weights_open_file(MIA_MODELS_DIR "/mia-tales-9m-q8_0.gguf", NULL, &weights, &error) != MIA_OK ||
        mia_lm_open(device, weights, NULL, &lm, &error) != MIA_OK) {
        fprintf(stderr, "%s\n", error.message);
        return -1;
    }
    return 0;
}

static int close_bundled(void **state) {
    (void)state;
    mia_lm_close(lm);
    mia_weights_close(weights);
    return mia_device_close(device, NULL) == MIA_OK ? 0 : -1;
}

typedef struct story {
    char text[20000];
    size_t length;
    mia_finish finish;
    mia_generation_stats stats;
} story;

static void tell(mia_lm *model, const char *prompt, const mia_generation_options *options, story *out) {
    mia_error error;
    mia_generation *generation;
    mia_text text;
    *out = (story){.finish = MIA_FINISH_NONE};
    OK(mia_generation_open(model, prompt, strlen(prompt), options, &generation, &error));
    while (out->finish == MIA_FINISH_NONE) {
        OK(mia_generation_next(generation, &text, &out->finish, &error));
        assert_true(out->length + text.length < sizeof out->text);
        memcpy(out->text + out->length, text.bytes, text.length);
        out->length += text.length;
    }
    out->text[out->length] = '\0';
    mia_finish finish = MIA_FINISH_NONE;
    OK(mia_generation_next(generation, &text, &finish, &error)); /* over is over */
    assert_int_equal(finish, out->finish);
    assert_int_equal(text.length, 0);
    out->stats = mia_generation_describe(generation);
    mia_generation_close(generation);
}

static story first, second;

/* The sampler that the model's card names. */
static const mia_sampler_options card = {.temperature = 0.6F,
                                         .top_k = 40,
                                         .top_p = 0.95F,
                                         .min_p = 0.05F,
                                         .repeat_penalty = 1.15F,
                                         .repeat_last_n = 128,
                                         .seeded = true,
                                         .seed = 5};

static void seeds_repeat(void **state) {
    (void)state;
    mia_generation_options options = {.sampler = card, .max_tokens = 60};
    tell(lm, PROMPT, &options, &first);
    tell(lm, PROMPT, &options, &second);
    assert_string_equal(first.text, second.text);
    assert_int_equal(first.stats.seed, 5);
    assert_int_equal(first.stats.generated_tokens, 60);
    assert_int_equal(first.finish, MIA_FINISH_LENGTH);
    assert_true(first.stats.prompt_tokens > 4);
    assert_int_equal(first.stats.prompt_read, first.stats.prompt_tokens);
    assert_int_equal(first.stats.generation_steps, 59); /* the first token takes none */
    assert_true(first.stats.prompt_seconds > 0 && first.stats.generation_seconds > 0);
    assert_int_equal(first.text[0], ' '); /* goes on after the prompt, not from a new start */
    options.sampler.seed = 6;
    tell(lm, PROMPT, &options, &second);
    assert_string_not_equal(first.text, second.text);
}

static void drawn_seeds_repeat_too(void **state) {
    (void)state;
    mia_generation_options options = {.sampler = card, .max_tokens = 30};
    options.sampler.seeded = false;
    tell(lm, PROMPT, &options, &first);
    options.sampler.seeded = true;
    options.sampler.seed = first.stats.seed;
    tell(lm, PROMPT, &options, &second);
    assert_string_equal(first.text, second.text);
}

/* A stop string cuts the text where it begins, also when it lies across tokens. */
static void stop_strings(void **state) {
    (void)state;
    mia_generation_options options = {.max_tokens = 60};
    tell(lm, PROMPT, &options, &first);
    assert_true(first.length > 60);
    for (size_t length = 2; length < 12; length++) {
        char stop[16] = {0};
        memcpy(stop, first.text + 41, length);
        const char *stops[] = {"is not in the text", stop};
        options.stops = stops;
        options.stop_count = 2;
        tell(lm, PROMPT, &options, &second);
        size_t expected = (size_t)(strstr(first.text, stop) - first.text);
        assert_int_equal(second.finish, MIA_FINISH_STOP);
        assert_int_equal(second.length, expected);
        assert_memory_equal(second.text, first.text, expected);
    }
    /* what begins like a stop string and is held back is shown in the end */
    char begun[8] = {0};
    memcpy(begun, first.text + first.length - 3, 3);
    begun[3] = '\1';
    const char *stops[] = {begun};
    options.stops = stops;
    options.stop_count = 1;
    tell(lm, PROMPT, &options, &second);
    assert_string_equal(second.text, first.text);
    assert_int_equal(second.finish, MIA_FINISH_LENGTH);
}

/* Without a limit of tokens a text goes on to the token that ends texts, or to a full context. Hot sampling
 * from a random model finds the former once in some 300 tokens. */
static void ends_by_itself(void **state) {
    (void)state;
    mia_error error;
    mia_device *own;
    mia_lm *tiny;
    mia_weights *file = tiny_open(&(tiny_options){.seed = 4, .layers = 1});
    assert_non_null(file);
    OK(mia_device_open(&(mia_device_options){.threads = 1}, &own, &error));
    OK(mia_lm_open(own, file, &(mia_lm_options){.context = 300}, &tiny, &error));
    int ended = 0, full = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        mia_generation_options options = {.sampler = {.temperature = 20, .seeded = true, .seed = seed}};
        tell(tiny, "x", &options, &first);
        ended += first.finish == MIA_FINISH_END;
        full += first.finish == MIA_FINISH_CONTEXT;
        size_t tokens = first.stats.prompt_tokens + first.stats.generated_tokens;
        if (first.finish == MIA_FINISH_CONTEXT) assert_int_equal(tokens, 300 + 1);
        if (first.finish == MIA_FINISH_END) assert_true(tokens <= 300);
        /* the token that ends a text takes a step too, unless it comes first */
        bool ends = first.finish == MIA_FINISH_END;
        assert_int_equal(first.stats.generation_steps, first.stats.generated_tokens - (ends ? 0 : 1));
    }
    assert_int_equal(ended + full, 12);
    assert_true(ended > 0 && full > 0);
    mia_lm_close(tiny);
    mia_weights_close(file);
    OK(mia_device_close(own, &error));
}

static void tiny_contexts(void **state) {
    (void)state;
    mia_error error;
    mia_device *own;
    mia_lm *tiny;
    mia_generation *generation;
    mia_weights *file = tiny_open(&(tiny_options){.seed = 3});
    assert_non_null(file);
    OK(mia_device_open(NULL, &own, &error));
    OK(mia_lm_open(own, file, &(mia_lm_options){.context = 9}, &tiny, &error));
    /* BOS, U+2581 in three bytes, and five bytes are 9 tokens: one more can be chosen, none after it */
    tell(tiny, "12345", &(mia_generation_options){0}, &first);
    assert_int_equal(first.stats.prompt_tokens, 9);
    if (first.finish != MIA_FINISH_END) {
        assert_int_equal(first.finish, MIA_FINISH_CONTEXT);
        assert_int_equal(first.stats.generated_tokens, 1);
    }
    assert_int_equal(mia_generation_open(tiny, "123456", 6, NULL, &generation, &error),
                     MIA_ERROR_CONTEXT_FULL);
    assert_string_equal(error.message, "the prompt has 10 tokens, the context holds 9");
    assert_null(generation);
    tell(tiny, "", &(mia_generation_options){.max_tokens = 2}, &first); /* begins with BOS alone */
    assert_int_equal(first.stats.prompt_tokens, 1);
    mia_generation_options wrong = {.sampler = {.top_k = -1}};
    assert_int_equal(mia_generation_open(tiny, "1", 1, &wrong, &generation, &error),
                     MIA_ERROR_INVALID_ARGUMENT);
    mia_lm_close(tiny);
    mia_weights_close(file);
    OK(mia_device_close(own, &error));
}

/* --- the prompt in parts ---------------------------------------------------------------------- */

typedef struct reader {
    int calls, cancel_at; /* the number of the call that says no; 0: none */
    double last;
} reader;

static bool on_part(void *user, double fraction) {
    reader *r = user;
    r->calls++;
    assert_true(fraction > r->last && fraction < 1);
    r->last = fraction;
    return r->calls != r->cancel_at;
}

#define LONG_PROMPT 1500 /* bytes: as many tokens of the random model, and BOS and the 3 bytes of a space */

static mia_lm *open_tiny(mia_device **own, mia_weights **file) {
    mia_error error;
    mia_lm *tiny;
    *file = tiny_open(&(tiny_options){.seed = 3});
    assert_non_null(*file);
    OK(mia_device_open(&(mia_device_options){.threads = 1}, own, &error));
    OK(mia_lm_open(*own, *file, &(mia_lm_options){.context = LONG_PROMPT + 100}, &tiny, &error));
    return tiny;
}

/* A long prompt is read in parts, between which progress is told; the logits are those of one step. */
static void prompts_in_parts(void **state) {
    (void)state;
    mia_error error;
    mia_device *own;
    mia_weights *file;
    mia_lm *tiny = open_tiny(&own, &file);
    char prompt[LONG_PROMPT + 1];
    for (size_t i = 0; i < LONG_PROMPT; i++) prompt[i] = (char)('0' + i * i % 79 % 10);
    prompt[LONG_PROMPT] = '\0';

    int32_t *ids, likeliest = 0;
    size_t count, vocabulary = (size_t)mia_lm_describe(tiny).vocabulary;
    const mia_tokenizer *tokenizer = mia_lm_tokenizer(tiny);
    OK(mia_tokenizer_encode(tokenizer, prompt, LONG_PROMPT, MIA_TOKENIZE_BOS, &ids, &count, &error));
    mia_lm_state *whole;
    mia_sampler *greedy;
    float *logits = calloc(vocabulary, sizeof *logits);
    assert_non_null(logits);
    OK(mia_lm_state_open(tiny, &whole, &error));
    OK(mia_lm_step(whole, ids, count, 0, logits, &error));
    OK(mia_sampler_open(&(mia_sampler_options){0}, vocabulary, NULL, &greedy, &error));
    OK(mia_sampler_choose(greedy, logits, &likeliest, &error));
    mia_detokenizer *detokenizer;
    mia_text expected;
    OK(mia_detokenizer_open(tokenizer, MIA_DETOKENIZE_CONTINUE, &detokenizer, &error));
    OK(mia_detokenizer_push(detokenizer, likeliest, &expected, &error));

    reader watching = {0};
    mia_generation_options options = {.max_tokens = 1, .progress = on_part, .progress_user = &watching};
    tell(tiny, prompt, &options, &first);
    assert_int_equal(first.stats.prompt_tokens, count);
    assert_int_equal(first.stats.prompt_read, count);
    assert_int_equal(first.stats.generation_steps, 0);
    assert_true(first.stats.generation_seconds == 0); /* no rate of nothing */
    assert_int_equal(watching.calls, (count - 1) / 512);
    assert_true(first.length >= expected.length);
    assert_memory_equal(first.text, expected.bytes, expected.length);

    mia_detokenizer_close(detokenizer);
    mia_sampler_close(greedy);
    mia_lm_state_close(whole);
    mia_tokenizer_release(tokenizer, ids, count);
    free(logits);
    mia_lm_close(tiny);
    mia_weights_close(file);
    OK(mia_device_close(own, &error));
}

/* A cancelled prompt is left between two parts, and read on by the next call. */
static void cancelled_prompts(void **state) {
    (void)state;
    mia_error error = {0};
    mia_device *own;
    mia_weights *file;
    mia_lm *tiny = open_tiny(&own, &file);
    char prompt[LONG_PROMPT + 1];
    memset(prompt, 'y', LONG_PROMPT);
    prompt[LONG_PROMPT] = '\0';
    tell(tiny, prompt, &(mia_generation_options){.max_tokens = 20}, &second);

    reader stopping = {.cancel_at = 2};
    mia_generation_options options = {.max_tokens = 20, .progress = on_part, .progress_user = &stopping};
    mia_generation *generation;
    mia_text text;
    mia_finish finish = MIA_FINISH_END;
    OK(mia_generation_open(tiny, prompt, LONG_PROMPT, &options, &generation, &error));
    assert_int_equal(mia_generation_next(generation, &text, &finish, &error), MIA_ERROR_CANCELLED);
    assert_int_equal(text.length, 0);
    assert_int_equal(finish, MIA_FINISH_NONE);
    mia_generation_stats stats = mia_generation_describe(generation);
    assert_int_equal(stats.prompt_read, 1024);
    assert_int_equal(stats.generated_tokens, 0);
    assert_true(stats.prompt_seconds > 0);
    char expected[100];
    (void)snprintf(expected, sizeof expected, "reading the prompt was cancelled after 1024 of %zu tokens",
                   stats.prompt_tokens);
    assert_string_equal(error.message, expected);

    stopping = (reader){0}; /* told again where it goes on */
    first = (story){.finish = MIA_FINISH_NONE};
    while (first.finish == MIA_FINISH_NONE) {
        OK(mia_generation_next(generation, &text, &first.finish, &error));
        memcpy(first.text + first.length, text.bytes, text.length);
        first.length += text.length;
    }
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.text, second.text, second.length);
    mia_generation_close(generation);
    mia_lm_close(tiny);
    mia_weights_close(file);
    OK(mia_device_close(own, &error));
}

/* What was known of a prompt while it was read. */
static struct {
    mia_generation *generation;
    size_t begun;
    int runs;
} reading;

static void on_step(void *user, const mia_step_event *event) {
    (void)user, (void)event;
    if (reading.generation == NULL) return;
    mia_generation_stats stats = mia_generation_describe(reading.generation);
    if (stats.generation_steps > 0 || stats.generated_tokens > 0 || stats.prompt_begun == reading.begun)
        return;
    assert_int_equal(stats.prompt_read, reading.begun); /* what the run before was to read */
    assert_true(stats.prompt_begun > stats.prompt_read);
    reading.begun = stats.prompt_begun;
    reading.runs++;
}

/* While a prompt is read, it is known how much of it is, and how much the run under way reads. */
static void prompts_being_read(void **state) {
    (void)state;
    mia_error error;
    mia_device *own;
    mia_weights *file = tiny_open(&(tiny_options){.seed = 3});
    mia_lm *tiny;
    char prompt[701];
    memset(prompt, 'y', 700);
    prompt[700] = '\0';
    assert_non_null(file);
    OK(mia_device_open(&(mia_device_options){.threads = 1, .trace = on_step}, &own, &error));
    OK(mia_lm_open(own, file, NULL, &tiny, &error));
    mia_generation *generation;
    mia_text text;
    mia_finish finish;
    OK(mia_generation_open(tiny, prompt, 700, &(mia_generation_options){.max_tokens = 2}, &generation,
                           &error));
    assert_int_equal(mia_generation_describe(generation).prompt_begun, 0);
    reading.generation = generation;
    OK(mia_generation_next(generation, &text, &finish, &error));
    reading.generation = NULL;
    mia_generation_stats stats = mia_generation_describe(generation);
    assert_in_range(stats.prompt_tokens, 700, 710);
    assert_int_equal(stats.prompt_read, stats.prompt_tokens);
    assert_int_equal(stats.prompt_begun, stats.prompt_tokens);
    assert_int_equal(reading.begun, stats.prompt_tokens);
    assert_in_range(reading.runs, 3, 8); /* 512 tokens and what is left of them, in runs of fewer each */
    mia_generation_close(generation);
    mia_lm_close(tiny);
    mia_weights_close(file);
    OK(mia_device_close(own, &error));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeds_repeat),      cmocka_unit_test(drawn_seeds_repeat_too),
        cmocka_unit_test(stop_strings),      cmocka_unit_test(ends_by_itself),
        cmocka_unit_test(tiny_contexts),     cmocka_unit_test(prompts_in_parts),
        cmocka_unit_test(cancelled_prompts), cmocka_unit_test(prompts_being_read),
    };
    return cmocka_run_group_tests(tests, open_bundled, close_bundled);
}
