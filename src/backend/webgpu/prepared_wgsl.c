/* Readers of prepared weights (prepared.h). Quants become f32 without a conversion, which GPUs do slowly: behind the bits of 2^23
 * a whole number q is 2^23 + q, and one that stands 8 bits higher 2^23 + 256 q. That 256 is taken off x beforehand, once for all
 * rows, and so a number costs a bit operation, a subtraction and a multiplication with addition.
 *
 * In these texts `W_` stands for the operand's name, OFFSET for what quants are off by. */
#include "backend/webgpu/prepared.h"

#include "base/block.h"

#include <stdio.h>

/* q: bytes b 0 .. 3 of a word, of up to 8 bits; the 2nd and 4th come 256 times too large. */
static const char bytes[] =
    "fn W_bytes(q: u32) -> vec4<f32> {\n"
    "    let h = q >> 16u;\n"
    "    let v = vec4<u32>(q & 0xffu, q & 0xff00u, h & 0xffu, h & 0xff00u) | vec4<u32>(0x4b000000u);\n"
    "    let o = 8388608.0 + OFFSET;\n"
    "    let p = 8388608.0 + 256.0 * OFFSET;\n"
    "    return bitcast<vec4<f32>>(v) - vec4<f32>(o, p, o, p);\n}\n"
    "fn W_by(j: u32) -> vec4<f32> { return vec4<f32>(1.0, 0.00390625, 1.0, 0.00390625); }\n";

/* Lower halves of a word's bytes, and upper ones, which come 16 times larger still. */
static const char halves[] =
    "fn W_low(q: u32) -> vec4<f32> {\n"
    "    let h = q >> 16u;\n"
    "    let v = vec4<u32>(q & 0x0fu, q & 0x0f00u, h & 0x0fu, h & 0x0f00u) | vec4<u32>(0x4b000000u);\n"
    "    let o = 8388608.0 + OFFSET;\n"
    "    let p = 8388608.0 + 256.0 * OFFSET;\n"
    "    return bitcast<vec4<f32>>(v) - vec4<f32>(o, p, o, p);\n}\n"
    "fn W_high(q: u32) -> vec4<f32> {\n"
    "    let h = q >> 16u;\n"
    "    let v = vec4<u32>(q & 0xf0u, q & 0xf000u, h & 0xf0u, h & 0xf000u) | vec4<u32>(0x4b000000u);\n"
    "    let o = 8388608.0 + 16.0 * OFFSET;\n"
    "    let p = 8388608.0 + 4096.0 * OFFSET;\n"
    "    return bitcast<vec4<f32>>(v) - vec4<f32>(o, p, o, p);\n}\n"
    "fn W_by(j: u32) -> vec4<f32> {\n"
    "    if (j < 4u) { return vec4<f32>(1.0, 0.00390625, 1.0, 0.00390625); }\n"
    "    return vec4<f32>(0.0625, 0.000244140625, 0.0625, 0.000244140625);\n}\n";

/* Vector j of a chunk's quants, as it meets vector j of x. */
static const char vector_8[] =
    "fn W_vector(at: u32, q: vec4<u32>, j: u32) -> vec4<f32> { return W_bytes(q[j]); }\n";

static const char vector_4[] = "fn W_vector(at: u32, q: vec4<u32>, j: u32) -> vec4<f32> {\n"
                               "    if (j < 4u) { return W_low(q[j]); }\n"
                               "    return W_high(q[j - 4u]);\n}\n";

static const char vector_5[] = "fn W_vector(at: u32, q: vec4<u32>, j: u32) -> vec4<f32> {\n"
                               "    let high = ((W_word(p.W_highs + at) >> j) & 0x01010101u) << 4u;\n"
                               "    if (j < 4u) { return W_bytes((q[j] & 0x0f0f0f0fu) | high); }\n"
                               "    return W_bytes(((q[j - 4u] >> 4u) & 0x0f0f0f0fu) | high);\n}\n";

static const char vector_6[] =
    "fn W_vector(at: u32, q: vec4<u32>, j: u32) -> vec4<f32> {\n"
    "    let high = ((W_word(p.W_highs + at * 2u + (j >> 2u)) >> ((j & 3u) * 2u)) & 0x03030303u) << 4u;\n"
    "    if (j < 4u) { return W_bytes((q[j] & 0x0f0f0f0fu) | high); }\n"
    "    return W_bytes(((q[j - 4u] >> 4u) & 0x0f0f0f0fu) | high);\n}\n";

/* Vector j of a chunk's quants as four signed bytes: less their offset (q6_K), or as they are, where sums of x say what the
 * offset comes to (others). The first of q6_K's steps adds what no byte carries over, the second takes it back. */
static const char ints_4[] = "fn W_ints(at: u32, q: vec4<u32>, j: u32) -> u32 {\n"
                             "    if (j < 4u) { return q[j] & 0x0f0f0f0fu; }\n"
                             "    return (q[j - 4u] >> 4u) & 0x0f0f0f0fu;\n}\n";

static const char ints_5[] = "fn W_ints(at: u32, q: vec4<u32>, j: u32) -> u32 {\n"
                             "    let high = ((W_word(p.W_highs + at) >> j) & 0x01010101u) << 4u;\n"
                             "    if (j < 4u) { return (q[j] & 0x0f0f0f0fu) | high; }\n"
                             "    return ((q[j - 4u] >> 4u) & 0x0f0f0f0fu) | high;\n}\n";

static const char ints_6[] =
    "fn W_signed(q: u32) -> u32 { return ((q | 0x80808080u) - 0x20202020u) ^ 0x80808080u; }\n"
    "fn W_ints(at: u32, q: vec4<u32>, j: u32) -> u32 {\n"
    "    let high = ((W_word(p.W_highs + at * 2u + (j >> 2u)) >> ((j & 3u) * 2u)) & 0x03030303u) << 4u;\n"
    "    if (j < 4u) { return W_signed((q[j] & 0x0f0f0f0fu) | high); }\n"
    "    return W_signed(((q[j - 4u] >> 4u) & 0x0f0f0f0fu) | high);\n}\n";

/* d and m of vector j of chunk l of the group whose number, of all rows' together, is given. */
static const char scale_8[] =
    "fn W_scale_in(v: vec4<u32>, l: u32, j: u32) -> vec2<f32> {\n"
    "    return vec2<f32>(unpack2x16float(v[l >> 2u])[(l >> 1u) & 1u], 0.0);\n}\n"
    "fn W_scale(group: u32, l: u32, j: u32) -> vec2<f32> { return W_scale_in(W_scales_of(group), l, j); }\n";

static const char scale_halves[] =
    "fn W_scale_in(v: vec4<u32>, l: u32, j: u32) -> vec2<f32> {\n"
    "    return vec2<f32>(unpack2x16float(v[j >> 1u])[j & 1u], 0.0);\n}\n"
    "fn W_scale(group: u32, l: u32, j: u32) -> vec2<f32> { return W_scale_in(W_scales_of(group), l, j); }\n";

static const char scale_pairs[] = "fn W_scale(group: u32, l: u32, j: u32) -> vec2<f32> {\n"
                                  "    let at = p.W_scales + group * 8u + (j >> 1u);\n"
                                  "    return vec2<f32>(unpack2x16float(W_word(at))[j & 1u],\n"
                                  "                     unpack2x16float(W_word(at + 4u))[j & 1u]);\n}\n";

static const char scale_k[] = "fn W_scale(group: u32, l: u32, j: u32) -> vec2<f32> {\n"
                              "    let at = p.W_scales + group * 5u;\n"
                              "    let s = (W_word(at + 1u + (j >> 2u)) >> ((j & 3u) * 8u)) & 0xffu;\n"
                              "    let t = (W_word(at + 3u + (j >> 2u)) >> ((j & 3u) * 8u)) & 0xffu;\n"
                              "    return unpack2x16float(W_word(at)) * vec2<f32>(f32(s), f32(t));\n}\n";

static const char scale_6[] = "fn W_scale(group: u32, l: u32, j: u32) -> vec2<f32> {\n"
                              "    let at = p.W_scales + group * 5u;\n"
                              "    let w = W_word(at + 1u + (l >> 2u) * 2u + (j >> 2u));\n"
                              "    let s = bitcast<i32>(w << (24u - (j & 3u) * 8u)) >> 24u;\n"
                              "    return vec2<f32>(unpack2x16float(W_word(at)).x * f32(s), 0.0);\n}\n";

static const char number[] = "fn W_number(row: u32, i: u32) -> f32 {\n"
                             "    let group = row * p.groups + i / 256u;\n"
                             "    let e = i % 256u;\n"
                             "    let j = JOF;\n"
                             "    let l = LOF;\n"
                             "    let at = group * CHUNKSu + l;\n"
                             "    let s = W_scale(group, l, j);\n"
                             "    return s.x * (W_vector(at, W_quads(at), j) * W_by(j))[e & 3u] - s.y;\n}\n";

typedef struct reader {
    mia_dtype dtype;
    const char *unpack, *vector, *scale, *ints;
} reader;

static const reader readers[] = {
    {MIA_q8_0, bytes, vector_8, scale_8, NULL},        {MIA_q4_0, halves, vector_4, scale_halves, ints_4},
    {MIA_q4_1, halves, vector_4, scale_pairs, ints_4}, {MIA_q5_0, bytes, vector_5, scale_halves, ints_5},
    {MIA_q5_1, bytes, vector_5, scale_pairs, ints_5},  {MIA_q4_K, halves, vector_4, scale_k, ints_4},
    {MIA_q5_K, bytes, vector_5, scale_k, ints_5},      {MIA_q6_K, bytes, vector_6, scale_6, ints_6},
};

bool mia__prepared_scales_are_quads(mia_dtype dtype) {
    return dtype == MIA_q8_0 || dtype == MIA_q4_0 || dtype == MIA_q5_0;
}

bool mia__prepared_has_least(mia_dtype dtype) {
    const mia__block_format *format = mia__block_find(dtype);
    return format != NULL && format->has_least;
}

/* The function that multiplies a chunk, unrolled. */
static void put_dot(mia__kernel *k, const char *name, mia_dtype dtype) {
    uint32_t vectors = mia__prepared_vectors(dtype), chunks = mia__prepared_chunks(dtype);
    bool least = mia__prepared_has_least(dtype);
    mia__kernel_add(k, "fn %s_dot(row: u32, chunk: u32", name);
    for (uint32_t j = 0; j < vectors; j++) mia__kernel_add(k, ", x%u: vec4<f32>", j);
    for (uint32_t j = 0; least && j < vectors; j++) mia__kernel_add(k, ", s%u: f32", j);
    mia__kernel_add(
        k,
        ") -> f32 {\n    let group = row * p.groups + chunk / %uu;\n    let l = chunk %% %uu;\n"
        "    let at = row * p.groups * %uu + chunk;\n    let q = %s_quads(at);\n    var sum = 0.0;\n",
        chunks, chunks, chunks, name);
    for (uint32_t j = 0; j < vectors; j++) {
        mia__kernel_add(k, "    let d%u = %s_scale(group, l, %uu);\n", j, name, j);
        mia__kernel_add(k, "    sum += dot(d%u.x * %s_vector(at, q, %uu), x%u)", j, name, j, j);
        if (least) mia__kernel_add(k, " - d%u.y * s%u", j, j);
        mia__kernel_put(k, ";\n");
    }
    mia__kernel_put(k, "    return sum;\n}\n");
}

static const reader *find_reader(mia_dtype dtype) {
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++)
        if (readers[i].dtype == dtype) return &readers[i];
    return NULL;
}

bool mia__prepared_needs_sums(mia_dtype dtype) {
    const mia__block_format *format = mia__block_find(dtype);
    bool brought_to_zero = dtype == MIA_q8_0 || dtype == MIA_q6_K;
    return format->has_least || (format->offset != 0 && !brought_to_zero);
}

const char *mia__prepared_bytes_scales(mia_dtype dtype) {
    return dtype == MIA_q8_0 ? "u32" : "vec4<u32>";
}

/* A chunk lies in one block. */
static const char bytes_8[] =
    "fn W_bytes_scales(row: u32, chunk: u32) -> u32 { return W_word(p.W_scales + row * 4u + chunk / 4u); }\n"
    "fn W_bytes_dot(row: u32, chunk: u32, q: vec4<u32>, s: u32, x0: vec4<u32>, e0: f32, own: f32) -> f32 {\n"
    "    let i = q ^ vec4<u32>(0x80808080u);\n"
    "    let all = dot4I8Packed(i.x, x0.x) + dot4I8Packed(i.y, x0.y) + dot4I8Packed(i.z, x0.z) +\n"
    "              dot4I8Packed(i.w, x0.w);\n"
    "    return unpack2x16float(s >> ((chunk & 2u) * 8u)).x * e0 * f32(all);\n}\n";

/* Scales of four vectors of a chunk from number 4 * `half` on. */
static void put_four_scales(mia__kernel *k, const char *name, mia_dtype dtype, uint32_t half) {
    if (mia__prepared_scales_are_quads(dtype)) {
        mia__kernel_add(k, "    let d%u = vec4<f32>(unpack2x16float(s.%s), unpack2x16float(s.%s));\n", half,
                        half == 0 ? "x" : "z", half == 0 ? "y" : "w");
        return;
    }
    mia__kernel_add(k, "    let d%u = vec4<f32>(", half);
    for (uint32_t j = 0; j < 4; j++)
        mia__kernel_add(k, "%s%s_scale(all, l, %uu).x", j > 0 ? ", " : "", name, half * 4 + j);
    mia__kernel_put(k, ");\n");
}

/* The function that multiplies a chunk by x rounded to bytes, unrolled. */
static void put_bytes_dot(mia__kernel *k, const char *name, mia_dtype dtype) {
    const mia__block_format *format = mia__block_find(dtype);
    mia__kernel_add(k,
                    "fn %s_bytes_dot(row: u32, chunk: u32, q: vec4<u32>, s: vec4<u32>, x0: vec4<u32>, e0: "
                    "vec4<f32>,\n        x1: vec4<u32>, e1: vec4<f32>, own: f32) -> f32 {\n"
                    "    let l = chunk %% 8u;\n    let all = row + chunk / 8u;\n    let at = all * 8u + l;\n"
                    "    var sum = 0.0;\n",
                    name);
    for (uint32_t half = 0; half < 2; half++) {
        put_four_scales(k, name, dtype, half);
        mia__kernel_add(k, "    sum += dot(d%u * e%u, vec4<f32>(", half, half);
        for (uint32_t j = 0; j < 4; j++)
            mia__kernel_add(k, "%sf32(dot4I8Packed(%s_ints(at, q, %uu), x%u[%u]))", j > 0 ? ", " : "", name,
                            half * 4 + j, half, j);
        mia__kernel_put(k, "));\n");
    }
    /* a run of 32 has a least number, or an offset, and its sum is met once, by the chunk of its number */
    if (format->has_least)
        mia__kernel_add(k, "    sum -= %s_scale(all, l, l).y * own;\n", name);
    else if (mia__prepared_needs_sums(dtype))
        mia__kernel_add(k, "    sum -= %s_scale_in(s, l, l).x * %d.0 * own;\n", name, (int)format->offset);
    mia__kernel_put(k, "    return sum;\n}\n");
}

void mia__prepared_bytes(mia__kernel *k, const char *name, mia_dtype dtype) {
    const reader *found = find_reader(dtype);
    char prefix[32];
    (void)snprintf(prefix, sizeof prefix, "%s_", name);
    const mia__kernel_word words[] = {{"W_", prefix}};
    if (dtype == MIA_q8_0) {
        mia__kernel_put_with(k, bytes_8, words, 1);
        return;
    }
    mia__kernel_put_with(k, found->ints, words, 1);
    mia__kernel_add(k, "fn %s_bytes_scales(row: u32, chunk: u32) -> vec4<u32> { return ", name);
    if (mia__prepared_scales_are_quads(dtype))
        mia__kernel_add(k, "%s_scales_of(row + chunk / 8u); }\n", name);
    else
        mia__kernel_put(k, "vec4<u32>(); }\n");
    put_bytes_dot(k, name, dtype);
}

void mia__prepared_first(mia__kernel *k, mia_dtype dtype, const char *chunk) {
    if (dtype == MIA_q8_0)
        mia__kernel_add(k, "%s * 4u", chunk);
    else
        mia__kernel_add(k, "(%s / 8u) * 64u + %s %% 8u", chunk, chunk);
}

bool mia__prepared_readers(mia__kernel *k, const char *name, uint32_t slot, mia_dtype dtype, uint64_t depth,
                           uint64_t rows) {
    const mia__block_format *format = mia__block_find(dtype);
    const reader *found = find_reader(dtype);
    if (found == NULL || format == NULL) return mia__kernel_refuse(k, "its weights have no readers");
    char prefix[32], offset[16], chunks[16], field[64];
    (void)snprintf(prefix, sizeof prefix, "%s_", name);
    (void)snprintf(offset, sizeof offset, "%d.0", (int)format->offset);
    (void)snprintf(chunks, sizeof chunks, "%u", mia__prepared_chunks(dtype));
    const mia__kernel_word words[] = {{"W_", prefix},
                                      {"OFFSET", offset},
                                      {"CHUNKS", chunks},
                                      {"JOF", dtype == MIA_q8_0 ? "(e / 4u) % 4u" : "e / 32u"},
                                      {"LOF", dtype == MIA_q8_0 ? "e / 16u" : "(e / 4u) % 8u"}};
    const mia__prepared_layout layout = mia__prepared_layout_of(dtype, depth, rows);
    (void)snprintf(field, sizeof field, "%s_highs", name);
    mia__kernel_u32(k, field, layout.highs);
    (void)snprintf(field, sizeof field, "%s_scales", name);
    mia__kernel_u32(k, field, layout.scales);
    mia__kernel_u32(k, "groups", (depth + MIA__PREPARED_GROUP - 1) / MIA__PREPARED_GROUP);
    mia__kernel_add(
        k,
        "fn %s_quads(i: u32) -> vec4<u32> { return b%u[i]; }\n"
        "fn %s_word(i: u32) -> u32 { return b%u[i >> 2u][i & 3u]; }\n"
        "fn %s_scales_of(group: u32) -> vec4<u32> { return %s_quads((p.%s_scales >> 2u) + group); }\n",
        name, slot, name, slot, name, name, name);
    const char *texts[] = {found->unpack, found->vector, found->scale, number};
    for (size_t i = 0; i < 4; i++) mia__kernel_put_with(k, texts[i], words, 5);
    put_dot(k, name, dtype);
    return true;
}
