/* Sources of bytes: files (mapped, and read with pread), memory, and what cannot be opened. */
#include "gguf_builder.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct scratch {
    char folder[300];
    char file[320];
} scratch;

static scratch make_scratch(const void *bytes, size_t count) {
    scratch made;
    const char *root = getenv("TMPDIR");
    (void)snprintf(made.folder, sizeof made.folder, "%s/mia-test-source-XXXXXX",
                   root != NULL ? root : "/tmp");
    assert_non_null(mkdtemp(made.folder));
    (void)snprintf(made.file, sizeof made.file, "%s/bytes", made.folder);
    FILE *file = fopen(made.file, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
    return made;
}

static void remove_scratch(const scratch *made) {
    assert_int_equal(unlink(made->file), 0);
    assert_int_equal(rmdir(made->folder), 0);
}

static void test_file(void **state) {
    (void)state;
    unsigned char bytes[10000], copy[10000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i % 251);
    scratch made = make_scratch(bytes, sizeof bytes);
    counting_allocator counts;
    mia_allocator allocator = counting_allocator_of(&counts);
    mia_error error = {0};
    mia_source source;
    char path[320];
    memcpy(path, made.file, sizeof path);
    assert_int_equal(mia_source_open_file(path, &allocator, &source, &error), MIA_OK);
    memset(path, 'x', 10); /* the name is a copy */
    assert_string_equal(source.name, made.file);
    assert_int_equal(source.size, sizeof bytes);
    assert_non_null(source.mapped);
    assert_memory_equal(source.mapped, bytes, sizeof bytes);

    assert_int_equal(source.read(source.user, 0, copy, sizeof copy, &error), MIA_OK);
    assert_memory_equal(copy, bytes, sizeof bytes);
    assert_int_equal(source.read(source.user, 9999, copy, 1, &error), MIA_OK);
    assert_int_equal(copy[0], 9999 % 251);
    assert_int_equal(source.read(source.user, 10000, copy, 0, &error), MIA_OK);
    char message[600];
    assert_int_equal(source.read(source.user, 9999, copy, 2, &error), MIA_ERROR_IO);
    (void)snprintf(message, sizeof message,
                   "%s: reading 2 bytes at 9999 runs past the end of the file (10000 bytes)", made.file);
    assert_string_equal(error.message, message);
    assert_int_equal(source.read(source.user, UINT64_MAX, copy, 2, NULL), MIA_ERROR_IO);

    assert_int_equal(truncate(made.file, 5000), 0);
    assert_int_equal(source.read(source.user, 4000, copy, 2000, &error), MIA_ERROR_IO);
    (void)snprintf(message, sizeof message, "%s: the file became shorter while it was read", made.file);
    assert_string_equal(error.message, message);

    mia_source_close(&source);
    assert_null(source.user);
    mia_source_close(&source); /* closing what is closed does nothing */
    assert_int_equal(counts.live, 0);
    remove_scratch(&made);
}

static void test_empty_file(void **state) {
    (void)state;
    scratch made = make_scratch("", 0);
    mia_error error = {0};
    mia_source source;
    mia_weights *weights = NULL;
    assert_int_equal(mia_source_open_file(made.file, NULL, &source, &error), MIA_OK);
    assert_int_equal(source.size, 0);
    mia_source_close(&source);
    char message[600];
    (void)snprintf(message, sizeof message, "%s: not a GGUF file (it does not begin with \"GGUF\")",
                   made.file);
    assert_int_equal(mia_weights_open_file(made.file, NULL, &weights, &error), MIA_ERROR_FORMAT);
    assert_string_equal(error.message, message);
    remove_scratch(&made);
}

/* A real file without its mapping: the parser then reads through pread. */
static void test_unmapped(void **state) {
    (void)state;
    gguf_builder file = gguf_sample();
    scratch made = make_scratch(file.bytes, file.count);
    mia_error error = {0};
    mia_source source;
    mia_weights *weights = NULL;
    unsigned char raw[68];
    assert_int_equal(mia_source_open_file(made.file, NULL, &source, &error), MIA_OK);
    source.mapped = NULL;
    assert_int_equal(mia_weights_open(source, NULL, &weights, &error), MIA_OK);
    const mia_tensor_info *tensor = mia_weights_find_tensor(weights, "one");
    assert_non_null(tensor);
    assert_null(mia_weights_mapped(weights, tensor));
    assert_int_equal(mia_weights_read(weights, tensor, 1, raw, 67, &error), MIA_OK);
    assert_int_equal(raw[0], 48);
    mia_weights_close(weights);

    assert_int_equal(mia_weights_open_file(made.file, NULL, &weights, &error), MIA_OK);
    tensor = mia_weights_find_tensor(weights, "one");
    assert_int_equal(((const unsigned char *)mia_weights_mapped(weights, tensor))[1], 48);
    mia_weights_close(weights);
    remove_scratch(&made);
    gguf_free(&file);
}

static void test_cannot_open(void **state) {
    (void)state;
    scratch made = make_scratch("x", 1);
    mia_error error = {0};
    mia_source source;
    mia_weights *weights = NULL;
    char message[600], path[340];

    assert_int_equal(mia_source_open_file("/nonexistent/model.gguf", NULL, &source, &error),
                     MIA_ERROR_NOT_FOUND);
    assert_string_equal(error.message, "/nonexistent/model.gguf: cannot open: No such file or directory");
    assert_null(source.user);
    assert_int_equal(mia_weights_open_file("/nonexistent/model.gguf", NULL, &weights, NULL),
                     MIA_ERROR_NOT_FOUND);
    assert_null(weights);

    assert_int_equal(mia_source_open_file(made.folder, NULL, &source, &error), MIA_ERROR_IO);
    (void)snprintf(message, sizeof message, "%s: cannot open: it is a directory", made.folder);
    assert_string_equal(error.message, message);

    (void)snprintf(path, sizeof path, "%s/pipe", made.folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(mia_source_open_file(path, NULL, &source, &error), MIA_ERROR_IO);
    (void)snprintf(message, sizeof message, "%s: cannot open: it is not a regular file", path);
    assert_string_equal(error.message, message);
    assert_int_equal(unlink(path), 0);

    counting_allocator counts;
    mia_allocator allocator = counting_allocator_of(&counts);
    counts.calls_left = 0;
    assert_int_equal(mia_source_open_file(made.file, &allocator, &source, &error), MIA_ERROR_NO_MEMORY);
    (void)snprintf(message, sizeof message, "%s: no memory to open the file", made.file);
    assert_string_equal(error.message, message);
    remove_scratch(&made);
}

static void test_memory(void **state) {
    (void)state;
    char copy[4] = "";
    mia_source source = mia_source_of_memory("m", "abc", 3);
    assert_int_equal(source.size, 3);
    assert_memory_equal(source.mapped, "abc", 3);
    assert_int_equal(source.read(source.user, 1, copy, 2, NULL), MIA_OK);
    assert_string_equal(copy, "bc");
    mia_source_close(&source);
    assert_null(source.mapped);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),     cmocka_unit_test(test_empty_file),
        cmocka_unit_test(test_unmapped), cmocka_unit_test(test_cannot_open),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
