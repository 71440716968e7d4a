/* Time of reductions, norms and matmuls with what is before and behind them, through the public API: as fused steps,
 * and one by one. Best of some runs, in ms, with 1 and 2 threads (or those named on the command line).
 *
 *     fusion [THREADS...]       MIA_CPU_ISA=generic|avx2|avx512 caps the instruction set */
#include "timing.h"

#include <mia/mia.h>
#include <stdio.h>
#include <stdlib.h>

#define REPEATS 15
#define MOST    (4 << 20) /* numbers of an operand */

static void must(mia_status status, const mia_error *error) {
    if (status == MIA_OK) return;
    fprintf(stderr, "fusion: %s\n", error->message);
    exit(1);
}

/* What a row works on: x [k, m], y alike, weights [k, n] of a type, a vector [k]. */
typedef struct operands {
    mia_tensor_f32 x, y, vector;
    mia_tensor w[3];
} operands;

typedef struct shape {
    int64_t k, n, m;
    mia_dtype type;
} shape;

typedef int (*operation)(const operands *o, mia_tensor *out);

static mia_tensor_f32 product(const operands *o, int i, mia_tensor_f32 x) {
    return mia_matmul(o->w[i], x);
}

static int one(mia_tensor_f32 y, mia_tensor *out) {
    out[0] = MIA_UNTYPED(y);
    return 1;
}

static int sum_of_squares(const operands *o, mia_tensor *out) {
    return one(mia_sum(mia_square(mia_ref(o->x)), MIA_ALL_MODES), out);
}
static int sum_of_rows(const operands *o, mia_tensor *out) {
    return one(mia_sqrt(mia_mean(mia_mul(mia_ref(o->x), mia_ref(o->y)), 1)), out);
}
static int sum_of_columns(const operands *o, mia_tensor *out) {
    return one(mia_sum(mia_mul(mia_ref(o->x), mia_ref(o->y)), 2), out);
}
static int sum_of_sigmoids(const operands *o, mia_tensor *out) {
    return one(mia_sum(mia_sigmoid(mia_ref(o->x)), 1), out);
}
static int softmax_of_sum(const operands *o, mia_tensor *out) {
    return one(mia_softmax(mia_add(mia_ref(o->x), mia_ref(o->y))), out);
}
static int norm_of_sum(const operands *o, mia_tensor *out) {
    return one(mia_rms_norm(mia_add(mia_ref(o->x), mia_ref(o->y)), mia_ref(o->vector), 1e-5), out);
}
static int gelu_of_norm(const operands *o, mia_tensor *out) {
    return one(mia_gelu(mia_rms_norm(mia_ref(o->x), mia_ref(o->vector), 1e-5)), out);
}
static int bias_and_gelu(const operands *o, mia_tensor *out) {
    return one(mia_gelu(product(o, 0, mia_ref(o->x))), out);
}
static int gate_and_up(const operands *o, mia_tensor *out) {
    mia_tensor_f32 gate = mia_silu(product(o, 0, mia_ref(o->x)));
    return one(mia_mul(gate, product(o, 1, mia_ref(o->x))), out);
}
static int three_products(const operands *o, mia_tensor *out) {
    for (int i = 0; i < 3; i++) out[i] = MIA_UNTYPED(product(o, i, mia_ref(o->x)));
    return 3;
}
static int product_of_silu(const operands *o, mia_tensor *out) {
    return one(product(o, 0, mia_mul(mia_silu(mia_ref(o->x)), mia_ref(o->y))), out);
}
static int product_of_norm(const operands *o, mia_tensor *out) {
    return one(product(o, 0, mia_rms_norm(mia_ref(o->x), mia_ref(o->vector), 1e-5)), out);
}

static double measure(mia_device *device, operation make, const shape *s, const float *numbers) {
    mia_error error = {0};
    double least = 1e9;
    operands o = {.x = mia_upload(f32, device, MIA_SHAPE(s->k, s->m), numbers),
                  .y = mia_upload(f32, device, MIA_SHAPE(s->k, s->m), numbers),
                  .vector = mia_upload(f32, device, MIA_SHAPE(s->k), numbers)};
    for (int i = 0; s->n > 0 && i < 3; i++)
        o.w[i] = mia_tensor_constant(device, s->type, MIA_SHAPE(s->k, s->n), numbers, NULL, 0);
    for (int i = -2; i < REPEATS; i++) {
        mia_tensor out[3];
        int count = make(&o, out);
        double begin = now();
        must(mia_tensor_eval(out, (size_t)count, &error), &error);
        if (i >= 0 && now() - begin < least) least = now() - begin;
        for (int k = 0; k < count; k++) mia_op_unref(out[k], NULL, 0);
    }
    mia_unref(o.x);
    mia_unref(o.y);
    mia_unref(o.vector);
    return least;
}

static mia_device *open_device(unsigned threads, bool no_fusion) {
    mia_error error = {0};
    mia_device *device = NULL;
    mia_device_options options = {.threads = threads, .no_fusion = no_fusion};
    must(mia_device_open(&options, &device, &error), &error);
    return device;
}

static void report(unsigned threads, const float *numbers) {
    static const struct {
        const char *name;
        operation make;
        shape shape;
    } rows[] = {
        {"sum of squares, 4M", sum_of_squares, {1024, 0, 4096, MIA_f32}},
        {"sqrt of means of x y, rows of 1024", sum_of_rows, {1024, 0, 4096, MIA_f32}},
        {"sqrt of means of x y, rows of 16", sum_of_rows, {16, 0, 65536, MIA_f32}},
        {"sum of x y over columns", sum_of_columns, {1024, 0, 4096, MIA_f32}},
        {"sum of sigmoids, rows of 1024", sum_of_sigmoids, {1024, 0, 4096, MIA_f32}},
        {"softmax of x + y, rows of 1024", softmax_of_sum, {1024, 0, 4096, MIA_f32}},
        {"softmax of x + y, rows of 16", softmax_of_sum, {16, 0, 65536, MIA_f32}},
        {"softmax of x + y, rows of 32768", softmax_of_sum, {32768, 0, 128, MIA_f32}},
        {"rms_norm of x + y, rows of 1024", norm_of_sum, {1024, 0, 4096, MIA_f32}},
        {"gelu of rms_norm, rows of 1024", gelu_of_norm, {1024, 0, 4096, MIA_f32}},
        {"gelu of rms_norm, rows of 64", gelu_of_norm, {64, 0, 16384, MIA_f32}},
        {"gelu of w x, f32 512 x 512 x 512", bias_and_gelu, {512, 512, 512, MIA_f32}},
        {"gelu of w x, q8_0 512 x 512 x 512", bias_and_gelu, {512, 512, 512, MIA_q8_0}},
        {"silu(g x) u x, q8_0 768 x 2048 x 256", gate_and_up, {768, 2048, 256, MIA_q8_0}},
        {"silu(g x) u x, q8_0 768 x 2048 x 1", gate_and_up, {768, 2048, 1, MIA_q8_0}},
        {"silu(g x) u x, f32 512 x 1024 x 128", gate_and_up, {512, 1024, 128, MIA_f32}},
        {"silu(g x) u x, q8_0 128 x 256 x 1", gate_and_up, {128, 256, 1, MIA_q8_0}},
        {"q x, k x, v x, q8_0 768 x 768 x 256", three_products, {768, 768, 256, MIA_q8_0}},
        {"q x, k x, v x, q8_0 768 x 768 x 1", three_products, {768, 768, 1, MIA_q8_0}},
        {"w (silu(x) y), q8_0 2048 x 768 x 256", product_of_silu, {2048, 768, 256, MIA_q8_0}},
        {"w rms_norm(x), q8_0 768 x 768 x 256", product_of_norm, {768, 768, 256, MIA_q8_0}},
        {"w rms_norm(x), q8_0 768 x 768 x 1", product_of_norm, {768, 768, 1, MIA_q8_0}},
    };
    mia_device *fused = open_device(threads, false), *single = open_device(threads, true);
    printf("%s\n%-40s%12s%12s\n", mia_device_describe(fused).description, "ms", "fused", "one by one");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        printf("%-40s%12.4f", rows[i].name, 1e3 * measure(fused, rows[i].make, &rows[i].shape, numbers));
        printf("%12.4f\n", 1e3 * measure(single, rows[i].make, &rows[i].shape, numbers));
        fflush(stdout);
    }
    must(mia_device_close(fused, NULL), NULL);
    must(mia_device_close(single, NULL), NULL);
}

int main(int argc, char **argv) {
    float *numbers = malloc(MOST * sizeof *numbers);
    if (numbers == NULL) return 1;
    for (size_t i = 0; i < MOST; i++) numbers[i] = (float)(i % 8191) * 0x1p-11f - 2.0f;
    for (int i = 1; i < argc; i++) report((unsigned)strtoul(argv[i], NULL, 10), numbers);
    if (argc == 1) {
        report(1, numbers);
        report(2, numbers);
    }
    free(numbers);
    return 0;
}
