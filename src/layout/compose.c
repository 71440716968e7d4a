/* Composition: the layout i -> A(B(i)).
 *
 * A layout is linear over each of its modes, so it is composed with each mode s:d of B on its own: every d-th
 * element of A, and of those the first s. With A coalesced to e0:t0, e1:t1, ... the walk below carries (s,
 * d), what is left of the extent and the stride, over A's modes. Where neither the stride nor the mode's
 * extent divides the other and the walk leaves the mode, or what is left of s is no multiple of the steps
 * that fit, the steps are uneven and the request is refused: these are CuTe's divisibility conditions, but
 * for walks that end within a mode, which are fine.
 *
 * That the results may then stand side by side takes one thing more, which CuTe leaves to the caller: the
 * coordinates that B's modes reach in a mode of A must not carry into the next, or A(x + y) = A(x) + A(y)
 * fails. They are summed up, and refused where they meet the mode's end. */
#include "layout/layout.h"

#include "base/size.h"

typedef struct walk {
    const mia_layout *a; /* coalesced */
    const mia_layout *b;
    int64_t reached[MIA_LAYOUT_MAX_MODES]; /* in each mode of A, by all modes of B together */
    /* what the current mode of B becomes: */
    int64_t extent[MIA_LAYOUT_MAX_MODES], stride[MIA_LAYOUT_MAX_MODES];
    uint32_t count;
} walk;

static uint32_t last_mode(const walk *w) {
    return w->a->profile.mode_count - 1;
}

/* `extent` elements of one mode of A, every `step`-th. */
static mia_status emit(walk *w, uint32_t mode, int64_t extent, int64_t step, mia_error *error) {
    int64_t stride, reach;
    if (!mia__i64_multiply(step, w->a->stride[mode], &stride)) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "compose: a stride over %s exceeds 64 bits",
                             mia__layout_text(w->a).text);
    }
    w->extent[w->count] = extent;
    w->stride[w->count++] = stride;
    if (mode == last_mode(w)) return MIA_OK; /* it has no end */
    if (!mia__i64_multiply(extent - 1, step, &reach) ||
        __builtin_add_overflow(w->reached[mode], reach, &w->reached[mode]) ||
        w->reached[mode] >= w->a->extent[mode]) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "compose: the modes of %s together run past the end of mode %lld:%lld of %s",
                             mia__layout_text(w->b).text, (long long)w->a->extent[mode],
                             (long long)w->a->stride[mode], mia__layout_text(w->a).text);
    }
    return MIA_OK;
}

static mia_status refuse(const walk *w, uint32_t mode, int64_t extent, int64_t stride, mia_error *error) {
    return mia_error_set(
        error, MIA_ERROR_INVALID_ARGUMENT,
        "compose: %lld elements of %s in steps of %lld are no layout: they meet the end of its mode "
        "%lld:%lld unevenly",
        (long long)extent, mia__layout_text(w->a).text, (long long)stride, (long long)w->a->extent[mode],
        (long long)w->a->stride[mode]);
}

/* One mode of B: `extent` elements of A, every `stride`-th. */
static mia_status compose_mode(walk *w, const int64_t extent, const int64_t stride, mia_error *error) {
    uint32_t last = last_mode(w);
    int64_t s = extent, d = stride;
    w->count = 0;
    if (d == 0) return emit(w, last, s, 0, error);
    if (d < 0 && last > 0) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "compose: the negative stride %lld leaves %s at its beginning", (long long)d,
                             mia__layout_text(w->a).text);
    }
    for (uint32_t i = 0; i < last; i++) {
        int64_t e = w->a->extent[i], reach;
        if (s == 1 && w->count > 0) return MIA_OK;
        if (d % e == 0) {
            d /= e; /* every element has coordinate 0 in this mode */
            continue;
        }
        if (s == 1) {
            d = (d - 1) / e + 1; /* one element, at 0; the stride only as CuTe writes it */
            continue;
        }
        if (mia__i64_multiply(s - 1, d, &reach) && reach < e) return emit(w, i, s, d, error);
        if (e % d != 0 || s % (e / d) != 0) return refuse(w, i, extent, stride, error);
        mia_status status = emit(w, i, e / d, d, error);
        if (status != MIA_OK) return status;
        s /= e / d;
        d = 1;
    }
    if (s == 1 && w->count > 0) return MIA_OK;
    return emit(w, last, s, d, error);
}

mia_status mia_layout_compose(const mia_layout *a, const mia_layout *b, mia_layout *out, mia_error *error) {
    mia_status status = mia__layout_check(a, "compose", error);
    if (status == MIA_OK) status = mia__layout_check(b, "compose", error);
    if (status != MIA_OK) return status;
    const mia_layout flat = mia__layout_coalesced(a);
    walk w = {.a = &flat, .b = b};
    mia_layout made = {0};
    uint32_t mode = 0;
    for (uint32_t node = 0; status == MIA_OK && node < b->profile.node_count; node++) {
        if (b->profile.children[node] > 0) {
            status = mia__layout_open(&made, b->profile.children[node], "compose", error);
            continue;
        }
        status = compose_mode(&w, b->extent[mode], b->stride[mode], error);
        if (status != MIA_OK) break;
        status = mia__layout_push_modes(&made, w.extent, w.stride, w.count, "compose", error);
        mode++;
    }
    if (status == MIA_OK) *out = made;
    return status;
}

mia_status mia_layout_compose_tiler(const mia_layout *a, const mia_tiler *tiler, mia_layout *out,
                                    mia_error *error) {
    return mia__tiler_apply(mia_layout_compose, "compose", a, tiler, out, error);
}
