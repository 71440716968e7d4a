/* The first program: typed tensors, ownership, and work that runs once.
 *
 * Computes 4x in steps, shows that a value which has run is not run again, and what a handle that was given
 * away says. */
#include <mia/mia.h>
#include <stdio.h>
#include <stdlib.h>

enum { C = 1024, T = 768 };

static int fail(const mia_error *error) {
    fprintf(stderr, "%s: %s\n", mia_status_name(error->status), error->message);
    return 1;
}

static int run(mia_device *device, const float *numbers, float *result) {
    mia_error error = {0};
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(C, T), numbers);
    mia_tensor_f32 y = mia_upload(f32, device, MIA_SHAPE(C, T), numbers);

    /* The same bytes as vectors of four: [256, 768]. A view; nothing moves. */
    mia_tensor_f32x4 a = mia_cast(f32x4, x);
    mia_tensor_f32x4 b = mia_add(a, mia_cast(f32x4, y));  /* 2x; a and y are given away */
    mia_tensor_f32x4 c = mia_add(mia_ref(b), mia_ref(b)); /* 4x; ref keeps b ours */
    mia_tensor_f32x4 d = mia_cast(f32x4, mia_cast(f32, c));
    if (mia_read(d, result, (size_t)C * T, &error) != MIA_OK) return fail(&error);
    for (size_t i = 0; i < (size_t)C * T; i++)
        if (result[i] != 4 * numbers[i])
            return fprintf(stderr, "element %zu is %g\n", i, (double)result[i]), 1;
    printf("d = 4x: %d numbers as expected\n", C * T);

    /* b has run: asking for more of it runs one kernel, not two. */
    uint64_t before = mia_device_count(device).kernels;
    mia_tensor_f32x4 e = mia_add(mia_ref(b), b);
    if (mia_read(e, result, (size_t)C * T, &error) != MIA_OK) return fail(&error);
    uint64_t kernels = mia_device_count(device).kernels - before;
    printf("b + b ran %d kernel more\n", (int)kernels);

    /* b was given away above; the message says to whom, and where. */
    mia_tensor_f32x4 f = mia_neg(b);
    mia_status status = mia_read(f, result, (size_t)C * T, &error);
    printf("%s: %s\n", mia_status_name(status), error.message);
    return kernels == 1 && status == MIA_ERROR_CONSUMED ? 0 : 1;
}

int main(void) {
    mia_error error = {0};
    mia_device *device;
    if (mia_device_open(NULL, &device, &error) != MIA_OK) return fail(&error);
    float *numbers = malloc(sizeof(float) * C * T), *result = malloc(sizeof(float) * C * T);
    int failed = 1;
    if (numbers != NULL && result != NULL) {
        for (int i = 0; i < C * T; i++) numbers[i] = (float)(i % 1000) * 0.5f;
        failed = run(device, numbers, result);
    }
    free(numbers);
    free(result);
    if (mia_device_close(device, &error) != MIA_OK) return fail(&error);
    return failed;
}
