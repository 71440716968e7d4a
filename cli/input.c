/* Reading input (input.h), for tokenize, detokenize and eval; the digits also for bench's random models. */
#include "input.h"

#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FIRST_ROOM (1u << 16)

const char *mia__cli_input_name(const char *path) {
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

void mia__cli_release_input(mia__cli_input *input) {
    mia_release(NULL, input->bytes, input->room);
    *input = (mia__cli_input){NULL, 0, 0};
}

static int read_stream(const char *command, const char *name, FILE *stream, mia__cli_input *in) {
    for (;;) {
        if (in->length == in->room) {
            size_t room = in->room == 0 ? FIRST_ROOM : in->room * 2;
            char *bytes = mia_reallocate_array(NULL, in->bytes, in->room, room, 1);
            if (bytes == NULL)
                return mia__cli_fail(command, "%s: no memory after %zu bytes", name, in->length);
            in->bytes = bytes;
            in->room = room;
        }
        errno = 0;
        size_t got = fread(in->bytes + in->length, 1, in->room - in->length, stream);
        in->length += got;
        if (got == 0) break;
    }
    if (!ferror(stream)) return -1;
    return mia__cli_fail(command, "%s: %s", name, errno != 0 ? strerror(errno) : "reading failed");
}

int mia__cli_read_input(const char *command, const char *path, mia__cli_input *input) {
    *input = (mia__cli_input){NULL, 0, 0};
    const char *name = mia__cli_input_name(path);
    if (strcmp(path, "-") == 0) return read_stream(command, name, stdin, input);
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) return mia__cli_fail(command, "%s: %s", name, strerror(errno));
    int code = read_stream(command, name, stream, input);
    fclose(stream);
    return code;
}

bool mia__cli_parse_digits(const char *text, size_t length, int64_t most, int64_t *value) {
    int64_t number = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        number = number * 10 + (text[i] - '0');
        if (number > most) return false;
    }
    *value = number;
    return length > 0;
}

bool mia__cli_parse_id(const char *text, size_t length, int32_t *id) {
    int64_t value;
    if (!mia__cli_parse_digits(text, length, INT32_MAX, &value)) return false;
    *id = (int32_t)value;
    return true;
}
