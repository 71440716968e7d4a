/* Swizzles, and layouts whose offsets are swizzled. The bit fields are drawn in <mia/layout.h>. */
#include "layout/layout.h"

/* Offsets are int64 and not negative: 63 bits, of which the fields may take all but the top one. */
static mia_status check(const mia_swizzle *swizzle, const char *what, mia_error *error) {
    int64_t bits = swizzle->bits, base = swizzle->base, shift = swizzle->shift;
    int64_t distance = shift < 0 ? -shift : shift;
    if (bits < 0 || base < 0 || distance < bits || bits + base + distance > 62) {
        return mia_error_set(
            error, MIA_ERROR_INVALID_ARGUMENT,
            "%s: Sw<%lld,%lld,%lld> is no swizzle: bits and base are at least 0, |shift| at least "
            "bits, and all three together at most 62",
            what, (long long)bits, (long long)base, (long long)shift);
    }
    return MIA_OK;
}

mia_status mia_swizzle_apply(const mia_swizzle *swizzle, int64_t offset, int64_t *out, mia_error *error) {
    mia_status status = check(swizzle, "swizzle", error);
    if (status != MIA_OK) return status;
    if (offset < 0) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "swizzle: offset %lld is negative",
                             (long long)offset);
    }
    int32_t shift = swizzle->shift;
    int64_t low = ((INT64_C(1) << swizzle->bits) - 1) << swizzle->base;
    *out = shift >= 0 ? offset ^ (offset >> shift & low) : offset ^ (offset & low) << -shift;
    return MIA_OK;
}

mia_status mia_swizzle_compose(const mia_swizzle *swizzle, int64_t offset, const mia_layout *layout,
                               mia_swizzled *out, mia_error *error) {
    mia_status status = check(swizzle, "swizzle", error);
    if (status == MIA_OK) status = mia__layout_check(layout, "swizzle", error);
    if (status == MIA_OK) *out = (mia_swizzled){*swizzle, offset, *layout};
    return status;
}

/* The swizzle of the layout's own offset moved by the swizzled layout's. */
static mia_status finish(const mia_swizzled *swizzled, int64_t offset, int64_t *out, mia_error *error) {
    if (__builtin_add_overflow(swizzled->offset, offset, &offset)) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "swizzle: an offset exceeds 64 bits");
    }
    return mia_swizzle_apply(&swizzled->swizzle, offset, out, error);
}

mia_status mia_swizzled_at(const mia_swizzled *swizzled, int64_t index, int64_t *out, mia_error *error) {
    int64_t offset;
    mia_status status = mia_layout_at(&swizzled->layout, index, &offset, error);
    return status == MIA_OK ? finish(swizzled, offset, out, error) : status;
}

mia_status mia_swizzled_at_coordinate(const mia_swizzled *swizzled, const mia_tuple *coordinate, int64_t *out,
                                      mia_error *error) {
    int64_t offset;
    mia_status status = mia_layout_at_coordinate(&swizzled->layout, coordinate, &offset, error);
    return status == MIA_OK ? finish(swizzled, offset, out, error) : status;
}

mia_status mia_swizzled_slice(const mia_swizzled *swizzled, const mia_tuple *coordinate, mia_swizzled *out,
                              mia_error *error) {
    mia_swizzled made = {.swizzle = swizzled->swizzle};
    int64_t offset;
    mia_status status = mia_layout_slice(&swizzled->layout, coordinate, &made.layout, &offset, error);
    if (status != MIA_OK) return status;
    if (__builtin_add_overflow(swizzled->offset, offset, &made.offset)) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "slice: an offset exceeds 64 bits");
    }
    *out = made;
    return MIA_OK;
}
