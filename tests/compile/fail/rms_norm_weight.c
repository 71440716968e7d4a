// The weight of a norm is of the type of what it weighs.
// expect-gcc: incompatible type for argument 2 of .mia__f32_rms_norm
// expect-clang: passing 'mia_tensor_f16'.*incompatible type 'mia_tensor_f32'
#include <mia/mia.h>

mia_tensor_f32 compute(mia_tensor_f32 x, mia_tensor_f16 weight);

mia_tensor_f32 compute(mia_tensor_f32 x, mia_tensor_f16 weight) {
    return mia_rms_norm(x, weight, 1e-5);
}
