/* Bindings of a dispatch by WebGPU's rule on aliasing (bindings.h). */
#include "plan/bindings.h"

uint32_t mia__plan_root(const mia__plan *plan, uint32_t buffer, size_t *offset) {
    *offset = 0;
    while (plan->buffers[buffer].kind == MIA__BUFFER_PART) {
        *offset += plan->buffers[buffer].offset;
        buffer = plan->buffers[buffer].index;
    }
    return buffer;
}

/* What a buffer takes of the memory it lies in: the arena, or a buffer's own. */
typedef struct stretch {
    uint32_t root;
    bool arena;
    size_t begin, end;
} stretch;

static stretch stretch_of(const mia__plan *plan, uint32_t buffer) {
    stretch s;
    s.root = mia__plan_root(plan, buffer, &s.begin);
    s.arena = plan->buffers[s.root].kind == MIA__BUFFER_ARENA;
    if (s.arena) s.begin += plan->buffers[s.root].offset;
    s.end = s.begin + plan->buffers[buffer].bytes;
    return s;
}

static bool same_memory(const stretch *a, const stretch *b) {
    return a->arena == b->arena && (a->arena || a->root == b->root);
}

bool mia__plan_shares_memory(const mia__plan *plan, uint32_t a, uint32_t b) {
    stretch x = stretch_of(plan, a), y = stretch_of(plan, b);
    return same_memory(&x, &y);
}

bool mia__plan_bind(const mia__plan *plan, mia__plan_binding *bindings, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        bindings[i].read_write = bindings[i].written;
        for (uint32_t k = 0; k < count && !bindings[i].read_write; k++)
            bindings[i].read_write =
                bindings[k].written && mia__plan_shares_memory(plan, bindings[i].buffer, bindings[k].buffer);
    }
    for (uint32_t i = 0; i < count; i++) {
        stretch x = stretch_of(plan, bindings[i].buffer);
        for (uint32_t k = 0; k < i && bindings[i].read_write; k++) {
            stretch y = stretch_of(plan, bindings[k].buffer);
            if (same_memory(&x, &y) && x.begin < y.end && y.begin < x.end) return false;
        }
    }
    return true;
}

static void add(mia__plan_binding *bindings, uint32_t *count, uint32_t buffer, bool written) {
    for (uint32_t i = 0; i < *count; i++) {
        if (bindings[i].buffer != buffer) continue;
        bindings[i].written = bindings[i].written || written;
        return;
    }
    bindings[(*count)++] = (mia__plan_binding){.buffer = buffer, .written = written};
}

uint32_t mia__step_bindings(const mia__plan *plan, const mia__step *step, mia__plan_binding *bindings) {
    uint32_t count = 0;
    add(bindings, &count, step->output.buffer, true);
    for (uint32_t i = 0; i < step->input_count; i++) add(bindings, &count, step->inputs[i].buffer, false);
    if (step->scratch != MIA__NO_BUFFER) add(bindings, &count, step->scratch, true);
    return mia__plan_bind(plan, bindings, count) ? count : 0;
}
