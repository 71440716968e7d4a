/* A persistent pool of threads that meet at barriers (pool.c). The thread that calls in is one of them. */
#ifndef MIA_BACKEND_CPU_POOL_H
#define MIA_BACKEND_CPU_POOL_H

#include <mia/memory.h>
#include <stdbool.h>

typedef struct mia__pool mia__pool;

/* What every thread of the pool runs; `thread` counts from 0, the calling thread. */
typedef void (*mia__pool_function)(void *user, mia__pool *pool, unsigned thread);

/* Processors that this process may use, at least 1. */
unsigned mia__pool_processors(void);

/* Starts threads - 1 workers (at least 0); fewer when the system gives no more. NULL when there is no memory. */
mia__pool *mia__pool_open(const mia_allocator *allocator, unsigned threads);
void mia__pool_close(mia__pool *pool); /* NULL is fine */
unsigned mia__pool_threads(const mia__pool *pool);

/* Runs function on every thread and returns when all have done. One caller at a time. */
void mia__pool_run(mia__pool *pool, mia__pool_function function, void *user);

/* --- within a run, by all threads alike */

/* Waits until every thread is here. What was written before is seen by all after. */
void mia__pool_barrier(mia__pool *pool);

/* Takes a share of `units` that no thread has taken since the last barrier: [*begin, *end). False when none is left. */
bool mia__pool_take(mia__pool *pool, size_t units, size_t *begin, size_t *end);

#endif
