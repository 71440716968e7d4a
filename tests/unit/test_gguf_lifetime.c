/* How long weights live: reference counts, observers, and allocation failure at every point of opening. */
#include "gguf_builder.h"
#include "weights/weights.h"

#include <stdio.h>

static void test_retain(void **state) {
    (void)state;
    gguf_builder file = gguf_sample();
    read_only_file user;
    counting_allocator counts;
    mia_allocator allocator = counting_allocator_of(&counts);
    mia_weights_options options = {&allocator};
    mia_weights *weights = NULL;
    mia_error error = {0};
    unsigned char raw[68];
    assert_int_equal(
        mia_weights_open(read_only_source(&user, file.bytes, file.count), &options, &weights, &error),
        MIA_OK);
    mia__weights_retain(weights);
    mia__weights_retain(weights);
    mia_weights_close(weights);
    assert_int_equal(user.closed, 0);
    const mia_tensor_info *tensor = mia_weights_find_tensor(weights, "one");
    assert_non_null(tensor);
    assert_int_equal(mia_weights_read(weights, tensor, 0, raw, sizeof raw, &error), MIA_OK);
    assert_int_equal(raw[1], 48);
    mia__weights_release(weights);
    assert_int_equal(user.closed, 0);
    assert_true(counts.live > 0);
    mia__weights_release(weights);
    assert_int_equal(user.closed, 1);
    assert_int_equal(counts.live, 0);
    mia_weights_close(NULL);
    gguf_free(&file);
}

typedef struct witness {
    size_t called;
    const mia_weights *seen;
    bool unobserve_gave; /* of itself, from within the call */
} witness;

static void observe(const mia_weights *weights, void *user) {
    witness *self = user;
    self->called++;
    self->seen = weights;
    self->unobserve_gave = mia__weights_unobserve(weights, observe, user);
}

static void observe_too(const mia_weights *weights, void *user) {
    (void)weights;
    ((witness *)user)->called += 100;
}

static void test_observers(void **state) {
    (void)state;
    gguf_builder file = gguf_sample();
    mia_weights *weights = NULL;
    mia_error error = {0};
    witness seen[12] = {{0, NULL, true}};
    assert_int_equal(mia_weights_open(mapped_source(file.bytes, file.count), NULL, &weights, &error), MIA_OK);
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(mia__weights_observe(weights, observe, &seen[i], &error), MIA_OK);
    assert_int_equal(mia__weights_observe(weights, observe_too, &seen[3], &error), MIA_OK);
    assert_true(mia__weights_unobserve(weights, observe, &seen[5]));
    assert_false(mia__weights_unobserve(weights, observe, &seen[5]));
    assert_false(mia__weights_unobserve(weights, observe_too, &seen[4]));
    mia__weights_retain(weights);
    mia_weights_close(weights);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(seen[i].called, i == 5 ? 0 : i == 3 ? 101 : 1);
        if (i != 5) assert_ptr_equal(seen[i].seen, weights);
        if (i != 5) assert_false(seen[i].unobserve_gave);
    }
    assert_int_equal(mia__weights_observe(weights, observe, &seen[5], &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "test.gguf: the weights are closed");
    assert_false(mia__weights_unobserve(weights, observe, &seen[0]));
    mia__weights_release(weights);
    gguf_free(&file);
}

/* The n-th allocation fails, for every n. */
static void fails_at_every_point(const unsigned char *bytes, size_t count, bool mapped) {
    bool succeeded = false;
    for (size_t n = 0; !succeeded; n++) {
        read_only_file user;
        counting_allocator counts;
        mia_allocator allocator = counting_allocator_of(&counts);
        mia_weights_options options = {&allocator};
        mia_weights *weights = NULL;
        mia_error error = {0};
        counts.calls_left = n;
        mia_source source = read_only_source(&user, bytes, count);
        if (mapped) source.mapped = bytes;
        mia_status status = mia_weights_open(source, &options, &weights, &error);
        succeeded = status == MIA_OK;
        if (succeeded) {
            witness self = {0, NULL, false};
            counts.calls_left = 0;
            assert_int_equal(mia__weights_observe(weights, observe, &self, &error), MIA_ERROR_NO_MEMORY);
            mia_weights_close(weights);
            assert_true(n >= 6);
        } else {
            assert_int_equal(status, MIA_ERROR_NO_MEMORY);
            assert_memory_equal(error.message, "test.gguf: no memory", 20);
            assert_null(weights);
        }
        assert_int_equal(user.closed, 1);
        assert_int_equal(counts.live, 0);
        assert_true(n < 1000);
    }
}

static void test_no_memory(void **state) {
    (void)state;
    gguf_builder file = gguf_sample();
    fails_at_every_point(file.bytes, file.count, true);
    fails_at_every_point(file.bytes, file.count, false);
    gguf_free(&file);

    /* data out of order, so that they are sorted; and more entries than the first allocations hold */
    gguf_head(&file, 3, 100, 70);
    char name[16];
    for (uint32_t i = 0; i < 70; i++) {
        (void)snprintf(name, sizeof name, "key %u", i);
        gguf_key(&file, name, 4), gguf_u32(&file, i);
    }
    for (uint32_t i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof name, "tensor %u", i);
        gguf_tensor(&file, name, 1, (uint64_t[]){8}, 0, (uint64_t)((i * 37) % 100) * 32);
    }
    gguf_pad(&file, 32);
    gguf_data(&file, 3200);
    fails_at_every_point(file.bytes, file.count, true);
    fails_at_every_point(file.bytes, file.count, false);
    gguf_free(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retain),
        cmocka_unit_test(test_observers),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
