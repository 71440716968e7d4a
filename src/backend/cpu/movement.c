/* Movement made of copies: concat and update; and embedding, rows of a table as f32. */
#include "backend/cpu/copy.h"

#include "base/block.h"
#include "base/half.h"

#include <string.h>

/* --- concat: two parts ------------------------------------------------------------------------ */

static mia__cpu_part concat_part(const mia__step *source, uint32_t input) {
    mia__cpu_part part = {.mode = (uint32_t)source->attributes.i[0], .step = 1};
    part.count = source->inputs[input].view.extent[part.mode];
    if (input > 0) part.to = source->inputs[0].view.extent[part.mode];
    return part;
}

static void run_concat_first(const mia__cpu_task *task, size_t begin, size_t end) {
    mia__cpu_part part = concat_part(task->step->source, 0);
    mia__cpu_part_run(task, &task->step->source->inputs[0], task->inputs[0], &part, begin, end);
}
static void run_concat_second(const mia__cpu_task *task, size_t begin, size_t end) {
    mia__cpu_part part = concat_part(task->step->source, 1);
    mia__cpu_part_run(task, &task->step->source->inputs[1], task->inputs[1], &part, begin, end);
}

bool mia__cpu_choose_concat(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    for (uint32_t i = 0; i < 2; i++) {
        mia__cpu_part part = concat_part(out->source, i);
        mia__cpu_part_add(out, i == 0 ? run_concat_first : run_concat_second, &out->source->inputs[i], &part);
    }
    return true;
}

/* --- update: a copy, unless in place, and a part ------------------------------------------------ */

static mia__cpu_part update_part(const mia__step *source, int64_t start) {
    uint32_t mode = (uint32_t)source->attributes.i[0];
    int64_t count = source->inputs[1].view.extent[mode], most = source->output.view.extent[mode] - count;
    start = start > most ? most : start;
    return (mia__cpu_part){.mode = mode, .to = start < 0 ? 0 : start, .step = 1, .count = count};
}

static void run_update_whole(const mia__cpu_task *task, size_t begin, size_t end) {
    mia__cpu_copy_run(&task->step->as.copy, task->output, task->inputs[0], begin, end);
}

static void run_update_part(const mia__cpu_task *task, size_t begin, size_t end) {
    mia__cpu_part part = update_part(task->step->source, *(const int32_t *)(const void *)task->inputs[2]);
    mia__cpu_part_run(task, &task->step->source->inputs[1], task->inputs[1], &part, begin, end);
}

bool mia__cpu_choose_update(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    const mia__operand *x = &source->inputs[0];
    bool in_place = x->buffer == source->output.buffer && out->input_offset[0] == out->output_offset;
    if (!in_place) {
        mia__cpu_copy *copy = &out->as.copy;
        mia__cpu_copy_make(copy, mia__cpu_unit_bytes(x), &source->output.view, &x->view);
        out->work = mia__cpu_copy_work(copy);
        mia__cpu_phase_add(out, run_update_whole, mia__cpu_copy_units(copy));
    }
    mia__cpu_part part = update_part(source, 0);
    mia__cpu_part_add(out, run_update_part, &source->inputs[1], &part);
    return true;
}

/* --- embedding: rows of a table [K, N] as f32 --------------------------------------------------- */

static void load_row(const mia__cpu_task *task, float *out, const char *row, int64_t length) {
    const mia__cpu_kernels *kernels = task->step->kernels;
    mia_dtype dtype = task->step->source->inputs[0].dtype;
    const uint16_t *halves = (const uint16_t *)(const void *)row;
    switch (dtype) {
    case MIA_f32: memcpy(out, row, (size_t)length * sizeof *out); break;
    case MIA_f16: kernels->widen_f16(out, halves, (size_t)length); break;
    case MIA_bf16: kernels->widen_bf16(out, halves, (size_t)length); break;
    case MIA_f64:
        for (int64_t i = 0; i < length; i++) out[i] = (float)((const double *)(const void *)row)[i];
        break;
    default: mia__block_decode_f32(mia__block_find(dtype), row, out, length); break;
    }
}

/* A row with gaps, `step` elements apart. Blocks have none. */
static void load_apart(mia_dtype dtype, float *out, const char *row, int64_t step, int64_t length) {
    const uint16_t *halves = (const uint16_t *)(const void *)row;
    switch (dtype) {
    case MIA_f16:
        for (int64_t i = 0; i < length; i++) out[i] = mia__f16_to_f32(halves[i * step]);
        break;
    case MIA_bf16:
        for (int64_t i = 0; i < length; i++) out[i] = mia__bf16_to_f32(halves[i * step]);
        break;
    case MIA_f64:
        for (int64_t i = 0; i < length; i++) out[i] = (float)((const double *)(const void *)row)[i * step];
        break;
    default:
        for (int64_t i = 0; i < length; i++) out[i] = ((const float *)(const void *)row)[i * step];
        break;
    }
}

/* At most so many elements of a row that no look is due meanwhile, from `first` on. */
static void load_stretch(const mia__cpu_task *task, float *out, const char *row, int64_t first) {
    const mia__cpu_embedding *e = &task->step->as.embedding;
    mia_dtype dtype = task->step->source->inputs[0].dtype;
    const mia_dtype_info *info = mia_dtype_describe(dtype);
    int64_t count = e->length - first < MIA__CPU_LOOK ? e->length - first : MIA__CPU_LOOK;
    row += first * e->step / info->elements * (int64_t)info->bytes;
    if (e->step == 1)
        load_row(task, out + first, row, count);
    else
        load_apart(dtype, out + first, row, e->step, count);
}

static void run_embedding(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_embedding *e = &task->step->as.embedding;
    const mia__operand *table = &task->step->source->inputs[0];
    for (size_t row = begin; row < end; row++) {
        int64_t at[2];
        mia__cpu_loop_offsets(&e->rows, 0, row, 2, at);
        int64_t index = ((const int32_t *)(const void *)task->inputs[1])[at[1]];
        float *out = (float *)(void *)task->output + at[0];
        if (index < 0 || index >= e->extent) {
            memset(out, 0, (size_t)e->length * sizeof *out);
            continue;
        }
        const char *from = task->inputs[0] + index * e->stride * (int64_t)mia__cpu_unit_bytes(table);
        for (int64_t first = 0; first < e->length && !mia__cpu_stopped(task); first += MIA__CPU_LOOK)
            load_stretch(task, out, from, first);
    }
}

/* The modes of the output but the first are those of the indices. */
bool mia__cpu_choose_embedding(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    const mia__view *table = &source->inputs[0].view, *indices = &source->inputs[1].view;
    const mia__view *output = &source->output.view;
    mia__view places = {.ndim = indices->ndim};
    for (uint32_t m = 0; m < places.ndim; m++) {
        places.extent[m] = output->extent[m + 1];
        places.stride[m] = output->stride[m + 1];
    }
    const mia__view *operands[2] = {&places, indices};
    mia__cpu_embedding *e = &out->as.embedding;
    mia__cpu_loop_make(&e->rows, &places, 0, operands, 2);
    e->length = table->extent[0];
    e->extent = table->extent[1];
    e->step = table->extent[0] > 1 ? table->stride[0] : 1;
    e->stride = table->stride[1];
    size_t rows = e->rows.rows * (size_t)e->rows.extent[0];
    out->work = (double)rows * (20.0 + 0.3 * (double)e->length);
    mia__cpu_phase_add(out, run_embedding, rows);
    return true;
}
