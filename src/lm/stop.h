/* Finds stop strings in a text that comes in pieces, and says what of it can be shown. Used by the generation
 * loop.
 *
 * The text ends where the first stop string is complete; of several that are complete at once the longest
 * counts. It is not shown, nor is anything after it. What may still become one is held back. How the text is
 * cut into pieces changes nothing. */
#ifndef MIA_LM_STOP_H
#define MIA_LM_STOP_H

#include <mia/memory.h>
#include <mia/weights.h>
#include <stdbool.h>

typedef struct mia__stop mia__stop;

/* The stop strings are copied; `count` may be 0. Fails with INVALID_ARGUMENT (one is NULL or empty),
 * NO_MEMORY. */
mia_status mia__stop_open(const char *const *stops, size_t count, const mia_allocator *allocator,
                          mia__stop **out, mia_error *error);
void mia__stop_close(mia__stop *stop);

/* Adds a piece. *shown is what is sure not to be part of a stop string, valid until the next call; *stopped
 * says whether one was found, after which nothing is shown any more. Fails with NO_MEMORY, and then has added
 * nothing. */
mia_status mia__stop_push(mia__stop *stop, mia_text piece, mia_text *shown, bool *stopped, mia_error *error);

/* The text's end: what was held back and did not become a stop string; valid until the next call. */
mia_text mia__stop_finish(mia__stop *stop);

#endif
