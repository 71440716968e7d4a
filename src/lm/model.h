/* A language model's data, shared by the files that fill and use it and by nobody else:
 *   lm.c          opens, loads, describes and closes a model
 *   parameters.c  reads and checks hyperparameters and rotary frequencies, by the architecture's name
 *   llama.c       one architecture: its constants, and what it records for a chunk of tokens
 *   state.c       caches, chunks and resumable steps, for any architecture
 *   plan.c        what steps need, known without running them
 * A new architecture is a file like llama.c and a line in lm.c. */
#ifndef MIA_LM_MODEL_H
#define MIA_LM_MODEL_H

#include <mia/lm.h>
#include <mia/tape.h>

/* --- hyperparameters -------------------------------------------------------------------------- */

typedef struct mia__parameters {
    int64_t context; /* tokens that the model was made for; 0: the file does not say */
    int64_t vocabulary, dim, layers, heads, kv_heads, key_dim, value_dim, ffn;
    int64_t rope_dim; /* leading elements of a head that are rotated; even */
    double epsilon;   /* of the norms */
} mia__parameters;

/* Reads "<architecture>.<key>" of every key that Llama-like models have, and checks each value and how they
 * fit together. Fails with NOT_FOUND, FORMAT, UNSUPPORTED, naming file and key. */
mia_status mia__parameters_read(const mia_weights *weights, const char *architecture, mia__parameters *out,
                                mia_error *error);

/* The angles in radians that each pair of elements turns by a position, all scaling included, and the factor
 * that rotated values are multiplied by. frequencies: rope_dim / 2. */
mia_status mia__rope_frequencies(const mia_weights *weights, const char *architecture,
                                 const mia__parameters *parameters, float *frequencies, double *magnitude,
                                 double *scratch, mia_error *error);

/* --- architectures ---------------------------------------------------------------------------- */

/* What a chunk of tokens is told as tensors, so that chunks of one size share a plan. Lent: architectures
 * take what they use with mia_ref. */
typedef struct mia__chunk_inputs {
    int64_t rows;             /* tokens in the chunk, padding included */
    mia_tensor_i32 ids;       /* [rows] */
    mia_tensor_i32 positions; /* [rows] */
    mia_tensor_i32 start;     /* the row of the caches that the first token is written to */
    mia_tensor_i32 length;    /* rows of the caches in use afterwards */
} mia__chunk_inputs;

typedef struct mia__architecture {
    const char *name; /* as in general.architecture */

    /* Finds and checks the model's tensors; fills lm->data. After a failure close is called too. */
    mia_status (*open)(mia_lm *lm, mia_error *error);
    void (*close)(mia_lm *lm);

    /* Records a chunk: consumes each cache and puts the new one in its place; gives the hidden state [dim,
     * rows]. */
    mia_tensor_f32 (*record)(const mia_lm *lm, const mia__chunk_inputs *inputs, mia_tensor_f32 *caches);

    /* How many layers from the first on ask for all kernels that a chunk asks for: more ask for none in other shapes. */
    int64_t (*telling)(const mia_lm *lm);

    /* Records the output of hidden states [dim, n]: logits [vocabulary, n]. Consumes x. */
    mia_tensor_f32 (*output)(const mia_lm *lm, mia_tensor_f32 x);
} mia__architecture;

extern const mia__architecture mia__llama;

struct mia_lm {
    mia_allocator allocator; /* zero: the C library's */
    mia_device *device;
    mia_weights *weights;
    mia_tokenizer *tokenizer;
    const mia__architecture *architecture;
    mia__parameters parameters;
    void *data; /* the architecture's own */
    int64_t context;
    mia_tensor_f32 frequencies; /* [rope_dim / 2] */
    double magnitude;
    uint64_t weight_bytes, needed_bytes;
};

static inline const mia_allocator *mia__lm_allocator(const mia_lm *lm) {
    return &lm->allocator;
}

/* A constant for the named tensor, checked to have these extents (second 0: a vector) and a type that Mia
 * computes with. A missing one that is `optional` gives a zero handle. Fails with NOT_FOUND, FORMAT,
 * UNSUPPORTED, NO_MEMORY. */
mia_status mia__lm_constant(mia_lm *lm, const char *name, int64_t first, int64_t second, bool optional,
                            mia_tensor *out, mia_error *error);

/* --- state ------------------------------------------------------------------------------------ */

#define MIA__CHUNK_ROWS     512 /* of the largest chunk */
#define MIA__ALL_ROWS       128 /* of the largest chunk whose logits are all asked for: they take room */
#define MIA__FIRST_CAPACITY 256 /* rows of a state's first caches */

typedef enum mia__logits {
    MIA__LOGITS_NONE,
    MIA__LOGITS_LAST,
    MIA__LOGITS_ALL,
    MIA__LOGITS_CHOICE
} mia__logits;

typedef enum mia__step_phase {
    MIA__STEP_READY,
    MIA__STEP_EVAL, /* a chunk is running */
    MIA__STEP_READ, /* its logits are on their way */
    MIA__STEP_FAILED
} mia__step_phase;

struct mia_lm_state {
    mia_lm *lm;
    int64_t length;         /* tokens read */
    int64_t capacity;       /* rows of the caches; 0: there are none yet */
    mia_tensor_f32 *caches; /* keys, values of each layer: [key_dim or value_dim, capacity, kv_heads] */
    size_t cache_count;
    mia_tensor_f32 logits; /* of the chunk under way, else zero */
    mia_tensor_i32 chosen; /* the token that follows, where the device chose one, else zero */
    mia_tensor *values;    /* [cache_count + 1], what a run is asked for */

    /* the step under way */
    mia__step_phase phase;
    mia_ticket *ticket;
    const int32_t *ids;
    size_t count, done; /* tokens of the step, and of them before the chunk under way */
    unsigned flags;
    bool chooses; /* the step ends with a choice, by: */
    mia_lm_choice choice;
    float *out;
    int64_t chunk_count; /* tokens of the chunk under way */
    mia__logits chunk_logits;
    int64_t wanted_capacity;              /* rows of the caches that the whole step needs */
    int32_t numbers[2 * MIA__CHUNK_ROWS]; /* ids and positions on their way to the device */
};

/* Records `count` tokens from ids (NULL: the one that was chosen), padded to `rows`, as what follows the state's length, with caches of
 * `capacity` rows. The state's caches and logits become what the chunk gives. Nothing runs; faults show when
 * it does. */
void mia__state_record(mia_lm_state *state, const int32_t *ids, int64_t count, int64_t rows, int64_t capacity,
                       mia__logits logits);

/* Whether a step can choose so; INVALID_ARGUMENT otherwise. */
mia_status mia__choice_check(const mia_lm_choice *choice, mia_error *error);

/* Lists in state->values what a chunk's run is asked for: caches, and logits if any. Borrowed handles. */
size_t mia__state_values(mia_lm_state *state, mia__logits logits);

/* Rows of the next chunk of a step with `count` tokens left, where the caches have `room` rows left. */
int64_t mia__chunk_rows(int64_t count, int64_t room, bool all);

/* Rows of the largest chunk whose rows are at most `limit`. */
int64_t mia__chunk_largest(int64_t limit);

/* Rows of the caches for `length` tokens of a model's context. */
int64_t mia__state_capacity(const mia_lm *lm, int64_t length);

/* Plans what reading a prompt of any length and generating through the context takes, so that a device that compiles has
 * begun to. */
mia_status mia__plan_every_step(mia_lm *lm, mia_error *error);

#endif
