/* Continues a prompt, token by token: the model's step, the sampler's choice, text from the detokenizer, and
 * what of it can be shown in view of the stop strings. On the public API and stop.h alone. */
#include "model.h"
#include "stop.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

struct mia_generation {
    mia_lm *lm;
    mia_lm_state *state;
    mia_sampler *sampler;
    mia_detokenizer *detokenizer;
    mia__stop *stop;
    int32_t *prompt; /* the tokenizer's */
    size_t prompt_count;
    float *logits; /* [vocabulary] */
    size_t max_tokens;
    int32_t last; /* chosen and shown, but not read by the model yet */
    mia_progress progress;
    void *progress_user;
    mia_finish finish;
    char *text; /* [text_room]: what can be shown now */
    size_t text_length, text_room;
    mia_generation_stats stats;
};

static double now(void) {
    struct timespec time;
    if (clock_gettime(CLOCK_MONOTONIC, &time) != 0) return 0;
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static mia_status tokenize(mia_generation *g, const char *text, size_t length, mia_error *error) {
    const mia_tokenizer *tokenizer = mia_lm_tokenizer(g->lm);
    mia_status status =
        mia_tokenizer_encode(tokenizer, text, length, MIA_TOKENIZE_BOS, &g->prompt, &g->prompt_count, error);
    if (status != MIA_OK) return status;
    if (g->prompt_count == 0 && mia_tokenizer_bos(tokenizer) < 0)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "the prompt is empty, and the model has no token that begins a text");
    g->stats.prompt_tokens = g->prompt_count > 0 ? g->prompt_count : 1;
    int64_t context = mia_lm_describe(g->lm).context;
    if (g->stats.prompt_tokens <= (uint64_t)context) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_CONTEXT_FULL,
                         "the prompt has %zu tokens, the context holds %" PRId64, g->prompt_count, context);
}

static mia_status open_parts(mia_generation *g, const char *prompt, size_t length,
                             const mia_generation_options *options, mia_error *error) {
    const mia_allocator *allocator = mia__lm_allocator(g->lm);
    const mia_tokenizer *tokenizer = mia_lm_tokenizer(g->lm);
    size_t vocabulary = (size_t)mia_lm_describe(g->lm).vocabulary;
    mia_status status = mia_sampler_open(&options->sampler, vocabulary, allocator, &g->sampler, error);
    if (status == MIA_OK)
        status = mia__stop_open(options->stops, options->stop_count, allocator, &g->stop, error);
    if (status == MIA_OK) status = tokenize(g, prompt, length, error);
    if (status == MIA_OK)
        status = mia_detokenizer_open(tokenizer, MIA_DETOKENIZE_CONTINUE, &g->detokenizer, error);
    if (status == MIA_OK) status = mia_lm_state_open(g->lm, &g->state, error);
    if (status != MIA_OK) return status;
    g->stats.seed = mia_sampler_seed(g->sampler);
    g->logits = mia_allocate_zeroed(allocator, vocabulary, sizeof(float));
    if (g->logits == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for the logits of %zu tokens",
                             vocabulary);
    return MIA_OK;
}

mia_status mia_generation_open(mia_lm *lm, const char *prompt, size_t length,
                               const mia_generation_options *options, mia_generation **out,
                               mia_error *error) {
    static const mia_generation_options defaults;
    *out = NULL;
    mia_generation *g = mia_allocate_zeroed(mia__lm_allocator(lm), 1, sizeof *g);
    if (g == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a generation");
    if (options == NULL) options = &defaults;
    g->lm = lm;
    g->max_tokens = options->max_tokens;
    g->progress = options->progress;
    g->progress_user = options->progress_user;
    mia_status status = open_parts(g, prompt, length, options, error);
    if (status != MIA_OK) {
        mia_generation_close(g);
        return status;
    }
    *out = g;
    return MIA_OK;
}

void mia_generation_close(mia_generation *g) {
    if (g == NULL) return;
    const mia_allocator *allocator = mia__lm_allocator(g->lm);
    mia_lm_state_close(g->state);
    mia_sampler_close(g->sampler);
    mia__stop_close(g->stop);
    mia_detokenizer_close(g->detokenizer);
    if (g->prompt != NULL) mia_tokenizer_release(mia_lm_tokenizer(g->lm), g->prompt, g->prompt_count);
    if (g->logits != NULL)
        mia_release(allocator, g->logits, (size_t)mia_lm_describe(g->lm).vocabulary * sizeof(float));
    mia_release(allocator, g->text, g->text_room);
    mia_release(allocator, g, sizeof *g);
}

/* Reads the prompt, or what a cancelled call left of it, in the chunks of the model's steps; logits come with
 * the last alone. */
static mia_status read_prompt(mia_generation *g, mia_error *error) {
    int32_t bos = mia_tokenizer_bos(mia_lm_tokenizer(g->lm));
    const int32_t *ids = g->prompt_count > 0 ? g->prompt : &bos;
    size_t all = g->stats.prompt_tokens;
    for (size_t *read = &g->stats.prompt_read; *read < all;) {
        if (*read > 0 && g->progress != NULL && !g->progress(g->progress_user, (double)*read / (double)all))
            return mia_error_set(error, MIA_ERROR_CANCELLED,
                                 "reading the prompt was cancelled after %zu of %zu tokens", *read, all);
        size_t count = all - *read < MIA__CHUNK_ROWS ? all - *read : MIA__CHUNK_ROWS;
        double begin = now();
        mia_status status =
            mia_lm_step(g->state, ids + *read, count, 0, *read + count == all ? g->logits : NULL, error);
        g->stats.prompt_seconds += now() - begin;
        if (status != MIA_OK) return status;
        for (size_t i = 0; i < count; i++) mia_sampler_accept(g->sampler, ids[*read + i]);
        *read += count;
    }
    return MIA_OK;
}

static mia_status append(mia_generation *g, mia_text piece, mia_error *error) {
    if (piece.length > g->text_room - g->text_length) {
        size_t room = 2 * (g->text_length + piece.length);
        char *grown = mia_reallocate_array(mia__lm_allocator(g->lm), g->text, g->text_room, room, 1);
        if (grown == NULL)
            return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for %zu bytes of text", piece.length);
        g->text = grown;
        g->text_room = room;
    }
    if (piece.length > 0) memcpy(g->text + g->text_length, piece.bytes, piece.length);
    g->text_length += piece.length;
    return MIA_OK;
}

/* Shows a piece of text as far as the stop strings allow. */
static mia_status show(mia_generation *g, mia_text piece, mia_error *error) {
    mia_text shown;
    bool stopped;
    mia_status status = mia__stop_push(g->stop, piece, &shown, &stopped, error);
    if (status == MIA_OK) status = append(g, shown, error);
    if (status == MIA_OK && stopped) g->finish = MIA_FINISH_STOP;
    return status;
}

/* Ends the text: shows what the detokenizer and the stop strings still hold back. */
static mia_status end(mia_generation *g, mia_finish finish, mia_error *error) {
    g->finish = finish;
    mia_status status = show(g, mia_detokenizer_finish(g->detokenizer), error);
    if (status == MIA_OK && g->finish != MIA_FINISH_STOP)
        status = append(g, mia__stop_finish(g->stop), error);
    return status;
}

/* Chooses a token and shows its text. */
static mia_status choose(mia_generation *g, mia_error *error) {
    mia_status status = mia_sampler_choose(g->sampler, g->logits, &g->last, error);
    if (status != MIA_OK) return status;
    if (mia_tokenizer_is_end(mia_lm_tokenizer(g->lm), g->last)) return end(g, MIA_FINISH_END, error);
    mia_sampler_accept(g->sampler, g->last);
    g->stats.generated_tokens++;
    mia_text piece;
    status = mia_detokenizer_push(g->detokenizer, g->last, &piece, error);
    if (status == MIA_OK) status = show(g, piece, error);
    if (status != MIA_OK || g->finish != MIA_FINISH_NONE) return status;
    if (g->stats.generated_tokens == g->max_tokens) return end(g, MIA_FINISH_LENGTH, error);
    /* the token just chosen still has to be read before another can follow */
    if (mia_lm_state_length(g->state) == mia_lm_describe(g->lm).context)
        return end(g, MIA_FINISH_CONTEXT, error);
    return MIA_OK;
}

/* The first token after the prompt, whose last step gave the logits. */
static mia_status first_token(mia_generation *g, mia_error *error) {
    mia_status status = read_prompt(g, error);
    return status == MIA_OK ? choose(g, error) : status;
}

static mia_status further_token(mia_generation *g, mia_error *error) {
    double begin = now();
    mia_status status = mia_lm_step(g->state, &g->last, 1, 0, g->logits, error);
    if (status == MIA_OK) status = choose(g, error);
    if (status != MIA_OK) return status;
    g->stats.generation_seconds += now() - begin;
    g->stats.generation_steps++;
    return MIA_OK;
}

mia_status mia_generation_next(mia_generation *g, mia_text *text, mia_finish *finish, mia_error *error) {
    g->text_length = 0;
    *text = (mia_text){"", 0};
    *finish = g->finish;
    if (g->finish != MIA_FINISH_NONE) return MIA_OK;
    mia_status status = g->stats.generated_tokens == 0 ? first_token(g, error) : further_token(g, error);
    if (status != MIA_OK) return status;
    if (g->text_length > 0) *text = (mia_text){g->text, g->text_length};
    *finish = g->finish;
    return MIA_OK;
}

mia_generation_stats mia_generation_describe(const mia_generation *generation) {
    return generation->stats;
}
