/* Reductions over a set of modes: those where the output has extent 1. Sums of floating-point numbers are
 * made in double, sums of integers wrap. Over nothing: sum 0, mean NaN, maximum -infinity or the least
 * integer. */
#include "backend/reference/element.h"

#include <math.h>

/* What one pass over the reduced modes finds. */
typedef struct reduction {
    double sum, greatest;
    uint64_t whole_sum;
    int64_t whole_greatest;
    int64_t count;
} reduction;

static int64_t least_integer(mia_dtype dtype) {
    return dtype == MIA_i32 ? INT32_MIN : dtype == MIA_i8 ? INT8_MIN : 0;
}

static void reduce_one(reduction *r, mia_dtype dtype, const void *base, int64_t at) {
    r->count++;
    if (mia__is_float(dtype)) {
        double x = mia__load(dtype, base, at);
        r->sum += x;
        if (x > r->greatest || isnan(x)) r->greatest = x; /* NaN stays: nothing is greater */
    } else {
        int64_t x = mia__load_whole(dtype, base, at);
        r->whole_sum += (uint64_t)x;
        if (x > r->whole_greatest) r->whole_greatest = x;
    }
}

/* All elements of `modes` (offset set to the first). */
static reduction reduce(mia_dtype dtype, const void *base, const mia__view *modes) {
    reduction r = {.greatest = -(double)INFINITY, .whole_greatest = least_integer(dtype)};
    mia__walk walk;
    if (!mia__walk_start(&walk, modes, 0)) return r;
    uint32_t at = mia__walk_add(&walk, modes);
    do reduce_one(&r, dtype, base, walk.at[at]);
    while (mia__walk_next(&walk));
    return r;
}

static void store_result(const mia__kernel_args *args, int64_t at, const reduction *r) {
    mia_dtype dtype = args->step->output.dtype;
    bool maximum = args->step->op == MIA_OP_reduce_max;
    if (!mia__is_float(dtype))
        mia__store_whole(dtype, args->output, at, maximum ? r->whole_greatest : (int64_t)r->whole_sum);
    else if (args->step->op == MIA_OP_mean)
        mia__store(dtype, args->output, at, r->sum / (double)r->count);
    else
        mia__store(dtype, args->output, at, maximum ? r->greatest : r->sum);
}

void mia__reference_reduce(const mia__kernel_args *args) {
    const mia__operand *in = &args->step->inputs[0];
    const mia__view *out = &args->step->output.view;
    mia__view kept = in->view, reduced = {.ndim = in->view.ndim};
    for (uint32_t i = 0; i < in->view.ndim; i++) {
        bool gone = out->extent[i] == 1;
        reduced.extent[i] = gone ? in->view.extent[i] : 1;
        reduced.stride[i] = in->view.stride[i];
        if (gone) kept.extent[i] = 1;
    }
    mia__walk walk;
    if (!mia__walk_start(&walk, out, 0)) return;
    uint32_t o = mia__walk_add(&walk, out), k = mia__walk_add(&walk, &kept);
    do {
        reduced.offset = walk.at[k];
        reduction r = reduce(in->dtype, args->inputs[0], &reduced);
        store_result(args, walk.at[o], &r);
    } while (mia__walk_next(&walk));
}
