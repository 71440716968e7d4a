/* Matrix products as steps have them: alone, or with a norm before, siblings beside and a chain of instructions behind. What
 * the kernels of products share. */
#ifndef MIA_BACKEND_WEBGPU_PRODUCT_H
#define MIA_BACKEND_WEBGPU_PRODUCT_H

#include "backend/webgpu/chain.h"

#define MIA__PRODUCT_MOST_JOBS 4
/* Products of up to so many columns are bound by their weights, which matvec.c reads best. */
#define MIA__PRODUCT_FEW_COLUMNS 8

/* Of counts whose quotient has 32 bits. */
static inline uint32_t mia__divide_up(uint64_t a, uint64_t b) {
    return (uint32_t)((a + b - 1) / b);
}

/* A step taken apart: y[n, m] = epilogue(sum over k of w[k, n] * x[k, m], ...), x normalised where there is a norm. */
typedef struct mia__product {
    const mia__step *step;
    mia__instruction own; /* of a step that is one product alone */
    uint32_t instruction_count;
    uint32_t core, core_count; /* of the instructions */
    const mia__operand *weights[MIA__MOST_CORES];
    const mia__operand *x;
    const mia__operand *norm_weight; /* NULL: x is as it is */
    double epsilon;
    uint64_t depth, rows, columns, batches;
} mia__product;

/* Takes a step apart; false when it is no product, one of no depth, or has a prologue other
 * than rms_norm. */
bool mia__product_of(const mia__plan *plan, const mia__step *step, mia__product *out);

/* Its instructions, from the step's first. */
const mia__instruction *mia__product_instructions(const mia__plan *plan, const mia__product *product);

/* Whether two products read the same x in the same way, so that one shader can do both. */
bool mia__product_same_x(const mia__product *a, const mia__product *b);

/* Binds the result and what the epilogue reads, and makes, for `prefix` j0_:
 *     fn j0_finish(n: u32, m: u32, batch: u32, j0_v<core>: f32, ...)    writes y[n, m], if it is there
 * Results of 4 bytes alone. */
bool mia__product_finish(mia__kernel *k, const mia__product *product, const char *prefix);

/* matvec_bytes.c: products of one column, count of them at once; false when it does not take them. */
bool mia__kernel_matvec_bytes(mia__kernel *k, const mia__product *jobs, uint32_t count);

/* rules.fuses: which steps with cores this backend takes. */
bool mia__webgpu_fuses(const void *context, const mia__plan *plan, const mia__step *step);

#endif
