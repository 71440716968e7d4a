// Positions are integers.
// expect-gcc: no matching function for call to .mia__cxx_rope.mia_tensor_f32&, mia_tensor_f32&
// expect-clang: no matching function for call to 'mia__cxx3_rope'
#include <mia/mia.h>

mia_tensor_f32 compute(mia_tensor_f32 x, mia_tensor_f32 positions, mia_tensor_f32 frequencies);

mia_tensor_f32 compute(mia_tensor_f32 x, mia_tensor_f32 positions, mia_tensor_f32 frequencies) {
    return mia_rope(x, positions, frequencies, MIA_ROPE_HALVES, 1.0);
}
