/* Tiny Llama models (tiny_llama.h): a writer and an oracle. Every choice of the oracle follows the formulas
 * of the papers, slowly and in double: it is here to disagree with the library when that is wrong. */
#include "support/tiny_llama.h"

#include "base/half.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct entry {
    char name[64];
    uint32_t first, second;
    mia_dtype dtype;
} entry;

static tiny_options complete(const tiny_options *options) {
    tiny_options o = *options;
    if (o.layers == 0) o.layers = 2;
    if (o.dim == 0) o.dim = 32;
    if (o.heads == 0) o.heads = 4;
    if (o.kv_heads == 0) o.kv_heads = 2;
    if (o.key_dim == 0) o.key_dim = o.dim / o.heads;
    if (o.value_dim == 0) o.value_dim = o.dim / o.heads;
    if (o.ffn == 0) o.ffn = 48;
    if (o.context == 0) o.context = 1024;
    if (o.rope_dim == 0) o.rope_dim = o.key_dim;
    return o;
}

uint64_t tiny_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void tiny_ids(uint64_t seed, int32_t *ids, size_t count) {
    for (size_t i = 0; i < count; i++) ids[i] = (int32_t)(tiny_random(&seed) % TINY_VOCABULARY);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void add_key(mia_gguf_writer *writer, const tiny_options *o, const char *key, uint32_t value) {
    if (o->key != NULL && strcmp(o->key, key) == 0) {
        if (o->value == UINT32_MAX) return;
        value = o->value;
    }
    mia_gguf_writer_u32(writer, key, value);
}

static void add_metadata(mia_gguf_writer *writer, const tiny_options *o) {
    const char *architecture = o->architecture != NULL ? o->architecture : "llama";
    mia_gguf_writer_text(writer, "general.architecture", (mia_text){architecture, strlen(architecture)});
    add_key(writer, o, "llama.context_length", o->context);
    add_key(writer, o, "llama.embedding_length", o->dim);
    add_key(writer, o, "llama.block_count", o->layers);
    add_key(writer, o, "llama.feed_forward_length", o->ffn);
    add_key(writer, o, "llama.attention.head_count", o->heads);
    add_key(writer, o, "llama.attention.head_count_kv", o->kv_heads);
    add_key(writer, o, "llama.attention.key_length", o->key_dim);
    add_key(writer, o, "llama.attention.value_length", o->value_dim);
    add_key(writer, o, "llama.rope.dimension_count", o->rope_dim);
    add_key(writer, o, "llama.vocab_size", TINY_VOCABULARY);
    if (o->key != NULL && strcmp(o->key, "llama.expert_count") == 0)
        mia_gguf_writer_u32(writer, o->key, o->value);
    mia_gguf_writer_f32(writer, "llama.attention.layer_norm_rms_epsilon", 1e-5F);
    if (o->linear > 0) {
        mia_gguf_writer_text(writer, "llama.rope.scaling.type", (mia_text){"linear", 6});
        mia_gguf_writer_f32(writer, "llama.rope.scaling.factor", o->linear);
    }
    if (o->yarn > 0) {
        mia_gguf_writer_text(writer, "llama.rope.scaling.type", (mia_text){"yarn", 4});
        mia_gguf_writer_f32(writer, "llama.rope.scaling.factor", o->yarn);
        mia_gguf_writer_u32(writer, "llama.rope.scaling.original_context_length", o->original);
    }
}

static void add_tokenizer(mia_gguf_writer *writer) {
    static char texts[TINY_VOCABULARY][16];
    static mia_text tokens[TINY_VOCABULARY];
    static float scores[TINY_VOCABULARY];
    static int32_t kinds[TINY_VOCABULARY];
    for (unsigned i = 0; i < TINY_VOCABULARY; i++) {
        static const char *const first[] = {"<unk>", "<s>", "</s>"};
        if (i < 3)
            snprintf(texts[i], sizeof texts[i], "%s", first[i]);
        else if (i < 259)
            snprintf(texts[i], sizeof texts[i], "<0x%02X>", i - 3);
        else
            snprintf(texts[i], sizeof texts[i], "%c%c", 'a' + (int)(i - 259) % 26, 'A' + (int)(i - 259) / 26);
        tokens[i] = (mia_text){texts[i], strlen(texts[i])};
        kinds[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
        scores[i] = -(float)i;
    }
    mia_gguf_writer_text(writer, "tokenizer.ggml.model", (mia_text){"llama", 5});
    mia_gguf_writer_texts(writer, "tokenizer.ggml.tokens", tokens, TINY_VOCABULARY);
    mia_gguf_writer_f32s(writer, "tokenizer.ggml.scores", scores, TINY_VOCABULARY);
    mia_gguf_writer_i32s(writer, "tokenizer.ggml.token_type", kinds, TINY_VOCABULARY);
    mia_gguf_writer_u32(writer, "tokenizer.ggml.unknown_token_id", 0);
    mia_gguf_writer_u32(writer, "tokenizer.ggml.bos_token_id", 1);
    mia_gguf_writer_u32(writer, "tokenizer.ggml.eos_token_id", 2);
}

static void list(entry *entries, size_t *count, const char *name, int layer, uint32_t first,
                 uint32_t second) {
    entry *e = &entries[(*count)++];
    if (layer < 0)
        snprintf(e->name, sizeof e->name, "%s", name);
    else
        snprintf(e->name, sizeof e->name, "blk.%d.%s", layer, name);
    e->first = first;
    e->second = second;
    e->dtype = MIA_f32;
}

#define MOST_ENTRIES 128

static size_t list_tensors(const tiny_options *o, entry *entries) {
    size_t count = 0;
    uint32_t q = o->heads * o->key_dim, k = o->kv_heads * o->key_dim;
    uint32_t v = o->kv_heads * o->value_dim, out = o->heads * o->value_dim;
    list(entries, &count, "token_embd.weight", -1, o->dim, TINY_VOCABULARY);
    list(entries, &count, "output_norm.weight", -1, o->dim, 0);
    if (!o->tied) list(entries, &count, "output.weight", -1, o->dim, TINY_VOCABULARY);
    if (o->factors) list(entries, &count, "rope_freqs.weight", -1, o->rope_dim / 2, 0);
    for (int i = 0; i < (int)o->layers; i++) {
        list(entries, &count, "attn_norm.weight", i, o->dim, 0);
        list(entries, &count, "attn_q.weight", i, o->dim, q);
        list(entries, &count, "attn_k.weight", i, o->dim, k);
        list(entries, &count, "attn_v.weight", i, o->dim, v);
        list(entries, &count, "attn_output.weight", i, out, o->dim);
        list(entries, &count, "ffn_norm.weight", i, o->dim, 0);
        list(entries, &count, "ffn_gate.weight", i, o->dim, o->ffn);
        list(entries, &count, "ffn_up.weight", i, o->dim, o->ffn);
        list(entries, &count, "ffn_down.weight", i, o->ffn, o->dim);
        if (o->mixed && i % 4 == 3) entries[count - 1].dtype = MIA_f16;
        if (!o->biased) continue;
        list(entries, &count, "attn_q.bias", i, q, 0);
        list(entries, &count, "attn_k.bias", i, k, 0);
        list(entries, &count, "attn_v.bias", i, v, 0);
        list(entries, &count, "attn_output.bias", i, o->dim, 0);
    }
    return count;
}

static void write_numbers(mia_gguf_writer *writer, const entry *e, uint64_t *random) {
    size_t count = (size_t)e->first * (e->second > 0 ? e->second : 1);
    bool norm = strstr(e->name, "norm") != NULL || strstr(e->name, "freqs") != NULL;
    double spread = e->second > 0 ? 1 / sqrt((double)e->first) : 0.3;
    if (strcmp(e->name, "token_embd.weight") == 0) spread = 1;
    for (size_t i = 0; i < count; i++) {
        double uniform = (double)(tiny_random(random) >> 11) / 9007199254740992.0 * 2 - 1;
        float number = norm ? (float)(1.2 + 0.5 * uniform) : (float)(uniform * spread * 1.7);
        uint16_t half = mia__f32_to_f16(number);
        mia_status status = e->dtype == MIA_f16 ? mia_gguf_writer_data(writer, &half, sizeof half, NULL)
                                                : mia_gguf_writer_data(writer, &number, sizeof number, NULL);
        if (status != MIA_OK) return; /* close tells */
    }
}

bool tiny_write(const tiny_options *options, const char *path) {
    tiny_options o = complete(options);
    mia_gguf_writer *writer;
    mia_error error = {0};
    mia_status status = mia_gguf_writer_open(path, NULL, &writer, &error);
    if (status == MIA_OK) {
        static entry entries[MOST_ENTRIES];
        size_t count = list_tensors(&o, entries);
        uint64_t random = o.seed;
        add_metadata(writer, &o);
        add_tokenizer(writer);
        for (int pass = 0; pass < 2; pass++)
            for (size_t i = 0; i < count; i++) {
                const entry *e = &entries[i];
                if (o.missing != NULL && strcmp(o.missing, e->name) == 0) continue;
                if (pass == 1)
                    write_numbers(writer, e, &random);
                else
                    mia_gguf_writer_tensor(writer, e->name, e->dtype,
                                           e->second > 0 ? MIA_SHAPE(e->first, e->second)
                                                         : MIA_SHAPE(e->first));
            }
        status = mia_gguf_writer_close(writer, &error);
    }
    if (status != MIA_OK) fprintf(stderr, "%s\n", error.message);
    return status == MIA_OK;
}

bool tiny_file(char path[1024]) {
    const char *folder = getenv("TMPDIR");
    snprintf(path, 1024, "%s/mia-tiny-XXXXXX", folder != NULL ? folder : "/tmp");
    int file = mkstemp(path);
    if (file < 0)
        perror(path);
    else
        close(file);
    return file >= 0;
}

mia_weights *tiny_open(const tiny_options *options) {
    char path[1024];
    mia_weights *weights = NULL;
    mia_error error = {0};
    if (!tiny_file(path)) return NULL;
    if (tiny_write(options, path) && mia_weights_open_file(path, NULL, &weights, &error) != MIA_OK) {
        fprintf(stderr, "%s\n", error.message);
        weights = NULL;
    }
    unlink(path);
    return weights;
}

/* --- the forward pass ------------------------------------------------------------------------- */

/* The tensor's numbers, from malloc; NULL when the file has none. */
static double *numbers(mia_weights *weights, int layer, const char *name) {
    char full[64];
    if (layer < 0)
        snprintf(full, sizeof full, "%s", name);
    else
        snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    const mia_tensor_info *info = mia_weights_find_tensor(weights, full);
    if (info == NULL) return NULL;
    size_t count = (size_t)info->bytes / sizeof(float);
    float *raw = malloc(count * sizeof *raw);
    double *out = malloc(count * sizeof *out);
    if (raw == NULL || out == NULL ||
        mia_weights_read(weights, info, 0, raw, count * sizeof *raw, NULL) != MIA_OK)
        abort();
    for (size_t i = 0; i < count; i++) out[i] = (double)raw[i];
    free(raw);
    return out;
}

/* y[n] = sum of w[k, n] x[k], plus a bias if there is one; of a layer's tensor, for `count` columns. */
static double *product(mia_weights *weights, int layer, const char *name, const double *x, size_t k, size_t n,
                       size_t count) {
    char bias_name[64];
    snprintf(bias_name, sizeof bias_name, "%.*s.bias", (int)(strlen(name) - strlen(".weight")), name);
    double *w = numbers(weights, layer, name), *bias = numbers(weights, layer, bias_name);
    double *y = malloc(n * count * sizeof *y);
    if (y == NULL || w == NULL) abort();
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < n; i++) {
            double sum = bias != NULL ? bias[i] : 0;
            for (size_t j = 0; j < k; j++) sum += w[i * k + j] * x[t * k + j];
            y[t * n + i] = sum;
        }
    free(w);
    free(bias);
    return y;
}

static double *normed(mia_weights *weights, int layer, const char *name, const double *x, size_t dim,
                      size_t count) {
    double *w = numbers(weights, layer, name), *y = malloc(dim * count * sizeof *y);
    if (w == NULL || y == NULL) abort();
    for (size_t t = 0; t < count; t++) {
        double sum = 0;
        for (size_t i = 0; i < dim; i++) sum += x[t * dim + i] * x[t * dim + i];
        double factor = 1 / sqrt(sum / (double)dim + (double)1e-5F);
        for (size_t i = 0; i < dim; i++) y[t * dim + i] = x[t * dim + i] * factor * w[i];
    }
    free(w);
    return y;
}

/* The angle of pair i at a position, and the factor of what is rotated. */
static double angle_of(const tiny_options *o, const double *factors, size_t pair, size_t position,
                       double *magnitude) {
    const double pi = 3.14159265358979323846, base = 10000;
    double rotated = (double)o->rope_dim, i = (double)pair;
    double frequency = pow(base, -2 * i / rotated) / (factors != NULL ? factors[pair] : 1);
    *magnitude = 1;
    if (o->linear > 0) frequency /= (double)o->linear;
    if (o->yarn > 0) {
        /* pairs that turn 32 times and more over the original context stay, those below 1 turn are
         * interpolated */
        double fast = rotated * log((double)o->original / (32 * 2 * pi)) / (2 * log(base));
        double slow = rotated * log((double)o->original / (1 * 2 * pi)) / (2 * log(base));
        double low = floor(fast) > 0 ? floor(fast) : 0;
        double high = ceil(slow) < rotated - 1 ? ceil(slow) : rotated - 1;
        double span = high - low > 0.001 ? high - low : 0.001, ramp = (i - low) / span;
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        frequency = frequency / (double)o->yarn * ramp + frequency * (1 - ramp);
        *magnitude = 1 + 0.1 * log((double)o->yarn);
    }
    return frequency * (double)position;
}

static void rotate(const tiny_options *o, const double *factors, double *x, size_t heads, size_t count) {
    for (size_t t = 0; t < count; t++)
        for (size_t h = 0; h < heads; h++)
            for (size_t i = 0; i < o->rope_dim / 2; i++) {
                double magnitude, angle = angle_of(o, factors, i, t, &magnitude);
                double *pair = &x[(t * heads + h) * o->key_dim + 2 * i];
                double a = pair[0], b = pair[1];
                pair[0] = (a * cos(angle) - b * sin(angle)) * magnitude;
                pair[1] = (a * sin(angle) + b * cos(angle)) * magnitude;
            }
}

/* One query's look at the keys and values up to its own position. */
static void attend(const tiny_options *o, const double *q, const double *k, const double *v, size_t t,
                   size_t h, double *out) {
    size_t group = h / (o->heads / o->kv_heads);
    double *weight = malloc((t + 1) * sizeof *weight), most = -INFINITY, sum = 0;
    if (weight == NULL) abort();
    for (size_t s = 0; s <= t; s++) {
        double dot = 0;
        for (size_t i = 0; i < o->key_dim; i++)
            dot += q[(t * o->heads + h) * o->key_dim + i] * k[(s * o->kv_heads + group) * o->key_dim + i];
        weight[s] = dot / sqrt((double)o->key_dim);
        if (weight[s] > most) most = weight[s];
    }
    for (size_t s = 0; s <= t; s++) sum += weight[s] = exp(weight[s] - most);
    for (size_t i = 0; i < o->value_dim; i++) {
        double value = 0;
        for (size_t s = 0; s <= t; s++) value += weight[s] * v[(s * o->kv_heads + group) * o->value_dim + i];
        out[(t * o->heads + h) * o->value_dim + i] = value / sum;
    }
    free(weight);
}

static void add_into(double *x, double *y, size_t count) {
    for (size_t i = 0; i < count; i++) x[i] += y[i];
    free(y);
}

static void forward_layer(mia_weights *weights, const tiny_options *o, const double *factors, int layer,
                          double *x, size_t count) {
    size_t out_dim = o->heads * o->value_dim;
    double *n = normed(weights, layer, "attn_norm.weight", x, o->dim, count);
    double *q = product(weights, layer, "attn_q.weight", n, o->dim, o->heads * o->key_dim, count);
    double *k = product(weights, layer, "attn_k.weight", n, o->dim, o->kv_heads * o->key_dim, count);
    double *v = product(weights, layer, "attn_v.weight", n, o->dim, o->kv_heads * o->value_dim, count);
    double *y = malloc(out_dim * count * sizeof *y);
    if (y == NULL) abort();
    rotate(o, factors, q, o->heads, count);
    rotate(o, factors, k, o->kv_heads, count);
    for (size_t t = 0; t < count; t++)
        for (size_t h = 0; h < o->heads; h++) attend(o, q, k, v, t, h, y);
    add_into(x, product(weights, layer, "attn_output.weight", y, out_dim, o->dim, count), o->dim * count);
    free(n);
    n = normed(weights, layer, "ffn_norm.weight", x, o->dim, count);
    double *gate = product(weights, layer, "ffn_gate.weight", n, o->dim, o->ffn, count);
    double *up = product(weights, layer, "ffn_up.weight", n, o->dim, o->ffn, count);
    for (size_t i = 0; i < o->ffn * count; i++) gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
    add_into(x, product(weights, layer, "ffn_down.weight", gate, o->ffn, o->dim, count), o->dim * count);
    free(n);
    free(q);
    free(k);
    free(v);
    free(y);
    free(gate);
    free(up);
}

void tiny_forward(mia_weights *weights, const tiny_options *options, const int32_t *ids, size_t count,
                  double *logits) {
    tiny_options o = complete(options);
    double *embedding = numbers(weights, -1, "token_embd.weight"),
           *factors = numbers(weights, -1, "rope_freqs.weight");
    double *x = malloc(o.dim * count * sizeof *x);
    if (embedding == NULL || x == NULL) abort();
    for (size_t t = 0; t < count; t++)
        memcpy(&x[t * o.dim], &embedding[(size_t)ids[t] * o.dim], o.dim * sizeof *x);
    for (int i = 0; i < (int)o.layers; i++) forward_layer(weights, &o, factors, i, x, count);
    double *n = normed(weights, -1, "output_norm.weight", x, o.dim, count);
    const char *output = o.tied ? "token_embd.weight" : "output.weight";
    double *y = product(weights, -1, output, n, o.dim, TINY_VOCABULARY, count);
    memcpy(logits, y, TINY_VOCABULARY * count * sizeof *y);
    free(embedding);
    free(factors);
    free(x);
    free(n);
    free(y);
}
