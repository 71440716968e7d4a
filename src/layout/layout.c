/* The layout value: its nesting, building it piece by piece, taking it apart, and its sizes. What the value
 * means as a function is in evaluation.c; the algebra starts in coalesce.c and compose.c. */
#include "layout/layout.h"

#include "base/error.h"
#include "base/size.h"

#include <string.h>

/* ---- nestings ---- */

mia__place mia__profile_after(const mia_profile *profile, mia__place place) {
    uint32_t pending = 1;
    while (pending > 0) {
        uint32_t children = profile->children[place.node++];
        if (children == 0) place.mode++;
        pending = pending - 1 + children;
    }
    return place;
}

bool mia__profile_equal(const mia_profile *a, const mia_profile *b) {
    if (a->node_count != b->node_count || a->mode_count != b->mode_count) return false;
    return memcmp(a->children, b->children, a->node_count) == 0;
}

mia_status mia__profile_push(mia_profile *profile, uint32_t children, const char *what, mia_error *error) {
    bool too_many =
        children > 0 ? children > MIA_LAYOUT_MAX_MODES : profile->mode_count == MIA_LAYOUT_MAX_MODES;
    if (too_many) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: more than %d modes", what,
                             MIA_LAYOUT_MAX_MODES);
    }
    if (profile->node_count == MIA_LAYOUT_MAX_NODES) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "%s: more than %d modes and pairs of parentheses together", what,
                             MIA_LAYOUT_MAX_NODES);
    }
    profile->children[profile->node_count++] = (uint8_t)children;
    if (children == 0) profile->mode_count++;
    return MIA_OK;
}

bool mia__profile_valid(const mia_profile *profile) {
    if (profile->node_count == 0 || profile->node_count > MIA_LAYOUT_MAX_NODES) return false;
    uint32_t pending = 1, modes = 0;
    for (uint32_t node = 0; node < profile->node_count; node++) {
        if (pending == 0) return false;
        if (profile->children[node] == 0) modes++;
        pending = pending - 1 + profile->children[node];
    }
    return pending == 0 && modes == profile->mode_count && modes <= MIA_LAYOUT_MAX_MODES;
}

/* ---- checks ---- */

mia_status mia__layout_check(const mia_layout *layout, const char *what, mia_error *error) {
    if (layout == NULL || !mia__profile_valid(&layout->profile)) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: the operand is not a layout", what);
    }
    int64_t size = 1;
    for (uint32_t i = 0; i < layout->profile.mode_count; i++) {
        if (layout->extent[i] < 1) {
            return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                                 "%s: mode %u has extent %lld; an extent is at least 1", what, i,
                                 (long long)layout->extent[i]);
        }
        if (!mia__i64_multiply(size, layout->extent[i], &size)) {
            return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                                 "%s: the size of the layout exceeds 64 bits", what);
        }
    }
    return MIA_OK;
}

mia_status mia__tuple_check(const mia_tuple *tuple, const char *what, mia_error *error) {
    if (tuple == NULL || !mia__profile_valid(&tuple->profile)) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: the operand is not a tuple of integers",
                             what);
    }
    return MIA_OK;
}

mia_status mia__layout_within(const char *what, mia_status status, mia_error *error) {
    if (status == MIA_OK || error == NULL) return status;
    size_t length = strlen(what);
    if (strncmp(error->message, what, length) == 0 && error->message[length] == ':') return status;
    mia__error_within(error, what);
    return status;
}

/* ---- building ---- */

mia_status mia__layout_open(mia_layout *layout, size_t children, const char *what, mia_error *error) {
    if (children == 0) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: a layout has at least one mode", what);
    }
    uint32_t count = children > MIA_LAYOUT_MAX_NODES ? MIA_LAYOUT_MAX_NODES : (uint32_t)children;
    return mia__profile_push(&layout->profile, count, what, error);
}

mia_status mia__layout_push(mia_layout *layout, int64_t extent, int64_t stride, const char *what,
                            mia_error *error) {
    uint32_t mode = layout->profile.mode_count;
    mia_status status = mia__profile_push(&layout->profile, 0, what, error);
    if (status != MIA_OK) return status;
    layout->extent[mode] = extent;
    layout->stride[mode] = stride;
    return MIA_OK;
}

mia_status mia__layout_append(mia_layout *layout, const mia_layout *part, const char *what,
                              mia_error *error) {
    uint32_t mode = 0;
    for (uint32_t node = 0; node < part->profile.node_count; node++) {
        uint32_t children = part->profile.children[node];
        mia_status status =
            children > 0 ? mia__layout_open(layout, children, what, error)
                         : mia__layout_push(layout, part->extent[mode], part->stride[mode], what, error);
        if (status != MIA_OK) return status;
        if (children == 0) mode++;
    }
    return MIA_OK;
}

mia_status mia__layout_push_modes(mia_layout *layout, const int64_t *extents, const int64_t *strides,
                                  size_t count, const char *what, mia_error *error) {
    if (count == 0) return mia__layout_push(layout, 1, 0, what, error);
    mia_status status = count == 1 ? MIA_OK : mia__layout_open(layout, count, what, error);
    for (size_t i = 0; status == MIA_OK && i < count; i++) {
        status = mia__layout_push(layout, extents[i], strides[i], what, error);
    }
    return status;
}

mia_layout mia__layout_sub(const mia_layout *layout, mia__place place) {
    mia__place end = mia__profile_after(&layout->profile, place);
    mia_layout sub = {0};
    sub.profile.node_count = end.node - place.node;
    sub.profile.mode_count = end.mode - place.mode;
    memcpy(sub.profile.children, layout->profile.children + place.node, sub.profile.node_count);
    memcpy(sub.extent, layout->extent + place.mode, sub.profile.mode_count * sizeof sub.extent[0]);
    memcpy(sub.stride, layout->stride + place.mode, sub.profile.mode_count * sizeof sub.stride[0]);
    return sub;
}

mia_layout mia__layout_child(const mia_layout *layout, uint32_t index) {
    if (layout->profile.children[0] == 0) return *layout;
    mia__place place = {1, 0};
    for (uint32_t i = 0; i < index; i++) place = mia__profile_after(&layout->profile, place);
    return mia__layout_sub(layout, place);
}

/* Compact strides over extents that are each at least 1. */
static mia_status compact_strides(const int64_t *extents, size_t count, int64_t *strides, const char *what,
                                  mia_error *error) {
    int64_t stride = 1;
    for (size_t i = 0; i < count; i++) {
        strides[i] = stride;
        if (!mia__i64_multiply(stride, extents[i], &stride)) {
            return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                                 "%s: the size of the layout exceeds 64 bits", what);
        }
    }
    return MIA_OK;
}

mia_status mia_layout_make(const int64_t *extents, const int64_t *strides, size_t count, mia_layout *out,
                           mia_error *error) {
    if (count == 0 || count > MIA_LAYOUT_MAX_MODES) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "layout_make: %zu modes; 1 to %d are possible", count, MIA_LAYOUT_MAX_MODES);
    }
    int64_t compact[MIA_LAYOUT_MAX_MODES];
    mia_status status = MIA_OK;
    if (strides == NULL) status = compact_strides(extents, count, compact, "layout_make", error);
    mia_layout made = {0};
    if (status == MIA_OK) {
        status = mia__layout_push_modes(&made, extents, strides == NULL ? compact : strides, count,
                                        "layout_make", error);
    }
    if (status == MIA_OK) status = mia__layout_check(&made, "layout_make", error);
    if (status == MIA_OK) *out = made;
    return status;
}

mia_status mia_layout_of_shape(const mia_tuple *shape, mia_layout *out, mia_error *error) {
    const char *what = "layout_of_shape";
    mia_status status = mia__tuple_check(shape, what, error);
    if (status != MIA_OK) return status;
    if (shape->free != 0) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: a shape has no free mode `_`", what);
    }
    mia_layout made = {.profile = shape->profile};
    memcpy(made.extent, shape->value, shape->profile.mode_count * sizeof made.extent[0]);
    status = mia__layout_check(&made, what, error);
    if (status == MIA_OK) {
        status = compact_strides(made.extent, made.profile.mode_count, made.stride, what, error);
    }
    if (status == MIA_OK) *out = made;
    return status;
}

mia_status mia_layout_concatenate(const mia_layout *modes, size_t count, mia_layout *out, mia_error *error) {
    const char *what = "concatenate";
    mia_layout made = {0};
    mia_status status = mia__layout_open(&made, count, what, error);
    for (size_t i = 0; status == MIA_OK && i < count; i++) {
        status = mia__layout_check(&modes[i], what, error);
        if (status == MIA_OK) status = mia__layout_append(&made, &modes[i], what, error);
    }
    if (status == MIA_OK) status = mia__layout_check(&made, what, error);
    if (status == MIA_OK) *out = made;
    return status;
}

/* ---- taking apart ---- */

mia_status mia_layout_mode(const mia_layout *layout, size_t index, mia_layout *out, mia_error *error) {
    mia_status status = mia__layout_check(layout, "mode", error);
    if (status != MIA_OK) return status;
    uint32_t rank = mia__profile_rank(&layout->profile, 0);
    if (index >= rank) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "mode: there is no mode %zu in %s, which has %u", index,
                             mia__layout_text(layout).text, rank);
    }
    *out = mia__layout_child(layout, (uint32_t)index);
    return MIA_OK;
}

mia_status mia_layout_group(const mia_layout *layout, size_t begin, size_t end, mia_layout *out,
                            mia_error *error) {
    const char *what = "group";
    mia_status status = mia__layout_check(layout, what, error);
    if (status != MIA_OK) return status;
    uint32_t rank = mia__profile_rank(&layout->profile, 0);
    if (begin >= end || end > rank) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: modes %zu to %zu of %s, which has %u",
                             what, begin, end, mia__layout_text(layout).text, rank);
    }
    mia_layout made = {0};
    status = mia__layout_open(&made, rank - (end - begin) + 1, what, error);
    for (uint32_t i = 0; status == MIA_OK && i < rank; i++) {
        if (i == begin) status = mia__layout_open(&made, end - begin, what, error);
        mia_layout mode = mia__layout_child(layout, i);
        if (status == MIA_OK) status = mia__layout_append(&made, &mode, what, error);
    }
    if (status == MIA_OK) *out = made;
    return status;
}

mia_status mia_layout_flatten(const mia_layout *layout, mia_layout *out, mia_error *error) {
    mia_status status = mia__layout_check(layout, "flatten", error);
    if (status != MIA_OK) return status;
    mia_layout flat = {0};
    status = mia__layout_push_modes(&flat, layout->extent, layout->stride, layout->profile.mode_count,
                                    "flatten", error);
    if (status == MIA_OK) *out = flat;
    return status;
}

bool mia_layout_equal(const mia_layout *a, const mia_layout *b) {
    if (!mia__profile_valid(&a->profile) || !mia__profile_equal(&a->profile, &b->profile)) return false;
    size_t bytes = a->profile.mode_count * sizeof a->extent[0];
    return memcmp(a->extent, b->extent, bytes) == 0 && memcmp(a->stride, b->stride, bytes) == 0;
}

/* ---- sizes ---- */

size_t mia_layout_rank(const mia_layout *layout) {
    if (layout == NULL || !mia__profile_valid(&layout->profile)) return 0;
    return mia__profile_rank(&layout->profile, 0);
}

size_t mia_layout_depth(const mia_layout *layout) {
    if (layout == NULL || !mia__profile_valid(&layout->profile)) return 0;
    uint32_t left[MIA_LAYOUT_MAX_NODES + 1] = {0}; /* children still to come, by level */
    size_t level = 0, depth = 0;
    for (uint32_t node = 0; node < layout->profile.node_count; node++) {
        uint32_t children = layout->profile.children[node];
        if (children > 0) {
            left[++level] = children;
            if (level > depth) depth = level;
            continue;
        }
        while (level > 0 && --left[level] == 0) level--;
    }
    return depth;
}

int64_t mia__extents_product(const int64_t *extents, uint32_t count) {
    int64_t product = 1;
    for (uint32_t i = 0; i < count; i++) product *= extents[i];
    return product;
}

mia_status mia_layout_size(const mia_layout *layout, int64_t *out, mia_error *error) {
    mia_status status = mia__layout_check(layout, "size", error);
    if (status == MIA_OK) *out = mia__extents_product(layout->extent, layout->profile.mode_count);
    return status;
}

mia_status mia_layout_cosize(const mia_layout *layout, int64_t *out, mia_error *error) {
    mia_status status = mia__layout_check(layout, "cosize", error);
    if (status != MIA_OK) return status;
    int64_t span = 1;
    for (uint32_t i = 0; i < layout->profile.mode_count; i++) {
        int64_t reach;
        bool fits = mia__i64_multiply(layout->extent[i] - 1, layout->stride[i], &reach) && reach != INT64_MIN;
        if (!fits || __builtin_add_overflow(span, reach < 0 ? -reach : reach, &span)) {
            return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                                 "cosize: the offsets of %s exceed 64 bits", mia__layout_text(layout).text);
        }
    }
    *out = span;
    return MIA_OK;
}

uint32_t mia__layout_sort(const mia_layout *layout, mia__sorted_mode modes[MIA_LAYOUT_MAX_MODES]) {
    uint32_t count = 0;
    int64_t before = 1;
    for (uint32_t i = 0; i < layout->profile.mode_count; i++) {
        mia__sorted_mode mode = {layout->extent[i], layout->stride[i], before};
        if (mode.extent == 1) continue;
        before *= mode.extent;
        uint32_t at = count++;
        for (; at > 0; at--) { /* insertion keeps equal modes in the order of `before` */
            const mia__sorted_mode *left = &modes[at - 1];
            if (left->stride < mode.stride) break;
            if (left->stride == mode.stride && left->extent <= mode.extent) break;
            modes[at] = *left;
        }
        modes[at] = mode;
    }
    return count;
}
