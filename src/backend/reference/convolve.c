/* Convolutions, as frameworks have them (the window is not mirrored):
 *
 *     out[p, q, o, n] = sum over i, j, c of w[i, j, c, o] x[p * stride + i * dilation - before, ..., c', n]
 *
 * where c' counts the channels of o's group. Padding counts as zeros: by an infinite weight it gives NaN. One
 * dimension is two with a second mode of extent 1. */
#include "backend/reference/element.h"
#include "backend/window.h"

typedef struct convolution {
    const mia__kernel_args *args;
    mia__window_axis axis[2];
    int64_t w_step[2];            /* along the window */
    int64_t channels, group;      /* inputs and outputs of a group */
    int64_t x_channel, w_channel; /* strides */
    int64_t x_at, w_at;           /* first channel of the group; weights of the output */
} convolution;

/* What one channel of the window at place p, q gives. */
static double sum_channel(const convolution *c, int64_t channel, int64_t p, int64_t q) {
    const mia__operand *x = &c->args->step->inputs[0], *w = &c->args->step->inputs[1];
    const mia__window_axis *a = &c->axis[0], *b = &c->axis[1];
    double sum = 0;
    for (int64_t j = 0; j < b->size; j++)
        for (int64_t i = 0; i < a->size; i++) {
            int64_t across = mia__window_at(a, p, i), down = mia__window_at(b, q, j);
            bool inside = across >= 0 && across < a->extent && down >= 0 && down < b->extent;
            int64_t at = c->x_at + channel * c->x_channel + across * a->x_step + down * b->x_step;
            sum += mia__load(w->dtype, c->args->inputs[1],
                             c->w_at + channel * c->w_channel + i * c->w_step[0] + j * c->w_step[1]) *
                   (inside ? mia__load(x->dtype, c->args->inputs[0], at) : 0);
        }
    return sum;
}

static void convolve_output(const convolution *c, int64_t out_at) {
    const mia__operand *out = &c->args->step->output;
    for (int64_t q = 0; q < c->axis[1].places; q++)
        for (int64_t p = 0; p < c->axis[0].places; p++) {
            double sum = 0;
            for (int64_t channel = 0; channel < c->channels; channel++) sum += sum_channel(c, channel, p, q);
            mia__store(out->dtype, c->args->output,
                       out_at + p * c->axis[0].out_step + q * c->axis[1].out_step, sum);
        }
}

void mia__reference_convolve(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    const mia__view *x = &step->inputs[0].view, *w = &step->inputs[1].view, *out = &step->output.view;
    uint32_t modes = x->ndim - 2;
    convolution c = {.args = args, .channels = w->extent[modes]};
    c.group = out->extent[modes] / step->attributes.i[MIA__WINDOW_GROUPS];
    c.x_channel = x->stride[modes];
    c.w_channel = w->stride[modes];
    for (uint32_t m = 0; m < 2; m++) {
        c.axis[m] = mia__window_axis_of(step, m, modes, m < modes ? w->extent[m] : 1);
        c.w_step[m] = m < modes ? w->stride[m] : 0;
    }
    for (int64_t n = 0; n < out->extent[modes + 1]; n++)
        for (int64_t o = 0; o < out->extent[modes]; o++) {
            c.x_at = x->offset + n * x->stride[modes + 1] + o / c.group * c.channels * c.x_channel;
            c.w_at = w->offset + o * w->stride[modes + 1];
            convolve_output(&c, out->offset + o * out->stride[modes] + n * out->stride[modes + 1]);
        }
}
