/* Places of a mode by index: take, take_along and gather, which are one walk over output, input and indices. What
 * is put at indices is in scattered.c. */
#include "backend/cpu/copy.h"

#include <string.h>

#define PIECE_BYTES 16384 /* of a row: a unit */

/* --- running ---------------------------------------------------------------------------------- */

static int64_t index_at(const char *indices, int64_t at) {
    return ((const int32_t *)(const void *)indices)[at];
}

/* A row of the output that one index decides. */
static void take_row(const mia__cpu_taken *taken, char *out, const char *in, int64_t index, int64_t count) {
    int64_t out_stride = taken->loop.stride[0][0], in_stride = taken->loop.stride[1][0];
    static const char zeros[16] = {0};
    bool inside = index >= 0 && index < taken->extent;
    if (inside) in += index * taken->stride * (int64_t)taken->bytes;
    mia__cpu_copy_row(taken->bytes, out, out_stride, inside ? in : zeros, inside ? in_stride : 0, count);
}

/* Each element has its index. */
#define TAKE_ELEMENTS(size)                                                                                  \
    for (int64_t i = 0; i < count; i++) {                                                                    \
        int64_t index = index_at(indices, i * index_stride);                                                 \
        char unit_[size] = {0};                                                                              \
        if (index >= 0 && index < taken->extent)                                                             \
            memcpy(unit_, in + (i * in_stride + index * taken->stride) * (size), size);                      \
        memcpy(out + i * out_stride * (size), unit_, size);                                                  \
    }

static void take_elements(const mia__cpu_taken *taken, char *out, const char *in, const char *indices,
                          int64_t count) {
    int64_t out_stride = taken->loop.stride[0][0], in_stride = taken->loop.stride[1][0],
            index_stride = taken->loop.stride[2][0];
    switch (taken->bytes) {
    case 1: TAKE_ELEMENTS(1) break;
    case 2: TAKE_ELEMENTS(2) break;
    case 4: TAKE_ELEMENTS(4) break;
    case 8: TAKE_ELEMENTS(8) break;
    default: TAKE_ELEMENTS(16) break;
    }
}

static void run_take(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_taken *taken = &task->step->as.taken;
    const mia__cpu_loop *loop = &taken->loop;
    int64_t bytes = (int64_t)taken->bytes, piece = PIECE_BYTES / bytes;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t at[3], first = (int64_t)(unit % loop->pieces) * piece;
        mia__cpu_loop_offsets(loop, 1, unit / loop->pieces, 3, at);
        int64_t count = loop->extent[0] - first < piece ? loop->extent[0] - first : piece;
        char *out = task->output + (at[0] + first * loop->stride[0][0]) * bytes;
        const char *in = task->inputs[0] + (at[1] + first * loop->stride[1][0]) * bytes;
        const char *indices =
            task->inputs[1] + (at[2] + first * loop->stride[2][0]) * (int64_t)sizeof(int32_t);
        if (loop->stride[2][0] == 0)
            take_row(taken, out, in, index_at(indices, 0), count);
        else
            take_elements(taken, out, in, indices, count);
    }
}

/* --- choosing --------------------------------------------------------------------------------- */

/* The output's modes with the strides of x, which stands still along those of the indices, and the other way round:
 *
 *     output    b0 b1 [i0 i1] a0        x  b0 b1 [mode] a0        indices  [i0 i1] */
static void spread_modes(const mia__view *output, const mia__view *x, const mia__view *indices, uint32_t mode,
                         mia__view *in, mia__view *at) {
    *in = *at = *output;
    memset(in->stride, 0, sizeof in->stride);
    memset(at->stride, 0, sizeof at->stride);
    for (uint32_t m = 0; m < output->ndim; m++) {
        if (m < mode)
            in->stride[m] = x->stride[m];
        else if (m < mode + indices->ndim)
            at->stride[m] = indices->stride[m - mode];
        else
            in->stride[m] = x->stride[m - indices->ndim + 1];
    }
}

/* Rows of a few bytes that share an index become one unit, as in copy.c. */
static void join_row(mia__cpu_taken *taken) {
    mia__cpu_loop *loop = &taken->loop;
    int64_t count = loop->extent[0];
    size_t bytes = taken->bytes * (size_t)count;
    bool joins = loop->ndim > 1 && count > 1 && count <= 16 && loop->stride[0][0] == 1 &&
                 loop->stride[1][0] == 1 && loop->stride[2][0] == 0 && taken->stride % count == 0 &&
                 (bytes == 2 || bytes == 4 || bytes == 8 || bytes == 16);
    for (uint32_t m = 1; joins && m < loop->ndim; m++)
        joins = loop->stride[0][m] % count == 0 && loop->stride[1][m] % count == 0;
    if (!joins) return;
    loop->ndim--;
    for (uint32_t m = 0; m < loop->ndim; m++) {
        loop->extent[m] = loop->extent[m + 1];
        for (uint32_t i = 0; i < 3; i++) loop->stride[i][m] = loop->stride[i][m + 1] / (i < 2 ? count : 1);
    }
    loop->rows /= (size_t)loop->extent[0];
    taken->bytes = bytes;
    taken->stride /= count;
}

bool mia__cpu_choose_take(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    const mia__view *x = &source->inputs[0].view, *indices = &source->inputs[1].view;
    uint32_t mode = source->op == MIA_OP_gather ? x->ndim - 1 : (uint32_t)source->attributes.i[0];
    mia__cpu_taken *taken = &out->as.taken;
    mia__view in = *x, at = *indices;
    taken->bytes = mia__cpu_unit_bytes(&source->output);
    taken->extent = x->extent[mode];
    taken->stride = x->stride[mode];
    if (source->op == MIA_OP_take_along) {
        for (uint32_t m = 0; m < in.ndim; m++) in.extent[m] = at.extent[m];
        in.stride[mode] = 0;
    } else {
        spread_modes(&source->output.view, x, indices, mode, &in, &at);
    }
    const mia__view *operands[3] = {&source->output.view, &in, &at};
    mia__cpu_loop *loop = &taken->loop;
    mia__cpu_loop_make(loop, &source->output.view, 0, operands, 3);
    join_row(taken);
    size_t piece = PIECE_BYTES / taken->bytes;
    loop->pieces = ((size_t)loop->extent[0] + piece - 1) / piece;
    bool shared = loop->stride[2][0] == 0 && loop->stride[1][0] == 1;
    double each = shared ? 0.06 * (double)taken->bytes : 1.5;
    out->work = (double)loop->rows * (20.0 + each * (double)loop->extent[0]);
    mia__cpu_phase_add(out, run_take, loop->rows * loop->pieces);
    return true;
}
