/* What the passes that make one step of several ask of views and steps: extents cut up so that two views have the
 * same modes, and which steps and operands may take part. */
#include "graph/ops.h"
#include "plan/passes.h"

/* The first mode from *mode on that has something left, and that. */
static int64_t next_extent(const mia__view *view, uint32_t *mode, int64_t left) {
    while (left == 1 && *mode < view->ndim) left = view->extent[(*mode)++];
    return left;
}

bool mia__view_refine(const mia__view *a, const mia__view *b, mia__view *out) {
    uint32_t next_a = 0, next_b = 0;
    int64_t left_a = 1, left_b = 1;
    *out = (mia__view){.ndim = 0};
    for (;;) {
        left_a = next_extent(a, &next_a, left_a);
        left_b = next_extent(b, &next_b, left_b);
        if (left_a == 1 && left_b == 1) return true;
        int64_t less = left_a < left_b ? left_a : left_b, more = left_a < left_b ? left_b : left_a;
        if (less == 1 || more % less != 0 || out->ndim == MIA__VIEW_MODES) return false;
        out->extent[out->ndim++] = less;
        left_a /= less;
        left_b /= less;
    }
}

bool mia__view_cut(const mia__view *view, const mia__view *modes, mia__view *out) {
    *out = (mia__view){.offset = view->offset, .ndim = modes->ndim};
    uint32_t mode = 0;
    int64_t left = 1, stride = 0;
    for (uint32_t m = 0; m < modes->ndim; m++) {
        out->extent[m] = modes->extent[m];
        if (modes->extent[m] == 1) continue;
        while (left == 1 && mode < view->ndim) {
            left = view->extent[mode];
            stride = view->stride[mode++];
        }
        if (left % modes->extent[m] != 0 || left == 1) return false;
        out->stride[m] = stride;
        stride *= modes->extent[m];
        left /= modes->extent[m];
    }
    return next_extent(view, &mode, left) == 1;
}

bool mia__is_scalar(mia_dtype dtype) {
    mia_dtype_kind kind = mia_dtype_describe(dtype)->kind;
    return kind == MIA_KIND_FLOAT || kind == MIA_KIND_INTEGER || kind == MIA_KIND_BOOL;
}

bool mia__step_is_elementwise(const mia__step *step) {
    if (step->op == MIA__OP_FUSED) return step->core_count == 0;
    mia_op_class op_class = mia__op_row_of(step->op, step->custom)->info.op_class;
    if (op_class != MIA_CLASS_ELEMENTWISE && step->op != MIA_OP_convert) return false;
    bool scalar = mia__is_scalar(step->output.dtype) && step->input_count <= MIA__INSTRUCTION_OPERANDS;
    for (uint32_t i = 0; i < step->input_count; i++) scalar = scalar && mia__is_scalar(step->inputs[i].dtype);
    return scalar;
}

bool mia__reads_as_made(const mia__operand *operand, const mia__operand *made) {
    return operand->buffer == made->buffer && operand->dtype == made->dtype &&
           mia__view_is_compact(operand->dtype, &operand->view) &&
           mia__view_count(&operand->view) == mia__view_count(&made->view);
}

bool mia__same_operand(const mia__operand *a, const mia__operand *b) {
    bool same = a->buffer == b->buffer && a->dtype == b->dtype && a->view.offset == b->view.offset &&
                a->view.ndim == b->view.ndim;
    for (uint32_t m = 0; same && m < a->view.ndim; m++)
        same = a->view.extent[m] == b->view.extent[m] &&
               (a->view.stride[m] == b->view.stride[m] || a->view.extent[m] == 1);
    return same;
}

uint32_t mia__step_main(const mia__step *step) {
    return step->op == MIA_OP_matmul || step->op == MIA_OP_update ? 1 : 0;
}
