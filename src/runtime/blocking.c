/* The blocking forms: thin wrappers that begin, wait and finish. Native programs only. */
#include "runtime/device.h"

void mia_ticket_wait(mia_ticket *ticket) {
    if (ticket == NULL || ticket->device == NULL) return;
    mia__lock(ticket->device);
    mia__ticket_drive(ticket, true);
    mia__unlock(ticket->device);
}

static mia_status finish(mia_ticket *ticket, mia_error *error) {
    mia_ticket_wait(ticket);
    return mia_ticket_finish(ticket, error);
}

mia_status mia_device_open(const mia_device_options *options, mia_device **out, mia_error *error) {
    mia_error local = {0};
    mia_ticket *ticket = mia__open_begin(options, out, &local);
    if (ticket == NULL) return mia_error_set(error, local.status, "%s", local.message);
    return finish(ticket, error);
}

mia_status mia_tensor_eval(const mia_tensor *list, size_t count, mia_error *error) {
    if (count == 0) return MIA_OK;
    if (list[0].device == NULL) return mia_tensor_status(list[0], error);
    return finish(mia__eval_begin(list, count), error);
}

mia_status mia_tensor_read(mia_tensor t, void *out, size_t bytes, mia_error *error, const char *file,
                           int line) {
    mia__site site = {"read", file, line};
    if (t.device == NULL) return mia_tensor_status(t, error);
    return finish(mia__read_begin(t, out, bytes, &site), error);
}
