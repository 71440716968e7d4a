/* Columns of a table of any weight type, as f32; an index outside gives zeros. */
#include "backend/webgpu/families.h"
#include "backend/webgpu/rows.h"

bool mia__kernel_embedding(mia__kernel *k) {
    const mia__step *step = k->step;
    const mia__operand *table = &step->inputs[0];
    if (!mia__kernel_output(k) || !mia__kernel_input(k, "ids", &step->inputs[1]) ||
        !mia__kernel_rows(k, "w", table, &table->view))
        return false;
    mia__kernel_put(k, "fn value(i: u32) -> f32 {\n"
                       "    let id = bitcast<u32>(ids_get(ids_at(i / p.depth)));\n"
                       "    if (id >= p.w_e1) { return 0.0; }\n" /* a negative one is large */
                       "    return w_number(w_row(id, 0u), i % p.depth);\n}\n");
    return mia__kernel_map(k);
}
