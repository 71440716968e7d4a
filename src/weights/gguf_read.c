/* The GGUF reader, first half: header and metadata. The second is gguf_tensors.c.
 *
 *   "GGUF"  u32 version  u64 tensors  u64 entries | entries | tensor descriptions | padding | tensor data
 *   entry:  text key  u32 type  value             text:  u64 length  bytes
 *   array:  u32 element type  u64 count  elements
 *
 * No number of the file is believed: each is held against the bytes that are left before anything is
 * allocated or read, so that what a hostile file can make Mia allocate is a small multiple of its size. */
#include "base/size.h"
#include "weights/gguf_parser.h"

#include <stdio.h>
#include <string.h>

#define DEEPEST_ARRAY 4

/* --- messages and fields ---------------------------------------------------------------------- */

mia_status mia__gguf_fail(const mia__gguf_parser *parser, const char *format, ...) {
    char place[160] = "", name[96], element[40] = "", what[240];
    if (parser->section != NULL && parser->has_name) {
        (void)mia_text_escape(parser->name, name, sizeof name);
        (void)snprintf(place, sizeof place, " %s \"%s\":", parser->section, name);
    } else if (parser->section != NULL) {
        (void)snprintf(place, sizeof place, " %s %zu:", parser->section, parser->entry);
    }
    if (parser->has_element)
        (void)snprintf(element, sizeof element, " element %llu:", (unsigned long long)parser->element);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return mia_error_set(parser->error, MIA_ERROR_FORMAT, "%s:%s%s %s", parser->weights->source.name, place,
                         element, what);
}

mia_status mia__gguf_no_memory(const mia__gguf_parser *parser) {
    return mia_error_set(parser->error, MIA_ERROR_NO_MEMORY, "%s: no memory for what the header describes",
                         parser->weights->source.name);
}

static unsigned long long file_size(const mia__gguf_parser *parser) {
    return (unsigned long long)parser->weights->source.size;
}

/* The next `bytes` (at most 8) bytes as a little-endian number. */
static mia_status get_number(mia__gguf_parser *parser, const char *field, size_t bytes, uint64_t *out) {
    unsigned char raw[8];
    if (bytes > mia__reader_remaining(&parser->reader))
        return mia__gguf_fail(parser, "%s runs past the end of the file (%llu bytes)", field,
                              file_size(parser));
    mia_status status = mia__reader_copy(&parser->reader, raw, bytes, parser->error);
    if (status != MIA_OK) return status;
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;) value = value << 8 | raw[i];
    *out = value;
    return MIA_OK;
}

mia_status mia__gguf_u32(mia__gguf_parser *parser, const char *field, uint32_t *out) {
    uint64_t value = 0;
    mia_status status = get_number(parser, field, 4, &value);
    *out = (uint32_t)value;
    return status;
}

mia_status mia__gguf_u64(mia__gguf_parser *parser, const char *field, uint64_t *out) {
    *out = 0;
    return get_number(parser, field, 8, out);
}

static mia_status get_length(mia__gguf_parser *parser, const char *field, uint64_t *length) {
    mia_status status = mia__gguf_u64(parser, field, length);
    if (status != MIA_OK) return status;
    if (*length > mia__reader_remaining(&parser->reader) || *length > SIZE_MAX)
        return mia__gguf_fail(parser, "%s %llu runs past the end of the file (%llu bytes)", field,
                              (unsigned long long)*length, file_size(parser));
    return MIA_OK;
}

mia_status mia__gguf_text(mia__gguf_parser *parser, const char *field, mia_text *out) {
    uint64_t length;
    const void *bytes = NULL;
    mia_status status = get_length(parser, field, &length);
    if (status == MIA_OK) status = mia__reader_take(&parser->reader, length, &bytes, parser->error);
    if (status == MIA_OK) *out = (mia_text){bytes, (size_t)length};
    return status;
}

mia_status mia__gguf_reserve(const mia__gguf_parser *parser, void **array, size_t count, size_t *capacity,
                             size_t size) {
    if (count < *capacity) return MIA_OK;
    size_t wanted = *capacity == 0 ? 32 : *capacity * 2;
    void *grown = mia_reallocate_array(&parser->weights->allocator, *array, *capacity, wanted, size);
    if (grown == NULL) return mia__gguf_no_memory(parser);
    *array = grown;
    *capacity = wanted;
    return MIA_OK;
}

/* --- values ----------------------------------------------------------------------------------- */

static mia_status check_type(const mia__gguf_parser *parser, const char *field, uint32_t type) {
    if (type <= (uint32_t)MIA_VALUE_F64) return MIA_OK;
    return mia__gguf_fail(parser, "%s %lu is not known", field, (unsigned long)type);
}

static mia_status check_bool(const mia__gguf_parser *parser, uint64_t value) {
    if (value <= 1) return MIA_OK;
    return mia__gguf_fail(parser, "bool %llu is neither 0 nor 1", (unsigned long long)value);
}

/* An array's element type and count, the count held against the bytes that are left. */
static mia_status get_array_head(mia__gguf_parser *parser, int depth, mia_value *array) {
    uint32_t type = 0;
    if (depth > DEEPEST_ARRAY)
        return mia__gguf_fail(parser, "arrays are nested deeper than %d, which is not supported",
                              DEEPEST_ARRAY);
    mia_status status = mia__gguf_u32(parser, "array's element type", &type);
    if (status == MIA_OK) status = check_type(parser, "array's element type", type);
    if (status != MIA_OK) return status;
    *array = (mia_value){.type = MIA_VALUE_ARRAY, .element_type = (mia_value_type)type};
    status = mia__gguf_u64(parser, "array's count", &array->count);
    if (status != MIA_OK) return status;
    uint64_t least = mia__value_type_bytes(array->element_type);
    if (array->element_type == MIA_VALUE_STRING) least = 8;
    if (array->element_type == MIA_VALUE_ARRAY) least = 12;
    if (array->count > mia__reader_remaining(&parser->reader) / least)
        return mia__gguf_fail(parser, "array of %llu %s runs past the end of the file (%llu bytes)",
                              (unsigned long long)array->count, mia__value_type_name(array->element_type),
                              file_size(parser));
    return MIA_OK;
}

static mia_status scan_bools(mia__gguf_parser *parser, uint64_t count) {
    mia_status status = MIA_OK;
    for (uint64_t i = 0; i < count && status == MIA_OK; i++) {
        uint64_t value = 0;
        parser->element = i;
        status = get_number(parser, "element", 1, &value);
        if (status == MIA_OK) status = check_bool(parser, value);
    }
    return status;
}

/* Walks over an array without allocating, so that load_array allocates only for elements that are really
 * there. Its recursion is bounded by DEEPEST_ARRAY. */
static mia_status scan_array(mia__gguf_parser *parser, int depth) {
    mia_value array;
    mia_status status = get_array_head(parser, depth, &array);
    if (status != MIA_OK) return status;
    bool outermost = depth == 1; /* elements are counted there */
    parser->has_element = true;
    if (array.element_type == MIA_VALUE_BOOL) {
        status = scan_bools(parser, array.count);
    } else if (array.element_type != MIA_VALUE_STRING && array.element_type != MIA_VALUE_ARRAY) {
        parser->reader.offset += array.count * mia__value_type_bytes(array.element_type);
    } else {
        for (uint64_t i = 0; i < array.count && status == MIA_OK; i++) {
            uint64_t length = 0;
            if (outermost) parser->element = i;
            if (array.element_type == MIA_VALUE_ARRAY) {
                status = scan_array(parser, depth + 1);
            } else {
                status = get_length(parser, "length", &length);
                if (status == MIA_OK) parser->reader.offset += length;
            }
        }
    }
    if (status == MIA_OK && outermost) parser->has_element = false;
    return status;
}

/* Reads an array that scan_array has found to be sound. */
static mia_status load_array(mia__gguf_parser *parser, int depth, mia_value *out) {
    mia_status status = get_array_head(parser, depth, out);
    if (status != MIA_OK) return status;
    bool texts = out->element_type == MIA_VALUE_STRING;
    if (!texts && out->element_type != MIA_VALUE_ARRAY)
        return mia__reader_take(&parser->reader, out->count * mia__value_type_bytes(out->element_type),
                                &out->array, parser->error);

    size_t bytes, size = texts ? sizeof(mia_text) : sizeof(mia_value);
    if (out->count > SIZE_MAX || !mia__size_multiply((size_t)out->count, size, &bytes))
        return mia__gguf_no_memory(parser);
    void *elements = mia__chunks_allocate(&parser->weights->chunks, &parser->weights->allocator, bytes);
    if (elements == NULL) return mia__gguf_no_memory(parser);
    out->array = elements;
    for (uint64_t i = 0; i < out->count && status == MIA_OK; i++)
        status = texts ? mia__gguf_text(parser, "length", (mia_text *)elements + i)
                       : load_array(parser, depth + 1, (mia_value *)elements + i);
    return status;
}

static mia_status get_value(mia__gguf_parser *parser, mia_value *out) {
    uint32_t type = 0;
    mia_status status = mia__gguf_u32(parser, "value type", &type);
    if (status == MIA_OK) status = check_type(parser, "value type", type);
    if (status != MIA_OK) return status;
    *out = (mia_value){.type = (mia_value_type)type, .count = 1};
    if (out->type == MIA_VALUE_STRING) return mia__gguf_text(parser, "length", &out->as.text);
    if (out->type == MIA_VALUE_ARRAY) {
        uint64_t start = parser->reader.offset;
        status = scan_array(parser, 1);
        if (status != MIA_OK) return status;
        parser->reader.offset = start;
        return load_array(parser, 1, out);
    }
    unsigned char raw[8];
    size_t bytes = mia__value_type_bytes(out->type);
    if (bytes > mia__reader_remaining(&parser->reader))
        return mia__gguf_fail(parser, "value runs past the end of the file (%llu bytes)", file_size(parser));
    status = mia__reader_copy(&parser->reader, raw, bytes, parser->error);
    if (status != MIA_OK) return status;
    *out = mia__value_decode(out->type, raw);
    return out->type == MIA_VALUE_BOOL ? check_bool(parser, out->as.u) : MIA_OK;
}

/* --- the file --------------------------------------------------------------------------------- */

static mia_status get_metadata(mia__gguf_parser *parser, uint64_t count) {
    mia_weights *weights = parser->weights;
    parser->section = "metadata";
    for (uint64_t i = 0; i < count; i++) {
        void *array = weights->metadata;
        mia_status status = mia__gguf_reserve(parser, &array, weights->metadata_count,
                                              &weights->metadata_capacity, sizeof *weights->metadata);
        weights->metadata = array;
        if (status != MIA_OK) return status;

        mia__metadata *entry = &weights->metadata[weights->metadata_count];
        parser->entry = weights->metadata_count;
        parser->has_name = false;
        status = mia__gguf_text(parser, "key length", &entry->key);
        if (status != MIA_OK) return status;
        parser->has_name = true;
        parser->name = entry->key;
        status = get_value(parser, &entry->value);
        if (status != MIA_OK) return status;
        switch (mia__hash_add(&weights->keys, &weights->allocator, entry->key.bytes, entry->key.length,
                              weights->metadata_count)) {
        case MIA__HASH_ADDED: break;
        case MIA__HASH_DUPLICATE: return mia__gguf_fail(parser, "the key is used twice");
        case MIA__HASH_NO_MEMORY: return mia__gguf_no_memory(parser);
        }
        weights->metadata_count++;
    }
    return MIA_OK;
}

static mia_status get_alignment(mia__gguf_parser *parser, uint64_t *alignment) {
    static const char key[] = "general.alignment";
    mia_value value;
    *alignment = MIA__GGUF_ALIGNMENT;
    if (!mia_weights_find(parser->weights, key, &value)) return MIA_OK;
    parser->has_name = true;
    parser->name = (mia_text){key, sizeof key - 1};
    if (value.type != MIA_VALUE_U32)
        return mia__gguf_fail(parser, "its type is %s, not u32", mia__value_type_name(value.type));
    if (value.as.u == 0 || (value.as.u & (value.as.u - 1)) != 0)
        return mia__gguf_fail(parser, "%llu is not a power of two", (unsigned long long)value.as.u);
    *alignment = value.as.u;
    return MIA_OK;
}

static mia_status check_start(mia__gguf_parser *parser) {
    unsigned char magic[4] = {0};
    uint64_t size = parser->weights->source.size;
    size_t present = size < sizeof magic ? (size_t)size : sizeof magic;
    mia_status status = mia__reader_copy(&parser->reader, magic, present, parser->error);
    if (status != MIA_OK) return status;
    if (memcmp(magic, "FUGG", 4) == 0)
        return mia__gguf_fail(parser, "a big-endian GGUF file, which is not supported");
    if (memcmp(magic, "GGUF", 4) != 0)
        return mia__gguf_fail(parser, "not a GGUF file (it does not begin with \"GGUF\")");
    uint32_t version = 0;
    status = mia__gguf_u32(parser, "version", &version);
    if (status != MIA_OK) return status;
    if (version != 0 && (version & 0xFFFFu) == 0) /* the byte order shows in the version, not in the magic */
        return mia__gguf_fail(parser, "a big-endian GGUF file, which is not supported");
    if (version != 2 && version != 3)
        return mia__gguf_fail(parser, "GGUF version %lu is not supported (2 and 3 are)",
                              (unsigned long)version);
    return MIA_OK;
}

static mia_status check_count(const mia__gguf_parser *parser, const char *what, uint64_t count,
                              uint64_t least_bytes) {
    if (count <= mia__reader_remaining(&parser->reader) / least_bytes) return MIA_OK;
    return mia__gguf_fail(parser, "%s %llu cannot fit in the file (%llu bytes)", what,
                          (unsigned long long)count, file_size(parser));
}

static mia_status parse(mia__gguf_parser *parser) {
    uint64_t tensors = 0, entries = 0, alignment = 0;
    mia_status status = check_start(parser);
    if (status == MIA_OK) status = mia__gguf_u64(parser, "tensor count", &tensors);
    if (status == MIA_OK) status = mia__gguf_u64(parser, "metadata count", &entries);
    if (status == MIA_OK) status = check_count(parser, "tensor count", tensors, MIA__GGUF_TENSOR_BYTES);
    if (status == MIA_OK) status = check_count(parser, "metadata count", entries, MIA__GGUF_METADATA_BYTES);
    if (status == MIA_OK) status = get_metadata(parser, entries);
    if (status == MIA_OK) status = get_alignment(parser, &alignment);
    if (status == MIA_OK) status = mia__gguf_tensors(parser, tensors, alignment);
    return status;
}

mia_status mia__gguf_parse(mia_weights *weights, mia_error *error) {
    mia__gguf_parser parser = {.weights = weights, .error = error};
    mia_status status =
        mia__reader_open(&parser.reader, &weights->source, &weights->allocator, &weights->chunks, error);
    if (status == MIA_OK) status = parse(&parser);
    mia__reader_close(&parser.reader);
    return status;
}
