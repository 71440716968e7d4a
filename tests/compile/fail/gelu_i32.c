// gelu of integers: the row takes floating-point types alone.
// expect-gcc: _Generic. selector of type .struct mia_tensor_i32. is not compatible
// expect-clang: controlling expression type 'mia_tensor_i32'.*not compatible
#include <mia/mia.h>

mia_tensor_i32 compute(mia_tensor_i32 x);

mia_tensor_i32 compute(mia_tensor_i32 x) {
    return mia_gelu(x);
}
