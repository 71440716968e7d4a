/* From a plan to what runs: kernels chosen and geometry worked out once, in one allocation; and the run itself, in which
 * all threads walk the same list of steps and meet at barriers. A run allocates nothing. */
#include "backend/cpu/cpu.h"

#include "backend/host.h"
#include "base/size.h"

#include <string.h>

typedef struct mia__cpu_program {
    uint32_t count, fallbacks;
    bool shared; /* some step is */
    size_t bytes;
    mia__cpu_step steps[];
} mia__cpu_program;

static void run_reference(const mia__cpu_task *task, size_t begin, size_t end) {
    (void)begin, (void)end;
    mia__reference_find(task->step->source->op)(&task->args);
}

static size_t view_offset(const mia__operand *operand) {
    return (size_t)operand->view.offset * mia_dtype_describe(operand->dtype)->bytes;
}

static mia_status choose(const mia__cpu *cpu, const mia__plan *plan, const mia__step *source, mia__cpu_step *out,
                         mia_error *error) {
    *out = (mia__cpu_step){.source = source, .kernels = &cpu->kernels, .output_offset = view_offset(&source->output)};
    for (uint32_t i = 0; i < source->input_count; i++) out->input_offset[i] = view_offset(&source->inputs[i]);
    mia__cpu_chooser chooser = mia__cpu_chooser_find(source->op);
    if (chooser != NULL && chooser(cpu, plan, out)) {
        for (uint32_t i = 0; i < out->phase_count; i++)
            if (out->phases[i].units > 1 && out->work >= cpu->shared_nanoseconds) out->shared = true;
        return MIA_OK;
    }
    if (mia__reference_find(source->op) == NULL) {
        const mia_op_info *info = mia_op_describe(source->op);
        return mia_error_set(error, MIA_ERROR_UNSUPPORTED, "%s of %s: the cpu backend has no kernel for it",
                             info != NULL ? info->name : "an unknown operation",
                             mia_dtype_describe(source->inputs[0].dtype)->name);
    }
    out->phase_count = 0;
    out->fallback = true;
    mia__cpu_phase_add(out, run_reference, 1);
    return MIA_OK;
}

mia_status mia__cpu_compile(mia__backend *backend, const mia__plan *plan, void **program, mia_error *error) {
    const mia__cpu *cpu = (const mia__cpu *)backend;
    size_t bytes;
    if (!mia__size_multiply(plan->step_count, sizeof(mia__cpu_step), &bytes) ||
        !mia__size_add(bytes, sizeof(mia__cpu_program), &bytes))
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "compile: a plan of %u steps is too long", plan->step_count);
    mia__cpu_program *made = mia_allocate(cpu->host.allocator, bytes, _Alignof(max_align_t));
    if (made == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "compile: no memory for the %u steps of a plan",
                             plan->step_count);
    *made = (mia__cpu_program){.count = plan->step_count, .bytes = bytes};
    for (uint32_t i = 0; i < plan->step_count; i++) {
        mia_status status = choose(cpu, plan, &plan->steps[i], &made->steps[i], error);
        if (status != MIA_OK) {
            mia__cpu_discard(backend, made);
            return status;
        }
        made->fallbacks += made->steps[i].fallback;
        made->shared |= made->steps[i].shared;
    }
    *program = made;
    return MIA_OK;
}

void mia__cpu_discard(mia__backend *backend, void *program) {
    mia__cpu_program *made = program;
    if (made != NULL) mia_release(((const mia__cpu *)backend)->host.allocator, made, made->bytes);
}

static mia__cpu_task resolve(const mia__run *run, uint32_t index, const mia__cpu_step *step) {
    mia__cpu_task task = {.step = step, .args = mia__host_resolve(run, index)};
    for (uint32_t i = 0; i < step->source->input_count; i++)
        task.inputs[i] = (const char *)task.args.inputs[i] + step->input_offset[i];
    task.output = (char *)task.args.output + step->output_offset;
    return task;
}

static void run_alone(const mia__run *run, uint32_t index, const mia__cpu_step *step) {
    mia__cpu_task task = resolve(run, index, step);
    for (uint32_t i = 0; i < step->phase_count; i++) step->phases[i].function(&task, 0, step->phases[i].units);
}

static void run_shared(const mia__run *run, uint32_t index, const mia__cpu_step *step, mia__pool *pool) {
    mia__cpu_task task = resolve(run, index, step);
    for (uint32_t i = 0; i < step->phase_count; i++) {
        size_t begin, end;
        while (mia__pool_take(pool, step->phases[i].units, &begin, &end)) step->phases[i].function(&task, begin, end);
        mia__pool_barrier(pool);
    }
}

/* What each thread does of a run. Thread 0 does the steps that are not shared; the others see what it wrote only after
 * the next barrier. */
static void walk(void *user, mia__pool *pool, unsigned thread) {
    const mia__run *run = user;
    const mia__cpu_program *program = run->program;
    bool unseen = false;
    for (uint32_t i = 0; i < program->count; i++) {
        const mia__cpu_step *step = &program->steps[i];
        if (!step->shared) {
            if (thread == 0) run_alone(run, i, step);
            unseen = true;
            continue;
        }
        if (unseen) mia__pool_barrier(pool);
        unseen = false;
        run_shared(run, i, step, pool);
    }
}

void mia__cpu_run(mia__backend *backend, mia__run *run) {
    mia__cpu *cpu = (mia__cpu *)backend;
    const mia__cpu_program *program = run->program;
    if (program->shared && mia__pool_threads(cpu->pool) > 1) {
        mia__pool_run(cpu->pool, walk, run);
    } else {
        for (uint32_t i = 0; i < program->count; i++) run_alone(run, i, &program->steps[i]);
    }
    backend->fallbacks += program->fallbacks;
    mia__complete(run->completion, MIA_OK, NULL);
}
