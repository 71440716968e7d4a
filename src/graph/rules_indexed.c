/* Shape rules of operations that find places by index or by order, and of those that make numbers (rules.c has
 * the others and what they share). */
#include "graph/ops.h"

#include <inttypes.h>

static mia_status check_mode(const char *name, const mia_shape *x, int64_t mode, mia_error *error) {
    return mode >= 0 && mode < (int64_t)x->ndim ? MIA_OK : mia__rule_no_mode(name, x, mode, error);
}

mia_status mia__shape_rule_MODE(const char *name, const mia__type *operands,
                                const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    *out = operands[0].shape;
    return check_mode(name, out, attributes->i[0], error);
}

mia_status mia__shape_rule_TOP_K(const char *name, const mia__type *operands,
                                 const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    mia_shape result = operands[0].shape;
    int64_t mode = attributes->i[0], k = attributes->i[1];
    mia_status status = check_mode(name, &result, mode, error);
    if (status != MIA_OK) return status;
    if (k < 0 || k > result.extent[mode])
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "%s: mode %" PRId64 " has %" PRId64 " elements, of which %" PRId64
                             " cannot be taken",
                             name, mode, result.extent[mode], k);
    result.extent[mode] = k;
    *out = result;
    return MIA_OK;
}

mia_status mia__shape_rule_TRIANGLE(const char *name, const mia__type *operands,
                                    const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    (void)attributes;
    *out = operands[0].shape;
    return check_mode(name, out, 1, error);
}

/* x with the mode replaced by the modes of the indices. */
mia_status mia__shape_rule_TAKE(const char *name, const mia__type *operands,
                                const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    const mia_shape *x = &operands[0].shape, *indices = &operands[1].shape;
    int64_t mode = attributes->i[0];
    mia_status status = check_mode(name, x, mode, error);
    if (status != MIA_OK) return status;
    if (x->ndim + indices->ndim > MIA_MAX_MODES + 1)
        return mia__rule_misfit(name, x, indices, "give too many modes", error);
    mia_shape result = {.ndim = 0};
    for (uint32_t m = 0; m < x->ndim; m++) {
        if (m != (uint32_t)mode) {
            result.extent[result.ndim++] = x->extent[m];
            continue;
        }
        for (uint32_t i = 0; i < indices->ndim; i++) result.extent[result.ndim++] = indices->extent[i];
    }
    *out = result;
    return MIA_OK;
}

/* Whether `part` is of x's rank and no larger outside the mode. */
static bool lies_within(const mia_shape *part, const mia_shape *x, int64_t mode) {
    bool fits = part->ndim == x->ndim;
    for (uint32_t m = 0; fits && m < x->ndim; m++)
        if (m != (uint32_t)mode) fits = part->extent[m] <= x->extent[m];
    return fits;
}

mia_status mia__shape_rule_TAKE_ALONG(const char *name, const mia__type *operands,
                                      const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    const mia_shape *x = &operands[0].shape, *indices = &operands[1].shape;
    mia_status status = check_mode(name, x, attributes->i[0], error);
    if (status != MIA_OK) return status;
    if (!lies_within(indices, x, attributes->i[0]))
        return mia__rule_misfit(name, x, indices, "do not fit: outside the mode indices are no larger than x",
                                error);
    *out = *indices;
    return MIA_OK;
}

static mia_status check_style(const char *name, int64_t style, mia_error *error) {
    if (style >= MIA_SCATTER_SET && style <= MIA_SCATTER_MAX) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: no style has the number %" PRId64, name,
                         style);
}

mia_status mia__shape_rule_SCATTER(const char *name, const mia__type *operands,
                                   const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    const mia_shape *x = &operands[0].shape, *indices = &operands[1].shape, *part = &operands[2].shape;
    int64_t mode = attributes->i[0];
    mia_status status = check_mode(name, x, mode, error);
    if (status != MIA_OK) return status;
    if (indices->ndim != 1) return mia__rule_misfit(name, x, indices, "do not fit: indices are [n]", error);
    mia_shape wanted = *x;
    wanted.extent[mode] = indices->extent[0];
    if (!mia__shape_equal(&wanted, part))
        return mia__rule_misfit(name, &wanted, part,
                                "differ: the part is to have the first, a place for each index", error);
    *out = *x;
    return check_style(name, attributes->i[1], error);
}

mia_status mia__shape_rule_SCATTER_ALONG(const char *name, const mia__type *operands,
                                         const mia__attributes *attributes, mia_shape *out,
                                         mia_error *error) {
    const mia_shape *x = &operands[0].shape, *indices = &operands[1].shape, *part = &operands[2].shape;
    mia_status status = check_mode(name, x, attributes->i[0], error);
    if (status != MIA_OK) return status;
    if (!mia__shape_equal(indices, part))
        return mia__rule_misfit(name, indices, part, "differ: each element of the part needs an index",
                                error);
    if (!lies_within(part, x, attributes->i[0]))
        return mia__rule_misfit(name, x, part, "do not fit: outside the mode a part is no larger than x",
                                error);
    *out = *x;
    return check_style(name, attributes->i[1], error);
}

static mia_status row_of(const char *name, int64_t count, mia_shape *out, mia_error *error) {
    *out = (mia_shape){1, {count}};
    if (count >= 0) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH, "%s: %" PRId64 " elements cannot be made", name,
                         count);
}

mia_status mia__shape_rule_ARANGE(const char *name, const mia__type *operands,
                                  const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    mia_status status = mia__rule_single(name, "the start", &operands[0].shape, error);
    if (status == MIA_OK) status = mia__rule_single(name, "the step", &operands[1].shape, error);
    return status != MIA_OK ? status : row_of(name, attributes->i[0], out, error);
}

mia_status mia__shape_rule_RANDOM(const char *name, const mia__type *operands,
                                  const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    const mia_shape *seed = &operands[0].shape, two = {1, {2}};
    char text[200];
    if (!mia__shape_equal(seed, &two))
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH, "%s: the seed has shape %s; it has to be [2]",
                             name, mia__shape_text(seed, text, sizeof text));
    return row_of(name, attributes->i[1], out, error);
}
