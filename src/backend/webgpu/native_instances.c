/* Instances of a library, which stay when their devices are closed, for the next devices.
 *
 * The library that has no instance left lets go of the Vulkan driver, and the loader unloads it. Drivers do not come out of
 * that whole: SwiftShader leaves an open file behind each time, and NVIDIA's finds no GPU any more after some thirty
 * times. So the instances of a process stay until it ends: as many as it had devices open at once.
 *
 * A device has its instance to itself as long as it is open, since the library's callbacks come on whatever thread asks
 * for the events of the instance. */
#include "backend/webgpu/native.h"

#include <pthread.h>
#include <unistd.h>

typedef struct kept {
    WGPUInstance instance;         /* NULL: a place that is free */
    WGPUProcCreateInstance create; /* the functions of its library */
    WGPUProcInstanceRelease release;
} kept;

enum { MOST_KEPT = 16 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static kept places[MOST_KEPT];
static pid_t process; /* that has had instances; 0: none yet */

/* A driver's threads do not follow into a child: calls to it wait for ever there, or fail. */
static bool is_child(void) {
    (void)pthread_mutex_lock(&lock);
    if (process == 0) process = getpid();
    bool is = process != getpid();
    (void)pthread_mutex_unlock(&lock);
    return is;
}

static WGPUInstance take(const mia__webgpu_library *library) {
    WGPUInstance instance = NULL;
    (void)pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST_KEPT && instance == NULL; i++) {
        if (places[i].create != library->CreateInstance) continue;
        instance = places[i].instance;
        places[i] = (kept){0};
    }
    (void)pthread_mutex_unlock(&lock);
    return instance;
}

WGPUInstance mia__native_instance(const mia__webgpu_library *library, mia_error *error) {
    if (is_child()) {
        (void)mia_error_set(
            error, MIA_ERROR_UNSUPPORTED,
            "webgpu: this process was forked from one that has used WebGPU, whose drivers do not work "
            "in a child; begin with the child, or exec");
        return NULL;
    }
    WGPUInstance instance = take(library);
    if (instance != NULL) return instance;
    mia__dawn_toggles toggles;
    WGPUInstanceDescriptor descriptor = {.nextInChain = mia__webgpu_toggles(library, false, &toggles)};
    instance = library->CreateInstance(&descriptor);
    if (instance == NULL)
        (void)mia_error_set(error, MIA_ERROR_UNSUPPORTED, "webgpu: %s makes no instance", library->name);
    return instance;
}

void mia__native_keep_instance(const mia__webgpu_library *library, WGPUInstance instance) {
    bool keeps = false;
    (void)pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST_KEPT && library->stays && !keeps; i++) {
        if (places[i].instance != NULL) continue;
        places[i] = (kept){instance, library->CreateInstance, library->InstanceRelease};
        keeps = true;
    }
    (void)pthread_mutex_unlock(&lock);
    if (!keeps) library->InstanceRelease(instance);
}

void mia__native_drop_instances(void) {
    (void)pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST_KEPT; i++) {
        if (places[i].instance != NULL) places[i].release(places[i].instance);
        places[i] = (kept){0};
    }
    (void)pthread_mutex_unlock(&lock);
}
