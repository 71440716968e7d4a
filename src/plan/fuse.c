/* The pass that makes one step of several: element-wise ones, and conversions between scalar types, whose
 * results nobody else reads become instructions of the step that reads them last.
 *
 *     t = a * b            y <- a, b, c:  0  mul  a, b
 *     u = t + c                           1  add  #0, c
 *     y = gelu(u)                         2  gelu #1
 *
 * Goes from the last step to the first, so that whoever reads a value is known: a step joins the group of its
 * readers when all of them are in it, read the value as it was made, and the group's inputs stay few. Values
 * have no buffers yet, so that moving a step behind others changes nothing. */
#include "graph/ops.h"
#include "plan/passes.h"

#define NO_STEP UINT32_MAX

typedef struct fuser {
    mia__planner *planner;
    uint32_t *maker;  /* of each value: the step that makes it */
    uint32_t *uses;   /* of each value: operands that read it */
    uint32_t *joined; /* of each step: not 0 when it is part of another */
} fuser;

/* Steps that become one, in order; and the modes that those of all of them are made of. */
typedef struct group {
    uint32_t members[MIA__MOST_INSTRUCTIONS];
    uint32_t count;
    mia__view modes; /* extents alone; none is 1 */
} group;

/* --- what may join ---------------------------------------------------------------------------- */

static uint32_t reads_in(const fuser *f, const group *g, const mia__operand *made) {
    uint32_t reads = 0;
    for (uint32_t n = 0; n < g->count; n++) {
        const mia__step *member = &f->planner->plan->steps[g->members[n]];
        for (uint32_t i = 0; i < member->input_count; i++)
            reads += mia__reads_as_made(&member->inputs[i], made);
    }
    return reads;
}

/* --- a group as a step ------------------------------------------------------------------------ */

/* What an instruction calls an operand: a member's result, or an input, which is added when it is new. False
 * when there is no room for it. */
static bool name_operand(const fuser *f, const group *g, const mia__operand *operand, mia__step *out,
                         uint8_t *name) {
    for (uint32_t n = 0; n < g->count; n++)
        if (f->planner->plan->steps[g->members[n]].output.buffer == operand->buffer) {
            *name = (uint8_t)(MIA__MAX_OPERANDS + n);
            return true;
        }
    mia__operand input = *operand;
    if (!mia__view_cut(&operand->view, &g->modes, &input.view)) return false;
    uint32_t i = 0;
    while (i < out->input_count && !mia__same_operand(&out->inputs[i], &input)) i++;
    if (i == MIA__MAX_OPERANDS || i == f->planner->rules->fused_inputs) return false;
    if (i == out->input_count) out->inputs[out->input_count++] = input;
    *name = (uint8_t)i;
    return true;
}

/* The step and the instructions of a group; false when it has too many inputs. */
static bool assemble(const fuser *f, const group *g, mia__step *out, mia__instruction *instructions) {
    const mia__step *root = &f->planner->plan->steps[g->members[g->count - 1]];
    *out = (mia__step){.op = MIA__OP_FUSED, .entry = root->entry, .scratch = MIA__NO_BUFFER};
    out->output = root->output;
    if (!mia__view_cut(&root->output.view, &g->modes, &out->output.view)) return false;
    for (uint32_t n = 0; n < g->count; n++) {
        const mia__step *member = &f->planner->plan->steps[g->members[n]];
        mia__instruction *made = &instructions[n];
        *made = (mia__instruction){.op = member->op,
                                   .dtype = member->output.dtype,
                                   .entry = member->entry,
                                   .operand_count = (uint8_t)member->input_count,
                                   .attributes = member->attributes,
                                   .custom = member->custom};
        for (uint32_t i = 0; i < member->input_count; i++)
            if (!name_operand(f, g, &member->inputs[i], out, &made->operands[i])) return false;
    }
    out->instruction_count = g->count;
    return true;
}

/* --- the pass --------------------------------------------------------------------------------- */

/* Puts a step into the group if that is sound and leaves it small enough. */
static bool join(fuser *f, group *g, uint32_t s) {
    if (s == NO_STEP || g->count == MIA__MOST_INSTRUCTIONS) return false;
    const mia__step *step = &f->planner->plan->steps[s];
    uint32_t value = step->output.buffer;
    if (f->joined[s] != 0 || !mia__step_is_elementwise(step) || f->planner->values[value].outlives)
        return false;
    if (f->uses[value] != reads_in(f, g, &step->output)) return false;
    group larger = {.count = g->count + 1};
    if (!mia__view_refine(&g->modes, &step->output.view, &larger.modes)) return false;
    uint32_t at = 0;
    for (; at < g->count && g->members[at] < s; at++) larger.members[at] = g->members[at];
    larger.members[at] = s;
    for (; at < g->count; at++) larger.members[at + 1] = g->members[at];
    mia__step made;
    mia__instruction instructions[MIA__MOST_INSTRUCTIONS];
    if (!assemble(f, &larger, &made, instructions)) return false;
    f->joined[s] = 1;
    *g = larger;
    return true;
}

/* One more step for the group, if any can join it. */
static bool grow(fuser *f, group *g) {
    for (uint32_t n = g->count; n-- > 0;) {
        const mia__step *member = &f->planner->plan->steps[g->members[n]];
        for (uint32_t i = 0; i < member->input_count; i++)
            if (join(f, g, f->maker[member->inputs[i].buffer])) return true;
    }
    return false;
}

/* Makes a step, and what can join it, one; false without memory. */
static bool fuse_into(fuser *f, uint32_t s) {
    mia__plan *plan = f->planner->plan;
    group g = {.members = {s}, .count = 1};
    (void)mia__view_refine(&plan->steps[s].output.view, &plan->steps[s].output.view, &g.modes);
    while (grow(f, &g)) continue;
    if (g.count == 1) return true;
    mia__step made;
    mia__instruction instructions[MIA__MOST_INSTRUCTIONS];
    (void)assemble(f, &g, &made, instructions);
    made.first_instruction = plan->instruction_count;
    for (uint32_t n = 0; n < g.count; n++) {
        mia__instruction *place = mia__plan_add_instruction(plan);
        if (place == NULL) return false;
        *place = instructions[n];
    }
    mia__step_merge_modes(&made);
    plan->steps[s] = made;
    return true;
}

static void count_uses(fuser *f) {
    const mia__plan *plan = f->planner->plan;
    for (uint32_t v = 0; v < f->planner->value_count; v++) f->maker[v] = NO_STEP;
    for (uint32_t s = 0; s < plan->step_count; s++) {
        f->maker[plan->steps[s].output.buffer] = s;
        for (uint32_t i = 0; i < plan->steps[s].input_count; i++) f->uses[plan->steps[s].inputs[i].buffer]++;
    }
}

bool mia__plan_fuse(mia__planner *planner) {
    mia__plan *plan = planner->plan;
    if (planner->rules->fused_inputs == 0 || plan->step_count < 2) return true;
    size_t words = 2 * (size_t)planner->value_count + plan->step_count;
    uint32_t *room = mia_allocate_zeroed(&planner->allocator, words, sizeof *room);
    if (room == NULL) return false;
    fuser f = {planner, room, room + planner->value_count, room + 2 * (size_t)planner->value_count};
    bool fused = true;
    count_uses(&f);
    for (uint32_t s = plan->step_count; fused && s-- > 0;)
        if (f.joined[s] == 0 && mia__step_is_elementwise(&plan->steps[s])) fused = fuse_into(&f, s);
    uint32_t kept = 0;
    for (uint32_t s = 0; s < plan->step_count; s++)
        if (f.joined[s] == 0) plan->steps[kept++] = plan->steps[s];
    plan->step_count = kept;
    mia_release(&planner->allocator, room, words * sizeof *room);
    return fused;
}
