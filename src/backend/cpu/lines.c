/* Lines of any floating-point type and stride as contiguous numbers (lines.h). */
#include "backend/cpu/lines.h"

#include "base/half.h"

#include <string.h>

/* LOAD(i) for each element i of the line. */
#define GATHER(type, convert)                                                                                \
    do {                                                                                                     \
        const type *x = (const type *)(const void *)line.from;                                               \
        for (int64_t i = 0; i < (int64_t)count; i++) out[i] = convert(x[i * line.stride]);                   \
    } while (0)

#define SAME(x) (x)
#define WIDE(x) ((double)(x))

/* Halves with gaps between: gathered as they are, a few at a time, and widened together. */
static void gather_halves(const mia__cpu_kernels *kernels, mia__cpu_line line, size_t count, float *out) {
    uint16_t some[256];
    const uint16_t *x = (const uint16_t *)(const void *)line.from;
    for (size_t first = 0; first < count; first += 256) {
        size_t few = count - first < 256 ? count - first : 256;
        for (size_t i = 0; i < few; i++) some[i] = x[(int64_t)(first + i) * line.stride];
        (line.dtype == MIA_f16 ? kernels->widen_f16 : kernels->widen_bf16)(out + first, some, few);
    }
}

const float *mia__cpu_line_read(const mia__cpu_kernels *kernels, mia__cpu_line line, size_t count,
                                float *out) {
    const uint16_t *halves = (const uint16_t *)(const void *)line.from;
    bool dense = line.stride == 1 || count == 1;
    if (dense && line.dtype == MIA_f32) return (const float *)(const void *)line.from;
    if (line.dtype == MIA_f32)
        GATHER(float, SAME);
    else if (dense)
        (line.dtype == MIA_f16 ? kernels->widen_f16 : kernels->widen_bf16)(out, halves, count);
    else
        gather_halves(kernels, line, count, out);
    return out;
}

void mia__cpu_line_write(const mia__cpu_kernels *kernels, mia_dtype dtype, char *to, const float *from,
                         size_t count) {
    uint16_t *halves = (uint16_t *)(void *)to;
    if (dtype == MIA_f16)
        kernels->narrow_f16(halves, from, count);
    else if (dtype == MIA_bf16)
        kernels->narrow_bf16(halves, from, count);
    else if (to != (const char *)from)
        memmove(to, from, count * sizeof *from);
}

void mia__cpu_line_widen(mia__cpu_line line, size_t count, double *out) {
    switch (line.dtype) {
    case MIA_f64: GATHER(double, SAME); break;
    case MIA_f32: GATHER(float, WIDE); break;
    case MIA_f16: GATHER(uint16_t, mia__f16_to_f64); break;
    default: GATHER(uint16_t, mia__bf16_to_f64); break;
    }
}

void mia__cpu_store(mia_dtype dtype, char *to, int64_t i, double value) {
    switch (dtype) {
    case MIA_f64: ((double *)(void *)to)[i] = value; break;
    case MIA_f32: ((float *)(void *)to)[i] = (float)value; break;
    case MIA_f16: ((uint16_t *)(void *)to)[i] = mia__f64_to_f16(value); break;
    default: ((uint16_t *)(void *)to)[i] = mia__f64_to_bf16(value); break;
    }
}
