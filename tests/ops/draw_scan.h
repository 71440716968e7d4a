/* Draws programs of scans and sorting (draw.h). */
#ifndef MIA_TESTS_OPS_DRAW_SCAN_H
#define MIA_TESTS_OPS_DRAW_SCAN_H

static inline void draw_scan(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, 1));
    p->mode = (uint32_t)test_below(seed, shape.ndim);
    p->a = test_below(seed, 2);
    p->b = test_below(seed, 2);
    if (p->row->form == SIGNATURE_TOP_K || p->row->form == SIGNATURE_ARG_TOP_K)
        p->a = test_below(seed, shape.extent[p->mode] + 1);
    (void)add_operand(seed, p, p->dtype, &shape);
}

#endif
