/* Constant weights [K, N, ...] of block types in the form that kernels of the GPU read: rows without gaps, quants apart from
 * scales, and so arranged that neighbouring invocations read neighbouring words of weights and of x alike.
 *
 * A row is filled up to groups of 256 numbers. A chunk is what an invocation reads at once, 16 bytes of quants (vec4<u32>):
 *
 *     q8_0     16 chunks a group   byte b of word j of chunk l:            number 16 l + 4 j + b, as they follow each other
 *     others    8 chunks a group   its lower half: number 32 j + 4 l + b,  its upper half: 128 + 32 j + 4 l + b
 *
 *     highs    a word a chunk (q5_0, q5_1, q5_K):     bit 8 b + j of the lower half's numbers, 8 b + 4 + j of the upper one's
 *              two words a chunk (q6_K):              a half each, bits 8 b + 2 j and the next
 *     scales   of a group, in words
 *              q8_0, q4_0, q5_0   4: of blocks 0 .. 7, f16
 *              q4_1, q5_1         8: the same, then least numbers
 *              q4_K, q5_K         5: d and m as f16, 8 bytes of scales, 8 of least numbers
 *              q6_K               5: d, then scales of the runs of 16 whose number is even, of those whose is odd, a byte each
 *
 * The regions lie behind each other, each from a multiple of 16 bytes on. */
#ifndef MIA_BACKEND_WEBGPU_PREPARED_H
#define MIA_BACKEND_WEBGPU_PREPARED_H

#include "backend/webgpu/kernel.h"

#define MIA__WEBGPU_FORM_GROUPS 1u
#define MIA__PREPARED_GROUP     256

/* Where the regions are, in words, and how long all is: of `rows` rows of `depth` numbers. */
typedef struct mia__prepared_layout {
    uint64_t highs, scales, words;
} mia__prepared_layout;
mia__prepared_layout mia__prepared_layout_of(mia_dtype dtype, uint64_t depth, uint64_t rows);

/* Chunks of a group, and vectors of x that a chunk meets: from quad mia__prepared_first(chunk of the row) of x on, every
 * mia__prepared_stride-th. */
static inline uint32_t mia__prepared_chunks(mia_dtype dtype) {
    return dtype == MIA_q8_0 ? 16 : 8;
}
static inline uint32_t mia__prepared_vectors(mia_dtype dtype) {
    return dtype == MIA_q8_0 ? 4 : 8;
}

static inline uint32_t mia__prepared_stride(mia_dtype dtype) {
    return dtype == MIA_q8_0 ? 1 : mia__prepared_chunks(dtype);
}
/* In WGSL, of what `chunk` is called there. */
void mia__prepared_first(mia__kernel *k, mia_dtype dtype, const char *chunk);

/* rules.form: for the weights of products and the tables of embeddings. */
mia__form mia__webgpu_form(const void *context, const mia__plan *plan, const mia__step *step, uint32_t input);

/* Whether an operand is in that form. */
bool mia__is_prepared(const mia__plan *plan, const mia__operand *operand);

/* Parameters p.w_highs and p.w_scales, and readers for `name` w, of a buffer of vec4<u32> whose slot is given, of `rows` rows of
 * `depth` numbers; the shader has p.groups, the groups of a row:
 *     fn w_number(row: u32, i: u32) -> f32
 *     fn w_dot(row: u32, chunk: u32, x0: vec4<f32>, ..., s0: f32, ...) -> f32
 *                                  the products of a chunk's numbers with the vectors of x that they meet, each of which was
 *                                  multiplied by w_by(j); s0 .. are the sums of the vectors before that, where least numbers
 *                                  are (has_least) */
bool mia__prepared_readers(mia__kernel *k, const char *name, uint32_t slot, mia_dtype dtype, uint64_t depth,
                           uint64_t rows);
bool mia__prepared_has_least(mia_dtype dtype);

/* Whether a group's scales are one vec4<u32>, which fn w_scales_of(group) reads; fn w_scale_in(v, l, j) then says what the
 * scale of vector j of chunk l is: for kernels that read them early. */
bool mia__prepared_scales_are_quads(mia_dtype dtype);

/* Behind those, for products with an x that was rounded to bytes by blocks of 32: of a chunk's numbers,
 *     fn w_bytes_dot(row: u32, chunk: u32, q: vec4<u32>, s: S, x0: vec4<u32>, e0: E, ..., own: f32) -> f32
 * `row` is the number of the row's first group of all; q are the chunk's quants, s what fn w_bytes_scales(row, chunk) -> S
 * read. x0 are the four vectors of x that a chunk of q8_0 meets, and e0 its block's scale (f32); with x1 the eight of others, e0 and
 * e1 the scales of their blocks (vec4<f32>), own the sum of the block whose number in its group the chunk has. */
void mia__prepared_bytes(mia__kernel *k, const char *name, mia_dtype dtype);
const char *mia__prepared_bytes_scales(mia_dtype dtype); /* S */

/* Whether that needs the sums of x's blocks. */
bool mia__prepared_needs_sums(mia_dtype dtype);

/* The host's part of mia__webgpu_prepare_rows: `count` rows of all. */
mia_status mia__prepared_fill(mia__webgpu *webgpu, mia_dtype dtype, uint64_t depth, uint64_t rows,
                              uint64_t first_row, uint64_t count, const void *raw, const mia__buffer *into,
                              mia_error *error);

#endif
