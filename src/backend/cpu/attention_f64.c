/* Attention where queries, keys or values are f64: in double, a head's query a unit, one pass over the keys in
 * chunks for each piece of the values. */
#include "backend/cpu/cpu.h"

#include "backend/cpu/lines.h"

#include <math.h>

#define CHUNK 64  /* keys */
#define PIECE 256 /* elements of a query, key or value */
#define LANES 8

/* A head's query, and what it has met. */
typedef struct head_query {
    const mia__cpu_task *task;
    int64_t head, t, group, seen;
    double greatest, sum;
    double scores[CHUNK];
    double weighed[PIECE]; /* values, so far */
} head_query;

static mia__cpu_line line_of(const mia__cpu_task *task, uint32_t input, const int64_t strides[3], int64_t i,
                             int64_t j) {
    mia_dtype dtype = task->step->source->inputs[input].dtype;
    int64_t at = i * strides[1] + j * strides[2];
    return (mia__cpu_line){dtype, task->inputs[input] + at * mia__cpu_bytes(dtype), strides[0]};
}

static double dot(const double *a, const double *b, int64_t count) {
    double sums[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int64_t j = 0; j < LANES; j++) sums[j] += a[i + j] * b[i + j];
    for (; i < count; i++) sums[0] += a[i] * b[i];
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/* Scores of keys first .. first + count - 1. */
static void score(head_query *h, int64_t first, int64_t count) {
    const mia__cpu_attention *a = &h->task->step->as.attention;
    double q[PIECE], k[PIECE];
    mia__cpu_line query = line_of(h->task, 0, a->q_stride, h->head, h->t);
    for (int64_t i = 0; i < count; i++) h->scores[i] = 0;
    for (int64_t d = 0; d < a->dim; d += PIECE) {
        int64_t some = a->dim - d < PIECE ? a->dim - d : PIECE;
        mia__cpu_line_widen(mia__cpu_line_at(query, d), (size_t)some, q);
        for (int64_t i = 0; i < count; i++) {
            mia__cpu_line key = line_of(h->task, 1, a->k_stride, first + i, h->group);
            mia__cpu_line_widen(mia__cpu_line_at(key, d), (size_t)some, k);
            h->scores[i] += dot(q, k, some);
        }
    }
    const float *masks = (const float *)(const void *)h->task->inputs[3];
    int64_t at = first * a->mask_stride[0] + h->t * a->mask_stride[1] + h->head * a->mask_stride[2];
    for (int64_t i = 0; i < count; i++) {
        float mask = a->masked ? masks[at + i * a->mask_stride[0]] : 0;
        h->scores[i] = mask == -INFINITY ? (double)mask : h->scores[i] * a->scale + (double)mask;
    }
}

/* Scores become weights; what is weighed already is rescaled. */
static void weigh(head_query *h, int64_t count, int64_t width) {
    double greatest = h->greatest, before = h->greatest;
    for (int64_t i = 0; i < count; i++)
        if (h->scores[i] > greatest || isnan(h->scores[i])) greatest = h->scores[i];
    double shift = greatest == -(double)INFINITY ? 0 : greatest, rescale = exp(before - shift);
    h->greatest = greatest;
    h->sum *= rescale;
    for (int64_t e = 0; e < width; e++) h->weighed[e] *= rescale;
    for (int64_t i = 0; i < count; i++) {
        h->scores[i] = exp(h->scores[i] - shift);
        h->sum += h->scores[i];
    }
}

/* Elements first .. first + width - 1 of the result. */
static void attend_piece(head_query *h, int64_t first, int64_t width) {
    const mia__cpu_attention *a = &h->task->step->as.attention;
    const mia__operand *to = &h->task->step->source->output;
    h->greatest = -(double)INFINITY;
    h->sum = 0;
    for (int64_t e = 0; e < width; e++) h->weighed[e] = 0;
    for (int64_t key = 0; key < h->seen && !mia__cpu_stopped(h->task); key += CHUNK) {
        int64_t count = h->seen - key < CHUNK ? h->seen - key : CHUNK;
        score(h, key, count);
        weigh(h, count, width);
        for (int64_t i = 0; i < count; i++) {
            double value[PIECE];
            mia__cpu_line line = line_of(h->task, 2, a->v_stride, key + i, h->group);
            mia__cpu_line_widen(mia__cpu_line_at(line, first), (size_t)width, value);
            for (int64_t e = 0; e < width; e++) h->weighed[e] += h->scores[i] * value[e];
        }
    }
    bool zeros = h->seen == 0 || (a->masked && h->sum == 0);
    int64_t at = h->head * to->view.stride[1] + h->t * to->view.stride[2] + first;
    for (int64_t e = 0; e < width; e++)
        mia__cpu_store(to->dtype, h->task->output, at + e, zeros ? 0 : h->weighed[e] / h->sum);
}

void mia__cpu_attention_f64(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_attention *a = &task->step->as.attention;
    for (size_t unit = begin; unit < end; unit++) {
        head_query h = {.task = task, .head = (int64_t)unit % a->heads, .t = (int64_t)unit / a->heads};
        h.group = h.head / (a->heads / a->groups);
        h.seen = mia__cpu_attention_seen(task, h.t);
        for (int64_t first = 0; first < a->value_dim; first += PIECE)
            attend_piece(&h, first, a->value_dim - first < PIECE ? a->value_dim - first : PIECE);
    }
}
