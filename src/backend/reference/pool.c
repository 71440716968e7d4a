/* Pools: the greatest or the mean of each window over modes 0 and 1. Padding is no element, but for a mean
 * that counts it as zeros. The greatest of nothing is -infinity, the mean of nothing NaN. */
#include "backend/reference/element.h"
#include "backend/window.h"

#include <math.h>

/* The window at place p, q of the picture that begins at `at`. */
static double pool(const mia__kernel_args *args, const mia__window_axis axis[2], int64_t at, int64_t p,
                   int64_t q) {
    bool greatest = args->step->op == MIA_OP_max_pool;
    int64_t begin[2], end[2];
    mia__window_inside(&axis[0], p, &begin[0], &end[0]);
    mia__window_inside(&axis[1], q, &begin[1], &end[1]);
    double result = greatest ? -(double)INFINITY : 0;
    for (int64_t j = begin[1]; j < end[1]; j++)
        for (int64_t i = begin[0]; i < end[0]; i++) {
            int64_t across = mia__window_at(&axis[0], p, i), down = mia__window_at(&axis[1], q, j);
            double value = mia__load(args->step->inputs[0].dtype, args->inputs[0],
                                     at + across * axis[0].x_step + down * axis[1].x_step);
            if (!greatest)
                result += value;
            else if (value > result || isnan(value))
                result = value;
        }
    if (greatest) return result;
    if (args->step->attributes.i[MIA__WINDOW_COUNT_PADDING] != 0)
        return result / ((double)axis[0].size * (double)axis[1].size);
    return result / ((double)(end[0] - begin[0]) * (double)(end[1] - begin[1]));
}

void mia__reference_pool(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    const mia__operand *x = &step->inputs[0], *out = &step->output;
    mia__window_axis axis[2];
    for (uint32_t m = 0; m < 2; m++)
        axis[m] = mia__window_axis_of(step, m, x->view.ndim, step->attributes.i[MIA__WINDOW_SIZE + m]);
    mia__walk walk;
    if (axis[0].places == 0 || axis[1].places == 0 || !mia__walk_start(&walk, &out->view, 2)) return;
    uint32_t o = mia__walk_add(&walk, &out->view), i = mia__walk_add(&walk, &x->view);
    do {
        for (int64_t q = 0; q < axis[1].places; q++)
            for (int64_t p = 0; p < axis[0].places; p++)
                mia__store(out->dtype, args->output, walk.at[o] + p * axis[0].out_step + q * axis[1].out_step,
                           pool(args, axis, walk.at[i], p, q));
    } while (mia__walk_next(&walk));
}
