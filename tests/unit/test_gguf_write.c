/* The GGUF writer: what it writes, the reader reads back; and each way it can fail. */
#include "gguf_builder.h"

#include <mia/weights.h>
#include <stdio.h>
#include <unistd.h>

/* A path for a file of this test run; the test removes it. */
static void temporary_path(char *path, size_t size) {
    const char *folder = getenv("TMPDIR");
    (void)snprintf(path, size, "%s/mia-test-gguf-%ld.gguf", folder != NULL ? folder : "/tmp", (long)getpid());
}

static mia_gguf_writer *open_writer(const char *path, const mia_allocator *allocator) {
    mia_gguf_writer *writer = NULL;
    mia_error error = {0};
    assert_int_equal(mia_gguf_writer_open(path, allocator, &writer, &error), MIA_OK);
    assert_non_null(writer);
    return writer;
}

static mia_text text_of(const char *text) {
    return (mia_text){text, strlen(text)};
}

static void write_metadata(mia_gguf_writer *writer) {
    static const float scores[] = {0.0f, -1.5f, 3.25f};
    static const int32_t kinds[] = {2, -3, INT32_MIN, INT32_MAX};
    mia_text tokens[] = {text_of("<unk>"), text_of(""), {"a\0b", 3}};
    mia_gguf_writer_text(writer, "general.architecture", text_of("llama"));
    mia_gguf_writer_u32(writer, "llama.block_count", 4000000000u);
    mia_gguf_writer_f32(writer, "llama.epsilon", 1e-5f);
    mia_gguf_writer_bool(writer, "yes", true);
    mia_gguf_writer_bool(writer, "no", false);
    mia_gguf_writer_texts(writer, "tokens", tokens, 3);
    mia_gguf_writer_f32s(writer, "scores", scores, 3);
    mia_gguf_writer_i32s(writer, "kinds", kinds, 4);
    mia_gguf_writer_i32s(writer, "none", NULL, 0);
}

static void check_metadata(const mia_weights *weights) {
    uint32_t u = 0;
    float f = 0;
    bool b = false;
    mia_value value;
    mia_error error = {0};
    assert_int_equal(mia_weights_metadata_count(weights), 9);
    assert_int_equal(mia_weights_get_u32(weights, "llama.block_count", &u, &error), MIA_OK);
    assert_int_equal(u, 4000000000u);
    assert_int_equal(mia_weights_get_f32(weights, "llama.epsilon", &f, &error), MIA_OK);
    assert_true(f == 1e-5f);
    assert_int_equal(mia_weights_get_bool(weights, "yes", &b, &error), MIA_OK);
    assert_true(b);
    assert_int_equal(mia_weights_get_bool(weights, "no", &b, &error), MIA_OK);
    assert_false(b);
    assert_true(mia_weights_find(weights, "tokens", &value));
    assert_int_equal(value.count, 3);
    mia_text token = mia_value_element(&value, 2).as.text;
    assert_int_equal(token.length, 3);
    assert_memory_equal(token.bytes, "a\0b", 3);
    assert_true(mia_weights_find(weights, "scores", &value));
    assert_true(mia_value_element(&value, 1).as.f == -1.5);
    assert_true(mia_weights_find(weights, "kinds", &value));
    assert_int_equal(value.element_type, MIA_VALUE_I32);
    assert_true(mia_value_element(&value, 2).as.i == INT32_MIN);
    assert_true(mia_weights_find(weights, "none", &value));
    assert_int_equal(value.count, 0);
}

static const struct {
    const char *name;
    mia_dtype dtype;
    int64_t extents[3];
    size_t ndim;
    size_t bytes;
} declared[] = {
    {"a.weight", MIA_f32, {5, 3, 0}, 2, 60},     {"b.weight", MIA_q8_0, {64, 3, 0}, 2, 204},
    {"c.weight", MIA_bf16, {7, 1, 2}, 3, 28},    {"d.scalar", MIA_f32, {0, 0, 0}, 0, 4},
    {"e.weight", MIA_q4_K, {256, 1, 0}, 2, 144}, {"f.weight", MIA_i8, {32, 0, 0}, 1, 32},
};
#define DECLARED (sizeof declared / sizeof *declared)

static unsigned char byte_at(size_t position) {
    return (unsigned char)(position * 31 + position / 256 + 5);
}

/* Writes the whole sample, its data in pieces of `piece` bytes. */
static mia_status write_sample(mia_gguf_writer *writer, size_t piece, mia_error *error) {
    unsigned char data[512];
    size_t total = 0;
    write_metadata(writer);
    for (size_t i = 0; i < DECLARED; i++) {
        mia_gguf_writer_tensor(writer, declared[i].name, declared[i].dtype,
                               mia_shape_of(declared[i].extents, declared[i].ndim));
        total += declared[i].bytes;
    }
    assert_true(total <= sizeof data);
    for (size_t i = 0; i < total; i++) data[i] = byte_at(i);
    mia_status status = MIA_OK;
    for (size_t at = 0; at < total && status == MIA_OK; at += piece)
        status = mia_gguf_writer_data(writer, data + at, piece < total - at ? piece : total - at, error);
    return status;
}

static void check_sample(const char *path) {
    mia_weights *weights = NULL;
    mia_error error = {0};
    assert_int_equal(mia_weights_open_file(path, NULL, &weights, &error), MIA_OK);
    check_metadata(weights);
    assert_int_equal(mia_weights_tensor_count(weights), DECLARED);
    size_t position = 0;
    for (size_t i = 0; i < DECLARED; i++) {
        unsigned char data[256];
        const mia_tensor_info *info = mia_weights_find_tensor(weights, declared[i].name);
        assert_non_null(info);
        assert_int_equal(info->dtype, declared[i].dtype);
        assert_int_equal(info->shape.ndim, declared[i].ndim);
        for (size_t mode = 0; mode < declared[i].ndim; mode++)
            assert_int_equal(info->shape.extent[mode], declared[i].extents[mode]);
        assert_int_equal(info->bytes, declared[i].bytes);
        assert_int_equal(info->offset % 32, 0);
        assert_int_equal(mia_weights_read(weights, info, 0, data, declared[i].bytes, &error), MIA_OK);
        for (size_t at = 0; at < declared[i].bytes; at++) assert_int_equal(data[at], byte_at(position++));
    }
    assert_int_equal(mia_weights_size(weights) % 32, 0);
    mia_weights_close(weights);
}

static void test_round_trip(void **state) {
    (void)state;
    static const size_t pieces[] = {1, 7, 60, 64, 1000};
    char path[300];
    temporary_path(path, sizeof path);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        mia_error error = {0};
        mia_gguf_writer *writer = open_writer(path, NULL);
        assert_int_equal(write_sample(writer, pieces[i], &error), MIA_OK);
        assert_int_equal(mia_gguf_writer_close(writer, &error), MIA_OK);
        check_sample(path);
    }
    assert_int_equal(unlink(path), 0);
}

static void test_metadata_only(void **state) {
    (void)state;
    char path[300];
    temporary_path(path, sizeof path);
    mia_error error = {0};
    mia_weights *weights = NULL;
    mia_gguf_writer *writer = open_writer(path, NULL);
    write_metadata(writer);
    assert_int_equal(mia_gguf_writer_close(writer, &error), MIA_OK);
    assert_int_equal(mia_weights_open_file(path, NULL, &weights, &error), MIA_OK);
    check_metadata(weights);
    assert_int_equal(mia_weights_tensor_count(weights), 0);
    mia_weights_close(weights);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mia_gguf_writer_close(NULL, &error), MIA_OK);
}

/* Closes the writer: it must fail with this, and the file must be gone. */
static void closes_with(mia_gguf_writer *writer, const char *path, mia_status expected, const char *fault) {
    char message[600];
    mia_error error = {0};
    (void)snprintf(message, sizeof message, "%s: %s", path, fault);
    assert_int_equal(mia_gguf_writer_close(writer, &error), expected);
    assert_string_equal(error.message, message);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void test_faults(void **state) {
    (void)state;
    char path[300];
    static const float zeros[16];
    mia_error error = {0};
    temporary_path(path, sizeof path);

    mia_gguf_writer *writer = open_writer(path, NULL);
    mia_gguf_writer_u32(writer, "k", 1);
    mia_gguf_writer_bool(writer, "k", true);
    mia_gguf_writer_bool(writer, "other", true);
    closes_with(writer, path, MIA_ERROR_INVALID_ARGUMENT, "metadata \"k\" is given twice");

    writer = open_writer(path, NULL);
    mia_gguf_writer_tensor(writer, "t", MIA_f32, MIA_SHAPE(4));
    mia_gguf_writer_tensor(writer, "t", MIA_f32, MIA_SHAPE(4));
    closes_with(writer, path, MIA_ERROR_INVALID_ARGUMENT, "tensor \"t\" is given twice");

    writer = open_writer(path, NULL);
    mia_gguf_writer_tensor(writer, "t", MIA_f32, MIA_SHAPE(4, 4));
    assert_int_equal(mia_gguf_writer_data(writer, zeros, 60, &error), MIA_OK);
    closes_with(writer, path, MIA_ERROR_INVALID_ARGUMENT, "tensor \"t\": 60 of its 64 bytes were given");

    writer = open_writer(path, NULL);
    mia_gguf_writer_tensor(writer, "t", MIA_f32, MIA_SHAPE(4));
    assert_int_equal(mia_gguf_writer_data(writer, zeros, 17, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(mia_gguf_writer_data(writer, zeros, 1, &error), MIA_ERROR_INVALID_ARGUMENT);
    closes_with(writer, path, MIA_ERROR_INVALID_ARGUMENT, "more data than the declared tensors hold");

    writer = open_writer(path, NULL);
    mia_gguf_writer_tensor(writer, "t", MIA_f32, MIA_SHAPE(4));
    assert_int_equal(mia_gguf_writer_data(writer, zeros, 4, &error), MIA_OK);
    mia_gguf_writer_u32(writer, "late", 1);
    closes_with(writer, path, MIA_ERROR_INVALID_ARGUMENT, "metadata \"late\": given after the first data");
}

static void test_refused_tensors(void **state) {
    (void)state;
    static const struct {
        mia_dtype dtype;
        mia_shape shape;
        const char *fault;
    } cases[] = {
        {MIA_u32, {1, {4}}, "GGUF has no such type"},
        {MIA_f32x4, {1, {4}}, "GGUF has no such type"},
        {MIA_NONE, {1, {4}}, "GGUF has no such type"},
        {MIA_q8_0, {1, {33}}, "its first dimension is not in whole blocks of the type"},
        {MIA_f32, {2, {4, 0}}, "its dimensions are not all positive"},
        {MIA_f32, {2, {4, -1}}, "its dimensions are not all positive"},
        {MIA_f32, {9, {1, 1, 1, 1, 1, 1, 1, 1}}, "too many dimensions"},
        {MIA_f32, {2, {INT64_MAX, 2}}, "its shape is too large"},
        {MIA_f32, {1, {INT64_MAX / 4}}, "the file grows too large"},
    };
    char path[300], fault[200];
    temporary_path(path, sizeof path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mia_gguf_writer *writer = open_writer(path, NULL);
        mia_gguf_writer_tensor(writer, "t", cases[i].dtype, cases[i].shape);
        (void)snprintf(fault, sizeof fault, "tensor \"t\": %s", cases[i].fault);
        closes_with(writer, path, MIA_ERROR_INVALID_ARGUMENT, fault);
    }
}

static void test_full_disk(void **state) {
    (void)state;
    mia_error error = {0};
    if (access("/dev/full", W_OK) != 0) skip();
    mia_gguf_writer *writer = open_writer("/dev/full", NULL);
    assert_int_equal(write_sample(writer, 64, &error), MIA_ERROR_IO);
    assert_int_equal(mia_gguf_writer_close(writer, &error), MIA_ERROR_IO);
    assert_string_equal(error.message, "/dev/full: cannot write: No space left on device");
    assert_int_equal(access("/dev/full", F_OK), 0);
}

static void test_no_folder(void **state) {
    (void)state;
    mia_error error = {0};
    mia_gguf_writer *writer = NULL;
    assert_int_equal(mia_gguf_writer_open("/nonexistent/x.gguf", NULL, &writer, &error), MIA_ERROR_IO);
    assert_string_equal(error.message, "/nonexistent/x.gguf: cannot create: No such file or directory");
    assert_null(writer);
}

/* The n-th allocation fails, for every n. */
static void test_no_memory(void **state) {
    (void)state;
    char path[300];
    temporary_path(path, sizeof path);
    bool succeeded = false;
    for (size_t n = 0; !succeeded; n++) {
        counting_allocator counts;
        mia_allocator allocator = counting_allocator_of(&counts);
        counts.calls_left = n;
        mia_gguf_writer *writer = NULL;
        mia_error error = {0};
        mia_status status = mia_gguf_writer_open(path, &allocator, &writer, &error);
        if (status == MIA_OK) {
            status = write_sample(writer, 64, &error);
            mia_status closed = mia_gguf_writer_close(writer, &error);
            assert_true(status == closed || status == MIA_OK);
            status = closed;
        }
        succeeded = status == MIA_OK;
        if (!succeeded) assert_int_equal(status, MIA_ERROR_NO_MEMORY);
        assert_int_equal(counts.live, 0);
        assert_true(n < 100);
    }
    check_sample(path);
    assert_int_equal(unlink(path), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_metadata_only),
        cmocka_unit_test(test_faults),     cmocka_unit_test(test_refused_tensors),
        cmocka_unit_test(test_full_disk),  cmocka_unit_test(test_no_folder),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
