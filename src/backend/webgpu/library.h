/* A library that exports webgpu.h's functions, found and opened when the program runs: nothing links against one. Where
 * it is looked for: docs/webgpu.md. Here, too, is what differs between the libraries there are. */
#ifndef MIA_BACKEND_WEBGPU_LIBRARY_H
#define MIA_BACKEND_WEBGPU_LIBRARY_H

#include "backend/webgpu/abi.h"

#include <mia/device.h>

typedef struct mia__webgpu_library {
    void *handle; /* NULL: the program gave us the functions */
    char name[256];
    bool stays; /* in memory until the process ends */
    bool dawn;  /* takes Dawn's toggles and extensions */
    /* Dawn before the feature numbers of the stable webgpu.h (mid 2025): known by having wgpuGetInstanceCapabilities
     * and not yet wgpuGetInstanceFeatures. */
    bool dawn_2025;
    bool wgpu_native; /* aborts in functions it does not implement; exports them all the same */
#define MIA__WGPU_MEMBER(function, result, parameters) WGPUProc##function function;
    MIA__WGPU_REQUIRED(MIA__WGPU_MEMBER)
    MIA__WGPU_OPTIONAL(MIA__WGPU_MEMBER)
#undef MIA__WGPU_MEMBER
} mia__webgpu_library;

/* Fills *library. NOT_FOUND when there is none (the message says how to get one), or the one asked for is none. */
mia_status mia__webgpu_library_open(mia__webgpu_library *library, const mia_webgpu_options *options,
                                    mia_error *error);
void mia__webgpu_library_close(mia__webgpu_library *library);

/* --- what differs ---------------------------------------------------------------------------------- */

/* A feature of the standard by the library's own number. */
WGPUFeatureName mia__webgpu_feature(const mia__webgpu_library *library, WGPUFeatureName feature);

/* Dawn's feature of experimental subgroup matrices, whose number moves; 0 elsewhere. */
WGPUFeatureName mia__webgpu_subgroup_matrix(const mia__webgpu_library *library);

/* Dawn's list of the shapes of subgroup matrices, in the chain of an adapter's info; its memory is the library's. */
typedef struct mia__dawn_matrix {
    uint32_t component, result; /* 1: f32, 2: f16, then integers */
    uint32_t m, n, k;
} mia__dawn_matrix;

typedef struct mia__dawn_matrices {
    WGPUChainedStruct chain; /* sType: MIA__DAWN_MATRICES */
    size_t count;
    const mia__dawn_matrix *list;
} mia__dawn_matrices;

/* Dawn's switches, in the chain of what makes an instance, an adapter and a device. */
typedef struct mia__dawn_toggles {
    WGPUChainedStruct chain; /* sType: MIA__DAWN_TOGGLES */
    size_t enabled_count;
    const char *const *enabled;
    size_t disabled_count;
    const char *const *disabled;
} mia__dawn_toggles;

enum { MIA__DAWN_TOGGLES = 0x5000A, MIA__DAWN_MATRICES = 0x5003B };

/* Fills *toggles and returns it for the chain of a device, or of what comes before one; NULL where the library knows
 * none. */
WGPUChainedStruct *mia__webgpu_toggles(const mia__webgpu_library *library, bool device,
                                       mia__dawn_toggles *toggles);

#endif
