/* Windows: convolutions and pools. */
#include "backend/cpu/cpu.h"

bool mia__cpu_choose_window(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan, (void)out;
    return false;
}
size_t mia__cpu_scratch_window(const mia__cpu *cpu, const mia__step *step) {
    (void)cpu, (void)step;
    return 0;
}
