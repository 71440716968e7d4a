/* For tests of weights: GGUF files made by hand in memory, sources over them (mapped, or only readable), and
 * an allocator that counts and can fail. */
#ifndef MIA_TESTS_GGUF_BUILDER_H
#define MIA_TESTS_GGUF_BUILDER_H

#include <mia/weights.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- files ------------------------------------------------------------------------------------ */

typedef struct gguf_builder {
    unsigned char *bytes; /* always exactly `count` long, so that a sanitizer sees a read beyond it */
    size_t count;
} gguf_builder;

static inline void gguf_bytes(gguf_builder *file, const void *bytes, size_t count) {
    if (count == 0) return;
    file->bytes = realloc(file->bytes, file->count + count);
    assert_non_null(file->bytes);
    memcpy(file->bytes + file->count, bytes, count);
    file->count += count;
}

static inline void gguf_number(gguf_builder *file, uint64_t value, size_t bytes) {
    unsigned char raw[8];
    for (size_t i = 0; i < bytes; i++) raw[i] = (unsigned char)(value >> (8 * i));
    gguf_bytes(file, raw, bytes);
}

static inline void gguf_u32(gguf_builder *file, uint32_t value) {
    gguf_number(file, value, 4);
}
static inline void gguf_u64(gguf_builder *file, uint64_t value) {
    gguf_number(file, value, 8);
}

static inline void gguf_f32(gguf_builder *file, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    gguf_u32(file, bits);
}

static inline void gguf_f64(gguf_builder *file, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    gguf_u64(file, bits);
}

static inline void gguf_text(gguf_builder *file, const char *text) {
    gguf_u64(file, strlen(text));
    gguf_bytes(file, text, strlen(text));
}

static inline void gguf_head(gguf_builder *file, uint32_t version, uint64_t tensors, uint64_t entries) {
    gguf_bytes(file, "GGUF", 4);
    gguf_u32(file, version);
    gguf_u64(file, tensors);
    gguf_u64(file, entries);
}

/* A metadata entry up to its value. */
static inline void gguf_key(gguf_builder *file, const char *key, uint32_t type) {
    gguf_text(file, key);
    gguf_u32(file, type);
}

static inline void gguf_array(gguf_builder *file, uint32_t element_type, uint64_t count) {
    gguf_u32(file, element_type);
    gguf_u64(file, count);
}

static inline void gguf_tensor(gguf_builder *file, const char *name, uint32_t ndim, const uint64_t *extents,
                               uint32_t type, uint64_t offset) {
    gguf_text(file, name);
    gguf_u32(file, ndim);
    for (uint32_t i = 0; i < ndim; i++) gguf_u64(file, extents[i]);
    gguf_u32(file, type);
    gguf_u64(file, offset);
}

static inline void gguf_pad(gguf_builder *file, size_t alignment) {
    while (file->count % alignment != 0) gguf_number(file, 0, 1);
}

/* `count` bytes that differ from place to place. */
static inline void gguf_data(gguf_builder *file, size_t count) {
    for (size_t i = 0; i < count; i++) gguf_number(file, (i * 37 + 11) & 0xFF, 1);
}

static inline void gguf_free(gguf_builder *file) {
    free(file->bytes);
    *file = (gguf_builder){NULL, 0};
}

/* A sound file with every kind of thing in it. */
static inline gguf_builder gguf_sample(void) {
    gguf_builder file = {NULL, 0};
    gguf_head(&file, 3, 3, 9);
    gguf_key(&file, "general.architecture", 8), gguf_text(&file, "llama");
    gguf_key(&file, "general.alignment", 4), gguf_u32(&file, 64);
    gguf_key(&file, "a.bool", 7), gguf_number(&file, 1, 1);
    gguf_key(&file, "a.float", 6), gguf_f32(&file, 1.5f);
    gguf_key(&file, "a.wide", 11), gguf_u64(&file, UINT64_MAX - 4);
    gguf_key(&file, "tokens", 9), gguf_array(&file, 8, 3);
    gguf_text(&file, "<s>"), gguf_text(&file, ""), gguf_text(&file, "\xE2\x96\x81the");
    gguf_key(&file, "scores", 9), gguf_array(&file, 6, 3);
    gguf_f32(&file, 0.0f), gguf_f32(&file, -1.0f), gguf_f32(&file, -2.5f);
    gguf_key(&file, "flags", 9), gguf_array(&file, 7, 2), gguf_number(&file, 0x0100, 2);
    gguf_key(&file, "nested", 9), gguf_array(&file, 9, 2);
    gguf_array(&file, 5, 2), gguf_u32(&file, 7), gguf_u32(&file, UINT32_MAX);
    gguf_array(&file, 8, 1), gguf_text(&file, "deep");
    gguf_tensor(&file, "one", 2, (uint64_t[]){32, 2}, 8, 0);
    gguf_tensor(&file, "two", 1, (uint64_t[]){5}, 0, 128);
    gguf_tensor(&file, "three", 0, NULL, 1, 192);
    gguf_pad(&file, 64);
    gguf_data(&file, 194);
    return file;
}

/* --- sources ---------------------------------------------------------------------------------- */

typedef struct read_only_file {
    const unsigned char *bytes;
    size_t count;
    size_t closed;     /* times */
    size_t reads_left; /* then reading fails; SIZE_MAX: never */
} read_only_file;

static inline mia_status read_only_read(void *user, uint64_t offset, void *into, size_t bytes,
                                        mia_error *error) {
    read_only_file *file = user;
    assert_true(offset <= file->count && bytes <= file->count - offset);
    if (file->reads_left == 0) return mia_error_set(error, MIA_ERROR_IO, "test.gguf: the disk is gone");
    file->reads_left--;
    if (bytes > 0) memcpy(into, file->bytes + offset, bytes);
    return MIA_OK;
}

static inline void read_only_close(void *user) {
    ((read_only_file *)user)->closed++;
}

/* A source that only offers `read`. */
static inline mia_source read_only_source(read_only_file *file, const void *bytes, size_t count) {
    *file = (read_only_file){bytes, count, 0, SIZE_MAX};
    return (mia_source){"test.gguf", count, NULL, read_only_read, read_only_close, file};
}

static inline mia_source mapped_source(const void *bytes, size_t count) {
    return mia_source_of_memory("test.gguf", bytes, count);
}

/* --- memory ----------------------------------------------------------------------------------- */

typedef struct counting_allocator {
    size_t live;       /* bytes */
    size_t calls;      /* of allocate */
    size_t calls_left; /* then allocation fails; SIZE_MAX: never */
} counting_allocator;

static inline void *counting_allocate(void *user, size_t bytes, size_t alignment) {
    counting_allocator *counts = user;
    assert_true(alignment <= _Alignof(max_align_t));
    if (counts->calls_left == 0) return NULL;
    if (counts->calls_left != SIZE_MAX) counts->calls_left--;
    void *pointer = malloc(bytes);
    if (pointer == NULL) return NULL;
    counts->calls++;
    counts->live += bytes;
    return pointer;
}

static inline void counting_release(void *user, void *pointer, size_t bytes) {
    counting_allocator *counts = user;
    assert_true(bytes <= counts->live);
    counts->live -= bytes;
    free(pointer);
}

static inline mia_allocator counting_allocator_of(counting_allocator *counts) {
    *counts = (counting_allocator){0, 0, SIZE_MAX};
    return (mia_allocator){counting_allocate, counting_release, counts};
}

#endif
