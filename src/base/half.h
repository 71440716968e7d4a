/* Conversions of 16-bit floating-point numbers, exact or rounded once to nearest even.
 *
 *     f16   s eeeee mmmmmmmmmm          bias 15,  subnormals in units of 2^-24
 *     bf16  s eeeeeeee mmmmmmm          bias 127, subnormals in units of 2^-133: the upper half of an f32
 *
 * Infinities stay, NaN stays NaN (made quiet, upper bits of the payload kept), what is too large becomes
 * infinite. Subnormal results come out of one addition: the sum of |x| and a power of two whose last place is
 * the result's unit has been rounded as it should be. That asks for the default rounding mode, and nothing of
 * the hardware beyond C. */
#ifndef MIA_BASE_HALF_H
#define MIA_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t mia__bits_of_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float mia__f32_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint64_t mia__bits_of_f64(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double mia__f64_of_bits(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* --- f16 -------------------------------------------------------------------------------------- */

static inline float mia__f16_to_f32(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t magnitude = half & 0x7fffu;
    if (magnitude >= 0x7c00u) { /* infinite or NaN */
        uint32_t quiet = magnitude > 0x7c00u ? 0x00400000u : 0;
        return mia__f32_of_bits(sign | 0x7f800000u | quiet | (magnitude & 0x03ffu) << 13);
    }
    if (magnitude < 0x0400u) /* zero or subnormal: an integer in units of 2^-24 */
        return mia__f32_of_bits(sign | mia__bits_of_f32((float)magnitude * 0x1p-24f));
    return mia__f32_of_bits(sign | ((magnitude << 13) + ((127u - 15u) << 23)));
}

static inline double mia__f16_to_f64(uint16_t half) {
    return (double)mia__f16_to_f32(half);
}

static inline uint16_t mia__f32_to_f16(float x) {
    uint32_t bits = mia__bits_of_f32(x);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x03ffu));
    if (magnitude >= 0x47800000u) return (uint16_t)(sign | 0x7c00u); /* 2^16 and above */
    if (magnitude < 0x38800000u) {                                   /* below 2^-14 */
        float sum = mia__f32_of_bits(magnitude) + 0x1p-1f;
        return (uint16_t)(sign | (mia__bits_of_f32(sum) - mia__bits_of_f32(0x1p-1f)));
    }
    magnitude -= (127u - 15u) << 23;
    magnitude +=
        0x0fffu + ((magnitude >> 13) & 1u); /* a carry reaches the exponent, and infinity, as it should */
    return (uint16_t)(sign | magnitude >> 13);
}

/* Rounded once; by way of f32 it would be twice. */
static inline uint16_t mia__f64_to_f16(double x) {
    uint64_t bits = mia__bits_of_f64(x);
    uint64_t sign = (bits >> 48) & 0x8000u;
    uint64_t magnitude = bits & 0x7fffffffffffffffu;
    if (magnitude > 0x7ff0000000000000u) return (uint16_t)(sign | 0x7e00u | ((magnitude >> 42) & 0x03ffu));
    if (magnitude >= 0x40f0000000000000u) return (uint16_t)(sign | 0x7c00u); /* 2^16 and above */
    if (magnitude < 0x3f10000000000000u) {                                   /* below 2^-14 */
        double sum = mia__f64_of_bits(magnitude) + 0x1p28;
        return (uint16_t)(sign | (mia__bits_of_f64(sum) - mia__bits_of_f64(0x1p28)));
    }
    magnitude -= (uint64_t)(1023 - 15) << 52;
    magnitude += ((uint64_t)1 << 41) - 1 + ((magnitude >> 42) & 1u);
    return (uint16_t)(sign | magnitude >> 42);
}

/* --- bf16 ------------------------------------------------------------------------------------- */

static inline float mia__bf16_to_f32(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    if ((bits & 0x7fffffffu) > 0x7f800000u) bits |= 0x00400000u;
    return mia__f32_of_bits(bits);
}

static inline double mia__bf16_to_f64(uint16_t half) {
    return (double)mia__bf16_to_f32(half);
}

static inline uint16_t mia__f32_to_bf16(float x) {
    uint32_t bits = mia__bits_of_f32(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x0040u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* Rounded once. */
static inline uint16_t mia__f64_to_bf16(double x) {
    uint64_t bits = mia__bits_of_f64(x);
    uint64_t sign = (bits >> 48) & 0x8000u;
    uint64_t magnitude = bits & 0x7fffffffffffffffu;
    if (magnitude > 0x7ff0000000000000u) return (uint16_t)(sign | 0x7fc0u | ((magnitude >> 45) & 0x007fu));
    if (magnitude >= 0x47f0000000000000u) return (uint16_t)(sign | 0x7f80u); /* 2^128 and above */
    if (magnitude < 0x3810000000000000u) {                                   /* below 2^-126 */
        double sum = mia__f64_of_bits(magnitude) + 0x1p-81;
        return (uint16_t)(sign | (mia__bits_of_f64(sum) - mia__bits_of_f64(0x1p-81)));
    }
    magnitude -= (uint64_t)(1023 - 127) << 52;
    magnitude += ((uint64_t)1 << 44) - 1 + ((magnitude >> 45) & 1u);
    return (uint16_t)(sign | magnitude >> 45);
}

#endif
