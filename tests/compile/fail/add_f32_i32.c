// f32 + i32: the second operand is of another type.
// expect-gcc: incompatible type for argument 2 of .mia__f32_add
// expect-clang: passing 'mia_tensor_i32'.*incompatible type 'mia_tensor_f32'
#include <mia/mia.h>

mia_tensor_f32 compute(mia_tensor_f32 a, mia_tensor_i32 b);

mia_tensor_f32 compute(mia_tensor_f32 a, mia_tensor_i32 b) {
    return mia_add(a, b);
}
