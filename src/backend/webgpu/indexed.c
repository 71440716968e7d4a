/* Movement of elements from where indices say: gather, take, take_along. An index outside gives zeros, or, of a table that
 * was cut (mia__step.keeps), leaves what is there. */
#include "backend/webgpu/families.h"
#include "backend/webgpu/units.h"

/* The output and the first input as units, and the second as indices `ids`. Where both lie in one buffer, which is bound
 * once, units stay words. Of a table that was cut, y_unit reads what the result has. */
static bool begin(mia__kernel *k, mia__units *units, bool places_of_mode_0) {
    const mia__step *step = k->step;
    const mia__operand *operands[] = {&step->output, &step->inputs[0]};
    mia__units_of(units, operands, 2);
    if (!places_of_mode_0 || units->inner > 0)
        mia__units_widen(units, step->inputs[0].buffer == step->inputs[1].buffer ? 4 : 16);
    if (!mia__units_input(k, units, 1, "x", step->inputs[0].buffer) ||
        !mia__kernel_input(k, "ids", &step->inputs[1]))
        return false;
    if (!step->keeps)
        mia__kernel_view(k, "y", &units->views[0]);
    else if (!mia__units_input(k, units, 0, "y", step->output.buffer))
        return false;
    mia__kernel_add(k, "fn unit(i: u32) -> %s {\n", mia__units_type(units));
    mia__units_coordinates(k, "y", units->views[0].ndim);
    return true;
}

/* The index, which is at coordinates `first` on, and out when it leads outside of mode `mode` of x. */
static void put_index(mia__kernel *k, const mia__units *units, uint32_t first, uint32_t mode) {
    uint32_t ndim = k->step->inputs[1].view.ndim;
    mia__kernel_put(k, "    let id = bitcast<u32>(ids_get(p.ids_o");
    mia__units_offset(k, "ids", 0, ndim, first);
    mia__kernel_u32(k, "first", (uint64_t)k->step->first_column); /* 0 but of a table that was cut */
    mia__kernel_add(k, ")) - p.first;\n    if (id >= p.x_e%u) { return %s(%s); }\n", mode,
                    k->step->keeps ? "y_unit" : mia__units_type(units), k->step->keeps ? "i" : "");
    mia__kernel_add(k, "    return x_unit(p.x_o + id * p.x_s%u", mode); /* a negative one is large */
}

bool mia__kernel_gather(mia__kernel *k) {
    mia__units units;
    if (!begin(k, &units, k->step->inputs[0].view.ndim == 1)) return false;
    uint32_t last = units.views[1].ndim - 1;
    put_index(k, &units, last, last);
    mia__units_offset(k, "x", 0, last, 0);
    mia__kernel_put(k, ");\n}\n");
    return mia__units_map(k, &units);
}

bool mia__kernel_take(mia__kernel *k) {
    mia__units units;
    uint32_t mode = (uint32_t)k->step->attributes.i[0];
    if (!begin(k, &units, mode == 0)) return false;
    mode += units.inner;
    put_index(k, &units, mode, mode);
    mia__units_offset(k, "x", 0, mode, 0);
    mia__units_offset(k, "x", mode + 1, units.views[1].ndim, mode + k->step->inputs[1].view.ndim);
    mia__kernel_put(k, ");\n}\n");
    return mia__units_map(k, &units);
}

bool mia__kernel_take_along(mia__kernel *k) {
    mia__units units;
    uint32_t mode = (uint32_t)k->step->attributes.i[0];
    if (!begin(k, &units, true)) return false; /* each element has an index of its own */
    put_index(k, &units, 0, mode);
    mia__units_offset(k, "x", 0, mode, 0);
    mia__units_offset(k, "x", mode + 1, units.views[1].ndim, mode + 1);
    mia__kernel_put(k, ");\n}\n");
    return mia__units_map(k, &units);
}
