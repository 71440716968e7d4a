/* Memory and transfers of backends in host memory (host.h). A buffer that the backend owns has handle ==
 * host; an adopted one has no handle, and its memory is never written or freed. */
#include "backend/host.h"

#include <string.h>

#define WIDEST_ELEMENT 16 /* bytes; adopted memory is read element by element */

static const mia_allocator *allocator_of(const mia__backend *backend) {
    return ((const mia__host_backend *)backend)->allocator;
}

void *mia__host_new(const mia__backend_type *type, const mia_device_options *options, size_t size) {
    const mia_allocator *allocator = options != NULL ? options->allocator : NULL;
    mia__host_backend *backend = mia_allocate_zeroed(allocator, 1, size);
    if (backend == NULL) return NULL;
    backend->base.type = type;
    backend->base.rules.context = backend;
    backend->base.rules.alignment = MIA__HOST_ALIGNMENT;
    backend->allocator = allocator;
    return backend;
}

void mia__host_free(mia__backend *backend, size_t size) {
    if (backend != NULL) mia_release(allocator_of(backend), backend, size);
}

mia_status mia__host_allocate(mia__backend *backend, size_t bytes, mia__buffer *out, mia_error *error) {
    void *memory = mia_allocate(allocator_of(backend), bytes, MIA__HOST_ALIGNMENT);
    if (memory == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory for a buffer of %zu bytes",
                             backend->type->name, bytes);
    *out = (mia__buffer){.host = memory, .handle = memory, .bytes = bytes};
    return MIA_OK;
}

void mia__host_release(mia__backend *backend, mia__buffer *buffer) {
    mia_release(allocator_of(backend), buffer->handle, buffer->bytes);
    *buffer = (mia__buffer){0};
}

mia_status mia__host_adopt(mia__backend *backend, const void *memory, size_t bytes, mia__buffer *out,
                           mia_error *error) {
    if ((uintptr_t)memory % WIDEST_ELEMENT != 0)
        return mia_error_set(error, MIA_ERROR_UNSUPPORTED,
                             "%s: memory that is not aligned to %d bytes must be copied", backend->type->name,
                             WIDEST_ELEMENT);
    *out = (mia__buffer){.host = (void *)(uintptr_t)memory, .handle = NULL, .bytes = bytes};
    return MIA_OK;
}

mia_status mia__host_upload(mia__backend *backend, mia__buffer *buffer, size_t offset, const void *from,
                            size_t bytes, mia_error *error) {
    (void)backend;
    (void)error;
    if (bytes > 0) memcpy((uint8_t *)buffer->host + offset, from, bytes);
    return MIA_OK;
}

void mia__host_download(mia__backend *backend, const mia__buffer *buffer, size_t offset, void *into,
                        size_t bytes, mia__completion completion) {
    (void)backend;
    if (bytes > 0) memcpy(into, (const uint8_t *)buffer->host + offset, bytes);
    mia__complete(completion, MIA_OK, NULL);
}

mia_status mia__host_prepare(mia__backend *backend, mia_dtype dtype, const mia_shape *shape,
                             const mia__form *form, const void *raw, mia__buffer *into, mia_error *error) {
    (void)shape;
    if (form->key != 0)
        return mia_error_set(error, MIA_ERROR_UNSUPPORTED, "%s: no prepared form %u of %s",
                             backend->type->name, (unsigned)form->key, mia_dtype_describe(dtype)->name);
    return mia__host_upload(backend, into, 0, raw, form->bytes, error);
}

void mia__host_poll(mia__backend *backend, bool block) {
    (void)backend;
    (void)block;
}

void mia__complete(mia__completion completion, mia_status status, const char *message) {
    if (completion.complete == NULL) return;
    if (status == MIA_OK)
        message = NULL;
    else if (message == NULL)
        message = mia_status_sentence(status);
    completion.complete(completion.user, status, message);
}

static void *resolve(const mia__run *run, uint32_t buffer) {
    const mia__place *place = &run->places[buffer];
    return (uint8_t *)place->buffer->host + place->offset;
}

mia__kernel_args mia__host_resolve(const mia__run *run, uint32_t index) {
    const mia__step *step = &run->plan->steps[index];
    mia__kernel_args args = {.step = step};
    for (uint32_t i = 0; i < step->input_count; i++) args.inputs[i] = resolve(run, step->inputs[i].buffer);
    args.output = resolve(run, step->output.buffer);
    if (step->scratch != MIA__NO_BUFFER) args.scratch = resolve(run, step->scratch);
    return args;
}
