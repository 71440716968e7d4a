/* Functions of vectors of f32 that take more than a few instructions. Where f32 has not the digits, halves of
 * a vector are computed in double; the few numbers that no polynomial is made for (powers of zero, angles
 * beyond a million) go one by one to the C library.
 *
 * Coefficients are Chebyshev fits, made for the stated intervals. */
#ifndef MIA_BACKEND_CPU_TEMPLATE_FUNCTIONS_H
#define MIA_BACKEND_CPU_TEMPLATE_FUNCTIONS_H

#include "backend/cpu/template/simd.h"

/* --- halves in double ------------------------------------------------------------------------- */

typedef float vf_half __attribute__((vector_size(2 * MIA_LANES)));
typedef double vd __attribute__((vector_size(4 * MIA_LANES)));
typedef int64_t vl __attribute__((vector_size(4 * MIA_LANES)));

INLINE vd vd_of(vf x, unsigned half) {
    vf_half part;
    memcpy(&part, (const char *)&x + half * sizeof part, sizeof part);
    return __builtin_convertvector(part, vd);
}

INLINE void vd_into(vf *out, unsigned half, vd x) {
    vf_half part = __builtin_convertvector(x, vf_half);
    memcpy((char *)out + half * sizeof part, &part, sizeof part);
}

INLINE vd vd_select(vl mask, vd a, vd b) {
    return (vd)((mask & (vl)a) | (~mask & (vl)b));
}

/* The nearest whole number, for |x| < 2^51. */
INLINE vd vd_round(vd x) {
    return (x + 0x1.8p52) - 0x1.8p52;
}

/* --- signs and whole numbers ------------------------------------------------------------------ */

INLINE vf vf_with_sign(vf magnitude, vf sign) {
    return (vf)(((vi)magnitude & 0x7fffffff) | ((vi)sign & (vi)vf_set(-0.0f)));
}

/* To nearest even; what has no digits behind the point stays. */
INLINE vf vf_round(vf x) {
    vf magnitude = vf_abs(x), rounded = (magnitude + 0x1p23f) - 0x1p23f;
    return vf_with_sign(vf_select(magnitude < 0x1p23f, rounded, magnitude), x);
}

INLINE vf vf_floor(vf x) {
    vf rounded = vf_round(x);
    return rounded - vf_select(rounded > x, vf_set(1), vf_set(0));
}

/* --- logarithms ------------------------------------------------------------------------------- */

/* log(1 + f) for sqrt(1/2) <= 1 + f <= sqrt(2), less f, which has to be added last. */
INLINE vf vf_log1p_rest(vf f) {
    vf p = vf_set(0x1.1d8ea6p-4f);
    p = vf_fma(p, f, vf_set(-0x1.d635bcp-4f));
    p = vf_fma(p, f, vf_set(0x1.dea282p-4f));
    p = vf_fma(p, f, vf_set(-0x1.fcf4c6p-4f));
    p = vf_fma(p, f, vf_set(0x1.23d21ap-3f));
    p = vf_fma(p, f, vf_set(-0x1.555b4ap-3f));
    p = vf_fma(p, f, vf_set(0x1.999d5ap-3f));
    p = vf_fma(p, f, vf_set(-0x1.fffffcp-3f));
    p = vf_fma(p, f, vf_set(0x1.555554p-2f));
    vf square = f * f;
    return vf_fma(p * f, square, square * -0.5f);
}

/* x = 2^e m with sqrt(1/2) <= m < sqrt(2), for finite x > 0. */
INLINE vf vf_split(vf x, vf *e) {
    vi tiny = x < 0x1p-126f;
    vi bits = (vi)vf_select(tiny, x * 0x1p24f, x), exponent = (bits - 0x3f3504f3) >> 23;
    *e = vi_to_vf(exponent) - vf_select(tiny, vf_set(24), vf_set(0));
    return (vf)(bits - exponent * (1 << 23));
}

INLINE vf vf_log(vf x) {
    vf e, f = vf_split(vf_abs(x), &e) - 1.0f;
    vf rest = vf_fma(e, vf_set(0x1.7f7d1cp-20f), vf_log1p_rest(f));
    vf result = vf_fma(e, vf_set(0x1.62e4p-1f), f + rest);
    result = vf_select(x < INFINITY, result, x);
    result = vf_select(x < 0.0f, vf_set(NAN), result);
    return vf_select(x == 0.0f, vf_set(-INFINITY), result);
}

/* max(x, 0) + log(1 + t) with t = exp(-|x|); above sqrt(2) - 1 it is log 2 + log(1 + (t - 1) / 2). */
INLINE vf vf_softplus(vf x) {
    vf t = vf_exp(-vf_abs(x));
    vi high = t > 0x1.a8279ap-2f;
    vf f = vf_select(high, (t - 1.0f) * 0.5f, t);
    vf log = vf_select(high, vf_set(0x1.62e43p-1f), vf_set(0)) + (f + vf_log1p_rest(f));
    return vf_select(x > 0.0f, x, vf_set(0)) + log;
}

/* --- powers ----------------------------------------------------------------------------------- */

/* log2(m) + e times b, in double, by the series of the inverse hyperbolic tangent: off by less than 2^-32. */
INLINE vd vd_exponent(vd m, vd e, vd b) {
    vd s = (m - 1.0) / (m + 1.0), square = s * s;
    vd p = square * 0x1.c68f568d31760p-3 + 0x1.0c9a84994022dp-2;
    p = p * square + 0x1.484b13d7c02a9p-2;
    p = p * square + 0x1.a61762a7aded9p-2;
    p = p * square + 0x1.2776c50ef9bfep-1;
    p = p * square + 0x1.ec709dc3a03fdp-1;
    p = p * square + 0x1.71547652b82fep+1;
    vd y = (e + s * p) * b;
    const vd most = (vd){0} + 160.0;
    y = vd_select((vl)(y > most), most, y);
    return vd_select((vl)(y < -most), -most, y);
}

/* 2^(n + f) for whole |n| <= 160 and |f| <= 1/2. */
INLINE vf vf_exp2(vf n, vf f) {
    vf p = vf_set(0x1.00a582p-16f);
    p = vf_fma(p, f, vf_set(0x1.444p-13f));
    p = vf_fma(p, f, vf_set(0x1.5d879ep-10f));
    p = vf_fma(p, f, vf_set(0x1.3b2a1cp-7f));
    p = vf_fma(p, f, vf_set(0x1.c6b08ep-5f));
    p = vf_fma(p, f, vf_set(0x1.ebfbep-3f));
    p = vf_fma(p, f, vf_set(0x1.62e43p-1f));
    p = vf_fma(p, f, vf_set(1));
    const vf magic = vf_set(0x1.8p23f);
    vi whole = (vi)((vu)(n + magic) - (vu)magic), half = whole >> 1;
    return p * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
}

INLINE vf vf_pow(vf a, vf b) {
    vf magnitude = vf_abs(a), e, m = vf_split(magnitude, &e), n = {0}, f = {0};
    EACH(half, 2) {
        vd y = vd_exponent(vd_of(m, half), vd_of(e, half), vd_of(b, half)), whole = vd_round(y);
        vd_into(&n, half, whole);
        vd_into(&f, half, y - whole);
    }
    vf result = vf_exp2(n, f), half_b = b * 0.5f;
    vi is_whole = vf_round(b) == b, is_odd = is_whole & ~(vf_round(half_b) == half_b);
    vi negative = a < 0.0f;
    result = vf_select(negative & is_odd, -result, vf_select(negative & ~is_whole, vf_set(NAN), result));
    vi others = (magnitude == 0.0f) | ~(magnitude < INFINITY) | ~(vf_abs(b) < INFINITY);
    if (vi_any(others))
        for (unsigned i = 0; i < MIA_LANES; i++)
            if (others[i]) result[i] = (float)pow((double)a[i], (double)b[i]);
    return result;
}

/* --- rests of a division ---------------------------------------------------------------------- */

/* a less the whole multiple of b that leaves a rest of the sign of `sign` (a's or b's), smaller than b. Exact
 * before it is rounded to f32: in double the product of b and a multiple below 2^29 is. */
INLINE vf vf_rest(vf a, vf b, bool of_divisor) {
    vf sign = of_divisor ? b : a, result = {0};
    EACH(half, 2) {
        vd x = vd_of(a, half), y = vd_of(b, half), s = vd_of(sign, half);
        vd rest = x - vd_round(x / y) * y, size = vd_select((vl)(y < 0.0), -y, y);
        vd other = rest + vd_select((vl)(s < 0.0), -size, size);
        vl wrong = ((vl)(rest < 0.0) ^ (vl)(s < 0.0)) & (vl)(rest != 0.0);
        vd_into(&result, half, vd_select(wrong, other, rest));
    }
    /* not vf_with_sign(result, sign), of which clang 14 makes a wrong vpternlogd under a mask */
    result = vf_select(result == 0.0f, (vf)((vi)sign & (vi)vf_set(-0.0f)), result);
    vi others = ~(vf_abs(a) < vf_abs(b) * 0x1p28f) | ~(vf_abs(b) < INFINITY);
    others &= ~((a == 0.0f) & (b != 0.0f) & (vf_abs(b) < INFINITY));
    if (vi_any(others))
        for (unsigned i = 0; i < MIA_LANES; i++) {
            if (!others[i]) continue;
            double rest = fmod((double)a[i], (double)b[i]), y = (double)b[i];
            if (of_divisor) rest = rest == 0 ? copysign(rest, y) : (rest < 0) != (y < 0) ? rest + y : rest;
            result[i] = (float)rest;
        }
    return result;
}

/* --- sine and cosine -------------------------------------------------------------------------- */

#define LARGEST_ANGLE 0x1p20f

/* The sine of x and `turns` quarter turns. x less a multiple of pi / 2, in double and in two parts, of which
 * the first is short: its products with whole numbers up to 2^20 are exact. */
INLINE vf vf_sin(vf x, int turns, double (*one)(double)) {
    vf n = {0}, r = {0};
    EACH(half, 2) {
        vd angle = vd_of(x, half), whole = vd_round(angle * 0x1.45f306dc9c883p-1);
        vd_into(&r, half, (angle - whole * 0x1.921fb544p0) - whole * 0x1.0b4611a626331p-34);
        vd_into(&n, half, whole);
    }
    const vf magic = vf_set(0x1.8p23f);
    vi quarter = (vi)((vu)(n + magic) - (vu)magic + (uint32_t)turns);
    vf u = r * r;
    vf s = vf_fma(vf_fma(vf_set(-0x1.9ac9bp-13f), u, vf_set(0x1.110c28p-7f)), u, vf_set(-0x1.555552p-3f));
    vf c = vf_fma(vf_fma(vf_set(0x1.9bd89cp-16f), u, vf_set(-0x1.6c12d2p-10f)), u, vf_set(0x1.555554p-5f));
    s = vf_fma(s * u, r, r);
    c = vf_fma(c * u, u, vf_fma(u, vf_set(-0.5f), vf_set(1)));
    vf result = vf_select((quarter & 1) != 0, c, s);
    result = (vf)((vi)result ^ (quarter & 2) << 30);
    vi large = vf_abs(x) > LARGEST_ANGLE;
    if (vi_any(large))
        for (unsigned i = 0; i < MIA_LANES; i++)
            if (large[i]) result[i] = (float)one((double)x[i]);
    return result;
}

/* --- others ----------------------------------------------------------------------------------- */

/* e^x - 1 for x <= 0: 2^n (e^r - 1) + (2^n - 1). */
INLINE vf vf_expm1(vf x) {
    vi whole;
    vf q = vf_exp_rest(vf_select(x < -30.0f, vf_set(-30), x), &whole);
    vf power = (vf)((whole + 127) << 23);
    return vf_fma(power, q, power - 1.0f);
}

/* Below 1 an odd polynomial. Above, 1 less Abramowitz and Stegun's 7.1.26, off by at most 1.5e-7. */
INLINE vf vf_erf(vf x) {
    vf z = vf_abs(x), u = x * x;
    vf near = vf_set(-0x1.56d132p-17f);
    near = vf_fma(near, u, vf_set(0x1.e05216p-14f));
    near = vf_fma(near, u, vf_set(-0x1.be17c2p-11f));
    near = vf_fma(near, u, vf_set(0x1.5644ep-8f));
    near = vf_fma(near, u, vf_set(-0x1.b82bf2p-6f));
    near = vf_fma(near, u, vf_set(0x1.ce2f1ep-4f));
    near = vf_fma(near, u, vf_set(-0x1.812746p-2f));
    near = x * vf_fma(near, u, vf_set(0x1.20dd76p0f));
    vf t = 1.0f / vf_fma(z, vf_set(0.3275911f), vf_set(1));
    vf p = vf_set(1.061405429f);
    p = vf_fma(p, t, vf_set(-1.453152027f));
    p = vf_fma(p, t, vf_set(1.421413741f));
    p = vf_fma(p, t, vf_set(-0.284496736f));
    p = vf_fma(p, t, vf_set(0.254829592f));
    vf far = vf_with_sign(1.0f - p * t * vf_exp(-u), x);
    return vf_select(z < 1.0f, near, far);
}

#endif
