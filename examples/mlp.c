/* Says what pieces of clothing are on pictures: a perceptron, 784 -> 128 -> 10, written out of tensor operations.
 *
 * The pictures are those of Debian's package dataset-fashion-mnist, the weights fashion-mlp.gguf (made by
 * fashion_mlp.py). Exits with 77 where the pictures are not installed.
 *
 *     cc mlp.c $(pkg-config --cflags --libs mia) && ./a.out fashion-mlp.gguf */
#define _POSIX_C_SOURCE 200809L
#include <mia/mia.h>
#include <stdio.h>

/* The weights, when the build says where the examples lie. */
#ifdef MIA_EXAMPLES_DIR
#define BUNDLED MIA_EXAMPLES_DIR "/fashion-mlp.gguf"
#else
#define BUNDLED "fashion-mlp.gguf"
#endif

enum { PIXELS = 28 * 28, COUNT = 1000, SHOWN = 5, ENOUGH = 850 };

/* Bytes of a file of the data set, behind its header. */
static bool read_data(const char *name, size_t header, unsigned char *out, size_t count) {
    char command[200], skipped[16];
    (void)snprintf(command, sizeof command, "gzip -dc /usr/share/datasets/fashion-mnist/%s 2>/dev/null",
                   name);
    FILE *file = popen(command, "r");
    if (file == NULL) return false;
    bool well = fread(skipped, 1, header, file) == header && fread(out, 1, count, file) == count;
    (void)pclose(file);
    return well;
}

static mia_tensor_i32 classify(mia_device *device, mia_weights *weights, mia_tensor_f32 x) {
    mia_tensor_f16 w1 = mia_as(f16, mia_weights_tensor(device, weights, "hidden.weight")); /* [784, 128] */
    mia_tensor_f16 w2 = mia_as(f16, mia_weights_tensor(device, weights, "out.weight"));    /* [128, 10] */
    mia_tensor_f32 b1 = mia_as(f32, mia_weights_tensor(device, weights, "hidden.bias"));
    mia_tensor_f32 b2 = mia_as(f32, mia_weights_tensor(device, weights, "out.bias"));
    mia_tensor_f32 hidden = mia_relu(mia_add(mia_matmul(w1, x), b1));
    return mia_argmax(mia_add(mia_matmul(w2, hidden), b2), MIA_MODE(0)); /* [1, pictures] */
}

int main(int argc, char **argv) {
    static const char *const names[] = {"T-shirt", "trouser", "pullover", "dress", "coat",
                                        "sandal",  "shirt",   "sneaker",  "bag",   "boot"};
    static unsigned char pictures[COUNT * PIXELS], labels[COUNT];
    static float x[COUNT * PIXELS];
    static int32_t said[COUNT];
    if (!read_data("t10k-images-idx3-ubyte.gz", 16, pictures, sizeof pictures) ||
        !read_data("t10k-labels-idx1-ubyte.gz", 8, labels, sizeof labels)) {
        puts("skipped: the package dataset-fashion-mnist is not installed");
        return 77;
    }
    for (size_t i = 0; i < COUNT * PIXELS; i++) x[i] = (float)pictures[i] / 255;

    mia_device *device = NULL;
    mia_weights *weights = NULL;
    mia_error error = {0};
    bool well = mia_device_open(NULL, &device, &error) == MIA_OK &&
                mia_weights_open_file(argc > 1 ? argv[1] : BUNDLED, NULL, &weights, &error) == MIA_OK &&
                mia_read(classify(device, weights, mia_upload(f32, device, MIA_SHAPE(PIXELS, COUNT), x)),
                         said, COUNT, &error) == MIA_OK;
    int right = 0;
    for (int i = 0; well && i < COUNT; i++) {
        right += said[i] == labels[i];
        if (i < SHOWN) printf("picture %d: %s, and is a %s\n", i, names[said[i]], names[labels[i] % 10]);
    }
    if (well)
        printf("%d of %d right\n", right, COUNT);
    else
        fprintf(stderr, "%s\n", error.message);
    mia_weights_close(weights);
    if (mia_device_close(device, &error) != MIA_OK) fprintf(stderr, "%s\n", error.message);
    return well && right >= ENOUGH ? 0 : 1;
}
