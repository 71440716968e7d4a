/* Lines of numbers of any floating-point type and stride, brought into contiguous f32 or f64 and back, for
 * families whose inner kernels want them so. A line that is so already is used where it is. */
#ifndef MIA_BACKEND_CPU_LINES_H
#define MIA_BACKEND_CPU_LINES_H

#include "backend/cpu/kernels.h"

#define MIA__CPU_TILE 4096 /* elements of a line at a time: 16 KB of f32 */

/* A line in memory: element i is `stride` elements after element i - 1. */
typedef struct mia__cpu_line {
    mia_dtype dtype;
    const char *from;
    int64_t stride;
} mia__cpu_line;

static inline int64_t mia__cpu_bytes(mia_dtype dtype) {
    return dtype == MIA_f64 ? 8 : dtype == MIA_f32 ? 4 : 2;
}

/* The line from element `first` on. */
static inline mia__cpu_line mia__cpu_line_at(mia__cpu_line line, int64_t first) {
    line.from += first * line.stride * mia__cpu_bytes(line.dtype);
    return line;
}

/* `count` elements of a line of f32, f16 or bf16 as contiguous f32: where they are, or in `tile`. */
const float *mia__cpu_line_read(const mia__cpu_kernels *kernels, mia__cpu_line line, size_t count,
                                float *tile);
/* `count` numbers to contiguous f32, f16 or bf16; f32 may be there already. */
void mia__cpu_line_write(const mia__cpu_kernels *kernels, mia_dtype dtype, char *to, const float *from,
                         size_t count);

/* The same for f64: a line of any of the four, in f64. */
void mia__cpu_line_widen(mia__cpu_line line, size_t count, double *out);
/* One number of any of the four to contiguous memory, element i. */
void mia__cpu_store(mia_dtype dtype, char *to, int64_t i, double value);

#endif
