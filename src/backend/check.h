/* MIA_DEBUG=check: a step once more on reference kernels, in memory of its own, and compared. What is common to backends: they
 * bring a step's operands as they are before it, run it, and bring its result.
 *
 *     mia__step_check c;
 *     mia__step_check_begin(&c, &kernels, run, index);
 *     ... put what c.args.inputs lacks there, and the output as it is before the step ...
 *     ... run the step ...
 *     if (!mia__step_check_end(&c, output)) ...       false: the numbers differ by more than they may, which is reported
 *
 * A fused step is taken apart. Where the backend runs instructions alone, each is compared, and the step has to give exactly
 * what they give one after the other. Where it does not, the reference kernels run one after the other (check_chain.c), and the
 * step may differ by what all their bounds together make of its result. How far numbers may lie apart is in check_bounds.h. */
#ifndef MIA_BACKEND_CHECK_H
#define MIA_BACKEND_CHECK_H

#include "backend/check_bounds.h"

#define MIA__CHECK_PIECES (4 * MIA__MAX_OPERANDS + 3 * MIA__MOST_INSTRUCTIONS + 2)

typedef struct mia__step_check mia__step_check;

/* What a check has to know of a backend. */
typedef struct mia__check_kernels {
    const mia_allocator *allocator;
    mia__check_promise promise;
    /* Runs an instruction of a fused step as a step of its own, on the kernel that the backend has for it; inputs that are
     * in a form are as check->prepared has them. NULL: the backend cannot. */
    void (*alone)(mia__step_check *check, const mia__step *step, mia__kernel_args *args);
    const void *backend;
} mia__check_kernels;

struct mia__step_check {
    const mia__check_kernels *kernels;
    const mia__run *run;
    const mia__step *step;
    uint32_t index;
    bool no_memory;        /* the step will be left out, which is reported */
    mia__kernel_args args; /* of the step, for its reference kernel */
    const void *prepared
        [MIA__MAX_OPERANDS]; /* inputs in forms of the backend's kernels, which args has as they were */
    void *memory[MIA__CHECK_PIECES];
    size_t bytes[MIA__CHECK_PIECES];
    uint32_t count;
};

/* Begins; inputs in prepared forms are fetched as they were, all other memory of args is NULL. */
void mia__step_check_begin(mia__step_check *check, const mia__check_kernels *kernels, const mia__run *run,
                           uint32_t index);
/* After the step, whose output's buffer begins at `output`; NULL: the step was not run. Frees what the check holds. */
bool mia__step_check_end(mia__step_check *check, const void *output);

/* Whether an input is in a prepared form, so that begin has fetched it. */
bool mia__step_check_is_prepared(const mia__step_check *check, uint32_t input);
/* Memory until the check ends; NULL, with no_memory set, where there is none. */
void *mia__step_check_memory(mia__step_check *check, size_t bytes);

/* --- for check_chain.c ---------------------------------------------------------------------------- */

/* Frees memory down to so many pieces. */
void mia__step_check_free(mia__step_check *check, uint32_t count);

/* An instruction as a step of its own, and its memory but for the output. */
typedef struct mia__check_call {
    mia__step step;
    mia__kernel_args args;
    const void *prepared[MIA__MAX_OPERANDS]; /* of inputs of the whole step */
    uint32_t results[MIA__MAX_OPERANDS];     /* the instruction that made each input, or MIA__NO_RESULT */
} mia__check_call;
#define MIA__NO_RESULT UINT32_MAX

/* Instruction n, with the results of those before it at made[]. */
void mia__step_check_call(const mia__step_check *check, uint32_t n, void *const *made, mia__check_call *call);

/* Compares a result, which lies in `got` as a view says (args->output: as the step's output), with the reference kernel's;
 * reports and returns false where one is not within its bounds. */
bool mia__step_check_compare(const mia__step_check *check, const mia__step *step, mia__check_bounds *bounds,
                             const void *got, const mia__view *view);
bool mia__step_check_report(const mia__step_check *check, const mia__step *step, int64_t element, double got,
                            double want, double slack);

/* Fused steps of backends that run no instruction alone. */
bool mia__step_check_chain(mia__step_check *check, const void *output);
/* A single step. */
bool mia__step_check_single(mia__step_check *check, const void *output);

#endif
