/* Places of a mode found by arithmetic: pad and roll, which are copies of parts, and triangles. */
#include "backend/cpu/copy.h"
#include "backend/reference/element.h"

#include <string.h>

/* --- pad: what comes before, the tensor, what comes after --------------------------------------- */

typedef enum pad_place { PAD_BEFORE, PAD_INSIDE, PAD_AFTER } pad_place;

static mia__cpu_part pad_part(const mia__step *source, pad_place place) {
    const int64_t *attributes = source->attributes.i;
    mia__cpu_part part = {.mode = (uint32_t)attributes[0], .step = 1};
    int64_t extent = source->inputs[0].view.extent[part.mode], before = attributes[1];
    part.to = place == PAD_BEFORE ? 0 : place == PAD_INSIDE ? before : before + extent;
    part.count = place == PAD_BEFORE ? before : place == PAD_INSIDE ? extent : attributes[2];
    if (place == PAD_INSIDE) return part;
    switch ((mia_pad_style)attributes[3]) {
    case MIA_PAD_EDGE:
        part.from = place == PAD_BEFORE ? 0 : extent - 1;
        part.step = 0;
        break;
    case MIA_PAD_MIRROR:
        part.from = place == PAD_BEFORE ? before : extent - 2;
        part.step = -1;
        break;
    case MIA_PAD_CYCLE: part.from = place == PAD_BEFORE ? extent - before : 0; break;
    default: break;
    }
    return part;
}

/* What a part is copied from: the tensor, or one number of its shape. */
static mia__operand pad_input(const mia__step *source, pad_place place) {
    mia__operand input = source->inputs[0];
    if (place != PAD_INSIDE && source->attributes.i[3] == MIA_PAD_CONSTANT)
        memset(input.view.stride, 0, sizeof input.view.stride);
    return input;
}

static void run_pad(const mia__cpu_task *task, pad_place place, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    mia__cpu_part part = pad_part(source, place);
    mia__operand input = pad_input(source, place);
    bool constant = place != PAD_INSIDE && source->attributes.i[3] == MIA_PAD_CONSTANT;
    uint64_t number = 0;
    mia__store_number(input.dtype, &number, 0, source->attributes.f[0]);
    mia__cpu_part_run(task, &input, constant ? (const char *)&number : task->inputs[0], &part, begin, end);
}

static void run_pad_before(const mia__cpu_task *task, size_t begin, size_t end) {
    run_pad(task, PAD_BEFORE, begin, end);
}
static void run_pad_inside(const mia__cpu_task *task, size_t begin, size_t end) {
    run_pad(task, PAD_INSIDE, begin, end);
}
static void run_pad_after(const mia__cpu_task *task, size_t begin, size_t end) {
    run_pad(task, PAD_AFTER, begin, end);
}

bool mia__cpu_choose_pad(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    static const mia__cpu_function functions[] = {run_pad_before, run_pad_inside, run_pad_after};
    for (int place = PAD_BEFORE; place <= PAD_AFTER; place++) {
        mia__cpu_part part = pad_part(out->source, (pad_place)place);
        mia__operand input = pad_input(out->source, (pad_place)place);
        mia__cpu_part_add(out, functions[place], &input, &part);
    }
    return true;
}

/* --- roll: two parts change places -------------------------------------------------------------- */

static mia__cpu_part roll_part(const mia__step *source, bool second) {
    mia__cpu_part part = {.mode = (uint32_t)source->attributes.i[0], .step = 1};
    int64_t extent = source->output.view.extent[part.mode], shift = source->attributes.i[1] % extent;
    if (shift < 0) shift += extent;
    part.to = second ? shift : 0;
    part.from = second ? 0 : extent - shift;
    part.count = second ? extent - shift : shift;
    return part;
}

static void run_roll_first(const mia__cpu_task *task, size_t begin, size_t end) {
    mia__cpu_part part = roll_part(task->step->source, false);
    mia__cpu_part_run(task, &task->step->source->inputs[0], task->inputs[0], &part, begin, end);
}
static void run_roll_second(const mia__cpu_task *task, size_t begin, size_t end) {
    mia__cpu_part part = roll_part(task->step->source, true);
    mia__cpu_part_run(task, &task->step->source->inputs[0], task->inputs[0], &part, begin, end);
}

static void choose_roll(mia__cpu_step *out) {
    for (int second = 0; second < 2; second++) {
        mia__cpu_part part = roll_part(out->source, second != 0);
        mia__cpu_part_add(out, second ? run_roll_second : run_roll_first, &out->source->inputs[0], &part);
    }
}

/* --- triangles: of each row of mode 0 a part at one end ----------------------------------------- */

/* Where a row's kept elements begin and end. */
static void kept_of(const mia__step *source, int64_t row, int64_t *begin, int64_t *end) {
    const mia__view *view = &source->output.view;
    int64_t length = view->extent[0], rows = view->extent[1], diagonal = source->attributes.i[0];
    diagonal = diagonal > length ? length : diagonal < -rows ? -rows : diagonal;
    int64_t edge = diagonal + row + (source->op == MIA_OP_tril ? 1 : 0);
    edge = edge < 0 ? 0 : edge > length ? length : edge;
    *begin = source->op == MIA_OP_tril ? 0 : edge;
    *end = source->op == MIA_OP_tril ? edge : length;
}

static int64_t clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

/* A row of the output: elements outside [first, last) are zeros. */
static void triangle_row(const mia__cpu_task *task, char *to, const char *from, int64_t first, int64_t last) {
    const mia__operand *output = &task->step->source->output;
    int64_t bytes = (int64_t)mia__cpu_unit_bytes(output), length = output->view.extent[0];
    int64_t step = task->step->source->inputs[0].view.stride[0];
    for (int64_t begin = 0, end; begin < length && !mia__cpu_stopped(task); begin = end) {
        end = clamp(begin + MIA__CPU_LOOK, 0, length);
        int64_t some = clamp(first, begin, end), rest = clamp(last, begin, end);
        memset(to + begin * bytes, 0, (size_t)((some - begin) * bytes));
        mia__cpu_copy_row((size_t)bytes, to + some * bytes, 1, from + some * step * bytes, step, rest - some);
        memset(to + rest * bytes, 0, (size_t)((end - rest) * bytes));
    }
}

static void run_triangle(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    const mia__view *output = &source->output.view, *input = &source->inputs[0].view;
    const mia__cpu_loop *outer = &task->step->as.loop;
    size_t bytes = mia__cpu_unit_bytes(&source->output), rows = (size_t)output->extent[1];
    for (size_t unit = begin; unit < end; unit++) {
        int64_t at[2], row = (int64_t)(unit % rows), first, last;
        mia__cpu_loop_offsets(outer, 0, unit / rows, 2, at);
        char *to = task->output + (at[0] + row * output->stride[1]) * (int64_t)bytes;
        const char *from = task->inputs[0] + (at[1] + row * input->stride[1]) * (int64_t)bytes;
        kept_of(source, row, &first, &last);
        triangle_row(task, to, from, first, last);
    }
}

static void choose_triangle(mia__cpu_step *out) {
    const mia__view *output = &out->source->output.view;
    const mia__view *operands[2] = {output, &out->source->inputs[0].view};
    mia__cpu_loop *outer = &out->as.loop;
    mia__cpu_loop_make(outer, output, 2, operands, 2);
    size_t rows = outer->rows * (size_t)outer->extent[0] * (size_t)output->extent[1];
    out->work = (double)rows *
                (15.0 + 0.06 * (double)output->extent[0] * (double)mia__cpu_unit_bytes(&out->source->output));
    mia__cpu_phase_add(out, run_triangle, rows);
}

bool mia__cpu_choose_shifted(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    if (out->source->op == MIA_OP_roll)
        choose_roll(out);
    else
        choose_triangle(out);
    return true;
}
