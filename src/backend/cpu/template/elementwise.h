/* Element-wise operations on contiguous f32, and conversions between f32 and 16-bit floats. Included once
 * for each instruction set. A lane's result depends on that lane alone, so it does not matter where a row is
 * cut. */
#include "backend/cpu/template/simd.h"

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
INLINE vf op_sigmoid(vf x) {
    return 1.0f / (1.0f + vf_exp(-x));
}
INLINE vf op_silu(vf x) {
    return x / (1.0f + vf_exp(-x));
}

INLINE vf op_log(vf x) {
    for (int i = 0; i < MIA_LANES; i++) x[i] = logf(x[i]);
    return x;
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

/* --- rows ------------------------------------------------------------------------------------- */

#define UNARY(name)                                                                                          \
    static void unary_##name(float *out, const float *x, size_t count) {                                     \
        size_t i = 0;                                                                                        \
        for (; i + MIA_LANES <= count; i += MIA_LANES) vf_store(out + i, op_##name(vf_load(x + i)));         \
        if (i < count) vf_store_part(out + i, op_##name(vf_load_part(x + i, count - i)), count - i);         \
    }

#define BINARY(name)                                                                                         \
    static void binary_##name(float *out, const float *a, const float *b, size_t count) {                    \
        size_t i = 0;                                                                                        \
        for (; i + MIA_LANES <= count; i += MIA_LANES)                                                       \
            vf_store(out + i, op_##name(vf_load(a + i), vf_load(b + i)));                                    \
        if (i == count) return;                                                                              \
        vf last = op_##name(vf_load_part(a + i, count - i), vf_load_part(b + i, count - i));                 \
        vf_store_part(out + i, last, count - i);                                                             \
    }

#define EACH_UNARY(X)                                                                                        \
    X(neg)                                                                                                   \
    X(abs)                                                                                                   \
    X(square)                                                                                                \
    X(relu) X(sqrt) X(rsqrt) X(reciprocal) X(exp) X(log) X(tanh) X(sigmoid) X(silu) X(gelu) X(gelu_tanh)
#define EACH_BINARY(X) X(add) X(sub) X(mul) X(div) X(min) X(max)

EACH_UNARY(UNARY)
EACH_BINARY(BINARY)

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

#define SET_UNARY(name)  kernels->unary[mia__cpu_unary(MIA_OP_##name)] = unary_##name;
#define SET_BINARY(name) kernels->binary[mia__cpu_binary(MIA_OP_##name)] = binary_##name;

FILL_FAMILY(elementwise) {
    EACH_UNARY(SET_UNARY)
    EACH_BINARY(SET_BINARY)
    kernels->widen_f16 = widen_f16;
    kernels->widen_bf16 = widen_bf16;
    kernels->narrow_f16 = narrow_f16;
    kernels->narrow_bf16 = narrow_bf16;
}
