/* Order along one mode: sort, argsort, top_k and top_k_indices. Elements become keys, unsigned integers that
 * are in the order asked for, and keys become items, with the place where that is the result; template/sort.h
 * sorts items. By the shape of the step:
 *
 *     lines       many of them, each sorted by one thread
 *     pieces      few long ones: four pieces sorted, merged into two, into one, by all threads
 *     select      the first few of each line: what is better than the worst of the best is collected
 *
 * Memory is rules.scratch, for as many lines as there are lanes, not for all. */
#include "backend/cpu/cpu.h"
#include "base/half.h"

#include <string.h>

#define RUN    16    /* items that insertion sorts */
#define FEW    64    /* that merging sorts */
#define CHUNK  256   /* keys made at once */
#define PIECES 4     /* of a long line */
#define PARTS  8     /* that a merge is cut into */
#define LONG   32768 /* elements of a line worth cutting */
#define LANES  32
#define SPARE  64 /* room beside four times the best, which are sorted out when it is full */
#define SMALL  8  /* the share of a line that makes selection worth it: an eighth */

typedef struct sorter {
    size_t item_bytes;
    mia__cpu_function lines, pieces, pairs, halves, select, select_pieces, select_lines;
} sorter;

static int64_t piece_begin(const mia__cpu_lines *lines, size_t piece) {
    return lines->length * (int64_t)piece / lines->pieces;
}

static size_t input_bytes(const mia__cpu_task *task) {
    return mia_dtype_describe(task->step->source->inputs[0].dtype)->bytes;
}

static bool gives_places(mia_op op) {
    return op == MIA_OP_argsort || op == MIA_OP_top_k_indices;
}

/* --- keys --------------------------------------------------------------------------------------- */

/* A float's bits in the order of its numbers: NaN is the greatest, and -0 like 0 where places are asked for
 * (a key that is to become an element again keeps its sign). `sign` and `infinity` are bits of the type; 16-bit
 * floats are done in 32 bits. */
#define FLOAT_KEYS(width)                                                                                    \
    static inline uint##width##_t float_key_##width(uint##width##_t bits, uint##width##_t sign,              \
                                                    uint##width##_t infinity, bool alike) {                  \
        uint##width##_t below = sign - 1, magnitude = bits & below, set = bits & sign;                       \
        uint##width##_t key = bits ^ (set != 0 ? sign | below : sign);                                       \
        if (alike && magnitude == 0) key = sign;                                                             \
        return (int##width##_t)magnitude > (int##width##_t)infinity ? sign | below : key;                    \
    }                                                                                                        \
    static inline uint##width##_t float_of_key_##width(uint##width##_t key, uint##width##_t sign) {          \
        return key ^ ((key & sign) != 0 ? sign : sign | (sign - 1));                                         \
    }

FLOAT_KEYS(32)
FLOAT_KEYS(64)

#define SIGN_16  0x8000u
#define SIGN_32  0x80000000u
#define SIGN_64  0x8000000000000000u
#define KEY_f32  float_key_32(bits, SIGN_32, 0x7f800000u, alike)
#define KEY_f16  float_key_32(bits, SIGN_16, 0x7c00u, alike)
#define KEY_bf16 float_key_32(bits, SIGN_16, 0x7f80u, alike)
#define KEY_f64  float_key_64(bits, SIGN_64, 0x7ff0000000000000u, alike)

#define MAKE_KEYS_BY(type, KEY, step)                                                                        \
    for (int64_t i = 0; i < count; i++) {                                                                    \
        type bits = ((const type *)x)[i * (step)];                                                           \
        keys[i] = (type)((KEY) ^ flip);                                                                      \
    }

/* The first becomes vectors. */
#define MAKE_KEYS(type, KEY)                                                                                 \
    if (stride == 1) {                                                                                       \
        MAKE_KEYS_BY(type, KEY, 1)                                                                           \
    } else {                                                                                                 \
        MAKE_KEYS_BY(type, KEY, stride)                                                                      \
    }

#define LOAD_ARGUMENTS(type)                                                                                 \
    const mia__cpu_lines *lines = &task->step->as.lines;                                                     \
    int64_t stride = lines->in_stride;                                                                       \
    const void *x = task->inputs[0] + (in + first * stride) * (int64_t)input_bytes(task);                    \
    bool alike = gives_places(task->step->source->op);                                                       \
    type flip = lines->flipped ? (type) ~(type)0 : 0;

/* Keys of elements first .. first + count of the line that starts at element `in` of the operand. */
static void load_keys_32(const mia__cpu_task *task, int64_t in, int64_t first, int64_t count,
                         uint32_t *keys) {
    LOAD_ARGUMENTS(uint32_t)
    switch (task->step->source->inputs[0].dtype) {
    case MIA_f32: MAKE_KEYS(uint32_t, KEY_f32) break;
    case MIA_f16: MAKE_KEYS(uint16_t, KEY_f16) break;
    case MIA_bf16: MAKE_KEYS(uint16_t, KEY_bf16) break;
    case MIA_i32: MAKE_KEYS(uint32_t, bits ^ SIGN_32) break;
    case MIA_i8: MAKE_KEYS(uint8_t, bits ^ 0x80u) break;
    case MIA_u8: MAKE_KEYS(uint8_t, bits) break;
    default: MAKE_KEYS(uint32_t, bits) break;
    }
}

static void load_keys_64(const mia__cpu_task *task, int64_t in, int64_t first, int64_t count,
                         uint64_t *keys) {
    LOAD_ARGUMENTS(uint64_t)
    MAKE_KEYS(uint64_t, KEY_f64)
}

/* --- results ------------------------------------------------------------------------------------ */

#define STORE_ALL(type, value)                                                                               \
    for (int64_t i = 0; i < end - begin; i++) {                                                              \
        type key = (type)(keys[i] ^ flip);                                                                   \
        ((type *)to)[i * stride] = (type)(value);                                                            \
    }

#define STORE_ARGUMENTS(type)                                                                                \
    const mia__cpu_lines *lines = &task->step->as.lines;                                                     \
    int64_t stride = lines->out_stride;                                                                      \
    size_t bytes = mia_dtype_describe(task->step->source->output.dtype)->bytes;                              \
    void *to = task->output + (out + begin * stride) * (int64_t)bytes;                                       \
    type flip = lines->flipped ? (type) ~(type)0 : 0;

/* Elements begin .. end of the result's line that starts at `out`, from their keys. */
static void store_keys_32(const mia__cpu_task *task, int64_t out, int64_t begin, int64_t end,
                          const uint32_t *keys) {
    STORE_ARGUMENTS(uint32_t)
    switch (task->step->source->output.dtype) {
    case MIA_f32: STORE_ALL(uint32_t, float_of_key_32(key, SIGN_32)) break;
    case MIA_f16:
    case MIA_bf16: STORE_ALL(uint16_t, float_of_key_32(key, SIGN_16)) break;
    case MIA_i32: STORE_ALL(uint32_t, key ^ SIGN_32) break;
    case MIA_i8: STORE_ALL(uint8_t, key ^ 0x80u) break;
    case MIA_u8: STORE_ALL(uint8_t, key) break;
    default: STORE_ALL(uint32_t, key) break;
    }
}

static void store_keys_64(const mia__cpu_task *task, int64_t out, int64_t begin, int64_t end,
                          const uint64_t *keys) {
    STORE_ARGUMENTS(uint64_t)
    STORE_ALL(uint64_t, float_of_key_64(key, SIGN_64))
}

/* A 64-bit key and its place. */
typedef struct placed_key {
    uint64_t key;
    uint32_t place;
} placed_key;

/* A 32-bit key above its place. */
static void store_places_32(const mia__cpu_task *task, int64_t out, int64_t begin, int64_t end,
                            const uint64_t *items) {
    int32_t *to = (int32_t *)(void *)task->output + out;
    for (int64_t i = begin; i < end; i++)
        to[i * task->step->as.lines.out_stride] = (int32_t)(uint32_t)items[i - begin];
}

static void store_places_64(const mia__cpu_task *task, int64_t out, int64_t begin, int64_t end,
                            const placed_key *items) {
    int32_t *to = (int32_t *)(void *)task->output + out;
    for (int64_t i = begin; i < end; i++)
        to[i * task->step->as.lines.out_stride] = (int32_t)items[i - begin].place;
}

/* --- kinds of items ----------------------------------------------------------------------------- */

#define SORT_NAME       key_32
#define SORT_ITEM       uint32_t
#define SORT_KEY        uint32_t
#define SORT_MAKE(k, i) ((void)(i), (k))
#define SORT_KEY_OF(a)  (a)
#define SORT_LESS(a, b) ((a) < (b))
#define SORT_LOAD       load_keys_32
#define SORT_STORE      store_keys_32
#include "backend/cpu/template/sort.h"

#define SORT_NAME       place_32
#define SORT_ITEM       uint64_t
#define SORT_KEY        uint32_t
#define SORT_MAKE(k, i) ((uint64_t)(k) << 32 | (i))
#define SORT_KEY_OF(a)  ((uint32_t)((a) >> 32))
#define SORT_LESS(a, b) ((a) < (b))
#define SORT_LOAD       load_keys_32
#define SORT_STORE      store_places_32
#include "backend/cpu/template/sort.h"

#define SORT_NAME       key_64
#define SORT_ITEM       uint64_t
#define SORT_KEY        uint64_t
#define SORT_MAKE(k, i) ((void)(i), (k))
#define SORT_KEY_OF(a)  (a)
#define SORT_LESS(a, b) ((a) < (b))
#define SORT_LOAD       load_keys_64
#define SORT_STORE      store_keys_64
#include "backend/cpu/template/sort.h"

#define SORT_NAME       place_64
#define SORT_ITEM       placed_key
#define SORT_KEY        uint64_t
#define SORT_MAKE(k, i) ((placed_key){.key = (k), .place = (i)})
#define SORT_KEY_OF(a)  ((a).key)
#define SORT_LESS(a, b) ((a).key != (b).key ? (a).key < (b).key : (a).place < (b).place)
#define SORT_LOAD       load_keys_64
#define SORT_STORE      store_places_64
#include "backend/cpu/template/sort.h"

/* --- geometry ----------------------------------------------------------------------------------- */

static const sorter *sorter_of(const mia__step *step) {
    bool wide = step->inputs[0].dtype == MIA_f64;
    if (gives_places(step->op)) return wide ? &sorter_place_64 : &sorter_place_32;
    return wide ? &sorter_key_64 : &sorter_key_32;
}

static bool is_top(mia_op op) {
    return op == MIA_OP_top_k || op == MIA_OP_top_k_indices;
}

static bool is_selected(const mia__cpu_lines *lines) {
    return lines->kept <= lines->length / SMALL && lines->length > CHUNK;
}

/* How a step is cut; a pure function of its shape. */
static mia__cpu_lines geometry(const mia__step *step) {
    mia__cpu_lines lines = mia__cpu_lines_make(step, (uint32_t)step->attributes.i[0]);
    lines.flipped = step->attributes.i[is_top(step->op) ? 2 : 1] != 0;
    lines.lanes = lines.count < LANES ? lines.count : LANES;
    lines.room = 2 * lines.length;
    bool cut = lines.count < PIECES && lines.length >= LONG;
    if (is_selected(&lines)) {
        lines.room = 2 * (4 * lines.kept + SPARE);
        int64_t most = lines.length / (2 * lines.kept + LONG / 2);
        if (cut) lines.pieces = most < 1 ? 1 : most < 2 * PIECES ? most : 2 * PIECES;
    } else if (cut) {
        lines.pieces = PIECES;
    }
    return lines;
}

size_t mia__cpu_scratch_sort(const mia__cpu *cpu, const mia__step *step) {
    (void)cpu;
    mia__cpu_lines lines = geometry(step);
    int64_t rooms = lines.pieces == 1     ? lines.lanes
                    : is_selected(&lines) ? lines.count * lines.pieces
                                          : lines.count;
    return (size_t)(rooms * lines.room) * sorter_of(step)->item_bytes;
}

/* Nanoseconds: an item is moved once a byte of its key, or a level of merges. */
static double sort_work(const mia__cpu_lines *lines, size_t bytes) {
    double each = is_selected(lines) ? 1 : 2.0 * (double)(lines->length > FEW ? bytes + 2 : 8);
    return (double)lines->count * (20 + each * (double)lines->length);
}

bool mia__cpu_choose_sort(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    (void)cpu, (void)plan;
    const mia__step *step = out->source;
    const sorter *by = sorter_of(step);
    mia__cpu_lines *lines = &out->as.lines;
    *lines = geometry(step);
    out->work = sort_work(lines, mia_dtype_describe(step->inputs[0].dtype)->bytes);
    size_t count = lines->kept > 0 ? (size_t)lines->count : 0;
    if (lines->pieces == 1) {
        mia__cpu_phase_add(out, is_selected(lines) ? by->select : by->lines,
                           count > 0 ? (size_t)lines->lanes : 0);
    } else if (is_selected(lines)) {
        mia__cpu_phase_add(out, by->select_pieces, count * (size_t)lines->pieces);
        mia__cpu_phase_add(out, by->select_lines, count);
    } else {
        mia__cpu_phase_add(out, by->pieces, count * PIECES);
        mia__cpu_phase_add(out, by->pairs, count * 2 * PARTS);
        mia__cpu_phase_add(out, by->halves, count * PARTS);
    }
    return true;
}
