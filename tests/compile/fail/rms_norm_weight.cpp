// The weight of a norm is of the type of what it weighs.
// expect-gcc: no matching function for call to .mia__cxx_rms_norm.mia_tensor_f32&, mia_tensor_f16&
// expect-clang: no matching function for call to 'mia__cxx2_rms_norm'
#include <mia/mia.h>

mia_tensor_f32 compute(mia_tensor_f32 x, mia_tensor_f16 weight);

mia_tensor_f32 compute(mia_tensor_f32 x, mia_tensor_f16 weight) {
    return mia_rms_norm(x, weight, 1e-5);
}
