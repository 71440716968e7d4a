/* The pass that looks for an order of the steps that needs less memory. Of the steps that are ready it takes the one
 * that leaves least behind: the bytes of its result, less those of what nobody reads after it.
 *
 *     recorded    a = f x, b = g x, p = sum a, q = sum b      a and b at once
 *     chosen      a = f x, p = sum a, b = g x, q = sum b      one of them at a time
 *
 * Steps that run together (together.c) are taken as one. Ties go by the recorded order. Steps that are ready wait in a heap; what one leaves changes only when it becomes the
 * last reader of something, so the pass takes n log n. Bytes are doubles, which do not overflow. The order is but a
 * proposal, made when it promises less: what it really needs is known when places are found (plan.c). */
#include "base/size.h"
#include "plan/passes.h"

#include <string.h>

#define NO_STEP UINT32_MAX

typedef struct orderer {
    mia__planner *planner;
    const mia__step *steps;
    const uint32_t
        *begins;       /* of each unit, and one more: its first step; a unit is a step, or some together */
    uint32_t count;    /* of units */
    uint32_t *maker;   /* of each value: the unit that makes it */
    uint32_t *first;   /* of each value, and one more: where its readers begin */
    uint32_t *unread;  /* of each value: how many of its readers have yet to run */
    uint32_t *readers; /* units, by value, each once */
    uint32_t *waiting; /* of each unit: values that it reads and that are not made */
    uint32_t *order;   /* the units chosen so far */
    uint32_t *heap, *place, heap_count; /* units that are ready; where each is */
    bool *done;                         /* of each unit */
    double *leaves;                     /* of each unit: bytes, by what has run so far */
} orderer;

/* Bytes that a value takes of the arena: of what outlives the run, or is there before it, none. */
static double bytes_of(const orderer *o, uint32_t v) {
    const mia__plan_value *value = &o->planner->values[v];
    size_t alignment = o->planner->rules->alignment > 0 ? o->planner->rules->alignment : 1;
    return value->is_leaf || value->outlives ? 0 : (double)mia__align_up(value->bytes, alignment);
}

/* Whether input i of step s names a value that no input before it does, in the step or in those of its unit. */
static bool is_first_read(const orderer *o, uint32_t unit, uint32_t s, uint32_t i) {
    uint32_t v = o->steps[s].inputs[i].buffer;
    for (uint32_t t = o->begins[unit]; t <= s; t++)
        for (uint32_t k = 0; k < (t == s ? i : o->steps[t].input_count); k++)
            if (o->steps[t].inputs[k].buffer == v) return false;
    return true;
}

#define EACH_STEP(s, unit) for (uint32_t s = o->begins[unit]; s < o->begins[(unit) + 1]; s++)
/* Each value that a unit reads, once. */
#define EACH_READ(s, i, unit)                                                                                \
    EACH_STEP(s, unit)                                                                                       \
    for (uint32_t i = 0; i < o->steps[s].input_count; i++)                                                   \
        if (is_first_read(o, unit, s, i))

static void list_readers(orderer *o) {
    uint32_t values = o->planner->value_count;
    for (uint32_t v = 0; v < values; v++) o->maker[v] = NO_STEP;
    for (uint32_t u = 0; u < o->count; u++) {
        EACH_STEP(s, u) o->maker[o->steps[s].output.buffer] = u;
        EACH_READ(s, i, u) o->unread[o->steps[s].inputs[i].buffer]++;
    }
    for (uint32_t v = 0; v < values; v++) o->first[v + 1] = o->first[v] + o->unread[v];
    memset(o->unread, 0, values * sizeof *o->unread);
    for (uint32_t u = 0; u < o->count; u++) {
        EACH_READ(s, i, u) {
            uint32_t v = o->steps[s].inputs[i].buffer;
            o->readers[o->first[v] + o->unread[v]++] = u;
            o->waiting[u] += o->maker[v] != NO_STEP;
        }
    }
}

/* --- what an order needs ---------------------------------------------------------------------- */

/* The most bytes at once, with results over what they may overwrite. */
static double peak_of(orderer *o, const uint32_t *order) {
    const mia__plan_rules *rules = o->planner->rules;
    double held = 0, most = 0;
    for (uint32_t v = 0; v < o->planner->value_count; v++) o->unread[v] = o->first[v + 1] - o->first[v];
    for (uint32_t n = 0; n < o->count; n++) {
        uint32_t unit = order[n];
        double freed = 0, more = 0, after = held;
        EACH_STEP(s, unit) {
            after += bytes_of(o, o->steps[s].output.buffer);
            more += bytes_of(o, o->steps[s].output.buffer);
            if (rules->scratch != NULL)
                more += (double)rules->scratch(rules->context, o->planner->plan, &o->steps[s]);
        }
        bool over =
            o->begins[unit + 1] - o->begins[unit] > 1; /* of several no result is taken to overwrite */
        EACH_READ(s, i, unit) {
            uint32_t v = o->steps[s].inputs[i].buffer;
            if (--o->unread[v] > 0) continue;
            freed += bytes_of(o, v);
            if (over || bytes_of(o, v) == 0 || !mia__plan_can_overwrite(o->planner, &o->steps[s], i))
                continue;
            more -= bytes_of(o, v);
            over = true;
        }
        if (held + more > most) most = held + more;
        held = after - freed;
    }
    return most;
}

/* --- the steps that are ready ----------------------------------------------------------------- */

static bool is_better(const orderer *o, uint32_t a, uint32_t b) {
    return o->leaves[a] != o->leaves[b] ? o->leaves[a] < o->leaves[b] : a < b;
}

static void put_at(orderer *o, uint32_t at, uint32_t step) {
    o->heap[at] = step;
    o->place[step] = at;
}

static void sift_up(orderer *o, uint32_t at) {
    uint32_t step = o->heap[at];
    while (at > 0 && is_better(o, step, o->heap[(at - 1) / 2])) {
        put_at(o, at, o->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put_at(o, at, step);
}

static uint32_t take_best(orderer *o) {
    uint32_t best = o->heap[0], moved = o->heap[--o->heap_count], at = 0;
    for (uint32_t child = 1; child < o->heap_count; child = 2 * at + 1) {
        if (child + 1 < o->heap_count && is_better(o, o->heap[child + 1], o->heap[child])) child++;
        if (!is_better(o, o->heap[child], moved)) break;
        put_at(o, at, o->heap[child]);
        at = child;
    }
    if (o->heap_count > 0) put_at(o, at, moved);
    return best;
}

static void make_ready(orderer *o, uint32_t step) {
    put_at(o, o->heap_count, step);
    sift_up(o, o->heap_count++);
}

/* One reader of a value is left: it frees the value. */
static void tell_last_reader(orderer *o, uint32_t v) {
    uint32_t r = o->first[v];
    while (o->done[o->readers[r]]) r++;
    uint32_t step = o->readers[r];
    o->leaves[step] -= bytes_of(o, v);
    if (o->waiting[step] == 0) sift_up(o, o->place[step]);
}

static void choose(orderer *o) {
    for (uint32_t u = 0; u < o->count; u++) {
        EACH_STEP(s, u) o->leaves[u] += bytes_of(o, o->steps[s].output.buffer);
        EACH_READ(s, i, u)
        if (o->unread[o->steps[s].inputs[i].buffer] == 1)
            o->leaves[u] -= bytes_of(o, o->steps[s].inputs[i].buffer);
    }
    for (uint32_t u = 0; u < o->count; u++)
        if (o->waiting[u] == 0) make_ready(o, u);
    for (uint32_t n = 0; n < o->count; n++) {
        uint32_t unit = take_best(o);
        o->order[n] = unit;
        o->done[unit] = true;
        EACH_READ(s, i, unit) {
            uint32_t v = o->steps[s].inputs[i].buffer;
            if (--o->unread[v] == 1) tell_last_reader(o, v);
        }
        EACH_STEP(s, unit) {
            uint32_t made = o->steps[s].output.buffer;
            for (uint32_t r = o->first[made]; r < o->first[made + 1]; r++)
                if (--o->waiting[o->readers[r]] == 0) make_ready(o, o->readers[r]);
        }
    }
}

/* --- the pass --------------------------------------------------------------------------------- */

/* Where units begin; returns how many there are. */
static uint32_t find_units(const mia__plan *plan, uint32_t *begins) {
    uint32_t count = 0;
    for (uint32_t s = 0; s<plan->step_count; s += plan->steps[s].together> 0 ? plan->steps[s].together : 1)
        begins[count++] = s;
    begins[count] = plan->step_count;
    return count;
}

/* Fills planner->order, which has room for all steps; says in *less whether it promises less. */
static void find_order(orderer *o, uint32_t *steps, bool *less) {
    list_readers(o);
    choose(o);
    double chosen = peak_of(o, o->order);
    for (uint32_t u = 0; u < o->count; u++) o->heap[u] = u;
    *less = chosen < peak_of(o, o->heap);
    uint32_t count = 0;
    for (uint32_t n = 0; n < o->count; n++) EACH_STEP(s, o->order[n]) steps[count++] = s;
}

bool mia__plan_order(mia__planner *planner) {
    const mia__plan *plan = planner->plan;
    size_t steps = plan->step_count, values = planner->value_count, reads = 0;
    if (steps < 3) return true;
    for (size_t s = 0; s < steps; s++) reads += plan->steps[s].input_count;
    size_t words = 3 * values + 1 + reads + 5 * steps + 1;
    const mia_allocator *allocator = &planner->allocator;
    uint32_t *room = mia_allocate_zeroed(allocator, words, sizeof *room);
    bool *done = mia_allocate_zeroed(allocator, steps, sizeof *done);
    double *leaves = mia_allocate_zeroed(allocator, steps, sizeof *leaves);
    planner->order = mia_allocate_zeroed(allocator, steps, sizeof *planner->order);
    bool good = room != NULL && done != NULL && leaves != NULL && planner->order != NULL;
    planner->order_count = (uint32_t)steps;
    if (good) {
        uint32_t *of_units = room + 3 * values + 1 + reads; /* five arrays */
        orderer o = {.planner = planner,
                     .steps = plan->steps,
                     .begins = of_units + 4 * steps,
                     .count = find_units(plan, of_units + 4 * steps),
                     .maker = room,
                     .unread = room + values,
                     .first = room + 2 * values,
                     .readers = room + 3 * values + 1,
                     .waiting = of_units,
                     .heap = of_units + steps,
                     .place = of_units + 2 * steps,
                     .order = of_units + 3 * steps,
                     .done = done,
                     .leaves = leaves};
        find_order(&o, planner->order, &planner->reorder);
    }
    mia_release(allocator, room, words * sizeof *room);
    mia_release(allocator, done, steps * sizeof *done);
    mia_release(allocator, leaves, steps * sizeof *leaves);
    return good;
}
