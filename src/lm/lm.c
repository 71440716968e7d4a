/* Opens language models: finds the architecture by its name in the file, has it collect its constants, plans
 * the largest step to know the memory before anything is loaded, and loads. Recording is in the
 * architecture's file, running in state.c. */
#include "model.h"

#include <inttypes.h>
#include <string.h>

static const mia__architecture *const architectures[] = {&mia__llama};
#define ARCHITECTURES (sizeof architectures / sizeof architectures[0])

/* --- constants -------------------------------------------------------------------------------- */

static mia_status check_type(const mia_lm *lm, const mia_tensor_info *info, const char *name,
                             mia_error *error) {
    uint64_t types = mia_op_describe(MIA_OP_matmul)->types;
    if (info->dtype != MIA_NONE && (types >> info->dtype & 1) != 0) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_UNSUPPORTED,
                         "%s: tensor \"%s\" is of type %s, which Mia does not compute with yet",
                         mia_weights_name(lm->weights), name, info->type_name);
}

static mia_status check_shape(const mia_lm *lm, const mia_tensor_info *info, const char *name, int64_t first,
                              int64_t second, mia_error *error) {
    const mia_shape *shape = &info->shape;
    uint32_t ndim = second == 0 ? 1 : 2;
    if (shape->ndim == ndim && shape->extent[0] == first && (second == 0 || shape->extent[1] == second))
        return MIA_OK;
    const char *file = mia_weights_name(lm->weights);
    if (shape->ndim > 2)
        return mia_error_set(error, MIA_ERROR_FORMAT, "%s: tensor \"%s\" has %" PRIu32 " modes, not %" PRIu32,
                             file, name, shape->ndim, ndim);
    int64_t extents[2] = {shape->ndim > 0 ? shape->extent[0] : 1, shape->ndim > 1 ? shape->extent[1] : 1};
    return mia_error_set(error, MIA_ERROR_FORMAT,
                         "%s: tensor \"%s\" is [%" PRId64 ", %" PRId64
                         "]; the hyperparameters ask for [%" PRId64 ", %" PRId64 "]",
                         file, name, extents[0], extents[1], first, second == 0 ? 1 : second);
}

mia_status mia__lm_constant(mia_lm *lm, const char *name, int64_t first, int64_t second, bool optional,
                            mia_tensor *out, mia_error *error) {
    *out = (mia_tensor){0};
    const mia_tensor_info *info = mia_weights_find_tensor(lm->weights, name);
    if (info == NULL && optional) return MIA_OK;
    if (info == NULL)
        return mia_error_set(error, MIA_ERROR_NOT_FOUND, "%s: there is no tensor \"%s\"",
                             mia_weights_name(lm->weights), name);
    mia_status status = check_type(lm, info, name, error);
    if (status == MIA_OK) status = check_shape(lm, info, name, first, second, error);
    if (status != MIA_OK) return status;
    mia_tensor constant = mia_weights_tensor(lm->device, lm->weights, name);
    status = mia_tensor_status(constant, error);
    if (status != MIA_OK) {
        mia_op_unref(constant, __FILE__, __LINE__);
        return status;
    }
    *out = constant;
    return MIA_OK;
}

/* --- opening ---------------------------------------------------------------------------------- */

static mia_status find_architecture(mia_lm *lm, mia_error *error) {
    mia_text name = {0};
    mia_status status = mia_weights_get_text(lm->weights, "general.architecture", &name, error);
    if (status != MIA_OK) return status;
    for (size_t i = 0; i < ARCHITECTURES; i++) {
        const char *known = architectures[i]->name;
        if (name.length == strlen(known) && memcmp(name.bytes, known, name.length) == 0)
            lm->architecture = architectures[i];
    }
    if (lm->architecture != NULL) return MIA_OK;
    char shown[64];
    mia_text_escape(name, shown, sizeof shown);
    return mia_error_set(error, MIA_ERROR_UNSUPPORTED,
                         "%s: models of architecture \"%s\" do not run; llama does",
                         mia_weights_name(lm->weights), shown);
}

/* The vocabulary's size is stated up to three times: by the embedding's rows, the tokenizer and
 * maybe a key. */
static mia_status check_vocabulary(mia_lm *lm, mia_error *error) {
    const char *file = mia_weights_name(lm->weights);
    const mia_tensor_info *embedding = mia_weights_find_tensor(lm->weights, "token_embd.weight");
    int64_t tokens = (int64_t)mia_tokenizer_vocabulary(lm->tokenizer), stated = lm->parameters.vocabulary;
    if (stated != 0 && stated != tokens)
        return mia_error_set(error, MIA_ERROR_FORMAT,
                             "%s: \"%s.vocab_size\" is %" PRId64 ", but the tokenizer has %" PRId64 " tokens",
                             file, lm->architecture->name, stated, tokens);
    if (embedding != NULL && embedding->shape.ndim == 2 && embedding->shape.extent[1] != tokens)
        return mia_error_set(error, MIA_ERROR_FORMAT,
                             "%s: tensor \"token_embd.weight\" has rows for %" PRId64
                             " tokens, but the tokenizer has %" PRId64,
                             file, embedding->shape.extent[1], tokens);
    lm->parameters.vocabulary = tokens;
    return MIA_OK;
}

static mia_status choose_context(mia_lm *lm, int64_t asked, mia_error *error) {
    int64_t most = INT64_C(1) << 30;
    if (asked < 0 || asked > most)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "a context of %" PRId64 " tokens is outside 1 to %" PRId64, asked, most);
    lm->context = asked > 0 ? asked : lm->parameters.context;
    if (lm->context > 0) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_NOT_FOUND,
                         "%s: \"%s.context_length\" is missing; say how long the context is to be",
                         mia_weights_name(lm->weights), lm->architecture->name);
}

static mia_status make_frequencies(mia_lm *lm, mia_error *error) {
    const mia_allocator *allocator = mia__lm_allocator(lm);
    size_t pairs = (size_t)lm->parameters.rope_dim / 2;
    size_t bytes = pairs * (sizeof(double) + sizeof(float));
    double *scratch = mia_allocate(allocator, bytes, _Alignof(double));
    if (scratch == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for %zu rotary frequencies", pairs);
    float *frequencies = (float *)(scratch + pairs);
    mia_status status = mia__rope_frequencies(lm->weights, lm->architecture->name, &lm->parameters,
                                              frequencies, &lm->magnitude, scratch, error);
    if (status == MIA_OK) {
        /* held as an ordinary value, not as a constant, so that it goes with the model and not with the
         * device */
        lm->frequencies = mia_upload(f32, lm->device, MIA_SHAPE((int64_t)pairs), frequencies);
        status = mia_tensor_status(lm->frequencies.untyped, error);
    }
    mia_release(allocator, scratch, bytes);
    return status;
}

/* What make_frequencies and the architecture's open made. */
static void close_constants(mia_lm *lm) {
    if (lm->architecture != NULL) lm->architecture->close(lm);
    if (lm->frequencies.untyped.device != NULL) mia_unref(lm->frequencies);
    lm->frequencies = (mia_tensor_f32){{0}};
}

/* --- planning (plan.c) and loading --------------------------------------------------------------------- */

/* The most that any use of a state needs, held against the limit. */
static mia_status plan_memory(mia_lm *lm, uint64_t limit, mia_error *error) {
    mia_lm_memory memory;
    mia_status status = mia_lm_plan(lm, 0, 0, NULL, &memory, error);
    if (status != MIA_OK) return status;
    lm->needed_bytes = memory.peak_bytes;
    if (limit != 0 && lm->needed_bytes > limit)
        return mia_error_set(error, MIA_ERROR_OVER_LIMIT, "%s needs %" PRIu64 " bytes, the limit is %" PRIu64,
                             mia_weights_name(lm->weights), lm->needed_bytes, limit);
    return MIA_OK;
}

/* Plans on a device of the same kind without a limit, where planning itself cannot run into the limit. */
static mia_status plan_elsewhere(mia_lm *lm, const mia_device_info *kind, mia_error *error) {
    mia_device *own = lm->device;
    mia_device_options options = {.backend = kind->backend,
                                  .threads = 1,
                                  .precision = kind->precision,
                                  .no_fusion = kind->no_fusion,
                                  .webgpu = kind->webgpu,
                                  .allocator = &lm->allocator};
    mia_status status = mia_device_open(&options, &lm->device, error);
    if (status == MIA_OK) {
        status = make_frequencies(lm, error);
        if (status == MIA_OK) status = lm->architecture->open(lm, error);
        if (status == MIA_OK) status = plan_memory(lm, kind->max_bytes, error);
        close_constants(lm);
        (void)mia_device_close(lm->device, NULL);
    }
    lm->device = own;
    return status;
}

/* Loads what a chunk of `rows` tokens needs, with small caches. */
static mia_status load_for(mia_lm *lm, int64_t rows, const mia_lm_options *options, mia_error *error) {
    static const int32_t ids[MIA__CHUNK_ROWS];
    mia_lm_state *state;
    mia_status status = mia_lm_state_open(lm, &state, error);
    if (status != MIA_OK) return status;
    mia__state_record(state, ids, rows, rows, mia__state_capacity(lm, rows), MIA__LOGITS_LAST);
    size_t count = mia__state_values(state, MIA__LOGITS_LAST);
    status = mia_tensor_prepare(state->values, count, options->progress, options->progress_user, error);
    mia_lm_state_close(state);
    return status;
}

/* One token's chunk and the largest one may ask for their weights in different forms; the second has little
 * or nothing left to load when they do not. */
static mia_status load(mia_lm *lm, const mia_lm_options *options, mia_error *error) {
    mia_status status = load_for(lm, 1, options, error);
    if (status != MIA_OK) return status;
    mia_lm_options silent = {0};
    status = load_for(lm, mia__chunk_largest(lm->context), &silent, error);
    if (status != MIA_OK || !mia_device_describe(lm->device).compiles) return status;
    return mia__plan_every_step(lm, error);
}

static mia_status open_model(mia_lm *lm, const mia_lm_options *options, mia_error *error) {
    mia_status status = find_architecture(lm, error);
    if (status == MIA_OK)
        status = mia__parameters_read(lm->weights, lm->architecture->name, &lm->parameters, error);
    if (status == MIA_OK) status = choose_context(lm, options->context, error);
    if (status == MIA_OK)
        status = mia_tokenizer_open(lm->weights, mia__lm_allocator(lm), &lm->tokenizer, error);
    if (status == MIA_OK) status = check_vocabulary(lm, error);
    mia_device_info kind = mia_device_describe(lm->device);
    if (status == MIA_OK && kind.max_bytes != 0) status = plan_elsewhere(lm, &kind, error);
    if (status == MIA_OK) status = make_frequencies(lm, error);
    if (status == MIA_OK) status = lm->architecture->open(lm, error);
    if (status == MIA_OK && kind.max_bytes == 0) status = plan_memory(lm, 0, error);
    if (status == MIA_OK && !options->unloaded) status = load(lm, options, error);
    return status;
}

mia_status mia_lm_open(mia_device *device, mia_weights *weights, const mia_lm_options *options, mia_lm **out,
                       mia_error *error) {
    static const mia_lm_options defaults;
    if (out == NULL) return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "lm_open: out is NULL");
    *out = NULL;
    if (device == NULL || weights == NULL)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "lm_open: %s is NULL",
                             device == NULL ? "device" : "weights");
    if (options == NULL) options = &defaults;
    mia_lm *lm = mia_allocate_zeroed(options->allocator, 1, sizeof *lm);
    if (lm == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a model");
    if (options->allocator != NULL) lm->allocator = *options->allocator;
    lm->device = device;
    lm->weights = weights;
    for (size_t i = 0; i < mia_weights_tensor_count(weights); i++)
        lm->weight_bytes += mia_weights_tensor_at(weights, i)->bytes;
    mia_status status = open_model(lm, options, error);
    if (status != MIA_OK) {
        mia_lm_close(lm);
        return status;
    }
    *out = lm;
    return MIA_OK;
}

void mia_lm_close(mia_lm *lm) {
    if (lm == NULL) return;
    close_constants(lm);
    mia_tokenizer_close(lm->tokenizer);
    mia_allocator allocator = lm->allocator;
    mia_release(&allocator, lm, sizeof *lm);
}

mia_lm_info mia_lm_describe(const mia_lm *lm) {
    const mia__parameters *p = &lm->parameters;
    return (mia_lm_info){.architecture = lm->architecture->name,
                         .context = lm->context,
                         .vocabulary = p->vocabulary,
                         .dim = p->dim,
                         .layers = p->layers,
                         .heads = p->heads,
                         .kv_heads = p->kv_heads,
                         .head_dim = p->key_dim,
                         .ffn = p->ffn,
                         .weight_bytes = lm->weight_bytes,
                         .needed_bytes = lm->needed_bytes};
}

const mia_tokenizer *mia_lm_tokenizer(const mia_lm *lm) {
    return lm->tokenizer;
}
