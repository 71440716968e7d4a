/* Element-wise operations on contiguous i32, u32 and f64, and what goes from one lane to another: comparisons,
 * choices, conversions. Plain loops that the compiler makes vectors of; included once for each instruction
 * set. */
#include "backend/cpu/template/simd.h"

#include <limits.h>

/* A lane's result depends on that lane alone, also where the output is an operand. clang's word for it warns of
 * every loop that stays as it is, so there the check at run time has to do. */
#if defined(__clang__)
#define INDEPENDENT
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

#define SPAN(name, to, from, value)                                                                          \
    static void name(const mia__cpu_span *span) {                                                            \
        to *out = span->out;                                                                                 \
        const from *as = span->in[0], *bs = span->in[1];                                                     \
        (void)bs;                                                                                            \
        INDEPENDENT for (size_t i = 0; i < span->count; i++) out[i] = value;                                 \
    }
#define A as[i]
#define B bs[i]

/* The low byte as a signed number. */
INLINE int32_t of_byte(uint32_t bits) {
    return (int32_t)((bits & 0xffu) ^ 0x80u) - 0x80;
}

/* --- integers --------------------------------------------------------------------------------- */

INLINE int64_t divided(int64_t a, int64_t b) {
    return b == 0 ? 0 : a / b;
}
INLINE int64_t truncated_rest(int64_t a, int64_t b) {
    return b == 0 ? 0 : a % b;
}
INLINE int64_t floored_rest(int64_t a, int64_t b) {
    int64_t rest = truncated_rest(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
INLINE int64_t power(int64_t a, int64_t b) {
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
    uint32_t result = 1, factor = (uint32_t)a;
    for (uint64_t left = (uint64_t)b; left > 0; left /= 2, factor *= factor)
        if (left % 2 == 1) result *= factor;
    return (int64_t)result;
}

/* Sums and products by way of unsigned numbers, which wrap. */
#define WHOLE_SPANS(lane, type)                                                                              \
    SPAN(lane##_add, type, type, (type)((uint32_t)A + (uint32_t)B))                                          \
    SPAN(lane##_sub, type, type, (type)((uint32_t)A - (uint32_t)B))                                          \
    SPAN(lane##_mul, type, type, (type)((uint32_t)A * (uint32_t)B))                                          \
    SPAN(lane##_div, type, type, (type)divided(A, B))                                                        \
    SPAN(lane##_min, type, type, A < B ? A : B)                                                              \
    SPAN(lane##_max, type, type, A > B ? A : B)                                                              \
    SPAN(lane##_pow, type, type, (type)power(A, B))                                                          \
    SPAN(lane##_mod, type, type, (type)floored_rest(A, B))                                                   \
    SPAN(lane##_fmod, type, type, (type)truncated_rest(A, B))                                                \
    SPAN(lane##_neg, type, type, (type)(0u - (uint32_t)A))                                                   \
    SPAN(lane##_square, type, type, (type)((uint32_t)A * (uint32_t)A))                                       \
    static void lane##_clamp(const mia__cpu_span *span) {                                                    \
        const type *x = span->in[0];                                                                         \
        type *out = span->out, low = (type)span->f[0], high = (type)span->f[1];                              \
        INDEPENDENT for (size_t i = 0; i < span->count; i++) {                                               \
            type raised = x[i] < low ? low : x[i];                                                           \
            out[i] = raised > high ? high : raised;                                                          \
        }                                                                                                    \
    }
WHOLE_SPANS(i32, int32_t)
WHOLE_SPANS(u32, uint32_t)
SPAN(i32_abs, int32_t, int32_t, A < 0 ? (int32_t)(0u - (uint32_t)A) : A)
SPAN(i32_relu, int32_t, int32_t, A < 0 ? 0 : A)
SPAN(i32_squared_relu, int32_t, int32_t, A < 0 ? 0 : (int32_t)((uint32_t)A * (uint32_t)A))
SPAN(i32_sign, int32_t, int32_t, (A > 0) - (A < 0))
SPAN(i32_logical_and, int32_t, int32_t, A &B)
SPAN(i32_logical_or, int32_t, int32_t, A | B)
SPAN(i32_logical_xor, int32_t, int32_t, A ^ B)
SPAN(i32_logical_not, int32_t, int32_t, A ^ 1)
SPAN(u32_same, uint32_t, uint32_t, A) /* of a number that is not negative */
SPAN(u32_sign, uint32_t, uint32_t, A != 0)

/* --- f64 -------------------------------------------------------------------------------------- */

SPAN(f64_add, double, double, A + B)
SPAN(f64_sub, double, double, A - B)
SPAN(f64_mul, double, double, A *B)
SPAN(f64_div, double, double, A / B)
SPAN(f64_neg, double, double, -A)
SPAN(f64_abs, double, double, fabs(A))
SPAN(f64_square, double, double, A *A)
SPAN(f64_relu, double, double, A < 0 ? 0 : A)
SPAN(f64_sqrt, double, double, sqrt(A))
SPAN(f64_min, double, double, A < B || isnan(A) ? A : B)
SPAN(f64_max, double, double, A > B || isnan(A) ? A : B)

/* Any other: number by number. */
static void f64_by_function(const mia__cpu_span *span) {
    double *out = span->out;
    for (size_t i = 0; i < span->count; i++) {
        double x[3] = {0};
        for (unsigned k = 0; k < 3 && span->in[k] != NULL; k++) x[k] = ((const double *)span->in[k])[i];
        out[i] = span->real(x, span->f);
    }
}

/* --- comparisons and choices ------------------------------------------------------------------ */

#define COMPARISONS(lane, type)                                                                              \
    SPAN(lane##_equal, int32_t, type, A == B)                                                                \
    SPAN(lane##_not_equal, int32_t, type, A != B)                                                            \
    SPAN(lane##_less, int32_t, type, A < B)                                                                  \
    SPAN(lane##_less_equal, int32_t, type, A <= B)                                                           \
    SPAN(lane##_greater, int32_t, type, A > B)                                                               \
    SPAN(lane##_greater_equal, int32_t, type, A >= B)
COMPARISONS(f32, float)
COMPARISONS(f64, double)
COMPARISONS(i32, int32_t)
COMPARISONS(u32, uint32_t)

#define WHERE(name, type)                                                                                    \
    static void name(const mia__cpu_span *span) {                                                            \
        type *out = span->out;                                                                               \
        const int32_t *condition = span->in[0];                                                              \
        const type *a = span->in[1], *b = span->in[2];                                                       \
        INDEPENDENT for (size_t i = 0; i < span->count; i++) {                                               \
            type x = a[i], y = b[i];                                                                         \
            out[i] = condition[i] != 0 ? x : y;                                                              \
        }                                                                                                    \
    }
WHERE(where_4, uint32_t)
WHERE(where_8, uint64_t)

/* --- conversions ------------------------------------------------------------------------------ */

/* Saturated, to nearest even: the sum has its unit at 1, and the whole number modulo 2^32 in its low bits. */
INLINE uint32_t to_whole(double x, double low, double high) {
    double number = isnan(x) ? 0 : x;
    number = number < low ? low : number;
    number = number > high ? high : number;
    return (uint32_t)mia__bits_of_f64(number + 0x1.8p52);
}

#define FROM_REAL(lane, type)                                                                                \
    SPAN(lane##_to_i32, uint32_t, type, to_whole((double)A, INT32_MIN, INT32_MAX))                           \
    SPAN(lane##_to_u32, uint32_t, type, to_whole((double)A, 0, UINT32_MAX))                                  \
    SPAN(lane##_to_i8, uint32_t, type, to_whole((double)A, INT8_MIN, INT8_MAX))                              \
    SPAN(lane##_to_u8, uint32_t, type, to_whole((double)A, 0, UINT8_MAX))                                    \
    SPAN(lane##_to_bool8, int32_t, type, A != 0)
FROM_REAL(f32, float)
FROM_REAL(f64, double)
SPAN(f32_to_f64, double, float, (double)A)
SPAN(f64_to_f32, float, double, (float)A)
SPAN(f64_to_f16, float, double, mia__f16_to_f32(mia__f64_to_f16(A)))
SPAN(f64_to_bf16, float, double, mia__bf16_to_f32(mia__f64_to_bf16(A)))

/* What f16 cannot tell apart, or hold, f32 rounds well enough; bf16 has f32's range, and takes one rounding. */
#define FROM_WHOLE(lane, type)                                                                               \
    SPAN(lane##_to_f32, float, type, (float)A)                                                               \
    SPAN(lane##_to_f64, double, type, (double)A)                                                             \
    SPAN(lane##_to_bf16, float, type, mia__bf16_to_f32(mia__f64_to_bf16((double)A)))                         \
    SPAN(lane##_to_bool8, int32_t, type, A != 0)
FROM_WHOLE(i32, int32_t)
FROM_WHOLE(u32, uint32_t)
SPAN(i32_to_u32, uint32_t, int32_t, A < 0 ? 0 : (uint32_t)A)
SPAN(i32_to_i8, int32_t, int32_t, A<INT8_MIN ? INT8_MIN : A> INT8_MAX ? INT8_MAX : A)
SPAN(i32_to_u8, int32_t, int32_t, A<0 ? 0 : A> UINT8_MAX ? UINT8_MAX : A)
SPAN(u32_to_i32, int32_t, uint32_t, A > INT32_MAX ? INT32_MAX : (int32_t)A)
SPAN(u32_to_i8, int32_t, uint32_t, A > INT8_MAX ? INT8_MAX : (int32_t)A)
SPAN(u32_to_u8, int32_t, uint32_t, A > UINT8_MAX ? UINT8_MAX : (int32_t)A)

SPAN(wrap_i8, int32_t, int32_t, of_byte((uint32_t)A))
SPAN(wrap_u8, int32_t, int32_t, (uint8_t)A)

static void widen_i8(int32_t *out, const int8_t *x, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = of_byte((uint8_t)x[i]);
}
static void widen_u8(int32_t *out, const uint8_t *x, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = x[i];
}
static void widen_bool8(int32_t *out, const uint8_t *x, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = x[i] != 0;
}
static void narrow_bytes(uint8_t *out, const int32_t *x, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = (uint8_t)x[i];
}

/* --- the table -------------------------------------------------------------------------------- */

#define F32 MIA__CPU_LANE_F32
#define F64 MIA__CPU_LANE_F64
#define I32 MIA__CPU_LANE_I32
#define U32 MIA__CPU_LANE_U32

#define SET(lane, name, function) kernels->spans[lane][MIA_OP_##name - MIA_OP_add] = function;
#define SET_COMPARISONS(lane, prefix)                                                                        \
    SET(lane, equal, prefix##_equal)                                                                         \
    SET(lane, not_equal, prefix##_not_equal)                                                                 \
    SET(lane, less, prefix##_less)                                                                           \
    SET(lane, less_equal, prefix##_less_equal)                                                               \
    SET(lane, greater, prefix##_greater)                                                                     \
    SET(lane, greater_equal, prefix##_greater_equal)
#define SET_WHOLE(lane, prefix)                                                                              \
    SET(lane, add, prefix##_add)                                                                             \
    SET(lane, sub, prefix##_sub)                                                                             \
    SET(lane, mul, prefix##_mul)                                                                             \
    SET(lane, div, prefix##_div)                                                                             \
    SET(lane, min, prefix##_min)                                                                             \
    SET(lane, max, prefix##_max)                                                                             \
    SET(lane, pow, prefix##_pow)                                                                             \
    SET(lane, mod, prefix##_mod)                                                                             \
    SET(lane, fmod, prefix##_fmod)                                                                           \
    SET(lane, neg, prefix##_neg)                                                                             \
    SET(lane, square, prefix##_square)                                                                       \
    SET(lane, clamp, prefix##_clamp)

static void set_whole(mia__cpu_kernels *kernels) {
    SET_WHOLE(I32, i32)
    SET_WHOLE(U32, u32)
    SET(I32, abs, i32_abs)
    SET(I32, relu, i32_relu)
    SET(I32, squared_relu, i32_squared_relu)
    SET(I32, sign, i32_sign)
    SET(I32, logical_and, i32_logical_and)
    SET(I32, logical_or, i32_logical_or)
    SET(I32, logical_xor, i32_logical_xor)
    SET(I32, logical_not, i32_logical_not)
    SET(U32, abs, u32_same)
    SET(U32, relu, u32_same)
    SET(U32, squared_relu, u32_square)
    SET(U32, sign, u32_sign)
}

static void set_f64(mia__cpu_kernels *kernels) {
    for (unsigned op = 0; op < MIA__CPU_ELEMENTWISE; op++) kernels->spans[F64][op] = f64_by_function;
    SET(F64, add, f64_add)
    SET(F64, sub, f64_sub)
    SET(F64, mul, f64_mul)
    SET(F64, div, f64_div)
    SET(F64, neg, f64_neg)
    SET(F64, abs, f64_abs)
    SET(F64, square, f64_square)
    SET(F64, relu, f64_relu)
    SET(F64, sqrt, f64_sqrt)
    SET(F64, min, f64_min)
    SET(F64, max, f64_max)
}

#define CONVERT(lane, type, function) kernels->convert[lane][MIA_##type] = function;

static void set_conversions(mia__cpu_kernels *kernels){
    CONVERT(F32, f64, f32_to_f64) CONVERT(F32, i32, f32_to_i32) CONVERT(F32, u32, f32_to_u32)
        CONVERT(F32, i8, f32_to_i8) CONVERT(F32, u8, f32_to_u8) CONVERT(F32, bool8, f32_to_bool8)
            CONVERT(F64, f32, f64_to_f32) CONVERT(F64, f16, f64_to_f16) CONVERT(F64, bf16, f64_to_bf16)
                CONVERT(F64, i32, f64_to_i32) CONVERT(F64, u32, f64_to_u32) CONVERT(F64, i8, f64_to_i8)
                    CONVERT(F64, u8, f64_to_u8) CONVERT(F64, bool8, f64_to_bool8)
                        CONVERT(I32, f32, i32_to_f32) CONVERT(I32, f16, i32_to_f32)
                            CONVERT(I32, bf16, i32_to_bf16) CONVERT(I32, f64, i32_to_f64)
                                CONVERT(I32, u32, i32_to_u32) CONVERT(I32, i8, i32_to_i8)
                                    CONVERT(I32, u8, i32_to_u8) CONVERT(I32, bool8, i32_to_bool8)
                                        CONVERT(U32, f32, u32_to_f32) CONVERT(U32, f16, u32_to_f32)
                                            CONVERT(U32, bf16, u32_to_bf16) CONVERT(U32, f64, u32_to_f64)
                                                CONVERT(U32, i32, u32_to_i32) CONVERT(U32, i8, u32_to_i8)
                                                    CONVERT(U32, u8, u32_to_u8)
                                                        CONVERT(U32, bool8, u32_to_bool8)}

FILL_FAMILY(lanes) {
    set_whole(kernels);
    set_f64(kernels);
    set_conversions(kernels);
    SET_COMPARISONS(F32, f32)
    SET_COMPARISONS(F64, f64)
    SET_COMPARISONS(I32, i32)
    SET_COMPARISONS(U32, u32)
    SET(F32, where, where_4)
    SET(F64, where, where_8)
    SET(I32, where, where_4)
    SET(U32, where, where_4)
    kernels->fit[MIA_i8] = wrap_i8;
    kernels->fit[MIA_u8] = wrap_u8;
    kernels->widen_i8 = widen_i8;
    kernels->widen_u8 = widen_u8;
    kernels->widen_bool8 = widen_bool8;
    kernels->narrow_bytes = narrow_bytes;
}
