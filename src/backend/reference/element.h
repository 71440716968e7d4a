/* What reference kernels are made of: one element of any scalar type read or written as a double or a whole
 * number, a walk over all elements of several views at once, and runs of elements out of mode 0.
 *
 *     mia__walk w;
 *     if (!mia__walk_start(&w, &out->view, 0)) return;     no elements
 *     uint32_t o = mia__walk_add(&w, &out->view), i = mia__walk_add(&w, &in->view);
 *     do store(out, w.at[o], load(in, w.at[i])); while (mia__walk_next(&w)); */
#ifndef MIA_BACKEND_REFERENCE_ELEMENT_H
#define MIA_BACKEND_REFERENCE_ELEMENT_H

#include "backend/reference/reference.h"
#include "base/half.h"

#include <math.h>

#define MIA__WALK_VIEWS (MIA__MAX_OPERANDS + 1)

/* Steps through every index of some modes, first mode fastest; at[i] is where view i is, in units from its
 * buffer. */
typedef struct mia__walk {
    uint32_t ndim;
    uint32_t from; /* first mode of the views that is walked */
    uint32_t views;
    int64_t extent[MIA__VIEW_MODES];
    int64_t index[MIA__VIEW_MODES];
    int64_t stride[MIA__WALK_VIEWS][MIA__VIEW_MODES];
    int64_t at[MIA__WALK_VIEWS];
} mia__walk;

/* Walks the modes of `shape` from mode `from` on; false when there is nothing to walk. Rank 0 is one
 * element. */
bool mia__walk_start(mia__walk *walk, const mia__view *shape, uint32_t from);

/* Adds a view, which stays at index 0 of its modes before `from`. Modes that it lacks, or has with extent 1,
 * stand still. Returns its place in at[]. */
uint32_t mia__walk_add(mia__walk *walk, const mia__view *view);

/* To the next index; false after the last. */
bool mia__walk_next(mia__walk *walk);

/* Elements first .. first+count-1 of mode 0 as doubles, from a row of any type but packed that starts at unit
 * `at`. For block types `first` is a multiple of the block. `count` is at most MIA__BLOCK_MOST. */
void mia__load_run(const mia__operand *operand, const void *base, int64_t at, int64_t first, int64_t count,
                   double *out);

/* Copies units as they are: all of `from` into as many places of `to` (same extents). `bytes` is the unit's
 * size; mode 0 counts units. */
void mia__copy_units(size_t bytes, const mia__view *to, void *to_base, const mia__view *from,
                     const void *from_base);

static inline bool mia__is_float(mia_dtype dtype) {
    return dtype >= MIA_f32 && dtype <= MIA_f64;
}

/* Extent of a mode, 1 past the last. */
static inline int64_t mia__extent(const mia__view *view, uint32_t mode) {
    return mode < view->ndim ? view->extent[mode] : 1;
}

/* A sum in double that keeps what each addition loses (Neumaier): what sums of f64 are held against. */
typedef struct mia__long_sum {
    double sum, lost;
} mia__long_sum;

static inline void mia__long_sum_add(mia__long_sum *s, double x) {
    double sum = s->sum + x;
    s->lost += fabs(s->sum) >= fabs(x) ? (s->sum - sum) + x : (x - sum) + s->sum;
    s->sum = sum;
}

/* What is lost means nothing where the sum is infinite or NaN. */
static inline double mia__long_sum_value(const mia__long_sum *s) {
    return isfinite(s->sum) ? s->sum + s->lost : s->sum;
}

/* --- one element ------------------------------------------------------------------------------ */

/* A number of any scalar type; exact. bool8 is 0 or 1. */
static inline double mia__load(mia_dtype dtype, const void *base, int64_t at) {
    switch (dtype) {
    case MIA_f32: return (double)((const float *)base)[at];
    case MIA_f16: return mia__f16_to_f64(((const uint16_t *)base)[at]);
    case MIA_bf16: return mia__bf16_to_f64(((const uint16_t *)base)[at]);
    case MIA_f64: return ((const double *)base)[at];
    case MIA_i32: return ((const int32_t *)base)[at];
    case MIA_u32: return ((const uint32_t *)base)[at];
    case MIA_i8: return ((const int8_t *)base)[at];
    case MIA_u8: return ((const uint8_t *)base)[at];
    case MIA_bool8: return ((const uint8_t *)base)[at] != 0;
    default: return 0;
    }
}

/* Stores into a floating-point type, rounded once. */
static inline void mia__store(mia_dtype dtype, void *base, int64_t at, double value) {
    switch (dtype) {
    case MIA_f32: ((float *)base)[at] = (float)value; break;
    case MIA_f16: ((uint16_t *)base)[at] = mia__f64_to_f16(value); break;
    case MIA_bf16: ((uint16_t *)base)[at] = mia__f64_to_bf16(value); break;
    case MIA_f64: ((double *)base)[at] = value; break;
    default: break;
    }
}

/* A number of an integer type. */
static inline int64_t mia__load_whole(mia_dtype dtype, const void *base, int64_t at) {
    switch (dtype) {
    case MIA_i32: return ((const int32_t *)base)[at];
    case MIA_u32: return ((const uint32_t *)base)[at];
    case MIA_i8: return ((const int8_t *)base)[at];
    case MIA_u8: return ((const uint8_t *)base)[at];
    default: return 0;
    }
}

/* Stores into an integer type the number modulo 2^bits: what wrapping arithmetic gives. */
static inline void mia__store_whole(mia_dtype dtype, void *base, int64_t at, int64_t value) {
    uint32_t bits = (uint32_t)(uint64_t)value;
    uint8_t low = (uint8_t)(bits & 0xffu);
    switch (dtype) {
    case MIA_i32:
    case MIA_u32: memcpy((uint32_t *)base + at, &bits, sizeof bits); break;
    case MIA_i8:
    case MIA_u8: ((uint8_t *)base)[at] = low; break;
    default: break;
    }
}

/* Stores a number into any scalar type: rounded to nearest even, saturated at the ends of integer types, NaN
 * as 0. */
void mia__store_number(mia_dtype dtype, void *base, int64_t at, double value);

/* --- the kernels, a family a file; reference.c lists them ------------------------------------- */

void mia__reference_elementwise(const mia__kernel_args *args);
void mia__reference_copy(const mia__kernel_args *args);
void mia__reference_concat(const mia__kernel_args *args);
void mia__reference_pad(const mia__kernel_args *args);
void mia__reference_update(const mia__kernel_args *args);
void mia__reference_convert(const mia__kernel_args *args);
void mia__reference_gather(const mia__kernel_args *args);
void mia__reference_embedding(const mia__kernel_args *args);
void mia__reference_custom(const mia__kernel_args *args);
void mia__reference_custom_elementwise(const mia__kernel_args *args);
void mia__reference_take(const mia__kernel_args *args);
void mia__reference_take_along(const mia__kernel_args *args);
void mia__reference_scatter(const mia__kernel_args *args);
void mia__reference_scatter_along(const mia__kernel_args *args);
void mia__reference_roll(const mia__kernel_args *args);
void mia__reference_triangle(const mia__kernel_args *args);
void mia__reference_arange(const mia__kernel_args *args);
void mia__reference_random(const mia__kernel_args *args);
void mia__reference_argument(const mia__kernel_args *args);
void mia__reference_cumsum(const mia__kernel_args *args);
void mia__reference_sort(const mia__kernel_args *args);
void mia__reference_log_softmax(const mia__kernel_args *args);
void mia__reference_l2_norm(const mia__kernel_args *args);
void mia__reference_group_norm(const mia__kernel_args *args);
void mia__reference_convolve(const mia__kernel_args *args);
void mia__reference_pool(const mia__kernel_args *args);
void mia__reference_reduce(const mia__kernel_args *args);
void mia__reference_softmax(const mia__kernel_args *args);
void mia__reference_rms_norm(const mia__kernel_args *args);
void mia__reference_layer_norm(const mia__kernel_args *args);
void mia__reference_rope(const mia__kernel_args *args);
void mia__reference_attention(const mia__kernel_args *args);
void mia__reference_matmul(const mia__kernel_args *args);

#endif
