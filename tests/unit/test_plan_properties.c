/* Plans of random tapes under random rules, checked by running them on tags (plan_check.h): views, aliases,
 * packed and block types, values without elements, updates, results that outlive, prepared forms, scratch. */
#include "plan/bindings.h"
#include "plan_check.h"

static uint64_t seed, now; /* of the test; of the tape being made */

static int64_t below(int64_t limit) {
    return test_below(&now, limit);
}

/* --- rules ------------------------------------------------------------------------------------ */

/* Answers that depend on the step alone, and differ from tape to tape. */
typedef struct answers {
    uint64_t salt;
} answers;

static uint64_t mix(const void *context, const mia__step *step, uint32_t input) {
    uint64_t state = ((const answers *)context)->salt ^ (uint64_t)step->op << 8 ^ input;
    return test_random(&state);
}

static size_t scratch(const void *context, const mia__plan *plan, const mia__step *step) {
    (void)plan;
    uint64_t choice = mix(context, step, 7);
    return choice % 3 == 0 ? (size_t)(choice >> 8) % 200 : 0;
}

static bool takes(const void *context, const mia__step *step, uint32_t input) {
    const mia__operand *operand = &step->inputs[input];
    return mix(context, step, input) % 3 != 0 || mia__view_is_compact(operand->dtype, &operand->view);
}

static mia__form form(const void *context, const mia__plan *plan, const mia__step *step, uint32_t input) {
    (void)plan;
    uint64_t choice = mix(context, step, input + 10);
    if (choice % 2 == 0) return (mia__form){0, 0};
    return (mia__form){1 + (uint32_t)(choice >> 8) % 2,
                       64 + (size_t)mia__view_count(&step->inputs[input].view)};
}

static bool fuses(const void *context, const mia__plan *plan, const mia__step *step) {
    (void)plan;
    return mix(context, step, 20 + step->core + step->instruction_count) % 3 > 0;
}

/* Whether steps of two kinds are joined. */
static bool joins(const void *context, const mia__plan *plan, const mia__step *first,
                  const mia__step *other) {
    (void)plan;
    return mix(context, first, 30) % 3 > 0 && mix(context, other, 30) % 3 > 0;
}

static mia__plan_rules random_rules(const answers *context) {
    mia__plan_rules rules = {.context = context, .alignment = (size_t)1 << below(9)};
    if (below(2) == 0) rules.scratch = scratch;
    if (below(2) == 0) rules.takes = takes;
    if (below(2) == 0) rules.form = form;
    if (below(2) == 0) rules.fused_inputs = 1 + (uint32_t)below(MIA__MAX_OPERANDS);
    if (below(3) > 0) rules.fusions = below(2) == 0 ? 511 : (uint32_t)below(512);
    if (below(2) == 0) rules.joins = joins;
    if (below(4) == 0) rules.fuses = fuses;
    return rules;
}

/* --- tapes ------------------------------------------------------------------------------------ */

static const mia_dtype types[] = {MIA_f32,   MIA_f32,  MIA_f32,  MIA_f16,  MIA_i32,  MIA_f32x4,
                                  MIA_f16x4, MIA_u8x4, MIA_u4x8, MIA_q8_0, MIA_bool8};

static mia_shape random_shape(mia_dtype dtype) {
    mia_shape shape = {.ndim = (uint32_t)below(4)};
    for (uint32_t m = 0; m < shape.ndim; m++) shape.extent[m] = below(30) == 0 ? 0 : 1 + below(3);
    if (dtype == MIA_q8_0 && shape.ndim == 0) shape = MIA_SHAPE(1);
    if (dtype == MIA_q8_0) shape.extent[0] *= 32;
    return shape;
}

static bool slice_of(const test_tape *t, uint32_t of, mia__view *view) {
    const mia__entry *x = &t->entries[of];
    if (x->view.ndim == 0) return false;
    uint32_t mode = (uint32_t)below(x->view.ndim);
    int64_t extent = x->view.extent[mode], begin = below(extent + 1), count = below(extent - begin + 1),
            step = 1;
    if (count > 0 && below(3) == 0) begin += count - 1, step = -1;
    return mia__view_slice(x->dtype, &x->view, mode, begin, count, step, view, NULL) == MIA_OK;
}

static void add_leaf(test_tape *t) {
    if (t->tape.count > 0 && below(4) == 0) { /* another look at the memory of one that is there */
        uint32_t of = (uint32_t)below(t->tape.count);
        mia__entry entry = t->entries[of];
        if (!slice_of(t, of, &entry.view)) return;
        t->entries[t->tape.count++] = entry;
        t->tape.leaf_count++;
        return;
    }
    mia_dtype dtype = types[below(sizeof types / sizeof types[0])];
    uint32_t leaf = tape_leaf(t, dtype, random_shape(dtype), below(3) == 0 ? MIA__LEAF_CONSTANT : 0);
    if (below(6) == 0 && dtype != MIA_q8_0) { /* one number, repeated */
        mia_shape one = {0};
        mia__view single = mia__view_compact(dtype, &one);
        memset(t->entries[leaf].view.stride, 0, sizeof single.stride);
        t->entries[leaf].bytes = mia__view_bytes(dtype, &single);
    }
}

/* Which leaves may be overwritten, and which entries outlive: an alias of an outliving leaf may not. */
static void add_flags(test_tape *t) {
    bool held[TAPE_MOST] = {false};
    for (uint32_t i = 0; i < t->tape.leaf_count; i++)
        if (below(3) == 0) {
            t->entries[i].flags |= MIA__ENTRY_OUTLIVES;
            held[t->entries[i].alias] = true;
        }
    for (uint32_t i = 0; i < t->tape.leaf_count; i++) {
        uint32_t alias = t->entries[i].alias;
        bool constant = (t->entries[alias].flags & MIA__LEAF_CONSTANT) != 0;
        if (!constant && !held[alias]) t->entries[i].flags |= MIA__LEAF_OVERWRITABLE;
    }
    bool read[TAPE_MOST] = {false};
    for (uint32_t i = t->tape.leaf_count; i < t->tape.count; i++)
        for (uint32_t k = 0; k < t->entries[i].operand_count; k++) read[t->entries[i].operands[k]] = true;
    for (uint32_t i = t->tape.leaf_count; i < t->tape.count;
         i++) /* few of those that nothing reads are dead */
        if (below(read[i] ? 6 : 10) < (read[i] ? 1 : 9)) t->entries[i].flags |= MIA__ENTRY_OUTLIVES;
}

static bool add_view(test_tape *t) {
    uint32_t of = (uint32_t)below(t->tape.count);
    const mia__entry *x = &t->entries[of];
    mia__view view = {0};
    mia_shape shape = mia__view_shape(&x->view);
    mia_dtype dtype = x->dtype;
    mia_op op = MIA_OP_NONE;
    bool copied = false, good = false;
    switch (below(5)) {
    case 0: op = MIA_OP_slice, good = slice_of(t, of, &view); break;
    case 1: {
        op = MIA_OP_permute;
        for (uint32_t m = 0; m < shape.ndim; m++) shape.extent[m] = m;
        for (uint32_t m = shape.ndim; m > 1; m--) {
            uint32_t with = (uint32_t)below(m);
            int64_t other = shape.extent[with];
            shape.extent[with] = shape.extent[m - 1];
            shape.extent[m - 1] = other;
        }
        good = mia__view_permute(dtype, &x->view, &shape, &view, NULL) == MIA_OK;
        break;
    }
    case 2:
        op = MIA_OP_broadcast;
        for (uint32_t m = 0; m < shape.ndim; m++)
            if (shape.extent[m] == 1) shape.extent[m] = 1 + below(3);
        if (shape.ndim < 3 && below(2) == 0) shape.extent[shape.ndim++] = 1 + below(2);
        good = mia__view_broadcast(dtype, &x->view, &shape, &view, NULL) == MIA_OK;
        break;
    case 3: {
        op = MIA_OP_reshape;
        int64_t count = mia__view_count(&x->view);
        shape = dtype == MIA_q8_0 || below(2) == 0 ? MIA_SHAPE(count) : MIA_SHAPE(1, count, 1);
        good = mia__view_reshape(dtype, &x->view, &shape, &view, &copied, NULL) == MIA_OK && !copied;
        break;
    }
    default:
        op = MIA_OP_cast, dtype = types[below(sizeof types / sizeof types[0])];
        good = mia__view_cast(x->dtype, &x->view, dtype, &view, &copied, NULL) == MIA_OK && !copied;
    }
    if (good) tape_view(t, op, of, dtype, &view, 0);
    return good;
}

static bool add_operation(test_tape *t) {
    static const struct {
        mia_op op;
        uint32_t operands;
    } ops[] = {{MIA_OP_add, 2},      {MIA_OP_mul, 2},      {MIA_OP_add, 2},    {MIA_OP_neg, 1},
               {MIA_OP_exp, 1},      {MIA_OP_relu, 1},     {MIA_OP_less, 2},   {MIA_OP_where, 3},
               {MIA_OP_copy, 1},     {MIA_OP_convert, 1},  {MIA_OP_concat, 2}, {MIA_OP_pad, 1},
               {MIA_OP_update, 3},   {MIA_OP_update, 3},   {MIA_OP_gather, 2}, {MIA_OP_sum, 1},
               {MIA_OP_softmax, 1},  {MIA_OP_rms_norm, 2}, {MIA_OP_matmul, 2}, {MIA_OP_matmul, 2},
               {MIA_OP_embedding, 2}};
    size_t which = (size_t)below(sizeof ops / sizeof ops[0]);
    uint32_t operands[3];
    for (uint32_t i = 0; i < ops[which].operands; i++)
        operands[i] = i > 0 && below(3) == 0 ? operands[0] : (uint32_t)below(t->tape.count);
    const mia__entry *x = &t->entries[operands[0]];
    mia__attributes attributes = {{0}, {0}};
    switch (ops[which].op) {
    case MIA_OP_convert: attributes.i[0] = (int64_t)types[below(sizeof types / sizeof types[0])]; break;
    case MIA_OP_concat:
    case MIA_OP_update: attributes.i[0] = x->view.ndim > 0 ? below(x->view.ndim) : 0; break;
    case MIA_OP_pad:
        attributes.i[0] = x->view.ndim > 0 ? below(x->view.ndim) : 0;
        attributes.i[1] = below(2);
        attributes.i[2] = below(2);
        break;
    case MIA_OP_sum: attributes.i[0] = below(8); break;
    default: break;
    }
    uint32_t made = tape_add(t, ops[which].op, operands, ops[which].operands, attributes, 0);
    if (made == UINT32_MAX) return false;
    if (mia__view_count(&t->entries[made].view) <= 512) return true;
    t->tape.count--;
    return false;
}

/* An entry that is there, once more: both are one value. */
static void repeat_entry(test_tape *t) {
    uint32_t of = (uint32_t)below(t->tape.count);
    if (of < t->tape.leaf_count) return;
    t->entries[t->tape.count] = t->entries[of];
    t->entries[t->tape.count].alias = t->tape.count;
    t->tape.count++;
}

/* What models are made of: matmuls of one x, which may be normalised first, and what becomes of their results. */
static void add_motif(test_tape *t) {
    uint32_t leaves = t->tape.leaf_count, weights[3], w_count = 0, x = UINT32_MAX;
    for (uint32_t tries = 0; tries < 20 && x == UINT32_MAX; tries++) {
        uint32_t i = (uint32_t)below(t->tape.count);
        if (t->entries[i].dtype == MIA_f32 && t->entries[i].view.ndim == 2) x = i;
    }
    if (x == UINT32_MAX || t->tape.count + 12 > TAPE_MOST) return;
    int64_t k = t->entries[x].view.extent[0];
    for (uint32_t i = leaves; i-- > 0 && w_count < 3;) /* what it may be multiplied by */
        if (t->entries[i].dtype == MIA_f32 && t->entries[i].view.ndim == 2 &&
            t->entries[i].view.extent[0] == k)
            weights[w_count++] = i;
    if (w_count == 0) return;
    if (below(2) == 0) x = tape_unary(t, MIA_OP_exp, x, 0);
    if (below(2) == 0) {
        for (uint32_t i = 0; i < leaves; i++) {
            const mia__entry *e = &t->entries[i];
            if (e->dtype != MIA_f32 || e->view.ndim != 1 || e->view.extent[0] != k) continue;
            const uint32_t normed[2] = {x, i};
            x = tape_add(t, MIA_OP_rms_norm, normed, 2, (mia__attributes){{0}, {1e-5}}, 0);
            break;
        }
    }
    uint32_t made[3], count = 1 + (uint32_t)below(3);
    for (uint32_t i = 0; i < count; i++) {
        made[i] = tape_binary(t, MIA_OP_matmul, weights[below(w_count)], x, 0);
        if (below(3) == 0) made[i] = tape_unary(t, MIA_OP_relu, made[i], 0);
    }
    if (count > 1) (void)tape_binary(t, MIA_OP_mul, made[0], made[1], 0);
}

/* Keys and values on their way into caches: leaves x, positions, frequencies, a start, caches. */
enum { TURN_X, TURN_POSITIONS, TURN_FREQUENCIES, TURN_START, TURN_CACHE, TURN_LEAVES = TURN_CACHE + 2 };

static void add_turn_leaves(test_tape *t) {
    int64_t d = 2 + below(3), heads = 1 + below(3), rows = 1 + below(3);
    (void)tape_leaf(t, MIA_f32, MIA_SHAPE(d, heads, rows), 0);
    (void)tape_leaf(t, MIA_i32, MIA_SHAPE(rows), 0);
    (void)tape_leaf(t, MIA_f32, MIA_SHAPE(1), below(2) == 0 ? MIA__LEAF_CONSTANT : 0);
    (void)tape_leaf(t, MIA_i32, (mia_shape){0}, 0);
    for (int i = 0; i < 2; i++) (void)tape_leaf(t, MIA_f32, MIA_SHAPE(d, rows + below(3), heads), 0);
}

static void add_turn(test_tape *t) {
    const uint32_t turned[] = {TURN_X, TURN_POSITIONS, TURN_FREQUENCIES};
    if (t->tape.count + 6 > TAPE_MOST) return;
    uint32_t x = turned[0];
    if (below(2) == 0) x = tape_unary(t, MIA_OP_exp, x, 0);
    const uint32_t operands[] = {x, turned[1], turned[2]};
    if (below(5) > 0) x = tape_add(t, MIA_OP_rope, operands, 3, (mia__attributes){{below(2)}, {1}}, 0);
    mia__view view;
    mia_shape modes = below(4) > 0 ? MIA_SHAPE(0, 2, 1) : MIA_SHAPE(2, 0, 1);
    assert_int_equal(mia__view_permute(MIA_f32, &t->entries[x].view, &modes, &view, NULL), MIA_OK);
    uint32_t cache = TURN_CACHE + (uint32_t)below(2),
             part = tape_view(t, MIA_OP_permute, x, MIA_f32, &view, 0);
    const uint32_t into[] = {cache, part, TURN_START};
    (void)tape_add(t, MIA_OP_update, into, 3, (mia__attributes){{1}, {0}}, 0);
    if (below(6) == 0) (void)tape_unary(t, MIA_OP_exp, x, 0);
    if (below(6) == 0) (void)tape_unary(t, MIA_OP_exp, cache, 0);
}

static void random_tape(test_tape *t) {
    tape_clear(t);
    int64_t leaves = 1 + below(8), operations = 1 + below(25);
    bool model = below(3) == 0, turns = !model && below(3) == 0;
    if (turns) add_turn_leaves(t);
    if (model) { /* x, weights of a norm and of matmuls */
        int64_t k = 1 + below(4), n = 1 + below(4);
        (void)tape_leaf(t, MIA_f32, MIA_SHAPE(k, 1 + below(3)), 0);
        (void)tape_leaf(t, MIA_f32, MIA_SHAPE(k), below(2) == 0 ? MIA__LEAF_CONSTANT : 0);
        for (int i = 0; i < 3; i++)
            (void)tape_leaf(t, MIA_f32, MIA_SHAPE(k, n), below(2) == 0 ? MIA__LEAF_CONSTANT : 0);
    }
    while (t->tape.count < (uint32_t)leaves) add_leaf(t);
    leaves = t->tape.count;
    for (int64_t tries = 0; tries < 40 * operations && t->tape.count < (uint32_t)(leaves + operations);
         tries++) {
        if (below(12) == 0) repeat_entry(t);
        if (model && below(8) == 0) add_motif(t);
        if (turns && below(8) == 0) add_turn(t);
        if (t->tape.count < (uint32_t)(leaves + operations))
            (void)(below(4) == 0 ? add_view(t) : add_operation(t));
    }
    add_flags(t);
}

/* --- bindings --------------------------------------------------------------------------------- */

/* A buffer of the GPU, and the bytes of it that a binding shows. */
typedef struct bound {
    int64_t gpu; /* -1: the arena */
    size_t begin, end;
} bound;

static bound where_bound(const mia__plan *plan, uint32_t buffer) {
    const mia__plan_buffer *b = &plan->buffers[buffer];
    bound is = {.gpu = buffer, .end = b->bytes};
    if (b->kind == MIA__BUFFER_PART) {
        is = where_bound(plan, b->index);
        is.begin += b->offset;
        is.end = is.begin + b->bytes;
    } else if (b->kind == MIA__BUFFER_ARENA) {
        is = (bound){-1, b->offset, b->offset + b->bytes};
    }
    return is;
}

/* WebGPU's rule, said once more: no buffer of the GPU is bound both ways, what is bound to write does not overlap, and
 * nothing is bound to write without need. Returns how many are that are only read. */
static long check_bindings(const mia__plan *plan, const mia__step *step, size_t limit) {
    mia__plan_binding bindings[MIA__MOST_STEP_BINDINGS];
    uint32_t count = mia__step_bindings(plan, step, bindings);
    long shared = 0;
    assert_true(count > 0);
    if (!mia__step_writes_part(plan, step)) assert_int_equal(step->output.view.offset, 0);
    for (uint32_t i = 0; i < count; i++) {
        bound x = where_bound(plan, bindings[i].buffer);
        bool output = bindings[i].buffer == step->output.buffer || bindings[i].buffer == step->scratch;
        bool needed = false;
        assert_true(limit == 0 || x.end - x.begin <= limit);
        assert_int_equal(bindings[i].written, output);
        for (uint32_t k = 0; k < count; k++) {
            bound y = where_bound(plan, bindings[k].buffer);
            if (x.gpu != y.gpu) continue;
            needed = needed || bindings[k].written;
            assert_int_equal(bindings[i].read_write, bindings[k].read_write);
            assert_true(i == k || bindings[i].buffer != bindings[k].buffer);
            assert_true(i == k || !bindings[i].read_write || x.end <= y.begin || y.end <= x.begin);
        }
        assert_int_equal(bindings[i].read_write, needed);
        shared += bindings[i].read_write && !bindings[i].written;
    }
    return shared;
}

/* Every step that names a buffer, or a part of it, is within its lifetime. */
static void check_lifetimes(const mia__plan *plan) {
    for (uint32_t s = 0; s < plan->step_count; s++)
        for (uint32_t i = 0; i <= plan->steps[s].input_count; i++) {
            const mia__step *step = &plan->steps[s];
            size_t offset;
            uint32_t b = mia__plan_root(
                plan, i < step->input_count ? step->inputs[i].buffer : step->output.buffer, &offset);
            assert_true(plan->buffers[b].first <= s && s <= plan->buffers[b].last);
        }
}

/* --- tests ------------------------------------------------------------------------------------ */

/* What the random tapes are made to reach. */
typedef struct reached {
    long steps, reordered, shared, dropped, reuses, overwritten, copies, forms, outputs, aliases,
        instructions, cores, prologues, epilogues, norms, siblings, together, joined, turned, updated;
} reached;

static void note_cores(const mia__plan *plan, const mia__step *step, reached *sums) {
    const mia__instruction *first = &plan->instructions[step->first_instruction];
    sums->together += step->together > 0;
    for (uint32_t n = 0; n < step->together; n++) {
        const mia__step *one = step + n;
        sums->joined += one->op != MIA_OP_matmul && one->op != MIA__OP_FUSED;
        sums->updated += one->op == MIA_OP_update && one->output.buffer == one->inputs[0].buffer;
    }
    sums->turned += step->core_count > 0 && first->op == MIA_OP_rope;
    if (step->core_count == 0) return;
    sums->cores++;
    sums->prologues += step->core > 0;
    sums->epilogues += step->core + step->core_count < step->instruction_count;
    sums->siblings += step->core_count > 1;
    sums->norms +=
        step->core > 0 && plan->instructions[step->first_instruction + step->core - 1].op == MIA_OP_rms_norm;
}

static void note_reached(const test_tape *t, const mia__plan *plan, reached *sums) {
    for (uint32_t s = 0; s < plan->step_count; s++) {
        const mia__step *step = &plan->steps[s];
        mia__buffer_kind kind = plan->buffers[step->output.buffer].kind;
        sums->steps++;
        note_cores(plan, step, sums);
        sums->copies += step->op == MIA_OP_copy && t->entries[step->entry].op != MIA_OP_copy;
        sums->overwritten += kind == MIA__BUFFER_LEAF;
        for (uint32_t i = 0; i < step->input_count; i++) {
            sums->reuses += step->inputs[i].buffer == step->output.buffer && kind != MIA__BUFFER_LEAF;
            sums->forms += plan->buffers[step->inputs[i].buffer].kind == MIA__BUFFER_FORM;
        }
    }
    sums->instructions += plan->instruction_count;
    sums->reordered += plan->reordered;
    sums->shared += plan->shared_count;
    sums->dropped += plan->dropped_count;
    sums->outputs += plan->output_count;
    for (uint32_t i = 0; i < t->tape.leaf_count; i++) sums->aliases += t->entries[i].alias != i;
}

static void test_random_tapes(void **state) {
    (void)state;
    long rounds = getenv("MIA_TEST_LONG") != NULL ? 200000 : 10000;
    reached sums = {0};
    for (long round = 0; round < rounds; round++) {
        now = seed + (uint64_t)round;
        test_tape t;
        random_tape(&t);
        answers context = {test_random(&now)};
        mia__plan_rules rules = random_rules(&context);
        mia__plan *plan = make_checked(&t, &rules);
        note_reached(&t, plan, &sums);
        mia__plan_free(plan);
    }
    printf("%ld steps of %ld instructions, %ld operations shared, %ld dropped, %ld plans in another order: "
           "%ld in place, %ld over leaves, "
           "%ld copies put in, %ld forms, %ld outputs, %ld aliases\n",
           sums.steps, sums.instructions, sums.shared, sums.dropped, sums.reordered, sums.reuses,
           sums.overwritten, sums.copies, sums.forms, sums.outputs, sums.aliases);
    printf("%ld steps with cores: %ld prologues, %ld with a norm, %ld epilogues, %ld siblings; %ld groups, "
           "%ld steps joined, of which %ld updates in place; %ld updates turn their part\n",
           sums.cores, sums.prologues, sums.norms, sums.epilogues, sums.siblings, sums.together, sums.joined,
           sums.updated, sums.turned);
    assert_true(sums.joined > rounds / 10 && sums.updated > rounds / 1000 && sums.turned > rounds / 1000);
    assert_true(sums.prologues > rounds / 100 && sums.epilogues > rounds / 100);
    assert_true(sums.norms > rounds / 1000 && sums.siblings > rounds / 1000 && sums.together > rounds / 100);
    assert_true(sums.reuses > rounds / 100 && sums.overwritten > rounds / 100 && sums.copies > rounds / 100);
    assert_true(sums.instructions > rounds / 10 && sums.shared > rounds / 10 && sums.dropped > rounds / 10);
    assert_true(sums.forms > rounds / 100 && sums.outputs > rounds && sums.aliases > rounds / 10);
}

/* Also of tapes whose operands are larger than what is bound: each step then sees no more than that at once. */
static void test_bindings(void **state) {
    (void)state;
    long rounds = getenv("MIA_TEST_LONG") != NULL ? 100000 : 10000, shared = 0, parts = 0, refused = 0;
    for (long round = 0; round < rounds; round++) {
        now = seed + (uint64_t)round;
        test_tape t;
        random_tape(&t);
        answers context = {test_random(&now)};
        mia__plan_rules rules = random_rules(&context);
        if (below(2) == 0) rules.binding_bytes = (size_t)32 << below(5);
        if (rules.binding_bytes > 0) rules.alignment = (size_t)4 << below(3);
        mia__plan *plan = NULL;
        mia_error error = {0};
        mia_status status = mia__plan_make(&t.tape, &rules, NULL, &plan, &error);
        if (status == MIA_ERROR_UNSUPPORTED && rules.binding_bytes > 0) {
            assert_non_null(strstr(error.message, "more than the"));
            refused++;
            continue;
        }
        if (status != MIA_OK) fail_msg("%s", error.message);
        for (uint32_t s = 0; s < plan->step_count; s++)
            shared += check_bindings(plan, &plan->steps[s], rules.binding_bytes);
        for (uint32_t b = 0; b < plan->buffer_count; b++) parts += plan->buffers[b].kind == MIA__BUFFER_PART;
        check_lifetimes(plan);
        mia__plan_free(plan);
    }
    printf("%ld bindings to write because of another, %ld parts of buffers, %ld refused\n", shared, parts,
           refused);
    assert_true(shared > rounds / 10 && parts > rounds / 10 && refused < rounds / 2);
}

/* The same tape gives the same plan. */
static void test_plans_repeat(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 100; round++) {
        now = seed + round;
        test_tape t;
        random_tape(&t);
        answers context = {test_random(&now)};
        mia__plan_rules rules = random_rules(&context);
        mia__plan *a = NULL, *b = NULL;
        assert_int_equal(mia__plan_make(&t.tape, &rules, NULL, &a, NULL), MIA_OK);
        assert_int_equal(mia__plan_make(&t.tape, &rules, NULL, &b, NULL), MIA_OK);
        assert_int_equal(a->step_count, b->step_count);
        assert_int_equal(a->buffer_count, b->buffer_count);
        for (uint32_t s = 0; s < a->step_count; s++) {
            assert_int_equal(a->steps[s].output.buffer, b->steps[s].output.buffer);
            for (uint32_t i = 0; i < a->steps[s].input_count; i++)
                assert_int_equal(a->steps[s].inputs[i].buffer, b->steps[s].inputs[i].buffer);
        }
        for (uint32_t i = 0; i < a->buffer_count; i++) {
            assert_int_equal(a->buffers[i].kind, b->buffers[i].kind);
            assert_int_equal(a->buffers[i].offset, b->buffers[i].offset);
        }
        mia__plan_free(a);
        mia__plan_free(b);
    }
}

/* Every allocation of planning fails in turn: a clean error, nothing lost. */
static void test_without_memory(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 50; round++) {
        now = seed + round;
        test_tape t;
        random_tape(&t);
        answers context = {test_random(&now)};
        mia__plan_rules rules = random_rules(&context);
        rules.binding_bytes = below(2) == 0 ? 128 : 0;
        for (long n = 0;; n++) {
            test_allocator allocator;
            test_allocator_init(&allocator);
            allocator.fail_at = n;
            mia__plan *plan = NULL;
            mia_error error = {0};
            mia_status status = mia__plan_make(&t.tape, &rules, &allocator.hook, &plan, &error);
            if (status == MIA_OK || (status == MIA_ERROR_UNSUPPORTED && rules.binding_bytes > 0)) {
                mia__plan_free(plan);
                assert_int_equal(allocator.live_bytes, 0);
                assert_true(allocator.allocations <= n);
                break;
            }
            assert_int_equal(status, MIA_ERROR_NO_MEMORY);
            assert_null(plan);
            assert_int_equal(allocator.live_bytes, 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_tapes),
        cmocka_unit_test(test_bindings),
        cmocka_unit_test(test_plans_repeat),
        cmocka_unit_test(test_without_memory),
    };
    seed = test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
