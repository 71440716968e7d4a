/* The table of an installed webgpu.h. */
#include "support/abi_table.h"

#if defined(__has_include)
#if __has_include(<webgpu/webgpu.h>)
#define FOUND 1
#include <webgpu/webgpu.h>
#endif
#endif

const abi_row *abi_table_standard(size_t *count) {
#ifdef FOUND
    static abi_row rows[] = {
#include "support/abi_rows.def"
        {"buffer map read", 0}, {"buffer copy source", 0}, {"buffer copy destination", 0},
        {"buffer uniform", 0},  {"buffer storage", 0},     {"buffer query resolve", 0},
        {"map read", 0},        {"stage compute", 0},
    };
    /* constants there, which C does not take in an initialiser */
    const uint64_t flags[] = {WGPUBufferUsage_MapRead, WGPUBufferUsage_CopySrc, WGPUBufferUsage_CopyDst,
                              WGPUBufferUsage_Uniform, WGPUBufferUsage_Storage, WGPUBufferUsage_QueryResolve,
                              WGPUMapMode_Read,        WGPUShaderStage_Compute};
    const size_t flag_count = sizeof flags / sizeof flags[0];
    *count = sizeof rows / sizeof rows[0];
    for (size_t i = 0; i < flag_count; i++) rows[*count - flag_count + i].value = flags[i];
    return rows;
#else
    *count = 0;
    return NULL;
#endif
}
