/* Steps with cores (plan.h): taken apart into steps of their own, parts, which the families' choosers choose kernels
 * for, and put together again so that what is between them stays in the first caches.
 *
 *     prologue -> [norm] -> cores -> epilogue
 *
 * What comes before a reduction or a norm is made a stretch of its input at a time, on the stack of the thread that
 * takes the stretch in (reduce.c, normalise.c); what is behind a core takes its results in, some rows or a tile at a
 * time, before they are anywhere else. Where that cannot be (x of a matmul, which is read many times; long rows;
 * strides that no kernel walks), a part runs by itself, its result in the step's scratch. A part's numbers are those
 * of the same step alone, bit for bit: kernels, order of sums and rounding are the same. */
#include "backend/cpu/cpu.h"

#include "backend/cpu/reduce.h"

#define NOWHERE SIZE_MAX

bool mia__cpu_has_cores(const mia__step *step) {
    return step->op == MIA__OP_FUSED && step->core_count > 0;
}

/* --- taking apart ----------------------------------------------------------------------------- */

typedef struct divider {
    const mia__cpu *cpu;
    const mia__plan *plan;
    const mia__step *step;
    const mia__instruction *all;
    mia__cpu_fused *to;
} divider;

static mia__view compact_like(const mia__view *view) {
    mia__view out = {.ndim = view->ndim};
    for (int64_t m = 0, stride = 1; m < (int64_t)view->ndim; m++) {
        out.extent[m] = view->extent[m];
        out.stride[m] = stride;
        stride *= view->extent[m];
    }
    return out;
}

static mia__cpu_member *add_part(divider *d, mia_op op, uint32_t entry) {
    mia__cpu_member *part = &d->to->parts[d->to->count++];
    *part = (mia__cpu_member){
        .source = {.op = op, .entry = entry, .scratch = MIA__NO_BUFFER}, .runs = true, .result = NOWHERE};
    return part;
}

static uint8_t add_input(mia__cpu_member *part, const mia__operand *operand, uint8_t from) {
    part->source.inputs[part->source.input_count] = *operand;
    part->from[part->source.input_count] = from;
    return (uint8_t)part->source.input_count++;
}

/* A result of a part that is not the step's output. */
static mia__operand result_of(const mia__view *view, mia_dtype dtype) {
    return (mia__operand){.buffer = MIA__NO_BUFFER, .dtype = dtype, .view = compact_like(view)};
}

/* What an operand of an instruction from `first` on is to its chain: an input, which is added when it is new, or the
 * result of another of the chain's. */
static uint8_t chain_operand(const divider *d, mia__cpu_member *part, uint32_t first, uint8_t operand) {
    if (operand >= MIA__MAX_OPERANDS + first) return (uint8_t)(operand - first);
    if (operand >= MIA__MAX_OPERANDS) return (uint8_t)(operand - MIA__MAX_OPERANDS - d->step->core);
    for (uint32_t i = 0; i < part->source.input_count; i++)
        if (part->from[i] == operand) return (uint8_t)i;
    return add_input(part, &d->step->inputs[operand], operand);
}

/* Element-wise instructions [first, end), copied to `own`. */
static void fill_chain(const divider *d, mia__cpu_member *part, uint32_t first, uint32_t end,
                       mia__instruction *own) {
    part->source.instruction_count = end - first;
    for (uint32_t n = first; n < end; n++) {
        own[n - first] = d->all[n];
        for (uint32_t k = 0; k < d->all[n].operand_count; k++)
            own[n - first].operands[k] = chain_operand(d, part, first, d->all[n].operands[k]);
    }
}

/* A norm or a core; before: the part that makes its main operand, if one does. */
static mia__cpu_member *add_single(divider *d, uint32_t n, const mia__cpu_member *before) {
    const mia__instruction *from = &d->all[n];
    mia__cpu_member *part = add_part(d, from->op, from->entry);
    part->source.attributes = from->attributes;
    for (uint32_t k = 0; k < from->operand_count; k++) {
        uint8_t operand = from->operands[k];
        if (operand < MIA__MAX_OPERANDS)
            (void)add_input(part, &d->step->inputs[operand], operand);
        else if (before != NULL)
            (void)add_input(part, &before->source.output,
                            (uint8_t)(MIA__MAX_OPERANDS + (before - d->to->parts)));
    }
    return part;
}

/* Whether what comes before the cores ends in a norm. */
static bool ends_in_norm(const mia__instruction *all, const mia__step *step) {
    mia_op op = step->core > 0 ? all[step->core - 1].op : MIA_OP_NONE;
    return op == MIA_OP_rms_norm || op == MIA_OP_layer_norm || op == MIA_OP_l2_norm;
}

/* The parts and how they hang together; where things are in scratch comes later. */
static void divide(divider *d) {
    const mia__step *step = d->step;
    mia__cpu_fused *to = d->to;
    uint32_t behind = step->core + step->core_count, chained = step->core;
    bool norm = ends_in_norm(d->all, step);
    mia__cpu_member *before = NULL;
    to->count = 0;
    chained -= norm;
    to->has_prologue = chained > 0;
    to->has_epilogue = behind < step->instruction_count;
    if (chained > 0) {
        before = add_part(d, MIA__OP_FUSED, d->all[chained - 1].entry);
        fill_chain(d, before, 0, chained, to->instructions);
        before->source.output = result_of(&before->source.inputs[0].view, d->all[chained - 1].dtype);
    }
    if (norm) {
        before = add_single(d, chained, before);
        before->source.output = result_of(&before->source.inputs[0].view, d->all[chained].dtype);
    }
    to->core = to->count;
    for (uint32_t c = 0; c < step->core_count; c++) {
        mia__cpu_member *core = add_single(d, step->core + c, before);
        core->source.output =
            to->has_epilogue ? result_of(&step->output.view, d->all[step->core + c].dtype) : step->output;
    }
    if (!to->has_epilogue) return;
    mia__cpu_member *last = add_part(d, MIA__OP_FUSED, step->entry);
    for (uint32_t c = 0; c < step->core_count; c++)
        (void)add_input(last, &to->parts[to->core + c].source.output,
                        (uint8_t)(MIA__MAX_OPERANDS + to->core + c));
    fill_chain(d, last, behind, step->instruction_count, to->instructions + step->core);
    last->source.output = step->output;
}

/* --- what runs by itself, and scratch --------------------------------------------------------- */

static uint32_t count_parts(const mia__plan *plan, const mia__step *step) {
    bool norm = ends_in_norm(plan->instructions + step->first_instruction, step);
    uint32_t count = step->core_count + norm + (step->core > (uint32_t)norm);
    return count + (step->core + step->core_count < step->instruction_count);
}

size_t mia__cpu_fused_bytes(const mia__plan *plan, const mia__step *step) {
    return sizeof(mia__cpu_fused) + count_parts(plan, step) * sizeof(mia__cpu_member) +
           step->instruction_count * sizeof(mia__instruction);
}

static bool is_reduction(mia_op op) {
    return mia__op_row_of(op, NULL)->info.op_class == MIA_CLASS_REDUCTION;
}

/* Whether a core or norm takes a chain in that comes before it. */
static bool takes_before(const mia__step *source) {
    if (source->op == MIA_OP_matmul) return false;
    return is_reduction(source->op) ? mia__cpu_reduce_takes_before(source)
                                    : mia__cpu_rows_take_chains(source);
}

static bool takes_behind(const mia__step *source) {
    if (source->op == MIA_OP_matmul) return mia__cpu_matmul_takes(source);
    if (!is_reduction(source->op)) return mia__cpu_rows_take_chains(source);
    return mia__cpu_take_find(source->op, source->inputs[0].dtype) != NULL;
}

static size_t reserve(mia__cpu_fused *to, size_t bytes) {
    size_t at = to->bytes;
    to->bytes += (bytes + MIA__HOST_ALIGNMENT - 1) / MIA__HOST_ALIGNMENT * MIA__HOST_ALIGNMENT;
    return at;
}

static void arrange(const divider *d) {
    mia__cpu_fused *to = d->to;
    to->bytes = 0;
    if (to->has_prologue) to->parts[0].runs = !takes_before(&to->parts[1].source);
    if (to->has_epilogue && takes_behind(&to->parts[to->core].source)) {
        to->parts[to->count - 1].runs = false;
        for (uint32_t c = 1; c < d->step->core_count; c++) to->parts[to->core + c].runs = false;
    }
    for (uint32_t p = 0; p < to->count; p++) {
        mia__cpu_member *part = &to->parts[p];
        bool last = p + 1 == to->count, core = p >= to->core && !last;
        bool taken = core && to->has_epilogue && !to->parts[to->count - 1].runs;
        if (!part->runs) continue;
        if (!last && !taken)
            part->result = reserve(to, mia__view_bytes(part->source.output.dtype, &part->source.output.view));
        if (part->source.op != MIA__OP_FUSED)
            part->scratch = reserve(to, mia__cpu_scratch(d->cpu, d->plan, &part->source));
    }
}

static void divide_and_arrange(const mia__cpu *cpu, const mia__plan *plan, const mia__step *step,
                               mia__cpu_fused *to) {
    divider d = {cpu, plan, step, plan->instructions + step->first_instruction, to};
    divide(&d);
    arrange(&d);
}

size_t mia__cpu_scratch_fused(const mia__cpu *cpu, const mia__plan *plan, const mia__step *step) {
    mia__cpu_member parts[MIA__CPU_MOST_PARTS];
    mia__instruction instructions[MIA__MOST_INSTRUCTIONS];
    mia__cpu_fused fused = {.parts = parts, .instructions = instructions};
    divide_and_arrange(cpu, plan, step, &fused);
    return fused.bytes;
}

/* --- scratch of groups ------------------------------------------------------------------------ */

#define MOST_TOGETHER 8

uint32_t mia__cpu_group_of(const mia__plan *plan, uint32_t index) {
    for (uint32_t back = 0; back < MOST_TOGETHER && back <= index; back++)
        if (plan->steps[index - back].together > back) return index - back;
    return index;
}

/* Whether a matmul, alone or with an epilogue, rounds its x. */
static bool rounds_x(const mia__cpu *cpu, const mia__plan *plan, const mia__step *step) {
    const mia__operand *w = &step->inputs[0], *x = &step->inputs[1];
    mia_dtype dtype = step->output.dtype;
    if (step->op == MIA__OP_FUSED) {
        const mia__instruction *core = &plan->instructions[step->first_instruction + step->core];
        if (step->core > 0 || core->op != MIA_OP_matmul) return false;
        w = &step->inputs[core->operands[0]];
        x = &step->inputs[core->operands[1]];
        dtype = core->dtype;
    }
    return cpu->precision == MIA_PRECISION_DEFAULT && mia_dtype_describe(w->dtype)->kind == MIA_KIND_BLOCK &&
           mia__cpu_is_float(x->dtype) && x->dtype == dtype;
}

bool mia__cpu_borrows_scratch(const mia__cpu *cpu, const mia__plan *plan, const mia__step *step) {
    if (plan == NULL || plan->step_count == 0) return false;
    uintptr_t begin = (uintptr_t)plan->steps, at = (uintptr_t)step; /* which may be none of the plan's */
    if (at < begin || at > (uintptr_t)&plan->steps[plan->step_count - 1]) return false;
    uint32_t index = (uint32_t)((at - begin) / sizeof *step), first = mia__cpu_group_of(plan, index);
    return first != index && rounds_x(cpu, plan, &plan->steps[first]) && rounds_x(cpu, plan, step);
}

/* --- choosing --------------------------------------------------------------------------------- */

static mia_status choose_parts(const mia__cpu *cpu, const mia__plan *plan, const mia__step *fused_step,
                               mia__cpu_instruction *room, mia__cpu_fused *fused, mia_error *error) {
    for (uint32_t p = 0; p < fused->count; p++) {
        mia__cpu_member *part = &fused->parts[p];
        mia__plan own = *plan; /* whose instructions are the chain's */
        own.instructions = fused->instructions + (p == 0 ? 0 : fused_step->core);
        mia_status status = mia__cpu_choose(cpu, &own, &part->source, room, &part->step, error);
        if (status != MIA_OK) return status;
        room += mia__cpu_instructions_most(&part->source);
    }
    return MIA_OK;
}

mia_status mia__cpu_choose_fused(const mia__cpu *cpu, const mia__plan *plan, const mia__step *source,
                                 mia__cpu_instruction *room, mia__cpu_fused *fused, mia__cpu_step *out,
                                 mia_error *error) {
    fused->parts = (mia__cpu_member *)(void *)(fused + 1);
    fused->instructions = (mia__instruction *)(void *)(fused->parts + count_parts(plan, source));
    divide_and_arrange(cpu, plan, source, fused);
    *out = (mia__cpu_step){.source = source, .kernels = &cpu->kernels, .instructions = room, .fused = fused};
    mia_status status = choose_parts(cpu, plan, source, room, fused, error);
    if (status != MIA_OK) return status;
    mia__cpu_step *core = &fused->parts[fused->core].step;
    bool product = core->source->op == MIA_OP_matmul;
    if (product && fused->has_epilogue && !fused->parts[fused->count - 1].runs)
        (void)mia__cpu_matmul_in_tiles(core, source->core_count);
    for (uint32_t p = 0; p < fused->count; p++) { /* what runs within another is work of that */
        mia__cpu_member *part = &fused->parts[p];
        out->fallback |= part->step.fallback;
        out->work += part->step.work;
        if (part->runs) continue;
        mia__cpu_step *within = p == 0 ? &fused->parts[1].step : core;
        within->work += part->step.work;
        mia__cpu_share(cpu, within);
    }
    return MIA_OK;
}

/* --- running ---------------------------------------------------------------------------------- */

static void fill_task(const mia__cpu_task *whole, const mia__cpu_member *part, mia__cpu_task *out) {
    const mia__cpu_fused *fused = whole->step->fused;
    char *scratch = whole->args.scratch;
    *out = (mia__cpu_task){.step = &part->step, .args = {.step = &part->source}, .watch = whole->watch};
    for (uint32_t i = 0; i < part->source.input_count; i++) {
        const mia__cpu_member *maker =
            part->from[i] < MIA__MAX_OPERANDS ? NULL : &fused->parts[part->from[i] - MIA__MAX_OPERANDS];
        if (maker == NULL)
            out->args.inputs[i] = whole->args.inputs[part->from[i]];
        else if (maker->result != NOWHERE)
            out->args.inputs[i] = scratch + maker->result;
        else
            continue; /* comes a stretch at a time */
        out->inputs[i] = (const char *)out->args.inputs[i] + part->step.input_offset[i];
    }
    if (part->result != NOWHERE) {
        out->args.output = scratch + part->result;
        out->output = out->args.output;
    } else {
        out->args.output = whole->args.output;
        out->output = (char *)whole->args.output + part->step.output_offset;
    }
    if (scratch != NULL) out->args.scratch = scratch + part->scratch;
}

void mia__cpu_fused_tasks(const mia__cpu_task *whole, mia__cpu_task tasks[MIA__CPU_MOST_PARTS]) {
    const mia__cpu_fused *fused = whole->step->fused;
    uint32_t last = fused->count - 1;
    for (uint32_t p = 0; p < fused->count; p++) fill_task(whole, &fused->parts[p], &tasks[p]);
    if (fused->has_prologue && !fused->parts[0].runs) tasks[1].before = &tasks[0];
    if (!fused->has_epilogue || fused->parts[last].runs) return;
    mia__cpu_task *core = &tasks[fused->core];
    core->behind = &tasks[last];
    if (last - fused->core < 2) return;
    core->core_count = last - fused->core;
    core->cores = core;
    for (uint32_t c = 1; c < core->core_count; c++)
        core[c].args.scratch = core->args.scratch; /* the same x */
}

const char *mia__cpu_chain_before(const mia__cpu_task *before, size_t first, size_t count, void *room) {
    mia__cpu_task own = *before;
    own.output = mia__cpu_origin(room, first, mia_dtype_describe(before->step->source->output.dtype)->bytes);
    mia__cpu_chain_run(&own, first, count);
    return own.output;
}

void mia__cpu_chain_behind(mia__cpu_task *behind, const void *const *results, uint32_t cores, size_t first,
                           size_t count) {
    for (uint32_t c = 0; c < cores; c++)
        behind->inputs[c] = mia__cpu_origin(results[c], first,
                                            mia_dtype_describe(behind->step->source->inputs[c].dtype)->bytes);
    mia__cpu_chain_run(behind, first, count);
}
