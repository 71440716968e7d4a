/* Plans: making one by the passes of passes.h, and its arrays. */
#include "base/size.h"
#include "graph/ops.h"
#include "plan/passes.h"

#include <stdio.h>

/* Adds a zeroed element to one of the plan's arrays. */
static void *add(const mia_allocator *allocator, void **array, uint32_t *count, uint32_t *capacity,
                 size_t size) {
    if (*count == *capacity) {
        uint32_t wanted = *capacity == 0 ? 32 : *capacity * 2;
        void *grown = mia_reallocate_array(allocator, *array, *capacity, wanted, size);
        if (grown == NULL) return NULL;
        *array = grown;
        *capacity = wanted;
    }
    return (char *)*array + (*count)++ * size;
}

mia__step *mia__plan_add_step(mia__plan *plan) {
    void *array = plan->steps;
    mia__step *step = add(&plan->allocator, &array, &plan->step_count, &plan->step_capacity, sizeof *step);
    plan->steps = array;
    if (step != NULL) step->scratch = MIA__NO_BUFFER;
    return step;
}

mia__instruction *mia__plan_add_instruction(mia__plan *plan) {
    void *array = plan->instructions;
    mia__instruction *made =
        add(&plan->allocator, &array, &plan->instruction_count, &plan->instruction_capacity, sizeof *made);
    plan->instructions = array;
    return made;
}

bool mia__plan_reserve_instructions(mia__plan *plan) {
    if (plan->instruction_capacity - plan->instruction_count >= MIA__MOST_INSTRUCTIONS) return true;
    uint32_t wanted = 2 * plan->instruction_capacity + MIA__MOST_INSTRUCTIONS;
    void *grown = mia_reallocate_array(&plan->allocator, plan->instructions, plan->instruction_capacity,
                                       wanted, sizeof *plan->instructions);
    if (grown == NULL) return false;
    plan->instructions = grown;
    plan->instruction_capacity = wanted;
    return true;
}

mia__plan_buffer *mia__plan_add_buffer(mia__plan *plan) {
    void *array = plan->buffers;
    mia__plan_buffer *buffer =
        add(&plan->allocator, &array, &plan->buffer_count, &plan->buffer_capacity, sizeof *buffer);
    plan->buffers = array;
    return buffer;
}

mia__plan_result *mia__plan_add_result(mia__plan *plan) {
    void *array = plan->results;
    mia__plan_result *result =
        add(&plan->allocator, &array, &plan->result_count, &plan->result_capacity, sizeof *result);
    plan->results = array;
    return result;
}

/* Its arrays but the instructions. */
static void free_placed(const mia__plan *plan) {
    mia_release(&plan->allocator, plan->steps, plan->step_capacity * sizeof *plan->steps);
    mia_release(&plan->allocator, plan->buffers, plan->buffer_capacity * sizeof *plan->buffers);
    mia_release(&plan->allocator, plan->results, plan->result_capacity * sizeof *plan->results);
}

void mia__plan_free(mia__plan *plan) {
    if (plan == NULL) return;
    mia_allocator allocator = plan->allocator;
    free_placed(plan);
    mia_release(&allocator, plan->instructions, plan->instruction_capacity * sizeof *plan->instructions);
    mia_release(&allocator, plan, sizeof *plan);
}

const char *mia__step_name(const mia__plan *plan, const mia__step *step, char *text, size_t capacity) {
    if (step->op != MIA__OP_FUSED) return mia__op_row_of(step->op, step->custom)->info.name;
    size_t used = 0;
    for (uint32_t n = 0; n < step->instruction_count && used < capacity; n++) {
        const mia__instruction *made = &plan->instructions[step->first_instruction + n];
        int written = snprintf(text + used, capacity - used, "%s%s", n > 0 ? " " : "",
                               mia__op_row_of(made->op, made->custom)->info.name);
        used += written > 0 ? (size_t)written : 0;
    }
    return text;
}

/* Leaves first, then known operations on what is before them. */
static bool is_well_formed(const mia__tape *tape) {
    if (tape->leaf_count > tape->count) return false;
    for (uint32_t i = 0; i < tape->count; i++) {
        const mia__entry *entry = &tape->entries[i];
        if (mia_dtype_describe(entry->dtype)->bytes == 0 || entry->view.ndim > MIA_MAX_MODES) return false;
        if (i < tape->leaf_count) {
            if (entry->op != MIA_OP_NONE || entry->alias > i ||
                tape->entries[entry->alias].alias != entry->alias)
                return false;
            continue;
        }
        const mia__op_row *row = mia__op_row_of(entry->op, entry->custom);
        if (row == NULL || entry->operand_count != row->info.operands) return false;
        for (uint32_t k = 0; k < entry->operand_count; k++)
            if (entry->operands[k] >= i) return false;
    }
    return true;
}

static bool place(mia__planner *planner) {
    return mia__plan_buffers(planner) && mia__plan_arena(planner);
}

/* Of steps whose operands name values; NULL without memory. */
static mia__step *steps_in_order(const mia__planner *planner, const uint32_t *order) {
    uint32_t count = planner->plan->step_count;
    mia__step *steps = mia_allocate_zeroed(&planner->allocator, count, sizeof *steps);
    for (uint32_t s = 0; steps != NULL && s < count; s++) steps[s] = planner->plan->steps[order[s]];
    return steps;
}

/* Places the steps in the recorded order and, where another promises less, in that too; the one that needs less
 * stays, the recorded one when both need the same. */
static bool place_in_better_order(mia__planner *planner) {
    mia__plan *plan = planner->plan;
    mia__step *steps = planner->reorder ? steps_in_order(planner, planner->order) : NULL;
    if (planner->reorder && steps == NULL) return false;
    if (!place(planner)) {
        mia_release(&planner->allocator, steps, plan->step_count * sizeof *steps);
        return false;
    }
    if (!planner->reorder) return true;
    mia__plan recorded = *plan, *worse = &recorded;
    for (uint32_t v = 0; v < planner->value_count; v++)
        planner->values[v].last_use = planner->values[v].buffer = MIA__NO_BUFFER;
    plan->steps = steps;
    plan->step_capacity = plan->step_count;
    plan->buffers = NULL;
    plan->results = NULL;
    plan->buffer_count = plan->buffer_capacity = plan->result_count = plan->result_capacity = 0;
    plan->output_count = 0;
    plan->output_bytes = plan->arena_bytes = 0;
    plan->reordered = true;
    bool placed = place(planner);
    mia__plan other = *plan;
    if (placed && mia__u64_sum(plan->arena_bytes, plan->output_bytes) >=
                      mia__u64_sum(recorded.arena_bytes, recorded.output_bytes)) {
        *plan = recorded;
        worse = &other;
    }
    plan->arena_looks = recorded.arena_looks + other.arena_looks;
    free_placed(worse);
    return placed;
}

mia_status mia__plan_make(const mia__tape *tape, const mia__plan_rules *rules, const mia_allocator *allocator,
                          mia__plan **out, mia_error *error) {
    if (!is_well_formed(tape))
        return mia_error_set(error, MIA_ERROR_INTERNAL, "a malformed tape cannot be planned");
    mia__plan *plan = mia_allocate_zeroed(allocator, 1, sizeof *plan);
    if (plan == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a plan");
    if (allocator != NULL) plan->allocator = *allocator;
    plan->leaf_count = tape->leaf_count;
    mia__planner planner = {.allocator = plan->allocator, .tape = tape, .rules = rules, .plan = plan};
    bool made = mia__plan_cse(&planner) && mia__plan_dead(&planner) && mia__plan_lower(&planner) &&
                mia__plan_fuse(&planner) && mia__plan_fuse_cores(&planner) &&
                mia__plan_fuse_updates(&planner) && mia__plan_together(&planner) &&
                mia__plan_order(&planner) && place_in_better_order(&planner);
    mia_error refusal = {0};
    mia_status split = made ? mia__plan_split(&planner, &refusal) : MIA_OK;
    mia_release(allocator, planner.values, planner.value_capacity * sizeof *planner.values);
    mia_release(allocator, planner.base, tape->count * sizeof *planner.base);
    mia_release(allocator, planner.order, planner.order_count * sizeof *planner.order);
    mia_release(allocator, planner.needed, tape->count * sizeof *planner.needed);
    if (split == MIA_ERROR_UNSUPPORTED) {
        mia__plan_free(plan);
        return mia_error_set(error, split, "%s", refusal.message);
    }
    if (!made || split != MIA_OK) {
        mia__plan_free(plan);
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to plan %u operations",
                             (unsigned)tape->count);
    }
    *out = plan;
    return MIA_OK;
}
