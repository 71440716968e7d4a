/* The null backend (null.h): a queue of work that was begun, and polls that count down to its completion.
 * Nothing here runs on its own; what happens when is decided by the calls alone, so that tests repeat
 * exactly. */
#include "backend/null/null.h"

#include "backend/host.h"

#include <stdio.h>
#include <string.h>

typedef enum work_kind { WORK_OPEN, WORK_RUN, WORK_DOWNLOAD } work_kind;

typedef struct work {
    struct work *next;
    work_kind kind;
    uint32_t polls; /* still to come */
    mia__completion completion;
    mia__backend **opened; /* OPEN: the caller's pointer */
    mia__watch *watch;     /* RUN */
    const void *from;      /* DOWNLOAD */
    void *into;
    size_t bytes;
} work;

typedef struct null_backend {
    mia__host_backend host; /* first: a mia__backend */
    work *oldest, *newest;
    size_t pending;
    uint32_t polls;
    uint32_t fail_in; /* completions until one fails; 0: never */
} null_backend;

/* --- completion ------------------------------------------------------------------------------- */

/* Completes the oldest work. Returns false when the backend is gone: opening failed. */
static bool complete_oldest(null_backend *backend) {
    work done = *backend->oldest;
    mia_release(backend->host.allocator, backend->oldest, sizeof(work));
    backend->oldest = done.next;
    if (done.next == NULL) backend->newest = NULL;
    backend->pending--;
    if (mia__watch_cancelled(done.watch)) {
        mia__complete(done.completion, MIA_ERROR_CANCELLED, NULL);
        return true;
    }
    bool fails = backend->fail_in == 1;
    if (backend->fail_in > 0) backend->fail_in--;
    if (!fails) {
        if (done.kind == WORK_DOWNLOAD && done.bytes > 0) memcpy(done.into, done.from, done.bytes);
        mia__complete(done.completion, MIA_OK, NULL);
        return true;
    }
    bool gone = done.kind == WORK_OPEN;
    if (gone) {
        *done.opened = NULL;
        mia__host_free(&backend->host.base, sizeof *backend);
    }
    mia__complete(done.completion, MIA_ERROR_DEVICE_LOST, "null: the device was lost, as it was told to be");
    return !gone;
}

/* Completes what is due, oldest first. */
static void complete_due(null_backend *backend) {
    while (backend->oldest != NULL && backend->oldest->polls == 0)
        if (!complete_oldest(backend)) return;
}

/* Puts work at the end of the queue. Without memory for that it fails at once, after everything before it. */
static void begin(null_backend *backend, const work *what) {
    work *item = mia_allocate(backend->host.allocator, sizeof *item, _Alignof(work));
    if (item == NULL) {
        while (backend->oldest != NULL)
            if (!complete_oldest(backend)) break;
        mia__complete(what->completion, MIA_ERROR_NO_MEMORY, NULL);
        return;
    }
    *item = *what;
    item->next = NULL;
    item->polls = backend->polls;
    if (backend->newest != NULL)
        backend->newest->next = item;
    else
        backend->oldest = item;
    backend->newest = item;
    backend->pending++;
    complete_due(backend);
}

static void poll(mia__backend *base, bool block) {
    null_backend *backend = (null_backend *)base;
    if (block && backend->oldest != NULL) {
        complete_oldest(backend);
        return;
    }
    for (work *item = backend->oldest; item != NULL; item = item->next)
        if (mia__watch_cancelled(item->watch))
            item->polls = 0;
        else if (item->polls > 0)
            item->polls--;
    complete_due(backend);
}

/* --- the backend ------------------------------------------------------------------------------ */

static void open_null(const mia_device_options *options, mia__backend **out, mia__completion completion) {
    null_backend *backend = mia__host_new(&mia__backend_null, options, sizeof *backend);
    work *item = NULL;
    if (backend != NULL) item = mia_allocate(backend->host.allocator, sizeof *item, _Alignof(work));
    if (item == NULL) {
        if (backend != NULL) mia__host_free(&backend->host.base, sizeof *backend);
        *out = NULL;
        mia__complete(completion, MIA_ERROR_NO_MEMORY, NULL);
        return;
    }
    *out = &backend->host.base;
    backend->polls = MIA__NULL_POLLS;
    *item = (work){.kind = WORK_OPEN, .polls = MIA__NULL_POLLS, .completion = completion, .opened = out};
    backend->oldest = backend->newest = item;
    backend->pending = 1;
}

/* Whoever closes has waited; what is left all the same is told that nothing comes of it. */
static void close_null(mia__backend *base) {
    null_backend *backend = (null_backend *)base;
    while (backend->oldest != NULL) {
        work item = *backend->oldest;
        mia_release(backend->host.allocator, backend->oldest, sizeof(work));
        backend->oldest = item.next;
        mia__complete(item.completion, MIA_ERROR_CANCELLED, "null: the device was closed");
    }
    mia__host_free(base, sizeof *backend);
}

static void describe(const mia__backend *backend, mia_device_info *info) {
    info->backend = backend->type->name;
    (void)snprintf(info->description, sizeof info->description, "%s", backend->type->description);
    info->threads = 1;
}

static mia_status allocate(mia__backend *backend, size_t bytes, mia__buffer *out, mia_error *error) {
    mia_status status = mia__host_allocate(backend, bytes, out, error);
    if (status == MIA_OK) memset(out->host, 0, bytes);
    return status;
}

static void download(mia__backend *backend, const mia__buffer *buffer, size_t offset, void *into,
                     size_t bytes, mia__completion completion) {
    work item = {.kind = WORK_DOWNLOAD,
                 .completion = completion,
                 .from = (const uint8_t *)buffer->host + offset,
                 .into = into,
                 .bytes = bytes};
    begin((null_backend *)backend, &item);
}

static mia_status compile(mia__backend *backend, const mia__plan *plan, void **program, mia_error *error) {
    (void)plan;
    (void)error;
    *program = backend; /* there is nothing to keep */
    return MIA_OK;
}

static void discard(mia__backend *backend, void *program) {
    (void)backend;
    (void)program;
}

static void run(mia__backend *backend, mia__run *begun) {
    work item = {.kind = WORK_RUN, .completion = begun->completion, .watch = begun->watch};
    begin((null_backend *)backend, &item);
}

const mia__backend_type mia__backend_null = {
    .name = "null",
    .description = "computes nothing and completes late: for tests of order, waiting and failure",
    .open = open_null,
    .close = close_null,
    .describe = describe,
    .allocate = allocate,
    .release = mia__host_release,
    .adopt = mia__host_adopt,
    .upload = mia__host_upload,
    .download = download,
    .prepare = mia__host_prepare,
    .compile = compile,
    .discard = discard,
    .run = run,
    .poll = poll,
};

/* --- knobs ------------------------------------------------------------------------------------ */

void mia__null_set_polls(mia__backend *backend, uint32_t polls) {
    ((null_backend *)backend)->polls = polls;
}

void mia__null_fail(mia__backend *backend, uint32_t n) {
    ((null_backend *)backend)->fail_in = n;
}

size_t mia__null_pending(const mia__backend *backend) {
    return ((const null_backend *)backend)->pending;
}
