/* A step checked (check.h): its memory, fused steps taken apart on the backend's own kernels, comparing and reporting. */
#include "backend/check.h"

#include "graph/ops.h"

#include <stdio.h>
#include <string.h>

/* --- memory ----------------------------------------------------------------------------------- */

void *mia__step_check_memory(mia__step_check *c, size_t bytes) {
    void *memory = NULL;
    if (bytes == 0) bytes = 1;
    if (c->count < MIA__CHECK_PIECES)
        memory = mia_allocate(c->kernels->allocator, bytes, 64); /* as vectors of any kernel want it */
    if (memory == NULL) {
        c->no_memory = true;
        return NULL;
    }
    c->memory[c->count] = memory;
    c->bytes[c->count++] = bytes;
    return memory;
}

void mia__step_check_free(mia__step_check *c, uint32_t count) {
    while (c->count > count) {
        c->count--;
        mia_release(c->kernels->allocator, c->memory[c->count], c->bytes[c->count]);
    }
}

bool mia__step_check_is_prepared(const mia__step_check *c, uint32_t input) {
    const mia__plan_buffer *buffer = &c->run->plan->buffers[c->step->inputs[input].buffer];
    return buffer->kind == MIA__BUFFER_FORM && buffer->form != 0;
}

/* A constant in a prepared form, as it was before. */
static const void *raw_constant(mia__step_check *c, uint32_t buffer) {
    const mia__plan_buffer *of = &c->run->plan->buffers[buffer];
    mia__view view = mia__view_compact(of->dtype, &of->shape);
    size_t bytes = mia__view_bytes(of->dtype, &view);
    void *memory = mia__step_check_memory(c, bytes);
    if (memory != NULL && !c->run->check->raw(c->run->check->user, buffer, memory, bytes))
        c->no_memory = true;
    return memory;
}

void mia__step_check_begin(mia__step_check *c, const mia__check_kernels *kernels, const mia__run *run,
                           uint32_t index) {
    const mia__step *step = &run->plan->steps[index];
    *c = (mia__step_check){
        .kernels = kernels, .run = run, .step = step, .index = index, .args = {.step = step}};
    for (uint32_t i = 0; i < step->input_count; i++)
        if (mia__step_check_is_prepared(c, i)) c->args.inputs[i] = raw_constant(c, step->inputs[i].buffer);
}

/* --- comparing -------------------------------------------------------------------------------- */

static void tell(const mia__step_check *c, const char *line) {
    c->run->check->report(c->run->check->user, line);
}

bool mia__step_check_report(const mia__step_check *c, const mia__step *step, int64_t element, double got,
                            double want, double slack) {
    char line[500], name[250];
    (void)snprintf(
        line, sizeof line,
        "step %u, %s (entry %u of the tape): element %lld is %.9g, the reference kernel gives %.9g, "
        "%.3g apart where %.3g is allowed",
        (unsigned)c->index, mia__step_name(c->run->plan, step, name, sizeof name), (unsigned)step->entry,
        (long long)element, got, want, fabs(got - want), slack);
    tell(c, line);
    return false;
}

bool mia__step_check_compare(const mia__step_check *c, const mia__step *step, mia__check_bounds *bounds,
                             const void *got, const mia__view *view) {
    mia__walk walk;
    if (!mia__walk_start(&walk, view, 0)) return true;
    uint32_t at = mia__walk_add(&walk, view);
    mia_dtype dtype = bounds->step->output.dtype;
    do {
        double want = mia__check_bounds_want(bounds), is = mia__load(dtype, got, walk.at[at]);
        if (want == is) continue;
        double slack = mia__check_bounds_slack(bounds);
        if (!mia__check_is_near(dtype, want, is, slack))
            return mia__step_check_report(c, step, bounds->element, is, want, slack);
    } while (mia__walk_next(&walk) && mia__check_bounds_next(bounds));
    return true;
}

/* --- fused steps ------------------------------------------------------------------------------ */

/* Where the result of instruction n lies when it is alone: compact, in the modes of the main operand before the cores,
 * from them on in the output's. */
static mia__view view_of_result(const mia__step *step, const mia__instruction *all, uint32_t n) {
    return mia__check_compact(n < step->core ? &step->inputs[all[0].operands[0]].view : &step->output.view);
}

void mia__step_check_call(const mia__step_check *c, uint32_t n, void *const *made, mia__check_call *call) {
    const mia__instruction *all = &c->run->plan->instructions[c->step->first_instruction], *from = &all[n];
    *call = (mia__check_call){.step = {.op = from->op,
                                       .input_count = from->operand_count,
                                       .entry = from->entry,
                                       .attributes = from->attributes,
                                       .scratch = MIA__NO_BUFFER,
                                       .custom = from->custom}};
    for (uint32_t k = 0; k < from->operand_count; k++) {
        uint32_t operand = from->operands[k], result = operand - MIA__MAX_OPERANDS;
        bool input = operand < MIA__MAX_OPERANDS;
        call->results[k] = input ? MIA__NO_RESULT : result;
        if (input) {
            call->step.inputs[k] = c->step->inputs[operand];
            call->args.inputs[k] = c->args.inputs[operand];
            call->prepared[k] = c->prepared[operand];
        } else {
            call->step.inputs[k] = (mia__operand){.buffer = MIA__NO_BUFFER,
                                                  .dtype = all[result].dtype,
                                                  .view = view_of_result(c->step, all, result)};
            call->args.inputs[k] = made[result];
        }
    }
    call->step.output = (mia__operand){
        .buffer = MIA__NO_BUFFER, .dtype = from->dtype, .view = view_of_result(c->step, all, n)};
    call->args.step = &call->step;
}

/* The step has to give exactly what the backend's kernels gave one after the other. */
static bool same_as_alone(const mia__step_check *c, const mia__step *last, const void *made,
                          const void *output) {
    mia__walk walk;
    if (!mia__walk_start(&walk, &c->step->output.view, 0)) return true;
    uint32_t at = mia__walk_add(&walk, &c->step->output.view),
             alone = mia__walk_add(&walk, &last->output.view);
    int64_t element = 0;
    do {
        double want = mia__load(last->output.dtype, made, walk.at[alone]);
        double is = mia__load(last->output.dtype, output, walk.at[at]);
        if (want != is && !(isnan(want) && isnan(is)))
            return mia__step_check_report(c, c->step, element, is, want, 0);
    } while (element++, mia__walk_next(&walk));
    return true;
}

static bool check_fused(mia__step_check *c, const void *output) {
    void *made[MIA__MOST_INSTRUCTIONS] = {NULL};
    uint32_t count = c->step->instruction_count;
    mia__check_call call;
    for (uint32_t n = 0; n < count; n++) {
        mia__step_check_call(c, n, made, &call);
        const mia__operand *result = &call.step.output;
        size_t bytes = mia__view_bytes(result->dtype, &result->view);
        mia__kernel_args own = call.args;
        for (uint32_t k = 0; k < call.step.input_count; k++)
            if (call.prepared[k] != NULL) own.inputs[k] = call.prepared[k];
        call.args.output = mia__step_check_memory(c, bytes);
        own.output = made[n] = mia__step_check_memory(c, bytes);
        if (!c->no_memory) c->kernels->alone(c, &call.step, &own);
        if (c->no_memory) return true;
        mia__reference_of (&call.step)(&call.args);
        mia__check_bounds bounds;
        if (mia__check_bounds_start(&bounds, &c->kernels->promise, &call.step, &call.args) &&
            !mia__step_check_compare(c, &call.step, &bounds, made[n], &result->view))
            return false;
    }
    return count == 0 || same_as_alone(c, &call.step, made[count - 1], output);
}

/* --- steps ------------------------------------------------------------------------------------ */

bool mia__step_check_end(mia__step_check *c, const void *output) {
    bool good = true;
    if (!c->no_memory && output != NULL) {
        if (c->step->op != MIA__OP_FUSED)
            good = mia__step_check_single(c, output);
        else
            good = c->kernels->alone != NULL ? check_fused(c, output) : mia__step_check_chain(c, output);
    }
    if (c->no_memory) tell(c, "a step was left out: no memory to check it");
    mia__step_check_free(c, 0);
    return good;
}
