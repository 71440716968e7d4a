/* .npy files (npy.h). A file is a magic, a version, the length of a header, the header (a Python dictionary
 * with three keys), and the numbers:
 *
 *     \x93NUMPY 1 0 76 00  {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   ...
 *
 * Format: numpy.org/neps/nep-0001-npy-format.html */
#include "npy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC          "\x93NUMPY"
#define LONGEST_HEADER (1u << 16)

/* --- types ------------------------------------------------------------------------------------ */

static const struct {
    const char *descr; /* without the byte order */
    mia_dtype dtype;
    size_t bytes;
} types[] = {{"f4", MIA_f32, 4}, {"f2", MIA_f16, 2},   {"f8", MIA_f64, 8},
             {"i4", MIA_i32, 4}, {"u4", MIA_u32, 4},   {"i1", MIA_i8, 1},
             {"u1", MIA_u8, 1},  {"b1", MIA_bool8, 1}, {"i8", MIA_NONE, 8}};
#define TYPES (sizeof types / sizeof *types)

typedef struct header {
    size_t type; /* index into types */
    bool fortran;
    mia_shape shape; /* as NumPy counts axes */
} header;

/* --- reading the header ----------------------------------------------------------------------- */

/* What stands behind 'key': in the dictionary, NULL when it does not. */
static const char *value_of(const char *text, const char *key) {
    char quoted[40];
    (void)snprintf(quoted, sizeof quoted, "'%s'", key);
    const char *at = strstr(text, quoted);
    if (at == NULL) return NULL;
    at += strlen(quoted);
    while (*at == ' ') at++;
    if (*at++ != ':') return NULL;
    while (*at == ' ') at++;
    return at;
}

static bool parse_shape(const char *at, mia_shape *shape) {
    *shape = (mia_shape){0};
    if (at == NULL || *at++ != '(') return false;
    for (;;) {
        while (*at == ' ') at++;
        if (*at == ')') return true;
        char *end;
        errno = 0;
        long long extent = strtoll(at, &end, 10);
        if (end == at || errno != 0 || extent < 0 || shape->ndim == MIA_MAX_MODES) return false;
        shape->extent[shape->ndim++] = extent;
        at = end;
        while (*at == ' ') at++;
        if (*at == ',')
            at++;
        else if (*at != ')')
            return false;
    }
}

static mia_status parse_header(const char *path, const char *text, header *out, mia_error *error) {
    const char *descr = value_of(text, "descr"), *order = value_of(text, "fortran_order");
    if (descr == NULL || order == NULL || descr[0] != '\'' ||
        !parse_shape(value_of(text, "shape"), &out->shape))
        return mia_error_set(error, MIA_ERROR_FORMAT,
                             "%s: its header is none of a .npy file of at most %d axes", path, MIA_MAX_MODES);
    out->fortran = strncmp(order, "True", 4) == 0;
    size_t length = strcspn(++descr, "'");
    bool order_known = length == 3 && (descr[0] == '<' || descr[0] == '|' || descr[0] == '=');
    for (out->type = 0; order_known && out->type < TYPES; out->type++)
        if (strncmp(descr + 1, types[out->type].descr, 2) == 0) return MIA_OK;
    return mia_error_set(
        error, MIA_ERROR_UNSUPPORTED,
        "%s: numbers of type %.*s are not read; convert them to f4, f2, f8, i4, u4, i1, u1 or b1", path,
        (int)(length < 40 ? length : 40), descr);
}

static mia_status read_header(FILE *file, const char *path, header *out, mia_error *error) {
    unsigned char start[12];
    size_t got = fread(start, 1, 10, file);
    if (got != 10 || memcmp(start, MAGIC, 6) != 0 || start[6] < 1 || start[6] > 3)
        return mia_error_set(error, MIA_ERROR_FORMAT, "%s is no .npy file", path);
    size_t length = start[8] | (size_t)start[9] << 8;
    if (start[6] > 1) {
        if (fread(start + 10, 1, 2, file) != 2)
            return mia_error_set(error, MIA_ERROR_FORMAT, "%s is no .npy file", path);
        length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    }
    if (length > LONGEST_HEADER)
        return mia_error_set(error, MIA_ERROR_FORMAT, "%s: its header is too long", path);
    char *text = calloc(length + 1, 1);
    if (text == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory to read it", path);
    mia_status status = MIA_OK;
    if (fread(text, 1, length, file) != length)
        status = mia_error_set(error, MIA_ERROR_FORMAT, "%s: it ends within its header", path);
    else
        status = parse_header(path, text, out, error);
    free(text);
    return status;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Bytes of that many numbers; false when no memory holds them. */
static bool bytes_of(const header *h, size_t *count, size_t *bytes) {
    *count = 1;
    for (uint32_t m = 0; m < h->shape.ndim; m++)
        if (__builtin_mul_overflow(*count, (size_t)h->shape.extent[m], count)) return false;
    return !__builtin_mul_overflow(*count, types[h->type].bytes, bytes) && *bytes < SIZE_MAX / 2;
}

/* 64-bit integers in place as 32-bit ones. */
static mia_status narrow(const char *path, void *numbers, size_t count, mia_error *error) {
    const unsigned char *from = numbers;
    for (size_t i = 0; i < count; i++) {
        int64_t wide;
        memcpy(&wide, from + 8 * i, sizeof wide);
        int32_t small = (int32_t)wide;
        if (small != wide)
            return mia_error_set(error, MIA_ERROR_UNSUPPORTED, "%s: %" PRId64 " does not fit 32 bits", path,
                                 wide);
        memcpy((unsigned char *)numbers + 4 * i, &small, sizeof small);
    }
    return MIA_OK;
}

static mia_shape reversed(const mia_shape *shape) {
    mia_shape result = {.ndim = shape->ndim};
    for (uint32_t m = 0; m < shape->ndim; m++) result.extent[m] = shape->extent[shape->ndim - 1 - m];
    return result;
}

static mia_status read_numbers(mia_device *device, FILE *file, const char *path, const header *h,
                               mia_tensor *out, mia_error *error) {
    size_t count, bytes;
    if (!bytes_of(h, &count, &bytes))
        return mia_error_set(error, MIA_ERROR_FORMAT, "%s: its shape is larger than any memory", path);
    void *numbers = malloc(bytes + 1);
    if (numbers == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory for %zu bytes", path, bytes);
    mia_status status = MIA_OK;
    if (fread(numbers, 1, bytes, file) != bytes)
        status = mia_error_set(error, MIA_ERROR_FORMAT, "%s: it ends within its numbers", path);
    else if (fgetc(file) != EOF)
        status = mia_error_set(error, MIA_ERROR_FORMAT, "%s: more follows its numbers", path);
    bool wide = types[h->type].dtype == MIA_NONE;
    if (status == MIA_OK && wide) status = narrow(path, numbers, count, error);
    if (status == MIA_OK) {
        mia_shape shape = h->fortran ? h->shape : reversed(&h->shape), order = {.ndim = h->shape.ndim};
        *out = mia_tensor_upload(device, wide ? MIA_i32 : types[h->type].dtype, shape, numbers, NULL, 0);
        for (uint32_t m = 0; m < order.ndim; m++) order.extent[m] = order.ndim - 1 - m;
        if (h->fortran)
            *out = mia_op_permute(*out, order, NULL, 0); /* axes were stored the other way round */
        status = mia_tensor_status(*out, error);
        if (status != MIA_OK) mia_unref(*out);
    }
    free(numbers);
    return status;
}

mia_status mia__cli_npy_read(mia_device *device, const char *path, mia_tensor *out, mia_error *error) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return mia_error_set(error, errno == ENOENT ? MIA_ERROR_NOT_FOUND : MIA_ERROR_IO,
                             "%s: cannot open: %s", path, strerror(errno));
    header h = {.type = 0};
    mia_status status = read_header(file, path, &h, error);
    if (status == MIA_OK) status = read_numbers(device, file, path, &h, out, error);
    (void)fclose(file);
    return status;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* The header, padded so that the numbers begin at a multiple of 64. Returns its length, 0 if it does not fit. */
static size_t make_header(size_t type, const mia_shape *shape, char *out, size_t capacity) {
    char axes[256] = "";
    size_t used = 0;
    for (uint32_t m = shape->ndim; m > 0; m--) {
        int written = snprintf(axes + used, sizeof axes - used, "%" PRId64 "%s", shape->extent[m - 1],
                               m > 1              ? ", "
                               : shape->ndim == 1 ? ","
                                                  : "");
        if (written < 0 || (size_t)written >= sizeof axes - used) return 0;
        used += (size_t)written;
    }
    int length = snprintf(out, capacity, "{'descr': '%c%s', 'fortran_order': False, 'shape': (%s), }",
                          types[type].bytes == 1 ? '|' : '<', types[type].descr, axes);
    if (length < 0 || (size_t)length + 65 > capacity) return 0;
    size_t padded = ((size_t)length + 1 + 10 + 63) / 64 * 64 - 10;
    memset(out + length, ' ', padded - (size_t)length);
    out[padded - 1] = '\n';
    return padded;
}

static mia_status write_file(const char *path, size_t type, const mia_shape *shape, const void *numbers,
                             size_t bytes, mia_error *error) {
    char text[512];
    size_t length = make_header(type, shape, text, sizeof text);
    const unsigned char start[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)length, (unsigned char)(length >> 8)};
    FILE *file = fopen(path, "wb");
    if (file == NULL) return mia_error_set(error, MIA_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    bool good = fwrite(start, 1, sizeof start, file) == sizeof start &&
                fwrite(text, 1, length, file) == length && fwrite(numbers, 1, bytes, file) == bytes;
    int why = errno;
    if (fclose(file) != 0 && good) {
        good = false;
        why = errno;
    }
    return good ? MIA_OK : mia_error_set(error, MIA_ERROR_IO, "%s: cannot write: %s", path, strerror(why));
}

mia_status mia__cli_npy_write(mia_tensor t, const char *path, mia_error *error) {
    mia_dtype dtype = mia_tensor_dtype(t);
    mia_shape shape = mia_tensor_shape(t);
    mia_status status = mia_tensor_status(t, error);
    header h = {.shape = shape};
    while (h.type < TYPES && types[h.type].dtype != dtype) h.type++;
    size_t count, bytes = 0;
    if (status == MIA_OK && h.type == TYPES)
        status = mia_error_set(error, MIA_ERROR_UNSUPPORTED, "%s: NumPy has no %s", path,
                               mia_dtype_describe(dtype)->name);
    if (status == MIA_OK && !bytes_of(&h, &count, &bytes))
        status = mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: too large", path);
    void *numbers = status == MIA_OK ? malloc(bytes + 1) : NULL;
    if (status == MIA_OK && numbers == NULL)
        status = mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory for %zu bytes", path, bytes);
    if (status != MIA_OK) {
        mia_unref(t);
        return status;
    }
    status = mia_tensor_read(t, numbers, bytes, error, NULL, 0);
    if (status == MIA_OK) status = write_file(path, h.type, &shape, numbers, bytes, error);
    free(numbers);
    return status;
}
