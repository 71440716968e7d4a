/* An operand of the conformance test: random numbers in a larger tensor, and the views that lead from it to
 * the shape that an operation wants, so that the same value, in the same strange layout, can be made on every
 * device.
 *
 *     base [4, 9] --slice mode 1 from 7 by -3--> [4, 3] --permute--> [3, 4] --broadcast--> [3, 4, 5] */
#ifndef MIA_TESTS_OPS_OPERAND_H
#define MIA_TESTS_OPS_OPERAND_H

#include "ops/numbers.h"

#define MOST_VIEWS    12
#define MOST_ELEMENTS (1 << 19) /* of a base */
#define SITE          NULL, 0

typedef struct view_step {
    mia_op op;
    mia_shape shape; /* of permute and broadcast */
    uint32_t mode;
    int64_t begin, count, step;
} view_step;

typedef struct operand {
    mia_dtype dtype;
    mia_shape shape; /* as the operation sees it */
    mia_shape base;
    uint8_t *data; /* of the base */
    size_t bytes;
    view_step views[MOST_VIEWS]; /* the last is done first */
    uint32_t view_count;
    bool constant, computed, kept; /* made how; and still referred to while the operation runs */
    bool repeated;                 /* the same handle as operand 0 */
    uint8_t *seen;                 /* as the operation sees it: compact bytes, and numbers (numbers_of) */
    size_t seen_bytes;
    double *numbers;
    int64_t count;
} operand;

static inline int64_t block_of(mia_dtype dtype) {
    return is_block(dtype) ? mia_dtype_describe(dtype)->elements : 1;
}

/* Grows the base against the direction of a slice of one mode. */
static inline void unslice(uint64_t *seed, operand *o, uint32_t mode) {
    int64_t count = o->base.extent[mode], block = mode == 0 ? block_of(o->dtype) : 1;
    int64_t step = block > 1 ? 1 : 1 + test_below(seed, 3);
    int64_t before = block * test_below(seed, 3), after = block * test_below(seed, 3);
    int64_t span = count > 0 ? (count - 1) * step : 0;
    int64_t extent = before + span + (count > 0 ? 1 : 0) + after;
    bool backwards = block == 1 && test_below(seed, 2) == 0;
    int64_t begin = backwards ? before + span : before;
    o->views[o->view_count++] = (view_step){
        .op = MIA_OP_slice, .mode = mode, .begin = begin, .count = count, .step = backwards ? -step : step};
    o->base.extent[mode] = extent;
}

static inline void unpermute(uint64_t *seed, operand *o) {
    mia_shape order = {.ndim = o->base.ndim}, from = o->base;
    uint32_t first = is_block(o->dtype) ? 1 : 0;
    for (uint32_t m = 0; m < order.ndim; m++) order.extent[m] = m;
    for (uint32_t m = order.ndim; m > first + 1; m--) {
        uint32_t other = first + (uint32_t)test_below(seed, m - first);
        int64_t swap = order.extent[m - 1];
        order.extent[m - 1] = order.extent[other];
        order.extent[other] = swap;
    }
    for (uint32_t m = 0; m < order.ndim; m++) o->base.extent[order.extent[m]] = from.extent[m];
    o->views[o->view_count++] = (view_step){.op = MIA_OP_permute, .shape = order};
}

static inline void unbroadcast(uint64_t *seed, operand *o) {
    view_step view = {.op = MIA_OP_broadcast, .shape = o->base};
    for (uint32_t m = is_block(o->dtype) ? 1 : 0; m < o->base.ndim; m++)
        if (test_below(seed, 3) == 0) o->base.extent[m] = 1;
    while (o->base.ndim > (is_block(o->dtype) ? 1u : 0u) && o->base.extent[o->base.ndim - 1] == 1 &&
           test_below(seed, 2) == 0)
        o->base.ndim--;
    o->views[o->view_count++] = view;
}

/* Shape and type are set: draws a layout, and the numbers of the base. */
static inline void operand_draw(uint64_t *seed, operand *o, mood m) {
    o->base = o->shape;
    if (test_below(seed, 2) == 0) { /* half of all operands are views */
        if (test_below(seed, 4) == 0) unbroadcast(seed, o);
        if (test_below(seed, 2) == 0) unpermute(seed, o);
        for (uint32_t mode = 0; mode < o->base.ndim && o->view_count + 2 < MOST_VIEWS; mode++)
            if (test_below(seed, 3) == 0) unslice(seed, o, mode);
        if (test_below(seed, 3) == 0) unpermute(seed, o);
    }
    if (elements_of(&o->base) > MOST_ELEMENTS) {
        o->base = o->shape;
        o->view_count = 0;
    }
    o->bytes = bytes_of(o->dtype, &o->base);
    o->data = malloc(o->bytes > 0 ? o->bytes : 1);
    if (o->data == NULL) abort();
    fill_random(seed, o->dtype, o->data, o->bytes, m);
    o->constant = test_below(seed, 3) == 0;
    o->computed = test_below(seed, 4) == 0;
    o->kept = test_below(seed, 4) == 0;
}

/* In some runs of 32, zeros of both signs and nothing below them in place of what was drawn. */
static inline void operand_zeros(uint64_t *seed, operand *o) {
    size_t bytes = mia_dtype_describe(o->dtype)->bytes;
    for (size_t first = 0; first < o->bytes; first += 32 * bytes) {
        if (test_below(seed, 4) > 0) continue;
        int64_t zeros = 1 + test_below(seed, 2); /* half of them, or all */
        for (size_t at = first; at < o->bytes && at < first + 32 * bytes; at += bytes) {
            bool zero = test_below(seed, 2) < zeros, negative = zero && test_below(seed, 2) == 0;
            uint8_t *sign = &o->data[at + bytes - 1];
            if (zero) memset(o->data + at, 0, bytes);
            *sign = (uint8_t)((*sign & 0x7f) | (negative ? 0x80 : 0));
        }
    }
}

/* Integers low .. high in place of what was drawn. */
static inline void operand_integers(uint64_t *seed, operand *o, int64_t low, int64_t high) {
    for (size_t i = 0; i < o->bytes; i += sizeof(int32_t)) {
        int32_t value = (int32_t)(low + test_below(seed, high - low + 1));
        memcpy(o->data + i, &value, sizeof value);
    }
}

/* Few different elements in place of what was drawn: ties. */
static inline void operand_repeat(uint64_t *seed, operand *o) {
    size_t unit = mia_dtype_describe(o->dtype)->bytes, units = o->bytes / unit;
    size_t few = 1 + (size_t)test_below(seed, 9);
    for (size_t i = few; i < units; i++)
        memcpy(o->data + i * unit, o->data + (size_t)test_below(seed, (int64_t)few) * unit, unit);
}

static inline void operand_free(operand *o) {
    free(o->data);
    free(o->seen);
    free(o->numbers);
}

/* The operand on a device: an owned handle. */
static inline mia_tensor operand_make(const operand *o, mia_device *device) {
    mia_tensor t = o->constant ? mia_tensor_constant(device, o->dtype, o->base, o->data, SITE)
                               : mia_tensor_upload(device, o->dtype, o->base, o->data, SITE);
    if (o->computed) t = mia_op_copy(t, SITE);
    for (uint32_t i = o->view_count; i-- > 0;) {
        const view_step *view = &o->views[i];
        if (view->op == MIA_OP_slice)
            t = mia_op_slice(t, view->mode, view->begin, view->count, view->step, SITE);
        else if (view->op == MIA_OP_permute)
            t = mia_op_permute(t, view->shape, SITE);
        else
            t = mia_op_broadcast(t, view->shape, SITE);
    }
    return t;
}

/* What the operation sees of it, read from a device. */
static inline mia_status operand_see(operand *o, mia_device *device, mia_error *error) {
    o->seen_bytes = bytes_of(o->dtype, &o->shape);
    o->seen = malloc(o->seen_bytes > 0 ? o->seen_bytes : 1);
    if (o->seen == NULL) abort();
    mia_status status = mia_tensor_read(operand_make(o, device), o->seen, o->seen_bytes, error, SITE);
    o->numbers = numbers_of(o->dtype, &o->shape, o->seen, &o->count);
    return status;
}

/* "q8_0 [64, 3]<-[96, 7]" */
static inline void operand_print(const operand *o) {
    printf(" %s [", mia_dtype_describe(o->dtype)->name);
    for (uint32_t m = 0; m < o->shape.ndim; m++)
        printf(m > 0 ? ", %lld" : "%lld", (long long)o->shape.extent[m]);
    printf("]%s%s", o->constant ? " constant" : "", o->repeated ? " the same" : "");
    for (uint32_t i = o->view_count; i-- > 0;) printf(" %s", mia_op_describe(o->views[i].op)->name);
    printf(";");
}

#endif
