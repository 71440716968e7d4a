// Reductions take scalars: a packed type has to be cast to them first.
// expect-gcc: _Generic. selector of type .struct mia_tensor_f32x4. is not compatible
// expect-clang: controlling expression type 'mia_tensor_f32x4'.*not compatible
#include <mia/mia.h>

mia_tensor_f32x4 compute(mia_tensor_f32x4 x);

mia_tensor_f32x4 compute(mia_tensor_f32x4 x) {
    return mia_sum(x, MIA_ALL_MODES);
}
