/* Scatter and scatter_along: what a part holds, put or combined at indices along a mode. Results do not depend on
 * who does what, since one unit does all that comes to an element: indices are put in order first, equal ones in
 * the order in which they came, and the unit of the first of equals combines them all, in f64 or 64 bits, rounded
 * once.
 *
 *     indices  3 0 3 7        in order  0:1  3:0  3:2  7:3   (place : part)
 *     unit 0 does place 0, unit 1 place 3 (parts 0 and 2), unit 2 nothing, unit 3 place 7
 *
 * scatter shares its indices among all lines of the mode, scatter_along has those of each line. Lines that are but
 * replaced need no order: one unit does a line from its first index to its last. */
#include "backend/cpu/copy.h"
#include "backend/reference/element.h"

#include <string.h>

#define TILE       512                   /* elements of a row: a unit */
#define LINES      64                    /* lines of a unit where they lie beside each other */
#define MOST_PARTS ((int64_t)UINT32_MAX) /* of a line: an entry has 32 bits for its part */
#define MOST_BYTES ((int64_t)1 << 58)    /* indices whose order would take more fit no memory */

/* --- the order of indices --------------------------------------------------------------------- */

/* A place and the part that comes to it: place << 32 | part. */
static int64_t place_of(uint64_t entry) {
    return (int64_t)(entry >> 32);
}
static int64_t part_of(uint64_t entry) {
    return (int64_t)(entry & UINT32_MAX);
}

static void insert_entries(uint64_t *entries, size_t count) {
    for (size_t i = 1; i < count; i++) {
        uint64_t entry = entries[i];
        size_t to = i;
        for (; to > 0 && entries[to - 1] > entry; to--) entries[to] = entries[to - 1];
        entries[to] = entry;
    }
}

/* By 8 bits of the place at a time, from the lowest: entries of one place keep their order. */
static void sort_entries(const mia__cpu_task *task, uint64_t *entries, uint64_t *spare, size_t count) {
    int64_t extent = task->step->as.scattered.extent;
    uint64_t *from = entries, *to = spare;
    if (count <= 48) {
        insert_entries(entries, count);
        return;
    }
    for (unsigned shift = 32; extent > 1 && (extent - 1) >> (shift - 32) > 0; shift += 8) {
        size_t starts[257] = {0};
        for (size_t i = 0, last; i < count && !mia__cpu_stopped(task);)
            for (last = mia__cpu_look_after(i, count); i < last; i++) starts[(from[i] >> shift & 0xff) + 1]++;
        for (size_t b = 0; b < 256; b++) starts[b + 1] += starts[b];
        for (size_t i = 0, last; i < count;) {
            if (mia__cpu_stopped(task)) return; /* places may be of some entries only */
            for (last = mia__cpu_look_after(i, count); i < last; i++)
                to[starts[from[i] >> shift & 0xff]++] = from[i];
        }
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != entries) mia__cpu_move(task, (char *)entries, (const char *)from, count * sizeof *entries);
}

static int64_t index_at(const char *indices, int64_t at) {
    return ((const int32_t *)(const void *)indices)[at];
}

/* The indices of a line in order, without those outside; returns how many. `entries` has room for twice as many. */
static size_t order_indices(const mia__cpu_task *task, const char *indices, uint64_t *entries) {
    const mia__cpu_scattered *s = &task->step->as.scattered;
    size_t count = 0;
    for (int64_t k = 0, last; k < s->count && !mia__cpu_stopped(task);)
        for (last = (int64_t)mia__cpu_look_after((size_t)k, (size_t)s->count); k < last; k++) {
            int64_t index = index_at(indices, k * s->index_stride);
            if (index >= 0 && index < s->extent) entries[count++] = (uint64_t)index << 32 | (uint64_t)k;
        }
    sort_entries(task, entries, entries + s->count, count);
    return count;
}

/* --- combining -------------------------------------------------------------------------------- */

#define COMBINE_ROW(type, add, mul)                                                                          \
    switch (style) {                                                                                         \
    case MIA_SCATTER_ADD:                                                                                    \
        for (int64_t i = 0; i < count; i++) there[i] = add(there[i], comes[i]);                              \
        break;                                                                                               \
    case MIA_SCATTER_MUL:                                                                                    \
        for (int64_t i = 0; i < count; i++) there[i] = mul(there[i], comes[i]);                              \
        break;                                                                                               \
    case MIA_SCATTER_MIN:                                                                                    \
        for (int64_t i = 0; i < count; i++)                                                                  \
            there[i] = there[i] != there[i] || there[i] < comes[i] ? there[i] : comes[i];                    \
        break;                                                                                               \
    case MIA_SCATTER_MAX:                                                                                    \
        for (int64_t i = 0; i < count; i++)                                                                  \
            there[i] = there[i] != there[i] || there[i] > comes[i] ? there[i] : comes[i];                    \
        break;                                                                                               \
    default: break;                                                                                          \
    }

#define ADD_REAL(a, b)  ((a) + (b))
#define MUL_REAL(a, b)  ((a) * (b))
#define ADD_WHOLE(a, b) ((int64_t)((uint64_t)(a) + (uint64_t)(b)))
#define MUL_WHOLE(a, b) ((int64_t)((uint64_t)(a) * (uint64_t)(b)))

static void combine_reals(mia_scatter_style style, double *there, const double *comes, int64_t count) {
    COMBINE_ROW(double, ADD_REAL, MUL_REAL)
}

static void combine_wholes(mia_scatter_style style, int64_t *there, const int64_t *comes, int64_t count) {
    COMBINE_ROW(int64_t, ADD_WHOLE, MUL_WHOLE)
}

static void load_reals(mia_dtype dtype, double *out, const char *from, int64_t stride, int64_t count) {
    if (dtype == MIA_f32)
        for (int64_t i = 0; i < count; i++) out[i] = (double)((const float *)(const void *)from)[i * stride];
    else
        for (int64_t i = 0; i < count; i++) out[i] = mia__load(dtype, from, i * stride);
}

static void store_reals(mia_dtype dtype, char *to, int64_t stride, const double *from, int64_t count) {
    if (dtype == MIA_f32)
        for (int64_t i = 0; i < count; i++) ((float *)(void *)to)[i * stride] = (float)from[i];
    else
        for (int64_t i = 0; i < count; i++) mia__store(dtype, to, i * stride, from[i]);
}

static void load_wholes(mia_dtype dtype, int64_t *out, const char *from, int64_t stride, int64_t count) {
    if (dtype == MIA_bool8)
        for (int64_t i = 0; i < count; i++) out[i] = from[i * stride] != 0;
    else
        for (int64_t i = 0; i < count; i++) out[i] = mia__load_whole(dtype, from, i * stride);
}

static void store_wholes(mia_dtype dtype, char *to, int64_t stride, const int64_t *from, int64_t count) {
    if (dtype == MIA_bool8)
        for (int64_t i = 0; i < count; i++) to[i * stride] = from[i] != 0;
    else
        for (int64_t i = 0; i < count; i++) mia__store_whole(dtype, to, i * stride, from[i]);
}

/* A piece of the output at one place, and where that piece of part 0 is. */
typedef struct scatter_piece {
    char *out;
    const char *part;
    int64_t out_stride, part_stride; /* from element to element of the piece */
    int64_t count;                   /* at most TILE */
} scatter_piece;

static const char *part_at(const mia__cpu_task *task, const scatter_piece *piece, uint64_t entry) {
    const mia__operand *part = &task->step->source->inputs[2];
    return piece->part +
           part_of(entry) * task->step->as.scattered.part_stride * (int64_t)mia__cpu_unit_bytes(part);
}

/* `entries` are all of one place. */
static void scatter_entries(const mia__cpu_task *task, const scatter_piece *piece, const uint64_t *entries,
                            size_t count) {
    const mia__step *source = task->step->source;
    mia_dtype dtype = source->output.dtype;
    mia_scatter_style style = (mia_scatter_style)source->attributes.i[1];
    if (style == MIA_SCATTER_SET) {
        mia__cpu_copy_row(mia__cpu_unit_bytes(&source->output), piece->out, piece->out_stride,
                          part_at(task, piece, entries[count - 1]), piece->part_stride, piece->count);
    } else if (mia__is_float(dtype)) {
        double there[TILE], comes[TILE];
        load_reals(dtype, there, piece->out, piece->out_stride, piece->count);
        for (size_t e = 0; e < count && !mia__cpu_stopped(task); e++) {
            load_reals(dtype, comes, part_at(task, piece, entries[e]), piece->part_stride, piece->count);
            combine_reals(style, there, comes, piece->count);
        }
        store_reals(dtype, piece->out, piece->out_stride, there, piece->count);
    } else {
        int64_t there[TILE], comes[TILE];
        load_wholes(dtype, there, piece->out, piece->out_stride, piece->count);
        for (size_t e = 0; e < count && !mia__cpu_stopped(task); e++) {
            load_wholes(dtype, comes, part_at(task, piece, entries[e]), piece->part_stride, piece->count);
            combine_wholes(style, there, comes, piece->count);
        }
        store_wholes(dtype, piece->out, piece->out_stride, there, piece->count);
    }
}

/* --- phases ----------------------------------------------------------------------------------- */

static void run_whole(const mia__cpu_task *task, size_t begin, size_t end) {
    mia__cpu_copy_run(&task->step->as.scattered.copy, task->output, task->inputs[0], begin, end);
}

/* The scratch memory of scatter: how many entries there are, and the entries. */
static void run_order(const mia__cpu_task *task, size_t begin, size_t end) {
    (void)begin, (void)end;
    uint64_t *scratch = task->args.scratch;
    scratch[0] = order_indices(task, task->inputs[1], scratch + 1);
}

/* How many entries from `first` on have its place. */
static size_t equal_entries(const mia__cpu_task *task, const uint64_t *entries, size_t first, size_t count) {
    size_t next = first + 1;
    while (next < count && place_of(entries[next]) == place_of(entries[first]) &&
           (next % MIA__CPU_LOOK != 0 || !mia__cpu_stopped(task)))
        next++;
    return next - first;
}

/* A unit is an entry and a piece of the rows at its place. */
static void run_rows(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_scattered *s = &task->step->as.scattered;
    const mia__cpu_loop *lines = &s->lines;
    const uint64_t *scratch = task->args.scratch, *entries = scratch + 1;
    size_t held = (size_t)scratch[0], pieces = lines->rows * lines->pieces;
    int64_t bytes = (int64_t)mia__cpu_unit_bytes(&task->step->source->output);
    for (size_t unit = begin; unit < end; unit++) {
        size_t e = unit / pieces, piece = unit % pieces;
        if (e >= held || (e > 0 && place_of(entries[e - 1]) == place_of(entries[e]))) continue;
        int64_t at[2], first = (int64_t)(piece % lines->pieces) * TILE, left = lines->extent[0] - first;
        mia__cpu_loop_offsets(lines, 1, piece / lines->pieces, 2, at);
        scatter_piece row = {.out_stride = lines->stride[0][0],
                             .part_stride = lines->stride[1][0],
                             .count = left < TILE ? left : TILE};
        row.out =
            task->output + (at[0] + first * row.out_stride + place_of(entries[e]) * s->out_stride) * bytes;
        row.part = task->inputs[2] + (at[1] + first * row.part_stride) * bytes;
        scatter_entries(task, &row, &entries[e], equal_entries(task, entries, e, held));
    }
}

/* A unit is a line, with scratch memory of its own. */
static void run_lines(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_scattered *s = &task->step->as.scattered;
    int64_t bytes = (int64_t)mia__cpu_unit_bytes(&task->step->source->output);
    for (size_t unit = begin; unit < end; unit++) {
        int64_t at[3];
        uint64_t *entries = (uint64_t *)task->args.scratch + 2 * unit * (size_t)s->count;
        mia__cpu_loop_offsets(&s->lines, 0, unit, 3, at);
        size_t held = order_indices(task, task->inputs[1] + at[2] * (int64_t)sizeof(int32_t), entries), count;
        for (size_t e = 0; e < held && !mia__cpu_stopped(task); e += count) {
            count = equal_entries(task, entries, e, held);
            scatter_piece one = {.out = task->output + (at[0] + place_of(entries[e]) * s->out_stride) * bytes,
                                 .part = task->inputs[2] + at[1] * bytes,
                                 .count = 1};
            scatter_entries(task, &one, &entries[e], count);
        }
    }
}

/* Elements of the part that replace what is at their indices: along a line, or of lines beside each other. */
typedef struct scatter_run {
    char *out;
    const char *part, *indices;
    int64_t out_step, part_step, index_step, count; /* from element to element */
} scatter_run;

#define SET_ELEMENTS(size)                                                                                   \
    for (int64_t i = begin; i < end; i++) {                                                                  \
        int64_t index = index_at(run->indices, i * run->index_step);                                         \
        if (index < 0 || index >= s->extent) continue;                                                       \
        memcpy(run->out + (i * run->out_step + index * s->out_stride) * (size),                              \
               run->part + i * run->part_step * (size), size);                                               \
    }

/* Elements begin .. end of a run. */
static void set_elements(const mia__cpu_scattered *s, const scatter_run *run, size_t bytes, int64_t begin,
                         int64_t end) {
    switch (bytes) {
    case 1: SET_ELEMENTS(1) break;
    case 2: SET_ELEMENTS(2) break;
    case 4: SET_ELEMENTS(4) break;
    default: SET_ELEMENTS(8) break;
    }
}

/* A unit is some lines beside each other. */
static void run_set(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_scattered *s = &task->step->as.scattered;
    const mia__cpu_loop *lines = &s->lines;
    size_t size = mia__cpu_unit_bytes(&task->step->source->output);
    int64_t bytes = (int64_t)size, index_bytes = (int64_t)sizeof(int32_t);
    for (size_t unit = begin; unit < end; unit++) {
        int64_t at[3], first = (int64_t)(unit % lines->pieces) * LINES, left = lines->extent[0] - first;
        mia__cpu_loop_offsets(lines, 1, unit / lines->pieces, 3, at);
        scatter_run run = {.out = task->output + (at[0] + first * lines->stride[0][0]) * bytes,
                           .part = task->inputs[2] + (at[1] + first * lines->stride[1][0]) * bytes,
                           .indices = task->inputs[1] + (at[2] + first * lines->stride[2][0]) * index_bytes};
        int64_t beside = left < LINES ? left : LINES;
        bool along = s->out_stride == 1;
        run.count = along ? s->count : beside;
        run.out_step = along ? 0 : lines->stride[0][0];
        run.part_step = along ? s->part_stride : lines->stride[1][0];
        run.index_step = along ? s->index_stride : lines->stride[2][0];
        for (int64_t i = 0; i < (along ? beside : s->count); i++) {
            for (int64_t k = 0, last; k < run.count && !mia__cpu_stopped(task); k = last) {
                last = (int64_t)mia__cpu_look_after((size_t)k, (size_t)run.count);
                set_elements(s, &run, size, k, last);
            }
            run.out += (along ? lines->stride[0][0] : 0) * bytes;
            run.part += (along ? lines->stride[1][0] : s->part_stride) * bytes;
            run.indices += (along ? lines->stride[2][0] : s->index_stride) * index_bytes;
        }
    }
}

/* --- choosing --------------------------------------------------------------------------------- */

static bool in_order(const mia__step *step) {
    return step->op == MIA_OP_scatter || step->attributes.i[1] != MIA_SCATTER_SET;
}

/* Entries twice over: of the indices, or of those of each line. */
size_t mia__cpu_scratch_scatter(const mia__cpu *cpu, const mia__step *step) {
    (void)cpu;
    int64_t count = mia__view_count(&step->inputs[1].view);
    if (!in_order(step) || count == 0 || count > MOST_BYTES / 16) return 0;
    return ((step->op == MIA_OP_scatter ? 1 : 0) + 2 * (size_t)count) * sizeof(uint64_t);
}

static mia__view without_mode(const mia__view *view, uint32_t mode) {
    mia__view rest = {.offset = view->offset};
    for (uint32_t m = 0; m < view->ndim; m++) {
        if (m == mode) continue;
        rest.extent[rest.ndim] = view->extent[m];
        rest.stride[rest.ndim++] = view->stride[m];
    }
    return rest;
}

/* The modes beside the indexed one, and what is along it. */
static void make_lines(mia__cpu_scattered *s, const mia__step *source) {
    const mia__view *output = &source->output.view, *indices = &source->inputs[1].view,
                    *part = &source->inputs[2].view;
    uint32_t mode = (uint32_t)source->attributes.i[0];
    bool along = source->op == MIA_OP_scatter_along;
    s->count = part->extent[mode];
    s->extent = output->extent[mode];
    s->out_stride = output->stride[mode];
    s->part_stride = part->stride[mode];
    s->index_stride = indices->stride[along ? mode : 0];
    mia__view lines = without_mode(part, mode), out = without_mode(output, mode), at = lines;
    memset(at.stride, 0, sizeof at.stride);
    if (along) at = without_mode(indices, mode);
    for (uint32_t m = 0; m < out.ndim; m++) out.extent[m] = lines.extent[m]; /* a part may be smaller */
    const mia__view *operands[3] = {&out, &lines, &at};
    mia__cpu_loop_make(&s->lines, &lines, 0, operands, 3);
}

bool mia__cpu_choose_scatter(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *source = out->source;
    const mia__operand *x = &source->inputs[0];
    mia__cpu_scattered *s = &out->as.scattered;
    make_lines(s, source);
    int64_t parts = mia__view_count(&source->inputs[2].view);
    if (s->count > MOST_PARTS || mia__view_count(&source->inputs[1].view) > MOST_BYTES / 16) return false;
    bool in_place = x->buffer == source->output.buffer && out->input_offset[0] == out->output_offset;
    if (!in_place) {
        mia__cpu_copy_make(&s->copy, mia__cpu_unit_bytes(x), &source->output.view, &x->view);
        out->work = mia__cpu_copy_work(&s->copy);
        mia__cpu_phase_add(out, run_whole, mia__cpu_copy_units(&s->copy));
    }
    if (parts == 0) return true;
    size_t lines = s->lines.rows * (size_t)s->lines.extent[0];
    out->work += (source->op == MIA_OP_scatter ? 1.0 : 10.0) * (double)parts + 10.0 * (double)s->count;
    if (source->op == MIA_OP_scatter) {
        s->lines.pieces = ((size_t)s->lines.extent[0] + TILE - 1) / TILE;
        mia__cpu_phase_add(out, run_order, 1);
        mia__cpu_phase_add(out, run_rows, (size_t)s->count * s->lines.rows * s->lines.pieces);
    } else if (in_order(source)) {
        mia__cpu_phase_add(out, run_lines, lines);
    } else {
        s->lines.pieces = ((size_t)s->lines.extent[0] + LINES - 1) / LINES;
        mia__cpu_phase_add(out, run_set, s->lines.rows * s->lines.pieces);
    }
    return true;
}
