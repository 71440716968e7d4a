/* Tells a story with the bundled model, or with the GGUF file that is named: open a device, a weights file
 * and the model in it, then ask for one token after the other. Build: cc story.c $(pkg-config --cflags --libs
 * --static mia) */
#include <mia/mia.h>
#include <stdio.h>
#include <string.h>

#ifndef MIA_MODELS_DIR
#define MIA_MODELS_DIR "models"
#endif

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : MIA_MODELS_DIR "/mia-tales-9m-q8_0.gguf";
    const char *prompt = "Once upon a time";
    mia_generation_options options = {
        .sampler = {.temperature = 0.6f, .top_k = 40, .repeat_penalty = 1.15f, .repeat_last_n = 128},
        .max_tokens = 200,
    };
    mia_device *device = NULL;
    mia_weights *weights = NULL;
    mia_lm *lm = NULL;
    mia_generation *generation = NULL;
    mia_error error = {0};
    mia_finish finish = MIA_FINISH_NONE;

    bool well = mia_device_open(NULL, &device, &error) == MIA_OK &&
                mia_weights_open_file(path, NULL, &weights, &error) == MIA_OK &&
                mia_lm_open(device, weights, NULL, &lm, &error) == MIA_OK &&
                mia_generation_open(lm, prompt, strlen(prompt), &options, &generation, &error) == MIA_OK;
    if (well) printf("%s", prompt);
    while (well && finish == MIA_FINISH_NONE) {
        mia_text text = {0};
        well = mia_generation_next(generation, &text, &finish, &error) == MIA_OK;
        fwrite(text.bytes, 1, text.length, stdout);
        fflush(stdout);
    }
    printf("\n");
    if (!well) fprintf(stderr, "%s\n", error.message);

    mia_generation_close(generation);
    mia_lm_close(lm);
    mia_weights_close(weights);
    if (mia_device_close(device, &error) != MIA_OK) fprintf(stderr, "%s\n", error.message);
    return well ? 0 : 1;
}
