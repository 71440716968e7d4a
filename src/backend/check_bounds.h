/* How far each number of a step's result may lie from what the reference kernel makes of the same operands: the
 * operation's bound (ops.def), in units of the type's epsilon, times the largest magnitude that enters the number, which
 * is worked out here from the operands. Where operands are known up to something themselves, what that makes of the
 * result is added.
 *
 *     mia__check_bounds b;
 *     if (!mia__check_bounds_start(&b, about, step, args)) return;      no elements
 *     do slack = mia__check_bounds_slack(&b); while (mia__check_bounds_next(&b));
 */
#ifndef MIA_BACKEND_CHECK_BOUNDS_H
#define MIA_BACKEND_CHECK_BOUNDS_H

#include "backend/reference/element.h"

/* What a backend's kernels promise beside the operations' bounds. */
typedef struct mia__check_promise {
    bool eight_bits; /* products with weights in blocks may round what they multiply to 8 bits */
    bool halves;     /* in products with weights of f16 or in blocks, and in attention: to f16 */
    bool
        normal; /* nothing of infinities and NaN, and numbers below the normal ones may be taken for 0: WGSL */
} mia__check_promise;

typedef struct mia__check_bounds {
    mia__check_promise promise;
    const mia__step *step;
    const mia__kernel_args *args; /* output: what the reference kernel made */
    const double
        *through; /* of each element, what operands that are known up to something add; NULL: nothing */
    const double *x_off; /* a product's x is known up to this, of each of its elements; NULL: exactly */
    mia_op_class op_class;
    bool product, single, eight_bits, halves;
    double bound, unit, least, common, least_weight;
    mia__walk walk;
    uint32_t output,
        at[MIA__MAX_OPERANDS + 1]; /* of walk.at; those of a product are lines along K, the last x_off's */
    int64_t element;
} mia__check_bounds;

/* Begins at the first element; false when there is none. `through` and `x_off` are set afterwards, and stay the caller's. */
bool mia__check_bounds_start(mia__check_bounds *bounds, const mia__check_promise *promise,
                             const mia__step *step, const mia__kernel_args *args);
bool mia__check_bounds_next(mia__check_bounds *bounds);

/* What the reference kernel made of the present element, and how far from it a number may be. */
double mia__check_bounds_want(const mia__check_bounds *bounds);
double mia__check_bounds_slack(const mia__check_bounds *bounds);

/* Whether a number of that type is within that; infinities and NaN included. */
bool mia__check_is_near(mia_dtype dtype, double want, double got, double slack);

/* Unit roundoff's double, and the least positive number, of a floating-point type; 0 of others. */
double mia__check_epsilon(mia_dtype dtype);

/* The least normal number of a floating-point type; 0 of others. */
double mia__check_least_normal(mia_dtype dtype);

/* A compact view of the same extents, of a scalar type. */
mia__view mia__check_compact(const mia__view *view);

#endif
