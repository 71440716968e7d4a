/* Columns of a table at indices: gather, which moves elements as they are, and embedding, which reads any
 * weight type as f32. The table's last mode is the one that is indexed; an index outside it gives zeros, or leaves what is
 * there (mia__step.keeps). */
#include "backend/reference/element.h"

#include "base/block.h"

/* The first `ndim` modes of a view. */
static mia__view first_modes(const mia__view *view, uint32_t ndim) {
    mia__view column = *view;
    column.ndim = ndim;
    return column;
}

/* Modes `from` on. */
static mia__view last_modes(const mia__view *view, uint32_t from) {
    mia__view rest = {.offset = view->offset, .ndim = view->ndim - from};
    for (uint32_t i = 0; i < rest.ndim; i++) {
        rest.extent[i] = view->extent[from + i];
        rest.stride[i] = view->stride[from + i];
    }
    return rest;
}

/* Where an index leads, or false for one outside. */
static bool find_column(const mia__kernel_args *args, int64_t index_at, int64_t *at) {
    const mia__view *table = &args->step->inputs[0].view;
    uint32_t last = table->ndim - 1;
    int64_t index = mia__load_whole(MIA_i32, args->inputs[1], index_at) - args->step->first_column;
    if (index < 0 || index >= table->extent[last]) return false;
    *at = table->offset + index * table->stride[last];
    return true;
}

void mia__reference_gather(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    const mia__operand *table = &step->inputs[0];
    static const uint8_t zero[256]; /* of any unit */
    uint32_t column_modes = table->view.ndim - 1;
    const mia_dtype_info *info = mia_dtype_describe(table->dtype);
    size_t bytes = info->bytes;
    mia__view from = first_modes(&table->view, column_modes),
              to = first_modes(&step->output.view, column_modes);
    if (info->kind == MIA_KIND_BLOCK) { /* mode 0 in blocks */
        from.extent[0] /= info->elements;
        to.extent[0] /= info->elements;
    }
    mia__view nothing = {.ndim = column_modes};
    for (uint32_t i = 0; i < column_modes; i++) nothing.extent[i] = to.extent[i];
    mia__view places = last_modes(&step->output.view, column_modes);
    mia__walk walk;
    if (!mia__walk_start(&walk, &step->inputs[1].view, 0)) return;
    uint32_t i = mia__walk_add(&walk, &step->inputs[1].view), o = mia__walk_add(&walk, &places);
    do {
        to.offset = walk.at[o];
        bool inside = find_column(args, walk.at[i], &from.offset);
        if (!inside && step->keeps) continue;
        mia__copy_units(bytes, &to, args->output, inside ? &from : &nothing, inside ? args->inputs[0] : zero);
    } while (mia__walk_next(&walk));
}

/* One column of the table, or zeros, into the output's mode 0. */
static void embed_column(const mia__kernel_args *args, bool inside, int64_t from, int64_t to) {
    const mia__operand *table = &args->step->inputs[0], *out = &args->step->output;
    for (int64_t first = 0; first < out->view.extent[0]; first += MIA__BLOCK_MOST) {
        double run[MIA__BLOCK_MOST] = {0};
        int64_t left = out->view.extent[0] - first;
        int64_t count = left < MIA__BLOCK_MOST ? left : MIA__BLOCK_MOST;
        if (inside) mia__load_run(table, args->inputs[0], from, first, count, run);
        for (int64_t c = 0; c < count; c++)
            mia__store(out->dtype, args->output, to + (first + c) * out->view.stride[0], run[c]);
    }
}

void mia__reference_embedding(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    mia__view places = last_modes(&step->output.view, 1);
    mia__walk walk;
    if (!mia__walk_start(&walk, &step->inputs[1].view, 0)) return;
    uint32_t i = mia__walk_add(&walk, &step->inputs[1].view), o = mia__walk_add(&walk, &places);
    do {
        int64_t from = 0;
        bool inside = find_column(args, walk.at[i], &from);
        if (inside || !step->keeps) embed_column(args, inside, from, walk.at[o]);
    } while (mia__walk_next(&walk));
}
