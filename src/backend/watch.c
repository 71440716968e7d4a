/* The clock, and progress that is told now and then (watch.h). */
#include "backend/watch.h"

#include <time.h>

#define BETWEEN 50000000u /* nanoseconds */

uint64_t mia__nanoseconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void mia__watch_tell_now(mia__watch *watch, double share) {
    uint64_t now = mia__nanoseconds();
    if (now - watch->told < BETWEEN) return;
    watch->told = now;
    if (!watch->progress(watch->progress_user, share)) atomic_store(&watch->cancelled, true);
}
