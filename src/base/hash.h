/* A map from byte strings to indices: open addressing, linear probing, grown by doubling.
 *
 * Keys are borrowed, so they must outlive the map. The hash is seeded per map, so that a hostile file cannot
 * choose keys that collide. Nothing is removed; nothing is iterated, hence the seed never shows in what Mia
 * does. */
#ifndef MIA_BASE_HASH_H
#define MIA_BASE_HASH_H

#include <mia/memory.h>
#include <stdbool.h>

typedef struct mia__hash_slot {
    const void *key; /* NULL: free */
    size_t length;
    uint64_t hash;
    size_t value;
} mia__hash_slot;

/* Zero-initialise; then it is an empty map. */
typedef struct mia__hash_map {
    mia__hash_slot *slots;
    size_t capacity; /* 0 or a power of two */
    size_t count;
    uint64_t seed;
} mia__hash_map;

/* A 64-bit hash of bytes. For tables in memory; not for files, and not against forgery. */
uint64_t mia__hash_bytes(const void *bytes, size_t length, uint64_t seed);

typedef enum mia__hash_result { MIA__HASH_ADDED, MIA__HASH_DUPLICATE, MIA__HASH_NO_MEMORY } mia__hash_result;

/* Adds key -> value. A key that is there stays as it is: DUPLICATE. The key's pointer must not be NULL. */
mia__hash_result mia__hash_add(mia__hash_map *map, const mia_allocator *allocator, const void *key,
                               size_t length, size_t value);

/* Looks a key up; false when there is none. */
bool mia__hash_find(const mia__hash_map *map, const void *key, size_t length, size_t *value);

/* Frees the table and leaves an empty map. */
void mia__hash_free(mia__hash_map *map, const mia_allocator *allocator);

#endif
