/* Speed of the cpu backend's matrix product, by type of weights: GFLOP/s of squares and of 32 columns, and
 * for one column the GB/s at which weights are read. Medians of several runs, with 1 and 2 threads (or those
 * named on the command line).
 *
 *     matmul [THREADS...]            MIA_CPU_ISA=generic|avx2|avx512 caps the instruction set */
#include "kernels.h"
#include "timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPEATS            9
#define TYPE(name, unused) MIA_##name,

static mia__operand compact(uint32_t buffer, mia_dtype dtype, int64_t rows, int64_t columns) {
    const mia_shape shape = MIA_SHAPE(rows, columns);
    return (mia__operand){.buffer = buffer, .dtype = dtype, .view = mia__view_compact(dtype, &shape)};
}

/* Four buffers (weights, activations, output, scratch), one step. */
typedef struct product {
    mia__step step;
    mia__plan_buffer plan_buffers[4];
    mia__buffer buffers[4];
    mia__place places[4];
} product;

static void make(mia__backend *backend, product *p, mia_dtype dtype, int64_t k, int64_t n, int64_t m) {
    *p = (product){.step = {.op = MIA_OP_matmul, .input_count = 2, .scratch = 3}};
    p->step.inputs[0] = compact(0, dtype, k, n);
    p->step.inputs[1] = compact(1, MIA_f32, k, m);
    p->step.output = compact(2, MIA_f32, n, m);
    p->step.scratch_bytes = backend->rules.scratch(backend->rules.context, NULL, &p->step);
    p->plan_buffers[0].kind = MIA__BUFFER_FORM;

    size_t raw_bytes = mia__view_bytes(dtype, &p->step.inputs[0].view);
    void *raw = calloc(1, raw_bytes);
    if (raw == NULL) must(MIA_ERROR_NO_MEMORY, "weights");
    mia_shape shape = mia__view_shape(&p->step.inputs[0].view);
    mia__form form = backend->rules.form(backend->rules.context, NULL, &p->step, 0);
    const size_t bytes[4] = {form.bytes, (size_t)(k * m) * 4, (size_t)(n * m) * 4, p->step.scratch_bytes + 1};
    for (unsigned i = 0; i < 4; i++) {
        must(backend->type->allocate(backend, bytes[i], &p->buffers[i], NULL), "allocate");
        memset(p->buffers[i].host, 0, bytes[i]);
        p->places[i] = (mia__place){&p->buffers[i], 0};
    }
    float *x = p->buffers[1].host;
    for (int64_t i = 0; i < k * m; i++) x[i] = (float)(i % 251) - 125.0f;
    must(backend->type->prepare(backend, dtype, &shape, &form, raw, &p->buffers[0], NULL), "prepare");
    free(raw);
}

/* Median seconds of a run. */
static double measure(mia__backend *backend, mia_dtype dtype, int64_t k, int64_t n, int64_t m) {
    product p;
    make(backend, &p, dtype, k, n, m);
    mia__plan plan = {.steps = &p.step, .step_count = 1, .buffers = p.plan_buffers, .buffer_count = 4};
    mia_status status = MIA_ERROR_INTERNAL;
    mia__run run = {.plan = &plan, .places = p.places, .completion = {completed, &status}};
    must(backend->type->compile(backend, &plan, &run.program, NULL), "compile");
    double seconds[REPEATS];
    int turns = 1 + (int)(2e8 / ((double)k * (double)n * (double)m + 1e7));
    for (int i = -1; i < REPEATS; i++) {
        double begin = now();
        for (int j = 0; j < turns; j++) backend->type->run(backend, &run);
        if (i >= 0) seconds[i] = (now() - begin) / turns;
    }
    must(status, "run");
    qsort(seconds, REPEATS, sizeof *seconds, by_value);
    backend->type->discard(backend, run.program);
    for (unsigned i = 0; i < 4; i++) backend->type->release(backend, &p.buffers[i]);
    return seconds[REPEATS / 2];
}

static void report(unsigned threads) {
    static const mia_dtype types[] = {MIA_f32, MIA_f16, MIA_bf16, MIA_TYPES_BLOCK(TYPE, 0)};
    static const int64_t sides[] = {512, 1024, 2048};
    mia_device_info info = {0};
    mia__backend *backend = open_cpu(threads, &info);
    printf("%s\n%-8s%10s%10s%10s%14s%20s\n", info.description, "weights", "512", "1024", "2048", "M=32, 4096",
           "M=1, 8192 (GB/s)");
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        printf("%-8s", mia_dtype_describe(types[t])->name);
        for (size_t i = 0; i < 3; i++) {
            double side = (double)sides[i];
            printf("%10.1f",
                   2e-9 * side * side * side / measure(backend, types[t], sides[i], sides[i], sides[i]));
        }
        printf("%14.1f", 2e-9 * 4096 * 4096 * 32 / measure(backend, types[t], 4096, 4096, 32));
        const mia_dtype_info *type = mia_dtype_describe(types[t]);
        double bytes = 8192.0 * 8192.0 * type->bytes / type->elements;
        printf("%20.1f\n", 1e-9 * bytes / measure(backend, types[t], 8192, 8192, 1));
        fflush(stdout);
    }
    backend->type->close(backend);
}

int main(int argc, char **argv) {
    return report_threads(argc, argv, report);
}
