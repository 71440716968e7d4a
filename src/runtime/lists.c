/* Any number of tensors at once: joined along a mode, stacked along a new one, and cut apart. Made of the operations
 * of the table; every handle that is given away is consumed whatever happens. */
#include "runtime/device.h"

#include <inttypes.h>
#include <stdio.h>

/* Tensors to join; where they are to be stacked each gets the mode first. */
typedef struct joining {
    const mia_tensor *list;
    uint32_t mode;
    bool stacked;
    const char *file;
    int line;
} joining;

static mia_tensor item(const joining *j, size_t i) {
    return j->stacked ? mia_op_unsqueeze(j->list[i], j->mode, j->file, j->line) : j->list[i];
}

/* By halves, so that no element is copied more often than the list can be halved. What does not fit is refused
 * here, by concat's own rules. */
static mia_tensor join_halves(const joining *j, size_t first, size_t count) {
    if (count == 1) return item(j, first);
    mia_tensor a = join_halves(j, first, count / 2);
    return mia_op_concat(a, join_halves(j, first + count / 2, count - count / 2), j->mode, j->file, j->line);
}

static bool takes(mia_op op, mia_dtype dtype) {
    return dtype != MIA_NONE && (mia_op_describe(op)->types >> dtype & 1) != 0;
}

/* Places of the mode that tensor i takes. */
static int64_t places_of(const joining *j, size_t i) {
    mia_shape shape = mia_tensor_shape(j->list[i]);
    return j->stacked ? 1 : shape.extent[j->mode];
}

/* Whether the list can be joined by updates of one result: alike but for the mode, and no place past what an index
 * can say. */
static bool fits_updates(const joining *j, size_t count) {
    mia_dtype dtype = mia_tensor_dtype(j->list[0]);
    mia_shape first = mia_tensor_shape(j->list[0]);
    int64_t total = 0;
    if (count < 3 || !takes(MIA_OP_pad, dtype) || !takes(MIA_OP_update, dtype)) return false;
    if (j->stacked ? j->mode > first.ndim || first.ndim == MIA_MAX_MODES : j->mode >= first.ndim)
        return false;
    for (size_t i = 0; i < count; i++) {
        mia_shape shape = mia_tensor_shape(j->list[i]);
        if (j->list[i].device != j->list[0].device || mia_tensor_dtype(j->list[i]) != dtype ||
            shape.ndim != first.ndim)
            return false;
        total += j->stacked ? 1 : shape.extent[j->mode];
        if (total > INT32_MAX) return false;
        if (!j->stacked) shape.extent[j->mode] = first.extent[j->mode];
        if (!mia__shape_equal(&shape, &first)) return false;
    }
    return true;
}

/* Where each tensor begins, as one tensor; all zero where there is no memory to work that out. */
static mia_tensor upload_starts(const joining *j, size_t count, int64_t *total) {
    mia_device *device = j->list[0].device;
    int32_t *starts = mia_allocate_zeroed(&device->allocator, count, sizeof *starts);
    if (starts == NULL) return (mia_tensor){0};
    *total = 0;
    for (size_t i = 0; i < count; i++) {
        starts[i] = (int32_t)*total;
        *total += places_of(j, i);
    }
    mia_tensor made =
        mia_tensor_upload(device, MIA_i32, (mia_shape){1, {(int64_t)count}}, starts, j->file, j->line);
    mia_release(&device->allocator, starts, count * sizeof *starts);
    return made;
}

/* The first, with room behind it, into which the others are put, each element once. */
static mia_tensor join_updates(const joining *j, size_t count, mia_tensor starts, int64_t total) {
    int64_t rest = total - places_of(j, 0);
    mia_tensor whole = mia_op_pad(item(j, 0), j->mode, 0, rest, MIA_PAD_CONSTANT, 0, j->file, j->line);
    for (size_t i = 1; i < count; i++) {
        mia_tensor all = i + 1 < count ? mia_op_ref(starts, j->file, j->line) : starts;
        mia_tensor start = mia_op_slice(all, 0, (int64_t)i, 1, 1, j->file, j->line);
        whole = mia_op_update(whole, item(j, i), start, j->mode, j->file, j->line);
    }
    return whole;
}

static mia_tensor join(const joining *j, size_t count) {
    if (j->list == NULL || count == 0) return mia__handle_lost(MIA_ERROR_INVALID_ARGUMENT, j->line);
    if (fits_updates(j, count)) {
        int64_t total = 0;
        mia_tensor starts = upload_starts(j, count, &total);
        if (starts.device != NULL) return join_updates(j, count, starts, total);
    }
    return join_halves(j, 0, count);
}

mia_tensor mia_tensor_concat(const mia_tensor *list, size_t count, uint32_t mode, const char *file,
                             int line) {
    const joining j = {.list = list, .mode = mode, .file = file, .line = line};
    if (count != 1) return join(&j, count);
    /* Nothing to join, but a mode to check, and a constant is not handed on as a handle to own. */
    mia_shape shape = mia_tensor_shape(list[0]);
    int64_t extent = mode < shape.ndim ? shape.extent[mode] : 0;
    return mia_op_slice(list[0], mode, 0, extent, 1, file, line);
}

mia_tensor mia_tensor_stack(const mia_tensor *list, size_t count, uint32_t mode, const char *file, int line) {
    const joining j = {.list = list, .mode = mode, .stacked = true, .file = file, .line = line};
    return join(&j, count);
}

/* --- cut apart -------------------------------------------------------------------------------- */

/* A poisoned value beside x. */
static mia_tensor refused(mia_tensor x, const mia_error *error, const mia__site *site) {
    mia__lock(x.device);
    mia_tensor t = mia__handle_lost(MIA_ERROR_DEVICE_CLOSED, site->line);
    if (!x.device->closed)
        t = mia__handle_new(x.device, mia__node_poisoned(x.device, error, site), false, site);
    mia__unlock(x.device);
    return t;
}

/* Whether the sizes are those of all places of the mode; x is good. */
static mia_status check_sizes(const mia_shape *shape, uint32_t mode, const int64_t *sizes, size_t count,
                              const mia__site *site, mia_error *error) {
    char text[200];
    int64_t total = 0;
    bool good = mode < shape->ndim;
    for (size_t i = 0; good && i < count; i++)
        good = sizes[i] >= 0 && !__builtin_add_overflow(total, sizes[i], &total);
    if (good && total == shape->extent[mode]) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                         "split: the %zu sizes are not those of mode %" PRIu32 " of shape %s (%s:%d)", count,
                         mode, mia__shape_text(shape, text, sizeof text),
                         site->file != NULL ? site->file : "?", site->line);
}

void mia_tensor_split(mia_tensor x, uint32_t mode, const int64_t *sizes, size_t count, mia_tensor *parts,
                      const char *file, int line) {
    mia__site site = {"split", file, line};
    mia_error error = {0};
    mia_shape shape = mia_tensor_shape(x);
    bool good = mia_tensor_status(x, NULL) != MIA_OK /* which spreads */ ||
                check_sizes(&shape, mode, sizes, count, &site, &error) == MIA_OK;
    int64_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        if (good)
            parts[i] = mia_op_slice(mia_op_ref(x, file, line), mode, begin, sizes[i], 1, file, line);
        else
            parts[i] = refused(x, &error, &site);
        begin += good ? sizes[i] : 0;
    }
    mia_op_unref(x, file, line);
}
