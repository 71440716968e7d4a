/* The tokenizer's data, shared by the files that fill and use it and by nobody else:
 *   tokenizer.c          opens it from a weights file's metadata
 *   tokenizer_spm.c      text to ids: SentencePiece's merges by score
 *   tokenizer_special.c  finds user-defined and control tokens in a text
 *   detokenizer.c        ids to text, as they come
 * All texts stand one after the other in one block, so that a token is an offset and the lookup a table of
 * ids. */
#ifndef MIA_LM_TOKENIZER_H
#define MIA_LM_TOKENIZER_H

#include <mia/lm.h>

/* Numbers as in tokenizer.ggml.token_type. */
typedef enum mia__token_kind {
    MIA__TOKEN_NORMAL = 1,
    MIA__TOKEN_UNKNOWN = 2,
    MIA__TOKEN_CONTROL = 3,
    MIA__TOKEN_USER = 4,
    MIA__TOKEN_UNUSED = 5,
    MIA__TOKEN_BYTE = 6
} mia__token_kind;

/* SentencePiece writes a space inside a token as U+2581. */
#define MIA__SPACE        "\xe2\x96\x81"
#define MIA__SPACE_LENGTH 3

struct mia_tokenizer {
    mia_allocator allocator; /* zero: the C library's */

    size_t count; /* tokens, at most INT32_MAX */
    char *texts;  /* of all tokens, in order */
    size_t text_bytes;
    uint32_t *offsets; /* [count + 1] into texts */
    float *scores;     /* [count] */
    uint8_t *kinds;    /* [count], mia__token_kind */
    bool *ends;        /* [count], tokens that end a text */
    size_t longest;    /* bytes of the longest text */

    /* Open addressing, a power of two in size, at most half full: id + 1, or 0. Holds the tokens that merging
     * may make: normal, unused and user-defined ones. */
    uint32_t *slots;
    size_t slot_count;

    /* Tokens that are found in a text before anything is merged: user-defined, control and unknown. */
    int32_t *specials;         /* longest first, then lowest id: the order in which they take their places */
    int32_t *specials_by_text; /* indices into specials, in the order of the texts' bytes */
    size_t special_count;

    uint8_t
        pairs[256 * 256 / 8];  /* bit a * 256 + b: some token that merging may make holds byte a before b */
    int32_t bytes[256];        /* the token of each byte, -1: none */
    int32_t bos, eos, unknown; /* -1: none */
    bool adds_bos, adds_eos, adds_space, trims_spaces;
    bool space_as_bytes; /* no token is a lone space: the bytes of U+2581 stand for one */
    bool every_byte; /* every byte has a token, so the unknown token never stands for a text's own bytes */
};

static inline const char *mia__token_text(const mia_tokenizer *tokenizer, int32_t id, size_t *length) {
    *length = tokenizer->offsets[id + 1] - tokenizer->offsets[id];
    return tokenizer->texts + tokenizer->offsets[id];
}

/* The token that merging may make with exactly this text, or -1. */
int32_t mia__token_find(const mia_tokenizer *tokenizer, const char *text, size_t length);

/* Whether the token was cut out of its text whole, before merging; what follows it starts with a space that
 * is not part of the text (if the vocabulary adds one at all). */
bool mia__token_stands_alone(const mia_tokenizer *tokenizer, int32_t id);

/* The byte that a byte token's text ("<0x0A>") stands for, or -1 if the text is not written so. */
int mia__byte_of(const char *text, size_t length);

/* Whether the text holds U+2581. */
bool mia__text_has_space(const char *text, size_t length);

/* Sorts special tokens into the two orders of the struct; specials holds the ids in ascending order. */
void mia__specials_sort(mia_tokenizer *tokenizer);

/* Finds the special tokens of a text. (*owners)[p] is id + 1 where a token starts, -1 where one goes on, 0
 * elsewhere; NULL when there is none. Released by the caller (`length` elements). `control` looks for control
 * and unknown tokens too. Fails with NO_MEMORY. */
mia_status mia__specials_find(const mia_tokenizer *tokenizer, const char *text, size_t length, bool control,
                              int32_t **owners, mia_error *error);

#endif
