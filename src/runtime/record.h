/* Recording: what the exported operations (operations.c) hand to record.c. */
#ifndef MIA_RUNTIME_RECORD_H
#define MIA_RUNTIME_RECORD_H

#include "runtime/device.h"

/* Records an operation: takes the operands' handles over, checks types and shapes, and returns an owned
 * handle, poisoned when something was wrong. shape is for views that take one. */
mia_tensor mia__record(mia_op op, const mia_tensor *operands, uint32_t count,
                       const mia__attributes *attributes, const mia_shape *shape, const char *file, int line);

#endif
