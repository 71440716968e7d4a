/* Whole models against texts that others made with them: the bundled one (golden/mia-tales-greedy.jsonl,
 * greedy texts that another implementation generated from the same file), and small float models of the
 * shared data where it is there. */
#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/lm_session.h"

static session open_on(const char *backend, const char *path) {
    const mia_device_options options = {.backend = backend, .threads = 2};
    return open_session(open_weights(path), &options, NULL);
}

/* A file's bytes with a zero behind, from malloc. */
static char *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("cannot open %s", path);
    char *bytes = malloc(1 << 20);
    assert_non_null(bytes);
    *length = fread(bytes, 1, (1 << 20) - 1, file);
    bytes[*length] = '\0';
    fclose(file);
    return bytes;
}

/* --- the bundled model ------------------------------------------------------------------------ */

/* The value of "key" in a line of JSON, unescaped: the strings here use \n, \" and \\ alone. */
static char *json_string(const char *line, const char *key, size_t *length) {
    char pattern[32];
    snprintf(pattern, sizeof pattern, "\"%s\": \"", key);
    const char *at = strstr(line, pattern);
    assert_non_null(at);
    char *out = malloc(strlen(at) + 1), *to = out;
    assert_non_null(out);
    for (at += strlen(pattern); *at != '"' && *at != '\0'; at++) {
        if (*at == '\\') at++;
        *to++ = *at == 'n' && at[-1] == '\\' ? '\n' : *at;
    }
    *length = (size_t)(to - out);
    *to = '\0';
    return out;
}

static int32_t most_likely(const float *logits, size_t count) {
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

#define GENERATED 96

/* Fed the text, at how many of the generated places is the most likely token the text's next? */
static size_t agreement(const session *s, const char *line, size_t *places) {
    mia_error error;
    const mia_tokenizer *tokenizer = mia_lm_tokenizer(s->lm);
    size_t vocabulary = mia_tokenizer_vocabulary(tokenizer), length, count, agreed = 0;
    char *text = json_string(line, "text", &length);
    int32_t *ids;
    mia_lm_state *state;
    OK(mia_tokenizer_encode(tokenizer, text, length, MIA_TOKENIZE_BOS, &ids, &count, &error));
    float *logits = malloc(count * vocabulary * sizeof *logits);
    assert_non_null(logits);
    OK(mia_lm_state_open(s->lm, &state, &error));
    OK(mia_lm_step(state, ids, count, MIA_LM_ALL_LOGITS, logits, &error));
    assert_true(count > GENERATED);
    for (size_t i = count - GENERATED; i < count; i++)
        agreed += most_likely(logits + (i - 1) * vocabulary, vocabulary) == ids[i];
    *places += GENERATED;
    mia_lm_state_close(state);
    mia_tokenizer_release(tokenizer, ids, count);
    free(logits);
    free(text);
    return agreed;
}

static void check_agreement(const char *backend, size_t most_lines) {
    size_t length, places = 0, agreed = 0;
    char *lines = read_file(MIA_GOLDEN_DIR "/mia-tales-greedy.jsonl", &length), *rest = NULL;
    session s = open_on(backend, MIA_MODELS_DIR "/mia-tales-9m-q8_0.gguf");
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL && most_lines > 0;
         line = strtok_r(NULL, "\n", &rest)) {
        agreed += agreement(&s, line, &places);
        most_lines--;
    }
    printf("%s: %zu of %zu\n", backend, agreed, places);
    assert_true(places > 0);
    assert_true((double)agreed >= 0.97 * (double)places);
    close_session(&s);
    free(lines);
}

static void tales_agree(void **state) {
    (void)state;
    check_agreement("cpu", 8);
}

static void tales_agree_on_reference(void **state) {
    (void)state;
    check_agreement("reference", 1);
}

/* --- float models of the shared data ---------------------------------------------------------- */

#ifdef MIA_SHARED_DIR
/* Continues the prompt greedily; the prompt and what was generated, from malloc. */
static char *continue_greedily(const session *s, const char *prompt, size_t tokens) {
    mia_error error;
    mia_generation *generation;
    mia_generation_options options = {.max_tokens = tokens};
    mia_finish finish = MIA_FINISH_NONE;
    size_t capacity = 64 * tokens + 1000, length = strlen(prompt);
    char *out = malloc(capacity);
    assert_non_null(out);
    memcpy(out, prompt, length);
    OK(mia_generation_open(s->lm, prompt, length, &options, &generation, &error));
    while (finish == MIA_FINISH_NONE) {
        mia_text text;
        OK(mia_generation_next(generation, &text, &finish, &error));
        assert_true(length + text.length < capacity);
        memcpy(out + length, text.bytes, text.length);
        length += text.length;
    }
    assert_int_equal(finish, MIA_FINISH_LENGTH);
    assert_int_equal(mia_generation_describe(generation).generated_tokens, tokens);
    mia_generation_close(generation);
    out[length] = '\0';
    return out;
}

static void check_story(const char *backend, const char *name, size_t tokens, size_t bytes) {
    size_t length;
    char path[1024], *expected = read_file(MIA_SHARED_DIR "/models/stories260K-greedy-200.txt", &length);
    snprintf(path, sizeof path, "%s/models/%s", MIA_SHARED_DIR, name);
    session s = open_on(backend, path);
    char *story = continue_greedily(&s, "Once upon a time", tokens);
    if (bytes > length) bytes = length;
    assert_true(strlen(story) >= bytes);
    story[bytes] = expected[bytes] = '\0';
    assert_string_equal(story, expected);
    close_session(&s);
    free(story);
    free(expected);
}

static void stories(void **state) {
    (void)state;
    check_story("cpu", "stories260K.gguf", 200, SIZE_MAX);
    check_story("cpu", "stories260K-f16.gguf", 100, 200);
    check_story("cpu", "stories260K-bf16.gguf", 100, 200);
    check_story("reference", "stories260K.gguf", 60, 120);
}
#else
static void stories(void **state) {
    (void)state;
    skip();
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tales_agree),
        cmocka_unit_test(tales_agree_on_reference),
        cmocka_unit_test(stories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
