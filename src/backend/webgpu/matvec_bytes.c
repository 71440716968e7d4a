/* Products of one column by prepared weights where activations may be rounded: x becomes 8 bits a number, with a scale for each
 * block of 32, and bytes are multiplied four at a time.
 *
 * A workgroup rounds x together, with the norm before it where there is one, into workgroup memory. Its subgroups are cut into
 * teams: those of a team have a slice of K each, of the rows that are the team's, and a lane keeps the chunks of x that it meets
 * in registers. Weights are on their way meanwhile. Sums of lanes are brought together several rows at once: each exchange halves
 * the number of rows that a lane still has. Those of subgroups meet in workgroup memory at the end.
 *
 *     xq      [16 a group] vec4<u32>     the four vectors of x that a chunk of q8_0 meets, or half a chunk of the others: a
 *                                        word a vector, a signed byte a number
 *     xe      [8 a group] f32            scales of blocks; by fours for the others
 *     xs      [8 a group] f32            sums of blocks: what least numbers and offsets of weights are multiplied by
 *     sums    [subgroup][row][core] f32
 *     parts   [subgroup] f32             squares of x, for the norm */
#include "backend/webgpu/matvec_bytes.h"
#include "backend/webgpu/families.h"
#include "backend/webgpu/prepared.h"
#include "backend/webgpu/product.h"
#include "backend/webgpu/rows.h"

#include <stdio.h>

#define FEW_SUBGROUPS  16 /* of a workgroup */
#define MOST_SUBGROUPS 32 /* the same where x is long, which each workgroup reads and rounds: fewer of them */
#define MOST_ROWS      32 /* of a team */
#define MOST_TOGETHER  8  /* rows that are summed up together */
#define SUBGROUPS      3700 /* about as many as a large GPU has at a time */
#define ENOUGH         3000 /* so many keep it busy */
#define ON_THE_WAY     4    /* chunks of weights that a lane waits for at once */
#define NAME           32

static uint32_t power_of_two(uint32_t least) {
    uint32_t power = 1;
    while (power < least) power *= 2;
    return power;
}

/* For so many rows. */
static mia__bytes_division divide(const mia__kernel *k, const mia__product *product, uint64_t rows,
                                  uint32_t cores) {
    mia__bytes_division d = {.size = k->info.subgroup_least,
                             .groups = mia__divide_up(product->depth, MIA__PREPARED_GROUP),
                             .each = mia__prepared_chunks(product->weights[0]->dtype)};
    d.chunks = d.groups * d.each;
    uint32_t most = k->info.limits.workgroup_invocations / d.size, subgroups = FEW_SUBGROUPS;
    if (d.chunks > FEW_SUBGROUPS * d.size) subgroups = MOST_SUBGROUPS;
    if (subgroups > most) subgroups = most;
    d.turns = mia__divide_up(d.chunks, subgroups * d.size);
    d.slices = mia__divide_up(d.chunks, d.size * d.turns);
    d.teams = subgroups / d.slices;
    d.invocations = d.slices * d.teams * d.size;
    d.whole = d.chunks % (d.size * d.slices) == 0;
    d.rows = 1;
    while (d.rows < MOST_TOGETHER && 2 * d.rows * power_of_two(cores) <= d.size &&
           rows * d.slices >= 2 * (uint64_t)d.rows * ENOUGH)
        d.rows *= 2;
    return d;
}

/* --- what it takes ---------------------------------------------------------------------------- */

static bool is_vector(const mia__operand *operand) {
    return operand->dtype == MIA_f32 && operand->view.ndim > 0 && operand->view.stride[0] == 1 &&
           operand->view.offset % 4 == 0;
}

static bool takes(const mia__kernel *k, const mia__product *product, const mia__product *first) {
    const mia__gpu_info *info = &k->info;
    bool lanes = mia__webgpu_subgroup(info) >= 8;
    if (!lanes || (info->features & MIA__GPU_PACKED_DOT) == 0 || k->webgpu->precision == MIA_PRECISION_EXACT)
        return false;
    if (product->columns != 1 || product->batches != 1 || !is_vector(product->x) ||
        (product->norm_weight != NULL && !is_vector(product->norm_weight)))
        return false;
    for (uint32_t c = 0; c < product->core_count; c++) {
        const mia__operand *w = product->weights[c];
        if (!mia__is_prepared(k->plan, w) ||
            mia__prepared_chunks(w->dtype) != mia__prepared_chunks(first->weights[0]->dtype))
            return false;
    }
    return true;
}

/* --- text ----------------------------------------------------------------------------------- */

/* Rows that are read at once. */
static uint32_t at_once(const mia__product *product, const mia__bytes_division *d) {
    uint32_t wanted = d->each == 16 ? ON_THE_WAY : ON_THE_WAY / 2; /* others' scales take more registers */
    uint32_t chunks = product->core_count * d->turns;              /* of a row */
    uint32_t rows = chunks > 0 && chunks < wanted ? wanted / chunks : 1;
    return rows < d->rows ? rows : d->rows;
}

/* Quants and scales of a lane's chunks, of rows from `first` on, to q<row>_<core>_<turn> and s<..>. */
static void put_fetch(mia__kernel *k, const mia__product *product, const mia__bytes_division *d, uint32_t job,
                      const char *first) {
    for (uint32_t r = 0; r < at_once(product, d); r++)
        for (uint32_t c = 0; c < product->core_count; c++) {
            mia__kernel_add(k, "        w%u_%u = j%uw%u_row(min(%s + %uu, last), 0u) * p.groups;\n", r, c,
                            job, c, first, r);
            for (uint32_t t = 0; t < d->turns; t++) {
                mia__kernel_add(k, "        q%u_%u_%u = j%uw%u_quads(w%u_%u * %uu + c%u);\n", r, c, t, job, c,
                                r, c, d->each, t);
                mia__kernel_add(k, "        s%u_%u_%u = j%uw%u_bytes_scales(w%u_%u, c%u);\n", r, c, t, job, c,
                                r, c, t);
            }
        }
}

static void put_variables(mia__kernel *k, const mia__product *product, const mia__bytes_division *d) {
    for (uint32_t r = 0; r < at_once(product, d); r++)
        for (uint32_t c = 0; c < product->core_count; c++) {
            const char *scales = mia__prepared_bytes_scales(product->weights[c]->dtype);
            mia__kernel_add(k, "    var w%u_%u: u32;\n", r, c);
            for (uint32_t t = 0; t < d->turns; t++)
                mia__kernel_add(k, "    var q%u_%u_%u: vec4<u32>;\n    var s%u_%u_%u: %s;\n", r, c, t, r, c,
                                t, scales);
        }
}

/* What has come is set aside, so that the next can be sent for. */
static void put_aside(mia__kernel *k, const mia__product *product, const mia__bytes_division *d,
                      uint32_t from) {
    for (uint32_t r = 0; r < at_once(product, d); r++)
        for (uint32_t c = 0; c < product->core_count; c++) {
            mia__kernel_add(k, "        let v%u_%u = w%u_%u;\n", from + r, c, r, c);
            for (uint32_t t = 0; t < d->turns; t++)
                mia__kernel_add(k, "        let a%u_%u_%u = q%u_%u_%u;\n        let d%u_%u_%u = s%u_%u_%u;\n",
                                from + r, c, t, r, c, t, from + r, c, t, r, c, t);
        }
}

static void put_products(mia__kernel *k, const mia__product *product, const mia__bytes_division *d,
                         uint32_t job, uint32_t from) {
    for (uint32_t r = from; r < from + at_once(product, d); r++)
        for (uint32_t c = 0; c < product->core_count; c++) {
            uint32_t value = r * product->core_count + c;
            mia__kernel_add(k, "        var v%u = 0.0;\n", value);
            for (uint32_t t = 0; t < d->turns; t++) {
                bool whole = d->whole || t + 1 < d->turns;
                mia__kernel_add(k, "        v%u += %sj%uw%u_bytes_dot(v%u_%u, c%u, a%u_%u_%u, d%u_%u_%u",
                                value, whole ? "" : "select(0.0, ", job, c, r, c, t, r, c, t, r, c, t);
                for (uint32_t half = 0; half < (d->each == 16 ? 1 : 2); half++)
                    mia__kernel_add(k, ", xq%u_%u, xe%u_%u", t, half, t, half);
                mia__kernel_add(k, ", xs%u)%s;\n", t, whole ? "" : ", inside)");
            }
        }
}

/* v0 .. of all lanes of a subgroup are added up, in pairs as long as there are several; lane l < count then has number l's sum
 * in v0. */
static void put_exchange(mia__kernel *k, const mia__bytes_division *d, uint32_t count) {
    uint32_t pairs = power_of_two(count), by = 1;
    for (uint32_t i = count; i < pairs; i++) mia__kernel_add(k, "        var v%u = 0.0;\n", i);
    for (; by < pairs; by *= 2) {
        mia__kernel_add(k, "        { let odd = (lane & %uu) != 0u;\n", by);
        for (uint32_t i = 0; i < pairs / by; i += 2)
            mia__kernel_add(
                k, "        v%u = select(v%u, v%u, odd) + subgroupShuffleXor(select(v%u, v%u, odd), %uu);\n",
                i / 2, i, i + 1, i + 1, i, by);
        mia__kernel_put(k, "        }\n");
    }
    for (; by < d->size; by *= 2) mia__kernel_add(k, "        v0 += subgroupShuffleXor(v0, %uu);\n", by);
}

/* x as a lane meets it: xq<turn>_<half>, xe<turn>_<half>, xs<turn>. */
static void put_chunks(mia__kernel *k, const mia__bytes_division *d, bool sums) {
    for (uint32_t t = 0; t < d->turns; t++) {
        for (uint32_t half = 0; half < (d->each == 16 ? 1 : 2); half++) {
            if (d->each == 16)
                mia__kernel_add(k, "    let xq%u_0 = xq[c%u];\n    let xe%u_0 = xe[c%u / 2u];\n", t, t, t, t);
            else
                mia__kernel_add(k,
                                "    let xq%u_%u = xq[(c%u / 8u) * 16u + %uu + c%u %% 8u];\n"
                                "    let xe%u_%u = xe[(c%u / 8u) * 2u + %uu];\n",
                                t, half, t, half * 8, t, t, half, t, half);
        }
        if (sums)
            mia__kernel_add(k, "    let xs%u = xs[c%u];\n", t, t);
        else
            mia__kernel_add(k, "    let xs%u = 0.0;\n", t);
    }
}

/* fn job<j>(start, li): the rows of a workgroup from `start` on. */
static void put_job(mia__kernel *k, const mia__product *product, const mia__bytes_division *d, uint32_t job,
                    bool sums) {
    uint32_t cores = product->core_count, values = d->rows * cores, count = at_once(product, d);
    char next[NAME];
    mia__kernel_add(
        k,
        "fn job%u(start: u32, li: u32) {\n    let lane = li %% %uu;\n    let subgroup = li / %uu;\n"
        "    let slice = subgroup %% %uu;\n    let team = subgroup / %uu;\n"
        "    let first = start + team * p.rows_each;\n    let last = p.j%u_rows - 1u;\n",
        job, d->size, d->size, d->slices, d->slices, job);
    for (uint32_t t = 0; t < d->turns; t++)
        mia__kernel_add(k, "    let c%u = min((slice + %uu) * %uu + lane, %uu);\n", t, t * d->slices, d->size,
                        d->chunks - 1);
    if (!d->whole)
        mia__kernel_add(k, "    let inside = (slice + %uu) * %uu + lane < %uu;\n", (d->turns - 1) * d->slices,
                        d->size, d->chunks);
    put_variables(k, product, d);
    put_fetch(k, product, d, job, "first");
    mia__kernel_put(k, "    round_x(li);\n");
    put_chunks(k, d, sums);
    mia__kernel_add(
        k, "    for (var turn = 0u; turn < p.rows_each; turn += %uu) {\n        let n = first + turn;\n",
        d->rows);
    for (uint32_t r = 0; r < d->rows; r += count) {
        bool last = r + count == d->rows;
        put_aside(k, product, d, r);
        (void)snprintf(next, sizeof next, "n + %uu", r + count);
        if (last) mia__kernel_add(k, "        if (turn + %uu < p.rows_each) {\n", d->rows);
        put_fetch(k, product, d, job, next);
        if (last) mia__kernel_put(k, "        }\n");
        put_products(k, product, d, job, r);
    }
    put_exchange(k, d, values);
    mia__kernel_add(k,
                    "        if (lane < %uu) { sums[subgroup][turn * %uu + lane] = v0; }\n    }\n"
                    "    workgroupBarrier();\n",
                    values, cores);
    if (product->norm_weight != NULL)
        mia__kernel_add(
            k,
            "    var squares = 0.0;\n    for (var i = 0u; i < %uu; i++) { squares += parts[i]; }\n"
            "    let by = inverseSqrt(squares / f32(p.depth) + p.epsilon);\n",
            d->slices * d->teams);
    mia__kernel_add(k,
                    "    for (var q = li; q < p.rows_each * %uu; q += %uu) {\n"
                    "        let at = (q / p.rows_each) * %uu;\n        let r = q %% p.rows_each;\n",
                    d->teams, d->invocations, d->slices);
    for (uint32_t c = 0; c < cores; c++)
        mia__kernel_add(
            k,
            "        var t%u = 0.0;\n        for (var i = 0u; i < %uu; i++) { t%u += sums[at + i][r * %uu + "
            "%uu]; }\n",
            c, d->slices, c, cores, c);
    mia__kernel_add(k, "        j%u_finish(start + q, 0u, 0u", job);
    for (uint32_t c = 0; c < cores; c++)
        mia__kernel_add(k, ", t%u%s", c, product->norm_weight != NULL ? " * by" : "");
    mia__kernel_put(k, ");\n    }\n}\n");
}

static void put_main(mia__kernel *k, const mia__bytes_division *d, uint32_t count, uint64_t workgroups) {
    mia__kernel_main(k, (mia__kernel_grid){workgroups, 1, 1}, d->invocations,
                     "@builtin(local_invocation_index) li: u32");
    mia__kernel_put(k, "    var wg = id.x;\n");
    for (uint32_t j = 0; j < count; j++) {
        bool last = j + 1 == count;
        if (!last) mia__kernel_add(k, "    if (wg < p.j%u_groups) {\n", j);
        mia__kernel_add(k, "    job%u(wg * p.rows_each * %uu, li);\n", j, d->teams);
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

static uint64_t workgroup_bytes(const mia__bytes_division *d, uint32_t cores) {
    uint64_t subgroups = d->slices * d->teams;
    return (uint64_t)d->groups * (MIA__BYTES_QUADS * 16 + 2 * 16 + 8 * 4) +
           subgroups * (MOST_ROWS * cores + 1) * 4;
}

/* Rows of a team. */
static uint32_t rows_each(const mia__bytes_division *d, uint64_t rows) {
    uint32_t teams = mia__divide_up(SUBGROUPS, d->slices), each = mia__divide_up(rows, teams);
    each = mia__divide_up(each, d->rows) * d->rows;
    return each < MOST_ROWS ? each : MOST_ROWS;
}

bool mia__kernel_matvec_bytes(mia__kernel *k, const mia__product *jobs, uint32_t count) {
    uint64_t rows = 0, workgroups = 0;
    uint32_t cores = 1;
    bool sums = false;
    for (uint32_t j = 0; j < count; j++) {
        if (!takes(k, &jobs[j], &jobs[0])) return false;
        rows += jobs[j].rows;
        if (jobs[j].core_count > cores) cores = jobs[j].core_count;
    }
    const mia__bytes_division d = divide(k, &jobs[0], rows, cores);
    if (workgroup_bytes(&d, cores) > k->info.limits.workgroup_bytes) return false;
    const uint32_t each = rows_each(&d, rows);
    const uint64_t of_workgroup = (uint64_t)each * d.teams;
    mia__kernel_enable(k, "enable subgroups;");
    mia__kernel_enable(k, "requires packed_4x8_integer_dot_product;");
    mia__kernel_u32(k, "depth", jobs[0].depth);
    mia__kernel_u32(k, "columns", 1);
    mia__kernel_u32(k, "rows_each", each);
    if (jobs[0].norm_weight != NULL) mia__kernel_f32(k, "epsilon", jobs[0].epsilon);
    if (!mia__bytes_x(k, &jobs[0])) return false;
    mia__kernel_add(k, "var<workgroup> sums: array<array<f32, %u>, %u>;\n", MOST_ROWS * cores,
                    d.slices * d.teams);
    for (uint32_t j = 0; j < count; j++) {
        char name[NAME];
        for (uint32_t c = 0; c < jobs[j].core_count; c++) {
            const mia__operand *w = jobs[j].weights[c];
            (void)snprintf(name, sizeof name, "j%uw%u", j, c);
            if (!mia__kernel_rows(k, name, w, &jobs[j].step->output.view)) return false;
            mia__prepared_bytes(k, name, w->dtype);
            sums = sums || mia__prepared_needs_sums(w->dtype);
        }
        (void)snprintf(name, sizeof name, "j%u_", j);
        if (!mia__product_finish(k, &jobs[j], name)) return false;
        (void)snprintf(name, sizeof name, "j%u_groups", j);
        mia__kernel_u32(k, name, mia__divide_up(jobs[j].rows, of_workgroup));
        workgroups += mia__divide_up(jobs[j].rows, of_workgroup);
    }
    for (uint32_t j = 0; j < count; j++) put_job(k, &jobs[j], &d, j, sums);
    mia__bytes_rounding(k, &jobs[0], &d, sums);
    put_main(k, &d, count, workgroups);
    k->nanoseconds = estimate(k, jobs, count);
    return mia__kernel_end_grid(k);
}
