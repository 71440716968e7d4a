/* What backends in host memory share: buffers, transfers, completions, and a run's steps resolved to
 * pointers.
 *
 * A backend that begins its own struct with mia__host_backend can put most functions of this file into its
 * mia__backend_type as they are. */
#ifndef MIA_BACKEND_HOST_H
#define MIA_BACKEND_HOST_H

#include "backend/reference/reference.h"

#define MIA__HOST_ALIGNMENT 64

typedef struct mia__host_backend {
    mia__backend base;
    const mia_allocator *allocator; /* of the options; NULL: the C library's */
} mia__host_backend;

/* Allocates a zeroed backend struct of `size` bytes (it begins with mia__host_backend) and fills in type,
 * allocator and rules: alignment 64, everything else absent. options may be NULL. NULL when there is no
 * memory; freed with mia__host_free. */
void *mia__host_new(const mia__backend_type *type, const mia_device_options *options, size_t size);
void mia__host_free(mia__backend *backend, size_t size);

/* --- in the form that mia__backend_type asks for ---------------------------------------------- */

/* Memory aligned to 64 bytes, through the allocator. */
mia_status mia__host_allocate(mia__backend *backend, size_t bytes, mia__buffer *out, mia_error *error);
void mia__host_release(mia__backend *backend, mia__buffer *buffer);
/* Points at the memory; UNSUPPORTED unless it is aligned to 16 bytes, so that any element can be read in
 * place. */
mia_status mia__host_adopt(mia__backend *backend, const void *memory, size_t bytes, mia__buffer *out,
                           mia_error *error);
mia_status mia__host_upload(mia__backend *backend, mia__buffer *buffer, size_t offset, const void *from,
                            size_t bytes, mia_error *error);
/* Completes before it returns. */
void mia__host_download(mia__backend *backend, const mia__buffer *buffer, size_t offset, void *into,
                        size_t bytes, mia__completion completion);
/* Of a backend without forms: copies the bytes of form 0, refuses every other with UNSUPPORTED. */
mia_status mia__host_prepare(mia__backend *backend, mia_dtype dtype, const mia_shape *shape,
                             const mia__form *form, const void *raw, mia__buffer *into, mia_error *error);
/* Of a backend whose work completes before it returns. */
void mia__host_poll(mia__backend *backend, bool block);

/* --- helpers ---------------------------------------------------------------------------------- */

/* Tells whoever waits: OK without a message, or a status with one (its sentence when message is NULL). */
void mia__complete(mia__completion completion, mia_status status, const char *message);

/* The memory of step `index` of a run, for its kernel. */
mia__kernel_args mia__host_resolve(const mia__run *run, uint32_t index);

#endif
