/* Conversion of numbers between any two types. Every scalar number fits a double, so all go by way of it and
 * are rounded once: to nearest even, saturated at the ends of integer types, NaN to 0. Rows of block types
 * are decoded and encoded block by block; numbers reach an encoder as f32. */
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

void mia__reference_convert(const mia__kernel_args *args) {
    const mia__operand *in = &args->step->inputs[0], *out = &args->step->output;
    mia__walk rows;
    if (!mia__walk_start(&rows, &out->view, 1)) return;
    uint32_t o = mia__walk_add(&rows, &out->view), i = mia__walk_add(&rows, &in->view);
    int64_t length = mia__extent(&out->view, 0);
    do {
        for (int64_t first = 0; first < length; first += MIA__BLOCK_MOST) {
            double run[MIA__BLOCK_MOST];
            int64_t count = length - first < MIA__BLOCK_MOST ? length - first : MIA__BLOCK_MOST;
            mia__load_run(in, args->inputs[0], rows.at[i], first, count, run);
            store_run(out, args->output, rows.at[o], first, count, run);
        }
    } while (mia__walk_next(&rows));
}
