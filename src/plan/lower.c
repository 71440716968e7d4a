/* The pass that turns a tape into steps: resolves views into their consumers' operands, spells packed types
 * out as an inner mode, gives element-wise operands the output's extents, and puts a copy in where a kernel
 * does not take the strides. */
#include "graph/ops.h"
#include "plan/passes.h"

static mia_op_class class_of(const mia__entry *entry) {
    return mia__op_row_of(entry->op, entry->custom)->info.op_class;
}

static uint32_t add_value(mia__planner *planner, size_t bytes) {
    if (planner->value_count == planner->value_capacity) {
        uint32_t wanted = planner->value_capacity == 0 ? 64 : planner->value_capacity * 2;
        void *grown = mia_reallocate_array(&planner->allocator, planner->values, planner->value_capacity,
                                           wanted, sizeof *planner->values);
        if (grown == NULL) return MIA__NO_BUFFER;
        planner->values = grown;
        planner->value_capacity = wanted;
    }
    planner->values[planner->value_count] =
        (mia__plan_value){.bytes = bytes, .last_use = MIA__NO_BUFFER, .buffer = MIA__NO_BUFFER};
    return planner->value_count++;
}

/* One value for each entry, those that are or look at another's included: they stay without use. */
static bool make_values(mia__planner *planner) {
    const mia__tape *tape = planner->tape;
    for (uint32_t i = 0; i < tape->count; i++) {
        const mia__entry *entry = &tape->entries[i];
        size_t bytes = i < tape->leaf_count ? entry->bytes : mia__view_bytes(entry->dtype, &entry->view);
        if (add_value(planner, bytes) == MIA__NO_BUFFER) return false;
        mia__plan_value *value = &planner->values[planner->base[i]];
        if ((entry->flags & MIA__ENTRY_OUTLIVES) != 0) value->outlives = true;
        if (i >= tape->leaf_count) continue;
        value->is_leaf = true;
        value->leaf = entry->alias;
        value->constant = (entry->flags & MIA__LEAF_CONSTANT) != 0;
        value->overwritable = (entry->flags & MIA__LEAF_OVERWRITABLE) != 0;
    }
    return true;
}

/* Packed types as scalars with an inner mode; other types as they are. */
static mia__operand spell_out(uint32_t value, mia_dtype dtype, const mia__view *view) {
    mia__operand operand = {.buffer = value, .dtype = dtype, .view = *view};
    int64_t inner = 4;
    switch (dtype) {
    case MIA_f32x4: operand.dtype = MIA_f32; break;
    case MIA_f16x4: operand.dtype = MIA_f16; break;
    case MIA_u8x4: operand.dtype = MIA_u8; break;
    case MIA_u4x8: operand.dtype = MIA_u32, inner = 1; break;
    default: return operand;
    }
    if (inner == 1) return operand;
    mia__view *out = &operand.view;
    out->ndim = view->ndim + 1;
    out->offset = view->offset * inner;
    out->extent[0] = inner;
    out->stride[0] = 1;
    for (uint32_t m = 0; m < view->ndim; m++) {
        out->extent[m + 1] = view->extent[m];
        out->stride[m + 1] = view->stride[m] * inner;
    }
    return operand;
}

/* The mode that an operation's attribute names, counted with the inner mode of a packed type. */
static void shift_mode(mia__step *step, uint32_t ndim) {
    if (step->output.view.ndim <= ndim) return;
    switch ((int)step->op) {
    case MIA_OP_concat:
    case MIA_OP_pad:
    case MIA_OP_update:
    case MIA_OP_take:
    case MIA_OP_roll: step->attributes.i[0]++; break;
    default: break;
    }
}

/* An operand of an element-wise operation, repeated to the output's extents. */
static void repeat(mia__view *view, const mia__view *output) {
    for (uint32_t m = 0; m < output->ndim; m++) {
        if (m >= view->ndim || (view->extent[m] == 1 && output->extent[m] != 1)) view->stride[m] = 0;
        view->extent[m] = output->extent[m];
    }
    view->ndim = output->ndim;
}

/* Puts a step in front of `step` that makes input `input` compact, and lets the input be its result. */
static bool copy_input(mia__planner *planner, mia__step *step, uint32_t input, uint32_t entry) {
    mia__operand *operand = &step->inputs[input];
    mia__view compact = {.ndim = operand->view.ndim};
    mia_shape shape = mia__view_shape(&operand->view);
    if (operand->view.ndim <= MIA_MAX_MODES) {
        compact = mia__view_compact(operand->dtype, &shape);
    } else { /* a packed operand of 8 modes: nine, which no mia_shape holds */
        for (int64_t m = 0, stride = 1; m < (int64_t)operand->view.ndim; m++) {
            compact.extent[m] = operand->view.extent[m];
            compact.stride[m] = stride;
            stride *= compact.extent[m];
        }
    }
    uint32_t value = add_value(planner, mia__view_bytes(operand->dtype, &compact));
    if (value == MIA__NO_BUFFER) return false;
    mia__step *copy = mia__plan_add_step(planner->plan);
    if (copy == NULL) return false;
    copy->op = MIA_OP_copy;
    copy->entry = entry;
    copy->input_count = 1;
    copy->inputs[0] = *operand;
    operand->buffer = value;
    operand->view = compact;
    copy->output = *operand;
    mia__step_merge_modes(copy);
    return true;
}

static bool lower_entry(mia__planner *planner, uint32_t index) {
    const mia__entry *entry = &planner->tape->entries[index];
    if (mia__view_count(&entry->view) == 0) return true; /* nothing to compute */
    mia__step step = {.op = entry->op,
                      .custom = entry->custom,
                      .input_count = entry->operand_count,
                      .entry = index,
                      .attributes = entry->attributes,
                      .scratch = MIA__NO_BUFFER};
    step.output = spell_out(index, entry->dtype, &entry->view);
    shift_mode(&step, entry->view.ndim);
    bool elementwise = class_of(entry) == MIA_CLASS_ELEMENTWISE;
    for (uint32_t i = 0; i < entry->operand_count; i++) {
        uint32_t operand = entry->operands[i];
        const mia__entry *from = &planner->tape->entries[operand];
        step.inputs[i] = spell_out(planner->base[operand], from->dtype, &from->view);
        if (elementwise) repeat(&step.inputs[i].view, &step.output.view);
    }
    bool movement = entry->op == MIA_OP_copy || entry->op == MIA_OP_convert;
    bool block = mia_dtype_describe(step.output.dtype)->kind == MIA_KIND_BLOCK ||
                 mia_dtype_describe(step.inputs[0].dtype)->kind == MIA_KIND_BLOCK;
    if ((elementwise || movement) && !block) mia__step_merge_modes(&step);
    const mia__plan_rules *rules = planner->rules;
    for (uint32_t i = 0; rules->takes != NULL && i < step.input_count; i++) {
        if (mia__view_count(&step.inputs[i].view) == 0 || rules->takes(rules->context, &step, i)) continue;
        if (!copy_input(planner, &step, i, index)) return false;
    }
    mia__step *place = mia__plan_add_step(planner->plan);
    if (place == NULL) return false;
    *place = step;
    return true;
}

void mia__step_merge_modes(mia__step *step) {
    mia__operand *operands[MIA__MAX_OPERANDS + 1] = {&step->output};
    uint32_t count = 1;
    for (uint32_t i = 0; i < step->input_count; i++) operands[count++] = &step->inputs[i];
    uint32_t kept = 0, ndim = step->output.view.ndim;
    for (uint32_t m = 0; m < ndim; m++) {
        if (operands[0]->view.extent[m] == 1) continue;
        bool joins = kept > 0;
        for (uint32_t k = 0; joins && k < count; k++) {
            const mia__view *view = &operands[k]->view;
            joins = view->stride[m] == view->stride[kept - 1] * view->extent[kept - 1];
        }
        for (uint32_t k = 0; k < count; k++) {
            mia__view *view = &operands[k]->view;
            if (joins) {
                view->extent[kept - 1] *= view->extent[m];
            } else {
                view->extent[kept] = view->extent[m];
                view->stride[kept] = view->stride[m];
            }
        }
        if (!joins) kept++;
    }
    for (uint32_t k = 0; k < count; k++) operands[k]->view.ndim = kept;
}

bool mia__plan_lower(mia__planner *planner) {
    if (!make_values(planner)) return false;
    for (uint32_t i = planner->tape->leaf_count; i < planner->tape->count; i++) {
        if (planner->base[i] == i && planner->needed[i] && !lower_entry(planner, i)) return false;
    }
    return true;
}
