/* Weights brought into the form that kernels read, on the host (prepared.h); prepared_wgsl.c reads them. */
#include "backend/webgpu/prepared.h"

#include "base/block.h"
#include "base/size.h"

#include <string.h>

#define GROUP MIA__PREPARED_GROUP

/* --- layout ----------------------------------------------------------------------------------- */

static uint64_t groups_of(uint64_t depth) {
    return (depth + GROUP - 1) / GROUP;
}

static uint32_t quant_words(mia_dtype dtype) {
    return mia__prepared_chunks(dtype) * 4;
}

static uint32_t high_words(mia_dtype dtype) {
    switch ((int)dtype) {
    case MIA_q5_0:
    case MIA_q5_1:
    case MIA_q5_K: return 8;
    case MIA_q6_K: return 16;
    default: return 0;
    }
}

static uint32_t scale_words(mia_dtype dtype) {
    switch ((int)dtype) {
    case MIA_q4_1:
    case MIA_q5_1: return 8;
    case MIA_q4_K:
    case MIA_q5_K:
    case MIA_q6_K: return 5;
    default: return 4;
    }
}

mia__prepared_layout mia__prepared_layout_of(mia_dtype dtype, uint64_t depth, uint64_t rows) {
    uint64_t groups = rows * groups_of(depth);
    mia__prepared_layout layout;
    layout.highs = groups * quant_words(dtype);
    layout.scales = layout.highs + groups * high_words(dtype);
    layout.words = mia__align_up(layout.scales + groups * scale_words(dtype), 4);
    return layout;
}

/* --- which operands ----------------------------------------------------------------------------- */

/* Whether an input of a step is a product's weights, or an embedding's table. */
static bool is_weights(const mia__plan *plan, const mia__step *step, uint32_t input) {
    if (step->op == MIA_OP_matmul || step->op == MIA_OP_embedding) return input == 0;
    for (uint32_t c = 0; c < (step->op == MIA__OP_FUSED ? step->core_count : 0); c++) {
        const mia__instruction *core = &plan->instructions[step->first_instruction + step->core + c];
        if (core->op == MIA_OP_matmul && core->operands[0] == input) return true;
    }
    return false;
}

mia__form mia__webgpu_form(const void *context, const mia__plan *plan, const mia__step *step,
                           uint32_t input) {
    (void)context;
    const mia__operand *operand = &step->inputs[input];
    if (!is_weights(plan, step, input) || mia_dtype_describe(operand->dtype)->kind != MIA_KIND_BLOCK)
        return (mia__form){0};
    uint64_t depth = (uint64_t)operand->view.extent[0];
    uint64_t rows = depth > 0 ? (uint64_t)mia__view_count(&operand->view) / depth : 0;
    uint64_t words = mia__prepared_layout_of(operand->dtype, depth, rows).words;
    return words > 0 && words <= SIZE_MAX / 4 ? (mia__form){MIA__WEBGPU_FORM_GROUPS, (size_t)words * 4}
                                              : (mia__form){0};
}

bool mia__is_prepared(const mia__plan *plan, const mia__operand *operand) {
    const mia__plan_buffer *buffer = &plan->buffers[operand->buffer];
    return buffer->kind == MIA__BUFFER_FORM && buffer->form == MIA__WEBGPU_FORM_GROUPS;
}

/* --- on the host -------------------------------------------------------------------------------- */

#define CHUNK_BYTES ((size_t)4 << 20) /* of quants prepared at a time */

/* A group of a row, taken apart: quants as they lie in their blocks, and what the blocks' scales are. */
typedef struct group {
    uint8_t quants[GROUP];
    mia__block_parts parts[GROUP / 32];
} group;

static uint32_t pair(uint16_t low, uint16_t high) {
    return low | (uint32_t)high << 16;
}

static uint32_t four(const uint8_t *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void put_quants_8(const group *from, uint32_t *to) {
    for (unsigned i = 0; i < GROUP / 4; i++) *to++ = four(from->quants + 4 * i);
}

static void put_quants_4(const group *from, uint32_t *to) {
    for (unsigned l = 0; l < 8; l++)
        for (unsigned j = 0; j < 4; j++) {
            const uint8_t *low = from->quants + 32 * j + 4 * l;
            *to++ = (four(low) & 0x0f0f0f0fu) | (four(low + 128) & 0x0f0f0f0fu) << 4;
        }
}

static void put_highs(const group *from, unsigned bits, uint32_t *to) {
    const uint32_t mask = bits == 5 ? 0x01010101u : 0x03030303u;
    for (unsigned l = 0; l < 8; l++) {
        uint32_t halves[2] = {0};
        for (unsigned j = 0; j < 8; j++) {
            uint32_t upper = four(from->quants + 32 * j + 4 * l) >> 4 & mask;
            halves[j / 4] |= bits == 5 ? upper << j : upper << (2 * (j % 4));
        }
        *to++ = bits == 5 ? halves[0] | halves[1] : halves[0];
        if (bits == 6) *to++ = halves[1];
    }
}

static void put_scales(mia_dtype dtype, const group *from, uint32_t *to) {
    const mia__block_parts *parts = from->parts;
    uint8_t bytes[16];
    switch ((int)dtype) {
    case MIA_q4_K:
    case MIA_q5_K:
        to[0] = pair(parts->scale, parts->least);
        memcpy(bytes, parts->scales, 8);
        memcpy(bytes + 8, parts->leasts, 8);
        for (unsigned i = 0; i < 4; i++) to[1 + i] = four(bytes + 4 * i);
        break;
    case MIA_q6_K:
        to[0] = parts->scale;
        for (unsigned i = 0; i < 16; i++) bytes[i % 2 * 8 + i / 2] = (uint8_t)parts->scales[i];
        for (unsigned i = 0; i < 4; i++) to[1 + i] = four(bytes + 4 * i);
        break;
    default:
        for (unsigned i = 0; i < 4; i++) to[i] = pair(parts[2 * i].scale, parts[2 * i + 1].scale);
        for (unsigned i = 0; i < 4 && (dtype == MIA_q4_1 || dtype == MIA_q5_1); i++)
            to[4 + i] = pair(parts[2 * i].least, parts[2 * i + 1].least);
        break;
    }
}

/* Where the regions of some rows are in host memory. */
typedef struct room {
    uint32_t *quants, *highs, *scales;
} room;

/* Group g of a row, into place `at` of the room. What a row lacks is zeros: a quant of offset 0 or a scale of 0. */
static void put_group(const mia__block_format *format, const uint8_t *row, uint64_t blocks, uint64_t g,
                      const room *to, uint64_t at) {
    group taken = {0};
    uint64_t each = GROUP / format->elements;
    for (uint64_t b = 0; b < each && g * each + b < blocks; b++) {
        mia__block_split(format, row + (g * each + b) * format->bytes, &taken.parts[b]);
        memcpy(taken.quants + b * format->elements, taken.parts[b].quants, format->elements);
    }
    uint32_t *quants = to->quants + at * quant_words(format->dtype);
    if (format->dtype == MIA_q8_0)
        put_quants_8(&taken, quants);
    else
        put_quants_4(&taken, quants);
    if (format->bits == 5 || format->bits == 6)
        put_highs(&taken, format->bits, to->highs + at * high_words(format->dtype));
    put_scales(format->dtype, &taken, to->scales + at * scale_words(format->dtype));
}

/* Groups [first, first + count) of all rows' together, by way of host memory; raw begins with row first_row. */
static void fill_groups(mia__webgpu *webgpu, const mia__block_format *format, uint64_t depth,
                        uint64_t first_row, uint64_t first, uint64_t count,
                        const mia__prepared_layout *layout, const uint8_t *raw, const room *to,
                        mia__gpu_buffer *into) {
    uint64_t blocks = depth / format->elements, a_row = groups_of(depth);
    for (uint64_t g = 0; g < count; g++)
        put_group(format, raw + ((first + g) / a_row - first_row) * blocks * format->bytes, blocks,
                  (first + g) % a_row, to, g);
    uint64_t quants = quant_words(format->dtype), highs = high_words(format->dtype),
             scales = scale_words(format->dtype);
    mia__webgpu_lock(webgpu);
    mia__webgpu_write(webgpu, into, first * quants * 4, to->quants, (size_t)(count * quants * 4));
    if (highs > 0)
        mia__webgpu_write(webgpu, into, (layout->highs + first * highs) * 4, to->highs,
                          (size_t)(count * highs * 4));
    mia__webgpu_write(webgpu, into, (layout->scales + first * scales) * 4, to->scales,
                      (size_t)(count * scales * 4));
    mia__webgpu_unlock(webgpu);
}

mia_status mia__prepared_fill(mia__webgpu *webgpu, mia_dtype dtype, uint64_t depth, uint64_t rows,
                              uint64_t first_row, uint64_t row_count, const void *raw,
                              const mia__buffer *into, mia_error *error) {
    const mia__block_format *format = mia__block_find(dtype);
    const mia__prepared_layout layout = mia__prepared_layout_of(dtype, depth, rows);
    uint64_t words = quant_words(dtype) + high_words(dtype) + scale_words(dtype);
    uint64_t groups = row_count * groups_of(depth), begin = first_row * groups_of(depth),
             most = CHUNK_BYTES / (words * 4);
    if (most > groups) most = groups;
    size_t bytes = (size_t)(most * words * 4);
    uint32_t *memory = mia_allocate(webgpu->allocator, bytes, _Alignof(uint32_t));
    if (memory == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "webgpu: no memory to prepare %llu rows of weights",
                             (unsigned long long)row_count);
    const room parts = {.quants = memory,
                        .highs = memory + most * quant_words(dtype),
                        .scales = memory + most * (quant_words(dtype) + high_words(dtype))};
    mia_status status = MIA_OK;
    for (uint64_t first = 0; status == MIA_OK && first < groups; first += most) {
        uint64_t count = groups - first < most ? groups - first : most;
        if (mia__watch_cancelled(webgpu->base.loads))
            status = mia_error_set(error, MIA_ERROR_CANCELLED, "loading was cancelled");
        else
            fill_groups(webgpu, format, depth, first_row, begin + first, count, &layout, raw, &parts,
                        ((const mia__webgpu_buffer *)into->handle)->gpu);
    }
    mia_release(webgpu->allocator, memory, bytes);
    mia__webgpu_lock(webgpu);
    if (status == MIA_OK) status = mia__webgpu_check(webgpu, error);
    mia__webgpu_unlock(webgpu);
    return status;
}
