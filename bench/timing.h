/* What benchmarks share: a clock, and the median of samples. */
#ifndef MIA_BENCH_TIMING_H
#define MIA_BENCH_TIMING_H

#include <stdlib.h>
#include <time.h>

/* Seconds since some moment. */
static inline double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the samples. */
static inline double median(double *samples, size_t count) {
    qsort(samples, count, sizeof *samples, by_value);
    return samples[count / 2];
}

#endif
