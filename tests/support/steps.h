/* Steps made by hand, for tests that call kernels directly: operands over plain arrays, and the call. */
#ifndef MIA_TEST_SUPPORT_STEPS_H
#define MIA_TEST_SUPPORT_STEPS_H

#include "backend/reference/reference.h"

#include <stdarg.h>

/* An operand and the array that it lies in. */
typedef struct step_value {
    mia__operand operand;
    void *memory;
} step_value;

/* Any layout: `ndim` extents, then `ndim` strides, all int. */
static inline step_value step_strided(mia_dtype dtype, const void *memory, int64_t offset, int ndim, ...) {
    step_value value = {.operand = {.dtype = dtype}, .memory = (void *)(uintptr_t)memory};
    mia__view *view = &value.operand.view;
    view->offset = offset;
    view->ndim = (uint32_t)ndim;
    va_list list;
    va_start(list, ndim);
    for (int i = 0; i < ndim; i++) view->extent[i] = va_arg(list, int);
    for (int i = 0; i < ndim; i++) view->stride[i] = va_arg(list, int);
    va_end(list);
    return value;
}

/* Compact: `ndim` extents, all int. Strides of block types count blocks. */
static inline step_value step_compact(mia_dtype dtype, const void *memory, int ndim, ...) {
    step_value value = {.operand = {.dtype = dtype}, .memory = (void *)(uintptr_t)memory};
    mia__view *view = &value.operand.view;
    view->ndim = (uint32_t)ndim;
    va_list list;
    va_start(list, ndim);
    int64_t stride = 1;
    const mia_dtype_info *info = mia_dtype_describe(dtype);
    for (int i = 0; i < ndim; i++) {
        view->extent[i] = va_arg(list, int);
        view->stride[i] = stride;
        stride *= i == 0 && info->kind == MIA_KIND_BLOCK ? view->extent[i] / info->elements : view->extent[i];
    }
    va_end(list);
    return value;
}

/* Adds what an operation is told besides operands. */
static inline mia__attributes step_modes(int64_t i0, int64_t i1, int64_t i2) {
    return (mia__attributes){.i = {i0, i1, i2}};
}

static inline mia__attributes step_number(double f0) {
    return (mia__attributes){.f = {f0}};
}

/* Runs an operation's reference kernel; false when it has none. */
static inline bool step_run(mia_op op, mia__attributes attributes, step_value output, int count,
                            const step_value *inputs) {
    mia__step step = {.op = op,
                      .input_count = (uint32_t)count,
                      .attributes = attributes,
                      .output = output.operand,
                      .scratch = MIA__NO_BUFFER};
    mia__kernel_args args = {.step = &step, .output = output.memory};
    for (int i = 0; i < count; i++) {
        step.inputs[i] = inputs[i].operand;
        args.inputs[i] = inputs[i].memory;
    }
    mia__reference_kernel kernel = mia__reference_find(op);
    if (kernel != NULL) kernel(&args);
    return kernel != NULL;
}

#define STEP_INPUTS(...)                                                                                     \
    (int)(sizeof((const step_value[]){__VA_ARGS__}) / sizeof(step_value)), (const step_value[]) {            \
        __VA_ARGS__                                                                                          \
    }

#endif
