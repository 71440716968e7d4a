/* Ownership: an operation takes its operands, mia_ref keeps one, constants are never taken. What has one owner is
 * updated in place; what somebody else holds is left alone. */
#include <mia/mia.h>
#include <stdio.h>

/* Runs what t needs; how many bytes of memory that took. */
static uint64_t bytes_to_run(mia_device *device, mia_tensor_f32 t) {
    uint64_t before = mia_device_count(device).bytes;
    mia_tensor list[] = {MIA_UNTYPED(t)};
    return mia_tensor_eval(list, 1, NULL) == MIA_OK ? mia_device_count(device).bytes - before : UINT64_MAX;
}

int main(void) {
    mia_error error = {0};
    mia_device *device;
    if (mia_device_open(NULL, &device, &error) != MIA_OK) return 1;

    const float one[3] = {1, 1, 1}, three[3] = {3, 3, 3};
    mia_tensor_f32 w = mia_constant(f32, device, MIA_SHAPE(3), three); /* the device's, until it is closed */
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(3), one);     /* ours, until we give it away */

    x = mia_mul(x, w);                           /* x is taken, and the product ours; w stays */
    uint64_t in_place = bytes_to_run(device, x); /* nobody else has x: written over it */
    mia_tensor_f32 kept = mia_ref(x);            /* a second handle of the same value */
    x = mia_mul(x, w);
    uint64_t copied = bytes_to_run(device, x); /* kept still has to be 3 */

    float of_x[3], of_kept[3];
    bool good =
        mia_read(x, of_x, 3, &error) == MIA_OK && mia_read(mia_ref(kept), of_kept, 3, &error) == MIA_OK;
    mia_unref(kept); /* not given away, so given back; else closing the device reports it */
    good = good && in_place == 0 && copied == sizeof of_x && of_x[0] == 9 && of_kept[0] == 3;
    printf("%s\n", good ? "in place while it had one owner" : error.message);
    return mia_device_close(device, &error) == MIA_OK && good ? 0 : 1;
}
