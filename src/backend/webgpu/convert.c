/* Conversion of numbers between types: between scalars it is element-wise; blocks are decoded a number at a time,
 * and made by encode.c. */
#include "backend/webgpu/encode.h"
#include "backend/webgpu/expression.h"
#include "backend/webgpu/families.h"
#include "backend/webgpu/rows.h"

static bool is_block(mia_dtype dtype) {
    return mia_dtype_describe(dtype)->kind == MIA_KIND_BLOCK;
}

/* fn number(i: u32) -> f32: element i of the input. */
static bool put_number(mia__kernel *k) {
    const mia__step *step = k->step;
    const mia__operand *input = &step->inputs[0];
    if (!is_block(input->dtype)) {
        char convert[64];
        if (!mia__kernel_input(k, "x", input)) return false;
        mia__expression_convert(k, input->dtype, MIA_f32, convert, sizeof convert);
        mia__kernel_add(k, "fn number(i: u32) -> f32 { return %s(x_get(x_at(i))); }\n", convert);
        return true;
    }
    if (!mia__kernel_rows(k, "x", input, &input->view)) return false;
    mia__kernel_u32(k, "lines", input->view.ndim > 1 ? (uint64_t)input->view.extent[1] : 1);
    mia__kernel_put(k, "fn number(i: u32) -> f32 {\n    let row = i / p.depth;\n"
                       "    return x_number(x_row(row % p.lines, row / p.lines), i % p.depth);\n}\n");
    return true;
}

bool mia__kernel_convert(mia__kernel *k) {
    mia_dtype from = k->step->inputs[0].dtype, to = k->step->output.dtype;
    char convert[64];
    if (from == to) return mia__kernel_copy(k);
    if (!is_block(from) && !is_block(to)) return mia__kernel_elementwise(k);
    if (!put_number(k)) return false;
    if (is_block(to)) return mia__kernel_encode(k);
    if (!mia__kernel_output(k)) return false;
    mia__expression_convert(k, MIA_f32, to, convert, sizeof convert);
    mia__kernel_add(k, "fn value(i: u32) -> %s { return %s(number(i)); }\n", mia__kernel_type(to), convert);
    return mia__kernel_map(k);
}
