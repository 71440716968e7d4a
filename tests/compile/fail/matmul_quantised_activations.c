// matmul by quantised activations.
// expect-gcc: _Generic. selector of type .struct mia_tensor_q8_0. is not compatible
// expect-clang: controlling expression type 'mia_tensor_q8_0'.*not compatible
#include <mia/mia.h>

mia_tensor_f32 compute(mia_tensor_q8_0 w, mia_tensor_q8_0 x);

mia_tensor_f32 compute(mia_tensor_q8_0 w, mia_tensor_q8_0 x) {
    return mia_matmul(w, x);
}
