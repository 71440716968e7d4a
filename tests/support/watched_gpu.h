/* A seam over the recording GPU that counts what is under way, devices on it, and small things to compute there. Included after
 * cmocka.h. */
#ifndef MIA_TESTS_WATCHED_GPU_H
#define MIA_TESTS_WATCHED_GPU_H

#include "backend/webgpu/webgpu.h"
#include "runtime/device.h"
#include "support/ok.h"
#include "support/recording_gpu.h"
#include "support/seam.h"

#include <mia/mia.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- a seam over the recording GPU that counts what is under way ------------------------------ */

typedef struct submission {
    uint64_t bytes;
    mia__gpu_done done;
    void *user;
} submission;

static struct {
    uint64_t unsent, under_way, most_bytes;
    uint32_t submissions, most_submissions;
    char faults[2000];
    recording_live left; /* when it was closed */
} watched;

static inline void watched_close(mia__gpu *gpu) {
    (void)snprintf(watched.faults, sizeof watched.faults, "%s", recording_faults(gpu));
    watched.left = recording_count(gpu);
    recording_gpu_type.close(gpu);
}

static inline void note_most(void) {
    uint64_t bytes = watched.unsent + watched.under_way;
    if (bytes > watched.most_bytes) watched.most_bytes = bytes;
    if (watched.submissions > watched.most_submissions) watched.most_submissions = watched.submissions;
}

static inline void watched_write(mia__gpu *gpu, mia__gpu_buffer *buffer, uint64_t offset, const void *from,
                                 size_t bytes) {
    watched.unsent += bytes;
    note_most();
    recording_gpu_type.write(gpu, buffer, offset, from, bytes);
}

static inline void watched_done(void *user, mia_status status, const char *message) {
    submission s = *(submission *)user;
    free(user);
    watched.under_way -= s.bytes;
    watched.submissions--;
    if (s.done != NULL) s.done(s.user, status, message);
}

static inline void watched_submit(mia__gpu *gpu, mia__gpu_done done, void *user) {
    submission *s = malloc(sizeof *s);
    if (s == NULL) abort();
    *s = (submission){watched.unsent, done, user};
    watched.under_way += watched.unsent;
    watched.unsent = 0;
    watched.submissions++;
    note_most();
    recording_gpu_type.submit(gpu, watched_done, s);
}

static inline int set_up(void **state) {
    (void)state;
    memset(&watched, 0, sizeof watched);
    seam_before(&recording_gpu_type);
    test_seam.type.close = watched_close;
    test_seam.type.write = watched_write;
    test_seam.type.submit = watched_submit;
    recording_set(NULL);
    return 0;
}

static inline int tear_down(void **state) {
    (void)state;
    seam_away();
    recording_set(NULL);
    return 0;
}

/* --- devices ---------------------------------------------------------------------------------- */

static inline mia_device *open_device(const recording_settings *settings, const mia_allocator *allocator) {
    mia_device_options options = {.backend = "webgpu", .allocator = allocator};
    mia_device *device = NULL;
    mia_error error;
    recording_set(settings);
    OK(mia_device_open(&options, &device, &error));
    recording_set(NULL);
    return device;
}

static inline mia__webgpu *backend_of(const mia_device *device) {
    return (mia__webgpu *)device->backend;
}

/* No rule was broken, and nothing is left, unless the GPU was lost. */
static inline void close_device(mia_device *device) {
    mia_error error;
    OK(mia_device_close(device, &error));
    assert_string_equal(watched.faults, "");
    assert_int_equal(watched.left.buffers, 0);
    assert_int_equal(watched.left.pipelines, 0);
    assert_int_equal(watched.left.bindings, 0);
}

static inline uint32_t count_of(const char *text, const char *what) {
    uint32_t count = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++) count++;
    return count;
}

static inline mia_tensor_f32 vector(mia_device *device, int64_t count) {
    float *numbers = calloc((size_t)count, sizeof *numbers);
    if (numbers == NULL) abort();
    mia_tensor_f32 made = mia_upload(f32, device, MIA_SHAPE(count), numbers);
    free(numbers);
    return made;
}

/* `layers` times a sum over all and a product: a dispatch or more each. */
static inline mia_tensor_f32 chain_of(mia_tensor_f32 x, int layers) {
    for (int i = 0; i < layers; i++) {
        mia_tensor_f32 y = mia_softmax(mia_ref(x));
        x = mia_mul(x, y);
    }
    return x;
}

static inline mia_tensor_f32 chain(mia_device *device, int64_t count, int layers) {
    return chain_of(vector(device, count), layers);
}

/* Operations that are a pipeline each, unless they are fused. */
static inline mia_tensor_f32 all_kinds(mia_device *device) {
    mia_tensor_f32 x = vector(device, 10);
    x = mia_cos(mia_sin(mia_erf(mia_ceil(mia_floor(mia_sign(mia_silu(x)))))));
    x = mia_sqrt(mia_exp(mia_log(mia_tanh(mia_sigmoid(mia_relu(mia_square(mia_abs(mia_neg(x)))))))));
    return mia_gelu(mia_softplus(mia_hardswish(mia_round(mia_reciprocal(mia_rsqrt(x))))));
}

static inline mia_status eval(mia_tensor_f32 t, mia_error *error) {
    const mia_tensor list[1] = {MIA_UNTYPED(t)};
    *error = (mia_error){0};
    return mia_tensor_eval(list, 1, error);
}

static inline mia_status read_one(mia_tensor_f32 t, mia_error *error) {
    float numbers[4096];
    int64_t count = mia_tensor_shape(MIA_UNTYPED(t)).extent[0];
    *error = (mia_error){0};
    return mia_read(t, numbers, (size_t)count, error);
}

/* Cancels what has just begun. Consumes x. */
static inline void begin_and_cancel(mia_tensor_f32 x) {
    const mia_tensor list[1] = {MIA_UNTYPED(x)};
    mia_ticket *ticket = mia_tensor_eval_begin(list, 1);
    (void)mia_ticket_poll(ticket);
    mia_ticket_cancel(ticket);
    mia_ticket_wait(ticket);
    assert_int_equal(mia_ticket_finish(ticket, NULL), MIA_ERROR_CANCELLED);
    mia_unref(x);
}

#endif
