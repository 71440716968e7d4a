/* Long programs: chains of ten thousand operations and more are recorded, planned, run, dropped unread, made a tape,
 * drawn, saved and loaded on a stack of 128 KiB, in work that grows with their length and no faster; and a loop that
 * runs for ever takes no more memory than at its beginning. */
#include "support.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define STACK ((size_t)128 << 10)
#define TIMES 8 /* as long is a long chain as a short one */

/* --- work, counted ---------------------------------------------------------------------------- */

/* Nanoseconds that this thread had a processor. */
static double work_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

typedef enum phase { RECORD, RUN, DROP, MAKE_TAPE, PLAN, RUN_TAPE, DRAW, SAVE, LOAD, CLOSE, PHASES } phase;
static const char *const phase_names[PHASES] = {
    "recorded", "planned and run", "dropped", "made a tape", "planned",
    "run",      "drawn",           "saved",   "loaded",      "closed"};

typedef struct cost {
    double work[PHASES];
    long allocations[PHASES];
} cost;

/* --- a chain at work: in a thread of its own, which reports by `problem` ----------------------- */

typedef mia_tensor_f32 (*link_of)(mia_tensor_f32 x, mia_tensor_f32 one, int i);

typedef struct chain {
    link_of link;
    int count;
    bool no_fusion;
    double start, result; /* the first number, and the last's */
    double each;          /* what an operation adds */
    /* at work */
    test_allocator allocator;
    mia_device *device;
    double began;
    long allocated;
    cost cost;
    char problem[600];
} chain;

#define TRY(call)                                                                                            \
    do {                                                                                                     \
        mia_error error = {0};                                                                               \
        if ((call) != MIA_OK && c->problem[0] == '\0')                                                       \
            (void)snprintf(c->problem, sizeof c->problem, "%s: %s", #call, error.message);                   \
    } while (0)
#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition) && c->problem[0] == '\0')                                                           \
            (void)snprintf(c->problem, sizeof c->problem, "line %d: %s", __LINE__, #condition);              \
    } while (0)

static void begin(chain *c) {
    c->allocated = c->allocator.allocations;
    c->began = work_now();
}

static void done(chain *c, phase p) {
    c->cost.work[p] = work_now() - c->began;
    c->cost.allocations[p] = c->allocator.allocations - c->allocated;
    begin(c);
}

static mia_tensor_f32 link_all(const chain *c, mia_tensor_f32 x, mia_tensor_f32 one) {
    for (int i = 0; i < c->count; i++) x = c->link(x, mia_ref(one), i);
    mia_unref(one);
    return x;
}

static mia_tensor_f32 record(const chain *c) {
    return link_all(c, mia_full(f32, c->device, MIA_SHAPE(1, 2), c->start),
                    mia_full(f32, c->device, MIA_SHAPE(1, 2), 1));
}

static void use_values(chain *c) {
    float out[2] = {0};
    begin(c);
    mia_tensor_f32 x = record(c);
    done(c, RECORD);
    TRY(mia_read(x, out, 2, &error));
    done(c, RUN);
    CHECK(out[0] == (float)(c->result + c->each * c->count) && out[1] == out[0]);
    x = record(c);
    begin(c);
    mia_unref(x);
    done(c, DROP);
}

/* --- as a tape -------------------------------------------------------------------------------- */

static void count_bytes(void *user, const char *text, size_t length) {
    (void)text;
    *(size_t *)user += length;
}

static void draw(chain *c, mia_tape *tape) {
    for (int plan = 0; plan < 2; plan++)
        for (int format = MIA_DRAWING_MERMAID; format <= MIA_DRAWING_JSON; format++) {
            size_t bytes = 0;
            TRY(mia_tape_draw(tape, (mia_drawing_format)format, plan != 0, count_bytes, &bytes, &error));
            CHECK(bytes > 100);
        }
}

static void run_tape(chain *c, mia_tape *tape) {
    mia_tensor in = MIA_UNTYPED(mia_full(f32, c->device, MIA_SHAPE(1, 2), c->start)), y;
    float out[2] = {0};
    TRY(mia_tape_run(tape, &in, &y, &error));
    TRY(mia_read(mia_as(f32, y), out, 2, &error));
    CHECK(out[0] == (float)(c->result + c->each * c->count) && out[1] == out[0]);
}

static void use_file(chain *c, const char *path) {
    mia_weights *file = NULL;
    mia_tape *tape = NULL;
    begin(c);
    TRY(mia_weights_open_file(path, NULL, &file, &error));
    if (file == NULL) return;
    TRY(mia_tape_load(c->device, file, NULL, &tape, &error));
    done(c, LOAD);
    if (tape != NULL) run_tape(c, tape);
    mia_tape_close(tape);
    mia_weights_close(file);
}

static void use_tape(chain *c) {
    char path[1024];
    const char *folder = getenv("TMPDIR");
    (void)snprintf(path, sizeof path, "%s/mia-test-scale-XXXXXX", folder != NULL ? folder : "/tmp");
    mia_tape *tape = NULL;
    mia_tensor_f32 in = mia_input(f32, c->device, MIA_SHAPE(1, 2));
    mia_tensor_f32 out = link_all(c, mia_ref(in), mia_full(f32, c->device, MIA_SHAPE(1, 2), 1));
    const mia_named inputs[1] = {{"x", MIA_UNTYPED(in)}}, outputs[1] = {{"y", MIA_UNTYPED(out)}};
    begin(c);
    TRY(mia_tape_record(inputs, 1, outputs, 1, &tape, &error));
    done(c, MAKE_TAPE);
    mia_unref(in);
    mia_unref(out);
    if (tape == NULL) return;
    mia_plan_info info;
    begin(c);
    TRY(mia_tape_plan(tape, &info, &error));
    done(c, PLAN);
    run_tape(c, tape);
    done(c, RUN_TAPE);
    draw(c, tape);
    done(c, DRAW);
    int handle = mkstemp(path);
    CHECK(handle >= 0);
    begin(c);
    TRY(mia_tape_save(tape, path, &(mia_tape_save_options){.allocator = &c->allocator.hook}, &error));
    done(c, SAVE);
    use_file(c, path);
    (void)close(handle);
    (void)remove(path);
    begin(c);
    mia_tape_close(tape);
    done(c, CLOSE);
}

static void *work(void *user) {
    chain *c = user;
    test_allocator_init(&c->allocator);
    const mia_device_options options = {
        .threads = 1, .no_fusion = c->no_fusion, .allocator = &c->allocator.hook};
    TRY(mia_device_open(&options, &c->device, &error));
    if (c->device != NULL) {
        use_values(c);
        use_tape(c);
        TRY(mia_device_close(c->device, &error));
        CHECK(c->allocator.live_bytes == 0);
    }
    return NULL;
}

static cost cost_of(chain c) {
    pthread_t thread;
    pthread_attr_t attr;
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, STACK), 0);
    assert_int_equal(pthread_create(&thread, &attr, work, &c), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)pthread_attr_destroy(&attr);
    if (c.problem[0] != '\0') fail_msg("%d operations: %s", c.count, c.problem);
    return c.cost;
}

/* The least work of a few times; allocations are always the same. */
static cost least_cost_of(const chain *c) {
    cost least = cost_of(*c);
    for (int i = 0; i < 2; i++) {
        cost one = cost_of(*c);
        for (int p = 0; p < PHASES; p++)
            if (one.work[p] < least.work[p]) least.work[p] = one.work[p];
    }
    return least;
}

/* A chain eight times as long takes eight times the allocations, and eight times the work if memory were as fast as
 * caches; with the square of the length it would be sixty-four times. What takes less than 2 us an operation is not
 * asked: something done for each pair of ten thousand would take longer. */
static void expect_linear(const char *name, chain c) {
    int count = getenv("MIA_TEST_LONG") != NULL ? 20000 : 1250;
    for (int no_fusion = 0; no_fusion < 2; no_fusion++) {
        c.no_fusion = no_fusion != 0;
        c.count = count;
        cost small = least_cost_of(&c);
        c.count = TIMES * count;
        cost large = least_cost_of(&c);
        printf("%s%s, microseconds of %d operations and how many times that of %d:\n", name,
               no_fusion ? " without fusion" : "", c.count, count);
        for (int p = 0; p < PHASES; p++) {
            double times = large.work[p] / small.work[p];
            printf("  %-16s %10.0f %6.2f %8ld allocations\n", phase_names[p], 1e-3 * large.work[p], times,
                   large.allocations[p]);
            if (times > 5 * TIMES && large.work[p] > 2000.0 * c.count)
                fail_msg("%s: %s takes %g times the work", name, phase_names[p], times);
            assert_true(large.allocations[p] <= TIMES * small.allocations[p] + 100);
        }
    }
}

/* --- chains ----------------------------------------------------------------------------------- */

static mia_tensor_f32 add_one(mia_tensor_f32 x, mia_tensor_f32 one, int i) {
    (void)i;
    return mia_add(x, one);
}

/* Each value is read twice: whoever follows every path follows 2^count. */
static mia_tensor_f32 square_less(mia_tensor_f32 x, mia_tensor_f32 one, int i) {
    (void)i;
    mia_unref(one);
    return mia_sub(mia_square(mia_ref(x)), x);
}

/* Views of views, and now and then something that does not fuse. */
static mia_tensor_f32 turn(mia_tensor_f32 x, mia_tensor_f32 one, int i) {
    mia_unref(one);
    x = mia_transpose(mia_transpose(x, 0, 1), 0, 1);
    return i % 50 == 49 ? mia_cumsum(x, 0, false, false) : x;
}

/* Steps that fuse with nothing, and some that do. */
static mia_tensor_f32 scan(mia_tensor_f32 x, mia_tensor_f32 one, int i) {
    (void)i;
    return mia_mul(mia_cumsum(x, 0, false, false), one);
}

static void test_sums(void **state) {
    (void)state;
    expect_linear("sums", (chain){.link = add_one, .each = 1});
}

static void test_diamonds(void **state) {
    (void)state;
    expect_linear("diamonds", (chain){.link = square_less, .start = 2, .result = 2});
}

static void test_views(void **state) {
    (void)state;
    expect_linear("views", (chain){.link = turn, .start = 3, .result = 3});
}

static void test_steps(void **state) {
    (void)state;
    expect_linear("steps", (chain){.link = scan, .start = 3, .result = 3});
}

/* --- loops ------------------------------------------------------------------------------------ */

/* Steps of all kinds: of values that give themselves away, of kept ones, dropped ones, and a tape. */
static void test_loop(void **state) {
    (void)state;
    int rounds = getenv("MIA_TEST_LONG") != NULL ? 1000000 : 20000;
    test_allocator allocator;
    test_allocator_init(&allocator);
    mia_device *device = NULL;
    mia_tape *tape = NULL;
    assert_int_equal(
        mia_device_open(&(mia_device_options){.threads = 1, .allocator = &allocator.hook}, &device, NULL),
        MIA_OK);
    mia_tensor_f32 in = mia_input(f32, device, MIA_SHAPE(5)), next = mia_add(mia_ref(in), 1);
    const mia_named inputs[1] = {{"x", MIA_UNTYPED(in)}}, outputs[1] = {{"y", MIA_UNTYPED(next)}};
    assert_int_equal(mia_tape_record(inputs, 1, outputs, 1, &tape, NULL), MIA_OK);
    mia_unref(in);
    mia_unref(next);
    mia_tensor_f32 x = mia_full(f32, device, MIA_SHAPE(5), 0), y;
    size_t peak = 0, live = 0;
    for (int i = 0; i < rounds; i++) {
        mia_unref(mia_exp(mia_ref(x)));
        y = mia_mul(mia_ref(x), 2);
        const mia_tensor both[2] = {MIA_UNTYPED(x = mia_add(x, 1)), MIA_UNTYPED(y)};
        assert_int_equal(mia_tensor_eval(both, 2, NULL), MIA_OK);
        mia_unref(y);
        const mia_tensor given[1] = {MIA_UNTYPED(x)};
        mia_tensor got[1];
        assert_int_equal(mia_tape_run(tape, given, got, NULL), MIA_OK);
        x = mia_as(f32, got[0]);
        if (i == 1000) {
            peak = allocator.peak_bytes;
            live = allocator.live_bytes;
        }
    }
    printf("%d rounds: %zu bytes at most, %zu at the end\n", rounds, allocator.peak_bytes,
           allocator.live_bytes);
    assert_int_equal(allocator.peak_bytes, peak);
    assert_int_equal(allocator.live_bytes, live);
    float out[5];
    assert_int_equal(mia_read(x, out, 5, NULL), MIA_OK);
    assert_true(out[4] == (float)(2 * rounds));
    mia_tape_close(tape);
    assert_int_equal(mia_device_close(device, NULL), MIA_OK);
    assert_int_equal(allocator.live_bytes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),  cmocka_unit_test(test_diamonds), cmocka_unit_test(test_views),
        cmocka_unit_test(test_steps), cmocka_unit_test(test_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
