/* Threads that share loops. A loop is cut into shares; the caller publishes it in one atomic word, and
 * whoever has time takes the next share:
 *
 *     state   id:32 | shares:16 | next:16
 *
 * The caller takes shares like any worker and then waits for those that others have taken, so a worker that
 * is asleep, or that the system gives no processor, holds nothing up. A worker reads what the loop is only
 * while it holds a share of it, and until that is done the caller cannot go on to the next.
 *
 * Who waits spins for some microseconds, since loops follow each other closely, and then sleeps. Nobody
 * sleeps unseen: a sleeper says so before it looks once more, and the other side changes what is looked at
 * before it looks for sleepers, both in sequentially consistent order. */
#include "backend/cpu/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define LINE   64   /* of the cache: what different threads write lies on different lines */
#define SPINS  6000 /* turns of pause, some 100 us */
#define SHARES 4    /* a loop is cut into that many a thread */

struct mia__pool {
    _Alignas(LINE) _Atomic uint64_t state;
    _Alignas(LINE) atomic_uint done; /* shares of this loop */
    _Alignas(LINE) atomic_uint sleepers;
    atomic_bool caller_sleeps;
    atomic_bool leaving;
    atomic_uint numbered; /* workers that have taken a number */
    unsigned threads;
    unsigned spins;
    mia__pool_function function; /* the loop */
    const void *user;
    size_t units;
    mia_allocator allocator;
    size_t bytes;
    pthread_mutex_t mutex;
    pthread_cond_t begun, finished;
    pthread_t workers[];
};

static unsigned shares_of(uint64_t state) {
    return (unsigned)(state >> 16) & 0xffffu;
}

static unsigned next_of(uint64_t state) {
    return (unsigned)state & 0xffffu;
}

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

/* --- what all threads do ---------------------------------------------------------------------- */

static void run_share(mia__pool *pool, unsigned thread, unsigned share, unsigned shares) {
    size_t whole = pool->units / shares,
           rest = pool->units % shares; /* the first `rest` shares have one more */
    size_t begin = share * whole + (share < rest ? share : rest);
    pool->function(pool->user, thread, begin, begin + whole + (share < rest));
    if (atomic_fetch_add(&pool->done, 1) + 1 < shares || !atomic_load(&pool->caller_sleeps)) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_signal(&pool->finished);
    pthread_mutex_unlock(&pool->mutex);
}

/* Takes shares until none is left; returns the state that says so. */
static uint64_t take_shares(mia__pool *pool, unsigned thread) {
    uint64_t state = atomic_load(&pool->state);
    while (next_of(state) < shares_of(state)) {
        if (!atomic_compare_exchange_weak(&pool->state, &state, state + 1)) continue;
        run_share(pool, thread, next_of(state), shares_of(state));
        state = atomic_load(&pool->state);
    }
    return state;
}

/* --- workers ---------------------------------------------------------------------------------- */

static void wait_for_loop(mia__pool *pool, uint64_t seen) {
    for (unsigned i = 0; i < pool->spins; i++) {
        if (atomic_load_explicit(&pool->state, memory_order_acquire) != seen) return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->state) == seen) pthread_cond_wait(&pool->begun, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *work(void *argument) {
    mia__pool *pool = argument;
    unsigned thread = atomic_fetch_add(&pool->numbered, 1) + 1;
    for (;;) {
        uint64_t seen = take_shares(pool, thread);
        if (atomic_load(&pool->leaving)) return NULL;
        wait_for_loop(pool, seen);
    }
}

/* --- the caller ------------------------------------------------------------------------------- */

static void publish(mia__pool *pool, unsigned shares) {
    uint64_t id = atomic_load_explicit(&pool->state, memory_order_relaxed) >> 32;
    atomic_store(&pool->state, (id + 1) << 32 | (uint64_t)shares << 16);
    if (atomic_load(&pool->sleepers) == 0) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->begun);
    pthread_mutex_unlock(&pool->mutex);
}

static void wait_for_shares(mia__pool *pool, unsigned shares) {
    for (unsigned i = 0; i < pool->spins; i++) {
        if (atomic_load(&pool->done) == shares) return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, true);
    while (atomic_load(&pool->done) < shares) pthread_cond_wait(&pool->finished, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

void mia__pool_for(mia__pool *pool, size_t units, mia__pool_function function, const void *user) {
    if (units == 0) return;
    if (pool->threads == 1 || units == 1) {
        function(user, 0, 0, units);
        return;
    }
    unsigned shares = pool->threads * SHARES;
    if (units < shares) shares = (unsigned)units;
    pool->function = function;
    pool->user = user;
    pool->units = units;
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    publish(pool, shares);
    take_shares(pool, 0);
    wait_for_shares(pool, shares);
}

mia__pool *mia__pool_open(const mia_allocator *allocator, unsigned threads) {
    if (threads == 0) threads = 1;
    if (threads > MIA__POOL_MOST_THREADS) threads = MIA__POOL_MOST_THREADS;
    size_t bytes = sizeof(mia__pool) + (threads - 1) * sizeof(pthread_t);
    mia__pool *pool = mia_allocate(allocator, bytes, LINE);
    if (pool == NULL) return NULL;
    memset(pool, 0, bytes);
    if (allocator != NULL) pool->allocator = *allocator;
    pool->bytes = bytes;
    pool->spins = threads <= mia__pool_processors() ? SPINS : 0;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->begun, NULL);
    pthread_cond_init(&pool->finished, NULL);
    unsigned started = 0;
    while (started + 1 < threads && pthread_create(&pool->workers[started], NULL, work, pool) == 0) started++;
    pool->threads = started + 1; /* workers do not read it */
    return pool;
}

void mia__pool_close(mia__pool *pool) {
    if (pool == NULL) return;
    atomic_store(&pool->leaving, true);
    publish(pool, 0);
    for (unsigned i = 0; i + 1 < pool->threads; i++) pthread_join(pool->workers[i], NULL);
    pthread_cond_destroy(&pool->finished);
    pthread_cond_destroy(&pool->begun);
    pthread_mutex_destroy(&pool->mutex);
    mia_allocator allocator = pool->allocator;
    mia_release(&allocator, pool, pool->bytes);
}

unsigned mia__pool_threads(const mia__pool *pool) {
    return pool->threads;
}
