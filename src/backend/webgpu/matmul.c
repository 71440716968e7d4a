/* Matrix products: w [K, N, ...] by x [K, M, ...] gives [N, M, ...]. Which kernel makes which, and the one that takes anything:
 * each number of the result by an invocation of its own. */
#include "backend/webgpu/families.h"
#include "backend/webgpu/rows.h"
#include "backend/webgpu/tiles.h"

static bool each_alone(mia__kernel *k) {
    const mia__step *step = k->step;
    const mia__view *out = &step->output.view;
    if (!mia__kernel_output(k) || !mia__kernel_rows(k, "w", &step->inputs[0], out) ||
        !mia__kernel_rows(k, "x", &step->inputs[1], out))
        return false;
    mia__kernel_u32(k, "rows", (uint64_t)out->extent[0]);
    mia__kernel_u32(k, "columns", out->ndim > 1 ? (uint64_t)out->extent[1] : 1);
    mia__kernel_put(k, "fn value(i: u32) -> f32 {\n"
                       "    let n = i % p.rows;\n"
                       "    let m = (i / p.rows) % p.columns;\n"
                       "    let batch = i / (p.rows * p.columns);\n"
                       "    let a = w_row(n, batch);\n"
                       "    let b = x_row(m, batch);\n"
                       "    var sum = 0.0;\n"
                       "    for (var j = 0u; j < p.depth; j++) { sum += w_number(a, j) * x_number(b, j); }\n"
                       "    return sum;\n}\n");
    k->nanoseconds =
        3000 + 2.0 * (double)mia__view_count(out) * (double)step->inputs[0].view.extent[0] / 1000;
    return mia__kernel_map(k);
}

static bool in_tiles(mia__kernel *k) {
    mia__product product;
    if (!mia__product_of(k->plan, k->step, &product) || product.columns <= MIA__PRODUCT_FEW_COLUMNS)
        return false;
    if (mia__kernel_matrices(k, &product)) return true;
    if (k->status != MIA_OK) return false;
    mia__kernel_again(k);
    if (mia__kernel_tiles(k, &product)) return true;
    if (k->status == MIA_OK) mia__kernel_again(k);
    return false;
}

bool mia__kernel_matmul(mia__kernel *k) {
    /* two results of two bytes share a word */
    bool words = mia_dtype_describe(k->step->output.dtype)->bytes == 4;
    if (words && (in_tiles(k) || (k->status == MIA_OK && mia__kernel_matvec(k)))) return true;
    if (k->status != MIA_OK) return false;
    if (k->step->op != MIA_OP_matmul) return mia__kernel_refuse(k, "its product has no kernel there");
    mia__kernel_again(k);
    return each_alone(k);
}
