/* Block formats (base/block.h): one pair of functions each, and their table. Plain code that defines what the
 * bytes mean; fast kernels read the blocks themselves. */
#include "base/block.h"

#include "base/half.h"

#include <math.h>

_Static_assert(sizeof(mia__block_q8_0) == 34, "a q8_0 block is packed");
_Static_assert(sizeof(mia__block_q4_0) == 18, "a q4_0 block is packed");

static void store_scale(uint8_t scale[2], float value) {
    uint16_t half = mia__f32_to_f16(value);
    scale[0] = (uint8_t)(half & 0xffu);
    scale[1] = (uint8_t)(half >> 8);
}

/* Into [low, high]; NaN, which only blocks of numbers that are not finite or are next to zero meet,
 * gives 0. */
static int clamp(float x, int low, int high) {
    if (!(x == x)) return 0;
    if (x <= (float)low) return low;
    if (x >= (float)high) return high;
    return (int)x;
}

/* The element of largest magnitude, the first of equals; 0 if all are 0 or NaN. */
static float extreme(const float *in, int count) {
    float magnitude = 0, result = 0;
    for (int i = 0; i < count; i++) {
        if (fabsf(in[i]) > magnitude) {
            magnitude = fabsf(in[i]);
            result = in[i];
        }
    }
    return result;
}

/* --- q8_0 ------------------------------------------------------------------------------------- */

static void decode_q8_0(const void *block, double *out) {
    const mia__block_q8_0 *b = block;
    double scale = mia__f16_to_f64(mia__block_scale(b->scale));
    for (int i = 0; i < MIA__Q8_0_ELEMENTS; i++) out[i] = scale * b->quants[i];
}

/* The quants are made with the scale in f32, before it is rounded to the f16 that is stored. */
static void encode_q8_0(const float *in, void *block) {
    mia__block_q8_0 *b = block;
    float scale = fabsf(extreme(in, MIA__Q8_0_ELEMENTS)) / 127.0f;
    float inverse = scale != 0 ? 1.0f / scale : 0;
    store_scale(b->scale, scale);
    for (int i = 0; i < MIA__Q8_0_ELEMENTS; i++)
        b->quants[i] = (int8_t)clamp(roundf(in[i] * inverse), -127, 127);
}

/* --- q4_0 ------------------------------------------------------------------------------------- */

static void decode_q4_0(const void *block, double *out) {
    const mia__block_q4_0 *b = block;
    const int half = MIA__Q4_0_ELEMENTS / 2;
    double scale = mia__f16_to_f64(mia__block_scale(b->scale));
    for (int i = 0; i < half; i++) {
        out[i] = scale * ((int)(b->quants[i] & 15u) - 8);
        out[i + half] = scale * ((int)(b->quants[i] >> 4) - 8);
    }
}

/* The element of largest magnitude becomes -8 whatever its sign, which takes a negative scale where it is
 * positive. */
static void encode_q4_0(const float *in, void *block) {
    mia__block_q4_0 *b = block;
    const int half = MIA__Q4_0_ELEMENTS / 2;
    float scale = extreme(in, MIA__Q4_0_ELEMENTS) / -8.0f;
    float inverse = scale != 0 ? 1.0f / scale : 0;
    store_scale(b->scale, scale);
    for (int i = 0; i < half; i++) {
        int low = clamp(in[i] * inverse + 8.5f, 0, 15);
        int high = clamp(in[i + half] * inverse + 8.5f, 0, 15);
        b->quants[i] = (uint8_t)(low | high << 4);
    }
}

/* --- the table -------------------------------------------------------------------------------- */

static const mia__block_format formats[] = {
    {MIA_q8_0, MIA__Q8_0_ELEMENTS, sizeof(mia__block_q8_0), decode_q8_0, encode_q8_0},
    {MIA_q4_0, MIA__Q4_0_ELEMENTS, sizeof(mia__block_q4_0), decode_q4_0, encode_q4_0},
};

const mia__block_format *mia__block_find(mia_dtype dtype) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].dtype == dtype) return &formats[i];
    return NULL;
}

void mia__block_decode_f64(const mia__block_format *format, const void *row, double *out, int64_t elements) {
    const uint8_t *block = row;
    for (int64_t i = 0; i < elements; i += format->elements, block += format->bytes)
        format->decode(block, out + i);
}

void mia__block_decode_f32(const mia__block_format *format, const void *row, float *out, int64_t elements) {
    const uint8_t *block = row;
    double numbers[MIA__BLOCK_MOST];
    for (int64_t i = 0; i < elements; i += format->elements, block += format->bytes) {
        format->decode(block, numbers);
        for (uint32_t j = 0; j < format->elements; j++) out[i + j] = (float)numbers[j];
    }
}

void mia__block_encode(const mia__block_format *format, const float *in, void *row, int64_t elements) {
    uint8_t *block = row;
    for (int64_t i = 0; i < elements; i += format->elements, block += format->bytes)
        format->encode(in + i, block);
}
