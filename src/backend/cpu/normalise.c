/* Softmax and norms over mode 0 of f32. A unit is a row. Sums run in f32, many lanes at once; where their
 * range is not enough (squares of very large or very small numbers) a row is summed again in double. */
#include "backend/cpu/cpu.h"

#include <math.h>

static void softmax_row(const mia__cpu_task *task, float *out, const float *x, size_t length) {
    const mia__cpu_kernels *kernels = task->step->kernels;
    float sum = kernels->exponentials(out, x, kernels->greatest(x, length), length);
    kernels->scale(out, out, 1.0f / sum, length);
}

/* Mean of x - centre. */
static double mean(const mia__cpu_kernels *kernels, const float *x, float centre, size_t length) {
    float sum = kernels->sum(x, centre, length);
    if (isfinite(sum)) return (double)sum / (double)length;
    double wide = 0;
    for (size_t i = 0; i < length; i++) wide += (double)x[i] - (double)centre;
    return wide / (double)length;
}

/* Mean of (x - centre)^2. */
static double mean_square(const mia__cpu_kernels *kernels, const float *x, float centre, size_t length) {
    float sum = kernels->sum_of_squares(x, centre, length);
    if (sum > 1e-20f && sum < 1e38f) return (double)sum / (double)length;
    double wide = 0;
    for (size_t i = 0; i < length; i++)
        wide += ((double)x[i] - (double)centre) * ((double)x[i] - (double)centre);
    return wide / (double)length;
}

static void rms_norm_row(const mia__cpu_task *task, float *out, const float *x, size_t length) {
    const mia__cpu_kernels *kernels = task->step->kernels;
    double square = mean_square(kernels, x, 0, length);
    mia__cpu_normal normal = {.factor = (float)(1 / sqrt(square + task->step->as.rows.epsilon))};
    kernels->normalise(out, x, &normal, (const float *)(const void *)task->inputs[1], NULL, length);
}

/* The mean is found twice: the second time of what the first leaves, which keeps the digits that a large mean
 * takes. */
static void layer_norm_row(const mia__cpu_task *task, float *out, const float *x, size_t length) {
    const mia__cpu_kernels *kernels = task->step->kernels;
    float centre = (float)mean(kernels, x, 0, length);
    double shift = mean(kernels, x, centre, length);
    double variance = mean_square(kernels, x, centre, length) - shift * shift;
    if (variance < 0) variance = 0;
    mia__cpu_normal normal = {centre, (float)shift,
                              (float)(1 / sqrt(variance + task->step->as.rows.epsilon))};
    kernels->normalise(out, x, &normal, (const float *)(const void *)task->inputs[1],
                       (const float *)(const void *)task->inputs[2], length);
}

static void run_rows(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_rows *rows = &task->step->as.rows;
    for (size_t row = begin; row < end; row++) {
        int64_t at[2];
        mia__cpu_loop_offsets(&rows->outer, 0, row, 2, at);
        float *out = (float *)(void *)task->output + at[0];
        const float *x = (const float *)(const void *)task->inputs[0] + at[1];
        switch ((int)task->step->source->op) {
        case MIA_OP_softmax: softmax_row(task, out, x, (size_t)rows->length); break;
        case MIA_OP_rms_norm: rms_norm_row(task, out, x, (size_t)rows->length); break;
        default: layer_norm_row(task, out, x, (size_t)rows->length); break;
        }
    }
}

/* f32, and mode 0 without gaps. */
static bool is_row(const mia__operand *operand) {
    const mia__view *view = &operand->view;
    return operand->dtype == MIA_f32 && view->ndim > 0 && view->extent[0] > 0 &&
           (view->stride[0] == 1 || view->extent[0] == 1);
}

bool mia__cpu_choose_normalise(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    if (source->op == MIA_OP_log_softmax || source->op == MIA_OP_l2_norm) return false;
    if (!is_row(&source->output)) return false;
    for (uint32_t i = 0; i < source->input_count; i++)
        if (!is_row(&source->inputs[i]) || source->inputs[i].view.extent[0] != source->output.view.extent[0])
            return false;
    mia__cpu_rows *rows = &out->as.rows;
    const mia__view *operands[2] = {&source->output.view, &source->inputs[0].view};
    mia__cpu_loop_make(&rows->outer, &source->output.view, 1, operands, 2);
    rows->length = source->output.view.extent[0];
    rows->epsilon = source->attributes.f[0];
    size_t count = rows->outer.rows * (size_t)rows->outer.extent[0];
    out->work = (double)count * (30.0 + 0.3 * (double)rows->length);
    mia__cpu_phase_add(out, run_rows, count);
    return true;
}
