/* Operations whose operands are larger than a backend binds (src/plan/split.c): every row and type of the conformance
 * test's random programs on two reference devices, one of which binds some hundred bytes. The results are the same bytes; what
 * cannot be cut is refused with both numbers, and never wrong. (Reading back operands that are still referred to may be
 * refused too, so that is not looked at here.)
 *
 * MIA_TEST_BACKEND=webgpu: the device that binds little is the GPU that it finds, whose numbers are near the reference's
 * (tolerance.h); tables, matrix products and a few rows that the seed decides, or MIA_TEST_ROW=name. */
#include "ops/draw.h"
#include "ops/tolerance.h"
#include "runtime/device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

typedef struct session {
    const row *row;
    mia_device *whole, *cut;
    uint64_t seed;
    int programs, pieces, refused, failures;
} session;

static uint64_t seed_of_run;
static bool on_gpu;

static mia_device *open_device(const char *backend) {
    mia_device_options options = {.backend = backend};
    mia_device *device = NULL;
    mia_error error = {0};
    mia_status status = mia_device_open(&options, &device, &error);
    if (on_gpu && status == MIA_ERROR_NOT_FOUND) {
        printf("skipped: %s\n", error.message);
        exit(77);
    }
    if (status != MIA_OK) fail_msg("%s", error.message);
    return device;
}

/* A GPU binds at multiples of 256 alone; elsewhere an f64 wants 8. */
static void limit_bindings(session *s) {
    mia__plan_rules *rules = &s->cut->backend->rules;
    rules->binding_bytes = (size_t)(on_gpu ? 256 : 64) << test_below(&s->seed, 6);
    if (!on_gpu) rules->alignment = (size_t)8 << 2 * test_below(&s->seed, 3);
}

static void report(session *s, const program *p, const char *fault) {
    if (++s->failures > 4) return;
    printf("  at most %zu bytes, aligned to %zu: %s\n    ", s->cut->backend->rules.binding_bytes,
           s->cut->backend->rules.alignment, fault);
    program_print(p);
}

/* On a GPU; elsewhere all bytes are the same. */
static void compare_numbers(session *s, const program *p, const result *want, const result *got) {
    int64_t count;
    double *a = numbers_of(want->dtype, &want->shape, want->bytes, &count);
    double *b = numbers_of(got->dtype, &got->shape, got->bytes, &count);
    double *slack = calloc((size_t)count + 1, sizeof *slack);
    bool eight_bits = p->row->form == SIGNATURE_MATMUL && is_block(p->dtype), near = true;
    if (a == NULL || b == NULL || slack == NULL) abort();
    tolerances(p, want, a, count, rounding_of(s->cut, false), slack);
    for (int64_t i = 0; i < count; i++) near = near && is_near(want->dtype, a[i], b[i], slack[i], eight_bits);
    if (!near) report(s, p, "other numbers than in one piece");
    free(a);
    free(b);
    free(slack);
}

static void compare(session *s, const program *p, const result *want, const result *got) {
    if (want->status == MIA_OK && got->status == MIA_ERROR_UNSUPPORTED) {
        s->refused++;
        if (strstr(got->error.message, "more than the") == NULL) report(s, p, got->error.message);
    } else if (got->status != want->status) {
        report(s, p, got->error.message);
    } else if (got->status == MIA_OK && on_gpu && !same_bytes_asked(p, want)) {
        compare_numbers(s, p, want, got);
    } else if (got->status == MIA_OK && memcmp(got->bytes, want->bytes, want->size) != 0) {
        report(s, p, "other bytes than in one piece");
    }
}

static void run_one(session *s, mia_dtype dtype, mia_dtype target) {
    program p;
    mia_error error = {0};
    program_draw(&s->seed, &p, s->row, dtype, target);
    for (uint32_t i = 0; i < p.count; i++) {
        if (!p.operands[i].repeated && operand_see(&p.operands[i], s->whole, &error) != MIA_OK)
            fail_msg("%s: an operand cannot be made: %s", s->row->name, error.message);
        if (p.operands[i].repeated) p.operands[i].kept = false;
    }
    mia__cache_clear(s->cut);
    limit_bindings(s);
    uint64_t before = mia_device_count(s->whole).kernels, before_cut = mia_device_count(s->cut).kernels;
    result want = program_run(&p, s->whole), got = program_run(&p, s->cut);
    s->programs++;
    s->pieces += mia_device_count(s->cut).kernels - before_cut > mia_device_count(s->whole).kernels - before;
    compare(s, &p, &want, &got);
    result_free(&want);
    result_free(&got);
    program_free(&p);
}

static void test_row(void **state) {
    session s = {.row = *state, .seed = seed_of_run ^ (uint64_t)((const row *)*state)->op << 48};
    bool pairs = s.row->form == SIGNATURE_DTYPE;
    int rounds = on_gpu ? 1 + 3 * !pairs : (getenv("MIA_TEST_LONG") != NULL ? 40 : 4) * (pairs ? 1 : 8);
    mia_error error = {0};
    s.whole = open_device("reference");
    s.cut = open_device(on_gpu ? "webgpu" : "reference");
    for (int d = 1; d < MIA_DTYPE_LIMIT; d++) {
        if ((s.row->types >> d & 1) == 0 || (on_gpu && d == MIA_f64)) continue;
        for (int target = 1; target < (pairs ? MIA_DTYPE_LIMIT : 2); target++) {
            if (pairs && mia_dtype_describe((mia_dtype)target)->bytes == 0) continue;
            if (pairs && on_gpu && target == MIA_f64) continue;
            for (int i = 0; i < rounds; i++) run_one(&s, (mia_dtype)d, (mia_dtype)target);
        }
    }
    if (mia_device_close(s.whole, &error) != MIA_OK || mia_device_close(s.cut, &error) != MIA_OK)
        fail_msg("%s: %s", s.row->name, error.message);
    printf("%-12s %5d programs, %5d in pieces, %5d refused\n", s.row->name, s.programs, s.pieces, s.refused);
    if (s.failures > 0) fail_msg("%s: %d failures", s.row->name, s.failures);
}

/* Compiling shaders takes long. */
static bool is_tested(const row *of, const char *only, uint64_t *seed) {
    bool drawn = !on_gpu || test_below(seed, 10) == 0;
    if (only != NULL) return strcmp(only, of->name) == 0;
    return drawn || of->op == MIA_OP_gather || of->op == MIA_OP_embedding || of->op == MIA_OP_matmul;
}

int main(void) {
    struct CMUnitTest tests[ROWS];
    size_t count = 0;
    const char *only = getenv("MIA_TEST_ROW"), *backend = getenv("MIA_TEST_BACKEND");
    seed_of_run = test_seed();
    uint64_t seed = seed_of_run;
    on_gpu = backend != NULL && strcmp(backend, "webgpu") == 0;
    only_normal_numbers = results_may_be_flushed = on_gpu;
    for (size_t i = 0; i < ROWS; i++)
        if (is_tested(&rows[i], only, &seed))
            tests[count++] = (struct CMUnitTest){
                .name = rows[i].name, .test_func = test_row, .initial_state = (void *)(uintptr_t)&rows[i]};
    return _cmocka_run_group_tests("split", tests, count, NULL, NULL);
}
