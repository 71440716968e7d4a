/* Continues a prompt, token by token: the model's step, the sampler's choice, text from the detokenizer, and
 * what of it can be shown in view of the stop strings. On the public API and stop.h alone.
 *
 * Where the device chooses, the step that reads a token begins before the token's number is here:
 *
 *     device   | step n | step n + 1 | step n + 2
 *     here       record n + 1 | number n, text, record n + 2 | number n + 1, ...
 */
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
    float *logits;        /* [vocabulary]; NULL where the device chooses */
    mia_lm_choice choice; /* how it does */
    /* The token that comes next, chosen by a step that has begun, on its way here. */
    mia_ticket *coming;
    int32_t coming_id;
    size_t max_tokens;
    int32_t last; /* chosen and shown, but not read by the model yet */
    mia_progress progress;
    void *progress_user;
    bool reads; /* a step of the prompt is under way */
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

/* Whether the device can choose as the sampler would, and is to. */
static bool device_chooses(const mia_generation *g, const mia_generation_options *options) {
    const mia_sampler_options *s = &options->sampler;
    bool penalty = s->repeat_last_n > 0 && s->repeat_penalty != 0 && s->repeat_penalty != 1;
    bool limits = s->top_k > 0 || (s->top_p > 0 && s->top_p < 1) || s->min_p > 0;
    if (penalty || (s->temperature > 0 && limits) || options->chooser == MIA_CHOOSER_SAMPLER) return false;
    return options->chooser == MIA_CHOOSER_DEVICE ||
           strcmp(mia_device_describe(g->lm->device).backend, "webgpu") == 0;
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
    g->choice = (mia_lm_choice){options->sampler.temperature, g->stats.seed};
    if (device_chooses(g, options)) return MIA_OK;
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

/* Waits for a token that nobody wants any more: it is written into the generation. */
static void drop_coming(mia_generation *g) {
    mia_ticket_wait(g->coming);
    if (g->coming != NULL && mia_ticket_finish(g->coming, NULL) != MIA_OK) g->coming_id = -1;
    g->coming = NULL;
}

void mia_generation_close(mia_generation *g) {
    if (g == NULL) return;
    const mia_allocator *allocator = mia__lm_allocator(g->lm);
    drop_coming(g);
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

/* Has the device read tokens (NULL: the one it chose last) and choose the next, whose number begins to come here. */
static mia_status begin_choice(mia_generation *g, const int32_t *ids, size_t count, mia_error *error) {
    return mia_lm_step_choose_begin(g->state, ids, count, &g->choice, error);
}

static mia_status fetch(mia_generation *g, mia_error *error) {
    g->coming = mia_tensor_read_begin(mia_lm_chosen(g->state).untyped, &g->coming_id, sizeof g->coming_id,
                                      __FILE__, __LINE__);
    if (g->coming != NULL) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to read a token");
}

static mia_status choose_after(mia_generation *g, const int32_t *ids, size_t count, mia_error *error) {
    mia_status status = begin_choice(g, ids, count, error);
    if (status == MIA_OK) status = mia_lm_step_wait(g->state, error);
    return status == MIA_OK ? fetch(g, error) : status;
}

/* Takes the token that is coming. The step that reads it, which need not know it, has begun by then, unless no
 * further token is wanted. */
static mia_status take_choice(mia_generation *g, mia_error *error) {
    mia_ticket *coming = g->coming;
    int64_t context = mia_lm_describe(g->lm).context;
    bool goes_on = g->stats.generated_tokens + 1 != g->max_tokens && mia_lm_state_length(g->state) < context;
    mia_status status = MIA_OK;
    if (goes_on) status = begin_choice(g, NULL, 1, error);
    mia_ticket_wait(coming);
    mia_status read = mia_ticket_finish(coming, status == MIA_OK ? error : NULL);
    g->coming = NULL;
    g->last = g->coming_id;
    if (status == MIA_OK) status = read;
    if (status != MIA_OK || !goes_on) return status;
    status = mia_lm_step_wait(g->state, error);
    return status == MIA_OK ? fetch(g, error) : status;
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
        bool last = *read + count == all;
        g->reads = true;
        mia_status status = last && g->logits == NULL ? choose_after(g, ids + *read, count, error)
                                                      : mia_lm_step(g->state, ids + *read, count, 0,
                                                                    last ? g->logits : NULL, error);
        g->reads = false;
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
    int64_t length = mia_lm_state_length(g->state);
    mia_status status = g->logits == NULL ? take_choice(g, error)
                                          : mia_sampler_choose(g->sampler, g->logits, &g->last, error);
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
    if (length == mia_lm_describe(g->lm).context) return end(g, MIA_FINISH_CONTEXT, error);
    return MIA_OK;
}

/* The first token after the prompt, whose last step gave the logits. */
static mia_status first_token(mia_generation *g, mia_error *error) {
    mia_status status = read_prompt(g, error);
    return status == MIA_OK ? choose(g, error) : status;
}

static mia_status further_token(mia_generation *g, mia_error *error) {
    double begin = now();
    mia_status status = MIA_OK; /* where the device chooses, the step has begun with the choice before */
    if (g->logits != NULL) status = mia_lm_step(g->state, &g->last, 1, 0, g->logits, error);
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
    mia_generation_stats stats = generation->stats;
    const mia_lm_state *state = generation->state;
    if (generation->reads) stats.prompt_read += state->done;
    stats.prompt_begun = stats.prompt_read + (generation->reads ? (size_t)state->chunk_count : 0);
    return stats;
}
