/* The K formats (base/block.h draws them): blocks of 256 numbers, in runs with scales of their own that are
 * themselves quantised. The encoders are Mia's own. Each run looks for its scale among some near the obvious
 * one: it rounds its numbers with each, works out which scale fits what they were rounded to best (least
 * squares), and keeps that of the least squared error. Then the runs' scales are rounded to multiples of the
 * block's, and the numbers once more, with the scales that a reader will see. */
#include "base/block.h"

#include "base/half.h"

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
static double store_half(uint8_t half[2], double value) {
    const double most = 65504;
    uint16_t bits = mia__f64_to_f16(value > most ? most : value < -most ? -most : value);
    half[0] = (uint8_t)(bits & 0xffu);
    half[1] = (uint8_t)(bits >> 8);
    return mia__f16_to_f64(bits);
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

/* --- scales with a least number --------------------------------------------------------------- */

#define TRIALS 21 /* scales that are tried: a run's range in levels - 1 to levels + 1 steps */

/* To a whole number in [0, most]; NaN gives 0. */
static int round_to(double x, int most) {
    if (!(x > 0)) return 0;
    return x >= most ? most : (int)(x + 0.5);
}

/* x is about scale * q - least, with least >= 0. */
typedef struct fit {
    double scale, least;
} fit;

/* The best fit of x to numbers rounded with `inverse`, and its squared error. */
static double fit_rounded(const float *x, double low, double inverse, int levels, fit *out) {
    double q1 = 0, q2 = 0, x1 = 0, x2 = 0, qx = 0;
    for (int i = 0; i < RUN; i++) {
        double number = (double)x[i], q = round_to((number - low) * inverse, levels);
        q1 += q;
        q2 += q * q;
        x1 += number;
        x2 += number * number;
        qx += q * number;
    }
    double spread = RUN * q2 - q1 * q1;
    if (!(spread > 0)) return (double)INFINITY;
    double scale = (RUN * qx - q1 * x1) / spread, shift = (q2 * x1 - q1 * qx) / spread;
    if (shift > 0) {
        shift = 0;
        scale = qx / q2;
    }
    *out = (fit){scale, -shift};
    return x2 + scale * (scale * q2 - 2 * qx) + shift * (RUN * shift + 2 * (scale * q1 - x1));
}

static fit fit_run(const float *x, int levels) {
    double low = 0, high = -(double)INFINITY, least_error = (double)INFINITY;
    for (int i = 0; i < RUN; i++) {
        if ((double)x[i] < low) low = (double)x[i];
        if ((double)x[i] > high) high = (double)x[i];
    }
    fit best = {0, isfinite(low) ? -low : 0};
    for (int trial = 0; high > low && trial < TRIALS; trial++) {
        fit made = {0, 0};
        double steps = levels + (2.0 * trial / (TRIALS - 1) - 1);
        double error = fit_rounded(x, low, steps / (high - low), levels, &made);
        if (!(error < least_error)) continue;
        least_error = error;
        best = made;
    }
    return best;
}

/* The nearest quant of a number, as a reader will see it. */
static int quant_of(float x, double step, double shift, int levels) {
    return step > 0 ? round_to(((double)x + shift) / step, levels) : 0;
}

static double error_of(const float *x, double step, double shift, int levels) {
    double error = 0;
    for (int i = 0; i < RUN; i++) {
        double off = step * quant_of(x[i], step, shift, levels) - shift - (double)x[i];
        error += off * off;
    }
    return error;
}

/* A run's scale and least number as multiples of d and m: of the nearest and those beside them, the pair of
 * the least error. */
static void round_fit(const float *x, const fit *wanted, double d, double m, int levels, uint8_t *scale,
                      uint8_t *least) {
    int near_scale = d > 0 ? round_to(wanted->scale / d, 63) : 0;
    int near_least = m > 0 ? round_to(wanted->least / m, 63) : 0;
    double least_error = (double)INFINITY;
    *scale = (uint8_t)near_scale;
    *least = (uint8_t)near_least;
    for (int s = near_scale - 1; s <= near_scale + 1; s++) {
        for (int t = near_least - 1; t <= near_least + 1; t++) {
            if (s < 0 || s > 63 || t < 0 || t > 63) continue;
            double error = error_of(x, d * s, m * t, levels);
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
    uint8_t scales[RUNS], leasts[RUNS];
    double most_scale = 0, most_least = 0;
    for (int r = 0; r < RUNS; r++) {
        fits[r] = fit_run(in + r * RUN, levels);
        most_scale = fmax(most_scale, fits[r].scale);
        most_least = fmax(most_least, fits[r].least);
    }
    double d = store_half(scale, most_scale / 63), m = store_half(least, most_least / 63);
    for (int r = 0; r < RUNS; r++) {
        round_fit(in + r * RUN, &fits[r], d, m, levels, &scales[r], &leasts[r]);
        for (int i = r * RUN; i < (r + 1) * RUN; i++)
            quants[i] = (uint8_t)quant_of(in[i], d * scales[r], m * leasts[r], levels);
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

#define HALF_RANGE 32 /* quants are -32 .. 31 */

static int round_signed(double x, int low, int high) {
    return low + round_to(x - low, high - low);
}

/* The scale of a run, of either sign: the number of largest magnitude becomes about -32. */
static double fit_run_6(const float *x) {
    double extreme = 0, best = 0, most = 0;
    for (int i = 0; i < RUN_6; i++)
        if (fabs((double)x[i]) > fabs(extreme)) extreme = (double)x[i];
    for (int trial = 0; extreme != 0 && trial < TRIALS; trial++) {
        double steps = HALF_RANGE + (2.0 * trial / (TRIALS - 1) - 1), inverse = -steps / extreme;
        double qx = 0, q2 = 0;
        for (int i = 0; i < RUN_6; i++) {
            double q = round_signed((double)x[i] * inverse, -HALF_RANGE, HALF_RANGE - 1);
            qx += q * (double)x[i];
            q2 += q * q;
        }
        /* the squared error is that of all zeros less this */
        if (!(q2 > 0 && qx * qx / q2 > most)) continue;
        most = qx * qx / q2;
        best = qx / q2;
    }
    return best;
}

void mia__block_encode_q6_K(const float *in, void *block) {
    block_q6_K *b = block;
    uint8_t quants[ELEMENTS];
    double scales[RUNS_6], extreme = 0;
    for (int r = 0; r < RUNS_6; r++) {
        scales[r] = fit_run_6(in + r * RUN_6);
        if (fabs(scales[r]) > fabs(extreme)) extreme = scales[r];
    }
    double d = store_half(b->scale, extreme / -128);
    for (int r = 0; r < RUNS_6; r++) {
        b->scales[r] = (int8_t)(fabs(d) > 0 ? round_signed(scales[r] / d, -128, 127) : 0);
        double step = d * b->scales[r];
        for (int i = r * RUN_6; i < (r + 1) * RUN_6; i++) {
            double q = fabs(step) > 0 ? (double)in[i] / step : 0;
            quants[i] = (uint8_t)(HALF_RANGE + round_signed(q, -HALF_RANGE, HALF_RANGE - 1));
        }
    }
    store_q6_K(quants, b);
}
