// Positions are integers.
// expect-gcc: incompatible type for argument 2 of .mia__f32_rope
// expect-clang: passing 'mia_tensor_f32'.*incompatible type 'mia_tensor_i32'
#include <mia/mia.h>

mia_tensor_f32 compute(mia_tensor_f32 x, mia_tensor_f32 positions, mia_tensor_f32 frequencies);

mia_tensor_f32 compute(mia_tensor_f32 x, mia_tensor_f32 positions, mia_tensor_f32 frequencies) {
    return mia_rope(x, positions, frequencies, MIA_ROPE_HALVES, 1.0);
}
