/* Status codes and error messages.
 *
 * Every function that can fail returns a mia_status and fills a mia_error that the caller owns and may
 * leave NULL. The library never prints, aborts or exits. docs/errors.md tells the whole story. */
#ifndef MIA_STATUS_H
#define MIA_STATUS_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define MIA_API __declspec(dllexport)
#elif defined(__GNUC__)
#define MIA_API __attribute__((visibility("default")))
#else
#define MIA_API
#endif

#if defined(__GNUC__)
#define MIA_MUST_CHECK            __attribute__((warn_unused_result))
#define MIA_PRINTF(string, first) __attribute__((format(printf, string, first)))
#else
#define MIA_MUST_CHECK
#define MIA_PRINTF(string, first)
#endif

/* name, value (fixed: programs may store it), what it means in a sentence */
#define MIA_STATUS_LIST(X)                                                                                   \
    X(OK, 0, "success")                                                                                      \
    X(INVALID_ARGUMENT, 1, "an argument is outside what the function takes")                                 \
    X(SHAPE_MISMATCH, 2, "the operands' shapes do not fit the operation")                                    \
    X(TYPE_MISMATCH, 3, "the operands' element types do not fit the operation")                              \
    X(CONSUMED, 4, "a handle was used after it had been given away")                                         \
    X(NO_MEMORY, 5, "an allocation failed")                                                                  \
    X(OVER_LIMIT, 6, "the work needs more memory than the device's limit allows")                            \
    X(IO, 7, "reading or writing failed")                                                                    \
    X(FORMAT, 8, "a file is corrupt, truncated or not of the expected format")                               \
    X(UNSUPPORTED, 9, "the backend or this build does not offer what was asked for")                         \
    X(NOT_FOUND, 10, "no file, key, tensor or backend of that name")                                         \
    X(DEVICE_CLOSED, 11, "the device of a handle was closed")                                                \
    X(DEVICE_LOST, 12, "the device stopped working")                                                         \
    X(CANCELLED, 13, "the caller cancelled the work")                                                        \
    X(LEAKED, 14, "handles were still owned when their device was closed")                                   \
    X(CONTEXT_FULL, 15, "a language model's context has no room for more tokens")                            \
    X(PENDING, 16, "the work has not completed yet")                                                         \
    X(INTERNAL, 17, "a defect in Mia itself")

typedef enum mia_status {
#define MIA__STATUS_ENUM(name, value, sentence) MIA_ERROR_##name = value,
    MIA_STATUS_LIST(MIA__STATUS_ENUM)
#undef MIA__STATUS_ENUM
        MIA_OK = MIA_ERROR_OK
} mia_status;

/* What went wrong, in one line that names the thing. Owned by the caller; zero-initialise it. */
typedef struct mia_error {
    mia_status status;
    char message[500];
} mia_error;

/* The code's name ("SHAPE_MISMATCH") and the sentence of the table above; static text, never NULL. */
MIA_API const char *mia_status_name(mia_status status);
MIA_API const char *mia_status_sentence(mia_status status);

/* Fills error (when it is not NULL) and returns status, so that `return mia_error_set(error, ...)` reads
 * well. A message that is too long is cut. For the library, models and user operations alike. */
MIA_API mia_status mia_error_set(mia_error *error, mia_status status, const char *format, ...)
    MIA_PRINTF(3, 4);
MIA_API mia_status mia_error_setv(mia_error *error, mia_status status, const char *format, va_list args);

#ifdef __cplusplus
}
#endif
#endif
