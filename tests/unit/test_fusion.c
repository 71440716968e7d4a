/* Random programs of element-wise operations and conversions through the public API, on the cpu backend with
 * fusion and without: the bits are the same. Programs of operations that every backend rounds alike are held
 * against the reference, too. Types, shapes that repeat, views, and who else refers to a value are drawn.
 *
 * MIA_TEST_BACKEND=webgpu tests that backend's bits instead, on the GPU that it finds. */
#include "ops/operand.h"
#include "ops/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define LEAVES  4
#define MOST    30 /* values of a program */
#define DEVICES 3

/* A value is a leaf, or one operation on values before it. */
typedef struct drawn {
    const row *row; /* NULL: a leaf */
    operand leaf;
    mia_dtype dtype;
    mia_shape shape;
    int operands[3];
    mia_dtype target;
    double real, high;
    bool reversed; /* its first mode is turned round after it */
    bool read;     /* its numbers are asked for */
} drawn;

typedef struct session {
    uint64_t seed, state;
    bool exact;
    mood mood;
    mia_shape base;
    drawn values[MOST];
    int count;
} session;

static bool on_gpu;

static int64_t pick(session *s, int64_t limit) {
    return test_below(&s->state, limit);
}

/* --- drawing ---------------------------------------------------------------------------------- */

/* Operations that are rounded once, and without a choice, however they are computed. */
static bool is_exact(mia_op op) {
    switch ((int)op) {
    case MIA_OP_convert:
    case MIA_OP_add:
    case MIA_OP_sub:
    case MIA_OP_mul:
    case MIA_OP_div:
    case MIA_OP_min:
    case MIA_OP_max:
    case MIA_OP_fmod:
    case MIA_OP_where:
    case MIA_OP_neg:
    case MIA_OP_abs:
    case MIA_OP_square:
    case MIA_OP_relu:
    case MIA_OP_sqrt:
    case MIA_OP_reciprocal:
    case MIA_OP_sign:
    case MIA_OP_floor:
    case MIA_OP_ceil:
    case MIA_OP_round:
    case MIA_OP_squared_relu:
    case MIA_OP_clamp: return true;
    default: return (op >= MIA_OP_equal && op <= MIA_OP_logical_xor) || op == MIA_OP_logical_not;
    }
}

static bool is_wanted(const session *s, const row *r) {
    if (mia_op_describe(r->op)->op_class != MIA_CLASS_ELEMENTWISE && r->op != MIA_OP_convert) return false;
    return !s->exact || is_exact(r->op);
}

static void draw_leaf(session *s) {
    static const mia_dtype types[] = {MIA_f32, MIA_f32, MIA_f16, MIA_bf16, MIA_f64,
                                      MIA_i32, MIA_u32, MIA_i8,  MIA_u8,   MIA_bool8};
    drawn *d = &s->values[s->count++];
    *d = (drawn){.dtype = types[pick(s, 10)], .shape = s->base};
    if (on_gpu && d->dtype == MIA_f64) d->dtype = MIA_f32;
    for (uint32_t m = 0; m < d->shape.ndim; m++)
        if (pick(s, 4) == 0) d->shape.extent[m] = 1;
    d->leaf = (operand){.dtype = d->dtype, .shape = d->shape};
    operand_draw(&s->state, &d->leaf, s->mood);
}

/* A value of a type, the last ones more often; -1 when there is none. */
static int some_value(session *s, mia_dtype dtype) {
    for (int tries = 0; tries < 2 * MOST; tries++) {
        int back = (int)pick(s, pick(s, 2) == 0 ? 3 : MOST), i = s->count - 1 - back;
        if (i >= 0 && (dtype == MIA_NONE || s->values[i].dtype == dtype)) return i;
    }
    return -1;
}

static void repeat_to(mia_shape *shape, const mia_shape *other) {
    for (uint32_t m = 0; m < shape->ndim; m++)
        if (shape->extent[m] == 1) shape->extent[m] = other->extent[m];
}

static bool draw_operation(session *s) {
    static const double numbers[] = {0, 0.01, 1, 1.5, -0.5, 7, 100, -3};
    const row *r = &rows[pick(s, ROWS)];
    if (!is_wanted(s, r)) return false;
    drawn d = {.row = r, .operands = {-1, -1, -1}, .real = numbers[pick(s, 8)], .high = numbers[pick(s, 8)]};
    int count = (int)mia_op_describe(r->op)->operands, typed = r->op == MIA_OP_where ? 1 : 0;
    int x = d.operands[typed] = some_value(s, MIA_NONE);
    mia_dtype dtype = s->values[x].dtype;
    if ((r->types >> dtype & 1) == 0) return false;
    for (int k = 0; k < count; k++) {
        if (k != typed) d.operands[k] = some_value(s, r->op == MIA_OP_where && k == 0 ? MIA_bool8 : dtype);
        if (d.operands[k] < 0) return false;
    }
    d.shape = s->values[x].shape;
    for (int k = 0; k < count; k++) repeat_to(&d.shape, &s->values[d.operands[k]].shape);
    d.target = (mia_dtype)(MIA_f32 + pick(s, MIA_bool8));
    if (on_gpu && d.target == MIA_f64) d.target = MIA_f16;
    d.dtype = r->op == MIA_OP_convert ? d.target : r->form == SIGNATURE_COMPARE ? MIA_bool8 : dtype;
    d.reversed = pick(s, 12) == 0;
    d.read = pick(s, 8) == 0;
    s->values[s->count++] = d;
    return true;
}

static void draw_program(session *s, uint64_t seed, bool exact) {
    static const int64_t extents[] = {1, 3, 5, 17, 33, 40, 2};
    *s = (session){.seed = seed, .state = seed, .exact = exact};
    s->mood = (mood)pick(s, MOODS);
    s->base.ndim = (uint32_t)pick(s, 4);
    for (uint32_t m = 0; m < s->base.ndim; m++) s->base.extent[m] = extents[pick(s, 7)];
    if (s->base.ndim > 0 && pick(s, 6) == 0) s->base = MIA_SHAPE(1030, 3);
    for (int64_t leaves = 1 + pick(s, LEAVES); leaves > 0; leaves--) draw_leaf(s);
    int64_t operations = 2 + pick(s, MOST - LEAVES - 2);
    for (int tries = 0; tries < 4000 && operations > 0; tries++) operations -= draw_operation(s);
    s->values[s->count - 1].read = true;
}

static void free_program(session *s) {
    for (int i = 0; i < s->count; i++)
        if (s->values[i].row == NULL) operand_free(&s->values[i].leaf);
}

/* --- running ---------------------------------------------------------------------------------- */

static mia_tensor record_value(const drawn *d, const mia_tensor *values, mia_device *device) {
    if (d->row == NULL) return operand_make(&d->leaf, device);
    program p = {.row = d->row, .target = d->target, .real = d->real, .high = d->high};
    mia_tensor t[MOST_OPERANDS] = {{0}};
    for (uint32_t k = 0; k < mia_op_describe(d->row->op)->operands; k++)
        t[k] = mia_op_ref(values[d->operands[k]], SITE);
    mia_tensor y = record(&p, t);
    if (d->reversed && d->shape.ndim > 0)
        y = mia_op_slice(y, 0, d->shape.extent[0] - 1, d->shape.extent[0], -1, SITE);
    return y;
}

/* Reads the values that are asked for into one piece of memory; the others nobody refers to by then. */
static uint8_t *run_program(const session *s, mia_device *device, size_t *bytes) {
    mia_tensor values[MOST];
    *bytes = 0;
    for (int i = 0; i < s->count; i++) {
        values[i] = record_value(&s->values[i], values, device);
        if (s->values[i].read) *bytes += bytes_of(s->values[i].dtype, &s->values[i].shape);
    }
    for (int i = 0; i < s->count; i++)
        if (!s->values[i].read) mia_op_unref(values[i], SITE);
    uint8_t *out = malloc(*bytes + 1);
    assert_non_null(out);
    size_t used = 0;
    for (int i = s->count; i-- > 0;) {
        if (!s->values[i].read) continue;
        mia_error error = {0};
        size_t size = bytes_of(s->values[i].dtype, &s->values[i].shape);
        if (mia_tensor_read(values[i], out + used, size, &error, SITE) != MIA_OK)
            fail_msg("program %llu: %s", (unsigned long long)s->seed, error.message);
        used += size;
    }
    return out;
}

static void print_program(const session *s) {
    for (int i = 0; i < s->count; i++) {
        const drawn *d = &s->values[i];
        printf("  %2d %s %s", i, mia_dtype_describe(d->dtype)->name, d->row != NULL ? d->row->name : "leaf");
        for (int k = 0; k < 3 && d->row != NULL; k++)
            if (d->operands[k] >= 0) printf(" %d", d->operands[k]);
        printf("%s%s %g %g\n", d->reversed ? " reversed" : "", d->read ? " read" : "", d->real, d->high);
    }
}

/* The same bits, but for which NaN it is; against the reference the same numbers. */
static void compare(const session *s, const uint8_t *want, const uint8_t *got, const char *what) {
    size_t used = 0;
    for (int i = s->count; i-- > 0;) {
        const drawn *d = &s->values[i];
        if (!d->read) continue;
        size_t size = mia_dtype_describe(d->dtype)->bytes;
        for (int64_t n = 0; n < elements_of(&d->shape); n++, used += size) {
            if (memcmp(want + used, got + used, size) == 0) continue;
            double a = load_number(d->dtype, want + used, 0), b = load_number(d->dtype, got + used, 0);
            if ((isnan(a) && isnan(b)) || (s->exact && a == b)) continue;
            print_program(s);
            fail_msg("program %llu: number %lld of value %d is %.17g %s, not %.17g",
                     (unsigned long long)s->seed, (long long)n, i, b, what, a);
        }
    }
}

static mia_device *open_device(const char *backend, bool no_fusion, uint32_t threads) {
    mia_device_options options = {.backend = backend, .threads = threads, .no_fusion = no_fusion};
    mia_device *device = NULL;
    mia_error error = {0};
    if (mia_device_open(&options, &device, &error) != MIA_OK) fail_msg("%s", error.message);
    return device;
}

static uint64_t seed;

static void run_programs(bool exact, long rounds) {
    const char *backend = on_gpu ? "webgpu" : "cpu";
    mia_device *devices[DEVICES] = {open_device(backend, true, 1), open_device(backend, false, 2),
                                    open_device("reference", false, 1)};
    static session s;
    for (long round = 0; round < rounds; round++) {
        draw_program(&s, seed + (uint64_t)round, exact);
        uint8_t *out[DEVICES] = {NULL};
        size_t bytes;
        for (int i = 0; i < (exact ? DEVICES : 2); i++) out[i] = run_program(&s, devices[i], &bytes);
        compare(&s, out[0], out[1], "when fused");
        if (exact) compare(&s, out[2], out[1], "on the cpu");
        for (int i = 0; i < DEVICES; i++) free(out[i]);
        free_program(&s);
    }
    mia_device_counters single = mia_device_count(devices[0]), fused = mia_device_count(devices[1]);
    printf("%llu steps one by one, %llu fused\n", (unsigned long long)single.kernels,
           (unsigned long long)fused.kernels);
    assert_int_equal(single.fallbacks, 0);
    assert_int_equal(fused.fallbacks, 0);
    assert_true(fused.kernels < single.kernels * 2 / 3);
    for (int i = 0; i < DEVICES; i++) assert_int_equal(mia_device_close(devices[i], NULL), MIA_OK);
}

static long rounds(void) {
    bool full = getenv("MIA_TEST_LONG") != NULL;
    return on_gpu ? 30 : full ? 50000 : 2000;
}

static void test_same_bits(void **state) {
    (void)state;
    run_programs(false, rounds());
}

static void test_same_numbers_as_reference(void **state) {
    (void)state;
    run_programs(true, rounds());
}

/* On every instruction set of the machine. */
static void test_instruction_sets(void **state) {
    (void)state;
    static const char *const sets[] = {"generic", "avx2"};
    for (int i = 0; i < 2; i++) {
        (void)setenv("MIA_CPU_ISA", sets[i], 1);
        run_programs(false, rounds() / 4);
        run_programs(true, rounds() / 4);
    }
    (void)unsetenv("MIA_CPU_ISA");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits),
                                       cmocka_unit_test(test_same_numbers_as_reference),
                                       cmocka_unit_test(test_instruction_sets)};
    const struct CMUnitTest gpu_tests[] = {cmocka_unit_test(test_same_bits)};
    const char *backend = getenv("MIA_TEST_BACKEND");
    on_gpu = only_normal_numbers = backend != NULL && strcmp(backend, "webgpu") == 0;
    seed = test_seed();
    return on_gpu ? cmocka_run_group_tests(gpu_tests, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
}
