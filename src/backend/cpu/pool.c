/* Threads that meet at barriers. One barrier does everything: workers wait at it for a run to begin, meet at it between
 * phases, and tell at it that a run is over.
 *
 * Whoever waits spins for some microseconds, since phases follow each other closely, and then sleeps. Nobody sleeps
 * unseen: a sleeper counts itself before it looks at the round once more, the last to arrive moves the round on before it
 * looks at the count, both in sequentially consistent order. */
#include "backend/cpu/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define LINE         64   /* of the cache: what different threads write lies on different lines */
#define SPINS        6000 /* turns of pause, some 100 us */
#define SHARES       4    /* a phase is cut into about that many shares a thread */
#define MOST_THREADS 1024

struct mia__pool {
    _Alignas(LINE) atomic_uint arrived;
    _Alignas(LINE) atomic_uint round; /* counts barriers */
    _Alignas(LINE) atomic_size_t taken; /* units given out since the last barrier */
    _Alignas(LINE) atomic_uint sleepers;
    unsigned threads;
    unsigned spins;
    mia__pool_function function; /* NULL: workers leave */
    void *user;
    mia_allocator allocator;
    size_t bytes;
    pthread_mutex_t mutex;
    pthread_cond_t moved; /* the round has moved on */
    unsigned indices;     /* given to workers, under the mutex */
    pthread_t workers[];
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

unsigned mia__pool_processors(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return (unsigned)CPU_COUNT(&set);
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

static void wait_for_round(mia__pool *pool, unsigned round) {
    for (unsigned i = 0; i < pool->spins; i++) {
        if (atomic_load_explicit(&pool->round, memory_order_acquire) != round) return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->round) == round) pthread_cond_wait(&pool->moved, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

void mia__pool_barrier(mia__pool *pool) {
    if (pool->threads == 1) {
        atomic_store_explicit(&pool->taken, 0, memory_order_relaxed);
        return;
    }
    unsigned round = atomic_load_explicit(&pool->round, memory_order_acquire);
    if (atomic_fetch_add(&pool->arrived, 1) + 1 < pool->threads) {
        wait_for_round(pool, round);
        return;
    }
    atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->taken, 0, memory_order_relaxed);
    atomic_store(&pool->round, round + 1);
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->moved);
        pthread_mutex_unlock(&pool->mutex);
    }
}

bool mia__pool_take(mia__pool *pool, size_t units, size_t *begin, size_t *end) {
    size_t share = units / ((size_t)pool->threads * SHARES);
    if (share == 0) share = 1;
    if (pool->threads == 1) share = units;
    if (atomic_load_explicit(&pool->taken, memory_order_relaxed) >= units) return false;
    *begin = atomic_fetch_add_explicit(&pool->taken, share, memory_order_relaxed);
    if (*begin >= units) return false;
    *end = units - *begin < share ? units : *begin + share;
    return true;
}

static void *work(void *argument) {
    mia__pool *pool = argument;
    pthread_mutex_lock(&pool->mutex); /* held by the opener until the number of threads is known */
    unsigned thread = ++pool->indices;
    pthread_mutex_unlock(&pool->mutex);
    for (;;) {
        mia__pool_barrier(pool);
        if (pool->function == NULL) return NULL;
        pool->function(pool->user, pool, thread);
        mia__pool_barrier(pool);
    }
}

mia__pool *mia__pool_open(const mia_allocator *allocator, unsigned threads) {
    if (threads == 0) threads = 1;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    size_t bytes = sizeof(mia__pool) + (threads - 1) * sizeof(pthread_t);
    mia__pool *pool = mia_allocate(allocator, bytes, LINE);
    if (pool == NULL) return NULL;
    memset(pool, 0, bytes);
    atomic_init(&pool->arrived, 0);
    atomic_init(&pool->round, 0);
    atomic_init(&pool->taken, 0);
    atomic_init(&pool->sleepers, 0);
    if (allocator != NULL) pool->allocator = *allocator;
    pool->bytes = bytes;
    pool->spins = threads <= mia__pool_processors() ? SPINS : 0;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->moved, NULL);

    pthread_mutex_lock(&pool->mutex);
    unsigned started = 0;
    while (started + 1 < threads && pthread_create(&pool->workers[started], NULL, work, pool) == 0) started++;
    pool->threads = started + 1;
    pthread_mutex_unlock(&pool->mutex);
    return pool;
}

void mia__pool_close(mia__pool *pool) {
    if (pool == NULL) return;
    pool->function = NULL;
    mia__pool_barrier(pool);
    for (unsigned i = 0; i + 1 < pool->threads; i++) pthread_join(pool->workers[i], NULL);
    pthread_cond_destroy(&pool->moved);
    pthread_mutex_destroy(&pool->mutex);
    mia_allocator allocator = pool->allocator;
    mia_release(&allocator, pool, pool->bytes);
}

unsigned mia__pool_threads(const mia__pool *pool) {
    return pool->threads;
}

void mia__pool_run(mia__pool *pool, mia__pool_function function, void *user) {
    pool->function = function;
    pool->user = user;
    mia__pool_barrier(pool);
    function(user, pool, 0);
    mia__pool_barrier(pool);
}
