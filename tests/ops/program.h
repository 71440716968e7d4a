/* A program of the conformance test: one operation of ops.def with drawn operands and attributes. Here: the
 * rows of the table with the functions that record them, and the program's run on a device. draw.h draws
 * programs. */
#ifndef MIA_TESTS_OPS_PROGRAM_H
#define MIA_TESTS_OPS_PROGRAM_H

#include "ops/operand.h"

#define MOST_OPERANDS 5

#define SIGNATURES(X)                                                                                        \
    X(UNARY)                                                                                                 \
    X(BINARY)                                                                                                \
    X(COMPARE)                                                                                               \
    X(WHERE)                                                                                                 \
    X(REAL)                                                                                                  \
    X(RANGE)                                                                                                 \
    X(SHAPE)                                                                                                 \
    X(DTYPE)                                                                                                 \
    X(SLICE)                                                                                                 \
    X(MODE)                                                                                                  \
    X(TWO_MODES)                                                                                             \
    X(CONCAT)                                                                                                \
    X(PAD)                                                                                                   \
    X(GATHER)                                                                                                \
    X(EMBEDDING)                                                                                             \
    X(UPDATE)                                                                                                \
    X(TAKE)                                                                                                  \
    X(SCATTER)                                                                                               \
    X(ROLL)                                                                                                  \
    X(TRIANGLE)                                                                                              \
    X(MODES)                                                                                                 \
    X(ARG_MODES)                                                                                             \
    X(SCAN)                                                                                                  \
    X(SORT)                                                                                                  \
    X(ARG_SORT)                                                                                              \
    X(TOP_K)                                                                                                 \
    X(ARG_TOP_K)                                                                                             \
    X(NORM)                                                                                                  \
    X(NORM_BIAS)                                                                                             \
    X(GROUP_NORM)                                                                                            \
    X(ROPE)                                                                                                  \
    X(ATTENTION)                                                                                             \
    X(ATTENTION_MASKED)                                                                                      \
    X(MATMUL)                                                                                                \
    X(CONV)                                                                                                  \
    X(POOL)                                                                                                  \
    X(ARANGE)                                                                                                \
    X(RANDOM)

typedef enum signature {
#define NAME(s) SIGNATURE_##s,
    SIGNATURES(NAME)
#undef NAME
} signature;

/* The plain function of a row, by its signature. */
typedef union plain_function {
    mia_tensor (*UNARY)(mia_tensor, const char *, int);
    mia_tensor (*BINARY)(mia_tensor, mia_tensor, const char *, int);
    mia_tensor (*SHAPE)(mia_tensor, mia_shape, const char *, int);
    mia_tensor (*DTYPE)(mia_tensor, mia_dtype, const char *, int);
    mia_tensor (*SLICE)(mia_tensor, uint32_t, int64_t, int64_t, int64_t, const char *, int);
    mia_tensor (*CONCAT)(mia_tensor, mia_tensor, uint32_t, const char *, int);
    mia_tensor (*PAD)(mia_tensor, uint32_t, int64_t, int64_t, mia_pad_style, double, const char *, int);
    mia_tensor (*MODE)(mia_tensor, uint32_t, const char *, int);
    mia_tensor (*TWO_MODES)(mia_tensor, uint32_t, uint32_t, const char *, int);
    mia_tensor (*TAKE)(mia_tensor, mia_tensor, uint32_t, const char *, int);
    mia_tensor (*SCATTER)(mia_tensor, mia_tensor, mia_tensor, uint32_t, mia_scatter_style, const char *, int);
    mia_tensor (*ROLL)(mia_tensor, uint32_t, int64_t, const char *, int);
    mia_tensor (*TRIANGLE)(mia_tensor, int64_t, const char *, int);
    mia_tensor (*COMPARE)(mia_tensor, mia_tensor, const char *, int);
    mia_tensor (*WHERE)(mia_tensor, mia_tensor, mia_tensor, const char *, int);
    mia_tensor (*REAL)(mia_tensor, double, const char *, int);
    mia_tensor (*RANGE)(mia_tensor, double, double, const char *, int);
    mia_tensor (*ARG_MODES)(mia_tensor, uint32_t, const char *, int);
    mia_tensor (*SCAN)(mia_tensor, uint32_t, bool, bool, const char *, int);
    mia_tensor (*SORT)(mia_tensor, uint32_t, bool, const char *, int);
    mia_tensor (*ARG_SORT)(mia_tensor, uint32_t, bool, const char *, int);
    mia_tensor (*TOP_K)(mia_tensor, uint32_t, int64_t, bool, const char *, int);
    mia_tensor (*ARG_TOP_K)(mia_tensor, uint32_t, int64_t, bool, const char *, int);
    mia_tensor (*GROUP_NORM)(mia_tensor, mia_tensor, mia_tensor, uint32_t, int64_t, double, const char *,
                             int);
    mia_tensor (*ATTENTION_MASKED)(mia_tensor, mia_tensor, mia_tensor, mia_tensor, mia_tensor, double,
                                   const char *, int);
    mia_tensor (*CONV)(mia_tensor, mia_tensor, mia_window, const char *, int);
    mia_tensor (*POOL)(mia_tensor, mia_window, const char *, int);
    mia_tensor (*ARANGE)(mia_tensor, mia_tensor, int64_t, const char *, int);
    mia_tensor (*RANDOM)(mia_tensor, mia_dtype, int64_t, const char *, int);
    mia_tensor (*GATHER)(mia_tensor, mia_tensor, const char *, int);
    mia_tensor (*EMBEDDING)(mia_tensor, mia_tensor, const char *, int);
    mia_tensor (*UPDATE)(mia_tensor, mia_tensor, mia_tensor, uint32_t, const char *, int);
    mia_tensor (*MODES)(mia_tensor, uint32_t, const char *, int);
    mia_tensor (*NORM)(mia_tensor, mia_tensor, double, const char *, int);
    mia_tensor (*NORM_BIAS)(mia_tensor, mia_tensor, mia_tensor, double, const char *, int);
    mia_tensor (*ROPE)(mia_tensor, mia_tensor, mia_tensor, mia_rope_style, double, const char *, int);
    mia_tensor (*ATTENTION)(mia_tensor, mia_tensor, mia_tensor, mia_tensor, double, const char *, int);
    mia_tensor (*MATMUL)(mia_tensor, mia_tensor, const char *, int);
} plain_function;

typedef struct row {
    const char *name;
    mia_op op;
    signature form;
    uint64_t types;
    plain_function function;
} row;

#define TYPE_BIT(type, unused) | (UINT64_C(1) << MIA_##type)
static const row rows[] = {
#define MIA_OP(name, tag, signature, class, types, type_rule, shape_rule, bound, doc)                        \
    {#name,                                                                                                  \
     MIA_OP_##name,                                                                                          \
     SIGNATURE_##signature,                                                                                  \
     0 MIA_TYPES_##types(TYPE_BIT, 0),                                                                       \
     {.signature = mia_op_##name}},
#include <mia/ops.def>
#undef MIA_OP
};
#define ROWS (sizeof rows / sizeof *rows)

typedef struct program {
    const row *row;
    mia_dtype dtype;
    operand operands[MOST_OPERANDS];
    uint32_t count;
    mood mood;
    mia_shape shape;   /* SHAPE */
    mia_dtype target;  /* DTYPE */
    uint32_t mode;     /* or a set of modes, or a style of rope */
    int64_t a, b, c;   /* what the signature has besides, in its order; flags are 0 or 1 */
    double real, high; /* epsilon, magnitude, scale, slope, ends of a range */
    mia_window window;
    mia_status expected; /* not every conversion has a meaning */
} program;

typedef struct result {
    mia_status status;
    mia_error error;
    mia_dtype dtype;
    mia_shape shape;
    uint8_t *bytes;
    size_t size;
    bool kept_changed; /* an operand that was still referred to has other numbers now */
} result;

static inline void program_free(program *p) {
    for (uint32_t i = 0; i < p->count; i++) operand_free(&p->operands[i]);
}

static inline void result_free(result *r) {
    free(r->bytes);
    r->bytes = NULL;
}

static inline mia_tensor record(const program *p, const mia_tensor *t) {
    const plain_function *f = &p->row->function;
    switch (p->row->form) {
    case SIGNATURE_UNARY: return f->UNARY(t[0], SITE);
    case SIGNATURE_BINARY: return f->BINARY(t[0], t[1], SITE);
    case SIGNATURE_SHAPE: return f->SHAPE(t[0], p->shape, SITE);
    case SIGNATURE_DTYPE: return f->DTYPE(t[0], p->target, SITE);
    case SIGNATURE_SLICE: return f->SLICE(t[0], p->mode, p->a, p->b, p->c, SITE);
    case SIGNATURE_CONCAT: return f->CONCAT(t[0], t[1], p->mode, SITE);
    case SIGNATURE_PAD: return f->PAD(t[0], p->mode, p->a, p->b, (mia_pad_style)p->c, p->real, SITE);
    case SIGNATURE_MODE: return f->MODE(t[0], p->mode, SITE);
    case SIGNATURE_TWO_MODES: return f->TWO_MODES(t[0], p->mode, (uint32_t)p->a, SITE);
    case SIGNATURE_TAKE: return f->TAKE(t[0], t[1], p->mode, SITE);
    case SIGNATURE_SCATTER: return f->SCATTER(t[0], t[1], t[2], p->mode, (mia_scatter_style)p->a, SITE);
    case SIGNATURE_ROLL: return f->ROLL(t[0], p->mode, p->a, SITE);
    case SIGNATURE_TRIANGLE: return f->TRIANGLE(t[0], p->a, SITE);
    case SIGNATURE_COMPARE: return f->COMPARE(t[0], t[1], SITE);
    case SIGNATURE_WHERE: return f->WHERE(t[0], t[1], t[2], SITE);
    case SIGNATURE_REAL: return f->REAL(t[0], p->real, SITE);
    case SIGNATURE_RANGE: return f->RANGE(t[0], p->real, p->high, SITE);
    case SIGNATURE_ARG_MODES: return f->ARG_MODES(t[0], p->mode, SITE);
    case SIGNATURE_SCAN: return f->SCAN(t[0], p->mode, p->a != 0, p->b != 0, SITE);
    case SIGNATURE_SORT: return f->SORT(t[0], p->mode, p->a != 0, SITE);
    case SIGNATURE_ARG_SORT: return f->ARG_SORT(t[0], p->mode, p->a != 0, SITE);
    case SIGNATURE_TOP_K: return f->TOP_K(t[0], p->mode, p->a, p->b != 0, SITE);
    case SIGNATURE_ARG_TOP_K: return f->ARG_TOP_K(t[0], p->mode, p->a, p->b != 0, SITE);
    case SIGNATURE_GROUP_NORM: return f->GROUP_NORM(t[0], t[1], t[2], p->mode, p->a, p->real, SITE);
    case SIGNATURE_ATTENTION_MASKED: return f->ATTENTION_MASKED(t[0], t[1], t[2], t[3], t[4], p->real, SITE);
    case SIGNATURE_CONV: return f->CONV(t[0], t[1], p->window, SITE);
    case SIGNATURE_POOL: return f->POOL(t[0], p->window, SITE);
    case SIGNATURE_ARANGE: return f->ARANGE(t[0], t[1], p->a, SITE);
    case SIGNATURE_RANDOM: return f->RANDOM(t[0], p->target, p->a, SITE);
    case SIGNATURE_GATHER: return f->GATHER(t[0], t[1], SITE);
    case SIGNATURE_EMBEDDING: return f->EMBEDDING(t[0], t[1], SITE);
    case SIGNATURE_UPDATE: return f->UPDATE(t[0], t[1], t[2], p->mode, SITE);
    case SIGNATURE_MODES: return f->MODES(t[0], p->mode, SITE);
    case SIGNATURE_NORM: return f->NORM(t[0], t[1], p->real, SITE);
    case SIGNATURE_NORM_BIAS: return f->NORM_BIAS(t[0], t[1], t[2], p->real, SITE);
    case SIGNATURE_ROPE: return f->ROPE(t[0], t[1], t[2], (mia_rope_style)p->mode, p->real, SITE);
    case SIGNATURE_ATTENTION: return f->ATTENTION(t[0], t[1], t[2], t[3], p->real, SITE);
    case SIGNATURE_MATMUL: return f->MATMUL(t[0], t[1], SITE);
    }
    return t[0];
}

/* Whether an operand that outlived the operation still holds what it held. */
static inline bool still_as_seen(const operand *o, mia_tensor t) {
    uint8_t *now = malloc(o->seen_bytes > 0 ? o->seen_bytes : 1);
    bool same = now != NULL && mia_tensor_read(t, now, o->seen_bytes, NULL, SITE) == MIA_OK &&
                memcmp(now, o->seen, o->seen_bytes) == 0;
    free(now);
    return same;
}

/* Records the program on a device and reads its result. The operands have been seen (operand_see). */
static inline result program_run(const program *p, mia_device *device) {
    result r = {.status = MIA_OK};
    mia_tensor t[MOST_OPERANDS], kept[MOST_OPERANDS];
    for (uint32_t i = 0; i < p->count; i++) {
        const operand *o = &p->operands[i];
        t[i] = o->repeated ? mia_op_ref(t[0], SITE) : operand_make(o, device);
    }
    for (uint32_t i = 0; i < p->count; i++)
        if (p->operands[i].kept) kept[i] = mia_op_ref(t[i], SITE);
    mia_tensor y = record(p, t);
    r.dtype = mia_tensor_dtype(y);
    r.shape = mia_tensor_shape(y);
    r.size = r.dtype != MIA_NONE ? bytes_of(r.dtype, &r.shape) : 0;
    r.bytes = malloc(r.size > 0 ? r.size : 1);
    if (r.bytes == NULL) abort();
    memset(r.bytes, 0xa5, r.size);
    r.status = mia_tensor_read(y, r.bytes, r.size, &r.error, SITE);
    for (uint32_t i = 0; i < p->count; i++)
        if (p->operands[i].kept && !still_as_seen(&p->operands[i], kept[i])) r.kept_changed = true;
    return r;
}

static inline void program_print(const program *p) {
    printf("%s:", p->row->name);
    for (uint32_t i = 0; i < p->count; i++) operand_print(&p->operands[i]);
    if (p->row->form == SIGNATURE_DTYPE) printf(" to %s", mia_dtype_describe(p->target)->name);
    printf(" mode %u (%lld, %lld, %lld) %g\n", (unsigned)p->mode, (long long)p->a, (long long)p->b,
           (long long)p->c, p->real);
}

#endif
