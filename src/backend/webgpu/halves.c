/* x of a product rounded to f16 for subgroup matrices (tiles.h): a workgroup brings a row, with the norm before it where there
 * is one. Rows are multiplied by a power of two that puts their greatest number between 2^12 and 2^13, so that none is too large
 * for f16 and few are too small; its inverse lies behind the rows, a vec4 each. */
#include "backend/webgpu/prepared.h"
#include "backend/webgpu/scratch.h"
#include "backend/webgpu/tiles.h"

#define INVOCATIONS 128
#define STEP        16 /* quads */

static bool is_block(mia_dtype dtype) {
    return mia_dtype_describe(dtype)->kind == MIA_KIND_BLOCK;
}

uint64_t mia__halves_quads(mia_dtype weights, uint64_t depth) {
    uint64_t quads = depth / 4, whole = is_block(weights) ? MIA__PREPARED_GROUP / 4 : STEP;
    return (quads + whole - 1) / whole * whole;
}

uint64_t mia__halves_scales(const mia__product *product) {
    return product->columns * product->batches *
           mia__halves_quads(product->weights[0]->dtype, product->depth) / 2;
}

size_t mia__halves_scratch(const mia__plan *plan, const mia__step *step) {
    mia__product product;
    if (!mia__product_of(plan, step, &product) || product.core_count != 1 ||
        product.columns <= MIA__PRODUCT_FEW_COLUMNS)
        return 0;
    mia_dtype dtype = product.weights[0]->dtype;
    if (dtype != MIA_f16 && !is_block(dtype)) return 0;
    return (size_t)(product.columns * product.batches) *
           ((size_t)mia__halves_quads(dtype, product.depth) * 8 + 16);
}

/* `all` and `most`: the row's squares, and its greatest number, of what the norm multiplies by its weights where there is one. */
static void put_reductions(mia__kernel *k, bool norm) {
    mia__kernel_add(
        k,
        "    var squares = 0.0;\n    var greatest = 0.0;\n"
        "    for (var t = li; t < p.row_quads; t += %du) {\n"
        "        let v = x_quad(row, t);\n        squares += dot(v, v);\n        let a = abs(%s);\n"
        "        greatest = max(greatest, max(max(a.x, a.y), max(a.z, a.w)));\n    }\n"
        "    let sum = subgroupAdd(squares);\n    let high = subgroupMax(greatest);\n"
        "    if (li %% 32u == 0u) { parts[li / 32u] = vec2<f32>(sum, high); }\n"
        "    workgroupBarrier();\n    var all = 0.0;\n    var most = 0.0;\n"
        "    for (var i = 0u; i < %du; i++) { all += parts[i].x; most = max(most, parts[i].y); }\n",
        INVOCATIONS, norm ? "v * g_quad(t)" : "v", INVOCATIONS / 32);
}

/* `by`, what numbers are multiplied by; the inverse of the power of two in it goes behind the rows. Rows of zeros, and those with
 * numbers that are infinite or none, have no such power. */
static void put_scale(mia__kernel *k, bool norm, uint32_t slot) {
    mia__kernel_put(k, norm ? "    let norm = inverseSqrt(all / f32(p.depth) + p.epsilon);\n"
                            : "    let norm = 1.0;\n");
    mia__kernel_add(
        k,
        "    let exponent = i32(bitcast<u32>(most * norm) >> 23u);\n"
        "    let shift = select(min(139 - exponent, 120), 0, exponent == 0 || exponent == 255);\n"
        "    let by = norm * bitcast<f32>(u32(127 + shift) << 23u);\n"
        "    if (li == 0u) { b%u[p.scales + line] = vec4<u32>(u32(127 - shift) << 23u, 0u, 0u, 0u); }\n",
        slot);
}

bool mia__kernel_halves(mia__kernel *k, const mia__product *product) {
    bool norm = product->norm_weight != NULL, prepared = mia__is_prepared(k->plan, product->weights[0]);
    uint32_t slot;
    uint64_t quads = mia__halves_quads(product->weights[0]->dtype, product->depth),
             rows = product->columns * product->batches;
    mia__kernel_enable(k, "enable subgroups;");
    mia__kernel_u32(k, "columns", product->columns);
    mia__kernel_u32(k, "rows", rows);
    mia__kernel_u32(k, "row_quads", quads);
    mia__kernel_u32(k, "scales", mia__halves_scales(product));
    if (norm) mia__kernel_f32(k, "epsilon", product->epsilon);
    if (!mia__tiles_x(k, product) || !mia__kernel_bind(k, k->step->scratch, "vec4<u32>", true, &slot))
        return false;
    mia__kernel_add(k, "var<workgroup> parts: array<vec2<f32>, %d>;\n", INVOCATIONS / 32);
    mia__kernel_put(k, "fn quad_of(row: u32, t: u32, by: f32) -> vec2<u32> {\n    ");
    mia__kernel_put(k,
                    norm ? "let v = x_quad(row, t) * g_quad(t) * by;\n" : "let v = x_quad(row, t) * by;\n");
    mia__kernel_add(k, "    return vec2<u32>(pack2x16float(v.%s), pack2x16float(v.%s));\n}\n",
                    prepared ? "xz" : "xy", prepared ? "yw" : "zw");
    mia__kernel_add(k,
                    "@compute @workgroup_size(%d)\n"
                    "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,\n"
                    "        @builtin(local_invocation_index) li: u32) {\n"
                    "    let line = min(id.x + id.y * n.x, p.rows - 1u);\n"
                    "    let row = x_row(line %% p.columns, line / p.columns);\n",
                    INVOCATIONS);
    put_reductions(k, norm);
    put_scale(k, norm, slot);
    mia__kernel_add(k,
                    "    for (var t = li * 2u; t < p.row_quads; t += %du) {\n"
                    "        b%u[(line * p.row_quads + t) / 2u] = vec4<u32>(quad_of(row, t, by), "
                    "quad_of(row, t + 1u, by));\n"
                    "    }\n}\n",
                    2 * INVOCATIONS, slot);
    return mia__kernel_end_flat(k, rows);
}
