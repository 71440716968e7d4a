/* The main of a fuzz target that is compiled with MIA_FUZZ_REPLAY defined: replays the files that are named on
 * the command line. With -fsanitize=fuzzer the fuzzer brings its own. */
#ifndef MIA_FUZZ_REPLAY_H
#define MIA_FUZZ_REPLAY_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

#ifdef MIA_FUZZ_REPLAY

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int replay(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        (void)fprintf(stderr, "%s: cannot open\n", path);
        return 1;
    }
    uint8_t *bytes = NULL;
    size_t count = 0, capacity = 0;
    for (;;) {
        if (count == capacity) {
            capacity = capacity == 0 ? 4096 : capacity * 2;
            uint8_t *grown = realloc(bytes, capacity);
            if (grown == NULL) break;
            bytes = grown;
        }
        size_t got = fread(bytes + count, 1, capacity - count, file);
        if (got == 0) break;
        count += got;
    }
    (void)fclose(file);
    uint8_t *exact =
        malloc(count > 0 ? count : 1); /* of that size, so that a sanitizer sees a read beyond it */
    if (exact != NULL && count > 0) memcpy(exact, bytes, count);
    free(bytes);
    if (exact == NULL) return 1;
    (void)LLVMFuzzerTestOneInput(exact, count);
    free(exact);
    return 0;
}

int main(int argc, char **argv) {
    int failed = 0;
    for (int i = 1; i < argc; i++) failed |= replay(argv[i]);
    (void)printf("%d files replayed\n", argc - 1);
    return failed;
}

#endif
#endif
