/* Damaged files: a small one made by hand and the bundled model, cut at every byte of the header, every bit
 * of the header flipped, and 2,000 random mutations. Nothing may crash, hang, leak, or read outside the file,
 * and a source that can only be read must give what a mapped one gives.
 *
 * The small file is always done in full. The bundled one is done in full when MIA_TEST_LONG is set (through
 * the source that can only be read a quarter of its bits, drawn anew each run), and else by a random share that
 * differs from run to run: the seed is printed, and MIA_TEST_SEED repeats it. Under a sanitizer, MIA_TEST_LONG is a quarter. */
#include "gguf_builder.h"
#include "support.h"

#include <stdio.h>

/* --- one attempt ------------------------------------------------------------------------------ */

/* Visit one element in many of a long array: for the run over every bit of the bundled file's header. */
static bool walk_lightly;

static uint64_t walk_value(const mia_value *value) {
    uint64_t sum = (uint64_t)value->type;
    if (value->type == MIA_VALUE_STRING) {
        for (size_t i = 0; i < value->as.text.length; i++)
            sum = sum * 31 + (unsigned char)value->as.text.bytes[i];
    } else if (value->type == MIA_VALUE_ARRAY) {
        uint64_t step = walk_lightly && value->count > 256 ? value->count / 61 : 1;
        for (uint64_t i = 0; i < value->count; i += step) {
            mia_value element = mia_value_element(value, i);
            sum = sum * 31 + walk_value(&element);
        }
    } else if (value->type == MIA_VALUE_F32 || value->type == MIA_VALUE_F64) {
        uint64_t bits;
        memcpy(&bits, &value->as.f, sizeof bits);
        sum += bits;
    } else {
        sum += value->as.u;
    }
    return sum;
}

/* Touches all that the weights offer; a number that depends on all of it. */
static uint64_t walk(const mia_weights *weights) {
    uint64_t sum = 0;
    for (size_t i = 0; i < mia_weights_metadata_count(weights); i++) {
        mia_text key;
        mia_value value = mia_weights_metadata(weights, i, &key);
        mia_value as_text = {.type = MIA_VALUE_STRING, .as.text = key};
        sum = sum * 31 + walk_value(&as_text);
        sum = sum * 31 + walk_value(&value);
    }
    for (size_t i = 0; i < mia_weights_tensor_count(weights); i++) {
        const mia_tensor_info *tensor = mia_weights_tensor_at(weights, i);
        unsigned char ends[2] = {0, 0};
        mia_error error = {0};
        assert_true(tensor->bytes > 0);
        assert_int_equal(mia_weights_read(weights, tensor, 0, &ends[0], 1, &error), MIA_OK);
        assert_int_equal(mia_weights_read(weights, tensor, tensor->bytes - 1, &ends[1], 1, &error), MIA_OK);
        sum = sum * 31 + ends[0] + ends[1] + tensor->bytes + tensor->offset + (uint64_t)tensor->dtype;
    }
    return sum;
}

typedef struct outcome {
    mia_status status;
    mia_error error;
    uint64_t sum;
} outcome;

static outcome attempt(const unsigned char *bytes, size_t count, bool mapped) {
    read_only_file user;
    counting_allocator counts;
    mia_allocator allocator = counting_allocator_of(&counts);
    mia_weights_options options = {&allocator};
    mia_weights *weights = NULL;
    mia_source source = read_only_source(&user, bytes, count);
    if (mapped) source.mapped = bytes;
    outcome result = {MIA_OK, {MIA_OK, ""}, 0};
    result.status = mia_weights_open(source, &options, &weights, &result.error);
    if (result.status == MIA_OK) {
        result.sum = walk(weights);
        mia_weights_close(weights);
    } else {
        assert_null(weights);
        assert_int_equal(result.status, MIA_ERROR_FORMAT);
        assert_int_equal(result.error.status, MIA_ERROR_FORMAT);
        assert_memory_equal(result.error.message, "test.gguf: ", 11);
    }
    assert_int_equal(counts.live, 0);
    assert_int_equal(user.closed, 1);
    return result;
}

/* Both ways; they must agree. True when the file was taken. */
static bool survives(const unsigned char *bytes, size_t count) {
    outcome mapped = attempt(bytes, count, true);
    outcome read = attempt(bytes, count, false);
    assert_int_equal(mapped.status, read.status);
    assert_string_equal(mapped.error.message, read.error.message);
    assert_true(mapped.sum == read.sum);
    return mapped.status == MIA_OK;
}

/* --- the two files ---------------------------------------------------------------------------- */

typedef struct subject {
    unsigned char *bytes;
    size_t count;
    size_t header; /* bytes before the first tensor's data */
} subject;

static subject small, bundled;

static size_t header_of(const unsigned char *bytes, size_t count) {
    mia_weights *weights = NULL;
    mia_error error = {0};
    assert_int_equal(mia_weights_open(mapped_source(bytes, count), NULL, &weights, &error), MIA_OK);
    uint64_t first = count;
    for (size_t i = 0; i < mia_weights_tensor_count(weights); i++)
        if (mia_weights_tensor_at(weights, i)->offset < first)
            first = mia_weights_tensor_at(weights, i)->offset;
    mia_weights_close(weights);
    return (size_t)first;
}

static int set_up(void **state) {
    (void)state;
    gguf_builder file = gguf_sample();
    small = (subject){file.bytes, file.count, header_of(file.bytes, file.count)};

    FILE *model = fopen(MIA_MODELS_DIR "/mia-tales-9m-q8_0.gguf", "rb");
    assert_non_null(model);
    assert_int_equal(fseek(model, 0, SEEK_END), 0);
    long size = ftell(model);
    assert_true(size > 0);
    rewind(model);
    bundled.count = (size_t)size;
    bundled.bytes = malloc(bundled.count);
    assert_non_null(bundled.bytes);
    assert_int_equal(fread(bundled.bytes, 1, bundled.count, model), bundled.count);
    assert_int_equal(fclose(model), 0);
    bundled.header = header_of(bundled.bytes, bundled.count);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    free(small.bytes);
    free(bundled.bytes);
    return 0;
}

/* --- chance ----------------------------------------------------------------------------------- */

static uint64_t random_state;

static size_t draw_below(size_t limit) {
    return (size_t)test_below(&random_state, (int64_t)limit);
}

static bool in_full(void) {
    return getenv("MIA_TEST_LONG") != NULL;
}

/* In full is, under a sanitizer, every fourth place from a random one on. */
static size_t stride(void) {
    return getenv("MIA_TEST_SLOW") != NULL ? 4 : 1;
}

/* --- cuts and flips --------------------------------------------------------------------------- */

static void cut(const subject *file, size_t count) {
    unsigned char *shorter = malloc(count > 0 ? count : 1); /* of that size, so that reading on is seen */
    assert_non_null(shorter);
    memcpy(shorter, file->bytes, count);
    assert_false(survives(shorter, count));
    free(shorter);
}

static bool flip(const subject *file, size_t bit) {
    file->bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    bool taken = survives(file->bytes, file->count);
    file->bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    return taken;
}

static void test_small_cut(void **state) {
    (void)state;
    for (size_t count = 0; count < small.count; count++) cut(&small, count);
    assert_true(survives(small.bytes, small.count));
}

static void test_small_flipped(void **state) {
    (void)state;
    size_t taken = 0;
    for (size_t bit = 0; bit < small.header * 8; bit++) taken += flip(&small, bit);
    assert_true(taken > 0 && taken < small.header * 8);
    assert_true(survives(small.bytes, small.count));
}

static void test_bundled_cut(void **state) {
    (void)state;
    if (in_full())
        for (size_t count = draw_below(stride()); count < bundled.header; count += stride())
            cut(&bundled, count);
    for (int i = 0; i < 300; i++) cut(&bundled, draw_below(bundled.header));
    cut(&bundled, bundled.header);
    cut(&bundled, bundled.count - 1);
}

/* Of so many, the read-only source sees every fourth. */
static void flip_every_bit(const subject *file) {
    size_t share = draw_below(4), step = stride();
    walk_lightly = true;
    for (size_t bit = draw_below(step); bit < file->header * 8; bit += step) {
        if (bit / step % 4 == share) {
            (void)flip(file, bit);
            continue;
        }
        file->bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        (void)attempt(file->bytes, file->count, true);
        file->bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    walk_lightly = false;
}

static void test_bundled_flipped(void **state) {
    (void)state;
    assert_true(survives(bundled.bytes, bundled.count));
    if (in_full()) flip_every_bit(&bundled);
    for (int i = 0; i < 1500; i++) (void)flip(&bundled, draw_below(bundled.header * 8));
    for (size_t bit = 0; bit < 24 * 8; bit++) (void)flip(&bundled, bit);
    assert_true(survives(bundled.bytes, bundled.count));
}

/* --- random mutations ------------------------------------------------------------------------- */

/* Numbers that sit at the edges of sizes and counts. */
static uint64_t edge(size_t count) {
    const uint64_t edges[] = {0,
                              1,
                              7,
                              8,
                              31,
                              32,
                              255,
                              256,
                              INT32_MAX,
                              UINT32_MAX,
                              INT64_MAX,
                              UINT64_MAX,
                              (uint64_t)1 << 61,
                              UINT64_MAX / 8 + 1,
                              count,
                              count - 1,
                              count + 1};
    return edges[draw_below(sizeof edges / sizeof *edges)];
}

/* Overwrites something among the first `header` bytes. */
static void overwrite(unsigned char *bytes, size_t header, size_t count) {
    size_t at = draw_below(header), width = (size_t)1 << draw_below(4);
    uint64_t value = draw_below(3) == 0 ? test_random(&random_state) : edge(count);
    switch (draw_below(4)) {
    case 0: bytes[at] ^= (unsigned char)(1u << draw_below(8)); break;
    case 1: bytes[at] = (unsigned char)test_random(&random_state); break;
    case 2:
        for (size_t i = 0; i < width && at + i < header; i++)
            bytes[at + i] = (unsigned char)(value >> (8 * i));
        break;
    default: {
        size_t from = draw_below(header), length = draw_below(64);
        for (size_t i = 0; i < length && at + i < header && from + i < header; i++)
            bytes[at + i] = bytes[from + i];
        break;
    }
    }
}

static void mutate_bundled(unsigned char *saved) {
    size_t changes = 1 + draw_below(4);
    memcpy(saved, bundled.bytes, bundled.header);
    for (size_t i = 0; i < changes; i++) overwrite(bundled.bytes, bundled.header, bundled.count);
    (void)survives(bundled.bytes, bundled.count);
    memcpy(bundled.bytes, saved, bundled.header);
}

/* Also bytes put in, taken out, and cut off. */
static void mutate_small(void) {
    size_t changes = 1 + draw_below(4), count = small.count;
    unsigned char *bytes = malloc(count);
    assert_non_null(bytes);
    memcpy(bytes, small.bytes, count);
    for (size_t i = 0; i < changes; i++) {
        size_t at = draw_below(count), length = draw_below(16), kept = count - at;
        if (draw_below(4) != 0 || count < 64) {
            overwrite(bytes, small.header < count ? small.header : count, count);
            continue;
        }
        unsigned char *changed;
        if (test_random(&random_state) % 2 == 0) { /* take out */
            length = length < kept ? length : kept - 1;
            changed = malloc(count - length);
            assert_non_null(changed);
            memcpy(changed, bytes, at);
            memcpy(changed + at, bytes + at + length, kept - length);
            count -= length;
        } else {
            changed = malloc(count + length);
            assert_non_null(changed);
            memcpy(changed, bytes, at);
            for (size_t n = 0; n < length; n++) changed[at + n] = (unsigned char)test_random(&random_state);
            memcpy(changed + at + length, bytes + at, kept);
            count += length;
        }
        free(bytes);
        bytes = changed;
    }
    (void)survives(bytes, count);
    free(bytes);
}

static void test_changes(void **state) {
    (void)state;
    unsigned char *saved = malloc(bundled.header);
    assert_non_null(saved);
    for (int i = 0; i < 1000; i++) mutate_bundled(saved);
    for (int i = 0; i < 1000; i++) mutate_small();
    free(saved);
    assert_true(survives(bundled.bytes, bundled.count));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_cut),   cmocka_unit_test(test_small_flipped),
        cmocka_unit_test(test_bundled_cut), cmocka_unit_test(test_bundled_flipped),
        cmocka_unit_test(test_changes),
    };
    random_state = test_seed();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
