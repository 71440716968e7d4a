/* Draws programs of norms and of attention (draw.h). */
#ifndef MIA_TESTS_OPS_DRAW_NORM_H
#define MIA_TESTS_OPS_DRAW_NORM_H

static inline void draw_group_norm(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, 1));
    p->mode = (uint32_t)test_below(seed, shape.ndim);
    int64_t channels = shape.extent[p->mode];
    mia_shape row_shape = {1, {channels}};
    p->a = 1 + test_below(seed, channels > 0 ? channels : 3);
    while (channels % p->a != 0) p->a--;
    (void)add_operand(seed, p, p->dtype, &shape);
    (void)add_operand(seed, p, p->dtype, &row_shape);
    (void)add_operand(seed, p, p->dtype, &row_shape);
    p->real = test_below(seed, 2) == 0 ? 1e-5 : 0.1;
}

/* x / max(norm, epsilon): epsilons of no, some and all the effect. */
static inline void draw_l2_norm(uint64_t *seed, program *p) {
    static const double epsilons[] = {1e-6, 1e-12, 0, 1, 100};
    p->real = epsilons[test_below(seed, 5)];
}

static inline void draw_attention_masked(uint64_t *seed, program *p) {
    draw_attention(seed, p);
    operand length = p->operands[3];
    int64_t full[3] = {p->operands[1].shape.extent[1], p->operands[0].shape.extent[2],
                       p->operands[0].shape.extent[1]};
    mia_shape mask = {(uint32_t)test_below(seed, 4), {0}};
    for (uint32_t m = 0; m < mask.ndim; m++) mask.extent[m] = test_below(seed, 3) == 0 ? 1 : full[m];
    p->count = 3;
    operand *drawn = add_operand(seed, p, MIA_f32, &mask);
    int64_t one_in = test_below(seed, 4); /* that stays as it is; the others hide their keys */
    for (size_t i = 0; one_in > 0 && i < drawn->bytes; i += sizeof(float))
        if (test_below(seed, one_in * one_in) != 0) store_real(MIA_f32, drawn->data + i, -(double)INFINITY);
    p->operands[p->count++] = length;
}

#endif
