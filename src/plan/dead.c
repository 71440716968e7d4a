/* The pass that finds what nobody reads: entries that no value which outlives the run is made from. What is read
 * from a graph has none; a tape from a file may. Goes once over the entries, the last first, so that whoever reads
 * a value is known. */
#include "plan/passes.h"

bool mia__plan_dead(mia__planner *planner) {
    const mia__tape *tape = planner->tape;
    planner->needed = mia_allocate_zeroed(&planner->allocator, tape->count, sizeof *planner->needed);
    if (planner->needed == NULL) return false;
    for (uint32_t i = tape->count; i-- > 0;) {
        const mia__entry *entry = &tape->entries[i];
        if ((entry->flags & MIA__ENTRY_OUTLIVES) != 0) planner->needed[planner->base[i]] = true;
        if (planner->base[i] != i || i < tape->leaf_count) continue;
        if (!planner->needed[i]) {
            planner->plan->dropped_count++;
            continue;
        }
        for (uint32_t k = 0; k < entry->operand_count; k++)
            planner->needed[planner->base[entry->operands[k]]] = true;
    }
    return true;
}
