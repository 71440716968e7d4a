/* Dispatches of more workgroups in a mode than a GPU has room for there: the same programs on GPUs that say they have
 * room for few. Skipped where no GPU opens. */
#include "gpu/compare.h"

#include "support/seam.h"

#include <string.h>

#define WORKGROUPS 32 /* 1024 in a dispatch */

typedef struct product_case {
    mia_dtype dtype;
    int64_t depth, rows, columns, batches;
    bool norm; /* before it; else an addition behind it, which makes it a fused step too */
} product_case;

static const product_case products[] = {{MIA_f32, 64, 3000, 1, 1, true},   {MIA_f16, 64, 3000, 1, 1, true},
                                        {MIA_q8_0, 256, 3000, 1, 1, true}, {MIA_f16, 64, 2000, 3, 1, false},
                                        {MIA_f32, 8, 4, 1, 70, false},     {MIA_q4_0, 256, 2000, 3, 1, true},
                                        {MIA_f32, 16, 2200, 70, 1, false}, {MIA_f32, 32, 2200, 20, 1, true},
                                        {MIA_f16, 32, 2200, 20, 1, false}, {MIA_f32, 16, 40, 2200, 1, false}};

static mia_tensor record_product(mia_device *device, const void *what) {
    const product_case *c = what;
    mia_tensor w = constant(device, c->dtype, (mia_shape){3, {c->depth, c->rows, c->batches}}),
               x = upload(device, (mia_shape){3, {c->depth, c->columns, c->batches}}, 1);
    if (c->norm) x = mia_op_rms_norm(x, upload(device, (mia_shape){1, {c->depth}}, 2), 1e-5, NULL, 0);
    mia_tensor y = mia_op_matmul(w, x, NULL, 0);
    return c->norm ? y : mia_op_add(y, upload(device, (mia_shape){1, {c->rows}}, 3), NULL, 0);
}

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
