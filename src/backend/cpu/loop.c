/* Geometry that families share: loops over several operands at once, reduced to as few modes as they
 * allow. And moves of memory that can be stopped. */
#include "backend/cpu/cpu.h"

#include <string.h>

#define MOVED ((size_t)1 << 20) /* bytes between two looks */

static int64_t stride_of(const mia__view *view, uint32_t mode) {
    return mode < view->ndim && view->extent[mode] != 1 ? view->stride[mode] : 0;
}

/* Whether mode `mode` continues the loop's last mode in every operand. */
static bool continues(const mia__cpu_loop *loop, const mia__view *const *operands, uint32_t count,
                      uint32_t mode) {
    if (loop->ndim == 0) return false;
    uint32_t last = loop->ndim - 1;
    for (uint32_t i = 0; i < count; i++)
        if (stride_of(operands[i], mode) != loop->stride[i][last] * loop->extent[last]) return false;
    return true;
}

void mia__cpu_loop_make(mia__cpu_loop *loop, const mia__view *shape, uint32_t first_mode,
                        const mia__view *const *operands, uint32_t count) {
    *loop = (mia__cpu_loop){.ndim = 0, .pieces = 1};
    for (uint32_t mode = first_mode; mode < shape->ndim; mode++) {
        if (shape->extent[mode] == 1) continue;
        if (continues(loop, operands, count, mode)) {
            loop->extent[loop->ndim - 1] *= shape->extent[mode];
            continue;
        }
        for (uint32_t i = 0; i < count; i++) loop->stride[i][loop->ndim] = stride_of(operands[i], mode);
        loop->extent[loop->ndim++] = shape->extent[mode];
    }
    if (loop->ndim == 0) loop->extent[loop->ndim++] = 1;
    loop->rows = 1;
    for (uint32_t mode = 1; mode < loop->ndim; mode++) loop->rows *= (size_t)loop->extent[mode];
}

void mia__cpu_loop_offsets(const mia__cpu_loop *loop, uint32_t first_mode, size_t row, uint32_t count,
                           int64_t *offsets) {
    for (uint32_t i = 0; i < count; i++) offsets[i] = 0;
    for (uint32_t mode = first_mode; mode < loop->ndim && row > 0; mode++) {
        int64_t index = (int64_t)(row % (size_t)loop->extent[mode]);
        row /= (size_t)loop->extent[mode];
        for (uint32_t i = 0; i < count; i++) offsets[i] += index * loop->stride[i][mode];
    }
}

mia__cpu_lines mia__cpu_lines_make(const mia__step *step, uint32_t mode) {
    mia__view in = step->inputs[0].view, out = step->output.view;
    mia__cpu_lines lines = {.length = in.extent[mode],
                            .kept = out.extent[mode],
                            .in_stride = in.stride[mode],
                            .out_stride = out.stride[mode],
                            .pieces = 1};
    in.extent[mode] = out.extent[mode] = 1;
    const mia__view *operands[2] = {&out, &in};
    mia__cpu_loop_make(&lines.outer, &in, 0, operands, 2);
    lines.count = mia__view_count(&in);
    return lines;
}

void mia__cpu_move(const mia__cpu_task *task, char *to, const char *from, size_t bytes) {
    for (size_t count; bytes > 0 && !mia__cpu_stopped(task); bytes -= count, to += count, from += count) {
        count = bytes < MOVED ? bytes : MOVED;
        memmove(to, from, count);
    }
}

void mia__cpu_phase_add(mia__cpu_step *step, mia__cpu_function function, size_t units) {
    step->phases[step->phase_count++] = (mia__cpu_phase){function, units, units};
}
