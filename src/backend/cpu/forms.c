/* Weights brought into their prepared forms (forms.h), once, by all threads of the pool. */
#include "backend/cpu/forms.h"

#include "base/block.h"
#include "base/half.h"
#include "base/size.h"

#include <string.h>

#define GROUP MIA__CPU_GROUP
#define BLOCK MIA__CPU_BLOCK

size_t mia__cpu_group_bytes(mia_dtype dtype, int64_t k) {
    if (!mia__cpu_is_block(dtype)) return (size_t)k * GROUP * mia_dtype_describe(dtype)->bytes;
    size_t blocks = (size_t)(k / BLOCK);
    return blocks * mia__cpu_quant_bytes(dtype) +
           blocks / mia__cpu_record_blocks(dtype) * mia__cpu_record_bytes(dtype);
}

mia__cpu_quants mia__cpu_group_quants(mia_dtype dtype, int64_t k, const void *group, int64_t first) {
    const uint8_t *quants = group, *scales = quants + (size_t)(k / BLOCK) * mia__cpu_quant_bytes(dtype);
    return (mia__cpu_quants){quants + (size_t)first * mia__cpu_quant_bytes(dtype),
                             scales + (size_t)first / mia__cpu_record_blocks(dtype) *
                                          mia__cpu_record_bytes(dtype)};
}

/* Whether an input is the weights of a matmul by numbers that it takes prepared ones with, and nothing else. */
static bool reads_as_weights(const mia__plan *plan, const mia__step *step, uint32_t input) {
    if (step->op == MIA_OP_matmul) return input == 0 && mia__cpu_is_float(step->inputs[1].dtype);
    bool weights = false;
    for (uint32_t n = 0; step->op == MIA__OP_FUSED && n < step->instruction_count; n++) {
        const mia__instruction *made = &plan->instructions[step->first_instruction + n];
        for (uint32_t k = 0; k < made->operand_count; k++) {
            if (made->operands[k] != input) continue;
            if (made->op != MIA_OP_matmul || k != 0 || !mia__cpu_is_float(made->dtype)) return false;
            weights = true;
        }
    }
    return weights;
}

mia__form mia__cpu_form(const void *context, const mia__plan *plan, const mia__step *step, uint32_t input) {
    (void)context;
    const mia__operand *w = &step->inputs[input];
    mia__form none = {0, 0};
    if (!reads_as_weights(plan, step, input)) return none;
    if (!mia__cpu_is_float(w->dtype) && !mia__cpu_is_block(w->dtype)) return none;
    if (w->view.ndim < 2 || w->view.extent[0] == 0) return none;
    for (uint32_t i = 2; i < w->view.ndim; i++)
        if (w->view.extent[i] != 1) return none; /* stacks of matrices stay as they are */
    size_t groups = ((size_t)w->view.extent[1] + GROUP - 1) / GROUP, bytes;
    if (!mia__size_multiply(groups, mia__cpu_group_bytes(w->dtype, w->view.extent[0]), &bytes)) return none;
    return (mia__form){MIA__CPU_FORM_INTERLEAVED, bytes};
}

/* --- interleaving ----------------------------------------------------------------------------- */

/* A block's quants of one row, four neighbours a word; what is done to a word is done to each of its bytes. */
static void interleave_quants(const uint8_t *from, unsigned bits, uint8_t *to) {
    uint32_t words[BLOCK / 4], out[BLOCK / 4] = {0};
    unsigned count = bits == 8 ? BLOCK / 4 : BLOCK / 8;
    memcpy(words, from, sizeof words);
    for (unsigned j = 0; j < count; j++)
        out[j] = bits == 8 ? words[j] : (words[j] & 0x0f0f0f0fu) | (words[j + BLOCK / 8] & 0x0f0f0f0fu) << 4;
    if (bits == 5) {
        for (unsigned j = 0; j < BLOCK / 4; j++) out[count] |= (words[j] >> 4 & 0x01010101u) << j;
        count += 1;
    } else if (bits == 6) {
        for (unsigned j = 0; j < BLOCK / 4; j++)
            out[count + j / 4] |= (words[j] >> 4 & 0x03030303u) << 2 * (j % 4);
        count += 2;
    }
    for (unsigned j = 0; j < count; j++) memcpy(to + j * GROUP * 4, &out[j], sizeof out[j]);
}

static void store_half(uint8_t *record, unsigned place, uint16_t half) {
    memcpy(record + place * sizeof half, &half, sizeof half);
}

/* The scales of one row's block of the format. */
static void interleave_scales(mia_dtype dtype, const mia__block_parts *parts, unsigned row, uint8_t *record) {
    const unsigned blocks = mia__cpu_record_blocks(dtype);
    const bool least = mia__cpu_has_least(dtype);
    store_half(record, row, parts->scale);
    if (least) store_half(record, GROUP + row, parts->least);
    if (blocks == 1) return;
    uint8_t *bytes = record + mia__cpu_record_halves_bytes(dtype) + row;
    for (unsigned b = 0; b < blocks; b++, bytes += 2 * GROUP) {
        bytes[0] = (uint8_t)parts->scales[least ? b : 2 * b];
        bytes[GROUP] = least ? parts->leasts[b] : (uint8_t)parts->scales[2 * b + 1];
    }
}

void mia__cpu_interleave_blocks(mia_dtype dtype, const uint8_t *rows, size_t row_stride, unsigned count,
                                size_t blocks, uint8_t *quants, uint8_t *scales) {
    const mia__block_format *format = mia__block_find(dtype);
    const unsigned many = mia__cpu_record_blocks(dtype), bits = mia__cpu_quant_bits(dtype);
    const size_t quant_bytes = mia__cpu_quant_bytes(dtype), record_bytes = mia__cpu_record_bytes(dtype);
    if (count < GROUP) {
        memset(quants, 0, blocks * quant_bytes);
        memset(scales, 0, blocks / many * record_bytes);
    }
    for (size_t record = 0; record < blocks / many; record++) {
        for (unsigned row = 0; row < count; row++) {
            mia__block_parts parts;
            mia__block_split(format, rows + row * row_stride + record * format->bytes, &parts);
            for (unsigned b = 0; b < many; b++)
                interleave_quants(parts.quants + b * BLOCK, bits, quants + b * quant_bytes + row * 4);
            interleave_scales(dtype, &parts, row, scales);
        }
        quants += many * quant_bytes;
        scales += record_bytes;
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
static void interleave_plain(size_t bytes, const void *rows, int64_t row_stride, unsigned count, int64_t k,
                             void *out) {
    const int64_t k_stride = 1;
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
    mia__watch *watch;
} preparation;

/* At most so much of a group that no look is due meanwhile, from column `k` on: whole blocks of every format. */
static void prepare_stretch(const preparation *p, size_t group, int64_t k) {
    int64_t first = (int64_t)group * GROUP;
    unsigned count = (unsigned)(p->n - first < GROUP ? p->n - first : GROUP);
    const mia_dtype_info *info = mia_dtype_describe(p->dtype);
    size_t row_bytes = (size_t)(p->k / info->elements) * info->bytes;
    const uint8_t *rows = p->raw + (size_t)first * row_bytes + (size_t)(k / info->elements) * info->bytes;
    uint8_t *out = p->out + group * mia__cpu_group_bytes(p->dtype, p->k);
    int64_t depth = p->k - k < MIA__CPU_LOOK ? p->k - k : MIA__CPU_LOOK;
    if (!mia__cpu_is_block(p->dtype)) {
        interleave_plain(info->bytes, rows, p->k, count, depth, out + (size_t)k * GROUP * info->bytes);
        return;
    }
    size_t before = (size_t)(k / BLOCK);
    uint8_t *scales = out + (size_t)(p->k / BLOCK) * mia__cpu_quant_bytes(p->dtype);
    mia__cpu_interleave_blocks(p->dtype, rows, row_bytes, count, (size_t)(depth / BLOCK),
                               out + before * mia__cpu_quant_bytes(p->dtype),
                               scales + before / mia__cpu_record_blocks(p->dtype) *
                                            mia__cpu_record_bytes(p->dtype));
}

static void prepare_groups(const void *user, unsigned thread, size_t begin, size_t end) {
    const preparation *p = user;
    (void)thread;
    for (size_t group = begin; group < end; group++)
        for (int64_t k = 0; k < p->k && !mia__watch_cancelled(p->watch); k += MIA__CPU_LOOK)
            prepare_stretch(p, group, k);
}

mia_status mia__cpu_prepare(mia__backend *backend, mia_dtype dtype, const mia_shape *shape,
                            const mia__form *form, const void *raw, mia__buffer *into, mia_error *error) {
    if (form->key == 0) return mia__host_prepare(backend, dtype, shape, form, raw, into, error);
    bool known =
        form->key == MIA__CPU_FORM_INTERLEAVED && (mia__cpu_is_float(dtype) || mia__cpu_is_block(dtype));
    if (!known || shape->ndim < 2)
        return mia_error_set(error, MIA_ERROR_INTERNAL, "prepare: the cpu backend has no form %u of %s",
                             form->key, mia_dtype_describe(dtype)->name);
    preparation p = {dtype, shape->extent[0], shape->extent[1], raw, into->host, backend->loads};
    mia__pool_for(((mia__cpu *)backend)->pool, ((size_t)p.n + GROUP - 1) / GROUP, prepare_groups, &p);
    if (mia__watch_cancelled(p.watch))
        return mia_error_set(error, MIA_ERROR_CANCELLED, "loading was cancelled");
    return MIA_OK;
}
