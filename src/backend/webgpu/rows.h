/* Operands that are read along mode 0, a row at a time, whatever their type and form: weights, tables, activations. */
#ifndef MIA_BACKEND_WEBGPU_ROWS_H
#define MIA_BACKEND_WEBGPU_ROWS_H

#include "backend/webgpu/kernel.h"

/* Binds an operand and makes, for `name` w:
 *     fn w_row(line: u32, batch: u32) -> u32     a row: of mode 1, and of the modes of `output` from 2 on, counted together;
 *                                                modes that the operand lacks, or has with extent 1, are repeated
 *     fn w_number(row: u32, i: u32) -> f32       number i of such a row
 * and the parameters of mia__kernel_view, and p.depth, the rows' length. */
bool mia__kernel_rows(mia__kernel *k, const char *name, const mia__operand *operand, const mia__view *output);

/* Its w_row alone, for a view that mia__kernel_view has. */
void mia__kernel_row(mia__kernel *k, const char *name, const mia__view *view, const mia__view *output);

#endif
