/* Which entries are one value (src/plan/cse.c), and which are left out (src/plan/dead.c), on tapes made by hand.
 * Every plan is also run on tags (plan_check.h). */
#include "plan_check.h"

static const mia__plan_rules plain = {.alignment = 64};
enum { OUTLIVES = MIA__ENTRY_OUTLIVES, OVERWRITABLE = MIA__LEAF_OVERWRITABLE, CONSTANT = MIA__LEAF_CONSTANT };

static uint32_t sum(test_tape *t, uint32_t x, int64_t modes, uint32_t flags) {
    return tape_add(t, MIA_OP_sum, &x, 1, (mia__attributes){{modes}, {0}}, flags);
}

static uint32_t reversed(test_tape *t, uint32_t x, uint32_t flags) {
    mia__view view = t->entries[x].view;
    view.offset = view.extent[0] - 1;
    view.stride[0] = -1;
    return tape_view(t, MIA_OP_slice, x, MIA_f32, &view, flags);
}

static uint32_t steps_of(const test_tape *t) {
    mia__plan *plan = make_checked(t, &plain);
    uint32_t count = plan->step_count;
    mia__plan_free(plan);
    return count;
}

/* Both results are found in one buffer, which is counted once. */
static void test_two_results_are_one_value(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(16), OUTLIVES);
    uint32_t a = tape_unary(&t, MIA_OP_exp, tape_unary(&t, MIA_OP_neg, x, 0), OUTLIVES);
    uint32_t b = tape_unary(&t, MIA_OP_exp, tape_unary(&t, MIA_OP_neg, x, 0), OUTLIVES);
    mia__plan *plan = make_checked(&t, &plain);
    assert_int_equal(plan->step_count, 2);
    assert_int_equal(plan->result_count, 2);
    assert_true(plan->results[0].entry == a && plan->results[1].entry == b);
    assert_int_equal(plan->results[0].buffer, plan->results[1].buffer);
    assert_int_equal(plan->output_count, 1);
    assert_int_equal(plan->output_bytes, 64);
    mia__plan_free(plan);
}

/* One of two equal values is kept by somebody: the other's reader may not write over it. */
static void test_what_outlives_is_kept(void **state) {
    (void)state;
    for (int way = 0; way < 2; way++) {
        test_tape t;
        tape_clear(&t);
        uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(16), OVERWRITABLE);
        (void)tape_unary(&t, MIA_OP_neg, x, way == 0 ? OUTLIVES : 0);
        uint32_t again = tape_unary(&t, MIA_OP_neg, x, way == 1 ? OUTLIVES : 0);
        (void)tape_unary(&t, MIA_OP_exp, again, OUTLIVES);
        mia__plan *plan = make_checked(&t, &plain);
        assert_int_equal(plan->step_count, 2);
        assert_int_not_equal(plan->steps[1].output.buffer, plan->steps[1].inputs[0].buffer);
        mia__plan_free(plan);
    }
}

/* Another type, attribute, order of operands, leaf or look is another value. */
static void test_what_differs_stays(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(4, 4), OUTLIVES);
    uint32_t y = tape_leaf(&t, MIA_f32, MIA_SHAPE(4, 4), OUTLIVES);
    (void)sum(&t, x, 1, OUTLIVES);
    (void)sum(&t, x, 2, OUTLIVES);
    (void)sum(&t, y, 1, OUTLIVES);
    (void)sum(&t, reversed(&t, x, 0), 1, OUTLIVES);
    (void)tape_binary(&t, MIA_OP_sub, x, y, OUTLIVES);
    (void)tape_binary(&t, MIA_OP_sub, y, x, OUTLIVES);
    for (int64_t i = 0; i < 2; i++)
        (void)tape_add(&t, MIA_OP_convert, &x, 1, (mia__attributes){{i == 0 ? MIA_f16 : MIA_bf16}, {0}},
                       OUTLIVES);
    for (int64_t before = 1; before < 3; before++) /* of one shape */
        (void)tape_add(&t, MIA_OP_pad, &x, 1, (mia__attributes){{0, before, 3 - before}, {0}}, OUTLIVES);
    assert_int_equal(steps_of(&t), 10);
}

/* The same look by another way: a slice of a slice, an alias of a leaf, a view of an equal value. */
static void test_looks(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(6), OUTLIVES);
    uint32_t alias = tape_leaf(&t, MIA_f32, MIA_SHAPE(6), OUTLIVES);
    t.entries[alias].alias = x;
    uint32_t back = tape_view(&t, MIA_OP_slice, reversed(&t, x, 0), MIA_f32, &t.entries[x].view, 0);
    (void)tape_unary(&t, MIA_OP_neg, x, OUTLIVES);
    (void)tape_unary(&t, MIA_OP_neg, back, OUTLIVES);
    uint32_t y = tape_unary(&t, MIA_OP_neg, alias, OUTLIVES);
    assert_int_equal(steps_of(&t), 1);
    (void)tape_unary(&t, MIA_OP_exp, reversed(&t, y, OUTLIVES), OUTLIVES);
    (void)tape_unary(&t, MIA_OP_exp, reversed(&t, back + 1, OUTLIVES), OUTLIVES);
    assert_int_equal(steps_of(&t), 2);
}

static void test_drawn_numbers(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t seed = tape_leaf(&t, MIA_u32, MIA_SHAPE(2), OUTLIVES),
             other = tape_leaf(&t, MIA_u32, MIA_SHAPE(2), OUTLIVES);
    const mia__attributes many = {{MIA_f32, 8}, {0}};
    for (int i = 0; i < 4; i++)
        (void)tape_add(&t, MIA_OP_random_uniform, i == 3 ? &other : &seed, 1, many, OUTLIVES);
    assert_int_equal(steps_of(&t), 2);
}

/* A chain of which each link stands there twice. */
static void test_chains(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t a = tape_leaf(&t, MIA_f32, MIA_SHAPE(8), OUTLIVES), b = a;
    for (int i = 0; i < 20; i++) {
        a = tape_unary(&t, i % 2 == 0 ? MIA_OP_exp : MIA_OP_neg, a, 0);
        b = tape_unary(&t, i % 2 == 0 ? MIA_OP_exp : MIA_OP_neg, b, 0);
    }
    (void)tape_binary(&t, MIA_OP_add, a, b, OUTLIVES);
    assert_int_equal(steps_of(&t), 21);
}

/* What no result is made from takes no step and no memory, nor the constants that it alone would read. */
static void test_dead_entries(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(8), OVERWRITABLE);
    uint32_t w = tape_leaf(&t, MIA_f32, MIA_SHAPE(8), CONSTANT);
    uint32_t dead = tape_binary(&t, MIA_OP_add, x, w, 0);
    (void)reversed(&t, tape_unary(&t, MIA_OP_exp, dead, 0), 0);
    (void)tape_unary(&t, MIA_OP_neg, x, OUTLIVES);
    mia__plan *plan = make_checked(&t, &plain);
    assert_int_equal(plan->step_count, 1);
    assert_int_equal(plan->buffer_count, 1); /* over x */
    mia__plan_free(plan);
    t.entries[t.tape.count - 1].flags = 0;
    assert_int_equal(steps_of(&t), 0);
    (void)reversed(&t, dead + 1, OUTLIVES); /* a view keeps what it looks at */
    assert_int_equal(steps_of(&t), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_results_are_one_value),
        cmocka_unit_test(test_what_outlives_is_kept),
        cmocka_unit_test(test_what_differs_stays),
        cmocka_unit_test(test_looks),
        cmocka_unit_test(test_drawn_numbers),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_dead_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
