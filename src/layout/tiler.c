/* Tilers: an operation applied by mode, as far down as the tiler has angle brackets, and the gathering of
 * what a divide or product splits (zipped, tiled, flat). What is applied is in compose.c, divide.c and
 * product.c. */
#include "layout/layout.h"

mia_tiler mia_tiler_of_layout(const mia_layout *layout) {
    mia_tiler tiler = {.layout = *layout};
    return tiler;
}

mia_tiler mia_tiler_keep(void) {
    mia_tiler tiler = {.keep = 1};
    tiler.layout.profile = (mia_profile){.node_count = 1, .mode_count = 1};
    tiler.layout.extent[0] = 1;
    return tiler;
}

/* Brackets stand around other tilers only, and `_` for a mode that nothing is applied to. */
mia_status mia__tiler_check(const mia_tiler *tiler, const char *what, mia_error *error) {
    if (tiler == NULL) return mia__layout_check(NULL, what, error);
    mia_status status = mia__layout_check(&tiler->layout, what, error);
    if (status != MIA_OK) return status;
    const mia_profile *profile = &tiler->layout.profile;
    mia__place end = {0, 0};
    for (uint32_t node = 0; node < MIA_LAYOUT_MAX_NODES; node++) {
        bool brackets = tiler->by_mode >> node & 1, keep = tiler->keep >> node & 1, inside = node < end.node;
        bool exists = node < profile->node_count;
        bool right =
            exists ? (!brackets || profile->children[node] > 0) && (!keep || profile->children[node] == 0)
                   : !brackets && !keep;
        if (!right || (inside && (brackets || keep))) {
            return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: the operand is not a tiler", what);
        }
        if (exists && !inside && !brackets) end = mia__profile_after(profile, (mia__place){node, 0});
    }
    return MIA_OK;
}

mia_status mia_tiler_by_mode(const mia_tiler *tilers, size_t count, mia_tiler *out, mia_error *error) {
    const char *what = "tiler_by_mode";
    mia_tiler made = {.by_mode = 1};
    mia_status status = mia__layout_open(&made.layout, count, what, error);
    for (size_t i = 0; status == MIA_OK && i < count; i++) {
        uint32_t node = made.layout.profile.node_count;
        status = mia__tiler_check(&tilers[i], what, error);
        if (status == MIA_OK) status = mia__layout_append(&made.layout, &tilers[i].layout, what, error);
        if (status != MIA_OK) break;
        made.by_mode |= tilers[i].by_mode << node; /* node is below the capacity: the append went well */
        made.keep |= tilers[i].keep << node;
    }
    if (status == MIA_OK) *out = made;
    return status;
}

static mia_tiler sub_tiler(const mia_tiler *tiler, mia__place place) {
    mia_tiler sub = {.layout = mia__layout_sub(&tiler->layout, place)};
    uint32_t nodes = sub.layout.profile.node_count;
    uint64_t mask = nodes == 64 ? UINT64_MAX : (UINT64_C(1) << nodes) - 1;
    sub.by_mode = tiler->by_mode >> place.node & mask;
    sub.keep = tiler->keep >> place.node & mask;
    return sub;
}

static mia_status fit(const char *what, const mia_layout *layout, const mia_tiler *tiler, uint32_t *rank,
                      mia_error *error) {
    uint32_t count = tiler->layout.profile.children[0];
    *rank = mia__profile_rank(&layout->profile, 0);
    if (count <= *rank) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH, "%s: a tiler of %u modes for %s, which has %u",
                         what, count, mia__layout_text(layout).text, *rank);
}

/* ---- by mode ---- */

static mia_status apply(mia__layout_binary *operation, const char *what, const mia_layout *layout,
                        const mia_tiler *tiler, mia_layout *out, mia_error *error) {
    if (tiler->keep & 1) {
        *out = *layout;
        return MIA_OK;
    }
    if (!(tiler->by_mode & 1)) return operation(layout, &tiler->layout, out, error);
    uint32_t rank;
    mia_status status = fit(what, layout, tiler, &rank, error);
    mia_layout made = {0};
    if (status == MIA_OK) status = mia__layout_open(&made, rank, what, error);
    mia__place place = {1, 0};
    for (uint32_t i = 0; status == MIA_OK && i < rank; i++) {
        mia_layout mode = mia__layout_child(layout, i);
        if (i < tiler->layout.profile.children[0]) {
            mia_tiler sub = sub_tiler(tiler, place);
            place = mia__profile_after(&tiler->layout.profile, place);
            status = apply(operation, what, &mode, &sub, &mode, error);
        }
        if (status == MIA_OK) status = mia__layout_append(&made, &mode, what, error);
    }
    if (status == MIA_OK) *out = made;
    return status;
}

mia_status mia__tiler_apply(mia__layout_binary *operation, const char *what, const mia_layout *layout,
                            const mia_tiler *tiler, mia_layout *out, mia_error *error) {
    mia_status status = mia__layout_check(layout, what, error);
    if (status == MIA_OK) status = mia__tiler_check(tiler, what, error);
    if (status == MIA_OK) status = apply(operation, what, layout, tiler, out, error);
    return mia__layout_within(what, status, error);
}

/* ---- zipped ---- */

/* Splits into tile and rest, each gathered over the tiler's modes. */
static mia_status split(mia__layout_binary *operation, const char *what, const mia_layout *layout,
                        const mia_tiler *tiler, mia_layout *tile, mia_layout *rest, mia_error *error) {
    *tile = *rest = (mia_layout){0};
    if (tiler->keep & 1) {
        *rest = *layout;
        return mia__layout_push(tile, 1, 0, what, error);
    }
    mia_status status;
    if (!(tiler->by_mode & 1)) {
        mia_layout both;
        status = operation(layout, &tiler->layout, &both, error);
        if (status != MIA_OK) return status;
        *tile = mia__layout_child(&both, 0);
        *rest = mia__layout_child(&both, 1);
        return MIA_OK;
    }
    uint32_t rank, count = tiler->layout.profile.children[0];
    status = fit(what, layout, tiler, &rank, error);
    if (status == MIA_OK) status = mia__layout_open(tile, count, what, error);
    if (status == MIA_OK) status = mia__layout_open(rest, rank, what, error);
    mia__place place = {1, 0};
    for (uint32_t i = 0; status == MIA_OK && i < rank; i++) {
        mia_layout mode = mia__layout_child(layout, i), mode_tile;
        if (i < count) {
            mia_tiler sub = sub_tiler(tiler, place);
            place = mia__profile_after(&tiler->layout.profile, place);
            mia_layout whole = mode;
            status = split(operation, what, &whole, &sub, &mode_tile, &mode, error);
            if (status == MIA_OK) status = mia__layout_append(tile, &mode_tile, what, error);
        }
        if (status == MIA_OK) status = mia__layout_append(rest, &mode, what, error);
    }
    return status;
}

/* The layout as one child, or its modes as children of their own. */
static mia_status append_opened(mia_layout *to, const mia_layout *part, bool open, const char *what,
                                mia_error *error) {
    if (!open) return mia__layout_append(to, part, what, error);
    mia_status status = MIA_OK;
    for (uint32_t i = 0; status == MIA_OK && i < mia__profile_rank(&part->profile, 0); i++) {
        mia_layout mode = mia__layout_child(part, i);
        status = mia__layout_append(to, &mode, what, error);
    }
    return status;
}

mia_status mia__tiler_zip(mia__layout_binary *operation, const char *what, const mia_layout *layout,
                          const mia_tiler *tiler, bool open_tile, bool open_rest, mia_layout *out,
                          mia_error *error) {
    mia_layout tile, rest, made = {0};
    mia_status status = mia__layout_check(layout, what, error);
    if (status == MIA_OK) status = mia__tiler_check(tiler, what, error);
    if (status == MIA_OK) status = split(operation, what, layout, tiler, &tile, &rest, error);
    if (status != MIA_OK) return mia__layout_within(what, status, error);
    uint32_t tiles = open_tile ? mia__profile_rank(&tile.profile, 0) : 1;
    uint32_t rests = open_rest ? mia__profile_rank(&rest.profile, 0) : 1;
    status = mia__layout_open(&made, tiles + rests, what, error);
    if (status == MIA_OK) status = append_opened(&made, &tile, open_tile, what, error);
    if (status == MIA_OK) status = append_opened(&made, &rest, open_rest, what, error);
    if (status == MIA_OK) *out = made;
    return status;
}
