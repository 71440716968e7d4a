/* Included before every source that `make lint` analyses: tells clang's analyzer, which sees one file at a
 * time, that mia_error_set returns the status that it is given. Without it, `return mia_error_set(error,
 * MIA_ERROR_FORMAT, ...)` might as well mean success, and what the function has then not filled in would
 * count as uninitialised. */
#ifndef MIA_SCRIPTS_ANALYZER_H
#define MIA_SCRIPTS_ANALYZER_H

#include <mia/status.h>

static inline mia_status mia__analyzed_error_set(mia_error *error, mia_status status, const char *format,
                                                 ...) {
    (void)format;
    if (error != NULL) error->status = status;
    return status;
}

#define mia_error_set mia__analyzed_error_set

#endif
