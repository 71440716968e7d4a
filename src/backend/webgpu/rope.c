/* Rotary embedding: each invocation turns what the elements of its word are part of, so that a pair is turned twice.
 *
 * An angle is position * frequency, and may be a hundred thousand turns of which the last digits count. So it is counted in
 * turns, in whole numbers: what a frequency is of a turn, to 64 bits behind the point, times the position, of which what is
 * before the point falls away. Nothing is rounded until the angle is within an eighth of a turn. */
#include "backend/webgpu/rope.h"
#include "backend/webgpu/families.h"
#include "backend/webgpu/reduce.h"

/* 1 / (2 pi) = 0.28BE60DB 93910...: 256 bits of it stand for every exponent of an f32. The product of a 24-bit mantissa
 * and 96 bits from where the exponent points is a frequency in turns, modulo 1. */
static const char turns[] =
    "const TURN = array<u32, 9>(0x28be60dbu, 0x9391054au, 0x7f09d5f4u, 0x7d4d3770u, 0x36d8a566u, "
    "0x4f10e410u,\n"
    "    0x7f9458eau, 0xf7aef158u, 0x6dc91b8eu);\n"
    /* 32 bits of it whose first has the weight 2^-(at + 1) */
    "fn turn_bits(at: i32) -> u32 {\n"
    "    if (at <= -32) { return 0u; }\n"
    "    if (at < 0) { return TURN[0] >> u32(-at); }\n"
    "    let word = u32(at) / 32u;\n"
    "    let shift = u32(at) % 32u;\n"
    "    if (word >= 8u) { return 0u; }\n"
    "    if (shift == 0u) { return TURN[word]; }\n"
    "    return (TURN[word] << shift) | (TURN[word + 1u] >> (32u - shift));\n}\n"
    /* position * frequency in units of 2^-32 turns */
    "fn turned(position: i32, frequency: f32) -> u32 {\n"
    "    let bits = bitcast<u32>(frequency);\n"
    "    let exponent = i32((bits >> 23u) & 0xffu);\n"
    "    let mantissa = (bits & 0x7fffffu) | select(0u, 0x800000u, exponent > 0);\n"
    "    let at = max(exponent, 1) - 150;\n" /* frequency = mantissa * 2^at */
    "    let low = product(mantissa, turn_bits(at + 64));\n"
    "    let middle = product(mantissa, turn_bits(at + 32));\n"
    "    let second = middle.x + low.y;\n"
    "    let first = mantissa * turn_bits(at) + middle.y + select(0u, 1u, second < middle.x);\n"
    "    let steps = u32(abs(position));\n"
    "    let all = first * steps + product(second, steps).y;\n"
    "    return select(all, 0u - all, (position < 0) != (bits >> 31u != 0u));\n}\n"
    /* cosine and sine: Taylor's series within an eighth of a turn, to what f32 holds */
    "fn cosine_sine(angle: u32) -> vec2<f32> {\n"
    "    let quarter = (angle + 0x20000000u) >> 30u;\n"
    "    let x = f32(bitcast<i32>(angle - (quarter << 30u))) * 1.4629180792671596e-9;\n"
    "    let z = x * x;\n"
    "    let s = x + x * z * (-0.16666667 + z * (8.3333333e-3 + z * (-1.9841270e-4 + z * 2.7557319e-6)));\n"
    "    let c = 1.0 + z * (-0.5 + z * (4.1666667e-2 + z * (-1.3888889e-3 + z * (2.4801587e-5 - z * "
    "2.7557319e-7))));\n"
    "    switch (quarter) {\n"
    "        case 0u: { return vec2<f32>(c, s); }\n"
    "        case 1u: { return vec2<f32>(-s, c); }\n"
    "        case 2u: { return vec2<f32>(-c, -s); }\n"
    "        default: { return vec2<f32>(s, -c); }\n"
    "    }\n}\n";

/* Mode 0 left out. */
static mia__view columns_of(const mia__view *view) {
    mia__view columns = {.offset = view->offset, .ndim = view->ndim - 1};
    for (uint32_t m = 1; m < view->ndim; m++) {
        columns.extent[m - 1] = view->extent[m];
        columns.stride[m - 1] = view->stride[m];
    }
    return columns;
}

bool mia__kernel_turned(mia__kernel *k, const mia__operand *x, const mia__operand *positions,
                        const mia__operand *frequencies, const mia__attributes *attributes) {
    const mia__view columns = columns_of(&x->view);
    const mia__operand position = {positions->buffer, positions->dtype, columns_of(&positions->view)};
    bool halves = attributes->i[0] == MIA_ROPE_HALVES;
    int64_t pairs = frequencies->view.ndim > 0 ? frequencies->view.extent[0] : 1;
    mia__kernel_u32(k, "dim", (uint64_t)x->view.extent[0]);
    mia__kernel_u32(k, "pairs", (uint64_t)pairs);
    mia__kernel_u32(k, "step", (uint64_t)x->view.stride[0]);
    mia__kernel_f32(k, "magnitude", attributes->f[0]);
    if (!mia__kernel_words(k, "x", x->buffer) || !mia__kernel_input(k, "position", &position)) return false;
    mia__kernel_get(k, "x", x->dtype);
    mia__kernel_view(k, "x", &columns);
    mia__kernel_at(k, "x", &columns);
    if (pairs > 0) {
        if (!mia__kernel_input(k, "frequency", frequencies)) return false;
    } else { /* none is read */
        mia__kernel_put(k, "fn frequency_get(i: u32) -> f32 { return 0.0; }\n"
                           "fn frequency_at(i: u32) -> u32 { return i; }\n");
    }
    mia__kernel_product(k);
    mia__kernel_put(k, turns);
    mia__kernel_add(k,
                    "fn value(i: u32) -> f32 {\n"
                    "    let column = i / p.dim;\n"
                    "    let d = i - column * p.dim;\n"
                    "    let begin = x_at(column);\n"
                    "    let one = x_get(begin + d * p.step);\n"
                    "    if (d >= 2u * p.pairs) { return one; }\n"
                    "    let first = %s;\n"
                    "    let other = x_get(begin + select(d - %s, d + %s, first) * p.step);\n"
                    "    let frequency = frequency_get(frequency_at(%s));\n",
                    halves ? "d < p.pairs" : "(d & 1u) == 0u", halves ? "p.pairs" : "1u",
                    halves ? "p.pairs" : "1u", halves ? "select(d - p.pairs, d, first)" : "d >> 1u");
    mia__kernel_put(k, "    let position = position_get(position_at(column));\n"
                       "    let turn = cosine_sine(turned(position, frequency)) * p.magnitude;\n"
                       "    return one * turn.x + select(other, -other, first) * turn.y;\n}\n");
    return true;
}

bool mia__kernel_rope(mia__kernel *k) {
    const mia__step *step = k->step;
    const mia__operand *x = &step->inputs[0];
    mia__operand positions = step->inputs[1]; /* as x sees them */
    positions.view = x->view;
    positions.view.offset = step->inputs[1].view.offset;
    for (uint32_t m = 0; m < x->view.ndim; m++)
        positions.view.stride[m] = m + 1 == x->view.ndim ? step->inputs[1].view.stride[0] : 0;
    if (mia__view_count(&step->output.view) == 0) return true;
    return mia__kernel_output(k) &&
           mia__kernel_turned(k, x, &positions, &step->inputs[2], &step->attributes) && mia__kernel_map(k);
}
