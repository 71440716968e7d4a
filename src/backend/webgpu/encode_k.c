/* Numbers made blocks of the K formats: an invocation a block. base/block_k.c says what is looked for; this is its
 * arithmetic, operation by operation, each kept from being joined with another. Private memory holds one run of numbers,
 * which are read again when the block's scales are known. */
#include "backend/webgpu/encode.h"

#include "backend/webgpu/math.h"
#include "backend/webgpu/units.h"

/* Lanes of sums are those of a vec4. A trial is (steps, slope, start, error). FOURS: vec4s of a run. */
static const char arithmetic[] =
    "fn held(x: f32) -> f32 {\n"
    "    let b = bitcast<u32>(x);\n    let m = b & 0x7fffffffu;\n"
    "    if (m < 0x30800000u || m > 0x7f800000u) { return 0.0; }\n"
    "    return bitcast<f32>((b & 0x80000000u) | min(m, 0x4e000000u));\n}\n"
    "fn four(i: u32) -> vec4<f32> {\n"
    "    return vec4<f32>(held(number(i)), held(number(i + 1u)), held(number(i + 2u)), held(number(i + "
    "3u)));\n}\n"
    "fn take(x: ptr<function, array<vec4<f32>, FOURS>>, first: u32) {\n"
    "    for (var i = 0u; i < FOURS; i++) { (*x)[i] = four(first + 4u * i); }\n}\n"
    "fn total(v: vec4<f32>) -> f32 { return m_kept(m_kept(v.x + v.y) + m_kept(v.z + v.w)); }\n"
    "fn whole(u: vec4<f32>, most: f32) -> vec4<f32> { return trunc(clamp(u, vec4<f32>(0.0), "
    "vec4<f32>(most))); }\n"
    "fn whole_one(u: f32, most: f32) -> f32 { return trunc(clamp(u, 0.0, most)); }\n"
    "fn is_better(made: vec4<f32>, best: vec4<f32>) -> bool {\n"
    "    let least = 0x1p-16f;\n"
    "    let error = m_kept(max(made.w, least) * m_kept(best.x * best.x));\n"
    "    return error < m_kept(max(best.w, least) * m_kept(made.x * made.x));\n}\n"
    "fn bytes(q: vec4<f32>) -> u32 {\n"
    "    let b = vec4<u32>(q);\n    return b.x | (b.y << 8u) | (b.z << 16u) | (b.w << 24u);\n}\n"
    "fn scale_bits(x: f32) -> u32 { return m_to_half(clamp(x, -65504.0, 65504.0)); }\n";

/* --- scales with a least number --------------------------------------------------------------- */

static const char fit_with_least[] =
    "fn try_steps(x: ptr<function, array<vec4<f32>, 8>>, low: f32, steps: f32, inverse: f32) -> vec4<f32> {\n"
    "    var q1 = vec4<f32>(0.0);\n    var q2 = q1;\n    var r1 = q1;\n    var r2 = q1;\n    var qr = q1;\n"
    "    for (var i = 0u; i < 8u; i++) {\n"
    "        let u = m_kept4(m_kept4(m_kept4((*x)[i] - low) * inverse) + 0.5);\n"
    "        let q = whole(u, LEVELS);\n        let r = m_kept4(u - (q + 0.5));\n"
    "        q1 += q;\n        q2 += q * q;\n"
    "        r1 = m_kept4(r1 + r);\n"
    "        r2 = m_kept4(r2 + m_kept4(r * r));\n"
    "        qr = m_kept4(qr + m_kept4(q * r));\n    }\n"
    "    let sq = total(q1);\n    let sqq = total(q2);\n    let sr = total(r1);\n    let sqr = total(qr);\n"
    "    let spread = 32.0 * sqq - sq * sq;\n    let zero = m_kept(-low * inverse);\n"
    "    var start = zero;\n"
    "    if (spread > 0.0) {\n"
    "        start = min(zero, m_kept(m_kept(m_kept(sqq * sr) - m_kept(sq * sqr)) * m_inverse(spread)));\n   "
    " }\n"
    "    let rest = m_kept(sqr - m_kept(start * sq));\n    let slope = m_kept(rest * m_inverse(sqq));\n"
    "    let error = m_kept(total(r2) - m_kept(slope * rest)) - m_kept(start * m_kept(2.0 * sr - 32.0 * "
    "start));\n"
    "    return vec4<f32>(steps, slope, start, m_kept(error));\n}\n"
    "fn fit_run(x: ptr<function, array<vec4<f32>, 8>>) -> vec2<f32> {\n" /* scale and least number */
    "    var lows = vec4<f32>(0.0);\n    var highs = (*x)[0];\n"
    "    for (var i = 0u; i < 8u; i++) {\n"
    "        lows = min(lows, (*x)[i]);\n        highs = max(highs, (*x)[i]);\n    }\n"
    "    let low = min(min(lows.x, lows.y), min(lows.z, lows.w));\n"
    "    let high = max(max(highs.x, highs.y), max(highs.z, highs.w));\n"
    "    if (!(high > low)) { return vec2<f32>(0.0, abs(low)); }\n"
    "    let range = m_kept(high - low);\n    let inverse = m_inverse(range);\n"
    "    var best = vec4<f32>(0.0);\n"
    "    for (var i = 0u; i < 17u; i++) {\n"
    "        let steps = LEVELS - 3.0 + f32(i) * 0.25;\n"
    "        let made = try_steps(x, low, steps, m_kept(steps * inverse));\n"
    "        if (i == 0u || is_better(made, best)) { best = made; }\n    }\n"
    "    let size = m_quotient(range, best.x);\n    let shift = m_kept(low + m_kept(best.z * size));\n"
    "    return vec2<f32>(m_kept(m_kept(1.0 + best.y) * size), select(0.0, -shift, shift < 0.0));\n}\n";

static const char round_with_least[] =
    "fn quants_of(x: vec4<f32>, shift: f32, inverse: f32) -> vec4<f32> {\n"
    "    return whole(m_kept4(m_kept4(m_kept4(x + shift) * inverse) + 0.5), LEVELS);\n}\n"
    "fn error_of(x: ptr<function, array<vec4<f32>, 8>>, step: f32, inverse: f32, shift: f32) -> f32 {\n"
    "    var sum = vec4<f32>(0.0);\n"
    "    for (var i = 0u; i < 8u; i++) {\n"
    "        let off = m_kept4(m_kept4(step * quants_of((*x)[i], shift, inverse) - shift) - (*x)[i]);\n"
    "        sum = m_kept4(sum + m_kept4(off * off));\n    }\n"
    "    return total(sum);\n}\n"
    "fn round_fit(x: ptr<function, array<vec4<f32>, 8>>, fit: vec2<f32>, unit: vec2<f32>, inverse: "
    "vec2<f32>) -> vec2<f32> {\n"
    "    let s0 = whole_one(m_kept(fit.x * inverse.x) + 0.5, 63.0);\n"
    "    let t0 = whole_one(m_kept(fit.y * inverse.y) + 0.5, 63.0);\n"
    "    var least = 0x1p127f;\n    var chosen = vec2<f32>(0.0);\n"
    "    for (var s = max(s0 - 1.0, 0.0); s <= min(s0 + 1.0, 63.0); s += 1.0) {\n"
    "        let step = unit.x * s;\n        let over = m_inverse(step);\n"
    "        for (var t = max(t0 - 1.0, 0.0); t <= min(t0 + 1.0, 63.0); t += 1.0) {\n"
    "            let error = error_of(x, step, over, unit.y * t);\n"
    "            if (error < least) {\n                least = error;\n                chosen = vec2<f32>(s, "
    "t);\n            }\n"
    "        }\n    }\n    return chosen;\n}\n"
    /* words of base/block.h's p */
    "fn packed_of(r: u32, s: u32, t: u32) -> vec3<u32> {\n"
    "    let to = (r & 3u) * 8u;\n"
    "    if (r < 4u) { return vec3<u32>(s << to, t << to, 0u); }\n"
    "    return vec3<u32>((s >> 4u) << (to + 6u), (t >> 4u) << (to + 6u), ((s & 15u) | ((t & 15u) << 4u)) << "
    "to);\n}\n";

static const char each_with_least[] =
    "fn each(i: u32) {\n"
    "    var x: array<vec4<f32>, 8>;\n    var fits: array<vec2<f32>, 8>;\n    var most = vec2<f32>(0.0);\n"
    "    for (var r = 0u; r < 8u; r++) {\n"
    "        take(&x, i * 256u + r * 32u);\n        fits[r] = fit_run(&x);\n        most = max(most, "
    "fits[r]);\n    }\n"
    "    let d = scale_bits(m_quotient(most.x, 63.0));\n    let m = scale_bits(m_quotient(most.y, 63.0));\n"
    "    let unit = vec2<f32>(m_of_half(d), m_of_half(m));\n"
    "    let inverse = vec2<f32>(m_inverse(unit.x), m_inverse(unit.y));\n"
    "    let at = i * WORDS;\n    var packed = vec3<u32>(0u);\n"
    "    var low: array<u32, 8>;\n    var high: array<u32, 8>;\n"
    "    for (var r = 0u; r < 8u; r++) {\n"
    "        take(&x, i * 256u + r * 32u);\n"
    "        let chosen = round_fit(&x, fits[r], unit, inverse);\n"
    "        packed |= packed_of(r, u32(chosen.x), u32(chosen.y));\n"
    "        let over = m_inverse(unit.x * chosen.x);\n"
    "        for (var j = 0u; j < 8u; j++) {\n"
    "            let q = bytes(quants_of(x[j], unit.y * chosen.y, over));\n"
    "            high[j] |= ((q >> 4u) & 0x01010101u) << r;\n"
    "            if ((r & 1u) == 0u) {\n                low[j] = q & 0x0f0f0f0fu;\n            } else {\n"
    "                y_set(at + QUANTS + (r >> 1u) * 8u + j, low[j] | ((q & 0x0f0f0f0fu) << 4u));\n          "
    "  }\n"
    "        }\n    }\n"
    "    y_set(at, d | (m << 16u));\n"
    "    for (var j = 0u; j < 3u; j++) { y_set(at + 1u + j, packed[j]); }\n"
    "    for (var j = 4u; j < QUANTS; j++) { y_set(at + j, high[j - 4u]); }\n}\n";

/* --- scales alone: q6_K ----------------------------------------------------------------------- */

static const char q6_K[] =
    "fn try_steps(x: ptr<function, array<vec4<f32>, 4>>, steps: f32, inverse: f32) -> vec4<f32> {\n"
    "    var q2 = vec4<f32>(0.0);\n    var r2 = q2;\n    var qr = q2;\n"
    "    for (var i = 0u; i < 4u; i++) {\n"
    "        let u = m_kept4(m_kept4((*x)[i] * inverse) + 32.5);\n"
    "        let w = whole(u, 63.0);\n        let q = w - 32.0;\n        let r = m_kept4(u - (w + 0.5));\n"
    "        q2 += q * q;\n"
    "        r2 = m_kept4(r2 + m_kept4(r * r));\n"
    "        qr = m_kept4(qr + m_kept4(q * r));\n    }\n"
    "    let rest = total(qr);\n    let slope = m_kept(rest * m_inverse(total(q2)));\n"
    "    return vec4<f32>(steps, slope, 0.0, m_kept(total(r2) - m_kept(slope * rest)));\n}\n"
    "fn fit_run(x: ptr<function, array<vec4<f32>, 4>>) -> f32 {\n"
    "    var extreme = 0.0f;\n"
    "    for (var i = 0u; i < 16u; i++) {\n"
    "        let v = (*x)[i >> 2u][i & 3u];\n        if (abs(v) > abs(extreme)) { extreme = v; }\n    }\n"
    "    if (extreme == 0.0) { return 0.0; }\n"
    "    let inverse = m_inverse(-extreme);\n    var best = vec4<f32>(0.0);\n"
    "    for (var i = 0u; i < 17u; i++) {\n"
    "        let steps = 29.0 + f32(i) * 0.25;\n        let made = try_steps(x, steps, m_kept(steps * "
    "inverse));\n"
    "        if (i == 0u || is_better(made, best)) { best = made; }\n    }\n"
    "    return m_kept(m_kept(1.0 + best.y) * m_quotient(-extreme, best.x));\n}\n"
    /* quants of the numbers that stand there in words of the block, as base/block_k.c draws them */
    "fn pack(block: ptr<function, array<u32, 53>>, first: u32, inverses: ptr<function, array<f32, 16>>) {\n"
    "    for (var j = 0u; j < 64u; j++) {\n"
    "        let half = j >> 5u;\n        let quarter = (j >> 3u) & 3u;\n        let w = j & 7u;\n"
    "        let x = four(first + 4u * j);\n"
    "        let q = bytes(whole(m_kept4(x * (*inverses)[j >> 2u]) + 32.5, 63.0));\n"
    "        (*block)[half * 16u + (quarter & 1u) * 8u + w] |= (q & 0x0f0f0f0fu) << ((quarter >> 1u) * 4u);\n"
    "        (*block)[32u + half * 8u + w] |= ((q >> 4u) & 0x03030303u) << (quarter * 2u);\n    }\n}\n"
    "fn each(i: u32) {\n"
    "    var x: array<vec4<f32>, 4>;\n    var scales: array<f32, 16>;\n    var extreme = 0.0f;\n"
    "    for (var r = 0u; r < 16u; r++) {\n"
    "        take(&x, i * 256u + r * 16u);\n        scales[r] = fit_run(&x);\n"
    "        if (abs(scales[r]) > abs(extreme)) { extreme = scales[r]; }\n    }\n"
    "    var d = 0u;\n    if (extreme != 0.0) { d = scale_bits(m_quotient(extreme, -128.0)); }\n"
    "    let unit = m_of_half(d);\n    let inverse = m_inverse(unit);\n    var block: array<u32, 53>;\n"
    "    for (var r = 0u; r < 16u; r++) {\n"
    "        let s = whole_one(m_kept(scales[r] * inverse) + 128.5, 255.0) - 128.0;\n"
    "        block[48u + (r >> 2u)] |= (bitcast<u32>(i32(s)) & 0xffu) << ((r & 3u) * 8u);\n"
    "        scales[r] = m_inverse(unit * s);\n    }\n"
    "    pack(&block, i * 256u, &scales);\n    block[52] = d;\n"
    "    for (var j = 0u; j < 105u; j++) {\n"
    "        y_set(i * 105u + j, (block[j >> 1u] >> ((j & 1u) * 16u)) & 0xffffu);\n    }\n}\n";

/* What differs between the two formats that have a least number. */
static void put_with_least(mia__kernel *k, bool five) {
    const mia__kernel_word words[] = {
        {"LEVELS", five ? "31.0" : "15.0"}, {"WORDS", five ? "44u" : "36u"}, {"QUANTS", five ? "12u" : "4u"}};
    mia__kernel_put_with(k, fit_with_least, words, 3);
    mia__kernel_put_with(k, round_with_least, words, 3);
    mia__kernel_put_with(k, each_with_least, words, 3);
}

bool mia__kernel_encode_k(mia__kernel *k) {
    const mia__operand *output = &k->step->output;
    const mia_dtype_info *info = mia_dtype_describe(output->dtype);
    bool six = output->dtype == MIA_q6_K;
    const mia__units words = {.bytes = info->bytes % 4 == 0 ? 4 : 2};
    const mia__kernel_word fours = {"FOURS", six ? "4u" : "8u"};
    if (!mia__units_target(k, &words, "y", output->buffer)) return false;
    mia__kernel_math(k, "m_kept m_kept4 m_inverse m_to_half m_of_half");
    mia__kernel_put_with(k, arithmetic, &fours, 1);
    if (six)
        mia__kernel_put(k, q6_K);
    else
        put_with_least(k, output->dtype == MIA_q5_K);
    return mia__units_each(k, (uint64_t)mia__view_count(&output->view) / info->elements,
                           2048.0 + info->bytes);
}
