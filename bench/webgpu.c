/* What the webgpu backend reaches on this GPU, through the public API, a table each: a copy (the bandwidth that others are
 * measured by), matrix-vector products by type and shape, matrix products, tiny steps, reading four bytes.
 *
 *     webgpu [--quick] [--device BACKEND] [--adapter NAME] [vectors | matrices | overheads]...
 *
 * --quick is for drivers that compute on the CPU: everything tiny, to see that it runs. --device takes another backend,
 * to compare; --adapter a part of an adapter's name. The copy is always measured; without names all of the others are.
 *
 * Many products are one recorded tape, so that what it costs to record them and to begin and end a run does not count; they
 * depend on each other and go round over more weights than caches hold. Medians of several runs. Weights are no numbers that
 * mean anything. */
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
#define WARM_SECONDS 0.5
#define RUN_SECONDS  0.05 /* about, of the shorter run */
#define FEW_STEPS    4

/* Steps that lead from a vector or matrix to one of the same shape. */
typedef struct work {
    mia_tape *tape;
    mia_tensor_f32 from;
} work;

typedef struct bench {
    const char *backend, *adapter;
    bool quick, vectors, matrices, overheads;
    mia_precision precision;
    bool no_fusion;
    uint8_t *numbers; /* weights' bytes, whatever the type */
    size_t bytes;
    mia_device *copier; /* where the copies are made */
    work copies;
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

static void evaluate(mia_tensor_f32 value) {
    mia_error error = {0};
    must(mia_tensor_eval(&value.untyped, 1, &error), &error);
}

static size_t limited(double wanted, size_t least, size_t most) {
    return wanted < (double)least ? least : wanted > (double)most ? most : (size_t)wanted;
}

/* --- runs ------------------------------------------------------------------------------------- */

static work record(mia_tensor_f32 from, mia_tensor_f32 to) {
    mia_error error = {0};
    work w = {.from = from};
    must(mia_tape_record(&(mia_named){"from", from.untyped}, 1, &(mia_named){"to", to.untyped}, 1, &w.tape,
                         &error),
         &error);
    mia_unref(to);
    return w;
}

static void discard(work w) {
    mia_tape_close(w.tape);
    mia_unref(w.from);
}

/* A run is over when the GPU has been told of all of it; what is read has been computed. */
static double run(const work *w) {
    mia_error error = {0};
    float number;
    mia_tensor_f32 from = mia_ref(w->from), result;
    double begin = now();
    must(mia_tape_run(w->tape, &from.untyped, &result.untyped, &error), &error);
    mia_tensor_f32 first = mia_ref(result);
    for (uint32_t mode = 0; mode < mia_tensor_shape(result.untyped).ndim; mode++)
        first = mia_slice(first, mode, 0, 1, 1);
    must(mia_read(first, &number, 1, &error), &error);
    double seconds = now() - begin;
    mia_unref(result);
    return seconds;
}

/* A GPU that has little to do, as while weights are loaded, lowers its clock some seconds later, and raises it again after
 * some tenths of a second of work: copies for so long. */
static void warm_up(bench *b) {
    double begin = now();
    while (!b->quick && now() - begin < WARM_SECONDS) (void)run(&b->copies);
}

typedef work (*recorder)(const void *what, size_t steps);

/* Seconds of a step: the difference between some steps and twice as many, so that beginning and ending, and memory for the
 * result, do not count. As many as take RUN_SECONDS, but `least` or more; in turn, and nothing is done between runs that lets the
 * clock fall. */
static double time_step(bench *b, recorder make, const void *what, size_t least) {
    double seconds[REPEATS];
    work some = make(what, least);
    (void)run(&some); /* compiles and loads */
    warm_up(b);
    size_t steps = b->quick ? least : limited(RUN_SECONDS * (double)least / run(&some), least, MOST_STEPS);
    work shorter = make(what, steps), longer = make(what, 2 * steps);
    (void)run(&shorter);
    (void)run(&longer);
    warm_up(b);
    for (int i = 0; i < REPEATS; i++) {
        seconds[i] = -run(&shorter);
        seconds[i] += run(&longer);
    }
    discard(some);
    discard(shorter);
    discard(longer);
    return median(seconds, REPEATS) / (double)steps;
}

/* --- chains: a copy, tiny steps, a read ------------------------------------------------------- */

/* Each number is read and written: x becomes -x, one step after the other. */
static work record_copies(const void *x, size_t steps) {
    mia_tensor_f32 from = mia_ref(*(const mia_tensor_f32 *)x), to = mia_ref(from);
    for (size_t i = 0; i < steps; i++) to = mia_neg(to);
    return record(from, to);
}

static void copies(bench *b) {
    const int64_t numbers = b->quick ? 1 << 20 : 1 << 27;
    b->no_fusion = true;
    b->copier = open_device(b);
    b->no_fusion = false;
    printf("device: %s\n\n", mia_device_describe(b->copier).description);
    mia_tensor_f32 x = mia_neg(mia_full(f32, b->copier, MIA_SHAPE(numbers), 1));
    evaluate(x);
    b->copies = record_copies(&x, b->quick ? 8 : 200);
    b->copy = 8.0 * (double)numbers / time_step(b, record_copies, &x, b->quick ? 8 : 200);
    mia_unref(x);
    printf("copy: %.4g GB/s, read and written\n\n", 1e-9 * b->copy);
    fflush(stdout);
}

typedef struct addends {
    mia_tensor_f32 of, one;
} addends;

static work record_additions(const void *what, size_t steps) {
    const addends *s = what;
    mia_tensor_f32 to = mia_ref(s->of);
    for (size_t i = 0; i < steps; i++) to = mia_add(to, mia_ref(s->one));
    return record(mia_ref(s->of), to);
}

static void overheads(bench *b) {
    b->no_fusion = true;
    mia_device *device = open_device(b);
    addends s = {.of = mia_neg(mia_full(f32, device, MIA_SHAPE(1), 1)),
                 .one = mia_full(f32, device, MIA_SHAPE(1), 1)};
    evaluate(s.of);
    double step = time_step(b, record_additions, &s, b->quick ? 32 : 1000);
    printf("dependent steps: %.2f us each\n", 1e6 * step);
    double reads[101];
    for (int i = -1; i < 101; i++) {
        float number;
        mia_error error = {0};
        double begin = now();
        must(mia_read(mia_ref(s.of), &number, 1, &error), &error);
        if (i >= 0) reads[i] = now() - begin;
    }
    printf("reading 4 bytes: %.1f us\n", 1e6 * median(reads, 101));
    for (int i = -1; i < 101; i++) {
        float number;
        mia_error error = {0};
        double begin = now();
        must(mia_read(mia_add(mia_ref(s.of), mia_ref(s.one)), &number, 1, &error), &error);
        if (i >= 0) reads[i] = now() - begin;
    }
    printf("one step, and reading 4 bytes of it: %.1f us\n\n", 1e6 * median(reads, 101));
    mia_unref(s.of);
    mia_unref(s.one);
    close_device(device);
    b->no_fusion = false;
    fflush(stdout);
}

/* --- products --------------------------------------------------------------------------------- */

typedef struct product {
    mia_tensor weights[MOST_WEIGHTS];
    /* All products' columns: each time that weights are used they begin one further, so that no product is another's double. */
    mia_tensor_f32 x;
    mia_tensor_f32 sum;
    size_t weight_count;
    int64_t columns;
} product;

/* As in a model: each product is added to what those before it gave, in one step. */
static work record_products(const void *what, size_t steps) {
    const product *p = what;
    mia_tensor_f32 sum = mia_ref(p->sum);
    for (size_t i = 0; i < steps; i++) {
        mia_tensor_f32 x = mia_slice(mia_ref(p->x), 1, (int64_t)(i / p->weight_count), p->columns, 1);
        sum = mia_add(sum, mia_matmul(p->weights[i % p->weight_count], x));
    }
    return record(mia_ref(p->sum), sum);
}

static double bytes_of(mia_dtype type, int64_t k, int64_t n) {
    const mia_dtype_info *info = mia_dtype_describe(type);
    return (double)k / info->elements * info->bytes * (double)n;
}

/* Seconds of one product of w [k, n] and x [k, m], of many over `weights` different ones. */
static double time_product(bench *b, mia_dtype type, int64_t k, int64_t n, int64_t m, size_t weights) {
    static product p;
    mia_device *device = open_device(b);
    p = (product){.weight_count = weights, .columns = m};
    if (weights == 0 || (size_t)bytes_of(type, k, n) > b->bytes) {
        fprintf(stderr, "webgpu: no weights, or too large ones\n");
        exit(1);
    }
    for (size_t i = 0; i < weights; i++)
        p.weights[i] = mia_tensor_constant(device, type, MIA_SHAPE(k, n), b->numbers, MIA__SITE);
    const size_t least = weights < FEW_STEPS ? FEW_STEPS : weights;
    const int64_t times = 2 * (int64_t)((b->quick ? least : MOST_STEPS) / weights) + 1;
    p.x = mia_neg(mia_full(f32, device, MIA_SHAPE(k, m + times), 0.5));
    p.sum = mia_neg(mia_full(f32, device, MIA_SHAPE(n, m), 0.5));
    evaluate(p.x);
    evaluate(p.sum);
    double seconds = time_step(b, record_products, &p, least);
    mia_unref(p.x);
    mia_unref(p.sum);
    close_device(device);
    return seconds;
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
            double rate = bytes / time_product(b, types[t], shapes[s].k, shapes[s].n, 1, weights);
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
    size_t weights = b->quick ? 1 : limited(2e8 / bytes_of(type, s.k, s.n), 1, MOST_WEIGHTS);
    return 1e-12 * operations / time_product(b, type, s.k, s.n, m, weights);
}

static void print_matrices(bench *b, const mia_dtype *types, size_t type_count, const shape *shapes,
                           const int64_t *columns, size_t count) {
    printf("matrix by matrix, precision %s: TFLOP/s\n%-8s",
           b->precision == MIA_PRECISION_EXACT ? "exact" : "default", "N K M");
    for (size_t i = 0; i < count; i++) {
        char name[60];
        (void)snprintf(name, sizeof name, "%d %d %d", (int)shapes[i].n, (int)shapes[i].k, (int)columns[i]);
        printf("%16s", name);
    }
    printf("\n");
    for (size_t t = 0; t < type_count; t++) {
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
    static const mia_dtype types[] = {MIA_f32, MIA_f16, MIA_q8_0, MIA_q4_0}, exact[] = {MIA_f16};
    print_matrices(b, types, 4, b->quick ? tiny : shapes, b->quick ? few : columns, b->quick ? 1 : 8);
    b->precision = MIA_PRECISION_EXACT;
    print_matrices(b, exact, 1, b->quick ? tiny : shapes, b->quick ? few : columns, b->quick ? 1 : 8);
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
    discard(b.copies);
    close_device(b.copier);
    free(b.numbers);
    return 0;
}
