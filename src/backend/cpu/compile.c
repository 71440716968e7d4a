/* From a plan to what runs: kernels chosen and geometry worked out once, in one allocation; and the
 * run itself, one step after the other, each shared by the pool where it is worth that. A run
 * allocates nothing. */
#include "backend/cpu/cpu.h"

#include "backend/host.h"
#include "base/size.h"

#include <string.h>

typedef struct mia__cpu_program {
    uint32_t count, fallbacks;
    size_t bytes;
    mia__cpu_step steps[];
} mia__cpu_program;

static void run_reference(const mia__cpu_task *task, size_t begin, size_t end) {
    (void)begin, (void)end;
    mia__reference_of(task->step->source)(&task->args);
}

static size_t view_offset(const mia__operand *operand) {
    return (size_t)operand->view.offset * mia_dtype_describe(operand->dtype)->bytes;
}

static mia_status choose(const mia__cpu *cpu, const mia__plan *plan, const mia__step *source,
                         mia__cpu_instruction *room, mia__cpu_step *out, mia_error *error) {
    *out = (mia__cpu_step){.source = source,
                           .kernels = &cpu->kernels,
                           .output_offset = view_offset(&source->output),
                           .instructions = room};
    for (uint32_t i = 0; i < source->input_count; i++) out->input_offset[i] = view_offset(&source->inputs[i]);
    mia__cpu_chooser chooser =
        source->custom != NULL ? mia__cpu_choose_custom : mia__cpu_chooser_find(source->op);
    if (mia__cpu_moves_blocks(source)) chooser = mia__cpu_choose_blocks;
    if (chooser != NULL && chooser(cpu, plan, out)) {
        for (uint32_t i = 0; i < out->phase_count; i++)
            if (out->phases[i].units > 1 && out->work >= cpu->shared_nanoseconds) out->shared = true;
        return MIA_OK;
    }
    mia_status status = mia__reference_check(source, "cpu", error);
    if (status != MIA_OK) return status;
    out->phase_count = 0;
    out->fallback = true;
    mia__cpu_phase_add(out, run_reference, 1);
    return MIA_OK;
}

/* Bytes of a program; *instructions is where those of element-wise steps begin. False when it is too long. */
static bool measure(const mia__plan *plan, size_t *instructions, size_t *bytes) {
    size_t count = 0, room;
    for (uint32_t i = 0; i < plan->step_count; i++)
        if (!mia__size_add(count, mia__cpu_instructions_most(&plan->steps[i]), &count)) return false;
    if (!mia__size_multiply(plan->step_count, sizeof(mia__cpu_step), bytes) ||
        !mia__size_add(*bytes, sizeof(mia__cpu_program), bytes) ||
        !mia__size_multiply(count, sizeof(mia__cpu_instruction), &room))
        return false;
    *instructions = *bytes;
    return mia__size_add(*bytes, room, bytes);
}

mia_status mia__cpu_compile(mia__backend *backend, const mia__plan *plan, void **program, mia_error *error) {
    const mia__cpu *cpu = (const mia__cpu *)backend;
    size_t instructions, bytes;
    if (!measure(plan, &instructions, &bytes))
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "compile: a plan of %u steps is too long",
                             plan->step_count);
    mia__cpu_program *made = mia_allocate(cpu->host.allocator, bytes, _Alignof(max_align_t));
    if (made == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "compile: no memory for the %u steps of a plan",
                             plan->step_count);
    *made = (mia__cpu_program){.count = plan->step_count, .bytes = bytes};
    mia__cpu_instruction *room = (mia__cpu_instruction *)(void *)((char *)made + instructions);
    for (uint32_t i = 0; i < plan->step_count; i++) {
        mia_status status = choose(cpu, plan, &plan->steps[i], room, &made->steps[i], error);
        room += mia__cpu_instructions_most(&plan->steps[i]);
        if (status != MIA_OK) {
            mia__cpu_discard(backend, made);
            return status;
        }
        made->fallbacks += made->steps[i].fallback;
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

/* One phase of one task, for the pool. */
typedef struct shared_phase {
    const mia__cpu_task *task;
    mia__cpu_function function;
} shared_phase;

static void run_phase(const void *user, size_t begin, size_t end) {
    const shared_phase *phase = user;
    phase->function(phase->task, begin, end);
}

static void run_step(mia__cpu *cpu, const mia__run *run, uint32_t index, const mia__cpu_step *step) {
    mia__cpu_task task = resolve(run, index, step);
    for (uint32_t i = 0; i < step->phase_count; i++) {
        const shared_phase phase = {&task, step->phases[i].function};
        if (step->shared)
            mia__pool_for(cpu->pool, step->phases[i].units, run_phase, &phase);
        else
            run_phase(&phase, 0, step->phases[i].units);
    }
}

void mia__cpu_run(mia__backend *backend, mia__run *run) {
    const mia__cpu_program *program = run->program;
    for (uint32_t i = 0; i < program->count; i++) run_step((mia__cpu *)backend, run, i, &program->steps[i]);
    backend->fallbacks += program->fallbacks;
    mia__complete(run->completion, MIA_OK, NULL);
}
