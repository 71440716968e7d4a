/* Conversion of numbers between types: between scalars it is element-wise; blocks are decoded a number at a time. */
#include "backend/webgpu/expression.h"
#include "backend/webgpu/families.h"
#include "backend/webgpu/rows.h"

static bool is_block(mia_dtype dtype) {
    return mia_dtype_describe(dtype)->kind == MIA_KIND_BLOCK;
}

static bool from_blocks(mia__kernel *k) {
    const mia__step *step = k->step;
    char convert[64];
    if (!mia__kernel_output(k)) return false;
    mia__expression_convert(k, MIA_f32, step->output.dtype, convert, sizeof convert);
    if (!mia__kernel_rows(k, "x", &step->inputs[0], &step->inputs[0].view)) return false;
    uint64_t lines = step->output.view.ndim > 1 ? (uint64_t)step->output.view.extent[1] : 1;
    mia__kernel_u32(k, "lines", lines);
    mia__kernel_add(k,
                    "fn value(i: u32) -> %s {\n    let row = i / p.depth;\n"
                    "    return %s(x_number(x_row(row %% p.lines, row / p.lines), i %% p.depth));\n}\n",
                    mia__kernel_type(step->output.dtype), convert);
    return mia__kernel_map(k);
}

bool mia__kernel_convert(mia__kernel *k) {
    mia_dtype from = k->step->inputs[0].dtype, to = k->step->output.dtype;
    if (is_block(to)) return mia__kernel_refuse(k, "numbers are not made blocks there");
    return is_block(from) ? from_blocks(k) : mia__kernel_elementwise(k);
}
