/* Element types: their names, sizes and the sets of them that operations take. The table is dtype.def. */
#ifndef MIA_DTYPE_H
#define MIA_DTYPE_H

#include <mia/status.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* MIA_f32, MIA_f16, ... with the table's fixed numbers; MIA_NONE is no type. */
typedef enum mia_dtype {
    MIA_NONE = 0,
#define MIA_DTYPE(name, tag, kind, elements, bytes, host, ggml) MIA_##name = tag,
#include <mia/dtype.def>
#undef MIA_DTYPE
    MIA_DTYPE_LIMIT = 64
} mia_dtype;

typedef enum mia_dtype_kind {
    MIA_KIND_NONE = 0,
    MIA_KIND_FLOAT,
    MIA_KIND_INTEGER,
    MIA_KIND_BOOL,
    MIA_KIND_PACKED,
    MIA_KIND_BLOCK
} mia_dtype_kind;

typedef struct mia_dtype_info {
    const char *name;
    mia_dtype_kind kind;
    uint32_t elements; /* numbers in one unit */
    uint32_t bytes;    /* bytes of one unit */
    int32_t ggml;      /* number in GGUF files, -1 if none */
} mia_dtype_info;

/* Facts of a type; for a number that is no type, name "none" and zeros. Never NULL. */
MIA_API const mia_dtype_info *mia_dtype_describe(mia_dtype dtype);

/* Sets of types, as lists for macros: X(type, argument) for each. An operation's row in ops.def names one. */
#define MIA_TYPES_REAL(X, arg)    X(f32, arg) X(f16, arg) X(bf16, arg) X(f64, arg)
#define MIA_TYPES_FLOAT(X, arg)   MIA_TYPES_REAL(X, arg) X(f32x4, arg) X(f16x4, arg)
#define MIA_TYPES_INTEGER(X, arg) X(i32, arg) X(u32, arg) X(i8, arg) X(u8, arg)
#define MIA_TYPES_SCALAR(X, arg)  MIA_TYPES_REAL(X, arg) MIA_TYPES_INTEGER(X, arg)
#define MIA_TYPES_BOOL(X, arg)    X(bool8, arg)
#define MIA_TYPES_SINGLE(X, arg)  MIA_TYPES_SCALAR(X, arg) MIA_TYPES_BOOL(X, arg)
#define MIA_TYPES_SEED(X, arg)    X(u32, arg)
#define MIA_TYPES_NUMBER(X, arg)  MIA_TYPES_FLOAT(X, arg) MIA_TYPES_INTEGER(X, arg)
#define MIA_TYPES_PLAIN(X, arg)   MIA_TYPES_NUMBER(X, arg) X(bool8, arg) X(u8x4, arg)
#define MIA_TYPES_BLOCK(X, arg)                                                                              \
    X(q8_0, arg) X(q4_0, arg) X(q4_1, arg) X(q5_0, arg) X(q5_1, arg) X(q4_K, arg) X(q5_K, arg) X(q6_K, arg)
#define MIA_TYPES_WEIGHT(X, arg) MIA_TYPES_REAL(X, arg) MIA_TYPES_BLOCK(X, arg)
#define MIA_TYPES_ALL(X, arg)    MIA_TYPES_PLAIN(X, arg) X(u4x8, arg) MIA_TYPES_BLOCK(X, arg)

#ifdef __cplusplus
}
#endif
#endif
