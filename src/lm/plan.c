/* What a model needs, known before anything is loaded or run: steps are recorded as state.c records them and planned,
 * and in the place of running them the state gets caches without numbers. */
#include "model.h"

#include <inttypes.h>

/* The runs seen so far. Constants are there for good, and a device keeps its largest arena. */
typedef struct need {
    mia_lm *lm;
    mia_lm_state *state;
    mia__logits
        wanted;     /* after the last token of a prompt, and after each that is generated: LAST or CHOICE */
    bool any_order; /* the run with the most values may come after the one with the largest arena */
    mia_lm_memory found; /* of the run that needs most; peak_bytes stays 0 */
    uint64_t arena;      /* the largest so far */
    uint64_t seen;       /* plans */
} need;

static uint64_t greater(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* Of a state's caches; false when that is more than can be said. */
static bool cache_bytes(const mia_lm *lm, int64_t capacity, uint64_t *bytes) {
    const mia__parameters *p = &lm->parameters;
    uint64_t row = (uint64_t)(p->key_dim + p->value_dim) * sizeof(float); /* both at most 2^24 */
    return !__builtin_mul_overflow(row * (uint64_t)p->kv_heads, (uint64_t)capacity, bytes) &&
           !__builtin_mul_overflow(*bytes, (uint64_t)p->layers, bytes);
}

static mia_status too_much(const mia_lm *lm, mia_error *error) {
    return mia_error_set(error, MIA_ERROR_OVER_LIMIT,
                         "%s needs more memory for a context of %" PRId64 " tokens than can be counted",
                         mia_weights_name(lm->weights), lm->context);
}

/* The state's caches become `capacity` rows without numbers, as if a run had made them; and so does the token that it
 * chose. */
static void settle(mia_lm_state *state, int64_t capacity) {
    const mia__parameters *p = &state->lm->parameters;
    for (size_t i = 0; i < state->cache_count; i++) {
        int64_t dim = i % 2 == 0 ? p->key_dim : p->value_dim;
        if (state->caches[i].untyped.device != NULL) mia_unref(state->caches[i]);
        state->caches[i] = mia_input(f32, state->lm->device, MIA_SHAPE(dim, capacity, p->kv_heads));
    }
    if (state->logits.untyped.device != NULL) mia_unref(state->logits);
    state->logits = (mia_tensor_f32){{0}};
    if (state->chosen.untyped.device != NULL) {
        mia_unref(state->chosen);
        state->chosen = mia_input(i32, state->lm->device, MIA_SHAPE(1));
    }
    state->capacity = capacity;
}

static mia_status add_run(need *n, const mia_plan_info *info, int64_t capacity, int64_t outgrown,
                          mia_error *error) {
    uint64_t caches, old, values = info->input_bytes + info->output_bytes;
    mia_lm_memory *found = &n->found;
    if (info->needed_bytes == UINT64_MAX || !cache_bytes(n->lm, capacity, &caches) ||
        !cache_bytes(n->lm, outgrown, &old) || __builtin_add_overflow(caches, old, &caches))
        return too_much(n->lm, error);
    found->constant_bytes = greater(found->constant_bytes, info->constant_bytes);
    found->prepared_bytes = greater(found->prepared_bytes, info->prepared_bytes);
    n->arena = greater(n->arena, info->arena_bytes);
    uint64_t arena = n->any_order ? 0 : n->arena;
    if (n->seen++ == 0 || arena + values > found->arena_bytes + found->cache_bytes + found->value_bytes) {
        found->arena_bytes = arena;
        found->cache_bytes = caches;
        found->value_bytes = values - caches;
    }
    return MIA_OK;
}

/* Plans a chunk of `count` tokens in `rows` rows, which follow what the state has read; of one token that the device chose
 * before, if it did. */
static mia_status plan_chunk(need *n, int64_t count, int64_t rows, int64_t capacity, mia__logits logits,
                             mia_error *error) {
    static const int32_t ids[MIA__CHUNK_ROWS];
    mia_lm_state *state = n->state;
    mia_plan_info info;
    int64_t outgrown = state->capacity != capacity ? state->capacity : 0;
    bool was_chosen = count == 1 && state->chosen.untyped.device != NULL;
    mia__state_record(state, was_chosen ? NULL : ids, count, rows, capacity, logits);
    mia_status status = mia_tensor_plan(state->values, mia__state_values(state, logits), &info, error);
    if (status == MIA_OK) status = add_run(n, &info, capacity, outgrown, error);
    settle(state, capacity);
    state->length += count;
    return status;
}

/* The prompt, in the chunks that state.c cuts it into. */
static mia_status plan_prompt(need *n, int64_t prompt, mia_error *error) {
    int64_t capacity = mia__state_capacity(n->lm, prompt), same = 0, last = 0;
    mia_status status = MIA_OK;
    while (status == MIA_OK && n->state->length < prompt) {
        int64_t left = prompt - n->state->length;
        int64_t rows = mia__chunk_rows(left, capacity - n->state->length, false);
        int64_t count = left < rows ? left : rows;
        same = rows == last ? same + 1 : 0;
        last = rows;
        if (same < 2 || count == left)
            status =
                plan_chunk(n, count, rows, capacity, count == left ? n->wanted : MIA__LOGITS_NONE, error);
        else
            n->state->length += count; /* the third alike, with caches that are there, is as the second */
    }
    return status;
}

static mia_status plan_generation(need *n, int64_t until, mia_error *error) {
    mia_lm_state *state = n->state;
    mia_status status = MIA_OK;
    while (status == MIA_OK && state->length < until) {
        int64_t capacity = mia__state_capacity(n->lm, state->length + 1), before = state->capacity;
        if (capacity < before) capacity = before;
        status = plan_chunk(n, 1, 1, capacity, n->wanted, error);
        if (capacity == before && state->length < capacity) /* so do the others until the caches are full */
            state->length = capacity < until ? capacity : until;
    }
    return status;
}

/* The largest chunks on a fresh state, on a full one, and on one that grows for the last time, since the caches that
 * it grows out of stay until the run that makes the full ones is over. And the device's own choice, for the noise of its
 * draws. */
static mia_status plan_any_use(need *n, mia_error *error) {
    mia_lm_state *state = n->state;
    int64_t context = n->lm->context, outgrown = MIA__FIRST_CAPACITY, most = mia__chunk_largest(context);
    while (outgrown * 2 < context) outgrown *= 2;
    mia_status status = MIA_OK;
    for (int all = 0; status == MIA_OK && all < 2; all++) {
        int64_t rows = all && most > MIA__ALL_ROWS ? MIA__ALL_ROWS : most;
        mia__logits logits = all ? MIA__LOGITS_ALL : MIA__LOGITS_LAST;
        if (all) settle(state, context);
        for (int again = all; status == MIA_OK && again < 2; again++) {
            state->length = 0;
            status = plan_chunk(n, rows, rows, context, logits, error);
        }
        if (status != MIA_OK || outgrown >= context) continue;
        settle(state, outgrown);
        state->length = 0;
        status = plan_chunk(n, rows, rows, context, logits, error);
    }
    for (int one = 0; status == MIA_OK && one < 2; one++) {
        int64_t rows = one ? 1 : most;
        state->length = 0;
        if (one) status = plan_chunk(n, rows, rows, context, MIA__LOGITS_LAST, error);
        state->length = 0;
        if (status == MIA_OK) status = plan_chunk(n, rows, rows, context, MIA__LOGITS_CHOICE, error);
    }
    return status;
}

mia_status mia_lm_plan(mia_lm *lm, int64_t prompt, int64_t generated, const mia_lm_choice *choice,
                       mia_lm_memory *out, mia_error *error) {
    const mia_lm_choice draw = {.temperature = 1};
    *out = (mia_lm_memory){0};
    if (choice != NULL && mia__choice_check(choice, error) != MIA_OK) return MIA_ERROR_INVALID_ARGUMENT;
    if (prompt < 0 || generated < 0 || prompt > lm->context || generated > lm->context - prompt)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "%" PRId64 " and %" PRId64
                             " tokens cannot be planned: the context holds %" PRId64,
                             prompt, generated, lm->context);
    need n = {.lm = lm,
              .wanted = choice != NULL ? MIA__LOGITS_CHOICE : MIA__LOGITS_LAST,
              .any_order = prompt == 0 && generated == 0};
    mia_status status = mia_lm_state_open(lm, &n.state, error);
    if (status != MIA_OK) return status;
    n.state->choice = choice != NULL && !n.any_order ? *choice : draw;
    if (n.any_order) {
        status = plan_any_use(&n, error);
        n.found.arena_bytes = n.arena;
    } else {
        status = plan_prompt(&n, prompt, error);
        if (status == MIA_OK) status = plan_generation(&n, prompt + generated, error);
    }
    mia_lm_state_close(n.state);
    if (status != MIA_OK) return status;
    const uint64_t parts[] = {n.found.prepared_bytes, n.found.cache_bytes, n.found.arena_bytes,
                              n.found.value_bytes};
    n.found.peak_bytes = n.found.constant_bytes;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (__builtin_add_overflow(n.found.peak_bytes, parts[i], &n.found.peak_bytes))
            return too_much(lm, error);
    *out = n.found;
    return MIA_OK;
}

/* --- for pipelines -------------------------------------------------------------------------------------- */

/* What a chunk may end with. */
typedef struct ending {
    mia__logits logits;
    float temperature;
} ending;

/* before: rows of the caches that are there; 0: none are. */
static mia_status plan_alone(mia_lm *lm, int64_t rows, int64_t before, int64_t capacity, ending end,
                             mia_error *error) {
    need n = {.lm = lm};
    mia_status status = mia_lm_state_open(lm, &n.state, error);
    if (status != MIA_OK) return status;
    if (before > 0) settle(n.state, before);
    n.state->choice = (mia_lm_choice){.temperature = end.temperature};
    status = plan_chunk(&n, rows, rows, capacity, end.logits, error);
    mia_lm_state_close(n.state);
    return status;
}

/* Chunks of every size, with the smallest caches that have room for them in every place of a prompt, with larger ones as its
 * last; and a token that caches grow for. */
mia_status mia__plan_every_step(mia_lm *lm, mia_error *error) {
    static const ending ends[] = {
        {MIA__LOGITS_LAST, 0}, {MIA__LOGITS_CHOICE, 0}, {MIA__LOGITS_CHOICE, 1}, {MIA__LOGITS_NONE, 0}};
    mia_lm few = *lm;
    few.parameters.layers = lm->architecture->telling(lm);
    mia_status status = MIA_OK;
    for (int64_t before = 0, capacity; status == MIA_OK && before < lm->context; before = capacity) {
        int64_t rows = 0;
        capacity = mia__state_capacity(lm, before + 1);
        do {
            rows = mia__chunk_largest(rows == 0 ? capacity : rows - 1);
            size_t count = rows > before ? sizeof ends / sizeof *ends : 1;
            for (size_t i = 0; status == MIA_OK && i < count; i++)
                status = plan_alone(&few, rows, capacity, capacity, ends[i], error);
            for (size_t i = 0; status == MIA_OK && rows > before && i < count; i++)
                status = plan_alone(&few, rows, 0, capacity, ends[i], error);
        } while (status == MIA_OK && rows > 1);
        if (status == MIA_OK && before > 0) status = plan_alone(&few, 1, before, capacity, ends[0], error);
    }
    return status;
}
