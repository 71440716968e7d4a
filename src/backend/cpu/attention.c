/* Grouped-query attention, causal or with a mask, of f32, f16 and bf16 over any strides. A unit is a tile of up to
 * 8 rows of one group, and some of its keys: a row is one query of one of the heads that share the group's keys and
 * values, so that these are read once for all of them. Row r of a group is query r / (heads a group), head
 * r % (heads a group) of the group.
 *
 *     phase   spread   queries that are not contiguous f32, into scratch memory
 *             attend   chunks of keys; where tiles are few, dealt in turn to several pieces
 *             join     what the pieces have made, or results that are not f32
 *
 *     scratch  pieces by rows of greatest score, sum of weights, values weighed [value_dim]; then queries [dim]
 *
 * Keys and values that are not contiguous are gathered in blocks. Where one of the three is f64, attention_f64.c
 * does it. */
#include "backend/cpu/cpu.h"

#include "backend/cpu/lines.h"

#include <math.h>
#include <string.h>

#define ROWS        MIA__CPU_ATTENTION_ROWS
#define CHUNK       MIA__CPU_ATTENTION_CHUNK
#define BLOCK       32      /* elements of a key or value that are gathered at a time */
#define UNITS       8       /* that there should be, of steps of so much work: */
#define MUCH        20000.0 /* nanoseconds */
#define MOST_PIECES 8

static int64_t clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

int64_t mia__cpu_attention_seen(const mia__cpu_task *task, int64_t t) {
    const mia__cpu_attention *a = &task->step->as.attention;
    int64_t length = *(const int32_t *)(const void *)task->inputs[a->length];
    return clamp(a->masked ? length : length - a->queries + t + 1, 0, a->keys);
}

/* Floats of a row that a piece makes: greatest score, sum, values. */
static int64_t partial_floats(const mia__cpu_attention *a) {
    return 2 + a->value_dim;
}

static float *partial(const mia__cpu_task *task, int64_t piece, int64_t row) {
    const mia__cpu_attention *a = &task->step->as.attention;
    return (float *)task->args.scratch + (piece * a->heads * a->queries + row) * partial_floats(a);
}

/* --- queries ---------------------------------------------------------------------------------- */

static float *spread_query(const mia__cpu_task *task, int64_t head, int64_t t) {
    const mia__cpu_attention *a = &task->step->as.attention;
    float *queries = (float *)task->args.scratch;
    if (a->joined) queries += a->pieces * a->heads * a->queries * partial_floats(a);
    return queries + (t * a->heads + head) * a->dim;
}

static void run_spread(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_attention *a = &task->step->as.attention;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t head = (int64_t)unit % a->heads, t = (int64_t)unit / a->heads;
        int64_t at = head * a->q_stride[1] + t * a->q_stride[2];
        mia__cpu_line line = {a->q_dtype, task->inputs[0] + at * mia__cpu_bytes(a->q_dtype), a->q_stride[0]};
        float *to = spread_query(task, head, t);
        const float *from = mia__cpu_line_read(task->step->kernels, line, (size_t)a->dim, to);
        mia__cpu_line_write(task->step->kernels, MIA_f32, (char *)to, from, (size_t)a->dim);
    }
}

/* --- tiles ------------------------------------------------------------------------------------ */

/* A unit at work. */
typedef struct work {
    const mia__cpu_task *task;
    int64_t group, first, piece; /* first row, within the group */
    int64_t visible[ROWS];
    int64_t most; /* of them */
    mia__cpu_attention_tile tile;
    float gathered[CHUNK * BLOCK];
    float mask[ROWS][CHUNK];
} work;

static int64_t query_of(const work *w, unsigned row) {
    const mia__cpu_attention *a = &w->task->step->as.attention;
    return (w->first + row) / (a->heads / a->groups);
}

static int64_t head_of(const work *w, unsigned row) {
    const mia__cpu_attention *a = &w->task->step->as.attention;
    int64_t heads = a->heads / a->groups;
    return w->group * heads + (w->first + row) % heads;
}

static void begin_tile(work *w) {
    const mia__cpu_attention *a = &w->task->step->as.attention;
    const mia__view *out = &w->task->step->source->output.view;
    mia__cpu_attention_tile *tile = &w->tile;
    int64_t rows = a->heads / a->groups * a->queries, left = rows - w->first;
    tile->rows = (unsigned)(left < ROWS ? left : ROWS);
    tile->scale = (float)a->scale;
    w->most = 0;
    for (unsigned row = 0; row < tile->rows; row++) {
        int64_t t = query_of(w, row), head = head_of(w, row);
        const float *q = (const float *)(const void *)w->task->inputs[0];
        tile->q[row] =
            a->spread ? spread_query(w->task, head, t) : q + head * a->q_stride[1] + t * a->q_stride[2];
        tile->out[row] = a->joined
                             ? partial(w->task, w->piece, w->group * rows + w->first + row) + 2
                             : (float *)(void *)w->task->output + head * out->stride[1] + t * out->stride[2];
        w->visible[row] = mia__cpu_attention_seen(w->task, t);
        w->most = w->visible[row] > w->most ? w->visible[row] : w->most;
        tile->greatest[row] = -INFINITY;
        tile->sum[row] = 0;
        tile->mask[row] = NULL;
        memset(tile->out[row], 0, (size_t)a->value_dim * sizeof(float));
    }
}

/* Divides what a row has weighed by its weights' sum. A query that sees no key gives zeros, and so does one whose
 * every score a mask makes -infinity; without a mask such scores are 0 / 0. */
static void finish_row(const mia__cpu_task *task, float *out, float sum, bool sees) {
    const mia__cpu_attention *a = &task->step->as.attention;
    if (sum == 0 && (a->masked || !sees))
        memset(out, 0, (size_t)a->value_dim * sizeof *out);
    else
        task->step->kernels->scale(out, out, 1 / sum, (size_t)a->value_dim);
}

static void end_tile(work *w) {
    for (unsigned row = 0; row < w->tile.rows; row++) {
        float *out = w->tile.out[row], sum = w->tile.sum[row];
        if (!w->task->step->as.attention.joined) {
            finish_row(w->task, out, sum, w->visible[row] > 0);
            continue;
        }
        out[-2] = w->tile.greatest[row];
        out[-1] = sum;
    }
}

/* The mask of the chunk's keys, one after the other. */
static void find_masks(work *w, int64_t first, int64_t count) {
    const mia__cpu_attention *a = &w->task->step->as.attention;
    for (unsigned row = 0; row < w->tile.rows; row++) {
        int64_t at = first * a->mask_stride[0] + query_of(w, row) * a->mask_stride[1] +
                     head_of(w, row) * a->mask_stride[2];
        mia__cpu_line line = {MIA_f32, w->task->inputs[3] + at * mia__cpu_bytes(MIA_f32), a->mask_stride[0]};
        w->tile.mask[row] = mia__cpu_line_read(w->task->step->kernels, line, (size_t)count, w->mask[row]);
    }
}

/* Hands `count` rows of keys or values from `from` on to a kernel: as they are, or gathered in blocks. */
typedef void (*block_kernel)(work *w, mia_dtype dtype, const mia__cpu_attention_block *block);

static void in_blocks(work *w, mia__cpu_line from, int64_t row_stride, int64_t width, int64_t count,
                      block_kernel kernel) {
    mia__cpu_attention_block block = {from.from, row_stride, count, 0, width};
    if (from.stride == 1) {
        kernel(w, from.dtype, &block);
        return;
    }
    for (; block.first < width; block.first += BLOCK) {
        mia__cpu_line line = mia__cpu_line_at(from, block.first);
        block.width = width - block.first < BLOCK ? width - block.first : BLOCK;
        for (int64_t row = 0; row < count; row++) {
            float *to = w->gathered + row * BLOCK;
            const float *at = mia__cpu_line_read(w->task->step->kernels, line, (size_t)block.width, to);
            if (at != to) *to = *at; /* a single element may be there already */
            line.from += row_stride * mia__cpu_bytes(from.dtype);
        }
        block.from = w->gathered;
        block.stride = BLOCK;
        kernel(w, MIA_f32, &block);
    }
}

static void score_block(work *w, mia_dtype dtype, const mia__cpu_attention_block *block) {
    w->task->step->kernels->attention_scores[dtype - MIA_f32](&w->tile, block);
}

static void value_block(work *w, mia_dtype dtype, const mia__cpu_attention_block *block) {
    w->task->step->kernels->attention_values[dtype - MIA_f32](&w->tile, block);
}

static void attend_chunk(work *w, int64_t first) {
    const mia__cpu_attention *a = &w->task->step->as.attention;
    int64_t count = w->most - first < CHUNK ? w->most - first : CHUNK;
    int64_t k_at = w->group * a->k_stride[2] + first * a->k_stride[1];
    int64_t v_at = w->group * a->v_stride[2] + first * a->v_stride[1];
    mia__cpu_line k = {a->k_dtype, w->task->inputs[1] + k_at * mia__cpu_bytes(a->k_dtype), a->k_stride[0]};
    mia__cpu_line v = {a->v_dtype, w->task->inputs[2] + v_at * mia__cpu_bytes(a->v_dtype), a->v_stride[0]};
    for (unsigned row = 0; row < w->tile.rows; row++)
        w->tile.seen[row] = clamp(w->visible[row] - first, 0, count);
    if (a->dim == 0) memset(w->tile.scores, 0, sizeof w->tile.scores);
    in_blocks(w, k, a->k_stride[1], a->dim, count, score_block);
    if (a->masked) find_masks(w, first, count);
    w->task->step->kernels->attention_weights(&w->tile);
    in_blocks(w, v, a->v_stride[1], a->value_dim, count, value_block);
}

static void run_attend(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_attention *a = &task->step->as.attention;
    work w;
    w.task = task;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t rest = (int64_t)unit / a->groups;
        w.group = (int64_t)unit % a->groups;
        w.piece = rest % a->pieces;
        w.first = rest / a->pieces * ROWS;
        begin_tile(&w);
        for (int64_t first = w.piece * CHUNK; first < w.most && !mia__cpu_stopped(task);
             first += a->pieces * CHUNK)
            attend_chunk(&w, first);
        end_tile(&w);
    }
}

/* --- joining ---------------------------------------------------------------------------------- */

/* Joins the pieces of a row into the first. */
static void join_row(const mia__cpu_task *task, int64_t row, bool sees) {
    const mia__cpu_attention *a = &task->step->as.attention;
    float *out = partial(task, 0, row), greatest = -INFINITY, sum = 0;
    for (int64_t piece = 0; piece < a->pieces; piece++) {
        float one = partial(task, piece, row)[0];
        greatest = one > greatest || isnan(one) ? one : greatest;
    }
    for (int64_t piece = 0; piece < a->pieces; piece++) {
        const float *from = partial(task, piece, row);
        float weight = from[1] == 0 ? 0 : expf(from[0] - greatest);
        sum += from[1] * weight;
        for (int64_t e = 2; piece == 0 && e < partial_floats(a); e++) out[e] *= weight;
        for (int64_t e = 2; piece > 0 && e < partial_floats(a); e++) out[e] += from[e] * weight;
    }
    finish_row(task, out + 2, sum, sees);
}

/* A unit is a row: rows of a group follow each other. */
static void run_join(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_attention *a = &task->step->as.attention;
    const mia__operand *out = &task->step->source->output;
    int64_t heads = a->heads / a->groups, rows = heads * a->queries;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t group = (int64_t)unit / rows, row = (int64_t)unit % rows;
        int64_t t = row / heads, head = group * heads + row % heads;
        join_row(task, (int64_t)unit, mia__cpu_attention_seen(task, t) > 0);
        char *to = task->output +
                   (head * out->view.stride[1] + t * out->view.stride[2]) * mia__cpu_bytes(out->dtype);
        mia__cpu_line_write(task->step->kernels, out->dtype, to, partial(task, 0, (int64_t)unit) + 2,
                            (size_t)a->value_dim);
    }
}

/* --- choosing --------------------------------------------------------------------------------- */

static void find_strides(const mia__view *view, int64_t strides[3]) {
    for (uint32_t i = 0; i < 3; i++) strides[i] = i < view->ndim && view->extent[i] > 1 ? view->stride[i] : 0;
}

static bool has_f64(const mia__step *step) {
    return step->inputs[0].dtype == MIA_f64 || step->inputs[1].dtype == MIA_f64 ||
           step->inputs[2].dtype == MIA_f64;
}

/* Nanoseconds, were all keys in use. */
static double work_of(const mia__cpu_attention *a) {
    return (double)(a->heads * a->queries) * (20.0 + 0.03 * (double)(a->keys * (a->dim + a->value_dim)));
}

static mia__cpu_attention geometry(const mia__step *source) {
    const mia__operand *q = &source->inputs[0], *k = &source->inputs[1], *v = &source->inputs[2];
    mia__cpu_attention a = {.dim = q->view.extent[0],
                            .value_dim = v->view.extent[0],
                            .heads = q->view.extent[1],
                            .queries = q->view.extent[2],
                            .keys = k->view.extent[1],
                            .groups = k->view.extent[2],
                            .masked = source->op == MIA_OP_attention_masked,
                            .length = source->op == MIA_OP_attention_masked ? 4 : 3,
                            .scale = source->attributes.f[0],
                            .q_dtype = q->dtype,
                            .k_dtype = k->dtype,
                            .v_dtype = v->dtype};
    find_strides(&q->view, a.q_stride);
    find_strides(&k->view, a.k_stride);
    find_strides(&v->view, a.v_stride);
    if (a.masked) find_strides(&source->inputs[3].view, a.mask_stride);
    if (a.dim == 1) a.q_stride[0] = a.k_stride[0] = 1;
    if (a.value_dim == 1) a.v_stride[0] = 1;
    int64_t units, chunks = (a.keys + CHUNK - 1) / CHUNK;
    a.tiles = (a.heads / a.groups * a.queries + ROWS - 1) / ROWS;
    units = a.tiles * a.groups > 0 ? a.tiles * a.groups : 1;
    a.pieces = work_of(&a) < MUCH ? 1 : clamp((UNITS + units - 1) / units, 1, clamp(chunks, 1, MOST_PIECES));
    a.spread = q->dtype != MIA_f32 || a.q_stride[0] != 1;
    a.joined = a.pieces > 1 || q->dtype != MIA_f32;
    return a;
}

size_t mia__cpu_scratch_attention(const mia__cpu *cpu, const mia__step *step) {
    (void)cpu;
    if (has_f64(step)) return 0;
    mia__cpu_attention a = geometry(step);
    int64_t floats = (a.joined ? a.pieces * partial_floats(&a) : 0) + (a.spread ? a.dim : 0);
    return (size_t)(a.heads * a.queries * floats) * sizeof(float);
}

bool mia__cpu_choose_attention(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__view *to = &out->source->output.view;
    if (mia__view_count(to) == 0) return true;
    if (to->extent[0] > 1 && to->stride[0] != 1) return false;
    mia__cpu_attention *a = &out->as.attention;
    *a = geometry(out->source);
    bool wide = has_f64(out->source);
    size_t rows = (size_t)(a->heads * a->queries);
    out->work = work_of(a) * (wide ? 60 : 1);
    if (wide) {
        mia__cpu_phase_add(out, mia__cpu_attention_f64, rows);
        return true;
    }
    if (a->spread) mia__cpu_phase_add(out, run_spread, rows);
    mia__cpu_phase_add(out, run_attend, (size_t)(a->tiles * a->groups * a->pieces));
    if (a->joined) mia__cpu_phase_add(out, run_join, rows);
    return true;
}
