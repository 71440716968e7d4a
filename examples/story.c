/* Tells a story with the GGUF file that is named, or with the bundled model: open a device, a weights file
 * and the model in it, then ask for one token after the other.
 *
 *     cc story.c $(pkg-config --cflags --libs mia) && ./a.out MODEL.gguf */
#include <mia/mia.h>
#include <stdio.h>
#include <string.h>

/* The bundled model, when the build says where it lies (-DMIA_MODELS_DIR='"/usr/local/share/mia/models"'). */
#ifdef MIA_MODELS_DIR
static const char *const bundled = MIA_MODELS_DIR "/mia-tales-9m-q8_0.gguf";
#else
static const char *const bundled = NULL;
#endif

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : bundled, *prompt = "Once upon a time";
    if (path == NULL) {
        fprintf(stderr, "usage: %s MODEL.gguf\n", argv[0]);
        return 2;
    }
    mia_generation_options options = {.max_tokens = 200,
                                      .sampler = {.temperature = 0.6f,
                                                  .top_k = 40,
                                                  .top_p = 0.95f,
                                                  .min_p = 0.05f,
                                                  .repeat_penalty = 1.15f,
                                                  .repeat_last_n = 128}};
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
        if (text.length > 0) fwrite(text.bytes, 1, text.length, stdout);
        fflush(stdout);
    }
    puts("");
    if (!well) fprintf(stderr, "%s\n", error.message);

    mia_generation_close(generation);
    mia_lm_close(lm);
    mia_weights_close(weights);
    if (mia_device_close(device, &error) != MIA_OK) fprintf(stderr, "%s\n", error.message);
    return well ? 0 : 1;
}
