/* The map from byte strings to indices (hash.h). */
#include "base/hash.h"

#include <string.h>

#define FIRST_CAPACITY 16u

/* The finaliser of MurmurHash3 (A. Appleby, public domain): every bit of the input reaches every bit out. */
static uint64_t mix(uint64_t h) {
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    h ^= h >> 33;
    return h;
}

uint64_t mia__hash_bytes(const void *bytes, size_t length, uint64_t seed) {
    const unsigned char *at = bytes;
    uint64_t h = mix(seed ^ (uint64_t)length);
    while (length > 0) {
        uint64_t word = 0;
        size_t part = length < sizeof word ? length : sizeof word;
        memcpy(&word, at, part);
        h = mix(h ^ word) + seed;
        at += part;
        length -= part;
    }
    return h;
}

/* The slot of the key, or the free slot where it would go. There is always a free one. */
static mia__hash_slot *find_slot(const mia__hash_map *map, const void *key, size_t length, uint64_t hash) {
    size_t mask = map->capacity - 1;
    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        mia__hash_slot *slot = &map->slots[i];
        if (slot->key == NULL) return slot;
        if (slot->hash == hash && slot->length == length && memcmp(slot->key, key, length) == 0) return slot;
    }
}

static bool grow(mia__hash_map *map, const mia_allocator *allocator) {
    size_t capacity = map->capacity == 0 ? FIRST_CAPACITY : map->capacity * 2;
    mia__hash_slot *slots = mia_allocate_zeroed(allocator, capacity, sizeof *slots);
    if (slots == NULL) return false;
    if (map->seed == 0) map->seed = mix((uint64_t)(uintptr_t)slots ^ (uint64_t)(uintptr_t)map) | 1;
    mia__hash_map grown = {slots, capacity, map->count, map->seed};
    for (size_t i = 0; i < map->capacity; i++) {
        const mia__hash_slot *old = &map->slots[i];
        if (old->key != NULL) *find_slot(&grown, old->key, old->length, old->hash) = *old;
    }
    mia_release(allocator, map->slots, map->capacity * sizeof *map->slots);
    *map = grown;
    return true;
}

mia__hash_result mia__hash_add(mia__hash_map *map, const mia_allocator *allocator, const void *key,
                               size_t length, size_t value) {
    if (map->count >= map->capacity / 4 * 3 && !grow(map, allocator)) return MIA__HASH_NO_MEMORY;
    uint64_t hash = mia__hash_bytes(key, length, map->seed);
    mia__hash_slot *slot = find_slot(map, key, length, hash);
    if (slot->key != NULL) return MIA__HASH_DUPLICATE;
    *slot = (mia__hash_slot){key, length, hash, value};
    map->count++;
    return MIA__HASH_ADDED;
}

bool mia__hash_find(const mia__hash_map *map, const void *key, size_t length, size_t *value) {
    if (map->capacity == 0) return false;
    const mia__hash_slot *slot = find_slot(map, key, length, mia__hash_bytes(key, length, map->seed));
    if (slot->key == NULL) return false;
    *value = slot->value;
    return true;
}

void mia__hash_free(mia__hash_map *map, const mia_allocator *allocator) {
    mia_release(allocator, map->slots, map->capacity * sizeof *map->slots);
    *map = (mia__hash_map){NULL, 0, 0, 0};
}
