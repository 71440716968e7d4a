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

static float greatest(const float *x, size_t count) {
    vf most = vf_set(x[0]);
    size_t i = 0;
    for (; i + MIA_LANES <= count; i += MIA_LANES) most = vf_max(vf_load(x + i), most);
    float result = vf_greatest(most);
    for (; i < count; i++) result = x[i] > result || x[i] != x[i] ? x[i] : result;
    return result;
}

static float exponentials(float *out, const float *x, float shift, size_t count) {
    vf sum = {0};
    size_t i = 0;
    for (; i + MIA_LANES <= count; i += MIA_LANES) {
        vf e = vf_exp(vf_load(x + i) - shift);
        vf_store(out + i, e);
        sum += e;
    }
    if (i == count) return vf_sum(sum);
    vf e = vf_exp(vf_load_part(x + i, count - i) - shift);
    float lanes[MIA_LANES] = {0};
    vf_store_part(lanes, e, count - i);
    vf_store_part(out + i, e, count - i);
    return vf_sum(sum + vf_load(lanes));
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

/* The compiler makes vectors of these two by itself. */
static void rope_interleaved(float *out, const float *x, const float *table, size_t pairs) {
    for (size_t i = 0; i < pairs; i++) {
        float a = x[2 * i], b = x[2 * i + 1], c = table[i], s = table[pairs + i];
        out[2 * i] = a * c - b * s;
        out[2 * i + 1] = a * s + b * c;
    }
}

static void rope_halves(float *out, const float *x, const float *table, size_t pairs) {
    for (size_t i = 0; i < pairs; i++) {
        float a = x[i], b = x[pairs + i], c = table[i], s = table[pairs + i];
        out[i] = a * c - b * s;
        out[pairs + i] = a * s + b * c;
    }
}

FILL_FAMILY(rows) {
    kernels->sum = sum_about;
    kernels->sum_of_squares = sum_of_squares;
    kernels->greatest = greatest;
    kernels->exponentials = exponentials;
    kernels->scale = scale;
    kernels->normalise = normalise;
    kernels->rope_interleaved = rope_interleaved;
    kernels->rope_halves = rope_halves;
}
