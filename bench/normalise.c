/* Speed of softmax, norms and attention on the cpu backend: milliseconds of softmax, layer_norm and rms_norm of
 * 1024 rows of 4096 f32, and of attention (32 heads of 64, 4 of keys and values) by length, for one query and for
 * 128. Medians of several runs, with 1 and 2 threads (or those named on the command line).
 *
 *     normalise [THREADS...]         MIA_CPU_ISA=generic|avx2|avx512 caps the instruction set */
#include "kernels.h"
#include "timing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPEATS 15

/* One step and its buffers: operands, output, scratch. */
#define MOST (MIA__MAX_OPERANDS + 2)
typedef struct problem {
    mia__step step;
    mia__buffer buffers[MOST];
    mia__place places[MOST];
    uint32_t count;
} problem;

static void *allocate(mia__backend *backend, problem *p, size_t bytes) {
    mia__buffer *buffer = &p->buffers[p->count];
    must(backend->type->allocate(backend, bytes, buffer, NULL), "allocate");
    memset(buffer->host, 0, bytes);
    p->places[p->count++] = (mia__place){buffer, 0};
    return buffer->host;
}

static mia__operand operand(mia__backend *backend, problem *p, mia_dtype dtype, mia_shape shape) {
    mia__operand made = {.buffer = p->count, .dtype = dtype, .view = mia__view_compact(dtype, &shape)};
    size_t bytes = mia__view_bytes(dtype, &made.view);
    void *memory = allocate(backend, p, bytes);
    for (size_t i = 0; dtype == MIA_f32 && i < bytes / 4; i++)
        ((float *)memory)[i] = sinf((float)(i % 10007));
    for (size_t i = 0; dtype == MIA_f16 && i < bytes / 2; i++)
        ((uint16_t *)memory)[i] = (uint16_t)(0x3000 + i % 2000 + (i % 3 == 0 ? 0x8000 : 0));
    return made;
}

static void add(mia__backend *backend, problem *p, mia_dtype dtype, mia_shape shape) {
    mia__operand made = operand(backend, p, dtype, shape);
    p->step.inputs[p->step.input_count++] = made;
}

/* Median milliseconds of a run; frees the problem. */
static double measure(mia__backend *backend, problem *p, mia_shape result) {
    p->step.output = operand(backend, p, MIA_f32, result);
    p->step.scratch_bytes = backend->rules.scratch(backend->rules.context, NULL, &p->step);
    p->step.scratch = p->count;
    (void)allocate(backend, p, p->step.scratch_bytes + 1);
    mia__plan_buffer plan_buffers[MOST] = {{0}};
    mia__plan plan = {.steps = &p->step, .step_count = 1, .buffers = plan_buffers, .buffer_count = p->count};
    mia_status status = MIA_ERROR_INTERNAL;
    mia__run run = {.plan = &plan, .places = p->places, .completion = {completed, &status}};
    must(backend->type->compile(backend, &plan, &run.program, NULL), "compile");
    double samples[REPEATS], begin = now();
    backend->type->run(backend, &run);
    int turns = 1 + (int)(0.01 / (now() - begin + 1e-6));
    for (int i = 0; i < REPEATS; i++) {
        begin = now();
        for (int j = 0; j < turns; j++) backend->type->run(backend, &run);
        samples[i] = 1e3 * (now() - begin) / turns;
    }
    must(status, "run");
    qsort(samples, REPEATS, sizeof *samples, by_value);
    backend->type->discard(backend, run.program);
    for (uint32_t i = 0; i < p->count; i++) backend->type->release(backend, &p->buffers[i]);
    return samples[REPEATS / 2];
}

static double measure_rows(mia__backend *backend, mia_op op, uint32_t vectors) {
    problem p = {.step = {.op = op, .attributes.f[0] = 1e-5}};
    const mia_shape shape = MIA_SHAPE(4096, 1024);
    add(backend, &p, MIA_f32, shape);
    for (uint32_t i = 0; i < vectors; i++) add(backend, &p, MIA_f32, (mia_shape){1, {4096}});
    return measure(backend, &p, shape);
}

static double measure_attention(mia__backend *backend, mia_dtype cache, int64_t groups, int64_t length,
                                int64_t queries) {
    problem p = {.step = {.op = MIA_OP_attention, .attributes.f[0] = 0.125}};
    const mia_shape q = MIA_SHAPE(64, 32, queries), k = MIA_SHAPE(64, 2048, groups);
    add(backend, &p, MIA_f32, q);
    add(backend, &p, cache, k);
    add(backend, &p, cache, k);
    add(backend, &p, MIA_i32, (mia_shape){1, {1}});
    *(int32_t *)p.buffers[3].host = (int32_t)length;
    return measure(backend, &p, q);
}

static void report(unsigned threads) {
    static const int64_t lengths[] = {128, 512, 2048};
    mia_device_info info = {0};
    mia__backend *backend = open_cpu(threads, &info);
    printf("%s, ms\nsoftmax %.3f  layer_norm %.3f  rms_norm %.3f\n", info.description,
           measure_rows(backend, MIA_OP_softmax, 0), measure_rows(backend, MIA_OP_layer_norm, 2),
           measure_rows(backend, MIA_OP_rms_norm, 1));
    for (int i = 0; i < 6; i++) {
        mia_dtype cache = i % 2 == 0 ? MIA_f32 : MIA_f16;
        int64_t groups = i < 4 ? 4 : 32, queries = i / 2 == 1 ? 128 : 1;
        printf("attention, %s, %2d groups, %3d queries:", mia_dtype_describe(cache)->name, (int)groups,
               (int)queries);
        for (int j = 0; j < 3; j++)
            printf("  %d: %.4f", (int)lengths[j],
                   measure_attention(backend, cache, groups, lengths[j], queries));
        printf("\n");
        fflush(stdout);
    }
    backend->type->close(backend);
}

int main(int argc, char **argv) {
    return report_threads(argc, argv, report);
}
