/* Type and shape rules (graph/ops.h): what every rule gives, and each refusal word for word. A case is a
 * line: operation, operands, attributes, and the result as "f32 [3, 2]" or the message. */
#include "graph/ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Operands of a case. */
#define SHAPE_0                                                                                              \
    {                                                                                                        \
        0, {                                                                                                 \
            0                                                                                                \
        }                                                                                                    \
    }
#define OPERAND(type, ndim, ...)                                                                             \
    {                                                                                                        \
        MIA_##type, {                                                                                        \
            ndim, {                                                                                          \
                __VA_ARGS__                                                                                  \
            }                                                                                                \
        }                                                                                                    \
    }
#define NUMBER(type)                                                                                         \
    { MIA_##type, SHAPE_0 }

typedef struct rule_case {
    mia_op op;
    mia__type operands[5];
    mia__attributes attributes;
    const char *want;
} rule_case;

#define I(...)                                                                                               \
    {                                                                                                        \
        .i = { __VA_ARGS__ }                                                                                 \
    }

/* Of a window along modes 0 and 1: sizes (of a pool), strides, dilations, padding before and after, groups. */
#define WINDOW(sizes, strides, dilations, before, after, groups)                                             \
    I(TWO sizes, TWO strides, TWO dilations, TWO before, TWO after, groups)
#define TWO(a, b) a, b
#define ONES      (1, 1)
#define NOTHING   (0, 0)

static const rule_case cases[] = {
    /* SAME */
    {MIA_OP_neg, {OPERAND(i8, 2, 3, 2)}, I(0), "i8 [3, 2]"},
    {MIA_OP_gelu, {OPERAND(f16x4, 2, 3, 0)}, I(0), "f16x4 [3, 0]"},
    {MIA_OP_copy, {OPERAND(q4_K, 2, 256, 3)}, I(0), "q4_K [256, 3]"},
    {MIA_OP_softmax, {NUMBER(bf16)}, I(0), "bf16 []"},
    {MIA_OP_gelu, {OPERAND(i32, 1, 3)}, I(0), "gelu does not take i32"},
    {MIA_OP_softmax, {OPERAND(f32x4, 1, 3)}, I(0), "softmax does not take f32x4"},
    {MIA_OP_neg, {OPERAND(bool8, 1, 3)}, I(0), "neg does not take bool8"},
    {MIA_OP_neg, {OPERAND(q8_0, 1, 32)}, I(0), "neg does not take q8_0"},
    {MIA_OP_neg, {{MIA_NONE, {1, {3}}}}, I(0), "neg does not take none"},

    /* BROADCAST */
    {MIA_OP_add, {OPERAND(f32, 2, 3, 2), OPERAND(f32, 2, 3, 2)}, I(0), "f32 [3, 2]"},
    {MIA_OP_add, {OPERAND(f32, 1, 3), OPERAND(f32, 3, 1, 2, 4)}, I(0), "f32 [3, 2, 4]"},
    {MIA_OP_add, {NUMBER(u8), OPERAND(u8, 2, 5, 0)}, I(0), "u8 [5, 0]"},
    {MIA_OP_add, {OPERAND(f32, 1, 1), OPERAND(f32, 1, 0)}, I(0), "f32 [0]"},
    {MIA_OP_add,
     {OPERAND(f32, 2, 3, 2), OPERAND(f32, 2, 2, 3)},
     I(0),
     "add: shapes [3, 2] and [2, 3] do not broadcast"},
    {MIA_OP_mul, {OPERAND(f32, 1, 3), OPERAND(f32, 1, 0)}, I(0), "mul: shapes [3] and [0] do not broadcast"},
    {MIA_OP_add, {OPERAND(f32, 1, 3), OPERAND(i32, 1, 3)}, I(0), "add: operand 0 is f32, operand 1 is i32"},
    {MIA_OP_max,
     {OPERAND(f32, 1, 4), OPERAND(f32x4, 1, 1)},
     I(0),
     "max: operand 0 is f32, operand 1 is f32x4"},
    {MIA_OP_add, {OPERAND(q8_0, 1, 32), OPERAND(q8_0, 1, 32)}, I(0), "add does not take q8_0"},
    {MIA_OP_add,
     {OPERAND(u8, 2, INT64_C(1) << 40, 1), OPERAND(u8, 2, 1, INT64_C(1) << 40)},
     I(0),
     "add: shape [1099511627776, 1099511627776] of u8 is larger than any memory"},

    /* ATTRIBUTE */
    {MIA_OP_convert, {OPERAND(f32, 2, 64, 2)}, I(MIA_q8_0), "q8_0 [64, 2]"},
    {MIA_OP_convert, {NUMBER(bool8)}, I(MIA_f64), "f64 []"},
    {MIA_OP_convert,
     {OPERAND(f32, 1, 33)},
     I(MIA_q8_0),
     "convert: mode 0 of shape [33] is not a multiple of q8_0's block of 32"},
    {MIA_OP_convert, {NUMBER(f32)}, I(MIA_q4_0), "convert: a single number cannot be q4_0"},
    {MIA_OP_convert, {OPERAND(f32x4, 2, 3, 2)}, I(MIA_u8x4), "u8x4 [3, 2]"},
    {MIA_OP_convert,
     {OPERAND(f32, 1, 4)},
     I(MIA_f32x4),
     "convert: the numbers inside f32 and f32x4 do not correspond"},
    {MIA_OP_convert,
     {OPERAND(u4x8, 1, 4)},
     I(MIA_u32),
     "convert: the numbers inside u4x8 and u32 do not correspond"},
    {MIA_OP_convert, {OPERAND(f32, 1, 3)}, I(0), "convert: 0 is no element type"},
    {MIA_OP_convert, {OPERAND(f32, 1, 3)}, I(63), "convert: 63 is no element type"},
    {MIA_OP_convert, {OPERAND(f32, 1, 3)}, I(-5), "convert: -5 is no element type"},
    {MIA_OP_convert, {OPERAND(f32, 1, 3)}, I(1000), "convert: 1000 is no element type"},

    /* CONCAT */
    {MIA_OP_concat, {OPERAND(f32, 2, 3, 2), OPERAND(f32, 2, 3, 5)}, I(1), "f32 [3, 7]"},
    {MIA_OP_concat, {OPERAND(bool8, 1, 0), OPERAND(bool8, 1, 5)}, I(0), "bool8 [5]"},
    {MIA_OP_concat,
     {OPERAND(f32, 2, 3, 2), OPERAND(f32, 2, 3, 2)},
     I(2),
     "concat: shape [3, 2] has no mode 2"},
    {MIA_OP_concat, {NUMBER(f32), NUMBER(f32)}, I(0), "concat: shape [] has no mode 0"},
    {MIA_OP_concat,
     {OPERAND(f32, 1, 3), OPERAND(f32, 1, 3)},
     I(UINT32_MAX),
     "concat: shape [3] has no mode 4294967295"},
    {MIA_OP_concat,
     {OPERAND(f32, 2, 3, 2), OPERAND(f32, 2, 4, 5)},
     I(1),
     "concat: shapes [3, 2] and [4, 5] differ outside the mode to join"},
    {MIA_OP_concat,
     {OPERAND(f32, 2, 3, 2), OPERAND(f32, 1, 3)},
     I(1),
     "concat: shapes [3, 2] and [3] differ outside the mode to join"},
    {MIA_OP_concat,
     {OPERAND(u8, 1, INT64_MAX), OPERAND(u8, 1, 1)},
     I(0),
     "concat: shapes [9223372036854775807] and [1] are too large together"},
    {MIA_OP_concat, {OPERAND(q8_0, 1, 32), OPERAND(q8_0, 1, 32)}, I(0), "concat does not take q8_0"},
    {MIA_OP_concat,
     {OPERAND(f32, 1, 3), OPERAND(f16, 1, 3)},
     I(0),
     "concat: operand 0 is f32, operand 1 is f16"},

    /* PAD */
    {MIA_OP_pad, {OPERAND(u8x4, 2, 3, 2)}, I(1, 2, 1), "u8x4 [3, 5]"},
    {MIA_OP_pad, {OPERAND(f32, 1, 3)}, I(0, 0, 0), "f32 [3]"},
    {MIA_OP_pad, {OPERAND(f32, 1, 3)}, I(1, 0, 0), "pad: shape [3] has no mode 1"},
    {MIA_OP_pad, {OPERAND(f32, 1, 3)}, I(0, -1, 2), "pad: -1 elements before and 2 after cannot be added"},
    {MIA_OP_pad,
     {OPERAND(f32, 1, 3)},
     I(0, 1, INT64_MAX),
     "pad: 1 elements before and 9223372036854775807 after cannot be added"},
    {MIA_OP_pad,
     {OPERAND(f32, 1, 3)},
     I(0, INT64_MAX - 3, 0),
     "pad: shape [9223372036854775807] of f32 is larger than any memory"},

    /* GATHER */
    {MIA_OP_gather, {OPERAND(i8, 2, 5, 9), OPERAND(i32, 2, 3, 4)}, I(0), "i8 [5, 3, 4]"},
    {MIA_OP_gather, {OPERAND(f32, 2, 5, 9), NUMBER(i32)}, I(0), "f32 [5]"},
    {MIA_OP_embedding, {OPERAND(q4_0, 2, 32, 9), OPERAND(i32, 1, 3)}, I(0), "f32 [32, 3]"},
    {MIA_OP_gather,
     {OPERAND(f32, 1, 5), OPERAND(i32, 1, 3)},
     I(0),
     "gather: shapes [5] and [3] do not fit: a table has 2 modes"},
    {MIA_OP_embedding,
     {OPERAND(f32, 3, 5, 2, 2), OPERAND(i32, 1, 3)},
     I(0),
     "embedding: shapes [5, 2, 2] and [3] do not fit: a table has 2 modes"},
    {MIA_OP_gather,
     {OPERAND(f32, 2, 5, 2), OPERAND(i32, 8, 1, 1, 1, 1, 1, 1, 1, 1)},
     I(0),
     "gather: shapes [5, 2] and [1, 1, 1, 1, 1, 1, 1, 1] give too many modes"},
    {MIA_OP_gather,
     {OPERAND(f32, 2, 5, 2), OPERAND(u32, 1, 3)},
     I(0),
     "gather: operand 1 is u32; it takes i32"},
    {MIA_OP_embedding,
     {OPERAND(f32, 2, 5, 2), OPERAND(f32, 1, 3)},
     I(0),
     "embedding: operand 1 is f32; it takes i32"},
    {MIA_OP_embedding, {OPERAND(i32, 2, 5, 2), OPERAND(i32, 1, 3)}, I(0), "embedding does not take i32"},
    {MIA_OP_embedding, {OPERAND(q4_K, 2, 256, 2), OPERAND(i32, 1, 3)}, I(0), "embedding does not take q4_K"},

    /* UPDATE */
    {MIA_OP_update, {OPERAND(f16, 2, 3, 9), OPERAND(f16, 2, 3, 2), NUMBER(i32)}, I(1), "f16 [3, 9]"},
    {MIA_OP_update, {OPERAND(i32, 1, 9), OPERAND(i32, 1, 9), OPERAND(i32, 2, 1, 1)}, I(0), "i32 [9]"},
    {MIA_OP_update,
     {OPERAND(f32, 1, 9), OPERAND(f32, 1, 3), NUMBER(i32)},
     I(1),
     "update: shape [9] has no mode 1"},
    {MIA_OP_update,
     {OPERAND(f32, 1, 3), OPERAND(f32, 1, 4), NUMBER(i32)},
     I(0),
     "update: shapes [3] and [4] do not fit: the second is to be a part of the first"},
    {MIA_OP_update,
     {OPERAND(f32, 2, 3, 9), OPERAND(f32, 2, 2, 2), NUMBER(i32)},
     I(1),
     "update: shapes [3, 9] and [2, 2] do not fit: the second is to be a part of the first"},
    {MIA_OP_update,
     {OPERAND(f32, 1, 3), OPERAND(f32, 1, 2), OPERAND(i32, 1, 2)},
     I(0),
     "update: the start has shape [2]; it has to be a single number"},
    {MIA_OP_update,
     {OPERAND(f32, 1, 3), OPERAND(f32, 1, 2), NUMBER(f32)},
     I(0),
     "update: operand 2 is f32; it takes i32"},
    {MIA_OP_update,
     {OPERAND(f32, 1, 3), OPERAND(f16, 1, 2), NUMBER(i32)},
     I(0),
     "update: operand 0 is f32, operand 1 is f16"},

    /* REDUCE */
    {MIA_OP_sum, {OPERAND(u32, 3, 3, 2, 4)}, I(MIA_MODE(0) | MIA_MODE(2)), "u32 [1, 2, 1]"},
    {MIA_OP_mean, {OPERAND(f32, 2, 0, 2)}, I(MIA_ALL_MODES), "f32 [1, 1]"},
    {MIA_OP_reduce_max, {NUMBER(i8)}, I(MIA_ALL_MODES), "i8 []"},
    {MIA_OP_reduce_max, {OPERAND(i8, 1, 5)}, I(0), "i8 [5]"},
    {MIA_OP_mean, {OPERAND(i32, 1, 3)}, I(1), "mean does not take i32"},
    {MIA_OP_sum, {OPERAND(f32x4, 1, 3)}, I(1), "sum does not take f32x4"},

    /* NORM, NORM_BIAS */
    {MIA_OP_rms_norm, {OPERAND(bf16, 2, 5, 2), OPERAND(bf16, 1, 5)}, I(0), "bf16 [5, 2]"},
    {MIA_OP_layer_norm, {OPERAND(f32, 1, 5), OPERAND(f32, 1, 5), OPERAND(f32, 1, 5)}, I(0), "f32 [5]"},
    {MIA_OP_rms_norm,
     {NUMBER(f32), OPERAND(f32, 1, 1)},
     I(0),
     "rms_norm: shapes [] and [1] do not fit: the weight is [C] for x [C, ...]"},
    {MIA_OP_rms_norm,
     {OPERAND(f32, 2, 5, 2), OPERAND(f32, 1, 2)},
     I(0),
     "rms_norm: shapes [5, 2] and [2] do not fit: the weight is [C] for x [C, ...]"},
    {MIA_OP_layer_norm,
     {OPERAND(f32, 2, 5, 2), OPERAND(f32, 1, 5), OPERAND(f32, 2, 5, 1)},
     I(0),
     "layer_norm: shapes [5, 2] and [5, 1] do not fit: the weight is [C] for x [C, ...]"},
    {MIA_OP_rms_norm,
     {OPERAND(f16, 1, 5), OPERAND(f32, 1, 5)},
     I(0),
     "rms_norm: operand 0 is f16, operand 1 is f32"},

    /* ROPE */
    {MIA_OP_rope, {OPERAND(f16, 3, 8, 2, 5), OPERAND(i32, 1, 5), OPERAND(f32, 1, 4)}, I(0), "f16 [8, 2, 5]"},
    {MIA_OP_rope, {OPERAND(f32, 3, 9, 2, 0), OPERAND(i32, 1, 0), OPERAND(f32, 1, 0)}, I(1), "f32 [9, 2, 0]"},
    {MIA_OP_rope,
     {OPERAND(f32, 2, 8, 2), OPERAND(i32, 1, 5), OPERAND(f32, 1, 4)},
     I(0),
     "rope: shapes [8, 2] and [5] do not fit: x is [head_dim, heads, T], positions [T]"},
    {MIA_OP_rope,
     {OPERAND(f32, 3, 8, 2, 5), OPERAND(i32, 1, 4), OPERAND(f32, 1, 4)},
     I(0),
     "rope: shapes [8, 2, 5] and [4] do not fit: x is [head_dim, heads, T], positions [T]"},
    {MIA_OP_rope,
     {OPERAND(f32, 3, 9, 2, 5), OPERAND(i32, 1, 5), OPERAND(f32, 1, 5)},
     I(0),
     "rope: shapes [9, 2, 5] and [5] do not fit: frequencies are at most [head_dim / 2]"},
    {MIA_OP_rope,
     {OPERAND(f32, 3, 8, 2, 5), OPERAND(f32, 1, 5), OPERAND(f32, 1, 4)},
     I(0),
     "rope: operand 1 is f32; it takes i32"},
    {MIA_OP_rope,
     {OPERAND(f16, 3, 8, 2, 5), OPERAND(i32, 1, 5), OPERAND(f16, 1, 4)},
     I(0),
     "rope: operand 2 is f16; it takes f32"},

    /* ATTENTION */
    {MIA_OP_attention,
     {OPERAND(f32, 3, 8, 6, 5), OPERAND(f16, 3, 8, 40, 2), OPERAND(bf16, 3, 7, 40, 2), NUMBER(i32)},
     I(0),
     "f32 [7, 6, 5]"},
    {MIA_OP_attention,
     {OPERAND(f32, 3, 8, 5, 5), OPERAND(f32, 3, 8, 40, 2), OPERAND(f32, 3, 7, 40, 2), NUMBER(i32)},
     I(0),
     "attention: shapes [8, 5, 5] and [8, 40, 2] do not fit: q is [D, H, T], k [D, S, G], H a multiple of G"},
    {MIA_OP_attention,
     {OPERAND(f32, 3, 8, 6, 5), OPERAND(f32, 3, 8, 40, 0), OPERAND(f32, 3, 7, 40, 0), NUMBER(i32)},
     I(0),
     "attention: shapes [8, 6, 5] and [8, 40, 0] do not fit: q is [D, H, T], k [D, S, G], H a multiple of G"},
    {MIA_OP_attention,
     {OPERAND(f32, 3, 8, 6, 5), OPERAND(f32, 3, 8, 40, 2), OPERAND(f32, 3, 7, 39, 2), NUMBER(i32)},
     I(0),
     "attention: shapes [8, 40, 2] and [7, 39, 2] do not fit: k is [D, S, G], v [E, S, G]"},
    {MIA_OP_attention,
     {OPERAND(f32, 3, 8, 6, 5), OPERAND(f32, 3, 8, 40, 2), OPERAND(f32, 3, 7, 40, 2), OPERAND(i32, 1, 5)},
     I(0),
     "attention: the length has shape [5]; it has to be a single number"},
    {MIA_OP_attention,
     {OPERAND(f32, 3, 32, 6, 5), OPERAND(q8_0, 3, 32, 40, 2), OPERAND(f32, 3, 7, 40, 2), NUMBER(i32)},
     I(0),
     "attention: operand 1 is q8_0; it takes f32, f16, bf16 or f64"},
    {MIA_OP_attention,
     {OPERAND(f32, 3, 8, 6, 5), OPERAND(f32, 3, 8, 40, 2), OPERAND(i8, 3, 7, 40, 2), NUMBER(i32)},
     I(0),
     "attention: operand 2 is i8; it takes f32, f16, bf16 or f64"},
    {MIA_OP_attention,
     {OPERAND(f32, 3, 8, 6, 5), OPERAND(f32, 3, 8, 40, 2), OPERAND(f32, 3, 7, 40, 2), NUMBER(u32)},
     I(0),
     "attention: operand 3 is u32; it takes i32"},

    /* MATMUL */
    {MIA_OP_matmul, {OPERAND(q8_0, 2, 64, 7), OPERAND(f16, 2, 64, 3)}, I(0), "f16 [7, 3]"},
    {MIA_OP_matmul, {OPERAND(f32, 2, 64, 7), OPERAND(f32, 1, 64)}, I(0), "f32 [7]"},
    {MIA_OP_matmul, {OPERAND(f32, 3, 6, 7, 4), OPERAND(f32, 1, 6)}, I(0), "f32 [7, 1, 4]"},
    {MIA_OP_matmul, {OPERAND(f32, 2, 6, 7), OPERAND(f32, 4, 6, 3, 2, 5)}, I(0), "f32 [7, 3, 2, 5]"},
    {MIA_OP_matmul, {OPERAND(f32, 4, 6, 7, 1, 5), OPERAND(f32, 4, 6, 3, 2, 1)}, I(0), "f32 [7, 3, 2, 5]"},
    {MIA_OP_matmul, {OPERAND(f32, 2, 0, 7), OPERAND(f32, 2, 0, 3)}, I(0), "f32 [7, 3]"},
    {MIA_OP_matmul,
     {OPERAND(f32, 1, 6), OPERAND(f32, 2, 6, 3)},
     I(0),
     "matmul: shapes [6] and [6, 3] do not fit: w is [K, N, ...], x [K, M, ...]"},
    {MIA_OP_matmul,
     {OPERAND(f32, 2, 6, 7), NUMBER(f32)},
     I(0),
     "matmul: shapes [6, 7] and [] do not fit: w is [K, N, ...], x [K, M, ...]"},
    {MIA_OP_matmul,
     {OPERAND(f32, 2, 6, 7), OPERAND(f32, 2, 7, 3)},
     I(0),
     "matmul: shapes [6, 7] and [7, 3] do not fit: w is [K, N, ...], x [K, M, ...]"},
    {MIA_OP_matmul,
     {OPERAND(f32, 3, 6, 7, 2), OPERAND(f32, 3, 6, 3, 4)},
     I(0),
     "matmul: shapes [6, 7, 2] and [6, 3, 4] do not broadcast over mode 2 and on"},
    {MIA_OP_matmul, {OPERAND(i32, 2, 6, 7), OPERAND(f32, 2, 6, 3)}, I(0), "matmul does not take i32"},
    {MIA_OP_matmul,
     {OPERAND(f32, 2, 32, 7), OPERAND(q8_0, 2, 32, 3)},
     I(0),
     "matmul: operand 1 is q8_0; it takes f32, f16, bf16 or f64"},

    /* BOOL, INDEX */
    {MIA_OP_equal, {OPERAND(f16, 1, 3), OPERAND(f16, 2, 1, 2)}, I(0), "bool8 [3, 2]"},
    {MIA_OP_equal, {OPERAND(bool8, 1, 3), OPERAND(bool8, 1, 3)}, I(0), "bool8 [3]"},
    {MIA_OP_less, {OPERAND(bool8, 1, 3), OPERAND(bool8, 1, 3)}, I(0), "less does not take bool8"},
    {MIA_OP_equal, {OPERAND(f32x4, 1, 3), OPERAND(f32x4, 1, 3)}, I(0), "equal does not take f32x4"},
    {MIA_OP_less, {OPERAND(f32, 1, 3), OPERAND(i32, 1, 3)}, I(0), "less: operand 0 is f32, operand 1 is i32"},
    {MIA_OP_less,
     {OPERAND(f32, 1, 3), OPERAND(f32, 1, 2)},
     I(0),
     "less: shapes [3] and [2] do not broadcast"},
    {MIA_OP_logical_and, {OPERAND(bool8, 1, 3), NUMBER(bool8)}, I(0), "bool8 [3]"},
    {MIA_OP_logical_and, {OPERAND(u8, 1, 3), NUMBER(u8)}, I(0), "logical_and does not take u8"},
    {MIA_OP_argmax, {OPERAND(bf16, 2, 3, 2)}, I(MIA_MODE(0)), "i32 [1, 2]"},
    {MIA_OP_argmin, {OPERAND(bool8, 1, 3)}, I(MIA_MODE(0)), "argmin does not take bool8"},
    {MIA_OP_any, {OPERAND(bool8, 2, 3, 2)}, I(MIA_ALL_MODES), "bool8 [1, 1]"},
    {MIA_OP_all, {OPERAND(i32, 1, 3)}, I(1), "all does not take i32"},

    /* BROADCAST3 */
    {MIA_OP_where,
     {OPERAND(bool8, 1, 3), OPERAND(f16, 2, 1, 2), OPERAND(f16, 3, 1, 1, 4)},
     I(0),
     "f16 [3, 2, 4]"},
    {MIA_OP_where, {NUMBER(bool8), NUMBER(i8), NUMBER(i8)}, I(0), "i8 []"},
    {MIA_OP_where,
     {OPERAND(bool8, 1, 3), OPERAND(f32, 1, 3), OPERAND(f32, 1, 2)},
     I(0),
     "where: shapes [3] and [2] do not broadcast"},
    {MIA_OP_where,
     {OPERAND(bool8, 1, 2), OPERAND(f32, 1, 3), OPERAND(f32, 2, 1, 5)},
     I(0),
     "where: shapes [2] and [3, 5] do not broadcast"},
    {MIA_OP_where,
     {OPERAND(u8, 1, 3), OPERAND(f32, 1, 3), OPERAND(f32, 1, 3)},
     I(0),
     "where: operand 0 is u8; it takes bool8"},
    {MIA_OP_where,
     {OPERAND(bool8, 1, 3), OPERAND(f32, 1, 3), OPERAND(f16, 1, 3)},
     I(0),
     "where: operand 1 is f32, operand 2 is f16"},
    {MIA_OP_where,
     {OPERAND(bool8, 1, 3), OPERAND(q8_0, 1, 32), OPERAND(q8_0, 1, 32)},
     I(0),
     "where does not take q8_0"},

    /* PAD in its other styles */
    {MIA_OP_pad, {OPERAND(f32, 1, 3)}, I(0, 9, 1, MIA_PAD_EDGE), "f32 [13]"},
    {MIA_OP_pad, {OPERAND(f32, 1, 3)}, I(0, 2, 2, MIA_PAD_MIRROR), "f32 [7]"},
    {MIA_OP_pad, {OPERAND(f32, 1, 3)}, I(0, 3, 0, MIA_PAD_CYCLE), "f32 [6]"},
    {MIA_OP_pad, {OPERAND(f32, 1, 0)}, I(0, 0, 0, MIA_PAD_MIRROR), "f32 [0]"},
    {MIA_OP_pad,
     {OPERAND(f32, 1, 0)},
     I(0, 1, 0, MIA_PAD_EDGE),
     "pad: a mode of 0 has at most 0 elements for an end in this style, not 1"},
    {MIA_OP_pad,
     {OPERAND(f32, 1, 3)},
     I(0, 2, 3, MIA_PAD_MIRROR),
     "pad: a mode of 3 has at most 2 elements for an end in this style, not 3"},
    {MIA_OP_pad,
     {OPERAND(f32, 1, 3)},
     I(0, 4, 0, MIA_PAD_CYCLE),
     "pad: a mode of 3 has at most 3 elements for an end in this style, not 4"},
    {MIA_OP_pad, {OPERAND(f32, 1, 3)}, I(0, 0, 0, 4), "pad: no style has the number 4"},
    {MIA_OP_pad, {OPERAND(f32, 1, 3)}, I(0, 1, 0, -1), "pad: no style has the number -1"},

    /* TAKE, TAKE_ALONG */
    {MIA_OP_take, {OPERAND(u8x4, 3, 5, 9, 2), OPERAND(i32, 2, 3, 4)}, I(1), "u8x4 [5, 3, 4, 2]"},
    {MIA_OP_take, {OPERAND(f32, 2, 5, 9), NUMBER(i32)}, I(0), "f32 [9]"},
    {MIA_OP_take, {OPERAND(f32, 1, 5), OPERAND(i32, 1, 3)}, I(1), "take: shape [5] has no mode 1"},
    {MIA_OP_take, {OPERAND(f32, 1, 5), OPERAND(u32, 1, 3)}, I(0), "take: operand 1 is u32; it takes i32"},
    {MIA_OP_take,
     {OPERAND(f32, 2, 5, 2), OPERAND(i32, 8, 1, 1, 1, 1, 1, 1, 1, 1)},
     I(0),
     "take: shapes [5, 2] and [1, 1, 1, 1, 1, 1, 1, 1] give too many modes"},
    {MIA_OP_take_along, {OPERAND(bool8, 2, 5, 9), OPERAND(i32, 2, 5, 30)}, I(1), "bool8 [5, 30]"},
    {MIA_OP_take_along, {OPERAND(f32, 2, 5, 9), OPERAND(i32, 2, 7, 2)}, I(0), "f32 [7, 2]"},
    {MIA_OP_take_along,
     {OPERAND(f32, 2, 5, 9), OPERAND(i32, 2, 6, 2)},
     I(1),
     "take_along: shapes [5, 9] and [6, 2] do not fit: outside the mode indices are no larger than x"},
    {MIA_OP_take_along,
     {OPERAND(f32, 2, 5, 9), OPERAND(i32, 1, 5)},
     I(0),
     "take_along: shapes [5, 9] and [5] do not fit: outside the mode indices are no larger than x"},
    {MIA_OP_take_along, {NUMBER(f32), NUMBER(i32)}, I(0), "take_along: shape [] has no mode 0"},
    {MIA_OP_take_along, {OPERAND(f32x4, 1, 5), OPERAND(i32, 1, 5)}, I(0), "take_along does not take f32x4"},
    {MIA_OP_take_along,
     {OPERAND(f32, 1, 5), OPERAND(f32, 1, 5)},
     I(0),
     "take_along: operand 1 is f32; it takes i32"},

    /* SCATTER, SCATTER_ALONG */
    {MIA_OP_scatter,
     {OPERAND(f16, 2, 5, 9), OPERAND(i32, 1, 3), OPERAND(f16, 2, 5, 3)},
     I(1, MIA_SCATTER_ADD),
     "f16 [5, 9]"},
    {MIA_OP_scatter,
     {OPERAND(f32, 1, 9), OPERAND(i32, 1, 20), OPERAND(f32, 1, 20)},
     I(0, MIA_SCATTER_MAX),
     "f32 [9]"},
    {MIA_OP_scatter,
     {OPERAND(f32, 1, 9), OPERAND(i32, 1, 3), OPERAND(f32, 1, 3)},
     I(1),
     "scatter: shape [9] has no mode 1"},
    {MIA_OP_scatter,
     {OPERAND(f32, 1, 9), OPERAND(i32, 2, 3, 1), OPERAND(f32, 1, 3)},
     I(0),
     "scatter: shapes [9] and [3, 1] do not fit: indices are [n]"},
    {MIA_OP_scatter,
     {OPERAND(f32, 2, 5, 9), OPERAND(i32, 1, 3), OPERAND(f32, 2, 5, 4)},
     I(1),
     "scatter: shapes [5, 3] and [5, 4] differ: the part is to have the first, a place for each index"},
    {MIA_OP_scatter,
     {OPERAND(f32, 1, 9), OPERAND(i32, 1, 3), OPERAND(f32, 1, 3)},
     I(0, 5),
     "scatter: no style has the number 5"},
    {MIA_OP_scatter,
     {OPERAND(f32, 1, 9), OPERAND(i8, 1, 3), OPERAND(f32, 1, 3)},
     I(0),
     "scatter: operand 1 is i8; it takes i32"},
    {MIA_OP_scatter,
     {OPERAND(f32, 1, 9), OPERAND(i32, 1, 3), OPERAND(f16, 1, 3)},
     I(0),
     "scatter: operand 0 is f32, operand 2 is f16"},
    {MIA_OP_scatter_along,
     {OPERAND(i32, 2, 5, 9), OPERAND(i32, 2, 4, 30), OPERAND(i32, 2, 4, 30)},
     I(1, MIA_SCATTER_MIN),
     "i32 [5, 9]"},
    {MIA_OP_scatter_along,
     {OPERAND(f32, 1, 9), OPERAND(i32, 1, 3), OPERAND(f32, 1, 4)},
     I(0),
     "scatter_along: shapes [3] and [4] differ: each element of the part needs an index"},
    {MIA_OP_scatter_along,
     {OPERAND(f32, 2, 5, 9), OPERAND(i32, 2, 6, 9), OPERAND(f32, 2, 6, 9)},
     I(1),
     "scatter_along: shapes [5, 9] and [6, 9] do not fit: outside the mode a part is no larger than x"},
    {MIA_OP_scatter_along,
     {OPERAND(f32, 1, 9), OPERAND(i32, 1, 3), OPERAND(f32, 1, 3)},
     I(2),
     "scatter_along: shape [9] has no mode 2"},
    {MIA_OP_scatter_along,
     {OPERAND(f32, 1, 9), OPERAND(i32, 1, 3), OPERAND(f32, 1, 3)},
     I(0, -1),
     "scatter_along: no style has the number -1"},

    /* MODE, TRIANGLE, TOP_K */
    {MIA_OP_roll, {OPERAND(u8x4, 2, 5, 9)}, I(1, -3), "u8x4 [5, 9]"},
    {MIA_OP_roll, {OPERAND(f32, 1, 5)}, I(1), "roll: shape [5] has no mode 1"},
    {MIA_OP_cumsum, {OPERAND(u8, 2, 5, 9)}, I(0), "u8 [5, 9]"},
    {MIA_OP_cumsum, {NUMBER(f32)}, I(0), "cumsum: shape [] has no mode 0"},
    {MIA_OP_sort, {OPERAND(bool8, 1, 5)}, I(0), "sort does not take bool8"},
    {MIA_OP_argsort, {OPERAND(f64, 2, 5, 9)}, I(1), "i32 [5, 9]"},
    {MIA_OP_argsort, {OPERAND(f64, 2, 5, 9)}, I(2), "argsort: shape [5, 9] has no mode 2"},
    {MIA_OP_tril, {OPERAND(bool8, 3, 5, 9, 2)}, I(-2), "bool8 [5, 9, 2]"},
    {MIA_OP_triu, {OPERAND(f32, 1, 5)}, I(0), "triu: shape [5] has no mode 1"},
    {MIA_OP_tril, {OPERAND(f32x4, 2, 5, 5)}, I(0), "tril does not take f32x4"},
    {MIA_OP_top_k, {OPERAND(i8, 2, 5, 9)}, I(1, 4), "i8 [5, 4]"},
    {MIA_OP_top_k, {OPERAND(f32, 1, 5)}, I(0, 0), "f32 [0]"},
    {MIA_OP_top_k_indices, {OPERAND(f32, 1, 5)}, I(0, 5), "i32 [5]"},
    {MIA_OP_top_k, {OPERAND(f32, 1, 5)}, I(1, 1), "top_k: shape [5] has no mode 1"},
    {MIA_OP_top_k, {OPERAND(f32, 1, 5)}, I(0, 6), "top_k: mode 0 has 5 elements, of which 6 cannot be taken"},
    {MIA_OP_top_k_indices,
     {OPERAND(f32, 1, 5)},
     I(0, -1),
     "top_k_indices: mode 0 has 5 elements, of which -1 cannot be taken"},

    /* GROUP_NORM */
    {MIA_OP_group_norm,
     {OPERAND(f16, 3, 5, 6, 2), OPERAND(f16, 1, 6), OPERAND(f16, 1, 6)},
     I(1, 3),
     "f16 [5, 6, 2]"},
    {MIA_OP_group_norm,
     {OPERAND(f32, 1, 6), OPERAND(f32, 1, 6), OPERAND(f32, 1, 6)},
     I(1, 1),
     "group_norm: shape [6] has no mode 1"},
    {MIA_OP_group_norm,
     {OPERAND(f32, 2, 5, 6), OPERAND(f32, 1, 5), OPERAND(f32, 1, 6)},
     I(1, 1),
     "group_norm: shapes [5, 6] and [5] do not fit: weight and bias are [channels]"},
    {MIA_OP_group_norm,
     {OPERAND(f32, 2, 5, 6), OPERAND(f32, 1, 6), OPERAND(f32, 2, 6, 1)},
     I(1, 1),
     "group_norm: shapes [5, 6] and [6, 1] do not fit: weight and bias are [channels]"},
    {MIA_OP_group_norm,
     {OPERAND(f32, 2, 5, 6), OPERAND(f32, 1, 6), OPERAND(f32, 1, 6)},
     I(1, 4),
     "group_norm: 6 channels do not divide into 4 groups"},
    {MIA_OP_group_norm,
     {OPERAND(f32, 2, 5, 6), OPERAND(f32, 1, 6), OPERAND(f32, 1, 6)},
     I(1, 0),
     "group_norm: 6 channels do not divide into 0 groups"},
    {MIA_OP_group_norm,
     {OPERAND(f32, 2, 5, 6), OPERAND(f32, 1, 6), OPERAND(f16, 1, 6)},
     I(1, 1),
     "group_norm: operand 0 is f32, operand 2 is f16"},

    /* ATTENTION_MASKED */
    {MIA_OP_attention_masked,
     {OPERAND(f16, 3, 8, 6, 5), OPERAND(f16, 3, 8, 40, 2), OPERAND(f32, 3, 7, 40, 2),
      OPERAND(f32, 3, 40, 5, 6), NUMBER(i32)},
     I(0),
     "f16 [7, 6, 5]"},
    {MIA_OP_attention_masked,
     {OPERAND(f32, 3, 8, 6, 5), OPERAND(f32, 3, 8, 40, 2), OPERAND(f32, 3, 7, 40, 2), OPERAND(f32, 2, 1, 5),
      NUMBER(i32)},
     I(0),
     "f32 [7, 6, 5]"},
    {MIA_OP_attention_masked,
     {OPERAND(f32, 3, 8, 6, 5), OPERAND(f32, 3, 8, 40, 2), OPERAND(f32, 3, 7, 40, 2), OPERAND(f32, 2, 40, 6),
      NUMBER(i32)},
     I(0),
     "attention_masked: shapes [8, 6, 5] and [40, 6] do not fit: the mask is [S, T, H], or 1 there"},
    {MIA_OP_attention_masked,
     {OPERAND(f32, 3, 8, 6, 5), OPERAND(f32, 3, 8, 40, 2), OPERAND(f32, 3, 7, 40, 2), NUMBER(f32),
      OPERAND(i32, 1, 5)},
     I(0),
     "attention_masked: the length has shape [5]; it has to be a single number"},
    {MIA_OP_attention_masked,
     {OPERAND(f32, 3, 8, 6, 5), OPERAND(f32, 3, 8, 40, 2), OPERAND(f32, 3, 7, 40, 2), NUMBER(f16),
      NUMBER(i32)},
     I(0),
     "attention_masked: operand 3 is f16; it takes f32"},
    {MIA_OP_attention_masked,
     {OPERAND(f32, 3, 8, 6, 5), OPERAND(f32, 3, 8, 40, 2), OPERAND(f32, 3, 7, 40, 2), NUMBER(f32),
      NUMBER(f32)},
     I(0),
     "attention_masked: operand 4 is f32; it takes i32"},
    {MIA_OP_attention_masked,
     {OPERAND(f32, 3, 8, 5, 5), OPERAND(f32, 3, 8, 40, 2), OPERAND(f32, 3, 7, 40, 2), NUMBER(f32),
      NUMBER(i32)},
     I(0),
     "attention_masked: shapes [8, 5, 5] and [8, 40, 2] do not fit: q is [D, H, T], k [D, S, G], H a "
     "multiple of G"},

    /* CONV1D, CONV2D */
    {MIA_OP_conv1d,
     {OPERAND(f16, 3, 10, 4, 2), OPERAND(f16, 3, 3, 4, 7)},
     WINDOW(ONES, ONES, ONES, NOTHING, NOTHING, 1),
     "f16 [8, 7, 2]"},
    {MIA_OP_conv1d,
     {OPERAND(f32, 3, 10, 4, 0), OPERAND(f32, 3, 3, 2, 6)},
     WINDOW(ONES, (3, 1), (2, 1), (1, 0), (2, 0), 2),
     "f32 [3, 6, 0]"},
    {MIA_OP_conv1d,
     {OPERAND(f32, 3, 2, 1, 1), OPERAND(f32, 3, 3, 1, 1)},
     WINDOW(ONES, ONES, ONES, NOTHING, NOTHING, 1),
     "f32 [0, 1, 1]"},
    {MIA_OP_conv2d,
     {OPERAND(f64, 4, 10, 9, 4, 2), OPERAND(f64, 4, 3, 5, 1, 8)},
     WINDOW(ONES, (1, 2), ONES, (1, 2), (1, 2), 4),
     "f64 [10, 5, 8, 2]"},
    {MIA_OP_conv2d,
     {OPERAND(f32, 4, 1, 0, 1, 1), OPERAND(f32, 4, 1, 1, 1, 1)},
     WINDOW(ONES, ONES, ONES, NOTHING, NOTHING, 1),
     "f32 [1, 0, 1, 1]"},
    {MIA_OP_conv1d,
     {OPERAND(f32, 2, 10, 4), OPERAND(f32, 3, 3, 4, 7)},
     WINDOW(ONES, ONES, ONES, NOTHING, NOTHING, 1),
     "conv1d: shapes [10, 4] and [3, 4, 7] do not fit: x is [L, C, N], w [K, C / groups, O]"},
    {MIA_OP_conv2d,
     {OPERAND(f32, 4, 10, 9, 4, 2), OPERAND(f32, 3, 3, 4, 7)},
     WINDOW(ONES, ONES, ONES, NOTHING, NOTHING, 1),
     "conv2d: shapes [10, 9, 4, 2] and [3, 4, 7] do not fit: x is [W, H, C, N], w [KW, KH, C / groups, O]"},
    {MIA_OP_conv1d,
     {OPERAND(f32, 3, 10, 4, 1), OPERAND(f32, 3, 3, 4, 6)},
     WINDOW(ONES, ONES, ONES, NOTHING, NOTHING, 2),
     "conv1d: 4 channels in 2 groups do not fit weights for 4 channels and 6 outputs"},
    {MIA_OP_conv1d,
     {OPERAND(f32, 3, 10, 4, 1), OPERAND(f32, 3, 3, 2, 7)},
     WINDOW(ONES, ONES, ONES, NOTHING, NOTHING, 2),
     "conv1d: 4 channels in 2 groups do not fit weights for 2 channels and 7 outputs"},
    {MIA_OP_conv1d,
     {OPERAND(f32, 3, 10, 4, 1), OPERAND(f32, 3, 3, 4, 6)},
     WINDOW(ONES, ONES, ONES, NOTHING, NOTHING, -1),
     "conv1d: 4 channels in -1 groups do not fit weights for 4 channels and 6 outputs"},
    {MIA_OP_conv1d,
     {OPERAND(f32, 3, 10, 4, 1), OPERAND(f32, 3, 0, 4, 6)},
     WINDOW(ONES, ONES, ONES, NOTHING, NOTHING, 1),
     "conv1d: a window of size 0, stride 1, dilation 1, padding 0 and 0 cannot move along mode 0"},
    {MIA_OP_conv2d,
     {OPERAND(f32, 4, 10, 9, 4, 2), OPERAND(f32, 4, 3, 3, 4, 7)},
     WINDOW(ONES, (1, -2), ONES, NOTHING, NOTHING, 1),
     "conv2d: a window of size 3, stride -2, dilation 1, padding 0 and 0 cannot move along mode 1"},
    {MIA_OP_conv1d,
     {OPERAND(f32, 3, 10, 4, 1), OPERAND(f32, 3, 3, 4, 6)},
     WINDOW(ONES, ONES, (INT64_MAX, 1), NOTHING, NOTHING, 1),
     "conv1d: a window of size 3, stride 1, dilation 9223372036854775807, padding 0 and 0 cannot move along "
     "mode 0"},
    {MIA_OP_conv1d,
     {OPERAND(f32, 3, 10, 4, 1), OPERAND(f32, 3, 3, 4, 6)},
     WINDOW(ONES, ONES, ONES, (INT64_MAX, 0), NOTHING, 1),
     "conv1d: a window of size 3, stride 1, dilation 1, padding 9223372036854775807 and 0 cannot move along "
     "mode 0"},
    {MIA_OP_conv1d,
     {OPERAND(f32, 3, 10, 4, 1), OPERAND(f32, 3, 3, 4, 6)},
     WINDOW(ONES, ONES, ONES, (INT64_MAX / 2, 0), NOTHING, 1),
     "conv1d: shape [4611686018427387911, 6, 1] of f32 is larger than any memory"},
    {MIA_OP_conv1d,
     {OPERAND(f32, 3, 10, 4, 1), OPERAND(f16, 3, 3, 4, 6)},
     WINDOW(ONES, ONES, ONES, NOTHING, NOTHING, 1),
     "conv1d: operand 0 is f32, operand 1 is f16"},
    {MIA_OP_conv2d,
     {OPERAND(i8, 4, 10, 9, 4, 2), OPERAND(i8, 4, 3, 3, 4, 7)},
     WINDOW(ONES, ONES, ONES, NOTHING, NOTHING, 1),
     "conv2d does not take i8"},

    /* POOL */
    {MIA_OP_max_pool,
     {OPERAND(f16, 3, 10, 9, 4)},
     WINDOW((3, 2), (3, 2), ONES, (1, 0), NOTHING, 1),
     "f16 [3, 4, 4]"},
    {MIA_OP_average_pool,
     {OPERAND(f32, 1, 10)},
     WINDOW((2, 1), (2, 7), ONES, NOTHING, NOTHING, 1),
     "f32 [5]"},
    {MIA_OP_average_pool,
     {OPERAND(f32, 2, 10, 3)},
     WINDOW((11, 1), ONES, ONES, NOTHING, NOTHING, 1),
     "f32 [0, 3]"},
    {MIA_OP_max_pool,
     {NUMBER(f32)},
     WINDOW(ONES, ONES, ONES, NOTHING, NOTHING, 1),
     "max_pool: shape [] has no mode 0"},
    {MIA_OP_max_pool,
     {OPERAND(f32, 1, 10)},
     WINDOW((2, 2), ONES, ONES, NOTHING, NOTHING, 1),
     "max_pool: shape [10] has no mode 1"},
    {MIA_OP_max_pool,
     {OPERAND(f32, 1, 10)},
     WINDOW(ONES, ONES, ONES, (0, 1), NOTHING, 1),
     "max_pool: shape [10] has no mode 1"},
    {MIA_OP_max_pool,
     {OPERAND(f32, 2, 10, 9)},
     WINDOW((2, -1), ONES, ONES, NOTHING, NOTHING, 1),
     "max_pool: a window of size -1, stride 1, dilation 1, padding 0 and 0 cannot move along mode 1"},
    {MIA_OP_average_pool,
     {OPERAND(f32, 2, 10, 9)},
     WINDOW((2, 2), ONES, ONES, (0, 0), (-1, 0), 1),
     "average_pool: a window of size 2, stride 1, dilation 1, padding 0 and -1 cannot move along mode 0"},
    {MIA_OP_average_pool,
     {OPERAND(i32, 2, 10, 9)},
     WINDOW(ONES, ONES, ONES, NOTHING, NOTHING, 1),
     "average_pool does not take i32"},

    /* ARANGE, RANDOM */
    {MIA_OP_arange, {NUMBER(i8), OPERAND(i8, 2, 1, 1)}, I(7), "i8 [7]"},
    {MIA_OP_arange, {NUMBER(f32), NUMBER(f32)}, I(0), "f32 [0]"},
    {MIA_OP_arange, {NUMBER(f32), NUMBER(f32)}, I(-1), "arange: -1 elements cannot be made"},
    {MIA_OP_arange,
     {OPERAND(f32, 1, 2), NUMBER(f32)},
     I(7),
     "arange: the start has shape [2]; it has to be a single number"},
    {MIA_OP_arange,
     {NUMBER(f32), OPERAND(f32, 1, 2)},
     I(7),
     "arange: the step has shape [2]; it has to be a single number"},
    {MIA_OP_arange, {NUMBER(f32), NUMBER(i32)}, I(7), "arange: operand 0 is f32, operand 1 is i32"},
    {MIA_OP_arange, {NUMBER(bool8), NUMBER(bool8)}, I(7), "arange does not take bool8"},
    {MIA_OP_random_uniform, {OPERAND(u32, 1, 2)}, I(MIA_f16, 7), "f16 [7]"},
    {MIA_OP_random_normal, {OPERAND(u32, 1, 2)}, I(MIA_f64, 0), "f64 [0]"},
    {MIA_OP_random_uniform,
     {OPERAND(u32, 1, 3)},
     I(MIA_f32, 7),
     "random_uniform: the seed has shape [3]; it has to be [2]"},
    {MIA_OP_random_normal, {OPERAND(u32, 1, 2)}, I(MIA_f32, -7), "random_normal: -7 elements cannot be made"},
    {MIA_OP_random_normal, {OPERAND(u32, 1, 2)}, I(MIA_i32, 7), "random_normal does not make i32"},
    {MIA_OP_random_normal, {OPERAND(u32, 1, 2)}, I(0, 7), "random_normal: 0 is no element type"},
    {MIA_OP_random_uniform, {OPERAND(i32, 1, 2)}, I(MIA_f32, 7), "random_uniform does not take i32"},
};

static void test_cases(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const rule_case *c = &cases[i];
        mia__type result = {0};
        mia_error error = {0};
        char text[220], got[300];
        mia_status status = mia__op_result(c->op, c->operands, mia_op_describe(c->op)->operands,
                                           &c->attributes, &result, &error);
        (void)snprintf(got, sizeof got, "%s %s", mia_dtype_describe(result.dtype)->name,
                       mia__shape_text(&result.shape, text, sizeof text));
        assert_string_equal(status == MIA_OK ? got : error.message, c->want);
        assert_int_equal(status, error.status);
        assert_true(status == MIA_OK || status == MIA_ERROR_SHAPE_MISMATCH ||
                    status == MIA_ERROR_TYPE_MISMATCH || status == MIA_ERROR_INVALID_ARGUMENT);
        /* The message may be left out. */
        assert_int_equal(mia__op_result(c->op, c->operands, mia_op_describe(c->op)->operands, &c->attributes,
                                        &result, NULL),
                         status);
    }
}

/* Every shape rule has cases, and rows have the rule that the table names. */
static void test_rows(void **state) {
    (void)state;
    static const struct {
        mia_op op;
        mia__shape_rule rule;
    } table[] = {
#define MIA_OP(name, tag, signature, class, types, type_rule, shape_rule, bound, doc)                        \
    {MIA_OP_##name, mia__shape_rule_##shape_rule},
#include <mia/ops.def>
#undef MIA_OP
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const mia__op_row *row = mia__op_find(table[i].op);
        assert_non_null(row);
        assert_ptr_equal(row->shape_rule, table[i].rule);
        bool covered = row->shape_rule == NULL;
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
            covered = covered || mia__op_find(cases[c].op)->shape_rule == row->shape_rule;
        if (!covered) fail_msg("no case of the shape rule of %s", row->info.name);
    }
    assert_null(mia__op_find(MIA_OP_NONE));
    assert_null(mia__op_find(MIA_OP_LIMIT));
    assert_null(mia_op_describe((mia_op)255));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
