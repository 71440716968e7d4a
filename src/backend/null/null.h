/* The null backend: computes nothing and completes late, for tests of order, waiting and failure.
 *
 * Memory is zero when it is allocated, and no step changes it; uploads and downloads are real. open, run and
 * download complete during a later poll, by default the third after they were begun, and always in the order
 * in which they were begun; a blocking poll completes the oldest at once. */
#ifndef MIA_BACKEND_NULL_NULL_H
#define MIA_BACKEND_NULL_NULL_H

#include "backend/backend.h"

#define MIA__NULL_POLLS 3

extern const mia__backend_type mia__backend_null;

/* open sets *out before it returns, so that there is something to poll. When it completes with a failure, the
 * backend has freed itself and *out is NULL again. */

/* How many polls work takes that is begun from now on; 0: it completes before the call that begins it
 * returns, unless older work is still waiting. */
void mia__null_set_polls(mia__backend *backend, uint32_t polls);

/* Makes the n-th completion from now (1: the next) fail with DEVICE_LOST; 0: none. Its work is not done. */
void mia__null_fail(mia__backend *backend, uint32_t n);

/* Work begun that has not completed. */
size_t mia__null_pending(const mia__backend *backend);

#endif
