/* The version that the library was built as. A program compares it with the header's to notice that it runs
 * with another library than it was compiled for. */
#include <mia/version.h>

const char *mia_version(void) {
    return MIA_VERSION_STRING;
}
