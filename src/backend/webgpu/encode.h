/* Numbers made blocks. */
#ifndef MIA_BACKEND_WEBGPU_ENCODE_H
#define MIA_BACKEND_WEBGPU_ENCODE_H

#include "backend/webgpu/kernel.h"

/* Ends a dispatch whose text has fn number(i: u32) -> f32, element i of what becomes the output's blocks: the bytes that
 * base/block.h makes of them. */
bool mia__kernel_encode(mia__kernel *k);

/* The same for the K formats (encode_k.c). */
bool mia__kernel_encode_k(mia__kernel *k);

#endif
