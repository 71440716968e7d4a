/* Tensors: making them, computing with them, reading them. The typed macros of Mia's front end.
 *
 * Passing a tensor to an operation or to mia_read gives it away; mia_ref makes a second handle where it is
 * needed twice; constants are never consumed (docs/ownership.md). Operations only record; work happens when a
 * value is asked for. Nothing here aborts: a wrong operation gives a poisoned handle, and reading that gives
 * the first cause. */
#ifndef MIA_TENSOR_H
#define MIA_TENSOR_H

#include <mia/device.h>
#include <mia/ops.h>
#include <mia/weights.h>

#ifdef __cplusplus
#include <type_traits>
#endif

/* --- how the macros work ---------------------------------------------------------------------- */

/* Operands are evaluated once, left to right, into variables that one expansion of __COUNTER__ names; their
 * types choose the typed function. In C++ a braced pack keeps the order and overloads choose. */
#define MIA__SITE __FILE__, __LINE__

#ifdef __cplusplus

#define MIA__CALL1(name, types, x, ...)          mia__cxx_##name((x), __VA_ARGS__)
#define MIA__CALL2(name, types, x, y, ...)       mia__cxx2_##name(mia__pack2{(x), (y)}, __VA_ARGS__)
#define MIA__CALL3(name, types, x, y, z, ...)    mia__cxx3_##name(mia__pack3{(x), (y), (z)}, __VA_ARGS__)
#define MIA__CALL4(name, types, x, y, z, w, ...) mia__cxx4_##name(mia__pack4{(x), (y), (z), (w)}, __VA_ARGS__)
#define MIA__CALL_PAIR(name, types, x, y)        mia__cxx2_##name(mia__pack2{(x), (y)}, MIA__SITE)
#define MIA__CALL_CHOICE(name, types, c, x, y)   mia__cxx3_##name(mia__pack3{(c), (x), (y)}, MIA__SITE)

#define MIA__PACKED_2(name)                                                                                  \
    template <class A, class B, class... R>                                                                  \
    inline auto mia__cxx2_##name(mia__pack2<A, B> p, R... rest)                                              \
        ->decltype(mia__cxx_##name(p.a, p.b, rest...)) {                                                     \
        return mia__cxx_##name(p.a, p.b, rest...);                                                           \
    }
#define MIA__PACKED_3(name)                                                                                  \
    template <class A, class B, class C, class... R>                                                         \
    inline auto mia__cxx3_##name(mia__pack3<A, B, C> p, R... rest)                                           \
        ->decltype(mia__cxx_##name(p.a, p.b, p.c, rest...)) {                                                \
        return mia__cxx_##name(p.a, p.b, p.c, rest...);                                                      \
    }
#define MIA__PACKED_5(name)                                                                                  \
    template <class A, class B, class C, class D, class E, class... R>                                       \
    inline auto mia__cxx5_##name(mia__pack5<A, B, C, D, E> p, R... rest)                                     \
        ->decltype(mia__cxx_##name(p.a, p.b, p.c, p.d, p.e, rest...)) {                                      \
        return mia__cxx_##name(p.a, p.b, p.c, p.d, p.e, rest...);                                            \
    }
/* Two tensors, or a tensor and a number. */
#define MIA__PACKED_PAIR(name)                                                                               \
    template <class A, class B>                                                                              \
    inline auto mia__cxx2_##name(mia__pack2<A, B> p, const char *file, int line) {                           \
        if constexpr (std::is_arithmetic<A>::value)                                                          \
            return mia__cxx_##name##_of_number((double)p.a, p.b, file, line);                                \
        else if constexpr (std::is_arithmetic<B>::value)                                                     \
            return mia__cxx_##name##_number(p.a, (double)p.b, file, line);                                   \
        else                                                                                                 \
            return mia__cxx_##name(p.a, p.b, file, line);                                                    \
    }
#define MIA__PACKED_UNARY(name)
#define MIA__PACKED_TWO_MODES(name)
#define MIA__PACKED_MODE(name)
#define MIA__PACKED_ROLL(name)
#define MIA__PACKED_TRIANGLE(name)
#define MIA__PACKED_REAL(name)
#define MIA__PACKED_RANGE(name)
#define MIA__PACKED_ARG_MODES(name)
#define MIA__PACKED_SCAN(name)
#define MIA__PACKED_SORT(name)
#define MIA__PACKED_ARG_SORT(name)
#define MIA__PACKED_TOP_K(name)
#define MIA__PACKED_ARG_TOP_K(name)
#define MIA__PACKED_POOL(name)
#define MIA__PACKED_ARANGE(name)
#define MIA__PACKED_RANDOM(name)
#define MIA__PACKED_SHAPE(name)
#define MIA__PACKED_DTYPE(name)
#define MIA__PACKED_SLICE(name)
#define MIA__PACKED_PAD(name)
#define MIA__PACKED_MODES(name)
#define MIA__PACKED_EMBEDDING(name)
#define MIA__PACKED_MATMUL(name)
#define MIA__PACKED_BINARY(name)     MIA__PACKED_PAIR(name)
#define MIA__PACKED_COMPARE(name)    MIA__PACKED_PAIR(name)
#define MIA__PACKED_TAKE(name)       MIA__PACKED_2(name)
#define MIA__PACKED_CONV(name)       MIA__PACKED_2(name)
#define MIA__PACKED_WHERE(name)      MIA__PACKED_3(name)
#define MIA__PACKED_SCATTER(name)    MIA__PACKED_3(name)
#define MIA__PACKED_GROUP_NORM(name) MIA__PACKED_3(name)
#define MIA__PACKED_ATTENTION_MASKED(name)
#define MIA__PACKED_CONCAT(name)    MIA__PACKED_2(name)
#define MIA__PACKED_GATHER(name)    MIA__PACKED_2(name)
#define MIA__PACKED_NORM(name)      MIA__PACKED_2(name)
#define MIA__PACKED_UPDATE(name)    MIA__PACKED_3(name)
#define MIA__PACKED_NORM_BIAS(name) MIA__PACKED_3(name)
#define MIA__PACKED_ROPE(name)      MIA__PACKED_3(name)
#define MIA__PACKED_ATTENTION(name)
#define MIA_OP(name, tag, signature, class, types, type_rule, shape_rule, bound, doc)                        \
    MIA__PACKED_##signature(name)
#include <mia/ops.def>
#undef MIA_OP

/* Weights of any type of the set WEIGHT, typed or not; keys and values of REAL. */
#define MIA__CXX_ONE_OF(type, name)                                                                          \
    static inline mia_tensor mia__cxx_##name(mia_tensor_##type x) {                                          \
        return x.untyped;                                                                                    \
    }
MIA_TYPES_WEIGHT(MIA__CXX_ONE_OF, weight)
static inline mia_tensor mia__cxx_weight(mia_tensor x) {
    return x;
}
MIA_TYPES_REAL(MIA__CXX_ONE_OF, real)

template <class W, class X> inline auto mia__cxx2_matmul(mia__pack2<W, X> p, const char *file, int line) {
    return mia__cxx_matmul(mia__cxx_weight(p.a), p.b, file, line);
}
template <class Q, class K, class V, class L>
inline auto mia__cxx4_attention(mia__pack4<Q, K, V, L> p, double scale, const char *file, int line) {
    return mia__cxx_attention(p.a, mia__cxx_real(p.b), mia__cxx_real(p.c), p.d, scale, file, line);
}
template <class Q, class K, class V, class M, class L>
inline auto mia__cxx5_attention_masked(mia__pack5<Q, K, V, M, L> p, double scale, const char *file,
                                       int line) {
    return mia__cxx_attention_masked(p.a, mia__cxx_real(p.b), mia__cxx_real(p.c), p.d, p.e, scale, file,
                                     line);
}
template <class T, class I> inline auto mia__cxx2_embedding(mia__pack2<T, I> p, const char *file, int line) {
    return mia__embedding(mia__cxx_weight(p.a), p.b, file, line);
}
#define MIA_UNTYPED(x)               mia__cxx_untyped(x)
#define MIA__CALL_WEIGHT(name, w, x) mia__cxx2_##name(mia__pack2{(w), (x)}, MIA__SITE)
#define MIA__CALL_ATTENTION(q, k, v, length, scale)                                                          \
    mia__cxx4_attention(mia__pack4{(q), (k), (v), (length)}, scale, MIA__SITE)
#define MIA__CALL_ATTENTION_MASKED(q, k, v, mask, length, scale)                                             \
    mia__cxx5_attention_masked(mia__pack5{(q), (k), (v), (mask), (length)}, scale, MIA__SITE)
#define MIA__CALL_EMBEDDING(table, indices) mia__cxx2_embedding(mia__pack2{(table), (indices)}, MIA__SITE)

#else

struct mia__no_type;
#define MIA__PICK(type, name)       mia_tensor_##type : mia__##type##_##name,
#define MIA__SELECT(name, types, x) _Generic(x, MIA_TYPES_##types(MIA__PICK, name) struct mia__no_type * : 0)
#define MIA__SELECT_ANY(name, x)    _Generic(x, MIA_TYPES_ALL(MIA__PICK, name) mia_tensor : mia__any_##name)

#define MIA__CALL1(name, types, x, ...)     MIA__CALL1_(name, types, x, __COUNTER__, __VA_ARGS__)
#define MIA__CALL1_(name, types, x, n, ...) MIA__CALL1__(name, types, x, n, __VA_ARGS__)
#define MIA__CALL1__(name, types, x, n, ...)                                                                 \
    __extension__({                                                                                          \
        __auto_type mia__x##n = (x);                                                                         \
        MIA__SELECT(name, types, mia__x##n)(mia__x##n, __VA_ARGS__);                                         \
    })
#define MIA__CALL2(name, types, x, y, ...)     MIA__CALL2_(name, types, x, y, __COUNTER__, __VA_ARGS__)
#define MIA__CALL2_(name, types, x, y, n, ...) MIA__CALL2__(name, types, x, y, n, __VA_ARGS__)
#define MIA__CALL2__(name, types, x, y, n, ...)                                                              \
    __extension__({                                                                                          \
        __auto_type mia__x##n = (x);                                                                         \
        __auto_type mia__y##n = (y);                                                                         \
        MIA__SELECT(name, types, mia__x##n)(mia__x##n, mia__y##n, __VA_ARGS__);                              \
    })
#define MIA__CALL3(name, types, x, y, z, ...)     MIA__CALL3_(name, types, x, y, z, __COUNTER__, __VA_ARGS__)
#define MIA__CALL3_(name, types, x, y, z, n, ...) MIA__CALL3__(name, types, x, y, z, n, __VA_ARGS__)
#define MIA__CALL3__(name, types, x, y, z, n, ...)                                                           \
    __extension__({                                                                                          \
        __auto_type mia__x##n = (x);                                                                         \
        __auto_type mia__y##n = (y);                                                                         \
        __auto_type mia__z##n = (z);                                                                         \
        MIA__SELECT(name, types, mia__x##n)(mia__x##n, mia__y##n, mia__z##n, __VA_ARGS__);                   \
    })
/* Two tensors, or a tensor and a number. */
#define MIA__NUMBERS(X)                                                                                      \
    float : X,                                                                                               \
            double : X,                                                                                      \
                     char : X,                                                                               \
                            signed char : X,                                                                 \
                                          unsigned char : X,                                                 \
                                                          short : X,                                         \
                                                                  unsigned short : X,                        \
                                                                                   int : X,                  \
                                                                                         unsigned : X,       \
                                                                                                    long     \
        : X,                                                                                                 \
          unsigned long : X,                                                                                 \
                          long long : X,                                                                     \
                                      unsigned long long : X,                                                \
                                                           _Bool : X,
/* Branches that are not taken are checked too: to them a number is of no type. */
#define MIA__TENSOR(x)                        _Generic(x, MIA__NUMBERS((struct mia__no_type *)0) default : x)
#define MIA__CALL_PAIR(name, types, x, y)     MIA__CALL_PAIR_(name, types, x, y, __COUNTER__)
#define MIA__CALL_PAIR_(name, types, x, y, n) MIA__CALL_PAIR__(name, types, x, y, n)
#define MIA__CALL_PAIR__(name, types, x, y, n)                                                               \
    __extension__({                                                                                          \
        __auto_type mia__x##n = (x);                                                                         \
        __auto_type mia__y##n = (y);                                                                         \
        _Generic(                                                                                            \
            mia__x##n, MIA__NUMBERS(MIA__SELECT(name##_of_number, types, MIA__TENSOR(mia__y##n))) default    \
            : _Generic(                                                                                      \
                mia__y##n, MIA__NUMBERS(MIA__SELECT(name##_number, types, MIA__TENSOR(mia__x##n))) default   \
                : MIA__SELECT(name, types, MIA__TENSOR(mia__x##n))))(mia__x##n, mia__y##n, MIA__SITE);       \
    })
/* Chosen by the type of the second operand. */
#define MIA__CALL_CHOICE(name, types, c, x, y)     MIA__CALL_CHOICE_(name, types, c, x, y, __COUNTER__)
#define MIA__CALL_CHOICE_(name, types, c, x, y, n) MIA__CALL_CHOICE__(name, types, c, x, y, n)
#define MIA__CALL_CHOICE__(name, types, c, x, y, n)                                                          \
    __extension__({                                                                                          \
        __auto_type mia__z##n = (c);                                                                         \
        __auto_type mia__x##n = (x);                                                                         \
        __auto_type mia__y##n = (y);                                                                         \
        MIA__SELECT(name, types, mia__x##n)(mia__z##n, mia__x##n, mia__y##n, MIA__SITE);                     \
    })
/* A handle of any type as the untyped one. */
#define MIA_UNTYPED(x)     MIA__UNTYPED(x, __COUNTER__)
#define MIA__UNTYPED(x, n) MIA__UNTYPED_(x, n)
#define MIA__UNTYPED_(x, n)                                                                                  \
    __extension__({                                                                                          \
        __auto_type mia__x##n = (x);                                                                         \
        MIA__SELECT_ANY(untyped, mia__x##n)(mia__x##n);                                                      \
    })
#define MIA__CALL_WEIGHT(name, w, x)     MIA__CALL_WEIGHT_(name, w, x, __COUNTER__)
#define MIA__CALL_WEIGHT_(name, w, x, n) MIA__CALL_WEIGHT__(name, w, x, n)
#define MIA__CALL_WEIGHT__(name, w, x, n)                                                                    \
    __extension__({                                                                                          \
        __auto_type mia__w##n = (w);                                                                         \
        __auto_type mia__x##n = (x);                                                                         \
        MIA__SELECT(name, REAL, mia__x##n)                                                                   \
        (_Generic(mia__w##n, MIA_TYPES_WEIGHT(MIA__PICK, untyped) mia_tensor                                 \
                  : mia__any_untyped)(mia__w##n),                                                            \
         mia__x##n, MIA__SITE);                                                                              \
    })
#define MIA__CALL_EMBEDDING(table, indices)     MIA__CALL_EMBEDDING_(table, indices, __COUNTER__)
#define MIA__CALL_EMBEDDING_(table, indices, n) MIA__CALL_EMBEDDING__(table, indices, n)
#define MIA__CALL_EMBEDDING__(table, indices, n)                                                             \
    __extension__({                                                                                          \
        __auto_type mia__w##n = (table);                                                                     \
        mia_tensor_i32 mia__x##n = (indices);                                                                \
        mia__embedding(_Generic(mia__w##n, MIA_TYPES_WEIGHT(MIA__PICK, untyped) mia_tensor                   \
                                : mia__any_untyped)(mia__w##n),                                              \
                       mia__x##n, MIA__SITE);                                                                \
    })
#define MIA__CALL_ATTENTION(q, k, v, length, scale)     MIA__CALL_ATTENTION_(q, k, v, length, scale, __COUNTER__)
#define MIA__CALL_ATTENTION_(q, k, v, length, scale, n) MIA__CALL_ATTENTION__(q, k, v, length, scale, n)
#define MIA__CALL_ATTENTION__(q, k, v, length, scale, n)                                                     \
    __extension__({                                                                                          \
        __auto_type mia__x##n = (q);                                                                         \
        __auto_type mia__y##n = (k);                                                                         \
        __auto_type mia__z##n = (v);                                                                         \
        __auto_type mia__w##n = (length);                                                                    \
        MIA__SELECT(attention, REAL, mia__x##n)                                                              \
        (mia__x##n, MIA__SELECT(untyped, REAL, mia__y##n)(mia__y##n),                                        \
         MIA__SELECT(untyped, REAL, mia__z##n)(mia__z##n), mia__w##n, scale, MIA__SITE);                     \
    })
#define MIA__CALL_ATTENTION_MASKED(q, k, v, mask, length, scale)                                             \
    MIA__CALL_ATTENTION_MASKED_(q, k, v, mask, length, scale, __COUNTER__)
#define MIA__CALL_ATTENTION_MASKED_(q, k, v, mask, length, scale, n)                                         \
    MIA__CALL_ATTENTION_MASKED__(q, k, v, mask, length, scale, n)
#define MIA__CALL_ATTENTION_MASKED__(q, k, v, mask, length, scale, n)                                        \
    __extension__({                                                                                          \
        __auto_type mia__x##n = (q);                                                                         \
        __auto_type mia__y##n = (k);                                                                         \
        __auto_type mia__z##n = (v);                                                                         \
        __auto_type mia__v##n = (mask);                                                                      \
        __auto_type mia__w##n = (length);                                                                    \
        MIA__SELECT(attention_masked, REAL, mia__x##n)                                                       \
        (mia__x##n, MIA__SELECT(untyped, REAL, mia__y##n)(mia__y##n),                                        \
         MIA__SELECT(untyped, REAL, mia__z##n)(mia__z##n), mia__v##n, mia__w##n, scale, MIA__SITE);          \
    })

#endif

#define MIA_UNARY(name, types, x)     MIA__CALL1(name, types, x, MIA__SITE)
#define MIA_BINARY(name, types, a, b) MIA__CALL_PAIR(name, types, a, b)

/* --- operations: a line each row of ops.def --------------------------------------------------- */

/* Views: no work, no copies (a reshape whose strides do not allow it copies). */
#define mia_reshape(x, shape) MIA__CALL1(reshape, ALL, x, shape, MIA__SITE)
#define mia_permute(x, order)                                                                                \
    MIA__CALL1(permute, ALL, x, order, MIA__SITE) /* mode i of the result is order[i] of x */
#define mia_broadcast(x, shape) MIA__CALL1(broadcast, ALL, x, shape, MIA__SITE)
/* Elements begin, begin + step, ... of one mode, `count` of them. */
#define mia_slice(x, mode, begin, count, step) MIA__CALL1(slice, ALL, x, mode, begin, count, step, MIA__SITE)
#define mia_cast(type, x)                      mia__cast_to_##type(MIA_UNTYPED(x), MIA__SITE)

#define mia_transpose(x, mode, other) MIA__CALL1(transpose, ALL, x, mode, other, MIA__SITE)
#define mia_squeeze(x, modes)         MIA__CALL1(squeeze, ALL, x, modes, MIA__SITE) /* a set of modes */
#define mia_unsqueeze(x, mode)        MIA__CALL1(unsqueeze, ALL, x, mode, MIA__SITE)

#define mia_copy(x)            MIA_UNARY(copy, ALL, x)
#define mia_convert(type, x)   mia__convert_to_##type(MIA_UNTYPED(x), MIA__SITE)
#define mia_concat(a, b, mode) MIA__CALL2(concat, ALL, a, b, (uint32_t)(mode), MIA__SITE)
/* style: mia_pad_style; value: for MIA_PAD_CONSTANT. */
#define mia_pad(x, mode, before, after, style, value)                                                        \
    MIA__CALL1(pad, PLAIN, x, mode, before, after, style, value, MIA__SITE)
#define mia_gather(table, indices)    MIA__CALL2(gather, ALL, table, indices, MIA__SITE)
#define mia_embedding(table, indices) MIA__CALL_EMBEDDING(table, indices)
/* Along mode 0 of a block type the part goes to the block that `start` lies in. */
#define mia_update(x, part, start, mode) MIA__CALL3(update, ALL, x, part, start, (uint32_t)(mode), MIA__SITE)
#define mia_take(x, indices, mode)       MIA__CALL2(take, PLAIN, x, indices, (uint32_t)(mode), MIA__SITE)
#define mia_take_along(x, indices, mode)                                                                     \
    MIA__CALL2(take_along, SINGLE, x, indices, (uint32_t)(mode), MIA__SITE)
/* style: mia_scatter_style. In place when x is unshared. */
#define mia_scatter(x, indices, part, mode, style)                                                           \
    MIA__CALL3(scatter, SINGLE, x, indices, part, (uint32_t)(mode), style, MIA__SITE)
#define mia_scatter_along(x, indices, part, mode, style)                                                     \
    MIA__CALL3(scatter_along, SINGLE, x, indices, part, (uint32_t)(mode), style, MIA__SITE)
#define mia_roll(x, mode, shift) MIA__CALL1(roll, PLAIN, x, mode, shift, MIA__SITE)
#define mia_tril(x, diagonal)    MIA__CALL1(tril, SINGLE, x, diagonal, MIA__SITE)
#define mia_triu(x, diagonal)    MIA__CALL1(triu, SINGLE, x, diagonal, MIA__SITE)

/* Either operand may be a number of C: mia_mul(x, 0.5), mia_sub(1, x). */

#define mia_add(a, b)              MIA_BINARY(add, NUMBER, a, b)
#define mia_sub(a, b)              MIA_BINARY(sub, NUMBER, a, b)
#define mia_mul(a, b)              MIA_BINARY(mul, NUMBER, a, b)
#define mia_div(a, b)              MIA_BINARY(div, NUMBER, a, b)
#define mia_min(a, b)              MIA_BINARY(min, NUMBER, a, b)
#define mia_max(a, b)              MIA_BINARY(max, NUMBER, a, b)
#define mia_pow(a, b)              MIA_BINARY(pow, NUMBER, a, b)
#define mia_mod(a, b)              MIA_BINARY(mod, NUMBER, a, b)
#define mia_fmod(a, b)             MIA_BINARY(fmod, NUMBER, a, b)
#define mia_equal(a, b)            MIA_BINARY(equal, SINGLE, a, b)
#define mia_not_equal(a, b)        MIA_BINARY(not_equal, SINGLE, a, b)
#define mia_less(a, b)             MIA_BINARY(less, SCALAR, a, b)
#define mia_less_equal(a, b)       MIA_BINARY(less_equal, SCALAR, a, b)
#define mia_greater(a, b)          MIA_BINARY(greater, SCALAR, a, b)
#define mia_greater_equal(a, b)    MIA_BINARY(greater_equal, SCALAR, a, b)
#define mia_logical_and(a, b)      MIA_BINARY(logical_and, BOOL, a, b)
#define mia_logical_or(a, b)       MIA_BINARY(logical_or, BOOL, a, b)
#define mia_logical_xor(a, b)      MIA_BINARY(logical_xor, BOOL, a, b)
#define mia_where(condition, a, b) MIA__CALL_CHOICE(where, SINGLE, condition, a, b)

#define mia_neg(x)               MIA_UNARY(neg, NUMBER, x)
#define mia_abs(x)               MIA_UNARY(abs, NUMBER, x)
#define mia_square(x)            MIA_UNARY(square, NUMBER, x)
#define mia_relu(x)              MIA_UNARY(relu, NUMBER, x)
#define mia_sqrt(x)              MIA_UNARY(sqrt, FLOAT, x)
#define mia_rsqrt(x)             MIA_UNARY(rsqrt, FLOAT, x)
#define mia_reciprocal(x)        MIA_UNARY(reciprocal, FLOAT, x)
#define mia_exp(x)               MIA_UNARY(exp, FLOAT, x)
#define mia_log(x)               MIA_UNARY(log, FLOAT, x)
#define mia_tanh(x)              MIA_UNARY(tanh, FLOAT, x)
#define mia_sigmoid(x)           MIA_UNARY(sigmoid, FLOAT, x)
#define mia_silu(x)              MIA_UNARY(silu, FLOAT, x)
#define mia_gelu(x)              MIA_UNARY(gelu, FLOAT, x)
#define mia_gelu_tanh(x)         MIA_UNARY(gelu_tanh, FLOAT, x)
#define mia_sign(x)              MIA_UNARY(sign, NUMBER, x)
#define mia_sin(x)               MIA_UNARY(sin, FLOAT, x)
#define mia_cos(x)               MIA_UNARY(cos, FLOAT, x)
#define mia_erf(x)               MIA_UNARY(erf, FLOAT, x)
#define mia_floor(x)             MIA_UNARY(floor, FLOAT, x)
#define mia_ceil(x)              MIA_UNARY(ceil, FLOAT, x)
#define mia_round(x)             MIA_UNARY(round, FLOAT, x)
#define mia_softplus(x)          MIA_UNARY(softplus, FLOAT, x)
#define mia_hardswish(x)         MIA_UNARY(hardswish, FLOAT, x)
#define mia_squared_relu(x)      MIA_UNARY(squared_relu, NUMBER, x)
#define mia_logical_not(x)       MIA_UNARY(logical_not, BOOL, x)
#define mia_leaky_relu(x, slope) MIA__CALL1(leaky_relu, FLOAT, x, slope, MIA__SITE)
#define mia_elu(x, alpha)        MIA__CALL1(elu, FLOAT, x, alpha, MIA__SITE)
#define mia_clamp(x, low, high)  MIA__CALL1(clamp, NUMBER, x, low, high, MIA__SITE)

/* modes: a set, MIA_MODE(0) | MIA_MODE(2); modes that the tensor does not have are ignored. */
#define mia_sum(x, modes)        MIA__CALL1(sum, SCALAR, x, modes, MIA__SITE)
#define mia_mean(x, modes)       MIA__CALL1(mean, REAL, x, modes, MIA__SITE)
#define mia_reduce_max(x, modes) MIA__CALL1(reduce_max, SCALAR, x, modes, MIA__SITE)
#define mia_reduce_min(x, modes) MIA__CALL1(reduce_min, SCALAR, x, modes, MIA__SITE)
#define mia_prod(x, modes)       MIA__CALL1(prod, SCALAR, x, modes, MIA__SITE)
#define mia_any(x, modes)        MIA__CALL1(any, BOOL, x, modes, MIA__SITE)
#define mia_all(x, modes)        MIA__CALL1(all, BOOL, x, modes, MIA__SITE)
#define mia_argmax(x, modes)     MIA__CALL1(argmax, SCALAR, x, modes, MIA__SITE)
#define mia_argmin(x, modes)     MIA__CALL1(argmin, SCALAR, x, modes, MIA__SITE)

/* Along one mode. */
#define mia_cumsum(x, mode, exclusive, reverse)                                                              \
    MIA__CALL1(cumsum, SCALAR, x, mode, exclusive, reverse, MIA__SITE)
#define mia_sort(x, mode, descending)    MIA__CALL1(sort, SCALAR, x, mode, descending, MIA__SITE)
#define mia_argsort(x, mode, descending) MIA__CALL1(argsort, SCALAR, x, mode, descending, MIA__SITE)
#define mia_top_k(x, mode, k, greatest)  MIA__CALL1(top_k, SCALAR, x, mode, k, greatest, MIA__SITE)
#define mia_top_k_indices(x, mode, k, greatest)                                                              \
    MIA__CALL1(top_k_indices, SCALAR, x, mode, k, greatest, MIA__SITE)

#define mia_softmax(x)                   MIA_UNARY(softmax, REAL, x)
#define mia_rms_norm(x, weight, epsilon) MIA__CALL2(rms_norm, REAL, x, weight, epsilon, MIA__SITE)
#define mia_layer_norm(x, weight, bias, epsilon)                                                             \
    MIA__CALL3(layer_norm, REAL, x, weight, bias, epsilon, MIA__SITE)
#define mia_rope(x, positions, frequencies, style, magnitude)                                                \
    MIA__CALL3(rope, REAL, x, positions, frequencies, style, magnitude, MIA__SITE)
/* A query that sees no key gives zeros; with a mask so does one whose every score is -infinity. A mask of -infinity
 * hides a key whatever it holds, but its values still enter times 0: they are to be finite. */
#define mia_attention(q, k, v, length, scale) MIA__CALL_ATTENTION(q, k, v, length, scale)
#define mia_attention_masked(q, k, v, mask, length, scale)                                                   \
    MIA__CALL_ATTENTION_MASKED(q, k, v, mask, length, scale)
#define mia_log_softmax(x)      MIA_UNARY(log_softmax, REAL, x)
#define mia_l2_norm(x, epsilon) MIA__CALL1(l2_norm, REAL, x, epsilon, MIA__SITE)
/* mode: that of the channels. */
#define mia_group_norm(x, weight, bias, mode, groups, epsilon)                                               \
    MIA__CALL3(group_norm, REAL, x, weight, bias, (uint32_t)(mode), groups, epsilon, MIA__SITE)

/* w: weights of any type of the set WEIGHT, typed or not; the result has x's type. */
#define mia_matmul(w, x) MIA__CALL_WEIGHT(matmul, w, x)

/* window: a mia_window, (mia_window){.stride = {2, 2}}. */
#define mia_conv1d(x, w, window)    MIA__CALL2(conv1d, REAL, x, w, window, MIA__SITE)
#define mia_conv2d(x, w, window)    MIA__CALL2(conv2d, REAL, x, w, window, MIA__SITE)
#define mia_max_pool(x, window)     MIA__CALL1(max_pool, REAL, x, window, MIA__SITE)
#define mia_average_pool(x, window) MIA__CALL1(average_pool, REAL, x, window, MIA__SITE)

/* --- handles ---------------------------------------------------------------------------------- */

#ifdef __cplusplus
#define mia_ref(x)   mia__cxx_ref((x), MIA__SITE)
#define mia_unref(x) mia__cxx_unref((x), MIA__SITE)
#else
#define mia_ref(x)              MIA__HANDLE(ref, x, __COUNTER__)
#define mia_unref(x)            MIA__HANDLE(unref, x, __COUNTER__)
#define MIA__HANDLE(name, x, n) MIA__HANDLE_(name, x, n)
#define MIA__HANDLE_(name, x, n)                                                                             \
    __extension__({                                                                                          \
        __auto_type mia__x##n = (x);                                                                         \
        MIA__SELECT_ANY(name, mia__x##n)(mia__x##n, MIA__SITE);                                              \
    })
#endif

/* mia_as(f32, t): an untyped handle as a typed one, checked at run time. */
#define mia_as(type, t) mia__as_##type((t), MIA__SITE)

#ifdef __cplusplus
extern "C" {
#endif

/* What a handle, typed (MIA_UNTYPED) or not, refers to; borrows, does not block, any thread. A poisoned or
 * consumed handle has dtype MIA_NONE and a shape of rank 0; mia_tensor_status says why. */
MIA_API mia_dtype mia_tensor_dtype(mia_tensor t);
MIA_API mia_shape mia_tensor_shape(mia_tensor t);
MIA_API mia_status mia_tensor_status(mia_tensor t, mia_error *error);

/* --- making tensors --------------------------------------------------------------------------- */

/* These give an owned handle, or that of a constant, and no status: what goes wrong poisons the handle, and
 * mia_tensor_status or the read tells. INVALID_ARGUMENT (NULL for the device, the data, the weights or the
 * name), SHAPE_MISMATCH (too many modes, a negative extent, a mode 0 that is no multiple of a block, more
 * than any memory), TYPE_MISMATCH (no element type), OVER_LIMIT, NO_MEMORY, and what each of them adds. Any
 * thread; they wait for nothing but the device's lock. */

/* Copies host memory: product of extents numbers of the type's host form (units for packed and block types),
 * compact. The data may go right after the call, which takes as long as the copy. */
MIA_API mia_tensor mia_tensor_upload(mia_device *device, mia_dtype dtype, mia_shape shape, const void *data,
                                     MIA__SITE_ARGS);

/* The same as a constant: never consumed, never overwritten, freed with the device. A poisoned handle is no
 * constant: it is owned, as others are. */
MIA_API mia_tensor mia_tensor_constant(mia_device *device, mia_dtype dtype, mia_shape shape, const void *data,
                                       MIA__SITE_ARGS);

/* `shape` numbers, all `value` (converted to the type; beyond an integer type's range its nearest end). Takes
 * the memory of one number. TYPE_MISMATCH for types that are not scalar. */
MIA_API mia_tensor mia_tensor_full(mia_device *device, mia_dtype dtype, mia_shape shape, double value,
                                   MIA__SITE_ARGS);

/* Host memory used where it is: it stays valid and unchanged until `release` (may be NULL) is called with
 * `user`, which happens once, from whatever thread ends the last use, and within this call where the backend
 * has to copy (cpu: memory that is not aligned to 16 bytes) or the handle is poisoned. It may use Mia, but not wait
 * for work of that device. Owned like what mia_tensor_upload gives, and counted like it; never overwritten. Views of
 * it, and handles of those, are uses; closing the device ends them all. */
MIA_API mia_tensor mia_tensor_borrow(mia_device *device, mia_dtype dtype, mia_shape shape, const void *data,
                                     void (*release)(void *user), void *user, MIA__SITE_ARGS);

/* [count]: start, start + step, ... of a scalar type. */
MIA_API mia_tensor mia_tensor_arange(mia_device *device, mia_dtype dtype, double start, double step,
                                     int64_t count, MIA__SITE_ARGS);

/* Random numbers of f32, f16, bf16 or f64: uniform in [0, 1), or normal. The seed decides them, whatever the
 * backend; the operations random_uniform and random_normal take the seed as a tensor. */
MIA_API mia_tensor mia_tensor_random_uniform(mia_device *device, mia_dtype dtype, mia_shape shape,
                                             uint64_t seed, MIA__SITE_ARGS);
MIA_API mia_tensor mia_tensor_random_normal(mia_device *device, mia_dtype dtype, mia_shape shape,
                                            uint64_t seed, MIA__SITE_ARGS);

/* The named tensor of a weights file, as a constant of the device. Its numbers are read when a run needs
 * them, so that reading may fail with IO then. The handle is good until the weights or the device are closed.
 * The same name gives the same constant. NOT_FOUND for a name that the file does not have, UNSUPPORTED for a
 * type that Mia does not compute with. */
MIA_API mia_tensor mia_tensor_of_weights(mia_device *device, mia_weights *weights, const char *name,
                                         MIA__SITE_ARGS);

/* --- several tensors at once ------------------------------------------------------------------ */

/* These give every handle of the list away, and take time by the number of elements: joined along a mode, or along a
 * new one (the shapes are equal then; the mode may be the rank). They fail as concat and unsqueeze do, and with
 * INVALID_ARGUMENT for a list of none. Any thread; they do not block. */
MIA_API mia_tensor mia_tensor_concat(const mia_tensor *list, size_t count, uint32_t mode, MIA__SITE_ARGS);
MIA_API mia_tensor mia_tensor_stack(const mia_tensor *list, size_t count, uint32_t mode, MIA__SITE_ARGS);

/* Views of x, which is given away: parts[i] are the next sizes[i] places of the mode. Where the sizes do not add up
 * to what it has, every part is poisoned with SHAPE_MISMATCH. Any thread; does not block. */
MIA_API void mia_tensor_split(mia_tensor x, uint32_t mode, const int64_t *sizes, size_t count,
                              mia_tensor *parts, MIA__SITE_ARGS);

/* --- asking for values ------------------------------------------------------------------------ */

/* Runs what the values need and has not run yet, as one plan; borrows. Blocks. Fails with the first cause of
 * a poisoned value, OVER_LIMIT or NO_MEMORY before the work starts, IO while weights are read. */
MIA_API MIA_MUST_CHECK mia_status mia_tensor_eval(const mia_tensor *list, size_t count, mia_error *error);

/* The same, completing later; the handles may be given away right after the call. */
MIA_API mia_ticket *mia_tensor_eval_begin(const mia_tensor *list, size_t count);

/* Runs what t needs and copies its elements, compact, into `bytes` bytes of host memory; consumes t.
 * Blocks. Fails as mia_tensor_eval does, and with INVALID_ARGUMENT when bytes is not what it has. */
MIA_API MIA_MUST_CHECK mia_status mia_tensor_read(mia_tensor t, void *out, size_t bytes, mia_error *error,
                                                  MIA__SITE_ARGS);

/* The same, completing later; t is given away at once, `out` must stay valid until the work has completed. */
MIA_API mia_ticket *mia_tensor_read_begin(mia_tensor t, void *out, size_t bytes, MIA__SITE_ARGS);

#ifdef __cplusplus
}
#endif

/* mia_upload(f32, device, MIA_SHAPE(3, 2), data), mia_constant, mia_full, mia_scalar: typed handles; data is
 * checked to be a pointer to the type's host form. */
#define MIA_DTYPE(name, tag, kind, elements, bytes, host, ggml)                                              \
    static inline mia_tensor_##name mia__upload_##name(mia_device *device, mia_shape shape,                  \
                                                       const host *data, MIA__SITE_ARGS) {                   \
        mia_tensor_##name result;                                                                            \
        result.untyped = mia_tensor_upload(device, MIA_##name, shape, data, file, line);                     \
        return result;                                                                                       \
    }                                                                                                        \
    static inline mia_tensor_##name mia__constant_##name(mia_device *device, mia_shape shape,                \
                                                         const host *data, MIA__SITE_ARGS) {                 \
        mia_tensor_##name result;                                                                            \
        result.untyped = mia_tensor_constant(device, MIA_##name, shape, data, file, line);                   \
        return result;                                                                                       \
    }                                                                                                        \
    static inline mia_tensor_##name mia__borrow_##name(mia_device *device, mia_shape shape,                  \
                                                       const host *data, void (*release)(void *),            \
                                                       void *user, MIA__SITE_ARGS) {                         \
        mia_tensor_##name result;                                                                            \
        result.untyped = mia_tensor_borrow(device, MIA_##name, shape, data, release, user, file, line);      \
        return result;                                                                                       \
    }                                                                                                        \
    static inline mia_tensor_##name mia__full_##name(mia_device *device, mia_shape shape, double value,      \
                                                     MIA__SITE_ARGS) {                                       \
        mia_tensor_##name result;                                                                            \
        result.untyped = mia_tensor_full(device, MIA_##name, shape, value, file, line);                      \
        return result;                                                                                       \
    }                                                                                                        \
    static inline MIA_MUST_CHECK mia_status mia__read_##name(mia_tensor_##name t, host *out, size_t count,   \
                                                             mia_error *error, MIA__SITE_ARGS) {             \
        size_t size = count > SIZE_MAX / sizeof(host) ? SIZE_MAX : count * sizeof(host);                     \
        return mia_tensor_read(t.untyped, out, size, error, file, line);                                     \
    }
#include <mia/dtype.def>
#undef MIA_DTYPE

#define MIA__MADE(type, unused)                                                                              \
    static inline mia_tensor_##type mia__arange_##type(mia_device *device, double start, double step,        \
                                                       int64_t count, MIA__SITE_ARGS) {                      \
        mia_tensor_##type result;                                                                            \
        result.untyped = mia_tensor_arange(device, MIA_##type, start, step, count, file, line);              \
        return result;                                                                                       \
    }
MIA_TYPES_SCALAR(MIA__MADE, 0)
#undef MIA__MADE
#define MIA__MADE(type, name)                                                                                \
    static inline mia_tensor_##type mia__##name##_##type(mia_device *device, mia_shape shape, uint64_t seed, \
                                                         MIA__SITE_ARGS) {                                   \
        mia_tensor_##type result;                                                                            \
        result.untyped = mia_tensor_##name(device, MIA_##type, shape, seed, file, line);                     \
        return result;                                                                                       \
    }
MIA_TYPES_REAL(MIA__MADE, random_uniform)
MIA_TYPES_REAL(MIA__MADE, random_normal)
#undef MIA__MADE

#define mia_arange(type, device, start, step, count) mia__arange_##type(device, start, step, count, MIA__SITE)
#define mia_random_uniform(type, device, shape, seed)                                                        \
    mia__random_uniform_##type(device, shape, seed, MIA__SITE)
#define mia_random_normal(type, device, shape, seed) mia__random_normal_##type(device, shape, seed, MIA__SITE)
#define mia_borrow(type, device, shape, data, release, user)                                                 \
    mia__borrow_##type(device, shape, data, release, user, MIA__SITE)
#define mia_zeros(type, device, shape) mia__full_##type(device, shape, 0, MIA__SITE)

#define mia_upload(type, device, shape, data)   mia__upload_##type(device, shape, data, MIA__SITE)
#define mia_constant(type, device, shape, data) mia__constant_##type(device, shape, data, MIA__SITE)
#define mia_full(type, device, shape, value)    mia__full_##type(device, shape, value, MIA__SITE)
#define mia_scalar(type, device, value)         mia__full_##type(device, MIA_SCALAR, value, MIA__SITE)

/* mia_read(t, float *out, count, error): count host elements (numbers; 4 a unit for f32x4, bytes for block
 * types). */
#ifdef __cplusplus
#define MIA_DTYPE(name, tag, kind, elements, bytes, host, ggml)                                              \
    static inline MIA_MUST_CHECK mia_status mia__cxx_read(mia_tensor_##name t, host *out, size_t count,      \
                                                          mia_error *error, const char *file, int line) {    \
        return mia__read_##name(t, out, count, error, file, line);                                           \
    }
#include <mia/dtype.def>
#undef MIA_DTYPE
#define mia_read(t, out, count, error) mia__cxx_read((t), out, count, error, MIA__SITE)
#else
#define MIA__PICK_READ(type, unused) mia_tensor_##type : mia__read_##type,
#define mia_read(t, out, count, error)                                                                       \
    _Generic((t), MIA_TYPES_ALL(MIA__PICK_READ, 0) struct mia__no_type * : 0)(t, out, count, error, MIA__SITE)
#endif

/* Two tensors of one type and shape along a new mode; parts as an array of x's type. */
#define MIA__MADE(type, unused)                                                                              \
    static inline mia_tensor_##type MIA__FN(type, stack)(mia_tensor_##type a, mia_tensor_##type b,           \
                                                         uint32_t mode, MIA__SITE_ARGS) {                    \
        const mia_tensor list[2] = {a.untyped, b.untyped};                                                   \
        mia_tensor_##type result;                                                                            \
        result.untyped = mia_tensor_stack(list, 2, mode, file, line);                                        \
        return result;                                                                                       \
    }
MIA_TYPES_ALL(MIA__MADE, 0)
#undef MIA__MADE
#define MIA__MADE(type, unused)                                                                              \
    static inline void MIA__FN(type, split)(mia_tensor_##type x, uint32_t mode, const int64_t *sizes,        \
                                            size_t count, mia_tensor_##type *parts, MIA__SITE_ARGS) {        \
        mia_tensor_split(x.untyped, mode, sizes, count, (mia_tensor *)parts, file, line);                    \
    }
MIA_TYPES_ALL(MIA__MADE, 0)
#undef MIA__MADE
#ifdef __cplusplus
MIA__PACKED_2(stack)
#endif
#define mia_stack(a, b, mode) MIA__CALL2(stack, ALL, a, b, (uint32_t)(mode), MIA__SITE)
#define mia_split(x, mode, sizes, count, parts)                                                              \
    MIA__CALL1(split, ALL, x, mode, sizes, count, parts, MIA__SITE)

/* The named tensor of a weights file. */
#define mia_weights_tensor(device, weights, name) mia_tensor_of_weights(device, weights, name, MIA__SITE)

#endif
