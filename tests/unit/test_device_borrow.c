/* Memory that is borrowed: used where it is, never written, and given back once, whatever happens. */
#include "unit/support.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COUNT 64

/* Memory to lend, aligned as its user says. */
typedef struct lent {
    float *data;
    void *memory;
    mia_device *used; /* while told: a tensor is made and given back there */
    int released;
} lent;

static void lend(lent *l, size_t misaligned) {
    *l = (lent){.memory = calloc(1, COUNT * sizeof(float) + 128)};
    assert_non_null(l->memory);
    uintptr_t at = ((uintptr_t)l->memory + 63) / 64 * 64 + misaligned;
    l->data = (float *)at;
    for (int i = 0; i < COUNT; i++) l->data[i] = (float)i;
}

static void take_back(lent *l) {
    for (int i = 0; i < COUNT; i++) assert_true(l->data[i] == (float)i);
    free(l->memory);
}

static void release(void *user) {
    lent *l = user;
    l->released++;
    if (l->used != NULL) mia_unref(mia_scalar(f32, l->used, 1));
}

static mia_device *open_device(const char *backend) {
    mia_device_options options = {.backend = backend, .threads = 2};
    mia_device *device = NULL;
    assert_int_equal(mia_device_open(&options, &device, NULL), MIA_OK);
    return device;
}

static const char *const backends[] = {"reference", "cpu"};

static void test_used_in_place(void **state) {
    (void)state;
    for (int b = 0; b < 2; b++) {
        lent l;
        lend(&l, 0);
        mia_device *device = open_device(backends[b]);
        mia_tensor_f32 x = mia_borrow(f32, device, MIA_SHAPE(COUNT), l.data, release, &l);
        assert_int_equal(l.released, 0);
        assert_int_equal(mia_device_count(device).bytes, COUNT * sizeof(float));
        l.data[3] = 100; /* against the rules, but shows that nothing was copied */
        float seen[COUNT];
        assert_int_equal(mia_read(mia_ref(x), seen, COUNT, NULL), MIA_OK);
        assert_true(seen[3] == 100);
        l.data[3] = 3;
        mia_unref(x);
        assert_int_equal(l.released, 1);
        assert_int_equal(mia_device_count(device).bytes, 0);
        assert_int_equal(mia_device_close(device, NULL), MIA_OK);
        assert_int_equal(l.released, 1);
        take_back(&l);
    }
}

/* What would be done in place goes to memory of its own. */
static void test_never_overwritten(void **state) {
    (void)state;
    for (int b = 0; b < 2; b++) {
        lent l;
        lend(&l, 0);
        l.used = open_device(backends[b]);
        mia_tensor_f32 x = mia_borrow(f32, l.used, MIA_SHAPE(COUNT), l.data, release, &l);
        float seen[COUNT];
        assert_int_equal(mia_read(mia_add(mia_neg(x), 1), seen, COUNT, NULL), MIA_OK);
        assert_true(seen[5] == -4);
        assert_int_equal(l.released, 1);
        const int32_t three = 3;
        const float part[2] = {-1, -2};
        x = mia_borrow(f32, l.used, MIA_SHAPE(COUNT), l.data, release, &l);
        x = mia_update(x, mia_upload(f32, l.used, MIA_SHAPE(2), part),
                       mia_upload(i32, l.used, MIA_SCALAR, &three), 0);
        assert_int_equal(mia_read(x, seen, COUNT, NULL), MIA_OK);
        assert_true(seen[2] == 2 && seen[3] == -1 && seen[4] == -2 && seen[5] == 5);
        assert_int_equal(l.released, 2);
        assert_int_equal(mia_device_close(l.used, NULL), MIA_OK);
        take_back(&l);
    }
}

/* A view is a use, and so is work that has not run. */
static void test_views_hold_it(void **state) {
    (void)state;
    for (int b = 0; b < 2; b++) {
        lent l;
        lend(&l, 0);
        mia_device *device = open_device(backends[b]);
        mia_tensor_f32 x = mia_borrow(f32, device, MIA_SHAPE(8, 8), l.data, release, &l);
        mia_tensor_f32 row = mia_slice(mia_ref(x), 1, 2, 1, 1);
        mia_tensor_f32 sum = mia_sum(x, MIA_ALL_MODES);
        float seen[8];
        assert_int_equal(mia_read(row, seen, 8, NULL), MIA_OK);
        assert_true(seen[1] == 17);
        assert_int_equal(l.released, 0);
        assert_int_equal(mia_read(sum, seen, 1, NULL), MIA_OK);
        assert_true(seen[0] == COUNT * (COUNT - 1) / 2);
        assert_int_equal(l.released, 1);
        assert_int_equal(mia_device_close(device, NULL), MIA_OK);
        take_back(&l);
    }
}

/* Copied, or refused: told within the call. */
static void test_given_back_at_once(void **state) {
    (void)state;
    for (int b = 0; b < 2; b++) {
        lent l;
        lend(&l, 4);
        mia_device *device = open_device(backends[b]);
        mia_tensor_f32 x = mia_borrow(f32, device, MIA_SHAPE(COUNT), l.data, release, &l);
        assert_int_equal(l.released, 1);
        float seen[COUNT];
        assert_int_equal(mia_read(x, seen, COUNT, NULL), MIA_OK);
        assert_memory_equal(seen, l.data, sizeof seen);
        x = mia_borrow(f32, device, MIA_SHAPE(-1), l.data, release, &l);
        assert_int_equal(l.released, 2);
        assert_int_equal(mia_tensor_status(MIA_UNTYPED(x), NULL), MIA_ERROR_SHAPE_MISMATCH);
        mia_unref(x);
        x = mia_borrow(f32, device, MIA_SHAPE(3), NULL, release, &l);
        assert_int_equal(l.released, 3);
        assert_int_equal(mia_tensor_status(MIA_UNTYPED(x), NULL), MIA_ERROR_INVALID_ARGUMENT);
        mia_unref(x);
        x = mia_borrow(f32, device, MIA_SHAPE(0), l.data, release, &l);
        assert_int_equal(l.released, 4);
        mia_unref(x);
        x = mia_borrow(f32, NULL, MIA_SHAPE(COUNT), l.data, release, &l);
        assert_int_equal(l.released, 5);
        mia_unref(mia_borrow(f32, device, MIA_SHAPE(COUNT), l.data, NULL, NULL));
        assert_int_equal(mia_device_close(device, NULL), MIA_OK);
        assert_int_equal(l.released, 5);
        take_back(&l);
    }
}

static void test_over_the_limit(void **state) {
    (void)state;
    lent l;
    lend(&l, 0);
    mia_device_options options = {.max_bytes = COUNT};
    mia_device *device = NULL;
    assert_int_equal(mia_device_open(&options, &device, NULL), MIA_OK);
    mia_tensor_f32 x = mia_borrow(f32, device, MIA_SHAPE(COUNT), l.data, release, &l);
    assert_int_equal(l.released, 1);
    assert_int_equal(mia_tensor_status(MIA_UNTYPED(x), NULL), MIA_ERROR_OVER_LIMIT);
    mia_unref(x);
    assert_int_equal(mia_device_close(device, NULL), MIA_OK);
    take_back(&l);
}

/* Of a handle that was left behind, and of one that work is queued for. */
static void test_closing(void **state) {
    (void)state;
    for (int queued = 0; queued < 2; queued++) {
        lent l;
        lend(&l, 0);
        mia_device *device = open_device("cpu");
        mia_tensor_f32 x = mia_borrow(f32, device, MIA_SHAPE(COUNT), l.data, release, &l);
        float sum = 0;
        if (queued) {
            mia_tensor y = MIA_UNTYPED(mia_sum(x, MIA_ALL_MODES));
            mia_ticket *ticket = mia_tensor_read_begin(y, &sum, sizeof sum, NULL, 0);
            assert_int_equal(mia_device_close(device, NULL), MIA_OK);
            assert_int_equal(mia_ticket_finish(ticket, NULL), MIA_OK);
            assert_true(sum == COUNT * (COUNT - 1) / 2);
        } else {
            assert_int_equal(mia_device_close(device, NULL), MIA_ERROR_LEAKED);
            mia_unref(x);
        }
        assert_int_equal(l.released, 1);
        take_back(&l);
    }
}

/* --- every allocation fails once -------------------------------------------------------------- */

static test_allocator allocator;

static bool try_allocation(const char *backend, long n, bool forever, size_t misaligned) {
    lent l;
    lend(&l, misaligned);
    test_allocator_init(&allocator);
    mia_device_options options = {.backend = backend, .threads = 1, .allocator = &allocator.hook};
    mia_device *device = NULL;
    assert_int_equal(mia_device_open(&options, &device, NULL), MIA_OK);
    allocator.fail_at = allocator.allocations + n;
    allocator.forever = forever;
    float seen[COUNT] = {0};
    mia_tensor_f32 x = mia_borrow(f32, device, MIA_SHAPE(COUNT), l.data, release, &l);
    mia_tensor_f32 y = mia_add(mia_ref(x), x);
    mia_status status = mia_read(y, seen, COUNT, NULL);
    bool reached = allocator.allocations > allocator.fail_at;
    allocator.fail_at = -1;
    if (status == MIA_OK)
        assert_true(seen[7] == 14);
    else
        assert_int_equal(status, MIA_ERROR_NO_MEMORY);
    assert_int_equal(l.released, 1);
    assert_int_equal(mia_device_count(device).handles, 0);
    assert_int_equal(mia_device_close(device, NULL), MIA_OK);
    assert_int_equal(l.released, 1);
    assert_int_equal(allocator.live_bytes, 0);
    take_back(&l);
    return !reached;
}

static void test_no_memory(void **state) {
    (void)state;
    for (int mode = 0; mode < 8; mode++) {
        long n = 0;
        while (!try_allocation(backends[mode & 1], n, (mode & 2) != 0, (mode & 4) != 0 ? 4 : 0)) n++;
        assert_true(n > 4);
    }
}

/* --- threads ---------------------------------------------------------------------------------- */

#define LOANS 200

typedef struct loans {
    mia_device *device;
    lent lent[LOANS];
} loans;

static void *lend_and_read(void *user) {
    loans *all = user;
    for (int i = 0; i < LOANS; i++) {
        lent *l = &all->lent[i];
        l->used = all->device;
        float sum = 0;
        mia_tensor_f32 x = mia_borrow(f32, all->device, MIA_SHAPE(COUNT), l->data, release, l);
        if (mia_read(mia_sum(x, MIA_ALL_MODES), &sum, 1, NULL) != MIA_OK || sum != COUNT * (COUNT - 1) / 2)
            l->released = -1;
    }
    return NULL;
}

static void test_several_threads(void **state) {
    (void)state;
    static loans all[3];
    pthread_t threads[3];
    mia_device *device = open_device("cpu");
    for (int t = 0; t < 3; t++) {
        all[t].device = device;
        for (int i = 0; i < LOANS; i++) lend(&all[t].lent[i], 0);
        assert_int_equal(pthread_create(&threads[t], NULL, lend_and_read, &all[t]), 0);
    }
    for (int t = 0; t < 3; t++) assert_int_equal(pthread_join(threads[t], NULL), 0);
    assert_int_equal(mia_device_close(device, NULL), MIA_OK);
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < LOANS; i++) {
            assert_int_equal(all[t].lent[i].released, 1);
            take_back(&all[t].lent[i]);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_used_in_place),  cmocka_unit_test(test_never_overwritten),
        cmocka_unit_test(test_views_hold_it),  cmocka_unit_test(test_given_back_at_once),
        cmocka_unit_test(test_over_the_limit), cmocka_unit_test(test_closing),
        cmocka_unit_test(test_no_memory),      cmocka_unit_test(test_several_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
