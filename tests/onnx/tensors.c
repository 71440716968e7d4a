/* Numbers between ONNX's files, the host and Mia. */
#include "onnx/tensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TYPE(name) ONNX__TENSOR_PROTO__DATA_TYPE__##name

bool onnx_dtype(int32_t type, mia_dtype *out) {
    switch (type) {
    case TYPE(FLOAT): *out = MIA_f32; return true;
    case TYPE(FLOAT16): *out = MIA_f16; return true;
    case TYPE(BFLOAT16): *out = MIA_bf16; return true;
    case TYPE(DOUBLE): *out = MIA_f64; return true;
    case TYPE(INT32):
    case TYPE(INT64): *out = MIA_i32; return true;
    case TYPE(UINT32):
    case TYPE(UINT64): *out = MIA_u32; return true;
    case TYPE(INT8): *out = MIA_i8; return true;
    case TYPE(UINT8): *out = MIA_u8; return true;
    case TYPE(BOOL): *out = MIA_bool8; return true;
    default: return false;
    }
}

static bool is_integer(mia_dtype dtype) {
    mia_dtype_kind kind = mia_dtype_describe(dtype)->kind;
    return kind == MIA_KIND_INTEGER || kind == MIA_KIND_BOOL;
}

static int64_t integer_at(mia_dtype dtype, const void *host, size_t i) {
    switch (dtype) {
    case MIA_i32: return ((const int32_t *)host)[i];
    case MIA_u32: return ((const uint32_t *)host)[i];
    case MIA_i8: return ((const int8_t *)host)[i];
    default: return ((const uint8_t *)host)[i];
    }
}

/* False if the type does not hold the number. */
static bool set_integer(mia_dtype dtype, void *host, size_t i, int64_t number) {
    switch (dtype) {
    case MIA_i32: ((int32_t *)host)[i] = (int32_t)number; break;
    case MIA_u32: ((uint32_t *)host)[i] = (uint32_t)number; break;
    case MIA_i8: ((int8_t *)host)[i] = (int8_t)number; break;
    default: ((uint8_t *)host)[i] = (uint8_t)number; break;
    }
    return integer_at(dtype, host, i) == number;
}

/* Little-endian integers of raw data. */
static int64_t raw_integer(int32_t type, const uint8_t *raw, size_t i) {
    int64_t wide = 0;
    int32_t word = 0;
    switch (type) {
    case TYPE(INT64):
    case TYPE(UINT64): memcpy(&wide, raw + 8 * i, sizeof wide); return wide;
    case TYPE(INT32): memcpy(&word, raw + 4 * i, sizeof word); return word;
    case TYPE(UINT32): memcpy(&word, raw + 4 * i, sizeof word); return (uint32_t)word;
    case TYPE(INT8): return (int8_t)raw[i];
    default: return raw[i];
    }
}

static size_t bytes_of(int32_t type, mia_dtype dtype) {
    return type == TYPE(INT64) || type == TYPE(UINT64) ? 8 : mia_dtype_describe(dtype)->bytes;
}

/* Numbers lie in raw_data, or in one of the arrays: those of narrow types in int32_data. */
static bool read_integers(const Onnx__TensorProto *p, onnx_value *v) {
    v->integers = malloc((v->count + 1) * sizeof *v->integers);
    if (v->integers == NULL) return false;
    for (size_t i = 0; i < v->count; i++) {
        if (p->has_raw_data)
            v->integers[i] = raw_integer(p->data_type, p->raw_data.data, i);
        else if (p->n_int32_data == v->count)
            v->integers[i] = p->int32_data[i];
        else if (p->n_int64_data == v->count)
            v->integers[i] = p->int64_data[i];
        else if (p->n_uint64_data == v->count)
            v->integers[i] = (int64_t)p->uint64_data[i];
        else
            return false;
        if (!set_integer(v->dtype, v->host, i, v->integers[i])) v->too_wide = true;
    }
    return true;
}

static bool read_reals(const Onnx__TensorProto *p, onnx_value *v) {
    size_t bytes = v->count * mia_dtype_describe(v->dtype)->bytes;
    if (v->count == 0) return true;
    if (p->has_raw_data)
        memcpy(v->host, p->raw_data.data, bytes);
    else if (v->dtype == MIA_f32 && p->n_float_data == v->count)
        memcpy(v->host, p->float_data, bytes);
    else if (v->dtype == MIA_f64 && p->n_double_data == v->count)
        memcpy(v->host, p->double_data, bytes);
    else if (bytes == 2 * v->count && p->n_int32_data == v->count)
        for (size_t i = 0; i < v->count; i++) ((uint16_t *)v->host)[i] = (uint16_t)p->int32_data[i];
    else
        return false;
    return true;
}

bool onnx_value_of(const Onnx__TensorProto *p, onnx_value *out, const char **why) {
    onnx_value v = {.count = 1, .shape = {.ndim = (uint32_t)p->n_dims}};
    *why = onnx_type_name(p->data_type);
    if (!onnx_dtype(p->data_type, &v.dtype)) return false;
    *why = "a tensor of more than 8 axes";
    if (p->n_dims > MIA_MAX_MODES) return false;
    *why = "a tensor that is not as its header says";
    for (size_t i = 0; i < p->n_dims; i++) {
        v.shape.extent[p->n_dims - 1 - i] = p->dims[i];
        if (p->dims[i] < 0 || p->dims[i] > INT32_MAX) return false;
        v.count *= (size_t)p->dims[i];
        if (v.count > INT32_MAX) return false;
    }
    if (p->has_raw_data && p->raw_data.len != v.count * bytes_of(p->data_type, v.dtype)) return false;
    v.host = calloc(v.count + 1, mia_dtype_describe(v.dtype)->bytes);
    bool good = v.host != NULL && (is_integer(v.dtype) ? read_integers(p, &v) : read_reals(p, &v));
    if (!good) {
        onnx_value_end(&v);
        return false;
    }
    *out = v;
    return true;
}

bool onnx_value_of_integers(const int64_t *integers, int64_t count, onnx_value *out) {
    onnx_value v = {.count = count < 0 ? 1 : (size_t)count, .dtype = MIA_i32};
    if (count >= 0) v.shape = (mia_shape){1, {count}};
    v.host = calloc(v.count + 1, sizeof(int32_t));
    v.integers = calloc(v.count + 1, sizeof *v.integers);
    if (v.host == NULL || v.integers == NULL) {
        onnx_value_end(&v);
        return false;
    }
    for (size_t i = 0; i < v.count; i++) {
        v.integers[i] = integers[i];
        if (!set_integer(v.dtype, v.host, i, integers[i])) v.too_wide = true;
    }
    *out = v;
    return true;
}

void onnx_value_end(onnx_value *value) {
    if (value->made) OP(unref, value->tensor);
    free(value->name);
    free(value->host);
    free(value->integers);
    *value = (onnx_value){0};
}

mia_tensor onnx_value_tensor(mia_device *device, onnx_value *v) {
    if (!v->made) {
        const void *numbers = v->too_wide ? NULL : v->host; /* without numbers the handle is poisoned */
        v->tensor = mia_tensor_upload(device, v->dtype, v->shape, numbers, __FILE__, __LINE__);
        v->made = true;
    }
    return v->tensor;
}

bool onnx_value_fetch(onnx_value *v, mia_error *error) {
    if (v->host == NULL) {
        mia_shape shape = mia_tensor_shape(v->tensor);
        size_t count = 1;
        for (uint32_t m = 0; m < shape.ndim; m++) count *= (size_t)shape.extent[m];
        mia_dtype dtype = mia_tensor_dtype(v->tensor);
        size_t size = mia_dtype_describe(dtype)->bytes;
        void *host = calloc(count + 1, size == 0 ? 1 : size);
        if (host == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory") == MIA_OK;
        if (mia_tensor_read(OP(ref, v->tensor), host, count * size, error, __FILE__, __LINE__) != MIA_OK) {
            free(host);
            return false;
        }
        v->host = host, v->count = count, v->dtype = dtype, v->shape = shape;
    }
    if (v->integers != NULL || !is_integer(v->dtype)) return true;
    v->integers = calloc(v->count + 1, sizeof *v->integers);
    if (v->integers == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory") == MIA_OK;
    for (size_t i = 0; i < v->count; i++) v->integers[i] = integer_at(v->dtype, v->host, i);
    return true;
}

bool onnx_value_read_back(mia_device *device, onnx_value *v, mia_error *error) {
    (void)onnx_value_tensor(device, v);
    free(v->host);
    free(v->integers);
    v->host = NULL, v->integers = NULL;
    return onnx_value_fetch(v, error);
}

mia_dtype onnx_value_dtype(const onnx_value *v) {
    return v->host != NULL ? v->dtype : mia_tensor_dtype(v->tensor);
}

mia_shape onnx_value_shape(const onnx_value *v) {
    return v->host != NULL ? v->shape : mia_tensor_shape(v->tensor);
}

/* IEEE 754 binary16: 1 bit of sign, 5 of exponent, 10 of fraction. */
static double half_value(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double magnitude = exponent == 31  ? (fraction == 0 ? (double)INFINITY : (double)NAN)
                       : exponent == 0 ? ldexp(fraction, -24)
                                       : ldexp(1024 + fraction, exponent - 25);
    return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

double onnx_value_at(const onnx_value *v, size_t i) {
    switch (v->dtype) {
    case MIA_f32: return (double)((const float *)v->host)[i];
    case MIA_f64: return ((const double *)v->host)[i];
    case MIA_f16: return half_value(((const uint16_t *)v->host)[i]);
    case MIA_bf16: {
        uint32_t bits = (uint32_t)((const uint16_t *)v->host)[i] << 16;
        float number;
        memcpy(&number, &bits, sizeof number);
        return (double)number;
    }
    default: return (double)v->integers[i];
    }
}
