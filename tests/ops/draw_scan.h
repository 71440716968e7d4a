/* Draws programs of scans and sorting (draw.h): some lines long, many elements equal, and k anything from none
 * to all. */
#ifndef MIA_TESTS_OPS_DRAW_SCAN_H
#define MIA_TESTS_OPS_DRAW_SCAN_H

static inline int64_t draw_k(uint64_t *seed, int64_t length) {
    switch (test_below(seed, 6)) {
    case 0: return 0;
    case 1: return length;
    case 2: return length < 3 ? length : 3;
    default: return test_below(seed, length + 1);
    }
}

static inline void draw_scan(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, 1));
    p->mode = (uint32_t)test_below(seed, shape.ndim);
    if (test_below(seed, 8) == 0) {
        for (uint32_t m = 0; m < shape.ndim; m++) shape.extent[m] = shape.extent[m] == 0 ? 0 : 1;
        shape.extent[p->mode] = 1 + test_below(seed, 5000);
    }
    p->a = test_below(seed, 2);
    p->b = test_below(seed, 2);
    if (p->row->form == SIGNATURE_TOP_K || p->row->form == SIGNATURE_ARG_TOP_K)
        p->a = draw_k(seed, shape.extent[p->mode]);
    operand *x = add_operand(seed, p, p->dtype, &shape);
    if (test_below(seed, 2) == 0) operand_repeat(seed, x);
}

#endif
