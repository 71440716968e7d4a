// An i32 tensor is read into int32_t, not float.
// flags: -Werror=incompatible-pointer-types
// expect-gcc: passing argument 2 of .mia__read_i32. from incompatible pointer type
// expect-clang: incompatible pointer types passing 'float \*' to parameter of type 'int32_t \*'
#include <mia/mia.h>

int compute(mia_tensor_i32 x, float *out);

int compute(mia_tensor_i32 x, float *out) {
    return (int)mia_read(x, out, 1, NULL);
}
