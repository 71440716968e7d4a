// gelu of integers: the row takes floating-point types alone.
// expect-gcc: no matching function for call to .mia__cxx_gelu.mia_tensor_i32&
// expect-clang: no matching function for call to 'mia__cxx_gelu'
#include <mia/mia.h>

mia_tensor_i32 compute(mia_tensor_i32 x);

mia_tensor_i32 compute(mia_tensor_i32 x) {
    return mia_gelu(x);
}
