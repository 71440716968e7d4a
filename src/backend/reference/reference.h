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

/* The kernel of an operation, NULL when it has none (views). Every kernel takes every type of its row's
 * mask. */
mia__reference_kernel mia__reference_find(mia_op op);

/* The kernel of a step: its operation's, or that of an operation that a program registered. */
mia__reference_kernel mia__reference_of(const mia__step *step);

/* A call of a registered operation, over all of its output. */
struct mia_custom_call;
void mia__reference_custom_call(const mia__kernel_args *args, struct mia_custom_call *call);

/* Kernels in parts that do not depend on each other, for backends with threads: units [begin, end) of as many
 * as the step has. */
size_t mia__reference_convert_runs(const mia__step *step);
void mia__reference_convert_part(const mia__kernel_args *args, size_t begin, size_t end);
size_t mia__reference_matmul_tiles(const mia__step *step);
void mia__reference_matmul_part(const mia__kernel_args *args, size_t begin, size_t end);

/* Whether a step can run on its kernel. UNSUPPORTED, with a message that names the operation, for views.
 * `backend` is named in the message. */
mia_status mia__reference_check(const mia__step *step, const char *backend, mia_error *error);

/* What an element-wise operation makes of floating-point operands x and real attributes f: NULL for one that
 * has no such meaning, and for `where`. */
typedef double (*mia__real_function)(const double *x, const double *f);
mia__real_function mia__reference_real(mia_op op);

/* The attributes as kernels take them: a clamp's ends brought into the type of x. */
mia__attributes mia__elementwise_attributes(mia_op op, mia_dtype dtype, const mia__attributes *attributes);

extern const mia__backend_type mia__backend_reference;

#endif
