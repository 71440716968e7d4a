/* The Llama architecture: RMSNorm, rotary positions, grouped-query attention over caches, SwiGLU, residuals,
 * and an output tied to the embedding or of its own. All that a chunk of tokens does is recorded here,
 * straight down. */
#include "model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LAYER_TENSORS 13

typedef struct llama_layer {
    mia_tensor attention_norm, q, k, v, o;     /* weights are [inputs, outputs] */
    mia_tensor q_bias, k_bias, v_bias, o_bias; /* zero handles where the file has none */
    mia_tensor ffn_norm, gate, up, down;
    mia_dtype types[LAYER_TENSORS]; /* of all these; MIA_NONE where the file has none */
} llama_layer;

typedef struct llama {
    mia_tensor embedding, output_norm, output;
    size_t layer_count;
    llama_layer layers[];
} llama;

/* --- constants -------------------------------------------------------------------------------- */

static mia_status open_layer(mia_lm *lm, int64_t index, llama_layer *layer, mia_error *error) {
    const mia__parameters *p = &lm->parameters;
    int64_t q = p->heads * p->key_dim, k = p->kv_heads * p->key_dim;
    int64_t v = p->kv_heads * p->value_dim, o = p->heads * p->value_dim;
    const struct {
        const char *name;
        int64_t first, second;
        bool optional;
        mia_tensor *into;
    } wanted[LAYER_TENSORS] = {
        {"attn_norm.weight", p->dim, 0, false, &layer->attention_norm},
        {"attn_q.weight", p->dim, q, false, &layer->q},
        {"attn_k.weight", p->dim, k, false, &layer->k},
        {"attn_v.weight", p->dim, v, false, &layer->v},
        {"attn_output.weight", o, p->dim, false, &layer->o},
        {"attn_q.bias", q, 0, true, &layer->q_bias},
        {"attn_k.bias", k, 0, true, &layer->k_bias},
        {"attn_v.bias", v, 0, true, &layer->v_bias},
        {"attn_output.bias", p->dim, 0, true, &layer->o_bias},
        {"ffn_norm.weight", p->dim, 0, false, &layer->ffn_norm},
        {"ffn_gate.weight", p->dim, p->ffn, false, &layer->gate},
        {"ffn_up.weight", p->dim, p->ffn, false, &layer->up},
        {"ffn_down.weight", p->ffn, p->dim, false, &layer->down},
    };
    mia_status status = MIA_OK;
    for (size_t i = 0; status == MIA_OK && i < LAYER_TENSORS; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%" PRId64 ".%s", index, wanted[i].name);
        status = mia__lm_constant(lm, name, wanted[i].first, wanted[i].second, wanted[i].optional,
                                  wanted[i].into, error);
        bool there = status == MIA_OK && wanted[i].into->device != NULL;
        layer->types[i] = there ? mia_tensor_dtype(*wanted[i].into) : MIA_NONE;
    }
    return status;
}

static size_t data_bytes(size_t layers) {
    return sizeof(llama) + layers * sizeof(llama_layer);
}

static mia_status open_llama(mia_lm *lm, mia_error *error) {
    const mia__parameters *p = &lm->parameters;
    llama *model = mia_allocate_zeroed(mia__lm_allocator(lm), 1, data_bytes((size_t)p->layers));
    if (model == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a model's layers");
    lm->data = model;
    model->layer_count = (size_t)p->layers;
    mia_status status =
        mia__lm_constant(lm, "token_embd.weight", p->dim, p->vocabulary, false, &model->embedding, error);
    if (status == MIA_OK)
        status = mia__lm_constant(lm, "output_norm.weight", p->dim, 0, false, &model->output_norm, error);
    if (status == MIA_OK)
        status = mia__lm_constant(lm, "output.weight", p->dim, p->vocabulary, true, &model->output, error);
    if (model->output.device == NULL) model->output = model->embedding;
    for (int64_t i = 0; status == MIA_OK && i < p->layers; i++)
        status = open_layer(lm, i, &model->layers[i], error);
    return status;
}

static void close_llama(mia_lm *lm) {
    llama *model = lm->data;
    if (model != NULL) mia_release(mia__lm_allocator(lm), model, data_bytes(model->layer_count));
    lm->data = NULL;
}

static bool same_types(const llama_layer *a, const llama_layer *b) {
    return memcmp(a->types, b->types, sizeof a->types) == 0;
}

/* Whether two neighbours like layers i - 1 and i come before them. */
static bool seen_before(const llama *model, size_t i) {
    for (size_t j = 1; j < i; j++)
        if (same_types(&model->layers[j - 1], &model->layers[i - 1]) &&
            same_types(&model->layers[j], &model->layers[i]))
            return true;
    return false;
}

/* A first, a middle and a last one; by the types of their tensors all neighbours that there are, since what is fused may reach from
 * one to the next; and as the last one of those of the model's last. */
static int64_t telling_llama(const mia_lm *lm) {
    const llama *model = lm->data;
    size_t count = model->layer_count, n = count < 3 ? count : 3;
    for (size_t i = n; i < count; i++)
        if (!seen_before(model, i)) n = i + 1;
    while (n < count && !same_types(&model->layers[n - 1], &model->layers[count - 1])) n++;
    return (int64_t)n;
}

/* --- recording -------------------------------------------------------------------------------- */

/* A vector of weights as f32, whatever the file holds. */
static mia_tensor_f32 vector(mia_tensor constant) {
    return mia_tensor_dtype(constant) == MIA_f32 ? mia_as(f32, constant) : mia_convert(f32, constant);
}

static mia_tensor_f32 linear(mia_tensor weight, mia_tensor bias, mia_tensor_f32 x) {
    mia_tensor_f32 y = mia_matmul(weight, x);
    return bias.device == NULL ? y : mia_add(y, vector(bias));
}

/* Queries or keys as heads, turned by their positions. */
static mia_tensor_f32 rotated_heads(const mia_lm *lm, const mia__chunk_inputs *in, mia_tensor_f32 x,
                                    int64_t heads) {
    x = mia_reshape(x, MIA_SHAPE(lm->parameters.key_dim, heads, in->rows));
    return mia_rope(x, mia_ref(in->positions), mia_ref(lm->frequencies), MIA_ROPE_INTERLEAVED, lm->magnitude);
}

/* Writes heads [d, kv_heads, rows] into a cache [d, capacity, kv_heads]; the new cache takes the old one's
 * place. */
static mia_tensor_f32 cached(mia_tensor_f32 *cache, mia_tensor_f32 heads, const mia__chunk_inputs *in) {
    *cache = mia_update(*cache, mia_permute(heads, MIA_SHAPE(0, 2, 1)), mia_ref(in->start), 1);
    return mia_ref(*cache);
}

static mia_tensor_f32 attention(const mia_lm *lm, const llama_layer *layer, const mia__chunk_inputs *in,
                                mia_tensor_f32 x, mia_tensor_f32 *caches) {
    const mia__parameters *p = &lm->parameters;
    mia_tensor_f32 q = rotated_heads(lm, in, linear(layer->q, layer->q_bias, mia_ref(x)), p->heads);
    mia_tensor_f32 k = rotated_heads(lm, in, linear(layer->k, layer->k_bias, mia_ref(x)), p->kv_heads);
    mia_tensor_f32 v = linear(layer->v, layer->v_bias, x);
    v = mia_reshape(v, MIA_SHAPE(p->value_dim, p->kv_heads, in->rows));
    k = cached(&caches[0], k, in);
    v = cached(&caches[1], v, in);
    mia_tensor_f32 y = mia_attention(q, k, v, mia_ref(in->length), 1 / sqrt((double)p->key_dim));
    y = mia_reshape(y, MIA_SHAPE(p->heads * p->value_dim, in->rows));
    return linear(layer->o, layer->o_bias, y);
}

static mia_tensor_f32 feed_forward(const llama_layer *layer, mia_tensor_f32 x) {
    mia_tensor_f32 gate = mia_silu(mia_matmul(layer->gate, mia_ref(x)));
    return mia_matmul(layer->down, mia_mul(gate, mia_matmul(layer->up, x)));
}

static mia_tensor_f32 record_llama(const mia_lm *lm, const mia__chunk_inputs *in, mia_tensor_f32 *caches) {
    const llama *model = lm->data;
    double epsilon = lm->parameters.epsilon;
    mia_tensor_f32 x = mia_embedding(model->embedding, mia_ref(in->ids));
    for (size_t i = 0; i < (size_t)lm->parameters.layers; i++) {
        const llama_layer *layer = &model->layers[i];
        mia_tensor_f32 normed = mia_rms_norm(mia_ref(x), vector(layer->attention_norm), epsilon);
        x = mia_add(x, attention(lm, layer, in, normed, &caches[2 * i]));
        normed = mia_rms_norm(mia_ref(x), vector(layer->ffn_norm), epsilon);
        x = mia_add(x, feed_forward(layer, normed));
    }
    return x;
}

static mia_tensor_f32 output_llama(const mia_lm *lm, mia_tensor_f32 x) {
    const llama *model = lm->data;
    x = mia_rms_norm(x, vector(model->output_norm), lm->parameters.epsilon);
    return mia_matmul(model->output, x);
}

const mia__architecture mia__llama = {.name = "llama",
                                      .open = open_llama,
                                      .close = close_llama,
                                      .record = record_llama,
                                      .telling = telling_llama,
                                      .output = output_llama};
