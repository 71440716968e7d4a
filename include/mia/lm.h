/* Language models: tokenizers, models, their state, sampling, and generation of text. Built on the rest of
 * the public API alone. */
#ifndef MIA_LM_H
#define MIA_LM_H

#include <mia/tape.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- tokenizer -------------------------------------------------------------------------------- */

typedef struct mia_tokenizer mia_tokenizer;

/* Reads the tokenizer that a weights file's metadata describes (tokenizer.ggml.*; SentencePiece-style
 * "llama"). The weights may be closed afterwards. Immutable once open: may be used from several threads.
 * Fails with FORMAT, UNSUPPORTED (another kind of tokenizer, named), NO_MEMORY. */
MIA_API MIA_MUST_CHECK mia_status mia_tokenizer_open(const mia_weights *weights,
                                                     const mia_allocator *allocator, mia_tokenizer **out,
                                                     mia_error *error);

/* After everything that uses it. NULL is fine. */
MIA_API void mia_tokenizer_close(mia_tokenizer *tokenizer);

MIA_API size_t mia_tokenizer_vocabulary(const mia_tokenizer *tokenizer); /* number of tokens */
MIA_API int32_t mia_tokenizer_bos(const mia_tokenizer *tokenizer);       /* -1 if there is none */
MIA_API bool mia_tokenizer_adds_bos(const mia_tokenizer *tokenizer); /* the file asks for a BOS in front */
MIA_API bool mia_tokenizer_is_end(const mia_tokenizer *tokenizer, int32_t id); /* ends a text: EOS, EOT */

enum {
    MIA_TOKENIZE_BOS = 1,     /* put BOS in front if the file asks for it */
    MIA_TOKENIZE_SPECIAL = 2, /* control tokens written out in the text ("<s>") become those tokens */
    MIA_TOKENIZE_EOS = 4      /* put EOS at the end if the file asks for it */
};

/* Encodes UTF-8 text; invalid bytes are encoded byte by byte. *out is an array of *count ids from `allocator`
 * (the one given to open), yours until mia_tokenizer_release. Time is n log n in the text's length. Any
 * thread. Fails with NO_MEMORY, or INVALID_ARGUMENT for a text of 2^29 bytes or more. */
MIA_API MIA_MUST_CHECK mia_status mia_tokenizer_encode(const mia_tokenizer *tokenizer, const char *text,
                                                       size_t length, unsigned flags, int32_t **out,
                                                       size_t *count, mia_error *error);

/* Gives an array of encode back, with the count that came with it. NULL ids are fine. */
MIA_API void mia_tokenizer_release(const mia_tokenizer *tokenizer, int32_t *ids, size_t count);

/* Turns ids back into text as they come. A UTF-8 character is never split between two pushes: its bytes are
 * held back until it is whole (or cannot become whole, when they are passed on as they are). */
typedef struct mia_detokenizer mia_detokenizer;

enum {
    MIA_DETOKENIZE_SPECIAL = 1, /* write control tokens out; without it they give no text */
    MIA_DETOKENIZE_CONTINUE = 2 /* the text continues another: keep a space that encoding adds in front */
};

/* A detokenizer at the start of a text; flags of MIA_DETOKENIZE_*. Borrows the tokenizer, which must outlive
 * it, and uses its allocator. One thread at a time. Fails with NO_MEMORY. */
MIA_API MIA_MUST_CHECK mia_status mia_detokenizer_open(const mia_tokenizer *tokenizer, unsigned flags,
                                                       mia_detokenizer **out, mia_error *error);

/* NULL is fine. */
MIA_API void mia_detokenizer_close(mia_detokenizer *detokenizer);

/* The text that became whole with this token (possibly empty); valid until the next call. INVALID_ARGUMENT
 * when id is outside the vocabulary. */
MIA_API MIA_MUST_CHECK mia_status mia_detokenizer_push(mia_detokenizer *detokenizer, int32_t id,
                                                       mia_text *text, mia_error *error);

/* The bytes still held back, at the end of a text; valid until the next call. */
MIA_API mia_text mia_detokenizer_finish(mia_detokenizer *detokenizer);

/* --- sampling --------------------------------------------------------------------------------- */

/* Zero values mean greedy with nothing else. Applied in this order: repetition penalty over the last
 * repeat_last_n tokens, top-k, top-p, min-p, temperature, draw. */
typedef struct mia_sampler_options {
    float temperature;     /* 0: the most likely token */
    int32_t top_k;         /* keep the k most likely; 0: all */
    float top_p;           /* keep the least set whose probabilities reach p; 0 or >= 1: all */
    float min_p;           /* keep tokens of at least min_p times the best probability; 0: all */
    float repeat_penalty;  /* > 1 makes repetition less likely; 0 or 1: off */
    int32_t repeat_last_n; /* tokens that the penalty looks back over */
    bool seeded;           /* seed is given; else one is drawn from the system */
    uint64_t seed;
} mia_sampler_options;

typedef struct mia_sampler mia_sampler;

/* A sampler of vectors of `vocabulary` logits. options must not be NULL, and are copied. One thread at a
 * time. Fails with INVALID_ARGUMENT (naming the field), NO_MEMORY. */
MIA_API MIA_MUST_CHECK mia_status mia_sampler_open(const mia_sampler_options *options, size_t vocabulary,
                                                   const mia_allocator *allocator, mia_sampler **out,
                                                   mia_error *error);

/* NULL is fine. */
MIA_API void mia_sampler_close(mia_sampler *sampler);
MIA_API uint64_t mia_sampler_seed(const mia_sampler *sampler); /* the seed in use, given or drawn */

/* Adds a token (of the prompt, or just chosen) to what the repetition penalty looks at. */
MIA_API void mia_sampler_accept(mia_sampler *sampler, int32_t id);

/* Chooses a token from `vocabulary` logits, which are not changed. NaN counts as minus infinity;
 * INVALID_ARGUMENT when no logit is above minus infinity. The caller accepts the result if it uses it. No
 * allocation. */
MIA_API MIA_MUST_CHECK mia_status mia_sampler_choose(mia_sampler *sampler, const float *logits, int32_t *id,
                                                     mia_error *error);

/* --- models ----------------------------------------------------------------------------------- */

/* Told how far a long piece of work has come; return false to cancel it. */
typedef bool (*mia_progress)(void *user, double fraction);

typedef struct mia_lm_options {
    int64_t context;       /* most tokens in the state; 0: what the file gives */
    mia_progress progress; /* of loading; may be NULL */
    void *progress_user;
    bool unloaded;                  /* load nothing yet: a step reads what it is the first to need */
    const mia_allocator *allocator; /* of the model and its states; copied; NULL: the C library's */
} mia_lm_options;

/* A model on a device: architecture, constants, tokenizer. */
typedef struct mia_lm mia_lm;

typedef struct mia_lm_info {
    const char *architecture; /* "llama" */
    int64_t context;          /* tokens that a state can hold */
    int64_t vocabulary, dim, layers, heads, kv_heads, head_dim, ffn;
    uint64_t weight_bytes; /* of all tensors, as in the file */
    uint64_t needed_bytes; /* device memory at the most, in any use of one state at a time (mia_lm_plan) */
} mia_lm_info;

/* Opens the model that the weights hold; device and weights must outlive it. Plans the largest step first and
 * refuses with OVER_LIMIT, before anything is loaded, if the device's max_bytes is too small. Then loads,
 * with progress. Blocks. Fails also with FORMAT, NOT_FOUND (a tensor or key is missing, named), UNSUPPORTED
 * (another architecture, named), NO_MEMORY, CANCELLED. */
MIA_API MIA_MUST_CHECK mia_status mia_lm_open(mia_device *device, mia_weights *weights,
                                              const mia_lm_options *options, mia_lm **out, mia_error *error);

/* After its states and generations; constants stay with the device and the weights. NULL is fine. */
MIA_API void mia_lm_close(mia_lm *lm);
MIA_API mia_lm_info mia_lm_describe(const mia_lm *lm);

/* What a model needs of a device that holds nothing else. Bytes; caches and other values are those of the run that
 * needs most. */
typedef struct mia_lm_memory {
    uint64_t constant_bytes; /* tensors as the file has them */
    uint64_t prepared_bytes; /* tensors in the forms that kernels asked for */
    uint64_t cache_bytes;    /* caches of the state, with those that it grows out of */
    uint64_t arena_bytes;    /* temporaries */
    uint64_t value_bytes;    /* ids, positions, logits and the like */
    uint64_t peak_bytes;     /* the sum */
} mia_lm_memory;

/* How a step chooses the token that follows on the device: by its logits alone, as a sampler without a penalty and without
 * a limit to the candidates would. */
typedef struct mia_lm_choice {
    float temperature; /* 0: the most likely token, of equals the first; else a draw */
    uint64_t seed;     /* of the draws, which it and the length of the state decide, each for itself */
} mia_lm_choice;

/* What it needs to read a prompt of so many tokens into a fresh state, for the logits after its last, and to generate
 * so many more, a token a step: exactly what the device then holds at the most, once the model is loaded. choice NULL: logits are
 * read back (mia_lm_step); else the device chooses so (mia_lm_step_choose_begin). With 0 and 0: the most in any use of one state,
 * whatever the choice, all logits and growing caches included. Plans; runs and loads nothing. Fails with INVALID_ARGUMENT (more
 * tokens than the context holds, a choice that a step would refuse), OVER_LIMIT (more than can be counted), NO_MEMORY. */
MIA_API MIA_MUST_CHECK mia_status mia_lm_plan(mia_lm *lm, int64_t prompt, int64_t generated,
                                              const mia_lm_choice *choice, mia_lm_memory *out,
                                              mia_error *error);
MIA_API const mia_tokenizer *mia_lm_tokenizer(const mia_lm *lm);

/* --- state: a sequence of tokens that the model has read -------------------------------------- */

typedef struct mia_lm_state mia_lm_state;

/* A state of no tokens. lm must outlive it; one thread at a time. Its caches are made by the steps and grow
 * with them. Does not block. Fails with NO_MEMORY. */
MIA_API MIA_MUST_CHECK mia_status mia_lm_state_open(mia_lm *lm, mia_lm_state **out, mia_error *error);

/* Waits for a step under way. NULL is fine. */
MIA_API void mia_lm_state_close(mia_lm_state *state);
MIA_API int64_t mia_lm_state_length(const mia_lm_state *state); /* tokens read so far */

/* Back to no tokens, also after a failure; waits for a step under way. */
MIA_API void mia_lm_state_reset(mia_lm_state *state);

enum {
    MIA_LM_ALL_LOGITS = 1 /* logits of every token of the step, not of its last alone */
};

/* Reads `count` tokens, in chunks, and gives logits: float [vocabulary] after the last, or [vocabulary,
 * count] with MIA_LM_ALL_LOGITS. `logits` may be NULL. Blocks. Fails with the state as it was when nothing
 * was begun: CONTEXT_FULL when they do not fit, INVALID_ARGUMENT for no tokens, an id outside the
 * vocabulary, a step under way or a state that has to be reset. When the work itself fails (OVER_LIMIT,
 * NO_MEMORY, IO, DEVICE_LOST, ...) the state must be reset before its next step. */
MIA_API MIA_MUST_CHECK mia_status mia_lm_step(mia_lm_state *state, const int32_t *ids, size_t count,
                                              unsigned flags, float *logits, mia_error *error);

/* The same without blocking: begin, then poll until it says something other than PENDING. One step at a
 * time on a state; `ids` and `logits` must stay valid until then. begin fails as mia_lm_step does before
 * anything is begun, poll as the work does. */
MIA_API MIA_MUST_CHECK mia_status mia_lm_step_begin(mia_lm_state *state, const int32_t *ids, size_t count,
                                                    unsigned flags, float *logits, mia_error *error);
MIA_API MIA_MUST_CHECK mia_status mia_lm_step_poll(mia_lm_state *state, mia_error *error);

/* Reads `count` tokens as mia_lm_step_begin does, and has the device choose the one that follows; no logits leave it. ids
 * NULL: reads the token that was chosen last, which need not be known here: so the next step can begin before its
 * number is asked for. Then mia_lm_step_poll, or mia_lm_step_wait. Fails as mia_lm_step_begin does, INVALID_ARGUMENT also
 * for a temperature below 0 or that is no number, and where ids is NULL and nothing was chosen. (Logits that are no
 * numbers are not noticed.) */
MIA_API MIA_MUST_CHECK mia_status mia_lm_step_choose_begin(mia_lm_state *state, const int32_t *ids,
                                                           size_t count, const mia_lm_choice *choice,
                                                           mia_error *error);

/* Waits for the step under way, and gives its status. Native programs only. */
MIA_API MIA_MUST_CHECK mia_status mia_lm_step_wait(mia_lm_state *state, mia_error *error);

/* The token chosen last [1], a handle of your own, to be read (mia_read, mia_tensor_read_begin) when its number is
 * wanted; there from when the last tokens of the step have begun to run: with a step of one token, from begin on. INVALID
 * handle, as of any failure, when nothing was chosen. */
MIA_API mia_tensor_i32 mia_lm_chosen(mia_lm_state *state);

/* --- generation ------------------------------------------------------------------------------- */

/* Who chooses tokens. The device can where the sampler has no penalty, and top_k, top_p and min_p, which do not matter at
 * temperature 0, are not asked for; draws then differ from those of the sampler with the same seed. */
typedef enum mia_chooser {
    MIA_CHOOSER_AUTO = 0, /* the device, if it is a GPU and can */
    MIA_CHOOSER_SAMPLER,
    MIA_CHOOSER_DEVICE /* if it can, whatever it is */
} mia_chooser;

typedef enum mia_finish {
    MIA_FINISH_NONE = 0, /* there is more to come */
    MIA_FINISH_END,      /* the model ended the text */
    MIA_FINISH_LENGTH,   /* max_tokens were generated */
    MIA_FINISH_STOP,     /* a stop string came up; it is not part of the text */
    MIA_FINISH_CONTEXT   /* the context is full */
} mia_finish;

typedef struct mia_generation_options {
    mia_sampler_options sampler;
    size_t max_tokens;        /* 0: until the end or a full context */
    const char *const *stops; /* texts that end the generation */
    size_t stop_count;
    mia_chooser chooser;
    mia_progress progress; /* of reading the prompt, between chunks of it (512 tokens); may be NULL */
    void *progress_user;
} mia_generation_options;

typedef struct mia_generation mia_generation;

/* Starts to continue a prompt (UTF-8, BOS added as the file asks) with a fresh state. lm must outlive it.
 * Reads the prompt at the first next. CONTEXT_FULL when the prompt alone does not fit, with both numbers. */
MIA_API MIA_MUST_CHECK mia_status mia_generation_open(mia_lm *lm, const char *prompt, size_t length,
                                                      const mia_generation_options *options,
                                                      mia_generation **out, mia_error *error);

/* NULL is fine. */
MIA_API void mia_generation_close(mia_generation *generation);

/* One more token. *text is what can be shown now (possibly empty: part of a character, or of what may become
 * a stop string); valid until the next call. *finish says whether, and why, this was the last. Blocks.
 * CANCELLED when the options' progress returned false: no token was chosen, and a further call reads on where
 * the prompt was left; after mia_device_cancel the state is lost, and further calls fail. */
MIA_API MIA_MUST_CHECK mia_status mia_generation_next(mia_generation *generation, mia_text *text,
                                                      mia_finish *finish, mia_error *error);

/* Rates: prompt_read / prompt_seconds and generation_steps / generation_seconds, where the seconds are not
 * 0. The first token needs no step of its own: it is chosen from what the prompt's last step gave, and that
 * choice is in neither time. So N tokens take N - 1 steps, or N when the model then ends the text. */
typedef struct mia_generation_stats {
    size_t prompt_tokens;      /* of the prompt, BOS included */
    size_t prompt_read;        /* those of them that the model has read */
    size_t prompt_begun;       /* those, and what the run reads that is under way: for progress within next */
    size_t generated_tokens;   /* tokens chosen, without the one that ends a text */
    size_t generation_steps;   /* steps of the model after the prompt, of one token each */
    double prompt_seconds;     /* the model's steps over prompt_read */
    double generation_seconds; /* generation_steps, and the choice and the text that follow each */
    uint64_t seed;
} mia_generation_stats;

MIA_API mia_generation_stats mia_generation_describe(const mia_generation *generation);

/* --- a step as a tape --------------------------------------------------------------------------- */

/* Records what the model does with `rows` tokens, with room for `capacity` of them in its caches, as a tape that
 * can be saved, drawn and run anywhere. Inputs: ids, positions i32 [rows]; start i32 [1], the row of the caches
 * that the first token is written to; length i32 [1], rows in use afterwards; cache.N f32 for every N, keys [head,
 * capacity, kv heads] and values in turn. Outputs: logits f32 [vocabulary, rows], and the new caches by the same
 * names. Fails with INVALID_ARGUMENT (rows or capacity outside 1 .. context, rows over capacity), NO_MEMORY. */
MIA_API MIA_MUST_CHECK mia_status mia_lm_record_step(mia_lm *lm, int64_t rows, int64_t capacity,
                                                     mia_tape **out, mia_error *error);

#ifdef __cplusplus
}
#endif
#endif
