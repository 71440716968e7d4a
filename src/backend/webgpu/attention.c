/* Grouped-query attention over a cache (reference/attention.c has its meaning), with the softmax made along the way.
 *
 * The heads that share a group's keys and values, of all queries, are that group's rows, query after query:
 *
 *     row = query * heads of a group + head within it
 *
 * A workgroup takes ROWS of them over a range of keys, LANES keys at a time. In the first half of such a step a lane has a
 * key, and multiplies it by every row's query; in the second it has 4 numbers of the values' rows, in every so-many-th key,
 * and adds them up by weight. Where rows are few, the keys are cut into ranges of their own workgroups, which leave what they
 * come to in scratch, and a second dispatch joins them. */
#include "backend/webgpu/attention.h"
#include "backend/webgpu/families.h"
#include "backend/webgpu/scratch.h"

#include <stdio.h>

#define LANES       128
#define MOST_ROWS   16 /* of a processor half, which takes long to compile so much */
#define MOST_SPLITS 64
#define WORKGROUPS  512 /* that keep a GPU busy */
#define SHARES      8   /* lanes that bring a row's numbers together */

static uint64_t workgroup_bytes(const mia__attention *g, uint32_t rows, bool query_held) {
    return (query_held ? (uint64_t)rows * g->d4 * 16 : 0) + (uint64_t)LANES * rows * 4 + LANES * 16 +
           (uint64_t)rows * (SHARES * 4 + 16) + 64;
}

static void tiles_of(mia__attention *g, const mia__gpu_info *info) {
    while (g->rows_at_once < (info->processor ? MOST_ROWS / 2 : MOST_ROWS) && g->rows_at_once < g->rows &&
           workgroup_bytes(g, g->rows_at_once * 2, true) <= info->limits.workgroup_bytes)
        g->rows_at_once *= 2;
    g->query_held = workgroup_bytes(g, g->rows_at_once, true) <= info->limits.workgroup_bytes;
    g->columns = g->e4 < LANES ? g->e4 : LANES;
    g->slices = LANES / g->columns;
    g->blocks = (g->e4 + LANES - 1) / LANES;
    g->tiles = (g->rows + g->rows_at_once - 1) / g->rows_at_once;
    uint64_t workgroups = g->tiles * g->blocks * g->groups, steps = (g->held + LANES - 1) / LANES;
    while (g->splits < MOST_SPLITS && g->splits * 2 * workgroups <= WORKGROUPS && g->splits * 2 <= steps)
        g->splits *= 2;
}

mia__attention mia__attention_of(const mia__gpu_info *info, const mia__step *step) {
    const mia__view *q = &step->inputs[0].view, *k = &step->inputs[1].view;
    mia__attention g = {.d = (uint64_t)q->extent[0],
                        .e = (uint64_t)step->output.view.extent[0],
                        .heads = (uint64_t)q->extent[1],
                        .queries = (uint64_t)q->extent[2],
                        .held = (uint64_t)k->extent[1],
                        .groups = (uint64_t)k->extent[2],
                        .rows_at_once = 1,
                        .splits = 1};
    if (g.groups == 0 || g.e == 0) return g;
    g.fellows = g.heads / g.groups;
    g.rows = g.fellows * g.queries;
    g.d4 = (uint32_t)((g.d + 3) / 4);
    g.e4 = (uint32_t)((g.e + 3) / 4);
    g.few = mia__attention_few_of(&g, info);
    if (!g.few) tiles_of(&g, info);
    g.direct = g.splits == 1 && g.e % 4 == 0;
    return g;
}

size_t mia__attention_scratch(const mia__gpu_info *info, const mia__step *step) {
    const mia__attention g = mia__attention_of(info, step);
    if (g.groups == 0 || g.e == 0 || g.direct) return 0;
    return (size_t)(g.splits * g.heads * g.queries) * (g.e4 + 1) * 4 * sizeof(float);
}

/* --- numbers of all rows side by side ----------------------------------------------------------- */

/* A lane has a number of each row: of those in workgroup memory they lie in one piece, `PACK` of them a vector. */
static uint32_t pack_of(const mia__attention *g) {
    return g->rows_at_once < 4 ? g->rows_at_once : 4;
}

static void put_packs(mia__kernel *k, const mia__attention *g) {
    static const char *const types[] = {"", "f32", "vec2<f32>", "", "vec4<f32>"};
    uint32_t pack = pack_of(g);
    mia__kernel_add(k, "var<workgroup> numbers: array<%s, %uu>;\n", types[pack],
                    LANES * g->rows_at_once / pack);
    mia__kernel_add(k,
                    "fn number(lane: u32, row: u32) -> f32 { return numbers[lane * %uu + row / %uu]%s; }\n",
                    g->rows_at_once / pack, pack,
                    pack == 1   ? ""
                    : pack == 2 ? "[row % 2u]"
                                : "[row % 4u]");
}

/* numbers of lane `local` = <name>0, <name>1, ... */
static void put_store(mia__kernel *k, const mia__attention *g, const char *name) {
    uint32_t pack = pack_of(g), packs = g->rows_at_once / pack;
    for (uint32_t i = 0; i < packs; i++) {
        mia__kernel_add(k, "        numbers[local * %uu + %uu] = ", packs, i);
        if (pack > 1) mia__kernel_add(k, "vec%u<f32>(", pack);
        for (uint32_t j = 0; j < pack; j++)
            mia__kernel_add(k, "%s%s%u", j > 0 ? ", " : "", name, i * pack + j);
        mia__kernel_put(k, pack > 1 ? ");\n" : ";\n");
    }
}

#define EACH(m) for (uint32_t m = 0; m < g->rows_at_once; m++)

/* --- steps over the keys ------------------------------------------------------------------------ */

/* score<m>: LOWEST where a row does not see the lane's key. */
static void put_scores(mia__kernel *k, const mia__attention *g) {
    bool masked = k->step->op == MIA_OP_attention_masked;
    EACH(m) mia__kernel_add(k, "        var score%u = 0.0;\n", m);
    /* not unrolled where that takes a compiler long */
    if (k->info.processor) mia__kernel_u32(k, "d4", g->d4);
    mia__kernel_add(k, "        let depth = %s;\n", k->info.processor ? "p.d4" : "D4");
    mia__kernel_put(k, "        let key = first + local;\n"
                       "        if (key < end) {\n"
                       "            let at = k_row(key, group);\n"
                       "            for (var d = 0u; d < depth; d++) {\n"
                       "                let x = k_four(at, d * 4u);\n");
    EACH(m) mia__kernel_add(k, "                score%u += dot(query(tile, group, %uu, d), x);\n", m, m);
    mia__kernel_put(k, "            }\n        }\n");
    EACH(m) {
        if (masked)
            mia__kernel_add(
                k,
                "        {\n            let mask = mask_get(mask_at[%u] + min(key, p.held - 1u) * "
                "p.mask_key);\n"
                "            score%u = masked(score%u, mask);\n"
                "        }\n",
                m, m, m);
        mia__kernel_add(k, "        score%u = select(LOWEST, score%u, key < min(end, limit[%u]));\n", m, m,
                        m);
    }
}

/* top<m>: the greatest score so far. Atomics on numbers whose order is that of the scores: the greatest is the same in
 * whatever order they come. */
static void put_tops(mia__kernel *k, const mia__attention *g) {
    if (mia__kernel_has(k, MIA__GPU_SUBGROUPS)) {
        mia__kernel_enable(k, "enable subgroups;");
        EACH(m)
        mia__kernel_add(k,
                        "        { let most = subgroupMax(score%u); if (subgroupElect()) { "
                        "atomicMax(&top[%u], ordered(most)); } }\n",
                        m, m);
    } else {
        put_store(k, g, "score");
        mia__kernel_put(k, "        workgroupBarrier();\n"
                           "        if (local < ROWS * SHARES) {\n"
                           "            let row = local / SHARES;\n"
                           "            var most = LOWEST;\n"
                           "            for (var i = local % SHARES; i < LANES; i += SHARES) { most = "
                           "max(most, number(i, row)); }\n"
                           "            atomicMax(&top[row], ordered(most));\n"
                           "        }\n");
    }
    mia__kernel_put(k, "        workgroupBarrier();\n");
}

/* The weights, and what was summed under lower tops brought down. */
static void put_weights(mia__kernel *k, const mia__attention *g) {
    EACH(m)
    mia__kernel_add(
        k,
        "        let next%u = number_of(atomicLoad(&top[%u]));\n"
        "        let shrink%u = select(exp(top%u - next%u), 0.0, top%u <= LOWEST);\n"
        "        let weight%u = select(exp(score%u - next%u), 0.0, score%u <= LOWEST);\n"
        "        sum%u = sum%u * shrink%u + weight%u;\n        top%u = next%u;\n        all%u *= shrink%u;\n",
        m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m);
    put_store(k, g, "weight");
    mia__kernel_put(k, "        workgroupBarrier();\n");
}

static void put_values(mia__kernel *k, const mia__attention *g) {
    uint32_t pack = pack_of(g), packs = g->rows_at_once / pack;
    mia__kernel_put(k, "        if (works) {\n"
                       "            let count = min(end - first, LANES);\n"
                       "            for (var i = slice; i < count; i += SLICES) {\n"
                       "                let x = v_four(v_row(first + i, group), column * 4u);\n");
    for (uint32_t i = 0; i < packs; i++) {
        mia__kernel_add(k, "                let w%u = numbers[i * %uu + %uu];\n", i, packs, i);
        for (uint32_t j = 0; j < pack; j++)
            mia__kernel_add(k, "                all%u += x * w%u%s;\n", i * pack + j, i,
                            pack == 1 ? ""
                            : j == 0  ? ".x"
                            : j == 1  ? ".y"
                            : j == 2  ? ".z"
                                      : ".w");
    }
    mia__kernel_put(k, "            }\n        }\n        workgroupBarrier();\n");
}

/* --- the end ------------------------------------------------------------------------------------ */

/* sums[row * SHARES + ...]: shares of each row's sum of weights. */
static void put_sums(mia__kernel *k, const mia__attention *g) {
    mia__kernel_put(k, "    {\n");
    put_store(k, g, "sum");
    mia__kernel_put(k, "    }\n"
                       "    workgroupBarrier();\n"
                       "    if (local < ROWS * SHARES) {\n"
                       "        var some = 0.0;\n"
                       "        for (var i = local % SHARES; i < LANES; i += SHARES) { some += number(i, "
                       "local / SHARES); }\n"
                       "        sums[local] = some;\n"
                       "    }\n"
                       "    workgroupBarrier();\n");
}

static void put_results(mia__kernel *k, const mia__attention *g) {
    EACH(m) {
        mia__kernel_add(k, "    room[local] = all%u;\n    workgroupBarrier();\n", m);
        mia__kernel_add(
            k,
            "    if (works && slice == 0u && tile * ROWS + %uu < p.rows) {\n"
            "        var x = room[local];\n"
            "        for (var i = 1u; i < p.slices; i++) { x += room[i * COLUMNS + local]; }\n"
            "        var sum = 0.0;\n"
            "        for (var i = 0u; i < SHARES; i++) { sum += sums[%uu * SHARES + i]; }\n"
            "        let row = tile * ROWS + %uu;\n"
            "        let line = (row / p.fellows) * p.heads + group * p.fellows + row %% p.fellows;\n"
            "        leave(id.x, line, column, x, top%u, sum);\n"
            "    }\n    workgroupBarrier();\n",
            m, m, m, m);
    }
}

/* --- dispatches --------------------------------------------------------------------------------- */

static void put_query(mia__kernel *k, const mia__attention *g) {
    mia__kernel_put(k,
                    "fn query_of(tile: u32, group: u32, m: u32, d: u32) -> vec4<f32> {\n"
                    "    let row = min(tile * ROWS + m, p.rows - 1u);\n"
                    "    return q_four(q_row(group * p.fellows + row % p.fellows, row / p.fellows), d * 4u) "
                    "* p.scale;\n}\n");
    if (g->query_held)
        mia__kernel_put(
            k, "var<workgroup> held: array<vec4<f32>, ROWS * D4>;\n"
               "fn query(tile: u32, group: u32, m: u32, d: u32) -> vec4<f32> { return held[m * D4 + d]; }\n");
    else
        mia__kernel_put(k, "fn query(tile: u32, group: u32, m: u32, d: u32) -> vec4<f32> {\n"
                           "    return query_of(tile, group, m, d);\n}\n");
}

static void put_start(mia__kernel *k, const mia__attention *g) {
    bool masked = k->step->op == MIA_OP_attention_masked;
    const mia__kernel_grid grid = {g->splits, g->tiles * g->blocks, g->groups};
    mia__kernel_main(k, grid, LANES, "@builtin(local_invocation_index) local: u32");
    mia__kernel_put(k, "    let tile = id.y % p.tiles;\n"
                       "    let column = id.y / p.tiles * COLUMNS + local % COLUMNS;\n"
                       "    let slice = local / COLUMNS;\n"
                       "    let works = slice < SLICES && column < E4;\n"
                       "    let group = id.z;\n");
    if (g->query_held)
        mia__kernel_put(k, "    for (var i = local; i < ROWS * D4; i += LANES) { held[i] = query_of(tile, "
                           "group, i / D4, i % D4); }\n");
    mia__kernel_put(k, "    if (local < ROWS) {\n"
                       "        let row = tile * ROWS + local;\n"
                       "        limit[local] = select(0u, visible(row / p.fellows), row < p.rows);\n"
                       "        atomicStore(&top[local], ordered(LOWEST));\n");
    if (masked)
        mia__kernel_put(k, "        let within = min(row, p.rows - 1u);\n"
                           "        mask_at[local] = mask_row(group * p.fellows + within % p.fellows, within "
                           "/ p.fellows);\n");
    mia__kernel_put(k, "    }\n"
                       "    if (local == 0u) { most_visible = visible(min(tile * ROWS + ROWS - 1u, p.rows - "
                       "1u) / p.fellows); }\n"
                       "    let most = workgroupUniformLoad(&most_visible);\n"
                       "    let range = (most + SPLITS * LANES - 1u) / (SPLITS * LANES) * LANES;\n"
                       "    let begin = min(id.x * range, most);\n"
                       "    let end = min(begin + range, most);\n");
    EACH(m)
    mia__kernel_add(k, "    var top%u = LOWEST;\n    var sum%u = 0.0;\n    var all%u = vec4<f32>();\n", m, m,
                    m);
}

static bool attend(mia__kernel *k, const mia__attention *g) {
    if (!mia__attention_operands(k, g) || !mia__attention_leave(k, g)) return false;
    mia__kernel_u32(k, "slices", g->slices);
    mia__kernel_u32(k, "tiles", g->tiles);
    mia__kernel_u32(k, "d4", g->d4); /* not unrolled where that takes a compiler long */
    mia__kernel_u32(k, "slices", g->slices);
    mia__kernel_add(k,
                    "const LANES = %uu;\nconst ROWS = %uu;\nconst COLUMNS = %uu;\nconst SLICES = %uu;\n"
                    "const SHARES = %uu;\n",
                    LANES, g->rows_at_once, g->columns, g->slices, SHARES);
    put_query(k, g);
    put_packs(k, g);
    mia__kernel_put(k, "var<workgroup> room: array<vec4<f32>, LANES>;\n"
                       "var<workgroup> sums: array<f32, ROWS * SHARES>;\n"
                       "var<workgroup> limit: array<u32, ROWS>;\n"
                       "var<workgroup> mask_at: array<u32, ROWS>;\n"
                       "var<workgroup> top: array<atomic<u32>, ROWS>;\n"
                       "var<workgroup> most_visible: u32;\n"
                       "fn ordered(x: f32) -> u32 {\n"
                       "    let b = bitcast<u32>(x);\n"
                       "    return select(b | 0x80000000u, ~b, b >> 31u != 0u);\n}\n"
                       "fn number_of(o: u32) -> f32 {\n"
                       "    return bitcast<f32>(select(~o, o & 0x7fffffffu, o >> 31u != 0u));\n}\n");
    put_start(k, g);
    mia__kernel_put(k, "    for (var first = begin; first < end; first += LANES) {\n");
    put_scores(k, g);
    put_tops(k, g);
    put_weights(k, g);
    put_values(k, g);
    mia__kernel_put(k, "    }\n");
    put_sums(k, g);
    put_results(k, g);
    mia__kernel_put(k, "}\n");
    double work = (double)(g->heads * g->queries) * (double)g->held * (double)(g->d + g->e);
    k->nanoseconds = 5000 + work / 4000;
    return mia__kernel_end_grid(k);
}

/* The ranges of keys brought together. */
static bool join(mia__kernel *k, const mia__attention *g) {
    uint32_t slot;
    if (!mia__kernel_output(k) || !mia__kernel_bind(k, k->step->scratch, "vec4<f32>", false, &slot))
        return false;
    mia__kernel_u32(k, "lines", g->heads * g->queries);
    mia__kernel_add(k,
                    "const SPLITS = %uu;\nconst E = %uu;\nconst E4 = %uu;\n"
                    "fn value(i: u32) -> f32 {\n"
                    "    let line = i / E;\n    let e = i %% E;\n"
                    "    var tails: array<vec2<f32>, SPLITS>;\n"
                    "    var most = -0x1.fffffep127f;\n"
                    "    for (var s = 0u; s < SPLITS; s++) {\n"
                    "        let tail = b%u[(s * p.lines + line) * (E4 + 1u) + E4].xy;\n"
                    "        most = max(most, tail.x);\n        tails[s] = tail;\n    }\n"
                    "    var sum = 0.0;\n    var all = 0.0;\n"
                    "    for (var s = 0u; s < SPLITS; s++) {\n"
                    "        let weight = select(exp(tails[s].x - most), 0.0, tails[s].y == 0.0);\n"
                    "        sum += tails[s].y * weight;\n"
                    "        all += b%u[(s * p.lines + line) * (E4 + 1u) + e / 4u][e %% 4u] * weight;\n"
                    "    }\n"
                    "    return select(all / sum, 0.0, sum == 0.0);\n}\n",
                    g->splits, (uint32_t)g->e, g->e4, slot, slot);
    return mia__kernel_map(k);
}

bool mia__kernel_attention(mia__kernel *k) {
    mia__attention g = mia__attention_of(&k->info, k->step);
    if (mia__view_count(&k->step->output.view) == 0) return true;
    if (g.d == 0) return mia__kernel_refuse(k, "heads of no elements have no kernel there");
    if (g.held == 0) {
        mia__kernel_put(k, "fn value(i: u32) -> f32 { return 0.0; }\n");
        return mia__kernel_output(k) && mia__kernel_map(k);
    }
    if (!g.few && mia__attention_matrices_take(k, &g)) {
        g.splits = 1;
        g.direct = true;
        return mia__attention_matrices(k, &g);
    }
    return (g.few ? mia__attention_few(k, &g) : attend(k, &g)) && (g.direct || join(k, &g));
}
