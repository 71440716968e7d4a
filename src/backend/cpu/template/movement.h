/* What movement needs of an instruction set: 16 x 16 words of 4 bytes turned over, so that each cache line of both
 * sides is met once; and blocks of random words. Included once for each instruction set. */
#include "backend/cpu/template/simd.h"

#include "base/philox.h"

/* --- words turned over ------------------------------------------------------------------------ */

/* Row j of `out` is column j of `in`: out[j * out_stride + i] = in[i * in_stride + j]. */
#if MIA_LANES == 16

/* Four steps: pairs of words, pairs of two words, then quarters of vectors twice. */
INLINE void turn_vectors(const float *in, int64_t in_stride, __m512 *out) {
    __m512 a[16], b[16];
    EACH(i, 16) a[i] = _mm512_loadu_ps(in + (int64_t)i * in_stride);
    EACH(i, 8) {
        b[2 * i] = _mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]);
    }
    EACH(i, 4) {
        __m512d b0 = _mm512_castps_pd(b[4 * i]), b1 = _mm512_castps_pd(b[4 * i + 1]),
                b2 = _mm512_castps_pd(b[4 * i + 2]), b3 = _mm512_castps_pd(b[4 * i + 3]);
        a[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(b0, b2));
        a[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(b0, b2));
        a[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b1, b3));
        a[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b1, b3));
    }
    /* Quarter q of a[4 i + j] is column 4 q + j of rows 4 i .. 4 i + 3. */
    EACH(j, 4) {
        __m512 low01 = _mm512_shuffle_f32x4(a[j], a[4 + j], 0x88),
               high01 = _mm512_shuffle_f32x4(a[j], a[4 + j], 0xdd);
        __m512 low23 = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0x88),
               high23 = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0xdd);
        out[j] = _mm512_shuffle_f32x4(low01, low23, 0x88);
        out[8 + j] = _mm512_shuffle_f32x4(low01, low23, 0xdd);
        out[4 + j] = _mm512_shuffle_f32x4(high01, high23, 0x88);
        out[12 + j] = _mm512_shuffle_f32x4(high01, high23, 0xdd);
    }
}

static void turn(void *out, int64_t out_stride, const void *in, int64_t in_stride) {
    __m512 columns[16];
    turn_vectors(in, in_stride, columns);
    EACH(j, 16) _mm512_storeu_ps((float *)out + (int64_t)j * out_stride, columns[j]);
}

static void turn_streaming(void *out, int64_t out_stride, const void *in, int64_t in_stride) {
    __m512 columns[16];
    turn_vectors(in, in_stride, columns);
    EACH(j, 16) _mm512_stream_ps((float *)out + (int64_t)j * out_stride, columns[j]);
}

#elif MIA_LANES == 8

INLINE void turn_vectors(const float *in, int64_t in_stride, __m256 *out) {
    __m256 a[8], b[8];
    EACH(i, 8) a[i] = _mm256_loadu_ps(in + (int64_t)i * in_stride);
    EACH(i, 4) {
        b[2 * i] = _mm256_unpacklo_ps(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm256_unpackhi_ps(a[2 * i], a[2 * i + 1]);
    }
    EACH(i, 2) {
        a[4 * i] = _mm256_shuffle_ps(b[4 * i], b[4 * i + 2], 0x44);
        a[4 * i + 1] = _mm256_shuffle_ps(b[4 * i], b[4 * i + 2], 0xee);
        a[4 * i + 2] = _mm256_shuffle_ps(b[4 * i + 1], b[4 * i + 3], 0x44);
        a[4 * i + 3] = _mm256_shuffle_ps(b[4 * i + 1], b[4 * i + 3], 0xee);
    }
    EACH(j, 4) {
        out[j] = _mm256_permute2f128_ps(a[j], a[4 + j], 0x20);
        out[4 + j] = _mm256_permute2f128_ps(a[j], a[4 + j], 0x31);
    }
}

/* Halves of a line follow each other, so that a line that is streamed leaves as one. */
#define TURN_WITH(store)                                                                                     \
    for (int64_t j = 0; j < 16; j += 8) {                                                                    \
        __m256 first[8], second[8];                                                                          \
        turn_vectors((const float *)in + j, in_stride, first);                                               \
        turn_vectors((const float *)in + j + 8 * in_stride, in_stride, second);                              \
        EACH(k, 8) {                                                                                         \
            store((float *)out + (j + (int64_t)k) * out_stride, first[k]);                                   \
            store((float *)out + (j + (int64_t)k) * out_stride + 8, second[k]);                              \
        }                                                                                                    \
    }

static void turn(void *out, int64_t out_stride, const void *in, int64_t in_stride) {
    TURN_WITH(_mm256_storeu_ps)
}

static void turn_streaming(void *out, int64_t out_stride, const void *in, int64_t in_stride) {
    TURN_WITH(_mm256_stream_ps)
}

#else

static void turn(void *out, int64_t out_stride, const void *in, int64_t in_stride) {
    uint32_t lines[16][16];
    for (int64_t i = 0; i < 16; i++) memcpy(lines[i], (const char *)in + i * in_stride * 4, sizeof lines[i]);
    for (int64_t j = 0; j < 16; j++)
        for (int64_t i = 0; i < 16; i++) memcpy((char *)out + (j * out_stride + i) * 4, &lines[i][j], 4);
}

#define turn_streaming turn

#endif

/* --- random words ----------------------------------------------------------------------------- */

#define BLOCKS 16 /* at a time; the compiler makes vectors of the loops over them */

static void sixteen_blocks(uint64_t first, const uint32_t *key, uint32_t *out) {
    uint32_t c0[BLOCKS], c1[BLOCKS], c2[BLOCKS], c3[BLOCKS], k0 = key[0], k1 = key[1];
    for (unsigned b = 0; b < BLOCKS; b++) {
        c0[b] = (uint32_t)(first + b);
        c1[b] = (uint32_t)((first + b) >> 32);
        c2[b] = c3[b] = 0;
    }
    for (int round = 0; round < MIA__PHILOX_ROUNDS; round++) {
        for (unsigned b = 0; b < BLOCKS; b++) {
            uint64_t x = UINT64_C(0xD2511F53) * c0[b], y = UINT64_C(0xCD9E8D57) * c2[b];
            c0[b] = (uint32_t)(y >> 32) ^ c1[b] ^ k0;
            c1[b] = (uint32_t)y;
            c2[b] = (uint32_t)(x >> 32) ^ c3[b] ^ k1;
            c3[b] = (uint32_t)x;
        }
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    for (unsigned b = 0; b < BLOCKS; b++) {
        out[4 * b] = c0[b];
        out[4 * b + 1] = c1[b];
        out[4 * b + 2] = c2[b];
        out[4 * b + 3] = c3[b];
    }
}

static void random_words(uint64_t first, const uint32_t *key, size_t blocks, uint32_t *out) {
    size_t b = 0;
    for (; b + BLOCKS <= blocks; b += BLOCKS) sixteen_blocks(first + b, key, out + 4 * b);
    for (; b < blocks; b++) mia__philox_block(first + b, key, out + 4 * b);
}

/* --- normal numbers --------------------------------------------------------------------------- */

/* ln(1 - u) for u in [0, 1) in steps of 2^-24: 1 - u = m 2^e, m in [sqrt(1/2), sqrt(2)), and the logarithm of m as
 * the series of 2 artanh((m - 1) / (m + 1)), whose first term left out is below 2^-26 of the sum. */
INLINE vf log_of_rest(vf u) {
    vf x = 1.0f - u;
    vi bits = (vi)x, exponent = (bits - 0x3f3504f3) >> 23;
    vf m = (vf)(bits - (exponent << 23)), e = vi_to_vf(exponent);
    vf t = (m - 1.0f) / (m + 1.0f), square = t * t;
    vf p = vf_set(2.0f / 9);
    p = vf_fma(p, square, vf_set(2.0f / 7));
    p = vf_fma(p, square, vf_set(2.0f / 5));
    p = vf_fma(p, square, vf_set(2.0f / 3));
    p = vf_fma(p * square, t, 2.0f * t);
    return vf_fma(e, vf_set(0x1.62e43p-1f), p + e * -0x1.05c61p-29f);
}

/* Sine and cosine of a turn's 2^-32 share `word`: the nearest quarter, and from there at most an eighth of a turn
 * either way, by Taylor's series. */
INLINE void sine_and_cosine(vu word, vf *sine, vf *cosine) {
    vu quarter = (word + 0x20000000u) >> 30;
    vf x = vi_to_vf((vi)(word - (quarter << 30))) * 0x1.921fb6p-30f, square = x * x; /* pi / 2 a quarter */
    vf s = vf_set(0x1.71de3ap-19f), c = vf_set(0x1.a01a02p-16f);
    s = vf_fma(s, square, vf_set(-0x1.a01a02p-13f));
    s = vf_fma(s, square, vf_set(0x1.111112p-7f));
    s = vf_fma(s, square, vf_set(-0x1.555556p-3f));
    s = vf_fma(s * square, x, x);
    c = vf_fma(c, square, vf_set(-0x1.6c16c2p-10f));
    c = vf_fma(c, square, vf_set(0x1.555556p-5f));
    c = vf_fma(c, square, vf_set(-0.5f));
    c = vf_fma(c, square, vf_set(1.0f));
    vi odd = (vi)((quarter & 1) != 0);
    vu sine_sign = (quarter & 2) << 30, cosine_sign = ((quarter + 1) & 2) << 30;
    *sine = (vf)((vu)vf_select(odd, c, s) ^ sine_sign);
    *cosine = (vf)((vu)vf_select(odd, s, c) ^ cosine_sign);
}

/* Box and Muller: words 2 i and 2 i + 1 make numbers 2 i and 2 i + 1. `count` is a multiple of 2 * MIA_LANES. */
static void normal_numbers(float *out, const uint32_t *words, size_t count) {
    for (size_t i = 0; i < count; i += 2 * (size_t)MIA_LANES) {
        vu radius_words, angle_words;
        for (size_t k = 0; k < MIA_LANES; k++) {
            radius_words[k] = words[i + 2 * k];
            angle_words[k] = words[i + 2 * k + 1];
        }
        vf radius = vf_sqrt(-2.0f * log_of_rest(vi_to_vf((vi)(radius_words >> 8)) * 0x1p-24f)), sine, cosine;
        sine_and_cosine(angle_words, &sine, &cosine);
        cosine *= radius;
        sine *= radius;
        for (size_t k = 0; k < MIA_LANES; k++) {
            out[i + 2 * k] = cosine[k];
            out[i + 2 * k + 1] = sine[k];
        }
    }
}

FILL_FAMILY(movement) {
    kernels->turn = turn;
    kernels->turn_streaming = turn_streaming;
    kernels->random_words = random_words;
    kernels->normal_numbers = normal_numbers;
}
