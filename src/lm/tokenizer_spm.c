/* Text to ids as SentencePiece's BPE does it and llama.cpp repeats it: the text's characters are symbols, and
 * the two neighbours whose joined text is the token of the highest score are merged (the leftmost of equals)
 * until no two can be; what is then no token is written byte by byte.
 *
 * Merges never cross a place where no token has the two bytes that meet there, so the text is cut at those
 * places and each piece is merged by itself: the same ids, with a heap of a word's size instead of the
 * text's. Special tokens were cut out before (tokenizer_special.c). */
#include "lm/tokenizer.h"

#include <string.h>

typedef struct symbol {
    uint32_t start, length; /* in the piece; length 0: merged into another */
    int32_t previous, next; /* neighbours, -1: none */
} symbol;

typedef struct bigram {
    float score;
    int32_t left, right;
    uint32_t length; /* of both; tells whether one of them changed since */
} bigram;

/* Everything that one call of encode needs; arrays grow and are used again for the next piece. */
typedef struct encoder {
    const mia_tokenizer *tokenizer;
    symbol *symbols; /* [symbol_room] */
    bigram *heap;    /* [2 * symbol_room]: a merge takes one out and puts at most two in */
    size_t symbol_room, heap_count;
    char *normal; /* a fragment with its spaces replaced */
    size_t normal_room;
    int32_t *ids;
    size_t id_count, id_room;
} encoder;

/* --- growing ---------------------------------------------------------------------------------- */

/* Room for `needed` elements, doubled, without keeping what was there. */
static bool renew(const encoder *e, void **array, size_t *room, size_t needed, size_t size) {
    if (needed <= *room) return true;
    size_t larger = *room * 2 > needed ? *room * 2 : needed;
    void *fresh = mia_allocate_zeroed(&e->tokenizer->allocator, larger, size);
    if (fresh == NULL) return false;
    mia_release(&e->tokenizer->allocator, *array, *room * size);
    *array = fresh;
    *room = larger;
    return true;
}

static bool reserve_symbols(encoder *e, size_t count) {
    if (count <= e->symbol_room) return true;
    const mia_allocator *allocator = &e->tokenizer->allocator;
    size_t room = e->symbol_room * 2 > count ? e->symbol_room * 2 : count;
    symbol *symbols = mia_allocate_zeroed(allocator, room, sizeof *symbols);
    bigram *heap = mia_allocate_zeroed(allocator, room, 2 * sizeof *heap);
    if (symbols == NULL || heap == NULL) {
        if (symbols != NULL) mia_release(allocator, symbols, room * sizeof *symbols);
        if (heap != NULL) mia_release(allocator, heap, room * 2 * sizeof *heap);
        return false;
    }
    mia_release(allocator, e->symbols, e->symbol_room * sizeof *symbols);
    mia_release(allocator, e->heap, e->symbol_room * 2 * sizeof *heap);
    e->symbols = symbols;
    e->heap = heap;
    e->symbol_room = room;
    return true;
}

static bool push_id(encoder *e, int32_t id) {
    if (e->id_count == e->id_room) {
        size_t room = e->id_room == 0 ? 64 : e->id_room * 2;
        int32_t *ids =
            mia_reallocate_array(&e->tokenizer->allocator, e->ids, e->id_room, room, sizeof(int32_t));
        if (ids == NULL) return false;
        e->ids = ids;
        e->id_room = room;
    }
    e->ids[e->id_count++] = id;
    return true;
}

/* --- the heap of bigrams ---------------------------------------------------------------------- */

static bool merges_before(const bigram *a, const bigram *b) {
    return a->score > b->score || (a->score == b->score && a->left < b->left);
}

static void heap_push(encoder *e, bigram item) {
    size_t place = e->heap_count++;
    while (place > 0) {
        size_t parent = (place - 1) / 2;
        if (!merges_before(&item, &e->heap[parent])) break;
        e->heap[place] = e->heap[parent];
        place = parent;
    }
    e->heap[place] = item;
}

static bigram heap_pop(encoder *e) {
    bigram top = e->heap[0], last = e->heap[--e->heap_count];
    size_t place = 0;
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= e->heap_count) break;
        if (child + 1 < e->heap_count && merges_before(&e->heap[child + 1], &e->heap[child])) child++;
        if (!merges_before(&e->heap[child], &last)) break;
        e->heap[place] = e->heap[child];
        place = child;
    }
    e->heap[place] = last;
    return top;
}

/* --- merging one piece ------------------------------------------------------------------------ */

static void consider(encoder *e, const char *piece, int32_t left, int32_t right) {
    if (left < 0 || right < 0) return;
    const symbol *a = &e->symbols[left], *b = &e->symbols[right];
    int32_t id = mia__token_find(e->tokenizer, piece + a->start, a->length + b->length);
    if (id < 0) return;
    heap_push(e, (bigram){e->tokenizer->scores[id], left, right, a->length + b->length});
}

/* Bytes of the character at text, or 1 where there is none: a byte that starts nothing stands alone. */
static size_t character_length(const char *text, size_t length) {
    uint8_t lead = (uint8_t)text[0];
    size_t needed = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 1;
    if (needed > length) return 1;
    for (size_t i = 1; i < needed; i++)
        if (((uint8_t)text[i] & 0xc0) != 0x80) return 1;
    return needed;
}

/* The symbols of a piece as ids: as a token, or else byte by byte. */
static bool write_symbol(encoder *e, const char *text, size_t length) {
    const mia_tokenizer *tokenizer = e->tokenizer;
    int32_t id = mia__token_find(tokenizer, text, length);
    if (id >= 0) return push_id(e, id);
    for (size_t i = 0; i < length; i++)
        if (tokenizer->bytes[(uint8_t)text[i]] < 0) return push_id(e, tokenizer->unknown);
    for (size_t i = 0; i < length; i++)
        if (!push_id(e, tokenizer->bytes[(uint8_t)text[i]])) return false;
    return true;
}

static bool encode_piece(encoder *e, const char *piece, size_t length) {
    if (!reserve_symbols(e, length)) return false;
    int32_t count = 0;
    for (size_t at = 0; at < length; count++) {
        size_t bytes = character_length(piece + at, length - at);
        e->symbols[count] = (symbol){(uint32_t)at, (uint32_t)bytes, count - 1, count + 1};
        at += bytes;
    }
    e->symbols[count - 1].next = -1;
    e->heap_count = 0;
    for (int32_t i = 0; i + 1 < count; i++) consider(e, piece, i, i + 1);
    while (e->heap_count > 0) {
        bigram merge = heap_pop(e);
        symbol *left = &e->symbols[merge.left], *right = &e->symbols[merge.right];
        if (left->length == 0 || right->length == 0 || left->length + right->length != merge.length) continue;
        left->length += right->length;
        right->length = 0;
        left->next = right->next;
        if (right->next >= 0) e->symbols[right->next].previous = merge.left;
        consider(e, piece, left->previous, merge.left);
        consider(e, piece, merge.left, left->next);
    }
    for (int32_t i = 0; i >= 0; i = e->symbols[i].next)
        if (!write_symbol(e, piece + e->symbols[i].start, e->symbols[i].length)) return false;
    return true;
}

/* --- fragments between special tokens --------------------------------------------------------- */

static bool may_meet(const mia_tokenizer *tokenizer, char a, char b) {
    unsigned pair = (unsigned)(uint8_t)a << 8 | (uint8_t)b;
    return (tokenizer->pairs[pair / 8] >> pair % 8 & 1) != 0;
}

/* Copies a fragment with spaces replaced, one put in front, and surplus ones left out, as the vocabulary asks
 * for. */
static bool normalize(encoder *e, const char *text, size_t length, bool after_special,
                      size_t *normal_length) {
    const mia_tokenizer *tokenizer = e->tokenizer;
    bool trims = tokenizer->trims_spaces;
    size_t spaces = 1, out = 0, start = 0;
    while (trims && start < length && text[start] == ' ') start++;
    while (trims && length > start && text[length - 1] == ' ') length--;
    for (size_t i = start; i < length; i++) spaces += text[i] == ' ';
    *normal_length = 0;
    if (start == length) return true;
    if (!renew(e, (void **)&e->normal, &e->normal_room, length - start + spaces * MIA__SPACE_LENGTH, 1))
        return false;
    if (tokenizer->adds_space && after_special) {
        memcpy(e->normal, MIA__SPACE, MIA__SPACE_LENGTH);
        out = MIA__SPACE_LENGTH;
    }
    for (size_t i = start; i < length; i++) {
        if (text[i] != ' ') {
            e->normal[out++] = text[i];
        } else if (!trims || text[i - 1] != ' ') {
            memcpy(e->normal + out, MIA__SPACE, MIA__SPACE_LENGTH);
            out += MIA__SPACE_LENGTH;
        }
    }
    *normal_length = out;
    return true;
}

static bool encode_fragment(encoder *e, const char *text, size_t length, bool after_special) {
    size_t normal_length, start = 0;
    if (!normalize(e, text, length, after_special, &normal_length)) return false;
    for (size_t at = 0; at < normal_length;) {
        at += character_length(e->normal + at, normal_length - at);
        if (at < normal_length && may_meet(e->tokenizer, e->normal[at - 1], e->normal[at])) continue;
        if (!encode_piece(e, e->normal + start, at - start)) return false;
        start = at;
    }
    return true;
}

static bool encode_text(encoder *e, const char *text, size_t length, const int32_t *owners) {
    bool after_special = true;
    for (size_t at = 0; at < length;) {
        size_t end = at + 1;
        if (owners != NULL && owners[at] > 0) {
            if (!push_id(e, owners[at] - 1)) return false;
            while (end < length && owners[end] < 0) end++;
            after_special = true;
        } else {
            while (end < length && (owners == NULL || owners[end] == 0)) end++;
            if (!encode_fragment(e, text + at, end - at, after_special)) return false;
            after_special = false;
        }
        at = end;
    }
    return true;
}

/* --- public ----------------------------------------------------------------------------------- */

/* Cuts the array of ids to its length, which is what its release is given back. */
static bool finish(encoder *e, int32_t **out, size_t *count) {
    if (e->id_count != e->id_room) {
        int32_t *ids =
            mia_reallocate_array(&e->tokenizer->allocator, e->ids, e->id_room, e->id_count, sizeof(int32_t));
        if (ids == NULL) return false;
        e->ids = ids;
    }
    *out = e->ids;
    *count = e->id_count;
    e->ids = NULL;
    return true;
}

static void clean_up(encoder *e) {
    const mia_allocator *allocator = &e->tokenizer->allocator;
    mia_release(allocator, e->symbols, e->symbol_room * sizeof(symbol));
    mia_release(allocator, e->heap, e->symbol_room * 2 * sizeof(bigram));
    mia_release(allocator, e->normal, e->normal_room);
    mia_release(allocator, e->ids, e->id_room * sizeof(int32_t));
}

mia_status mia_tokenizer_encode(const mia_tokenizer *tokenizer, const char *text, size_t length,
                                unsigned flags, int32_t **out, size_t *count, mia_error *error) {
    if (tokenizer == NULL || out == NULL || count == NULL || (text == NULL && length > 0))
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "mia_tokenizer_encode: an argument is NULL");
    if (length > INT32_MAX / 4) /* symbols are counted in 32 bits, and a space takes three bytes */
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "mia_tokenizer_encode: %zu bytes of text are more than %d", length,
                             INT32_MAX / 4);
    *out = NULL;
    *count = 0;
    encoder e = {.tokenizer = tokenizer};
    int32_t *owners;
    bool control = (flags & MIA_TOKENIZE_SPECIAL) != 0;
    mia_status status = mia__specials_find(tokenizer, text, length, control, &owners, error);
    if (status != MIA_OK) return status;
    bool bos = (flags & MIA_TOKENIZE_BOS) != 0 && mia_tokenizer_adds_bos(tokenizer);
    bool eos = (flags & MIA_TOKENIZE_EOS) != 0 && tokenizer->adds_eos && tokenizer->eos >= 0;
    bool done = (!bos || push_id(&e, tokenizer->bos)) && encode_text(&e, text, length, owners) &&
                (!eos || push_id(&e, tokenizer->eos)) && finish(&e, out, count);
    mia_release(&tokenizer->allocator, owners, length * sizeof(int32_t));
    clean_up(&e);
    if (done) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to tokenize %zu bytes of text", length);
}
