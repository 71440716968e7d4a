/* Windows that move over modes 0 and 1: convolutions, directly, and pools. An invocation makes the numbers of a word, each
 * from its window. */
#include "backend/window.h"

#include "backend/webgpu/families.h"
#include "backend/webgpu/math.h"
#include "backend/webgpu/reduce.h"
#include "backend/webgpu/window.h"

#include <stdio.h>

/* Parameters of one mode: p.<name>_extent, _places, _size, _stride, _dilation, _before, _step; and
 *     fn <name>_at(place, element) -> i32    where an element of the window lies; outside of the mode where it is padding */
static void put_axis(mia__kernel *k, const char *name, const mia__window_axis *axis) {
    const struct {
        const char *field;
        int64_t value;
    } fields[] = {{"extent", axis->extent}, {"places", axis->places},     {"size", axis->size},
                  {"stride", axis->stride}, {"dilation", axis->dilation}, {"before", axis->before},
                  {"step", axis->x_step}};
    char field[32];
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        (void)snprintf(field, sizeof field, "%s_%s", name, fields[i].field);
        mia__kernel_u32(k, field, (uint64_t)fields[i].value);
    }
    mia__kernel_add(k,
                    "fn %s_at(place: u32, element: u32) -> i32 {\n"
                    "    return i32(place * p.%s_stride + element * p.%s_dilation) - i32(p.%s_before);\n}\n"
                    "fn %s_inside(at: i32) -> bool { return at >= 0 && at < i32(p.%s_extent); }\n",
                    name, name, name, name, name, name);
}

/* The place's coordinates, and what is behind them, of element i of the result. */
static const char coordinates[] = "    let across = i % p.across_places;\n"
                                  "    let down = i / p.across_places % p.down_places;\n"
                                  "    let behind = i / p.across_places / p.down_places;\n";

/* --- convolutions ------------------------------------------------------------------------------- */

static void put_convolution(mia__kernel *k, uint32_t modes) {
    const mia__view *x = &k->step->inputs[0].view, *w = &k->step->inputs[1].view,
                    *out = &k->step->output.view;
    for (uint32_t m = 0; m < 2; m++) {
        const mia__window_axis axis = mia__window_axis_of(k->step, m, modes, m < modes ? w->extent[m] : 1);
        put_axis(k, m == 0 ? "across" : "down", &axis);
        mia__kernel_u32(k, m == 0 ? "w_across" : "w_down", m < modes ? (uint64_t)w->stride[m] : 0);
    }
    mia__kernel_u32(k, "channels", (uint64_t)w->extent[modes]);
    mia__kernel_u32(k, "outputs", (uint64_t)out->extent[modes]);
    mia__kernel_u32(k, "group", (uint64_t)(out->extent[modes] / k->step->attributes.i[MIA__WINDOW_GROUPS]));
    mia__kernel_u32(k, "x_o", (uint64_t)x->offset);
    mia__kernel_u32(k, "x_channel", (uint64_t)x->stride[modes]);
    mia__kernel_u32(k, "x_picture", (uint64_t)x->stride[modes + 1]);
    mia__kernel_u32(k, "w_o", (uint64_t)w->offset);
    mia__kernel_u32(k, "w_channel", (uint64_t)w->stride[modes]);
    mia__kernel_u32(k, "w_output", (uint64_t)w->stride[modes + 1]);
}

/* Padding counts as zeros, which an infinite weight makes NaN of. A channel's window is summed alone, which keeps sums short. */
bool mia__kernel_convolve(mia__kernel *k) {
    const mia__operand *x = &k->step->inputs[0], *w = &k->step->inputs[1];
    if (mia__view_count(&k->step->output.view) == 0) return true;
    if (!mia__kernel_output(k)) return false;
    if (mia__view_count(&w->view) == 0 ||
        mia__view_count(&x->view) == 0) { /* no channels, or padding alone */
        mia__kernel_put(k, "fn value(i: u32) -> f32 { return 0.0; }\n");
        return mia__kernel_map(k);
    }
    if (!mia__kernel_words(k, "x", x->buffer) || !mia__kernel_words(k, "w", w->buffer)) return false;
    mia__kernel_get(k, "x", x->dtype);
    mia__kernel_get(k, "w", w->dtype);
    put_convolution(k, x->view.ndim - 2);
    double windows = (double)mia__view_count(&k->step->output.view);
    double each = (double)mia__view_count(&w->view) / (double)w->view.extent[w->view.ndim - 1];
    bool tiles = mia__convolve_in_tiles(k->step);
    k->nanoseconds = 5000 + windows * each / (tiles ? 3000 : 500);
    if (tiles) return mia__convolve_tiles(k);
    mia__kernel_add(k,
                    "fn value(i: u32) -> f32 {\n%s"
                    "    let o = behind %% p.outputs;\n"
                    "    let x_first = p.x_o + behind / p.outputs * p.x_picture + o / p.group * p.channels * "
                    "p.x_channel;\n"
                    "    let w_first = p.w_o + o * p.w_output;\n"
                    "    var all = 0.0;\n"
                    "    for (var c = 0u; c < p.channels; c++) {\n"
                    "        var sum = 0.0;\n",
                    coordinates);
    mia__kernel_put(
        k, "        for (var j = 0u; j < p.down_size; j++) {\n"
           "            let y = down_at(down, j);\n"
           "            let x_row = x_first + c * p.x_channel + select(0u, u32(y), down_inside(y)) * "
           "p.down_step;\n"
           "            let w_row = w_first + c * p.w_channel + j * p.w_down;\n"
           "            for (var n = 0u; n < p.across_size; n++) {\n"
           "                let z = across_at(across, n);\n"
           "                let inside = down_inside(y) && across_inside(z);\n"
           "                let v = x_get(x_row + select(0u, u32(z), across_inside(z)) * p.across_step);\n"
           "                sum += w_get(w_row + n * p.w_across) * select(0.0, v, inside);\n"
           "            }\n        }\n        all += sum;\n    }\n    return all;\n}\n");
    return mia__kernel_map(k);
}

/* --- pools -------------------------------------------------------------------------------------- */

static mia__view pictures_of(const mia__view *x) {
    mia__view view = *x;
    for (uint32_t m = 0; m < 2 && m < view.ndim; m++) view.extent[m] = 1;
    return view;
}

/* Of max_pool the greatest, where NaN is beyond all; -infinity of nothing. Of average_pool the sum by a count; NaN of nothing. */
static void put_pool(mia__kernel *k, bool greatest, bool counts_padding) {
    mia__kernel_u32(k, "nothing_is", greatest ? 0xff800000u : 0x7fc00000u);
    mia__kernel_lowered(k);
    mia__kernel_put(
        k,
        "fn mean(sum: vec2<f32>, low: f32, count: f32) -> f32 {\n" /* a sum may leave the range, and its mean not */
        "    if ((bitcast<u32>(sum.x) & 0x7f800000u) == 0x7f800000u) { return low / count * 0x1p32f; }\n"
        "    return (sum.x + sum.y) / count;\n}\n");
    if (!greatest) mia__kernel_math(k, "m_sum");
    mia__kernel_add(k, "fn value(i: u32) -> f32 {\n%s    let first = x_at(behind);\n", coordinates);
    mia__kernel_add(k, "    var all = %s;\n",
                    greatest ? "0.0" : "vec2<f32>()"); /* a sum, and what it has lost */
    mia__kernel_put(k, "    var count = 0u;\n    var odd = false;\n    var low = 0.0;\n"
                       "    for (var j = 0u; j < p.down_size; j++) {\n"
                       "        let y = down_at(down, j);\n"
                       "        if (!down_inside(y)) { continue; }\n"
                       "        for (var n = 0u; n < p.across_size; n++) {\n"
                       "            let z = across_at(across, n);\n"
                       "            if (!across_inside(z)) { continue; }\n"
                       "            let v = x_get(first + u32(y) * p.down_step + u32(z) * p.across_step);\n");
    mia__kernel_put(
        k,
        greatest
            ? "            if ((bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u) { odd = true; }\n"
              "            all = select(max(all, v), v, count == 0u);\n"
            : "            let sum = m_sum(all.x, v);\n            all = vec2<f32>(sum.x, all.y + sum.y);\n"
              "            low += lowered(v, 32u);\n");
    mia__kernel_put(k, "            count++;\n        }\n    }\n");
    if (greatest)
        mia__kernel_put(k, "    let bits = select(bitcast<u32>(all), p.nothing_is, count == 0u);\n"
                           "    return bitcast<f32>(select(bits, 0x7fc00000u, odd));\n}\n");
    else if (counts_padding)
        mia__kernel_put(k, "    return mean(all, low, f32(p.across_size) * f32(p.down_size));\n}\n");
    else
        mia__kernel_put(k, "    if (count == 0u) { return bitcast<f32>(p.nothing_is); }\n"
                           "    return mean(all, low, f32(count));\n}\n");
}

bool mia__kernel_pool(mia__kernel *k) {
    const mia__step *step = k->step;
    const mia__operand *x = &step->inputs[0];
    bool greatest = step->op == MIA_OP_max_pool;
    const mia__view pictures = pictures_of(&x->view);
    if (mia__view_count(&step->output.view) == 0) return true;
    if (!mia__kernel_output(k)) return false;
    for (uint32_t m = 0; m < 2; m++) {
        const mia__window_axis axis =
            mia__window_axis_of(step, m, x->view.ndim, step->attributes.i[MIA__WINDOW_SIZE + m]);
        put_axis(k, m == 0 ? "across" : "down", &axis);
    }
    if (mia__view_count(&x->view) > 0) {
        if (!mia__kernel_words(k, "x", x->buffer)) return false;
        mia__kernel_get(k, "x", x->dtype);
    } else { /* padding alone: none is read */
        mia__kernel_put(k, "fn x_get(i: u32) -> f32 { return 0.0; }\n");
    }
    mia__kernel_view(k, "x", &pictures);
    mia__kernel_at(k, "x", &pictures);
    put_pool(k, greatest, step->attributes.i[MIA__WINDOW_COUNT_PADDING] != 0);
    return mia__kernel_map(k);
}
