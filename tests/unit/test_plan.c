/* Plans of tapes made by hand: what is reused, copied, kept, prepared, and where temporaries go. Every plan
 * is also run on tags (plan_check.h). */
#include "plan_check.h"

static const mia__plan_rules plain = {.alignment = 64};
enum { OUTLIVES = MIA__ENTRY_OUTLIVES, OVERWRITABLE = MIA__LEAF_OVERWRITABLE, CONSTANT = MIA__LEAF_CONSTANT };

static mia__buffer_kind kind_of_output(const mia__plan *plan, uint32_t step) {
    return plan->buffers[plan->steps[step].output.buffer].kind;
}

static void test_chain_in_place(void **state) {
    (void)state;
    for (int overwritable = 0; overwritable < 2; overwritable++) {
        test_tape t;
        tape_clear(&t);
        uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(8), overwritable ? OVERWRITABLE : OUTLIVES);
        uint32_t y = tape_unary(&t, MIA_OP_neg, x, 0);
        uint32_t z = tape_unary(&t, MIA_OP_exp, y, 0);
        (void)tape_binary(&t, MIA_OP_mul, z, z, OUTLIVES);
        mia__plan *plan = make_checked(&t, &plain);
        assert_int_equal(plan->step_count, 3);
        assert_int_equal(plan->buffer_count, overwritable ? 1 : 2);
        assert_int_equal(kind_of_output(plan, 2), overwritable ? MIA__BUFFER_LEAF : MIA__BUFFER_OUTPUT);
        assert_int_equal(plan->arena_bytes, 0);
        assert_int_equal(plan->output_bytes, overwritable ? 0 : 32);
        mia__plan_free(plan);
    }
}

/* y = x + u, z = x + v: the first must leave x alone, the last may take it. */
static void test_last_reader_overwrites(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(4), OVERWRITABLE);
    uint32_t u = tape_leaf(&t, MIA_f32, MIA_SHAPE(4), CONSTANT);
    (void)tape_binary(&t, MIA_OP_add, x, u, OUTLIVES);
    (void)tape_binary(&t, MIA_OP_add, u, x, OUTLIVES);
    mia__plan *plan = make_checked(&t, &plain);
    assert_int_equal(kind_of_output(plan, 0), MIA__BUFFER_OUTPUT);
    assert_int_equal(kind_of_output(plan, 1), MIA__BUFFER_LEAF);
    assert_int_equal(plan->steps[1].output.buffer, plan->steps[1].inputs[1].buffer);
    mia__plan_free(plan);
}

/* What forbids reuse: another leaf on the same memory that is still read, a result that looks at it, a
 * smaller operand, a reversed one beside it. */
static void test_reuse_refused(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        test_tape t;
        tape_clear(&t);
        uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(4), OVERWRITABLE), other = x;
        mia__view reversed = t.entries[x].view;
        reversed.offset = 3;
        reversed.stride[0] = -1;
        if (way == 0) {
            other = tape_leaf(&t, MIA_f32, MIA_SHAPE(4), OVERWRITABLE);
            t.entries[other].alias = x;
            t.entries[other].view = reversed;
        }
        uint32_t big = tape_leaf(&t, MIA_f32, MIA_SHAPE(4, 2), CONSTANT), made = 0;
        if (way == 1) (void)tape_view(&t, MIA_OP_slice, x, MIA_f32, &reversed, OUTLIVES);
        if (way == 3) other = tape_view(&t, MIA_OP_slice, x, MIA_f32, &reversed, 0);
        if (way == 2)
            made = tape_binary(&t, MIA_OP_add, x, big, OUTLIVES);
        else
            made = way == 3 ? tape_binary(&t, MIA_OP_add, x, other, OUTLIVES)
                            : tape_unary(&t, MIA_OP_neg, x, OUTLIVES);
        if (way == 0) (void)tape_unary(&t, MIA_OP_neg, other, OUTLIVES);
        assert_true(made != UINT32_MAX);
        mia__plan *plan = make_checked(&t, &plain);
        for (uint32_t s = 0; s < plan->step_count; s++)
            assert_int_equal(kind_of_output(plan, s), MIA__BUFFER_OUTPUT);
        mia__plan_free(plan);
    }
}

static void test_update(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) { /* in place; x is kept; the part looks at x */
        test_tape t;
        tape_clear(&t);
        uint32_t x = tape_leaf(&t, MIA_f32x4, MIA_SHAPE(2, 8), way == 1 ? OUTLIVES : OVERWRITABLE);
        uint32_t part = tape_leaf(&t, MIA_f32x4, MIA_SHAPE(2, 1), OVERWRITABLE);
        uint32_t start = tape_leaf(&t, MIA_i32, MIA_SCALAR, OVERWRITABLE);
        mia__view first = t.entries[x].view;
        first.extent[1] = 1;
        if (way == 2) part = tape_view(&t, MIA_OP_slice, x, MIA_f32x4, &first, 0);
        const uint32_t operands[3] = {x, part, start};
        mia__attributes mode = {{1}, {0}};
        assert_true(tape_add(&t, MIA_OP_update, operands, 3, mode, OUTLIVES) != UINT32_MAX);
        mia__plan *plan = make_checked(&t, &plain);
        assert_int_equal(plan->step_count, 1);
        assert_int_equal(plan->steps[0].attributes.i[0], 2); /* behind the inner mode of 4 */
        assert_int_equal(kind_of_output(plan, 0), way == 0 ? MIA__BUFFER_LEAF : MIA__BUFFER_OUTPUT);
        mia__plan_free(plan);
    }
}

/* A packed operand, transposed: spelt out as f32 with an inner mode; the element-wise step of compact ones as
 * one run. */
static void test_packed_types(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32x4, MIA_SHAPE(3, 5), OUTLIVES);
    const mia_shape order = MIA_SHAPE(1, 0);
    mia__view turned;
    assert_int_equal(mia__view_permute(MIA_f32x4, &t.entries[x].view, &order, &turned, NULL), MIA_OK);
    uint32_t y = tape_view(&t, MIA_OP_permute, x, MIA_f32x4, &turned, 0);
    (void)tape_unary(&t, MIA_OP_neg, y, OUTLIVES);
    (void)tape_unary(&t, MIA_OP_neg, x, OUTLIVES);
    mia__plan *plan = make_checked(&t, &plain);
    const mia__operand *in = &plan->steps[0].inputs[0];
    assert_int_equal(in->dtype, MIA_f32);
    assert_int_equal(in->view.ndim, 3);
    const int64_t extent[] = {4, 5, 3}, stride[] = {1, 12, 4};
    assert_memory_equal(in->view.extent, extent, sizeof extent);
    assert_memory_equal(in->view.stride, stride, sizeof stride);
    assert_int_equal(plan->steps[1].inputs[0].view.ndim, 1);
    assert_int_equal(plan->steps[1].inputs[0].view.extent[0], 60);
    mia__plan_free(plan);
}

static bool only_compact(const void *context, const mia__step *step, uint32_t input) {
    (void)context;
    return mia__view_is_compact(step->inputs[input].dtype, &step->inputs[input].view);
}

static void test_copies_where_refused(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    mia__plan_rules rules = {.alignment = 32, .takes = only_compact};
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(6, 4), OUTLIVES);
    uint32_t row = tape_leaf(&t, MIA_f32, MIA_SHAPE(6), OUTLIVES);
    mia__view half;
    assert_int_equal(mia__view_slice(MIA_f32, &t.entries[x].view, 0, 1, 3, 1, &half, NULL), MIA_OK);
    uint32_t y = tape_view(&t, MIA_OP_slice, x, MIA_f32, &half, 0);
    (void)tape_unary(&t, MIA_OP_softmax, y, OUTLIVES);
    (void)tape_binary(&t, MIA_OP_add, x, row, OUTLIVES); /* the row is repeated: copied out in full */
    mia__plan *plan = make_checked(&t, &rules);
    assert_int_equal(plan->step_count, 4);
    assert_int_equal(plan->steps[0].op, MIA_OP_copy);
    assert_int_equal(plan->steps[2].op, MIA_OP_copy);
    assert_int_equal(plan->steps[2].output.view.extent[0], 6);
    assert_int_equal(plan->steps[2].output.view.extent[1], 4);
    /* the repeated row's copy is written over by the sum, and so becomes its result */
    assert_int_equal(plan->steps[3].output.buffer, plan->steps[2].output.buffer);
    assert_int_equal(plan->arena_bytes, 64); /* 12 numbers, by 32 */
    mia__plan_free(plan);
}

static mia__form form_of_matmul(const void *context, const mia__plan *plan, const mia__step *step,
                                uint32_t input) {
    (void)context, (void)plan;
    if (step->op != MIA_OP_matmul || input != 0) return (mia__form){0, 0};
    return (mia__form){1, 16 * 4 * (size_t)step->inputs[0].view.extent[0]};
}

/* A form goes by its key and the type and shape that the constant is used with; of constants alone, and whole
 * ones. */
static void test_forms(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    mia__plan_rules rules = {.alignment = 64, .form = form_of_matmul};
    uint32_t w = tape_leaf(&t, MIA_f32, MIA_SHAPE(8, 4), CONSTANT | OUTLIVES);
    uint32_t plain_w = tape_leaf(&t, MIA_f32, MIA_SHAPE(8, 4), OUTLIVES);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(8), OUTLIVES),
             y = tape_leaf(&t, MIA_f32, MIA_SHAPE(8), OUTLIVES),
             x4 = tape_leaf(&t, MIA_f32, MIA_SHAPE(4), OUTLIVES);
    const mia_shape other = MIA_SHAPE(4, 8);
    mia__view turned, part;
    bool copied = false;
    assert_int_equal(mia__view_reshape(MIA_f32, &t.entries[w].view, &other, &turned, &copied, NULL), MIA_OK);
    assert_int_equal(mia__view_slice(MIA_f32, &t.entries[w].view, 1, 0, 2, 1, &part, NULL), MIA_OK);
    uint32_t w2 = tape_view(&t, MIA_OP_reshape, w, MIA_f32, &turned, 0);
    uint32_t w3 = tape_view(&t, MIA_OP_slice, w, MIA_f32, &part, 0);
    (void)tape_binary(&t, MIA_OP_matmul, w, x, OUTLIVES);
    (void)tape_binary(&t, MIA_OP_matmul, w, y, OUTLIVES);
    (void)tape_binary(&t, MIA_OP_matmul, w2, x4, OUTLIVES);
    (void)tape_binary(&t, MIA_OP_matmul, w3, x, OUTLIVES);
    (void)tape_binary(&t, MIA_OP_matmul, plain_w, x, OUTLIVES);
    mia__plan *plan = make_checked(&t, &rules);
    const mia__plan_buffer *used[5];
    for (uint32_t s = 0; s < 5; s++) used[s] = &plan->buffers[plan->steps[s].inputs[0].buffer];
    assert_ptr_equal(used[0], used[1]);
    for (int s = 0; s < 3; s++) assert_int_equal(used[s]->kind, MIA__BUFFER_FORM);
    assert_ptr_not_equal(used[0], used[2]);
    assert_int_equal(used[2]->shape.extent[0], 4);
    assert_int_equal(used[3]->kind, MIA__BUFFER_LEAF);
    assert_int_equal(used[4]->kind, MIA__BUFFER_LEAF);
    mia__plan_free(plan);
}

static size_t scratch_of_softmax(const void *context, const mia__plan *plan, const mia__step *step) {
    (void)context, (void)plan;
    return step->op == MIA_OP_softmax ? 100 : 0;
}

/* Temporaries that are never there together share their place. */
static void test_arena(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    mia__plan_rules rules = {.alignment = 64, .scratch = scratch_of_softmax};
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(64), OUTLIVES);
    for (int i = 0; i < 10; i++) x = tape_unary(&t, MIA_OP_softmax, x, i == 9 ? OUTLIVES : 0);
    mia__plan *plan = make_checked(&t, &rules);
    assert_int_equal(plan->step_count, 10);
    assert_int_equal(plan->arena_bytes, 2 * 256 + 128); /* what is read, what is written, 100 of scratch */
    assert_int_equal(plan->output_count, 1);
    mia__plan_free(plan);
}

/* Values without elements take no step and no memory, also where something is made of them. */
static void test_empty_values(void **state) {
    (void)state;
    test_tape t;
    tape_clear(&t);
    uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(0, 3), OUTLIVES);
    uint32_t y = tape_unary(&t, MIA_OP_neg, x, OUTLIVES);
    mia__attributes first = {{1}, {0}};
    (void)tape_add(&t, MIA_OP_sum, &y, 1, first, OUTLIVES); /* zeros [1, 3] */
    mia__plan *plan = make_checked(&t, &plain);
    assert_int_equal(plan->step_count, 1);
    assert_int_equal(plan->results[0].buffer, MIA__NO_BUFFER);
    assert_int_equal(plan->output_bytes, 12);
    assert_int_equal(plan->arena_bytes, 0);
    assert_int_equal(plan->buffers[plan->steps[0].inputs[0].buffer].bytes, 0);
    mia__plan_free(plan);
}

static void test_malformed_tapes(void **state) {
    (void)state;
    for (int way = 0; way < 6; way++) {
        test_tape t;
        tape_clear(&t);
        uint32_t x = tape_leaf(&t, MIA_f32, MIA_SHAPE(4), 0);
        uint32_t y = tape_unary(&t, MIA_OP_neg, x, OUTLIVES);
        switch (way) {
        case 0: t.entries[y].operands[0] = y; break;
        case 1: t.entries[y].op = (mia_op)250; break;
        case 2: t.entries[y].operand_count = 2; break;
        case 3: t.entries[x].alias = y; break;
        case 4: t.entries[y].dtype = MIA_NONE; break;
        default: t.tape.leaf_count = 3; break;
        }
        mia__plan *plan = NULL;
        mia_error error = {0};
        assert_int_equal(mia__plan_make(&t.tape, &plain, NULL, &plan, &error), MIA_ERROR_INTERNAL);
        assert_string_equal(error.message, "a malformed tape cannot be planned");
        assert_null(plan);
    }
}

/* --- time ------------------------------------------------------------------------------------- */

static double seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Seconds to plan a chain (way 0), a fan that is read again at the end (1), or as many constants in forms
 * (2). */
static double time_to_plan(uint32_t count, int way) {
    mia__plan_rules rules = {.alignment = 64, .form = form_of_matmul, .scratch = scratch_of_softmax};
    mia__entry *entries = calloc(2 * (size_t)count + 1, sizeof *entries);
    assert_non_null(entries);
    mia__tape tape = {entries, 0, way == 2 ? count + 1 : 1};
    mia_shape shape = MIA_SHAPE(8, 8);
    mia__view view = mia__view_compact(MIA_f32, &shape);
    for (uint32_t i = 0; i < tape.leaf_count; i++)
        entries[tape.count++] = (mia__entry){.dtype = MIA_f32,
                                             .view = view,
                                             .bytes = 256,
                                             .alias = i,
                                             .flags = MIA__ENTRY_OUTLIVES | (i > 0 ? CONSTANT : 0)};
    for (uint32_t i = 0; i < count; i++) {
        mia__entry *entry = &entries[tape.count];
        *entry = (mia__entry){.op = MIA_OP_softmax, .dtype = MIA_f32, .view = view, .operand_count = 1};
        entry->operands[0] = way == 1 && i < count / 2 ? 0 : tape.count - 1;
        entry->attributes.i[0] = i; /* softmax has none; here it makes each another */
        if (way == 1 && i >= count / 2) {
            entry->op = MIA_OP_add;
            entry->operand_count = 2;
            entry->operands[1] = 1 + i - count / 2;
        }
        if (way == 2) {
            entry->op = MIA_OP_matmul;
            entry->operand_count = 2;
            entry->operands[0] = 1 + i;
            entry->operands[1] = i == 0 ? 0 : tape.count - 1;
        }
        tape.count++;
    }
    entries[tape.count - 1].flags = OUTLIVES;
    mia__plan *plan = NULL;
    double began = seconds();
    assert_int_equal(mia__plan_make(&tape, &rules, NULL, &plan, NULL), MIA_OK);
    double took = seconds() - began;
    assert_int_equal(plan->step_count, count);
    mia__plan_free(plan);
    free(entries);
    return took;
}

static void test_time(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        double took = time_to_plan(10000, way);
        printf("10,000 operations, way %d: %.1f ms\n", way, 1e3 * took);
        assert_true(took < 5); /* seconds, also under sanitizers */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain_in_place), cmocka_unit_test(test_last_reader_overwrites),
        cmocka_unit_test(test_reuse_refused),  cmocka_unit_test(test_update),
        cmocka_unit_test(test_packed_types),   cmocka_unit_test(test_copies_where_refused),
        cmocka_unit_test(test_forms),          cmocka_unit_test(test_arena),
        cmocka_unit_test(test_empty_values),   cmocka_unit_test(test_malformed_tapes),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
