/* The smallest program that uses an installed Mia: prints the version of the library that it runs with. */
#include <mia/mia.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    if (strcmp(mia_version(), MIA_VERSION_STRING) != 0) return 1; /* headers and library are of one version */
    return puts(mia_version()) < 0;
}
