/* MIA_DEBUG=check on the cpu: operands are read where they lie, but for what the step overwrites; and each instruction of a fused
 * step is run alone, by the kernel that the cpu has for it. */
#include "backend/cpu/check.h"

#include <string.h>

static void *own_copy(mia__step_check *c, const void *of, size_t bytes) {
    void *memory = mia__step_check_memory(c, bytes);
    if (memory != NULL) memcpy(memory, of, bytes);
    return memory;
}

static bool overlap(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    return a < b + b_bytes && b < a + a_bytes;
}

/* The cpu's kernel on one instruction; the reference kernel where it has none. */
static void run_alone(mia__step_check *c, const mia__step *step, mia__kernel_args *args) {
    const mia__cpu *cpu = c->kernels->backend;
    mia__cpu_instruction room[2];
    mia__cpu_step made;
    mia_error error = {0};
    size_t scratch = mia__cpu_scratch(cpu, c->run->plan, step);
    if (scratch > 0) args->scratch = mia__step_check_memory(c, scratch);
    if (c->no_memory) return;
    if (mia__cpu_choose(cpu, c->run->plan, step, room, &made, &error) != MIA_OK) {
        mia__reference_of(step)(args);
        return;
    }
    mia__cpu_task task = {.step = &made, .args = *args};
    for (uint32_t i = 0; i < step->input_count; i++)
        task.inputs[i] = (const char *)args->inputs[i] + made.input_offset[i];
    task.output = args->output;
    for (uint32_t i = 0; i < made.phase_count; i++) made.phases[i].function(&task, 0, made.phases[i].units);
}

void mia__cpu_check_begin(mia__cpu_check *check, const mia__cpu *cpu, const mia__run *run, uint32_t index) {
    mia__step_check *c = &check->step;
    const mia__step *step = &run->plan->steps[index];
    const mia__kernel_args args = mia__host_resolve(run, index);
    size_t out = run->plan->buffers[step->output.buffer].bytes;
    check->kernels = (mia__check_kernels){.allocator = cpu->host.allocator,
                                          .promise.eight_bits = cpu->precision != MIA_PRECISION_EXACT,
                                          .alone = run_alone,
                                          .backend = cpu};
    mia__step_check_begin(c, &check->kernels, run, index);
    for (uint32_t i = 0; i < step->input_count; i++) {
        size_t bytes = run->plan->buffers[step->inputs[i].buffer].bytes;
        if (mia__step_check_is_prepared(c, i))
            c->prepared[i] = args.inputs[i];
        else if (overlap(args.inputs[i], bytes, args.output, out))
            c->args.inputs[i] = own_copy(c, args.inputs[i], bytes);
        else
            c->args.inputs[i] = args.inputs[i];
    }
    c->args.output = own_copy(c, args.output, out);
}

bool mia__cpu_check_end(mia__cpu_check *check) {
    mia__step_check *c = &check->step;
    bool whole = !mia__watch_cancelled(c->run->watch);
    return mia__step_check_end(c, whole ? mia__host_resolve(c->run, c->index).output : NULL);
}
