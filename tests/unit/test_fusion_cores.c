/* Random programs of what models are made of (matmuls of one x, norms, softmax, reductions, with element-wise
 * operations before and behind them) through the public API, on the cpu backend with fusion and without: the bits are
 * the same, and steps are fewer. Types, shapes, views, and who else refers to a value are drawn. */
#include "graph/view.h"
#include "ops/operand.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MOST     40 /* values of a program */
#define OPERANDS 3

typedef enum kind { LEAF, UNARY, BINARY, CONVERT, ROW, NORM, REDUCE, MATMUL, RESHAPE, FLIP, TURN } kind;

/* A value is a leaf, or one operation on values before it. */
typedef struct drawn {
    kind kind;
    int which; /* of the operations of the kind */
    operand leaf;
    mia_dtype dtype;
    mia_shape shape;
    int operands[OPERANDS];
    uint32_t modes;
    bool read; /* its numbers are asked for */
} drawn;

typedef struct session {
    uint64_t seed, state;
    mood mood;
    drawn values[MOST];
    int count;
} session;

static int64_t pick(session *s, int64_t limit) {
    return test_below(&s->state, limit);
}

/* --- operations ------------------------------------------------------------------------------- */

typedef mia_tensor unary(mia_tensor, const char *, int);
typedef mia_tensor binary(mia_tensor, mia_tensor, const char *, int);
typedef mia_tensor reduction(mia_tensor, uint32_t, const char *, int);

static unary *const unaries[] = {mia_op_neg, mia_op_exp,  mia_op_silu,    mia_op_relu,
                                 mia_op_abs, mia_op_tanh, mia_op_sigmoid, mia_op_square};
static binary *const binaries[] = {mia_op_add, mia_op_mul, mia_op_sub, mia_op_max};
static unary *const rows[] = {mia_op_softmax, mia_op_log_softmax};
static reduction *const reductions[] = {mia_op_sum,  mia_op_mean,   mia_op_reduce_max, mia_op_reduce_min,
                                        mia_op_prod, mia_op_argmax, mia_op_argmin};
enum { FIRST_PLACE = 5 }; /* of reductions that give places */

static bool is_float(mia_dtype dtype) {
    return dtype == MIA_f32 || dtype == MIA_f16 || dtype == MIA_bf16 || dtype == MIA_f64;
}

/* --- drawing ---------------------------------------------------------------------------------- */

static drawn *add(session *s, kind is, mia_dtype dtype, mia_shape shape) {
    drawn *d = &s->values[s->count++];
    *d = (drawn){.kind = is, .dtype = dtype, .shape = shape, .operands = {-1, -1, -1}};
    d->read = is != LEAF && pick(s, 9) == 0;
    return d;
}

static int add_leaf(session *s, mia_dtype dtype, mia_shape shape) {
    drawn *d = add(s, LEAF, dtype, shape);
    d->leaf = (operand){.dtype = dtype, .shape = shape};
    operand_draw(&s->state, &d->leaf, s->mood);
    return s->count - 1;
}

/* A value of floating-point numbers, the last ones more often. */
static int some_value(session *s) {
    for (;;) {
        int back = (int)pick(s, pick(s, 3) > 0 ? 2 : MOST), i = s->count - 1 - back;
        if (i >= 0 && is_float(s->values[i].dtype)) return i;
        if (i < 0 && pick(s, 50) == 0) return 0;
    }
}

static void draw_binary(session *s, int x) {
    mia_dtype dtype = s->values[x].dtype;
    mia_shape shape = s->values[x].shape;
    int y = -1;
    for (int tries = 0; tries < 8 && y < 0; tries++) { /* one that is there */
        int i = (int)pick(s, s->count);
        if (s->values[i].dtype == dtype && mia__shape_equal(&s->values[i].shape, &shape)) y = i;
    }
    if (y < 0 || pick(s, 3) == 0) {
        mia_shape other = shape;
        for (uint32_t m = 0; m < other.ndim; m++)
            if (pick(s, 3) == 0) other.extent[m] = 1;
        if (other.ndim > 1 && pick(s, 3) == 0) other.ndim = 1;
        y = add_leaf(s, dtype, other);
    }
    drawn *d = add(s, BINARY, dtype, shape);
    d->which = (int)pick(s, 4);
    bool first = pick(s, 2) == 0;
    d->operands[0] = first ? x : y;
    d->operands[1] = first ? y : x;
}

static void draw_norm(session *s, int x) {
    mia_dtype dtype = s->values[x].dtype;
    mia_shape shape = s->values[x].shape;
    if (shape.ndim == 0) return;
    int which = (int)pick(s, 3), operands[OPERANDS] = {x, -1, -1};
    for (int k = 1; k <= which; k++) operands[k] = add_leaf(s, dtype, MIA_SHAPE(shape.extent[0]));
    drawn *d = add(s, NORM, dtype, shape);
    d->which = which;
    memcpy(d->operands, operands, sizeof operands);
}

static void draw_reduce(session *s, int x) {
    mia_shape shape = s->values[x].shape;
    uint32_t modes = (uint32_t)pick(s, 8) & ((1u << shape.ndim) - 1);
    for (uint32_t m = 0; m < shape.ndim; m++)
        if ((modes >> m & 1) != 0) shape.extent[m] = 1;
    int which = (int)pick(s, 7);
    drawn *d = add(s, REDUCE, which >= FIRST_PLACE ? MIA_i32 : s->values[x].dtype, shape);
    d->which = which;
    d->modes = modes;
    d->operands[0] = x;
}

/* One to three products of one x; of equal shapes, they may meet. */
static void draw_matmuls(session *s, int x) {
    static const mia_dtype types[] = {MIA_f32, MIA_f16, MIA_bf16, MIA_q8_0, MIA_q4_0, MIA_q4_K, MIA_f64};
    mia_shape shape = s->values[x].shape;
    mia_dtype x_type = s->values[x].dtype, w_type = types[pick(s, 7)];
    if (shape.ndim == 0 || shape.extent[0] > 6000) return;
    if (x_type == MIA_f64 || w_type == MIA_f64) w_type = pick(s, 2) == 0 ? MIA_f64 : MIA_f32;
    int64_t block = mia_dtype_describe(w_type)->elements;
    if (is_block(w_type) && shape.extent[0] % block != 0) w_type = MIA_f32;
    int64_t n = 1 + pick(s, pick(s, 3) == 0 ? 300 : 40);
    int made[OPERANDS], count = 1 + (int)pick(s, 3), weights[OPERANDS];
    bool alike = pick(s, 4) > 0;
    for (int i = 0; i < count; i++)
        weights[i] = add_leaf(s, w_type, MIA_SHAPE(shape.extent[0], alike ? n : n + i));
    for (int i = 0; i < count; i++) {
        mia_shape out = shape;
        out.extent[0] = s->values[weights[i]].shape.extent[1];
        drawn *d = add(s, MATMUL, x_type, out);
        d->operands[0] = weights[i];
        d->operands[1] = x;
        made[i] = s->count - 1;
    }
    if (count == 1 || !alike || pick(s, 3) == 0) return;
    int left = made[0];
    if (pick(s, 2) == 0) {
        drawn *d = add(s, UNARY, x_type, s->values[left].shape);
        d->which = 2;
        d->operands[0] = left;
        left = s->count - 1;
    }
    drawn *d = add(s, BINARY, x_type, s->values[left].shape);
    d->which = 1;
    d->operands[0] = left;
    d->operands[1] = made[1];
}

static void draw_view(session *s, int x) {
    mia_shape shape = s->values[x].shape;
    if (shape.ndim == 0) return;
    int way = (int)pick(s, 4);
    if (way == 0 && shape.ndim == 2 && !is_block(s->values[x].dtype)) {
        drawn *d = add(s, TURN, s->values[x].dtype, MIA_SHAPE(shape.extent[1], shape.extent[0]));
        d->operands[0] = x;
    } else if (way == 1) {
        drawn *d = add(s, FLIP, s->values[x].dtype, shape);
        d->operands[0] = x;
    } else if (shape.ndim == 3) {
        drawn *d = add(s, RESHAPE, s->values[x].dtype,
                       MIA_SHAPE(shape.extent[0], shape.extent[1] * shape.extent[2]));
        d->operands[0] = x;
    }
}

static void draw_operation(session *s) {
    int x = some_value(s);
    mia_dtype dtype = s->values[x].dtype;
    switch (pick(s, 13)) {
    case 0:
    case 1:
    case 2: {
        drawn *d = add(s, UNARY, dtype, s->values[x].shape);
        d->which = (int)pick(s, 8);
        d->operands[0] = x;
        break;
    }
    case 3:
    case 4:
    case 5: draw_binary(s, x); break;
    case 6: {
        static const mia_dtype types[] = {MIA_f32, MIA_f16, MIA_bf16, MIA_f64};
        drawn *d = add(s, CONVERT, types[pick(s, 4)], s->values[x].shape);
        d->operands[0] = x;
        break;
    }
    case 7:
        if (s->values[x].shape.ndim > 0) {
            drawn *d = add(s, ROW, dtype, s->values[x].shape);
            d->which = (int)pick(s, 2);
            d->operands[0] = x;
        }
        break;
    case 8: draw_norm(s, x); break;
    case 9: draw_reduce(s, x); break;
    case 10: draw_view(s, x); break;
    default: draw_matmuls(s, x); break;
    }
}

static mia_shape draw_shape(session *s) {
    static const int64_t extents[] = {1, 3, 32, 17, 64, 40, 256, 5};
    mia_shape shape = {.ndim = 1 + (uint32_t)pick(s, 3)};
    for (uint32_t m = 0; m < shape.ndim; m++) shape.extent[m] = extents[pick(s, m == 0 ? 8 : 4)];
    int64_t odd = pick(s, 12);
    if (odd == 0) shape = MIA_SHAPE(5001, 3); /* longer than what threads take at once */
    if (odd == 1) shape = MIA_SHAPE(7, 1500); /* short rows */
    if (odd == 2) shape = MIA_SHAPE(70000);   /* cut into parts */
    return shape;
}

static void draw_program(session *s, uint64_t seed) {
    static const mia_dtype types[] = {MIA_f32, MIA_f32, MIA_f32, MIA_f16, MIA_bf16, MIA_f64};
    *s = (session){.seed = seed, .state = seed};
    s->mood = pick(s, 4) > 0 ? MOOD_PLAIN : (mood)pick(s, MOODS);
    (void)add_leaf(s, types[pick(s, 6)], draw_shape(s));
    int64_t most = 3 + pick(s, MOST - 14);
    for (int tries = 0; tries < 200 && s->count < most; tries++) draw_operation(s);
    s->values[s->count - 1].read = true;
}

static void free_program(session *s) {
    for (int i = 0; i < s->count; i++)
        if (s->values[i].kind == LEAF) operand_free(&s->values[i].leaf);
}

/* --- running ---------------------------------------------------------------------------------- */

static mia_tensor record_value(const drawn *d, const mia_tensor *values, mia_device *device) {
    if (d->kind == LEAF) return operand_make(&d->leaf, device);
    mia_tensor t[OPERANDS] = {{0}};
    for (int k = 0; k < OPERANDS; k++)
        if (d->operands[k] >= 0) t[k] = mia_op_ref(values[d->operands[k]], SITE);
    switch (d->kind) {
    case UNARY: return unaries[d->which](t[0], SITE);
    case BINARY: return binaries[d->which](t[0], t[1], SITE);
    case CONVERT: return mia_op_convert(t[0], d->dtype, SITE);
    case ROW: return rows[d->which](t[0], SITE);
    case NORM:
        return d->which == 0   ? mia_op_l2_norm(t[0], 1e-6, SITE)
               : d->which == 1 ? mia_op_rms_norm(t[0], t[1], 1e-6, SITE)
                               : mia_op_layer_norm(t[0], t[1], t[2], 1e-6, SITE);
    case REDUCE: return reductions[d->which](t[0], d->modes, SITE);
    case MATMUL: return mia_op_matmul(t[0], t[1], SITE);
    case RESHAPE: return mia_op_reshape(t[0], d->shape, SITE);
    case FLIP: return mia_op_slice(t[0], 0, d->shape.extent[0] - 1, d->shape.extent[0], -1, SITE);
    default: return mia_op_transpose(t[0], 0, 1, SITE);
    }
}

/* Reads the values that are asked for into one piece of memory, those of one eval; the others nobody refers to. */
static uint8_t *run_program(const session *s, mia_device *device, size_t *bytes) {
    mia_tensor values[MOST], wanted[MOST];
    size_t count = 0, used = 0;
    mia_error error = {0};
    *bytes = 0;
    for (int i = 0; i < s->count; i++) {
        values[i] = record_value(&s->values[i], values, device);
        if (s->values[i].read) *bytes += bytes_of(s->values[i].dtype, &s->values[i].shape);
    }
    for (int i = 0; i < s->count; i++) {
        if (s->values[i].read)
            wanted[count++] = values[i];
        else
            mia_op_unref(values[i], SITE);
    }
    if (mia_tensor_eval(wanted, count, &error) != MIA_OK)
        fail_msg("program %llu: %s", (unsigned long long)s->seed, error.message);
    uint8_t *out = malloc(*bytes + 1);
    assert_non_null(out);
    for (int i = 0, n = 0; i < s->count; i++) {
        if (!s->values[i].read) continue;
        size_t size = bytes_of(s->values[i].dtype, &s->values[i].shape);
        if (mia_tensor_read(wanted[n++], out + used, size, &error, SITE) != MIA_OK)
            fail_msg("program %llu: %s", (unsigned long long)s->seed, error.message);
        used += size;
    }
    return out;
}

static void print_program(const session *s) {
    static const char *const names[] = {"leaf",   "unary",  "binary",  "convert", "row", "norm",
                                        "reduce", "matmul", "reshape", "flip",    "turn"};
    for (int i = 0; i < s->count; i++) {
        const drawn *d = &s->values[i];
        char shape[100];
        printf("  %2d %s %s %s %d", i, names[d->kind], mia_dtype_describe(d->dtype)->name,
               mia__shape_text(&d->shape, shape, sizeof shape), d->which);
        for (int k = 0; k < OPERANDS; k++)
            if (d->operands[k] >= 0) printf(", %d", d->operands[k]);
        printf(" modes %u%s\n", d->modes, d->read ? " read" : "");
    }
}

/* The same bits, but for which NaN it is. */
static void compare(const session *s, const uint8_t *want, const uint8_t *got) {
    size_t used = 0;
    for (int i = 0; i < s->count; i++) {
        const drawn *d = &s->values[i];
        if (!d->read) continue;
        size_t size = mia_dtype_describe(d->dtype)->bytes;
        for (int64_t n = 0; n < elements_of(&d->shape); n++, used += size) {
            if (memcmp(want + used, got + used, size) == 0) continue;
            double a = load_number(d->dtype, want + used, 0), b = load_number(d->dtype, got + used, 0);
            if (isnan(a) && isnan(b)) continue;
            print_program(s);
            fail_msg("program %llu: number %lld of value %d is %.17g when fused, not %.17g",
                     (unsigned long long)s->seed, (long long)n, i, b, a);
        }
    }
}

static mia_device *open_device(bool no_fusion, uint32_t threads, mia_precision precision) {
    mia_device_options options = {
        .backend = "cpu", .threads = threads, .no_fusion = no_fusion, .precision = precision};
    mia_device *device = NULL;
    mia_error error = {0};
    if (mia_device_open(&options, &device, &error) != MIA_OK) fail_msg("%s", error.message);
    return device;
}

static uint64_t seed;

/* On devices of their own, which keep the programs' constants until they are closed. */
static void run_some(mia_precision precision, long first, long end) {
    mia_device *devices[3] = {open_device(true, 1, precision), open_device(false, 1, precision),
                              open_device(false, 3, precision)};
    static session s;
    for (long round = first; round < end; round++) {
        draw_program(&s, seed + (uint64_t)round);
        uint8_t *out[3];
        size_t bytes;
        for (int i = 0; i < 3; i++) out[i] = run_program(&s, devices[i], &bytes);
        compare(&s, out[0], out[1]);
        compare(&s, out[0], out[2]);
        for (int i = 0; i < 3; i++) free(out[i]);
        free_program(&s);
    }
    mia_device_counters single = mia_device_count(devices[0]), fused = mia_device_count(devices[1]);
    printf("%llu steps one by one, %llu fused\n", (unsigned long long)single.kernels,
           (unsigned long long)fused.kernels);
    assert_int_equal(single.fallbacks, fused.fallbacks);
    assert_true(fused.kernels < single.kernels * 3 / 4);
    for (int i = 0; i < 3; i++) assert_int_equal(mia_device_close(devices[i], NULL), MIA_OK);
}

static void run_programs(mia_precision precision, long rounds) {
    for (long first = 0; first < rounds; first += 600) run_some(precision, first, first + 600);
}

static long rounds(void) {
    return getenv("MIA_TEST_LONG") != NULL ? 30000 : 1200;
}

static void test_same_bits(void **state) {
    (void)state;
    run_programs(MIA_PRECISION_DEFAULT, rounds());
}

static void test_same_bits_exact(void **state) {
    (void)state;
    run_programs(MIA_PRECISION_EXACT, rounds() / 2);
}

/* On every instruction set of the machine. */
static void test_instruction_sets(void **state) {
    (void)state;
    static const char *const sets[] = {"generic", "avx2"};
    for (int i = 0; i < 2; i++) {
        (void)setenv("MIA_CPU_ISA", sets[i], 1);
        run_programs(MIA_PRECISION_DEFAULT, rounds() / 4);
    }
    (void)unsetenv("MIA_CPU_ISA");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits),
                                       cmocka_unit_test(test_same_bits_exact),
                                       cmocka_unit_test(test_instruction_sets)};
    seed = test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
