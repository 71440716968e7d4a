/* Products of one column by prepared weights where activations may be rounded: x is brought into workgroup memory as 8 bits a number,
 * with a scale for each block of 32, and bytes are multiplied four at a time. Each workgroup rounds x for itself, with the norm
 * before it where there is one, and then makes as many rows as pay for that; a subgroup makes a row at a time.
 *
 *     xq   [group][72] words    64 quads of a group of 256; 8 words of room, so that the groups that a subgroup reads at once lie in
 *                               different banks
 *     xe   [group][8]           scales of blocks
 *     xs   [group][8]           sums of blocks: what least numbers of weights are multiplied by */
#include "backend/webgpu/families.h"
#include "backend/webgpu/prepared.h"
#include "backend/webgpu/product.h"
#include "backend/webgpu/rows.h"

#include <stdio.h>

#define MOST_INVOCATIONS 512
#define GROUP_WORDS      72
#define WORKGROUPS       512 /* about as many as keep a large GPU busy */

/* Of a workgroup: many, since each rounds x. */
static uint32_t invocations_of(const mia__kernel *k) {
    uint32_t most = k->info.limits.workgroup_invocations;
    return most >= MOST_INVOCATIONS ? MOST_INVOCATIONS : 128;
}

/* --- what it takes ---------------------------------------------------------------------------- */

static uint64_t groups_of(const mia__product *product) {
    return (product->depth + MIA__PREPARED_GROUP - 1) / MIA__PREPARED_GROUP;
}

static bool is_vector(const mia__operand *operand) {
    return operand->dtype == MIA_f32 && operand->view.ndim > 0 && operand->view.stride[0] == 1 &&
           operand->view.offset % 4 == 0;
}

static bool takes(const mia__kernel *k, const mia__product *product) {
    const mia__gpu_info *info = &k->info;
    bool lanes = (info->features & MIA__GPU_SUBGROUPS) != 0 && info->subgroup_least == info->subgroup_most &&
                 info->subgroup_least >= 8 && info->subgroup_least <= 128;
    if (!lanes || (info->features & MIA__GPU_PACKED_DOT) == 0 || k->webgpu->precision == MIA_PRECISION_EXACT)
        return false;
    if (product->columns != 1 || product->batches != 1 || !is_vector(product->x) ||
        (product->norm_weight != NULL && !is_vector(product->norm_weight)))
        return false;
    for (uint32_t c = 0; c < product->core_count; c++)
        if (!mia__is_prepared(k->plan, product->weights[c])) return false;
    return groups_of(product) * (GROUP_WORDS + 16) * 4 + 256 <= info->limits.workgroup_bytes;
}

/* --- text ------------------------------------------------------------------------------------- */

static bool put_x(mia__kernel *k, const mia__product *product) {
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

/* fn round_x(li): all of x; afterwards `by` is what the norm multiplies sums by. */
static void put_rounding(mia__kernel *k, const mia__product *product) {
    bool norm = product->norm_weight != NULL;
    uint32_t words = (uint32_t)groups_of(product), size = k->info.subgroup_least, all = invocations_of(k);
    mia__kernel_add(k,
                    "var<workgroup> xq: array<u32, %u>;\nvar<workgroup> xe: array<f32, %u>;\n"
                    "var<workgroup> xs: array<f32, %u>;\nvar<workgroup> parts: array<f32, %u>;\n",
                    words * GROUP_WORDS, words * 8, words * 8, all / size);
    mia__kernel_add(k,
                    "fn round_x(li: u32) -> f32 {\n    var squares = 0.0;\n    let quads = p.groups * 64u;\n"
                    "    let turns = (quads + %uu) / %uu;\n"
                    "    for (var turn = 0u; turn < turns; turn++) {\n"
                    "        let t = turn * %uu + li;\n        var v = vec4<f32>(0.0);\n"
                    "        if (t * 4u < p.depth) { v = x_four(t);%s }\n",
                    all - 1, all, all, norm ? " squares += dot(v, v); v *= g_four(t);" : "");
    mia__kernel_put(k, "        let a = abs(v);\n        var most = max(max(a.x, a.y), max(a.z, a.w));\n");
    for (uint32_t by = 1; by < 8; by *= 2)
        mia__kernel_add(k, "        most = max(most, subgroupShuffleXor(most, %uu));\n", by);
    mia__kernel_put(k, "        let inverse = select(0.0, 127.0 / most, most > 0.0);\n"
                       "        let q = vec4<i32>(round(v * inverse));\n"
                       "        var sum = q.x + q.y + q.z + q.w;\n");
    for (uint32_t by = 1; by < 8; by *= 2)
        mia__kernel_add(k, "        sum += subgroupShuffleXor(sum, %uu);\n", by);
    mia__kernel_add(k,
                    "        if (t < quads) {\n"
                    "            xq[(t / 64u) * %uu + t %% 64u] = pack4xI8(q);\n"
                    "            if (t %% 8u == 0u) { xe[t / 8u] = most / 127.0; xs[t / 8u] = most / 127.0 * "
                    "f32(sum); }\n"
                    "        }\n    }\n",
                    GROUP_WORDS);
    if (norm)
        mia__kernel_add(
            k,
            "    let all = subgroupAdd(squares);\n    if (li %% %uu == 0u) { parts[li / %uu] = all; }\n"
            "    workgroupBarrier();\n    var total = 0.0;\n"
            "    for (var i = 0u; i < %uu; i++) { total += parts[i]; }\n"
            "    return inverseSqrt(total / f32(p.depth) + p.epsilon);\n}\n",
            size, size, all / size);
    else
        mia__kernel_put(k, "    workgroupBarrier();\n    return 1.0;\n}\n");
}

/* fn job<j>(first, end, ...): rows of a workgroup, a subgroup each. */
static void put_job(mia__kernel *k, const mia__product *product, uint32_t job) {
    uint32_t size = k->info.subgroup_least, all = invocations_of(k),
             chunks = mia__prepared_chunks(product->weights[0]->dtype);
    mia__kernel_add(k,
                    "fn job%u(first: u32, li: u32, by: f32) {\n    let lane = li %% %uu;\n"
                    "    let end = min(first + p.rows_each, p.j%u_rows);\n"
                    "    for (var turn = 0u; turn < p.rows_each; turn += %uu) {\n"
                    "        let n = first + turn + li / %uu;\n        let row = min(n, p.j%u_rows - 1u);\n",
                    job, size, job, all / size, size, job);
    for (uint32_t c = 0; c < product->core_count; c++)
        mia__kernel_add(k, "        let w%u = j%uw%u_row(row, 0u);\n        var sum%u = 0.0;\n", c, job, c,
                        c);
    mia__kernel_add(k, "        for (var chunk = lane; chunk < p.groups * %uu; chunk += %uu) {\n", chunks,
                    size);
    for (uint32_t c = 0; c < product->core_count; c++)
        mia__kernel_add(k, "            sum%u += j%uw%u_bytes_dot(w%u, chunk);\n", c, job, c, c);
    mia__kernel_put(k, "        }\n");
    for (uint32_t c = 0; c < product->core_count; c++)
        mia__kernel_add(k, "        let t%u = subgroupAdd(sum%u) * by;\n", c, c);
    mia__kernel_add(k, "        if (lane == 0u && n < end) { j%u_finish(n, 0u, 0u", job);
    for (uint32_t c = 0; c < product->core_count; c++) mia__kernel_add(k, ", t%u", c);
    mia__kernel_put(k, "); }\n    }\n}\n");
}

static void put_main(mia__kernel *k, uint32_t count) {
    mia__kernel_add(
        k,
        "@compute @workgroup_size(%u)\n"
        "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) li: u32) {\n"
        "    let by = round_x(li);\n    var wg = id.x;\n",
        invocations_of(k));
    for (uint32_t j = 0; j < count; j++) {
        bool last = j + 1 == count;
        if (!last) mia__kernel_add(k, "    if (wg < p.j%u_groups) {\n", j);
        mia__kernel_add(k, "    job%u(wg * p.rows_each, li, by);\n", j);
        if (!last) mia__kernel_add(k, "    return; }\n    wg -= p.j%u_groups;\n", j);
    }
    mia__kernel_put(k, "}\n");
}

/* --- the dispatch ----------------------------------------------------------------------------- */

static double estimate(const mia__kernel *k, const mia__product *jobs, uint32_t count) {
    double bytes = 0;
    for (uint32_t j = 0; j < count; j++)
        for (uint32_t c = 0; c < jobs[j].core_count; c++)
            bytes += (double)k->plan->buffers[jobs[j].weights[c]->buffer].bytes;
    return 3000 + bytes / 1000;
}

bool mia__kernel_matvec_bytes(mia__kernel *k, const mia__product *jobs, uint32_t count) {
    uint32_t teams = 1;
    uint64_t rows = 0, workgroups = 0;
    for (uint32_t j = 0; j < count; j++) {
        if (!takes(k, &jobs[j])) return false;
        rows += jobs[j].rows;
    }
    teams = invocations_of(k) / k->info.subgroup_least;
    uint64_t each = (rows + WORKGROUPS - 1) / WORKGROUPS;
    each = (each + teams - 1) / teams * teams;
    mia__kernel_enable(k, "enable subgroups;");
    mia__kernel_enable(k, "requires packed_4x8_integer_dot_product;");
    mia__kernel_u32(k, "depth", jobs[0].depth);
    mia__kernel_u32(k, "columns", 1);
    mia__kernel_u32(k, "rows_each", each);
    if (jobs[0].norm_weight != NULL) mia__kernel_f32(k, "epsilon", jobs[0].epsilon);
    if (!put_x(k, &jobs[0])) return false;
    for (uint32_t j = 0; j < count; j++) {
        char name[32];
        for (uint32_t c = 0; c < jobs[j].core_count; c++) {
            const mia__operand *w = jobs[j].weights[c];
            (void)snprintf(name, sizeof name, "j%uw%u", j, c);
            if (!mia__kernel_rows(k, name, w, &jobs[j].step->output.view)) return false;
            mia__prepared_bytes(k, name, w->dtype, GROUP_WORDS);
        }
        (void)snprintf(name, sizeof name, "j%u_", j);
        if (!mia__product_finish(k, &jobs[j], name)) return false;
        (void)snprintf(name, sizeof name, "j%u_groups", j);
        mia__kernel_u32(k, name, (jobs[j].rows + each - 1) / each);
        workgroups += (jobs[j].rows + each - 1) / each;
        put_job(k, &jobs[j], j);
    }
    put_rounding(k, &jobs[0]);
    put_main(k, count);
    k->nanoseconds = estimate(k, jobs, count);
    return mia__kernel_end(k, workgroups, 1, 1);
}
