/* Cancelling: what is queued, what runs, what loads; from callbacks, from another thread at any moment, from a
 * signal. Afterwards everything else is as it was, and everything is given back. Run under the sanitizers. */
#include "gguf_builder.h"
#include "runtime/device.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#include "support/tickets.h"

#define OK(call) assert_int_equal(call, MIA_OK)

static const char *const backends[] = {"null", "reference", "cpu"};

/* Reads one number; on null, where nothing is computed, what it is does not matter. */
static void expect_number(mia_tensor_f32 t, float wanted, const char *backend) {
    float out = -1;
    mia_error error = {0};
    if (mia_read(t, &out, 1, &error) != MIA_OK) fail_msg("%s: %s", backend, error.message);
    if (strcmp(backend, "null") != 0) assert_true(out == wanted);
}

/* --- what is queued --------------------------------------------------------------------------- */

static void test_a_ticket(void **state) {
    (void)state;
    for (int b = 0; b < 3; b++) {
        mia_device *device = open_on(backends[b]);
        mia_error error = {0};
        mia_tensor_f32 x = number(device, 2), y = mia_square(mia_ref(x)), z = mia_neg(mia_ref(x));
        mia_ticket *first = begin_eval(y), *second = begin_eval(z);
        mia_ticket_cancel(first);
        mia_ticket_cancel(first); /* twice is once */
        assert_int_equal(end(first, &error), MIA_ERROR_CANCELLED);
        assert_string_equal(error.message, mia_status_sentence(MIA_ERROR_CANCELLED));
        OK(end(second, NULL));
        /* y is poisoned, and what is made of it */
        assert_int_equal(mia_tensor_status(MIA_UNTYPED(y), NULL), MIA_ERROR_CANCELLED);
        float out;
        assert_int_equal(mia_read(mia_neg(y), &out, 1, &error), MIA_ERROR_CANCELLED);
        expect_number(z, -2, backends[b]);
        expect_number(mia_square(x), 4, backends[b]);
        mia_ticket_cancel(NULL);
        close_clean(device);
    }
}

static void test_all_of_a_device(void **state) {
    (void)state;
    for (int b = 0; b < 3; b++) {
        mia_device *device = open_on(backends[b]);
        mia_tensor_f32 x = number(device, 3), y = mia_square(mia_ref(x)), z = mia_neg(mia_ref(y));
        float out = -1;
        mia_ticket *tickets[3] = {begin_eval(y), begin_eval(z),
                                  mia_tensor_read_begin(MIA_UNTYPED(mia_ref(x)), &out, sizeof out, NULL, 0)};
        mia_device_cancel(device);
        mia_tensor_f32 later = mia_add(mia_ref(x), mia_ref(x));
        mia_ticket *after = begin_eval(later);
        OK(end(after, NULL));
        for (int i = 0; i < 3; i++) assert_int_equal(end(tickets[i], NULL), MIA_ERROR_CANCELLED);
        assert_true(out == -1);
        assert_int_equal(mia_tensor_status(MIA_UNTYPED(z), NULL), MIA_ERROR_CANCELLED);
        expect_number(later, 6, backends[b]);
        expect_number(x, 3, backends[b]);
        mia_unref(y);
        mia_unref(z);
        close_clean(device);
    }
}

/* A value that the run was to overwrite is lost with it; a second handle would have kept it from that. */
static void test_in_place(void **state) {
    (void)state;
    for (int b = 1; b < 3; b++) {
        mia_device *device = open_on(backends[b]);
        const float numbers[2] = {1, 2};
        const int32_t at = 1;
        for (int kept = 0; kept < 2; kept++) {
            mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(2), numbers), copy = x;
            if (kept) copy = mia_ref(x);
            mia_tensor_f32 y = mia_update(x, number(device, 7), mia_upload(i32, device, MIA_SCALAR, &at), 0);
            mia_ticket *ticket = begin_eval(y);
            mia_device_cancel(device);
            assert_int_equal(end(ticket, NULL), MIA_ERROR_CANCELLED);
            assert_int_equal(mia_tensor_status(MIA_UNTYPED(y), NULL), MIA_ERROR_CANCELLED);
            mia_unref(y);
            float out[2] = {0, 0};
            if (kept) OK(mia_read(copy, out, 2, NULL));
            assert_true(!kept || (out[0] == 1 && out[1] == 2));
        }
        close_clean(device);
    }
}

/* Inputs of a tape that have yet to be computed are cancelled with its run. */
static void test_a_tape(void **state) {
    (void)state;
    mia_device *device = open_on("cpu");
    mia_tensor_f32 in = mia_input(f32, device, MIA_SHAPE(1)), out = mia_square(mia_ref(in));
    const mia_named inputs[1] = {{"x", MIA_UNTYPED(in)}}, outputs[1] = {{"y", MIA_UNTYPED(out)}};
    mia_tape *tape = NULL;
    OK(mia_tape_record(inputs, 1, outputs, 1, &tape, NULL));
    mia_unref(in);
    mia_unref(out);
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        mia_tensor x[1] = {MIA_UNTYPED(mia_neg(number(device, 3)))}, y[1];
        uint64_t runs = mia_device_count(device).runs;
        mia_ticket *ticket = mia_tape_run_begin(tape, x, y, NULL, 0);
        if (cancelled) mia_ticket_cancel(ticket);
        assert_int_equal(end(ticket, NULL), cancelled ? MIA_ERROR_CANCELLED : MIA_OK);
        assert_int_equal(mia_device_count(device).runs, cancelled ? runs : runs + 2);
        if (cancelled)
            mia_op_unref(y[0], NULL, 0);
        else
            expect_number(mia_as(f32, y[0]), 9, "cpu");
    }
    mia_tape_close(tape);
    close_clean(device);
}

/* A run that is under way on a backend that completes later ends with the next poll. */
static void test_under_way(void **state) {
    (void)state;
    mia_device *device = open_on("null");
    mia_tensor_f32 x = number(device, 2), y = mia_square(mia_ref(x));
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        mia_ticket *ticket = begin_eval(y);
        assert_false(mia_ticket_poll(ticket));
        if (cancelled) mia_ticket_cancel(ticket);
        assert_int_equal(mia_ticket_poll(ticket), cancelled);
        assert_int_equal(end(ticket, NULL), cancelled ? MIA_ERROR_CANCELLED : MIA_OK);
        mia_unref(y);
        y = mia_neg(mia_ref(x));
    }
    mia_unref(x);
    mia_unref(y);
    close_clean(device);
}

/* A large value is read in pieces: all of it. */
static void test_large_read(void **state) {
    (void)state;
    for (int b = 0; b < 3; b++) {
        enum { NUMBERS = 9500001 }; /* 36 MiB and a bit */
        mia_device *device = open_on(backends[b]);
        float *in = malloc(NUMBERS * sizeof *in), *out = calloc(NUMBERS, sizeof *out);
        assert_true(in != NULL && out != NULL);
        for (int i = 0; i < NUMBERS; i++) in[i] = (float)i;
        mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(NUMBERS), in);
        mia_ticket *ticket = mia_tensor_read_begin(MIA_UNTYPED(mia_slice(x, 0, 1, NUMBERS - 1, 1)), out,
                                                   (NUMBERS - 1) * sizeof *out, NULL, 0);
        OK(end(ticket, NULL));
        for (int i = 0; i + 1 < NUMBERS && b > 0; i++)
            if (out[i] != (float)(i + 1)) fail_msg("%s: %d", backends[b], i);
        free(in);
        free(out);
        close_clean(device);
    }
}

/* --- what runs -------------------------------------------------------------------------------- */

/* An operation whose kernel counts the places that it makes, and cancels the device at the first. */
typedef struct counting {
    mia_device *device;
    atomic_int made;
    bool cancels;
} counting;

static mia_status same_shape(void *user, const mia_custom_type *operands, const mia_attributes *attributes,
                             mia_custom_type *out, mia_error *error) {
    (void)user, (void)attributes, (void)error;
    *out = operands[0];
    return MIA_OK;
}

static void copy_places(const mia_custom_call *call, int64_t begin, int64_t end) {
    counting *c = call->user;
    const mia_custom_view *in = &call->operands[0], *out = &call->output;
    if (c->cancels) mia_device_cancel(c->device);
    (void)atomic_fetch_add(&c->made, (int)(end - begin));
    for (int64_t j = begin; j < end; j++)
        for (int64_t i = 0; i < out->extent[0]; i++)
            ((float *)out->data)[i * out->stride[0] + j * out->stride[1]] =
                ((const float *)in->data)[i * in->stride[0] + j * in->stride[1]];
}

static void copy_all(const mia_custom_call *call) {
    copy_places(call, 0, call->output.extent[1]);
}

static mia_op counting_op(counting *c) {
    const mia_op_description description = {.name = "counted",
                                            .operands = 1,
                                            .user = c,
                                            .shape = same_shape,
                                            .reference = copy_all,
                                            .cpu = copy_places};
    mia_op op;
    OK(mia_op_register(c->device, &description, &op, NULL));
    return op;
}

/* In the middle of a long step: what each thread has begun is done, the rest is not. */
static void test_pieces_of_a_step(void **state) {
    (void)state;
    counting c = {.device = open_on("cpu"), .cancels = true};
    mia_op op = counting_op(&c);
    mia_tensor_f32 x = mia_full(f32, c.device, MIA_SHAPE(20000, 64), 1);
    const mia_tensor list[1] = {MIA_UNTYPED(x)};
    OK(mia_tensor_eval(list, 1, NULL));
    mia_tensor_f32 y = mia_call(f32, op, list, 1, NULL);
    assert_int_equal(end(begin_eval(y), NULL), MIA_ERROR_CANCELLED);
    printf("%d of 64 places made\n", (int)c.made);
    assert_true(c.made >= 1 && c.made <= 16);
    mia_unref(y);
    /* and what comes behind it in the same run is not begun */
    c.cancels = false;
    x = mia_full(f32, c.device, MIA_SHAPE(20000, 64), 1);
    y = mia_call(f32, op, (const mia_tensor[1]){MIA_UNTYPED(x)}, 1, NULL);
    OK(end(begin_eval(y), NULL));
    c.made = 0;
    c.cancels = true;
    y = mia_call(f32, op, (const mia_tensor[1]){MIA_UNTYPED(y)}, 1, NULL);
    y = mia_call(f32, op, (const mia_tensor[1]){MIA_UNTYPED(y)}, 1, NULL);
    assert_int_equal(end(begin_eval(y), NULL), MIA_ERROR_CANCELLED);
    assert_true(c.made >= 1 && c.made <= 16);
    mia_unref(y);
    close_clean(c.device);
}

typedef struct listener {
    int calls;
    double last;
    bool backwards;
    int end_at; /* call that cancels */
} listener;

static bool listen(void *user, double share) {
    listener *l = user;
    l->backwards |= share < l->last || share > 1;
    l->last = share;
    return ++l->calls != l->end_at;
}

/* Products that would take seconds, if not minutes: progress is told within the first step, and ends them. */
static void test_progress(void **state) {
    (void)state;
    listener l = {.end_at = 2};
    mia_device *device =
        open_with((mia_device_options){.backend = "cpu", .progress = listen, .progress_user = &l});
    mia_tensor_f32 x = mia_full(f32, device, MIA_SHAPE(1024, 1024), 1);
    for (int i = 0; i < 1000; i++) x = mia_matmul(mia_ref(x), x);
    assert_int_equal(end(begin_eval(x), NULL), MIA_ERROR_CANCELLED);
    printf("%d calls, the last at %g\n", l.calls, l.last);
    assert_int_equal(l.calls, 2);
    assert_true(!l.backwards && l.last > 0 && l.last < 1);
    mia_unref(x);
    expect_number(mia_square(number(device, 3)), 9, "cpu");
    assert_int_equal(l.calls, 2); /* nothing of what is short */
    close_clean(device);
}

static mia_device *signalled;
static void cancel_on_signal(int number) {
    (void)number;
    mia_device_cancel(signalled);
}

static bool raise_signal(void *user, double share) {
    (void)user, (void)share;
    return raise(SIGUSR1) == 0;
}

static void test_from_a_signal(void **state) {
    (void)state;
    (void)signal(SIGUSR1, cancel_on_signal);
    mia_device *device = open_with((mia_device_options){.backend = "cpu", .progress = raise_signal});
    signalled = device;
    mia_tensor_f32 x = mia_full(f32, device, MIA_SHAPE(1024, 1024), 1);
    for (int i = 0; i < 1000; i++) x = mia_matmul(mia_ref(x), x);
    assert_int_equal(end(begin_eval(x), NULL), MIA_ERROR_CANCELLED);
    mia_unref(x);
    close_clean(device);
    (void)signal(SIGUSR1, SIG_DFL);
}

/* --- what loads ------------------------------------------------------------------------------- */

typedef struct loading {
    mia_device *device;
    int calls;
} loading;

static bool cancel_loading(void *user, double share) {
    loading *l = user;
    (void)share;
    if (++l->calls == 1) mia_device_cancel(l->device);
    return true;
}

static void test_loading(void **state) {
    (void)state;
    for (int b = 0; b < 3; b++) {
        gguf_builder file = {0};
        gguf_head(&file, 3, 2, 0);
        gguf_tensor(&file, "a", 1, (uint64_t[]){4}, 0, 0);
        gguf_tensor(&file, "b", 1, (uint64_t[]){4}, 0, 32);
        gguf_pad(&file, 32);
        for (int i = 0; i < 16; i++) gguf_f32(&file, (float)i);
        loading l = {.device = open_on(backends[b])};
        read_only_file reader;
        mia_weights *weights = NULL;
        OK(mia_weights_open(read_only_source(&reader, file.bytes, file.count), NULL, &weights, NULL));
        mia_tensor_f32 first = mia_as(f32, mia_weights_tensor(l.device, weights, "a"));
        mia_tensor_f32 sum = mia_add(first, mia_as(f32, mia_weights_tensor(l.device, weights, "b")));
        const mia_tensor list[1] = {MIA_UNTYPED(sum)};
        assert_int_equal(mia_tensor_prepare(list, 1, cancel_loading, &l, NULL), MIA_ERROR_CANCELLED);
        assert_int_equal(l.calls, 1);
        OK(mia_tensor_prepare(list, 1, cancel_loading, &l, NULL)); /* what is missing is read now */
        float out[4];
        OK(mia_read(sum, out, 4, NULL));
        for (int i = 0; i < 4 && b > 0; i++) assert_true(out[i] == (float)(2 * i + 8));
        /* a run that loads by itself */
        mia_tensor_f32 other = mia_neg(first);
        mia_ticket *ticket = begin_eval(other);
        mia_ticket_cancel(ticket);
        assert_int_equal(end(ticket, NULL), MIA_ERROR_CANCELLED);
        mia_unref(other);
        OK(mia_read(mia_neg(first), out, 4, NULL));
        assert_true(b == 0 || out[3] == -3);
        mia_weights_close(weights);
        close_clean(l.device);
        gguf_free(&file);
    }
}

/* Within one constant that is brought into a kernel's form. */
static void test_repacking(void **state) {
    (void)state;
    mia_device *device = open_on("cpu");
    const mia__backend_type *type = device->type;
    const mia_shape shape = MIA_SHAPE(32, 100);
    const mia__form form = {1, sizeof(float) * 32 * 112};
    float numbers[32 * 100] = {0};
    mia__watch watch = {.told = 0};
    mia__buffer buffer;
    OK(type->allocate(device->backend, form.bytes, &buffer, NULL));
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        atomic_store(&watch.cancelled, cancelled == 1);
        device->backend->loads = &watch;
        mia_status status = type->prepare(device->backend, MIA_f32, &shape, &form, numbers, &buffer, NULL);
        device->backend->loads = NULL;
        assert_int_equal(status, cancelled ? MIA_ERROR_CANCELLED : MIA_OK);
    }
    type->release(device->backend, &buffer);
    close_clean(device);
}

/* --- at any moment ---------------------------------------------------------------------------- */

typedef struct canceller {
    mia_device *device;
    _Atomic(mia_ticket *) ticket; /* taken and put back, so that it is not finished meanwhile */
    atomic_bool over;
    uint64_t random;
} canceller;

static void *cancel_now_and_then(void *user) {
    canceller *c = user;
    while (!atomic_load(&c->over)) {
        for (volatile int64_t i = test_below(&c->random, 20000); i > 0; i--) {
        }
        mia_ticket *ticket = atomic_exchange(&c->ticket, NULL);
        if (ticket != NULL) {
            mia_ticket_cancel(ticket);
            atomic_store(&c->ticket, ticket);
        }
        if (test_below(&c->random, 4) == 0) mia_device_cancel(c->device);
    }
    return NULL;
}

/* Takes the ticket back from the other thread. */
static void withdraw(canceller *c) {
    while (atomic_exchange(&c->ticket, NULL) == NULL) {
    }
}

#define MOST_SIDE 128

/* Every result is right, or poisoned with CANCELLED; the value that all start from stays. With allocations that
 * fail now and then, NO_MEMORY is as good. */
static void cancel_at_random(const char *backend, int rounds, bool memory_fails, uint64_t seed) {
    canceller c = {.device = open_on(backend), .random = seed};
    uint64_t random = seed + 1;
    bool computes = strcmp(backend, "null") != 0;
    const int64_t side = strcmp(backend, "cpu") == 0 ? MOST_SIDE : MOST_SIDE / 4;
    const size_t count = (size_t)(side * side);
    mia_tensor_f32 base = mia_full(f32, c.device, MIA_SHAPE(side, side), 1);
    mia_tensor list[1] = {MIA_UNTYPED(base)};
    OK(mia_tensor_eval(list, 1, NULL));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_now_and_then, &c), 0);
    int cancelled = 0, done = 0;
    for (int round = 0; round < rounds; round++) {
        if (memory_fails) {
            (void)pthread_mutex_lock(&allocator.lock);
            allocator.fail_at = allocator.allocations + test_below(&random, 40);
            (void)pthread_mutex_unlock(&allocator.lock);
        }
        mia_tensor_f32 x = mia_ref(base);
        int64_t depth = 1 + test_below(&random, 5);
        for (int64_t i = 0; i < depth; i++)
            x = i % 2 == 0 ? mia_matmul(mia_ref(base), x)
                           : mia_mul(x, mia_full(f32, c.device, MIA_SCALAR, 1.0 / (double)side));
        float out[MOST_SIDE * MOST_SIDE], wanted = depth % 2 == 0 ? 1 : (float)side;
        mia_ticket *ticket =
            test_below(&random, 2) == 0
                ? begin_eval(x)
                : mia_tensor_read_begin(MIA_UNTYPED(mia_ref(x)), out, count * sizeof *out, NULL, 0);
        if (ticket != NULL) atomic_store(&c.ticket, ticket);
        mia_ticket_wait(ticket);
        if (ticket != NULL) withdraw(&c);
        mia_status first = mia_ticket_finish(ticket, NULL);
        mia_status second = mia_read(x, out, count, NULL);
        bool allowed = second == MIA_OK || second == MIA_ERROR_CANCELLED ||
                       (memory_fails && second == MIA_ERROR_NO_MEMORY);
        if (!allowed) fail_msg("%s: %s", backend, mia_status_name(second));
        assert_true(first == MIA_OK || first == MIA_ERROR_CANCELLED || memory_fails);
        cancelled += first == MIA_ERROR_CANCELLED || second == MIA_ERROR_CANCELLED;
        done += second == MIA_OK;
        for (size_t i = 0; second == MIA_OK && computes && i < count; i++) assert_true(out[i] == wanted);
    }
    atomic_store(&c.over, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    allocator.fail_at = -1;
    printf("%s: %d cancelled, %d done\n", backend, cancelled, done);
    expect_number(mia_reshape(mia_slice(mia_slice(base, 0, 5, 1, 1), 1, 7, 1, 1), MIA_SHAPE(1)), 1, backend);
    close_clean(c.device);
}

static void test_at_random(void **state) {
    (void)state;
    int rounds = getenv("MIA_TEST_LONG") != NULL ? 20000 : 400;
    uint64_t seed = test_seed();
    for (int b = 0; b < 3; b++) cancel_at_random(backends[b], rounds, false, seed);
}

static void test_at_random_without_memory(void **state) {
    (void)state;
    int rounds = getenv("MIA_TEST_LONG") != NULL ? 20000 : 400;
    uint64_t seed = test_seed();
    for (int b = 0; b < 3; b++) cancel_at_random(backends[b], rounds, true, seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_ticket),
        cmocka_unit_test(test_all_of_a_device),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_a_tape),
        cmocka_unit_test(test_under_way),
        cmocka_unit_test(test_large_read),
        cmocka_unit_test(test_pieces_of_a_step),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_from_a_signal),
        cmocka_unit_test(test_loading),
        cmocka_unit_test(test_repacking),
        cmocka_unit_test(test_at_random),
        cmocka_unit_test(test_at_random_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
