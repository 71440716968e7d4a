/* Operations that programs register, run by what they say of themselves. */
#include "backend/reference/element.h"
#include "graph/ops.h"

static mia_custom_view view_of(const mia__operand *operand, const void *base) {
    const mia_dtype_info *info = mia_dtype_describe(operand->dtype);
    uint8_t *start = (uint8_t *)(uintptr_t)base;
    return (mia_custom_view){.dtype = operand->dtype,
                             .ndim = operand->view.ndim,
                             .extent = operand->view.extent,
                             .stride = operand->view.stride,
                             .data = start + operand->view.offset * (int64_t)info->bytes};
}

void mia__reference_custom_call(const mia__kernel_args *args, mia_custom_call *call) {
    const mia__step *step = args->step;
    *call = (mia_custom_call){.user = step->custom->description.user,
                              .attributes = &step->attributes,
                              .count = step->input_count,
                              .output = view_of(&step->output, args->output)};
    for (uint32_t i = 0; i < step->input_count; i++)
        call->operands[i] = view_of(&step->inputs[i], args->inputs[i]);
}

void mia__reference_custom(const mia__kernel_args *args) {
    mia_custom_call call;
    mia__reference_custom_call(args, &call);
    args->step->custom->description.reference(&call);
}

void mia__reference_custom_elementwise(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    const mia_op_description *d = &step->custom->description;
    mia__walk walk;
    uint32_t at[MIA__MAX_OPERANDS] = {0};
    if (!mia__walk_start(&walk, &step->output.view, 0)) return;
    uint32_t o = mia__walk_add(&walk, &step->output.view);
    for (uint32_t i = 0; i < step->input_count; i++) at[i] = mia__walk_add(&walk, &step->inputs[i].view);
    do {
        double x[MIA__MAX_OPERANDS];
        for (uint32_t i = 0; i < step->input_count; i++)
            x[i] = mia__load(step->inputs[i].dtype, args->inputs[i], walk.at[at[i]]);
        mia__store_number(step->output.dtype, args->output, walk.at[o],
                          d->number(d->user, &step->attributes, x));
    } while (mia__walk_next(&walk));
}
