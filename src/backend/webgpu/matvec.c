/* Products of few columns, and of anything else that no faster kernel takes: lanes of invocations go along rows of weights, a
 * few rows and columns at once, and add up what they have.
 *
 *     lanes      32 times `share` invocations, or the workgroup where subgroups are of no use; they share rows
 *     rows       weights' rows that they do at once, so that x is read less often
 *     columns    of x at once
 *
 * Products that read the same x run as jobs of one dispatch, each with workgroups of its own. rms_norm before a product costs
 * little: rows are multiplied by x times the norm's weights, and the sums at the end by what the squares of x, which were added
 * up on the way, say. */
#include "backend/webgpu/families.h"
#include "backend/webgpu/prepared.h"
#include "backend/webgpu/product.h"
#include "backend/webgpu/rows.h"

#include "base/block.h"

#include <stdio.h>

#define INVOCATIONS  128
#define MOST_COLUMNS 4
#define MOST_ROWS    2
#define NAME         32

/* How weights are read. */
typedef enum reading {
    READ_NUMBERS, /* one by one: any type, any strides */
    READ_VECTORS, /* 16 bytes at a time: f32, f16, bf16 */
    READ_PREPARED
} reading;

typedef struct matvec {
    mia__product jobs[MIA__PRODUCT_MOST_JOBS];
    reading readings[MIA__PRODUCT_MOST_JOBS];
    uint32_t job_count;
    uint32_t rows, columns;
    uint32_t lanes, unroll;
    bool subgroups;
    bool x_vectors; /* x is f32 in runs of whole vectors */
} matvec;

/* --- what can be read how --------------------------------------------------------------------- */

/* Whether rows begin at, and are runs of, whole pieces of `elements`. */
static bool in_pieces(const mia__view *view, int64_t elements) {
    if (view->ndim == 0 || view->stride[0] != 1 || view->offset % elements != 0 ||
        view->extent[0] % elements != 0)
        return false;
    for (uint32_t m = 1; m < view->ndim; m++)
        if (view->extent[m] != 1 && view->stride[m] % elements != 0) return false;
    return true;
}

static reading reading_of(const mia__kernel *k, const mia__product *product, bool x_vectors) {
    reading all = READ_PREPARED;
    for (uint32_t c = 0; c < product->core_count; c++) {
        const mia__operand *w = product->weights[c];
        reading one = READ_NUMBERS;
        bool wide = w->dtype == MIA_f32 || w->dtype == MIA_f16 || w->dtype == MIA_bf16;
        if (x_vectors && mia__is_prepared(k->plan, w)) one = READ_PREPARED;
        if (x_vectors && wide && in_pieces(&w->view, w->dtype == MIA_f32 ? 4 : 8)) one = READ_VECTORS;
        if (one < all) all = one;
    }
    return all;
}

static uint32_t chunk_elements(const mia__product *product, reading how) {
    mia_dtype dtype = product->weights[0]->dtype;
    if (how == READ_NUMBERS) return 1;
    if (how == READ_VECTORS) return dtype == MIA_f32 ? 4 : 8;
    return MIA__PREPARED_GROUP / mia__prepared_chunks(dtype);
}

/* --- text ------------------------------------------------------------------------------------- */

/* 16 bytes of scalars as vectors. */
static void put_scalar_readers(mia__kernel *k, const char *name, mia_dtype dtype, uint32_t slot) {
    uint32_t elements = dtype == MIA_f32 ? 4 : 8;
    mia__kernel_add(k, "fn %s_dot(row: u32, chunk: u32, x0: vec4<f32>%s) -> f32 {\n", name,
                    elements == 8 ? ", x1: vec4<f32>" : "");
    mia__kernel_add(k, "    let q = b%u[row / %uu + chunk];\n", slot, elements);
    if (dtype == MIA_f32)
        mia__kernel_put(k, "    return dot(bitcast<vec4<f32>>(q), x0);\n}\n");
    else if (dtype == MIA_f16)
        mia__kernel_put(k, "    return dot(vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y)), x0) +\n"
                           "           dot(vec4<f32>(unpack2x16float(q.z), unpack2x16float(q.w)), x1);\n}\n");
    else
        mia__kernel_put(k, "    let e = q << vec4<u32>(16u);\n    let o = q & vec4<u32>(0xffff0000u);\n"
                           "    return dot(bitcast<vec4<f32>>(vec4<u32>(e.x, o.x, e.y, o.y)), x0) +\n"
                           "           dot(bitcast<vec4<f32>>(vec4<u32>(e.z, o.z, e.w, o.w)), x1);\n}\n");
}

/* The weights of a core, called <job>w<core>. */
static bool put_weights(mia__kernel *k, const matvec *v, uint32_t job, uint32_t core) {
    const mia__product *product = &v->jobs[job];
    const mia__operand *w = product->weights[core];
    char name[NAME];
    uint32_t slot;
    (void)snprintf(name, sizeof name, "j%uw%u", job, core);
    if (v->readings[job] != READ_VECTORS) return mia__kernel_rows(k, name, w, &product->step->output.view);
    if (!mia__kernel_bind(k, w->buffer, "vec4<u32>", false, &slot)) return false;
    put_scalar_readers(k, name, w->dtype, slot);
    mia__kernel_view(k, name, &w->view);
    mia__kernel_row(k, name, &w->view, &product->step->output.view);
    return true;
}

/* x, and the weights of its norm, by vectors or by numbers. */
static bool put_x(mia__kernel *k, const matvec *v) {
    const mia__product *product = &v->jobs[0];
    uint32_t slot;
    if (!v->x_vectors) {
        if (!mia__kernel_rows(k, "x", product->x, &product->step->output.view)) return false;
        return product->norm_weight == NULL || mia__kernel_input(k, "g", product->norm_weight);
    }
    if (!mia__kernel_bind(k, product->x->buffer, "vec4<u32>", false, &slot)) return false;
    mia__kernel_add(k, "fn x_four(i: u32) -> vec4<f32> { return bitcast<vec4<f32>>(b%u[i]); }\n", slot);
    mia__kernel_view(k, "x", &product->x->view);
    mia__kernel_row(k, "x", &product->x->view, &product->step->output.view);
    if (product->norm_weight == NULL) return true;
    if (!mia__kernel_bind(k, product->norm_weight->buffer, "vec4<u32>", false, &slot)) return false;
    mia__kernel_view(k, "g", &product->norm_weight->view);
    mia__kernel_add(k, "fn g_four(i: u32) -> vec4<f32> { return bitcast<vec4<f32>>(b%u[p.g_o / 4u + i]); }\n",
                    slot);
    return true;
}

/* fn total(v): what all lanes that share rows have of v. */
static void put_total(mia__kernel *k, const matvec *v) {
    if (v->subgroups && v->lanes == k->info.subgroup_least) {
        mia__kernel_put(k, "fn total(v: f32, li: u32) -> f32 { return subgroupAdd(v); }\n");
        return;
    }
    mia__kernel_add(k, "var<workgroup> parts: array<f32, %d>;\n", INVOCATIONS);
    if (v->subgroups) {
        uint32_t size = k->info.subgroup_least;
        mia__kernel_add(k,
                        "fn total(v: f32, li: u32) -> f32 {\n"
                        "    let sum = subgroupAdd(v);\n"
                        "    workgroupBarrier();\n"
                        "    if (li %% %uu == 0u) { parts[li / %uu] = sum; }\n"
                        "    workgroupBarrier();\n"
                        "    var all = 0.0;\n"
                        "    for (var i = 0u; i < %uu; i++) { all += parts[li / %uu * %uu + i]; }\n"
                        "    return all;\n}\n",
                        size, size, v->lanes / size, v->lanes, v->lanes / size);
        return;
    }
    mia__kernel_add(k,
                    "fn total(v: f32, li: u32) -> f32 {\n"
                    "    workgroupBarrier();\n"
                    "    parts[li] = v;\n"
                    "    workgroupBarrier();\n"
                    "    for (var half = %uu; half > 0u; half = half / 2u) {\n"
                    "        if (li %% %uu < half) { parts[li] += parts[li + half]; }\n"
                    "        workgroupBarrier();\n"
                    "    }\n"
                    "    return parts[li / %uu * %uu];\n}\n",
                    v->lanes / 2, v->lanes, v->lanes, v->lanes);
}

/* Where the vectors of x lie that chunk `at` meets, the first of them and the distance to the next. */
static void put_places(mia__kernel *k, const mia__product *product, reading how, uint32_t *vectors) {
    uint32_t elements = chunk_elements(product, how);
    *vectors = elements / 4;
    if (how == READ_VECTORS) {
        mia__kernel_add(k, "        let x_first = at * %uu;\n", *vectors);
        return;
    }
    mia__kernel_put(k, "        let x_first = ");
    mia__prepared_first(k, product->weights[0]->dtype, "at");
    mia__kernel_put(k, ";\n");
}

/* One step of a job's loop in vectors: x of every column, then each row of each core. */
static void put_vectors(mia__kernel *k, const matvec *v, uint32_t job) {
    const mia__product *product = &v->jobs[job];
    reading how = v->readings[job];
    mia_dtype dtype = product->weights[0]->dtype;
    bool prepared = how == READ_PREPARED, least = prepared && mia__prepared_has_least(dtype);
    uint32_t vectors, stride = prepared ? mia__prepared_stride(dtype) : 1;
    bool padded = prepared && product->depth % MIA__PREPARED_GROUP != 0;
    put_places(k, product, how, &vectors);
    for (uint32_t j = 0; j < vectors; j++) {
        char inside[2 * NAME] = ""; /* what lies behind a row is somebody else's, and no number perhaps */
        if (padded) (void)snprintf(inside, sizeof inside, "if ((x_first + %uu) * 4u < p.depth) ", stride * j);
        if (product->norm_weight != NULL)
            mia__kernel_add(k,
                            "        var g%u = vec4<f32>(0.0);\n        %s{ g%u = g_four(x_first + %uu); }\n",
                            j, inside, j, stride * j);
        for (uint32_t c = 0; c < v->columns; c++)
            mia__kernel_add(k,
                            "        var x%u_%u = vec4<f32>(0.0);\n"
                            "        %s{ x%u_%u = x_four(x%u / 4u + x_first + %uu); }\n",
                            c, j, inside, c, j, c, stride * j);
    }
    for (uint32_t c = 0; c < v->columns; c++) {
        for (uint32_t j = 0; j < vectors; j++) {
            if (product->norm_weight != NULL)
                mia__kernel_add(k, "        squares%u += dot(x%u_%u, x%u_%u);\n        x%u_%u *= g%u;\n", c,
                                c, j, c, j, c, j, j);
            if (least) mia__kernel_add(k, "        let s%u_%u = dot(x%u_%u, vec4<f32>(1.0));\n", c, j, c, j);
            if (prepared) mia__kernel_add(k, "        x%u_%u *= j%uw0_by(%uu);\n", c, j, job, j);
        }
        for (uint32_t core = 0; core < product->core_count; core++)
            for (uint32_t r = 0; r < v->rows; r++) {
                mia__kernel_add(k, "        sum%u_%u_%u += j%uw%u_dot(w%u_%u, at", core, r, c, job, core,
                                core, r);
                for (uint32_t j = 0; j < vectors; j++) mia__kernel_add(k, ", x%u_%u", c, j);
                for (uint32_t j = 0; least && j < vectors; j++) mia__kernel_add(k, ", s%u_%u", c, j);
                mia__kernel_put(k, ");\n");
            }
    }
}

/* The same number by number. */
static void put_numbers(mia__kernel *k, const matvec *v, uint32_t job) {
    const mia__product *product = &v->jobs[job];
    if (product->norm_weight != NULL)
        mia__kernel_put(k, v->x_vectors ? "        let g = g_four(at / 4u)[at & 3u];\n"
                                        : "        let g = g_get(g_at(at));\n");
    for (uint32_t c = 0; c < v->columns; c++) {
        if (v->x_vectors)
            mia__kernel_add(k, "        var y%u = x_four((x%u + at) / 4u)[at & 3u];\n", c, c);
        else
            mia__kernel_add(k, "        var y%u = x_number(x%u, at);\n", c, c);
        if (product->norm_weight != NULL)
            mia__kernel_add(k, "        squares%u += y%u * y%u;\n        y%u *= g;\n", c, c, c, c);
    }
    for (uint32_t core = 0; core < product->core_count; core++)
        for (uint32_t r = 0; r < v->rows; r++) {
            mia__kernel_add(k, "        let n%u_%u = j%uw%u_number(w%u_%u, at);\n", core, r, job, core, core,
                            r);
            for (uint32_t c = 0; c < v->columns; c++)
                mia__kernel_add(k, "        sum%u_%u_%u += n%u_%u * y%u;\n", core, r, c, core, r, c);
        }
}

/* fn job<j>(group, ...): the rows of a group of lanes. */
static void put_job(mia__kernel *k, const matvec *v, uint32_t job) {
    const mia__product *product = &v->jobs[job];
    bool norm = product->norm_weight != NULL;
    mia__kernel_add(k,
                    "fn job%u(first: u32, column: u32, batch: u32, lane: u32, li: u32) {\n"
                    "    let last = p.j%u_rows - 1u;\n    let last_column = p.columns - 1u;\n",
                    job, job);
    for (uint32_t core = 0; core < product->core_count; core++)
        for (uint32_t r = 0; r < v->rows; r++) {
            mia__kernel_add(k, "    let w%u_%u = j%uw%u_row(min(first + %uu, last), batch);\n", core, r, job,
                            core, r);
            for (uint32_t c = 0; c < v->columns; c++)
                mia__kernel_add(k, "    var sum%u_%u_%u = 0.0;\n", core, r, c);
        }
    for (uint32_t c = 0; c < v->columns; c++) {
        mia__kernel_add(k, "    let x%u = x_row(min(column + %uu, last_column), batch);\n", c, c);
        if (norm) mia__kernel_add(k, "    var squares%u = 0.0;\n", c);
    }
    uint32_t elements = chunk_elements(product, v->readings[job]);
    char bound[NAME];
    if (v->readings[job] == READ_PREPARED)
        (void)snprintf(bound, sizeof bound, "p.groups * %uu", MIA__PREPARED_GROUP / elements);
    else
        (void)snprintf(bound, sizeof bound, "p.depth / %uu", elements);
    mia__kernel_add(k, "    for (var at = lane; at < %s; at += %uu) {\n", bound, v->lanes);
    if (v->readings[job] == READ_NUMBERS)
        put_numbers(k, v, job);
    else
        put_vectors(k, v, job);
    mia__kernel_put(k, "    }\n");
    for (uint32_t c = 0; norm && c < v->columns; c++)
        mia__kernel_add(k, "    let by%u = inverseSqrt(total(squares%u, li) / f32(p.depth) + p.epsilon);\n",
                        c, c);
    for (uint32_t r = 0; r < v->rows; r++)
        for (uint32_t c = 0; c < v->columns; c++) {
            for (uint32_t core = 0; core < product->core_count; core++)
                mia__kernel_add(k, "    let t%u_%u_%u = total(sum%u_%u_%u, li);\n", core, r, c, core, r, c);
            mia__kernel_add(k, "    if (lane == %uu) { j%u_finish(first + %uu, column + %uu, batch",
                            r * v->columns + c, job, r, c);
            for (uint32_t core = 0; core < product->core_count; core++) {
                mia__kernel_add(k, ", t%u_%u_%u", core, r, c);
                if (norm) mia__kernel_add(k, " * by%u", c);
            }
            mia__kernel_put(k, "); }\n");
        }
    mia__kernel_put(k, "}\n");
}

static void put_main(mia__kernel *k, const matvec *v, uint64_t workgroups) {
    const mia__kernel_grid grid = {workgroups, mia__divide_up(v->jobs[0].columns, v->columns),
                                   v->jobs[0].batches};
    uint32_t groups = INVOCATIONS / v->lanes;
    mia__kernel_main(k, grid, INVOCATIONS, "@builtin(local_invocation_index) li: u32");
    mia__kernel_add(k, "    var wg = id.x;\n    let lane = li %% %uu;\n    let column = id.y * %uu;\n",
                    v->lanes, v->columns);
    for (uint32_t j = 0; j < v->job_count; j++) {
        bool last = j + 1 == v->job_count;
        if (!last) mia__kernel_add(k, "    if (wg < p.j%u_groups) {\n", j);
        mia__kernel_add(k, "    job%u((wg * %uu + li / %uu) * %uu, column, id.z, lane, li);\n", j, groups,
                        v->lanes, v->rows);
        if (!last) mia__kernel_add(k, "    return; }\n    wg -= p.j%u_groups;\n", j);
    }
    mia__kernel_put(k, "}\n");
}

/* --- the dispatch ----------------------------------------------------------------------------- */

/* Lanes, rows and columns at once, by what there is to do. */
static void choose(const mia__kernel *k, matvec *v) {
    const mia__product *product = &v->jobs[0];
    uint32_t size = mia__webgpu_subgroup(&k->info);
    v->subgroups = size >= 8;
    v->columns = product->columns < MOST_COLUMNS ? (uint32_t)product->columns : MOST_COLUMNS;
    uint32_t chunks = mia__divide_up(product->depth, chunk_elements(product, v->readings[0]));
    /* a driver that computes on the CPU switches between invocations at each barrier: few share a row */
    v->lanes = v->subgroups ? size : k->info.processor ? MOST_ROWS * MOST_COLUMNS : 64;
    while (!k->info.processor && v->lanes < INVOCATIONS && chunks >= 4 * v->lanes) v->lanes *= 2;
    uint64_t rows = 0;
    for (uint32_t j = 0; j < v->job_count; j++) rows += v->jobs[j].rows * v->jobs[j].core_count;
    v->rows = rows >= 4096 && product->core_count == 1 ? 2 : 1;
}

static double estimate(const mia__kernel *k, const matvec *v) {
    const double launch = 3000, bytes_a_nanosecond = 1000, operations_a_nanosecond = 4000;
    double bytes = 0, operations = 0;
    for (uint32_t j = 0; j < v->job_count; j++) {
        const mia__product *product = &v->jobs[j];
        for (uint32_t c = 0; c < product->core_count; c++) {
            bytes += (double)k->plan->buffers[product->weights[c]->buffer].bytes;
            operations += 2.0 * (double)product->depth * (double)product->rows * (double)product->columns *
                          (double)product->batches;
        }
    }
    return launch + bytes / bytes_a_nanosecond + operations / operations_a_nanosecond;
}

static bool put_all(mia__kernel *k, matvec *v) {
    const mia__product *product = &v->jobs[0];
    uint64_t workgroups = 0;
    if (v->subgroups) mia__kernel_enable(k, "enable subgroups;");
    mia__kernel_u32(k, "depth", product->depth);
    mia__kernel_u32(k, "columns", product->columns);
    if (product->norm_weight != NULL) mia__kernel_f32(k, "epsilon", product->epsilon);
    put_total(k, v);
    if (!put_x(k, v)) return false;
    for (uint32_t j = 0; j < v->job_count; j++) {
        char name[NAME];
        uint64_t groups = mia__divide_up(v->jobs[j].rows, (uint64_t)(INVOCATIONS / v->lanes) * v->rows);
        workgroups += groups;
        for (uint32_t c = 0; c < v->jobs[j].core_count; c++)
            if (!put_weights(k, v, j, c)) return false;
        (void)snprintf(name, sizeof name, "j%u_", j);
        if (!mia__product_finish(k, &v->jobs[j], name)) return false;
        (void)snprintf(name, sizeof name, "j%u_groups", j);
        mia__kernel_u32(k, name, groups);
        put_job(k, v, j);
    }
    put_main(k, v, workgroups);
    k->nanoseconds = estimate(k, v);
    return mia__kernel_end_grid(k);
}

/* Jobs [0, count): false when they cannot be one dispatch. */
static bool put_jobs(mia__kernel *k, const mia__product *jobs, uint32_t count) {
    if (mia__kernel_matvec_bytes(k, jobs, count)) return true;
    if (k->status != MIA_OK) return false;
    mia__kernel_again(k);
    matvec v = {.job_count = count};
    const mia__product *first = &jobs[0];
    v.x_vectors = first->x->dtype == MIA_f32 && in_pieces(&first->x->view, 4) &&
                  (first->norm_weight == NULL ||
                   (first->norm_weight->dtype == MIA_f32 && in_pieces(&first->norm_weight->view, 4)));
    for (uint32_t j = 0; j < count; j++) {
        v.jobs[j] = jobs[j];
        v.readings[j] = reading_of(k, &jobs[j], v.x_vectors);
    }
    choose(k, &v);
    return put_all(k, &v);
}

bool mia__kernel_matvec(mia__kernel *k) {
    mia__product jobs[MIA__PRODUCT_MOST_JOBS];
    uint32_t count = 1;
    if (!mia__product_of(k->plan, k->step, &jobs[0]))
        return mia__kernel_refuse(k, "it is no product that it knows");
    while (count < k->step->together && count < MIA__PRODUCT_MOST_JOBS &&
           mia__product_of(k->plan, k->step + count, &jobs[count]) &&
           mia__product_same_x(&jobs[0], &jobs[count]))
        count++;
    if (count > 1 && put_jobs(k, jobs, count)) {
        k->taken = count;
        return true;
    }
    if (count > 1) mia__kernel_again(k);
    return k->status == MIA_OK && put_jobs(k, jobs, 1);
}
