/* What a model says that it needs, before anything is loaded, is what its device then holds: of tiny random models and
 * of the bundled one, to the byte, on a GPU too (which is the recording one). And how many kernels a layer takes. */
#include "backend/webgpu/webgpu.h"
#include "runtime/device.h"
#include "support/recording_gpu.h"
#include "support/tiny_llama.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"
#include "support/lm_session.h"

/* path NULL: a tiny random model. */
static mia_weights *weights_of(const char *path) {
    static const tiny_options tiny = {.seed = 7, .context = 600};
    return path != NULL ? open_weights(path) : tiny_open(&tiny);
}

/* Reads a prompt and generates, token by token; says what the device held at the most. */
static uint64_t run(const session *s, int64_t prompt, int64_t generated) {
    mia_lm_state *state;
    mia_error error;
    int64_t vocabulary = mia_lm_describe(s->lm).vocabulary;
    int32_t *ids = calloc((size_t)prompt + 1, sizeof *ids);
    float *logits = malloc((size_t)vocabulary * sizeof *logits);
    assert_true(ids != NULL && logits != NULL);
    for (int64_t i = 0; i < prompt; i++) ids[i] = (int32_t)((i * 7 + 3) % vocabulary);
    OK(mia_lm_state_open(s->lm, &state, &error));
    if (prompt > 0) OK(mia_lm_step(state, ids, (size_t)prompt, 0, logits, &error));
    for (int64_t i = 0; i < generated; i++) OK(mia_lm_step(state, ids, 1, 0, logits, &error));
    mia_lm_state_close(state);
    free(logits);
    free(ids);
    return mia_device_count(s->device).peak_bytes;
}

/* Likewise where the device chooses, and each step but the first begins before the number of its token is read, as in
 * generate.c. */
static uint64_t run_choosing(const session *s, int64_t prompt, int64_t generated,
                             const mia_lm_choice *choice) {
    static const int32_t ids[600];
    mia_lm_state *state;
    mia_error error;
    mia_ticket *coming = NULL;
    int32_t id;
    OK(mia_lm_state_open(s->lm, &state, &error));
    for (int64_t step = prompt > 0 ? 0 : 1; step <= generated; step++) {
        size_t count = step == 0 ? (size_t)prompt : 1;
        OK(mia_lm_step_choose_begin(state, coming == NULL ? ids : NULL, count, choice, &error));
        mia_ticket_wait(coming);
        if (coming != NULL) OK(mia_ticket_finish(coming, &error));
        OK(mia_lm_step_wait(state, &error));
        coming = mia_tensor_read_begin(mia_lm_chosen(state).untyped, &id, sizeof id, __FILE__, __LINE__);
    }
    mia_ticket_wait(coming);
    OK(mia_ticket_finish(coming, &error));
    mia_lm_state_close(state);
    return mia_device_count(s->device).peak_bytes;
}

static void compare(const char *path, const char *backend, bool unloaded, const mia_lm_choice *choice,
                    int64_t context, int64_t prompt, int64_t generated) {
    mia_error error;
    mia_lm_memory memory;
    const mia_device_options device = {.backend = backend, .threads = 2};
    session s =
        open_session(weights_of(path), &device, &(mia_lm_options){.context = context, .unloaded = unloaded});
    OK(mia_lm_plan(s.lm, prompt, generated, choice, &memory, &error));
    assert_int_equal(memory.peak_bytes, memory.constant_bytes + memory.prepared_bytes + memory.cache_bytes +
                                            memory.arena_bytes + memory.value_bytes);
    uint64_t peak = choice != NULL ? run_choosing(&s, prompt, generated, choice) : run(&s, prompt, generated);
    if (unloaded) /* the output's weights may come after the chunk that needs most without them */
        assert_true(peak <= memory.peak_bytes && peak > memory.peak_bytes / 10 * 9);
    else
        assert_int_equal(peak, memory.peak_bytes);
    assert_true(memory.peak_bytes <= mia_lm_describe(s.lm).needed_bytes);
    close_session(&s);
}

static void test_tiny(void **state) {
    (void)state;
    static const mia_lm_choice likeliest, draw = {.temperature = 0.7F, .seed = 5};
    static const mia_lm_choice *const choices[] = {NULL, &likeliest, &draw};
    static const char *const backends[] = {"cpu", "cpu", "reference", "webgpu"};
    static const int64_t cases[][3] = {{600, 1, 0},   {600, 0, 1},    {600, 5, 3},   {600, 40, 0},
                                       {600, 257, 0}, {600, 512, 1},  {600, 599, 1}, {600, 200, 400},
                                       {600, 0, 600}, {600, 600, 0},  {64, 64, 0},   {64, 10, 54},
                                       {256, 255, 1}, {300, 130, 170}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int way = 0; way < 12; way++)
            compare(NULL, backends[way % 4], way % 4 == 1, choices[way / 4], cases[i][0], cases[i][1],
                    cases[i][2]);
}

static void test_bundled(void **state) {
    (void)state;
    static const int64_t cases[][3] = {{0, 7, 3}, {0, 250, 9}, {512, 512, 0}, {300, 300, 0}, {64, 0, 64}};
    static const mia_lm_choice draw = {.temperature = 1};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int way = 0; way < 3; way++)
            compare(MIA_MODELS_DIR "/mia-tales-9m-q8_0.gguf", way == 0 ? "cpu" : "webgpu", false,
                    way == 2 ? &draw : NULL, cases[i][0], cases[i][1], cases[i][2]);
}

/* The most that any use needs is needed by one: all logits, from a state that then grows for the last time, on a
 * device that has seen the largest chunk. */
static void test_any_use(void **state) {
    (void)state;
    static int32_t ids[600];
    static float logits[600 * TINY_VOCABULARY];
    mia_error error;
    mia_lm_state *reader;
    session s = open_session(weights_of(NULL), &(mia_device_options){.threads = 2}, NULL);
    uint64_t needed = mia_lm_describe(s.lm).needed_bytes;
    assert_true(run(&s, 600, 0) < needed);
    OK(mia_lm_state_open(s.lm, &reader, &error));
    OK(mia_lm_step(reader, ids, 472, 0, logits, &error));
    OK(mia_lm_step(reader, ids, 128, MIA_LM_ALL_LOGITS, logits, &error));
    mia_lm_state_close(reader);
    assert_int_equal(mia_device_count(s.device).peak_bytes, needed);
    close_session(&s);
}

/* Planning and an open without loading take next to nothing of the device. */
static void test_nothing_is_loaded(void **state) {
    (void)state;
    mia_error error;
    mia_lm_memory memory;
    session s = open_session(weights_of(MIA_MODELS_DIR "/mia-tales-9m-q8_0.gguf"),
                             &(mia_device_options){.threads = 1}, &(mia_lm_options){.unloaded = true});
    OK(mia_lm_plan(s.lm, 100, 100, NULL, &memory, &error));
    assert_true(memory.prepared_bytes + memory.constant_bytes > 8000000);
    assert_true(mia_device_count(s.device).peak_bytes < 100000);
    assert_int_equal(mia_lm_plan(s.lm, 1, mia_lm_describe(s.lm).context, NULL, &memory, &error),
                     MIA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(mia_lm_plan(s.lm, -1, 2, NULL, &memory, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(mia_lm_plan(s.lm, 1, 2, &(mia_lm_choice){.temperature = -1}, &memory, &error),
                     MIA_ERROR_INVALID_ARGUMENT);
    close_session(&s);
}

static mia_webgpu_options opened_with[4];
static size_t opened;

static void note_options(const mia__gpu_request *request, mia__gpu **out, mia__gpu_done done, void *user) {
    if (opened < sizeof opened_with / sizeof *opened_with) opened_with[opened] = *request->options;
    opened++;
    recording_gpu_type.open(request, out, done, user);
}

/* With a limit, what a model needs is planned on a device of its own: of the same GPU, asked for in the same way. */
static void test_limited(void **state) {
    (void)state;
    static const char *const backends[] = {"cpu", "webgpu"};
    static const mia_webgpu_options webgpu = {
        .adapter = "the second", .default_limits = true, .without = MIA_WEBGPU_F16};
    mia__gpu_type noting = recording_gpu_type;
    noting.open = note_options;
    mia__webgpu_set_seam(&noting);
    opened = 0;
    for (int way = 0; way < 4; way++) {
        mia_error error;
        mia_device_options device = {
            .backend = backends[way / 2], .threads = 1, .no_fusion = way % 2 == 1, .webgpu = &webgpu};
        session s = open_session(weights_of(NULL), &device, NULL);
        uint64_t needed = mia_lm_describe(s.lm).needed_bytes;
        close_session(&s);
        device.max_bytes = needed;
        s = open_session(weights_of(NULL), &device, NULL);
        assert_int_equal(mia_lm_describe(s.lm).needed_bytes, needed);
        assert_true(run(&s, 599, 1) <= needed);
        close_session(&s);
        device.max_bytes = needed - 1;
        mia_weights *weights = weights_of(NULL);
        mia_lm *lm;
        OK(mia_device_open(&device, &s.device, &error));
        assert_int_equal(mia_lm_open(s.device, weights, NULL, &lm, &error), MIA_ERROR_OVER_LIMIT);
        OK(mia_device_close(s.device, &error));
        mia_weights_close(weights);
    }
    mia__webgpu_set_seam(&recording_gpu_type);
    assert_int_equal(opened, 10);
    for (size_t i = 0; i < sizeof opened_with / sizeof *opened_with; i++)
        assert_memory_equal(&opened_with[i], &webgpu, sizeof webgpu);
}

/* A GPU's pipelines are begun when a model is opened: prompts of any length and tokens wherever they come ask for no more. */
static void test_pipelines(void **state) {
    (void)state;
    static const tiny_options wide = {
        .layers = 1, .dim = 1024, .heads = 16, .kv_heads = 4, .ffn = 2816, .context = 2048, .seed = 3};
    static const tiny_options mixed = {.layers = 10, .mixed = true, .context = 600, .seed = 4};
    static const int32_t ids[2048];
    uint64_t from = test_seed();
    const mia__gpu_info large = recording_info_large();
    for (int way = 0; way < 6; way++) {
        mia_error error;
        if (way % 2 == 1) recording_set(&(recording_settings){.info = &large});
        mia_weights *weights = way < 2   ? tiny_open(&wide)
                               : way < 4 ? tiny_open(&mixed)
                                         : weights_of(MIA_MODELS_DIR "/mia-tales-9m-q8_0.gguf");
        session s = open_session(weights, &(mia_device_options){.backend = "webgpu"}, NULL);
        recording_set(NULL);
        const mia__webgpu *webgpu = (const mia__webgpu *)s.device->backend;
        const size_t known = webgpu->pipeline_count; /* made or being made */
        const int64_t context = mia_lm_describe(s.lm).context;
        for (int n = 0; n < 16; n++) {
            /* some end where caches grow for the tokens behind them */
            int64_t most = n % 4 == 3 ? 40 : context - 4;
            int64_t prompt =
                n % 4 == 0 && (256 << n / 4) < context ? (256 << n / 4) - 1 : 1 + test_below(&from, most);
            const mia_lm_choice choice = {.temperature = n % 3 == 0 ? 0 : 0.7F, .seed = 5};
            mia_lm_state *reader;
            OK(mia_lm_state_open(s.lm, &reader, &error));
            for (int step = 0; step < 4; step++) {
                OK(mia_lm_step_choose_begin(reader, step == 0 ? ids : NULL, step == 0 ? (size_t)prompt : 1,
                                            &choice, &error));
                OK(mia_lm_step_wait(reader, &error));
                if (webgpu->pipeline_count != known)
                    fail_msg("model %d, a prompt of %d tokens: step %d makes pipelines", way, (int)prompt,
                             step);
            }
            mia_lm_state_close(reader);
        }
        close_session(&s);
    }
}

/* Kernels that a token takes in a model of so many layers. */
static uint64_t kernels_of(uint32_t layers, bool biased, bool no_fusion) {
    const tiny_options tiny = {.layers = layers, .seed = 3, .biased = biased};
    int32_t ids[2] = {1, 2};
    float logits[TINY_VOCABULARY];
    mia_error error;
    mia_lm_state *state;
    session s = {.weights = tiny_open(&tiny)};
    assert_non_null(s.weights);
    const mia_device_options device = {.threads = 2, .no_fusion = no_fusion};
    OK(mia_device_open(&device, &s.device, &error));
    OK(mia_lm_open(s.device, s.weights, NULL, &s.lm, &error));
    OK(mia_lm_state_open(s.lm, &state, &error));
    OK(mia_lm_step(state, ids, 1, 0, logits, &error));
    uint64_t before = mia_device_count(s.device).kernels;
    OK(mia_lm_step(state, ids + 1, 1, 0, logits, &error));
    uint64_t after = mia_device_count(s.device).kernels;
    mia_lm_state_close(state);
    close_session(&s);
    return after - before;
}

/* A layer: norm; q, k and v at once; two rotations, two caches, attention; its output and the residual; norm, gate, up,
 * silu and mul; down and the residual. Biases belong to the products. */
static void test_kernels_of_a_layer(void **state) {
    (void)state;
    for (int biased = 0; biased < 2; biased++) {
        assert_int_equal(kernels_of(3, biased, false) - kernels_of(2, biased, false), 10);
        assert_int_equal(kernels_of(3, biased, true) - kernels_of(2, biased, true), biased ? 22 : 18);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_bundled),
        cmocka_unit_test(test_any_use),
        cmocka_unit_test(test_nothing_is_loaded),
        cmocka_unit_test(test_pipelines),
        cmocka_unit_test(test_limited),
        cmocka_unit_test(test_kernels_of_a_layer),
    };
    mia__webgpu_set_seam(&recording_gpu_type);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
