/* Rotary embedding: pairs of a head's elements turned by position times frequency. x [D, heads, T], positions
 * i32 [T], frequencies f32 [R / 2], R <= D:
 *
 *     interleaved (0)   (x0 x1) (x2 x3) ... | beyond R as it was
 *     halves (1)        (x0 xR/2) (x1 xR/2+1) ... | beyond R as it was
 *
 * A pair is read before it is written, so that the output may be the input. */
#include "backend/reference/element.h"

#include <math.h>

/* Turns one head's elements; x_at and out_at are the places of its element 0. */
static void rotate_head(const mia__kernel_args *args, int64_t x_at, int64_t out_at, double position) {
    const mia__step *step = args->step;
    const mia__operand *x = &step->inputs[0], *frequencies = &step->inputs[2], *out = &step->output;
    int64_t pairs = mia__extent(&frequencies->view, 0), length = x->view.extent[0];
    bool halves = step->attributes.i[0] == MIA_ROPE_HALVES;
    int64_t from = x->view.stride[0], to = out->view.stride[0];
    double magnitude = step->attributes.f[0];
    for (int64_t i = 0; i < pairs; i++) {
        int64_t first = halves ? i : 2 * i, second = halves ? i + pairs : 2 * i + 1;
        int64_t frequency_at = frequencies->view.offset + i * frequencies->view.stride[0];
        double angle = position * mia__load(frequencies->dtype, args->inputs[2], frequency_at);
        double cosine = cos(angle) * magnitude, sine = sin(angle) * magnitude;
        double a = mia__load(x->dtype, args->inputs[0], x_at + first * from);
        double b = mia__load(x->dtype, args->inputs[0], x_at + second * from);
        mia__store(out->dtype, args->output, out_at + first * to, a * cosine - b * sine);
        mia__store(out->dtype, args->output, out_at + second * to, a * sine + b * cosine);
    }
    for (int64_t i = 2 * pairs; i < length; i++)
        mia__store(out->dtype, args->output, out_at + i * to,
                   mia__load(x->dtype, args->inputs[0], x_at + i * from));
}

void mia__reference_rope(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    const mia__operand *positions = &step->inputs[1];
    mia__walk walk;
    if (!mia__walk_start(&walk, &step->output.view, 1)) return;
    mia__view tokens = positions->view; /* as x's modes see them: within an update they come so (plan.h) */
    if (tokens.ndim == 1) {
        tokens = (mia__view){.offset = positions->view.offset, .ndim = 3, .extent = {1, 1}};
        tokens.extent[2] = positions->view.extent[0];
        tokens.stride[2] = positions->view.stride[0];
    }
    uint32_t o = mia__walk_add(&walk, &step->output.view), x = mia__walk_add(&walk, &step->inputs[0].view),
             p = mia__walk_add(&walk, &tokens);
    do {
        int64_t position_at = walk.at[p];
        double position = mia__load(positions->dtype, args->inputs[1], position_at);
        rotate_head(args, walk.at[x], walk.at[o], position);
    } while (mia__walk_next(&walk));
}
