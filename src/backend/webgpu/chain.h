/* Element-wise instructions of a fused step as lines of a shader: what comes before a core, or behind it. */
#ifndef MIA_BACKEND_WEBGPU_CHAIN_H
#define MIA_BACKEND_WEBGPU_CHAIN_H

#include "backend/webgpu/kernel.h"

/* Instructions [first, end) of a fused step. Inputs are called <prefix>x0 .. and results <prefix>v0 .., by their numbers in the
 * step, so that several steps can be in one shader. */
typedef struct mia__chain {
    const mia__step *step;
    const mia__instruction *instructions; /* of the step, from its first */
    uint32_t first, end;
    const char *prefix;
} mia__chain;

/* Binds the inputs that they read, and adds the functions that they call. */
bool mia__chain_declare(mia__kernel *k, const mia__chain *chain);
/* The functions alone, for inputs that are read in another way. */
bool mia__chain_functions(mia__kernel *k, const mia__chain *chain);

/* Adds the lines that work them out for the element at flat index `i`; results of earlier instructions that they read are in
 * scope. */
void mia__chain_body(mia__kernel *k, const mia__chain *chain);
/* Lines of the instructions alone, for inputs that are in scope. */
void mia__chain_lines(mia__kernel *k, const mia__chain *chain);

#endif
