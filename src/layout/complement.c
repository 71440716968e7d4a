/* The complement: where further copies of a layout go, so that together they fill a range.
 *
 * With A's modes sorted by stride, each must begin at or past the reach of those before it, extent * stride
 * of the one before. What lies between is a gap, and the complement is the gaps, and at the end as many
 * copies of the whole as the range needs:
 *
 *     A = (2,2):(1,6)    offsets  0 1 . . . . 6 7 . . . .      gap of 3 from reach 2 to stride 6: 3:2
 *     up to 24                                                 reach 12, then 2 copies:           2:12  */
#include "layout/layout.h"

#include "base/size.h"

mia_status mia_layout_complement(const mia_layout *layout, int64_t cotarget, mia_layout *out,
                                 mia_error *error) {
    mia_status status = mia__layout_check(layout, "complement", error);
    if (status != MIA_OK) return status;
    if (cotarget < 1) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "complement: a range of %lld offsets; it must be at least 1",
                             (long long)cotarget);
    }
    mia__sorted_mode modes[MIA_LAYOUT_MAX_MODES];
    uint32_t count = mia__layout_sort(layout, modes);
    mia_layout gaps = {0};
    int64_t reach = 1;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) kept += modes[i].stride != 0;
    status = mia__layout_open(&gaps, kept + 1, "complement", error);
    for (uint32_t i = 0; status == MIA_OK && i < count; i++) {
        if (modes[i].stride == 0) continue;
        if (modes[i].stride < reach) {
            return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                                 "complement: mode %lld:%lld of %s begins before offset %lld, where %s",
                                 (long long)modes[i].extent, (long long)modes[i].stride,
                                 mia__layout_text(layout).text, (long long)reach,
                                 modes[i].stride < 0 ? "offsets start; strides must be positive"
                                                     : "those of smaller strides end");
        }
        status = mia__layout_push(&gaps, modes[i].stride / reach, reach, "complement", error);
        if (!mia__i64_multiply(modes[i].extent, modes[i].stride, &reach)) {
            return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                                 "complement: the offsets of %s exceed 64 bits",
                                 mia__layout_text(layout).text);
        }
    }
    if (status == MIA_OK) {
        status = mia__layout_push(&gaps, (cotarget - 1) / reach + 1, reach, "complement", error);
    }
    if (status == MIA_OK) status = mia__layout_check(&gaps, "complement", error);
    if (status == MIA_OK) *out = mia__layout_coalesced(&gaps);
    return status;
}
