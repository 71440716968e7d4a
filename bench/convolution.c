/* Speed of the cpu backend's convolutions in f32, by shape: GFLOP/s and milliseconds, medians of several runs,
 * with 1 and 2 threads (or those named on the command line).
 *
 *     convolution [THREADS...]       MIA_CPU_ISA=generic|avx2|avx512 caps the instruction set */
#include "kernels.h"
#include "timing.h"

#include <mia/mia.h>

#define REPEATS 15

/* A square picture and a square window; padding keeps the picture's size at stride 1. */
typedef struct shape {
    const char *name;
    int64_t side, channels, outputs, window, stride, groups;
} shape;

static const shape shapes[] = {
    {"7 x 7 of a picture", 224, 3, 64, 7, 2, 1},
    {"3 x 3", 56, 64, 64, 3, 1, 1},
    {"3 x 3, stride 2", 56, 128, 128, 3, 2, 1},
    {"3 x 3, deep", 14, 256, 256, 3, 1, 1},
    {"1 x 1", 28, 256, 512, 1, 1, 1},
    {"3 x 3, depthwise", 56, 128, 128, 3, 1, 128},
    {"3 x 3, 8 groups", 28, 256, 256, 3, 1, 8},
};

static mia_tensor_f32 numbers(mia_device *device, mia_shape extents) {
    size_t count = 1;
    for (uint32_t m = 0; m < extents.ndim; m++) count *= (size_t)extents.extent[m];
    float *made = malloc(count * sizeof *made);
    if (made == NULL) exit(1);
    for (size_t i = 0; i < count; i++) made[i] = (float)(i % 251) / 125 - 1;
    mia_tensor_f32 tensor = mia_upload(f32, device, extents, made);
    free(made);
    return tensor;
}

/* Median seconds of a convolution. */
static double measure(mia_device *device, const shape *s) {
    double seconds[REPEATS];
    int64_t pad = s->window / 2;
    mia_window window = {
        .stride = {s->stride, s->stride}, .before = {pad, pad}, .after = {pad, pad}, .groups = s->groups};
    mia_tensor_f32 x = numbers(device, MIA_SHAPE(s->side, s->side, s->channels, 1));
    mia_tensor_f32 w = numbers(device, MIA_SHAPE(s->window, s->window, s->channels / s->groups, s->outputs));
    for (int i = -2; i < REPEATS; i++) {
        mia_tensor_f32 y = mia_conv2d(mia_ref(x), mia_ref(w), window);
        double begin = now();
        must(mia_tensor_eval(&y.untyped, 1, NULL), "eval");
        if (i >= 0) seconds[i] = now() - begin;
        mia_unref(y);
    }
    mia_unref(x);
    mia_unref(w);
    return median(seconds, REPEATS);
}

static void report(unsigned threads) {
    mia_device_options options = {.backend = "cpu", .threads = threads};
    mia_device *device = NULL;
    must(mia_device_open(&options, &device, NULL), "open");
    printf("%s\n%-22s%24s%12s%12s\n", mia_device_describe(device).description, "window", "picture, channels",
           "GFLOP/s", "ms");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const shape *s = &shapes[i];
        int64_t places = (s->side - 1) / s->stride + 1, channels = s->channels / s->groups;
        double products = (double)(places * places * s->window * s->window) * (double)(channels * s->outputs);
        double seconds = measure(device, s);
        printf("%-22s%12d,%4d ->%4d%12.1f%12.3f\n", s->name, (int)s->side, (int)s->channels, (int)s->outputs,
               2e-9 * products / seconds, 1e3 * seconds);
        fflush(stdout);
    }
    must(mia_device_close(device, NULL), "close");
}

int main(int argc, char **argv) {
    return report_threads(argc, argv, report);
}
