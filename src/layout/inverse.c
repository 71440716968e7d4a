/* Right and left inverse of a layout. Both sort its modes by stride; `before` is what one step in a mode is
 * worth in the index, which is what the inverse has to give back. */
#include "layout/layout.h"

#include "base/size.h"

/* Takes the modes that continue 0, 1, 2, ... without a gap: offset j is then reached by digits of these
 * modes. Stops at the first that does not continue, as CuTe's model does; a mode of stride 0 sorts first and
 * stops it at once. */
mia_status mia_layout_right_inverse(const mia_layout *layout, mia_layout *out, mia_error *error) {
    mia_status status = mia__layout_check(layout, "right_inverse", error);
    if (status != MIA_OK) return status;
    mia__sorted_mode modes[MIA_LAYOUT_MAX_MODES];
    uint32_t count = mia__layout_sort(layout, modes), taken = 0;
    int64_t extents[MIA_LAYOUT_MAX_MODES], strides[MIA_LAYOUT_MAX_MODES], next = 1;
    for (uint32_t i = 0; i < count && modes[i].stride == next; i++) {
        extents[taken] = modes[i].extent;
        strides[taken++] = modes[i].before;
        next *= modes[i].extent; /* at most the size of the layout */
    }
    mia_layout made = {0};
    status = mia__layout_push_modes(&made, extents, strides, taken, "right_inverse", error);
    if (status == MIA_OK) *out = mia__layout_coalesced(&made);
    return status;
}

static mia_status no_left_inverse(const mia_layout *layout, const mia__sorted_mode *mode, const char *why,
                                  mia_error *error) {
    return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "left_inverse: mode %lld:%lld of %s %s",
                         (long long)mode->extent, (long long)mode->stride, mia__layout_text(layout).text,
                         why);
}

/* The inverse splits an offset into digits, one a mode of the layout, from the smallest stride up. From one
 * stride to the next there are either whole copies of the mode (the digit, then a filler digit that is always
 * 0), or at least whole steps of it (a digit wider than the mode). The fillers carry the index on past the
 * layout's size, so that the inverse is one to one as well: this is CuTe's right inverse of (A, complement of
 * A). */
mia_status mia_layout_left_inverse(const mia_layout *layout, mia_layout *out, mia_error *error) {
    mia_status status = mia__layout_check(layout, "left_inverse", error);
    if (status != MIA_OK) return status;
    mia__sorted_mode modes[MIA_LAYOUT_MAX_MODES];
    uint32_t count = mia__layout_sort(layout, modes);
    int64_t filler = mia__extents_product(layout->extent, layout->profile.mode_count);
    int64_t extents[2 * MIA_LAYOUT_MAX_MODES + 1], strides[2 * MIA_LAYOUT_MAX_MODES + 1];
    uint32_t digits = 0;
    for (uint32_t i = 0; i < count; i++) {
        const mia__sorted_mode *mode = &modes[i];
        if (mode->stride < 0) return no_left_inverse(layout, mode, "has a negative stride", error);
        if (mode->stride == 0)
            return no_left_inverse(layout, mode, "gives each offset more than once", error);
        int64_t step = i == 0 ? 1 : modes[i - 1].stride, extent = i == 0 ? 1 : modes[i - 1].extent;
        int64_t ratio = mode->stride / step, gap = 1;
        if (mode->stride % step != 0 || ratio < extent) {
            return no_left_inverse(layout, mode, "meets another unevenly, or overlaps it", error);
        }
        if (ratio % extent == 0) {
            gap = ratio / extent;
            ratio = extent;
        }
        if (i > 0) {
            extents[digits] = ratio;
            strides[digits++] = modes[i - 1].before;
        }
        if (gap == 1) continue;
        extents[digits] = gap;
        strides[digits++] = filler;
        if (!mia__i64_multiply(filler, gap, &filler)) {
            return no_left_inverse(layout, mode, "makes an inverse that exceeds 64 bits", error);
        }
    }
    if (count > 0) {
        extents[digits] = modes[count - 1].extent;
        strides[digits++] = modes[count - 1].before;
    }
    mia_layout made = {0};
    status = mia__layout_push_modes(&made, extents, strides, digits, "left_inverse", error);
    if (status == MIA_OK) status = mia__layout_check(&made, "left_inverse", error);
    if (status == MIA_OK) *out = mia__layout_coalesced(&made);
    return status;
}
