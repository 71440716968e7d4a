/* What reductions are made of (reduce.c walks, reduce_take.c takes in stretches): the result so far of some of
 * the elements, and how more come in. */
#ifndef MIA_BACKEND_CPU_REDUCE_H
#define MIA_BACKEND_CPU_REDUCE_H

#include "backend/cpu/cpu.h"

#define MIA__CPU_STRETCH 2048 /* elements that are taken in at once, at most */

/* Sums, and extremes of floats, are in `real`, those of integers in `whole`; a product of floats is real *
 * 2^whole, so that no order of factors leaves the range; argmax and argmin keep the element in `real` and its
 * place in `whole`, -1 while there is none. */
struct mia__cpu_partial {
    double real;
    int64_t whole;
};

mia__cpu_partial mia__cpu_partial_start(mia_op op, mia_dtype dtype);
/* `from` holds elements that come after those of `into`. */
void mia__cpu_partial_combine(mia_op op, mia_dtype dtype, mia__cpu_partial *into,
                              const mia__cpu_partial *from);
/* Stores the result of `count` elements; `dtype` is theirs. */
void mia__cpu_partial_store(mia_op op, mia_dtype dtype, const mia__cpu_partial *partial, int64_t count,
                            void *out, int64_t at);

/* Takes in a stretch that lies without gaps, whose first element is number `first` of the reduced modes; 16-bit
 * floats come as f32. */
mia__cpu_take mia__cpu_take_find(mia_op op, mia_dtype dtype);

/* Sum of a stretch of f32, in double where f32 has not the range. */
double mia__cpu_sum_stretch(const mia__cpu_kernels *kernels, const float *x, size_t count);

#endif
