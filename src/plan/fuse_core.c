/* The pass that lets reductions, norms and matmuls take in the element-wise steps before and behind them, and matmuls
 * that read one x and whose results meet become cores of one step.
 *
 *     g = matmul wg, x         y <- x, wg, wu:   0  matmul wg, x      cores
 *     u = matmul wu, x                           1  matmul wu, x
 *     y = mul silu(g), u                         2  silu #0           epilogue (a chain that fuse.c made)
 *                                                3  mul #2, #1
 *
 * Epilogues first: the last step to the first, each element-wise step goes to one of the cores whose results only it
 * reads, a matmul rather than others. Then prologues, in order, so that a norm has its own before a matmul takes the
 * norm in. A value goes into a step when nobody else reads it and it does not outlive the run. */
#include "graph/ops.h"
#include "plan/passes.h"

#include <string.h>

/* The steps that make a fused one: element-wise ones (NO_STEP: none) before and behind the cores, and the norm in
 * between when the cores are matmuls. */
#define NO_STEP UINT32_MAX
typedef struct fused {
    uint32_t prologue, norm, epilogue;
    uint32_t cores[MIA__MOST_CORES], core_count; /* in their order; none: the step is no core */
} fused;

typedef struct fuser {
    mia__planner *planner;
    mia__step *steps;
    uint32_t count;
    uint32_t *maker; /* of each value: the step that makes it */
    uint32_t *uses;  /* of each value: operands that read it */
    bool *joined;    /* of each step: whether it is part of another */
    fused *parts;    /* of each step that is a core, or has some */
} fuser;

/* --- what is a core --------------------------------------------------------------------------- */

static bool is_norm(mia_op op) {
    return op == MIA_OP_rms_norm || op == MIA_OP_layer_norm || op == MIA_OP_l2_norm;
}

static bool is_core(const mia__step *step) {
    if (step->op == MIA__OP_FUSED || step->custom != NULL) return false;
    const mia__operand *main = &step->inputs[mia__step_main(step)];
    if (!mia__is_scalar(step->output.dtype) || step->input_count == 0 || !mia__is_scalar(main->dtype))
        return false;
    bool row = is_norm(step->op) || step->op == MIA_OP_softmax || step->op == MIA_OP_log_softmax;
    bool reduction = mia__op_row_of(step->op, NULL)->info.op_class == MIA_CLASS_REDUCTION;
    if (reduction || row) return main->view.ndim == step->output.view.ndim;
    return step->op == MIA_OP_matmul;
}

/* Whether the rules take what a step is made of. */
static bool is_wanted(const mia__plan_rules *rules, const mia__step *steps, const fused *parts) {
    bool product = steps[parts->cores[0]].op == MIA_OP_matmul;
    uint32_t needed = parts->core_count > 1 ? MIA__FUSE_SIBLINGS : 0;
    if (parts->prologue != NO_STEP)
        needed |= product ? MIA__FUSE_CONTRACTION_PROLOGUE : MIA__FUSE_REDUCTION_PROLOGUE;
    if (parts->norm != NO_STEP) needed |= MIA__FUSE_CONTRACTION_NORM;
    if (parts->epilogue != NO_STEP)
        needed |= product ? MIA__FUSE_CONTRACTION_EPILOGUE : MIA__FUSE_REDUCTION_EPILOGUE;
    return (rules->fusions & needed) == needed;
}

/* --- parts as a step -------------------------------------------------------------------------- */

typedef enum role { ROLE_PROLOGUE, ROLE_CORE, ROLE_EPILOGUE } role;

typedef struct builder {
    const mia__planner *planner;
    const mia__step *steps;
    mia__step *out;
    mia__instruction *instructions;
    role roles[MIA__MAX_OPERANDS]; /* of the inputs */
} builder;

/* What instructions call an input, which is added when it is new. `modes` NULL: its own. */
static bool name_input(builder *b, role as, const mia__operand *operand, const mia__view *modes,
                       uint8_t *name) {
    mia__operand input = *operand;
    if (modes != NULL && !mia__view_cut(&operand->view, modes, &input.view)) return false;
    uint32_t i = 0;
    while (i < b->out->input_count && !(b->roles[i] == as && mia__same_operand(&b->out->inputs[i], &input)))
        i++;
    if (i == MIA__MAX_OPERANDS || i == b->planner->rules->fused_inputs) return false;
    if (i == b->out->input_count) {
        b->roles[i] = as;
        b->out->inputs[b->out->input_count++] = input;
    }
    *name = (uint8_t)i;
    return true;
}

static mia__instruction *add_instruction(builder *b, const mia__instruction *from) {
    if (b->out->instruction_count == MIA__MOST_INSTRUCTIONS) return NULL;
    mia__instruction *made = &b->instructions[b->out->instruction_count++];
    *made = *from;
    return made;
}

/* A single step as an instruction, its operands yet to be named. */
static mia__instruction as_instruction(const mia__step *step) {
    return (mia__instruction){.op = step->op,
                              .dtype = step->output.dtype,
                              .entry = step->entry,
                              .operand_count = (uint8_t)step->input_count,
                              .operands = {0, 1, 2, 3, 4, 5},
                              .attributes = step->attributes,
                              .custom = step->custom};
}

/* The instructions of an element-wise step. names: what those of its inputs are called that are known (others have
 * UINT8_MAX). */
static bool add_chain(builder *b, role as, const mia__step *chain, const mia__view *modes, uint8_t *names) {
    uint8_t first = (uint8_t)(MIA__MAX_OPERANDS + b->out->instruction_count);
    const mia__instruction one = as_instruction(chain), *from = &one;
    uint32_t count = 1;
    if (chain->op == MIA__OP_FUSED) {
        from = b->planner->plan->instructions + chain->first_instruction;
        count = chain->instruction_count;
    }
    for (uint32_t i = 0; i < chain->input_count; i++)
        if (names[i] == UINT8_MAX && !name_input(b, as, &chain->inputs[i], modes, &names[i])) return false;
    for (uint32_t n = 0; n < count; n++) {
        mia__instruction *made = add_instruction(b, &from[n]);
        for (uint32_t k = 0; made != NULL && k < made->operand_count; k++) {
            uint8_t operand = made->operands[k];
            made->operands[k] =
                operand < MIA__MAX_OPERANDS ? names[operand] : (uint8_t)(operand - MIA__MAX_OPERANDS + first);
        }
        if (made == NULL) return false;
    }
    return true;
}

/* A core, or the norm before it. main: what its main operand is called; UINT8_MAX: it is an input, in `modes`. */
static bool add_core(builder *b, const mia__step *step, uint8_t main, const mia__view *modes) {
    mia__instruction from = as_instruction(step);
    for (uint32_t i = 0; i < step->input_count; i++) {
        bool is_main = i == mia__step_main(step);
        if (is_main && main != UINT8_MAX)
            from.operands[i] = main;
        else if (!name_input(b, is_main && modes != NULL ? ROLE_PROLOGUE : ROLE_CORE, &step->inputs[i],
                             is_main ? modes : NULL, &from.operands[i]))
            return false;
    }
    return add_instruction(b, &from) != NULL;
}

static uint8_t last_result(const builder *b) {
    return (uint8_t)(MIA__MAX_OPERANDS + b->out->instruction_count - 1);
}

/* What comes before the cores, which call it *main. */
static bool add_prologue(builder *b, const fused *parts, uint8_t *main) {
    const mia__step *core = &b->steps[parts->cores[0]];
    const mia__view *modes = &core->inputs[mia__step_main(core)].view;
    *main = UINT8_MAX;
    if (parts->prologue != NO_STEP) {
        uint8_t names[MIA__MAX_OPERANDS];
        memset(names, UINT8_MAX, sizeof names);
        if (!add_chain(b, ROLE_PROLOGUE, &b->steps[parts->prologue], modes, names)) return false;
        *main = last_result(b);
    }
    if (parts->norm == NO_STEP) return true;
    const mia__step *norm = &b->steps[parts->norm];
    mia__view same;
    bool rows = norm->output.view.ndim > 0 && modes->ndim > 0 &&
                norm->output.view.extent[0] == modes->extent[0] &&
                mia__view_cut(&norm->output.view, modes, &same);
    if (!rows || !add_core(b, norm, *main, modes)) return false;
    *main = last_result(b);
    return true;
}

static bool add_epilogue(builder *b, const fused *parts) {
    if (parts->epilogue == NO_STEP) return true;
    const mia__step *chain = &b->steps[parts->epilogue];
    uint8_t names[MIA__MAX_OPERANDS];
    memset(names, UINT8_MAX, sizeof names);
    for (uint32_t i = 0; i < chain->input_count; i++)
        for (uint32_t c = 0; c < parts->core_count; c++)
            if (chain->inputs[i].buffer == b->steps[parts->cores[c]].output.buffer)
                names[i] = (uint8_t)(MIA__MAX_OPERANDS + b->out->core + c);
    b->out->entry = chain->entry;
    b->out->output.buffer = chain->output.buffer;
    b->out->output.dtype = chain->output.dtype;
    return mia__view_count(&chain->output.view) == mia__view_count(&b->out->output.view) &&
           add_chain(b, ROLE_EPILOGUE, chain, &b->out->output.view, names);
}

static bool assemble(builder *b, const fused *parts) {
    const mia__step *core = &b->steps[parts->cores[0]];
    uint8_t main;
    *b->out = (mia__step){.op = MIA__OP_FUSED,
                          .entry = core->entry,
                          .output = core->output,
                          .scratch = MIA__NO_BUFFER,
                          .core_count = parts->core_count};
    if (!add_prologue(b, parts, &main)) return false;
    b->out->core = b->out->instruction_count;
    for (uint32_t c = 0; c < parts->core_count; c++)
        if (!add_core(b, &b->steps[parts->cores[c]], main, NULL)) return false;
    return add_epilogue(b, parts);
}

void mia__plan_add_instructions(mia__plan *plan, mia__step *step, const mia__instruction *instructions) {
    step->first_instruction = plan->instruction_count;
    memcpy(plan->instructions + plan->instruction_count, instructions,
           step->instruction_count * sizeof *instructions);
    plan->instruction_count += step->instruction_count;
}

bool mia__plan_takes_fused(mia__planner *planner, mia__step *step, const mia__instruction *instructions) {
    const mia__plan_rules *rules = planner->rules;
    if (mia__plan_is_large(planner, step)) return false;
    if (rules->fuses == NULL) return true;
    mia__plan_add_instructions(planner->plan, step, instructions); /* lent while the backend looks */
    bool taken = rules->fuses(rules->context, planner->plan, step);
    planner->plan->instruction_count -= step->instruction_count;
    return taken;
}

/* The step and the instructions that parts make; false when they do not fit each other, or the rules. */
static bool make(const fuser *f, const fused *parts, mia__step *out, mia__instruction *instructions) {
    builder b = {.planner = f->planner, .steps = f->steps, .out = out, .instructions = instructions};
    return is_wanted(f->planner->rules, f->steps, parts) && assemble(&b, parts) &&
           mia__plan_takes_fused(f->planner, out, instructions);
}

static bool fits(const fuser *f, const fused *parts) {
    mia__step made;
    mia__instruction instructions[MIA__MOST_INSTRUCTIONS];
    return make(f, parts, &made, instructions);
}

/* --- epilogues -------------------------------------------------------------------------------- */

/* Whether a step reads all of what step `maker` makes, as it is made, and nobody else does. */
static bool is_only_reader(const fuser *f, const mia__step *reader, uint32_t maker) {
    const mia__operand *made = &f->steps[maker].output;
    uint32_t reads = 0;
    for (uint32_t i = 0; i < reader->input_count; i++) reads += mia__reads_as_made(&reader->inputs[i], made);
    return reads == f->uses[made->buffer] && !f->planner->values[made->buffer].outlives;
}

/* The core that makes input i of an element-wise step, if it can take the step in. */
static uint32_t core_behind(const fuser *f, const mia__step *chain, uint32_t i) {
    uint32_t s = f->maker[chain->inputs[i].buffer];
    bool free = s != NO_STEP && f->parts[s].core_count == 1 && f->parts[s].cores[0] == s && !f->joined[s];
    return free && is_only_reader(f, chain, s) ? s : NO_STEP;
}

static bool same_strides(const mia__view *a, const mia__view *b) {
    bool same = a->ndim == b->ndim;
    for (uint32_t m = 0; same && m < a->ndim; m++)
        same = a->extent[m] == b->extent[m] && (a->stride[m] == b->stride[m] || a->extent[m] == 1);
    return same;
}

/* Weights have to lie alike, prepared or not, so that one kernel multiplies x by all of them. */
static bool are_siblings(const mia__planner *planner, const mia__step *a, const mia__step *b) {
    return a->op == MIA_OP_matmul && b->op == MIA_OP_matmul &&
           mia__same_operand(&a->inputs[1], &b->inputs[1]) && a->inputs[0].dtype == b->inputs[0].dtype &&
           a->output.dtype == b->output.dtype && same_strides(&a->inputs[0].view, &b->inputs[0].view) &&
           mia__plan_may_prepare(planner, &a->inputs[0]) == mia__plan_may_prepare(planner, &b->inputs[0]);
}

static void take_siblings(fuser *f, fused *parts) {
    const mia__step *chain = &f->steps[parts->epilogue];
    for (uint32_t i = 0; i < chain->input_count && parts->core_count < MIA__MOST_CORES; i++) {
        uint32_t s = core_behind(f, chain, i);
        if (s == NO_STEP || !are_siblings(f->planner, &f->steps[parts->cores[0]], &f->steps[s])) continue;
        fused more = *parts;
        uint32_t at = more.core_count++;
        for (; at > 0 && more.cores[at - 1] > s; at--) more.cores[at] = more.cores[at - 1];
        more.cores[at] = s;
        if (!fits(f, &more)) continue;
        f->joined[s] = true;
        *parts = more;
    }
}

static void take_epilogue(fuser *f, uint32_t s) {
    const mia__step *chain = &f->steps[s];
    uint32_t best = NO_STEP;
    for (uint32_t i = 0; i < chain->input_count; i++) {
        uint32_t core = core_behind(f, chain, i);
        if (core == NO_STEP || core == best) continue;
        bool product = f->steps[core].op == MIA_OP_matmul;
        bool before = best != NO_STEP && f->steps[best].op == MIA_OP_matmul;
        if (best != NO_STEP && (product != before ? before : best > core)) continue;
        const fused parts = {NO_STEP, NO_STEP, s, {core}, 1};
        if (fits(f, &parts)) best = core;
    }
    if (best == NO_STEP) return;
    f->parts[s] = (fused){NO_STEP, NO_STEP, s, {best}, 1};
    f->joined[best] = true;
    take_siblings(f, &f->parts[s]);
}

/* --- prologues -------------------------------------------------------------------------------- */

static void take_prologue(fuser *f, uint32_t s) {
    fused more = f->parts[s];
    const mia__step *core = &f->steps[more.cores[0]];
    const mia__operand *main = &core->inputs[mia__step_main(core)];
    uint32_t p = f->maker[main->buffer];
    if (p == NO_STEP || f->joined[p] || f->planner->values[main->buffer].outlives ||
        f->uses[main->buffer] != more.core_count || !mia__reads_as_made(main, &f->steps[p].output))
        return;
    if (mia__step_is_elementwise(&f->steps[p]) && f->parts[p].core_count == 0) {
        more.prologue = p;
    } else if (core->op == MIA_OP_matmul && is_norm(f->steps[p].op) && f->parts[p].epilogue == NO_STEP) {
        more.norm = p;
        more.prologue = f->parts[p].prologue;
    } else {
        return;
    }
    if (!fits(f, &more)) return;
    f->joined[p] = true;
    f->parts[s] = more;
}

/* --- the pass --------------------------------------------------------------------------------- */

static void find_parts(fuser *f) {
    for (uint32_t v = 0; v < f->planner->value_count; v++) f->maker[v] = NO_STEP;
    for (uint32_t s = 0; s < f->count; s++) {
        f->maker[f->steps[s].output.buffer] = s;
        for (uint32_t i = 0; i < f->steps[s].input_count; i++) f->uses[f->steps[s].inputs[i].buffer]++;
        f->parts[s] = (fused){NO_STEP, NO_STEP, NO_STEP, {s}, is_core(&f->steps[s])};
    }
    for (uint32_t s = f->count; s-- > 0;)
        if (mia__step_is_elementwise(&f->steps[s])) take_epilogue(f, s);
    for (uint32_t s = 0; s < f->count; s++)
        if (!f->joined[s] && f->parts[s].core_count > 0) take_prologue(f, s);
}

/* Puts the fused steps in the place of the last of their parts; false without memory. */
static bool put_steps(fuser *f) {
    mia__plan *plan = f->planner->plan;
    mia__step *made = mia_allocate_zeroed(&plan->allocator, f->count, sizeof *made);
    uint32_t kept = 0;
    bool good = made != NULL;
    for (uint32_t s = 0; good && s < f->count; s++) {
        const fused *parts = &f->parts[s];
        mia__instruction instructions[MIA__MOST_INSTRUCTIONS];
        if (f->joined[s]) continue;
        bool single = parts->core_count == 0 ||
                      (parts->prologue == NO_STEP && parts->norm == NO_STEP && parts->epilogue == NO_STEP);
        if (single) {
            made[kept] = f->steps[s];
        } else {
            (void)make(f, parts, &made[kept], instructions);
            mia__plan_add_instructions(plan, &made[kept], instructions);
            good = mia__plan_reserve_instructions(plan);
        }
        kept++;
    }
    if (!good) {
        mia_release(&plan->allocator, made, f->count * sizeof *made);
        return false;
    }
    mia_release(&plan->allocator, plan->steps, plan->step_capacity * sizeof *plan->steps);
    plan->steps = made;
    plan->step_count = kept;
    plan->step_capacity = f->count;
    return true;
}

/* Leaves out the instructions of chains that became parts of other steps; false without memory. */
static bool drop_instructions(mia__plan *plan) {
    mia__plan packed = {.allocator = plan->allocator};
    for (uint32_t s = 0; s < plan->step_count; s++) {
        mia__step *step = &plan->steps[s];
        if (step->op != MIA__OP_FUSED) continue;
        if (!mia__plan_reserve_instructions(&packed)) {
            mia_release(&plan->allocator, packed.instructions,
                        packed.instruction_capacity * sizeof *packed.instructions);
            return false;
        }
        mia__plan_add_instructions(&packed, step, plan->instructions + step->first_instruction);
    }
    mia_release(&plan->allocator, plan->instructions,
                plan->instruction_capacity * sizeof *plan->instructions);
    plan->instructions = packed.instructions;
    plan->instruction_count = packed.instruction_count;
    plan->instruction_capacity = packed.instruction_capacity;
    return true;
}

bool mia__plan_fuse_cores(mia__planner *planner) {
    mia__plan *plan = planner->plan;
    size_t values = planner->value_count, steps = plan->step_count;
    if (planner->rules->fused_inputs == 0 || planner->rules->fusions == 0 || steps < 2) return true;
    const mia_allocator *allocator = &planner->allocator;
    uint32_t *room = mia_allocate_zeroed(allocator, 2 * values, sizeof *room);
    bool *joined = mia_allocate_zeroed(allocator, steps, sizeof *joined);
    fused *parts = mia_allocate_zeroed(allocator, steps, sizeof *parts);
    bool good = room != NULL && joined != NULL && parts != NULL && mia__plan_reserve_instructions(plan);
    if (good) {
        fuser f = {planner, plan->steps, plan->step_count, room, room + values, joined, parts};
        find_parts(&f);
        good = put_steps(&f) && drop_instructions(plan);
    }
    mia_release(allocator, room, 2 * values * sizeof *room);
    mia_release(allocator, joined, steps * sizeof *joined);
    mia_release(allocator, parts, steps * sizeof *parts);
    return good;
}
