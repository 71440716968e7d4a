/* Memory: what a run needs is known to the byte before it begins; a limit refuses it with both numbers and loses
 * nothing; and whatever Mia allocates goes through a hook of one's own. */
#include <mia/mia.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* Counts. Called from any thread that uses the device. */
static atomic_size_t held;

static void *allocate(void *user, size_t bytes, size_t alignment) {
    (void)user;
    size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void *memory = aligned_alloc(alignment, rounded > 0 ? rounded : alignment);
    if (memory != NULL) atomic_fetch_add(&held, bytes);
    return memory;
}

static void release(void *user, void *pointer, size_t bytes) {
    (void)user;
    if (pointer != NULL) atomic_fetch_sub(&held, bytes);
    free(pointer);
}

/* A megabyte by a megabyte, and what is made of it on the way. */
static mia_tensor_f32 record(mia_device *device) {
    mia_tensor_f32 x = mia_random_normal(f32, device, MIA_SHAPE(512, 512), 7);
    return mia_softmax(mia_matmul(mia_ref(x), mia_gelu(x)));
}

/* Plans, then runs with so much and no more; says whether that was right. */
static bool run_within(uint64_t limit, uint64_t *needed) {
    const mia_allocator hook = {allocate, release, NULL};
    const mia_device_options options = {.max_bytes = limit, .allocator = &hook};
    mia_error error = {0};
    mia_device *device;
    if (mia_device_open(&options, &device, &error) != MIA_OK) return false;
    mia_tensor_f32 y = record(device);
    const mia_tensor list[1] = {MIA_UNTYPED(y)};
    mia_plan_info plan;
    mia_status status = mia_tensor_plan(list, 1, &plan, &error);
    if (status == MIA_OK) status = mia_tensor_eval(list, 1, &error);
    if (status == MIA_OK)
        printf("planned %llu bytes, held %llu at the most\n", (unsigned long long)plan.peak_bytes,
               (unsigned long long)mia_device_count(device).peak_bytes);
    else
        printf("%s: %s\n", mia_status_name(status), error.message);
    bool good = status == MIA_OK ? plan.peak_bytes == mia_device_count(device).peak_bytes : limit > 0;
    *needed = plan.peak_bytes;
    mia_unref(y);
    return mia_device_close(device, &error) == MIA_OK && good;
}

int main(void) {
    uint64_t needed = 0, same;
    bool good = run_within(0, &needed) && run_within(needed, &same) && run_within(needed - 1, &same);
    printf("%zu bytes are still held\n", atomic_load(&held));
    return good && same == needed && atomic_load(&held) == 0 ? 0 : 1;
}
