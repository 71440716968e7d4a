/* What ops.def gives to C and C++: the enum of operations, the plain exported functions mia_op_<name>, and
 * the typed functions that the macros of tensor.h select among.
 *
 * Every plain function takes handles over (consumes them), also when it fails; returns an owned handle,
 * poisoned when something was wrong; may be called from any thread; does not block. `file` (static text, may
 * be NULL) and `line` are the call's site, for messages. */
#ifndef MIA_OPS_H
#define MIA_OPS_H

#include <mia/dtype.h>
#include <mia/layout.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mia_op {
    MIA_OP_NONE = 0,
#define MIA_OP(name, tag, signature, class, types, type_rule, shape_rule, bound, doc) MIA_OP_##name = tag,
#include <mia/ops.def>
#undef MIA_OP
    MIA_OP_LIMIT = 256
} mia_op;

typedef enum mia_op_class {
    MIA_CLASS_VIEW = 1,
    MIA_CLASS_MOVEMENT,
    MIA_CLASS_ELEMENTWISE,
    MIA_CLASS_REDUCTION,
    MIA_CLASS_CONTRACTION,
    MIA_CLASS_COMPOSITE
} mia_op_class;

typedef struct mia_op_info {
    const char *name;
    mia_op_class op_class;
    uint32_t operands;
    uint64_t types; /* bit d set: dtype d is taken as first operand */
    double bound;   /* see ops.def */
    const char *doc;
} mia_op_info;

/* The row of an operation, NULL for a number that is none. */
MIA_API const mia_op_info *mia_op_describe(mia_op op);

/* --- handles ---------------------------------------------------------------------------------- */

/* An owned handle of a value on a device: small, copied freely, given away once. All zero is no tensor. */
typedef struct mia_tensor {
    struct mia_device *device;
    uint32_t slot;
    uint32_t generation;
} mia_tensor;

/* The same with its element type known to the compiler. */
#define MIA_DTYPE(name, tag, kind, elements, bytes, host, ggml)                                              \
    typedef struct mia_tensor_##name {                                                                       \
        mia_tensor untyped;                                                                                  \
    } mia_tensor_##name;
#include <mia/dtype.def>
#undef MIA_DTYPE

#define MIA_MODE(mode) (1u << (mode)) /* one mode, in a set of modes */
#define MIA_ALL_MODES  0xffu

/* How rope pairs elements: neighbours (Llama in GGUF), or first half with second half (NeoX). */
typedef enum mia_rope_style { MIA_ROPE_INTERLEAVED = 0, MIA_ROPE_HALVES = 1 } mia_rope_style;

/* --- plain functions, a form each signature --------------------------------------------------- */

#define MIA__SITE_ARGS const char *file, int line

#define MIA__PLAIN_UNARY(name)  MIA_API mia_tensor mia_op_##name(mia_tensor x, MIA__SITE_ARGS);
#define MIA__PLAIN_BINARY(name) MIA_API mia_tensor mia_op_##name(mia_tensor a, mia_tensor b, MIA__SITE_ARGS);
#define MIA__PLAIN_SHAPE(name)                                                                               \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, mia_shape shape, MIA__SITE_ARGS);
#define MIA__PLAIN_DTYPE(name)                                                                               \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, mia_dtype dtype, MIA__SITE_ARGS);
#define MIA__PLAIN_SLICE(name)                                                                               \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, int64_t begin, int64_t count,              \
                                     int64_t step, MIA__SITE_ARGS);
#define MIA__PLAIN_CONCAT(name)                                                                              \
    MIA_API mia_tensor mia_op_##name(mia_tensor a, mia_tensor b, uint32_t mode, MIA__SITE_ARGS);
#define MIA__PLAIN_PAD(name)                                                                                 \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, int64_t before, int64_t after,             \
                                     MIA__SITE_ARGS);
#define MIA__PLAIN_GATHER(name)                                                                              \
    MIA_API mia_tensor mia_op_##name(mia_tensor table, mia_tensor indices, MIA__SITE_ARGS);
#define MIA__PLAIN_EMBEDDING(name) MIA__PLAIN_GATHER(name)
#define MIA__PLAIN_UPDATE(name)                                                                              \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, mia_tensor part, mia_tensor start, uint32_t mode,         \
                                     MIA__SITE_ARGS);
#define MIA__PLAIN_MODES(name) MIA_API mia_tensor mia_op_##name(mia_tensor x, uint32_t modes, MIA__SITE_ARGS);
#define MIA__PLAIN_NORM(name)                                                                                \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, mia_tensor weight, double epsilon, MIA__SITE_ARGS);
#define MIA__PLAIN_NORM_BIAS(name)                                                                           \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, mia_tensor weight, mia_tensor bias, double epsilon,       \
                                     MIA__SITE_ARGS);
#define MIA__PLAIN_ROPE(name)                                                                                \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, mia_tensor positions, mia_tensor frequencies,             \
                                     mia_rope_style style, double magnitude, MIA__SITE_ARGS);
#define MIA__PLAIN_ATTENTION(name)                                                                           \
    MIA_API mia_tensor mia_op_##name(mia_tensor q, mia_tensor k, mia_tensor v, mia_tensor length,            \
                                     double scale, MIA__SITE_ARGS);
#define MIA__PLAIN_MATMUL(name) MIA_API mia_tensor mia_op_##name(mia_tensor w, mia_tensor x, MIA__SITE_ARGS);

#define MIA_OP(name, tag, signature, class, types, type_rule, shape_rule, bound, doc)                        \
    MIA__PLAIN_##signature(name)
#include <mia/ops.def>
#undef MIA_OP

/* Checks at run time that t is of that type (TYPE_MISMATCH otherwise): what loaders hand out becomes typed.
 * Consumes t. */
MIA_API mia_tensor mia_op_expect(mia_tensor t, mia_dtype dtype, MIA__SITE_ARGS);

/* A second owned handle of the same value; t stays yours. */
MIA_API mia_tensor mia_op_ref(mia_tensor t, MIA__SITE_ARGS);

/* Gives a handle back unused. */
MIA_API void mia_op_unref(mia_tensor t, MIA__SITE_ARGS);

#ifdef __cplusplus
}
#endif

/* --- typed functions: mia__<type>_<name> in C, overloads of mia__cxx_<name> in C++ ------------ */

#ifdef __cplusplus
/* A braced list is evaluated left to right, which the arguments of a call are not. */
template <class A, class B> struct mia__pack2 {
    A a;
    B b;
};
template <class A, class B> mia__pack2(A, B) -> mia__pack2<A, B>;
template <class A, class B, class C> struct mia__pack3 {
    A a;
    B b;
    C c;
};
template <class A, class B, class C> mia__pack3(A, B, C) -> mia__pack3<A, B, C>;
template <class A, class B, class C, class D> struct mia__pack4 {
    A a;
    B b;
    C c;
    D d;
};
template <class A, class B, class C, class D> mia__pack4(A, B, C, D) -> mia__pack4<A, B, C, D>;
#define MIA__FN(type, name) mia__cxx_##name
#else
#define MIA__FN(type, name) mia__##type##_##name
#endif

#define MIA__T(type) mia_tensor_##type

/* Defines the typed function `name` of result type `to`: parameters, then the arguments of the plain one. */
#define MIA__TYPED(type, to, name, parameters, ...)                                                          \
    static inline MIA__T(to) MIA__FN(type, name) parameters {                                                \
        MIA__T(to) result;                                                                                   \
        result.untyped = mia_op_##name(__VA_ARGS__, file, line);                                             \
        return result;                                                                                       \
    }

#define MIA__TYPED_UNARY(t, name) MIA__TYPED(t, t, name, (MIA__T(t) x, MIA__SITE_ARGS), x.untyped)
#define MIA__TYPED_BINARY(t, name)                                                                           \
    MIA__TYPED(t, t, name, (MIA__T(t) a, MIA__T(t) b, MIA__SITE_ARGS), a.untyped, b.untyped)
#define MIA__TYPED_SHAPE(t, name)                                                                            \
    MIA__TYPED(t, t, name, (MIA__T(t) x, mia_shape shape, MIA__SITE_ARGS), x.untyped, shape)
#define MIA__TYPED_SLICE(t, name)                                                                            \
    MIA__TYPED(t, t, name,                                                                                   \
               (MIA__T(t) x, uint32_t mode, int64_t begin, int64_t count, int64_t step, MIA__SITE_ARGS),     \
               x.untyped, mode, begin, count, step)
#define MIA__TYPED_CONCAT(t, name)                                                                           \
    MIA__TYPED(t, t, name, (MIA__T(t) a, MIA__T(t) b, uint32_t mode, MIA__SITE_ARGS), a.untyped, b.untyped,  \
               mode)
#define MIA__TYPED_PAD(t, name)                                                                              \
    MIA__TYPED(t, t, name, (MIA__T(t) x, uint32_t mode, int64_t before, int64_t after, MIA__SITE_ARGS),      \
               x.untyped, mode, before, after)
#define MIA__TYPED_GATHER(t, name)                                                                           \
    MIA__TYPED(t, t, name, (MIA__T(t) table, mia_tensor_i32 indices, MIA__SITE_ARGS), table.untyped,         \
               indices.untyped)
#define MIA__TYPED_UPDATE(t, name)                                                                           \
    MIA__TYPED(t, t, name,                                                                                   \
               (MIA__T(t) x, MIA__T(t) part, mia_tensor_i32 start, uint32_t mode, MIA__SITE_ARGS),           \
               x.untyped, part.untyped, start.untyped, mode)
#define MIA__TYPED_MODES(t, name)                                                                            \
    MIA__TYPED(t, t, name, (MIA__T(t) x, uint32_t modes, MIA__SITE_ARGS), x.untyped, modes)
#define MIA__TYPED_NORM(t, name)                                                                             \
    MIA__TYPED(t, t, name, (MIA__T(t) x, MIA__T(t) weight, double epsilon, MIA__SITE_ARGS), x.untyped,       \
               weight.untyped, epsilon)
#define MIA__TYPED_NORM_BIAS(t, name)                                                                        \
    MIA__TYPED(t, t, name, (MIA__T(t) x, MIA__T(t) weight, MIA__T(t) bias, double epsilon, MIA__SITE_ARGS),  \
               x.untyped, weight.untyped, bias.untyped, epsilon)
#define MIA__TYPED_ROPE(t, name)                                                                             \
    MIA__TYPED(t, t, name,                                                                                   \
               (MIA__T(t) x, mia_tensor_i32 positions, mia_tensor_f32 frequencies, mia_rope_style style,     \
                double magnitude, MIA__SITE_ARGS),                                                           \
               x.untyped, positions.untyped, frequencies.untyped, style, magnitude)
#define MIA__TYPED_ATTENTION(t, name)                                                                        \
    MIA__TYPED(                                                                                              \
        t, t, name,                                                                                          \
        (MIA__T(t) q, mia_tensor k, mia_tensor v, mia_tensor_i32 length, double scale, MIA__SITE_ARGS),      \
        q.untyped, k, v, length.untyped, scale)
/* The forms whose result type is an argument, and those that take weights of any type, are macros of
 * tensor.h. */
#define MIA__TYPED_DTYPE(t, name)
#define MIA__TYPED_EMBEDDING(t, name)
#define MIA__TYPED_MATMUL(t, name)

#define MIA_OP(name, tag, signature, class, types, type_rule, shape_rule, bound, doc)                        \
    MIA_TYPES_##types(MIA__TYPED_##signature, name)
#include <mia/ops.def>
#undef MIA_OP

static inline mia_tensor_f32 mia__embedding(mia_tensor table, mia_tensor_i32 indices, MIA__SITE_ARGS) {
    mia_tensor_f32 result;
    result.untyped = mia_op_embedding(table, indices.untyped, file, line);
    return result;
}

#define MIA__TYPED_PRODUCT(t, name)                                                                          \
    MIA__TYPED(t, t, name, (mia_tensor w, MIA__T(t) x, MIA__SITE_ARGS), w, x.untyped)
MIA_TYPES_REAL(MIA__TYPED_PRODUCT, matmul)

/* ref, unref, untyped: of every type. */
#define MIA__TYPED_HANDLE(t, unused)                                                                         \
    static inline mia_tensor MIA__FN(t, untyped)(MIA__T(t) x) {                                              \
        return x.untyped;                                                                                    \
    }                                                                                                        \
    static inline void MIA__FN(t, unref)(MIA__T(t) x, MIA__SITE_ARGS) {                                      \
        mia_op_unref(x.untyped, file, line);                                                                 \
    }                                                                                                        \
    MIA__TYPED(t, t, ref, (MIA__T(t) x, MIA__SITE_ARGS), x.untyped)                                          \
    static inline MIA__T(t) mia__as_##t(mia_tensor x, MIA__SITE_ARGS) {                                      \
        MIA__T(t) result;                                                                                    \
        result.untyped = mia_op_expect(x, MIA_##t, file, line);                                              \
        return result;                                                                                       \
    }                                                                                                        \
    static inline MIA__T(t) mia__convert_to_##t(mia_tensor x, MIA__SITE_ARGS) {                              \
        MIA__T(t) result;                                                                                    \
        result.untyped = mia_op_convert(x, MIA_##t, file, line);                                             \
        return result;                                                                                       \
    }                                                                                                        \
    static inline MIA__T(t) mia__cast_to_##t(mia_tensor x, MIA__SITE_ARGS) {                                 \
        MIA__T(t) result;                                                                                    \
        result.untyped = mia_op_cast(x, MIA_##t, file, line);                                                \
        return result;                                                                                       \
    }
MIA_TYPES_ALL(MIA__TYPED_HANDLE, 0)

#define MIA__UNTYPED_HANDLE                                                                                  \
    static inline mia_tensor MIA__FN(any, untyped)(mia_tensor x) {                                           \
        return x;                                                                                            \
    }                                                                                                        \
    static inline void MIA__FN(any, unref)(mia_tensor x, MIA__SITE_ARGS) {                                   \
        mia_op_unref(x, file, line);                                                                         \
    }                                                                                                        \
    static inline mia_tensor MIA__FN(any, ref)(mia_tensor x, MIA__SITE_ARGS) {                               \
        return mia_op_ref(x, file, line);                                                                    \
    }
MIA__UNTYPED_HANDLE

#endif
