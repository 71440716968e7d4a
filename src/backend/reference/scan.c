/* Along one mode: running sums and order. Sorting is insertion into what lies in the output already, so it
 * needs no memory of its own. */
#include "backend/reference/element.h"

/* One line of a mode: where it starts in the operand and in the result, and the steps along it. */
typedef struct line {
    const mia__kernel_args *args;
    mia_dtype dtype; /* of the operand */
    int64_t length;  /* of the operand's line */
    int64_t in, in_stride;
    int64_t out, out_stride;
} line;

static double load_in(const line *l, int64_t i) {
    return mia__load(l->dtype, l->args->inputs[0], l->in + i * l->in_stride);
}

/* Does `each` for every line along mode i[0]. */
static void for_lines(const mia__kernel_args *args, void (*each)(const line *)) {
    const mia__operand *x = &args->step->inputs[0];
    uint32_t mode = (uint32_t)args->step->attributes.i[0];
    mia__view in = x->view, out = args->step->output.view;
    line l = {.args = args,
              .dtype = x->dtype,
              .length = in.extent[mode],
              .in_stride = in.stride[mode],
              .out_stride = out.stride[mode]};
    in.extent[mode] = out.extent[mode] = 1;
    mia__walk walk;
    if (!mia__walk_start(&walk, &in, 0)) return;
    uint32_t i = mia__walk_add(&walk, &in), o = mia__walk_add(&walk, &out);
    do {
        l.in = walk.at[i];
        l.out = walk.at[o];
        each(&l);
    } while (mia__walk_next(&walk));
}

static void sum_line(const line *l) {
    const mia__kernel_args *args = l->args;
    bool exclusive = args->step->attributes.i[1] != 0, reverse = args->step->attributes.i[2] != 0;
    mia__long_sum sum = {0};
    uint64_t whole = 0;
    for (int64_t n = 0; n < l->length; n++) {
        int64_t i = reverse ? l->length - 1 - n : n, to = l->out + i * l->out_stride;
        mia__long_sum before = sum;
        uint64_t whole_before = whole;
        mia__long_sum_add(&sum, load_in(l, i));
        whole += (uint64_t)mia__load_whole(l->dtype, args->inputs[0], l->in + i * l->in_stride);
        if (mia__is_float(l->dtype))
            mia__store(l->dtype, args->output, to, mia__long_sum_value(exclusive ? &before : &sum));
        else
            mia__store_whole(l->dtype, args->output, to, (int64_t)(exclusive ? whole_before : whole));
    }
}

void mia__reference_cumsum(const mia__kernel_args *args) {
    for_lines(args, sum_line);
}

/* Whether a comes before b for another reason than its place. NaN is the greatest. */
static bool is_before(double a, double b, bool descending) {
    if (isnan(a) || isnan(b)) return descending ? isnan(a) && !isnan(b) : !isnan(a) && isnan(b);
    return descending ? a > b : a < b;
}

/* What is in order: places, for the operations that give those, or elements. */
static bool gives_places(mia_op op) {
    return op == MIA_OP_argsort || op == MIA_OP_top_k_indices;
}

/* Number n of what is in order so far. */
static double load_out(const line *l, int64_t n) {
    int64_t at = l->out + n * l->out_stride;
    if (gives_places(l->args->step->op)) return load_in(l, mia__load_whole(MIA_i32, l->args->output, at));
    return mia__load(l->dtype, l->args->output, at);
}

static void copy_unit(void *base, int64_t to, const void *from_base, int64_t from, size_t bytes) {
    memcpy((uint8_t *)base + to * (int64_t)bytes, (const uint8_t *)from_base + from * (int64_t)bytes, bytes);
}

/* Puts element i at place n of the output, after moving the `held` there on by one, but for what leaves at
 * the end of `most`. */
static void put_in(const line *l, int64_t i, int64_t n, int64_t held, int64_t most) {
    void *output = l->args->output;
    size_t bytes = mia_dtype_describe(l->args->step->output.dtype)->bytes;
    for (int64_t k = held < most ? held : most - 1; k > n; k--)
        copy_unit(output, l->out + k * l->out_stride, output, l->out + (k - 1) * l->out_stride, bytes);
    if (gives_places(l->args->step->op))
        mia__store_whole(MIA_i32, output, l->out + n * l->out_stride, i);
    else
        copy_unit(output, l->out + n * l->out_stride, l->args->inputs[0], l->in + i * l->in_stride, bytes);
}

static void sort_line(const line *l) {
    const mia__step *step = l->args->step;
    bool top = step->op == MIA_OP_top_k || step->op == MIA_OP_top_k_indices;
    int64_t most = top ? step->attributes.i[1] : l->length, held = 0;
    bool descending = step->attributes.i[top ? 2 : 1] != 0;
    for (int64_t i = 0; i < l->length && most > 0; i++) {
        double x = load_in(l, i);
        int64_t low = 0, high = held; /* the first place whose element is to come after x */
        while (low < high) {
            int64_t middle = low + (high - low) / 2;
            if (is_before(x, load_out(l, middle), descending))
                high = middle;
            else
                low = middle + 1;
        }
        if (low == most) continue;
        put_in(l, i, low, held, most);
        if (held < most) held++;
    }
}

void mia__reference_sort(const mia__kernel_args *args) {
    for_lines(args, sort_line);
}
