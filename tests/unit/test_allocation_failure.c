/* A small but complete program, and (long) a language model's whole life, with every allocation failing in
 * turn: once, or from there on. Each time: a clean NO_MEMORY, nothing leaked, and the same work on the same
 * device afterwards gives the right results. */
#include "gguf_builder.h"
#include "support.h"
#include "support/tiny_llama.h"

#include <mia/mia.h>

static test_allocator allocator;

/* Remembers the first failure of many calls. */
static void note(mia_status *first, mia_status status) {
    if (*first == MIA_OK) *first = status;
}

/* --- a program -------------------------------------------------------------------------------- */

#define RESULTS 5

typedef struct program {
    const char *backend;
    bool mapped; /* the weights */
    gguf_builder file;
    mia_device *device;
    mia_weights *weights;
    read_only_file reader;
} program;

/* Weights: w [8, 4], 0 1 2 .. 31; b [4], 100 .. 103. */
static void make_file(program *p) {
    gguf_head(&p->file, 3, 2, 1);
    gguf_key(&p->file, "general.alignment", 4), gguf_u32(&p->file, 64);
    gguf_tensor(&p->file, "w", 2, (uint64_t[]){8, 4}, 0, 0);
    gguf_tensor(&p->file, "b", 1, (uint64_t[]){4}, 0, 128);
    gguf_pad(&p->file, 64);
    for (int i = 0; i < 32; i++) gguf_f32(&p->file, (float)i);
    for (int i = 0; i < 4; i++) gguf_f32(&p->file, (float)(100 + i));
}

static mia_status open_program(program *p) {
    mia_error error = {0};
    mia_device_options options = {.backend = p->backend, .threads = 2, .allocator = &allocator.hook};
    p->device = NULL;
    p->weights = NULL;
    mia_status status = mia_device_open(&options, &p->device, &error);
    if (status != MIA_OK) return status;
    mia_weights_options weights = {.allocator = &allocator.hook};
    mia_source source = p->mapped ? mapped_source(p->file.bytes, p->file.count)
                                  : read_only_source(&p->reader, p->file.bytes, p->file.count);
    return mia_weights_open(source, &weights, &p->weights, &error);
}

/* A state that is updated in place over several runs. */
static mia_status loop(program *p, float *sum) {
    mia_status first = MIA_OK;
    mia_tensor_f32 state = mia_full(f32, p->device, MIA_SHAPE(2, 4), 0);
    for (int32_t i = 0; i < 4; i++) {
        const float part[2] = {(float)i, 1};
        state = mia_update(state, mia_upload(f32, p->device, MIA_SHAPE(2, 1), part),
                           mia_upload(i32, p->device, MIA_SCALAR, &i), 1);
        const mia_tensor list[1] = {MIA_UNTYPED(state)};
        note(&first, mia_tensor_eval(list, 1, NULL));
    }
    note(&first, mia_read(mia_sum(state, MIA_ALL_MODES), sum, 1, NULL));
    return first;
}

/* Constants, views, copies, several runs, tickets. What it computes is in results, checked by
 * check_results. */
static mia_status run_program(program *p, float *results) {
    mia_status first = MIA_OK;
    const float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    mia_tensor_f32 w = mia_as(f32, mia_weights_tensor(p->device, p->weights, "w"));
    mia_tensor_f32 b = mia_as(f32, mia_weights_tensor(p->device, p->weights, "b"));
    mia_tensor_f32 c = mia_constant(f32, p->device, MIA_SHAPE(8), ones);
    mia_tensor_f32 x = mia_upload(f32, p->device, MIA_SHAPE(8, 1), ones);
    mia_tensor_f32 y = mia_matmul(w, mia_mul(mia_ref(x), c)), z;     /* 28 92 156 220 */
    y = mia_add(mia_reshape(y, MIA_SHAPE(4)), b);                    /* 128 193 258 323 */
    z = mia_reshape(mia_permute(w, MIA_SHAPE(1, 0)), MIA_SHAPE(32)); /* a copy */
    const mia_tensor both[2] = {MIA_UNTYPED(y), MIA_UNTYPED(z)};
    mia_ticket *ticket = mia_tensor_eval_begin(both, 2);
    while (!mia_ticket_poll(ticket)) {
    }
    note(&first, mia_ticket_finish(ticket, NULL));
    mia_tensor_f32 turned = mia_slice(mia_ref(y), 0, 3, 4, -1);
    ticket = mia_tensor_read_begin(MIA_UNTYPED(mia_sub(turned, y)), results, 4 * sizeof *results, NULL, 0);
    mia_ticket_wait(ticket);
    note(&first, mia_ticket_finish(ticket, NULL)); /* 195 65 -65 -195 */
    float copied[32] = {0}, column[8] = {0};
    note(&first, mia_read(z, copied, 32, NULL));
    note(&first, mia_read(mia_slice(w, 1, 3, 1, 1), column, 8, NULL));
    note(&first, mia_read(x, column, 8, NULL));
    note(&first, loop(p, &results[4])); /* 6 + 4 */
    if (first == MIA_OK && strcmp(p->backend, "null") != 0) {
        assert_true(copied[1] == 8 && copied[4] == 1);
        assert_true(column[7] == 1);
    }
    return first;
}

static void check_results(const program *p, const float *results) {
    static const float expected[RESULTS] = {195, 65, -65, -195, 10};
    for (int i = 0; i < RESULTS && strcmp(p->backend, "null") != 0; i++)
        assert_true(results[i] == expected[i]);
}

/* The weights first, or the device first. */
static void close_program(program *p, bool weights_first) {
    mia_error error = {0};
    if (weights_first) mia_weights_close(p->weights);
    if (p->device != NULL) assert_int_equal(mia_device_count(p->device).handles, 0);
    if (mia_device_close(p->device, &error) != MIA_OK) fail_msg("%s", error.message);
    if (!weights_first) mia_weights_close(p->weights);
}

/* One life of the program with allocation n failing, and those behind it too if `forever`. True when n was
 * not reached. */
static bool try_program(program *p, long n, bool forever) {
    float results[RESULTS] = {0};
    test_allocator_init(&allocator);
    allocator.fail_at = n;
    allocator.forever = forever;
    mia_status status = open_program(p);
    bool opened = status == MIA_OK;
    if (opened) status = run_program(p, results);
    bool reached = allocator.allocations > n;
    allocator.fail_at = -1;
    if (status != MIA_OK && status != MIA_ERROR_NO_MEMORY)
        fail_msg("%s, allocation %ld: %s", p->backend, n, mia_status_name(status));
    if (status == MIA_OK) check_results(p, results);
    if (!reached) assert_int_equal(status, MIA_OK);
    if (opened) { /* with memory again, the same device does the same work */
        assert_int_equal(run_program(p, results), MIA_OK);
        check_results(p, results);
    }
    close_program(p, n % 2 == (long)forever);
    assert_int_equal(allocator.live_bytes, 0);
    return !reached;
}

static void every_allocation(const char *backend) {
    for (int mode = 0; mode < 4; mode++) {
        program p = {.backend = backend, .mapped = mode % 2 == 0};
        make_file(&p);
        long n = 0;
        while (!try_program(&p, n, mode >= 2)) n++;
        printf("%s: %ld allocations\n", backend, n);
        assert_true(n > 30);
        gguf_free(&p.file);
    }
}

static void test_on_null(void **state) {
    (void)state;
    every_allocation("null");
}

static void test_on_reference(void **state) {
    (void)state;
    every_allocation("reference");
}

static void test_on_cpu(void **state) {
    (void)state;
    every_allocation("cpu");
}

/* --- a language model ------------------------------------------------------------------------- */

static mia_status generate(mia_lm *lm, char *text, size_t capacity) {
    mia_generation_options options = {.max_tokens = 6};
    mia_generation *generation = NULL;
    mia_error error = {0};
    size_t used = 0;
    mia_status status = mia_generation_open(lm, "once upon", 9, &options, &generation, &error);
    mia_finish finish = MIA_FINISH_NONE;
    while (status == MIA_OK && finish == MIA_FINISH_NONE) {
        mia_text piece;
        status = mia_generation_next(generation, &piece, &finish, &error);
        if (status != MIA_OK || used + piece.length >= capacity) continue;
        memcpy(text + used, piece.bytes, piece.length);
        used += piece.length;
    }
    text[used] = '\0';
    mia_generation_close(generation);
    return status;
}

/* Opens a device and a model, generates, closes; true when allocation n was not reached. */
static bool try_model(mia_weights *weights, const char *backend, long n, bool forever, const char *expected) {
    mia_error error = {0};
    mia_device *device = NULL;
    mia_lm *lm = NULL;
    char text[200] = "", again[200];
    test_allocator_init(&allocator);
    allocator.fail_at = n;
    allocator.forever = forever;
    mia_device_options options = {.backend = backend, .threads = 2, .allocator = &allocator.hook};
    mia_lm_options lm_options = {.allocator = &allocator.hook, .context = 64};
    mia_status status = mia_device_open(&options, &device, &error);
    if (status == MIA_OK) status = mia_lm_open(device, weights, &lm_options, &lm, &error);
    if (status == MIA_OK) status = generate(lm, text, sizeof text);
    bool reached = allocator.allocations > n;
    allocator.fail_at = -1;
    if (status != MIA_OK && status != MIA_ERROR_NO_MEMORY)
        fail_msg("%s, allocation %ld: %s: %s", backend, n, mia_status_name(status), error.message);
    if (status == MIA_OK) assert_string_equal(text, expected);
    if (device != NULL && lm == NULL && mia_lm_open(device, weights, &lm_options, &lm, &error) != MIA_OK)
        fail_msg("%s, allocation %ld, again: %s", backend, n, error.message);
    if (lm != NULL) {
        assert_int_equal(generate(lm, again, sizeof again), MIA_OK);
        assert_string_equal(again, expected);
    }
    mia_lm_close(lm);
    if (mia_device_close(device, &error) != MIA_OK)
        fail_msg("%s, allocation %ld: %s", backend, n, error.message);
    assert_int_equal(allocator.live_bytes, 0);
    return !reached;
}

static void test_model(void **state) {
    (void)state;
    static const char *const backends[] = {"reference", "cpu"};
    bool all = getenv("MIA_TEST_LONG") != NULL;
    uint64_t seed = test_seed();
    for (int b = 0; b < 2; b++) {
        const tiny_options tiny = {
            .layers = 1, .dim = 16, .heads = 2, .kv_heads = 1, .ffn = 16, .context = 64, .seed = 3};
        mia_weights *weights = tiny_open(&tiny);
        assert_non_null(weights);
        char expected[200];
        mia_device *device = NULL;
        mia_lm *lm = NULL;
        mia_device_options options = {.backend = backends[b], .threads = 2};
        assert_int_equal(mia_device_open(&options, &device, NULL), MIA_OK);
        assert_int_equal(mia_lm_open(device, weights, &(mia_lm_options){.context = 64}, &lm, NULL), MIA_OK);
        assert_int_equal(generate(lm, expected, sizeof expected), MIA_OK);
        mia_lm_close(lm);
        assert_int_equal(mia_device_close(device, NULL), MIA_OK);
        /* In the quick suite a share of them that turns with the seed. */
        long stride = all ? 1 : 3, n = (long)(seed % (uint64_t)stride);
        while (!try_model(weights, backends[b], n, n % 2 == 1, expected)) n += stride;
        printf("%s: %ld allocations\n", backends[b], n);
        mia_weights_close(weights);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_on_null),
        cmocka_unit_test(test_on_reference),
        cmocka_unit_test(test_on_cpu),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
