/* Draws programs of windows (draw.h). */
#ifndef MIA_TESTS_OPS_DRAW_WINDOW_H
#define MIA_TESTS_OPS_DRAW_WINDOW_H

static inline void draw_window(uint64_t *seed, program *p, uint32_t modes) {
    for (uint32_t m = 0; m < modes; m++) {
        p->window.size[m] = test_below(seed, 4);
        p->window.stride[m] = test_below(seed, 4);
        p->window.dilation[m] = test_below(seed, 3);
        p->window.before[m] = test_below(seed, 3);
        p->window.after[m] = test_below(seed, 3);
    }
    p->window.count_padding = test_below(seed, 2) == 0;
}

static inline void draw_convolution(uint64_t *seed, program *p) {
    uint32_t spatial = p->row->op == MIA_OP_conv1d ? 1 : 2;
    int64_t groups = 1 + test_below(seed, 3), channels = 1 + test_below(seed, 5),
            outputs = 1 + test_below(seed, 9);
    bool large = test_below(seed, 3) == 0; /* more than a panel and a stretch of a kernel hold */
    mia_shape x = {spatial + 2, {0}}, w = {spatial + 2, {0}};
    draw_window(seed, p, spatial);
    for (uint32_t m = 0; m < spatial; m++) {
        x.extent[m] = test_below(seed, 20) == 0 ? 0 : 1 + test_below(seed, large ? 40 : 20);
        w.extent[m] = 1 + test_below(seed, 4);
    }
    if (large) channels = 1 + test_below(seed, 40), outputs = 1 + test_below(seed, 40);
    if (test_below(seed, 4) == 0) channels = 1, groups = 1 + test_below(seed, 20);
    if (test_below(seed, 40) == 0) channels = 0;
    x.extent[spatial] = groups * channels;
    x.extent[spatial + 1] = test_below(seed, large ? 2 : 4);
    w.extent[spatial] = channels;
    w.extent[spatial + 1] = groups * outputs;
    p->window.groups = groups;
    (void)add_operand(seed, p, p->dtype, &x);
    (void)add_operand(seed, p, p->dtype, &w);
}

static inline void draw_pool(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, 1));
    draw_window(seed, p, shape.ndim > 1 ? 2 : 1);
    if (test_below(seed, 4) == 0) /* all of a mode, or more than it has */
        p->window.size[0] = shape.extent[0] + test_below(seed, 3);
    (void)add_operand(seed, p, p->dtype, &shape);
}

#endif
