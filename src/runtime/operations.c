/* The exported operations, one form a signature of ops.def. */
#include "graph/ops.h"
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

#define REALS(...)                                                                                           \
    {                                                                                                        \
        .f = { __VA_ARGS__ }                                                                                 \
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
#define DEFINE_MODE(name)                                                                                    \
    mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, const char *file, int line) {                      \
        RECORD(name, INTEGERS(mode), NULL, x);                                                               \
    }
#define DEFINE_TWO_MODES(name)                                                                               \
    mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, uint32_t other, const char *file, int line) {      \
        RECORD(name, INTEGERS(mode, other), NULL, x);                                                        \
    }
#define DEFINE_PAD(name)                                                                                     \
    mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, int64_t before, int64_t after,                     \
                             mia_pad_style style, double value, const char *file, int line) {                \
        const mia__attributes attributes = {.i = {mode, before, after, (int64_t)style}, .f = {value}};       \
        RECORD(name, attributes, NULL, x);                                                                   \
    }
#define DEFINE_TAKE(name)                                                                                    \
    mia_tensor mia_op_##name(mia_tensor x, mia_tensor indices, uint32_t mode, const char *file, int line) {  \
        RECORD(name, INTEGERS(mode), NULL, x, indices);                                                      \
    }
#define DEFINE_SCATTER(name)                                                                                 \
    mia_tensor mia_op_##name(mia_tensor x, mia_tensor indices, mia_tensor part, uint32_t mode,               \
                             mia_scatter_style style, const char *file, int line) {                          \
        RECORD(name, INTEGERS(mode, (int64_t)style), NULL, x, indices, part);                                \
    }
#define DEFINE_ROLL(name)                                                                                    \
    mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, int64_t shift, const char *file, int line) {       \
        RECORD(name, INTEGERS(mode, shift), NULL, x);                                                        \
    }
#define DEFINE_TRIANGLE(name)                                                                                \
    mia_tensor mia_op_##name(mia_tensor x, int64_t diagonal, const char *file, int line) {                   \
        RECORD(name, INTEGERS(diagonal), NULL, x);                                                           \
    }
#define DEFINE_COMPARE(name) DEFINE_BINARY(name)
#define DEFINE_WHERE(name)                                                                                   \
    mia_tensor mia_op_##name(mia_tensor condition, mia_tensor a_, mia_tensor b, const char *file,            \
                             int line) {                                                                     \
        RECORD(name, NONE, NULL, condition, a_, b);                                                          \
    }
#define DEFINE_REAL(name)                                                                                    \
    mia_tensor mia_op_##name(mia_tensor x, double value, const char *file, int line) {                       \
        RECORD(name, REALS(value), NULL, x);                                                                 \
    }
#define DEFINE_RANGE(name)                                                                                   \
    mia_tensor mia_op_##name(mia_tensor x, double low, double high, const char *file, int line) {            \
        RECORD(name, REALS(low, high), NULL, x);                                                             \
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
#define DEFINE_ARG_MODES(name) DEFINE_MODES(name)
#define DEFINE_SCAN(name)                                                                                    \
    mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, bool exclusive, bool reverse, const char *file,    \
                             int line) {                                                                     \
        RECORD(name, INTEGERS(mode, exclusive, reverse), NULL, x);                                           \
    }
#define DEFINE_SORT(name)                                                                                    \
    mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, bool descending, const char *file, int line) {     \
        RECORD(name, INTEGERS(mode, descending), NULL, x);                                                   \
    }
#define DEFINE_ARG_SORT(name) DEFINE_SORT(name)
#define DEFINE_TOP_K(name)                                                                                   \
    mia_tensor mia_op_##name(mia_tensor x, uint32_t mode, int64_t k, bool greatest, const char *file,        \
                             int line) {                                                                     \
        RECORD(name, INTEGERS(mode, k, greatest), NULL, x);                                                  \
    }
#define DEFINE_ARG_TOP_K(name) DEFINE_TOP_K(name)
#define DEFINE_GROUP_NORM(name)                                                                              \
    mia_tensor mia_op_##name(mia_tensor x, mia_tensor weight, mia_tensor bias, uint32_t mode,                \
                             int64_t groups, double epsilon, const char *file, int line) {                   \
        const mia__attributes attributes = {.i = {mode, groups}, .f = {epsilon}};                            \
        RECORD(name, attributes, NULL, x, weight, bias);                                                     \
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
#define DEFINE_ATTENTION_MASKED(name)                                                                        \
    mia_tensor mia_op_##name(mia_tensor q, mia_tensor k, mia_tensor v, mia_tensor mask, mia_tensor length,   \
                             double scale, const char *file, int line) {                                     \
        RECORD(name, REALS(scale), NULL, q, k, v, mask, length);                                             \
    }
#define DEFINE_CONV(name)                                                                                    \
    mia_tensor mia_op_##name(mia_tensor x, mia_tensor w, mia_window window, const char *file, int line) {    \
        RECORD(name, mia__window_attributes(&window), NULL, x, w);                                           \
    }
#define DEFINE_POOL(name)                                                                                    \
    mia_tensor mia_op_##name(mia_tensor x, mia_window window, const char *file, int line) {                  \
        RECORD(name, mia__window_attributes(&window), NULL, x);                                              \
    }
#define DEFINE_ARANGE(name)                                                                                  \
    mia_tensor mia_op_##name(mia_tensor start, mia_tensor step, int64_t count, const char *file, int line) { \
        RECORD(name, INTEGERS(count), NULL, start, step);                                                    \
    }
#define DEFINE_RANDOM(name)                                                                                  \
    mia_tensor mia_op_##name(mia_tensor seed, mia_dtype dtype, int64_t count, const char *file, int line) {  \
        RECORD(name, INTEGERS((int64_t)dtype, count), NULL, seed);                                           \
    }
#define DEFINE_MATMUL(name)                                                                                  \
    mia_tensor mia_op_##name(mia_tensor w, mia_tensor x, const char *file, int line) {                       \
        RECORD(name, NONE, NULL, w, x);                                                                      \
    }

#define MIA_OP(name, tag, signature, class, types, type_rule, shape_rule, bound, doc) DEFINE_##signature(name)
#include <mia/ops.def>
#undef MIA_OP
