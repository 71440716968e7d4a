/* Constant weights [K, N, ...] of block types in the form that kernels of the GPU read: rows without gaps, quants apart from
 * scales, so that neighbouring invocations read neighbouring words. A row's units of 8 numbers (4 of q8_0) are a word each.
 *
 *     quants    [row][unit]       q8_0: 4 bytes, as they are; others: byte b holds quant b below and quant 4 + b above,
 *                                 of the lower 4 bits
 *     highs     [row][K / 32]     fifth bits of q5_0, q5_1, q5_K: byte u of a word is of unit u, bit b of quant b
 *               [row][K / 16]     upper 2 bits of q6_K: half-word u of a word is of unit u, bits 2b, 2b + 1 of quant b
 *     scales    [row][K / 32]     f16 each: q8_0, q4_0, q5_0; a word of scale and least number: q4_1, q5_1
 *               [row][K / 256][5] words: d and m as f16, 8 bytes of scales, 8 of least numbers (q4_K, q5_K); d, and 16
 *                                 bytes of scales (q6_K)
 *
 * The regions lie behind each other, each from a multiple of 16 bytes on. */
#ifndef MIA_BACKEND_WEBGPU_PREPARED_H
#define MIA_BACKEND_WEBGPU_PREPARED_H

#include "backend/webgpu/kernel.h"

#define MIA__WEBGPU_FORM_UNITS 1u

/* Where the regions are, in words, and how long: of `rows` rows of `depth` numbers. */
typedef struct mia__prepared_layout {
    uint64_t highs, scales, words;
} mia__prepared_layout;
mia__prepared_layout mia__prepared_layout_of(mia_dtype dtype, uint64_t depth, uint64_t rows);

/* Numbers in a unit. */
static inline uint32_t mia__prepared_unit(mia_dtype dtype) {
    return dtype == MIA_q8_0 ? 4 : 8;
}

/* rules.form: for the weights of products and the tables of embeddings. */
mia__form mia__webgpu_form(const void *context, const mia__step *step, uint32_t input);

/* Whether an operand is in that form. */
bool mia__is_prepared(const mia__plan *plan, const mia__operand *operand);

/* Readers for a buffer whose words `fn w_word(i: u32) -> u32` gives, of weights of `depth` = p.depth numbers a row:
 *     fn w_quants(row: u32, unit: u32) -> W     what a unit holds: u32, or vec2<u32> with the upper bits
 *     fn w_low(quants: W) -> vec4<f32>          its quants 0 to 3, less their offset
 *     fn w_high(quants: W) -> vec4<f32>         4 to 7; not of q8_0
 *     fn w_scale(row: u32, unit: u32) -> vec2<f32>    d and m: numbers are d * quant - m
 *     fn w_number(row: u32, i: u32) -> f32
 * and parameters p.w_highs, p.w_scales. Returns whether m is ever other than 0. */
bool mia__prepared_readers(mia__kernel *k, const char *name, mia_dtype dtype, uint64_t depth, uint64_t rows);

/* The host's part of mia__webgpu_prepare. */
mia_status mia__prepared_fill(mia__webgpu *webgpu, mia_dtype dtype, uint64_t depth, uint64_t rows,
                              const void *raw, const mia__buffer *into, mia_error *error);

#endif
