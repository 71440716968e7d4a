/* The allocation hook's default and its checked helpers (include/mia/memory.h). */
#include "base/size.h"

#include <mia/memory.h>
#include <stdlib.h>
#include <string.h>

void *mia_allocate(const mia_allocator *allocator, size_t bytes, size_t alignment) {
    if (bytes == 0) bytes = 1;
    if (allocator != NULL && allocator->allocate != NULL)
        return allocator->allocate(allocator->user, bytes, alignment);
    if (alignment <= _Alignof(max_align_t)) return malloc(bytes);
    void *pointer = NULL;
    return posix_memalign(&pointer, alignment, bytes) == 0 ? pointer : NULL;
}

void *mia_allocate_zeroed(const mia_allocator *allocator, size_t count, size_t size) {
    size_t bytes;
    if (!mia__size_multiply(count, size, &bytes)) return NULL;
    void *pointer = mia_allocate(allocator, bytes, _Alignof(max_align_t));
    if (pointer != NULL) memset(pointer, 0, bytes);
    return pointer;
}

void *mia_reallocate_array(const mia_allocator *allocator, void *array, size_t old_count, size_t new_count,
                           size_t size) {
    void *grown = mia_allocate_zeroed(allocator, new_count, size);
    if (grown == NULL) return NULL;
    size_t kept = old_count < new_count ? old_count : new_count;
    if (kept > 0) memcpy(grown, array, kept * size);
    mia_release(allocator, array, old_count * size);
    return grown;
}

void mia_release(const mia_allocator *allocator, void *pointer, size_t bytes) {
    if (pointer == NULL) return;
    if (bytes == 0) bytes = 1;
    if (allocator != NULL && allocator->release != NULL)
        allocator->release(allocator->user, pointer, bytes);
    else
        free(pointer);
}
