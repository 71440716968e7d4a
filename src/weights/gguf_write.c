/* The GGUF writer (include/mia/weights.h). Metadata and tensor descriptions are gathered in memory; the first
 * data, or the end, writes them out, and from then on bytes go straight to the file. The layout is drawn in
 * gguf_read.c.
 *
 * What it writes, gguf_read.c reads: the same rules on names, shapes and types are kept here. */
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif

#include "base/size.h"
#include "weights/gguf_parser.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct buffer {
    unsigned char *bytes;
    size_t count, capacity;
} buffer;

typedef struct written_tensor {
    const char *name;
    uint64_t offset; /* in the data section */
    uint64_t bytes;
} written_tensor;

struct mia_gguf_writer {
    mia_allocator allocator;
    char *path;
    int descriptor;
    bool regular;
    bool started; /* the header is in the file */
    mia_error fault;

    mia__chunks chunks; /* the path, keys, names */
    mia__hash_map keys, names;
    buffer metadata, descriptions;
    uint64_t metadata_count;

    written_tensor *tensors;
    size_t tensor_count, tensor_capacity;
    uint64_t declared; /* bytes of the data section, padding included */
    uint64_t written;  /* of them */
    size_t current;    /* the tensor that the next byte belongs to */
};

static const mia_allocator *allocator_of(const mia_gguf_writer *writer) {
    return &writer->allocator;
}

static void no_memory(mia_gguf_writer *writer) {
    (void)mia_error_set(&writer->fault, MIA_ERROR_NO_MEMORY, "%s: no memory for the header", writer->path);
}

/* --- opening ---------------------------------------------------------------------------------- */

static char *copy_text(mia_gguf_writer *writer, const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = mia__chunks_allocate_text(&writer->chunks, allocator_of(writer), bytes);
    if (copy != NULL) memcpy(copy, text, bytes);
    return copy;
}

static void destroy(mia_gguf_writer *writer) {
    mia_allocator allocator = writer->allocator;
    mia__hash_free(&writer->keys, &allocator);
    mia__hash_free(&writer->names, &allocator);
    mia_release(&allocator, writer->metadata.bytes, writer->metadata.capacity);
    mia_release(&allocator, writer->descriptions.bytes, writer->descriptions.capacity);
    mia_release(&allocator, writer->tensors, writer->tensor_capacity * sizeof *writer->tensors);
    mia__chunks_free(&writer->chunks, &allocator);
    mia_release(&allocator, writer, sizeof *writer);
}

mia_status mia_gguf_writer_open(const char *path, const mia_allocator *allocator, mia_gguf_writer **out,
                                mia_error *error) {
    *out = NULL;
    mia_gguf_writer *writer = mia_allocate_zeroed(allocator, 1, sizeof *writer);
    if (writer != NULL && allocator != NULL) writer->allocator = *allocator;
    if (writer != NULL) writer->path = copy_text(writer, path);
    if (writer == NULL || writer->path == NULL) {
        if (writer != NULL) destroy(writer);
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory to write the file", path);
    }
    do writer->descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    while (writer->descriptor < 0 && errno == EINTR);
    if (writer->descriptor < 0) {
        mia_status status =
            mia_error_set(error, MIA_ERROR_IO, "%s: cannot create: %s", path, strerror(errno));
        destroy(writer);
        return status;
    }
    struct stat facts;
    writer->regular = fstat(writer->descriptor, &facts) == 0 && S_ISREG(facts.st_mode);
    *out = writer;
    return MIA_OK;
}

/* --- the header, in memory -------------------------------------------------------------------- */

static void append(mia_gguf_writer *writer, buffer *into, const void *bytes, size_t count) {
    size_t wanted;
    if (writer->fault.status != MIA_OK || count == 0) return;
    if (!mia__size_add(into->count, count, &wanted)) {
        no_memory(writer);
        return;
    }
    if (wanted > into->capacity) {
        size_t capacity = into->capacity < 4096 ? 4096 : into->capacity;
        while (capacity < wanted) capacity = capacity > SIZE_MAX / 2 ? wanted : capacity * 2;
        unsigned char *grown =
            mia_reallocate_array(allocator_of(writer), into->bytes, into->capacity, capacity, 1);
        if (grown == NULL) {
            no_memory(writer);
            return;
        }
        into->bytes = grown;
        into->capacity = capacity;
    }
    memcpy(into->bytes + into->count, bytes, count);
    into->count = wanted;
}

static void append_number(mia_gguf_writer *writer, buffer *into, uint64_t value, size_t bytes) {
    unsigned char raw[8];
    for (size_t i = 0; i < bytes; i++) raw[i] = (unsigned char)(value >> (8 * i));
    append(writer, into, raw, bytes);
}

static void append_text(mia_gguf_writer *writer, buffer *into, mia_text text) {
    append_number(writer, into, text.length, 8);
    append(writer, into, text.bytes, text.length);
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Keeps a copy of the name and adds it to the map: NULL with the fault set when it is there already. */
static const char *add_name(mia_gguf_writer *writer, mia__hash_map *map, const char *what, const char *name,
                            size_t value) {
    if (writer->fault.status != MIA_OK) return NULL;
    if (writer->started) {
        (void)mia_error_set(&writer->fault, MIA_ERROR_INVALID_ARGUMENT,
                            "%s: %s \"%s\": given after the first data", writer->path, what, name);
        return NULL;
    }
    const char *copy = copy_text(writer, name);
    if (copy == NULL) {
        no_memory(writer);
        return NULL;
    }
    switch (mia__hash_add(map, allocator_of(writer), copy, strlen(copy), value)) {
    case MIA__HASH_ADDED: return copy;
    case MIA__HASH_DUPLICATE:
        (void)mia_error_set(&writer->fault, MIA_ERROR_INVALID_ARGUMENT, "%s: %s \"%s\" is given twice",
                            writer->path, what, name);
        return NULL;
    case MIA__HASH_NO_MEMORY: no_memory(writer); return NULL;
    }
    return NULL;
}

static bool begin_entry(mia_gguf_writer *writer, const char *key, mia_value_type type) {
    if (add_name(writer, &writer->keys, "metadata", key, 0) == NULL) return false;
    writer->metadata_count++;
    append_text(writer, &writer->metadata, (mia_text){key, strlen(key)});
    append_number(writer, &writer->metadata, (uint64_t)type, 4);
    return true;
}

static bool begin_array(mia_gguf_writer *writer, const char *key, mia_value_type type, size_t count) {
    if (!begin_entry(writer, key, MIA_VALUE_ARRAY)) return false;
    append_number(writer, &writer->metadata, (uint64_t)type, 4);
    append_number(writer, &writer->metadata, count, 8);
    return true;
}

void mia_gguf_writer_u32(mia_gguf_writer *writer, const char *key, uint32_t value) {
    if (begin_entry(writer, key, MIA_VALUE_U32)) append_number(writer, &writer->metadata, value, 4);
}

void mia_gguf_writer_f32(mia_gguf_writer *writer, const char *key, float value) {
    if (begin_entry(writer, key, MIA_VALUE_F32)) append_number(writer, &writer->metadata, bits_of(value), 4);
}

void mia_gguf_writer_bool(mia_gguf_writer *writer, const char *key, bool value) {
    if (begin_entry(writer, key, MIA_VALUE_BOOL)) append_number(writer, &writer->metadata, value ? 1 : 0, 1);
}

void mia_gguf_writer_text(mia_gguf_writer *writer, const char *key, mia_text value) {
    if (begin_entry(writer, key, MIA_VALUE_STRING)) append_text(writer, &writer->metadata, value);
}

void mia_gguf_writer_texts(mia_gguf_writer *writer, const char *key, const mia_text *values, size_t count) {
    if (!begin_array(writer, key, MIA_VALUE_STRING, count)) return;
    for (size_t i = 0; i < count; i++) append_text(writer, &writer->metadata, values[i]);
}

void mia_gguf_writer_f32s(mia_gguf_writer *writer, const char *key, const float *values, size_t count) {
    if (!begin_array(writer, key, MIA_VALUE_F32, count)) return;
    for (size_t i = 0; i < count; i++) append_number(writer, &writer->metadata, bits_of(values[i]), 4);
}

void mia_gguf_writer_i32s(mia_gguf_writer *writer, const char *key, const int32_t *values, size_t count) {
    if (!begin_array(writer, key, MIA_VALUE_I32, count)) return;
    for (size_t i = 0; i < count; i++) append_number(writer, &writer->metadata, (uint32_t)values[i], 4);
}

/* The tensor's type number and byte count; false with the fault set when GGUF cannot hold it. */
static bool measure(mia_gguf_writer *writer, const char *name, mia_dtype dtype, const mia_shape *shape,
                    uint32_t *number, uint64_t *bytes) {
    const char *fault = NULL;
    int32_t known = mia__ggml_type_number(dtype);
    if (shape->ndim > MIA_MAX_MODES) fault = "too many dimensions";
    for (uint32_t i = 0; fault == NULL && i < shape->ndim; i++)
        if (shape->extent[i] <= 0) fault = "its dimensions are not all positive";
    if (fault == NULL && known < 0) fault = "GGUF has no such type";
    if (fault == NULL) {
        *number = (uint32_t)known;
        mia__ggml_type type = mia__ggml_type_describe(*number);
        if (mia__ggml_type_tensor_bytes(&type, shape, bytes, &fault)) return true;
    }
    (void)mia_error_set(&writer->fault, MIA_ERROR_INVALID_ARGUMENT, "%s: tensor \"%s\": %s", writer->path,
                        name, fault);
    return false;
}

void mia_gguf_writer_tensor(mia_gguf_writer *writer, const char *name, mia_dtype dtype, mia_shape shape) {
    uint32_t number = 0;
    uint64_t bytes = 0, end;
    const char *copy = add_name(writer, &writer->names, "tensor", name, writer->tensor_count);
    if (copy == NULL || !measure(writer, name, dtype, &shape, &number, &bytes)) return;
    if (!mia__u64_add(writer->declared, bytes, &end) || end > (uint64_t)INT64_MAX - MIA__GGUF_ALIGNMENT) {
        (void)mia_error_set(&writer->fault, MIA_ERROR_INVALID_ARGUMENT,
                            "%s: tensor \"%s\": the file grows too large", writer->path, name);
        return;
    }
    if (writer->tensor_count == writer->tensor_capacity) {
        size_t wanted = writer->tensor_capacity == 0 ? 32 : writer->tensor_capacity * 2;
        written_tensor *grown = mia_reallocate_array(allocator_of(writer), writer->tensors,
                                                     writer->tensor_capacity, wanted, sizeof *grown);
        if (grown == NULL) {
            no_memory(writer);
            return;
        }
        writer->tensors = grown;
        writer->tensor_capacity = wanted;
    }
    writer->tensors[writer->tensor_count++] = (written_tensor){copy, writer->declared, bytes};
    append_text(writer, &writer->descriptions, (mia_text){copy, strlen(copy)});
    append_number(writer, &writer->descriptions, shape.ndim, 4);
    for (uint32_t i = 0; i < shape.ndim; i++)
        append_number(writer, &writer->descriptions, (uint64_t)shape.extent[i], 8);
    append_number(writer, &writer->descriptions, number, 4);
    append_number(writer, &writer->descriptions, writer->declared, 8);
    writer->declared = (end + MIA__GGUF_ALIGNMENT - 1) / MIA__GGUF_ALIGNMENT * MIA__GGUF_ALIGNMENT;
}

/* --- the file --------------------------------------------------------------------------------- */

static void write_all(mia_gguf_writer *writer, const void *bytes, size_t count) {
    const unsigned char *at = bytes;
    while (count > 0 && writer->fault.status == MIA_OK) {
        ssize_t done = write(writer->descriptor, at, count < (size_t)1 << 30 ? count : (size_t)1 << 30);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) {
            (void)mia_error_set(&writer->fault, MIA_ERROR_IO, "%s: cannot write: %s", writer->path,
                                strerror(errno));
            return;
        }
        at += done;
        count -= (size_t)done;
    }
}

static void write_padding(mia_gguf_writer *writer, uint64_t position) {
    static const unsigned char zeros[MIA__GGUF_ALIGNMENT];
    write_all(writer, zeros,
              (size_t)((MIA__GGUF_ALIGNMENT - position % MIA__GGUF_ALIGNMENT) % MIA__GGUF_ALIGNMENT));
}

static void write_header(mia_gguf_writer *writer) {
    if (writer->started || writer->fault.status != MIA_OK) return;
    writer->started = true;
    unsigned char raw[24];
    buffer head = {raw, 0, sizeof raw};
    append(writer, &head, "GGUF", 4);
    append_number(writer, &head, 3, 4);
    append_number(writer, &head, writer->tensor_count, 8);
    append_number(writer, &head, writer->metadata_count, 8);
    write_all(writer, head.bytes, head.count);
    write_all(writer, writer->metadata.bytes, writer->metadata.count);
    write_all(writer, writer->descriptions.bytes, writer->descriptions.count);
    write_padding(writer, (uint64_t)head.count + writer->metadata.count + writer->descriptions.count);
}

static void write_data(mia_gguf_writer *writer, const unsigned char *at, size_t count) {
    while (count > 0 && writer->fault.status == MIA_OK) {
        if (writer->current == writer->tensor_count) {
            (void)mia_error_set(&writer->fault, MIA_ERROR_INVALID_ARGUMENT,
                                "%s: more data than the declared tensors hold", writer->path);
            return;
        }
        const written_tensor *tensor = &writer->tensors[writer->current];
        uint64_t missing = tensor->offset + tensor->bytes - writer->written;
        size_t part = count < missing ? count : (size_t)missing;
        write_all(writer, at, part);
        at += part;
        count -= part;
        writer->written += part;
        if (part < missing) continue;
        write_padding(writer, writer->written);
        writer->current++;
        writer->written = writer->current < writer->tensor_count ? writer->tensors[writer->current].offset
                                                                 : writer->declared;
    }
}

static mia_status give_fault(const mia_gguf_writer *writer, mia_error *error) {
    if (writer->fault.status != MIA_OK && error != NULL) *error = writer->fault;
    return writer->fault.status;
}

mia_status mia_gguf_writer_data(mia_gguf_writer *writer, const void *bytes, size_t count, mia_error *error) {
    write_header(writer);
    write_data(writer, bytes, count);
    return give_fault(writer, error);
}

mia_status mia_gguf_writer_close(mia_gguf_writer *writer, mia_error *error) {
    if (writer == NULL) return MIA_OK;
    write_header(writer);
    if (writer->fault.status == MIA_OK && writer->current < writer->tensor_count) {
        const written_tensor *tensor = &writer->tensors[writer->current];
        (void)mia_error_set(&writer->fault, MIA_ERROR_INVALID_ARGUMENT,
                            "%s: tensor \"%s\": %llu of its %llu bytes were given", writer->path,
                            tensor->name, (unsigned long long)(writer->written - tensor->offset),
                            (unsigned long long)tensor->bytes);
    }
    if (close(writer->descriptor) != 0 && errno != EINTR && writer->fault.status == MIA_OK)
        (void)mia_error_set(&writer->fault, MIA_ERROR_IO, "%s: cannot write: %s", writer->path,
                            strerror(errno));
    if (writer->fault.status != MIA_OK && writer->regular) (void)unlink(writer->path);
    mia_status status = give_fault(writer, error);
    destroy(writer);
    return status;
}
