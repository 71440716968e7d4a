/* How far numbers may lie apart (check_bounds.h). Element-wise operations, products and norms of a row's length have a
 * magnitude for each number; all others one for all numbers of the result, which makes it generous. */
#include "backend/check_bounds.h"

#include "base/block.h"
#include "graph/ops.h"

#include <float.h>

double mia__check_epsilon(mia_dtype dtype) {
    switch (dtype) {
    case MIA_f32: return 0x1p-23;
    case MIA_f16: return 0x1p-10;
    case MIA_bf16: return 0x1p-7;
    case MIA_f64: return 0x1p-52;
    default: return 0;
    }
}

static double least_of(mia_dtype dtype) {
    switch (dtype) {
    case MIA_f32: return 0x1p-149;
    case MIA_f16: return 0x1p-24;
    case MIA_bf16: return 0x1p-133;
    default: return 0;
    }
}

double mia__check_least_normal(mia_dtype dtype) {
    switch (dtype) {
    case MIA_f32:
    case MIA_bf16: return 0x1p-126;
    case MIA_f16: return 0x1p-14;
    default: return 0;
    }
}

static double greatest_of(mia_dtype dtype) {
    switch (dtype) {
    case MIA_f16: return 65504;
    case MIA_bf16: return 0x1.fep127;
    case MIA_f64: return DBL_MAX;
    default: return (double)FLT_MAX;
    }
}

mia__view mia__check_compact(const mia__view *view) {
    mia__view compact = {.ndim = view->ndim};
    for (int64_t m = 0, stride = 1; m < (int64_t)view->ndim; m++) {
        compact.extent[m] = view->extent[m];
        compact.stride[m] = stride;
        stride *= compact.extent[m];
    }
    return compact;
}

/* --- one magnitude for all numbers ------------------------------------------------------------- */

/* The largest finite magnitude of a value. */
static double largest(const mia__operand *operand, const void *base) {
    mia__walk walk;
    double most = 0;
    if (!mia__walk_start(&walk, &operand->view, 0)) return 0;
    uint32_t at = mia__walk_add(&walk, &operand->view);
    do {
        double x = fabs(mia__load(operand->dtype, base, walk.at[at]));
        if (x > most && isfinite(x)) most = x;
    } while (mia__walk_next(&walk));
    return most;
}

static double common_magnitude(const mia__step *step, const mia__kernel_args *args, mia_op_class op_class) {
    double of[MIA__MAX_OPERANDS] = {0}, most = largest(&step->output, args->output);
    for (uint32_t i = 0; i < step->input_count; i++) {
        of[i] = largest(&step->inputs[i], args->inputs[i]);
        if (of[i] > most) most = of[i];
    }
    if (step->input_count == 0) return most;
    double in = (double)mia__view_count(&step->inputs[0].view),
           out = (double)mia__view_count(&step->output.view);
    double dim = (double)mia__extent(&step->inputs[0].view, 0);
    switch (op_class) {
    case MIA_CLASS_REDUCTION: return most * (1 + in / (out > 0 ? out : 1));
    case MIA_CLASS_SCAN: return most * in;
    case MIA_CLASS_WINDOW:
        return step->input_count < 2 ? most : of[0] * of[1] * (double)mia__view_count(&step->inputs[1].view);
    case MIA_CLASS_COMPOSITE: break;
    default: return most;
    }
    if (step->custom != NULL) return most;
    if (step->op == MIA_OP_attention || step->op == MIA_OP_attention_masked)
        return of[2] * (1 + dim * of[0] * of[1] * fabs(step->attributes.f[0]));
    if (step->op == MIA_OP_rope) return 2 * of[0] * fabs(step->attributes.f[0]);
    return most * (1 + of[0]);
}

/* --- products --------------------------------------------------------------------------------- */

#define BLOCK 32 /* elements of activations that are rounded to 8 bits together */

/* Where the lines along K of an operand are, for each number of the result. */
static mia__view lines_of(const mia__view *from, uint32_t input, uint32_t ndim) {
    uint32_t mode = input; /* of the result that they are counted along */
    mia__view lines = {.offset = from->offset, .ndim = ndim};
    for (uint32_t m = 0; m < lines.ndim; m++) {
        uint32_t of = m < 2 ? 1 : m;
        bool has = (m >= 2 || m == mode) && of < from->ndim;
        lines.extent[m] = has ? from->extent[of] : 1;
        lines.stride[m] = has ? from->stride[of] : 0;
    }
    return lines;
}

/* Of one number of a product. */
typedef struct sums {
    double magnitude; /* of |w| |x| */
    double rounded;   /* what x in 8 bits may add */
    double halved;    /* what w and x in f16 may add */
    double through;   /* what x that is known up to something may add */
} sums;

static sums product_sums(const mia__check_bounds *b) {
    const mia__step *step = b->step;
    double w[MIA__BLOCK_MOST], x[MIA__BLOCK_MOST], off[MIA__BLOCK_MOST] = {0};
    int64_t depth = mia__extent(&step->inputs[0].view, 0);
    mia__operand offs = {.dtype = MIA_f64, .view = mia__check_compact(&step->inputs[1].view)};
    double all_weights = 0, all_x = 0, greatest = 0;
    sums s = {0};
    for (int64_t first = 0; first < depth; first += MIA__BLOCK_MOST) {
        int64_t count = depth - first < MIA__BLOCK_MOST ? depth - first : MIA__BLOCK_MOST;
        double weights = 0, most = 0;
        mia__load_run(&step->inputs[1], b->args->inputs[1], b->walk.at[b->at[1]], first, count, x);
        mia__load_run(&step->inputs[0], b->args->inputs[0], b->walk.at[b->at[0]], first, count, w);
        if (b->x_off != NULL) mia__load_run(&offs, b->x_off, b->walk.at[b->at[2]], first, count, off);
        for (int64_t i = 0; i < count; i++) {
            s.magnitude += fabs(w[i] * x[i]);
            all_weights += fabs(w[i]);
            all_x += fabs(x[i]) + off[i];
            greatest = fmax(greatest, fabs(x[i]) + off[i]);
            s.through += fabs(w[i]) * off[i];
            weights += fabs(w[i]);
            most = fmax(most, fabs(x[i]) + off[i]);
            if (i % BLOCK != BLOCK - 1 && i != count - 1) continue;
            s.rounded += weights * (most / 254 + 127 * 0x1p-150) * 1.001;
            weights = most = 0;
        }
    }
    /* rows of x are brought into f16's range by their greatest number */
    s.halved = (s.magnitude + s.through) * 0x1p-10 + all_weights * greatest * 0x1p-26 + all_x * 0x1p-25;
    return s;
}

/* --- an element ------------------------------------------------------------------------------- */

/* A row divided by its length, times a weight: what is off is a share of the number itself. */
static bool is_by_length(const mia__step *step) {
    return step->custom == NULL && (step->op == MIA_OP_rms_norm || step->op == MIA_OP_l2_norm);
}

static void add_walks(mia__check_bounds *b) {
    const mia__step *step = b->step;
    b->output = mia__walk_add(&b->walk, &step->output.view);
    for (uint32_t i = 0; i < step->input_count && b->op_class == MIA_CLASS_ELEMENTWISE; i++)
        b->at[i] = mia__walk_add(&b->walk, &step->inputs[i].view);
    for (uint32_t i = 0; i < 3 && b->product; i++) {
        mia__view x = mia__check_compact(&step->inputs[1].view); /* as x_off lies */
        const mia__view lines =
            lines_of(i < 2 ? &step->inputs[i].view : &x, i < 1 ? 0 : 1, step->output.view.ndim);
        b->at[i] = mia__walk_add(&b->walk, &lines);
    }
}

bool mia__check_bounds_start(mia__check_bounds *b, const mia__check_promise *promise, const mia__step *step,
                             const mia__kernel_args *args) {
    const mia_op_info *info = &mia__op_row_of(step->op, step->custom)->info;
    mia_dtype dtype = step->output.dtype;
    *b = (mia__check_bounds){.promise = *promise,
                             .step = step,
                             .args = args,
                             .op_class = info->op_class,
                             .bound = info->bound,
                             .unit = info->bound * mia__check_epsilon(dtype),
                             .least = info->bound * least_of(dtype)};
    b->product = info->op_class == MIA_CLASS_CONTRACTION && info->bound > 0;
    b->single =
        info->op_class == MIA_CLASS_ELEMENTWISE || info->op_class == MIA_CLASS_MOVEMENT || is_by_length(step);
    bool blocks = mia_dtype_describe(step->inputs[0].dtype)->elements > 1;
    b->eight_bits = b->product && promise->eight_bits && blocks;
    b->halves = b->product && promise->halves && (blocks || step->inputs[0].dtype == MIA_f16);
    if (promise->halves && step->custom == NULL && step->op == MIA_OP_attention)
        b->unit += mia__check_epsilon(MIA_f16); /* scores, and what they weigh */
    if (promise->normal && info->bound > 0) b->least += mia__check_least_normal(dtype);
    if (!b->product && !b->single && info->bound > 0)
        b->common = common_magnitude(step, args, info->op_class);
    if (is_by_length(step) && step->input_count > 1)
        b->least_weight = (double)FLT_MIN * largest(&step->inputs[1], args->inputs[1]);
    if (!mia__walk_start(&b->walk, &step->output.view, 0)) return false;
    add_walks(b);
    return true;
}

bool mia__check_bounds_next(mia__check_bounds *b) {
    b->element++;
    return mia__walk_next(&b->walk);
}

double mia__check_bounds_want(const mia__check_bounds *b) {
    return mia__load(b->step->output.dtype, b->args->output, b->walk.at[b->output]);
}

double mia__check_bounds_slack(const mia__check_bounds *b) {
    const mia__step *step = b->step;
    double want = mia__check_bounds_want(b), most = b->common, more = 0;
    if (b->promise.normal && !isfinite(want)) return (double)INFINITY;
    if (b->single) most = fmax(fabs(want), b->least_weight);
    for (uint32_t i = 0; b->op_class == MIA_CLASS_ELEMENTWISE && i < step->input_count; i++) {
        double x = fabs(mia__load(step->inputs[i].dtype, b->args->inputs[i], b->walk.at[b->at[i]]));
        if (b->promise.normal && !isfinite(x)) return (double)INFINITY;
        most = fmax(most, x);
    }
    if (b->product) {
        sums s = product_sums(b);
        most = s.magnitude;
        more = s.through + (b->eight_bits ? s.rounded : 0) + (b->halves ? s.halved : 0);
    }
    if (b->promise.normal && b->op_class == MIA_CLASS_MOVEMENT &&
        fabs(want) < mia__check_least_normal(step->inputs[0].dtype))
        more += fabs(want); /* it may have come as 0 */
    if (b->through != NULL) more += b->through[b->element];
    if (!b->single && most > (double)FLT_MAX / 4 && step->output.dtype != MIA_f64)
        return (double)INFINITY; /* sums may overflow */
    return more + (b->bound > 0 ? b->unit * most + b->least : 0);
}

bool mia__check_is_near(mia_dtype dtype, double want, double got, double slack) {
    if (isnan(slack) || isinf(slack)) return true; /* sums that overflow, in one order or the other */
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
    if (want == got) return true;
    if (isinf(want) || isinf(got))
        return want * got > 0 && fabs(isinf(want) ? got : want) + slack >= greatest_of(dtype);
    return fabs(want - got) <= slack;
}
