/* Numbers out of a few: arange, and random numbers (base/philox.h says what they are made of). A unit is some
 * elements of the row; each is found from its place alone. */
#include "backend/cpu/cpu.h"
#include "backend/reference/element.h"

#include "base/half.h"
#include "base/philox.h"

#include <math.h>
#include <string.h>

#define TILE 1024 /* elements: a unit */

/* --- arange ----------------------------------------------------------------------------------- */

/* start + i step for elements [first, first + count), in f64. Places are whole numbers that it holds, so that it makes
 * no difference in which order they are added; those of a tile fit 32 bits, of which vectors can be made. */
static void arange_reals(mia_dtype dtype, char *out, double start, double step, int64_t first,
                         int64_t count) {
    double numbers[TILE], from = (double)first;
    for (int32_t i = 0; i < (int32_t)count; i++) numbers[i] = start + (from + (double)i) * step;
    switch (dtype) {
    case MIA_f32:
        for (int64_t i = 0; i < count; i++) ((float *)(void *)out)[i] = (float)numbers[i];
        break;
    case MIA_f64: memcpy(out, numbers, (size_t)count * sizeof *numbers); break;
    case MIA_f16:
        for (int64_t i = 0; i < count; i++) ((uint16_t *)(void *)out)[i] = mia__f64_to_f16(numbers[i]);
        break;
    default:
        for (int64_t i = 0; i < count; i++) ((uint16_t *)(void *)out)[i] = mia__f64_to_bf16(numbers[i]);
        break;
    }
}

/* Of integers the low bits are all that counts: 32 of them are as good as 64. */
static void arange_wholes(size_t bytes, char *out, uint32_t start, uint32_t step, int64_t first,
                          int64_t count) {
    uint32_t from = start + (uint32_t)(uint64_t)first * step;
    if (bytes == 4)
        for (int64_t i = 0; i < count; i++)
            ((uint32_t *)(void *)out)[i] = from + (uint32_t)(uint64_t)i * step;
    else
        for (int64_t i = 0; i < count; i++)
            ((uint8_t *)out)[i] = (uint8_t)((from + (uint32_t)(uint64_t)i * step) & 0xff);
}

static void run_arange(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__operand *output = &task->step->source->output;
    mia_dtype dtype = output->dtype;
    size_t bytes = mia_dtype_describe(dtype)->bytes;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t first = (int64_t)unit * TILE, left = output->view.extent[0] - first;
        int64_t count = left < TILE ? left : TILE;
        char *out = task->output + (size_t)first * bytes;
        const char *start = task->inputs[0], *step = task->inputs[1];
        if (mia__is_float(dtype))
            arange_reals(dtype, out, mia__load(dtype, start, 0), mia__load(dtype, step, 0), first, count);
        else
            arange_wholes(bytes, out, (uint32_t)(uint64_t)mia__load_whole(dtype, start, 0),
                          (uint32_t)(uint64_t)mia__load_whole(dtype, step, 0), first, count);
    }
}

/* --- random numbers --------------------------------------------------------------------------- */

/* `count` elements of words; a tile of words is behind them whatever the count. */
static void store_uniform(mia_dtype dtype, const mia__cpu_kernels *kernels, char *out, const uint32_t *words,
                          size_t count) {
    float numbers[TILE];
    if (dtype == MIA_f64) {
        for (size_t i = 0; i < count; i++)
            ((double *)(void *)out)[i] = mia__uniform_of_words(words[2 * i], words[2 * i + 1]);
        return;
    }
    unsigned bits = dtype == MIA_f16 ? 11 : dtype == MIA_bf16 ? 8 : 24;
    float unit = 1.0f / (float)(1u << bits);
    float *to = dtype == MIA_f32 ? (float *)(void *)out : numbers;
    for (size_t i = 0; i < count; i++) to[i] = (float)(int32_t)(words[i] >> (32 - bits)) * unit;
    if (dtype == MIA_f16) kernels->narrow_f16((uint16_t *)(void *)out, numbers, count);
    if (dtype == MIA_bf16) kernels->narrow_bf16((uint16_t *)(void *)out, numbers, count);
}

static void store_normal_f64(double *out, const uint32_t *words, size_t count) {
    const double turn = 6.283185307179586477;
    for (size_t i = 0; i < count; i += 2) {
        double u = mia__uniform_of_words(words[2 * i], words[2 * i + 1]);
        double v = mia__uniform_of_words(words[2 * i + 2], words[2 * i + 3]), radius = sqrt(-2 * log(1 - u));
        out[i] = radius * cos(turn * v);
        if (i + 1 < count) out[i + 1] = radius * sin(turn * v);
    }
}

static void store_normal(mia_dtype dtype, const mia__cpu_kernels *kernels, char *out, const uint32_t *words,
                         size_t count) {
    float numbers[TILE];
    if (dtype == MIA_f64) {
        store_normal_f64((double *)(void *)out, words, count);
        return;
    }
    bool whole = dtype == MIA_f32 && count == TILE;
    kernels->normal_numbers(whole ? (float *)(void *)out : numbers, words, TILE);
    if (dtype == MIA_f32 && !whole) memcpy(out, numbers, count * sizeof(float));
    if (dtype == MIA_f16) kernels->narrow_f16((uint16_t *)(void *)out, numbers, count);
    if (dtype == MIA_bf16) kernels->narrow_bf16((uint16_t *)(void *)out, numbers, count);
}

static void run_random(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    const mia__cpu_kernels *kernels = task->step->kernels;
    mia_dtype dtype = source->output.dtype;
    const uint32_t *seed = (const uint32_t *)(const void *)task->inputs[0];
    const uint32_t key[2] = {seed[0], seed[source->inputs[0].view.stride[0]]};
    size_t bytes = mia_dtype_describe(dtype)->bytes, each = dtype == MIA_f64 ? 2 : 4; /* numbers of a block */
    uint32_t words[2 * TILE];
    for (size_t unit = begin; unit < end; unit++) {
        size_t first = unit * TILE, left = (size_t)source->output.view.extent[0] - first;
        size_t count = left < TILE ? left : TILE;
        kernels->random_words(first / each, key, TILE / each, words);
        char *out = task->output + first * bytes;
        if (source->op == MIA_OP_random_uniform)
            store_uniform(dtype, kernels, out, words, count);
        else
            store_normal(dtype, kernels, out, words, count);
    }
}

bool mia__cpu_choose_creation(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    size_t count = (size_t)out->source->output.view.extent[0];
    bool arange = out->source->op == MIA_OP_arange, normal = out->source->op == MIA_OP_random_normal;
    bool wide = out->source->output.dtype == MIA_f64;
    out->work = (arange ? 0.5 : normal && wide ? 40.0 : 2.0) * (double)count;
    mia__cpu_phase_add(out, arange ? run_arange : run_random, (count + TILE - 1) / TILE);
    return true;
}
