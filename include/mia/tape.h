/* Recorded work before it runs: what a plan would need, and getting constants ready for it. */
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
    uint64_t needed_bytes;   /* the sum */
} mia_plan_info;

/* Plans what the values need, without running; the plan is cached for the run. Borrows; all values are of
 * one device. Any thread; does not wait for runs. Fails with the first cause of a poisoned value, CONSUMED,
 * INVALID_ARGUMENT (values of two devices), UNSUPPORTED (the backend has no kernel for a step) or
 * NO_MEMORY. An empty list needs nothing. */
MIA_API MIA_MUST_CHECK mia_status mia_tensor_plan(const mia_tensor *list, size_t count, mia_plan_info *out,
                                                  mia_error *error);

/* Plans, and makes every constant of the plan ready (read, repacked), so that the first run does not have
 * to. Borrows. Blocks, behind the runs that are queued; any thread. `progress` (may be NULL) is told the
 * share of bytes done and may cancel by returning false; it is called by the thread that does the work and
 * must not wait for work of the same device. Fails as mia_tensor_plan does, and with OVER_LIMIT before
 * anything is read, IO, CANCELLED; what was made ready until then stays. */
MIA_API MIA_MUST_CHECK mia_status mia_tensor_prepare(const mia_tensor *list, size_t count,
                                                     bool (*progress)(void *user, double fraction),
                                                     void *user, mia_error *error);

#ifdef __cplusplus
}
#endif
#endif
