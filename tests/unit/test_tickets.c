/* Tickets: what open, eval and read return in the form that completes later. On the null backend, where what
 * happens when is decided by polls alone; and on backends that compute, where a thread of the device's own
 * drives. */
#include "backend/null/null.h"
#include "runtime/device.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/tickets.h"

#define OK(call) assert_int_equal(call, MIA_OK)

static mia_ticket *begin_read(mia_tensor_f32 t, float *out) {
    return mia_tensor_read_begin(MIA_UNTYPED(t), out, sizeof *out, "test.c", 1);
}

/* Polls until it is done; how many polls that took. */
static int poll_out(mia_ticket *ticket) {
    int polls = 1;
    while (!mia_ticket_poll(ticket)) {
        if (++polls > 1000) fail_msg("the ticket does not complete");
    }
    return polls;
}

/* --- null: polls decide ----------------------------------------------------------------------- */

static void test_open_completes_late(void **state) {
    (void)state;
    test_allocator_init(&allocator);
    mia_device_options options = {.backend = "null", .allocator = &allocator.hook};
    mia_device *device = NULL;
    mia_ticket *ticket = mia_device_open_begin(&options, &device);
    mia_error error = {0};
    for (int i = 0; i <= MIA__NULL_POLLS; i++) { /* the first poll begins */
        assert_int_equal(mia_ticket_finish(ticket, &error), MIA_ERROR_PENDING);
        assert_string_equal(error.message, "the work has not completed yet");
        assert_null(device);
        bool done = mia_ticket_poll(ticket);
        assert_int_equal(done, i == MIA__NULL_POLLS);
    }
    OK(mia_ticket_finish(ticket, &error));
    assert_non_null(device);
    close_clean(device);
}

static void test_open_fails(void **state) {
    (void)state;
    mia_device *device = (mia_device *)&allocator;
    mia_device_options options = {.backend = "no such"};
    mia_error error = {0};
    mia_ticket *ticket = mia_device_open_begin(&options, &device);
    assert_null(device);
    assert_true(mia_ticket_poll(ticket));
    mia_ticket_wait(ticket);
    assert_int_equal(mia_ticket_finish(ticket, &error), MIA_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "no backend \"no such\"; this build has "));

    test_allocator_init(&allocator);
    options = (mia_device_options){.backend = "null", .allocator = &allocator.hook};
    ticket = mia_device_open_begin(&options, &device);
    assert_false(mia_ticket_poll(ticket));
    mia__null_fail(ticket->device->backend, 1);
    mia_ticket_wait(ticket);
    assert_int_equal(mia_ticket_finish(ticket, &error), MIA_ERROR_DEVICE_LOST);
    assert_null(device);
    assert_int_equal(allocator.live_bytes, 0);
}

static void test_no_ticket(void **state) {
    (void)state;
    mia_error error = {0};
    assert_true(mia_ticket_poll(NULL));
    mia_ticket_wait(NULL);
    assert_int_equal(mia_ticket_finish(NULL, &error), MIA_ERROR_NO_MEMORY);
    assert_string_equal(error.message, "no memory to begin the work");
    assert_int_equal(end(mia_tensor_eval_begin(NULL, 0), NULL), MIA_ERROR_INVALID_ARGUMENT);
    mia_tensor none = {0};
    assert_int_equal(end(mia_tensor_eval_begin(&none, 1), NULL), MIA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(end(mia_tensor_read_begin(none, NULL, 0, NULL, 0), NULL), MIA_ERROR_INVALID_ARGUMENT);
}

/* Work completes in the order in which it was begun, whichever ticket is polled. */
static void test_order(void **state) {
    (void)state;
    mia_device *device = open_on("null");
    mia_tensor_f32 a = mia_neg(number(device, 1)), b = mia_neg(mia_ref(a));
    float out = -1;
    mia_ticket *first = begin_eval(a), *second = begin_eval(b), *third = begin_read(b, &out);
    assert_int_equal(mia_device_count(device).runs, 0);
    int polls = poll_out(third);
    assert_true(polls >= 3 * MIA__NULL_POLLS);
    assert_true(out == 0); /* null memory is zero */
    assert_true(mia_ticket_poll(first) && mia_ticket_poll(second));
    assert_int_equal(mia_device_count(device).runs, 2);
    OK(mia_ticket_finish(third, NULL));
    OK(mia_ticket_finish(first, NULL));
    OK(mia_ticket_finish(second, NULL));
    /* All is there already: nothing runs, but it completes behind what is under way. */
    mia_ticket *busy = begin_eval(a), *behind = begin_eval(a);
    assert_int_equal(mia_ticket_finish(behind, NULL), MIA_ERROR_PENDING);
    (void)poll_out(behind);
    assert_true(mia_ticket_poll(busy));
    OK(mia_ticket_finish(busy, NULL));
    OK(mia_ticket_finish(behind, NULL));
    assert_int_equal(mia_device_count(device).runs, 2);
    mia_unref(a);
    close_clean(device);
}

typedef struct calls {
    int count;
    mia_status status;
    bool polled; /* the ticket, from within */
    mia_ticket *ticket;
} calls;

static void note_call(void *user, mia_status status) {
    calls *c = user;
    c->count++;
    c->status = status;
    if (c->ticket != NULL) c->polled = mia_ticket_poll(c->ticket);
}

static void test_then(void **state) {
    (void)state;
    mia_device *device = open_on("null");
    mia_tensor_f32 a = mia_neg(number(device, 1));
    mia_ticket *ticket = begin_eval(a);
    calls early = {.ticket = ticket}, late = {0}, nothing = {0};
    mia_ticket_then(ticket, note_call, &early);
    assert_int_equal(early.count, 0);
    (void)poll_out(ticket);
    assert_int_equal(early.count, 1);
    assert_int_equal(early.status, MIA_OK);
    assert_true(early.polled);
    (void)mia_ticket_poll(ticket);
    mia_ticket_wait(ticket);
    assert_int_equal(early.count, 1);
    mia_ticket_then(ticket, note_call, &late); /* at once */
    assert_int_equal(late.count, 1);
    OK(mia_ticket_finish(ticket, NULL));
    mia_ticket_then(NULL, note_call, &nothing);
    assert_true(nothing.count == 1 && nothing.status == MIA_ERROR_NO_MEMORY);
    mia_unref(a);

    mia__null_fail(device->backend, 1);
    a = mia_neg(number(device, 1));
    ticket = begin_eval(a);
    early = (calls){0};
    mia_ticket_then(ticket, note_call, &early);
    assert_int_equal(end(ticket, NULL), MIA_ERROR_DEVICE_LOST);
    assert_true(early.count == 1 && early.status == MIA_ERROR_DEVICE_LOST);
    mia_unref(a);
    close_clean(device);
}

/* --- failure ---------------------------------------------------------------------------------- */

static mia_status status_of(mia_tensor_f32 t) {
    return mia_tensor_status(MIA_UNTYPED(t), NULL);
}

/* Three runs, of which one fails: what it computes and what was computed from that is poisoned, and nothing
 * else. The inputs too, which were to be read alone, are as they were. */
static void test_failure_poisons_what_depends(void **state) {
    (void)state;
    for (uint32_t lost = 1; lost <= 4; lost++) {
        mia_device *device = open_on("null");
        mia_tensor_f32 x = number(device, 1), other = mia_neg(number(device, 2));
        mia_tensor_f32 a = mia_neg(mia_ref(x)), b = mia_neg(mia_ref(a));
        mia__null_fail(device->backend, lost);
        mia_ticket *first = begin_eval(a), *second = begin_eval(b), *third = begin_eval(other);
        mia_tensor_f32 c = mia_add(mia_ref(b), mia_ref(x)); /* recorded while b is on its way */
        float out;
        mia_ticket *fourth = begin_read(mia_ref(c), &out);
        mia_error error = {0};
        mia_ticket_wait(fourth);
        assert_int_equal(mia_ticket_finish(first, NULL), lost == 1 ? MIA_ERROR_DEVICE_LOST : MIA_OK);
        /* when the first fails, the second is not begun: the third takes the place of the second */
        assert_int_equal(mia_ticket_finish(second, NULL), lost <= 2 ? MIA_ERROR_DEVICE_LOST : MIA_OK);
        assert_int_equal(mia_ticket_finish(third, NULL), lost == 3 ? MIA_ERROR_DEVICE_LOST : MIA_OK);
        assert_int_equal(mia_ticket_finish(fourth, &error), lost == 3 ? MIA_OK : MIA_ERROR_DEVICE_LOST);
        if (lost != 3) assert_string_equal(error.message, "null: the device was lost, as it was told to be");
        assert_int_equal(status_of(x), MIA_OK);
        assert_int_equal(status_of(a), lost == 1 ? MIA_ERROR_DEVICE_LOST : MIA_OK);
        assert_int_equal(status_of(b), lost <= 2 ? MIA_ERROR_DEVICE_LOST : MIA_OK);
        assert_int_equal(status_of(other), lost == 3 ? MIA_ERROR_DEVICE_LOST : MIA_OK);
        assert_int_equal(status_of(c), lost == 3 ? MIA_OK : MIA_ERROR_DEVICE_LOST);
        /* what is poisoned stays so, and spreads; the rest goes on */
        mia__null_fail(device->backend, 0);
        mia_tensor_f32 d = mia_exp(c);
        assert_int_equal(end(begin_read(d, &out), NULL), lost == 3 ? MIA_OK : MIA_ERROR_DEVICE_LOST);
        OK(end(begin_read(x, &out), NULL));
        mia_unref(a);
        mia_unref(b);
        mia_unref(other);
        close_clean(device);
    }
}

/* A download that fails takes nothing back of the run before it. */
static void test_failed_download(void **state) {
    (void)state;
    mia_device *device = open_on("null");
    mia_tensor_f32 a = mia_neg(number(device, 1));
    float out = -1;
    mia__null_fail(device->backend, 2);
    mia_ticket *ticket = begin_read(mia_ref(a), &out);
    assert_int_equal(end(ticket, NULL), MIA_ERROR_DEVICE_LOST);
    assert_true(out == -1);
    assert_int_equal(status_of(a), MIA_OK);
    assert_int_equal(mia_device_count(device).runs, 1);
    OK(end(begin_read(a, &out), NULL));
    close_clean(device);
}

/* A result that is but a look at an input, which the failed run only read. */
static void test_failure_spares_what_is_looked_at(void **state) {
    (void)state;
    mia_device *device = open_on("null");
    const float data[4] = {1, 2, 3, 4};
    mia_tensor_f32 x = mia_neg(mia_upload(f32, device, MIA_SHAPE(4), data)),
                   view = mia_slice(mia_ref(x), 0, 1, 2, 1);
    OK(end(begin_eval(x), NULL));
    mia_tensor_f32 y = mia_exp(number(device, 1));
    const mia_tensor both[2] = {MIA_UNTYPED(view), MIA_UNTYPED(y)};
    mia__null_fail(device->backend, 1);
    assert_int_equal(end(mia_tensor_eval_begin(both, 2), NULL), MIA_ERROR_DEVICE_LOST);
    assert_int_equal(status_of(y), MIA_ERROR_DEVICE_LOST);
    assert_int_equal(status_of(x), MIA_OK);
    assert_int_equal(status_of(view), MIA_OK);
    /* An input that was to be overwritten is gone with its handle; the result says why. */
    mia_tensor_f32 z = mia_exp(x);
    mia_unref(view);
    mia__null_fail(device->backend, 1);
    assert_int_equal(end(begin_eval(z), NULL), MIA_ERROR_DEVICE_LOST);
    assert_int_equal(status_of(z), MIA_ERROR_DEVICE_LOST);
    mia_unref(y);
    mia_unref(z);
    close_clean(device);
}

/* --- closing ---------------------------------------------------------------------------------- */

static void test_close_with_work_in_flight(void **state) {
    (void)state;
    static const char *const backends[] = {"null", "reference", "cpu"};
    for (int b = 0; b < 3; b++) {
        mia_device *device = open_on(backends[b]);
        mia_tensor_f32 a = mia_neg(number(device, 1));
        float out = 7;
        mia_ticket *first = begin_eval(a), *second = begin_read(a, &out);
        calls then = {0};
        mia_ticket_then(second, note_call, &then);
        if (b == 0) assert_false(mia_ticket_poll(first));
        OK(mia_device_close(device, NULL)); /* waits */
        assert_int_equal(then.count, 1);
        assert_true(out == (b == 0 ? 1.0f : -1.0f)); /* in place, and null computes nothing */
        assert_true(allocator.live_bytes > 0);
        assert_true(mia_ticket_poll(second) && mia_ticket_poll(first));
        mia_ticket_wait(first);
        OK(mia_ticket_finish(second, NULL));
        OK(mia_ticket_finish(first, NULL));
        assert_int_equal(allocator.live_bytes, 0);
    }
}

/* Handles outlive their device: everything says so, and taking them gives them back. */
static void test_after_close(void **state) {
    (void)state;
    mia_device *device = open_on("reference");
    mia_tensor_f32 a = number(device, 1), b = mia_ref(a), c = mia_ref(a);
    float out;
    assert_int_equal(mia_device_close(device, NULL), MIA_ERROR_LEAKED);
    assert_int_equal(end(begin_eval(a), NULL), MIA_ERROR_DEVICE_CLOSED);
    assert_int_equal(end(begin_read(a, &out), NULL), MIA_ERROR_DEVICE_CLOSED);
    b = mia_as(f32, MIA_UNTYPED(b));
    assert_int_equal(status_of(b), MIA_ERROR_DEVICE_CLOSED);
    assert_true(allocator.live_bytes > 0);
    c = mia_neg(c);
    assert_int_equal(status_of(c), MIA_ERROR_DEVICE_CLOSED);
    assert_int_equal(allocator.live_bytes, 0);
}

/* --- backends that compute -------------------------------------------------------------------- */

static const char *const computing[] = {"reference", "cpu"};

/* begin returns before the work is done; polls, which do nothing, see it complete. */
static void test_own_thread(void **state) {
    (void)state;
    for (int b = 0; b < 2; b++) {
        mia_device *device = open_on(computing[b]);
        for (int round = 0; round < 50; round++) {
            float out = 0;
            mia_tensor_f32 x = number(device, (float)round);
            for (int i = 0; i < 100; i++) x = mia_add(x, number(device, 1));
            mia_ticket *ticket = begin_read(x, &out);
            for (long polls = 0; !mia_ticket_poll(ticket); polls++) {
                if (polls > 100000) fail_msg("the ticket does not complete");
                (void)usleep(10);
            }
            OK(mia_ticket_finish(ticket, NULL));
            assert_true(out == (float)(round + 100));
        }
        close_clean(device);
    }
}

static void test_open_by_own_thread(void **state) {
    (void)state;
    for (int b = 0; b < 2; b++) {
        test_allocator_init(&allocator);
        mia_device_options options = {.backend = computing[b], .allocator = &allocator.hook};
        mia_device *device = NULL;
        mia_ticket *ticket = mia_device_open_begin(&options, &device);
        while (!mia_ticket_poll(ticket)) (void)usleep(10);
        mia_status status = mia_ticket_finish(ticket, NULL);
        if (status == MIA_ERROR_NOT_FOUND) skip();
        OK(status);
        float out = 0;
        OK(mia_read(mia_neg(number(device, 3)), &out, 1, NULL));
        assert_true(out == -3);
        close_clean(device);
    }
}

static void *wait_for(void *user) {
    mia_ticket_wait(user);
    return user;
}

static void test_wait_from_another_thread(void **state) {
    (void)state;
    static const char *const backends[] = {"null", "reference", "cpu"};
    for (int b = 0; b < 3; b++) {
        mia_device *device = open_on(backends[b]);
        for (int round = 0; round < 100; round++) {
            pthread_t thread;
            float out = 1;
            mia_ticket *ticket = begin_read(mia_neg(number(device, 2)), &out);
            assert_int_equal(pthread_create(&thread, NULL, wait_for, ticket), 0);
            if (round % 2 == 0) mia_ticket_wait(ticket);
            assert_int_equal(pthread_join(thread, NULL), 0);
            OK(mia_ticket_finish(ticket, NULL));
            assert_true(out == (b == 0 ? 2.0f : -2.0f));
        }
        close_clean(device);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_completes_late),
        cmocka_unit_test(test_open_fails),
        cmocka_unit_test(test_no_ticket),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_then),
        cmocka_unit_test(test_failure_poisons_what_depends),
        cmocka_unit_test(test_failed_download),
        cmocka_unit_test(test_failure_spares_what_is_looked_at),
        cmocka_unit_test(test_close_with_work_in_flight),
        cmocka_unit_test(test_after_close),
        cmocka_unit_test(test_own_thread),
        cmocka_unit_test(test_open_by_own_thread),
        cmocka_unit_test(test_wait_from_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
