/* The pass that finds steps that may run at once, and puts them beside each other: matmuls of one input, with or without
 * an epilogue (q, k and v), then steps that the backend joins.
 *
 *     q = matmul wq, x            k = matmul wk, x        <- together: 3
 *     r = rope q                  q = matmul wq, x
 *     k = matmul wk, x     ->     v = matmul wv, x
 *     c = update k                r = rope q
 *     v = matmul wv, x            c = update k
 *
 * None of a group may need what another makes, not even by way of others. Between its first and its last step, what
 * needs none of them comes before them and what does comes behind, each in its order. No update comes before a step that
 * reads what it writes over: it would have to copy that. Where a backend recomputes norms, one that only a group reads
 * becomes the prologue of each. */
#include "graph/ops.h"
#include "plan/passes.h"

#define NO_STEP UINT32_MAX
#define REACH   64 /* steps that a group is looked for in */
#define MOST    8  /* steps of a group */

typedef struct finder {
    mia__planner *planner;
    mia__step *steps;
    uint32_t *maker; /* of each value: the step that makes it */
    uint32_t *uses;  /* of each value: operands that read it */
    bool *dropped;   /* of each step: a norm that others compute */
    bool *grouped;   /* of each step: whether it is in a group, which stays where it is */
} finder;

/* x of a matmul that reads it as an input; NULL for other steps, and those that may have to be cut. */
static const mia__operand *x_of(const mia__planner *planner, const mia__step *step) {
    const mia__plan *plan = planner->plan;
    if (mia__plan_is_large(planner, step)) return NULL;
    if (step->op == MIA_OP_matmul) return &step->inputs[1];
    if (step->op != MIA__OP_FUSED || step->core_count == 0 || step->core > 0) return NULL;
    const mia__instruction *core = &plan->instructions[step->first_instruction];
    return core->op == MIA_OP_matmul ? &step->inputs[core->operands[1]] : NULL;
}

/* --- groups ----------------------------------------------------------------------------------- */

typedef enum kind { FREE, MEMBER, COMES_BEHIND } kind;

/* Whether two steps, of which none needs the other, are to be of one group. */
static bool go_together(const finder *f, const mia__step *first, const mia__step *other) {
    const mia__plan_rules *rules = f->planner->rules;
    const mia__operand *x = x_of(f->planner, first), *y = x_of(f->planner, other);
    if (x != NULL || y != NULL) return x != NULL && y != NULL && mia__same_operand(x, y);
    return rules->joins != NULL && !mia__plan_is_large(f->planner, first) &&
           !mia__plan_is_large(f->planner, other) &&
           rules->joins(rules->context, f->planner->plan, first, other);
}

static bool reads(const mia__step *step, uint32_t value) {
    for (uint32_t i = 0; i < step->input_count; i++)
        if (step->inputs[i].buffer == value) return true;
    return false;
}

/* Whether step s needs what members of a group from `first` on, or steps behind it, make, or updates what they read. */
static bool comes_behind(const finder *f, uint32_t first, uint32_t s, const kind *kinds) {
    const mia__step *step = &f->steps[s];
    for (uint32_t i = 0; i < step->input_count; i++) {
        uint32_t m = f->maker[step->inputs[i].buffer];
        if (m != NO_STEP && m >= first && kinds[m - first] != FREE) return true;
    }
    if (!mia__step_writes_part(f->planner->plan, step) || !mia__plan_can_overwrite(f->planner, step, 0))
        return false;
    for (uint32_t t = first; t < s; t++)
        if (kinds[t - first] != FREE && reads(&f->steps[t], step->inputs[0].buffer)) return true;
    return false;
}

/* What the steps from `first` on are to a group that begins with it; returns the step behind its last. */
static uint32_t find_members(const finder *f, uint32_t first, kind *kinds, uint32_t *count) {
    const mia__plan *plan = f->planner->plan;
    uint32_t end = first + 1, last = plan->step_count - first < REACH ? plan->step_count : first + REACH;
    kinds[0] = MEMBER;
    *count = 1;
    for (uint32_t s = first + 1; s < last && !f->grouped[s]; s++) {
        kind is = comes_behind(f, first, s, kinds) ? COMES_BEHIND : FREE;
        if (is == FREE && !f->dropped[s] && *count < MOST && go_together(f, &f->steps[first], &f->steps[s])) {
            is = MEMBER;
            end = s + 1;
            (*count)++;
        }
        kinds[s - first] = is;
    }
    return end;
}

/* Sorts the steps [first, end) by what they are; returns where the group is. */
static uint32_t bring_together(finder *f, uint32_t first, uint32_t end, const kind *kinds) {
    mia__step sorted[REACH];
    bool dropped[REACH];
    uint32_t count = 0, begin = 0;
    for (uint32_t is = FREE; is <= COMES_BEHIND; is++) {
        if (is == MEMBER) begin = first + count;
        for (uint32_t s = first; s < end; s++)
            if (kinds[s - first] == is) {
                dropped[count] = f->dropped[s];
                sorted[count++] = f->steps[s];
            }
    }
    for (uint32_t s = first; s < end; s++) {
        f->steps[s] = sorted[s - first];
        f->dropped[s] = dropped[s - first];
        f->maker[f->steps[s].output.buffer] = s;
    }
    return begin;
}

/* --- norms ------------------------------------------------------------------------------------ */

/* The norm that makes x, alone or behind a prologue, if nobody else than `readers` operands reads it. */
static uint32_t norm_behind(const finder *f, const mia__operand *x, uint32_t readers) {
    uint32_t s = f->maker[x->buffer];
    if (s == NO_STEP || f->uses[x->buffer] != readers || f->planner->values[x->buffer].outlives)
        return NO_STEP;
    const mia__step *step = &f->steps[s];
    mia_op op = step->op;
    if (op == MIA__OP_FUSED) {
        if (step->core_count != 1 || step->core + 1 != step->instruction_count) return NO_STEP;
        op = f->planner->plan->instructions[step->first_instruction + step->core].op;
    }
    bool norm = op == MIA_OP_rms_norm || op == MIA_OP_layer_norm || op == MIA_OP_l2_norm;
    bool rows = norm && step->output.view.ndim > 0 && x->view.ndim > 0 &&
                step->output.view.extent[0] == x->view.extent[0];
    return rows && mia__reads_as_made(x, &step->output) ? s : NO_STEP;
}

/* The instructions of a step that is fused or not. */
static uint32_t list_instructions(const mia__plan *plan, const mia__step *step, mia__instruction *out) {
    if (step->op != MIA__OP_FUSED) {
        out[0] = (mia__instruction){.op = step->op,
                                    .dtype = step->output.dtype,
                                    .entry = step->entry,
                                    .operand_count = (uint8_t)step->input_count,
                                    .operands = {0, 1, 2, 3, 4, 5},
                                    .attributes = step->attributes};
        return 1;
    }
    for (uint32_t n = 0; n < step->instruction_count; n++)
        out[n] = plan->instructions[step->first_instruction + n];
    return step->instruction_count;
}

/* Whether input i of a norm, of `count` instructions, is weights or biases. */
static bool is_vector(const mia__instruction *norm, uint32_t count, uint32_t i) {
    for (uint32_t k = 1; k < norm[count - 1].operand_count; k++)
        if (norm[count - 1].operands[k] == i) return true;
    return false;
}

/* A step with the norm that makes its x as prologue; false when that is too much for it. */
static bool put_norm(const finder *f, const mia__step *norm, const mia__step *step, mia__step *out,
                     mia__instruction *instructions) {
    const mia__plan *plan = f->planner->plan;
    mia__instruction own[MIA__MOST_INSTRUCTIONS];
    const mia__operand *x = x_of(f->planner, step);
    uint32_t before = list_instructions(plan, norm, instructions), count = list_instructions(plan, step, own);
    if (before + count > MIA__MOST_INSTRUCTIONS ||
        norm->input_count + step->input_count - 1 > f->planner->rules->fused_inputs)
        return false;
    *out = *step;
    out->op = MIA__OP_FUSED;
    out->input_count = 0;
    for (uint32_t i = 0; i < norm->input_count; i++) {
        mia__operand *input = &out->inputs[out->input_count++];
        *input = norm->inputs[i];
        if (!is_vector(instructions, before, i) &&
            !mia__view_cut(&norm->inputs[i].view, &x->view, &input->view))
            return false;
    }
    uint8_t names[MIA__MAX_OPERANDS] = {0};
    for (uint32_t i = 0; i < step->input_count; i++) {
        bool is_x = &step->inputs[i] == x;
        names[i] = (uint8_t)(is_x ? MIA__MAX_OPERANDS + before - 1 : out->input_count);
        if (!is_x) out->inputs[out->input_count++] = step->inputs[i];
    }
    for (uint32_t n = 0; n < count; n++) {
        mia__instruction *made = &instructions[before + n];
        *made = own[n];
        for (uint32_t k = 0; k < made->operand_count; k++)
            made->operands[k] = made->operands[k] < MIA__MAX_OPERANDS ? names[made->operands[k]]
                                                                      : (uint8_t)(made->operands[k] + before);
    }
    out->core = before;
    if (step->op != MIA__OP_FUSED) {
        out->core_count = 1;
        out->attributes = (mia__attributes){{0}, {0}};
    }
    out->instruction_count = before + count;
    return mia__plan_takes_fused(f->planner, out, instructions);
}

/* Lets each step of a group compute the norm that makes their x, if it is one and all can; false without memory. */
static bool recompute_norm(finder *f, uint32_t first, uint32_t count) {
    mia__plan *plan = f->planner->plan;
    const uint32_t wanted = MIA__FUSE_NORM_RECOMPUTED | MIA__FUSE_CONTRACTION_NORM;
    if ((f->planner->rules->fusions & wanted) != wanted) return true;
    const mia__operand *x = x_of(f->planner, &f->steps[first]);
    uint32_t s = norm_behind(f, x, count);
    if (s == NO_STEP) return true;
    const mia__step *norm = &f->steps[s];
    if (norm->op == MIA__OP_FUSED && norm->core > 0 &&
        (f->planner->rules->fusions & MIA__FUSE_CONTRACTION_PROLOGUE) == 0)
        return true;
    mia__step made[MOST];
    mia__instruction instructions[MIA__MOST_INSTRUCTIONS];
    if (!mia__plan_reserve_instructions(plan)) return false;
    for (uint32_t n = 0; n < count; n++)
        if (!put_norm(f, norm, &f->steps[first + n], &made[n], instructions)) return true;
    for (uint32_t n = 0; n < count; n++) {
        if (!mia__plan_reserve_instructions(plan)) return false;
        (void)put_norm(f, norm, &f->steps[first + n], &made[n], instructions);
        mia__plan_add_instructions(plan, &made[n], instructions);
    }
    for (uint32_t n = 0; n < count; n++) f->steps[first + n] = made[n];
    f->dropped[s] = true;
    return true;
}

/* --- the pass --------------------------------------------------------------------------------- */

static void count_uses(finder *f) {
    const mia__plan *plan = f->planner->plan;
    for (uint32_t v = 0; v < f->planner->value_count; v++) f->maker[v] = NO_STEP;
    for (uint32_t s = 0; s < plan->step_count; s++) {
        f->maker[f->steps[s].output.buffer] = s;
        for (uint32_t i = 0; i < f->steps[s].input_count; i++) f->uses[f->steps[s].inputs[i].buffer]++;
    }
}

/* Groups of matmuls, or of other steps; false without memory. */
static bool find_groups(finder *f, bool matmuls) {
    mia__plan *plan = f->planner->plan;
    kind kinds[REACH];
    for (uint32_t s = 0; s < plan->step_count; s++) {
        uint32_t count;
        if (f->grouped[s] || f->dropped[s] || (x_of(f->planner, &f->steps[s]) != NULL) != matmuls) continue;
        uint32_t end = find_members(f, s, kinds, &count);
        if (count < 2) continue;
        uint32_t first = bring_together(f, s, end, kinds);
        f->steps[first].together = count;
        if (matmuls && !recompute_norm(f, first, count)) return false;
        for (uint32_t n = 0; n < count; n++) f->grouped[first + n] = true;
        s--; /* what came before the group may begin another */
    }
    return true;
}

bool mia__plan_together(mia__planner *planner) {
    mia__plan *plan = planner->plan;
    size_t values = planner->value_count, steps = plan->step_count;
    if (planner->rules->fused_inputs == 0 || (planner->rules->fusions & MIA__FUSE_TOGETHER) == 0 || steps < 2)
        return true;
    uint32_t *room = mia_allocate_zeroed(&planner->allocator, 2 * values, sizeof *room);
    bool *dropped = mia_allocate_zeroed(&planner->allocator, 2 * steps, sizeof *dropped);
    bool good = room != NULL && dropped != NULL;
    if (good) {
        finder f = {planner, plan->steps, room, room + values, dropped, dropped + steps};
        count_uses(&f);
        good = find_groups(&f, true) && (planner->rules->joins == NULL || find_groups(&f, false));
        uint32_t kept = 0;
        for (uint32_t s = 0; s < plan->step_count; s++)
            if (!dropped[s]) plan->steps[kept++] = plan->steps[s];
        plan->step_count = kept;
    }
    mia_release(&planner->allocator, room, 2 * values * sizeof *room);
    mia_release(&planner->allocator, dropped, 2 * steps * sizeof *dropped);
    return good;
}
