/* Draws programs for the conformance test: for a row and a type, operands of fitting shapes with odd extents,
 * none, or many modes, and attributes. A form a signature of ops.def. */
#ifndef MIA_TESTS_OPS_DRAW_H
#define MIA_TESTS_OPS_DRAW_H

#include "ops/program.h"

/* The families: draw_indexed.h movement and creation, draw_scan.h, draw_norm.h, draw_window.h; below: the rest and
 * the switch. */

static inline int64_t draw_extent(uint64_t *seed) {
    static const int64_t extents[] = {1, 3, 17, 33, 257, 2, 5, 1, 3, 4, 8, 16, 64};
    if (test_below(seed, 40) == 0) return 0;
    return extents[test_below(seed, (int64_t)(sizeof extents / sizeof *extents))];
}

/* A shape of `ndim` modes and not many elements; mode 0 of whole blocks. */
static inline mia_shape draw_shape(uint64_t *seed, mia_dtype dtype, uint32_t ndim) {
    mia_shape shape = {.ndim = ndim};
    int64_t most = test_below(seed, 20) == 0 ? 60000 : 3000, count = 1, first = test_below(seed, 8);
    for (uint32_t i = 0; i < ndim; i++) {
        uint32_t m = (i + (uint32_t)first) % ndim;
        int64_t block = m == 0 ? block_of(dtype) : 1, extent = draw_extent(seed);
        if (block > 1) extent = extent > 5 ? 3 : extent;
        while (extent > 0 && extent * block * count > most) extent = extent == 1 ? 0 : extent / 2;
        if (extent == 0 && count > 1 && test_below(seed, 8) != 0) extent = 1;
        shape.extent[m] = extent * block;
        if (extent > 0) count *= extent * block;
    }
    return shape;
}

static inline uint32_t draw_ndim(uint64_t *seed, uint32_t least) {
    int64_t often = test_below(seed, 3);
    return least + (uint32_t)test_below(seed, (often == 0 ? MIA_MAX_MODES : 3) - (int64_t)least + 1);
}

static inline operand *add_operand(uint64_t *seed, program *p, mia_dtype dtype, const mia_shape *shape) {
    operand *o = &p->operands[p->count++];
    *o = (operand){.dtype = dtype, .shape = *shape};
    operand_draw(seed, o, p->mood);
    return o;
}

/* Shape that repeats to `shape`: some extents 1, some of the last modes gone. */
static inline mia_shape draw_smaller(uint64_t *seed, const mia_shape *shape) {
    mia_shape small = *shape;
    if (test_below(seed, 2) == 0) return small;
    for (uint32_t m = 0; m < small.ndim; m++)
        if (test_below(seed, 3) == 0) small.extent[m] = 1;
    if (test_below(seed, 3) == 0) small.ndim = (uint32_t)test_below(seed, small.ndim + 1);
    return small;
}

static inline bool same_shape(const mia_shape *a, const mia_shape *b) {
    bool same = a->ndim == b->ndim;
    for (uint32_t m = 0; same && m < a->ndim; m++) same = a->extent[m] == b->extent[m];
    return same;
}

static inline void draw_binary(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, 0));
    mia_shape a = draw_smaller(seed, &shape), b = draw_smaller(seed, &shape);
    operand *first = add_operand(seed, p, p->dtype, &a);
    operand *second = add_operand(seed, p, p->dtype, &b);
    if (!same_shape(&a, &b) || test_below(seed, 6) != 0) return;
    operand_free(second);
    *second = *first; /* x + x */
    second->repeated = true;
    second->data = second->seen = NULL;
    second->numbers = NULL;
}

/* The numbers of `from` in other modes: extents cut up or joined. */
static inline mia_shape draw_reshaped(uint64_t *seed, mia_dtype dtype, const mia_shape *from) {
    mia_shape to = {.ndim = 1, .extent = {elements_of(from)}};
    int64_t block = block_of(dtype);
    if (to.extent[0] == 0) return *from;
    while (to.ndim < MIA_MAX_MODES && test_below(seed, 4) != 0) {
        static const int64_t divisors[] = {2, 3, 17, 257, 11, 4, 1};
        uint32_t m = (uint32_t)test_below(seed, to.ndim);
        int64_t by = divisors[test_below(seed, 7)];
        if (to.extent[m] % by != 0 || (m == 0 && to.extent[0] / by % block != 0)) continue;
        to.extent[m] /= by;
        to.extent[to.ndim++] = by;
    }
    return to;
}

static inline void draw_shaped(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, is_block(p->dtype) ? 1 : 0));
    if (p->row->op == MIA_OP_broadcast) {
        p->shape = shape;
        for (uint32_t m = is_block(p->dtype) ? 1 : 0; m < shape.ndim; m++)
            if (test_below(seed, 2) == 0) shape.extent[m] = 1;
        while (shape.ndim > (is_block(p->dtype) ? 1u : 0u) && test_below(seed, 3) == 0) shape.ndim--;
    } else if (p->row->op == MIA_OP_permute) {
        operand like = {.dtype = p->dtype, .base = shape};
        unpermute(seed, &like);
        p->shape = like.views[0].shape;
    }
    (void)add_operand(seed, p, p->dtype, &shape);
    if (p->row->op == MIA_OP_reshape) p->shape = draw_reshaped(seed, p->dtype, &shape);
}

/* What becomes of a cast or a conversion: blocks are no other bytes, and the numbers inside units have to
 * correspond. */
static inline mia_status expected_of(const program *p, bool other_units) {
    if (p->dtype == p->target) return MIA_OK;
    bool blocks = is_block(p->dtype) || is_block(p->target);
    if (p->row->op == MIA_OP_cast) return blocks ? MIA_ERROR_TYPE_MISMATCH : MIA_OK;
    bool unlike = other_units || p->dtype == MIA_u4x8 || p->target == MIA_u4x8;
    return unlike ? MIA_ERROR_TYPE_MISMATCH : MIA_OK;
}

static inline void draw_typed(uint64_t *seed, program *p) {
    uint32_t least = is_block(p->dtype) || is_block(p->target) || p->row->op == MIA_OP_cast ? 1 : 0;
    mia_shape shape = draw_shape(seed, is_block(p->target) ? p->target : p->dtype, draw_ndim(seed, least));
    int64_t inner, target_inner;
    (void)scalar_of(p->dtype, &inner);
    (void)scalar_of(p->target, &target_inner);
    if (is_block(p->dtype) && is_block(p->target)) shape.extent[0] = 256 * (shape.extent[0] / 256 + 1);
    if (p->row->op == MIA_OP_cast && !is_block(p->dtype)) {
        if (elements_of(&shape) > MOST_ELEMENTS / 64) shape = (mia_shape){1, {shape.extent[0]}};
        shape.extent[0] *= 16;
    }
    if (is_block(p->target)) p->mood = MOOD_PLAIN; /* others give blocks without a meaning */
    p->expected = expected_of(p, inner != target_inner);
    operand *o = add_operand(seed, p, p->dtype, &shape);
    if (is_block(p->target) && is_real(p->dtype)) operand_zeros(seed, o);
}

static inline void draw_slice(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, 1));
    operand o = {.dtype = p->dtype, .base = shape};
    p->mode = (uint32_t)test_below(seed, shape.ndim);
    unslice(seed, &o, p->mode);
    (void)add_operand(seed, p, p->dtype, &o.base);
    p->a = o.views[0].begin;
    p->b = o.views[0].count;
    p->c = o.views[0].step;
}

/* A style, and as much at each end as it can give. */
static inline void draw_padding(uint64_t *seed, program *p, int64_t extent) {
    static const double numbers[] = {0, 1, -2.5, 300, 0.1, 1e30, -1e300, (double)NAN, -(double)INFINITY};
    p->c = test_below(seed, 4);
    int64_t most = p->c == MIA_PAD_CYCLE                    ? extent
                   : p->c == MIA_PAD_MIRROR && extent > 0   ? extent - 1
                   : p->c == MIA_PAD_CONSTANT || extent > 0 ? 40
                                                            : 0;
    p->a = test_below(seed, most < 40 ? most + 1 : 40);
    p->b = test_below(seed, most < 40 ? most + 1 : 40);
    p->real = numbers[test_below(seed, 9)];
}

static inline void draw_along_mode(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, 1)), other = shape, one = {0};
    p->mode = (uint32_t)test_below(seed, shape.ndim);
    int64_t block = p->mode == 0 ? block_of(p->dtype) : 1;
    (void)add_operand(seed, p, p->dtype, &shape);
    if (p->row->form == SIGNATURE_PAD) {
        draw_padding(seed, p, shape.extent[p->mode]);
    } else if (p->row->form == SIGNATURE_CONCAT) {
        other.extent[p->mode] = block * (draw_extent(seed) % (block > 1 ? 4 : 40));
        (void)add_operand(seed, p, p->dtype, &other);
    } else {
        other.extent[p->mode] = block * test_below(seed, shape.extent[p->mode] / block + 1);
        (void)add_operand(seed, p, p->dtype, &other);
        if (test_below(seed, 2) == 0) one = (mia_shape){.ndim = 1, .extent = {1}};
        operand_integers(seed, add_operand(seed, p, MIA_i32, &one), -3, shape.extent[p->mode] + 3);
    }
}

static inline void draw_gather(uint64_t *seed, program *p) {
    mia_shape table = draw_shape(seed, p->dtype, 2);
    mia_shape indices = draw_shape(seed, MIA_i32, (uint32_t)test_below(seed, 4));
    for (uint32_t m = 0; m < indices.ndim; m++)
        indices.extent[m] = indices.extent[m] > 33 ? 17 : indices.extent[m];
    if (test_below(seed, 20) == 0) indices = (mia_shape){7, {2, 1, 3, 1, 2, 1, 2}};
    (void)add_operand(seed, p, p->dtype, &table);
    operand_integers(seed, add_operand(seed, p, MIA_i32, &indices), -2, table.extent[1] + 1);
}

static inline void draw_norm(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, 1)), row_shape = {1, {shape.extent[0]}};
    (void)add_operand(seed, p, p->dtype, &shape);
    (void)add_operand(seed, p, p->dtype, &row_shape);
    if (p->row->form == SIGNATURE_NORM_BIAS) (void)add_operand(seed, p, p->dtype, &row_shape);
    p->real = test_below(seed, 2) == 0 ? 1e-5 : 1e-6;
}

static inline void draw_rope(uint64_t *seed, program *p) {
    static const int64_t dims[] = {2, 4, 8, 33, 64, 17, 128, 3, 1};
    int64_t dim = dims[test_below(seed, 9)], tokens = draw_extent(seed) % 40;
    mia_shape x = {3, {dim, 1 + test_below(seed, 5), tokens}}, positions = {1, {tokens}};
    mia_shape frequencies = {1, {test_below(seed, 3) == 0 ? test_below(seed, dim / 2 + 1) : dim / 2}};
    (void)add_operand(seed, p, p->dtype, &x);
    operand_integers(seed, add_operand(seed, p, MIA_i32, &positions), -1,
                     test_below(seed, 2) == 0 ? 100 : 100000);
    mood m = p->mood;
    p->mood = MOOD_PLAIN;
    (void)add_operand(seed, p, MIA_f32, &frequencies);
    p->mood = m;
    p->mode = (uint32_t)test_below(seed, 2);
    p->real = test_below(seed, 2) == 0 ? 1.0 : 1.19;
}

static inline mia_dtype draw_real_type(uint64_t *seed) {
    return (mia_dtype)(MIA_f32 + test_below(seed, only_normal_numbers ? 3 : 4));
}

static inline void draw_attention(uint64_t *seed, program *p) {
    static const int64_t dims[] = {1, 3, 16, 17, 33, 64, 128, 8, 257};
    int64_t d = dims[test_below(seed, 9)], e = test_below(seed, 2) == 0 ? d : dims[test_below(seed, 9)];
    int64_t groups = 1 + test_below(seed, 3), heads = groups * (1 + test_below(seed, 4));
    int64_t rows_held = test_below(seed, 10) == 0 ? 257 : 1 + test_below(seed, 40),
            tokens = test_below(seed, 18);
    if (test_below(seed, 2) == 0) tokens = 1;
    if (test_below(seed, 8) == 0) /* a prompt that is long enough for a GPU's attention by matrices */
        tokens = 33 + test_below(seed, 70), groups = 1, heads = 1 + test_below(seed, 2);
    mia_shape q = {3, {d, heads, tokens}}, k = {3, {d, rows_held, groups}}, v = {3, {e, rows_held, groups}},
              one = {0};
    mia_dtype cache = test_below(seed, 2) == 0 ? p->dtype : draw_real_type(seed);
    (void)add_operand(seed, p, p->dtype, &q);
    (void)add_operand(seed, p, cache, &k);
    (void)add_operand(seed, p, test_below(seed, 4) != 0 ? cache : draw_real_type(seed), &v);
    operand_integers(seed, add_operand(seed, p, MIA_i32, &one), test_below(seed, 6) == 0 ? -1 : rows_held / 2,
                     rows_held);
    p->real = 1 / sqrt((double)d);
}

static inline void draw_matmul(uint64_t *seed, program *p) {
    static const int64_t depths[] = {1, 3, 17, 33, 257, 64, 128, 0},
                         sizes[] = {1, 3, 17, 33, 1, 2, 5, 257, 64, 0};
    int64_t block = block_of(p->dtype), depth = depths[test_below(seed, 7 + (test_below(seed, 8) == 0))];
    if (block > 1) depth = block * (depth > 33 ? depth % 11 : depth % 5);
    mia_shape w = {2, {depth, sizes[test_below(seed, 9 + (test_below(seed, 8) == 0))]}};
    mia_shape x = {2, {depth, sizes[test_below(seed, 9 + (test_below(seed, 8) == 0))]}};
    while (w.extent[1] * x.extent[1] * depth > 400000) w.extent[1] /= 2;
    if (test_below(seed, 4) == 0) x.ndim = 1;
    int64_t small = elements_of(&w) + elements_of(&x) < 4000;
    for (uint32_t m = 2; small && x.ndim > 1 && m < MIA_MAX_MODES && test_below(seed, 2) == 0; m++) {
        int64_t repeats = 1 + test_below(seed, 3);
        w.extent[m] = test_below(seed, 3) == 0 ? 1 : repeats;
        x.extent[m] = test_below(seed, 3) == 0 ? 1 : repeats;
        w.ndim = x.ndim = m + 1;
    }
    if (w.ndim > 2 && test_below(seed, 2) == 0) w.ndim = 2;
    (void)add_operand(seed, p, p->dtype, &w);
    (void)add_operand(seed, p, test_below(seed, 2) == 0 ? MIA_f32 : draw_real_type(seed), &x);
}

static inline void draw_where(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, 0));
    mia_shape c = draw_smaller(seed, &shape), a = draw_smaller(seed, &shape), b = draw_smaller(seed, &shape);
    (void)add_operand(seed, p, MIA_bool8, &c);
    (void)add_operand(seed, p, p->dtype, &a);
    (void)add_operand(seed, p, p->dtype, &b);
}

/* x, and one or two numbers. */
static inline void draw_parameters(uint64_t *seed, program *p) {
    static const double numbers[] = {0, 0.01, 0.2, 1, 1.5, -0.5, 7, 100};
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, 0));
    (void)add_operand(seed, p, p->dtype, &shape);
    p->real = numbers[test_below(seed, 8)];
    p->high = p->real + numbers[test_below(seed, 5)];
}

static inline void draw_modes(uint64_t *seed, program *p) {
    mia_shape shape = draw_shape(seed, p->dtype, draw_ndim(seed, is_block(p->dtype) ? 1 : 0));
    p->mode = test_below(seed, 3) == 0 ? MIA_ALL_MODES : (uint32_t)test_below(seed, MIA_ALL_MODES + 1);
    operand *x = add_operand(seed, p, p->dtype, &shape);
    if (!is_block(p->dtype) && test_below(seed, 3) == 0) operand_repeat(seed, x);
}

#include "ops/draw_indexed.h"
#include "ops/draw_norm.h"
#include "ops/draw_scan.h"
#include "ops/draw_window.h"

/* A program of a row and a type; `target` is the other type of casts and conversions. */
static inline void program_draw(uint64_t *seed, program *p, const row *of, mia_dtype dtype,
                                mia_dtype target) {
    static const mood moods[] = {MOOD_PLAIN, MOOD_PLAIN, MOOD_EXTREME, MOOD_EXTREME, MOOD_ANY};
    *p = (program){.row = of, .dtype = dtype, .target = target, .mood = moods[test_below(seed, 5)]};
    mia_shape shape;
    switch (of->form) {
    case SIGNATURE_UNARY:
        shape = draw_shape(seed, dtype, draw_ndim(seed, is_block(dtype) ? 1 : 0));
        (void)add_operand(seed, p, dtype, &shape);
        break;
    case SIGNATURE_MODES:
    case SIGNATURE_ARG_MODES: draw_modes(seed, p); break;
    case SIGNATURE_BINARY:
    case SIGNATURE_COMPARE: draw_binary(seed, p); break;
    case SIGNATURE_WHERE: draw_where(seed, p); break;
    case SIGNATURE_REAL:
    case SIGNATURE_RANGE:
        draw_parameters(seed, p);
        if (of->op == MIA_OP_l2_norm) draw_l2_norm(seed, p);
        break;
    case SIGNATURE_SHAPE: draw_shaped(seed, p); break;
    case SIGNATURE_DTYPE: draw_typed(seed, p); break;
    case SIGNATURE_SLICE: draw_slice(seed, p); break;
    case SIGNATURE_MODE:
    case SIGNATURE_TWO_MODES: draw_mode(seed, p); break;
    case SIGNATURE_CONCAT:
    case SIGNATURE_PAD:
    case SIGNATURE_UPDATE: draw_along_mode(seed, p); break;
    case SIGNATURE_GATHER:
    case SIGNATURE_EMBEDDING: draw_gather(seed, p); break;
    case SIGNATURE_TAKE: draw_take(seed, p); break;
    case SIGNATURE_SCATTER: draw_scatter(seed, p); break;
    case SIGNATURE_ROLL:
    case SIGNATURE_TRIANGLE: draw_shifted(seed, p); break;
    case SIGNATURE_SCAN:
    case SIGNATURE_SORT:
    case SIGNATURE_ARG_SORT:
    case SIGNATURE_TOP_K:
    case SIGNATURE_ARG_TOP_K: draw_scan(seed, p); break;
    case SIGNATURE_NORM:
    case SIGNATURE_NORM_BIAS: draw_norm(seed, p); break;
    case SIGNATURE_GROUP_NORM: draw_group_norm(seed, p); break;
    case SIGNATURE_ROPE: draw_rope(seed, p); break;
    case SIGNATURE_ATTENTION: draw_attention(seed, p); break;
    case SIGNATURE_ATTENTION_MASKED: draw_attention_masked(seed, p); break;
    case SIGNATURE_MATMUL: draw_matmul(seed, p); break;
    case SIGNATURE_CONV: draw_convolution(seed, p); break;
    case SIGNATURE_POOL: draw_pool(seed, p); break;
    case SIGNATURE_ARANGE:
    case SIGNATURE_RANDOM: draw_creation(seed, p); break;
    }
}

#endif
