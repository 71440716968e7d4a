/* A long run: told how far it is, and cancelled by another thread. The device and all that had run stay as they
 * were; what the run was to make is poisoned. */
#include <mia/mia.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

/* Every 50 ms at most, by the thread that waits; false would cancel, too. */
static bool show_progress(void *user, double share) {
    (void)user;
    printf("%.1f %%\n", 100 * share);
    return true;
}

static void *cancel_soon(void *ticket) {
    const struct timespec nap = {0, 120000000};
    (void)nanosleep(&nap, NULL);
    mia_ticket_cancel(
        ticket); /* does not wait; mia_device_cancel for all that a device does, also in a signal handler */
    return NULL;
}

int main(void) {
    const mia_device_options options = {.progress = show_progress};
    mia_error error = {0};
    mia_device *device;
    if (mia_device_open(&options, &device, &error) != MIA_OK) return 1;
    mia_tensor_f32 w = mia_full(f32, device, MIA_SHAPE(1024, 1024), 0.001);
    mia_tensor_f32 x = mia_ref(w);
    for (int i = 0; i < 2000; i++) x = mia_matmul(mia_ref(w), x); /* a minute, maybe */

    const mia_tensor list[1] = {MIA_UNTYPED(x)};
    mia_ticket *ticket = mia_tensor_eval_begin(list, 1);
    pthread_t thread;
    if (pthread_create(&thread, NULL, cancel_soon, ticket) != 0) return 1;
    mia_ticket_wait(ticket);
    (void)pthread_join(thread, NULL); /* the ticket is its as long as it runs */
    mia_status status = mia_ticket_finish(ticket, &error);
    printf("%s: %s\n", mia_status_name(status), error.message);

    mia_unref(x);
    float out[1] = {0};
    mia_tensor_f32 first = mia_slice(mia_slice(w, 0, 0, 1, 1), 1, 0, 1, 1);
    bool good = mia_read(mia_mul(first, 2000), out, 1, &error) == MIA_OK && status == MIA_ERROR_CANCELLED;
    printf("w is still there: 2000 times its first number is %g\n", (double)out[0]);
    return mia_device_close(device, &error) == MIA_OK && good ? 0 : 1;
}
