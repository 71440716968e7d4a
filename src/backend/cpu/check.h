/* MIA_DEBUG=check on the cpu: what backend/check.h leaves to a backend. */
#ifndef MIA_BACKEND_CPU_CHECK_H
#define MIA_BACKEND_CPU_CHECK_H

#include "backend/check.h"
#include "backend/cpu/cpu.h"

typedef struct mia__cpu_check {
    mia__check_kernels kernels;
    mia__step_check step;
} mia__cpu_check;

/* Before step `index` of a run that is checked: keeps what the step may overwrite. */
void mia__cpu_check_begin(mia__cpu_check *check, const mia__cpu *cpu, const mia__run *run, uint32_t index);
/* After it: computes it again and compares. False when the numbers differ by more than they may, which is
 * reported. */
bool mia__cpu_check_end(mia__cpu_check *check);

#endif
