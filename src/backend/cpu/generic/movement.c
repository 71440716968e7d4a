/* Movement and random numbers, in portable C. The code is the template. */
#define MIA_ISA   generic
#define MIA_LANES 4
#include "backend/cpu/template/movement.h"
