/* Numbers of every element type, for the conformance test: what they are as doubles, how far apart neighbours
 * lie, and random ones with everything awkward among them. Neighbours: operand.h makes tensors of them. */
#ifndef MIA_TESTS_OPS_NUMBERS_H
#define MIA_TESTS_OPS_NUMBERS_H

#include "base/block.h"
#include "base/half.h"
#include "unit/support.h"

#include <float.h>
#include <math.h>
#include <mia/mia.h>

/* Which numbers an operand is filled with. */
typedef enum mood {
    MOOD_PLAIN,   /* around 1 */
    MOOD_EXTREME, /* and zeros, denormals, numbers near the ends of the range */
    MOOD_ANY,     /* and infinities and NaN */
    MOODS
} mood;

/* For backends that promise nothing about NaN, infinities, numbers below the normal ones, and f64: none of them are drawn. */
static bool only_normal_numbers;

/* The scalar that a packed type is made of, and how many; other types are their own, once. */
static inline mia_dtype scalar_of(mia_dtype dtype, int64_t *inner) {
    *inner = dtype == MIA_f32x4 || dtype == MIA_f16x4 || dtype == MIA_u8x4 ? 4 : 1;
    if (dtype == MIA_u4x8) return MIA_u32;
    return dtype == MIA_f32x4 ? MIA_f32 : dtype == MIA_f16x4 ? MIA_f16 : dtype == MIA_u8x4 ? MIA_u8 : dtype;
}

static inline bool is_block(mia_dtype dtype) {
    return mia_dtype_describe(dtype)->kind == MIA_KIND_BLOCK;
}

static inline bool is_real(mia_dtype dtype) {
    int64_t inner;
    return mia_dtype_describe(scalar_of(dtype, &inner))->kind == MIA_KIND_FLOAT;
}

/* Distance of 1 from the next number. */
static inline double epsilon_of(mia_dtype dtype) {
    int64_t inner;
    switch (scalar_of(dtype, &inner)) {
    case MIA_f32: return 0x1p-23;
    case MIA_f16: return 0x1p-10;
    case MIA_bf16: return 0x1p-7;
    case MIA_f64: return 0x1p-52;
    default: return 0;
    }
}

/* The least positive number. */
static inline double denormal_of(mia_dtype dtype) {
    int64_t inner;
    switch (scalar_of(dtype, &inner)) {
    case MIA_f32: return 0x1p-149;
    case MIA_f16: return 0x1p-24;
    case MIA_bf16: return 0x1p-133;
    default: return 0;
    }
}

/* The least positive number with all digits. */
static inline double least_normal_of(mia_dtype dtype) {
    int64_t inner;
    dtype = scalar_of(dtype, &inner);
    return dtype == MIA_f32 || dtype == MIA_bf16 ? 0x1p-126 : dtype == MIA_f16 ? 0x1p-14 : 0;
}

static inline double greatest_of(mia_dtype dtype) {
    int64_t inner;
    switch (scalar_of(dtype, &inner)) {
    case MIA_f32: return (double)FLT_MAX;
    case MIA_f16: return 65504;
    case MIA_bf16: return 0x1.fep127;
    default: return DBL_MAX;
    }
}

/* Bytes of a compact value. */
static inline size_t bytes_of(mia_dtype dtype, const mia_shape *shape) {
    const mia_dtype_info *info = mia_dtype_describe(dtype);
    size_t units = 1;
    for (uint32_t m = 0; m < shape->ndim; m++) {
        size_t extent = (size_t)shape->extent[m];
        units *= m == 0 && is_block(dtype) ? extent / info->elements : extent;
    }
    return units * info->bytes;
}

static inline int64_t elements_of(const mia_shape *shape) {
    int64_t count = 1;
    for (uint32_t m = 0; m < shape->ndim; m++) count *= shape->extent[m];
    return count;
}

static inline double load_number(mia_dtype dtype, const uint8_t *bytes, int64_t at) {
    size_t size = mia_dtype_describe(dtype)->bytes;
    uint64_t bits = 0;
    memcpy(&bits, bytes + (size_t)at * size, size);
    switch (dtype) {
    case MIA_f32: return (double)mia__f32_of_bits((uint32_t)bits);
    case MIA_f16: return mia__f16_to_f64((uint16_t)bits);
    case MIA_bf16: return mia__bf16_to_f64((uint16_t)bits);
    case MIA_f64: return mia__f64_of_bits(bits);
    case MIA_i32: return (int32_t)(uint32_t)bits;
    case MIA_i8: return (int8_t)(uint8_t)bits;
    default: return (double)bits;
    }
}

/* Numbers of a compact value, 4 a unit for packed types. The caller frees. */
static inline double *numbers_of(mia_dtype dtype, const mia_shape *shape, const uint8_t *bytes,
                                 int64_t *count) {
    int64_t inner;
    mia_dtype scalar = scalar_of(dtype, &inner);
    const mia__block_format *format = mia__block_find(dtype);
    *count = elements_of(shape) * inner;
    double *numbers = malloc((size_t)(*count > 0 ? *count : 1) * sizeof *numbers);
    if (numbers == NULL) return NULL;
    if (format != NULL)
        mia__block_decode_f64(format, bytes, numbers, *count);
    else
        for (int64_t i = 0; i < *count; i++) numbers[i] = load_number(scalar, bytes, i);
    return numbers;
}

/* --- random numbers --------------------------------------------------------------------------- */

static inline double random_extreme(uint64_t *seed, mia_dtype dtype, mood m) {
    double sign = test_below(seed, 2) == 0 ? 1 : -1, tiny = denormal_of(dtype), huge = greatest_of(dtype);
    if (dtype == MIA_f64) tiny = 0x1p-149, huge = (double)FLT_MAX;
    if (only_normal_numbers) tiny = least_normal_of(dtype);
    switch (test_below(seed, m == MOOD_ANY && !only_normal_numbers ? 8 : 5)) {
    case 0: return sign * 0;
    case 1: return sign * tiny * (double)(1 + test_below(seed, 100));
    case 2: return sign * tiny * 0x1p8 * (double)test_below(seed, 0x10000);
    case 3: return sign * huge;
    case 4: return sign * huge * 0x1p-4 * (1 + fabs((double)test_uniform(seed)));
    case 5: return (double)NAN;
    default: return sign * (double)INFINITY;
    }
}

static inline void store_real(mia_dtype dtype, uint8_t *at, double value) {
    float single = (float)value;
    uint16_t half = dtype == MIA_f16 ? mia__f64_to_f16(value) : mia__f64_to_bf16(value);
    if (dtype == MIA_f64)
        memcpy(at, &value, sizeof value);
    else if (dtype == MIA_f32)
        memcpy(at, &single, sizeof single);
    else
        memcpy(at, &half, sizeof half);
}

/* Blocks: any quants, and scales and least numbers that are f16s of the mood. They come first, but for q6_K's
 * scale. */
static inline void fill_blocks(uint64_t *seed, mia_dtype dtype, uint8_t *bytes, size_t size, mood m) {
    const mia__block_format *format = mia__block_find(dtype);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)test_random(seed);
    for (size_t i = 0; i < size; i += format->bytes) {
        size_t first = dtype == MIA_q6_K ? format->bytes - 2 : 0;
        for (size_t k = first; k < first + (format->has_least ? 4 : 2); k += 2) {
            double scale = 0.02 * (double)test_uniform(seed);
            if (m != MOOD_PLAIN && test_below(seed, 10) == 0)
                scale = test_below(seed, 2) == 0 ? 0 : only_normal_numbers ? 0x1p-14 : 0x1p-24;
            store_real(MIA_f16, bytes + i + k, scale);
        }
    }
}

/* `size` bytes of a type. */
static inline void fill_random(uint64_t *seed, mia_dtype dtype, uint8_t *bytes, size_t size, mood m) {
    int64_t inner, small = test_below(seed, 2);
    mia_dtype scalar = scalar_of(dtype, &inner);
    if (is_block(dtype)) {
        fill_blocks(seed, dtype, bytes, size, m);
        return;
    }
    double range = test_below(seed, 3) == 0 ? 10 : 1;
    int64_t rare = 4 + test_below(seed, 300);
    size_t step = mia_dtype_describe(scalar)->bytes;
    for (size_t i = 0; i < size; i += step) {
        uint64_t bits = test_random(seed);
        if (scalar == MIA_bool8) {
            bytes[i] = m == MOOD_PLAIN || bits % 5 != 0 ? (uint8_t)(bits >> 32 & 1) : (uint8_t)(bits >> 40);
        } else if (is_real(scalar)) {
            bool extreme = m != MOOD_PLAIN && test_below(seed, rare) == 0;
            double value = extreme ? random_extreme(seed, scalar, m) : range * (double)test_uniform(seed);
            store_real(scalar, bytes + i, value);
        } else {
            int32_t whole = (int32_t)(uint32_t)(bits >> 32);
            if (small) whole = (int32_t)(bits >> 32 & 15) - 8;
            if (m != MOOD_PLAIN && bits % 11 == 0) whole = INT32_MIN; /* 0 of narrower types */
            memcpy(bytes + i, &whole, step);
        }
    }
}

#endif
