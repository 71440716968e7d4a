/* Opens a tokenizer from the metadata of a weights file (tokenizer.ggml.*), and answers questions about it.
 *
 * Everything is copied and checked here, once: encoding (tokenizer_spm.c) and decoding (detokenizer.c) rely
 * on ids in range, scores that compare, and byte tokens that name a byte. */
#include "lm/tokenizer.h"

#include <math.h>
#include <string.h>

#define TOKENS     "tokenizer.ggml.tokens"
#define SCORES     "tokenizer.ggml.scores"
#define TOKEN_TYPE "tokenizer.ggml.token_type"

/* The weights being read and where complaints go. */
typedef struct reader {
    const mia_weights *weights;
    const char *name;
    mia_tokenizer *tokenizer;
    mia_error *error;
} reader;

static mia_status short_of_memory(const reader *r) {
    return mia_error_set(r->error, MIA_ERROR_NO_MEMORY, "%s: no memory for a vocabulary of %zu tokens",
                         r->name, r->tokenizer == NULL ? 0 : r->tokenizer->count);
}

/* --- lookup ----------------------------------------------------------------------------------- */

/* FNV-1a, its high bits folded down because the table is indexed by the low ones. */
static uint64_t hash(const char *text, size_t length) {
    uint64_t value = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < length; i++) value = (value ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    return value ^ (value >> 32);
}

static size_t slot_of(const mia_tokenizer *tokenizer, const char *text, size_t length) {
    size_t mask = tokenizer->slot_count - 1;
    size_t slot = (size_t)hash(text, length) & mask;
    while (tokenizer->slots[slot] != 0) {
        size_t other_length;
        const char *other = mia__token_text(tokenizer, (int32_t)(tokenizer->slots[slot] - 1), &other_length);
        if (other_length == length && memcmp(other, text, length) == 0) break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

int32_t mia__token_find(const mia_tokenizer *tokenizer, const char *text, size_t length) {
    if (length > tokenizer->longest) return -1;
    return (int32_t)tokenizer->slots[slot_of(tokenizer, text, length)] - 1;
}

bool mia__text_has_space(const char *text, size_t length) {
    for (size_t i = 0; i + MIA__SPACE_LENGTH <= length; i++)
        if (memcmp(text + i, MIA__SPACE, MIA__SPACE_LENGTH) == 0) return true;
    return false;
}

/* A user-defined token with U+2581 in its text is met when spaces have been replaced, that is, by merging. */
static bool is_cut_out(const mia_tokenizer *tokenizer, int32_t id) {
    size_t length;
    const char *text = mia__token_text(tokenizer, id, &length);
    switch (tokenizer->kinds[id]) {
    case MIA__TOKEN_CONTROL:
    case MIA__TOKEN_UNKNOWN: return true;
    case MIA__TOKEN_USER: return !mia__text_has_space(text, length);
    default: return false;
    }
}

bool mia__token_stands_alone(const mia_tokenizer *tokenizer, int32_t id) {
    if (tokenizer->kinds[id] == MIA__TOKEN_UNKNOWN) return tokenizer->every_byte;
    return is_cut_out(tokenizer, id);
}

static bool is_mergeable(const mia_tokenizer *tokenizer, int32_t id) {
    uint8_t kind = tokenizer->kinds[id];
    return kind == MIA__TOKEN_NORMAL || kind == MIA__TOKEN_UNUSED || kind == MIA__TOKEN_USER;
}

/* Of tokens with the same text the last one is found, as in llama.cpp. */
static mia_status build_lookup(const reader *r) {
    mia_tokenizer *tokenizer = r->tokenizer;
    size_t slot_count = 16;
    while (slot_count < 2 * tokenizer->count) slot_count *= 2;
    tokenizer->slots = mia_allocate_zeroed(&tokenizer->allocator, slot_count, sizeof(uint32_t));
    if (tokenizer->slots == NULL) return short_of_memory(r);
    tokenizer->slot_count = slot_count;
    for (size_t i = 0; i < tokenizer->count; i++) {
        int32_t id = (int32_t)i;
        size_t length;
        const char *text = mia__token_text(tokenizer, id, &length);
        if (length == 0 || !is_mergeable(tokenizer, id)) continue;
        tokenizer->slots[slot_of(tokenizer, text, length)] = (uint32_t)i + 1;
        for (size_t k = 0; k + 1 < length; k++) {
            unsigned pair = (unsigned)(uint8_t)text[k] << 8 | (uint8_t)text[k + 1];
            tokenizer->pairs[pair / 8] |= (uint8_t)(1u << pair % 8);
        }
    }
    tokenizer->space_as_bytes = mia__token_find(tokenizer, MIA__SPACE, MIA__SPACE_LENGTH) < 0;
    return MIA_OK;
}

static mia_status collect_specials(const reader *r) {
    mia_tokenizer *tokenizer = r->tokenizer;
    size_t count = 0;
    for (size_t i = 0; i < tokenizer->count; i++)
        count += is_cut_out(tokenizer, (int32_t)i) && tokenizer->offsets[i + 1] > tokenizer->offsets[i];
    if (count == 0) return MIA_OK;
    tokenizer->special_count = count;
    tokenizer->specials = mia_allocate_zeroed(&tokenizer->allocator, count, sizeof(int32_t));
    tokenizer->specials_by_text = mia_allocate_zeroed(&tokenizer->allocator, count, sizeof(int32_t));
    if (tokenizer->specials == NULL || tokenizer->specials_by_text == NULL) return short_of_memory(r);
    size_t next = 0;
    for (size_t i = 0; i < tokenizer->count; i++)
        if (is_cut_out(tokenizer, (int32_t)i) && tokenizer->offsets[i + 1] > tokenizer->offsets[i])
            tokenizer->specials[next++] = (int32_t)i;
    mia__specials_sort(tokenizer);
    return MIA_OK;
}

/* --- metadata --------------------------------------------------------------------------------- */

static bool is_integer(mia_value_type type) {
    return type <= MIA_VALUE_I32 || type == MIA_VALUE_U64 || type == MIA_VALUE_I64;
}

/* An array of the vocabulary; *found is false when the file has none. */
static mia_status find_array(const reader *r, const char *key, bool *found, mia_value *out) {
    *found = mia_weights_find(r->weights, key, out);
    if (*found && out->type != MIA_VALUE_ARRAY)
        return mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: %s is not an array", r->name, key);
    return MIA_OK;
}

static mia_status check_count(const reader *r, const char *key, const mia_value *array) {
    if (array->count == r->tokenizer->count) return MIA_OK;
    return mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: %s has %llu elements but " TOKENS " has %zu",
                         r->name, key, (unsigned long long)array->count, r->tokenizer->count);
}

static mia_status check_model(const reader *r) {
    mia_value model;
    if (!mia_weights_find(r->weights, "tokenizer.ggml.model", &model))
        return mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: tokenizer.ggml.model is missing", r->name);
    if (model.type != MIA_VALUE_STRING)
        return mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: tokenizer.ggml.model is not a string", r->name);
    if (model.as.text.length == 5 && memcmp(model.as.text.bytes, "llama", 5) == 0) return MIA_OK;
    int shown = model.as.text.length < 64 ? (int)model.as.text.length : 64;
    return mia_error_set(r->error, MIA_ERROR_UNSUPPORTED,
                         "%s: tokenizer.ggml.model is \"%.*s\"; only \"llama\" (SentencePiece) is supported",
                         r->name, shown, model.as.text.bytes);
}

static mia_status read_tokens(const reader *r) {
    mia_tokenizer *tokenizer = r->tokenizer;
    bool found;
    mia_value tokens;
    mia_status status = find_array(r, TOKENS, &found, &tokens);
    if (status != MIA_OK) return status;
    if (!found) return mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: " TOKENS " is missing", r->name);
    if (tokens.count == 0)
        return mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: " TOKENS " is empty", r->name);
    if (tokens.element_type != MIA_VALUE_STRING)
        return mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: " TOKENS " does not hold strings", r->name);
    if (tokens.count >= INT32_MAX)
        return mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: " TOKENS " has too many tokens: %llu", r->name,
                             (unsigned long long)tokens.count);
    tokenizer->count = (size_t)tokens.count;
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < tokens.count; i++) {
        bytes += mia_value_element(&tokens, i).as.text.length;
        if (bytes > UINT32_MAX)
            return mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: " TOKENS " is over 4 GiB of text", r->name);
    }
    tokenizer->offsets = mia_allocate_zeroed(&tokenizer->allocator, tokenizer->count + 1, sizeof(uint32_t));
    tokenizer->texts = mia_allocate(&tokenizer->allocator, (size_t)bytes, 1);
    tokenizer->text_bytes = (size_t)bytes;
    if (tokenizer->offsets == NULL || tokenizer->texts == NULL) return short_of_memory(r);
    size_t end = 0;
    for (size_t i = 0; i < tokenizer->count; i++) {
        mia_text text = mia_value_element(&tokens, i).as.text;
        if (text.length > 0) memcpy(tokenizer->texts + end, text.bytes, text.length);
        end += text.length;
        tokenizer->offsets[i + 1] = (uint32_t)end;
        if (text.length > tokenizer->longest) tokenizer->longest = text.length;
    }
    return MIA_OK;
}

/* A file without scores gets zeros: merges then go from left to right. */
static mia_status read_scores(const reader *r) {
    mia_tokenizer *tokenizer = r->tokenizer;
    bool found;
    mia_value scores;
    mia_status status = find_array(r, SCORES, &found, &scores);
    if (status == MIA_OK && found) status = check_count(r, SCORES, &scores);
    if (status != MIA_OK) return status;
    tokenizer->scores = mia_allocate_zeroed(&tokenizer->allocator, tokenizer->count, sizeof(float));
    if (tokenizer->scores == NULL) return short_of_memory(r);
    if (!found) return MIA_OK;
    if (scores.element_type != MIA_VALUE_F32)
        return mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: " SCORES " does not hold float32 numbers",
                             r->name);
    for (size_t i = 0; i < tokenizer->count; i++) {
        tokenizer->scores[i] = (float)mia_value_element(&scores, i).as.f;
        if (isnan(tokenizer->scores[i]))
            return mia_error_set(r->error, MIA_ERROR_FORMAT,
                                 "%s: " SCORES ": the score of token %zu is not a number", r->name, i);
    }
    return MIA_OK;
}

int mia__byte_of(const char *text, size_t length) {
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int value = 0;
    for (size_t i = 3; i < 5; i++) {
        char c = text[i];
        int digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'A' && c <= 'F')
            digit = c - 'A' + 10;
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10;
        else
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static mia_status read_kinds(const reader *r) {
    mia_tokenizer *tokenizer = r->tokenizer;
    bool found;
    mia_value kinds;
    mia_status status = find_array(r, TOKEN_TYPE, &found, &kinds);
    if (status == MIA_OK && found) status = check_count(r, TOKEN_TYPE, &kinds);
    if (status != MIA_OK) return status;
    tokenizer->kinds = mia_allocate_zeroed(&tokenizer->allocator, tokenizer->count, sizeof(uint8_t));
    if (tokenizer->kinds == NULL) return short_of_memory(r);
    if (found && !is_integer(kinds.element_type))
        return mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: " TOKEN_TYPE " does not hold integers",
                             r->name);
    for (size_t i = 0; i < tokenizer->count; i++) {
        uint64_t kind = found ? mia_value_element(&kinds, i).as.u : MIA__TOKEN_NORMAL;
        if (kind > MIA__TOKEN_BYTE)
            return mia_error_set(r->error, MIA_ERROR_FORMAT,
                                 "%s: " TOKEN_TYPE ": token %zu has the unknown type %lld", r->name, i,
                                 (long long)kind);
        tokenizer->kinds[i] = (uint8_t)(kind == 0 ? MIA__TOKEN_NORMAL : kind); /* 0: the file does not say */
    }
    return MIA_OK;
}

/* Fills the table of byte tokens. Without a single token of that type, tokens that are written like them are
 * taken for them: a file without types still has its byte fallback. */
static mia_status read_bytes(const reader *r) {
    mia_tokenizer *tokenizer = r->tokenizer;
    bool typed = false;
    for (size_t i = 0; i < tokenizer->count && !typed; i++) typed = tokenizer->kinds[i] == MIA__TOKEN_BYTE;
    for (size_t i = 0; i < 256; i++) tokenizer->bytes[i] = -1;
    for (size_t i = 0; i < tokenizer->count; i++) {
        size_t length;
        const char *text = mia__token_text(tokenizer, (int32_t)i, &length);
        int byte = mia__byte_of(text, length);
        if (typed && tokenizer->kinds[i] != MIA__TOKEN_BYTE) continue;
        if (typed && byte < 0)
            return mia_error_set(r->error, MIA_ERROR_FORMAT,
                                 "%s: " TOKENS ": token %zu is a byte but is not written like <0x0A>",
                                 r->name, i);
        if (byte < 0 || tokenizer->kinds[i] != (typed ? MIA__TOKEN_BYTE : MIA__TOKEN_NORMAL)) continue;
        tokenizer->kinds[i] = MIA__TOKEN_BYTE;
        tokenizer->bytes[byte] = (int32_t)i;
    }
    return MIA_OK;
}

/* A byte without a token of its own may still be a token's whole text. */
static mia_status complete_bytes(const reader *r) {
    mia_tokenizer *tokenizer = r->tokenizer;
    tokenizer->every_byte = true;
    for (int i = 0; i < 256; i++) {
        char byte = (char)(uint8_t)i;
        if (tokenizer->bytes[i] < 0) tokenizer->bytes[i] = mia__token_find(tokenizer, &byte, 1);
        if (tokenizer->bytes[i] < 0) tokenizer->every_byte = false;
    }
    if (tokenizer->every_byte || tokenizer->unknown >= 0) return MIA_OK;
    return mia_error_set(r->error, MIA_ERROR_FORMAT,
                         "%s: " TOKENS " has neither a token for every byte nor an unknown token", r->name);
}

/* --- ids and flags ---------------------------------------------------------------------------- */

/* An id of a special token. A missing key leaves the default, where the vocabulary has it; all ones mean
 * none. */
static mia_status read_id(const reader *r, const char *key, int32_t standard, int32_t *out) {
    *out = standard >= 0 && (size_t)standard < r->tokenizer->count ? standard : -1;
    mia_value value;
    if (!mia_weights_find(r->weights, key, &value)) return MIA_OK;
    if (!is_integer(value.type))
        return mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: %s is not an integer", r->name, key);
    *out = -1;
    if (value.as.u == UINT32_MAX || value.as.u == UINT64_MAX) return MIA_OK;
    if (value.as.u >= r->tokenizer->count)
        return mia_error_set(r->error, MIA_ERROR_FORMAT,
                             "%s: %s is %lld, outside the vocabulary of %zu tokens", r->name, key,
                             (long long)value.as.i, r->tokenizer->count);
    *out = (int32_t)value.as.u;
    return MIA_OK;
}

static mia_status read_flag(const reader *r, const char *key, bool standard, bool *out) {
    *out = standard;
    mia_value value;
    if (!mia_weights_find(r->weights, key, &value)) return MIA_OK;
    if (value.type != MIA_VALUE_BOOL)
        return mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: %s is not a bool", r->name, key);
    *out = value.as.u != 0;
    return MIA_OK;
}

/* The end of a turn, by the names that chat models give it, for files that do not say. */
static bool is_named_end(const char *text, size_t length) {
    static const char *const names[] = {"<|eot_id|>",    "<|im_end|>", "<|end|>",   "<end_of_turn>",
                                        "<|endoftext|>", "<EOT>",      "<|eom_id|>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == length && memcmp(names[i], text, length) == 0) return true;
    return false;
}

static mia_status read_ends(const reader *r) {
    mia_tokenizer *tokenizer = r->tokenizer;
    tokenizer->ends = mia_allocate_zeroed(&tokenizer->allocator, tokenizer->count, sizeof(bool));
    if (tokenizer->ends == NULL) return short_of_memory(r);
    if (tokenizer->eos >= 0) tokenizer->ends[tokenizer->eos] = true;
    static const char *const keys[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int32_t id;
        mia_status status = read_id(r, keys[i], -1, &id);
        if (status != MIA_OK) return status;
        if (id >= 0) tokenizer->ends[id] = true;
    }
    for (size_t i = 0; i < tokenizer->count; i++) {
        size_t length;
        const char *text = mia__token_text(tokenizer, (int32_t)i, &length);
        uint8_t kind = tokenizer->kinds[i];
        if ((kind == MIA__TOKEN_CONTROL || kind == MIA__TOKEN_USER) && is_named_end(text, length))
            tokenizer->ends[i] = true;
    }
    return MIA_OK;
}

/* Defaults where the file is silent are SentencePiece's for Llama: <unk>, <s>, </s> first, BOS and a space in
 * front. */
static mia_status read_settings(const reader *r) {
    mia_tokenizer *tokenizer = r->tokenizer;
    mia_status status = read_id(r, "tokenizer.ggml.bos_token_id", 1, &tokenizer->bos);
    if (status == MIA_OK) status = read_id(r, "tokenizer.ggml.eos_token_id", 2, &tokenizer->eos);
    if (status == MIA_OK) status = read_id(r, "tokenizer.ggml.unknown_token_id", 0, &tokenizer->unknown);
    if (status == MIA_OK) status = read_flag(r, "tokenizer.ggml.add_bos_token", true, &tokenizer->adds_bos);
    if (status == MIA_OK) status = read_flag(r, "tokenizer.ggml.add_eos_token", false, &tokenizer->adds_eos);
    if (status == MIA_OK)
        status = read_flag(r, "tokenizer.ggml.add_space_prefix", true, &tokenizer->adds_space);
    if (status == MIA_OK)
        status = read_flag(r, "tokenizer.ggml.remove_extra_whitespaces", false, &tokenizer->trims_spaces);
    return status;
}

static mia_status read_all(const reader *r) {
    mia_status status = check_model(r);
    if (status == MIA_OK) status = read_tokens(r);
    if (status == MIA_OK) status = read_scores(r);
    if (status == MIA_OK) status = read_kinds(r);
    if (status == MIA_OK) status = read_bytes(r);
    if (status == MIA_OK) status = read_settings(r);
    if (status == MIA_OK) status = read_ends(r);
    if (status == MIA_OK) status = build_lookup(r);
    if (status == MIA_OK) status = complete_bytes(r);
    if (status == MIA_OK) status = collect_specials(r);
    return status;
}

/* --- public ----------------------------------------------------------------------------------- */

mia_status mia_tokenizer_open(const mia_weights *weights, const mia_allocator *allocator, mia_tokenizer **out,
                              mia_error *error) {
    if (weights == NULL || out == NULL)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "mia_tokenizer_open: weights or out is NULL");
    *out = NULL;
    reader r = {weights, mia_weights_name(weights), NULL, error};
    mia_tokenizer *tokenizer = mia_allocate_zeroed(allocator, 1, sizeof *tokenizer);
    if (tokenizer == NULL) return short_of_memory(&r);
    if (allocator != NULL) tokenizer->allocator = *allocator;
    r.tokenizer = tokenizer;
    mia_status status = read_all(&r);
    if (status != MIA_OK) {
        mia_tokenizer_close(tokenizer);
        return status;
    }
    *out = tokenizer;
    return MIA_OK;
}

void mia_tokenizer_close(mia_tokenizer *tokenizer) {
    if (tokenizer == NULL) return;
    mia_allocator allocator = tokenizer->allocator;
    size_t count = tokenizer->count;
    mia_release(&allocator, tokenizer->texts, tokenizer->text_bytes);
    mia_release(&allocator, tokenizer->offsets, (count + 1) * sizeof(uint32_t));
    mia_release(&allocator, tokenizer->scores, count * sizeof(float));
    mia_release(&allocator, tokenizer->kinds, count * sizeof(uint8_t));
    mia_release(&allocator, tokenizer->ends, count * sizeof(bool));
    mia_release(&allocator, tokenizer->slots, tokenizer->slot_count * sizeof(uint32_t));
    mia_release(&allocator, tokenizer->specials, tokenizer->special_count * sizeof(int32_t));
    mia_release(&allocator, tokenizer->specials_by_text, tokenizer->special_count * sizeof(int32_t));
    mia_release(&allocator, tokenizer, sizeof *tokenizer);
}

size_t mia_tokenizer_vocabulary(const mia_tokenizer *tokenizer) {
    return tokenizer->count;
}

int32_t mia_tokenizer_bos(const mia_tokenizer *tokenizer) {
    return tokenizer->bos;
}

bool mia_tokenizer_adds_bos(const mia_tokenizer *tokenizer) {
    return tokenizer->adds_bos && tokenizer->bos >= 0;
}

bool mia_tokenizer_is_end(const mia_tokenizer *tokenizer, int32_t id) {
    return id >= 0 && (size_t)id < tokenizer->count && tokenizer->ends[id];
}

void mia_tokenizer_release(const mia_tokenizer *tokenizer, int32_t *ids, size_t count) {
    if (ids != NULL) mia_release(&tokenizer->allocator, ids, count * sizeof(int32_t));
}
