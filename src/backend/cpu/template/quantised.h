/* Products of block-quantised weights and activations rounded to 8 bits a block, in whole numbers; and
 * prepared weights as f32. The layout of a group is drawn in blocks.h.
 *
 *     out[n, m] (+)= sum over blocks of scale[m] (scale[n] (quants[n] . quants[m] - offset * sum of quants[m])
 *                                                 - least[n] * sum of quants[m])
 *
 * The types are constants where the functions here are used, and so is what follows from them. Included once
 * for each instruction set. */
#include "backend/cpu/blocks.h"
#include "backend/cpu/template/simd.h"

#define GROUP MIA__CPU_GROUP
#define BLOCK MIA__CPU_BLOCK
#define QUADS (BLOCK / 4)
#define PARTS (GROUP / MIA_LANES) /* vectors that hold a quad of all rows */

#if MIA_LANES == 16
#define COLUMNS 8
#elif MIA_LANES == 8
#define COLUMNS 4
#else
#define COLUMNS 2
#endif

/* Four neighbours along k of MIA_LANES rows, a byte each. */
typedef vi quad;

INLINE quad quad_load(const uint8_t *from) {
    quad q;
    memcpy(&q, from, sizeof q);
    return q;
}

/* --- dot products of quads -------------------------------------------------------------------- */

/* add_quads(sum, w, x): sum + the four products of unsigned w and signed x, a lane each. */

#if MIA_LANES == 16

INLINE vi add_quads(vi sum, quad w, int32_t x) {
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, _mm512_set1_epi32(x));
}

#elif MIA_LANES == 8

/* The products of two neighbours are added in 16 bits, which 255 * 127 twice would overflow. So the offset of
 * 128 is taken off first, and the sign of w moved to x; nothing is then left for the caller to take off. */
INLINE vi add_quads(vi sum, quad w, int32_t x) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i weights = _mm256_xor_si256((__m256i)w, _mm256_set1_epi8((char)0x80));
    __m256i spread = _mm256_sign_epi8(_mm256_set1_epi32(x), weights);
    return sum + (vi)_mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(weights), spread), ones);
}

/* Quants of few bits leave room for more: `count` quads, with 2 * 127 * (2^bits - 1) * count below 2^15. */
INLINE vi add_small_quads(vi sum, const quad *w, const int8_t *x, const unsigned count) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i pairs = _mm256_setzero_si256();
    EACH(j, count) {
        int32_t four;
        memcpy(&four, x + 4 * j, sizeof four);
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16((__m256i)w[j], _mm256_set1_epi32(four)));
    }
    return sum + (vi)_mm256_madd_epi16(pairs, ones);
}

#else

typedef int16_t vs __attribute__((vector_size(4 * MIA_LANES)));

/* Even and odd bytes apart: a product of 255 and 128 just fits 16 bits. */
INLINE vi add_quads(vi sum, quad w, int32_t x) {
    int32_t x_even = ((x & 0xff) ^ 0x80) - 0x80, x_even2 = (((x >> 16) & 0xff) ^ 0x80) - 0x80;
    int32_t x_odd = (((x >> 8) & 0xff) ^ 0x80) - 0x80, x_odd2 = x >> 24;
    vu even = (vu)w & 0x00ff00ffu, odd = ((vu)w >> 8) & 0x00ff00ffu;
    vi evens = (vi)((vs)even * (vs)vi_set((x_even & 0xffff) | (int32_t)((uint32_t)x_even2 << 16)));
    vi odds = (vi)((vs)odd * (vs)vi_set((x_odd & 0xffff) | (int32_t)((uint32_t)x_odd2 << 16)));
    vi low = (vi)((vu)evens << 16) >> 16, low2 = (vi)((vu)odds << 16) >> 16;
    return sum + ((low + low2) + ((evens >> 16) + (odds >> 16)));
}

#endif

/* What add_quads leaves to be taken off, in units of the sum of x. */
INLINE int rest_of(const mia_dtype type) {
    return MIA_LANES == 8 && mia__cpu_quant_bits(type) == 8 ? 0 : mia__cpu_quant_offset(type);
}

/* --- weights ---------------------------------------------------------------------------------- */

INLINE quad quad_shift_left(quad x, unsigned bits) {
    return (quad)((vu)x << bits);
}
INLINE quad quad_shift_right(quad x, unsigned bits) {
    return (quad)((vu)x >> bits);
}

/* The quants of one block for part `part` of the rows. */
INLINE void load_quants(const uint8_t *quants, unsigned part, const mia_dtype type, quad weights[QUADS]) {
    const unsigned bits = mia__cpu_quant_bits(type), low = bits == 8 ? QUADS : QUADS / 2;
    const uint8_t *vectors = quants + part * MIA_LANES * 4, *above = vectors + low * GROUP * 4;
    EACH(j, low) {
        weights[j] = quad_load(vectors + j * GROUP * 4);
    }
    if (bits == 8) return;
    EACH(j, QUADS / 2) {
        weights[j + QUADS / 2] = quad_shift_right(weights[j], 4) & 0x0f0f0f0f;
        weights[j] = weights[j] & 0x0f0f0f0f;
    }
    if (bits == 5) {
        quad fifth = quad_load(above);
        EACH(j, QUADS / 2) {
            weights[j] |= quad_shift_left(fifth, 4 - j) & 0x10101010;
            weights[j + QUADS / 2] |= quad_shift_right(fifth, j) & 0x10101010;
        }
    }
    if (bits == 6) {
        EACH(i, 2) {
            quad upper = quad_load(above + i * GROUP * 4);
            weights[4 * i] |= quad_shift_left(upper, 4) & 0x30303030;
            weights[4 * i + 1] |= quad_shift_left(upper, 2) & 0x30303030;
            weights[4 * i + 2] |= upper & 0x30303030;
            weights[4 * i + 3] |= quad_shift_right(upper, 2) & 0x30303030;
        }
    }
}

/* Of one block: a scale, or one for each half; and the least number. */
typedef struct block_scales {
    vf scale[2], least;
} block_scales;

INLINE block_scales load_scales(const uint8_t *scales, size_t block, unsigned part, const mia_dtype type) {
    const size_t many = mia__cpu_record_blocks(type);
    const bool least = mia__cpu_has_least(type);
    const uint8_t *record = scales + block / many * mia__cpu_record_bytes(type);
    const uint16_t *halves = (const uint16_t *)(const void *)record + part * MIA_LANES;
    block_scales s = {{vf_load_f16(halves)}, vf_set(0)};
    if (least) s.least = vf_load_f16(halves + GROUP);
    if (many > 1) {
        const uint8_t *bytes =
            record + mia__cpu_record_halves_bytes(type) + block % many * 2 * GROUP + part * MIA_LANES;
        vf first = vf_load_i8(bytes), second = vf_load_i8(bytes + GROUP);
        if (least)
            s.least *= second;
        else
            s.scale[1] = s.scale[0] * second;
        s.scale[0] *= first;
    }
    return s;
}

INLINE void write_sums(const mia__cpu_tile *tile, unsigned n, unsigned m, vf sums) {
    if (n >= tile->n) return;
    float *out = tile->out + m * tile->stride + n;
    size_t count = tile->n - n;
    if (count >= MIA_LANES)
        vf_store(out, tile->more ? vf_load(out) + sums : sums);
    else
        vf_store_part(out, tile->more ? vf_load_part(out, count) + sums : sums, count);
}

/* --- products --------------------------------------------------------------------------------- */

/* The products of quads first .. end of a block; `sum` is that of the activations there. */
INLINE vi dot_quads(const quad weights[QUADS], const mia__cpu_block *x, const mia_dtype type,
                    const unsigned first, const unsigned end, int32_t sum) {
    vi dots = vi_set(-rest_of(type) * sum);
#if MIA_LANES == 8
    const unsigned bits = mia__cpu_quant_bits(type), some = bits == 4 ? 8 : bits == 5 ? 4 : 2;
    if (bits < 8) {
        EACH(j, (end - first) / some) {
            const unsigned at = first + j * some;
            dots = add_small_quads(dots, weights + at, x->quants + 4 * at, some);
        }
        return dots;
    }
#endif
    EACH(j, end - first) {
        int32_t four;
        memcpy(&four, x->quants + 4 * (first + j), sizeof four);
        dots = add_quads(dots, weights[first + j], four);
    }
    return dots;
}

/* All of a block is put together before it is multiplied by the scale of x: x may be so large that parts of it
 * alone would be infinite. */
INLINE vf add_block(vf sum, const quad weights[QUADS], const block_scales *scales, const mia__cpu_block *x,
                    const mia_dtype type) {
    vf dots;
    if (type == MIA_q6_K) {
        vf first = vi_to_vf(dot_quads(weights, x, type, 0, QUADS / 2, x->half));
        vf second = vi_to_vf(dot_quads(weights, x, type, QUADS / 2, QUADS, x->sum - x->half));
        dots = vf_fma(second, scales->scale[1], first * scales->scale[0]);
    } else {
        dots = vi_to_vf(dot_quads(weights, x, type, 0, QUADS, x->sum));
        dots = mia__cpu_has_least(type) ? vf_fma(dots, scales->scale[0], scales->least * (float)-x->sum)
                                        : dots * scales->scale[0];
    }
    return vf_fma(dots, vf_set(x->scale), sum);
}

INLINE void product_of(mia__cpu_quants w, const mia__cpu_block *x, size_t blocks, const mia__cpu_tile *tile,
                       const mia_dtype type, const unsigned columns) {
    vf sums[PARTS][COLUMNS];
    EACH(p, PARTS) {
        EACH(m, columns) {
            sums[p][m] = vf_set(0);
        }
    }
    for (size_t b = 0; b < blocks; b++) {
        EACH(p, PARTS) {
            quad weights[QUADS];
            load_quants(w.quants + b * mia__cpu_quant_bytes(type), p, type, weights);
            const block_scales scales = load_scales(w.scales, b, p, type);
            EACH(m, columns) {
                sums[p][m] = add_block(sums[p][m], weights, &scales, x + b * columns + m, type);
            }
        }
    }
    EACH(m, columns) {
        EACH(p, PARTS) {
            write_sums(tile, p * MIA_LANES, m, sums[p][m]);
        }
    }
}

#define CASE(type, columns)                                                                                  \
    case columns:                                                                                            \
        product_of(w, x, blocks, tile, type, columns);                                                       \
        break;

#if MIA_LANES == 16
#define CASES(t) CASE(t, 1) CASE(t, 2) CASE(t, 3) CASE(t, 4) CASE(t, 5) CASE(t, 6) CASE(t, 7) CASE(t, 8)
#elif MIA_LANES == 8
#define CASES(t) CASE(t, 1) CASE(t, 2) CASE(t, 3) CASE(t, 4)
#else
#define CASES(t) CASE(t, 1) CASE(t, 2)
#endif

/* --- weights as f32 --------------------------------------------------------------------------- */

INLINE void unpack_of(mia__cpu_quants w, size_t blocks, float *out, const mia_dtype type) {
    for (size_t b = 0; b < blocks; b++) {
        for (unsigned p = 0; p < PARTS; p++) {
            quad weights[QUADS];
            load_quants(w.quants + b * mia__cpu_quant_bytes(type), p, type, weights);
            const block_scales scales = load_scales(w.scales, b, p, type);
            for (unsigned i = 0; i < BLOCK; i++) {
                vi value = ((vi)((vu)weights[i / 4] >> (8 * (i % 4))) & 0xff) - mia__cpu_quant_offset(type);
                vf scaled = vi_to_vf(value) * scales.scale[type == MIA_q6_K && i >= BLOCK / 2];
                if (mia__cpu_has_least(type)) scaled -= scales.least;
                vf_store(out + (b * BLOCK + i) * GROUP + p * MIA_LANES, scaled);
            }
        }
    }
}

/* --- of every format -------------------------------------------------------------------------- */

#define DEFINE_FORMAT(type, unused)                                                                          \
    static void product_##type(mia__cpu_quants w, const mia__cpu_block *x, size_t blocks,                    \
                               const mia__cpu_tile *tile) {                                                  \
        switch (tile->m) { CASES(MIA_##type) }                                                               \
    }                                                                                                        \
    static void unpack_##type(mia__cpu_quants w, size_t blocks, float *out) {                                \
        unpack_of(w, blocks, out, MIA_##type);                                                               \
    }
MIA_TYPES_BLOCK(DEFINE_FORMAT, unused)

/* --- activations ------------------------------------------------------------------------------ */

/* Blocks that the quick way would spoil. Very small numbers are lifted out of the range where 127 / max
 * overflows. In a block with an infinite number the finite ones do not count; one with NaN becomes NaN. */
static void quantise_odd(const float *x, float greatest, mia__cpu_block *out) {
    const float lift = 0x1p64f;
    int sum = 0;
    out->scale = greatest < INFINITY ? (float)((double)(greatest * lift) / 127.0 / (double)lift) : greatest;
    for (unsigned i = 0; i < BLOCK; i++) {
        float q = 0;
        if (greatest == INFINITY)
            q = (float)((x[i] > 0) - (x[i] < 0)) * (float)(fabsf(x[i]) == INFINITY);
        else if (greatest < INFINITY && out->scale > 0)
            q = rintf(fminf(fmaxf(x[i] / out->scale, -127.0f), 127.0f));
        out->quants[i] = (int8_t)q;
        sum += out->quants[i];
        if (i < BLOCK / 2) out->half = (int16_t)sum;
    }
    out->sum = (int16_t)sum;
}

typedef int8_t narrow __attribute__((vector_size(MIA_LANES)));

static void quantise_block(const float *x, mia__cpu_block *out) {
    const vf magic = vf_set(0x1.8p23f); /* adding it rounds to a whole number, in the lower bits */
    vf most = vf_set(0);
    for (unsigned i = 0; i < BLOCK; i += MIA_LANES) most = vf_max(vf_abs(vf_load(x + i)), most);
    float greatest = vf_greatest(most);
    if (!(greatest > 0x1p-100f && greatest < INFINITY) && greatest != 0) {
        quantise_odd(x, greatest, out);
        return;
    }
    float inverse = greatest > 0 ? 127.0f / greatest : 0;
    vi sums[2] = {{0}, {0}};
    for (unsigned i = 0; i < BLOCK; i += MIA_LANES) {
        vi whole = (vi)(vf_load(x + i) * inverse + magic) - (vi)magic;
        narrow bytes = __builtin_convertvector(whole, narrow);
        memcpy(out->quants + i, &bytes, sizeof bytes);
        sums[i / (BLOCK / 2)] += whole;
    }
    int first = 0, second = 0;
    for (unsigned i = 0; i < MIA_LANES; i++) {
        first += sums[0][i];
        second += sums[1][i];
    }
    out->scale = greatest / 127.0f;
    out->sum = (int16_t)(first + second);
    out->half = (int16_t)first;
}

static void quantise(const float *x, size_t blocks, mia__cpu_block *out, size_t stride) {
    for (size_t b = 0; b < blocks; b++) quantise_block(x + b * BLOCK, out + b * stride);
}

#define FILL_FORMAT(type, unused)                                                                            \
    kernels->products[mia__cpu_format(MIA_##type)] = product_##type;                                         \
    kernels->unpacks[mia__cpu_format(MIA_##type)] = unpack_##type;

FILL_FAMILY(quantised) {
    kernels->quantised_columns = COLUMNS;
    kernels->quantise = quantise;
    MIA_TYPES_BLOCK(FILL_FORMAT, unused)
}
