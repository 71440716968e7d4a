/* MIA_DEBUG=plan: a line on what each of the planner's passes did with a new plan, in their order. */
#include "runtime/device.h"

void mia__plan_log_passes(const mia_device *device, const mia__plan *plan) {
    if ((device->debug & MIA__DEBUG_PLAN) == 0) return;
    uint32_t fused = 0, cores = 0, together = 0, outputs = 0, arena = 0, forms = 0;
    for (uint32_t s = 0; s < plan->step_count; s++) {
        fused += plan->steps[s].op == MIA__OP_FUSED;
        cores += plan->steps[s].core_count > 0;
        together += plan->steps[s].together > 0;
    }
    for (uint32_t b = 0; b < plan->buffer_count; b++) {
        outputs += plan->buffers[b].kind == MIA__BUFFER_OUTPUT;
        arena += plan->buffers[b].kind == MIA__BUFFER_ARENA;
        forms += plan->buffers[b].kind == MIA__BUFFER_FORM;
    }
    mia__device_log(device, "cse: %u operations are another's equal", (unsigned)plan->shared_count);
    mia__device_log(device, "dead: %u operations left out", (unsigned)plan->dropped_count);
    mia__device_log(device, "lower: %u steps",
                    (unsigned)(plan->step_count - fused + plan->instruction_count));
    mia__device_log(device, "fuse: %u of them in %u steps, %u around a reduction, a norm or matmuls",
                    (unsigned)plan->instruction_count, (unsigned)fused, (unsigned)cores);
    mia__device_log(device, "together: %u groups of steps that may run at once", (unsigned)together);
    mia__device_log(device, "order: %s", plan->reordered ? "another than recorded" : "as recorded");
    mia__device_log(device, "buffers: %u of %u for outputs, %u prepared forms", (unsigned)outputs,
                    (unsigned)plan->buffer_count, (unsigned)forms);
    mia__device_log(device, "arena: %u buffers in %zu bytes", (unsigned)arena, plan->arena_bytes);
}
