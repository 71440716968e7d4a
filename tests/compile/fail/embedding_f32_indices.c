// Indices are integers.
// expect-gcc: invalid initializer
// expect-clang: initializing 'mia_tensor_i32'.*incompatible type 'mia_tensor_f32'
#include <mia/mia.h>

mia_tensor_f32 compute(mia_tensor_q8_0 table, mia_tensor_f32 indices);

mia_tensor_f32 compute(mia_tensor_q8_0 table, mia_tensor_f32 indices) {
    return mia_embedding(table, indices);
}
