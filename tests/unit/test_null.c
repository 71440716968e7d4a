/* The null backend: it completes late, in order, and fails when told to. */
#include "backend/null/null.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What completed, in order: names of the work, with '!' behind those that failed. */
typedef struct journal {
    char text[64];
    mia_status last;
} journal;

typedef struct named {
    journal *journal;
    const char *name;
} named;

static void note(void *user, mia_status status, const char *message) {
    named *work = user;
    assert_true((status == MIA_OK) == (message == NULL));
    strcat(work->journal->text, work->name);
    if (status != MIA_OK) strcat(work->journal->text, "!");
    work->journal->last = status;
}

static journal written;
static named names[] = {{&written, "o"}, {&written, "a"}, {&written, "b"}, {&written, "c"}, {&written, "d"}};

static mia__completion completion(int name) {
    return (mia__completion){note, &names[name]};
}

static const mia__backend_type *const type = &mia__backend_null;

static mia__backend *open_null(void) {
    static mia__backend *backend; /* stays valid until opening completes */
    written = (journal){.text = ""};
    type->open(NULL, &backend, completion(0));
    assert_non_null(backend);
    return backend;
}

/* Open, and past it. */
static mia__backend *opened(void) {
    mia__backend *backend = open_null();
    type->poll(backend, true);
    assert_string_equal(written.text, "o");
    return backend;
}

static void begin_run(mia__backend *backend, int name) {
    mia__run run = {.completion = completion(name)};
    type->run(backend, &run);
}

static void test_open_completes_late(void **state) {
    (void)state;
    mia__backend *backend = open_null();
    for (int i = 0; i < 2; i++) type->poll(backend, false);
    assert_string_equal(written.text, "");
    assert_int_equal(mia__null_pending(backend), 1);
    type->poll(backend, false);
    assert_string_equal(written.text, "o");
    type->poll(backend, false);
    type->poll(backend, true);
    assert_string_equal(written.text, "o");
    type->close(backend);
}

static void test_order(void **state) {
    (void)state;
    mia__backend *backend = opened();
    begin_run(backend, 1);
    type->poll(backend, false);
    mia__null_set_polls(backend, 0); /* would be ready at once, but waits for what is older */
    begin_run(backend, 2);
    mia__null_set_polls(backend, 4);
    begin_run(backend, 3);
    type->poll(backend, false);
    assert_string_equal(written.text, "o");
    type->poll(backend, false);
    assert_string_equal(written.text, "oab");
    type->poll(backend, false);
    assert_string_equal(written.text, "oab");
    type->poll(backend, false);
    assert_string_equal(written.text, "oabc");
    mia__null_set_polls(backend, 0);
    begin_run(backend, 4);
    assert_string_equal(written.text, "oabcd");
    type->close(backend);
}

static void test_blocking_poll(void **state) {
    (void)state;
    mia__backend *backend = opened();
    begin_run(backend, 1);
    begin_run(backend, 2);
    type->poll(backend, true);
    assert_string_equal(written.text, "oa");
    type->poll(backend, true);
    assert_string_equal(written.text, "oab");
    type->close(backend);
}

static void test_download(void **state) {
    (void)state;
    mia__backend *backend = opened();
    mia__buffer buffer = {0};
    const char sent[] = "abcd";
    char got[12], zeros[4] = {0};
    memset(got, 'x', sizeof got);
    assert_int_equal(type->allocate(backend, 8, &buffer, NULL), MIA_OK);
    assert_int_equal(type->upload(backend, &buffer, 4, sent, 4, NULL), MIA_OK);
    type->download(backend, &buffer, 0, got, 8, completion(1));
    type->poll(backend, false);
    assert_int_equal(got[4], 'x'); /* nothing before it completes */
    type->poll(backend, true);
    assert_string_equal(written.text, "oa");
    assert_memory_equal(got, zeros, 4);
    assert_memory_equal(got + 4, sent, 4);
    assert_int_equal(got[8], 'x');
    type->release(backend, &buffer);
    type->close(backend);
}

static void test_failure(void **state) {
    (void)state;
    mia__backend *backend = opened();
    mia__null_fail(backend, 2);
    begin_run(backend, 1);
    begin_run(backend, 2);
    begin_run(backend, 3);
    for (int i = 0; i < 2; i++) type->poll(backend, true);
    assert_int_equal(written.last, MIA_ERROR_DEVICE_LOST);
    type->poll(backend, true);
    assert_string_equal(written.text, "oab!c");
    type->close(backend);
}

static void test_open_fails(void **state) {
    (void)state;
    mia__backend *backend = open_null();
    mia__null_fail(backend, 1);
    type->poll(backend, true); /* frees the backend */
    assert_string_equal(written.text, "o!");
}

static void test_close_with_work(void **state) {
    (void)state;
    mia__backend *backend = opened();
    begin_run(backend, 1);
    begin_run(backend, 2);
    type->close(backend);
    assert_string_equal(written.text, "oa!b!");
    assert_int_equal(written.last, MIA_ERROR_CANCELLED);
}

/* The n-th allocation fails, for every n that is reached. */
static void *count_down(void *user, size_t bytes, size_t alignment) {
    (void)alignment;
    int *left = user;
    return --*left < 0 ? NULL : malloc(bytes);
}

static void give_back(void *user, void *pointer, size_t bytes) {
    (void)user, (void)bytes;
    free(pointer);
}

static void test_without_memory(void **state) {
    (void)state;
    for (int allowed = 0; allowed < 4; allowed++) {
        int left = allowed;
        const mia_allocator allocator = {count_down, give_back, &left};
        const mia_device_options options = {.allocator = &allocator};
        mia__backend *backend = NULL;
        written = (journal){.text = ""};
        type->open(&options, &backend, completion(0));
        if (allowed < 2) {
            assert_null(backend);
            assert_string_equal(written.text, "o!");
            continue;
        }
        begin_run(backend, 1); /* without memory, all that is older comes first */
        if (allowed == 2) assert_string_equal(written.text, "oa!");
        while (mia__null_pending(backend) > 0) type->poll(backend, true);
        if (allowed == 3) assert_string_equal(written.text, "oa");
        type->close(backend);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_completes_late),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_blocking_poll),
        cmocka_unit_test(test_download),
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_open_fails),
        cmocka_unit_test(test_close_with_work),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
