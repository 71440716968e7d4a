/* View arithmetic (graph/view.h) against enumeration: a value is a list of where each of its elements lies,
 * every view operation is done on the list by indices alone, and the view has to name the same places. Then
 * refusals, word for word. */
#include "graph/view.h"

#include "support.h"

#include <mia/ops.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MOST 4096

/* Where the units of a value lie, first mode fastest; mode 0 counts units (blocks of block types). */
typedef struct places {
    uint32_t ndim;
    int64_t extent[MIA_MAX_MODES];
    int64_t count;
    int64_t at[MOST];
} places;

static int64_t block_of(mia_dtype dtype) {
    const mia_dtype_info *info = mia_dtype_describe(dtype);
    return info->kind == MIA_KIND_BLOCK ? (int64_t)info->elements : 1;
}

static void count_places(places *p) {
    p->count = 1;
    for (uint32_t m = 0; m < p->ndim; m++) p->count *= p->extent[m];
}

static void index_of(const places *p, int64_t number, int64_t *index) {
    for (uint32_t m = 0; m < p->ndim; m++) {
        index[m] = number % p->extent[m];
        number /= p->extent[m];
    }
}

static int64_t number_of(const places *p, const int64_t *index) {
    int64_t number = 0;
    for (uint32_t m = p->ndim; m-- > 0;) number = number * p->extent[m] + index[m];
    return number;
}

static mia_shape shape_of(mia_dtype dtype, const places *p) {
    mia_shape shape = {.ndim = p->ndim};
    for (uint32_t m = 0; m < p->ndim; m++) shape.extent[m] = p->extent[m] * (m == 0 ? block_of(dtype) : 1);
    return shape;
}

/* The view names the places, each of them. */
static void check(mia_dtype dtype, const mia__view *view, const places *p, const char *what) {
    bool compact = view->offset == 0;
    if (view->ndim != p->ndim) fail_msg("%s: %u modes in place of %u", what, view->ndim, p->ndim);
    mia_shape shape = shape_of(dtype, p);
    for (uint32_t m = 0; m < p->ndim; m++)
        if (view->extent[m] != shape.extent[m]) fail_msg("%s: extent of mode %u", what, m);
    for (int64_t i = 0; i < p->count; i++) {
        int64_t index[MIA_MAX_MODES], at = view->offset;
        index_of(p, i, index);
        for (uint32_t m = 0; m < p->ndim; m++) at += index[m] * view->stride[m];
        if (at != p->at[i])
            fail_msg("%s: element %d lies at %d, not %d", what, (int)i, (int)p->at[i], (int)at);
        compact = compact && at == i;
    }
    if (p->count > 0) assert_int_equal(mia__view_is_compact(dtype, view), compact);
    assert_int_equal(mia__view_count(view), p->count * (p->ndim > 0 ? block_of(dtype) : 1));
    assert_int_equal(mia__view_bytes(dtype, view), (size_t)p->count * mia_dtype_describe(dtype)->bytes);
}

/* Whether any offset and strides name these places; blocks along mode 0 have to follow each other. */
static bool is_strided(mia_dtype dtype, const places *p) {
    if (block_of(dtype) > 1 && p->count > 0 && p->extent[0] > 1 && p->at[1] != p->at[0] + 1) return false;
    for (int64_t i = 0; i < p->count; i++) {
        int64_t index[MIA_MAX_MODES], at = p->at[0];
        index_of(p, i, index);
        for (uint32_t m = 0; m < p->ndim; m++) {
            int64_t one[MIA_MAX_MODES] = {0};
            one[m] = 1;
            if (p->extent[m] > 1) at += index[m] * (p->at[number_of(p, one)] - p->at[0]);
        }
        if (at != p->at[i]) return false;
    }
    return true;
}

/* --- the operations, each on both; false when the drawn one does not apply -------------------- */

static places next; /* too large for the stack of every test to hold twice */

static bool try_permute(uint64_t *seed, mia_dtype dtype, mia__view *view, places *p) {
    mia_shape order = {.ndim = p->ndim};
    uint32_t first = block_of(dtype) > 1 ? 1 : 0;
    for (uint32_t m = 0; m < p->ndim; m++) order.extent[m] = m;
    for (uint32_t m = p->ndim; m > first + 1; m--) {
        uint32_t other = first + (uint32_t)test_below(seed, m - first);
        int64_t swap = order.extent[m - 1];
        order.extent[m - 1] = order.extent[other];
        order.extent[other] = swap;
    }
    assert_int_equal(mia__view_permute(dtype, view, &order, view, NULL), MIA_OK);
    next = *p;
    for (uint32_t m = 0; m < p->ndim; m++) next.extent[m] = p->extent[order.extent[m]];
    for (int64_t i = 0; i < next.count; i++) {
        int64_t index[MIA_MAX_MODES], from[MIA_MAX_MODES];
        index_of(&next, i, index);
        for (uint32_t m = 0; m < p->ndim; m++) from[order.extent[m]] = index[m];
        next.at[i] = p->at[number_of(p, from)];
    }
    return true;
}

static bool try_slice(uint64_t *seed, mia_dtype dtype, mia__view *view, places *p) {
    if (p->ndim == 0) return false;
    uint32_t mode = (uint32_t)test_below(seed, p->ndim);
    int64_t block = mode == 0 ? block_of(dtype) : 1, extent = p->extent[mode];
    int64_t begin = extent > 0 ? test_below(seed, extent) : 0, step = block > 1 ? 1 : test_below(seed, 7) - 3;
    int64_t room = step > 0 ? (extent - begin + step - 1) / step : step < 0 ? begin / -step + 1 : 1;
    int64_t count = extent > 0 ? test_below(seed, room + 1) : 0;
    assert_int_equal(mia__view_slice(dtype, view, mode, begin * block, count * block, step, view, NULL),
                     MIA_OK);
    next = *p;
    next.extent[mode] = count;
    count_places(&next);
    for (int64_t i = 0; i < next.count; i++) {
        int64_t index[MIA_MAX_MODES];
        index_of(&next, i, index);
        index[mode] = begin + index[mode] * step;
        next.at[i] = p->at[number_of(p, index)];
    }
    return true;
}

static bool try_broadcast(uint64_t *seed, mia_dtype dtype, mia__view *view, places *p) {
    next = *p;
    if (p->ndim == 0 && block_of(dtype) > 1) return false;
    for (uint32_t m = block_of(dtype) > 1 ? 1 : 0; m < p->ndim; m++)
        if (p->extent[m] == 1) next.extent[m] = test_below(seed, 4);
    while (next.ndim < MIA_MAX_MODES && test_below(seed, 3) == 0)
        next.extent[next.ndim++] = 1 + test_below(seed, 3);
    count_places(&next);
    if (next.count > MOST) return false;
    mia_shape shape = shape_of(dtype, &next);
    assert_int_equal(mia__view_broadcast(dtype, view, &shape, view, NULL), MIA_OK);
    for (int64_t i = 0; i < next.count; i++) {
        int64_t index[MIA_MAX_MODES];
        index_of(&next, i, index);
        for (uint32_t m = 0; m < p->ndim; m++)
            if (p->extent[m] == 1) index[m] = 0;
        next.at[i] = p->at[number_of(p, index)];
    }
    return true;
}

static bool try_reshape(uint64_t *seed, mia_dtype dtype, mia__view *view, places *p) {
    if (p->ndim == 0 && block_of(dtype) > 1) return false;
    next = *p;
    next.ndim = p->count == 1 && block_of(dtype) == 1 ? (uint32_t)test_below(seed, 2) : 1;
    next.extent[0] = p->count;
    for (int tries = 0; tries < 8 && next.ndim > 0 && next.ndim < MIA_MAX_MODES; tries++) {
        uint32_t m = (uint32_t)test_below(seed, next.ndim);
        int64_t by = 1 + test_below(seed, 4);
        if (p->count == 0 || next.extent[m] % by != 0) continue;
        next.extent[next.ndim++] = by;
        next.extent[m] /= by;
    }
    mia_shape shape = shape_of(dtype, &next);
    mia__view out;
    bool needs_copy = false;
    assert_int_equal(mia__view_reshape(dtype, view, &shape, &out, &needs_copy, NULL), MIA_OK);
    assert_int_equal(needs_copy, !is_strided(dtype, &next)); /* it copies when it has to, and only then */
    if (needs_copy) return false;
    *view = out;
    return true;
}

static const mia_dtype casts[] = {MIA_f32, MIA_f16, MIA_u8, MIA_f64, MIA_f32x4, MIA_u8x4, MIA_i32, MIA_f16x4};

static bool try_cast(uint64_t *seed, mia_dtype *dtype, mia__view *view, places *p) {
    mia_dtype to = casts[test_below(seed, (int64_t)(sizeof casts / sizeof *casts))];
    int64_t a = mia_dtype_describe(*dtype)->bytes, b = mia_dtype_describe(to)->bytes;
    if (block_of(*dtype) > 1 || p->count == 0 || p->ndim == 0) return false;
    if (b > a ? p->extent[0] % (b / a) != 0 : p->count * (a / b) > MOST) return false;
    next = *p;
    next.extent[0] = p->extent[0] * a / b;
    count_places(&next);
    bool possible = true;
    for (int64_t i = 0; i < next.count; i++) {
        int64_t byte = a >= b ? p->at[i * b / a] * a + i * b % a : p->at[i * b / a] * a;
        for (int64_t k = 1; k < b / a; k++)
            possible = possible && p->at[i * b / a + k] == p->at[i * b / a] + k;
        possible = possible && byte % b == 0;
        next.at[i] = byte / b;
    }
    mia__view out;
    bool needs_copy = false;
    assert_int_equal(mia__view_cast(*dtype, view, to, &out, &needs_copy, NULL), MIA_OK);
    if (needs_copy) {
        assert_false(possible && is_strided(to, &next));
        return false;
    }
    assert_true(possible);
    *view = out;
    *dtype = to;
    return true;
}

static bool try_transpose(uint64_t *seed, mia_dtype dtype, mia__view *view, places *p) {
    uint32_t first = block_of(dtype) > 1 ? 1 : 0;
    if (p->ndim <= first) return false;
    uint32_t a = first + (uint32_t)test_below(seed, p->ndim - first),
             b = first + (uint32_t)test_below(seed, p->ndim - first);
    assert_int_equal(mia__view_transpose(dtype, view, a, b, view, NULL), MIA_OK);
    next = *p;
    next.extent[a] = p->extent[b];
    next.extent[b] = p->extent[a];
    for (int64_t i = 0; i < next.count; i++) {
        int64_t index[MIA_MAX_MODES];
        index_of(&next, i, index);
        int64_t swap = index[a];
        index[a] = index[b];
        index[b] = swap;
        next.at[i] = p->at[number_of(p, index)];
    }
    return true;
}

/* The order of elements stays: places do not move. A mode 0 of one block has more elements than one. */
static bool try_squeeze(uint64_t *seed, mia_dtype dtype, mia__view *view, places *p) {
    uint32_t modes = (uint32_t)test_below(seed, MIA_ALL_MODES + 1);
    mia__view_squeeze(dtype, view, modes, view);
    next = *p;
    next.ndim = 0;
    for (uint32_t m = 0; m < p->ndim; m++) {
        bool goes = (modes & MIA_MODE(m)) != 0 && p->extent[m] == 1 && (m > 0 || block_of(dtype) == 1);
        if (!goes) next.extent[next.ndim++] = p->extent[m];
    }
    return true;
}

static bool try_unsqueeze(uint64_t *seed, mia_dtype dtype, mia__view *view, places *p) {
    uint32_t first = block_of(dtype) > 1 ? 1 : 0;
    if (p->ndim == MIA_MAX_MODES || p->ndim < first) return false;
    uint32_t mode = first + (uint32_t)test_below(seed, p->ndim - first + 1);
    assert_int_equal(mia__view_unsqueeze(dtype, view, mode, view, NULL), MIA_OK);
    next = *p;
    next.ndim = p->ndim + 1;
    for (uint32_t m = 0; m < next.ndim; m++) next.extent[m] = m == mode ? 1 : p->extent[m < mode ? m : m - 1];
    return true;
}

static void draw_compact(uint64_t *seed, mia_dtype dtype, mia__view *view, places *p) {
    p->ndim = (uint32_t)test_below(seed, MIA_MAX_MODES + 1);
    if (block_of(dtype) > 1 && p->ndim == 0) p->ndim = 1;
    p->count = 1;
    for (uint32_t m = 0; m < p->ndim; m++) {
        p->extent[m] = test_below(seed, 40) == 0 ? 0 : 1 + test_below(seed, m == 0 ? 24 : 5);
        if (p->count * p->extent[m] > MOST) p->extent[m] = 1;
        p->count *= p->extent[m];
    }
    for (int64_t i = 0; i < p->count; i++) p->at[i] = i;
    mia_shape shape = shape_of(dtype, p);
    *view = mia__view_compact(dtype, &shape);
}

static void test_against_enumeration(void **state) {
    (void)state;
    static const mia_dtype types[] = {MIA_f32,   MIA_f16,  MIA_u8,   MIA_f64,
                                      MIA_f32x4, MIA_q8_0, MIA_q4_K, MIA_bool8};
    static const char *const names[] = {"permute", "slice",     "broadcast", "reshape",
                                        "cast",    "transpose", "squeeze",   "unsqueeze"};
    static places p;
    uint64_t seed = test_seed();
    int rounds = getenv("MIA_TEST_LONG") != NULL ? 200000 : 4000, done[8] = {0};
    for (int round = 0; round < rounds; round++) {
        mia_dtype dtype = types[test_below(&seed, 8)];
        mia__view view;
        draw_compact(&seed, dtype, &view, &p);
        check(dtype, &view, &p, "compact");
        for (int i = 0; i < 8; i++) {
            int64_t op = test_below(&seed, 8);
            bool applied = op == 0   ? try_permute(&seed, dtype, &view, &p)
                           : op == 1 ? try_slice(&seed, dtype, &view, &p)
                           : op == 2 ? try_broadcast(&seed, dtype, &view, &p)
                           : op == 3 ? try_reshape(&seed, dtype, &view, &p)
                           : op == 4 ? try_cast(&seed, &dtype, &view, &p)
                           : op == 5 ? try_transpose(&seed, dtype, &view, &p)
                           : op == 6 ? try_squeeze(&seed, dtype, &view, &p)
                                     : try_unsqueeze(&seed, dtype, &view, &p);
            if (!applied) continue;
            p = next;
            check(dtype, &view, &p, names[op]);
            done[op]++;
        }
    }
    for (int op = 0; op < 8; op++)
        if (done[op] < rounds / 30) fail_msg("%s was tried %d times alone", names[op], done[op]);
}

/* --- refusals --------------------------------------------------------------------------------- */

typedef struct refusal {
    mia_op op;
    mia_dtype dtype;
    mia_shape in;
    mia_shape shape;   /* reshape, permute, broadcast */
    int64_t number[4]; /* slice: mode, begin, count, step; cast: type */
    const char *message;
} refusal;

#define HUGE_EXTENT (INT64_C(1) << 62)

static const refusal refusals[] = {
    {MIA_OP_reshape,
     MIA_f32,
     {2, {3, 2}},
     {1, {4}},
     {0},
     "reshape: shape [3, 2] has 6 elements, shape [4] has 4"},
    {MIA_OP_reshape, MIA_f32, {1, {0}}, {0, {0}}, {0}, "reshape: shape [0] has 0 elements, shape [] has 1"},
    {MIA_OP_reshape, MIA_f32, {1, {6}}, {2, {-2, -3}}, {0}, "reshape: mode 0 of shape [-2, -3] is negative"},
    {MIA_OP_reshape, MIA_f32, {1, {6}}, {9, {0}}, {0}, "reshape: a shape of 9 modes; at most 8 are held"},
    {MIA_OP_reshape,
     MIA_f32,
     {1, {6}},
     {UINT32_MAX, {0}},
     {0},
     "reshape: a shape of 4294967295 modes; at most 8 are held"},
    {MIA_OP_reshape,
     MIA_q8_0,
     {1, {64}},
     {2, {16, 4}},
     {0},
     "reshape: mode 0 of shape [16, 4] is not a multiple of q8_0's block of 32"},
    {MIA_OP_reshape, MIA_q8_0, {1, {64}}, {0, {0}}, {0}, "reshape: a single number cannot be q8_0"},
    {MIA_OP_reshape,
     MIA_f32,
     {1, {6}},
     {1, {HUGE_EXTENT}},
     {0},
     "reshape: shape [4611686018427387904] of f32 is larger than any memory"},
    {MIA_OP_reshape,
     MIA_u8,
     {1, {6}},
     {1, {INT64_MAX}},
     {0},
     "reshape: shape [9223372036854775807] of u8 is larger than any memory"},
    {MIA_OP_reshape,
     MIA_u8,
     {1, {0}},
     {3, {0, HUGE_EXTENT, 4}},
     {0},
     "reshape: shape [0, 4611686018427387904, 4] of u8 is larger than any memory"},
    {MIA_OP_reshape,
     MIA_u8,
     {1, {1}},
     {2, {INT64_C(1) << 32, INT64_C(1) << 32}},
     {0},
     "reshape: shape [4294967296, 4294967296] of u8 is larger than any memory"},
    {MIA_OP_permute,
     MIA_f32,
     {2, {3, 2}},
     {2, {0, 0}},
     {0},
     "permute: [0, 0] is not an order of the 2 modes of shape [3, 2]"},
    {MIA_OP_permute,
     MIA_f32,
     {2, {3, 2}},
     {2, {0, 2}},
     {0},
     "permute: [0, 2] is not an order of the 2 modes of shape [3, 2]"},
    {MIA_OP_permute,
     MIA_f32,
     {2, {3, 2}},
     {2, {-1, 0}},
     {0},
     "permute: [-1, 0] is not an order of the 2 modes of shape [3, 2]"},
    {MIA_OP_permute,
     MIA_f32,
     {2, {3, 2}},
     {1, {0}},
     {0},
     "permute: [0] is not an order of the 2 modes of shape [3, 2]"},
    {MIA_OP_permute, MIA_q4_0, {2, {32, 2}}, {2, {1, 0}}, {0}, "permute: mode 0 of q4_0 has to stay first"},
    {MIA_OP_slice, MIA_f32, {2, {3, 2}}, {0}, {2, 0, 1, 1}, "slice: shape [3, 2] has no mode 2"},
    {MIA_OP_slice, MIA_f32, {0, {0}}, {0}, {0, 0, 1, 1}, "slice: shape [] has no mode 0"},
    {MIA_OP_slice,
     MIA_f32,
     {2, {3, 2}},
     {0},
     {0, 0, 4, 1},
     "slice: 4 elements from 0 by 1 do not lie within mode 0 of shape [3, 2]"},
    {MIA_OP_slice,
     MIA_f32,
     {2, {3, 2}},
     {0},
     {0, 1, 3, -1},
     "slice: 3 elements from 1 by -1 do not lie within mode 0 of shape [3, 2]"},
    {MIA_OP_slice,
     MIA_f32,
     {2, {3, 2}},
     {0},
     {1, -1, 1, 1},
     "slice: 1 elements from -1 by 1 do not lie within mode 1 of shape [3, 2]"},
    {MIA_OP_slice,
     MIA_f32,
     {2, {3, 2}},
     {0},
     {1, 2, 1, 1},
     "slice: 1 elements from 2 by 1 do not lie within mode 1 of shape [3, 2]"},
    {MIA_OP_slice,
     MIA_f32,
     {2, {3, 2}},
     {0},
     {0, 0, -1, 1},
     "slice: -1 elements from 0 by 1 do not lie within mode 0 of shape [3, 2]"},
    {MIA_OP_slice,
     MIA_f32,
     {2, {3, 2}},
     {0},
     {0, 1, 2, 0},
     "slice: 2 elements from 1 by 0 do not lie within mode 0 of shape [3, 2]"},
    {MIA_OP_slice,
     MIA_f32,
     {2, {3, 2}},
     {0},
     {0, 1, 3, INT64_MAX},
     "slice: 3 elements from 1 by 9223372036854775807 do not lie within mode 0 of shape [3, 2]"},
    {MIA_OP_slice,
     MIA_f32,
     {2, {3, 2}},
     {0},
     {0, 1, INT64_MAX, INT64_MIN},
     "slice: 9223372036854775807 elements from 1 by -9223372036854775808 do not lie within mode 0 of shape "
     "[3, 2]"},
    {MIA_OP_slice,
     MIA_q8_0,
     {1, {96}},
     {0},
     {0, 16, 32, 1},
     "slice: mode 0 of q8_0 can be cut between blocks of 32 alone"},
    {MIA_OP_slice,
     MIA_q8_0,
     {1, {96}},
     {0},
     {0, 0, 31, 1},
     "slice: mode 0 of q8_0 can be cut between blocks of 32 alone"},
    {MIA_OP_slice,
     MIA_q8_0,
     {1, {96}},
     {0},
     {0, 64, 32, -1},
     "slice: mode 0 of q8_0 can be cut between blocks of 32 alone"},
    {MIA_OP_broadcast,
     MIA_f32,
     {2, {3, 2}},
     {2, {3, 3}},
     {0},
     "broadcast: shape [3, 2] does not repeat to [3, 3]"},
    {MIA_OP_broadcast, MIA_f32, {2, {3, 1}}, {1, {3}}, {0}, "broadcast: shape [3, 1] does not repeat to [3]"},
    {MIA_OP_broadcast, MIA_f32, {1, {1}}, {1, {-1}}, {0}, "broadcast: mode 0 of shape [-1] is negative"},
    {MIA_OP_broadcast,
     MIA_f32,
     {1, {1}},
     {1, {HUGE_EXTENT}},
     {0},
     "broadcast: shape [4611686018427387904] of f32 is larger than any memory"},
    {MIA_OP_transpose, MIA_f32, {2, {3, 2}}, {0}, {0, 2}, "transpose: shape [3, 2] has no modes 0 and 2"},
    {MIA_OP_transpose, MIA_f32, {2, {3, 2}}, {0}, {-1, 0}, "transpose: shape [3, 2] has no modes -1 and 0"},
    {MIA_OP_transpose, MIA_f32, {0, {0}}, {0}, {0, 0}, "transpose: shape [] has no modes 0 and 0"},
    {MIA_OP_transpose, MIA_q8_0, {2, {32, 2}}, {0}, {1, 0}, "transpose: mode 0 of q8_0 has to stay first"},
    {MIA_OP_unsqueeze, MIA_f32, {2, {3, 2}}, {0}, {3}, "unsqueeze: shape [3, 2] takes no new mode 3"},
    {MIA_OP_unsqueeze, MIA_f32, {2, {3, 2}}, {0}, {-1}, "unsqueeze: shape [3, 2] takes no new mode -1"},
    {MIA_OP_unsqueeze,
     MIA_f32,
     {8, {1, 1, 1, 1, 1, 1, 1, 2}},
     {0},
     {0},
     "unsqueeze: shape [1, 1, 1, 1, 1, 1, 1, 2] takes no new mode 0"},
    {MIA_OP_unsqueeze, MIA_q4_0, {1, {32}}, {0}, {0}, "unsqueeze: mode 0 of q4_0 has to stay first"},
    {MIA_OP_cast, MIA_f32, {1, {32}}, {0}, {MIA_q8_0}, "cast: f32 cannot be read as q8_0"},
    {MIA_OP_cast, MIA_q4_0, {1, {32}}, {0}, {MIA_u8}, "cast: q4_0 cannot be read as u8"},
    {MIA_OP_cast, MIA_f32, {1, {32}}, {0}, {63}, "cast: f32 cannot be read as none"},
    {MIA_OP_cast, MIA_f32, {1, {32}}, {0}, {-1}, "cast: f32 cannot be read as none"},
    {MIA_OP_cast,
     MIA_f32,
     {2, {6, 2}},
     {0},
     {MIA_f32x4},
     "cast: shape [6, 2] of f32 has no mode 0 that divides into f32x4"},
    {MIA_OP_cast,
     MIA_f32,
     {0, {0}},
     {0},
     {MIA_f16},
     "cast: shape [] of f32 has no mode 0 that divides into f16"},
};

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const refusal *r = &refusals[i];
        mia__view in = mia__view_compact(r->dtype, &r->in), out = in;
        mia_error error = {0};
        bool needs_copy;
        const int64_t *n = r->number;
        mia_status status = MIA_OK;
        switch ((int)r->op) {
        case MIA_OP_reshape:
            status = mia__view_reshape(r->dtype, &in, &r->shape, &out, &needs_copy, &error);
            break;
        case MIA_OP_permute: status = mia__view_permute(r->dtype, &in, &r->shape, &out, &error); break;
        case MIA_OP_broadcast: status = mia__view_broadcast(r->dtype, &in, &r->shape, &out, &error); break;
        case MIA_OP_transpose: status = mia__view_transpose(r->dtype, &in, n[0], n[1], &out, &error); break;
        case MIA_OP_unsqueeze: status = mia__view_unsqueeze(r->dtype, &in, n[0], &out, &error); break;
        case MIA_OP_cast:
            status = mia__view_cast(r->dtype, &in, (mia_dtype)n[0], &out, &needs_copy, &error);
            break;
        default: status = mia__view_slice(r->dtype, &in, (uint32_t)n[0], n[1], n[2], n[3], &out, &error);
        }
        assert_string_equal(error.message, r->message);
        assert_int_equal(status, error.status);
        assert_true(status == MIA_ERROR_SHAPE_MISMATCH || status == MIA_ERROR_TYPE_MISMATCH);
        assert_memory_equal(&in, &out, sizeof in); /* what failed leaves its result alone */
    }
}

static void test_largest_shapes(void **state) {
    (void)state;
    size_t bytes;
    mia_shape most = {1, {HUGE_EXTENT}}, blocks = {1, {(INT64_C(1) << 56) * 32}};
    assert_int_equal(mia__shape_check(MIA_u8, &most, &bytes, "test", NULL), MIA_OK);
    assert_true(bytes == (size_t)1 << 62);
    assert_int_equal(mia__shape_check(MIA_q8_0, &blocks, &bytes, "test", NULL), MIA_OK);
    assert_true(bytes == ((size_t)1 << 56) * 34);
    most = (mia_shape){3, {0, HUGE_EXTENT, 1}};
    assert_int_equal(mia__shape_check(MIA_u8, &most, &bytes, "test", NULL), MIA_OK);
    assert_true(bytes == 0);
    mia_error error = {0};
    assert_int_equal(mia__shape_check(MIA_NONE, &most, &bytes, "test", &error), MIA_ERROR_TYPE_MISMATCH);
    assert_string_equal(error.message, "test: 0 is no element type");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_enumeration),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_largest_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
