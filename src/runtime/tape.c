/* Planning without running: what a run would need, and getting its constants ready (include/mia/tape.h). */
#include "runtime/submit.h"

/* The plan of what the values need; retained. Called with the lock. */
static mia__cached *plan_of(mia_device *device, const mia_tensor *list, size_t count, mia_error *error) {
    mia__node **roots;
    if (mia__borrow_list(device, list, count, "plan", &roots, error) != MIA_OK) return NULL;
    mia__cached *plan = NULL;
    if (mia__linearise(&device->linear, roots, count, error) == MIA_OK) plan = mia__cache_get(device, error);
    mia_release(&device->allocator, roots, count * sizeof(mia__node *));
    return plan;
}

mia_status mia_tensor_plan(const mia_tensor *list, size_t count, mia_plan_info *out, mia_error *error) {
    *out = (mia_plan_info){0};
    if (count == 0) return MIA_OK;
    if (list[0].device == NULL) return mia_tensor_status(list[0], error);
    mia_device *device = list[0].device;
    mia_error local = {0};
    mia__lock(device);
    mia__cached *plan = plan_of(device, list, count, &local);
    if (plan != NULL) {
        uint64_t missing;
        mia__plan_measure(device, plan->plan, out, &missing);
        mia__cached_release(device, plan);
    }
    mia__unlock(device);
    return plan != NULL ? MIA_OK : mia_error_set(error, local.status, "%s", local.message);
}

mia_status mia_tensor_prepare(const mia_tensor *list, size_t count,
                              bool (*progress)(void *user, double fraction), void *user, mia_error *error) {
    if (count == 0) return MIA_OK;
    if (list[0].device == NULL) return mia_tensor_status(list[0], error);
    mia_device *device = list[0].device;
    mia_error local = {0};
    mia__lock(device);
    mia__cached *plan = plan_of(device, list, count, &local);
    mia_ticket *ticket = plan != NULL ? mia__reserve(device, plan, true, &local) : NULL;
    if (ticket != NULL && !ticket->done) {
        ticket->phase = MIA__PHASE_LOAD;
        ticket->progress = progress;
        ticket->progress_user = user;
        mia__ticket_queue(ticket);
    }
    mia__unlock(device);
    if (ticket == NULL) return mia_error_set(error, local.status, "%s", local.message);
    mia_ticket_wait(ticket);
    return mia_ticket_finish(ticket, error);
}
