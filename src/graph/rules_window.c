/* Shape rules of windows: convolutions and pools. Along a mode of extent n with padding a and b, windows of k
 * elements, d apart, that move by s have
 *
 *     (n + a + b - (k - 1) d - 1) / s + 1      places, rounded down */
#include "graph/ops.h"

#include <inttypes.h>

static int64_t or_one(int64_t value) {
    return value == 0 ? 1 : value;
}

mia__attributes mia__window_attributes(const mia_window *window) {
    mia__attributes a = {.i = {0}};
    for (int m = 0; m < 2; m++) {
        a.i[MIA__WINDOW_SIZE + m] = or_one(window->size[m]);
        a.i[MIA__WINDOW_STRIDE + m] = or_one(window->stride[m]);
        a.i[MIA__WINDOW_DILATION + m] = or_one(window->dilation[m]);
        a.i[MIA__WINDOW_BEFORE + m] = window->before[m];
        a.i[MIA__WINDOW_AFTER + m] = window->after[m];
    }
    a.i[MIA__WINDOW_GROUPS] = or_one(window->groups);
    a.i[MIA__WINDOW_COUNT_PADDING] = window->count_padding;
    return a;
}

/* Places of a window of `size` elements along mode m of extent `extent`. */
static mia_status places(const char *name, const mia__attributes *a, int m, int64_t extent, int64_t size,
                         int64_t *out, mia_error *error) {
    int64_t stride = a->i[MIA__WINDOW_STRIDE + m], dilation = a->i[MIA__WINDOW_DILATION + m];
    int64_t before = a->i[MIA__WINDOW_BEFORE + m], after = a->i[MIA__WINDOW_AFTER + m], span, padded;
    bool good = size > 0 && stride > 0 && dilation > 0 && before >= 0 && after >= 0 &&
                !__builtin_mul_overflow(size - 1, dilation, &span) &&
                !__builtin_add_overflow(extent, before, &padded) &&
                !__builtin_add_overflow(padded, after, &padded) && span < INT64_MAX;
    if (!good)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "%s: a window of size %" PRId64 ", stride %" PRId64 ", dilation %" PRId64
                             ", padding %" PRId64 " and %" PRId64 " cannot move along mode %d",
                             name, size, stride, dilation, before, after, m);
    *out = padded > span ? (padded - span - 1) / stride + 1 : 0;
    return MIA_OK;
}

static mia_status convolution(const char *name, const mia__type *operands, const mia__attributes *attributes,
                              uint32_t spatial, mia_shape *out, mia_error *error) {
    const mia_shape *x = &operands[0].shape, *w = &operands[1].shape;
    int64_t groups = attributes->i[MIA__WINDOW_GROUPS];
    if (x->ndim != spatial + 2 || w->ndim != spatial + 2)
        return mia__rule_misfit(name, x, w,
                                spatial == 1 ? "do not fit: x is [L, C, N], w [K, C / groups, O]"
                                             : "do not fit: x is [W, H, C, N], w [KW, KH, C / groups, O]",
                                error);
    int64_t channels = x->extent[spatial], outputs = w->extent[spatial + 1];
    if (groups < 1 || channels % groups != 0 || outputs % groups != 0 ||
        w->extent[spatial] != channels / groups)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "%s: %" PRId64 " channels in %" PRId64 " groups do not fit weights for %" PRId64
                             " channels and %" PRId64 " outputs",
                             name, channels, groups, w->extent[spatial], outputs);
    mia_shape result = *x;
    result.extent[spatial] = outputs;
    for (uint32_t m = 0; m < spatial; m++) {
        mia_status status =
            places(name, attributes, (int)m, x->extent[m], w->extent[m], &result.extent[m], error);
        if (status != MIA_OK) return status;
    }
    *out = result;
    return MIA_OK;
}

mia_status mia__shape_rule_CONV1D(const char *name, const mia__type *operands,
                                  const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    return convolution(name, operands, attributes, 1, out, error);
}

mia_status mia__shape_rule_CONV2D(const char *name, const mia__type *operands,
                                  const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    return convolution(name, operands, attributes, 2, out, error);
}

/* Over modes 0 and 1; over mode 0 alone where x has no other. */
mia_status mia__shape_rule_POOL(const char *name, const mia__type *operands,
                                const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    mia_shape result = operands[0].shape;
    if (result.ndim == 0) return mia__rule_no_mode(name, &result, 0, error);
    for (uint32_t m = 0; m < 2 && m < result.ndim; m++) {
        int64_t size = attributes->i[MIA__WINDOW_SIZE + m];
        mia_status status =
            places(name, attributes, (int)m, result.extent[m], size, &result.extent[m], error);
        if (status != MIA_OK) return status;
    }
    bool flat = attributes->i[MIA__WINDOW_SIZE + 1] == 1 && attributes->i[MIA__WINDOW_BEFORE + 1] == 0 &&
                attributes->i[MIA__WINDOW_AFTER + 1] == 0;
    if (result.ndim == 1 && !flat) return mia__rule_no_mode(name, &operands[0].shape, 1, error);
    *out = result;
    return MIA_OK;
}
