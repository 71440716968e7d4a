// matmul of f16 weights by f32 activations gives f32, not the weights' type.
// expect-gcc: incompatible types when returning type .mia_tensor_f32. but .mia_tensor_f16. was expected
// expect-clang: returning 'mia_tensor_f32'.*incompatible result type 'mia_tensor_f16'
#include <mia/mia.h>

mia_tensor_f16 compute(mia_tensor_f16 w, mia_tensor_f32 x);

mia_tensor_f16 compute(mia_tensor_f16 w, mia_tensor_f32 x) {
    return mia_matmul(w, x);
}
