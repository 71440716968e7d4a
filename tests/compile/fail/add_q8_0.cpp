// Quantised weights cannot be added.
// expect-gcc: no matching function for call to .mia__cxx_add.mia_tensor_q8_0&
// expect-clang: no matching function for call to 'mia__cxx_add'
#include <mia/mia.h>

mia_tensor_q8_0 compute(mia_tensor_q8_0 a, mia_tensor_q8_0 b);

mia_tensor_q8_0 compute(mia_tensor_q8_0 a, mia_tensor_q8_0 b) {
    return mia_add(a, b);
}
