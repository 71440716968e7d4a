/* Numbers out of quantised blocks, as they lie in files (base/block.h draws them): functions of a shader that find one number
 * by its place. For kernels that meet blocks now and then; those that live on weights have them prepared (forms.h). */
#ifndef MIA_BACKEND_WEBGPU_BLOCKS_H
#define MIA_BACKEND_WEBGPU_BLOCKS_H

#include "backend/webgpu/kernel.h"

/* For a buffer that mia__kernel_words or mia__kernel_input bound as `name` w:
 *     fn w_block(block: u32, i: u32) -> f32     number i of a block, the block's number counted from the buffer's start */
void mia__kernel_block(mia__kernel *k, const char *name, mia_dtype dtype);

/* The same for numbers of any type that weights have, of a row that begins at unit `row`:
 *     fn w_number(row: u32, i: u32) -> f32
 * Scalars of the row lie p.w_s0 apart. */
void mia__kernel_number(mia__kernel *k, const char *name, mia_dtype dtype);

#endif
