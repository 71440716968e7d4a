/* Operands in shaders (kernel.h): words taken apart and put together by type, and views as arithmetic. */
#include "backend/webgpu/kernel.h"

#include <stdio.h>

const char *mia__kernel_type(mia_dtype dtype) {
    switch ((int)dtype) {
    case MIA_i32:
    case MIA_i8: return "i32";
    case MIA_u32:
    case MIA_u8:
    case MIA_bool8: return "u32";
    default: return "f32";
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

bool mia__kernel_words(mia__kernel *k, const char *name, uint32_t buffer) {
    uint32_t slot;
    if (k->plan->buffers[buffer].bytes == 0) { /* no memory to bind; nobody looks at the number */
        mia__kernel_add(k, "fn %s_word(i: u32) -> u32 { return 0u; }\n", name);
        return true;
    }
    if (!mia__kernel_bind(k, buffer, "u32", false, &slot)) return false;
    mia__kernel_add(k, "fn %s_word(i: u32) -> u32 { return b%u[i]; }\n", name, slot);
    return true;
}

void mia__kernel_get(mia__kernel *k, const char *name, mia_dtype dtype) {
    const char *value;
    switch ((int)dtype) {
    case MIA_f32: value = "bitcast<f32>(%s_word(i))"; break;
    case MIA_i32: value = "bitcast<i32>(%s_word(i))"; break;
    case MIA_u32: value = "%s_word(i)"; break;
    case MIA_f16: value = "unpack2x16float(%s_word(i >> 1u))[i & 1u]"; break;
    case MIA_bf16: value = "bitcast<f32>((%s_word(i >> 1u) >> ((i & 1u) * 16u)) << 16u)"; break;
    case MIA_i8: value = "bitcast<i32>(%s_word(i >> 2u) << (24u - (i & 3u) * 8u)) >> 24u"; break;
    case MIA_bool8: value = "select(0u, 1u, ((%s_word(i >> 2u) >> ((i & 3u) * 8u)) & 0xffu) != 0u)"; break;
    default: value = "(%s_word(i >> 2u) >> ((i & 3u) * 8u)) & 0xffu"; break;
    }
    mia__kernel_add(k, "fn %s_get(i: u32) -> %s { return ", name, mia__kernel_type(dtype));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    mia__kernel_add(k, value, name);
#pragma GCC diagnostic pop
    mia__kernel_put(k, "; }\n");
}

void mia__kernel_view(mia__kernel *k, const char *name, const mia__view *view) {
    char field[64];
    (void)snprintf(field, sizeof field, "%s_o", name);
    mia__kernel_u32(k, field, (uint64_t)view->offset);
    for (uint32_t m = 0; m < view->ndim; m++) {
        (void)snprintf(field, sizeof field, "%s_e%u", name, m);
        mia__kernel_u32(k, field, (uint64_t)view->extent[m]);
        (void)snprintf(field, sizeof field, "%s_s%u", name, m);
        mia__kernel_u32(k, field, (uint64_t)view->stride[m]);
    }
}

/* Whether elements follow each other without gaps, from wherever the view begins. */
static bool is_run(const mia__view *view) {
    int64_t expected = 1;
    for (uint32_t m = 0; m < view->ndim; m++) {
        if (view->extent[m] != 1 && view->stride[m] != expected) return false;
        expected *= view->extent[m];
    }
    return true;
}

static bool is_one(const mia__view *view) {
    for (uint32_t m = 0; m < view->ndim; m++)
        if (view->extent[m] != 1 && view->stride[m] != 0) return false;
    return true;
}

void mia__kernel_at(mia__kernel *k, const char *name, const mia__view *view) {
    if (is_one(view)) {
        mia__kernel_add(k, "fn %s_at(i: u32) -> u32 { return p.%s_o; }\n", name, name);
        return;
    }
    if (is_run(view)) {
        mia__kernel_add(k, "fn %s_at(i: u32) -> u32 { return p.%s_o + i; }\n", name, name);
        return;
    }
    mia__kernel_add(k, "fn %s_at(i: u32) -> u32 {\n    var r = i;\n    var o = p.%s_o;\n", name, name);
    for (uint32_t m = 0; m + 1 < view->ndim; m++)
        mia__kernel_add(k, "    o += (r %% p.%s_e%u) * p.%s_s%u;\n    r /= p.%s_e%u;\n", name, m, name, m,
                        name, m);
    mia__kernel_add(k, "    return o + r * p.%s_s%u;\n}\n", name, view->ndim - 1);
}

bool mia__kernel_input(mia__kernel *k, const char *name, const mia__operand *operand) {
    if (!mia__kernel_words(k, name, operand->buffer)) return false;
    if (mia_dtype_describe(operand->dtype)->kind != MIA_KIND_BLOCK) mia__kernel_get(k, name, operand->dtype);
    mia__kernel_view(k, name, &operand->view);
    mia__kernel_at(k, name, &operand->view);
    return true;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* f16s of two numbers in a word, to nearest even, by their bits: the GPU's own conversion may cut digits off, and those below the
 * normal numbers. These come of the lowest digits of m + 1/2. */
static const char f16_word[] =
    "fn f16_word(a: f32, b: f32) -> u32 {\n"
    "    let bits = bitcast<vec2<u32>>(vec2<f32>(a, b));\n"
    "    let m = bits & vec2<u32>(0x7fffffffu);\n"
    "    let low = bitcast<vec2<u32>>(bitcast<vec2<f32>>(min(m, vec2<u32>(0x38800000u))) + 0.5) - "
    "0x3f000000u;\n"
    "    let normal = (m - 0x38000000u + 0xfffu + ((m >> vec2<u32>(13u)) & vec2<u32>(1u))) >> "
    "vec2<u32>(13u);\n"
    "    let special = select(vec2<u32>(0x7c00u), vec2<u32>(0x7e00u), m > vec2<u32>(0x7f800000u));\n"
    "    let finite = select(normal, low, m < vec2<u32>(0x38800000u));\n"
    "    let v = select(finite, special, m >= vec2<u32>(0x47800000u)) |\n"
    "        ((bits >> vec2<u32>(16u)) & vec2<u32>(0x8000u));\n"
    "    return v.x | (v.y << 16u);\n}\n";

/* To nearest even; what is no number keeps a bit that says so. */
static const char bf16_bits[] = "fn bf16_bits(v: f32) -> u32 {\n"
                                "    let b = bitcast<u32>(v);\n"
                                "    if ((b & 0x7fffffffu) > 0x7f800000u) { return (b >> 16u) | 0x40u; }\n"
                                "    return (b + 0x7fffu + ((b >> 16u) & 1u)) >> 16u;\n}\n";

void mia__kernel_round(mia__kernel *k, const char *name, mia_dtype dtype) {
    const char *type = mia__kernel_type(dtype), *value;
    switch ((int)dtype) {
    case MIA_f16:
        mia__kernel_once(k, f16_word);
        value = "unpack2x16float(f16_word(v, 0.0)).x";
        break;
    case MIA_bf16:
        mia__kernel_once(k, bf16_bits);
        value = "bitcast<f32>(bf16_bits(v) << 16u)";
        break;
    case MIA_i8: value = "(v << 24u) >> 24u"; break;
    case MIA_u8: value = "v & 0xffu"; break;
    default: value = "v"; break;
    }
    mia__kernel_add(k, "fn %s(v: %s) -> %s { return %s; }\n", name, type, type, value);
}

void mia__kernel_bits(mia__kernel *k, const char *name, mia_dtype dtype) {
    const char *value;
    switch ((int)dtype) {
    case MIA_f16:
        mia__kernel_once(k, f16_word);
        value = "f16_word(v, 0.0) & 0xffffu";
        break;
    case MIA_bf16:
        mia__kernel_once(k, bf16_bits);
        value = "bf16_bits(v)";
        break;
    case MIA_i8:
    case MIA_u8: value = "bitcast<u32>(v) & 0xffu"; break;
    default: value = "bitcast<u32>(v)"; break;
    }
    mia__kernel_add(k, "fn %s(v: %s) -> u32 { return %s; }\n", name, mia__kernel_type(dtype), value);
}

bool mia__kernel_result(mia__kernel *k, const char *name, const mia__operand *operand) {
    uint32_t slot;
    if (!mia__kernel_bind(k, operand->buffer, "u32", true, &slot)) return false;
    char round[64];
    (void)snprintf(round, sizeof round, "%s_round", name);
    mia__kernel_round(k, round, operand->dtype);
    const char *type = mia__kernel_type(operand->dtype);
    switch ((int)operand->dtype) {
    case MIA_f16:
        mia__kernel_add(k, "fn %s_put(w: u32, a: f32, b: f32) { b%u[w] = f16_word(a, b); }\n", name, slot);
        break;
    case MIA_bf16:
        mia__kernel_add(
            k, "fn %s_put(w: u32, a: f32, b: f32) { b%u[w] = bf16_bits(a) | (bf16_bits(b) << 16u); }\n", name,
            slot);
        break;
    case MIA_i8:
    case MIA_u8:
    case MIA_bool8:
        mia__kernel_add(k,
                        "fn %s_put(w: u32, a: %s, b: %s, c: %s, d: %s) {\n"
                        "    b%u[w] = (u32(a) & 0xffu) | ((u32(b) & 0xffu) << 8u) | ((u32(c) & 0xffu) << "
                        "16u) | (u32(d) << 24u);\n"
                        "}\n",
                        name, type, type, type, type, slot);
        break;
    default:
        mia__kernel_add(k, "fn %s_put(w: u32, a: %s) { b%u[w] = bitcast<u32>(a); }\n", name, type, slot);
        break;
    }
    return true;
}

bool mia__kernel_output(mia__kernel *k) {
    const mia__operand *output = &k->step->output;
    uint64_t count = (uint64_t)mia__view_count(&output->view);
    if (count > UINT32_MAX - 256) return mia__kernel_refuse(k, "its result has more than 2^32 elements");
    mia__kernel_u32(k, "count", count);
    return mia__kernel_result(k, "out", output);
}

bool mia__kernel_map(mia__kernel *k) {
    uint32_t per_word = mia__kernel_per_word(k->step->output.dtype);
    uint64_t count = (uint64_t)mia__view_count(&k->step->output.view),
             words = (count + per_word - 1) / per_word;
    mia__kernel_put(k, "fn each(w: u32) {\n");
    switch (per_word) {
    case 1: mia__kernel_put(k, "    out_put(w, value(w));\n}\n"); break;
    case 2:
        mia__kernel_put(k, "    let last = p.count - 1u;\n    let i = w * 2u;\n"
                           "    out_put(w, value(i), value(min(i + 1u, last)));\n}\n");
        break;
    default:
        mia__kernel_put(k, "    let last = p.count - 1u;\n    let i = w * 4u;\n"
                           "    out_put(w, value(i), value(min(i + 1u, last)), value(min(i + 2u, last)), "
                           "value(min(i + 3u, last)));\n}\n");
        break;
    }
    return mia__kernel_each(k, words);
}
