/* Recorded work before it runs: what a plan would need, getting constants ready for it, and tapes, functions
 * that were recorded once and run many times. */
#ifndef MIA_TAPE_H
#define MIA_TAPE_H

#include <mia/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What running a set of values needs, known before it runs. Bytes of device memory. */
typedef struct mia_plan_info {
    uint32_t steps;          /* kernels that would run */
    uint64_t arena_bytes;    /* temporaries, all at their places in one block */
    uint64_t output_bytes;   /* values that outlive the run and get memory of their own */
    uint64_t input_bytes;    /* inputs that are already there */
    uint64_t constant_bytes; /* constants used as the file has them */
    uint64_t prepared_bytes; /* constants in the forms that kernels asked for */
    uint64_t
        needed_bytes;    /* the sum: the most that a device holds which has nothing else; UINT64_MAX: more */
    uint64_t peak_bytes; /* the most that this device would hold now, all else that it has included: what
                                max_bytes is held against. Of a tape, whose inputs are not there: needed_bytes */
} mia_plan_info;

/* Plans what the values need, without running; the plan is cached for the run. Borrows; all values are of
 * one device. Any thread; does not wait for runs. Fails with the first cause of a poisoned value, CONSUMED,
 * INVALID_ARGUMENT (values of two devices), UNSUPPORTED (the backend has no kernel for a step) or
 * NO_MEMORY. An empty list needs nothing. */
MIA_API MIA_MUST_CHECK mia_status mia_tensor_plan(const mia_tensor *list, size_t count, mia_plan_info *out,
                                                  mia_error *error);

/* Plans, and makes every constant of the plan ready (read, repacked), so that the first run does not have
 * to. Takes memory for constants alone. Borrows. Blocks, behind the runs that are queued; any thread. `progress` (may be NULL) is told the
 * share of bytes done and may cancel by returning false; it is called by the thread that does the work and
 * must not wait for work of the same device. Fails as mia_tensor_plan does, and with OVER_LIMIT before
 * anything is read, IO, CANCELLED; what was made ready until then stays. */
MIA_API MIA_MUST_CHECK mia_status mia_tensor_prepare(const mia_tensor *list, size_t count,
                                                     bool (*progress)(void *user, double fraction),
                                                     void *user, mia_error *error);

/* --- tapes ------------------------------------------------------------------------------------ */

/* A function recorded from named inputs to named outputs. It belongs to a device, holds the constants that it
 * needs, and is run with other inputs without being recorded again. */
typedef struct mia_tape mia_tape;

/* A value with its name in a tape. */
typedef struct mia_named {
    const char *name;
    mia_tensor tensor;
} mia_named;

/* An input to record with: a type and a shape without numbers. Owned; reading what depends on it fails. */
MIA_API mia_tensor mia_tensor_input(mia_device *device, mia_dtype dtype, mia_shape shape, MIA__SITE_ARGS);
#define mia_input(type, device, shape)                                                                       \
    mia__as_##type(mia_tensor_input(device, MIA_##type, shape, MIA__SITE), MIA__SITE)

/* Records what leads from the inputs (of mia_tensor_input, or any compact value that exists) to the outputs.
 * Other values that the outputs need, constants or not, become the tape's own constants. Borrows; runs nothing.
 * Any thread. Names are copied. Fails with the first cause of a poisoned value, CONSUMED, INVALID_ARGUMENT (no
 * output; a name that is empty or stands twice; values of two devices; an input that is not compact or was not
 * evaluated), NO_MEMORY. */
MIA_API MIA_MUST_CHECK mia_status mia_tape_record(const mia_named *inputs, size_t input_count,
                                                  const mia_named *outputs, size_t output_count,
                                                  mia_tape **out, mia_error *error);

/* Runs the tape. Consumes the inputs, one for each that was recorded and in that order, of the same types and
 * shapes; a value that nobody else refers to may be overwritten by the run. Fills `outputs` with owned
 * handles, valid at once; reading one waits for the run. The ticket completes when the run has. Any thread.
 * What goes wrong (other types or shapes, OVER_LIMIT, NO_MEMORY) fails the ticket and poisons the outputs. */
MIA_API mia_ticket *mia_tape_run_begin(mia_tape *tape, const mia_tensor *inputs, mia_tensor *outputs,
                                       MIA__SITE_ARGS);

/* The same, and waits. */
MIA_API MIA_MUST_CHECK mia_status mia_tape_run(mia_tape *tape, const mia_tensor *inputs, mia_tensor *outputs,
                                               mia_error *error);

/* What a run needs when all its inputs are there, with inputs that may be overwritten. */
MIA_API MIA_MUST_CHECK mia_status mia_tape_plan(mia_tape *tape, mia_plan_info *out, mia_error *error);

/* Inputs and outputs: how many, and each one's name, type and shape. */
typedef struct mia_tape_value {
    const char *name;
    mia_dtype dtype;
    mia_shape shape;
} mia_tape_value;
MIA_API size_t mia_tape_input_count(const mia_tape *tape);
MIA_API size_t mia_tape_output_count(const mia_tape *tape);
MIA_API mia_tape_value mia_tape_input(const mia_tape *tape, size_t index);
MIA_API mia_tape_value mia_tape_output(const mia_tape *tape, size_t index);

/* Writes the tape into a file: a GGUF file that holds the operations in its metadata and the constants as its
 * tensors (docs/tape-format.md). Constants that come from a weights file keep the names that they have there;
 * without_weights leaves those out: the file then needs that one to be loaded. Blocks. Fails with IO (a full
 * disk; what was written is removed), NO_MEMORY. */
typedef struct mia_tape_save_options {
    bool without_weights;
    const mia_allocator *allocator; /* NULL: the C library's */
} mia_tape_save_options;
MIA_API MIA_MUST_CHECK mia_status mia_tape_save(mia_tape *tape, const char *path,
                                                const mia_tape_save_options *options, mia_error *error);

/* The tape of a file (mia_weights_open_file opens it), on any device. Constants are read when a run needs them.
 * more: where constants that the file does not hold are looked up; may be NULL. The tape keeps what it needs of
 * both open. Operations that programs register have to be registered under the same names. Fails with FORMAT (no
 * tape, another version, a corrupt one; the message names the file and the fault), NOT_FOUND (a constant or an
 * operation, named), NO_MEMORY. */
MIA_API MIA_MUST_CHECK mia_status mia_tape_load(mia_device *device, mia_weights *file, mia_weights *more,
                                                mia_tape **out, mia_error *error);

/* How a drawing is written down: for a page, for Graphviz, for a program. */
typedef enum mia_drawing_format {
    MIA_DRAWING_MERMAID = 0,
    MIA_DRAWING_DOT = 1,
    MIA_DRAWING_JSON = 2
} mia_drawing_format;

/* Draws the tape, or with `plan` the steps that would run, with their buffers and bytes. Text goes to `write` in
 * pieces, which must not use the tape's device. Fails with DEVICE_CLOSED, NO_MEMORY, UNSUPPORTED. */
MIA_API MIA_MUST_CHECK mia_status mia_tape_draw(mia_tape *tape, mia_drawing_format format, bool plan,
                                                void (*write)(void *user, const char *text, size_t length),
                                                void *user, mia_error *error);

/* Before its device is closed. NULL is fine. */
MIA_API void mia_tape_close(mia_tape *tape);

#ifdef __cplusplus
}
#endif
#endif
