/* A stack of memory chunks that are freed together: for texts and arrays that live as long as their owner. */
#ifndef MIA_WEIGHTS_CHUNKS_H
#define MIA_WEIGHTS_CHUNKS_H

#include <mia/memory.h>

typedef struct mia__chunk mia__chunk;

/* Zero-initialise. */
typedef struct mia__chunks {
    mia__chunk *newest;
} mia__chunks;

/* `bytes` bytes aligned for any type, not zeroed; NULL when memory is short. */
void *mia__chunks_allocate(mia__chunks *chunks, const mia_allocator *allocator, size_t bytes);

/* The same for text, which needs no alignment. */
void *mia__chunks_allocate_text(mia__chunks *chunks, const mia_allocator *allocator, size_t bytes);

void mia__chunks_free(mia__chunks *chunks, const mia_allocator *allocator);

#endif
