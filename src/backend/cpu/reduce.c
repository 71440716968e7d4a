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

/* 16-bit floats widened; others where they are. */
static const void *widen(const mia__cpu_task *task, const void *x, size_t count, float *room) {
    mia_dtype dtype = task->step->source->inputs[0].dtype;
    if (dtype != MIA_f16 && dtype != MIA_bf16) return x;
    const mia__cpu_kernels *kernels = task->step->kernels;
    (dtype == MIA_f16 ? kernels->widen_f16 : kernels->widen_bf16)(room, x, count);
    return room;
}

/* Elements first .. of the input, whatever is before it, in `made` if it has to be made; 16-bit floats widened. */
static const void *elements(const mia__cpu_task *task, int64_t first, size_t count, void *made,
                            float *widened) {
    size_t bytes = mia_dtype_describe(task->step->source->inputs[0].dtype)->bytes;
    const char *from = task->before != NULL ? mia__cpu_chain_before(task->before, (size_t)first, count, made)
                                            : task->inputs[0];
    return widen(task, from + first * (int64_t)bytes, count, widened);
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

/* Does one unit. */
typedef void (*unit_function)(const mia__cpu_task *task, const unit *u);

/* Units one after the other; what is behind takes the results of each in. */
static void run_units(const mia__cpu_task *task, size_t begin, size_t end, unit_function function) {
    const mia__cpu_reduce *r = &task->step->as.reduce;
    size_t bytes = mia_dtype_describe(task->step->source->output.dtype)->bytes;
    uint64_t results[UNIT];
    const void *at = results;
    mia__cpu_task behind;
    if (task->behind != NULL) behind = *task->behind;
    for (size_t number = begin; number < end; number++) {
        unit u = unit_at(r, number);
        if (task->behind == NULL || r->parts > 1) {
            function(task, &u);
            continue;
        }
        mia__cpu_task own = *task;
        own.output = mia__cpu_origin(results, (size_t)u.first, bytes);
        function(&own, &u);
        mia__cpu_chain_behind(&behind, &at, 1, (size_t)u.first, (size_t)u.columns);
    }
}

static void brought_out_unit(const mia__cpu_task *task, const unit *u) {
    const mia__step *step = task->step->source;
    mia__cpu_partial partials[TILE];
    for (int64_t c = 0; c < u->columns; c++)
        partials[c] = mia__cpu_partial_start(step->op, step->inputs[0].dtype);
    take_brought_out(task, u, partials);
    for (int64_t c = 0; c < u->columns; c++) put(task, u, c, &partials[c]);
}

static void run_brought_out(const mia__cpu_task *task, size_t begin, size_t end) {
    run_units(task, begin, end, brought_out_unit);
}

/* --- elements as they lie ---------------------------------------------------------------------- */

/* One result, whose first element is number `x` of the input. A stretch stays in one row. */
static void take_row_by_row(const mia__cpu_task *task, const unit *u, int64_t x, float *widened,
                            mia__cpu_partial *partial) {
    const mia__cpu_reduce *r = &task->step->as.reduce;
    int64_t length = r->reduced.extent[0];
    uint64_t made[MIA__CPU_STRETCH];
    for (int64_t first = u->begin, count; first < u->end && !mia__cpu_stopped(task); first += count) {
        int64_t column = first, at[2] = {0, 0};
        if (r->reduced.ndim > 1) {
            column = first % length;
            mia__cpu_loop_offsets(&r->reduced, 1, (size_t)(first / length), 2, at);
        }
        count = length - column < MIA__CPU_STRETCH ? length - column : MIA__CPU_STRETCH;
        if (count > u->end - first) count = u->end - first;
        const void *from = elements(task, x + at[1] + column, (size_t)count, made, widened);
        r->take(task->step->kernels, partial, from, (size_t)count, first);
    }
}

static void take_unit(const mia__cpu_task *task, const unit *u) {
    const mia__cpu_reduce *r = &task->step->as.reduce;
    const mia__step *step = task->step->source;
    float widened[MIA__CPU_STRETCH];
    for (int64_t c = 0; c < u->columns; c++) {
        mia__cpu_partial partial = mia__cpu_partial_start(step->op, step->inputs[0].dtype);
        take_row_by_row(task, u, u->in + c * r->kept.stride[1][0], widened, &partial);
        put(task, u, c, &partial);
    }
}

/* Short results that lie behind each other: their elements are made all at once. */
static void take_made_unit(const mia__cpu_task *task, const unit *u) {
    const mia__cpu_reduce *r = &task->step->as.reduce;
    uint64_t made[UNIT];
    mia__cpu_task own = *task;
    own.before = NULL;
    own.inputs[0] = mia__cpu_chain_before(task->before, (size_t)u->in, (size_t)(u->columns * r->count), made);
    take_unit(&own, u);
}

static void lying_unit(const mia__cpu_task *task, const unit *u) {
    const mia__cpu_reduce *r = &task->step->as.reduce;
    bool dense = r->reduced.ndim == 1 && r->kept.stride[1][0] == r->count;
    (task->before != NULL && dense && u->columns > 1 ? take_made_unit : take_unit)(task, u);
}

static void run_as_they_lie(const mia__cpu_task *task, size_t begin, size_t end) {
    run_units(task, begin, end, lying_unit);
}

/* --- rows added -------------------------------------------------------------------------------- */

/* Elements `number` of `count` results from a column of the unit on. */
static const float *row_of(const mia__cpu_task *task, const unit *u, int64_t number, int64_t column,
                           size_t count, float *widened) {
    uint16_t halves[PIECE];
    bool single = task->step->source->inputs[0].dtype == MIA_f32;
    int64_t at[2];
    mia__cpu_loop_offsets(&task->step->as.reduce.reduced, 0, (size_t)number, 2, at);
    return elements(task, u->in + at[1] + column, count, single ? (void *)widened : halves, widened);
}

/* One column of rows first .. end, in double. */
static double sum_column(const mia__cpu_task *task, const unit *u, int64_t column, int64_t first,
                         int64_t end) {
    double sum = 0;
    for (int64_t row = first; row < end; row++) {
        float widened[1];
        sum += (double)*row_of(task, u, row, column, 1, widened);
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
                some, some, row_of(task, u, row, 0, columns, widened), columns);
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
        task->step->kernels->binary[mia__cpu_binary(op)](some, some,
                                                         row_of(task, u, row, 0, columns, widened), columns);
    for (size_t c = 0; c < columns; c++) partials[c].real = (double)some[c];
}

/* argmax (or argmin): of each column the best so far, and its row. NaN is beyond all, and the first stays. */
static void place_rows(const mia__cpu_task *task, const unit *u, mia__cpu_partial *partials) {
    float best[PIECE], widened[PIECE], sign = task->step->source->op == MIA_OP_argmax ? 1 : -1;
    int32_t rows[PIECE];
    size_t columns = (size_t)u->columns;
    if (u->begin == u->end) return;
    const float *x = row_of(task, u, u->begin, 0, columns, widened);
    for (size_t c = 0; c < columns; c++) {
        best[c] = sign * x[c];
        rows[c] = (int32_t)u->begin;
    }
    for (int64_t row = u->begin + 1; row < u->end && !mia__cpu_stopped(task); row++)
        task->step->kernels->keep_best(best, rows, row_of(task, u, row, 0, columns, widened), sign,
                                       (int32_t)row, columns);
    for (size_t c = 0; c < columns; c++)
        partials[c] = (mia__cpu_partial){.real = (double)(sign * best[c]), .whole = rows[c]};
}

static void added_unit(const mia__cpu_task *task, const unit *u) {
    const mia__step *step = task->step->source;
    bool extreme = step->op == MIA_OP_reduce_max || step->op == MIA_OP_reduce_min;
    bool place = step->op == MIA_OP_argmax || step->op == MIA_OP_argmin;
    const mia__cpu_partial start = mia__cpu_partial_start(step->op, step->inputs[0].dtype);
    mia__cpu_partial partials[PIECE];
    for (int64_t c = 0; c < PIECE; c++) partials[c] = start;
    (place ? place_rows : extreme ? extreme_rows : sum_rows)(task, u, partials);
    for (int64_t c = 0; c < u->columns; c++) put(task, u, c, &partials[c]);
}

static void run_rows_added(const mia__cpu_task *task, size_t begin, size_t end) {
    run_units(task, begin, end, added_unit);
}

/* --- phase 1 ----------------------------------------------------------------------------------- */

/* Results [first, last), combined, to the output or where `output` counts them from. */
static void combine(const mia__cpu_task *task, int64_t first, int64_t last, void *output) {
    const mia__cpu_reduce *r = &task->step->as.reduce;
    const mia__step *step = task->step->source;
    const mia__cpu_partial *partials = task->args.scratch;
    for (int64_t result = first; result < last; result++) {
        mia__cpu_partial all = partials[result];
        for (size_t part = 1; part < r->parts; part++)
            mia__cpu_partial_combine(step->op, step->inputs[0].dtype, &all,
                                     &partials[(int64_t)part * r->results + result]);
        int64_t at[2];
        mia__cpu_loop_offsets(&r->kept, 0, (size_t)result, 2, at);
        mia__cpu_partial_store(step->op, step->inputs[0].dtype, &all, r->count, output, at[0]);
    }
}

static void run_combine(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_reduce *r = &task->step->as.reduce;
    size_t bytes = mia_dtype_describe(task->step->source->output.dtype)->bytes;
    uint64_t results[COMBINED];
    const void *at = results;
    mia__cpu_task behind;
    if (task->behind != NULL) behind = *task->behind;
    for (size_t number = begin; number < end; number++) {
        int64_t first = (int64_t)number * COMBINED,
                last = first + COMBINED < r->results ? first + COMBINED : r->results;
        if (task->behind == NULL) {
            combine(task, first, last, task->output);
            continue;
        }
        combine(task, first, last, mia__cpu_origin(results, (size_t)first, bytes));
        mia__cpu_chain_behind(&behind, &at, 1, (size_t)first, (size_t)(last - first));
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

bool mia__cpu_reduce_takes_before(const mia__step *step) {
    if (mia__cpu_take_find(step->op, step->inputs[0].dtype) == NULL) return false;
    mia__cpu_reduce r = geometry(step);
    return r.as_they_lie || r.rows_added;
}
