/* Products and attention by subgroup matrices against the cpu backend, on drivers that have none: their shaders run as
 * emulated.h rewrites them. Skipped where there is no f16. */
#include "gpu/compare.h"
#include "gpu/emulated.h"

#include "support/seam.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))
#define WORKGROUPS  12 /* in a mode, of a GPU that has little room */

/* --- GPUs that have matrices ---------------------------------------------------------------------------- */

static uint64_t seed_of_cases;
static uint32_t used; /* dispatches with matrices */
static mia__gpu_pipeline *by_matrices[1000];
static size_t by_matrices_count;

typedef struct making {
    mia__gpu_made made;
    void *user;
    bool matrices;
} making;

static void on_made(void *user, mia__gpu_pipeline *pipeline, mia_status status, const char *message) {
    making *m = user;
    if (m->matrices && by_matrices_count < COUNT(by_matrices)) by_matrices[by_matrices_count++] = pipeline;
    m->made(m->user, pipeline, status, message);
    free(m);
}

static void emulate_pipeline(mia__gpu *gpu, const mia__gpu_shader *shader, mia__gpu_made made, void *user) {
    making *m = malloc(sizeof *m);
    assert_non_null(m);
    *m = (making){made, user, strstr(shader->wgsl, "subgroupMatrixMultiplyAccumulate") != NULL};
    mia__gpu_shader other = *shader;
    char *wgsl = strstr(shader->wgsl, "enable subgroups;") != NULL ? emulate(shader->wgsl) : NULL;
    if (wgsl != NULL) other.wgsl = wgsl;
    mia__gpu_native.pipeline(gpu, &other, on_made, m);
    free(wgsl);
}

static void count_dispatch(mia__gpu *gpu, mia__gpu_pipeline *pipeline, mia__gpu_bindings *bindings,
                           const uint32_t groups[3], int32_t stamp) {
    for (size_t i = 0; i < by_matrices_count; i++)
        if (by_matrices[i] == pipeline) used++;
    mia__gpu_native.dispatch(gpu, pipeline, bindings, groups, stamp);
}

static void have_matrices(mia__gpu_info *info) {
    if ((info->features & MIA__GPU_F16) == 0) {
        printf("skipped: no f16\n");
        exit(77);
    }
    info->features |= MIA__GPU_SUBGROUPS | MIA__GPU_SUBGROUP_MATRIX;
    info->subgroup_least = info->subgroup_most = 32;
    info->matrices[0] = (mia__gpu_matrix){MIA_f16, MIA_f32, 16, 16, 16};
    info->matrix_count = 1;
    info->limits.workgroup_bytes -= EMULATED_BYTES;
}

static void have_little_room(mia__gpu_info *info) {
    have_matrices(info);
    info->limits.workgroups = WORKGROUPS;
}

static int open_all(void **state) {
    (void)state;
    const mia_device_options exact = {.backend = "cpu", .threads = 1, .precision = MIA_PRECISION_EXACT};
    seed_of_cases = draw_numbers();
    devices[CPU] = open_for_test(&exact);
    seam_before(&mia__gpu_native);
    test_seam.type.pipeline = emulate_pipeline;
    test_seam.type.dispatch = count_dispatch;
    test_seam.change = have_matrices;
    devices[GPU] = open_gpu(false);
    test_seam.change = have_little_room;
    devices[LEAST] = open_gpu(false);
    seam_away();
    return 0;
}

/* --- what is compared ------------------------------------------------------------------------------------- */

static void compare_matrices(const char *name, size_t number, recorder make, const void *what, double bound) {
    used = 0;
    compare(name, number, make, what, bound);
    if (used < 2) fail_msg("%s %zu: %u dispatches with matrices", name, number, used);
}

/* Drivers take seconds to compile each: a quick run has a few that the seed decides. */
static bool is_drawn(int64_t of) {
    return getenv("MIA_TEST_LONG") != NULL || test_below(&seed_of_cases, of) == 0;
}

/* x and weights are rounded to f16, sums of 256 products are below 16. */
static void test_products(void **state) {
    (void)state;
    static const mia_dtype dtypes[] = {MIA_f16,  MIA_q8_0, MIA_q4_0, MIA_q4_1, MIA_q5_0,
                                       MIA_q5_1, MIA_q4_K, MIA_q5_K, MIA_q6_K};
    /* tiles of 64 x 32 and of 64 x 64; of both more than WORKGROUPS in a mode */
    static const product_case sizes[] = {{.depth = 256, .rows = 800, .columns = 60, .batches = 2},
                                         {.depth = 256, .rows = 3200, .columns = 100, .batches = 1}};
    for (size_t d = 0; d < COUNT(dtypes); d++)
        for (size_t i = 0; i < COUNT(sizes); i++) {
            static const around ways[] = {ALONE, NORM, SUM, FAR};
            product_case c = sizes[i];
            c.dtype = dtypes[d];
            c.around = ways[test_below(&seed_of_cases, COUNT(ways))];
            if (!is_drawn(6)) continue;
            printf("%s, size %zu, way %d\n", mia_dtype_describe(c.dtype)->name, i, c.around);
            compare_matrices("product", i, record_product, &c, 0.02);
        }
}

static void test_attention(void **state) {
    (void)state;
    static const attention_case cases[] = {{16, 60, 1, 2, 200, 60, false, false, false},
                                           {32, 100, 2, 4, 90, 90, true, false, false},
                                           {32, 200, 1, 40, 20, 150, true, false, false},
                                           {16, 300, 3, 9, 300, 290, false, false, false},
                                           {32, 65, 10, 40, 9, 65, false, false, false}};
    for (size_t i = 0; i < COUNT(cases); i++)
        if (is_drawn(4)) compare_matrices("attention", i, record_attention, &cases[i], 3e-3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_attention)};
    return cmocka_run_group_tests_name("matrices", tests, open_all, close_devices);
}
