/* Softmax and norms of any floating-point type and strides. A unit is a row: what is normalised together.
 *
 *     mode 0          softmax, log_softmax, l2_norm, rms_norm, layer_norm: channels are its places
 *     group_norm      modes before the channels' and the channels of one group
 *
 * A row is read in stretches of at most a tile, as contiguous f32, in as many passes as its operation needs; one
 * that fits a tile is brought there once. Sums run in f32, many lanes at once, and are added over stretches in
 * double; where f32 has not the range (squares of very large or very small numbers) a stretch is summed again in
 * double. Rows of f64 are in normalise_f64.c. */
#include "backend/cpu/lines.h"

#include "backend/cpu/cpu.h"

#include <float.h>
#include <math.h>

/* --- a row's stretches ------------------------------------------------------------------------ */

typedef struct stretches {
    const mia__cpu_task *task;
    int64_t start[3]; /* of the row: output, input, channel */
    size_t line;      /* the next */
    int64_t first;
    bool whole, held; /* the row is one stretch; and it is in the tile */
    float tile[MIA__CPU_TILE];
    float result[MIA__CPU_TILE];
    /* the stretch */
    size_t count;
    int64_t in;      /* from the input's start */
    int64_t channel; /* of its first element */
    char *to;
    float *out; /* where its results are made: their place, or `result` */
} stretches;

static void find_row(stretches *s, const mia__cpu_task *task, size_t row) {
    const mia__cpu_rows *rows = &task->step->as.rows;
    mia__cpu_loop_offsets(&rows->outer, 0, row, 3, s->start);
    s->task = task;
    s->whole = rows->length <= MIA__CPU_TILE && rows->inner.rows == 1;
    s->held = false;
    s->line = 0;
    s->first = 0;
}

/* To the next stretch; after the last false, and then from the first on again. False, too, in the midst of a long
 * row that is to stop. */
static bool next(stretches *s) {
    const mia__cpu_loop *inner = &s->task->step->as.rows.inner;
    if (!s->whole && mia__cpu_stopped(s->task)) return false;
    if (s->line == inner->rows) {
        s->line = 0;
        return false;
    }
    int64_t at[3], left = inner->extent[0] - s->first;
    mia__cpu_loop_offsets(inner, 1, s->line, 3, at);
    s->count = (size_t)(left < MIA__CPU_TILE ? left : MIA__CPU_TILE);
    s->in = s->start[1] + at[1] + s->first * inner->stride[1][0];
    s->channel = s->start[2] + at[2] + s->first * inner->stride[2][0];
    mia_dtype dtype = s->task->step->source->output.dtype;
    int64_t out = s->start[0] + at[0] + s->first * inner->stride[0][0];
    s->to = s->task->output + out * mia__cpu_bytes(dtype);
    s->out = dtype == MIA_f32 ? (float *)(void *)s->to : s->result;
    s->first += MIA__CPU_TILE;
    if (s->first >= inner->extent[0]) {
        s->first = 0;
        s->line++;
    }
    return true;
}

/* The stretch's elements. */
static const float *elements(stretches *s) {
    const mia__operand *x = &s->task->step->source->inputs[0];
    mia__cpu_line line = {x->dtype, s->task->inputs[0] + s->in * mia__cpu_bytes(x->dtype),
                          s->task->step->as.rows.inner.stride[1][0]};
    if (s->held) return s->tile;
    const float *at = mia__cpu_line_read(s->task->step->kernels, line, s->count, s->tile);
    s->held = s->whole && at == s->tile;
    return at;
}

/* The results are in s->out. */
static void write(const stretches *s) {
    mia__cpu_line_write(s->task->step->kernels, s->task->step->source->output.dtype, s->to, s->out, s->count);
}

/* --- sums ------------------------------------------------------------------------------------- */

/* Sum of x - centre. */
static double sum_about(const mia__cpu_kernels *kernels, const float *x, float centre, size_t count) {
    float sum = kernels->sum(x, centre, count);
    if (isfinite(sum)) return (double)sum;
    double wide = 0;
    for (size_t i = 0; i < count; i++) wide += (double)x[i] - (double)centre;
    return wide;
}

/* Sum of (x - centre)^2. */
static double sum_of_squares(const mia__cpu_kernels *kernels, const float *x, float centre, size_t count) {
    float sum = kernels->sum_of_squares(x, centre, count);
    if (sum > 1e-20f && sum < 1e38f) return (double)sum;
    double wide = 0;
    for (size_t i = 0; i < count; i++)
        wide += ((double)x[i] - (double)centre) * ((double)x[i] - (double)centre);
    return wide;
}

static float greatest(stretches *s) {
    float most = -INFINITY;
    while (next(s)) {
        float one = s->task->step->kernels->greatest(elements(s), s->count);
        most = one > most || isnan(one) ? one : most;
    }
    return most;
}

/* --- rows ------------------------------------------------------------------------------------- */

static void softmax_row(stretches *s) {
    const mia__cpu_kernels *kernels = s->task->step->kernels;
    bool kept = s->whole || s->task->step->source->output.dtype == MIA_f32; /* exponentials, once made */
    float most = greatest(s);
    double sum = 0;
    while (next(s)) sum += (double)kernels->exponentials(s->out, elements(s), most, s->count);
    while (next(s)) {
        if (!kept) (void)kernels->exponentials(s->out, elements(s), most, s->count);
        kernels->scale(s->out, s->out, (float)(1 / sum), s->count);
        write(s);
    }
}

static void log_softmax_row(stretches *s) {
    const mia__cpu_kernels *kernels = s->task->step->kernels;
    mia__cpu_normal normal = {.centre = greatest(s), .factor = 1};
    double sum = 0;
    while (next(s)) sum += (double)kernels->sum_of_exponentials(elements(s), normal.centre, s->count);
    normal.shift = (float)log(sum);
    while (next(s)) {
        kernels->normalise_evenly(s->out, elements(s), &normal, 1, 0, s->count);
        write(s);
    }
}

/* Weights (1) or biases (2) as contiguous f32. */
static const float *vector(const mia__cpu_task *task, uint32_t input) {
    const mia__cpu_rows *rows = &task->step->as.rows;
    if (task->step->source->input_count <= input) return NULL;
    if (rows->spread) return (const float *)task->args.scratch + (input - 1) * (size_t)rows->channels;
    return (const float *)(const void *)task->inputs[input];
}

#define LEAST_FACTOR 1e-30 /* below it, x - mean may not fit f32 */

/* (x - mean) * factor * weight + bias, the mean in two parts; in double for rows of numbers so large or small that
 * this leaves f32's range. */
static void apply(stretches *s, float centre, double shift, double factor) {
    const mia__cpu_kernels *kernels = s->task->step->kernels;
    const float *weights = vector(s->task, 1), *biases = vector(s->task, 2);
    bool each = s->task->step->as.rows.inner.stride[2][0] != 0,
         wide = factor < LEAST_FACTOR || factor > FLT_MAX;
    const mia__cpu_normal normal = {centre, (float)shift, (float)factor};
    while (next(s)) {
        const float *x = elements(s);
        const float *w = weights != NULL ? weights + s->channel : NULL;
        const float *b = biases != NULL ? biases + s->channel : NULL;
        for (size_t i = 0; wide && i < s->count; i++) {
            double y = ((double)x[i] - (double)centre - shift) * factor;
            size_t c = each ? i : 0;
            s->out[i] = (float)(y * (w != NULL ? (double)w[c] : 1) + (b != NULL ? (double)b[c] : 0));
        }
        if (!wide && w == NULL)
            kernels->scale(s->out, x, normal.factor, s->count);
        else if (!wide && each)
            kernels->normalise(s->out, x, &normal, w, b, s->count);
        else if (!wide)
            kernels->normalise_evenly(s->out, x, &normal, w[0], b != NULL ? b[0] : 0, s->count);
        write(s);
    }
}

static void scaled_row(stretches *s) {
    const mia__cpu_rows *rows = &s->task->step->as.rows;
    double sum = 0;
    while (next(s)) sum += sum_of_squares(s->task->step->kernels, elements(s), 0, s->count);
    if (s->task->step->source->op == MIA_OP_rms_norm) {
        apply(s, 0, 0, 1 / sqrt(sum / (double)rows->length + rows->epsilon));
    } else {
        double norm = sqrt(sum);
        apply(s, 0, 0, 1 / (norm < rows->epsilon ? rows->epsilon : norm));
    }
}

/* The mean is found twice: the second time of what the first leaves, which keeps the digits that a large mean
 * takes. */
static void centred_row(stretches *s) {
    const mia__cpu_kernels *kernels = s->task->step->kernels;
    const mia__cpu_rows *rows = &s->task->step->as.rows;
    double count = (double)rows->length, sum = 0, rest = 0, squares = 0;
    while (next(s)) sum += sum_about(kernels, elements(s), 0, s->count);
    float centre = (float)(sum / count);
    while (next(s)) {
        const float *x = elements(s);
        rest += sum_about(kernels, x, centre, s->count);
        squares += sum_of_squares(kernels, x, centre, s->count);
    }
    double shift = rest / count, variance = squares / count - shift * shift;
    apply(s, centre, shift, 1 / sqrt((variance < 0 ? 0 : variance) + rows->epsilon));
}

static void run_rows(const mia__cpu_task *task, size_t begin, size_t end) {
    stretches s;
    for (size_t row = begin; row < end; row++) {
        find_row(&s, task, row);
        switch ((int)task->step->source->op) {
        case MIA_OP_softmax: softmax_row(&s); break;
        case MIA_OP_log_softmax: log_softmax_row(&s); break;
        case MIA_OP_rms_norm:
        case MIA_OP_l2_norm: scaled_row(&s); break;
        default: centred_row(&s); break;
        }
    }
}

/* Rows with what is before and behind them: some rows at a time, which lie without gaps. */
static void run_rows_between(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *step = task->step->source;
    mia__cpu_function function = step->output.dtype == MIA_f64 ? mia__cpu_rows_f64 : run_rows;
    size_t length = (size_t)task->step->as.rows.length, many = MIA__CPU_TILE / length;
    uint64_t made[MIA__CPU_TILE], results[MIA__CPU_TILE];
    const void *at = results;
    mia__cpu_task behind;
    if (task->behind != NULL) behind = *task->behind;
    for (size_t row = begin; row < end; row += many) {
        size_t last = end - row < many ? end : row + many, first = row * length,
               count = (last - row) * length;
        mia__cpu_task own = *task;
        if (task->before != NULL) own.inputs[0] = mia__cpu_chain_before(task->before, first, count, made);
        if (task->behind != NULL)
            own.output = mia__cpu_origin(results, first, (size_t)mia__cpu_bytes(step->output.dtype));
        function(&own, row, last);
        if (task->behind != NULL) mia__cpu_chain_behind(&behind, &at, 1, first, count);
    }
}

static void run_all_rows(const mia__cpu_task *task, size_t begin, size_t end) {
    bool between = task->before != NULL || task->behind != NULL;
    if (between)
        run_rows_between(task, begin, end);
    else
        (task->step->source->output.dtype == MIA_f64 ? mia__cpu_rows_f64 : run_rows)(task, begin, end);
}

/* --- weights and biases ----------------------------------------------------------------------- */

static mia_dtype worked_in(const mia__step *step) {
    return step->output.dtype == MIA_f64 ? MIA_f64 : MIA_f32;
}

/* Whether an operand of weights or biases has to be brought into contiguous numbers first. */
static bool is_spread(const mia__step *step) {
    bool spread = false;
    for (uint32_t i = 1; i < step->input_count; i++) {
        const mia__view *view = &step->inputs[i].view;
        spread |= step->inputs[i].dtype != worked_in(step) || (view->extent[0] > 1 && view->stride[0] != 1);
    }
    return spread;
}

size_t mia__cpu_scratch_rows(const mia__cpu *cpu, const mia__step *step) {
    (void)cpu;
    if (!is_spread(step)) return 0;
    return (step->input_count - 1) * (size_t)step->inputs[1].view.extent[0] *
           (size_t)mia__cpu_bytes(worked_in(step));
}

/* At most a tile of a line, from `first` on, to scratch memory from number `at` on. */
static void spread_stretch(const mia__cpu_task *task, mia__cpu_line line, int64_t at, int64_t first) {
    int64_t left = task->step->as.rows.channels - first;
    size_t count = (size_t)(left < MIA__CPU_TILE ? left : MIA__CPU_TILE);
    line = mia__cpu_line_at(line, first);
    if (worked_in(task->step->source) == MIA_f64) {
        mia__cpu_line_widen(line, count, (double *)task->args.scratch + at + first);
        return;
    }
    float *to = (float *)task->args.scratch + at + first;
    const float *from = mia__cpu_line_read(task->step->kernels, line, count, to);
    mia__cpu_line_write(task->step->kernels, MIA_f32, (char *)to, from, count);
}

/* A unit is one of the operands. */
static void run_spread(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_rows *rows = &task->step->as.rows;
    for (size_t unit = begin; unit < end; unit++) {
        const mia__operand *from = &task->step->source->inputs[unit + 1];
        const mia__cpu_line line = {from->dtype, task->inputs[unit + 1], from->view.stride[0]};
        for (int64_t first = 0; first < rows->channels && !mia__cpu_stopped(task); first += MIA__CPU_TILE)
            spread_stretch(task, line, (int64_t)unit * rows->channels, first);
    }
}

/* --- choosing --------------------------------------------------------------------------------- */

/* Loops over the rows of `source`, and over one of them: the channels' mode is cut into groups. */
static void cut(const mia__step *source, mia__cpu_rows *rows) {
    bool groups = source->op == MIA_OP_group_norm;
    uint32_t mode = groups ? (uint32_t)source->attributes.i[0] : 0, ndim = source->output.view.ndim;
    int64_t count = groups ? source->attributes.i[1] : 1;
    mia__view whole[3] = {source->output.view, source->inputs[0].view, source->output.view};
    for (uint32_t m = 0; m < ndim; m++) whole[2].stride[m] = m == mode ? 1 : 0;
    mia__view inner[3], outer[3];
    const mia__view *in[3], *out[3];
    rows->channels = ndim > 0 ? source->output.view.extent[mode] : 1;
    for (uint32_t i = 0; i < 3; i++) {
        in[i] = &inner[i], out[i] = &outer[i];
        inner[i] = outer[i] = whole[i];
        if (ndim == 0) continue;
        inner[i].ndim = mode + 1;
        inner[i].extent[mode] /= count;
        for (uint32_t m = 0; m < mode; m++) outer[i].extent[m] = 1;
        outer[i].extent[mode] = count;
        outer[i].stride[mode] *= rows->channels / count;
    }
    mia__cpu_loop_make(&rows->inner, &inner[0], 0, in, 3);
    mia__cpu_loop_make(&rows->outer, &outer[0], 0, out, 3);
    rows->length = mia__view_count(&inner[0]);
    rows->epsilon = source->attributes.f[0];
}

bool mia__cpu_choose_normalise(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    mia__cpu_rows *rows = &out->as.rows;
    if (mia__view_count(&source->output.view) == 0) return true;
    cut(source, rows);
    if (rows->inner.extent[0] > 1 && rows->inner.stride[0][0] != 1) return false;
    rows->spread = is_spread(source);
    size_t count = rows->outer.rows * (size_t)rows->outer.extent[0];
    bool wide = worked_in(source) == MIA_f64;
    out->work = (double)count * (30.0 + (wide ? 5.0 : 0.3) * (double)rows->length);
    if (rows->spread) mia__cpu_phase_add(out, run_spread, source->input_count - 1);
    mia__cpu_phase_add(out, run_all_rows, count);
    return true;
}

bool mia__cpu_rows_take_chains(const mia__step *step) {
    return step->output.view.ndim > 0 && step->output.view.extent[0] <= MIA__CPU_TILE;
}
