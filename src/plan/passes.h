/* The planner's passes and what they work on. Each is a file; none knows a backend beyond its rules. In
 * order:
 *
 *   cse.c      equal sub-expressions become one value
 *   dead.c     what nobody reads is left out
 *   lower.c    tape entries become steps: views resolved, packed types spelt out, broadcasts aligned, copies
 *              put in
 *   fuse.c     chains of element-wise steps become one step each, where the rules take such
 *   fuse_core.c  reductions, norms and matmuls take in the chains before and behind them, and matmuls their siblings
 *   fuse_update.c  updates take in the rope that makes their part
 *   together.c matmuls of one input, and others that the rules join, come to stand beside each other, to run at once
 *   order.c    an order of the steps that promises to need less memory; places are found for it as well as for the
 *              recorded one, and the better is taken
 *   buffers.c  values get buffers: in place where that is sound, constants in the forms that kernels want,
 *              scratch
 *   arena.c    temporaries get places in one arena, best fit over lifetimes
 *   split.c    steps with operands larger than the backend binds are cut into several */
#ifndef MIA_PLAN_PASSES_H
#define MIA_PLAN_PASSES_H

#include "plan/plan.h"

/* A value: what a leaf or a step's result is, before it has a buffer. While lowering, mia__operand.buffer
 * holds a value's index. The first tape->count values are the tape's entries, those after are copies that
 * were put in. */
typedef struct mia__plan_value {
    size_t bytes;
    bool is_leaf;
    bool constant;
    bool overwritable; /* a leaf whose memory nobody else refers to */
    bool outlives;     /* it, or a view of it, is referred to from outside */
    uint32_t leaf;     /* of a leaf: its entry (the first of those that share its memory) */
    uint32_t last_use; /* the last step that reads it; MIA__NO_BUFFER: none */
    uint32_t buffer;   /* plan buffer, MIA__NO_BUFFER before it has one */
} mia__plan_value;

typedef struct mia__planner {
    mia_allocator allocator;
    const mia__tape *tape;
    const mia__plan_rules *rules;
    mia__plan *plan;
    mia__plan_value *values;
    uint32_t value_count, value_capacity;
    uint32_t *base;  /* of each entry, the value that it is or looks at */
    uint32_t *order; /* of all order_count steps, one that promises to need less memory, if `reorder` */
    uint32_t order_count;
    bool reorder;
    bool *needed; /* of each entry that is a value, whether anything that outlives the run is made from it */
} mia__planner;

bool mia__plan_cse(mia__planner *planner);
bool mia__plan_dead(mia__planner *planner);
bool mia__plan_lower(mia__planner *planner);
bool mia__plan_fuse(mia__planner *planner);
bool mia__plan_fuse_cores(mia__planner *planner);
bool mia__plan_fuse_updates(mia__planner *planner);
bool mia__plan_together(mia__planner *planner);
bool mia__plan_order(mia__planner *planner);
bool mia__plan_buffers(mia__planner *planner);
bool mia__plan_arena(mia__planner *planner);
/* NO_MEMORY, or UNSUPPORTED with a message of both numbers. */
mia_status mia__plan_split(mia__planner *planner, mia_error *error);

/* Whether a step may write its result over input i if it is the last to read it. Operands still name values. */
bool mia__plan_can_overwrite(const mia__planner *planner, const mia__step *step, uint32_t i);

/* Whether an operand is all of a constant, so that a backend may be asked for a form of it. It names a value. */
bool mia__plan_may_prepare(const mia__planner *planner, const mia__operand *input);

/* Each adds a zeroed element and returns it, NULL without memory. */
mia__step *mia__plan_add_step(mia__plan *plan);
mia__instruction *mia__plan_add_instruction(mia__plan *plan);
mia__plan_buffer *mia__plan_add_buffer(mia__plan *plan);
/* Room for the instructions of a step more, which then need no memory; false without. */
bool mia__plan_reserve_instructions(mia__plan *plan);
mia__plan_result *mia__plan_add_result(mia__plan *plan);

/* Whether a step whose operands name values sees more than the backend binds, or nearly, so that it may have to be cut:
 * then it is not fused with what cannot be. */
bool mia__plan_is_large(const mia__planner *planner, const mia__step *step);

/* --- modes.c ---------------------------------------------------------------------------------- */

/* Cuts modes up so that every mode of `a` and of `b` is a product of some of them; of 1 there are none. */
bool mia__view_refine(const mia__view *a, const mia__view *b, mia__view *out);
/* A view with the extents of `modes`; false when its own modes are no products of those. */
bool mia__view_cut(const mia__view *view, const mia__view *modes, mia__view *out);
bool mia__is_scalar(mia_dtype dtype);
/* Whether a step is element-wise, or a conversion, between scalar types, or a chain of such. */
bool mia__step_is_elementwise(const mia__step *step);
/* Whether an operand is all of a step's result, element by element in order. */
bool mia__reads_as_made(const mia__operand *operand, const mia__operand *made);
/* The same elements of the same value in the same modes. */
bool mia__same_operand(const mia__operand *a, const mia__operand *b);
/* The operand of a single step that counts when it is a core: x of matmul, the part of update. */
uint32_t mia__step_main(const mia__step *step);

/* --- fuse_core.c ------------------------------------------------------------------------------ */

/* Whether the rules take a step that was made so. There is room for its instructions behind the plan's. */
bool mia__plan_takes_fused(mia__planner *planner, mia__step *step, const mia__instruction *instructions);
/* Adds the instructions of a fused step to the plan, for which there is room. */
void mia__plan_add_instructions(mia__plan *plan, mia__step *step, const mia__instruction *instructions);

/* Element-wise operands all have the output's extents; merges modes that are one run of memory for every
 * operand of the step. For steps whose operands all have the same extents. */
void mia__step_merge_modes(mia__step *step);

#endif
