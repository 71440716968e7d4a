/* Running sums along one mode. Sums are made in 32 bits: of a line by one invocation where lines are short or many, else by a
 * workgroup, which goes along the line a tile at a time:
 *
 *     tile          STRETCH elements an invocation, in its own order
 *     invocation    their sum; then what all before it come to, by doubling; then its elements again
 *
 * Where elements are narrower than a word, sums lie in scratch, and a second dispatch makes words of them. */
#include "backend/webgpu/families.h"
#include "backend/webgpu/scratch.h"
#include "backend/webgpu/teams.h"

#include <string.h>

#define STRETCH    8
#define SHORT_LINE 64   /* elements that an invocation sums alone */
#define MANY_LINES 8192 /* that leave nothing to share */

typedef struct geometry {
    uint64_t lines, length, inner; /* inner: elements of the result between neighbours of a line */
    bool alone;                    /* an invocation has a line */
    bool narrow;
} geometry;

static geometry geometry_of(const mia__step *step) {
    const mia__view *out = &step->output.view;
    uint32_t mode = (uint32_t)step->attributes.i[0];
    uint64_t count = (uint64_t)mia__view_count(out);
    geometry g = {.length = (uint64_t)out->extent[mode],
                  .inner = 1,
                  .narrow = mia__kernel_per_word(step->output.dtype) > 1};
    for (uint32_t m = 0; m < mode; m++) g.inner *= (uint64_t)out->extent[m];
    g.lines = g.length > 0 ? count / g.length : 0;
    g.alone = g.length <= SHORT_LINE || g.lines >= MANY_LINES;
    return g;
}

size_t mia__scan_scratch(const mia__step *step) {
    const geometry g = geometry_of(step);
    return g.narrow ? (size_t)(g.lines * g.length) * sizeof(uint32_t) : 0;
}

/* fn x_value(line, n) and fn leave(line, n, v): element and sum number n of a line, counted from where the sums begin. */
static bool put_elements(mia__kernel *k, const geometry *g, const char *type) {
    const mia__operand *x = &k->step->inputs[0];
    uint32_t slot, mode = (uint32_t)k->step->attributes.i[0];
    mia__view lines = x->view;
    lines.extent[mode] = 1;
    lines = mia__kernel_shortened(&lines);
    if (!mia__kernel_words(k, "x", x->buffer) ||
        !mia__kernel_bind(k, g->narrow ? k->step->scratch : k->step->output.buffer, "u32", true, &slot))
        return false;
    mia__kernel_get(k, "x", x->dtype);
    mia__kernel_view(k, "x", &lines);
    mia__kernel_at(k, "x", &lines);
    mia__kernel_u32(k, "x_step", (uint64_t)x->view.stride[mode]);
    mia__kernel_u32(k, "lines", g->lines);
    mia__kernel_u32(k, "length", g->length);
    mia__kernel_u32(k, "inner", g->inner);
    const char *place = k->step->attributes.i[2] != 0 ? "p.length - 1u - n" : "n";
    mia__kernel_add(
        k,
        "fn x_value(line: u32, n: u32) -> %s { return %s(x_get(x_at(line) + (%s) * p.x_step)); }\n"
        "fn leave(line: u32, n: u32, v: %s) {\n"
        "    let at = line / p.inner * p.inner * p.length + line %% p.inner + (%s) * p.inner;\n"
        "    b%u[at] = bitcast<u32>(v);\n}\n",
        type, strcmp(type, "f32") == 0 ? "" : "bitcast<u32>", place, type, place, slot);
    return true;
}

static bool scan_alone(mia__kernel *k, const geometry *g, const char *type, bool exclusive) {
    mia__kernel_add(k,
                    "@compute @workgroup_size(%d)\n"
                    "fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: "
                    "vec3<u32>) {\n"
                    "    let line = id.x + id.y * groups.x * %du;\n"
                    "    if (line >= p.lines) { return; }\n"
                    "    var sum = %s();\n",
                    MIA__KERNEL_INVOCATIONS, MIA__KERNEL_INVOCATIONS, type);
    mia__kernel_add(k,
                    "    for (var first = 0u; first < p.length; first += 32u) {\n"
                    "        var some = %s();\n"
                    "        for (var n = first; n < min(first + 32u, p.length); n++) {\n"
                    "            let x = x_value(line, n);\n"
                    "            %s\n            some += x;\n            %s\n"
                    "        }\n        sum += some;\n    }\n}\n",
                    type, exclusive ? "leave(line, n, sum + some);" : "",
                    exclusive ? "" : "leave(line, n, sum + some);");
    return mia__kernel_end_flat(k, (g->lines + MIA__KERNEL_INVOCATIONS - 1) / MIA__KERNEL_INVOCATIONS);
}

static bool scan_together(mia__kernel *k, const geometry *g, const char *type, bool exclusive) {
    mia__kernel_add(
        k,
        "const LANES = %du;\nconst STRETCH = %du;\n"
        "var<workgroup> room: array<%s, LANES>;\n"
        "@compute @workgroup_size(LANES)\n"
        "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,\n"
        "        @builtin(local_invocation_index) local: u32) {\n"
        "    let number = id.x + id.y * groups.x;\n"
        "    let line = min(number, p.lines - 1u);\n"
        "    let end = select(0u, p.length, number < p.lines);\n"
        "    var before = %s();\n",
        MIA__KERNEL_INVOCATIONS, STRETCH, type, type);
    mia__kernel_add(k,
                    "    for (var tile = 0u; tile < p.length; tile += LANES * STRETCH) {\n"
                    "        let first = tile + local * STRETCH;\n"
                    "        let last = min(first + STRETCH, end);\n"
                    "        var some = %s();\n"
                    "        for (var n = first; n < last; n++) { some += x_value(line, n); }\n"
                    "        room[local] = some;\n"
                    "        workgroupBarrier();\n"
                    "        for (var by = 1u; by < LANES; by *= 2u) {\n"
                    "            var more = %s();\n"
                    "            if (local >= by) { more = room[local - by]; }\n"
                    "            workgroupBarrier();\n"
                    "            room[local] += more;\n"
                    "            workgroupBarrier();\n        }\n",
                    type, type);
    mia__kernel_add(k,
                    "        var sum = before;\n"
                    "        if (local > 0u) { sum += room[local - 1u]; }\n"
                    "        some = %s();\n"
                    "        for (var n = first; n < last; n++) {\n"
                    "            let x = x_value(line, n);\n"
                    "            %s\n            some += x;\n            %s\n        }\n"
                    "        before += room[LANES - 1u];\n"
                    "        workgroupBarrier();\n    }\n}\n",
                    type, exclusive ? "leave(line, n, sum + some);" : "",
                    exclusive ? "" : "leave(line, n, sum + some);");
    return mia__kernel_end_flat(k, g->lines);
}

/* Words of the sums in scratch. */
static bool narrow(mia__kernel *k) {
    const char *out = mia__kernel_type(k->step->output.dtype);
    uint32_t slot;
    if (!mia__kernel_output(k) || !mia__kernel_bind(k, k->step->scratch, "u32", false, &slot)) return false;
    mia__kernel_add(k, "fn value(i: u32) -> %s { return bitcast<%s>(b%u[i]); }\n", out, out, slot);
    return mia__kernel_map(k);
}

bool mia__kernel_cumsum(mia__kernel *k) {
    const geometry g = geometry_of(k->step);
    const char *type = strcmp(mia__kernel_type(k->step->output.dtype), "f32") == 0 ? "f32" : "u32";
    bool exclusive = k->step->attributes.i[1] != 0;
    if (g.lines == 0) return true;
    if (!put_elements(k, &g, type)) return false;
    if (!(g.alone ? scan_alone : scan_together)(k, &g, type, exclusive)) return false;
    return !g.narrow || narrow(k);
}
