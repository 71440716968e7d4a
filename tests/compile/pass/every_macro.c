// Every macro of tensor.h once, in C and in C++, without a warning; what they record is sound and runs.
#include <mia/mia.h>
#include <stdio.h>
#include <string.h>

static mia_device *device;
static int failures;

static void check(mia_status status, const mia_error *error) {
    if (status == MIA_OK) return;
    failures++;
    printf("%s\n", error->message);
}

/* Runs what was recorded, and gives it back. */
static void finish(mia_tensor x) {
    mia_error error = {MIA_OK, ""};
    check(mia_tensor_eval(&x, 1, &error), &error);
    mia_unref(x);
}

#define FINISH(x) finish(MIA_UNTYPED(x))

static mia_tensor_f32 ones(void) {
    return mia_full(f32, device, MIA_SHAPE(4, 3), 1);
}
static mia_tensor_f32 row(void) {
    return mia_full(f32, device, MIA_SHAPE(4), 1);
}
static mia_tensor_i32 index_of_one(void) {
    return mia_scalar(i32, device, 1);
}

static void views_and_movement(void) {
    FINISH(mia_reshape(ones(), MIA_SHAPE(2, 6)));
    FINISH(mia_permute(ones(), MIA_SHAPE(1, 0)));
    FINISH(mia_broadcast(row(), MIA_SHAPE(4, 5)));
    FINISH(mia_slice(ones(), 1, 2, 3, -1));
    FINISH(mia_cast(f32x4, ones()));
    FINISH(mia_transpose(ones(), 0, 1));
    FINISH(mia_squeeze(mia_unsqueeze(ones(), 1), MIA_MODE(1)));
    FINISH(mia_copy(ones()));
    FINISH(mia_convert(f16, ones()));
    FINISH(mia_concat(ones(), ones(), 1));
    FINISH(mia_pad(ones(), 0, 1, 2, MIA_PAD_CONSTANT, 0));
    FINISH(mia_gather(ones(), mia_full(i32, device, MIA_SHAPE(2), 1)));
    FINISH(mia_embedding(ones(), mia_full(i32, device, MIA_SHAPE(2), 1)));
    FINISH(mia_update(ones(), mia_full(f32, device, MIA_SHAPE(4, 1), 2), index_of_one(), 1));
    FINISH(mia_take(ones(), mia_full(i32, device, MIA_SHAPE(2, 2), 1), 1));
    FINISH(mia_take_along(ones(), mia_full(i32, device, MIA_SHAPE(4, 2), 1), 1));
    FINISH(mia_scatter(ones(), mia_full(i32, device, MIA_SHAPE(2), 1),
                       mia_full(f32, device, MIA_SHAPE(4, 2), 5), 1, MIA_SCATTER_ADD));
    FINISH(mia_scatter_along(ones(), mia_full(i32, device, MIA_SHAPE(4, 2), 1),
                             mia_full(f32, device, MIA_SHAPE(4, 2), 5), 1, MIA_SCATTER_SET));
    FINISH(mia_roll(ones(), 0, -1));
    FINISH(mia_tril(ones(), 0));
    FINISH(mia_triu(ones(), 1));
}

static void creation(void) {
    static const float numbers[3] = {1, 2, 3};
    FINISH(mia_zeros(f16, device, MIA_SHAPE(2, 2)));
    FINISH(mia_arange(i32, device, 3, -1, 5));
    FINISH(mia_random_uniform(f32, device, MIA_SHAPE(3, 2), 7));
    FINISH(mia_random_normal(f64, device, MIA_SHAPE(3, 2), 7));
    FINISH(mia_borrow(f32, device, MIA_SHAPE(3), numbers, NULL, NULL));
}

static void several(void) {
    const int64_t sizes[2] = {1, 2};
    const mia_tensor list[3] = {MIA_UNTYPED(ones()), MIA_UNTYPED(ones()), MIA_UNTYPED(ones())};
    mia_tensor_f32 parts[2];
    finish(mia_tensor_concat(list, 3, 0, __FILE__, __LINE__));
    FINISH(mia_stack(ones(), ones(), 2));
    mia_split(ones(), 1, sizes, 2, parts);
    FINISH(parts[0]);
    FINISH(parts[1]);
}

static mia_tensor_bool8 yes(void) {
    return mia_full(bool8, device, MIA_SHAPE(4), 1);
}

static void elementwise(void) {
    FINISH(mia_add(ones(), row()));
    FINISH(mia_sub(ones(), row()));
    FINISH(mia_mul(ones(), row()));
    FINISH(mia_div(ones(), row()));
    FINISH(mia_min(ones(), row()));
    FINISH(mia_max(ones(), row()));
    FINISH(mia_neg(ones()));
    FINISH(mia_abs(ones()));
    FINISH(mia_square(ones()));
    FINISH(mia_relu(ones()));
    FINISH(mia_sqrt(ones()));
    FINISH(mia_rsqrt(ones()));
    FINISH(mia_reciprocal(ones()));
    FINISH(mia_exp(ones()));
    FINISH(mia_log(ones()));
    FINISH(mia_tanh(ones()));
    FINISH(mia_sigmoid(ones()));
    FINISH(mia_silu(ones()));
    FINISH(mia_gelu(ones()));
    FINISH(mia_gelu_tanh(ones()));
    FINISH(mia_sign(ones()));
    FINISH(mia_sin(ones()));
    FINISH(mia_cos(ones()));
    FINISH(mia_erf(ones()));
    FINISH(mia_floor(ones()));
    FINISH(mia_ceil(ones()));
    FINISH(mia_round(ones()));
    FINISH(mia_softplus(ones()));
    FINISH(mia_hardswish(ones()));
    FINISH(mia_squared_relu(ones()));
    FINISH(mia_leaky_relu(ones(), 0.1));
    FINISH(mia_elu(ones(), 1));
    FINISH(mia_clamp(ones(), 0, 6));
    FINISH(mia_pow(ones(), row()));
    FINISH(mia_mod(ones(), row()));
    FINISH(mia_fmod(ones(), row()));
}

static void comparisons_and_logic(void) {
    FINISH(mia_equal(ones(), row()));
    FINISH(mia_equal(yes(), yes()));
    FINISH(mia_not_equal(ones(), row()));
    FINISH(mia_less(ones(), row()));
    FINISH(mia_less_equal(ones(), row()));
    FINISH(mia_greater(ones(), row()));
    FINISH(mia_greater_equal(ones(), row()));
    FINISH(mia_logical_and(yes(), yes()));
    FINISH(mia_logical_or(yes(), yes()));
    FINISH(mia_logical_xor(yes(), yes()));
    FINISH(mia_logical_not(yes()));
    FINISH(mia_where(yes(), ones(), row()));
    FINISH(mia_any(yes(), MIA_ALL_MODES));
    FINISH(mia_all(yes(), MIA_ALL_MODES));
}

/* A number of C in place of either operand. */
static void numbers(void) {
    float out[4] = {0, 0, 0, 0};
    uint8_t flag = 7;
    mia_error error = {MIA_OK, ""};
    FINISH(mia_mul(ones(), 0.5));
    FINISH(mia_pow(2, ones()));
    check(mia_read(mia_sub(3, mia_div(row(), 2.0f)), out, 4, &error), &error);
    if (out[0] != 2.5f || out[3] != 2.5f) failures++;
    check(mia_read(mia_less(mia_scalar(i32, device, 2), 3), &flag, 1, &error), &error);
    if (flag != 1) failures++;
}

static void the_others(void) {
    FINISH(mia_sum(ones(), MIA_MODE(0) | MIA_MODE(1)));
    FINISH(mia_mean(ones(), MIA_ALL_MODES));
    FINISH(mia_reduce_max(ones(), MIA_MODE(1)));
    FINISH(mia_reduce_min(ones(), MIA_MODE(1)));
    FINISH(mia_prod(ones(), MIA_MODE(1)));
    FINISH(mia_argmax(ones(), MIA_MODE(0)));
    FINISH(mia_argmin(ones(), MIA_MODE(0)));
    FINISH(mia_cumsum(ones(), 0, false, true));
    FINISH(mia_sort(ones(), 0, true));
    FINISH(mia_argsort(ones(), 1, false));
    FINISH(mia_top_k(ones(), 0, 2, true));
    FINISH(mia_top_k_indices(ones(), 0, 2, true));
    FINISH(mia_softmax(ones()));
    FINISH(mia_log_softmax(ones()));
    FINISH(mia_l2_norm(ones(), 1e-6));
    FINISH(mia_group_norm(ones(), row(), row(), 0, 2, 1e-5));
    FINISH(mia_rms_norm(ones(), row(), 1e-5));
    FINISH(mia_layer_norm(ones(), row(), row(), 1e-5));
    FINISH(mia_rope(mia_reshape(ones(), MIA_SHAPE(4, 1, 3)), mia_full(i32, device, MIA_SHAPE(3), 1),
                    mia_full(f32, device, MIA_SHAPE(2), 1), MIA_ROPE_INTERLEAVED, 1.0));
    FINISH(mia_attention(mia_reshape(row(), MIA_SHAPE(4, 1, 1)), mia_reshape(ones(), MIA_SHAPE(4, 3, 1)),
                         mia_reshape(ones(), MIA_SHAPE(4, 3, 1)), index_of_one(), 0.5));
    FINISH(mia_attention_masked(mia_reshape(row(), MIA_SHAPE(4, 1, 1)),
                                mia_reshape(ones(), MIA_SHAPE(4, 3, 1)),
                                mia_reshape(ones(), MIA_SHAPE(4, 3, 1)),
                                mia_full(f32, device, MIA_SHAPE(3), 0), index_of_one(), 0.5));
    FINISH(mia_matmul(ones(), row()));
    FINISH(mia_matmul(mia_full(f16, device, MIA_SHAPE(4, 3), 1), row()));
}

static void windows(void) {
    mia_window window;
    memset(&window, 0, sizeof window);
    window.size[0] = window.before[0] = 1;
    FINISH(mia_max_pool(ones(), window));
    FINISH(mia_average_pool(ones(), window));
    FINISH(mia_conv1d(mia_full(f32, device, MIA_SHAPE(5, 2, 1), 1),
                      mia_full(f32, device, MIA_SHAPE(3, 2, 4), 1), window));
    FINISH(mia_conv2d(mia_full(f32, device, MIA_SHAPE(5, 5, 2, 1), 1),
                      mia_full(f32, device, MIA_SHAPE(3, 3, 2, 4), 1), window));
}

static void handles(void) {
    const float data[4] = {1, 2, 3, 4};
    float out[4] = {0, 0, 0, 0};
    mia_error error = {MIA_OK, ""};
    mia_tensor_f32 constant = mia_constant(f32, device, MIA_SHAPE(4), data);
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(4), data), second = mia_ref(x);
    mia_unref(second);
    mia_tensor untyped = MIA_UNTYPED(mia_add(x, constant));
    mia_tensor more = mia_ref(untyped);
    mia_unref(more);
    check(mia_read(mia_as(f32, untyped), out, 4, &error), &error);
    if (out[0] != 2 || out[3] != 8) failures++;
    mia_tensor none = mia_weights_tensor(device, NULL, "none");
    if (mia_tensor_status(none, NULL) != MIA_ERROR_INVALID_ARGUMENT) failures++;
    mia_unref(none);
}

int main(void) {
    mia_device_options options;
    memset(&options, 0, sizeof options);
    options.backend = "reference";
    mia_error error = {MIA_OK, ""};
    if (mia_device_open(&options, &device, &error) != MIA_OK) return 2;
    views_and_movement();
    creation();
    several();
    elementwise();
    comparisons_and_logic();
    numbers();
    windows();
    the_others();
    handles();
    check(mia_device_close(device, &error), &error);
    return failures == 0 ? 0 : 1;
}
