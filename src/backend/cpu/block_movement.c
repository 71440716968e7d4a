/* Movement of block-quantised values: concat, update and gather, and embedding, which reads them. The blocks of a row
 * (of mode 0) always lie behind each other, so a unit is a row, moved whole. */
#include "backend/cpu/blocks.h"
#include "backend/cpu/cpu.h"

#include "base/block.h"

#include <string.h>

static int64_t block_bytes(const mia__operand *operand) {
    return (int64_t)mia_dtype_describe(operand->dtype)->bytes;
}

/* Of so many elements of a row. */
static int64_t row_bytes(const mia__operand *operand, int64_t elements) {
    return elements / (int64_t)mia_dtype_describe(operand->dtype)->elements * block_bytes(operand);
}

static size_t rows_in(const mia__cpu_loop *loop) {
    return loop->rows * (size_t)loop->extent[0];
}

/* --- one value into a part of the output ------------------------------------------------------ */

/* The rows of both, operand 0 the output. */
static mia__cpu_loop rows_of_part(const mia__step *source, uint32_t input) {
    const mia__view *operands[2] = {&source->output.view, &source->inputs[input].view};
    mia__cpu_loop loop;
    mia__cpu_loop_make(&loop, operands[1], 1, operands, 2);
    return loop;
}

/* An input goes to place `place` of a mode of the output. */
static void run_part(const mia__cpu_task *task, uint32_t input, int64_t place, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    const mia__operand *output = &source->output;
    uint32_t mode = (uint32_t)source->attributes.i[0];
    int64_t bytes = block_bytes(output);
    mia__cpu_loop loop = rows_of_part(source, input);
    size_t length = (size_t)row_bytes(output, source->inputs[input].view.extent[0]);
    char *out =
        task->output + (mode == 0 ? row_bytes(output, place) : place * output->view.stride[mode] * bytes);
    for (size_t row = begin; row < end; row++) {
        int64_t at[2];
        mia__cpu_loop_offsets(&loop, 0, row, 2, at);
        mia__cpu_move(task, out + at[0] * bytes, task->inputs[input] + at[1] * bytes, length);
    }
}

static void add_part(mia__cpu_step *out, mia__cpu_function function, uint32_t input) {
    mia__cpu_loop loop = rows_of_part(out->source, input);
    const mia__operand *operand = &out->source->inputs[input];
    int64_t length = row_bytes(operand, operand->view.extent[0]);
    if (length == 0) return; /* a value without elements, and maybe without memory */
    out->work += (double)rows_in(&loop) * (15.0 + 0.06 * (double)length);
    mia__cpu_phase_add(out, function, rows_in(&loop));
}

static void run_concat_first(const mia__cpu_task *task, size_t begin, size_t end) {
    run_part(task, 0, 0, begin, end);
}
static void run_concat_second(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    run_part(task, 1, source->inputs[0].view.extent[source->attributes.i[0]], begin, end);
}

static void run_update_whole(const mia__cpu_task *task, size_t begin, size_t end) {
    run_part(task, 0, 0, begin, end);
}
static void run_update_part(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    uint32_t mode = (uint32_t)source->attributes.i[0];
    int64_t most = source->inputs[0].view.extent[mode] - source->inputs[1].view.extent[mode];
    int64_t start = *(const int32_t *)(const void *)task->inputs[2];
    start = start > most ? most : start;
    run_part(task, 1, start < 0 ? 0 : start, begin, end);
}

static void choose_update(mia__cpu_step *out) {
    const mia__step *source = out->source;
    bool in_place =
        source->inputs[0].buffer == source->output.buffer && out->input_offset[0] == out->output_offset;
    if (!in_place) add_part(out, run_update_whole, 0);
    add_part(out, run_update_part, 1);
}

/* --- rows of a table [K, N] at indices -------------------------------------------------------- */

static void decode_row(const mia__cpu_task *task, const char *row, float *out, int64_t length) {
    const mia__operand *table = &task->step->source->inputs[0];
    const mia__block_format *format = mia__block_find(table->dtype);
    for (int64_t first = 0; first < length && !mia__cpu_stopped(task); first += MIA__CPU_LOOK) {
        int64_t count = length - first < MIA__CPU_LOOK ? length - first : MIA__CPU_LOOK;
        mia__block_decode_f32(format, row + row_bytes(table, first), out + first, count);
    }
}

static void run_rows(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    const mia__operand *table = &source->inputs[0];
    const mia__cpu_rows *rows = &task->step->as.rows;
    bool moves = source->op == MIA_OP_gather;
    int64_t length = row_bytes(table, rows->length), bytes = block_bytes(table);
    size_t out_bytes = moves ? (size_t)length : (size_t)rows->length * sizeof(float);
    for (size_t row = begin; row < end; row++) {
        int64_t at[2];
        mia__cpu_loop_offsets(&rows->outer, 0, row, 2, at);
        int64_t index = ((const int32_t *)(const void *)task->inputs[1])[at[1]];
        char *out = task->output + at[0] * block_bytes(&source->output);
        if (index < 0 || index >= table->view.extent[1]) {
            memset(out, 0, out_bytes);
            continue;
        }
        const char *from = task->inputs[0] + index * table->view.stride[1] * bytes;
        if (moves)
            mia__cpu_move(task, out, from, out_bytes);
        else
            decode_row(task, from, (float *)(void *)out, rows->length);
    }
}

/* The modes of the output but the first are those of the indices. */
static void choose_rows(mia__cpu_step *out) {
    const mia__step *source = out->source;
    const mia__view *to = &source->output.view, *indices = &source->inputs[1].view;
    mia__view places = {.ndim = to->ndim - 1};
    for (uint32_t m = 0; m < places.ndim; m++) {
        places.extent[m] = to->extent[m + 1];
        places.stride[m] = to->stride[m + 1];
    }
    const mia__view *operands[2] = {&places, indices};
    mia__cpu_rows *rows = &out->as.rows;
    rows->length = to->extent[0];
    mia__cpu_loop_make(&rows->outer, &places, 0, operands, 2);
    out->work = (double)rows_in(&rows->outer) * (20.0 + 0.3 * (double)rows->length);
    mia__cpu_phase_add(out, run_rows, rows_in(&rows->outer));
}

/* --- choosing --------------------------------------------------------------------------------- */

bool mia__cpu_moves_blocks(const mia__step *step) {
    bool moves = step->op == MIA_OP_concat || step->op == MIA_OP_update || step->op == MIA_OP_gather ||
                 step->op == MIA_OP_embedding;
    return moves && mia__cpu_is_block(step->inputs[0].dtype);
}

bool mia__cpu_choose_blocks(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    if (out->source->op == MIA_OP_update) {
        choose_update(out);
    } else if (out->source->op == MIA_OP_concat) {
        add_part(out, run_concat_first, 0);
        add_part(out, run_concat_second, 1);
    } else {
        choose_rows(out);
    }
    return true;
}
