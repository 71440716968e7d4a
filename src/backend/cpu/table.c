/* Which family computes an operation, and which instruction set fills in its inner kernels. An operation
 * without a chooser runs on its reference kernel, and so does a step that its chooser turns down. */
#include "backend/cpu/cpu.h"

#include <string.h>

mia__cpu_chooser mia__cpu_chooser_find(mia_op op) {
    if (op == MIA__OP_FUSED) return mia__cpu_choose_elementwise;
    const mia_op_info *info = mia_op_describe(op);
    if (info == NULL) return NULL;
    switch (info->op_class) {
    case MIA_CLASS_ELEMENTWISE: return mia__cpu_choose_elementwise;
    case MIA_CLASS_REDUCTION: return mia__cpu_choose_reduce;
    case MIA_CLASS_WINDOW: return mia__cpu_choose_window;
    case MIA_CLASS_CREATION: return mia__cpu_choose_creation;
    default: break;
    }
    switch ((int)op) {
    case MIA_OP_copy: return mia__cpu_choose_copy;
    case MIA_OP_convert: return mia__cpu_choose_conversion;
    case MIA_OP_concat: return mia__cpu_choose_concat;
    case MIA_OP_pad: return mia__cpu_choose_pad;
    case MIA_OP_update: return mia__cpu_choose_update;
    case MIA_OP_embedding: return mia__cpu_choose_embedding;
    case MIA_OP_gather:
    case MIA_OP_take:
    case MIA_OP_take_along: return mia__cpu_choose_take;
    case MIA_OP_scatter:
    case MIA_OP_scatter_along: return mia__cpu_choose_scatter;
    case MIA_OP_roll:
    case MIA_OP_tril:
    case MIA_OP_triu: return mia__cpu_choose_shifted;
    case MIA_OP_cumsum: return mia__cpu_choose_cumsum;
    case MIA_OP_sort:
    case MIA_OP_argsort:
    case MIA_OP_top_k:
    case MIA_OP_top_k_indices: return mia__cpu_choose_sort;
    case MIA_OP_softmax:
    case MIA_OP_log_softmax:
    case MIA_OP_rms_norm:
    case MIA_OP_l2_norm:
    case MIA_OP_layer_norm:
    case MIA_OP_group_norm: return mia__cpu_choose_normalise;
    case MIA_OP_rope: return mia__cpu_choose_rope;
    case MIA_OP_attention:
    case MIA_OP_attention_masked: return mia__cpu_choose_attention;
    case MIA_OP_matmul: return mia__cpu_choose_matmul;
    default: return NULL;
    }
}

size_t mia__cpu_scratch(const void *context, const mia__plan *plan, const mia__step *step) {
    if (mia__cpu_borrows_scratch(context, plan, step)) return 0;
    if (mia__cpu_has_cores(step)) return mia__cpu_scratch_fused(context, plan, step);
    const mia_op_info *info = mia_op_describe(step->op);
    if (info != NULL && info->op_class == MIA_CLASS_REDUCTION) return mia__cpu_scratch_reduce(context, step);
    switch ((int)step->op) {
    case MIA_OP_rms_norm:
    case MIA_OP_layer_norm:
    case MIA_OP_group_norm: return mia__cpu_scratch_rows(context, step);
    case MIA_OP_scatter:
    case MIA_OP_scatter_along: return mia__cpu_scratch_scatter(context, step);
    case MIA_OP_rope: return mia__cpu_scratch_rope(context, step);
    case MIA_OP_attention:
    case MIA_OP_attention_masked: return mia__cpu_scratch_attention(context, step);
    case MIA_OP_matmul: return mia__cpu_scratch_matmul(context, step);
    case MIA_OP_conv1d:
    case MIA_OP_conv2d: return mia__cpu_scratch_window(context, step);
    case MIA_OP_cumsum: return mia__cpu_scratch_cumsum(context, step);
    case MIA_OP_sort:
    case MIA_OP_argsort:
    case MIA_OP_top_k:
    case MIA_OP_top_k_indices: return mia__cpu_scratch_sort(context, step);
    default: return 0;
    }
}

/* The avx512 products of bytes need an instruction that came later than the rest. */
static void keep_quantised(mia__cpu_kernels *kernels, const mia__cpu_kernels *before) {
    kernels->quantised_columns = before->quantised_columns;
    kernels->quantise = before->quantise;
    memcpy(kernels->products, before->products, sizeof kernels->products);
    memcpy(kernels->unpacks, before->unpacks, sizeof kernels->unpacks);
}

#define FILL(isa, family) mia__cpu_##isa##_##family(kernels);

void mia__cpu_kernels_fill(mia__cpu_kernels *kernels, mia__cpu_isa isa) {
    *kernels = (mia__cpu_kernels){.groups = 1};
    MIA__CPU_FAMILIES(FILL, generic)
#if defined(MIA_CPU_HAVE_AVX2)
    if (isa >= MIA__CPU_AVX2) {
        MIA__CPU_FAMILIES(FILL, avx2)
    }
#endif
#if defined(MIA_CPU_HAVE_AVX512)
    if (isa >= MIA__CPU_AVX512) {
        mia__cpu_kernels before = *kernels;
        MIA__CPU_FAMILIES(FILL, avx512)
        if (!mia__cpu_has_vnni()) keep_quantised(kernels, &before);
    }
#endif
    (void)isa;
}
