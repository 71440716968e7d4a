/* Figures: time, memory, rates and spreads, measured and written for people. */
#ifndef MIA_CLI_FIGURES_H
#define MIA_CLI_FIGURES_H

#include <mia/lm.h>
#include <stddef.h>
#include <stdint.h>

double mia__cli_seconds(void);         /* of a clock that only goes forward */
uint64_t mia__cli_resident_peak(void); /* most bytes of memory that the process had; 0 when unknown */
double mia__cli_rate(size_t count, double seconds); /* a second; 0 when nothing was counted or measured */

/* "9.1 MiB", "512 bytes"; static enough: `out` holds at least 32 bytes. Returns out. */
char *mia__cli_format_bytes(uint64_t bytes, char *out, size_t size);

typedef struct mia__cli_spread {
    double median, least, most;
} mia__cli_spread;

/* Sorts the values. Zeros for none. */
mia__cli_spread mia__cli_spread_of(double *values, size_t count);

/* What a run ends with, on stderr. */
typedef struct mia__cli_run_figures {
    double load_ms;
    mia_generation_stats stats;
    uint64_t device_peak; /* bytes */
    const uint64_t *seed; /* NULL: not worth telling */
    const char *ending;   /* a line on why it ended; may be NULL */
} mia__cli_run_figures;

void mia__cli_print_run_figures(const mia__cli_run_figures *figures);

#endif
