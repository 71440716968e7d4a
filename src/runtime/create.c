/* Tensors from host memory, filled tensors, and the constants of weights files. */
#include "base/error.h"
#include "base/half.h"
#include "runtime/device.h"

#include <stdio.h>
#include <string.h>

/* A handle of the node, or of a node poisoned with the error when there is none. */
static mia_tensor finish(mia_device *device, mia__node *node, bool constant, const mia__site *site,
                         mia_error *error) {
    if (node == NULL && error->status != MIA_OK) {
        mia__error_add_site(error, site);
        node = mia__node_poisoned(device, error, site);
    }
    return mia__handle_new(device, node, constant && error->status == MIA_OK, site);
}

/* Memory that holds the host's data, or NULL with the error set. */
static mia__storage *store(mia_device *device, mia_dtype dtype, const mia_shape *shape, const void *data,
                           const char *what, mia_error *error) {
    size_t bytes;
    if (mia__shape_check(dtype, shape, &bytes, what, error) != MIA_OK) return NULL;
    if (data == NULL && bytes > 0) {
        (void)mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: the data pointer is NULL", what);
        return NULL;
    }
    if (mia__device_room(device, bytes, what, error) != MIA_OK) return NULL;
    mia__storage *storage = mia__storage_new(device, bytes, error);
    if (storage == NULL) {
        char text[200], which[250];
        (void)snprintf(which, sizeof which, "%s of %s %s", what, mia_dtype_describe(dtype)->name,
                       mia__shape_text(shape, text, sizeof text));
        mia__error_within(error, which);
    }
    if (storage == NULL || bytes == 0) return storage;
    if (device->type->upload(device->backend, &storage->buffer, 0, data, bytes, error) == MIA_OK)
        return storage;
    mia__storage_drop(device, storage);
    return NULL;
}

/* A READY node that takes the storage over. */
static mia__node *own(mia_device *device, mia_dtype dtype, const mia__view *view, mia__storage *storage,
                      const mia__site *site) {
    if (storage == NULL) return NULL;
    mia__node *node = mia__node_ready(device, dtype, view, storage, site);
    if (node == NULL) mia__storage_drop(device, storage);
    return node;
}

mia_tensor mia_tensor_upload(mia_device *device, mia_dtype dtype, mia_shape shape, const void *data,
                             const char *file, int line) {
    mia__site site = {"upload", file, line};
    mia_error error = {0};
    if (device == NULL) return mia__handle_lost(MIA_ERROR_INVALID_ARGUMENT, line);
    mia__lock(device);
    mia__view view = {0};
    mia__storage *storage = store(device, dtype, &shape, data, "upload", &error);
    if (storage != NULL) view = mia__view_compact(dtype, &shape);
    mia_tensor t = finish(device, own(device, dtype, &view, storage, &site), false, &site, &error);
    mia__unlock(device);
    return t;
}

/* --- borrowed memory -------------------------------------------------------------------------- */

void mia__borrowed_tell(mia__borrowed *ended, mia_allocator allocator) {
    while (ended != NULL) {
        mia__borrowed told = *ended;
        mia_release(&allocator, ended, sizeof *ended);
        told.release(told.user);
        ended = told.next;
    }
}

/* Storage that uses the memory where it is, which sets *borrowed, or that holds a copy of it. */
static mia__storage *borrow(mia_device *device, mia_dtype dtype, const mia_shape *shape, const void *data,
                            bool *borrowed, mia_error *error) {
    size_t bytes = 0;
    bool fits = mia__shape_check(dtype, shape, &bytes, "borrow", error) == MIA_OK;
    if (!fits || data == NULL || bytes == 0) return store(device, dtype, shape, data, "borrow", error);
    if (mia__device_room(device, bytes, "borrow", error) != MIA_OK) return NULL;
    mia__storage *storage = mia__storage_new(device, 0, error);
    if (storage == NULL) return NULL;
    if (device->type->adopt(device->backend, data, bytes, &storage->buffer, NULL) != MIA_OK) {
        mia__storage_drop(device, storage);
        return store(device, dtype, shape, data, "borrow", error);
    }
    storage->memory.bytes = bytes;
    storage->memory.borrowed = true;
    storage->allocated = true;
    mia__device_account(device, bytes);
    *borrowed = true;
    return storage;
}

mia_tensor mia_tensor_borrow(mia_device *device, mia_dtype dtype, mia_shape shape, const void *data,
                             void (*release)(void *user), void *user, const char *file, int line) {
    mia__site site = {"borrow", file, line};
    mia_error error = {0};
    mia__borrowed *lender = NULL;
    mia_tensor t = mia__handle_lost(device == NULL ? MIA_ERROR_INVALID_ARGUMENT : MIA_ERROR_NO_MEMORY, line);
    if (device != NULL && release != NULL)
        lender = mia_allocate_zeroed(&device->allocator, 1, sizeof *lender);
    if (device == NULL || (release != NULL && lender == NULL)) {
        if (release != NULL) release(user);
        return t;
    }
    if (lender != NULL) *lender = (mia__borrowed){.release = release, .user = user};
    mia__lock(device);
    bool borrowed = false;
    mia__view view = {0};
    mia__storage *storage = borrow(device, dtype, &shape, data, &borrowed, &error);
    if (storage != NULL) view = mia__view_compact(dtype, &shape);
    if (borrowed) {
        storage->borrowed = lender;
    } else if (lender != NULL) { /* copied, or refused */
        lender->next = device->ended;
        device->ended = lender;
    }
    t = finish(device, own(device, dtype, &view, storage, &site), false, &site, &error);
    mia__unlock(device);
    return t;
}

/* --- constants and filled tensors ------------------------------------------------------------- */

/* Makes a storage a constant of the device; false without memory. */
static bool make_constant(mia_device *device, mia__storage *storage, mia_dtype dtype,
                          const mia_shape *shape) {
    storage->constant = mia_allocate_zeroed(&device->allocator, 1, sizeof *storage->constant);
    if (storage->constant == NULL) return false;
    storage->memory.constant = true;
    storage->constant->dtype = dtype;
    storage->constant->shape = *shape;
    storage->constant->next = device->constants;
    storage->constant->link = &device->constants;
    if (device->constants != NULL) device->constants->constant->link = &storage->constant->next;
    device->constants = storage;
    return true;
}

/* Keeps the bytes of blocks on the host, unless the device's memory is the host's. */
static bool keep_copy(mia_device *device, mia__storage *storage, const void *data) {
    mia__constant *constant = storage->constant;
    size_t bytes = storage->memory.bytes;
    if (bytes == 0 || storage->buffer.host != NULL ||
        mia_dtype_describe(constant->dtype)->kind != MIA_KIND_BLOCK)
        return true;
    constant->copy = mia_allocate(&device->allocator, bytes, 64);
    if (constant->copy != NULL) memcpy(constant->copy, data, bytes);
    return constant->copy != NULL;
}

mia_tensor mia_tensor_constant(mia_device *device, mia_dtype dtype, mia_shape shape, const void *data,
                               const char *file, int line) {
    mia__site site = {"constant", file, line};
    mia_error error = {0};
    if (device == NULL) return mia__handle_lost(MIA_ERROR_INVALID_ARGUMENT, line);
    mia__lock(device);
    mia__view view = {0};
    mia__storage *storage = store(device, dtype, &shape, data, "constant", &error);
    if (storage != NULL &&
        (!make_constant(device, storage, dtype, &shape) || !keep_copy(device, storage, data))) {
        mia__storage_drop(device, storage);
        storage = NULL;
        (void)mia_error_set(&error, MIA_ERROR_NO_MEMORY, "no memory for a constant");
    }
    if (storage != NULL) view = mia__view_compact(dtype, &shape);
    mia__node *node = own(device, dtype, &view, storage, &site);
    mia__constant *constant = node != NULL ? storage->constant : NULL;
    mia_tensor t = finish(device, node, true, &site, &error);
    if (constant != NULL && t.slot != MIA__LOST_SLOT) constant->handle = t;
    mia__unlock(device);
    return t;
}

/* value as one unit of a scalar type, or in every lane of a packed one; false for other types. */
static bool encode(mia_dtype dtype, double value, void *out) {
    switch (dtype) {
    case MIA_f32x4:
        for (size_t i = 0; i < 4; i++) (void)encode(MIA_f32, value, (float *)out + i);
        return true;
    case MIA_f16x4:
        for (size_t i = 0; i < 4; i++) (void)encode(MIA_f16, value, (uint16_t *)out + i);
        return true;
    case MIA_f32: {
        float number = (float)value;
        memcpy(out, &number, sizeof number);
        return true;
    }
    case MIA_f64: memcpy(out, &value, sizeof value); return true;
    case MIA_f16: {
        uint16_t bits = mia__f64_to_f16(value);
        memcpy(out, &bits, sizeof bits);
        return true;
    }
    case MIA_bf16: {
        uint16_t bits = mia__f64_to_bf16(value);
        memcpy(out, &bits, sizeof bits);
        return true;
    }
    default: break;
    }
    double low = dtype == MIA_i32 ? INT32_MIN : dtype == MIA_i8 ? INT8_MIN : 0;
    double high = dtype == MIA_i32   ? INT32_MAX
                  : dtype == MIA_u32 ? UINT32_MAX
                  : dtype == MIA_i8  ? INT8_MAX
                                     : UINT8_MAX;
    if (dtype == MIA_bool8) value = value != 0;
    int64_t integer = value != value ? 0 : (int64_t)(value < low ? low : value > high ? high : value);
    switch (dtype) {
    case MIA_i32:
    case MIA_u32: memcpy(out, &integer, 4); return true; /* little-endian: the low bytes come first */
    case MIA_i8:
    case MIA_u8:
    case MIA_bool8: memcpy(out, &integer, 1); return true;
    default: return false;
    }
}

mia_tensor mia_tensor_full(mia_device *device, mia_dtype dtype, mia_shape shape, double value,
                           const char *file, int line) {
    mia__site site = {"full", file, line};
    mia_error error = {0};
    if (device == NULL) return mia__handle_lost(MIA_ERROR_INVALID_ARGUMENT, line);
    uint64_t unit[2] = {0, 0}; /* the widest is f32x4 */
    mia__lock(device);
    mia__storage *storage = NULL;
    mia__view view = {0};
    mia_shape scalar = {0};
    size_t bytes;
    if (!encode(dtype, value, unit))
        (void)mia_error_set(&error, MIA_ERROR_TYPE_MISMATCH, "full: %s is not made of numbers",
                            mia_dtype_describe(dtype)->name);
    else if (mia__shape_check(dtype, &shape, &bytes, "full", &error) == MIA_OK)
        storage = store(device, dtype, &scalar, unit, "full", &error);
    view.ndim = shape.ndim < MIA_MAX_MODES ? shape.ndim : MIA_MAX_MODES; /* one number, repeated: stride 0 */
    for (uint32_t m = 0; m < view.ndim; m++) view.extent[m] = shape.extent[m];
    mia_tensor t = finish(device, own(device, dtype, &view, storage, &site), false, &site, &error);
    mia__unlock(device);
    return t;
}

mia_tensor mia_op_number(mia_tensor like, double value, const char *file, int line) {
    mia__site site = {"number", file, line};
    mia_device *device = like.device;
    mia_error error = {0};
    mia_tensor t = like; /* without a device: as lost as that one */
    if (device == NULL) return t;
    mia__lock(device);
    const mia__node *node = mia__handle_borrow(device, like, -1, &site, &error);
    mia__cause *cause = node != NULL ? mia__node_cause(node) : NULL;
    mia_dtype dtype = node != NULL ? node->dtype : MIA_NONE;
    if (node == NULL)
        t = mia__handle_new(device, mia__node_poisoned(device, &error, &site), false, &site);
    else if (cause != NULL)
        t = mia__handle_new(device, mia__node_spread(device, cause, &site), false, &site);
    mia__unlock(device);
    if (node == NULL || cause != NULL) return t;
    return mia_tensor_full(device, dtype, (mia_shape){0}, value, file, line);
}

mia_tensor mia_tensor_arange(mia_device *device, mia_dtype dtype, double start, double step, int64_t count,
                             const char *file, int line) {
    mia_shape scalar = {0};
    mia_tensor first = mia_tensor_full(device, dtype, scalar, start, file, line);
    return mia_op_arange(first, mia_tensor_full(device, dtype, scalar, step, file, line), count, file, line);
}

/* A seed as the generator's two words; the counts of random numbers are those of the shape. */
static mia_tensor seed_of(mia_device *device, uint64_t seed, const char *file, int line) {
    const uint32_t words[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    return mia_tensor_upload(device, MIA_u32, (mia_shape){1, {2}}, words, file, line);
}

static int64_t elements_of(mia_dtype dtype, const mia_shape *shape) {
    size_t bytes;
    if (mia__shape_check(dtype, shape, &bytes, "random", NULL) != MIA_OK) return -1;
    mia__view view = mia__view_compact(dtype, shape);
    return mia__view_count(&view);
}

mia_tensor mia_tensor_random_uniform(mia_device *device, mia_dtype dtype, mia_shape shape, uint64_t seed,
                                     const char *file, int line) {
    mia_tensor row = mia_op_random_uniform(seed_of(device, seed, file, line), dtype,
                                           elements_of(dtype, &shape), file, line);
    return mia_op_reshape(row, shape, file, line);
}

mia_tensor mia_tensor_random_normal(mia_device *device, mia_dtype dtype, mia_shape shape, uint64_t seed,
                                    const char *file, int line) {
    mia_tensor row = mia_op_random_normal(seed_of(device, seed, file, line), dtype,
                                          elements_of(dtype, &shape), file, line);
    return mia_op_reshape(row, shape, file, line);
}

mia_tensor mia_tensor_input(mia_device *device, mia_dtype dtype, mia_shape shape, const char *file,
                            int line) {
    mia__site site = {"input", file, line};
    mia_error error = {0};
    size_t bytes;
    if (device == NULL) return mia__handle_lost(MIA_ERROR_INVALID_ARGUMENT, line);
    mia__lock(device);
    mia__view view = {0};
    mia__storage *storage = NULL;
    if (mia__shape_check(dtype, &shape, &bytes, "input", &error) == MIA_OK) {
        storage = mia__storage_new(device, 0, &error);
        view = mia__view_compact(dtype, &shape);
    }
    if (storage != NULL) {
        storage->memory.bytes = bytes;
        storage->formal = true;
    }
    mia_tensor t = finish(device, own(device, dtype, &view, storage, &site), false, &site, &error);
    mia__unlock(device);
    return t;
}

/* --- weights ---------------------------------------------------------------------------------- */

/* Called once when the owner closes the weights: their constants' handles end here. */
void mia__weights_closed(const mia_weights *weights, void *user) {
    mia_device *device = user;
    mia__site site = {"the closing of its weights", NULL, 0};
    mia__lock(device);
    for (mia__storage *storage = device->constants; storage != NULL;) {
        mia__storage *next = storage->constant->next;
        if (storage->constant->weights == weights && storage->constant->handle.device != NULL)
            mia__handle_retire(device, storage->constant->handle, &site);
        storage = next;
    }
    mia__unlock(device);
}

static mia__storage *find_constant(const mia_device *device, const mia_weights *weights,
                                   const mia_tensor_info *info, bool *observed) {
    for (mia__storage *storage = device->constants; storage != NULL; storage = storage->constant->next) {
        if (storage->constant->weights != weights || storage->constant->handle.device == NULL) continue;
        *observed = true;
        if (storage->constant->info == info) return storage;
    }
    return NULL;
}

/* A storage for a tensor of the weights, with nothing read yet. */
static mia__storage *describe(mia_device *device, mia_weights *weights, const mia_tensor_info *info,
                              mia_dtype dtype, const mia_shape *shape, mia_error *error) {
    mia__storage *storage = mia_allocate_zeroed(&device->allocator, 1, sizeof *storage);
    if (storage == NULL || !make_constant(device, storage, dtype, shape)) {
        mia_release(&device->allocator, storage, sizeof *storage);
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a constant");
        return NULL;
    }
    storage->memory.bytes = (size_t)info->bytes;
    storage->filled = info->bytes == 0;
    mia__weights_retain(weights);
    storage->constant->weights = weights;
    storage->constant->info = info;
    return storage;
}

mia__storage *mia__constant_new(mia_device *device, mia_weights *weights, const mia_tensor_info *info,
                                const mia__entry *entry, mia_error *error) {
    mia_shape shape = mia__view_shape(&entry->view);
    bool whole = mia__view_is_compact(entry->dtype, &entry->view) &&
                 mia__view_bytes(entry->dtype, &entry->view) == entry->bytes;
    if (whole) return describe(device, weights, info, entry->dtype, &shape, error);
    shape = (mia_shape){1, {(int64_t)entry->bytes}};
    return describe(device, weights, info, MIA_i8, &shape, error);
}

/* A handle of a tensor that the device has not seen before. The weights are observed last: an observer whose
 * constant could not be made would outlive the device. */
static mia_tensor new_weights_constant(mia_device *device, mia_weights *weights, const mia_tensor_info *info,
                                       bool observed, const mia__site *site) {
    mia_error error = {0};
    mia__storage *storage = describe(device, weights, info, info->dtype, &info->shape, &error);
    mia__view view = {0};
    if (storage != NULL) view = mia__view_compact(info->dtype, &info->shape);
    mia__node *node = own(device, info->dtype, &view, storage, site);
    mia__constant *constant = node != NULL ? storage->constant : NULL;
    mia_tensor t = finish(device, node, true, site, &error);
    if (constant == NULL || t.slot == MIA__LOST_SLOT) return t;
    constant->handle = t;
    if (observed || mia__weights_observe(weights, mia__weights_closed, device, &error) == MIA_OK) return t;
    mia__handle_retire(device, t, site);
    return finish(device, NULL, false, site, &error);
}

mia_tensor mia_tensor_of_weights(mia_device *device, mia_weights *weights, const char *name, const char *file,
                                 int line) {
    mia__site site = {"weights", file, line};
    mia_error error = {0};
    if (device == NULL || weights == NULL || name == NULL)
        return mia__handle_lost(MIA_ERROR_INVALID_ARGUMENT, line);
    const mia_tensor_info *info = mia_weights_find_tensor(weights, name);
    mia__lock(device);
    mia__storage *storage = NULL;
    bool observed = false;
    if (info == NULL) {
        (void)mia_error_set(&error, MIA_ERROR_NOT_FOUND, "%s: no tensor \"%s\"", mia_weights_name(weights),
                            name);
    } else if (info->dtype == MIA_NONE) {
        (void)mia_error_set(&error, MIA_ERROR_UNSUPPORTED,
                            "%s: tensor \"%s\" is of type %s, which is not computed with",
                            mia_weights_name(weights), name, info->type_name);
    } else {
        storage = find_constant(device, weights, info, &observed);
    }
    mia_tensor t;
    if (storage != NULL)
        t = storage->constant->handle;
    else if (info != NULL && error.status == MIA_OK)
        t = new_weights_constant(device, weights, info, observed, &site);
    else
        t = finish(device, NULL, false, &site, &error);
    mia__unlock(device);
    return t;
}
