/* Rotary embedding of any floating-point type and strides. Phase 0 finds the cosines and sines, once for a
 * position and pair, whatever the number of heads; phase 1 turns the heads of a position, one unit each.
 *
 *     scratch  [T] of cosines [pairs], sines [pairs], f32 or, for f64, f64
 *
 * Heads that are not contiguous f32 are turned in pieces, in a tile of f32. */
#include "backend/cpu/cpu.h"

#include "backend/cpu/lines.h"

#include <math.h>
#include <string.h>

#define PIECE 256 /* pairs */

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

/* Cosines and sines of a position: element i of the tables at `table`. */
static void store_angle(const mia__cpu_rope *rope, void *table, int64_t i, double angle) {
    int64_t pairs = rope->rotated / 2;
    double cosine, sine;
    if (rope->dtype == MIA_f64) {
        ((double *)table)[i] = cos(angle) * rope->magnitude;
        ((double *)table)[pairs + i] = sin(angle) * rope->magnitude;
        return;
    }
    turn(angle, &cosine, &sine);
    ((float *)table)[i] = (float)(cosine * rope->magnitude);
    ((float *)table)[pairs + i] = (float)(sine * rope->magnitude);
}

/* The tables of position t. */
static void *table_of(const mia__cpu_task *task, size_t t) {
    const mia__cpu_rope *rope = &task->step->as.rope;
    size_t bytes = rope->dtype == MIA_f64 ? sizeof(double) : sizeof(float);
    return (char *)task->args.scratch + t * (size_t)rope->rotated * bytes;
}

static void run_angles(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_rope *rope = &task->step->as.rope;
    const int32_t *positions = (const int32_t *)(const void *)task->inputs[1];
    const float *frequencies = (const float *)(const void *)task->inputs[2];
    for (size_t t = begin; t < end; t++) {
        double position = positions[(int64_t)t * rope->position_stride];
        for (int64_t i = 0; i < rope->rotated / 2 && !mia__cpu_stopped(task); i++)
            store_angle(rope, table_of(task, t), i,
                        position * (double)frequencies[i * rope->frequency_stride]);
    }
}

/* --- heads ------------------------------------------------------------------------------------ */

static void turn_f64(const mia__cpu_rope *rope, const double *x, double *out, const double *table) {
    int64_t pairs = rope->rotated / 2, from = rope->x_stride[0];
    for (int64_t i = 0; i < pairs; i++) {
        int64_t first = rope->halves ? i : 2 * i, second = rope->halves ? i + pairs : 2 * i + 1;
        double a = x[first * from], b = x[second * from], c = table[i], s = table[pairs + i];
        out[first] = a * c - b * s;
        out[second] = a * s + b * c;
    }
    for (int64_t i = rope->rotated; i < rope->dim; i++) out[i] = x[i * from];
}

/* Contiguous f32. */
static void turn_f32(const mia__cpu_kernels *kernels, const mia__cpu_rope *rope, const float *x, float *out,
                     const float *table) {
    size_t pairs = (size_t)rope->rotated / 2, rest = (size_t)(rope->dim - rope->rotated);
    (rope->halves ? kernels->rope_halves : kernels->rope_interleaved)(out, x, table, table + pairs, pairs);
    if (rest > 0 && out != x) memmove(out + rope->rotated, x + rope->rotated, rest * sizeof *out);
}

/* Elements first .. of the head to a tile, or from it. */
static void read_piece(const mia__cpu_kernels *kernels, mia__cpu_line x, int64_t first, size_t count,
                       float *tile) {
    const float *from = mia__cpu_line_read(kernels, mia__cpu_line_at(x, first), count, tile);
    if (from != tile) memcpy(tile, from, count * sizeof *tile);
}

static void write_piece(const mia__cpu_kernels *kernels, mia_dtype dtype, char *out, int64_t first,
                        size_t count, const float *tile) {
    mia__cpu_line_write(kernels, dtype, out + first * mia__cpu_bytes(dtype), tile, count);
}

static void turn_pieces(const mia__cpu_kernels *kernels, const mia__cpu_rope *rope, mia__cpu_line x,
                        char *out, const float *table) {
    int64_t pairs = rope->rotated / 2;
    float tile[2 * PIECE];
    for (int64_t first = 0; first < pairs; first += PIECE) {
        size_t count = (size_t)(pairs - first < PIECE ? pairs - first : PIECE);
        const float *cosines = table + first, *sines = cosines + pairs;
        if (rope->halves) {
            read_piece(kernels, x, first, count, tile);
            read_piece(kernels, x, pairs + first, count, tile + count);
            kernels->rope_halves(tile, tile, cosines, sines, count);
            write_piece(kernels, x.dtype, out, first, count, tile);
            write_piece(kernels, x.dtype, out, pairs + first, count, tile + count);
        } else {
            read_piece(kernels, x, 2 * first, 2 * count, tile);
            kernels->rope_interleaved(tile, tile, cosines, sines, count);
            write_piece(kernels, x.dtype, out, 2 * first, 2 * count, tile);
        }
    }
    for (int64_t first = rope->rotated; first < rope->dim; first += 2 * PIECE) {
        size_t count = (size_t)(rope->dim - first < 2 * PIECE ? rope->dim - first : 2 * PIECE);
        read_piece(kernels, x, first, count, tile);
        write_piece(kernels, x.dtype, out, first, count, tile);
    }
}

static void run_heads(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_rope *rope = &task->step->as.rope;
    const mia__cpu_kernels *kernels = task->step->kernels;
    int64_t bytes = mia__cpu_bytes(rope->dtype);
    for (size_t t = begin; t < end; t++) {
        const void *table = table_of(task, t);
        for (int64_t h = 0; h < rope->heads && !mia__cpu_stopped(task); h++) {
            const char *x =
                task->inputs[0] + (h * rope->x_stride[1] + (int64_t)t * rope->x_stride[2]) * bytes;
            char *out = task->output + (h * rope->out_stride[1] + (int64_t)t * rope->out_stride[2]) * bytes;
            if (rope->dtype == MIA_f64)
                turn_f64(rope, (const double *)(const void *)x, (double *)(void *)out, table);
            else if (rope->dtype == MIA_f32 && rope->x_stride[0] == 1)
                turn_f32(kernels, rope, (const float *)(const void *)x, (float *)(void *)out, table);
            else
                turn_pieces(kernels, rope, (mia__cpu_line){rope->dtype, x, rope->x_stride[0]}, out, table);
        }
    }
}

static int64_t stride(const mia__view *view, uint32_t mode) {
    return view->extent[mode] > 1 ? view->stride[mode] : 0;
}

size_t mia__cpu_scratch_rope(const mia__cpu *cpu, const mia__step *step) {
    (void)cpu;
    size_t bytes = step->output.dtype == MIA_f64 ? sizeof(double) : sizeof(float);
    return (size_t)step->inputs[0].view.extent[2] * (size_t)step->inputs[2].view.extent[0] * 2 * bytes;
}

bool mia__cpu_choose_rope(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    const mia__view *x = &source->inputs[0].view, *to = &source->output.view;
    if (to->extent[0] > 1 && to->stride[0] != 1) return false;
    if (mia__view_count(to) == 0) return true;
    mia__cpu_rope *rope = &out->as.rope;
    *rope = (mia__cpu_rope){.dim = x->extent[0],
                            .heads = x->extent[1],
                            .positions = x->extent[2],
                            .rotated = 2 * source->inputs[2].view.extent[0],
                            .position_stride = stride(&source->inputs[1].view, 0),
                            .frequency_stride = stride(&source->inputs[2].view, 0),
                            .halves = source->attributes.i[0] == MIA_ROPE_HALVES,
                            .magnitude = source->attributes.f[0],
                            .dtype = source->output.dtype};
    for (uint32_t i = 0; i < 3; i++) {
        rope->x_stride[i] = stride(x, i);
        rope->out_stride[i] = stride(to, i);
    }
    if (rope->dim == 1) rope->x_stride[0] = 1;
    out->work =
        (double)rope->positions * (8.0 * (double)rope->rotated + 0.5 * (double)(rope->heads * rope->dim));
    mia__cpu_phase_add(out, run_angles, (size_t)rope->positions);
    mia__cpu_phase_add(out, run_heads, (size_t)rope->positions);
    return true;
}
