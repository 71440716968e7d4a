// Keys and values of attention are plain floating-point numbers.
// expect-gcc: _Generic. selector of type .struct mia_tensor_q8_0. is not compatible
// expect-clang: controlling expression type 'mia_tensor_q8_0'.*not compatible
#include <mia/mia.h>

mia_tensor_f32 compute(mia_tensor_f32 q, mia_tensor_q8_0 k, mia_tensor_q8_0 v, mia_tensor_i32 length);

mia_tensor_f32 compute(mia_tensor_f32 q, mia_tensor_q8_0 k, mia_tensor_q8_0 v, mia_tensor_i32 length) {
    return mia_attention(q, k, v, length, 0.125);
}
