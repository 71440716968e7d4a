/* Opening models: what a file says, and files whose parts do not fit together. Each is refused with a message
 * that names the key or the tensor and the numbers, and leaves nothing behind. */
#include "support/ok.h"
#include "support/tiny_llama.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void facts(void **state) {
    (void)state;
    mia_error error;
    mia_device *device;
    mia_lm *lm;
    mia_weights *weights = tiny_open(&(tiny_options){.layers = 3, .key_dim = 12});
    assert_non_null(weights);
    OK(mia_device_open(NULL, &device, &error));
    OK(mia_lm_open(device, weights, NULL, &lm, &error));
    mia_lm_info info = mia_lm_describe(lm);
    assert_string_equal(info.architecture, "llama");
    assert_int_equal(info.context, 1024);
    assert_int_equal(info.vocabulary, TINY_VOCABULARY);
    assert_int_equal(info.dim, 32);
    assert_int_equal(info.layers, 3);
    assert_int_equal(info.heads, 4);
    assert_int_equal(info.kv_heads, 2);
    assert_int_equal(info.head_dim, 12);
    assert_int_equal(info.ffn, 48);
    uint64_t bytes = 0;
    for (size_t i = 0; i < mia_weights_tensor_count(weights); i++)
        bytes += mia_weights_tensor_at(weights, i)->bytes;
    assert_int_equal(info.weight_bytes, bytes);
    assert_true(info.needed_bytes > bytes);
    mia_lm_close(lm);
    mia_weights_close(weights);
    OK(mia_device_close(device, &error));
}

typedef struct fault {
    tiny_options options;
    int64_t context;
    mia_status status;
    const char *message; /* after the file's name */
} fault;

static void check_fault(mia_device *device, const fault *f) {
    mia_error error = {0};
    mia_lm *lm;
    mia_weights *weights = tiny_open(&f->options);
    assert_non_null(weights);
    mia_status status = mia_lm_open(device, weights, &(mia_lm_options){.context = f->context}, &lm, &error);
    if (status != f->status || strstr(error.message, f->message) == NULL)
        fail_msg("%s: %s\nexpected %s: %s", mia_status_name(status), error.message,
                 mia_status_name(f->status), f->message);
    assert_null(lm);
    if (status != MIA_ERROR_INVALID_ARGUMENT)
        assert_non_null(strstr(error.message, mia_weights_name(weights)));
    mia_weights_close(weights);
}

#define KEY(name, number)                                                                                    \
    { .key = "llama." name, .value = number }
#define LEFT_OUT UINT32_MAX

static const fault faults[] = {
    {{.architecture = "mamba"}, 0, MIA_ERROR_UNSUPPORTED, "models of architecture \"mamba\" do not run"},
    {KEY("block_count", 0), 0, MIA_ERROR_FORMAT,
     "\"llama.block_count\" is 0; it has to be from 1 to 16777216"},
    {KEY("block_count", 5000000), 0, MIA_ERROR_FORMAT,
     "\"llama.block_count\" is 5000000, more than the 21 of"},
    {KEY("block_count", 3), 0, MIA_ERROR_NOT_FOUND, "there is no tensor \"blk.2.attn_norm.weight\""},
    {KEY("block_count", LEFT_OUT), 0, MIA_ERROR_NOT_FOUND, "llama.block_count"},
    {KEY("embedding_length", 0), 0, MIA_ERROR_FORMAT, "\"llama.embedding_length\" is 0"},
    {KEY("embedding_length", 4000000000), 0, MIA_ERROR_FORMAT, "\"llama.embedding_length\" is 4000000000"},
    {KEY("embedding_length", 36), 0, MIA_ERROR_FORMAT,
     "tensor \"token_embd.weight\" is [32, 300]; the hyperparameters ask for [36, 300]"},
    {KEY("feed_forward_length", 49), 0, MIA_ERROR_FORMAT, "\"blk.0.ffn_gate.weight\" is [32, 48]; the hyper"},
    {KEY("attention.head_count", 0), 0, MIA_ERROR_FORMAT, "\"llama.attention.head_count\" is 0"},
    {KEY("attention.head_count", 5), 0, MIA_ERROR_FORMAT,
     "\"llama.attention.head_count\" is 5, which is not a multiple of \"llama.attention.head_count_kv\", 2"},
    {KEY("attention.head_count_kv", 3), 0, MIA_ERROR_FORMAT,
     "\"llama.attention.head_count\" is 4, which is not a"},
    {KEY("attention.head_count_kv", 4), 0, MIA_ERROR_FORMAT, "tensor \"blk.0.attn_k.weight\" is [32, 16]"},
    {KEY("attention.key_length", 4), 0, MIA_ERROR_FORMAT,
     "\"llama.rope.dimension_count\" is 8, more than the 4"},
    {KEY("rope.dimension_count", 7), 0, MIA_ERROR_FORMAT, "\"llama.rope.dimension_count\" is 7; positions"},
    {KEY("vocab_size", 301), 0, MIA_ERROR_FORMAT,
     "\"llama.vocab_size\" is 301, but the tokenizer has 300 tokens"},
    {KEY("expert_count", 8), 0, MIA_ERROR_UNSUPPORTED,
     "\"llama.expert_count\" is 8; models of experts do not run"},
    {KEY("context_length", 0), 0, MIA_ERROR_FORMAT, "\"llama.context_length\" is 0"},
    {KEY("context_length", 4000000000), 0, MIA_ERROR_FORMAT, "\"llama.context_length\" is 4000000000"},
    {KEY("context_length", LEFT_OUT), 0, MIA_ERROR_NOT_FOUND, "\"llama.context_length\" is missing"},
    {{0}, -1, MIA_ERROR_INVALID_ARGUMENT, "a context of -1 tokens is outside 1 to 1073741824"},
    {{.missing = "output_norm.weight"}, 0, MIA_ERROR_NOT_FOUND, "there is no tensor \"output_norm.weight\""},
    {{.missing = "blk.1.ffn_down.weight"},
     0,
     MIA_ERROR_NOT_FOUND,
     "there is no tensor \"blk.1.ffn_down.weight\""},
    {{.linear = 1e9F},
     0,
     MIA_ERROR_FORMAT,
     "\"llama.rope.scaling.factor\" is 1e+09; it has to be from 0 to 1e+06"},
};

static void misfits(void **state) {
    (void)state;
    mia_error error;
    mia_device *device;
    OK(mia_device_open(NULL, &device, &error));
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) check_fault(device, &faults[i]);
    assert_int_equal(mia_device_count(device).handles, 0);
    OK(mia_device_close(device, &error));
}

/* What may be left out. */
static void defaults(void **state) {
    (void)state;
    const tiny_options complete[] = {
        KEY("vocab_size", LEFT_OUT),
        KEY("attention.key_length", LEFT_OUT),
        KEY("attention.value_length", LEFT_OUT),
        KEY("rope.dimension_count", LEFT_OUT),
        KEY("context_length", LEFT_OUT),
        {.tied = true},
    };
    mia_error error;
    mia_device *device;
    OK(mia_device_open(NULL, &device, &error));
    for (size_t i = 0; i < sizeof complete / sizeof complete[0]; i++) {
        mia_lm *lm;
        mia_weights *weights = tiny_open(&complete[i]);
        assert_non_null(weights);
        OK(mia_lm_open(device, weights, &(mia_lm_options){.context = 50}, &lm, &error));
        assert_int_equal(mia_lm_describe(lm).head_dim, 8);
        assert_int_equal(mia_lm_describe(lm).context, 50);
        mia_lm_close(lm);
        mia_weights_close(weights);
    }
    OK(mia_device_close(device, &error));
}

static void null_arguments(void **state) {
    (void)state;
    mia_error error = {0};
    mia_lm *lm;
    assert_int_equal(mia_lm_open(NULL, NULL, NULL, &lm, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "lm_open: device is NULL");
    mia_lm_close(NULL);
    mia_lm_state_close(NULL);
    mia_generation_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts),
        cmocka_unit_test(misfits),
        cmocka_unit_test(defaults),
        cmocka_unit_test(null_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
