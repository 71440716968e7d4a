/* Drawings of tapes and of their plans: which boxes and arrows there are (graph/draw.h writes them). A tape shows
 * what was recorded, views folded into the arrows; a plan shows the steps that run and where their results go. */
#include "graph/draw.h"
#include "graph/ops.h"
#include "plan/bindings.h"
#include "runtime/tapes.h"

#include <inttypes.h>
#include <stdio.h>

#define TEXT 300

static mia__box_kind kind_of(const mia__op_row *row) {
    switch (row->info.op_class) {
    case MIA_CLASS_ELEMENTWISE: return MIA__BOX_ELEMENTWISE;
    case MIA_CLASS_REDUCTION:
    case MIA_CLASS_SCAN: return MIA__BOX_REDUCTION;
    case MIA_CLASS_COMPOSITE: return MIA__BOX_COMPOSITE;
    case MIA_CLASS_CONTRACTION:
    case MIA_CLASS_WINDOW: return MIA__BOX_CONTRACTION;
    default: return MIA__BOX_MOVEMENT;
    }
}

/* "f32 [64, 8]" */
static const char *type_text(mia_dtype dtype, const mia__view *view, char *text) {
    char extents[200];
    mia_shape shape = mia__view_shape(view);
    (void)snprintf(text, TEXT, "%s %s", mia_dtype_describe(dtype)->name,
                   mia__shape_text(&shape, extents, sizeof extents));
    return text;
}

/* "1.5 MiB" */
static const char *bytes_text(uint64_t bytes, char *text, size_t capacity) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double number = (double)bytes;
    size_t unit = 0;
    while (number >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        number /= 1024;
        unit++;
    }
    (void)snprintf(text, capacity, unit == 0 ? "%.0f %s" : "%.1f %s", number, units[unit]);
    return text;
}

/* The name of a leaf that is the tape's own: of the weights' tensor, or none. */
static void constant_title(const mia_tape *tape, uint32_t leaf, char *text) {
    const mia__node *node = tape->leaves[leaf].node;
    const mia__storage *storage = (const mia__storage *)node->memory;
    const mia__constant *constant = storage->constant;
    if (constant != NULL && constant->info != NULL)
        (void)snprintf(text, TEXT, "%.*s",
                       (int)(constant->info->name.length < 100 ? constant->info->name.length : 100),
                       constant->info->name.bytes);
    else
        (void)snprintf(text, TEXT, "constant");
}

/* --- the tape --------------------------------------------------------------------------------- */

static bool is_view(const mia__entry *entry) {
    return mia__op_row_of(entry->op, entry->custom)->info.op_class == MIA_CLASS_VIEW;
}

/* What an operand is, seen through the views between, whose names are gathered: "transpose, slice". */
static uint32_t see_through(const mia_tape *tape, uint32_t entry, char *label) {
    size_t used = 0;
    label[0] = '\0';
    while (entry >= tape->tape.leaf_count && is_view(&tape->tape.entries[entry])) {
        int written = snprintf(label + used, TEXT - used, "%s%s", used > 0 ? ", " : "",
                               mia_op_describe(tape->tape.entries[entry].op)->name);
        if (written > 0 && (size_t)written < TEXT - used) used += (size_t)written;
        entry = tape->tape.entries[entry].operands[0];
    }
    uint32_t leaf = entry - tape->input_count;
    if (entry >= tape->input_count && entry < tape->tape.leaf_count &&
        tape->leaves[leaf].input != MIA__NO_INPUT) {
        (void)snprintf(label + used, TEXT - used, "%sview", used > 0 ? ", " : "");
        return tape->leaves[leaf].input;
    }
    return entry;
}

/* A leaf that is used often is drawn anew at each use, beside its user, in place of arrows across the page. */
#define OFTEN 3

/* How often each leaf is used by an operation that is no view, or comes out. */
static uint32_t uses_of(const mia_tape *tape, uint32_t leaf) {
    char label[TEXT];
    uint32_t uses = 0;
    for (uint32_t i = tape->tape.leaf_count; i < tape->tape.count; i++) {
        const mia__entry *entry = &tape->tape.entries[i];
        for (uint32_t k = 0; !is_view(entry) && k < entry->operand_count; k++)
            uses += see_through(tape, entry->operands[k], label) == leaf;
    }
    return uses;
}

static void leaf_box(mia__drawing *d, const mia_tape *tape, uint32_t leaf, uint32_t id) {
    char title[TEXT], note[TEXT];
    const mia__entry *entry = &tape->tape.entries[leaf];
    (void)type_text(entry->dtype, &entry->view, note);
    if (leaf < tape->input_count) {
        mia__draw_box(d, id, MIA__BOX_INPUT, tape->inputs[leaf].name, note);
    } else if (tape->leaves[leaf - tape->input_count].input == MIA__NO_INPUT) {
        constant_title(tape, leaf - tape->input_count, title);
        mia__draw_box(d, id, MIA__BOX_CONSTANT, title, note);
    }
}

static void tape_boxes(mia__drawing *d, const mia_tape *tape, const bool *often) {
    char note[TEXT];
    for (uint32_t i = 0; i < tape->tape.count; i++) {
        const mia__entry *entry = &tape->tape.entries[i];
        if (i < tape->tape.leaf_count) {
            if (!often[i]) leaf_box(d, tape, i, i);
        } else if (!is_view(entry)) {
            const mia__op_row *row = mia__op_row_of(entry->op, entry->custom);
            mia__draw_box(d, i, kind_of(row), row->info.name, type_text(entry->dtype, &entry->view, note));
        }
    }
    for (uint32_t i = 0; i < tape->output_count; i++) {
        const mia__entry *entry = &tape->tape.entries[tape->outputs[i].entry];
        mia__draw_box(d, tape->tape.count + i, MIA__BOX_OUTPUT, tape->outputs[i].name,
                      type_text(entry->dtype, &entry->view, note));
    }
}

/* Arrows into operations; or, before them, the boxes of leaves that are drawn anew at each. */
static void operand_arrows(mia__drawing *d, const mia_tape *tape, const bool *often, bool boxes) {
    char label[TEXT];
    uint32_t anew = tape->tape.count + tape->output_count; /* ids of boxes that are drawn anew */
    for (uint32_t i = tape->tape.leaf_count; i < tape->tape.count; i++) {
        const mia__entry *entry = &tape->tape.entries[i];
        for (uint32_t k = 0; !is_view(entry) && k < entry->operand_count; k++) {
            uint32_t from = see_through(tape, entry->operands[k], label);
            bool again = from < tape->tape.leaf_count && often[from];
            if (boxes && again) leaf_box(d, tape, from, anew);
            if (!boxes) mia__draw_arrow(d, again ? anew : from, i, label);
            anew += again;
        }
    }
}

static void output_arrows(mia__drawing *d, const mia_tape *tape) {
    char label[TEXT];
    for (uint32_t i = 0; i < tape->output_count; i++) {
        uint32_t from = see_through(tape, tape->outputs[i].entry, label);
        mia__draw_arrow(d, from, tape->tape.count + i, label);
    }
}

/* With the lock. */
static void draw_tape(mia__drawing *d, const mia_tape *tape, const char *title, mia_error *error) {
    bool *often = mia_allocate_zeroed(&tape->allocator, tape->tape.leaf_count + 1u, sizeof *often);
    if (often == NULL) {
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "draw: no memory");
        return;
    }
    for (uint32_t i = 0; d->format != MIA_DRAWING_JSON && i < tape->tape.leaf_count; i++)
        often[i] = uses_of(tape, i) > OFTEN;
    for (uint32_t i = 0; i < tape->output_count; i++) /* one that comes out has its place */
        if (tape->outputs[i].entry < tape->tape.leaf_count) often[tape->outputs[i].entry] = false;
    mia__draw_begin(d, title);
    tape_boxes(d, tape, often);
    operand_arrows(d, tape, often, true);
    operand_arrows(d, tape, often, false);
    output_arrows(d, tape);
    mia__draw_end(d);
    mia_release(&tape->allocator, often, (tape->tape.leaf_count + 1u) * sizeof *often);
}

/* --- the plan --------------------------------------------------------------------------------- */

/* Boxes: inputs and constants by the leaf that they are, then steps, then outputs. */
typedef struct plan_drawing {
    const mia_tape *tape;
    const mia__plan *plan;
    uint32_t *writer; /* of each buffer: the box that wrote it last */
} plan_drawing;

static uint32_t step_box(const plan_drawing *p, uint32_t step) {
    return p->plan->buffer_count + step;
}

/* "12 matmul", "13 mul, add, gelu", "14 rms_norm, [matmul], add": the core in brackets */
static void step_title(const mia__plan *plan, uint32_t number, char *text) {
    const mia__step *step = &plan->steps[number];
    int used = snprintf(text, TEXT, "%u ", (unsigned)number);
    if (step->op != MIA__OP_FUSED) {
        (void)snprintf(text + used, TEXT - (size_t)used, "%s",
                       mia__op_row_of(step->op, step->custom)->info.name);
        return;
    }
    for (uint32_t n = 0; n < step->instruction_count; n++) {
        const mia__instruction *made = &plan->instructions[step->first_instruction + n];
        bool core = n >= step->core && n < step->core + step->core_count;
        int more = snprintf(text + used, TEXT - (size_t)used, core ? "%s[%s]" : "%s%s", n > 0 ? ", " : "",
                            mia__op_row_of(made->op, made->custom)->info.name);
        if (more < 0 || more >= TEXT - used) return;
        used += more;
    }
}

/* A fused step looks like its core. */
static mia__box_kind kind_of_step(const mia__plan *plan, const mia__step *step) {
    if (step->op != MIA__OP_FUSED) return kind_of(mia__op_row_of(step->op, step->custom));
    const mia__instruction *core = &plan->instructions[step->first_instruction + step->core];
    return step->core_count > 0 ? kind_of(mia__op_row_of(core->op, core->custom)) : MIA__BOX_ELEMENTWISE;
}

static void plan_boxes(mia__drawing *d, const plan_drawing *p) {
    static const char *const places[] = {"leaf", "form", "arena", "output", "part of"};
    char title[TEXT], note[2 * TEXT], bytes[32], type[TEXT];
    for (uint32_t b = 0; b < p->plan->buffer_count; b++) {
        const mia__plan_buffer *buffer = &p->plan->buffers[b];
        if (buffer->kind != MIA__BUFFER_LEAF && buffer->kind != MIA__BUFFER_FORM) continue;
        bool input = buffer->index < p->tape->input_count;
        if (input)
            (void)snprintf(title, sizeof title, "%s", p->tape->inputs[buffer->index].name);
        else
            constant_title(p->tape, buffer->index - p->tape->input_count, title);
        (void)snprintf(note, sizeof note, "%s%s", bytes_text(buffer->bytes, bytes, sizeof bytes),
                       buffer->kind == MIA__BUFFER_FORM ? ", prepared" : "");
        mia__draw_box(d, b, input ? MIA__BOX_INPUT : MIA__BOX_CONSTANT, title, note);
        p->writer[b] = b;
    }
    for (uint32_t s = 0; s < p->plan->step_count; s++) {
        const mia__step *step = &p->plan->steps[s];
        const mia__plan_buffer *buffer = &p->plan->buffers[step->output.buffer];
        int noted =
            snprintf(note, sizeof note, "%s, %s b%u", type_text(step->output.dtype, &step->output.view, type),
                     places[buffer->kind], (unsigned)step->output.buffer);
        if (step->together > 0 && noted > 0)
            (void)snprintf(note + noted, sizeof note - (size_t)noted, ", together with the next %u",
                           (unsigned)(step->together - 1));
        step_title(p->plan, s, title);
        mia__draw_box(d, step_box(p, s), kind_of_step(p->plan, step), title, note);
    }
    for (uint32_t i = 0; i < p->tape->output_count; i++)
        mia__draw_box(d, step_box(p, p->plan->step_count) + i, MIA__BOX_OUTPUT, p->tape->outputs[i].name, "");
}

static void plan_arrows(mia__drawing *d, const plan_drawing *p) {
    char label[32];
    size_t offset;
    for (uint32_t s = 0; s < p->plan->step_count; s++) {
        const mia__step *step = &p->plan->steps[s];
        for (uint32_t i = 0; i < step->input_count; i++) {
            uint32_t buffer = mia__plan_root(p->plan, step->inputs[i].buffer, &offset);
            mia__draw_arrow(d, p->writer[buffer], step_box(p, s),
                            bytes_text(mia__view_bytes(step->inputs[i].dtype, &step->inputs[i].view), label,
                                       sizeof label));
        }
        p->writer[mia__plan_root(p->plan, step->output.buffer, &offset)] = step_box(p, s);
    }
    for (uint32_t i = 0; i < p->tape->output_count; i++) {
        uint32_t entry = p->tape->outputs[i].entry;
        for (uint32_t r = 0; r < p->plan->result_count; r++) {
            uint32_t buffer = p->plan->results[r].buffer;
            if (p->plan->results[r].entry != entry || buffer == MIA__NO_BUFFER) continue;
            mia__draw_arrow(d, p->writer[buffer], step_box(p, p->plan->step_count) + i, "");
        }
    }
}

/* With the lock. */
static mia_status draw_plan(mia__drawing *d, mia_tape *tape, mia_error *error) {
    mia_device *device = tape->device;
    bool *overwritable =
        mia_allocate_zeroed(&device->allocator, tape->input_count + 1u, sizeof *overwritable);
    if (overwritable == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "draw: no memory");
    mia__tape_overwrite_all(tape, overwritable);
    mia__cached *cached = mia__tape_plan_for(tape, overwritable, error);
    mia_release(&device->allocator, overwritable, (tape->input_count + 1u) * sizeof *overwritable);
    if (cached == NULL) return error->status;
    plan_drawing p = {.tape = tape, .plan = cached->plan};
    p.writer = mia_allocate_zeroed(&device->allocator, p.plan->buffer_count + 1u, sizeof *p.writer);
    if (p.writer == NULL) {
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "draw: no memory");
    } else {
        char title[TEXT], arena[32], outputs[32];
        (void)snprintf(title, sizeof title, "%u steps, arena %s, outputs %s", (unsigned)p.plan->step_count,
                       bytes_text(p.plan->arena_bytes, arena, sizeof arena),
                       bytes_text(p.plan->output_bytes, outputs, sizeof outputs));
        mia__draw_begin(d, title);
        plan_boxes(d, &p);
        plan_arrows(d, &p);
        mia__draw_end(d);
        mia_release(&device->allocator, p.writer, (p.plan->buffer_count + 1u) * sizeof *p.writer);
    }
    mia__cached_release(device, cached);
    return error->status;
}

mia_status mia_tape_draw(mia_tape *tape, mia_drawing_format format, bool plan,
                         void (*write)(void *user, const char *text, size_t length), void *user,
                         mia_error *error) {
    mia__drawing drawing = {.format = format, .write = write, .user = user};
    if (tape->device == NULL)
        return mia_error_set(error, MIA_ERROR_DEVICE_CLOSED, "draw: the tape's device was closed");
    mia_error local = {0};
    mia__lock(tape->device);
    if (plan) {
        (void)draw_plan(&drawing, tape, &local);
    } else {
        char title[TEXT];
        (void)snprintf(title, sizeof title, "%u operations",
                       (unsigned)(tape->tape.count - tape->tape.leaf_count));
        draw_tape(&drawing, tape, title, &local);
    }
    mia__unlock(tape->device);
    return local.status == MIA_OK ? MIA_OK : mia_error_set(error, local.status, "%s", local.message);
}
