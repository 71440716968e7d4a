/* Operands four elements at a time (kernel.h), which is what memory is read fastest by: 16 bytes of f32, 8 of f16, 4 of
 * i8. */
#include "backend/webgpu/kernel.h"

/* Fours do not cross the end of a row, or rows follow each other. */
bool mia__kernel_in_fours(const mia__view *view) {
    if (view->offset % 4 != 0) return false;
    int64_t run = 1;
    uint32_t m = 0;
    while (m < view->ndim && (view->extent[m] == 1 || view->stride[m] == run)) run *= view->extent[m++];
    if (m == view->ndim) return run > 1;
    for (; m < view->ndim; m++)
        if (view->extent[m] != 1 && view->stride[m] % 4 != 0) return false;
    return run % 4 == 0;
}

const char *mia__kernel_fours_type(mia_dtype dtype) {
    switch (mia_dtype_describe(dtype)->bytes) {
    case 1: return "u32";
    case 2: return "vec2<u32>";
    default: return "vec4<u32>";
    }
}

/* Four numbers of `w`. */
static const char *taken_apart(mia_dtype dtype) {
    switch ((int)dtype) {
    case MIA_f32: return "bitcast<vec4<f32>>(w)";
    case MIA_i32: return "bitcast<vec4<i32>>(w)";
    case MIA_u32: return "w";
    case MIA_f16: return "vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y))";
    case MIA_bf16:
        return "bitcast<vec4<f32>>(vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u))";
    case MIA_i8: return "(bitcast<vec4<i32>>(vec4<u32>(w << 24u, w << 16u, w << 8u, w))) >> vec4<u32>(24u)";
    case MIA_u8: return "vec4<u32>(w & 0xffu, (w >> 8u) & 0xffu, (w >> 16u) & 0xffu, w >> 24u)";
    default:
        return "min(vec4<u32>(w & 0xffu, (w >> 8u) & 0xffu, (w >> 16u) & 0xffu, w >> 24u), vec4<u32>(1u))";
    }
}

/* What four numbers `v` are in storage, by bits_of of the type. */
static const char *put_together(mia_dtype dtype) {
    switch ((int)dtype) {
    case MIA_f16: return "vec2<u32>(f16_word(v.x, v.y), f16_word(v.z, v.w))";
    case MIA_bf16:
        return "vec2<u32>(bf16_bits(v.x) | (bf16_bits(v.y) << 16u), bf16_bits(v.z) | (bf16_bits(v.w) << "
               "16u))";
    case MIA_i8:
    case MIA_u8:
    case MIA_bool8:
        return "out_bits(v.x) | (out_bits(v.y) << 8u) | (out_bits(v.z) << 16u) | (out_bits(v.w) << 24u)";
    default: return "bitcast<vec4<u32>>(v)";
    }
}

bool mia__kernel_input_fours(mia__kernel *k, const char *name, const mia__operand *operand) {
    uint32_t slot;
    if (!mia__kernel_bind(k, operand->buffer, mia__kernel_fours_type(operand->dtype), false, &slot))
        return false;
    mia__kernel_view(k, name, &operand->view);
    mia__kernel_at(k, name, &operand->view);
    mia__kernel_add(k,
                    "fn %s_four(q: u32) -> vec4<%s> {\n"
                    "    let w = b%u[%s_at(q * 4u) >> 2u];\n    return %s;\n}\n",
                    name, mia__kernel_type(operand->dtype), slot, name, taken_apart(operand->dtype));
    return true;
}

bool mia__kernel_output_fours(mia__kernel *k) {
    const mia__operand *output = &k->step->output;
    uint64_t count = (uint64_t)mia__view_count(&output->view);
    uint32_t slot;
    if (count > UINT32_MAX - 256) return mia__kernel_refuse(k, "its result has more than 2^32 elements");
    mia__kernel_u32(k, "count", count);
    if (!mia__kernel_bind(k, output->buffer, mia__kernel_fours_type(output->dtype), true, &slot))
        return false;
    mia__kernel_bits(k, "out_bits", output->dtype);
    mia__kernel_add(k, "fn out_four(q: u32, v: vec4<%s>) {\n    b%u[q] = %s;\n}\n",
                    mia__kernel_type(output->dtype), slot, put_together(output->dtype));
    return true;
}

bool mia__kernel_map_fours(mia__kernel *k) {
    uint64_t fours = ((uint64_t)mia__view_count(&k->step->output.view) + 3) / 4;
    mia__kernel_put(k, "fn each(q: u32) { out_four(q, four(q)); }\n");
    return mia__kernel_each(k, fours);
}
