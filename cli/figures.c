/* Measuring and writing figures (figures.h). */
#include "figures.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

double mia__cli_seconds(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return 0;
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

uint64_t mia__cli_resident_peak(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0 || usage.ru_maxrss < 0) return 0;
#ifdef __APPLE__
    return (uint64_t)usage.ru_maxrss;
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}

double mia__cli_rate(size_t count, double seconds) {
    return seconds > 0 ? (double)count / seconds : 0;
}

char *mia__cli_format_bytes(uint64_t bytes, char *out, size_t size) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        (void)snprintf(out, size, "%" PRIu64 " bytes", bytes);
        return out;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    for (; value >= 1024; unit++) value /= 1024;
    (void)snprintf(out, size, "%.1f %s", value, units[unit]);
    return out;
}

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

mia__cli_spread mia__cli_spread_of(double *values, size_t count) {
    if (count == 0) return (mia__cli_spread){0, 0, 0};
    qsort(values, count, sizeof *values, compare_doubles);
    double median = (values[(count - 1) / 2] + values[count / 2]) / 2;
    return (mia__cli_spread){.median = median, .least = values[0], .most = values[count - 1]};
}

static void print_rate(double rate) {
    if (rate > 0) fprintf(stderr, ", %.1f tokens/s", rate);
    fputc('\n', stderr);
}

static void print_stats(const mia_generation_stats *stats) {
    size_t read = stats->prompt_read, prompt = stats->prompt_tokens, generated = stats->generated_tokens;
    fputs("prompt: ", stderr);
    if (read > 0 && read < prompt) fprintf(stderr, "%zu of ", read);
    fprintf(stderr, "%zu token%s", prompt, prompt == 1 ? "" : "s");
    print_rate(mia__cli_rate(read, stats->prompt_seconds));
    fprintf(stderr, "generated: %zu token%s", generated, generated == 1 ? "" : "s");
    print_rate(mia__cli_rate(stats->generation_steps, stats->generation_seconds));
}

void mia__cli_print_run_figures(const mia__cli_run_figures *figures) {
    bool dim = isatty(STDERR_FILENO) == 1 && getenv("NO_COLOR") == NULL;
    char device[32], process[32];
    if (dim) fputs("\033[2m", stderr);
    if (figures->ending != NULL) fprintf(stderr, "%s\n", figures->ending);
    fprintf(stderr, "load: %.1f ms\n", figures->load_ms);
    print_stats(&figures->stats);
    fprintf(stderr, "peak memory: %s on the device, %s in all\n",
            mia__cli_format_bytes(figures->device_peak, device, sizeof device),
            mia__cli_format_bytes(mia__cli_resident_peak(), process, sizeof process));
    if (figures->seed != NULL) fprintf(stderr, "seed: %" PRIu64 "\n", *figures->seed);
    if (dim) fputs("\033[0m", stderr);
    fflush(stderr);
}
