/* Softmax and norms: rows that a team of invocations measures, and whose elements its workgroup then writes, word by word.
 *
 *     mode 0        softmax, log_softmax, l2_norm, rms_norm, layer_norm: channels are a row's places
 *     group_norm    modes before the channels' and the channels of one group
 *
 * Sums are made in f32, over short stretches that are then added. Squares leave its range where numbers are very large or
 * very small: so they are summed as they are, of numbers made smaller, and of numbers made larger, and the sum that has the
 * range is taken. What a row was found to be is one vec4, `stat`: what is taken off, a power of two, a factor. */
#include "backend/webgpu/families.h"
#include "backend/webgpu/math.h"
#include "backend/webgpu/reduce.h"
#include "backend/webgpu/teams.h"

#include <math.h>
#include <stdio.h>

typedef struct norm {
    uint64_t rows, length;
    uint32_t weights; /* operands beside x: none, weight, or weight and bias */
} norm;

static norm norm_of(const mia__step *step) {
    const mia__view *out = &step->output.view;
    norm n = {.length = out->ndim > 0 ? (uint64_t)out->extent[0] : 1, .weights = step->input_count - 1};
    uint64_t count = (uint64_t)mia__view_count(out);
    if (step->op == MIA_OP_group_norm) {
        uint32_t mode = (uint32_t)step->attributes.i[0];
        n.length = (uint64_t)out->extent[mode] / (uint64_t)step->attributes.i[1];
        for (uint32_t m = 0; m < mode; m++) n.length *= (uint64_t)out->extent[m];
    }
    n.rows = n.length > 0 ? count / n.length : 0;
    return n;
}

/* --- elements ----------------------------------------------------------------------------------- */

/* fn x_value(r, i) -> f32: element i of row r. */
static bool put_elements(mia__kernel *k) {
    const mia__operand *x = &k->step->inputs[0];
    mia__view view = x->view, shortened;
    if (!mia__kernel_words(k, "x", x->buffer)) return false;
    mia__kernel_get(k, "x", x->dtype);
    if (k->step->op == MIA_OP_group_norm) {
        shortened = mia__kernel_shortened(&view);
        mia__kernel_view(k, "x", &shortened);
        mia__kernel_at(k, "x", &shortened);
        mia__kernel_put(k, "fn x_value(r: u32, i: u32) -> f32 { return x_get(x_at(r * p.length + i)); }\n");
        return true;
    }
    mia__kernel_u32(k, "x_step", view.ndim > 0 ? (uint64_t)view.stride[0] : 0);
    bool follows = view.ndim > 0 && view.stride[0] == 1;
    if (view.ndim > 0) view.extent[0] = 1;
    shortened = mia__kernel_shortened(&view);
    mia__kernel_view(k, "x", &shortened);
    mia__kernel_at(k, "x", &shortened);
    mia__kernel_add(k, "fn x_value(r: u32, i: u32) -> f32 { return x_get(x_at(r) + i%s); }\n",
                    follows ? "" : " * p.x_step");
    return true;
}

/* fn <name>_value(r, i) -> f32: the weight, or the bias, of that element. */
static bool put_weights(mia__kernel *k, const char *name, const mia__operand *operand) {
    if (!mia__kernel_input(k, name, operand)) return false;
    mia__kernel_add(k, "fn %s_value(r: u32, i: u32) -> f32 { return %s_get(%s_at(%s)); }\n", name, name, name,
                    k->step->op == MIA_OP_group_norm ? "(r % p.groups) * p.channels + i / p.inner" : "i");
    return true;
}

static bool put_operands(mia__kernel *k, const norm *n) {
    const mia__step *step = k->step;
    mia__kernel_u32(k, "length", n->length);
    mia__kernel_u32(k, "rows", n->rows);
    if (step->op == MIA_OP_group_norm) {
        uint64_t groups = (uint64_t)step->attributes.i[1];
        uint64_t channels = (uint64_t)step->output.view.extent[step->attributes.i[0]] / groups;
        mia__kernel_u32(k, "groups", groups);
        mia__kernel_u32(k, "channels", channels);
        mia__kernel_u32(k, "inner", n->length / channels);
    }
    return mia__kernel_output(k) && put_elements(k) &&
           (n->weights < 1 || put_weights(k, "weight", &step->inputs[1])) &&
           (n->weights < 2 || put_weights(k, "bias", &step->inputs[2]));
}

/* --- what a row is ------------------------------------------------------------------------------ */

/* fn <name>(r, lane, local, a: f32) -> T: over a row's elements x, of <term>; each stretch begins at `start`. */
static void put_pass(mia__kernel *k, const mia__teams *teams, const char *name, const char *type,
                     const char *start, const char *term, const char *join) {
    char team[32];
    (void)snprintf(team, sizeof team, "%s_team", name);
    mia__teams_join(k, teams, team, type, join, false);
    mia__kernel_add(k, "fn %s_term(x: f32, a: f32) -> %s {\n%s}\n", name, type, term);
    mia__kernel_add(k,
                    "fn %s(r: u32, lane: u32, local: u32, a: f32) -> %s {\n"
                    "    var all = %s;\n"
                    "    var i = lane;\n"
                    "    while (i < p.length) {\n"
                    "        var some = %s;\n"
                    "        for (var n = 0u; n < 4u && i + 3u * TEAM < p.length; n++) {\n",
                    name, type, start, start);
    mia__kernel_add(
        k,
        "            let t0 = %s_term(x_value(r, i), a);\n"
        "            let t1 = %s_term(x_value(r, i + TEAM), a);\n"
        "            let t2 = %s_term(x_value(r, i + 2u * TEAM), a);\n"
        "            let t3 = %s_term(x_value(r, i + 3u * TEAM), a);\n"
        "            some = %s_team_two(some, %s_team_two(%s_team_two(t0, t1), %s_team_two(t2, t3)));\n"
        "            i += 4u * TEAM;\n        }\n",
        name, name, name, name, name, name, name, name);
    mia__kernel_add(k,
                    "        if (i + 3u * TEAM >= p.length) {\n"
                    "            for (; i < p.length; i += TEAM) {\n"
                    "                some = %s_team_two(some, %s_term(x_value(r, i), a));\n"
                    "            }\n        }\n"
                    "        all = %s_team_two(all, some);\n"
                    "    }\n"
                    "    return %s_team(local, all);\n}\n",
                    name, name, name, name);
}

/* Sums of (x - a)^2: as they are, of numbers made smaller, and of numbers made larger. And which of them is taken: the number of
 * a component. Numbers are made smaller by their bits: a multiplication's factor is taken out of a sum by some compilers,
 * which WGSL allows, and the sum leaves the range after all. */
static void put_squares(mia__kernel *k, const mia__teams *teams) {
    mia__kernel_lowered(k);
    put_pass(k, teams, "squares", "vec3<f32>", "vec3<f32>()",
             "    let d = vec3<f32>(x - a, lowered(x, 80u) - lowered(a, 80u), (x - a) * 0x1p80f);\n"
             "    return d * d;\n",
             "a + b");
    mia__kernel_put(k, "fn power(which: u32) -> f32 {\n"
                       "    return select(select(0x1p80f, 0x1p-80f, which == 1u), 1.0, which == 0u);\n}\n"
                       "fn which_of(sums: vec3<f32>) -> u32 {\n"
                       "    if (sums.x > 1e-20 && sums.x < 1e38) { return 0u; }\n"
                       "    return select(1u, 2u, sums.x <= 1e-20);\n}\n");
}

/* softmax and log_softmax */
static void put_exponentials(mia__kernel *k, const mia__teams *teams) {
    put_pass(k, teams, "greatest", "f32", "-0x1.fffffep127f", "    return x;\n", "max(a, b)");
    put_pass(k, teams, "exponentials", "f32", "0.0", "    return exp(x - a);\n", "a + b");
    mia__kernel_add(k,
                    "fn measure(r: u32, lane: u32, local: u32) -> vec4<f32> {\n"
                    "    let most = greatest(r, lane, local, 0.0);\n"
                    "    let sum = exponentials(r, lane, local, most);\n"
                    "    return vec4<f32>(most, 1.0, %s, 0.0);\n}\n",
                    k->step->op == MIA_OP_softmax ? "sum" : "log(sum)");
    mia__kernel_add(k, "fn result(stat: vec4<f32>, r: u32, i: u32) -> f32 { return %s; }\n",
                    k->step->op == MIA_OP_softmax ? "exp(x_value(r, i) - stat.x) / stat.z"
                                                  : "x_value(r, i) - stat.x - stat.z");
}

/* Of l2_norm the largest of the norm and epsilon, of the others the root of mean square and epsilon, which very small squares
 * do not reach. A large weight comes before the factor where that could leave too little of the number. */
static void put_norms(mia__kernel *k, const mia__teams *teams, const norm *n) {
    mia_op op = k->step->op;
    bool centred = op == MIA_OP_layer_norm || op == MIA_OP_group_norm;
    double share = ceil(log2((double)n->length));
    mia__kernel_f32(k, "epsilon", k->step->attributes.f[0]);
    mia__kernel_math(k, "m_kept");
    put_squares(k, teams);
    if (centred) {
        mia__kernel_u32(k, "share", (uint64_t)share);
        mia__kernel_f32(k, "rest", exp2(share) / (double)n->length);
        put_pass(k, teams, "sum", "f32", "0.0", "    return lowered(x, p.share);\n", "a + b");
    }
    mia__kernel_add(k, "fn measure(r: u32, lane: u32, local: u32) -> vec4<f32> {\n    let centre = %s;\n",
                    centred ? "sum(r, lane, local, 0.0) * p.rest" : "0.0");
    mia__kernel_put(k, "    let sums = squares(r, lane, local, centre);\n");
    if (op == MIA_OP_l2_norm)
        mia__kernel_put(k, "    let which = which_of(sums);\n    let f = power(which);\n"
                           "    let norm = max(sqrt(sums[which]), p.epsilon * f);\n");
    else
        mia__kernel_put(k, "    var which = which_of(sums);\n"
                           "    if (which == 2u && p.epsilon >= 1e-30) { which = 0u; }\n"
                           "    let f = power(which);\n"
                           "    let norm = sqrt(sums[which] / f32(p.length) + m_kept(p.epsilon * f) * f);\n");
    mia__kernel_put(k, "    return vec4<f32>(centre, f, 1.0 / norm, 0.0);\n}\n"
                       "fn result(stat: vec4<f32>, r: u32, i: u32) -> f32 {\n"
                       "    let x = x_value(r, i);\n"
                       "    var rest = (x - stat.x) * stat.y;\n"
                       "    if (stat.y < 1.0) { rest = lowered(x, 80u) - lowered(stat.x, 80u); }\n");
    if (n->weights == 0)
        mia__kernel_put(k, "    return rest * stat.z;\n}\n");
    else
        mia__kernel_add(k,
                        "    let w = weight_value(r, i);\n"
                        "    let early = abs(w) > 1.0 && abs(rest) < 1.0;\n"
                        "    return select((rest * stat.z) * w, (rest * w) * stat.z, early)%s;\n}\n",
                        n->weights > 1 ? " + bias_value(r, i)" : "");
}

/* --- a workgroup -------------------------------------------------------------------------------- */

static void put_main(mia__kernel *k, uint32_t per_word) {
    mia__kernel_put(k, "var<workgroup> stats: array<vec4<f32>, ROWS>;\n"
                       "fn value(first: u32, begin: u32, e: u32) -> f32 {\n"
                       "    let at = min(e, p.count - 1u) - begin;\n"
                       "    let row = select(at / p.length, 0u, ROWS == 1u);\n"
                       "    return result(stats[row], first + row, at - row * p.length);\n}\n");
    mia__kernel_put(k,
                    "@compute @workgroup_size(INVOCATIONS)\n"
                    "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,\n"
                    "        @builtin(local_invocation_index) local: u32) {\n"
                    "    let first = (id.x + id.y * n.x) * ROWS;\n"
                    "    for (var round = 0u; round < ROUNDS; round++) {\n"
                    "        let row = round * TEAMS + local / TEAM;\n"
                    "        let stat = measure(min(first + row, p.rows - 1u), local % TEAM, local);\n"
                    "        if (local % TEAM == 0u) { stats[row] = stat; }\n"
                    "    }\n"
                    "    workgroupBarrier();\n"
                    "    if (first >= p.rows) { return; }\n"
                    "    let begin = first * p.length;\n"
                    "    let end = min(first + ROWS, p.rows) * p.length;\n");
    mia__kernel_add(k,
                    "    for (var w = begin / %uu + local; w * %uu < end; w += INVOCATIONS) {\n"
                    "        out_put(w, value(first, begin, w%s);\n    }\n}\n",
                    per_word, per_word, per_word == 1 ? ")" : " * 2u), value(first, begin, w * 2u + 1u)");
}

bool mia__kernel_normalise(mia__kernel *k) {
    const norm n = norm_of(k->step);
    uint32_t per_word = mia__kernel_per_word(k->step->output.dtype);
    if (n.rows == 0) return true;
    const mia__teams teams =
        mia__teams_for(k, n.length, n.length % per_word == 0 ? 1 : per_word, sizeof(float[4]));
    mia__teams_put(k, &teams);
    if (!put_operands(k, &n)) return false;
    if (k->step->op == MIA_OP_softmax || k->step->op == MIA_OP_log_softmax)
        put_exponentials(k, &teams);
    else
        put_norms(k, &teams, &n);
    put_main(k, per_word);
    return mia__kernel_end_flat(k, (n.rows + teams.rows - 1) / teams.rows);
}
