/* The tokenizer: against a naive one that looks at every pair every time, on random vocabularies; llama.cpp's
 * own vectors; flags and special tokens; files that are wrong; memory that runs out. Decoding is in
 * test_detokenizer.c. */
#include "vocabulary.h"

#include <math.h>

/* --- the naive tokenizer ---------------------------------------------------------------------- */

typedef struct id_list {
    int32_t ids[4096];
    size_t count;
} id_list;

static void append(id_list *list, int32_t id) {
    assert_true(list->count < sizeof list->ids / sizeof list->ids[0]);
    list->ids[list->count++] = id;
}

static int32_t naive_find(const vocabulary *v, const char *text, size_t length) {
    for (size_t i = v->count; i-- > 0;) {
        const token *t = &v->tokens[i];
        bool merges = t->kind == NORMAL || t->kind == USER || t->kind == UNUSED;
        if (merges && t->length == length && length > 0 && memcmp(t->text, text, length) == 0)
            return (int32_t)i;
    }
    return -1;
}

static void naive_fragment(const vocabulary *v, const char *raw, size_t length, bool prefix, id_list *out) {
    static char text[16384];
    static size_t starts[4096];
    size_t size = 0, count = 0;
    if (prefix) size = (size_t)snprintf(text, sizeof text, SPACE);
    for (size_t i = 0; i < length; i++) {
        if (raw[i] == ' ')
            size += (size_t)snprintf(text + size, sizeof text - size, SPACE);
        else
            text[size++] = raw[i];
    }
    for (size_t at = 0; at < size; at += character_at(text + at, size - at)) starts[count++] = at;
    starts[count] = size;
    for (;;) {
        size_t best = count;
        float best_score = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            int32_t id = naive_find(v, text + starts[i], starts[i + 2] - starts[i]);
            if (id < 0 || (best < count && v->tokens[id].score <= best_score)) continue;
            best = i;
            best_score = v->tokens[id].score;
        }
        if (best == count) break;
        memmove(starts + best + 1, starts + best + 2, (count - best - 1) * sizeof starts[0]);
        count--;
    }
    for (size_t i = 0; i < count; i++) {
        int32_t id = naive_find(v, text + starts[i], starts[i + 1] - starts[i]);
        for (size_t k = starts[i]; id < 0 && k < starts[i + 1]; k++) append(out, 3 + (uint8_t)text[k]);
        if (id >= 0) append(out, id);
    }
}

/* Whether `a` takes its places before `b`, and whether a token does so at all. */
static bool naive_first(const token *a, const token *b) {
    return a->length > b->length;
}

static bool naive_is_special(const token *t, bool control) {
    if (t->length == 0) return false;
    if (t->kind == USER) return strstr(t->text, SPACE) == NULL;
    return control && (t->kind == CONTROL || t->kind == UNKNOWN);
}

static void naive_encode(const vocabulary *v, const char *text, size_t length, bool control, id_list *out) {
    static int32_t taken[4096];
    static bool done[700];
    memset(taken, 0, sizeof taken);
    memset(done, 0, sizeof done);
    for (;;) {
        const token *next = NULL;
        for (size_t i = 0; i < v->count; i++)
            if (!done[i] && naive_is_special(&v->tokens[i], control) &&
                (next == NULL || naive_first(&v->tokens[i], next)))
                next = &v->tokens[i];
        if (next == NULL) break;
        done[next - v->tokens] = true;
        for (size_t at = 0; at + next->length <= length; at++) {
            bool fits = memcmp(text + at, next->text, next->length) == 0;
            for (size_t i = 0; i < next->length; i++) fits = fits && taken[at + i] == 0;
            for (size_t i = 0; fits && i < next->length; i++)
                taken[at + i] = i == 0 ? (int32_t)(next - v->tokens) + 1 : -1;
        }
    }
    out->count = 0;
    bool prefix = true;
    for (size_t at = 0; at < length;) {
        size_t end = at;
        while (end < length && taken[end] == 0) end++;
        if (end > at) {
            naive_fragment(v, text + at, end - at, prefix && v->prefix != 0, out);
            prefix = false;
        } else {
            append(out, taken[at] - 1);
            for (end = at + 1; end < length && taken[end] < 0;) end++;
            prefix = true;
        }
        at = end;
    }
}

static void test_against_naive(void **state) {
    (void)state;
    static vocabulary v;
    static id_list expected;
    for (int round = 0; round < 1000; round++) {
        random_vocabulary(&v);
        mia_tokenizer *tokenizer = open_or_fail(&v);
        for (int k = 0; k < 10; k++) {
            char text[512];
            size_t length = random_letters(text, 60, 0, 9);
            if (length > 0 && random_below(3) == 0)
                text[random_below(length)] = (char)(uint8_t)random_below(256); /* often no UTF-8 any more */
            bool control = random_below(2) == 0;
            int32_t *ids;
            size_t count;
            naive_encode(&v, text, length, control, &expected);
            assert_int_equal(mia_tokenizer_encode(tokenizer, text, length, control ? MIA_TOKENIZE_SPECIAL : 0,
                                                  &ids, &count, NULL),
                             MIA_OK);
            assert_int_equal(count, expected.count);
            if (count > 0) assert_memory_equal(ids, expected.ids, count * sizeof *ids);
            mia_tokenizer_release(tokenizer, ids, count);
        }
        mia_tokenizer_close(tokenizer);
    }
}

/* --- by hand ---------------------------------------------------------------------------------- */

/* Encodes and compares with the ids listed. */
static void check(const mia_tokenizer *tokenizer, const char *text, unsigned flags, const int32_t *ids,
                  size_t count) {
    int32_t *got;
    size_t got_count;
    assert_int_equal(mia_tokenizer_encode(tokenizer, text, strlen(text), flags, &got, &got_count, NULL),
                     MIA_OK);
    assert_int_equal(got_count, count);
    for (size_t i = 0; i < count; i++) assert_int_equal(got[i], ids[i]);
    mia_tokenizer_release(tokenizer, got, got_count);
}

#define CHECK(tokenizer, text, flags, ...)                                                                   \
    check(tokenizer, text, flags, (const int32_t[]){__VA_ARGS__},                                            \
          sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

enum { SPACED = 259, A, B, AB, BB, SPACED_A, TAG, CLOSE }; /* the tokens of small() after the bytes */

static void small(vocabulary *v) {
    start(v);
    add(v, SPACE, -9, NORMAL);
    add(v, "a", -9, NORMAL);
    add(v, "b", -9, NORMAL);
    add(v, "ab", -2, NORMAL);
    add(v, "bb", -1, NORMAL);
    add(v, SPACE "a", -3, NORMAL);
    add(v, "<tag>", 0, USER);
    add(v, "<|im_end|>", 0, CONTROL);
}

static void test_merges(void **state) {
    (void)state;
    static vocabulary v;
    small(&v);
    mia_tokenizer *tokenizer = open_or_fail(&v);
    CHECK(tokenizer, "ab", 0, SPACED, AB);        /* ab before a space and a */
    CHECK(tokenizer, "abb", 0, SPACED_A, BB);     /* bb first, which leaves the a to the space */
    CHECK(tokenizer, "abbb", 0, SPACED_A, BB, B); /* the left one of two equal pairs */
    CHECK(tokenizer, "c", 0, SPACED, 3 + 'c');    /* a byte for what is no token */
    CHECK(tokenizer, "\xc3\xa9", 0, SPACED, 3 + 0xc3, 3 + 0xa9);
    CHECK(tokenizer, " a", 0, SPACED, SPACED_A);
    check(tokenizer, "", 0, NULL, 0);
    CHECK(tokenizer, "", MIA_TOKENIZE_BOS, 1);
    mia_tokenizer_close(tokenizer);
}

static void test_special_tokens(void **state) {
    (void)state;
    static vocabulary v;
    small(&v);
    mia_tokenizer *tokenizer = open_or_fail(&v);
    CHECK(tokenizer, "a<tag>b", 0, SPACED_A, TAG, SPACED, B);
    CHECK(tokenizer, "<tag>", 0, TAG);
    CHECK(tokenizer, "<s>", 0, SPACED, 3 + '<', 3 + 's', 3 + '>'); /* text, not a control token */
    CHECK(tokenizer, "<s>a", MIA_TOKENIZE_SPECIAL, 1, SPACED_A);
    CHECK(tokenizer, "<s>a", MIA_TOKENIZE_SPECIAL | MIA_TOKENIZE_BOS, 1, 1, SPACED_A);
    assert_int_equal(mia_tokenizer_vocabulary(tokenizer), 267);
    assert_int_equal(mia_tokenizer_bos(tokenizer), 1);
    assert_true(mia_tokenizer_adds_bos(tokenizer));
    assert_true(mia_tokenizer_is_end(tokenizer, 2));
    assert_true(mia_tokenizer_is_end(tokenizer, CLOSE));
    assert_false(mia_tokenizer_is_end(tokenizer, 1));
    assert_false(mia_tokenizer_is_end(tokenizer, -1));
    assert_false(mia_tokenizer_is_end(tokenizer, 267));
    mia_tokenizer_close(tokenizer);
}

static void test_settings(void **state) {
    (void)state;
    static vocabulary v;
    small(&v);
    v.add_bos = 0;
    v.add_eos = 1;
    v.prefix = 0;
    v.trim = 1;
    v.bos = A;
    v.eos = B;
    v.eot = AB;
    mia_tokenizer *tokenizer = open_or_fail(&v);
    assert_int_equal(mia_tokenizer_bos(tokenizer), A);
    assert_false(mia_tokenizer_adds_bos(tokenizer));
    assert_true(mia_tokenizer_is_end(tokenizer, B));
    assert_true(mia_tokenizer_is_end(tokenizer, AB));
    assert_false(mia_tokenizer_is_end(tokenizer, 2));
    CHECK(tokenizer, "  bb   bb ", MIA_TOKENIZE_BOS | MIA_TOKENIZE_EOS, BB, SPACED, BB, B);
    check(tokenizer, "   ", 0, NULL, 0);
    mia_tokenizer_close(tokenizer);
    v.trim = 0;
    v.add_bos = 1;
    v.bos = UINT32_MAX; /* written out: there is none */
    tokenizer = open_or_fail(&v);
    assert_int_equal(mia_tokenizer_bos(tokenizer), -1);
    assert_false(mia_tokenizer_adds_bos(tokenizer));
    CHECK(tokenizer, " bb ", MIA_TOKENIZE_BOS, SPACED, BB, SPACED);
    mia_tokenizer_close(tokenizer);
}

/* No types: byte tokens by their look. No byte tokens: the unknown token, once a character. Equal texts: the
 * last. */
static void test_odd_vocabularies(void **state) {
    (void)state;
    static vocabulary v;
    small(&v);
    v.no_kinds = v.no_scores = true;
    mia_tokenizer *tokenizer = open_or_fail(&v);
    CHECK(tokenizer, "c", 0, SPACED, 3 + 'c');
    CHECK(tokenizer, "bbb", 0, SPACED, BB, B);
    mia_tokenizer_close(tokenizer);

    memset(&v, 0, sizeof v);
    v.bos = v.eos = v.eot = v.unknown = -1;
    add(&v, "?", 0, UNKNOWN);
    add(&v, "", 0, NORMAL);
    add(&v, "", 0, CONTROL);
    add(&v, "a", 0, NORMAL);
    add(&v, "a", 0, NORMAL);
    tokenizer = open_or_fail(&v);
    CHECK(tokenizer,
          "a\xc3\xa9"
          "b",
          0, 4, 0, 0);
    CHECK(tokenizer, "a?", MIA_TOKENIZE_SPECIAL, 4, 0);
    mia_tokenizer_close(tokenizer);
}

/* --- files that are wrong --------------------------------------------------------------------- */

static void refused(const vocabulary *v, mia_status status, const char *part) {
    mia_error error = {0};
    mia_tokenizer *tokenizer = (mia_tokenizer *)&error;
    assert_int_equal(open_with(v, NULL, &tokenizer, &error), status);
    assert_null(tokenizer);
    assert_int_equal(error.status, status);
    if (strstr(error.message, part) == NULL || strstr(error.message, "hand.gguf") == NULL)
        fail_msg("\"%s\" does not name the file and \"%s\"", error.message, part);
}

#define REFUSED(change, status, part)                                                                        \
    do {                                                                                                     \
        small(&v);                                                                                           \
        change;                                                                                              \
        refused(&v, status, part);                                                                           \
    } while (0)

static void test_wrong_files(void **state) {
    (void)state;
    static vocabulary v;
    REFUSED(v.model = "gpt2", MIA_ERROR_UNSUPPORTED, "\"gpt2\"");
    REFUSED(v.model = "bert", MIA_ERROR_UNSUPPORTED, "\"bert\"");
    REFUSED(v.model = "", MIA_ERROR_FORMAT, "tokenizer.ggml.model is missing");
    REFUSED(v.model_as_number = true, MIA_ERROR_FORMAT, "tokenizer.ggml.model is not a string");
    REFUSED(v.no_tokens = true, MIA_ERROR_FORMAT, "tokenizer.ggml.tokens is missing");
    REFUSED((v.count = 0, v.no_scores = true), MIA_ERROR_FORMAT, "tokenizer.ggml.tokens is empty");
    REFUSED(v.tokens_as_integers = true, MIA_ERROR_FORMAT, "tokenizer.ggml.tokens does not hold strings");
    REFUSED(v.tokens_as_text = true, MIA_ERROR_FORMAT, "tokenizer.ggml.tokens is not an array");
    REFUSED(v.fewer_scores = 1, MIA_ERROR_FORMAT, "tokenizer.ggml.scores has 266 elements");
    REFUSED(v.fewer_kinds = 2, MIA_ERROR_FORMAT, "tokenizer.ggml.token_type has 265 elements");
    REFUSED(v.scores_as_integers = true, MIA_ERROR_FORMAT, "tokenizer.ggml.scores does not hold");
    REFUSED(v.kinds_as_text = true, MIA_ERROR_FORMAT, "tokenizer.ggml.token_type does not hold");
    REFUSED(v.tokens[AB].score = NAN, MIA_ERROR_FORMAT, "tokenizer.ggml.scores: the score of token 262");
    REFUSED(v.tokens[AB].kind = 7, MIA_ERROR_FORMAT,
            "tokenizer.ggml.token_type: token 262 has the unknown type 7");
    REFUSED(v.tokens[AB].kind = -1, MIA_ERROR_FORMAT,
            "tokenizer.ggml.token_type: token 262 has the unknown type -1");
    REFUSED(v.tokens[AB].kind = BYTE, MIA_ERROR_FORMAT, "tokenizer.ggml.tokens: token 262 is a byte");
    REFUSED(v.bos = 267, MIA_ERROR_FORMAT, "tokenizer.ggml.bos_token_id is 267");
    REFUSED(v.eos = 4000000000, MIA_ERROR_FORMAT, "tokenizer.ggml.eos_token_id is 4000000000");
    REFUSED(v.eot = 267, MIA_ERROR_FORMAT, "tokenizer.ggml.eot_token_id is 267");
    REFUSED(v.unknown = 267, MIA_ERROR_FORMAT, "tokenizer.ggml.unknown_token_id is 267");
    REFUSED(v.id_as_text = true, MIA_ERROR_FORMAT, "tokenizer.ggml.eom_token_id is not an integer");
    REFUSED(v.flag_as_text = true, MIA_ERROR_FORMAT, "tokenizer.ggml.add_space_prefix is not a bool");
    REFUSED((v.unknown = UINT32_MAX, v.tokens[3].kind = CONTROL), MIA_ERROR_FORMAT,
            "neither a token for every byte");
}

static void test_wrong_arguments(void **state) {
    (void)state;
    static vocabulary v;
    small(&v);
    mia_tokenizer *tokenizer = open_or_fail(&v);
    mia_error error = {0};
    int32_t *ids;
    size_t count;
    assert_int_equal(mia_tokenizer_encode(tokenizer, NULL, 1, 0, &ids, &count, &error),
                     MIA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(mia_tokenizer_encode(NULL, "", 0, 0, &ids, &count, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(mia_tokenizer_encode(tokenizer, "", SIZE_MAX, 0, &ids, &count, &error),
                     MIA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(mia_tokenizer_open(NULL, NULL, &tokenizer, &error), MIA_ERROR_INVALID_ARGUMENT);
    mia_tokenizer_close(tokenizer);
    mia_tokenizer_close(NULL);
}

/* Bytes changed anywhere: whatever still opens must encode and decode without a fault. */
static void test_mutations(void **state) {
    (void)state;
    static vocabulary v;
    static buffer sound, mutant;
    for (int round = 0; round < 2000; round++) {
        random_vocabulary(&v);
        v.bos = 1;
        v.trim = v.add_eos = 1;
        write_file(&v, &sound);
        mutant = sound;
        for (size_t n = 1 + random_below(4); n > 0; n--)
            mutant.bytes[24 + random_below(mutant.length - 24)] = (uint8_t)random_below(256);
        mia_weights *weights;
        mia_source source = mia_source_of_memory("mutant.gguf", mutant.bytes, mutant.length);
        if (mia_weights_open(source, NULL, &weights, NULL) != MIA_OK) continue;
        mia_tokenizer *tokenizer;
        mia_status status = mia_tokenizer_open(weights, NULL, &tokenizer, NULL);
        mia_weights_close(weights);
        if (status != MIA_OK) continue;
        char text[512];
        size_t length = random_letters(text, 60, 0, 9), count;
        int32_t *ids;
        assert_int_equal(mia_tokenizer_encode(tokenizer, text, length, 7, &ids, &count, NULL), MIA_OK);
        mia_detokenizer *detokenizer;
        assert_int_equal(mia_detokenizer_open(tokenizer, 1, &detokenizer, NULL), MIA_OK);
        mia_text piece;
        for (size_t i = 0; i < count; i++)
            assert_int_equal(mia_detokenizer_push(detokenizer, ids[i], &piece, NULL), MIA_OK);
        mia_detokenizer_close(detokenizer);
        mia_tokenizer_release(tokenizer, ids, count);
        mia_tokenizer_close(tokenizer);
    }
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Opens, encodes, decodes a text that makes every array grow. */
static mia_status do_everything(const vocabulary *v, const mia_allocator *allocator, mia_error *error) {
    static char text[3000];
    mia_tokenizer *tokenizer;
    mia_status status = open_with(v, allocator, &tokenizer, error);
    if (status != MIA_OK) return status;
    for (size_t i = 0; i < sizeof text; i++) text[i] = "abbab bababb"[i % 12];
    memcpy(text + 100, "<tag>", 5);
    text[50] = 'c';
    int32_t *ids;
    size_t count;
    status = mia_tokenizer_encode(tokenizer, text, sizeof text, 7, &ids, &count, error);
    if (status == MIA_OK) mia_tokenizer_release(tokenizer, ids, count);
    mia_detokenizer *detokenizer;
    if (status == MIA_OK) status = mia_detokenizer_open(tokenizer, 0, &detokenizer, error);
    if (status == MIA_OK) mia_detokenizer_close(detokenizer);
    mia_tokenizer_close(tokenizer);
    return status;
}

static void test_no_memory(void **state) {
    (void)state;
    static vocabulary v;
    small(&v);
    counting_allocator counts;
    mia_allocator allocator = counting_allocator_of(&counts);
    assert_int_equal(do_everything(&v, &allocator, NULL), MIA_OK);
    assert_int_equal(counts.live, 0);
    size_t calls = counts.calls;
    assert_true(calls > 20);
    for (size_t n = 0; n < calls; n++) {
        mia_error error = {0};
        allocator = counting_allocator_of(&counts);
        counts.calls_left = n;
        assert_int_equal(do_everything(&v, &allocator, &error), MIA_ERROR_NO_MEMORY);
        assert_int_equal(error.status, MIA_ERROR_NO_MEMORY);
        assert_true(error.message[0] != '\0');
        assert_int_equal(counts.live, 0);
    }
}

/* --- llama.cpp's vectors ---------------------------------------------------------------------- */

#ifdef MIA_SHARED_DIR
static char *read_shared(const char *path, size_t *length) {
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) return NULL;
    char *bytes = calloc(1, 1 << 20);
    *length = fread(bytes, 1, (1 << 20) - 1, stream);
    assert_true(*length < (1 << 20) - 1);
    fclose(stream);
    return bytes;
}

static void check_vectors(const mia_tokenizer *tokenizer, char *texts, size_t length, char *ids) {
    static const char separator[] = "\n__ggml_vocab_test__\n";
    size_t pairs = 0;
    for (char *text = texts; text != NULL; pairs++) {
        char *end = strstr(text, separator), *line_end = strchr(ids, '\n');
        size_t text_length = end != NULL ? (size_t)(end - text) : length - (size_t)(text - texts), count;
        int32_t *got;
        assert_int_equal(mia_tokenizer_encode(tokenizer, text, text_length, 0, &got, &count, NULL), MIA_OK);
        if (line_end != NULL) *line_end = '\0';
        for (size_t i = 0; i < count; i++) assert_int_equal(got[i], strtol(ids, &ids, 10));
        assert_int_equal(strspn(ids, " \r"), strlen(ids)); /* no more are expected */
        mia_tokenizer_release(tokenizer, got, count);
        text = end != NULL ? end + sizeof separator - 1 : NULL;
        ids = line_end != NULL ? line_end + 1 : ids + strlen(ids);
    }
    printf("%zu texts\n", pairs);
    assert_true(pairs > 40);
}
#endif

static void test_vectors(void **state) {
    (void)state;
#ifdef MIA_SHARED_DIR
    static const char base[] = MIA_SHARED_DIR "/data/tokenizers/ggml-vocab-llama-spm.gguf";
    size_t length = 0, ids_length = 0;
    char *texts = read_shared(MIA_SHARED_DIR "/data/tokenizers/ggml-vocab-llama-spm.gguf.inp", &length);
    char *ids = read_shared(MIA_SHARED_DIR "/data/tokenizers/ggml-vocab-llama-spm.gguf.out", &ids_length);
    if (texts == NULL || ids == NULL) skip();
    mia_weights *weights;
    mia_tokenizer *tokenizer;
    assert_int_equal(mia_weights_open_file(base, NULL, &weights, NULL), MIA_OK);
    assert_int_equal(mia_tokenizer_open(weights, NULL, &tokenizer, NULL), MIA_OK);
    mia_weights_close(weights);
    check_vectors(tokenizer, texts, length, ids);
    mia_tokenizer_close(tokenizer);
    free(texts);
    free(ids);
#else
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges),        cmocka_unit_test(test_special_tokens),
        cmocka_unit_test(test_settings),      cmocka_unit_test(test_odd_vocabularies),
        cmocka_unit_test(test_wrong_files),   cmocka_unit_test(test_wrong_arguments),
        cmocka_unit_test(test_against_naive), cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_no_memory),     cmocka_unit_test(test_vectors),
    };
    return cmocka_run_group_tests(tests, start_seed, NULL);
}
