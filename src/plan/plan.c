/* Plans: making one by the passes of passes.h, and its arrays. */
#include "plan/passes.h"

/* Adds a zeroed element to one of the plan's arrays. */
static void *add(const mia_allocator *allocator, void **array, uint32_t *count, uint32_t *capacity, size_t size) {
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

void mia__plan_free(mia__plan *plan) {
    if (plan == NULL) return;
    mia_allocator allocator = plan->allocator;
    mia_release(&allocator, plan->steps, plan->step_capacity * sizeof *plan->steps);
    mia_release(&allocator, plan->buffers, plan->buffer_capacity * sizeof *plan->buffers);
    mia_release(&allocator, plan->results, plan->result_capacity * sizeof *plan->results);
    mia_release(&allocator, plan, sizeof *plan);
}

mia_status mia__plan_make(const mia__tape *tape, const mia__plan_rules *rules, const mia_allocator *allocator,
                          mia__plan **out, mia_error *error) {
    mia__plan *plan = mia_allocate_zeroed(allocator, 1, sizeof *plan);
    if (plan == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a plan");
    plan->allocator = *allocator;
    plan->leaf_count = tape->leaf_count;
    mia__planner planner = {.allocator = *allocator, .tape = tape, .rules = rules, .plan = plan};
    bool made = mia__plan_lower(&planner) && mia__plan_buffers(&planner) && mia__plan_arena(&planner);
    mia_release(allocator, planner.values, planner.value_capacity * sizeof *planner.values);
    mia_release(allocator, planner.base, tape->count * sizeof *planner.base);
    if (!made) {
        mia__plan_free(plan);
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to plan %u operations", (unsigned)tape->count);
    }
    *out = plan;
    return MIA_OK;
}
