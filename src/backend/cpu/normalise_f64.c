/* Softmax and norms in f64: the rows of normalise.c, element by element in double. */
#include "backend/cpu/cpu.h"

#include <math.h>

#define LANES   8    /* sums that run beside each other, so that one addition need not wait for the last */
#define STRETCH 4096 /* elements between two looks whether the run is to stop */

/* What is summed over a row. */
typedef enum term { PLAIN, SQUARE, EXPONENTIAL } term;

/* A row: lines of its loop, each `count` elements. */
typedef struct row {
    const mia__cpu_task *task;
    const mia__cpu_rows *rows;
    double *out;
    const double *x;
    int64_t channel;
} row;

/* A part of a line, all of a short one; a multiple of LANES, but for a line's last. */
typedef struct stretch {
    size_t line; /* where the next one begins */
    int64_t first;
    double *out;
    const double *x;
    int64_t x_stride, channel, channel_stride, count;
} stretch;

/* To the next stretch, from a zeroed one to the first; false after the last, and when the run is to stop. */
static bool next(const row *r, stretch *s) {
    const mia__cpu_loop *inner = &r->rows->inner;
    int64_t at[3], left = inner->extent[0] - s->first;
    if (s->line == inner->rows || mia__cpu_stopped(r->task)) return false;
    mia__cpu_loop_offsets(inner, 1, s->line, 3, at);
    s->out = r->out + at[0] + s->first; /* without gaps */
    s->x_stride = inner->stride[1][0];
    s->x = r->x + at[1] + s->first * s->x_stride;
    s->channel_stride = inner->stride[2][0];
    s->channel = r->channel + at[2] + s->first * s->channel_stride;
    s->count = left < STRETCH ? left : STRETCH;
    s->first += STRETCH;
    if (s->first >= inner->extent[0]) {
        s->first = 0;
        s->line++;
    }
    return true;
}

static double value(term what, double x) {
    return what == PLAIN ? x : what == SQUARE ? x * x : exp(x);
}

/* Sum of what `what` makes of x - centre. */
static double sum_of(const row *r, term what, double centre) {
    double sums[LANES] = {0};
    for (stretch s = {0}; next(r, &s);) {
        int64_t i = 0;
        for (; i + LANES <= s.count; i += LANES)
            for (int64_t j = 0; j < LANES; j++) sums[j] += value(what, s.x[(i + j) * s.x_stride] - centre);
        for (; i < s.count; i++) sums[0] += value(what, s.x[i * s.x_stride] - centre);
    }
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

static double greatest(const row *r) {
    double most = -(double)INFINITY;
    for (stretch s = {0}; next(r, &s);)
        for (int64_t i = 0; i < s.count; i++) most = fmax(most, s.x[i * s.x_stride]);
    return most;
}

/* exp(x - centre) * factor */
static void write_exponentials(const row *r, double centre, double factor) {
    for (stretch s = {0}; next(r, &s);)
        for (int64_t i = 0; i < s.count; i++) s.out[i] = exp(s.x[i * s.x_stride] - centre) * factor;
}

/* (x - centre - shift) * factor * weight + bias; weights and biases may be NULL. */
static void write_normal(const row *r, double centre, double shift, double factor, const double *weights,
                         const double *biases) {
    for (stretch s = {0}; next(r, &s);)
        for (int64_t i = 0; i < s.count; i++) {
            int64_t channel = s.channel + i * s.channel_stride;
            double y = (s.x[i * s.x_stride] - centre - shift) * factor;
            if (weights != NULL) y *= weights[channel];
            s.out[i] = biases != NULL ? y + biases[channel] : y;
        }
}

/* Weights (1) or biases (2). */
static const double *vector(const mia__cpu_task *task, uint32_t input) {
    const mia__cpu_rows *rows = &task->step->as.rows;
    if (task->step->source->input_count <= input) return NULL;
    if (rows->spread) return (const double *)task->args.scratch + (input - 1) * (size_t)rows->channels;
    return (const double *)(const void *)task->inputs[input];
}

static void run_row(const row *r) {
    const mia__cpu_task *task = r->task;
    double count = (double)r->rows->length, epsilon = r->rows->epsilon, most, mean, norm;
    const double *weights = vector(task, 1), *biases = vector(task, 2);
    switch ((int)task->step->source->op) {
    case MIA_OP_softmax:
        most = greatest(r);
        write_exponentials(r, most, 1 / sum_of(r, EXPONENTIAL, most));
        break;
    case MIA_OP_log_softmax:
        most = greatest(r);
        write_normal(r, most, log(sum_of(r, EXPONENTIAL, most)), 1, NULL, NULL);
        break;
    case MIA_OP_l2_norm:
        norm = sqrt(sum_of(r, SQUARE, 0));
        write_normal(r, 0, 0, 1 / (norm < epsilon ? epsilon : norm), NULL, NULL);
        break;
    case MIA_OP_rms_norm:
        norm = sqrt(sum_of(r, SQUARE, 0) / count + epsilon);
        write_normal(r, 0, 0, 1 / norm, weights, NULL);
        break;
    default:
        mean = sum_of(r, PLAIN, 0) / count;
        norm = sqrt(sum_of(r, SQUARE, mean) / count + epsilon);
        write_normal(r, mean, 0, 1 / norm, weights, biases);
        break;
    }
}

void mia__cpu_rows_f64(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_rows *rows = &task->step->as.rows;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t at[3];
        mia__cpu_loop_offsets(&rows->outer, 0, unit, 3, at);
        const row r = {task, rows, (double *)(void *)task->output + at[0],
                       (const double *)(const void *)task->inputs[0] + at[1], at[2]};
        run_row(&r);
    }
}
