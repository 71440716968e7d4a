/* Prepared forms of matmul's constant weights [K, N]: groups of 16 rows (of N), interleaved so that one
 * vector holds the same place of 16 rows. The last group is filled up with zero rows.
 *
 *     f32, f16, bf16     [group][k][16]           one number each
 *     block-quantised    [group] quants, scales   of all blocks of the group; blocks.h draws them
 *
 * A form is a pure function of type and shape, the same for every instruction set. */
#ifndef MIA_BACKEND_CPU_FORMS_H
#define MIA_BACKEND_CPU_FORMS_H

#include "backend/cpu/blocks.h"
#include "backend/cpu/cpu.h"

#define MIA__CPU_FORM_INTERLEAVED 1u

/* rules.form: the form that matmul wants of its weights, key 0 for any other operand. */
mia__form mia__cpu_form(const void *context, const mia__plan *plan, const mia__step *step, uint32_t input);

/* backend.prepare */
mia_status mia__cpu_prepare(mia__backend *backend, mia_dtype dtype, const mia_shape *shape,
                            const mia__form *form, const void *raw, mia__buffer *into, mia_error *error);

/* Bytes of one group of k columns. */
size_t mia__cpu_group_bytes(mia_dtype dtype, int64_t k);

/* The parts of a group of block-quantised weights, from its block `first` (of 32 elements, the first of a
 * record) on. */
mia__cpu_quants mia__cpu_group_quants(mia_dtype dtype, int64_t k, const void *group, int64_t first);

/* Brings `blocks` blocks of 32 elements of up to 16 rows, `row_stride` bytes apart, into a group's quants and
 * scales. They are whole blocks of the type. */
void mia__cpu_interleave_blocks(mia_dtype dtype, const uint8_t *rows, size_t row_stride, unsigned count,
                                size_t blocks, uint8_t *quants, uint8_t *scales);

/* Brings `k` columns of up to 16 rows of f32, f16 or bf16 into f32 panels [k][16]; strides in elements. */
void mia__cpu_interleave_f32(mia_dtype dtype, const void *rows, int64_t k_stride, int64_t row_stride,
                             unsigned count, int64_t k, float *out);

#endif
