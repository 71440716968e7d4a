/* MIA_DEBUG=check: what a step computed against what its reference kernel makes of the same operands. A fused step is
 * taken apart: each instruction is run alone by the cpu's kernel and compared, and the step has to give exactly what
 * they give one after the other. How far numbers may lie apart is the operation's bound (ops.def), in units of the
 * type's epsilon, times the largest magnitude that enters them, which is worked out here from the operands. */
#include "backend/cpu/check.h"

#include "backend/reference/element.h"
#include "base/block.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

/* --- memory ----------------------------------------------------------------------------------- */

static void *own(mia__cpu_check *c, size_t bytes) {
    void *memory = NULL;
    if (c->count < MIA__CPU_CHECK_PIECES)
        memory = mia_allocate(c->cpu->host.allocator, bytes > 0 ? bytes : 1, MIA__HOST_ALIGNMENT);
    if (memory == NULL) {
        c->no_memory = true;
        return NULL;
    }
    c->memory[c->count] = memory;
    c->bytes[c->count++] = bytes > 0 ? bytes : 1;
    return memory;
}

static void *own_copy(mia__cpu_check *c, const void *of, size_t bytes) {
    void *memory = own(c, bytes);
    if (memory != NULL) memcpy(memory, of, bytes);
    return memory;
}

/* A constant in a prepared form, as it was before. */
static const void *raw_constant(mia__cpu_check *c, uint32_t buffer) {
    const mia__plan_buffer *of = &c->run->plan->buffers[buffer];
    mia__view view = mia__view_compact(of->dtype, &of->shape);
    size_t bytes = mia__view_bytes(of->dtype, &view);
    void *memory = own(c, bytes);
    if (memory != NULL && !c->run->check->raw(c->run->check->user, buffer, memory, bytes))
        c->no_memory = true;
    return memory;
}

static bool overlap(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    return a < b + b_bytes && b < a + a_bytes;
}

void mia__cpu_check_begin(mia__cpu_check *c, const mia__cpu *cpu, const mia__run *run, uint32_t index) {
    const mia__step *step = &run->plan->steps[index];
    *c = (mia__cpu_check){
        .cpu = cpu, .run = run, .step = step, .index = index, .args = mia__host_resolve(run, index)};
    size_t out = run->plan->buffers[step->output.buffer].bytes;
    for (uint32_t i = 0; i < step->input_count; i++) {
        const mia__plan_buffer *buffer = &run->plan->buffers[step->inputs[i].buffer];
        if (buffer->kind == MIA__BUFFER_FORM && buffer->form != 0) {
            c->prepared[i] = c->args.inputs[i];
            c->args.inputs[i] = raw_constant(c, step->inputs[i].buffer);
        } else if (overlap(c->args.inputs[i], buffer->bytes, c->args.output, out))
            c->args.inputs[i] = own_copy(c, c->args.inputs[i], buffer->bytes);
    }
    c->args.output = own_copy(c, c->args.output, out);
    c->args.scratch = NULL; /* no reference kernel has any */
}

/* --- how far numbers may lie apart ------------------------------------------------------------- */

static double epsilon_of(mia_dtype dtype) {
    switch (dtype) {
    case MIA_f32: return 0x1p-23;
    case MIA_f16: return 0x1p-10;
    case MIA_bf16: return 0x1p-7;
    case MIA_f64: return 0x1p-52;
    default: return 0;
    }
}

static double least_of(mia_dtype dtype) {
    switch (dtype) {
    case MIA_f32: return 0x1p-149;
    case MIA_f16: return 0x1p-24;
    case MIA_bf16: return 0x1p-133;
    default: return 0;
    }
}

/* The largest finite magnitude of a value. */
static double largest(const mia__operand *operand, const void *base) {
    mia__walk walk;
    double most = 0;
    if (!mia__walk_start(&walk, &operand->view, 0)) return 0;
    uint32_t at = mia__walk_add(&walk, &operand->view);
    do {
        double x = fabs(mia__load(operand->dtype, base, walk.at[at]));
        if (x > most && isfinite(x)) most = x;
    } while (mia__walk_next(&walk));
    return most;
}

/* For every number of the result at once; of element-wise operations and products each has its own. */
static double common_magnitude(const mia__step *step, const mia__kernel_args *args, const mia_op_info *info) {
    double of[MIA__MAX_OPERANDS] = {0}, most = largest(&step->output, args->output);
    for (uint32_t i = 0; i < step->input_count; i++) {
        of[i] = largest(&step->inputs[i], args->inputs[i]);
        if (of[i] > most) most = of[i];
    }
    double in = (double)mia__view_count(&step->inputs[0].view),
           out = (double)mia__view_count(&step->output.view);
    double dim = (double)mia__extent(&step->inputs[0].view, 0);
    switch (info->op_class) {
    case MIA_CLASS_REDUCTION: return most * (1 + in / (out > 0 ? out : 1));
    case MIA_CLASS_SCAN: return most * in;
    case MIA_CLASS_WINDOW:
        return step->input_count < 2 ? most : of[0] * of[1] * (double)mia__view_count(&step->inputs[1].view);
    case MIA_CLASS_COMPOSITE: break;
    default: return most;
    }
    if (step->custom != NULL) return most;
    if (step->op == MIA_OP_attention || step->op == MIA_OP_attention_masked)
        return of[2] * (1 + dim * of[0] * of[1] * fabs(step->attributes.f[0]));
    if (step->op == MIA_OP_rope) return 2 * of[0] * fabs(step->attributes.f[0]);
    return most * (1 + of[0]);
}

/* --- products --------------------------------------------------------------------------------- */

#define BLOCK 32 /* elements of activations that are rounded to 8 bits together */

/* Where the lines along K of both operands are, for each number of the result. */
static mia__view lines_of(const mia__step *step, uint32_t input) {
    const mia__view *from = &step->inputs[input].view;
    uint32_t mode = input; /* of the result that they are counted along */
    mia__view lines = {.offset = from->offset, .ndim = step->output.view.ndim};
    for (uint32_t m = 0; m < lines.ndim; m++) {
        uint32_t of = m < 2 ? 1 : m;
        bool has = (m >= 2 || m == mode) && of < from->ndim;
        lines.extent[m] = has ? from->extent[of] : 1;
        lines.stride[m] = has ? from->stride[of] : 0;
    }
    return lines;
}

/* Sum of |w| |x|; *rounded gets what activations in 8 bits may add. */
static double product_magnitude(const mia__step *step, const mia__kernel_args *args, int64_t w_at,
                                int64_t x_at, double *rounded) {
    double w[MIA__BLOCK_MOST], x[MIA__BLOCK_MOST], sum = 0;
    int64_t depth = step->inputs[0].view.extent[0];
    *rounded = 0;
    for (int64_t first = 0; first < depth; first += MIA__BLOCK_MOST) {
        int64_t count = depth - first < MIA__BLOCK_MOST ? depth - first : MIA__BLOCK_MOST;
        double weights = 0, most = 0;
        mia__load_run(&step->inputs[1], args->inputs[1], x_at, first, count, x);
        mia__load_run(&step->inputs[0], args->inputs[0], w_at, first, count, w);
        for (int64_t i = 0; i < count; i++) {
            sum += fabs(w[i] * x[i]);
            weights += fabs(w[i]);
            most = fmax(most, fabs(x[i]));
            if (i % BLOCK != BLOCK - 1 && i != count - 1) continue;
            *rounded += weights * (most / 254 + 127 * 0x1p-150) * 1.001;
            weights = most = 0;
        }
    }
    return sum;
}

/* --- comparing -------------------------------------------------------------------------------- */

static bool is_near(double want, double got, double slack) {
    if (isnan(slack) || isinf(slack)) return true; /* sums that overflow, in one order or the other */
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
    if (want == got) return true;
    if (isinf(want) || isinf(got))
        return want * got > 0 && fabs(isinf(want) ? got : want) + slack >= (double)FLT_MAX;
    return fabs(want - got) <= slack;
}

static bool report(const mia__cpu_check *c, const mia__step *step, uint32_t entry, int64_t element,
                   double got, double want, double slack) {
    char line[300];
    const mia__op_row *row = mia__op_row_of(step->op, step->custom);
    (void)snprintf(
        line, sizeof line,
        "step %u, %s (entry %u of the tape): element %lld is %.9g, the reference kernel gives %.9g, "
        "%.3g apart where %.3g is allowed",
        (unsigned)c->index, row != NULL ? row->info.name : "fused", (unsigned)entry, (long long)element, got,
        want, fabs(got - want), slack);
    c->run->check->report(c->run->check->user, line);
    return false;
}

/* Compares a result (`output` is where its buffer begins) with the reference kernel's, at args->output. */
static bool compare(const mia__cpu_check *c, const mia__step *step, uint32_t entry,
                    const mia__kernel_args *args, const void *output) {
    const mia_op_info *info = &mia__op_row_of(step->op, step->custom)->info;
    const mia__operand *out = &step->output;
    bool product = info->op_class == MIA_CLASS_CONTRACTION && info->bound > 0;
    bool single = info->op_class == MIA_CLASS_ELEMENTWISE || info->op_class == MIA_CLASS_MOVEMENT;
    bool eight_bits = product && mia_dtype_describe(step->inputs[0].dtype)->elements > 1 &&
                      c->cpu->precision != MIA_PRECISION_EXACT;
    double unit = info->bound * epsilon_of(out->dtype), least = info->bound * least_of(out->dtype);
    double common = product || single || info->bound <= 0 ? 0 : common_magnitude(step, args, info);
    mia__view lines[2] = {{0}};
    for (uint32_t i = 0; product && i < 2; i++) lines[i] = lines_of(step, i);
    mia__walk walk;
    uint32_t at[MIA__MAX_OPERANDS] = {0};
    if (!mia__walk_start(&walk, &out->view, 0)) return true;
    uint32_t o = mia__walk_add(&walk, &out->view);
    bool elementwise = info->op_class == MIA_CLASS_ELEMENTWISE;
    for (uint32_t i = 0; i < step->input_count && (product ? i < 2 : elementwise); i++)
        at[i] = mia__walk_add(&walk, product ? &lines[i] : &step->inputs[i].view);
    int64_t element = 0;
    do {
        double want = mia__load(out->dtype, args->output, walk.at[o]);
        double got = mia__load(out->dtype, output, walk.at[o]), most = common, more = 0;
        if (want == got) continue;
        if (single) most = fabs(want);
        for (uint32_t i = 0; elementwise && i < step->input_count; i++)
            most = fmax(most, fabs(mia__load(step->inputs[i].dtype, args->inputs[i], walk.at[at[i]])));
        if (product) most = product_magnitude(step, args, walk.at[at[0]], walk.at[at[1]], &more);
        if (!single && most > (double)FLT_MAX / 4 && out->dtype != MIA_f64) continue; /* sums may overflow */
        double slack = info->bound > 0 ? unit * most + least + (eight_bits ? more : 0) : 0;
        if (!is_near(want, got, slack)) return report(c, step, entry, element, got, want, slack);
    } while (element++, mia__walk_next(&walk));
    return true;
}

/* --- steps ------------------------------------------------------------------------------------ */

static bool check_single(const mia__cpu_check *c, const void *output) {
    if (mia_dtype_describe(c->step->output.dtype)->elements > 1)
        return true; /* rounding to blocks has no bound */
    mia__reference_of(c->step)(&c->args);
    return compare(c, c->step, c->step->entry, &c->args, output);
}

/* Where the result of instruction n lies when it is alone: compact, in the modes of the main operand before the cores,
 * from them on in the output's. */
static mia__view view_of_result(const mia__step *step, const mia__instruction *all, uint32_t n) {
    const mia__view *modes = n < step->core ? &step->inputs[all[0].operands[0]].view : &step->output.view;
    mia__view view = {.ndim = modes->ndim};
    for (int64_t m = 0, stride = 1; m < (int64_t)modes->ndim; m++) {
        view.extent[m] = modes->extent[m];
        view.stride[m] = stride;
        stride *= view.extent[m];
    }
    return view;
}

/* What an instruction is called with: for the reference kernel, and for the cpu's, which wants weights prepared. */
typedef struct called {
    mia__step step;
    mia__kernel_args reference, own;
} called;

/* Instruction n as a step of its own, with the results of those before it at made[]. */
static void call(const mia__cpu_check *c, uint32_t n, void *const *made, called *out) {
    const mia__instruction *all = &c->run->plan->instructions[c->step->first_instruction], *from = &all[n];
    *out = (called){.step = {.op = from->op,
                             .input_count = from->operand_count,
                             .entry = from->entry,
                             .attributes = from->attributes,
                             .scratch = MIA__NO_BUFFER,
                             .custom = from->custom}};
    for (uint32_t k = 0; k < from->operand_count; k++) {
        uint32_t operand = from->operands[k], result = operand - MIA__MAX_OPERANDS;
        if (operand < MIA__MAX_OPERANDS) {
            out->step.inputs[k] = c->step->inputs[operand];
            out->reference.inputs[k] = out->own.inputs[k] = c->args.inputs[operand];
            if (c->prepared[operand] != NULL) out->own.inputs[k] = c->prepared[operand];
        } else {
            out->step.inputs[k] = (mia__operand){.buffer = MIA__NO_BUFFER,
                                                 .dtype = all[result].dtype,
                                                 .view = view_of_result(c->step, all, result)};
            out->reference.inputs[k] = out->own.inputs[k] = made[result];
        }
    }
    out->step.output = (mia__operand){
        .buffer = MIA__NO_BUFFER, .dtype = from->dtype, .view = view_of_result(c->step, all, n)};
    out->reference.step = out->own.step = &out->step;
}

/* The cpu's kernel on one instruction; the reference kernel where it has none. */
static void run_alone(mia__cpu_check *c, called *one) {
    mia__cpu_instruction room[2];
    mia__cpu_step made;
    mia_error error = {0};
    const mia__step *step = &one->step;
    size_t scratch = mia__cpu_scratch(c->cpu, c->run->plan, step);
    if (scratch > 0) one->own.scratch = own(c, scratch);
    if (c->no_memory) return;
    if (mia__cpu_choose(c->cpu, c->run->plan, step, room, &made, &error) != MIA_OK) {
        mia__reference_of(step)(&one->own);
        return;
    }
    mia__cpu_task task = {.step = &made, .args = one->own};
    for (uint32_t i = 0; i < step->input_count; i++)
        task.inputs[i] = (const char *)one->own.inputs[i] + made.input_offset[i];
    task.output = one->own.output;
    for (uint32_t i = 0; i < made.phase_count; i++) made.phases[i].function(&task, 0, made.phases[i].units);
}

static bool check_fused(mia__cpu_check *c, const void *output) {
    void *made[MIA__MOST_INSTRUCTIONS] = {NULL};
    called one;
    for (uint32_t n = 0; n < c->step->instruction_count; n++) {
        call(c, n, made, &one);
        size_t bytes = mia__view_bytes(one.step.output.dtype, &one.step.output.view);
        one.reference.output = own(c, bytes);
        one.own.output = made[n] = own(c, bytes);
        if (!c->no_memory) run_alone(c, &one);
        if (c->no_memory) return true;
        mia__reference_of (&one.step)(&one.reference);
        if (!compare(c, &one.step, one.step.entry, &one.reference, made[n])) return false;
    }
    const void *last = made[c->step->instruction_count - 1];
    if (last == NULL) return true; /* no instructions */
    const mia__step step = one.step;
    const char *got = (const char *)output +
                      (size_t)c->step->output.view.offset * mia_dtype_describe(step.output.dtype)->bytes;
    int64_t count = mia__view_count(&step.output.view);
    for (int64_t i = 0; i < count; i++) {
        double want = mia__load(step.output.dtype, last, i);
        double is = mia__load(step.output.dtype, got, i);
        if (want != is && !(isnan(want) && isnan(is)))
            return report(c, c->step, c->step->entry, i, is, want, 0);
    }
    return true;
}

bool mia__cpu_check_end(mia__cpu_check *c) {
    bool good = true, whole = !mia__watch_cancelled(c->run->watch);
    const void *output = mia__host_resolve(c->run, c->index).output;
    if (!c->no_memory && whole)
        good = c->step->op == MIA__OP_FUSED ? check_fused(c, output) : check_single(c, output);
    if (c->no_memory)
        c->run->check->report(c->run->check->user, "a step was left out: no memory to check it");
    for (uint32_t i = 0; i < c->count; i++) mia_release(c->cpu->host.allocator, c->memory[i], c->bytes[i]);
    return good;
}
