/* Memory that is freed together (chunks.h): small pieces share a chunk, a large piece gets its own. */
#include "weights/chunks.h"

#include "base/size.h"

#define CHUNK_BYTES ((size_t)16 * 1024)

struct mia__chunk {
    mia__chunk *older;
    size_t capacity; /* of data */
    size_t used;
    _Alignas(max_align_t) unsigned char data[];
};

static mia__chunk *new_chunk(const mia_allocator *allocator, size_t capacity) {
    size_t bytes;
    if (!mia__size_add(sizeof(mia__chunk), capacity, &bytes)) return NULL;
    mia__chunk *chunk = mia_allocate(allocator, bytes, _Alignof(mia__chunk));
    if (chunk == NULL) return NULL;
    chunk->older = NULL;
    chunk->capacity = capacity;
    chunk->used = 0;
    return chunk;
}

static void *allocate(mia__chunks *chunks, const mia_allocator *allocator, size_t bytes, size_t alignment) {
    mia__chunk *newest = chunks->newest;
    if (newest != NULL) {
        size_t start = mia__align_up(newest->used, alignment);
        if (start <= newest->capacity && bytes <= newest->capacity - start) {
            newest->used = start + bytes;
            return newest->data + start;
        }
    }
    mia__chunk *chunk = new_chunk(allocator, bytes < CHUNK_BYTES ? CHUNK_BYTES : bytes);
    if (chunk == NULL) return NULL;
    chunk->used = bytes;
    if (newest != NULL && bytes >= CHUNK_BYTES) { /* full already: the one before stays in use */
        chunk->older = newest->older;
        newest->older = chunk;
    } else {
        chunk->older = newest;
        chunks->newest = chunk;
    }
    return chunk->data;
}

void *mia__chunks_allocate(mia__chunks *chunks, const mia_allocator *allocator, size_t bytes) {
    return allocate(chunks, allocator, bytes, _Alignof(max_align_t));
}

void *mia__chunks_allocate_text(mia__chunks *chunks, const mia_allocator *allocator, size_t bytes) {
    return allocate(chunks, allocator, bytes, 1);
}

void mia__chunks_free(mia__chunks *chunks, const mia_allocator *allocator) {
    mia__chunk *chunk = chunks->newest;
    while (chunk != NULL) {
        mia__chunk *older = chunk->older;
        mia_release(allocator, chunk, sizeof *chunk + chunk->capacity);
        chunk = older;
    }
    chunks->newest = NULL;
}
