/* The pass that lets an update compute the rope that makes its part, when nobody else reads that: keys that are turned on
 * their way into a cache.
 *
 *     r = rope k, positions, frequencies      c <- cache, k, positions, frequencies, start:   0  rope      prologue
 *     c = update cache, r permuted, start                                                     1  update    core
 *
 * The part may be what rope makes with its modes in another order, mode 0 staying where it is; k and the positions are then
 * looked at in that order. */
#include "graph/ops.h"
#include "plan/passes.h"

#define NO_STEP    UINT32_MAX
#define ROPE_MODES 3 /* [D, heads, T] */

typedef struct finder {
    mia__planner *planner;
    uint32_t *maker; /* of each value: the step that makes it */
    uint32_t *uses;  /* of each value: operands that read it */
} finder;

static void count_uses(finder *f) {
    const mia__plan *plan = f->planner->plan;
    for (uint32_t v = 0; v < f->planner->value_count; v++) f->maker[v] = NO_STEP;
    for (uint32_t s = 0; s < plan->step_count; s++) {
        f->maker[plan->steps[s].output.buffer] = s;
        for (uint32_t i = 0; i < plan->steps[s].input_count; i++) f->uses[plan->steps[s].inputs[i].buffer]++;
    }
}

/* Which mode of `made`, which is compact, each mode of a view of all of it is; false when it is none, or mode 0 another. */
static bool match_modes(const mia__view *view, const mia__view *made, uint32_t *modes) {
    bool used[ROPE_MODES] = {false};
    if (view->offset != 0 || view->ndim != ROPE_MODES || made->ndim != ROPE_MODES) return false;
    for (uint32_t m = 0; m < ROPE_MODES; m++) {
        uint32_t j = 0;
        while (j < ROPE_MODES && (used[j] || view->extent[m] != made->extent[j] ||
                                  (view->extent[m] != 1 && view->stride[m] != made->stride[j])))
            j++;
        if (j == ROPE_MODES) return false;
        used[j] = true;
        modes[m] = j;
    }
    return modes[0] == 0;
}

/* The rope that makes a part that only the update reads; NO_STEP: there is none. */
static uint32_t rope_of(const finder *f, const mia__operand *part) {
    const mia__planner *planner = f->planner;
    uint32_t s = f->maker[part->buffer];
    if (s == NO_STEP || f->uses[part->buffer] != 1 || planner->values[part->buffer].outlives) return NO_STEP;
    const mia__step *rope = &planner->plan->steps[s];
    return rope->op == MIA_OP_rope && rope->custom == NULL && rope->output.dtype == part->dtype ? s : NO_STEP;
}

/* Rope's x and positions as the part's modes see them. */
static mia__operand look_at(const mia__operand *operand, const mia__view *part, const uint32_t *modes,
                            bool positions) {
    mia__operand seen = *operand;
    seen.view.ndim = part->ndim;
    for (uint32_t m = 0; m < part->ndim; m++) {
        seen.view.extent[m] = part->extent[m];
        if (positions)
            seen.view.stride[m] = modes[m] == ROPE_MODES - 1 ? operand->view.stride[0] : 0;
        else
            seen.view.stride[m] = operand->view.stride[modes[m]];
    }
    return seen;
}

/* Makes the two one step; false when they do not fit each other, or the rules. */
static bool put_rope(const finder *f, const mia__step *rope, const mia__step *update, mia__step *out,
                     mia__instruction *instructions) {
    const mia__operand *part = &update->inputs[1];
    uint32_t modes[ROPE_MODES];
    if (f->planner->rules->fused_inputs < 5 || !match_modes(&part->view, &rope->output.view, modes))
        return false;
    *out = *update;
    out->op = MIA__OP_FUSED;
    out->attributes = (mia__attributes){{0}, {0}};
    out->input_count = 5;
    out->inputs[1] = look_at(&rope->inputs[0], &part->view, modes, false);
    out->inputs[2] = look_at(&rope->inputs[1], &part->view, modes, true);
    out->inputs[3] = rope->inputs[2];
    out->inputs[4] = update->inputs[2];
    out->core = out->core_count = 1;
    out->instruction_count = 2;
    instructions[0] = (mia__instruction){.op = MIA_OP_rope,
                                         .dtype = rope->output.dtype,
                                         .entry = rope->entry,
                                         .operand_count = 3,
                                         .operands = {1, 2, 3},
                                         .attributes = rope->attributes};
    instructions[1] = (mia__instruction){.op = MIA_OP_update,
                                         .dtype = update->output.dtype,
                                         .entry = update->entry,
                                         .operand_count = 3,
                                         .operands = {0, MIA__MAX_OPERANDS, 4},
                                         .attributes = update->attributes};
    return mia__plan_takes_fused(f->planner, out, instructions);
}

/* False without memory. */
static bool fuse(finder *f, bool *dropped) {
    mia__plan *plan = f->planner->plan;
    for (uint32_t s = 0; s < plan->step_count; s++) {
        mia__step *step = &plan->steps[s], made;
        mia__instruction instructions[2];
        uint32_t rope = step->op == MIA_OP_update ? rope_of(f, &step->inputs[1]) : NO_STEP;
        if (rope == NO_STEP) continue;
        if (!mia__plan_reserve_instructions(plan)) return false;
        if (!put_rope(f, &plan->steps[rope], step, &made, instructions)) continue;
        mia__plan_add_instructions(plan, &made, instructions);
        *step = made;
        dropped[rope] = true;
    }
    return true;
}

bool mia__plan_fuse_updates(mia__planner *planner) {
    mia__plan *plan = planner->plan;
    size_t values = planner->value_count, steps = plan->step_count;
    if (planner->rules->fused_inputs == 0 || (planner->rules->fusions & MIA__FUSE_UPDATE_ROPE) == 0 ||
        steps < 2)
        return true;
    uint32_t *room = mia_allocate_zeroed(&planner->allocator, 2 * values, sizeof *room);
    bool *dropped = mia_allocate_zeroed(&planner->allocator, steps, sizeof *dropped);
    bool good = room != NULL && dropped != NULL;
    if (good) {
        finder f = {planner, room, room + values};
        count_uses(&f);
        good = fuse(&f, dropped);
        uint32_t kept = 0;
        for (uint32_t s = 0; s < plan->step_count; s++)
            if (!dropped[s]) plan->steps[kept++] = plan->steps[s];
        plan->step_count = kept;
    }
    mia_release(&planner->allocator, room, 2 * values * sizeof *room);
    mia_release(&planner->allocator, dropped, steps * sizeof *dropped);
    return good;
}
