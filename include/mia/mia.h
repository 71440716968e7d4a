/* Mia: typed, lazy tensors and language models in C. Includes the whole public API. */
#ifndef MIA_MIA_H
#define MIA_MIA_H

#include <mia/custom.h>
#include <mia/device.h>
#include <mia/dtype.h>
#include <mia/layout.h>
#include <mia/lm.h>
#include <mia/memory.h>
#include <mia/ops.h>
#include <mia/status.h>
#include <mia/tape.h>
#include <mia/tensor.h>
#include <mia/version.h>
#include <mia/weights.h>

#endif
