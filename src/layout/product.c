/* Products: a layout A repeated in the order of a layout B. The copies go to complement(A) o B, so
 * that they never meet: (A, complement(A) o B). Blocked and raked products pair the like modes of A
 * and B afterwards. */
#include "layout/layout.h"

#include "base/size.h"

static mia_status too_large(const mia_layout *a, const mia_layout *b, mia_error *error) {
    return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s times %s exceeds 64 bits",
                         mia__layout_text(a).text, mia__layout_text(b).text);
}

/* Where the copies of A may go: at least as many places as B spans. CuTe asks for the complement up to
 * size(A) times that span, which is enough unless A has holes that no copy fits in; then it takes a longer
 * one. */
static mia_status find_places(const mia_layout *a, const mia_layout *b, mia_layout *out, mia_error *error) {
    int64_t span, target, size = mia__extents_product(a->extent, a->profile.mode_count);
    mia_status status = mia_layout_cosize(b, &span, error);
    if (status != MIA_OK) return status;
    if (!mia__i64_multiply(size, span, &target)) return too_large(a, b, error);
    status = mia_layout_complement(a, target, out, error);
    if (status != MIA_OK || mia__extents_product(out->extent, out->profile.mode_count) >= span) return status;

    mia__sorted_mode modes[MIA_LAYOUT_MAX_MODES];
    uint32_t count = mia__layout_sort(a, modes);
    int64_t reach = modes[count - 1].extent * modes[count - 1].stride; /* complement has seen that it fits */
    status = mia_layout_complement(a, 1, out, error);                  /* the places below one reach */
    if (status != MIA_OK) return status;
    int64_t below = mia__extents_product(out->extent, out->profile.mode_count);
    if (!mia__i64_multiply(reach, (span - 1) / below + 1, &target)) return too_large(a, b, error);
    return mia_layout_complement(a, target, out, error);
}

static mia_status product(const mia_layout *a, const mia_layout *b, mia_layout *out, mia_error *error) {
    const char *what = "block and copies";
    mia_layout rest, made = {0};
    mia_status status = find_places(a, b, &rest, error);
    if (status == MIA_OK) status = mia_layout_compose(&rest, b, &rest, error);
    if (status == MIA_OK) status = mia__layout_open(&made, 2, what, error);
    if (status == MIA_OK) status = mia__layout_append(&made, a, what, error);
    if (status == MIA_OK) status = mia__layout_append(&made, &rest, what, error);
    if (status == MIA_OK) status = mia__layout_check(&made, what, error);
    if (status == MIA_OK) *out = made;
    return status;
}

mia_status mia_layout_logical_product(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                                      mia_error *error) {
    return mia__tiler_apply(product, "logical_product", layout, tiler, out, error);
}

mia_status mia_layout_zipped_product(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                                     mia_error *error) {
    return mia__tiler_zip(product, "zipped_product", layout, tiler, false, false, out, error);
}

mia_status mia_layout_tiled_product(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                                    mia_error *error) {
    return mia__tiler_zip(product, "tiled_product", layout, tiler, false, true, out, error);
}

mia_status mia_layout_flat_product(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                                   mia_error *error) {
    return mia__tiler_zip(product, "flat_product", layout, tiler, true, true, out, error);
}

/* The layout with modes 1:0 after its own, up to the rank. */
static mia_status pad(const mia_layout *layout, uint32_t rank, const char *what, mia_layout *out,
                      mia_error *error) {
    const mia_layout one = {.profile = {.node_count = 1, .mode_count = 1}, .extent = {1}};
    uint32_t own = mia__profile_rank(&layout->profile, 0);
    *out = (mia_layout){0};
    mia_status status = mia__layout_open(out, rank, what, error);
    for (uint32_t i = 0; status == MIA_OK && i < rank; i++) {
        mia_layout mode = i < own ? mia__layout_child(layout, i) : one;
        status = mia__layout_append(out, &mode, what, error);
    }
    return status;
}

/* Pairs the like modes of (A, copies): first those of `inner`, 0 for A, 1 for the copies. */
static mia_status paired_product(const mia_layout *a, const mia_layout *b, uint32_t inner, const char *what,
                                 mia_layout *out, mia_error *error) {
    mia_status status = mia__layout_check(a, what, error);
    if (status == MIA_OK) status = mia__layout_check(b, what, error);
    if (status != MIA_OK) return status;
    uint32_t rank = mia__profile_rank(&a->profile, 0), rank_b = mia__profile_rank(&b->profile, 0);
    if (rank_b > rank) rank = rank_b;
    mia_layout block, copies, both, made = {0};
    status = pad(a, rank, what, &block, error);
    if (status == MIA_OK) status = pad(b, rank, what, &copies, error);
    if (status == MIA_OK) status = mia__layout_within(what, product(&block, &copies, &both, error), error);
    if (status == MIA_OK) status = mia__layout_open(&made, rank, what, error);
    if (status != MIA_OK) return status;
    mia_layout first = mia__layout_child(&both, inner), second = mia__layout_child(&both, 1 - inner);
    for (uint32_t i = 0; status == MIA_OK && i < rank; i++) {
        mia_layout mode = mia__layout_child(&first, i), beside = mia__layout_child(&second, i);
        status = mia__layout_open(&made, 2, what, error);
        if (status == MIA_OK) status = mia__layout_append(&made, &mode, what, error);
        if (status == MIA_OK) status = mia__layout_append(&made, &beside, what, error);
    }
    if (status == MIA_OK) *out = made;
    return status;
}

mia_status mia_layout_blocked_product(const mia_layout *block, const mia_layout *copies, mia_layout *out,
                                      mia_error *error) {
    return paired_product(block, copies, 0, "blocked_product", out, error);
}

mia_status mia_layout_raked_product(const mia_layout *block, const mia_layout *copies, mia_layout *out,
                                    mia_error *error) {
    return paired_product(block, copies, 1, "raked_product", out, error);
}
