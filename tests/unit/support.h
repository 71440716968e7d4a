/* What unit tests share: seeds, random numbers, an allocator that counts and can be told to fail. */
#ifndef MIA_TESTS_SUPPORT_H
#define MIA_TESTS_SUPPORT_H

#include <mia/memory.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* MIA_TEST_SEED, or one drawn from the clock; printed, so that a failure can be repeated. */
static inline uint64_t test_seed(void) {
    const char *text = getenv("MIA_TEST_SEED");
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed =
        text != NULL ? strtoull(text, NULL, 0) : (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20;
    printf("seed: %llu\n", (unsigned long long)seed);
    (void)fflush(stdout); /* also when a sanitizer ends the run */
    return seed;
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t test_random(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline int64_t test_below(uint64_t *state, int64_t limit) {
    return (int64_t)(test_random(state) % (uint64_t)limit);
}

/* In [-1, 1). */
static inline float test_uniform(uint64_t *state) {
    return (float)(test_random(state) >> 40) * 0x1p-23f - 1.0f;
}

/* Counts what is allocated; the allocation number `fail_at` (from 0; -1: none), and if `forever` all after
 * it, fails. */
typedef struct test_allocator {
    mia_allocator hook;
    pthread_mutex_t lock;
    long allocations, fail_at;
    bool forever;
    size_t live_bytes, peak_bytes;
} test_allocator;

static void *test_allocate(void *user, size_t bytes, size_t alignment) {
    test_allocator *a = user;
    (void)pthread_mutex_lock(&a->lock);
    long number = a->allocations++;
    bool fails = a->fail_at >= 0 && (number == a->fail_at || (a->forever && number > a->fail_at));
    void *pointer = NULL;
    if (!fails &&
        posix_memalign(&pointer, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes) != 0)
        pointer = NULL;
    if (pointer != NULL) {
        a->live_bytes += bytes;
        if (a->live_bytes > a->peak_bytes) a->peak_bytes = a->live_bytes;
    }
    (void)pthread_mutex_unlock(&a->lock);
    return pointer;
}

static void test_release(void *user, void *pointer, size_t bytes) {
    test_allocator *a = user;
    (void)pthread_mutex_lock(&a->lock);
    a->live_bytes -= bytes;
    (void)pthread_mutex_unlock(&a->lock);
    free(pointer);
}

static inline void test_allocator_init(test_allocator *a) {
    *a = (test_allocator){.fail_at = -1};
    (void)pthread_mutex_init(&a->lock, NULL);
    a->hook = (mia_allocator){test_allocate, test_release, a};
}

#endif
