/* A program's own WGPUInstance and WGPUDevice, made with the library's functions alone, under a Mia device: it computes, and
 * when the program's device is destroyed, work fails with that cause, closing works, and another device opens. */
#include "backend/webgpu/library.h"
#include "gpu/record.h"

#include <dlfcn.h>
#include <string.h>

/* --- what such a program does ----------------------------------------------------------------- */

static struct {
    mia__webgpu_library library; /* its functions */
    WGPUInstance instance;
    WGPUAdapter adapter;
    WGPUDevice device;
    bool came;
    int losses; /* that it was told of, and why */
    WGPUDeviceLostReason reason;
} program;

static void on_adapter(WGPURequestAdapterStatus status, WGPUAdapter adapter, WGPUStringView message,
                       void *user, void *unused) {
    (void)status, (void)message, (void)user, (void)unused;
    program.adapter = adapter;
    program.came = true;
}

static void on_device(WGPURequestDeviceStatus status, WGPUDevice device, WGPUStringView message, void *user,
                      void *unused) {
    (void)status, (void)message, (void)user, (void)unused;
    program.device = device;
    program.came = true;
}

static void on_lost(WGPUDevice const *device, WGPUDeviceLostReason reason, WGPUStringView message, void *user,
                    void *unused) {
    (void)device, (void)message, (void)user, (void)unused;
    program.losses++;
    program.reason = reason;
}

static void await_answer(void) {
    while (!program.came) program.library.InstanceProcessEvents(program.instance);
    program.came = false;
}

/* With the default limits and no features. */
static void program_begins(void) {
    const mia__webgpu_library *library = &program.library;
    const WGPUInstanceDescriptor defaults = {0};
    const WGPURequestAdapterOptions any = {.featureLevel = WGPUFeatureLevel_Core,
                                           .backendType = WGPUBackendType_Vulkan};
    const WGPUDeviceDescriptor wanted = {
        .deviceLostCallbackInfo = {.mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_lost}};
    program.losses = 0;
    program.adapter = NULL;
    program.device = NULL;
    program.instance = library->CreateInstance(&defaults);
    assert_non_null(program.instance);
    (void)library->InstanceRequestAdapter(
        program.instance, &any,
        (WGPURequestAdapterCallbackInfo){.mode = WGPUCallbackMode_AllowProcessEvents,
                                         .callback = on_adapter});
    await_answer();
    assert_non_null(program.adapter);
    (void)library->AdapterRequestDevice(
        program.adapter, &wanted,
        (WGPURequestDeviceCallbackInfo){.mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_device});
    await_answer();
    assert_non_null(program.device);
}

static void program_ends(void) {
    program.library.DeviceRelease(program.device);
    program.library.AdapterRelease(program.adapter);
    program.library.InstanceRelease(program.instance);
}

static void *procedure(const char *name) {
    return dlsym(program.library.handle, name);
}

/* --- Mia on it -------------------------------------------------------------------------------- */

static mia_device *open_on_programs(void) {
    const mia_webgpu_options own = {
        .instance = program.instance, .device = program.device, .procedure = procedure};
    return open_for_test(&(mia_device_options){.backend = "webgpu", .webgpu = &own});
}

enum { ROWS = 70, DEPTH = 130, COLUMNS = 9 };

static mia_tensor_f32 compute(mia_device *device) {
    mia_tensor_f32 w = mia_upload(f32, device, MIA_SHAPE(DEPTH, ROWS), floats[0]);
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(DEPTH, COLUMNS), floats[1]);
    return mia_softmax(mia_matmul(w, x));
}

/* Consumes the tensor. */
static mia_status read_into(mia_tensor_f32 t, float numbers[ROWS * COLUMNS], mia_error *error) {
    *error = (mia_error){0};
    return mia_read(t, numbers, ROWS * COLUMNS, error);
}

static void check_computes(mia_device *device) {
    static float want[ROWS * COLUMNS], got[ROWS * COLUMNS];
    mia_error error;
    mia_device *cpu = open_cpu();
    assert_int_equal(read_into(compute(cpu), want, &error), MIA_OK);
    close_all(&cpu, 1);
    if (read_into(compute(device), got, &error) != MIA_OK) fail_msg("%s", error.message);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= 1e-5))
            fail_msg("number %d is %.9g, the cpu gives %.9g", i, (double)got[i], (double)want[i]);
}

static void test_computes(void **state) {
    (void)state;
    mia_error error;
    for (int again = 0; again < 2; again++) {
        program_begins();
        for (int device_of_two = 0; device_of_two < 2; device_of_two++) { /* the program's outlives Mia's */
            mia_device *device = open_on_programs();
            check_computes(device);
            assert_int_equal(mia_device_close(device, &error), MIA_OK);
            assert_int_equal(program.losses, 0);
        }
        program_ends();
    }
}

static mia_status eval(mia_tensor_f32 t, mia_error *error) {
    const mia_tensor list[1] = {MIA_UNTYPED(t)};
    *error = (mia_error){0};
    return mia_tensor_eval(list, 1, error);
}

/* Destroyed between runs: one that is submitted then may have ended before its GPU does (docs/waiting.md), but not what
 * reads it or comes after it. */
static void test_destroyed(void **state) {
    (void)state;
    static float numbers[ROWS * COLUMNS];
    mia_error error;
    program_begins();
    mia_device *device = open_on_programs();
    check_computes(device);
    mia_tensor_f32 before = compute(device), first = compute(device), next = compute(device);
    assert_int_equal(eval(before, &error), MIA_OK);
    program.library.DeviceDestroy(program.device);
    mia_status status = eval(first, &error);
    assert_true(status == MIA_OK || status == MIA_ERROR_DEVICE_LOST);
    assert_int_equal(read_into(mia_ref(first), numbers, &error), MIA_ERROR_DEVICE_LOST);
    assert_non_null(strstr(error.message, "lost"));
    assert_int_equal(eval(next, &error), MIA_ERROR_DEVICE_LOST);
    assert_non_null(strstr(error.message, "lost"));
    /* poisoned with that, and so is what is made of it; what was computed cannot be had any more */
    assert_int_equal(eval(next, &error), MIA_ERROR_DEVICE_LOST);
    assert_int_equal(read_into(mia_neg(mia_ref(next)), numbers, &error), MIA_ERROR_DEVICE_LOST);
    assert_int_equal(read_into(next, numbers, &error), MIA_ERROR_DEVICE_LOST);
    assert_non_null(strstr(error.message, "lost"));
    assert_int_equal(read_into(before, numbers, &error), MIA_ERROR_DEVICE_LOST);
    mia_unref(first);
    assert_int_equal(mia_device_count(device).handles, 0);
    assert_int_equal(mia_device_close(device, &error), MIA_OK);
    for (int looks = 0; program.losses == 0 && looks < 1000; looks++)
        program.library.InstanceProcessEvents(program.instance);
    assert_int_equal(program.losses, 1); /* the program was told */
    assert_int_equal(program.reason, WGPUDeviceLostReason_Destroyed);

    /* nothing opens on it any more, but on another one, and on Mia's own */
    const mia_webgpu_options own = {
        .instance = program.instance, .device = program.device, .procedure = procedure};
    assert_int_equal(
        mia_device_open(&(mia_device_options){.backend = "webgpu", .webgpu = &own}, &device, &error),
        MIA_ERROR_DEVICE_LOST);
    program_ends();
    program_begins();
    mia_device *devices_after[] = {open_on_programs(), open_gpu(false)};
    check_computes(devices_after[0]);
    check_computes(devices_after[1]);
    close_all(devices_after, 2);
    program_ends();
}

int main(void) {
    mia_device *device = open_gpu(false);
    close_all(&device, 1);
    mia_error error = {0};
    (void)draw_numbers();
    if (mia__webgpu_library_open(&program.library, &(mia_webgpu_options){0}, &error) != MIA_OK) {
        printf("error: %s\n", error.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_computes), cmocka_unit_test(test_destroyed)};
    int failed = cmocka_run_group_tests_name("borrowed", tests, NULL, NULL);
    mia__webgpu_library_close(&program.library);
    return failed;
}
