/* Draws programs of movement by index, of shifts, and of creation (draw.h). */
#ifndef MIA_TESTS_OPS_DRAW_INDEXED_H
#define MIA_TESTS_OPS_DRAW_INDEXED_H

static inline void draw_mode(uint64_t *seed, program *p) {
    bool block = is_block(p->dtype), added = p->row->op == MIA_OP_unsqueeze;
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, block ? 2 : 1));
    if (added && shape.ndim == MIA_MAX_MODES) shape = (mia_shape){2, {shape.extent[0], 3}};
    int64_t first = block ? 1 : 0, count = (int64_t)shape.ndim - first + added;
    p->mode = (uint32_t)(first + test_below(seed, count));
    p->a = first + test_below(seed, count);
    (void)add_operand(seed, p, p->dtype, &shape);
}

/* Sometimes as many places of the mode as need more than the simplest order. */
static inline int64_t draw_places(uint64_t *seed, int64_t beside) {
    if (beside <= 64 && test_below(seed, 4) == 0) return test_below(seed, 300);
    return test_below(seed, 12);
}

static inline int64_t elements_beside(const mia_shape *shape, uint32_t mode) {
    mia_shape beside = *shape;
    beside.extent[mode] = 1;
    return elements_of(&beside);
}

static inline void draw_take(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, 1));
    p->mode = (uint32_t)test_below(seed, shape.ndim);
    mia_shape indices = shape;
    int64_t places = draw_places(seed, elements_beside(&shape, p->mode));
    if (p->row->op == MIA_OP_take) {
        indices = (mia_shape){(uint32_t)test_below(seed, 4), {places, 1 + test_below(seed, 3), 1}};
        while (shape.ndim + indices.ndim > MIA_MAX_MODES + 1) indices.ndim--;
    } else {
        for (uint32_t m = 0; m < shape.ndim; m++) /* often all that there is */
            if (test_below(seed, 3) == 0) indices.extent[m] = test_below(seed, shape.extent[m] + 1);
        indices.extent[p->mode] = places;
    }
    (void)add_operand(seed, p, p->dtype, &shape);
    operand_integers(seed, add_operand(seed, p, MIA_i32, &indices), -2, shape.extent[p->mode] + 1);
}

static inline void draw_scatter(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, 1)), part = shape, indices;
    p->mode = (uint32_t)test_below(seed, shape.ndim);
    part.extent[p->mode] = draw_places(seed, elements_beside(&shape, p->mode));
    indices = (mia_shape){1, {part.extent[p->mode]}};
    if (p->row->op == MIA_OP_scatter_along) {
        for (uint32_t m = 0; m < shape.ndim; m++)
            if (m != p->mode && test_below(seed, 3) == 0)
                part.extent[m] = test_below(seed, shape.extent[m] + 1);
        indices = part;
    }
    p->a = test_below(seed, 5);
    (void)add_operand(seed, p, p->dtype, &shape);
    operand_integers(seed, add_operand(seed, p, MIA_i32, &indices), -2, shape.extent[p->mode] + 1);
    (void)add_operand(seed, p, p->dtype, &part);
}

static inline void draw_shifted(uint64_t *seed, program *p) {
    static const int64_t far[] = {INT64_MIN, INT64_MAX, INT64_MIN + 1, 1000000007};
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, p->row->form == SIGNATURE_TRIANGLE ? 2 : 1));
    p->mode = (uint32_t)test_below(seed, shape.ndim);
    p->a = test_below(seed, 5) == 0 ? far[test_below(seed, 4)] : test_below(seed, 40) - 20;
    (void)add_operand(seed, p, p->dtype, &shape);
}

static inline void draw_creation(uint64_t *seed, program *p) {
    mia_shape one = {.ndim = (uint32_t)test_below(seed, 3), .extent = {1, 1}}, two = {1, {2}};
    p->a = draw_extent(seed) * draw_extent(seed);
    p->target = draw_real_type(seed);
    (void)add_operand(seed, p, p->dtype, p->row->form == SIGNATURE_RANDOM ? &two : &one);
    if (p->row->form == SIGNATURE_ARANGE) (void)add_operand(seed, p, p->dtype, &one);
}

#endif
