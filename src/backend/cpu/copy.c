/* Strided copies (copy.h), and the operation copy. Rows are moved by memcpy where they lie without gaps, element by
 * element where they do not; several modes that lie behind each other count as one row. Where the input runs along
 * another mode than the output, tiles of whole cache lines are turned over:
 *
 *     input   a b c d   each line is read once,        output   a e i m
 *             e f g h   and written once                        b f j n
 *             i j k l                                           c g k o
 *             m n o p                                           d h l p */
#include "backend/cpu/copy.h"

#include <string.h>

#define PIECE_BYTES 16384 /* of a row: a unit */

/* --- rows ------------------------------------------------------------------------------------- */

/* One unit of constant size: memcpy, since what counts as one may be short rows, aligned like their elements. */
#define COPY_STRIDED(size)                                                                                   \
    for (int64_t i = 0; i < count; i++)                                                                      \
    memcpy(to + i * to_stride * (size), from + i * from_stride * (size), size)

#define FILL(size)                                                                                           \
    do {                                                                                                     \
        char unit_[size];                                                                                    \
        memcpy(unit_, from, size);                                                                           \
        for (int64_t i = 0; i < count; i++) memcpy(to + i * (size), unit_, size);                            \
    } while (0)

static bool fill_row(size_t bytes, char *to, const char *from, int64_t count) {
    switch (bytes) {
    case 1: memset(to, *from, (size_t)count); return true;
    case 2: FILL(2); return true;
    case 4: FILL(4); return true;
    case 8: FILL(8); return true;
    case 16: FILL(16); return true;
    default: return false;
    }
}

void mia__cpu_copy_row(size_t bytes, char *to, int64_t to_stride, const char *from, int64_t from_stride,
                       int64_t count) {
    if (to_stride == 1 && from_stride == 1) {
        memmove(to, from, (size_t)count * bytes);
        return;
    }
    if (to_stride == 1 && from_stride == 0 && fill_row(bytes, to, from, count)) return;
    switch (bytes) {
    case 1: COPY_STRIDED(1); break;
    case 2: COPY_STRIDED(2); break;
    case 4: COPY_STRIDED(4); break;
    case 8: COPY_STRIDED(8); break;
    case 16: COPY_STRIDED(16); break;
    default:
        for (int64_t i = 0; i < count; i++)
            memcpy(to + i * to_stride * (int64_t)bytes, from + i * from_stride * (int64_t)bytes, bytes);
    }
}

/* --- all of a value --------------------------------------------------------------------------- */

/* A row of 2, 4, 8 or 16 bytes without gaps becomes one unit, if all strides are whole numbers of it. */
static bool join_row(mia__cpu_copy *copy) {
    mia__cpu_loop *loop = &copy->loop;
    int64_t count = loop->extent[0];
    if (loop->ndim < 2 || count < 2 || loop->stride[0][0] != 1 || loop->stride[1][0] != 1) return false;
    size_t bytes = copy->bytes * (size_t)count;
    if (count > 16 || (bytes != 2 && bytes != 4 && bytes != 8 && bytes != 16)) return false;
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t m = 1; m < loop->ndim; m++)
            if (loop->stride[i][m] % count != 0) return false;
    loop->ndim--;
    for (uint32_t m = 0; m < loop->ndim; m++) {
        loop->extent[m] = loop->extent[m + 1];
        for (uint32_t i = 0; i < 2; i++) loop->stride[i][m] = loop->stride[i][m + 1] / count;
    }
    loop->rows = loop->extent[0] > 0 ? loop->rows / (size_t)loop->extent[0] : 0;
    copy->bytes = bytes;
    return true;
}

void mia__cpu_copy_make(mia__cpu_copy *copy, size_t bytes, const mia__view *to, const mia__view *from) {
    const mia__view *operands[2] = {to, from};
    copy->bytes = bytes;
    mia__cpu_loop_make(&copy->loop, from, 0, operands, 2);
    while (join_row(copy)) {
    }
    size_t piece = PIECE_BYTES / copy->bytes;
    copy->loop.pieces = ((size_t)copy->loop.extent[0] + piece - 1) / piece;
}

double mia__cpu_copy_work(const mia__cpu_copy *copy) {
    const mia__cpu_loop *loop = &copy->loop;
    double each = loop->stride[0][0] == 1 && loop->stride[1][0] == 1 ? 0.06 * (double)copy->bytes : 1.0;
    return (double)loop->rows * (15.0 + each * (double)loop->extent[0]);
}

void mia__cpu_copy_run(const mia__cpu_copy *copy, char *out, const char *in, size_t begin, size_t end) {
    const mia__cpu_loop *loop = &copy->loop;
    int64_t bytes = (int64_t)copy->bytes, piece = PIECE_BYTES / bytes;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t at[2], first = (int64_t)(unit % loop->pieces) * piece;
        mia__cpu_loop_offsets(loop, 1, unit / loop->pieces, 2, at);
        int64_t left = loop->extent[0] - first;
        mia__cpu_copy_row(copy->bytes, out + (at[0] + first * loop->stride[0][0]) * bytes, loop->stride[0][0],
                          in + (at[1] + first * loop->stride[1][0]) * bytes, loop->stride[1][0],
                          left < piece ? left : piece);
    }
}

/* --- some places of a mode -------------------------------------------------------------------- */

static mia__view places_of(const mia__view *view, uint32_t mode, int64_t step, int64_t count) {
    mia__view some = *view;
    some.extent[mode] = count;
    some.stride[mode] *= step;
    return some;
}

static void make_part(mia__cpu_copy *copy, const mia__operand *output, const mia__operand *input,
                      const mia__cpu_part *part) {
    mia__view to = places_of(&output->view, part->mode, 1, part->count);
    mia__view from = places_of(&input->view, part->mode, part->step, part->count);
    mia__cpu_copy_make(copy, mia__cpu_unit_bytes(output), &to, &from);
}

void mia__cpu_part_add(mia__cpu_step *step, mia__cpu_function function, const mia__operand *input,
                       const mia__cpu_part *part) {
    mia__cpu_copy copy;
    make_part(&copy, &step->source->output, input, part);
    size_t units = mia__cpu_copy_units(&copy);
    if (units == 0) return;
    step->work += mia__cpu_copy_work(&copy);
    mia__cpu_phase_add(step, function, units);
}

void mia__cpu_part_run(const mia__cpu_task *task, const mia__operand *input, const char *in,
                       const mia__cpu_part *part, size_t begin, size_t end) {
    const mia__operand *output = &task->step->source->output;
    mia__cpu_copy copy;
    make_part(&copy, output, input, part);
    int64_t bytes = (int64_t)mia__cpu_unit_bytes(output);
    char *out = task->output + part->to * output->view.stride[part->mode] * bytes;
    mia__cpu_copy_run(&copy, out, in + part->from * input->view.stride[part->mode] * bytes, begin, end);
}

/* --- tiles turned over ------------------------------------------------------------------------ */

#define LINE_BYTES   64
#define TILE_WIDTH   2                 /* lines of each row of the output that a unit does ... */
#define TILE_ROWS    32                /* ... of this many times as many rows as a line has units */
#define STREAM_BYTES ((size_t)4 << 20) /* what is larger goes past the caches */

/* `rows` rows of the output of `count` units each. */
static void turn_block(const mia__cpu_task *task, char *out, const char *in, int64_t rows, int64_t count) {
    const mia__cpu_turn *turn = &task->step->as.turn;
    const mia__cpu_loop *loop = &turn->copy.loop;
    int64_t bytes = (int64_t)turn->copy.bytes, edge = LINE_BYTES / bytes;
    int64_t out_stride = loop->stride[0][1], in_stride = loop->stride[1][0], along = loop->stride[1][1];
    for (int64_t j = 0; j < rows; j += edge)
        for (int64_t i = 0; i < count; i += edge) {
            char *to = out + (j * out_stride + i) * bytes;
            const char *from = in + (i * in_stride + j * along) * bytes;
            if (along == 1 && i + edge <= count && j + edge <= rows) {
                bool stream =
                    turn->stream && ((uintptr_t)to | (uintptr_t)(out_stride * bytes)) % LINE_BYTES == 0;
                task->step->kernels->turn_lines(turn->copy.bytes, stream, to, out_stride, from, in_stride);
                continue;
            }
            for (int64_t row = 0; row < edge && j + row < rows; row++)
                mia__cpu_copy_row(turn->copy.bytes, to + row * out_stride * bytes, 1,
                                  from + row * along * bytes, in_stride, count - i < edge ? count - i : edge);
        }
}

static void run_turn(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_turn *turn = &task->step->as.turn;
    const mia__cpu_loop *loop = &turn->copy.loop;
    int64_t bytes = (int64_t)turn->copy.bytes, edge = LINE_BYTES / bytes;
    int64_t width = TILE_WIDTH * edge, height = TILE_ROWS * edge;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t at[2], tile = (int64_t)(unit % loop->pieces);
        mia__cpu_loop_offsets(loop, 2, unit / loop->pieces, 2, at);
        int64_t i = tile / turn->tiles * width, j = tile % turn->tiles * height;
        int64_t rows = loop->extent[1] - j, count = loop->extent[0] - i;
        turn_block(task, task->output + (at[0] + i + j * loop->stride[0][1]) * bytes,
                   task->inputs[0] + (at[1] + i * loop->stride[1][0] + j * loop->stride[1][1]) * bytes,
                   rows < height ? rows : height, count < width ? count : width);
    }
    if (turn->stream) task->step->kernels->end_stream();
}

static int64_t length_of(int64_t stride) {
    return stride < 0 ? -stride : stride;
}

/* Finds the mode along which the input runs, makes it mode 1, and cuts both into tiles; false when the rows are as
 * good. */
static bool cut_tiles(mia__cpu_turn *turn) {
    mia__cpu_loop *loop = &turn->copy.loop;
    uint32_t along = 0;
    for (uint32_t m = 1; m < loop->ndim; m++) {
        int64_t stride = length_of(loop->stride[1][m]);
        if (stride > 0 && loop->extent[m] >= 4 && stride < length_of(loop->stride[1][along])) along = m;
    }
    if (along == 0 || loop->extent[0] < 4 || loop->stride[0][0] != 1 || turn->copy.bytes > 16 ||
        LINE_BYTES % turn->copy.bytes != 0)
        return false;
    int64_t extent = loop->extent[along];
    loop->extent[along] = loop->extent[1];
    loop->extent[1] = extent;
    for (uint32_t i = 0; i < 2; i++) {
        int64_t stride = loop->stride[i][along];
        loop->stride[i][along] = loop->stride[i][1];
        loop->stride[i][1] = stride;
    }
    int64_t edge = LINE_BYTES / (int64_t)turn->copy.bytes, width = TILE_WIDTH * edge,
            height = TILE_ROWS * edge;
    turn->tiles = (extent + height - 1) / height;
    loop->pieces = (size_t)(turn->tiles * ((loop->extent[0] + width - 1) / width));
    loop->rows = extent > 0 ? loop->rows / (size_t)extent : 0;
    return true;
}

/* --- copy ------------------------------------------------------------------------------------- */

static void run_copy(const mia__cpu_task *task, size_t begin, size_t end) {
    mia__cpu_copy_run(&task->step->as.copy, task->output, task->inputs[0], begin, end);
}

/* A view with mode 0 counted in units of the type, which differs for block types alone. */
static mia__view in_units(const mia__operand *operand) {
    mia__view view = operand->view;
    const mia_dtype_info *info = mia_dtype_describe(operand->dtype);
    if (info->kind == MIA_KIND_BLOCK && view.ndim > 0) view.extent[0] /= info->elements;
    return view;
}

bool mia__cpu_choose_copy(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    mia__view to = in_units(&out->source->output), from = in_units(&out->source->inputs[0]);
    size_t bytes = mia__cpu_unit_bytes(&out->source->output);
    mia__cpu_turn *turn = &out->as.turn;
    mia__cpu_copy_make(&turn->copy, bytes, &to, &from);
    if (cut_tiles(turn)) {
        size_t all = (size_t)mia__view_count(&to) * bytes;
        turn->stream = all >= STREAM_BYTES;
        out->work = 0.1 * (double)all;
        mia__cpu_phase_add(out, run_turn, mia__cpu_copy_units(&turn->copy));
        return true;
    }
    mia__cpu_copy copy = turn->copy;
    out->as.copy = copy;
    out->work = mia__cpu_copy_work(&copy);
    mia__cpu_phase_add(out, run_copy, mia__cpu_copy_units(&copy));
    return true;
}
