/* Attention's kernels share how a step is cut and what they call:
 *
 *     attention_few.c    few queries, of single tokens above all: a workgroup for each head
 *     attention_matrices.c    many, where subgroup matrices multiply f16
 *     attention.c        any number: tiles of queries; and the dispatch that joins what ranges of keys came to
 *
 * Numbers of q, k and v are taken four at a time, "fours". */
#ifndef MIA_BACKEND_WEBGPU_ATTENTION_H
#define MIA_BACKEND_WEBGPU_ATTENTION_H

#include "backend/webgpu/kernel.h"

typedef struct mia__attention {
    uint64_t d, e, heads, queries, held, groups;
    uint64_t fellows, rows; /* heads of a group, and those of all queries */
    uint32_t d4, e4;        /* in fours, rounded up */
    uint32_t splits;        /* ranges of keys with workgroups of their own: a power of two */
    bool direct;            /* one dispatch, which writes the result */
    bool few;               /* attention_few.c takes it */

    /* attention.c */
    uint32_t rows_at_once, columns, slices,
        blocks; /* of the values' fours: lanes, lanes deep, and workgroups */
    uint64_t tiles;
    bool query_held; /* in workgroup memory */

    /* attention_few.c */
    uint32_t heads_at_once, lanes;
    uint32_t subgroup;             /* its size, 1 where none are of use */
    uint32_t key_lanes, key_fours; /* lanes that share a key, and fours of each */
    uint32_t value_lanes, value_fours;
} mia__attention;

mia__attention mia__attention_of(const mia__gpu_info *info, const mia__step *step);

/* The part of mia__attention_of for few queries; false where attention.c does better. */
bool mia__attention_few_of(mia__attention *a, const mia__gpu_info *info);
bool mia__attention_few(mia__kernel *k, const mia__attention *a);

/* With direct set and splits 1. */
bool mia__attention_matrices_take(const mia__kernel *k, const mia__attention *a);
bool mia__attention_matrices(mia__kernel *k, const mia__attention *a);

/* Binds the operands and makes
 *     fn q_row(head, query) -> u32, k_row(key, group), v_row    where a row begins
 *     fn q_four(row, i) -> vec4<f32>, k_four, v_four           numbers i .. i + 3 of it, zeros past its end
 *     fn mask_row(head, query) -> u32                          the mask of key 0, read by mask_get; of attention_masked
 *     fn masked(score, mask) -> f32                            under it: LOWEST if it is -infinity; the same
 *     fn visible(query) -> u32                                 keys that it sees
 * parameters of the step's sizes, LOWEST, which is no score, and LEAST, the lowest that is one. */
bool mia__attention_operands(mia__kernel *k, const mia__attention *a);

/* fn leave(split, line, column, x: vec4<f32>, top, sum): a four of a line (a head of a query) and its weights' greatest
 * exponent and sum, to scratch; or, direct, to the result. Binds what it writes. */
bool mia__attention_leave(mia__kernel *k, const mia__attention *a);

#endif
