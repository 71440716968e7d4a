/* Products of block-quantised weights and activations rounded to 8 bits a block, in whole numbers; and
 * prepared weights as f32. The layout of a group is drawn in forms.h.
 *
 *     out[n, m] (+)= sum over blocks of scale[n] scale[m] (quants[n] . quants[m] - bias * sum of quants[m])
 *
 * Weights are stored unsigned, the bias (128 or 8) above their value. Included once for each instruction
 * set. */
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

/* add_quads(sum, w, x): sum + the four products of unsigned w (below 16 when `small`) and signed x, a lane
 * each. */

#if MIA_LANES == 16

INLINE vi add_quads(vi sum, quad w, int32_t x, bool small) {
    (void)small;
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, _mm512_set1_epi32(x));
}

#elif MIA_LANES == 8

/* The products of two neighbours are added in 16 bits, which 255 * 127 twice would overflow. So the bias of
 * 128 is taken off first, and the sign of w moved to x; nothing is then left for the caller to take off. */
INLINE vi add_quads(vi sum, quad w, int32_t x, bool small) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i spread = _mm256_set1_epi32(x), weights = (__m256i)w;
    if (!small) {
        weights = _mm256_xor_si256(weights, _mm256_set1_epi8((char)0x80));
        spread = _mm256_sign_epi8(spread, weights);
        weights = _mm256_abs_epi8(weights);
    }
    return sum + (vi)_mm256_madd_epi16(_mm256_maddubs_epi16(weights, spread), ones);
}

#else

typedef int16_t vs __attribute__((vector_size(4 * MIA_LANES)));

/* Even and odd bytes apart: a product of 255 and 128 just fits 16 bits. */
INLINE vi add_quads(vi sum, quad w, int32_t x, bool small) {
    (void)small;
    int32_t x_even = ((x & 0xff) ^ 0x80) - 0x80, x_even2 = (((x >> 16) & 0xff) ^ 0x80) - 0x80;
    int32_t x_odd = (((x >> 8) & 0xff) ^ 0x80) - 0x80, x_odd2 = x >> 24;
    vu even = (vu)w & 0x00ff00ffu, odd = ((vu)w >> 8) & 0x00ff00ffu;
    vi evens = (vi)((vs)even * (vs)vi_set((x_even & 0xffff) | (int32_t)((uint32_t)x_even2 << 16)));
    vi odds = (vi)((vs)odd * (vs)vi_set((x_odd & 0xffff) | (int32_t)((uint32_t)x_odd2 << 16)));
    vi low = (vi)((vu)evens << 16) >> 16, low2 = (vi)((vu)odds << 16) >> 16;
    return sum + ((low + low2) + ((evens >> 16) + (odds >> 16)));
}

#endif

/* The formats, told apart by `small`: q4_0's weights are below 16. */
#define BIAS(small)        ((small) ? 8 : 128)
#define BLOCK_BYTES(small) ((small) ? GROUP * BLOCK / 2 : GROUP * BLOCK) /* of quants of a group */
/* What add_quads leaves to be taken off, in units of the sum of x. */
#define REST(small) (MIA_LANES == 8 && !(small) ? 0 : BIAS(small))

/* The weights of one block for part `part` of the rows. */
INLINE void load_block(const uint8_t *quants, unsigned part, const bool small, quad weights[QUADS]) {
    if (!small) {
        EACH(j, QUADS) {
            weights[j] = quad_load(quants + (j * GROUP + part * MIA_LANES) * 4);
        }
        return;
    }
    EACH(j, QUADS / 2) {
        quad both = quad_load(quants + (j * GROUP + part * MIA_LANES) * 4);
        weights[j] = both & 0x0f0f0f0f;
        weights[j + QUADS / 2] = (vi)((vu)both >> 4) & 0x0f0f0f0f;
    }
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

INLINE vi block_dot(const quad weights[QUADS], const mia__cpu_block *x, const bool small) {
    vi sum = vi_set(-REST(small) * x->sum);
    EACH(j, QUADS) {
        int32_t four;
        memcpy(&four, x->quants + 4 * j, sizeof four);
        sum = add_quads(sum, weights[j], four, small);
    }
    return sum;
}

INLINE void product_of(mia__cpu_quants w, const mia__cpu_block *x, size_t blocks, const mia__cpu_tile *tile,
                       const bool small, const unsigned columns) {
    vf sums[PARTS][COLUMNS];
    EACH(p, PARTS) {
        EACH(m, columns) {
            sums[p][m] = vf_set(0);
        }
    }
    for (size_t b = 0; b < blocks; b++) {
        EACH(p, PARTS) {
            quad weights[QUADS];
            load_block(w.quants + b * BLOCK_BYTES(small), p, small, weights);
            vf scales = vf_load_f16(w.scales + b * GROUP + p * MIA_LANES);
            EACH(m, columns) {
                const mia__cpu_block *column = x + b * columns + m;
                vf dots = vi_to_vf(block_dot(weights, column, small));
                sums[p][m] = vf_fma(dots, scales * column->scale, sums[p][m]);
            }
        }
    }
    EACH(m, columns) {
        EACH(p, PARTS) {
            write_sums(tile, p * MIA_LANES, m, sums[p][m]);
        }
    }
}

#define CASE(small, columns)                                                                                 \
    case columns:                                                                                            \
        product_of(w, x, blocks, tile, small, columns);                                                      \
        break;

#if MIA_LANES == 16
#define CASES(s) CASE(s, 1) CASE(s, 2) CASE(s, 3) CASE(s, 4) CASE(s, 5) CASE(s, 6) CASE(s, 7) CASE(s, 8)
#elif MIA_LANES == 8
#define CASES(s) CASE(s, 1) CASE(s, 2) CASE(s, 3) CASE(s, 4)
#else
#define CASES(s) CASE(s, 1) CASE(s, 2)
#endif

static void product_q8_0(mia__cpu_quants w, const mia__cpu_block *x, size_t blocks,
                         const mia__cpu_tile *tile) {
    switch (tile->m) { CASES(false) }
}

static void product_q4_0(mia__cpu_quants w, const mia__cpu_block *x, size_t blocks,
                         const mia__cpu_tile *tile) {
    switch (tile->m) { CASES(true) }
}

/* --- weights as f32 --------------------------------------------------------------------------- */

INLINE void unpack(mia__cpu_quants w, size_t blocks, float *out, const bool small) {
    for (size_t b = 0; b < blocks; b++) {
        for (unsigned p = 0; p < PARTS; p++) {
            quad weights[QUADS];
            load_block(w.quants + b * BLOCK_BYTES(small), p, small, weights);
            vf scales = vf_load_f16(w.scales + b * GROUP + p * MIA_LANES);
            for (unsigned i = 0; i < BLOCK; i++) {
                vi value = ((vi)((vu)weights[i / 4] >> (8 * (i % 4))) & 0xff) - BIAS(small);
                vf_store(out + (b * BLOCK + i) * GROUP + p * MIA_LANES, vi_to_vf(value) * scales);
            }
        }
    }
}

static void unpack_q8_0(mia__cpu_quants w, size_t blocks, float *out) {
    unpack(w, blocks, out, false);
}

static void unpack_q4_0(mia__cpu_quants w, size_t blocks, float *out) {
    unpack(w, blocks, out, true);
}

/* --- activations ------------------------------------------------------------------------------ */

/* Blocks that the quick way would spoil. Very small numbers are lifted out of the range where 127 / max
 * overflows. In a block with an infinite number the finite ones do not count; one with NaN becomes NaN. */
static void quantise_odd(const float *x, float greatest, mia__cpu_block *out) {
    const float lift = 0x1p64f;
    out->sum = 0;
    out->scale = greatest < INFINITY ? (float)((double)(greatest * lift) / 127.0 / (double)lift) : greatest;
    for (unsigned i = 0; i < BLOCK; i++) {
        float q = 0;
        if (greatest == INFINITY)
            q = (float)((x[i] > 0) - (x[i] < 0)) * (float)(fabsf(x[i]) == INFINITY);
        else if (greatest < INFINITY && out->scale > 0)
            q = rintf(fminf(fmaxf(x[i] / out->scale, -127.0f), 127.0f));
        out->quants[i] = (int8_t)q;
        out->sum += out->quants[i];
    }
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
    vi sum = {0};
    for (unsigned i = 0; i < BLOCK; i += MIA_LANES) {
        vi whole = (vi)(vf_load(x + i) * inverse + magic) - (vi)magic;
        narrow bytes = __builtin_convertvector(whole, narrow);
        memcpy(out->quants + i, &bytes, sizeof bytes);
        sum += whole;
    }
    out->scale = greatest / 127.0f;
    out->sum = 0;
    for (unsigned i = 0; i < MIA_LANES; i++) out->sum += sum[i];
}

static void quantise(const float *x, size_t blocks, mia__cpu_block *out, size_t stride) {
    for (size_t b = 0; b < blocks; b++) quantise_block(x + b * BLOCK, out + b * stride);
}

FILL_FAMILY(quantised) {
    kernels->quantised_columns = COLUMNS;
    kernels->quantise = quantise;
    kernels->product_q8_0 = product_q8_0;
    kernels->product_q4_0 = product_q4_0;
    kernels->unpack_q8_0 = unpack_q8_0;
    kernels->unpack_q4_0 = unpack_q4_0;
}
