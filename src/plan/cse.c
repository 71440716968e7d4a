/* The pass that finds equal sub-expressions: for each entry, the value that it is or looks at.
 *
 *     a = neg x        value of a is a
 *     b = slice a      looks at a
 *     c = neg x        is a, so nothing computes it
 *     d = slice c      looks at a, in the way that b does
 *     e = exp b        value of e is e
 *     f = exp d        is e
 *
 * Two operations are equal when all is that a result depends on: operation, type, shape, attributes, and operands,
 * which are the same look at the same value. Numbers that are drawn depend on their seed alone, so they count too.
 * A registered operation may be anything unless it is element-wise (mia/custom.h). Goes once over the entries, with
 * two tables: of computations, and of looks. */
#include "base/hash.h"
#include "graph/ops.h"
#include "plan/passes.h"

#include <string.h>

/* An open-addressing table of entries, by what `equal` compares; 0 is free, else an entry + 1. */
typedef struct table {
    uint32_t *slots;
    size_t mask;
    uint64_t
        seed; /* of the run of the pass, so that a file cannot choose what collides; never shows in a plan */
} table;

typedef struct finder {
    mia__planner *planner;
    uint32_t *look; /* of each entry: the first that is the same look at the same value */
    table computations, looks;
} finder;

typedef bool equality(const finder *f, uint32_t a, uint32_t b);

static bool is_view(const mia__entry *entry) {
    return mia__op_row_of(entry->op, entry->custom)->info.op_class == MIA_CLASS_VIEW;
}

static bool is_shared(const mia__entry *entry) {
    return entry->custom == NULL ||
           mia__op_row_of(entry->op, entry->custom)->info.op_class == MIA_CLASS_ELEMENTWISE;
}

static bool same_view(const mia__view *a, const mia__view *b) {
    if (a->offset != b->offset || a->ndim != b->ndim) return false;
    return memcmp(a->extent, b->extent, a->ndim * sizeof a->extent[0]) == 0 &&
           memcmp(a->stride, b->stride, a->ndim * sizeof a->stride[0]) == 0;
}

/* Views of one value, at the same numbers of it in the same type. */
static bool same_look(const finder *f, uint32_t a, uint32_t b) {
    const mia__entry *x = &f->planner->tape->entries[a], *y = &f->planner->tape->entries[b];
    return f->planner->base[a] == f->planner->base[b] && x->dtype == y->dtype &&
           same_view(&x->view, &y->view);
}

/* By their bits: -0 is not 0, and a NaN is itself. */
static bool same_attributes(const mia__attributes *a, const mia__attributes *b) {
    uint64_t x[MIA_MAX_REALS], y[MIA_MAX_REALS];
    memcpy(x, a->f, sizeof a->f);
    memcpy(y, b->f, sizeof b->f);
    return memcmp(a->i, b->i, sizeof a->i) == 0 && memcmp(x, y, sizeof x) == 0;
}

static bool same_computation(const finder *f, uint32_t a, uint32_t b) {
    const mia__entry *x = &f->planner->tape->entries[a], *y = &f->planner->tape->entries[b];
    bool same = x->op == y->op && x->custom == y->custom && x->dtype == y->dtype &&
                x->operand_count == y->operand_count && same_view(&x->view, &y->view) &&
                same_attributes(&x->attributes, &y->attributes);
    for (uint32_t k = 0; same && k < x->operand_count; k++)
        same = f->look[x->operands[k]] == f->look[y->operands[k]];
    return same;
}

static uint64_t hash_view(const mia__view *view, uint64_t seed) {
    uint64_t hash = mia__hash_bytes(&view->offset, sizeof view->offset, seed);
    hash = mia__hash_bytes(view->extent, view->ndim * sizeof view->extent[0], hash);
    return mia__hash_bytes(view->stride, view->ndim * sizeof view->stride[0], hash);
}

static uint64_t hash_look(const finder *f, uint32_t i) {
    const mia__entry *entry = &f->planner->tape->entries[i];
    const uint64_t words[] = {f->planner->base[i], (uint64_t)entry->dtype};
    return mia__hash_bytes(words, sizeof words, hash_view(&entry->view, f->looks.seed));
}

static uint64_t hash_computation(const finder *f, uint32_t i) {
    const mia__entry *entry = &f->planner->tape->entries[i];
    uint64_t words[2 + MIA__MAX_OPERANDS] = {(uint64_t)entry->op, (uint64_t)entry->dtype};
    for (uint32_t k = 0; k < entry->operand_count; k++) words[2 + k] = f->look[entry->operands[k]];
    uint64_t hash = hash_view(&entry->view, f->computations.seed);
    hash = mia__hash_bytes(&entry->attributes, sizeof entry->attributes, hash);
    return mia__hash_bytes(words, (2 + (size_t)entry->operand_count) * sizeof words[0], hash);
}

/* The first entry that is equal to entry i, which is put in when there is none. */
static uint32_t find(const finder *f, const table *t, uint32_t i, uint64_t hash, equality *equal) {
    size_t at = (size_t)hash & t->mask;
    while (t->slots[at] != 0 && !equal(f, t->slots[at] - 1, i)) at = (at + 1) & t->mask;
    if (t->slots[at] == 0) t->slots[at] = i + 1;
    return t->slots[at] - 1;
}

static void find_values(finder *f) {
    const mia__tape *tape = f->planner->tape;
    uint32_t *base = f->planner->base;
    for (uint32_t i = 0; i < tape->count; i++) {
        const mia__entry *entry = &tape->entries[i];
        if (i < tape->leaf_count)
            base[i] = entry->alias;
        else if (is_view(entry))
            base[i] = base[entry->operands[0]];
        else
            base[i] =
                is_shared(entry) ? find(f, &f->computations, i, hash_computation(f, i), same_computation) : i;
        if (i >= tape->leaf_count && base[i] != i && !is_view(entry)) f->planner->plan->shared_count++;
        f->look[i] = find(f, &f->looks, i, hash_look(f, i), same_look);
    }
}

bool mia__plan_cse(mia__planner *planner) {
    size_t count = planner->tape->count, capacity = 16;
    while (capacity < 2 * count) capacity *= 2;
    const mia_allocator *allocator = &planner->allocator;
    planner->base = mia_allocate_zeroed(allocator, count, sizeof *planner->base);
    uint32_t *room = mia_allocate_zeroed(allocator, count + 2 * capacity, sizeof *room);
    if (planner->base != NULL && room != NULL) {
        uint64_t seed = (uint64_t)(uintptr_t)room | 1;
        finder f = {.planner = planner,
                    .look = room,
                    .computations = {room + count, capacity - 1, seed},
                    .looks = {room + count + capacity, capacity - 1, seed}};
        find_values(&f);
    }
    mia_release(allocator, room, (count + 2 * capacity) * sizeof *room);
    return planner->base != NULL && room != NULL;
}
