/* Time of element-wise operations on 16M f32, through the public API: one by one, and a chain of 8 as one step
 * and as eight. Medians, in ms, with 1 and 2 threads (or those named on the command line).
 *
 *     elementwise [THREADS...]       MIA_CPU_ISA=generic|avx2|avx512 caps the instruction set
 *
 * "new": the result gets memory of its own; "in place": over the operand, which nobody else refers to. */
#include "kernels.h"
#include "timing.h"

#include <mia/mia.h>

#define COUNT   (16 << 20)
#define REPEATS 11

typedef mia_tensor_f32 (*operation)(mia_tensor_f32 x, mia_tensor_f32 u);

#define UNARY(name)                                                                                          \
    static mia_tensor_f32 do_##name(mia_tensor_f32 x, mia_tensor_f32 u) {                                    \
        mia_unref(u);                                                                                        \
        return mia_##name(x);                                                                                \
    }
UNARY(gelu)
UNARY(gelu_tanh)
UNARY(silu)
UNARY(exp)
UNARY(tanh)
UNARY(log)
UNARY(sin)
UNARY(erf)
UNARY(sqrt)

static mia_tensor_f32 do_add(mia_tensor_f32 x, mia_tensor_f32 u) {
    return mia_add(x, u);
}
static mia_tensor_f32 do_pow(mia_tensor_f32 x, mia_tensor_f32 u) {
    return mia_pow(mia_abs(x), u);
}

static mia_tensor_f32 do_chain(mia_tensor_f32 x, mia_tensor_f32 u) {
    mia_tensor_f32 y = mia_add(mia_mul(x, mia_ref(u)), mia_ref(u));
    y = mia_relu(mia_sub(y, mia_ref(u)));
    y = mia_abs(mia_min(y, mia_ref(u)));
    return mia_neg(mia_max(y, u));
}

/* Median seconds. In place: x goes from run to run; else it is kept, and the result dropped. */
static double measure(mia_device *device, operation make, const float *numbers, bool in_place) {
    double seconds[REPEATS];
    mia_tensor_f32 u = mia_upload(f32, device, MIA_SHAPE(COUNT), numbers);
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(COUNT), numbers);
    for (int i = -2; i < REPEATS; i++) {
        mia_tensor_f32 y = make(in_place ? x : mia_ref(x), mia_ref(u));
        double begin = now();
        must(mia_tensor_eval((mia_tensor[]){MIA_UNTYPED(y)}, 1, NULL), "eval");
        if (i >= 0) seconds[i] = now() - begin;
        if (in_place)
            x = y;
        else
            mia_unref(y);
    }
    mia_unref(x);
    mia_unref(u);
    return median(seconds, REPEATS);
}

static mia_device *open_device(unsigned threads, bool no_fusion) {
    mia_device *device = NULL;
    mia_device_options options = {.threads = threads, .no_fusion = no_fusion};
    must(mia_device_open(&options, &device, NULL), "open");
    return device;
}

static void report(unsigned threads, const float *numbers) {
    static const struct {
        const char *name;
        operation make;
    } rows[] = {{"add", do_add},   {"gelu", do_gelu},      {"gelu_tanh", do_gelu_tanh},
                {"silu", do_silu}, {"exp", do_exp},        {"tanh", do_tanh},
                {"log", do_log},   {"sin", do_sin},        {"erf", do_erf},
                {"sqrt", do_sqrt}, {"pow of abs", do_pow}, {"chain of 8", do_chain}};
    mia_device *fused = open_device(threads, false), *single = open_device(threads, true);
    printf("%s\n%-12s%10s%10s%20s\n", mia_device_describe(fused).description, "ms", "new", "in place",
           "new, one by one");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        printf("%-12s%10.2f%10.2f", rows[i].name, 1e3 * measure(fused, rows[i].make, numbers, false),
               1e3 * measure(fused, rows[i].make, numbers, true));
        printf("%20.2f\n", 1e3 * measure(single, rows[i].make, numbers, false));
        fflush(stdout);
    }
    must(mia_device_close(fused, NULL), "close");
    must(mia_device_close(single, NULL), "close");
}

int main(int argc, char **argv) {
    float *numbers = malloc(COUNT * sizeof *numbers);
    if (numbers == NULL) return 1;
    for (size_t i = 0; i < COUNT; i++) numbers[i] = (float)(i % 8191) * 0x1p-11f - 2.0f;
    for (int i = 1; i < argc; i++) report((unsigned)strtoul(argv[i], NULL, 10), numbers);
    if (argc == 1) {
        report(1, numbers);
        report(2, numbers);
    }
    free(numbers);
    return 0;
}
