/* Walks over views and runs of elements, for all reference kernels (element.h). */
#include "backend/reference/element.h"

#include "base/block.h"

bool mia__walk_start(mia__walk *walk, const mia__view *shape, uint32_t from) {
    *walk = (mia__walk){.from = from};
    if (shape->ndim > from) walk->ndim = shape->ndim - from;
    for (uint32_t i = 0; i < shape->ndim; i++)
        if (shape->extent[i] <= 0) return false;
    for (uint32_t i = 0; i < walk->ndim; i++) walk->extent[i] = shape->extent[from + i];
    return true;
}

uint32_t mia__walk_add(mia__walk *walk, const mia__view *view) {
    if (walk->views == MIA__WALK_VIEWS) return 0; /* no kernel walks more */
    uint32_t place = walk->views++;
    walk->at[place] = view->offset;
    for (uint32_t i = 0; i < walk->ndim; i++)
        walk->stride[place][i] = mia__extent(view, walk->from + i) == 1 ? 0 : view->stride[walk->from + i];
    return place;
}

bool mia__walk_next(mia__walk *walk) {
    for (uint32_t i = 0; i < walk->ndim; i++) {
        bool more = ++walk->index[i] < walk->extent[i];
        int64_t steps = more ? 1 : 1 - walk->extent[i];
        for (uint32_t v = 0; v < walk->views; v++) walk->at[v] += steps * walk->stride[v][i];
        if (more) return true;
        walk->index[i] = 0;
    }
    return false;
}

void mia__load_run(const mia__operand *operand, const void *base, int64_t at, int64_t first, int64_t count,
                   double *out) {
    const mia__block_format *format = mia__block_find(operand->dtype);
    if (format != NULL) {
        int64_t block = at + first / format->elements;
        mia__block_decode_f64(format, (const uint8_t *)base + block * format->bytes, out, count);
        return;
    }
    int64_t stride = operand->view.ndim > 0 ? operand->view.stride[0] : 0;
    for (int64_t i = 0; i < count; i++) out[i] = mia__load(operand->dtype, base, at + (first + i) * stride);
}

void mia__copy_units(size_t bytes, const mia__view *to, void *to_base, const mia__view *from,
                     const void *from_base) {
    mia__walk walk;
    if (!mia__walk_start(&walk, from, 0)) return;
    uint32_t t = mia__walk_add(&walk, to), f = mia__walk_add(&walk, from);
    do {
        uint8_t *into = (uint8_t *)to_base + walk.at[t] * (int64_t)bytes;
        memmove(into, (const uint8_t *)from_base + walk.at[f] * (int64_t)bytes, bytes);
    } while (mia__walk_next(&walk));
}
