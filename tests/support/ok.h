/* For tests whose calls report into a variable `error`: fails with its message unless the call succeeds. */
#ifndef MIA_TEST_SUPPORT_OK_H
#define MIA_TEST_SUPPORT_OK_H

#define OK(call)                                                                                             \
    do {                                                                                                     \
        error = (mia_error){0};                                                                              \
        if ((call) != MIA_OK) fail_msg("%s:%d: %s", __FILE__, __LINE__, error.message);                      \
    } while (0)

#endif
