/* GPUs as large ones are, on a driver that has f16: with subgroups of 32 and subgroup matrices. Their shaders run as
 * emulated.h rewrites them. */
#ifndef MIA_TESTS_GPU_EMULATED_GPU_H
#define MIA_TESTS_GPU_EMULATED_GPU_H

#include "gpu/emulated.h"

#include "support/seam.h"

static inline void emulate_pipeline(mia__gpu *gpu, const mia__gpu_shader *shader, mia__gpu_made made,
                                    void *user) {
    mia__gpu_shader other = *shader;
    char *wgsl = strstr(shader->wgsl, "enable subgroups;") != NULL ? emulate(shader->wgsl) : NULL;
    if (wgsl != NULL) other.wgsl = wgsl;
    mia__gpu_native.pipeline(gpu, &other, made, user);
    free(wgsl);
}

static inline void emulate_info(mia__gpu_info *info) {
    if ((info->features & MIA__GPU_F16) == 0) {
        printf("skipped: no f16\n");
        exit(77);
    }
    info->features |= MIA__GPU_SUBGROUPS | MIA__GPU_SUBGROUP_MATRIX;
    info->subgroup_least = info->subgroup_most = 32;
    info->matrices[0] = (mia__gpu_matrix){MIA_f16, MIA_f32, 16, 16, 16};
    info->matrix_count = 1;
    info->limits.workgroup_bytes -= EMULATED_BYTES;
}

/* What is opened until seam_away. */
static inline void seam_emulates(void) {
    seam_before(&mia__gpu_native);
    test_seam.type.pipeline = emulate_pipeline;
    test_seam.change = emulate_info;
}

#endif
