/* Operations that programs register: their cpu kernels, shared by all threads over the places of the output's
 * last mode; the reference kernel for one that has none, which is all that its program gave. */
#include "backend/cpu/cpu.h"
#include "graph/ops.h"

#define PIECES 64 /* units at most */

static int64_t places(const mia__view *output) {
    return output->ndim > 0 ? output->extent[output->ndim - 1] : 1;
}

static void run_cpu(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    mia_custom_call call;
    mia__reference_custom_call(&task->args, &call);
    int64_t all = places(&source->output.view), units = all < PIECES ? all : PIECES;
    int64_t first = (int64_t)begin * all / units, last = (int64_t)end * all / units;
    source->custom->description.cpu(&call, first, last);
}

static void run_whole(const mia__cpu_task *task, size_t begin, size_t end) {
    (void)begin, (void)end;
    mia__reference_of(task->step->source)(&task->args);
}

bool mia__cpu_choose_custom(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    int64_t all = places(&source->output.view);
    out->work = 10.0 * (double)mia__view_count(&source->output.view);
    if (source->custom->description.cpu != NULL)
        mia__cpu_phase_add(out, run_cpu, (size_t)(all < PIECES ? all : PIECES));
    else
        mia__cpu_phase_add(out, run_whole, 1);
    return true;
}
