/* The places of temporaries in long plans: the same as the plain way to find them gives, which looks at everything
 * that is placed, and found with work that grows in proportion to the plan, where lifetimes are short. */
#include "graph/ops.h"
#include "plan/plan.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed;

/* A chain of n matrix products 8 x 8: each of the one before it and, `back` or fewer before that, another. */
static mia__plan *plan_chain(uint32_t n, int64_t back, const mia__plan_rules *rules) {
    mia__entry *entries = calloc(n + 1, sizeof *entries);
    assert_non_null(entries);
    const mia_shape shape = MIA_SHAPE(8, 8);
    for (uint32_t i = 0; i <= n; i++) {
        mia__entry *entry = &entries[i];
        *entry = (mia__entry){.dtype = MIA_f32, .alias = i, .view = mia__view_compact(MIA_f32, &shape)};
        entry->bytes = i == 0 ? mia__view_bytes(MIA_f32, &entry->view) : 0;
        if (i == 0) continue;
        int64_t other = (int64_t)i - 1 - test_below(&seed, back);
        entry->op = MIA_OP_matmul;
        entry->operand_count = 2;
        entry->operands[0] = i - 1;
        entry->operands[1] = other > 0 ? (uint32_t)other : 0;
    }
    entries[0].flags = entries[n].flags = MIA__ENTRY_OUTLIVES;
    mia__tape tape = {.entries = entries, .count = n + 1, .leaf_count = 1};
    mia__plan *plan = NULL;
    assert_int_equal(mia__plan_make(&tape, rules, NULL, &plan, NULL), MIA_OK);
    assert_int_equal(plan->step_count, n);
    free(entries);
    return plan;
}

static size_t scratch_of_any_size(const void *context, const mia__plan *plan, const mia__step *step) {
    (void)context, (void)plan;
    uint64_t state = step->entry;
    return (size_t)test_below(&state, 2000);
}

/* --- the plain way ------------------------------------------------------------------------------ */

static bool is_before(const mia__plan_buffer *buffers, size_t alignment, uint32_t a, uint32_t b) {
    size_t a_bytes = (buffers[a].bytes + alignment - 1) / alignment;
    size_t b_bytes = (buffers[b].bytes + alignment - 1) / alignment;
    return a_bytes != b_bytes ? a_bytes > b_bytes : a < b;
}

/* The smallest gap for buffer `wanted` between those placed, which are in order of offset. */
static size_t plain_place(const mia__plan_buffer *buffers, const uint32_t *placed, uint32_t count,
                          const mia__plan_buffer *wanted, size_t bytes, size_t alignment) {
    size_t end = 0, best = 0, best_size = SIZE_MAX;
    for (uint32_t i = 0; i < count; i++) {
        const mia__plan_buffer *other = &buffers[placed[i]];
        size_t other_end = other->offset + (other->bytes + alignment - 1) / alignment * alignment;
        if (other->last < wanted->first || wanted->last < other->first) continue;
        if (other->offset > end && other->offset - end >= bytes && other->offset - end < best_size) {
            best = end;
            best_size = other->offset - end;
        }
        if (other_end > end) end = other_end;
    }
    return best_size != SIZE_MAX ? best : end;
}

static void check_places(const mia__plan *plan, size_t alignment) {
    const mia__plan_buffer *buffers = plan->buffers;
    uint32_t *order = calloc(plan->buffer_count, sizeof *order), count = 0;
    uint32_t *placed = calloc(plan->buffer_count, sizeof *placed);
    size_t most = 0;
    assert_true(order != NULL && placed != NULL);
    for (uint32_t b = 0; b < plan->buffer_count; b++) {
        if (buffers[b].kind != MIA__BUFFER_ARENA) continue;
        uint32_t at = count++;
        for (; at > 0 && is_before(buffers, alignment, b, order[at - 1]); at--) order[at] = order[at - 1];
        order[at] = b;
    }
    for (uint32_t i = 0; i < count; i++) {
        const mia__plan_buffer *it = &buffers[order[i]];
        size_t bytes = (it->bytes + alignment - 1) / alignment * alignment;
        assert_int_equal(it->offset, plain_place(buffers, placed, i, it, bytes, alignment));
        uint32_t at = i;
        for (; at > 0 && buffers[placed[at - 1]].offset > it->offset; at--) placed[at] = placed[at - 1];
        placed[at] = order[i];
        most = it->offset + bytes > most ? it->offset + bytes : most;
    }
    assert_int_equal(plan->arena_bytes, most);
    free(order);
    free(placed);
}

/* --- tests -------------------------------------------------------------------------------------- */

static void test_same_places(void **state) {
    (void)state;
    static const int64_t backs[] = {1, 3, 50, 300, 1500};
    mia__plan_rules rules = {.alignment = 64, .scratch = scratch_of_any_size};
    for (int i = 0; i < 5; i++) {
        mia__plan *plan = plan_chain(1500, backs[i], &rules);
        check_places(plan, 64);
        mia__plan_free(plan);
    }
}

/* Work goes with n log n at most; when everything was looked at for each, four times as many took sixteen times as
 * long. The arena does not grow with the chain. */
static void test_long_plans(void **state) {
    (void)state;
    static const int64_t backs[] = {1, 20};
    mia__plan_rules rules = {.alignment = 64, .scratch = scratch_of_any_size};
    for (int i = 0; i < 2; i++) {
        mia__plan *small = plan_chain(10000, backs[i], &rules), *large = plan_chain(40000, backs[i], &rules);
        double ratio = (double)large->arena_looks / (double)small->arena_looks;
        printf("back %d: %llu looks, %llu for four times as many; %zu and %zu bytes\n", (int)backs[i],
               (unsigned long long)small->arena_looks, (unsigned long long)large->arena_looks,
               small->arena_bytes, large->arena_bytes);
        assert_true(ratio > 3 && ratio < 5.5);
        assert_true(small->arena_looks < 10000 * 400);
        assert_true((double)large->arena_bytes < 1.25 * (double)small->arena_bytes);
        mia__plan_free(small);
        mia__plan_free(large);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_places),
        cmocka_unit_test(test_long_plans),
    };
    seed = test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
