/* Workgroups cut into teams (teams.h). */
#include "backend/webgpu/teams.h"

#define LONG_ROW 2048 /* elements that are worth more invocations than a workgroup has by default */

static bool has_room(const mia__kernel *k, uint32_t invocations, uint32_t bytes) {
    const mia__gpu_limits *limits = &k->info.limits;
    return limits->workgroup_invocations >= invocations && limits->workgroup_size[0] >= invocations &&
           limits->workgroup_bytes >= (bytes + 4) * invocations;
}

mia__teams mia__teams_for(const mia__kernel *k, uint64_t length, uint32_t multiple, uint32_t bytes) {
    mia__teams teams = {.invocations = MIA__KERNEL_INVOCATIONS, .team = 1};
    while (!k->info.processor && length >= LONG_ROW && teams.invocations < 1024 &&
           has_room(k, teams.invocations * 2, bytes))
        teams.invocations *= 2;
    return mia__teams_of(teams.invocations, length, multiple);
}

mia__teams mia__teams_of(uint32_t invocations, uint64_t length, uint32_t multiple) {
    mia__teams teams = {.invocations = invocations, .team = 1};
    while (teams.team < teams.invocations && (uint64_t)teams.team * 4 < length) teams.team *= 2;
    uint32_t at_once = teams.invocations / teams.team;
    teams.rounds = at_once < multiple ? multiple / at_once : 1;
    teams.rows = at_once * teams.rounds;
    return teams;
}

void mia__teams_put(mia__kernel *k, const mia__teams *teams) {
    mia__kernel_add(k,
                    "const INVOCATIONS = %uu;\nconst TEAM = %uu;\nconst TEAMS = %uu;\nconst ROUNDS = %uu;\n"
                    "const ROWS = %uu;\n",
                    teams->invocations, teams->team, teams->invocations / teams->team, teams->rounds,
                    teams->rows);
}

/* Through workgroup memory: a tree, four branches at a time where there are as many. */
static void join_in_memory(mia__kernel *k, const mia__teams *teams, const char *name, const char *type,
                           uint32_t stride) {
    mia__kernel_add(k,
                    "var<workgroup> %s_room: array<%s, INVOCATIONS>;\n"
                    "fn %s(local: u32, v: %s) -> %s {\n"
                    "    let lane = (local / %uu) %% TEAM;\n"
                    "    let first = local - lane * %uu;\n"
                    "    %s_room[local] = v;\n"
                    "    workgroupBarrier();\n",
                    name, type, name, type, type, stride, stride, name);
    for (uint32_t width = teams->team; width > 1;) {
        uint32_t branches = width >= 4 ? 4 : 2;
        width /= branches;
        mia__kernel_add(k, "    if (lane < %uu) {\n        var a = %s_room[local];\n", width, name);
        for (uint32_t b = 1; b < branches; b++)
            mia__kernel_add(k, "        a = %s_two(a, %s_room[local + %uu]);\n", name, name,
                            b * width * stride);
        mia__kernel_add(k, "        %s_room[local] = a;\n    }\n    workgroupBarrier();\n", name);
    }
    mia__kernel_add(k,
                    "    let all = %s_room[first];\n"
                    "    workgroupBarrier();\n"
                    "    return all;\n}\n",
                    name);
}

/* Each lane's `a` joined with those of `width` lanes, which follow each other. */
static void exchange(mia__kernel *k, const char *name, uint32_t width) {
    for (uint32_t by = 1; by < width; by *= 2)
        mia__kernel_add(k, "    a = %s_two(a, subgroupShuffleXor(a, %uu));\n", name, by);
}

/* Within subgroups first; what those of a team have meets in workgroup memory. */
static void join_by_subgroups(mia__kernel *k, const mia__teams *teams, const char *name, const char *type,
                              uint32_t size) {
    uint32_t parts = teams->team / size; /* of a team */
    mia__kernel_enable(k, "enable subgroups;");
    if (parts > 1)
        mia__kernel_add(k, "var<workgroup> %s_room: array<%s, %u>;\n", name, type, teams->invocations / size);
    mia__kernel_add(k, "fn %s(local: u32, v: %s) -> %s {\n    var a = v;\n", name, type, type);
    exchange(k, name, parts > 1 ? size : teams->team);
    if (parts > 1) {
        uint32_t width = parts < size ? parts : size;
        mia__kernel_add(k,
                        "    if (local %% %uu == 0u) { %s_room[local / %uu] = a; }\n"
                        "    workgroupBarrier();\n"
                        "    let first = local / TEAM * %uu + local %% %uu;\n"
                        "    a = %s_room[first];\n",
                        size, name, size, parts, width, name);
        for (uint32_t part = width; part < parts; part += width)
            mia__kernel_add(k, "    a = %s_two(a, %s_room[first + %uu]);\n", name, name, part);
        exchange(k, name, width);
        mia__kernel_put(k, "    workgroupBarrier();\n");
    }
    mia__kernel_put(k, "    return a;\n}\n");
}

void mia__teams_join(mia__kernel *k, const mia__teams *teams, const char *name, const char *type,
                     const char *join, bool interleaved) {
    uint32_t size = mia__webgpu_subgroup(&k->info);
    mia__kernel_add(k, "fn %s_two(a: %s, b: %s) -> %s { return %s; }\n", name, type, type, type, join);
    if (size > 1 && !interleaved && teams->invocations % size == 0)
        join_by_subgroups(k, teams, name, type, size);
    else
        join_in_memory(k, teams, name, type, interleaved ? teams->invocations / teams->team : 1);
}

mia__view mia__kernel_shortened(const mia__view *view) {
    mia__view out = {.offset = view->offset};
    for (uint32_t m = 0; m < view->ndim; m++) {
        uint32_t last = out.ndim - 1;
        if (view->extent[m] == 1) continue;
        if (out.ndim > 0 && view->stride[m] == out.stride[last] * out.extent[last]) {
            out.extent[last] *= view->extent[m];
            continue;
        }
        out.extent[out.ndim] = view->extent[m];
        out.stride[out.ndim++] = view->stride[m];
    }
    return out;
}
