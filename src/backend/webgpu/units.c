/* Units of memory that are moved as they are (units.h). */
#include "backend/webgpu/units.h"

#include <stdio.h>

/* --- operands as units --------------------------------------------------------------------------- */

/* A block type's view, in half-words or words. */
static void spell_out(mia__view *out, const mia__view *view, const mia_dtype_info *info, uint32_t bytes) {
    int64_t inner = info->bytes / bytes;
    out->offset = view->offset * inner;
    out->ndim = view->ndim + 1;
    out->extent[0] = inner;
    out->stride[0] = 1;
    for (uint32_t m = 0; m < view->ndim; m++) {
        out->extent[m + 1] = m == 0 ? view->extent[m] / info->elements : view->extent[m];
        out->stride[m + 1] = view->stride[m] * inner;
    }
}

void mia__units_of(mia__units *units, const mia__operand *const *operands, uint32_t count) {
    const mia_dtype_info *info = mia_dtype_describe(operands[0]->dtype);
    bool blocks = info->kind == MIA_KIND_BLOCK && operands[0]->view.ndim > 0;
    *units = (mia__units){.bytes = info->bytes, .count = count};
    if (blocks) {
        units->bytes = info->bytes % 4 == 0 ? 4 : 2;
        units->inner = 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (blocks)
            spell_out(&units->views[i], &operands[i]->view, info, units->bytes);
        else
            units->views[i] = operands[i]->view;
    }
}

/* Whether pairs of units move together. */
static bool pairs(const mia__view *view) {
    if (view->ndim == 0 || view->extent[0] % 2 != 0 || view->stride[0] != 1 || view->offset % 2 != 0)
        return false;
    for (uint32_t m = 1; m < view->ndim; m++)
        if (view->extent[m] != 1 && view->stride[m] % 2 != 0) return false;
    return true;
}

void mia__units_widen(mia__units *units, uint32_t most) {
    while (units->bytes < most) {
        for (uint32_t i = 0; i < units->count; i++)
            if (!pairs(&units->views[i])) return;
        for (uint32_t i = 0; i < units->count; i++) {
            mia__view *view = &units->views[i];
            view->offset /= 2;
            view->extent[0] /= 2;
            for (uint32_t m = 1; m < view->ndim; m++) view->stride[m] /= 2;
        }
        units->bytes *= 2;
    }
}

/* --- reading -------------------------------------------------------------------------------------- */

const char *mia__units_type(const mia__units *units) {
    return units->bytes == 16 ? "vec4<u32>" : units->bytes == 8 ? "vec2<u32>" : "u32";
}

bool mia__units_input(mia__kernel *k, const mia__units *units, uint32_t number, const char *name,
                      uint32_t buffer) {
    uint32_t slot;
    const char *type = mia__units_type(units);
    mia__kernel_view(k, name, &units->views[number]);
    mia__kernel_at(k, name, &units->views[number]);
    if (k->plan->buffers[buffer].bytes == 0) { /* no memory to bind; nobody looks at the unit */
        mia__kernel_add(k, "fn %s_unit(i: u32) -> %s { return %s(); }\n", name, type, type);
        return true;
    }
    if (!mia__kernel_bind(k, buffer, type, false, &slot)) return false;
    mia__kernel_add(k, "fn %s_unit(i: u32) -> %s { return ", name, type);
    switch (units->bytes) {
    case 1: mia__kernel_add(k, "(b%u[i >> 2u] >> ((i & 3u) * 8u)) & 0xffu; }\n", slot); break;
    case 2: mia__kernel_add(k, "(b%u[i >> 1u] >> ((i & 1u) * 16u)) & 0xffffu; }\n", slot); break;
    default: mia__kernel_add(k, "b%u[i]; }\n", slot); break;
    }
    return true;
}

void mia__units_coordinates(mia__kernel *k, const char *name, uint32_t ndim) {
    mia__kernel_put(k, "    var r = i;\n");
    for (uint32_t m = 0; m < ndim; m++) {
        if (m + 1 == ndim)
            mia__kernel_add(k, "    let c%u = r;\n", m);
        else
            mia__kernel_add(k, "    let c%u = r %% p.%s_e%u;\n    r /= p.%s_e%u;\n", m, name, m, name, m);
    }
}

void mia__units_offset(mia__kernel *k, const char *name, uint32_t from, uint32_t end, uint32_t first) {
    for (uint32_t m = from; m < end; m++) mia__kernel_add(k, " + c%u * p.%s_s%u", first + m - from, name, m);
}

/* --- writing -------------------------------------------------------------------------------------- */

bool mia__units_each(mia__kernel *k, uint64_t count, double bytes) {
    k->nanoseconds = mia__kernel_estimate((double)count * bytes);
    return mia__kernel_each(k, count);
}

bool mia__units_map(mia__kernel *k, const mia__units *units) {
    uint64_t count = (uint64_t)mia__view_count(&units->views[0]),
             per_word = units->bytes < 4 ? 4 / units->bytes : 1;
    uint32_t slot;
    if (count > UINT32_MAX - 256) return mia__kernel_refuse(k, "its result has more than 2^32 elements");
    if (!mia__kernel_bind(k, k->step->output.buffer, mia__units_type(units), true, &slot)) return false;
    mia__kernel_u32(k, "last", count - 1);
    mia__kernel_add(k, "fn each(w: u32) {\n    b%u[w] = ", slot);
    switch (units->bytes) {
    case 1:
        mia__kernel_put(
            k, "unit(w * 4u) | (unit(min(w * 4u + 1u, p.last)) << 8u) | "
               "(unit(min(w * 4u + 2u, p.last)) << 16u) | (unit(min(w * 4u + 3u, p.last)) << 24u);\n}\n");
        break;
    case 2: mia__kernel_put(k, "unit(w * 2u) | (unit(min(w * 2u + 1u, p.last)) << 16u);\n}\n"); break;
    default: mia__kernel_put(k, "unit(w);\n}\n"); break;
    }
    return mia__units_each(k, (count + per_word - 1) / per_word, 2.0 * units->bytes * (double)per_word);
}

/* Others of a word may be written at once: first the unit's bits are cleared, then set, and neither touches the others. */
bool mia__units_target(mia__kernel *k, const mia__units *units, const char *name, uint32_t buffer) {
    uint32_t slot;
    bool narrow = units->bytes < 4;
    if (!mia__kernel_bind(k, buffer, narrow ? "atomic<u32>" : mia__units_type(units), true, &slot))
        return false;
    if (!narrow) {
        mia__kernel_add(k, "fn %s_set(i: u32, v: %s) { b%u[i] = v; }\n", name, mia__units_type(units), slot);
        if (units->bytes == 4)
            mia__kernel_add(k, "fn %s_word(i: u32) -> u32 { return b%u[i]; }\n", name, slot);
        return true;
    }
    uint32_t shift = units->bytes == 1 ? 2 : 1, bits = units->bytes * 8;
    mia__kernel_add(k,
                    "fn %s_set(i: u32, v: u32) {\n"
                    "    let s = (i & %uu) * %uu;\n"
                    "    atomicAnd(&b%u[i >> %uu], ~(%uu << s));\n"
                    "    atomicOr(&b%u[i >> %uu], v << s);\n}\n"
                    "fn %s_word(i: u32) -> u32 { return atomicLoad(&b%u[i]); }\n",
                    name, (1u << shift) - 1, bits, slot, shift, (1u << bits) - 1, slot, shift, name, slot);
    return true;
}
