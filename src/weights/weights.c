/* The public face of weights (include/mia/weights.h): opening and closing, look-ups, reading; and
 * the reference count and observers of weights.h. What is in a file is found by gguf_read.c and
 * gguf_tensors.c. */
#include "weights/weights.h"

#include "base/size.h"

#include <string.h>

/* --- life ------------------------------------------------------------------------------------- */

static void destroy(mia_weights *weights) {
    mia_allocator allocator = weights->allocator;
    mia__hash_free(&weights->keys, &allocator);
    mia__hash_free(&weights->names, &allocator);
    mia_release(&allocator, weights->metadata, weights->metadata_capacity * sizeof *weights->metadata);
    mia_release(&allocator, weights->tensors, weights->tensor_capacity * sizeof *weights->tensors);
    mia_release(&allocator, weights->observers, weights->observer_capacity * sizeof *weights->observers);
    mia__chunks_free(&weights->chunks, &allocator);
    mia_source_close(&weights->source);
    (void)pthread_cond_destroy(&weights->notified);
    (void)pthread_mutex_destroy(&weights->lock);
    mia_release(&allocator, weights, sizeof *weights);
}

/* NULL, with a message, when memory is short; the source stays the caller's then. */
static mia_weights *create(const mia_source *source, const mia_allocator *allocator, mia_error *error) {
    mia_weights *weights = mia_allocate_zeroed(allocator, 1, sizeof *weights);
    if (weights == NULL) goto no_memory;
    if (allocator != NULL) weights->allocator = *allocator;
    if (pthread_mutex_init(&weights->lock, NULL) != 0) goto no_mutex;
    if (pthread_cond_init(&weights->notified, NULL) != 0) goto no_condition;
    weights->source = *source;
    atomic_init(&weights->references, 1);
    return weights;
no_condition:
    (void)pthread_mutex_destroy(&weights->lock);
no_mutex:
    mia_release(allocator, weights, sizeof *weights);
no_memory:
    (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory to open the weights", source->name);
    return NULL;
}

mia_status mia_weights_open(mia_source source, const mia_weights_options *options, mia_weights **out,
                            mia_error *error) {
    *out = NULL;
    if (source.name == NULL) source.name = "weights";
    if (source.mapped == NULL && source.read == NULL) {
        mia_status refused = mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                                           "%s: the source has no bytes to read", source.name);
        mia_source_close(&source);
        return refused;
    }
    mia_weights *weights = create(&source, options != NULL ? options->allocator : NULL, error);
    if (weights == NULL) {
        mia_source_close(&source);
        return MIA_ERROR_NO_MEMORY;
    }
    mia_status status = mia__gguf_parse(weights, error);
    if (status != MIA_OK) {
        destroy(weights);
        return status;
    }
    *out = weights;
    return MIA_OK;
}

mia_status mia_weights_open_file(const char *path, const mia_weights_options *options, mia_weights **out,
                                 mia_error *error) {
    mia_source source;
    *out = NULL;
    mia_status status =
        mia_source_open_file(path, options != NULL ? options->allocator : NULL, &source, error);
    return status == MIA_OK ? mia_weights_open(source, options, out, error) : status;
}

/* The runtime holds weights as const, since their contents never change; the bookkeeping does. Every
 * mia_weights is made by create(), so none is const underneath. */
static mia_weights *bookkeeping(const mia_weights *weights) {
    return (mia_weights *)weights;
}

void mia__weights_retain(const mia_weights *weights) {
    (void)atomic_fetch_add_explicit(&bookkeeping(weights)->references, 1, memory_order_relaxed);
}

void mia__weights_release(const mia_weights *weights) {
    mia_weights *held = bookkeeping(weights);
    if (atomic_fetch_sub_explicit(&held->references, 1, memory_order_acq_rel) == 1) destroy(held);
}

/* --- observers -------------------------------------------------------------------------------- */

mia_status mia__weights_observe(const mia_weights *weights, mia__weights_observer fn, void *user,
                                mia_error *error) {
    mia_weights *held = bookkeeping(weights);
    mia_status status = MIA_OK;
    (void)pthread_mutex_lock(&held->lock);
    if (held->closed) {
        status =
            mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: the weights are closed", held->source.name);
    } else if (held->observer_count == held->observer_capacity) {
        size_t wanted = held->observer_capacity == 0 ? 4 : held->observer_capacity * 2;
        mia__observer *grown = mia_reallocate_array(&held->allocator, held->observers,
                                                    held->observer_capacity, wanted, sizeof *grown);
        if (grown == NULL) {
            status =
                mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory for an observer", held->source.name);
        } else {
            held->observers = grown;
            held->observer_capacity = wanted;
        }
    }
    if (status == MIA_OK) held->observers[held->observer_count++] = (mia__observer){fn, user};
    (void)pthread_mutex_unlock(&held->lock);
    return status;
}

bool mia__weights_unobserve(const mia_weights *weights, mia__weights_observer fn, void *user) {
    mia_weights *held = bookkeeping(weights);
    bool found = false;
    (void)pthread_mutex_lock(&held->lock);
    for (size_t i = 0; i < held->observer_count && !found; i++) {
        if (held->observers[i].fn != fn || held->observers[i].user != user) continue;
        held->observers[i] = held->observers[--held->observer_count];
        found = true;
    }
    while (!found && held->notifying.fn == fn && held->notifying.user == user &&
           !pthread_equal(held->notifier, pthread_self()))
        (void)pthread_cond_wait(&held->notified, &held->lock);
    (void)pthread_mutex_unlock(&held->lock);
    return found;
}

void mia_weights_close(mia_weights *weights) {
    if (weights == NULL) return;
    (void)pthread_mutex_lock(&weights->lock);
    weights->closed = true;
    weights->notifier = pthread_self();
    while (weights->observer_count > 0) {
        mia__observer next = weights->observers[--weights->observer_count];
        weights->notifying = next;
        (void)pthread_mutex_unlock(&weights->lock);
        next.fn(weights, next.user);
        (void)pthread_mutex_lock(&weights->lock);
        weights->notifying = (mia__observer){NULL, NULL};
        (void)pthread_cond_broadcast(&weights->notified);
    }
    (void)pthread_mutex_unlock(&weights->lock);
    mia__weights_release(weights);
}

/* --- look-ups --------------------------------------------------------------------------------- */

const char *mia_weights_name(const mia_weights *weights) {
    return weights->source.name;
}

uint64_t mia_weights_size(const mia_weights *weights) {
    return weights->source.size;
}

size_t mia_weights_metadata_count(const mia_weights *weights) {
    return weights->metadata_count;
}

mia_value mia_weights_metadata(const mia_weights *weights, size_t index, mia_text *key) {
    if (index >= weights->metadata_count) {
        if (key != NULL) *key = (mia_text){"", 0};
        return (mia_value){.type = MIA_VALUE_U8, .count = 1};
    }
    if (key != NULL) *key = weights->metadata[index].key;
    return weights->metadata[index].value;
}

bool mia_weights_find(const mia_weights *weights, const char *key, mia_value *out) {
    size_t index;
    if (!mia__hash_find(&weights->keys, key, strlen(key), &index)) return false;
    if (out != NULL) *out = weights->metadata[index].value;
    return true;
}

static mia_status find_required(const mia_weights *weights, const char *key, mia_value *value,
                                mia_error *error) {
    *value = (mia_value){.type = MIA_VALUE_U8, .count = 1};
    if (mia_weights_find(weights, key, value)) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_NOT_FOUND, "%s: metadata \"%s\" is missing", weights->source.name,
                         key);
}

static mia_status wrong_type(const mia_weights *weights, const char *key, const mia_value *value,
                             const char *wanted, mia_error *error) {
    return mia_error_set(error, MIA_ERROR_FORMAT, "%s: metadata \"%s\": its type is %s, not %s",
                         weights->source.name, key, mia__value_type_name(value->type), wanted);
}

mia_status mia_weights_get_u32(const mia_weights *weights, const char *key, uint32_t *out, mia_error *error) {
    mia_value value;
    mia_status status = find_required(weights, key, &value, error);
    if (status != MIA_OK) return status;
    switch (value.type) {
    case MIA_VALUE_U8:
    case MIA_VALUE_U16:
    case MIA_VALUE_U32:
    case MIA_VALUE_U64:
        if (value.as.u > UINT32_MAX)
            return mia_error_set(error, MIA_ERROR_FORMAT, "%s: metadata \"%s\": %llu does not fit in 32 bits",
                                 weights->source.name, key, (unsigned long long)value.as.u);
        *out = (uint32_t)value.as.u;
        return MIA_OK;
    case MIA_VALUE_I8:
    case MIA_VALUE_I16:
    case MIA_VALUE_I32:
    case MIA_VALUE_I64:
        if (value.as.i < 0 || value.as.i > (int64_t)UINT32_MAX)
            return mia_error_set(error, MIA_ERROR_FORMAT, "%s: metadata \"%s\": %lld does not fit in 32 bits",
                                 weights->source.name, key, (long long)value.as.i);
        *out = (uint32_t)value.as.i;
        return MIA_OK;
    default: return wrong_type(weights, key, &value, "a whole number", error);
    }
}

mia_status mia_weights_get_f32(const mia_weights *weights, const char *key, float *out, mia_error *error) {
    mia_value value;
    mia_status status = find_required(weights, key, &value, error);
    if (status != MIA_OK) return status;
    if (value.type != MIA_VALUE_F32 && value.type != MIA_VALUE_F64)
        return wrong_type(weights, key, &value, "f32", error);
    *out = (float)value.as.f;
    return MIA_OK;
}

mia_status mia_weights_get_bool(const mia_weights *weights, const char *key, bool *out, mia_error *error) {
    mia_value value;
    mia_status status = find_required(weights, key, &value, error);
    if (status != MIA_OK) return status;
    if (value.type != MIA_VALUE_BOOL) return wrong_type(weights, key, &value, "bool", error);
    *out = value.as.u != 0;
    return MIA_OK;
}

mia_status mia_weights_get_text(const mia_weights *weights, const char *key, mia_text *out,
                                mia_error *error) {
    mia_value value;
    mia_status status = find_required(weights, key, &value, error);
    if (status != MIA_OK) return status;
    if (value.type != MIA_VALUE_STRING) return wrong_type(weights, key, &value, "text", error);
    *out = value.as.text;
    return MIA_OK;
}

/* --- tensors ---------------------------------------------------------------------------------- */

size_t mia_weights_tensor_count(const mia_weights *weights) {
    return weights->tensor_count;
}

const mia_tensor_info *mia_weights_tensor_at(const mia_weights *weights, size_t index) {
    return index < weights->tensor_count ? &weights->tensors[index] : NULL;
}

const mia_tensor_info *mia_weights_find_tensor(const mia_weights *weights, const char *name) {
    size_t index;
    return mia__hash_find(&weights->names, name, strlen(name), &index) ? &weights->tensors[index] : NULL;
}

mia_status mia_weights_read(const mia_weights *weights, const mia_tensor_info *tensor, uint64_t offset,
                            void *into, size_t bytes, mia_error *error) {
    uint64_t end;
    if (!mia__u64_add(offset, bytes, &end) || end > tensor->bytes) {
        char name[96];
        (void)mia_text_escape(tensor->name, name, sizeof name);
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "%s: tensor \"%s\": reading %zu bytes at %llu of its %llu", weights->source.name,
                             name, bytes, (unsigned long long)offset, (unsigned long long)tensor->bytes);
    }
    if (bytes == 0) return MIA_OK;
    const mia_source *source = &weights->source;
    if (source->mapped == NULL)
        return source->read(source->user, tensor->offset + offset, into, bytes, error);
    memcpy(into, (const unsigned char *)source->mapped + tensor->offset + offset, bytes);
    return MIA_OK;
}

const void *mia_weights_mapped(const mia_weights *weights, const mia_tensor_info *tensor) {
    if (weights->source.mapped == NULL) return NULL;
    return (const unsigned char *)weights->source.mapped + tensor->offset;
}
