/* Block formats (base/block.h): the table, rows, and the formats of 32 elements; those of 256 are in
 * block_k.c. Plain code that defines what the bytes mean. The rounding of the encoders here is that of ggml's
 * reference, so that files agree byte for byte. */
#include "base/block.h"

#include "base/half.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define ELEMENTS 32
#define HALF     (ELEMENTS / 2)

typedef struct block_q8_0 {
    uint8_t scale[2]; /* an f16, little-endian */
    int8_t quants[ELEMENTS];
} block_q8_0;

typedef struct block_q4_0 {
    uint8_t scale[2];
    uint8_t quants[HALF];
} block_q4_0;

typedef struct block_q4_1 {
    uint8_t scale[2], least[2];
    uint8_t quants[HALF];
} block_q4_1;

typedef struct block_q5_0 {
    uint8_t scale[2];
    uint8_t high[4];
    uint8_t quants[HALF];
} block_q5_0;

typedef struct block_q5_1 {
    uint8_t scale[2], least[2];
    uint8_t high[4];
    uint8_t quants[HALF];
} block_q5_1;

static uint16_t load_half(const uint8_t half[2]) {
    return (uint16_t)(half[0] | (unsigned)half[1] << 8);
}

static void store_half(uint8_t half[2], float value) {
    uint16_t bits = mia__f32_to_f16(value);
    half[0] = (uint8_t)(bits & 0xffu);
    half[1] = (uint8_t)(bits >> 8);
}

/* --- pieces ----------------------------------------------------------------------------------- */

/* Into [low, high]; NaN, which only blocks of numbers that are not finite or are next to zero meet,
 * gives 0. */
static int clamp(float x, int low, int high) {
    if (!(x == x)) return 0;
    if (x <= (float)low) return low;
    if (x >= (float)high) return high;
    return (int)x;
}

/* The element of largest magnitude, the first of equals; 0 if all are 0 or NaN. */
static float extreme(const float *in) {
    float magnitude = 0, result = 0;
    for (int i = 0; i < ELEMENTS; i++) {
        if (fabsf(in[i]) > magnitude) {
            magnitude = fabsf(in[i]);
            result = in[i];
        }
    }
    return result;
}

/* The range of the elements in `levels` steps: the size of one, and where the first begins. */
static float step_of_range(const float *in, int levels, float *least) {
    float low = FLT_MAX, high = -FLT_MAX;
    for (int i = 0; i < ELEMENTS; i++) {
        if (in[i] < low) low = in[i];
        if (in[i] > high) high = in[i];
    }
    *least = low;
    return (high - low) / (float)levels;
}

static float inverse_of(float scale) {
    return scale != 0 ? 1.0f / scale : 0;
}

/* The four lower bits of each quant. */
static void load_low(const uint8_t halves[HALF], uint8_t *quants) {
    for (int i = 0; i < HALF; i++) {
        quants[i] = halves[i] & 15u;
        quants[i + HALF] = halves[i] >> 4;
    }
}

static void load_high(const uint8_t bits[4], uint8_t *quants) {
    for (int k = 0; k < 4; k++, quants += 8)
        for (unsigned j = 0; j < 8; j++) quants[j] = (uint8_t)(quants[j] + ((bits[k] & 1u << j) != 0) * 16);
}

static void store_low(const uint8_t *quants, uint8_t halves[HALF]) {
    for (int i = 0; i < HALF; i++) halves[i] = (uint8_t)((quants[i] & 15u) | (quants[i + HALF] & 15u) << 4);
}

static void store_high(const uint8_t *quants, uint8_t bits[4]) {
    memset(bits, 0, 4);
    for (int i = 0; i < ELEMENTS; i++)
        bits[i / 8] = (uint8_t)(bits[i / 8] | (unsigned)(quants[i] >> 4) << i % 8);
}

/* Quants around 0: the element of largest magnitude becomes the lowest whatever its sign, which takes a
 * negative scale where it is positive. Returns the scale, in f32: quants are made with it before it is
 * rounded to the f16 that is stored. */
static float quantise_signed(const float *in, int half_range, uint8_t *quants) {
    float scale = extreme(in) / (float)-half_range, inverse = inverse_of(scale);
    for (int i = 0; i < ELEMENTS; i++)
        quants[i] = (uint8_t)clamp(in[i] * inverse + ((float)half_range + 0.5f), 0, 2 * half_range - 1);
    return scale;
}

static float quantise_range(const float *in, int levels, float *least, uint8_t *quants) {
    float scale = step_of_range(in, levels, least), inverse = inverse_of(scale);
    for (int i = 0; i < ELEMENTS; i++)
        quants[i] = (uint8_t)clamp((in[i] - *least) * inverse + 0.5f, 0, levels);
    return scale;
}

/* What is added in memory is taken off in parts. */
static uint16_t negative(const uint8_t half[2]) {
    return (uint16_t)(load_half(half) ^ 0x8000u);
}

/* --- q8_0 ------------------------------------------------------------------------------------- */

static void split_q8_0(const void *block, mia__block_parts *parts) {
    const block_q8_0 *b = block;
    parts->scale = load_half(b->scale);
    for (int i = 0; i < ELEMENTS; i++) parts->quants[i] = (uint8_t)((unsigned)(uint8_t)b->quants[i] ^ 0x80u);
}

static void encode_q8_0(const float *in, void *block) {
    block_q8_0 *b = block;
    float scale = fabsf(extreme(in)) / 127.0f, inverse = inverse_of(scale);
    store_half(b->scale, scale);
    for (int i = 0; i < ELEMENTS; i++) b->quants[i] = (int8_t)clamp(roundf(in[i] * inverse), -127, 127);
}

/* --- q4_0 ------------------------------------------------------------------------------------- */

static void split_q4_0(const void *block, mia__block_parts *parts) {
    const block_q4_0 *b = block;
    parts->scale = load_half(b->scale);
    load_low(b->quants, parts->quants);
}

static void encode_q4_0(const float *in, void *block) {
    block_q4_0 *b = block;
    uint8_t quants[ELEMENTS];
    store_half(b->scale, quantise_signed(in, 8, quants));
    store_low(quants, b->quants);
}

/* --- q4_1 ------------------------------------------------------------------------------------- */

static void split_q4_1(const void *block, mia__block_parts *parts) {
    const block_q4_1 *b = block;
    parts->scale = load_half(b->scale);
    parts->least = negative(b->least);
    load_low(b->quants, parts->quants);
}

static void encode_q4_1(const float *in, void *block) {
    block_q4_1 *b = block;
    uint8_t quants[ELEMENTS];
    float least;
    store_half(b->scale, quantise_range(in, 15, &least, quants));
    store_half(b->least, least);
    store_low(quants, b->quants);
}

/* --- q5_0 ------------------------------------------------------------------------------------- */

static void split_q5_0(const void *block, mia__block_parts *parts) {
    const block_q5_0 *b = block;
    parts->scale = load_half(b->scale);
    load_low(b->quants, parts->quants);
    load_high(b->high, parts->quants);
}

static void encode_q5_0(const float *in, void *block) {
    block_q5_0 *b = block;
    uint8_t quants[ELEMENTS];
    store_half(b->scale, quantise_signed(in, 16, quants));
    store_low(quants, b->quants);
    store_high(quants, b->high);
}

/* --- q5_1 ------------------------------------------------------------------------------------- */

static void split_q5_1(const void *block, mia__block_parts *parts) {
    const block_q5_1 *b = block;
    parts->scale = load_half(b->scale);
    parts->least = negative(b->least);
    load_low(b->quants, parts->quants);
    load_high(b->high, parts->quants);
}

static void encode_q5_1(const float *in, void *block) {
    block_q5_1 *b = block;
    uint8_t quants[ELEMENTS];
    float least;
    store_half(b->scale, quantise_range(in, 31, &least, quants));
    store_half(b->least, least);
    store_low(quants, b->quants);
    store_high(quants, b->high);
}

/* --- the table -------------------------------------------------------------------------------- */

_Static_assert(sizeof(block_q8_0) == 34, "a q8_0 block is packed");
_Static_assert(sizeof(block_q4_0) == 18, "a q4_0 block is packed");
_Static_assert(sizeof(block_q4_1) == 20, "a q4_1 block is packed");
_Static_assert(sizeof(block_q5_0) == 22, "a q5_0 block is packed");
_Static_assert(sizeof(block_q5_1) == 24, "a q5_1 block is packed");

static const mia__block_format formats[] = {
    {MIA_q8_0, 32, 34, 32, 8, 128, false, split_q8_0, encode_q8_0},
    {MIA_q4_0, 32, 18, 32, 4, 8, false, split_q4_0, encode_q4_0},
    {MIA_q4_1, 32, 20, 32, 4, 0, true, split_q4_1, encode_q4_1},
    {MIA_q5_0, 32, 22, 32, 5, 16, false, split_q5_0, encode_q5_0},
    {MIA_q5_1, 32, 24, 32, 5, 0, true, split_q5_1, encode_q5_1},
    {MIA_q4_K, 256, 144, 32, 4, 0, true, mia__block_split_q4_K, mia__block_encode_q4_K},
    {MIA_q5_K, 256, 176, 32, 5, 0, true, mia__block_split_q5_K, mia__block_encode_q5_K},
    {MIA_q6_K, 256, 210, 16, 6, 32, false, mia__block_split_q6_K, mia__block_encode_q6_K},
};

const mia__block_format *mia__block_find(mia_dtype dtype) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].dtype == dtype) return &formats[i];
    return NULL;
}

/* --- rows ------------------------------------------------------------------------------------- */

void mia__block_split(const mia__block_format *format, const void *block, mia__block_parts *parts) {
    parts->least = 0;
    if (format->elements == ELEMENTS) {
        parts->scales[0] = 1;
        parts->leasts[0] = format->has_least;
    }
    format->split(block, parts);
}

/* The products are exact, and so is their difference in f64: the numbers lie no more than 53 bits apart. */
static void decode_run(const mia__block_format *format, const mia__block_parts *parts, uint32_t run,
                       double *out) {
    double scale = mia__f16_to_f64(parts->scale) * parts->scales[run];
    double least = format->has_least ? mia__f16_to_f64(parts->least) * parts->leasts[run] : 0;
    const uint8_t *quants = parts->quants + run * format->run;
    for (uint32_t i = 0; i < format->run; i++) out[i] = scale * ((int)quants[i] - format->offset) - least;
}

void mia__block_decode_f64(const mia__block_format *format, const void *row, double *out, int64_t elements) {
    const uint8_t *block = row;
    mia__block_parts parts;
    for (int64_t i = 0; i < elements; i += format->elements, block += format->bytes) {
        mia__block_split(format, block, &parts);
        for (uint32_t run = 0; run * format->run < format->elements; run++)
            decode_run(format, &parts, run, out + i + run * format->run);
    }
}

void mia__block_decode_f32(const mia__block_format *format, const void *row, float *out, int64_t elements) {
    const uint8_t *block = row;
    double numbers[MIA__BLOCK_MOST];
    for (int64_t i = 0; i < elements; i += format->elements, block += format->bytes) {
        mia__block_decode_f64(format, block, numbers, format->elements);
        for (uint32_t j = 0; j < format->elements; j++) out[i + j] = (float)numbers[j];
    }
}

void mia__block_encode(const mia__block_format *format, const float *in, void *row, int64_t elements) {
    uint8_t *block = row;
    for (int64_t i = 0; i < elements; i += format->elements, block += format->bytes)
        format->encode(in + i, block);
}
