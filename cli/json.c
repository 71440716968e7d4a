/* Texts and printing for JSON output (json.h). */
#include "json.h"

#ifdef MIA_HAVE_JSON_C
#include "common.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the UTF-8 character that text begins with, 0 when it begins with none. */
static size_t character_length(const unsigned char *text, size_t length) {
    if (text[0] < 0x80) return 1;
    size_t need = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    if (text[0] < 0xc2 || text[0] > 0xf4 || need > length) return 0;
    for (size_t i = 1; i < need; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    if (text[0] == 0xe0 && text[1] < 0xa0) return 0; /* longer than it needs to be */
    if (text[0] == 0xed && text[1] > 0x9f) return 0; /* half of a UTF-16 pair */
    if (text[0] == 0xf0 && text[1] < 0x90) return 0;
    if (text[0] == 0xf4 && text[1] > 0x8f) return 0; /* beyond Unicode */
    return need;
}

/* Copies text, with U+FFFD for what is not UTF-8, into 3 * length + 1 bytes; returns the length. */
static size_t clean_utf8(const char *text, size_t length, char *out) {
    size_t used = 0;
    for (size_t i = 0; i < length;) {
        size_t whole = character_length((const unsigned char *)text + i, length - i);
        if (whole == 0) {
            memcpy(out + used, "\xef\xbf\xbd", 3);
            used += 3;
            i++;
            continue;
        }
        memcpy(out + used, text + i, whole);
        used += whole;
        i += whole;
    }
    out[used] = '\0';
    return used;
}

json_object *mia__cli_json_text(const char *bytes, size_t length) {
    char *clean = malloc(length * 3 + 1);
    if (clean == NULL) return NULL;
    size_t used = clean_utf8(bytes, length, clean);
    json_object *text = used > INT32_MAX ? NULL : json_object_new_string_len(clean, (int)used);
    free(clean);
    return text;
}

int mia__cli_json_print(const char *command, json_object *object) {
    const char *text =
        json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    if (text != NULL) puts(text);
    json_object_put(object);
    if (text == NULL) return mia__cli_fail(command, "no memory for the JSON object");
    return mia__cli_finish_output(command);
}
#else
typedef int mia__cli_no_json; /* a file may not be empty */
#endif
