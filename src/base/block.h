/* Block-quantised types: how a block lies in memory, numbers out of blocks, and blocks out of numbers.
 *
 * A row is a whole number of blocks, each with its own scale d and, in some formats, a number m that is added
 * or taken off. The layouts are ggml's, so that files map as they are:
 *
 *     q8_0   34 bytes   d:f16  q[32]:i8                 x[i] = d * q[i]
 *     q4_0   18 bytes   d:f16  n[16]:2 x 4 bits         x[i] = d * (q[i] - 8): the low halves of n are
 *                                                       q[0..15], the high ones q[16..31]
 *     q4_1   20 bytes   d:f16  m:f16  n[16]             x[i] = d * q[i] + m
 *     q5_0   22 bytes   d:f16  h:32 bits  n[16]         x[i] = d * (q[i] - 16): bit i of h is the fifth
 *                                                       of q[i], on top of n's four
 *     q5_1   24 bytes   d:f16  m:f16  h:32 bits  n[16]  x[i] = d * q[i] + m
 *
 * A block of a K format holds 256 numbers in 8 runs of 32, each with a scale s and a number t of 6 bits (q6_K:
 * 16 runs of 16, s of 8 bits):
 *
 *     q4_K  144 bytes   d:f16  m:f16  p[12]  n[4][32]          x = d * s * q - m * t: the low halves of n[j]
 *                                                              are run 2j, the high ones run 2j + 1
 *     q5_K  176 bytes   d:f16  m:f16  p[12]  h[32]  n[4][32]   the same; bit r of h[i] is the fifth of
 *                                                              element i of run r
 *     q6_K  210 bytes   n[2][64]  h[2][32]  s[16]:i8  d:f16    x = d * s * (q - 32), see split_q6_K
 *
 *     p[j]      6 bits of s[j], above them the upper 2 of s[4 + j]              (j < 4)
 *     p[4 + j]  the same of t
 *     p[8 + j]  the lower 4 bits of s[4 + j], above them the lower 4 of t[4 + j]
 *
 * Another format is a pair of functions and a row of the table in block.c. No allocation, no failure. */
#ifndef MIA_BASE_BLOCK_H
#define MIA_BASE_BLOCK_H

#include <mia/dtype.h>

#define MIA__BLOCK_MOST 256 /* elements of the largest block of any format */
#define MIA__BLOCK_RUNS 16  /* the most runs of elements with a scale of their own */

/* A block taken apart, every format in one form: with r = i / format->run,
 *
 *     x[i] = scale * scales[r] * (quants[i] - format->offset) - least * leasts[r] */
typedef struct mia__block_parts {
    uint16_t scale, least; /* f16 */
    int8_t scales[MIA__BLOCK_RUNS];
    uint8_t leasts[MIA__BLOCK_RUNS];
    uint8_t quants[MIA__BLOCK_MOST];
} mia__block_parts;

/* One format: how many numbers a block holds in how many bytes. `split` fills in what a block holds
 * (mia__block_split all of it), `encode` makes the block of the numbers. */
typedef struct mia__block_format {
    mia_dtype dtype;
    uint32_t elements;
    uint32_t bytes;
    uint32_t run;   /* elements that share a scale */
    uint32_t bits;  /* of a quant */
    int32_t offset; /* of quants from what they stand for */
    bool has_least; /* otherwise `least` and `leasts` are 0 */
    void (*split)(const void *block, mia__block_parts *parts);
    void (*encode)(const float *in, void *block);
} mia__block_format;

/* The format of a type, or NULL for a type that is not made of blocks. */
const mia__block_format *mia__block_find(mia_dtype dtype);

/* Takes one block apart. */
void mia__block_split(const mia__block_format *format, const void *block, mia__block_parts *parts);

/* Numbers out of a row of `elements` / format->elements blocks. In f64 they are exact, in f32 rounded once. */
void mia__block_decode_f32(const mia__block_format *format, const void *row, float *out, int64_t elements);
void mia__block_decode_f64(const mia__block_format *format, const void *row, double *out, int64_t elements);

/* Blocks out of a row of numbers; elements is a multiple of format->elements. Numbers that are not finite
 * give blocks without a meaning, but in bounds. */
void mia__block_encode(const mia__block_format *format, const float *in, void *row, int64_t elements);

/* --- the K formats, for the table (block_k.c) ------------------------------------------------- */

void mia__block_split_q4_K(const void *block, mia__block_parts *parts);
void mia__block_split_q5_K(const void *block, mia__block_parts *parts);
void mia__block_split_q6_K(const void *block, mia__block_parts *parts);
void mia__block_encode_q4_K(const float *in, void *block);
void mia__block_encode_q5_K(const float *in, void *block);
void mia__block_encode_q6_K(const float *in, void *block);

#endif
