/* Places of a mode by index: take, take_along, scatter, scatter_along. */
#include "backend/cpu/cpu.h"

bool mia__cpu_choose_indexed(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan, (void)out;
    return false;
}
