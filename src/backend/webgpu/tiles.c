/* Products of many columns in tiles of f32: a workgroup makes a tile of the result, whose invocations keep a few rows and columns
 * each in registers, from tiles of w and x in workgroup memory.
 *
 *     sx [k][m / 4] vec4    x, turned, so that a step of k is a run          t: 4 quads, 16 numbers of K, at a time; the next
 *     sw [k][n / 4] vec4    w, the same                                      ones are on their way while these are used
 *
 * tile 128 x 128, 256 invocations of 8 x 8, where workgroup memory has room and the product is large; else 64 x 64, 128 of
 * 8 x 4. */
#include "backend/webgpu/tiles.h"

#include "backend/webgpu/prepared.h"
#include "backend/webgpu/rows.h"

#include <stdio.h>

#define DEPTH 16 /* numbers of K at a time */
#define QUADS (DEPTH / 4)

/* --- quads ------------------------------------------------------------------------------------ */

static bool in_quads(const mia__view *view, int64_t of) {
    if (view->ndim == 0 || view->stride[0] != 1 || view->offset % of != 0 || view->extent[0] % 4 != 0)
        return false;
    for (uint32_t m = 1; m < view->ndim; m++)
        if (view->extent[m] != 1 && view->stride[m] % of != 0) return false;
    return true;
}

bool mia__tiles_take(const mia__kernel *k, const mia__product *product) {
    const mia__operand *w = product->weights[0], *x = product->x, *g = product->norm_weight;
    bool wide = (w->dtype == MIA_f32 || w->dtype == MIA_f16 || w->dtype == MIA_bf16) && in_quads(&w->view, 4);
    bool norm = g == NULL || (g->dtype == MIA_f32 && in_quads(&g->view, 4));
    return product->core_count == 1 && (wide || mia__is_prepared(k->plan, w)) && x->dtype == MIA_f32 &&
           in_quads(&x->view, 4) && norm && mia_dtype_describe(product->step->output.dtype)->bytes == 4;
}

bool mia__tiles_whole(const mia__kernel *k, const mia__product *product) {
    return product->depth % (mia__is_prepared(k->plan, product->weights[0]) ? MIA__PREPARED_GROUP : 64) == 0;
}

static void put_scalars(mia__kernel *k, mia_dtype dtype, uint32_t slot, bool whole) {
    /* past a row's end lies the next one, which may be infinite */
    const char *guard = whole ? "" : "    if (t >= p.quads) { return vec4<f32>(0.0); }\n";
    if (dtype == MIA_f32) {
        mia__kernel_add(k, "fn w_quad(row: u32, t: u32) -> vec4<f32> {\n%s", guard);
        mia__kernel_add(k, "    return bitcast<vec4<f32>>(b%u[row / 4u + t]);\n}\n", slot);
    } else {
        mia__kernel_add(k,
                        "fn w_two(i: u32) -> vec2<u32> { return b%u[i]; }\n"
                        "fn w_quad(row: u32, t: u32) -> vec4<f32> {\n%s    let q = w_two(row / 4u + t);\n    "
                        "return %s;\n}\n",
                        slot, guard,
                        dtype == MIA_f16
                            ? "vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y))"
                            : "bitcast<vec4<f32>>(vec4<u32>(q.x << 16u, q.x & 0xffff0000u, q.y << 16u, "
                              "q.y & 0xffff0000u))");
    }
}

/* fn place(t): where quad t of the order lies in a row of x. Quads of a chunk of prepared weights follow each other. */
static void put_place(mia__kernel *k, const mia__product *product) {
    mia_dtype dtype = product->weights[0]->dtype;
    if (!mia__is_prepared(k->plan, product->weights[0])) {
        mia__kernel_put(k, "fn place(t: u32) -> u32 { return t; }\n");
        return;
    }
    mia__kernel_add(k, "fn place(t: u32) -> u32 {\n    let chunk = t / %uu;\n    return ",
                    mia__prepared_vectors(dtype));
    mia__prepared_first(k, dtype, "chunk");
    mia__kernel_add(k, " + (t %% %uu) * %uu;\n}\n", mia__prepared_vectors(dtype),
                    mia__prepared_stride(dtype));
}

static void put_prepared(mia__kernel *k, mia_dtype dtype) {
    uint32_t vectors = mia__prepared_vectors(dtype), chunks = mia__prepared_chunks(dtype);
    mia__kernel_add(k,
                    "fn w_quad(row: u32, t: u32) -> vec4<f32> {\n"
                    "    let chunk = t / %uu;\n    let j = t %% %uu;\n    let l = chunk %% %uu;\n"
                    "    let group = row * p.groups + chunk / %uu;\n    let at = group * %uu + l;\n"
                    "    let s = w_scale(group, l, j);\n"
                    "    return s.x * (w_vector(at, w_quads(at), j) * w_by(j)) - s.y;\n}\n",
                    vectors, vectors, chunks, chunks, chunks);
}

static void put_lengths(mia__kernel *k, const mia__product *product) {
    uint64_t quads = product->depth / 4, group = MIA__PREPARED_GROUP / 4;
    bool prepared = mia__is_prepared(k->plan, product->weights[0]);
    mia__kernel_u32(k, "depth", product->depth);
    mia__kernel_u32(k, "quads", prepared ? (quads + group - 1) / group * group : quads);
}

bool mia__tiles_weights(mia__kernel *k, const mia__product *product) {
    const mia__operand *w = product->weights[0];
    const mia__view *out = &product->step->output.view;
    uint32_t slot;
    put_lengths(k, product);
    if (mia__is_prepared(k->plan, w)) {
        if (!mia__kernel_rows(k, "w", w, out)) return false;
        put_prepared(k, w->dtype);
        return true;
    }
    if (!mia__kernel_bind(k, w->buffer, w->dtype == MIA_f32 ? "vec4<u32>" : "vec2<u32>", false, &slot))
        return false;
    put_scalars(k, w->dtype, slot, mia__tiles_whole(k, product));
    mia__kernel_view(k, "w", &w->view);
    mia__kernel_row(k, "w", &w->view, out);
    return true;
}

bool mia__tiles_x(mia__kernel *k, const mia__product *product) {
    /* there others' numbers lie, which may be infinite */
    const char *past =
        mia__tiles_whole(k, product) ? "" : "    if (i * 4u >= p.depth) { return vec4<f32>(0.0); }\n";
    uint32_t slot;
    put_lengths(k, product);
    put_place(k, product);
    if (!mia__kernel_bind(k, product->x->buffer, "vec4<u32>", false, &slot)) return false;
    mia__kernel_view(k, "x", &product->x->view);
    mia__kernel_row(k, "x", &product->x->view, &product->step->output.view);
    mia__kernel_add(k,
                    "fn x_quad(row: u32, t: u32) -> vec4<f32> {\n    let i = place(t);\n"
                    "%s    return bitcast<vec4<f32>>(b%u[row / 4u + i]);\n}\n",
                    past, slot);
    if (product->norm_weight == NULL) return true;
    if (!mia__kernel_bind(k, product->norm_weight->buffer, "vec4<u32>", false, &slot)) return false;
    mia__kernel_view(k, "g", &product->norm_weight->view);
    mia__kernel_add(k,
                    "fn g_quad(t: u32) -> vec4<f32> {\n    let i = place(t);\n"
                    "%s    return bitcast<vec4<f32>>(b%u[p.g_o / 4u + i]);\n}\n",
                    past, slot);
    return true;
}

/* --- the kernel ------------------------------------------------------------------------------- */

typedef struct tile {
    uint32_t rows, columns; /* of w, of x: n and m */
    uint32_t across, down;  /* n and m of an invocation; multiples of 4 */
    uint32_t invocations;
    uint32_t w_loads, x_loads; /* quads that an invocation brings */
    bool norm;
} tile;

static tile make_tile(uint32_t rows, uint32_t columns, uint32_t across, uint32_t down, bool norm) {
    tile t = {.rows = rows, .columns = columns, .across = across, .down = down, .norm = norm};
    t.invocations = rows / across * (columns / down);
    t.w_loads = rows * QUADS / t.invocations;
    t.x_loads = columns * QUADS / t.invocations;
    return t;
}

static const char letters[] = "xyzw";

/* Brings the quads of step `kt` into registers. */
static void put_loads(mia__kernel *k, const tile *t, const char *kt) {
    mia__kernel_add(k, "        { let t = (%s) * %uu + lq;\n", kt, QUADS);
    if (t->norm) mia__kernel_put(k, "        let g = g_quad(t);\n");
    for (uint32_t a = 0; a < t->x_loads; a++) {
        mia__kernel_add(k, "        rx%u = x_quad(xr%u, t);\n", a, a);
        if (t->norm) mia__kernel_add(k, "        squares%u += dot(rx%u, rx%u); rx%u *= g;\n", a, a, a, a);
    }
    for (uint32_t b = 0; b < t->w_loads; b++) mia__kernel_add(k, "        rw%u = w_quad(wr%u, t);\n", b, b);
    mia__kernel_put(k, "        }\n");
}

/* Puts registers into workgroup memory, turned. */
static void put_stores(mia__kernel *k, const tile *t) {
    uint32_t step = t->invocations / QUADS, sx = t->columns / 4 + 1, sw = t->rows / 4 + 1;
    for (uint32_t a = 0; a < t->x_loads; a++)
        for (uint32_t c = 0; c < 4; c++)
            mia__kernel_add(
                k, "        sx[(lq * 4u + %uu) * %uu + (lr + %uu) / 4u][(lr + %uu) %% 4u] = rx%u.%c;\n", c,
                sx, a * step, a * step, a, letters[c]);
    for (uint32_t b = 0; b < t->w_loads; b++)
        for (uint32_t c = 0; c < 4; c++)
            mia__kernel_add(
                k, "        sw[(lq * 4u + %uu) * %uu + (lr + %uu) / 4u][(lr + %uu) %% 4u] = rw%u.%c;\n", c,
                sw, b * step, b * step, b, letters[c]);
}

static void put_products(mia__kernel *k, const tile *t) {
    uint32_t tx = t->rows / t->across, ty = t->columns / t->down, sx = t->columns / 4 + 1,
             sw = t->rows / 4 + 1;
    mia__kernel_add(k, "        for (var i = 0u; i < %uu; i++) {\n", DEPTH);
    for (uint32_t a = 0; a < t->down / 4; a++)
        mia__kernel_add(k, "            let a%u = sx[i * %uu + ty + %uu];\n", a, sx, a * ty);
    for (uint32_t b = 0; b < t->across / 4; b++)
        mia__kernel_add(k, "            let b%u = sw[i * %uu + tx + %uu];\n", b, sw, b * tx);
    for (uint32_t a = 0; a < t->down; a++)
        for (uint32_t b = 0; b < t->across / 4; b++)
            mia__kernel_add(k, "            c%u_%u = fma(vec4<f32>(a%u.%c), b%u, c%u_%u);\n", a, b, a / 4,
                            letters[a % 4], b, a, b);
    mia__kernel_put(k, "        }\n");
}

/* What the rows' squares say, for all columns of the tile: in workgroup memory. */
static void put_norm(mia__kernel *k, const tile *t) {
    uint32_t step = t->invocations / QUADS;
    for (uint32_t a = 0; a < t->x_loads; a++)
        mia__kernel_add(k, "    parts[(lr + %uu) * %uu + lq] = squares%u;\n", a * step, QUADS, a);
    mia__kernel_add(k,
                    "    workgroupBarrier();\n"
                    "    if (li < %uu) {\n"
                    "        let sum = parts[li * 4u] + parts[li * 4u + 1u] + parts[li * 4u + 2u] + parts[li "
                    "* 4u + 3u];\n"
                    "        by[li] = inverseSqrt(sum / f32(p.depth) + p.epsilon);\n"
                    "    }\n"
                    "    workgroupBarrier();\n",
                    t->columns);
}

static void put_results(mia__kernel *k, const tile *t) {
    uint32_t tx = t->rows / t->across, ty = t->columns / t->down;
    for (uint32_t a = 0; a < t->down; a++) {
        mia__kernel_add(k, "    { let m = (ty + %uu) * 4u + %uu;\n", a / 4 * ty, a % 4);
        for (uint32_t b = 0; b < t->across / 4; b++) {
            if (t->norm) mia__kernel_add(k, "    c%u_%u *= by[m];\n", a, b);
            for (uint32_t c = 0; c < 4; c++)
                mia__kernel_add(k, "    y_finish(n0 + (tx + %uu) * 4u + %uu, m0 + m, id.z, c%u_%u.%c);\n",
                                b * tx, c, a, b, letters[c]);
        }
        mia__kernel_put(k, "    }\n");
    }
}

/* The same in loops: compilers of drivers that compute on the CPU take a second and more for the text of each, and the
 * products, not what follows them, are what a processor spends its time on. */
static void put_results_in_loops(mia__kernel *k, const tile *t) {
    uint32_t tx = t->rows / t->across, ty = t->columns / t->down, fours = t->across / 4;
    mia__kernel_add(k, "    var c = array<vec4<f32>, %u>(", t->down * fours);
    for (uint32_t a = 0; a < t->down; a++)
        for (uint32_t b = 0; b < fours; b++) mia__kernel_add(k, "%sc%u_%u", a + b > 0 ? ", " : "", a, b);
    mia__kernel_add(k,
                    ");\n    for (var i = 0u; i < %uu; i++) {\n"
                    "        let a = i / %uu;\n        let m = (ty + a / 4u * %uu) * 4u + a %% 4u;\n"
                    "        let n = (tx + i %% %uu * %uu) * 4u;\n",
                    t->down * fours, fours, ty, fours, tx);
    if (t->norm) mia__kernel_put(k, "        c[i] *= by[m];\n");
    mia__kernel_put(k,
                    "        for (var j = 0u; j < 4u; j++) { y_finish(n0 + n + j, m0 + m, id.z, c[i][j]); }\n"
                    "    }\n");
}

static void put_main(mia__kernel *k, const tile *t, mia__kernel_grid grid) {
    uint32_t tx = t->rows / t->across, step = t->invocations / QUADS;
    mia__kernel_add(k, "var<workgroup> sx: array<vec4<f32>, %u>;\nvar<workgroup> sw: array<vec4<f32>, %u>;\n",
                    DEPTH * (t->columns / 4 + 1), DEPTH * (t->rows / 4 + 1));
    if (t->norm)
        mia__kernel_add(k, "var<workgroup> parts: array<f32, %u>;\nvar<workgroup> by: array<f32, %u>;\n",
                        t->columns * QUADS, t->columns);
    mia__kernel_main(k, grid, t->invocations, "@builtin(local_invocation_index) li: u32");
    mia__kernel_add(k,
                    "    let m0 = id.y * %uu;\n    let n0 = id.x * %uu;\n"
                    "    let lr = li / %uu;\n    let lq = li %% %uu;\n",
                    t->columns, t->rows, QUADS, QUADS);
    /* 32 invocations that follow each other are 8 across and 4 down: they read fewer places of workgroup memory */
    mia__kernel_add(
        k,
        "    let lane = li %% 32u;\n    let team = li / 32u;\n"
        "    let tx = (team %% %uu) * 8u + lane %% 8u;\n    let ty = (team / %uu) * 4u + lane / 8u;\n",
        tx / 8, tx / 8);
    for (uint32_t a = 0; a < t->x_loads; a++) {
        mia__kernel_add(
            k, "    let xr%u = x_row(min(m0 + lr + %uu, p.columns - 1u), id.z);\n    var rx%u: vec4<f32>;\n",
            a, a * step, a);
        if (t->norm) mia__kernel_add(k, "    var squares%u = 0.0;\n", a);
    }
    for (uint32_t b = 0; b < t->w_loads; b++)
        mia__kernel_add(
            k, "    let wr%u = w_row(min(n0 + lr + %uu, p.y_rows - 1u), id.z);\n    var rw%u: vec4<f32>;\n",
            b, b * step, b);
    for (uint32_t a = 0; a < t->down; a++)
        for (uint32_t b = 0; b < t->across / 4; b++)
            mia__kernel_add(k, "    var c%u_%u = vec4<f32>();\n", a, b);
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
    if (k->info.processor)
        put_results_in_loops(k, t);
    else
        put_results(k, t);
    mia__kernel_put(k, "}\n");
}

static uint32_t workgroup_bytes(const tile *t) {
    return DEPTH * (t->columns / 4 + 1 + t->rows / 4 + 1) * 16 + (t->norm ? t->columns * (QUADS + 1) * 4 : 0);
}

bool mia__kernel_tiles(mia__kernel *k, const mia__product *product) {
    bool norm = product->norm_weight != NULL;
    tile large = make_tile(128, 128, 8, 8, norm), chosen = make_tile(64, 64, 4, 8, norm);
    uint64_t tiles = (product->rows + 127) / 128 * ((product->columns + 127) / 128) * product->batches;
    const mia__gpu_limits *limits = &k->info.limits;
    if (!mia__tiles_take(k, product)) return false;
    if (tiles >= 64 && workgroup_bytes(&large) <= limits->workgroup_bytes &&
        large.invocations <= limits->workgroup_invocations)
        chosen = large;
    mia__kernel_u32(k, "columns", product->columns);
    if (norm) mia__kernel_f32(k, "epsilon", product->epsilon);
    if (!mia__tiles_weights(k, product) || !mia__tiles_x(k, product) ||
        !mia__product_finish(k, product, "y_"))
        return false;
    const mia__kernel_grid grid = {(product->rows + chosen.rows - 1) / chosen.rows,
                                   (product->columns + chosen.columns - 1) / chosen.columns,
                                   product->batches};
    put_main(k, &chosen, grid);
    k->nanoseconds = 3000 + 2.0 * (double)product->depth * (double)product->rows * (double)product->columns *
                                (double)product->batches / 20000;
    return mia__kernel_end_grid(k);
}
