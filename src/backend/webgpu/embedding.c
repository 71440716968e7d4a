/* Columns of a table of any weight type, as f32; an index outside gives zeros, or, of a table that was cut (mia__step.keeps),
 * leaves what is there. */
#include "backend/webgpu/families.h"
#include "backend/webgpu/rows.h"

bool mia__kernel_embedding(mia__kernel *k) {
    const mia__step *step = k->step;
    const mia__operand *table = &step->inputs[0];
    uint32_t out;
    if (!mia__kernel_bind(k, step->output.buffer, "u32", true, &out) || !mia__kernel_output(k) ||
        !mia__kernel_input(k, "ids", &step->inputs[1]) || !mia__kernel_rows(k, "w", table, &table->view))
        return false;
    mia__kernel_u32(k, "first", (uint64_t)step->first_column);
    mia__kernel_put(k, "fn value(i: u32) -> f32 {\n"
                       "    let id = bitcast<u32>(ids_get(ids_at(i / p.depth))) - p.first;\n");
    if (step->keeps) /* a negative index is large */
        mia__kernel_add(k, "    if (id >= p.w_e1) { return bitcast<f32>(b%u[i]); }\n", out);
    else
        mia__kernel_put(k, "    if (id >= p.w_e1) { return 0.0; }\n");
    mia__kernel_put(k, "    return w_number(w_row(id, 0u), i % p.depth);\n}\n");
    return mia__kernel_map(k);
}
