/* What the machine can do at best, measured in a fraction of a second: to compare steps with. */
#ifndef MIA_CLI_LIMITS_H
#define MIA_CLI_LIMITS_H

#include "open.h"

typedef struct mia__cli_limits {
    double bytes_per_second; /* read and written by copying memory, all threads at once; of a GPU its own */
    double operations_per_second; /* of products of f32 matrices on the device */
} mia__cli_limits;

/* On a device of these options, which is opened for that. -1, or the exit code after a line. */
int mia__cli_measure_limits(const char *command, const mia__cli_model_options *options, mia__cli_limits *out);

#endif
