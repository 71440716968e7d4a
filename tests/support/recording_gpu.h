/* A GPU that computes nothing: it writes down what it is asked as lines of text, keeps what `write` and `copy` put into
 * buffers, completes when told to, fails when told to, and holds its caller to the rules of gpu.h and WebGPU. */
#ifndef MIA_TEST_SUPPORT_RECORDING_GPU_H
#define MIA_TEST_SUPPORT_RECORDING_GPU_H

#include "backend/webgpu/gpu.h"

/* For GPUs that are opened afterwards. All zero: WebGPU's default limits, no features, everything ends at the next poll,
 * nothing fails, the clock stands. */
typedef struct recording_settings {
    const mia__gpu_info *info; /* NULL: recording_info() */
    uint32_t late;   /* polls that what was begun takes more than one; a blocking poll waits for the oldest */
    bool no_adapter; /* open fails: NOT_FOUND */
    uint32_t fail_buffer;          /* the n-th buffer from 1 fails: NO_MEMORY; 0: none */
    uint32_t lose_submit;          /* with the n-th submit from 1 the device is lost; 0: never */
    uint64_t dispatch_nanoseconds; /* that each takes by the clock, one after the other */
    uint64_t poll_nanoseconds;     /* that the clock goes on with a poll; a blocking one waits for an end */
    const char *refuse;            /* shaders that hold this text are refused; NULL: none */
} recording_settings;

extern const mia__gpu_type recording_gpu_type;

mia__gpu_info recording_info(void);
mia__gpu_info
recording_info_large(void); /* a large GPU's: every feature, subgroups of 32, matrices of 16 x 16 x 16 */
void recording_set(const recording_settings *settings); /* copied; NULL: all zero */

/* The GPU that was opened last, NULL when it is closed: for tests that do not see it. */
mia__gpu *recording_last(void);

/* Nanoseconds that dispatches submitted since the last clear have taken, and the longest that those of one submission took. */
typedef struct recording_times {
    uint64_t all, longest;
} recording_times;
recording_times recording_took(mia__gpu *gpu);

/* What was asked since the last clear, a line a call:
 *     buffer 0 storage 1024                 pipeline 0 "label" rwp
 *     write 0 at 16, 64 bytes               bind 0 to pipeline 0: 0+0:1024 1+256:512   (buffer+offset:bytes)
 *     dispatch 0 with 0, 4x1x1              copy 0+0 into 1+0, 64 bytes        (dispatch PIPELINE with BINDINGS)
 *     dispatch 0 with 0, 4x1x1, stamp 2     stamps 3 into 2
 *     submit    map 2, 64 bytes    unmap 2  free buffer 0   free pipeline 0   free bindings 0
 * Numbers count from 0 for each kind of object. */
const char *recording_text(mia__gpu *gpu);
void recording_clear(mia__gpu *gpu);
/* The WGSL of pipeline n; NULL when there never was one. */
const char *recording_wgsl(mia__gpu *gpu, uint32_t pipeline);

/* Broken rules, a line each; "" when there are none. */
const char *recording_faults(mia__gpu *gpu);

/* The device is lost now: `failed` hears of it at the next poll. */
void recording_lose(mia__gpu *gpu);
/* The n-th buffer from now (1: the next) fails; 0: none. */
void recording_fail_buffer(mia__gpu *gpu, uint32_t n);

typedef struct recording_live {
    uint32_t buffers, pipelines, bindings;
    uint64_t bytes;
} recording_live;

/* What was made and not freed. */
recording_live recording_count(mia__gpu *gpu);

#endif
