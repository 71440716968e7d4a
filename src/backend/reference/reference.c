/* The reference backend: the table of reference kernels, and a backend that runs a plan's steps one after the
 * other and completes before it returns. */
#include "backend/reference/reference.h"

#include "backend/host.h"
#include "backend/reference/element.h"
#include "graph/ops.h"

#include <stdio.h>

/* --- the table -------------------------------------------------------------------------------- */

typedef struct kernel_row {
    mia_op op;
    mia__reference_kernel kernel;
} kernel_row;

static const kernel_row kernels[] = {
    {MIA_OP_copy, mia__reference_copy},
    {MIA_OP_convert, mia__reference_convert},
    {MIA_OP_concat, mia__reference_concat},
    {MIA_OP_pad, mia__reference_pad},
    {MIA_OP_gather, mia__reference_gather},
    {MIA_OP_embedding, mia__reference_embedding},
    {MIA_OP_update, mia__reference_update},
    {MIA_OP_take, mia__reference_take},
    {MIA_OP_take_along, mia__reference_take_along},
    {MIA_OP_scatter, mia__reference_scatter},
    {MIA_OP_scatter_along, mia__reference_scatter_along},
    {MIA_OP_roll, mia__reference_roll},
    {MIA_OP_tril, mia__reference_triangle},
    {MIA_OP_triu, mia__reference_triangle},
    {MIA_OP_argmax, mia__reference_argument},
    {MIA_OP_argmin, mia__reference_argument},
    {MIA_OP_cumsum, mia__reference_cumsum},
    {MIA_OP_sort, mia__reference_sort},
    {MIA_OP_argsort, mia__reference_sort},
    {MIA_OP_top_k, mia__reference_sort},
    {MIA_OP_top_k_indices, mia__reference_sort},
    {MIA_OP_log_softmax, mia__reference_log_softmax},
    {MIA_OP_l2_norm, mia__reference_l2_norm},
    {MIA_OP_group_norm, mia__reference_group_norm},
    {MIA_OP_attention_masked, mia__reference_attention},
    {MIA_OP_conv1d, mia__reference_convolve},
    {MIA_OP_conv2d, mia__reference_convolve},
    {MIA_OP_max_pool, mia__reference_pool},
    {MIA_OP_average_pool, mia__reference_pool},
    {MIA_OP_arange, mia__reference_arange},
    {MIA_OP_random_uniform, mia__reference_random},
    {MIA_OP_random_normal, mia__reference_random},
    {MIA_OP_softmax, mia__reference_softmax},
    {MIA_OP_rms_norm, mia__reference_rms_norm},
    {MIA_OP_layer_norm, mia__reference_layer_norm},
    {MIA_OP_rope, mia__reference_rope},
    {MIA_OP_attention, mia__reference_attention},
    {MIA_OP_matmul, mia__reference_matmul},
};

mia__reference_kernel mia__reference_find(mia_op op) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (kernels[i].op == op) return kernels[i].kernel;
    const mia_op_info *info = mia_op_describe(op);
    if (info == NULL) return NULL;
    if (info->op_class == MIA_CLASS_REDUCTION) return mia__reference_reduce;
    return info->op_class == MIA_CLASS_ELEMENTWISE ? mia__reference_elementwise : NULL;
}

mia__reference_kernel mia__reference_of(const mia__step *step) {
    if (step->custom == NULL) return mia__reference_find(step->op);
    return step->custom->description.number != NULL ? mia__reference_custom_elementwise
                                                    : mia__reference_custom;
}

mia_status mia__reference_check(const mia__step *step, const char *backend, mia_error *error) {
    if (mia__reference_of(step) != NULL) return MIA_OK;
    const mia__op_row *row = mia__op_row_of(step->op, step->custom);
    return mia_error_set(error, MIA_ERROR_UNSUPPORTED, "%s: no kernel for %s", backend,
                         row != NULL ? row->info.name : "an unknown operation");
}

/* --- the backend ------------------------------------------------------------------------------ */

/* Kernels of a plan's steps; the plan itself comes with the run. */
typedef struct program {
    uint32_t count;
    mia__reference_kernel kernels[];
} program;

static void open_reference(const mia_device_options *options, mia__backend **out,
                           mia__completion completion) {
    mia__host_backend *backend = mia__host_new(&mia__backend_reference, options, sizeof *backend);
    *out = backend != NULL ? &backend->base : NULL;
    mia__complete(completion, backend != NULL ? MIA_OK : MIA_ERROR_NO_MEMORY, NULL);
}

static void close_reference(mia__backend *backend) {
    mia__host_free(backend, sizeof(mia__host_backend));
}

static void describe(const mia__backend *backend, mia_device_info *info) {
    info->backend = backend->type->name;
    (void)snprintf(info->description, sizeof info->description, "%s", backend->type->description);
    info->threads = 1;
}

static size_t program_bytes(uint32_t count) {
    return sizeof(program) + count * sizeof(mia__reference_kernel);
}

static mia_status compile(mia__backend *backend, const mia__plan *plan, void **out, mia_error *error) {
    const mia_allocator *allocator = ((mia__host_backend *)backend)->allocator;
    for (uint32_t i = 0; i < plan->step_count; i++) {
        mia_status status = mia__reference_check(&plan->steps[i], backend->type->name, error);
        if (status != MIA_OK) return status;
    }
    program *made = mia_allocate(allocator, program_bytes(plan->step_count), _Alignof(program));
    if (made == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory for a plan of %u steps",
                             backend->type->name, (unsigned)plan->step_count);
    made->count = plan->step_count;
    for (uint32_t i = 0; i < plan->step_count; i++) made->kernels[i] = mia__reference_of(&plan->steps[i]);
    *out = made;
    return MIA_OK;
}

static void discard(mia__backend *backend, void *pointer) {
    program *made = pointer;
    if (made != NULL)
        mia_release(((mia__host_backend *)backend)->allocator, made, program_bytes(made->count));
}

static void run(mia__backend *backend, mia__run *begun) {
    (void)backend;
    const program *made = begun->program;
    mia__watch *watch = begun->watch;
    for (uint32_t i = 0; i < made->count; i++) {
        if (mia__watch_cancelled(watch)) {
            mia__complete(begun->completion, MIA_ERROR_CANCELLED, NULL);
            return;
        }
        mia__kernel_args args = mia__host_resolve(begun, i);
        mia__span span = {.step = i, .begin = mia__watch_traces(watch) ? mia__nanoseconds() : 0};
        made->kernels[i](&args);
        if (mia__watch_traces(watch)) {
            span.end = mia__nanoseconds();
            watch->trace(watch->trace_user, &span);
        }
        mia__watch_tell(watch, (double)(i + 1) / made->count);
    }
    mia__complete(begun->completion, MIA_OK, NULL);
}

const mia__backend_type mia__backend_reference = {
    .name = "reference",
    .description = "plain loops in double precision: the meaning of every operation",
    .synchronous = true,
    .open = open_reference,
    .close = close_reference,
    .describe = describe,
    .allocate = mia__host_allocate,
    .release = mia__host_release,
    .adopt = mia__host_adopt,
    .upload = mia__host_upload,
    .download = mia__host_download,
    .prepare = mia__host_prepare,
    .compile = compile,
    .discard = discard,
    .run = run,
    .poll = mia__host_poll,
};
