/* Block-quantised types: how a block lies in memory, numbers out of blocks, and blocks out of numbers.
 *
 * A row is a whole number of blocks, each with its own scale d. The layouts and the rounding are ggml's, so
 * that files agree byte for byte:
 *
 *     q8_0  34 bytes   d:f16  q[32]:i8            x[i] = d * q[i]
 *     q4_0  18 bytes   d:f16  n[16]:2 x 4 bits    x[i]      = d * (low(n[i]) - 8)
 *                                                 x[i + 16] = d * (high(n[i]) - 8)
 *
 * Another format is a pair of functions and a row of the table in block.c. No allocation, no failure. */
#ifndef MIA_BASE_BLOCK_H
#define MIA_BASE_BLOCK_H

#include <mia/dtype.h>

#define MIA__BLOCK_MOST 256 /* elements of the largest block of any format */

/* The stored formats byte by byte, for kernels that read them directly; they have no alignment. */
#define MIA__Q8_0_ELEMENTS 32
#define MIA__Q4_0_ELEMENTS 32

typedef struct mia__block_q8_0 {
    uint8_t scale[2]; /* an f16, little-endian */
    int8_t quants[MIA__Q8_0_ELEMENTS];
} mia__block_q8_0;

typedef struct mia__block_q4_0 {
    uint8_t scale[2];
    uint8_t quants[MIA__Q4_0_ELEMENTS / 2];
} mia__block_q4_0;

static inline uint16_t mia__block_scale(const uint8_t scale[2]) {
    return (uint16_t)(scale[0] | (unsigned)scale[1] << 8);
}

/* One format: how many numbers a block holds in how many bytes. `decode` gives the numbers that a block
 * stands for; `encode` makes the block of the numbers. In f64 a decoded q8_0 or q4_0 is exact, and so it is
 * in f32. */
typedef struct mia__block_format {
    mia_dtype dtype;
    uint32_t elements;
    uint32_t bytes;
    void (*decode)(const void *block, double *out);
    void (*encode)(const float *in, void *block);
} mia__block_format;

/* The format of a type, or NULL for a type that is not made of blocks or that Mia does not compute with. */
const mia__block_format *mia__block_find(mia_dtype dtype);

/* Numbers out of a row of `elements` / format->elements blocks. */
void mia__block_decode_f32(const mia__block_format *format, const void *row, float *out, int64_t elements);
void mia__block_decode_f64(const mia__block_format *format, const void *row, double *out, int64_t elements);

/* Blocks out of a row of numbers; elements is a multiple of format->elements. Numbers that are not finite
 * give blocks without a meaning, but in bounds. */
void mia__block_encode(const mia__block_format *format, const float *in, void *row, int64_t elements);

#endif
