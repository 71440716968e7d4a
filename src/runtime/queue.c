/* Tickets and the queue. Work is done in the order it was queued, by whichever thread drives: one that waits
 * for a ticket, one that polls (backends that complete later), or, for a synchronous backend whose tickets
 * are only polled, a thread of the device's own. One thread at a time is in the backend; the lock is not held
 * there. */
#include "plan/bindings.h"
#include "runtime/device.h"

#include <stdio.h>

/* Bytes of a ticket with its arrays of one element a plan buffer. */
static size_t ticket_bytes(uint32_t buffers) {
    return sizeof(mia_ticket) + buffers * (sizeof(mia__storage *) + sizeof(mia__place));
}

mia_ticket *mia__ticket_new(mia_device *device, uint32_t buffers) {
    mia_ticket *ticket = mia_allocate_zeroed(&device->allocator, 1, ticket_bytes(buffers));
    if (ticket == NULL) return NULL;
    ticket->device = device;
    ticket->phase = MIA__PHASE_END;
    ticket->allocator = device->allocator;
    ticket->run.places = ticket->places = (mia__place *)(void *)(ticket + 1);
    ticket->storages = (mia__storage **)(void *)(ticket->places + buffers);
    ticket->buffer_count = buffers;
    ticket->run.watch = &ticket->watch;
    ticket->watch.cancels = &device->cancels;
    device->tickets++;
    return ticket;
}

static void set_failure(mia_ticket *ticket, mia_status status, const char *message) {
    ticket->status = status;
    (void)snprintf(ticket->message, sizeof ticket->message, "%s",
                   message != NULL ? message : mia_status_sentence(status));
}

void mia__ticket_fail(mia_ticket *ticket, const mia_error *error) {
    set_failure(ticket, error->status, error->message);
    ticket->done = true;
}

mia_ticket *mia__ticket_failed(const mia_allocator *allocator, const mia_error *error) {
    mia_ticket *ticket = mia_allocate_zeroed(allocator, 1, ticket_bytes(0));
    if (ticket == NULL) return NULL;
    if (allocator != NULL) ticket->allocator = *allocator;
    mia__ticket_fail(ticket, error);
    return ticket;
}

void mia__ticket_let_go(mia_ticket *ticket) {
    mia_device *device = ticket->device;
    for (uint32_t i = 0; ticket->plan != NULL && i < ticket->buffer_count; i++) {
        mia__storage *storage = ticket->storages[i];
        if (storage == NULL) continue;
        storage->runs--;
        mia__storage_drop(device, storage);
        ticket->storages[i] = NULL;
    }
    mia__cached_release(device, ticket->plan);
    ticket->plan = NULL;
    if (ticket->source != NULL) {
        ticket->source->runs--;
        mia__storage_drop(device, ticket->source);
        ticket->source = NULL;
    }
}

static bool is_written(const mia__plan *plan, uint32_t buffer) {
    size_t offset;
    for (uint32_t s = 0; s < plan->step_count; s++)
        if (mia__plan_root(plan, plan->steps[s].output.buffer, &offset) == buffer) return true;
    return false;
}

/* What a failed run was to fill is poisoned, inputs that it was to overwrite among it; what is but a view of
 * an input that it reads is as good as that input. */
static void poison_results(mia_ticket *ticket) {
    mia_device *device = ticket->device;
    mia__cause *cause = mia__cause_new(device, ticket->status, ticket->message);
    const mia__plan *plan = ticket->plan->plan;
    for (uint32_t r = 0; r < plan->result_count; r++) {
        uint32_t buffer = plan->results[r].buffer;
        mia__storage *storage = buffer != MIA__NO_BUFFER ? ticket->storages[buffer] : NULL;
        if (storage == NULL || storage->memory.cause != NULL || !is_written(plan, buffer)) continue;
        storage->memory.cause = cause != NULL ? cause : &device->no_memory;
        storage->memory.cause->refs++;
    }
    mia__cause_release(device, cause);
}

/* --- phases ----------------------------------------------------------------------------------- */

/* Each is begun without the lock, and completes through this, from any thread. */
static void complete(void *user, mia_status status, const char *message) {
    mia_ticket *ticket = user;
    mia_device *device = ticket->device;
    mia__lock(device);
    if (status != MIA_OK) set_failure(ticket, status, message);
    ticket->completed = true;
    (void)pthread_cond_broadcast(&device->changed);
    mia__unlock(device);
}

/* The device's own progress is told of what the ticket does. */
static void watch_progress(mia_ticket *ticket) {
    const mia_device_options *options = &ticket->device->options;
    if (options->progress == NULL || ticket->nobodys) return;
    ticket->watch.progress = options->progress;
    ticket->watch.progress_user = options->progress_user;
    ticket->watch.told = mia__nanoseconds();
}

/* Fills the constants of the plan that are not there yet. */
static void load(mia_ticket *ticket) {
    mia_device *device = ticket->device;
    const mia__plan *plan = ticket->plan->plan;
    mia_error error = {0};
    mia_status status = MIA_OK;
    size_t total = 0, done = 0;
    if (ticket->progress == NULL) watch_progress(ticket);
    for (uint32_t b = 0; b < plan->buffer_count; b++)
        if (ticket->storages[b] != NULL && ticket->storages[b]->constant != NULL)
            total += plan->buffers[b].bytes;
    for (uint32_t b = 0; status == MIA_OK && b < plan->buffer_count; b++) {
        mia__storage *storage = ticket->storages[b];
        if (storage == NULL || storage->constant == NULL) continue;
        mia__lock(device);
        mia__prepared *form = plan->buffers[b].kind == MIA__BUFFER_FORM
                                  ? mia__constant_find_form(storage, &plan->buffers[b])
                                  : NULL;
        bool filled = form != NULL ? form->filled : storage->filled;
        const void *raw = mia__constant_bytes(storage);
        mia__unlock(device);
        if (mia__watch_cancelled(ticket->run.watch))
            status = mia_error_set(&error, MIA_ERROR_CANCELLED, "loading was cancelled");
        else if (!filled)
            status = mia__constant_fill(device, storage, form, raw, ticket->run.watch, &error);
        done += plan->buffers[b].bytes;
        double share = total > 0 ? (double)done / (double)total : 1;
        if (!filled) mia__watch_tell(ticket->run.watch, share);
        if (status == MIA_OK && ticket->progress != NULL && !ticket->progress(ticket->progress_user, share))
            status = mia_error_set(&error, MIA_ERROR_CANCELLED, "loading was cancelled");
        if (filled || status != MIA_OK) continue;
        mia__lock(device);
        *(form != NULL ? &form->filled : &storage->filled) = true;
        mia__unlock(device);
    }
    complete(ticket, status, error.message);
}

/* A leaf that an earlier run failed to fill. */
static const mia__cause *poisoned_leaf(const mia_ticket *ticket) {
    if (ticket->source != NULL && ticket->phase == MIA__PHASE_DOWNLOAD) return ticket->source->memory.cause;
    if (ticket->phase != MIA__PHASE_RUN) return NULL;
    for (uint32_t b = 0; b < ticket->buffer_count; b++)
        if (ticket->storages[b] != NULL && ticket->storages[b]->memory.cause != NULL)
            return ticket->storages[b]->memory.cause;
    return NULL;
}

/* Whoever waits for a large value can still cancel. */
#define DOWNLOAD_PIECE ((size_t)16 << 20)

static size_t next_download(const mia_ticket *ticket) {
    size_t left = ticket->bytes - ticket->downloaded;
    return ticket->device->type->synchronous && left > DOWNLOAD_PIECE ? DOWNLOAD_PIECE : left;
}

static void download(mia_ticket *ticket, mia__completion completion) {
    mia_device *device = ticket->device;
    device->type->download(device->backend, &ticket->source->buffer,
                           ticket->source_offset + ticket->downloaded,
                           (char *)ticket->into + ticket->downloaded, next_download(ticket), completion);
}

static void run(mia_ticket *ticket, mia__completion completion) {
    mia_device *device = ticket->device;
    ticket->run.completion = completion;
    watch_progress(ticket);
    mia__trace_begin(ticket);
    mia__check_begin(ticket);
    device->type->run(device->backend, &ticket->run);
}

/* Begins the present phase; called with the lock, which is not held while the backend works. */
static void begin_phase(mia_ticket *ticket) {
    mia_device *device = ticket->device;
    mia__completion completion = {complete, ticket};
    ticket->started = true;
    if (mia__watch_cancelled(ticket->run.watch)) {
        set_failure(ticket, MIA_ERROR_CANCELLED, NULL);
        ticket->completed = true;
        return;
    }
    const mia__cause *cause = poisoned_leaf(ticket);
    if (cause != NULL) {
        set_failure(ticket, cause->status, cause->message);
        ticket->completed = true;
        return;
    }
    mia__unlock(device);
    switch (ticket->phase) {
    case MIA__PHASE_OPEN: device->type->open(&device->options, &device->backend, completion); break;
    case MIA__PHASE_LOAD: load(ticket); break;
    case MIA__PHASE_RUN: run(ticket, completion); break;
    case MIA__PHASE_DOWNLOAD: download(ticket, completion); break;
    case MIA__PHASE_END: complete(ticket, MIA_OK, NULL); break;
    }
    mia__lock(device);
}

static mia__phase next_phase(const mia_ticket *ticket) {
    switch (ticket->phase) {
    case MIA__PHASE_LOAD:
        if (ticket->run_it) return MIA__PHASE_RUN;
        return ticket->source != NULL ? MIA__PHASE_DOWNLOAD : MIA__PHASE_END;
    case MIA__PHASE_RUN: return ticket->source != NULL ? MIA__PHASE_DOWNLOAD : MIA__PHASE_END;
    default: return MIA__PHASE_END;
    }
}

/* The run of a ticket went well; what may fail after it takes nothing back. */
static void end_run(mia_ticket *ticket) {
    mia_device *device = ticket->device;
    ticket->run_it = false;
    device->counters.runs++;
    device->counters.kernels += ticket->plan->plan->step_count - ticket->run.joined;
    device->counters.fallbacks = device->backend->fallbacks;
}

static void free_ticket(mia_ticket *ticket) {
    mia_allocator allocator = ticket->allocator;
    mia_release(&allocator, ticket, ticket_bytes(ticket->buffer_count));
}

void mia__ticket_drop(mia_ticket *ticket) {
    ticket->device->tickets--;
    free_ticket(ticket);
}

/* The present phase is done, and went well unless the status says otherwise. */
static void end_phase(mia_ticket *ticket) {
    bool well = ticket->status == MIA_OK;
    if (well && ticket->phase == MIA__PHASE_DOWNLOAD) {
        ticket->downloaded += next_download(ticket);
        if (ticket->downloaded < ticket->bytes) return;
    }
    if (ticket->phase == MIA__PHASE_RUN) mia__trace_end(ticket);
    if (well && ticket->phase == MIA__PHASE_RUN) end_run(ticket);
    ticket->phase = well ? next_phase(ticket) : MIA__PHASE_END;
}

/* The first ticket of the queue is done. Its callback is called without the lock. */
static void end_ticket(mia_ticket *ticket) {
    mia_device *device = ticket->device;
    device->queue_first = ticket->next;
    if (device->queue_first == NULL) device->queue_last = NULL;
    if (ticket->run_it) poison_results(ticket); /* it has not run, or not well */
    mia__ticket_let_go(ticket);
    ticket->done = true;
    if (ticket->nobodys) {
        mia__ticket_drop(ticket);
        return;
    }
    void (*then)(void *, mia_status) = ticket->then;
    if (then != NULL) {
        void *user = ticket->then_user;
        mia_status status = ticket->status;
        ticket->then = NULL;
        mia__unlock(device);
        then(user, status);
        mia__lock(device);
    }
}

/* While a value comes back from a backend that works by itself, the run behind it can begin: a loop that reads a number
 * of every step then keeps such a backend busy. Tickets end in their order all the same. */
static bool overlaps(const mia_ticket *ticket) {
    const mia_ticket *next = ticket->next;
    return !ticket->device->type->synchronous && ticket->phase == MIA__PHASE_DOWNLOAD && next != NULL &&
           next->phase == MIA__PHASE_RUN && !next->started;
}

/* Moves the first ticket on by one action; false when there is nothing to do but wait. */
static bool advance(mia_device *device, bool block) {
    mia_ticket *ticket = device->queue_first;
    if (ticket->completed) {
        ticket->started = ticket->completed = false;
        end_phase(ticket);
        if (ticket->phase == MIA__PHASE_END) end_ticket(ticket);
        return true;
    }
    if (!ticket->started) {
        begin_phase(ticket);
        return ticket->completed;
    }
    if (overlaps(ticket)) begin_phase(ticket->next);
    if (ticket->completed) return true;
    mia__unlock(device);
    device->type->poll(device->backend, block);
    mia__lock(device);
    return ticket->completed || block;
}

/* Takes the driver's seat and works the queue until `ticket` (NULL: all) is done or, without `block`, has to
 * wait. */
static void work(mia_device *device, const mia_ticket *ticket, bool block) {
    device->driving = true;
    while (device->queue_first != NULL && (ticket == NULL || !ticket->done))
        if (!advance(device, block) && !block) break;
    device->driving = false;
    (void)pthread_cond_broadcast(&device->changed);
}

void mia__ticket_drive(mia_ticket *ticket, bool block) {
    mia_device *device = ticket->device;
    while (!ticket->done) {
        if (!device->driving)
            work(device, ticket, block);
        else if (block)
            (void)pthread_cond_wait(&device->changed, &device->lock);
        if (!block) return;
    }
}

void mia__queue_drain(mia_device *device) {
    while (device->queue_first != NULL) {
        if (device->driving)
            (void)pthread_cond_wait(&device->changed, &device->lock);
        else
            work(device, NULL, true);
    }
}

/* The device's own thread: drives a synchronous backend for those who only poll. */
static void *drive_queue(void *user) {
    mia_device *device = user;
    mia__lock(device);
    while (!device->driver_stops) {
        if (device->queue_first != NULL && !device->driving)
            work(device, NULL, true);
        else
            (void)pthread_cond_wait(&device->changed, &device->lock);
    }
    mia__unlock(device);
    return NULL;
}

void mia__ticket_queue(mia_ticket *ticket) {
    mia_device *device = ticket->device;
    ticket->watch.cancels_before = atomic_load(&device->cancels);
    if (device->queue_last != NULL)
        device->queue_last->next = ticket;
    else
        device->queue_first = ticket;
    device->queue_last = ticket;
}

/* Somebody asks for a ticket but will not wait for it: gets work on it under way without doing it here, unless
 * the backend completes later anyway, or no thread can be had. */
static void nudge(mia_ticket *ticket) {
    mia_device *device = ticket->device;
    if (ticket->done || device->driving) return;
    if (device->type->synchronous && !device->driver_runs)
        device->driver_runs = pthread_create(&device->driver, NULL, drive_queue, device) == 0;
    if (device->type->synchronous && device->driver_runs)
        (void)pthread_cond_broadcast(&device->changed);
    else
        mia__ticket_drive(ticket, false);
}

/* --- exported --------------------------------------------------------------------------------- */

bool mia_ticket_poll(mia_ticket *ticket) {
    if (ticket == NULL || ticket->device == NULL) return true;
    mia_device *device = ticket->device;
    mia__lock(device);
    nudge(ticket);
    bool done = ticket->done;
    mia__unlock(device);
    return done;
}

void mia_ticket_then(mia_ticket *ticket, void (*then)(void *user, mia_status status), void *user) {
    if (ticket == NULL || ticket->device == NULL) {
        then(user, ticket == NULL ? MIA_ERROR_NO_MEMORY : ticket->status);
        return;
    }
    mia__lock(ticket->device);
    bool done = ticket->done;
    mia_status status = ticket->status;
    if (!done) {
        ticket->then = then;
        ticket->then_user = user;
        if (ticket->device->type->synchronous) nudge(ticket);
    }
    mia__unlock(ticket->device);
    if (done) then(user, status);
}

void mia_ticket_cancel(mia_ticket *ticket) {
    if (ticket != NULL) atomic_store(&ticket->watch.cancelled, true);
}

void mia_device_cancel(mia_device *device) {
    (void)atomic_fetch_add(&device->cancels, 1);
}

/* The end of a ticket that failed before there was a device. */
static mia_status finish_nowhere(mia_ticket *ticket, mia_error *error) {
    mia_status status = mia_error_set(error, ticket->status, "%s", ticket->message);
    free_ticket(ticket);
    return status;
}

mia_status mia_ticket_finish(mia_ticket *ticket, mia_error *error) {
    if (ticket == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to begin the work");
    mia_device *device = ticket->device;
    if (device == NULL) return finish_nowhere(ticket, error);
    mia__lock(device);
    if (!ticket->done) {
        mia__unlock(device);
        return mia_error_set(error, MIA_ERROR_PENDING, "the work has not completed yet");
    }
    mia_status status = ticket->status;
    if (status != MIA_OK) (void)mia_error_set(error, status, "%s", ticket->message);
    mia_device **opened = ticket->opened;
    free_ticket(ticket);
    device->tickets--;
    if (opened != NULL && status == MIA_OK) *opened = device;
    bool unopened = opened != NULL && status != MIA_OK;
    if (unopened || !mia__device_shell_free(device)) mia__unlock(device);
    if (unopened) (void)mia_device_close(device, NULL);
    return status;
}
