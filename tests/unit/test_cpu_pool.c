/* The cpu backend's pool of threads: every unit done once, and done when the loop returns, whatever the
 * number of threads. */
#include "backend/cpu/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define UNITS 1000

typedef struct count_job {
    unsigned *done;
} count_job;

static void count_units(const void *user, unsigned thread, size_t begin, size_t end) {
    (void)thread;
    const count_job *job = user;
    for (size_t i = begin; i < end; i++) job->done[i]++;
}

static void test_every_unit_once(void **state) {
    (void)state;
    for (unsigned threads = 1; threads <= 7; threads++) {
        mia__pool *pool = mia__pool_open(NULL, threads);
        assert_non_null(pool);
        assert_int_equal(mia__pool_threads(pool), threads);
        for (size_t units = 0; units <= UNITS; units = units < 40 ? units + 1 : units * 3 + 1) {
            unsigned done[UNITS] = {0};
            const count_job job = {done};
            mia__pool_for(pool, units, count_units, &job);
            for (size_t i = 0; i < UNITS; i++) assert_int_equal(done[i], i < units ? 1 : 0);
        }
        mia__pool_close(pool);
    }
}

#define PHASES 50
#define CELLS  64

/* Each loop adds up what the one before wrote, so one that returns early shows (and the thread sanitizer sees
 * it without luck). */
typedef struct chain_job {
    const uint64_t *from;
    uint64_t *to;
} chain_job;

static void run_chain(const void *user, unsigned thread, size_t begin, size_t end) {
    (void)thread;
    const chain_job *job = user;
    for (size_t i = begin; i < end; i++)
        job->to[i] = job->from[i] + job->from[CELLS - 1 - i] * 3 + job->from[(i * 7 + 1) % CELLS];
}

static void test_loops_see_each_other(void **state) {
    (void)state;
    uint64_t expected[CELLS] = {0};
    for (unsigned threads = 1; threads <= 5; threads++) {
        mia__pool *pool = mia__pool_open(NULL, threads);
        assert_non_null(pool);
        for (unsigned round = 0; round < 20; round++) {
            uint64_t cells[2][CELLS];
            for (unsigned i = 0; i < CELLS; i++) cells[0][i] = i * i + 1;
            for (unsigned phase = 0; phase < PHASES; phase++) {
                const chain_job job = {cells[phase % 2], cells[1 - phase % 2]};
                mia__pool_for(pool, CELLS, run_chain, &job);
            }
            if (threads == 1) memcpy(expected, cells[PHASES % 2], sizeof expected);
            assert_memory_equal(cells[PHASES % 2], expected, sizeof expected);
        }
        mia__pool_close(pool);
    }
}

/* Many short loops; now and then a pause that is long enough for the workers to fall asleep. */
static void test_hammering(void **state) {
    (void)state;
    unsigned done[8] = {0};
    const count_job job = {done};
    mia__pool *pool = mia__pool_open(NULL, 4);
    assert_non_null(pool);
    for (unsigned i = 0; i < 3000; i++) {
        if (i % 300 == 0) usleep(2000);
        mia__pool_for(pool, 8, count_units, &job);
    }
    for (unsigned i = 0; i < 8; i++) assert_int_equal(done[i], 3000);
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
        cmocka_unit_test(test_every_unit_once), cmocka_unit_test(test_loops_see_each_other),
        cmocka_unit_test(test_hammering),       cmocka_unit_test(test_open_and_close),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
