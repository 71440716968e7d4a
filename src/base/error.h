/* Messages that are passed upwards: who was asked goes before what went wrong inside. */
#ifndef MIA_BASE_ERROR_H
#define MIA_BASE_ERROR_H

#include <mia/status.h>

/* Puts "what: " before the message of an error that is set. NULL is fine. */
static inline void mia__error_within(mia_error *error, const char *what) {
    if (error == NULL) return;
    const mia_error inner = *error;
    (void)mia_error_set(error, inner.status, "%s: %s", what, inner.message);
}

#endif
