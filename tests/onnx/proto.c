/* Files to messages, and what is asked of messages. */
#include "onnx/proto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    uint8_t *bytes = NULL;
    long end = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (end >= 0 && fseek(file, 0, SEEK_SET) == 0) bytes = malloc((size_t)end + 1);
    *size = end >= 0 ? (size_t)end : 0;
    if (bytes != NULL && fread(bytes, 1, *size, file) != *size) {
        free(bytes);
        bytes = NULL;
    }
    (void)fclose(file);
    return bytes;
}

Onnx__ModelProto *onnx_model_read(const char *path) {
    size_t size = 0;
    uint8_t *bytes = read_file(path, &size);
    if (bytes == NULL) return NULL;
    Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, size, bytes);
    free(bytes);
    if (model != NULL && model->graph == NULL) {
        onnx_model_free(model);
        return NULL;
    }
    return model;
}

void onnx_model_free(Onnx__ModelProto *model) {
    onnx__model_proto__free_unpacked(model, NULL);
}

Onnx__TensorProto *onnx_tensor_read(const char *path) {
    size_t size = 0;
    uint8_t *bytes = read_file(path, &size);
    if (bytes == NULL) return NULL;
    Onnx__TensorProto *tensor = onnx__tensor_proto__unpack(NULL, size, bytes);
    free(bytes);
    return tensor;
}

void onnx_tensor_free(Onnx__TensorProto *tensor) {
    onnx__tensor_proto__free_unpacked(tensor, NULL);
}

bool onnx_type_of(const Onnx__ValueInfoProto *info, int32_t *type) {
    const Onnx__TypeProto *t = info->type;
    if (t == NULL || t->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) return false;
    *type = t->tensor_type->elem_type;
    return true;
}

const char *onnx_type_name(int32_t type) {
    static const char *const names[] = {"undefined", "float",  "uint8",     "int8",       "uint16",  "int16",
                                        "int32",     "int64",  "string",    "bool",       "float16", "double",
                                        "uint32",    "uint64", "complex64", "complex128", "bfloat16"};
    return type >= 0 && (size_t)type < sizeof names / sizeof *names ? names[type] : "unknown";
}

const Onnx__AttributeProto *onnx_find_attribute(const Onnx__NodeProto *node, const char *name) {
    for (size_t i = 0; i < node->n_attribute; i++)
        if (strcmp(node->attribute[i]->name, name) == 0) return node->attribute[i];
    return NULL;
}
