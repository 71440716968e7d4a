/* Products of f32 panels, and one column by weights that are read once.
 *
 *     out[n, m] (+)= sum over k of w[k][n] x[k][m]
 *
 * A vector holds neighbouring n; each x is spread over one. The sums of a tile stay in registers, so there
 * is a function for every number of columns, all made from `product_of`. Included once for each instruction
 * set. */
#include "backend/cpu/template/simd.h"

#define GROUP   MIA__CPU_GROUP
#define VECTORS (GROUP / MIA_LANES) /* a group */

/* Tiles that the registers hold: 2 groups of 1 vector by 12 of 32 registers; 2 vectors by 6, 4 vectors by 2
 * of 16. */
#if MIA_LANES == 16
#define GROUPS  2
#define COLUMNS 12
#elif MIA_LANES == 8
#define GROUPS  1
#define COLUMNS 6
#else
#define GROUPS  1
#define COLUMNS 2
#endif

/* Writes a vector of sums, whole or cut off at tile->n. */
INLINE void write_sums(const mia__cpu_tile *tile, unsigned n, unsigned m, vf sums) {
    if (n >= tile->n) return;
    float *out = tile->out + m * tile->stride + n;
    size_t count = tile->n - n;
    if (count >= MIA_LANES)
        vf_store(out, tile->more ? vf_load(out) + sums : sums);
    else
        vf_store_part(out, tile->more ? vf_load_part(out, count) + sums : sums, count);
}

INLINE void product_of(const float *const *w, const float *x, int64_t k, const mia__cpu_tile *tile,
                       const unsigned groups, const unsigned columns) {
    vf sums[GROUPS * VECTORS][COLUMNS], weights[GROUPS * VECTORS];
    EACH(v, groups * VECTORS) {
        EACH(m, columns) {
            sums[v][m] = vf_set(0);
        }
    }
    for (int64_t i = 0; i < k; i++) {
        EACH(v, groups * VECTORS) {
            weights[v] = vf_load(w[v / VECTORS] + i * GROUP + v % VECTORS * MIA_LANES);
        }
        EACH(m, columns) {
            vf spread = vf_set(x[i * columns + m]);
            EACH(v, groups * VECTORS) {
                sums[v][m] = vf_fma(weights[v], spread, sums[v][m]);
            }
        }
    }
    EACH(m, columns) {
        EACH(v, groups * VECTORS) {
            write_sums(tile, v * MIA_LANES, m, sums[v][m]);
        }
    }
}

#define CASE(groups, columns)                                                                                \
    case columns:                                                                                            \
        product_of(w, x, k, tile, groups, columns);                                                          \
        break;

#if MIA_LANES == 16
#define CASES_TO_6(g) CASE(g, 1) CASE(g, 2) CASE(g, 3) CASE(g, 4) CASE(g, 5) CASE(g, 6)
#define CASES(g)      CASES_TO_6(g) CASE(g, 7) CASE(g, 8) CASE(g, 9) CASE(g, 10) CASE(g, 11) CASE(g, 12)
#elif MIA_LANES == 8
#define CASES(g) CASE(g, 1) CASE(g, 2) CASE(g, 3) CASE(g, 4) CASE(g, 5) CASE(g, 6)
#else
#define CASES(g) CASE(g, 1) CASE(g, 2)
#endif

static void product(const float *const *w, const float *x, int64_t k, const mia__cpu_tile *tile) {
#if GROUPS == 2
    if (tile->n > GROUP) {
        switch (tile->m) { CASES(2) }
        return;
    }
#endif
    switch (tile->m) { CASES(1) }
}

/* --- one column ------------------------------------------------------------------------------- */

/* Sums that are kept for each vector, since an addition takes as long as several loads. A turn of four reads
 * 256 bytes of f32 weights, which memory likes best. */
#define TURN 4

INLINE vf load_weights(const void *w, int64_t at, const mia_dtype dtype) {
    if (dtype == MIA_f32) return vf_load((const float *)w + at);
    return dtype == MIA_f16 ? vf_load_f16((const uint16_t *)w + at) : vf_load_bf16((const uint16_t *)w + at);
}

INLINE void matvec_of(const void *w, const mia_dtype dtype, const float *x, int64_t k, float *out,
                      unsigned n) {
    const mia__cpu_tile tile = {.out = out, .n = n, .m = 1};
    vf sums[TURN][VECTORS];
    EACH(t, TURN) {
        EACH(v, VECTORS) {
            sums[t][v] = vf_set(0);
        }
    }
    int64_t i = 0;
    for (; i + TURN <= k; i += TURN) {
        EACH(t, TURN) {
            EACH(v, VECTORS) {
                vf weights = load_weights(w, (i + t) * GROUP + v * MIA_LANES, dtype);
                sums[t][v] = vf_fma(weights, vf_set(x[i + t]), sums[t][v]);
            }
        }
    }
    for (; i < k; i++) {
        EACH(v, VECTORS) {
            sums[0][v] = vf_fma(load_weights(w, i * GROUP + v * MIA_LANES, dtype), vf_set(x[i]), sums[0][v]);
        }
    }
    EACH(v, VECTORS) {
        write_sums(&tile, v * MIA_LANES, 0, (sums[0][v] + sums[1][v]) + (sums[2][v] + sums[3][v]));
    }
}

static void matvec_f32(const float *w, const float *x, int64_t k, float *out, unsigned n) {
    matvec_of(w, MIA_f32, x, k, out, n);
}

static void matvec_f16(const uint16_t *w, const float *x, int64_t k, float *out, unsigned n) {
    matvec_of(w, MIA_f16, x, k, out, n);
}

static void matvec_bf16(const uint16_t *w, const float *x, int64_t k, float *out, unsigned n) {
    matvec_of(w, MIA_bf16, x, k, out, n);
}

static float dot(const float *a, const float *b, size_t count) {
    vf sums[TURN] = {{0}};
    size_t i = 0;
    for (; i + TURN * MIA_LANES <= count; i += TURN * MIA_LANES) {
        EACH(t, TURN) {
            size_t at = i + t * MIA_LANES;
            sums[t] = vf_fma(vf_load(a + at), vf_load(b + at), sums[t]);
        }
    }
    for (; i + MIA_LANES <= count; i += MIA_LANES) sums[0] = vf_fma(vf_load(a + i), vf_load(b + i), sums[0]);
    if (i < count) sums[0] = vf_fma(vf_load_part(a + i, count - i), vf_load_part(b + i, count - i), sums[0]);
    return vf_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

FILL_FAMILY(matmul) {
    kernels->groups = GROUPS;
    kernels->columns = COLUMNS;
    kernels->product = product;
    kernels->matvec_f32 = matvec_f32;
    kernels->matvec_f16 = matvec_f16;
    kernels->matvec_bf16 = matvec_bf16;
    kernels->dot = dot;
}
