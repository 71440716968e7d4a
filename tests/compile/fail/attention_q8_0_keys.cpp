// Keys and values of attention are plain floating-point numbers.
// expect-gcc: no matching function for call to .mia__cxx_real.mia_tensor_q8_0&
// expect-clang: no matching function for call to 'mia__cxx_real'
#include <mia/mia.h>

mia_tensor_f32 compute(mia_tensor_f32 q, mia_tensor_q8_0 k, mia_tensor_q8_0 v, mia_tensor_i32 length);

mia_tensor_f32 compute(mia_tensor_f32 q, mia_tensor_q8_0 k, mia_tensor_q8_0 v, mia_tensor_i32 length) {
    return mia_attention(q, k, v, length, 0.125);
}
