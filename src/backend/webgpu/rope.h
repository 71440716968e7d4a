/* Rotary embedding as a function of a shader (rope.c), for the kernels that turn numbers on their way. */
#ifndef MIA_BACKEND_WEBGPU_ROPE_H
#define MIA_BACKEND_WEBGPU_ROPE_H

#include "backend/webgpu/kernel.h"

/* Binds the operands of a rope and makes fn value(i: u32) -> f32: element i of x, in the order of x's modes, turned. The
 * positions have a view in x's modes (plan.h says how an update's prologue sees them). */
bool mia__kernel_turned(mia__kernel *k, const mia__operand *x, const mia__operand *positions,
                        const mia__operand *frequencies, const mia__attributes *attributes);

#endif
