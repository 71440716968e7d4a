/* From a plan to dispatches: every step is described by its family (kernel.h), and its pipelines begin to be made. */
#include "backend/webgpu/kernel.h"

#include "graph/ops.h"

#include <string.h>

static void free_program(mia__webgpu *webgpu, mia__webgpu_program *program) {
    for (uint32_t i = 0; i < program->count; i++)
        for (uint32_t b = 0; b < MIA__WEBGPU_KEPT_BINDINGS; b++)
            if (program->dispatches[i].bound[b].gpu != NULL)
                webgpu->gpu->type->free_bindings(webgpu->gpu, program->dispatches[i].bound[b].gpu);
    if (program->uniforms != NULL) webgpu->gpu->type->free_buffer(webgpu->gpu, program->uniforms);
    mia_release(webgpu->allocator, program->dispatches, program->capacity * sizeof *program->dispatches);
    mia_release(webgpu->allocator, program->parameters, program->parameter_capacity * sizeof(uint32_t));
    mia_release(webgpu->allocator, program, sizeof *program);
}

static bool has_type(const mia__step *step, mia_dtype dtype) {
    bool has = step->output.dtype == dtype;
    for (uint32_t i = 0; i < step->input_count; i++) has = has || step->inputs[i].dtype == dtype;
    return has;
}

/* Offsets are 32 bits wide. */
static bool is_within(const mia__plan *plan, const mia__operand *operand) {
    uint64_t bytes = mia_dtype_describe(operand->dtype)->bytes;
    return plan->buffers[operand->buffer].bytes / bytes <= UINT32_MAX;
}

static bool describe_step(mia__kernel *k) {
    const mia__step *step = k->step;
    if (has_type(step, MIA_f64)) return mia__kernel_refuse(k, "WGSL has no f64");
    bool within = is_within(k->plan, &step->output);
    for (uint32_t i = 0; i < step->input_count; i++) within = within && is_within(k->plan, &step->inputs[i]);
    if (!within) return mia__kernel_refuse(k, "it has more than 2^32 elements");
    mia__kernel_family family = mia__kernel_family_of(k->plan, step);
    if (family == NULL) return mia__kernel_refuse(k, "it has no kernel there");
    mia__kernel_begin(k);
    return family(k);
}

/* Of `together` steps that run together as many as go into one dispatch. */
static bool describe(mia__kernel *k, uint32_t together) {
    if (together > 1 && mia__kernel_is_small(k->plan, k->step) &&
        mia__kernel_jobs(k, together, describe_step))
        return true;
    return k->status == MIA_OK && describe_step(k);
}

static mia_status fail(const mia__kernel *k, mia_error *error) {
    if (k->status != MIA_OK || k->why == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "webgpu: no memory for the shaders of a plan");
    const mia__step *step = k->step;
    char name[160];
    return mia_error_set(
        error, MIA_ERROR_UNSUPPORTED, "webgpu: %s of %s cannot run: %s",
        mia__step_name(k->plan, step, name, sizeof name),
        mia_dtype_describe(step->input_count > 0 ? step->inputs[0].dtype : step->output.dtype)->name, k->why);
}

mia_status mia__webgpu_compile(mia__backend *backend, const mia__plan *plan, void **program,
                               mia_error *error) {
    mia__webgpu *webgpu = (mia__webgpu *)backend;
    mia__webgpu_program *made = mia_allocate_zeroed(webgpu->allocator, 1, sizeof *made);
    if (made == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "webgpu: no memory for a plan");
    mia__webgpu_lock(webgpu);
    mia__kernel kernel = {.webgpu = webgpu,
                          .program = made,
                          .plan = plan,
                          .info = webgpu->gpu->info,
                          .enables.allocator = webgpu->allocator,
                          .fields.allocator = webgpu->allocator,
                          .code.allocator = webgpu->allocator};
    mia_status status = mia__webgpu_check(webgpu, error);
    uint32_t end = 0; /* of the steps that run together */
    for (uint32_t s = 0; status == MIA_OK && s < plan->step_count; s += kernel.taken) {
        kernel.step = &plan->steps[s];
        kernel.step_index = s;
        kernel.taken = 1;
        if (kernel.step->together > 0) end = s + kernel.step->together;
        if (!describe(&kernel, s < end ? end - s : 1)) status = fail(&kernel, error);
        if (kernel.taken > 1 && made->count > 0) made->dispatches[made->count - 1].joined = kernel.taken - 1;
        made->joined += kernel.taken - 1;
    }
    mia__text_free(&kernel.enables);
    mia__text_free(&kernel.fields);
    mia__text_free(&kernel.code);
    if (status == MIA_OK)
        *program = made;
    else
        free_program(webgpu, made);
    mia__webgpu_unlock(webgpu);
    return status;
}

void mia__webgpu_discard(mia__backend *backend, void *program) {
    mia__webgpu *webgpu = (mia__webgpu *)backend;
    if (program == NULL) return;
    mia__webgpu_lock(webgpu);
    free_program(webgpu, program);
    mia__webgpu_unlock(webgpu);
}
