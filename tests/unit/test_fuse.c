/* Which element-wise steps become one (src/plan/fuse.c), on tapes made by hand. Every plan is also run on
 * tags (plan_check.h). */
#include "plan_check.h"

static const mia__plan_rules fusing = {.alignment = 64, .fused_inputs = MIA__MAX_OPERANDS};
enum { OUTLIVES = MIA__ENTRY_OUTLIVES, OVERWRITABLE = MIA__LEAF_OVERWRITABLE, CONSTANT = MIA__LEAF_CONSTANT };

static uint32_t ternary(test_tape *t, mia_op op, uint32_t a, uint32_t b, uint32_t c, uint32_t flags) {
    const uint32_t operands[3] = {a, b, c};
    return tape_add(t, op, operands, 3, (mia__attributes){{0}, {0}}, flags);
}

static uint32_t convert(test_tape *t, uint32_t x, mia_dtype to, uint32_t flags) {
    return tape_add(t, MIA_OP_convert, &x, 1, (mia__attributes){{(int64_t)to}, {0}}, flags);
}

static const mia__instruction *instruction(const mia__plan *plan, uint32_t step, uint32_t n) {
    assert_true(n < plan->steps[step].instruction_count);
    return &plan->instructions[plan->steps[step].first_instruction + n];
}

/* y = gelu(a * b + c) */
static void test_a_chain_is_one_step(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t a = tape_leaf(&t, MIA_f32, MIA_SHAPE(6, 4), OUTLIVES);
    uint32_t b = tape_leaf(&t, MIA_f32, MIA_SHAPE(6, 4), OUTLIVES);
    uint32_t c = tape_leaf(&t, MIA_f32, MIA_SHAPE(6, 4), OUTLIVES);
    uint32_t sum = tape_binary(&t, MIA_OP_add, tape_binary(&t, MIA_OP_mul, a, b, 0), c, 0);
    (void)tape_unary(&t, MIA_OP_gelu, sum, OUTLIVES);
    mia__plan *plan = make_checked(&t, &fusing);
    assert_int_equal(plan->step_count, 1);
    const mia__step *step = &plan->steps[0];
    assert_int_equal(step->op, MIA__OP_FUSED);
    assert_int_equal(step->input_count, 3);
    assert_int_equal(step->output.view.ndim, 1); /* all lie in one run */
    static const mia_op ops[] = {MIA_OP_mul, MIA_OP_add, MIA_OP_gelu};
    assert_int_equal(step->instruction_count, 3);
    for (uint32_t n = 0; n < 3; n++) assert_int_equal(instruction(plan, 0, n)->op, ops[n]);
    assert_int_equal(instruction(plan, 0, 1)->operands[0], MIA__MAX_OPERANDS);
    assert_int_equal(instruction(plan, 0, 2)->operands[0], MIA__MAX_OPERANDS + 1);
    assert_int_equal(plan->arena_bytes, 0); /* nothing between */
    mia__plan_free(plan);
    mia__plan_rules single = fusing;
    single.fused_inputs = 0;
    plan = make_checked(&t, &single);
    assert_int_equal(plan->step_count, 3);
    assert_int_equal(plan->instruction_count, 0);
    mia__plan_free(plan);
}

/* What somebody else refers to, or another step reads, has to be there. */
static void test_what_is_read_outside_splits(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        test_tape t;
        tape_clear(&t);
        uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(8), OUTLIVES);
        uint32_t y = tape_unary(&t, MIA_OP_neg, x, way == 0 ? OUTLIVES : 0);
        uint32_t z = tape_unary(&t, MIA_OP_exp, y, 0);
        (void)tape_unary(&t, MIA_OP_abs, z, OUTLIVES);
        if (way == 1) (void)tape_unary(&t, MIA_OP_softmax, y, OUTLIVES);
        if (way == 2) { /* a view of it is kept */
            mia__view part = t.entries[y].view;
            part.extent[0] = 3;
            (void)tape_view(&t, MIA_OP_slice, y, MIA_f32, &part, OUTLIVES);
        }
        mia__plan *plan = make_checked(&t, &fusing);
        assert_int_equal(plan->step_count, way == 1 ? 3 : 2);
        assert_int_equal(plan->steps[0].op, MIA_OP_neg);
        assert_int_equal(plan->steps[1].op, MIA__OP_FUSED);
        mia__plan_free(plan);
    }
}

/* x + x, and a value that two members read: one input, one instruction. */
static void test_values_read_twice(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(5), OVERWRITABLE);
    uint32_t twice = tape_binary(&t, MIA_OP_add, x, x, 0);
    (void)tape_binary(&t, MIA_OP_mul, twice, tape_unary(&t, MIA_OP_sigmoid, twice, 0), OUTLIVES);
    mia__plan *plan = make_checked(&t, &fusing);
    assert_int_equal(plan->step_count, 1);
    assert_int_equal(plan->steps[0].input_count, 1);
    assert_int_equal(plan->steps[0].instruction_count, 3);
    assert_int_equal(plan->buffer_count, 1); /* over x */
    assert_int_equal(plan->buffers[plan->steps[0].output.buffer].kind, MIA__BUFFER_LEAF);
    mia__plan_free(plan);
}

/* A bias [6] and a scale for each column [1, 4] over [6, 4]; what is smaller than the result stays a step. */
static void test_broadcasting(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f16, MIA_SHAPE(6, 4), OVERWRITABLE);
    uint32_t bias = tape_leaf(&t, MIA_f16, MIA_SHAPE(6), CONSTANT);
    uint32_t scale = tape_leaf(&t, MIA_f16, MIA_SHAPE(1, 4), OUTLIVES);
    uint32_t small = tape_unary(&t, MIA_OP_sqrt, scale, 0);
    uint32_t y = tape_unary(&t, MIA_OP_relu, x, 0);
    (void)tape_binary(&t, MIA_OP_mul, tape_binary(&t, MIA_OP_add, y, bias, 0), small, OUTLIVES);
    mia__plan *plan = make_checked(&t, &fusing);
    assert_int_equal(plan->step_count, 2);
    assert_int_equal(plan->steps[0].op, MIA_OP_sqrt);
    const mia__step *step = &plan->steps[1];
    assert_int_equal(step->instruction_count, 3);
    assert_int_equal(step->output.view.ndim, 2);
    assert_int_equal(step->output.buffer, step->inputs[0].buffer); /* relu's x, in place */
    mia__plan_free(plan);
}

/* Through shapes that are products of the same modes, not through others, nor out of order. */
static void test_views_between(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        test_tape t;
        tape_clear(&t);
        uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(6, 4), OUTLIVES);
        uint32_t bias = tape_leaf(&t, MIA_f32, way == 1 ? MIA_SHAPE(4) : MIA_SHAPE(6), OUTLIVES);
        uint32_t y =
            tape_binary(&t, MIA_OP_add, x, way == 1 ? tape_leaf(&t, MIA_f32, MIA_SHAPE(6), 0) : bias, 0);
        mia_shape to = way == 0 ? MIA_SHAPE(3, 2, 4) : way == 1 ? MIA_SHAPE(4, 6) : MIA_SHAPE(6, 4);
        mia__view view = mia__view_compact(MIA_f32, &to);
        if (way == 2) view.offset = 18, view.stride[1] = -6;
        if (way == 3) view = t.entries[y].view, view.extent[1] = 2;
        uint32_t z = tape_view(&t, MIA_OP_reshape, y, MIA_f32, &view, 0);
        (void)(way == 1 ? tape_binary(&t, MIA_OP_mul, z, bias, OUTLIVES)
                        : tape_unary(&t, MIA_OP_neg, z, OUTLIVES));
        mia__plan *plan = make_checked(&t, &fusing);
        assert_int_equal(plan->step_count, way == 0 ? 1 : 2);
        mia__plan_free(plan);
    }
}

/* Types change on the way; conditions are bool8. A cast reads other numbers, and splits. */
static void test_types(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(8), OUTLIVES);
    uint32_t u = tape_leaf(&t, MIA_i32, MIA_SHAPE(8), OUTLIVES);
    uint32_t half = convert(&t, x, MIA_f16, 0);
    uint32_t back = convert(&t, tape_unary(&t, MIA_OP_neg, half, 0), MIA_f32, 0);
    uint32_t is_less = tape_binary(&t, MIA_OP_less, back, x, 0);
    (void)ternary(&t, MIA_OP_where, is_less, back, x, OUTLIVES);
    mia__view same = t.entries[u].view;
    uint32_t made = tape_unary(&t, MIA_OP_abs, u, 0);
    (void)tape_unary(&t, MIA_OP_exp, tape_view(&t, MIA_OP_cast, made, MIA_f32, &same, 0), OUTLIVES);
    mia__plan *plan = make_checked(&t, &fusing);
    assert_int_equal(plan->step_count, 3);
    assert_int_equal(plan->steps[0].op, MIA__OP_FUSED);
    assert_int_equal(plan->steps[0].instruction_count, 5);
    assert_int_equal(plan->steps[0].input_count, 1);
    assert_int_equal(instruction(plan, 0, 0)->dtype, MIA_f16);
    assert_int_equal(instruction(plan, 0, 3)->dtype, MIA_bool8);
    mia__plan_free(plan);
}

/* A result goes over an input only if that lies alike in every way that the step reads it. */
static void test_in_place(void **state) {
    (void)state;
    for (int reversed = 0; reversed < 2; reversed++) {
        test_tape t;
        tape_clear(&t);
        uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(8), OVERWRITABLE);
        uint32_t y = tape_unary(&t, MIA_OP_neg, x, 0), other = x;
        mia__view view = t.entries[x].view;
        if (reversed) {
            view.offset = 7, view.stride[0] = -1;
            other = tape_view(&t, MIA_OP_slice, x, MIA_f32, &view, 0);
        }
        (void)tape_binary(&t, MIA_OP_add, y, other, OUTLIVES);
        mia__plan *plan = make_checked(&t, &fusing);
        assert_int_equal(plan->step_count, 1);
        assert_int_equal(plan->steps[0].input_count, reversed ? 2 : 1);
        assert_int_equal(plan->buffers[plan->steps[0].output.buffer].kind,
                         reversed ? MIA__BUFFER_OUTPUT : MIA__BUFFER_LEAF);
        mia__plan_free(plan);
    }
}

/* Inputs and instructions are bounded; what is too long becomes several steps. */
static void test_limits(void **state) {
    (void)state;
    for (uint32_t most = 1; most <= MIA__MAX_OPERANDS; most++) {
        test_tape t;
        tape_clear(&t);
        uint32_t leaves[12], sum;
        for (uint32_t i = 0; i < 12; i++) leaves[i] = tape_leaf(&t, MIA_f32, MIA_SHAPE(3), OUTLIVES);
        sum = leaves[0];
        for (uint32_t i = 1; i < 12; i++)
            sum = tape_binary(&t, MIA_OP_add, sum, leaves[i], i == 11 ? OUTLIVES : 0);
        mia__plan_rules rules = fusing;
        rules.fused_inputs = most;
        mia__plan *plan = make_checked(&t, &rules); /* checks the bound, too */
        uint32_t each = most > 2 ? most - 1 : 1;    /* additions of a step */
        assert_int_equal(plan->step_count, (11 + each - 1) / each);
        mia__plan_free(plan);
    }
    test_tape t;
    tape_clear(&t);
    uint32_t y = tape_leaf(&t, MIA_f32, MIA_SHAPE(3), OUTLIVES);
    for (uint32_t i = 0; i < 40; i++) y = tape_unary(&t, MIA_OP_neg, y, i == 39 ? OUTLIVES : 0);
    mia__plan *plan = make_checked(&t, &fusing);
    assert_int_equal(plan->step_count, (40 + MIA__MOST_INSTRUCTIONS - 1) / MIA__MOST_INSTRUCTIONS);
    assert_int_equal(plan->instruction_count, 40);
    mia__plan_free(plan);
}

/* Random tapes of element-wise operations alone, which are mostly fused. */
static void test_random_tapes(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    long steps = 0, instructions = 0, operations = 0;
    for (long round = 0; round < 3000; round++) {
        uint64_t now = seed + (uint64_t)round;
        static const mia_op ops[] = {MIA_OP_add, MIA_OP_mul, MIA_OP_sub, MIA_OP_neg, MIA_OP_exp, MIA_OP_relu};
        test_tape t;
        tape_clear(&t);
        int64_t leaves = 1 + test_below(&now, 5), count = 2 + test_below(&now, 30);
        for (int64_t i = 0; i < leaves; i++) {
            mia_shape shape = MIA_SHAPE(3, 2, 4);
            for (uint32_t m = 0; m < 3; m++)
                if (test_below(&now, 4) == 0) shape.extent[m] = 1;
            tape_leaf(&t, MIA_f32, shape, test_below(&now, 2) == 0 ? OVERWRITABLE : OUTLIVES);
        }
        for (int64_t i = 0; i < count; i++) {
            uint64_t op = (uint64_t)test_below(&now, 6);
            uint32_t a = t.tape.count - 1 - (uint32_t)test_below(&now, t.tape.count < 4 ? t.tape.count : 4);
            uint32_t b = (uint32_t)test_below(&now, t.tape.count),
                     flags = i + 1 == count || test_below(&now, 9) == 0 ? OUTLIVES : 0;
            uint32_t made =
                op < 3 ? tape_binary(&t, ops[op], a, b, flags) : tape_unary(&t, ops[op], a, flags);
            assert_true(made != UINT32_MAX);
        }
        mia__plan *plan = make_checked(&t, &fusing);
        steps += plan->step_count;
        instructions += plan->instruction_count;
        operations += count;
        mia__plan_free(plan);
    }
    printf("%ld operations in %ld steps, %ld of them as instructions\n", operations, steps, instructions);
    assert_true(steps < operations * 3 / 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_chain_is_one_step),
        cmocka_unit_test(test_what_is_read_outside_splits),
        cmocka_unit_test(test_values_read_twice),
        cmocka_unit_test(test_broadcasting),
        cmocka_unit_test(test_views_between),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_random_tapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
