/* What several families of operations are composed of. */
#include "onnx/graph.h"

#include <math.h>

int64_t onnx_count(const mia_shape *shape) {
    int64_t count = 1;
    for (uint32_t m = 0; m < shape->ndim; m++) count *= shape->extent[m];
    return count;
}

mia_shape onnx_line(uint32_t rank, uint32_t mode, int64_t extent) {
    mia_shape shape = {.ndim = rank};
    for (uint32_t m = 0; m < rank; m++) shape.extent[m] = m == mode ? extent : 1;
    return shape;
}

mia_tensor onnx_places(onnx_node *n, uint32_t rank, uint32_t mode, int64_t extent) {
    mia_tensor row = mia_tensor_arange(n->graph->device, MIA_i32, 0, 1, extent, __FILE__, __LINE__);
    return OP(reshape, row, onnx_line(rank, mode, extent));
}

mia_tensor onnx_indices(onnx_node *n, size_t i, int64_t extent) {
    mia_tensor indices = onnx_keep(n, OP(convert, onnx_in(n, i), MIA_i32));
    mia_tensor wrapped = add_number(OP(ref, indices), (double)extent);
    return OP(where, less_number(OP(ref, indices), 0), wrapped, OP(ref, indices));
}

static bool is_real(mia_dtype dtype) {
    return mia_dtype_describe(dtype)->kind == MIA_KIND_FLOAT;
}

static mia_tensor towards_zero(mia_tensor x) {
    mia_tensor below = OP(floor, OP(ref, x)), above = OP(ceil, OP(ref, x));
    mia_tensor negative = less_number(x, 0);
    return OP(where, negative, above, below);
}

mia_tensor onnx_cast(mia_tensor x, mia_dtype dtype) {
    mia_dtype from = mia_tensor_dtype(x);
    if (dtype == MIA_bool8 && from != MIA_bool8) return not_equal_number(x, 0);
    if (is_real(from) && mia_dtype_describe(dtype)->kind == MIA_KIND_INTEGER) x = towards_zero(x);
    return OP(convert, x, dtype);
}

mia_tensor onnx_exchange(mia_tensor x, uint32_t mode, uint32_t other) {
    return mode == other ? x : OP(transpose, x, mode, other);
}

/* Rows become columns, so that both run over mode 0. */
mia_tensor onnx_product(mia_tensor a, mia_tensor b) {
    return OP(matmul, OP(transpose, b, 0, 1), a);
}

mia_tensor onnx_where_true(onnx_node *n, mia_tensor condition) {
    mia_tensor flags = onnx_keep(n, OP(convert, condition, MIA_i32));
    int64_t count = onnx_read_integer(n, OP(sum, OP(ref, flags), MIA_ALL_MODES));
    /* equal flags stay in their order: those that hold come first, as they were */
    return OP(slice, OP(argsort, OP(ref, flags), 0, true), 0, 0, count, 1);
}
