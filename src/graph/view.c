/* Views: how a value lies in memory, and the arithmetic of the view operations (view.h). */
#include "graph/view.h"

#include "base/size.h"

#include <inttypes.h>
#include <stdio.h>

#define LARGEST_BYTES ((size_t)1 << 62)

/* Numbers that one unit of mode 0 stands for in the extents: a block's, else one. */
static int64_t block_of(mia_dtype dtype) {
    const mia_dtype_info *info = mia_dtype_describe(dtype);
    return info->kind == MIA_KIND_BLOCK ? (int64_t)info->elements : 1;
}

/* Extent of a mode in units. */
static int64_t units(mia_dtype dtype, const mia__view *view, uint32_t mode) {
    return mode == 0 ? view->extent[0] / block_of(dtype) : view->extent[mode];
}

mia__view mia__view_compact(mia_dtype dtype, const mia_shape *shape) {
    mia__view view = {.ndim = shape->ndim};
    int64_t stride = 1;
    for (uint32_t m = 0; m < shape->ndim; m++) {
        view.extent[m] = shape->extent[m];
        view.stride[m] = stride;
        int64_t extent = units(dtype, &view, m);
        stride *= extent > 0 ? extent : 1;
    }
    return view;
}

mia_shape mia__view_shape(const mia__view *view) {
    return mia_shape_of(view->extent, view->ndim);
}

int64_t mia__view_count(const mia__view *view) {
    int64_t count = 1;
    for (uint32_t m = 0; m < view->ndim; m++) count *= view->extent[m];
    return count;
}

size_t mia__view_bytes(mia_dtype dtype, const mia__view *view) {
    return (size_t)(mia__view_count(view) / block_of(dtype)) * mia_dtype_describe(dtype)->bytes;
}

bool mia__view_is_compact(mia_dtype dtype, const mia__view *view) {
    if (view->offset != 0) return false;
    int64_t stride = 1;
    for (uint32_t m = 0; m < view->ndim; m++) {
        int64_t extent = units(dtype, view, m);
        if (extent > 1 && view->stride[m] != stride) return false;
        stride *= extent > 0 ? extent : 1;
    }
    return true;
}

const char *mia__shape_text(const mia_shape *shape, char *text, size_t capacity) {
    size_t used = 0;
    int written = snprintf(text, capacity, "[");
    for (uint32_t m = 0; m < shape->ndim && m < MIA_MAX_MODES; m++) {
        used += (size_t)written;
        if (used >= capacity) return text;
        written = snprintf(text + used, capacity - used, m > 0 ? ", %" PRId64 : "%" PRId64, shape->extent[m]);
    }
    used += (size_t)written;
    if (used < capacity) (void)snprintf(text + used, capacity - used, "]");
    return text;
}

mia_status mia__shape_check(mia_dtype dtype, const mia_shape *shape, size_t *bytes, const char *what,
                            mia_error *error) {
    const mia_dtype_info *info = mia_dtype_describe(dtype);
    if (info->bytes == 0)
        return mia_error_set(error, MIA_ERROR_TYPE_MISMATCH, "%s: %d is no element type", what, (int)dtype);
    if (shape->ndim > MIA_MAX_MODES)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "%s: a shape of %" PRIu32 " modes; at most %d are held", what, shape->ndim,
                             MIA_MAX_MODES);
    size_t total = info->bytes;
    char text[200];
    for (uint32_t m = 0; m < shape->ndim; m++) {
        int64_t extent = shape->extent[m];
        if (extent < 0)
            return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                                 "%s: mode %" PRIu32 " of shape %s is negative", what, m,
                                 mia__shape_text(shape, text, sizeof text));
        if (m == 0) {
            if (extent % block_of(dtype) != 0)
                return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                                     "%s: mode 0 of shape %s is not a multiple of %s's block of %" PRIu32,
                                     what, mia__shape_text(shape, text, sizeof text), info->name,
                                     info->elements);
            extent /= block_of(dtype);
        }
        size_t factor = extent > 0 ? (size_t)extent : 1; /* strides must fit even when a mode is empty */
        if (!mia__size_multiply(total, factor, &total) || total > LARGEST_BYTES)
            return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                                 "%s: shape %s of %s is larger than any memory", what,
                                 mia__shape_text(shape, text, sizeof text), info->name);
    }
    if (shape->ndim == 0 && info->kind == MIA_KIND_BLOCK)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH, "%s: a single number cannot be %s", what,
                             info->name);
    mia__view view = mia__view_compact(dtype, shape);
    *bytes = mia__view_bytes(dtype, &view);
    return MIA_OK;
}

/* Merges modes that follow each other in memory and drops those of extent 1; extents in units. */
static uint32_t merge_modes(mia_dtype dtype, const mia__view *in, int64_t *extent, int64_t *stride) {
    uint32_t count = 0;
    for (uint32_t m = 0; m < in->ndim; m++) {
        int64_t e = units(dtype, in, m);
        if (e == 1) continue;
        if (count > 0 && in->stride[m] == stride[count - 1] * extent[count - 1]) {
            extent[count - 1] *= e;
            continue;
        }
        extent[count] = e;
        stride[count++] = in->stride[m];
    }
    return count;
}

mia_status mia__view_reshape(mia_dtype dtype, const mia__view *in, const mia_shape *shape, mia__view *out,
                             bool *needs_copy, mia_error *error) {
    size_t bytes;
    mia_status status = mia__shape_check(dtype, shape, &bytes, "reshape", error);
    if (status != MIA_OK) return status;
    mia__view result = mia__view_compact(dtype, shape);
    char from[200], to[200];
    mia_shape in_shape = mia__view_shape(in);
    if (mia__view_count(in) != mia__view_count(&result))
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "reshape: shape %s has %" PRId64 " elements, shape %s has %" PRId64,
                             mia__shape_text(&in_shape, from, sizeof from), mia__view_count(in),
                             mia__shape_text(shape, to, sizeof to), mia__view_count(&result));
    *needs_copy = false;
    result.offset = in->offset;
    *out = result;
    if (mia__view_count(in) == 0) return MIA_OK;

    int64_t extent[MIA__VIEW_MODES], stride[MIA__VIEW_MODES];
    uint32_t count = merge_modes(dtype, in, extent, stride), next = 0;
    int64_t left = 1, step = 1; /* what is left of the run of memory being cut up, and its stride */
    for (uint32_t m = 0; m < shape->ndim; m++) {
        int64_t e = units(dtype, &result, m);
        if (e == 1) continue;
        if (left == 1 && next < count) {
            left = extent[next];
            step = stride[next++];
        }
        if (left % e != 0) {
            *needs_copy = true;
            return MIA_OK;
        }
        result.stride[m] = step;
        step *= e;
        left /= e;
    }
    if (block_of(dtype) > 1 && units(dtype, &result, 0) > 1 && result.stride[0] != 1) {
        *needs_copy = true; /* blocks of mode 0 have to follow each other */
        return MIA_OK;
    }
    *out = result;
    return MIA_OK;
}

mia_status mia__view_permute(mia_dtype dtype, const mia__view *in, const mia_shape *order, mia__view *out,
                             mia_error *error) {
    char from[200], to[200];
    mia_shape in_shape = mia__view_shape(in);
    uint32_t seen = 0;
    bool good = order->ndim == in->ndim;
    for (uint32_t m = 0; good && m < order->ndim; m++) {
        int64_t from_mode = order->extent[m];
        good = from_mode >= 0 && from_mode < (int64_t)in->ndim && (seen & (1u << from_mode)) == 0;
        if (good) seen |= 1u << from_mode;
    }
    if (!good)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "permute: %s is not an order of the %" PRIu32 " modes of shape %s",
                             mia__shape_text(order, to, sizeof to), in->ndim,
                             mia__shape_text(&in_shape, from, sizeof from));
    if (block_of(dtype) > 1 && in->ndim > 0 && order->extent[0] != 0)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH, "permute: mode 0 of %s has to stay first",
                             mia_dtype_describe(dtype)->name);
    mia__view result = {.offset = in->offset, .ndim = in->ndim};
    for (uint32_t m = 0; m < in->ndim; m++) {
        result.extent[m] = in->extent[order->extent[m]];
        result.stride[m] = in->stride[order->extent[m]];
    }
    *out = result;
    return MIA_OK;
}

mia_status mia__view_transpose(mia_dtype dtype, const mia__view *in, int64_t mode, int64_t other,
                               mia__view *out, mia_error *error) {
    char from[200];
    mia_shape shape = mia__view_shape(in), order = {.ndim = in->ndim};
    if (mode < 0 || mode >= (int64_t)in->ndim || other < 0 || other >= (int64_t)in->ndim)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "transpose: shape %s has no modes %" PRId64 " and %" PRId64,
                             mia__shape_text(&shape, from, sizeof from), mode, other);
    if (block_of(dtype) > 1 && mode != other && (mode == 0 || other == 0))
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH, "transpose: mode 0 of %s has to stay first",
                             mia_dtype_describe(dtype)->name);
    for (uint32_t m = 0; m < in->ndim; m++) order.extent[m] = m;
    order.extent[mode] = other;
    order.extent[other] = mode;
    return mia__view_permute(dtype, in, &order, out, error);
}

/* Mode 0 of blocks has more elements than 1. */
void mia__view_squeeze(mia_dtype dtype, const mia__view *in, uint32_t modes, mia__view *out) {
    (void)dtype;
    mia__view result = {.offset = in->offset};
    for (uint32_t m = 0; m < in->ndim; m++) {
        if (in->extent[m] == 1 && (modes >> m & 1) != 0) continue;
        result.extent[result.ndim] = in->extent[m];
        result.stride[result.ndim++] = in->stride[m];
    }
    *out = result;
}

mia_status mia__view_unsqueeze(mia_dtype dtype, const mia__view *in, int64_t mode, mia__view *out,
                               mia_error *error) {
    char from[200];
    mia_shape shape = mia__view_shape(in);
    if (mode < 0 || mode > (int64_t)in->ndim || in->ndim == MIA_MAX_MODES)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "unsqueeze: shape %s takes no new mode %" PRId64,
                             mia__shape_text(&shape, from, sizeof from), mode);
    if (block_of(dtype) > 1 && mode == 0)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH, "unsqueeze: mode 0 of %s has to stay first",
                             mia_dtype_describe(dtype)->name);
    mia__view result = {.offset = in->offset, .ndim = in->ndim + 1};
    for (uint32_t m = 0, from_mode = 0; m < result.ndim; m++) {
        bool new_mode = m == (uint32_t)mode;
        result.extent[m] = new_mode ? 1 : in->extent[from_mode];
        result.stride[m] = new_mode ? 1 : in->stride[from_mode++];
    }
    *out = result;
    return MIA_OK;
}

mia_status mia__view_slice(mia_dtype dtype, const mia__view *in, uint32_t mode, int64_t begin, int64_t count,
                           int64_t step, mia__view *out, mia_error *error) {
    char from[200];
    mia_shape in_shape = mia__view_shape(in);
    if (mode >= in->ndim)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH, "slice: shape %s has no mode %" PRIu32,
                             mia__shape_text(&in_shape, from, sizeof from), mode);
    int64_t extent = in->extent[mode], span, last;
    bool good = count >= 0 && begin >= 0 && begin <= extent;
    if (good && count > 0)
        good = begin < extent && mia__i64_multiply(count - 1, step, &span) &&
               !__builtin_add_overflow(begin, span, &last) && last >= 0 && last < extent &&
               (step != 0 || count == 1);
    if (!good)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "slice: %" PRId64 " elements from %" PRId64 " by %" PRId64
                             " do not lie within mode %" PRIu32 " of shape %s",
                             count, begin, step, mode, mia__shape_text(&in_shape, from, sizeof from));
    int64_t block = mode == 0 ? block_of(dtype) : 1;
    if (begin % block != 0 || count % block != 0 || (block > 1 && step != 1))
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "slice: mode 0 of %s can be cut between blocks of %" PRId64 " alone",
                             mia_dtype_describe(dtype)->name, block);
    mia__view result = *in;
    result.offset += begin / block * in->stride[mode];
    result.extent[mode] = count;
    if (count > 1) result.stride[mode] *= step;
    *out = result;
    return MIA_OK;
}

mia_status mia__view_broadcast(mia_dtype dtype, const mia__view *in, const mia_shape *shape, mia__view *out,
                               mia_error *error) {
    size_t bytes;
    mia_status status = mia__shape_check(dtype, shape, &bytes, "broadcast", error);
    if (status != MIA_OK) return status;
    mia__view result = {.offset = in->offset, .ndim = shape->ndim};
    bool good = shape->ndim >= in->ndim;
    for (uint32_t m = 0; good && m < shape->ndim; m++) {
        result.extent[m] = shape->extent[m];
        bool same = m < in->ndim && in->extent[m] == shape->extent[m];
        result.stride[m] = same ? in->stride[m] : 0;
        good = same || m >= in->ndim || in->extent[m] == 1;
    }
    if (!good) {
        char from[200], to[200];
        mia_shape in_shape = mia__view_shape(in);
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH, "broadcast: shape %s does not repeat to %s",
                             mia__shape_text(&in_shape, from, sizeof from),
                             mia__shape_text(shape, to, sizeof to));
    }
    *out = result;
    return MIA_OK;
}

/* The view of wider units: every `ratio` old units along mode 0 become one. */
static bool widen(mia__view *view, int64_t ratio) {
    bool fits = view->offset % ratio == 0 && (view->stride[0] == 1 || view->extent[0] == 1);
    for (uint32_t m = 1; m < view->ndim; m++) {
        fits = fits && (view->stride[m] % ratio == 0 || view->extent[m] == 1);
        view->stride[m] /= ratio;
    }
    view->offset /= ratio;
    view->extent[0] /= ratio;
    view->stride[0] = 1;
    return fits;
}

/* The view of narrower units: each old unit becomes `ratio` along mode 0. */
static bool narrow(mia__view *view, int64_t ratio) {
    bool fits = view->stride[0] == 1 || view->extent[0] == 1;
    for (uint32_t m = 1; m < view->ndim; m++) view->stride[m] *= ratio;
    view->offset *= ratio;
    view->extent[0] *= ratio;
    view->stride[0] = 1;
    return fits;
}

mia_status mia__view_cast(mia_dtype from, const mia__view *in, mia_dtype to, mia__view *out, bool *needs_copy,
                          mia_error *error) {
    const mia_dtype_info *a = mia_dtype_describe(from), *b = mia_dtype_describe(to);
    char text[200];
    mia_shape shape = mia__view_shape(in);
    if (b->bytes == 0 || (from != to && (a->kind == MIA_KIND_BLOCK || b->kind == MIA_KIND_BLOCK)))
        return mia_error_set(error, MIA_ERROR_TYPE_MISMATCH, "cast: %s cannot be read as %s", a->name,
                             b->name);
    mia__view result = *in;
    *needs_copy = false;
    if (a->bytes != b->bytes) {
        bool wider = b->bytes > a->bytes;
        int64_t ratio = wider ? b->bytes / a->bytes : a->bytes / b->bytes;
        if (in->ndim == 0 || (wider && in->extent[0] % ratio != 0))
            return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                                 "cast: shape %s of %s has no mode 0 that divides into %s",
                                 mia__shape_text(&shape, text, sizeof text), a->name, b->name);
        *needs_copy = !(wider ? widen(&result, ratio) : narrow(&result, ratio));
        shape = mia__view_shape(&result);
        if (*needs_copy) result = mia__view_compact(to, &shape);
    }
    *out = result;
    return MIA_OK;
}
