/* Products of many columns by subgroup matrices, the GPU's own units for products of f16 summed in f32: a workgroup makes a tile of
 * the result, whose subgroups keep a part each, from tiles of w and x that were brought into workgroup memory as f16.
 *
 *     sx [m][16 + 2] vec4<f16>    64 numbers of K at a time, in the order of tiles.c's quads; 8 more than that, so that rows
 *     sw [n][16 + 2] vec4<f16>    begin in different banks
 *
 * What comes next is on its way to registers meanwhile: x as f16, w as it lies. Rounding x to f16 is within what the default
 * precision allows; where it is exact, tiles.c does the work. */
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
    bool norm, prepared;
    bool early; /* scales of weights are brought to registers with them */
} tile;

static tile make_tile(const mia__kernel *k, const mia__product *product, uint32_t rows, uint32_t columns,
                      uint32_t across, uint32_t down) {
    const mia__operand *w = product->weights[0];
    tile t = {.rows = rows, .columns = columns, .across = across, .down = down};
    t.prepared = mia__is_prepared(k->plan, w);
    t.early = t.prepared && mia__prepared_scales_are_quads(w->dtype);
    t.norm = product->norm_weight != NULL;
    t.chunk_quads = t.prepared ? mia__prepared_vectors(w->dtype) : 2;
    t.invocations = rows / (across * SIDE) * (columns / (down * SIDE)) * SUBGROUP;
    t.w_loads = rows * (QUADS / t.chunk_quads) / t.invocations;
    t.x_loads = columns * QUADS / t.invocations;
    return t;
}

/* --- text ------------------------------------------------------------------------------------- */

/* Brings the next 64 numbers of every row into registers. */
static void put_loads(mia__kernel *k, const tile *t, const char *kt) {
    uint32_t chunks = QUADS / t->chunk_quads;
    mia__kernel_add(k, "        { let t = (%s) * %uu + xq;\n        let i = place(t);\n", kt, QUADS);
    if (t->norm) mia__kernel_put(k, "        let g = g_quad(t);\n");
    for (uint32_t a = 0; a < t->x_loads; a++) {
        mia__kernel_add(k, "        { var v = x_quad_at(xr%u, i);\n", a);
        if (t->norm) mia__kernel_add(k, "        squares%u += dot(v, v); v *= g;\n", a);
        mia__kernel_add(k, "        rx%u = vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw)); }\n", a);
    }
    for (uint32_t b = 0; b < t->w_loads; b++)
        mia__kernel_add(k, "        rw%u = w_chunk(wr%u, (%s) * %uu + wc);\n", b, b, kt, chunks);
    for (uint32_t b = 0; t->early && b < t->w_loads; b++)
        mia__kernel_add(k, "        rs%u = w_scales_of(w_group(wr%u, (%s) * %uu + wc));\n", b, b, kt, chunks);
    mia__kernel_put(k, "        }\n");
}

/* Four numbers of a tile, from `value` of 64 bits. */
static void put_four(mia__kernel *k, const char *array, const char *row, const char *quad,
                     const char *value) {
    mia__kernel_add(k, "        %s[(%s) * %du + %s] = bitcast<vec4<f16>>(%s);\n", array, row, ROW, quad,
                    value);
}

static void put_stores(mia__kernel *k, const tile *t) {
    char row[64], quad[64], value[64];
    for (uint32_t a = 0; a < t->x_loads; a++) {
        (void)snprintf(row, sizeof row, "xl + %uu", a * (t->invocations / QUADS));
        (void)snprintf(value, sizeof value, "rx%u", a);
        put_four(k, "sx", row, "xq", value);
    }
    uint32_t step = t->invocations / (QUADS / t->chunk_quads);
    for (uint32_t b = 0; b < t->w_loads; b++) {
        (void)snprintf(row, sizeof row, "wl + %uu", b * step);
        for (uint32_t j = 0; j < t->chunk_quads; j++) {
            (void)snprintf(quad, sizeof quad, "wc * %uu + %uu", t->chunk_quads, j);
            if (t->prepared)
                (void)snprintf(value, sizeof value, "w_halves(wr%u, kt * %uu + wc, rw%u, rs%u, %uu)", b,
                               QUADS / t->chunk_quads, b, b, j);
            else
                (void)snprintf(value, sizeof value, "rw%u.%s", b, j == 0 ? "xy" : "zw");
            put_four(k, "sw", row, quad, value);
        }
    }
}

/* Offsets and strides count elements of the arrays, vectors of four. */
static void put_products(mia__kernel *k, const tile *t) {
    for (uint32_t at = 0; at < QUADS; at += SIDE / 4) {
        mia__kernel_put(k, "        {\n");
        for (uint32_t i = 0; i < t->down; i++)
            mia__kernel_add(
                k,
                "            let a%u = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&sx, "
                "(sm + %uu) * %du + %uu, %du);\n",
                i, i * SIDE, ROW, at, ROW);
        for (uint32_t j = 0; j < t->across; j++) {
            mia__kernel_add(k,
                            "            let b%u = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, "
                            "col_major>(&sw, "
                            "(sn + %uu) * %du + %uu, %du);\n",
                            j, j * SIDE, ROW, at, ROW);
            for (uint32_t i = 0; i < t->down; i++)
                mia__kernel_add(k,
                                "            c%u_%u = subgroupMatrixMultiplyAccumulate(a%u, b%u, c%u_%u);\n",
                                i, j, i, j, i, j);
        }
        mia__kernel_put(k, "        }\n");
    }
}

/* 16 invocations that follow each other have brought a row of x: what its squares say goes to `by`. */
static void put_norm(mia__kernel *k, const tile *t) {
    for (uint32_t a = 0; a < t->x_loads; a++) {
        for (uint32_t by = 1; by < QUADS; by *= 2)
            mia__kernel_add(k, "    squares%u += subgroupShuffleXor(squares%u, %uu);\n", a, a, by);
        mia__kernel_add(
            k, "    if (xq == 0u) { by[xl + %uu] = inverseSqrt(squares%u / f32(p.depth) + p.epsilon); }\n",
            a * (t->invocations / QUADS), a);
    }
}

/* Matrices go through workgroup memory, one at a time of each subgroup, to where each number is finished. */
static void put_results(mia__kernel *k, const tile *t) {
    for (uint32_t i = 0; i < t->down; i++)
        for (uint32_t j = 0; j < t->across; j++)
            mia__kernel_add(k,
                            "    workgroupBarrier();\n"
                            "    subgroupMatrixStore<row_major>(&sy, sg * 256u, c%u_%u, 16u);\n"
                            "    workgroupBarrier();\n"
                            "    for (var e = lane; e < 256u; e += %du) {\n"
                            "        let m = sm + %uu + e / 16u;\n"
                            "        y_finish(n0 + sn + %uu + e %% 16u, m0 + m, id.z, sy[sg * 256u + e]%s);\n"
                            "    }\n",
                            i, j, SUBGROUP, i * SIDE, j * SIDE, t->norm ? " * by[m]" : "");
}

static void put_main(mia__kernel *k, const tile *t) {
    uint32_t wide = t->rows / (t->across * SIDE), chunks = QUADS / t->chunk_quads;
    mia__kernel_add(k,
                    "var<workgroup> sx: array<vec4<f16>, %u>;\nvar<workgroup> sw: array<vec4<f16>, %u>;\n"
                    "var<workgroup> sy: array<f32, %u>;\n",
                    t->columns * ROW, t->rows * ROW, t->invocations / SUBGROUP * SIDE * SIDE);
    if (t->norm) mia__kernel_add(k, "var<workgroup> by: array<f32, %u>;\n", t->columns);
    mia__kernel_add(
        k,
        "@compute @workgroup_size(%u)\n"
        "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) li: u32,\n"
        "        @builtin(subgroup_id) sg: u32, @builtin(subgroup_invocation_id) lane: u32) {\n"
        "    let m0 = id.x * %uu;\n    let n0 = id.y * %uu;\n"
        "    let sm = (sg / %uu) * %uu;\n    let sn = (sg %% %uu) * %uu;\n"
        "    let xl = li / %uu;\n    let xq = li %% %uu;\n    let wl = li / %uu;\n    let wc = li %% %uu;\n",
        t->invocations, t->columns, t->rows, wide, t->down * SIDE, wide, t->across * SIDE, QUADS, QUADS,
        chunks, chunks);
    for (uint32_t a = 0; a < t->x_loads; a++) {
        mia__kernel_add(
            k, "    let xr%u = x_row(min(m0 + xl + %uu, p.columns - 1u), id.z);\n    var rx%u: vec2<u32>;\n",
            a, a * (t->invocations / QUADS), a);
        if (t->norm) mia__kernel_add(k, "    var squares%u = 0.0;\n", a);
    }
    for (uint32_t b = 0; b < t->w_loads; b++)
        mia__kernel_add(
            k,
            "    let wr%u = w_row(min(n0 + wl + %uu, p.y_rows - 1u), id.z);\n    var rw%u: vec4<u32>;\n"
            "    var rs%u: vec4<u32>;\n",
            b, b * (t->invocations / chunks), b, b);
    for (uint32_t i = 0; i < t->down; i++)
        for (uint32_t j = 0; j < t->across; j++)
            mia__kernel_add(k, "    var c%u_%u = subgroup_matrix_result<f32, 16, 16>();\n", i, j);
    mia__kernel_add(k, "    let steps = (p.quads + %uu) / %uu;\n", QUADS - 1, QUADS);
    put_loads(k, t, "0u");
    mia__kernel_put(k, "    for (var kt = 0u; kt < steps; kt++) {\n");
    put_stores(k, t);
    mia__kernel_put(k, "        workgroupBarrier();\n        if (kt + 1u < steps) {\n");
    put_loads(k, t, "kt + 1u");
    mia__kernel_put(k, "        }\n");
    put_products(k, t);
    mia__kernel_put(k, "        workgroupBarrier();\n    }\n");
    if (t->norm) put_norm(k, t);
    put_results(k, t);
    mia__kernel_put(k, "}\n");
}

/* fn w_chunk(row, chunk): 16 bytes of a row; fn w_halves(row, chunk, q, j): quad j of them as f16. */
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
        "fn w_halves(row: u32, chunk: u32, q: vec4<u32>, scales: vec4<u32>, j: u32) -> vec2<u32> {\n"
        "    let l = chunk %% %uu;\n    let group = w_group(row, chunk);\n    let s = %s;\n"
        "    let v = s.x * (w_vector(group * %uu + l, q, j) * w_by(j)) - s.y;\n"
        "    return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));\n}\n",
        chunks, chunks, chunks, t->early ? "w_scale_in(scales, l, j)" : "w_scale(group, l, j)", chunks);
}

/* --- the dispatch ----------------------------------------------------------------------------- */

bool mia__kernel_has_matrices(const mia__kernel *k) {
    const uint32_t needed = MIA__GPU_F16 | MIA__GPU_SUBGROUPS | MIA__GPU_SUBGROUP_MATRIX;
    const mia__gpu_info *info = &k->info;
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
    return (t->rows + t->columns) * ROW * 8 + t->invocations / SUBGROUP * SIDE * SIDE * 4 + t->columns * 4;
}

/* The largest tile that gives every unit of a large GPU something to do. */
static tile choose(const mia__kernel *k, const mia__product *product) {
    const uint64_t enough = 100;
    uint64_t n = (product->rows + 127) / 128, m = (product->columns + 127) / 128,
             m_64 = (product->columns + 63) / 64;
    if (n * m * product->batches >= enough) return make_tile(k, product, 128, 128, 2, 4);
    if (n * m_64 * product->batches >= enough) return make_tile(k, product, 128, 64, 2, 4);
    return make_tile(k, product, 64, 64, 2, 2);
}

bool mia__kernel_matrices(mia__kernel *k, const mia__product *product) {
    mia_dtype dtype = product->weights[0]->dtype;
    if (k->webgpu->precision == MIA_PRECISION_EXACT || !mia__kernel_has_matrices(k) ||
        !mia__tiles_take(k, product))
        return false;
    bool prepared = mia__is_prepared(k->plan, product->weights[0]);
    if (!prepared && (dtype != MIA_f16 || product->depth % 8 != 0)) return false;
    const tile t = choose(k, product);
    if (workgroup_bytes(&t) > k->info.limits.workgroup_bytes ||
        t.invocations > k->info.limits.workgroup_invocations)
        return false;
    mia__kernel_enable(k, "enable f16;");
    mia__kernel_enable(k, "enable subgroups;");
    mia__kernel_enable(k, "enable chromium_experimental_subgroup_matrix;");
    mia__kernel_u32(k, "columns", product->columns);
    if (t.norm) mia__kernel_f32(k, "epsilon", product->epsilon);
    if (!mia__tiles_put(k, product) || !mia__product_finish(k, product, "y_")) return false;
    put_chunks(k, product, &t);
    put_main(k, &t);
    k->nanoseconds = 3000 + 2.0 * (double)product->depth * (double)product->rows * (double)product->columns *
                                (double)product->batches / 100000;
    return mia__kernel_end(k, (product->columns + t.columns - 1) / t.columns,
                           (product->rows + t.rows - 1) / t.rows, product->batches);
}
