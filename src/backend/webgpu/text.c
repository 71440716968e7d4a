/* Growing text (text.h). */
#include "backend/webgpu/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool make_room(mia__text *text, size_t more) {
    if (text->failed) return false;
    if (text->capacity - text->length > more) return true;
    size_t wanted = text->capacity == 0 ? 1024 : text->capacity * 2;
    while (wanted - text->length <= more) wanted *= 2;
    char *grown = mia_reallocate_array(text->allocator, text->bytes, text->capacity, wanted, 1);
    if (grown == NULL) {
        text->failed = true;
        return false;
    }
    text->bytes = grown;
    text->capacity = wanted;
    return true;
}

void mia__text_put(mia__text *text, const char *more) {
    size_t length = strlen(more);
    if (!make_room(text, length)) return;
    memcpy(text->bytes + text->length, more, length + 1);
    text->length += length;
}

void mia__text_add(mia__text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length > 0 && make_room(text, (size_t)length)) {
        (void)vsnprintf(text->bytes + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

const char *mia__text_get(const mia__text *text) {
    return text->bytes != NULL ? text->bytes : "";
}

void mia__text_clear(mia__text *text) {
    text->length = 0;
    text->failed = false;
    if (text->bytes != NULL) text->bytes[0] = 0;
}

void mia__text_free(mia__text *text) {
    mia_release(text->allocator, text->bytes, text->capacity);
    *text = (mia__text){.allocator = text->allocator};
}
