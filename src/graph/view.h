/* How a value lies in memory: an offset and flat modes of (extent, signed stride). Pure functions on values.
 *
 *     value [3, 2] in a buffer        offset 1, extents (3, 2), strides (1, 4)
 *     . a b c . d e f                 element (i, j) is unit 1 + i * 1 + j * 4
 *
 * Extents count elements; offset and strides count units of the type: elements, short vectors for packed
 * types (whose own mode of 4 or 8 is not listed), blocks for block types (whose mode 0 is always contiguous:
 * stride 1 a block). */
#ifndef MIA_GRAPH_VIEW_H
#define MIA_GRAPH_VIEW_H

#include <mia/dtype.h>
#include <mia/layout.h>

/* One more than a shape: the inner mode of packed types, spelt out for kernels. */
#define MIA__VIEW_MODES (MIA_MAX_MODES + 1)

typedef struct mia__view {
    int64_t offset;
    uint32_t ndim;
    int64_t extent[MIA__VIEW_MODES];
    int64_t stride[MIA__VIEW_MODES];
} mia__view;

/* The view of a compact value of that shape. The caller has checked the shape (mia__shape_check). */
mia__view mia__view_compact(mia_dtype dtype, const mia_shape *shape);

/* Extents as a shape. */
mia_shape mia__view_shape(const mia__view *view);

static inline bool mia__shape_equal(const mia_shape *a, const mia_shape *b) {
    bool equal = a->ndim == b->ndim;
    for (uint32_t m = 0; equal && m < a->ndim; m++) equal = a->extent[m] == b->extent[m];
    return equal;
}

/* Number of elements; the shape was checked, so it fits. 1 for rank 0. */
int64_t mia__view_count(const mia__view *view);

/* Bytes of a compact value of these extents. */
size_t mia__view_bytes(mia_dtype dtype, const mia__view *view);

/* Offset 0 and compact strides (modes of extent 1 may have any stride). */
bool mia__view_is_compact(mia_dtype dtype, const mia__view *view);

/* Refuses more than 8 modes, negative extents, a mode 0 that is no multiple of the block, and sizes past 2^62
 * bytes; on success *bytes is the compact size. `what` names the operation in the message. */
mia_status mia__shape_check(mia_dtype dtype, const mia_shape *shape, size_t *bytes, const char *what,
                            mia_error *error);

/* "[3, 2]" into text (at least 200 bytes); returns text. */
const char *mia__shape_text(const mia_shape *shape, char *text, size_t capacity);

/* --- the views behind the view operations ----------------------------------------------------- */

/* Each fails with a message that begins with the operation's name;
 * none copies. mia__view_reshape sets *needs_copy instead of failing when strides do not allow the shape. */
mia_status mia__view_reshape(mia_dtype dtype, const mia__view *in, const mia_shape *shape, mia__view *out,
                             bool *needs_copy, mia_error *error);
mia_status mia__view_permute(mia_dtype dtype, const mia__view *in, const mia_shape *order, mia__view *out,
                             mia_error *error);
mia_status mia__view_slice(mia_dtype dtype, const mia__view *in, uint32_t mode, int64_t begin, int64_t count,
                           int64_t step, mia__view *out, mia_error *error);
mia_status mia__view_broadcast(mia_dtype dtype, const mia__view *in, const mia_shape *shape, mia__view *out,
                               mia_error *error);
mia_status mia__view_transpose(mia_dtype dtype, const mia__view *in, int64_t mode, int64_t other,
                               mia__view *out, mia_error *error);
/* Without the modes of extent 1 that are in the set; those of another extent stay. */
void mia__view_squeeze(mia_dtype dtype, const mia__view *in, uint32_t modes, mia__view *out);
mia_status mia__view_unsqueeze(mia_dtype dtype, const mia__view *in, int64_t mode, mia__view *out,
                               mia_error *error);
/* needs_copy as for reshape: when the bytes do not lie so that they can be read as the other type. */
mia_status mia__view_cast(mia_dtype from, const mia__view *in, mia_dtype to, mia__view *out, bool *needs_copy,
                          mia_error *error);

#endif
