/* Weights brought into their prepared forms (forms.h), once, by all threads of the pool. */
#include "backend/cpu/forms.h"

#include "base/block.h"
#include "base/half.h"
#include "base/size.h"

#include <string.h>

#define GROUP MIA__CPU_GROUP
#define BLOCK MIA__CPU_BLOCK

static bool is_block(mia_dtype dtype) {
    return dtype == MIA_q8_0 || dtype == MIA_q4_0;
}

static size_t quant_bytes(mia_dtype dtype) {
    return dtype == MIA_q8_0 ? GROUP * BLOCK : GROUP * BLOCK / 2;
}

size_t mia__cpu_group_bytes(mia_dtype dtype, int64_t k) {
    if (is_block(dtype)) return (size_t)(k / BLOCK) * (quant_bytes(dtype) + GROUP * sizeof(uint16_t));
    return (size_t)k * GROUP * mia_dtype_describe(dtype)->bytes;
}

mia__cpu_quants mia__cpu_group_quants(mia_dtype dtype, int64_t k, const void *group, int64_t first) {
    const uint8_t *quants = group;
    const uint8_t *scales = quants + (size_t)(k / BLOCK) * quant_bytes(dtype);
    return (mia__cpu_quants){quants + (size_t)first * quant_bytes(dtype),
                             (const uint16_t *)(const void *)scales + first * GROUP};
}

mia__form mia__cpu_form(const void *context, const mia__step *step, uint32_t input) {
    (void)context;
    const mia__operand *w = &step->inputs[input];
    mia__form none = {0, 0};
    if (step->op != MIA_OP_matmul || input != 0 || !mia__cpu_is_float(step->inputs[1].dtype)) return none;
    if (!mia__cpu_is_float(w->dtype) && !is_block(w->dtype)) return none;
    if (w->view.ndim < 2 || w->view.extent[0] == 0) return none;
    for (uint32_t i = 2; i < w->view.ndim; i++)
        if (w->view.extent[i] != 1) return none; /* stacks of matrices stay as they are */
    size_t groups = ((size_t)w->view.extent[1] + GROUP - 1) / GROUP, bytes;
    if (!mia__size_multiply(groups, mia__cpu_group_bytes(w->dtype, w->view.extent[0]), &bytes)) return none;
    return (mia__form){MIA__CPU_FORM_INTERLEAVED, bytes};
}

/* --- interleaving ----------------------------------------------------------------------------- */

static void interleave_q8_0(const mia__block_q8_0 *block, unsigned row, uint8_t *quants) {
    for (unsigned i = 0; i < BLOCK; i++)
        quants[(i / 4 * GROUP + row) * 4 + i % 4] = (uint8_t)((unsigned)(uint8_t)block->quants[i] ^ 0x80u);
}

static void interleave_q4_0(const mia__block_q4_0 *block, unsigned row, uint8_t *quants) {
    for (unsigned i = 0; i < BLOCK / 2; i++) quants[(i / 4 * GROUP + row) * 4 + i % 4] = block->quants[i];
}

void mia__cpu_interleave_blocks(mia_dtype dtype, const uint8_t *rows, size_t row_stride, unsigned count,
                                size_t blocks, uint8_t *quants, uint16_t *scales) {
    if (count < GROUP) {
        memset(quants, 0, blocks * quant_bytes(dtype));
        memset(scales, 0, blocks * GROUP * sizeof *scales);
    }
    for (size_t b = 0; b < blocks; b++) {
        for (unsigned row = 0; row < count; row++) {
            const uint8_t *from = rows + row * row_stride;
            if (dtype == MIA_q8_0) {
                const mia__block_q8_0 *block = (const mia__block_q8_0 *)from + b;
                interleave_q8_0(block, row, quants);
                scales[row] = mia__block_scale(block->scale);
            } else {
                const mia__block_q4_0 *block = (const mia__block_q4_0 *)from + b;
                interleave_q4_0(block, row, quants);
                scales[row] = mia__block_scale(block->scale);
            }
        }
        quants += quant_bytes(dtype);
        scales += GROUP;
    }
}

#define INTERLEAVE(type, out_type, convert)                                                                  \
    for (unsigned row = 0; row < count; row++) {                                                             \
        const type *from = (const type *)rows + row * row_stride;                                            \
        out_type *to = (out_type *)out + row;                                                                \
        for (int64_t i = 0; i < k; i++) to[i * GROUP] = convert(from[i * k_stride]);                         \
    }

void mia__cpu_interleave_f32(mia_dtype dtype, const void *rows, int64_t k_stride, int64_t row_stride,
                             unsigned count, int64_t k, float *out) {
    if (count < GROUP) memset(out, 0, (size_t)k * GROUP * sizeof *out);
    if (dtype == MIA_f32) {
        INTERLEAVE(float, float, )
    } else if (dtype == MIA_f16) {
        INTERLEAVE(uint16_t, float, mia__f16_to_f32)
    } else {
        INTERLEAVE(uint16_t, float, mia__bf16_to_f32)
    }
}

/* Numbers as they are, 4 or 2 bytes each. */
static void interleave_plain(size_t bytes, const void *rows, unsigned count, int64_t k, void *out) {
    const int64_t k_stride = 1, row_stride = k;
    if (count < GROUP) memset(out, 0, (size_t)k * GROUP * bytes);
    if (bytes == 4) {
        INTERLEAVE(uint32_t, uint32_t, )
    } else {
        INTERLEAVE(uint16_t, uint16_t, )
    }
}

/* --- by the whole pool ------------------------------------------------------------------------ */

typedef struct preparation {
    mia_dtype dtype;
    int64_t k, n;
    const uint8_t *raw;
    uint8_t *out;
} preparation;

static void prepare_group(const preparation *p, size_t group) {
    int64_t first = (int64_t)group * GROUP;
    unsigned count = (unsigned)(p->n - first < GROUP ? p->n - first : GROUP);
    const mia_dtype_info *info = mia_dtype_describe(p->dtype);
    size_t row_bytes = (size_t)(p->k / info->elements) * info->bytes;
    const uint8_t *rows = p->raw + (size_t)first * row_bytes;
    uint8_t *out = p->out + group * mia__cpu_group_bytes(p->dtype, p->k);
    if (!is_block(p->dtype)) {
        interleave_plain(info->bytes, rows, count, p->k, out);
        return;
    }
    size_t blocks = (size_t)(p->k / BLOCK);
    uint8_t *scales = out + blocks * quant_bytes(p->dtype);
    mia__cpu_interleave_blocks(p->dtype, rows, row_bytes, count, blocks, out, (uint16_t *)(void *)scales);
}

static void prepare_groups(const void *user, size_t begin, size_t end) {
    for (size_t group = begin; group < end; group++) prepare_group(user, group);
}

mia_status mia__cpu_prepare(mia__backend *backend, mia_dtype dtype, const mia_shape *shape,
                            const mia__form *form, const void *raw, mia__buffer *into, mia_error *error) {
    if (form->key == 0) return mia__host_prepare(backend, dtype, shape, form, raw, into, error);
    bool known = form->key == MIA__CPU_FORM_INTERLEAVED && (mia__cpu_is_float(dtype) || is_block(dtype));
    if (!known || shape->ndim < 2)
        return mia_error_set(error, MIA_ERROR_INTERNAL, "prepare: the cpu backend has no form %u of %s",
                             form->key, mia_dtype_describe(dtype)->name);
    preparation p = {dtype, shape->extent[0], shape->extent[1], raw, into->host};
    mia__pool_for(((mia__cpu *)backend)->pool, ((size_t)p.n + GROUP - 1) / GROUP, prepare_groups, &p);
    return MIA_OK;
}
