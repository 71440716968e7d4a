/* What the kernels of products in tiles share: weights and x read as quads, four numbers that follow each other, in one order
 * of a row's quads that is kind to how weights lie. */
#ifndef MIA_BACKEND_WEBGPU_TILES_H
#define MIA_BACKEND_WEBGPU_TILES_H

#include "backend/webgpu/product.h"

/* Whether weights and x of a product can be read in quads. */
bool mia__tiles_take(const mia__kernel *k, const mia__product *product);

/* Whether rows are runs of whole steps of any tile, and nobody has to look where they end. */
bool mia__tiles_whole(const mia__kernel *k, const mia__product *product);

/* Binds weights, and makes
 *     fn w_quad(row: u32, t: u32) -> vec4<f32>     quad t of a row of core 0 that w_row(n, batch) gives
 *     fn w_two(i: u32) -> vec2<u32>                four f16 or bf16 as they lie
 * and p.quads, how many a row has (of prepared weights, filled up to whole groups). */
bool mia__tiles_weights(mia__kernel *k, const mia__product *product);

/* Binds x and the norm's weights, and makes
 *     fn x_quad(row: u32, t: u32) -> vec4<f32>     of x, of a row that x_row(m, batch) gives; zeros past its end
 *     fn g_quad(t: u32) -> vec4<f32>               of the norm's weights, where there is one; the same */
bool mia__tiles_x(mia__kernel *k, const mia__product *product);

/* Products of many columns: false when the kernel does not take the step. */
bool mia__kernel_tiles(mia__kernel *k, const mia__product *product);
bool mia__kernel_matrices(mia__kernel *k, const mia__product *product);

/* Whether the GPU multiplies subgroup matrices of f16, 16 by 16 by 16, into f32, with subgroups of 32. */
bool mia__has_matrices(const mia__gpu_info *info);

/* x of a product as f16 in the step's scratch, normalised where there is a norm, which a dispatch of its own brings there: a
 * row of x after the other, zeros up to whole steps of 64 numbers; quads in the order of tiles.c, and numbers of quads that
 * meet prepared weights in the order 0, 2, 1, 3. Rows have mia__halves_quads quads, and are multiplied by powers of two;
 * from vec4 mia__halves_scales on there is a vec4 a row, whose first number, an f32's bits, takes that back. */
uint64_t mia__halves_quads(mia_dtype weights, uint64_t depth);
uint64_t mia__halves_scales(const mia__product *product);
size_t mia__halves_scratch(const mia__plan *plan, const mia__step *step);
bool mia__kernel_halves(mia__kernel *k, const mia__product *product);

#endif
