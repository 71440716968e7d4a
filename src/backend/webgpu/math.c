/* Functions of numbers in WGSL (math.h). Coefficients are Chebyshev fits made for the stated intervals, those of the cpu
 * backend (cpu/template/functions.h), which says more of each. */
#include "backend/webgpu/math.h"

#include <stdio.h>
#include <string.h>

typedef struct function {
    const char *name;
    const char *needs; /* names, with blanks between them */
    const char *wgsl;
} function;

static const function functions[] = {
    /* --- bits --------------------------------------------------------------------------------- */

    /* not constants, which WGSL refuses to be what is no number */
    {"m_nan", NULL, "fn m_nan() -> f32 { var b = 0x7fc00000u; return bitcast<f32>(b); }\n"},
    {"m_infinity", NULL, "fn m_infinity() -> f32 { var b = 0x7f800000u; return bitcast<f32>(b); }\n"},
    {"m_is_nan", NULL,
     "fn m_is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }\n"},
    /* an or, since two of them are none the less one: with an exclusive or the second undoes the first */
    {"m_kept", NULL, "fn m_kept(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) | p.zero); }\n"},
    {"m_kept4", "m_kept",
     "fn m_kept4(x: vec4<f32>) -> vec4<f32> {\n"
     "    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(x) | vec4<u32>(p.zero));\n}\n"},
    {"m_with_sign", NULL,
     "fn m_with_sign(x: f32, sign: f32) -> f32 {\n"
     "    return bitcast<f32>((bitcast<u32>(x) & 0x7fffffffu) | (bitcast<u32>(sign) & 0x80000000u));\n}\n"},
    /* the first 12 digits of the mantissa: two such have an exact product */
    {"m_short", NULL, "fn m_short(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u); }\n"},
    {"m_min", "m_is_nan m_nan",
     "fn m_min(a: f32, b: f32) -> f32 {\n"
     "    if (m_is_nan(a) || m_is_nan(b)) { return m_nan(); }\n    return select(b, a, a < b);\n}\n"},
    {"m_max", "m_is_nan m_nan",
     "fn m_max(a: f32, b: f32) -> f32 {\n"
     "    if (m_is_nan(a) || m_is_nan(b)) { return m_nan(); }\n    return select(b, a, a > b);\n}\n"},
    /* x 2^n for |n| <= 252, in two factors, so that neither leaves the range */
    {"m_scale", "m_kept",
     "fn m_scale(x: f32, n: i32) -> f32 {\n"
     "    let h = n >> 1u;\n"
     "    return m_kept(x * bitcast<f32>((h + 127) << 23u)) * bitcast<f32>((n - h + 127) << 23u);\n}\n"},

    /* --- f16 ---------------------------------------------------------------------------------- */

    /* base/half.h's conversions, whatever the GPU's own do of numbers below the normal ones */
    {"m_to_half", NULL,
     "fn m_to_half(x: f32) -> u32 {\n"
     "    let b = bitcast<u32>(x);\n    let sign = (b >> 16u) & 0x8000u;\n    let m = b & 0x7fffffffu;\n"
     "    if (m > 0x7f800000u) { return sign | 0x7e00u | ((m >> 13u) & 0x3ffu); }\n"
     "    if (m >= 0x47800000u) { return sign | 0x7c00u; }\n"
     "    if (m < 0x38800000u) { return sign | (bitcast<u32>(bitcast<f32>(m) + 0.5f) - 0x3f000000u); }\n"
     "    return sign | ((m - 0x38000000u + 0xfffu + ((m >> 13u) & 1u)) >> 13u);\n}\n"},
    {"m_of_half", NULL, /* of finite ones */
     "fn m_of_half(b: u32) -> f32 {\n"
     "    let m = b & 0x7fffu;\n"
     "    let x = select(bitcast<f32>((m << 13u) + 0x38000000u), f32(m) * 0x1p-24f, m < 0x400u);\n"
     "    return select(x, -x, (b & 0x8000u) != 0u);\n}\n"},

    /* --- sums and products without loss -------------------------------------------------------- */

    /* Knuth's sum, Dekker's product; |a b| within the range, and what is lost too */
    {"m_sum", "m_kept",
     "fn m_sum(a: f32, b: f32) -> vec2<f32> {\n"
     "    let s = m_kept(a + b);\n    let t = m_kept(s - a);\n"
     "    return vec2<f32>(s, m_kept(a - m_kept(s - t)) + m_kept(b - t));\n}\n"},
    {"m_product", "m_kept m_short",
     "fn m_product(a: f32, b: f32) -> vec2<f32> {\n"
     "    let r = m_kept(a * b);\n"
     "    let ah = m_short(a);\n    let al = a - ah;\n    let bh = m_short(b);\n    let bl = b - bh;\n"
     "    return vec2<f32>(r, m_kept(m_kept(m_kept(ah * bh - r) + ah * bl) + al * bh) + al * bl);\n}\n"},

    /* --- exponentials -------------------------------------------------------------------------- */

    /* x = n ln 2 + r with |r| <= ln 2 / 2: (e^r - 1, n). ln 2 in two parts, of which the first has few digits. */
    {"m_exp_rest", "m_kept",
     "fn m_exp_rest(x: f32) -> vec2<f32> {\n"
     "    let n = round(x * 0x1.715476p0f);\n"
     "    let r = m_kept(x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;\n"
     "    var q = fma(0x1.6db4e8p-10f, r, 0x1.123bdep-7f);\n"
     "    q = fma(q, r, 0x1.55545ep-5f);\n    q = fma(q, r, 0x1.55548ep-3f);\n    q = fma(q, r, 0.5f);\n"
     "    return vec2<f32>(fma(q * r, r, r), n);\n}\n"},
    {"m_exp", "m_exp_rest m_scale m_is_nan m_infinity",
     "fn m_exp(x: f32) -> f32 {\n"
     "    if (m_is_nan(x)) { return x; }\n"
     "    let q = m_exp_rest(clamp(x, -105.0f, 89.0f));\n"
     "    return select(m_scale(q.x + 1.0f, i32(q.y)), m_infinity(), x > 0x1.62e42ep6f);\n}\n"},
    /* e^x - 1 for x <= 0: 2^n (e^r - 1) + (2^n - 1) */
    {"m_expm1", "m_exp_rest",
     "fn m_expm1(x: f32) -> f32 {\n"
     "    let q = m_exp_rest(max(x, -30.0f));\n    let power = bitcast<f32>((i32(q.y) + 127) << 23u);\n"
     "    return fma(power, q.x, power - 1.0f);\n}\n"},
    {"m_sigmoid", "m_exp",
     "fn m_sigmoid(x: f32) -> f32 {\n"
     "    let e = m_exp(-abs(x));\n    return select(1.0f, e, x < 0.0f) / (1.0f + e);\n}\n"},
    /* near 0 an odd polynomial, which keeps the digits that 1 - 2 / (e^2x + 1) loses there */
    {"m_tanh", "m_exp m_with_sign",
     "fn m_tanh(x: f32) -> f32 {\n"
     "    let z = abs(x);\n"
     "    if (z < 0.625f) {\n"
     "        let u = x * x;\n"
     "        var q = fma(-0x1.76ac0cp-8f, u, 0x1.5256d4p-6f);\n        q = fma(q, u, -0x1.b84448p-5f);\n"
     "        q = fma(q, u, 0x1.110768p-3f);\n        q = fma(q, u, -0x1.555534p-2f);\n"
     "        return fma(q * u, x, x);\n    }\n"
     "    if (z > 10.0f) { return m_with_sign(1.0f, x); }\n"
     "    return m_with_sign(1.0f - 2.0f / (m_exp(z + z) + 1.0f), x);\n}\n"},

    /* --- logarithms ---------------------------------------------------------------------------- */

    /* x = 2^e m with sqrt(1/2) <= m < sqrt(2), for finite x > 0: (m, e) */
    {"m_split", NULL,
     "fn m_split(x: f32) -> vec2<f32> {\n"
     "    var b = bitcast<u32>(x);\n    var shift = 0u;\n"
     "    if (b < 0x00800000u) { shift = countLeadingZeros(b) - 8u; b = b << shift; }\n"
     "    let e = (i32(b) - 0x3f3504f3) >> 23u;\n"
     "    return vec2<f32>(bitcast<f32>(i32(b) - (e << 23u)), f32(e - i32(shift)));\n}\n"},
    /* log(1 + f) for sqrt(1/2) <= 1 + f <= sqrt(2), less f, which has to be added last */
    {"m_log1p_rest", NULL,
     "fn m_log1p_rest(f: f32) -> f32 {\n"
     "    var q = fma(0x1.1d8ea6p-4f, f, -0x1.d635bcp-4f);\n"
     "    q = fma(q, f, 0x1.dea282p-4f);\n    q = fma(q, f, -0x1.fcf4c6p-4f);\n"
     "    q = fma(q, f, 0x1.23d21ap-3f);\n    q = fma(q, f, -0x1.555b4ap-3f);\n"
     "    q = fma(q, f, 0x1.999d5ap-3f);\n    q = fma(q, f, -0x1.fffffcp-3f);\n"
     "    q = fma(q, f, 0x1.555554p-2f);\n"
     "    let s = f * f;\n    return fma(q * f, s, s * -0.5f);\n}\n"},
    {"m_log", "m_split m_log1p_rest m_is_nan m_nan m_infinity",
     "fn m_log(x: f32) -> f32 {\n"
     "    let b = bitcast<u32>(x);\n"
     "    if (m_is_nan(x) || b == 0x7f800000u) { return x; }\n"
     "    if ((b & 0x7fffffffu) == 0u) { return -m_infinity(); }\n"
     "    if (b >= 0x80000000u) { return m_nan(); }\n"
     "    let m = m_split(x);\n    let f = m.x - 1.0f;\n"
     "    return fma(m.y, 0x1.62e4p-1f, f + fma(m.y, 0x1.7f7d1cp-20f, m_log1p_rest(f)));\n}\n"},
    /* max(x, 0) + log(1 + t) with t = exp(-|x|); above sqrt(2) - 1 that is log 2 + log(1 + (t - 1) / 2) */
    {"m_softplus", "m_exp m_log1p_rest m_is_nan",
     "fn m_softplus(x: f32) -> f32 {\n"
     "    if (m_is_nan(x)) { return x; }\n"
     "    let t = m_exp(-abs(x));\n    let high = t > 0x1.a8279ap-2f;\n"
     "    let f = select(t, (t - 1.0f) * 0.5f, high);\n"
     "    return max(x, 0.0f) + (select(0.0f, 0x1.62e43p-1f, high) + (f + m_log1p_rest(f)));\n}\n"},

    /* --- powers -------------------------------------------------------------------------------- */

    /* a^b for a > 0 and finite, as 2^(b log2 a), the exponent in two parts. With s = (m - 1) / (m + 1), in a part
     * of 12 digits and the rest, log2 a = e + 2 / ln 2 (s + s^3 / 3 + s^5 / 5 + ...); what comes after s is less
     * than a hundredth of it and needs f32 only. The first parts of factors are short, so that their products are
     * exact. Off by some 2^-29 of the exponent, which is below 150. */
    {"m_pow_of", "m_split m_short m_scale m_infinity m_kept",
     "fn m_pow_of(a: f32, b: f32) -> f32 {\n"
     "    let me = m_split(a);\n    let e = me.y;\n    let f = me.x - 1.0f;\n    let d = me.x + 1.0f;\n"
     "    let dh = m_short(d);\n    let dl = f + m_kept(2.0f - dh);\n"
     "    let s = f / d;\n    let sh = m_short(s);\n    let sl = (m_kept(f - sh * dh) - sh * dl) / d;\n"
     "    let u = s * s;\n"
     "    var q = fma(u, 0x1.3b13b2p-4f, 0x1.745d18p-4f);\n    q = fma(q, u, 0x1.c71c72p-4f);\n"
     "    q = fma(q, u, 0x1.24924ap-3f);\n    q = fma(q, u, 0x1.99999ap-3f);\n    q = fma(q, u, "
     "0x1.555556p-2f);\n"
     "    let t = sh * 0x1.714p1f;\n"
     "    let low = fma(sh, 0x1.47652cp-11f, (sl + s * u * q) * 0x1.715476p1f);\n"
     "    let lh = m_short(e + t);\n    let ll = m_kept(m_kept(e - lh) + t) + low;\n"
     "    let c = clamp(b, -0x1p40f, 0x1p40f);\n    let ch = m_short(c);\n    let cl = c - ch;\n"
     "    let yh = ch * lh;\n    let yl = ch * ll + cl * (lh + ll);\n    let y = yh + yl;\n"
     "    if (y >= 129.0f) { return m_infinity(); }\n    if (y <= -152.0f) { return 0.0f; }\n"
     "    let n = round(y);\n    let r = m_kept(yh - n) + yl;\n"
     "    var z = fma(0x1.00a582p-16f, r, 0x1.444p-13f);\n    z = fma(z, r, 0x1.5d879ep-10f);\n"
     "    z = fma(z, r, 0x1.3b2a1cp-7f);\n    z = fma(z, r, 0x1.c6b08ep-5f);\n    z = fma(z, r, "
     "0x1.ebfbep-3f);\n"
     "    z = fma(z, r, 0x1.62e43p-1f);\n    z = fma(z, r, 1.0f);\n"
     "    return m_scale(z, i32(n));\n}\n"},
    {"m_pow", "m_pow_of m_is_nan m_nan m_infinity",
     "fn m_pow(a: f32, b: f32) -> f32 {\n"
     "    if (b == 0.0f || bitcast<u32>(a) == 0x3f800000u) { return 1.0f; }\n"
     "    if (m_is_nan(a) || m_is_nan(b)) { return m_nan(); }\n"
     "    let z = abs(a);\n    let endless = bitcast<u32>(z) == 0x7f800000u;\n"
     "    let whole = abs(b) >= 8388608.0f || floor(b) == b;\n"
     "    let odd = whole && abs(b) < 16777216.0f && (i32(clamp(b, -16777216.0f, 16777216.0f)) & 1) != 0;\n"
     "    var y = 0.0f;\n"
     "    if (z == 0.0f || endless) {\n"
     "        if (endless == (b > 0.0f)) { y = m_infinity(); }\n"
     "    } else {\n"
     "        if (a < 0.0f && !whole) { return m_nan(); }\n        y = m_pow_of(z, b);\n    }\n"
     "    return select(y, -y, odd && bitcast<u32>(a) >= 0x80000000u);\n}\n"},
    {"m_upow", NULL,
     "fn m_upow(a: u32, b: u32) -> u32 {\n"
     "    var y = 1u;\n    var f = a;\n"
     "    for (var left = b; left > 0u; left >>= 1u) {\n"
     "        if ((left & 1u) != 0u) { y *= f; }\n        f *= f;\n    }\n    return y;\n}\n"},
    {"m_ipow", "m_upow",
     "fn m_ipow(a: i32, b: i32) -> i32 {\n"
     "    if (b >= 0) { return bitcast<i32>(m_upow(bitcast<u32>(a), u32(b))); }\n"
     "    if (a == 1) { return 1; }\n    if (a != -1) { return 0; }\n"
     "    return select(1, -1, (b & 1) != 0);\n}\n"},

    /* --- rests of a division -------------------------------------------------------------------- */

    /* WGSL's division may be off by 2.5 units in the last place, and is only good for divisors up to 2^126. What a quotient
     * leaves of a is taken into it: off by little more than one unit, whether product and difference are fused or not. a and
     * b are brought to where none of it leaves the range. */
    {"m_divide", NULL,
     "fn m_divide(a: f32, b: f32) -> f32 {\n"
     "    let x = bitcast<u32>(a) & 0x7fffffffu;\n    let y = bitcast<u32>(b) & 0x7fffffffu;\n"
     "    if (x == 0u || x >= 0x7f800000u || y == 0u || y >= 0x7f800000u) { return a / b; }\n"
     "    let s = select(select(1.0f, 0.25f, x > 0x7e800000u), 0x1p32f, x < 0x21800000u);\n"
     "    let t = select(1.0f, 0.25f, y > 0x7e800000u);\n"
     "    let c = a * s;\n    let d = b * t;\n    let r = 1.0f / d;\n    let q = c * r;\n"
     "    if ((bitcast<u32>(q) & 0x7fffffffu) >= 0x7f800000u) { return q; }\n"
     "    return (q + fma(-q, d, c) * r) * t * (1.0f / s);\n}\n"},
    /* As IEEE's is rounded: 25 digits in whole numbers, of which the last, and what is left, decide. Results below the
     * normal numbers are 0. */
    {"m_quotient", NULL,
     "fn m_quotient(a: f32, b: f32) -> f32 {\n"
     "    let x = bitcast<u32>(a);\n    let y = bitcast<u32>(b);\n"
     "    let sign = (x ^ y) & 0x80000000u;\n"
     "    let ex = (x >> 23u) & 255u;\n    let ey = (y >> 23u) & 255u;\n"
     "    if (ex == 0u || ex == 255u || ey == 0u || ey == 255u) { return a / b; }\n"
     "    let divisor = (y & 0x7fffffu) | 0x800000u;\n"
     "    var rest = (x & 0x7fffffu) | 0x800000u;\n"
     "    var e = i32(ex) - i32(ey) + 127;\n"
     "    if (rest < divisor) { rest <<= 1u; e -= 1; }\n"
     "    var digits = 0u;\n"
     "    for (var i = 0u; i < 25u; i++) {\n"
     "        digits <<= 1u;\n"
     "        if (rest >= divisor) { rest -= divisor; digits |= 1u; }\n"
     "        rest <<= 1u;\n    }\n"
     "    let up = digits & select((digits >> 1u) & 1u, 1u, rest != 0u);\n"
     "    if (e <= 0) { return bitcast<f32>(sign); }\n"
     "    if (e >= 255) { return a / b; }\n"
     "    return bitcast<f32>(sign | ((u32(e) << 23u) + (digits >> 1u) - 0x800000u + up));\n}\n"},
    {"m_inverse", "m_quotient", /* 0 of 0 */
     "fn m_inverse(x: f32) -> f32 { if (x == 0.0) { return 0.0; } return m_quotient(1.0, x); }\n"},
    /* the same of the root that comes of WGSL's inverse one */
    {"m_sqrt", NULL,
     "fn m_sqrt(a: f32) -> f32 {\n"
     "    let b = bitcast<u32>(a);\n"
     "    if (b < 0x00800000u || b >= 0x7f800000u) { return sqrt(a); }\n"
     "    let s = select(select(1.0f, 0.25f, b > 0x7e800000u), 0x1p64f, b < 0x21800000u);\n"
     "    let c = a * s;\n    let r = inverseSqrt(c);\n    let q = c * r;\n"
     "    let root = q + fma(-q, q, c) * (0.5f * r);\n"
     "    return root * select(select(1.0f, 2.0f, s < 1.0f), 0x1p-32f, s > 1.0f);\n}\n"},
    /* with whole numbers, 8 digits of the quotient at a time: exact */
    {"m_fmod", "m_is_nan m_nan",
     "fn m_normal(b: u32) -> vec2<i32> {\n" /* mantissa with its first bit at 23, and exponent */
     "    let e = i32(b >> 23u);\n    let m = b & 0x7fffffu;\n"
     "    if (e > 0) { return vec2<i32>(i32(m | 0x800000u), e); }\n"
     "    let shift = countLeadingZeros(m) - 8u;\n    return vec2<i32>(i32(m << shift), 1 - i32(shift));\n}\n"
     "fn m_fmod(a: f32, b: f32) -> f32 {\n"
     "    let sign = bitcast<u32>(a) & 0x80000000u;\n"
     "    let x = bitcast<u32>(a) & 0x7fffffffu;\n    let y = bitcast<u32>(b) & 0x7fffffffu;\n"
     "    if (x >= 0x7f800000u || y > 0x7f800000u || y == 0u) { return m_nan(); }\n"
     "    if (x < y) { return a; }\n"
     "    let mx = m_normal(x);\n    let my = m_normal(y);\n    let m = u32(my.x);\n"
     "    var left = mx.y - my.y;\n    var r = u32(mx.x) % m;\n"
     "    while (left > 0) {\n"
     "        let step = min(left, 8);\n        r = (r << u32(step)) % m;\n        left -= step;\n    }\n"
     "    if (r == 0u) { return bitcast<f32>(sign); }\n"
     "    let shift = i32(countLeadingZeros(r)) - 8;\n    let e = my.y - shift;\n"
     "    if (e > 0) { return bitcast<f32>(sign | (u32(e) << 23u) | ((r << u32(shift)) & 0x7fffffu)); }\n"
     "    let down = my.y - 1;\n" /* below the normal numbers */
     "    return bitcast<f32>(sign | select(r >> u32(max(-down, 0)), r << u32(max(down, 0)), down >= "
     "0));\n}\n"},
    {"m_mod", "m_fmod m_with_sign",
     "fn m_mod(a: f32, b: f32) -> f32 {\n"
     "    let r = m_fmod(a, b);\n"
     "    if (r == 0.0f) { return m_with_sign(r, b); }\n"
     "    return select(r, r + b, (r < 0.0f) != (b < 0.0f));\n}\n"},

    /* --- sine and cosine ------------------------------------------------------------------------ */

    {"m_mul_high", NULL,
     "fn m_mul_high(a: u32, b: u32) -> u32 {\n"
     "    let al = a & 0xffffu;\n    let ah = a >> 16u;\n    let bl = b & 0xffffu;\n    let bh = b >> 16u;\n"
     "    let t = ah * bl + ((al * bl) >> 16u);\n    let u = al * bh + (t & 0xffffu);\n"
     "    return ah * bh + (t >> 16u) + (u >> 16u);\n}\n"},
    {"m_sine", NULL,
     "fn m_sine(r: f32, q: u32) -> f32 {\n"
     "    let u = r * r;\n"
     "    var s = fma(fma(-0x1.9ac9bp-13f, u, 0x1.110c28p-7f), u, -0x1.555552p-3f);\n    s = fma(s * u, r, "
     "r);\n"
     "    var c = fma(fma(0x1.9bd89cp-16f, u, -0x1.6c12d2p-10f), u, 0x1.555554p-5f);\n"
     "    c = fma(c * u, u, fma(u, -0.5f, 1.0f));\n"
     "    let y = select(s, c, (q & 1u) != 0u);\n    return select(y, -y, (q & 2u) != 0u);\n}\n"},
    /* Payne and Hanek: 24 digits of x times those 96 digits of 2 / pi that decide, modulo 4, by whole numbers. */
    {"m_angle", "m_mul_high",
     "struct Angle { r: f32, q: u32, }\n"
     "fn m_two_over_pi(i: u32) -> u32 {\n"
     "    switch i {\n        case 1u: { return 0x28be60dbu; }\n        case 2u: { return 0x9391054au; }\n"
     "        case 3u: { return 0x7f09d5f4u; }\n        case 4u: { return 0x7d4d3770u; }\n"
     "        case 5u: { return 0x36d8a566u; }\n        case 6u: { return 0x4f10e410u; }\n"
     "        case 7u: { return 0x7f9458eau; }\n        default: { return 0u; }\n    }\n}\n"
     "fn m_angle(x: f32) -> Angle {\n"
     "    let b = bitcast<u32>(x) & 0x7fffffffu;\n"
     "    if (b < 0x3f490fdbu) { return Angle(x, 0u); }\n"
     "    let a = (b << 8u) | 0x80000000u;\n    let e = (b >> 23u) - 126u;\n"
     "    let i = e >> 5u;\n    let s = e & 31u;\n"
     "    var w0 = m_two_over_pi(i);\n    var w1 = m_two_over_pi(i + 1u);\n"
     "    var w2 = m_two_over_pi(i + 2u);\n    let w3 = m_two_over_pi(i + 3u);\n"
     "    if (s > 0u) {\n        w0 = (w0 << s) | (w1 >> (32u - s));\n        w1 = (w1 << s) | (w2 >> (32u - "
     "s));\n"
     "        w2 = (w2 << s) | (w3 >> (32u - s));\n    }\n"
     "    let c = m_mul_high(a, w2);\n    var low = a * w1 + c;\n" /* quarter turns: 2 bits, and 62 behind the point */
     "    var high = m_mul_high(a, w1) + a * w0 + select(0u, 1u, low < c);\n"
     "    var q = high >> 30u;\n    high &= 0x3fffffffu;\n"
     "    let over = high >= 0x20000000u;\n" /* nearer to the next */
     "    if (over) {\n        high = 0x40000000u - high - select(0u, 1u, low != 0u);\n        low = 0u - "
     "low;\n"
     "        q += 1u;\n    }\n"
     "    let z = countLeadingZeros(high);\n"
     "    let top = select((high << (z & 31u)) | (low >> ((32u - z) & 31u)), low, z == 32u);\n"
     "    let t = f32(top) * bitcast<f32>((97u - z) << 23u);\n"
     "    let r = fma(t, 0x1.921fb6p0f, t * -0x1.777a5cp-25f);\n"
     "    if (bitcast<u32>(x) >= 0x80000000u) { return Angle(select(-r, r, over), 0u - q); }\n"
     "    return Angle(select(r, -r, over), q);\n}\n"},
    {"m_sin", "m_angle m_sine m_nan",
     "fn m_sin(x: f32) -> f32 {\n"
     "    if ((bitcast<u32>(x) & 0x7fffffffu) >= 0x7f800000u) { return m_nan(); }\n"
     "    let a = m_angle(x);\n    return m_sine(a.r, a.q);\n}\n"},
    {"m_cos", "m_angle m_sine m_nan",
     "fn m_cos(x: f32) -> f32 {\n"
     "    if ((bitcast<u32>(x) & 0x7fffffffu) >= 0x7f800000u) { return m_nan(); }\n"
     "    let a = m_angle(x);\n    return m_sine(a.r, a.q + 1u);\n}\n"},

    /* --- the error function and what is made of it ---------------------------------------------- */

    /* 1 - erf(z) for z >= 0 by Abramowitz and Stegun, 7.1.26: off by at most 1.5e-7 */
    {"m_erfc", "m_exp",
     "fn m_erfc(z: f32) -> f32 {\n"
     "    let t = 1.0f / fma(z, 0.3275911f, 1.0f);\n"
     "    var q = fma(1.061405429f, t, -1.453152027f);\n    q = fma(q, t, 1.421413741f);\n"
     "    q = fma(q, t, -0.284496736f);\n    q = fma(q, t, 0.254829592f);\n"
     "    return q * t * m_exp(-z * z);\n}\n"},
    {"m_erf", "m_erfc m_with_sign m_is_nan",
     "fn m_erf(x: f32) -> f32 {\n"
     "    let z = abs(x);\n    if (m_is_nan(x)) { return x; }\n"
     "    if (z >= 1.0f) { return m_with_sign(1.0f - m_erfc(min(z, 10.0f)), x); }\n"
     "    let u = x * x;\n"
     "    var q = fma(-0x1.56d132p-17f, u, 0x1.e05216p-14f);\n    q = fma(q, u, -0x1.be17c2p-11f);\n"
     "    q = fma(q, u, 0x1.5644ep-8f);\n    q = fma(q, u, -0x1.b82bf2p-6f);\n    q = fma(q, u, "
     "0x1.ce2f1ep-4f);\n"
     "    q = fma(q, u, -0x1.812746p-2f);\n    return x * fma(q, u, 0x1.20dd76p0f);\n}\n"},
    {"m_gelu", "m_erfc m_is_nan",
     "fn m_gelu(x: f32) -> f32 {\n"
     "    if (m_is_nan(x)) { return x; }\n"
     "    let tail = 0.5f * m_erfc(min(abs(x) * 0x1.6a09e6p-1f, 15.0f));\n" /* 1 - Phi(|x|) */
     "    return x * select(1.0f - tail, tail, x < 0.0f);\n}\n"},
    /* (1 + tanh(y)) / 2 is sigmoid(2 y) */
    {"m_gelu_tanh", "m_sigmoid",
     "fn m_gelu_tanh(x: f32) -> f32 {\n"
     "    let z = clamp(x, -1e6f, 1e6f);\n"
     "    return x * m_sigmoid(z * fma(z * z, 0.07135481627f, 1.59576912f));\n}\n"},

    /* --- random words (base/philox.h) ------------------------------------------------------------ */

    {"m_philox", "m_mul_high",
     "fn m_philox(block: u32, key: vec2<u32>) -> vec4<u32> {\n"
     "    var c = vec4<u32>(block, 0u, 0u, 0u);\n    var k = key;\n"
     "    for (var round = 0; round < 10; round++) {\n"
     "        let a = 0xd2511f53u * c.x;\n        let b = 0xcd9e8d57u * c.z;\n"
     "        c = vec4<u32>(m_mul_high(0xcd9e8d57u, c.z) ^ c.y ^ k.x, b,\n"
     "                      m_mul_high(0xd2511f53u, c.x) ^ c.w ^ k.y, a);\n"
     "        k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);\n    }\n    return c;\n}\n"},
};

static const function *find(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (strlen(functions[i].name) == length && memcmp(functions[i].name, name, length) == 0)
            return &functions[i];
    return NULL;
}

/* A name of a list, and where the next begins. */
static const function *next_of(const char **list) {
    size_t length = strcspn(*list, " ");
    const function *found = find(*list, length);
    *list += length;
    while (**list == ' ') (*list)++;
    return found;
}

/* Tables of needs are no deeper than the stack, and have no circles. */
void mia__kernel_math(mia__kernel *k, const char *names) {
    while (*names != 0) {
        const function *f = next_of(&names);
        if (f == NULL) continue;
        if (f->needs != NULL) mia__kernel_math(k, f->needs);
        if (strcmp(f->name, "m_kept") == 0) mia__kernel_u32(k, "zero", 0);
        mia__kernel_once(k, f->wgsl);
    }
}
