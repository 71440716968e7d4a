/* What reductions are made of (reduce.c walks, reduce_text.c has the arithmetic). */
#ifndef MIA_BACKEND_WEBGPU_REDUCE_H
#define MIA_BACKEND_WEBGPU_REDUCE_H

#include "backend/webgpu/kernel.h"

/* alias PARTIAL; fn start() -> PARTIAL; fn take(a: PARTIAL, x: T, n: u32) -> PARTIAL, of element number n; fn join(a, b) ->
 * PARTIAL; fn finish(a: PARTIAL) -> the result's type, of `count` elements. */
void mia__reduce_put(mia__kernel *k, uint64_t count);

/* Words of a PARTIAL in memory; fn leave(at: u32, a: PARTIAL) and fn left(at: u32) -> PARTIAL write and read one. */
uint32_t mia__reduce_words(const mia__step *step);
void mia__reduce_put_leave(mia__kernel *k, uint32_t slot);
void mia__reduce_put_left(mia__kernel *k, uint32_t slot);

/* fn key_of(x: T) -> u32, of an element type, whose order is that of the elements; a NaN is the greatest, or with `least` the
 * least of them comes to the greatest key, and NaN still does. Zeros are alike. fn of_key(k: u32) -> T. */
void mia__kernel_key(mia__kernel *k, mia_dtype dtype, bool least);

/* fn product(a: u32, b: u32) -> vec2<u32>: low and high word. */
void mia__kernel_product(mia__kernel *k);

/* fn lowered(x: f32, by: u32) -> f32: x * 2^-by by its bits, which no compiler takes out of a sum. */
void mia__kernel_lowered(mia__kernel *k);

#endif
