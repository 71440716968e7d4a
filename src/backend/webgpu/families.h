/* The families of kernels (kernel.h): each describes the dispatches of the steps it takes. */
#ifndef MIA_BACKEND_WEBGPU_FAMILIES_H
#define MIA_BACKEND_WEBGPU_FAMILIES_H

#include "backend/webgpu/kernel.h"

bool mia__kernel_elementwise(mia__kernel *k); /* single operations and fused chains: elementwise.c */
bool mia__kernel_arange(mia__kernel *k);
bool mia__kernel_concat(mia__kernel *k);
bool mia__kernel_convert(mia__kernel *k);
bool mia__kernel_copy(mia__kernel *k);
bool mia__kernel_embedding(mia__kernel *k);
bool mia__kernel_gather(mia__kernel *k);
bool mia__kernel_normalise(mia__kernel *k); /* softmax and norms */
bool mia__kernel_rope(mia__kernel *k);
bool mia__kernel_attention(mia__kernel *k);
bool mia__kernel_reduce(mia__kernel *k);
bool mia__kernel_cumsum(mia__kernel *k);
bool mia__kernel_sort(mia__kernel *k);
bool mia__kernel_convolve(mia__kernel *k);
bool mia__kernel_pool(mia__kernel *k);
bool mia__kernel_matmul(mia__kernel *k);
bool mia__kernel_matvec(mia__kernel *k);
bool mia__kernel_pad(mia__kernel *k);
bool mia__kernel_random(mia__kernel *k);
bool mia__kernel_roll(mia__kernel *k);
bool mia__kernel_scatter(mia__kernel *k);
bool mia__kernel_scatter_along(mia__kernel *k);
bool mia__kernel_take(mia__kernel *k);
bool mia__kernel_take_along(mia__kernel *k);
bool mia__kernel_triangle(mia__kernel *k);
bool mia__kernel_update(mia__kernel *k);

#endif
