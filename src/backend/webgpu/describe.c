/* What a GPU is and can do, as text for people. */
#include "backend/webgpu/gpu.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Appends, and cuts where the room ends. */
MIA_PRINTF(3, 4) static void add(char *text, size_t bytes, const char *format, ...) {
    size_t length = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    if (length + 1 < bytes) (void)vsnprintf(text + length, bytes - length, format, arguments);
    va_end(arguments);
}

static void add_bytes(char *text, size_t bytes, const char *what, uint64_t size) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB"};
    double number = (double)size;
    int unit = 0;
    /* limits are often one less than a round number */
    for (; unit < 3 && number > 1023.0; unit++) number /= 1024.0;
    add(text, bytes, "%s%.4g %s", what, number, units[unit]);
}

void mia__gpu_describe_features(const mia__gpu_info *info, char *text, size_t bytes) {
    const char *comma = "";
    text[0] = '\0';
    if ((info->features & MIA__GPU_F16) != 0) {
        add(text, bytes, "f16");
        comma = ", ";
    }
    if ((info->features & MIA__GPU_SUBGROUPS) != 0) {
        add(text, bytes, "%ssubgroups of %" PRIu32, comma, info->subgroup_least);
        if (info->subgroup_most > info->subgroup_least) add(text, bytes, " to %" PRIu32, info->subgroup_most);
        comma = ", ";
    }
    static const struct {
        mia__gpu_feature feature;
        const char *name;
    } others[] = {{MIA__GPU_SUBGROUP_MATRIX, "subgroup matrices"},
                  {MIA__GPU_PACKED_DOT, "packed dot products"},
                  {MIA__GPU_TIMESTAMPS, "timestamps"}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if ((info->features & others[i].feature) == 0) continue;
        add(text, bytes, "%s%s", comma, others[i].name);
        comma = ", ";
        for (uint32_t m = 0; m < (i == 0 ? info->matrix_count : 0); m++) {
            const mia__gpu_matrix *matrix = &info->matrices[m];
            add(text, bytes, " %" PRIu32 "x%" PRIu32 "x%" PRIu32 " %s to %s", matrix->m, matrix->n, matrix->k,
                mia_dtype_describe(matrix->component)->name, mia_dtype_describe(matrix->result)->name);
        }
    }
    if (text[0] == '\0') add(text, bytes, "no optional features");
}

void mia__gpu_describe_limits(const mia__gpu_info *info, char *text, size_t bytes) {
    const mia__gpu_limits *limits = &info->limits;
    text[0] = '\0';
    add_bytes(text, bytes, "buffers to ", limits->buffer_bytes);
    add_bytes(text, bytes, ", bindings to ", limits->binding_bytes);
    add(text, bytes, " and %" PRIu32 " a shader, workgroups of %" PRIu32, limits->storage_buffers,
        limits->workgroup_invocations);
    add_bytes(text, bytes, " with ", limits->workgroup_bytes);
}

void mia__gpu_describe(const mia__gpu_info *info, char *text, size_t bytes) {
    char features[128];
    mia__gpu_describe_features(info, features, sizeof features);
    text[0] = '\0';
    add(text, bytes, "%s; %s", info->name, features);
}
