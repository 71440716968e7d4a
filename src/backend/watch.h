/* What a run looks at, and what it tells, between the pieces of its work: whether somebody wants it to stop, how
 * far it is, and how long each step took. All of it costs nothing when nobody asked for it. */
#ifndef MIA_BACKEND_WATCH_H
#define MIA_BACKEND_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A step, or one thread's part of one, as it went. */
typedef struct mia__span {
    uint32_t step;
    uint32_t thread; /* 0: the one that drives; it tells of the whole step, the others of their parts */
    uint64_t begin, end;
    uint32_t joined; /* steps behind it that ran within it */
} mia__span;

/* Zero-initialised: nobody cancels, nobody listens. */
typedef struct mia__watch {
    atomic_uint *cancels;    /* how often all of the device's work was cancelled; NULL: never */
    unsigned cancels_before; /* the same when this work was queued */
    atomic_bool cancelled;   /* this work alone */

    bool (*progress)(void *user, double share); /* false cancels; NULL: nobody listens */
    void *progress_user;
    uint64_t told; /* when it was last called */

    void (*trace)(void *user, const mia__span *span); /* by the driving thread; NULL: nobody listens */
    void *trace_user;
} mia__watch;

/* Nanoseconds of a clock that only goes forward. */
uint64_t mia__nanoseconds(void);

/* Whether the work is to stop. From any thread; NULL: nobody watches. */
static inline bool mia__watch_cancelled(mia__watch *watch) {
    if (watch == NULL) return false;
    return atomic_load_explicit(&watch->cancelled, memory_order_relaxed) ||
           (watch->cancels != NULL &&
            atomic_load_explicit(watch->cancels, memory_order_relaxed) != watch->cancels_before);
}

/* Tells how much of the work is done, if the last time is 50 ms ago. By the driving thread. */
void mia__watch_tell_now(mia__watch *watch, double share);
static inline void mia__watch_tell(mia__watch *watch, double share) {
    if (watch != NULL && watch->progress != NULL) mia__watch_tell_now(watch, share);
}

static inline bool mia__watch_traces(const mia__watch *watch) {
    return watch != NULL && watch->trace != NULL;
}

#endif
