/* What the planner is told of this backend, and constants in the forms that its kernels want. */
#include "backend/webgpu/kernel.h"
#include "backend/webgpu/prepared.h"
#include "backend/webgpu/product.h"
#include "backend/webgpu/scratch.h"
#include "backend/webgpu/tiles.h"

static uint32_t features_of(const mia__webgpu *webgpu) {
    return webgpu->gpu->info.features & ~webgpu->options.without;
}

/* The families' scratch memory; by operation. */
static size_t scratch_of(const void *context, const mia__plan *plan, const mia__step *step) {
    const mia__webgpu *webgpu = context;
    const mia__gpu_info *info = &webgpu->gpu->info;
    switch ((int)step->op) {
    case MIA_OP_attention:
    case MIA_OP_attention_masked: return mia__attention_scratch(info, step);
    case MIA_OP_sum:
    case MIA_OP_mean:
    case MIA_OP_reduce_max:
    case MIA_OP_reduce_min:
    case MIA_OP_prod:
    case MIA_OP_any:
    case MIA_OP_all:
    case MIA_OP_argmax:
    case MIA_OP_argmin: return mia__reduce_scratch(step);
    case MIA_OP_matmul:
    case MIA__OP_FUSED:
        return mia__has_matrices(info) && webgpu->precision != MIA_PRECISION_EXACT
                   ? mia__halves_scratch(plan, step)
                   : 0;
    case MIA_OP_cumsum: return mia__scan_scratch(step);
    case MIA_OP_sort:
    case MIA_OP_argsort:
    case MIA_OP_top_k:
    case MIA_OP_top_k_indices: return mia__sort_scratch(step);
    default: return 0;
    }
}

/* What is little work runs beside other such. */
static bool joins(const void *context, const mia__plan *plan, const mia__step *first,
                  const mia__step *other) {
    (void)context;
    return mia__kernel_is_small(plan, first) && mia__kernel_is_small(plan, other);
}

void mia__webgpu_rules(mia__webgpu *webgpu) {
    mia__plan_rules *rules = &webgpu->base.rules;
    webgpu->gpu->info.features = features_of(webgpu);
    rules->form = mia__webgpu_form;
    rules->binding_bytes = (size_t)(webgpu->gpu->info.limits.binding_bytes & ~(uint64_t)15);
    rules->fuses = mia__webgpu_fuses;
    rules->fusions = webgpu->no_fusion
                         ? 0
                         : MIA__FUSE_CONTRACTION_NORM | MIA__FUSE_CONTRACTION_EPILOGUE | MIA__FUSE_SIBLINGS |
                               MIA__FUSE_TOGETHER | MIA__FUSE_NORM_RECOMPUTED | MIA__FUSE_UPDATE_ROPE;
    rules->joins = joins;
    rules->fused_inputs = webgpu->no_fusion ? 0 : MIA__MAX_OPERANDS;
    rules->scratch = scratch_of;
    if (webgpu->gpu->info.processor) webgpu->speed = webgpu->speed_first = 50;
}

static uint64_t rows_of(const mia_shape *shape) {
    uint64_t rows = 1;
    for (uint32_t m = 1; m < shape->ndim; m++) rows *= (uint64_t)shape->extent[m];
    return rows;
}

mia_status mia__webgpu_prepare_rows(mia__backend *backend, mia_dtype dtype, const mia_shape *shape,
                                    const mia__form *form, uint64_t first, uint64_t count, const void *raw,
                                    mia__buffer *into, mia_error *error) {
    if (form->key != MIA__WEBGPU_FORM_GROUPS)
        return mia_error_set(error, MIA_ERROR_UNSUPPORTED, "webgpu: no such form of a constant");
    return mia__prepared_fill((mia__webgpu *)backend, dtype, (uint64_t)shape->extent[0], rows_of(shape),
                              first, count, raw, into, error);
}

mia_status mia__webgpu_prepare(mia__backend *backend, mia_dtype dtype, const mia_shape *shape,
                               const mia__form *form, const void *raw, mia__buffer *into, mia_error *error) {
    if (form->key == 0) return mia__webgpu_upload(backend, into, 0, raw, form->bytes, error);
    return mia__webgpu_prepare_rows(backend, dtype, shape, form, 0, rows_of(shape), raw, into, error);
}
