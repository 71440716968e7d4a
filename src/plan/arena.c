/* The pass that places temporaries in one arena. Largest first, each in the smallest gap, between those
 * already placed whose lifetimes overlap its own, that holds it (best fit); at the end when there is none.
 *
 *   offset
 *     ^   +-------+       +---+
 *     |   |   a   |       | d |      a and d never hold something at the same time
 *     |   +---+---+---+---+---+
 *     |   | b |   |     c     |
 *     +---+---+---+-----------+--> step */
#include "base/size.h"
#include "plan/passes.h"

#include <stdlib.h>

typedef struct item {
    uint32_t buffer;
    uint32_t first, last;
    size_t offset, bytes;
} item;

static int by_size(const void *left, const void *right) {
    const item *a = left, *b = right;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
    return a->buffer < b->buffer ? -1 : 1;
}

/* Items that are placed, in order of offset. */
typedef struct placed {
    item *items;
    uint32_t count;
} placed;

static size_t find_gap(const placed *arena, const item *wanted) {
    size_t end = 0, best = 0, best_size = SIZE_MAX; /* end: of the overlapping items seen so far */
    for (uint32_t i = 0; i < arena->count; i++) {
        const item *other = &arena->items[i];
        if (other->last < wanted->first || wanted->last < other->first) continue;
        if (other->offset > end && other->offset - end >= wanted->bytes && other->offset - end < best_size) {
            best = end;
            best_size = other->offset - end;
        }
        if (other->offset + other->bytes > end) end = other->offset + other->bytes;
    }
    return best_size != SIZE_MAX ? best : end;
}

static void insert(placed *arena, const item *what) {
    uint32_t at = arena->count++;
    for (; at > 0 && arena->items[at - 1].offset > what->offset; at--)
        arena->items[at] = arena->items[at - 1];
    arena->items[at] = *what;
}

bool mia__plan_arena(mia__planner *planner) {
    mia__plan *plan = planner->plan;
    uint32_t count = 0;
    size_t alignment = planner->rules->alignment > 0 ? planner->rules->alignment : 1;
    item *items = mia_allocate_zeroed(&planner->allocator, 2 * (size_t)plan->buffer_count, sizeof *items);
    if (items == NULL) return false;
    for (uint32_t b = 0; b < plan->buffer_count; b++) {
        const mia__plan_buffer *buffer = &plan->buffers[b];
        if (buffer->kind == MIA__BUFFER_ARENA)
            items[count++] = (item){.buffer = b,
                                    .first = buffer->first,
                                    .last = buffer->last,
                                    .bytes = mia__align_up(buffer->bytes, alignment)};
    }
    qsort(items, count, sizeof *items, by_size);
    placed arena = {.items = items + plan->buffer_count};
    for (uint32_t i = 0; i < count; i++) {
        items[i].offset = find_gap(&arena, &items[i]);
        insert(&arena, &items[i]);
        plan->buffers[items[i].buffer].offset = items[i].offset;
        size_t end = items[i].offset + items[i].bytes;
        if (end > plan->arena_bytes) plan->arena_bytes = end;
    }
    mia_release(&planner->allocator, items, 2 * (size_t)plan->buffer_count * sizeof *items);
    return true;
}
