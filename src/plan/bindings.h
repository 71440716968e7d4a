/* How the buffers of a dispatch are bound on a GPU whose rule is WebGPU's: in one dispatch a buffer of the GPU is bound to
 * read, or to read and write, not both, even where the ranges are apart; and what is bound to write does not overlap.
 *
 *     arena (one buffer of the GPU)   +-----+--------+-----+
 *                                     | x   |        | y   |     y = f(x, w): x and y are bound read_write, w to read;
 *                                     +-----+--------+-----+     y over x: one binding, read_write
 *
 * Pure functions of a plan; a backend's dispatch may bind some of a step's buffers. */
#ifndef MIA_PLAN_BINDINGS_H
#define MIA_PLAN_BINDINGS_H

#include "plan/plan.h"

typedef struct mia__plan_binding {
    uint32_t buffer; /* of the plan; each is in a dispatch once */
    bool written;    /* by the dispatch */
    bool read_write; /* has to be bound so: it is written, or shares memory with what is */
} mia__plan_binding;

/* Operands, result and scratch. */
#define MIA__MOST_STEP_BINDINGS (MIA__MAX_OPERANDS + 2)

/* The buffer that a part is of, or the buffer itself; *offset gets where in it that begins. */
uint32_t mia__plan_root(const mia__plan *plan, uint32_t buffer, size_t *offset);

/* Whether two buffers of a plan lie in one buffer of the GPU. */
bool mia__plan_shares_memory(const mia__plan *plan, uint32_t a, uint32_t b);

/* Works out read_write of each from what is written. False where two that have to be bound read_write overlap: such a
 * dispatch cannot be. */
bool mia__plan_bind(const mia__plan *plan, mia__plan_binding *bindings, uint32_t count);

/* The distinct buffers of a step, the result's first, with read_write worked out; their number. 0 where it cannot be. */
uint32_t mia__step_bindings(const mia__plan *plan, const mia__step *step, mia__plan_binding *bindings);

#endif
