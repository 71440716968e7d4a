// An i32 tensor is read into int32_t, not float.
// expect-gcc: no matching function for call to .mia__cxx_read.mia_tensor_i32&, float
// expect-clang: no matching function for call to 'mia__cxx_read'
#include <mia/mia.h>

int compute(mia_tensor_i32 x, float *out);

int compute(mia_tensor_i32 x, float *out) {
    return (int)mia_read(x, out, 1, NULL);
}
