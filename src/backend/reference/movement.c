/* Movement of elements as they are: copy, concat, pad, update. Sizes alone matter, types do not: blocks move
 * whole. Attributes that name a mode count the modes of the views, a packed type's inner mode included. */
#include "backend/reference/element.h"

#include "base/block.h"

/* The view with mode 0 counted in units instead of elements, which differs for block types alone. */
static mia__view in_units(const mia__operand *operand) {
    mia__view view = operand->view;
    const mia_dtype_info *info = mia_dtype_describe(operand->dtype);
    if (info->kind == MIA_KIND_BLOCK && view.ndim > 0) view.extent[0] /= info->elements;
    return view;
}

/* `count` places of one mode, from `begin` on. */
static mia__view part_of(const mia__view *view, uint32_t mode, int64_t begin, int64_t count) {
    mia__view part = *view;
    part.offset += begin * view->stride[mode];
    part.extent[mode] = count;
    return part;
}

static size_t unit_bytes(const mia__kernel_args *args) {
    return mia_dtype_describe(args->step->output.dtype)->bytes;
}

void mia__reference_copy(const mia__kernel_args *args) {
    mia__view to = in_units(&args->step->output), from = in_units(&args->step->inputs[0]);
    mia__copy_units(unit_bytes(args), &to, args->output, &from, args->inputs[0]);
}

void mia__reference_concat(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    uint32_t mode = (uint32_t)step->attributes.i[0];
    int64_t begin = 0;
    if (mode >= step->output.view.ndim) return; /* recording refused it */
    mia__view whole = in_units(&step->output);
    for (uint32_t i = 0; i < step->input_count; i++) {
        mia__view from = in_units(&step->inputs[i]);
        mia__view to = part_of(&whole, mode, begin, from.extent[mode]);
        mia__copy_units(unit_bytes(args), &to, args->output, &from, args->inputs[i]);
        begin += from.extent[mode];
    }
}

/* The place of the mode that place `at` of the output, counted from the tensor's first, takes from; -1: none. */
static int64_t pad_source(mia_pad_style style, int64_t at, int64_t extent) {
    if (at >= 0 && at < extent) return at;
    switch (style) {
    case MIA_PAD_EDGE: return at < 0 ? 0 : extent - 1;
    case MIA_PAD_MIRROR: return at < 0 ? -at : 2 * (extent - 1) - at;
    case MIA_PAD_CYCLE: return at < 0 ? at + extent : at - extent;
    default: return -1;
    }
}

void mia__reference_pad(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    const mia__view *from = &step->inputs[0].view;
    const int64_t *attributes = step->attributes.i;
    uint32_t mode = (uint32_t)attributes[0];
    if (mode >= from->ndim || attributes[1] < 0 || attributes[2] < 0) return; /* recording refused it */
    uint64_t number = 0;
    mia__store_number(step->output.dtype, &number, 0, step->attributes.f[0]);
    for (int64_t at = 0; at < step->output.view.extent[mode]; at++) {
        int64_t source = pad_source((mia_pad_style)attributes[3], at - attributes[1], from->extent[mode]);
        mia__view to = part_of(&step->output.view, mode, at, 1), part = to;
        memset(part.stride, 0, sizeof part.stride); /* one number, repeated */
        part.offset = 0;
        if (source >= 0) part = part_of(from, mode, source, 1);
        mia__copy_units(unit_bytes(args), &to, args->output, &part, source >= 0 ? args->inputs[0] : &number);
    }
}

/* In place (output and input 0 are the same memory and view) only the part is written. Along mode 0 of a
 * block type the position is that of the block that it lies in. */
void mia__reference_update(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    mia__view x = in_units(&step->inputs[0]), part = in_units(&step->inputs[1]),
              out = in_units(&step->output);
    uint32_t mode = (uint32_t)step->attributes.i[0];
    size_t bytes = unit_bytes(args);
    if (mode >= x.ndim) return; /* recording refused it */
    int64_t start = mia__load_whole(MIA_i32, args->inputs[2], step->inputs[2].view.offset);
    int64_t most = step->inputs[0].view.extent[mode] - step->inputs[1].view.extent[mode];
    if (start > most) start = most;
    if (start < 0) start = 0;
    if (mode == 0) start /= mia_dtype_describe(step->output.dtype)->elements;
    if (args->output != args->inputs[0]) mia__copy_units(bytes, &out, args->output, &x, args->inputs[0]);
    mia__view to = part_of(&out, mode, start, part.extent[mode]);
    mia__copy_units(bytes, &to, args->output, &part, args->inputs[1]);
}
