/* Numbers out of a few: arange, and random numbers, four of a Philox block an invocation (base/philox.h). */
#include "backend/webgpu/families.h"
#include "backend/webgpu/math.h"

#include <mia/ops.h>
#include <string.h>

bool mia__kernel_arange(mia__kernel *k) {
    const mia__step *step = k->step;
    const char *type = mia__kernel_type(step->output.dtype);
    if (!mia__kernel_output(k) || !mia__kernel_input(k, "start", &step->inputs[0]) ||
        !mia__kernel_input(k, "step", &step->inputs[1]))
        return false;
    mia__kernel_add(k,
                    "fn value(i: u32) -> %s { return start_get(p.start_o) + %s(i) * step_get(p.step_o); }\n",
                    type, type);
    return mia__kernel_map(k);
}

/* fn four(q: u32): words[0 .. 3] of block q as numbers. */
bool mia__kernel_random(mia__kernel *k) {
    const mia__step *step = k->step;
    mia_dtype dtype = step->output.dtype;
    uint32_t digits = dtype == MIA_f16 ? 11 : dtype == MIA_bf16 ? 8 : 24;
    if (!mia__kernel_output_fours(k) || !mia__kernel_input(k, "seed", &step->inputs[0])) return false;
    mia__kernel_math(k, "m_philox");
    mia__kernel_put(
        k, "fn words(q: u32) -> vec4<u32> {\n"
           "    return m_philox(q, vec2<u32>(seed_get(p.seed_o), seed_get(p.seed_o + p.seed_s0)));\n}\n");
    if (step->op == MIA_OP_random_uniform) {
        mia__kernel_add(k,
                        "fn four(q: u32) -> vec4<f32> {\n"
                        "    return vec4<f32>(words(q) >> vec4<u32>(%uu)) * 0x1p-%uf;\n}\n",
                        32 - digits, digits);
        return mia__kernel_map_fours(k);
    }
    /* Box and Muller; the angle is a word of 2^32 to the turn, of which the nearest quarter is taken off */
    mia__kernel_math(k, "m_log m_sine");
    mia__kernel_put(k, "fn pair(u: u32, v: u32) -> vec2<f32> {\n"
                       "    let radius = sqrt(-2.0f * m_log(1.0f - f32(u >> 8u) * 0x1p-24f));\n"
                       "    let quarter = (v + 0x20000000u) >> 30u;\n"
                       "    let r = f32(bitcast<i32>(v - (quarter << 30u))) * 0x1.921fb6p-30f;\n"
                       "    return radius * vec2<f32>(m_sine(r, quarter + 1u), m_sine(r, quarter));\n}\n"
                       "fn four(q: u32) -> vec4<f32> {\n    let w = words(q);\n"
                       "    return vec4<f32>(pair(w.x, w.y), pair(w.z, w.w));\n}\n");
    return mia__kernel_map_fours(k);
}
