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
    mia__type operands[4];
    mia__attributes attributes;
    const char *want;
} rule_case;

#define I(...)                                                                                               \
    {                                                                                                        \
        .i = { __VA_ARGS__ }                                                                                 \
    }

static const rule_case cases[] = {
    /* SAME */
    {MIA_OP_neg, {OPERAND(i8, 2, 3, 2)}, I(0), "i8 [3, 2]"},
    {MIA_OP_gelu, {OPERAND(f16x4, 2, 3, 0)}, I(0), "f16x4 [3, 0]"},
    {MIA_OP_copy, {OPERAND(q4_K, 2, 256, 3)}, I(0), "q4_K [256, 3]"},
    {MIA_OP_softmax, {NUMBER(bf16)}, I(0), "bf16 []"},
    {MIA_OP_gelu,
     {OPERAND(i32, 1, 3)},
     I(0),
     "gelu: operand 0 is i32; it takes f32, f16, bf16, f64, f32x4 or f16x4"},
    {MIA_OP_softmax,
     {OPERAND(f32x4, 1, 3)},
     I(0),
     "softmax: operand 0 is f32x4; it takes f32, f16, bf16 or f64"},
    {MIA_OP_neg,
     {OPERAND(bool8, 1, 3)},
     I(0),
     "neg: operand 0 is bool8; it takes f32, f16, bf16, f64, i32, u32, i8, u8, f32x4 or f16x4"},
    {MIA_OP_neg,
     {OPERAND(q8_0, 1, 32)},
     I(0),
     "neg: operand 0 is q8_0; it takes f32, f16, bf16, f64, i32, u32, i8, u8, f32x4 or f16x4"},
    {MIA_OP_neg,
     {{MIA_NONE, {1, {3}}}},
     I(0),
     "neg: operand 0 is none; it takes f32, f16, bf16, f64, i32, u32, i8, u8, f32x4 or f16x4"},

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
    {MIA_OP_add,
     {OPERAND(q8_0, 1, 32), OPERAND(q8_0, 1, 32)},
     I(0),
     "add: operand 0 is q8_0; it takes f32, f16, bf16, f64, i32, u32, i8, u8, f32x4 or f16x4"},
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
    {MIA_OP_concat, {OPERAND(q8_0, 1, 32), OPERAND(q8_0, 1, 96)}, I(0), "q8_0 [128]"},
    {MIA_OP_concat, {OPERAND(q6_K, 2, 512, 3), OPERAND(q6_K, 2, 512, 4)}, I(1), "q6_K [512, 7]"},
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
     "pad: 1 zeros before and 9223372036854775807 after cannot be added"},
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
    {MIA_OP_embedding,
     {OPERAND(i32, 2, 5, 2), OPERAND(i32, 1, 3)},
     I(0),
     "embedding: operand 0 is i32; it takes f32, f16, bf16, f64, q8_0, q4_0, q4_1, q5_0, q5_1, q4_K, q5_K or "
     "q6_K"},
    {MIA_OP_embedding, {OPERAND(q4_K, 2, 256, 2), OPERAND(i32, 1, 3)}, I(0), "f32 [256, 3]"},
    {MIA_OP_gather, {OPERAND(q4_K, 2, 256, 2), OPERAND(i32, 1, 3)}, I(0), "q4_K [256, 3]"},

    /* UPDATE */
    {MIA_OP_update, {OPERAND(f16, 2, 3, 9), OPERAND(f16, 2, 3, 2), NUMBER(i32)}, I(1), "f16 [3, 9]"},
    {MIA_OP_update, {OPERAND(i32, 1, 9), OPERAND(i32, 1, 9), OPERAND(i32, 2, 1, 1)}, I(0), "i32 [9]"},
    {MIA_OP_update, {OPERAND(q5_1, 1, 96), OPERAND(q5_1, 1, 32), NUMBER(i32)}, I(0), "q5_1 [96]"},
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
    {MIA_OP_mean, {OPERAND(i32, 1, 3)}, I(1), "mean: operand 0 is i32; it takes f32, f16, bf16 or f64"},
    {MIA_OP_sum,
     {OPERAND(f32x4, 1, 3)},
     I(1),
     "sum: operand 0 is f32x4; it takes f32, f16, bf16, f64, i32, u32, i8 or u8"},

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
    {MIA_OP_matmul, {OPERAND(q5_K, 2, 256, 7), OPERAND(bf16, 2, 256, 3)}, I(0), "bf16 [7, 3]"},
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
    {MIA_OP_matmul,
     {OPERAND(i32, 2, 6, 7), OPERAND(f32, 2, 6, 3)},
     I(0),
     "matmul: operand 0 is i32; it takes f32, f16, bf16, f64, q8_0, q4_0, q4_1, q5_0, q5_1, q4_K, q5_K or "
     "q6_K"},
    {MIA_OP_matmul,
     {OPERAND(f32, 2, 32, 7), OPERAND(q8_0, 2, 32, 3)},
     I(0),
     "matmul: operand 1 is q8_0; it takes f32, f16, bf16 or f64"},
};

static void test_cases(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const rule_case *c = &cases[i];
        mia__type result = {0};
        mia_error error = {0};
        char text[220], got[300];
        mia_status status = mia__op_result(mia__op_find(c->op), c->operands, mia_op_describe(c->op)->operands,
                                           &c->attributes, &result, &error);
        (void)snprintf(got, sizeof got, "%s %s", mia_dtype_describe(result.dtype)->name,
                       mia__shape_text(&result.shape, text, sizeof text));
        assert_string_equal(status == MIA_OK ? got : error.message, c->want);
        assert_int_equal(status, error.status);
        assert_true(status == MIA_OK || status == MIA_ERROR_SHAPE_MISMATCH ||
                    status == MIA_ERROR_TYPE_MISMATCH);
        /* The message may be left out. */
        assert_int_equal(mia__op_result(mia__op_find(c->op), c->operands, mia_op_describe(c->op)->operands,
                                        &c->attributes, &result, NULL),
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
