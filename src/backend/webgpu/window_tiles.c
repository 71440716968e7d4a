/* Convolutions of many channels as products of matrices that are never there: a workgroup makes SIDE outputs at SIDE places,
 * DEPTH elements of the window, of all its channels, at a time.
 *
 *     xs   DEPTH x SIDE   elements of x that the window's have at each place, zeros where they are padding
 *     ws   DEPTH x SIDE   weights of each output
 *
 * An invocation makes 4 outputs at 4 neighbouring places. */
#include "backend/webgpu/window.h"

#define SIDE  64
#define DEPTH 16

bool mia__convolve_in_tiles(const mia__step *step) {
    const mia__view *w = &step->inputs[1].view, *out = &step->output.view;
    uint32_t modes = w->ndim - 2;
    int64_t depth = 1, places = 1, outputs = out->extent[modes] / step->attributes.i[MIA__WINDOW_GROUPS];
    for (uint32_t m = 0; m <= modes; m++) depth *= w->extent[m];
    for (uint32_t m = 0; m < modes; m++) places *= out->extent[m];
    bool whole_words = places % mia__kernel_per_word(step->output.dtype) == 0;
    bool fits = places <= 65535 * SIDE && out->extent[modes] <= 65535 && out->extent[modes + 1] <= 65535;
    return fits && depth >= 2 * DEPTH && outputs >= SIDE / 4 && places >= SIDE / 4 && whole_words;
}

static void put_tiles(mia__kernel *k) {
    mia__kernel_add(k,
                    "const SIDE = %du;\nconst DEPTH = %du;\n"
                    "var<workgroup> xs: array<f32, DEPTH * SIDE>;\n"
                    "var<workgroup> ws: array<f32, DEPTH * SIDE>;\n",
                    SIDE, DEPTH);
    mia__kernel_put(k,
                    "fn x_value(first: u32, place: u32, element: u32) -> f32 {\n"
                    "    if (place >= p.places || element >= p.depth) { return 0.0; }\n"
                    "    let column = element / p.across_size;\n"
                    "    let z = across_at(place % p.across_places, element % p.across_size);\n"
                    "    let y = down_at(place / p.across_places, column % p.down_size);\n"
                    "    if (!across_inside(z) || !down_inside(y)) { return 0.0; }\n"
                    "    return x_get(first + column / p.down_size * p.x_channel + u32(y) * p.down_step +\n"
                    "        u32(z) * p.across_step);\n}\n"
                    "fn w_value(output: u32, group: u32, element: u32) -> f32 {\n"
                    "    if (output >= p.group || element >= p.depth) { return 0.0; }\n"
                    "    let column = element / p.across_size;\n"
                    "    return w_get(p.w_o + (group * p.group + output) * p.w_output +\n"
                    "        column / p.down_size * p.w_channel + column % p.down_size * p.w_down +\n"
                    "        element % p.across_size * p.w_across);\n}\n");
}

static void put_main(mia__kernel *k, mia__kernel_grid grid) {
    mia__kernel_main(k, grid, 256, "@builtin(local_invocation_index) local: u32");
    mia__kernel_put(
        k, "    let group = id.y / p.tiles;\n"
           "    let place = id.x * SIDE;\n"
           "    let output = id.y % p.tiles * SIDE;\n"
           "    let first = p.x_o + id.z * p.x_picture + group * p.channels * p.x_channel;\n"
           "    let across = local % 16u * 4u;\n"
           "    let down = local / 16u * 4u;\n"
           "    var all = array<vec4<f32>, 4>();\n"
           "    for (var element = 0u; element < p.depth; element += DEPTH) {\n"
           "        for (var i = local; i < DEPTH * SIDE; i += 256u) {\n"
           "            xs[i] = x_value(first, place + i % SIDE, element + i / SIDE);\n"
           "            ws[i % DEPTH * SIDE + i / DEPTH] = w_value(output + i / DEPTH, group, element + i % "
           "DEPTH);\n"
           "        }\n"
           "        workgroupBarrier();\n");
    mia__kernel_put(
        k, "        for (var d = 0u; d < DEPTH; d++) {\n"
           "            let a = d * SIDE + across;\n"
           "            let b = d * SIDE + down;\n"
           "            let x = vec4<f32>(xs[a], xs[a + 1u], xs[a + 2u], xs[a + 3u]);\n"
           "            all[0] += x * ws[b];\n            all[1] += x * ws[b + 1u];\n"
           "            all[2] += x * ws[b + 2u];\n            all[3] += x * ws[b + 3u];\n"
           "        }\n"
           "        workgroupBarrier();\n    }\n"
           "    for (var q = 0u; q < 4u; q++) {\n"
           "        if (output + down + q >= p.group) { break; }\n"
           "        let line = (id.z * p.outputs + group * p.group + output + down + q) * p.places;\n"
           "        let v = all[q];\n");
    if (mia__kernel_per_word(k->step->output.dtype) == 1)
        mia__kernel_put(
            k,
            "        for (var c = 0u; c < 4u; c++) {\n"
            "            if (place + across + c < p.places) { out_put(line + place + across + c, v[c]); }\n"
            "        }\n    }\n}\n");
    else
        mia__kernel_put(
            k, "        let w = (line + place + across) / 2u;\n"
               "        if (place + across < p.places) { out_put(w, v.x, v.y); }\n"
               "        if (place + across + 2u < p.places) { out_put(w + 1u, v.z, v.w); }\n    }\n}\n");
}

bool mia__convolve_tiles(mia__kernel *k) {
    const mia__view *w = &k->step->inputs[1].view, *out = &k->step->output.view;
    uint32_t modes = w->ndim - 2;
    uint64_t depth = 1, places = 1, groups = (uint64_t)k->step->attributes.i[MIA__WINDOW_GROUPS];
    for (uint32_t m = 0; m <= modes; m++) depth *= (uint64_t)w->extent[m];
    for (uint32_t m = 0; m < modes; m++) places *= (uint64_t)out->extent[m];
    uint64_t tiles = ((uint64_t)out->extent[modes] / groups + SIDE - 1) / SIDE;
    mia__kernel_u32(k, "depth", depth);
    mia__kernel_u32(k, "places", places);
    mia__kernel_u32(k, "tiles", tiles);
    put_tiles(k);
    const mia__kernel_grid grid = {(places + SIDE - 1) / SIDE, tiles * groups,
                                   (uint64_t)out->extent[modes + 1]};
    put_main(k, grid);
    return mia__kernel_end_grid(k);
}
