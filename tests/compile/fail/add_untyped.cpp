// An untyped handle has to be made typed (mia_as) before it is computed with.
// expect-gcc: no matching function for call to .mia__cxx_add.mia_tensor&
// expect-clang: no matching function for call to 'mia__cxx_add'
#include <mia/mia.h>

mia_tensor compute(mia_tensor a, mia_tensor b);

mia_tensor compute(mia_tensor a, mia_tensor b) {
    return mia_add(a, b);
}
