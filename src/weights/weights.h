/* What mia_weights is made of, for src/weights, and what the runtime needs of it besides the public API: a
 * reference count, so that a run in progress keeps its bytes, and observers, so that constants go stale when
 * the owner closes.
 *
 *   source.c -> reader.c -> gguf_read.c (metadata), gguf_tensors.c (tensors) -> weights.c (public face) */
#ifndef MIA_WEIGHTS_WEIGHTS_H
#define MIA_WEIGHTS_WEIGHTS_H

#include "base/hash.h"
#include "weights/chunks.h"

#include <mia/weights.h>
#include <pthread.h>
#include <stdatomic.h>

/* --- for the runtime -------------------------------------------------------------------------- */

/* The source and all memory of the weights live until as many releases as retains, and the close, have
 * happened. Any thread. */
void mia__weights_retain(const mia_weights *weights);
void mia__weights_release(const mia_weights *weights);

typedef void (*mia__weights_observer)(const mia_weights *weights, void *user);

/* fn(weights, user) is called once, by mia_weights_close, with no lock of the weights held; the weights are
 * still readable then. Fails with NO_MEMORY, and with INVALID_ARGUMENT when the owner has closed the weights
 * already. */
MIA_MUST_CHECK mia_status mia__weights_observe(const mia_weights *weights, mia__weights_observer fn,
                                               void *user, mia_error *error);

/* Takes one such observer back: true when it was there and will not be called; false when it was called
 * already. If the call is going on in another thread, waits for its end: so do not hold a lock here that fn
 * takes. */
bool mia__weights_unobserve(const mia_weights *weights, mia__weights_observer fn, void *user);

/* --- ggml's table of types -------------------------------------------------------------------- */

typedef struct mia__ggml_type {
    const char *name; /* NULL: no such type */
    uint32_t elements;
    uint32_t bytes;
    bool removed; /* was in use once: only the name is known */
} mia__ggml_type;

/* Facts of a type number of a file; name NULL when the number is not known. */
mia__ggml_type mia__ggml_type_describe(uint32_t number);

/* The dtype of a number of a file, MIA_NONE when Mia does not compute with it. */
mia_dtype mia__ggml_type_dtype(uint32_t number);

/* The number of a dtype in files, -1 when it has none. */
int32_t mia__ggml_type_number(mia_dtype dtype);

/* Bytes of a tensor of that type; false with what is wrong in *fault (static text) when the shape does not
 * fit it. */
bool mia__ggml_type_tensor_bytes(const mia__ggml_type *type, const mia_shape *shape, uint64_t *bytes,
                                 const char **fault);

/* --- within src/weights ----------------------------------------------------------------------- */

typedef struct mia__metadata {
    mia_text key;
    mia_value value;
} mia__metadata;

typedef struct mia__observer {
    mia__weights_observer fn;
    void *user;
} mia__observer;

struct mia_weights {
    mia_allocator allocator;
    mia_source source;
    mia__chunks chunks; /* texts and arrays that could not be pointed at in the source */

    mia__metadata *metadata;
    size_t metadata_count, metadata_capacity;
    mia__hash_map keys;

    mia_tensor_info *tensors;
    size_t tensor_count, tensor_capacity;
    mia__hash_map names;

    atomic_size_t references;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t notified;
    mia__observer *observers;
    size_t observer_count, observer_capacity;
    bool closed;
    mia__observer notifying; /* fn NULL: none */
    pthread_t notifier;
};

/* Names for messages: "u8", "text", "array", ...; "unknown" for what is none. */
const char *mia__value_type_name(mia_value_type type);

/* Bytes of a number or bool in a file, 0 for text, arrays and what is no type. */
size_t mia__value_type_bytes(mia_value_type type);

/* A number or bool from its bytes in a file. */
mia_value mia__value_decode(mia_value_type type, const void *bytes);

/* Parses the source into metadata and tensors. On failure weights hold a part of them, freed as usual. */
MIA_MUST_CHECK mia_status mia__gguf_parse(mia_weights *weights, mia_error *error);

#endif
