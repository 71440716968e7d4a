/* mia_text_escape: text from a file, made safe to print. A file's names and keys are whatever its author
 * wrote, also sequences that would drive a terminal. */
#include <mia/weights.h>
#include <stdio.h>
#include <string.h>

/* The length of the well-formed UTF-8 character at `at` that a terminal may be shown, else 0 (Unicode, table
 * 3-7). */
static size_t character_length(const unsigned char *at, size_t available) {
    unsigned char first = at[0];
    size_t length = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0x80) return first >= 0x20 && first != 0x7F ? 1 : 0;
    if (first < 0xC2 || first > 0xF4 || length > available) return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    if (first == 0xC2 && at[1] < 0xA0) return 0; /* C1 controls */
    if (first == 0xE0 && at[1] < 0xA0) return 0; /* overlong */
    if (first == 0xED && at[1] > 0x9F) return 0; /* surrogates */
    if (first == 0xF0 && at[1] < 0x90) return 0; /* overlong */
    if (first == 0xF4 && at[1] > 0x8F) return 0; /* beyond Unicode */
    return length;
}

/* Writes the character at `at`, escaped when needed, into piece; gives the bytes it takes from the text. */
static size_t escape_one(const unsigned char *at, size_t available, char piece[8]) {
    static const char short_escapes[] = "\n\r\t\"\\";
    static const char letters[] = "nrt\"\\";
    const char *known = at[0] != 0 ? strchr(short_escapes, at[0]) : NULL;
    if (known != NULL) {
        (void)snprintf(piece, 8, "\\%c", letters[known - short_escapes]);
        return 1;
    }
    size_t length = character_length(at, available);
    if (length == 0) {
        (void)snprintf(piece, 8, "\\x%02x", at[0]);
        return 1;
    }
    memcpy(piece, at, length);
    piece[length] = '\0';
    return length;
}

size_t mia_text_escape(mia_text text, char *out, size_t size) {
    size_t written = 0, last_fit = 0; /* last_fit: where "..." still fits */
    for (size_t i = 0; i < text.length;) {
        char piece[8];
        i += escape_one((const unsigned char *)text.bytes + i, text.length - i, piece);
        size_t length = strlen(piece);
        if (written + length + 1 > size) {
            memcpy(out + last_fit, "...", 4);
            return last_fit + 3;
        }
        memcpy(out + written, piece, length);
        written += length;
        if (written + 4 <= size) last_fit = written;
    }
    out[written] = '\0';
    return written;
}
