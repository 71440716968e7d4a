/* Which modes a step can be cut along (cuts.h): every operation's shape rule, read backwards. */
#include "plan/cuts.h"

#include "graph/ops.h"

/* --- by kind of operation --------------------------------------------------------------------- */

static void take_whole(mia__cut *cut) {
    for (uint32_t i = 0; i < MIA__MAX_OPERANDS; i++) {
        cut->mode[i] = MIA__WHOLE;
        cut->grain[i] = 1;
    }
}

/* The first `count` inputs along the same mode. */
static bool first_inputs(mia__cut *cut, uint32_t count, uint32_t mode) {
    for (uint32_t i = 0; i < count; i++) cut->mode[i] = mode;
    return true;
}

static int64_t extent_of(const mia__operand *operand, uint32_t mode) {
    return mode < operand->view.ndim ? operand->view.extent[mode] : 1;
}

/* An input that repeats along modes of extent 1, and those it lacks. */
static void broadcast_input(const mia__step *step, uint32_t input, uint32_t mode, mia__cut *cut) {
    if (extent_of(&step->inputs[input], mode) > 1) cut->mode[input] = mode;
}

static bool matmul(const mia__step *step, uint32_t mode, mia__cut *cut) {
    if (mode == 0) {
        cut->mode[0] = 1;
    } else if (mode == 1) {
        cut->mode[1] = 1;
    } else {
        broadcast_input(step, 0, mode, cut);
        broadcast_input(step, 1, mode, cut);
    }
    return true;
}

/* Of q [D, H, T], k [D, S, G], v [E, S, G]: heads, by groups where there are several, and with a mask, which alone says
 * what a query sees, queries. */
static bool attention(const mia__step *step, uint32_t mode, mia__cut *cut) {
    bool masked = step->op == MIA_OP_attention_masked;
    if (mode == 0 || (mode == 2 && !masked)) return false;
    cut->mode[0] = mode;
    if (masked && extent_of(&step->inputs[3], 3 - mode) > 1) cut->mode[3] = 3 - mode;
    int64_t groups = step->inputs[1].view.extent[2];
    if (mode == 2 || groups == 1) return true;
    cut->mode[1] = cut->mode[2] = 2;
    cut->grain[1] = cut->grain[2] = step->output.view.extent[1] / groups;
    return true;
}

/* Table [C, N] by indices [...] gives [C, ...]; a packed table has one more mode in front. */
static bool columns(const mia__step *step, uint32_t mode, mia__cut *cut) {
    uint32_t column = step->inputs[0].view.ndim - 1;
    if (mode < column)
        cut->mode[0] = mode;
    else
        cut->mode[1] = mode - column;
    return true;
}

static bool take(const mia__step *step, uint32_t mode, mia__cut *cut) {
    uint32_t at = (uint32_t)step->attributes.i[0], indices = step->inputs[1].view.ndim;
    if (mode < at)
        cut->mode[0] = mode;
    else if (mode < at + indices)
        cut->mode[1] = mode - at;
    else
        cut->mode[0] = mode - indices + 1;
    return true;
}

static bool convolution(const mia__step *step, uint32_t mode, mia__cut *cut) {
    uint32_t spatial = step->output.view.ndim - 2;
    if (mode == spatial + 1) {
        cut->mode[0] = mode;
        return true;
    }
    cut->mode[1] = spatial + 1;
    return mode == spatial && step->attributes.i[MIA__WINDOW_GROUPS] == 1;
}

static bool same_extents(const mia__view *a, const mia__view *b) {
    bool same = a->ndim == b->ndim;
    for (uint32_t m = 0; same && m < a->ndim; m++) same = a->extent[m] == b->extent[m];
    return same;
}

/* Operations along the mode that attribute 0 names: any other. */
static bool beside_mode(const mia__step *step, uint32_t mode, mia__cut *cut) {
    if (mode == (uint32_t)step->attributes.i[0]) {
        cut->mode[1] = mode;
        return step->op == MIA_OP_take_along;
    }
    switch ((int)step->op) {
    case MIA_OP_concat:
    case MIA_OP_update:
    case MIA_OP_take_along: return first_inputs(cut, 2, mode);
    case MIA_OP_scatter: cut->mode[2] = mode; return first_inputs(cut, 1, mode);
    case MIA_OP_scatter_along:
        return extent_of(&step->inputs[1], mode) == extent_of(&step->inputs[0], mode) &&
               first_inputs(cut, 3, mode);
    default: return first_inputs(cut, 1, mode);
    }
}

static bool elementwise(const mia__step *step, uint32_t mode, mia__cut *cut) {
    for (uint32_t i = 0; i < step->input_count; i++)
        if (!same_extents(&step->inputs[i].view, &step->output.view)) return false;
    return first_inputs(cut, step->input_count, mode);
}

/* --- all of them ------------------------------------------------------------------------------ */

static bool along(const mia__step *step, uint32_t mode, mia__cut *cut) {
    switch ((int)step->op) {
    case MIA_OP_copy:
    case MIA_OP_convert: return elementwise(step, mode, cut);
    case MIA_OP_matmul: return matmul(step, mode, cut);
    case MIA_OP_attention:
    case MIA_OP_attention_masked: return attention(step, mode, cut);
    case MIA_OP_gather:
    case MIA_OP_embedding: return columns(step, mode, cut);
    case MIA_OP_take: return take(step, mode, cut);
    case MIA_OP_conv1d:
    case MIA_OP_conv2d: return convolution(step, mode, cut);
    case MIA_OP_rope:
        if (mode == 2) cut->mode[1] = 0;
        return mode > 0 && first_inputs(cut, 1, mode);
    case MIA_OP_softmax:
    case MIA_OP_log_softmax:
    case MIA_OP_l2_norm:
    case MIA_OP_rms_norm:
    case MIA_OP_layer_norm: return mode > 0 && first_inputs(cut, 1, mode);
    case MIA_OP_group_norm: return mode > (uint32_t)step->attributes.i[0] && first_inputs(cut, 1, mode);
    case MIA_OP_tril:
    case MIA_OP_triu:
    case MIA_OP_max_pool:
    case MIA_OP_average_pool: return mode > 1 && first_inputs(cut, 1, mode);
    case MIA_OP_concat:
    case MIA_OP_pad:
    case MIA_OP_update:
    case MIA_OP_take_along:
    case MIA_OP_scatter:
    case MIA_OP_scatter_along:
    case MIA_OP_roll: return beside_mode(step, mode, cut);
    default: break;
    }
    switch ((int)mia__op_row_of(step->op, step->custom)->info.op_class) {
    case MIA_CLASS_ELEMENTWISE: return elementwise(step, mode, cut);
    case MIA_CLASS_REDUCTION: /* what is reduced has extent 1 in the result */
        return (step->attributes.i[0] >> mode & 1) == 0 && first_inputs(cut, 1, mode);
    case MIA_CLASS_SCAN: return beside_mode(step, mode, cut);
    default: return false;
    }
}

bool mia__cut_along(const mia__step *step, uint32_t mode, mia__cut *cut) {
    take_whole(cut);
    if (step->op == MIA__OP_FUSED) return step->core_count == 0 && elementwise(step, mode, cut);
    if (step->custom != NULL && step->custom->row.info.op_class != MIA_CLASS_ELEMENTWISE) return false;
    return along(step, mode, cut);
}

/* --- ranges ----------------------------------------------------------------------------------- */

/* Elements that one stride of the mode passes. */
static int64_t elements_of(const mia__operand *operand, uint32_t mode) {
    const mia_dtype_info *info = mia_dtype_describe(operand->dtype);
    return mode == 0 && info->kind == MIA_KIND_BLOCK ? (int64_t)info->elements : 1;
}

/* Of positive numbers. */
static int64_t common_divisor(int64_t a, int64_t b) {
    while (b > 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

int64_t mia__cut_grain(const mia__step *step, uint32_t mode, const mia__cut *cut) {
    int64_t grain = elements_of(&step->output, mode);
    for (uint32_t i = 0; i < step->input_count; i++) {
        if (cut->mode[i] == MIA__WHOLE) continue;
        int64_t wanted = cut->grain[i] * elements_of(&step->inputs[i], cut->mode[i]);
        grain = wanted / common_divisor(wanted, grain) * grain;
    }
    return grain;
}

void mia__operand_slice(mia__operand *operand, uint32_t mode, int64_t begin, int64_t count) {
    operand->view.offset += begin / elements_of(operand, mode) * operand->view.stride[mode];
    operand->view.extent[mode] = count;
}
