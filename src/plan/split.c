/* The pass that cuts steps up whose operands are larger than the backend binds (rules->binding_bytes): a step becomes
 * several over ranges of its result, each of which touches no more of any buffer than that; what it touches becomes a
 * buffer of the plan that is part of the other.
 *
 *     y = w x                     y0 = w0 x, y1 = w1 x       rows of w, elements of y
 *
 * Ranges are of the outermost mode that has any, so that each part of a result is compact; and begin where a binding
 * may, so that it is at offset 0 of its part. A table too large is cut by its columns: every range fills in the columns of
 * the indices that lie in it. What the step's kind does not let cut is refused with both numbers. */
#include "base/size.h"
#include "graph/ops.h"
#include "plan/bindings.h"
#include "plan/cuts.h"
#include "plan/passes.h"

#include <inttypes.h>

#define MOST_PARTS 1024 /* of a step */

typedef struct splitter {
    mia__planner *planner;
    mia__plan *plan;
    size_t limit, alignment;
    uint32_t first; /* of the steps that the present one has become */
    mia_error *error;
} splitter;

/* --- what a step touches ---------------------------------------------------------------------- */

/* Bytes of a buffer that one binding shows. */
typedef struct window {
    uint32_t root;
    uint64_t begin, end;
    bool whole;     /* the buffer is small enough to be bound as it is */
    mia__form form; /* key other than 0: a form of those bytes of a constant is bound */
} window;

static uint64_t bound_bytes(const window *w) {
    return w->form.key != 0 ? w->form.bytes : w->end - w->begin;
}

/* Operands in order, then the result. */
typedef struct windows {
    window at[MIA__MAX_OPERANDS + 1];
    uint32_t count;
} windows;

static uint64_t common_multiple(uint64_t a, uint64_t b) {
    uint64_t x = a, y = b;
    while (y != 0) {
        uint64_t rest = x % y;
        x = y;
        y = rest;
    }
    uint64_t multiple = a / x * b;
    return multiple > 0 ? multiple : 1; /* callers divide by it */
}

/* Kernels write their result from the beginning of what is bound on, but for those that change a part of their first
 * operand. */
static bool writes_from_begin(const splitter *s, const mia__step *step) {
    return !mia__step_writes_part(s->plan, step) || step->output.buffer != step->inputs[0].buffer;
}

/* From the first to the last unit of a view; it begins where both a binding and a unit of the type may. Small buffers are
 * bound as they are, unless a range of a result is not at their beginning. */
static window window_of(const splitter *s, const mia__step *step, const mia__operand *operand) {
    const mia_dtype_info *info = mia_dtype_describe(operand->dtype);
    const mia__view *view = &operand->view;
    size_t bytes = s->plan->buffers[operand->buffer].bytes;
    bool apart =
        operand->buffer == step->output.buffer && step->output.view.offset != 0 && writes_from_begin(s, step);
    if (bytes <= s->limit && !apart) return (window){.root = operand->buffer, .end = bytes, .whole = true};
    int64_t first = view->offset, last = view->offset;
    for (uint32_t m = 0; m < view->ndim; m++) {
        int64_t extent = view->extent[m];
        if (m == 0 && info->kind == MIA_KIND_BLOCK) extent /= info->elements;
        if (extent == 0) return (window){.root = operand->buffer, .end = info->bytes};
        int64_t reach = (extent - 1) * view->stride[m];
        *(reach < 0 ? &first : &last) += reach;
    }
    uint64_t grain = common_multiple(s->alignment, info->bytes), begin = (uint64_t)first * info->bytes;
    return (window){
        .root = operand->buffer, .begin = begin / grain * grain, .end = (uint64_t)(last + 1) * info->bytes};
}

/* Of an input: the form that the backend wants of it, if it is a run of a constant's bytes. */
static window window_of_input(const splitter *s, const mia__step *step, uint32_t input) {
    const mia__operand *operand = &step->inputs[input];
    const mia__plan_buffer *buffer = &s->plan->buffers[operand->buffer];
    const mia__plan_rules *rules = s->planner->rules;
    window w = window_of(s, step, operand);
    if (w.whole || buffer->kind != MIA__BUFFER_LEAF || rules->form == NULL ||
        (s->planner->tape->entries[buffer->index].flags & MIA__LEAF_CONSTANT) == 0 ||
        operand->view.ndim > MIA_MAX_MODES)
        return w;
    mia__step compact = *step;
    compact.inputs[input].view.offset = 0;
    if (!mia__view_is_compact(operand->dtype, &compact.inputs[input].view)) return w;
    w.form = rules->form(rules->context, s->plan, &compact, input);
    if (w.form.key == 0) return w;
    w.begin = (uint64_t)operand->view.offset * mia_dtype_describe(operand->dtype)->bytes;
    w.end = w.begin + mia__view_bytes(operand->dtype, &operand->view);
    return w;
}

/* Whether a step writes into the memory that a buffer lies in, other buffers in the arena included. */
static bool writes_memory_of(const splitter *s, const mia__step *step, uint32_t buffer) {
    return mia__plan_shares_memory(s->plan, step->output.buffer, buffer) ||
           (step->scratch != MIA__NO_BUFFER && mia__plan_shares_memory(s->plan, step->scratch, buffer));
}

/* Windows that are to be written, or bound as if they were, must not overlap: those become one. */
static bool join_one(const splitter *s, const mia__step *step, windows *w) {
    for (uint32_t i = 0; i < w->count; i++)
        for (uint32_t k = 0; k < i; k++) {
            window *a = &w->at[i], *b = &w->at[k];
            if (a->whole || a->form.key != 0 || b->form.key != 0 || a->root != b->root ||
                (a->begin == b->begin && a->end == b->end))
                continue;
            if (a->begin >= b->end || b->begin >= a->end || !writes_memory_of(s, step, a->root)) continue;
            if (b->begin < a->begin) a->begin = b->begin;
            if (b->end > a->end) a->end = b->end;
            *b = *a;
            return true;
        }
    return false;
}

static void find_windows(const splitter *s, const mia__step *step, windows *w) {
    w->count = step->input_count + 1;
    for (uint32_t i = 0; i < step->input_count; i++) w->at[i] = window_of_input(s, step, i);
    w->at[step->input_count] = window_of(s, step, &step->output);
    while (join_one(s, step, w)) continue;
}

static size_t scratch_of(const splitter *s, const mia__step *step) {
    const mia__plan_rules *rules = s->planner->rules;
    return rules->scratch != NULL && step->scratch != MIA__NO_BUFFER
               ? rules->scratch(rules->context, s->plan, step)
               : 0;
}

static bool fits(const splitter *s, const mia__step *step, const windows *w) {
    uint64_t begin = (uint64_t)step->output.view.offset * mia_dtype_describe(step->output.dtype)->bytes;
    if (begin != w->at[step->input_count].begin && writes_from_begin(s, step)) return false;
    for (uint32_t i = 0; i < w->count; i++)
        if (bound_bytes(&w->at[i]) > s->limit) return false;
    return scratch_of(s, step) <= s->limit;
}

/* --- parts ------------------------------------------------------------------------------------ */

/* The buffer that is a window, made when first met. */
static uint32_t part_of(splitter *s, const window *w) {
    if (w->whole) return w->root;
    mia__plan *plan = s->plan;
    size_t bytes = (size_t)(w->end - w->begin);
    for (uint32_t b = plan->buffer_count; b-- > 0;)
        if (plan->buffers[b].kind == MIA__BUFFER_PART && plan->buffers[b].index == w->root &&
            plan->buffers[b].offset == w->begin && plan->buffers[b].bytes == bytes)
            return b;
    mia__plan_buffer *made = mia__plan_add_buffer(plan);
    if (made == NULL) return MIA__NO_BUFFER;
    const mia__plan_buffer *root = &plan->buffers[w->root];
    *made = (mia__plan_buffer){.kind = MIA__BUFFER_PART,
                               .index = w->root,
                               .bytes = bytes,
                               .offset = (size_t)w->begin,
                               .first = root->first,
                               .last = root->last};
    return plan->buffer_count - 1;
}

/* The buffer that is a form of a run of a constant's bytes. */
static uint32_t form_of(splitter *s, const window *w, const mia__operand *operand) {
    mia__plan *plan = s->plan;
    mia_shape shape = mia__view_shape(&operand->view);
    uint32_t leaf = plan->buffers[w->root].index;
    for (uint32_t b = plan->buffer_count; b-- > 0;) {
        const mia__plan_buffer *there = &plan->buffers[b];
        if (there->kind == MIA__BUFFER_FORM && there->index == leaf && there->form == w->form.key &&
            there->offset == w->begin && there->dtype == operand->dtype &&
            mia__shape_equal(&there->shape, &shape))
            return b;
    }
    mia__plan_buffer *made = mia__plan_add_buffer(plan);
    if (made == NULL) return MIA__NO_BUFFER;
    *made = (mia__plan_buffer){.kind = MIA__BUFFER_FORM,
                               .index = leaf,
                               .form = w->form.key,
                               .dtype = operand->dtype,
                               .shape = shape,
                               .bytes = w->form.bytes,
                               .offset = (size_t)w->begin,
                               .first = plan->buffers[w->root].first,
                               .last = plan->buffers[w->root].last};
    return plan->buffer_count - 1;
}

static bool put_into(splitter *s, const window *w, mia__operand *operand) {
    operand->buffer = w->form.key != 0 ? form_of(s, w, operand) : part_of(s, w);
    if (operand->buffer == MIA__NO_BUFFER) return false;
    if (!w->whole) operand->view.offset -= (int64_t)(w->begin / mia_dtype_describe(operand->dtype)->bytes);
    return true;
}

static mia_status refuse(const splitter *s, const mia__step *step) {
    windows w;
    uint64_t most = scratch_of(s, step);
    find_windows(s, step, &w);
    for (uint32_t i = 0; i < w.count; i++)
        if (bound_bytes(&w.at[i]) > most) most = bound_bytes(&w.at[i]);
    const mia__op_row *row = step->op == MIA__OP_FUSED ? NULL : mia__op_row_of(step->op, step->custom);
    return mia_error_set(s->error, MIA_ERROR_UNSUPPORTED,
                         "%s: %" PRIu64
                         " bytes that it needs at once are more than the %zu that the device binds",
                         row != NULL ? row->info.name : "element-wise operations", most, s->limit);
}

static mia_status emit(splitter *s, const mia__step *step, const windows *w) {
    if (s->plan->step_count - s->first >= MOST_PARTS) return refuse(s, step);
    mia__step *made = mia__plan_add_step(s->plan);
    if (made == NULL) return MIA_ERROR_NO_MEMORY;
    *made = *step;
    for (uint32_t i = 0; i < made->input_count; i++)
        if (!put_into(s, &w->at[i], &made->inputs[i])) return MIA_ERROR_NO_MEMORY;
    if (!put_into(s, &w->at[made->input_count], &made->output)) return MIA_ERROR_NO_MEMORY;
    if (step->scratch == MIA__NO_BUFFER) return MIA_OK;
    size_t room = s->plan->buffers[step->scratch].bytes;
    made->scratch_bytes = scratch_of(s, step);
    if (made->scratch_bytes > room) return refuse(s, step);
    const window scratch = {.root = step->scratch, .end = made->scratch_bytes, .whole = room <= s->limit};
    made->scratch = made->scratch_bytes > 0 ? part_of(s, &scratch) : MIA__NO_BUFFER;
    return made->scratch_bytes > 0 && made->scratch == MIA__NO_BUFFER ? MIA_ERROR_NO_MEMORY : MIA_OK;
}

/* --- cutting ---------------------------------------------------------------------------------- */

static mia_status split(splitter *s, const mia__step *step);

/* The range [begin, begin + count) of the result's mode. */
static mia_status split_range(splitter *s, const mia__step *step, uint32_t mode, const mia__cut *cut,
                              int64_t begin, int64_t count) {
    mia__step part = *step;
    mia__operand_slice(&part.output, mode, begin, count);
    for (uint32_t i = 0; i < part.input_count; i++)
        if (cut->mode[i] != MIA__WHOLE)
            mia__operand_slice(&part.inputs[i], cut->mode[i], begin / cut->grain[i], count / cut->grain[i]);
    return split(s, &part);
}

static bool is_table(const mia__step *step) {
    return step->op == MIA_OP_gather || step->op == MIA_OP_embedding;
}

/* The table's first columns, then the others, which leave what the first filled in. Cut like the rows of a product's
 * weights, which a table may be too. */
static mia_status split_table(splitter *s, const mia__step *step) {
    mia__step part = *step;
    uint32_t mode = step->inputs[0].view.ndim - 1;
    int64_t columns = step->inputs[0].view.extent[mode], half = (columns + 1) / 2;
    int64_t grain = (int64_t)(s->alignment / sizeof(float));
    if (grain > 0 && mia__align_up((size_t)half, (size_t)grain) < (size_t)columns)
        half = (int64_t)mia__align_up((size_t)half, (size_t)grain);
    mia__operand_slice(&part.inputs[0], mode, 0, half);
    mia_status status = split(s, &part);
    if (status != MIA_OK) return status;
    part = *step;
    mia__operand_slice(&part.inputs[0], mode, half, columns - half);
    part.first_column += half;
    part.keeps = true;
    return split(s, &part);
}

/* Along its own mode a concatenation is two copies. */
static mia_status split_concat(splitter *s, const mia__step *step, uint32_t mode) {
    int64_t begin = 0;
    mia_status status = MIA_OK;
    for (uint32_t i = 0; status == MIA_OK && i < step->input_count; i++) {
        mia__step copy = *step;
        int64_t count = step->inputs[i].view.extent[mode];
        copy.op = MIA_OP_copy;
        copy.input_count = 1;
        copy.inputs[0] = step->inputs[i];
        mia__operand_slice(&copy.output, mode, begin, count);
        begin += count;
        if (mia__view_count(&copy.output.view) > 0) status = split(s, &copy);
    }
    return status;
}

/* Places of the result's mode from whose beginning a binding may begin. */
static int64_t aligned_places(const splitter *s, const mia__step *step, uint32_t mode) {
    const mia_dtype_info *info = mia_dtype_describe(step->output.dtype);
    uint64_t bytes = (uint64_t)step->output.view.stride[mode] * info->bytes;
    uint64_t places = common_multiple(s->alignment, bytes) / bytes;
    return (int64_t)places * (mode == 0 && info->kind == MIA_KIND_BLOCK ? (int64_t)info->elements : 1);
}

static mia_status split_result(splitter *s, const mia__step *step) {
    const mia__view *out = &step->output.view;
    uint32_t mode = out->ndim;
    while (mode > 0 && out->extent[mode - 1] == 1) mode--;
    if (mode-- == 0 || out->stride[mode] <= 0) return refuse(s, step);
    int64_t extent = out->extent[mode], aligned = aligned_places(s, step, mode);
    if (step->op == MIA_OP_concat && mode == (uint32_t)step->attributes.i[0])
        return step->inputs[0].view.extent[mode] % aligned == 0 ? split_concat(s, step, mode)
                                                                : refuse(s, step);
    mia__cut cut;
    if (!mia__cut_along(step, mode, &cut)) return refuse(s, step);
    int64_t grain = (int64_t)common_multiple((uint64_t)aligned, (uint64_t)mia__cut_grain(step, mode, &cut));
    int64_t half = ((extent + 1) / 2 + grain - 1) / grain * grain;
    if (half >= extent) return refuse(s, step);
    mia_status status = split_range(s, step, mode, &cut, 0, half);
    return status != MIA_OK ? status : split_range(s, step, mode, &cut, half, extent - half);
}

static mia_status split(splitter *s, const mia__step *step) {
    windows w;
    find_windows(s, step, &w);
    if (fits(s, step, &w)) return emit(s, step, &w);
    bool wide_table = is_table(step) && bound_bytes(&w.at[0]) > s->limit;
    if (wide_table && step->inputs[0].view.extent[step->inputs[0].view.ndim - 1] > 1)
        return split_table(s, step);
    return split_result(s, step);
}

/* --- the pass --------------------------------------------------------------------------------- */

/* A form of a constant may take a little more than the constant. */
bool mia__plan_is_large(const mia__planner *planner, const mia__step *step) {
    size_t limit = planner->rules->binding_bytes;
    if (limit == 0) return false;
    limit -= limit / 8;
    bool large = planner->values[step->output.buffer].bytes > limit;
    for (uint32_t i = 0; i < step->input_count; i++)
        large = large || planner->values[step->inputs[i].buffer].bytes > limit;
    return large;
}

static bool needs_splitting(const splitter *s) {
    for (uint32_t b = 0; b < s->plan->buffer_count; b++)
        if (s->plan->buffers[b].bytes > s->limit) return true;
    return false;
}

/* Lifetimes in the numbers that steps have now; begins[n] is where those of old step n begin. */
static void renumber(mia__plan *plan, const uint32_t *begins, uint32_t count) {
    for (uint32_t b = 0; b < plan->buffer_count; b++) {
        mia__plan_buffer *buffer = &plan->buffers[b];
        buffer->first = begins[buffer->first < count ? buffer->first : count];
        buffer->last = buffer->last < count ? begins[buffer->last + 1] - 1 : plan->step_count;
    }
}

static void mark(bool *used, uint32_t buffer) {
    if (buffer != MIA__NO_BUFFER) used[buffer] = true;
}

static void rename_to(const uint32_t *names, uint32_t *buffer) {
    if (*buffer != MIA__NO_BUFFER) *buffer = names[*buffer];
}

static void mark_used(const mia__plan *plan, bool *used) {
    for (uint32_t n = 0; n < plan->step_count; n++) {
        const mia__step *step = &plan->steps[n];
        for (uint32_t i = 0; i < step->input_count; i++) mark(used, step->inputs[i].buffer);
        mark(used, step->output.buffer);
        mark(used, step->scratch);
    }
    for (uint32_t r = 0; r < plan->result_count; r++) mark(used, plan->results[r].buffer);
    for (uint32_t b = 0; b < plan->buffer_count; b++)
        if (used[b] && plan->buffers[b].kind == MIA__BUFFER_PART) used[plan->buffers[b].index] = true;
}

/* Constants of which forms have taken the place are left out, or they would be loaded. */
static bool drop_unused(mia__planner *planner) {
    mia__plan *plan = planner->plan;
    uint32_t count = plan->buffer_count, kept = 0;
    bool *used = mia_allocate_zeroed(&planner->allocator, count, sizeof *used);
    uint32_t *names = mia_allocate_zeroed(&planner->allocator, count, sizeof *names);
    bool good = used != NULL && names != NULL;
    if (good) mark_used(plan, used);
    for (uint32_t b = 0; good && b < count; b++) {
        if (!used[b] && plan->buffers[b].kind == MIA__BUFFER_LEAF) continue;
        names[b] = kept;
        plan->buffers[kept] = plan->buffers[b];
        if (plan->buffers[kept].kind == MIA__BUFFER_PART) rename_to(names, &plan->buffers[kept].index);
        kept++;
    }
    for (uint32_t n = 0; good && n < plan->step_count; n++) {
        mia__step *step = &plan->steps[n];
        for (uint32_t i = 0; i < step->input_count; i++) rename_to(names, &step->inputs[i].buffer);
        rename_to(names, &step->output.buffer);
        rename_to(names, &step->scratch);
    }
    for (uint32_t r = 0; good && r < plan->result_count; r++) rename_to(names, &plan->results[r].buffer);
    if (good) plan->buffer_count = kept;
    mia_release(&planner->allocator, used, count * sizeof *used);
    mia_release(&planner->allocator, names, count * sizeof *names);
    return good;
}

mia_status mia__plan_split(mia__planner *planner, mia_error *error) {
    mia__plan *plan = planner->plan;
    splitter s = {.planner = planner,
                  .plan = plan,
                  .limit = planner->rules->binding_bytes,
                  .alignment = planner->rules->alignment,
                  .error = error};
    if (s.alignment == 0) s.alignment = 1;
    if (s.limit == 0 || plan->step_count == 0 || !needs_splitting(&s)) return MIA_OK;
    uint32_t count = plan->step_count, capacity = plan->step_capacity;
    uint32_t *begins = mia_allocate_zeroed(&planner->allocator, count + 1u, sizeof *begins);
    if (begins == NULL) return MIA_ERROR_NO_MEMORY;
    mia__step *steps = plan->steps;
    plan->steps = NULL;
    plan->step_count = plan->step_capacity = 0;
    mia_status status = MIA_OK;
    for (uint32_t n = 0; status == MIA_OK && n < count; n++) {
        begins[n] = s.first = plan->step_count;
        status = split(&s, &steps[n]);
    }
    begins[count] = plan->step_count;
    if (status == MIA_OK) renumber(plan, begins, count);
    if (status == MIA_OK && !drop_unused(planner)) status = MIA_ERROR_NO_MEMORY;
    mia_release(&planner->allocator, begins, (count + 1u) * sizeof *begins);
    mia_release(&planner->allocator, steps, capacity * sizeof *steps);
    return status;
}
