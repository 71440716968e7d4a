/* Status names and error messages (include/mia/status.h). */
#include <mia/status.h>
#include <stdio.h>

const char *mia_status_name(mia_status status) {
    switch (status) {
#define MIA__CASE(name, value, sentence)                                                                     \
    case MIA_ERROR_##name: return #name;
        MIA_STATUS_LIST(MIA__CASE)
#undef MIA__CASE
    }
    return "UNKNOWN";
}

const char *mia_status_sentence(mia_status status) {
    switch (status) {
#define MIA__CASE(name, value, sentence)                                                                     \
    case MIA_ERROR_##name: return sentence;
        MIA_STATUS_LIST(MIA__CASE)
#undef MIA__CASE
    }
    return "an unknown status";
}

mia_status mia_error_setv(mia_error *error, mia_status status, const char *format, va_list args) {
    if (error == NULL) return status;
    error->status = status;
    (void)vsnprintf(error->message, sizeof error->message, format, args);
    return status;
}

mia_status mia_error_set(mia_error *error, mia_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    mia_error_setv(error, status, format, args);
    va_end(args);
    return status;
}
