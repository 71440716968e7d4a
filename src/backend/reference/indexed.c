/* Places of a mode by index (take, take_along, scatter, scatter_along), and by arithmetic (roll, triangles). */
#include "backend/reference/element.h"

static size_t unit_bytes(const mia__kernel_args *args) {
    return mia_dtype_describe(args->step->output.dtype)->bytes;
}

static mia__view without_mode(const mia__view *view, uint32_t mode) {
    mia__view rest = {.offset = view->offset};
    for (uint32_t m = 0; m < view->ndim; m++) {
        if (m == mode) continue;
        rest.extent[rest.ndim] = view->extent[m];
        rest.stride[rest.ndim++] = view->stride[m];
    }
    return rest;
}

/* Modes `from` .. `from + count - 1` alone, at place 0 of the others. */
static mia__view only_modes(const mia__view *view, uint32_t from, uint32_t count) {
    mia__view some = {.offset = view->offset, .ndim = count};
    for (uint32_t m = 0; m < count; m++) {
        some.extent[m] = view->extent[from + m];
        some.stride[m] = view->stride[from + m];
    }
    return some;
}

/* A unit moved, or zeros in its place. */
static void move_unit(const mia__kernel_args *args, int64_t to, bool inside, int64_t from) {
    size_t bytes = unit_bytes(args);
    uint8_t *into = (uint8_t *)args->output + to * (int64_t)bytes;
    if (inside)
        memcpy(into, (const uint8_t *)args->inputs[0] + from * (int64_t)bytes, bytes);
    else
        memset(into, 0, bytes);
}

/* --- take ------------------------------------------------------------------------------------- */

/* The output has the modes of the indices in the place of x's mode. */
void mia__reference_take(const mia__kernel_args *args) {
    const mia__view *x = &args->step->inputs[0].view, *indices = &args->step->inputs[1].view;
    const mia__view *output = &args->step->output.view;
    uint32_t mode = (uint32_t)args->step->attributes.i[0];
    mia__view places = only_modes(output, mode, indices->ndim), from = without_mode(x, mode), to = *output;
    for (uint32_t m = 0; m < indices->ndim; m++) to = without_mode(&to, mode);
    mia__walk outer, inner;
    if (!mia__walk_start(&outer, indices, 0)) return;
    uint32_t i = mia__walk_add(&outer, indices), o = mia__walk_add(&outer, &places);
    do {
        int64_t index = mia__load_whole(MIA_i32, args->inputs[1], outer.at[i]);
        bool inside = index >= 0 && index < x->extent[mode];
        int64_t skip = inside ? index * x->stride[mode] : 0, into = outer.at[o] - to.offset;
        if (!mia__walk_start(&inner, &to, 0)) return;
        uint32_t t = mia__walk_add(&inner, &to), f = mia__walk_add(&inner, &from);
        do move_unit(args, inner.at[t] + into, inside, inner.at[f] + skip);
        while (mia__walk_next(&inner));
    } while (mia__walk_next(&outer));
}

void mia__reference_take_along(const mia__kernel_args *args) {
    const mia__view *x = &args->step->inputs[0].view, *indices = &args->step->inputs[1].view;
    uint32_t mode = (uint32_t)args->step->attributes.i[0];
    mia__view line = *x;
    line.stride[mode] = 0;
    mia__walk walk;
    if (!mia__walk_start(&walk, indices, 0)) return;
    uint32_t i = mia__walk_add(&walk, indices), f = mia__walk_add(&walk, &line),
             o = mia__walk_add(&walk, &args->step->output.view);
    do {
        int64_t index = mia__load_whole(MIA_i32, args->inputs[1], walk.at[i]);
        bool inside = index >= 0 && index < x->extent[mode];
        move_unit(args, walk.at[o], inside, inside ? walk.at[f] + index * x->stride[mode] : 0);
    } while (mia__walk_next(&walk));
}

/* --- scatter ---------------------------------------------------------------------------------- */

static double combine_real(mia_scatter_style style, double there, double comes) {
    switch (style) {
    case MIA_SCATTER_ADD: return there + comes;
    case MIA_SCATTER_MUL: return there * comes;
    case MIA_SCATTER_MIN: return there != there || there < comes ? there : comes;
    case MIA_SCATTER_MAX: return there != there || there > comes ? there : comes;
    default: return comes;
    }
}

static int64_t combine_whole(mia_scatter_style style, int64_t there, int64_t comes) {
    switch (style) {
    case MIA_SCATTER_ADD: return (int64_t)((uint64_t)there + (uint64_t)comes);
    case MIA_SCATTER_MUL: return (int64_t)((uint64_t)there * (uint64_t)comes);
    case MIA_SCATTER_MIN: return there < comes ? there : comes;
    case MIA_SCATTER_MAX: return there > comes ? there : comes;
    default: return comes;
    }
}

/* One line of the mode: `count` indices, and as many parts, at these places and strides; `to` is the line of the
 * output. What meets in one place is combined in f64, or in 64 bits, in order, and rounded once. */
typedef struct scatter_line {
    int64_t count, index_at, index_stride, part_at, part_stride, to, to_stride, extent;
} scatter_line;

static int64_t index_of(const mia__kernel_args *args, const scatter_line *line, int64_t k) {
    return mia__load_whole(MIA_i32, args->inputs[1], line->index_at + k * line->index_stride);
}

/* All that comes to the place of part `first`, which is the first there. */
static void scatter_place(const mia__kernel_args *args, const scatter_line *line, int64_t first,
                          int64_t index) {
    mia_dtype dtype = args->step->output.dtype;
    mia_scatter_style style = (mia_scatter_style)args->step->attributes.i[1];
    int64_t to = line->to + index * line->to_stride, last = first;
    bool real = mia__is_float(dtype), boolean = dtype == MIA_bool8;
    double number = mia__load(dtype, args->output, to);
    int64_t whole = boolean ? (int64_t)number : mia__load_whole(dtype, args->output, to);
    for (int64_t k = first; k < line->count; k++) {
        if (index_of(args, line, k) != index) continue;
        int64_t at = line->part_at + k * line->part_stride;
        last = at;
        if (real)
            number = combine_real(style, number, mia__load(dtype, args->inputs[2], at));
        else if (boolean)
            whole = combine_whole(style, whole, mia__load(dtype, args->inputs[2], at) != 0);
        else
            whole = combine_whole(style, whole, mia__load_whole(dtype, args->inputs[2], at));
    }
    size_t bytes = unit_bytes(args);
    if (style == MIA_SCATTER_SET)
        memcpy((uint8_t *)args->output + to * (int64_t)bytes,
               (const uint8_t *)args->inputs[2] + last * (int64_t)bytes, bytes);
    else if (real)
        mia__store(dtype, args->output, to, number);
    else if (boolean)
        ((uint8_t *)args->output)[to] = whole != 0;
    else
        mia__store_whole(dtype, args->output, to, whole);
}

static void scatter_parts(const mia__kernel_args *args, const scatter_line *line) {
    for (int64_t k = 0; k < line->count; k++) {
        int64_t index = index_of(args, line, k), before = 0;
        if (index < 0 || index >= line->extent) continue;
        while (before < k && index_of(args, line, before) != index) before++;
        if (before == k) scatter_place(args, line, k, index);
    }
}

/* `indices` is a view that stands still where lines share theirs. */
static void scatter(const mia__kernel_args *args, const mia__view *indices, int64_t index_stride) {
    const mia__step *step = args->step;
    const mia__view *x = &step->inputs[0].view, *part = &step->inputs[2].view, *output = &step->output.view;
    uint32_t mode = (uint32_t)step->attributes.i[0];
    if (args->output != args->inputs[0])
        mia__copy_units(unit_bytes(args), output, args->output, x, args->inputs[0]);
    scatter_line line = {.count = part->extent[mode],
                         .index_stride = index_stride,
                         .part_stride = part->stride[mode],
                         .to_stride = output->stride[mode],
                         .extent = output->extent[mode]};
    mia__view lines = without_mode(part, mode), into = without_mode(output, mode);
    mia__walk walk;
    if (line.count == 0 || !mia__walk_start(&walk, &lines, 0)) return;
    uint32_t i = mia__walk_add(&walk, indices), p = mia__walk_add(&walk, &lines),
             o = mia__walk_add(&walk, &into);
    do {
        line.index_at = walk.at[i];
        line.part_at = walk.at[p];
        line.to = walk.at[o];
        scatter_parts(args, &line);
    } while (mia__walk_next(&walk));
}

void mia__reference_scatter(const mia__kernel_args *args) {
    const mia__view *indices = &args->step->inputs[1].view;
    mia__view first = {.offset = indices->offset};
    scatter(args, &first, indices->stride[0]);
}

void mia__reference_scatter_along(const mia__kernel_args *args) {
    const mia__view *indices = &args->step->inputs[1].view;
    uint32_t mode = (uint32_t)args->step->attributes.i[0];
    mia__view lines = without_mode(indices, mode);
    scatter(args, &lines, indices->stride[mode]);
}

/* --- roll and triangles ----------------------------------------------------------------------- */

void mia__reference_roll(const mia__kernel_args *args) {
    const mia__view *x = &args->step->inputs[0].view, *output = &args->step->output.view;
    uint32_t mode = (uint32_t)args->step->attributes.i[0];
    int64_t extent = x->extent[mode];
    if (extent == 0) return;
    int64_t shift = args->step->attributes.i[1] % extent;
    for (int64_t at = 0; at < extent; at++) {
        mia__view from = *x, to = *output;
        from.extent[mode] = to.extent[mode] = 1;
        from.offset += at * x->stride[mode];
        to.offset += (at + shift +
                      (at + shift < 0         ? extent
                       : at + shift >= extent ? -extent
                                              : 0)) *
                     output->stride[mode];
        mia__copy_units(unit_bytes(args), &to, args->output, &from, args->inputs[0]);
    }
}

void mia__reference_triangle(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    int64_t diagonal = step->attributes.i[0];
    bool lower = step->op == MIA_OP_tril;
    mia__walk walk;
    if (!mia__walk_start(&walk, &step->output.view, 0)) return;
    uint32_t o = mia__walk_add(&walk, &step->output.view), i = mia__walk_add(&walk, &step->inputs[0].view);
    do {
        int64_t place = walk.index[0] - walk.index[1];
        move_unit(args, walk.at[o], lower ? place <= diagonal : place >= diagonal, walk.at[i]);
    } while (mia__walk_next(&walk));
}
