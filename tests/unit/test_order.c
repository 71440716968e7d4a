/* The order of steps (src/plan/order.c): less memory where there is some to be saved, never more than the recorded
 * order needs. Every plan made by hand is also run on tags (plan_check.h). */
#include "plan/passes.h"
#include "plan_check.h"

static const mia__plan_rules plain = {.alignment = 64};
enum { OUTLIVES = MIA__ENTRY_OUTLIVES };

static uint64_t seed;

static uint32_t sum(test_tape *t, uint32_t x, uint32_t flags) {
    return tape_add(t, MIA_OP_sum, &x, 1, (mia__attributes){{1}, {0}}, flags);
}

/* What the recorded order needs: the passes without the one that looks for another. */
static size_t recorded_bytes(const mia__tape *tape, const mia__plan_rules *rules) {
    mia__plan *plan = calloc(1, sizeof *plan);
    assert_non_null(plan);
    mia__planner planner = {.tape = tape, .rules = rules, .plan = plan};
    plan->leaf_count = tape->leaf_count;
    assert_true(mia__plan_cse(&planner) && mia__plan_dead(&planner) && mia__plan_lower(&planner) &&
                mia__plan_fuse(&planner) && mia__plan_buffers(&planner) && mia__plan_arena(&planner));
    size_t bytes = plan->arena_bytes + plan->output_bytes;
    mia_release(NULL, planner.values, planner.value_capacity * sizeof *planner.values);
    mia_release(NULL, planner.base, tape->count * sizeof *planner.base);
    mia_release(NULL, planner.needed, tape->count * sizeof *planner.needed);
    mia__plan_free(plan);
    return bytes;
}

/* Eight large values, each made of x and summed up: recorded, all are there before the first sum. */
static void test_sums_come_early(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(256), OUTLIVES), large[8];
    for (int i = 0; i < 8; i++)
        large[i] = tape_add(&t, MIA_OP_pad, &x, 1, (mia__attributes){{0, i, 16 - i}, {0}}, 0);
    for (int i = 0; i < 8; i++) (void)sum(&t, large[i], OUTLIVES);
    mia__plan *plan = make_checked(&t, &plain);
    assert_true(plan->reordered);
    assert_int_equal(plan->arena_bytes, 1088); /* one of 272 numbers */
    assert_int_equal(recorded_bytes(&t.tape, &plain), 8 * 1088 + 8 * 4);
    for (uint32_t s = 0; s < plan->step_count; s++)
        assert_int_equal(plan->steps[s].op, s % 2 == 0 ? MIA_OP_pad : MIA_OP_sum);
    mia__plan_free(plan);
}

/* Where nothing is to be saved the recorded order stays. */
static void test_the_recorded_order_stays(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(64), OUTLIVES), y = x;
    for (int i = 0; i < 5; i++) y = tape_unary(&t, MIA_OP_softmax, y, 0);
    for (int i = 0; i < 5; i++) x = tape_unary(&t, MIA_OP_exp, x, OUTLIVES);
    (void)tape_binary(&t, MIA_OP_add, x, y, OUTLIVES);
    mia__plan *plan = make_checked(&t, &plain);
    assert_false(plan->reordered);
    for (uint32_t s = 1; s < plan->step_count; s++)
        assert_true(plan->steps[s - 1].entry < plan->steps[s].entry);
    mia__plan_free(plan);
}

/* x is overwritten by the step that now reads it last. */
static void test_in_place_by_the_new_order(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(256), MIA__LEAF_OVERWRITABLE), large[4];
    for (int i = 0; i < 4; i++)
        large[i] = tape_unary(&t, i % 2 == 0 ? MIA_OP_exp : MIA_OP_neg, x, 0), x = large[i];
    for (int i = 3; i >= 0; i--) (void)sum(&t, large[i], OUTLIVES);
    mia__plan *plan = make_checked(&t, &plain);
    assert_int_equal(plan->arena_bytes, 0);
    for (uint32_t s = 0; s < plan->step_count; s++)
        if (plan->steps[s].op != MIA_OP_sum)
            assert_int_equal(plan->buffers[plan->steps[s].output.buffer].kind, MIA__BUFFER_LEAF);
    mia__plan_free(plan);
}

/* Layers of products of matrices of many sizes, whose operands come from anywhere before. */
static void random_tape(test_tape *t) {
    static const int64_t extents[] = {1, 2, 16, 64};
    tape_clear(t);
    for (int i = 0; i < 4; i++) (void)tape_leaf(t, MIA_f32, MIA_SHAPE(1, extents[i]), OUTLIVES);
    int64_t count = 8 + test_below(&seed, 40);
    while (t->tape.count < (uint32_t)count) {
        uint32_t a = (uint32_t)test_below(&seed, t->tape.count),
                 b = (uint32_t)test_below(&seed, t->tape.count);
        bool reduced = test_below(&seed, 3) == 0;
        (void)(reduced ? sum(t, a, 0)
                       : tape_binary(t, test_below(&seed, 2) == 0 ? MIA_OP_matmul : MIA_OP_add, a, b, 0));
        if (mia__view_count(&t->entries[t->tape.count - 1].view) > 4096) t->tape.count--;
    }
    for (uint32_t i = t->tape.leaf_count; i < t->tape.count; i++)
        if (test_below(&seed, 4) == 0) t->entries[i].flags |= OUTLIVES;
}

static void test_never_more(void **state) {
    (void)state;
    long rounds = getenv("MIA_TEST_LONG") != NULL ? 100000 : 5000, reordered = 0;
    double saved = 0, all = 0;
    for (long round = 0; round < rounds; round++) {
        test_tape t;
        random_tape(&t);
        mia__plan_rules rules = {.alignment = (size_t)1 << test_below(&seed, 9),
                                 .fused_inputs = (uint32_t)test_below(&seed, 4)};
        mia__plan *plan = make_checked(&t, &rules);
        size_t recorded = recorded_bytes(&t.tape, &rules), bytes = plan->arena_bytes + plan->output_bytes;
        assert_true(bytes <= recorded);
        assert_int_equal(plan->reordered, bytes < recorded);
        reordered += plan->reordered;
        saved += (double)(recorded - bytes);
        all += (double)recorded;
        mia__plan_free(plan);
    }
    printf("%ld of %ld plans in another order, %.1f %% of all bytes saved\n", reordered, rounds,
           100 * saved / all);
    assert_true(reordered > rounds / 20);
}

/* Many steps that are ready at once, and a chain: what the pass takes grows as the steps do. */
static double seconds_for(uint32_t count, bool chain) {
    mia__entry *entries = calloc(2 * (size_t)count + 1, sizeof *entries);
    assert_non_null(entries);
    const mia_shape shape = MIA_SHAPE(64), one = MIA_SHAPE(1);
    for (uint32_t i = 0; i <= 2 * count; i++) {
        bool sums = i > count;
        entries[i] = (mia__entry){.op = i == 0 ? MIA_OP_NONE
                                        : sums ? MIA_OP_sum
                                               : MIA_OP_softmax,
                                  .dtype = MIA_f32,
                                  .alias = i,
                                  .operand_count = i > 0,
                                  .operands = {sums             ? i - count
                                               : chain && i > 0 ? i - 1
                                                                : 0},
                                  .flags = i == 0 || sums ? OUTLIVES : 0,
                                  .attributes = {{sums ? 1 : i}, {0}},
                                  .view = mia__view_compact(MIA_f32, sums ? &one : &shape)};
    }
    entries[0].bytes = 256;
    mia__tape tape = {entries, 2 * count + 1, 1};
    struct timespec from, to;
    mia__plan *plan = NULL;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    assert_int_equal(mia__plan_make(&tape, &plain, NULL, &plan, NULL), MIA_OK);
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    assert_int_equal(plan->step_count, 2 * count);
    assert_true(plan->reordered);
    assert_int_equal(plan->arena_bytes, chain ? 512 : 256);
    mia__plan_free(plan);
    free(entries);
    return (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
}

static void test_time(void **state) {
    (void)state;
    for (int chain = 0; chain < 2; chain++) {
        double small = seconds_for(5000, chain == 1), large = seconds_for(20000, chain == 1);
        printf("%s: 10,000 steps %.1f ms, 40,000 steps %.1f ms\n", chain == 1 ? "chain" : "fan", 1e3 * small,
               1e3 * large);
        assert_true(large < 10); /* seconds, also under sanitizers */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_come_early),
        cmocka_unit_test(test_the_recorded_order_stays),
        cmocka_unit_test(test_in_place_by_the_new_order),
        cmocka_unit_test(test_never_more),
        cmocka_unit_test(test_time),
    };
    seed = test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
