/* What benchmarks of single kernels share: the cpu backend without a device above it, and their command line. */
#ifndef MIA_BENCH_KERNELS_H
#define MIA_BENCH_KERNELS_H

#include "backend/cpu/cpu.h"

#include <stdio.h>
#include <stdlib.h>

static inline void completed(void *user, mia_status status, const char *message) {
    (void)message;
    *(mia_status *)user = status;
}

/* Ends the program when the status is an error. */
static inline void must(mia_status status, const char *what) {
    if (status == MIA_OK) return;
    fprintf(stderr, "%s failed: %s\n", what, mia_status_sentence(status));
    exit(1);
}

static inline mia__backend *open_cpu(unsigned threads, mia_device_info *info) {
    mia_device_options options = {.threads = threads};
    mia__backend *backend = NULL;
    mia_status status = MIA_ERROR_INTERNAL;
    mia__backend_cpu.open(&options, &backend, (mia__completion){completed, &status});
    must(status, "open");
    backend->type->describe(backend, info);
    return backend;
}

/* Reports with the numbers of threads on the command line; without any with 1 and with 2. */
static inline int report_threads(int argc, char **argv, void (*report)(unsigned threads)) {
    for (int i = 1; i < argc; i++) report((unsigned)strtoul(argv[i], NULL, 10));
    if (argc == 1) {
        report(1);
        report(2);
    }
    return 0;
}

#endif
