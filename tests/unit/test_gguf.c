/* The GGUF reader on files made by hand: every value type, look-ups, tensors, and every refusal with its
 * message; each through a mapped source and through one that can only be read. */
#include "gguf_builder.h"

#include <math.h>
#include <stdio.h>

/* Opens the file both ways; *status and message must agree. The weights are of the way that `mapped` asks
 * for. */
static mia_status open_way(const gguf_builder *file, bool mapped, read_only_file *user, mia_weights **weights,
                           mia_error *error) {
    mia_source source =
        mapped ? mapped_source(file->bytes, file->count) : read_only_source(user, file->bytes, file->count);
    return mia_weights_open(source, NULL, weights, error);
}

/* Frees the file. */
static void refuses(gguf_builder file, mia_status expected, const char *message) {
    for (int mapped = 0; mapped < 2; mapped++) {
        mia_error error = {0};
        mia_weights *weights = NULL;
        read_only_file user = {0};
        mia_status status = open_way(&file, mapped != 0, &user, &weights, &error);
        assert_null(weights);
        assert_string_equal(error.message, message);
        assert_int_equal(status, expected);
        assert_int_equal(error.status, expected);
        if (!mapped) assert_int_equal(user.closed, 1);
    }
    gguf_free(&file);
}

/* Runs a check on the file opened both ways, and frees it. */
static void accepts(gguf_builder file, void (*check)(const mia_weights *weights)) {
    for (int mapped = 0; mapped < 2; mapped++) {
        mia_error error = {0};
        mia_weights *weights = NULL;
        read_only_file user = {0};
        mia_status status = open_way(&file, mapped != 0, &user, &weights, &error);
        assert_string_equal(error.message, "");
        assert_int_equal(status, MIA_OK);
        check(weights);
        mia_weights_close(weights);
        if (!mapped) assert_int_equal(user.closed, 1);
    }
    gguf_free(&file);
}

static void assert_text(mia_text text, const char *expected) {
    assert_int_equal(text.length, strlen(expected));
    assert_memory_equal(text.bytes, expected, text.length);
}

/* --- values ----------------------------------------------------------------------------------- */

static mia_value value_of(const mia_weights *weights, const char *key) {
    mia_value value = {.type = MIA_VALUE_U8};
    assert_true(mia_weights_find(weights, key, &value));
    return value;
}

static void check_scalars(const mia_weights *weights) {
    static const struct {
        const char *key;
        mia_value_type type;
        uint64_t u;
        int64_t i;
        double f;
    } expected[] = {
        {"u8", MIA_VALUE_U8, 200, 0, 0},           {"i8", MIA_VALUE_I8, 0, -100, 0},
        {"u16", MIA_VALUE_U16, 60000, 0, 0},       {"i16", MIA_VALUE_I16, 0, -30000, 0},
        {"u32", MIA_VALUE_U32, 4000000000u, 0, 0}, {"i32", MIA_VALUE_I32, 0, -2000000000, 0},
        {"f32", MIA_VALUE_F32, 0, 0, -0.625},      {"bool", MIA_VALUE_BOOL, 1, 0, 0},
        {"u64", MIA_VALUE_U64, UINT64_MAX, 0, 0},  {"i64", MIA_VALUE_I64, 0, INT64_MIN, 0},
        {"f64", MIA_VALUE_F64, 0, 0, 1e300},
    };
    assert_int_equal(mia_weights_metadata_count(weights), 12);
    assert_int_equal(mia_weights_tensor_count(weights), 0);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        mia_value value = value_of(weights, expected[i].key);
        assert_int_equal(value.type, expected[i].type);
        assert_int_equal(value.count, 1);
        if (value.type == MIA_VALUE_F32 || value.type == MIA_VALUE_F64)
            assert_true(value.as.f == expected[i].f);
        else if (expected[i].i != 0)
            assert_true(value.as.i == expected[i].i);
        else
            assert_true(value.as.u == expected[i].u);
        mia_text key;
        assert_int_equal(mia_weights_metadata(weights, i, &key).type, expected[i].type);
        assert_text(key, expected[i].key);
    }
    mia_value text = value_of(weights, "text");
    assert_int_equal(text.type, MIA_VALUE_STRING);
    assert_text(text.as.text, "hello");
    assert_false(mia_weights_find(weights, "tex", NULL));
    assert_false(mia_weights_find(weights, "text2", NULL));
    assert_false(mia_weights_find(weights, "", NULL));
}

static gguf_builder scalars(uint32_t version) {
    gguf_builder file = {NULL, 0};
    gguf_head(&file, version, 0, 12);
    gguf_key(&file, "u8", 0), gguf_number(&file, 200, 1);
    gguf_key(&file, "i8", 1), gguf_number(&file, (uint64_t)-100, 1);
    gguf_key(&file, "u16", 2), gguf_number(&file, 60000, 2);
    gguf_key(&file, "i16", 3), gguf_number(&file, (uint64_t)-30000, 2);
    gguf_key(&file, "u32", 4), gguf_u32(&file, 4000000000u);
    gguf_key(&file, "i32", 5), gguf_number(&file, (uint64_t)-2000000000, 4);
    gguf_key(&file, "f32", 6), gguf_f32(&file, -0.625f);
    gguf_key(&file, "bool", 7), gguf_number(&file, 1, 1);
    gguf_key(&file, "u64", 10), gguf_u64(&file, UINT64_MAX);
    gguf_key(&file, "i64", 11), gguf_u64(&file, (uint64_t)INT64_MIN);
    gguf_key(&file, "f64", 12), gguf_f64(&file, 1e300);
    gguf_key(&file, "text", 8), gguf_text(&file, "hello");
    return file;
}

static void test_scalars(void **state) {
    (void)state;
    accepts(scalars(2), check_scalars);
    accepts(scalars(3), check_scalars);
}

#define ARRAY_COUNT 5

static void check_number_arrays(const mia_weights *weights) {
    static const uint32_t types[] = {0, 1, 2, 3, 4, 5, 10, 11};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        char key[16];
        (void)snprintf(key, sizeof key, "n%u", types[t]);
        mia_value array = value_of(weights, key);
        assert_int_equal(array.type, MIA_VALUE_ARRAY);
        assert_int_equal(array.element_type, types[t]);
        assert_int_equal(array.count, ARRAY_COUNT);
        for (uint64_t i = 0; i < ARRAY_COUNT; i++) {
            mia_value element = mia_value_element(&array, i);
            assert_int_equal(element.type, types[t]);
            assert_true(types[t] == 0 || types[t] == 2 || types[t] == 4 || types[t] == 10
                            ? element.as.u == i * 25
                            : element.as.i == (int64_t)i * -25);
        }
        mia_value none = mia_value_element(&array, ARRAY_COUNT);
        assert_int_equal(none.type, MIA_VALUE_U8);
        assert_int_equal(none.as.u, 0);
    }
    mia_value singles = value_of(weights, "f32"), doubles = value_of(weights, "f64"),
              bools = value_of(weights, "bool");
    assert_true(mia_value_element(&singles, 1).as.f == 0.5);
    assert_true(isnan(mia_value_element(&doubles, 0).as.f));
    assert_int_equal(mia_value_element(&bools, 1).as.u, 1);
    assert_int_equal(mia_value_element(&bools, 1).type, MIA_VALUE_BOOL);
    mia_value empty = value_of(weights, "empty");
    assert_int_equal(empty.count, 0);
    assert_int_equal(mia_value_element(&empty, 0).as.u, 0);
}

static void test_number_arrays(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        size_t bytes;
        int sign;
    } kinds[] = {{0, 1, 1}, {1, 1, -1}, {2, 2, 1},  {3, 2, -1},
                 {4, 4, 1}, {5, 4, -1}, {10, 8, 1}, {11, 8, -1}};
    gguf_builder file = {NULL, 0};
    gguf_head(&file, 3, 0, 12);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        char key[16];
        (void)snprintf(key, sizeof key, "n%u", kinds[k].type);
        gguf_key(&file, key, 9);
        gguf_array(&file, kinds[k].type, ARRAY_COUNT);
        for (int i = 0; i < ARRAY_COUNT; i++)
            gguf_number(&file, (uint64_t)(kinds[k].sign * i * 25), kinds[k].bytes);
    }
    gguf_key(&file, "f32", 9), gguf_array(&file, 6, 2), gguf_f32(&file, 1.0f), gguf_f32(&file, 0.5f);
    gguf_key(&file, "f64", 9), gguf_array(&file, 12, 1), gguf_f64(&file, (double)NAN);
    gguf_key(&file, "bool", 9), gguf_array(&file, 7, 2), gguf_number(&file, 0x0100, 2);
    gguf_key(&file, "empty", 9), gguf_array(&file, 8, 0);
    accepts(file, check_number_arrays);
}

static void check_text_arrays(const mia_weights *weights) {
    mia_value texts = value_of(weights, "texts");
    assert_int_equal(texts.element_type, MIA_VALUE_STRING);
    assert_int_equal(texts.count, 5000);
    for (uint64_t i = 0; i < texts.count; i++) {
        char expected[24];
        (void)snprintf(expected, sizeof expected, "token %llu", (unsigned long long)(i * i));
        mia_value element = mia_value_element(&texts, i);
        assert_int_equal(element.type, MIA_VALUE_STRING);
        assert_text(element.as.text, expected);
    }
    mia_value large = value_of(weights, "large");
    assert_int_equal(large.as.text.length, 100000);
    assert_int_equal(large.as.text.bytes[99999], 'x');
    mia_value zeros = value_of(weights, "zeros");
    assert_int_equal(zeros.as.text.length, 3);
    assert_memory_equal(zeros.as.text.bytes, "a\0b", 3);
}

static void test_text_arrays(void **state) {
    (void)state;
    gguf_builder file = {NULL, 0};
    gguf_head(&file, 3, 0, 3);
    gguf_key(&file, "texts", 9), gguf_array(&file, 8, 5000);
    for (size_t i = 0; i < 5000; i++) {
        char text[24];
        (void)snprintf(text, sizeof text, "token %zu", i * i);
        gguf_text(&file, text);
    }
    char *large = malloc(100000);
    assert_non_null(large);
    memset(large, 'x', 100000);
    gguf_key(&file, "large", 8), gguf_u64(&file, 100000), gguf_bytes(&file, large, 100000);
    free(large);
    gguf_key(&file, "zeros", 8), gguf_u64(&file, 3), gguf_bytes(&file, "a\0b", 3);
    accepts(file, check_text_arrays);
}

static void check_nested(const mia_weights *weights) {
    mia_value level = value_of(weights, "deep");
    for (int depth = 1; depth < 4; depth++) {
        assert_int_equal(level.type, MIA_VALUE_ARRAY);
        assert_int_equal(level.element_type, MIA_VALUE_ARRAY);
        assert_int_equal(level.count, 2);
        assert_int_equal(mia_value_element(&level, 0).count, 0);
        level = mia_value_element(&level, 1);
    }
    assert_int_equal(level.element_type, MIA_VALUE_U16);
    assert_int_equal(mia_value_element(&level, 0).as.u, 513);
}

/* Arrays of arrays, `depth` of them; each but the last holds an empty array and the next one. */
static gguf_builder nested(int depth) {
    gguf_builder file = {NULL, 0};
    gguf_head(&file, 3, 0, 1);
    gguf_key(&file, "deep", 9);
    for (int i = 1; i < depth; i++) {
        gguf_array(&file, 9, 2);
        gguf_array(&file, 0, 0);
    }
    gguf_array(&file, 2, 1);
    gguf_number(&file, 513, 2);
    return file;
}

static void test_nested_arrays(void **state) {
    (void)state;
    accepts(nested(4), check_nested);
    refuses(
        nested(5), MIA_ERROR_FORMAT,
        "test.gguf: metadata \"deep\": element 1: arrays are nested deeper than 4, which is not supported");
}

/* --- typed look-ups --------------------------------------------------------------------------- */

static void check_getters(const mia_weights *weights) {
    mia_error error = {0};
    uint32_t u = 0;
    float f = 0;
    bool b = false;
    mia_text text = {NULL, 0};
    assert_int_equal(mia_weights_get_u32(weights, "u8", &u, &error), MIA_OK);
    assert_int_equal(u, 200);
    assert_int_equal(mia_weights_get_u32(weights, "u32", &u, &error), MIA_OK);
    assert_int_equal(u, 4000000000u);
    assert_int_equal(mia_weights_get_f32(weights, "f32", &f, &error), MIA_OK);
    assert_true(f == -0.625f);
    assert_int_equal(mia_weights_get_bool(weights, "bool", &b, &error), MIA_OK);
    assert_true(b);
    assert_int_equal(mia_weights_get_text(weights, "text", &text, &error), MIA_OK);
    assert_text(text, "hello");

    assert_int_equal(mia_weights_get_u32(weights, "absent", &u, &error), MIA_ERROR_NOT_FOUND);
    assert_string_equal(error.message, "test.gguf: metadata \"absent\" is missing");
    assert_int_equal(mia_weights_get_u32(weights, "u64", &u, &error), MIA_ERROR_FORMAT);
    assert_string_equal(error.message,
                        "test.gguf: metadata \"u64\": 18446744073709551615 does not fit in 32 bits");
    assert_int_equal(mia_weights_get_u32(weights, "i8", &u, &error), MIA_ERROR_FORMAT);
    assert_string_equal(error.message, "test.gguf: metadata \"i8\": -100 does not fit in 32 bits");
    assert_int_equal(mia_weights_get_u32(weights, "f32", &u, &error), MIA_ERROR_FORMAT);
    assert_string_equal(error.message, "test.gguf: metadata \"f32\": its type is f32, not a whole number");
    assert_int_equal(mia_weights_get_f32(weights, "u8", &f, &error), MIA_ERROR_FORMAT);
    assert_string_equal(error.message, "test.gguf: metadata \"u8\": its type is u8, not f32");
    assert_int_equal(mia_weights_get_bool(weights, "text", &b, &error), MIA_ERROR_FORMAT);
    assert_string_equal(error.message, "test.gguf: metadata \"text\": its type is text, not bool");
    assert_int_equal(mia_weights_get_text(weights, "bool", &text, NULL), MIA_ERROR_FORMAT);
    assert_int_equal(mia_weights_get_text(weights, "", &text, NULL), MIA_ERROR_NOT_FOUND);
}

static void test_getters(void **state) {
    (void)state;
    accepts(scalars(3), check_getters);
}

/* --- tensors ---------------------------------------------------------------------------------- */

static void check_sample(const mia_weights *weights) {
    assert_string_equal(mia_weights_name(weights), "test.gguf");
    assert_int_equal(mia_weights_tensor_count(weights), 3);
    const mia_tensor_info *one = mia_weights_find_tensor(weights, "one");
    const mia_tensor_info *three = mia_weights_find_tensor(weights, "three");
    assert_ptr_equal(one, mia_weights_tensor_at(weights, 0));
    assert_ptr_equal(three, mia_weights_tensor_at(weights, 2));
    assert_null(mia_weights_tensor_at(weights, 3));
    assert_null(mia_weights_find_tensor(weights, "four"));
    assert_int_equal(one->dtype, MIA_q8_0);
    assert_string_equal(one->type_name, "q8_0");
    assert_int_equal(one->shape.ndim, 2);
    assert_int_equal(one->shape.extent[0], 32);
    assert_int_equal(one->shape.extent[1], 2);
    assert_int_equal(one->bytes, 68);
    assert_int_equal(one->offset % 64, 0);
    assert_int_equal(three->shape.ndim, 0);
    assert_int_equal(three->bytes, 2);
    assert_int_equal(three->offset, mia_weights_size(weights) - 2);

    unsigned char raw[68];
    mia_error error = {0};
    assert_int_equal(mia_weights_read(weights, one, 0, raw, 68, &error), MIA_OK);
    for (size_t i = 0; i < 68; i++) assert_int_equal(raw[i], (i * 37 + 11) & 0xFF);
    assert_int_equal(mia_weights_read(weights, one, 67, raw, 1, &error), MIA_OK);
    assert_int_equal(raw[0], (67 * 37 + 11) & 0xFF);
    assert_int_equal(mia_weights_read(weights, one, 68, raw, 0, &error), MIA_OK);
    assert_int_equal(mia_weights_read(weights, one, 67, raw, 2, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "test.gguf: tensor \"one\": reading 2 bytes at 67 of its 68");
    assert_int_equal(mia_weights_read(weights, one, UINT64_MAX, raw, 2, NULL), MIA_ERROR_INVALID_ARGUMENT);
    const unsigned char *mapped = mia_weights_mapped(weights, one);
    if (mapped != NULL) assert_int_equal(mapped[1], 48);

    mia_value nested_value = value_of(weights, "nested");
    mia_value inner = mia_value_element(&nested_value, 0);
    assert_true(mia_value_element(&inner, 1).as.i == -1);
    inner = mia_value_element(&nested_value, 1);
    assert_text(mia_value_element(&inner, 0).as.text, "deep");
}

static void test_sample(void **state) {
    (void)state;
    accepts(gguf_sample(), check_sample);
}

static gguf_builder one_tensor(uint32_t ndim, const uint64_t *extents, uint32_t type, uint64_t offset,
                               size_t data) {
    gguf_builder file = {NULL, 0};
    gguf_head(&file, 3, 1, 0);
    gguf_tensor(&file, "w", ndim, extents, type, offset);
    gguf_pad(&file, 32);
    gguf_data(&file, data);
    return file;
}

/* Every type of the table: its bytes are what is taken, and dtype.def agrees where Mia computes with it. */
static void test_types(void **state) {
    (void)state;
    static const struct {
        uint32_t number;
        const char *name;
        uint64_t elements, bytes;
    } types[] = {
#define MIA_GGML_TYPE(number, name, elements, bytes) {number, name, elements, bytes},
#define MIA_GGML_REMOVED(number, name)
#include "weights/ggml_types.def"
#undef MIA_GGML_TYPE
#undef MIA_GGML_REMOVED
    };
    size_t computed = 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        gguf_builder file =
            one_tensor(2, (uint64_t[]){types[i].elements * 2, 3}, types[i].number, 0, types[i].bytes * 6);
        mia_weights *weights = NULL;
        mia_error error = {0};
        assert_int_equal(mia_weights_open(mapped_source(file.bytes, file.count), NULL, &weights, &error),
                         MIA_OK);
        const mia_tensor_info *info = mia_weights_tensor_at(weights, 0);
        assert_string_equal(info->type_name, types[i].name);
        assert_int_equal(info->bytes, types[i].bytes * 6);
#define MIA_DTYPE(dtype_name, tag, kind, units, size, host, ggml)                                            \
    if ((ggml) >= 0 && (int64_t)(ggml) == (int64_t)types[i].number) {                                        \
        assert_int_equal(info->dtype, tag);                                                                  \
        assert_int_equal(types[i].elements, units);                                                          \
        assert_int_equal(types[i].bytes, size);                                                              \
        assert_string_equal(types[i].name, #dtype_name);                                                     \
        computed++;                                                                                          \
    }
#include <mia/dtype.def>
#undef MIA_DTYPE
        mia_weights_close(weights);
        gguf_free(&file);
    }
    assert_int_equal(sizeof types / sizeof *types, 35);
    assert_true(computed >= 14);
}

static void check_order(const mia_weights *weights) {
    assert_true(mia_weights_tensor_at(weights, 0)->offset > mia_weights_tensor_at(weights, 1)->offset);
}

/* Data in another order than the descriptions, and with gaps. */
static void test_any_order(void **state) {
    (void)state;
    gguf_builder file = {NULL, 0};
    gguf_head(&file, 3, 3, 0);
    gguf_tensor(&file, "c", 1, (uint64_t[]){8}, 0, 128);
    gguf_tensor(&file, "a", 1, (uint64_t[]){8}, 0, 0);
    gguf_tensor(&file, "b", 1, (uint64_t[]){3}, 0, 32);
    gguf_pad(&file, 32);
    gguf_data(&file, 160);
    accepts(file, check_order);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void test_refuses_nothing(void **state) {
    (void)state;
    static const unsigned char none[1] = {0};
    mia_error error = {0};
    mia_weights *weights = NULL;
    assert_int_equal(mia_weights_open(mapped_source(none, 0), NULL, &weights, &error), MIA_ERROR_FORMAT);
    assert_string_equal(error.message, "test.gguf: not a GGUF file (it does not begin with \"GGUF\")");
    assert_int_equal(mia_weights_open((mia_source){0}, NULL, &weights, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "weights: the source has no bytes to read");
    assert_null(weights);
}

static void test_refuses_head(void **state) {
    (void)state;
    gguf_builder file = {NULL, 0};
    gguf_bytes(&file, "GGU", 3);
    refuses(file, MIA_ERROR_FORMAT, "test.gguf: not a GGUF file (it does not begin with \"GGUF\")");

    file = (gguf_builder){NULL, 0};
    gguf_bytes(&file, "ggml model", 10);
    refuses(file, MIA_ERROR_FORMAT, "test.gguf: not a GGUF file (it does not begin with \"GGUF\")");

    file = (gguf_builder){NULL, 0};
    gguf_bytes(&file, "GGUF\3\0", 6);
    refuses(file, MIA_ERROR_FORMAT, "test.gguf: version runs past the end of the file (6 bytes)");

    file = (gguf_builder){NULL, 0};
    gguf_head(&file, 1, 0, 0);
    refuses(file, MIA_ERROR_FORMAT, "test.gguf: GGUF version 1 is not supported (2 and 3 are)");

    file = (gguf_builder){NULL, 0};
    gguf_head(&file, 4, 0, 0);
    refuses(file, MIA_ERROR_FORMAT, "test.gguf: GGUF version 4 is not supported (2 and 3 are)");

    file = (gguf_builder){NULL, 0};
    gguf_head(&file, 0x03000000, 0, 0);
    refuses(file, MIA_ERROR_FORMAT, "test.gguf: a big-endian GGUF file, which is not supported");

    file = (gguf_builder){NULL, 0};
    gguf_bytes(&file, "FUGG\0\0\0\3", 8);
    refuses(file, MIA_ERROR_FORMAT, "test.gguf: a big-endian GGUF file, which is not supported");

    file = (gguf_builder){NULL, 0};
    gguf_bytes(&file, "GGUF\3\0\0\0\1\0\0\0\0\0\0\0", 16);
    refuses(file, MIA_ERROR_FORMAT, "test.gguf: metadata count runs past the end of the file (16 bytes)");

    file = (gguf_builder){NULL, 0};
    gguf_head(&file, 3, UINT64_MAX, 0);
    refuses(file, MIA_ERROR_FORMAT,
            "test.gguf: tensor count 18446744073709551615 cannot fit in the file (24 bytes)");

    file = (gguf_builder){NULL, 0};
    gguf_head(&file, 3, 0, 2);
    gguf_data(&file, 25);
    refuses(file, MIA_ERROR_FORMAT, "test.gguf: metadata count 2 cannot fit in the file (49 bytes)");
}

/* One metadata entry, its value cut or wrong. */
static void refuses_value(uint32_t type, const void *value, size_t bytes, const char *message) {
    gguf_builder file = {NULL, 0};
    gguf_head(&file, 3, 0, 1);
    gguf_key(&file, "general.name", type);
    gguf_bytes(&file, value, bytes);
    refuses(file, MIA_ERROR_FORMAT, message);
}

static void test_refuses_metadata(void **state) {
    (void)state;
    refuses_value(
        8, "\xff\xff\xff\xff\xff\xff\xff\x7f", 8,
        "test.gguf: metadata \"general.name\": length 9223372036854775807 runs past the end of the file "
        "(56 bytes)");
    refuses_value(8, "\4\0\0\0\0\0\0\0abc", 11,
                  "test.gguf: metadata \"general.name\": length 4 runs past the end of the file (59 bytes)");
    refuses_value(8, "\4\0\0", 3,
                  "test.gguf: metadata \"general.name\": length runs past the end of the file (51 bytes)");
    refuses_value(13, "abcdefgh", 8, "test.gguf: metadata \"general.name\": value type 13 is not known");
    refuses_value(0xFFFFFFFFu, "abcdefgh", 8,
                  "test.gguf: metadata \"general.name\": value type 4294967295 is not known");
    refuses_value(12, "abcdefg", 7,
                  "test.gguf: metadata \"general.name\": value runs past the end of the file (55 bytes)");
    refuses_value(7, "\2", 1, "test.gguf: metadata \"general.name\": bool 2 is neither 0 nor 1");

    gguf_builder file = {NULL, 0};
    gguf_head(&file, 3, 0, 1);
    gguf_u64(&file, 6), gguf_bytes(&file, "short", 5);
    refuses(file, MIA_ERROR_FORMAT,
            "test.gguf: metadata 0: key length 6 runs past the end of the file (37 bytes)");

    file = (gguf_builder){NULL, 0};
    gguf_head(&file, 3, 0, 2);
    gguf_key(&file, "k", 0), gguf_number(&file, 0, 1);
    gguf_key(&file, "k", 4), gguf_u32(&file, 0);
    refuses(file, MIA_ERROR_FORMAT, "test.gguf: metadata \"k\": the key is used twice");

    file = (gguf_builder){NULL, 0};
    gguf_head(&file, 3, 0, 1);
    gguf_key(&file, "evil\x1b[2J\n\"key\"", 99), gguf_u32(&file, 0);
    refuses(file, MIA_ERROR_FORMAT,
            "test.gguf: metadata \"evil\\x1b[2J\\n\\\"key\\\"\": value type 99 is not known");
}

static void refuses_array(uint32_t type, uint64_t count, const void *elements, size_t bytes,
                          const char *message) {
    gguf_builder file = {NULL, 0};
    gguf_head(&file, 3, 0, 1);
    gguf_key(&file, "a", 9);
    gguf_array(&file, type, count);
    gguf_bytes(&file, elements, bytes);
    refuses(file, MIA_ERROR_FORMAT, message);
}

static void test_refuses_arrays(void **state) {
    (void)state;
    refuses_array(13, 1, "abcd", 4, "test.gguf: metadata \"a\": array's element type 13 is not known");
    refuses_array(5, 2, "abcdefg", 7,
                  "test.gguf: metadata \"a\": array of 2 i32 runs past the end of the file (56 bytes)");
    refuses_array(12, UINT64_MAX / 8 + 2, "abcdefgh", 8,
                  "test.gguf: metadata \"a\": array of 2305843009213693953 f64 runs past the end of the file "
                  "(57 bytes)");
    refuses_array(8, 3, "\1\0\0\0\0\0\0\0a\0\0\0\0\0\0\0", 16,
                  "test.gguf: metadata \"a\": array of 3 text runs past the end of the file (65 bytes)");
    refuses_array(8, 2, "\1\0\0\0\0\0\0\0a\5\0\0\0\0\0\0\0bc", 19,
                  "test.gguf: metadata \"a\": element 1: length 5 runs past the end of the file (68 bytes)");
    refuses_array(7, 3, "\0\1\7", 3, "test.gguf: metadata \"a\": element 2: bool 7 is neither 0 nor 1");
    refuses_array(9, 2, "abcdefghijklmnopqrstuvw", 23,
                  "test.gguf: metadata \"a\": array of 2 array runs past the end of the file (72 bytes)");
    refuses_array(
        9, 1, "\5\0\0\0\2\0\0\0\0\0\0\0abcd", 16,
        "test.gguf: metadata \"a\": element 0: array of 2 i32 runs past the end of the file (65 bytes)");
}

static void refuses_alignment(uint32_t type, uint32_t value, const char *message) {
    gguf_builder file = {NULL, 0};
    gguf_head(&file, 3, 0, 1);
    gguf_key(&file, "general.alignment", type);
    gguf_u32(&file, value);
    refuses(file, MIA_ERROR_FORMAT, message);
}

static void test_refuses_alignment(void **state) {
    (void)state;
    refuses_alignment(4, 24, "test.gguf: metadata \"general.alignment\": 24 is not a power of two");
    refuses_alignment(4, 0, "test.gguf: metadata \"general.alignment\": 0 is not a power of two");
    refuses_alignment(5, 32, "test.gguf: metadata \"general.alignment\": its type is i32, not u32");
}

static void test_refuses_tensors(void **state) {
    (void)state;
    uint64_t many[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    uint64_t huge = (uint64_t)1 << 40;
    refuses(one_tensor(1, (uint64_t[]){32}, 77, 0, 64), MIA_ERROR_FORMAT,
            "test.gguf: tensor \"w\": type 77 is not known");
    refuses(one_tensor(1, (uint64_t[]){32}, 4, 0, 64), MIA_ERROR_FORMAT,
            "test.gguf: tensor \"w\": type 4 (q4_2) was removed from GGUF");
    refuses(one_tensor(1, (uint64_t[]){32}, 33, 0, 64), MIA_ERROR_FORMAT,
            "test.gguf: tensor \"w\": type 33 (q4_0_8_8) was removed from GGUF");
    refuses(one_tensor(9, many, 0, 0, 64), MIA_ERROR_FORMAT,
            "test.gguf: tensor \"w\": 9 dimensions, at most 8 are supported");
    refuses(one_tensor(2, (uint64_t[]){4, 0}, 0, 0, 64), MIA_ERROR_FORMAT,
            "test.gguf: tensor \"w\": dimension 1 is 0, out of range");
    refuses(one_tensor(1, (uint64_t[]){UINT64_MAX}, 0, 0, 64), MIA_ERROR_FORMAT,
            "test.gguf: tensor \"w\": dimension 0 is 18446744073709551615, out of range");
    refuses(one_tensor(2, (uint64_t[]){huge, huge}, 0, 0, 64), MIA_ERROR_FORMAT,
            "test.gguf: tensor \"w\": its shape is too large (f32, blocks of 1)");
    refuses(one_tensor(2, (uint64_t[]){huge, huge >> 19}, 0, 0, 64), MIA_ERROR_FORMAT,
            "test.gguf: tensor \"w\": its 9223372036854775808 bytes at offset 0 run past the end of the file "
            "(160 "
            "bytes; data start at 96)");
    refuses(one_tensor(1, (uint64_t[]){33}, 8, 0, 68), MIA_ERROR_FORMAT,
            "test.gguf: tensor \"w\": its first dimension is not in whole blocks of the type (q8_0, blocks "
            "of 32)");
    refuses(one_tensor(0, NULL, 12, 0, 144), MIA_ERROR_FORMAT,
            "test.gguf: tensor \"w\": its first dimension is not in whole blocks of the type (q4_K, blocks "
            "of 256)");
    refuses(one_tensor(1, (uint64_t[]){4}, 0, 48, 64), MIA_ERROR_FORMAT,
            "test.gguf: tensor \"w\": offset 48 is not a multiple of the alignment 32");
    refuses(one_tensor(1, (uint64_t[]){4}, 0, 64, 79), MIA_ERROR_FORMAT,
            "test.gguf: tensor \"w\": its 16 bytes at offset 64 run past the end of the file (143 bytes; "
            "data start at "
            "64)");
    refuses(one_tensor(1, (uint64_t[]){4}, 0, UINT64_MAX - 31, 64), MIA_ERROR_FORMAT,
            "test.gguf: tensor \"w\": its 16 bytes at offset 18446744073709551584 run past the end of the "
            "file (128 "
            "bytes; data start at 64)");
}

static void test_refuses_cut_tensors(void **state) {
    (void)state;
    gguf_builder whole = one_tensor(1, (uint64_t[]){4}, 0, 0, 0);
    static const struct {
        size_t count;
        const char *message;
    } cuts[] = {
        {24 + 24, "test.gguf: tensor \"w\": type runs past the end of the file (48 bytes)"},
        {24 + 30, "test.gguf: tensor \"w\": offset runs past the end of the file (54 bytes)"},
    };
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        gguf_builder file = {NULL, 0};
        gguf_bytes(&file, whole.bytes, cuts[i].count);
        refuses(file, MIA_ERROR_FORMAT, cuts[i].message);
    }
    gguf_free(&whole);

    gguf_builder file = {NULL, 0};
    gguf_head(&file, 3, 2, 0);
    gguf_tensor(&file, "w", 1, (uint64_t[]){4}, 0, 0);
    gguf_tensor(&file, "w", 1, (uint64_t[]){4}, 0, 32);
    gguf_pad(&file, 32), gguf_data(&file, 64);
    refuses(file, MIA_ERROR_FORMAT, "test.gguf: tensor \"w\": the name is used twice");

    file = (gguf_builder){NULL, 0};
    gguf_head(&file, 3, 3, 0);
    gguf_tensor(&file, "a", 1, (uint64_t[]){4}, 0, 64);
    gguf_tensor(&file, "b", 1, (uint64_t[]){9}, 0, 0);
    gguf_tensor(&file, "c", 1, (uint64_t[]){4}, 0, 32);
    gguf_pad(&file, 32), gguf_data(&file, 80);
    refuses(file, MIA_ERROR_FORMAT, "test.gguf: tensor \"c\": its data overlap those of tensor \"b\"");
}

static void test_io_failure(void **state) {
    (void)state;
    gguf_builder file = gguf_sample();
    read_only_file user;
    mia_error error = {0};
    mia_weights *weights = NULL;
    mia_source source = read_only_source(&user, file.bytes, file.count);
    user.reads_left = 0;
    assert_int_equal(mia_weights_open(source, NULL, &weights, &error), MIA_ERROR_IO);
    assert_string_equal(error.message, "test.gguf: the disk is gone");
    assert_int_equal(user.closed, 1);
    assert_null(weights);
    gguf_free(&file);
}

static void test_escape(void **state) {
    (void)state;
    char out[16];
    assert_int_equal(mia_text_escape((mia_text){"plain", 5}, out, sizeof out), 5);
    assert_string_equal(out, "plain");
    (void)mia_text_escape((mia_text){"\xC3\xA9\xFF\0\t", 5}, out, sizeof out);
    assert_string_equal(out, "\xC3\xA9\\xff\\x00\\t");
    (void)mia_text_escape((mia_text){"\xC2\x9B\xED\xA0\x80", 2}, out, sizeof out);
    assert_string_equal(out, "\\xc2\\x9b");
    (void)mia_text_escape((mia_text){"exactly fifteen", 15}, out, sizeof out);
    assert_string_equal(out, "exactly fifteen");
    assert_int_equal(mia_text_escape((mia_text){"more than fifteen", 17}, out, sizeof out), 15);
    assert_string_equal(out, "more than fi...");
    (void)mia_text_escape((mia_text){"01234567\xE2\x96\x81\xE2\x96\x81\xE2\x96\x81", 17}, out, sizeof out);
    assert_string_equal(out, "01234567\xE2\x96\x81...");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_number_arrays),
        cmocka_unit_test(test_text_arrays),
        cmocka_unit_test(test_nested_arrays),
        cmocka_unit_test(test_getters),
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_refuses_nothing),
        cmocka_unit_test(test_refuses_head),
        cmocka_unit_test(test_refuses_metadata),
        cmocka_unit_test(test_refuses_arrays),
        cmocka_unit_test(test_refuses_alignment),
        cmocka_unit_test(test_refuses_tensors),
        cmocka_unit_test(test_refuses_cut_tensors),
        cmocka_unit_test(test_io_failure),
        cmocka_unit_test(test_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
