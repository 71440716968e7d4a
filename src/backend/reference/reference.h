/* Reference kernels: the meaning of every operation, in plain loops over any strided layout, in the widest
 * sensible arithmetic. The oracle of every test; the cpu backend fills its kernel table from here. */
#ifndef MIA_BACKEND_REFERENCE_REFERENCE_H
#define MIA_BACKEND_REFERENCE_REFERENCE_H

#include "backend/backend.h"

/* A step's memory, resolved: inputs[i] and output point at the start of the buffer (not at the view's
 * offset). */
typedef struct mia__kernel_args {
    const mia__step *step;
    const void *inputs[MIA__MAX_OPERANDS];
    void *output;
    void *scratch;
} mia__kernel_args;

typedef void (*mia__reference_kernel)(const mia__kernel_args *args);

/* The kernel of an operation, NULL when it has none (views). Every kernel takes every type of its row's mask,
 * but for what mia__reference_check refuses. */
mia__reference_kernel mia__reference_find(mia_op op);

/* The kernel of a step: its operation's, or that of an operation that a program registered. */
mia__reference_kernel mia__reference_of(const mia__step *step);

/* A call of a registered operation, over all of its output. */
struct mia_custom_call;
void mia__reference_custom_call(const mia__kernel_args *args, struct mia_custom_call *call);

/* Whether a step can run on its kernel. UNSUPPORTED, with a message that names the operation and the types,
 * for views and for arithmetic on block types whose numbers Mia cannot read yet. `backend` is named in the
 * message. */
mia_status mia__reference_check(const mia__step *step, const char *backend, mia_error *error);

extern const mia__backend_type mia__backend_reference;

#endif
