/* A sequence of tokens that a model has read: its caches, and the steps that read more. A step is cut into
 * chunks of a few sizes, so that few plans serve all prompts, and runs as a small machine that never blocks:
 *
 *   READY --begin--> EVAL --(logits wanted)--> READ --> READY, or EVAL with the next chunk
 *                      \__ failure __ FAILED __reset__ READY
 *
 * Caches grow by doubling inside the run that needs the room. A chunk may be padded with tokens that nobody
 * asked for: causality keeps them out of the rows that count, and the next chunk overwrites theirs. */
#include "model.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const int64_t chunk_sizes[] = {MIA__CHUNK_ROWS, MIA__ALL_ROWS, 32, 8, 1}; /* descending */
#define CHUNK_SIZES (sizeof chunk_sizes / sizeof chunk_sizes[0])

int64_t mia__chunk_largest(int64_t limit) {
    size_t i = 0;
    while (chunk_sizes[i] > limit && i + 1 < CHUNK_SIZES) i++;
    return chunk_sizes[i];
}

int64_t mia__state_capacity(const mia_lm *lm, int64_t length) {
    int64_t capacity = MIA__FIRST_CAPACITY;
    while (capacity < length) capacity *= 2;
    return capacity < lm->context ? capacity : lm->context;
}

/* Rows for the next chunk of `count` tokens with `room` rows left in the caches. Padding up is worth it when
 * three in four rows are real; for a few tokens always, since up to 8 rows take little longer than one
 * (weights are read once). */
int64_t mia__chunk_rows(int64_t count, int64_t room, bool all) {
    int64_t whole = mia__chunk_largest(count < room ? count : room);
    if (all) return whole < MIA__ALL_ROWS ? whole : MIA__ALL_ROWS;
    for (size_t i = CHUNK_SIZES; i > 0; i--) {
        int64_t size = chunk_sizes[i - 1];
        if (size < count) continue;
        bool worth = size <= 8 || 4 * count >= 3 * size;
        return worth && size <= room ? size : whole;
    }
    return whole;
}

/* --- open, close ------------------------------------------------------------------------------ */

static size_t cache_count(const mia_lm *lm) {
    return 2 * (size_t)lm->parameters.layers;
}

mia_status mia_lm_state_open(mia_lm *lm, mia_lm_state **out, mia_error *error) {
    *out = NULL;
    const mia_allocator *allocator = mia__lm_allocator(lm);
    size_t count = cache_count(lm);
    mia_lm_state *state = mia_allocate_zeroed(allocator, 1, sizeof *state);
    if (state == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a state");
    state->lm = lm;
    state->cache_count = count;
    state->caches = mia_allocate_zeroed(allocator, count, sizeof *state->caches);
    state->values = mia_allocate_zeroed(allocator, count + 1, sizeof *state->values);
    if (state->caches == NULL || state->values == NULL) {
        mia_lm_state_close(state);
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a state of %zu caches", count);
    }
    *out = state;
    return MIA_OK;
}

static void drop(mia_tensor_f32 *t) {
    if (t->untyped.device != NULL) mia_unref(*t);
    *t = (mia_tensor_f32){{0}};
}

static void drop_chosen(mia_lm_state *state) {
    if (state->chosen.untyped.device != NULL) mia_unref(state->chosen);
    state->chosen = (mia_tensor_i32){{0}};
}

static void drop_tensors(mia_lm_state *state) {
    for (size_t i = 0; i < state->cache_count; i++) drop(&state->caches[i]);
    drop(&state->logits);
    drop_chosen(state);
    state->capacity = 0;
}

/* Waits for what is under way, whose result nobody wants any more. */
static void abandon(mia_lm_state *state) {
    if (state->phase != MIA__STEP_EVAL && state->phase != MIA__STEP_READ) return;
    mia_ticket_wait(state->ticket);
    if (mia_ticket_finish(state->ticket, NULL) != MIA_OK) state->phase = MIA__STEP_FAILED;
    state->ticket = NULL;
    drop_tensors(state);
}

void mia_lm_state_close(mia_lm_state *state) {
    if (state == NULL) return;
    const mia_allocator *allocator = mia__lm_allocator(state->lm);
    abandon(state);
    if (state->caches != NULL) drop_tensors(state);
    if (state->caches != NULL)
        mia_release(allocator, state->caches, state->cache_count * sizeof *state->caches);
    if (state->values != NULL)
        mia_release(allocator, state->values, (state->cache_count + 1) * sizeof *state->values);
    mia_release(allocator, state, sizeof *state);
}

int64_t mia_lm_state_length(const mia_lm_state *state) {
    return state->length;
}

void mia_lm_state_reset(mia_lm_state *state) {
    abandon(state);
    if (state->phase == MIA__STEP_FAILED) drop_tensors(state);
    drop_chosen(state);
    state->phase =
        MIA__STEP_READY; /* healthy caches stay: their rows are overwritten before they are looked at */
    state->length = 0;
}

/* --- recording -------------------------------------------------------------------------------- */

/* Gives the caches `capacity` rows; the first ones grow out of a single row of zeros. */
static void grow(mia_lm_state *state, int64_t capacity) {
    const mia__parameters *p = &state->lm->parameters;
    int64_t rows = state->capacity > 0 ? state->capacity : 1;
    if (state->capacity == 0) {
        mia_device *device = state->lm->device;
        mia_tensor_f32 keys = mia_full(f32, device, MIA_SHAPE(p->key_dim, 1, p->kv_heads), 0);
        mia_tensor_f32 values = mia_full(f32, device, MIA_SHAPE(p->value_dim, 1, p->kv_heads), 0);
        for (size_t i = 0; i < state->cache_count; i++)
            state->caches[i] = i % 2 == 0 ? mia_ref(keys) : mia_ref(values);
        mia_unref(keys);
        mia_unref(values);
    }
    for (size_t i = 0; i < state->cache_count; i++)
        state->caches[i] = mia_pad(state->caches[i], 1, 0, capacity - rows, MIA_PAD_CONSTANT, 0);
    state->capacity = capacity;
}

static mia_tensor_i32 number(const mia_lm *lm, int64_t value) {
    int32_t narrow = (int32_t)value; /* the context's limit keeps it small */
    return mia_upload(i32, lm->device, MIA_SHAPE(1), &narrow);
}

/* The token that follows, of logits [vocabulary, 1]. Temperature by the Gumbel-max trick: the greatest of logits / T +
 * noise, where noise is -log(-log u) of uniform u, is a draw from the softmax of logits / T (Maddison, Tarlow and Minka,
 * "A* sampling", NeurIPS 2014, section 2). */
static mia_tensor_i32 choose(const mia_lm_state *state, mia_tensor_f32 logits) {
    const mia_lm *lm = state->lm;
    if (state->choice.temperature > 0) {
        const uint64_t spread = UINT64_C(0x9e3779b97f4a7c15); /* neighbouring lengths get seeds far apart */
        uint64_t seed = state->choice.seed + spread * (uint64_t)(state->length + 1);
        mia_shape shape = MIA_SHAPE(lm->parameters.vocabulary, 1);
        mia_tensor_f32 noise =
            mia_clamp(mia_random_uniform(f32, lm->device, shape, seed), 0x1p-32, 0x1.fffffep-1);
        noise = mia_neg(mia_log(mia_neg(mia_log(noise))));
        logits = mia_mul(logits, mia_scalar(f32, lm->device, 1 / (double)state->choice.temperature));
        logits = mia_add(logits, noise);
    }
    return mia_reshape(mia_argmax(logits, MIA_MODE(0)), MIA_SHAPE(1));
}

void mia__state_record(mia_lm_state *state, const int32_t *ids, int64_t count, int64_t rows, int64_t capacity,
                       mia__logits logits) {
    const mia_lm *lm = state->lm;
    int32_t *padded = state->numbers, *positions = state->numbers + rows;
    for (int64_t i = 0; i < rows; i++) {
        padded[i] = ids != NULL && i < count ? ids[i] : 0;
        positions[i] = (int32_t)(state->length + i);
    }
    if (state->capacity != capacity) grow(state, capacity);
    mia__chunk_inputs inputs = {.rows = rows,
                                .ids = ids != NULL ? mia_upload(i32, lm->device, MIA_SHAPE(rows), padded)
                                                   : mia_ref(state->chosen),
                                .positions = mia_upload(i32, lm->device, MIA_SHAPE(rows), positions),
                                .start = number(lm, state->length),
                                .length = number(lm, state->length + rows)};
    mia_tensor_f32 x = lm->architecture->record(lm, &inputs, state->caches);
    mia_unref(inputs.ids);
    mia_unref(inputs.positions);
    mia_unref(inputs.start);
    mia_unref(inputs.length);
    drop_chosen(state);
    if (logits == MIA__LOGITS_NONE) {
        mia_unref(x);
        return;
    }
    if (logits != MIA__LOGITS_ALL && rows > 1) x = mia_gather(x, number(lm, count - 1));
    x = lm->architecture->output(lm, x);
    if (logits == MIA__LOGITS_CHOICE)
        state->chosen = choose(state, x);
    else
        state->logits = x;
}

size_t mia__state_values(mia_lm_state *state, mia__logits logits) {
    size_t count = 0;
    for (; count < state->cache_count; count++) state->values[count] = state->caches[count].untyped;
    if (logits == MIA__LOGITS_CHOICE)
        state->values[count++] = state->chosen.untyped;
    else if (logits != MIA__LOGITS_NONE)
        state->values[count++] = state->logits.untyped;
    return count;
}

/* --- steps ------------------------------------------------------------------------------------ */

static mia_status check_ids(const mia_lm *lm, const int32_t *ids, size_t count, mia_error *error) {
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= lm->parameters.vocabulary)
            return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                                 "token %zu of the step is %" PRId32 "; the vocabulary has %" PRId64
                                 " tokens",
                                 i, ids[i], lm->parameters.vocabulary);
    return MIA_OK;
}

/* ids NULL: the token that was chosen. */
static mia_status check_step(const mia_lm_state *state, const int32_t *ids, size_t count, mia_error *error) {
    const mia_lm *lm = state->lm;
    if (state->phase == MIA__STEP_FAILED)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "a step failed; the state has to be reset first");
    if (state->phase != MIA__STEP_READY)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "a step of this state is still under way");
    if (count == 0)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "a step needs at least one token");
    if (ids != NULL && check_ids(lm, ids, count, error) != MIA_OK) return MIA_ERROR_INVALID_ARGUMENT;
    if (count > (uint64_t)(lm->context - state->length))
        return mia_error_set(error, MIA_ERROR_CONTEXT_FULL,
                             "%zu tokens do not fit: the context holds %" PRId64 ", of which %" PRId64
                             " are taken",
                             count, lm->context, state->length);
    return MIA_OK;
}

/* Records the step's next chunk; gives the number of values that its run is asked for. */
static size_t record_chunk(mia_lm_state *state) {
    int64_t left = (int64_t)(state->count - state->done);
    bool all = state->out != NULL && (state->flags & MIA_LM_ALL_LOGITS) != 0;
    int64_t rows = mia__chunk_rows(left, state->wanted_capacity - state->length, all);
    state->chunk_count = left < rows ? left : rows;
    state->chunk_logits = all ? MIA__LOGITS_ALL : MIA__LOGITS_NONE;
    if (!all && state->chunk_count == left) {
        if (state->chooses) state->chunk_logits = MIA__LOGITS_CHOICE;
        if (state->out != NULL) state->chunk_logits = MIA__LOGITS_LAST;
    }
    mia__state_record(state, state->ids != NULL ? state->ids + state->done : NULL, state->chunk_count, rows,
                      state->wanted_capacity, state->chunk_logits);
    return mia__state_values(state, state->chunk_logits);
}

/* --- completing later ------------------------------------------------------------------------- */

static void begin_chunk(mia_lm_state *state) {
    size_t count = record_chunk(state);
    state->ticket = mia_tensor_eval_begin(state->values, count);
    state->phase = MIA__STEP_EVAL;
}

static void begin_step(mia_lm_state *state, const int32_t *ids, size_t count) {
    state->ids = ids;
    state->count = count;
    state->done = 0;
    int64_t capacity = mia__state_capacity(state->lm, state->length + (int64_t)count);
    state->wanted_capacity = capacity > state->capacity ? capacity : state->capacity;
    begin_chunk(state);
}

mia_status mia__choice_check(const mia_lm_choice *choice, mia_error *error) {
    if (choice->temperature >= 0 && isfinite(choice->temperature)) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                         "a choice at temperature %g: it has to be a finite number of at least 0",
                         (double)choice->temperature);
}

mia_status mia_lm_step_begin(mia_lm_state *state, const int32_t *ids, size_t count, unsigned flags,
                             float *logits, mia_error *error) {
    mia_status status = check_step(state, ids, ids != NULL ? count : 0, error);
    if (status != MIA_OK) return status;
    state->flags = flags;
    state->out = logits;
    state->chooses = false;
    begin_step(state, ids, count);
    return MIA_OK;
}

mia_status mia_lm_step_choose_begin(mia_lm_state *state, const int32_t *ids, size_t count,
                                    const mia_lm_choice *choice, mia_error *error) {
    mia_status status = check_step(state, ids, ids != NULL ? count : 1, error);
    if (status == MIA_OK) status = mia__choice_check(choice, error);
    if (status != MIA_OK) return status;
    if (ids == NULL && state->chosen.untyped.device == NULL)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "no token was chosen that a step could read");
    state->flags = 0;
    state->out = NULL;
    state->chooses = true;
    state->choice = *choice;
    begin_step(state, ids, ids != NULL ? count : 1);
    return MIA_OK;
}

mia_tensor_i32 mia_lm_chosen(mia_lm_state *state) {
    return state->chosen.untyped.device != NULL ? mia_ref(state->chosen) : (mia_tensor_i32){{0}};
}

static void begin_read(mia_lm_state *state) {
    size_t vocabulary = (size_t)state->lm->parameters.vocabulary;
    bool all = state->chunk_logits == MIA__LOGITS_ALL;
    float *into = state->out + (all ? state->done * vocabulary : 0);
    size_t bytes = (all ? (size_t)state->chunk_count : 1) * vocabulary * sizeof(float);
    state->ticket = mia_tensor_read_begin(state->logits.untyped, into, bytes, __FILE__, __LINE__);
    state->logits = (mia_tensor_f32){{0}};
    state->phase = MIA__STEP_READ;
}

/* Goes on after the present ticket, which has completed: PENDING with the next one under way, or the step's
 * status. */
static mia_status advance(mia_lm_state *state, mia_error *error) {
    mia_status status = mia_ticket_finish(state->ticket, error);
    if (status == MIA_ERROR_PENDING) return status;
    state->ticket = NULL;
    if (status != MIA_OK) {
        drop_tensors(state);
        state->phase = MIA__STEP_FAILED;
        return status;
    }
    bool reads = state->chunk_logits == MIA__LOGITS_LAST || state->chunk_logits == MIA__LOGITS_ALL;
    if (state->phase == MIA__STEP_EVAL && reads) {
        begin_read(state);
        return MIA_ERROR_PENDING;
    }
    state->length += state->chunk_count;
    state->done += (size_t)state->chunk_count;
    if (state->done < state->count) {
        begin_chunk(state);
        return MIA_ERROR_PENDING;
    }
    state->phase = MIA__STEP_READY;
    return MIA_OK;
}

mia_status mia_lm_step_poll(mia_lm_state *state, mia_error *error) {
    if (state->phase == MIA__STEP_READY) return MIA_OK;
    if (state->phase == MIA__STEP_FAILED)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "a step failed; the state has to be reset first");
    if (!mia_ticket_poll(state->ticket)) return MIA_ERROR_PENDING;
    return advance(state, error);
}

/* --- blocking --------------------------------------------------------------------------------- */

/* The thread that waits for a ticket does its work, where the backend is of that kind: a decode loop's steps
 * are too short to be handed to another thread and back. */
mia_status mia_lm_step_wait(mia_lm_state *state, mia_error *error) {
    if (state->phase != MIA__STEP_EVAL && state->phase != MIA__STEP_READ)
        return mia_lm_step_poll(state, error);
    mia_status status;
    do {
        mia_ticket_wait(state->ticket);
        status = advance(state, error);
    } while (status == MIA_ERROR_PENDING);
    return status;
}

mia_status mia_lm_step(mia_lm_state *state, const int32_t *ids, size_t count, unsigned flags, float *logits,
                       mia_error *error) {
    mia_status status = mia_lm_step_begin(state, ids, count, flags, logits, error);
    return status == MIA_OK ? mia_lm_step_wait(state, error) : status;
}
