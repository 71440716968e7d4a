/* Stop strings in streamed text (stop.h): Knuth, Morris and Pratt's automaton for each of them, side by side.
 *
 * An automaton's state is how much of its stop string the text ends with, so the longest state is what is
 * held back. */
#include "lm/stop.h"

#include <string.h>

typedef struct pattern {
    char *text;
    size_t length;
    uint32_t
        *borders; /* [length + 1]: of the first i bytes, the longest proper prefix that is also a suffix */
    size_t state; /* bytes of it that the text ends with */
} pattern;

struct mia__stop {
    mia_allocator allocator; /* zero: the C library's */
    pattern *patterns;
    size_t count;
    char *buffer; /* [room]: what was given out last, then what is held back */
    size_t room, given, held;
    bool stopped;
};

static void find_borders(pattern *p) {
    uint32_t border = 0;
    for (size_t i = 1; i < p->length; i++) {
        while (border > 0 && p->text[i] != p->text[border]) border = p->borders[border];
        if (p->text[i] == p->text[border]) border++;
        p->borders[i + 1] = border;
    }
}

static void advance(pattern *p, char byte) {
    while (p->state > 0 && (p->state == p->length || p->text[p->state] != byte))
        p->state = p->borders[p->state];
    if (p->text[p->state] == byte) p->state++;
}

static mia_status add_pattern(mia__stop *stop, size_t index, const char *text, mia_error *error) {
    if (text == NULL || text[0] == '\0')
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "stop string %zu is empty", index);
    size_t length = strlen(text);
    if (length >= UINT32_MAX)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "stop string %zu is over 4 GiB long", index);
    pattern *p = &stop->patterns[index];
    p->length = length;
    p->text = mia_allocate(&stop->allocator, length, 1);
    p->borders = mia_allocate_zeroed(&stop->allocator, length + 1, sizeof(uint32_t));
    if (p->text == NULL || p->borders == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for stop string %zu", index);
    memcpy(p->text, text, length);
    find_borders(p);
    return MIA_OK;
}

mia_status mia__stop_open(const char *const *stops, size_t count, const mia_allocator *allocator,
                          mia__stop **out, mia_error *error) {
    *out = NULL;
    if (stops == NULL && count > 0)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "the stop strings are NULL");
    mia__stop *stop = mia_allocate_zeroed(allocator, 1, sizeof *stop);
    if (stop == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for stop strings");
    if (allocator != NULL) stop->allocator = *allocator;
    stop->patterns = mia_allocate_zeroed(allocator, count, sizeof(pattern));
    if (stop->patterns == NULL) {
        mia__stop_close(stop);
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for %zu stop strings", count);
    }
    stop->count = count;
    mia_status status = MIA_OK;
    for (size_t i = 0; status == MIA_OK && i < count; i++) status = add_pattern(stop, i, stops[i], error);
    if (status != MIA_OK) {
        mia__stop_close(stop);
        return status;
    }
    *out = stop;
    return MIA_OK;
}

void mia__stop_close(mia__stop *stop) {
    if (stop == NULL) return;
    mia_allocator allocator = stop->allocator;
    for (size_t i = 0; stop->patterns != NULL && i < stop->count; i++) {
        pattern *p = &stop->patterns[i];
        mia_release(&allocator, p->text, p->length);
        mia_release(&allocator, p->borders, (p->length + 1) * sizeof(uint32_t));
    }
    mia_release(&allocator, stop->patterns, stop->count * sizeof(pattern));
    mia_release(&allocator, stop->buffer, stop->room);
    mia_release(&allocator, stop, sizeof *stop);
}

/* Moves what is held back to the front and makes room for `more` bytes behind it. */
static bool make_room(mia__stop *stop, size_t more) {
    if (more > SIZE_MAX / 4 - stop->held) return false;
    size_t needed = stop->held + more;
    if (needed > stop->room) {
        size_t room = stop->room * 2 > needed ? stop->room * 2 : needed;
        char *buffer = mia_allocate(&stop->allocator, room, 1);
        if (buffer == NULL) return false;
        if (stop->held > 0) memcpy(buffer, stop->buffer + stop->given, stop->held);
        mia_release(&stop->allocator, stop->buffer, stop->room);
        stop->buffer = buffer;
        stop->room = room;
    } else if (stop->held > 0) {
        memmove(stop->buffer, stop->buffer + stop->given, stop->held);
    }
    stop->given = 0;
    return true;
}

/* Adds a byte to every automaton. *held is the longest state; returns the longest stop string now complete,
 * or 0. */
static size_t advance_all(mia__stop *stop, char byte, size_t *held) {
    size_t complete = 0;
    *held = 0;
    for (size_t i = 0; i < stop->count; i++) {
        pattern *p = &stop->patterns[i];
        advance(p, byte);
        if (p->state == p->length && p->length > complete) complete = p->length;
        if (p->state > *held) *held = p->state;
    }
    return complete;
}

mia_status mia__stop_push(mia__stop *stop, mia_text piece, mia_text *shown, bool *stopped, mia_error *error) {
    *shown = (mia_text){"", 0};
    *stopped = stop->stopped;
    if (stop->stopped || piece.length == 0) return MIA_OK;
    if (!make_room(stop, piece.length))
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for %zu bytes of text", piece.length);
    size_t start = stop->held, held = 0;
    memcpy(stop->buffer + start, piece.bytes, piece.length);
    for (size_t i = 0; i < piece.length; i++) {
        size_t complete = advance_all(stop, piece.bytes[i], &held);
        if (complete == 0) continue;
        stop->stopped = *stopped = true;
        stop->held = 0;
        *shown = (mia_text){stop->buffer, start + i + 1 - complete};
        return MIA_OK;
    }
    stop->given = start + piece.length - held;
    stop->held = held;
    *shown = (mia_text){stop->buffer, stop->given};
    return MIA_OK;
}

mia_text mia__stop_finish(mia__stop *stop) {
    mia_text rest = {stop->held > 0 ? stop->buffer + stop->given : "", stop->held};
    stop->held = 0;
    stop->stopped = true;
    return rest;
}
