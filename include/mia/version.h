/* The version of these headers, and of the library that is linked. CMake reads the three numbers
 * from here. */
#ifndef MIA_VERSION_H
#define MIA_VERSION_H

#include <mia/status.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MIA_VERSION_MAJOR 0
#define MIA_VERSION_MINOR 1
#define MIA_VERSION_PATCH 0

/* "0.1.0" */
#define MIA__TEXT_OF(x) #x
#define MIA__TEXT(x)    MIA__TEXT_OF(x)
#define MIA_VERSION_STRING                                                                                   \
    MIA__TEXT(MIA_VERSION_MAJOR) "." MIA__TEXT(MIA_VERSION_MINOR) "." MIA__TEXT(MIA_VERSION_PATCH)

/* One number that grows with the version, for comparisons in #if. */
#define MIA_VERSION_NUMBER (MIA_VERSION_MAJOR * 1000000 + MIA_VERSION_MINOR * 1000 + MIA_VERSION_PATCH)

/* The linked library's version, "0.1.0"; static text. Differs from MIA_VERSION_STRING when a program was
 * compiled with the headers of another version. */
MIA_API const char *mia_version(void);

#ifdef __cplusplus
}
#endif
#endif
