/* Operations that programs register. An element-wise one is a kernel on tiles, so that it joins its neighbours
 * (elementwise.c); any other's cpu kernel is shared by all threads over the places of the output's last mode.
 * What a program gave no fast kernel for runs by what it gave. */
#include "backend/cpu/cpu.h"
#include "backend/reference/element.h"

#define PIECES 64 /* units at most */

static int64_t places(const mia__view *output) {
    return output->ndim > 0 ? output->extent[output->ndim - 1] : 1;
}

static void run_cpu(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__step *source = task->step->source;
    mia_custom_call call;
    mia__reference_custom_call(&task->args, &call);
    int64_t all = places(&source->output.view), units = all < PIECES ? all : PIECES;
    int64_t first = (int64_t)begin * all / units, last = (int64_t)end * all / units;
    source->custom->description.cpu(&call, first, last);
}

static void run_whole(const mia__cpu_task *task, size_t begin, size_t end) {
    (void)begin, (void)end;
    mia__reference_of(task->step->source)(&task->args);
}

/* --- element-wise: on tiles of a lane --------------------------------------------------------- */

#define BY_NUMBER(type, store)                                                                               \
    for (size_t i = 0; i < span->count; i++) {                                                               \
        double of_[MIA_CUSTOM_OPERANDS];                                                                     \
        for (uint32_t k = 0; k < span->operands; k++) of_[k] = (double)((const type *)span->in[k])[i];       \
        double y = span->custom->number(span->custom->user, span->attributes, of_);                          \
        store;                                                                                               \
    }

static void span_f32(const mia__cpu_span *span) {
    const float *x[MIA_CUSTOM_OPERANDS] = {NULL};
    float *out = span->out;
    for (uint32_t k = 0; k < span->operands; k++) x[k] = span->in[k];
    if (span->custom->floats != NULL)
        span->custom->floats(span->custom->user, span->attributes, out, x, span->count);
    else
        BY_NUMBER(float, out[i] = (float)y)
}

static void span_f64(const mia__cpu_span *span) {
    BY_NUMBER(double, ((double *)span->out)[i] = y)
}

/* Integers of 8 bits, and flags, are 32-bit ones here, within their range. */
static void span_i32(const mia__cpu_span *span) {
    uint8_t byte = 0;
    int32_t *out = span->out;
    bool narrow = mia_dtype_describe(span->dtype)->bytes == 1;
    if (narrow)
        BY_NUMBER(int32_t, {
            mia__store_number(span->dtype, &byte, 0, y);
            out[i] = span->dtype == MIA_i8 ? (int8_t)byte : byte;
        })
    else
        BY_NUMBER(int32_t, mia__store_number(span->dtype, out, (int64_t)i, y))
}

static void span_u32(const mia__cpu_span *span){
    BY_NUMBER(uint32_t, mia__store_number(MIA_u32, span->out, (int64_t)i, y))}

mia__cpu_span_kernel mia__cpu_custom_kernel(mia__cpu_lane lane) {
    switch (lane) {
    case MIA__CPU_LANE_F32: return span_f32;
    case MIA__CPU_LANE_F64: return span_f64;
    case MIA__CPU_LANE_U32: return span_u32;
    default: return span_i32;
    }
}

/* --- choosing --------------------------------------------------------------------------------- */

bool mia__cpu_choose_custom(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    const mia__step *source = out->source;
    int64_t all = places(&source->output.view);
    if (source->custom->description.number != NULL && mia__cpu_choose_elementwise(cpu, plan, out))
        return true;
    out->work = 10.0 * (double)mia__view_count(&source->output.view);
    if (source->custom->description.cpu != NULL)
        mia__cpu_phase_add(out, run_cpu, (size_t)(all < PIECES ? all : PIECES));
    else
        mia__cpu_phase_add(out, run_whole, 1);
    return true;
}
