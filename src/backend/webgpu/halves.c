/* x of a product rounded to f16 for subgroup matrices (tiles.h): a workgroup brings a row, with the norm before it where there
 * is one. */
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

size_t mia__halves_scratch(const mia__plan *plan, const mia__step *step) {
    mia__product product;
    if (!mia__product_of(plan, step, &product) || product.core_count != 1 ||
        product.columns <= MIA__PRODUCT_FEW_COLUMNS)
        return 0;
    mia_dtype dtype = product.weights[0]->dtype;
    if (dtype != MIA_f16 && !is_block(dtype)) return 0;
    return (size_t)(product.columns * product.batches * mia__halves_quads(dtype, product.depth)) * 8;
}

static void put_squares(mia__kernel *k) {
    mia__kernel_add(
        k,
        "    var squares = 0.0;\n"
        "    for (var t = li; t < p.row_quads; t += %du) { let v = x_quad(row, t); squares += dot(v, v); }\n"
        "    let sum = subgroupAdd(squares);\n"
        "    if (li %% 32u == 0u) { parts[li / 32u] = sum; }\n"
        "    workgroupBarrier();\n    var all = 0.0;\n"
        "    for (var i = 0u; i < %du; i++) { all += parts[i]; }\n"
        "    let by = inverseSqrt(all / f32(p.depth) + p.epsilon);\n",
        INVOCATIONS, INVOCATIONS / 32);
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
    if (norm) mia__kernel_f32(k, "epsilon", product->epsilon);
    if (!mia__tiles_x(k, product) || !mia__kernel_bind(k, k->step->scratch, "vec4<u32>", true, &slot))
        return false;
    if (norm) mia__kernel_add(k, "var<workgroup> parts: array<f32, %d>;\n", INVOCATIONS / 32);
    mia__kernel_put(k, "fn quad_of(row: u32, t: u32, by: f32) -> vec2<u32> {\n    ");
    mia__kernel_put(k, norm ? "let v = x_quad(row, t) * g_quad(t) * by;\n" : "let v = x_quad(row, t);\n");
    mia__kernel_add(k, "    return vec2<u32>(pack2x16float(v.%s), pack2x16float(v.%s));\n}\n",
                    prepared ? "xz" : "xy", prepared ? "yw" : "zw");
    mia__kernel_add(k,
                    "@compute @workgroup_size(%d)\n"
                    "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,\n"
                    "        @builtin(local_invocation_index) li: u32) {\n"
                    "    let line = min(id.x + id.y * n.x, p.rows - 1u);\n"
                    "    let row = x_row(line %% p.columns, line / p.columns);\n",
                    INVOCATIONS);
    if (norm)
        put_squares(k);
    else
        mia__kernel_put(k, "    let by = 1.0;\n");
    mia__kernel_add(k,
                    "    for (var t = li * 2u; t < p.row_quads; t += %du) {\n"
                    "        b%u[(line * p.row_quads + t) / 2u] = vec4<u32>(quad_of(row, t, by), "
                    "quad_of(row, t + 1u, by));\n"
                    "    }\n}\n",
                    2 * INVOCATIONS, slot);
    return mia__kernel_end_flat(k, rows);
}
