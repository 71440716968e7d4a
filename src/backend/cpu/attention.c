/* Causal grouped-query attention of f32 queries over f32 or f16 keys and values. A unit is a tile of up to 8
 * rows of one group: a row is one query of one of the heads that share the group's keys and values, so that
 * these are read once for all of them. Row r of a group is query r / (heads a group), head r % (heads a
 * group) of the group. */
#include "backend/cpu/cpu.h"

#define ROWS MIA__CPU_ATTENTION_ROWS

static int64_t clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

static void attend(const mia__cpu_task *task, int64_t group, int64_t first) {
    const mia__cpu_attention *a = &task->step->as.attention;
    const mia__view *out = &task->step->source->output.view;
    int64_t length = *(const int32_t *)(const void *)task->inputs[3], heads = a->heads / a->groups;
    int64_t left = heads * a->queries - first;
    mia__cpu_attention_tile tile = {.rows = (unsigned)(left < ROWS ? left : ROWS),
                                    .k_stride = a->k_stride[1],
                                    .v_stride = a->v_stride[1],
                                    .dim = a->dim,
                                    .value_dim = a->value_dim,
                                    .scale = a->scale};
    for (unsigned row = 0; row < tile.rows; row++) {
        int64_t t = (first + row) / heads, head = group * heads + (first + row) % heads;
        tile.q[row] =
            (const float *)(const void *)task->inputs[0] + head * a->q_stride[1] + t * a->q_stride[2];
        tile.out[row] = (float *)(void *)task->output + head * out->stride[1] + t * out->stride[2];
        tile.visible[row] = clamp(length - a->queries + t + 1, 0, a->keys);
    }
    int64_t bytes = a->k_dtype == MIA_f32 ? 4 : 2;
    tile.k = task->inputs[1] + group * a->k_stride[2] * bytes;
    tile.v = task->inputs[2] + group * a->v_stride[2] * bytes;
    (a->k_dtype == MIA_f32 ? task->step->kernels->attention_f32 : task->step->kernels->attention_f16)(&tile);
}

static void run_attention(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_attention *a = &task->step->as.attention;
    for (size_t unit = begin; unit < end; unit++)
        attend(task, (int64_t)unit % a->groups, (int64_t)unit / a->groups * ROWS);
}

static bool is_row(const mia__view *view) {
    return view->ndim == 3 && (view->stride[0] == 1 || view->extent[0] == 1);
}

bool mia__cpu_choose_attention(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    const mia__operand *q = &source->inputs[0], *k = &source->inputs[1], *v = &source->inputs[2];
    if (q->dtype != MIA_f32 || source->inputs[3].dtype != MIA_i32 || k->dtype != v->dtype) return false;
    if (k->dtype != MIA_f32 && k->dtype != MIA_f16) return false;
    if (!is_row(&q->view) || !is_row(&k->view) || !is_row(&v->view) || !is_row(&source->output.view))
        return false;
    mia__cpu_attention *a = &out->as.attention;
    *a = (mia__cpu_attention){.dim = q->view.extent[0],
                              .value_dim = v->view.extent[0],
                              .heads = q->view.extent[1],
                              .queries = q->view.extent[2],
                              .keys = k->view.extent[1],
                              .groups = k->view.extent[2],
                              .scale = (float)source->attributes.f[0],
                              .k_dtype = k->dtype,
                              .v_dtype = v->dtype};
    for (uint32_t i = 0; i < 3; i++) {
        a->q_stride[i] = q->view.stride[i];
        a->k_stride[i] = k->view.stride[i];
        a->v_stride[i] = v->view.stride[i];
    }
    if (a->groups == 0 || a->heads % a->groups != 0) return false;
    a->tiles = (a->heads / a->groups * a->queries + ROWS - 1) / ROWS;
    out->work = (double)(a->heads * a->queries) * (20.0 + 0.05 * (double)(a->keys * (a->dim + a->value_dim)));
    mia__cpu_phase_add(out, run_attention, (size_t)(a->tiles * a->groups));
    return true;
}
size_t mia__cpu_scratch_attention(const mia__cpu *cpu, const mia__step *step) {
    (void)cpu, (void)step;
    return 0;
}
