/* Prepared block-quantised weights: how a block of 32 elements of a group of 16 rows lies in memory. forms.c
 * makes it, template/quantised.h reads it. Every format has the same parts, and everything here is a constant
 * where the type is one.
 *
 *     quants [block]         a byte holds one element of one row; 4 neighbours along k of 16 rows make a
 *                            vector of 64 bytes, and vector j holds elements 4 j .. 4 j + 3:
 *       8 bits   [8][16][4]  the quants
 *       4 bits   [4][16][4]  lower half: vector j; upper half: vector j + 4
 *       5 bits   and [1][16][4]: bit j is the upper bit of vector j
 *       6 bits   and [2][16][4]: bits 2 j, 2 j + 1 of the i-th are the upper bits of vector 4 i + j
 *     scales [block]         scale[16] f16, and where the format has a least number, least[16] f16
 *       K formats            [8 blocks]: the same, then for each block bytes [2][16]: of its scale and its
 *                            least number; in q6_K of the scales of its halves
 *
 * Quants are stored as a file has them, an offset above what they stand for. What q4_1 and q5_1 add is stored
 * with the other sign, so that every least number is taken off. */
#ifndef MIA_BACKEND_CPU_BLOCKS_H
#define MIA_BACKEND_CPU_BLOCKS_H

#include "backend/cpu/kernels.h"

static inline bool mia__cpu_is_block(mia_dtype dtype) {
    return dtype >= MIA_q8_0 && dtype <= MIA_q6_K;
}

static inline unsigned mia__cpu_quant_bits(mia_dtype dtype) {
    switch (dtype) {
    case MIA_q8_0: return 8;
    case MIA_q6_K: return 6;
    case MIA_q5_0:
    case MIA_q5_1:
    case MIA_q5_K: return 5;
    default: return 4;
    }
}

static inline int mia__cpu_quant_offset(mia_dtype dtype) {
    switch (dtype) {
    case MIA_q8_0: return 128;
    case MIA_q6_K: return 32;
    case MIA_q5_0: return 16;
    case MIA_q4_0: return 8;
    default: return 0;
    }
}

static inline bool mia__cpu_has_least(mia_dtype dtype) {
    return dtype == MIA_q4_1 || dtype == MIA_q5_1 || dtype == MIA_q4_K || dtype == MIA_q5_K;
}

/* Blocks of 32 that share a record of scales: a whole block of the format. */
static inline unsigned mia__cpu_record_blocks(mia_dtype dtype) {
    return dtype == MIA_q4_K || dtype == MIA_q5_K || dtype == MIA_q6_K ? 8 : 1;
}

/* Of a block of quants. */
static inline size_t mia__cpu_quant_bytes(mia_dtype dtype) {
    return (size_t)mia__cpu_quant_bits(dtype) * MIA__CPU_GROUP * MIA__CPU_BLOCK / 8;
}

/* Of a record of scales: of its halves (f16), and all of it. */
static inline size_t mia__cpu_record_halves_bytes(mia_dtype dtype) {
    return (mia__cpu_has_least(dtype) ? 4 : 2) * MIA__CPU_GROUP;
}
static inline size_t mia__cpu_record_bytes(mia_dtype dtype) {
    const unsigned blocks = mia__cpu_record_blocks(dtype);
    return mia__cpu_record_halves_bytes(dtype) + (blocks > 1 ? blocks * 2 * MIA__CPU_GROUP : 0);
}
#define MIA__CPU_RECORD_MOST (4 * MIA__CPU_GROUP * 8) /* bytes of the scales of 8 blocks, of any format */

#endif
