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

/* softmax: an exponent's rounding counts as much as the exponent is large. Norms: below FLT_MIN a normalised
 * number has few digits, whatever its weight makes of it. layer_norm: what is left of the mean is as inexact
 * as the row's largest number. */
static inline void magnitudes_rows(const program *p, const double *numbers, int64_t count, double *out) {
    const operand *x = &p->operands[0];
    int64_t length = x->shape.ndim > 0 ? x->shape.extent[0] : 1;
    for (int64_t first = 0; first < count; first += length) {
        const double *line = x->numbers + first;
        double most = 0, top = -(double)INFINITY, squares = 0, mean = 0, variance = 0;
        for (int64_t i = 0; i < length; i++) {
            most = larger(fabs(line[i]), most);
            top = larger(line[i], top);
            squares += line[i] * line[i];
            mean += line[i] / (double)length;
        }
        for (int64_t i = 0; i < length; i++) variance += (line[i] - mean) * (line[i] - mean) / (double)length;
        double scale = 1 / sqrt(variance + p->real);
        for (int64_t i = 0; i < length; i++) {
            double value = fabs(numbers[first + i]);
            if (p->row->op == MIA_OP_rms_norm)
                value = larger(fabs(line[i]) / sqrt(squares / (double)length + p->real), (double)FLT_MIN) *
                        fabs(p->operands[1].numbers[i]);
            if (p->row->op == MIA_OP_softmax) value *= isinf(line[i]) ? 1 : 1 + fabs(line[i] - top);
            if (p->row->op == MIA_OP_layer_norm)
                value = larger(most * scale, (double)FLT_MIN) * fabs(p->operands[1].numbers[i]) *
                            (1 + fabs(line[i] - mean) * scale) +
                        fabs(p->operands[2].numbers[i]);
            bool overflows = p->row->op != MIA_OP_softmax && squares > (double)FLT_MAX / 4;
            out[first + i] = overflows ? (double)INFINITY : value; /* squares are summed in f32 or wider */
        }
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

/* What one query's scores are made of at most, and what its weights make of v. */
static inline void magnitudes_attention(const program *p, const result *r, double *out) {
    const operand *q = &p->operands[0], *k = &p->operands[1], *v = &p->operands[2];
    int64_t dim = q->shape.extent[0], heads = q->shape.extent[1], tokens = q->shape.extent[2];
    int64_t held = k->shape.extent[1], groups = k->shape.extent[2], e = r->shape.extent[0];
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t seen = (int64_t)p->operands[3].numbers[0] - tokens + t + 1, group = h / (heads / groups);
            double most = 0;
            if (seen > held) seen = held;
            for (int64_t s = 0; s < seen; s++) {
                double sum = 0;
                for (int64_t d = 0; d < dim; d++)
                    sum += fabs(q->numbers[(t * heads + h) * dim + d] *
                                k->numbers[(group * held + s) * dim + d]);
                most = larger(sum, most);
            }
            for (int64_t i = 0; i < e; i++) {
                double greatest = 0;
                for (int64_t s = 0; s < seen; s++)
                    greatest = larger(fabs(v->numbers[(group * held + s) * e + i]), greatest);
                out[(t * heads + h) * e + i] =
                    most > 1e30 ? (double)INFINITY : greatest * (1 + most * p->real);
            }
        }
}

/* One number of a product: sum of |w| |x|, and what rounding x to 8 bits a block of 32 may add: half a step, and what
 * is lost of a step that is no normal number. */
static inline double product_magnitude(const double *w, const double *x, int64_t depth, double *rounded) {
    double sum = 0;
    *rounded = 0;
    for (int64_t first = 0; first < depth; first += 32) {
        double weights = 0, most = 0;
        for (int64_t i = first; i < depth && i < first + 32; i++) {
            sum += fabs(w[i] * x[i]);
            weights += fabs(w[i]);
            most = larger(fabs(x[i]), most);
        }
        *rounded += weights * (most / 254 + 127 * 0x1p-150);
    }
    return sum;
}

/* *extra: of each number, what 8-bit activations may add; not scaled by an epsilon. */
static inline void magnitudes_matmul(const program *p, const result *r, int64_t count, double *out,
                                     double *extra) {
    const operand *w = &p->operands[0], *x = &p->operands[1];
    int64_t depth = w->shape.extent[0];
    modes of = modes_of(r->dtype, &r->shape), in_w = modes_of(w->dtype, &w->shape),
          in_x = modes_of(x->dtype, &x->shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t n = i % of.extent[0], m = of.ndim > 1 ? i / of.extent[0] % of.extent[1] : 0;
        const double *line = w->numbers + number_in(&of, i, &in_w, 2) + n * depth;
        const double *column = x->numbers + (of.ndim > 2 ? number_in(&of, i, &in_x, 2) : 0) + m * depth;
        out[i] = product_magnitude(line, column, depth, &extra[i]);
    }
}

/* Fills `slack` with how far each number may be off; infinite where sums in f32 may have overflowed. */
static inline void tolerances(const program *p, const result *r, const double *numbers, int64_t count,
                              bool eight_bits, double *slack) {
    const mia_op_info *info = mia_op_describe(p->row->op);
    double unit = info->bound * epsilon_of(r->dtype), *extra = calloc((size_t)count + 1, sizeof *extra);
    bool sums = true;
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
        sums = false;
        if (p->row->op == MIA_OP_cumsum) magnitudes_scan(p, count, slack);
        break;
    case MIA_CLASS_CONTRACTION: magnitudes_matmul(p, r, count, slack, extra); break;
    case MIA_CLASS_COMPOSITE:
        if (p->row->op == MIA_OP_group_norm || p->row->op == MIA_OP_attention_masked)
            for (int64_t i = 0; i < count; i++) slack[i] = (double)INFINITY;
        else if (p->row->op == MIA_OP_rope)
            magnitudes_rope(p, count, slack);
        else if (p->row->op == MIA_OP_attention)
            magnitudes_attention(p, r, slack);
        else
            magnitudes_rows(p, numbers, count, slack);
        break;
    case MIA_CLASS_WINDOW:
    case MIA_CLASS_CREATION:
        for (int64_t i = 0; i < count; i++) slack[i] = (double)INFINITY;
        break;
    default: sums = false; magnitudes_elementwise(p, r, numbers, count, slack);
    }
    for (int64_t i = 0; i < count; i++) {
        bool overflows = sums && info->bound > 0 && r->dtype != MIA_f64 && slack[i] > (double)FLT_MAX * 0.999;
        if (info->bound <= 0)
            slack[i] = 0;
        else if (overflows)
            slack[i] = (double)INFINITY;
        else
            slack[i] =
                slack[i] * unit + (eight_bits ? extra[i] * 1.001 : 0) + info->bound * denormal_of(r->dtype);
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

#endif
