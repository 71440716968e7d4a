/* Movement of elements to where a position or indices say: update, scatter, scatter_along. Unless the result takes x's memory
 * over, a first dispatch copies x; a second writes what is new, and nothing else. */
#include "backend/webgpu/families.h"
#include "backend/webgpu/math.h"
#include "backend/webgpu/rope.h"
#include "backend/webgpu/units.h"

#include <mia/ops.h>

static bool in_place(const mia__step *step) {
    return step->output.buffer == step->inputs[0].buffer;
}

static bool copy_first(mia__kernel *k) {
    return in_place(k->step) || mia__kernel_copy(k);
}

/* --- update ---------------------------------------------------------------------------------------- */

/* The part that an update's rope makes: fn value, and fn bits of what it gives. */
static bool put_turned(mia__kernel *k, const mia__units *units) {
    const mia__operand *inputs = k->step->inputs;
    const mia__instruction *rope = &k->plan->instructions[k->step->first_instruction];
    mia__kernel_view(k, "part", &units->views[1]);
    mia__kernel_bits(k, "bits", k->step->output.dtype);
    return mia__kernel_turned(k, &inputs[1], &inputs[2], &inputs[3], &rope->attributes);
}

/* Alone, or with a rope before it, whose numbers go one by one. */
bool mia__kernel_update(mia__kernel *k) {
    const mia__step *step = k->step;
    const mia__operand *operands[] = {&step->output, &step->inputs[1]};
    bool turned = step->op == MIA__OP_FUSED;
    const mia__operand *start = &step->inputs[turned ? 4 : 2];
    const mia__attributes *attributes =
        turned ? &k->plan->instructions[step->first_instruction + 1].attributes : &step->attributes;
    uint32_t mode = (uint32_t)attributes->i[0];
    if (!copy_first(k)) return false;
    uint64_t count = (uint64_t)mia__view_count(&step->inputs[1].view);
    if (count == 0) return true;
    mia__units units;
    mia__units_of(&units, operands, 2);
    uint32_t block = units.inner > 0 && mode == 0 ? mia_dtype_describe(step->output.dtype)->elements : 1;
    if (!turned && mode + units.inner > 0)
        mia__units_widen(&units, step->inputs[1].buffer == start->buffer ? 4 : 16);
    mode += units.inner;
    mia__kernel_u32(k, "most", (uint64_t)(units.views[0].extent[mode] - units.views[1].extent[mode]));
    mia__kernel_u32(k, "block", block);
    mia__kernel_view(k, "y", &units.views[0]);
    if (!mia__units_target(k, &units, "y", step->output.buffer) ||
        !(turned ? put_turned(k, &units) : mia__units_input(k, &units, 1, "x", step->inputs[1].buffer)) ||
        !mia__kernel_input(k, "start", start))
        return false;
    mia__kernel_put(
        k, "fn each(i: u32) {\n"
           "    let start = u32(clamp(start_get(p.start_o), 0i, i32(p.most * p.block))) / p.block;\n");
    mia__units_coordinates(k, turned ? "part" : "x", units.views[1].ndim);
    mia__kernel_put(k, "    y_set(p.y_o");
    mia__units_offset(k, "y", 0, units.views[0].ndim, 0);
    mia__kernel_add(k, " + start * p.y_s%u, ", mode);
    if (turned) {
        mia__kernel_put(k, "bits(value(i)));\n}\n");
    } else {
        mia__kernel_put(k, "x_unit(p.x_o");
        mia__units_offset(k, "x", 0, units.views[1].ndim, 0);
        mia__kernel_put(k, "));\n}\n");
    }
    return mia__units_each(k, (uint64_t)mia__view_count(&units.views[1]), 2.0 * units.bytes);
}

/* --- scatter --------------------------------------------------------------------------------------- */

/* What comes to a place is combined in two parts, so that it is rounded once: a sum and what it lost; a product's mantissa
 * and what it lost, its exponent, and factors that are not finite numbers but 0. */
static const char add_parts[] =
    "    var s = vec2<f32>(there, 0.0);\n"
    "    for (var j = k; j < p.n; j++) {\n"
    "        if (index(line, j) != id) { continue; }\n"
    "        let t = m_sum(s.x, part_get(source + j * p.part_step));\n"
    "        s = vec2<f32>(t.x, s.y + t.y);\n    }\n"
    "    let sum = s.x + s.y;\n"
    "    there = select(s.x, sum, (bitcast<u32>(sum) & 0x7fffffffu) < 0x7f800000u);\n";

static const char mul_parts[] =
    "    var s = vec2<f32>(1.0, 0.0);\n    var e = 0i;\n    var special = 1.0f;\n    var f = there;\n"
    "    for (var j = k; j <= p.n; j++) {\n"
    "        let b = bitcast<u32>(f) & 0x7fffffffu;\n"
    "        if (b == 0u || b >= 0x7f800000u) {\n            special *= f;\n        } else {\n"
    "            let m = m_split(abs(f));\n"
    "            let t = m_product(s.x, m_with_sign(m.x, f));\n"
    "            let g = m_split(abs(t.x));\n            let down = bitcast<f32>((127 - i32(g.y)) << 23u);\n"
    "            s = vec2<f32>(t.x, fma(s.y, m_with_sign(m.x, f), t.y)) * down;\n"
    "            e += i32(m.y) + i32(g.y);\n        }\n"
    "        f = 1.0f;\n"
    "        if (j < p.n && index(line, j) == id) { f = part_get(source + j * p.part_step); }\n    }\n"
    "    let product = m_scale(s.x + s.y, clamp(e, -252i, 252i));\n"
    "    there = select(special * m_with_sign(1.0f, s.x), product, special == 1.0f);\n";

static bool is_real(mia_dtype dtype) {
    return mia_dtype_describe(dtype)->kind == MIA_KIND_FLOAT;
}

/* Lines that make `there` of what it is and all parts of index `id`, in their order, from k on. */
static void put_combination(mia__kernel *k, mia_scatter_style style, mia_dtype dtype) {
    static const char *const whole[] = {[MIA_SCATTER_ADD] = "there + f",
                                        [MIA_SCATTER_MUL] = "there * f",
                                        [MIA_SCATTER_MIN] = "min(there, f)",
                                        [MIA_SCATTER_MAX] = "max(there, f)"};
    if (is_real(dtype) && style == MIA_SCATTER_ADD) {
        mia__kernel_put(k, add_parts);
    } else if (is_real(dtype) && style == MIA_SCATTER_MUL) {
        mia__kernel_put(k, mul_parts);
    } else {
        mia__kernel_add(k,
                        "    for (var j = k; j < p.n; j++) {\n"
                        "        if (index(line, j) != id) { continue; }\n"
                        "        let f = part_get(source + j * p.part_step);\n        there = %s%s;\n    }\n",
                        is_real(dtype) ? "m_" : "", whole[style]);
    }
    if (dtype == MIA_bool8) mia__kernel_put(k, "    there = min(there, 1u);\n");
}

/* Begins "fn each": part i is the k-th of a line of p.n indices and goes to place `to`; out unless it is the first to. */
static void put_place(mia__kernel *k, bool along) {
    const mia__step *step = k->step;
    uint32_t mode = (uint32_t)step->attributes.i[0], ndim = step->output.view.ndim;
    mia__kernel_put(
        k, "fn index(line: u32, j: u32) -> u32 { return bitcast<u32>(ids_get(line + j * p.ids_step)); }\n"
           "fn each(i: u32) {\n");
    mia__units_coordinates(k, "part", ndim);
    mia__kernel_add(k, "    let k = c%u;\n    let line = p.ids_o", mode);
    if (along) {
        mia__units_offset(k, "ids", 0, mode, 0);
        mia__units_offset(k, "ids", mode + 1, ndim, mode + 1);
    }
    mia__kernel_put(k, ";\n    let source = p.part_o");
    mia__units_offset(k, "part", 0, mode, 0);
    mia__units_offset(k, "part", mode + 1, ndim, mode + 1);
    mia__kernel_put(k, ";\n    let id = index(line, k);\n");
    mia__kernel_add(k, "    if (id >= p.y_e%u) { return; }\n", mode); /* a negative one is large */
    mia__kernel_put(k, "    for (var j = 0u; j < k; j++) { if (index(line, j) == id) { return; } }\n"
                       "    let to = p.y_o");
    mia__units_offset(k, "y", 0, mode, 0);
    mia__units_offset(k, "y", mode + 1, ndim, mode + 1);
    mia__kernel_add(k, " + id * p.y_s%u;\n", mode);
}

/* The first part that comes to a place does for all of them. */
static bool put_scatter(mia__kernel *k, bool along) {
    const mia__operand *output = &k->step->output, *part = &k->step->inputs[2];
    const mia__attributes *attributes = &k->step->attributes;
    mia_scatter_style style = (mia_scatter_style)attributes->i[1];
    uint64_t count = (uint64_t)mia__view_count(&part->view);
    double bytes =
        4.0 * (double)part->view.extent[attributes->i[0]]; /* all of a line's indices are looked at */
    put_place(k, along);
    if (style == MIA_SCATTER_SET) {
        mia__kernel_put(k,
                        "    var last = k;\n"
                        "    for (var j = k + 1u; j < p.n; j++) { if (index(line, j) == id) { last = j; } }\n"
                        "    y_set(to, part_unit(source + last * p.part_step));\n}\n");
        return mia__units_each(k, count, bytes);
    }
    mia__kernel_put(k, "    var there = y_get(to);\n");
    put_combination(k, style, output->dtype);
    mia__kernel_put(k, "    y_set(to, bits(there));\n}\n");
    return mia__units_each(k, count, bytes);
}

/* Integers of 8 bits may leave their range while they are combined: they wrap at the end. */
static bool scatter(mia__kernel *k, bool along) {
    const mia__step *step = k->step;
    const mia__operand *operands[] = {&step->output, &step->inputs[2]};
    uint32_t mode = (uint32_t)step->attributes.i[0];
    mia_scatter_style style = (mia_scatter_style)step->attributes.i[1];
    mia_dtype dtype = step->output.dtype;
    if (!copy_first(k)) return false;
    if (mia__view_count(&step->inputs[2].view) == 0) return true;
    mia__units units;
    mia__units_of(&units, operands, 2);
    mia__kernel_view(k, "y", &units.views[0]);
    mia__kernel_u32(k, "n", (uint64_t)step->inputs[2].view.extent[mode]);
    mia__kernel_u32(k, "part_step", (uint64_t)step->inputs[2].view.stride[mode]);
    mia__kernel_u32(k, "ids_step", (uint64_t)step->inputs[1].view.stride[along ? mode : 0]);
    if (!mia__units_target(k, &units, "y", step->output.buffer) ||
        !mia__kernel_input(k, "ids", &step->inputs[1]))
        return false;
    bool set = style == MIA_SCATTER_SET;
    if (set ? !mia__units_input(k, &units, 1, "part", step->inputs[2].buffer)
            : !mia__kernel_input(k, "part", &step->inputs[2]))
        return false;
    if (!set) {
        mia__kernel_get(k, "y", dtype);
        mia__kernel_bits(k, "bits", dtype);
        if (is_real(dtype)) mia__kernel_math(k, "m_min m_max m_sum m_product m_split m_with_sign m_scale");
    }
    return put_scatter(k, along);
}

bool mia__kernel_scatter(mia__kernel *k) {
    return scatter(k, false);
}

bool mia__kernel_scatter_along(mia__kernel *k) {
    return scatter(k, true);
}
