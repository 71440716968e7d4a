/* A small but complete program, and (long) a language model's whole life, with every allocation failing in
 * turn: once, or from there on. Each time: a clean NO_MEMORY, nothing leaked, and the same work on the same
 * device afterwards gives the right results. */
#include "gguf_builder.h"
#include "support.h"
#include "support/tiny_llama.h"

#include <mia/mia.h>
#include <unistd.h>

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

/* The model's step as a tape, into a file and out of it. */
static mia_status save_and_load(mia_device *device, mia_lm *lm, const char *path) {
    mia_error error = {0};
    mia_tape *tape = NULL, *loaded = NULL;
    mia_weights *file = NULL;
    mia_plan_info info;
    const mia_weights_options options = {.allocator = &allocator.hook};
    mia_status status = mia_lm_record_step(lm, 1, 8, &tape, &error);
    if (status == MIA_OK)
        status = mia_tape_save(tape, path, &(mia_tape_save_options){.allocator = &allocator.hook}, &error);
    if (status == MIA_OK) status = mia_weights_open_file(path, &options, &file, &error);
    if (status == MIA_OK) status = mia_tape_load(device, file, NULL, &loaded, &error);
    if (status == MIA_OK) status = mia_tape_plan(loaded, &info, &error);
    mia_tape_close(tape);
    mia_tape_close(loaded);
    mia_weights_close(file);
    return status;
}

/* What a model goes through, and where its files are. */
typedef struct model_life {
    const char *backend;
    char weights_path[1024], tape_path[1024];
    char expected[200]; /* the text that it generates */
    mia_device *device;
    mia_weights *weights;
    mia_lm *lm;
} model_life;

static mia_status open_life(model_life *life, mia_error *error) {
    const mia_device_options options = {.backend = life->backend, .threads = 2, .allocator = &allocator.hook};
    const mia_weights_options weights = {.allocator = &allocator.hook};
    const mia_lm_options lm = {.allocator = &allocator.hook, .context = 64};
    mia_status status = MIA_OK;
    if (life->device == NULL) status = mia_device_open(&options, &life->device, error);
    if (status == MIA_OK && life->weights == NULL)
        status = mia_weights_open_file(life->weights_path, &weights, &life->weights, error);
    if (status == MIA_OK && life->lm == NULL)
        status = mia_lm_open(life->device, life->weights, &lm, &life->lm, error);
    return status;
}

static mia_status live(model_life *life, char *text, size_t capacity) {
    mia_status status = generate(life->lm, text, capacity);
    return status == MIA_OK ? save_and_load(life->device, life->lm, life->tape_path) : status;
}

/* A whole life with allocation n failing, and those behind it too if `forever`; then once more, on the same device
 * where there is one. True when n was not reached. */
static bool try_model(model_life *life, long n, bool forever) {
    mia_error error = {0};
    char text[200] = "", again[200] = "";
    life->device = NULL;
    life->weights = NULL;
    life->lm = NULL;
    test_allocator_init(&allocator);
    allocator.fail_at = n;
    allocator.forever = forever;
    mia_status status = open_life(life, &error);
    if (status == MIA_OK) status = live(life, text, sizeof text);
    bool reached = allocator.allocations > n;
    allocator.fail_at = -1;
    if (status != MIA_OK && status != MIA_ERROR_NO_MEMORY)
        fail_msg("%s, allocation %ld: %s: %s", life->backend, n, mia_status_name(status), error.message);
    if (status == MIA_OK) assert_string_equal(text, life->expected);
    if (!reached) assert_int_equal(status, MIA_OK);
    if (open_life(life, &error) != MIA_OK)
        fail_msg("%s, allocation %ld, again: %s", life->backend, n, error.message);
    assert_int_equal(live(life, again, sizeof again), MIA_OK);
    assert_string_equal(again, life->expected);
    mia_lm_close(life->lm);
    if (n % 2 == 0) mia_weights_close(life->weights);
    if (mia_device_close(life->device, &error) != MIA_OK)
        fail_msg("%s, allocation %ld: %s", life->backend, n, error.message);
    if (n % 2 != 0) mia_weights_close(life->weights);
    assert_int_equal(allocator.live_bytes, 0);
    return !reached;
}

/* In the quick suite a share that turns with the seed; each allocation fails alone, or with all behind it. */
static void test_model(void **state) {
    (void)state;
    static const char *const backends[] = {"reference", "cpu"};
    long stride = getenv("MIA_TEST_LONG") != NULL ? 1 : 13;
    uint64_t seed = test_seed();
    for (int b = 0; b < 2; b++) {
        const tiny_options tiny = {
            .layers = 1, .dim = 16, .heads = 2, .kv_heads = 1, .ffn = 16, .context = 64, .seed = 3};
        model_life life = {.backend = backends[b]};
        assert_true(tiny_file(life.weights_path) && tiny_file(life.tape_path));
        assert_true(tiny_write(&tiny, life.weights_path));
        mia_error error = {0};
        test_allocator_init(&allocator);
        if (open_life(&life, &error) != MIA_OK) fail_msg("%s", error.message);
        assert_int_equal(live(&life, life.expected, sizeof life.expected), MIA_OK);
        long all = allocator.allocations, first = (long)(seed % (uint64_t)stride), tried = 0;
        mia_lm_close(life.lm);
        mia_weights_close(life.weights);
        assert_int_equal(mia_device_close(life.device, NULL), MIA_OK);
        assert_int_equal(allocator.live_bytes, 0);
        for (int forever = 0; forever < 2; forever++) {
            bool over = false;
            for (long n = first; !over; n += stride, tried++) over = try_model(&life, n, forever == 1);
        }
        printf("%s: %ld allocations, %ld of %ld failures tried\n", backends[b], all, tried, 2 * all);
        (void)unlink(life.weights_path);
        (void)unlink(life.tape_path);
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
