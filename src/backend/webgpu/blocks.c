/* Blocks in shaders (blocks.h): the text of each format's decoder, `W` standing for the operand's name. */
#include "backend/webgpu/blocks.h"

#include "base/block.h"

#include <stdio.h>

static const char helpers[] =
    "fn W_byte(i: u32) -> u32 { return (W_word(i >> 2u) >> ((i & 3u) * 8u)) & 0xffu; }\n"
    "fn W_half(i: u32) -> f32 { return unpack2x16float(W_word(i >> 2u) >> ((i & 2u) * 8u)).x; }\n"
    "fn W_nibble(at: u32, i: u32, half: u32) -> u32 {\n" /* quants in the low halves, then in the high ones */
    "    return (W_byte(at + i % half) >> ((i / half) * 4u)) & 15u;\n}\n";

static const char q8_0[] =
    "fn W_block(block: u32, i: u32) -> f32 {\n"
    "    let at = block * 34u;\n"
    "    return W_half(at) * f32(bitcast<i32>(W_byte(at + 2u + i) << 24u) >> 24u);\n}\n";

static const char q4_0[] = "fn W_block(block: u32, i: u32) -> f32 {\n"
                           "    let at = block * 18u;\n"
                           "    return W_half(at) * (f32(W_nibble(at + 2u, i, 16u)) - 8.0);\n}\n";

static const char q4_1[] = "fn W_block(block: u32, i: u32) -> f32 {\n"
                           "    let at = block * 20u;\n"
                           "    return W_half(at) * f32(W_nibble(at + 4u, i, 16u)) + W_half(at + 2u);\n}\n";

static const char q5_0[] =
    "fn W_block(block: u32, i: u32) -> f32 {\n"
    "    let at = block * 22u;\n"
    "    let high = (W_byte(at + 2u + i / 8u) >> (i % 8u)) & 1u;\n"
    "    return W_half(at) * (f32(W_nibble(at + 6u, i, 16u) | (high << 4u)) - 16.0);\n}\n";

static const char q5_1[] =
    "fn W_block(block: u32, i: u32) -> f32 {\n"
    "    let at = block * 24u;\n"
    "    let high = (W_byte(at + 4u + i / 8u) >> (i % 8u)) & 1u;\n"
    "    return W_half(at) * f32(W_nibble(at + 8u, i, 16u) | (high << 4u)) + W_half(at + 2u);\n}\n";

/* Run r's scale and least number, of 6 bits. */
static const char k_scales[] =
    "fn W_scales(at: u32, r: u32) -> vec2<f32> {\n"
    "    let j = r & 3u;\n"
    "    let a = W_byte(at + j);\n"
    "    let b = W_byte(at + 4u + j);\n"
    "    if (r < 4u) { return vec2<f32>(f32(a & 63u), f32(b & 63u)); }\n"
    "    let c = W_byte(at + 8u + j);\n"
    "    return vec2<f32>(f32((c & 15u) | ((a >> 6u) << 4u)), f32((c >> 4u) | ((b >> 6u) << 4u)));\n}\n";

static const char q4_K[] = "fn W_block(block: u32, i: u32) -> f32 {\n"
                           "    let at = block * 144u;\n"
                           "    let s = W_scales(at + 4u, i / 32u);\n"
                           "    let q = f32(W_nibble(at + 16u + (i / 64u) * 32u, i % 64u, 32u));\n"
                           "    return W_half(at) * s.x * q - W_half(at + 2u) * s.y;\n}\n";

static const char q5_K[] =
    "fn W_block(block: u32, i: u32) -> f32 {\n"
    "    let at = block * 176u;\n"
    "    let s = W_scales(at + 4u, i / 32u);\n"
    "    let high = (W_byte(at + 16u + i % 32u) >> (i / 32u)) & 1u;\n"
    "    let q = f32(W_nibble(at + 48u + (i / 64u) * 32u, i % 64u, 32u) | (high << 4u));\n"
    "    return W_half(at) * s.x * q - W_half(at + 2u) * s.y;\n}\n";

/* quarters of 32 in each half of the block: base/block_k.c draws them */
static const char q6_K[] =
    "fn W_block(block: u32, i: u32) -> f32 {\n"
    "    let at = block * 210u;\n"
    "    let h = i / 128u;\n"
    "    let q = (i / 32u) & 3u;\n"
    "    let low = (W_byte(at + h * 64u + (q & 1u) * 32u + i % 32u) >> ((q >> 1u) * 4u)) & 15u;\n"
    "    let high = (W_byte(at + 128u + h * 32u + i % 32u) >> (q * 2u)) & 3u;\n"
    "    let s = f32(bitcast<i32>(W_byte(at + 192u + i / 16u) << 24u) >> 24u);\n"
    "    return W_half(at + 208u) * s * (f32(low | (high << 4u)) - 32.0);\n}\n";

void mia__kernel_block(mia__kernel *k, const char *name, mia_dtype dtype) {
    const char *text = NULL;
    switch ((int)dtype) {
    case MIA_q8_0: text = q8_0; break;
    case MIA_q4_0: text = q4_0; break;
    case MIA_q4_1: text = q4_1; break;
    case MIA_q5_0: text = q5_0; break;
    case MIA_q5_1: text = q5_1; break;
    case MIA_q4_K: text = q4_K; break;
    case MIA_q5_K: text = q5_K; break;
    case MIA_q6_K: text = q6_K; break;
    default: (void)mia__kernel_refuse(k, "it is of a block type without a decoder"); return;
    }
    char prefix[32];
    (void)snprintf(prefix, sizeof prefix, "%s_", name);
    const mia__kernel_word word = {"W_", prefix};
    mia__kernel_put_with(k, helpers, &word, 1);
    if (dtype == MIA_q4_K || dtype == MIA_q5_K) mia__kernel_put_with(k, k_scales, &word, 1);
    mia__kernel_put_with(k, text, &word, 1);
}

void mia__kernel_number(mia__kernel *k, const char *name, mia_dtype dtype) {
    const mia__block_format *format = mia__block_find(dtype);
    if (format == NULL) {
        mia__kernel_add(k,
                        "fn %s_number(row: u32, i: u32) -> f32 { return f32(%s_get(row + i * p.%s_s0)); }\n",
                        name, name, name);
        return;
    }
    mia__kernel_block(k, name, dtype);
    mia__kernel_add(k,
                    "fn %s_number(row: u32, i: u32) -> f32 { return %s_block(row + i / %uu, i %% %uu); }\n",
                    name, name, format->elements, format->elements);
}
