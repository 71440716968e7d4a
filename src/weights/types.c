/* ggml's table of tensor types, GGUF's of value types, and how a value's bytes become a value. */
#include "base/size.h"
#include "weights/weights.h"

#include <string.h>

static const mia__ggml_type types[] = {
#define MIA_GGML_TYPE(number, name, elements, bytes) [number] = {name, elements, bytes, false},
#define MIA_GGML_REMOVED(number, name)               [number] = {name, 0, 0, true},
#include "weights/ggml_types.def"
#undef MIA_GGML_TYPE
#undef MIA_GGML_REMOVED
};

static const struct {
    mia_dtype dtype;
    int32_t number;
} dtypes[] = {
#define MIA_DTYPE(name, tag, kind, elements, bytes, host, ggml) {MIA_##name, ggml},
#include <mia/dtype.def>
#undef MIA_DTYPE
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

mia__ggml_type mia__ggml_type_describe(uint32_t number) {
    static const mia__ggml_type unknown = {NULL, 0, 0, false};
    return number < COUNT(types) ? types[number] : unknown;
}

int32_t mia__ggml_type_number(mia_dtype dtype) {
    for (size_t i = 0; i < COUNT(dtypes); i++)
        if (dtypes[i].dtype == dtype) return dtypes[i].number;
    return -1;
}

mia_dtype mia__ggml_type_dtype(uint32_t number) {
    for (size_t i = 0; i < COUNT(dtypes); i++)
        if ((int64_t)dtypes[i].number == (int64_t)number) return dtypes[i].dtype;
    return MIA_NONE;
}

bool mia__ggml_type_tensor_bytes(const mia__ggml_type *type, const mia_shape *shape, uint64_t *bytes,
                                 const char **fault) {
    uint64_t row = shape->ndim > 0 ? (uint64_t)shape->extent[0] : 1;
    if (row % type->elements != 0) {
        *fault = "its first dimension is not in whole blocks of the type";
        return false;
    }
    int64_t elements = 1;
    uint64_t total = row / type->elements;
    bool fits = mia__u64_multiply(total, type->bytes, &total);
    for (uint32_t i = 0; fits && i < shape->ndim; i++) {
        fits = mia__i64_multiply(elements, shape->extent[i], &elements);
        if (fits && i > 0) fits = mia__u64_multiply(total, (uint64_t)shape->extent[i], &total);
    }
    *fault = "its shape is too large";
    if (fits) *bytes = total;
    return fits;
}

const char *mia__value_type_name(mia_value_type type) {
    static const char *const names[] = {"u8",   "i8",   "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "text", "array", "u64", "i64", "f64"};
    return (size_t)type < COUNT(names) ? names[type] : "unknown";
}

size_t mia__value_type_bytes(mia_value_type type) {
    switch (type) {
    case MIA_VALUE_U8:
    case MIA_VALUE_I8:
    case MIA_VALUE_BOOL: return 1;
    case MIA_VALUE_U16:
    case MIA_VALUE_I16: return 2;
    case MIA_VALUE_U32:
    case MIA_VALUE_I32:
    case MIA_VALUE_F32: return 4;
    case MIA_VALUE_U64:
    case MIA_VALUE_I64:
    case MIA_VALUE_F64: return 8;
    case MIA_VALUE_STRING:
    case MIA_VALUE_ARRAY: break;
    }
    return 0;
}

mia_value mia__value_decode(mia_value_type type, const void *bytes) {
    mia_value value = {.type = type, .count = 1};
    size_t count = mia__value_type_bytes(type);
    uint64_t raw = 0; /* little-endian in the file, whatever the machine is */
    for (size_t i = count; i-- > 0;) raw = raw << 8 | ((const unsigned char *)bytes)[i];
    uint64_t sign = count > 0 ? (uint64_t)1 << (8 * count - 1) : 0;
    uint32_t low = (uint32_t)raw;
    float single;
    switch (type) {
    case MIA_VALUE_I8:
    case MIA_VALUE_I16:
    case MIA_VALUE_I32:
    case MIA_VALUE_I64: value.as.i = (int64_t)((raw ^ sign) - sign); break; /* the sign bit, extended */
    case MIA_VALUE_F32:
        memcpy(&single, &low, sizeof single);
        value.as.f = (double)single;
        break;
    case MIA_VALUE_F64: memcpy(&value.as.f, &raw, sizeof raw); break;
    default: value.as.u = raw; break;
    }
    return value;
}

mia_value mia_value_element(const mia_value *array, uint64_t index) {
    mia_value none = {.type = MIA_VALUE_U8, .count = 1};
    if (array == NULL || array->type != MIA_VALUE_ARRAY || index >= array->count) return none;
    if (array->element_type == MIA_VALUE_ARRAY) return ((const mia_value *)array->array)[index];
    if (array->element_type == MIA_VALUE_STRING) {
        mia_value value = {.type = MIA_VALUE_STRING, .count = 1};
        value.as.text = ((const mia_text *)array->array)[index];
        return value;
    }
    size_t bytes = mia__value_type_bytes(array->element_type);
    return mia__value_decode(array->element_type, (const unsigned char *)array->array + index * bytes);
}
