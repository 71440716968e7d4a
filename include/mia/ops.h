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
    MIA_OP_LIMIT = 256,
    MIA_OP_CUSTOM = 256, /* operations that programs register (custom.h) count from here */
    MIA_OP_LAST = 65535
} mia_op;

typedef enum mia_op_class {
    MIA_CLASS_VIEW = 1,
    MIA_CLASS_MOVEMENT,
    MIA_CLASS_ELEMENTWISE,
    MIA_CLASS_REDUCTION,
    MIA_CLASS_SCAN,
    MIA_CLASS_COMPOSITE,
    MIA_CLASS_CONTRACTION,
    MIA_CLASS_WINDOW,
    MIA_CLASS_CREATION
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

/* What an operation is told besides its operands; what each number means is the operation's affair. */
#define MIA_MAX_INTEGERS 12
#define MIA_MAX_REALS    2
typedef struct mia_attributes {
    int64_t i[MIA_MAX_INTEGERS];
    double f[MIA_MAX_REALS];
} mia_attributes;

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

/* What pad puts around a tensor; EDGE, MIRROR and CYCLE take from the tensor itself (MIRROR without the edge,
 * at most one element less than the mode has; CYCLE at most as many; EDGE any number), CONSTANT the number. */
typedef enum mia_pad_style {
    MIA_PAD_CONSTANT = 0,
    MIA_PAD_EDGE = 1,
    MIA_PAD_MIRROR = 2,
    MIA_PAD_CYCLE = 3
} mia_pad_style;

/* What scatter does with what is there: replaces it, or combines it with what comes. */
typedef enum mia_scatter_style {
    MIA_SCATTER_SET = 0,
    MIA_SCATTER_ADD = 1,
    MIA_SCATTER_MUL = 2,
    MIA_SCATTER_MIN = 3,
    MIA_SCATTER_MAX = 4
} mia_scatter_style;

/* How a window moves over modes 0 and 1; a field that is 0 has its neutral value. */
typedef struct mia_window {
    int64_t size[2];     /* of a pool's window (0: 1); a convolution's is its weights' */
    int64_t stride[2];   /* from window to window (0: 1) */
    int64_t dilation[2]; /* from element to element of a window (0: 1) */
    int64_t before[2];   /* padding at the begin and the end of each mode */
    int64_t after[2];
    int64_t groups;     /* of a convolution's channels (0: 1) */
    bool count_padding; /* average_pool: padding counts as zeros */
} mia_window;

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
#define MIA__PLAIN_MODE(name) MIA_API mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, MIA__SITE_ARGS);
#define MIA__PLAIN_TWO_MODES(name)                                                                           \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, uint32_t other, MIA__SITE_ARGS);
#define MIA__PLAIN_PAD(name)                                                                                 \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, int64_t before, int64_t after,             \
                                     mia_pad_style style, double value, MIA__SITE_ARGS);
#define MIA__PLAIN_TAKE(name)                                                                                \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, mia_tensor indices, uint32_t mode, MIA__SITE_ARGS);
#define MIA__PLAIN_SCATTER(name)                                                                             \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, mia_tensor indices, mia_tensor part, uint32_t mode,       \
                                     mia_scatter_style style, MIA__SITE_ARGS);
#define MIA__PLAIN_ROLL(name)                                                                                \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, int64_t shift, MIA__SITE_ARGS);
#define MIA__PLAIN_TRIANGLE(name)                                                                            \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, int64_t diagonal, MIA__SITE_ARGS);
#define MIA__PLAIN_COMPARE(name) MIA__PLAIN_BINARY(name)
#define MIA__PLAIN_WHERE(name)                                                                               \
    MIA_API mia_tensor mia_op_##name(mia_tensor condition, mia_tensor a, mia_tensor b, MIA__SITE_ARGS);
#define MIA__PLAIN_REAL(name) MIA_API mia_tensor mia_op_##name(mia_tensor x, double value, MIA__SITE_ARGS);
#define MIA__PLAIN_RANGE(name)                                                                               \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, double low, double high, MIA__SITE_ARGS);
#define MIA__PLAIN_SCAN(name)                                                                                \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, bool exclusive, bool reverse,              \
                                     MIA__SITE_ARGS);
#define MIA__PLAIN_SORT(name)                                                                                \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, bool descending, MIA__SITE_ARGS);
#define MIA__PLAIN_ARG_SORT(name) MIA__PLAIN_SORT(name)
#define MIA__PLAIN_TOP_K(name)                                                                               \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, int64_t k, bool greatest, MIA__SITE_ARGS);
#define MIA__PLAIN_ARG_TOP_K(name) MIA__PLAIN_TOP_K(name)
#define MIA__PLAIN_GROUP_NORM(name)                                                                          \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, mia_tensor weight, mia_tensor bias, uint32_t mode,        \
                                     int64_t groups, double epsilon, MIA__SITE_ARGS);
#define MIA__PLAIN_ATTENTION_MASKED(name)                                                                    \
    MIA_API mia_tensor mia_op_##name(mia_tensor q, mia_tensor k, mia_tensor v, mia_tensor mask,              \
                                     mia_tensor length, double scale, MIA__SITE_ARGS);
#define MIA__PLAIN_CONV(name)                                                                                \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, mia_tensor w, mia_window window, MIA__SITE_ARGS);
#define MIA__PLAIN_POOL(name)                                                                                \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, mia_window window, MIA__SITE_ARGS);
#define MIA__PLAIN_ARANGE(name)                                                                              \
    MIA_API mia_tensor mia_op_##name(mia_tensor start, mia_tensor step, int64_t count, MIA__SITE_ARGS);
#define MIA__PLAIN_RANDOM(name)                                                                              \
    MIA_API mia_tensor mia_op_##name(mia_tensor seed, mia_dtype dtype, int64_t count, MIA__SITE_ARGS);
#define MIA__PLAIN_GATHER(name)                                                                              \
    MIA_API mia_tensor mia_op_##name(mia_tensor table, mia_tensor indices, MIA__SITE_ARGS);
#define MIA__PLAIN_EMBEDDING(name) MIA__PLAIN_GATHER(name)
#define MIA__PLAIN_UPDATE(name)                                                                              \
    MIA_API mia_tensor mia_op_##name(mia_tensor x, mia_tensor part, mia_tensor start, uint32_t mode,         \
                                     MIA__SITE_ARGS);
#define MIA__PLAIN_MODES(name)     MIA_API mia_tensor mia_op_##name(mia_tensor x, uint32_t modes, MIA__SITE_ARGS);
#define MIA__PLAIN_ARG_MODES(name) MIA__PLAIN_MODES(name)
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

/* A number as a tensor of rank 0 beside `like`: of its type (all lanes of a packed one) and on its device.
 * Borrows like. */
MIA_API mia_tensor mia_op_number(mia_tensor like, double value, MIA__SITE_ARGS);

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
template <class A, class B, class C, class D, class E> struct mia__pack5 {
    A a;
    B b;
    C c;
    D d;
    E e;
};
template <class A, class B, class C, class D, class E> mia__pack5(A, B, C, D, E) -> mia__pack5<A, B, C, D, E>;
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
/* Of two tensors, or of a tensor and a number. */
#define MIA__TYPED_PAIR(t, to, name)                                                                         \
    MIA__TYPED(t, to, name, (MIA__T(t) a, MIA__T(t) b, MIA__SITE_ARGS), a.untyped, b.untyped)                \
    static inline MIA__T(to) MIA__FN(t, name##_number)(MIA__T(t) a, double b, MIA__SITE_ARGS) {              \
        MIA__T(t) other;                                                                                     \
        other.untyped = mia_op_number(a.untyped, b, file, line);                                             \
        return MIA__FN(t, name)(a, other, file, line);                                                       \
    }                                                                                                        \
    static inline MIA__T(to) MIA__FN(t, name##_of_number)(double a, MIA__T(t) b, MIA__SITE_ARGS) {           \
        MIA__T(t) other;                                                                                     \
        other.untyped = mia_op_number(b.untyped, a, file, line);                                             \
        return MIA__FN(t, name)(other, b, file, line);                                                       \
    }
#define MIA__TYPED_BINARY(t, name)  MIA__TYPED_PAIR(t, t, name)
#define MIA__TYPED_COMPARE(t, name) MIA__TYPED_PAIR(t, bool8, name)
#define MIA__TYPED_WHERE(t, name)                                                                            \
    MIA__TYPED(t, t, name, (mia_tensor_bool8 condition, MIA__T(t) a, MIA__T(t) b, MIA__SITE_ARGS),           \
               condition.untyped, a.untyped, b.untyped)
#define MIA__TYPED_REAL(t, name)                                                                             \
    MIA__TYPED(t, t, name, (MIA__T(t) x, double value, MIA__SITE_ARGS), x.untyped, value)
#define MIA__TYPED_RANGE(t, name)                                                                            \
    MIA__TYPED(t, t, name, (MIA__T(t) x, double low, double high, MIA__SITE_ARGS), x.untyped, low, high)
#define MIA__TYPED_SHAPE(t, name)                                                                            \
    MIA__TYPED(t, t, name, (MIA__T(t) x, mia_shape shape, MIA__SITE_ARGS), x.untyped, shape)
#define MIA__TYPED_SLICE(t, name)                                                                            \
    MIA__TYPED(t, t, name,                                                                                   \
               (MIA__T(t) x, uint32_t mode, int64_t begin, int64_t count, int64_t step, MIA__SITE_ARGS),     \
               x.untyped, mode, begin, count, step)
#define MIA__TYPED_CONCAT(t, name)                                                                           \
    MIA__TYPED(t, t, name, (MIA__T(t) a, MIA__T(t) b, uint32_t mode, MIA__SITE_ARGS), a.untyped, b.untyped,  \
               mode)
#define MIA__TYPED_MODE(t, name)                                                                             \
    MIA__TYPED(t, t, name, (MIA__T(t) x, uint32_t mode, MIA__SITE_ARGS), x.untyped, mode)
#define MIA__TYPED_TWO_MODES(t, name)                                                                        \
    MIA__TYPED(t, t, name, (MIA__T(t) x, uint32_t mode, uint32_t other, MIA__SITE_ARGS), x.untyped, mode,    \
               other)
#define MIA__TYPED_PAD(t, name)                                                                              \
    MIA__TYPED(t, t, name,                                                                                   \
               (MIA__T(t) x, uint32_t mode, int64_t before, int64_t after, mia_pad_style style,              \
                double value, MIA__SITE_ARGS),                                                               \
               x.untyped, mode, before, after, style, value)
#define MIA__TYPED_TAKE(t, name)                                                                             \
    MIA__TYPED(t, t, name, (MIA__T(t) x, mia_tensor_i32 indices, uint32_t mode, MIA__SITE_ARGS), x.untyped,  \
               indices.untyped, mode)
#define MIA__TYPED_SCATTER(t, name)                                                                          \
    MIA__TYPED(t, t, name,                                                                                   \
               (MIA__T(t) x, mia_tensor_i32 indices, MIA__T(t) part, uint32_t mode, mia_scatter_style style, \
                MIA__SITE_ARGS),                                                                             \
               x.untyped, indices.untyped, part.untyped, mode, style)
#define MIA__TYPED_ROLL(t, name)                                                                             \
    MIA__TYPED(t, t, name, (MIA__T(t) x, uint32_t mode, int64_t shift, MIA__SITE_ARGS), x.untyped, mode,     \
               shift)
#define MIA__TYPED_TRIANGLE(t, name)                                                                         \
    MIA__TYPED(t, t, name, (MIA__T(t) x, int64_t diagonal, MIA__SITE_ARGS), x.untyped, diagonal)
#define MIA__TYPED_ARG_MODES(t, name)                                                                        \
    MIA__TYPED(t, i32, name, (MIA__T(t) x, uint32_t modes, MIA__SITE_ARGS), x.untyped, modes)
#define MIA__TYPED_SCAN(t, name)                                                                             \
    MIA__TYPED(t, t, name, (MIA__T(t) x, uint32_t mode, bool exclusive, bool reverse, MIA__SITE_ARGS),       \
               x.untyped, mode, exclusive, reverse)
#define MIA__TYPED_SORTED(t, to, name)                                                                       \
    MIA__TYPED(t, to, name, (MIA__T(t) x, uint32_t mode, bool descending, MIA__SITE_ARGS), x.untyped, mode,  \
               descending)
#define MIA__TYPED_SORT(t, name)     MIA__TYPED_SORTED(t, t, name)
#define MIA__TYPED_ARG_SORT(t, name) MIA__TYPED_SORTED(t, i32, name)
#define MIA__TYPED_TOP(t, to, name)                                                                          \
    MIA__TYPED(t, to, name, (MIA__T(t) x, uint32_t mode, int64_t k, bool greatest, MIA__SITE_ARGS),          \
               x.untyped, mode, k, greatest)
#define MIA__TYPED_TOP_K(t, name)     MIA__TYPED_TOP(t, t, name)
#define MIA__TYPED_ARG_TOP_K(t, name) MIA__TYPED_TOP(t, i32, name)
#define MIA__TYPED_GROUP_NORM(t, name)                                                                       \
    MIA__TYPED(t, t, name,                                                                                   \
               (MIA__T(t) x, MIA__T(t) weight, MIA__T(t) bias, uint32_t mode, int64_t groups,                \
                double epsilon, MIA__SITE_ARGS),                                                             \
               x.untyped, weight.untyped, bias.untyped, mode, groups, epsilon)
#define MIA__TYPED_ATTENTION_MASKED(t, name)                                                                 \
    MIA__TYPED(t, t, name,                                                                                   \
               (MIA__T(t) q, mia_tensor k, mia_tensor v, mia_tensor_f32 mask, mia_tensor_i32 length,         \
                double scale, MIA__SITE_ARGS),                                                               \
               q.untyped, k, v, mask.untyped, length.untyped, scale)
#define MIA__TYPED_CONV(t, name)                                                                             \
    MIA__TYPED(t, t, name, (MIA__T(t) x, MIA__T(t) w, mia_window window, MIA__SITE_ARGS), x.untyped,         \
               w.untyped, window)
#define MIA__TYPED_POOL(t, name)                                                                             \
    MIA__TYPED(t, t, name, (MIA__T(t) x, mia_window window, MIA__SITE_ARGS), x.untyped, window)
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
#define MIA__TYPED_ARANGE(t, name)
#define MIA__TYPED_RANDOM(t, name)

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
