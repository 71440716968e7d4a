/* Conversions: what elementwise.c takes by its tiles; from and to all other types, blocks among them, the
 * reference's way through double, which all threads share, a run of a row a unit. */
#include "backend/cpu/cpu.h"

static void run_convert(const mia__cpu_task *task, size_t begin, size_t end) {
    mia__reference_convert_part(&task->args, begin, end);
}

bool mia__cpu_choose_conversion(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    const mia__step *source = out->source;
    if (mia__cpu_choose_convert(cpu, plan, out)) return true;
    bool encodes = mia_dtype_describe(source->output.dtype)->kind == MIA_KIND_BLOCK;
    out->work = (encodes ? 30.0 : 3.0) * (double)mia__view_count(&source->output.view);
    mia__cpu_phase_add(out, run_convert, mia__reference_convert_runs(source));
    return true;
}
