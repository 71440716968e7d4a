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
#include "backend/webgpu/families.h"
#include "backend/webgpu/scratch.h"

#include <stdio.h>

#define LANES       128
#define MOST_ROWS   16 /* of a processor half, which takes long to compile so much */
#define MOST_SPLITS 64
#define WORKGROUPS  512 /* that keep a GPU busy */
#define SHARES      8   /* lanes that bring a row's numbers together */

typedef struct geometry {
    uint64_t d, e, heads, queries, held, groups, rows; /* rows of a group */
    uint32_t d4, e4;                                   /* in fours, rounded up */
    uint32_t rows_at_once, columns, slices,
        blocks; /* of the values' fours: lanes, lanes deep, and workgroups */
    uint64_t tiles;
    uint32_t splits;
    bool query_held; /* in workgroup memory */
    bool direct;     /* one dispatch, which writes the result */
} geometry;

static uint64_t workgroup_bytes(const geometry *g, uint32_t rows, bool query_held) {
    return (query_held ? (uint64_t)rows * g->d4 * 16 : 0) + (uint64_t)LANES * rows * 4 + LANES * 16 +
           (uint64_t)rows * (SHARES * 4 + 16) + 64;
}

static geometry geometry_of(const mia__gpu_info *info, const mia__step *step) {
    const mia__view *q = &step->inputs[0].view, *k = &step->inputs[1].view;
    geometry g = {.d = (uint64_t)q->extent[0],
                  .e = (uint64_t)step->output.view.extent[0],
                  .heads = (uint64_t)q->extent[1],
                  .queries = (uint64_t)q->extent[2],
                  .held = (uint64_t)k->extent[1],
                  .groups = (uint64_t)k->extent[2],
                  .rows_at_once = 1,
                  .query_held = true};
    if (g.groups == 0 || g.e == 0) return g;
    g.rows = g.heads / g.groups * g.queries;
    g.d4 = (uint32_t)((g.d + 3) / 4);
    g.e4 = (uint32_t)((g.e + 3) / 4);
    while (g.rows_at_once < (info->processor ? MOST_ROWS / 2 : MOST_ROWS) && g.rows_at_once < g.rows &&
           workgroup_bytes(&g, g.rows_at_once * 2, true) <= info->limits.workgroup_bytes)
        g.rows_at_once *= 2;
    g.query_held = workgroup_bytes(&g, g.rows_at_once, true) <= info->limits.workgroup_bytes;
    g.columns = g.e4 < LANES ? g.e4 : LANES;
    g.slices = LANES / g.columns;
    g.blocks = (g.e4 + LANES - 1) / LANES;
    g.tiles = (g.rows + g.rows_at_once - 1) / g.rows_at_once;
    uint64_t workgroups = g.tiles * g.blocks * g.groups, steps = (g.held + LANES - 1) / LANES;
    uint64_t splits = workgroups > 0 ? WORKGROUPS / workgroups : 1;
    if (splits > steps) splits = steps;
    g.splits = splits < 1 ? 1 : splits > MOST_SPLITS ? MOST_SPLITS : (uint32_t)splits;
    g.direct = g.splits == 1 && g.e % 4 == 0;
    return g;
}

size_t mia__attention_scratch(const mia__gpu_info *info, const mia__step *step) {
    const geometry g = geometry_of(info, step);
    if (g.groups == 0 || g.e == 0 || g.direct) return 0;
    return (size_t)(g.splits * g.heads * g.queries) * (g.e4 * 4 + 2) * sizeof(float);
}

/* --- operands ----------------------------------------------------------------------------------- */

/* Whether every row of 4 numbers lies in one piece, where pieces of 4 begin. */
static bool in_fours(const mia__operand *operand) {
    const mia__view *view = &operand->view;
    return view->extent[0] % 4 == 0 && view->stride[0] == 1 && view->offset % 4 == 0 &&
           view->stride[1] % 4 == 0 && view->stride[2] % 4 == 0;
}

/* A buffer is bound as pieces of one size only. */
static bool may_be_in_fours(const mia__step *step, uint32_t input) {
    for (uint32_t i = 0; i < step->input_count; i++)
        if (i != input && step->inputs[i].buffer == step->inputs[input].buffer) return false;
    return in_fours(&step->inputs[input]);
}

/* fn <name>_four(row: u32, i: u32) -> vec4<f32>: numbers i .. i + 3 of the row that begins there, zeros past its end; and
 * fn <name>_row(index, other) -> u32: where one begins. */
static bool put_rows(mia__kernel *k, const char *name, uint32_t input) {
    const mia__operand *operand = &k->step->inputs[input];
    uint32_t slot;
    mia__kernel_view(k, name, &operand->view);
    mia__kernel_add(k, "fn %s_row(a: u32, b: u32) -> u32 { return p.%s_o + a * p.%s_s1 + b * p.%s_s2; }\n",
                    name, name, name, name);
    if (!may_be_in_fours(k->step, input)) {
        if (!mia__kernel_words(k, name, operand->buffer)) return false;
        mia__kernel_get(k, name, operand->dtype);
        mia__kernel_add(
            k,
            "fn %s_one(row: u32, i: u32) -> f32 {\n"
            "    return select(0.0, %s_get(row + min(i, p.%s_e0 - 1u) * p.%s_s0), i < p.%s_e0);\n}\n"
            "fn %s_four(row: u32, i: u32) -> vec4<f32> {\n"
            "    return vec4<f32>(%s_one(row, i), %s_one(row, i + 1u), %s_one(row, i + 2u), "
            "%s_one(row, i + 3u));\n}\n",
            name, name, name, name, name, name, name, name, name, name);
        return true;
    }
    bool wide = operand->dtype == MIA_f32;
    if (!mia__kernel_bind(k, operand->buffer, wide ? "vec4<u32>" : "vec2<u32>", false, &slot)) return false;
    mia__kernel_add(
        k,
        "fn %s_four(row: u32, i: u32) -> vec4<f32> {\n    let w = b%u[(row + i) >> 2u];\n    return %s;\n}\n",
        name, slot,
        wide ? "bitcast<vec4<f32>>(w)"
        : operand->dtype == MIA_f16
            ? "vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y))"
            : "bitcast<vec4<f32>>(vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u))");
    return true;
}

/* fn mask_row(head, query) -> u32: the mask of key 0. */
static bool put_mask(mia__kernel *k) {
    const mia__operand *mask = &k->step->inputs[3];
    if (!mia__kernel_words(k, "mask", mask->buffer)) return false;
    mia__kernel_get(k, "mask", mask->dtype);
    uint64_t strides[3] = {0, 0, 0};
    for (uint32_t m = 0; m < mask->view.ndim && m < 3; m++)
        if (mask->view.extent[m] > 1) strides[m] = (uint64_t)mask->view.stride[m];
    mia__kernel_u32(k, "mask_o", (uint64_t)mask->view.offset);
    mia__kernel_u32(k, "mask_key", strides[0]);
    mia__kernel_u32(k, "mask_query", strides[1]);
    mia__kernel_u32(k, "mask_head", strides[2]);
    mia__kernel_put(k, "fn mask_row(head: u32, query: u32) -> u32 {\n"
                       "    return p.mask_o + head * p.mask_head + query * p.mask_query;\n}\n");
    return true;
}

static bool put_operands(mia__kernel *k, const geometry *g) {
    const mia__step *step = k->step;
    bool masked = step->op == MIA_OP_attention_masked;
    if (!put_rows(k, "q", 0) || !put_rows(k, "k", 1) || !put_rows(k, "v", 2) ||
        !mia__kernel_input(k, "length", &step->inputs[step->input_count - 1]) || (masked && !put_mask(k)))
        return false;
    mia__kernel_u32(k, "d4", g->d4); /* not unrolled where that takes a compiler long */
    mia__kernel_u32(k, "slices", g->slices);
    mia__kernel_u32(k, "rows", g->rows);
    mia__kernel_u32(k, "queries", g->queries);
    mia__kernel_u32(k, "heads", g->heads);
    mia__kernel_u32(k, "fellows", g->heads / g->groups);
    mia__kernel_u32(k, "held", g->held);
    mia__kernel_u32(k, "tiles", g->tiles);
    mia__kernel_u32(k, "splits", g->splits);
    mia__kernel_f32(k, "scale", step->attributes.f[0]);
    mia__kernel_add(k,
                    "const LANES = %uu;\nconst ROWS = %uu;\nconst D4 = %uu;\nconst E4 = %uu;\n"
                    "const COLUMNS = %uu;\nconst SLICES = %uu;\nconst SHARES = %uu;\n"
                    "const LOWEST = -0x1.fffffep127f;\n",
                    LANES, g->rows_at_once, g->d4, g->e4, g->columns, g->slices, SHARES);
    mia__kernel_add(k,
                    "fn visible(query: u32) -> u32 {\n"
                    "    let rows = length_get(length_at(0u))%s;\n"
                    "    return u32(clamp(rows, 0, i32(p.held)));\n}\n",
                    masked ? "" : " + i32(query) + 1 - i32(p.queries)");
    return true;
}

/* --- numbers of all rows side by side ----------------------------------------------------------- */

/* A lane has a number of each row: of those in workgroup memory they lie in one piece, `PACK` of them a vector. */
static uint32_t pack_of(const geometry *g) {
    return g->rows_at_once < 4 ? g->rows_at_once : 4;
}

static void put_packs(mia__kernel *k, const geometry *g) {
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
static void put_store(mia__kernel *k, const geometry *g, const char *name) {
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
static void put_scores(mia__kernel *k, const geometry *g) {
    bool masked = k->step->op == MIA_OP_attention_masked;
    EACH(m) mia__kernel_add(k, "        var score%u = 0.0;\n", m);
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
                "            score%u = select(score%u + mask, LOWEST, bitcast<u32>(mask) == 0xff800000u);\n"
                "        }\n",
                m, m, m);
        mia__kernel_add(k, "        score%u = select(LOWEST, score%u, key < min(end, limit[%u]));\n", m, m,
                        m);
    }
}

/* top<m>: the greatest score so far. Atomics on numbers whose order is that of the scores: the greatest is the same in
 * whatever order they come. */
static void put_tops(mia__kernel *k, const geometry *g) {
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
static void put_weights(mia__kernel *k, const geometry *g) {
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

static void put_values(mia__kernel *k, const geometry *g) {
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
static void put_sums(mia__kernel *k, const geometry *g) {
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

/* fn leave(...): writes 4 numbers of a row, sums as they are or, alone, by what they are divided by. */
static bool put_leave(mia__kernel *k, const geometry *g) {
    mia__kernel_put(k,
                    "fn leave(split: u32, line: u32, column: u32, x: vec4<f32>, top_of: f32, sum: f32) {\n");
    if (g->direct) {
        mia__kernel_add(k,
                        "    let y = select(x / sum, vec4<f32>(), sum == 0.0);\n    let w = (line * E4 + "
                        "column) * %uu;\n",
                        k->step->output.dtype == MIA_f32 ? 4u : 2u);
        mia__kernel_put(k, k->step->output.dtype == MIA_f32
                               ? "    out_put(w, y.x); out_put(w + 1u, y.y); out_put(w + 2u, y.z); out_put(w "
                                 "+ 3u, y.w);\n}\n"
                               : "    out_put(w, y.x, y.y); out_put(w + 1u, y.z, y.w);\n}\n");
        return true;
    }
    uint32_t slot;
    if (!mia__kernel_bind(k, k->step->scratch, "f32", true, &slot)) return false;
    mia__kernel_add(k,
                    "    let part = split * p.heads * p.queries + line;\n"
                    "    let at = (part * E4 + column) * 4u;\n"
                    "    b%u[at] = x.x; b%u[at + 1u] = x.y; b%u[at + 2u] = x.z; b%u[at + 3u] = x.w;\n"
                    "    if (column == 0u) {\n"
                    "        let tail = p.splits * p.heads * p.queries * E4 * 4u + part * 2u;\n"
                    "        b%u[tail] = top_of;\n        b%u[tail + 1u] = sum;\n    }\n}\n",
                    slot, slot, slot, slot, slot, slot);
    return true;
}

static void put_results(mia__kernel *k, const geometry *g) {
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

static void put_query(mia__kernel *k, const geometry *g) {
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

static void put_start(mia__kernel *k, const geometry *g) {
    bool masked = k->step->op == MIA_OP_attention_masked;
    mia__kernel_put(
        k, "@compute @workgroup_size(LANES)\n"
           "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {\n"
           "    let tile = id.y % p.tiles;\n"
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
                       "    let range = (most + p.splits * LANES - 1u) / (p.splits * LANES) * LANES;\n"
                       "    let begin = min(id.x * range, most);\n"
                       "    let end = min(begin + range, most);\n");
    EACH(m)
    mia__kernel_add(k, "    var top%u = LOWEST;\n    var sum%u = 0.0;\n    var all%u = vec4<f32>();\n", m, m,
                    m);
}

static bool attend(mia__kernel *k, const geometry *g) {
    if (!put_operands(k, g) || (g->direct && !mia__kernel_output(k)) || !put_leave(k, g)) return false;
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
    return mia__kernel_end(k, g->splits, g->tiles * g->blocks, g->groups);
}

/* The ranges of keys brought together. */
static bool join(mia__kernel *k, const geometry *g) {
    uint32_t slot;
    if (!mia__kernel_output(k) || !mia__kernel_bind(k, k->step->scratch, "f32", false, &slot)) return false;
    mia__kernel_u32(k, "splits", g->splits);
    mia__kernel_u32(k, "lines", g->heads * g->queries);
    mia__kernel_u32(k, "e", g->e);
    mia__kernel_u32(k, "pitch", g->e4 * 4);
    mia__kernel_add(k,
                    "fn value(i: u32) -> f32 {\n"
                    "    let line = i / p.e;\n"
                    "    let tail = p.splits * p.lines * p.pitch;\n"
                    "    var most = -0x1.fffffep127f;\n"
                    "    for (var s = 0u; s < p.splits; s++) { most = max(most, b%u[tail + (s * p.lines + "
                    "line) * 2u]); }\n"
                    "    var sum = 0.0;\n    var all = 0.0;\n"
                    "    for (var s = 0u; s < p.splits; s++) {\n"
                    "        let part = s * p.lines + line;\n"
                    "        let some = b%u[tail + part * 2u + 1u];\n"
                    "        if (some == 0.0) { continue; }\n"
                    "        let weight = exp(b%u[tail + part * 2u] - most);\n"
                    "        sum += some * weight;\n"
                    "        all += b%u[part * p.pitch + i %% p.e] * weight;\n"
                    "    }\n"
                    "    return select(all / sum, 0.0, sum == 0.0);\n}\n",
                    slot, slot, slot, slot);
    return mia__kernel_map(k);
}

bool mia__kernel_attention(mia__kernel *k) {
    const geometry g = geometry_of(&k->info, k->step);
    if (mia__view_count(&k->step->output.view) == 0) return true;
    if (g.d == 0) return mia__kernel_refuse(k, "heads of no elements have no kernel there");
    if (g.held == 0) {
        mia__kernel_put(k, "fn value(i: u32) -> f32 { return 0.0; }\n");
        return mia__kernel_output(k) && mia__kernel_map(k);
    }
    return attend(k, &g) && (g.direct || join(k, &g));
}
