/* Tiny random Llama models for tests: written as GGUF, and computed by a plain forward pass in double that
 * shares nothing with the library but the file. */
#ifndef MIA_TEST_TINY_LLAMA_H
#define MIA_TEST_TINY_LLAMA_H

#include <mia/mia.h>
#include <stdbool.h>

/* Zero fields take the values on the right. */
typedef struct tiny_options {
    uint32_t layers;    /* 2 */
    uint32_t dim;       /* 32 */
    uint32_t heads;     /* 4 */
    uint32_t kv_heads;  /* 2 */
    uint32_t key_dim;   /* dim / heads; else written as attention.key_length */
    uint32_t value_dim; /* the same */
    uint32_t ffn;       /* 48 */
    uint32_t context;   /* 1024 */
    uint32_t rope_dim;  /* key_dim */
    uint64_t seed;
    float linear; /* factor of linear scaling; 0: none */
    float yarn;   /* factor of YaRN from a context of `original`; 0: none */
    uint32_t original;
    bool tied;    /* no output.weight */
    bool biased;  /* biases on q, k, v and the output of attention */
    bool mixed;   /* every fourth layer's ffn_down is f16; not for tiny_forward */
    bool factors; /* rope_freqs.weight */
    /* faults: a key that is written with another value (UINT32_MAX: left out), a tensor left out */
    const char *architecture;
    const char *key;
    uint32_t value;
    const char *missing;
} tiny_options;

#define TINY_VOCABULARY 300

/* Writes the model to a temporary file, opens it, and removes the file's name. NULL after printing why. */
mia_weights *tiny_open(const tiny_options *options);

/* Writes the model; false after printing why. */
bool tiny_write(const tiny_options *options, const char *path);

/* Makes an empty temporary file; false after printing why. */
bool tiny_file(char path[1024]);

/* The next random number of a test. */
uint64_t tiny_random(uint64_t *state);

/* Fills ids with random tokens. */
void tiny_ids(uint64_t seed, int32_t *ids, size_t count);

/* Logits [vocabulary, count] of reading ids, in double throughout. */
void tiny_forward(mia_weights *weights, const tiny_options *options, const int32_t *ids, size_t count,
                  double *logits);

#endif
