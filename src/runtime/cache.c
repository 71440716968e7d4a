/* Plans by structure: the words of a linearisation (graph/linear.c) are hashed, and compared in full on a
 * hit. Bounded; the least recently used goes first. All under the device's lock. */
#include "runtime/device.h"

#include <string.h>

static uint64_t hash_words(const uint64_t *words, size_t count) {
    uint64_t hash = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ words[i]) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash;
}

void mia__cached_release(mia_device *device, mia__cached *cached) {
    if (cached == NULL || --cached->refs > 0) return;
    if (cached->program != NULL) device->type->discard(device->backend, cached->program);
    mia__plan_free(cached->plan);
    mia_release(&device->allocator, cached->key, cached->key_words * sizeof(uint64_t));
    mia_release(&device->allocator, cached, sizeof *cached);
}

void mia__cache_clear(mia_device *device) {
    while (device->cache != NULL) {
        mia__cached *cached = device->cache;
        device->cache = cached->next;
        mia__cached_release(device, cached);
    }
}

/* A cached plan, moved to the front; NULL when there is none. */
static mia__cached *find(mia_device *device, uint64_t hash) {
    const mia__linear *linear = &device->linear;
    for (mia__cached **link = &device->cache; *link != NULL; link = &(*link)->next) {
        mia__cached *cached = *link;
        if (cached->hash != hash || cached->key_words != linear->key_words ||
            memcmp(cached->key, linear->key, linear->key_words * sizeof(uint64_t)) != 0)
            continue;
        *link = cached->next;
        cached->next = device->cache;
        device->cache = cached;
        return cached;
    }
    return NULL;
}

static void drop_oldest(mia_device *device) {
    uint32_t count = 0;
    for (mia__cached **link = &device->cache; *link != NULL; link = &(*link)->next) {
        if (++count <= MIA__CACHED_PLANS) continue;
        mia__cached *oldest = *link;
        *link = oldest->next;
        mia__cached_release(device, oldest);
        return;
    }
}

static mia_status make(mia_device *device, mia__cached *cached, mia_error *error) {
    const mia__linear *linear = &device->linear;
    cached->key = mia_allocate_zeroed(&device->allocator, linear->key_words, sizeof(uint64_t));
    if (cached->key == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to keep a plan");
    cached->key_words = linear->key_words;
    memcpy(cached->key, linear->key, linear->key_words * sizeof(uint64_t));
    mia__tape tape;
    mia_status status = mia__linear_tape(linear, &tape, error);
    if (status != MIA_OK) return status;
    mia__tape_log(device, &tape);
    status = mia__plan_make(&tape, &device->backend->rules, &device->allocator, &cached->plan, error);
    mia__tape_free(&tape, &device->allocator);
    if (status != MIA_OK) return status;
    return device->type->compile(device->backend, cached->plan, &cached->program, error);
}

mia__cached *mia__cache_get(mia_device *device, mia_error *error) {
    uint64_t hash = hash_words(device->linear.key, device->linear.key_words);
    mia__cached *cached = find(device, hash);
    if (cached != NULL) {
        device->counters.plan_hits++;
        cached->refs++;
        return cached;
    }
    cached = mia_allocate_zeroed(&device->allocator, 1, sizeof *cached);
    if (cached == NULL) {
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a plan");
        return NULL;
    }
    cached->refs = 1;
    cached->hash = hash;
    if (make(device, cached, error) != MIA_OK) {
        mia__cached_release(device, cached);
        return NULL;
    }
    device->counters.plans++;
    mia__plan_log_passes(device, cached->plan);
    mia__plan_log(device, cached->plan);
    cached->next = device->cache;
    device->cache = cached;
    cached->refs++;
    drop_oldest(device);
    return cached;
}
