/* Element-wise operations on contiguous f32, and conversions between f32 and 16-bit floats. Included once
 * for each instruction set. A lane's result depends on that lane alone, so it does not matter where a row is
 * cut. */
#include "backend/cpu/template/functions.h"

/* --- functions of a vector -------------------------------------------------------------------- */

INLINE vf op_neg(vf x) {
    return (vf)((vu)x ^ 0x80000000u);
}
INLINE vf op_abs(vf x) {
    return vf_abs(x);
}
INLINE vf op_square(vf x) {
    return x * x;
}
INLINE vf op_relu(vf x) {
    return vf_select(x < 0.0f, vf_set(0), x);
}
INLINE vf op_sqrt(vf x) {
    return vf_sqrt(x);
}
INLINE vf op_rsqrt(vf x) {
    return 1.0f / vf_sqrt(x);
}
INLINE vf op_reciprocal(vf x) {
    return 1.0f / x;
}
INLINE vf op_exp(vf x) {
    return vf_exp(x);
}
/* Below 0 it is exp(x) / (1 + exp(x)), which does not overflow where the result has still digits. */
INLINE vf op_sigmoid(vf x) {
    vf e = vf_exp(-vf_abs(x));
    return vf_select(x < 0.0f, e, vf_set(1)) / (1.0f + e);
}
INLINE vf op_silu(vf x) {
    return x / (1.0f + vf_exp(-x));
}

INLINE vf op_log(vf x) {
    return vf_log(x);
}
INLINE vf op_sign(vf x) {
    return vf_select(x > 0.0f, vf_set(1), vf_select(x < 0.0f, vf_set(-1), x));
}
INLINE vf op_sin(vf x) {
    return vf_select(x == 0.0f, x, vf_sin(x, 0, sin));
}
INLINE vf op_cos(vf x) {
    return vf_sin(x, 1, cos);
}
INLINE vf op_erf(vf x) {
    return vf_erf(x);
}
INLINE vf op_floor(vf x) {
    return vf_floor(x);
}
INLINE vf op_ceil(vf x) {
    return -vf_floor(-x);
}
INLINE vf op_round(vf x) {
    return vf_round(x);
}
INLINE vf op_softplus(vf x) {
    return vf_softplus(x);
}
INLINE vf op_hardswish(vf x) {
    return x * (vf_min(vf_max(x + 3.0f, vf_set(0)), vf_set(6)) * (1.0f / 6.0f));
}
INLINE vf op_squared_relu(vf x) {
    vf positive = op_relu(x);
    return positive * positive;
}

/* Near 0 an odd polynomial, which keeps the digits that 1 - 2 / (e^2x + 1) loses there. */
INLINE vf op_tanh(vf x) {
    vf magnitude = vf_abs(x), u = x * x;
    vf p = vf_set(-0x1.76ac0cp-8f);
    p = vf_fma(p, u, vf_set(0x1.5256d4p-6f));
    p = vf_fma(p, u, vf_set(-0x1.b84448p-5f));
    p = vf_fma(p, u, vf_set(0x1.110768p-3f));
    p = vf_fma(p, u, vf_set(-0x1.555534p-2f));
    vf near = vf_fma(p * u, x, x);
    vf far = 1.0f - 2.0f / (vf_exp(magnitude + magnitude) + 1.0f);
    far = (vf)((vi)far | ((vi)x & (vi)vf_set(-0.0f)));
    return vf_select(magnitude < 0.625f, near, far);
}

/* x times the normal distribution's Phi, whose upper tail is that of erf by Abramowitz and Stegun, 7.1.26:
 * off by at most 0.75e-7, which is 0.63 units of epsilon. */
INLINE vf op_gelu(vf x) {
    vf z = vf_abs(x) * 0x1.6a09e6p-1f;
    vf t = 1.0f / vf_fma(z, vf_set(0.3275911f), vf_set(1));
    vf p = vf_set(1.061405429f);
    p = vf_fma(p, t, vf_set(-1.453152027f));
    p = vf_fma(p, t, vf_set(1.421413741f));
    p = vf_fma(p, t, vf_set(-0.284496736f));
    p = vf_fma(p, t, vf_set(0.254829592f));
    vf tail = 0.5f * p * t * vf_exp(-z * z); /* 1 - Phi(|x|) */
    return x * vf_select(x < 0.0f, tail, 1.0f - tail);
}

/* (1 + tanh(y)) / 2 is sigmoid(2 y). */
INLINE vf op_gelu_tanh(vf x) {
    vf inner = x * vf_fma(x * x, vf_set(0.044715f * 1.5957691216057308f), vf_set(1.5957691216057308f));
    return x / (1.0f + vf_exp(-inner));
}

INLINE vf op_add(vf a, vf b) {
    return a + b;
}
INLINE vf op_sub(vf a, vf b) {
    return a - b;
}
INLINE vf op_mul(vf a, vf b) {
    return a * b;
}
INLINE vf op_div(vf a, vf b) {
    return a / b;
}
INLINE vf op_min(vf a, vf b) {
    return vf_min(a, b);
}
INLINE vf op_max(vf a, vf b) {
    return vf_max(a, b);
}
INLINE vf op_pow(vf a, vf b) {
    return vf_pow(a, b);
}
INLINE vf op_mod(vf a, vf b) {
    return vf_rest(a, b, true);
}
INLINE vf op_fmod(vf a, vf b) {
    return vf_rest(a, b, false);
}

/* With attributes. */
INLINE vf op_leaky_relu(vf x, vf slope, vf unused) {
    (void)unused;
    return vf_select(x < 0.0f, slope * x, x);
}
INLINE vf op_elu(vf x, vf alpha, vf unused) {
    (void)unused;
    return vf_select(x < 0.0f, alpha * vf_expm1(x), x);
}
INLINE vf op_clamp(vf x, vf low, vf high) {
    return vf_min(vf_max(x, low), high);
}

/* --- rows ------------------------------------------------------------------------------------- */

#define UNARY(name)                                                                                          \
    static void unary_##name(float *out, const float *x, size_t count) {                                     \
        size_t i = 0;                                                                                        \
        for (; i + MIA_LANES <= count; i += MIA_LANES) vf_store(out + i, op_##name(vf_load(x + i)));         \
        if (i < count) vf_store_part(out + i, op_##name(vf_load_part(x + i, count - i)), count - i);         \
    }                                                                                                        \
    static void span_##name(const mia__cpu_span *span) {                                                     \
        unary_##name(span->out, span->in[0], span->count);                                                   \
    }

#define BINARY(name)                                                                                         \
    static void binary_##name(float *out, const float *a, const float *b, size_t count) {                    \
        size_t i = 0;                                                                                        \
        for (; i + MIA_LANES <= count; i += MIA_LANES)                                                       \
            vf_store(out + i, op_##name(vf_load(a + i), vf_load(b + i)));                                    \
        if (i == count) return;                                                                              \
        vf last = op_##name(vf_load_part(a + i, count - i), vf_load_part(b + i, count - i));                 \
        vf_store_part(out + i, last, count - i);                                                             \
    }                                                                                                        \
    static void span_##name(const mia__cpu_span *span) {                                                     \
        binary_##name(span->out, span->in[0], span->in[1], span->count);                                     \
    }

#define WITH_ATTRIBUTES(name)                                                                                \
    static void span_##name(const mia__cpu_span *span) {                                                     \
        float *out = span->out;                                                                              \
        const float *x = span->in[0];                                                                        \
        vf f = vf_set((float)span->f[0]), g = vf_set((float)span->f[1]);                                     \
        size_t i = 0, rest = span->count % MIA_LANES, whole = span->count - rest;                            \
        for (; i < whole; i += MIA_LANES) vf_store(out + i, op_##name(vf_load(x + i), f, g));                \
        if (rest > 0) vf_store_part(out + i, op_##name(vf_load_part(x + i, rest), f, g), rest);              \
    }

#define EACH_SIMPLE(X)          X(neg) X(abs) X(square) X(relu) X(sqrt) X(rsqrt) X(reciprocal) X(sign)
#define EACH_ROUNDING(X)        X(floor) X(ceil) X(round)
#define EACH_FUNCTION(X)        X(exp) X(log) X(tanh) X(sigmoid) X(sin) X(cos) X(erf)
#define EACH_ACTIVATION(X)      X(silu) X(gelu) X(gelu_tanh) X(softplus) X(hardswish) X(squared_relu)
#define EACH_UNARY(X)           EACH_SIMPLE(X) EACH_ROUNDING(X) EACH_FUNCTION(X) EACH_ACTIVATION(X)
#define EACH_BINARY(X)          X(add) X(sub) X(mul) X(div) X(min) X(max) X(pow) X(mod) X(fmod)
#define EACH_WITH_ATTRIBUTES(X) X(leaky_relu) X(elu) X(clamp)

EACH_UNARY(UNARY)
EACH_BINARY(BINARY)
EACH_WITH_ATTRIBUTES(WITH_ATTRIBUTES)

#define WIDEN(type, scalar)                                                                                  \
    static void widen_##type(float *out, const uint16_t *x, size_t count) {                                  \
        size_t i = 0;                                                                                        \
        for (; i + MIA_LANES <= count; i += MIA_LANES) vf_store(out + i, vf_load_##type(x + i));             \
        for (; i < count; i++) out[i] = scalar(x[i]);                                                        \
    }

WIDEN(f16, mia__f16_to_f32)
WIDEN(bf16, mia__bf16_to_f32)

static void narrow_f16(uint16_t *out, const float *x, size_t count) {
    size_t i = 0;
    for (; i + MIA_LANES <= count; i += MIA_LANES) vf_store_f16(out + i, vf_load(x + i));
    for (; i < count; i++) out[i] = mia__f32_to_f16(x[i]);
}

static void narrow_bf16(uint16_t *out, const float *x, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = mia__f32_to_bf16(x[i]);
}

/* f32 rounded to a 16-bit type and back, a few numbers at a time. */
#define FIT(type)                                                                                            \
    static void fit_##type(const mia__cpu_span *span) {                                                      \
        float *out = span->out;                                                                              \
        const float *x = span->in[0];                                                                        \
        uint16_t halves[64];                                                                                 \
        for (size_t i = 0; i < span->count; i += 64) {                                                       \
            size_t count = span->count - i < 64 ? span->count - i : 64;                                      \
            narrow_##type(halves, x + i, count);                                                             \
            widen_##type(out + i, halves, count);                                                            \
        }                                                                                                    \
    }
FIT(f16)
FIT(bf16)

#define SET_SPAN(name) kernels->spans[MIA__CPU_LANE_F32][MIA_OP_##name - MIA_OP_add] = span_##name;
#define SET_UNARY(name)                                                                                      \
    kernels->unary[mia__cpu_unary(MIA_OP_##name)] = unary_##name;                                            \
    SET_SPAN(name)
#define SET_BINARY(name)                                                                                     \
    kernels->binary[mia__cpu_binary(MIA_OP_##name)] = binary_##name;                                         \
    SET_SPAN(name)

FILL_FAMILY(elementwise) {
    EACH_UNARY(SET_UNARY)
    EACH_BINARY(SET_BINARY)
    EACH_WITH_ATTRIBUTES(SET_SPAN)
    kernels->fit[MIA_f16] = kernels->convert[MIA__CPU_LANE_F32][MIA_f16] = fit_f16;
    kernels->fit[MIA_bf16] = kernels->convert[MIA__CPU_LANE_F32][MIA_bf16] = fit_bf16;
    kernels->widen_f16 = widen_f16;
    kernels->widen_bf16 = widen_bf16;
    kernels->narrow_f16 = narrow_f16;
    kernels->narrow_bf16 = narrow_bf16;
}
