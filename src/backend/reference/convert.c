/* Conversion of numbers between any two types. Every scalar number fits a double, so all go by way of it and
 * are rounded once: to nearest even, saturated at the ends of integer types, NaN to 0. Rows of block types
 * are decoded and encoded block by block; numbers reach an encoder as f32. Work is in runs of a row, which a
 * backend may share among threads. */
#include "backend/reference/element.h"

#include "base/block.h"

#include <math.h>

static int64_t saturate(double value, double low, double high) {
    if (isnan(value)) return 0;
    double whole = rint(value);
    return (int64_t)(whole < low ? low : whole > high ? high : whole);
}

void mia__store_number(mia_dtype dtype, void *base, int64_t at, double value) {
    switch (dtype) {
    case MIA_i32: mia__store_whole(dtype, base, at, saturate(value, INT32_MIN, INT32_MAX)); break;
    case MIA_u32: mia__store_whole(dtype, base, at, saturate(value, 0, UINT32_MAX)); break;
    case MIA_i8: mia__store_whole(dtype, base, at, saturate(value, INT8_MIN, INT8_MAX)); break;
    case MIA_u8: mia__store_whole(dtype, base, at, saturate(value, 0, UINT8_MAX)); break;
    case MIA_bool8: ((uint8_t *)base)[at] = value != 0; break;
    default: mia__store(dtype, base, at, value); break;
    }
}

/* Elements first .. first+count-1 of a row that starts at unit `at`: a whole number of blocks where there are
 * any. */
static void store_run(const mia__operand *operand, void *base, int64_t at, int64_t first, int64_t count,
                      const double *in) {
    const mia__block_format *format = mia__block_find(operand->dtype);
    if (format != NULL) {
        float numbers[MIA__BLOCK_MOST];
        for (int64_t i = 0; i < count; i++) numbers[i] = (float)in[i];
        int64_t block = at + first / format->elements;
        mia__block_encode(format, numbers, (uint8_t *)base + block * format->bytes, count);
        return;
    }
    int64_t stride = operand->view.ndim > 0 ? operand->view.stride[0] : 0;
    for (int64_t i = 0; i < count; i++)
        mia__store_number(operand->dtype, base, at + (first + i) * stride, in[i]);
}

/* Runs that a row is cut into. */
static int64_t runs_of(const mia__view *view) {
    return (mia__extent(view, 0) + MIA__BLOCK_MOST - 1) / MIA__BLOCK_MOST;
}

size_t mia__reference_convert_runs(const mia__step *step) {
    const mia__view *out = &step->output.view;
    int64_t count = runs_of(out);
    for (uint32_t i = 1; i < out->ndim; i++) count *= out->extent[i];
    return (size_t)count;
}

/* Where row `row` of a view is. */
static int64_t row_at(const mia__view *view, int64_t row) {
    int64_t at = view->offset;
    for (uint32_t i = 1; i < view->ndim; i++) {
        at += row % view->extent[i] * view->stride[i];
        row /= view->extent[i];
    }
    return at;
}

void mia__reference_convert_part(const mia__kernel_args *args, size_t begin, size_t end) {
    const mia__operand *in = &args->step->inputs[0], *out = &args->step->output;
    int64_t length = mia__extent(&out->view, 0), runs = runs_of(&out->view);
    for (size_t unit = begin; unit < end; unit++) {
        double run[MIA__BLOCK_MOST];
        int64_t row = (int64_t)unit / runs, first = (int64_t)unit % runs * MIA__BLOCK_MOST;
        int64_t count = length - first < MIA__BLOCK_MOST ? length - first : MIA__BLOCK_MOST;
        mia__load_run(in, args->inputs[0], row_at(&in->view, row), first, count, run);
        store_run(out, args->output, row_at(&out->view, row), first, count, run);
    }
}

void mia__reference_convert(const mia__kernel_args *args) {
    mia__reference_convert_part(args, 0, mia__reference_convert_runs(args->step));
}
