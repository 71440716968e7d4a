/* Movement and random numbers, in AVX2 with FMA and F16C. The code is the template. */
#define MIA_ISA   avx2
#define MIA_LANES 8
#include "backend/cpu/template/movement.h"
