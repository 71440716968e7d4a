/* How a window moves along one mode of an operand, for every backend's kernels of convolutions and pools.
 * Element e of the window at place p is element p * stride - before + e * dilation of the mode, or padding. */
#ifndef MIA_BACKEND_WINDOW_H
#define MIA_BACKEND_WINDOW_H

#include "graph/ops.h"
#include "plan/plan.h"

typedef struct mia__window_axis {
    int64_t extent, places; /* of the input and of the output */
    int64_t size, stride, dilation, before;
    int64_t x_step, out_step; /* from element to element */
} mia__window_axis;

/* Mode `mode` of input 0, of `modes` that the window moves over; past them a window of one at one place. */
static inline mia__window_axis mia__window_axis_of(const mia__step *step, uint32_t mode, uint32_t modes,
                                                   int64_t size) {
    if (mode >= modes) return (mia__window_axis){1, 1, 1, 1, 1, 0, 0, 0};
    const mia__view *x = &step->inputs[0].view, *out = &step->output.view;
    const int64_t *a = step->attributes.i;
    return (mia__window_axis){.extent = x->extent[mode],
                              .places = out->extent[mode],
                              .size = size,
                              .stride = a[MIA__WINDOW_STRIDE + mode],
                              .dilation = a[MIA__WINDOW_DILATION + mode],
                              .before = a[MIA__WINDOW_BEFORE + mode],
                              .x_step = x->stride[mode],
                              .out_step = out->stride[mode]};
}

/* Elements [*first, *end) of the window at `place` that are no padding. */
static inline void mia__window_inside(const mia__window_axis *a, int64_t place, int64_t *first,
                                      int64_t *end) {
    int64_t begin = place * a->stride - a->before;
    *first = begin < 0 ? (-begin - 1) / a->dilation + 1 : 0;
    *end = begin < a->extent ? (a->extent - begin - 1) / a->dilation + 1 : 0;
    if (*end > a->size) *end = a->size;
    if (*first > *end) *first = *end;
}

/* Where element `element` of the window at `place` is along the mode; outside [0, extent) for padding. */
static inline int64_t mia__window_at(const mia__window_axis *a, int64_t place, int64_t element) {
    return place * a->stride - a->before + element * a->dilation;
}

/* a / b, which mostly is by one. */
static inline int64_t mia__window_divide(int64_t a, int64_t b) {
    return b == 1 ? a : a / b;
}

/* Places [*first, *end) of [from, to) at which element `element` is no padding. */
static inline void mia__window_places(const mia__window_axis *a, int64_t element, int64_t from, int64_t to,
                                      int64_t *first, int64_t *end) {
    int64_t begin = element * a->dilation - a->before; /* where place 0 has it */
    *first = begin < 0 ? mia__window_divide(-begin - 1, a->stride) + 1 : 0;
    *end = begin < a->extent ? mia__window_divide(a->extent - begin - 1, a->stride) + 1 : 0;
    if (*first < from) *first = from;
    if (*end > to) *end = to;
    if (*first > *end) *first = *end;
}

#endif
