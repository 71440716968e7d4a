/* What norms, softmax, reductions and rope need of a row of f32. Sums run in four vectors, added in a fixed
 * tree at the end; a row is always summed by one thread. Included once for each instruction set. */
#include "backend/cpu/template/simd.h"

#define TURN (4 * (size_t)MIA_LANES)

/* Sum over a row of TERM, an expression of the vector `v` that is 0 where v is `empty`. */
#define SUM_OF(TERM, empty)                                                                                  \
    vf sums[4] = {{0}};                                                                                      \
    size_t i = 0;                                                                                            \
    for (; i + TURN <= count; i += TURN) {                                                                   \
        for (size_t j = 0; j < 4; j++) {                                                                     \
            vf v = vf_load(x + i + j * MIA_LANES);                                                           \
            sums[j] = TERM(sums[j], v);                                                                      \
        }                                                                                                    \
    }                                                                                                        \
    for (; i + MIA_LANES <= count; i += MIA_LANES) sums[0] = TERM(sums[0], vf_load(x + i));                  \
    if (i < count) {                                                                                         \
        float rest[MIA_LANES];                                                                               \
        for (size_t j = 0; j < MIA_LANES; j++) rest[j] = i + j < count ? x[i + j] : (empty);                 \
        sums[0] = TERM(sums[0], vf_load(rest));                                                              \
    }                                                                                                        \
    return vf_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));

#define DIFFERENCE(sum, v) ((sum) + ((v)-centre))
#define SQUARE(sum, v)     vf_fma((v)-centre, (v)-centre, sum)

static float sum_about(const float *x, float centre, size_t count) {
    SUM_OF(DIFFERENCE, centre)
}

static float sum_of_squares(const float *x, float centre, size_t count) {
    SUM_OF(SQUARE, centre)
}

/* The element of a row that MORE picks out of any two, in four vectors; BEYOND is `>` or `<`. */
#define EXTREME_OF(MORE, BEYOND, most_of)                                                                    \
    if (count < MIA_LANES) {                                                                                 \
        float one = x[0];                                                                                    \
        for (size_t i = 1; i < count; i++) one = x[i] BEYOND one || isnan(x[i]) ? x[i] : one;                \
        return one;                                                                                          \
    }                                                                                                        \
    vf most[4] = {vf_set(x[0]), vf_set(x[0]), vf_set(x[0]), vf_set(x[0])};                                   \
    size_t i = 0;                                                                                            \
    for (; i + TURN <= count; i += TURN) EACH(j, 4) most[j] = MORE(vf_load(x + i + j * MIA_LANES), most[j]); \
    for (; i + MIA_LANES <= count; i += MIA_LANES) most[0] = MORE(vf_load(x + i), most[0]);                  \
    if (i < count) most[0] = MORE(vf_load(x + count - MIA_LANES), most[0]);                                  \
    return most_of(MORE(MORE(most[0], most[1]), MORE(most[2], most[3])));

static float greatest(const float *x, size_t count) {
    EXTREME_OF(vf_max, >, vf_greatest)
}

static float least(const float *x, size_t count) {
    EXTREME_OF(vf_min, <, vf_least)
}

static size_t find(const float *x, float value, size_t count) {
    bool nan = isnan(value);
    vf wanted = vf_set(value);
    size_t i = 0;
    for (; i + TURN <= count; i += TURN) {
        vi here = {0};
        EACH(j, 4) {
            vf v = vf_load(x + i + j * MIA_LANES);
            here |= nan ? vf_is_nan(v) : v == wanted;
        }
        if (vi_any(here)) break;
    }
    while (i < count && !(nan ? isnan(x[i]) : x[i] == value)) i++;
    return i;
}

/* The compiler makes vectors of this. */
static void keep_best(float *restrict best, int32_t *restrict numbers, const float *restrict x, float sign,
                      int32_t number, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float v = sign * x[i], old = best[i];
        int32_t beyond = v > old || (v != v && old == old) ? -1 : 0;
        best[i] = beyond ? v : old;
        numbers[i] = beyond ? number : numbers[i];
    }
}

typedef double vd __attribute__((vector_size(8 * MIA_LANES)));

/* Multiplies mantissas in [1, 2), of which a double holds a thousand, and adds exponents. */
static bool multiply(const float *x, size_t count, double *mantissa, int64_t *exponent) {
    vd product = 1.0 - (vd){0};
    vi sum = {0}, odd = {0};
    for (size_t i = 0; i < count; i += MIA_LANES) {
        float rest[MIA_LANES];
        for (size_t j = 0; i + MIA_LANES > count && j < MIA_LANES; j++)
            rest[j] = i + j < count ? x[i + j] : 1;
        vi bits = (vi)vf_load(i + MIA_LANES > count ? rest : x + i), power = bits >> 23 & 0xff;
        odd |= (power == 0) | (power == 0xff);
        sum += power - 127;
        product *= __builtin_convertvector((vf)((bits & (int32_t)0x807fffff) | 0x3f800000), vd);
    }
    *mantissa = 1;
    *exponent = 0;
    for (size_t j = 0; j < MIA_LANES; j++) {
        int power;
        if (odd[j] != 0) return false;
        *mantissa = frexp(*mantissa * product[j], &power);
        *exponent += sum[j] + power;
    }
    return true;
}

/* Sum of exp(x - shift) over a row, with what is to happen to each vector and to the last, partial one. */
#define SUM_EXPONENTIALS(STORE, STORE_PART)                                                                  \
    vf sum = {0};                                                                                            \
    size_t i = 0;                                                                                            \
    for (; i + MIA_LANES <= count; i += MIA_LANES) {                                                         \
        vf e = vf_exp_below(vf_load(x + i) - shift);                                                         \
        STORE(e);                                                                                            \
        sum += e;                                                                                            \
    }                                                                                                        \
    if (i == count) return vf_sum(sum);                                                                      \
    vf e = vf_exp_below(vf_load_part(x + i, count - i) - shift);                                             \
    float lanes[MIA_LANES] = {0};                                                                            \
    vf_store_part(lanes, e, count - i);                                                                      \
    STORE_PART(e);                                                                                           \
    return vf_sum(sum + vf_load(lanes));

#define NOTHING(e)     (void)(e)
#define TO_OUT(e)      vf_store(out + i, e)
#define PART_TO_OUT(e) vf_store_part(out + i, e, count - i)

static float exponentials(float *out, const float *x, float shift, size_t count) {
    SUM_EXPONENTIALS(TO_OUT, PART_TO_OUT)
}

static float sum_of_exponentials(const float *x, float shift, size_t count) {
    SUM_EXPONENTIALS(NOTHING, NOTHING)
}

static void scale(float *out, const float *x, float factor, size_t count) {
    size_t i = 0;
    for (; i + MIA_LANES <= count; i += MIA_LANES) vf_store(out + i, vf_load(x + i) * factor);
    for (; i < count; i++) out[i] = x[i] * factor;
}

INLINE vf normal(vf x, const mia__cpu_normal *n, vf weight) {
    return (x - n->centre - n->shift) * n->factor * weight;
}

static void normalise(float *out, const float *x, const mia__cpu_normal *n, const float *weight,
                      const float *bias, size_t count) {
    size_t i = 0;
    for (; i + MIA_LANES <= count; i += MIA_LANES) {
        vf y = normal(vf_load(x + i), n, vf_load(weight + i));
        vf_store(out + i, bias != NULL ? y + vf_load(bias + i) : y);
    }
    if (i == count) return;
    size_t rest = count - i;
    vf y = normal(vf_load_part(x + i, rest), n, vf_load_part(weight + i, rest));
    vf_store_part(out + i, bias != NULL ? y + vf_load_part(bias + i, rest) : y, rest);
}

static void normalise_evenly(float *out, const float *x, const mia__cpu_normal *n, float weight, float bias,
                             size_t count) {
    vf w = vf_set(weight);
    size_t i = 0;
    for (; i + MIA_LANES <= count; i += MIA_LANES) vf_store(out + i, normal(vf_load(x + i), n, w) + bias);
    if (i < count) vf_store_part(out + i, normal(vf_load_part(x + i, count - i), n, w) + bias, count - i);
}

/* The compiler makes vectors of these two by itself. */
static void rope_interleaved(float *out, const float *x, const float *cosines, const float *sines,
                             size_t pairs) {
    for (size_t i = 0; i < pairs; i++) {
        float a = x[2 * i], b = x[2 * i + 1], c = cosines[i], s = sines[i];
        out[2 * i] = a * c - b * s;
        out[2 * i + 1] = a * s + b * c;
    }
}

static void rope_halves(float *out, const float *x, const float *cosines, const float *sines, size_t pairs) {
    for (size_t i = 0; i < pairs; i++) {
        float a = x[i], b = x[pairs + i], c = cosines[i], s = sines[i];
        out[i] = a * c - b * s;
        out[pairs + i] = a * s + b * c;
    }
}

FILL_FAMILY(rows) {
    kernels->sum = sum_about;
    kernels->sum_of_squares = sum_of_squares;
    kernels->greatest = greatest;
    kernels->least = least;
    kernels->find = find;
    kernels->keep_best = keep_best;
    kernels->multiply = multiply;
    kernels->exponentials = exponentials;
    kernels->sum_of_exponentials = sum_of_exponentials;
    kernels->scale = scale;
    kernels->normalise = normalise;
    kernels->normalise_evenly = normalise_evenly;
    kernels->rope_interleaved = rope_interleaved;
    kernels->rope_halves = rope_halves;
}
