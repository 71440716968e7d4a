// matmul with integer weights: not of the set WEIGHT.
// expect-gcc: no matching function for call to .mia__cxx_weight.mia_tensor_i32&
// expect-clang: no matching function for call to 'mia__cxx_weight'
#include <mia/mia.h>

mia_tensor_f32 compute(mia_tensor_i32 w, mia_tensor_f32 x);

mia_tensor_f32 compute(mia_tensor_i32 w, mia_tensor_f32 x) {
    return mia_matmul(w, x);
}
