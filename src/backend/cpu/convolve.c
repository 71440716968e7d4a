/* Convolutions. Two ways:
 *
 *     product   a matrix product without the matrix: of a group's outputs (columns) by places of the window
 *               (rows, 16 a panel). A panel [k][16] is gathered from x a stretch of k at a time, k counting
 *               (channel, j, i); padding is zeros
 *     direct    a row of places at a time, each element of the window added with its weight: where a group
 *               has one channel, so that there is nothing to share, and for f64
 *
 * Phases before it widen x to f32, where it is of 16 bits, and bring weights into panels [k][columns]. */
#include "backend/reference/element.h"

#include "backend/cpu/cpu.h"
#include "backend/cpu/lines.h"

#define GROUP       MIA__CPU_GROUP
#define DEPTH       256 /* of a stretch of k */
#define MOST_GROUPS 2   /* panels that the inner kernel takes at once */
#define OUTPUTS     192 /* of a unit, at most */
#define ROW         256 /* places that the direct way does at once */

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
static bool is_half(mia_dtype dtype) {
    return dtype == MIA_f16 || dtype == MIA_bf16;
}

static const float *pictures_of(const mia__cpu_task *task) {
    return task->step->as.convolution.widened ? task->args.scratch
                                              : (const float *)(const void *)task->inputs[0];
}

static int64_t elements(const mia__view *view) {
    int64_t count = 1;
    for (uint32_t m = 0; m < view->ndim; m++) count *= view->extent[m];
    return count;
}

/* Panels of weights lie behind the widened x. */
static float *panels_of(const mia__cpu_task *task) {
    float *scratch = task->args.scratch;
    const mia__step *source = task->step->source;
    return is_half(source->inputs[0].dtype) ? scratch + elements(&source->inputs[0].view) : scratch;
}

/* --- before ----------------------------------------------------------------------------------- */

/* A unit is a row of x. */
static void run_widen(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__operand *x = &task->step->source->inputs[0];
    const mia__cpu_kernels *kernels = task->step->kernels;
    const uint16_t *numbers = (const uint16_t *)(const void *)task->inputs[0];
    int64_t length = x->view.extent[0];
    for (size_t row = begin; row < end; row++) {
        int64_t at = 0, left = (int64_t)row;
        for (uint32_t m = 1; m < x->view.ndim; m++) {
            at += left % x->view.extent[m] * x->view.stride[m];
            left /= x->view.extent[m];
        }
        float *out = (float *)task->args.scratch + (int64_t)row * length;
        const mia__cpu_line line = {x->dtype, (const char *)(numbers + at), x->view.stride[0]};
        for (int64_t i = 0; i < length && !mia__cpu_stopped(task); i += MIA__CPU_TILE)
            (void)mia__cpu_line_read(kernels, mia__cpu_line_at(line, i),
                                     (size_t)least(length - i, MIA__CPU_TILE), out + i);
    }
}

/* A unit is as many outputs of a group as the inner kernel takes as columns. */
static void run_pack(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_convolution *c = &task->step->as.convolution;
    mia_dtype dtype = task->step->source->inputs[1].dtype;
    int64_t most = task->step->kernels->columns, tiles = divide_up(c->outputs, most);
    for (size_t unit = begin; unit < end; unit++) {
        int64_t in_group = (int64_t)unit % tiles * most, columns = least(c->outputs - in_group, most);
        int64_t output = (int64_t)unit / tiles * c->outputs + in_group;
        float *out = panels_of(task) + output * c->depth;
        for (int64_t channel = 0; channel < c->channels; channel++)
            for (int64_t j = 0; j < c->axis[1].size; j++)
                for (int64_t i = 0; i < c->axis[0].size; i++) {
                    if (mia__cpu_stopped(task)) return;
                    int64_t at = channel * c->w_channel + j * c->w_step[1] + i * c->w_step[0];
                    for (int64_t m = 0; m < columns; m++)
                        *out++ = (float)mia__load(dtype, task->inputs[1], at + (output + m) * c->w_output);
                }
    }
}

/* --- as a product ----------------------------------------------------------------------------- */

/* Places of one panel that lie in one row of the output. */
typedef struct run {
    int64_t p, q, count, lane;
} run;

static unsigned find_runs(const mia__cpu_convolution *c, int64_t place, int64_t count, run runs[GROUP]) {
    unsigned found = 0;
    int64_t width = c->axis[0].places;
    for (int64_t lane = 0; lane < count;) {
        run r = {(place + lane) % width, (place + lane) / width, 0, lane};
        r.count = least(width - r.p, count - lane);
        lane += r.count;
        runs[found++] = r;
    }
    return found;
}

static void copy_run(const float *from, int64_t step, int64_t count, float *out) {
    if (step == 1 && count == GROUP)
        memcpy(out, from, GROUP * sizeof *out);
    else if (step == 1)
        for (int64_t n = 0; n < count; n++) out[n] = from[n];
    else
        for (int64_t n = 0; n < count; n++) out[n] = from[n * step];
}

/* Element i, j of the windows of a run, of the channel that begins at x[channel]: lanes of one line of the panel. */
static void gather_run(const mia__cpu_convolution *c, const float *x, int64_t channel, const run *r,
                       int64_t i, int64_t j, float *line) {
    const mia__window_axis *a = &c->axis[0];
    int64_t down = mia__window_at(&c->axis[1], r->q, j), at = mia__window_at(a, r->p, i);
    int64_t step = a->stride * a->x_step, first = r->p, end = r->p + r->count;
    bool inside = down >= 0 && down < c->axis[1].extent;
    line += r->lane;
    if (!inside || at < 0 || at + (r->count - 1) * a->stride >= a->extent) {
        for (int64_t n = 0; n < r->count; n++) line[n] = 0;
        if (!inside) return;
        mia__window_places(a, i, r->p, r->p + r->count, &first, &end);
        at += (first - r->p) * a->stride;
        if (first == end) return;
    }
    copy_run(x + (channel + down * c->axis[1].x_step + at * a->x_step), step, end - first,
             line + (first - r->p));
}

/* Lines k .. k + depth of the panel of places place .. place + count; the group's first channel begins at x[first]. */
static void gather_panel(const mia__cpu_convolution *c, const float *x, int64_t first, int64_t place,
                         int64_t count, int64_t k, int64_t depth, float *panel) {
    run runs[GROUP];
    unsigned run_count = find_runs(c, place, count, runs);
    int64_t width = c->axis[0].size, height = c->axis[1].size;
    int64_t i = k % width, j = k / width % height;
    int64_t channel = first + k / (width * height) * c->x_channel;
    for (int64_t line = 0; line < depth; line++, panel += GROUP) {
        for (int64_t lane = count; lane < GROUP; lane++) panel[lane] = 0;
        for (unsigned r = 0; r < run_count; r++) gather_run(c, x, channel, &runs[r], i, j, panel);
        if (++i < width) continue;
        i = 0;
        if (++j < height) continue;
        j = 0;
        channel += c->x_channel;
    }
}

/* A unit: places and outputs of one group of one picture. */
typedef struct area {
    int64_t batch, group, place, rows, m, columns;
} area;

static area find_area(const mia__cpu_task *task, size_t unit) {
    const mia__cpu_convolution *c = &task->step->as.convolution;
    int64_t u = (int64_t)unit, rows = GROUP * (int64_t)task->step->kernels->groups;
    area a = {.place = u % c->n_tiles * rows, .m = u / c->n_tiles % c->m_tiles * c->m_tile};
    u /= c->n_tiles * c->m_tiles;
    a.group = u % c->groups;
    a.batch = u / c->groups;
    a.rows = least(c->places - a.place, rows);
    a.columns = least(c->outputs - a.m, c->m_tile);
    return a;
}

/* All sums of an area into `out`, `stride` floats from output to output. */
static void multiply_area(const mia__cpu_task *task, const area *a, float *out, int64_t stride) {
    const mia__cpu_convolution *c = &task->step->as.convolution;
    const mia__cpu_kernels *kernels = task->step->kernels;
    const float *x = pictures_of(task);
    int64_t first = a->batch * c->x_batch + a->group * c->channels * c->x_channel;
    const float *w = panels_of(task) + (a->group * c->outputs + a->m) * c->depth;
    float room[MOST_GROUPS][DEPTH * GROUP];
    const float *panels[MOST_GROUPS] = {room[0], room[1]};
    int64_t k = 0;
    do {
        int64_t depth = least(c->depth - k, DEPTH);
        for (int64_t g = 0; g * GROUP < a->rows; g++)
            gather_panel(c, x, first, a->place + g * GROUP, least(a->rows - g * GROUP, GROUP), k, depth,
                         room[g]);
        for (int64_t m = 0; m < a->columns; m += kernels->columns) {
            unsigned columns = (unsigned)least(a->columns - m, kernels->columns);
            mia__cpu_tile tile = {out + m * stride, stride, (unsigned)a->rows, columns, k > 0};
            kernels->product(panels, w + m * c->depth + k * columns, depth, &tile);
        }
        k += depth;
    } while (k < c->depth && !mia__cpu_stopped(task));
}

static void run_product(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_convolution *c = &task->step->as.convolution;
    const mia__cpu_kernels *kernels = task->step->kernels;
    mia_dtype dtype = task->step->source->output.dtype;
    for (size_t unit = begin; unit < end; unit++) {
        area a = find_area(task, unit);
        int64_t output = (a.batch * c->groups + a.group) * c->outputs + a.m;
        int64_t at = output * c->places + a.place;
        if (dtype == MIA_f32) {
            multiply_area(task, &a, (float *)(void *)task->output + at, c->places);
            continue;
        }
        float sums[OUTPUTS][MOST_GROUPS * GROUP];
        multiply_area(task, &a, sums[0], MOST_GROUPS * GROUP);
        for (int64_t m = 0; m < a.columns; m++)
            (dtype == MIA_f16 ? kernels->narrow_f16 : kernels->narrow_bf16)(
                (uint16_t *)(void *)task->output + at + m * c->places, sums[m], (size_t)a.rows);
    }
}

/* --- directly --------------------------------------------------------------------------------- */

/* Sums of a stretch of places p .. p + count of one row, in f32 or, for f64, in double. */
typedef struct stretch {
    const mia__cpu_kernels *kernels;
    const mia__window_axis *axis;
    int64_t p, count;
    bool wide;
    union {
        float narrow[ROW];
        double wide[ROW];
    } sums;
} stretch;

/* Padding at places [first, end): nothing, but by a weight that is not finite. */
static void add_padding(stretch *s, double w, int64_t first, int64_t end) {
    double product = w * 0;
    if (product == 0) return;
    for (int64_t i = first - s->p; i < end - s->p; i++) {
        if (s->wide)
            s->sums.wide[i] += product;
        else
            s->sums.narrow[i] += (float)product;
    }
}

/* Element i of the windows, of a line of x. */
static void add_element(stretch *s, double w, const void *line, int64_t i) {
    const mia__window_axis *a = s->axis;
    int64_t first, end, step = a->stride * a->x_step;
    mia__window_places(a, i, s->p, s->p + s->count, &first, &end);
    add_padding(s, w, s->p, first);
    add_padding(s, w, end, s->p + s->count);
    if (first == end) return;
    int64_t at = mia__window_at(a, first, i) * a->x_step;
    size_t count = (size_t)(end - first);
    if (s->wide) {
        const double *x = (const double *)line + at;
        double *sums = s->sums.wide + (first - s->p);
        if (step == 1)
            s->kernels->accumulate_f64(sums, x, w, count);
        else
            for (size_t n = 0; n < count; n++) sums[n] += x[(int64_t)n * step] * w;
    } else {
        const float *x = (const float *)line + at;
        float *sums = s->sums.narrow + (first - s->p), factor = (float)w;
        if (step == 1)
            s->kernels->accumulate(sums, x, factor, count);
        else
            for (size_t n = 0; n < count; n++) sums[n] += x[(int64_t)n * step] * factor;
    }
}

static void store_stretch(const stretch *s, mia_dtype dtype, char *out, int64_t at) {
    size_t count = (size_t)s->count;
    switch (dtype) {
    case MIA_f64: memcpy((double *)(void *)out + at, s->sums.wide, count * sizeof(double)); break;
    case MIA_f32: memcpy((float *)(void *)out + at, s->sums.narrow, count * sizeof(float)); break;
    case MIA_f16: s->kernels->narrow_f16((uint16_t *)(void *)out + at, s->sums.narrow, count); break;
    default: s->kernels->narrow_bf16((uint16_t *)(void *)out + at, s->sums.narrow, count); break;
    }
}

/* All channels and elements of the windows of row q that give `output` of a picture. */
static void sum_stretch(const mia__cpu_task *task, stretch *s, int64_t batch, int64_t output, int64_t q) {
    const mia__cpu_convolution *c = &task->step->as.convolution;
    const mia__window_axis *b = &c->axis[1];
    mia_dtype w_dtype = task->step->source->inputs[1].dtype;
    const char *x = s->wide ? task->inputs[0] : (const char *)pictures_of(task);
    int64_t first = output / c->outputs * c->channels, bytes = s->wide ? 8 : 4;
    memset(&s->sums, 0, sizeof s->sums);
    for (int64_t channel = 0; channel < c->channels; channel++)
        for (int64_t j = 0; j < b->size; j++) {
            int64_t down = mia__window_at(b, q, j);
            bool inside = down >= 0 && down < b->extent && c->axis[0].extent > 0;
            int64_t at =
                batch * c->x_batch + (first + channel) * c->x_channel + (inside ? down : 0) * b->x_step;
            for (int64_t i = 0; i < c->axis[0].size; i++) {
                if (mia__cpu_stopped(task)) return;
                double w = mia__load(w_dtype, task->inputs[1],
                                     channel * c->w_channel + j * c->w_step[1] + i * c->w_step[0] +
                                         output * c->w_output);
                if (inside)
                    add_element(s, w, x + at * bytes, i);
                else
                    add_padding(s, w, s->p, s->p + s->count);
            }
        }
}

/* A unit is a row of the output. */
static void run_direct(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_convolution *c = &task->step->as.convolution;
    mia_dtype dtype = task->step->source->output.dtype;
    stretch s = {.kernels = task->step->kernels, .axis = &c->axis[0], .wide = dtype == MIA_f64};
    int64_t rows = c->axis[1].places, width = c->axis[0].places, all = c->outputs * c->groups;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t q = (int64_t)unit % rows, output = (int64_t)unit / rows % all;
        for (s.p = 0; s.p < width; s.p += s.count) {
            s.count = least(width - s.p, ROW);
            sum_stretch(task, &s, (int64_t)unit / rows / all, output, q);
            store_stretch(&s, dtype, task->output, (int64_t)unit * width + s.p);
        }
    }
}

/* --- choosing --------------------------------------------------------------------------------- */

static bool is_direct(const mia__step *step) {
    return step->output.dtype == MIA_f64 || step->inputs[1].view.extent[step->inputs[1].view.ndim - 2] <= 1;
}

size_t mia__cpu_scratch_window(const mia__cpu *cpu, const mia__step *step) {
    (void)cpu;
    int64_t count = is_half(step->output.dtype) ? elements(&step->inputs[0].view) : 0;
    if (!is_direct(step)) count += elements(&step->inputs[1].view);
    return (size_t)count * sizeof(float);
}

/* Strides of x as it lies, or as phase 0 widens it. */
static void describe_x(mia__cpu_convolution *c, const mia__view *x, uint32_t modes) {
    int64_t stride[4] = {0}, next = 1;
    for (uint32_t m = 0; m < x->ndim; m++) {
        stride[m] = c->widened ? next : x->stride[m];
        next *= x->extent[m];
    }
    for (uint32_t m = 0; m < modes; m++) c->axis[m].x_step = stride[m];
    c->x_channel = stride[modes];
    c->x_batch = stride[modes + 1];
}

static mia__cpu_convolution describe(const mia__step *step) {
    const mia__view *x = &step->inputs[0].view, *w = &step->inputs[1].view;
    uint32_t modes = x->ndim - 2;
    mia__cpu_convolution c = {.channels = w->extent[modes],
                              .groups = step->attributes.i[MIA__WINDOW_GROUPS],
                              .batches = x->extent[modes + 1],
                              .w_channel = w->stride[modes],
                              .w_output = w->stride[modes + 1],
                              .widened = is_half(step->inputs[0].dtype)};
    c.outputs = w->extent[modes + 1] / c.groups;
    for (uint32_t m = 0; m < 2; m++) {
        c.axis[m] = mia__window_axis_of(step, m, modes, m < modes ? w->extent[m] : 1);
        c.w_step[m] = m < modes ? w->stride[m] : 0;
    }
    describe_x(&c, x, modes);
    c.places = c.axis[0].places * c.axis[1].places;
    c.depth = c.axis[0].size * c.axis[1].size * c.channels;
    return c;
}

static void choose_product(const mia__cpu *cpu, mia__cpu_step *out) {
    mia__cpu_convolution *c = &out->as.convolution;
    int64_t columns = cpu->kernels.columns;
    c->m_tile = least(16 * columns, OUTPUTS);
    c->n_tiles = divide_up(c->places, GROUP * (int64_t)cpu->kernels.groups);
    c->m_tiles = divide_up(c->outputs, c->m_tile);
    mia__cpu_phase_add(out, run_pack, (size_t)(c->groups * divide_up(c->outputs, columns)));
    mia__cpu_phase_add(out, run_product, (size_t)(c->batches * c->groups * c->n_tiles * c->m_tiles));
}

bool mia__cpu_choose_window(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    const mia__step *source = out->source;
    if (source->op != MIA_OP_conv1d && source->op != MIA_OP_conv2d)
        return mia__cpu_choose_pool(cpu, plan, out);
    out->as.convolution = describe(source);
    const mia__cpu_convolution *c = &out->as.convolution;
    const mia__view *x = &source->inputs[0].view;
    double sums = (double)(c->batches * c->groups * c->outputs) * (double)c->places;
    out->work = sums * (0.5 + 0.03 * (double)c->depth);
    if (c->widened && x->extent[0] > 0)
        mia__cpu_phase_add(out, run_widen, (size_t)(elements(x) / x->extent[0]));
    if (is_direct(source))
        mia__cpu_phase_add(out, run_direct,
                           (size_t)(c->batches * c->groups * c->outputs * c->axis[1].places));
    else
        choose_product(cpu, out);
    return true;
}
