/* Division: a layout A split by a tiler B into the tile, A o B, and the rest, A o complement(B): where the
 * copies of the tile go until all of A is covered. */
#include "layout/layout.h"

#include "base/size.h"

/* CuTe drops the elements in holes of a tiler that none of its copies fits in; here that is refused. Without
 * holes the tile and its copies are as many offsets as they span. */
static mia_status check_covers(const mia_layout *b, const mia_layout *rest, mia_error *error) {
    const mia_layout *parts[] = {b, rest};
    int64_t offsets = 1, span = 1;
    bool fits = true;
    for (size_t p = 0; p < 2; p++) {
        for (uint32_t i = 0; i < parts[p]->profile.mode_count; i++) {
            int64_t reach, extent = parts[p]->stride[i] == 0 ? 1 : parts[p]->extent[i];
            fits = fits && mia__i64_multiply(offsets, extent, &offsets) &&
                   mia__i64_multiply(extent - 1, parts[p]->stride[i], &reach) &&
                   !__builtin_add_overflow(span, reach, &span);
        }
    }
    if (fits && offsets == span) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                         "the tiler %s has holes that its copies do not fill", mia__layout_text(b).text);
}

static mia_status divide(const mia_layout *a, const mia_layout *b, mia_layout *out, mia_error *error) {
    int64_t size = mia__extents_product(a->extent, a->profile.mode_count);
    const char *what = "tile and rest";
    mia_layout rest, both = {0};
    mia_status status = mia_layout_complement(b, size, &rest, error);
    if (status == MIA_OK) status = check_covers(b, &rest, error);
    if (status == MIA_OK) status = mia__layout_open(&both, 2, what, error);
    if (status == MIA_OK) status = mia__layout_append(&both, b, what, error);
    if (status == MIA_OK) status = mia__layout_append(&both, &rest, what, error);
    if (status == MIA_OK) status = mia_layout_compose(a, &both, out, error);
    return status;
}

mia_status mia_layout_logical_divide(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                                     mia_error *error) {
    return mia__tiler_apply(divide, "logical_divide", layout, tiler, out, error);
}

mia_status mia_layout_zipped_divide(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                                    mia_error *error) {
    return mia__tiler_zip(divide, "zipped_divide", layout, tiler, false, false, out, error);
}

mia_status mia_layout_tiled_divide(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                                   mia_error *error) {
    return mia__tiler_zip(divide, "tiled_divide", layout, tiler, false, true, out, error);
}

mia_status mia_layout_flat_divide(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                                  mia_error *error) {
    return mia__tiler_zip(divide, "flat_divide", layout, tiler, true, true, out, error);
}
