/* Numbers made blocks and shorter floats, on rows that the conformance test draws rarely: few numbers that differ, none, an
 * outlier, runs of different sizes, more than f16's scales hold and less, digits that f16 has no room for. The webgpu backend gives
 * the cpu's bytes; with all that the GPU has, and with the least. Skipped where no GPU opens. */
#include "../unit/support.h"
#include "gpu/devices.h"

#include <mia/mia.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROW = 256, ROWS = 300, KINDS = 10 };

static uint64_t seed;
static float numbers[ROWS * ROW];

/* Number i of a row of a kind, before it is brought to the row's size; `one` is the row's own. */
static float number_of(int kind, int i, float one) {
    float x = test_uniform(&seed);
    switch (kind) {
    case 0: return x;
    case 1: return x * x * x;
    case 2: return one;
    case 3: return i % 3 == 0 ? one : -0.5f * one;
    case 4: return i == 77 ? 1000 * one : x;
    case 5: return ldexpf(x, -(i / 32 * 4));
    case 6: return one + x * 0x1p-10f;
    case 7: return (float)test_below(&seed, 9) - 4;
    case 8: return (float)(2048 + test_below(&seed, 2048)) + 0.25f * (float)(i % 4); /* digits past f16's */
    default: return i % 7 == 0 ? x : 0;
    }
}

/* Sizes around those of weights, and far beyond; not so small that formats of 32 meet numbers below the normal ones, of
 * which WGSL promises nothing. */
static void fill_row(int row) {
    int size = (int)(row % 2 == 0 ? test_below(&seed, 24) - 14 : test_below(&seed, 180) - 64);
    float one = test_uniform(&seed);
    for (int i = 0; i < ROW; i++) numbers[row * ROW + i] = ldexpf(number_of(row % KINDS, i, one), size);
}

static void *read_blocks(mia_device *device, mia_dtype dtype, size_t bytes) {
    const mia_shape shape = {2, {ROW, ROWS}};
    void *blocks = malloc(bytes);
    mia_error error = {0};
    assert_non_null(blocks);
    mia_tensor x = mia_tensor_upload(device, MIA_f32, shape, numbers, NULL, 0);
    if (mia_tensor_read(mia_op_convert(x, dtype, NULL, 0), blocks, bytes, &error, NULL, 0) != MIA_OK)
        fail_msg("%s", error.message);
    return blocks;
}

static void test_blocks(void **state) {
    (void)state;
#define TYPE(name, unused) MIA_##name,
    static const mia_dtype types[] = {MIA_TYPES_BLOCK(TYPE, 0) MIA_f16, MIA_bf16};
    for (int row = 0; row < ROWS; row++) fill_row(row);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        const mia_dtype_info *info = mia_dtype_describe(types[t]);
        size_t row_bytes = ROW / info->elements * info->bytes;
        char *want = read_blocks(devices[CPU], types[t], ROWS * row_bytes);
        for (size_t g = GPU; g < DEVICES; g++) {
            char *got = read_blocks(devices[g], types[t], ROWS * row_bytes);
            for (size_t row = 0; row < ROWS; row++)
                if (memcmp(got + row * row_bytes, want + row * row_bytes, row_bytes) != 0)
                    fail_msg("%s%s: row %zu of kind %zu has other bytes than the cpu's", info->name,
                             g == LEAST ? " with the least" : "", row, row % KINDS);
            free(got);
        }
        free(want);
    }
}

/* --- devices ----------------------------------------------------------------------------------------- */

static int set_up(void **state) {
    (void)state;
    seed = test_seed();
    open_devices();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_blocks)};
    return cmocka_run_group_tests_name("blocks", tests, set_up, close_devices);
}
