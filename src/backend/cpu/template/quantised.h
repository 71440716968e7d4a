/* Products of block-quantised weights and activations rounded to 8 bits a block, in whole numbers; and prepared weights
 * as f32. The layout of a group is drawn in forms.h.
 *
 *     out[n, m] (+)= sum over blocks of scale[n] scale[m] (sum of quants[n] quants[m] - bias * sum of quants[m])
 *
 * Weights are stored unsigned, the bias (128 or 8) above their value. Included once for each instruction set. */
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

/* --- dot products of quads ------------------------------------------------------------------------------------------
 * add_quads(sum, w, x): sum + the four products of unsigned w (below 16 when `small`) and signed x, a lane each. */

#if MIA_LANES == 16

INLINE vi add_quads(vi sum, quad w, int32_t x, bool small) {
    (void)small;
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, _mm512_set1_epi32(x));
}

#elif MIA_LANES == 8

/* The products of two neighbours are added in 16 bits, which 255 * 127 twice would overflow. So the bias of 128 is taken
 * off first, and the sign of w moved to x; nothing is then left for the caller to take off. */
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

/* What `small` = false leaves to be taken off, in units of the sum of x. */
#define BIAS_Q8_0 (MIA_LANES == 8 ? 0 : 128)
#define BIAS_Q4_0 8

INLINE vf load_scales(const uint16_t *scales) { return vf_load_f16(scales); }

/* The weights of one block, part `part` of the rows, a quad each. */
INLINE void load_q8_0(const uint8_t *quants, unsigned part, quad weights[QUADS]) {
    UNROLL for (unsigned j = 0; j < QUADS; j++) weights[j] = quad_load(quants + (j * GROUP + part * MIA_LANES) * 4);
}

INLINE void load_q4_0(const uint8_t *quants, unsigned part, quad weights[QUADS]) {
    UNROLL for (unsigned j = 0; j < QUADS / 2; j++) {
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

/* --- products --------------------------------------------------------------------------------------------------------- */

INLINE vi block_dot(const quad weights[QUADS], const mia__cpu_block *x, int32_t bias, bool small) {
    vi sum = vi_set(-bias * x->sum);
    UNROLL for (unsigned j = 0; j < QUADS; j++) {
        int32_t four;
        memcpy(&four, x->quants + 4 * j, sizeof four);
        sum = add_quads(sum, weights[j], four, small);
    }
    return sum;
}

#define PRODUCT(type, bytes, bias, small)                                                                              \
    INLINE void product_of_##type(mia__cpu_quants w, const mia__cpu_block *x, size_t blocks, const mia__cpu_tile *tile, \
                                  const unsigned columns) {                                                            \
        vf sums[PARTS][COLUMNS];                                                                                       \
        UNROLL for (unsigned p = 0; p < PARTS; p++) UNROLL for (unsigned m = 0; m < columns; m++) sums[p][m] = vf_set(0);    \
        for (size_t b = 0; b < blocks; b++) {                                                                          \
            UNROLL for (unsigned p = 0; p < PARTS; p++) {                                                                \
                quad weights[QUADS];                                                                                   \
                load_##type(w.quants + b * (bytes), p, weights);                                                       \
                vf scales = load_scales(w.scales + b * GROUP + p * MIA_LANES);                                         \
                UNROLL for (unsigned m = 0; m < columns; m++) {                                                          \
                    const mia__cpu_block *column = x + b * columns + m;                                                \
                    vf dots = vi_to_vf(block_dot(weights, column, bias, small));                                       \
                    sums[p][m] = vf_fma(dots, scales * column->scale, sums[p][m]);                                     \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL for (unsigned m = 0; m < columns; m++) UNROLL for (unsigned p = 0; p < PARTS; p++)                          \
            write_sums(tile, p * MIA_LANES, m, sums[p][m]);                                                            \
    }

PRODUCT(q8_0, GROUP * BLOCK, BIAS_Q8_0, false)
PRODUCT(q4_0, GROUP * BLOCK / 2, BIAS_Q4_0, true)

#define CASE(type, columns)                                                                                            \
    case columns: product_of_##type(w, x, blocks, tile, columns); break;

#if MIA_LANES == 16
#define CASES(t) CASE(t, 1) CASE(t, 2) CASE(t, 3) CASE(t, 4) CASE(t, 5) CASE(t, 6) CASE(t, 7) CASE(t, 8)
#elif MIA_LANES == 8
#define CASES(t) CASE(t, 1) CASE(t, 2) CASE(t, 3) CASE(t, 4)
#else
#define CASES(t) CASE(t, 1) CASE(t, 2)
#endif

static void product_q8_0(mia__cpu_quants w, const mia__cpu_block *x, size_t blocks, const mia__cpu_tile *tile) {
    switch (tile->m) { CASES(q8_0) }
}

static void product_q4_0(mia__cpu_quants w, const mia__cpu_block *x, size_t blocks, const mia__cpu_tile *tile) {
    switch (tile->m) { CASES(q4_0) }
}

/* --- weights as f32 --------------------------------------------------------------------------------------------------- */

#define UNPACK(type, bytes, bias)                                                                                      \
    static void unpack_##type(mia__cpu_quants w, size_t blocks, float *out) {                                          \
        for (size_t b = 0; b < blocks; b++) {                                                                          \
            for (unsigned p = 0; p < PARTS; p++) {                                                                     \
                quad weights[QUADS];                                                                                   \
                load_##type(w.quants + b * (bytes), p, weights);                                                       \
                vf scales = load_scales(w.scales + b * GROUP + p * MIA_LANES);                                         \
                for (unsigned i = 0; i < BLOCK; i++) {                                                                 \
                    vi value = (((vi)((vu)weights[i / 4] >> (8 * (i % 4)))) & 0xff) - (bias);                          \
                    vf_store(out + (b * BLOCK + i) * GROUP + p * MIA_LANES, vi_to_vf(value) * scales);                 \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

UNPACK(q8_0, GROUP * BLOCK, 128)
UNPACK(q4_0, GROUP * BLOCK / 2, 8)

/* --- activations ------------------------------------------------------------------------------------------------------ */

/* Blocks that the quick way would spoil. Very small numbers are lifted out of the range where 127 / max overflows. In a
 * block with an infinite number the finite ones do not count; one with NaN becomes NaN. */
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
