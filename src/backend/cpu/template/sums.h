/* Sums that grow: a row times a number added to sums, and products of panels of doubles.
 *
 *     sums[m][n] += sum over k of w[k][n] x[k][m]      8 neighbouring n; m < columns_f64
 *
 * The sums of a product stay in registers. Included once for each instruction set. */
#include "backend/cpu/template/simd.h"

typedef double vd __attribute__((vector_size(4 * MIA_LANES)));

#define LANES   (MIA_LANES / 2) /* of a vector of doubles */
#define LINES   MIA__CPU_LINES
#define VECTORS (LINES / LANES) /* a line of w */

/* Columns that the registers hold: 1 vector by 12 of 32 registers; 2 by 6, 4 by 2 of 16. */
#if MIA_LANES == 16
#define COLUMNS 12
#elif MIA_LANES == 8
#define COLUMNS 6
#else
#define COLUMNS 2
#endif

INLINE vd vd_load(const double *from) {
    vd x;
    memcpy(&x, from, sizeof x);
    return x;
}

INLINE void vd_store(double *to, vd x) {
    memcpy(to, &x, sizeof x);
}

INLINE vd vd_set(double x) {
    return x - (vd){0};
}

INLINE vd vd_fma(vd a, vd b, vd c) {
#if MIA_LANES == 16
    return (vd)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif MIA_LANES == 8
    return (vd)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
    return a * b + c;
#endif
}

static void product_f64(const double *w, const double *x, int64_t k, double *sums) {
    vd tile[COLUMNS][VECTORS];
    EACH(m, COLUMNS) {
        EACH(v, VECTORS) {
            tile[m][v] = vd_load(sums + m * LINES + v * LANES);
        }
    }
    for (int64_t i = 0; i < k; i++) {
        vd weights[VECTORS];
        EACH(v, VECTORS) {
            weights[v] = vd_load(w + i * LINES + v * LANES);
        }
        EACH(m, COLUMNS) {
            vd spread = vd_set(x[i * COLUMNS + m]);
            EACH(v, VECTORS) {
                tile[m][v] = vd_fma(weights[v], spread, tile[m][v]);
            }
        }
    }
    EACH(m, COLUMNS) {
        EACH(v, VECTORS) {
            vd_store(sums + m * LINES + v * LANES, tile[m][v]);
        }
    }
}

static void accumulate(float *sums, const float *x, float factor, size_t count) {
    const vf spread = vf_set(factor);
    size_t i = 0;
    for (; i + MIA_LANES <= count; i += MIA_LANES)
        vf_store(sums + i, vf_fma(vf_load(x + i), spread, vf_load(sums + i)));
    if (i == count) return;
    vf last = vf_fma(vf_load_part(x + i, count - i), spread, vf_load_part(sums + i, count - i));
    vf_store_part(sums + i, last, count - i);
}

static void accumulate_f64(double *sums, const double *x, double factor, size_t count) {
    const vd spread = vd_set(factor);
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        vd_store(sums + i, vd_fma(vd_load(x + i), spread, vd_load(sums + i)));
    if (i == count) return;
    vd last[2] = {{0}, {0}};
    memcpy(&last[0], x + i, (count - i) * sizeof *x);
    memcpy(&last[1], sums + i, (count - i) * sizeof *sums);
    last[1] = vd_fma(last[0], spread, last[1]);
    memcpy(sums + i, &last[1], (count - i) * sizeof *sums);
}

FILL_FAMILY(sums) {
    kernels->accumulate = accumulate;
    kernels->accumulate_f64 = accumulate_f64;
    kernels->columns_f64 = COLUMNS;
    kernels->product_f64 = product_f64;
}
