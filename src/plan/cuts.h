/* Along which modes of its result a step can be cut into steps of the same kind, and what of its operands goes along. */
#ifndef MIA_PLAN_CUTS_H
#define MIA_PLAN_CUTS_H

#include "plan/plan.h"

#define MIA__WHOLE UINT32_MAX

typedef struct mia__cut {
    uint32_t
        mode[MIA__MAX_OPERANDS]; /* of each input that is cut along with the result's; MIA__WHOLE: none is */
    int64_t grain[MIA__MAX_OPERANDS]; /* places of the result's mode for one of the input's */
} mia__cut;

/* Whether places of mode `mode` of the result can be computed apart from the others. */
bool mia__cut_along(const mia__step *step, uint32_t mode, mia__cut *cut);

/* The number of places that a range of mode `mode` has to begin and end at multiples of, for the blocks of its operands to
 * stay whole. */
int64_t mia__cut_grain(const mia__step *step, uint32_t mode, const mia__cut *cut);

/* The operand's range [begin, begin + count) of a mode. */
void mia__operand_slice(mia__operand *operand, uint32_t mode, int64_t begin, int64_t count);

#endif
