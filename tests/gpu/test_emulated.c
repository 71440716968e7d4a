/* Products and attention by subgroups of 32 and by subgroup matrices against the cpu backend, on drivers that have neither
 * (emulated_gpu.h). Skipped where there is no f16. */
#include "gpu/compare.h"
#include "gpu/emulated_gpu.h"

#include "support/lm_session.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))
#define WORKGROUPS  12 /* in a mode, of a GPU that has little room */

static uint64_t seed_of_cases;

/* --- GPUs that have matrices ---------------------------------------------------------------------------- */

enum { ROOMY, NARROW, ROOMS };
static uint32_t used[ROOMS]; /* dispatches with matrices, by GPU */
static uint32_t widest;      /* workgroups of one of them */
static uint32_t too_wide; /* dispatches of the narrow GPU that have more in a mode than there is room for */
static mia__gpu_pipeline *by_matrices[1000];
static size_t by_matrices_count;

typedef struct making {
    mia__gpu_made made;
    void *user;
} making;

static void on_made(void *user, mia__gpu_pipeline *pipeline, mia_status status, const char *message) {
    making *m = user;
    if (by_matrices_count < COUNT(by_matrices)) by_matrices[by_matrices_count++] = pipeline;
    m->made(m->user, pipeline, status, message);
    free(m);
}

/* Remembers those with matrices. */
static void make_pipeline(mia__gpu *gpu, const mia__gpu_shader *shader, mia__gpu_made made, void *user) {
    if (strstr(shader->wgsl, "subgroupMatrixMultiplyAccumulate") == NULL) {
        emulate_pipeline(gpu, shader, made, user);
        return;
    }
    making *m = malloc(sizeof *m);
    assert_non_null(m);
    *m = (making){made, user};
    emulate_pipeline(gpu, shader, on_made, m);
}

static void count_dispatch(mia__gpu *gpu, mia__gpu_pipeline *pipeline, mia__gpu_bindings *bindings,
                           const uint32_t groups[3], int32_t stamp) {
    bool narrow = gpu->info.limits.workgroups == WORKGROUPS;
    for (size_t i = 0; i < by_matrices_count; i++) {
        if (by_matrices[i] != pipeline) continue;
        uint32_t all = groups[0] * groups[1] * groups[2];
        if (all > widest) widest = all;
        used[narrow]++;
    }
    for (int m = 0; narrow && m < 3; m++)
        if (groups[m] > WORKGROUPS) too_wide++;
    mia__gpu_native.dispatch(gpu, pipeline, bindings, groups, stamp);
}

static void have_little_room(mia__gpu_info *info) {
    emulate_info(info);
    info->limits.workgroups = WORKGROUPS;
}

static int open_all(void **state) {
    (void)state;
    const mia_device_options exact = {.backend = "cpu", .threads = 1, .precision = MIA_PRECISION_EXACT};
    seed_of_cases = draw_numbers();
    devices[CPU] = open_for_test(&exact);
    seam_emulates();
    test_seam.type.pipeline = make_pipeline;
    test_seam.type.dispatch = count_dispatch;
    devices[GPU] = open_gpu(false);
    test_seam.change = have_little_room;
    devices[LEAST] = open_gpu(false);
    seam_away();
    return 0;
}

/* --- what is compared ------------------------------------------------------------------------------------- */

static void compare_matrices(const char *name, size_t number, recorder make, const void *what, double bound) {
    used[ROOMY] = used[NARROW] = widest = 0;
    compare(name, number, make, what, bound);
    if (used[ROOMY] == 0 || used[NARROW] == 0)
        fail_msg("%s %zu: %u and %u dispatches with matrices", name, number, used[ROOMY], used[NARROW]);
    assert_int_equal(too_wide, 0);
}

/* Drivers take seconds to compile each: a quick run has every `step`th case, from one on that the seed decides. */
typedef struct choice {
    int64_t step, first;
} choice;

static choice choose_every(int64_t step) {
    if (getenv("MIA_TEST_LONG") != NULL) return (choice){1, 0};
    return (choice){step, test_below(&seed_of_cases, step)};
}

static bool is_chosen(choice c, size_t number) {
    return (int64_t)number % c.step == c.first;
}

static around drawn_way(void) {
    static const around ways[] = {ALONE, NORM, SUM, GATED, FAR};
    return ways[test_below(&seed_of_cases, COUNT(ways))];
}

static const mia_dtype dtypes[] = {MIA_f16,  MIA_q8_0, MIA_q4_0, MIA_q4_1, MIA_q5_0,
                                   MIA_q5_1, MIA_q4_K, MIA_q5_K, MIA_q6_K};

/* x and weights are rounded to f16, sums of 256 products are below 16. */
static void test_products(void **state) {
    (void)state;
    /* tiles of 64 x 32 and of 64 x 64; of both more than WORKGROUPS in a mode */
    static const product_case sizes[] = {{.depth = 256, .rows = 800, .columns = 60, .batches = 2},
                                         {.depth = 256, .rows = 3200, .columns = 100, .batches = 1}};
    const choice chosen = choose_every(9);
    for (size_t d = 0; d < COUNT(dtypes); d++)
        for (size_t i = 0; i < COUNT(sizes); i++) {
            product_case c = sizes[i];
            c.dtype = dtypes[d];
            c.around = drawn_way();
            if (!is_chosen(chosen, d * COUNT(sizes) + i)) continue;
            printf("%s, size %zu, way %d\n", mia_dtype_describe(c.dtype)->name, i, c.around);
            compare_matrices("product", i, record_product, &c, c.around == GATED ? 1 : 0.02);
            assert_true(widest > WORKGROUPS);
        }
}

static void test_attention(void **state) {
    (void)state;
    static const attention_case cases[] = {{16, 60, 1, 2, 200, 60, false, false, false},
                                           {32, 100, 2, 4, 90, 90, true, false, false},
                                           {32, 200, 1, 40, 20, 150, true, false, false},
                                           {16, 300, 3, 9, 300, 290, false, false, false},
                                           {32, 65, 10, 40, 9, 65, false, false, false}};
    const choice chosen = choose_every(4);
    for (size_t i = 0; i < COUNT(cases); i++)
        if (is_chosen(chosen, i)) compare_matrices("attention", i, record_attention, &cases[i], 3e-3);
}

/* What has no matrices has subgroups: products of few columns, attention of few queries and with masks. Where the cpu's
 * default precision rounds x to 8 bits, so do these. */
static void test_subgroups(void **state) {
    (void)state;
    static const attention_case attentions[] = {{32, 100, 2, 4, 90, 90, true, true, false},
                                                {64, 300, 2, 8, 1, 290, true, false, false},
                                                {128, 70, 1, 6, 2, 70, false, false, false},
                                                {80, 50, 2, 2, 3, 50, false, true, true}};
    const choice products = choose_every(9), others = choose_every(4);
    for (size_t d = 0; d < COUNT(dtypes); d++)
        for (size_t i = 0; i < 2; i++) {
            const product_case c = {dtypes[d], 512, 140, i == 0 ? 1 : 3, 1, drawn_way()};
            if (!is_chosen(products, d * 2 + i)) continue;
            printf("%s, %d columns, way %d\n", mia_dtype_describe(c.dtype)->name, (int)c.columns, c.around);
            compare("product", i, record_product, &c, c.around == GATED ? 10 : 0.2);
        }
    for (size_t i = 0; i < COUNT(attentions); i++)
        if (is_chosen(others, i)) compare("attention", i, record_attention, &attentions[i], 3e-3);
}

/* --- a model ---------------------------------------------------------------------------------------------- */

#define TOKENS 70

/* Logits of a text, [vocabulary, TOKENS]: the first in one step, the last two each in its own. The caller frees. */
static float *logits_of(mia_device *device, size_t *vocabulary) {
    static const char text[] =
        "Once upon a time there was a king who had three daughters, and the youngest was so fair that the "
        "sun itself, which has seen so much, wondered whenever it shone upon her face. Near the castle lay "
        "a great dark forest, and in the forest under an old lime tree there was a well, and when the day "
        "was hot the child went out into the wood and sat down by the side of the cool well.";
    mia_error error = {0};
    mia_weights *weights = open_weights(MIA_MODELS_DIR "/mia-tales-9m-q8_0.gguf");
    mia_lm *lm = NULL;
    mia_lm_state *reading = NULL;
    int32_t *ids = NULL;
    size_t count = 0;
    OK(mia_lm_open(device, weights, NULL, &lm, &error));
    OK(mia_lm_state_open(lm, &reading, &error));
    const mia_tokenizer *tokenizer = mia_lm_tokenizer(lm);
    OK(mia_tokenizer_encode(tokenizer, text, sizeof text - 1, 0, &ids, &count, &error));
    assert_true(count >= TOKENS);
    *vocabulary = mia_tokenizer_vocabulary(tokenizer);
    float *logits = malloc(*vocabulary * TOKENS * sizeof *logits);
    assert_non_null(logits);
    OK(mia_lm_step(reading, ids, TOKENS - 2, MIA_LM_ALL_LOGITS, logits, &error));
    for (size_t i = TOKENS - 2; i < TOKENS; i++)
        OK(mia_lm_step(reading, &ids[i], 1, 0, &logits[i * *vocabulary], &error));
    mia_tokenizer_release(tokenizer, ids, count);
    mia_lm_state_close(reading);
    mia_lm_close(lm);
    mia_weights_close(weights);
    return logits;
}

/* The bundled model, whose prompts then go through matrices. */
static void test_model(void **state) {
    (void)state;
    if (getenv("MIA_TEST_LONG") == NULL) skip();
    size_t vocabulary, same = 0;
    float *want = logits_of(devices[CPU], &vocabulary);
    used[ROOMY] = 0;
    float *got = logits_of(devices[GPU], &vocabulary);
    assert_true(used[ROOMY] >= 10 * 5);
    double worst = 0, squares = 0, all = 0;
    for (size_t t = 0; t < TOKENS; t++) {
        size_t top[2] = {0, 0};
        for (size_t i = 0; i < vocabulary; i++) {
            double a = (double)want[t * vocabulary + i], b = (double)got[t * vocabulary + i];
            worst = fmax(worst, fabs(a - b));
            squares += (a - b) * (a - b);
            all += a * a;
            if (want[t * vocabulary + i] > want[t * vocabulary + top[0]]) top[0] = i;
            if (got[t * vocabulary + i] > got[t * vocabulary + top[1]]) top[1] = i;
        }
        same += top[0] == top[1];
    }
    double off = sqrt(squares / all);
    printf("model: %u dispatches with matrices; logits are off by %.4f of their size, %.3f at the most\n",
           used[ROOMY], off, worst);
    printf("model: the first is the same at %zu places of %d\n", same, TOKENS);
    if (off > 0.01 || same * 100 < TOKENS * 97) fail_msg("the model computes something else");
    free(want);
    free(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_subgroups),
                                       cmocka_unit_test(test_attention), cmocka_unit_test(test_model)};
    return cmocka_run_group_tests_name("emulated", tests, open_all, close_devices);
}
