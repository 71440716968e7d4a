/* Says what pieces of clothing are on pictures: a perceptron, 784 -> 128 -> 10, written out of tensor operations.
 *
 * The pictures are those of Debian's package dataset-fashion-mnist, the weights fashion-mlp.gguf (made by
 * fashion_mlp.py). Exits with 77 where the pictures are not installed.
 *
 *     cc mlp.c $(pkg-config --cflags --libs mia) && ./a.out fashion-mlp.gguf */
#define _POSIX_C_SOURCE 200809L
#include <mia/mia.h>
#include <stdio.h>

enum { PIXELS = 28 * 28, COUNT = 1000, SHOWN = 5, ENOUGH = 850 };

/* Bytes of a file of the data set, behind its header. */
static bool read_data(const char *name, size_t header, unsigned char *out, size_t count) {
    char command[200], skipped[16];
    (void)snprintf(command, sizeof command, "gzip -dc /usr/share/datasets/fashion-mnist/%s 2>/dev/null", name);
    FILE *file = popen(command, "r");
    if (file == NULL) return false;
    bool well = fread(skipped, 1, header, file) == header && fread(out, 1, count, file) == count;
    (void)pclose(file);
    return well;
}

static mia_tensor_i32 classify(mia_device *device, mia_weights *weights, mia_tensor_f32 x) {
    mia_tensor_f16 w1 = mia_weights_f16(device, weights, "hidden.weight"); /* [784, 128] */
    mia_tensor_f16 w2 = mia_weights_f16(device, weights, "out.weight");    /* [128, 10] */
    mia_tensor_f32 b1 = mia_weights_f32(device, weights, "hidden.bias");
    mia_tensor_f32 b2 = mia_weights_f32(device, weights, "out.bias");
    mia_tensor_f32 hidden = mia_relu(mia_add(mia_matmul(w1, x), b1));
    return mia_argmax(mia_add(mia_matmul(w2, hidden), b2), MIA_MODE(0));
}
