/* The devices that tests on a GPU compare: the cpu backend on one thread, the GPU with all that it has, and the GPU with
 * WebGPU's least. */
#ifndef MIA_TESTS_GPU_DEVICES_H
#define MIA_TESTS_GPU_DEVICES_H

#include <mia/mia.h>

#include <stdio.h>
#include <stdlib.h>

/* Ends the test when one does not open: as skipped where there is no GPU. */
static inline mia_device *open_for_test(const mia_device_options *options) {
    mia_device *device = NULL;
    mia_error error = {0};
    mia_status status = mia_device_open(options, &device, &error);
    if (status == MIA_OK) return device;
    printf("%s: %s\n", status == MIA_ERROR_NOT_FOUND ? "skipped" : "error", error.message);
    exit(status == MIA_ERROR_NOT_FOUND ? 77 : 1);
}

static inline mia_device *open_cpu(void) {
    const mia_device_options options = {.backend = "cpu", .threads = 1};
    return open_for_test(&options);
}

static inline mia_device *open_gpu(bool least) {
    const mia_webgpu_options least_of_all = {.default_limits = true,
                                             .without = MIA_WEBGPU_F16 | MIA_WEBGPU_SUBGROUPS};
    const mia_device_options options = {.backend = "webgpu", .webgpu = least ? &least_of_all : NULL};
    return open_for_test(&options);
}

static inline void close_all(mia_device *const *devices, size_t count) {
    for (size_t i = 0; i < count; i++) {
        mia_error error = {0};
        if (mia_device_close(devices[i], &error) == MIA_OK) continue;
        printf("error: %s\n", error.message);
        exit(1);
    }
}

/* All of them, for tests that compare. */
enum { CPU, GPU, LEAST, DEVICES };
static mia_device *devices[DEVICES];

static inline void open_devices(void) {
    devices[CPU] = open_cpu();
    devices[GPU] = open_gpu(false);
    devices[LEAST] = open_gpu(true);
}

static inline int close_devices(void **state) {
    (void)state;
    close_all(devices, DEVICES);
    return 0;
}

#endif
