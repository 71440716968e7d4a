/* The arithmetic of reductions as WGSL (reduce.h), by operation and type.
 *
 *     sum, mean of floats     vec2<f32>    sum of stretches, and what adding them has lost
 *     prod of floats          vec3<u32>    mantissa of 32 bits, exponent, flags: no order of factors leaves the range
 *     sum, prod of integers   u32          modulo 2^32, of which narrower types keep the low bits
 *     extremes                u32          keys, whose order is that of the elements
 *     argmax, argmin          vec2<u32>    key, and the first place it was seen at
 *     any, all                u32          0 or 1 */
#include "backend/webgpu/reduce.h"

#include "backend/webgpu/math.h"
#include "graph/ops.h"

#include <string.h>

static bool is_real(const mia__step *step) {
    return strcmp(mia__kernel_type(step->inputs[0].dtype), "f32") == 0;
}

void mia__kernel_product(mia__kernel *k) {
    mia__kernel_put(k,
                    "fn product(a: u32, b: u32) -> vec2<u32> {\n"
                    "    let ll = (a & 0xffffu) * (b & 0xffffu);\n"
                    "    let lh = (a & 0xffffu) * (b >> 16u);\n"
                    "    let hl = (a >> 16u) * (b & 0xffffu);\n"
                    "    let middle = (ll >> 16u) + (lh & 0xffffu) + (hl & 0xffffu);\n"
                    "    return vec2<u32>((ll & 0xffffu) | (middle << 16u),\n"
                    "        (a >> 16u) * (b >> 16u) + (lh >> 16u) + (hl >> 16u) + (middle >> 16u));\n}\n");
}

void mia__kernel_lowered(mia__kernel *k) {
    mia__kernel_put(k, "fn lowered(x: f32, by: u32) -> f32 {\n"
                       "    let bits = bitcast<u32>(x);\n"
                       "    let exponent = (bits >> 23u) & 0xffu;\n"
                       "    if (exponent == 255u) { return x; }\n"
                       "    return select(0.0, bitcast<f32>(bits - (by << 23u)), exponent > by);\n}\n");
}

/* --- keys --------------------------------------------------------------------------------------- */

void mia__kernel_key(mia__kernel *k, mia_dtype dtype, bool least) {
    const char *type = mia__kernel_type(dtype), *turn = least ? "~" : "";
    if (strcmp(type, "f32") == 0) {
        mia__kernel_add(k,
                        "fn key_of(x: f32) -> u32 {\n"
                        "    let bits = bitcast<u32>(x);\n"
                        "    let size = bits & 0x7fffffffu;\n"
                        "    if (size > 0x7f800000u) { return 0xffffffffu; }\n"
                        "    return %sselect(size | 0x80000000u, ~bits, bits > 0x80000000u);\n}\n",
                        turn);
        mia__kernel_add(k,
                        "fn of_key(key: u32) -> f32 {\n"
                        "    let k = %skey;\n"
                        "    let bits = select(~k, k & 0x7fffffffu, k >> 31u != 0u);\n"
                        "    return bitcast<f32>(select(bits, 0x7fc00000u, key == 0xffffffffu));\n}\n",
                        turn);
        return;
    }
    const char *shift = strcmp(type, "i32") == 0 ? " ^ 0x80000000u" : "";
    mia__kernel_add(k,
                    "fn key_of(x: %s) -> u32 { return %s(bitcast<u32>(x)%s); }\n"
                    "fn of_key(key: u32) -> %s { return bitcast<%s>((%skey)%s); }\n",
                    type, turn, shift, type, type, turn, shift);
}

/* The key of an extreme of nothing. */
static uint32_t key_of_nothing(mia_dtype dtype, bool least) {
    switch ((int)dtype) {
    case MIA_i8: return least ? ~(0x80000000u + 127) : 0x80000000u - 128;
    case MIA_u8: return least ? ~255u : 0;
    case MIA_i32:
    case MIA_u32: return 0;
    default: return 0x007fffffu; /* an infinity's */
    }
}

/* --- operations --------------------------------------------------------------------------------- */

/* What a sum loses where it is finite (Knuth). */
static void put_sum(mia__kernel *k, uint64_t count) {
    mia__kernel_f32(k, "elements", (double)count);
    mia__kernel_u32(k, "nothing_is", 0x7fc00000u);
    mia__kernel_math(k, "m_sum");
    mia__kernel_put(k, "alias PARTIAL = vec2<f32>;\n"
                       "fn start() -> PARTIAL { return PARTIAL(); }\n"
                       "fn take(a: PARTIAL, x: f32, n: u32) -> PARTIAL { return PARTIAL(a.x + x, 0.0); }\n"
                       "fn join(a: PARTIAL, b: PARTIAL) -> PARTIAL {\n"
                       "    let t = m_sum(a.x, b.x);\n"
                       "    return PARTIAL(t.x, a.y + b.y + t.y);\n}\n"
                       "fn sum_of(a: PARTIAL) -> f32 {\n"
                       "    let finite = (bitcast<u32>(a.x) & 0x7f800000u) != 0x7f800000u;\n"
                       "    return select(a.x, a.x + a.y, finite);\n}\n");
    if (k->step->op == MIA_OP_sum)
        mia__kernel_put(k, "fn finish(a: PARTIAL) -> f32 { return sum_of(a); }\n");
    else if (count == 0)
        mia__kernel_put(k, "fn finish(a: PARTIAL) -> f32 { return bitcast<f32>(p.nothing_is); }\n");
    else
        mia__kernel_put(k, "fn finish(a: PARTIAL) -> f32 { return sum_of(a) / p.elements; }\n");
}

/* value = x / 2^31 * 2^y, with z: the sign above, 1 infinite, 2 no number; x 0: a zero. */
static void put_real_product(mia__kernel *k) {
    mia__kernel_product(k);
    mia__kernel_put(k, "alias PARTIAL = vec3<u32>;\n"
                       "fn start() -> PARTIAL { return PARTIAL(0x80000000u, 0u, 0u); }\n"
                       "fn apart(x: f32) -> PARTIAL {\n"
                       "    let bits = bitcast<u32>(x);\n"
                       "    let exponent = (bits >> 23u) & 0xffu;\n"
                       "    let fraction = bits & 0x7fffffu;\n"
                       "    let sign = bits & 0x80000000u;\n"
                       "    if (exponent == 255u) { return PARTIAL(0x80000000u, 0u, sign | select(2u, 1u, "
                       "fraction == 0u)); }\n"
                       "    if (exponent == 0u) {\n"
                       "        if (fraction == 0u) { return PARTIAL(0u, 0u, sign); }\n"
                       "        let shift = countLeadingZeros(fraction);\n"
                       "        return PARTIAL(fraction << shift, bitcast<u32>(-118 - i32(shift)), sign);\n"
                       "    }\n"
                       "    return PARTIAL((fraction | 0x800000u) << 8u, exponent - 127u, sign);\n}\n");
    mia__kernel_put(k, "fn join(a: PARTIAL, b: PARTIAL) -> PARTIAL {\n"
                       "    let all = product(a.x, b.x);\n"
                       "    let high = all.y >> 31u;\n"
                       "    let mantissa = select((all.y << 1u) | (all.x >> 31u), all.y, high != 0u);\n"
                       "    let rounded = mantissa + (select(all.x >> 30u, all.x >> 31u, high != 0u) & 1u);\n"
                       "    let over = rounded < mantissa;\n"
                       "    let exponent = bitcast<i32>(a.y + b.y + high) + select(0, 1, over);\n"
                       "    return PARTIAL(select(rounded, 0x80000000u, over),\n"
                       "        bitcast<u32>(clamp(exponent, -1000000000, 1000000000)),\n"
                       "        ((a.z ^ b.z) & 0x80000000u) | ((a.z | b.z) & 3u));\n}\n"
                       "fn take(a: PARTIAL, x: f32, n: u32) -> PARTIAL { return join(a, apart(x)); }\n");
    mia__kernel_put(
        k, "fn narrowed(m: u32, by: u32) -> u32 {\n" /* to nearest even */
           "    if (by > 31u) { return select(0u, 1u, by == 32u && m > 0x80000000u); }\n"
           "    let kept = m >> by;\n"
           "    let rest = m & ((1u << by) - 1u);\n"
           "    let half = 1u << (by - 1u);\n"
           "    return kept + select(0u, 1u, rest > half || (rest == half && (kept & 1u) == 1u));\n}\n"
           "fn bits_of(a: PARTIAL) -> u32 {\n"
           "    let sign = a.z & 0x80000000u;\n"
           "    if ((a.z & 2u) != 0u || ((a.z & 1u) != 0u && a.x == 0u)) { return 0x7fc00000u; }\n"
           "    let exponent = bitcast<i32>(a.y);\n"
           "    if ((a.z & 1u) != 0u || (a.x != 0u && exponent > 127)) { return sign | 0x7f800000u; }\n"
           "    if (a.x == 0u || exponent < -150) { return sign; }\n"
           "    if (exponent < -126) { return sign | narrowed(a.x, u32(-118 - exponent)); }\n"
           "    return sign | (narrowed(a.x, 8u) - 0x800000u + (u32(exponent + 127) << 23u));\n}\n"
           "fn finish(a: PARTIAL) -> f32 { return bitcast<f32>(bits_of(a)); }\n");
}

static void put_whole(mia__kernel *k, const char *start, const char *sign) {
    const char *type = mia__kernel_type(k->step->output.dtype);
    mia__kernel_add(k,
                    "alias PARTIAL = u32;\n"
                    "fn start() -> u32 { return %s; }\n"
                    "fn join(a: u32, b: u32) -> u32 { return a %s b; }\n"
                    "fn take(a: u32, x: %s, n: u32) -> u32 { return a %s bitcast<u32>(x); }\n"
                    "fn finish(a: u32) -> %s { return bitcast<%s>(a); }\n",
                    start, sign, type, sign, type, type);
}

static void put_truth(mia__kernel *k, bool any) {
    mia__kernel_add(k,
                    "alias PARTIAL = u32;\n"
                    "fn start() -> u32 { return %s; }\n"
                    "fn join(a: u32, b: u32) -> u32 { return a %s b; }\n"
                    "fn take(a: u32, x: u32, n: u32) -> u32 { return a %s select(0u, 1u, x != 0u); }\n"
                    "fn finish(a: u32) -> u32 { return a; }\n",
                    any ? "0u" : "1u", any ? "|" : "&", any ? "|" : "&");
}

static void put_extreme(mia__kernel *k, bool least) {
    mia_dtype dtype = k->step->inputs[0].dtype;
    const char *type = mia__kernel_type(dtype);
    mia__kernel_u32(k, "nothing_is", key_of_nothing(dtype, least));
    mia__kernel_key(k, dtype, least);
    mia__kernel_add(k,
                    "alias PARTIAL = u32;\n"
                    "fn start() -> u32 { return p.nothing_is; }\n"
                    "fn join(a: u32, b: u32) -> u32 { return max(a, b); }\n"
                    "fn take(a: u32, x: %s, n: u32) -> u32 { return max(a, key_of(x)); }\n"
                    "fn finish(a: u32) -> %s { return of_key(a); }\n",
                    type, type);
}

static void put_place(mia__kernel *k, bool least) {
    mia_dtype dtype = k->step->inputs[0].dtype;
    mia__kernel_key(k, dtype, least);
    mia__kernel_add(
        k,
        "alias PARTIAL = vec2<u32>;\n"
        "fn start() -> PARTIAL { return PARTIAL(0u, 0xffffffffu); }\n"
        "fn join(a: PARTIAL, b: PARTIAL) -> PARTIAL {\n"
        "    return select(a, b, b.x > a.x || (b.x == a.x && b.y < a.y));\n}\n"
        "fn take(a: PARTIAL, x: %s, n: u32) -> PARTIAL { return join(a, PARTIAL(key_of(x), n)); }\n"
        "fn finish(a: PARTIAL) -> i32 { return bitcast<i32>(select(a.y, 0u, a.y == 0xffffffffu)); }\n",
        mia__kernel_type(dtype));
}

void mia__reduce_put(mia__kernel *k, uint64_t count) {
    switch ((int)k->step->op) {
    case MIA_OP_any:
    case MIA_OP_all: put_truth(k, k->step->op == MIA_OP_any); break;
    case MIA_OP_reduce_max:
    case MIA_OP_reduce_min: put_extreme(k, k->step->op == MIA_OP_reduce_min); break;
    case MIA_OP_argmax:
    case MIA_OP_argmin: put_place(k, k->step->op == MIA_OP_argmin); break;
    case MIA_OP_prod:
        if (is_real(k->step))
            put_real_product(k);
        else
            put_whole(k, "1u", "*");
        break;
    default:
        if (is_real(k->step))
            put_sum(k, count);
        else
            put_whole(k, "0u", "+");
    }
}

/* --- partials in memory ------------------------------------------------------------------------- */

uint32_t mia__reduce_words(const mia__step *step) {
    switch ((int)step->op) {
    case MIA_OP_argmax:
    case MIA_OP_argmin: return 2;
    case MIA_OP_prod: return is_real(step) ? 3 : 1;
    case MIA_OP_sum:
    case MIA_OP_mean: return is_real(step) ? 2 : 1;
    default: return 1;
    }
}

void mia__reduce_put_leave(mia__kernel *k, uint32_t slot) {
    static const char places[] = "xyz";
    uint32_t words = mia__reduce_words(k->step);
    mia__kernel_put(k, "fn leave(at: u32, a: PARTIAL) {\n");
    for (uint32_t w = 0; w < words; w++) {
        mia__kernel_add(k, "    b%u[at * %uu + %uu] = bitcast<u32>(a", slot, words, w);
        if (words > 1) mia__kernel_add(k, ".%c", places[w]);
        mia__kernel_put(k, ");\n");
    }
    mia__kernel_put(k, "}\n");
}

void mia__reduce_put_left(mia__kernel *k, uint32_t slot) {
    uint32_t words = mia__reduce_words(k->step);
    bool sums = is_real(k->step) && (k->step->op == MIA_OP_sum || k->step->op == MIA_OP_mean);
    mia__kernel_put(k, "fn left(at: u32) -> PARTIAL {\n    return PARTIAL(");
    for (uint32_t w = 0; w < words; w++)
        mia__kernel_add(k, "%s%sb%u[at * %uu + %uu]%s", w > 0 ? ", " : "", sums ? "bitcast<f32>(" : "", slot,
                        words, w, sums ? ")" : "");
    mia__kernel_put(k, ");\n}\n");
}
