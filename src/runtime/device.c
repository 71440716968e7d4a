/* Devices: opening (which completes later), closing with a report of what leaked, description and
 * counters. */
#include "runtime/device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static char *copy_text(const mia_allocator *allocator, const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = mia_allocate(allocator, bytes, 1);
    if (copy != NULL) memcpy(copy, text, bytes);
    return copy;
}

static const mia__backend_type *find_backend(const char *name, mia_error *error) {
    size_t count;
    const mia__backend_type *const *types = mia__backend_types(&count);
    char names[200] = "";
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (name == NULL || strcmp(types[i]->name, name) == 0) return types[i];
        int written = snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", types[i]->name);
        if (written > 0 && used + (size_t)written < sizeof names) used += (size_t)written;
    }
    (void)mia_error_set(error, MIA_ERROR_NOT_FOUND, "no backend \"%s\"; this build has %s", name, names);
    return NULL;
}

static mia_backend_info backends[8]; /* written once */
static size_t backend_count;

static void list_backends(void) {
    size_t count;
    const mia__backend_type *const *types = mia__backend_types(&count);
    for (size_t i = 0; i < count && i < sizeof backends / sizeof backends[0]; i++)
        backends[backend_count++] = (mia_backend_info){types[i]->name, types[i]->description};
}

const mia_backend_info *mia_backends(size_t *count) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, list_backends);
    *count = backend_count;
    return backends;
}

static void free_device(mia_device *device) {
    mia_allocator allocator = device->allocator;
    mia__linear_free(&device->linear);
    mia__custom_free(device);
    mia__times_free(&allocator, device->times);
    mia_release(&allocator, device->slots, device->slot_capacity * sizeof *device->slots);
    mia_release(&allocator, device->consumed, MIA__CONSUMED_RING * sizeof *device->consumed);
    if (device->options.backend != NULL)
        mia_release(&allocator, (void *)(uintptr_t)device->options.backend,
                    strlen(device->options.backend) + 1);
    (void)pthread_cond_destroy(&device->changed);
    (void)pthread_mutex_destroy(&device->lock);
    mia_release(&allocator, device, sizeof *device);
}

bool mia__device_shell_free(mia_device *device) {
    if (!device->closed || device->counters.handles > 0 || device->tickets > 0) return false;
    mia__unlock(device);
    free_device(device);
    return true;
}

/* A device that is not open yet; NULL with the error set. */
static mia_device *new_device(const mia_device_options *options, mia_error *error) {
    mia_device_options given = options != NULL ? *options : (mia_device_options){0};
    const mia__backend_type *type = find_backend(given.backend, error);
    if (type == NULL) return NULL;
    mia_device *device = mia_allocate_zeroed(given.allocator, 1, sizeof *device);
    if (device == NULL) {
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a device");
        return NULL;
    }
    (void)pthread_mutex_init(&device->lock, NULL);
    (void)pthread_cond_init(&device->changed, NULL);
    if (given.allocator != NULL) device->allocator = *given.allocator;
    device->options = given;
    if (given.webgpu != NULL) { /* which is the caller's, and may go before the backend is opened */
        device->webgpu_options = *given.webgpu;
        device->options.webgpu = &device->webgpu_options;
    }
    device->options.allocator = &device->allocator;
    device->type = type;
    device->debug = mia__debug_flags();
    if ((device->debug & MIA__DEBUG_UNKNOWN) != 0)
        mia__device_log(device, "MIA_DEBUG: the words are tape, plan, memory, time and check");
    device->free_first = device->free_last = MIA__NO_SLOT;
    device->no_memory.refs = 1;
    device->no_memory.status = MIA_ERROR_NO_MEMORY;
    (void)snprintf(device->no_memory.message, sizeof device->no_memory.message, "%s",
                   mia_status_sentence(MIA_ERROR_NO_MEMORY));
    mia__linear_init(&device->linear, &device->allocator);
    device->options.backend = copy_text(&device->allocator, type->name);
    device->consumed = mia_allocate_zeroed(&device->allocator, MIA__CONSUMED_RING, sizeof *device->consumed);
    bool timed = (device->debug & MIA__DEBUG_TIME) != 0;
    if (timed) device->times = mia__times_new(&device->allocator);
    if (device->options.backend == NULL || device->consumed == NULL || (timed && device->times == NULL)) {
        free_device(device);
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a device");
        return NULL;
    }
    return device;
}

mia_ticket *mia__open_begin(const mia_device_options *options, mia_device **out, mia_error *error) {
    *out = NULL;
    mia_device *device = new_device(options, error);
    if (device == NULL) return NULL;
    mia__lock(device);
    mia_ticket *ticket = mia__ticket_new(device, 0);
    if (ticket == NULL) {
        mia__unlock(device);
        free_device(device);
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a device");
        return NULL;
    }
    ticket->phase = MIA__PHASE_OPEN;
    ticket->opened = out;
    mia__ticket_queue(ticket);
    mia__unlock(device);
    return ticket;
}

/* --- closing ---------------------------------------------------------------------------------- */

/* Weights that constants of this device were made from tell it when they close; no longer. Without the lock,
 * which mia__weights_unobserve may have to wait for. */
static void unobserve_weights(mia_device *device) {
    for (;;) {
        mia__lock(device);
        const mia_weights *weights = NULL;
        for (mia__storage *s = device->constants; s != NULL && weights == NULL; s = s->constant->next)
            if (!s->constant->observed_no_more) weights = s->constant->weights;
        for (mia__storage *s = device->constants; s != NULL; s = s->constant->next)
            if (s->constant->weights == weights) s->constant->observed_no_more = true;
        if (weights != NULL) mia__weights_retain(weights);
        mia__unlock(device);
        if (weights == NULL) return;
        (void)mia__weights_unobserve(weights, mia__weights_closed, device);
        mia__weights_release(weights);
    }
}

/* Drops every handle; those of values are counted and the first few named. */
static mia_status drop_handles(mia_device *device, mia_error *error) {
    static const mia__site site = {"the closing of its device", NULL, 0};
    char places[300] = "";
    size_t used = 0, named = 0, leaked = 0;
    for (uint32_t i = 0; i < device->slot_count; i++) {
        mia__slot *slot = &device->slots[i];
        if (!slot->owned) continue;
        mia__node *node = slot->node;
        slot->node = NULL;
        if (slot->constant) {
            mia__handle_end(device, i, &site);
        } else if (++leaked <= 4 && slot->file != NULL) {
            int written = snprintf(places + used, sizeof places - used, "%s%s:%d (%s)", named > 0 ? ", " : "",
                                   slot->file, slot->line, slot->what);
            if (written > 0 && used + (size_t)written < sizeof places) used += (size_t)written;
            named++;
        }
        mia__node_release(device, node);
    }
    if (leaked == 0) return MIA_OK;
    return mia_error_set(error, MIA_ERROR_LEAKED,
                         "%zu tensor%s still owned when the device was closed, made at %s%s", leaked,
                         leaked == 1 ? " was" : "s were", named > 0 ? places : "places unknown",
                         leaked > named && named > 0 ? " and elsewhere" : "");
}

static void stop_driver(mia_device *device) {
    if (!device->driver_runs) return;
    device->driver_stops = true;
    (void)pthread_cond_broadcast(&device->changed);
    mia__unlock(device);
    (void)pthread_join(device->driver, NULL);
    mia__lock(device);
    device->driver_runs = false;
}

mia_status mia_device_close(mia_device *device, mia_error *error) {
    if (device == NULL) return MIA_OK;
    unobserve_weights(device);
    mia__lock(device);
    mia__queue_drain(device);
    stop_driver(device);
    mia__tapes_orphan(device);
    mia_status status = drop_handles(device, error);
    mia__cache_clear(device);
    if (device->arena != NULL) {
        device->arena->memory.nodes = 0;
        mia__storage_drop(device, device->arena);
        device->arena = NULL;
    }
    mia__nodes_free(device);
    if (device->backend != NULL) device->type->close(device->backend);
    device->backend = NULL;
    device->closed = true;
    if (!mia__device_shell_free(device)) mia__unlock(device);
    return status;
}

/* --- queries ---------------------------------------------------------------------------------- */

mia_device_info mia_device_describe(const mia_device *device) {
    mia_device_info info = {.backend = device->type->name,
                            .max_bytes = device->options.max_bytes,
                            .precision = device->options.precision,
                            .no_fusion = device->options.no_fusion,
                            .webgpu = device->options.webgpu};
    if (device->backend != NULL) device->type->describe(device->backend, &info);
    return info;
}

mia_device_counters mia_device_count(const mia_device *device) {
    mia_device *own = (mia_device *)(uintptr_t)device; /* the lock is no part of what callers see */
    mia__lock(own);
    mia_device_counters counters = device->counters;
    mia__unlock(own);
    return counters;
}
