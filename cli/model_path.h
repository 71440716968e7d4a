/* Where the bundled model lies: beside the installed program, or in the source tree of a program that was not
 * installed. Used by the sub-commands that may be called without a model. */
#ifndef MIA_CLI_MODEL_PATH_H
#define MIA_CLI_MODEL_PATH_H

#include <stdbool.h>
#include <stddef.h>

/* Writes the path of the bundled model, zero-terminated, when a readable file is there. False, with path the
 * empty string, when none is found or its path takes more than `capacity` bytes. */
bool mia__cli_bundled_model(char *path, size_t capacity);

#endif
