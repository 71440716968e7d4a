// The status of a read may not be ignored.
// flags: -Werror=unused-result
// expect-gcc: ignoring return value of .*mia__cxx_read.* declared with attribute .warn_unused_result
// expect-clang: ignoring return value of function declared with 'warn_unused_result'
#include <mia/mia.h>

void compute(mia_tensor_f32 x, float *out);

void compute(mia_tensor_f32 x, float *out) {
    mia_read(x, out, 1, NULL);
}
