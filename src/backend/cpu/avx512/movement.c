/* Movement and random numbers, in AVX-512 (F, BW, DQ, VL). The code is the template. */
#define MIA_ISA   avx512
#define MIA_LANES 16
#include "backend/cpu/template/movement.h"
