/* For tests of tokenizers: vocabularies that are written as GGUF files in memory, right or wrong in one
 * thing, and random ones over a small alphabet, so that merges, ties and special tokens meet all the time. */
#ifndef MIA_TESTS_VOCABULARY_H
#define MIA_TESTS_VOCABULARY_H

#include "gguf_builder.h"
#include "support.h"

#include <mia/lm.h>
#include <stdio.h>

#define SPACE "\xe2\x96\x81"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

/* --- random numbers --------------------------------------------------------------------------- */

static uint64_t random_state;

static inline int start_seed(void **state) {
    (void)state;
    random_state = test_seed();
    return 0;
}

static inline size_t random_below(size_t limit) {
    return (size_t)test_below(&random_state, (int64_t)limit);
}

/* --- vocabularies ----------------------------------------------------------------------------- */

typedef struct token {
    char text[32];
    size_t length;
    float score;
    int32_t kind;
} token;

/* A vocabulary, and what to do wrong when it is written as a file. */
typedef struct vocabulary {
    token tokens[700];
    size_t count;
    const char *model;                  /* NULL: "llama"; "": no such key */
    int add_bos, add_eos, prefix, trim; /* -1: no such key */
    int64_t bos, eos, eot, unknown;     /* -1: no such key */
    bool no_tokens, no_scores, no_kinds, scores_as_integers, tokens_as_integers, flag_as_text, id_as_text,
        kinds_as_text, model_as_number, tokens_as_text;
    size_t fewer_scores, fewer_kinds;
} vocabulary;

typedef struct buffer {
    uint8_t bytes[1 << 16];
    size_t length;
    uint64_t keys;
} buffer;

static inline void put(buffer *b, const void *bytes, size_t length) {
    assert_true(b->length + length <= sizeof b->bytes);
    if (length > 0) memcpy(b->bytes + b->length, bytes, length);
    b->length += length;
}

static inline void put_number(buffer *b, uint64_t value, size_t bytes) { /* little-endian */
    for (size_t i = 0; i < bytes; i++) put(b, &(uint8_t){(uint8_t)(value >> 8 * i)}, 1);
}

static inline void put_text(buffer *b, const char *text, size_t length) {
    put_number(b, length, 8);
    put(b, text, length);
}

static inline void put_key(buffer *b, const char *key, mia_value_type type) {
    put_text(b, key, strlen(key));
    put_number(b, type, 4);
    b->keys++;
}

static inline void put_array(buffer *b, const char *key, mia_value_type type, size_t count) {
    put_key(b, key, MIA_VALUE_ARRAY);
    put_number(b, type, 4);
    put_number(b, count, 8);
}

static inline void put_id(buffer *b, const char *key, int64_t id) {
    if (id < 0) return;
    put_key(b, key, MIA_VALUE_U32);
    put_number(b, (uint64_t)id, 4);
}

static inline void put_flag(buffer *b, const char *key, int flag) {
    if (flag < 0) return;
    put_key(b, key, MIA_VALUE_BOOL);
    put_number(b, (uint64_t)flag, 1);
}

static inline void put_tokens(buffer *b, const vocabulary *v) {
    if (v->no_tokens) return;
    if (v->tokens_as_text) {
        put_key(b, "tokenizer.ggml.tokens", MIA_VALUE_STRING);
        put_text(b, "a", 1);
        return;
    }
    put_array(b, "tokenizer.ggml.tokens", v->tokens_as_integers ? MIA_VALUE_I32 : MIA_VALUE_STRING, v->count);
    for (size_t i = 0; i < v->count; i++) {
        if (v->tokens_as_integers)
            put_number(b, i, 4);
        else
            put_text(b, v->tokens[i].text, v->tokens[i].length);
    }
}

static inline void put_scores_and_kinds(buffer *b, const vocabulary *v) {
    if (!v->no_scores) {
        put_array(b, "tokenizer.ggml.scores", v->scores_as_integers ? MIA_VALUE_I32 : MIA_VALUE_F32,
                  v->count - v->fewer_scores);
        for (size_t i = 0; i + v->fewer_scores < v->count; i++) {
            uint32_t bits;
            memcpy(&bits, &v->tokens[i].score, 4);
            put_number(b, bits, 4);
        }
    }
    if (v->no_kinds) return;
    put_array(b, "tokenizer.ggml.token_type", v->kinds_as_text ? MIA_VALUE_STRING : MIA_VALUE_I32,
              v->count - v->fewer_kinds);
    for (size_t i = 0; i + v->fewer_kinds < v->count; i++)
        put_number(b, v->kinds_as_text ? 0 : (uint32_t)v->tokens[i].kind, v->kinds_as_text ? 8 : 4);
}

static inline void write_file(const vocabulary *v, buffer *b) {
    b->length = 0;
    b->keys = 0;
    put(b, "GGUF", 4);
    put_number(b, 3, 4);
    put_number(b, 0, 8);
    put_number(b, 0, 8); /* keys, filled in at the end */
    const char *model = v->model == NULL ? "llama" : v->model;
    if (v->model_as_number) {
        put_id(b, "tokenizer.ggml.model", 7);
    } else if (model[0] != '\0') {
        put_key(b, "tokenizer.ggml.model", MIA_VALUE_STRING);
        put_text(b, model, strlen(model));
    }
    put_tokens(b, v);
    put_scores_and_kinds(b, v);
    put_id(b, "tokenizer.ggml.bos_token_id", v->bos);
    put_id(b, "tokenizer.ggml.eos_token_id", v->eos);
    put_id(b, "tokenizer.ggml.eot_token_id", v->eot);
    put_id(b, "tokenizer.ggml.unknown_token_id", v->unknown);
    if (v->id_as_text) {
        put_key(b, "tokenizer.ggml.eom_token_id", MIA_VALUE_STRING);
        put_text(b, "x", 1);
    }
    put_flag(b, "tokenizer.ggml.add_bos_token", v->add_bos);
    put_flag(b, "tokenizer.ggml.add_eos_token", v->add_eos);
    if (v->flag_as_text) {
        put_key(b, "tokenizer.ggml.add_space_prefix", MIA_VALUE_STRING);
        put_text(b, "x", 1);
    } else {
        put_flag(b, "tokenizer.ggml.add_space_prefix", v->prefix);
    }
    put_flag(b, "tokenizer.ggml.remove_extra_whitespaces", v->trim);
    memcpy(b->bytes + 16, &b->keys, 8);
    while (b->length % 32 != 0) put_number(b, 0, 1);
}

static inline void add(vocabulary *v, const char *text, float score, int32_t kind) {
    token *t = &v->tokens[v->count++];
    t->length = strlen(text);
    assert_true(t->length < sizeof t->text);
    memcpy(t->text, text, t->length + 1);
    t->score = score;
    t->kind = kind;
}

/* <unk>, <s>, </s>, the 256 bytes: what Llama's vocabulary starts with. */
static inline void start(vocabulary *v) {
    memset(v, 0, sizeof *v);
    v->add_bos = v->add_eos = v->prefix = v->trim = -1;
    v->bos = v->eos = v->eot = v->unknown = -1;
    add(v, "<unk>", 0, UNKNOWN);
    add(v, "<s>", 0, CONTROL);
    add(v, "</s>", 0, CONTROL);
    for (unsigned i = 0; i < 256; i++) {
        char text[8];
        (void)snprintf(text, sizeof text, "<0x%02X>", i);
        add(v, text, 0, BYTE);
    }
}

static buffer file; /* of the vocabulary opened last */

static inline mia_status open_with(const vocabulary *v, const mia_allocator *allocator, mia_tokenizer **out,
                                   mia_error *error) {
    mia_weights *weights;
    write_file(v, &file);
    assert_int_equal(
        mia_weights_open(mia_source_of_memory("hand.gguf", file.bytes, file.length), NULL, &weights, NULL),
        MIA_OK);
    mia_status status = mia_tokenizer_open(weights, allocator, out, error);
    mia_weights_close(weights);
    memset(file.bytes, 0xee, file.length); /* the tokenizer holds on to nothing of it */
    return status;
}

static inline mia_tokenizer *open_or_fail(const vocabulary *v) {
    mia_error error = {0};
    mia_tokenizer *tokenizer;
    if (open_with(v, NULL, &tokenizer, &error) != MIA_OK) fail_msg("%s", error.message);
    return tokenizer;
}

/* --- random vocabularies and texts ------------------------------------------------------------ */

static const char *const letters[] = {"a", "b", "c", " ", SPACE, "\xc3\xa9", "\n", "<", "\xf0\x9f\x98\x80"};

static inline size_t random_letters(char *out, size_t limit, size_t from, size_t to) {
    size_t length = 0;
    for (size_t n = random_below(limit + 1); n > 0; n--) {
        const char *letter = letters[from + random_below(to - from)];
        memcpy(out + length, letter, strlen(letter));
        length += strlen(letter);
    }
    out[length] = '\0';
    return length;
}

static inline void random_vocabulary(vocabulary *v) {
    start(v);
    size_t merged = 4 + random_below(60), special = random_below(8);
    if (random_below(4) != 0) add(v, SPACE, -3, NORMAL);
    for (size_t i = 0; i < merged; i++) {
        char text[32];
        random_letters(text, 1 + random_below(5), random_below(3) == 0 ? 3 : 0, 9);
        add(v, text, -(float)random_below(6), random_below(10) == 0 ? UNUSED : NORMAL);
    }
    for (size_t i = 0; i < special; i++) {
        char text[32];
        random_letters(text, 4, 0, 9);
        add(v, text, 0, random_below(3) == 0 ? CONTROL : USER);
    }
    v->prefix = (int)random_below(3) - 1;
}

/* Bytes of the UTF-8 character there, 1 where there is none. */
static inline size_t character_at(const char *text, size_t length) {
    uint8_t lead = (uint8_t)text[0];
    size_t needed = lead >= 0xf8 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    for (size_t i = 1; i < needed; i++)
        if (i >= length || ((uint8_t)text[i] & 0xc0) != 0x80) return 1;
    return needed;
}

#endif
