/* What a program computes on a GPU against what it computes on the cpu backend: with all that the GPU has, and with
 * WebGPU's least. */
#ifndef MIA_TESTS_GPU_COMPARE_H
#define MIA_TESTS_GPU_COMPARE_H

#include "gpu/record.h"

typedef mia_tensor (*recorder)(mia_device *device, const void *what);

/* Reads a value of 4 bytes an element; the caller frees. */
static void *read_value(mia_tensor t, size_t *count, mia_dtype *dtype) {
    const mia_shape shape = mia_tensor_shape(t);
    *dtype = mia_tensor_dtype(t);
    *count = 1;
    for (uint32_t m = 0; m < shape.ndim; m++) *count *= (size_t)shape.extent[m];
    void *values = malloc(*count * 4);
    mia_error error = {0};
    assert_non_null(values);
    if (mia_tensor_read(t, values, *count * 4, &error, NULL, 0) != MIA_OK) fail_msg("%s", error.message);
    return values;
}

static void compare(const char *name, size_t number, recorder record, const void *what, double bound) {
    size_t count, got_count;
    mia_dtype dtype, got_dtype;
    void *want = read_value(record(devices[CPU], what), &count, &dtype);
    for (size_t g = GPU; g < DEVICES; g++) {
        void *got = read_value(record(devices[g], what), &got_count, &got_dtype);
        assert_int_equal(got_count, count);
        assert_int_equal(got_dtype, dtype);
        for (size_t i = 0; i < count; i++) {
            double a = dtype == MIA_f32 ? (double)((float *)want)[i] : ((int32_t *)want)[i];
            double b = dtype == MIA_f32 ? (double)((float *)got)[i] : ((int32_t *)got)[i];
            if (!(fabs(a - b) <= bound))
                fail_msg("%s %zu%s: number %zu of %zu is %.9g, the cpu gives %.9g", name, number,
                         g == LEAST ? " with the least" : "", i, count, b, a);
        }
        free(got);
    }
    free(want);
}

static inline int set_up(void **state) {
    (void)state;
    (void)draw_numbers();
    open_devices();
    return 0;
}

#endif
