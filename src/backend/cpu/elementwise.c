/* Element-wise operations and conversions between scalar types, one or several in a step, of every type and
 * over any strides. A step is a short program of instructions on tiles: pieces of the output, counted through
 * all its modes, that fit the first cache.
 *
 *     inputs          a tile each: where they lie, if they lie as the output does and need no widening;
 *                     else brought into memory of the stack
 *     instructions    one after the other over the tile, from registers into registers; a register is a tile
 *     output          written by the last instruction, or narrowed from its register
 *
 * Between instructions numbers are rounded, or wrapped, to their type, so that a step of several gives the
 * bits that a step each would give. A unit is a tile. */
#include "backend/cpu/cpu.h"

#include "base/half.h"

#include <string.h>

#define TILE_BYTES 4096 /* of a register */
#define CACHE_LINE 64
#define REGISTERS  (MIA__MAX_OPERANDS + MIA__MOST_INSTRUCTIONS)
#define OUTPUT     REGISTERS /* the register that is the output's memory */

/* How an input lies. */
enum { ACCESS_LINE, ACCESS_POINT, ACCESS_ROWS };

static mia__cpu_lane lane_of(mia_dtype dtype) {
    switch (dtype) {
    case MIA_f32:
    case MIA_f16:
    case MIA_bf16: return MIA__CPU_LANE_F32;
    case MIA_f64: return MIA__CPU_LANE_F64;
    case MIA_u32: return MIA__CPU_LANE_U32;
    default: return MIA__CPU_LANE_I32;
    }
}

static size_t lane_bytes(mia_dtype dtype) {
    return dtype == MIA_f64 ? 8 : 4;
}

static size_t type_bytes(mia_dtype dtype) {
    return mia_dtype_describe(dtype)->bytes;
}

/* Whether memory of the type is what its lane computes with. */
static bool is_native(mia_dtype dtype) {
    return dtype == MIA_f32 || dtype == MIA_f64 || dtype == MIA_i32 || dtype == MIA_u32;
}

static bool is_scalar(mia_dtype dtype) {
    return dtype >= MIA_f32 && dtype <= MIA_bool8;
}

/* --- in and out of tiles ---------------------------------------------------------------------- */

static void load_line(const mia__cpu_kernels *kernels, mia_dtype dtype, void *to, const void *from,
                      size_t count) {
    switch (dtype) {
    case MIA_f16: kernels->widen_f16(to, from, count); break;
    case MIA_bf16: kernels->widen_bf16(to, from, count); break;
    case MIA_i8: kernels->widen_i8(to, from, count); break;
    case MIA_u8: kernels->widen_u8(to, from, count); break;
    case MIA_bool8: kernels->widen_bool8(to, from, count); break;
    default: memcpy(to, from, count * type_bytes(dtype)); break;
    }
}

#define LOAD_STRIDED(to_type, from_type, value)                                                              \
    do {                                                                                                     \
        to_type *to_ = to;                                                                                   \
        const from_type *from_ = from;                                                                       \
        for (int64_t i = 0; i < (int64_t)count; i++) {                                                       \
            from_type x = from_[i * stride];                                                                 \
            to_[i] = value;                                                                                  \
        }                                                                                                    \
    } while (0)

static void load_strided(mia_dtype dtype, void *to, const void *from, int64_t stride, size_t count) {
    switch (dtype) {
    case MIA_f16: LOAD_STRIDED(float, uint16_t, mia__f16_to_f32(x)); break;
    case MIA_bf16: LOAD_STRIDED(float, uint16_t, mia__bf16_to_f32(x)); break;
    case MIA_i8: LOAD_STRIDED(int32_t, uint8_t, (x ^ 0x80) - 0x80); break;
    case MIA_u8: LOAD_STRIDED(int32_t, uint8_t, x); break;
    case MIA_bool8: LOAD_STRIDED(int32_t, uint8_t, x != 0); break;
    case MIA_f64: LOAD_STRIDED(double, double, x); break;
    default: LOAD_STRIDED(uint32_t, uint32_t, x); break;
    }
}

static void load_run(const mia__cpu_kernels *kernels, mia_dtype dtype, void *to, const void *from,
                     int64_t stride, size_t count) {
    if (stride == 1 || count == 1)
        load_line(kernels, dtype, to, from, count);
    else
        load_strided(dtype, to, from, stride, count);
}

static void store_line(const mia__cpu_kernels *kernels, mia_dtype dtype, void *to, const void *from,
                       size_t count) {
    switch (dtype) {
    case MIA_f16: kernels->narrow_f16(to, from, count); break;
    case MIA_bf16: kernels->narrow_bf16(to, from, count); break;
    case MIA_i8:
    case MIA_u8:
    case MIA_bool8: kernels->narrow_bytes(to, from, count); break;
    default: memmove(to, from, count * type_bytes(dtype)); break;
    }
}

/* Elements first .. first + count - 1 of an input that is walked row by row: where they lie, or in `tile`. */
static const void *load_rows(const mia__cpu_task *task, uint32_t input, size_t first, size_t count,
                             char *tile) {
    const mia__cpu_elementwise *e = &task->step->as.elementwise;
    mia_dtype dtype = task->step->source->inputs[input].dtype;
    const int64_t *stride = e->stride[input];
    int64_t index[MIA__VIEW_MODES] = {0}, at = 0, bytes = (int64_t)type_bytes(dtype);
    size_t rest = first;
    for (uint32_t m = 0; m < e->ndim && rest > 0; m++) {
        index[m] = (int64_t)(rest % (size_t)e->extent[m]);
        rest /= (size_t)e->extent[m];
        at += index[m] * stride[m];
    }
    if (is_native(dtype) && stride[0] == 1 && index[0] + (int64_t)count <= e->extent[0])
        return task->inputs[input] + at * bytes;
    for (size_t done = 0; done < count;) {
        size_t left = (size_t)(e->extent[0] - index[0]), run = left < count - done ? left : count - done;
        load_run(task->step->kernels, dtype, tile + done * lane_bytes(dtype),
                 task->inputs[input] + at * bytes, stride[0], run);
        done += run;
        index[0] += (int64_t)run;
        at += (int64_t)run * stride[0];
        for (uint32_t m = 0; m + 1 < e->ndim && index[m] == e->extent[m]; m++) {
            at += stride[m + 1] - index[m] * stride[m];
            index[m] = 0;
            index[m + 1]++;
        }
    }
    return tile;
}

/* --- phases ----------------------------------------------------------------------------------- */

/* Asks for a tile of every input that lies in one line. Between long computations processors do not look far
 * enough ahead by themselves: gelu of 16M numbers took twice the time. Inlined, since gcc leaves out calls of
 * functions that have no effect but this. */
static inline __attribute__((always_inline)) void ask_for(const mia__cpu_task *task, size_t first) {
    const mia__cpu_elementwise *e = &task->step->as.elementwise;
    if (first >= e->count) return;
    size_t left = e->count - first, count = left < e->tile ? left : e->tile;
    for (uint32_t i = 0; i < task->step->source->input_count; i++) {
        if (e->access[i] != ACCESS_LINE) continue;
        const char *from = task->inputs[i] + first * e->bytes[i];
        size_t bytes = count * e->bytes[i];
        for (size_t at = 0; at < bytes; at += CACHE_LINE) __builtin_prefetch(from + at, 0, 2);
    }
}

static void run_span(const mia__cpu_task *task, size_t first, size_t count) {
    const mia__cpu_elementwise *e = &task->step->as.elementwise;
    const mia__cpu_instruction *instruction = task->step->instructions;
    mia__cpu_span span = instruction->span;
    span.count = count;
    span.out = task->output + first * e->out_bytes;
    for (uint32_t k = 0; k < instruction->operand_count; k++) {
        uint32_t input = instruction->in[k];
        span.in[k] = task->inputs[input] + first * e->bytes[input];
    }
    instruction->kernel(&span);
}

/* One instruction whose operands and result are where it wants them: no tiles. */
static void run_direct(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_elementwise *e = &task->step->as.elementwise;
    size_t first = begin * e->tile, last = end * e->tile < e->count ? end * e->tile : e->count;
    if (!e->slow) {
        run_span(task, first, last - first);
        return;
    }
    for (; first < last; first += e->tile) {
        ask_for(task, first + e->tile);
        run_span(task, first, last - first < e->tile ? last - first : e->tile);
    }
}

static void run_tile(const mia__cpu_task *task, const void **at, char (*tiles)[TILE_BYTES], size_t first,
                     size_t count) {
    const mia__cpu_elementwise *e = &task->step->as.elementwise;
    const mia__step *source = task->step->source;
    char *out = task->output + first * type_bytes(source->output.dtype);
    for (uint32_t i = 0; i < source->input_count; i++) {
        mia_dtype dtype = source->inputs[i].dtype;
        char *tile = e->lands && e->result == i ? out : tiles[i];
        if (e->access[i] == ACCESS_ROWS) {
            at[i] = load_rows(task, i, first, count, tile);
        } else if (e->access[i] == ACCESS_LINE) {
            const char *from = task->inputs[i] + first * type_bytes(dtype);
            if (!is_native(dtype)) load_line(task->step->kernels, dtype, tile, from, count);
            at[i] = is_native(dtype) ? from : tile;
        }
    }
    at[OUTPUT] = out;
    for (uint32_t n = 0; n < e->instructions; n++) {
        const mia__cpu_instruction *instruction = &task->step->instructions[n];
        mia__cpu_span span = instruction->span;
        span.count = count;
        span.out = instruction->out == OUTPUT ? out : tiles[instruction->out];
        for (uint32_t k = 0; k < instruction->operand_count; k++) span.in[k] = at[instruction->in[k]];
        instruction->kernel(&span);
        at[instruction->out] = span.out;
    }
    if (at[e->result] != out)
        store_line(task->step->kernels, source->output.dtype, out, at[e->result], count);
}

/* Elements [first, last). */
static void run_range(const mia__cpu_task *task, size_t first, size_t last) {
    const mia__cpu_elementwise *e = &task->step->as.elementwise;
    const mia__step *source = task->step->source;
    _Alignas(64) char tiles[REGISTERS][TILE_BYTES];
    const void *at[REGISTERS + 1];
    for (uint32_t i = 0; i < source->input_count; i++) {
        if (e->access[i] != ACCESS_POINT) continue;
        load_strided(source->inputs[i].dtype, tiles[i], task->inputs[i], 0,
                     last - first < e->tile ? last - first : e->tile);
        at[i] = tiles[i];
    }
    for (; first < last; first += e->tile) {
        if (e->slow) ask_for(task, first + e->tile);
        run_tile(task, at, tiles, first, last - first < e->tile ? last - first : e->tile);
    }
}

static void run_tiles(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_elementwise *e = &task->step->as.elementwise;
    run_range(task, begin * e->tile, end * e->tile < e->count ? end * e->tile : e->count);
}

void mia__cpu_chain_run(const mia__cpu_task *task, size_t first, size_t count) {
    if (count == 0) return;
    if (task->step->as.elementwise.direct)
        run_span(task, first, count);
    else
        run_range(task, first, first + count);
}

/* --- choosing: geometry ----------------------------------------------------------------------- */

static int64_t stride_in(const mia__view *view, uint32_t mode) {
    return mode < view->ndim && view->extent[mode] != 1 ? view->stride[mode] : 0;
}

/* Whether mode `mode` of every input continues the last of those taken. */
static bool continues(const mia__cpu_elementwise *e, const mia__step *source, uint32_t mode) {
    if (e->ndim == 0) return false;
    uint32_t last = e->ndim - 1;
    for (uint32_t i = 0; i < source->input_count; i++)
        if (stride_in(&source->inputs[i].view, mode) != e->stride[i][last] * e->extent[last]) return false;
    return true;
}

/* The output is compact, so that elements count through its modes; the inputs lie in any way. */
static bool take_geometry(mia__cpu_elementwise *e, const mia__step *source) {
    const mia__view *to = &source->output.view;
    mia__view compact = *to;
    compact.offset = 0;
    if (!is_scalar(source->output.dtype) || !mia__view_is_compact(source->output.dtype, &compact))
        return false;
    *e = (mia__cpu_elementwise){.count = (size_t)mia__view_count(to),
                                .out_bytes = (uint8_t)type_bytes(source->output.dtype)};
    for (uint32_t m = 0; m < to->ndim; m++) {
        if (to->extent[m] == 1) continue;
        if (continues(e, source, m)) {
            e->extent[e->ndim - 1] *= to->extent[m];
            continue;
        }
        for (uint32_t i = 0; i < source->input_count; i++)
            e->stride[i][e->ndim] = stride_in(&source->inputs[i].view, m);
        e->extent[e->ndim++] = to->extent[m];
    }
    if (e->ndim == 0) e->extent[e->ndim++] = 1;
    for (uint32_t i = 0; i < source->input_count; i++) {
        if (!is_scalar(source->inputs[i].dtype)) return false;
        e->bytes[i] = (uint8_t)type_bytes(source->inputs[i].dtype);
        bool point = true, line = true;
        int64_t behind = 1;
        for (uint32_t m = 0; m < e->ndim; m++) {
            point = point && e->stride[i][m] == 0;
            line = line && (e->stride[i][m] == behind || e->extent[m] == 1);
            behind *= e->extent[m];
        }
        e->access[i] = (uint8_t)(line ? ACCESS_LINE : point ? ACCESS_POINT : ACCESS_ROWS);
    }
    return true;
}

/* --- choosing: the program -------------------------------------------------------------------- */

/* What a step is made into a program with. A value is an input or, from MIA__MAX_OPERANDS on, the result of an
 * instruction of the plan. */
typedef struct builder {
    const mia__cpu_kernels *kernels;
    const mia__step *source;
    const mia__instruction *from;
    uint32_t count;
    uint8_t same_as[REGISTERS];  /* the value whose numbers it has, itself as a rule */
    uint8_t last_use[REGISTERS]; /* the instruction that reads it last */
    uint8_t place[REGISTERS];    /* its register */
    uint32_t taken;              /* registers in use, as bits */
    double nanoseconds;          /* of an element */
} builder;

static mia_dtype type_of(const builder *b, uint8_t value) {
    return value < MIA__MAX_OPERANDS ? b->source->inputs[value].dtype
                                     : b->from[value - MIA__MAX_OPERANDS].dtype;
}

/* Operations whose results need no rounding where their operands did not. */
static bool keeps_type(mia_op op) {
    switch ((int)op) {
    case MIA_OP_min:
    case MIA_OP_max:
    case MIA_OP_relu:
    case MIA_OP_sign:
    case MIA_OP_floor:
    case MIA_OP_ceil:
    case MIA_OP_round:
    case MIA_OP_clamp:
    case MIA_OP_where: return true;
    default: return false;
    }
}

/* Of an element, beside what loading and storing it takes. */
static double nanoseconds_of(mia_op op, mia__cpu_lane lane) {
    if (op >= MIA_OP_CUSTOM) return 8.0;
    bool simple = op < MIA_OP_pow || (op >= MIA_OP_equal && op <= MIA_OP_reciprocal) || op == MIA_OP_convert;
    if (simple) return 0.1;
    return lane == MIA__CPU_LANE_F32 ? 1.3 : 8.0;
}

static mia__cpu_span_kernel kernel_of(const builder *b, const mia__instruction *from) {
    mia__cpu_lane lane = lane_of(type_of(b, from->operands[from->op == MIA_OP_where ? 1 : 0]));
    if (from->custom != NULL) return mia__cpu_custom_kernel(lane);
    if (from->op == MIA_OP_convert) return b->kernels->convert[lane][from->dtype];
    return b->kernels->spans[lane][from->op - MIA_OP_add];
}

/* A conversion that leaves the numbers: its result is its operand. The output's own narrowing rounds, too. */
static bool is_idle(const builder *b, uint32_t n) {
    const mia__instruction *from = &b->from[n];
    if (from->op != MIA_OP_convert) return false;
    mia_dtype before = type_of(b, from->operands[0]);
    bool rounds = lane_of(before) == MIA__CPU_LANE_F32 && lane_of(from->dtype) == MIA__CPU_LANE_F32;
    return kernel_of(b, from) == NULL || (rounds && n + 1 == b->count) || before == from->dtype;
}

static void find_uses(builder *b) {
    for (uint32_t v = 0; v < REGISTERS; v++) b->same_as[v] = (uint8_t)v;
    for (uint32_t n = 0; n < b->count; n++) {
        const mia__instruction *from = &b->from[n];
        if (is_idle(b, n)) {
            b->same_as[MIA__MAX_OPERANDS + n] = b->same_as[from->operands[0]];
            continue;
        }
        for (uint32_t k = 0; k < from->operand_count; k++)
            b->last_use[b->same_as[from->operands[k]]] = (uint8_t)n;
    }
    b->last_use[b->same_as[MIA__MAX_OPERANDS + b->count - 1]] = (uint8_t)b->count;
    for (uint32_t i = 0; i < b->source->input_count; i++) {
        b->place[i] = (uint8_t)i;
        b->taken |= 1u << i;
    }
}

static uint8_t take_register(builder *b) {
    uint8_t place = MIA__MAX_OPERANDS; /* the inputs' registers stay theirs from tile to tile */
    while ((b->taken >> place & 1) != 0) place++;
    b->taken |= 1u << place;
    return place;
}

static void release_operands(builder *b, uint32_t n) {
    for (uint32_t k = 0; k < b->from[n].operand_count; k++) {
        uint8_t value = b->same_as[b->from[n].operands[k]];
        if (value >= MIA__MAX_OPERANDS && b->last_use[value] == n) b->taken &= ~(1u << b->place[value]);
    }
}

static mia__cpu_instruction *add(mia__cpu_step *out, mia__cpu_span_kernel kernel, uint8_t place) {
    mia__cpu_instruction *made = &out->instructions[out->as.elementwise.instructions++];
    *made = (mia__cpu_instruction){.kernel = kernel, .out = place};
    return made;
}

static void set_attributes(const builder *b, const mia__instruction *from, mia__cpu_span *span) {
    mia__attributes attributes =
        mia__elementwise_attributes(from->op, type_of(b, from->operands[0]), &from->attributes);
    memcpy(span->f, attributes.f, sizeof span->f);
    span->real = mia__reference_real(from->op);
}

/* What a registered operation is called with; its attributes stay where the plan has them. */
static void describe_call(const builder *b, const mia__instruction *from, mia__cpu_span *span) {
    span->custom = &from->custom->description;
    span->attributes = b->source->op == MIA__OP_FUSED ? &from->attributes : &b->source->attributes;
    span->dtype = from->dtype;
    span->operands = from->operand_count;
}

/* Instruction n of the plan; false for an operation or a type that has no kernel. */
static bool translate(builder *b, mia__cpu_step *out, uint32_t n) {
    const mia__instruction *from = &b->from[n];
    mia__cpu_span_kernel kernel = kernel_of(b, from);
    bool last = n + 1 == b->count;
    if (kernel == NULL) return false;
    uint8_t place = last && is_native(from->dtype) ? OUTPUT : take_register(b);
    mia__cpu_instruction *made = add(out, kernel, place);
    made->operand_count = from->operand_count;
    if (from->custom != NULL)
        describe_call(b, from, &made->span);
    else
        set_attributes(b, from, &made->span);
    for (uint32_t k = 0; k < from->operand_count; k++) made->in[k] = b->place[b->same_as[from->operands[k]]];
    mia__cpu_span_kernel fit = from->op == MIA_OP_convert && lane_of(from->dtype) == MIA__CPU_LANE_I32
                                   ? NULL
                                   : b->kernels->fit[from->dtype];
    if (!last && fit != NULL && !keeps_type(from->op)) {
        mia__cpu_instruction *fitted = add(out, fit, place);
        fitted->operand_count = 1;
        fitted->in[0] = place;
    }
    if (place != OUTPUT)
        b->place[MIA__MAX_OPERANDS + n] = place;
    else
        out->as.elementwise.result = OUTPUT;
    release_operands(b, n);
    b->nanoseconds += nanoseconds_of(from->op, lane_of(type_of(b, from->operands[0])));
    return true;
}

static bool is_direct(const mia__cpu_step *out) {
    const mia__cpu_elementwise *e = &out->as.elementwise;
    bool direct = e->instructions == 1 && e->result == OUTPUT;
    for (uint32_t i = 0; i < out->source->input_count; i++)
        direct = direct && e->access[i] == ACCESS_LINE && is_native(out->source->inputs[i].dtype);
    return direct;
}

static bool choose(const mia__cpu *cpu, mia__cpu_step *out, const mia__instruction *from, uint32_t count) {
    mia__cpu_elementwise *e = &out->as.elementwise;
    builder b = {.kernels = &cpu->kernels, .source = out->source, .from = from, .count = count};
    if (!take_geometry(e, out->source)) return false;
    bool wide = false;
    for (uint32_t i = 0; i < out->source->input_count; i++)
        wide = wide || out->source->inputs[i].dtype == MIA_f64;
    for (uint32_t n = 0; n < count; n++) wide = wide || from[n].dtype == MIA_f64;
    e->tile = TILE_BYTES / (wide ? sizeof(double) : sizeof(float));
    find_uses(&b);
    for (uint32_t n = 0; n < count; n++)
        if (!is_idle(&b, n) && !translate(&b, out, n)) return false;
    uint8_t result = b.same_as[MIA__MAX_OPERANDS + count - 1];
    if (e->result != OUTPUT) e->result = b.place[result];
    e->lands = e->result < MIA__MAX_OPERANDS && e->instructions == 0 && is_native(out->source->output.dtype);
    e->slow = b.nanoseconds > 1;
    out->work = (b.nanoseconds + 0.2) * (double)e->count + 20.0;
    e->direct = is_direct(out);
    mia__cpu_phase_add(out, e->direct ? run_direct : run_tiles, (e->count + e->tile - 1) / e->tile);
    return true;
}

bool mia__cpu_choose_elementwise(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    const mia__step *source = out->source;
    if (source->op == MIA__OP_FUSED)
        return choose(cpu, out, plan->instructions + source->first_instruction, source->instruction_count);
    mia__instruction one = {.op = source->op,
                            .dtype = source->output.dtype,
                            .operand_count = (uint8_t)source->input_count,
                            .operands = {0, 1, 2, 3, 4, 5},
                            .attributes = source->attributes,
                            .custom = source->custom};
    return choose(cpu, out, &one, 1);
}

bool mia__cpu_choose_convert(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    if (out->source->inputs[0].dtype == out->source->output.dtype)
        return mia__cpu_choose_copy(cpu, plan, out);
    return mia__cpu_choose_elementwise(cpu, plan, out);
}
