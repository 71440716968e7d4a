/* The K formats (base/block.h draws them): blocks of 256 numbers, in runs with scales of their own that are
 * themselves quantised. The encoders are Mia's own. Each run looks for its scale among some near the obvious
 * one: it rounds its numbers with each, works out which scale fits what they were rounded to best (least
 * squares), and keeps that of the least squared error. Then the runs' scales are rounded to multiples of the
 * block's, and the numbers once more, with the scales that a reader will see.
 *
 * backend/webgpu/encode_k.c makes the same bytes by the same operations: f32s, each of them rounded by itself,
 * in the order that stands here, and none that meets a number below the normal ones. */
#include "base/block.h"

#include "base/half.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define ELEMENTS 256
#define RUN      32 /* of q4_K and q5_K */
#define RUNS     (ELEMENTS / RUN)
#define RUN_6    16 /* of q6_K */
#define RUNS_6   (ELEMENTS / RUN_6)

typedef struct block_q4_K {
    uint8_t scale[2], least[2]; /* f16s, little-endian */
    uint8_t packed[12];
    uint8_t quants[ELEMENTS / 2];
} block_q4_K;

typedef struct block_q5_K {
    uint8_t scale[2], least[2];
    uint8_t packed[12];
    uint8_t high[RUN];
    uint8_t quants[ELEMENTS / 2];
} block_q5_K;

typedef struct block_q6_K {
    uint8_t quants[ELEMENTS / 2];
    uint8_t high[ELEMENTS / 4];
    int8_t scales[RUNS_6];
    uint8_t scale[2];
} block_q6_K;

_Static_assert(sizeof(block_q4_K) == 144, "a q4_K block is packed");
_Static_assert(sizeof(block_q5_K) == 176, "a q5_K block is packed");
_Static_assert(sizeof(block_q6_K) == 210, "a q6_K block is packed");

static uint16_t load_half(const uint8_t half[2]) {
    return (uint16_t)(half[0] | (unsigned)half[1] << 8);
}

/* The nearest f16 that is finite, and what it stands for. */
static float store_half(uint8_t half[2], float value) {
    const float most = 65504;
    uint16_t bits = mia__f32_to_f16(value > most ? most : value < -most ? -most : value);
    half[0] = (uint8_t)(bits & 0xffu);
    half[1] = (uint8_t)(bits >> 8);
    return mia__f16_to_f32(bits);
}

/* --- bits ------------------------------------------------------------------------------------- */

static void load_scales(const uint8_t packed[12], int8_t *scales, uint8_t *leasts) {
    for (int j = 0; j < 4; j++) {
        scales[j] = (int8_t)(packed[j] & 63);
        leasts[j] = packed[4 + j] & 63u;
        scales[4 + j] = (int8_t)((packed[8 + j] & 15) | packed[j] >> 6 << 4);
        leasts[4 + j] = (uint8_t)(packed[8 + j] >> 4 | packed[4 + j] >> 6 << 4);
    }
}

static void store_scales(const uint8_t *scales, const uint8_t *leasts, uint8_t packed[12]) {
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(scales[j] | scales[4 + j] >> 4 << 6);
        packed[4 + j] = (uint8_t)(leasts[j] | leasts[4 + j] >> 4 << 6);
        packed[8 + j] = (uint8_t)((scales[4 + j] & 15) | (leasts[4 + j] & 15) << 4);
    }
}

/* The four lower bits of each quant: a pair of runs in the two halves of 32 bytes. */
static void load_low(const uint8_t *halves, uint8_t *quants) {
    for (int pair = 0; pair < RUNS / 2; pair++, halves += RUN, quants += 2 * RUN) {
        for (int i = 0; i < RUN; i++) quants[i] = halves[i] & 15u;
        for (int i = 0; i < RUN; i++) quants[RUN + i] = halves[i] >> 4;
    }
}

static void store_low(const uint8_t *quants, uint8_t *halves) {
    for (int pair = 0; pair < RUNS / 2; pair++, halves += RUN, quants += 2 * RUN)
        for (int i = 0; i < RUN; i++) halves[i] = (uint8_t)((quants[i] & 15u) | (quants[RUN + i] & 15u) << 4);
}

/* The fifth bits: of element i of run r, bit r of high[i]. */
static void load_high(const uint8_t *high, uint8_t *quants) {
    for (int r = 0; r < RUNS; r++, quants += RUN)
        for (int i = 0; i < RUN; i++) quants[i] = (uint8_t)(quants[i] | (high[i] >> r & 1u) << 4);
}

static void store_high(const uint8_t *quants, uint8_t *high) {
    memset(high, 0, RUN);
    for (int r = 0; r < RUNS; r++, quants += RUN)
        for (int i = 0; i < RUN; i++) high[i] = (uint8_t)(high[i] | (unsigned)(quants[i] >> 4) << r);
}

void mia__block_split_q4_K(const void *block, mia__block_parts *parts) {
    const block_q4_K *b = block;
    parts->scale = load_half(b->scale);
    parts->least = load_half(b->least);
    load_scales(b->packed, parts->scales, parts->leasts);
    load_low(b->quants, parts->quants);
}

void mia__block_split_q5_K(const void *block, mia__block_parts *parts) {
    const block_q5_K *b = block;
    parts->scale = load_half(b->scale);
    parts->least = load_half(b->least);
    load_scales(b->packed, parts->scales, parts->leasts);
    load_low(b->quants, parts->quants);
    load_high(b->high, parts->quants);
}

/* Each half of the block, 128 elements in four quarters of 32, has 64 bytes of lower and 32 of upper bits:
 *
 *     quarter   lower 4 bits              upper 2 bits, of high[i]
 *     0         low halves of n[i]        bits 0, 1
 *     1         low halves of n[32 + i]   bits 2, 3
 *     2         high halves of n[i]       bits 4, 5
 *     3         high halves of n[32 + i]  bits 6, 7 */
void mia__block_split_q6_K(const void *block, mia__block_parts *parts) {
    const block_q6_K *b = block;
    parts->scale = load_half(b->scale);
    memcpy(parts->scales, b->scales, sizeof b->scales);
    uint8_t *quants = parts->quants;
    for (int q = 0; q < 8; q++, quants += 32) { /* quarters of both halves */
        const uint8_t *low = b->quants + q / 4 * 64 + q % 2 * 32, *high = b->high + q / 4 * 32;
        for (int i = 0; i < 32; i++)
            quants[i] = (uint8_t)((low[i] >> q % 4 / 2 * 4 & 15u) | (high[i] >> q % 4 * 2 & 3u) << 4);
    }
}

static void store_q6_K(const uint8_t *quants, block_q6_K *b) {
    memset(b->quants, 0, sizeof b->quants);
    memset(b->high, 0, sizeof b->high);
    for (int q = 0; q < 8; q++, quants += 32) {
        uint8_t *low = b->quants + q / 4 * 64 + q % 2 * 32, *high = b->high + q / 4 * 32;
        for (int i = 0; i < 32; i++) {
            low[i] = (uint8_t)(low[i] | (quants[i] & 15u) << q % 4 / 2 * 4);
            high[i] = (uint8_t)(high[i] | (unsigned)(quants[i] >> 4) << q % 4 * 2);
        }
    }
}

/* --- arithmetic ------------------------------------------------------------------------------- */

#define LANES 4 /* of a sum: lane j is that of the elements 4 i + j, one after the other */

static float total(const float *lanes) {
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

/* The numbers of a block as those that it can tell apart from 0 and does not clip: scales are from 2^-24 up,
 * and the largest number that any format holds is below 2^28. So squares neither vanish nor overflow. NaN
 * becomes 0. */
static void take(const float *in, float *out) {
    const float most = 0x1p29f, least = 0x1p-30f;
    for (int i = 0; i < ELEMENTS; i++) {
        float x = in[i] > most ? most : in[i] < -most ? -most : in[i];
        out[i] = fabsf(x) >= least ? x : 0;
    }
}

static float inverse_of(float x) {
    return x == 0 ? 0 : 1.0f / x;
}

/* u without its fraction, in [0, most]: of a number plus a half, the nearest whole one. */
static float whole(float u, float most) {
    float bounded = u < most ? u : most;
    return (float)(int)(bounded > 0 ? bounded : 0);
}

/* What rounding leaves, counted in quants: a number is q + r. r is exact. */
static float left_of(float u, float q) {
    return u - (q + 0.5f);
}

/* Scales that are tried: a run's range in levels - 3 to levels + 1 steps. */
#define TRIALS 17

static float steps_of(int levels, int trial) {
    return (float)(levels - 3) + (float)trial * 0.25f;
}

/* A run's numbers are (1 + slope) * q + start, in steps above its least, with so many steps in its range; the
 * error is in squares of a step. */
typedef struct trial {
    float steps, slope, start, error;
} trial;

/* Errors that rounding alone explains are alike: then the shorter step is better, so that runs of the same few
 * numbers, whatever their order, choose the same. */
static bool is_better(const trial *made, const trial *best) {
    const float least = 0x1p-16f;
    float error = made->error > least ? made->error : least, than = best->error > least ? best->error : least;
    return error * (best->steps * best->steps) < than * (made->steps * made->steps);
}

/* --- scales with a least number --------------------------------------------------------------- */

/* x is about scale * q - least, with least >= 0. */
typedef struct fit {
    float scale, least;
} fit;

/* Sums over a run of numbers y = q + r. */
typedef struct sums {
    float q, qq, r, rr, qr;
} sums;

static sums round_run(const float *x, float low, float inverse, float levels) {
    float q1[LANES] = {0}, q2[LANES] = {0}, r1[LANES] = {0}, r2[LANES] = {0}, qr[LANES] = {0};
    for (int i = 0; i < RUN; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            float u = (x[i + j] - low) * inverse + 0.5f, q = whole(u, levels), r = left_of(u, q);
            q1[j] += q;
            q2[j] += q * q;
            r1[j] += r;
            r2[j] += r * r;
            qr[j] += q * r;
        }
    }
    return (sums){total(q1), total(q2), total(r1), total(r2), total(qr)};
}

/* The best fit to what the numbers were rounded to: the least of sum (r - slope * q - start)^2, where start is at
 * most what brings it to 0, `zero`. If all q are alike, low is 0 and the fit begins there. */
static trial fit_rounded(const sums *s, float steps, float zero) {
    float spread = RUN * s->qq - s->q * s->q; /* exact, like the sums of q */
    float start = spread > 0 ? (s->qq * s->r - s->q * s->qr) * inverse_of(spread) : zero;
    if (start > zero) start = zero;
    float rest = s->qr - start * s->q, slope = rest * inverse_of(s->qq);
    return (trial){steps, slope, start, s->rr - slope * rest - start * (2 * s->r - RUN * start)};
}

static fit fit_run(const float *x, int levels) {
    float low = 0, high = x[0];
    for (int i = 0; i < RUN; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    if (!(high > low)) return (fit){0, fabsf(low)};
    float range = high - low, inverse = inverse_of(range);
    trial best = {0};
    for (int i = 0; i < TRIALS; i++) {
        float steps = steps_of(levels, i), scaled = steps * inverse;
        sums s = round_run(x, low, scaled, (float)levels);
        trial made = fit_rounded(&s, steps, -low * scaled);
        if (i == 0 || is_better(&made, &best)) best = made;
    }
    float size = range / best.steps, shift = low + best.start * size;
    return (fit){(1 + best.slope) * size, shift < 0 ? -shift : 0};
}

/* The nearest quant of a number, as a reader will see it. */
static float quant_of(float x, float shift, float inverse, float levels) {
    return whole((x + shift) * inverse + 0.5f, levels);
}

static float error_of(const float *x, float step, float shift, float levels) {
    float lanes[LANES] = {0}, inverse = inverse_of(step);
    for (int i = 0; i < RUN; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            float off = step * quant_of(x[i + j], shift, inverse, levels) - shift - x[i + j];
            lanes[j] += off * off;
        }
    }
    return total(lanes);
}

/* A run's scale and least number as multiples of d and m: of the nearest and those beside them, the pair of
 * the least error. */
static void round_fit(const float *x, const fit *wanted, float d, float m, int levels, uint8_t *scale,
                      uint8_t *least) {
    int near_scale = (int)whole(wanted->scale * inverse_of(d) + 0.5f, 63);
    int near_least = (int)whole(wanted->least * inverse_of(m) + 0.5f, 63);
    float least_error = FLT_MAX;
    for (int s = near_scale - 1; s <= near_scale + 1; s++) {
        for (int t = near_least - 1; t <= near_least + 1; t++) {
            if (s < 0 || s > 63 || t < 0 || t > 63) continue;
            float error = error_of(x, d * (float)s, m * (float)t, (float)levels);
            if (!(error < least_error)) continue;
            least_error = error;
            *scale = (uint8_t)s;
            *least = (uint8_t)t;
        }
    }
}

/* The part that the K formats with a least number have in common. */
static void encode_with_least(const float *in, int levels, uint8_t scale[2], uint8_t least[2],
                              uint8_t packed[12], uint8_t *quants) {
    fit fits[RUNS];
    uint8_t scales[RUNS] = {0}, leasts[RUNS] = {0};
    float x[ELEMENTS], most_scale = 0, most_least = 0;
    take(in, x);
    for (int r = 0; r < RUNS; r++) {
        fits[r] = fit_run(x + r * RUN, levels);
        if (fits[r].scale > most_scale) most_scale = fits[r].scale;
        if (fits[r].least > most_least) most_least = fits[r].least;
    }
    float d = store_half(scale, most_scale / 63), m = store_half(least, most_least / 63);
    for (int r = 0; r < RUNS; r++) {
        round_fit(x + r * RUN, &fits[r], d, m, levels, &scales[r], &leasts[r]);
        float inverse = inverse_of(d * scales[r]), shift = m * leasts[r];
        for (int i = r * RUN; i < (r + 1) * RUN; i++)
            quants[i] = (uint8_t)quant_of(x[i], shift, inverse, (float)levels);
    }
    store_scales(scales, leasts, packed);
}

void mia__block_encode_q4_K(const float *in, void *block) {
    block_q4_K *b = block;
    uint8_t quants[ELEMENTS];
    encode_with_least(in, 15, b->scale, b->least, b->packed, quants);
    store_low(quants, b->quants);
}

void mia__block_encode_q5_K(const float *in, void *block) {
    block_q5_K *b = block;
    uint8_t quants[ELEMENTS];
    encode_with_least(in, 31, b->scale, b->least, b->packed, quants);
    store_low(quants, b->quants);
    store_high(quants, b->high);
}

/* --- scales alone: q6_K ----------------------------------------------------------------------- */

#define HALF_RANGE 32 /* quants are -32 .. 31, here from 0 on */

static trial try_6(const float *x, float steps, float inverse) {
    float q2[LANES] = {0}, r2[LANES] = {0}, qr[LANES] = {0};
    for (int i = 0; i < RUN_6; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            float u = x[i + j] * inverse + (HALF_RANGE + 0.5f), whole_u = whole(u, 2 * HALF_RANGE - 1);
            float q = whole_u - HALF_RANGE, r = left_of(u, whole_u);
            q2[j] += q * q;
            r2[j] += r * r;
            qr[j] += q * r;
        }
    }
    float rest = total(qr), slope = rest * inverse_of(total(q2));
    return (trial){steps, slope, 0, total(r2) - slope * rest};
}

/* The scale of a run, of either sign: the number of largest magnitude becomes -29 to -32. */
static float fit_run_6(const float *x) {
    float extreme = 0;
    trial best = {0};
    for (int i = 0; i < RUN_6; i++)
        if (fabsf(x[i]) > fabsf(extreme)) extreme = x[i];
    if (extreme == 0) return 0;
    float inverse = inverse_of(-extreme);
    for (int i = 0; i < TRIALS; i++) {
        float steps = steps_of(HALF_RANGE, i);
        trial made = try_6(x, steps, steps * inverse);
        if (i == 0 || is_better(&made, &best)) best = made;
    }
    return (1 + best.slope) * (-extreme / best.steps);
}

void mia__block_encode_q6_K(const float *in, void *block) {
    block_q6_K *b = block;
    uint8_t quants[ELEMENTS];
    float x[ELEMENTS], scales[RUNS_6], extreme = 0;
    take(in, x);
    for (int r = 0; r < RUNS_6; r++) {
        scales[r] = fit_run_6(x + r * RUN_6);
        if (fabsf(scales[r]) > fabsf(extreme)) extreme = scales[r];
    }
    float d = store_half(b->scale, extreme == 0 ? 0 : extreme / -128), inverse = inverse_of(d);
    for (int r = 0; r < RUNS_6; r++) {
        int scale = (int)whole(scales[r] * inverse + 128.5f, 255) - 128;
        float step_inverse = inverse_of(d * (float)scale);
        b->scales[r] = (int8_t)scale;
        for (int i = r * RUN_6; i < (r + 1) * RUN_6; i++)
            quants[i] = (uint8_t)whole(x[i] * step_inverse + (HALF_RANGE + 0.5f), 2 * HALF_RANGE - 1);
    }
    store_q6_K(quants, b);
}
