/* Reductions over a set of modes. What stays is a loop over results, what goes a loop over the elements of
 * each, numbered first mode fastest; elements come in by stretches (reduce_take.c), in three ways:
 *
 *     as they lie    the innermost mode goes and has no gaps: a unit is one result, or some short ones
 *     brought out    any strides: up to 64 neighbouring results, whose elements are first copied to lie one
 *                    result behind the other
 *     rows added     sums, extremes and their places of f32 (or 16-bit floats, widened) whose results lie side by side: up
 *                    to 1024 of them, to which rows are added
 *
 * Where there are few results, the elements are cut into parts as well, by shape alone: phase 0 leaves what
 * each part gives in scratch, phase 1 combines the parts in their order. Sums are made in f32 over short
 * stretches, in double where that has not the range, and are added in double. */
#include "backend/cpu/reduce.h"

#include <math.h>
#include <string.h>

#define TILE     64    /* results brought out at once */
#define TALL     32    /* elements of each at a time */
#define PIECE    1024  /* results that rows are added to */
#define ROWS     32    /* rows added in f32 */
#define LONG_ROW 256   /* elements that are worth a call of their own */
#define UNIT     4096  /* elements of short rows that make a unit */
#define ENOUGH   32    /* units, so that elements need no cutting */
#define PART     16384 /* elements that make a part */
#define COMBINED 64    /* results of a unit of phase 1 */

typedef struct unit {
    int64_t first, columns; /* results: number, and how many */
    int64_t out, in;        /* offsets of the first */
    size_t part;
    int64_t begin, end; /* of the elements */
} unit;

static unit unit_at(const mia__cpu_reduce *r, size_t number) {
    size_t part = number % r->parts, piece = number / r->parts % r->kept.pieces;
    size_t row = number / r->parts / r->kept.pieces;
    int64_t column = (int64_t)piece * r->columns, left = r->kept.extent[0] - column, at[2];
    mia__cpu_loop_offsets(&r->kept, 1, row, 2, at);
    return (unit){.first = (int64_t)row * r->kept.extent[0] + column,
                  .columns = left < r->columns ? left : r->columns,
                  .out = at[0] + column * r->kept.stride[0][0],
                  .in = at[1] + column * r->kept.stride[1][0],
                  .part = part,
                  .begin = (int64_t)((size_t)r->count * part / r->parts),
                  .end = (int64_t)((size_t)r->count * (part + 1) / r->parts)};
}

/* What result `column` of a unit has come to. */
static void put(const mia__cpu_task *task, const unit *u, int64_t column, const mia__cpu_partial *partial) {
    const mia__cpu_reduce *r = &task->step->as.reduce;
    const mia__step *step = task->step->source;
    if (r->parts > 1)
        ((mia__cpu_partial *)task->args.scratch)[(int64_t)u->part * r->results + u->first + column] =
            *partial;
    else
        mia__cpu_partial_store(step->op, step->inputs[0].dtype, partial, r->count, task->output,
                               u->out + column * r->kept.stride[0][0]);
}

/* --- elements brought out ---------------------------------------------------------------------- */

/* Offsets of elements first .. first + count - 1. */
static void list_offsets(const mia__cpu_loop *loop, int64_t first, size_t count, int64_t *offsets) {
    int64_t index[MIA__VIEW_MODES] = {0}, at = 0, rest = first;
    for (uint32_t m = 0; m < loop->ndim; m++) {
        index[m] = rest % loop->extent[m];
        rest /= loop->extent[m];
        at += index[m] * loop->stride[1][m];
    }
    for (size_t i = 0; i < count; i++) {
        offsets[i] = at;
        at += loop->stride[1][0];
        for (uint32_t m = 0; ++index[m] == loop->extent[m] && m + 1 < loop->ndim; m++) {
            at += loop->stride[1][m + 1] - loop->extent[m] * loop->stride[1][m];
            index[m] = 0;
        }
    }
}

#define BRING(type)                                                                                          \
    for (size_t i = 0; i < count; i++)                                                                       \
        for (size_t c = 0; c < columns; c++)                                                                 \
            memcpy((type *)to + c * count + i, (const type *)x + offsets[i] + (int64_t)c * stride,           \
                   sizeof(type));

/* to[column][element] = x[offsets[element] + column * stride] */
static void bring_out(size_t bytes, void *to, const void *x, const int64_t *offsets, size_t count,
                      size_t columns, int64_t stride) {
    switch (bytes) {
    case 1: BRING(uint8_t) break;
    case 2: BRING(uint16_t) break;
    case 4: BRING(uint32_t) break;
    default: BRING(uint64_t) break;
    }
}

/* 16-bit floats widened; others where they are. */
static const void *widen(const mia__cpu_task *task, const void *x, size_t count, float *room) {
    mia_dtype dtype = task->step->source->inputs[0].dtype;
    if (dtype != MIA_f16 && dtype != MIA_bf16) return x;
    const mia__cpu_kernels *kernels = task->step->kernels;
    (dtype == MIA_f16 ? kernels->widen_f16 : kernels->widen_bf16)(room, x, count);
    return room;
}

static void take_brought_out(const mia__cpu_task *task, const unit *u, mia__cpu_partial *partials) {
    const mia__cpu_reduce *r = &task->step->as.reduce;
    size_t bytes = mia_dtype_describe(task->step->source->inputs[0].dtype)->bytes;
    const char *x = task->inputs[0] + u->in * (int64_t)bytes;
    size_t columns = (size_t)u->columns, wide = bytes > 4 ? bytes : 4;
    double room[TILE * TALL];
    float widened[TILE * TALL];
    int64_t offsets[TILE * TALL];
    size_t tall = columns == 1 ? TILE * TALL : TALL;
    for (int64_t first = u->begin; first < u->end && !mia__cpu_stopped(task); first += (int64_t)tall) {
        size_t count = (size_t)(u->end - first) < tall ? (size_t)(u->end - first) : tall;
        list_offsets(&r->reduced, first, count, offsets);
        bring_out(bytes, room, x, offsets, count, columns, r->kept.stride[1][0]);
        const char *from = widen(task, room, columns * count, widened);
        size_t pitch = count * (from == (const char *)room ? bytes : wide);
        for (size_t c = 0; c < columns; c++)
            r->take(task->step->kernels, &partials[c], from + c * pitch, count, first);
    }
}

static void run_brought_out(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *step = task->step->source;
    for (size_t number = begin; number < end; number++) {
        unit u = unit_at(&task->step->as.reduce, number);
        mia__cpu_partial partials[TILE];
        for (int64_t c = 0; c < u.columns; c++)
            partials[c] = mia__cpu_partial_start(step->op, step->inputs[0].dtype);
        take_brought_out(task, &u, partials);
        for (int64_t c = 0; c < u.columns; c++) put(task, &u, c, &partials[c]);
    }
}

/* --- elements as they lie ---------------------------------------------------------------------- */

/* One result. A stretch stays in one row. */
static void take_row_by_row(const mia__cpu_task *task, const unit *u, const char *x, float *widened,
                            mia__cpu_partial *partial) {
    const mia__cpu_reduce *r = &task->step->as.reduce;
    int64_t bytes = mia_dtype_describe(task->step->source->inputs[0].dtype)->bytes;
    int64_t length = r->reduced.extent[0];
    for (int64_t first = u->begin, count; first < u->end && !mia__cpu_stopped(task); first += count) {
        int64_t column = first, at[2] = {0, 0};
        if (r->reduced.ndim > 1) {
            column = first % length;
            mia__cpu_loop_offsets(&r->reduced, 1, (size_t)(first / length), 2, at);
        }
        count = length - column < MIA__CPU_STRETCH ? length - column : MIA__CPU_STRETCH;
        if (count > u->end - first) count = u->end - first;
        const void *from = widen(task, x + (at[1] + column) * bytes, (size_t)count, widened);
        r->take(task->step->kernels, partial, from, (size_t)count, first);
    }
}

static void run_as_they_lie(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_reduce *r = &task->step->as.reduce;
    const mia__step *step = task->step->source;
    mia_dtype dtype = step->inputs[0].dtype;
    int64_t bytes = mia_dtype_describe(dtype)->bytes;
    float widened[MIA__CPU_STRETCH];
    const mia__cpu_partial start = mia__cpu_partial_start(step->op, dtype);
    for (size_t number = begin; number < end; number++) {
        unit u = unit_at(r, number);
        for (int64_t c = 0; c < u.columns; c++) {
            mia__cpu_partial partial = start;
            take_row_by_row(task, &u, task->inputs[0] + (u.in + c * r->kept.stride[1][0]) * bytes, widened,
                            &partial);
            put(task, &u, c, &partial);
        }
    }
}

/* --- rows added -------------------------------------------------------------------------------- */

/* Element `number` of the first result. */
static const char *element_at(const mia__cpu_task *task, const unit *u, int64_t number) {
    const mia__step *step = task->step->source;
    int64_t at[2];
    mia__cpu_loop_offsets(&task->step->as.reduce.reduced, 0, (size_t)number, 2, at);
    return task->inputs[0] + (u->in + at[1]) * (int64_t)mia_dtype_describe(step->inputs[0].dtype)->bytes;
}

/* One column of rows first .. end, in double. */
static double sum_column(const mia__cpu_task *task, const unit *u, int64_t column, int64_t first,
                         int64_t end) {
    mia_dtype dtype = task->step->source->inputs[0].dtype;
    double sum = 0;
    for (int64_t row = first; row < end; row++) {
        float widened[1];
        const char *x = element_at(task, u, row) + column * (int64_t)mia_dtype_describe(dtype)->bytes;
        sum += (double)*(const float *)widen(task, x, 1, widened);
    }
    return sum;
}

static void sum_rows(const mia__cpu_task *task, const unit *u, mia__cpu_partial *partials) {
    float some[PIECE], widened[PIECE];
    size_t columns = (size_t)u->columns;
    for (int64_t first = u->begin; first < u->end && !mia__cpu_stopped(task); first += ROWS) {
        int64_t end = u->end - first < ROWS ? u->end : first + ROWS;
        memset(some, 0, sizeof some);
        for (int64_t row = first; row < end; row++)
            task->step->kernels->binary[mia__cpu_binary(MIA_OP_add)](
                some, some, widen(task, element_at(task, u, row), columns, widened), columns);
        for (size_t c = 0; c < columns; c++)
            partials[c].real +=
                isfinite(some[c]) ? (double)some[c] : sum_column(task, u, (int64_t)c, first, end);
    }
}

static void extreme_rows(const mia__cpu_task *task, const unit *u, mia__cpu_partial *partials) {
    mia_op op = task->step->source->op == MIA_OP_reduce_max ? MIA_OP_max : MIA_OP_min;
    float some[PIECE], widened[PIECE];
    size_t columns = (size_t)u->columns;
    for (size_t c = 0; c < columns; c++) some[c] = (float)partials[c].real;
    for (int64_t row = u->begin; row < u->end && !mia__cpu_stopped(task); row++)
        task->step->kernels->binary[mia__cpu_binary(op)](
            some, some, widen(task, element_at(task, u, row), columns, widened), columns);
    for (size_t c = 0; c < columns; c++) partials[c].real = (double)some[c];
}

/* argmax (or argmin): of each column the best so far, and its row. NaN is beyond all, and the first stays. */
static void place_rows(const mia__cpu_task *task, const unit *u, mia__cpu_partial *partials) {
    float best[PIECE], widened[PIECE], sign = task->step->source->op == MIA_OP_argmax ? 1 : -1;
    int32_t rows[PIECE];
    size_t columns = (size_t)u->columns;
    if (u->begin == u->end) return;
    const float *x = widen(task, element_at(task, u, u->begin), columns, widened);
    for (size_t c = 0; c < columns; c++) {
        best[c] = sign * x[c];
        rows[c] = (int32_t)u->begin;
    }
    for (int64_t row = u->begin + 1; row < u->end && !mia__cpu_stopped(task); row++)
        task->step->kernels->keep_best(best, rows, widen(task, element_at(task, u, row), columns, widened),
                                       sign, (int32_t)row, columns);
    for (size_t c = 0; c < columns; c++)
        partials[c] = (mia__cpu_partial){.real = (double)(sign * best[c]), .whole = rows[c]};
}

static void run_rows_added(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *step = task->step->source;
    bool extreme = step->op == MIA_OP_reduce_max || step->op == MIA_OP_reduce_min;
    bool place = step->op == MIA_OP_argmax || step->op == MIA_OP_argmin;
    const mia__cpu_partial start = mia__cpu_partial_start(step->op, step->inputs[0].dtype);
    for (size_t number = begin; number < end; number++) {
        unit u = unit_at(&task->step->as.reduce, number);
        mia__cpu_partial partials[PIECE];
        for (int64_t c = 0; c < PIECE; c++) partials[c] = start;
        (place ? place_rows : extreme ? extreme_rows : sum_rows)(task, &u, partials);
        for (int64_t c = 0; c < u.columns; c++) put(task, &u, c, &partials[c]);
    }
}

/* --- phase 1 ----------------------------------------------------------------------------------- */

static void run_combine(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_reduce *r = &task->step->as.reduce;
    const mia__step *step = task->step->source;
    const mia__cpu_partial *partials = task->args.scratch;
    int64_t last = (int64_t)end * COMBINED < r->results ? (int64_t)end * COMBINED : r->results;
    for (int64_t result = (int64_t)begin * COMBINED; result < last; result++) {
        mia__cpu_partial all = partials[result];
        for (size_t part = 1; part < r->parts; part++)
            mia__cpu_partial_combine(step->op, step->inputs[0].dtype, &all,
                                     &partials[(int64_t)part * r->results + result]);
        int64_t at[2];
        mia__cpu_loop_offsets(&r->kept, 0, (size_t)result, 2, at);
        mia__cpu_partial_store(step->op, step->inputs[0].dtype, &all, r->count, task->output, at[0]);
    }
}

/* --- geometry ---------------------------------------------------------------------------------- */

static bool is_added_by_rows(const mia__step *step) {
    return step->op != MIA_OP_prod && mia__cpu_is_float(step->inputs[0].dtype);
}

static int64_t magnitude(int64_t stride) {
    return stride < 0 ? -stride : stride;
}

/* Which way, and how many results a unit makes. */
static void choose_way(const mia__step *step, mia__cpu_reduce *r) {
    int64_t kept = r->kept.stride[1][0], reduced = r->reduced.stride[1][0];
    r->as_they_lie = reduced == 1 && (r->reduced.extent[0] >= LONG_ROW || r->reduced.ndim == 1);
    r->columns = 1;
    if (r->as_they_lie) {
        if (r->count > 0 && r->count < UNIT) r->columns = UNIT / r->count;
    } else if (r->kept.extent[0] > 1 && magnitude(kept) < magnitude(reduced)) {
        r->rows_added = kept == 1 && is_added_by_rows(step);
        r->columns = r->rows_added ? PIECE : TILE;
    }
}

/* How a step is cut; a pure function of its shape. */
static mia__cpu_reduce geometry(const mia__step *step) {
    const mia__operand *in = &step->inputs[0], *to = &step->output;
    mia__view kept = in->view, reduced = in->view, none = {.ndim = 0};
    mia__cpu_reduce r = {.parts = 1};
    for (uint32_t i = 0; i < in->view.ndim; i++)
        *(to->view.extent[i] == 1 ? &kept.extent[i] : &reduced.extent[i]) = 1;
    const mia__view *kept_operands[2] = {&to->view, &kept}, *reduced_operands[2] = {&none, &reduced};
    mia__cpu_loop_make(&r.kept, &kept, 0, kept_operands, 2);
    mia__cpu_loop_make(&r.reduced, &reduced, 0, reduced_operands, 2);
    r.count = mia__view_count(&reduced);
    r.results = mia__view_count(&kept);
    choose_way(step, &r);
    r.kept.pieces = (size_t)((r.kept.extent[0] + r.columns - 1) / r.columns);
    size_t units = r.kept.rows * r.kept.pieces;
    if (units == 0 || units >= ENOUGH || r.count == 0) return r;
    size_t each = (size_t)(r.count * r.results) / units / PART, most = 2 * ENOUGH / units;
    r.parts = each < 1 ? 1 : each < most ? each : most;
    if (r.parts > (size_t)r.count) r.parts = (size_t)r.count;
    return r;
}

size_t mia__cpu_scratch_reduce(const mia__cpu *cpu, const mia__step *step) {
    (void)cpu;
    mia__cpu_reduce r = geometry(step);
    return r.parts > 1 ? r.parts * (size_t)r.results * sizeof(mia__cpu_partial) : 0;
}

bool mia__cpu_choose_reduce(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__operand *in = &out->source->inputs[0];
    mia__cpu_take take = mia__cpu_take_find(out->source->op, in->dtype);
    if (take == NULL || out->source->output.view.ndim != in->view.ndim) return false;
    mia__cpu_reduce *r = &out->as.reduce;
    *r = geometry(out->source);
    r->take = take;
    out->work = (r->as_they_lie || r->rows_added ? 0.2 : 1.5) * (double)(r->count * r->results) +
                30.0 * (double)r->results;
    size_t units = r->kept.rows * r->kept.pieces * r->parts;
    mia__cpu_phase_add(out,
                       r->as_they_lie  ? run_as_they_lie
                       : r->rows_added ? run_rows_added
                                       : run_brought_out,
                       units);
    if (r->parts > 1) mia__cpu_phase_add(out, run_combine, ((size_t)r->results + COMBINED - 1) / COMBINED);
    return true;
}
