/* Device memory of values, with accounting against the device's limit. */
#include "runtime/device.h"

#include <inttypes.h>

mia_status mia__device_room(const mia_device *device, uint64_t bytes, const char *what, mia_error *error) {
    uint64_t limit = device->options.max_bytes, used = device->counters.bytes;
    if (limit == 0 || (bytes <= limit && used <= limit - bytes)) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_OVER_LIMIT,
                         "%s needs %" PRIu64 " bytes, more than the %" PRIu64
                         " that the device's limit of %" PRIu64 " leaves",
                         what, bytes, used < limit ? limit - used : 0, limit);
}

void mia__device_account(mia_device *device, size_t bytes) {
    device->counters.bytes += bytes;
    if (device->counters.bytes > device->counters.peak_bytes)
        device->counters.peak_bytes = device->counters.bytes;
}

mia__storage *mia__storage_new(mia_device *device, size_t bytes, mia_error *error) {
    mia__storage *storage = mia_allocate_zeroed(&device->allocator, 1, sizeof *storage);
    if (storage == NULL) {
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a value of %zu bytes", bytes);
        return NULL;
    }
    storage->memory.bytes = bytes;
    storage->filled = true;
    if (bytes == 0) return storage;
    if (device->type->allocate(device->backend, bytes, &storage->buffer, error) != MIA_OK) {
        mia_release(&device->allocator, storage, sizeof *storage);
        return NULL;
    }
    storage->allocated = true;
    mia__device_account(device, bytes);
    return storage;
}

static void release_buffer(mia_device *device, mia__buffer *buffer, size_t bytes) {
    device->type->release(device->backend, buffer);
    device->counters.bytes -= bytes;
}

static void free_constant(mia_device *device, mia__storage *storage) {
    mia__constant *constant = storage->constant;
    *constant->link = constant->next;
    if (constant->next != NULL) constant->next->constant->link = constant->link;
    while (constant->prepared != NULL) {
        mia__prepared *form = constant->prepared;
        constant->prepared = form->next;
        release_buffer(device, &form->buffer, form->form.bytes);
        mia_release(&device->allocator, form, sizeof *form);
    }
    if (constant->weights != NULL) mia__weights_release(constant->weights);
    mia_release(&device->allocator, constant->copy, storage->memory.bytes);
    mia_release(&device->allocator, constant, sizeof *constant);
}

void mia__storage_drop(mia_device *device, mia__storage *storage) {
    if (storage->memory.nodes > 0 || storage->runs > 0) return;
    if (storage->allocated) release_buffer(device, &storage->buffer, storage->memory.bytes);
    if (storage->constant != NULL) free_constant(device, storage);
    if (storage->borrowed != NULL) {
        storage->borrowed->next = device->ended;
        device->ended = storage->borrowed;
    }
    mia__cause_release(device, storage->memory.cause);
    mia_release(&device->allocator, storage, sizeof *storage);
}

/* --- constants -------------------------------------------------------------------------------- */

size_t mia__constant_missing(const mia__storage *storage) {
    return storage->allocated ? 0 : storage->memory.bytes;
}

mia_status mia__constant_reserve(mia_device *device, mia__storage *storage, mia_error *error) {
    if (storage->allocated || storage->memory.bytes == 0) return MIA_OK;
    const mia__constant *constant = storage->constant;
    const void *mapped = mia_weights_mapped(constant->weights, constant->info);
    if (mapped != NULL && device->type->adopt(device->backend, mapped, storage->memory.bytes,
                                              &storage->buffer, NULL) == MIA_OK) {
        storage->filled = true;
    } else if (device->type->allocate(device->backend, storage->memory.bytes, &storage->buffer, error) !=
               MIA_OK) {
        return MIA_ERROR_NO_MEMORY;
    }
    storage->allocated = true;
    mia__device_account(device, storage->memory.bytes);
    return MIA_OK;
}

mia__prepared *mia__constant_find_form(const mia__storage *storage, const mia__plan_buffer *wanted) {
    mia__prepared *form = storage->constant->prepared;
    while (form != NULL &&
           (form->form.key != wanted->form || form->dtype != wanted->dtype ||
            form->offset != wanted->offset || !mia__shape_equal(&form->shape, &wanted->shape)))
        form = form->next;
    return form;
}

mia__prepared *mia__constant_reserve_form(mia_device *device, mia__storage *storage,
                                          const mia__plan_buffer *wanted, mia_error *error) {
    mia__prepared *form = mia__constant_find_form(storage, wanted);
    if (form != NULL) return form;
    form = mia_allocate_zeroed(&device->allocator, 1, sizeof *form);
    if (form == NULL) {
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a prepared constant");
        return NULL;
    }
    if (device->type->allocate(device->backend, wanted->bytes, &form->buffer, error) != MIA_OK) {
        mia_release(&device->allocator, form, sizeof *form);
        return NULL;
    }
    mia__device_account(device, wanted->bytes);
    form->form = (mia__form){wanted->form, wanted->bytes};
    form->dtype = wanted->dtype;
    form->shape = wanted->shape;
    form->offset = wanted->offset;
    form->next = storage->constant->prepared;
    storage->constant->prepared = form;
    return form;
}

#define READ_PIECE ((size_t)4 << 20)

/* Reads a constant's own bytes, in pieces between which somebody may cancel. */
static mia_status read_bytes(const mia__constant *constant, size_t from, void *into, size_t bytes,
                             mia__watch *watch, mia_error *error) {
    mia_status status = MIA_OK;
    for (size_t at = 0; status == MIA_OK && at < bytes; at += READ_PIECE) {
        size_t piece = bytes - at < READ_PIECE ? bytes - at : READ_PIECE;
        if (mia__watch_cancelled(watch))
            return mia_error_set(error, MIA_ERROR_CANCELLED, "loading was cancelled");
        status =
            mia_weights_read(constant->weights, constant->info, from + at, (char *)into + at, piece, error);
    }
    return status;
}

/* Reads a constant's own bytes into its buffer, through a bounded piece of host memory where the host does not reach it. */
static mia_status fill_raw(mia_device *device, mia__storage *storage, mia__watch *watch, mia_error *error) {
    const mia__constant *constant = storage->constant;
    size_t bytes = storage->memory.bytes;
    if (storage->buffer.host != NULL)
        return read_bytes(constant, 0, storage->buffer.host, bytes, watch, error);
    size_t room = bytes < READ_PIECE ? bytes : READ_PIECE;
    void *staging = mia_allocate(&device->allocator, room, 64);
    if (staging == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to read %zu bytes", room);
    mia_status status = MIA_OK;
    for (size_t at = 0; status == MIA_OK && at < bytes; at += room) {
        size_t piece = bytes - at < room ? bytes - at : room;
        status = read_bytes(constant, at, staging, piece, watch, error);
        if (status == MIA_OK)
            status = device->type->upload(device->backend, &storage->buffer, at, staging, piece, error);
    }
    mia_release(&device->allocator, staging, room);
    return status;
}

/* Reads a constant and brings it into a prepared form, some rows at a time where the backend takes them. */
static mia_status read_form(mia_device *device, const mia__constant *constant, mia__prepared *form,
                            size_t bytes, mia__watch *watch, mia_error *error) {
    const mia_shape *shape = &form->shape;
    uint64_t rows = 1;
    for (uint32_t m = 1; m < shape->ndim; m++) rows *= (uint64_t)shape->extent[m];
    size_t a_row = rows > 0 ? (size_t)(bytes / rows) : 0;
    bool whole = device->type->prepare_rows == NULL || bytes <= READ_PIECE || a_row == 0;
    uint64_t each = whole ? rows : a_row < READ_PIECE ? READ_PIECE / a_row : 1;
    size_t room = whole ? bytes : (size_t)each * a_row;
    void *staging = mia_allocate(&device->allocator, room, 64);
    if (staging == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to read %zu bytes", room);
    mia_status status = MIA_OK;
    if (whole) {
        status = read_bytes(constant, form->offset, staging, bytes, watch, error);
        if (status == MIA_OK)
            status = device->type->prepare(device->backend, form->dtype, shape, &form->form, staging,
                                           &form->buffer, error);
    }
    for (uint64_t row = 0; !whole && status == MIA_OK && row < rows; row += each) {
        uint64_t count = rows - row < each ? rows - row : each;
        status = read_bytes(constant, form->offset + (size_t)row * a_row, staging, (size_t)count * a_row,
                            watch, error);
        if (status == MIA_OK)
            status = device->type->prepare_rows(device->backend, form->dtype, shape, &form->form, row, count,
                                                staging, &form->buffer, error);
    }
    mia_release(&device->allocator, staging, room);
    return status;
}

/* Brings a constant into a prepared form; raw: its own bytes, NULL to read them first. */
static mia_status fill_form(mia_device *device, const mia__storage *storage, mia__prepared *form,
                            const void *raw, mia__watch *watch, mia_error *error) {
    mia__view own = mia__view_compact(form->dtype, &form->shape);
    mia_status status;
    device->backend->loads = watch;
    if (raw == NULL)
        status = read_form(device, storage->constant, form, mia__view_bytes(form->dtype, &own), watch, error);
    else
        status = device->type->prepare(device->backend, form->dtype, &form->shape, &form->form,
                                       (const char *)raw + form->offset, &form->buffer, error);
    device->backend->loads = NULL;
    return status;
}

const void *mia__constant_bytes(const mia__storage *storage) {
    if (storage->allocated && storage->filled && storage->buffer.host != NULL) return storage->buffer.host;
    const mia__constant *constant = storage->constant;
    if (constant->copy != NULL) return constant->copy;
    return constant->weights != NULL ? mia_weights_mapped(constant->weights, constant->info) : NULL;
}

mia_status mia__constant_fill(mia_device *device, mia__storage *storage, mia__prepared *form, const void *raw,
                              mia__watch *watch, mia_error *error) {
    return form != NULL ? fill_form(device, storage, form, raw, watch, error)
                        : fill_raw(device, storage, watch, error);
}
