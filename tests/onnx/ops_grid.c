/* GridSample: each place of the result is a weighted sum of the pixels around a point of the input. */
#include "onnx/graph.h"

/* One coordinate of the points, as a place along the input's axis of `extent` pixels. */
typedef struct axis {
    mia_tensor whole, past; /* kept, f64: the pixel before the point (the nearest one), and how far it is */
    int64_t extent;
} axis;

/* Back into [low, high], as if mirrors stood at both ends; consumes x. */
static mia_tensor reflected(onnx_node *n, mia_tensor x, double low, double high) {
    double range = high - low;
    if (range <= 0) return mul_number(x, 0);
    mia_tensor turned = onnx_keep(n, mod_number(sub_number(x, low), 2 * range));
    mia_tensor back = add_number(OP(neg, OP(ref, turned)), 2 * range);
    return add_number(OP(min, OP(ref, turned), back), low);
}

/* [-1, 1] to pixels: their centres, or with align_corners the outermost centres, are the ends. */
static axis axis_of(onnx_node *n, uint32_t coordinate, int64_t extent) {
    axis a = {.extent = extent};
    bool corners = onnx_int(n, "align_corners", 0) != 0;
    mia_tensor x = OP(squeeze, OP(slice, onnx_in(n, 1), 0, coordinate, 1, 1), MIA_MODE(0));
    x = add_number(OP(convert, x, MIA_f64), 1);
    x = corners ? mul_number(x, (double)(extent - 1) / 2)
                : sub_number(mul_number(x, (double)extent / 2), 0.5);
    if (onnx_is(n, "padding_mode", "border")) x = OP(clamp, x, 0.0, (double)(extent - 1));
    if (onnx_is(n, "padding_mode", "reflection")) {
        x = corners ? reflected(n, x, 0, (double)(extent - 1)) : reflected(n, x, -0.5, (double)extent - 0.5);
        x = OP(clamp, x, 0.0, (double)(extent - 1));
    }
    x = onnx_keep(n, x);
    a.whole = onnx_keep(n, onnx_is(n, "mode", "nearest") ? OP(round, OP(ref, x)) : OP(floor, OP(ref, x)));
    a.past = onnx_keep(n, OP(sub, OP(ref, x), OP(ref, a.whole)));
    return a;
}

/* (a + 2) d^3 - (a + 3) d^2 + 1 up to a distance d of 1, a d^3 - 5 a d^2 + 8 a d - 4 a from there to 2. */
static mia_tensor cubic(onnx_node *n, const axis *a, int tap) {
    static const double near[4] = {1.25, -2.25, 0, 1}, far[4] = {-0.75, 3.75, -6, 3}; /* of a = -3/4 */
    const double *c = tap == 0 || tap == 1 ? near : far;
    mia_tensor d = onnx_keep(n, OP(abs, sub_number(OP(ref, a->past), tap)));
    mia_tensor result = add_number(mul_number(OP(ref, d), c[0]), c[1]);
    result = add_number(OP(mul, result, OP(ref, d)), c[2]);
    return add_number(OP(mul, result, OP(ref, d)), c[3]);
}

static mia_tensor weight_of(onnx_node *n, const axis *a, int tap) {
    if (onnx_is(n, "mode", "nearest")) return add_number(mul_number(OP(ref, a->past), 0), 1);
    if (onnx_is(n, "mode", "bicubic")) return cubic(n, a, tap);
    return tap == 0 ? add_number(OP(neg, OP(ref, a->past)), 1) : OP(ref, a->past);
}

/* Pixel `tap` after the one before the points; *inside: whether there is one, 1 or 0. */
static mia_tensor pixel_of(onnx_node *n, const axis *a, int tap, mia_tensor *inside) {
    mia_tensor place = onnx_keep(n, add_number(OP(ref, a->whole), tap));
    mia_tensor within = onnx_keep(n, OP(clamp, OP(ref, place), 0.0, (double)(a->extent - 1)));
    *inside = OP(convert, OP(equal, OP(ref, place), OP(ref, within)), MIA_f64);
    bool zeros = !onnx_is(n, "padding_mode", "border") && !onnx_is(n, "padding_mode", "reflection");
    if (!zeros) *inside = add_number(mul_number(*inside, 0), 1);
    return OP(convert, OP(ref, within), MIA_i32);
}

/* X [W, H, C, N], grid [2, W', H', N]. */
static void grid_sample(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0), grid = onnx_shape(n, 1);
    if (x.ndim != 4 || grid.ndim != 4) {
        onnx_refuse(n, "GridSample of other than two axes");
        return;
    }
    axis column = axis_of(n, 0, x.extent[0]), row = axis_of(n, 1, x.extent[1]);
    int64_t points = grid.extent[1] * grid.extent[2], batch = x.extent[3];
    mia_shape flat = MIA_SHAPE(x.extent[0] * x.extent[1], x.extent[2], batch),
              line = MIA_SHAPE(points, 1, batch);
    mia_tensor pixels = onnx_keep(n, OP(reshape, onnx_in(n, 0), flat));
    mia_shape all = MIA_SHAPE(points, x.extent[2], batch);
    int first = onnx_is(n, "mode", "bicubic") ? -1 : 0;
    int last = onnx_is(n, "mode", "nearest") ? 0 : first == 0 ? 1 : 2;
    mia_tensor sum = mia_tensor_full(n->graph->device, MIA_f64, all, 0, __FILE__, __LINE__);
    for (int j = first; j <= last; j++)
        for (int i = first; i <= last; i++) {
            mia_tensor in_row, in_column;
            mia_tensor place = mul_number(pixel_of(n, &row, j, &in_row), (double)x.extent[0]);
            place = OP(add, place, pixel_of(n, &column, i, &in_column));
            mia_tensor weight = OP(mul, weight_of(n, &row, j), weight_of(n, &column, i));
            weight = OP(mul, weight, OP(mul, in_row, in_column));
            place = OP(broadcast, OP(reshape, place, line), all);
            mia_tensor taken = OP(convert, OP(take_along, OP(ref, pixels), place, 0), MIA_f64);
            sum = OP(add, sum, OP(mul, taken, OP(reshape, weight, line)));
        }
    mia_shape result = MIA_SHAPE(grid.extent[1], grid.extent[2], x.extent[2], batch);
    onnx_out(n, 0, OP(reshape, OP(convert, sum, onnx_type(n, 0)), result));
}

const onnx_operation onnx_grid[] = {
    {"GridSample", grid_sample},
    {0},
};
