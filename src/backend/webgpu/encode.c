/* Numbers made blocks of 32 (base/block.c, whose arithmetic this is, rounding for rounding): an invocation a block. Those of
 * 256 are in encode_k.c. A GPU's own division may be off by some ulps, which numbers half-way between two quants bring to
 * light, and what its conversion to f16 makes of small scales is its own affair: math.c has others. */
#include "backend/webgpu/encode.h"

#include "backend/webgpu/math.h"
#include "backend/webgpu/units.h"

static const char whole[] =
    "fn whole(x: f32) -> f32 {\n" /* halves away from 0 */
    "    let t = trunc(x);\n    return select(t, t + sign(x), abs(x - t) >= 0.5);\n}\n";

/* The least number: of zeros of both signs the first. Where a compiler makes a minimum of comparisons, that may be any of them. */
static const char first_zero[] =
    "fn first_zero(x: ptr<function, array<f32, 32>>, low: f32) -> f32 {\n"
    "    var bits = bitcast<u32>(low);\n"
    "    if ((bits << 1u) != 0u) { return low; }\n"
    "    for (var j = 32u; j > 0u; j--) {\n"
    "        let b = bitcast<u32>((*x)[j - 1u]);\n        bits = select(bits, b, (b << 1u) == 0u);\n    }\n"
    "    return bitcast<f32>(bits);\n}\n";

static const char extreme[] =
    "    var most = 0.0f;\n"
    "    for (var j = 0u; j < 32u; j++) { if (abs(x[j]) > abs(most)) { most = x[j]; } }\n";

/* Lines that make x[32] quants q[32], and put scales at half-words `at` on. */
static void put_quants(mia__kernel *k, mia_dtype to) {
    bool five = to == MIA_q5_0 || to == MIA_q5_1;
    if (to == MIA_q8_0) {
        mia__kernel_put(k, extreme);
        mia__kernel_put(
            k, "    let scale = m_quotient(abs(most), 127.0);\n    let inverse = m_inverse(scale);\n"
               "    for (var j = 0u; j < 32u; j++) {\n"
               "        q[j] = u32(i32(clamp(whole(m_kept(x[j] * inverse)), -127.0, 127.0))) & 0xffu;\n"
               "    }\n    y_set(at, m_to_half(scale));\n    at += 1u;\n");
    } else if (to == MIA_q4_0 || to == MIA_q5_0) {
        mia__kernel_put(k, extreme);
        mia__kernel_add(k,
                        "    let scale = m_quotient(most, -%d.0);\n    let inverse = m_inverse(scale);\n"
                        "    for (var j = 0u; j < 32u; j++) {\n"
                        "        q[j] = u32(clamp(m_kept(m_kept(x[j] * inverse) + %d.5), 0.0, %d.0));\n"
                        "    }\n    y_set(at, m_to_half(scale));\n    at += 1u;\n",
                        five ? 16 : 8, five ? 16 : 8, five ? 31 : 15);
    } else {
        mia__kernel_add(
            k,
            "    var low = x[0];\n    var high = x[0];\n"
            "    for (var j = 1u; j < 32u; j++) {\n"
            "        low = select(low, x[j], x[j] < low);\n        high = select(high, x[j], x[j] > high);\n "
            "   }\n"
            "    let scale = m_quotient(high - low, %d.0);\n    let inverse = m_inverse(scale);\n"
            "    for (var j = 0u; j < 32u; j++) {\n"
            "        q[j] = u32(clamp(m_kept(m_kept(m_kept(x[j] - low) * inverse) + 0.5), 0.0, %d.0));\n"
            "    }\n    y_set(at, m_to_half(scale));\n    y_set(at + 1u, m_to_half(first_zero(&x, low)));\n"
            "    at += 2u;\n",
            five ? 31 : 15, five ? 31 : 15);
    }
}

/* Lines that put the quants behind the scales. */
static void put_bits(mia__kernel *k, mia_dtype to) {
    if (to == MIA_q8_0) {
        mia__kernel_put(
            k, "    for (var j = 0u; j < 16u; j++) { y_set(at + j, q[2u * j] | (q[2u * j + 1u] << 8u)); }\n");
        return;
    }
    if (to == MIA_q5_0 || to == MIA_q5_1)
        mia__kernel_put(
            k, "    var fifths = 0u;\n"
               "    for (var j = 0u; j < 32u; j++) { fifths |= (q[j] >> 4u) << j; }\n"
               "    y_set(at, fifths & 0xffffu);\n    y_set(at + 1u, fifths >> 16u);\n    at += 2u;\n");
    mia__kernel_put(
        k, "    for (var j = 0u; j < 8u; j++) {\n"
           "        let a = 2u * j;\n"
           "        y_set(at + j, (q[a] & 15u) | ((q[a + 16u] & 15u) << 4u) | ((q[a + 1u] & 15u) << 8u) |\n"
           "            ((q[a + 17u] & 15u) << 12u));\n    }\n");
}

bool mia__kernel_encode(mia__kernel *k) {
    const mia__operand *output = &k->step->output;
    const mia_dtype_info *info = mia_dtype_describe(output->dtype);
    if (info->elements != 32) return mia__kernel_encode_k(k);
    const mia__units halves = {.bytes = 2};
    if (!mia__units_target(k, &halves, "y", output->buffer)) return false;
    mia__kernel_math(k, "m_kept m_inverse m_to_half");
    mia__kernel_put(k, whole);
    mia__kernel_put(k, first_zero);
    mia__kernel_add(
        k,
        "fn each(i: u32) {\n    var x: array<f32, 32>;\n    var q: array<u32, 32>;\n"
        "    for (var j = 0u; j < 32u; j++) { x[j] = m_kept(number(i * 32u + j)); }\n    var at = i * %uu;\n",
        info->bytes / 2);
    put_quants(k, output->dtype);
    put_bits(k, output->dtype);
    mia__kernel_put(k, "}\n");
    return mia__units_each(k, (uint64_t)mia__view_count(&output->view) / info->elements, 128.0 + info->bytes);
}
