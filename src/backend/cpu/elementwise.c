/* Element-wise operations and conversions of f32, f16 and bf16, over any strides. A unit is a piece of one
 * row of the innermost mode, small enough for the first cache: operands that are not contiguous f32 are
 * brought into such a tile first, and what is not f32 is narrowed from one. Other types stay with the
 * reference. */
#include "backend/cpu/cpu.h"

#include "base/half.h"

#define TILE 1024 /* elements */

/* --- rows in and out of f32 ------------------------------------------------------------------- */

static float load_one(mia_dtype dtype, const char *from) {
    if (dtype == MIA_f32) return *(const float *)(const void *)from;
    uint16_t bits = *(const uint16_t *)(const void *)from;
    return dtype == MIA_f16 ? mia__f16_to_f32(bits) : mia__bf16_to_f32(bits);
}

static size_t float_bytes(mia_dtype dtype) {
    return dtype == MIA_f32 ? 4 : 2;
}

/* `count` elements as contiguous f32: where they are, or in the tile. */
static const float *load_row(const mia__cpu_kernels *kernels, mia_dtype dtype, const char *from,
                             int64_t stride, size_t count, float *tile) {
    if (stride == 1 && dtype == MIA_f32) return (const float *)(const void *)from;
    if (stride == 1) {
        const uint16_t *halves = (const uint16_t *)(const void *)from;
        (dtype == MIA_f16 ? kernels->widen_f16 : kernels->widen_bf16)(tile, halves, count);
    } else if (stride == 0) {
        float x = load_one(dtype, from);
        for (size_t i = 0; i < count; i++) tile[i] = x;
    } else {
        int64_t step = stride * (int64_t)float_bytes(dtype);
        for (size_t i = 0; i < count; i++) tile[i] = load_one(dtype, from + (int64_t)i * step);
    }
    return tile;
}

static void store_row(const mia__cpu_kernels *kernels, mia_dtype dtype, char *to, const float *from,
                      size_t count) {
    uint16_t *halves = (uint16_t *)(void *)to;
    if (dtype == MIA_f16) kernels->narrow_f16(halves, from, count);
    if (dtype == MIA_bf16) kernels->narrow_bf16(halves, from, count);
}

/* --- phases ----------------------------------------------------------------------------------- */

/* Where the operands of one unit are: its elements from `first` on of a row. */
typedef struct piece {
    size_t count;
    char *out;
    const char *in[2];
} piece;

static piece find_piece(const mia__cpu_task *task, size_t unit, uint32_t inputs) {
    const mia__cpu_step *step = task->step;
    const mia__cpu_loop *loop = &step->as.loop;
    int64_t offsets[MIA__CPU_LOOP_OPERANDS];
    mia__cpu_loop_offsets(loop, 1, unit / loop->pieces, inputs + 1, offsets);
    int64_t first = (int64_t)(unit % loop->pieces) * TILE, left = loop->extent[0] - first;
    piece p = {.count = (size_t)(left < TILE ? left : TILE)};
    p.out = task->output +
            (offsets[0] + first * loop->stride[0][0]) * (int64_t)float_bytes(step->source->output.dtype);
    for (uint32_t i = 0; i < inputs; i++)
        p.in[i] = task->inputs[i] + (offsets[i + 1] + first * loop->stride[i + 1][0]) *
                                        (int64_t)float_bytes(step->source->inputs[i].dtype);
    return p;
}

static void run_unary(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    const mia__cpu_kernels *kernels = task->step->kernels;
    float a[TILE], result[TILE];
    for (size_t unit = begin; unit < end; unit++) {
        piece p = find_piece(task, unit, 1);
        float *out = source->output.dtype == MIA_f32 ? (float *)(void *)p.out : result;
        const float *x =
            load_row(kernels, source->inputs[0].dtype, p.in[0], task->step->as.loop.stride[1][0], p.count, a);
        kernels->unary[mia__cpu_unary(source->op)](out, x, p.count);
        store_row(kernels, source->output.dtype, p.out, out, p.count);
    }
}

static void run_binary(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    const mia__cpu_kernels *kernels = task->step->kernels;
    const mia__cpu_loop *loop = &task->step->as.loop;
    float a[TILE], b[TILE], result[TILE];
    for (size_t unit = begin; unit < end; unit++) {
        piece p = find_piece(task, unit, 2);
        float *out = source->output.dtype == MIA_f32 ? (float *)(void *)p.out : result;
        const float *x = load_row(kernels, source->inputs[0].dtype, p.in[0], loop->stride[1][0], p.count, a);
        const float *y = load_row(kernels, source->inputs[1].dtype, p.in[1], loop->stride[2][0], p.count, b);
        kernels->binary[mia__cpu_binary(source->op)](out, x, y, p.count);
        store_row(kernels, source->output.dtype, p.out, out, p.count);
    }
}

static void run_convert(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    const mia__cpu_kernels *kernels = task->step->kernels;
    int64_t stride = task->step->as.loop.stride[1][0];
    float tile[TILE];
    for (size_t unit = begin; unit < end; unit++) {
        piece p = find_piece(task, unit, 1);
        float *out = source->output.dtype == MIA_f32 ? (float *)(void *)p.out : tile;
        const float *x = load_row(kernels, source->inputs[0].dtype, p.in[0], stride, p.count, out);
        store_row(kernels, source->output.dtype, p.out, x, p.count);
    }
}

/* --- choosing --------------------------------------------------------------------------------- */

/* Units of TILE elements; the output must be contiguous along the innermost mode. */
static bool cut(mia__cpu_step *out, double nanoseconds) {
    const mia__step *source = out->source;
    const mia__view *operands[MIA__CPU_LOOP_OPERANDS] = {&source->output.view};
    if (!mia__cpu_is_float(source->output.dtype)) return false;
    for (uint32_t i = 0; i < source->input_count; i++) {
        if (!mia__cpu_is_float(source->inputs[i].dtype)) return false;
        operands[i + 1] = &source->inputs[i].view;
    }
    mia__cpu_loop *loop = &out->as.loop;
    mia__cpu_loop_make(loop, &source->output.view, 0, operands, source->input_count + 1);
    if (loop->extent[0] > 1 && loop->stride[0][0] != 1) return false;
    loop->pieces = ((size_t)loop->extent[0] + TILE - 1) / TILE;
    out->work = nanoseconds * (double)mia__view_count(&source->output.view) + 20.0 * (double)loop->rows;
    return true;
}

bool mia__cpu_choose_elementwise(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    mia_op op = out->source->op;
    bool unary = out->source->input_count == 1;
    if (op > (unary ? MIA_OP_gelu_tanh : MIA_OP_max)) return false;
    double nanoseconds = !unary || out->source->op <= MIA_OP_reciprocal ? 0.3 : 1.5;
    if (!cut(out, nanoseconds)) return false;
    mia__cpu_phase_add(out, unary ? run_unary : run_binary, out->as.loop.rows * out->as.loop.pieces);
    return true;
}

bool mia__cpu_choose_convert(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    if (out->source->inputs[0].dtype == out->source->output.dtype)
        return mia__cpu_choose_copy(cpu, plan, out);
    if (!cut(out, 0.3)) return false;
    mia__cpu_phase_add(out, run_convert, out->as.loop.rows * out->as.loop.pieces);
    return true;
}
