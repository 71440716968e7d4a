/* Products of many columns by subgroup matrices, the GPU's own units for products of f16 summed in f32: a workgroup makes a tile of
 * the result, whose subgroups keep a part each, from tiles of w and x that were brought into workgroup memory as f16.
 *
 *     sx [part][m][16 + 2] vec4<f16>    64 numbers of K at a time, in the order of tiles.c's quads; 8 more than that, so that
 *     sw [part][n][16 + 2] vec4<f16>    rows begin in different banks
 *
 * Each part has the rows that a subgroup reads: within it matrices then lie at constant offsets, which need no check at run
 * time that they are inside.
 *
 * What comes next is on its way to registers meanwhile. x comes as f16 from a dispatch before (tiles.h), which is within what
 * the default precision allows; where it is exact, tiles.c does the work. */
#include "backend/webgpu/prepared.h"
#include "backend/webgpu/tiles.h"

#include <stdio.h>

#define SUBGROUP 32
#define SIDE     16 /* of a matrix */
#define DEPTH    64 /* numbers of K at a time */
#define QUADS    (DEPTH / 4)
#define ROW      (QUADS + 2) /* quads of a row of workgroup memory */

typedef struct tile {
    uint32_t rows, columns; /* n and m of a workgroup */
    uint32_t across, down;  /* matrices of a subgroup, along n and m */
    uint32_t invocations;
    uint32_t chunk_quads; /* quads of 16 bytes of weights */
    uint32_t w_loads, x_loads;
    bool prepared;
    bool early; /* scales of weights are brought to registers with them */
} tile;

static tile make_tile(const mia__kernel *k, const mia__product *product, uint32_t rows, uint32_t columns,
                      uint32_t across, uint32_t down) {
    const mia__operand *w = product->weights[0];
    tile t = {.rows = rows, .columns = columns, .across = across, .down = down};
    t.prepared = mia__is_prepared(k->plan, w);
    t.early = t.prepared && mia__prepared_scales_are_quads(w->dtype);
    t.chunk_quads = t.prepared ? mia__prepared_vectors(w->dtype) : 2;
    t.invocations = rows / (across * SIDE) * (columns / (down * SIDE)) * SUBGROUP;
    t.w_loads = rows * (QUADS / t.chunk_quads) / t.invocations;
    t.x_loads = columns * (QUADS / 2) / t.invocations;
    return t;
}

/* --- text ------------------------------------------------------------------------------------- */

/* Brings the next 64 numbers of every row into registers. */
static void put_loads(mia__kernel *k, const tile *t, const char *kt) {
    uint32_t chunks = QUADS / t->chunk_quads;
    for (uint32_t a = 0; a < t->x_loads; a++)
        mia__kernel_add(k, "        rx%u = x_eight(xr%u + (%s) * %uu);\n", a, a, kt, QUADS / 2);
    for (uint32_t b = 0; b < t->w_loads; b++)
        mia__kernel_add(k, "        rw%u = w_chunk(wr%u, (%s) * %uu + wc);\n", b, b, kt, chunks);
    for (uint32_t b = 0; t->early && b < t->w_loads; b++)
        mia__kernel_add(k, "        rs%u = w_scales_of(w_group(wr%u, (%s) * %uu + wc));\n", b, b, kt, chunks);
}

/* vec4s of a part of workgroup memory, so many matrices high; a compiler takes the last matrix for as long as a row. */
static uint32_t part_quads(uint32_t matrices) {
    return matrices * SIDE * ROW + SIDE;
}

/* Four numbers of row `row` + `first` of a tile whose parts are `matrices` matrices high, from `value` of 64 bits. Rows of
 * `step` are brought at once: parts are whole numbers of these, or these of parts. */
static void put_four(mia__kernel *k, const char *array, uint32_t matrices, const char *row, uint32_t step,
                     uint32_t first, const char *quad, const char *value) {
    uint32_t rows = matrices * SIDE;
    if (step <= rows)
        mia__kernel_add(k, "        %s[%u][(%s + %uu) * %du + %s] = %s;\n", array, first / rows, row,
                        first % rows, ROW, quad, value);
    else
        mia__kernel_add(k, "        %s[%s / %uu + %uu][(%s %% %uu) * %du + %s] = %s;\n", array, row, rows,
                        first / rows, row, rows, ROW, quad, value);
}

static void put_stores(mia__kernel *k, const tile *t) {
    char quad[32], value[96];
    uint32_t step = t->invocations / (QUADS / 2);
    for (uint32_t a = 0; a < t->x_loads; a++)
        for (uint32_t j = 0; j < 2; j++) {
            (void)snprintf(quad, sizeof quad, "xq * 2u + %uu", j);
            (void)snprintf(value, sizeof value, "bitcast<vec4<f16>>(rx%u.%s)", a, j == 0 ? "xy" : "zw");
            put_four(k, "sx", t->down, "xl", step, a * step, quad, value);
        }
    step = t->invocations / (QUADS / t->chunk_quads);
    for (uint32_t b = 0; b < t->w_loads; b++)
        for (uint32_t j = 0; j < t->chunk_quads; j++) {
            (void)snprintf(quad, sizeof quad, "wc * %uu + %uu", t->chunk_quads, j);
            if (t->prepared)
                (void)snprintf(value, sizeof value, "w_halves(wr%u, kt * %uu + wc, rw%u, rs%u, %uu)", b,
                               QUADS / t->chunk_quads, b, b, j);
            else
                (void)snprintf(value, sizeof value, "bitcast<vec4<f16>>(rw%u.%s)", b, j == 0 ? "xy" : "zw");
            put_four(k, "sw", t->across, "wl", step, b * step, quad, value);
        }
}

/* Offsets and strides count elements of the arrays, vectors of four. */
static void put_products(mia__kernel *k, const tile *t) {
    for (uint32_t at = 0; at < QUADS; at += SIDE / 4) {
        mia__kernel_put(k, "        {\n");
        for (uint32_t i = 0; i < t->down; i++)
            mia__kernel_add(k,
                            "            let a%u = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, "
                            "row_major>(&sx[px], %uu, %du);\n",
                            i, i * SIDE * ROW + at, ROW);
        for (uint32_t j = 0; j < t->across; j++) {
            mia__kernel_add(k,
                            "            let b%u = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, "
                            "col_major>(&sw[pw], %uu, %du);\n",
                            j, j * SIDE * ROW + at, ROW);
            for (uint32_t i = 0; i < t->down; i++)
                mia__kernel_add(k,
                                "            c%u_%u = subgroupMatrixMultiplyAccumulate(a%u, b%u, c%u_%u);\n",
                                i, j, i, j, i, j);
        }
        mia__kernel_put(k, "        }\n");
    }
}

/* Matrices go through workgroup memory, one at a time of each subgroup, to where each number is finished. */
static void put_results(mia__kernel *k, const tile *t) {
    for (uint32_t i = 0; i < t->down; i++)
        for (uint32_t j = 0; j < t->across; j++)
            mia__kernel_add(k,
                            "    workgroupBarrier();\n"
                            "    subgroupMatrixStore<row_major>(&sy[sg], 0u, c%u_%u, 16u);\n"
                            "    workgroupBarrier();\n"
                            "    for (var e = lane; e < 256u; e += %du) {\n"
                            "        let m = sm + %uu + e / 16u;\n"
                            "        y_finish(n0 + sn + %uu + e %% 16u, m0 + m, id.z, sy[sg][e] * by[m]);\n"
                            "    }\n",
                            i, j, SUBGROUP, i * SIDE, j * SIDE);
}

static void put_main(mia__kernel *k, const tile *t, mia__kernel_grid grid) {
    uint32_t wide = t->rows / (t->across * SIDE), chunks = QUADS / t->chunk_quads;
    mia__kernel_add(k,
                    "var<workgroup> sx: array<array<vec4<f16>, %u>, %u>;\n"
                    "var<workgroup> sw: array<array<vec4<f16>, %u>, %u>;\n"
                    "var<workgroup> sy: array<array<f32, %d>, %u>;\nvar<workgroup> by: array<f32, %u>;\n",
                    part_quads(t->down), t->columns / (t->down * SIDE), part_quads(t->across), wide,
                    SIDE * SIDE, t->invocations / SUBGROUP, t->columns);
    mia__kernel_main(k, grid, t->invocations,
                     "@builtin(local_invocation_index) li: u32, @builtin(subgroup_id) sg: u32, "
                     "@builtin(subgroup_invocation_id) lane: u32");
    mia__kernel_add(
        k,
        "    let m0 = id.x * %uu;\n    let n0 = id.y * %uu;\n"
        "    let px = sg / %uu;\n    let pw = sg %% %uu;\n    let sm = px * %uu;\n    let sn = pw * %uu;\n"
        "    let xl = li / %uu;\n    let xq = li %% %uu;\n    let wl = li / %uu;\n    let wc = li %% %uu;\n",
        t->columns, t->rows, wide, wide, t->down * SIDE, t->across * SIDE, QUADS / 2, QUADS / 2, chunks,
        chunks);
    for (uint32_t a = 0; a < t->x_loads; a++)
        mia__kernel_add(
            k,
            "    let xr%u = (id.z * p.columns + min(m0 + xl + %uu, p.columns - 1u)) * p.x_eights + xq;\n"
            "    var rx%u: vec4<u32>;\n",
            a, a * (t->invocations / (QUADS / 2)), a);
    for (uint32_t b = 0; b < t->w_loads; b++)
        mia__kernel_add(
            k,
            "    let wr%u = w_row(min(n0 + wl + %uu, p.y_rows - 1u), id.z);\n    var rw%u: vec4<u32>;\n"
            "    var rs%u: vec4<u32>;\n",
            b, b * (t->invocations / chunks), b, b);
    for (uint32_t i = 0; i < t->down; i++)
        for (uint32_t j = 0; j < t->across; j++)
            mia__kernel_add(k, "    var c%u_%u = subgroup_matrix_result<f32, 16, 16>();\n", i, j);
    mia__kernel_add(
        k,
        "    if (li < %uu) { by[li] = bitcast<f32>(x_eight(p.scales + id.z * p.columns + min(m0 + li, "
        "p.columns - 1u)).x); }\n",
        t->columns);
    mia__kernel_add(k, "    let steps = (p.quads + %uu) / %uu;\n", QUADS - 1, QUADS);
    put_loads(k, t, "0u");
    mia__kernel_put(k, "    for (var kt = 0u; kt < steps; kt++) {\n");
    put_stores(k, t);
    mia__kernel_put(k, "        workgroupBarrier();\n        if (kt + 1u < steps) {\n");
    put_loads(k, t, "kt + 1u");
    mia__kernel_put(k, "        }\n");
    put_products(k, t);
    mia__kernel_put(k, "        workgroupBarrier();\n    }\n");
    put_results(k, t);
    mia__kernel_put(k, "}\n");
}

/* The end of w_halves for a whole number times a scale: behind the bits of 1024 a whole number q of up to 8 bits is 1024 + q
 * in f16, for two of a word at once. A product of f16 is rounded once, as one of f32 that is then rounded. */
static void put_f16(mia__kernel *k, mia_dtype dtype) {
    switch ((int)dtype) {
    case MIA_q8_0:
        mia__kernel_put(k, "    let scale = bitcast<vec2<f16>>(scales[l >> 2u])[(l >> 1u) & 1u];\n"
                           "    let b = q[j];\n    let zero = 1152.0h;\n");
        break;
    case MIA_q5_0:
        mia__kernel_put(k, "    let scale = bitcast<vec2<f16>>(scales[j >> 1u])[j & 1u];\n"
                           "    let high = ((w_word(p.w_highs + at) >> j) & 0x01010101u) << 4u;\n"
                           "    let b = ((q[j & 3u] >> ((j >> 2u) * 4u)) & 0x0f0f0f0fu) | high;\n"
                           "    let zero = 1040.0h;\n");
        break;
    default:
        mia__kernel_put(
            k, "    let scale = bitcast<vec2<f16>>(scales[j >> 1u])[j & 1u];\n"
               "    let b = (q[j & 3u] >> ((j >> 2u) * 4u)) & 0x0f0f0f0fu;\n    let zero = 1032.0h;\n");
        break;
    }
    mia__kernel_put(
        k, "    let pairs = vec2<u32>(b & 0x00ff00ffu, (b >> 8u) & 0x00ff00ffu) | vec2<u32>(0x64006400u);\n"
           "    return (bitcast<vec4<f16>>(pairs) - vec4<f16>(zero)) * scale;\n}\n");
}

/* fn w_chunk(row, chunk): 16 bytes of a row; fn w_halves(row, chunk, q, scales, j): quad j of them as f16,
 * in the order 0, 2, 1, 3. */
static void put_chunks(mia__kernel *k, const mia__product *product, const tile *t) {
    const mia__operand *w = product->weights[0];
    if (!t->prepared) {
        mia__kernel_put(k, "fn w_chunk(row: u32, chunk: u32) -> vec4<u32> {\n");
        if (!mia__tiles_whole(k, product))
            mia__kernel_put(k, "    if (chunk * 2u >= p.quads) { return vec4<u32>(0u); }\n");
        mia__kernel_put(k, "    let at = row / 4u + chunk * 2u;\n"
                           "    return vec4<u32>(w_two(at), w_two(at + 1u));\n}\n");
        return;
    }
    uint32_t chunks = mia__prepared_chunks(w->dtype);
    mia__kernel_add(
        k,
        "fn w_chunk(row: u32, chunk: u32) -> vec4<u32> {\n    return w_quads(row * p.groups * "
        "%uu + chunk);\n}\n"
        "fn w_group(row: u32, chunk: u32) -> u32 { return row * p.groups + chunk / %uu; }\n"
        "fn w_halves(row: u32, chunk: u32, q: vec4<u32>, scales: vec4<u32>, j: u32) -> vec4<f16> {\n"
        "    let l = chunk %% %uu;\n    let group = w_group(row, chunk);\n    let at = group * %uu + l;\n",
        chunks, chunks, chunks, chunks);
    if (t->early)
        put_f16(k, w->dtype);
    else
        mia__kernel_put(k, "    let s = w_scale(group, l, j);\n"
                           "    let v = s.x * (w_vector(at, q, j) * w_by(j)) - s.y;\n"
                           "    return vec4<f16>(v.xzyw);\n}\n");
}

/* --- the dispatch ----------------------------------------------------------------------------- */

bool mia__has_matrices(const mia__gpu_info *info) {
    const uint32_t needed = MIA__GPU_F16 | MIA__GPU_SUBGROUPS | MIA__GPU_SUBGROUP_MATRIX;
    if ((info->features & needed) != needed || info->subgroup_least != SUBGROUP ||
        info->subgroup_most != SUBGROUP)
        return false;
    for (uint32_t i = 0; i < info->matrix_count; i++) {
        const mia__gpu_matrix *m = &info->matrices[i];
        if (m->component == MIA_f16 && m->result == MIA_f32 && m->m == SIDE && m->n == SIDE && m->k == SIDE)
            return true;
    }
    return false;
}

static uint32_t workgroup_bytes(const tile *t) {
    uint32_t quads = t->columns / (t->down * SIDE) * part_quads(t->down) +
                     t->rows / (t->across * SIDE) * part_quads(t->across);
    return quads * 8 + t->invocations / SUBGROUP * SIDE * SIDE * 4 + t->columns * 4;
}

/* The largest tile that gives every unit of a large GPU something to do. */
static tile choose(const mia__kernel *k, const mia__product *product) {
    const uint64_t enough = 100;
    uint64_t n = (product->rows + 127) / 128, m = (product->columns + 127) / 128,
             n_64 = (product->rows + 63) / 64, m_64 = (product->columns + 63) / 64;
    if (n * m * product->batches >= enough) return make_tile(k, product, 128, 128, 2, 4);
    if (n_64 * m_64 * product->batches >= enough) return make_tile(k, product, 64, 64, 2, 2);
    return make_tile(k, product, 64, 32, 2, 1);
}

bool mia__kernel_matrices(mia__kernel *k, const mia__product *product) {
    mia_dtype dtype = product->weights[0]->dtype;
    if (k->webgpu->precision == MIA_PRECISION_EXACT || !mia__has_matrices(&k->info) ||
        !mia__tiles_take(k, product))
        return false;
    bool prepared = mia__is_prepared(k->plan, product->weights[0]);
    if (!prepared && (dtype != MIA_f16 || product->depth % 8 != 0)) return false;
    const tile t = choose(k, product);
    uint32_t slot;
    if (workgroup_bytes(&t) > k->info.limits.workgroup_bytes ||
        t.invocations > k->info.limits.workgroup_invocations || k->step->scratch == MIA__NO_BUFFER)
        return false;
    if (!mia__kernel_halves(k, product)) return false;
    mia__kernel_begin(k);
    mia__kernel_enable(k, "enable f16;");
    mia__kernel_enable(k, "enable subgroups;");
    mia__kernel_enable(k, "enable chromium_experimental_subgroup_matrix;");
    mia__kernel_u32(k, "columns", product->columns);
    mia__kernel_u32(k, "scales", mia__halves_scales(product));
    mia__kernel_u32(k, "x_eights", mia__halves_quads(dtype, product->depth) / 2);
    if (!mia__tiles_weights(k, product) || !mia__product_finish(k, product, "y_") ||
        !mia__kernel_bind(k, k->step->scratch, "vec4<u32>", false, &slot))
        return false;
    mia__kernel_add(k, "fn x_eight(i: u32) -> vec4<u32> { return b%u[i]; }\n", slot);
    put_chunks(k, product, &t);
    const mia__kernel_grid grid = {(product->columns + t.columns - 1) / t.columns,
                                   (product->rows + t.rows - 1) / t.rows, product->batches};
    put_main(k, &t, grid);
    k->nanoseconds = 3000 + 2.0 * (double)product->depth * (double)product->rows * (double)product->columns *
                                (double)product->batches / 100000;
    return mia__kernel_end_grid(k);
}
