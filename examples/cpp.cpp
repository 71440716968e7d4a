// C++17: the same headers and the same names. Types are checked by overloads instead of _Generic, and the operands
// of one call are evaluated from left to right here as well.
#include <mia/mia.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

int main() {
    mia_error error = {};
    mia_device *opened = nullptr;
    if (mia_device_open(nullptr, &opened, &error) != MIA_OK) return 1;
    const auto close = [](mia_device *device) { (void)mia_device_close(device, nullptr); };
    const std::unique_ptr<mia_device, decltype(close)> device(opened, close);

    const std::vector<float> numbers = {3, 4}, weights = {1, 0, 0, 1, 2, 2};
    mia_tensor_f32 x = mia_upload(f32, device.get(), MIA_SHAPE(2), numbers.data());
    mia_tensor_f32 w = mia_constant(f32, device.get(), MIA_SHAPE(2, 3), weights.data());

    auto y = mia_matmul(w, mia_mul(mia_ref(x), x)); // of type mia_tensor_f32; mia_mul(x, 2) would not compile
    auto z = mia_sqrt(y);

    std::vector<float> out(3);
    if (mia_read(z, out.data(), out.size(), &error) != MIA_OK) {
        std::fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    std::printf("%g %g %g\n", out[0], out[1], out[2]); // 3, 4 and sqrt(2 * 9 + 2 * 16)
    return out[0] == 3 && out[1] == 4 && std::abs(out[2] - std::sqrt(50.0F)) < 1e-5F ? 0 : 1;
}
