/* Vectors of MIA_LANES floats, for the templates beside this file. The including file has defined MIA_LANES
 * (4, 8 or 16) and MIA_ISA, the name its functions carry.
 *
 * Arithmetic and comparison are the compiler's own vector operators; only what C has no operator for is spelt
 * out for each instruction set: fused multiply-add, square roots, partial loads and stores, and conversions
 * of 16-bit floats. */
#ifndef MIA_BACKEND_CPU_TEMPLATE_SIMD_H
#define MIA_BACKEND_CPU_TEMPLATE_SIMD_H

#include "backend/cpu/kernels.h"
#include "base/half.h"

#include <math.h>
#include <string.h>

#if MIA_LANES > 4
#include <immintrin.h>
#endif

#define PASTE3(a, b, c)   a##b##c
#define PASTE(a, b, c)    PASTE3(a, b, c)
#define FILL_FAMILY(name) void PASTE(mia__cpu_, MIA_ISA, _##name)(mia__cpu_kernels * kernels)

#define INLINE static inline __attribute__((always_inline, unused))

/* A loop over registers: its bounds are constants where it is used, and it is always unrolled. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define EACH(i, count) UNROLL for (unsigned i = 0; i < (count); i++)

typedef float vf __attribute__((vector_size(4 * MIA_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * MIA_LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * MIA_LANES)));
typedef uint16_t vh __attribute__((vector_size(2 * MIA_LANES)));

/* --- moving ----------------------------------------------------------------------------------- */

INLINE vf vf_set(float x) {
    return x - (vf){0};
}
INLINE vi vi_set(int32_t x) {
    return x - (vi){0};
}

INLINE vf vf_load(const float *from) {
    vf x;
    memcpy(&x, from, sizeof x);
    return x;
}

INLINE void vf_store(float *to, vf x) {
    memcpy(to, &x, sizeof x);
}

/* The first `count` < MIA_LANES elements; the others read as zero and are not touched. */
INLINE vf vf_load_part(const float *from, size_t count) {
#if MIA_LANES == 16
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), from);
#else
    vf x = {0};
    memcpy(&x, from, count * sizeof(float));
    return x;
#endif
}

INLINE void vf_store_part(float *to, vf x, size_t count) {
#if MIA_LANES == 16
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), (__m512)x);
#else
    memcpy(to, &x, count * sizeof(float));
#endif
}

/* 16-bit floats, MIA_LANES of them. */
INLINE vf vf_load_f16(const uint16_t *from) {
#if MIA_LANES == 16
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)from));
#elif MIA_LANES == 8
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from));
#else
    vh halves;
    memcpy(&halves, from, sizeof halves);
    vu bits = __builtin_convertvector(halves, vu), magnitude = (bits & 0x7fff) << 13;
    vu scaled = (vu)((vf)magnitude * 0x1p112f); /* moves the exponent, of subnormal numbers too */
    vu special = (vu)(magnitude >= 0x7c00u << 13) & 0x7f800000u;
    return (vf)(scaled | special | (bits & 0x8000) << 16);
#endif
}

INLINE vf vf_load_bf16(const uint16_t *from) {
#if MIA_LANES == 16
    __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)from));
    return (vf)_mm512_slli_epi32(x, 16);
#elif MIA_LANES == 8
    __m256i x = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)from));
    return (vf)_mm256_slli_epi32(x, 16);
#else
    vh halves;
    memcpy(&halves, from, sizeof halves);
    return (vf)(__builtin_convertvector(halves, vu) << 16);
#endif
}

/* Signed bytes, MIA_LANES of them. */
INLINE vf vf_load_i8(const void *from) {
#if MIA_LANES == 16
    return (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
#elif MIA_LANES == 8
    return (vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)));
#else
    const int8_t *bytes = (const int8_t *)from;
    vf x = {0};
    for (int i = 0; i < MIA_LANES; i++) x[i] = (float)bytes[i];
    return x;
#endif
}

INLINE void vf_store_f16(uint16_t *to, vf x) {
#if MIA_LANES == 16
    _mm256_storeu_si256((__m256i *)(void *)to, _mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT));
#elif MIA_LANES == 8
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT));
#else
    for (int i = 0; i < MIA_LANES; i++) to[i] = mia__f32_to_f16(x[i]);
#endif
}

/* --- arithmetic ------------------------------------------------------------------------------- */

/* a * b + c, rounded once where the processor can. */
INLINE vf vf_fma(vf a, vf b, vf c) {
#if MIA_LANES == 16
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif MIA_LANES == 8
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

INLINE vf vf_sqrt(vf x) {
#if MIA_LANES == 16
    return (vf)_mm512_sqrt_ps((__m512)x);
#elif MIA_LANES == 8
    return (vf)_mm256_sqrt_ps((__m256)x);
#else
    for (int i = 0; i < MIA_LANES; i++) x[i] = sqrtf(x[i]);
    return x;
#endif
}

INLINE vf vi_to_vf(vi x) {
    return __builtin_convertvector(x, vf);
}

/* mask (all ones or zeros a lane) ? a : b */
INLINE vf vf_select(vi mask, vf a, vf b) {
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

INLINE vf vf_abs(vf x) {
    return (vf)((vi)x & 0x7fffffff);
}

/* Not x != x, which says the same and looks like a slip. */
INLINE vi vf_is_nan(vf x) {
    return ((vi)x & 0x7fffffff) > 0x7f800000;
}

/* Whether a lane of a mask is set. */
INLINE bool vi_any(vi mask) {
#if MIA_LANES == 16
    return _mm512_movepi32_mask((__m512i)mask) != 0;
#elif MIA_LANES == 8
    return _mm256_movemask_ps((__m256)mask) != 0;
#else
    uint64_t half[2];
    memcpy(half, &mask, sizeof half);
    return (half[0] | half[1]) != 0;
#endif
}

/* The greater; NaN if either is. */
INLINE vf vf_max(vf a, vf b) {
    return vf_select((a > b) | vf_is_nan(a), a, b);
}
INLINE vf vf_min(vf a, vf b) {
    return vf_select((a < b) | vf_is_nan(a), a, b);
}

/* Lanes added in a fixed tree: halves, quarters, ... */
INLINE float vf_sum(vf x) {
    float lane[MIA_LANES];
    memcpy(lane, &x, sizeof lane);
    for (int width = MIA_LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) lane[i] += lane[i + width];
    return lane[0];
}

/* The sums of MIA_LANES vectors, one a lane: the vectors are added in pairs, two at first in the halves of one,
 * until each lane holds a sum. */
INLINE vf vf_sum_each(const vf *x) {
#if MIA_LANES == 16
#define ADD(a, b, f, low, high) _mm512_add_ps(f(a, b, low), f(a, b, high))
    __m512 half[8], quarter[4];
    EACH(i, 8) half[i] = ADD((__m512)x[i], (__m512)x[i + 8], _mm512_shuffle_f32x4, 0x44, 0xee);
    EACH(i, 4) quarter[i] = ADD(half[i], half[i + 4], _mm512_shuffle_f32x4, 0x88, 0xdd);
    __m512 even =
        _mm512_add_ps(_mm512_unpacklo_ps(quarter[0], quarter[1]), _mm512_unpackhi_ps(quarter[0], quarter[1]));
    __m512 odd =
        _mm512_add_ps(_mm512_unpacklo_ps(quarter[2], quarter[3]), _mm512_unpackhi_ps(quarter[2], quarter[3]));
    __m512 sums =
        ADD(even, odd, _mm512_shuffle_ps, 0x44, 0xee); /* of x[0..3], x[8..11], x[4..7], x[12..15] */
    return (vf)_mm512_shuffle_f32x4(sums, sums, 0xd8);
#undef ADD
#elif MIA_LANES == 8
    __m256 half[4];
    EACH(i, 4)
    half[i] = _mm256_add_ps(_mm256_permute2f128_ps((__m256)x[i], (__m256)x[i + 4], 0x20),
                            _mm256_permute2f128_ps((__m256)x[i], (__m256)x[i + 4], 0x31));
    __m256 even = _mm256_add_ps(_mm256_unpacklo_ps(half[0], half[1]), _mm256_unpackhi_ps(half[0], half[1]));
    __m256 odd = _mm256_add_ps(_mm256_unpacklo_ps(half[2], half[3]), _mm256_unpackhi_ps(half[2], half[3]));
    return (vf)_mm256_add_ps(_mm256_shuffle_ps(even, odd, 0x44), _mm256_shuffle_ps(even, odd, 0xee));
#else
    vf sums;
    EACH(i, MIA_LANES) sums[i] = vf_sum(x[i]);
    return sums;
#endif
}

/* The same tree for the greatest and the least; NaN if any is. */
INLINE float vf_greatest(vf x) {
    float lane[MIA_LANES];
    memcpy(lane, &x, sizeof lane);
    for (int width = MIA_LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lane[i] = lane[i + width] > lane[i] || isnan(lane[i + width]) ? lane[i + width] : lane[i];
    return lane[0];
}

INLINE float vf_least(vf x) {
    float lane[MIA_LANES];
    memcpy(lane, &x, sizeof lane);
    for (int width = MIA_LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lane[i] = lane[i + width] < lane[i] || isnan(lane[i + width]) ? lane[i + width] : lane[i];
    return lane[0];
}

/* --- e to the x ------------------------------------------------------------------------------- */

/* x = n ln 2 + r with |r| <= ln 2 / 2; e^r - 1 by a polynomial, and n. */
INLINE vf vf_exp_rest(vf x, vi *whole) {
    const vf magic = vf_set(0x1.8p23f); /* adding it rounds to a whole number */
    vf shifted = x * 0x1.715476p0f + magic;
    vf n = shifted - magic;
    vf r = vf_fma(n, vf_set(-0x1.62e4p-1f), x); /* ln 2 in two parts; the first has trailing zeros */
    r = vf_fma(n, vf_set(-0x1.7f7d1cp-20f), r);
    vf p = vf_set(0x1.6db4e8p-10f);
    p = vf_fma(p, r, vf_set(0x1.123bdep-7f));
    p = vf_fma(p, r, vf_set(0x1.55545ep-5f));
    p = vf_fma(p, r, vf_set(0x1.55548ep-3f));
    p = vf_fma(p, r, vf_set(0x1p-1f));
    *whole = (vi)shifted - (vi)magic;
    return vf_fma(p * r, r, r);
}

/* 2^n in two factors, so that subnormal results round once. Below -104 gives 0, above 88.73 infinity; NaN
 * stays. */
INLINE vf vf_exp(vf x) {
    vf clamped = vf_select(x > 89.0f, vf_set(89.0f), vf_select(x < -105.0f, vf_set(-105.0f), x));
    vi whole;
    vf p = vf_exp_rest(clamped, &whole) + 1.0f;
    vi half = whole >> 1;
    vf result = p * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
    return vf_select(vf_is_nan(x), x, result);
}

/* The same of x that are not above 0, for softmax and its kin: only the lower end has to be minded, and with AVX-512
 * one instruction scales. NaN stays, since it is the second operand of the comparison. */
INLINE vf vf_exp_below(vf x) {
#if MIA_LANES == 16
    vf clamped = (vf)_mm512_max_ps(_mm512_set1_ps(-105.0f), (__m512)x);
#elif MIA_LANES == 8
    vf clamped = (vf)_mm256_max_ps(_mm256_set1_ps(-105.0f), (__m256)x);
#else
    vf clamped = vf_select(x < -105.0f, vf_set(-105.0f), x);
#endif
    const vf magic = vf_set(0x1.8p23f);
    vf shifted = vf_fma(clamped, vf_set(0x1.715476p0f), magic);
    vf n = shifted - magic;
    vf r = vf_fma(n, vf_set(-0x1.62e4p-1f), clamped);
    r = vf_fma(n, vf_set(-0x1.7f7d1cp-20f), r);
    vf p = vf_set(0x1.6db4e8p-10f);
    p = vf_fma(p, r, vf_set(0x1.123bdep-7f));
    p = vf_fma(p, r, vf_set(0x1.55545ep-5f));
    p = vf_fma(p, r, vf_set(0x1.55548ep-3f));
    p = vf_fma(p, r, vf_set(0x1p-1f));
    p = vf_fma(p * r, r, r) + 1.0f;
#if MIA_LANES == 16
    return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    vi whole = (vi)shifted - (vi)magic, half = whole >> 1;
    vf result = p * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
    return vf_select(vf_is_nan(x), x, result);
#endif
}

#endif
