/* From a plan to what runs (run.c): kernels chosen and geometry worked out once, in one allocation. */
#include "backend/cpu/cpu.h"

#include "backend/host.h"
#include "base/size.h"

/* A run looks this often, by its estimates, whether it is to stop. Where memory is new, work may well take 50 times as
 * long as estimated. */
#define PIECE_NANOSECONDS 50000.0

static void run_reference(const mia__cpu_task *task, size_t begin, size_t end) {
    (void)begin, (void)end;
    mia__reference_of(task->step->source)(&task->args);
}

static size_t view_offset(const mia__operand *operand) {
    return (size_t)operand->view.offset * mia_dtype_describe(operand->dtype)->bytes;
}

/* Cuts the phases of a long step, each as if all of its work were there. */
static void cut(mia__cpu_step *step) {
    for (uint32_t i = 0; step->work > PIECE_NANOSECONDS && i < step->phase_count; i++) {
        double units = (double)step->phases[i].units * PIECE_NANOSECONDS / step->work;
        step->phases[i].piece = units > 1 ? (size_t)units : 1;
    }
}

void mia__cpu_share(const mia__cpu *cpu, mia__cpu_step *step) {
    step->shared = false;
    for (uint32_t i = 0; i < step->phase_count; i++)
        if (step->phases[i].units > 1 && step->work >= cpu->shared_nanoseconds) step->shared = true;
    cut(step);
}

mia_status mia__cpu_choose(const mia__cpu *cpu, const mia__plan *plan, const mia__step *source,
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
        mia__cpu_share(cpu, out);
        return MIA_OK;
    }
    mia_status status = mia__reference_check(source, "cpu", error);
    if (status != MIA_OK) return status;
    out->phase_count = 0;
    out->fallback = true;
    mia__cpu_phase_add(out, run_reference, 1);
    return MIA_OK;
}

/* Bytes of a program; *fused and *instructions are where those of steps with cores and of element-wise ones begin.
 * False when it is too long. */
static bool measure(const mia__plan *plan, size_t *fused, size_t *instructions, size_t *bytes) {
    size_t count = 0, cores = 0, room;
    for (uint32_t i = 0; i < plan->step_count; i++) {
        if (mia__cpu_has_cores(&plan->steps[i]) &&
            !mia__size_add(cores, mia__cpu_fused_bytes(plan, &plan->steps[i]), &cores))
            return false;
        if (!mia__size_add(count, mia__cpu_instructions_most(&plan->steps[i]), &count)) return false;
    }
    if (!mia__size_multiply(plan->step_count, sizeof(mia__cpu_step), bytes) ||
        !mia__size_add(*bytes, sizeof(mia__cpu_program), bytes))
        return false;
    *fused = *bytes;
    if (!mia__size_add(*bytes, cores, bytes) ||
        !mia__size_multiply(count, sizeof(mia__cpu_instruction), &room))
        return false;
    *instructions = *bytes;
    return mia__size_add(*bytes, room, bytes);
}

/* Lets the steps of a group run as one when they bring x into the same form. */
static void join(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_program *program, uint32_t first) {
    uint32_t count = plan->steps[first].together;
    if (count < 2) return;
    mia__cpu_step *leader = &program->steps[first];
    double work = 0;
    for (uint32_t i = first; i < first + count; i++) {
        if (!mia__cpu_matmul_shares(mia__cpu_core(leader), mia__cpu_core(&program->steps[i]))) return;
        work += program->steps[i].work;
    }
    leader->joined = count - 1;
    leader->shared = work >= cpu->shared_nanoseconds;
}

mia_status mia__cpu_compile(mia__backend *backend, const mia__plan *plan, void **program, mia_error *error) {
    const mia__cpu *cpu = (const mia__cpu *)backend;
    size_t fused, instructions, bytes;
    if (!measure(plan, &fused, &instructions, &bytes))
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "compile: a plan of %u steps is too long",
                             plan->step_count);
    mia__cpu_program *made = mia_allocate(cpu->host.allocator, bytes, _Alignof(max_align_t));
    if (made == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "compile: no memory for the %u steps of a plan",
                             plan->step_count);
    *made = (mia__cpu_program){.count = plan->step_count, .bytes = bytes};
    mia__cpu_instruction *room = (mia__cpu_instruction *)(void *)((char *)made + instructions);
    char *parts = (char *)made + fused;
    for (uint32_t i = 0; i < plan->step_count; i++) {
        const mia__step *step = &plan->steps[i];
        mia_status status =
            mia__cpu_has_cores(step)
                ? mia__cpu_choose_fused(cpu, plan, step, room, (mia__cpu_fused *)(void *)parts,
                                        &made->steps[i], error)
                : mia__cpu_choose(cpu, plan, step, room, &made->steps[i], error);
        room += mia__cpu_instructions_most(step);
        if (mia__cpu_has_cores(step)) parts += mia__cpu_fused_bytes(plan, step);
        if (status != MIA_OK) {
            mia__cpu_discard(backend, made);
            return status;
        }
        made->fallbacks += made->steps[i].fallback;
    }
    for (uint32_t i = 0; i < plan->step_count; i++) join(cpu, plan, made, i);
    *program = made;
    return MIA_OK;
}

void mia__cpu_discard(mia__backend *backend, void *program) {
    mia__cpu_program *made = program;
    if (made != NULL) mia_release(((const mia__cpu *)backend)->host.allocator, made, made->bytes);
}
