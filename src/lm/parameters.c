/* Hyperparameters of a model, read from metadata by the architecture's name ("llama.block_count", ...), every
 * value checked alone and against the others. Knows no tensors but rope_freqs.weight, the per-pair factors
 * that Llama 3 files carry. */
#include "model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST_CONTEXT (INT64_C(1) << 30)
#define MOST_WIDTH   (INT64_C(1) << 24) /* of anything that a token's vector can be as long as */
#define PI           3.14159265358979323846

/* Reads keys one after the other; after the first fault the rest give zeros, so that the caller
 * checks once. */
typedef struct reader {
    const mia_weights *weights;
    const char *architecture;
    mia_error *error;
    mia_status status;
    char key[128];
} reader;

static bool present(reader *r, const char *name) {
    mia_value value;
    snprintf(r->key, sizeof r->key, "%s.%s", r->architecture, name);
    return r->status == MIA_OK && mia_weights_find(r->weights, r->key, &value);
}

static int64_t read_count(reader *r, const char *name, int64_t most) {
    uint32_t value = 0;
    snprintf(r->key, sizeof r->key, "%s.%s", r->architecture, name);
    if (r->status != MIA_OK) return 0;
    r->status = mia_weights_get_u32(r->weights, r->key, &value, r->error);
    if (r->status == MIA_OK && (value == 0 || value > most))
        r->status = mia_error_set(r->error, MIA_ERROR_FORMAT,
                                  "%s: \"%s\" is %" PRIu32 "; it has to be from 1 to %" PRId64,
                                  mia_weights_name(r->weights), r->key, value, most);
    return r->status == MIA_OK ? value : 0;
}

static int64_t read_count_or(reader *r, const char *name, int64_t most, int64_t otherwise) {
    return present(r, name) ? read_count(r, name, most) : otherwise;
}

/* A finite number from least to most. */
static double read_number(reader *r, const char *name, double least, double most) {
    float value = 0;
    snprintf(r->key, sizeof r->key, "%s.%s", r->architecture, name);
    if (r->status != MIA_OK) return 0;
    r->status = mia_weights_get_f32(r->weights, r->key, &value, r->error);
    if (r->status == MIA_OK && !((double)value >= least && (double)value <= most))
        r->status = mia_error_set(r->error, MIA_ERROR_FORMAT, "%s: \"%s\" is %g; it has to be from %g to %g",
                                  mia_weights_name(r->weights), r->key, (double)value, least, most);
    return r->status == MIA_OK ? (double)value : 0;
}

static double read_number_or(reader *r, const char *name, double least, double most, double otherwise) {
    return present(r, name) ? read_number(r, name, least, most) : otherwise;
}

/* Sets the reader's fault: `value` of `name` has to be a multiple of `unit` of `of`. */
static void check_multiple(reader *r, const char *name, int64_t value, const char *of, int64_t unit) {
    if (r->status == MIA_OK && unit > 0 && value % unit != 0)
        r->status = mia_error_set(
            r->error, MIA_ERROR_FORMAT,
            "%s: \"%s.%s\" is %" PRId64 ", which is not a multiple of \"%s.%s\", %" PRId64,
            mia_weights_name(r->weights), r->architecture, name, value, r->architecture, of, unit);
}

/* A value that is at most another. */
static void check_most(reader *r, const char *name, int64_t value, const char *of, int64_t most) {
    if (r->status == MIA_OK && value > most)
        r->status = mia_error_set(r->error, MIA_ERROR_FORMAT,
                                  "%s: \"%s.%s\" is %" PRId64 ", more than the %" PRId64 " of %s",
                                  mia_weights_name(r->weights), r->architecture, name, value, most, of);
}

static void read_heads(reader *r, mia__parameters *p) {
    p->heads = read_count(r, "attention.head_count", MOST_WIDTH);
    p->kv_heads = read_count_or(r, "attention.head_count_kv", MOST_WIDTH, p->heads);
    if (r->status != MIA_OK) return;
    check_multiple(r, "attention.head_count", p->heads, "attention.head_count_kv", p->kv_heads);
    if (!present(r, "attention.key_length") || !present(r, "attention.value_length"))
        check_multiple(r, "embedding_length", p->dim, "attention.head_count", p->heads);
    int64_t head_dim = p->heads > 0 ? p->dim / p->heads : 0;
    p->key_dim = read_count_or(r, "attention.key_length", MOST_WIDTH, head_dim);
    p->value_dim = read_count_or(r, "attention.value_length", MOST_WIDTH, head_dim);
    p->rope_dim = read_count_or(r, "rope.dimension_count", MOST_WIDTH, p->key_dim);
    check_most(r, "rope.dimension_count", p->rope_dim, "a head", p->key_dim);
    if (r->status == MIA_OK && p->rope_dim % 2 != 0)
        r->status = mia_error_set(r->error, MIA_ERROR_FORMAT,
                                  "%s: \"%s.rope.dimension_count\" is %" PRId64
                                  "; positions turn pairs of elements, so it has to be even",
                                  mia_weights_name(r->weights), r->architecture, p->rope_dim);
}

/* Every layer has tensors of its own, so a block_count from nowhere ends here, before anything is allocated
 * for it. Files with a vocabulary alone carry the hyperparameters of their models. */
static void check_layers(reader *r, const mia__parameters *p) {
    size_t tensors = mia_weights_tensor_count(r->weights);
    if (r->status == MIA_OK && tensors == 0)
        r->status = mia_error_set(r->error, MIA_ERROR_FORMAT,
                                  "%s: the file has no tensors, only a vocabulary and hyperparameters",
                                  mia_weights_name(r->weights));
    check_most(r, "block_count", p->layers, "the file's tensors", (int64_t)tensors);
}

mia_status mia__parameters_read(const mia_weights *weights, const char *architecture, mia__parameters *out,
                                mia_error *error) {
    reader r = {.weights = weights, .architecture = architecture, .error = error};
    mia__parameters p = {0};
    p.context = read_count_or(&r, "context_length", MOST_CONTEXT, 0);
    p.layers = read_count(&r, "block_count", MOST_WIDTH);
    p.dim = read_count(&r, "embedding_length", MOST_WIDTH);
    p.ffn = read_count(&r, "feed_forward_length", MOST_WIDTH);
    p.epsilon = read_number(&r, "attention.layer_norm_rms_epsilon", 0, 1);
    p.vocabulary = read_count_or(&r, "vocab_size", INT32_MAX, 0);
    read_heads(&r, &p);
    check_layers(&r, &p);
    if (present(&r, "expert_count")) {
        uint32_t experts = 0;
        r.status = mia_weights_get_u32(weights, r.key, &experts, error);
        if (r.status == MIA_OK && experts > 0)
            r.status = mia_error_set(error, MIA_ERROR_UNSUPPORTED,
                                     "%s: \"%s\" is %" PRIu32 "; models of experts do not run",
                                     mia_weights_name(weights), r.key, experts);
    }
    if (r.status == MIA_OK) *out = p;
    return r.status;
}

/* --- rotary frequencies ----------------------------------------------------------------------- */

typedef enum scaling_type { SCALING_NONE, SCALING_LINEAR, SCALING_YARN } scaling_type;

typedef struct scaling {
    scaling_type type;
    double factor;               /* how many times longer the context was made */
    double original_context;     /* that the model was first trained with */
    double attention;            /* factor of rotated values */
    double beta_fast, beta_slow; /* turns over the original context between which YaRN blends */
} scaling;

static scaling_type read_scaling_type(reader *r) {
    mia_text text = {0};
    if (!present(r, "rope.scaling.type"))
        return present(r, "rope.scale_linear") ? SCALING_LINEAR : SCALING_NONE;
    r->status = mia_weights_get_text(r->weights, r->key, &text, r->error);
    if (r->status != MIA_OK) return SCALING_NONE;
    static const char *const names[] = {
        [SCALING_NONE] = "none", [SCALING_LINEAR] = "linear", [SCALING_YARN] = "yarn"};
    for (int type = SCALING_NONE; type <= SCALING_YARN; type++)
        if (text.length == strlen(names[type]) && memcmp(text.bytes, names[type], text.length) == 0)
            return (scaling_type)type;
    char shown[64];
    mia_text_escape(text, shown, sizeof shown);
    r->status = mia_error_set(r->error, MIA_ERROR_UNSUPPORTED,
                              "%s: \"%s\" is \"%s\"; none, linear and yarn are known",
                              mia_weights_name(r->weights), r->key, shown);
    return SCALING_NONE;
}

static scaling read_scaling(reader *r, const mia__parameters *p) {
    scaling s = {.type = read_scaling_type(r), .factor = 1};
    if (s.type != SCALING_NONE) {
        const char *key = present(r, "rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
        s.factor = read_number_or(r, key, 0, 1e6, 1);
        if (s.factor < 1e-3) s.factor = 1; /* some files say 0 for "unchanged" */
    }
    s.original_context =
        (double)read_count_or(r, "rope.scaling.original_context_length", MOST_CONTEXT, p->context);
    s.attention = read_number_or(r, "rope.scaling.attn_factor", 1e-3, 1e3, 1);
    s.beta_fast = read_number_or(r, "rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32);
    s.beta_slow = read_number_or(r, "rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1);
    if (r->status == MIA_OK && s.type == SCALING_YARN && s.original_context <= 0)
        r->status =
            mia_error_set(r->error, MIA_ERROR_NOT_FOUND,
                          "%s: \"%s.rope.scaling.original_context_length\" is missing, which yarn needs",
                          mia_weights_name(r->weights), r->architecture);
    return s;
}

/* The pair of elements that turns `turns` times over the original context (YaRN, arXiv 2309.00071,
 * section 3.2). */
static double pair_of_turns(const mia__parameters *p, double base, double context, double turns) {
    return (double)p->rope_dim * log(context / (turns * 2 * PI)) / (2 * log(base));
}

static void scale(const mia__parameters *p, const scaling *s, double base, double *frequencies) {
    double low = 0, high = 0;
    if (s->type == SCALING_YARN) {
        low = fmax(0, floor(pair_of_turns(p, base, s->original_context, s->beta_fast)));
        high = fmin((double)p->rope_dim - 1, ceil(pair_of_turns(p, base, s->original_context, s->beta_slow)));
    }
    for (int64_t i = 0; i < p->rope_dim / 2; i++) {
        double interpolated = frequencies[i] / s->factor, kept = 0;
        if (s->type == SCALING_YARN) kept = 1 - fmin(1, fmax(0, ((double)i - low) / fmax(0.001, high - low)));
        frequencies[i] = interpolated * (1 - kept) + frequencies[i] * kept;
    }
}

/* Llama 3: divides each frequency by a number of the tensor rope_freqs.weight, if there is one. */
static mia_status divide_by_factors(const mia_weights *weights, int64_t pairs, float *factors,
                                    double *frequencies, mia_error *error) {
    const mia_tensor_info *tensor = mia_weights_find_tensor(weights, "rope_freqs.weight");
    if (tensor == NULL) return MIA_OK;
    if (tensor->dtype != MIA_f32 || tensor->shape.ndim != 1 || tensor->shape.extent[0] != pairs)
        return mia_error_set(error, MIA_ERROR_FORMAT,
                             "%s: tensor \"rope_freqs.weight\" is %s of %" PRId64 " elements in %" PRIu32
                             " modes; f32 of %" PRId64 " elements is needed",
                             mia_weights_name(weights), tensor->type_name, tensor->shape.extent[0],
                             tensor->shape.ndim, pairs);
    mia_status status = mia_weights_read(weights, tensor, 0, factors, (size_t)pairs * sizeof(float), error);
    if (status != MIA_OK) return status;
    for (int64_t i = 0; i < pairs; i++) {
        if (!(factors[i] > 0) || !isfinite(factors[i]))
            return mia_error_set(error, MIA_ERROR_FORMAT,
                                 "%s: tensor \"rope_freqs.weight\" holds %g at %" PRId64
                                 "; only positive numbers can be there",
                                 mia_weights_name(weights), (double)factors[i], i);
        frequencies[i] /= (double)factors[i];
    }
    return MIA_OK;
}

mia_status mia__rope_frequencies(const mia_weights *weights, const char *architecture,
                                 const mia__parameters *parameters, float *frequencies, double *magnitude,
                                 double *scratch, mia_error *error) {
    reader r = {.weights = weights, .architecture = architecture, .error = error};
    double base = read_number_or(&r, "rope.freq_base", 1.001, 1e12, 10000);
    scaling s = read_scaling(&r, parameters);
    if (r.status != MIA_OK) return r.status;
    int64_t pairs = parameters->rope_dim / 2;
    for (int64_t i = 0; i < pairs; i++)
        scratch[i] = pow(base, -2.0 * (double)i / (double)parameters->rope_dim);
    mia_status status = divide_by_factors(weights, pairs, frequencies, scratch, error);
    if (status != MIA_OK) return status;
    scale(parameters, &s, base, scratch);
    for (int64_t i = 0; i < pairs; i++) frequencies[i] = (float)scratch[i];
    /* YaRN's attention temperature, put into queries and keys alike */
    *magnitude = s.attention * (s.type == SCALING_YARN ? 1 + 0.1 * log(s.factor) : 1);
    return MIA_OK;
}
