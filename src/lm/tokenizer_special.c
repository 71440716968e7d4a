/* Finds the tokens that are cut out of a text whole, before tokenizer_spm.c merges what lies between them.
 *
 * As in llama.cpp, longer tokens take their places first, each from left to right, and what is taken stays
 * taken. A vocabulary may have thousands of them, so one pass over the text first finds out which occur at
 * all. */
#include "lm/tokenizer.h"

#include <string.h>

/* --- order ------------------------------------------------------------------------------------ */

typedef bool (*before)(const mia_tokenizer *tokenizer, int32_t a, int32_t b);

static bool longer_before(const mia_tokenizer *tokenizer, int32_t a, int32_t b) {
    size_t a_length, b_length;
    mia__token_text(tokenizer, a, &a_length);
    mia__token_text(tokenizer, b, &b_length);
    return a_length != b_length ? a_length > b_length : a < b;
}

static bool smaller_text_before(const mia_tokenizer *tokenizer, int32_t a, int32_t b) {
    size_t a_length, b_length;
    const char *a_text = mia__token_text(tokenizer, tokenizer->specials[a], &a_length);
    const char *b_text = mia__token_text(tokenizer, tokenizer->specials[b], &b_length);
    int order = memcmp(a_text, b_text, a_length < b_length ? a_length : b_length);
    if (order != 0) return order < 0;
    return a_length != b_length ? a_length < b_length : a < b;
}

static void sift_down(const mia_tokenizer *tokenizer, int32_t *items, size_t root, size_t count,
                      before less) {
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= count) return;
        if (child + 1 < count && less(tokenizer, items[child], items[child + 1])) child++;
        if (!less(tokenizer, items[root], items[child])) return;
        int32_t moved = items[root];
        items[root] = items[child];
        items[child] = moved;
        root = child;
    }
}

/* Heapsort: qsort may allocate behind the allocator's back, and knows no context. */
static void sort(const mia_tokenizer *tokenizer, int32_t *items, size_t count, before less) {
    for (size_t i = count / 2; i-- > 0;) sift_down(tokenizer, items, i, count, less);
    for (size_t last = count; last-- > 1;) {
        int32_t moved = items[0];
        items[0] = items[last];
        items[last] = moved;
        sift_down(tokenizer, items, 0, last, less);
    }
}

void mia__specials_sort(mia_tokenizer *tokenizer) {
    size_t count = tokenizer->special_count;
    sort(tokenizer, tokenizer->specials, count, longer_before);
    for (size_t i = 0; i < count; i++) tokenizer->specials_by_text[i] = (int32_t)i;
    sort(tokenizer, tokenizer->specials_by_text, count, smaller_text_before);
}

/* --- search ----------------------------------------------------------------------------------- */

static const char *special_text(const mia_tokenizer *tokenizer, size_t place, size_t *length) {
    int32_t special = tokenizer->specials_by_text[place];
    return mia__token_text(tokenizer, tokenizer->specials[special], length);
}

/* The first place in [low, high) whose text has, at `depth`, a byte that is not below `byte`. All of them
 * share the bytes before depth, and are longer than depth. */
static size_t lower_bound(const mia_tokenizer *tokenizer, size_t low, size_t high, size_t depth,
                          unsigned byte) {
    while (low < high) {
        size_t middle = low + (high - low) / 2, length;
        const char *text = special_text(tokenizer, middle, &length);
        if ((uint8_t)text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Marks the special tokens that the text begins with: the range of candidates narrows byte by byte. */
static void mark_prefixes(const mia_tokenizer *tokenizer, const char *text, size_t length, uint8_t *occurs) {
    size_t low = 0, high = tokenizer->special_count;
    for (size_t depth = 0; depth < length && low < high; depth++) {
        unsigned byte = (uint8_t)text[depth];
        low = lower_bound(tokenizer, low, high, depth, byte);
        high = lower_bound(tokenizer, low, high, depth, byte + 1);
        size_t token_length;
        while (low < high && (special_text(tokenizer, low, &token_length), token_length == depth + 1))
            occurs[tokenizer->specials_by_text[low++]] = 1;
    }
}

static bool mark_all(const mia_tokenizer *tokenizer, const char *text, size_t length, uint8_t *occurs) {
    uint8_t starts[256] = {0};
    for (size_t i = 0; i < tokenizer->special_count; i++) {
        size_t token_length;
        starts[(uint8_t)*special_text(tokenizer, i, &token_length)] = 1;
    }
    bool any = false;
    for (size_t i = 0; i < length; i++) {
        if (!starts[(uint8_t)text[i]]) continue;
        mark_prefixes(tokenizer, text + i, length - i, occurs);
        any = true;
    }
    return any;
}

/* Gives one token its places. What was taken before is at least as long, so looking at both ends is
 * enough. */
static void take_places(const mia_tokenizer *tokenizer, int32_t id, const char *text, size_t length,
                        int32_t *owners) {
    size_t token_length, start = 0;
    const char *token = mia__token_text(tokenizer, id, &token_length);
    while (token_length <= length - start) {
        const char *found = memchr(text + start, token[0], length - start - token_length + 1);
        if (found == NULL) return;
        start = (size_t)(found - text);
        bool is_free = owners[start] == 0 && owners[start + token_length - 1] == 0;
        if (!is_free || memcmp(found, token, token_length) != 0) {
            start++;
            continue;
        }
        for (size_t i = 0; i < token_length; i++) owners[start + i] = -1;
        owners[start] = id + 1;
        start += token_length;
    }
}

mia_status mia__specials_find(const mia_tokenizer *tokenizer, const char *text, size_t length, bool control,
                              int32_t **owners, mia_error *error) {
    *owners = NULL;
    size_t count = tokenizer->special_count;
    if (count == 0 || length == 0) return MIA_OK;
    uint8_t *occurs = mia_allocate_zeroed(&tokenizer->allocator, count, sizeof(uint8_t));
    if (occurs == NULL) goto short_of_memory;
    bool any = mark_all(tokenizer, text, length, occurs);
    for (size_t i = 0; any && i < count; i++) {
        int32_t id = tokenizer->specials[i];
        if (!occurs[i] || (!control && tokenizer->kinds[id] != MIA__TOKEN_USER)) continue;
        if (*owners == NULL) *owners = mia_allocate_zeroed(&tokenizer->allocator, length, sizeof(int32_t));
        if (*owners == NULL) goto short_of_memory;
        take_places(tokenizer, id, text, length, *owners);
    }
    mia_release(&tokenizer->allocator, occurs, count);
    return MIA_OK;

short_of_memory:
    mia_release(&tokenizer->allocator, occurs, count);
    return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to tokenize %zu bytes of text", length);
}
