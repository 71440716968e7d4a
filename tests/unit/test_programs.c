/* Random programs through the public API against an interpreter that computes at once, in plain C, on small
 * whole numbers, so that every result is exact. A program's structure comes from one stream of random
 * numbers, and who else holds what (extra references, evals, reads in between) from another: the same
 * structure runs under several patterns of references, so that a plan cached for one pattern would be caught
 * serving another. */
#include "support.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NUMBERS 96    /* a value has at most */
#define LARGEST 60000 /* results beyond are not asked for: sums of products stay exact in f32 */
#define HELD    7     /* values that a program works on */
#define EXTRAS  12    /* further references */

/* What a value is, computed at once. */
typedef struct value {
    mia_shape shape;
    float at[NUMBERS];
} value;

typedef struct held {
    mia_tensor_f32 tensor;
    value is;
} held;

typedef struct program {
    mia_device *device;
    uint64_t structure, pattern; /* random streams */
    held values[HELD], extras[EXTRAS];
    int count, extra_count, constants;
    uint64_t seed; /* for messages */
} program;

static int64_t pick(program *p, int64_t limit) {
    return test_below(&p->structure, limit);
}
static bool sometimes(program *p, int64_t one_in) {
    return test_below(&p->pattern, one_in) == 0;
}

/* --- the interpreter -------------------------------------------------------------------------- */

static int64_t numbers(const mia_shape *shape) {
    int64_t count = 1;
    for (uint32_t m = 0; m < shape->ndim; m++) count *= shape->extent[m];
    return count;
}

static void unravel(const mia_shape *shape, int64_t index, int64_t *place) {
    for (uint32_t m = 0; m < shape->ndim; m++) {
        place[m] = index % shape->extent[m];
        index /= shape->extent[m];
    }
}

/* The number at a place; modes of extent 1, and those that are not there, repeat. */
static float number_at(const value *v, const int64_t *place) {
    int64_t index = 0, stride = 1;
    for (uint32_t m = 0; m < v->shape.ndim; m++) {
        if (v->shape.extent[m] > 1) index += place[m] * stride;
        stride *= v->shape.extent[m];
    }
    return v->at[index];
}

static float largest(const value *v) {
    float most = 0;
    for (int64_t i = 0; i < numbers(&v->shape); i++)
        most = v->at[i] > most ? v->at[i] : -v->at[i] > most ? -v->at[i] : most;
    return most;
}

static bool broadcast_shape(const mia_shape *a, const mia_shape *b, mia_shape *out) {
    *out = a->ndim >= b->ndim ? *a : *b;
    for (uint32_t m = 0; m < out->ndim; m++) {
        int64_t x = m < a->ndim ? a->extent[m] : 1, y = m < b->ndim ? b->extent[m] : 1;
        if (x != y && x != 1 && y != 1) return false;
        out->extent[m] = x == 1 ? y : x;
    }
    return numbers(out) <= NUMBERS;
}

static float apply(int op, float a, float b) {
    switch (op) {
    case 0: return a + b;
    case 1: return a - b;
    case 2: return a * b;
    case 3: return a < b ? a : b;
    default: return a > b ? a : b;
    }
}

/* --- references ------------------------------------------------------------------------------- */

static void check(program *p, mia_tensor_f32 t, const value *is) {
    float got[NUMBERS];
    mia_error error = {0};
    size_t count = (size_t)numbers(&is->shape);
    if (mia_read(t, got, count, &error) != MIA_OK)
        fail_msg("program %llu: %s", (unsigned long long)p->seed, error.message);
    for (size_t i = 0; i < count; i++)
        if (got[i] != is->at[i])
            fail_msg("program %llu: number %zu of %zu is %g, not %g", (unsigned long long)p->seed, i, count,
                     (double)got[i], (double)is->at[i]);
}

static void check_extra(program *p, int which) {
    held extra = p->extras[which];
    p->extras[which] = p->extras[--p->extra_count];
    check(p, extra.tensor, &extra.is);
}

/* The pattern: further references, some read or dropped again, evals of a few. */
static void disturb(program *p) {
    if (p->count > 0 && p->extra_count < EXTRAS && sometimes(p, 3)) {
        held *from = &p->values[test_below(&p->pattern, p->count)];
        p->extras[p->extra_count++] = (held){mia_ref(from->tensor), from->is};
    }
    if (p->extra_count > 0 && sometimes(p, 6)) check_extra(p, (int)test_below(&p->pattern, p->extra_count));
    if (p->extra_count > 0 && sometimes(p, 8)) mia_unref(p->extras[--p->extra_count].tensor);
    if (p->count == 0 || !sometimes(p, 7)) return;
    mia_tensor list[3];
    size_t count = 1 + (size_t)test_below(&p->pattern, 3);
    for (size_t i = 0; i < count; i++)
        list[i] = MIA_UNTYPED(p->values[test_below(&p->pattern, p->count)].tensor);
    mia_error error = {0};
    if (mia_tensor_eval(list, count, &error) != MIA_OK) fail_msg("%s", error.message);
}

/* Takes a value out; it is the caller's. With some chance a second reference stays in its place. */
static held take(program *p) {
    int which = (int)pick(p, p->count);
    held taken = p->values[which];
    if (pick(p, 3) == 0)
        p->values[which].tensor = mia_ref(taken.tensor);
    else
        p->values[which] = p->values[--p->count];
    return taken;
}

static void put(program *p, mia_tensor_f32 tensor, const value *is) {
    if (largest(is) > LARGEST || p->count == HELD) {
        check(p, tensor, is);
        return;
    }
    p->values[p->count++] = (held){tensor, *is};
}

static mia_shape some_shape(program *p) {
    static const int64_t extents[] = {1, 2, 3, 4};
    mia_shape shape = {.ndim = (uint32_t)pick(p, 4)};
    for (uint32_t m = 0; m < shape.ndim; m++) shape.extent[m] = extents[pick(p, 4)];
    return shape;
}

static void fresh_value(program *p, value *is) {
    is->shape = some_shape(p);
    for (int64_t i = 0; i < numbers(&is->shape); i++) is->at[i] = (float)(pick(p, 19) - 9);
}

static void add_fresh(program *p) {
    value is = {0};
    fresh_value(p, &is);
    int kind = (int)pick(p, 5);
    if (kind == 0 && p->constants < 2) {
        p->constants++;
        put(p, mia_constant(f32, p->device, is.shape, is.at), &is);
        return;
    }
    if (kind == 1) {
        for (int64_t i = 0; i < numbers(&is.shape); i++) is.at[i] = is.at[0];
        put(p, mia_full(f32, p->device, is.shape, (double)is.at[0]), &is);
        return;
    }
    put(p, mia_upload(f32, p->device, is.shape, is.at), &is);
}

/* --- operations ------------------------------------------------------------------------------- */

static void add_binary(program *p) {
    held a = take(p);
    if (p->count == 0) add_fresh(p);
    held b = take(p);
    int op = (int)pick(p, 5);
    value is = {0};
    bool fits = broadcast_shape(&a.is.shape, &b.is.shape, &is.shape);
    if (!fits || (op == 2 && largest(&a.is) * largest(&b.is) > LARGEST)) {
        put(p, a.tensor, &a.is);
        put(p, b.tensor, &b.is);
        return;
    }
    for (int64_t i = 0; i < numbers(&is.shape); i++) {
        int64_t place[MIA_MAX_MODES];
        unravel(&is.shape, i, place);
        is.at[i] = apply(op, number_at(&a.is, place), number_at(&b.is, place));
    }
    mia_tensor_f32 t = op == 0   ? mia_add(a.tensor, b.tensor)
                       : op == 1 ? mia_sub(a.tensor, b.tensor)
                       : op == 2 ? mia_mul(a.tensor, b.tensor)
                       : op == 3 ? mia_min(a.tensor, b.tensor)
                                 : mia_max(a.tensor, b.tensor);
    put(p, t, &is);
}

static void add_unary(program *p) {
    held x = take(p);
    int op = (int)pick(p, 4);
    value is = x.is;
    for (int64_t i = 0; i < numbers(&is.shape); i++) {
        float n = x.is.at[i];
        is.at[i] = op == 0 ? 0 - n : op == 1 ? (n < 0 ? 0 - n : n) : op == 2 ? (n > 0 ? n : 0) : n;
    }
    mia_tensor_f32 t = op == 0   ? mia_neg(x.tensor)
                       : op == 1 ? mia_abs(x.tensor)
                       : op == 2 ? mia_relu(x.tensor)
                                 : mia_copy(x.tensor);
    put(p, t, &is);
}

static void add_slice(program *p) {
    held x = take(p);
    if (x.is.shape.ndim == 0) {
        put(p, x.tensor, &x.is);
        return;
    }
    uint32_t mode = (uint32_t)pick(p, x.is.shape.ndim);
    int64_t extent = x.is.shape.extent[mode], step = pick(p, 2) == 0 ? 1 : pick(p, 2) == 0 ? -1 : 2;
    int64_t begin = pick(p, extent), room = step > 0 ? (extent - 1 - begin) / step : begin,
            count = 1 + pick(p, room + 1);
    value is = {.shape = x.is.shape};
    is.shape.extent[mode] = count;
    for (int64_t i = 0; i < numbers(&is.shape); i++) {
        int64_t place[MIA_MAX_MODES];
        unravel(&is.shape, i, place);
        place[mode] = begin + place[mode] * step;
        is.at[i] = number_at(&x.is, place);
    }
    put(p, mia_slice(x.tensor, mode, begin, count, step), &is);
}

static void add_permute(program *p) {
    held x = take(p);
    uint32_t ndim = x.is.shape.ndim;
    mia_shape order = {.ndim = ndim};
    for (uint32_t m = 0; m < ndim; m++) order.extent[m] = m;
    for (uint32_t m = ndim; m > 1; m--) {
        int64_t with = pick(p, m), other = order.extent[with];
        order.extent[with] = order.extent[m - 1];
        order.extent[m - 1] = other;
    }
    value is = {.shape = {.ndim = ndim}};
    for (uint32_t m = 0; m < ndim; m++) is.shape.extent[m] = x.is.shape.extent[order.extent[m]];
    for (int64_t i = 0; i < numbers(&is.shape); i++) {
        int64_t place[MIA_MAX_MODES], from[MIA_MAX_MODES];
        unravel(&is.shape, i, place);
        for (uint32_t m = 0; m < ndim; m++) from[order.extent[m]] = place[m];
        is.at[i] = number_at(&x.is, from);
    }
    put(p, mia_permute(x.tensor, order), &is);
}

static void add_reshape(program *p) {
    held x = take(p);
    value is = x.is;
    int64_t count = numbers(&is.shape), first = 1 + pick(p, 4);
    is.shape = count % first == 0 ? MIA_SHAPE(first, count / first) : MIA_SHAPE(1, count);
    put(p, mia_reshape(x.tensor, is.shape), &is);
}

static void add_broadcast(program *p) {
    held x = take(p);
    value is = {.shape = x.is.shape};
    for (uint32_t m = 0; m < is.shape.ndim; m++)
        if (is.shape.extent[m] == 1) is.shape.extent[m] = 1 + pick(p, 3);
    if (numbers(&is.shape) > NUMBERS) is.shape = x.is.shape;
    for (int64_t i = 0; i < numbers(&is.shape); i++) {
        int64_t place[MIA_MAX_MODES];
        unravel(&is.shape, i, place);
        is.at[i] = number_at(&x.is, place);
    }
    put(p, mia_broadcast(x.tensor, is.shape), &is);
}

/* Through vectors of 4: the bytes stay, so does the value. */
static void add_packed(program *p) {
    held x = take(p);
    if (x.is.shape.ndim == 0 || x.is.shape.extent[0] != 4) {
        put(p, x.tensor, &x.is);
        return;
    }
    value is = x.is;
    mia_tensor_f32x4 t = mia_cast(f32x4, x.tensor);
    if (pick(p, 2) == 0) {
        t = mia_neg(t);
        for (int64_t i = 0; i < numbers(&is.shape); i++) is.at[i] = 0 - is.at[i];
    }
    if (is.shape.ndim == 2 && is.shape.extent[1] > 1 && pick(p, 2) == 0) { /* the later columns alone */
        int64_t gone = 4;
        is.shape.extent[1]--;
        t = mia_slice(t, 1, 1, is.shape.extent[1], 1);
        memmove(is.at, is.at + gone, (size_t)numbers(&is.shape) * sizeof is.at[0]);
    }
    if (is.shape.ndim == 2 && 2 * numbers(&is.shape) <= NUMBERS && pick(p, 2) == 0) {
        t = mia_concat(mia_ref(t), t, 1);
        memcpy(is.at + numbers(&is.shape), is.at, (size_t)numbers(&is.shape) * sizeof is.at[0]);
        is.shape.extent[1] *= 2;
    }
    put(p, mia_cast(f32, t), &is);
}

static void add_concat_or_pad(program *p) {
    held x = take(p);
    int64_t count = numbers(&x.is.shape);
    if (x.is.shape.ndim == 0 || 3 * count > NUMBERS) {
        put(p, x.tensor, &x.is);
        return;
    }
    uint32_t mode = (uint32_t)pick(p, x.is.shape.ndim);
    bool pads = pick(p, 2) == 0;
    int64_t extent = x.is.shape.extent[mode];
    value is = {.shape = x.is.shape};
    is.shape.extent[mode] = pads ? extent + 1 : 2 * extent;
    for (int64_t i = 0; i < numbers(&is.shape); i++) {
        int64_t place[MIA_MAX_MODES];
        unravel(&is.shape, i, place);
        bool added = place[mode] >= extent;
        place[mode] %= extent;
        is.at[i] = !added ? number_at(&x.is, place) : pads ? 0 : 0 - number_at(&x.is, place);
    }
    if (pads)
        put(p, mia_pad(x.tensor, mode, 0, 1, MIA_PAD_CONSTANT, 0), &is);
    else
        put(p, mia_concat(mia_ref(x.tensor), mia_neg(x.tensor), mode), &is);
}

/* A part of x is overwritten by numbers of its own, from a position past the end too. */
static void add_update(program *p) {
    held x = take(p);
    if (x.is.shape.ndim == 0) {
        put(p, x.tensor, &x.is);
        return;
    }
    uint32_t mode = (uint32_t)pick(p, x.is.shape.ndim);
    int64_t extent = x.is.shape.extent[mode], count = 1 + pick(p, extent);
    int32_t start = (int32_t)pick(p, extent + 2) - 1;
    int64_t from = start < 0 ? 0 : start > extent - count ? extent - count : start;
    bool own = pick(p, 3) == 0; /* the part is one of x itself: its last places */
    value is = x.is, part = {.shape = x.is.shape};
    part.shape.extent[mode] = count;
    for (int64_t i = 0; i < numbers(&part.shape); i++) {
        int64_t place[MIA_MAX_MODES];
        unravel(&part.shape, i, place);
        place[mode] += extent - count;
        part.at[i] = own ? number_at(&x.is, place) : (float)(pick(p, 19) - 9);
    }
    for (int64_t i = 0; i < numbers(&is.shape); i++) {
        int64_t place[MIA_MAX_MODES];
        unravel(&is.shape, i, place);
        place[mode] -= from;
        if (place[mode] >= 0 && place[mode] < count) is.at[i] = number_at(&part, place);
    }
    mia_tensor_f32 t = own ? mia_slice(mia_ref(x.tensor), mode, extent - count, count, 1)
                           : mia_upload(f32, p->device, part.shape, part.at);
    put(p, mia_update(x.tensor, t, mia_upload(i32, p->device, MIA_SCALAR, &start), mode), &is);
}

static void add_sum(program *p) {
    held x = take(p);
    uint32_t modes = (uint32_t)pick(p, 8);
    value is = {.shape = x.is.shape};
    for (uint32_t m = 0; m < is.shape.ndim; m++)
        if ((modes >> m & 1) != 0) is.shape.extent[m] = 1;
    for (int64_t i = 0; i < numbers(&x.is.shape); i++) {
        int64_t place[MIA_MAX_MODES], index = 0, stride = 1;
        unravel(&x.is.shape, i, place);
        for (uint32_t m = 0; m < is.shape.ndim; m++) {
            if (is.shape.extent[m] > 1) index += place[m] * stride;
            stride *= is.shape.extent[m];
        }
        is.at[index] += x.is.at[i];
    }
    put(p, mia_sum(x.tensor, modes), &is);
}

static void add_matmul(program *p) {
    held w = take(p);
    if (p->count == 0) add_fresh(p);
    held x = take(p);
    const mia_shape *a = &w.is.shape, *b = &x.is.shape;
    bool fits = a->ndim == 2 && b->ndim == 2 && a->extent[0] == b->extent[0];
    if (!fits || a->extent[1] * b->extent[1] > NUMBERS || largest(&w.is) * largest(&x.is) * 4 > LARGEST) {
        put(p, w.tensor, &w.is);
        put(p, x.tensor, &x.is);
        return;
    }
    int64_t k = a->extent[0];
    value is = {.shape = MIA_SHAPE(a->extent[1], b->extent[1])};
    for (int64_t i = 0; i < numbers(&is.shape); i++)
        for (int64_t j = 0; j < k; j++)
            is.at[i] += w.is.at[i % a->extent[1] * k + j] * x.is.at[i / a->extent[1] * k + j];
    put(p, mia_matmul(w.tensor, x.tensor), &is);
}

/* The same expression twice, of the same values or of further references to them: the planner makes one value of
 * both, which whoever consumes one of them must leave to the other. */
static void add_twice(program *p) {
    held x = take(p);
    int way = (int)pick(p, 4);
    value is = x.is;
    for (int64_t i = 0; i < numbers(&is.shape); i++) is.at[i] = way == 0 ? 0 - is.at[i] : is.at[i] + is.at[i];
    if (way >= 2) is = x.is;
    mia_tensor_f32 y[2];
    for (int i = 0; i < 2; i++) {
        mia_tensor_f32 own = i == 0 ? mia_ref(x.tensor) : x.tensor;
        y[i] = way == 0   ? mia_neg(own)
               : way == 1 ? mia_add(mia_ref(own), own)
               : way == 2 ? mia_neg(mia_neg(own))
                          : mia_copy(own);
    }
    if (pick(p, 2) == 0) { /* one of them goes on at once, in place if that were sound */
        value more = is;
        for (int64_t i = 0; i < numbers(&is.shape); i++) more.at[i] = is.at[i] > 0 ? is.at[i] : 0;
        put(p, mia_relu(y[0]), &more);
    } else {
        put(p, y[0], &is);
    }
    put(p, y[1], &is);
}

static void step(program *p) {
    static void (*const actions[])(program *) = {
        add_binary,        add_binary,  add_binary,    add_unary,  add_unary, add_slice,
        add_permute,       add_reshape, add_broadcast, add_packed, add_sum,   add_matmul,
        add_concat_or_pad, add_update,  add_update,    add_fresh,  add_twice, add_twice,
    };
    if (p->count == 0) add_fresh(p);
    actions[pick(p, (int64_t)(sizeof actions / sizeof actions[0]))](p);
}

static void run_program(mia_device *device, uint64_t seed, uint64_t pattern) {
    static program p;
    p = (program){.device = device, .structure = seed, .pattern = pattern, .seed = seed};
    for (int64_t steps = 4 + pick(&p, 16); steps > 0; steps--) {
        step(&p);
        disturb(&p);
    }
    while (p.count > 0) {
        held last = p.values[--p.count];
        if (pick(&p, 4) == 0)
            mia_unref(last.tensor);
        else
            check(&p, last.tensor, &last.is);
    }
    while (p.extra_count > 0) check_extra(&p, (int)test_below(&p.pattern, p.extra_count));
}

static uint64_t seed;

/* Devices are opened anew now and then: constants live as long as they do. */
static void run_programs(const char *backend, bool no_fusion, long count) {
    uint64_t hits = 0, plans = 0;
    for (long i = 0; i < count;) {
        test_allocator allocator;
        test_allocator_init(&allocator);
        mia_device_options options = {
            .backend = backend, .threads = 2, .no_fusion = no_fusion, .allocator = &allocator.hook};
        mia_device *device = NULL;
        mia_error error = {0};
        if (mia_device_open(&options, &device, &error) != MIA_OK) {
            if (error.status == MIA_ERROR_NOT_FOUND) skip();
            fail_msg("%s", error.message);
        }
        for (int n = 0; n < 200 && i < count; n++, i++)
            run_program(device, seed + (uint64_t)(i / 4), seed ^ (uint64_t)i * UINT64_C(0x9e3779b97f4a7c15));
        mia_device_counters counters = mia_device_count(device);
        assert_int_equal(counters.handles, 0);
        hits += counters.plan_hits;
        plans += counters.plans;
        if (mia_device_close(device, &error) != MIA_OK) fail_msg("%s", error.message);
        assert_int_equal(allocator.live_bytes, 0);
    }
    printf("%s: %ld programs, %llu plans, %llu from the cache\n", backend, count, (unsigned long long)plans,
           (unsigned long long)hits);
    assert_true(hits > plans / 10);
}

static long rounds(void) {
    return getenv("MIA_TEST_LONG") != NULL ? 100000 : 20000;
}

static void test_on_reference(void **state) {
    (void)state;
    run_programs("reference", false, rounds());
}

static void test_on_cpu(void **state) {
    (void)state;
    run_programs("cpu", false, rounds());
}

static void test_without_fusion(void **state) {
    (void)state;
    run_programs("cpu", true, rounds() / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_on_reference), cmocka_unit_test(test_on_cpu),
                                       cmocka_unit_test(test_without_fusion)};
    seed = test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
