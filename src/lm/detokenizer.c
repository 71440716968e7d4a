/* Ids to text, as they come: the reverse of tokenizer_spm.c.
 *
 * The buffer holds what the last push gave out, followed by the start of a character that is still missing
 * bytes (at most three); the next push moves that to the front and adds its token's text. Nothing is
 * allocated after open. */
#include "lm/tokenizer.h"

#include <string.h>

struct mia_detokenizer {
    const mia_tokenizer *tokenizer;
    unsigned flags;
    bool drops_space; /* the next token may start with a space that encoding put there */
    char *buffer;     /* [room] */
    size_t room;
    size_t given, held; /* bytes given out by the last call, and held back behind them */
};

mia_status mia_detokenizer_open(const mia_tokenizer *tokenizer, unsigned flags, mia_detokenizer **out,
                                mia_error *error) {
    if (tokenizer == NULL || out == NULL)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "mia_detokenizer_open: an argument is NULL");
    *out = NULL;
    mia_detokenizer *detokenizer = mia_allocate_zeroed(&tokenizer->allocator, 1, sizeof *detokenizer);
    size_t room = tokenizer->longest + 4;
    char *buffer = mia_allocate(&tokenizer->allocator, room, 1);
    if (detokenizer == NULL || buffer == NULL) {
        mia_release(&tokenizer->allocator, buffer, room);
        mia_release(&tokenizer->allocator, detokenizer, sizeof *detokenizer);
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a detokenizer");
    }
    detokenizer->tokenizer = tokenizer;
    detokenizer->flags = flags;
    detokenizer->drops_space = tokenizer->adds_space && (flags & MIA_DETOKENIZE_CONTINUE) == 0;
    detokenizer->buffer = buffer;
    detokenizer->room = room;
    *out = detokenizer;
    return MIA_OK;
}

void mia_detokenizer_close(mia_detokenizer *detokenizer) {
    if (detokenizer == NULL) return;
    const mia_allocator *allocator = &detokenizer->tokenizer->allocator;
    mia_release(allocator, detokenizer->buffer, detokenizer->room);
    mia_release(allocator, detokenizer, sizeof *detokenizer);
}

/* Whether `byte` may be the second of a character (RFC 3629: no overlong forms, no surrogates, none past
 * U+10FFFF). */
static bool is_second(uint8_t lead, uint8_t byte) {
    uint8_t lowest = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t highest = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    return byte >= lowest && byte <= highest;
}

/* How many bytes at the end are the start of a character that can still become whole. */
static size_t unfinished(const char *text, size_t length) {
    for (size_t have = 1; have <= 3 && have <= length; have++) {
        const uint8_t *start = (const uint8_t *)text + length - have;
        if ((*start & 0xc0) == 0x80) continue;
        size_t needed = *start < 0xc2 ? 1 : *start < 0xe0 ? 2 : *start < 0xf0 ? 3 : *start < 0xf5 ? 4 : 1;
        bool viable = have < needed && (have < 2 || is_second(start[0], start[1]));
        return viable ? have : 0;
    }
    return 0;
}

/* Adds the text of a token inside which U+2581 is a space. Returns the bytes added. */
static size_t add_spaced(char *into, const char *text, size_t length, bool drops_space) {
    size_t out = 0, i = 0;
    while (i < length) {
        if (length - i >= MIA__SPACE_LENGTH && memcmp(text + i, MIA__SPACE, MIA__SPACE_LENGTH) == 0) {
            if (i > 0 || !drops_space) into[out++] = ' ';
            i += MIA__SPACE_LENGTH;
        } else {
            into[out++] = text[i++];
        }
    }
    return out;
}

/* Adds a byte token. Where no token is a space its three bytes come one by one: the last one makes the
 * space. */
static void add_byte(mia_detokenizer *d, char byte) {
    d->buffer[d->held++] = byte;
    if (!d->tokenizer->space_as_bytes) {
        d->drops_space = false;
        return;
    }
    if (d->held == MIA__SPACE_LENGTH && memcmp(d->buffer, MIA__SPACE, MIA__SPACE_LENGTH) == 0) {
        d->held = 0;
        if (!d->drops_space) d->buffer[d->held++] = ' ';
        d->drops_space = false;
    } else if (memcmp(d->buffer, MIA__SPACE, d->held < MIA__SPACE_LENGTH ? d->held : MIA__SPACE_LENGTH) !=
               0) {
        d->drops_space = false;
    }
}

static void add_token(mia_detokenizer *d, int32_t id) {
    const mia_tokenizer *tokenizer = d->tokenizer;
    size_t length;
    const char *text = mia__token_text(tokenizer, id, &length);
    uint8_t kind = tokenizer->kinds[id];
    bool alone = mia__token_stands_alone(tokenizer, id);
    if (kind == MIA__TOKEN_BYTE) {
        add_byte(d, (char)(uint8_t)mia__byte_of(text, length));
    } else if (alone || kind == MIA__TOKEN_UNKNOWN) {
        bool shown = kind == MIA__TOKEN_USER || (d->flags & MIA_DETOKENIZE_SPECIAL) != 0;
        if (shown) memcpy(d->buffer + d->held, text, length);
        if (shown) d->held += length;
        d->drops_space = alone && tokenizer->adds_space;
    } else if (length > 0) {
        bool drops_space = d->drops_space && d->held == 0;
        d->held += add_spaced(d->buffer + d->held, text, length, drops_space);
        d->drops_space = false;
    }
}

mia_status mia_detokenizer_push(mia_detokenizer *detokenizer, int32_t id, mia_text *text, mia_error *error) {
    if (detokenizer == NULL || text == NULL)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "mia_detokenizer_push: an argument is NULL");
    mia_detokenizer *d = detokenizer;
    *text = (mia_text){d->buffer, 0};
    if (id < 0 || (size_t)id >= d->tokenizer->count)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "token id %d is outside the vocabulary of %zu tokens", (int)id,
                             d->tokenizer->count);
    memmove(d->buffer, d->buffer + d->given, d->held);
    add_token(d, id);
    size_t length = d->held;
    d->held = unfinished(d->buffer, length);
    d->given = length - d->held;
    text->length = d->given;
    return MIA_OK;
}

mia_text mia_detokenizer_finish(mia_detokenizer *detokenizer) {
    mia_text rest = {detokenizer->buffer + detokenizer->given, detokenizer->held};
    detokenizer->given = 0;
    detokenizer->held = 0;
    return rest;
}
