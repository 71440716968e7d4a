/* Weights used by many threads while their owner closes them. */
#include "gguf_builder.h"
#include "weights/weights.h"

/* An observer: counts its calls. */
static void count_call(const mia_weights *weights, void *user) {
    (void)weights;
    ++*(size_t *)user;
}

/* Many threads observe, unobserve, retain and release while the owner closes. Whoever's unobserve says false
 * was, or had been, called: exactly once. */
enum { THREADS = 6, ROUNDS = 50 };

static void *come_and_go(void *user) {
    const mia_weights *weights = user;
    size_t wrong = 0;
    for (int i = 0; i < ROUNDS; i++) {
        size_t calls = 0;
        if (mia__weights_observe(weights, count_call, &calls, NULL) != MIA_OK) continue;
        bool taken_back = mia__weights_unobserve(weights, count_call, &calls);
        if (calls != (taken_back ? 0 : 1)) wrong++;
    }
    mia__weights_release(weights);
    return wrong == 0 ? NULL : user;
}

static void test_threads(void **state) {
    (void)state;
    gguf_builder file = gguf_sample();
    for (int round = 0; round < 20; round++) {
        read_only_file user;
        mia_weights *weights = NULL;
        mia_error error = {0};
        pthread_t threads[THREADS];
        mia_source source = read_only_source(&user, file.bytes, file.count);
        assert_int_equal(mia_weights_open(source, NULL, &weights, &error), MIA_OK);
        for (int i = 0; i < THREADS; i++) {
            mia__weights_retain(weights);
            assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, weights), 0);
        }
        mia_weights_close(weights);
        for (int i = 0; i < THREADS; i++) {
            void *result = &user;
            assert_int_equal(pthread_join(threads[i], &result), 0);
            assert_null(result);
        }
        assert_int_equal(user.closed, 1);
    }
    gguf_free(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
