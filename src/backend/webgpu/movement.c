/* Movement of elements to where arithmetic says: copy, concat, pad, roll, triangles. A function says of each unit of the
 * result where it comes from. */
#include "backend/webgpu/families.h"
#include "backend/webgpu/units.h"

#include "backend/reference/element.h"

#include <mia/ops.h>
#include <string.h>

/* The output and `inputs` operands of the step, as wide as they may be; mode 0 is not to be told apart when it is not `mode`. */
static void units_of_step(mia__kernel *k, mia__units *units, uint32_t inputs, uint32_t mode) {
    const mia__operand *operands[MIA__MAX_OPERANDS] = {&k->step->output};
    for (uint32_t i = 0; i < inputs; i++) operands[i + 1] = &k->step->inputs[i];
    mia__units_of(units, operands, inputs + 1);
    if (mode + units->inner > 0) mia__units_widen(units, 16);
}

#define NO_MODE MIA__VIEW_MODES /* no mode's places are told apart */

bool mia__kernel_copy(mia__kernel *k) {
    mia__units units;
    units_of_step(k, &units, 1, NO_MODE);
    if (!mia__units_input(k, &units, 1, "x", k->step->inputs[0].buffer)) return false;
    mia__kernel_add(k, "fn unit(i: u32) -> %s { return x_unit(x_at(i)); }\n", mia__units_type(&units));
    return mia__units_map(k, &units);
}

/* Begins "fn unit" with the coordinates of the output, p.y_e0 .. */
static uint32_t begin_unit(mia__kernel *k, const mia__units *units) {
    uint32_t ndim = units->views[0].ndim;
    mia__kernel_view(k, "y", &units->views[0]);
    mia__kernel_add(k, "fn unit(i: u32) -> %s {\n", mia__units_type(units));
    mia__units_coordinates(k, "y", ndim);
    return ndim;
}

bool mia__kernel_concat(mia__kernel *k) {
    const mia__step *step = k->step;
    mia__units units;
    uint32_t mode = (uint32_t)step->attributes.i[0];
    units_of_step(k, &units, 2, mode);
    mode += units.inner;
    if (!mia__units_input(k, &units, 1, "a", step->inputs[0].buffer) ||
        !mia__units_input(k, &units, 2, "b", step->inputs[1].buffer))
        return false;
    uint32_t ndim = begin_unit(k, &units);
    mia__kernel_add(k, "    if (c%u < p.a_e%u) { return a_unit(p.a_o", mode, mode);
    mia__units_offset(k, "a", 0, ndim, 0);
    mia__kernel_put(k, "); }\n    return b_unit(p.b_o");
    mia__units_offset(k, "b", 0, ndim, 0);
    mia__kernel_add(k, " - p.a_e%u * p.b_s%u);\n}\n", mode, mode);
    return mia__units_map(k, &units);
}

/* Lines that make `t`, the place in x of the output's, which may be one of none. */
static const char *pad_source(mia_pad_style style) {
    switch (style) {
    case MIA_PAD_EDGE: return "    t = clamp(t, 0i, extent - 1i);\n";
    case MIA_PAD_MIRROR: return "    t = abs(t);\n    t = select(t, 2i * (extent - 1i) - t, t >= extent);\n";
    case MIA_PAD_CYCLE:
        return "    t = select(t, t + extent, t < 0i);\n    t = select(t, t - extent, t >= extent);\n";
    default: return "    if (t < 0i || t >= extent) { return p.number * one; }\n";
    }
}

/* The number of a constant, in a word as often as it goes there. */
static uint32_t number_word(const mia__step *step) {
    uint64_t number = 0;
    uint32_t bytes = mia_dtype_describe(step->output.dtype)->bytes;
    mia__store_number(step->output.dtype, &number, 0, step->attributes.f[0]);
    uint32_t word = (uint32_t)number;
    if (bytes == 1) word |= word << 8;
    return bytes <= 2 ? word | word << 16 : word;
}

bool mia__kernel_pad(mia__kernel *k) {
    const mia__step *step = k->step;
    mia__units units;
    uint32_t mode = (uint32_t)step->attributes.i[0];
    units_of_step(k, &units, 1, mode);
    mode += units.inner;
    uint32_t narrow = units.bytes < 4 ? UINT32_MAX >> (32 - 8 * units.bytes) : UINT32_MAX;
    mia__kernel_u32(k, "before", (uint64_t)step->attributes.i[1]);
    mia__kernel_u32(k, "number", number_word(step) & narrow);
    if (!mia__units_input(k, &units, 1, "x", step->inputs[0].buffer)) return false;
    uint32_t ndim = begin_unit(k, &units);
    mia__kernel_add(k,
                    "    let one = %s(1u);\n    let extent = i32(p.x_e%u);\n"
                    "    var t = i32(c%u - p.before);\n%s",
                    mia__units_type(&units), mode, mode, pad_source((mia_pad_style)step->attributes.i[3]));
    mia__kernel_put(k, "    return x_unit(p.x_o");
    mia__units_offset(k, "x", 0, ndim, 0);
    mia__kernel_add(k, " + (u32(t) - c%u) * p.x_s%u);\n}\n", mode, mode);
    return mia__units_map(k, &units);
}

bool mia__kernel_roll(mia__kernel *k) {
    const mia__step *step = k->step;
    mia__units units;
    uint32_t mode = (uint32_t)step->attributes.i[0];
    units_of_step(k, &units, 1, mode);
    mode += units.inner;
    int64_t extent = units.views[0].extent[mode], shift = step->attributes.i[1] % extent;
    mia__kernel_u32(k, "shift", (uint64_t)(shift < 0 ? shift + extent : shift));
    if (!mia__units_input(k, &units, 1, "x", step->inputs[0].buffer)) return false;
    uint32_t ndim = begin_unit(k, &units);
    mia__kernel_add(k, "    let t = select(c%u + p.y_e%u - p.shift, c%u - p.shift, c%u >= p.shift);\n", mode,
                    mode, mode, mode);
    mia__kernel_put(k, "    return x_unit(p.x_o");
    mia__units_offset(k, "x", 0, ndim, 0);
    mia__kernel_add(k, " + (t - c%u) * p.x_s%u);\n}\n", mode, mode);
    return mia__units_map(k, &units);
}

bool mia__kernel_triangle(mia__kernel *k) {
    const mia__step *step = k->step;
    mia__units units;
    int64_t diagonal = step->attributes.i[0];
    units_of_step(k, &units, 1, 0);
    diagonal = diagonal < INT32_MIN ? INT32_MIN : diagonal > INT32_MAX ? INT32_MAX : diagonal;
    mia__kernel_u32(k, "diagonal", (uint64_t)diagonal);
    if (!mia__units_input(k, &units, 1, "x", step->inputs[0].buffer)) return false;
    uint32_t ndim = begin_unit(k, &units);
    mia__kernel_add(
        k,
        "    let place = i32(c0) - i32(c1);\n    if (!(place %s bitcast<i32>(p.diagonal))) { return 0u; }\n",
        step->op == MIA_OP_tril ? "<=" : ">=");
    mia__kernel_put(k, "    return x_unit(p.x_o");
    mia__units_offset(k, "x", 0, ndim, 0);
    mia__kernel_put(k, ");\n}\n");
    return mia__units_map(k, &units);
}
