/* Views: slices, permutations and broadcasts of a tensor look at its bytes. Making them takes no memory and runs
 * nothing. */
#include <mia/mia.h>
#include <stdio.h>

int main(void) {
    mia_error error = {0};
    mia_device *device;
    if (mia_device_open(NULL, &device, &error) != MIA_OK) return 1;

    const float numbers[6] = {1, 2, 3, 4, 5, 6}; /* [3, 2]: two columns of three, the first mode fastest */
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(3, 2), numbers);
    mia_device_counters before = mia_device_count(device);

    mia_tensor_f32 rows = mia_permute(mia_ref(x), MIA_SHAPE(1, 0)); /* [2, 3]: 1 4, 2 5, 3 6 */
    mia_tensor_f32 turned = mia_slice(rows, 1, 2, 3, -1);           /* from row 2, 3 rows, back by 1 */
    mia_tensor_f32 middle = mia_slice(x, 0, 1, 1, 1);               /* [1, 2]: 2, 5 */
    mia_tensor_f32 filled = mia_broadcast(middle, MIA_SHAPE(3, 2)); /* each of them three times */

    mia_device_counters after = mia_device_count(device);
    bool good = after.bytes == before.bytes && after.kernels == before.kernels;

    float a[6], b[6]; /* reading lays the numbers out in order */
    const float a_is[6] = {3, 6, 2, 5, 1, 4}, b_is[6] = {2, 2, 2, 5, 5, 5};
    good = mia_read(turned, a, 6, &error) == MIA_OK && mia_read(filled, b, 6, &error) == MIA_OK && good;
    for (int i = 0; i < 6; i++) good = good && a[i] == a_is[i] && b[i] == b_is[i];
    printf("%s\n", good ? "four views, no copy" : error.message);
    return mia_device_close(device, &error) == MIA_OK && good ? 0 : 1;
}
