/* The map from byte strings to indices. */
#include "base/hash.h"

#include "gguf_builder.h"

#include <stdio.h>

static void test_many(void **state) {
    (void)state;
    enum { MANY = 20000 };
    static char keys[MANY][16];
    counting_allocator counts;
    mia_allocator allocator = counting_allocator_of(&counts);
    mia__hash_map map = {NULL, 0, 0, 0};
    size_t value = 7;
    assert_false(mia__hash_find(&map, "x", 1, &value));
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "%zu", i);
        assert_int_equal(mia__hash_add(&map, &allocator, keys[i], strlen(keys[i]), i), MIA__HASH_ADDED);
    }
    assert_int_equal(map.count, MANY);
    for (size_t i = 0; i < MANY; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%zu", i);
        assert_true(mia__hash_find(&map, key, strlen(key), &value));
        assert_int_equal(value, i);
        assert_int_equal(mia__hash_add(&map, &allocator, key, strlen(key), 0), MIA__HASH_DUPLICATE);
    }
    assert_false(mia__hash_find(&map, "20000", 5, &value));
    mia__hash_free(&map, &allocator);
    assert_int_equal(counts.live, 0);
    assert_false(mia__hash_find(&map, "1", 1, &value));
}

/* Keys of every length around a word, zeros in them, and the empty key are told apart. */
static void test_lengths(void **state) {
    (void)state;
    static const unsigned char zeros[40];
    mia__hash_map map = {NULL, 0, 0, 0};
    size_t value;
    for (size_t length = 0; length <= sizeof zeros; length++)
        assert_int_equal(mia__hash_add(&map, NULL, zeros, length, length), MIA__HASH_ADDED);
    for (size_t length = 0; length <= sizeof zeros; length++) {
        assert_true(mia__hash_find(&map, zeros, length, &value));
        assert_int_equal(value, length);
    }
    mia__hash_free(&map, NULL);
}

static void test_no_memory(void **state) {
    (void)state;
    static const char keys[] = "abcdefghijklmnopqrstuvwxyz";
    counting_allocator counts;
    mia_allocator allocator = counting_allocator_of(&counts);
    mia__hash_map map = {NULL, 0, 0, 0};
    size_t value;
    counts.calls_left = 0;
    assert_int_equal(mia__hash_add(&map, &allocator, keys, 1, 0), MIA__HASH_NO_MEMORY);
    counts.calls_left = 1;
    size_t added = 0;
    while (mia__hash_add(&map, &allocator, keys + added, 1, added) == MIA__HASH_ADDED) added++;
    assert_int_equal(added, 12);
    for (size_t i = 0; i < added; i++) { /* the table is as it was */
        assert_true(mia__hash_find(&map, keys + i, 1, &value));
        assert_int_equal(value, i);
    }
    mia__hash_free(&map, &allocator);
    assert_int_equal(counts.live, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
