/* What a test can tell the fake library (fake_webgpu.c), and what the library tells: the variable `fake` that each of
 * its builds exports. */
#ifndef MIA_TEST_FAKE_WEBGPU_H
#define MIA_TEST_FAKE_WEBGPU_H

#include <stdbool.h>
#include <stdint.h>

enum { FAKE_MOST_ADAPTERS = 3 };

typedef struct fake_state {
    /* --- told ----------------------------------------------------------------------------- */
    struct {
        const char *name;
        uint32_t type;        /* WGPUAdapterType */
        uint32_t features[8]; /* in the library's own numbers, 0-terminated */
    } adapters[FAKE_MOST_ADAPTERS];
    uint32_t adapter_count; /* high performance gives the first, low power the second, fallback the third */
    bool no_device;
    uint64_t memory;            /* buffers larger than this fail: out of memory */
    uint32_t lose_at;           /* the device is lost with the n-th submit from 1; 0: never */
    bool silent_loss;           /* and what was under way is never heard of, as some libraries do */
    bool break_submit;          /* the next submit is a validation error */
    uint32_t version;           /* of wgpu-native, in its first byte; 0: 29 */
    bool no_packed;             /* shaders with packed products are refused */
    uint32_t matrix_list[3][5]; /* component, result, m, n, k */
    uint32_t matrix_count;
    /* --- tells ---------------------------------------------------------------------------- */
    int32_t live;               /* objects that were made and not released */
    uint32_t instances;         /* that were made */
    uint32_t faults;            /* calls that a real library would abort at */
    uint32_t asked_features[8]; /* of the last device that was asked for */
    bool asked_limits;
    uint32_t toggles; /* chained structs of Dawn's toggles that came */
    uint32_t async_pipelines, pipelines, submits;
} fake_state;

#endif
