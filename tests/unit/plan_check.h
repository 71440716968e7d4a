/* What test_plan.c and test_plan_properties.c share: tapes made by hand, and a check of a plan against its
 * tape that knows nothing of how plans are made. Every byte of memory holds a tag, which value it belongs to
 * and which byte of it; the plan is run on tags, and each step has to find under its operands what the tape
 * says, element by element. */
#ifndef MIA_TESTS_PLAN_CHECK_H
#define MIA_TESTS_PLAN_CHECK_H

#include "graph/ops.h"
#include "plan/plan.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* --- tapes ------------------------------------------------------------------------------------ */

#define TAPE_MOST 64

typedef struct test_tape {
    mia__entry entries[TAPE_MOST];
    mia__tape tape;
} test_tape;

static inline void tape_clear(test_tape *t) {
    memset(t, 0, sizeof *t);
    t->tape.entries = t->entries;
}

/* A leaf that fills its memory. */
static inline uint32_t tape_leaf(test_tape *t, mia_dtype dtype, mia_shape shape, uint32_t flags) {
    uint32_t index = t->tape.count++;
    t->tape.leaf_count = t->tape.count;
    mia__entry *entry = &t->entries[index];
    *entry = (mia__entry){
        .dtype = dtype, .flags = flags, .alias = index, .view = mia__view_compact(dtype, &shape)};
    entry->bytes = mia__view_bytes(dtype, &entry->view);
    return index;
}

/* An operation; its type and shape by the table's rules. UINT32_MAX when they refuse it. */
static inline uint32_t tape_add(test_tape *t, mia_op op, const uint32_t *operands, uint32_t count,
                                mia__attributes attributes, uint32_t flags) {
    mia__type types[MIA__MAX_OPERANDS], result;
    mia__entry *entry = &t->entries[t->tape.count];
    *entry = (mia__entry){.op = op, .flags = flags, .operand_count = count, .attributes = attributes};
    for (uint32_t i = 0; i < count; i++) {
        entry->operands[i] = operands[i];
        types[i] = (mia__type){t->entries[operands[i]].dtype, mia__view_shape(&t->entries[operands[i]].view)};
    }
    size_t bytes;
    if (mia__op_result(mia__op_find(op), types, count, &attributes, &result, NULL) != MIA_OK ||
        mia__shape_check(result.dtype, &result.shape, &bytes, "test", NULL) != MIA_OK)
        return UINT32_MAX;
    entry->dtype = result.dtype;
    entry->alias = t->tape.count;
    entry->view = mia__view_compact(result.dtype, &result.shape);
    return t->tape.count++;
}

static inline uint32_t tape_view(test_tape *t, mia_op op, uint32_t of, mia_dtype dtype, const mia__view *view,
                                 uint32_t flags) {
    mia__entry *entry = &t->entries[t->tape.count];
    *entry = (mia__entry){
        .op = op, .dtype = dtype, .flags = flags, .operand_count = 1, .operands = {of}, .view = *view};
    entry->alias = t->tape.count;
    return t->tape.count++;
}

static inline uint32_t tape_unary(test_tape *t, mia_op op, uint32_t x, uint32_t flags) {
    return tape_add(t, op, &x, 1, (mia__attributes){{0}, {0}}, flags);
}

static inline uint32_t tape_binary(test_tape *t, mia_op op, uint32_t a, uint32_t b, uint32_t flags) {
    const uint32_t operands[2] = {a, b};
    return tape_add(t, op, operands, 2, (mia__attributes){{0}, {0}}, flags);
}

/* --- where elements lie ----------------------------------------------------------------------- */

#define PLACES_MOST 8192

/* Byte addresses of the elements of an operand, first mode fastest; packed types count as the numbers within,
 * blocks as one. */
typedef struct places {
    size_t count, bytes; /* of elements; of one element */
    int64_t at[PLACES_MOST];
} places;

static inline void find_places(mia_dtype dtype, const mia__view *view, places *out) {
    const mia_dtype_info *info = mia_dtype_describe(dtype);
    int64_t inner = info->kind == MIA_KIND_PACKED && dtype != MIA_u4x8 ? info->elements : 1,
            extent[MIA__VIEW_MODES];
    int64_t total = 1;
    for (uint32_t m = 0; m < view->ndim; m++) {
        extent[m] = view->extent[m];
        if (m == 0 && info->kind == MIA_KIND_BLOCK) extent[m] /= info->elements;
        total *= extent[m];
    }
    out->bytes = info->bytes / (size_t)inner;
    out->count = 0;
    assert_true(total * inner <= PLACES_MOST);
    for (int64_t i = 0; i < total; i++) {
        int64_t at = view->offset, rest = i;
        for (uint32_t m = 0; m < view->ndim; m++) {
            at += rest % extent[m] * view->stride[m];
            rest /= extent[m];
        }
        for (int64_t k = 0; k < inner; k++)
            out->at[out->count++] = at * (int64_t)info->bytes + k * (int64_t)out->bytes;
    }
}

/* The view of an operand of an element-wise operation, repeated to the result's extents. */
static inline mia__view repeated(const mia__view *view, const mia__view *result) {
    mia__view out = {.offset = view->offset, .ndim = result->ndim};
    for (uint32_t m = 0; m < result->ndim; m++) {
        out.extent[m] = result->extent[m];
        out.stride[m] = m < view->ndim && view->extent[m] != 1 ? view->stride[m] : 0;
    }
    return out;
}

/* --- memory of tags --------------------------------------------------------------------------- */

#define GARBAGE UINT64_MAX

typedef struct plan_memory {
    const mia__tape *tape;
    const mia__plan *plan;
    const mia__plan_rules *rules;
    uint32_t base[TAPE_MOST]; /* the value that each entry is or looks at */
    uint64_t *leaf[TAPE_MOST];
    uint64_t *arena;
    uint64_t *output[TAPE_MOST];
    bool computed[TAPE_MOST];
} plan_memory;

static inline uint64_t tag(uint32_t value, size_t byte) {
    return (uint64_t)(value + 1) << 32 | byte;
}

static inline uint64_t *tags(size_t bytes) {
    uint64_t *made = malloc((bytes + 1) * sizeof *made);
    assert_non_null(made);
    for (size_t i = 0; i < bytes; i++) made[i] = GARBAGE;
    return made;
}

static inline uint64_t *tags_of(const plan_memory *memory, uint32_t index);

static inline uint64_t *tags_of_part(const plan_memory *memory, const mia__plan_buffer *part) {
    assert_true(part->offset + part->bytes <= memory->plan->buffers[part->index].bytes);
    return tags_of(memory, part->index) + part->offset;
}

/* The tags of a buffer, checked to be one that exists; NULL for prepared forms. */
static inline uint64_t *tags_of(const plan_memory *memory, uint32_t index) {
    assert_true(index < memory->plan->buffer_count);
    const mia__plan_buffer *buffer = &memory->plan->buffers[index];
    switch (buffer->kind) {
    case MIA__BUFFER_LEAF:
        assert_true(buffer->index < memory->tape->leaf_count);
        assert_int_equal(memory->tape->entries[buffer->index].alias, buffer->index);
        assert_int_equal(buffer->bytes, memory->tape->entries[buffer->index].bytes);
        return memory->leaf[buffer->index];
    case MIA__BUFFER_ARENA: return memory->arena + buffer->offset;
    case MIA__BUFFER_OUTPUT: return memory->output[buffer->index];
    case MIA__BUFFER_PART: return tags_of_part(memory, buffer);
    case MIA__BUFFER_FORM: return NULL;
    }
    return NULL;
}

static inline bool view_class(mia_op op) {
    return mia_op_describe(op)->op_class == MIA_CLASS_VIEW;
}

static inline bool equal_views(const mia__view *a, const mia__view *b) {
    bool equal = a->ndim == b->ndim && a->offset == b->offset;
    for (uint32_t m = 0; equal && m < a->ndim; m++)
        equal = a->extent[m] == b->extent[m] && a->stride[m] == b->stride[m];
    return equal;
}

/* Whether two entries are one value: equal operations on equal looks at equal values. */
static inline bool equal_entries(const plan_memory *memory, uint32_t a, uint32_t b) {
    const mia__entry *x = &memory->tape->entries[a], *y = &memory->tape->entries[b];
    if (x->op != y->op || x->dtype != y->dtype || x->operand_count != y->operand_count ||
        memcmp(&x->attributes, &y->attributes, sizeof x->attributes) != 0 || !equal_views(&x->view, &y->view))
        return false;
    for (uint32_t k = 0; k < x->operand_count; k++) {
        const mia__entry *m = &memory->tape->entries[x->operands[k]],
                         *n = &memory->tape->entries[y->operands[k]];
        if (memory->base[x->operands[k]] != memory->base[y->operands[k]] || m->dtype != n->dtype ||
            !equal_views(&m->view, &n->view))
            return false;
    }
    return true;
}

/* The value that an entry is or looks at. */
static inline uint32_t base_of(const plan_memory *memory, uint32_t i) {
    const mia__entry *entry = &memory->tape->entries[i];
    if (i < memory->tape->leaf_count) return entry->alias;
    if (view_class(entry->op)) return memory->base[entry->operands[0]];
    uint32_t first = memory->tape->leaf_count;
    while (first < i && (view_class(memory->tape->entries[first].op) || !equal_entries(memory, first, i)))
        first++;
    return first;
}

/* Whether something that outlives is, or is made from, value i. */
static inline bool is_needed(const plan_memory *memory, uint32_t i) {
    bool needed[TAPE_MOST] = {false};
    for (uint32_t n = memory->tape->count; n-- > 0;) {
        const mia__entry *entry = &memory->tape->entries[n];
        if ((entry->flags & MIA__ENTRY_OUTLIVES) != 0) needed[memory->base[n]] = true;
        for (uint32_t k = 0; k < entry->operand_count && memory->base[n] == n && needed[n]; k++)
            needed[memory->base[entry->operands[k]]] = true;
    }
    return needed[i];
}

static inline void memory_open(plan_memory *memory, const mia__tape *tape, const mia__plan *plan,
                               const mia__plan_rules *rules) {
    memset(memory, 0, sizeof *memory);
    memory->tape = tape;
    memory->plan = plan;
    memory->rules = rules;
    memory->arena = tags(plan->arena_bytes);
    for (uint32_t i = 0; i < tape->count; i++) {
        const mia__entry *entry = &tape->entries[i];
        bool leaf = i < tape->leaf_count;
        memory->base[i] = base_of(memory, i);
        if (!leaf || entry->alias != i) continue;
        memory->leaf[i] = tags(entry->bytes);
        for (size_t b = 0; b < entry->bytes; b++) memory->leaf[i][b] = tag(i, b);
    }
    for (uint32_t b = 0; b < plan->buffer_count; b++)
        if (plan->buffers[b].kind == MIA__BUFFER_OUTPUT) {
            assert_true(plan->buffers[b].index < plan->output_count && plan->buffers[b].index < TAPE_MOST);
            assert_null(memory->output[plan->buffers[b].index]);
            memory->output[plan->buffers[b].index] = tags(plan->buffers[b].bytes);
        }
}

static inline void memory_close(plan_memory *memory) {
    free(memory->arena);
    for (uint32_t i = 0; i < TAPE_MOST; i++) {
        free(memory->leaf[i]);
        free(memory->output[i]);
    }
}

static inline void scrub(const plan_memory *memory, uint32_t buffer) {
    uint64_t *at = tags_of(memory, buffer);
    for (size_t b = 0; b < memory->plan->buffers[buffer].bytes; b++) at[b] = GARBAGE;
}

/* One element of `real` (in the buffer) has to be the element `expected` of a value. */
static inline void check_element(const plan_memory *memory, uint32_t buffer, const places *real,
                                 const places *expected, size_t element, uint32_t value) {
    const uint64_t *at = tags_of(memory, buffer);
    int64_t from = real->at[element];
    assert_true(from >= 0 && (size_t)from + real->bytes <= memory->plan->buffers[buffer].bytes);
    for (size_t b = 0; b < real->bytes; b++)
        if (at[(size_t)from + b] != tag(value, (size_t)expected->at[element] + b))
            fail_msg("buffer %u, element %zu: tag %llx is not byte %zu of value %u", (unsigned)buffer,
                     element, (unsigned long long)at[(size_t)from + b], (size_t)expected->at[element] + b,
                     (unsigned)value);
}

/* --- steps ------------------------------------------------------------------------------------ */

static inline void check_attributes(const mia__entry *entry, const mia__step *step) {
    mia__attributes expected = entry->attributes;
    const mia_dtype_info *info = mia_dtype_describe(entry->dtype);
    bool mode = entry->op == MIA_OP_concat || entry->op == MIA_OP_pad || entry->op == MIA_OP_update;
    if (mode && info->kind == MIA_KIND_PACKED && entry->dtype != MIA_u4x8) expected.i[0]++;
    assert_memory_equal(&step->attributes, &expected, sizeof expected);
}

/* A constant in a prepared form: the leaf, type and shape have to be those of the operand, which is all of
 * the constant. */
static inline void check_form(const plan_memory *memory, const mia__step *step, uint32_t input,
                              uint32_t value) {
    const mia__operand *operand = &step->inputs[input];
    const mia__plan_buffer *buffer = &memory->plan->buffers[operand->buffer];
    const mia__entry *leaf = &memory->tape->entries[value];
    assert_true(value < memory->tape->leaf_count && (leaf->flags & MIA__LEAF_CONSTANT) != 0);
    assert_int_equal(buffer->index, value);
    mia__form form = memory->rules->form(memory->rules->context, memory->plan, step, input);
    assert_true(form.key != 0 && form.key == buffer->form && form.bytes == buffer->bytes);
    mia_shape shape = mia__view_shape(&operand->view);
    assert_true(buffer->dtype == operand->dtype && mia__shape_equal(&shape, &buffer->shape));
    assert_true(mia__view_is_compact(operand->dtype, &operand->view));
    assert_int_equal(mia__view_bytes(operand->dtype, &operand->view), leaf->bytes);
}

/* A copy in front of the step of an entry: moves tags. */
static inline void run_copy(const plan_memory *memory, const mia__step *step) {
    static places from, to;
    find_places(step->inputs[0].dtype, &step->inputs[0].view, &from);
    find_places(step->output.dtype, &step->output.view, &to);
    assert_true(from.count == to.count && from.bytes == to.bytes);
    assert_true(mia__view_is_compact(step->output.dtype, &step->output.view));
    scrub(memory, step->output.buffer); /* so its input must lie elsewhere */
    const uint64_t *in = tags_of(memory, step->inputs[0].buffer);
    uint64_t *out = tags_of(memory, step->output.buffer);
    for (size_t e = 0; e < to.count; e++) memcpy(&out[to.at[e]], &in[from.at[e]], to.bytes * sizeof *out);
}

static inline void write_element(const plan_memory *memory, const mia__step *step, const places *to,
                                 size_t element, uint32_t value) {
    uint64_t *out = tags_of(memory, step->output.buffer);
    assert_true((size_t)to->at[element] + to->bytes <= memory->plan->buffers[step->output.buffer].bytes);
    for (size_t b = 0; b < to->bytes; b++)
        out[(size_t)to->at[element] + b] = tag(value, element * to->bytes + b);
}

/* The step of an entry: element by element, in either order, for element-wise operations; others see their
 * inputs only after what they write, and their scratch, is garbage. */
static inline void run_step(const plan_memory *memory, const mia__step *step, bool backwards) {
    static places real[MIA__MAX_OPERANDS], expected[MIA__MAX_OPERANDS], to;
    const mia__entry *entry = &memory->tape->entries[step->entry];
    bool elementwise = mia_op_describe(entry->op)->op_class == MIA_CLASS_ELEMENTWISE;
    bool form[MIA__MAX_OPERANDS] = {false};
    assert_int_equal(step->op, entry->op);
    assert_int_equal(step->input_count, entry->operand_count);
    check_attributes(entry, step);
    find_places(step->output.dtype, &step->output.view, &to);
    assert_true(mia__view_is_compact(step->output.dtype, &step->output.view));
    assert_int_equal(to.count * to.bytes, mia__view_bytes(entry->dtype, &entry->view));
    for (uint32_t i = 0; i < step->input_count; i++) {
        const mia__entry *operand = &memory->tape->entries[entry->operands[i]];
        mia__view view = elementwise ? repeated(&operand->view, &entry->view) : operand->view;
        find_places(operand->dtype, &view, &expected[i]);
        find_places(step->inputs[i].dtype, &step->inputs[i].view, &real[i]);
        assert_true(real[i].count == expected[i].count && real[i].bytes == expected[i].bytes);
        if (real[i].count == 0) continue;
        if (memory->rules->takes != NULL) assert_true(memory->rules->takes(memory->rules->context, step, i));
        form[i] = memory->plan->buffers[step->inputs[i].buffer].kind == MIA__BUFFER_FORM;
        if (form[i]) check_form(memory, step, i, memory->base[entry->operands[i]]);
        assert_true(form[i] || !elementwise || real[i].count == to.count);
    }
    if (step->scratch != MIA__NO_BUFFER) {
        assert_int_equal(memory->plan->buffers[step->scratch].kind, MIA__BUFFER_ARENA);
        assert_int_equal(memory->plan->buffers[step->scratch].bytes, step->scratch_bytes);
        scrub(memory, step->scratch);
    }
    for (uint32_t i = 0; i < step->input_count && !elementwise; i++) {
        if (i == 1 || entry->op != MIA_OP_update) scrub(memory, step->output.buffer);
        for (size_t e = 0; e < real[i].count && !form[i]; e++)
            check_element(memory, step->inputs[i].buffer, &real[i], &expected[i], e,
                          memory->base[entry->operands[i]]);
    }
    for (size_t n = 0; n < to.count; n++) {
        size_t e = backwards ? to.count - 1 - n : n;
        for (uint32_t i = 0; i < step->input_count && elementwise; i++)
            if (!form[i])
                check_element(memory, step->inputs[i].buffer, &real[i], &expected[i], e,
                              memory->base[entry->operands[i]]);
        write_element(memory, step, &to, e, step->entry);
    }
    if (step->scratch != MIA__NO_BUFFER) scrub(memory, step->scratch);
}

/* A step of several operations: each instruction has to find under its operands what the tape says of its
 * entry, in memory, or be given the result of the instruction that makes it, element by element in order. */
static inline void run_fused(plan_memory *memory, const mia__step *step, bool backwards) {
    static places real[MIA__MAX_OPERANDS], to;
    static places expected[MIA__MOST_INSTRUCTIONS][MIA__INSTRUCTION_OPERANDS];
    const mia__instruction *made = memory->plan->instructions + step->first_instruction;
    assert_in_range(step->instruction_count, 2, MIA__MOST_INSTRUCTIONS);
    assert_in_range(step->input_count, 1, memory->rules->fused_inputs);
    assert_int_equal(made[step->instruction_count - 1].entry, step->entry);
    find_places(step->output.dtype, &step->output.view, &to);
    for (uint32_t i = 0; i < step->input_count; i++) {
        find_places(step->inputs[i].dtype, &step->inputs[i].view, &real[i]);
        assert_int_equal(real[i].count, to.count);
    }
    for (uint32_t n = 0; n < step->instruction_count; n++) {
        const mia__entry *entry = &memory->tape->entries[made[n].entry];
        assert_true(made[n].op == entry->op && made[n].operand_count == entry->operand_count);
        assert_memory_equal(&made[n].attributes, &entry->attributes, sizeof made[n].attributes);
        assert_false(memory->computed[made[n].entry]);
        memory->computed[made[n].entry] = true;
        for (uint32_t k = 0; k < entry->operand_count; k++) {
            const mia__entry *operand = &memory->tape->entries[entry->operands[k]];
            mia__view view =
                entry->op == MIA_OP_convert ? operand->view : repeated(&operand->view, &entry->view);
            find_places(operand->dtype, &view, &expected[n][k]);
            assert_int_equal(expected[n][k].count, to.count);
        }
    }
    if (step->scratch != MIA__NO_BUFFER) scrub(memory, step->scratch);
    for (size_t i = 0; i < to.count; i++) {
        size_t e = backwards ? to.count - 1 - i : i;
        for (uint32_t n = 0; n < step->instruction_count; n++)
            for (uint32_t k = 0; k < made[n].operand_count; k++) {
                uint32_t value = memory->base[memory->tape->entries[made[n].entry].operands[k]];
                uint32_t from = made[n].operands[k];
                if (from >= MIA__MAX_OPERANDS) {
                    assert_true(from - MIA__MAX_OPERANDS < n);
                    assert_int_equal(made[from - MIA__MAX_OPERANDS].entry, value);
                    assert_int_equal(expected[n][k].at[e], e * expected[n][k].bytes);
                    continue;
                }
                assert_true(from < step->input_count);
                if (memory->plan->buffers[step->inputs[from].buffer].kind == MIA__BUFFER_FORM)
                    check_form(memory, step, from, value);
                else
                    check_element(memory, step->inputs[from].buffer, &real[from], &expected[n][k], e, value);
            }
        write_element(memory, step, &to, e, step->entry);
    }
    if (step->scratch != MIA__NO_BUFFER) scrub(memory, step->scratch);
}

/* Whether an instruction of a step with cores is of its prologue or epilogue, and no norm. */
static inline bool is_chained(const mia__instruction *made) {
    return mia_op_describe(made->op)->op_class == MIA_CLASS_ELEMENTWISE || made->op == MIA_OP_convert;
}

/* What instruction n of a step with cores reads, element `only` of each operand or all (-1). */
static inline void check_reads(const plan_memory *memory, const mia__step *step, uint32_t n, int64_t only) {
    static places real, expected;
    const mia__instruction *all = memory->plan->instructions + step->first_instruction, *made = &all[n];
    const mia__entry *entry = &memory->tape->entries[made->entry];
    assert_true(made->op == entry->op && made->operand_count == entry->operand_count);
    assert_memory_equal(&made->attributes, &entry->attributes, sizeof made->attributes);
    for (uint32_t k = 0; k < made->operand_count; k++) {
        const mia__entry *operand = &memory->tape->entries[entry->operands[k]];
        uint32_t value = memory->base[entry->operands[k]], from = made->operands[k];
        bool elementwise = is_chained(made) && made->op != MIA_OP_convert;
        mia__view view = elementwise ? repeated(&operand->view, &entry->view) : operand->view;
        find_places(operand->dtype, &view, &expected);
        size_t begin = only < 0 ? 0 : (size_t)only, end = only < 0 ? expected.count : begin + 1;
        assert_true(end <= expected.count);
        if (from < MIA__MAX_OPERANDS) {
            assert_true(from < step->input_count);
            if (memory->plan->buffers[step->inputs[from].buffer].kind == MIA__BUFFER_FORM) {
                check_form(memory, step, from, value);
                continue;
            }
            find_places(step->inputs[from].dtype, &step->inputs[from].view, &real);
            assert_int_equal(real.count, expected.count);
        } else {
            assert_true(from - MIA__MAX_OPERANDS < n);
            assert_int_equal(all[from - MIA__MAX_OPERANDS].entry, value);
        }
        for (size_t e = begin; e < end; e++)
            if (from < MIA__MAX_OPERANDS)
                check_element(memory, step->inputs[from].buffer, &real, &expected, e, value);
            else
                assert_int_equal(expected.at[e], e * expected.bytes);
    }
}

/* What the fields and the rules say of a step with cores. */
static inline void check_cores(const plan_memory *memory, const mia__step *step) {
    const mia__instruction *all = memory->plan->instructions + step->first_instruction,
                           *core = &all[step->core];
    uint32_t behind = step->core + step->core_count, used = 0, main = core->op == MIA_OP_matmul ? 1 : 0;
    bool product = core->op == MIA_OP_matmul;
    assert_in_range(step->core_count, 1, MIA__MOST_CORES);
    assert_true(behind <= step->instruction_count && step->instruction_count > 1);
    for (uint32_t n = 0; n < step->instruction_count; n++) {
        bool norm = product && n + 1 == step->core && !is_chained(&all[n]);
        bool is_core = n >= step->core && n < behind;
        if (n < step->core)
            used |= norm      ? MIA__FUSE_CONTRACTION_NORM
                    : product ? MIA__FUSE_CONTRACTION_PROLOGUE
                              : MIA__FUSE_REDUCTION_PROLOGUE;
        if (n >= behind) used |= product ? MIA__FUSE_CONTRACTION_EPILOGUE : MIA__FUSE_REDUCTION_EPILOGUE;
        assert_true(is_chained(&all[n]) == !(is_core || norm));
        if (is_core) {
            assert_true(all[n].op == core->op && (n == step->core || product));
            assert_int_equal(all[n].operands[main], core->operands[main]);
            if (step->core > 0) assert_int_equal(core->operands[main], MIA__MAX_OPERANDS + step->core - 1);
        }
        bool again = (memory->rules->fusions & MIA__FUSE_NORM_RECOMPUTED) != 0 && n < step->core;
        assert_true(again || !memory->computed[all[n].entry]);
    }
    if (step->core_count > 1) used |= MIA__FUSE_SIBLINGS;
    assert_int_equal(used & ~memory->rules->fusions, 0);
    if (memory->rules->fuses != NULL)
        assert_true(memory->rules->fuses(memory->rules->context, memory->plan, step));
}

/* A step with cores: the cores and what is before them see their inputs while the output and the scratch may hold
 * anything; the epilogue goes element by element. */
static inline void run_cores(plan_memory *memory, const mia__step *step, bool backwards) {
    static places to;
    static uint64_t kept[PLACES_MOST * 8];
    uint32_t behind = step->core + step->core_count;
    size_t bytes = memory->plan->buffers[step->output.buffer].bytes;
    uint64_t *out = tags_of(memory, step->output.buffer);
    check_cores(memory, step);
    find_places(step->output.dtype, &step->output.view, &to);
    assert_true(bytes <= sizeof kept / sizeof *kept);
    memcpy(kept, out, bytes * sizeof *out);
    scrub(memory, step->output.buffer);
    if (step->scratch != MIA__NO_BUFFER) scrub(memory, step->scratch);
    for (uint32_t n = 0; n < behind; n++) check_reads(memory, step, n, -1);
    if (behind < step->instruction_count) memcpy(out, kept, bytes * sizeof *out);
    for (size_t i = 0; i < to.count; i++) {
        size_t e = backwards ? to.count - 1 - i : i;
        for (uint32_t n = behind; n < step->instruction_count; n++) check_reads(memory, step, n, (int64_t)e);
        write_element(memory, step, &to, e, step->entry);
    }
    if (step->scratch != MIA__NO_BUFFER) scrub(memory, step->scratch);
    for (uint32_t n = 0; n < step->instruction_count; n++)
        memory->computed[memory->plan->instructions[step->first_instruction + n].entry] = true;
}

/* --- updates that turn their part ------------------------------------------------------------- */

/* All of what an instruction reads in its own order. */
static inline void check_operand(const plan_memory *memory, const mia__step *step,
                                 const mia__instruction *made, uint32_t k) {
    static places real, expected;
    uint32_t entry = memory->tape->entries[made->entry].operands[k], input = made->operands[k];
    assert_true(input < step->input_count);
    if (memory->plan->buffers[step->inputs[input].buffer].kind == MIA__BUFFER_FORM) {
        check_form(memory, step, input, memory->base[entry]);
        return;
    }
    find_places(memory->tape->entries[entry].dtype, &memory->tape->entries[entry].view, &expected);
    find_places(step->inputs[input].dtype, &step->inputs[input].view, &real);
    assert_int_equal(real.count, expected.count);
    for (size_t e = 0; e < real.count; e++)
        check_element(memory, step->inputs[input].buffer, &real, &expected, e, memory->base[entry]);
}

/* Rope's x (operand 0) or positions (1), in the modes of the update's part: each element of that is one of rope's. */
static inline void check_turned(const plan_memory *memory, const mia__step *step, uint32_t k) {
    static places real, own, expected, part;
    const mia__instruction *rope = &memory->plan->instructions[step->first_instruction], *update = rope + 1;
    const mia__entry *turned = &memory->tape->entries[rope->entry], *entries = memory->tape->entries;
    const mia__entry *seen = &entries[entries[update->entry].operands[1]],
                     *operand = &entries[turned->operands[k]];
    uint32_t input = rope->operands[k], value = memory->base[turned->operands[k]];
    int64_t heads = turned->view.extent[0] * turned->view.extent[1];
    if (memory->plan->buffers[step->inputs[input].buffer].kind == MIA__BUFFER_FORM) {
        check_form(memory, step, input, value);
        return;
    }
    find_places(seen->dtype, &seen->view, &part);
    find_places(operand->dtype, &operand->view, &own);
    find_places(step->inputs[input].dtype, &step->inputs[input].view, &real);
    assert_int_equal(real.count, part.count);
    expected = real;
    for (size_t e = 0; e < part.count; e++) {
        int64_t i = part.at[e] / (int64_t)part.bytes;
        expected.at[e] = own.at[k == 0 ? i : i / heads];
    }
    for (size_t e = 0; e < part.count; e++)
        check_element(memory, step->inputs[input].buffer, &real, &expected, e, value);
}

/* The result may lie over input 0, and over nothing else that the step reads. */
static inline void run_update(plan_memory *memory, const mia__step *step) {
    static places to;
    const mia__instruction *rope = &memory->plan->instructions[step->first_instruction], *update = rope + 1;
    const mia__plan_rules *rules = memory->rules;
    assert_true((rules->fusions & MIA__FUSE_UPDATE_ROPE) != 0 && step->input_count <= rules->fused_inputs);
    assert_true(rules->fuses == NULL || rules->fuses(rules->context, memory->plan, step));
    assert_true(step->core == 1 && step->core_count == 1 && step->instruction_count == 2);
    assert_true(rope->op == MIA_OP_rope && update->op == MIA_OP_update);
    for (uint32_t n = 0; n < 2; n++) {
        const mia__entry *entry = &memory->tape->entries[rope[n].entry];
        assert_true(rope[n].op == entry->op && rope[n].operand_count == entry->operand_count);
        assert_memory_equal(&rope[n].attributes, &entry->attributes, sizeof entry->attributes);
        assert_false(memory->computed[rope[n].entry]);
        memory->computed[rope[n].entry] = true;
    }
    assert_int_equal(update->operands[0], 0);
    assert_int_equal(update->operands[1], MIA__MAX_OPERANDS);
    assert_int_equal(memory->base[memory->tape->entries[update->entry].operands[1]], rope->entry);
    check_operand(memory, step, update, 0);
    scrub(memory, step->output.buffer);
    if (step->scratch != MIA__NO_BUFFER) scrub(memory, step->scratch);
    check_turned(memory, step, 0);
    check_turned(memory, step, 1);
    check_operand(memory, step, rope, 2);
    check_operand(memory, step, update, 2);
    find_places(step->output.dtype, &step->output.view, &to);
    for (size_t e = 0; e < to.count; e++) write_element(memory, step, &to, e, step->entry);
}

/* --- steps that run together ------------------------------------------------------------------ */

static inline bool touches(const mia__step *step, uint32_t buffer) {
    bool touched = step->output.buffer == buffer || (step->scratch == buffer && buffer != MIA__NO_BUFFER);
    for (uint32_t i = 0; i < step->input_count; i++) touched |= step->inputs[i].buffer == buffer;
    return touched;
}

/* The step that the group of step s begins with: itself when it is alone. */
static inline uint32_t moment_of(const mia__plan *plan, uint32_t s) {
    for (uint32_t first = s; first < plan->step_count && s - first < 8; first--)
        if (plan->steps[first].together > s - first) return first;
    return s;
}

static inline void check_together(const mia__plan *plan, const mia__plan_rules *rules, uint32_t first) {
    uint32_t count = plan->steps[first].together;
    if (count == 0) return;
    assert_true((rules->fusions & MIA__FUSE_TOGETHER) != 0 && count >= 2 &&
                count <= plan->step_count - first);
    for (uint32_t a = first; a < first + count; a++)
        for (uint32_t b = first; b < first + count; b++) {
            if (a == b) continue;
            if (a > first) assert_int_equal(plan->steps[a].together, 0);
            assert_false(touches(&plan->steps[b], plan->steps[a].output.buffer));
            if (plan->steps[a].scratch != MIA__NO_BUFFER)
                assert_false(touches(&plan->steps[b], plan->steps[a].scratch));
        }
}

/* --- the whole plan --------------------------------------------------------------------------- */

/* Arena: aligned places whose end is what the plan says, and no byte shared by buffers in use at the same
 * step. In use: from the first step that names a buffer to the last. */
static inline void check_arena(const mia__plan *plan, const mia__plan_rules *rules) {
    size_t end = 0, alignment = rules->alignment > 0 ? rules->alignment : 1, outputs = 0;
    uint32_t *first = calloc(plan->buffer_count + 1, sizeof *first),
             *last = calloc(plan->buffer_count + 1, sizeof *last);
    assert_true(first != NULL && last != NULL);
    for (uint32_t n = plan->step_count; n > 0; n--) {
        const mia__step *step = &plan->steps[n - 1];
        uint32_t s = moment_of(plan, n - 1) + 1; /* steps that run together are one moment */
        for (uint32_t i = 0; i < step->input_count + 2; i++) {
            uint32_t b = i < step->input_count    ? step->inputs[i].buffer
                         : i == step->input_count ? step->output.buffer
                                                  : step->scratch;
            if (b == MIA__NO_BUFFER) continue;
            if (last[b] == 0) last[b] = s;
            first[b] = s;
        }
    }
    for (uint32_t a = 0; a < plan->buffer_count; a++) {
        const mia__plan_buffer *x = &plan->buffers[a];
        if (x->kind == MIA__BUFFER_OUTPUT) outputs += x->bytes;
        if (x->kind != MIA__BUFFER_ARENA) continue;
        assert_int_equal(x->offset % alignment, 0);
        size_t used = x->offset + (x->bytes + alignment - 1) / alignment * alignment;
        if (used > end) end = used;
        for (uint32_t b = 0; b < a; b++) {
            const mia__plan_buffer *y = &plan->buffers[b];
            bool apart = y->kind != MIA__BUFFER_ARENA || first[a] > last[b] || first[b] > last[a] ||
                         x->offset + x->bytes <= y->offset || y->offset + y->bytes <= x->offset;
            assert_true(apart);
        }
    }
    assert_int_equal(plan->arena_bytes, end);
    assert_int_equal(plan->output_bytes, outputs);
    free(first);
    free(last);
}

static inline void check_results(const plan_memory *memory) {
    static places real;
    const mia__tape *tape = memory->tape;
    uint32_t expected = 0;
    for (uint32_t i = tape->leaf_count; i < tape->count; i++)
        if ((tape->entries[i].flags & MIA__ENTRY_OUTLIVES) != 0) expected++;
    assert_int_equal(memory->plan->result_count, expected);
    for (uint32_t r = 0; r < expected; r++) {
        const mia__plan_result *result = &memory->plan->results[r];
        const mia__entry *entry = &tape->entries[result->entry];
        assert_true((entry->flags & MIA__ENTRY_OUTLIVES) != 0 &&
                    (r == 0 || result[-1].entry < result->entry));
        assert_memory_equal(&result->view, &entry->view, sizeof entry->view);
        find_places(entry->dtype, &entry->view, &real);
        assert_true((real.count == 0) == (result->buffer == MIA__NO_BUFFER));
        if (real.count == 0) continue;
        mia__buffer_kind kind = memory->plan->buffers[result->buffer].kind;
        assert_true(kind == MIA__BUFFER_OUTPUT || kind == MIA__BUFFER_LEAF);
        for (size_t e = 0; e < real.count; e++)
            check_element(memory, result->buffer, &real, &real, e, memory->base[result->entry]);
    }
}

/* Runs the plan on tags. */
static inline void check_plan(const mia__tape *tape, const mia__plan_rules *rules, const mia__plan *plan,
                              bool backwards) {
    plan_memory memory;
    check_arena(plan, rules);
    memory_open(&memory, tape, plan, rules);
    assert_int_equal(plan->leaf_count, tape->leaf_count);
    for (uint32_t s = 0; s < plan->step_count; s++) {
        const mia__step *step = &plan->steps[s];
        assert_true(step->entry >= tape->leaf_count && step->entry < tape->count);
        assert_false(memory.computed[step->entry]);
        bool copy = step->op == MIA_OP_copy && tape->entries[step->entry].op != MIA_OP_copy;
        uint32_t last = plan->step_count - 1; /* of the steps of the entry: the others are copies for it */
        while (plan->steps[last].entry != step->entry) last--;
        check_together(plan, rules, s);
        if (step->op == MIA__OP_FUSED && step->core_count > 0 &&
            plan->instructions[step->first_instruction + step->core].op == MIA_OP_update) {
            run_update(&memory, step);
        } else if (step->op == MIA__OP_FUSED && step->core_count > 0) {
            run_cores(&memory, step, backwards);
        } else if (step->op == MIA__OP_FUSED) {
            run_fused(&memory, step, backwards);
        } else if (!copy && s == last) {
            run_step(&memory, step, backwards);
            memory.computed[step->entry] = true;
        } else {
            assert_int_equal(step->op, MIA_OP_copy);
            run_copy(&memory, step);
        }
    }
    for (uint32_t i = tape->leaf_count; i < tape->count; i++) {
        const mia__entry *entry = &tape->entries[i];
        bool needed = memory.base[i] == i && mia__view_count(&entry->view) > 0 && is_needed(&memory, i);
        assert_int_equal(memory.computed[i], needed);
    }
    check_results(&memory);
    for (uint32_t i = 0; i < tape->leaf_count; i++) {
        if ((tape->entries[i].flags & MIA__LEAF_OVERWRITABLE) != 0 || memory.leaf[i] == NULL) continue;
        for (size_t b = 0; b < tape->entries[i].bytes; b++) assert_true(memory.leaf[i][b] == tag(i, b));
    }
    memory_close(&memory);
}

/* Makes a plan and checks it. */
static inline mia__plan *make_checked(const test_tape *t, const mia__plan_rules *rules) {
    mia__plan *plan = NULL;
    mia_error error = {0};
    if (mia__plan_make(&t->tape, rules, NULL, &plan, &error) != MIA_OK) fail_msg("%s", error.message);
    check_plan(&t->tape, rules, plan, false);
    check_plan(&t->tape, rules, plan, true);
    return plan;
}

#endif
