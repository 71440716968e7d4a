/* Element-wise operations as WGSL: each a function of its module, `op_add_f32(a: f32, b: f32) -> f32`, with what it calls. */
#ifndef MIA_BACKEND_WEBGPU_EXPRESSION_H
#define MIA_BACKEND_WEBGPU_EXPRESSION_H

#include "backend/webgpu/kernel.h"

/* Adds the function of an operation on operands of a type, once a module, and writes its name. Attributes are parameters of the
 * dispatch, named after `instruction`, so that steps with other numbers share a pipeline. False when there is none. */
bool mia__expression(mia__kernel *k, mia_op op, mia_dtype dtype, const mia__attributes *attributes,
                     uint32_t instruction, char *name, size_t capacity);

/* The same for a conversion from one scalar type to another. */
bool mia__expression_convert(mia__kernel *k, mia_dtype from, mia_dtype to, char *name, size_t capacity);

#endif
