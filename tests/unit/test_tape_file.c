/* Tapes in files: the round trip is bit-exact, constants come from the file or from others, and whatever is
 * wrong with a file is refused with a message, every word of it changed in turn. */
#include "support.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "mia-tape-XXXXXX";

static const char *path_of(const char *name) {
    static char path[4][300];
    static int next;
    next = (next + 1) % 4;
    (void)snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

static mia_device *open_device(const char *backend) {
    mia_device *device = NULL;
    mia_error error = {0};
    if (mia_device_open(&(mia_device_options){.backend = backend, .threads = 1}, &device, &error) != MIA_OK)
        fail_msg("%s", error.message);
    return device;
}

static void close_device(mia_device *device) {
    mia_error error = {0};
    if (mia_device_close(device, &error) != MIA_OK) fail_msg("%s", error.message);
}

static void good(mia_status status, const mia_error *error) {
    if (status != MIA_OK) fail_msg("%s", error->message);
}

/* The whole of a file. */
static unsigned char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    (void)fclose(file);
    return bytes;
}

/* A bit of everything: views, a slice of an input, constants of several types, attributes of both kinds. */
static mia_tape *record_everything(mia_device *device) {
    const float weights[12] = {0.5f, -1, 2, 3, -4, 5, 6, -7, 8, 9, 10, -11};
    const int32_t positions[3] = {0, 2, 5};
    const uint8_t flags[3] = {1, 0, 1};
    mia_tensor_f32 x = mia_input(f32, device, MIA_SHAPE(4, 3)), bias = mia_input(f32, device, MIA_SHAPE(3));
    mia_tensor_f32 w = mia_constant(f32, device, MIA_SHAPE(4, 3), weights);
    mia_tensor_f32 y = mia_matmul(w, mia_ref(x)); /* [3, 3] */
    y = mia_add(y, mia_slice(mia_ref(bias), 0, 2, 3, -1));
    mia_tensor_f32 turned = mia_softmax(mia_transpose(mia_ref(y), 0, 1));
    mia_tensor_f32 rows = mia_gather(mia_ref(x), mia_upload(i32, device, MIA_SHAPE(3), positions));
    mia_tensor_f32 some =
        mia_mul(mia_convert(f32, mia_upload(bool8, device, MIA_SHAPE(3), flags)), mia_ref(bias));
    mia_tensor_f16 half =
        mia_convert(f16, mia_rms_norm(mia_ref(x), mia_full(f32, device, MIA_SHAPE(4), 2), 1e-5));
    const mia_named inputs[2] = {{"x", x.untyped}, {"bias", bias.untyped}};
    const mia_named outputs[5] = {{"turned", turned.untyped},
                                  {"rows", rows.untyped},
                                  {"some", some.untyped},
                                  {"half", half.untyped},
                                  {"y", y.untyped}};
    mia_tape *tape = NULL;
    mia_error error = {0};
    good(mia_tape_record(inputs, 2, outputs, 5, &tape, &error), &error);
    mia_unref(x), mia_unref(bias), mia_unref(y), mia_unref(turned), mia_unref(rows), mia_unref(some),
        mia_unref(half);
    return tape;
}

/* Runs it on drawn numbers; the bytes of all outputs, one after the other. */
static size_t run_tape(mia_device *device, mia_tape *tape, uint64_t seed, unsigned char *out) {
    mia_tensor inputs[8], outputs[8];
    mia_error error = {0};
    size_t used = 0;
    for (size_t i = 0; i < mia_tape_input_count(tape); i++) {
        mia_tape_value value = mia_tape_input(tape, i);
        float numbers[64];
        for (size_t k = 0; k < 64; k++) numbers[k] = test_uniform(&seed);
        inputs[i] = mia_tensor_upload(device, value.dtype, value.shape, numbers, NULL, 0);
    }
    good(mia_tape_run(tape, inputs, outputs, &error), &error);
    for (size_t i = 0; i < mia_tape_output_count(tape); i++) {
        mia_tape_value value = mia_tape_output(tape, i);
        size_t bytes = mia_dtype_describe(value.dtype)->bytes;
        for (uint32_t m = 0; m < value.shape.ndim; m++) bytes *= (size_t)value.shape.extent[m];
        good(mia_tensor_read(outputs[i], out + used, bytes, &error, NULL, 0), &error);
        used += bytes;
    }
    return used;
}

static mia_tape *load(mia_device *device, const char *path, mia_weights *more, mia_weights **file) {
    mia_error error = {0};
    mia_tape *tape = NULL;
    good(mia_weights_open_file(path, NULL, file, &error), &error);
    good(mia_tape_load(device, *file, more, &tape, &error), &error);
    return tape;
}

static void test_round_trip(void **state) {
    (void)state;
    static const char *const backends[] = {"cpu", "reference"};
    uint64_t seed = test_seed();
    mia_error error = {0};
    for (size_t b = 0; b < 2; b++) {
        mia_device *device = open_device(backends[b]), *other = open_device(backends[b]);
        mia_tape *tape = record_everything(device);
        good(mia_tape_save(tape, path_of("all.mia"), NULL, &error), &error);
        mia_weights *file = NULL;
        mia_tape *loaded = load(other, path_of("all.mia"), NULL, &file);
        assert_int_equal(mia_tape_input_count(loaded), 2);
        assert_string_equal(mia_tape_input(loaded, 1).name, "bias");
        assert_string_equal(mia_tape_output(loaded, 3).name, "half");
        for (int i = 0; i < 4; i++) {
            unsigned char want[1024], got[1024];
            uint64_t drawn = test_random(&seed);
            size_t size = run_tape(device, tape, drawn, want);
            assert_int_equal(run_tape(other, loaded, drawn, got), size);
            assert_memory_equal(got, want, size);
        }
        /* what was loaded is saved as the same bytes */
        good(mia_tape_save(loaded, path_of("again.mia"), NULL, &error), &error);
        size_t size, again;
        unsigned char *first = read_file(path_of("all.mia"), &size),
                      *second = read_file(path_of("again.mia"), &again);
        assert_int_equal(size, again);
        assert_memory_equal(first, second, size);
        free(first);
        free(second);
        mia_weights_close(file); /* the tape keeps what it needs */
        unsigned char bytes[1024];
        (void)run_tape(other, loaded, 1, bytes);
        mia_tape_close(loaded);
        mia_tape_close(tape);
        close_device(other);
        close_device(device);
    }
}

/* Constants of a weights file keep their names, and may stay there. */
static void test_weights(void **state) {
    (void)state;
    mia_error error = {0};
    mia_gguf_writer *writer = NULL;
    const float numbers[6] = {1, 2, 3, 4, 5, 6};
    good(mia_gguf_writer_open(path_of("w.gguf"), NULL, &writer, &error), &error);
    mia_gguf_writer_tensor(writer, "blk.0.w", MIA_f32, MIA_SHAPE(3, 2));
    good(mia_gguf_writer_data(writer, numbers, sizeof numbers, &error), &error);
    good(mia_gguf_writer_close(writer, &error), &error);

    mia_device *device = open_device("cpu");
    mia_weights *weights = NULL, *file = NULL;
    good(mia_weights_open_file(path_of("w.gguf"), NULL, &weights, &error), &error);
    mia_tensor_f32 x = mia_input(f32, device, MIA_SHAPE(3));
    mia_tensor_f32 y = mia_matmul(mia_as(f32, mia_weights_tensor(device, weights, "blk.0.w")), mia_ref(x));
    const mia_named in = {"x", x.untyped}, out = {"y", y.untyped};
    mia_tape *tape = NULL;
    good(mia_tape_record(&in, 1, &out, 1, &tape, &error), &error);
    mia_unref(x), mia_unref(y);
    good(mia_tape_save(tape, path_of("with.mia"), NULL, &error), &error);
    good(mia_tape_save(tape, path_of("without.mia"), &(mia_tape_save_options){.without_weights = true},
                       &error),
         &error);
    unsigned char want[64], got[64];
    size_t size = run_tape(device, tape, 5, want);
    mia_tape_close(tape);

    mia_tape *loaded = load(device, path_of("with.mia"), NULL, &file);
    assert_non_null(mia_weights_find_tensor(file, "blk.0.w"));
    assert_int_equal(run_tape(device, loaded, 5, got), size);
    assert_memory_equal(got, want, size);
    mia_tape_close(loaded);
    mia_weights_close(file);

    loaded = load(device, path_of("without.mia"), weights, &file);
    assert_null(mia_weights_find_tensor(file, "blk.0.w"));
    assert_int_equal(run_tape(device, loaded, 5, got), size);
    assert_memory_equal(got, want, size);
    mia_tape_close(loaded);
    assert_int_equal(mia_tape_load(device, file, NULL, &loaded, &error), MIA_ERROR_NOT_FOUND);
    assert_non_null(strstr(
        error.message, "without.mia: the tape needs tensor \"blk.0.w\", and no other weights were given"));
    assert_null(loaded);
    mia_weights_close(file);
    mia_weights_close(weights);
    close_device(device);
}

static double add_one(void *user, const mia_attributes *attributes, const double *x) {
    (void)user;
    return x[0] + attributes->f[1] + (double)attributes->i[11];
}

/* Registered operations go by their names. */
static void test_registered(void **state) {
    (void)state;
    mia_error error = {0};
    mia_device *device = open_device("cpu"), *other = open_device("cpu"), *third = open_device("cpu");
    mia_op_description filler = {.name = "filler", .operands = 1, .number = add_one}, description = filler;
    description.name = "add_some";
    mia_op op, there;
    good(mia_op_register(device, &description, &op, &error), &error);
    good(mia_op_register(other, &filler, &there, &error), &error); /* another number there */
    good(mia_op_register(other, &description, &there, &error), &error);
    mia_tensor_f32 x = mia_input(f32, device, MIA_SHAPE(3));
    const mia_attributes attributes = {.i = {[11] = 2}, .f = {0, 0.5}};
    const mia_tensor operand = mia_ref(x).untyped;
    mia_tensor_f32 y = mia_call(f32, op, &operand, 1, &attributes);
    const mia_named in = {"x", x.untyped}, out = {"y", y.untyped};
    mia_tape *tape = NULL, *loaded = NULL;
    good(mia_tape_record(&in, 1, &out, 1, &tape, &error), &error);
    good(mia_tape_save(tape, path_of("own.mia"), NULL, &error), &error);
    mia_weights *file = NULL;
    loaded = load(other, path_of("own.mia"), NULL, &file);
    unsigned char want[64], got[64];
    size_t size = run_tape(device, tape, 9, want);
    assert_int_equal(run_tape(other, loaded, 9, got), size);
    assert_memory_equal(got, want, size);
    mia_tape_close(loaded);
    assert_int_equal(mia_tape_load(third, file, NULL, &loaded, &error), MIA_ERROR_NOT_FOUND);
    assert_non_null(
        strstr(error.message, "the tape uses operation add_some, which is not registered on this device"));
    mia_weights_close(file);
    mia_unref(x), mia_unref(y);
    mia_tape_close(tape);
    close_device(device), close_device(other), close_device(third);
}

/* --- files that are wrong ---------------------------------------------------------------------- */

static void test_versions(void **state) {
    (void)state;
    mia_error error = {0};
    mia_device *device = open_device("cpu");
    mia_gguf_writer *writer = NULL;
    mia_weights *file = NULL;
    mia_tape *tape = NULL;
    for (uint32_t version = 0; version < 2; version++) {
        good(mia_gguf_writer_open(path_of("v.mia"), NULL, &writer, &error), &error);
        if (version > 0) mia_gguf_writer_u32(writer, "mia.tape.version", 77);
        good(mia_gguf_writer_close(writer, &error), &error);
        good(mia_weights_open_file(path_of("v.mia"), NULL, &file, &error), &error);
        assert_int_equal(mia_tape_load(device, file, NULL, &tape, &error), MIA_ERROR_FORMAT);
        assert_non_null(
            strstr(error.message, version == 0 ? "holds no tape" : "is of version 77; version 1 is known"));
        mia_weights_close(file);
    }
    close_device(device);
}

/* Loads what may be corrupt; what loads has to run or be refused without harm. */
static bool survives(mia_device *device, const unsigned char *bytes, size_t size) {
    mia_weights *file = NULL;
    mia_tape *tape = NULL;
    mia_error error = {0};
    if (mia_weights_open(mia_source_of_memory("corrupt", bytes, size), NULL, &file, &error) != MIA_OK)
        return false;
    mia_status status = mia_tape_load(device, file, NULL, &tape, &error);
    if (status != MIA_OK) assert_true(error.message[0] != '\0');
    size_t most = 0;
    for (size_t i = 0; tape != NULL && i < mia_tape_input_count(tape); i++) {
        mia_tape_value value = mia_tape_input(tape, i);
        size_t count = 1;
        for (uint32_t m = 0; m < value.shape.ndim; m++) count *= (size_t)value.shape.extent[m];
        most = count > most ? count : most;
    }
    bool runs =
        tape != NULL && most <= 64 && mia_tape_input_count(tape) <= 8 && mia_tape_output_count(tape) <= 8;
    if (runs) {
        static float numbers[64 * 8];
        mia_tensor inputs[8], outputs[8];
        for (size_t i = 0; i < mia_tape_input_count(tape); i++)
            inputs[i] = mia_tensor_upload(device, mia_tape_input(tape, i).dtype,
                                          mia_tape_input(tape, i).shape, numbers, NULL, 0);
        status = mia_tape_run(tape, inputs, outputs, &error);
        for (size_t i = 0; i < mia_tape_output_count(tape); i++) mia_unref(outputs[i]);
    }
    mia_tape_close(tape);
    mia_weights_close(file);
    return runs;
}

static void test_every_word(void **state) {
    (void)state;
    mia_error error = {0};
    uint64_t seed = test_seed();
    mia_device *device = NULL;
    good(
        mia_device_open(&(mia_device_options){.backend = "reference", .max_bytes = 1 << 20}, &device, &error),
        &error);
    mia_tape *tape = record_everything(device);
    good(mia_tape_save(tape, path_of("all.mia"), NULL, &error), &error);
    mia_tape_close(tape);
    size_t size;
    unsigned char *bytes = read_file(path_of("all.mia"), &size);
    assert_true(survives(device, bytes, size));
    size_t loaded = 0, tried = 0;
    for (size_t at = 24; at + 4 <= size; at++) { /* every place, words or not */
        static const uint32_t values[] = {0, 1, 2, 0xff, 0x7fffffff, 0x80000000, 0xffffffff};
        uint32_t was, now = values[test_below(&seed, 7)];
        memcpy(&was, bytes + at, 4);
        memcpy(bytes + at, &now, 4);
        loaded += survives(device, bytes, size);
        memcpy(bytes + at, &was, 4);
        tried++;
    }
    for (size_t cut = 0; cut < size; cut += 7) (void)survives(device, bytes, cut);
    printf("%zu changed files, %zu of them ran\n", tried, loaded);
    free(bytes);
    close_device(device);
}

static void test_full_disk(void **state) {
    (void)state;
    mia_error error = {0};
    mia_device *device = open_device("cpu");
    mia_tape *tape = record_everything(device);
    assert_int_equal(mia_tape_save(tape, "/dev/full", NULL, &error), MIA_ERROR_IO);
    assert_non_null(strstr(error.message, "/dev/full"));
    assert_int_equal(mia_tape_save(tape, path_of("no/such/folder"), NULL, &error), MIA_ERROR_IO);
    mia_tape_close(tape);
    close_device(device);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"all.mia",     "again.mia", "w.gguf", "with.mia",
                                        "without.mia", "own.mia",   "v.mia"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) (void)remove(path_of(names[i]));
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_weights),
        cmocka_unit_test(test_registered), cmocka_unit_test(test_versions),
        cmocka_unit_test(test_every_word), cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
