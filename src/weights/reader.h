/* Reads a source from front to back, the same way whether it is mapped or can only be read: through a window
 * of bytes in the second case. Callers check mia__reader_remaining first, since they know what to call what
 * is missing. */
#ifndef MIA_WEIGHTS_READER_H
#define MIA_WEIGHTS_READER_H

#include "weights/chunks.h"

#include <mia/weights.h>

typedef struct mia__reader {
    const mia_source *source;
    const mia_allocator *allocator;
    mia__chunks *chunks; /* where taken bytes are copied to */
    uint64_t offset;     /* of the next byte */
    unsigned char *window;
    uint64_t window_offset;
    size_t window_count;
} mia__reader;

/* Fails with NO_MEMORY. */
MIA_MUST_CHECK mia_status mia__reader_open(mia__reader *reader, const mia_source *source,
                                           const mia_allocator *allocator, mia__chunks *chunks,
                                           mia_error *error);
void mia__reader_close(mia__reader *reader);

uint64_t mia__reader_remaining(const mia__reader *reader);

/* Copies the next bytes and moves on. bytes <= remaining. Fails with IO. */
MIA_MUST_CHECK mia_status mia__reader_copy(mia__reader *reader, void *into, size_t bytes, mia_error *error);

/* Gives the next bytes at an address (of no alignment) that lives as long as source and chunks, and moves on.
 * bytes <= remaining. Fails with IO, NO_MEMORY. */
MIA_MUST_CHECK mia_status mia__reader_take(mia__reader *reader, uint64_t bytes, const void **out,
                                           mia_error *error);

#endif
