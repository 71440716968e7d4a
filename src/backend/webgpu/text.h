/* Text that grows: shaders are put together of pieces. A failure to grow sticks, and is asked for once at the end. */
#ifndef MIA_BACKEND_WEBGPU_TEXT_H
#define MIA_BACKEND_WEBGPU_TEXT_H

#include <mia/memory.h>

#include <stdbool.h>
#include <stddef.h>

typedef struct mia__text {
    const mia_allocator *allocator;
    char *bytes; /* ends in NUL; NULL while empty */
    size_t length, capacity;
    bool failed;
} mia__text;

/* Appends text as it is. */
void mia__text_put(mia__text *text, const char *more);

/* Appends as printf does. */
__attribute__((format(printf, 2, 3))) void mia__text_add(mia__text *text, const char *format, ...);

/* The text, "" while empty. */
const char *mia__text_get(const mia__text *text);

/* Makes it empty, and keeps the room. */
void mia__text_clear(mia__text *text);
void mia__text_free(mia__text *text);

#endif
