/* Input of the sub-commands: files and standard input read whole, and numbers written in digits alone, where
 * strtol would let blanks and signs pass. */
#ifndef MIA_CLI_INPUT_H
#define MIA_CLI_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mia__cli_input {
    char *bytes; /* [room] */
    size_t length, room;
} mia__cli_input;

/* The name that messages give it: "standard input" for "-". */
const char *mia__cli_input_name(const char *path);

/* Reads the file, or standard input for "-", to its end. Returns -1, or the exit code, the line printed; what
 * was read is the caller's to release either way. */
int mia__cli_read_input(const char *command, const char *path, mia__cli_input *input);
void mia__cli_release_input(mia__cli_input *input);

/* The number written in [text, text + length): one digit or more, and no more than `most`, which is less than
 * 2^59. */
bool mia__cli_parse_digits(const char *text, size_t length, int64_t most, int64_t *value);

/* A token id: digits that give no more than INT32_MAX. */
bool mia__cli_parse_id(const char *text, size_t length, int32_t *id);

#endif
