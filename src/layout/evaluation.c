/* A layout as a function: index -> coordinate -> offset, and what remains of it when some of its coordinates
 * are fixed (slice, dice). Indices are split with the first mode fastest, which CuTe calls colexicographic
 * order. */
#include "layout/layout.h"

bool mia__modes_at(const int64_t *extents, const int64_t *strides, uint32_t count, int64_t index,
                   int64_t *out) {
    int64_t sum = 0;
    while (count > 0 && extents[count - 1] == 1) count--;
    for (uint32_t i = 0; i < count; i++) {
        int64_t coordinate = i + 1 < count ? index % extents[i] : index;
        int64_t term;
        index /= extents[i];
        if (__builtin_mul_overflow(coordinate, strides[i], &term)) return false;
        if (__builtin_add_overflow(sum, term, &sum)) return false;
    }
    *out = sum;
    return true;
}

static mia_status overflow(const char *what, const mia_layout *layout, mia_error *error) {
    return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: an offset of %s exceeds 64 bits", what,
                         mia__layout_text(layout).text);
}

mia_status mia_layout_at(const mia_layout *layout, int64_t index, int64_t *out, mia_error *error) {
    mia_status status = mia__layout_check(layout, "index", error);
    if (status != MIA_OK) return status;
    if (index < 0) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "index: %lld is negative", (long long)index);
    }
    if (!mia__modes_at(layout->extent, layout->stride, layout->profile.mode_count, index, out)) {
        return overflow("index", layout, error);
    }
    return MIA_OK;
}

mia_status mia_layout_coordinate(const mia_layout *layout, int64_t index, mia_tuple *out, mia_error *error) {
    mia_status status = mia__layout_check(layout, "coordinate", error);
    if (status != MIA_OK) return status;
    uint32_t count = layout->profile.mode_count;
    int64_t size = mia__extents_product(layout->extent, count);
    if (index < 0 || index >= size) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "coordinate: index %lld of %s, whose size is %lld", (long long)index,
                             mia__layout_text(layout).text, (long long)size);
    }
    mia_tuple coordinate = {.profile = layout->profile};
    for (uint32_t i = 0; i < count; i++) {
        coordinate.value[i] = index % layout->extent[i];
        index /= layout->extent[i];
    }
    *out = coordinate;
    return MIA_OK;
}

/* ---- coordinates ---- */

/* A coordinate's tree laid over a layout's: each integer of the coordinate lies on a whole sub-tree of the
 * layout. */
typedef struct overlay {
    const mia_layout *layout;
    const mia_tuple *coordinate;
    const char *what;
    mia__place on_layout, on_coordinate;
    int64_t offset; /* of the integers */
    mia__place free[MIA_LAYOUT_MAX_MODES], fixed[MIA_LAYOUT_MAX_MODES];
    uint32_t free_count, fixed_count;
} overlay;

static mia_status lay_integer(overlay *o, mia_error *error) {
    const mia_layout *layout = o->layout;
    mia__place begin = o->on_layout, end = mia__profile_after(&layout->profile, begin);
    uint32_t which = o->on_coordinate.mode++;
    o->on_coordinate.node++;
    o->on_layout = end;
    if (o->coordinate->free >> which & 1) {
        o->free[o->free_count++] = begin;
        return MIA_OK;
    }
    o->fixed[o->fixed_count++] = begin;
    const int64_t *extents = layout->extent + begin.mode;
    int64_t value = o->coordinate->value[which], offset;
    int64_t size = mia__extents_product(extents, end.mode - begin.mode);
    if (value < 0 || value >= size) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "%s: coordinate %lld lies outside its mode of %s, whose size is %lld", o->what,
                             (long long)value, mia__layout_text(layout).text, (long long)size);
    }
    if (!mia__modes_at(extents, layout->stride + begin.mode, end.mode - begin.mode, value, &offset) ||
        __builtin_add_overflow(o->offset, offset, &o->offset)) {
        return overflow(o->what, layout, error);
    }
    return MIA_OK;
}

static mia_status lay_node(overlay *o, mia_error *error) {
    uint32_t children = o->coordinate->profile.children[o->on_coordinate.node];
    if (children == 0) return lay_integer(o, error);
    uint32_t modes = o->layout->profile.children[o->on_layout.node];
    if (modes != children) {
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "%s: %u coordinates in parentheses for %u mode%s of %s", o->what, children,
                             modes == 0 ? 1 : modes, modes > 1 ? "s" : "", mia__layout_text(o->layout).text);
    }
    o->on_coordinate.node++;
    o->on_layout.node++;
    mia_status status = MIA_OK;
    for (uint32_t i = 0; status == MIA_OK && i < children; i++) status = lay_node(o, error);
    return status;
}

static mia_status lay(const mia_layout *layout, const mia_tuple *coordinate, const char *what, overlay *out,
                      mia_error *error) {
    *out = (overlay){.layout = layout, .coordinate = coordinate, .what = what};
    mia_status status = mia__layout_check(layout, what, error);
    if (status == MIA_OK) status = mia__tuple_check(coordinate, what, error);
    if (status == MIA_OK) status = lay_node(out, error);
    return status;
}

mia_status mia_layout_at_coordinate(const mia_layout *layout, const mia_tuple *coordinate, int64_t *out,
                                    mia_error *error) {
    overlay o;
    mia_status status = lay(layout, coordinate, "index", &o, error);
    if (status != MIA_OK) return status;
    if (o.free_count > 0) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "index: a coordinate with a free mode `_` has no offset; slice takes it");
    }
    *out = o.offset;
    return MIA_OK;
}

/* The sub-trees at the places, as the modes of one layout. */
static mia_status gather(const mia_layout *layout, const mia__place *places, uint32_t count, const char *what,
                         mia_layout *out, mia_error *error) {
    mia_layout made = {0};
    mia_status status =
        count == 0 ? mia__layout_push(&made, 1, 0, what, error) : mia__layout_open(&made, count, what, error);
    for (uint32_t i = 0; status == MIA_OK && i < count; i++) {
        mia_layout sub = mia__layout_sub(layout, places[i]);
        status = mia__layout_append(&made, &sub, what, error);
    }
    if (status == MIA_OK) *out = made;
    return status;
}

/* A bare `_` or integer stands for the layout itself, not for a layout of one mode. */
static bool is_bare(const mia_tuple *coordinate) {
    return coordinate->profile.children[0] == 0;
}

mia_status mia_layout_slice(const mia_layout *layout, const mia_tuple *coordinate, mia_layout *out,
                            int64_t *offset, mia_error *error) {
    overlay o;
    mia_status status = lay(layout, coordinate, "slice", &o, error);
    if (status != MIA_OK) return status;
    if (is_bare(coordinate) && o.free_count == 1) {
        *out = *layout;
    } else {
        status = gather(layout, o.free, o.free_count, "slice", out, error);
    }
    if (status == MIA_OK && offset != NULL) *offset = o.offset;
    return status;
}

mia_status mia_layout_dice(const mia_layout *layout, const mia_tuple *coordinate, mia_layout *out,
                           mia_error *error) {
    overlay o;
    mia_status status = lay(layout, coordinate, "dice", &o, error);
    if (status != MIA_OK) return status;
    if (is_bare(coordinate) && o.fixed_count == 1) {
        *out = *layout;
        return MIA_OK;
    }
    return gather(layout, o.fixed, o.fixed_count, "dice", out, error);
}
