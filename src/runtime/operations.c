/* The exported operations, one form a signature of ops.def. */
#include "runtime/record.h"

#define RECORD(name, attributes, shape, ...)                                                                 \
    do {                                                                                                     \
        const mia_tensor operands[] = {__VA_ARGS__};                                                         \
        const mia__attributes a = attributes;                                                                \
        return mia__record(MIA_OP_##name, operands, sizeof operands / sizeof operands[0], &a, shape, file,   \
                           line);                                                                            \
    } while (0)
#define NONE                                                                                                 \
    { 0 }
#define INTEGERS(...)                                                                                        \
    {                                                                                                        \
        .i = { __VA_ARGS__ }                                                                                 \
    }

#define DEFINE_UNARY(name)                                                                                   \
    mia_tensor mia_op_##name(mia_tensor x, const char *file, int line) {                                     \
        RECORD(name, NONE, NULL, x);                                                                         \
    }
#define DEFINE_BINARY(name)                                                                                  \
    mia_tensor mia_op_##name(mia_tensor a_, mia_tensor b, const char *file, int line) {                      \
        RECORD(name, NONE, NULL, a_, b);                                                                     \
    }
#define DEFINE_SHAPE(name)                                                                                   \
    mia_tensor mia_op_##name(mia_tensor x, mia_shape shape, const char *file, int line) {                    \
        RECORD(name, NONE, &shape, x);                                                                       \
    }
#define DEFINE_DTYPE(name)                                                                                   \
    mia_tensor mia_op_##name(mia_tensor x, mia_dtype dtype, const char *file, int line) {                    \
        RECORD(name, INTEGERS((int64_t)dtype), NULL, x);                                                     \
    }
#define DEFINE_SLICE(name)                                                                                   \
    mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, int64_t begin, int64_t count, int64_t step,        \
                             const char *file, int line) {                                                   \
        RECORD(name, INTEGERS(mode, begin, count, step), NULL, x);                                           \
    }
#define DEFINE_CONCAT(name)                                                                                  \
    mia_tensor mia_op_##name(mia_tensor a_, mia_tensor b, uint32_t mode, const char *file, int line) {       \
        RECORD(name, INTEGERS(mode), NULL, a_, b);                                                           \
    }
#define DEFINE_PAD(name)                                                                                     \
    mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, int64_t before, int64_t after, const char *file,   \
                             int line) {                                                                     \
        RECORD(name, INTEGERS(mode, before, after), NULL, x);                                                \
    }
#define DEFINE_GATHER(name)                                                                                  \
    mia_tensor mia_op_##name(mia_tensor table, mia_tensor indices, const char *file, int line) {             \
        RECORD(name, NONE, NULL, table, indices);                                                            \
    }
#define DEFINE_EMBEDDING(name) DEFINE_GATHER(name)
#define DEFINE_UPDATE(name)                                                                                  \
    mia_tensor mia_op_##name(mia_tensor x, mia_tensor part, mia_tensor start, uint32_t mode,                 \
                             const char *file, int line) {                                                   \
        RECORD(name, INTEGERS(mode), NULL, x, part, start);                                                  \
    }
#define DEFINE_MODES(name)                                                                                   \
    mia_tensor mia_op_##name(mia_tensor x, uint32_t modes, const char *file, int line) {                     \
        RECORD(name, INTEGERS(modes), NULL, x);                                                              \
    }
#define DEFINE_NORM(name)                                                                                    \
    mia_tensor mia_op_##name(mia_tensor x, mia_tensor weight, double epsilon, const char *file, int line) {  \
        RECORD(name, {.f = {epsilon}}, NULL, x, weight);                                                     \
    }
#define DEFINE_NORM_BIAS(name)                                                                               \
    mia_tensor mia_op_##name(mia_tensor x, mia_tensor weight, mia_tensor bias, double epsilon,               \
                             const char *file, int line) {                                                   \
        RECORD(name, {.f = {epsilon}}, NULL, x, weight, bias);                                               \
    }
#define DEFINE_ROPE(name)                                                                                    \
    mia_tensor mia_op_##name(mia_tensor x, mia_tensor positions, mia_tensor frequencies,                     \
                             mia_rope_style style, double magnitude, const char *file, int line) {           \
        const mia__attributes attributes = {.i = {(int64_t)style}, .f = {magnitude}};                        \
        RECORD(name, attributes, NULL, x, positions, frequencies);                                           \
    }
#define DEFINE_ATTENTION(name)                                                                               \
    mia_tensor mia_op_##name(mia_tensor q, mia_tensor k, mia_tensor v, mia_tensor length, double scale,      \
                             const char *file, int line) {                                                   \
        RECORD(name, {.f = {scale}}, NULL, q, k, v, length);                                                 \
    }
#define DEFINE_MATMUL(name)                                                                                  \
    mia_tensor mia_op_##name(mia_tensor w, mia_tensor x, const char *file, int line) {                       \
        RECORD(name, NONE, NULL, w, x);                                                                      \
    }

#define MIA_OP(name, tag, signature, class, types, type_rule, shape_rule, bound, doc) DEFINE_##signature(name)
#include <mia/ops.def>
#undef MIA_OP
