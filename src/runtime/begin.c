/* The forms that return a ticket and complete later. */
#include "runtime/device.h"

mia_ticket *mia_device_open_begin(const mia_device_options *options, mia_device **out) {
    mia_error error = {0};
    mia_ticket *ticket = mia__open_begin(options, out, &error);
    if (ticket != NULL) return ticket;
    return mia__ticket_failed(options != NULL ? options->allocator : NULL, &error);
}

/* A ticket that says what is wrong with a handle of no device. */
static mia_ticket *nowhere(mia_tensor t) {
    mia_error error = {0};
    (void)mia_tensor_status(t, &error);
    return mia__ticket_failed(NULL, &error);
}

mia_ticket *mia_tensor_eval_begin(const mia_tensor *list, size_t count) {
    static const mia_error nothing = {MIA_ERROR_INVALID_ARGUMENT, "eval: the list of tensors is empty"};
    if (count == 0) return mia__ticket_failed(NULL, &nothing);
    if (list[0].device == NULL) return nowhere(list[0]);
    return mia__eval_begin(list, count);
}

mia_ticket *mia_tensor_read_begin(mia_tensor t, void *out, size_t bytes, const char *file, int line) {
    mia__site site = {"read", file, line};
    if (t.device == NULL) return nowhere(t);
    return mia__read_begin(t, out, bytes, &site);
}
