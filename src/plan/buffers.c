/* The pass that gives values buffers. A step's result takes over an input's buffer when that is sound: the
 * input is read by no later step, nothing outside refers to it (a leaf: to its memory), the operation reads
 * each element before it writes it, and both lie there in the same way. A buffer that ends up holding a value
 * that outlives the run gets memory of its own (or stays the leaf's memory); the others go to the arena. Steps that run
 * together are one moment: what one of them touches is in use while any of them runs. */
#include "base/size.h"
#include "graph/ops.h"
#include "plan/passes.h"

/* Steps first .. last that run at once. */
typedef struct moment {
    uint32_t first, last;
} moment;

/* The last step that reads each value. */
static void find_last_uses(mia__planner *planner) {
    const mia__plan *plan = planner->plan;
    for (uint32_t s = 0; s < plan->step_count; s++)
        for (uint32_t i = 0; i < plan->steps[s].input_count; i++)
            planner->values[plan->steps[s].inputs[i].buffer].last_use = s;
}

static uint32_t add_buffer(mia__planner *planner, mia__buffer_kind kind, size_t bytes, moment now) {
    mia__plan_buffer *buffer = mia__plan_add_buffer(planner->plan);
    if (buffer == NULL) return MIA__NO_BUFFER;
    *buffer = (mia__plan_buffer){.kind = kind, .bytes = bytes, .first = now.first, .last = now.last};
    return planner->plan->buffer_count - 1;
}

/* The buffer of a value that a step reads, made when first met: for leaves, and for results without elements,
 * which no step makes. */
static uint32_t buffer_of(mia__planner *planner, uint32_t value_index, moment now) {
    mia__plan_value *value = &planner->values[value_index];
    if (value->buffer == MIA__NO_BUFFER) {
        mia__buffer_kind kind = value->is_leaf ? MIA__BUFFER_LEAF : MIA__BUFFER_ARENA;
        value->buffer = add_buffer(planner, kind, value->bytes, now);
        if (value->buffer == MIA__NO_BUFFER) return MIA__NO_BUFFER;
        planner->plan->buffers[value->buffer].index = value->leaf;
    }
    mia__plan_buffer *buffer = &planner->plan->buffers[value->buffer];
    if (buffer->last < now.last) buffer->last = now.last;
    return value->buffer;
}

/* The buffer of a constant in a prepared form, shared by the steps that ask for the same. */
static uint32_t buffer_of_form(mia__planner *planner, uint32_t leaf, const mia__operand *input,
                               const mia__form *form, moment now) {
    mia__plan *plan = planner->plan;
    mia_shape shape = mia__view_shape(&input->view);
    for (uint32_t b = 0; b < plan->buffer_count; b++) {
        mia__plan_buffer *buffer = &plan->buffers[b];
        if (buffer->kind != MIA__BUFFER_FORM || buffer->index != leaf || buffer->form != form->key ||
            buffer->dtype != input->dtype || !mia__shape_equal(&buffer->shape, &shape))
            continue;
        buffer->last = now.last;
        return b;
    }
    uint32_t made = add_buffer(planner, MIA__BUFFER_FORM, form->bytes, now);
    if (made == MIA__NO_BUFFER) return made;
    plan->buffers[made].index = leaf;
    plan->buffers[made].form = form->key;
    plan->buffers[made].dtype = input->dtype;
    plan->buffers[made].shape = shape;
    return made;
}

static bool same_view(const mia__view *a, const mia__view *b) {
    if (a->offset != b->offset || a->ndim != b->ndim) return false;
    for (uint32_t m = 0; m < a->ndim; m++)
        if (a->extent[m] != b->extent[m] || (a->stride[m] != b->stride[m] && a->extent[m] != 1)) return false;
    return true;
}

/* Whether a step with cores reads an input in its epilogue alone: element by element, where it writes. */
static bool is_epilogues(const mia__plan *plan, const mia__step *step, uint32_t input) {
    for (uint32_t n = 0; n < step->core + step->core_count; n++) {
        const mia__instruction *made = &plan->instructions[step->first_instruction + n];
        for (uint32_t k = 0; k < made->operand_count; k++)
            if (made->operands[k] == input) return false;
    }
    return true;
}

/* Whether a step reads input i at an element before it writes the result's there, and later no more. */
static bool reads_first(const mia__plan *plan, const mia__step *step, uint32_t i) {
    if (step->op == MIA__OP_FUSED) return step->core_count == 0 || is_epilogues(plan, step, i);
    return mia__op_row_of(step->op, step->custom)->info.op_class == MIA_CLASS_ELEMENTWISE;
}

bool mia__step_writes_part(const mia__plan *plan, const mia__step *step) {
    mia_op op = step->op;
    if (op == MIA__OP_FUSED)
        op = step->core_count > 0 ? plan->instructions[step->first_instruction + step->core].op : MIA_OP_NONE;
    return op == MIA_OP_update || op == MIA_OP_scatter || op == MIA_OP_scatter_along;
}

bool mia__plan_can_overwrite(const mia__planner *planner, const mia__step *step, uint32_t i) {
    const mia__operand *input = &step->inputs[i], *output = &step->output;
    const mia__plan_value *value = &planner->values[input->buffer];
    bool elementwise = reads_first(planner->plan, step, i);
    if (!elementwise && !(i == 0 && mia__step_writes_part(planner->plan, step))) return false;
    if (value->outlives || (value->is_leaf && !value->overwritable)) return false;
    if (input->dtype != output->dtype || value->bytes != planner->values[output->buffer].bytes ||
        !same_view(&input->view, &output->view))
        return false;
    for (uint32_t k = 0; k < step->input_count; k++) {
        if (k == i || step->inputs[k].buffer != input->buffer) continue;
        if (!elementwise || !reads_first(planner->plan, step, k) ||
            !same_view(&step->inputs[k].view, &output->view))
            return false;
    }
    return true;
}

/* Whether one of steps [first, end), whose operands name buffers, reads a value. */
static bool is_read_in(const mia__planner *planner, uint32_t first, uint32_t end,
                       const mia__plan_value *value) {
    if (value->buffer == MIA__NO_BUFFER) return false;
    for (uint32_t s = first; s < end; s++)
        for (uint32_t i = 0; i < planner->plan->steps[s].input_count; i++)
            if (planner->plan->steps[s].inputs[i].buffer == value->buffer) return true;
    return false;
}

/* Whether step s writes its result over input i, whose operands still name values: no later step reads that, nor does one
 * that runs at the same time. */
static bool may_overwrite(const mia__planner *planner, uint32_t s, uint32_t i, moment now) {
    const mia__step *step = &planner->plan->steps[s];
    const mia__plan_value *value = &planner->values[step->inputs[i].buffer];
    return value->last_use == s && mia__plan_can_overwrite(planner, step, i) &&
           !is_read_in(planner, now.first, s, value);
}

/* Gives the result of step s a buffer, an input's if possible. */
static bool place_output(mia__planner *planner, uint32_t s, moment now) {
    mia__step *step = &planner->plan->steps[s];
    mia__plan_value *value = &planner->values[step->output.buffer];
    uint32_t reused = 0;
    while (reused < step->input_count && !may_overwrite(planner, s, reused, now)) reused++;
    value->buffer = reused < step->input_count ? buffer_of(planner, step->inputs[reused].buffer, now)
                                               : add_buffer(planner, MIA__BUFFER_ARENA, value->bytes, now);
    if (value->buffer == MIA__NO_BUFFER) return false;
    mia__plan_buffer *buffer = &planner->plan->buffers[value->buffer];
    if (value->outlives && buffer->kind == MIA__BUFFER_ARENA) buffer->kind = MIA__BUFFER_OUTPUT;
    return true;
}

bool mia__plan_may_prepare(const mia__planner *planner, const mia__operand *input) {
    const mia__plan_value *value = &planner->values[input->buffer];
    return value->constant && input->view.ndim <= MIA_MAX_MODES &&
           mia__view_is_compact(input->dtype, &input->view) &&
           mia__view_bytes(input->dtype, &input->view) == value->bytes;
}

/* Whether split.c will have to cut the step up. */
static bool is_cut(const mia__planner *planner, const mia__step *step) {
    size_t limit = planner->rules->binding_bytes;
    bool larger = planner->values[step->output.buffer].bytes > limit;
    for (uint32_t i = 0; i < step->input_count; i++)
        larger = larger || planner->values[step->inputs[i].buffer].bytes > limit;
    return limit > 0 && larger;
}

/* Replaces the values in a step's operands by their buffers. */
static bool place_operands(mia__planner *planner, uint32_t s, moment now) {
    mia__step *step = &planner->plan->steps[s];
    const mia__plan_rules *rules = planner->rules;
    bool cut = is_cut(planner, step);
    for (uint32_t i = 0; i < step->input_count; i++) {
        mia__operand *input = &step->inputs[i];
        const mia__plan_value *value = &planner->values[input->buffer];
        mia__form form = {0};
        if (rules->form != NULL && mia__plan_may_prepare(planner, input))
            form = rules->form(rules->context, planner->plan, step, i);
        if (cut || (rules->binding_bytes > 0 && form.bytes > rules->binding_bytes))
            form.key = 0; /* a form cannot be cut, the constant as it is can (split.c) */
        uint32_t buffer = form.key != 0 ? buffer_of_form(planner, value->leaf, input, &form, now)
                                        : buffer_of(planner, input->buffer, now);
        if (buffer == MIA__NO_BUFFER) return false;
        input->buffer = buffer;
    }
    step->output.buffer = planner->values[step->output.buffer].buffer;
    if (rules->scratch == NULL) return true;
    step->scratch_bytes = rules->scratch(rules->context, planner->plan, step);
    if (step->scratch_bytes == 0) return true;
    step->scratch = add_buffer(planner, MIA__BUFFER_ARENA, step->scratch_bytes, now);
    return step->scratch != MIA__NO_BUFFER;
}

/* Where each value that outlives the run will be found. Values with no elements have no buffer. */
static bool list_results(mia__planner *planner) {
    const mia__tape *tape = planner->tape;
    const moment end = {planner->plan->step_count, planner->plan->step_count};
    for (uint32_t i = tape->leaf_count; i < tape->count; i++) {
        if ((tape->entries[i].flags & MIA__ENTRY_OUTLIVES) == 0) continue;
        mia__plan_result *result = mia__plan_add_result(planner->plan);
        if (result == NULL) return false;
        uint32_t base = planner->base[i];
        *result = (mia__plan_result){i, MIA__NO_BUFFER, tape->entries[i].view};
        bool empty = mia__view_count(&tape->entries[i].view) == 0;
        if (empty) continue;
        result->buffer =
            planner->values[base].is_leaf ? buffer_of(planner, base, end) : planner->values[base].buffer;
        if (result->buffer == MIA__NO_BUFFER) return false;
    }
    return true;
}

bool mia__plan_buffers(mia__planner *planner) {
    mia__plan *plan = planner->plan;
    find_last_uses(planner);
    moment now = {0, 0};
    for (uint32_t s = 0; s < plan->step_count; s++) {
        uint32_t together = plan->steps[s].together > 0 ? plan->steps[s].together : 1;
        if (s == 0 || s > now.last) now = (moment){s, s + together - 1};
        if (!place_output(planner, s, now) || !place_operands(planner, s, now)) return false;
    }
    if (!list_results(planner)) return false;
    for (uint32_t b = 0; b < plan->buffer_count; b++) {
        mia__plan_buffer *buffer = &plan->buffers[b];
        if (buffer->kind != MIA__BUFFER_OUTPUT) continue;
        buffer->index = plan->output_count++;
        if (!mia__size_add(plan->output_bytes, buffer->bytes, &plan->output_bytes))
            plan->output_bytes = SIZE_MAX;
    }
    return true;
}
