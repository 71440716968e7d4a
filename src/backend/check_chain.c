/* Steps compared with what reference kernels make of their operands, where operands may be known up to something: those of a
 * fused step's later instructions, up to the bounds of the earlier ones; and numbers below the normal ones, which some
 * backends may take for 0.
 *
 *     y = silu(w x) * u        w x up to its bound -> silu of that, up to what it makes of the bound, and its own -> y likewise
 *
 * What an operation makes of inexact operands is tried out: the reference kernel runs with each of them as much too large, and as
 * much too small, as it may be, in all combinations. Of a product it is the sum of |w| times what x may be off. */
#include "backend/check.h"

#include "graph/ops.h"

#include <stdio.h>
#include <string.h>

/* What operands of a call may be off, of each element; NULL: they are exact. */
typedef struct inexact {
    const double *off[MIA__MAX_OPERANDS];
    uint32_t which[MIA__MAX_OPERANDS], count; /* those that are not */
} inexact;

static void add_inexact(inexact *of, uint32_t operand, const double *off) {
    of->off[operand] = off;
    of->which[of->count++] = operand;
}

/* --- numbers below the normal ones ------------------------------------------------------------- */

/* What is lost when such numbers of an operand are taken for 0; NULL where it has none. */
static const double *flushed(mia__step_check *c, const mia__operand *operand, const void *base) {
    double least = mia__check_least_normal(operand->dtype), *off = NULL;
    mia__walk walk;
    if (least == 0 || !mia__walk_start(&walk, &operand->view, 0)) return NULL;
    uint32_t at = mia__walk_add(&walk, &operand->view);
    size_t count = (size_t)mia__view_count(&operand->view), element = 0;
    do {
        double x = fabs(mia__load(operand->dtype, base, walk.at[at]));
        if (x == 0 || !(x < least)) continue;
        if (off == NULL) {
            off = mia__step_check_memory(c, count * sizeof *off);
            if (off == NULL) return NULL;
            memset(off, 0, count * sizeof *off);
        }
        off[element] = x;
    } while (element++, mia__walk_next(&walk));
    return off;
}

/* --- trying out -------------------------------------------------------------------------------- */

/* An operand, compact, as much too large (sign 1) or too small (-1) as it may be, and as rounding to its type makes of that. */
static void *moved(mia__step_check *c, mia__operand *operand, const void *base, const double *off,
                   double sign) {
    const mia__view from = operand->view;
    mia__walk walk;
    operand->view = mia__check_compact(&from);
    void *memory = mia__step_check_memory(c, mia__view_bytes(operand->dtype, &operand->view));
    if (memory == NULL || !mia__walk_start(&walk, &from, 0)) return memory;
    uint32_t at = mia__walk_add(&walk, &from), to = mia__walk_add(&walk, &operand->view);
    int64_t element = 0;
    do {
        double x = mia__load(operand->dtype, base, walk.at[at]), by = off[element];
        if (by > 0) by += mia__check_epsilon(operand->dtype) * fabs(x);
        mia__store_number(operand->dtype, memory, walk.at[to], x + sign * by);
    } while (element++, mia__walk_next(&walk));
    return memory;
}

/* The largest difference so far between what was made of moved operands and of those as they are. */
static void note_difference(const mia__step *step, const void *want, const void *got,
                            const mia__view *got_view, double *most) {
    mia__walk walk;
    if (!mia__walk_start(&walk, &step->output.view, 0)) return;
    uint32_t w = mia__walk_add(&walk, &step->output.view), g = mia__walk_add(&walk, got_view);
    do {
        double a = mia__load(step->output.dtype, want, walk.at[w]),
               b = mia__load(step->output.dtype, got, walk.at[g]);
        double apart = a == b || (isnan(a) && isnan(b)) ? 0 : fabs(a - b);
        if (isnan(apart)) apart = (double)INFINITY;
        *most = fmax(*most, apart);
        most++;
    } while (mia__walk_next(&walk));
}

/* Adds to `most` (of each element of the result) what it may be off for its operands' sake. False without memory. */
static bool try_out(mia__step_check *c, const mia__step *step, const mia__kernel_args *args,
                    const inexact *of, double *most) {
    uint32_t before = c->count;
    for (uint32_t corner = 0; corner < UINT32_C(1) << of->count; corner++) {
        mia__step tried = *step;
        mia__kernel_args tried_args = *args;
        tried_args.step = &tried;
        for (uint32_t i = 0; i < of->count; i++) {
            uint32_t k = of->which[i];
            tried_args.inputs[k] =
                moved(c, &tried.inputs[k], args->inputs[k], of->off[k], (corner >> i & 1) != 0 ? 1 : -1);
        }
        tried.output.view = mia__check_compact(&step->output.view);
        tried_args.output =
            mia__step_check_memory(c, mia__view_bytes(tried.output.dtype, &tried.output.view));
        if (!c->no_memory) {
            mia__reference_of (&tried)(&tried_args);
            note_difference(step, args->output, tried_args.output, &tried.output.view, most);
        }
        mia__step_check_free(c, before);
    }
    return !c->no_memory;
}

/* --- one operation ----------------------------------------------------------------------------- */

static bool is_tried(mia_op_class op_class) {
    return op_class == MIA_CLASS_ELEMENTWISE || op_class == MIA_CLASS_MOVEMENT;
}

/* Begins the bounds of a step whose reference kernel has run. False where there is nothing to compare: no elements, no memory,
 * or operands that are inexact for an operation of which it is not known what it makes of that; *known says so. */
static bool start_bounds(mia__step_check *c, const mia__step *step, const mia__kernel_args *args, inexact *of,
                         mia__check_bounds *bounds, bool *known) {
    const mia_op_info *info = &mia__op_row_of(step->op, step->custom)->info;
    size_t count = (size_t)mia__view_count(&step->output.view);
    bool product = info->op_class == MIA_CLASS_CONTRACTION, tried = is_tried(info->op_class);
    *known = of->count == 0 || tried || (product && of->off[1] != NULL && of->count == 1);
    if (!*known) return false;
    bool flushes = c->kernels->promise.normal && info->op_class == MIA_CLASS_ELEMENTWISE;
    for (uint32_t i = 0; i < step->input_count && flushes; i++) {
        const double *off = of->off[i] == NULL ? flushed(c, &step->inputs[i], args->inputs[i]) : NULL;
        if (off != NULL) add_inexact(of, i, off);
    }
    double *through = NULL;
    if (tried && of->count > 0) {
        through = mia__step_check_memory(c, count * sizeof *through);
        if (through == NULL) return false;
        memset(through, 0, count * sizeof *through);
        if (!try_out(c, step, args, of, through)) return false;
    }
    if (c->no_memory || !mia__check_bounds_start(bounds, &c->kernels->promise, step, args)) return false;
    bounds->through = through;
    bounds->x_off = product ? of->off[1] : NULL;
    return true;
}

bool mia__step_check_single(mia__step_check *c, const void *output) {
    mia__check_bounds bounds;
    inexact of = {.count = 0};
    bool known;
    if (mia_dtype_describe(c->step->output.dtype)->elements > 1)
        return true; /* rounding to blocks has no bound */
    mia__reference_of(c->step)(&c->args);
    return !start_bounds(c, c->step, &c->args, &of, &bounds, &known) ||
           mia__step_check_compare(c, c->step, &bounds, output, &c->step->output.view);
}

/* --- a chain of them --------------------------------------------------------------------------- */

static void tell_unknown(const mia__step_check *c, const mia__step *step) {
    char line[200];
    (void)snprintf(line, sizeof line,
                   "step %u was left out: how much %s makes of what its operands are off is not known",
                   (unsigned)c->index, mia__op_row_of(step->op, step->custom)->info.name);
    c->run->check->report(c->run->check->user, line);
}

/* What the results of an instruction may be off; NULL: nothing. */
static double *offs_of(mia__step_check *c, mia__check_bounds *bounds) {
    size_t count = (size_t)mia__view_count(&bounds->step->output.view);
    double *off = mia__step_check_memory(c, count * sizeof *off);
    if (off == NULL) return NULL;
    do off[bounds->element] = mia__check_bounds_slack(bounds);
    while (mia__check_bounds_next(bounds));
    return off;
}

bool mia__step_check_chain(mia__step_check *c, const void *output) {
    void *made[MIA__MOST_INSTRUCTIONS] = {NULL};
    const double *off[MIA__MOST_INSTRUCTIONS] = {NULL};
    uint32_t count = c->step->instruction_count;
    for (uint32_t n = 0; n < count; n++) {
        mia__check_call call;
        mia__check_bounds bounds;
        inexact of = {.count = 0};
        bool known;
        mia__step_check_call(c, n, made, &call);
        const mia__operand *result = &call.step.output;
        call.args.output = made[n] = mia__step_check_memory(c, mia__view_bytes(result->dtype, &result->view));
        if (c->no_memory) return true;
        mia__reference_of (&call.step)(&call.args);
        for (uint32_t k = 0; k < call.step.input_count; k++)
            if (call.results[k] != MIA__NO_RESULT && off[call.results[k]] != NULL)
                add_inexact(&of, k, off[call.results[k]]);
        bool begun = start_bounds(c, &call.step, &call.args, &of, &bounds, &known);
        if (!known) tell_unknown(c, &call.step);
        if (!begun) return true;
        if (n + 1 == count)
            return mia__step_check_compare(c, c->step, &bounds, output, &c->step->output.view);
        off[n] = offs_of(c, &bounds);
    }
    return true;
}
