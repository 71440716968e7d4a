/* Draws programs of norms and of attention (draw.h). */
#ifndef MIA_TESTS_OPS_DRAW_NORM_H
#define MIA_TESTS_OPS_DRAW_NORM_H

static inline void draw_group_norm(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, 1));
    p->mode = (uint32_t)test_below(seed, shape.ndim);
    int64_t channels = shape.extent[p->mode];
    mia_shape row_shape = {1, {channels}};
    p->a = channels % 2 == 0 && channels > 0 && test_below(seed, 2) == 0 ? 2 : 1;
    (void)add_operand(seed, p, p->dtype, &shape);
    (void)add_operand(seed, p, p->dtype, &row_shape);
    (void)add_operand(seed, p, p->dtype, &row_shape);
    p->real = 1e-5;
}

static inline void draw_attention_masked(uint64_t *seed, program *p) {
    draw_attention(seed, p);
    operand length = p->operands[3];
    int64_t full[3] = {p->operands[1].shape.extent[1], p->operands[0].shape.extent[2],
                       p->operands[0].shape.extent[1]};
    mia_shape mask = {(uint32_t)test_below(seed, 4), {0}};
    for (uint32_t m = 0; m < mask.ndim; m++) mask.extent[m] = test_below(seed, 3) == 0 ? 1 : full[m];
    p->count = 3;
    (void)add_operand(seed, p, MIA_f32, &mask);
    p->operands[p->count++] = length;
}

#endif
