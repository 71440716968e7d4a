/* Values of a graph: host numbers as files have them, and the same as Mia's tensors.
 *
 * ONNX's last axis is the fastest, Mia's mode 0: shapes are reversed, bytes stay. Integers of 64 bits become
 * those of 32 where they fit; one that does not is no fault until a tensor is made of it (the end of a Slice
 * may be the largest integer). */
#ifndef MIA_TEST_ONNX_TENSORS_H
#define MIA_TEST_ONNX_TENSORS_H

#include "onnx/proto.h"

#include <mia/mia.h>

#define OP(name, ...) mia_op_##name(__VA_ARGS__, __FILE__, __LINE__)

typedef struct onnx_value {
    char *name;        /* owned */
    mia_tensor tensor; /* owned, where `made` */
    bool made;
    /* numbers on the host: elements of dtype, and integers (bools too) at full width; NULL where unknown */
    void *host;
    int64_t *integers;
    size_t count;
    mia_dtype dtype;
    mia_shape shape;
    bool too_wide; /* has an integer that dtype does not hold */
} onnx_value;

/* Whether Mia has the type, or a narrower one that stands for it. */
bool onnx_dtype(int32_t type, mia_dtype *out);

/* The numbers of a file's tensor; false with a reason for types that Mia lacks and for files that are wrong. */
bool onnx_value_of(const Onnx__TensorProto *proto, onnx_value *out, const char **why);

/* [count] integers, as Shape gives them; rank 0 where count is -1. */
bool onnx_value_of_integers(const int64_t *integers, int64_t count, onnx_value *out);

/* Frees what the value owns. */
void onnx_value_end(onnx_value *value);

/* The value's tensor, made of its numbers when first asked for; the value keeps it. Poisoned where it has an
 * integer that is too wide. */
mia_tensor onnx_value_tensor(mia_device *device, onnx_value *value);

/* Fills `host` (and `integers`, for integer types and bools) from the tensor where they are not known. */
bool onnx_value_fetch(onnx_value *value, mia_error *error);

/* The numbers as the tensor has them, also where the host knew them. */
bool onnx_value_read_back(mia_device *device, onnx_value *value, mia_error *error);

mia_dtype onnx_value_dtype(const onnx_value *value);
mia_shape onnx_value_shape(const onnx_value *value);

/* Element i as double; of a value with host numbers. */
double onnx_value_at(const onnx_value *value, size_t i);

#endif
