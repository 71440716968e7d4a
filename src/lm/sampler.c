/* Chooses the next token from a model's logits, in llama.cpp's order: repetition penalty, top-k, top-p,
 * min-p, temperature, draw.
 *
 * Candidates are a heap rather than a sorted vocabulary: top-k keeps the k best in one pass over the logits,
 * and top-p takes only as many as it keeps. Everything is allocated by open. Equal logits are ordered by id,
 * so that a seed gives the same text everywhere. */
#include <mia/lm.h>

#include <float.h>
#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

struct mia_sampler {
    mia_allocator allocator; /* zero: the C library's */
    mia_sampler_options options;
    size_t vocabulary;
    candidate *candidates; /* [room]; none when greedy */
    size_t room;
    uint64_t
        *last_seen;    /* [vocabulary], when each token was accepted last; 0: never. NULL without a penalty */
    uint64_t accepted; /* tokens so far */
    uint64_t state[4]; /* of the generator */
};

/* --- random numbers --------------------------------------------------------------------------- */

/* SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. Spreads a
 * seed over the state of the other generator. */
static uint64_t split_mix(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotate(uint64_t value, int by) {
    return value << by | value >> (64 - by);
}

/* xoshiro256**: Blackman and Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47 (2021). */
static uint64_t next_random(uint64_t state[4]) {
    uint64_t result = rotate(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate(state[3], 45);
    return result;
}

/* In [0, 1): the upper 53 bits, as many as a double holds. */
static double next_uniform(uint64_t state[4]) {
    return (double)(next_random(state) >> 11) * 0x1p-53;
}

/* From the system; where it has none to give, from the clock and an address, which is enough to differ. */
static uint64_t draw_seed(const void *address) {
    uint64_t seed;
    if (getentropy(&seed, sizeof seed) == 0) return seed;
    struct timespec now = {0, 0};
    timespec_get(&now, TIME_UTC);
    seed = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
    seed ^= (uint64_t)(uintptr_t)address << 20;
    return split_mix(&seed);
}

/* --- open and close --------------------------------------------------------------------------- */

static mia_status bad_option(mia_error *error, const char *field, double value, const char *wanted) {
    return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "sampler: %s is %g, must be %s", field, value,
                         wanted);
}

static mia_status check_options(const mia_sampler_options *o, size_t vocabulary, mia_error *error) {
    static const char finite[] = "a finite number of at least 0";
    if (vocabulary == 0 || vocabulary > INT32_MAX)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "sampler: a vocabulary of %zu tokens",
                             vocabulary);
    if (!(isfinite(o->temperature) && o->temperature >= 0))
        return bad_option(error, "temperature", (double)o->temperature, finite);
    if (o->top_k < 0) return bad_option(error, "top_k", o->top_k, "at least 0");
    if (!(isfinite(o->top_p) && o->top_p >= 0)) return bad_option(error, "top_p", (double)o->top_p, finite);
    if (!(o->min_p >= 0 && o->min_p <= 1))
        return bad_option(error, "min_p", (double)o->min_p, "between 0 and 1");
    if (!(isfinite(o->repeat_penalty) && o->repeat_penalty >= 0))
        return bad_option(error, "repeat_penalty", (double)o->repeat_penalty, finite);
    if (o->repeat_last_n < 0) return bad_option(error, "repeat_last_n", o->repeat_last_n, "at least 0");
    return MIA_OK;
}

static bool limits_count(const mia_sampler *sampler) {
    return sampler->options.top_k > 0 && (size_t)sampler->options.top_k < sampler->vocabulary;
}

static bool has_penalty(const mia_sampler_options *options) {
    return options->repeat_last_n > 0 && options->repeat_penalty != 0 && options->repeat_penalty != 1;
}

mia_status mia_sampler_open(const mia_sampler_options *options, size_t vocabulary,
                            const mia_allocator *allocator, mia_sampler **out, mia_error *error) {
    if (options == NULL || out == NULL)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "mia_sampler_open: an argument is NULL");
    *out = NULL;
    mia_status status = check_options(options, vocabulary, error);
    if (status != MIA_OK) return status;
    mia_sampler *sampler = mia_allocate_zeroed(allocator, 1, sizeof *sampler);
    if (sampler == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a sampler");
    if (allocator != NULL) sampler->allocator = *allocator;
    sampler->options = *options;
    sampler->vocabulary = vocabulary;
    bool greedy = options->temperature == 0, penalty = has_penalty(options);
    if (!greedy) sampler->room = limits_count(sampler) ? (size_t)options->top_k : vocabulary;
    if (!greedy) sampler->candidates = mia_allocate_zeroed(allocator, sampler->room, sizeof(candidate));
    if (penalty) sampler->last_seen = mia_allocate_zeroed(allocator, vocabulary, sizeof(uint64_t));
    if ((!greedy && sampler->candidates == NULL) || (penalty && sampler->last_seen == NULL)) {
        mia_sampler_close(sampler);
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a sampler over %zu tokens",
                             vocabulary);
    }
    if (!options->seeded) sampler->options.seed = draw_seed(sampler);
    uint64_t seed = sampler->options.seed;
    for (size_t i = 0; i < 4; i++) sampler->state[i] = split_mix(&seed);
    *out = sampler;
    return MIA_OK;
}

void mia_sampler_close(mia_sampler *sampler) {
    if (sampler == NULL) return;
    mia_allocator allocator = sampler->allocator;
    mia_release(&allocator, sampler->candidates, sampler->room * sizeof(candidate));
    mia_release(&allocator, sampler->last_seen, sampler->vocabulary * sizeof(uint64_t));
    mia_release(&allocator, sampler, sizeof *sampler);
}

uint64_t mia_sampler_seed(const mia_sampler *sampler) {
    return sampler->options.seed;
}

void mia_sampler_accept(mia_sampler *sampler, int32_t id) {
    sampler->accepted++;
    if (sampler->last_seen != NULL && id >= 0 && (size_t)id < sampler->vocabulary)
        sampler->last_seen[id] = sampler->accepted;
}

/* --- candidates ------------------------------------------------------------------------------- */

/* The logit that counts. A penalty makes a token less likely on either side of zero (Keskar et al., "CTRL",
 * 2019, with llama.cpp's correction for negative logits); it rules none out. */
static float adjusted(const mia_sampler *sampler, const float *logits, size_t id) {
    float logit = logits[id];
    if (isnan(logit) || logit == -INFINITY) return -INFINITY;
    const uint64_t *seen = sampler->last_seen;
    uint64_t last_n = (uint64_t)sampler->options.repeat_last_n;
    if (seen == NULL || seen[id] == 0 || sampler->accepted - seen[id] >= last_n) return logit;
    float penalty = sampler->options.repeat_penalty;
    logit = logit > 0 ? logit / penalty : logit * penalty;
    return logit == -INFINITY ? -FLT_MAX : logit;
}

static bool is_better(candidate a, candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* Restores a heap whose root may be out of place: the best on top, or the worst. */
static void sift_down(candidate *heap, size_t root, size_t count, bool best_on_top) {
    candidate moved = heap[root];
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= count) break;
        if (child + 1 < count && is_better(heap[child + 1], heap[child]) == best_on_top) child++;
        if (is_better(heap[child], moved) != best_on_top) break;
        heap[root] = heap[child];
        root = child;
    }
    heap[root] = moved;
}

static void make_heap(candidate *heap, size_t count, bool best_on_top) {
    for (size_t i = count / 2; i-- > 0;) sift_down(heap, i, count, best_on_top);
}

/* Collects what is above minus infinity, at most `room` of the best of it. When there was more than room, the
 * heap has its worst on top, which each further logit is held against. */
static size_t collect(mia_sampler *sampler, const float *logits) {
    candidate *heap = sampler->candidates;
    size_t count = 0;
    for (size_t i = 0; i < sampler->vocabulary; i++) {
        candidate c = {adjusted(sampler, logits, i), (int32_t)i};
        if (c.logit == -INFINITY) continue;
        if (count < sampler->room) {
            heap[count++] = c;
            if (count == sampler->room && limits_count(sampler)) make_heap(heap, count, false);
        } else if (is_better(c, heap[0])) {
            heap[0] = c;
            sift_down(heap, 0, count, false);
        }
    }
    return count;
}

/* Relative to the best, whose weight is 1; so infinite logits share everything. */
static float weight(float logit, float best, float temperature) {
    return logit == best ? 1 : expf((logit - best) / temperature);
}

static candidate *best_of(candidate *candidates, size_t count) {
    candidate *best = candidates;
    for (size_t i = 1; i < count; i++)
        if (is_better(candidates[i], *best)) best = &candidates[i];
    return best;
}

/* Keeps the fewest of the best whose probabilities reach p. They are taken off a heap one by one, to its end,
 * so that the kept ones stand there, the best last; *first is where they begin. */
static size_t keep_top_p(candidate *candidates, size_t count, float best, double p, size_t *first) {
    double total = 0, reached = 0;
    for (size_t i = 0; i < count; i++) total += (double)weight(candidates[i].logit, best, 1);
    make_heap(candidates, count, true);
    size_t left = count;
    while (left > 0) {
        candidate top = candidates[0];
        candidates[0] = candidates[--left];
        sift_down(candidates, 0, left, true);
        candidates[left] = top;
        reached += (double)weight(top.logit, best, 1);
        if (reached >= p * total) break;
    }
    *first = left;
    return count - left;
}

static size_t keep_min_p(candidate *candidates, size_t count, float best, float p) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (weight(candidates[i].logit, best, 1) >= p) candidates[kept++] = candidates[i];
    return kept;
}

/* The candidates' logits give way to their weights, so that each is computed once. */
static int32_t draw(mia_sampler *sampler, candidate *candidates, size_t count, float best) {
    double total = 0, reached = 0;
    for (size_t i = 0; i < count; i++) {
        candidates[i].logit = weight(candidates[i].logit, best, sampler->options.temperature);
        total += (double)candidates[i].logit;
    }
    double target = next_uniform(sampler->state) * total;
    for (size_t i = 0; i < count; i++) {
        reached += (double)candidates[i].logit;
        if (target < reached) return candidates[i].id;
    }
    return best_of(candidates, count)->id; /* when the product was rounded up to the total */
}

static int32_t choose_greedy(const mia_sampler *sampler, const float *logits) {
    candidate best = {-INFINITY, -1};
    for (size_t i = 0; i < sampler->vocabulary; i++) {
        float logit = adjusted(sampler, logits, i);
        if (logit > best.logit) best = (candidate){logit, (int32_t)i};
    }
    return best.id;
}

static int32_t choose_random(mia_sampler *sampler, const float *logits) {
    const mia_sampler_options *options = &sampler->options;
    candidate *candidates = sampler->candidates;
    size_t count = collect(sampler, logits);
    if (count == 0) return -1;
    float best = best_of(candidates, count)->logit;
    if (options->top_p > 0 && options->top_p < 1) {
        size_t first;
        count = keep_top_p(candidates, count, best, (double)options->top_p, &first);
        candidates += first;
    }
    if (options->min_p > 0) count = keep_min_p(candidates, count, best, options->min_p);
    return draw(sampler, candidates, count, best);
}

mia_status mia_sampler_choose(mia_sampler *sampler, const float *logits, int32_t *id, mia_error *error) {
    if (sampler == NULL || logits == NULL || id == NULL)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "mia_sampler_choose: an argument is NULL");
    bool greedy = sampler->options.temperature == 0;
    *id = greedy ? choose_greedy(sampler, logits) : choose_random(sampler, logits);
    if (*id >= 0) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "none of the %zu logits is above minus infinity",
                         sampler->vocabulary);
}
