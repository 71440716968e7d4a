/* Stop strings in streamed text: against a search over the whole text, for random texts cut at random
 * places. */
#include "gguf_builder.h" /* the counting allocator */
#include "support.h"

#include "lm/stop.h"

#include <stdio.h>

static uint64_t random_state;

static int start_seed(void **state) {
    (void)state;
    random_state = test_seed();
    return 0;
}

static size_t random_below(size_t limit) {
    return (size_t)test_below(&random_state, (int64_t)limit);
}

/* What is shown of the first `length` bytes, by trying everything: up to the stop string that is complete
 * first, or else up to the longest end that some stop string begins with. */
static size_t naive_shown(const char *text, size_t length, const char *const *stops, size_t count,
                          bool *stopped) {
    *stopped = false;
    for (size_t end = 1; end <= length; end++) {
        size_t longest = 0;
        for (size_t i = 0; i < count; i++) {
            size_t size = strlen(stops[i]);
            if (size <= end && size > longest && memcmp(text + end - size, stops[i], size) == 0)
                longest = size;
        }
        if (longest == 0) continue;
        *stopped = true;
        return end - longest;
    }
    for (size_t held = length; held > 0; held--)
        for (size_t i = 0; i < count; i++)
            if (held < strlen(stops[i]) && memcmp(text + length - held, stops[i], held) == 0)
                return length - held;
    return length;
}

static void check_text(const char *text, size_t length, const char *const *stops, size_t count) {
    mia__stop *stop;
    assert_int_equal(mia__stop_open(stops, count, NULL, &stop, NULL), MIA_OK);
    char *shown = malloc(length + 1);
    size_t got = 0, at = 0;
    bool stopped = false, expected = false;
    while (at < length) {
        size_t piece = random_below(length - at + 1);
        mia_text part;
        assert_int_equal(mia__stop_push(stop, (mia_text){text + at, piece}, &part, &stopped, NULL), MIA_OK);
        at += piece;
        assert_true(got + part.length <= length);
        if (part.length > 0) memcpy(shown + got, part.bytes, part.length);
        got += part.length;
        assert_int_equal(got, naive_shown(text, at, stops, count, &expected));
        assert_int_equal(stopped, expected);
    }
    mia_text rest = mia__stop_finish(stop);
    if (rest.length > 0) memcpy(shown + got, rest.bytes, rest.length);
    got += rest.length;
    if (!stopped) assert_int_equal(got, length);
    assert_memory_equal(shown, text, got);
    assert_int_equal(mia__stop_finish(stop).length, 0);
    free(shown);
    mia__stop_close(stop);
}

static void test_texts(void **state) {
    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[64], strings[4][12];
        const char *stops[4];
        size_t length = random_below(sizeof text), count = random_below(5);
        size_t letters = 2 + random_below(2);
        for (size_t i = 0; i < length; i++) text[i] = (char)('a' + (int)random_below(letters));
        for (size_t i = 0; i < count; i++) {
            size_t size = 1 + random_below(sizeof strings[i] - 1);
            for (size_t k = 0; k < size; k++) strings[i][k] = (char)('a' + (int)random_below(letters));
            strings[i][size] = '\0';
            stops[i] = strings[i];
        }
        check_text(text, length, stops, count);
    }
}

static void push(mia__stop *stop, const char *piece, const char *shown, bool stopped) {
    mia_text part;
    bool now;
    assert_int_equal(mia__stop_push(stop, (mia_text){piece, strlen(piece)}, &part, &now, NULL), MIA_OK);
    assert_int_equal(part.length, strlen(shown));
    assert_memory_equal(part.bytes, shown, part.length);
    assert_int_equal(now, stopped);
}

static void test_by_hand(void **state) {
    (void)state;
    const char *stops[] = {"\n\n", "END."};
    mia__stop *stop;
    assert_int_equal(mia__stop_open(stops, 2, NULL, &stop, NULL), MIA_OK);
    push(stop, "one\n", "one", false);
    push(stop, "two EN", "\ntwo ", false);
    push(stop, "", "", false);
    push(stop, "DEN", "END", false);
    push(stop, "D", "", false);
    push(stop, ". more", "", true);
    push(stop, "more", "", true);
    assert_int_equal(mia__stop_finish(stop).length, 0);
    mia__stop_close(stop);
}

static void test_finish(void **state) {
    (void)state;
    const char *stops[] = {"END."};
    mia__stop *stop;
    assert_int_equal(mia__stop_open(stops, 1, NULL, &stop, NULL), MIA_OK);
    push(stop, "the END", "the ", false);
    mia_text rest = mia__stop_finish(stop);
    assert_int_equal(rest.length, 3);
    assert_memory_equal(rest.bytes, "END", 3);
    mia__stop_close(stop);
    mia__stop_close(NULL);
}

static void test_refused(void **state) {
    (void)state;
    mia__stop *stop;
    mia_error error = {0};
    assert_int_equal(mia__stop_open((const char *[]){"a", ""}, 2, NULL, &stop, &error),
                     MIA_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "stop string 1 is empty"));
    assert_null(stop);
    assert_int_equal(mia__stop_open((const char *[]){NULL}, 1, NULL, &stop, &error),
                     MIA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(mia__stop_open(NULL, 1, NULL, &stop, &error), MIA_ERROR_INVALID_ARGUMENT);
}

static mia_status do_everything(const mia_allocator *allocator, mia_error *error) {
    mia__stop *stop;
    mia_status status = mia__stop_open((const char *[]){"abc", "x"}, 2, allocator, &stop, error);
    mia_text part;
    bool stopped;
    for (size_t i = 0; status == MIA_OK && i < 3; i++) /* each longer than the room so far */
        status = mia__stop_push(stop, (mia_text){"--------ab", i == 2 ? 10 : 1 + i}, &part, &stopped, error);
    mia__stop_close(stop);
    return status;
}

static void test_no_memory(void **state) {
    (void)state;
    counting_allocator counts;
    mia_allocator allocator = counting_allocator_of(&counts);
    assert_int_equal(do_everything(&allocator, NULL), MIA_OK);
    assert_int_equal(counts.live, 0);
    size_t calls = counts.calls;
    assert_true(calls >= 8);
    for (size_t n = 0; n < calls; n++) {
        mia_error error = {0};
        allocator = counting_allocator_of(&counts);
        counts.calls_left = n;
        assert_int_equal(do_everything(&allocator, &error), MIA_ERROR_NO_MEMORY);
        assert_int_equal(error.status, MIA_ERROR_NO_MEMORY);
        assert_int_equal(counts.live, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand), cmocka_unit_test(test_finish),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_texts),   cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, start_seed, NULL);
}
