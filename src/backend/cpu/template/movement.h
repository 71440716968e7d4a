/* What movement needs of an instruction set: as many lines turned over as each has elements, so that every cache line
 * of both sides is met once; and blocks of random words. Included once for each instruction set. */
#include "backend/cpu/template/simd.h"

#include "base/philox.h"

/* --- lines turned over ------------------------------------------------------------------------ */

#define LINE 64 /* bytes */

/* A whole line, past the caches where it is streamed; `to` is aligned to lines then. */
INLINE void store_line(void *to, const void *from, bool stream) {
#if MIA_LANES == 16
    __m512i line = _mm512_loadu_si512(from);
    if (stream) {
        _mm512_stream_si512((__m512i *)to, line);
        return;
    }
    _mm512_storeu_si512(to, line);
#elif MIA_LANES == 8
    __m256i first = _mm256_loadu_si256((const __m256i *)from),
            second = _mm256_loadu_si256((const __m256i *)from + 1);
    if (stream) {
        _mm256_stream_si256((__m256i *)to, first);
        _mm256_stream_si256((__m256i *)to + 1, second);
        return;
    }
    _mm256_storeu_si256((__m256i *)to, first);
    _mm256_storeu_si256((__m256i *)to + 1, second);
#else
    (void)stream;
    memcpy(to, from, LINE);
#endif
}

/* What was streamed is there for other threads, whatever they wait with. */
static void end_stream(void) {
#if MIA_LANES > 4
    _mm_sfence();
#endif
}

/* Units of `size` bytes, as many as a line has both ways: row j of `out` is column j of `in`. */
#define TURN_LINES(size)                                                                                     \
    do {                                                                                                     \
        enum { EDGE = LINE / (size) };                                                                       \
        char rows_[EDGE][LINE], columns_[EDGE][LINE];                                                        \
        for (int64_t i = 0; i < EDGE; i++) memcpy(rows_[i], in + i * in_stride * (size), LINE);              \
        for (int64_t j = 0; j < EDGE; j++)                                                                   \
            for (int64_t i = 0; i < EDGE; i++)                                                               \
                memcpy(columns_[j] + i * (size), rows_[i] + j * (size), size);                               \
        for (int64_t j = 0; j < EDGE; j++) store_line(out + j * out_stride * (size), columns_[j], stream);   \
    } while (0)

/* Words of 4 bytes are turned over in registers. */
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

INLINE void turn_words(char *out, int64_t out_stride, const char *in, int64_t in_stride, bool stream) {
    __m512 columns[16];
    turn_vectors((const float *)(const void *)in, in_stride, columns);
    EACH(j, 16) store_line(out + (int64_t)j * out_stride * 4, &columns[j], stream);
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

INLINE void turn_words(char *out, int64_t out_stride, const char *in, int64_t in_stride, bool stream) {
    const float *from = (const float *)(const void *)in;
    for (int64_t j = 0; j < 16; j += 8) {
        __m256 halves[2][8];
        turn_vectors(from + j, in_stride, halves[0]);
        turn_vectors(from + j + 8 * in_stride, in_stride, halves[1]);
        EACH(k, 8) {
            const __m256 line[2] = {halves[0][k], halves[1][k]};
            store_line(out + (j + (int64_t)k) * out_stride * 4, line, stream);
        }
    }
}

#else

INLINE void turn_words(char *out, int64_t out_stride, const char *in, int64_t in_stride, bool stream) {
    TURN_LINES(4);
}

#endif

static void turn_lines(size_t bytes, bool stream, char *out, int64_t out_stride, const char *in,
                       int64_t in_stride) {
    switch (bytes) {
    case 1: TURN_LINES(1); break;
    case 2: TURN_LINES(2); break;
    case 4: turn_words(out, out_stride, in, in_stride, stream); break;
    case 8: TURN_LINES(8); break;
    default: TURN_LINES(16); break;
    }
}

/* --- random words ----------------------------------------------------------------------------- */

typedef uint64_t vq __attribute__((vector_size(4 * MIA_LANES)));

/* The low and the high words of products of 32 bits by 32. */
INLINE vu product(vu x, uint32_t factor, vu *high) {
#if MIA_LANES == 16
    const __m512i f = _mm512_set1_epi32((int)factor);
    vq even = (vq)_mm512_mul_epu32((__m512i)x, f), odd = (vq)_mm512_mul_epu32((__m512i)((vq)x >> 32), f);
#elif MIA_LANES == 8
    const __m256i f = _mm256_set1_epi32((int)factor);
    vq even = (vq)_mm256_mul_epu32((__m256i)x, f), odd = (vq)_mm256_mul_epu32((__m256i)((vq)x >> 32), f);
#else
    vq even = ((vq)x & UINT32_MAX) * factor, odd = ((vq)x >> 32) * factor;
#endif
    *high = (vu)(even >> 32 | (odd & ~(uint64_t)UINT32_MAX));
    return (vu)((even & UINT32_MAX) | odd << 32);
}

/* MIA_LANES blocks from `first` on: a block a lane. */
INLINE void blocks_of(uint64_t first, const uint32_t *key, vu *c) {
    uint32_t k0 = key[0], k1 = key[1];
    static const uint32_t lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    memcpy(&c[0], lanes, sizeof c[0]);
    c[0] += (uint32_t)first;
    c[1] = (uint32_t)(first >> 32) - (vu)(c[0] < (uint32_t)first); /* a carry is a mask, minus one */
    c[2] = c[3] = (vu){0};
    EACH(round, MIA__PHILOX_ROUNDS) {
        vu a_high, b_high, a = product(c[0], 0xD2511F53, &a_high), b = product(c[2], 0xCD9E8D57, &b_high);
        c[0] = b_high ^ c[1] ^ k0;
        c[1] = b;
        c[2] = a_high ^ c[3] ^ k1;
        c[3] = a;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
}

static void random_words(uint64_t first, const uint32_t *key, size_t blocks, uint32_t *out) {
    size_t b = 0;
    for (; b + MIA_LANES <= blocks; b += MIA_LANES) {
        vu c[4];
        uint32_t lanes[4][MIA_LANES];
        blocks_of(first + b, key, c);
        memcpy(lanes, c, sizeof lanes);
        for (size_t lane = 0; lane < MIA_LANES; lane++)
            for (size_t w = 0; w < 4; w++) out[4 * (b + lane) + w] = lanes[w][lane];
    }
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
        uint32_t of_radius[MIA_LANES], of_angle[MIA_LANES];
        for (size_t k = 0; k < MIA_LANES; k++) {
            of_radius[k] = words[i + 2 * k];
            of_angle[k] = words[i + 2 * k + 1];
        }
        vu radius_words, angle_words;
        memcpy(&radius_words, of_radius, sizeof of_radius);
        memcpy(&angle_words, of_angle, sizeof of_angle);
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
    kernels->turn_lines = turn_lines;
    kernels->end_stream = end_stream;
    kernels->random_words = random_words;
    kernels->normal_numbers = normal_numbers;
}
