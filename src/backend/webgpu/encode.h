/* Numbers made blocks. */
#ifndef MIA_BACKEND_WEBGPU_ENCODE_H
#define MIA_BACKEND_WEBGPU_ENCODE_H

#include "backend/webgpu/kernel.h"

/* Ends a dispatch whose text has fn number(i: u32) -> f32, element i of what becomes the output's blocks. Says why not for
 * formats that it does not make. */
bool mia__kernel_encode(mia__kernel *k);

#endif
