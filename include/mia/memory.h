/* The allocation hook. Everything that Mia allocates goes through one of these, so that a program can bring
 * its own allocator and a test can make any allocation fail. */
#ifndef MIA_MEMORY_H
#define MIA_MEMORY_H

#include <mia/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Called from any thread that uses the object the allocator was given to. `allocate` returns memory aligned
 * to `alignment` (a power of two), or NULL. `release` gets the same pointer and byte count back. */
typedef struct mia_allocator {
    void *(*allocate)(void *user, size_t bytes, size_t alignment);
    void (*release)(void *user, void *pointer, size_t bytes);
    void *user;
} mia_allocator;

/* Wherever a const mia_allocator * is asked for, NULL means the C library's. Never returns NULL on success,
 * not even for 0 bytes. */
MIA_API void *mia_allocate(const mia_allocator *allocator, size_t bytes, size_t alignment);

/* count * size bytes, all zero, aligned for any type; NULL when the product overflows or memory is short. */
MIA_API void *mia_allocate_zeroed(const mia_allocator *allocator, size_t count, size_t size);

/* Grows (or shrinks) an array from old_count to new_count elements of `size` bytes; new elements are zero. On
 * failure returns NULL and leaves the old array as it was. */
MIA_API void *mia_reallocate_array(const mia_allocator *allocator, void *array, size_t old_count,
                                   size_t new_count, size_t size);

/* `bytes` is what was asked for. A NULL pointer is fine. */
MIA_API void mia_release(const mia_allocator *allocator, void *pointer, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
