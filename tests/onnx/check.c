/* Comparison of numbers. */
#include "onnx/check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define ABSOLUTE 1e-6 /* near 0 */

/* ONNX's own runner takes 1e-3, which some files need: those of windows were made with 3.1415 for pi, that of
 * bicubic samples has four digits. */
double onnx_bound_of(const char *test) {
    static const char *const rough[] = {"test_blackmanwindow", "test_hammingwindow", "test_hannwindow",
                                        "test_gridsample_bicubic"};
    for (size_t i = 0; i < sizeof rough / sizeof *rough; i++)
        if (strncmp(test, rough[i], strlen(rough[i])) == 0) return 1e-3;
    return 1e-5;
}

static bool near(mia_dtype dtype, double expected, double got, double bound) {
    if (isnan(expected) || isnan(got)) return isnan(expected) && isnan(got);
    if (expected == got) return true;
    if (isinf(expected) || isinf(got) || mia_dtype_describe(dtype)->kind != MIA_KIND_FLOAT) return false;
    if (dtype == MIA_f16 && bound < 1e-3) bound = 1e-3;  /* 2^-10 */
    if (dtype == MIA_bf16 && bound < 8e-3) bound = 8e-3; /* 2^-7 */
    return fabs(expected - got) <= ABSOLUTE + bound * fabs(expected);
}

static void shape_text(const mia_shape *shape, char *text, size_t size) {
    size_t at = (size_t)snprintf(text, size, "[");
    for (uint32_t m = shape->ndim; m-- > 0 && at < size;)
        at += (size_t)snprintf(text + at, size - at, "%" PRId64 "%s", shape->extent[m], m > 0 ? ", " : "");
    if (at < size) (void)snprintf(text + at, size - at, "]");
}

static bool same_shape(const mia_shape *a, const mia_shape *b) {
    bool same = a->ndim == b->ndim;
    for (uint32_t m = 0; same && m < a->ndim; m++) same = a->extent[m] == b->extent[m];
    return same;
}

bool onnx_check_form(const onnx_value *expected, const onnx_value *got, char *message, size_t size) {
    if (expected->dtype != got->dtype) {
        (void)snprintf(message, size, "expected type %s, got %s", mia_dtype_describe(expected->dtype)->name,
                       mia_dtype_describe(got->dtype)->name);
        return false;
    }
    if (!same_shape(&expected->shape, &got->shape)) {
        char wanted[160], given[160];
        shape_text(&expected->shape, wanted, sizeof wanted);
        shape_text(&got->shape, given, sizeof given);
        (void)snprintf(message, size, "expected shape %s, got %s", wanted, given);
        return false;
    }
    return true;
}

bool onnx_check(const onnx_value *expected, const onnx_value *got, double bound, char *message, size_t size) {
    if (!onnx_check_form(expected, got, message, size)) return false;
    for (size_t i = 0; i < expected->count; i++) {
        double e = onnx_value_at(expected, i), g = onnx_value_at(got, i);
        if (near(expected->dtype, e, g, bound)) continue;
        (void)snprintf(message, size, "element %zu: expected %.9g, got %.9g", i, e, g);
        return false;
    }
    return true;
}
