/* What submit.c offers to the functions that plan without running (tape.c). All under the device's lock. */
#ifndef MIA_RUNTIME_SUBMIT_H
#define MIA_RUNTIME_SUBMIT_H

#include "runtime/device.h"

/* What a plan for the last linearisation needs, and how much of that is not there yet. */
void mia__plan_measure(const mia_device *device, const mia__plan *plan, mia_plan_info *info,
                       uint64_t *missing);

/* The sum of a plan's parts. */
void mia__plan_total(mia_plan_info *info);

/* A ticket with memory for every buffer of the plan (which it takes over), or for its constants alone: its phase is
 * LOAD if constants have to be read. NULL with the error set, or failed. */
mia_ticket *mia__reserve(mia_device *device, mia__cached *plan, bool constants, mia_error *error);

/* The nodes behind handles, borrowed; an array of count from the device's allocator. */
mia_status mia__borrow_list(mia_device *device, const mia_tensor *list, size_t count, const char *what,
                            mia__node ***out, mia_error *error);

/* Plans and reserves what the roots need and lets the nodes have their results: a ticket that is ready to be
 * queued, failed, or NULL. */
mia_ticket *mia__submit(mia_device *device, mia__node *const *roots, size_t count, mia_error *error);

/* A failed ticket, so that begin functions have one way to return. */
mia_ticket *mia__submit_failed(mia_device *device, const mia_error *error);

/* Memory for results with no elements, which have no buffer: made before anything changes. *out is NULL where
 * there are none. */
bool mia__make_empty(mia_device *device, const mia_ticket *ticket, mia__storage **out, mia_error *error);

#endif
