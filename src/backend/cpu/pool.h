/* A persistent pool of threads that share loops (pool.c). The thread that calls in is one of them. */
#ifndef MIA_BACKEND_CPU_POOL_H
#define MIA_BACKEND_CPU_POOL_H

#include <mia/memory.h>
#include <stdbool.h>

typedef struct mia__pool mia__pool;

/* Does units [begin, end) of a loop. thread: 0 is the one that called in. */
typedef void (*mia__pool_function)(const void *user, unsigned thread, size_t begin, size_t end);

/* Processors that this process may use, at least 1. */
unsigned mia__pool_processors(void);

#define MIA__POOL_MOST_THREADS 1024

/* Starts threads - 1 workers (at least 0); fewer when the system gives no more. NULL when there is no
 * memory. */
mia__pool *mia__pool_open(const mia_allocator *allocator, unsigned threads);
void mia__pool_close(mia__pool *pool); /* NULL is fine */
unsigned mia__pool_threads(const mia__pool *pool);

/* Does every unit of [0, units) once, on all threads, and returns when all are done. What was written before
 * the call is seen by all of them, and what they write is seen after it. One caller at a time. */
void mia__pool_for(mia__pool *pool, size_t units, mia__pool_function function, const void *user);

#endif
