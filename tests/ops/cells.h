/* What goes through the cells of the table of operations has in common: for each row and type some random programs, for
 * rows of two types with every target. */
#ifndef MIA_TESTS_OPS_CELLS_H
#define MIA_TESTS_OPS_CELLS_H

#include "ops/draw.h"

/* Draws a program, with what the operation sees of its operands. Ends the process on an error. */
static inline void program_draw_seen(uint64_t *seed, program *p, const row *of, mia_dtype dtype,
                                     mia_dtype target, mia_device *cpu) {
    program_draw(seed, p, of, dtype, target);
    mia_error error = {0};
    for (uint32_t i = 0; i < p->count; i++)
        if (!p->operands[i].repeated && operand_see(&p->operands[i], cpu, &error) != MIA_OK) {
            (void)fprintf(stderr, "%s of %s: %s\n", of->name, mia_dtype_describe(dtype)->name, error.message);
            exit(2);
        }
    for (uint32_t i = 0; i < p->count; i++)
        if (p->operands[i].repeated) p->operands[i].kept = false;
}

/* Targets of a row from MIA_NONE on: all types where it is of two, else one that says nothing. */
static inline bool row_next_target(const row *of, mia_dtype *target) {
    int next = (int)*target + 1;
    while (next < MIA_DTYPE_LIMIT && mia_dtype_describe((mia_dtype)next)->bytes == 0) next++;
    *target = (mia_dtype)next;
    return next < (of->form == SIGNATURE_DTYPE ? MIA_DTYPE_LIMIT : MIA_NONE + 2);
}

static inline int row_programs(const row *of) {
    return of->form == SIGNATURE_DTYPE ? 3 : 12;
}

#endif
