/* Speed of the cpu backend's reductions, running sums and sorting: milliseconds, median and best of several runs,
 * and GB/s of what is read at best, with 1 and 2 threads (or those named on the command line).
 *
 *     reduce [THREADS...]            MIA_CPU_ISA=generic|avx2|avx512 caps the instruction set */
#include "kernels.h"
#include "timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPEATS 15

/* A line of the table: an operation, its operand and attributes. */
typedef struct work {
    const char *name;
    mia_op op;
    mia_dtype dtype;
    int64_t rows, columns; /* extents of modes 0 and 1 */
    int64_t attributes[3];
} work;

#define M 1048576
static const work works[] = {
    {"sum of rows", MIA_OP_sum, MIA_f32, 4096, 4096, {1, 0, 0}},
    {"sum of columns", MIA_OP_sum, MIA_f32, 4096, 4096, {2, 0, 0}},
    {"sum of rows of 64", MIA_OP_sum, MIA_f32, 64, 262144, {1, 0, 0}},
    {"sum of all", MIA_OP_sum, MIA_f32, 16 * M, 1, {1, 0, 0}},
    {"sum of all, f16", MIA_OP_sum, MIA_f16, 16 * M, 1, {1, 0, 0}},
    {"sum of all, i32", MIA_OP_sum, MIA_i32, 16 * M, 1, {1, 0, 0}},
    {"sum of all, f64", MIA_OP_sum, MIA_f64, 8 * M, 1, {1, 0, 0}},
    {"greatest of rows", MIA_OP_reduce_max, MIA_f32, 4096, 4096, {1, 0, 0}},
    {"greatest of rows of 3", MIA_OP_reduce_max, MIA_f32, 3, M, {1, 0, 0}},
    {"product of rows", MIA_OP_prod, MIA_f32, 4096, 4096, {1, 0, 0}},
    {"product of all, f64", MIA_OP_prod, MIA_f64, 8 * M, 1, {1, 0, 0}},
    {"argmax of rows", MIA_OP_argmax, MIA_f32, 4096, 4096, {1, 0, 0}},
    {"argmax of columns", MIA_OP_argmax, MIA_f32, 4096, 4096, {2, 0, 0}},
    {"argmax of all", MIA_OP_argmax, MIA_f32, 16 * M, 1, {1, 0, 0}},
    {"any of all", MIA_OP_any, MIA_bool8, 64 * M, 1, {1, 0, 0}},
    {"cumsum of rows", MIA_OP_cumsum, MIA_f32, 4096, 4096, {0, 0, 0}},
    {"cumsum of columns", MIA_OP_cumsum, MIA_f32, 4096, 4096, {1, 0, 0}},
    {"cumsum of all", MIA_OP_cumsum, MIA_f32, 16 * M, 1, {0, 0, 0}},
    {"sort 1M", MIA_OP_sort, MIA_f32, M, 1, {0, 0, 0}},
    {"sort 1M, f64", MIA_OP_sort, MIA_f64, M, 1, {0, 0, 0}},
    {"argsort 1M", MIA_OP_argsort, MIA_f32, M, 1, {0, 0, 0}},
    {"sort 4096 rows of 256", MIA_OP_sort, MIA_f32, 256, 4096, {0, 0, 0}},
    {"top 40 of 128k", MIA_OP_top_k, MIA_f32, 131072, 1, {0, 40, 1}},
    {"... their places", MIA_OP_top_k_indices, MIA_f32, 131072, 1, {0, 40, 1}},
    {"... in ascending order", MIA_OP_top_k_indices, MIA_f32, 131072, 1, {0, 40, 1}},
};

static mia__operand compact(uint32_t buffer, mia_dtype dtype, int64_t rows, int64_t columns) {
    const mia_shape shape = MIA_SHAPE(rows, columns);
    return (mia__operand){.buffer = buffer, .dtype = dtype, .view = mia__view_compact(dtype, &shape)};
}

/* Three buffers (operand, output, scratch), one step. */
typedef struct problem {
    mia__step step;
    mia__plan_buffer plan_buffers[3];
    mia__buffer buffers[3];
    mia__place places[3];
} problem;

static void fill(const work *w, void *x, int64_t count) {
    uint64_t state = 1;
    for (int64_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        float value = (float)(state >> 40) * 0x1p-23f - 1.0f;
        if (strstr(w->name, "ascending") != NULL) value = (float)i;
        if (w->dtype == MIA_f32)
            ((float *)x)[i] = value;
        else if (w->dtype == MIA_f64)
            ((double *)x)[i] = (double)value;
        else if (w->dtype == MIA_f16)
            ((uint16_t *)x)[i] = (uint16_t)(state >> 50);
        else if (w->dtype == MIA_bool8)
            ((uint8_t *)x)[i] = 0;
        else
            ((int32_t *)x)[i] = (int32_t)(state >> 33);
    }
}

static void make(mia__backend *backend, const work *w, problem *p) {
    *p = (problem){.step = {.op = w->op, .input_count = 1, .scratch = 2}};
    int64_t out[2] = {w->rows, w->columns};
    mia_op_class kind = mia_op_describe(w->op)->op_class;
    for (int m = 0; m < 2; m++)
        if (kind == MIA_CLASS_REDUCTION && (w->attributes[0] >> m & 1) != 0) out[m] = 1;
    if (w->op == MIA_OP_top_k || w->op == MIA_OP_top_k_indices) out[0] = w->attributes[1];
    bool places = w->op == MIA_OP_argmax || w->op == MIA_OP_argsort || w->op == MIA_OP_top_k_indices;
    memcpy(p->step.attributes.i, w->attributes, sizeof w->attributes);
    p->step.inputs[0] = compact(0, w->dtype, w->rows, w->columns);
    p->step.output = compact(1, places ? MIA_i32 : w->dtype, out[0], out[1]);
    p->step.scratch_bytes = backend->rules.scratch(backend->rules.context, NULL, &p->step);
    const size_t bytes[3] = {mia__view_bytes(w->dtype, &p->step.inputs[0].view),
                             (size_t)(out[0] * out[1]) * 8, p->step.scratch_bytes + 1};
    for (unsigned i = 0; i < 3; i++) {
        must(backend->type->allocate(backend, bytes[i], &p->buffers[i], NULL), "allocate");
        memset(p->buffers[i].host, 0, bytes[i]);
        p->places[i] = (mia__place){&p->buffers[i], 0};
    }
    fill(w, p->buffers[0].host, w->rows * w->columns);
}

/* Median and least seconds of a run. */
typedef struct times {
    double median, best;
} times;

static times measure(mia__backend *backend, const work *w) {
    problem p;
    make(backend, w, &p);
    mia__plan plan = {.steps = &p.step, .step_count = 1, .buffers = p.plan_buffers, .buffer_count = 3};
    mia_status status = MIA_ERROR_INTERNAL;
    mia__run run = {.plan = &plan, .places = p.places, .completion = {completed, &status}};
    must(backend->type->compile(backend, &plan, &run.program, NULL), "compile");
    double seconds[REPEATS];
    for (int i = -1; i < REPEATS; i++) {
        double begin = now();
        backend->type->run(backend, &run);
        if (i >= 0) seconds[i] = now() - begin;
    }
    must(status, "run");
    qsort(seconds, REPEATS, sizeof *seconds, by_value);
    backend->type->discard(backend, run.program);
    for (unsigned i = 0; i < 3; i++) backend->type->release(backend, &p.buffers[i]);
    return (times){seconds[REPEATS / 2], seconds[0]};
}

static void report(unsigned threads) {
    mia_device_info info = {0};
    mia__backend *backend = open_cpu(threads, &info);
    printf("%s\n%-24s%10s%10s%10s\n", info.description, "", "ms", "best", "GB/s");
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        const work *w = &works[i];
        times taken = measure(backend, w);
        double bytes = (double)(w->rows * w->columns) * mia_dtype_describe(w->dtype)->bytes;
        printf("%-24s%10.3f%10.3f%10.1f\n", w->name, 1e3 * taken.median, 1e3 * taken.best,
               1e-9 * bytes / taken.best);
        fflush(stdout);
    }
    backend->type->close(backend);
}

int main(int argc, char **argv) {
    return report_threads(argc, argv, report);
}
