/* The cpu backend's pool of threads: every unit done once, barriers that hold, whatever the number of threads. */
#include "backend/cpu/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UNITS 1000

typedef struct count_job {
    unsigned done[UNITS];
    size_t units;
} count_job;

static void count_units(void *user, mia__pool *pool, unsigned thread) {
    (void)thread;
    count_job *job = user;
    size_t begin, end;
    while (mia__pool_take(pool, job->units, &begin, &end))
        for (size_t i = begin; i < end; i++) job->done[i]++;
}

static void test_every_unit_once(void **state) {
    (void)state;
    for (unsigned threads = 1; threads <= 7; threads++) {
        mia__pool *pool = mia__pool_open(NULL, threads);
        assert_non_null(pool);
        assert_int_equal(mia__pool_threads(pool), threads);
        for (size_t units = 0; units <= UNITS; units = units * 3 + 1) {
            count_job job = {.units = units};
            mia__pool_run(pool, count_units, &job);
            for (size_t i = 0; i < UNITS; i++) assert_int_equal(job.done[i], i < units ? 1 : 0);
        }
        mia__pool_close(pool);
    }
}

#define PHASES 50

/* Each phase adds up what the one before wrote, so a barrier that lets anyone through early shows (and the thread
 * sanitizer sees it without luck). */
typedef struct chain_job {
    uint64_t cells[2][64];
} chain_job;

static void run_chain(void *user, mia__pool *pool, unsigned thread) {
    (void)thread;
    chain_job *job = user;
    for (unsigned phase = 0; phase < PHASES; phase++) {
        const uint64_t *from = job->cells[phase % 2];
        uint64_t *to = job->cells[1 - phase % 2];
        size_t begin, end;
        while (mia__pool_take(pool, 64, &begin, &end))
            for (size_t i = begin; i < end; i++) to[i] = from[i] + from[63 - i] * 3 + from[(i * 7 + 1) % 64];
        mia__pool_barrier(pool);
    }
}

static void test_phases_see_each_other(void **state) {
    (void)state;
    chain_job expected;
    for (unsigned threads = 1; threads <= 5; threads++) {
        mia__pool *pool = mia__pool_open(NULL, threads);
        assert_non_null(pool);
        for (unsigned round = 0; round < 20; round++) {
            chain_job job;
            for (unsigned i = 0; i < 64; i++) job.cells[0][i] = job.cells[1][i] = i * i + 1;
            mia__pool_run(pool, run_chain, &job);
            if (threads == 1) expected = job;
            assert_memory_equal(&job, &expected, sizeof job);
        }
        mia__pool_close(pool);
    }
}

static void do_nothing(void *user, mia__pool *pool, unsigned thread) {
    (void)pool;
    ((unsigned *)user)[thread]++;
}

static void test_hammering(void **state) {
    (void)state;
    unsigned runs[4] = {0};
    mia__pool *pool = mia__pool_open(NULL, 4);
    assert_non_null(pool);
    for (unsigned i = 0; i < 3000; i++) mia__pool_run(pool, do_nothing, runs);
    for (unsigned thread = 0; thread < 4; thread++) assert_int_equal(runs[thread], 3000);
    mia__pool_close(pool);
}

static void test_open_and_close(void **state) {
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        mia__pool *pool = mia__pool_open(NULL, i % 5);
        assert_non_null(pool);
        assert_int_equal(mia__pool_threads(pool), i % 5 == 0 ? 1 : i % 5);
        mia__pool_close(pool);
    }
    mia__pool_close(NULL);
    assert_true(mia__pool_processors() >= 1);
}

static void *no_memory(void *user, size_t bytes, size_t alignment) {
    (void)user, (void)bytes, (void)alignment;
    return NULL;
}

static void test_no_memory(void **state) {
    (void)state;
    const mia_allocator allocator = {.allocate = no_memory};
    assert_null(mia__pool_open(&allocator, 2));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_unit_once), cmocka_unit_test(test_phases_see_each_other),
        cmocka_unit_test(test_hammering),       cmocka_unit_test(test_open_and_close),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
