/* Runs on the webgpu backend, on a GPU that computes nothing (support/recording_gpu.h): the pieces that they are submitted in, what
 * is told of them, and the pipelines that they wait for. */
#include "backend/webgpu/webgpu.h"
#include "support/recording_gpu.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "support/watched_gpu.h"

/* --- pieces ------------------------------------------------------------------------------------ */

/* A plan estimated to take long is submitted in pieces, of which two are on their way at a time; cancelled, the others are
 * not submitted, and its value says why there is none. */
static void test_long_plan(void **state) {
    (void)state;
    const recording_settings late = {.late = 4};
    mia_device *device = open_device(&late, NULL);
    mia__gpu *gpu = recording_last();
    mia_error error;
    backend_of(device)->speed = 1e6;
    mia_tensor_f32 x = chain(device, 50, 10);
    recording_clear(gpu);
    OK(eval(x, &error));
    uint32_t dispatches = count_of(recording_text(gpu), "dispatch ");
    assert_true(dispatches >= 10);
    assert_int_equal(count_of(recording_text(gpu), "submit\n"), dispatches);
    assert_in_range(watched.most_submissions, 2, 2);
    mia_unref(x);
    x = chain(device, 50, 10);
    recording_clear(gpu);
    const mia_tensor list[1] = {MIA_UNTYPED(x)};
    mia_ticket *ticket = mia_tensor_eval_begin(list, 1);
    while (count_of(recording_text(gpu), "submit\n") < 3) assert_false(mia_ticket_poll(ticket));
    mia_ticket_cancel(ticket);
    mia_ticket_wait(ticket);
    assert_int_equal(mia_ticket_finish(ticket, &error), MIA_ERROR_CANCELLED);
    assert_in_range(count_of(recording_text(gpu), "dispatch "), 3, 5);
    assert_int_equal(read_one(x, &error), MIA_ERROR_CANCELLED);
    close_device(device);
}

/* Runs a chain of 100 layers some times; what the last run took, and its submissions and dispatches. */
static recording_times last_of(mia_device *device, int times, int64_t count, uint32_t *submissions,
                               uint32_t *dispatches) {
    mia__gpu *gpu = recording_last();
    mia_error error;
    mia_tensor_f32 first = vector(device, count), small = vector(device, 4);
    OK(read_one(mia_ref(small), &error)); /* and so is what was uploaded before */
    for (int i = 0; i < times; i++) {
        mia_tensor_f32 x = chain_of(mia_ref(first), 100);
        recording_clear(gpu);
        OK(eval(x, &error));
        OK(read_one(mia_ref(small), &error));
        mia_unref(x);
    }
    mia_unref(first);
    mia_unref(small);
    *submissions = count_of(recording_text(gpu), "submit\n");
    *dispatches = count_of(recording_text(gpu), "dispatch ");
    return recording_took(gpu);
}

/* A GPU that takes a hundred times as long as is estimated gets long pieces at first, then such of some milliseconds. */
static void test_slow_gpu(void **state) {
    (void)state;
    const recording_settings slow = {.dispatch_nanoseconds = 1000000, .poll_nanoseconds = 500000};
    mia_device *device = open_device(&slow, NULL);
    uint32_t before, after, dispatches;
    recording_times first = last_of(device, 1, 1 << 20, &before, &dispatches);
    assert_true(first.longest >= 3 * (uint64_t)MIA__WEBGPU_PIECE_NANOSECONDS);
    recording_times last = last_of(device, 4, 1 << 20, &after, &dispatches);
    assert_true(after > 2 * before && after < dispatches);
    assert_in_range(last.longest, 2000000, 10000000);
    close_device(device);
}

/* On one that is faster than is estimated, pieces stay what they are: also where a program looks long after work has ended,
 * and where there is no clock. One that was slow for a while, since others used it, gets long ones again. */
static void test_fast_gpu(void **state) {
    (void)state;
    const recording_settings fast[] = {
        {.dispatch_nanoseconds = 20000, .poll_nanoseconds = 50000},
        {.dispatch_nanoseconds = 20000, .poll_nanoseconds = 16000000},
        {.late = 2},
    };
    for (size_t i = 0; i < sizeof fast / sizeof *fast; i++) {
        mia_device *device = open_device(&fast[i], NULL);
        uint32_t before, after, dispatches;
        double speed = backend_of(device)->speed;
        (void)last_of(device, 1, 1 << 22, &before, &dispatches);
        (void)last_of(device, 6, 1 << 22, &after, &dispatches);
        assert_true(after > 0 && after <= before);
        assert_true(backend_of(device)->speed <= speed);
        if (i == 0) {
            backend_of(device)->speed = 64;
            (void)last_of(device, 4, 1 << 22, &after, &dispatches);
            assert_true(backend_of(device)->speed <= speed && after <= before);
        }
        if (i == 2) assert_true(backend_of(device)->speed == speed);
        close_device(device);
    }
}

/* Steps that were told of, in order. */
typedef struct heard_steps {
    uint32_t count, steps, one_after_another;
    uint64_t begin; /* of the last */
} heard_steps;

static void hear_step(void *user, const mia_step_event *event) {
    heard_steps *heard = user;
    heard->steps = event->steps;
    heard->one_after_another +=
        event->step == heard->count && event->begin >= heard->begin && event->end > event->begin;
    heard->count++;
    heard->begin = event->begin;
}

/* A step whose dispatches are in several submissions is told of once. */
static void test_trace_of_pieces(void **state) {
    (void)state;
    heard_steps heard = {0};
    const mia__gpu_info info = recording_info_large();
    mia_device *device = NULL;
    mia_error error;
    recording_set(&(recording_settings){.info = &info, .late = 1});
    OK(mia_device_open(
        &(mia_device_options){
            .backend = "webgpu", .no_fusion = true, .trace = hear_step, .trace_user = &heard},
        &device, &error));
    recording_set(NULL);
    backend_of(device)->speed = backend_of(device)->speed_first = 1e6; /* submissions of one dispatch */
    mia_tensor_f32 x = mia_exp(mia_neg(mia_exp(vector(device, 1 << 16))));
    recording_clear(recording_last());
    OK(eval(x, &error));
    mia_unref(x);
    assert_true(count_of(recording_text(recording_last()), "submit\n") > 2 * heard.steps);
    assert_int_equal(heard.steps, 3);
    assert_int_equal(heard.count, 3);
    assert_int_equal(heard.one_after_another, 3);
    close_device(device);
}

/* What progress was told, and what had been dispatched by then. */
static struct {
    mia_device *device;
    double share, stop_at;
    uint32_t calls, before_work;
} told_share;

static void be_slow(mia__gpu *gpu, bool block) {
    (void)nanosleep(&(struct timespec){.tv_nsec = 60000000}, NULL); /* more than is between two calls */
    recording_gpu_type.poll(gpu, block);
}

static bool hear_share(void *user, double share) {
    assert_ptr_equal(user, &told_share);
    assert_in_range(mia_device_count(told_share.device).handles, 1, 1);
    assert_true(share >= told_share.share && share <= 1);
    told_share.share = share;
    told_share.calls++;
    if (count_of(recording_text(recording_last()), "dispatch ") == 0) told_share.before_work++;
    return share < told_share.stop_at;
}

/* The status of a run of many pipelines and submissions, polled; shares from stop_at on end it. */
static mia_status run_told_by(void (*poll)(mia__gpu *gpu, bool block), double stop_at) {
    const recording_settings late = {.late = 1};
    const mia_device_options options = {
        .backend = "webgpu", .no_fusion = true, .progress = hear_share, .progress_user = &told_share};
    mia_device *device = NULL;
    mia_error error;
    memset(&told_share, 0, sizeof told_share);
    told_share.stop_at = stop_at;
    test_seam.type.poll = poll;
    recording_set(&late);
    OK(mia_device_open(&options, &device, &error));
    recording_set(NULL);
    told_share.device = device;
    backend_of(device)->speed = 1e6; /* submissions of one dispatch */
    mia_tensor_f32 x = all_kinds(device);
    const mia_tensor list[1] = {MIA_UNTYPED(x)};
    recording_clear(recording_last());
    mia_ticket *ticket = mia_tensor_eval_begin(list, 1);
    while (!mia_ticket_poll(ticket)) continue;
    mia_status status = mia_ticket_finish(ticket, &error);
    mia_unref(x);
    close_device(device);
    return status;
}

static mia_status run_told(double stop_at) {
    return run_told_by(be_slow, stop_at);
}

/* Progress covers pipelines under way and then submissions, never goes back, may use the device, and ends a run. */
static void test_progress(void **state) {
    (void)state;
    assert_int_equal(run_told(2), MIA_OK);
    assert_in_range(told_share.before_work, 2, told_share.calls - 4); /* pipelines are made in two goes */
    assert_true(told_share.share > 0.8);
    assert_int_equal(run_told(0.6), MIA_ERROR_CANCELLED);
    assert_true(told_share.before_work < told_share.calls);
    assert_true(told_share.share >= 0.6 && told_share.share < 0.8);
    assert_int_equal(run_told(0.1), MIA_ERROR_CANCELLED);
    assert_int_equal(told_share.before_work, told_share.calls);
    assert_true(told_share.share >= 0.1 && told_share.share < 0.5);
}

/* The pipeline that was begun first, which is kept back for some polls. */
static struct {
    mia__gpu_made made;
    void *user;
    mia__gpu_pipeline *pipeline;
    uint32_t polls;
    double share; /* told by then */
} kept_back;

static void keep_first_back(void *user, mia__gpu_pipeline *pipeline, mia_status status, const char *message) {
    (void)user, (void)message;
    assert_int_equal(status, MIA_OK);
    kept_back.pipeline = pipeline;
}

static void pipeline_late(mia__gpu *gpu, const mia__gpu_shader *shader, mia__gpu_made made, void *user) {
    bool first = kept_back.made == NULL;
    if (first) {
        kept_back.made = made;
        kept_back.user = user;
    }
    recording_gpu_type.pipeline(gpu, shader, first ? keep_first_back : made, user);
}

static void poll_late(mia__gpu *gpu, bool block) {
    be_slow(gpu, block);
    if (kept_back.pipeline == NULL || ++kept_back.polls != 4) return;
    kept_back.share = told_share.share;
    kept_back.made(kept_back.user, kept_back.pipeline, MIA_OK, NULL);
}

/* Pipelines count in the order in which they are made: one that takes long does not hide the others. */
static void test_progress_of_pipelines(void **state) {
    (void)state;
    memset(&kept_back, 0, sizeof kept_back);
    test_seam.type.pipeline = pipeline_late;
    assert_int_equal(run_told_by(poll_late, 2), MIA_OK);
    assert_in_range(kept_back.share * 100, 30, 49);
}

/* --- pipelines --------------------------------------------------------------------------------- */

/* Pipelines that are being made, the most there were, and how many are to fail for want of memory; the labels of all in the order
 * in which they were begun. */
static struct {
    uint32_t begun, most, to_fail, count;
    const char *labels[64];
    mia__gpu_made made;
    void *users[64];
} making;

static void count_made(void *user, mia__gpu_pipeline *pipeline, mia_status status, const char *message) {
    making.begun--;
    making.made(*(void **)user, pipeline, status, message);
}

static void count_pipeline(mia__gpu *gpu, const mia__gpu_shader *shader, mia__gpu_made made, void *user) {
    assert_true(making.count < 64);
    void **kept = &making.users[making.count];
    making.labels[making.count++] = shader->label;
    *kept = user;
    making.made = made;
    if (++making.begun > making.most) making.most = making.begun;
    if (making.to_fail > 0) {
        making.to_fail--;
        count_made(kept, NULL, MIA_ERROR_NO_MEMORY, "told to have no memory");
        return;
    }
    recording_gpu_type.pipeline(gpu, shader, count_made, kept);
}

static mia_device *open_counting(uint32_t to_fail) {
    memset(&making, 0, sizeof making);
    making.to_fail = to_fail;
    test_seam.type.pipeline = count_pipeline;
    const recording_settings late = {.late = 3};
    const mia_device_options options = {.backend = "webgpu", .no_fusion = true};
    mia_device *device = NULL;
    mia_error error;
    recording_set(&late);
    OK(mia_device_open(&options, &device, &error));
    recording_set(NULL);
    return device;
}

/* Many pipelines are made a few at a time, so that a device that is closed need not wait for all. */
static void test_some_pipelines_at_once(void **state) {
    (void)state;
    mia_device *device = open_counting(0);
    mia_error error;
    OK(read_one(all_kinds(device), &error));
    assert_int_equal(making.most, 16);
    close_device(device);
    device = open_counting(0);
    begin_and_cancel(all_kinds(device));
    close_device(device);
    assert_int_equal(making.begun, 0);
}

/* Those that a run waits for come before others that were asked for earlier. */
static void test_wanted_pipelines_first(void **state) {
    (void)state;
    mia_device *device = open_counting(0);
    mia_error error;
    begin_and_cancel(all_kinds(device));
    uint32_t before = making.count, all = (uint32_t)backend_of(device)->pipeline_count;
    assert_true(before < all);
    OK(read_one(mia_cumsum(vector(device, 10), 0, false, false), &error));
    assert_string_equal(making.labels[before], "cumsum");
    for (int i = 0; i < 4; i++) OK(read_one(mia_neg(vector(device, 10)), &error)); /* some polls */
    assert_int_equal(making.count, all + 1);
    close_device(device);
}

/* One that could not be made for want of memory is made when it is asked for again. */
static void test_pipeline_without_memory(void **state) {
    (void)state;
    mia_device *device = open_counting(1);
    mia_error error;
    mia_tensor_f32 x = vector(device, 10);
    assert_int_equal(read_one(mia_neg(mia_ref(x)), &error), MIA_ERROR_NO_MEMORY);
    assert_non_null(strstr(error.message, "told to have no memory"));
    OK(read_one(mia_neg(x), &error));
    close_device(device);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_long_plan),
        TEST(test_slow_gpu),
        TEST(test_fast_gpu),
        TEST(test_trace_of_pieces),
        TEST(test_progress),
        TEST(test_progress_of_pipelines),
        TEST(test_some_pipelines_at_once),
        TEST(test_wanted_pipelines_first),
        TEST(test_pipeline_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
