/* Order along one mode: sort, argsort, top_k, top_k_indices. What is sorted are pairs of a key (a number whose order is the
 * elements') and a place, so no two are alike, and equals stay in their order. A network (Batcher's bitonic one) sorts:
 *
 *     a line that fits a tile      in workgroup memory; short ones share a tile
 *     a longer one, all of it      tiles, then steps over all of memory down to a tile's size, then tiles again
 *     the first k of a longer one  tiles leave their first k, of which tiles are made again, until one is left
 *
 * Pairs lie in scratch; a last dispatch puts elements, or places, where the order says. */
#include "backend/webgpu/families.h"
#include "backend/webgpu/reduce.h"
#include "backend/webgpu/scratch.h"
#include "backend/webgpu/teams.h"

#include "graph/ops.h"

#define TILE 1024

typedef struct geometry {
    uint64_t lines, length, inner, kept; /* inner: elements of the result between neighbours of a line */
    uint64_t padded;                     /* a line's length as a power of two */
    bool selects;                        /* the first k of tiles */
    bool descending, places;
} geometry;

static geometry geometry_of(const mia__step *step) {
    const mia__view *x = &step->inputs[0].view, *out = &step->output.view;
    uint32_t mode = (uint32_t)step->attributes.i[0];
    bool top = step->op == MIA_OP_top_k || step->op == MIA_OP_top_k_indices;
    geometry g = {.length = (uint64_t)x->extent[mode],
                  .kept = (uint64_t)out->extent[mode],
                  .inner = 1,
                  .padded = 1,
                  .descending = step->attributes.i[top ? 2 : 1] != 0,
                  .places = step->op == MIA_OP_argsort || step->op == MIA_OP_top_k_indices};
    for (uint32_t m = 0; m < mode; m++) g.inner *= (uint64_t)out->extent[m];
    g.lines = g.kept > 0 ? (uint64_t)mia__view_count(out) / g.kept : 0;
    while (g.padded < g.length) g.padded *= 2;
    g.selects = g.padded > TILE && g.kept <= TILE / 2;
    return g;
}

static uint64_t tiles_of(uint64_t items) {
    return (items + TILE - 1) / TILE;
}

/* Pairs that lie in scratch: those of the lines, or what tiles leave at first, and what is left of that. */
static uint64_t first_pairs(const geometry *g) {
    if (g->selects) return g->lines * tiles_of(g->length) * g->kept;
    return g->lines * (g->padded > TILE ? g->padded : g->kept);
}

static uint64_t second_pairs(const geometry *g) {
    return g->selects ? g->lines * tiles_of(tiles_of(g->length) * g->kept) * g->kept : 0;
}

size_t mia__sort_scratch(const mia__step *step) {
    const geometry g = geometry_of(step);
    return (size_t)(first_pairs(&g) + second_pairs(&g)) * 2 * sizeof(uint32_t);
}

/* --- pieces ------------------------------------------------------------------------------------- */

/* fn x_value(line, n): element n of a line. */
static bool put_elements(mia__kernel *k) {
    const mia__operand *x = &k->step->inputs[0];
    uint32_t mode = (uint32_t)k->step->attributes.i[0];
    mia__view lines = x->view;
    lines.extent[mode] = 1;
    lines = mia__kernel_shortened(&lines);
    if (!mia__kernel_words(k, "x", x->buffer)) return false;
    mia__kernel_get(k, "x", x->dtype);
    mia__kernel_view(k, "x", &lines);
    mia__kernel_at(k, "x", &lines);
    mia__kernel_u32(k, "x_step", (uint64_t)x->view.stride[mode]);
    mia__kernel_add(k, "fn x_value(line: u32, n: u32) -> %s { return x_get(x_at(line) + n * p.x_step); }\n",
                    mia__kernel_type(x->dtype));
    return true;
}

/* fn pair(i) and fn leave_pair(i, v): in scratch. */
static bool put_pairs(mia__kernel *k) {
    uint32_t slot;
    if (!mia__kernel_bind(k, k->step->scratch, "u32", true, &slot)) return false;
    mia__kernel_add(k,
                    "fn pair(i: u32) -> vec2<u32> { return vec2<u32>(b%u[2u * i], b%u[2u * i + 1u]); }\n"
                    "fn leave_pair(i: u32, v: vec2<u32>) { b%u[2u * i] = v.x; b%u[2u * i + 1u] = v.y; }\n"
                    "fn is_after(a: vec2<u32>, b: vec2<u32>) -> bool {\n"
                    "    return a.x > b.x || (a.x == b.x && a.y > b.y);\n}\n",
                    slot, slot, slot, slot);
    return true;
}

/* A tile in workgroup memory, and fn exchange(stride, local, first, mask, size): compares those that far apart; slot `first` + i
 * goes up where its bit `size`, among those of `mask`, is 0. */
static void put_tile(mia__kernel *k) {
    mia__kernel_add(k,
                    "const TILE = %du;\nconst LANES = %du;\n"
                    "var<workgroup> tile: array<vec2<u32>, TILE>;\n"
                    "fn exchange(stride: u32, local: u32, first: u32, mask: u32, size: u32) {\n"
                    "    for (var t = local; t < TILE / 2u; t += LANES) {\n"
                    "        let i = (t / stride) * stride * 2u + t %% stride;\n"
                    "        let a = tile[i];\n"
                    "        let b = tile[i + stride];\n"
                    "        if (is_after(a, b) == (((first + i) & mask & size) == 0u)) {\n"
                    "            tile[i] = b;\n            tile[i + stride] = a;\n        }\n    }\n"
                    "    workgroupBarrier();\n}\n",
                    TILE, MIA__KERNEL_INVOCATIONS);
}

#define MAIN                                                                                                 \
    "@compute @workgroup_size(%d)\n"                                                                         \
    "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,\n"            \
    "        @builtin(local_invocation_index) local: u32) {\n"                                               \
    "    let number = id.x + id.y * groups.x;\n"

/* --- dispatches --------------------------------------------------------------------------------- */

/* Items of each line, from x or, at a place of scratch, from what other tiles left, sorted by segments of a tile. */
typedef struct tiles {
    bool elements;
    uint64_t items, each, kept; /* of a line, of a segment, and how many of those are left */
    uint64_t tiles;             /* segments of a line */
    uint64_t from, to;          /* pairs */
    uint32_t mask;              /* of the slots' numbers, for directions */
} tiles;

static bool sort_tiles(mia__kernel *k, const geometry *g, const tiles *t) {
    uint64_t segments = g->lines * t->tiles, share = TILE / t->each;
    if (!put_pairs(k) || (t->elements && !put_elements(k))) return false;
    if (t->elements) mia__kernel_key(k, k->step->inputs[0].dtype, false);
    mia__kernel_u32(k, "segments", segments);
    mia__kernel_u32(k, "tiles", t->tiles);
    mia__kernel_u32(k, "items", t->items);
    mia__kernel_u32(k, "kept", t->kept);
    mia__kernel_u32(k, "start", t->from);
    mia__kernel_u32(k, "to", t->to);
    mia__kernel_u32(k, "mask", t->mask);
    put_tile(k);
    if (t->elements)
        mia__kernel_add(
            k,
            "fn item(line: u32, n: u32) -> vec2<u32> { return vec2<u32>(%skey_of(x_value(line, n)), n); }\n",
            g->descending ? "~" : "");
    else
        mia__kernel_put(
            k, "fn item(line: u32, n: u32) -> vec2<u32> { return pair(p.start + line * p.items + n); }\n");
    mia__kernel_add(k,
                    "const EACH = %uu;\n" MAIN "    let first = number * (TILE / EACH);\n"
                    "    for (var s = local; s < TILE; s += LANES) {\n"
                    "        let segment = first + s / EACH;\n"
                    "        let n = segment %% p.tiles * EACH + s %% EACH;\n"
                    "        var v = vec2<u32>(0xffffffffu, 0xffffffffu);\n"
                    "        if (segment < p.segments && n < p.items) { v = item(segment / p.tiles, n); }\n"
                    "        tile[s] = v;\n    }\n"
                    "    workgroupBarrier();\n",
                    (unsigned)t->each, MIA__KERNEL_INVOCATIONS);
    mia__kernel_put(k, "    for (var size = 2u; size <= EACH; size *= 2u) {\n"
                       "        for (var stride = size / 2u; stride > 0u; stride /= 2u) {\n"
                       "            exchange(stride, local, number * TILE, p.mask, size);\n"
                       "        }\n    }\n"
                       "    for (var s = local; s < TILE; s += LANES) {\n"
                       "        let segment = first + s / EACH;\n"
                       "        if (segment < p.segments && s % EACH < p.kept) {\n"
                       "            leave_pair(p.to + segment * p.kept + s % EACH, tile[s]);\n"
                       "        }\n    }\n}\n");
    return mia__kernel_end_flat(k, (segments + share - 1) / share);
}

/* One step of the network between pairs that are at least a tile apart. */
static bool exchange_far(mia__kernel *k, const geometry *g, uint64_t size, uint64_t stride) {
    uint64_t halves = g->lines * g->padded / 2;
    if (!put_pairs(k)) return false;
    mia__kernel_u32(k, "mask", g->padded - 1);
    mia__kernel_u32(k, "size", size);
    mia__kernel_u32(k, "stride", stride);
    mia__kernel_u32(k, "halves", halves);
    mia__kernel_add(k,
                    MAIN "    let t = number * %du + local;\n"
                         "    if (t >= p.halves) { return; }\n"
                         "    let i = (t / p.stride) * p.stride * 2u + t %% p.stride;\n"
                         "    let a = pair(i);\n    let b = pair(i + p.stride);\n"
                         "    if (is_after(a, b) == ((i & p.mask & p.size) == 0u)) {\n"
                         "        leave_pair(i, b);\n        leave_pair(i + p.stride, a);\n    }\n}\n",
                    MIA__KERNEL_INVOCATIONS, MIA__KERNEL_INVOCATIONS);
    return mia__kernel_end_flat(k, (halves + MIA__KERNEL_INVOCATIONS - 1) / MIA__KERNEL_INVOCATIONS);
}

/* The steps within tiles that end a round of the network. */
static bool exchange_near(mia__kernel *k, const geometry *g, uint64_t size) {
    if (!put_pairs(k)) return false;
    mia__kernel_u32(k, "mask", g->padded - 1);
    mia__kernel_u32(k, "size", size);
    mia__kernel_u32(k, "tiles", g->lines * g->padded / TILE);
    put_tile(k);
    mia__kernel_add(k,
                    MAIN
                    "    if (number >= p.tiles) { return; }\n"
                    "    let first = number * TILE;\n"
                    "    for (var s = local; s < TILE; s += LANES) { tile[s] = pair(first + s); }\n"
                    "    workgroupBarrier();\n"
                    "    for (var stride = TILE / 2u; stride > 0u; stride /= 2u) {\n"
                    "        exchange(stride, local, first, p.mask, p.size);\n    }\n"
                    "    for (var s = local; s < TILE; s += LANES) { leave_pair(first + s, tile[s]); }\n}\n",
                    MIA__KERNEL_INVOCATIONS);
    return mia__kernel_end_flat(k, g->lines * g->padded / TILE);
}

/* What the order says: pairs of a line follow each other, `pitch` a line. */
static bool put_in_order(mia__kernel *k, const geometry *g, uint64_t from, uint64_t pitch) {
    const char *type = mia__kernel_type(k->step->output.dtype);
    if (!mia__kernel_output(k) || !put_pairs(k) || (!g->places && !put_elements(k))) return false;
    mia__kernel_u32(k, "inner", g->inner);
    mia__kernel_u32(k, "kept", g->kept);
    mia__kernel_u32(k, "start", from);
    mia__kernel_u32(k, "pitch", pitch);
    mia__kernel_add(k,
                    "fn value(i: u32) -> %s {\n"
                    "    let column = i / p.inner;\n"
                    "    let line = column / p.kept * p.inner + i %% p.inner;\n"
                    "    let place = pair(p.start + line * p.pitch + column %% p.kept).y;\n"
                    "    return %s;\n}\n",
                    type, g->places ? "i32(place)" : "x_value(line, place)");
    return mia__kernel_map(k);
}

/* --- ways --------------------------------------------------------------------------------------- */

static bool select_first(mia__kernel *k, const geometry *g) {
    tiles t = {.elements = true,
               .items = g->length,
               .each = TILE,
               .kept = g->kept,
               .tiles = tiles_of(g->length),
               .mask = TILE - 1};
    uint64_t second = first_pairs(g);
    for (;;) {
        if (!sort_tiles(k, g, &t)) return false;
        if (t.tiles == 1) return put_in_order(k, g, t.to, g->kept);
        t = (tiles){.items = t.tiles * g->kept,
                    .tiles = tiles_of(t.tiles * g->kept),
                    .each = TILE,
                    .kept = g->kept,
                    .from = t.to,
                    .to = t.to == 0 ? second : 0,
                    .mask = TILE - 1};
    }
}

static bool sort_long(mia__kernel *k, const geometry *g) {
    const tiles t = {.elements = true,
                     .items = g->length,
                     .each = TILE,
                     .kept = TILE,
                     .tiles = g->padded / TILE,
                     .mask = (uint32_t)(g->padded - 1)};
    if (!sort_tiles(k, g, &t)) return false;
    for (uint64_t size = 2 * TILE; size <= g->padded; size *= 2) {
        for (uint64_t stride = size / 2; stride >= TILE; stride /= 2)
            if (!exchange_far(k, g, size, stride)) return false;
        if (!exchange_near(k, g, size)) return false;
    }
    return put_in_order(k, g, 0, g->padded);
}

bool mia__kernel_sort(mia__kernel *k) {
    const geometry g = geometry_of(k->step);
    if (mia__view_count(&k->step->output.view) == 0) return true;
    if (g.lines * g.padded > UINT32_MAX / 2)
        return mia__kernel_refuse(k, "it has more than 2^31 elements to sort");
    if (g.selects) return select_first(k, &g);
    if (g.padded > TILE) return sort_long(k, &g);
    const tiles t = {.elements = true,
                     .items = g.length,
                     .each = g.padded,
                     .kept = g.kept,
                     .tiles = 1,
                     .mask = (uint32_t)(g.padded - 1)};
    return sort_tiles(k, &g, &t) && put_in_order(k, &g, 0, g.kept);
}
