/* What is compiled for a large GPU: one with subgroups of 32 and subgroup matrices, which drivers on CPUs do not have. A GPU
 * that computes nothing stands for it, and the library checks each shader (checker.h). Skipped where it cannot. */
#include "gpu/checker.h"
#include "gpu/record.h"
#include "ops/cells.h"

#include "support/recording_gpu.h"
#include "support/seam.h"

#include <string.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* --- large GPUs --------------------------------------------------------------------------------------- */

enum { LARGE = GPU, NARROW = LEAST }; /* the second with room for few workgroups in a mode */
#define WORKGROUPS 20

static uint32_t checked, with_matrices,
    wide;                  /* shaders; wide: with matrices, for more than there is room for */
static char refused[2000]; /* the first that is; empty: none */

static void check_pipeline(mia__gpu *gpu, const mia__gpu_shader *shader, mia__gpu_made made, void *user) {
    char message[1900];
    checked++;
    if (strstr(shader->wgsl, "subgroupMatrixMultiplyAccumulate") != NULL) {
        with_matrices++;
        if (strstr(shader->wgsl, "grid_x") != NULL) wide++;
    }
    if (!takes(shader->wgsl, message, sizeof message) && refused[0] == '\0')
        (void)snprintf(refused, sizeof refused, "%s: %s", shader->label, message);
    recording_gpu_type.pipeline(gpu, shader, made, user);
}

static void open_large(void) {
    const mia_device_options options = {.backend = "webgpu"};
    mia__gpu_info info = recording_info_large();
    if (library.dawn_2025) { /* has them in another form */
        info.features &= ~(uint32_t)MIA__GPU_SUBGROUP_MATRIX;
        info.matrix_count = 0;
    }
    seam_before(&recording_gpu_type);
    test_seam.type.pipeline = check_pipeline;
    recording_set(&(recording_settings){.info = &info});
    devices[LARGE] = open_for_test(&options);
    info.limits.workgroups = WORKGROUPS;
    devices[NARROW] = open_for_test(&options);
    recording_set(NULL);
    seam_away();
}

static void expect_taken(const char *what) {
    bool taken = refused[0] == '\0';
    if (!taken) print_error("%s: %s\n", what, refused);
    refused[0] = '\0';
    assert_true(taken);
}

typedef mia_tensor (*recorder)(mia_device *device, const void *what);

/* What the narrow one has no room for at all is none of this test's. */
static void compile(const char *name, recorder make, const void *what) {
    for (size_t g = LARGE; g <= NARROW; g++) {
        mia_error error = {0};
        mia_tensor t = make(devices[g], what);
        mia_status status = mia_tensor_eval(&t, 1, &error);
        if (status != MIA_OK &&
            (g == LARGE || strstr(error.message, "larger than the GPU's dispatches") == NULL))
            fail_msg("%s: %s", name, error.message);
        mia_op_unref(t, NULL, 0);
    }
    expect_taken(name);
}

/* --- every operation ---------------------------------------------------------------------------------- */

#define PROGRAMS 3

static uint64_t seed_of_rows;

static void test_rows(void **state) {
    (void)state;
    only_normal_numbers = true;
    for (size_t i = 0; i < ROWS; i++)
        for (int d = 1; d < MIA_DTYPE_LIMIT; d++) {
            if ((rows[i].types >> d & 1) == 0 || d == MIA_f64) continue;
            for (mia_dtype target = MIA_NONE; row_next_target(&rows[i], &target);)
                for (int n = 0; n < PROGRAMS; n++) {
                    program p;
                    program_draw_seen(&seed_of_rows, &p, &rows[i], (mia_dtype)d, target, devices[CPU]);
                    result r = program_run(&p, devices[LARGE]);
                    result_free(&r);
                    program_free(&p);
                    expect_taken(rows[i].name);
                }
        }
    printf("%u shaders\n", checked);
}

/* --- products, attention and convolutions in their large forms ------------------------------------------- */

/* So many more than before are compiled with matrices, where the library has them. */
static void expect_matrices(uint32_t before, uint32_t wide_before) {
    printf("%u shaders, %u with matrices, %u of them wide\n", checked, with_matrices, wide);
    assert_int_equal(with_matrices > before && wide > wide_before, !library.dawn_2025);
}

static void test_products(void **state) {
    (void)state;
    const uint32_t before = with_matrices, wide_before = wide;
    static const mia_dtype dtypes[] = {MIA_f32,  MIA_f16,  MIA_bf16, MIA_q8_0, MIA_q4_0, MIA_q4_1,
                                       MIA_q5_0, MIA_q5_1, MIA_q4_K, MIA_q5_K, MIA_q6_K};
    /* tiles of every size, and more of them in a mode than the narrow GPU has room for */
    static const product_case sizes[] = {{.depth = 256, .rows = 1300, .columns = 1, .batches = 1},
                                         {.depth = 256, .rows = 1300, .columns = 2, .batches = 1},
                                         {.depth = 256, .rows = 100, .columns = 5, .batches = 30},
                                         {.depth = 256, .rows = 1300, .columns = 20, .batches = 3},
                                         {.depth = 256, .rows = 1300, .columns = 100, .batches = 1},
                                         {.depth = 256, .rows = 1300, .columns = 700, .batches = 1},
                                         {.depth = 256, .rows = 500, .columns = 3200, .batches = 1}};
    char name[100];
    for (size_t d = 0; d < COUNT(dtypes); d++)
        for (size_t i = 0; i < COUNT(sizes); i++)
            for (int how = ALONE; how < FAR; how++) {
                product_case c = sizes[i];
                c.dtype = dtypes[d];
                c.around = (around)how;
                (void)snprintf(name, sizeof name, "product of %s, size %zu, way %d",
                               mia_dtype_describe(c.dtype)->name, i, how);
                compile(name, record_product, &c);
            }
    expect_matrices(before, wide_before);
}

static void test_attention(void **state) {
    (void)state;
    const uint32_t before = with_matrices, wide_before = wide;
    static const int64_t dims[] = {16, 32, 64, 80, 96, 128, 256, 7}, tokens[] = {1, 3, 40, 400};
    for (size_t d = 0; d < COUNT(dims); d++)
        for (size_t t = 0; t < COUNT(tokens); t++)
            for (int way = 0; way < 8; way++) {
                const attention_case c = {dims[d],       300, 1 + way % 2,    4,
                                          tokens[t],     300, (way & 1) != 0, (way & 2) != 0,
                                          (way & 4) != 0};
                compile("attention", record_attention, &c);
            }
    expect_matrices(before, wide_before);
}

static void test_convolutions(void **state) {
    (void)state;
    for (int64_t channels = 1; channels < 100; channels += 33)
        for (int way = 0; way < 4; way++) {
            const convolution_case c = {{4, {20, 30, channels, 2}},
                                        {4, {3, 3, channels, way % 2 == 0 ? 7 : 100}},
                                        {.before = {1, 1}, .after = {1, 1}},
                                        way / 2 == 1};
            compile("convolution", record_convolution, &c);
        }
    printf("%u shaders\n", checked);
}

/* --- the tests ---------------------------------------------------------------------------------------- */

static int open_all(void **state) {
    (void)state;
    seed_of_rows = draw_numbers();
    devices[CPU] = open_cpu();
    open_checker();
    open_large();
    return 0;
}

static int close_everything(void **state) {
    int failures = close_devices(state);
    close_checker();
    return failures;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_attention),
                                       cmocka_unit_test(test_convolutions), cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests_name("shaders", tests, open_all, close_everything);
}
