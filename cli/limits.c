/* Measures the limits (limits.h). */
#include "limits.h"

#include "figures.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS      0.1                /* of each measurement, about */
#define COPY_BYTES   ((size_t)32 << 20) /* a thread, beyond what caches hold */
#define MOST_THREADS 64                 /* that copy: memory has not more to give */
#define MOST_ROWS    2048
#define GPU_NUMBERS  (INT64_C(16) << 20)
#define GPU_COPIES   20

/* --- copying ---------------------------------------------------------------------------------- */

typedef struct copier {
    pthread_t thread;
    char *memory; /* from and to, one behind the other */
    double bytes, seconds;
} copier;

static void *copy(void *user) {
    copier *c = user;
    double began = mia__cli_seconds();
    do {
        memcpy(c->memory + COPY_BYTES, c->memory, COPY_BYTES);
        c->bytes += 2.0 * COPY_BYTES;
        c->seconds = mia__cli_seconds() - began;
    } while (c->seconds < SECONDS);
    return NULL;
}

/* 0 without memory. */
static double measure_copy(unsigned threads) {
    copier copiers[MOST_THREADS];
    unsigned ready = 0, started = 1;
    for (; ready < threads && ready < MOST_THREADS; ready++) {
        copiers[ready] = (copier){.memory = malloc(2 * COPY_BYTES)};
        if (copiers[ready].memory == NULL) break;
        memset(copiers[ready].memory, 1, 2 * COPY_BYTES); /* so that the pages are there */
    }
    if (ready == 0) return 0;
    while (started < ready && pthread_create(&copiers[started].thread, NULL, copy, &copiers[started]) == 0)
        started++;
    (void)copy(&copiers[0]);
    double rate = copiers[0].bytes / copiers[0].seconds;
    for (unsigned i = 1; i < started; i++) {
        (void)pthread_join(copiers[i].thread, NULL);
        rate += copiers[i].bytes / copiers[i].seconds;
    }
    for (unsigned i = 0; i < ready; i++) free(copiers[i].memory);
    return rate;
}

/* A run on a GPU is over when it is on its way; what it gave is there when a number of it is. Consumes y, of so many
 * numbers. */
static mia_status wait_for(mia_tensor_f32 y, int64_t count, mia_error *error) {
    float first;
    return mia_read(mia_slice(mia_reshape(y, MIA_SHAPE(count)), 0, 0, 1, 1), &first, 1, error);
}

/* The same of a GPU's own memory: numbers read and written. */
static double measure_gpu(mia_device *device, mia_error *error) {
    float *numbers = calloc(GPU_NUMBERS, sizeof *numbers);
    if (numbers == NULL) return 0;
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(GPU_NUMBERS), numbers);
    free(numbers);
    mia_status status = MIA_OK;
    int copies = 1;
    double seconds = 0;
    /* the kernel is made, one copy is timed, then many */
    for (int round = 0; status == MIA_OK && round < 3; round++) {
        double began = mia__cli_seconds();
        for (int i = 1; status == MIA_OK && i <= copies; i++) {
            mia_tensor_f32 y = mia_neg(mia_ref(x));
            const mia_tensor list[1] = {MIA_UNTYPED(y)};
            status = mia_tensor_eval(list, 1, error);
            if (status == MIA_OK && i == copies)
                status = wait_for(y, GPU_NUMBERS, error);
            else
                mia_unref(y);
        }
        seconds = mia__cli_seconds() - began;
        if (round != 1) continue;
        if (seconds > SECONDS) break;
        copies = seconds * GPU_COPIES > SECONDS ? (int)(SECONDS / seconds) + 1 : GPU_COPIES;
    }
    mia_unref(x);
    return status == MIA_OK ? 2.0 * copies * GPU_NUMBERS * sizeof(float) / seconds : 0;
}

/* --- multiplying ------------------------------------------------------------------------------ */

/* Seconds of the product of two matrices [n, n], the better of two tries; negative after a failure. */
static double time_product(mia_device *device, int64_t n, const float *numbers, mia_error *error) {
    mia_tensor_f32 w = mia_constant(f32, device, MIA_SHAPE(n, n), numbers);
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(n, n), numbers);
    double best = -1;
    for (int i = 0; i < 3; i++) { /* the first makes the weights ready */
        mia_tensor_f32 y = mia_matmul(w, mia_ref(x));
        const mia_tensor list[1] = {MIA_UNTYPED(y)};
        double began = mia__cli_seconds();
        mia_status status = mia_tensor_eval(list, 1, error);
        if (status == MIA_OK)
            status = wait_for(y, n * n, error);
        else
            mia_unref(y);
        double took = mia__cli_seconds() - began;
        if (status != MIA_OK) {
            mia_unref(x);
            return -1;
        }
        if (i > 0 && (best < 0 || took < best)) best = took;
    }
    mia_unref(x);
    return best;
}

/* Larger and larger ones, until one takes long enough; the best rate of all. */
static double measure_products(mia_device *device, mia_error *error) {
    float *numbers = calloc((size_t)MOST_ROWS * MOST_ROWS, sizeof *numbers);
    if (numbers == NULL) {
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to measure products");
        return 0;
    }
    double rate = 0, took = 0;
    for (int64_t n = 64; n <= MOST_ROWS && took >= 0 && took < SECONDS / 4; n *= 2) {
        took = time_product(device, n, numbers, error);
        double reached = took > 0 ? 2.0 * (double)n * (double)n * (double)n / took : 0;
        if (reached > rate) rate = reached;
    }
    free(numbers);
    return rate;
}

int mia__cli_measure_limits(const char *command, const mia__cli_model_options *options,
                            mia__cli_limits *out) {
    mia_error error = {0};
    mia_device *device = NULL;
    mia_webgpu_options webgpu;
    mia_device_options how = {.threads = (uint32_t)options->threads};
    mia__cli_choose_device(options->device, &how, &webgpu);
    if (mia_device_open(&how, &device, &error) != MIA_OK) return mia__cli_fail(command, "%s", error.message);
    out->operations_per_second = measure_products(device, &error);
    const mia_device_info info = mia_device_describe(device);
    bool gpu = strcmp(info.backend, "webgpu") == 0;
    out->bytes_per_second = gpu ? measure_gpu(device, &error) : measure_copy(info.threads);
    (void)mia_device_close(device, NULL);
    if (error.status != MIA_OK) return mia__cli_fail(command, "%s", error.message);
    if (out->bytes_per_second <= 0) return mia__cli_fail(command, "no memory to measure copying");
    return -1;
}
