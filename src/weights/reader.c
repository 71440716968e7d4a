/* The reader of a source from front to back (reader.h). */
#include "weights/reader.h"

#include <string.h>

#define WINDOW_BYTES ((size_t)16 * 1024)

static mia_status no_memory(const mia__reader *reader, mia_error *error) {
    return mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory to read the header",
                         reader->source->name);
}

mia_status mia__reader_open(mia__reader *reader, const mia_source *source, const mia_allocator *allocator,
                            mia__chunks *chunks, mia_error *error) {
    *reader = (mia__reader){.source = source, .allocator = allocator, .chunks = chunks};
    if (source->mapped != NULL) return MIA_OK;
    reader->window = mia_allocate(allocator, WINDOW_BYTES, 1);
    return reader->window != NULL ? MIA_OK : no_memory(reader, error);
}

void mia__reader_close(mia__reader *reader) {
    mia_release(reader->allocator, reader->window, WINDOW_BYTES);
    reader->window = NULL;
}

uint64_t mia__reader_remaining(const mia__reader *reader) {
    return reader->source->size - reader->offset;
}

static bool window_holds(const mia__reader *reader, size_t bytes) {
    if (reader->offset < reader->window_offset) return false;
    uint64_t skipped = reader->offset - reader->window_offset;
    return skipped <= reader->window_count && bytes <= reader->window_count - skipped;
}

static mia_status fill_window(mia__reader *reader, mia_error *error) {
    uint64_t remaining = mia__reader_remaining(reader);
    size_t count = remaining < WINDOW_BYTES ? (size_t)remaining : WINDOW_BYTES;
    reader->window_count = 0;
    mia_status status =
        reader->source->read(reader->source->user, reader->offset, reader->window, count, error);
    if (status != MIA_OK) return status;
    reader->window_offset = reader->offset;
    reader->window_count = count;
    return MIA_OK;
}

mia_status mia__reader_copy(mia__reader *reader, void *into, size_t bytes, mia_error *error) {
    mia_status status = MIA_OK;
    if (bytes == 0) return status;
    if (reader->source->mapped != NULL) {
        memcpy(into, (const unsigned char *)reader->source->mapped + reader->offset, bytes);
    } else if (bytes > WINDOW_BYTES) {
        status = reader->source->read(reader->source->user, reader->offset, into, bytes, error);
    } else {
        if (!window_holds(reader, bytes)) status = fill_window(reader, error);
        if (status == MIA_OK) memcpy(into, reader->window + (reader->offset - reader->window_offset), bytes);
    }
    if (status == MIA_OK) reader->offset += bytes;
    return status;
}

mia_status mia__reader_take(mia__reader *reader, uint64_t bytes, const void **out, mia_error *error) {
    if (reader->source->mapped != NULL) {
        *out = (const unsigned char *)reader->source->mapped + reader->offset;
        reader->offset += bytes;
        return MIA_OK;
    }
    if (bytes > SIZE_MAX) return no_memory(reader, error);
    void *copy = mia__chunks_allocate_text(reader->chunks, reader->allocator, (size_t)bytes);
    if (copy == NULL) return no_memory(reader, error);
    *out = copy;
    return mia__reader_copy(reader, copy, (size_t)bytes, error);
}
