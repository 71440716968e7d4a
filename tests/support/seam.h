/* A seam to a GPU that stands before another one: its calls are those of the one behind but for those that a test
 * replaces in test_seam.type, and a test may change what an opened GPU says of itself. Devices that are opened between
 * seam_before and seam_away have it. */
#ifndef MIA_TESTS_SEAM_H
#define MIA_TESTS_SEAM_H

#include "backend/webgpu/webgpu.h"

static struct {
    mia__gpu_type type;
    const mia__gpu_type *behind;
    void (*change)(mia__gpu_info *info); /* NULL: nothing */
    mia__gpu **out;                      /* of the device that is being opened */
    mia__gpu_done opened;
    void *user;
} test_seam;

static void seam_opened(void *user, mia_status status, const char *message) {
    (void)user;
    if (status == MIA_OK) {
        (*test_seam.out)->type = &test_seam.type;
        if (test_seam.change != NULL) test_seam.change(&(*test_seam.out)->info);
    }
    test_seam.opened(test_seam.user, status, message);
}

static void seam_open(const mia__gpu_request *request, mia__gpu **out, mia__gpu_done done, void *user) {
    test_seam.out = out;
    test_seam.opened = done;
    test_seam.user = user;
    test_seam.behind->open(request, out, seam_opened, NULL);
}

static inline void seam_before(const mia__gpu_type *behind) {
    test_seam.type = *behind;
    test_seam.type.open = seam_open;
    test_seam.behind = behind;
    test_seam.change = NULL;
    mia__webgpu_set_seam(&test_seam.type);
}

static inline void seam_away(void) {
    mia__webgpu_set_seam(NULL);
}

#endif
