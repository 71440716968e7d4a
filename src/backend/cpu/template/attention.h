/* Attention of a tile of rows, one pass over the keys in chunks, with the softmax rescaled as greater scores
 * are met (Milakov and Gimelshein 2018). For each chunk:
 *
 *     scores  each key by all rows: as many products at a time as a vector has lanes, added up together
 *     weights exp(score - greatest so far)
 *     values  out = out * (rescale) + weights by values
 *
 * Included once for each instruction set; scores and values exist for f32, f16 and bf16 keys and values. */
#include "backend/cpu/template/simd.h"

#define ROWS  MIA__CPU_ATTENTION_ROWS
#define CHUNK MIA__CPU_ATTENTION_CHUNK

/* Turns a chunk's scores of one row into weights and takes them into the running sum. */
static void weigh(mia__cpu_attention_tile *tile, unsigned row) {
    float *scores = tile->scores[row];
    size_t seen = (size_t)tile->seen[row], end = (seen + MIA_LANES - 1) / MIA_LANES * MIA_LANES;
    vf most = vf_set(-INFINITY);
    tile->rescale[row] = 1;
    if (seen == 0) return;
    for (size_t i = 0; i < end; i += MIA_LANES) {
        bool whole = i + MIA_LANES <= seen;
        vf score = vf_load(scores + i) * tile->scale;
        if (tile->mask[row] != NULL) {
            const float *at = tile->mask[row] + i;
            vf mask = whole ? vf_load(at) : vf_load_part(at, seen - i);
            score = vf_select(mask == -INFINITY, mask, score + mask); /* hides what is infinite, too */
        }
        vf_store(scores + i, score);
        for (size_t j = seen; !whole && j < end; j++) scores[j] = -INFINITY;
        most = vf_max(vf_load(scores + i), most);
    }
    float greatest = vf_greatest(most), before = tile->greatest[row];
    if (!(greatest > before) && greatest == greatest) greatest = before;
    float shift = greatest == -INFINITY ? 0 : greatest;
    vf sum = {0};
    for (size_t i = 0; i < end; i += MIA_LANES) {
        vf weight = vf_exp_below(vf_load(scores + i) - shift);
        vf_store(scores + i, weight);
        sum += weight;
    }
    if (before != shift) tile->rescale[row] = vf_exp_below(vf_set(before - shift))[0];
    tile->sum[row] = tile->sum[row] * tile->rescale[row] + vf_sum(sum);
    tile->greatest[row] = greatest;
}

static void attention_weights(mia__cpu_attention_tile *tile) {
    for (unsigned row = 0; row < tile->rows; row++) weigh(tile, row);
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

#define ELEMENT uint16_t
#define NAME(x) x##_bf16
#define LOAD    vf_load_bf16
#define ONE(x)  mia__bf16_to_f32(x)
#include "backend/cpu/template/attention_chunk.h"

FILL_FAMILY(attention) {
    kernels->attention_weights = attention_weights;
    kernels->attention_scores[0] = scores_f32;
    kernels->attention_scores[1] = scores_f16;
    kernels->attention_scores[2] = scores_bf16;
    kernels->attention_values[0] = values_f32;
    kernels->attention_values[1] = values_f16;
    kernels->attention_values[2] = values_bf16;
}
