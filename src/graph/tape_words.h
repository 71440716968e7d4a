/* A tape as 32-bit words, the form that files hold (docs/tape-format.md), and back. Pure; trusts nothing that
 * it reads. */
#ifndef MIA_GRAPH_TAPE_WORDS_H
#define MIA_GRAPH_TAPE_WORDS_H

#include "graph/ops.h"

#include <mia/memory.h>

#define MIA__TAPE_VERSION 1
#define MIA__NO_INPUT     UINT32_MAX

/* What a tape consists of besides names: entries 0 .. input_count-1 are the inputs, the leaves after them look at
 * an input (sources[i] is its number) or are the tape's own (MIA__NO_INPUT). */
typedef struct mia__tape_parts {
    mia__tape tape;
    uint32_t input_count, output_count;
    uint32_t *sources; /* of each leaf after the inputs */
    uint32_t *outputs; /* entries */
} mia__tape_parts;

typedef struct mia__words {
    uint32_t *words;
    size_t count, capacity;
} mia__words;

/* Appends the words of the parts. customs: in the order in which a file names the registered operations.
 * False without memory. */
bool mia__tape_encode(const mia__tape_parts *parts, const mia__custom *const *customs, uint32_t custom_count,
                      const mia_allocator *allocator, mia__words *out);

/* The parts that `count` words stand for, each checked: whatever comes back can be planned and run. customs:
 * what the device has registered under the file's names. False with what is wrong in *fault (static text;
 * NULL: no memory) and nothing left to free. */
bool mia__tape_decode(const uint32_t *words, size_t count, const mia__custom *const *customs,
                      uint32_t custom_count, const mia_allocator *allocator, mia__tape_parts *out,
                      const char **fault);

void mia__tape_parts_free(mia__tape_parts *parts, const mia_allocator *allocator);

#endif
