/* The webgpu backend: opening a GPU, closing it, and moving on what is under way (webgpu.h). */
#include "backend/webgpu/webgpu.h"

#include "backend/host.h"
#include "backend/webgpu/kernel.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- the lock --------------------------------------------------------------------------------- */

void mia__webgpu_lock(mia__webgpu *webgpu) {
    (void)pthread_mutex_lock(&webgpu->lock);
}

void mia__webgpu_unlock(mia__webgpu *webgpu) {
    mia__webgpu_work *ended = webgpu->ended;
    mia__watch *telling = webgpu->telling;
    double share = webgpu->telling_share;
    webgpu->ended = NULL;
    webgpu->telling = NULL;
    (void)pthread_mutex_unlock(&webgpu->lock);
    mia__watch_tell(telling, share);
    mia__webgpu_tell(webgpu, ended);
}

/* --- failure ---------------------------------------------------------------------------------- */

/* The GPU tells of what nothing else reports: the first stays. */
static void failed(void *user, mia_status status, const char *message) {
    mia__webgpu *webgpu = user;
    webgpu->heard++;
    if (webgpu->failure != MIA_OK) return;
    webgpu->failure = status;
    if (message == NULL) message = mia_status_sentence(status);
    bool named = strncmp(message, "webgpu: ", 8) == 0; /* the library's own texts do not say whose they are */
    (void)snprintf(webgpu->failure_message, sizeof webgpu->failure_message, "%s%s",
                   named ? "" : "webgpu: ", message);
}

mia_status mia__webgpu_check(const mia__webgpu *webgpu, mia_error *error) {
    if (webgpu->failure == MIA_OK) return MIA_OK;
    return mia_error_set(error, webgpu->failure, "%s", webgpu->failure_message);
}

/* --- the seam --------------------------------------------------------------------------------- */

static const mia__gpu_type *seam_of_test;

void mia__webgpu_set_seam(const mia__gpu_type *seam) {
    seam_of_test = seam;
}

/* --- opening ---------------------------------------------------------------------------------- */

static void free_webgpu(mia__webgpu *webgpu) {
    const mia_allocator *allocator = webgpu->allocator;
    if (webgpu->gpu != NULL) {
        mia__webgpu_pipelines_release(webgpu);
        mia__webgpu_memory_free(webgpu);
        webgpu->gpu->type->close(webgpu->gpu);
    }
    mia__webgpu_pipelines_free(webgpu);
    (void)pthread_mutex_destroy(&webgpu->lock);
    mia_release(allocator, webgpu, sizeof *webgpu);
}

static void opened(void *user, mia_status status, const char *message) {
    mia__webgpu *webgpu = user;
    webgpu->open_ended = true;
    if (status != MIA_OK) failed(webgpu, status, message);
}

/* Opening has ended, one way or the other. Without the lock; the backend may be gone afterwards. */
static void end_opening(mia__webgpu *webgpu) {
    mia__completion completion = webgpu->opening;
    webgpu->opening = (mia__completion){0};
    if (webgpu->failure == MIA_OK) {
        mia__webgpu_rules(webgpu);
        mia__complete(completion, MIA_OK, NULL);
        return;
    }
    mia_status status = webgpu->failure;
    char text[sizeof webgpu->failure_message];
    (void)snprintf(text, sizeof text, "%s", webgpu->failure_message);
    *webgpu->opened = NULL;
    free_webgpu(webgpu);
    mia__complete(completion, status, text);
}

static void open_webgpu(const mia_device_options *options, mia__backend **out, mia__completion completion) {
    const mia_allocator *allocator = options != NULL ? options->allocator : NULL;
    mia__webgpu *webgpu = mia_allocate_zeroed(allocator, 1, sizeof *webgpu);
    *out = NULL;
    if (webgpu == NULL) {
        mia__complete(completion, MIA_ERROR_NO_MEMORY, "webgpu: no memory to open the backend");
        return;
    }
    webgpu->base.type = &mia__backend_webgpu;
    webgpu->base.rules.alignment = MIA__WEBGPU_ALIGNMENT;
    webgpu->base.rules.context = webgpu;
    webgpu->allocator = allocator;
    webgpu->no_fusion = options != NULL && options->no_fusion;
    webgpu->precision = options != NULL ? options->precision : MIA_PRECISION_DEFAULT;
    if (options != NULL && options->webgpu != NULL) webgpu->options = *options->webgpu;
    (void)pthread_mutex_init(&webgpu->lock, NULL);
    webgpu->speed = webgpu->speed_first = 1;
    webgpu->opened = out;
    webgpu->opening = completion;
    *out = &webgpu->base;
    const mia__gpu_request request = {
        .allocator = allocator, .options = &webgpu->options, .failed = failed, .user = webgpu};
    (seam_of_test != NULL ? seam_of_test : &mia__gpu_native)->open(&request, &webgpu->gpu, opened, webgpu);
    if (webgpu->open_ended) end_opening(webgpu);
}

static void close_webgpu(mia__backend *backend) {
    if (backend == NULL) return;
    mia__webgpu *webgpu = (mia__webgpu *)backend;
    mia__webgpu_lock(webgpu);
    while (webgpu->in_flight > 0 && mia__webgpu_wait(webgpu)) continue;
    /* with a lost GPU all that is under way ends at the next look */
    if (webgpu->in_flight > 0) mia__webgpu_look(webgpu, false);
    mia__webgpu_unlock(webgpu);
    free_webgpu(webgpu);
}

static void describe(const mia__backend *backend, mia_device_info *info) {
    const mia__gpu_info *gpu = &((const mia__webgpu *)backend)->gpu->info;
    info->backend = backend->type->name;
    info->threads = 1;
    info->compiles = true;
    (void)snprintf(info->description, sizeof info->description, "%.90s%s%s%s", gpu->name,
                   (gpu->features & MIA__GPU_F16) != 0 ? ", f16" : "",
                   (gpu->features & MIA__GPU_SUBGROUPS) != 0 ? ", subgroups" : "",
                   (gpu->features & MIA__GPU_SUBGROUP_MATRIX) != 0 ? ", subgroup matrices" : "");
}

/* --- polling ---------------------------------------------------------------------------------- */

#define MOST_MOVED ((uint64_t)1 << 20) /* bytes from the host that take no time to speak of */

static void submission_done(void *user, mia_status status, const char *message) {
    mia__webgpu_sent *sent = user;
    mia__webgpu *webgpu = sent->owner;
    webgpu->heard++;
    webgpu->in_flight--;
    webgpu->sent_bytes -= sent->bytes;
    mia__webgpu_pace_learn(webgpu, sent);
    sent->bytes = 0;
    sent->busy = false;
    if (status != MIA_OK) failed(webgpu, status, message);
}

static mia__webgpu_sent *find_sent(mia__webgpu *webgpu) {
    for (uint32_t i = 0; i < MIA__WEBGPU_MOST_SENT; i++)
        if (!webgpu->sent[i].busy) return &webgpu->sent[i];
    return &webgpu->uncounted;
}

void mia__webgpu_submit(mia__webgpu *webgpu) {
    mia__webgpu_sent *sent = find_sent(webgpu);
    *sent = (mia__webgpu_sent){.owner = webgpu, .busy = true, .before = webgpu->gpu->type->now(webgpu->gpu)};
    if (sent != &webgpu->uncounted) {
        sent->bytes = webgpu->unsent_bytes;
        sent->nanoseconds = sent->bytes <= MOST_MOVED ? webgpu->unsent_nanoseconds : 0;
    }
    webgpu->sent_bytes += sent->bytes;
    webgpu->unsent_bytes = 0;
    webgpu->unsent_nanoseconds = 0;
    webgpu->in_flight++;
    webgpu->gpu->type->submit(webgpu->gpu, submission_done, sent);
    sent->after = webgpu->gpu->type->now(webgpu->gpu);
}

bool mia__webgpu_wait(mia__webgpu *webgpu) {
    uint64_t heard = webgpu->heard;
    if (webgpu->failure != MIA_OK) return false;
    mia__webgpu_look(webgpu, true);
    return webgpu->heard != heard;
}

/* Others want the lock as well: it is given back between looks, which come at ever longer intervals. */
static void rest(unsigned looks) {
    const unsigned spins = 200, naps = 400;
    if (looks < spins) {
        (void)sched_yield();
        return;
    }
    struct timespec nap = {.tv_nsec = looks < spins + naps ? 20000 : 200000};
    (void)nanosleep(&nap, NULL);
}

static void poll(mia__backend *backend, bool block) {
    mia__webgpu *webgpu = (mia__webgpu *)backend;
    bool opening = webgpu->opening.complete != NULL;
    for (unsigned looks = 0;; looks++) {
        mia__webgpu_lock(webgpu);
        if (webgpu->gpu != NULL) mia__webgpu_look(webgpu, opening && block);
        while (mia__webgpu_advance(webgpu)) {
        }
        bool done = webgpu->ended != NULL || webgpu->oldest == NULL;
        mia__webgpu_unlock(webgpu);
        if (opening && webgpu->open_ended) {
            end_opening(webgpu);
            return;
        }
        if ((done && !opening) || !block) return;
        rest(looks);
    }
}

const mia__backend_type mia__backend_webgpu = {
    .name = "webgpu",
    .description = "a GPU, through a WebGPU library that is found at run time",
    .checks = true,
    .open = open_webgpu,
    .close = close_webgpu,
    .describe = describe,
    .allocate = mia__webgpu_allocate,
    .release = mia__webgpu_release,
    .adopt = mia__webgpu_adopt,
    .upload = mia__webgpu_upload,
    .download = mia__webgpu_download,
    .prepare = mia__webgpu_prepare,
    .prepare_rows = mia__webgpu_prepare_rows,
    .compile = mia__webgpu_compile,
    .discard = mia__webgpu_discard,
    .run = mia__webgpu_run,
    .poll = poll,
};
