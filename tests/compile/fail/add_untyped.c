// An untyped handle has to be made typed (mia_as) before it is computed with.
// expect-gcc: _Generic. selector of type .struct mia_tensor. is not compatible
// expect-clang: controlling expression type 'mia_tensor'.*not compatible
#include <mia/mia.h>

mia_tensor compute(mia_tensor a, mia_tensor b);

mia_tensor compute(mia_tensor a, mia_tensor b) {
    return mia_add(a, b);
}
