// Quantised weights cannot be added.
// expect-gcc: _Generic. selector of type .struct mia_tensor_q8_0. is not compatible
// expect-clang: controlling expression type 'mia_tensor_q8_0'.*not compatible
#include <mia/mia.h>

mia_tensor_q8_0 compute(mia_tensor_q8_0 a, mia_tensor_q8_0 b);

mia_tensor_q8_0 compute(mia_tensor_q8_0 a, mia_tensor_q8_0 b) {
    return mia_add(a, b);
}
