/* Random-weight Llama models in GGUF, so that any size can be measured without a download. */
#ifndef MIA_CLI_RANDOM_MODEL_H
#define MIA_CLI_RANDOM_MODEL_H

#include <mia/status.h>

/* Writes a model of the shape that `spec` gives to `path`, complete with a tokenizer. spec is a list of
 * key=number: "layers=22,dim=2048,heads=32,kv-heads=4,ffn=5632,vocab=32000,type=q8_0"; ctx (2048) and seed
 * (1) may be added, kv-heads is heads if left out; types are f32, f16, bf16 and all block types. Fails with
 * INVALID_ARGUMENT naming the key and what it takes, IO, NO_MEMORY; no file is left then. */
mia_status mia__cli_write_random_model(const char *spec, const char *path, mia_error *error);

#endif
