/* What a plan says that it needs is what the device then holds, to the byte: random programs, whose device memory is
 * counted at the allocation hook as well as by the device; and limits that a byte decides. */
#include "support.h"

#include <inttypes.h>
#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* --- an allocator that tells device memory, which is aligned to 64 bytes, from the rest --------- */

typedef struct counting {
    mia_allocator hook;
    pthread_mutex_t lock;
    uint64_t bytes, peak;
} counting;

#define ROOM 64 /* in front of what is handed out: whether it counts */

static void *count_allocate(void *user, size_t bytes, size_t alignment) {
    counting *c = user;
    void *pointer = NULL;
    if (bytes > (size_t)1 << 40) return NULL;
    if (posix_memalign(&pointer, alignment < ROOM ? ROOM : alignment, bytes + ROOM) != 0) return NULL;
    bool counts = alignment == 64;
    memcpy(pointer, &counts, sizeof counts);
    (void)pthread_mutex_lock(&c->lock);
    if (counts) c->bytes += bytes;
    if (c->bytes > c->peak) c->peak = c->bytes;
    (void)pthread_mutex_unlock(&c->lock);
    return (char *)pointer + ROOM;
}

static void count_release(void *user, void *pointer, size_t bytes) {
    counting *c = user;
    bool counts;
    pointer = (char *)pointer - ROOM;
    memcpy(&counts, pointer, sizeof counts);
    (void)pthread_mutex_lock(&c->lock);
    if (counts) c->bytes -= bytes;
    (void)pthread_mutex_unlock(&c->lock);
    free(pointer);
}

static void counting_init(counting *c) {
    *c = (counting){.hook = {count_allocate, count_release, c}};
    (void)pthread_mutex_init(&c->lock, NULL);
}

/* --- programs ----------------------------------------------------------------------------------- */

#define HELD 8

typedef struct program {
    mia_device *device;
    uint64_t random;
    mia_tensor_f32 values[HELD];
    int count;
} program;

static uint64_t seed;

static int64_t pick(program *p, int64_t limit) {
    return test_below(&p->random, limit);
}

static mia_device *open_device(const mia_device_options *options) {
    mia_device *device = NULL;
    mia_error error = {0};
    if (mia_device_open(options, &device, &error) != MIA_OK) fail_msg("%s", error.message);
    return device;
}

static void put(program *p, mia_tensor_f32 t) {
    if (p->count < HELD)
        p->values[p->count++] = t;
    else
        mia_unref(t);
}

static mia_tensor_f32 take(program *p) {
    int which = (int)pick(p, p->count);
    if (pick(p, 3) == 0) return mia_ref(p->values[which]);
    mia_tensor_f32 taken = p->values[which];
    p->values[which] = p->values[--p->count];
    return taken;
}

/* Values are [a, b]; leaves of up to 24 x 24 numbers, some of them constants. */
static const float numbers[96 * 33];

static void put_leaf(program *p) {
    mia_shape shape = MIA_SHAPE(1 + pick(p, 24), 1 + pick(p, 24));
    put(p, pick(p, 4) == 0 ? mia_constant(f32, p->device, shape, numbers)
                           : mia_upload(f32, p->device, shape, numbers));
}

static void put_operation(program *p) {
    mia_tensor_f32 x = take(p);
    mia_shape shape = mia_tensor_shape(x.untyped);
    int32_t start = 0;
    switch (pick(p, 11)) {
    case 0: put(p, mia_neg(x)); break;
    case 1: put(p, mia_exp(x)); break;
    case 2: put(p, mia_add(mia_ref(x), mia_softmax(x))); break;
    case 3: put(p, mia_softmax(x)); break;
    case 4: put(p, mia_sum(x, 1)); break;
    case 5: put(p, mia_pad(x, 1, 1, 0, MIA_PAD_CONSTANT, 0)); break;
    case 6: put(p, mia_slice(x, 0, 0, (shape.extent[0] + 1) / 2, 1)); break;
    case 7: put(p, mia_permute(x, MIA_SHAPE(1, 0))); break;
    case 8: put(p, mia_matmul(mia_ref(x), x)); break; /* [b, b] */
    case 9:
        put(p, mia_update(x, mia_copy(mia_slice(mia_ref(x), 1, 0, 1, 1)),
                          mia_upload(i32, p->device, MIA_SCALAR, &start), 1));
        break;
    default: /* [1 to 24, b] */
        put(p, mia_matmul(mia_constant(f32, p->device, MIA_SHAPE(shape.extent[0], 1 + pick(p, 24)), numbers),
                          x));
    }
}

static void record(program *p, mia_device *device, uint64_t from) {
    *p = (program){.device = device, .random = from};
    for (int64_t leaves = 1 + pick(p, 4); leaves > 0; leaves--) put_leaf(p);
    for (int64_t steps = 1 + pick(p, 14); steps > 0; steps--) {
        if (p->count == 0) put_leaf(p);
        put_operation(p);
    }
}

/* The values as a list; some are let go of first. */
static size_t list_values(program *p, mia_tensor *list) {
    while (p->count > 1 && pick(p, 4) == 0) mia_unref(p->values[--p->count]);
    for (int i = 0; i < p->count; i++) list[i] = p->values[i].untyped;
    return (size_t)p->count;
}

static void forget(program *p) {
    while (p->count > 0) mia_unref(p->values[--p->count]);
}

/* --- tests -------------------------------------------------------------------------------------- */

/* Says what is planned, runs it, and holds both counts against it. Several programs follow each other on a device,
 * with the arena of those before, and what they left behind. */
static void run_and_compare(mia_device *device, counting *c, uint64_t from, uint64_t before) {
    program p;
    mia_tensor list[HELD];
    mia_plan_info info;
    mia_error error = {0};
    record(&p, device, from);
    size_t count = list_values(&p, list);
    mia_device_counters counters = mia_device_count(device);
    bool fresh = counters.runs == 0 && counters.peak_bytes == counters.bytes;
    if (mia_tensor_plan(list, count, &info, &error) != MIA_OK) fail_msg("%s", error.message);
    assert_int_equal(mia_device_count(device).bytes, counters.bytes); /* planning takes none */
    c->peak = 0;
    if (mia_tensor_eval(list, count, &error) != MIA_OK) fail_msg("%s", error.message);
    uint64_t most = info.peak_bytes > counters.peak_bytes ? info.peak_bytes : counters.peak_bytes;
    assert_int_equal(mia_device_count(device).peak_bytes, most);
    if (c->peak > 0) assert_int_equal(c->peak - before, info.peak_bytes);
    if (fresh && counters.bytes == info.input_bytes + info.constant_bytes)
        assert_int_equal(info.needed_bytes, info.peak_bytes);
    assert_true(info.needed_bytes <= info.peak_bytes);
    forget(&p);
}

static void compare_on(const char *backend, bool no_fusion, long rounds) {
    for (long round = 0; round < rounds; round++) {
        counting c;
        counting_init(&c);
        mia_device *device = open_device(&(mia_device_options){
            .backend = backend, .threads = 1, .no_fusion = no_fusion, .allocator = &c.hook});
        uint64_t before = c.bytes;
        for (uint64_t n = 0; n < 3; n++) run_and_compare(device, &c, seed + 3 * (uint64_t)round + n, before);
        assert_int_equal(mia_device_close(device, NULL), MIA_OK);
        assert_int_equal(c.bytes, 0);
    }
}

static long rounds(void) {
    return getenv("MIA_TEST_LONG") != NULL ? 20000 : 700;
}

static void test_on_cpu(void **state) {
    (void)state;
    compare_on("cpu", false, rounds());
}

static void test_without_fusion(void **state) {
    (void)state;
    compare_on("cpu", true, rounds());
}

static void test_on_reference(void **state) {
    (void)state;
    compare_on("reference", false, rounds());
}

/* The limit that is what a program needs lets it run; one byte less refuses it with both numbers, and nothing was
 * taken. */
static void test_a_byte_decides(void **state) {
    (void)state;
    long refused = 0;
    for (long round = 0; round < rounds(); round++) {
        uint64_t limit = 0;
        for (int less = 0; less < 3; less++) { /* without a limit, at it, below it */
            mia_device *device =
                open_device(&(mia_device_options){.threads = 1, .max_bytes = limit - (less == 2)});
            program p;
            mia_tensor list[HELD];
            mia_plan_info info;
            mia_error error = {0};
            record(&p, device, seed + (uint64_t)round);
            size_t count = list_values(&p, list);
            mia_device_counters before = mia_device_count(device);
            assert_int_equal(mia_tensor_plan(list, count, &info, NULL), MIA_OK);
            mia_status status = mia_tensor_eval(list, count, &error);
            assert_int_equal(status, less == 2 ? MIA_ERROR_OVER_LIMIT : MIA_OK);
            if (less == 2) {
                char needs[40], limits[40];
                (void)snprintf(needs, sizeof needs, " %" PRIu64 " bytes", info.peak_bytes - before.bytes);
                (void)snprintf(limits, sizeof limits, " limit of %" PRIu64, limit - 1);
                assert_true(strstr(error.message, needs) != NULL && strstr(error.message, limits) != NULL);
                assert_int_equal(mia_device_count(device).bytes, before.bytes);
                assert_int_equal(mia_device_count(device).peak_bytes, before.peak_bytes);
                refused++;
            }
            bool decides = info.peak_bytes > before.peak_bytes; /* recording took less */
            limit = info.peak_bytes;
            forget(&p);
            assert_int_equal(mia_device_close(device, NULL), MIA_OK);
            if (!decides) break;
        }
    }
    printf("%ld programs refused for a byte\n", refused);
    assert_true(refused > rounds() / 2);
}

/* An arena that is too small stays until the runs that use it are over. */
static void test_arena_in_use(void **state) {
    (void)state;
    mia_device *device = open_device(&(mia_device_options){.backend = "null"});
    mia_tensor made[2];
    mia_ticket *tickets[2];
    for (int64_t i = 0; i < 2; i++) {
        mia_tensor_f32 x = mia_full(f32, device, MIA_SHAPE(64 + 64 * i, 4), 1);
        made[i] = mia_sum(mia_softmax(mia_copy(mia_neg(x))), 3).untyped;
        mia_plan_info info;
        assert_int_equal(mia_tensor_plan(&made[i], 1, &info, NULL), MIA_OK);
        assert_true(info.arena_bytes > 0);
        tickets[i] = mia_tensor_eval_begin(&made[i], 1);
        assert_int_equal(mia_device_count(device).bytes, info.peak_bytes);
        assert_int_equal(mia_device_count(device).peak_bytes, info.peak_bytes);
    }
    for (int i = 0; i < 2; i++) {
        mia_ticket_wait(tickets[i]);
        assert_int_equal(mia_ticket_finish(tickets[i], NULL), MIA_OK);
        mia_op_unref(made[i], NULL, 0);
    }
    assert_int_equal(mia_device_close(device, NULL), MIA_OK);
}

/* Temporaries of 2^62 bytes each, together more than can be counted: refused, not taken for few. */
static void test_more_than_can_be(void **state) {
    (void)state;
    counting c;
    counting_init(&c);
    mia_device *device = open_device(&(mia_device_options){.threads = 1, .allocator = &c.hook});
    mia_tensor_f32 x = mia_full(f32, device, MIA_SHAPE(1), 1), all = mia_full(f32, device, MIA_SHAPE(1), 0);
    for (int i = 0; i < 6; i++) {
        mia_tensor_f32 large = mia_softmax(mia_add(mia_broadcast(mia_ref(x), MIA_SHAPE(INT64_C(1) << 60)),
                                                   mia_full(f32, device, MIA_SHAPE(1), i)));
        all = mia_add(mia_sum(mia_mul(large, mia_softmax(mia_ref(large))), 1), all);
    }
    mia_unref(x);
    mia_error error = {0};
    float number;
    assert_true(mia_read(all, &number, 1, &error) != MIA_OK);
    assert_true(error.status == MIA_ERROR_NO_MEMORY || error.status == MIA_ERROR_OVER_LIMIT);
    assert_int_equal(mia_device_close(device, NULL), MIA_OK);
}

/* A tape on a device that has nothing else. */
static void test_tapes(void **state) {
    (void)state;
    mia_error error = {0};
    mia_device *device = open_device(&(mia_device_options){.threads = 1});
    mia_tensor_f32 x = mia_input(f32, device, MIA_SHAPE(96, 7)), y = mia_input(f32, device, MIA_SHAPE(96, 1));
    mia_tensor_f32 z = mia_softmax(mia_add(mia_softmax(mia_ref(x)), mia_ref(y)));
    mia_tensor_f32 w = mia_constant(f32, device, MIA_SHAPE(96, 33), numbers);
    z = mia_matmul(mia_reshape(mia_slice(mia_permute(w, MIA_SHAPE(0, 1)), 1, 0, 7, 1), MIA_SHAPE(96, 7)), z);
    const mia_named inputs[] = {{"x", x.untyped}, {"y", y.untyped}}, output = {"z", z.untyped};
    mia_tape *tape;
    mia_plan_info info;
    if (mia_tape_record(inputs, 2, &output, 1, &tape, &error) != MIA_OK) fail_msg("%s", error.message);
    mia_unref(x), mia_unref(y), mia_unref(z);
    assert_int_equal(mia_tape_plan(tape, &info, NULL), MIA_OK);
    assert_int_equal(info.peak_bytes, info.needed_bytes);
    mia_tensor given[] = {mia_upload(f32, device, MIA_SHAPE(96, 7), numbers).untyped,
                          mia_upload(f32, device, MIA_SHAPE(96, 1), numbers).untyped},
               made;
    if (mia_tape_run(tape, given, &made, &error) != MIA_OK) fail_msg("%s", error.message);
    assert_int_equal(mia_device_count(device).peak_bytes, info.needed_bytes);
    mia_op_unref(made, NULL, 0);
    mia_tape_close(tape);
    assert_int_equal(mia_device_close(device, NULL), MIA_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_on_cpu),       cmocka_unit_test(test_without_fusion),
        cmocka_unit_test(test_on_reference), cmocka_unit_test(test_a_byte_decides),
        cmocka_unit_test(test_arena_in_use), cmocka_unit_test(test_more_than_can_be),
        cmocka_unit_test(test_tapes),
    };
    seed = test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
