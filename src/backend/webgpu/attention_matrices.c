/* Attention of many queries by subgroup matrices, products of f16 summed in f32 (matrices.c). A workgroup takes 64 rows (the
 * heads that share a group's keys and values, query after query: attention.c), 16 of each subgroup, over 64 keys at a time:
 *
 *     staged [64][pitch] f16    the queries once, then the keys and after them the values
 *     marks  [64][68] f32       products of queries and keys; results that have to be changed number by number
 *     shares [64][72] f16       exp(score - top)
 *
 * Two lanes have a row between them. Scores are taken from a top that was the greatest when it was chosen, and is kept while
 * nothing exceeds it by more than SLACK: results then need not be brought down to a new one, which takes them through
 * workgroup memory. What comes next is on its way to registers meanwhile.
 *
 * All that lies in workgroup memory has a multiple of 16 bytes: NVIDIA's driver reads matrices at addresses that it takes
 * for multiples of 16. */
#include "backend/webgpu/attention.h"
#include "backend/webgpu/tiles.h"

#define SUBGROUP 32
#define LANES    128
#define SIDE     16 /* of a matrix */
#define ROWS     64
#define KEYS     64
#define MARKS    68
#define SHARES   72
#define SLACK    8   /* exp(8) is far from the largest f16 */
#define MOST     128 /* numbers of a row */

#define COUNTED(i, end) for (uint32_t i = 0; i < (end); i++)

static uint32_t pitch_of(const mia__attention *a) {
    return (uint32_t)(a->d > a->e ? a->d : a->e) + 8;
}

static uint32_t workgroup_bytes(const mia__attention *a) {
    return KEYS * pitch_of(a) * 2 + ROWS * MARKS * 4 + ROWS * SHARES * 2 + 32;
}

bool mia__attention_matrices_take(const mia__kernel *k, const mia__attention *a) {
    return k->webgpu->precision != MIA_PRECISION_EXACT && k->step->op == MIA_OP_attention &&
           mia__has_matrices(&k->info) && a->rows >= ROWS / 2 && a->d % SIDE == 0 && a->e % SIDE == 0 &&
           a->d <= MOST && a->e <= MOST && workgroup_bytes(a) <= k->info.limits.workgroup_bytes;
}

/* --- text --------------------------------------------------------------------------------------- */

/* Registers next<j> = the lane's fours of the next keys or values, and how they get to workgroup memory. */
static void put_fetch(mia__kernel *k, const char *name, uint32_t fours, const char *first) {
    COUNTED(j, KEYS * fours / LANES)
    mia__kernel_add(k,
                    "        { let i = local + %uu;\n"
                    "        let x = %s_four(%s_row(min(%s + i / %uu, end - 1u), group), i %% %uu * 4u);\n"
                    "        next%u = vec2<u32>(pack2x16float(x.xy), pack2x16float(x.zw)); }\n",
                    j * LANES, name, name, first, fours, fours, j);
}

static void put_stage(mia__kernel *k, uint32_t fours) {
    COUNTED(j, KEYS * fours / LANES)
    mia__kernel_add(k, "        stage((local + %uu) / %uu, (local + %uu) %% %uu, next%u);\n", j * LANES,
                    fours, j * LANES, fours, j);
}

/* Matrices of results to marks and back, four at a time, with `change` of marks[at + c] between, c of a lane's columns. */
static void put_through_marks(mia__kernel *k, const mia__attention *a, const char *change, bool back) {
    uint32_t tiles = (uint32_t)a->e / SIDE;
    for (uint32_t first = 0; first < tiles; first += KEYS / SIDE) {
        uint32_t end = first + KEYS / SIDE < tiles ? first + KEYS / SIDE : tiles;
        mia__kernel_put(k, "            workgroupBarrier();\n");
        for (uint32_t t = first; t < end; t++)
            mia__kernel_add(k,
                            "            subgroupMatrixStore<row_major>(&marks, base + %uu, all%u, %du);\n",
                            (t - first) * SIDE, t, MARKS);
        mia__kernel_put(k, "            workgroupBarrier();\n");
        mia__kernel_add(k, change, (end - first) * SIDE / 4, first * SIDE / 4);
        if (!back) continue;
        mia__kernel_put(k, "            workgroupBarrier();\n");
        for (uint32_t t = first; t < end; t++)
            mia__kernel_add(k,
                            "            all%u = subgroupMatrixLoad<subgroup_matrix_result<f32, 16, 16>, "
                            "row_major>(&marks, base + %uu, %du);\n",
                            t, (t - first) * SIDE, MARKS);
    }
}

static void put_start(mia__kernel *k, const mia__attention *a, uint64_t tiles) {
    uint32_t fours = a->d4;
    mia__kernel_add(
        k,
        "var<workgroup> staged: array<f16, %u>;\nvar<workgroup> marks: array<f32, %d>;\n"
        "var<workgroup> shares: array<f16, %d>;\nvar<workgroup> grows: vec4<u32>;\nvar<workgroup> seen: "
        "vec4<u32>;\n"
        "fn stage(row: u32, four: u32, x: vec2<u32>) {\n"
        "    let at = row * %uu + four * 4u;\n"
        "    let e = bitcast<vec2<f16>>(x.x);\n    let o = bitcast<vec2<f16>>(x.y);\n"
        "    staged[at] = e.x; staged[at + 1u] = e.y; staged[at + 2u] = o.x; staged[at + 3u] = o.y;\n}\n",
        KEYS * pitch_of(a), ROWS * MARKS, ROWS * SHARES, pitch_of(a));
    mia__kernel_main(k, (mia__kernel_grid){tiles, a->groups, 1}, LANES,
                     "@builtin(local_invocation_index) local: u32, @builtin(subgroup_id) subgroup: u32, "
                     "@builtin(subgroup_invocation_id) lane: u32");
    mia__kernel_add(
        k,
        "    let tile = (p.tiles - 1u - id.x) * %du;\n    let group = id.y;\n"
        "    let base = subgroup * %du;\n    let own = subgroup * 16u + lane / 2u;\n    let half = lane %% "
        "2u;\n"
        "    let at = own * %du;\n"
        "    let row = tile + own;\n"
        "    let query = min(row, p.rows - 1u) / p.fellows;\n"
        "    let head = group * p.fellows + min(row, p.rows - 1u) %% p.fellows;\n"
        "    let limit = select(0u, visible(query), row < p.rows);\n"
        "    if (local == 0u) { seen.x = visible(min(tile + %du, p.rows - 1u) / p.fellows); grows.x = 0u; }\n"
        "    for (var i = local; i < %uu; i += %du) {\n"
        "        let r = min(tile + i / %uu, p.rows - 1u);\n"
        "        let x = q_four(q_row(group * p.fellows + r %% p.fellows, r / p.fellows), i %% %uu * 4u) * "
        "p.scale;\n"
        "        stage(i / %uu, i %% %uu, vec2<u32>(pack2x16float(x.xy), pack2x16float(x.zw)));\n    }\n"
        "    let end = workgroupUniformLoad(&seen).x;\n",
        ROWS, SIDE * MARKS, MARKS, ROWS - 1, ROWS * fours, LANES, fours, fours, fours, fours);
    COUNTED(t, (uint32_t)a->d / SIDE)
    mia__kernel_add(k,
                    "    let q%u = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&staged, "
                    "subgroup * %uu + %uu, %uu);\n",
                    t, SIDE * pitch_of(a), t * SIDE, pitch_of(a));
    COUNTED(t, (uint32_t)a->e / SIDE)
    mia__kernel_add(k, "    var all%u = subgroup_matrix_result<f32, 16, 16>();\n", t);
    uint32_t most = a->d4 > a->e4 ? a->d4 : a->e4;
    COUNTED(j, KEYS * most / LANES) mia__kernel_add(k, "    var next%u: vec2<u32>;\n", j);
    mia__kernel_put(k, "    var top = LOWEST;\n    var sum = 0.0;\n");
}

static void put_marks(mia__kernel *k, const mia__attention *a) {
    COUNTED(t, KEYS / SIDE) {
        mia__kernel_add(k, "        { var c = subgroup_matrix_result<f32, 16, 16>();\n");
        COUNTED(d, (uint32_t)a->d / SIDE)
        mia__kernel_add(
            k,
            "        c = subgroupMatrixMultiplyAccumulate(q%u, "
            "subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&staged, %uu, %uu), c);\n",
            d, t * SIDE * pitch_of(a) + d * SIDE, pitch_of(a));
        mia__kernel_add(k, "        subgroupMatrixStore<row_major>(&marks, base + %uu, c, %du); }\n",
                        t * SIDE, MARKS);
    }
    mia__kernel_put(k, "        workgroupBarrier();\n");
}

static void put_shares(mia__kernel *k) {
    mia__kernel_add(
        k,
        "        var most = LOWEST;\n"
        "        for (var j = 0u; j < %du; j++) {\n"
        "            let c = j * 2u + half;\n"
        "            if (first + c < limit) { most = max(most, marks[at + c]); }\n        }\n"
        "        most = max(most, subgroupShuffleXor(most, 1u));\n"
        "        var shrink = 1.0;\n"
        "        if (top <= LOWEST) {\n            top = most;\n"
        "        } else if (most > top + %d.0) {\n"
        "            shrink = exp(top - most);\n            top = most;\n            sum *= shrink;\n"
        "            grows.x = 1u;\n        }\n"
        "        for (var j = 0u; j < %du; j++) {\n"
        "            let c = j * 2u + half;\n"
        "            let share = select(0.0, exp(marks[at + c] - top), first + c < limit);\n"
        "            sum += share;\n            shares[own * %du + c] = f16(share);\n        }\n",
        KEYS / 2, SLACK, KEYS / 2, SHARES);
}

static void put_values(mia__kernel *k, const mia__attention *a) {
    COUNTED(t, KEYS / SIDE) {
        mia__kernel_add(
            k,
            "        { let w = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&shares, "
            "subgroup * %uu + %uu, %du);\n",
            SIDE * SHARES, t * SIDE, SHARES);
        COUNTED(e, (uint32_t)a->e / SIDE)
        mia__kernel_add(
            k,
            "        all%u = subgroupMatrixMultiplyAccumulate(w, "
            "subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&staged, %uu, %uu), "
            "all%u);\n",
            e, t * SIDE * pitch_of(a) + e * SIDE, pitch_of(a), e);
        mia__kernel_put(k, "        }\n");
    }
}

bool mia__attention_matrices(mia__kernel *k, const mia__attention *a) {
    uint64_t tiles = (a->rows + ROWS - 1) / ROWS;
    mia__kernel_enable(k, "enable f16;");
    mia__kernel_enable(k, "enable subgroups;");
    mia__kernel_enable(k, "enable chromium_experimental_subgroup_matrix;");
    if (!mia__attention_operands(k, a) || !mia__attention_leave(k, a)) return false;
    mia__kernel_u32(k, "tiles", tiles);
    put_start(k, a, tiles);
    mia__kernel_put(k, "    if (end > 0u) {\n");
    put_fetch(k, "k", a->d4, "0u");
    mia__kernel_put(
        k, "    }\n    for (var first = 0u; first < end; first += 64u) {\n        workgroupBarrier();\n");
    put_stage(k, a->d4);
    put_fetch(k, "v", a->e4, "first");
    mia__kernel_put(k, "        workgroupBarrier();\n");
    put_marks(k, a);
    put_shares(k);
    put_stage(k, a->e4);
    mia__kernel_put(k, "        if (first + 64u < end) {\n");
    put_fetch(k, "k", a->d4, "first + 64u");
    mia__kernel_put(k, "        }\n        if (workgroupUniformLoad(&grows).x != 0u) {\n");
    put_through_marks(
        k, a,
        "            for (var j = 0u; j < %uu * 2u; j++) { marks[at + j * 2u + half] *= shrink; } "
        "// of four %u on\n",
        true);
    mia__kernel_put(
        k, "            if (local == 0u) { grows.x = 0u; }\n            workgroupBarrier();\n        }\n");
    put_values(k, a);
    mia__kernel_put(k, "    }\n    sum += subgroupShuffleXor(sum, 1u);\n");
    put_through_marks(
        k, a,
        "            for (var j = half; j < %uu; j += 2u) {\n"
        "                let m = at + j * 4u;\n"
        "                let x = vec4<f32>(marks[m], marks[m + 1u], marks[m + 2u], marks[m + 3u]);\n"
        "                if (row < p.rows) { leave(0u, query * p.heads + head, %uu + j, x, top, sum); "
        "}\n            }\n",
        false);
    mia__kernel_put(k, "}\n");
    k->nanoseconds = 5000 + (double)(a->heads * a->queries) * (double)a->held * (double)(a->d + a->e) / 30000;
    return mia__kernel_end_grid(k);
}
