/* MIA_DEBUG=check: each step once more on reference kernels, in memory of its own (check.c). */
#ifndef MIA_BACKEND_CPU_CHECK_H
#define MIA_BACKEND_CPU_CHECK_H

#include "backend/cpu/cpu.h"

#define MIA__CPU_CHECK_PIECES (2 * MIA__MAX_OPERANDS + 3 * MIA__MOST_INSTRUCTIONS + 2)

typedef struct mia__cpu_check {
    const mia__cpu *cpu;
    const mia__run *run;
    const mia__step *step;
    uint32_t index;
    bool no_memory;
    mia__kernel_args args; /* of the step, for its reference kernel */
    const void
        *prepared[MIA__MAX_OPERANDS]; /* inputs in forms of the cpu's kernels, which args has as they were */
    void *memory[MIA__CPU_CHECK_PIECES];
    size_t bytes[MIA__CPU_CHECK_PIECES];
    uint32_t count;
} mia__cpu_check;

/* Before step `index` of a run that is checked: keeps what the step may overwrite. */
void mia__cpu_check_begin(mia__cpu_check *check, const mia__cpu *cpu, const mia__run *run, uint32_t index);
/* After it: computes it again and compares. False when the numbers differ by more than they may, which is
 * reported. */
bool mia__cpu_check_end(mia__cpu_check *check);

#endif
