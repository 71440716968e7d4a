/* How elements come into a reduction, a stretch at a time: sums, products, extremes and their places, by type
 * (reduce.h). f32 goes through the instruction sets' kernels, the rest through loops that compilers make
 * vectors of. */
#include "backend/cpu/reduce.h"

#include "backend/reference/element.h"

#include <math.h>

/* --- products ---------------------------------------------------------------------------------- */

/* Zeros, infinities and NaN have no exponent and take part as they are. */
static void multiply_in(mia__cpu_partial *p, double x) {
    int of_x = 0, of_product = 0;
    p->real *= isfinite(x) ? frexp(x, &of_x) : x;
    if (isfinite(p->real)) p->real = frexp(p->real, &of_product);
    p->whole += of_x + of_product;
}

static double product_of(const mia__cpu_partial *p) {
    int64_t exponent = p->whole > 9999 ? 9999 : p->whole < -9999 ? -9999 : p->whole;
    return ldexp(p->real, (int)exponent);
}

/* --- f32, and 16-bit floats widened ------------------------------------------------------------ */

double mia__cpu_sum_stretch(const mia__cpu_kernels *kernels, const float *x, size_t count) {
    float sum = kernels->sum(x, 0, count);
    if (isfinite(sum)) return (double)sum;
    double wide = 0;
    for (size_t i = 0; i < count; i++) wide += (double)x[i];
    return wide;
}

static void sum_f32(const mia__cpu_kernels *kernels, mia__cpu_partial *p, const void *x, size_t count,
                    int64_t first) {
    (void)first;
    p->real += mia__cpu_sum_stretch(kernels, x, count);
}

static void multiply_f32(const mia__cpu_kernels *kernels, mia__cpu_partial *p, const void *x, size_t count,
                         int64_t first) {
    (void)first;
    mia__cpu_partial all;
    if (kernels->multiply(x, count, &all.real, &all.whole)) {
        multiply_in(p, all.real);
        p->whole += all.whole;
        return;
    }
    for (size_t i = 0; i < count; i++) multiply_in(p, (double)((const float *)x)[i]);
}

static float extreme_f32(const mia__cpu_kernels *kernels, const float *x, size_t count, bool greatest) {
    return (greatest ? kernels->greatest : kernels->least)(x, count);
}

/* --- f64 --------------------------------------------------------------------------------------- */

#define LANES 8

static void sum_f64(const mia__cpu_kernels *kernels, mia__cpu_partial *p, const void *x, size_t count,
                    int64_t first) {
    (void)kernels, (void)first;
    const double *from = x;
    double lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t j = 0; j < LANES; j++) lane[j] += from[i + j];
    for (size_t j = 0; i + j < count; j++) lane[j] += from[i + j];
    p->real += ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

/* Mantissas in [1, 2), of which a double holds a thousand, and exponents apart, as in template/rows.h. */
static void multiply_f64(const mia__cpu_kernels *kernels, mia__cpu_partial *p, const void *x, size_t count,
                         int64_t first) {
    (void)kernels, (void)first;
    double lane[LANES] = {1, 1, 1, 1, 1, 1, 1, 1};
    int64_t sum = 0, odd = 0;
    size_t whole = count - count % LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            uint64_t bits = mia__bits_of_f64(((const double *)x)[i + j]);
            int64_t power = (int64_t)(bits >> 52 & 0x7ff);
            odd |= power == 0 || power == 0x7ff;
            sum += power - 1023;
            lane[j] *= mia__f64_of_bits((bits & 0x800fffffffffffffu) | 0x3ff0000000000000u);
        }
    for (size_t j = 0; odd == 0 && j < LANES; j++) multiply_in(p, lane[j]);
    if (odd == 0) p->whole += sum;
    for (size_t i = odd == 0 ? whole : 0; i < count; i++) multiply_in(p, ((const double *)x)[i]);
}

static double extreme_f64(const mia__cpu_kernels *kernels, const double *x, size_t count, bool greatest) {
    (void)kernels;
    double most[LANES], sign = greatest ? 1 : -1;
    bool odd = false;
    for (size_t j = 0; j < LANES; j++) most[j] = sign * x[0];
    size_t whole = count - count % LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            double v = sign * x[i + j];
            odd |= isnan(v) != 0;
            most[j] = v > most[j] ? v : most[j];
        }
    for (size_t i = whole; i < count; i++) {
        odd |= isnan(x[i]) != 0;
        most[0] = sign * x[i] > most[0] ? sign * x[i] : most[0];
    }
    for (size_t j = 1; j < LANES; j++) most[0] = most[j] > most[0] ? most[j] : most[0];
    return odd ? (double)NAN : sign * most[0];
}

/* --- integers: modulo 2^32, of which narrower types keep the low bits ---------------------------- */

#define INTEGER_TAKES(name, type)                                                                            \
    static uint32_t bits_##name(type x) {                                                                    \
        return (uint32_t)x;                                                                                  \
    }                                                                                                        \
                                                                                                             \
    static void sum_##name(const mia__cpu_kernels *kernels, mia__cpu_partial *p, const void *x,              \
                           size_t count, int64_t first) {                                                    \
        (void)kernels, (void)first;                                                                          \
        uint32_t sum = 0;                                                                                    \
        for (size_t i = 0; i < count; i++) sum += bits_##name(((const type *)x)[i]);                         \
        p->whole += (int64_t)sum;                                                                            \
    }                                                                                                        \
    static void multiply_##name(const mia__cpu_kernels *kernels, mia__cpu_partial *p, const void *x,         \
                                size_t count, int64_t first) {                                               \
        (void)kernels, (void)first;                                                                          \
        uint32_t product = (uint32_t)p->whole;                                                               \
        for (size_t i = 0; i < count; i++) product *= bits_##name(((const type *)x)[i]);                     \
        p->whole = (int64_t)product;                                                                         \
    }                                                                                                        \
    static type extreme_##name(const mia__cpu_kernels *kernels, const type *x, size_t count,                 \
                               bool greatest) {                                                              \
        (void)kernels;                                                                                       \
        type most = x[0];                                                                                    \
        if (greatest) {                                                                                      \
            for (size_t i = 0; i < count; i++) most = x[i] > most ? x[i] : most;                             \
        } else {                                                                                             \
            for (size_t i = 0; i < count; i++) most = x[i] < most ? x[i] : most;                             \
        }                                                                                                    \
        return most;                                                                                         \
    }

INTEGER_TAKES(i32, int32_t)
INTEGER_TAKES(u32, uint32_t)
INTEGER_TAKES(i8, int8_t)
INTEGER_TAKES(u8, uint8_t)

/* --- extremes and places, of all types --------------------------------------------------------- */

/* Whether x goes before what was found: NaN before all, and the first of equals stays. */
static bool is_beyond(double x, double found, bool greatest) {
    if (isnan(x)) return !isnan(found);
    return greatest ? x > found : x < found;
}

static void extreme_in(mia__cpu_partial *p, double x, bool greatest) {
    if (is_beyond(x, p->real, greatest)) p->real = x;
}

/* Where `value`, which is there, is first: which block first, then where in it. */
#define FIND(name, type, IS)                                                                                 \
    static size_t find_##name(const mia__cpu_kernels *kernels, const type *x, type value, size_t count) {    \
        (void)kernels;                                                                                       \
        size_t at = 0;                                                                                       \
        for (; at + 16 <= count; at += 16) {                                                                 \
            type here = 0;                                                                                   \
            for (size_t j = 0; j < 16; j++) here = IS(x[at + j], value) ? 1 : here;                          \
            if (here != 0) break;                                                                            \
        }                                                                                                    \
        while (at + 1 < count && !IS(x[at], value)) at++;                                                    \
        return at;                                                                                           \
    }

#define SAME(a, b)        ((a) == (b))
#define SAME_OR_NAN(a, b) ((a) == (b) || (isnan(a) && isnan(b)))

FIND(f64, double, SAME_OR_NAN)
FIND(i32, int32_t, SAME)
FIND(u32, uint32_t, SAME)
FIND(i8, int8_t, SAME)
FIND(u8, uint8_t, SAME)

static size_t find_f32(const mia__cpu_kernels *kernels, const float *x, float value, size_t count) {
    return kernels->find(x, value, count);
}

#define PLACES(name, type)                                                                                   \
    static void place_##name(const mia__cpu_kernels *kernels, mia__cpu_partial *p, const void *x,            \
                             size_t count, int64_t first, bool greatest) {                                   \
        type most = extreme_##name(kernels, x, count, greatest);                                             \
        if (p->whole >= 0 && !is_beyond((double)most, p->real, greatest)) return;                            \
        p->real = (double)most;                                                                              \
        p->whole = first + (int64_t)find_##name(kernels, x, most, count);                                    \
    }                                                                                                        \
    static void argmax_##name(const mia__cpu_kernels *kernels, mia__cpu_partial *p, const void *x,           \
                              size_t count, int64_t first) {                                                 \
        place_##name(kernels, p, x, count, first, true);                                                     \
    }                                                                                                        \
    static void argmin_##name(const mia__cpu_kernels *kernels, mia__cpu_partial *p, const void *x,           \
                              size_t count, int64_t first) {                                                 \
        place_##name(kernels, p, x, count, first, false);                                                    \
    }                                                                                                        \
    static void greatest_##name(const mia__cpu_kernels *kernels, mia__cpu_partial *p, const void *x,         \
                                size_t count, int64_t first) {                                               \
        (void)first;                                                                                         \
        extreme_in(p, (double)extreme_##name(kernels, x, count, true), true);                                \
    }                                                                                                        \
    static void least_##name(const mia__cpu_kernels *kernels, mia__cpu_partial *p, const void *x,            \
                             size_t count, int64_t first) {                                                  \
        (void)first;                                                                                         \
        extreme_in(p, (double)extreme_##name(kernels, x, count, false), false);                              \
    }

PLACES(f32, float)
PLACES(f64, double)
PLACES(i32, int32_t)
PLACES(u32, uint32_t)
PLACES(i8, int8_t)
PLACES(u8, uint8_t)

/* --- truth ------------------------------------------------------------------------------------- */

static void any_bool8(const mia__cpu_kernels *kernels, mia__cpu_partial *p, const void *x, size_t count,
                      int64_t first) {
    (void)kernels, (void)first;
    uint8_t bits = 0;
    for (size_t i = 0; i < count; i++) bits |= ((const uint8_t *)x)[i];
    p->whole |= bits != 0;
}

static void all_bool8(const mia__cpu_kernels *kernels, mia__cpu_partial *p, const void *x, size_t count,
                      int64_t first) {
    (void)kernels, (void)first;
    uint8_t none = 0;
    for (size_t i = 0; i < count; i++) none |= ((const uint8_t *)x)[i] == 0;
    p->whole &= none == 0;
}

/* --- which ------------------------------------------------------------------------------------- */

#define CHOOSE(name)                                                                                         \
    switch ((int)op) {                                                                                       \
    case MIA_OP_sum:                                                                                         \
    case MIA_OP_mean: return sum_##name;                                                                     \
    case MIA_OP_prod: return multiply_##name;                                                                \
    case MIA_OP_reduce_max: return greatest_##name;                                                          \
    case MIA_OP_reduce_min: return least_##name;                                                             \
    case MIA_OP_argmax: return argmax_##name;                                                                \
    case MIA_OP_argmin: return argmin_##name;                                                                \
    default: return NULL;                                                                                    \
    }

mia__cpu_take mia__cpu_take_find(mia_op op, mia_dtype dtype) {
    switch (dtype) {
    case MIA_f32:
    case MIA_f16:
    case MIA_bf16: CHOOSE(f32)
    case MIA_f64: CHOOSE(f64)
    case MIA_i32: CHOOSE(i32)
    case MIA_u32: CHOOSE(u32)
    case MIA_i8: CHOOSE(i8)
    case MIA_u8: CHOOSE(u8)
    case MIA_bool8: return op == MIA_OP_any ? any_bool8 : op == MIA_OP_all ? all_bool8 : NULL;
    default: return NULL;
    }
}

/* --- partial results ---------------------------------------------------------------------------- */

static bool is_real(mia_dtype dtype) {
    return mia__cpu_is_float(dtype) || dtype == MIA_f64;
}

/* Over nothing, extremes are the ends of the type's range. */
static double end_of(mia_dtype dtype, bool greatest) {
    switch (dtype) {
    case MIA_i32: return greatest ? INT32_MAX : INT32_MIN;
    case MIA_u32: return greatest ? UINT32_MAX : 0;
    case MIA_i8: return greatest ? INT8_MAX : INT8_MIN;
    case MIA_u8: return greatest ? UINT8_MAX : 0;
    default: return greatest ? (double)INFINITY : -(double)INFINITY;
    }
}

mia__cpu_partial mia__cpu_partial_start(mia_op op, mia_dtype dtype) {
    switch ((int)op) {
    case MIA_OP_prod: return (mia__cpu_partial){.real = 1, .whole = is_real(dtype) ? 0 : 1};
    case MIA_OP_reduce_max: return (mia__cpu_partial){.real = end_of(dtype, false)};
    case MIA_OP_reduce_min: return (mia__cpu_partial){.real = end_of(dtype, true)};
    case MIA_OP_all: return (mia__cpu_partial){.whole = 1};
    case MIA_OP_argmax:
    case MIA_OP_argmin: return (mia__cpu_partial){.whole = -1};
    default: return (mia__cpu_partial){0};
    }
}

void mia__cpu_partial_combine(mia_op op, mia_dtype dtype, mia__cpu_partial *into,
                              const mia__cpu_partial *from) {
    switch ((int)op) {
    case MIA_OP_prod:
        if (is_real(dtype)) {
            multiply_in(into, from->real);
            into->whole += from->whole;
        } else {
            uint32_t product = (uint32_t)into->whole * (uint32_t)from->whole;
            into->whole = product;
        }
        break;
    case MIA_OP_reduce_max: extreme_in(into, from->real, true); break;
    case MIA_OP_reduce_min: extreme_in(into, from->real, false); break;
    case MIA_OP_argmax:
    case MIA_OP_argmin:
        if (from->whole >= 0 && (into->whole < 0 || is_beyond(from->real, into->real, op == MIA_OP_argmax)))
            *into = *from;
        break;
    case MIA_OP_any: into->whole |= from->whole; break;
    case MIA_OP_all: into->whole &= from->whole; break;
    default: into->real += from->real; into->whole += from->whole;
    }
}

static double real_result(mia_op op, const mia__cpu_partial *partial, int64_t count) {
    if (op == MIA_OP_prod) return product_of(partial);
    return op == MIA_OP_mean ? partial->real / (double)count : partial->real;
}

static int64_t whole_result(mia_op op, const mia__cpu_partial *partial) {
    if (op == MIA_OP_reduce_max || op == MIA_OP_reduce_min) return (int64_t)partial->real;
    bool place = op == MIA_OP_argmax || op == MIA_OP_argmin;
    return place && partial->whole < 0 ? 0 : partial->whole;
}

void mia__cpu_partial_store(mia_op op, mia_dtype dtype, const mia__cpu_partial *partial, int64_t count,
                            void *out, int64_t at) {
    mia_dtype to = op == MIA_OP_argmax || op == MIA_OP_argmin ? MIA_i32 : dtype;
    if (is_real(to))
        mia__store(to, out, at, real_result(op, partial, count));
    else if (to == MIA_bool8)
        ((uint8_t *)out)[at] = partial->whole != 0;
    else
        mia__store_whole(to, out, at, whole_result(op, partial));
}
