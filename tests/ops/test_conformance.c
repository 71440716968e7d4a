/* Every operation of ops.def, for every type of its mask, on the cpu backend against the reference: random
 * programs of one operation, on every instruction set that the processor has (MIA_CPU_ISA), with 1, 2 and 3
 * threads, which have to give the same bits. Shapes, layouts and numbers are drawn (draw.h), the bound is the
 * row's (tolerance.h).
 *
 * No step of the cpu backend may run on a reference kernel.
 *
 * MIA_TEST_BACKEND=webgpu tests that backend instead, on the GPU that it finds, as it is and without what a GPU may lack.
 * WGSL promises nothing about NaN, infinities, numbers below the normal ones, so that none are drawn; it has no f64. With
 * MIA_TEST_EMULATED=1 it is tested as it computes on a large GPU, on a driver that has f16 (emulated_gpu.h).
 *
 * MIA_TEST_ROW=name runs one row alone, MIA_TEST_PART=2/8 every eighth from the second on, MIA_TEST_SAMPLE=4 as many that
 * the seed decides. */
#include "gpu/emulated_gpu.h"
#include "ops/draw.h"
#include "ops/tolerance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define THREADS       3
#define MOST_DEVICES  12
#define MOST_FAILURES 4

typedef struct tested {
    mia_device *device;
    const char *isa;
    uint32_t threads;
    bool exact;
} tested;

typedef struct session {
    const row *row;
    mia_device *reference;
    tested devices[MOST_DEVICES];
    uint32_t count;
    uint64_t seed;
    int failures, programs;
    int64_t numbers;
    double worst; /* largest error, as a share of what is allowed */
} session;

static uint64_t seed_of_run;
static bool on_gpu;

/* Opened once: rows find the pipelines of others. */
static session gpus;

static mia_device *open_device(const char *backend, uint32_t threads, bool exact) {
    mia_device_options options = {.backend = backend,
                                  .threads = threads,
                                  .precision = exact ? MIA_PRECISION_EXACT : MIA_PRECISION_DEFAULT};
    mia_device *device = NULL;
    mia_error error = {0};
    if (mia_device_open(&options, &device, &error) != MIA_OK) fail_msg("%s: %s", backend, error.message);
    return device;
}

static void open_gpus(session *s) {
    static const mia_webgpu_options least = {.default_limits = true,
                                             .without = MIA_WEBGPU_F16 | MIA_WEBGPU_SUBGROUPS |
                                                        MIA_WEBGPU_SUBGROUP_MATRIX | MIA_WEBGPU_PACKED_DOT};
    static const struct {
        const char *name;
        const mia_webgpu_options *webgpu;
        mia_precision precision;
    } ways[] = {{"webgpu", NULL, MIA_PRECISION_DEFAULT},
                {"webgpu with the least", &least, MIA_PRECISION_EXACT}};
    only_normal_numbers = results_may_be_flushed = true;
    bool emulated = getenv("MIA_TEST_EMULATED") != NULL;
    if (emulated) seam_emulates();
    for (size_t i = 0; i < (emulated ? 1 : sizeof ways / sizeof *ways); i++) {
        tested *t = &s->devices[s->count++];
        mia_device_options options = {
            .backend = "webgpu", .webgpu = ways[i].webgpu, .precision = ways[i].precision};
        mia_error error = {0};
        *t = (tested){.isa = ways[i].name, .threads = 1, .exact = ways[i].precision == MIA_PRECISION_EXACT};
        mia_status status = mia_device_open(&options, &t->device, &error);
        if (status != MIA_OK) {
            printf("%s: %s\n", status == MIA_ERROR_NOT_FOUND ? "skipped" : "error", error.message);
            exit(status == MIA_ERROR_NOT_FOUND ? 77 : 1);
        }
        printf("%s: %s\n", t->isa, mia_device_describe(t->device).description);
    }
    seam_away();
}

/* All devices that a row is tested on. An instruction set that the machine lacks shows as another's
 * description. */
static void open_on_cpu(session *s) {
    static const struct {
        const char *name, *shown;
    } sets[] = {{"generic", "portable C"}, {"avx2", "AVX2"}, {"avx512", "AVX-512"}};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        (void)setenv("MIA_CPU_ISA", sets[i].name, 1);
        for (uint32_t k = 0; k < THREADS + (s->row->form == SIGNATURE_MATMUL); k++) {
            tested t = {.isa = sets[i].name, .threads = k % THREADS + 1, .exact = k == THREADS};
            t.device = open_device("cpu", t.threads, t.exact);
            if (strstr(mia_device_describe(t.device).description, sets[i].shown) != NULL) {
                s->devices[s->count++] = t;
            } else {
                assert_int_equal(mia_device_close(t.device, NULL), MIA_OK);
            }
        }
    }
    (void)unsetenv("MIA_CPU_ISA");
}

static void open_all(session *s) {
    s->reference = open_device("reference", 1, false);
    if (!on_gpu) {
        open_on_cpu(s);
        return;
    }
    if (gpus.count == 0) open_gpus(&gpus);
    s->count = gpus.count;
    memcpy(s->devices, gpus.devices, sizeof gpus.devices);
}

static void close_devices(session *s) {
    mia_error error = {0};
    for (uint32_t i = 0; i < s->count; i++)
        if (mia_device_close(s->devices[i].device, &error) != MIA_OK) fail_msg("%s", error.message);
    s->count = 0;
}

static void close_all(session *s) {
    mia_error error = {0};
    if (!on_gpu) close_devices(s);
    if (mia_device_close(s->reference, &error) != MIA_OK) fail_msg("%s: %s", s->row->name, error.message);
}

static int close_gpus(void **state) {
    (void)state;
    close_devices(&gpus);
    return 0;
}

static void report(session *s, const program *p, const tested *t, const char *fault) {
    s->failures++;
    if (s->failures > MOST_FAILURES) return;
    printf("  %s, %u threads%s: %s\n    ", t->isa, (unsigned)t->threads, t->exact ? ", exact" : "", fault);
    program_print(p);
}

static void compare_numbers(session *s, const program *p, const tested *t, const result *want,
                            const result *got) {
    int64_t count;
    double *a = numbers_of(want->dtype, &want->shape, want->bytes, &count);
    double *b = numbers_of(got->dtype, &got->shape, got->bytes, &count);
    double *slack = calloc((size_t)count + 1, sizeof *slack);
    if (a == NULL || b == NULL || slack == NULL) abort();
    bool eight_bits = p->row->form == SIGNATURE_MATMUL && is_block(p->dtype) && !t->exact;
    tolerances(p, want, a, count, rounding_of(t->device, t->exact), slack);
    char fault[200];
    s->numbers += count;
    for (int64_t i = 0; i < count; i++) {
        double share = fabs(a[i] - b[i]) / slack[i];
        if (share > s->worst && slack[i] < (double)INFINITY) s->worst = share;
        if (is_near(want->dtype, a[i], b[i], slack[i], eight_bits)) continue;
        (void)snprintf(fault, sizeof fault,
                       "number %lld of %lld is %.9g, the reference gives %.9g, allowed %.3g", (long long)i,
                       (long long)count, b[i], a[i], slack[i]);
        report(s, p, t, fault);
        break;
    }
    free(a);
    free(b);
    free(slack);
}

static void compare(session *s, const program *p, const tested *t, const result *want, const result *got) {
    if (got->status != want->status)
        report(s, p, t, got->status == MIA_OK ? "runs, and the reference refuses it" : got->error.message);
    else if (got->status != MIA_OK)
        return;
    else if (got->kept_changed)
        report(s, p, t, "an operand that was still referred to was overwritten");
    else if (got->dtype != want->dtype || !same_shape(&got->shape, &want->shape))
        report(s, p, t, "the result has another shape or type");
    else if (!same_bytes_asked(p, want))
        compare_numbers(s, p, t, want, got);
    else if (memcmp(got->bytes, want->bytes, want->size) != 0)
        report(s, p, t, "other bytes than the reference");
    else
        s->numbers += elements_of(&want->shape);
}

/* Runs a program on every device. The first of each instruction set is compared with the reference, those
 * with more threads with the first. */
static void run_everywhere(session *s, const program *p, const result *want) {
    result first = {.status = MIA_OK};
    for (uint32_t i = 0; i < s->count; i++) {
        const tested *t = &s->devices[i];
        uint64_t fallbacks = mia_device_count(t->device).fallbacks;
        result got = program_run(p, t->device);
        if (mia_device_count(t->device).fallbacks != fallbacks)
            report(s, p, t, "ran on the reference kernel");
        if (t->threads == 1) {
            compare(s, p, t, want, &got);
        } else if (got.status != first.status || got.kept_changed ||
                   (got.status == MIA_OK && memcmp(got.bytes, first.bytes, got.size) != 0)) {
            report(s, p, t, "other bits than with 1 thread");
        }
        if (t->threads == 1 && !t->exact) {
            result_free(&first);
            first = got;
        } else {
            result_free(&got);
        }
    }
    result_free(&first);
}

static void run_one(session *s, mia_dtype dtype, mia_dtype target) {
    static const tested reference = {.isa = "reference", .threads = 1};
    program p;
    program_draw(&s->seed, &p, s->row, dtype, target);
    mia_error error = {0};
    for (uint32_t i = 0; i < p.count; i++)
        if (!p.operands[i].repeated && operand_see(&p.operands[i], s->reference, &error) != MIA_OK)
            fail_msg("%s: an operand cannot be made: %s", s->row->name, error.message);
    for (uint32_t i = 0; i < p.count; i++)
        if (p.operands[i].repeated) p.operands[i].kept = false;
    result want = program_run(&p, s->reference);
    s->programs++;
    if (want.status != p.expected)
        report(s, &p, &reference, want.status == MIA_OK ? "runs, and is to be refused" : want.error.message);
    if (want.kept_changed) report(s, &p, &reference, "an operand that was still referred to was overwritten");
    run_everywhere(s, &p, &want);
    result_free(&want);
    program_free(&p);
}

static void test_row(void **state) {
    session s = {.row = *state, .seed = seed_of_run ^ (uint64_t)((const row *)*state)->op << 48};
    bool full = getenv("MIA_TEST_LONG") != NULL, pairs = s.row->form == SIGNATURE_DTYPE;
    /* drivers on the CPU take long to compile shaders, and every program has its own */
    int rounds = on_gpu ? (pairs ? 1 : 2) : (full ? 20 : 3) * (pairs ? 1 : 4);
    open_all(&s);
    for (int d = 1; d < MIA_DTYPE_LIMIT; d++) {
        if ((s.row->types >> d & 1) == 0 || (on_gpu && d == MIA_f64)) continue;
        for (int target = 1; target < (pairs ? MIA_DTYPE_LIMIT : 2); target++) {
            if (pairs && mia_dtype_describe((mia_dtype)target)->bytes == 0) continue;
            if (pairs && on_gpu && (target == MIA_f64 || test_below(&s.seed, 3) > 0)) continue; /* a third */
            for (int i = 0; i < rounds; i++) run_one(&s, (mia_dtype)d, (mia_dtype)target);
        }
    }
    close_all(&s);
    printf("%-12s %5d programs, %9lld numbers compared, worst error %.3f of the bound\n", s.row->name,
           s.programs, (long long)s.numbers, s.worst);
    if (s.failures > 0) fail_msg("%s: %d failures", s.row->name, s.failures);
}

/* Which rows MIA_TEST_PART and MIA_TEST_SAMPLE leave. */
static bool choose_rows(struct CMUnitTest *tests) {
    const char *part = getenv("MIA_TEST_PART"), *sample = getenv("MIA_TEST_SAMPLE");
    unsigned of = 1, which = 1, left = sample != NULL ? (unsigned)strtoul(sample, NULL, 10) : (unsigned)ROWS;
    uint64_t seed = seed_of_run;
    size_t count = 0;
    if (part != NULL && (sscanf(part, "%u/%u", &which, &of) != 2 || of == 0)) return false;
    for (size_t i = 0; i < ROWS; i++) {
        bool drawn = (uint64_t)test_below(&seed, (int64_t)(ROWS - i)) < left;
        if (!drawn || i % of != which - 1) continue;
        left--;
        tests[count++] = (struct CMUnitTest){
            .name = rows[i].name, .test_func = test_row, .initial_state = (void *)(uintptr_t)&rows[i]};
    }
    return true;
}

int main(void) {
    struct CMUnitTest tests[ROWS] = {{0}};
    const char *backend = getenv("MIA_TEST_BACKEND"), *only = getenv("MIA_TEST_ROW");
    on_gpu = backend != NULL && strcmp(backend, "webgpu") == 0;
    seed_of_run = test_seed();
    if (!choose_rows(tests)) {
        (void)fprintf(stderr, "MIA_TEST_PART has the form 2/8\n");
        return 2;
    }
    if (only != NULL) cmocka_set_test_filter(only);
    return cmocka_run_group_tests_name("conformance", tests, NULL, close_gpus);
}
