/* Attention of a tile of rows, one pass over the keys in chunks, with the softmax rescaled as greater scores
 * are met (Milakov and Gimelshein 2018). For each chunk:
 *
 *     scores  each key against all rows; sums of 8 rows from one reading of the key
 *     weights exp(score - greatest so far)
 *     values  out = out * (rescale) + weights by values
 *
 * Included once for each instruction set; the functions exist for f32 and f16 keys and values. */
#include "backend/cpu/template/simd.h"

#define ROWS  MIA__CPU_ATTENTION_ROWS
#define CHUNK 64 /* keys */

typedef struct state {
    float scores[ROWS][CHUNK];
    float greatest[ROWS], sum[ROWS], rescale[ROWS];
    int64_t seen[ROWS]; /* keys of the chunk that a row sees */
} state;

/* Turns a chunk's scores of one row into weights and takes them into the running sum. */
static void weigh(state *s, unsigned row) {
    float *scores = s->scores[row];
    s->rescale[row] = 1;
    if (s->seen[row] == 0) return;
    vf most = vf_set(-INFINITY);
    for (int64_t i = s->seen[row]; i < CHUNK; i++) scores[i] = -INFINITY;
    for (size_t i = 0; i < CHUNK; i += MIA_LANES) most = vf_max(vf_load(scores + i), most);
    float greatest = vf_greatest(most);
    if (!(greatest > s->greatest[row]) && greatest == greatest) greatest = s->greatest[row];
    float shift = greatest == -INFINITY ? 0 : greatest;
    vf sum = {0};
    for (size_t i = 0; i < CHUNK; i += MIA_LANES) {
        vf weight = vf_exp(vf_load(scores + i) - shift);
        vf_store(scores + i, weight);
        sum += weight;
    }
    vf rescale = vf_exp(vf_set(s->greatest[row] - shift));
    s->rescale[row] = rescale[0];
    s->sum[row] = s->sum[row] * rescale[0] + vf_sum(sum);
    s->greatest[row] = greatest;
}

static void begin_tile(const mia__cpu_attention_tile *tile, state *s) {
    for (unsigned row = 0; row < tile->rows; row++) {
        s->greatest[row] = -INFINITY;
        s->sum[row] = 0;
        memset(tile->out[row], 0, (size_t)tile->value_dim * sizeof(float));
    }
}

static void end_tile(const mia__cpu_attention_tile *tile, const state *s) {
    for (unsigned row = 0; row < tile->rows; row++) {
        if (tile->visible[row] == 0) continue;
        float *out = tile->out[row], factor = 1.0f / s->sum[row];
        if (s->sum[row] == 0) factor = NAN; /* every score was -infinity */
        for (int64_t e = 0; e < tile->value_dim; e++) out[e] *= factor;
    }
}

#define ELEMENT float
#define NAME(x) x##_f32
#define LOAD    vf_load
#define ONE(x)  (x)
#include "backend/cpu/template/attention_chunk.h"

#define ELEMENT uint16_t
#define NAME(x) x##_f16
#define LOAD    vf_load_f16
#define ONE(x)  mia__f16_to_f32(x)
#include "backend/cpu/template/attention_chunk.h"

FILL_FAMILY(attention) {
    kernels->attention_f32 = attention_f32;
    kernels->attention_f16 = attention_f16;
}
