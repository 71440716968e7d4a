/* Running sums along one mode, in double (integers modulo 2^32, of which narrower types keep the low bits), so
 * that each element of the result is rounded once. In two ways:
 *
 *     along lines     a unit is a line, or a piece of one where lines are few and long: then phase 0 sums the
 *                     pieces, and each piece of phase 1 begins with the sums of those before it
 *     across lines    other lines lie side by side: a unit is up to 512 of them
 *
 * From the end is from the beginning with strides turned around. */
#include "backend/cpu/cpu.h"
#include "base/half.h"

#include <string.h>

#define SIDE  512  /* lines side by side */
#define TURN  8    /* elements summed apart from the total, which hides the time that additions take */
#define PIECE 8192 /* elements that make a piece of a line */
#define MANY  32   /* lines, so that they need no cutting */

/* A stretch of a line. */
typedef struct stretch {
    const mia__cpu_task *task;
    const void *x;
    void *out;
    int64_t x_stride, out_stride; /* in elements */
    int64_t count;
    bool exclusive;
} stretch;

/* A sum so far: one of these. */
typedef union total {
    double real;
    uint32_t whole;
} total;

#define LOAD_f16(x)   ((double)mia__f16_to_f32(x))
#define LOAD_bf16(x)  ((double)mia__bf16_to_f32(x))
#define STORE_f16(x)  mia__f64_to_f16(x)
#define STORE_bf16(x) mia__f64_to_bf16(x)
#define LOAD_f32(x)   ((double)(x))
#define STORE_f32(x)  ((float)(x))
#define LOAD_f64(x)   (x)
#define STORE_f64(x)  (x)
#define LOAD_u32(x)   (x)
#define STORE_u32(x)  (x)
#define LOAD_u8(x)    ((uint32_t)(x))
#define STORE_u8(x)   ((uint8_t)((x)&0xffu))

/* TURN elements, or `count` at the end. Steps and `before`, 1 for sums without the element itself, are given as
 * constants where that makes faster code. */
#define SCAN_TURN(name, count, x_step, out_step, before)                                                     \
    for (int64_t j = 0; j < (count); j++) parts[j + 1] = parts[j] + LOAD_##name(x[j * (x_step)]);            \
    for (int64_t j = 0; j < (count); j++) out[j * (out_step)] = STORE_##name(all + parts[j + 1 - (before)]); \
    all += parts[count];

#define SCAN(name, type, wide, member)                                                                       \
    static void scan_##name(const stretch *s, total *sum) {                                                  \
        const type *x = s->x;                                                                                \
        type *out = s->out;                                                                                  \
        wide all = sum->member, parts[TURN + 1];                                                             \
        bool dense = s->x_stride == 1 && s->out_stride == 1;                                                 \
        int64_t left = s->count, before = s->exclusive ? 1 : 0;                                              \
        parts[0] = 0;                                                                                        \
        for (; dense && before == 0 && left >= TURN; left -= TURN, x += TURN, out += TURN) {                 \
            SCAN_TURN(name, TURN, 1, 1, 0)                                                                   \
        }                                                                                                    \
        for (; left >= TURN; left -= TURN, x += TURN * s->x_stride, out += TURN * s->out_stride) {           \
            SCAN_TURN(name, TURN, s->x_stride, s->out_stride, before)                                        \
        }                                                                                                    \
        SCAN_TURN(name, left, s->x_stride, s->out_stride, before)                                            \
        sum->member = all;                                                                                   \
    }                                                                                                        \
    static void sum_##name(const stretch *s, total *sum) {                                                   \
        const type *x = s->x;                                                                                \
        wide lane[TURN] = {0};                                                                               \
        int64_t i = 0, whole = s->count - s->count % TURN;                                                   \
        while (i < whole && !mia__cpu_stopped(s->task))                                                      \
            for (int64_t end = whole - i < MIA__CPU_LOOK ? whole : i + MIA__CPU_LOOK; i < end; i += TURN)    \
                for (int64_t j = 0; j < TURN; j++) lane[j] += LOAD_##name(x[(i + j) * s->x_stride]);         \
        for (i = whole; i < s->count; i++) lane[0] += LOAD_##name(x[i * s->x_stride]);                       \
        for (int64_t j = 1; j < TURN; j++) lane[0] += lane[j];                                               \
        sum->member = lane[0];                                                                               \
    }                                                                                                        \
    static void scan_beside_##name(const stretch *s, int64_t side) {                                         \
        wide sums[SIDE] = {0};                                                                               \
        int64_t before = s->exclusive ? side : 0;                                                            \
        for (int64_t i = 0; i < s->count; i++) {                                                             \
            const type *restrict x = (const type *)s->x + i * s->x_stride;                                   \
            type *restrict out = (type *)s->out + i * s->out_stride;                                         \
            if (i % TURN == 0 && mia__cpu_stopped(s->task)) return;                                          \
            for (int64_t c = 0; c < before; c++) out[c] = STORE_##name(sums[c]);                             \
            for (int64_t c = 0; c < side; c++) sums[c] += LOAD_##name(x[c]);                                 \
            for (int64_t c = 0; c < side - before; c++) out[c] = STORE_##name(sums[c]);                      \
        }                                                                                                    \
    }

SCAN(f32, float, double, real)
SCAN(f16, uint16_t, double, real)
SCAN(bf16, uint16_t, double, real)
SCAN(f64, double, double, real)
SCAN(u32, uint32_t, uint32_t, whole)
SCAN(u8, uint8_t, uint32_t, whole)

/* By type; signed integers wrap as unsigned ones do. */
typedef struct scanner {
    void (*scan)(const stretch *s, total *sum);
    void (*sum)(const stretch *s, total *sum);
    void (*scan_beside)(const stretch *s, int64_t side);
} scanner;

static scanner scanner_of(mia_dtype dtype) {
    switch (dtype) {
    case MIA_f32: return (scanner){scan_f32, sum_f32, scan_beside_f32};
    case MIA_f16: return (scanner){scan_f16, sum_f16, scan_beside_f16};
    case MIA_bf16: return (scanner){scan_bf16, sum_bf16, scan_beside_bf16};
    case MIA_f64: return (scanner){scan_f64, sum_f64, scan_beside_f64};
    case MIA_i8:
    case MIA_u8: return (scanner){scan_u8, sum_u8, scan_beside_u8};
    default: return (scanner){scan_u32, sum_u32, scan_beside_u32};
    }
}

/* Elements begin .. end of the line (or lines) at these offsets, counted in the order in which they are added. */
static stretch stretch_at(const mia__cpu_task *task, int64_t out, int64_t in, int64_t begin, int64_t end) {
    const mia__cpu_lines *lines = &task->step->as.lines;
    int64_t bytes = mia_dtype_describe(task->step->source->output.dtype)->bytes;
    int64_t first = lines->flipped ? lines->length - 1 - begin : begin, way = lines->flipped ? -1 : 1;
    return (stretch){.task = task,
                     .x = task->inputs[0] + (in + first * lines->in_stride) * bytes,
                     .out = task->output + (out + first * lines->out_stride) * bytes,
                     .x_stride = way * lines->in_stride,
                     .out_stride = way * lines->out_stride,
                     .count = end - begin,
                     .exclusive = lines->exclusive};
}

static stretch piece_at(const mia__cpu_task *task, size_t unit) {
    const mia__cpu_lines *lines = &task->step->as.lines;
    int64_t at[2], piece = (int64_t)unit % lines->pieces;
    mia__cpu_loop_offsets(&lines->outer, 0, unit / (size_t)lines->pieces, 2, at);
    return stretch_at(task, at[0], at[1], lines->length * piece / lines->pieces,
                      lines->length * (piece + 1) / lines->pieces);
}

static void run_sums(const mia__cpu_task *task, size_t begin, size_t end) {
    scanner by = scanner_of(task->step->source->output.dtype);
    for (size_t unit = begin; unit < end; unit++) {
        stretch s = piece_at(task, unit);
        by.sum(&s, (total *)task->args.scratch + unit);
    }
}

/* What the pieces before this one of its line come to. */
static total sum_before(const mia__cpu_task *task, size_t unit) {
    mia_dtype dtype = task->step->source->output.dtype;
    bool real = mia__cpu_is_float(dtype) || dtype == MIA_f64;
    size_t pieces = (size_t)task->step->as.lines.pieces;
    total sum = real ? (total){.real = 0} : (total){.whole = 0};
    for (size_t other = unit / pieces * pieces; other < unit; other++) {
        const total *one = (const total *)task->args.scratch + other;
        if (real)
            sum.real += one->real;
        else
            sum.whole += one->whole;
    }
    return sum;
}

/* In stretches of whole turns, which leaves the sums as they are. */
static void scan_piece(scanner by, stretch s, total *sum) {
    int64_t bytes = mia_dtype_describe(s.task->step->source->output.dtype)->bytes;
    for (int64_t left = s.count; left > 0 && !mia__cpu_stopped(s.task); left -= s.count) {
        s.count = left < MIA__CPU_LOOK ? left : MIA__CPU_LOOK;
        by.scan(&s, sum);
        s.x = (const char *)s.x + s.count * s.x_stride * bytes;
        s.out = (char *)s.out + s.count * s.out_stride * bytes;
    }
}

static void run_lines(const mia__cpu_task *task, size_t begin, size_t end) {
    scanner by = scanner_of(task->step->source->output.dtype);
    for (size_t unit = begin; unit < end; unit++) {
        stretch s = piece_at(task, unit);
        total sum = sum_before(task, unit);
        scan_piece(by, s, &sum);
    }
}

static void run_beside(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_lines *lines = &task->step->as.lines;
    scanner by = scanner_of(task->step->source->output.dtype);
    for (size_t unit = begin; unit < end; unit++) {
        int64_t at[2], first = (int64_t)(unit % lines->outer.pieces) * SIDE;
        int64_t left = lines->outer.extent[0] - first;
        mia__cpu_loop_offsets(&lines->outer, 1, unit / lines->outer.pieces, 2, at);
        stretch s = stretch_at(task, at[0] + first, at[1] + first, 0, lines->length);
        by.scan_beside(&s, left < SIDE ? left : SIDE);
    }
}

/* How a step is cut; a pure function of its shape. */
static mia__cpu_lines geometry(const mia__step *step) {
    mia__cpu_lines lines = mia__cpu_lines_make(step, (uint32_t)step->attributes.i[0]);
    lines.exclusive = step->attributes.i[1] != 0;
    lines.flipped = step->attributes.i[2] != 0;
    if (lines.count == 0 || lines.count >= MANY || lines.length < 2 * PIECE) return lines;
    int64_t most = 2 * MANY / lines.count, long_enough = lines.length / PIECE;
    lines.pieces = long_enough < most ? long_enough : most;
    return lines;
}

static bool are_beside(const mia__cpu_lines *lines) {
    return lines->outer.extent[0] >= TURN && lines->outer.stride[0][0] == 1 && lines->outer.stride[1][0] == 1;
}

size_t mia__cpu_scratch_cumsum(const mia__cpu *cpu, const mia__step *step) {
    (void)cpu;
    mia__cpu_lines lines = geometry(step);
    if (lines.pieces == 1 || are_beside(&lines)) return 0;
    return (size_t)(lines.count * lines.pieces) * sizeof(total);
}

bool mia__cpu_choose_cumsum(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    mia__cpu_lines *lines = &out->as.lines;
    *lines = geometry(out->source);
    out->work = (double)lines->count * (20.0 + (double)lines->length);
    if (are_beside(lines)) {
        lines->outer.pieces = ((size_t)lines->outer.extent[0] + SIDE - 1) / SIDE;
        mia__cpu_phase_add(out, run_beside, lines->outer.rows * lines->outer.pieces);
        return true;
    }
    size_t units = (size_t)(lines->count * lines->pieces);
    if (lines->pieces > 1) mia__cpu_phase_add(out, run_sums, units);
    mia__cpu_phase_add(out, run_lines, units);
    return true;
}
