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

/* start + i step for elements [first, first + count), in f64. */
static void arange_reals(mia_dtype dtype, char *out, double start, double step, int64_t first,
                         int64_t count) {
    switch (dtype) {
    case MIA_f32:
        for (int64_t i = 0; i < count; i++)
            ((float *)(void *)out)[i] = (float)(start + (double)(first + i) * step);
        break;
    case MIA_f64:
        for (int64_t i = 0; i < count; i++) ((double *)(void *)out)[i] = start + (double)(first + i) * step;
        break;
    case MIA_f16:
        for (int64_t i = 0; i < count; i++)
            ((uint16_t *)(void *)out)[i] = mia__f64_to_f16(start + (double)(first + i) * step);
        break;
    default:
        for (int64_t i = 0; i < count; i++)
            ((uint16_t *)(void *)out)[i] = mia__f64_to_bf16(start + (double)(first + i) * step);
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
    bool real = mia_dtype_describe(dtype)->kind == MIA_KIND_FLOAT;
    int64_t first = (int64_t)begin * TILE, last = (int64_t)end * TILE;
    if (last > output->view.extent[0]) last = output->view.extent[0];
    char *out = task->output + (size_t)first * bytes;
    if (real) {
        double start = mia__load(dtype, task->inputs[0], 0), step = mia__load(dtype, task->inputs[1], 0);
        arange_reals(dtype, out, start, step, first, last - first);
    } else {
        int64_t start = mia__load_whole(dtype, task->inputs[0], 0),
                step = mia__load_whole(dtype, task->inputs[1], 0);
        arange_wholes(bytes, out, (uint32_t)(uint64_t)start, (uint32_t)(uint64_t)step, first, last - first);
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
