/* Strided copies, which most movement is made of: of all of a value, or of some places of a mode (copy.c). */
#ifndef MIA_BACKEND_CPU_COPY_H
#define MIA_BACKEND_CPU_COPY_H

#include "backend/cpu/cpu.h"

/* Bytes of a unit of a type: of an element, of a block. */
static inline size_t mia__cpu_unit_bytes(const mia__operand *operand) {
    return mia_dtype_describe(operand->dtype)->bytes;
}

/* `count` units of `bytes` bytes; strides in units. Where input and output are the same they may overlap. */
void mia__cpu_copy_row(size_t bytes, char *to, int64_t to_stride, const char *from, int64_t from_stride,
                       int64_t count);

/* A copy of all of `from` to as many places of `to`; views count units of `bytes` bytes. */
void mia__cpu_copy_make(mia__cpu_copy *copy, size_t bytes, const mia__view *to, const mia__view *from);
static inline size_t mia__cpu_copy_units(const mia__cpu_copy *copy) {
    return copy->loop.rows * copy->loop.pieces;
}
double mia__cpu_copy_work(const mia__cpu_copy *copy);
/* Units [begin, end). `out` and `in` are the first elements of the views. */
void mia__cpu_copy_run(const mia__cpu_copy *copy, char *out, const char *in, size_t begin, size_t end);

/* --- some places of a mode -------------------------------------------------------------------- */

/* `count` places of a mode of the output, from place `to` on, taken from place `from` of the input on, `step` apart
 * (0: all the same one; negative: backwards). */
typedef struct mia__cpu_part {
    uint32_t mode;
    int64_t to, from, step, count;
} mia__cpu_part;

/* Adds a phase that copies a part, unless it has no elements, and its work. The function runs it. */
void mia__cpu_part_add(mia__cpu_step *step, mia__cpu_function function, const mia__operand *input,
                       const mia__cpu_part *part);
void mia__cpu_part_run(const mia__cpu_task *task, const mia__operand *input, const char *in,
                       const mia__cpu_part *part, size_t begin, size_t end);

#endif
