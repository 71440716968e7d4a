/* Devices that are opened one after the other, side by side on several threads, and in a child process: whatever a closed
 * one leaves behind, in the library or in the driver, must not add up. */
#include "devices.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIDE = 37, THREADS = 3 };

static void note_step(void *user, const mia_step_event *event) {
    (void)event;
    (*(int *)user)++;
}

static bool is_product(const float *numbers) {
    for (int i = 0; i < SIDE * SIDE; i++)
        if (numbers[i] != 6.0f * SIDE) return false;
    return true;
}

/* Opens a device, multiplies matrices with it and closes it. Whether all of that went well. */
static bool use_device(bool traced) {
    int steps = 0;
    mia_device_options options = {.backend = "webgpu"};
    if (traced) {
        options.trace = note_step;
        options.trace_user = &steps;
    }
    mia_device *device = NULL;
    mia_error error = {0};
    if (mia_device_open(&options, &device, &error) != MIA_OK) {
        printf("%s\n", error.message);
        return false;
    }
    const mia_shape shape = MIA_SHAPE(SIDE, SIDE);
    float numbers[SIDE * SIDE] = {0};
    bool well = mia_read(mia_matmul(mia_full(f32, device, shape, 2), mia_full(f32, device, shape, 3)),
                         numbers, SIDE * SIDE, &error) == MIA_OK;
    well = mia_device_close(device, &error) == MIA_OK && well;
    return well && is_product(numbers) && (steps > 0) == traced;
}

/* Entries of a folder of /proc; 0 where there is none. */
static int count_entries(const char *path) {
    int count = 0;
    DIR *folder = opendir(path);
    if (folder == NULL) return 0;
    while (readdir(folder) != NULL) count++;
    (void)closedir(folder);
    return count;
}

static void test_one_after_the_other(void **state) {
    (void)state;
    int files = 0, threads = 0;
    for (int i = 0; i < 40; i++) {
        assert_true(use_device(i % 2 == 1));
        if (i == 3) { /* what is made once has been */
            files = count_entries("/proc/self/fd");
            threads = count_entries("/proc/self/task");
        }
    }
    assert_true(count_entries("/proc/self/fd") <= files);
    assert_true(count_entries("/proc/self/task") <= threads);
}

static void *use_some(void *failures) {
    for (int i = 0; i < 5; i++)
        if (!use_device(i % 2 == 0)) (*(int *)failures)++;
    return NULL;
}

static void test_side_by_side(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    int failures[THREADS] = {0};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_some, &failures[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(failures[i], 0);
    }
}

/* The threads of a driver stay with the parent, and what waits for them in a child waits for ever: so it is refused,
 * whether the parent has a device open or had one. */
static void test_in_a_child(void **state) {
    (void)state;
    for (int open = 0; open < 2; open++) {
        mia_device *device = open_gpu(false);
        if (open == 0) close_all(&device, 1);
        (void)fflush(stdout);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            const mia_device_options options = {.backend = "webgpu"};
            mia_error error = {0};
            mia_device *refused = NULL;
            (void)alarm(60);
            bool right = mia_device_open(&options, &refused, &error) == MIA_ERROR_UNSUPPORTED &&
                         strstr(error.message, "forked") != NULL;
            _exit(right ? 0 : 1);
        }
        int status = -1;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        if (open == 1) close_all(&device, 1);
        assert_true(use_device(false));
    }
}

int main(void) {
    mia_device *device = open_gpu(false);
    close_all(&device, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_side_by_side),
        cmocka_unit_test(test_in_a_child),
    };
    return cmocka_run_group_tests_name("reopen", tests, NULL, NULL);
}
