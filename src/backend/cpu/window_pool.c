/* Pools. A unit is a row of the output, a stretch of places at a time: what the windows hold is folded into
 * one double a place, line by line of the window, so that the inner loop runs over neighbouring places; where
 * places are few or far apart, over the elements of a window instead. Either way each place sees its elements in the same
 * order. */
#include "backend/reference/element.h"

#include "backend/cpu/cpu.h"

#include <math.h>

#define ROW 256 /* places at once */
#define FEW 8   /* places of a row that are done one by one */

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* into[i * into_step] takes in x[at + i * step] */
typedef struct fold {
    const mia__cpu_task *task;
    double *into;
    int64_t into_step;
    const void *x;
    int64_t at, step, count;
    bool greatest;
} fold;

#define FOLD(type, convert)                                                                                  \
    do {                                                                                                     \
        const type *x = (const type *)f->x + f->at;                                                          \
        if (f->greatest) {                                                                                   \
            for (int64_t i = 0; i < f->count; i++) {                                                         \
                double value = convert(x[i * f->step]), *into = f->into + i * f->into_step;                  \
                *into = value > *into || value != value ? value : *into;                                     \
            }                                                                                                \
        } else {                                                                                             \
            for (int64_t i = 0; i < f->count; i++) f->into[i * f->into_step] += convert(x[i * f->step]);     \
        }                                                                                                    \
    } while (0)

static void fold_some(const fold *f, mia_dtype dtype) {
    switch (dtype) {
    case MIA_f32: FOLD(float, (double)); break;
    case MIA_f16: FOLD(uint16_t, mia__f16_to_f64); break;
    case MIA_bf16: FOLD(uint16_t, mia__bf16_to_f64); break;
    default: FOLD(double, ); break;
    }
}

static void fold_all(const fold *f, mia_dtype dtype) {
    if (f->count <= MIA__CPU_LOOK) {
        fold_some(f, dtype);
        return;
    }
    fold some = *f;
    for (int64_t left = f->count; left > 0 && !mia__cpu_stopped(f->task); left -= some.count) {
        some.count = least(left, MIA__CPU_LOOK);
        fold_some(&some, dtype);
        some.at += some.count * some.step;
        some.into += some.count * some.into_step;
    }
}

/* One line of x into places p .. p + count of a row: element by element of the window, or place by place. */
static void fold_line(const mia__window_axis *a, fold f, mia_dtype dtype, int64_t p, int64_t count) {
    double *values = f.into;
    int64_t line = f.at, first, end;
    if (a->places <= FEW || a->stride > a->extent) {
        for (int64_t i = 0; i < count; i++) {
            mia__window_inside(a, p + i, &first, &end);
            if (first == end) continue;
            f.at = line + mia__window_at(a, p + i, first) * a->x_step;
            f.step = a->dilation * a->x_step;
            f.count = end - first;
            f.into = values + i;
            f.into_step = 0;
            fold_all(&f, dtype);
        }
        return;
    }
    f.step = a->stride * a->x_step;
    f.into_step = 1;
    mia__window_inside(a, p, &first, &end);
    int64_t from = first, to = end; /* elements that any place may hold: the first's and the last's */
    mia__window_inside(a, p + count - 1, &first, &end);
    from = least(from, first);
    to = to > end ? to : end;
    for (int64_t i = from; i < to && !mia__cpu_stopped(f.task); i++) {
        mia__window_places(a, i, p, p + count, &first, &end);
        if (first == end) continue;
        f.at = line + mia__window_at(a, first, i) * a->x_step;
        f.into = values + (first - p);
        f.count = end - first;
        fold_all(&f, dtype);
    }
}

/* Sums become means. */
static void divide(const mia__step *step, const mia__window_axis axis[2], int64_t p, int64_t count,
                   int64_t lines, double *values) {
    for (int64_t i = 0; i < count; i++) {
        int64_t first, end;
        mia__window_inside(&axis[0], p + i, &first, &end);
        if (step->attributes.i[MIA__WINDOW_COUNT_PADDING] != 0)
            values[i] /= (double)axis[0].size * (double)axis[1].size;
        else
            values[i] /= (double)(end - first) * (double)lines;
    }
}

static void run_pool(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_pool *pool = &task->step->as.pool;
    const mia__step *source = task->step->source;
    const mia__window_axis *a = &pool->axis[0], *b = &pool->axis[1];
    bool greatest = source->op == MIA_OP_max_pool;
    mia_dtype dtype = source->inputs[0].dtype;
    double values[ROW];
    for (size_t unit = begin; unit < end; unit++) {
        int64_t q = (int64_t)unit % b->places, offsets[2], top, bottom, count;
        mia__cpu_loop_offsets(&pool->outer, 0, unit / (size_t)b->places, 2, offsets);
        mia__window_inside(b, q, &top, &bottom);
        for (int64_t p = 0; p < a->places; p += count) {
            count = least(a->places - p, ROW);
            for (int64_t i = 0; i < count; i++) values[i] = greatest ? -(double)INFINITY : 0;
            for (int64_t j = top; j < bottom && !mia__cpu_stopped(task); j++) {
                int64_t at = offsets[1] + mia__window_at(b, q, j) * b->x_step;
                fold f = {.task = task, .into = values, .x = task->inputs[0], .at = at, .greatest = greatest};
                fold_line(a, f, dtype, p, count);
            }
            if (!greatest) divide(source, pool->axis, p, count, bottom - top, values);
            for (int64_t i = 0; i < count; i++)
                mia__store(dtype, task->output, (int64_t)unit * a->places + p + i, values[i]);
        }
    }
}

bool mia__cpu_choose_pool(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    const mia__view *x = &source->inputs[0].view, *to = &source->output.view;
    mia__cpu_pool *pool = &out->as.pool;
    double window = 1;
    for (uint32_t m = 0; m < 2; m++) {
        pool->axis[m] = mia__window_axis_of(source, m, x->ndim, source->attributes.i[MIA__WINDOW_SIZE + m]);
        window *= (double)least(pool->axis[m].size, pool->axis[m].extent);
    }
    const mia__view *const operands[] = {to, x};
    mia__cpu_loop_make(&pool->outer, to, 2, operands, 2);
    size_t pictures = 1;
    for (uint32_t m = 2; m < to->ndim; m++) pictures *= (size_t)to->extent[m];
    size_t rows = pool->axis[0].places > 0 ? pictures * (size_t)pool->axis[1].places : 0;
    out->work = (double)rows * (double)pool->axis[0].places * (1 + window * 0.7);
    mia__cpu_phase_add(out, run_pool, rows);
    return true;
}
