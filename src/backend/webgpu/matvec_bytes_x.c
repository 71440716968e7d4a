/* x rounded to bytes in workgroup memory (matvec_bytes.h). */
#include "backend/webgpu/matvec_bytes.h"

#include "backend/webgpu/prepared.h"

#include <stdio.h>

bool mia__bytes_x(mia__kernel *k, const mia__product *product) {
    const mia__operand *operands[] = {product->x, product->norm_weight};
    for (uint32_t i = 0; i < 2; i++) {
        const char *name = i == 0 ? "x" : "g";
        uint32_t slot;
        if (operands[i] == NULL) continue;
        if (!mia__kernel_bind(k, operands[i]->buffer, "vec4<u32>", false, &slot)) return false;
        mia__kernel_view(k, name, &operands[i]->view);
        mia__kernel_add(
            k, "fn %s_four(i: u32) -> vec4<f32> { return bitcast<vec4<f32>>(b%u[p.%s_o / 4u + i]); }\n", name,
            slot, name);
    }
    return true;
}

/* The greatest m<j> of x's vector j, of <by> neighbours' from there on. */
static void put_greatest(mia__kernel *k, uint32_t j, uint32_t neighbours) {
    for (uint32_t by = 1; by < neighbours; by *= 2)
        mia__kernel_add(k, "        m%u = max(m%u, subgroupShuffleXor(m%u, %uu));\n", j, j, j, by);
}

static void put_own_greatest(mia__kernel *k, uint32_t j) {
    mia__kernel_add(
        k, "        let a%u = abs(v%u);\n        var m%u = max(max(a%u.x, a%u.y), max(a%u.z, a%u.w));\n", j,
        j, j, j, j, j, j);
}

static void put_rounded(mia__kernel *k, uint32_t j, const char *most) {
    mia__kernel_add(k, "        let q%u = vec4<i32>(round(v%u * select(0.0, 127.0 / %s, %s > 0.0)));\n", j, j,
                    most, most);
}

/* Vectors that follow each other are half a block, whose other half a neighbour has. */
static void put_half_block(mia__kernel *k) {
    for (uint32_t j = 0; j < 4; j++) put_own_greatest(k, j);
    mia__kernel_put(k, "        m0 = max(max(m0, m1), max(m2, m3));\n");
    put_greatest(k, 0, 2);
    for (uint32_t j = 0; j < 4; j++) put_rounded(k, j, "m0");
}

/* Each vector belongs to a block of its own, of which eight neighbours have parts; n<j> are sums of blocks. */
static void put_blocks(mia__kernel *k, bool sums) {
    for (uint32_t j = 0; j < 4; j++) {
        char most[8];
        (void)snprintf(most, sizeof most, "m%u", j);
        put_own_greatest(k, j);
        put_greatest(k, j, 8);
        put_rounded(k, j, most);
        if (!sums) continue;
        mia__kernel_add(k, "        var n%u = q%u.x + q%u.y + q%u.z + q%u.w;\n", j, j, j, j, j);
        for (uint32_t by = 1; by < 8; by *= 2)
            mia__kernel_add(k, "        n%u += subgroupShuffleXor(n%u, %uu);\n", j, j, by);
    }
}

/* What is left of a turn, once it is known who is there. */
static void put_results(mia__kernel *k, const mia__bytes_division *d, bool sums) {
    mia__kernel_put(k,
                    "        xq[t] = vec4<u32>(pack4xI8(q0), pack4xI8(q1), pack4xI8(q2), pack4xI8(q3));\n");
    if (d->each == 16) {
        mia__kernel_put(k, "        if (t % 2u == 0u) { xe[t / 2u] = m0 / 127.0; }\n");
        return;
    }
    mia__kernel_put(k, "        if (t % 8u == 0u) {\n            let e = vec4<f32>(m0, m1, m2, m3) / 127.0;\n"
                       "            xe[t / 8u] = e;\n");
    for (uint32_t j = 0; sums && j < 4; j++)
        mia__kernel_add(k, "            xs[t / 2u + %uu] = e[%u] * f32(n%u);\n", j, j, j);
    mia__kernel_put(k, "        }\n");
}

/* What an invocation rounds in its turn: vectors x<turn>_<j>, and g<turn>_<j> of the norm's weights, the first from quad
 * f<turn> of x. */
static void put_reads(mia__kernel *k, const mia__bytes_division *d, uint32_t turn, uint32_t stride,
                      bool norm) {
    mia__kernel_add(k, "    let t%u = li + %uu;\n    let at%u = min(t%u, %uu);\n    let f%u = ", turn,
                    turn * d->invocations, turn, turn, d->groups * MIA__BYTES_QUADS - 1, turn);
    if (stride == 1)
        mia__kernel_add(k, "at%u * 4u;\n", turn);
    else
        mia__kernel_add(k, "(at%u / 8u) * 32u + at%u %% 8u;\n", turn, turn);
    for (uint32_t j = 0; j < 4; j++) {
        mia__kernel_add(k, "    let x%u_%u = x_four(f%u + %uu);\n", turn, j, turn, j * stride);
        if (norm) mia__kernel_add(k, "    let g%u_%u = g_four(f%u + %uu);\n", turn, j, turn, j * stride);
    }
}

/* v<j>: what was read, times the norm's weights; zeros past x's end, where others' numbers lie, which may be infinite. */
static void put_vector(mia__kernel *k, const mia__bytes_division *d, const mia__product *product,
                       uint32_t turn, uint32_t j, uint32_t stride) {
    bool norm = product->norm_weight != NULL, padded = product->depth % MIA__PREPARED_GROUP != 0;
    if (padded || (turn + 1) * d->invocations > d->groups * MIA__BYTES_QUADS)
        mia__kernel_add(k, "        let there%u = t < %uu && (f%u + %uu) * 4u < p.depth;\n", j,
                        d->groups * MIA__BYTES_QUADS, turn, j * stride);
    else
        mia__kernel_add(k, "        let there%u = true;\n", j);
    mia__kernel_add(k, "        var v%u = select(vec4<f32>(0.0), x%u_%u, there%u);\n", j, turn, j, j);
    if (norm)
        mia__kernel_add(k,
                        "        squares += dot(v%u, v%u);\n"
                        "        v%u *= select(vec4<f32>(0.0), g%u_%u, there%u);\n",
                        j, j, j, turn, j, j);
}

void mia__bytes_rounding(mia__kernel *k, const mia__product *product, const mia__bytes_division *d,
                         bool sums) {
    bool norm = product->norm_weight != NULL;
    uint32_t quads = d->groups * MIA__BYTES_QUADS, turns = mia__divide_up(quads, d->invocations),
             stride = d->each == 16 ? 1 : 8;
    mia__kernel_add(k,
                    "var<workgroup> xq: array<vec4<u32>, %u>;\nvar<workgroup> xe: array<%s, %u>;\n"
                    "var<workgroup> xs: array<f32, %u>;\nvar<workgroup> parts: array<f32, %u>;\n"
                    "fn round_x(li: u32) {\n    var squares = 0.0;\n",
                    quads, d->each == 16 ? "f32" : "vec4<f32>", d->groups * (d->each == 16 ? 8 : 2),
                    sums ? d->groups * 8 : 1, d->invocations / d->size);
    for (uint32_t turn = 0; turn < turns; turn++) put_reads(k, d, turn, stride, norm);
    for (uint32_t turn = 0; turn < turns; turn++) {
        bool idle = (turn + 1) * d->invocations > quads;
        mia__kernel_add(k, "    { let t = t%u;\n", turn);
        for (uint32_t j = 0; j < 4; j++) put_vector(k, d, product, turn, j, stride);
        if (d->each == 16)
            put_half_block(k);
        else
            put_blocks(k, sums);
        if (idle) mia__kernel_add(k, "        if (t < %uu) {\n", quads);
        put_results(k, d, sums);
        mia__kernel_put(k, idle ? "        }\n    }\n" : "    }\n");
    }
    if (norm)
        mia__kernel_add(
            k, "    let all = subgroupAdd(squares);\n    if (li %% %uu == 0u) { parts[li / %uu] = all; }\n",
            d->size, d->size);
    mia__kernel_put(k, "    workgroupBarrier();\n}\n");
}
