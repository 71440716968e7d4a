/* Convolutions in two ways: each number alone (window.c), and many outputs at many places together (window_tiles.c). */
#ifndef MIA_BACKEND_WEBGPU_WINDOW_H
#define MIA_BACKEND_WEBGPU_WINDOW_H

#include "backend/webgpu/kernel.h"

#include "graph/ops.h"

/* Whether a step has channels, outputs and places enough. */
bool mia__convolve_in_tiles(const mia__step *step);

/* The rest of a dispatch whose operands, parameters and functions of the window are there. */
bool mia__convolve_tiles(mia__kernel *k);

#endif
