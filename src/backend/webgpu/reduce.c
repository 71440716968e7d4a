/* Reductions over a set of modes. What stays are results, what goes the elements of each, numbered first mode fastest. A team
 * of invocations works a result out: neighbours take neighbouring elements where those lie side by side, and neighbouring
 * results where those do. Where there are few results the elements are cut into parts as well: each leaves what it gives in
 * scratch, and a second dispatch joins the parts.
 *
 * What some of the elements come to is a PARTIAL (reduce_text.c): how it starts, takes an element in, is joined with
 * another, and becomes a result. Elements are taken in over short stretches, which are then joined. */
#include "backend/webgpu/reduce.h"
#include "backend/webgpu/families.h"
#include "backend/webgpu/scratch.h"
#include "backend/webgpu/teams.h"

#define WORKGROUPS 512 /* that keep a GPU busy */
#define PART       8   /* elements of an invocation that are worth a part */
#define MOST_PARTS 512
#define SIDE       32 /* neighbouring results that are read together */

typedef struct geometry {
    mia__view kept, reduced;
    uint64_t results, count, parts;
    bool interleaved; /* neighbours take neighbouring results */
    mia__teams teams;
} geometry;

static int64_t first_stride(const mia__view *view) {
    if (view->ndim == 0) return INT64_MAX;
    return view->stride[0] < 0 ? -view->stride[0] : view->stride[0];
}

/* Cuts the operand's view into the modes that stay and those that go. */
static void split(const mia__step *step, geometry *g) {
    const mia__view *x = &step->inputs[0].view, *out = &step->output.view;
    mia__view kept = *x, reduced = *x;
    reduced.offset = 0;
    for (uint32_t m = 0; m < x->ndim; m++) *(out->extent[m] == 1 ? &kept.extent[m] : &reduced.extent[m]) = 1;
    g->results = (uint64_t)mia__view_count(&kept);
    g->count = (uint64_t)mia__view_count(&reduced);
    g->kept = mia__kernel_shortened(&kept);
    g->reduced = mia__kernel_shortened(&reduced);
}

static mia__teams teams_for(const mia__step *step, uint64_t length, uint64_t results, bool interleaved) {
    uint32_t multiple = mia__kernel_per_word(step->output.dtype), side = 1;
    mia__teams teams = mia__teams_of(MIA__KERNEL_INVOCATIONS, length, multiple);
    while (interleaved && side < SIDE && side < results) side *= 2;
    if (teams.team > teams.invocations / side)
        teams = mia__teams_of(MIA__KERNEL_INVOCATIONS, teams.invocations / side, multiple);
    return teams;
}

static geometry geometry_of(const mia__step *step) {
    geometry g = {.parts = 1};
    split(step, &g);
    if (g.results == 0 || g.count == 0) return g;
    g.interleaved = g.results > 1 && first_stride(&g.kept) < first_stride(&g.reduced);
    g.teams = teams_for(step, g.count, g.results, g.interleaved);
    uint64_t workgroups = (g.results + g.teams.rows - 1) / g.teams.rows;
    uint64_t worth = g.count / (g.teams.team * PART), most = WORKGROUPS / workgroups;
    g.parts = worth < most ? worth : most;
    if (g.parts > MOST_PARTS) g.parts = MOST_PARTS;
    if (g.parts < 2) g.parts = 1;
    return g;
}

size_t mia__reduce_scratch(const mia__step *step) {
    const geometry g = geometry_of(step);
    return g.parts > 1 ? (size_t)(g.results * g.parts) * mia__reduce_words(step) * sizeof(uint32_t) : 0;
}

/* --- a team's work ------------------------------------------------------------------------------ */

/* fn work(r, lane, begin, end) -> PARTIAL: over elements begin .. end of result r; `take` takes in the one that is number N. */
static void put_work(mia__kernel *k, const char *set_up, const char *take) {
    mia__kernel_add(k,
                    "fn work(r: u32, lane: u32, begin: u32, end: u32) -> PARTIAL {\n%s"
                    "    var all = start();\n"
                    "    var n = begin + lane;\n"
                    "    while (n < end) {\n"
                    "        var some = start();\n"
                    "        for (var i = 0u; i < 4u && n + 3u * TEAM < end; i++) {\n",
                    set_up);
    for (uint32_t i = 0; i < 4; i++)
        mia__kernel_add(k, "            { let m = n + %uu * TEAM; some = %s; }\n", i, take);
    mia__kernel_add(k,
                    "            n += 4u * TEAM;\n        }\n"
                    "        if (n + 3u * TEAM >= end) {\n"
                    "            for (; n < end; n += TEAM) { let m = n; some = %s; }\n"
                    "        }\n"
                    "        all = join(all, some);\n"
                    "    }\n    return all;\n}\n",
                    take);
}

/* The workgroup's results: results `first` .. in `found`; of all elements, or of one part. */
static void put_main(mia__kernel *k, bool interleaved, const char *finish) {
    mia__kernel_add(k,
                    "var<workgroup> found: array<PARTIAL, ROWS>;\n"
                    "@compute @workgroup_size(INVOCATIONS)\n"
                    "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,\n"
                    "        @builtin(local_invocation_index) local: u32) {\n"
                    "    let number = id.x + id.y * n.x;\n"
                    "    let part = number %% p.parts;\n"
                    "    let first = number / p.parts * ROWS;\n"
                    "    let begin = part * p.part;\n"
                    "    let end = min(begin + p.part, p.length);\n"
                    "    let lane = %s;\n    let team = %s;\n",
                    interleaved ? "local / TEAMS" : "local % TEAM",
                    interleaved ? "local % TEAMS" : "local / TEAM");
    mia__kernel_put(
        k, "    for (var round = 0u; round < ROUNDS; round++) {\n"
           "        let row = round * TEAMS + team;\n"
           "        let all = joined(local, work(min(first + row, p.results - 1u), lane, begin, end));\n"
           "        if (lane == 0u) { found[row] = all; }\n"
           "    }\n"
           "    workgroupBarrier();\n");
    mia__kernel_put(k, finish);
    mia__kernel_put(k, "}\n");
}

static void put_lengths(mia__kernel *k, const mia__teams *teams, uint64_t results, uint64_t length,
                        uint64_t parts) {
    mia__teams_put(k, teams);
    mia__kernel_u32(k, "results", results);
    mia__kernel_u32(k, "length", length);
    mia__kernel_u32(k, "parts", parts);
    mia__kernel_u32(k, "part", (length + parts - 1) / parts);
}

/* What finish() makes of the partials found, in whole words. */
static const char *writing(const mia__step *step) {
    switch (mia__kernel_per_word(step->output.dtype)) {
    case 1:
        return "    for (var i = local; i < ROWS && first + i < p.results; i += INVOCATIONS) {\n"
               "        out_put(first + i, finish(found[i]));\n    }\n";
    case 2:
        return "    for (var i = local * 2u; i < ROWS && first + i < p.results; i += INVOCATIONS * 2u) {\n"
               "        out_put((first + i) / 2u, finish(found[i]), finish(found[i + 1u]));\n    }\n";
    default:
        return "    for (var i = local * 4u; i < ROWS && first + i < p.results; i += INVOCATIONS * 4u) {\n"
               "        out_put((first + i) / 4u, finish(found[i]), finish(found[i + 1u]), finish(found[i + "
               "2u]),\n"
               "            finish(found[i + 3u]));\n    }\n";
    }
}

/* --- dispatches --------------------------------------------------------------------------------- */

/* The elements: all of each result, or parts of them. */
static bool reduce(mia__kernel *k, const geometry *g) {
    const mia__operand *x = &k->step->inputs[0];
    uint32_t slot = 0;
    bool whole = g->parts == 1;
    if (!mia__kernel_words(k, "x", x->buffer)) return false;
    if (whole ? !mia__kernel_output(k) : !mia__kernel_bind(k, k->step->scratch, "u32", true, &slot))
        return false;
    put_lengths(k, &g->teams, g->results, g->count, g->parts);
    mia__kernel_get(k, "x", x->dtype);
    mia__kernel_view(k, "r", &g->kept);
    mia__kernel_at(k, "r", &g->kept);
    mia__kernel_view(k, "e", &g->reduced);
    mia__kernel_at(k, "e", &g->reduced);
    mia__kernel_add(k, "fn x_value(r: u32, n: u32) -> %s { return x_get(r + e_at(n)); }\n",
                    mia__kernel_type(x->dtype));
    mia__reduce_put(k, g->count);
    mia__teams_join(k, &g->teams, "joined", "PARTIAL", "join(a, b)", g->interleaved);
    put_work(k, "    let at = r_at(r);\n", "take(some, x_value(at, m), m)");
    if (whole) {
        put_main(k, g->interleaved, writing(k->step));
    } else {
        mia__reduce_put_leave(k, slot);
        put_main(k, g->interleaved,
                 "    for (var i = local; i < ROWS && first + i < p.results; i += INVOCATIONS) {\n"
                 "        leave((first + i) * p.parts + part, found[i]);\n    }\n");
    }
    return mia__kernel_end_flat(k, (g->results + g->teams.rows - 1) / g->teams.rows * g->parts);
}

/* The parts. */
static bool combine(mia__kernel *k, const geometry *g) {
    const mia__teams teams = teams_for(k->step, g->parts, g->results, false);
    uint32_t slot;
    if (!mia__kernel_output(k) || !mia__kernel_bind(k, k->step->scratch, "u32", false, &slot)) return false;
    put_lengths(k, &teams, g->results, g->parts, 1);
    mia__kernel_u32(k, "stretches", g->parts);
    mia__reduce_put(k, g->count);
    mia__reduce_put_left(k, slot);
    mia__teams_join(k, &teams, "joined", "PARTIAL", "join(a, b)", false);
    put_work(k, "", "join(some, left(r * p.stretches + m))");
    put_main(k, false, writing(k->step));
    return mia__kernel_end_flat(k, (g->results + teams.rows - 1) / teams.rows);
}

bool mia__kernel_reduce(mia__kernel *k) {
    const geometry g = geometry_of(k->step);
    if (g.results == 0) return true;
    if (g.count > UINT32_MAX - 65536) return mia__kernel_refuse(k, "it reduces more than 2^32 elements");
    if (g.count == 0) { /* of nothing */
        if (!mia__kernel_output(k)) return false;
        mia__reduce_put(k, 0);
        mia__kernel_add(k, "fn value(i: u32) -> %s { return finish(start()); }\n",
                        mia__kernel_type(k->step->output.dtype));
        return mia__kernel_map(k);
    }
    return reduce(k, &g) && (g.parts == 1 || combine(k, &g));
}
