/* A plan: what a backend runs. Pure data: steps in order, and buffers with their places. Knows no device and
 * no node.
 *
 * Made by mia__plan_make from a tape (graph/tape.h) under a backend's rules; cached and run many times by the
 * runtime. */
#ifndef MIA_PLAN_PLAN_H
#define MIA_PLAN_PLAN_H

#include "graph/tape.h"

#include <mia/memory.h>

#define MIA__NO_BUFFER UINT32_MAX

/* One operand of a step: where it is and how it lies there. Packed types are spelt out: an operand of f32x4
 * [C, T] comes as f32 with an inner mode of 4, so kernels see scalar and block types alone. */
typedef struct mia__operand {
    uint32_t buffer; /* index into plan->buffers */
    mia_dtype dtype;
    mia__view view; /* offset and strides in units of dtype from the start of the buffer */
} mia__operand;

/* The op of a step that is several operations in one (fuse.c, fuse_core.c); no row of ops.def.
 *
 *     [0, core)                     prologue   element-wise; before a matmul the last may be a norm over mode 0;
 *                                              before an update it is a rope
 *     [core, core + core_count)     cores      a reduction, a norm (softmax, rms_norm, ...), matmuls, or an update
 *     [core + core_count, count)    epilogue   element-wise; behind an update there is none
 *
 * core_count 0: element-wise alone, core is 0 too. The cores' main operand is operand 0 of reductions and norms, and
 * operand 1 of matmul (x) and update (the part); it is the prologue's last result, or an input where there is no
 * prologue. Several cores are matmuls of equal K, N and M and one type of weights that read the same x; what they give
 * meets in the epilogue.
 *
 * A part is often a permuted view of what rope makes: both are seen in the part's modes then, so that rope's mode 0 is
 * the part's, and its x and positions have views in the part's modes (positions repeated along the others). What an
 * update writes to is input 0, as of a single one. */
#define MIA__OP_FUSED ((mia_op)0x7fffffff)

/* One operation of a fused step. Its operands are inputs of the step, or results of instructions before it, which are
 * compact (before an update: in the part's modes) and are rounded, or wrapped, to their type as if they were written to
 * memory. The last one's result is the
 * step's output. Element-wise instructions (conversions between scalar types among them) of the prologue have the
 * extents of the main operand, those of the epilogue those of the output. */
#define MIA__MOST_INSTRUCTIONS    16
#define MIA__MOST_CORES           4
#define MIA__INSTRUCTION_OPERANDS MIA__MAX_OPERANDS
typedef struct mia__instruction {
    mia_op op;
    mia_dtype dtype; /* of its result */
    uint32_t entry;  /* the tape entry that it computes */
    uint8_t operand_count;
    uint8_t operands[MIA__INSTRUCTION_OPERANDS]; /* an input, or MIA__MAX_OPERANDS + an instruction */
    mia__attributes attributes;
    const struct mia__custom *custom; /* of an operation that a program registered */
} mia__instruction;

/* The inputs of a fused step with cores have roles: those that the prologue's element-wise instructions read, or its
 * norm normalises, have views in the modes of the main operand; those that cores read (and a norm's weights and
 * biases) have their own operand's; those that the epilogue reads have views in the output's modes, which are those of
 * the cores' results. A value with two roles is listed twice. */
typedef struct mia__step {
    mia_op op; /* MIA__OP_FUSED: see instructions */
    uint32_t input_count;
    uint32_t entry;   /* the tape entry that it computes, for names in messages and traces */
    uint32_t scratch; /* buffer that holds the kernel's scratch memory, or MIA__NO_BUFFER */
    mia__attributes
        attributes; /* one that names a mode counts the modes of the views, a packed type's inner one too */
    mia__operand output; /* compact, unless the operation updates in place (then input 0's view) */
    mia__operand inputs[MIA__MAX_OPERANDS];
    const struct mia__custom *custom; /* of an operation that a program registered */
    size_t scratch_bytes;             /* as the rules asked */
    /* A table that was cut (split.c): inputs[0] of a gather or an embedding begins with this column, and with `keeps`
     * the result's columns of indices outside it stay as they are, instead of becoming zeros. */
    int64_t first_column;
    uint32_t first_instruction, instruction_count; /* of a fused step, in plan->instructions */
    uint32_t core, core_count;                     /* of its instructions; see MIA__OP_FUSED */
    /* Steps from this one on that may run at once (together.c), matmuls of one x or what the rules join: none reads or
     * overwrites what another writes; 0: it is alone, or not the first. */
    uint32_t together;
    bool keeps;
} mia__step;

typedef enum mia__buffer_kind {
    MIA__BUFFER_LEAF,   /* memory of leaf `index` of the tape, as it is */
    MIA__BUFFER_FORM,   /* leaf `index`, a constant, in the prepared form `form` */
    MIA__BUFFER_ARENA,  /* a place in the run's arena, at `offset` */
    MIA__BUFFER_OUTPUT, /* memory of its own that outlives the run; `index` counts them */
    MIA__BUFFER_PART    /* bytes of buffer `index`, which is before it, from `offset` on (split.c) */
} mia__buffer_kind;

typedef struct mia__plan_buffer {
    mia__buffer_kind kind;
    uint32_t index;
    uint32_t form;
    mia_dtype
        dtype; /* FORM: the constant's type and shape where it is used, which a form goes by beside its key */
    mia_shape shape;
    size_t bytes;
    size_t offset; /* ARENA, PART; FORM: in the constant's own bytes, of the first that it is made of */
    uint32_t first, last; /* steps between which it holds something, inclusive */
} mia__plan_buffer;

/* A value that outlives the run: tape entry `entry` will be found in `buffer` with `view` (in its own dtype's
 * units). */
typedef struct mia__plan_result {
    uint32_t entry;
    uint32_t buffer;
    mia__view view;
} mia__plan_result;

typedef struct mia__plan {
    mia_allocator allocator;
    mia__step *steps;
    uint32_t step_count, step_capacity;
    mia__instruction *instructions; /* of fused steps */
    uint32_t instruction_count, instruction_capacity;
    mia__plan_buffer *buffers;
    uint32_t buffer_count, buffer_capacity;
    mia__plan_result *results;
    uint32_t result_count, result_capacity;
    uint32_t leaf_count;
    uint32_t output_count; /* buffers of kind OUTPUT */
    /* What the passes did, for people: operations that are another's equal, or that nobody needs; and whether the
     * steps are in another order than the tape's. */
    uint32_t shared_count, dropped_count;
    bool reordered;
    size_t arena_bytes;   /* SIZE_MAX: more than there can be, and places mean nothing */
    uint64_t arena_looks; /* places looked at to find room: what the cost of that grows with */
    size_t output_bytes;  /* SIZE_MAX: or more */
} mia__plan;

/* How a constant is to be laid out for a kernel. Key 0 is "as it is". The key, with the operand's type and
 * shape (those of the constant, or of a view of all of it), says everything about the form, so that two steps
 * that ask for the same share it. */
typedef struct mia__form {
    uint32_t key;
    size_t bytes;
} mia__form;

/* What a backend can run beside chains of element-wise steps (which fused_inputs is about), as a mask. */
typedef enum mia__fusion {
    MIA__FUSE_REDUCTION_PROLOGUE = 1, /* element-wise steps before a reduction, or a norm over mode 0 */
    MIA__FUSE_REDUCTION_EPILOGUE = 2, /* behind it */
    MIA__FUSE_CONTRACTION_PROLOGUE = 4,
    MIA__FUSE_CONTRACTION_NORM = 8, /* rms_norm, layer_norm or l2_norm right before a matmul */
    MIA__FUSE_CONTRACTION_EPILOGUE = 16,
    MIA__FUSE_SIBLINGS = 32,         /* several cores */
    MIA__FUSE_TOGETHER = 64,         /* groups of steps that run at once */
    MIA__FUSE_NORM_RECOMPUTED = 128, /* a norm that only the matmuls of one group read, in each of them */
    MIA__FUSE_UPDATE_ROPE = 256      /* a rope that makes an update's part */
} mia__fusion;

/* What a backend tells the planner: constants, and pure functions of a step of a plan that is being made (its
 * instructions are in plan->instructions; buffers not placed yet: operands' dtypes, views and attributes are final,
 * buffer indices are not). Function pointers may be NULL: no scratch, everything taken, no forms, no veto. */
typedef struct mia__plan_rules {
    const void *context; /* handed to the functions */
    size_t alignment;    /* of every buffer's place; a power of two */
    size_t
        binding_bytes; /* most bytes of a buffer that a step sees, else it is cut up (split.c); 0: any number */
    uint32_t fused_inputs; /* most inputs of a fused step; 0: steps stay single */
    uint32_t fusions;      /* mia__fusion; 0 as well where fused_inputs is */
    size_t (*scratch)(const void *context, const mia__plan *plan, const mia__step *step);
    bool (*takes)(const void *context, const mia__step *step,
                  uint32_t input); /* false: copy it to compact first; asked before steps are fused */
    mia__form (*form)(const void *context, const mia__plan *plan, const mia__step *step,
                      uint32_t input); /* of a constant, compact input */
    bool (*fuses)(const void *context, const mia__plan *plan,
                  const mia__step *step); /* false: this step with cores stays apart */
    bool (*joins)(
        const void *context, const mia__plan *plan, const mia__step *first,
        const mia__step *other); /* true: these, of which none needs the other, are to run together, beside
                                              matmuls of one x, which are never asked for; NULL: none */
} mia__plan_rules;

/* Whether a step writes a part of its result and takes the rest from input 0: an update, a scatter, or one that has
 * such a core. */
bool mia__step_writes_part(const mia__plan *plan, const mia__step *step);

/* "matmul", "mul add gelu": its operations in their order; text is used where there are several, and may be cut. */
const char *mia__step_name(const mia__plan *plan, const mia__step *step, char *text, size_t capacity);

/* Makes a plan. Fails with NO_MEMORY, UNSUPPORTED for an operand that is larger than binding_bytes and cannot be cut, or
 * INTERNAL for a malformed tape. */
mia_status mia__plan_make(const mia__tape *tape, const mia__plan_rules *rules, const mia_allocator *allocator,
                          mia__plan **out, mia_error *error);
void mia__plan_free(mia__plan *plan);

#endif
