/* Which family makes the kernels of which operation. */
#include "backend/webgpu/families.h"

#include "graph/ops.h"

typedef struct row {
    mia_op op;
    mia__kernel_family family;
} row;

/* clang-format off */
static const row rows[] = {
    {MIA_OP_copy, mia__kernel_copy},
    {MIA_OP_convert, mia__kernel_convert},
    {MIA_OP_concat, mia__kernel_concat},
    {MIA_OP_pad, mia__kernel_pad},
    {MIA_OP_gather, mia__kernel_gather},
    {MIA_OP_embedding, mia__kernel_embedding},
    {MIA_OP_update, mia__kernel_update},
    {MIA_OP_take, mia__kernel_take},
    {MIA_OP_take_along, mia__kernel_take_along},
    {MIA_OP_scatter, mia__kernel_scatter},
    {MIA_OP_scatter_along, mia__kernel_scatter_along},
    {MIA_OP_roll, mia__kernel_roll},
    {MIA_OP_tril, mia__kernel_triangle},
    {MIA_OP_triu, mia__kernel_triangle},
    {MIA_OP_sum, mia__kernel_reduce},
    {MIA_OP_mean, mia__kernel_reduce},
    {MIA_OP_reduce_max, mia__kernel_reduce},
    {MIA_OP_reduce_min, mia__kernel_reduce},
    {MIA_OP_prod, mia__kernel_reduce},
    {MIA_OP_any, mia__kernel_reduce},
    {MIA_OP_all, mia__kernel_reduce},
    {MIA_OP_argmax, mia__kernel_reduce},
    {MIA_OP_argmin, mia__kernel_reduce},
    {MIA_OP_cumsum, mia__kernel_cumsum},
    {MIA_OP_sort, mia__kernel_sort},
    {MIA_OP_argsort, mia__kernel_sort},
    {MIA_OP_top_k, mia__kernel_sort},
    {MIA_OP_top_k_indices, mia__kernel_sort},
    {MIA_OP_softmax, mia__kernel_normalise},
    {MIA_OP_rms_norm, mia__kernel_normalise},
    {MIA_OP_layer_norm, mia__kernel_normalise},
    {MIA_OP_rope, mia__kernel_rope},
    {MIA_OP_attention, mia__kernel_attention},
    {MIA_OP_log_softmax, mia__kernel_normalise},
    {MIA_OP_l2_norm, mia__kernel_normalise},
    {MIA_OP_group_norm, mia__kernel_normalise},
    {MIA_OP_attention_masked, mia__kernel_attention},
    {MIA_OP_matmul, mia__kernel_matmul},
    {MIA_OP_conv1d, mia__kernel_convolve},
    {MIA_OP_conv2d, mia__kernel_convolve},
    {MIA_OP_max_pool, mia__kernel_pool},
    {MIA_OP_average_pool, mia__kernel_pool},
    {MIA_OP_arange, mia__kernel_arange},
    {MIA_OP_random_uniform, mia__kernel_random},
    {MIA_OP_random_normal, mia__kernel_random},
};
/* clang-format on */

mia__kernel_family mia__kernel_family_of(const mia__plan *plan, const mia__step *step) {
    if (step->op == MIA__OP_FUSED) {
        if (mia__step_writes_part(plan, step)) return mia__kernel_update;
        return step->core_count > 0 ? mia__kernel_matmul : mia__kernel_elementwise;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].op == step->op && step->custom == NULL) return rows[i].family;
    const mia__op_row *op = mia__op_row_of(step->op, step->custom);
    return op != NULL && op->info.op_class == MIA_CLASS_ELEMENTWISE ? mia__kernel_elementwise : NULL;
}
