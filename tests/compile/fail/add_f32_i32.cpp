// f32 + i32: the second operand is of another type.
// expect-gcc: no matching function for call to .mia__cxx_add.mia_tensor_f32&, mia_tensor_i32&
// expect-clang: no matching function for call to 'mia__cxx_add'
#include <mia/mia.h>

mia_tensor_f32 compute(mia_tensor_f32 a, mia_tensor_i32 b);

mia_tensor_f32 compute(mia_tensor_f32 a, mia_tensor_i32 b) {
    return mia_add(a, b);
}
