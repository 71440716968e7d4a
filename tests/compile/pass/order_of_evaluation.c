// Operands of every macro are evaluated once and left to right, with every compiler, in C and in C++: an
// operand that consumes what another one keeps by mia_ref gives the same numbers everywhere.
#include <mia/mia.h>
#include <stdio.h>
#include <string.h>

static mia_device *device;
static char trail[64];
static int failures;

static void note(char name) {
    size_t length = strlen(trail);
    trail[length] = name;
    trail[length + 1] = 0;
}

static void check(bool good, const char *what) {
    if (good) return;
    failures++;
    printf("%s: trail \"%s\"\n", what, trail);
}

static void check_trail(const char *want, mia_tensor result) {
    mia_error error = {MIA_OK, ""};
    check(strcmp(trail, want) == 0, want);
    if (mia_tensor_status(result, &error) != MIA_OK) check(false, error.message);
    trail[0] = 0;
    mia_op_unref(result, NULL, 0);
}

/* Consumes x, records an operation, and tells calls apart: the first adds 1, the second 2. */
static mia_tensor_f32 f(mia_tensor_f32 x) {
    note('f');
    return mia_add(x, mia_full(f32, device, MIA_SHAPE(1), (double)strlen(trail)));
}

static mia_tensor_f32 number(double value) {
    return mia_full(f32, device, MIA_SHAPE(1), value);
}

static float read_one(mia_tensor_f32 x) {
    float value = -1;
    mia_error error = {MIA_OK, ""};
    if (mia_read(x, &value, 1, &error) != MIA_OK) check(false, error.message);
    trail[0] = 0;
    return value;
}

static void consumed_operands(void) {
    mia_tensor_f32 x = number(10);
    check(read_one(mia_mul(f(mia_ref(x)), f(x))) == 132, "mul(f(ref(x)), f(x)) is 11 * 12");
    x = number(10);
    check(read_one(mia_sub(f(mia_ref(x)), f(x))) == -1, "sub(f(ref(x)), f(x)) is 11 - 12");
    x = number(10);
    check(read_one(mia_sub(f(f(mia_ref(x))), f(x))) == 0, "sub(f(f(ref(x))), f(x)) is 13 - 13");
    /* The mirror uses x after it was given away: an error, and the same one everywhere. */
    x = number(10);
    mia_tensor_f32 y = mia_sub(f(x), f(mia_ref(x)));
    check(strcmp(trail, "ff") == 0, "the mirror's operands are evaluated once");
    mia_error error = {MIA_OK, ""};
    check(mia_tensor_status(MIA_UNTYPED(y), &error) == MIA_ERROR_CONSUMED,
          "the mirror names the consumed handle");
    check(strncmp(error.message, "ref:", 4) == 0, error.message);
    mia_unref(y);
    trail[0] = 0;
}

static mia_tensor_f32 vector(char name, int64_t extent) {
    note(name);
    return mia_full(f32, device, MIA_SHAPE(extent), 1);
}
static mia_tensor_f32 matrix(char name, int64_t rows, int64_t columns) {
    note(name);
    return mia_full(f32, device, MIA_SHAPE(rows, columns), 1);
}
static mia_tensor_f32 cube(char name, int64_t a, int64_t b, int64_t c) {
    note(name);
    return mia_full(f32, device, MIA_SHAPE(a, b, c), 1);
}
static mia_tensor_i32 whole(char name, int64_t extent) {
    note(name);
    return mia_full(i32, device, MIA_SHAPE(extent), 1);
}

static void every_form(void) {
    check_trail("a", MIA_UNTYPED(mia_neg(vector('a', 4))));
    check_trail("ab", MIA_UNTYPED(mia_add(vector('a', 4), vector('b', 4))));
    check_trail("abc", MIA_UNTYPED(mia_add(vector('a', 4), mia_mul(vector('b', 4), vector('c', 4)))));
    check_trail("abc", MIA_UNTYPED(mia_add(mia_mul(vector('a', 4), vector('b', 4)), vector('c', 4))));
    check_trail("ab", MIA_UNTYPED(mia_concat(vector('a', 4), vector('b', 4), 0)));
    check_trail("ab", MIA_UNTYPED(mia_gather(matrix('a', 4, 3), whole('b', 2))));
    check_trail("ab", MIA_UNTYPED(mia_embedding(matrix('a', 4, 3), whole('b', 2))));
    check_trail("abc", MIA_UNTYPED(mia_update(vector('a', 4), vector('b', 2), whole('c', 1), 0)));
    check_trail("ab", MIA_UNTYPED(mia_rms_norm(matrix('a', 4, 3), vector('b', 4), 1e-5)));
    check_trail("abc", MIA_UNTYPED(mia_layer_norm(matrix('a', 4, 3), vector('b', 4), vector('c', 4), 1e-5)));
    check_trail("abc", MIA_UNTYPED(mia_rope(cube('a', 4, 2, 3), whole('b', 3), vector('c', 2),
                                            MIA_ROPE_HALVES, 1.0)));
    check_trail("abcd", MIA_UNTYPED(mia_attention(cube('a', 4, 2, 1), cube('b', 4, 5, 1), cube('c', 4, 5, 1),
                                                  whole('d', 1), 0.5)));
    check_trail("ab", MIA_UNTYPED(mia_matmul(matrix('a', 4, 3), matrix('b', 4, 2))));
    check_trail("ab", MIA_UNTYPED(mia_matmul(MIA_UNTYPED(matrix('a', 4, 3)), matrix('b', 4, 2))));
    check_trail("a", MIA_UNTYPED(mia_convert(f16, vector('a', 4))));
    check_trail("a", MIA_UNTYPED(mia_cast(f32x4, vector('a', 4))));
    check_trail("a", MIA_UNTYPED(mia_sum(vector('a', 4), MIA_MODE(0))));
    mia_tensor_f32 x = vector('a', 4), y = mia_ref(x);
    mia_unref(y);
    check_trail("a", MIA_UNTYPED(mia_as(f32, MIA_UNTYPED(x))));
}

int main(void) {
    mia_device_options options;
    memset(&options, 0, sizeof options);
    options.backend = "reference";
    mia_error error = {MIA_OK, ""};
    if (mia_device_open(&options, &device, &error) != MIA_OK) return 2;
    consumed_operands();
    every_form();
    if (mia_device_close(device, &error) != MIA_OK) check(false, error.message);
    return failures == 0 ? 0 : 1;
}
