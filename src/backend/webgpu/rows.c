/* Rows of any type (rows.h): scalars at strides, blocks as in files, and prepared weights, whose rows are numbered. */
#include "backend/webgpu/rows.h"

#include "backend/webgpu/blocks.h"
#include "backend/webgpu/prepared.h"

#include <stdio.h>

/* Rows of a compact operand, numbered. */
static mia__view numbered(const mia__view *view) {
    mia__view rows = {.ndim = view->ndim};
    int64_t stride = 1;
    for (uint32_t m = 0; m < view->ndim; m++) {
        rows.extent[m] = view->extent[m];
        rows.stride[m] = m > 0 ? stride : 0;
        if (m > 0) stride *= view->extent[m];
    }
    return rows;
}

void mia__kernel_row(mia__kernel *k, const char *name, const mia__view *view, const mia__view *output) {
    mia__kernel_add(k, "fn %s_row(line: u32, batch: u32) -> u32 {\n    var o = p.%s_o;\n", name, name);
    if (view->ndim > 1) mia__kernel_add(k, "    o += line * p.%s_s1;\n", name);
    if (output->ndim > 2) mia__kernel_put(k, "    var r = batch;\n");
    for (uint32_t m = 2; m < output->ndim; m++) {
        char field[16];
        (void)snprintf(field, sizeof field, "e%u", m);
        mia__kernel_u32(k, field, (uint64_t)output->extent[m]);
        if (m < view->ndim && view->extent[m] != 1)
            mia__kernel_add(k, "    o += (r %% p.e%u) * p.%s_s%u;\n", m, name, m);
        mia__kernel_add(k, "    r /= p.e%u;\n", m);
    }
    mia__kernel_put(k, "    return o;\n}\n");
}

bool mia__kernel_rows(mia__kernel *k, const char *name, const mia__operand *operand,
                      const mia__view *output) {
    mia__kernel_u32(k, "depth", operand->view.ndim > 0 ? (uint64_t)operand->view.extent[0] : 1);
    if (!mia__is_prepared(k->plan, operand)) {
        if (!mia__kernel_input(k, name, operand)) return false;
        mia__kernel_number(k, name, operand->dtype);
        mia__kernel_row(k, name, &operand->view, output);
        return true;
    }
    const mia__view rows = numbered(&operand->view);
    uint64_t depth = (uint64_t)operand->view.extent[0];
    uint32_t slot;
    if (!mia__kernel_bind(k, operand->buffer, "vec4<u32>", false, &slot)) return false;
    mia__kernel_view(k, name, &rows);
    if (!mia__prepared_readers(k, name, slot, operand->dtype, depth,
                               depth > 0 ? (uint64_t)mia__view_count(&operand->view) / depth : 0))
        return false;
    mia__kernel_row(k, name, &rows, output);
    return true;
}
