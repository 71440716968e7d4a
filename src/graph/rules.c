/* Shape rules, one a name in ops.def's column. Each gives the result's shape from the operands', or a message
 * that begins with the operation's name and shows the shapes. */
#include "graph/ops.h"

#include <inttypes.h>

typedef struct shape_text {
    char text[200];
} shape_text;

static const char *show(const mia_shape *shape, shape_text *buffer) {
    return mia__shape_text(shape, buffer->text, sizeof buffer->text);
}

static int64_t extent_or_one(const mia_shape *shape, uint32_t mode) {
    return mode < shape->ndim ? shape->extent[mode] : 1;
}

mia_status mia__rule_misfit(const char *name, const mia_shape *a, const mia_shape *b, const char *why,
                            mia_error *error) {
    shape_text ta, tb;
    return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH, "%s: shapes %s and %s %s", name, show(a, &ta),
                         show(b, &tb), why);
}

mia_status mia__shape_rule_SAME(const char *name, const mia__type *operands,
                                const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    (void)name, (void)attributes, (void)error;
    *out = operands[0].shape;
    return MIA_OK;
}

/* Extents of two shapes repeated to each other, from mode `first` on; false if they do not fit. */
static bool broadcast_modes(const mia_shape *a, const mia_shape *b, uint32_t first, mia_shape *out) {
    out->ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    for (uint32_t m = first; m < out->ndim; m++) {
        int64_t x = extent_or_one(a, m), y = extent_or_one(b, m);
        if (x != y && x != 1 && y != 1) return false;
        out->extent[m] = x == 1 ? y : x;
    }
    return true;
}

mia_status mia__shape_rule_BROADCAST(const char *name, const mia__type *operands,
                                     const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    (void)attributes;
    const mia_shape *a = &operands[0].shape, *b = &operands[1].shape;
    mia_shape result = {0};
    if (!broadcast_modes(a, b, 0, &result)) return mia__rule_misfit(name, a, b, "do not broadcast", error);
    *out = result;
    return MIA_OK;
}

mia_status mia__rule_no_mode(const char *name, const mia_shape *shape, int64_t mode, mia_error *error) {
    shape_text text;
    return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH, "%s: shape %s has no mode %" PRId64, name,
                         show(shape, &text), mode);
}

mia_status mia__shape_rule_BROADCAST3(const char *name, const mia__type *operands,
                                      const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    (void)attributes;
    const mia_shape *c = &operands[0].shape, *a = &operands[1].shape, *b = &operands[2].shape;
    mia_shape both = {0}, result = {0};
    if (!broadcast_modes(a, b, 0, &both)) return mia__rule_misfit(name, a, b, "do not broadcast", error);
    if (!broadcast_modes(c, &both, 0, &result))
        return mia__rule_misfit(name, c, &both, "do not broadcast", error);
    *out = result;
    return MIA_OK;
}

mia_status mia__shape_rule_CONCAT(const char *name, const mia__type *operands,
                                  const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    const mia_shape *a = &operands[0].shape, *b = &operands[1].shape;
    int64_t mode = attributes->i[0];
    if (mode < 0 || mode >= (int64_t)a->ndim) return mia__rule_no_mode(name, a, mode, error);
    mia_shape result = *a;
    bool fits = a->ndim == b->ndim;
    for (uint32_t m = 0; fits && m < a->ndim; m++)
        if (m != (uint32_t)mode) fits = a->extent[m] == b->extent[m];
    if (!fits) return mia__rule_misfit(name, a, b, "differ outside the mode to join", error);
    if (__builtin_add_overflow(a->extent[mode], b->extent[mode], &result.extent[mode]))
        return mia__rule_misfit(name, a, b, "are too large together", error);
    *out = result;
    return MIA_OK;
}

/* Elements that a style can put at one end of a mode; -1 for no style. */
static int64_t most_padding(mia_pad_style style, int64_t extent) {
    switch (style) {
    case MIA_PAD_CONSTANT: return INT64_MAX;
    case MIA_PAD_EDGE: return extent > 0 ? INT64_MAX : 0;
    case MIA_PAD_MIRROR: return extent > 0 ? extent - 1 : 0;
    case MIA_PAD_CYCLE: return extent;
    default: return -1;
    }
}

mia_status mia__shape_rule_PAD(const char *name, const mia__type *operands, const mia__attributes *attributes,
                               mia_shape *out, mia_error *error) {
    const mia_shape *x = &operands[0].shape;
    int64_t mode = attributes->i[0], before = attributes->i[1], after = attributes->i[2], extent;
    if (mode < 0 || mode >= (int64_t)x->ndim) return mia__rule_no_mode(name, x, mode, error);
    int64_t most = most_padding((mia_pad_style)attributes->i[3], x->extent[mode]);
    if (most < 0)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: no style has the number %" PRId64, name,
                             attributes->i[3]);
    if (before > most || after > most)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "%s: a mode of %" PRId64 " has at most %" PRId64
                             " elements for an end in this style, not %" PRId64,
                             name, x->extent[mode], most, before > most ? before : after);
    if (before < 0 || after < 0 || __builtin_add_overflow(x->extent[mode], before, &extent) ||
        __builtin_add_overflow(extent, after, &extent))
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "%s: %" PRId64 " elements before and %" PRId64 " after cannot be added", name,
                             before, after);
    mia_shape result = *x;
    result.extent[mode] = extent;
    *out = result;
    return MIA_OK;
}

mia_status mia__shape_rule_GATHER(const char *name, const mia__type *operands,
                                  const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    (void)attributes;
    const mia_shape *table = &operands[0].shape, *indices = &operands[1].shape;
    if (table->ndim != 2)
        return mia__rule_misfit(name, table, indices, "do not fit: a table has 2 modes", error);
    if (indices->ndim >= MIA_MAX_MODES)
        return mia__rule_misfit(name, table, indices, "give too many modes", error);
    mia_shape result = {.ndim = indices->ndim + 1, .extent = {table->extent[0]}};
    for (uint32_t m = 0; m < indices->ndim; m++) result.extent[m + 1] = indices->extent[m];
    *out = result;
    return MIA_OK;
}

static bool is_one(const mia_shape *shape) {
    for (uint32_t m = 0; m < shape->ndim; m++)
        if (shape->extent[m] != 1) return false;
    return true;
}

mia_status mia__rule_single(const char *name, const char *operand, const mia_shape *shape, mia_error *error) {
    shape_text text;
    if (is_one(shape)) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH, "%s: %s has shape %s; it has to be a single number",
                         name, operand, show(shape, &text));
}

mia_status mia__shape_rule_UPDATE(const char *name, const mia__type *operands,
                                  const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    const mia_shape *x = &operands[0].shape, *part = &operands[1].shape;
    int64_t mode = attributes->i[0];
    if (mode < 0 || mode >= (int64_t)x->ndim) return mia__rule_no_mode(name, x, mode, error);
    bool fits = x->ndim == part->ndim && part->extent[mode] <= x->extent[mode];
    for (uint32_t m = 0; fits && m < x->ndim; m++)
        if (m != (uint32_t)mode) fits = x->extent[m] == part->extent[m];
    if (!fits)
        return mia__rule_misfit(name, x, part, "do not fit: the second is to be a part of the first", error);
    *out = *x;
    return mia__rule_single(name, "the start", &operands[2].shape, error);
}

mia_status mia__shape_rule_REDUCE(const char *name, const mia__type *operands,
                                  const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    (void)name, (void)error;
    mia_shape result = operands[0].shape;
    for (uint32_t m = 0; m < result.ndim; m++)
        if ((attributes->i[0] >> m & 1) != 0) result.extent[m] = 1;
    *out = result;
    return MIA_OK;
}

/* x [C, ...] with `count` vectors [C] beside it. */
static mia_status norm(const char *name, const mia__type *operands, uint32_t count, mia_shape *out,
                       mia_error *error) {
    const mia_shape *x = &operands[0].shape;
    for (uint32_t i = 1; i <= count; i++) {
        const mia_shape *w = &operands[i].shape;
        if (x->ndim == 0 || w->ndim != 1 || w->extent[0] != x->extent[0])
            return mia__rule_misfit(name, x, w, "do not fit: the weight is [C] for x [C, ...]", error);
    }
    *out = *x;
    return MIA_OK;
}

mia_status mia__shape_rule_NORM(const char *name, const mia__type *operands,
                                const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    (void)attributes;
    return norm(name, operands, 1, out, error);
}

mia_status mia__shape_rule_NORM_BIAS(const char *name, const mia__type *operands,
                                     const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    (void)attributes;
    return norm(name, operands, 2, out, error);
}

mia_status mia__shape_rule_GROUP_NORM(const char *name, const mia__type *operands,
                                      const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    const mia_shape *x = &operands[0].shape;
    int64_t mode = attributes->i[0], groups = attributes->i[1];
    if (mode < 0 || mode >= (int64_t)x->ndim) return mia__rule_no_mode(name, x, mode, error);
    int64_t channels = x->extent[mode];
    for (uint32_t i = 1; i <= 2; i++) {
        const mia_shape *w = &operands[i].shape;
        if (w->ndim != 1 || w->extent[0] != channels)
            return mia__rule_misfit(name, x, w, "do not fit: weight and bias are [channels]", error);
    }
    if (groups < 1 || channels % groups != 0)
        return mia_error_set(error, MIA_ERROR_SHAPE_MISMATCH,
                             "%s: %" PRId64 " channels do not divide into %" PRId64 " groups", name, channels,
                             groups);
    *out = *x;
    return MIA_OK;
}

mia_status mia__shape_rule_ROPE(const char *name, const mia__type *operands,
                                const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    (void)attributes;
    const mia_shape *x = &operands[0].shape, *positions = &operands[1].shape, *f = &operands[2].shape;
    if (x->ndim != 3 || positions->ndim != 1 || positions->extent[0] != x->extent[2])
        return mia__rule_misfit(name, x, positions, "do not fit: x is [head_dim, heads, T], positions [T]",
                                error);
    if (f->ndim != 1 || f->extent[0] > x->extent[0] / 2)
        return mia__rule_misfit(name, x, f, "do not fit: frequencies are at most [head_dim / 2]", error);
    *out = *x;
    return MIA_OK;
}

static mia_status attention(const char *name, const mia__type *operands, mia_shape *out, mia_error *error) {
    const mia_shape *q = &operands[0].shape, *k = &operands[1].shape, *v = &operands[2].shape;
    if (q->ndim != 3 || k->ndim != 3 || q->extent[0] != k->extent[0] || k->extent[2] == 0 ||
        q->extent[1] % k->extent[2] != 0)
        return mia__rule_misfit(name, q, k, "do not fit: q is [D, H, T], k [D, S, G], H a multiple of G",
                                error);
    if (v->ndim != 3 || v->extent[1] != k->extent[1] || v->extent[2] != k->extent[2])
        return mia__rule_misfit(name, k, v, "do not fit: k is [D, S, G], v [E, S, G]", error);
    *out = (mia_shape){3, {v->extent[0], q->extent[1], q->extent[2]}};
    return MIA_OK;
}

mia_status mia__shape_rule_ATTENTION(const char *name, const mia__type *operands,
                                     const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    (void)attributes;
    mia_status status = attention(name, operands, out, error);
    return status != MIA_OK ? status : mia__rule_single(name, "the length", &operands[3].shape, error);
}

mia_status mia__shape_rule_ATTENTION_MASKED(const char *name, const mia__type *operands,
                                            const mia__attributes *attributes, mia_shape *out,
                                            mia_error *error) {
    (void)attributes;
    mia_status status = attention(name, operands, out, error);
    if (status != MIA_OK) return status;
    const mia_shape *q = &operands[0].shape, *k = &operands[1].shape, *mask = &operands[3].shape;
    const int64_t full[3] = {k->extent[1], q->extent[2], q->extent[1]};
    bool fits = mask->ndim <= 3;
    for (uint32_t m = 0; fits && m < mask->ndim; m++)
        fits = mask->extent[m] == 1 || mask->extent[m] == full[m];
    if (!fits) return mia__rule_misfit(name, q, mask, "do not fit: the mask is [S, T, H], or 1 there", error);
    return mia__rule_single(name, "the length", &operands[4].shape, error);
}

mia_status mia__shape_rule_MATMUL(const char *name, const mia__type *operands,
                                  const mia__attributes *attributes, mia_shape *out, mia_error *error) {
    (void)attributes;
    const mia_shape *w = &operands[0].shape, *x = &operands[1].shape;
    if (w->ndim < 2 || x->ndim < 1 || w->extent[0] != x->extent[0])
        return mia__rule_misfit(name, w, x, "do not fit: w is [K, N, ...], x [K, M, ...]", error);
    mia_shape result = {0};
    if (!broadcast_modes(w, x, 2, &result))
        return mia__rule_misfit(name, w, x, "do not broadcast over mode 2 and on", error);
    if (w->ndim == 2 && x->ndim == 1) result.ndim = 1;
    result.extent[0] = w->extent[1];
    if (result.ndim > 1) result.extent[1] = extent_or_one(x, 1);
    *out = result;
    return MIA_OK;
}
