/* Dispatches of more workgroups in a mode than a GPU has room for there: the same programs on GPUs that say they have
 * room for few. Skipped where no GPU opens. */
#include "gpu/compare.h"

#include "support/seam.h"

#include <string.h>

#define WORKGROUPS 32 /* 1024 in a dispatch: 2 rows a workgroup is the least that any of these has */

static const product_case products[] = {{MIA_f32, 64, 2000, 1, 1, NORM},   {MIA_f16, 64, 2000, 1, 1, NORM},
                                        {MIA_q8_0, 256, 2000, 1, 1, NORM}, {MIA_f16, 64, 2000, 3, 1, SUM},
                                        {MIA_f32, 8, 4, 1, 70, SUM},       {MIA_q4_0, 256, 2000, 3, 1, NORM},
                                        {MIA_f32, 16, 2200, 70, 1, SUM},   {MIA_f32, 32, 2200, 20, 1, NORM},
                                        {MIA_f16, 32, 2200, 20, 1, SUM},   {MIA_f32, 16, 40, 2200, 1, SUM}};

static const attention_case attentions[] = {{32, 60, 1, 2, 200, 60, false, false, false},
                                            {16, 40, 40, 40, 3, 40, true, true, false},
                                            {32, 60, 1, 40, 1, 60, true, false, false},
                                            {8, 30, 2, 4, 300, 30, false, true, true}};

static const convolution_case convolutions[] = {
    {{4, {9, 9, 4, 40}}, {4, {3, 3, 4, 7}}, {.before = {1, 1}, .after = {1, 1}}, false},
    {{3, {2200, 20, 1}}, {3, {3, 20, 40}}, {.before = {1}}, true}};

/* --- dispatches -------------------------------------------------------------------------------------- */

static uint32_t widest,
    too_wide; /* workgroups of a dispatch; dispatches that have more in a mode than there is room for */

static void watch_dispatch(mia__gpu *gpu, mia__gpu_pipeline *pipeline, mia__gpu_bindings *bindings,
                           const uint32_t groups[3], int32_t stamp) {
    uint32_t all = groups[0] * groups[1] * groups[2];
    if (all > widest) widest = all;
    for (int m = 0; m < 3; m++)
        if (groups[m] > WORKGROUPS) too_wide++;
    mia__gpu_native.dispatch(gpu, pipeline, bindings, groups, stamp);
}

/* Each case has a dispatch that there is no room for in one mode. */
static void compare_wide(const char *name, size_t number, recorder record, const void *what, double bound) {
    widest = 0;
    compare(name, number, record, what, bound);
    if (widest <= WORKGROUPS) fail_msg("%s %zu: %u workgroups at the most", name, number, widest);
    assert_int_equal(too_wide, 0);
}

static void test_products(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        compare_wide("product", i, record_product, &products[i], products[i].dtype == MIA_f32 ? 1e-4 : 0.2);
}

static void test_attention(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof attentions / sizeof *attentions; i++)
        compare_wide("attention", i, record_attention, &attentions[i], 2e-3);
}

static void test_convolutions(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof convolutions / sizeof *convolutions; i++)
        compare_wide("convolution", i, record_convolution, &convolutions[i], 0.05);
}

static void few_workgroups(mia__gpu_info *info) {
    info->limits.workgroups = WORKGROUPS;
}

static int open_narrow(void **state) {
    seam_before(&mia__gpu_native);
    test_seam.change = few_workgroups;
    test_seam.type.dispatch = watch_dispatch;
    int result = set_up(state);
    seam_away();
    return result;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_attention),
                                       cmocka_unit_test(test_convolutions)};
    return cmocka_run_group_tests_name("wide", tests, open_narrow, close_devices);
}
