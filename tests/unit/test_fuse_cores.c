/* Which steps become one around a reduction, a norm or matmuls (src/plan/fuse_core.c), and which stand beside each other
 * (together.c), on tapes made by hand. Every plan is also run on tags (plan_check.h). */
#include "plan_check.h"

enum { OUTLIVES = MIA__ENTRY_OUTLIVES, OVERWRITABLE = MIA__LEAF_OVERWRITABLE, CONSTANT = MIA__LEAF_CONSTANT };
enum { ALL = 511, NOT_AGAIN = ALL & ~MIA__FUSE_NORM_RECOMPUTED };

static mia__plan_rules fusing(uint32_t fusions) {
    return (mia__plan_rules){.alignment = 64, .fused_inputs = MIA__MAX_OPERANDS, .fusions = fusions};
}

static mia__plan *plan_of(const test_tape *t, uint32_t fusions) {
    const mia__plan_rules rules = fusing(fusions);
    return make_checked(t, &rules);
}

static uint32_t reduce(test_tape *t, mia_op op, uint32_t x, int64_t modes, uint32_t flags) {
    return tape_add(t, op, &x, 1, (mia__attributes){{modes}, {0}}, flags);
}

static uint32_t rms_norm(test_tape *t, uint32_t x, uint32_t weight, uint32_t flags) {
    const uint32_t operands[2] = {x, weight};
    return tape_add(t, MIA_OP_rms_norm, operands, 2, (mia__attributes){{0}, {1e-5}}, flags);
}

static uint32_t matmul(test_tape *t, uint32_t w, uint32_t x, uint32_t flags) {
    return tape_binary(t, MIA_OP_matmul, w, x, flags);
}

static uint32_t leaf(test_tape *t, mia_shape shape) {
    return tape_leaf(t, MIA_f32, shape, OUTLIVES);
}

static uint32_t weights(test_tape *t, int64_t k, int64_t n) {
    return tape_leaf(t, MIA_f32, MIA_SHAPE(k, n), CONSTANT);
}

/* Instructions before, of and behind the cores of a step. */
static void expect_cores(const mia__plan *plan, uint32_t s, uint32_t before, uint32_t cores,
                         uint32_t behind) {
    const mia__step *step = &plan->steps[s];
    assert_int_equal(step->op, MIA__OP_FUSED);
    assert_int_equal(step->core, before);
    assert_int_equal(step->core_count, cores);
    assert_int_equal(step->instruction_count, before + cores + behind);
}

/* --- reductions and norms --------------------------------------------------------------------- */

/* sqrt(sum(a * b)) over either mode, and all of it; under every mask that leaves something out. */
static void test_reductions(void **state) {
    (void)state;
    for (int64_t modes = 1; modes < 4; modes++)
        for (uint32_t mask = 0; mask < 4; mask++) {
            test_tape t;
            tape_clear(&t);
            uint32_t a = leaf(&t, MIA_SHAPE(6, 4)), b = leaf(&t, MIA_SHAPE(6, 4));
            uint32_t y = reduce(&t, MIA_OP_sum, tape_binary(&t, MIA_OP_mul, a, b, 0), modes, 0);
            (void)tape_unary(&t, MIA_OP_sqrt, y, OUTLIVES);
            mia__plan *plan = plan_of(&t, mask);
            bool before = (mask & MIA__FUSE_REDUCTION_PROLOGUE) != 0, behind = (mask & 2) != 0;
            assert_int_equal(plan->step_count, 3u - before - behind);
            if (mask > 0) expect_cores(plan, before ? 0 : 1, before, 1, behind);
            if (mask == 3) assert_int_equal(plan->steps[0].inputs[0].view.ndim, 2); /* the operand's modes */
            if (mask == 3) assert_int_equal(plan->arena_bytes, 0);
            mia__plan_free(plan);
        }
}

/* A norm's weights keep their own view; what is read before and behind is listed twice. */
static void test_norm_and_residual(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(6, 4), OVERWRITABLE), w = leaf(&t, MIA_SHAPE(6));
    uint32_t y = rms_norm(&t, tape_unary(&t, MIA_OP_neg, x, 0), w, 0);
    (void)tape_binary(&t, MIA_OP_add, y, x, OUTLIVES);
    mia__plan *plan = plan_of(&t, ALL);
    assert_int_equal(plan->step_count, 1);
    expect_cores(plan, 0, 1, 1, 1);
    const mia__step *step = &plan->steps[0];
    assert_int_equal(step->input_count, 3);
    assert_int_equal(step->inputs[1].view.ndim, 1);
    assert_int_equal(step->inputs[0].buffer, step->inputs[2].buffer);
    assert_int_not_equal(step->output.buffer, step->inputs[0].buffer); /* x is read by the norm */
    mia__plan_free(plan);
}

/* The residual alone is read behind, and may be overwritten; before the core nothing may. */
static void test_in_place(void **state) {
    (void)state;
    for (int before = 0; before < 2; before++) {
        test_tape t;
        tape_clear(&t);
        uint32_t r = tape_leaf(&t, MIA_f32, MIA_SHAPE(6, 4), OVERWRITABLE), x = leaf(&t, MIA_SHAPE(6, 4));
        uint32_t w = weights(&t, 6, 6), y;
        y = before ? matmul(&t, w, tape_binary(&t, MIA_OP_add, x, r, 0), OUTLIVES)
                   : tape_binary(&t, MIA_OP_add, matmul(&t, w, x, 0), r, OUTLIVES);
        assert_true(y != UINT32_MAX);
        mia__plan *plan = plan_of(&t, ALL);
        assert_int_equal(plan->step_count, 1);
        assert_int_equal(plan->buffers[plan->steps[0].output.buffer].kind,
                         before ? MIA__BUFFER_OUTPUT : MIA__BUFFER_LEAF);
        mia__plan_free(plan);
    }
}

/* What somebody else reads, or refers to, or reads in another way, stays a step; so does what has other extents. */
static void test_what_splits(void **state) {
    (void)state;
    for (int way = 0; way < 6; way++) {
        test_tape t;
        tape_clear(&t);
        uint32_t x = leaf(&t, MIA_SHAPE(6, 6)), row = leaf(&t, MIA_SHAPE(6, 6, 2));
        uint32_t made = tape_unary(&t, MIA_OP_exp, x, way == 0 ? OUTLIVES : 0);
        if (way == 1) (void)tape_unary(&t, MIA_OP_neg, made, OUTLIVES);
        uint32_t main = made;
        if (way == 2 || way == 3) { /* turned round, or a part */
            mia__view view = t.entries[made].view;
            if (way == 2) view.stride[0] = 6, view.stride[1] = 1;
            if (way == 3) view.extent[1] = 2;
            main = tape_view(&t, way == 2 ? MIA_OP_permute : MIA_OP_slice, made, MIA_f32, &view, 0);
        }
        uint32_t y = tape_unary(&t, MIA_OP_softmax, main, way == 4 ? OUTLIVES : 0);
        if (way == 5)
            (void)tape_binary(&t, MIA_OP_add, y, row, OUTLIVES); /* repeated: other extents behind */
        else
            (void)tape_unary(&t, MIA_OP_neg, y, OUTLIVES);
        mia__plan *plan = plan_of(&t, ALL);
        uint32_t steps[] = {2, 3, 2, 2, 2, 2};
        assert_int_equal(plan->step_count, steps[way]);
        mia__plan_free(plan);
    }
}

/* A scale for each row or column, and a number for all. */
static void test_broadcasts(void **state) {
    (void)state;
    static const mia_shape shapes[] = {{2, {6, 1}}, {2, {1, 4}}, {1, {6}}, {0, {0}}};
    for (int i = 0; i < 4; i++) {
        test_tape t;
        tape_clear(&t);
        uint32_t x = leaf(&t, MIA_SHAPE(6, 4)), s = leaf(&t, shapes[i]);
        uint32_t y = tape_unary(&t, MIA_OP_softmax, tape_binary(&t, MIA_OP_mul, x, s, 0), 0);
        (void)tape_binary(&t, MIA_OP_add, y, s, OUTLIVES);
        mia__plan *plan = plan_of(&t, ALL);
        assert_int_equal(plan->step_count, 1);
        expect_cores(plan, 0, 1, 1, 1);
        assert_int_equal(plan->steps[0].input_count, 3); /* s in both roles */
        mia__plan_free(plan);
    }
}

/* --- matmuls ---------------------------------------------------------------------------------- */

/* down(silu(gate x) * up x) + x, after a norm: two steps. */
static void test_feed_forward(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(6, 3), OVERWRITABLE), w = leaf(&t, MIA_SHAPE(6));
    uint32_t gate = weights(&t, 6, 8), up = weights(&t, 6, 8), down = weights(&t, 8, 6);
    uint32_t n = rms_norm(&t, x, w, 0);
    uint32_t g = tape_unary(&t, MIA_OP_silu, matmul(&t, gate, n, 0), 0), u = matmul(&t, up, n, 0);
    uint32_t y = matmul(&t, down, tape_binary(&t, MIA_OP_mul, g, u, 0), 0);
    (void)tape_binary(&t, MIA_OP_add, x, y, OUTLIVES);
    mia__plan *plan = plan_of(&t, ALL);
    assert_int_equal(plan->step_count, 2);
    expect_cores(plan, 0, 1, 2, 2);
    expect_cores(plan, 1, 0, 1, 1);
    assert_int_equal(plan->steps[0].input_count, 4); /* x, the norm's weights, gate, up */
    mia__plan_free(plan);
    plan = plan_of(&t, ALL & ~(uint32_t)MIA__FUSE_SIBLINGS);
    assert_int_equal(plan->step_count, 4); /* norm, one of them, the other with silu and mul, down */
    mia__plan_free(plan);
    mia__plan_rules none = fusing(ALL);
    none.fused_inputs = 0;
    plan = make_checked(&t, &none);
    assert_int_equal(plan->step_count, 7);
    assert_int_equal(plan->instruction_count, 0);
    mia__plan_free(plan);
}

/* Weights of another shape or type, or that are no constants while the others are, or another x: no siblings. */
static void test_no_siblings(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        test_tape t;
        tape_clear(&t);
        uint32_t x = leaf(&t, MIA_SHAPE(6, 3)), other = leaf(&t, MIA_SHAPE(6, 3)), a = weights(&t, 6, 8);
        uint32_t b = way == 0   ? tape_leaf(&t, MIA_f16, MIA_SHAPE(6, 8), CONSTANT)
                     : way == 1 ? leaf(&t, MIA_SHAPE(6, 8))
                                : weights(&t, 6, way == 2 ? 1 : 8);
        uint32_t y = matmul(&t, a, x, 0), z = matmul(&t, b, way == 3 ? other : x, 0);
        (void)tape_binary(&t, MIA_OP_mul, y, z, OUTLIVES);
        mia__plan *plan = plan_of(&t, NOT_AGAIN & ~(uint32_t)MIA__FUSE_TOGETHER);
        assert_int_equal(plan->step_count, 2);
        expect_cores(plan, 1, 0, 1, 1);
        mia__plan_free(plan);
    }
}

/* q, k and v with what becomes of them in between; the norm as its own step, or computed in each. */
static void test_together(void **state) {
    (void)state;
    for (int again = 0; again < 2; again++) {
        test_tape t;
        tape_clear(&t);
        uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(6, 3), OVERWRITABLE), w = leaf(&t, MIA_SHAPE(6));
        uint32_t weight[3], bias = leaf(&t, MIA_SHAPE(8));
        for (int i = 0; i < 3; i++) weight[i] = weights(&t, 6, i == 0 ? 8 : 4);
        uint32_t n = rms_norm(&t, x, w, 0);
        for (int i = 0; i < 3; i++) {
            uint32_t y = matmul(&t, weight[i], n, 0);
            if (i == 0) y = tape_binary(&t, MIA_OP_add, y, bias, 0);
            (void)reduce(&t, MIA_OP_cumsum, y, 0, OUTLIVES);
        }
        mia__plan *plan = plan_of(&t, again ? ALL : NOT_AGAIN);
        assert_int_equal(plan->step_count, again ? 6 : 7);
        const mia__step *first = &plan->steps[again ? 0 : 1];
        assert_int_equal(first->together, 3);
        expect_cores(plan, again ? 0 : 1, (uint32_t)again, 1, 1);
        for (int i = 1; i < 3; i++) {
            assert_int_equal(first[i].together, 0);
            if (again) expect_cores(plan, (uint32_t)i, 1, 1, 0);
            if (!again) assert_int_equal(first[i].op, MIA_OP_matmul);
        }
        mia__plan_free(plan);
    }
}

/* A norm that somebody else reads, too, or that outlives, is not computed again. */
static void test_norms_that_stay(void **state) {
    (void)state;
    for (int way = 0; way < 2; way++) {
        test_tape t;
        tape_clear(&t);
        uint32_t x = leaf(&t, MIA_SHAPE(6, 3)), w = leaf(&t, MIA_SHAPE(6)), a = weights(&t, 6, 4);
        uint32_t b = weights(&t, 6, 5), n = rms_norm(&t, x, w, way == 0 ? OUTLIVES : 0);
        (void)matmul(&t, a, n, OUTLIVES);
        (void)matmul(&t, b, n, OUTLIVES);
        if (way == 1) (void)reduce(&t, MIA_OP_cumsum, n, 0, OUTLIVES);
        mia__plan *plan = plan_of(&t, ALL);
        assert_int_equal(plan->step_count, way == 0 ? 3 : 4);
        assert_int_equal(plan->steps[0].op, MIA_OP_rms_norm);
        assert_int_equal(plan->steps[1].together, 2);
        mia__plan_free(plan);
    }
}

/* One that needs what another makes, by way of a third, is none of a group. */
static void test_dependent_matmuls(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = leaf(&t, MIA_SHAPE(6, 6)), a = weights(&t, 6, 6), c = weights(&t, 6, 6);
    uint32_t y = reduce(&t, MIA_OP_cumsum, matmul(&t, a, x, 0), 0, 0);
    (void)matmul(&t, y, x, OUTLIVES); /* y are its weights */
    (void)matmul(&t, c, x, OUTLIVES);
    mia__plan *plan = plan_of(&t, ALL);
    assert_int_equal(plan->step_count, 4);
    assert_int_equal(plan->steps[0].together, 2);
    assert_int_equal(plan->steps[1].together, 0);
    assert_int_equal(plan->steps[2].op, MIA_OP_cumsum);
    assert_int_equal(plan->steps[3].together, 0);
    mia__plan_free(plan);
}

/* --- keys and values -------------------------------------------------------------------------- */

static bool joins_all(const void *context, const mia__plan *plan, const mia__step *first,
                      const mia__step *other) {
    (void)context;
    (void)plan;
    return first->op != MIA_OP_attention && other->op != MIA_OP_attention;
}

static uint32_t permuted(test_tape *t, uint32_t x, mia_shape modes) {
    mia__view view;
    assert_int_equal(mia__view_permute(MIA_f32, &t->entries[x].view, &modes, &view, NULL), MIA_OK);
    return tape_view(t, MIA_OP_permute, x, MIA_f32, &view, 0);
}

/* What a layer does between q, k, v and attention, of `rows` positions; `way`: see below. */
static void record_attention(test_tape *t, int64_t rows, int way) {
    enum { D = 4, HEADS = 6, GROUPS = 2, CAPACITY = 7 };
    tape_clear(t);
    uint32_t q = leaf(t, MIA_SHAPE(D, HEADS, rows)), k = leaf(t, MIA_SHAPE(D, GROUPS, rows));
    uint32_t v = leaf(t, MIA_SHAPE(D, GROUPS, rows)), positions = tape_leaf(t, MIA_i32, MIA_SHAPE(rows), 0);
    uint32_t frequencies = weights(t, 2, 1), start = tape_leaf(t, MIA_i32, (mia_shape){0}, 0);
    t->entries[frequencies].view.ndim = 1;
    uint32_t keys = tape_leaf(t, MIA_f32, MIA_SHAPE(D, CAPACITY, GROUPS), OVERWRITABLE);
    uint32_t values = tape_leaf(t, MIA_f32, MIA_SHAPE(D, CAPACITY, GROUPS), OVERWRITABLE);
    uint32_t length = tape_leaf(t, MIA_i32, (mia_shape){0}, 0);
    const mia__attributes style = {{0}, {1}}, along = {{1}, {0}};
    const uint32_t turn_q[] = {q, positions, frequencies}, turn_k[] = {k, positions, frequencies};
    q = tape_add(t, MIA_OP_rope, turn_q, 3, style, 0);
    k = tape_add(t, MIA_OP_rope, turn_k, 3, style, way == 1 ? OUTLIVES : 0);
    if (way == 2) (void)tape_unary(t, MIA_OP_exp, keys, OUTLIVES); /* of the cache as it was */
    const uint32_t update_k[] = {keys, permuted(t, k, MIA_SHAPE(0, 2, 1)), start};
    const uint32_t update_v[] = {values, permuted(t, v, MIA_SHAPE(0, 2, 1)), start};
    keys = tape_add(t, MIA_OP_update, update_k, 3, along, OUTLIVES);
    values = tape_add(t, MIA_OP_update, update_v, 3, along, OUTLIVES);
    const uint32_t attend[] = {q, keys, values, length};
    assert_true(tape_add(t, MIA_OP_attention, attend, 4, (mia__attributes){{0}, {1}}, OUTLIVES) !=
                UINT32_MAX);
}

/* One group, of caches updated in place. Not so when somebody else refers to the turned keys: those are made first. */
static void test_keys_and_values(void **state) {
    (void)state;
    for (int64_t rows = 1; rows < 4; rows += 2)
        for (int way = 0; way < 3; way++) {
            test_tape t;
            record_attention(&t, rows, way);
            mia__plan_rules rules = fusing(ALL);
            rules.joins = joins_all;
            mia__plan *plan = make_checked(&t, &rules);
            static const uint32_t steps[] = {4, 5, 5}, together[] = {3, 3, 3}, key[] = {1, 3, 2};
            assert_int_equal(plan->step_count, steps[way]);
            uint32_t first = 0, in_place = 0;
            while (plan->steps[first].together == 0) first++;
            assert_int_equal(plan->steps[first].together, together[way]);
            for (uint32_t s = 0; s < plan->step_count; s++)
                in_place += plan->buffers[plan->steps[s].output.buffer].kind == MIA__BUFFER_LEAF;
            assert_int_equal(in_place, 2);
            assert_int_equal(plan->steps[steps[way] - 1].op, MIA_OP_attention);
            if (way != 1) {
                bool found = false;
                for (uint32_t s = 0; s < plan->step_count; s++)
                    if (plan->steps[s].core_count == 1) expect_cores(plan, s, 1, 1, 0), found = true;
                assert_true(found);
            } else {
                assert_int_equal(plan->steps[key[way]].op, MIA_OP_update);
            }
            mia__plan_free(plan);
            rules = fusing(ALL & ~(uint32_t)MIA__FUSE_UPDATE_ROPE); /* without the rule: as recorded */
            plan = make_checked(&t, &rules);
            assert_int_equal(plan->step_count, way == 2 ? 6 : 5);
            for (uint32_t s = 0; s < plan->step_count; s++) assert_int_equal(plan->steps[s].together, 0);
            mia__plan_free(plan);
        }
}

/* --- rules ------------------------------------------------------------------------------------ */

static bool no_epilogues(const void *context, const mia__plan *plan, const mia__step *step) {
    (void)context;
    const mia__instruction *core = &plan->instructions[step->first_instruction + step->core];
    assert_true(step->first_instruction + step->instruction_count <= plan->instruction_count);
    assert_int_equal(core->op, MIA_OP_softmax);
    return step->core + step->core_count == step->instruction_count;
}

/* A backend may say no to a step, and gets another to look at. */
static void test_veto(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = leaf(&t, MIA_SHAPE(6, 4));
    uint32_t y = tape_unary(&t, MIA_OP_softmax, tape_unary(&t, MIA_OP_exp, x, 0), 0);
    (void)tape_unary(&t, MIA_OP_neg, y, OUTLIVES);
    mia__plan_rules rules = fusing(ALL);
    rules.fuses = no_epilogues;
    mia__plan *plan = make_checked(&t, &rules);
    assert_int_equal(plan->step_count, 2);
    expect_cores(plan, 0, 1, 1, 0);
    mia__plan_free(plan);
}

/* Too many inputs, or instructions: the core keeps its own. */
static void test_limits(void **state) {
    (void)state;
    for (uint32_t most = 1; most <= MIA__MAX_OPERANDS; most++) {
        test_tape t;
        tape_clear(&t);
        uint32_t x = leaf(&t, MIA_SHAPE(6, 3)), w = weights(&t, 6, 8), b = leaf(&t, MIA_SHAPE(8, 3));
        (void)tape_binary(&t, MIA_OP_add, matmul(&t, w, x, 0), b, OUTLIVES);
        mia__plan_rules rules = fusing(ALL);
        rules.fused_inputs = most;
        mia__plan *plan = make_checked(&t, &rules);
        assert_int_equal(plan->step_count, most < 3 ? 2 : 1);
        mia__plan_free(plan);
    }
    test_tape t;
    tape_clear(&t);
    uint32_t y = leaf(&t, MIA_SHAPE(3));
    for (uint32_t i = 0; i < 20; i++) y = tape_unary(&t, MIA_OP_neg, y, 0);
    (void)tape_unary(&t, MIA_OP_softmax, y, OUTLIVES);
    mia__plan *plan = plan_of(&t, ALL);
    assert_int_equal(plan->step_count, 3);
    assert_int_equal(plan->instruction_count, 20);
    mia__plan_free(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reductions),      cmocka_unit_test(test_norm_and_residual),
        cmocka_unit_test(test_in_place),        cmocka_unit_test(test_what_splits),
        cmocka_unit_test(test_broadcasts),      cmocka_unit_test(test_feed_forward),
        cmocka_unit_test(test_no_siblings),     cmocka_unit_test(test_together),
        cmocka_unit_test(test_norms_that_stay), cmocka_unit_test(test_dependent_matmuls),
        cmocka_unit_test(test_keys_and_values), cmocka_unit_test(test_veto),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
