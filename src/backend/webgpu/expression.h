/* Element-wise operations as WGSL: each a function of its module, with what it calls, and the text of a call of it. */
#ifndef MIA_BACKEND_WEBGPU_EXPRESSION_H
#define MIA_BACKEND_WEBGPU_EXPRESSION_H

#include "backend/webgpu/kernel.h"

#define MIA__EXPRESSION_CALL 600 /* bytes of a call's text */

/* What is called, on operands of a type (of what is chosen from, for `where`), by their names: "x0, v2". */
typedef struct mia__expression {
    mia_op op;
    const struct mia__custom *custom;
    mia_dtype dtype, result;
    const mia__attributes *attributes;
    const char
        *name; /* attributes are parameters of the dispatch that are called after it, so that steps with
                         other numbers share a pipeline */
    uint32_t count;
    const char *operands;
} mia__expression;

/* Puts the function in the module, unless it is there, and writes a call of it; false when there is no such operation. */
bool mia__expression_put(mia__kernel *k, const mia__expression *expression, char *call, size_t capacity);

/* The function of a conversion from one scalar type to another: fn <name>(v: T) -> U. */
void mia__expression_convert(mia__kernel *k, mia_dtype from, mia_dtype to, char *name, size_t capacity);

#endif
