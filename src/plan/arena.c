/* The pass that places temporaries in one arena. Largest first, each in the smallest gap, between those
 * already placed whose lifetimes overlap its own, that holds it (best fit); at the end when there is none.
 *
 *   offset
 *     ^   +-------+       +---+
 *     |   |   a   |       | d |      a and d never hold something at the same time
 *     |   +---+---+---+---+---+
 *     |   | b |   |     c     |
 *     +---+---+---+-----------+--> step
 *
 * Those that overlap are found in a tree over all of them in the order in which their lifetimes begin, which knows
 * of each stretch of that order when the last of those placed ends. Mostly they are few. Where they are many, it
 * is cheaper to walk all that are placed in order of offset, an order that is brought up to date only then. */
#include "base/size.h"
#include "plan/passes.h"

#include <stdlib.h>
#include <string.h>

#define FEW  64 /* that overlap: always sorted by themselves */
#define MANY 16 /* a sixteenth of those placed overlaps: all are walked */

typedef struct item {
    uint32_t buffer;
    uint32_t first, last;
    uint32_t rank; /* place in the order in which lifetimes begin */
    size_t offset, bytes;
} item;

typedef struct arena {
    item *items; /* largest first */
    uint32_t count, placed;
    uint32_t *begins;  /* by rank: first steps */
    uint32_t *item_at; /* by rank: index into items */
    uint32_t
        *ends; /* tree: a node's children are 2n and 2n + 1; 1 + the latest last step of those placed, or 0 */
    uint32_t leaves;
    item *found;                 /* that overlap the one to be placed */
    uint32_t found_count, limit; /* where there are more, they are not listed to the end */
    item *by_offset;             /* the first `ordered` of those placed */
    uint32_t ordered;
    uint64_t looks;
} arena;

static int by_size(const void *left, const void *right) {
    const item *a = left, *b = right;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
    return a->buffer < b->buffer ? -1 : 1;
}

static int by_first(const void *left, const void *right) {
    const item *a = left, *b = right;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    return a->buffer < b->buffer ? -1 : 1;
}

static int by_offset(const void *left, const void *right) {
    const item *a = left, *b = right;
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    return a->buffer < b->buffer ? -1 : 1;
}

/* --- which overlap ----------------------------------------------------------------------------- */

/* How many items begin at step `step` or before. */
static uint32_t begun_by(const arena *a, uint32_t step) {
    uint32_t low = 0, high = a->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (a->begins[middle] <= step)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Lists those below a node of the tree, ranks begin .. begin + width, that have rank below `until` and end at step
 * `from` or later. As deep as the tree. */
static void list_overlapping(arena *a, uint32_t node, uint32_t begin, uint32_t width, uint32_t until,
                             uint32_t from) {
    a->looks++;
    if (begin >= until || a->ends[node] <= from || a->found_count > a->limit) return;
    if (width == 1) {
        a->found[a->found_count++] = a->items[a->item_at[begin]];
        return;
    }
    list_overlapping(a, 2 * node, begin, width / 2, until, from);
    list_overlapping(a, 2 * node + 1, begin + width / 2, width / 2, until, from);
}

static void mark_placed(arena *a, const item *what) {
    for (uint32_t node = a->leaves + what->rank; node > 0; node /= 2)
        if (a->ends[node] < what->last + 1) a->ends[node] = what->last + 1;
    a->placed++;
}

/* All that are placed in order of offset: what came since the last time is sorted and merged from behind. */
static void order_placed(arena *a) {
    uint32_t fresh = a->placed - a->ordered;
    memcpy(a->found, a->items + a->ordered, fresh * sizeof *a->found);
    qsort(a->found, fresh, sizeof *a->found, by_offset);
    for (uint32_t end = a->ordered; fresh > 0; fresh--) {
        const item *one = &a->found[fresh - 1];
        uint32_t low = 0, high = end;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (a->by_offset[middle].offset <= one->offset)
                low = middle + 1;
            else
                high = middle;
        }
        memmove(a->by_offset + low + fresh, a->by_offset + low, (end - low) * sizeof *a->by_offset);
        a->by_offset[low + fresh - 1] = *one;
        end = low;
    }
    a->ordered = a->placed;
}

/* --- where there is room ------------------------------------------------------------------------ */

/* Others are in order of offset; those that do not overlap are passed over. */
static size_t find_gap(const item *others, uint32_t count, const item *wanted) {
    size_t end = 0, best = 0, best_size = SIZE_MAX; /* end: of the overlapping items seen so far */
    for (uint32_t i = 0; i < count; i++) {
        const item *other = &others[i];
        if (other->last < wanted->first || wanted->last < other->first) continue;
        if (other->offset > end && other->offset - end >= wanted->bytes && other->offset - end < best_size) {
            best = end;
            best_size = other->offset - end;
        }
        size_t other_end;
        if (!mia__size_add(other->offset, other->bytes, &other_end))
            other_end = SIZE_MAX; /* nothing fits behind */
        if (other_end > end) end = other_end;
    }
    return best_size != SIZE_MAX ? best : end;
}

static size_t find_place(arena *a, const item *wanted) {
    a->found_count = 0;
    a->limit = a->placed / MANY > FEW ? a->placed / MANY : FEW;
    list_overlapping(a, 1, 0, a->leaves, begun_by(a, wanted->last), wanted->first);
    if (a->found_count <= a->limit) {
        a->looks += a->found_count;
        qsort(a->found, a->found_count, sizeof *a->found, by_offset);
        return find_gap(a->found, a->found_count, wanted);
    }
    a->looks += a->placed;
    order_placed(a);
    return find_gap(a->by_offset, a->placed, wanted);
}

/* --- the pass ---------------------------------------------------------------------------------- */

static void list_items(arena *a, const mia__planner *planner) {
    const mia__plan *plan = planner->plan;
    size_t alignment = planner->rules->alignment > 0 ? planner->rules->alignment : 1;
    for (uint32_t b = 0; b < plan->buffer_count; b++) {
        const mia__plan_buffer *buffer = &plan->buffers[b];
        if (buffer->kind == MIA__BUFFER_ARENA)
            a->items[a->count++] = (item){.buffer = b,
                                          .first = buffer->first,
                                          .last = buffer->last,
                                          .bytes = mia__align_up(buffer->bytes, alignment)};
    }
    qsort(a->items, a->count, sizeof *a->items, by_first);
    for (uint32_t i = 0; i < a->count; i++) {
        a->items[i].rank = i;
        a->begins[i] = a->items[i].first;
    }
    qsort(a->items, a->count, sizeof *a->items, by_size);
    for (uint32_t i = 0; i < a->count; i++) a->item_at[a->items[i].rank] = i;
}

static void place_items(arena *a, mia__plan *plan) {
    for (uint32_t i = 0; i < a->count; i++) {
        item *it = &a->items[i];
        it->offset = find_place(a, it);
        mark_placed(a, it);
        plan->buffers[it->buffer].offset = it->offset;
        size_t end;
        if (!mia__size_add(it->offset, it->bytes, &end)) end = SIZE_MAX;
        if (end > plan->arena_bytes) plan->arena_bytes = end;
    }
    plan->arena_looks = a->looks;
}

bool mia__plan_arena(mia__planner *planner) {
    size_t most = planner->plan->buffer_count, leaves = 1;
    while (leaves < most) leaves *= 2;
    const mia_allocator *allocator = &planner->allocator;
    item *items = mia_allocate_zeroed(allocator, 3 * most, sizeof *items);
    uint32_t *numbers = mia_allocate_zeroed(allocator, 2 * most + 2 * leaves, sizeof *numbers);
    if (items != NULL && numbers != NULL) {
        arena a = {.items = items,
                   .found = items + most,
                   .by_offset = items + 2 * most,
                   .begins = numbers,
                   .item_at = numbers + most,
                   .ends = numbers + 2 * most,
                   .leaves = (uint32_t)leaves};
        list_items(&a, planner);
        place_items(&a, planner->plan);
    }
    mia_release(allocator, items, 3 * most * sizeof *items);
    mia_release(allocator, numbers, (2 * most + 2 * leaves) * sizeof *numbers);
    return items != NULL && numbers != NULL;
}
