/* Matrix products: w [K, N, ...] by x [K, M, ...] gives [N, M, ...]. The kernel of this file takes anything: one invocation
 * makes each number of the result by itself. */
#include "backend/webgpu/blocks.h"
#include "backend/webgpu/families.h"

#include <stdio.h>

/* fn w_row(n, batch) -> u32: where a line along K begins, for an operand whose lines are along mode 1. Modes that it lacks or
 * has with extent 1 are repeated. */
static void put_row(mia__kernel *k, const char *name, const mia__view *view, const mia__view *output) {
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

bool mia__kernel_matmul(mia__kernel *k) {
    const mia__step *step = k->step;
    const mia__operand *w = &step->inputs[0], *x = &step->inputs[1];
    const mia__view *out = &step->output.view;
    if (!mia__kernel_output(k) || !mia__kernel_input(k, "w", w) || !mia__kernel_input(k, "x", x))
        return false;
    mia__kernel_u32(k, "depth", (uint64_t)w->view.extent[0]);
    mia__kernel_u32(k, "rows", (uint64_t)out->extent[0]);
    mia__kernel_u32(k, "columns", out->ndim > 1 ? (uint64_t)out->extent[1] : 1);
    mia__kernel_number(k, "w", w->dtype);
    mia__kernel_number(k, "x", x->dtype);
    put_row(k, "w", &w->view, out);
    put_row(k, "x", &x->view, out);
    mia__kernel_put(k, "fn value(i: u32) -> f32 {\n"
                       "    let n = i % p.rows;\n"
                       "    let m = (i / p.rows) % p.columns;\n"
                       "    let batch = i / (p.rows * p.columns);\n"
                       "    let a = w_row(n, batch);\n"
                       "    let b = x_row(m, batch);\n"
                       "    var sum = 0.0;\n"
                       "    for (var j = 0u; j < p.depth; j++) { sum += w_number(a, j) * x_number(b, j); }\n"
                       "    return sum;\n}\n");
    return mia__kernel_map(k);
}
