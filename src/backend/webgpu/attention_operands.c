/* What the kernels of attention share: the sizes of a step, operands in fours, and where results go (attention.h). */
#include "backend/webgpu/attention.h"

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
                       "    return p.mask_o + head * p.mask_head + query * p.mask_query;\n}\n"
                       "fn masked(score: f32, mask: f32) -> f32 {\n"
                       "    let sum = score + mask;\n"
                       "    return select(select(sum, LEAST, sum < LEAST), LOWEST, bitcast<u32>(mask) == "
                       "0xff800000u);\n}\n");
    return true;
}

bool mia__attention_operands(mia__kernel *k, const mia__attention *a) {
    const mia__step *step = k->step;
    bool masked = step->op == MIA_OP_attention_masked;
    if (!put_rows(k, "q", 0) || !put_rows(k, "k", 1) || !put_rows(k, "v", 2) ||
        !mia__kernel_input(k, "length", &step->inputs[step->input_count - 1]) || (masked && !put_mask(k)))
        return false;
    mia__kernel_u32(k, "rows", a->rows);
    mia__kernel_u32(k, "queries", a->queries);
    mia__kernel_u32(k, "heads", a->heads);
    mia__kernel_u32(k, "fellows", a->fellows);
    mia__kernel_u32(k, "held", a->held);
    mia__kernel_f32(k, "scale", step->attributes.f[0]);
    mia__kernel_add(k,
                    "const D4 = %uu;\nconst E4 = %uu;\nconst SPLITS = %uu;\nconst LOWEST = "
                    "-0x1.fffffep127f;\nconst LEAST = -0x1.fffffcp127f;\n",
                    a->d4, a->e4, a->splits);
    mia__kernel_add(k,
                    "fn visible(query: u32) -> u32 {\n"
                    "    let rows = length_get(length_at(0u))%s;\n"
                    "    return u32(clamp(rows, 0, i32(p.held)));\n}\n",
                    masked ? "" : " + i32(query) + 1 - i32(p.queries)");
    return true;
}

/* --- results ------------------------------------------------------------------------------------ */

bool mia__attention_leave(mia__kernel *k, const mia__attention *a) {
    if (a->direct && !mia__kernel_output(k)) return false;
    mia__kernel_put(k,
                    "fn leave(split: u32, line: u32, column: u32, x: vec4<f32>, top_of: f32, sum: f32) {\n");
    if (a->direct) {
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
    if (!mia__kernel_bind(k, k->step->scratch, "vec4<f32>", true, &slot)) return false;
    mia__kernel_add(k,
                    "    let at = (split * p.heads * p.queries + line) * (E4 + 1u);\n"
                    "    b%u[at + column] = x;\n"
                    "    if (column == 0u) { b%u[at + E4] = vec4<f32>(top_of, sum, 0.0, 0.0); }\n}\n",
                    slot, slot);
    return true;
}
