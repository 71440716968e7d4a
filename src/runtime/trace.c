/* What is told of runs: each step to the trace callback of the device, and with MIA_DEBUG=time a table after each
 * run, added up by operation. */
#include "graph/ops.h"
#include "runtime/device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- what a step touches and computes --------------------------------------------------------- */

/* Bytes of the elements that a view shows, repeated ones once. */
static uint64_t shown_bytes(const mia__operand *operand) {
    mia__view view = operand->view;
    for (uint32_t m = 0; m < view.ndim; m++)
        if (view.stride[m] == 0 && view.extent[m] > 1) view.extent[m] = 1;
    return mia__view_bytes(operand->dtype, &view);
}

/* Of a table that is looked things up in, as much as comes out. */
static uint64_t touched_bytes(const mia__step *step, uint32_t input) {
    uint64_t bytes = shown_bytes(&step->inputs[input]), out = shown_bytes(&step->output);
    bool looked_up = step->op == MIA_OP_gather || step->op == MIA_OP_embedding || step->op == MIA_OP_take ||
                     step->op == MIA_OP_take_along;
    return input == 0 && looked_up && bytes > out ? out : bytes;
}

static uint64_t extent(const mia__operand *operand, uint32_t mode) {
    return mode < operand->view.ndim ? (uint64_t)operand->view.extent[mode] : 1;
}

/* Of all instructions: those before the cores on each element of the main operand, x of a matmul. */
static uint64_t fused_operations(const mia__plan *plan, const mia__step *step) {
    const mia__instruction *all = &plan->instructions[step->first_instruction], *core = &all[step->core];
    uint64_t out = (uint64_t)mia__view_count(&step->output.view);
    if (step->core_count == 0) return out * step->instruction_count;
    bool product = core->op == MIA_OP_matmul;
    uint32_t main = step->core > 0 ? all[0].operands[0] : core->operands[product];
    uint64_t in = (uint64_t)mia__view_count(&step->inputs[main].view), depth = 0;
    if (product) depth = extent(&step->inputs[core->operands[0]], 0);
    uint64_t each = product ? 2 * out * depth : in;
    return step->core * in + step->core_count * each +
           (step->instruction_count - step->core - step->core_count) * out;
}

static uint64_t step_bytes(const mia__step *step) {
    uint64_t bytes = 0;
    if (step->op == MIA_OP_update && step->inputs[0].buffer == step->output.buffer) /* the part alone moves */
        return 2 * shown_bytes(&step->inputs[1]);
    for (uint32_t i = 0; i < step->input_count; i++) bytes += touched_bytes(step, i);
    return bytes + shown_bytes(&step->output);
}

static uint64_t step_operations(const mia__plan *plan, const mia__step *step) {
    uint64_t out = (uint64_t)mia__view_count(&step->output.view);
    const mia__operand *in = step->inputs;
    if (step->op == MIA__OP_FUSED) return fused_operations(plan, step);
    switch (step->op) {
    case MIA_OP_matmul: return 2 * out * extent(&in[0], 0);
    case MIA_OP_conv1d: return 2 * out * extent(&in[1], 0) * extent(&in[1], 1);
    case MIA_OP_conv2d: return 2 * out * extent(&in[1], 0) * extent(&in[1], 1) * extent(&in[1], 2);
    case MIA_OP_attention:
    case MIA_OP_attention_masked: /* as if all rows were in use */
        return 2 * extent(&in[0], 1) * extent(&in[0], 2) * extent(&in[1], 1) *
               (extent(&in[1], 0) + extent(&in[2], 0));
    default: break;
    }
    const mia__op_row *row = mia__op_row_of(step->op, step->custom);
    if (row->info.op_class == MIA_CLASS_MOVEMENT) return 0;
    return row->info.op_class == MIA_CLASS_REDUCTION ? (uint64_t)mia__view_count(&in[0].view) : out;
}

/* --- text ------------------------------------------------------------------------------------- */

/* Of a step and those that ran within it: "matmul | matmul add | matmul". */
static const char *names_text(const mia__plan *plan, const mia__step *step, uint32_t joined, char *text,
                              size_t capacity) {
    char one[200];
    if (joined == 0) return mia__step_name(plan, step, text, capacity);
    size_t used = 0;
    for (uint32_t i = 0; i <= joined && used < capacity; i++) {
        int written = snprintf(text + used, capacity - used, "%s%s", i > 0 ? " | " : "",
                               mia__step_name(plan, &step[i], one, sizeof one));
        used += written > 0 ? (size_t)written : 0;
    }
    return text;
}

static size_t add_type(const mia__operand *operand, const char *before, char *text, size_t used,
                       size_t capacity) {
    char extents[200];
    mia_shape shape = mia__view_shape(&operand->view);
    if (used >= capacity) return used;
    int written =
        snprintf(text + used, capacity - used, "%s%s %s", before, mia_dtype_describe(operand->dtype)->name,
                 mia__shape_text(&shape, extents, sizeof extents));
    return used + (written > 0 ? (size_t)written : 0);
}

static const char *shapes_text(const mia__step *step, char *text, size_t capacity) {
    size_t used = add_type(&step->output, "", text, 0, capacity);
    for (uint32_t i = 0; i < step->input_count; i++)
        used = add_type(&step->inputs[i], i == 0 ? " <- " : ", ", text, used, capacity);
    return text;
}

static const char *all_shapes_text(const mia__step *step, uint32_t joined, char *text, size_t capacity) {
    char one[1000];
    size_t used = 0;
    for (uint32_t i = 0; i <= joined && used < capacity; i++) {
        int written = snprintf(text + used, capacity - used, "%s%s", i > 0 ? " | " : "",
                               shapes_text(&step[i], one, sizeof one));
        used += written > 0 ? (size_t)written : 0;
    }
    return text;
}

/* --- MIA_DEBUG=time --------------------------------------------------------------------------- */

#define KINDS 64 /* of operations in a run that are told apart; the last line has the rest */

typedef struct times_line {
    char name[64];
    uint64_t steps, nanoseconds, bytes, operations;
} times_line;

struct mia__times {
    size_t count;
    uint64_t begin, end; /* of the run */
    times_line lines[KINDS];
};

mia__times *mia__times_new(const mia_allocator *allocator) {
    return mia_allocate_zeroed(allocator, 1, sizeof(mia__times));
}

void mia__times_free(const mia_allocator *allocator, mia__times *times) {
    mia_release(allocator, times, sizeof *times);
}

static void add_time(mia__times *times, const mia_step_event *event) {
    size_t length = strlen(event->name), i = 0;
    if (length >= sizeof times->lines[0].name) length = sizeof times->lines[0].name - 1;
    while (i < times->count &&
           (strncmp(times->lines[i].name, event->name, length) != 0 || times->lines[i].name[length] != '\0'))
        i++;
    if (i == times->count && times->count < KINDS) {
        times->lines[times->count++] = (times_line){.steps = 0};
        memcpy(times->lines[i].name, times->count < KINDS ? event->name : "others",
               times->count < KINDS ? length : sizeof "others");
    }
    if (i == KINDS) i = KINDS - 1;
    times_line *line = &times->lines[i];
    line->steps++;
    line->nanoseconds += event->end - event->begin;
    line->bytes += event->bytes;
    line->operations += event->operations;
    times->end = event->end;
}

/* The lines, those that took longest first. */
static void log_times(mia_device *device, uint64_t run) {
    mia__times *times = device->times;
    uint64_t all = times->end - times->begin, steps = 0, inside = 0;
    if (times->count == 0) return;
    for (size_t i = 0; i < times->count; i++) {
        steps += times->lines[i].steps;
        inside += times->lines[i].nanoseconds;
    }
    double whole = all > 0 ? (double)all : 1;
    mia__device_log(device, "run %" PRIu64 ": %" PRIu64 " steps in %.3f ms, of which %.1f %% between them",
                    run, steps, whole * 1e-6, 100 * (whole - (double)inside) / whole);
    for (size_t done = 0; done < times->count; done++) {
        size_t longest = done;
        for (size_t i = done + 1; i < times->count; i++)
            if (times->lines[i].nanoseconds > times->lines[longest].nanoseconds) longest = i;
        times_line line = times->lines[longest];
        times->lines[longest] = times->lines[done];
        times->lines[done] = line;
        double took = line.nanoseconds > 0 ? (double)line.nanoseconds : 1;
        mia__device_log(device, "%10.3f ms %5.1f %% %5" PRIu64 " step%s %8.1f GB/s %8.1f Gop/s  %s",
                        took * 1e-6, 100 * took / whole, line.steps, line.steps == 1 ? " " : "s",
                        (double)line.bytes / took, (double)line.operations / took, line.name);
    }
}

/* --- a run ------------------------------------------------------------------------------------ */

static void trace(void *user, const mia__span *span) {
    mia_ticket *ticket = user;
    mia_device *device = ticket->device;
    const mia__plan *plan = ticket->run.plan;
    const mia__step *step = &plan->steps[span->step];
    char name[400], shapes[2000];
    uint64_t bytes = 0, operations = 0;
    for (uint32_t i = 0; i <= span->joined; i++) {
        bytes += step_bytes(&step[i]);
        operations += step_operations(plan, &step[i]);
    }
    const mia_step_event event = {.name = names_text(plan, step, span->joined, name, sizeof name),
                                  .shapes = all_shapes_text(step, span->joined, shapes, sizeof shapes),
                                  .run = device->counters.runs,
                                  .step = span->step,
                                  .steps = plan->step_count,
                                  .thread = span->thread,
                                  .begin = span->begin,
                                  .end = span->end,
                                  .bytes = bytes,
                                  .operations = operations};
    if (device->times != NULL && span->thread == 0) add_time(device->times, &event);
    if (device->options.trace != NULL) device->options.trace(device->options.trace_user, &event);
}

void mia__trace_begin(mia_ticket *ticket) {
    mia_device *device = ticket->device;
    if (device->options.trace == NULL && device->times == NULL) return;
    ticket->run.watch->trace = trace;
    ticket->run.watch->trace_user = ticket;
    if (device->times == NULL) return;
    device->times->count = 0;
    device->times->begin = device->times->end = mia__nanoseconds();
}

void mia__trace_end(mia_ticket *ticket) {
    if (ticket->device->times != NULL) log_times(ticket->device, ticket->device->counters.runs);
}
