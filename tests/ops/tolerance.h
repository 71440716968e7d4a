/* How far a backend's numbers may lie from the reference's: the row's bound, in units of the result type's
 * epsilon, times the largest magnitude that enters each number. The magnitudes are worked out here in double
 * from the operands' numbers, independently of any backend. */
#ifndef MIA_TESTS_OPS_TOLERANCE_H
#define MIA_TESTS_OPS_TOLERANCE_H

#include "ops/program.h"

/* Modes of a value with a packed type's inner mode spelt out. */
typedef struct modes {
    uint32_t ndim;
    int64_t extent[MIA_MAX_MODES + 1];
} modes;

static inline modes modes_of(mia_dtype dtype, const mia_shape *shape) {
    modes out = {0};
    int64_t inner;
    (void)scalar_of(dtype, &inner);
    if (inner > 1) out.extent[out.ndim++] = inner;
    for (uint32_t m = 0; m < shape->ndim; m++) out.extent[out.ndim++] = shape->extent[m];
    return out;
}

/* Number `at` of a value of modes `of`, seen in a compact value that repeats to it from mode `first` on
 * (modes before are at 0). */
static inline int64_t number_in(const modes *of, int64_t at, const modes *in, uint32_t first) {
    int64_t place = 0, stride = 1;
    for (uint32_t m = 0; m < of->ndim; m++) {
        int64_t index = at % of->extent[m];
        at /= of->extent[m];
        if (m >= in->ndim) continue;
        if (m >= first && in->extent[m] > 1) place += index * stride;
        stride *= in->extent[m];
    }
    return place;
}

static inline double larger(double a, double b) {
    return isnan(a) || a > b ? a : b;
}

static inline void magnitudes_elementwise(const program *p, const result *r, const double *numbers,
                                          int64_t count, double *out) {
    modes of = modes_of(r->dtype, &r->shape);
    mia_op op = p->row->op;
    bool sums = op == MIA_OP_add || op == MIA_OP_sub || op == MIA_OP_silu || op == MIA_OP_gelu ||
                op == MIA_OP_gelu_tanh || op == MIA_OP_hardswish;
    for (int64_t i = 0; i < count; i++) {
        out[i] = fabs(numbers[i]);
        for (uint32_t k = 0; sums && k < p->count; k++) {
            const operand *o = &p->operands[p->operands[k].repeated ? 0 : k];
            modes in = modes_of(o->dtype, &o->shape);
            out[i] = larger(fabs(o->numbers[number_in(&of, i, &in, 0)]), out[i]);
        }
    }
}

static inline void magnitudes_reduction(const program *p, const result *r, int64_t count, double *out) {
    const operand *x = &p->operands[0];
    modes of = modes_of(x->dtype, &x->shape), in = modes_of(r->dtype, &r->shape);
    for (int64_t i = 0; i < count; i++) out[i] = 0;
    for (int64_t i = 0; i < x->count; i++) out[number_in(&of, i, &in, 0)] += fabs(x->numbers[i]);
    for (int64_t i = 0; i < count; i++) /* a sum that fits f32 enters a mean with a share of it */
        if (p->row->op == MIA_OP_mean && out[i] < (double)FLT_MAX) out[i] *= (double)count / (double)x->count;
}

/* A product is off by a share of itself, in f64 for each factor. */
static inline void magnitudes_product(const program *p, const result *r, const double *numbers, int64_t count,
                                      double *out) {
    double most = greatest_of(r->dtype), factors = (double)p->operands[0].count / (double)count;
    double share = r->dtype == MIA_f64 && factors > 32 ? factors / 32 : 1;
    for (int64_t i = 0; i < count; i++) out[i] = share * (fabs(numbers[i]) > most ? most : fabs(numbers[i]));
}

/* Running sums of what is finite; where there is something else, the sum is no number. */
static inline void magnitudes_scan(const program *p, int64_t count, double *out) {
    const operand *x = &p->operands[0];
    bool reverse = p->b != 0;
    int64_t stride = 1, length = x->shape.extent[p->mode];
    for (uint32_t m = 0; m < p->mode; m++) stride *= x->shape.extent[m];
    for (int64_t i = 0; i < count; i++) {
        int64_t at = reverse ? count - 1 - i : i, place = at / stride % length;
        bool first = place == (reverse ? length - 1 : 0);
        double here = isfinite(x->numbers[at]) ? fabs(x->numbers[at]) : 0;
        out[at] = here + (first ? 0 : out[reverse ? at + stride : at - stride]);
    }
}

/* What is normalised together: rows of compact numbers, with weights and biases by channel. Of group_norm the
 * modes before the channels' and the channels of a group, of the others mode 0. */
typedef struct row_form {
    int64_t length;   /* of a row */
    int64_t channels; /* of a row */
    int64_t groups;   /* rows with channels of their own */
} row_form;

static inline row_form row_form_of(const program *p) {
    const mia_shape *x = &p->operands[0].shape;
    row_form form = {x->ndim > 0 ? x->extent[0] : 1, x->ndim > 0 ? x->extent[0] : 1, 1};
    if (p->row->op != MIA_OP_group_norm) return form;
    form = (row_form){1, x->extent[p->mode] / p->a, p->a};
    for (uint32_t m = 0; m < p->mode; m++) form.length *= x->extent[m];
    form.length *= form.channels;
    return form;
}

/* Number i of row `at` belongs to this channel. */
static inline int64_t channel_of(row_form form, int64_t at, int64_t i) {
    return at % form.groups * form.channels + i / (form.length / form.channels);
}

/* What one row's numbers are made of. */
typedef struct row_sums {
    double most, top, squares, mean, variance;
} row_sums;

static inline row_sums sums_of(const double *line, int64_t length) {
    row_sums sums = {.top = -(double)INFINITY};
    for (int64_t i = 0; i < length; i++) {
        sums.most = larger(fabs(line[i]), sums.most);
        sums.top = larger(line[i], sums.top);
        sums.squares += line[i] * line[i];
        sums.mean += line[i] / (double)length;
    }
    for (int64_t i = 0; i < length; i++)
        sums.variance += (line[i] - sums.mean) * (line[i] - sums.mean) / (double)length;
    return sums;
}

/* softmax: an exponent's rounding counts as much as the exponent is large; of log_softmax as it is. Norms: below
 * FLT_MIN a normalised number has few digits, whatever its weight makes of it. layer_norm: what is left of the
 * mean is as inexact as the row's largest number. */
static inline void magnitudes_rows(const program *p, const double *numbers, int64_t count, double *out) {
    const operand *x = &p->operands[0];
    row_form form = row_form_of(p);
    row_sums sums = {0};
    for (int64_t at = 0; at < count; at++) {
        int64_t line_at = at / form.length, i = at % form.length, channel = channel_of(form, line_at, i);
        const double *line = x->numbers + line_at * form.length;
        if (i == 0) sums = sums_of(line, form.length);
        double scale = 1 / sqrt(sums.variance + p->real), value = fabs(numbers[at]);
        switch ((int)p->row->op) {
        case MIA_OP_softmax: value *= isinf(line[i]) ? 1 : 1 + fabs(line[i] - sums.top); break;
        case MIA_OP_log_softmax: value = isinf(value) ? 1 : 1 + value; break;
        case MIA_OP_l2_norm: break;
        case MIA_OP_rms_norm:
            value =
                larger(fabs(line[i]) / sqrt(sums.squares / (double)form.length + p->real), (double)FLT_MIN) *
                fabs(p->operands[1].numbers[channel]);
            break;
        default:
            value = larger(sums.most * scale, (double)FLT_MIN) * fabs(p->operands[1].numbers[channel]) *
                        (1 + fabs(line[i] - sums.mean) * scale) +
                    fabs(p->operands[2].numbers[channel]);
            break;
        }
        out[at] = value;
    }
}

static inline void magnitudes_rope(const program *p, int64_t count, double *out) {
    const operand *x = &p->operands[0];
    int64_t dim = x->shape.extent[0], pairs = p->operands[2].shape.extent[0];
    for (int64_t i = 0; i < count; i++) {
        int64_t d = i % dim, other = d;
        if (d < 2 * pairs) other = p->mode == MIA_ROPE_HALVES ? (d < pairs ? d + pairs : d - pairs) : d ^ 1;
        out[i] = other == d ? fabs(x->numbers[i])
                            : (fabs(x->numbers[i]) + fabs(x->numbers[i - d + other])) * fabs(p->real);
    }
}

/* How large key s of one query's scores may be; -1 where a mask hides it. */
static inline double score_magnitude(const program *p, int64_t h, int64_t t, int64_t s) {
    const operand *q = &p->operands[0], *k = &p->operands[1], *mask = &p->operands[3];
    int64_t dim = q->shape.extent[0], heads = q->shape.extent[1], held = k->shape.extent[1];
    int64_t group = h / (heads / k->shape.extent[2]);
    const int64_t index[3] = {s, t, h};
    double sum = 0;
    for (int64_t d = 0; d < dim; d++)
        sum += fabs(q->numbers[(t * heads + h) * dim + d] * k->numbers[(group * held + s) * dim + d]);
    sum *= p->real;
    if (p->row->op != MIA_OP_attention_masked) return sum;
    int64_t at = 0, stride = 1;
    for (uint32_t m = 0; m < mask->shape.ndim; stride *= mask->shape.extent[m++])
        at += mask->shape.extent[m] > 1 ? index[m] * stride : 0;
    return mask->numbers[at] == -(double)INFINITY ? -1 : sum + fabs(mask->numbers[at]);
}

/* What operands may be rounded to beside what the bound allows: in products of blocks the activations to 8 bits, in attention
 * and in products of f16 and of blocks all operands to f16. */
typedef struct rounding {
    bool eight_bits, halves;
} rounding;

static inline rounding rounding_of(mia_device *device, bool exact) {
    bool matrices = strstr(mia_device_describe(device).description, "subgroup matrices") != NULL;
    return (rounding){!exact, !exact && matrices};
}

static inline double greatest_in(const operand *o) {
    double most = 0;
    for (int64_t i = 0; i < o->count; i++) most = larger(fabs(o->numbers[i]), most);
    return most;
}

/* How far a score may be off where queries and keys are rounded to f16, besides a share of 2^-10; infinite where numbers leave
 * its range. */
static inline double halved_scores(const program *p) {
    const operand *q = &p->operands[0];
    double queries = greatest_in(q), keys = greatest_in(&p->operands[1]),
           values = greatest_in(&p->operands[2]);
    if (queries > 65504 || keys > 65504 || values > 65504) return (double)INFINITY;
    return (double)q->shape.extent[0] * p->real * (queries + keys) * 0x1p-25;
}

/* What one query's scores are made of at most, and what its weights make of v. */
static inline void magnitudes_attention(const program *p, const result *r, rounding to, double *out,
                                        double *extra) {
    const operand *q = &p->operands[0], *k = &p->operands[1], *v = &p->operands[2];
    int64_t heads = q->shape.extent[1], tokens = q->shape.extent[2];
    int64_t held = k->shape.extent[1], groups = k->shape.extent[2], e = r->shape.extent[0];
    bool causal = p->row->op == MIA_OP_attention;
    double off = to.halves ? halved_scores(p) : 0;
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t seen = (int64_t)p->operands[p->count - 1].numbers[0], group = h / (heads / groups);
            double most = -1; /* no key is seen: zeros */
            if (causal) seen += t + 1 - tokens;
            if (seen > held) seen = held;
            for (int64_t s = 0; s < seen; s++) most = larger(score_magnitude(p, h, t, s), most);
            for (int64_t i = 0; i < e; i++) {
                double greatest = 0;
                for (int64_t s = 0; s < seen; s++)
                    greatest = larger(fabs(v->numbers[(group * held + s) * e + i]), greatest);
                bool overflows = most > 1e30 || greatest * (double)seen > (double)FLT_MAX;
                int64_t at = (t * heads + h) * e + i;
                out[at] = most < 0 ? 0 : overflows || isinf(off) ? (double)INFINITY : greatest * (1 + most);
                if (to.halves &&
                    most >= 0) /* exponents, weights and values; a mean is no greater than they are */
                    extra[at] = greatest * (fmin(8 * (most * 0x1p-10 + off), 2) + 0x1p-9) + 0x1p-25;
            }
        }
}

/* One number of a product: sum of |w| |x|, and what rounding may add. x to 8 bits a block of 32: half a step, and what is lost
 * of a step that is no normal number. x to f16: half a unit in the last place, and where the row is brought into f16's range by
 * its greatest number, all of those 2^26 times smaller; w as it is, numbers below the normal ones included. */
static inline double product_magnitude(const double *w, const double *x, int64_t depth, bool blocks,
                                       rounding to, double *rounded) {
    double sum = 0, weights_sum = 0, x_sum = 0, greatest = 0;
    *rounded = 0;
    for (int64_t first = 0; first < depth; first += 32) {
        double weights = 0, most = 0;
        for (int64_t i = first; i < depth && i < first + 32; i++) {
            sum += fabs(w[i] * x[i]);
            weights += fabs(w[i]);
            x_sum += fabs(x[i]);
            most = larger(fabs(x[i]), most);
        }
        if (to.eight_bits && blocks) *rounded += weights * (most / 254 + 127 * 0x1p-150);
        weights_sum += weights;
        greatest = larger(most, greatest);
    }
    if (to.halves) *rounded += sum * 0x1p-10 + weights_sum * greatest * 0x1p-26 + x_sum * 0x1p-25;
    return sum;
}

/* Whether parts of a product of blocks may leave f32's range before they are brought together: a block's number is the
 * difference of two, each up to twice the block's greatest, and activations are summed by themselves. */
static inline bool parts_overflow(const double *w, const double *x, int64_t depth) {
    double greatest = 0, sum = 0;
    for (int64_t i = 0; i < depth; i++) {
        greatest = larger(fabs(w[i]), greatest);
        sum += fabs(x[i]);
    }
    return larger(4 * greatest, 1) * sum > (double)FLT_MAX * 0.999;
}

/* *extra: of each number, what rounding of the operands may add; not scaled by an epsilon. */
static inline void magnitudes_matmul(const program *p, const result *r, int64_t count, rounding to,
                                     double *out, double *extra) {
    const operand *w = &p->operands[0], *x = &p->operands[1];
    int64_t depth = w->shape.extent[0];
    modes of = modes_of(r->dtype, &r->shape), in_w = modes_of(w->dtype, &w->shape),
          in_x = modes_of(x->dtype, &x->shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t n = i % of.extent[0], m = of.ndim > 1 ? i / of.extent[0] % of.extent[1] : 0;
        const double *line = w->numbers + number_in(&of, i, &in_w, 2) + n * depth;
        const double *column = x->numbers + (of.ndim > 2 ? number_in(&of, i, &in_x, 2) : 0) + m * depth;
        bool blocks = is_block(w->dtype);
        out[i] = product_magnitude(line, column, depth, blocks,
                                   (rounding){to.eight_bits, to.halves && (blocks || w->dtype == MIA_f16)},
                                   &extra[i]);
        if (blocks && parts_overflow(line, column, depth)) out[i] = (double)INFINITY;
    }
}

/* How a program's window goes along one mode, neutral values filled in. */
typedef struct window_mode {
    int64_t extent, places, size, stride, dilation, before;
} window_mode;

static inline window_mode window_mode_of(const program *p, const result *r, uint32_t m, int64_t size) {
    const mia_window *w = &p->window;
    return (window_mode){p->operands[0].shape.extent[m],
                         r->shape.extent[m],
                         size > 0 ? size : 1,
                         w->stride[m] > 0 ? w->stride[m] : 1,
                         w->dilation[m] > 0 ? w->dilation[m] : 1,
                         w->before[m]};
}

/* Where element e of the window at place p lies, -1 for padding. */
static inline int64_t window_at(const window_mode *w, int64_t p, int64_t e) {
    int64_t at = p * w->stride + e * w->dilation - w->before;
    return at >= 0 && at < w->extent ? at : -1;
}

/* Sums of |w| |x| of each window. */
static inline void magnitudes_convolution(const program *p, const result *r, int64_t count, double *out) {
    const operand *x = &p->operands[0], *w = &p->operands[1];
    uint32_t spatial = x->shape.ndim - 2;
    window_mode a = window_mode_of(p, r, 0, w->shape.extent[0]), b = {1, 1, 1, 1, 1, 0};
    if (spatial == 2) b = window_mode_of(p, r, 1, w->shape.extent[1]);
    int64_t channels = w->shape.extent[spatial], outputs = w->shape.extent[spatial + 1];
    int64_t group = outputs / (p->window.groups > 0 ? p->window.groups : 1);
    for (int64_t i = 0; i < count; i++) {
        int64_t o = i / (a.places * b.places) % outputs, n = i / (a.places * b.places) / outputs;
        out[i] = 0;
        for (int64_t e = 0; e < a.size * b.size * channels; e++) {
            int64_t c = e / (a.size * b.size);
            int64_t across = window_at(&a, i % a.places, e % a.size);
            int64_t down = window_at(&b, i / a.places % b.places, e / a.size % b.size);
            if (across < 0 || down < 0) continue;
            int64_t channel = n * x->shape.extent[spatial] + o / group * channels + c;
            out[i] += fabs(w->numbers[o * channels * a.size * b.size + e] *
                           x->numbers[(channel * b.extent + down) * a.extent + across]);
        }
    }
}

/* Sums of |x| of each window, by what the mean divides by. */
static inline void magnitudes_pool(const program *p, const result *r, int64_t count, double *out) {
    const operand *x = &p->operands[0];
    window_mode a = window_mode_of(p, r, 0, p->window.size[0]), b = {1, 1, 1, 1, 1, 0};
    if (x->shape.ndim > 1) b = window_mode_of(p, r, 1, p->window.size[1]);
    for (int64_t i = 0; i < count; i++) {
        int64_t picture = i / (a.places * b.places) * a.extent * b.extent, held = 0;
        double sum = 0;
        for (int64_t e = 0; e < a.size * b.size; e++) {
            int64_t across = window_at(&a, i % a.places, e % a.size);
            int64_t down = window_at(&b, i / a.places % b.places, e / a.size);
            if (across < 0 || down < 0) continue;
            sum += fabs(x->numbers[picture + down * a.extent + across]);
            held++;
        }
        out[i] = sum / (double)(p->window.count_padding ? a.size * b.size : held > 0 ? held : 1);
    }
}

/* The number of the output that number `at` of a part is for; -1 for none. */
static inline int64_t scattered_to(const program *p, int64_t at) {
    const operand *x = &p->operands[0], *indices = &p->operands[1], *part = &p->operands[2];
    int64_t to = 0, stride = 1, rest = at;
    for (uint32_t m = 0; m < x->shape.ndim; m++) {
        int64_t place = rest % part->shape.extent[m];
        rest /= part->shape.extent[m];
        if (m == p->mode) place = (int64_t)indices->numbers[p->row->op == MIA_OP_scatter ? place : at];
        if (place < 0 || place >= x->shape.extent[m]) return -1;
        to += place * stride;
        stride *= x->shape.extent[m];
    }
    return to;
}

/* The sum, or the product, of what meets in a place; the least and the greatest are exact. */
static inline void magnitudes_scatter(const program *p, int64_t count, double *out) {
    const operand *part = &p->operands[2];
    bool adds = p->a == MIA_SCATTER_ADD, multiplies = p->a == MIA_SCATTER_MUL;
    for (int64_t i = 0; i < count; i++) out[i] = adds || multiplies ? fabs(p->operands[0].numbers[i]) : 0;
    for (int64_t i = 0; i < part->count; i++) {
        int64_t to = scattered_to(p, i);
        if (to < 0) continue;
        if (adds) out[to] += fabs(part->numbers[i]);
        if (multiplies) out[to] *= fabs(part->numbers[i]);
    }
}

/* arange: what is added; normal numbers: the radius of the pair that a number belongs to. */
static inline void magnitudes_creation(const program *p, const double *numbers, int64_t count, double *out) {
    const double largest = 6; /* radius, of words of 24 bits, and nearly so of more */
    for (int64_t i = 0; i < count; i++) {
        if (p->row->op == MIA_OP_arange)
            out[i] = fabs(p->operands[0].numbers[0]) + fabs((double)i * p->operands[1].numbers[0]);
        else
            out[i] = (i ^ 1) < count ? hypot(numbers[i], numbers[i ^ 1]) : largest;
    }
}

/* Whether a backend may take results below the normal numbers for 0. */
static bool results_may_be_flushed;

/* How many products a result is the sum of: of each, in f32, what is below its smallest number may be lost. */
static inline double products_of(const program *p, const result *r) {
    const mia_shape *second = p->count > 1 ? &p->operands[1].shape : NULL;
    if (r->dtype == MIA_f64) return 0;
    switch (p->row->form) {
    case SIGNATURE_MATMUL: return (double)p->operands[0].shape.extent[0];
    case SIGNATURE_CONV:
        return (double)p->operands[1].count / larger((double)second->extent[second->ndim - 1], 1);
    case SIGNATURE_ATTENTION:
    case SIGNATURE_ATTENTION_MASKED: return (double)second->extent[1];
    default: return 0;
    }
}

/* Fills `slack` with how far each number may be off; infinite where sums in f32 may have overflowed. */
static inline void tolerances(const program *p, const result *r, const double *numbers, int64_t count,
                              rounding to, double *slack) {
    const mia_op_info *info = mia_op_describe(p->row->op);
    double bound = info->bound, unit = bound * epsilon_of(r->dtype),
           *extra = calloc((size_t)count + 1, sizeof *extra);
    bool sums = true;
    double terms =
        p->count == 0 || info->op_class == MIA_CLASS_ELEMENTWISE ? 0 : (double)p->operands[0].count;
    if (extra == NULL) abort();
    switch (info->op_class) {
    case MIA_CLASS_REDUCTION:
        sums = p->row->op != MIA_OP_prod;
        if (sums)
            magnitudes_reduction(p, r, count, slack);
        else
            magnitudes_product(p, r, numbers, count, slack);
        break;
    case MIA_CLASS_SCAN:
        sums = p->row->op == MIA_OP_cumsum;
        if (sums) magnitudes_scan(p, count, slack);
        break;
    case MIA_CLASS_CONTRACTION: magnitudes_matmul(p, r, count, to, slack, extra); break;
    case MIA_CLASS_COMPOSITE:
        if (p->row->op == MIA_OP_rope)
            magnitudes_rope(p, count, slack);
        else if (p->row->op == MIA_OP_attention || p->row->op == MIA_OP_attention_masked)
            magnitudes_attention(p, r, to, slack, extra);
        else
            magnitudes_rows(p, numbers, count, slack);
        break;
    case MIA_CLASS_WINDOW:
        if (p->row->form == SIGNATURE_CONV)
            magnitudes_convolution(p, r, count, slack);
        else
            magnitudes_pool(p, r, count, slack);
        break;
    case MIA_CLASS_CREATION: magnitudes_creation(p, numbers, count, slack); break;
    case MIA_CLASS_MOVEMENT:
        if (p->row->form == SIGNATURE_SCATTER) {
            magnitudes_scatter(p, count, slack);
            break;
        }
        /* fall through */
    default: sums = false; magnitudes_elementwise(p, r, numbers, count, slack);
    }
    for (int64_t i = 0; i < count; i++) {
        bool overflows = sums && bound > 0 && r->dtype != MIA_f64 && slack[i] > (double)FLT_MAX * 0.999;
        if (bound <= 0)
            slack[i] = 0;
        else if (overflows)
            slack[i] = (double)INFINITY;
        else
            slack[i] = slack[i] * unit + extra[i] * 1.001 + bound * denormal_of(r->dtype) +
                       products_of(p, r) * 0x1p-149 +
                       (results_may_be_flushed ? least_normal_of(r->dtype) + terms * (double)FLT_MIN : 0);
    }
    free(extra);
}

/* Whether `got` is near enough to `want`. Where either is infinite, the other may be just short of it. Of
 * activations that are not finite, rounding to 8 bits leaves no more than that. */
static inline bool is_near(mia_dtype dtype, double want, double got, double slack, bool eight_bits) {
    if (slack == (double)INFINITY) return true;
    if (eight_bits && !isfinite(want) && isnan(slack)) return !isfinite(got);
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
    if (isinf(want) && isinf(got)) return want == got;
    if (isinf(want) || isinf(got)) {
        double finite = isinf(want) ? got : want, infinite = isinf(want) ? want : got;
        return finite * infinite > 0 && fabs(finite) + slack >= greatest_of(dtype) && slack > 0;
    }
    return fabs(want - got) <= slack;
}

/* Views and movement give the very bytes; other integers the very numbers. */
static inline bool same_bytes_asked(const program *p, const result *want) {
    mia_op op = p->row->op;
    mia_op_class op_class = mia_op_describe(op)->op_class;
    if (op == MIA_OP_convert || (p->row->form == SIGNATURE_SCATTER && p->a != MIA_SCATTER_SET))
        return !is_real(want->dtype);
    return op_class == MIA_CLASS_VIEW || (op_class == MIA_CLASS_MOVEMENT && op != MIA_OP_embedding) ||
           !is_real(want->dtype);
}

#endif
