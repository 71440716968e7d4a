/* Normalisation over mode 0: softmax, log_softmax, rms_norm, l2_norm, layer_norm; and over groups of channels:
 * group_norm. Each row is read in passes, in double, and an element is read for the last time before its place is
 * written, so that the output may be the input. */
#include "backend/reference/element.h"

#include <math.h>

/* Reads element i of one row, a line along mode 0. */
typedef struct row {
    mia_dtype dtype;
    const void *base;
    int64_t at, stride, length;
} row;

static double row_load(const row *r, int64_t i) {
    return mia__load(r->dtype, r->base, r->at + i * r->stride);
}

static row row_of(const mia__kernel_args *args, uint32_t input, int64_t at) {
    const mia__operand *operand = &args->step->inputs[input];
    bool rank0 = operand->view.ndim == 0;
    return (row){operand->dtype, args->inputs[input], at, rank0 ? 0 : operand->view.stride[0],
                 mia__extent(&operand->view, 0)};
}

typedef void (*row_kernel)(const mia__kernel_args *args, const row *in, int64_t out_at);

static void store_result(const mia__kernel_args *args, int64_t out_at, int64_t i, double value) {
    const mia__operand *out = &args->step->output;
    int64_t stride = out->view.ndim > 0 ? out->view.stride[0] : 0;
    mia__store(out->dtype, args->output, out_at + i * stride, value);
}

static void for_each_row(const mia__kernel_args *args, row_kernel kernel) {
    mia__walk walk;
    if (!mia__walk_start(&walk, &args->step->output.view, 1)) return;
    uint32_t o = mia__walk_add(&walk, &args->step->output.view);
    uint32_t x = mia__walk_add(&walk, &args->step->inputs[0].view);
    do {
        row in = row_of(args, 0, walk.at[x]);
        kernel(args, &in, walk.at[o]);
    } while (mia__walk_next(&walk));
}

/* A row of nothing but -infinity gives NaN (0 / 0), as does a row that holds NaN or +infinity. */
static void softmax_row(const mia__kernel_args *args, const row *in, int64_t out_at) {
    double greatest = -(double)INFINITY;
    mia__long_sum shares = {0};
    for (int64_t i = 0; i < in->length; i++) greatest = fmax(greatest, row_load(in, i));
    for (int64_t i = 0; i < in->length; i++) mia__long_sum_add(&shares, exp(row_load(in, i) - greatest));
    double sum = mia__long_sum_value(&shares);
    for (int64_t i = 0; i < in->length; i++)
        store_result(args, out_at, i, exp(row_load(in, i) - greatest) / sum);
}

void mia__reference_softmax(const mia__kernel_args *args) {
    for_each_row(args, softmax_row);
}

/* NaN where softmax gives it. */
static void log_softmax_row(const mia__kernel_args *args, const row *in, int64_t out_at) {
    double greatest = -(double)INFINITY;
    mia__long_sum shares = {0};
    for (int64_t i = 0; i < in->length; i++) greatest = fmax(greatest, row_load(in, i));
    for (int64_t i = 0; i < in->length; i++) mia__long_sum_add(&shares, exp(row_load(in, i) - greatest));
    double sum = mia__long_sum_value(&shares);
    for (int64_t i = 0; i < in->length; i++)
        store_result(args, out_at, i, row_load(in, i) - greatest - log(sum));
}

void mia__reference_log_softmax(const mia__kernel_args *args) {
    for_each_row(args, log_softmax_row);
}

/* The sum of (x - centre)^2. */
static double squares_of(const row *in, double centre) {
    mia__long_sum squares = {0};
    for (int64_t i = 0; i < in->length; i++) {
        double rest = row_load(in, i) - centre;
        mia__long_sum_add(&squares, rest * rest);
    }
    return mia__long_sum_value(&squares);
}

/* A row that holds NaN gives NaN. */
static void l2_norm_row(const mia__kernel_args *args, const row *in, int64_t out_at) {
    double norm = sqrt(squares_of(in, 0)), epsilon = args->step->attributes.f[0];
    if (norm < epsilon) norm = epsilon;
    for (int64_t i = 0; i < in->length; i++) store_result(args, out_at, i, row_load(in, i) / norm);
}

void mia__reference_l2_norm(const mia__kernel_args *args) {
    for_each_row(args, l2_norm_row);
}

static void rms_norm_row(const mia__kernel_args *args, const row *in, int64_t out_at) {
    row weight = row_of(args, 1, args->step->inputs[1].view.offset);
    double scale = 1 / sqrt(squares_of(in, 0) / (double)in->length + args->step->attributes.f[0]);
    for (int64_t i = 0; i < in->length; i++)
        store_result(args, out_at, i, row_load(in, i) * scale * row_load(&weight, i));
}

void mia__reference_rms_norm(const mia__kernel_args *args) {
    for_each_row(args, rms_norm_row);
}

/* The variance is the mean square of what is left of the mean, which loses no digits where the mean is
 * large. */
static void layer_norm_row(const mia__kernel_args *args, const row *in, int64_t out_at) {
    row weight = row_of(args, 1, args->step->inputs[1].view.offset);
    row bias = row_of(args, 2, args->step->inputs[2].view.offset);
    mia__long_sum sum = {0};
    for (int64_t i = 0; i < in->length; i++) mia__long_sum_add(&sum, row_load(in, i));
    double mean = mia__long_sum_value(&sum) / (double)in->length;
    double scale = 1 / sqrt(squares_of(in, mean) / (double)in->length + args->step->attributes.f[0]);
    for (int64_t i = 0; i < in->length; i++) {
        double value = (row_load(in, i) - mean) * scale * row_load(&weight, i) + row_load(&bias, i);
        store_result(args, out_at, i, value);
    }
}

void mia__reference_layer_norm(const mia__kernel_args *args) {
    for_each_row(args, layer_norm_row);
}

/* --- groups of channels ----------------------------------------------------------------------- */

/* One group of x and of the output: modes up to the channels', which has the group's alone. */
typedef struct group {
    mia__view x, out;
    int64_t channel; /* the first */
} group;

/* `of` up to mode `mode`, there `count` places from `first` on, at the walk's place `at`. */
static mia__view part_of(const mia__view *of, uint32_t mode, int64_t first, int64_t count, int64_t at) {
    mia__view part = *of;
    part.ndim = mode + 1;
    part.extent[mode] = count;
    part.offset = at + first * of->stride[mode];
    return part;
}

static double vector_load(const mia__kernel_args *args, uint32_t input, int64_t i) {
    row vector = row_of(args, input, args->step->inputs[input].view.offset);
    return row_load(&vector, i);
}

static void normalise_group(const mia__kernel_args *args, const group *of) {
    const mia__operand *x = &args->step->inputs[0], *out = &args->step->output;
    double count = (double)mia__view_count(&of->x);
    mia__long_sum sum = {0}, squares = {0};
    mia__walk walk;
    uint32_t mode = of->x.ndim - 1, from, to;
    (void)mia__walk_start(&walk, &of->x, 0);
    from = mia__walk_add(&walk, &of->x);
    do mia__long_sum_add(&sum, mia__load(x->dtype, args->inputs[0], walk.at[from]));
    while (mia__walk_next(&walk));
    double mean = mia__long_sum_value(&sum) / count;
    (void)mia__walk_start(&walk, &of->x, 0);
    from = mia__walk_add(&walk, &of->x);
    do {
        double rest = mia__load(x->dtype, args->inputs[0], walk.at[from]) - mean;
        mia__long_sum_add(&squares, rest * rest);
    } while (mia__walk_next(&walk));
    double scale = 1 / sqrt(mia__long_sum_value(&squares) / count + args->step->attributes.f[0]);
    (void)mia__walk_start(&walk, &of->x, 0);
    from = mia__walk_add(&walk, &of->x), to = mia__walk_add(&walk, &of->out);
    do {
        double rest = mia__load(x->dtype, args->inputs[0], walk.at[from]) - mean;
        int64_t channel = of->channel + walk.index[mode];
        double value = rest * scale * vector_load(args, 1, channel) + vector_load(args, 2, channel);
        mia__store(out->dtype, args->output, walk.at[to], value);
    } while (mia__walk_next(&walk));
}

void mia__reference_group_norm(const mia__kernel_args *args) {
    const mia__view *x = &args->step->inputs[0].view, *out = &args->step->output.view;
    uint32_t mode = (uint32_t)args->step->attributes.i[0];
    int64_t groups = args->step->attributes.i[1], channels = out->extent[mode] / groups;
    mia__walk walk;
    if (!mia__walk_start(&walk, out, mode + 1)) return;
    uint32_t o = mia__walk_add(&walk, out), i = mia__walk_add(&walk, x);
    do {
        for (int64_t g = 0; g < groups; g++) {
            const group one = {part_of(x, mode, g * channels, channels, walk.at[i]),
                               part_of(out, mode, g * channels, channels, walk.at[o]), g * channels};
            normalise_group(args, &one);
        }
    } while (mia__walk_next(&walk));
}
