/* Products taken apart, and what they do with their sums (product.h). */
#include "backend/webgpu/product.h"

#include "graph/ops.h"

#include <stdio.h>

static uint64_t extent(const mia__view *view, uint32_t mode) {
    return mode < view->ndim ? (uint64_t)view->extent[mode] : 1;
}

bool mia__product_of(const mia__plan *plan, const mia__step *step, mia__product *out) {
    *out = (mia__product){.step = step};
    if (step->op == MIA_OP_matmul) {
        out->own = (mia__instruction){.op = MIA_OP_matmul, .dtype = step->output.dtype, .operands = {0, 1}};
        out->instruction_count = out->core_count = 1;
    } else if (step->op == MIA__OP_FUSED && step->core_count > 0) {
        out->instruction_count = step->instruction_count;
        out->core = step->core;
        out->core_count = step->core_count;
    } else {
        return false;
    }
    const mia__instruction *instructions = mia__product_instructions(plan, out);
    const mia__instruction *first = &instructions[out->core];
    if (first->op != MIA_OP_matmul) return false;
    for (uint32_t c = 0; c < out->core_count; c++) out->weights[c] = &step->inputs[first[c].operands[0]];
    if (out->core == 0) {
        out->x = &step->inputs[first->operands[1]];
    } else if (out->core == 1 && instructions[0].op == MIA_OP_rms_norm) {
        out->x = &step->inputs[instructions[0].operands[0]];
        out->norm_weight = &step->inputs[instructions[0].operands[1]];
        out->epsilon = instructions[0].attributes.f[0];
    } else {
        return false;
    }
    out->depth = extent(&out->weights[0]->view, 0);
    if (out->depth == 0) return false; /* sums of nothing: no memory to bind */
    out->rows = extent(&out->weights[0]->view, 1);
    uint64_t count = (uint64_t)mia__view_count(&step->output.view);
    out->columns = extent(&out->x->view, 1);
    out->batches = out->rows * out->columns > 0 ? count / (out->rows * out->columns) : 0;
    return true;
}

const mia__instruction *mia__product_instructions(const mia__plan *plan, const mia__product *product) {
    return product->step->op == MIA__OP_FUSED ? &plan->instructions[product->step->first_instruction]
                                              : &product->own;
}

static bool same_operand(const mia__operand *a, const mia__operand *b) {
    if (a == NULL || b == NULL) return a == b;
    bool same = a->buffer == b->buffer && a->dtype == b->dtype && a->view.offset == b->view.offset &&
                a->view.ndim == b->view.ndim;
    for (uint32_t m = 0; same && m < a->view.ndim; m++)
        same = a->view.extent[m] == b->view.extent[m] && a->view.stride[m] == b->view.stride[m];
    return same;
}

bool mia__product_same_x(const mia__product *a, const mia__product *b) {
    return same_operand(a->x, b->x) && same_operand(a->norm_weight, b->norm_weight) &&
           a->epsilon == b->epsilon && a->depth == b->depth && a->columns == b->columns &&
           a->batches == b->batches;
}

bool mia__product_finish(mia__kernel *k, const mia__product *product, const char *prefix) {
    char name[32];
    (void)snprintf(name, sizeof name, "%sout", prefix);
    const mia__chain chain = {.step = product->step,
                              .instructions = mia__product_instructions(k->plan, product),
                              .first = product->core + product->core_count,
                              .end = product->instruction_count,
                              .prefix = prefix};
    if (!mia__kernel_result(k, name, &product->step->output) || !mia__chain_declare(k, &chain)) return false;
    (void)snprintf(name, sizeof name, "%srows", prefix);
    mia__kernel_u32(k, name, product->rows);
    mia__kernel_add(k, "fn %sfinish(n: u32, m: u32, batch: u32", prefix);
    for (uint32_t c = 0; c < product->core_count; c++)
        mia__kernel_add(k, ", %sv%u: f32", prefix, product->core + c);
    mia__kernel_add(k,
                    ") {\n    if (n >= p.%srows || m >= p.columns) { return; }\n"
                    "    let i = (batch * p.columns + m) * p.%srows + n;\n",
                    prefix, prefix);
    mia__chain_body(k, &chain);
    mia__kernel_add(k, "    %sout_put(i, %sv%u);\n}\n", prefix, prefix, product->instruction_count - 1);
    return true;
}

/* --- rules ------------------------------------------------------------------------------------ */

/* How many of a product's operands lie in a buffer: x, the norm's weight, weights. */
static uint32_t operands_in(const mia__product *product, uint32_t buffer) {
    uint32_t count = product->x->buffer == buffer ? 1 : 0;
    if (product->norm_weight != NULL && product->norm_weight->buffer == buffer) count++;
    for (uint32_t c = 0; c < product->core_count; c++)
        if (product->weights[c]->buffer == buffer) count++;
    return count;
}

/* Whether a buffer that a product reads is read once more, by the product or by what is behind it: kernels read x and weights
 * as vectors where they lie so, others as words, and a dispatch binds a buffer in one way. */
static bool reads_again(const mia__instruction *instructions, const mia__product *product) {
    const mia__step *step = product->step;
    for (uint32_t i = 0; i < step->input_count; i++)
        if (operands_in(product, step->inputs[i].buffer) > 1) return true;
    for (uint32_t n = product->core + product->core_count; n < product->instruction_count; n++)
        for (uint32_t k = 0; k < instructions[n].operand_count; k++) {
            uint32_t operand = instructions[n].operands[k];
            if (operand < MIA__MAX_OPERANDS && operands_in(product, step->inputs[operand].buffer) > 0)
                return true;
        }
    return false;
}

bool mia__webgpu_fuses(const void *context, const mia__plan *plan, const mia__step *step) {
    (void)context;
    mia__product product;
    if (step->core_count == 0 || mia__step_writes_part(plan, step)) return true;
    if (!mia__product_of(plan, step, &product)) return false;
    const mia__instruction *instructions = mia__product_instructions(plan, &product);
    bool narrow = mia_dtype_describe(step->output.dtype)->bytes != 4 || product.x->dtype != MIA_f32;
    for (uint32_t c = 0; c < product.core_count; c++)
        narrow = narrow || instructions[product.core + c].dtype != MIA_f32;
    if (reads_again(instructions, &product)) return false;
    return !narrow && (product.core_count == 1 || product.columns <= MIA__PRODUCT_FEW_COLUMNS);
}
