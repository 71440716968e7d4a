/* A program of the conformance test: one operation of ops.def with drawn operands and attributes. Here: the
 * rows of the table with the functions that record them, and the program's run on a device. draw.h draws
 * programs. */
#ifndef MIA_TESTS_OPS_PROGRAM_H
#define MIA_TESTS_OPS_PROGRAM_H

#include "ops/operand.h"

#define MOST_OPERANDS 4

#define SIGNATURES(X)                                                                                        \
    X(UNARY)                                                                                                 \
    X(BINARY)                                                                                                \
    X(SHAPE)                                                                                                 \
    X(DTYPE)                                                                                                 \
    X(SLICE)                                                                                                 \
    X(CONCAT)                                                                                                \
    X(PAD)                                                                                                   \
    X(GATHER)                                                                                                \
    X(EMBEDDING)                                                                                             \
    X(UPDATE)                                                                                                \
    X(MODES)                                                                                                 \
    X(NORM)                                                                                                  \
    X(NORM_BIAS)                                                                                             \
    X(ROPE)                                                                                                  \
    X(ATTENTION)                                                                                             \
    X(MATMUL)

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
    mia_tensor (*PAD)(mia_tensor, uint32_t, int64_t, int64_t, const char *, int);
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
    mia_shape shape;     /* SHAPE */
    mia_dtype target;    /* DTYPE */
    uint32_t mode;       /* or a set of modes, or a style */
    int64_t a, b, c;     /* SLICE, PAD */
    double real;         /* epsilon, magnitude, scale */
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
    case SIGNATURE_PAD: return f->PAD(t[0], p->mode, p->a, p->b, SITE);
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
