/* MIA_DEBUG: a comma-separated list of words (docs/debugging.md); lines go to the device's log callback. */
#include "graph/ops.h"
#include "runtime/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned mia__debug_flags(void) {
    static const struct {
        const char *name;
        unsigned flag;
    } words[] = {{"plan", MIA__DEBUG_PLAN},
                 {"memory", MIA__DEBUG_MEMORY},
                 {"tape", MIA__DEBUG_TAPE},
                 {"time", MIA__DEBUG_TIME},
                 {"check", MIA__DEBUG_CHECK}};
    const char *text = getenv("MIA_DEBUG");
    unsigned flags = 0;
    while (text != NULL && *text != '\0') {
        text += strspn(text, ", ");
        size_t length = strcspn(text, ", ");
        unsigned flag = length > 0 ? MIA__DEBUG_UNKNOWN : 0;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            if (length == strlen(words[i].name) && memcmp(text, words[i].name, length) == 0)
                flag = words[i].flag;
        flags |= flag;
        text += length;
    }
    return flags;
}

void mia__device_log(const mia_device *device, const char *format, ...) {
    if (device->options.log == NULL) return;
    char line[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    device->options.log(device->options.log_user, line);
}

/* "b3 f32 [256, 768]" into text. */
static const char *operand_text(const mia__operand *operand, char *text, size_t capacity) {
    char shape[200];
    mia_shape extents = mia__view_shape(&operand->view);
    (void)snprintf(text, capacity, "b%u %s %s", (unsigned)operand->buffer,
                   mia_dtype_describe(operand->dtype)->name, mia__shape_text(&extents, shape, sizeof shape));
    return text;
}

const char *mia__step_text(const mia__plan *plan, const mia__step *step, char *text, size_t capacity) {
    if (step->op != MIA__OP_FUSED) return mia__op_row_of(step->op, step->custom)->info.name;
    size_t used = (size_t)snprintf(text, capacity, "fused:");
    for (uint32_t n = 0; n < step->instruction_count; n++) {
        const mia__instruction *made = &plan->instructions[step->first_instruction + n];
        for (uint32_t k = 0; k < made->operand_count && used < capacity; k++) {
            uint32_t operand = made->operands[k];
            bool result = operand >= MIA__MAX_OPERANDS;
            int written =
                snprintf(text + used, capacity - used, "%s%s%s%s%u%s", k == 0 ? " " : ", ",
                         k == 0 ? mia__op_row_of(made->op, made->custom)->info.name : "", k == 0 ? "(" : "",
                         result ? "#" : "", (unsigned)(result ? operand - MIA__MAX_OPERANDS : operand),
                         k + 1u == made->operand_count ? ")" : "");
            used += written > 0 ? (size_t)written : 0;
        }
    }
    if (step->core_count > 0 && used < capacity)
        (void)snprintf(text + used, capacity - used,
                       step->core_count == 1 ? " around #%u" : " around #%u to #%u", (unsigned)step->core,
                       (unsigned)(step->core + step->core_count - 1));
    return text;
}

/* Of the first of several steps that run at once, the others. */
static const char *together_text(const mia__step *step, uint32_t number, char *text, size_t capacity) {
    text[0] = '\0';
    if (step->together > 0)
        (void)snprintf(text, capacity,
                       step->together == 2 ? ", together with %u" : ", together with %u to %u",
                       (unsigned)number + 1, (unsigned)(number + step->together - 1));
    return text;
}

static void log_steps(const mia_device *device, const mia__plan *plan) {
    for (uint32_t s = 0; s < plan->step_count; s++) {
        const mia__step *step = &plan->steps[s];
        char text[200], operations[400], together[60], inputs[400] = "";
        size_t used = 0;
        for (uint32_t i = 0; i < step->input_count && used < sizeof inputs; i++) {
            int written = snprintf(inputs + used, sizeof inputs - used, "%s%s", i > 0 ? ", " : "",
                                   operand_text(&step->inputs[i], text, sizeof text));
            used += written > 0 ? (size_t)written : 0;
        }
        mia__device_log(device, "%4u  %-12s %s <- %s%s", (unsigned)s,
                        mia__step_text(plan, step, operations, sizeof operations),
                        operand_text(&step->output, text, sizeof text), inputs,
                        together_text(step, s, together, sizeof together));
    }
}

static void log_buffers(const mia_device *device, const mia__plan *plan) {
    static const char *const kinds[] = {"leaf", "form", "arena", "output", "part"};
    for (uint32_t b = 0; b < plan->buffer_count; b++) {
        const mia__plan_buffer *buffer = &plan->buffers[b];
        mia__device_log(device, "b%-4u %-6s %12zu bytes at %12zu, steps %u to %u", (unsigned)b,
                        kinds[buffer->kind], buffer->bytes, buffer->offset, (unsigned)buffer->first,
                        (unsigned)buffer->last);
    }
}

void mia__tape_log(const mia_device *device, const mia__tape *tape) {
    if ((device->debug & MIA__DEBUG_TAPE) == 0) return;
    mia__device_log(device, "tape of %u leaves and %u operations", (unsigned)tape->leaf_count,
                    (unsigned)(tape->count - tape->leaf_count));
    for (uint32_t i = 0; i < tape->count; i++) {
        const mia__entry *entry = &tape->entries[i];
        char shape[200], operands[100] = "";
        mia_shape extents = mia__view_shape(&entry->view);
        size_t used = 0;
        for (uint32_t k = 0; k < entry->operand_count && used < sizeof operands; k++) {
            int written = snprintf(operands + used, sizeof operands - used, "%s%u", k > 0 ? ", " : " <- ",
                                   (unsigned)entry->operands[k]);
            used += written > 0 ? (size_t)written : 0;
        }
        const char *leaf = (entry->flags & MIA__LEAF_CONSTANT) != 0       ? "constant"
                           : (entry->flags & MIA__LEAF_OVERWRITABLE) != 0 ? "leaf, free"
                                                                          : "leaf";
        mia__device_log(device, "%4u  %-12s %s %s%s%s", (unsigned)i,
                        i < tape->leaf_count ? leaf : mia__op_row_of(entry->op, entry->custom)->info.name,
                        mia_dtype_describe(entry->dtype)->name,
                        mia__shape_text(&extents, shape, sizeof shape), operands,
                        (entry->flags & MIA__ENTRY_OUTLIVES) != 0 ? ", kept" : "");
    }
}

void mia__plan_log(const mia_device *device, const mia__plan *plan) {
    if ((device->debug & (MIA__DEBUG_PLAN | MIA__DEBUG_MEMORY)) == 0) return;
    mia__device_log(device, "plan of %u steps, arena %zu bytes, outputs %zu bytes",
                    (unsigned)plan->step_count, plan->arena_bytes, plan->output_bytes);
    if ((device->debug & MIA__DEBUG_PLAN) != 0) log_steps(device, plan);
    if ((device->debug & MIA__DEBUG_MEMORY) != 0) log_buffers(device, plan);
}
