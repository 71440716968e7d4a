/* ONNX's protobuf files, read with the code that protoc-c makes of onnx.proto when the tests are built. */
#ifndef MIA_TEST_ONNX_PROTO_H
#define MIA_TEST_ONNX_PROTO_H

#include "onnx.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The file's message; NULL where it cannot be read. Ended with the function of the same name. */
Onnx__ModelProto *onnx_model_read(const char *path);
void onnx_model_free(Onnx__ModelProto *model);
Onnx__TensorProto *onnx_tensor_read(const char *path);
void onnx_tensor_free(Onnx__TensorProto *tensor);

/* The element type of a graph's input or output; false where it is no tensor. */
bool onnx_type_of(const Onnx__ValueInfoProto *info, int32_t *type);

/* "int64"; static text, also for numbers that are no type. */
const char *onnx_type_name(int32_t type);

/* NULL where the node does not have it. */
const Onnx__AttributeProto *onnx_find_attribute(const Onnx__NodeProto *node, const char *name);

#endif
