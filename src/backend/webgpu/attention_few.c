/* Attention of few queries. A workgroup takes one head of a query, or several that share a group's keys and values, over a
 * range of keys, CHUNK of them at a time:
 *
 *     scores    KEY_LANES lanes share a key, and bring their parts of its product with the query together by subgroup
 *               operations; without those a lane has a key to itself
 *     values    VALUE_LANES lanes share a key's values, each with fours of its own, and keep what they weigh of every
 *               so-many-th key; at the end those sums are brought together
 *
 * Lanes that follow each other read what follows in memory. Short caches have one range, and one dispatch: bringing ranges
 * together costs another, which is more than is won. */
#include "backend/webgpu/attention.h"

#define CHUNK           1024 /* scores in workgroup memory, of all heads together */
#define MOST_LINES      1024 /* heads of all queries */
#define MOST_ON_CPU     64 /* the same of a processor, where tiles, which read keys once for many, pay earlier */
#define MOST_FOURS      8    /* that a lane keeps in registers */
#define ALONE           8192 /* fours of a head's keys that one workgroup goes through */
#define EACH_FOURS      512  /* of a range, at least */
#define LEAST_SPLITS    8
#define MOST_SPLITS     32
#define MOST_WORKGROUPS 1024

/* The most lanes, a power of two, of which few have nothing to do. */
static uint32_t lanes_for(uint32_t fours, uint32_t most) {
    for (uint32_t lanes = most; lanes > 1; lanes /= 2) {
        uint32_t idle = (fours + lanes - 1) / lanes * lanes - fours;
        if (idle * 8 <= fours) return lanes;
    }
    return 1;
}

/* Lanes of values of which one has the results. */
static uint32_t side_by_side(const mia__attention *a) {
    return a->subgroup > a->value_lanes ? a->subgroup : a->value_lanes;
}

static uint32_t workgroup_bytes(const mia__attention *a) {
    uint32_t parts = a->subgroup > 1 ? a->lanes / a->subgroup : a->lanes + 16,
             rooms = a->lanes / side_by_side(a);
    return a->heads_at_once * a->key_lanes * a->key_fours * 16 + CHUNK * 4 + a->heads_at_once * parts * 4 +
           rooms * (a->value_lanes * 16 + 4) + 16;
}

/* Larger workgroups are slower to begin, and pay where they are few. */
static uint32_t lanes_of(const mia__attention *a, const mia__gpu_info *info) {
    const mia__gpu_limits *limits = &info->limits;
    if (info->processor) return 64;
    if (a->splits > 1) return 128;
    bool large = limits->workgroup_invocations >= 512 && limits->workgroup_size[0] >= 512;
    return a->held > 128 && a->heads * a->queries < 512 && large ? 512 : 256;
}

/* Ranges of keys: enough workgroups, of which each has some to do. The cache's room stands for its length. */
static uint32_t splits_of(const mia__attention *a) {
    uint64_t fours = a->held * (a->d4 + a->e4) / 2;
    uint32_t splits = LEAST_SPLITS;
    if (fours <= ALONE || a->heads * a->queries >= MOST_WORKGROUPS) return 1;
    while (splits < MOST_SPLITS && splits * 2 * EACH_FOURS <= fours &&
           splits * 2 * a->heads * a->queries <= MOST_WORKGROUPS)
        splits *= 2;
    return splits;
}

bool mia__attention_few_of(mia__attention *a, const mia__gpu_info *info) {
    uint64_t lines = a->heads * a->queries;
    if (lines > (info->processor ? MOST_ON_CPU : MOST_LINES) || a->held == 0 || a->d == 0) return false;
    a->subgroup = mia__webgpu_subgroup(info);
    a->splits = splits_of(a);
    a->lanes = lanes_of(a, info);
    a->heads_at_once = a->fellows % 2 == 0 && lines >= 512 ? 2 : 1;
    a->key_lanes = lanes_for(a->d4, a->subgroup < 32 ? a->subgroup : 32);
    a->key_fours = (a->d4 + a->key_lanes - 1) / a->key_lanes;
    a->value_lanes = lanes_for(a->e4, 32);
    a->value_fours = (a->e4 + a->value_lanes - 1) / a->value_lanes;
    bool takes = a->value_fours <= MOST_FOURS && a->key_fours * a->heads_at_once <= MOST_FOURS * 4 &&
                 workgroup_bytes(a) <= info->limits.workgroup_bytes;
    if (!takes) a->splits = 1;
    return takes;
}

/* --- text --------------------------------------------------------------------------------------- */

#define HEADS(h)        for (uint32_t h = 0; h < a->heads_at_once; h++)
#define COUNTED(i, end) for (uint32_t i = 0; i < (end); i++)

/* Keys of a lane at a time, so that enough is on its way from memory. */
static uint32_t ahead(const mia__attention *a, uint32_t fours) {
    uint32_t most = a->splits > 1 ? 4 : 8;
    return fours < most ? most / fours : 1;
}

static void put_start(mia__kernel *k, const mia__attention *a) {
    const mia__kernel_grid grid = {a->splits, a->fellows / a->heads_at_once * a->queries, a->groups};
    mia__kernel_main(k, grid, a->lanes, "@builtin(local_invocation_index) local: u32");
    mia__kernel_put(
        k, "    let row = id.y * HEADS;\n    let group = id.z;\n"
           "    let query = row / p.fellows;\n    let head = group * p.fellows + row % p.fellows;\n"
           "    if (local == 0u) { seen = visible(query); }\n"
           "    for (var i = local; i < HEADS * Q4; i += LANES) {\n"
           "        let d = i % Q4;\n"
           "        let four = q_four(q_row(head + i / Q4, query), min(d, D4 - 1u) * 4u) * p.scale;\n"
           "        held[i] = select(vec4<f32>(), four, d < D4);\n    }\n"
           "    let most = workgroupUniformLoad(&seen);\n"
           "    let range = (most + SPLITS - 1u) / SPLITS;\n"
           "    let begin = min(id.x * range, most);\n    let end = min(begin + range, most);\n"
           "    let key_slot = local / KEY_LANES;\n    let key_lane = local % KEY_LANES;\n"
           "    let value_slot = local / VALUE_LANES;\n    let value_lane = local % VALUE_LANES;\n");
    HEADS(h) {
        if (a->key_fours <= MOST_FOURS) COUNTED(v, a->key_fours)
        mia__kernel_add(k, "    let q%u_%u = held[%uu * Q4 + %uu + key_lane];\n", h, v, h, v * a->key_lanes);
        mia__kernel_add(k, "    var top%u = LOWEST;\n    var sum%u = 0.0;\n", h, h);
        if (k->step->op == MIA_OP_attention_masked)
            mia__kernel_add(k, "    let mask%u = mask_row(head + %uu, query);\n", h, h);
        COUNTED(v, a->value_fours)
        mia__kernel_add(k, "    var all%u_%u = vec4<f32>();\n", h, v);
    }
}

/* A score of one key, which all its lanes have. */
static void put_score(mia__kernel *k, const mia__attention *a, uint32_t h, uint32_t u) {
    mia__kernel_add(k, "            var s%u_%u = 0.0", h, u);
    COUNTED(v, a->key_fours) {
        if (a->key_fours <= MOST_FOURS)
            mia__kernel_add(k, " + dot(q%u_%u, k%u_%u)", h, v, u, v);
        else
            mia__kernel_add(k, " + dot(held[%uu * Q4 + %uu + key_lane], k%u_%u)", h, v * a->key_lanes, u, v);
    }
    mia__kernel_put(k, ";\n");
    for (uint32_t by = a->key_lanes / 2; by >= 1; by /= 2)
        mia__kernel_add(k, "            s%u_%u += subgroupShuffleXor(s%u_%u, %uu);\n", h, u, h, u, by);
    if (k->step->op == MIA_OP_attention_masked)
        mia__kernel_add(
            k,
            "            { let m = mask_get(mask%u + (first + min(i%u, count - 1u)) * p.mask_key);\n"
            "            s%u_%u = masked(s%u_%u, m); }\n",
            h, u, h, u, h, u);
    mia__kernel_add(k,
                    "            if (i%u < count) {\n"
                    "                most%u = max(most%u, s%u_%u);\n"
                    "                if (key_lane == 0u) { scores[%uu * CHUNK + i%u] = s%u_%u; }\n"
                    "            }\n",
                    u, h, h, h, u, h, u, h, u);
}

static void put_scores(mia__kernel *k, const mia__attention *a) {
    uint32_t keys = ahead(a, a->key_fours);
    HEADS(h) mia__kernel_add(k, "        var most%u = LOWEST;\n", h);
    mia__kernel_add(k, "        for (var at = 0u; at < count; at += KEY_SLOTS * %uu) {\n", keys);
    COUNTED(u, keys) {
        mia__kernel_add(k,
                        "            let i%u = at + %uu * KEY_SLOTS + key_slot;\n"
                        "            let r%u = k_row(first + min(i%u, count - 1u), group);\n",
                        u, u, u, u);
        COUNTED(v, a->key_fours)
        mia__kernel_add(k, "            let k%u_%u = k_four(r%u, min(%uu + key_lane, D4 - 1u) * 4u);\n", u, v,
                        u, v * a->key_lanes);
    }
    COUNTED(u, keys) HEADS(h) put_score(k, a, h, u);
    mia__kernel_put(k, "        }\n");
}

/* top<h>: the greatest score so far; and what was summed under a lower one brought down. */
static void put_tops(mia__kernel *k, const mia__attention *a) {
    if (a->subgroup > 1) {
        HEADS(h)
        mia__kernel_add(
            k,
            "        { let all = subgroupMax(most%u);\n"
            "        if (local %% SUBGROUP == 0u) { tops[%uu * PARTS + local / SUBGROUP] = all; } }\n",
            h, h);
    } else {
        HEADS(h) mia__kernel_add(k, "        room_of_tops[%uu * LANES + local] = most%u;\n", h, h);
        mia__kernel_put(k, "        workgroupBarrier();\n        if (local < PARTS) {\n");
        HEADS(h)
        mia__kernel_add(k,
                        "            { var all = LOWEST;\n"
                        "            for (var i = local; i < LANES; i += PARTS) { all = max(all, "
                        "room_of_tops[%uu * LANES + i]); }\n"
                        "            tops[%uu * PARTS + local] = all; }\n",
                        h, h);
        mia__kernel_put(k, "        }\n");
    }
    mia__kernel_put(k, "        workgroupBarrier();\n");
    HEADS(h) {
        mia__kernel_add(
            k,
            "        var next%u = top%u;\n"
            "        for (var i = 0u; i < PARTS; i++) { next%u = max(next%u, tops[%uu * PARTS + i]); }\n"
            "        let shrink%u = select(exp(top%u - next%u), 0.0, top%u <= LOWEST);\n"
            "        top%u = next%u;\n        sum%u *= shrink%u;\n",
            h, h, h, h, h, h, h, h, h, h, h, h, h);
        COUNTED(v, a->value_fours) mia__kernel_add(k, "        all%u_%u *= shrink%u;\n", h, v, h);
    }
}

static void put_values(mia__kernel *k, const mia__attention *a) {
    uint32_t keys = ahead(a, a->value_fours);
    mia__kernel_add(k, "        for (var at = value_slot; at < count; at += VALUE_SLOTS * %uu) {\n", keys);
    COUNTED(u, keys) {
        mia__kernel_add(k,
                        "            let i%u = at + %uu * VALUE_SLOTS;\n"
                        "            let c%u = min(i%u, count - 1u);\n"
                        "            let r%u = v_row(first + c%u, group);\n",
                        u, u, u, u, u, u);
        COUNTED(v, a->value_fours)
        mia__kernel_add(k, "            let v%u_%u = v_four(r%u, min(%uu + value_lane, E4 - 1u) * 4u);\n", u,
                        v, u, v * a->value_lanes);
    }
    COUNTED(u, keys) HEADS(h) {
        mia__kernel_add(k,
                        "            { let s = scores[%uu * CHUNK + c%u];\n"
                        "            let w = select(exp(s - top%u), 0.0, i%u >= count || s <= LOWEST);\n"
                        "            sum%u += w;\n",
                        h, u, h, u, h);
        COUNTED(v, a->value_fours)
        mia__kernel_add(k, "            all%u_%u += w * v%u_%u;\n", h, v, u, v);
        mia__kernel_put(k, "            }\n");
    }
    mia__kernel_put(k, "        }\n        workgroupBarrier();\n");
}

/* Sums of lanes with the same fours: in a subgroup, and then of all. */
static void put_results(mia__kernel *k, const mia__attention *a) {
    HEADS(h) {
        for (uint32_t by = a->value_lanes; by < a->subgroup; by *= 2) {
            mia__kernel_add(k, "    sum%u += subgroupShuffleXor(sum%u, %uu);\n", h, h, by);
            COUNTED(v, a->value_fours)
            mia__kernel_add(k, "    all%u_%u += subgroupShuffleXor(all%u_%u, %uu);\n", h, v, h, v, by);
        }
    }
    HEADS(h) COUNTED(v, a->value_fours) {
        mia__kernel_add(k,
                        "    if (local %% SIDE < VALUE_LANES) { room[local / SIDE * VALUE_LANES + "
                        "value_lane] = all%u_%u; }\n"
                        "    if (local %% SIDE == 0u) { sums[local / SIDE] = sum%u; }\n"
                        "    workgroupBarrier();\n"
                        "    if (local < VALUE_LANES && local + %uu < E4) {\n"
                        "        var x = room[local];\n        var sum = sums[0];\n"
                        "        for (var i = 1u; i < ROOMS; i++) { x += room[i * VALUE_LANES + local]; sum "
                        "+= sums[i]; }\n"
                        "        leave(id.x, query * p.heads + head + %uu, local + %uu, x, top%u, sum);\n"
                        "    }\n",
                        h, v, h, v * a->value_lanes, h, v * a->value_lanes, h);
        if (h + 1 < a->heads_at_once || v + 1 < a->value_fours)
            mia__kernel_put(k, "    workgroupBarrier();\n");
    }
}

/* Rooms for groups of so many lanes, one lane or more. */
static uint32_t rooms(const mia__attention *a, uint32_t group) {
    return group > 1 ? a->lanes / group : a->lanes;
}

static void put_constants(mia__kernel *k, const mia__attention *a) {
    uint32_t side = side_by_side(a), parts = a->subgroup > 1 ? a->lanes / a->subgroup : 16;
    mia__kernel_add(k,
                    "const HEADS = %uu;\nconst LANES = %uu;\nconst SUBGROUP = %uu;\nconst PARTS = %uu;\n"
                    "const KEY_LANES = %uu;\nconst KEY_SLOTS = %uu;\nconst Q4 = %uu;\n"
                    "const VALUE_LANES = %uu;\nconst VALUE_SLOTS = %uu;\nconst SIDE = %uu;\n"
                    "const ROOMS = %uu;\nconst CHUNK = %uu;\n",
                    a->heads_at_once, a->lanes, a->subgroup, parts, a->key_lanes, rooms(a, a->key_lanes),
                    a->key_lanes * a->key_fours, a->value_lanes, rooms(a, a->value_lanes), side,
                    rooms(a, side), a->heads_at_once == 2 ? CHUNK / 2 : CHUNK);
    mia__kernel_put(k, "var<workgroup> seen: u32;\n"
                       "var<workgroup> held: array<vec4<f32>, HEADS * Q4>;\n"
                       "var<workgroup> scores: array<f32, HEADS * CHUNK>;\n"
                       "var<workgroup> tops: array<f32, HEADS * PARTS>;\n"
                       "var<workgroup> room: array<vec4<f32>, ROOMS * VALUE_LANES>;\n"
                       "var<workgroup> sums: array<f32, ROOMS>;\n");
    if (a->subgroup == 1)
        mia__kernel_put(k, "var<workgroup> room_of_tops: array<f32, HEADS * LANES>;\n");
    else
        mia__kernel_enable(k, "enable subgroups;");
}

bool mia__attention_few(mia__kernel *k, const mia__attention *a) {
    if (!mia__attention_operands(k, a) || !mia__attention_leave(k, a)) return false;
    put_constants(k, a);
    put_start(k, a);
    mia__kernel_put(k, "    for (var first = begin; first < end; first += CHUNK) {\n"
                       "        let count = min(end - first, CHUNK);\n");
    put_scores(k, a);
    put_tops(k, a);
    put_values(k, a);
    mia__kernel_put(k, "    }\n");
    put_results(k, a);
    mia__kernel_put(k, "}\n");
    double work = (double)(a->heads * a->queries) * (double)a->held * (double)(a->d + a->e);
    k->nanoseconds = 4000 + work / 1000;
    return mia__kernel_end_grid(k);
}
