/* A tape from inside: what recording makes (recorded.c), running uses (replay.c), and files hold
 * (tape_file.c). */
#ifndef MIA_RUNTIME_TAPES_H
#define MIA_RUNTIME_TAPES_H

#include "graph/tape_words.h"
#include "runtime/submit.h"

/* An input or an output. */
typedef struct mia__tape_value {
    char *name;
    uint32_t entry;
    mia_dtype dtype;
    mia_shape shape;
} mia__tape_value;

/* A leaf that is no input: the input that it looks at, or a value that the tape has of its own. */
typedef struct mia__tape_leaf {
    uint32_t input;  /* MIA__NO_INPUT: `node` is the value */
    mia__node *node; /* a reference */
} mia__tape_leaf;

/* The plan for one choice of inputs that may be overwritten. */
typedef struct mia__tape_plan {
    struct mia__tape_plan *next;
    mia__cached *plan;
    bool overwritable[]; /* one an input */
} mia__tape_plan;

/* Entries 0 .. input_count-1 of the tape are the inputs, then come leaves[], then the operations. */
struct mia_tape {
    mia_allocator allocator;
    mia_device *device; /* NULL after its device was closed */
    mia_tape *next;     /* of the device */
    mia__tape tape;
    uint32_t input_count, output_count, leaf_count; /* leaf_count: of leaves[] */
    mia__tape_value *inputs, *outputs;
    mia__tape_leaf *leaves;
    mia__tape_plan *plans;
};

/* An empty tape of a device with arrays of those lengths; NULL without memory. */
mia_tape *mia__tape_new(mia_device *device, uint32_t inputs, uint32_t outputs, uint32_t leaves);

/* Lists the tape with its device; with the lock. */
void mia__tape_list(mia_tape *tape);

/* Copies a name; false with the error set when it is empty, taken, or there is no memory. */
bool mia__tape_name(mia_tape *tape, mia__tape_value *values, uint32_t index, const char *name,
                    mia_error *error);

/* The entry, type and shape of an input or output that the tape's entries already say. */
void mia__tape_describe(mia_tape *tape, mia__tape_value *value, uint32_t entry);

/* Frees a tape that is not listed; with the lock. NULL is fine. */
void mia__tape_drop(mia_tape *tape);

/* Which inputs a run may overwrite when nobody else refers to them. */
void mia__tape_overwrite_all(const mia_tape *tape, bool *overwritable);

/* The plan for inputs of which those may be overwritten; retained for the caller, NULL with the error set. With
 * the lock. */
mia__cached *mia__tape_plan_for(mia_tape *tape, const bool *overwritable, mia_error *error);

#endif
