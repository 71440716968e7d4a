/* What tests of tickets share: a device whose allocations are counted, one at a time, and work for it. Included after
 * cmocka.h. */
#ifndef MIA_TEST_SUPPORT_TICKETS_H
#define MIA_TEST_SUPPORT_TICKETS_H

#include "unit/support.h"

#include <mia/mia.h>

static test_allocator allocator;

/* Skips the test where the backend is missing. */
static inline mia_device *open_with(mia_device_options options) {
    test_allocator_init(&allocator);
    options.threads = 2;
    options.allocator = &allocator.hook;
    mia_device *device = NULL;
    mia_error error = {0};
    mia_status status = mia_device_open(&options, &device, &error);
    if (status == MIA_ERROR_NOT_FOUND) skip();
    if (status != MIA_OK) fail_msg("%s", error.message);
    return device;
}

static inline mia_device *open_on(const char *backend) {
    return open_with((mia_device_options){.backend = backend});
}

/* Everything is given back. */
static inline void close_clean(mia_device *device) {
    mia_error error = {0};
    if (mia_device_close(device, &error) != MIA_OK) fail_msg("%s", error.message);
    assert_int_equal(allocator.live_bytes, 0);
}

static inline mia_tensor_f32 number(mia_device *device, float value) {
    return mia_upload(f32, device, MIA_SHAPE(1), &value);
}

static inline mia_ticket *begin_eval(mia_tensor_f32 t) {
    const mia_tensor list[1] = {MIA_UNTYPED(t)};
    return mia_tensor_eval_begin(list, 1);
}

/* Waits and finishes; error may be NULL. */
static inline mia_status end(mia_ticket *ticket, mia_error *error) {
    mia_ticket_wait(ticket);
    return mia_ticket_finish(ticket, error);
}

#endif
