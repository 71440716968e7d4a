/* Movement: copy, concat, pad, update, gather, embedding. Rows are moved by memcpy where they lie without
 * gaps, element by element where they do not; several modes that lie behind each other count as one row. */
#include "backend/cpu/cpu.h"

#include "base/block.h"
#include "base/half.h"

#include <string.h>

#define PIECE_BYTES 16384 /* of a row: a unit */

/* --- strided copies --------------------------------------------------------------------------- */

#define COPY_STRIDED(type)                                                                                   \
    do {                                                                                                     \
        type *to_ = (type *)(void *)to;                                                                      \
        const type *from_ = (const type *)(const void *)from;                                                \
        for (int64_t i = 0; i < count; i++) to_[i * to_stride] = from_[i * from_stride];                     \
    } while (0)

/* `count` elements of `bytes` bytes; strides in elements. */
static void copy_row(size_t bytes, char *to, int64_t to_stride, const char *from, int64_t from_stride,
                     int64_t count) {
    if (to_stride == 1 && from_stride == 1) {
        memmove(to, from, (size_t)count * bytes);
        return;
    }
    switch (bytes) {
    case 1: COPY_STRIDED(uint8_t); break;
    case 2: COPY_STRIDED(uint16_t); break;
    case 4: COPY_STRIDED(uint32_t); break;
    case 8: COPY_STRIDED(uint64_t); break;
    default:
        for (int64_t i = 0; i < count; i++)
            memcpy(to + i * to_stride * (int64_t)bytes, from + i * from_stride * (int64_t)bytes, bytes);
    }
}

/* Units [begin, end) of a loop whose operand 0 is written from operand 1. */
static void copy_units(const mia__cpu_loop *loop, size_t bytes, char *out, const char *in, size_t begin,
                       size_t end) {
    int64_t piece = (int64_t)(PIECE_BYTES / bytes);
    for (size_t unit = begin; unit < end; unit++) {
        int64_t at[2], first = (int64_t)(unit % loop->pieces) * piece;
        mia__cpu_loop_offsets(loop, 1, unit / loop->pieces, 2, at);
        int64_t left = loop->extent[0] - first;
        copy_row(bytes, out + (at[0] + first * loop->stride[0][0]) * (int64_t)bytes, loop->stride[0][0],
                 in + (at[1] + first * loop->stride[1][0]) * (int64_t)bytes, loop->stride[1][0],
                 left < piece ? left : piece);
    }
}

/* A view with mode 0 counted in units of the type, which differs for block types alone. */
static mia__view in_units(const mia__operand *operand) {
    mia__view view = operand->view;
    const mia_dtype_info *info = mia_dtype_describe(operand->dtype);
    if (info->kind == MIA_KIND_BLOCK && view.ndim > 0) view.extent[0] /= info->elements;
    return view;
}

static size_t unit_bytes(const mia__operand *operand) {
    return mia_dtype_describe(operand->dtype)->bytes;
}

static void loop_of_copy(mia__cpu_loop *loop, const mia__view *to, const mia__view *from, size_t bytes) {
    const mia__view *operands[2] = {to, from};
    mia__cpu_loop_make(loop, from, 0, operands, 2);
    size_t piece = PIECE_BYTES / bytes;
    loop->pieces = ((size_t)loop->extent[0] + piece - 1) / piece;
}

static double work_of_copy(const mia__cpu_loop *loop, size_t bytes) {
    double each = loop->stride[0][0] == 1 && loop->stride[1][0] == 1 ? 0.06 * (double)bytes : 1.0;
    return (double)loop->rows * (15.0 + each * (double)loop->extent[0]);
}

/* --- copy ------------------------------------------------------------------------------------- */

static void run_copy(const mia__cpu_task *task, size_t begin, size_t end) {
    copy_units(&task->step->as.loop, unit_bytes(&task->step->source->output), task->output, task->inputs[0],
               begin, end);
}

bool mia__cpu_choose_copy(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    mia__view to = in_units(&out->source->output), from = in_units(&out->source->inputs[0]);
    size_t bytes = unit_bytes(&out->source->output);
    mia__cpu_loop *loop = &out->as.loop;
    const mia__view *operands[2] = {&to, &from};
    mia__cpu_loop_make(loop, &to, 0, operands, 2);
    loop->pieces = ((size_t)loop->extent[0] + PIECE_BYTES / bytes - 1) / (PIECE_BYTES / bytes);
    out->work = work_of_copy(loop, bytes);
    mia__cpu_phase_add(out, run_copy, loop->rows * loop->pieces);
    return true;
}

/* --- concat: two copies ----------------------------------------------------------------------- */

static void run_concat(const mia__cpu_task *task, size_t begin, size_t end, uint32_t input) {
    const mia__step *source = task->step->source;
    size_t bytes = unit_bytes(&source->output);
    uint32_t mode = (uint32_t)source->attributes.i[0];
    mia__cpu_loop loop;
    loop_of_copy(&loop, &source->output.view, &source->inputs[input].view, bytes);
    int64_t skip = input == 0 ? 0 : source->inputs[0].view.extent[mode] * source->output.view.stride[mode];
    copy_units(&loop, bytes, task->output + skip * (int64_t)bytes, task->inputs[input], begin, end);
}

static void run_concat_first(const mia__cpu_task *task, size_t begin, size_t end) {
    run_concat(task, begin, end, 0);
}
static void run_concat_second(const mia__cpu_task *task, size_t begin, size_t end) {
    run_concat(task, begin, end, 1);
}

bool mia__cpu_choose_concat(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    if (source->input_count != 2) return false;
    for (uint32_t i = 0; i < 2; i++) {
        mia__cpu_loop loop;
        loop_of_copy(&loop, &source->output.view, &source->inputs[i].view, unit_bytes(&source->output));
        out->work += work_of_copy(&loop, unit_bytes(&source->output));
        mia__cpu_phase_add(out, i == 0 ? run_concat_first : run_concat_second, loop.rows * loop.pieces);
    }
    return true;
}

/* --- pad: zeros, and a copy in between -------------------------------------------------------- */

static void run_pad_zeros(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__operand *output = &task->step->source->output;
    size_t bytes = mia__view_bytes(output->dtype, &output->view), last = end * PIECE_BYTES;
    memset(task->output + begin * PIECE_BYTES, 0, (last < bytes ? last : bytes) - begin * PIECE_BYTES);
}

static void run_pad_inside(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    size_t bytes = unit_bytes(&source->output);
    int64_t skip = source->attributes.i[1] * source->output.view.stride[source->attributes.i[0]];
    copy_units(&task->step->as.loop, bytes, task->output + skip * (int64_t)bytes, task->inputs[0], begin,
               end);
}

bool mia__cpu_choose_pad(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    size_t bytes = unit_bytes(&source->output),
           all = mia__view_bytes(source->output.dtype, &source->output.view);
    loop_of_copy(&out->as.loop, &source->output.view, &source->inputs[0].view, bytes);
    out->work = 0.03 * (double)all + work_of_copy(&out->as.loop, bytes);
    mia__cpu_phase_add(out, run_pad_zeros, (all + PIECE_BYTES - 1) / PIECE_BYTES);
    if (mia__view_count(&source->inputs[0].view) > 0)
        mia__cpu_phase_add(out, run_pad_inside, out->as.loop.rows * out->as.loop.pieces);
    return true;
}

/* --- update: a copy, unless in place, and a smaller one --------------------------------------- */

static void run_update_whole(const mia__cpu_task *task, size_t begin, size_t end) {
    if (task->output == task->inputs[0]) return;
    copy_units(&task->step->as.loop, unit_bytes(&task->step->source->output), task->output, task->inputs[0],
               begin, end);
}

static void run_update_part(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    const mia__view *x = &source->inputs[0].view, *part = &source->inputs[1].view;
    uint32_t mode = (uint32_t)source->attributes.i[0];
    size_t bytes = unit_bytes(&source->output);
    int64_t most = x->extent[mode] - part->extent[mode];
    int64_t start = *(const int32_t *)(const void *)task->inputs[2];
    start = start > most ? most : start;
    start = start < 0 ? 0 : start;
    mia__cpu_loop loop;
    loop_of_copy(&loop, &source->output.view, part, bytes);
    char *out = task->output + start * source->output.view.stride[mode] * (int64_t)bytes;
    copy_units(&loop, bytes, out, task->inputs[1], begin, end);
}

bool mia__cpu_choose_update(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    const mia__operand *x = &source->inputs[0];
    size_t bytes = unit_bytes(&source->output);
    mia__cpu_loop part;
    loop_of_copy(&part, &source->output.view, &source->inputs[1].view, bytes);
    loop_of_copy(&out->as.loop, &source->output.view, &x->view, bytes);
    bool in_place = x->buffer == source->output.buffer && out->input_offset[0] == out->output_offset;
    out->work = work_of_copy(&part, bytes) + (in_place ? 0 : work_of_copy(&out->as.loop, bytes));
    if (!in_place) mia__cpu_phase_add(out, run_update_whole, out->as.loop.rows * out->as.loop.pieces);
    mia__cpu_phase_add(out, run_update_part, part.rows * part.pieces);
    return true;
}

/* --- gather and embedding: rows of a table [K, N] --------------------------------------------- */

static void load_row(const mia__cpu_task *task, float *out, const char *row, int64_t length) {
    const mia__cpu_kernels *kernels = task->step->kernels;
    mia_dtype dtype = task->step->as.movement.dtype;
    const uint16_t *halves = (const uint16_t *)(const void *)row;
    switch (dtype) {
    case MIA_f32: memcpy(out, row, (size_t)length * sizeof *out); break;
    case MIA_f16: kernels->widen_f16(out, halves, (size_t)length); break;
    case MIA_bf16: kernels->widen_bf16(out, halves, (size_t)length); break;
    default: mia__block_decode_f32(mia__block_find(dtype), row, out, length); break;
    }
}

static void run_gather(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_movement *m = &task->step->as.movement;
    bool moves = task->step->source->op == MIA_OP_gather;
    size_t out_bytes = moves ? (size_t)m->row_bytes : (size_t)m->row_length * sizeof(float);
    for (size_t i = begin; i < end; i++) {
        int64_t index = *(const int32_t *)(const void *)(task->inputs[1] + (int64_t)i * m->index_stride);
        char *out = task->output + (int64_t)i * m->out_stride;
        if (index < 0 || index >= m->extent) {
            memset(out, 0, out_bytes);
            continue;
        }
        const char *row = task->inputs[0] + index * m->in_stride;
        if (moves)
            memcpy(out, row, out_bytes);
        else
            load_row(task, (float *)(void *)out, row, m->row_length);
    }
}

/* Whether the modes from `mode` on lie behind each other, and the step from one element to the next. */
static bool is_line(const mia__view *view, uint32_t mode, int64_t *step) {
    int64_t count = 1;
    *step = 0;
    for (uint32_t i = mode; i < view->ndim; i++) {
        if (view->extent[i] == 1) continue; /* its stride may be anything */
        if (count == 1) *step = view->stride[i];
        if (view->stride[i] != *step * count) return false;
        count *= view->extent[i];
    }
    return true;
}

bool mia__cpu_choose_gather(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    const mia__operand *table = &source->inputs[0], *indices = &source->inputs[1];
    const mia__view *to = &source->output.view;
    if (table->view.ndim != 2 || to->ndim < 1 || source->inputs[1].dtype != MIA_i32) return false;
    if (table->dtype == MIA_f64 && source->op == MIA_OP_embedding) return false;
    bool rows = (table->view.stride[0] == 1 || table->view.extent[0] == 1) &&
                (to->stride[0] == 1 || to->extent[0] == 1);
    int64_t out_step, index_step;
    if (!rows || !is_line(to, 1, &out_step) || !is_line(&indices->view, 0, &index_step)) return false;
    const mia_dtype_info *info = mia_dtype_describe(table->dtype);
    size_t out_bytes = unit_bytes(&source->output);
    int64_t count = mia__view_count(&indices->view);
    out->as.movement = (mia__cpu_movement){.dtype = table->dtype,
                                           .row_length = table->view.extent[0],
                                           .row_bytes = table->view.extent[0] / info->elements * info->bytes,
                                           .extent = table->view.extent[1],
                                           .in_stride = table->view.stride[1] * (int64_t)info->bytes,
                                           .out_stride = out_step * (int64_t)out_bytes,
                                           .index_stride = index_step * 4};
    out->work = (double)count * (20.0 + 0.3 * (double)table->view.extent[0]);
    mia__cpu_phase_add(out, run_gather, (size_t)count);
    return true;
}
