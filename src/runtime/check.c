/* MIA_DEBUG=check: what a backend needs to compute a run's steps once more on reference kernels, and where it
 * tells what differs: the log. */
#include "runtime/device.h"

#include <inttypes.h>
#include <string.h>

/* A constant's own bytes, of which the form of a table that was cut is some: in memory, or read once more. */
static bool raw(void *user, uint32_t buffer, void *into, size_t bytes) {
    mia_ticket *ticket = user;
    const mia__storage *storage = ticket->storages[buffer];
    size_t offset = ticket->plan->plan->buffers[buffer].offset;
    mia__lock(ticket->device);
    const void *there = mia__constant_bytes(storage);
    mia__unlock(ticket->device);
    if (offset > storage->memory.bytes || bytes > storage->memory.bytes - offset) return false;
    if (there == NULL)
        return storage->constant->weights != NULL &&
               mia_weights_read(storage->constant->weights, storage->constant->info, offset, into, bytes,
                                NULL) == MIA_OK;
    memcpy(into, (const char *)there + offset, bytes);
    return true;
}

static void report(void *user, const char *line) {
    const mia_ticket *ticket = user;
    mia__device_log(ticket->device, "check: run %" PRIu64 ", %s", ticket->device->counters.runs, line);
}

void mia__check_begin(mia_ticket *ticket) {
    mia_device *device = ticket->device;
    if ((device->debug & MIA__DEBUG_CHECK) == 0) return;
    if (!device->type->checks) {
        if (!device->told_unchecked)
            mia__device_log(device, "check: steps of the %s backend cannot be checked; none is",
                            device->type->name);
        device->told_unchecked = true;
        return;
    }
    ticket->check = (mia__check){raw, report, ticket};
    ticket->run.check = &ticket->check;
}
