/* An operation of one's own: x * tanh(log(1 + e^x)), known as mish. It broadcasts, takes every floating-point
 * type, runs on all threads, and what is computed around it runs in the same pass over memory. */
#include <math.h>
#include <mia/mia.h>
#include <stdio.h>

/* What it means: one number, from which the reference backend computes. */
static double mish_number(void *user, const mia_attributes *attributes, const double *x) {
    (void)user, (void)attributes;
    return x[0] * tanh(log1p(exp(x[0])));
}

/* The same for many at once: the cpu backend's kernel. */
static void mish_floats(void *user, const mia_attributes *attributes, float *out, const float *const *x,
                        size_t count) {
    (void)user, (void)attributes;
    for (size_t i = 0; i < count; i++) out[i] = x[0][i] * tanhf(log1pf(expf(x[0][i])));
}

/* And for a GPU, in WGSL. */
static const char mish_wgsl[] = "return x0 * tanh(max(x0, 0.0) + log(1.0 + exp(-abs(x0))));";

int main(void) {
    mia_error error = {0};
    mia_device *device;
    mia_op mish;
    const mia_op_description description = {.name = "mish",
                                            .operands = 1,
                                            .number = mish_number,
                                            .floats = mish_floats,
                                            .wgsl = mish_wgsl,
                                            .bound = 4};
    if (mia_device_open(NULL, &device, &error) != MIA_OK) return 1;
    if (mia_op_register(device, &description, &mish, &error) != MIA_OK) return 1;

    const float numbers[4] = {-2, 0, 1, 3};
    const mia_tensor x = MIA_UNTYPED(mia_upload(f32, device, MIA_SHAPE(4), numbers));
    mia_tensor_f32 y = mia_mul(mia_call(f32, mish, &x, 1, NULL), 2);

    float out[4] = {0};
    mia_status status = mia_read(y, out, 4, &error);
    if (status == MIA_OK)
        printf("%g %g %g %g\n", (double)out[0], (double)out[1], (double)out[2], (double)out[3]);
    else
        fprintf(stderr, "%s\n", error.message);
    bool good = fabsf(out[0] + 0.5050029f) < 1e-5f && fabsf(out[3] - 5.9730752f) < 1e-5f;
    return mia_device_close(device, &error) == MIA_OK && status == MIA_OK && good ? 0 : 1;
}
