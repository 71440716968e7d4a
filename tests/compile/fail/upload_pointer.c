// Host memory of an f16 tensor is of uint16_t.
// flags: -Werror=incompatible-pointer-types
// expect-gcc: passing argument 3 of .mia__upload_f16. from incompatible pointer type
// expect-clang: incompatible pointer types passing 'const float \*' to parameter of type 'const uint16_t \*'
#include <mia/mia.h>

mia_tensor_f16 compute(mia_device *device, const float *data);

mia_tensor_f16 compute(mia_device *device, const float *data) {
    return mia_upload(f16, device, MIA_SHAPE(4), data);
}
