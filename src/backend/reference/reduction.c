/* Reductions over a set of modes: those where the output has extent 1. Sums and products of floating-point
 * numbers are made in double, of integers modulo 2^bits. Over nothing: sum 0, mean NaN, product 1, maximum
 * -infinity or the least integer, minimum infinity or the greatest, any false, all true, place 0. */
#include "backend/reference/element.h"

/* What one pass over the reduced modes finds. */
typedef struct reduction {
    mia__long_sum sum;
    double mantissa,
        lost; /* product = (mantissa + lost) * 2^exponent: no order of factors leaves the range */
    int64_t exponent;
    double greatest, least;
    uint64_t whole_sum, whole_product;
    int64_t whole_greatest, whole_least;
    bool any, all;
    int64_t count;
} reduction;

static int64_t least_integer(mia_dtype dtype) {
    return dtype == MIA_i32 ? INT32_MIN : dtype == MIA_i8 ? INT8_MIN : 0;
}

static int64_t greatest_integer(mia_dtype dtype) {
    switch (dtype) {
    case MIA_i32: return INT32_MAX;
    case MIA_u32: return UINT32_MAX;
    case MIA_i8: return INT8_MAX;
    default: return UINT8_MAX;
    }
}

/* Zeros, infinities and NaN have no exponent and take part as they are. What each rounding loses is kept, and
 * means nothing where the product is not finite. */
static void multiply(reduction *r, double x) {
    int of_x = 0, of_product = 0;
    double factor = isfinite(x) ? frexp(x, &of_x) : x, product = r->mantissa * factor;
    double lost = r->lost * factor + fma(r->mantissa, factor, -product);
    r->mantissa = isfinite(product) ? frexp(product, &of_product) : product;
    r->lost = isfinite(product) ? ldexp(lost, -of_product) : 0;
    r->exponent += of_x + of_product;
}

static double product(const reduction *r) {
    int64_t exponent = r->exponent > 9999 ? 9999 : r->exponent < -9999 ? -9999 : r->exponent;
    return ldexp(r->mantissa + r->lost, (int)exponent);
}

static void reduce_one(reduction *r, mia_dtype dtype, const void *base, int64_t at) {
    r->count++;
    if (mia__is_float(dtype)) {
        double x = mia__load(dtype, base, at);
        mia__long_sum_add(&r->sum, x);
        multiply(r, x);
        if (x > r->greatest || isnan(x)) r->greatest = x; /* NaN stays: nothing is greater */
        if (x < r->least || isnan(x)) r->least = x;
    } else if (dtype == MIA_bool8) {
        bool x = mia__load(dtype, base, at) != 0;
        r->any |= x;
        r->all &= x;
    } else {
        int64_t x = mia__load_whole(dtype, base, at);
        r->whole_sum += (uint64_t)x;
        r->whole_product *= (uint64_t)x;
        if (x > r->whole_greatest) r->whole_greatest = x;
        if (x < r->whole_least) r->whole_least = x;
    }
}

/* All elements of `modes` (offset set to the first). */
static reduction reduce(mia_dtype dtype, const void *base, const mia__view *modes) {
    reduction r = {.mantissa = 1,
                   .greatest = -(double)INFINITY,
                   .least = (double)INFINITY,
                   .whole_product = 1,
                   .whole_greatest = least_integer(dtype),
                   .whole_least = greatest_integer(dtype),
                   .all = true};
    mia__walk walk;
    if (!mia__walk_start(&walk, modes, 0)) return r;
    uint32_t at = mia__walk_add(&walk, modes);
    do reduce_one(&r, dtype, base, walk.at[at]);
    while (mia__walk_next(&walk));
    return r;
}

static double real_result(mia_op op, const reduction *r) {
    switch ((int)op) {
    case MIA_OP_mean: return mia__long_sum_value(&r->sum) / (double)r->count;
    case MIA_OP_reduce_max: return r->greatest;
    case MIA_OP_reduce_min: return r->least;
    case MIA_OP_prod: return product(r);
    default: return mia__long_sum_value(&r->sum);
    }
}

static int64_t whole_result(mia_op op, const reduction *r) {
    switch ((int)op) {
    case MIA_OP_reduce_max: return r->whole_greatest;
    case MIA_OP_reduce_min: return r->whole_least;
    case MIA_OP_prod: return (int64_t)r->whole_product;
    default: return (int64_t)r->whole_sum;
    }
}

static void store_result(const mia__kernel_args *args, int64_t at, const reduction *r) {
    mia_dtype dtype = args->step->output.dtype;
    mia_op op = args->step->op;
    if (dtype == MIA_bool8)
        ((uint8_t *)args->output)[at] = op == MIA_OP_any ? r->any : r->all;
    else if (mia__is_float(dtype))
        mia__store(dtype, args->output, at, real_result(op, r));
    else
        mia__store_whole(dtype, args->output, at, whole_result(op, r));
}

/* Cuts the operand's view into the modes that stay and those that go; the latter get their offset from the
 * former's walk. */
static void split(const mia__kernel_args *args, mia__view *kept, mia__view *reduced) {
    const mia__view *in = &args->step->inputs[0].view, *out = &args->step->output.view;
    *kept = *in;
    *reduced = (mia__view){.ndim = in->ndim};
    for (uint32_t i = 0; i < in->ndim; i++) {
        bool gone = out->extent[i] == 1;
        reduced->extent[i] = gone ? in->extent[i] : 1;
        reduced->stride[i] = in->stride[i];
        if (gone) kept->extent[i] = 1;
    }
}

void mia__reference_reduce(const mia__kernel_args *args) {
    const mia__view *out = &args->step->output.view;
    mia__view kept, reduced;
    split(args, &kept, &reduced);
    mia__walk walk;
    if (!mia__walk_start(&walk, out, 0)) return;
    uint32_t o = mia__walk_add(&walk, out), k = mia__walk_add(&walk, &kept);
    do {
        reduced.offset = walk.at[k];
        reduction r = reduce(args->step->inputs[0].dtype, args->inputs[0], &reduced);
        store_result(args, walk.at[o], &r);
    } while (mia__walk_next(&walk));
}

/* Where the greatest (or least) element of `modes` is first, counted first mode fastest. NaN is beyond all. */
static int64_t place_of(mia_dtype dtype, const void *base, const mia__view *modes, bool greatest) {
    int64_t place = 0, count = 0;
    double best = 0;
    mia__walk walk;
    if (!mia__walk_start(&walk, modes, 0)) return 0;
    uint32_t at = mia__walk_add(&walk, modes);
    do {
        double x = mia__load(dtype, base, walk.at[at]);
        bool beyond = isnan(x) ? !isnan(best) : greatest ? x > best : x < best;
        if (count == 0 || beyond) {
            best = x;
            place = count;
        }
        count++;
    } while (mia__walk_next(&walk));
    return place;
}

void mia__reference_argument(const mia__kernel_args *args) {
    const mia__view *out = &args->step->output.view;
    mia__view kept, reduced;
    split(args, &kept, &reduced);
    mia__walk walk;
    if (!mia__walk_start(&walk, out, 0)) return;
    uint32_t o = mia__walk_add(&walk, out), k = mia__walk_add(&walk, &kept);
    do {
        reduced.offset = walk.at[k];
        int64_t place =
            place_of(args->step->inputs[0].dtype, args->inputs[0], &reduced, args->step->op == MIA_OP_argmax);
        mia__store_whole(MIA_i32, args->output, walk.at[o], place);
    } while (mia__walk_next(&walk));
}
