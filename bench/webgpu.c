/* What the webgpu backend reaches on this GPU, through the public API, a table each: a copy (the bandwidth that others are
 * measured by), matrix-vector products by type and shape, matrix products, tiny steps, reading four bytes.
 *
 *     webgpu [--quick] [--device BACKEND] [--adapter NAME] [vectors | matrices | overheads]...
 *
 * --quick is for drivers that compute on the CPU: everything tiny, to see that it runs. --device takes another backend,
 * to compare; --adapter a part of an adapter's name. The copy is always measured; without names all of the others are.
 *
 * Many products are one evaluation, so that what it costs to begin and end one does not count; they depend on each other and
 * go round over more weights than caches hold. Medians of several evaluations. Weights are no numbers that mean anything. */
#include "timing.h"

#include <mia/mia.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPEATS      9
#define MOST_WEIGHTS 512
#define MOST_STEPS   3072
/* Bytes of weights that vectors are multiplied by in turn: little of them is still in a cache when their turn comes again. */
#define ROTATED      1.1e9
#define WARM_SECONDS 2

typedef struct chain {
    mia_tensor_f32 x, one;
    int steps;
} chain;

typedef struct bench {
    const char *backend, *adapter;
    bool quick, vectors, matrices, overheads;
    mia_precision precision;
    bool no_fusion;
    uint8_t *numbers; /* weights' bytes, whatever the type */
    size_t bytes;
    mia_device *copier; /* where the copies are made */
    chain copies;
    double copy; /* bytes/s */
} bench;

static void must(mia_status status, const mia_error *error) {
    if (status == MIA_OK) return;
    fprintf(stderr, "webgpu: %s\n", error->message);
    exit(status == MIA_ERROR_NOT_FOUND ? 77 : 1);
}

static mia_device *open_device(const bench *b) {
    mia_webgpu_options webgpu = {.adapter = b->adapter};
    mia_device_options options = {
        .backend = b->backend, .webgpu = &webgpu, .precision = b->precision, .no_fusion = b->no_fusion};
    mia_device *device = NULL;
    mia_error error = {0};
    must(mia_device_open(&options, &device, &error), &error);
    return device;
}

static void close_device(mia_device *device) {
    mia_error error = {0};
    must(mia_device_close(device, &error), &error);
}

/* An evaluation is over when the GPU has been told of all of it; what is read has been computed. */
static void evaluate(mia_tensor_f32 value) {
    mia_error error = {0};
    float number;
    must(mia_tensor_eval(&value.untyped, 1, &error), &error);
    mia_tensor_f32 first = mia_ref(value);
    for (uint32_t mode = 0; mode < mia_tensor_shape(value.untyped).ndim; mode++)
        first = mia_slice(first, mode, 0, 1, 1);
    must(mia_read(first, &number, 1, &error), &error);
}

/* What is to be evaluated. */
typedef mia_tensor_f32 (*recorder)(void *user);

static double time_once(recorder record, void *user) {
    double begin = now();
    mia_tensor_f32 result = record(user);
    evaluate(result);
    double seconds = now() - begin;
    mia_unref(result);
    return seconds;
}

/* Median seconds of an evaluation of what `record` makes; the first, which compiles and loads, is not counted. */
static double measure(recorder record, void *user) {
    double seconds[REPEATS];
    (void)time_once(record, user);
    for (int i = 0; i < REPEATS; i++) seconds[i] = time_once(record, user);
    return median(seconds, REPEATS);
}

/* --- chains: a copy, tiny steps, a read ------------------------------------------------------- */

static mia_tensor_f32 record_copies(void *user) {
    const chain *c = user;
    mia_tensor_f32 x = mia_ref(c->x);
    for (int i = 0; i < c->steps; i++) x = mia_neg(x);
    return x;
}

static mia_tensor_f32 record_additions(void *user) {
    const chain *c = user;
    mia_tensor_f32 x = mia_ref(c->x);
    for (int i = 0; i < c->steps; i++) x = mia_add(x, mia_ref(c->one));
    return x;
}

/* Seconds of one step of many: the difference of two lengths, so that beginning, ending and memory for the result do not
 * count. */
static double measure_chain(recorder record, chain *c, int steps) {
    c->steps = steps;
    double shorter = measure(record, c);
    c->steps = 3 * steps;
    return (measure(record, c) - shorter) / (2 * steps);
}

/* Bytes a second of some copies. */
static double copy_some(bench *b) {
    chain some = {.x = b->copies.x, .steps = 10};
    double bytes = 8.0 * (double)mia_tensor_shape(some.x.untyped).extent[0] * some.steps;
    return bytes / time_once(record_copies, &some);
}

/* A GPU that had nothing to do, as while weights are loaded, has lowered its clock, and raises it after a second or so of work:
 * copies, until they are as fast as they were. */
static void warm_up(bench *b) {
    double begin = now();
    while (!b->quick && now() - begin < WARM_SECONDS && (copy_some(b) < 0.9 * b->copy || b->copy == 0)) {
    }
}

/* Each number is read and written: x becomes -x, one step after the other. */
static void copies(bench *b) {
    b->no_fusion = true;
    b->copier = open_device(b);
    b->no_fusion = false;
    const int64_t numbers = b->quick ? 1 << 20 : 1 << 27;
    printf("device: %s\n\n", mia_device_describe(b->copier).description);
    b->copies.x = mia_neg(mia_full(f32, b->copier, MIA_SHAPE(numbers), 1));
    evaluate(b->copies.x);
    warm_up(b);
    b->copy = 8.0 * (double)numbers / measure_chain(record_copies, &b->copies, b->quick ? 8 : 200);
    printf("copy: %.4g GB/s, read and written\n\n", 1e-9 * b->copy);
    fflush(stdout);
}

static void overheads(bench *b) {
    b->no_fusion = true;
    mia_device *device = open_device(b);
    chain c = {.x = mia_neg(mia_full(f32, device, MIA_SHAPE(1), 1)),
               .one = mia_full(f32, device, MIA_SHAPE(1), 1)};
    evaluate(c.x);
    double step = measure_chain(record_additions, &c, b->quick ? 32 : 1000);
    printf("dependent steps: %.2f us each\n", 1e6 * step);
    double reads[101];
    for (int i = -1; i < 101; i++) {
        float number;
        mia_error error = {0};
        double begin = now();
        must(mia_read(mia_ref(c.x), &number, 1, &error), &error);
        if (i >= 0) reads[i] = now() - begin;
    }
    printf("reading 4 bytes: %.1f us\n", 1e6 * median(reads, 101));
    for (int i = -1; i < 101; i++) {
        float number;
        mia_error error = {0};
        double begin = now();
        must(mia_read(mia_add(mia_ref(c.x), mia_ref(c.one)), &number, 1, &error), &error);
        if (i >= 0) reads[i] = now() - begin;
    }
    printf("one step, and reading 4 bytes of it: %.1f us\n\n", 1e6 * median(reads, 101));
    mia_unref(c.x);
    mia_unref(c.one);
    close_device(device);
    b->no_fusion = false;
    fflush(stdout);
}

/* --- products --------------------------------------------------------------------------------- */

typedef struct product {
    mia_tensor weights[MOST_WEIGHTS];
    mia_tensor_f32 x; /* all products' columns: each begins one further, so that none is another's double */
    mia_tensor_f32 sum;
    size_t weight_count, step_count;
    int64_t columns;
} product;

/* As in a model: each product is added to what those before it gave, in one step. */
static mia_tensor_f32 record_products(void *user) {
    const product *p = user;
    mia_tensor_f32 sum = mia_ref(p->sum);
    for (size_t i = 0; i < p->step_count; i++) {
        mia_tensor_f32 x = mia_slice(mia_ref(p->x), 1, (int64_t)i, p->columns, 1);
        sum = mia_add(sum, mia_matmul(p->weights[i % p->weight_count], x));
    }
    return sum;
}

static double bytes_of(mia_dtype type, int64_t k, int64_t n) {
    const mia_dtype_info *info = mia_dtype_describe(type);
    return (double)k / info->elements * info->bytes * (double)n;
}

static size_t limited(double wanted, size_t least, size_t most) {
    return wanted < (double)least ? least : wanted > (double)most ? most : (size_t)wanted;
}

/* Seconds of one product of w [k, n] and x [k, m], of many over `weights` different ones: the difference of `steps` and twice
 * as many, as of chains. */
static double time_product(bench *b, mia_dtype type, int64_t k, int64_t n, int64_t m, size_t weights,
                           size_t steps) {
    static product p;
    mia_device *device = open_device(b);
    p = (product){.weight_count = weights, .columns = m};
    if ((size_t)bytes_of(type, k, n) > b->bytes) {
        fprintf(stderr, "webgpu: weights too large\n");
        exit(1);
    }
    for (size_t i = 0; i < weights; i++)
        p.weights[i] = mia_tensor_constant(device, type, MIA_SHAPE(k, n), b->numbers, MIA__SITE);
    p.x = mia_neg(mia_full(f32, device, MIA_SHAPE(k, m + 2 * (int64_t)steps), 0.5));
    p.sum = mia_neg(mia_full(f32, device, MIA_SHAPE(n, m), 0.5));
    evaluate(p.x);
    evaluate(p.sum);
    p.step_count = steps;
    (void)time_once(record_products, &p); /* loads the weights */
    warm_up(b);
    double shorter = measure(record_products, &p);
    p.step_count = 2 * steps;
    double seconds = measure(record_products, &p) - shorter;
    mia_unref(p.x);
    mia_unref(p.sum);
    close_device(device);
    return seconds / (double)steps;
}

typedef struct shape {
    int64_t k, n;
} shape;

static void print_vectors(bench *b, const char *title, const mia_dtype *types, size_t type_count,
                          const shape *shapes, size_t shape_count) {
    printf("%s: GB/s of weights (share of the copy's)\n%-8s", title, "N x K");
    for (size_t s = 0; s < shape_count; s++) {
        char name[40];
        (void)snprintf(name, sizeof name, "%d x %d", (int)shapes[s].n, (int)shapes[s].k);
        printf("%20s", name);
    }
    printf("\n");
    for (size_t t = 0; t < type_count; t++) {
        printf("%-8s", mia_dtype_describe(types[t])->name);
        for (size_t s = 0; s < shape_count; s++) {
            double bytes = bytes_of(types[t], shapes[s].k, shapes[s].n);
            size_t weights = b->quick ? 2 : limited(ROTATED / bytes + 1, 2, MOST_WEIGHTS);
            size_t steps = b->quick ? 4 : limited(2e10 / bytes, weights, MOST_STEPS);
            double rate = bytes / time_product(b, types[t], shapes[s].k, shapes[s].n, 1, weights, steps);
            printf("%13.4g (%3.0f%%)", 1e-9 * rate, 100 * rate / b->copy);
            fflush(stdout);
        }
        printf("\n");
    }
    printf("\n");
}

static void vectors(bench *b) {
    static const mia_dtype types[] = {MIA_f32,  MIA_f16,  MIA_bf16, MIA_q8_0, MIA_q4_0, MIA_q4_1,
                                      MIA_q5_0, MIA_q5_1, MIA_q4_K, MIA_q5_K, MIA_q6_K};
    static const shape large[] = {{14336, 4096}, {4096, 14336}};
    static const mia_dtype few[] = {MIA_f16, MIA_q8_0, MIA_q4_0};
    static const shape small[] = {{2048, 2048}, {2048, 5632}, {5632, 2048}, {4096, 4096}, {2048, 32000}};
    static const shape huge[] = {{28672, 8192}};
    static const shape in_f32[] = {{3808, 4096}}, in_f16[] = {{7616, 4096}};
    static const shape tiny[] = {{512, 64}};
    if (b->quick) {
        print_vectors(b, "matrix by vector", types, sizeof types / sizeof *types, tiny, 1);
        return;
    }
    print_vectors(b, "matrix by vector", types, sizeof types / sizeof *types, large, 2);
    print_vectors(b, "a larger one", few, 3, huge, 1);
    print_vectors(b, "as many bytes as 4096 x 14336 of q8_0", &types[0], 1, in_f32, 1);
    print_vectors(b, "the same in f16", &types[1], 1, in_f16, 1);
    print_vectors(b, "smaller ones", few, 3, small, 5);
}

static double time_matrices(bench *b, mia_dtype type, shape s, int64_t m) {
    double operations = 2.0 * (double)s.k * (double)s.n * (double)m;
    size_t steps = b->quick ? 2 : limited(4e12 / operations, 6, 64);
    size_t weights = b->quick ? 1 : limited(2e8 / bytes_of(type, s.k, s.n), 1, steps);
    return 1e-12 * operations / time_product(b, type, s.k, s.n, m, weights, steps);
}

static void print_matrices(bench *b, const shape *shapes, const int64_t *columns, size_t count) {
    static const mia_dtype types[] = {MIA_f32, MIA_f16, MIA_q8_0, MIA_q4_0};
    printf("matrix by matrix, precision %s: TFLOP/s\n%-8s",
           b->precision == MIA_PRECISION_EXACT ? "exact" : "default", "N K M");
    for (size_t i = 0; i < count; i++) {
        char name[60];
        (void)snprintf(name, sizeof name, "%d %d %d", (int)shapes[i].n, (int)shapes[i].k, (int)columns[i]);
        printf("%16s", name);
    }
    printf("\n");
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        printf("%-8s", mia_dtype_describe(types[t])->name);
        for (size_t i = 0; i < count; i++) {
            printf("%16.4g", time_matrices(b, types[t], shapes[i], columns[i]));
            fflush(stdout);
        }
        printf("\n");
    }
    printf("\n");
}

static void matrices(bench *b) {
    static const shape shapes[] = {{1024, 1024}, {2048, 2048}, {4096, 4096},  {8192, 8192},
                                   {2048, 5632}, {5632, 2048}, {4096, 14336}, {14336, 4096}};
    static const int64_t columns[] = {1024, 2048, 4096, 8192, 512, 512, 512, 512};
    static const shape tiny[] = {{64, 64}};
    static const int64_t few[] = {64};
    for (int exact = 0; exact < 2; exact++) {
        b->precision = exact ? MIA_PRECISION_EXACT : MIA_PRECISION_DEFAULT;
        if (b->quick)
            print_matrices(b, tiny, few, 1);
        else
            print_matrices(b, shapes, columns, 8);
    }
    b->precision = MIA_PRECISION_DEFAULT;
}

/* --- the program ------------------------------------------------------------------------------ */

static void parse(bench *b, int argc, char **argv) {
    bool all = true;
    for (int i = 1; i < argc; i++) {
        bool *table = strcmp(argv[i], "vectors") == 0     ? &b->vectors
                      : strcmp(argv[i], "matrices") == 0  ? &b->matrices
                      : strcmp(argv[i], "overheads") == 0 ? &b->overheads
                                                          : NULL;
        if (table != NULL) {
            *table = true;
            all = false;
        } else if (strcmp(argv[i], "--quick") == 0) {
            b->quick = true;
        } else if (strcmp(argv[i], "--device") == 0 && i + 1 < argc) {
            b->backend = argv[++i];
        } else if (strcmp(argv[i], "--adapter") == 0 && i + 1 < argc) {
            b->adapter = argv[++i];
        } else {
            fprintf(stderr, "usage: webgpu [--quick] [--device BACKEND] [--adapter NAME] "
                            "[vectors | matrices | overheads]...\n");
            exit(2);
        }
    }
    if (all) b->vectors = b->matrices = b->overheads = true;
}

int main(int argc, char **argv) {
    bench b = {.backend = "webgpu"};
    parse(&b, argc, argv);
    b.bytes = b.quick ? 1 << 20 : (size_t)8192 * 28672 * 2;
    b.numbers = malloc(b.bytes);
    if (b.numbers == NULL) return 1;
    /* as numbers of every type these are small ones, scales too */
    for (size_t i = 0; i < b.bytes; i++) b.numbers[i] = (uint8_t)((i * 2654435761u >> 13) & 0x33);
    copies(&b);
    if (b.overheads) overheads(&b);
    if (b.vectors) vectors(&b);
    if (b.matrices) matrices(&b);
    mia_unref(b.copies.x);
    close_device(b.copier);
    free(b.numbers);
    return 0;
}
