/* Rotary embedding of f32. Phase 0 finds the cosines and sines, once for a position and pair, whatever the
 * number of heads; phase 1 turns the heads of a position, one unit each.
 *
 *     scratch  [T] of cosines [pairs], sines [pairs] */
#include "backend/cpu/cpu.h"

#include <math.h>
#include <string.h>

/* Cosine and sine to float's precision. The angle is brought within a quarter turn of 0 in double, by half pi
 * in two parts (the first has 33 bits, so that small multiples of it are exact), and the rest is two short
 * polynomials. */
static void turn(double angle, double *cosine, double *sine) {
    if (!(fabs(angle) < 1e5)) {
        *cosine = cos(angle);
        *sine = sin(angle);
        return;
    }
    double quarters = nearbyint(angle * 0.63661977236758134308);
    double x = angle - quarters * 0x1.921fb544p+0;
    x -= quarters * 0x1.0b4611a626331p-34;
    double u = x * x;
    double s =
        x + x * u *
                (-0x1.55555547eb206p-3 +
                 u * (0x1.1111060c85c02p-7 + u * (-0x1.a00e001681563p-13 + u * 0x1.6c86755e43443p-19)));
    double c =
        1 - 0.5 * u + u * u * (0x1.55554aa3b3p-5 + u * (-0x1.6c0c814d41d1cp-10 + u * 0x1.99ff405a21b36p-16));
    switch ((int)quarters & 3) {
    case 0: *cosine = c, *sine = s; break;
    case 1: *cosine = -s, *sine = c; break;
    case 2: *cosine = -c, *sine = -s; break;
    default: *cosine = s, *sine = -c; break;
    }
}

static void run_angles(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_rope *rope = &task->step->as.rope;
    const int32_t *positions = (const int32_t *)(const void *)task->inputs[1];
    const float *frequencies = (const float *)(const void *)task->inputs[2];
    int64_t pairs = rope->rotated / 2;
    for (size_t t = begin; t < end; t++) {
        float *table = (float *)task->args.scratch + t * (size_t)rope->rotated;
        double position = positions[(int64_t)t * rope->position_stride];
        for (int64_t i = 0; i < pairs; i++) {
            double cosine, sine;
            turn(position * (double)frequencies[i * rope->frequency_stride], &cosine, &sine);
            table[i] = (float)(cosine * rope->magnitude);
            table[pairs + i] = (float)(sine * rope->magnitude);
        }
    }
}

static void run_heads(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_rope *rope = &task->step->as.rope;
    const mia__cpu_kernels *kernels = task->step->kernels;
    size_t rest = (size_t)(rope->dim - rope->rotated);
    for (size_t t = begin; t < end; t++) {
        const float *table = (const float *)task->args.scratch + t * (size_t)rope->rotated;
        for (int64_t h = 0; h < rope->heads; h++) {
            const float *x = (const float *)(const void *)task->inputs[0] + h * rope->x_stride[1] +
                             (int64_t)t * rope->x_stride[2];
            float *out =
                (float *)(void *)task->output + h * rope->out_stride[1] + (int64_t)t * rope->out_stride[2];
            (rope->halves ? kernels->rope_halves : kernels->rope_interleaved)(out, x, table,
                                                                              (size_t)rope->rotated / 2);
            if (rest > 0 && out != x) memmove(out + rope->rotated, x + rope->rotated, rest * sizeof *out);
        }
    }
}

static int64_t extent(const mia__view *view, uint32_t mode) {
    return mode < view->ndim ? view->extent[mode] : 1;
}
static int64_t stride(const mia__view *view, uint32_t mode) {
    return mode < view->ndim ? view->stride[mode] : 0;
}

static bool takes(const mia__step *step) {
    const mia__view *x = &step->inputs[0].view, *out = &step->output.view;
    if (step->inputs[0].dtype != MIA_f32 || step->inputs[1].dtype != MIA_i32 ||
        step->inputs[2].dtype != MIA_f32)
        return false;
    if (x->ndim < 1 || x->ndim > 3 || out->ndim != x->ndim) return false;
    return (x->stride[0] == 1 || x->extent[0] == 1) && (out->stride[0] == 1 || out->extent[0] == 1);
}

size_t mia__cpu_scratch_rope(const mia__cpu *cpu, const mia__step *step) {
    (void)cpu;
    if (!takes(step)) return 0;
    return (size_t)extent(&step->inputs[0].view, 2) * (size_t)extent(&step->inputs[2].view, 0) * 2 *
           sizeof(float);
}

bool mia__cpu_choose_rope(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    if (!takes(source)) return false;
    const mia__view *x = &source->inputs[0].view;
    mia__cpu_rope *rope = &out->as.rope;
    *rope = (mia__cpu_rope){.dim = x->extent[0],
                            .heads = extent(x, 1),
                            .positions = extent(x, 2),
                            .rotated = 2 * extent(&source->inputs[2].view, 0),
                            .position_stride = stride(&source->inputs[1].view, 0),
                            .frequency_stride = stride(&source->inputs[2].view, 0),
                            .halves = source->attributes.i[0] == MIA_ROPE_HALVES,
                            .magnitude = source->attributes.f[0]};
    for (uint32_t i = 0; i < 3; i++) {
        rope->x_stride[i] = stride(x, i);
        rope->out_stride[i] = stride(&source->output.view, i);
    }
    out->work =
        (double)rope->positions * (8.0 * (double)rope->rotated + 0.5 * (double)(rope->heads * rope->dim));
    mia__cpu_phase_add(out, run_angles, (size_t)rope->positions);
    mia__cpu_phase_add(out, run_heads, (size_t)rope->positions);
    return true;
}
