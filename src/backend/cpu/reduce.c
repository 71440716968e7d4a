/* Sum, mean and maximum of f32 over a set of modes, in two ways:
 *
 *     along rows      the innermost mode goes: a unit is one result, rows are read by vector kernels
 *     across rows     the innermost mode stays: a unit is a piece of a row of results, other rows are
 *                     added to it
 *
 * Sums are made in f32 over short stretches, in double where that has not the range, and are added in
 * double. */
#include "backend/cpu/cpu.h"

#include <math.h>
#include <string.h>

#define STRETCH 4096 /* elements of a row summed in f32 */
#define PIECE   256  /* results at a time */
#define ROWS    32   /* rows added in f32 */

static size_t passes(const mia__cpu_loop *loop) {
    return loop->rows * (size_t)loop->extent[0];
}

static float finish(const mia__cpu_task *task, double sum) {
    if (task->step->source->op == MIA_OP_mean) sum /= (double)task->step->as.reduce.count;
    return (float)sum;
}

/* Sum of a stretch; again in double where f32 has not the range. */
static double sum_stretch(const mia__cpu_kernels *kernels, const float *x, size_t count) {
    float sum = kernels->sum(x, 0, count);
    if (isfinite(sum)) return (double)sum;
    double wide = 0;
    for (size_t i = 0; i < count; i++) wide += (double)x[i];
    return wide;
}

static float reduce_along(const mia__cpu_task *task, const float *x) {
    const mia__cpu_loop *loop = &task->step->as.reduce.reduced;
    const mia__cpu_kernels *kernels = task->step->kernels;
    bool maximum = task->step->source->op == MIA_OP_reduce_max;
    double sum = 0;
    float most = -INFINITY;
    for (size_t row = 0; row < loop->rows; row++) {
        int64_t at[2];
        mia__cpu_loop_offsets(loop, 1, row, 2, at);
        for (int64_t first = 0; first < loop->extent[0]; first += STRETCH) {
            size_t count = (size_t)(loop->extent[0] - first < STRETCH ? loop->extent[0] - first : STRETCH);
            const float *from = x + at[1] + first;
            if (maximum) {
                float one = kernels->greatest(from, count);
                most = one > most || isnan(one) ? one : most;
            } else {
                sum += sum_stretch(kernels, from, count);
            }
        }
    }
    return maximum ? most : finish(task, sum);
}

static void run_along(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_loop *kept = &task->step->as.reduce.kept;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t at[2];
        mia__cpu_loop_offsets(kept, 0, unit, 2, at);
        ((float *)(void *)task->output)[at[0]] =
            reduce_along(task, (const float *)(const void *)task->inputs[0] + at[1]);
    }
}

/* One column of rows first .. end, in double. */
static double sum_column(const mia__cpu_loop *loop, const float *x, size_t first, size_t end) {
    double sum = 0;
    for (size_t row = first; row < end; row++) {
        int64_t at[2];
        mia__cpu_loop_offsets(loop, 0, row, 2, at);
        sum += (double)x[at[1]];
    }
    return sum;
}

static void sum_across(const mia__cpu_task *task, const float *x, float *out, size_t count) {
    const mia__cpu_loop *loop = &task->step->as.reduce.reduced;
    double sums[PIECE] = {0};
    float some[PIECE];
    size_t rows = passes(loop);
    for (size_t first = 0; first < rows; first += ROWS) {
        size_t end = rows - first < ROWS ? rows : first + ROWS;
        memset(some, 0, sizeof some);
        for (size_t row = first; row < end; row++) {
            int64_t at[2];
            mia__cpu_loop_offsets(loop, 0, row, 2, at);
            task->step->kernels->binary[mia__cpu_binary(MIA_OP_add)](some, some, x + at[1], count);
        }
        for (size_t i = 0; i < count; i++)
            sums[i] += isfinite(some[i]) ? (double)some[i] : sum_column(loop, x + i, first, end);
    }
    for (size_t i = 0; i < count; i++) out[i] = finish(task, sums[i]);
}

static void greatest_across(const mia__cpu_task *task, const float *x, float *out, size_t count) {
    const mia__cpu_loop *loop = &task->step->as.reduce.reduced;
    size_t rows = passes(loop);
    for (size_t i = 0; i < count; i++) out[i] = -INFINITY;
    for (size_t row = 0; row < rows; row++) {
        int64_t at[2];
        mia__cpu_loop_offsets(loop, 0, row, 2, at);
        task->step->kernels->binary[mia__cpu_binary(MIA_OP_max)](out, out, x + at[1], count);
    }
}

static void run_across(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_loop *kept = &task->step->as.reduce.kept;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t at[2], first = (int64_t)(unit % kept->pieces) * PIECE, left = kept->extent[0] - first;
        mia__cpu_loop_offsets(kept, 1, unit / kept->pieces, 2, at);
        float *out = (float *)(void *)task->output + at[0] + first;
        const float *x = (const float *)(const void *)task->inputs[0] + at[1] + first;
        bool maximum = task->step->source->op == MIA_OP_reduce_max;
        (maximum ? greatest_across : sum_across)(task, x, out, (size_t)(left < PIECE ? left : PIECE));
    }
}

bool mia__cpu_choose_reduce(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    mia_op op = out->source->op;
    if (op != MIA_OP_sum && op != MIA_OP_mean && op != MIA_OP_reduce_max) return false;
    const mia__operand *in = &out->source->inputs[0], *to = &out->source->output;
    if (in->dtype != MIA_f32 || mia__view_count(&in->view) == 0 || to->view.ndim != in->view.ndim)
        return false;
    mia__view kept = in->view, reduced = in->view, none = {.ndim = 0};
    for (uint32_t i = 0; i < in->view.ndim; i++)
        *(to->view.extent[i] == 1 ? &kept.extent[i] : &reduced.extent[i]) = 1;
    mia__cpu_reduce *reduce = &out->as.reduce;
    const mia__view *kept_operands[2] = {&to->view, &kept}, *reduced_operands[2] = {&none, &reduced};
    mia__cpu_loop_make(&reduce->kept, &kept, 0, kept_operands, 2);
    mia__cpu_loop_make(&reduce->reduced, &reduced, 0, reduced_operands, 2);
    reduce->count = mia__view_count(&reduced);
    out->work = 0.2 * (double)mia__view_count(&in->view) + 30.0 * (double)reduce->kept.rows;
    if (reduce->reduced.stride[1][0] == 1 || reduce->count == 1) {
        mia__cpu_phase_add(out, run_along, passes(&reduce->kept));
        return true;
    }
    if (reduce->kept.stride[1][0] != 1 || reduce->kept.stride[0][0] != 1) return false;
    reduce->kept.pieces = ((size_t)reduce->kept.extent[0] + PIECE - 1) / PIECE;
    mia__cpu_phase_add(out, run_across, reduce->kept.rows * reduce->kept.pieces);
    return true;
}
