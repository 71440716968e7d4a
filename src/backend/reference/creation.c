/* Numbers out of a few: arange, and random numbers (base/philox.h). */
#include "base/philox.h"

#include "backend/reference/element.h"

#include <math.h>

void mia__reference_arange(const mia__kernel_args *args) {
    const mia__operand *out = &args->step->output, *in = args->step->inputs;
    mia_dtype dtype = out->dtype;
    for (int64_t i = 0; i < args->step->attributes.i[0]; i++) {
        int64_t at = out->view.offset + i * out->view.stride[0];
        if (mia__is_float(dtype)) {
            double start = mia__load(dtype, args->inputs[0], in[0].view.offset);
            double step = mia__load(dtype, args->inputs[1], in[1].view.offset);
            mia__store(dtype, args->output, at, start + (double)i * step);
        } else {
            uint64_t start = (uint64_t)mia__load_whole(dtype, args->inputs[0], in[0].view.offset);
            uint64_t step = (uint64_t)mia__load_whole(dtype, args->inputs[1], in[1].view.offset);
            mia__store_whole(dtype, args->output, at, (int64_t)(start + (uint64_t)i * step));
        }
    }
}

/* Bits of a word that become a number in [0, 1) of the type. */
static unsigned uniform_bits(mia_dtype dtype) {
    return dtype == MIA_f16 ? 11 : dtype == MIA_bf16 ? 8 : 24;
}

/* Element i: the numbers that it is made of come from words 2 (i / 2), and the one behind; of an f64, from its own
 * block's two halves. */
static double uniform(mia_dtype dtype, int64_t i, const uint32_t *words) {
    if (dtype == MIA_f64) return mia__uniform_of_words(words[i % 2 * 2], words[i % 2 * 2 + 1]);
    return mia__uniform_of_word(words[i % 4], uniform_bits(dtype));
}

/* Box and Muller: a radius and an angle make two numbers. The radius is of 1 - u, which is never 0. */
static double normal(mia_dtype dtype, int64_t i, const uint32_t *words) {
    const double turn = 6.283185307179586477;
    double u, v;
    if (dtype == MIA_f64) {
        u = mia__uniform_of_words(words[0], words[1]);
        v = mia__uniform_of_words(words[2], words[3]);
    } else {
        u = mia__uniform_of_word(words[i % 4 / 2 * 2], 24);
        v = mia__uniform_of_word(words[i % 4 / 2 * 2 + 1], 32);
    }
    double radius = sqrt(-2 * log(1 - u));
    return i % 2 == 0 ? radius * cos(turn * v) : radius * sin(turn * v);
}

void mia__reference_random(const mia__kernel_args *args) {
    const mia__operand *out = &args->step->output, *seed = &args->step->inputs[0];
    const uint32_t *words_of_seed = args->inputs[0];
    const uint32_t key[2] = {words_of_seed[seed->view.offset],
                             words_of_seed[seed->view.offset + seed->view.stride[0]]};
    int64_t each = out->dtype == MIA_f64 ? 2 : 4; /* numbers of a block */
    uint32_t words[MIA__PHILOX_WORDS] = {0};
    for (int64_t i = 0; i < out->view.extent[0]; i++) {
        if (i % each == 0) mia__philox_block((uint64_t)(i / each), key, words);
        double number = args->step->op == MIA_OP_random_uniform ? uniform(out->dtype, i, words)
                                                                : normal(out->dtype, i, words);
        mia__store(out->dtype, args->output, out->view.offset + i * out->view.stride[0], number);
    }
}
