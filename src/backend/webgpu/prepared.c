/* Weights in the form that kernels read (prepared.h): its layout, what is brought into it on the host, and the readers. */
#include "backend/webgpu/prepared.h"

#include "base/block.h"
#include "base/size.h"

#include <stdio.h>
#include <string.h>

/* --- layout ----------------------------------------------------------------------------------- */

static bool is_k(mia_dtype dtype) {
    return dtype == MIA_q4_K || dtype == MIA_q5_K || dtype == MIA_q6_K;
}

static uint64_t quant_words(mia_dtype dtype, uint64_t depth) {
    return depth / mia__prepared_unit(dtype);
}

static uint64_t high_words(mia_dtype dtype, uint64_t depth) {
    switch ((int)dtype) {
    case MIA_q5_0:
    case MIA_q5_1:
    case MIA_q5_K: return depth / 32;
    case MIA_q6_K: return depth / 16;
    default: return 0;
    }
}

/* Bytes of a row's scales. */
static uint64_t scale_bytes(mia_dtype dtype, uint64_t depth) {
    if (is_k(dtype)) return depth / 256 * 20;
    return depth / 32 * (dtype == MIA_q4_1 || dtype == MIA_q5_1 ? 4 : 2);
}

mia__prepared_layout mia__prepared_layout_of(mia_dtype dtype, uint64_t depth, uint64_t rows) {
    mia__prepared_layout layout;
    layout.highs = mia__align_up(rows * quant_words(dtype, depth), 4);
    layout.scales = mia__align_up(layout.highs + rows * high_words(dtype, depth), 4);
    layout.words = layout.scales + mia__align_up(rows * scale_bytes(dtype, depth), 16) / 4;
    return layout;
}

/* --- which operands ----------------------------------------------------------------------------- */

/* Whether an input of a step is a product's weights, or an embedding's table. */
static bool is_weights(const mia__step *step, uint32_t input) {
    return (step->op == MIA_OP_matmul || step->op == MIA_OP_embedding) && input == 0;
}

mia__form mia__webgpu_form(const void *context, const mia__step *step, uint32_t input) {
    (void)context;
    const mia__operand *operand = &step->inputs[input];
    if (!is_weights(step, input) || mia_dtype_describe(operand->dtype)->kind != MIA_KIND_BLOCK)
        return (mia__form){0};
    uint64_t depth = (uint64_t)operand->view.extent[0];
    uint64_t rows = depth > 0 ? (uint64_t)mia__view_count(&operand->view) / depth : 0;
    uint64_t bytes = mia__prepared_layout_of(operand->dtype, depth, rows).words * 4;
    return bytes > 0 && bytes <= SIZE_MAX ? (mia__form){MIA__WEBGPU_FORM_UNITS, (size_t)bytes}
                                          : (mia__form){0};
}

bool mia__is_prepared(const mia__plan *plan, const mia__operand *operand) {
    const mia__plan_buffer *buffer = &plan->buffers[operand->buffer];
    return buffer->kind == MIA__BUFFER_FORM && buffer->form == MIA__WEBGPU_FORM_UNITS;
}

/* --- on the host -------------------------------------------------------------------------------- */

#define CHUNK_BYTES ((size_t)4 << 20) /* of quants prepared at a time */

typedef struct chunk {
    uint32_t *quants, *highs;
    uint8_t *scales;
} chunk;

/* A word of 8 quants' lower halves. */
static uint32_t low_word(const uint8_t *quants) {
    uint32_t word = 0;
    for (unsigned b = 0; b < 4; b++)
        word |= (uint32_t)((quants[b] & 15u) | (quants[4 + b] & 15u) << 4) << (8 * b);
    return word;
}

/* The bits above them, `bits` of each. */
static uint32_t high_bits(const uint8_t *quants, unsigned bits) {
    uint32_t out = 0;
    for (unsigned b = 0; b < 8; b++) out |= (uint32_t)(quants[b] >> 4) << (bits * b);
    return out;
}

static void put_half(uint8_t *to, uint16_t half) {
    to[0] = (uint8_t)(half & 0xffu);
    to[1] = (uint8_t)(half >> 8);
}

/* The scales of a block; returns what it takes. */
static size_t put_scales(const mia__block_format *format, const mia__block_parts *parts, uint8_t *to) {
    put_half(to, parts->scale);
    if (format->elements == 32) {
        if (format->has_least) put_half(to + 2, parts->least);
        return format->has_least ? 4 : 2;
    }
    put_half(to + 2, parts->least);
    memcpy(to + 4, parts->scales, format->has_least ? 8 : 16);
    if (format->has_least) memcpy(to + 12, parts->leasts, 8);
    return 20;
}

/* Brings blocks into a chunk, and moves its pointers on. */
static void put_block(const mia__block_format *format, const uint8_t *block, chunk *to) {
    mia__block_parts parts = {0};
    mia__block_split(format, block, &parts);
    to->scales += put_scales(format, &parts, to->scales);
    if (format->dtype == MIA_q8_0) {
        memcpy(to->quants, block + 2, 32);
        to->quants += 8;
        return;
    }
    for (uint32_t i = 0; i < format->elements; i += 8) *to->quants++ = low_word(parts.quants + i);
    if (format->bits == 5)
        for (uint32_t i = 0; i < format->elements; i += 32)
            *to->highs++ = high_bits(parts.quants + i, 1) | high_bits(parts.quants + i + 8, 1) << 8 |
                           high_bits(parts.quants + i + 16, 1) << 16 |
                           high_bits(parts.quants + i + 24, 1) << 24;
    if (format->bits == 6)
        for (uint32_t i = 0; i < format->elements; i += 16)
            *to->highs++ = high_bits(parts.quants + i, 2) | high_bits(parts.quants + i + 8, 2) << 16;
}

/* Rows [first, first + count), by way of host memory. */
static void fill_rows(mia__webgpu *webgpu, const mia__block_format *format, uint64_t depth, uint64_t first,
                      uint64_t count, const mia__prepared_layout *layout, const uint8_t *raw,
                      const chunk *room, mia__gpu_buffer *into) {
    mia_dtype dtype = format->dtype;
    chunk to = *room;
    uint64_t blocks = depth / format->elements;
    const uint8_t *block = raw + first * blocks * format->bytes;
    for (uint64_t b = 0; b < count * blocks; b++, block += format->bytes) put_block(format, block, &to);
    uint64_t quants = quant_words(dtype, depth), highs = high_words(dtype, depth),
             scales = scale_bytes(dtype, depth);
    mia__webgpu_lock(webgpu);
    mia__webgpu_write(webgpu, into, first * quants * 4, room->quants, (size_t)(count * quants * 4));
    if (highs > 0)
        mia__webgpu_write(webgpu, into, (layout->highs + first * highs) * 4, room->highs,
                          (size_t)(count * highs * 4));
    mia__webgpu_write(webgpu, into, layout->scales * 4 + first * scales, room->scales,
                      (size_t)(count * scales));
    mia__webgpu_unlock(webgpu);
}

mia_status mia__prepared_fill(mia__webgpu *webgpu, mia_dtype dtype, uint64_t depth, uint64_t rows,
                              const void *raw, const mia__buffer *into, mia_error *error) {
    const mia__block_format *format = mia__block_find(dtype);
    const mia__prepared_layout layout = mia__prepared_layout_of(dtype, depth, rows);
    /* pairs of rows, whose scales are whole words */
    uint64_t quants = quant_words(dtype, depth), highs = high_words(dtype, depth),
             scales = scale_bytes(dtype, depth);
    uint64_t most = CHUNK_BYTES / (quants * 4) / 2 * 2;
    if (most < 2) most = 2;
    size_t bytes = (size_t)(most * (quants * 4 + highs * 4 + scales + 4));
    uint8_t *room = mia_allocate(webgpu->allocator, bytes, _Alignof(uint32_t));
    if (room == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "webgpu: no memory to prepare %llu rows of weights",
                             (unsigned long long)rows);
    const chunk parts = {.quants = (uint32_t *)(void *)room,
                         .highs = (uint32_t *)(void *)(room + most * quants * 4),
                         .scales = room + most * (quants + highs) * 4};
    mia_status status = MIA_OK;
    for (uint64_t row = 0; status == MIA_OK && row < rows; row += most) {
        uint64_t count = rows - row < most ? rows - row : most;
        if (mia__watch_cancelled(webgpu->base.loads))
            status = mia_error_set(error, MIA_ERROR_CANCELLED, "loading was cancelled");
        else
            fill_rows(webgpu, format, depth, row, count, &layout, raw, &parts,
                      ((const mia__webgpu_buffer *)into->handle)->gpu);
    }
    mia_release(webgpu->allocator, room, bytes);
    mia__webgpu_lock(webgpu);
    if (status == MIA_OK) status = mia__webgpu_check(webgpu, error);
    mia__webgpu_unlock(webgpu);
    return status;
}

/* --- in shaders --------------------------------------------------------------------------------- */

/* Small whole numbers as f32 without a conversion, which GPUs do slowly: behind the bits of 2^23 they are 2^23 + n. */
static const char bytes_to_f32[] =
    "fn small4(q: vec4<u32>, less: f32) -> vec4<f32> {\n"
    "    return bitcast<vec4<f32>>(q | vec4<u32>(0x4b000000u)) - vec4<f32>(8388608.0 + less);\n}\n"
    "fn bytes4(w: u32) -> vec4<u32> {\n"
    "    return vec4<u32>(w & 0xffu, (w >> 8u) & 0xffu, (w >> 16u) & 0xffu, w >> 24u);\n}\n";

static const char quants_8[] =
    "fn W_quants(row: u32, unit: u32) -> u32 { return W_word(row * (p.depth / 4u) + unit) ^ 0x80808080u; }\n"
    "fn W_low(q: u32) -> vec4<f32> { return small4(bytes4(q), 128.0); }\n";

static const char quants_4[] =
    "fn W_quants(row: u32, unit: u32) -> u32 { return W_word(row * (p.depth / 8u) + unit); }\n"
    "fn W_low(q: u32) -> vec4<f32> { return small4(bytes4(q & 0x0f0f0f0fu), OFFSET); }\n"
    "fn W_high(q: u32) -> vec4<f32> { return small4(bytes4((q >> 4u) & 0x0f0f0f0fu), OFFSET); }\n";

static const char quants_5[] =
    "fn W_quants(row: u32, unit: u32) -> vec2<u32> {\n"
    "    let high = W_word(p.W_highs + row * (p.depth / 32u) + (unit >> 2u)) >> ((unit & 3u) * 8u);\n"
    "    return vec2<u32>(W_word(row * (p.depth / 8u) + unit), high);\n}\n"
    "fn W_spread(b: u32) -> vec4<u32> {\n"
    "    return vec4<u32>((b & 1u) << 4u, (b & 2u) << 3u, (b & 4u) << 2u, (b & 8u) << 1u);\n}\n"
    "fn W_low(q: vec2<u32>) -> vec4<f32> { return small4(bytes4(q.x & 0x0f0f0f0fu) | W_spread(q.y), OFFSET); "
    "}\n"
    "fn W_high(q: vec2<u32>) -> vec4<f32> {\n"
    "    return small4(bytes4((q.x >> 4u) & 0x0f0f0f0fu) | W_spread(q.y >> 4u), OFFSET);\n}\n";

static const char quants_6[] =
    "fn W_quants(row: u32, unit: u32) -> vec2<u32> {\n"
    "    let high = W_word(p.W_highs + row * (p.depth / 16u) + (unit >> 1u)) >> ((unit & 1u) * 16u);\n"
    "    return vec2<u32>(W_word(row * (p.depth / 8u) + unit), high);\n}\n"
    "fn W_spread(b: u32) -> vec4<u32> {\n"
    "    return vec4<u32>((b & 3u) << 4u, (b & 12u) << 2u, b & 48u, (b & 192u) >> 2u);\n}\n"
    "fn W_low(q: vec2<u32>) -> vec4<f32> { return small4(bytes4(q.x & 0x0f0f0f0fu) | W_spread(q.y), OFFSET); "
    "}\n"
    "fn W_high(q: vec2<u32>) -> vec4<f32> {\n"
    "    return small4(bytes4((q.x >> 4u) & 0x0f0f0f0fu) | W_spread(q.y >> 8u), OFFSET);\n}\n";

static const char scale_half[] =
    "fn W_scale(row: u32, unit: u32) -> vec2<f32> {\n"
    "    let i = row * (p.depth / 32u) + unit / UNITSu;\n"
    "    return vec2<f32>(unpack2x16float(W_word(p.W_scales + (i >> 1u)) >> ((i & 1u) * 16u)).x, 0.0);\n}\n";

/* what a file adds, its parts take off */
static const char scale_pair[] =
    "fn W_scale(row: u32, unit: u32) -> vec2<f32> {\n"
    "    return unpack2x16float(W_word(p.W_scales + row * (p.depth / 32u) + unit / UNITSu));\n}\n";

static const char scale_k[] = "fn W_scale(row: u32, unit: u32) -> vec2<f32> {\n"
                              "    let at = p.W_scales + (row * (p.depth / 256u) + unit / 32u) * 5u;\n"
                              "    let run = (unit / 4u) & 7u;\n"
                              "    let s = (W_word(at + 1u + (run >> 2u)) >> ((run & 3u) * 8u)) & 0xffu;\n"
                              "    let t = (W_word(at + 3u + (run >> 2u)) >> ((run & 3u) * 8u)) & 0xffu;\n"
                              "    return unpack2x16float(W_word(at)) * vec2<f32>(f32(s), f32(t));\n}\n";

static const char scale_6[] =
    "fn W_scale(row: u32, unit: u32) -> vec2<f32> {\n"
    "    let at = p.W_scales + (row * (p.depth / 256u) + unit / 32u) * 5u;\n"
    "    let run = (unit / 2u) & 15u;\n"
    "    let s = bitcast<i32>(W_word(at + 1u + (run >> 2u)) << (24u - (run & 3u) * 8u)) >> 24u;\n"
    "    return vec2<f32>(unpack2x16float(W_word(at)).x * f32(s), 0.0);\n}\n";

static const char number_8[] = "fn W_number(row: u32, i: u32) -> f32 {\n"
                               "    let unit = i / 4u;\n"
                               "    return W_scale(row, unit).x * W_low(W_quants(row, unit))[i & 3u];\n}\n";

static const char number_other[] =
    "fn W_number(row: u32, i: u32) -> f32 {\n"
    "    let unit = i / 8u;\n"
    "    let q = W_quants(row, unit);\n"
    "    let s = W_scale(row, unit);\n"
    "    return s.x * select(W_low(q), W_high(q), (i & 4u) != 0u)[i & 3u] - s.y;\n}\n";

typedef struct reader {
    mia_dtype dtype;
    const char *quants, *scale, *number;
    bool has_least;
} reader;

static const reader readers[] = {
    {MIA_q8_0, quants_8, scale_half, number_8, false},
    {MIA_q4_0, quants_4, scale_half, number_other, false},
    {MIA_q4_1, quants_4, scale_pair, number_other, true},
    {MIA_q5_0, quants_5, scale_half, number_other, false},
    {MIA_q5_1, quants_5, scale_pair, number_other, true},
    {MIA_q4_K, quants_4, scale_k, number_other, true},
    {MIA_q5_K, quants_5, scale_k, number_other, true},
    {MIA_q6_K, quants_6, scale_6, number_other, false},
};

bool mia__prepared_readers(mia__kernel *k, const char *name, mia_dtype dtype, uint64_t depth, uint64_t rows) {
    const mia__block_format *format = mia__block_find(dtype);
    const reader *found = NULL;
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++)
        if (readers[i].dtype == dtype) found = &readers[i];
    if (found == NULL || format == NULL) return mia__kernel_refuse(k, "its weights have no readers");
    char prefix[32], offset[16], units[16], field[64];
    (void)snprintf(prefix, sizeof prefix, "%s_", name);
    (void)snprintf(offset, sizeof offset, "%d.0", (int)format->offset);
    (void)snprintf(units, sizeof units, "%u", 32 / mia__prepared_unit(dtype));
    const mia__kernel_word words[] = {{"W_", prefix}, {"OFFSET", offset}, {"UNITS", units}};
    const mia__prepared_layout layout = mia__prepared_layout_of(dtype, depth, rows);
    (void)snprintf(field, sizeof field, "%s_highs", name);
    mia__kernel_u32(k, field, layout.highs);
    (void)snprintf(field, sizeof field, "%s_scales", name);
    mia__kernel_u32(k, field, layout.scales);
    mia__kernel_once(k, bytes_to_f32);
    mia__kernel_put_with(k, found->quants, words, 3);
    mia__kernel_put_with(k, found->scale, words, 3);
    mia__kernel_put_with(k, found->number, words, 3);
    return found->has_least;
}
