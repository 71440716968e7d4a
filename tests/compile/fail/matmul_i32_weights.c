// matmul with integer weights: not of the set WEIGHT.
// expect-gcc: _Generic. selector of type .struct mia_tensor_i32. is not compatible
// expect-clang: controlling expression type 'mia_tensor_i32'.*not compatible
#include <mia/mia.h>

mia_tensor_f32 compute(mia_tensor_i32 w, mia_tensor_f32 x);

mia_tensor_f32 compute(mia_tensor_i32 w, mia_tensor_f32 x) {
    return mia_matmul(w, x);
}
