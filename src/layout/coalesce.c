/* Simplifying a layout without changing it as a function (coalesce), or without its modes of stride 0
 * (filter), as a whole or by mode along a profile. */
#include "layout/layout.h"

#include "base/size.h"

/* s0:d0 and s1:d1 next to each other are s0*s1:d0 when d1 = s0*d0; a mode of extent 1 is nothing. */
mia_layout mia__layout_coalesced(const mia_layout *layout) {
    int64_t extents[MIA_LAYOUT_MAX_MODES], strides[MIA_LAYOUT_MAX_MODES];
    uint32_t count = 0;
    for (uint32_t i = 0; i < layout->profile.mode_count; i++) {
        int64_t extent = layout->extent[i], stride = layout->stride[i], next;
        if (extent == 1) continue;
        if (count > 0 && mia__i64_multiply(extents[count - 1], strides[count - 1], &next) && next == stride) {
            extents[count - 1] *= extent;
            continue;
        }
        extents[count] = extent;
        strides[count++] = stride;
    }
    mia_layout made = {0};
    mia_status status = mia__layout_push_modes(&made, extents, strides, count, "coalesce", NULL);
    (void)status; /* fewer modes than the operand had, and one pair of parentheses */
    return made;
}

static mia_layout filtered(const mia_layout *layout) {
    mia_layout ones = *layout;
    for (uint32_t i = 0; i < ones.profile.mode_count; i++) {
        if (ones.stride[i] == 0) ones.extent[i] = 1;
    }
    return mia__layout_coalesced(&ones);
}

typedef mia_layout simplifier(const mia_layout *layout);

/* Walks the profile from `at`, a place in it that lies on the whole of `layout`. */
static mia_status by_profile(simplifier *simplify, const char *what, const mia_layout *layout,
                             const mia_profile *profile, mia__place *at, mia_layout *out, mia_error *error) {
    uint32_t children = profile->children[at->node++];
    if (children == 0) {
        mia_layout simple = simplify(layout);
        return mia__layout_append(out, &simple, what, error);
    }
    uint32_t rank = mia__profile_rank(&layout->profile, 0);
    if (rank < children) {
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "%s: a profile of %u modes for %s, which has %u", what, children,
                             mia__layout_text(layout).text, rank);
    }
    mia_status status = mia__layout_open(out, rank, what, error);
    for (uint32_t i = 0; status == MIA_OK && i < rank; i++) {
        mia_layout mode = mia__layout_child(layout, i);
        status = i < children ? by_profile(simplify, what, &mode, profile, at, out, error)
                              : mia__layout_append(out, &mode, what, error);
    }
    return status;
}

static mia_status simplify(simplifier *how, const char *what, const mia_layout *layout,
                           const mia_tuple *profile, mia_layout *out, mia_error *error) {
    mia_status status = mia__layout_check(layout, what, error);
    if (status != MIA_OK) return status;
    if (profile == NULL) {
        *out = how(layout);
        return MIA_OK;
    }
    mia_layout made = {0};
    mia__place at = {0, 0};
    status = mia__tuple_check(profile, what, error);
    if (status == MIA_OK) status = by_profile(how, what, layout, &profile->profile, &at, &made, error);
    if (status == MIA_OK) *out = made;
    return status;
}

mia_status mia_layout_coalesce(const mia_layout *layout, const mia_tuple *profile, mia_layout *out,
                               mia_error *error) {
    return simplify(mia__layout_coalesced, "coalesce", layout, profile, out, error);
}

mia_status mia_layout_filter(const mia_layout *layout, const mia_tuple *profile, mia_layout *out,
                             mia_error *error) {
    return simplify(filtered, "filter", layout, profile, out, error);
}

mia_status mia_layout_filter_zeros(const mia_layout *layout, mia_layout *out, mia_error *error) {
    mia_status status = mia__layout_check(layout, "filter_zeros", error);
    if (status != MIA_OK) return status;
    mia_layout made = *layout;
    for (uint32_t i = 0; i < made.profile.mode_count; i++) {
        if (made.stride[i] == 0) made.extent[i] = 1;
    }
    *out = made;
    return MIA_OK;
}
